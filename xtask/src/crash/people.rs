//! Whoever else takes part: commands from other terminals while the session runs, and answers to what is asked.
//!
//! Each is a process of its own and may be killed as well; what it said it did must be on record. Start at
//! [`Case::draw_other`] and [`Case::decide`].

use super::case::Case;
use super::process;
use super::scenario::Others;
use super::script;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take: a cancel waits for the whole stop ladder.
const PATIENCE: Duration = Duration::from_secs(40);

/// A command of another process during a round.
#[derive(Default)]
pub(super) struct Other {
    at: Option<Instant>,
    args: Vec<String>,
    /// It is killed this long after its start.
    killed: Option<Duration>,
    running: Option<(Child, Instant)>,
}

impl Case<'_> {
    /// What another process is going to do in this round, if anything.
    pub(super) fn draw_other(&mut self, began: Instant) -> Other {
        let Some(root) = self.root.clone() else { return Other::default() };
        let (verb, percent) = match self.scenario.others {
            Others::Wait | Others::Answer | Others::Conduct => return Other::default(),
            Others::Cancel => ("cancel", 12),
            Others::Pause => ("pause", 30),
            Others::Rewind => ("rewind", 35),
        };
        if !self.rng.chance(percent) {
            return Other::default();
        }
        let mut args = vec![verb.to_owned(), root.clone()];
        if verb == "rewind" {
            let points = self.sessions.get(&root).map(super::record::Record::savepoints).unwrap_or_default();
            if points.is_empty() {
                return Other::default();
            }
            args.push(self.rng.pick(&points).clone());
        }
        args.push("--json".to_owned());
        let killed = self.rng.chance(30).then(|| Duration::from_millis(self.rng.below(60)));
        let at = Some(began + Duration::from_millis(self.rng.below(300)));
        Other { at, args, killed, running: None }
    }

    /// Answers what a conductor left because of: what its last line says is waited for.
    pub(super) fn decide(&mut self, told: &Path) -> Result<()> {
        let text = std::fs::read_to_string(told)?;
        let last: Value =
            serde_json::from_str(text.lines().last().unwrap_or_default()).context("a result")?;
        for waits in last["waiting"].as_array().into_iter().flatten() {
            let field = |name: &str| waits[name].as_str().unwrap_or_default().to_owned();
            let (session, id) = (field("session_id"), field("id"));
            match field("kind").as_str() {
                "approval" => {
                    let again = field("what").contains("was interrupted");
                    let number = script::of_command(&field("content"))
                        .context("an approval for no command of ours")?;
                    self.shown.insert((session.clone(), number), field("hash"));
                    let yes = self.rng.chance(if again { 30 } else { 80 });
                    if again {
                        self.tally.add("unknown", 1);
                        self.tally.add(if yes { "repeats" } else { "denied" }, 1);
                    } else if yes {
                        self.tally.add("approved", 1);
                    }
                    self.tell(&[if yes { "approve" } else { "deny" }, &session, &id])?;
                }
                "question" => self.tell(&["answer", &session, "yes"])?,
                "resume" => {}
                other => bail!("it waits for `{other}`"),
            }
        }
        Ok(())
    }

    /// One process tells it; where a case is about that, two at once, and they may be killed.
    fn tell(&mut self, args: &[&str]) -> Result<()> {
        let args: Vec<String> =
            args.iter().map(|arg| (*arg).to_owned()).chain(["--json".to_owned()]).collect();
        let several = self.scenario.others == Others::Answer;
        let mut tellers = Vec::new();
        for _ in 0..if several { 1 + self.rng.below(2) } else { 1 } {
            let killed = (several && self.rng.chance(35)).then(|| Duration::from_millis(self.rng.below(60)));
            let mut other = Other { at: Some(Instant::now()), args: args.clone(), killed, running: None };
            other.look(self, Instant::now())?;
            tellers.push(other);
        }
        tellers.into_iter().try_for_each(|teller| teller.finish(self))
    }
}

impl Other {
    /// Starts it when it is time, kills it when that is.
    pub(super) fn look(&mut self, case: &Case<'_>, now: Instant) -> Result<()> {
        if self.at.take_if(|at| *at <= now).is_some() {
            let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
            let child = case.kapell(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            self.running = Some((child.context("start kapell")?, now));
            case.tally.add(&format!("other/{}", self.args[0]), 1);
        }
        if let (Some((child, since)), Some(after)) = (&mut self.running, self.killed)
            && now.duration_since(*since) >= after
        {
            let known = process::below(child.id());
            child.kill()?;
            child.wait()?;
            process::all_gone(&known)?;
            case.tally.add("victim/another terminal", 1);
            case.tally.add("kills", 1);
            case.tally.add(&format!("kills/{}", case.scenario.name), 1);
            self.running = None;
            self.killed = None;
        }
        Ok(())
    }

    /// Waits for its end. What it said is done was done, or it said why not.
    pub(super) fn finish(mut self, case: &Case<'_>) -> Result<()> {
        // One that was to be killed is, unless it is quicker.
        while self.killed.is_some()
            && self.running.as_mut().is_some_and(|(child, _)| matches!(child.try_wait(), Ok(None)))
        {
            self.look(case, Instant::now())?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let Some((mut child, _)) = self.running.take() else { return Ok(()) };
        let Some(code) = process::wait(&mut child, PATIENCE)? else {
            child.kill()?;
            bail!("kapell {:?} does not end", self.args);
        };
        let out = child.wait_with_output()?;
        let answer: Value = serde_json::from_slice(&out.stdout).with_context(|| {
            format!("kapell {:?} ended with {code}: {}", self.args, String::from_utf8_lossy(&out.stderr))
        })?;
        if code == 0 {
            let taken = answer["taken"].as_str().unwrap_or_default().to_owned();
            ensure!(["applied", "queued", "waiting"].contains(&taken.as_str()), "{:?}: {answer}", self.args);
            return self.on_record(case, &taken);
        }
        // Somebody else answered first, or it was over.
        let why = answer["error"]["code"].as_str().unwrap_or_default();
        let fine =
            ["refused", "no-approval", "no-question", "session-over", "no-savepoint", "several-approvals"];
        ensure!(fine.contains(&why), "kapell {:?} ended with {code}: {answer}", self.args);
        case.tally.add(&format!("other/{} {why}", self.args[0]), 1);
        Ok(())
    }

    fn on_record(&self, case: &Case<'_>, taken: &str) -> Result<()> {
        let kind = match (taken, self.args[0].as_str()) {
            ("applied", "cancel") => "cancel-asked",
            ("applied", "approve" | "deny") => "approval-answered",
            ("applied" | "queued", _) => "submitted",
            _ => return Ok(()),
        };
        let out = case.ask(&["events", &self.args[1]])?;
        let text = String::from_utf8_lossy(&out.stdout);
        let there = text.contains(&format!("\"{kind}\"")) || text.contains("\"ended\"");
        ensure!(there, "kapell {:?} said `{taken}`, and no `{kind}` is on record", self.args);
        Ok(())
    }
}
