//! Progress on standard error: plain lines, and on a terminal one status line that is redrawn (S5.2).
//!
//! Lossy by design: a slow terminal never slows the run. Start at [`Progress::happened`] and [`Progress::tick`].

use super::hush::Hush;
use super::{clean, describe};
use crate::out::Pipe;
use crate::pick::short;
use crate::quantity::{clock, span};
use crate::term::Term;
use crate::tree::{Happened, Need, Tree};
use contract::action::{Done, End, Integrated};
use contract::event::{Answer, Disposal, Event, Subject, TaskState};
use contract::found::{Ending, Severity};
use contract::money::usd;
use contract::port::{Blobs, Delta};
use contract::{ActionId, Amount, SessionId, Timestamp};
use kernel::session::Waiting;
use std::collections::BTreeMap;
use std::time::Duration;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing.
    Quiet,
    /// What a person wants to follow.
    Normal,
    /// Every event and the output of programs.
    Verbose,
}

/// Between two redraws of the status line.
pub(crate) const REDRAW: Duration = Duration::from_millis(100);
/// Without a terminal an action that runs this long says so, again and again. Milliseconds.
const BEAT_MS: u64 = 30_000;
/// How long a slow reader of standard error may hold up the end.
const PATIENCE: Duration = Duration::from_secs(1);
/// Characters of the agent's words in a line.
const WORDS: usize = 160;
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// To the beginning of the line, and erase it.
const ERASE: &str = "\r\x1b[2K";

/// The writer of progress.
pub(crate) struct Progress {
    level: Level,
    term: Term,
    live: bool,
    pipe: Pipe,
    began: Timestamp,
    running: BTreeMap<SessionId, Running>,
    drawn: bool,
    frame: usize,
    hush: Hush,
}

struct Running {
    action: ActionId,
    kind: &'static str,
    words: String,
    since: Timestamp,
    told: Timestamp,
    found: Found,
}

/// What was found in an action's output so far.
#[derive(Debug, Default, Clone, Copy)]
struct Found {
    errors: u64,
    warnings: u64,
    passed: u64,
    failed: u64,
}

impl Found {
    fn add(&mut self, delta: &Delta) {
        match delta {
            Delta::Finding(finding) if finding.severity == Severity::Error => self.errors += 1,
            Delta::Finding(finding) if finding.severity == Severity::Warning => self.warnings += 1,
            Delta::Test(test) if test.ending == Ending::Failed => self.failed += 1,
            Delta::Test(test) if test.ending == Ending::Passed => self.passed += 1,
            _ => {}
        }
    }

    /// `: 2 errors, 5 passed, 1 failed`, or nothing.
    fn words(self) -> String {
        let counts = [
            (self.errors, "errors"),
            (self.warnings, "warnings"),
            (self.passed, "passed"),
            (self.failed, "failed"),
        ];
        let words =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let words: Vec<String> = words.collect();
        if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) }
    }
}

impl Progress {
    /// To standard error.
    pub(crate) fn new(level: Level, term: Term, now: Timestamp) -> Self {
        let live = term.stderr && term.moves && level > Level::Quiet;
        let pipe = Pipe::to(std::io::stderr());
        let (running, hush) = (BTreeMap::new(), Hush::default());
        Self { level, term, live, pipe, began: now, running, drawn: false, frame: 0, hush }
    }

    /// Something for the person, whatever the level but quiet.
    pub(crate) fn note(&mut self, line: &str) {
        if self.level > Level::Quiet {
            self.line(line);
        }
    }

    /// An event came out of the journal.
    pub(crate) async fn happened(&mut self, tree: &Tree, blobs: &dyn Blobs, happened: &Happened) {
        if self.level == Level::Quiet {
            return;
        }
        let (id, at) = (happened.session, happened.record.at);
        if let Event::Started { action, work, .. } = &happened.record.event {
            let words = describe::work(blobs, work).await;
            let running = Running {
                action: *action,
                kind: work.name(),
                words,
                since: at,
                told: at,
                found: Found::default(),
            };
            self.running.insert(id, running);
        }
        let told = self.told(blobs, happened).await;
        let who = if id == tree.root { String::new() } else { format!("[{}] ", short(id)) };
        let head = format!("{} {who}", clock(at));
        let lines = match self.level {
            Level::Verbose => told.map(|told| format!("{head}{told}")).into_iter().collect(),
            _ => self.hush.hear((id, at), &happened.record.event, &head, told),
        };
        lines.iter().for_each(|line| self.line(line));
    }

