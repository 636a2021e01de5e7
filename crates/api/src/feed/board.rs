//! The board in memory: a row for each session that is listed, numbered by what changed last.
//!
//! Pure: folds what it is given, and knows neither journal nor clock. Start at [`Board::put`] and [`Board::since`].

use contract::event::Event;
use contract::record::Record;
use contract::{Seq, SessionId, Timestamp};
use kernel::Session;
use kernel::view::{self, Row};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Sessions that have ended and are listed still; older ones go when they have nothing below them.
pub(crate) const OVER_KEPT: usize = 500;
/// Sessions that went and are remembered: who asks for what changed since before that is given the whole board.
const GONE_KEPT: usize = 1_000;
/// Generations of children whose use is added up; deeper trees than sessions can form.
const DEEPEST: usize = 64;

/// What is kept of a session.
enum Kept {
    /// It goes on: all of its state, so that what comes next can be folded in.
    Open(Box<Session>),
    /// It is over: its row is enough.
    Over(Box<Row>),
    /// It cannot be read, and this is why. It is listed all the same.
    Broken(String),
}

struct Node {
    kept: Kept,
    parent: Option<SessionId>,
    children: BTreeSet<SessionId>,
    goal: String,
    held: bool,
    seq: Seq,
    at: Timestamp,
    rev: u64,
    /// What it asks a person, for programs.
    asked: Vec<Value>,
    asked_rev: u64,
    /// As it was when the row was last numbered: time alone can change it.
    shown: &'static str,
}

/// Rows by session, and the order in which they changed.
#[derive(Default)]
pub(crate) struct Board {
    nodes: BTreeMap<SessionId, Node>,
    changed: BTreeMap<u64, SessionId>,
    gone: BTreeMap<u64, SessionId>,
    over: BTreeSet<(Timestamp, SessionId)>,
    rev: u64,
    /// Who knows less than this is given the whole board.
    floor: u64,
}

/// What became of a record.
pub(crate) enum Took {
    /// It is folded in.
    In,
    /// It was there already.
    Known,
    /// The session has to be read anew: it is not held, or something before this is missing.
    Anew,
}

impl Board {
    /// The number of the newest change.
    pub(crate) fn rev(&self) -> u64 {
        self.rev
    }

    /// May somebody who knows this number be told only what changed since?
    pub(crate) fn knows(&self, rev: u64) -> bool {
        rev >= self.floor && rev <= self.rev
    }

    /// Number of the last event that is folded in; `None` for a session of which no state is held.
    pub(crate) fn open_at(&self, id: SessionId) -> Option<Seq> {
        self.nodes.get(&id).filter(|node| matches!(node.kept, Kept::Open(_))).map(|node| node.seq)
    }

    /// The state of a session that goes on.
    pub(crate) fn session(&self, id: SessionId) -> Option<&Session> {
        match &self.nodes.get(&id)?.kept {
            Kept::Open(session) => Some(session),
            Kept::Over(_) | Kept::Broken(_) => None,
        }
    }

    /// Sessions that go on.
    pub(crate) fn open(&self) -> Vec<SessionId> {
        let open = self.nodes.iter().filter(|(_, node)| matches!(node.kept, Kept::Open(_)));
        open.map(|(id, _)| *id).collect()
    }

    /// Is it listed?
    pub(crate) fn lists(&self, id: SessionId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// A session as the journal has it, with the first line of its goal.
    pub(crate) fn put(&mut self, session: Session, goal: String, held: bool, now: Timestamp) {
        let (id, seq, at) = (session.id, session.seq, session.at);
        let parent = session.spec.as_ref().and_then(|spec| Some(spec.parent.as_ref()?.session));
        self.insert(id, Kept::Open(Box::new(session)), parent, goal, (seq, at));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.held = held;
        }
        self.settle(id, now);
    }

    /// A session that cannot be read.
    pub(crate) fn put_broken(&mut self, id: SessionId, why: String, now: Timestamp) {
        self.insert(id, Kept::Broken(why), None, String::new(), (0, now));
        self.mark(id, now);
    }

