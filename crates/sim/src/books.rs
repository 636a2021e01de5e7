//! A tree's budget, kept a second time and without the kernel: what was promised (I9), by addition alone.
//!
//! Knows ledger events only. Start at [`Books::enter`].

use crate::promise::{Checked, Promise};
use contract::event::LedgerEvent;
use contract::{ActionId, Amount, SessionId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy)]
struct Account {
    parent: Option<SessionId>,
    cap: Amount,
    held: Amount,
    settled: Amount,
}

/// The books of one tree.
#[derive(Debug, Default)]
pub(crate) struct Books {
    accounts: BTreeMap<SessionId, Account>,
    open: BTreeMap<(SessionId, ActionId), Amount>,
    barred: BTreeSet<SessionId>,
    frozen: bool,
}

impl Books {
    fn above(&self, session: SessionId) -> Vec<SessionId> {
        let up = |id: &SessionId| self.accounts.get(id)?.parent;
        std::iter::successors(Some(session), up).collect()
    }

    /// Has it an account?
    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.accounts.contains_key(&session)
    }

    fn each(&mut self, session: SessionId, mut f: impl FnMut(&mut Account)) {
        for id in self.above(session) {
            self.accounts.get_mut(&id).into_iter().for_each(&mut f);
        }
    }

    /// One fact.
    pub(crate) fn enter(&mut self, root: SessionId, event: &LedgerEvent) -> Checked {
        let wrong = |why: &str| Promise::Budget.broken(format!("tree {root}: {why}: {event:?}"));
        match event {
            LedgerEvent::Opened { cap } => {
                self.open_account(root, None, *cap);
            }
            LedgerEvent::Admitted { session, parent, cap } => {
                if !self.accounts.contains_key(parent) {
                    return wrong("a child of nobody");
                }
                self.open_account(*session, Some(*parent), *cap);
            }
            LedgerEvent::Reserved { session, action, amount } => {
                if self.frozen || self.above(*session).iter().any(|id| self.barred.contains(id)) {
                    return wrong("granted although it was frozen or barred");
                }
                if self.open.insert((*session, *action), *amount).is_some() {
                    return wrong("reserved twice");
                }
                self.each(*session, |account| account.held = account.held.plus(*amount));
                let over = |id: &SessionId| {
                    self.accounts.get(id).is_some_and(|a| !a.settled.plus(a.held).within(a.cap))
                };
                if self.above(*session).iter().any(over) {
                    return wrong("over the cap");
                }
            }
            LedgerEvent::Settled { session, action, used } => {
                let Some(amount) = self.open.remove(&(*session, *action)) else {
                    return wrong("settled without a reservation");
                };
                if !used.within(amount) {
                    return wrong("more was settled than reserved");
                }
                self.each(*session, |account| {
                    account.held = account.held.minus(amount);
                    account.settled = account.settled.plus(*used);
                });
            }
            LedgerEvent::Overshoot { .. } => self.frozen = true,
            LedgerEvent::Barred { session } => {
                self.barred.insert(*session);
            }
            LedgerEvent::Raised { amount } => {
                self.frozen = false;
                if let Some(account) = self.accounts.get_mut(&root) {
                    account.cap = account.cap.plus(*amount);
                }
            }
        }
        Ok(())
    }

    fn open_account(&mut self, session: SessionId, parent: Option<SessionId>, cap: Amount) {
        let account = Account { parent, cap, held: Amount::ZERO, settled: Amount::ZERO };
        self.accounts.insert(session, account);
    }

    /// When everything has ended, nothing is held any more.
    pub(crate) fn at_rest(&self, root: SessionId) -> Checked {
        Promise::Budget.holds(self.open.is_empty(), || format!("tree {root}: held for ever: {:?}", self.open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: SessionId = SessionId(1);

    fn tokens(tokens: u64) -> Amount {
        Amount { tokens, ..Amount::ZERO }
    }

    #[test]
    fn each_way_to_break_the_books_is_noticed() {
        let action = ActionId { turn: 1, step: 1 };
        let reserve = |n| LedgerEvent::Reserved { session: ROOT, action, amount: tokens(n) };
        let settle = |n| LedgerEvent::Settled { session: ROOT, action, used: tokens(n) };
        let opened = LedgerEvent::Opened { cap: tokens(10) };
        for (events, sound) in [
            (vec![reserve(10), settle(7), reserve(3)], true),
            (vec![reserve(11)], false),
            (vec![reserve(5), reserve(5)], false),
            (vec![reserve(5), settle(6)], false),
            (vec![reserve(5), settle(5), settle(5)], false),
            (vec![reserve(10), settle(7), reserve(4)], false),
            (vec![LedgerEvent::Barred { session: ROOT }, reserve(1)], false),
        ] {
            let mut books = Books::default();
            books.enter(ROOT, &opened).unwrap();
            let done = events.iter().try_for_each(|event| books.enter(ROOT, event));
            assert_eq!(done.is_ok(), sound, "{events:?}");
        }
    }
}