    /// What an event says at this level.
    async fn told(&mut self, blobs: &dyn Blobs, happened: &Happened) -> Option<String> {
        let event = &happened.record.event;
        if let Event::Started { action, attempt: attempt @ 2.., work, .. } = event {
            // What a broken attempt said is not part of what this one says.
            return Some(format!("step {} {} again, attempt {attempt}", action.step, work.name()));
        }
        if let Event::Finished { outcome } = event {
            let (_, how) = describe::end(&outcome.end);
            let ran = self.running.remove(&happened.session).filter(|ran| ran.action == outcome.action);
            let mut line = match ran {
                Some(ran) => {
                    let took = span(happened.record.at.since(ran.since));
                    format!("step {} {} {} ... {how} {took}", outcome.action.step, ran.kind, ran.words)
                }
                None => format!("step {} {how}", outcome.action.step),
            };
            if let End::Done(Done::Said { text: Some(text), .. }) = &outcome.end {
                let said = super::headline(blobs, *text).await;
                line.push_str(&format!("\n  {}", clean::cut(&said, WORDS)));
            }
            match &outcome.end {
                End::Done(Done::Prepared(prepared)) => {
                    let notes = prepared.notes.iter().map(|note| format!("\n  note: {}", clean::line(note)));
                    line.extend(notes);
                }
                // What stood in the way, by its name.
                End::Done(Done::Integrated(Integrated { landed: None, detail: Some(detail), .. })) => {
                    let detail = super::headline(blobs, *detail).await;
                    line.push_str(&format!("\n  {}", clean::cut(&detail, WORDS)));
                }
                _ => {}
            }
            return Some(line);
        }
        if let Event::Opened { spec } = event {
            let goal = super::headline(blobs, spec.goal).await;
            return Some(format!("session {} {}", short(happened.session), clean::cut(&goal, WORDS)));
        }
        plain(event).or_else(|| (self.level == Level::Verbose).then(|| name(event)))
    }

    /// A piece of progress of a running action.
    pub(crate) fn delta(&mut self, progress: &engine::engine::Progress) {
        let running = self.running.get_mut(&progress.session);
        if let Some(running) = running.filter(|running| running.action == progress.action) {
            running.found.add(&progress.delta);
        }
        match &progress.delta {
            Delta::Stopping(line) => self.note(&clean::line(line)),
            Delta::Warning(line) => self.note(&format!("note: {}", clean::line(line))),
            _ if self.level < Level::Verbose => {}
            Delta::Line(line) | Delta::Note(line) => self.line(&format!("  | {}", clean::line(line))),
            // Pieces of words are told as a whole when the model has spoken; what is found in output stands in its lines.
            Delta::Text(_) | Delta::Finding(_) | Delta::Test(_) => {}
        }
    }

    /// Time has passed: redraws the status line, or says that something still runs.
    pub(crate) fn tick(&mut self, tree: &Tree, now: Timestamp) {
        if self.live {
            self.frame += 1;
            let status = self.status(tree, now);
            let width = self.term.width().saturating_sub(1);
            self.pipe.offer(format!("{ERASE}{}", clean::cut(&status, width)));
            self.drawn = true;
            return;
        }
        if self.level == Level::Quiet {
            return;
        }
        let late = |running: &Running| now.since(running.told) >= BEAT_MS;
        let mut lines = Vec::new();
        for running in self.running.values_mut().filter(|running| late(running)) {
            running.told = now;
            let (step, words) = (running.action.step, &running.words);
            lines.push(format!(
                "{} step {step} still runs: {words} ({}){}",
                clock(now),
                span(now.since(running.since)),
                running.found.words()
            ));
        }
        lines.iter().for_each(|line| self.line(line));
    }

    /// The most important first: the line may be cut anywhere.
    fn status(&self, tree: &Tree, now: Timestamp) -> String {
        let spin = SPINNER[self.frame % SPINNER.len()];
        let mut out = format!("{spin} {}", span(now.since(self.began)));
        let root = tree.root();
        match self.running.iter().max_by_key(|(id, running)| (**id != tree.root, running.since)) {
            Some((_, running)) => {
                let since = span(now.since(running.since));
                let found = running.found.words();
                out.push_str(&format!(" · step {} {} ({since}){found}", running.action.step, running.words));
            }
            None => out.push_str(&format!(" · {}", waits(tree, now))),
        }
        if let Some(stage) = root.stage() {
            out.push_str(&format!(" · {}", stage.name));
        }
        if !root.todo.is_empty() {
            let open =
                |todo: &&contract::action::Todo| matches!(todo.state, TaskState::Pending | TaskState::Active);
            let left = root.todo.iter().filter(open).count();
            out.push_str(&format!(" · list {}/{}", root.todo.len() - left, root.todo.len()));
        }
        if self.running.len() > 1 {
            out.push_str(&format!(" · {} at once", self.running.len()));
        }
        let used = tree.sessions().fold(Amount::ZERO, |sum, state| sum.plus(state.used));
        out.push_str(&format!(" · {}", usd(used.nanos)));
        out
    }

    fn line(&mut self, line: &str) {
        let erase = if std::mem::take(&mut self.drawn) { ERASE } else { "" };
        self.pipe.offer(format!("{erase}{line}\n"));
    }

    /// Takes the status line away, so that something else can be shown.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            self.pipe.offer(ERASE);
        }
    }

    /// The end: takes the status line away and waits a while until everything is written.
    pub(crate) async fn end(mut self) {
        self.clear();
        let _ = tokio::time::timeout(PATIENCE, self.pipe.end()).await;
    }
}

