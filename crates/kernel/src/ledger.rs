//! A tree's budget: reserve, start, settle. settled <= reserved <= cap, for the tree and for each child's part.
//!
//! Knows amounts and who is whose child; not what they are spent on. Start at [`Ledger::grant`].

use contract::event::LedgerEvent;
use contract::{ActionId, Amount, SessionId, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::Illegal;
use crate::slow::share;

/// One session's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    parent: Option<SessionId>,
    cap: Amount,
    /// Reserved and not settled, with everything below.
    held: Amount,
    /// Settled, with everything below.
    settled: Amount,
    /// Billed beyond what was reserved, with everything below.
    over: Amount,
    barred: bool,
}

impl Account {
    /// What may still be reserved. What was billed beyond a reservation is gone as well.
    fn left(&self) -> Amount {
        self.cap.minus(self.held.plus(self.settled).plus(self.over))
    }
}

/// The fold of a tree's ledger stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Number of its last event.
    pub seq: u64,
    root: SessionId,
    accounts: BTreeMap<SessionId, Account>,
    holds: Vec<Hold>,
    frozen: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    session: SessionId,
    action: ActionId,
    amount: Amount,
}

/// Why nothing is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// This unit of somebody's cap does not suffice; whose, and what is left of it.
    Cap {
        /// Whose cap.
        session: SessionId,
        /// `money`, `tokens`, `steps` or `time`.
        unit: &'static str,
        /// What is left.
        left: Amount,
    },
    /// An overshoot froze the tree.
    Frozen,
    /// The session or one above it is being stopped.
    Barred,
    /// The session has no account in this tree.
    Unknown,
}

impl Ledger {
    /// The ledger of a tree that has no events yet.
    pub fn new(root: SessionId) -> Self {
        Self { seq: 0, root, accounts: BTreeMap::new(), holds: Vec::new(), frozen: false }
    }

    /// The account chain of a session, itself first, root last.
    fn path(&self, session: SessionId) -> Vec<SessionId> {
        let up = |id: &SessionId| self.accounts.get(id).and_then(|account| account.parent);
        std::iter::successors(Some(session), up).take(self.accounts.len() + 1).collect()
    }

    /// What is left of a session's cap and of every cap above it.
    pub fn left(&self, session: SessionId) -> Amount {
        self.path(session)
            .iter()
            .filter_map(|id| self.accounts.get(id))
            .fold(Amount::UNLIMITED, |left, account| left.min(account.left()))
    }

    /// The cap a session lives under: the tightest of its own and those above, in each unit.
    pub fn cap(&self, session: SessionId) -> Amount {
        let caps = self.path(session).into_iter().filter_map(|id| self.accounts.get(&id));
        caps.fold(Amount::UNLIMITED, |cap, account| cap.min(account.cap))
    }

    /// The largest share that is used of any cap in money or tokens that a session lives under, percent.
    pub fn share(&self, session: SessionId) -> u64 {
        let accounts = self.path(session).into_iter().filter_map(|id| self.accounts.get(&id));
        accounts.map(|account| share(account.settled, account.cap)).max().unwrap_or(0)
    }

    /// What a session and everything below it has used.
    pub fn settled(&self, session: SessionId) -> Amount {
        self.accounts.get(&session).map_or(Amount::ZERO, |account| account.settled)
    }

    /// What a session and everything below it holds reserved.
    pub fn held(&self, session: SessionId) -> Amount {
        self.accounts.get(&session).map_or(Amount::ZERO, |account| account.held)
    }

    /// What a session and everything below it was billed beyond its reservations.
    pub fn over(&self, session: SessionId) -> Amount {
        self.accounts.get(&session).map_or(Amount::ZERO, |account| account.over)
    }

