//! How a run ended, in one piece: for people as text, for programs as the `result` record (FORMATS.md section 6).
//!
//! Gathers from the state, the ledger and the workspace; judges nothing. Start at [`Summary::of`].

use super::asked::Asked;
use super::describe::commit;
use super::diffstat::Stat;
use super::{clean, stream, text};
use crate::app::Wired;
use crate::exit::{self, Failure};
use crate::pick::short;
use crate::quantity::span;
use crate::term::Paint;
use crate::tree::Tree;
use contract::action::{Done, End};
use contract::checks::Verdict;
use contract::event::Event;
use contract::model::Usage;
use contract::money::usd;
use contract::workspace::Workspace;
use contract::{Amount, Fault, SessionId, StreamId, Timestamp};
use kernel::Session;
use serde_json::{Value, json};

/// Everything a result says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    session: Option<SessionId>,
    /// The exit code.
    pub(crate) code: u8,
    /// The agent's last words.
    words: String,
    /// Why it ended or stopped.
    why: String,
    verdict: Option<Verdict>,
    reasons: Vec<String>,
    landed: Option<String>,
    branch: Option<String>,
    stat: Stat,
    used: Amount,
    usage: Usage,
    turns: u32,
    duration_ms: u64,
    asked: Vec<Asked>,
    hint: String,
    error: Option<Fault>,
}

impl Summary {
    /// Of a tree that has come to rest (or was left) with this exit code.
    pub(crate) async fn of(wired: &Wired, tree: &Tree, code: u8, began: Timestamp, now: Timestamp) -> Self {
        let state = tree.root();
        let blobs = &*wired.store;
        let mut asked = Vec::new();
        for blocker in tree.blockers(now) {
            if let Some(state) = tree.get(blocker.session) {
                asked.extend(Asked::of(blobs, state, &blocker).await);
            }
        }
        let last =
            state.end.as_ref().and_then(|end| end.summary).or(state.finish.as_ref().map(|f| f.summary));
        let words = match last.or(state.last_text) {
            Some(digest) => text(blobs, digest).await.unwrap_or_else(|fault| fault.what),
            None => String::new(),
        };
        let ledger = wired.engine.ledger(state.root()).await;
        let mut used = ledger.map_or(state.used, |ledger| ledger.settled(state.id));
        // Steps are settled in blocks: what was taken lately counts too.
        used.steps = used.steps.max(tree.sessions().map(|state| state.used.steps).sum());
        let mut summary = Self {
            session: Some(state.id),
            code,
            words,
            why: why(state, code),
            verdict: state.verdict.as_ref().map(|judged| judged.verdict),
            reasons: state.verdict.as_ref().map(|judged| judged.reasons.clone()).unwrap_or_default(),
            landed: state.landed.clone(),
            branch: branch(state),
            stat: Stat::default(),
            used,
            usage: Usage::default(),
            turns: state.ordinal,
            duration_ms: now.since(began),
            asked,
            hint: String::new(),
            error: None,
        };
        summary.stat = summary.diffstat(wired, state).await;
        summary.hint = summary.next(state);
        summary
    }

    /// Of something that did not get as far as a session, or broke on the way.
    pub(crate) fn failed(session: Option<SessionId>, failure: &Failure) -> Self {
        Self {
            session,
            code: failure.code,
            why: failure.fault.what.clone(),
            hint: failure.fault.hint.clone(),
            error: Some(failure.fault.clone()),
            ..Self::default()
        }
    }

    /// Of which session.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Counts the tokens of every model reply of the tree: only programs are told, and it reads every event.
    pub(crate) async fn count(&mut self, wired: &Wired) {
        if let Some(session) = self.session {
            self.usage = usage(wired, session).await;
        }
    }

    async fn diffstat(&self, wired: &Wired, state: &Session) -> Stat {
        let (Some(prepared), Some(judged)) = (&state.prepared, &state.verdict) else {
            return Stat::default();
        };
        if judged.same_tree {
            return Stat::default();
        }
        let diff = wired.git.diff(state.id, prepared.base.clone(), judged.result.clone()).await;
        // The workspace may be gone already; the result stands without its figures.
        diff.map(|diff| Stat::of(&diff)).unwrap_or_default()
    }

