//! One case: a session in a repository of its own, conducted, killed, looked at, and conducted again until it ends.
//!
//! What is checked after each kill is in `look.rs`; who else takes part in `people.rs`. Start at
//! [`Case::play`].

use super::Temp;
use super::process::{self, Process};
use super::record::Record;
use super::rng::Rng;
use super::scenario::{Others, Scenario, User, Victim};
use super::script::Script;
use super::tally::Tally;
use super::theirs::Theirs;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Rounds after which a case that does not end is a failure.
const ROUNDS: u32 = 200;
/// How long a round may take that nobody is killed in.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longest wait for what a kill is aimed at.
const AIM: Duration = Duration::from_secs(3);

/// A case while it is played.
pub(super) struct Case<'a> {
    pub(super) binary: &'a Path,
    pub(super) scenario: &'static Scenario,
    pub(super) rng: Rng,
    pub(super) tally: &'a Tally,
    pub(super) dir: Temp,
    pub(super) theirs: Theirs,
    pub(super) root: Option<String>,
    /// The whole tree's journals.
    pub(super) sessions: BTreeMap<String, Record>,
    /// Hashes of what a person was asked about: by session and number of the line it writes.
    pub(super) shown: BTreeMap<(String, u32), String>,
    kills: u64,
    /// After this many kills it is let run to its end.
    most: u64,
    started: u32,
    /// What conductors told, and how much of it is checked.
    pub(super) told: Vec<PathBuf>,
}

/// A process that conducts the session.
struct Main {
    child: Child,
    told: PathBuf,
    err: PathBuf,
}

/// How a round came to its end.
enum End {
    /// This one was killed.
    Killed(usize, Victim),
    /// This one ended by itself, with this code.
    Left(usize, i32),
}

/// Most cases are confined as usual, but for the network, so that their commands have effects outside, and for the file
/// they write; the others are not confined at all.
fn confine(dir: &Path, not_at_all: bool) -> Result<()> {
    let outside = dir.join("outside.log");
    std::fs::write(&outside, "")?;
    let config = match not_at_all {
        true => "profile = \"full\"\n".to_owned(),
        false => format!("network = \"on\"\nwrite = [\"{}\"]\n", outside.display()),
    };
    std::fs::create_dir_all(dir.join("home/config"))?;
    Ok(std::fs::write(dir.join("home/config/config.toml"), format!("[sandbox]\n{config}"))?)
}

impl<'a> Case<'a> {
    pub(super) fn new(
        binary: &'a Path,
        scenario: &'static Scenario,
        mut rng: Rng,
        tally: &'a Tally,
        name: &str,
        most: u64,
    ) -> Result<Self> {
        let dir = Temp::new(name)?;
        let theirs = Theirs::new(&dir.path().join("repo"), scenario.user, scenario.others != Others::Rewind)?;
        let mut script = Script::new(&dir.path().join("outside.log"));
        (scenario.script)(&mut script);
        std::fs::write(dir.path().join("script.toml"), script.text())?;
        confine(dir.path(), rng.chance(25))?;
        Ok(Self {
            binary,
            scenario,
            rng,
            tally,
            dir,
            theirs,
            root: None,
            sessions: BTreeMap::new(),
            shown: BTreeMap::new(),
            kills: 0,
            most,
            started: 0,
            told: Vec::new(),
        })
    }

