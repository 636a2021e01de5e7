//! Runs a suite on base and result, each in a clean checkout, and reports what happened.
//!
//! A check that fails on the result and not on the base is run once more: two runs that disagree are flaky, not
//! failed. Start at [`Git::run_checks`].

use super::Place;
use super::slot::{Kept, Slot, Used, empty, sweep};
use crate::git::{Repo, line, revision};
use crate::process::{self, Ended, Program, Stopped};
use crate::session::io_fault;
use crate::{Git, blocking};
use contract::checks::{CheckDef, CheckJob, CheckKind, CheckOutput, CheckRun, Report, Side, Status, Suite};
use contract::confine::{Confinement, InForce, Network, Profile};
use contract::port::{Delta, Sink};
use contract::{Cancel, Digest, Fault, Kind, limits};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a shell says that it could not start the command.
const NOT_STARTED: [i32; 2] = [126, 127];

/// All that the runs of one job share.
struct Bench<'a> {
    git: &'a Git,
    slot: Arc<Slot>,
    suite: &'a Suite,
    records: PathBuf,
    cancel: &'a Cancel,
    sink: &'a dyn Sink,
    /// Where the checkouts borrow their objects from.
    objects: Vec<PathBuf>,
    /// What holds every command of it; `None`: nobody said that anything should.
    held: Option<InForce>,
    runs: Vec<CheckRun>,
    blobs: Vec<Vec<u8>>,
    /// What the build directory held before anything ran that is to be judged.
    kept: Option<Kept>,
}

impl Git {
    pub(super) async fn run_checks(
        &self,
        job: CheckJob,
        cancel: Cancel,
        sink: &dyn Sink,
    ) -> Result<CheckOutput, Fault> {
        let place = self.place(&job.repo).await?;
        let spec = |commit: &str| revision(commit).map(|commit| format!("{commit}^{{tree}}"));
        let trees = line(&place.repo.call(["rev-parse", &spec(&job.base)?, &spec(&job.result)?]).await?);
        let same_tree = trees.split_once('\n').is_some_and(|(base, result)| base == result);
        let mut report =
            Report { base: job.base.clone(), result: job.result.clone(), same_tree, runs: Vec::new() };
        if job.suite.checks.is_empty() {
            return Ok(CheckOutput { report, blobs: Vec::new() });
        }
        let (checks, project) = (self.checks.clone(), place.project.clone());
        let slot = blocking(move || Slot::take(&checks, &project)).await?;
        let slot =
            Arc::new(slot.map_err(|error| io_fault("making a place for checks in", &self.checks, &error))?);
        let records = place.records.clone();
        let (runs, blobs) = (Vec::new(), Vec::new());
        let objects = place.objects();
        let held = self.confined.as_ref().map(|asked| sandbox::in_force(&writing(asked))).transpose()?;
        let mut bench = Bench {
            git: self,
            slot,
            suite: &job.suite,
            records,
            cancel: &cancel,
            sink,
            objects,
            held,
            runs,
            blobs,
            kept: None,
        };
        let ran = bench.sides(&place, &job, same_tree).await;
        let (slot, kept) = (Arc::clone(&bench.slot), bench.kept.take());
        let clear = move || {
            if let Some(kept) = kept {
                slot.wash(&kept)?;
            }
            slot.clear()
        };
        blocking(clear).await?.map_err(|error| io_fault("clearing", &self.checks, &error))?;
        ran?;
        report.runs = bench.runs;
        Ok(CheckOutput { report, blobs: bench.blobs })
    }

    /// Removes checkouts left by runs that died; returns how many places had some. For the start of a process.
    pub async fn sweep_checks(&self) -> Result<u64, Fault> {
        let checks = self.checks.clone();
        blocking(move || sweep(&checks)).await?.map_err(|error| io_fault("clearing", &self.checks, &error))
    }

    /// Empties every place for checks in which none runs, build directories and all; with `dry` it only says which.
    pub async fn empty_checks(&self, dry: bool) -> Result<Vec<Used>, Fault> {
        let checks = self.checks.clone();
        blocking(move || empty(&checks, dry)).await
    }

    /// Below this directory are the places for checks.
    pub fn checks_dir(&self) -> &Path {
        &self.checks
    }