    /// The one command that is most likely wanted next.
    fn next(&self, state: &Session) -> String {
        let id = short(state.id);
        if let Some(command) = self.asked.first().and_then(|asked| asked.commands.first()) {
            return command.clone();
        }
        match (&state.end, self.code) {
            (None, _) => format!("kapell resume {id}"),
            (Some(_), exit::OK) => format!("kapell why {id}"),
            (Some(_), 4) if state.prepared.as_ref().is_some_and(|p| p.checks.is_empty()) => {
                "declare checks in .kapell/config.toml and commit it (FORMATS.md section 4)".to_owned()
            }
            (Some(end), _) if self.landed.is_none() && self.branch.is_some() => {
                let branch = self.branch.as_deref().unwrap_or_default();
                let how = if end.why.contains("(checks)") { "log" } else { "merge" };
                format!("git {how} {branch}")
            }
            (Some(_), _) if state.prepared.is_some() => format!("kapell diff {id}"),
            (Some(_), _) => format!("kapell events {id}"),
        }
    }

    /// For people.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        let words = clean::text(self.words.trim());
        if !words.is_empty() {
            out.push_str(&format!("{words}\n\n"));
        }
        if let Some(verdict) = self.verdict {
            out.push_str(&format!("{}\n", paint.word(verdict.name())));
            for reason in &self.reasons {
                out.push_str(&format!("  {}\n", clean::line(reason)));
            }
        }
        if !self.why.is_empty() {
            out.push_str(&format!("{}\n", clean::line(&self.why)));
        }
        match (&self.landed, &self.branch) {
            (Some(landed), Some(branch)) => {
                out.push_str(&format!("landed on {} as {}\n", clean::line(branch), commit(landed)))
            }
            (Some(landed), None) => out.push_str(&format!("landed as {}\n", commit(landed))),
            (None, Some(branch)) => {
                out.push_str(&format!("not landed; the work is on branch {}\n", clean::line(branch)))
            }
            (None, None) => {}
        }
        if !self.stat.files.is_empty() {
            out.push_str(&format!("{}{}\n", self.stat.table(), self.stat.summary()));
        }
        // A pause is told above already, and what to type is the hint.
        for asked in self.asked.iter().filter(|asked| asked.kind != "resume") {
            out.push_str(&asked.page());
        }
        if let Some(session) = self.session {
            let figures = format!(
                "cost {} · {} steps · {} · session {}",
                usd(self.used.nanos),
                self.used.steps,
                span(self.duration_ms),
                short(session)
            );
            out.push_str(&format!("{}\n", paint.dim(&figures)));
        }
        if !self.hint.is_empty() {
            out.push_str(&format!("next: {}\n", clean::line(&self.hint)));
        }
        out
    }

    /// For programs: the `result` record.
    pub(crate) fn json(&self) -> Value {
        let failed = self.code != exit::OK;
        let result = if self.words.is_empty() { &self.why } else { &self.words };
        json!({
            "type": "result",
            "subtype": self.subtype(),
            "is_error": failed,
            "result": result,
            "session_id": self.session.map(|id| id.to_string()),
            "num_turns": self.turns,
            "total_cost_usd": super::usd(self.used.nanos),
            "duration_ms": self.duration_ms,
            "usage": {"input_tokens": self.usage.input, "output_tokens": self.usage.output},
            "schema_version": stream::SCHEMA,
            "termination_reason": exit::reason(self.code),
            "exit_code": self.code,
            "verdict": self.verdict.map(Verdict::name),
            "reasons": self.reasons,
            "why": self.why,
            "landed": self.landed,
            "branch": self.branch,
            "files": self.stat.files.iter().map(file).collect::<Vec<_>>(),
            "steps": self.used.steps,
            "cost_nanos": self.used.nanos,
            "waiting": self.asked.iter().map(Asked::json).collect::<Vec<_>>(),
            "hint": self.hint,
            "error": self.error.as_ref().map(|fault| json!({
                "code": fault.code, "what": fault.what, "hint": fault.hint, "exit_code": self.code,
            })),
        })
    }

    fn subtype(&self) -> &'static str {
        match self.code {
            exit::OK => "success",
            5 if self.why.contains("steps") => "error_max_turns",
            7 => "error_max_budget_usd",
            _ => "error_during_execution",
        }
    }
}