    /// Every session that has a part of its own, the root included.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.accounts.keys().copied()
    }

    /// True once something billed more than was reserved, until a person raises the cap.
    pub fn frozen(&self) -> bool {
        self.frozen
    }

    /// What is reserved for this action.
    pub fn hold(&self, session: SessionId, action: ActionId) -> Option<Amount> {
        self.holds.iter().find(|h| h.session == session && h.action == action).map(|h| h.amount)
    }

    /// May this session start something that uses at most `amount`?
    pub fn grant(&self, session: SessionId, amount: Amount) -> Result<(), Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        if !self.accounts.contains_key(&session) {
            return Err(Refusal::Unknown);
        }
        let barred = |id: &SessionId| self.accounts.get(id).is_some_and(|account| account.barred);
        if self.path(session).iter().any(barred) {
            return Err(Refusal::Barred);
        }
        match self.short(session, amount) {
            Some((session, unit, left)) => Err(Refusal::Cap { session, unit, left }),
            None => Ok(()),
        }
    }

    /// The first session on the way up whose cap does not hold `amount` more, and what is left of it.
    fn short(&self, session: SessionId, amount: Amount) -> Option<(SessionId, &'static str, Amount)> {
        self.path(session).into_iter().filter(|_| !contract::planted!(OverBudget)).find_map(|id| {
            let left = self.accounts.get(&id)?.left();
            Some((id, amount.exceeds(left)?, left))
        })
    }

    /// Whose budget of what this settlement takes past the point where people are warned; what is spent then, and the cap.
    pub fn nearly_spent(&self, session: SessionId, used: Amount) -> Vec<(SessionId, &'static str, u64, u64)> {
        let path = self.path(session);
        let accounts = path.iter().filter_map(|id| Some((*id, self.accounts.get(id)?)));
        let crossed = accounts.flat_map(|(id, account)| {
            let (before, after, cap) = (account.settled, account.settled.plus(used), account.cap);
            [
                ("money", before.nanos, after.nanos, cap.nanos),
                ("tokens", before.tokens, after.tokens, cap.tokens),
                ("steps", before.steps, after.steps, cap.steps),
                ("time", before.time_ms, after.time_ms, cap.time_ms),
            ]
            .into_iter()
            .filter(|(_, before, after, cap)| crosses(*before, *after, *cap))
            .map(move |(unit, _, after, cap)| (id, unit, after, cap))
        });
        crossed.collect()
    }

    /// How many steps may be taken at once without going past the point of any cap where people are warned.
    pub fn steps_to_warning(&self, session: SessionId) -> u64 {
        let path = self.path(session);
        let caps = path.iter().filter_map(|id| self.accounts.get(id)).filter(|it| it.cap.steps != u64::MAX);
        let left = caps.filter_map(|account| {
            let share = u128::from(account.cap.steps) * u128::from(limits::BUDGET_WARN_PERCENT);
            let point = u64::try_from(share.div_ceil(100)).unwrap_or(u64::MAX);
            point.checked_sub(account.held.steps.saturating_add(account.settled.steps)).filter(|n| *n > 0)
        });
        left.min().unwrap_or(u64::MAX)
    }

    /// Folds one event. What would break the promise is refused: then the journal or the kernel is broken.
    pub fn apply(&mut self, event: &LedgerEvent) -> Result<(), Illegal> {
        let illegal = |why: &str| Illegal {
            state: format!("ledger of {}: {why}", self.root),
            event: format!("{event:?}"),
        };
        match event {
            LedgerEvent::Opened { cap } => {
                if !self.accounts.is_empty() {
                    return Err(illegal("open already"));
                }
                self.admit(self.root, None, *cap);
            }
            LedgerEvent::Admitted { session, parent, cap } => {
                if self.accounts.contains_key(session) || !self.accounts.contains_key(parent) {
                    return Err(illegal("no such place in the tree"));
                }
                self.admit(*session, Some(*parent), *cap);
            }
            LedgerEvent::Reserved { session, action, amount } => {
                if !self.accounts.contains_key(session) {
                    return Err(illegal("no such session"));
                }
                if self.hold(*session, *action).is_some() {
                    return Err(illegal("reserved already"));
                }
                if self.short(*session, *amount).is_some() {
                    return Err(illegal("more than is left"));
                }
                self.holds.push(Hold { session: *session, action: *action, amount: *amount });
                self.along(*session, |account| account.held = account.held.plus(*amount));
            }
            LedgerEvent::Settled { session, action, used } => {
                let found = self.holds.iter().position(|h| h.session == *session && h.action == *action);
                let found = found.ok_or_else(|| illegal("nothing reserved"))?;
                if !used.within(self.holds[found].amount) {
                    return Err(illegal("more than was reserved"));
                }
                let amount = self.holds[found].amount;
                if !contract::planted!(DoubleSettle) {
                    self.holds.swap_remove(found);
                }
                self.along(*session, |account| {
                    account.held = account.held.minus(amount);
                    account.settled = account.settled.plus(*used);
                });
            }
            LedgerEvent::Overshoot { session, over, .. } => {
                self.along(*session, |account| account.over = account.over.plus(*over));
                self.frozen = true;
            }
            LedgerEvent::Barred { session } => {
                self.accounts.get_mut(session).ok_or_else(|| illegal("no such session"))?.barred = true;
            }
            LedgerEvent::Raised { amount } => {
                let root = self.root;
                let account = self.accounts.get_mut(&root).ok_or_else(|| illegal("not open"))?;
                account.cap = account.cap.plus(*amount);
                self.frozen = false;
            }
        }
        self.seq += 1;
        Ok(())
    }

    fn admit(&mut self, session: SessionId, parent: Option<SessionId>, cap: Amount) {
        let account = Account {
            parent,
            cap,
            held: Amount::ZERO,
            settled: Amount::ZERO,
            over: Amount::ZERO,
            barred: false,
        };
        self.accounts.insert(session, account);
    }

    fn along(&mut self, session: SessionId, mut f: impl FnMut(&mut Account)) {
        for id in self.path(session) {
            if let Some(account) = self.accounts.get_mut(&id) {
                f(account);
            }
        }
    }

    /// The promise itself: for every account settled + held <= cap. What is billed beyond a reservation is no part
    /// of it: that is an overshoot, on record by itself.
    pub fn sound(&self) -> bool {
        self.accounts.values().all(|account| account.settled.plus(account.held).within(account.cap))
    }
}

