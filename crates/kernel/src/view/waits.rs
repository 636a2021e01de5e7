//! What a session waits for now, and what somebody could type about it.
//!
//! Derived from the state alone. Start at [`waits`].

use crate::fsm::Phase;
use crate::session::{Session, Waiting};
use contract::Timestamp;
use contract::event::Subject;
use serde::Serialize;

/// A wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// `approval`, `answer`, `resume`, `children`, `limit`, `time` or `turn`.
    #[serde(rename = "for")]
    pub kind: &'static str,
    /// In words.
    pub what: String,
    /// What to type; empty when it comes by itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub type_next: String,
    /// When it comes by itself, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What it waits for; `None` while an action runs and after the end.
pub fn waits(s: &Session, now: Timestamp) -> Option<Waits> {
    if s.phase == Phase::Ended || s.running.is_some() || s.spec.is_none() {
        return None;
    }
    if let Some(pause) = &s.pause {
        return Some(wait("resume", pause.what.clone(), pause.hint.clone()));
    }
    let id = s.id;
    Some(match s.waiting(now) {
        Some(Waiting::Approval(name)) => {
            let what =
                s.approvals.get(&name).map_or_else(String::new, |approval| subject(s, &approval.subject));
            let until = s.approvals.get(&name).map(|approval| approval.expires);
            Waits {
                until,
                ..wait("approval", what, format!("kapell approve {id} {name}  (or: kapell deny {id} {name})"))
            }
        }
        Some(Waiting::Answer(name)) => {
            let what = format!("the agent asks ({name})");
            wait("answer", what, format!("kapell answer {id} {name} \"your answer\""))
        }
        Some(Waiting::Children(1)) => wait("children", "a child session is at work".into(), String::new()),
        Some(Waiting::Children(n)) => {
            wait("children", format!("{n} child sessions are at work"), String::new())
        }
        None | Some(Waiting::Until(_)) if s.held_up(now).is_some() => {
            let held = s.held_up(now).cloned().unwrap_or_default();
            let what =
                format!("{}; goes on by itself in {} s", held.what, held.until.since(now).div_ceil(1000));
            Waits { until: Some(held.until), ..wait("limit", what, String::new()) }
        }
        Some(Waiting::Until(at)) => {
            let what = format!("tries again in {} s", at.since(now).div_ceil(1000));
            Waits { until: Some(at), ..wait("time", what, String::new()) }
        }
        None if s.cancel => wait("children", "is being cancelled".into(), String::new()),
        None => wait("turn", "waits for its turn".into(), String::new()),
    })
}

fn wait(kind: &'static str, what: String, type_next: String) -> Waits {
    Waits { kind, what, type_next, until: None }
}

fn subject(s: &Session, subject: &Subject) -> String {
    match subject {
        Subject::Call { call } => match s.calls.iter().find(|slot| &slot.call.id == call) {
            Some(slot) => {
                format!("may `{}` run? It is {} ({})", slot.call.tool, slot.call.class.name(), slot.call.why)
            }
            None => format!("may call {call} run?"),
        },
        Subject::RunAgain { action } => {
            format!(
                "action {action} was interrupted and nobody knows whether it took effect; may it run again?"
            )
        }
        Subject::Land { .. } => match s.flags.len() {
            1 => "may the change land? 1 thing in it needs a look".into(),
            n => format!("may the change land? {n} things in it need a look"),
        },
    }
}
