//! What one state of the world is, and by what two states count as the same one.
//!
//! The key of a state leaves out what cannot matter, and nothing else; each omission has its reason where it is made. Start at [`State`].

use contract::action::Outcome;
use contract::action::Run;
use contract::{Fence, SessionId, Timestamp};
use journal::Memory;
use kernel::Session;
use kernel::ledger::Ledger;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// When everything begins.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// What is further away than this does not come by itself, milliseconds: see `Action::Later`.
pub(crate) const SOON_MS: u64 = 1_000;

/// The whole world.
#[derive(Clone)]
pub struct State {
    pub(crate) trees: Vec<Arc<Tree>>,
    /// Set once something happened that must not.
    pub(crate) broken: Option<String>,
    key: u64,
}

/// One tree of sessions and its store. Trees share nothing but the workers' fate.
#[derive(Clone)]
pub(crate) struct Tree {
    /// Never written to: who writes forks it first.
    pub(crate) store: Memory,
    pub(crate) ledger: Arc<Kept<Ledger>>,
    /// The ledger as each worker's governor has it: one for all sessions of the tree that it holds, and maybe old.
    pub(crate) known: Vec<Option<Arc<Kept<Ledger>>>>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) now: Timestamp,
}

/// One session: what is durable, and what each worker holds of it.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) id: SessionId,
    pub(crate) fold: Arc<Kept<Session>>,
    /// Who has the newest lease.
    pub(crate) owner: Option<usize>,
    pub(crate) fence: Fence,
    pub(crate) lapsed: bool,
    pub(crate) views: Vec<Option<View>>,
    /// Intents that wait: what each wants.
    pub(crate) mail: Vec<Word>,
    pub(crate) past: Past,
}

/// What happened, as far as promises ask for it.
#[derive(Clone, Default, Hash)]
pub(crate) struct Past {
    /// Approvals in the order in which they were asked; their names hold sequence numbers, so the key has places.
    pub(crate) asked: Vec<Asked>,
    /// How often the external effect happened.
    pub(crate) effects: u8,
    /// What people have said so far.
    pub(crate) cancelled: bool,
    pub(crate) refused_fence: bool,
    pub(crate) conflict: bool,
    pub(crate) timed_out: bool,
}

/// One approval.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) again: bool,
    pub(crate) yes: u8,
    pub(crate) used: u8,
    /// Answers a person has typed.
    pub(crate) typed: u8,
}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, to: &mut H) {
        (self.again, self.yes, self.used, self.typed).hash(to);
    }
}

/// What a person said, with the place of the approval that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Word {
    /// Stop for good.
    Cancel,
    /// Yes.
    Approve(usize),
    /// No.
    Deny(usize),
    /// Something from another session.
    Other,
}

/// What one worker holds in memory of a session.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) fold: Arc<Kept<Session>>,
    pub(crate) fence: Fence,
    /// It has read the session and has not yet put on record that it took over.
    pub(crate) first: bool,
    pub(crate) flight: Option<Flight>,
    /// When its arbiter wants to look again.
    pub(crate) alarm: Option<Timestamp>,
    /// An outcome that will be delivered once more.
    pub(crate) late: Option<Outcome>,
    pub(crate) repeated: bool,
}

/// An action that runs.
#[derive(Clone)]
pub(crate) struct Flight {
    pub(crate) run: Arc<Run>,
    pub(crate) acted: bool,
    pub(crate) cancelled: bool,
}

/// A fold with its key.
pub(crate) struct Kept<T> {
    pub(crate) it: T,
    pub(crate) seq: u64,
    key: u64,
}

pub(crate) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Kept<Session> {
    /// Left out of the key: `seq`. It is compared with the store's head only, by a worker under the newest lease, which
    /// alone writes the session and so is never behind; and it gives approvals their names, which stand here by
    /// their place among all that were asked.
    pub(crate) fn session(session: Session, past: &Past) -> Arc<Self> {
        let seq = session.seq;
        let mut it = Session { seq: 0, ..session };
        let mut text = serde_json::to_string(&it).unwrap_or_default();
        it.seq = seq;
        for (place, asked) in past.asked.iter().enumerate() {
            text = text.replace(&format!("\"{}\"", asked.name), &format!("\"#{place}\""));
        }
        Arc::new(Self { seq, key: hash(text), it })
    }
}

