//! What goes on: one row per session, children below their parents, the newest tree first.
//!
//! Start at [`board`].

use super::waits::{Waits, waits};
use crate::session::Session;
use contract::{ActionId, Amount, Digest, SessionId, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// Hex digits by which people name a session.
const SHORT: usize = 8;

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its id.
    pub id: SessionId,
    /// The end of its id, for people.
    pub short: String,
    /// Its goal.
    pub goal: Digest,
    /// `created`, `active`, `running`, `waiting`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: &'static str,
    /// Name of the stage of its workflow.
    pub stage: String,
    /// Feedback rounds taken.
    pub round: u32,
    /// The task of the plan it works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doing: Option<Doing>,
    /// Milliseconds since anything happened.
    pub quiet_ms: u64,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// Exit code, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What it used by itself.
    pub used: Amount,
    /// What it used with everything below it, as far as it is listed.
    pub used_with_children: Amount,
    /// Sessions it delegated to, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Row>,
}

/// An action in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doing {
    /// Which.
    pub action: ActionId,
    /// What kind of work.
    pub work: &'static str,
    /// Tools of a tool action; the model of a model action.
    pub on: String,
    /// Which try.
    pub attempt: u32,
    /// Milliseconds since it began.
    pub for_ms: u64,
}

/// The end of an id: its beginning is the time, and alike in sessions opened together.
pub fn short(id: SessionId) -> String {
    let text = id.to_string();
    text[text.len() - SHORT..].to_owned()
}

/// The trees that these sessions form. A session whose parent is not among them stands at the top.
pub fn board<'a>(sessions: impl IntoIterator<Item = &'a Session>, now: Timestamp) -> Vec<Row> {
    let sessions: BTreeMap<SessionId, &Session> =
        sessions.into_iter().filter(|s| s.spec.is_some()).map(|s| (s.id, s)).collect();
    let mut below: BTreeMap<SessionId, Vec<&Session>> = BTreeMap::new();
    let mut tops = Vec::new();
    for s in sessions.values() {
        match parent(s).filter(|parent| sessions.contains_key(parent) && *parent != s.id) {
            Some(parent) => below.entry(parent).or_default().push(s),
            None => tops.push(*s),
        }
    }
    tops.into_iter().rev().map(|top| row(top, &mut below, now)).collect()
}

fn parent(s: &Session) -> Option<SessionId> {
    s.spec.as_ref()?.parent.as_ref().map(|parent| parent.session)
}

fn row(s: &Session, below: &mut BTreeMap<SessionId, Vec<&Session>>, now: Timestamp) -> Row {
    // Taken out: a tree is walked once, whatever the sessions claim about each other.
    let own = below.remove(&s.id).unwrap_or_default();
    let children: Vec<Row> = own.into_iter().map(|child| row(child, below, now)).collect();
    let doing = s.running.as_ref().map(|attempt| Doing {
        action: attempt.action,
        work: attempt.work.name(),
        on: on(&attempt.work),
        attempt: attempt.attempt,
        for_ms: now.since(attempt.started),
    });
    Row {
        id: s.id,
        short: short(s.id),
        goal: s.spec.as_ref().map(|spec| spec.goal).unwrap_or_default(),
        status: s.status(now),
        stage: s.stage().map(|stage| stage.name.clone()).unwrap_or_default(),
        round: s.round,
        task: s.plan.active().map(|task| task.id.clone()),
        doing,
        quiet_ms: now.since(s.at),
        waits: waits(s, now),
        code: s.end.as_ref().map(|end| end.code),
        ended: s.end.as_ref().map(|end| end.why.clone()),
        used: s.used,
        used_with_children: children.iter().fold(s.used, |sum, child| sum.plus(child.used_with_children)),
        children,
    }
}

fn on(work: &contract::action::Work) -> String {
    use contract::action::Work;
    match work {
        Work::Model { model, .. } | Work::Summarise { model, .. } => model.clone(),
        Work::Tools { calls } => {
            let mut tools: Vec<&str> = calls.iter().map(|call| call.tool.as_str()).collect();
            tools.dedup();
            tools.join(", ")
        }
        Work::Adopt { child, .. } => short(*child),
        Work::Rewind { to } => to.to_string(),
        Work::Hooks { asked } => asked.event.name().to_owned(),
        Work::Prepare | Work::Check { .. } | Work::Inspect { .. } | Work::Integrate { .. } => String::new(),
    }
}
