//! What it took: per session, per model, per kind of action. The sums are the ledger's, to the last nano-dollar.
//!
//! The ledger says how much, the sessions' events say what for. Start at [`cost`].

use crate::start::block_name;
use contract::action::Work;
use contract::event::{Event, LedgerEvent};
use contract::record::Record;
use contract::{ActionId, Amount, SessionId};
use serde::Serialize;
use std::collections::BTreeMap;

/// Name of the part that steps taken ahead in blocks are booked under.
const STEPS: &str = "steps";

/// A tree's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// The cap, as raised.
    pub cap: Amount,
    /// What was ever reserved, is held now, was settled, was billed beyond.
    pub total: Part,
    /// More was billed than reserved, and nobody has raised the cap since.
    pub frozen: bool,
    /// Every session that has an account, oldest first.
    pub sessions: Vec<SessionCost>,
    /// By model.
    pub models: Vec<Part>,
    /// By kind of action.
    pub kinds: Vec<Part>,
}

/// One session's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionCost {
    /// Which.
    pub session: SessionId,
    /// Who delegated to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// Its cap inside the tree.
    pub cap: Amount,
    /// By itself.
    pub own: Part,
    /// Settled with everything below it.
    pub settled_with_children: Amount,
}

/// A sum under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Of what.
    pub name: String,
    /// Attempts started.
    pub calls: u64,
    /// Reserved in all.
    pub reserved: Amount,
    /// Reserved and not settled yet.
    pub held: Amount,
    /// Really used.
    pub settled: Amount,
    /// Billed beyond what was reserved.
    pub over: Amount,
}

impl Part {
    fn new(name: impl Into<String>) -> Self {
        let zero = Amount::ZERO;
        Self { name: name.into(), calls: 0, reserved: zero, held: zero, settled: zero, over: zero }
    }
}

/// What an action was.
#[derive(Clone)]
struct What {
    kind: &'static str,
    model: Option<String>,
}

/// The account of the tree whose ledger this is. `sessions`: their events from the first on; what is spent by a
/// session that is not among them is counted, under the kind `unknown`.
pub fn cost<'a>(
    ledger: &[Record<LedgerEvent>],
    sessions: impl IntoIterator<Item = (SessionId, &'a [Record<Event>])>,
) -> Cost {
    let mut what: BTreeMap<(SessionId, ActionId), What> = BTreeMap::new();
    let mut books = Books::default();
    for (session, events) in sessions {
        for record in events {
            let Event::Started { action, work, reserved, .. } = &record.event else { continue };
            let model = match work {
                Work::Model { model, .. } | Work::Summarise { model, .. } => Some(model.clone()),
                _ => None,
            };
            let kind = What { kind: work.name(), model };
            books.each(session, &kind, |part| part.calls += 1);
            what.insert((session, *action), kind);
            if reserved.steps > 0 {
                what.insert((session, block_name(*action)), What { kind: STEPS, model: None });
            }
        }
    }
    for record in ledger {
        books.enter(&record.event, &what);
    }
    books.close()
}

#[derive(Default)]
struct Books {
    cap: Amount,
    frozen: bool,
    total: Option<Part>,
    sessions: BTreeMap<SessionId, Part>,
    places: BTreeMap<SessionId, (Option<SessionId>, Amount)>,
    models: BTreeMap<String, Part>,
    kinds: BTreeMap<&'static str, Part>,
    holds: BTreeMap<(SessionId, ActionId), Amount>,
}

impl Books {
    /// Books the same thing under all its names.
    fn each(&mut self, session: SessionId, what: &What, book: impl Fn(&mut Part)) {
        book(self.total.get_or_insert_with(|| Part::new("total")));
        book(self.sessions.entry(session).or_insert_with(|| Part::new(session.to_string())));
        book(self.kinds.entry(what.kind).or_insert_with(|| Part::new(what.kind)));
        if let Some(model) = &what.model {
            book(self.models.entry(model.clone()).or_insert_with(|| Part::new(model.clone())));
        }
    }

    fn enter(&mut self, event: &LedgerEvent, what: &BTreeMap<(SessionId, ActionId), What>) {
        let unknown = What { kind: "unknown", model: None };
        let known = |session, action| what.get(&(session, action)).unwrap_or(&unknown);
        match event {
            LedgerEvent::Opened { cap } => self.cap = *cap,
            LedgerEvent::Admitted { session, parent, cap } => {
                self.places.insert(*session, (Some(*parent), *cap));
            }
            LedgerEvent::Reserved { session, action, amount } => {
                self.holds.insert((*session, *action), *amount);
                self.each(*session, known(*session, *action), |part| {
                    part.reserved = part.reserved.plus(*amount);
                    part.held = part.held.plus(*amount);
                });
            }
            LedgerEvent::Settled { session, action, used } => {
                let held = self.holds.remove(&(*session, *action)).unwrap_or_default();
                self.each(*session, known(*session, *action), |part| {
                    part.held = part.held.minus(held);
                    part.settled = part.settled.plus(*used);
                });
            }
            LedgerEvent::Overshoot { session, action, over } => {
                self.frozen = true;
                self.each(*session, known(*session, *action), |part| part.over = part.over.plus(*over));
            }
            LedgerEvent::Barred { .. } => {}
            LedgerEvent::Raised { amount } => {
                self.cap = self.cap.plus(*amount);
                self.frozen = false;
            }
        }
    }

    fn close(mut self) -> Cost {
        for session in self.places.keys() {
            self.sessions.entry(*session).or_insert_with(|| Part::new(session.to_string()));
        }
        let mut with_children: BTreeMap<SessionId, Amount> = BTreeMap::new();
        for (session, part) in &self.sessions {
            // Up to the root; never further than there are sessions.
            let up = |id: &SessionId| self.places.get(id).and_then(|(parent, _)| *parent);
            for id in std::iter::successors(Some(*session), up).take(self.places.len() + 1) {
                let sum = with_children.entry(id).or_default();
                *sum = sum.plus(part.settled);
            }
        }
        let place = |session: &SessionId| self.places.get(session).copied().unwrap_or((None, self.cap));
        let sessions = self.sessions.iter().map(|(session, own)| {
            let (parent, cap) = place(session);
            let settled_with_children = with_children.get(session).copied().unwrap_or_default();
            SessionCost { session: *session, parent, cap, own: own.clone(), settled_with_children }
        });
        Cost {
            cap: self.cap,
            total: self.total.clone().unwrap_or_else(|| Part::new("total")),
            frozen: self.frozen,
            sessions: sessions.collect(),
            models: self.models.into_values().collect(),
            kinds: self.kinds.into_values().collect(),
        }
    }
}