    /// Leaves the case's directory for somebody to look at.
    pub(super) fn keep(&mut self) -> PathBuf {
        self.dir.keep()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn kapell(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command.args(args).current_dir(self.path("repo")).stdin(Stdio::null());
        command
            .env("KAPELL_TRUST", "all")
            .env("KAPELL_HOME", self.path("home"))
            .env("KAPELL_CRASH_CASE", self.dir.mark());
        command
    }

    pub(super) fn ask(&self, args: &[&str]) -> Result<Output> {
        self.kapell(args).output().context("start kapell")
    }

    /// Plays it to its end.
    pub(super) fn play(&mut self) -> Result<()> {
        let mut mains: Vec<Main> = Vec::new();
        let played = self.rounds(&mut mains);
        for main in &mut mains {
            main.child.kill()?;
            main.child.wait()?;
        }
        played
    }

    fn rounds(&mut self, mains: &mut Vec<Main>) -> Result<()> {
        for _ in 0..ROUNDS {
            let wanted = if self.scenario.others == Others::Conduct && self.root.is_some() { 2 } else { 1 };
            while mains.len() < wanted {
                mains.push(self.conduct()?);
            }
            let end = self.round(mains)?;
            if self.after(end, mains)? {
                for mut main in mains.drain(..) {
                    let code = process::wait(&mut main.child, PATIENCE)?;
                    ensure!(code.is_some(), "a second conductor does not see the end");
                }
                return self.judge();
            }
        }
        let shown = self.ask(&["sessions", "show", "last"])?;
        bail!("it does not come to an end\n{}", String::from_utf8_lossy(&shown.stdout))
    }

    /// Starts the session, or goes on with it.
    fn conduct(&mut self) -> Result<Main> {
        self.started += 1;
        let (told, err) = (self.path(&format!("told-{}.jsonl", self.started)), self.path("stderr.txt"));
        let model = format!("builtin/script:{}", self.path("script.toml").display());
        let mut args = vec!["resume", "last"];
        if self.root.is_none() {
            args = vec!["run", "--model", &model];
            args.extend(self.scenario.args);
            args.push("work");
        } else if self.scenario.name == "budget" && self.paused().as_deref() == Some("budget") {
            self.tally.add("raised", 1);
            args.extend(["--add-usd", "0.06"]);
        }
        let mut command = self.kapell(&args);
        command.args(["--output-format", "stream-json"]);
        command.stdout(std::fs::File::create(&told)?).stderr(std::fs::File::create(&err)?);
        self.told.push(told.clone());
        Ok(Main { child: command.spawn()?, told, err })
    }

    fn paused(&self) -> Option<String> {
        self.sessions.get(self.root.as_ref()?)?.paused().map(str::to_owned)
    }

    /// Runs until somebody is killed or leaves; meanwhile others do what they do.
    fn round(&mut self, mains: &mut [Main]) -> Result<End> {
        let victim = *self.rng.pick(self.scenario.victims);
        let at = self.rng.below(mains.len() as u64) as usize;
        let began = Instant::now();
        let mut fuse = began + PATIENCE;
        let mut aim = None;
        if self.kills < self.most {
            fuse = began + Duration::from_millis(5 + self.rng.below(400));
            if self.rng.chance(50) {
                aim = Some(*self.rng.pick(self.scenario.aims));
                fuse = began + AIM;
            }
        }
        let close = Duration::from_millis(self.rng.below(70));
        let mut other = self.draw_other(began);
        let mut commit = (self.scenario.user == User::Commits && self.rng.chance(25))
            .then(|| began + Duration::from_millis(self.rng.below(400)));
        let end = loop {
            let now = Instant::now();
            for (at, main) in mains.iter_mut().enumerate() {
                if let Some(status) = main.child.try_wait()? {
                    other.finish(self)?;
                    return Ok(End::Left(at, status.code().unwrap_or(-1)));
                }
            }
            if now >= fuse {
                ensure!(self.kills < self.most, "it does not end within {} s", PATIENCE.as_secs());
                break End::Killed(at, victim);
            }
            if aim.is_some_and(|aim| {
                std::fs::read_to_string(&mains[at].told).is_ok_and(|text| text.contains(aim))
            }) {
                (aim, fuse) = (None, now + close);
            }
            if commit.take_if(|at| *at <= now).is_some() && self.theirs.commit()? {
                self.tally.add("theirs", 1);
            }
            other.look(self, now)?;
            std::thread::sleep(Duration::from_millis(1));
        };
        self.kill(&mut mains[at], victim)?;
        other.finish(self)?;
        Ok(end)
    }

    fn kill(&mut self, main: &mut Main, victim: Victim) -> Result<()> {
        let pid = main.child.id();
        let known: Vec<Process> = process::below(pid);
        if victim != Victim::Main
            && let Some(keeper) = process::keeper(pid)
        {
            process::kill(keeper)?;
            self.tally.add("victim/keeper", 1);
        }
        if victim != Victim::Keeper {
            main.child.kill()?;
            main.child.wait()?;
            self.tally.add("victim/main", 1);
            process::all_gone(&known)?;
        }
        self.kills += 1;
        self.tally.add("kills", 1);
        self.tally.add(&format!("kills/{}", self.scenario.name), 1);
        Ok(())
    }

    /// After a round: looks at everything, and answers what is asked. True: the session has ended.
    fn after(&mut self, end: End, mains: &mut Vec<Main>) -> Result<bool> {
        let gone = match end {
            End::Killed(_, Victim::Keeper) => None,
            End::Killed(at, _) => Some((mains.remove(at), None)),
            End::Left(at, code) => Some((mains.remove(at), Some(code))),
        };
        let alone = mains.is_empty();
        if alone {
            process::nothing_carries(&self.dir.mark())?;
        }
        let deep = self.rng.below(super::look::DEEP) == 0;
        let there = self.look(deep)?;
        if matches!(end, End::Killed(..)) {
            self.count_flights(there);
        }
        if alone {
            self.theirs.check(deep).context("the user's repository")?;
            self.told.clear();
        }
        let Some((main, code)) = gone else { return Ok(false) };
        let ended = self.root_record().and_then(Record::ended).map(|(state, _)| state.to_owned());
        match code {
            _ if ended.is_some() => Ok(true),
            None => Ok(false),
            Some(8) => self.decide(&main.told).map(|()| false),
            // Paused by a person or for want of money, or the session was not there yet when it was to be resumed.
            Some(7) => Ok(false),
            Some(_) if self.paused().as_deref() == Some("user") => Ok(false),
            Some(code) => {
                let err = std::fs::read_to_string(&main.err)?;
                let told = std::fs::read_to_string(&main.told)?;
                bail!("it was left with {code}:\n{err}\n{}", told.lines().last().unwrap_or_default())
            }
        }
    }
}