impl Kept<Ledger> {
    /// Left out of the key: `seq`. Whether a worker's ledger is the store's newest stands in the key beside it.
    pub(crate) fn ledger(ledger: Ledger) -> Arc<Self> {
        let seq = ledger.seq;
        let mut it = ledger;
        it.seq = 0;
        let text = serde_json::to_string(&it).unwrap_or_default();
        it.seq = seq;
        Arc::new(Self { seq, key: hash(text), it })
    }
}

impl Slot {
    pub(crate) fn new(id: SessionId, session: Session, workers: usize) -> Self {
        let past = Past::default();
        Self {
            id,
            fold: Kept::session(session, &past),
            owner: None,
            fence: 0,
            lapsed: false,
            views: vec![None; workers],
            mail: Vec::new(),
            past,
        }
    }

    fn cell(&self, worker: usize) -> u64 {
        let view = self.views[worker].as_ref().map(|view| {
            let flight = view.flight.as_ref().map(|f| (f.run.action, f.run.attempt, f.acted, f.cancelled));
            let late = view.late.as_ref().map(|outcome| (outcome.action, outcome.attempt));
            (view.fold.key, view.fence, view.first, flight, view.alarm, late, view.repeated)
        });
        hash((view, self.owner == Some(worker)))
    }
}

impl Tree {
    /// The next moment for which a living arbiter has set its timer, if that is soon.
    pub(crate) fn alarm(&self) -> Option<Timestamp> {
        let views = self.slots.iter().flat_map(|slot| slot.views.iter().flatten());
        let soon = |at: &Timestamp| *at > self.now && at.since(self.now) <= SOON_MS;
        views.filter_map(|view| view.alarm).filter(soon).min()
    }

    /// Has this worker anything of it in memory? One that holds no session any more may still have an old ledger.
    pub(crate) fn knows(&self, worker: usize) -> bool {
        self.known[worker].is_some() || self.slots.iter().any(|slot| slot.views[worker].is_some())
    }

    /// The key of this tree by itself: the least one over all orders of workers.
    pub(crate) fn alone(&self) -> u64 {
        let workers = self.slots[0].views.len();
        orders(workers).iter().map(|order| self.key(order)).min().unwrap_or_default()
    }

    /// The key of this tree when the workers stand in this order.
    fn key(&self, order: &[usize]) -> u64 {
        let slot = |slot: &Slot| {
            let cells: Vec<u64> = order.iter().map(|w| slot.cell(*w)).collect();
            (slot.fold.key, slot.fence, slot.lapsed, hash(&slot.mail), hash(&slot.past), cells)
        };
        let known =
            |w: &usize| self.known[*w].as_ref().map(|ledger| (ledger.key, ledger.seq == self.ledger.seq));
        let known: Vec<_> = order.iter().map(known).collect();
        hash((self.ledger.key, self.now, known, self.slots.iter().map(slot).collect::<Vec<_>>()))
    }
}

impl State {
    /// A state with its key. Workers differ by their names only, and so do trees: the key is the least one over all
    /// orders of workers, with the trees sorted.
    pub(crate) fn close(trees: Vec<Arc<Tree>>, broken: Option<String>) -> Self {
        let workers = trees[0].slots[0].views.len();
        let keys = orders(workers).into_iter().map(|order| {
            let mut keys: Vec<u64> = trees.iter().map(|tree| tree.key(&order)).collect();
            keys.sort_unstable();
            hash(keys)
        });
        let key = hash((keys.min(), &broken));
        Self { trees, broken, key }
    }

    /// Every session with its tree.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (&Tree, &Slot)> {
        self.trees.iter().flat_map(|tree| tree.slots.iter().map(move |slot| (&**tree, slot)))
    }
}

fn orders(workers: usize) -> Vec<Vec<usize>> {
    match workers {
        0 => vec![Vec::new()],
        n => {
            let shorter = orders(n - 1);
            let insert = |order: &Vec<usize>| {
                let at = |at: usize| [&order[..at], &[n - 1], &order[at..]].concat();
                (0..n).map(at).collect::<Vec<_>>()
            };
            shorter.iter().flat_map(insert).collect()
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.key.hash(to);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for (tree, slot) in self.slots() {
            let s = &slot.fold.it;
            list.entry(&format_args!(
                "{} seq {} {} running {:?} cancel {} lease {:?}/{} lapsed {} effects {} ledger {} broken {:?}",
                slot.id,
                s.seq,
                s.status(tree.now),
                s.running.as_ref().map(|a| (a.action, a.attempt)),
                s.cancel,
                slot.owner,
                slot.fence,
                slot.lapsed,
                slot.past.effects,
                tree.ledger.seq,
                self.broken
            ));
        }
        list.finish()
    }
}