fn file((path, counts): &(String, Option<(u64, u64)>)) -> Value {
    json!({"path": path, "added": counts.map(|n| n.0), "removed": counts.map(|n| n.1)})
}

fn why(state: &Session, code: u8) -> String {
    match (&state.end, &state.pause, code) {
        (Some(end), ..) => end.why.clone(),
        (None, _, exit::TIMEOUT) => "stopped: --timeout ran out; nothing is lost".to_owned(),
        (None, _, exit::INTERRUPTED | exit::TERMINATED) => "stopped on request; nothing is lost".to_owned(),
        (None, Some(pause), _) => pause.what.clone(),
        (None, None, _) => String::new(),
    }
}

/// The branch that holds the work: landed on, or left.
fn branch(state: &Session) -> Option<String> {
    match state.landed {
        Some(_) => state.prepared.as_ref().and_then(|prepared| prepared.target.clone()),
        None => state.left_on.clone(),
    }
}

/// Tokens of every model reply of a session and all below it.
async fn usage(wired: &Wired, root: SessionId) -> Usage {
    let mut sum = Usage::default();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        let records = engine::store::records::<Event>(&**wired.engine.journal(), StreamId::Session(id)).await;
        // A journal that cannot be read was reported where it mattered.
        for record in records.unwrap_or_default() {
            match record.event {
                Event::ChildOpened { child, .. } => open.push(child),
                Event::Finished { outcome } => {
                    if let End::Done(Done::Said { usage, .. }) = outcome.end {
                        sum.input += usage.input;
                        sum.output += usage.output;
                    }
                }
                _ => {}
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            session: Some(SessionId(0xabcd_1234)),
            words: "All done.\x1b]0;evil\x07".into(),
            why: "confirmed and landed".into(),
            verdict: Some(Verdict::Confirmed),
            reasons: vec!["test: passes now, did not on base".into()],
            landed: Some("0123456789abcdef".into()),
            branch: Some("main".into()),
            stat: Stat { files: vec![("src/lib.rs".into(), Some((1, 2)))] },
            used: Amount { steps: 7, ..Amount::ZERO },
            duration_ms: 5_230,
            hint: "kapell why abcd1234".into(),
            ..Summary::default()
        }
    }

    #[test]
    fn as_people_read_it() {
        insta::assert_snapshot!(summary().text(Paint::default()), @r"
        All done.

        CONFIRMED
          test: passes now, did not on base
        confirmed and landed
        landed on main as 0123456789ab
          src/lib.rs  +1 -2
        1 file changed, 1 insertion(+), 2 deletions(-)
        cost $0.00 · 7 steps · 5.2s · session abcd1234
        next: kapell why abcd1234
        ");
    }

    #[test]
    fn the_record_has_every_field_of_the_formats_page() {
        let page = include_str!("../../../contract/FORMATS.md");
        let line = page.lines().find(|line| line.starts_with("{\"type\":\"result\"")).unwrap();
        let page: Value = serde_json::from_str(line).unwrap();
        let own = summary().json();
        for key in page.as_object().unwrap().keys() {
            assert!(own.get(key).is_some(), "{key}");
        }
        assert_eq!(own["subtype"], "success");
        let failure = Failure::usage("x", "broken", "mend it");
        let failed = Summary::failed(None, &failure).json();
        assert_eq!((&failed["exit_code"], &failed["termination_reason"]), (&json!(2), &json!("usage")));
        assert_eq!(failed["error"]["hint"], "mend it");
    }
}