/// Does going from `before` to `after` pass the share of this cap at which people are warned?
pub(crate) fn crosses(before: u64, after: u64, cap: u64) -> bool {
    let warned =
        |spent: u64| u128::from(spent) * 100 >= u128::from(cap) * u128::from(limits::BUDGET_WARN_PERCENT);
    cap != u64::MAX && cap > 0 && !warned(before) && warned(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: SessionId = SessionId(1);
    const CHILD: SessionId = SessionId(2);

    fn step(step: u32) -> ActionId {
        ActionId { turn: 1, step }
    }

    fn tokens(tokens: u64) -> Amount {
        Amount { tokens, ..Amount::ZERO }
    }

    fn tree() -> Ledger {
        let mut ledger = Ledger::new(ROOT);
        let cap = Amount { tokens: 100, ..Amount::UNLIMITED };
        ledger.apply(&LedgerEvent::Opened { cap }).unwrap();
        let cap = Amount { tokens: 40, ..Amount::UNLIMITED };
        ledger.apply(&LedgerEvent::Admitted { session: CHILD, parent: ROOT, cap }).unwrap();
        ledger
    }

    #[test]
    fn a_child_counts_against_itself_and_everyone_above() {
        let mut ledger = tree();
        ledger.grant(CHILD, tokens(40)).unwrap();
        ledger.apply(&LedgerEvent::Reserved { session: CHILD, action: step(1), amount: tokens(40) }).unwrap();
        assert!(matches!(
            ledger.grant(CHILD, tokens(1)),
            Err(Refusal::Cap { session: CHILD, unit: "tokens", .. })
        ));
        assert_eq!(ledger.left(ROOT).tokens, 60);
        ledger.apply(&LedgerEvent::Settled { session: CHILD, action: step(1), used: tokens(10) }).unwrap();
        assert_eq!((ledger.left(CHILD).tokens, ledger.left(ROOT).tokens), (30, 90));
        assert!(ledger.sound());
    }

    #[test]
    fn steps_taken_ahead_end_where_people_are_warned() {
        let mut ledger = Ledger::new(ROOT);
        let cap = |steps| Amount { steps, ..Amount::UNLIMITED };
        ledger.apply(&LedgerEvent::Opened { cap: cap(100) }).unwrap();
        ledger.apply(&LedgerEvent::Admitted { session: CHILD, parent: ROOT, cap: cap(11) }).unwrap();
        assert_eq!((ledger.steps_to_warning(ROOT), ledger.steps_to_warning(CHILD)), (80, 9));
        let amount = Amount { steps: 9, ..Amount::ZERO };
        ledger.apply(&LedgerEvent::Reserved { session: CHILD, action: step(1), amount }).unwrap();
        assert_eq!((ledger.steps_to_warning(ROOT), ledger.steps_to_warning(CHILD)), (71, 71));
        let crossed = ledger.nearly_spent(CHILD, amount);
        assert_eq!(crossed, [(CHILD, "steps", 9, 11)]);
        let time = Amount { time_ms: u64::MAX / 2, ..Amount::ZERO };
        assert_eq!(ledger.nearly_spent(CHILD, time), []);
    }

    #[test]
    fn a_parents_cap_binds_a_child_with_a_larger_one() {
        let mut ledger = tree();
        ledger.apply(&LedgerEvent::Reserved { session: ROOT, action: step(1), amount: tokens(80) }).unwrap();
        assert!(matches!(ledger.grant(CHILD, tokens(30)), Err(Refusal::Cap { session: ROOT, .. })));
    }

    #[test]
    fn settling_twice_or_without_a_reservation_is_illegal() {
        let mut ledger = tree();
        let settle = LedgerEvent::Settled { session: CHILD, action: step(1), used: tokens(1) };
        assert!(ledger.apply(&settle).is_err());
        ledger.apply(&LedgerEvent::Reserved { session: CHILD, action: step(1), amount: tokens(2) }).unwrap();
        ledger.apply(&settle).unwrap();
        assert!(ledger.apply(&settle).is_err());
    }

    #[test]
    fn more_than_is_left_cannot_be_reserved_and_more_than_reserved_cannot_be_settled() {
        let mut ledger = tree();
        let reserve = |amount| LedgerEvent::Reserved { session: CHILD, action: step(1), amount };
        assert!(ledger.apply(&reserve(tokens(41))).is_err());
        ledger.apply(&reserve(tokens(40))).unwrap();
        let settle = |used| LedgerEvent::Settled { session: CHILD, action: step(1), used };
        assert!(ledger.apply(&settle(tokens(41))).is_err());
        ledger.apply(&settle(tokens(40))).unwrap();
        assert!(ledger.sound());
    }

    #[test]
    fn what_was_billed_beyond_a_reservation_is_missing_afterwards() {
        let mut ledger = tree();
        let over = LedgerEvent::Overshoot { session: CHILD, action: step(1), over: tokens(30) };
        ledger.apply(&over).unwrap();
        ledger.apply(&LedgerEvent::Raised { amount: tokens(0) }).unwrap();
        assert_eq!((ledger.left(CHILD).tokens, ledger.left(ROOT).tokens), (10, 70));
        assert_eq!(ledger.over(ROOT).tokens, 30);
    }

    #[test]
    fn a_barred_parent_bars_the_child_and_an_overshoot_freezes_until_raised() {
        let mut ledger = tree();
        let over = LedgerEvent::Overshoot { session: CHILD, action: step(1), over: tokens(1) };
        ledger.apply(&over).unwrap();
        assert_eq!(ledger.grant(CHILD, Amount::ZERO), Err(Refusal::Frozen));
        ledger.apply(&LedgerEvent::Raised { amount: tokens(1) }).unwrap();
        ledger.grant(CHILD, Amount::ZERO).unwrap();
        ledger.apply(&LedgerEvent::Barred { session: ROOT }).unwrap();
        assert_eq!(ledger.grant(CHILD, Amount::ZERO), Err(Refusal::Barred));
    }
}
