//! A session with everything below it, folded from the journal as it grows: nothing is lost, whoever executes it.
//!
//! Decides nothing; says what happened, and whether anything can still happen by itself. Start at [`Tree::open`].

use crate::exit::{self, Failure};
use contract::event::Event;
use contract::journal::Stored;
use contract::record::Record;
use contract::session::Parent;
use contract::{SessionId, StreamId, Timestamp};
use engine::{Engine, Watch};
use kernel::Session;
use kernel::fsm::Phase;
use kernel::session::Waiting;
use std::collections::BTreeMap;

/// A followed tree.
pub(crate) struct Tree {
    engine: Engine,
    /// Its root.
    pub(crate) root: SessionId,
    nodes: BTreeMap<SessionId, Node>,
}

struct Node {
    state: Session,
    watch: Watch,
}

/// An event, as it came out of the journal.
pub(crate) struct Happened {
    /// Whose.
    pub(crate) session: SessionId,
    /// Its bytes.
    pub(crate) stored: Stored,
    /// What they say.
    pub(crate) record: Record<Event>,
}

/// Why a session does not go on by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocker {
    /// Which session.
    pub(crate) session: SessionId,
    /// What it waits for.
    pub(crate) kind: Need,
}

/// What a session waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// A yes or no.
    Approval(String),
    /// An answer.
    Answer(String),
    /// To be resumed, for this reason.
    Resume {
        /// Exit code of the pause.
        code: u8,
    },
}

impl Blocker {
    /// The exit code of a surface that cannot help it.
    pub(crate) fn code(&self) -> u8 {
        match self.kind {
            Need::Approval(_) | Need::Answer(_) => exit::NEEDS_YOU,
            Need::Resume { code } => code,
        }
    }
}

impl Tree {
    /// A tree as the journal has it now; what happens from here on is told by [`Tree::news`].
    pub(crate) async fn open(engine: &Engine, root: SessionId) -> Result<Self, Failure> {
        let mut tree = Self { engine: engine.clone(), root, nodes: BTreeMap::new() };
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            let state = engine.look(id).await?.unwrap_or_else(|| Session::new(id));
            open.extend(state.live_children());
            tree.add(state);
        }
        Ok(tree)
    }

    /// A tree from its first event on.
    pub(crate) fn from_start(engine: &Engine, root: SessionId) -> Self {
        let mut tree = Self { engine: engine.clone(), root, nodes: BTreeMap::new() };
        tree.add(Session::new(root));
        tree
    }

    fn add(&mut self, state: Session) {
        let watch = self.engine.watch(state.id, state.seq);
        self.nodes.insert(state.id, Node { state, watch });
    }

    /// The state of a session of the tree.
    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.nodes.get(&id).map(|node| &node.state)
    }

    /// The state of the root.
    pub(crate) fn root(&self) -> &Session {
        // `open` and `from_start` put it there, and nothing is ever taken out.
        self.get(self.root).unwrap_or_else(|| unreachable!("a tree has its root"))
    }

    /// Every session of the tree, oldest first.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.nodes.values().map(|node| &node.state)
    }

    /// What was appended since the last call, in each stream's order; empty when there is nothing new.
    pub(crate) async fn news(&mut self) -> Result<Vec<Happened>, Failure> {
        let mut news = Vec::new();
        let mut open: Vec<SessionId> = self.nodes.keys().copied().collect();
        while let Some(id) = open.pop() {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            let mut born = Vec::new();
            for stored in node.watch.now().await? {
                let stream = StreamId::Session(id);
                let record: Record<Event> = engine::store::decode(stream, stored.seq, &stored.bytes)?;
                node.state.apply(record.at, &record.event).map_err(|error| {
                    let what =
                        format!("event {} of {stream} does not fit what came before: {error}", stored.seq);
                    Failure::from(contract::journal::Error::Corrupt(what))
                })?;
                if let Event::ChildOpened { child, .. } = &record.event {
                    born.push(*child);
                }
                news.push(Happened { session: id, stored, record });
            }
            for child in born {
                if !self.nodes.contains_key(&child) {
                    self.add(Session::new(child));
                    open.push(child);
                }
            }
        }
        Ok(news)
    }

    /// True when nothing will happen by itself: the root has ended with everything below it, or every session
    /// that has not waits for a person.
    pub(crate) fn idle(&self, now: Timestamp) -> bool {
        if self.root().phase == Phase::Ended {
            return self.sessions().all(|state| state.phase == Phase::Ended);
        }
        self.rests(self.root(), now)
    }

    fn rests(&self, state: &Session, now: Timestamp) -> bool {
        match (state.phase, state.waiting(now)) {
            (Phase::Ended, _) => true,
            (Phase::Paused, _) => state.running.is_none(),
            (Phase::Active, Some(Waiting::Approval(_) | Waiting::Answer(_))) => true,
            (Phase::Active, Some(Waiting::Children(_))) => {
                let mut children = state.live_children();
                // A child that has ended has yet to be heard by its parent: that happens by itself.
                children.all(|id| self.get(id).is_some_and(|c| c.phase != Phase::Ended && self.rests(c, now)))
            }
            (Phase::Active, _) => false,
        }
    }

    /// Does it wait for a provider's limit, and nothing else goes on?
    pub(crate) fn held_up(&self, now: Timestamp) -> bool {
        let mut busy = self.sessions().filter(|state| state.phase == Phase::Active);
        let waits = |state: &Session| {
            state.held_up(now).is_some() || matches!(state.waiting(now), Some(Waiting::Children(_)))
        };
        self.sessions().any(|state| state.held_up(now).is_some()) && busy.all(waits)
    }

    /// What the sessions of the tree wait for, the root's own first.
    pub(crate) fn blockers(&self, now: Timestamp) -> Vec<Blocker> {
        self.sessions().filter_map(|state| blocker(state, now)).collect()
    }

    /// Sessions that have not ended and do not wait for a person.
    pub(crate) fn busy(&self, now: Timestamp) -> Vec<SessionId> {
        let busy = |state: &&Session| state.phase != Phase::Ended && !self.rests(state, now);
        self.sessions().filter(busy).map(|state| state.id).collect()
    }
}

/// What a session waits for, when it is a person.
pub(crate) fn blocker(state: &Session, now: Timestamp) -> Option<Blocker> {
    let kind = match (&state.pause, state.waiting(now)) {
        _ if state.phase == Phase::Ended => return None,
        (Some(pause), _) => Need::Resume { code: pause.code },
        (None, Some(Waiting::Approval(id))) => Need::Approval(id),
        (None, Some(Waiting::Answer(id))) => Need::Answer(id),
        _ => return None,
    };
    Some(Blocker { session: state.id, kind })
}

/// The call of the parent that waits for this session, if it was delegated.
pub(crate) fn parent(state: &Session) -> Option<&Parent> {
    state.spec.as_ref()?.parent.as_ref()
}