    fn insert(
        &mut self,
        id: SessionId,
        kept: Kept,
        parent: Option<SessionId>,
        goal: String,
        (seq, at): (Seq, Timestamp),
    ) {
        let (rev, asked, asked_rev, children) = match self.nodes.remove(&id) {
            Some(before) => {
                self.over.remove(&(before.at, id));
                (before.rev, before.asked, before.asked_rev, before.children)
            }
            None => {
                let below = self.nodes.iter().filter(|(_, node)| node.parent == Some(id));
                (0, Vec::new(), 0, below.map(|(id, _)| *id).collect())
            }
        };
        if let Some(above) = parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            above.children.insert(id);
        }
        let node =
            Node { kept, parent, children, goal, held: false, seq, at, rev, asked, asked_rev, shown: "" };
        self.nodes.insert(id, node);
    }

    /// One more record of a session.
    pub(crate) fn apply(&mut self, id: SessionId, record: &Record<Event>) -> Took {
        let Some(node) = self.nodes.get_mut(&id) else { return Took::Anew };
        let Kept::Open(session) = &mut node.kept else {
            return if record.seq <= node.seq { Took::Known } else { Took::Anew };
        };
        if record.seq <= session.seq {
            return Took::Known;
        }
        if record.seq != session.seq + 1 || session.apply(record.at, &record.event).is_err() {
            return Took::Anew;
        }
        node.seq = session.seq;
        node.at = record.at;
        Took::In
    }

    /// Numbers a session's row anew, and those of all above it, whose sums it is part of. What has ended is let go.
    pub(crate) fn settle(&mut self, id: SessionId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Kept::Open(session) = &node.kept
            && session.end.is_some()
            && let Some(row) = view::board([&**session], now).pop()
        {
            let at = node.at;
            node.kept = Kept::Over(Box::new(row));
            self.over.insert((at, id));
        }
        let mut next = Some(id);
        for _ in 0..DEEPEST {
            let Some(at) = next else { break };
            self.mark(at, now);
            next = self.nodes.get(&at).and_then(|node| node.parent);
        }
        self.evict();
    }

    fn mark(&mut self, id: SessionId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        self.rev += 1;
        self.changed.remove(&node.rev);
        node.rev = self.rev;
        self.changed.insert(self.rev, id);
        node.shown = node.status(now);
    }

    /// Looks whether time, or a holder that is gone, changed what a row says; how many did.
    pub(crate) fn sweep(&mut self, now: Timestamp, held: impl Fn(SessionId) -> bool) -> usize {
        let mut moved = Vec::new();
        for (id, node) in &mut self.nodes {
            if matches!(node.kept, Kept::Open(_)) {
                node.held = held(*id);
                if node.status(now) != node.shown {
                    moved.push(*id);
                }
            }
        }
        moved.iter().for_each(|id| self.mark(*id, now));
        moved.len()
    }

    /// Is it executed by somebody?
    pub(crate) fn hold(&mut self, id: SessionId, held: bool) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.held = held;
        }
    }

    /// What it asks now.
    pub(crate) fn ask(&mut self, id: SessionId, asked: Vec<Value>) {
        if let Some(node) = self.nodes.get_mut(&id)
            && node.asked != asked
        {
            self.rev += 1;
            node.asked = asked;
            node.asked_rev = self.rev;
        }
    }

    fn evict(&mut self) {
        while self.over.len() > OVER_KEPT {
            let leaf = |(_, id): &&(Timestamp, SessionId)| {
                self.nodes.get(id).is_none_or(|node| node.children.is_empty())
            };
            let Some(&(at, id)) = self.over.iter().find(leaf) else { return };
            self.over.remove(&(at, id));
            let Some(node) = self.nodes.remove(&id) else { continue };
            self.changed.remove(&node.rev);
            if let Some(above) = node.parent.and_then(|parent| self.nodes.get_mut(&parent)) {
                above.children.remove(&id);
            }
            self.rev += 1;
            self.gone.insert(self.rev, id);
            while self.gone.len() > GONE_KEPT {
                self.floor = self.gone.pop_first().map_or(self.floor, |(rev, _)| rev);
            }
        }
    }

    /// Sessions whose rows changed after this number, each with the number of its change.
    pub(crate) fn since(&self, rev: u64) -> Vec<(u64, SessionId)> {
        self.changed.range(rev + 1..).map(|(rev, id)| (*rev, *id)).collect()
    }

    /// Sessions that went after this number.
    pub(crate) fn gone_since(&self, rev: u64) -> Vec<SessionId> {
        self.gone.range(rev + 1..).map(|(_, id)| *id).collect()
    }

    /// What sessions ask now.
    pub(crate) fn asking(&self) -> Vec<(SessionId, Vec<Value>)> {
        let asking = self.nodes.iter().filter(|(_, node)| !node.asked.is_empty());
        asking.map(|(id, node)| (*id, node.asked.clone())).collect()
    }

    /// What those ask, or ask no more, whose asking changed after this number.
    pub(crate) fn asked_since(&self, rev: u64) -> Vec<(SessionId, Vec<Value>)> {
        let asked = self.nodes.iter().filter(|(_, node)| node.asked_rev > rev);
        asked.map(|(id, node)| (*id, node.asked.clone())).collect()
    }

    /// One session's row without those below it.
    pub(crate) fn row(&self, id: SessionId, now: Timestamp) -> Option<Value> {
        let node = self.nodes.get(&id)?;
        let mut row = node.json(id, now);
        row["used_with_children"] = serde_json::to_value(self.sum(id, 0)).unwrap_or_default();
        row["parent"] =
            node.parent.filter(|parent| self.lists(*parent)).map(|parent| parent.to_string()).into();
        Some(row)
    }

    fn sum(&self, id: SessionId, depth: usize) -> contract::Amount {
        let Some(node) = self.nodes.get(&id).filter(|_| depth < DEEPEST) else {
            return contract::Amount::ZERO;
        };
        let own = match &node.kept {
            Kept::Open(session) => session.used,
            Kept::Over(row) => row.used,
            Kept::Broken(_) => contract::Amount::ZERO,
        };
        node.children.iter().fold(own, |sum, child| sum.plus(self.sum(*child, depth + 1)))
    }

    /// The trees, the newest first; below this session only, when it is named.
    pub(crate) fn trees(&self, root: Option<SessionId>, now: Timestamp) -> Vec<Value> {
        let tops: Vec<SessionId> = match root {
            Some(root) => vec![root],
            None => {
                let top = |node: &Node| node.parent.is_none_or(|parent| !self.lists(parent));
                self.nodes.iter().rev().filter(|(_, node)| top(node)).map(|(id, _)| *id).collect()
            }
        };
        tops.into_iter().filter_map(|top| self.tree(top, now, 0)).collect()
    }

    fn tree(&self, id: SessionId, now: Timestamp, depth: usize) -> Option<Value> {
        let mut row = self.row(id, now)?;
        let children = self.nodes.get(&id).filter(|_| depth < DEEPEST).map(|node| &node.children)?;
        if !children.is_empty() {
            row["children"] = children.iter().filter_map(|child| self.tree(*child, now, depth + 1)).collect();
        }
        Some(row)
    }
}

impl Node {
    /// What nobody holds does not run, whatever its last event says.
    fn status(&self, now: Timestamp) -> &'static str {
        let status = match &self.kept {
            Kept::Open(session) => session.status(now),
            Kept::Over(row) => row.status,
            Kept::Broken(_) => "failed",
        };
        match status {
            "running" | "active" | "created" if !self.held => "stopped",
            other => other,
        }
    }

    fn json(&self, id: SessionId, now: Timestamp) -> Value {
        let row = match &self.kept {
            Kept::Open(session) => {
                view::board([&**session], now).pop().and_then(|row| serde_json::to_value(row).ok())
            }
            Kept::Over(row) => serde_json::to_value(row).ok(),
            Kept::Broken(_) => None,
        };
        let mut row = row.unwrap_or_else(|| {
            json!({"id": id, "short": view::short(id), "goal": contract::Digest::default(), "stage": "", "round": 0, "used": {}})
        });
        row["status"] = self.status(now).into();
        row["goal_text"] = match &self.kept {
            Kept::Broken(why) => format!("cannot be read: {why}").into(),
            _ => self.goal.as_str().into(),
        };
        row["events"] = self.seq.into();
        row["quiet_ms"] = now.since(self.at).into();
        row
    }
}