    /// A line for the shell, without a limit of its own.
    pub(super) fn program(&self, run: &str, cwd: &Path, records: &Path) -> Program {
        Program {
            argv: ["/bin/sh", "-c", run].map(Into::into).to_vec(),
            cwd: cwd.to_path_buf(),
            env: self.env.clone(),
            stdin: Vec::new(),
            timeout_ms: limits::CHECK_ONE_MS,
            keep: limits::OUTPUT_KEEP_BYTES,
            apart: false,
            records: Some(records.to_path_buf()),
            confined: None,
        }
    }
}

impl Place {
    fn objects(&self) -> Vec<PathBuf> {
        std::iter::once(self.git_dir.join("objects")).chain(self.borrowed.iter().cloned()).collect()
    }
}

impl Bench<'_> {
    async fn sides(&mut self, place: &Place, job: &CheckJob, same_tree: bool) -> Result<(), Fault> {
        // Of a child, the base too is what an agent made.
        if place.child {
            self.judge().await?;
        }
        if !job.base_known && !same_tree {
            self.side(place, Side::Base, &job.base).await?;
        }
        let base_failed: Vec<String> = self
            .runs
            .iter()
            .filter(|run| run.status != Status::Passed)
            .map(|run| run.check.clone())
            .collect();
        let first = self.runs.len();
        if !same_tree {
            self.judge().await?;
        }
        self.side(place, Side::Result, &job.result).await?;
        if same_tree {
            // One run tells about both: the trees are the same.
            if !job.base_known {
                let both = self.runs.clone();
                self.runs.splice(0..0, both.into_iter().map(|run| CheckRun { side: Side::Base, ..run }));
            }
            return Ok(());
        }
        for at in first..self.runs.len() {
            let again = self.runs[at].status == Status::Failed && !base_failed.contains(&self.runs[at].check);
            let check = self.suite.checks.iter().find(|check| check.name == self.runs[at].check);
            if let (true, Some(check)) = (again, check) {
                self.once_more(at, check).await?;
            }
        }
        Ok(())
    }

    /// From now on code runs that is to be judged.
    async fn judge(&mut self) -> Result<(), Fault> {
        if self.kept.is_none() {
            let slot = Arc::clone(&self.slot);
            let kept = blocking(move || slot.keep()).await?;
            self.kept =
                Some(kept.map_err(|error| io_fault("looking at builds in", &self.git.checks, &error))?);
        }
        Ok(())
    }

    async fn side(&mut self, place: &Place, side: Side, commit: &str) -> Result<(), Fault> {
        self.note(format!("checking out {}", word(side)));
        self.check_out(place, side, commit).await?;
        let cwd = self.slot.checkout(side);
        for command in &self.suite.setup {
            self.note(format!("set-up on {}: {command}", word(side)));
            let ended = self.run(command, &cwd, limits::CHECK_ONE_MS).await?;
            if ended.code != Some(0) {
                let head = format!(
                    "The set-up command `{command}` did not succeed{}.{}\n\n",
                    after(&ended),
                    self.without_network()
                );
                let log = [head.as_bytes(), &self.clean(&ended.output)].concat();
                let checks = &self.suite.checks;
                let failed = checks
                    .iter()
                    .map(|check| self.record(check, side, Status::CouldNotRun, &ended, &log))
                    .collect::<Vec<_>>();
                self.runs.extend(failed);
                self.blobs.push(log);
                return Ok(());
            }
        }
        for check in &self.suite.checks {
            self.note(format!("{} on {}", check.name, word(side)));
            let ended = self.run(&check.run, &cwd, check.timeout_ms).await?;
            let log = self.clean(&ended.output);
            let run = self.record(check, side, status(&ended), &ended, &log);
            self.runs.push(run);
            self.blobs.push(log);
        }
        Ok(())
    }

    async fn once_more(&mut self, at: usize, check: &CheckDef) -> Result<(), Fault> {
        self.note(format!("{} on result, once more", check.name));
        let ended = self.run(&check.run, &self.slot.checkout(Side::Result), check.timeout_ms).await?;
        if status(&ended) == Status::Passed {
            let first = self
                .blobs
                .iter()
                .find(|blob| Digest::of(blob) == self.runs[at].log)
                .cloned()
                .unwrap_or_default();
            let log =
                [first.as_slice(), b"\n--- the same check, once more ---\n", &self.clean(&ended.output)]
                    .concat();
            let ms = self.runs[at].ms + ended.ms;
            self.runs[at] = CheckRun { ms, ..self.record(check, Side::Result, Status::Flaky, &ended, &log) };
            self.blobs.push(log);
        }
        Ok(())
    }

    /// A clean checkout of a commit, with a repository around it.
    async fn check_out(&self, place: &Place, side: Side, commit: &str) -> Result<(), Fault> {
        let (slot, commit) = (Arc::clone(&self.slot), commit.to_owned());
        let (dir, index) = (slot.checkout(side), slot.index(side));
        std::fs::create_dir_all(&dir).map_err(|error| io_fault("making", &dir, &error))?;
        let repo = Repo::own(&self.git.binary, &place.git_dir, &dir).with("GIT_INDEX_FILE", &index);
        repo.call(["-c", "checkout.workers=0", "read-tree", "-m", "-u", &commit]).await?;
        let objects = place.objects();
        let made = blocking(move || {
            slot.clear_programs()?;
            // SHA-256 ids are 64 digits long.
            slot.found(side, &commit, commit.len() == 64, &objects)
        })
        .await?;
        made.map_err(|error| io_fault("making", &dir, &error))
    }

    async fn run(&self, command: &str, cwd: &Path, timeout_ms: u64) -> Result<Ended, Fault> {
        let mut program = self.git.program(command, cwd, &self.records);
        program.timeout_ms = timeout_ms;
        let target = self.slot.target();
        program.env.push(("CARGO_TARGET_DIR".into(), target.clone().into()));
        if let Some(confined) = &self.git.confined {
            std::fs::create_dir_all(&target).map_err(|error| io_fault("making", &target, &error))?;
            let mut confined = writing(confined);
            confined.workspace = cwd.to_path_buf();
            confined.scratch = Some(self.slot.scratch());
            confined.read.extend(self.objects.iter().cloned());
            confined.write.push(target);
            program.confined = Some(confined);
        }
        let sink = self.sink;
        let ended =
            process::run(program, self.cancel, &mut |line| sink.delta(Delta::Line(line.to_owned()))).await?;
        match ended.stopped {
            Some(Stopped::Cancelled) => {
                Err(Fault::new(Kind::Transient, "cancelled", "the checks were stopped on request"))
            }
            _ => Ok(ended),
        }
    }

    /// Output without the paths of this run, so that the same result gives the same log.
    fn clean(&self, output: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(output);
        let mut text = text.replace(&*self.slot.target().to_string_lossy(), "target");
        for side in [Side::Base, Side::Result] {
            let dir = self.slot.checkout(side);
            text = text.replace(&format!("{}/", dir.display()), "").replace(&*dir.to_string_lossy(), ".");
        }
        text.into_bytes()
    }

    /// What most set-up commands fail of where there is no network.
    fn without_network(&self) -> &'static str {
        let confined = self.git.confined.as_ref();
        match confined.is_some_and(|it| it.profile != Profile::Full && it.network == Network::Off) {
            true => {
                " The sandbox gives it no network: fetch what it needs beforehand, or write `network = \"hosts\"` under \
                 [sandbox] into your own config.toml."
            }
            false => "",
        }
    }

    fn record(&self, check: &CheckDef, side: Side, status: Status, ended: &Ended, log: &[u8]) -> CheckRun {
        let ran = status != Status::CouldNotRun;
        let counted = (ran && check.kind == CheckKind::Test).then(|| output::read(log, &check.run).tests);
        CheckRun {
            check: check.name.clone(),
            side,
            status,
            exit: ended.code,
            log: Digest::of(log),
            ms: ended.ms,
            tests: counted.flatten(),
            held: self.held.clone(),
            asked: ended.asked.clone(),
        }
    }

    fn note(&self, text: String) {
        self.sink.delta(Delta::Note(text));
    }
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Base => "base",
        Side::Result => "result",
    }
}

fn status(ended: &Ended) -> Status {
    match (ended.stopped, ended.code) {
        (Some(_), _) => Status::CouldNotRun,
        (None, Some(0)) => Status::Passed,
        (None, Some(code)) if NOT_STARTED.contains(&code) => Status::CouldNotRun,
        (None, _) => Status::Failed,
    }
}

fn after(ended: &Ended) -> String {
    match (ended.stopped, ended.code) {
        (Some(Stopped::NeedsInput), _) => ": it waited for input, and nobody can give any".to_owned(),
        (Some(_), _) => format!(": it did not end within {} s", ended.ms / 1000),
        (None, Some(code)) => format!(" (exit status {code})"),
        (None, None) => " (ended by a signal)".to_owned(),
    }
}

/// A check builds, whatever the agent's mode may do.
fn writing(asked: &Confinement) -> Confinement {
    Confinement { profile: asked.profile.max(Profile::WorkspaceWrite), ..asked.clone() }
}