fn waits(tree: &Tree, now: Timestamp) -> String {
    if let Some(blocker) = tree.blockers(now).first() {
        return match &blocker.kind {
            Need::Approval(id) => format!("waits for approval {id}"),
            Need::Answer(id) => format!("waits for your answer to {id}"),
            Need::Resume { .. } => "paused".to_owned(),
        };
    }
    if let Some(held) = tree.sessions().find_map(|state| state.held_up(now)) {
        return format!("waits for {} more: {}", span(held.until.since(now)), clean::line(&held.what));
    }
    match tree.root().waiting(now) {
        Some(Waiting::Children(n)) => format!("waits for {n} child session(s)"),
        Some(Waiting::Until(at)) => format!("tries again in {}", span(at.since(now))),
        _ => "at work".to_owned(),
    }
}

/// Events that are told at the usual level.
fn plain(event: &Event) -> Option<String> {
    let line = match event {
        Event::Staged { to, why, round } if *round > 0 => {
            format!("stage {to}, round {round}: {}", clean::line(why))
        }
        Event::Staged { to, why, .. } => format!("stage {to}: {}", clean::line(why)),
        Event::Judged { verdict, reasons, .. } => {
            let reasons: Vec<String> = reasons.iter().map(|reason| clean::line(reason)).collect();
            format!("verdict {}: {}", verdict.name(), reasons.join("; "))
        }
        Event::ApprovalAsked { approval, subject, .. } => match subject {
            Subject::Call { .. } => format!("approval {approval} wanted for a call"),
            Subject::RunAgain { action } => format!("approval {approval} wanted: run {action} again?"),
            Subject::Land { .. } => {
                format!("approval {approval} wanted: land a change that weakens tests or checks?")
            }
        },
        Event::ApprovalAnswered { approval, answer, .. } => {
            let word = match answer {
                Answer::Granted => "granted",
                Answer::Denied => "denied",
                Answer::Expired => "expired: nobody answered",
                Answer::Withdrawn => "withdrawn",
            };
            format!("approval {approval} {word}")
        }
        Event::Asked { question, .. } => format!("question {question} waits for your answer"),
        Event::Answered { question, .. } => format!("question {question} answered"),
        Event::ChildOpened { child, .. } => format!("delegated to {}", short(*child)),
        Event::Planned { tasks } => format!("plan with {} tasks", tasks.len()),
        Event::TaskMoved { task, to } => {
            format!("task {} {}", clean::line(task), format!("{to:?}").to_lowercase())
        }
        Event::Paused { what, .. } => format!("paused: {}", clean::line(what)),
        Event::Waits { why, what, .. } if why == "lifted" => format!("goes on: {}", clean::line(what)),
        Event::Waits { what, until, .. } => format!("waiting until {until}: {}", clean::line(what)),
        Event::FellBack { to, why, dearer } => {
            format!("{} goes on{}: {}", clean::line(&to.id), describe::dearer(*dearer), clean::line(why))
        }
        Event::Resumed { .. } => "resumed".to_owned(),
        Event::Warned { what } => format!("note: {}", clean::line(what)),
        Event::Failed { signature, count, then, .. } => {
            format!("failure {} ({count}): {then}", clean::line(signature))
        }
        Event::Recovered { did, found: Some(action), .. } => {
            format!("recovered: {action} was in flight: {did}")
        }
        Event::Disposed { how: Disposal::Refused(why), .. } => format!("refused: {}", clean::line(why)),
        Event::Compacted { left, dropped, before, after, .. } => {
            let gone: u64 = dropped.iter().map(|(first, last)| last - first + 1).sum();
            format!(
                "conversation cut from about {before} to {after} tokens: {} outputs left as references, {gone} entries dropped",
                left.len()
            )
        }
        Event::Uncompacted { items, .. } => format!("{} entries are shown to the model again", items.len()),
        Event::Repaired { what, .. } => format!("conversation mended: {}", clean::line(what)),
        Event::CancelAsked { .. } => "cancel was asked for".to_owned(),
        Event::Ending { .. } => "hooks are told that it ends".to_owned(),
        Event::Ended { state, why, .. } => format!("{}: {}", state.name(), clean::line(why)),
        _ => return None,
    };
    Some(line)
}

/// An event's stored name.
pub(crate) fn name(event: &Event) -> String {
    match serde_json::to_value(event) {
        Ok(serde_json::Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
        Ok(other) => clean::line(&other.to_string()),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::checks::Verdict;
    use contract::event::Final;

    #[test]
    fn events_in_one_line_each() {
        let judged = Event::Judged {
            verdict: Verdict::Refuted,
            result: "r".into(),
            reasons: vec!["test: fails\x1b[2J".into(), "fmt: fails".into()],
        };
        assert_eq!(plain(&judged).unwrap(), "verdict REFUTED: test: fails; fmt: fails");
        let ended = Event::Ended { state: Final::Completed, code: 0, why: "landed".into(), summary: None };
        assert_eq!(plain(&ended).unwrap(), "completed: landed");
        let cut = Event::Cut { items: 1, bytes: 2 };
        assert_eq!((plain(&cut), name(&cut).as_str()), (None, "cut"));
    }
}
