//! The oracle's own books of a project's caps: every call remembered with the hour, day and month it was reserved in.
//!
//! Kept by addition alone; knows nothing of the kernel's accounts. Start at [`Projects::enter`].

use crate::promise::{Checked, Promise};
use contract::project::{Caps, ProjectEvent};
use contract::{ActionId, Amount, SessionId, Timestamp};

#[derive(Debug)]
struct Call {
    session: SessionId,
    action: ActionId,
    within: [Timestamp; 3],
    amount: Amount,
    open: bool,
}

/// The books of one project.
#[derive(Debug, Default)]
pub(crate) struct Projects {
    caps: Caps,
    calls: Vec<Call>,
    /// The newest hour, day and month: a clock that was set back opens no older one.
    newest: [Timestamp; 3],
}

impl Projects {
    pub(crate) fn enter(&mut self, at: Timestamp, event: &ProjectEvent) -> Checked {
        match event {
            ProjectEvent::Capped { caps, .. } => {
                self.caps = *caps;
                Ok(())
            }
            ProjectEvent::Reserved { session, action, amount } => {
                self.open(
                    [at.hour(), at.day(), at.month()],
                    [at.next_hour(), at.next_day(), at.next_month()],
                );
                let twice = self.calls.iter().any(|c| c.open && (c.session, c.action) == (*session, *action));
                Promise::Budget.holds(!twice, || format!("{session} {action} is reserved twice"))?;
                let (session, action, amount) = (*session, *action, *amount);
                self.calls.push(Call { session, action, within: self.newest, amount, open: true });
                self.within()
            }
            ProjectEvent::Settled { session, action, used } => {
                let open = |c: &&mut Call| c.open && (c.session, c.action) == (*session, *action);
                let found = self.calls.iter_mut().find(open);
                Promise::Budget
                    .holds(found.is_some(), || format!("{session} {action}: settled, not reserved"))?;
                if let Some(call) = found {
                    (call.amount, call.open) = (*used, false);
                }
                Ok(())
            }
        }
    }

    /// The spans that this moment lies in. A clock that was ahead by more than a whole one opens it anew, for nobody waits
    /// for what lies there.
    fn open(&mut self, now: [Timestamp; 3], next: [Timestamp; 3]) {
        for n in 0..3 {
            if self.newest[n] > next[n] {
                self.calls.iter_mut().for_each(|call| call.within[n] = Timestamp::MAX);
                self.newest[n] = now[n];
            }
            self.newest[n] = self.newest[n].max(now[n]);
        }
    }

    /// Nothing is granted beyond a cap, with all that is on its way.
    fn within(&self) -> Checked {
        let sum = |counts: &dyn Fn(&Call) -> bool| {
            self.calls.iter().filter(|c| counts(c)).fold(Amount::ZERO, |sum, c| sum.plus(c.amount))
        };
        let spans = [
            ("hour", sum(&|c| c.within[0] == self.newest[0]), self.caps.hour),
            ("day", sum(&|c| c.within[1] == self.newest[1]), self.caps.day),
            ("month", sum(&|c| c.within[2] == self.newest[2]), self.caps.month),
            ("project", sum(&|_| true), self.caps.project),
        ];
        for (name, sum, cap) in spans {
            Promise::Budget.holds(sum.within(cap), || format!("{name}: {sum:?} of {cap:?}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_a_cap_is_noticed() {
        let tokens = |tokens| Amount { tokens, ..Amount::ZERO };
        let (session, now) = (SessionId(1), Timestamp(86_400_000));
        let reserve = |step, n| ProjectEvent::Reserved {
            session,
            action: ActionId { turn: 1, step },
            amount: tokens(n),
        };
        let settle =
            |step, n| ProjectEvent::Settled { session, action: ActionId { turn: 1, step }, used: tokens(n) };
        let capped = || {
            let mut books = Projects::default();
            let caps = Caps { day: Amount { tokens: 10, ..Amount::UNLIMITED }, ..Caps::NONE };
            books.enter(now, &ProjectEvent::Capped { caps, repo: String::new() }).unwrap();
            books.enter(now, &reserve(1, 6)).unwrap();
            books
        };
        assert!(capped().enter(now, &reserve(2, 5)).is_err());
        assert!(capped().enter(now, &reserve(1, 1)).is_err());
        assert!(capped().enter(now, &settle(2, 1)).is_err());
        let mut books = capped();
        books.enter(now, &settle(1, 1)).unwrap();
        books.enter(now, &reserve(2, 9)).unwrap();
        books.enter(now.plus(86_400_000), &reserve(3, 10)).unwrap();
    }
}
