//! What the sessions on one project may spend together in an hour, a day, a month and in all: reserve before, settle after.
//!
//! Knows amounts and moments; not who asks nor what for. UTC hours, days and months; a call belongs to those in which it
//! was reserved. Start at [`Project::grant`].

use crate::Illegal;
use crate::ledger::crosses;
use crate::slow::share;
use contract::project::{Caps, ProjectEvent};
use contract::{ActionId, Amount, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

/// A span that has a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Span {
    /// A UTC hour.
    Hour,
    /// A UTC day.
    Day,
    /// A UTC month.
    Month,
    /// Always.
    Project,
}

impl Span {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Month, Self::Project];

    /// The span's name in a person's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Project => "project",
        }
    }

    fn of<T>(self, all: [T; 4]) -> T {
        let [hour, day, month, project] = all;
        match self {
            Self::Hour => hour,
            Self::Day => day,
            Self::Month => month,
            Self::Project => project,
        }
    }

    /// The cap of this span.
    pub fn cap(self, caps: Caps) -> Amount {
        self.of([caps.hour, caps.day, caps.month, caps.project])
    }

    /// When the span began that this moment lies in.
    fn began(self, at: Timestamp) -> Timestamp {
        self.of([at.hour(), at.day(), at.month(), Timestamp(0)])
    }

    /// When the next one begins.
    fn ends(self, at: Timestamp) -> Option<Timestamp> {
        self.of([Some(at.next_hour()), Some(at.next_day()), Some(at.next_month()), None])
    }
}

/// What is held and spent in the newest span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Account {
    began: Timestamp,
    held: Amount,
    spent: Amount,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    session: SessionId,
    action: ActionId,
    amount: Amount,
    /// When the spans began that it was taken from.
    began: [Timestamp; 4],
}

/// The fold of a project's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Project {
    /// Number of its last event.
    pub seq: u64,
    caps: Caps,
    accounts: [Account; 4],
    holds: Vec<Hold>,
}

/// Why nothing is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// Which cap.
    pub span: Span,
    /// `money` or `tokens`.
    pub unit: &'static str,
    /// What is left of it.
    pub left: Amount,
    /// The cap.
    pub cap: Amount,
    /// When the next span begins.
    pub resets: Option<Timestamp>,
    /// Who holds most of it for a call that has not ended, and how much.
    pub held: Option<(SessionId, Amount)>,
}

/// A cap that is nearly used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearly {
    /// Which cap.
    pub span: Span,
    /// `money` or `tokens`.
    pub unit: &'static str,
    /// What is spent.
    pub spent: u64,
    /// The cap.
    pub cap: u64,
}

impl Project {
    /// The caps in force.
    pub fn caps(&self) -> Caps {
        self.caps
    }

    /// Is anything capped? A project without caps keeps no accounts.
    pub fn capped(&self) -> bool {
        self.caps != Caps::NONE
    }

    /// Held and spent in the span that this moment lies in. A clock that was set back does not open an old one again,
    /// unless by more than a whole span: then it was far ahead before, and nobody waits for what lies there.
    fn account(&self, span: Span, now: Timestamp) -> Account {
        let account = span.of(self.accounts);
        let began = span.began(now);
        let ahead = span.ends(now).is_some_and(|next| account.began > next);
        if began > account.began || ahead { Account { began, ..Account::default() } } else { account }
    }

    /// What is held and what is spent in this span, as of now.
    pub fn used(&self, span: Span, now: Timestamp) -> (Amount, Amount) {
        let account = self.account(span, now);
        (account.held, account.spent)
    }

    /// What is reserved for this action.
    pub fn hold(&self, session: SessionId, action: ActionId) -> Option<Amount> {
        let own = |hold: &&Hold| hold.session == session && hold.action == action;
        self.holds.iter().find(own).map(|hold| hold.amount)
    }

    /// May something start now that uses at most `amount` of money and tokens?
    pub fn grant(&self, amount: Amount, now: Timestamp) -> Result<(), Short> {
        for span in Span::ALL {
            let (cap, account) = (span.cap(self.caps), self.account(span, now));
            let left = cap.minus(account.held.plus(account.spent));
            if let Some(unit) = amount.exceeds(left) {
                let resets = span.ends(now.max(account.began));
                return Err(Short { span, unit, left, cap, resets, held: self.most_held(unit) });
            }
        }
        Ok(())
    }

    /// The largest share that is spent of any cap, percent.
    pub fn share(&self, now: Timestamp) -> u64 {
        let of = |span: Span| share(self.account(span, now).spent, span.cap(self.caps));
        Span::ALL.into_iter().map(of).max().unwrap_or(0)
    }

    /// Who holds most of this unit.
    fn most_held(&self, unit: &str) -> Option<(SessionId, Amount)> {
        let of = |amount: Amount| if unit == "money" { amount.nanos } else { amount.tokens };
        let most = self.holds.iter().max_by_key(|hold| of(hold.amount))?;
        (of(most.amount) > 0).then_some((most.session, most.amount))
    }

    /// The caps that this settlement takes past the point where people are warned.
    pub fn nearly_spent(&self, used: Amount, now: Timestamp) -> Vec<Nearly> {
        let one = |span: Span| {
            let (cap, before) = (span.cap(self.caps), self.account(span, now).spent);
            let after = before.plus(used);
            let units = [
                ("money", before.nanos, after.nanos, cap.nanos),
                ("tokens", before.tokens, after.tokens, cap.tokens),
            ];
            let crossed = units.into_iter().filter(|(_, before, after, cap)| crosses(*before, *after, *cap));
            crossed.map(move |(unit, _, spent, cap)| Nearly { span, unit, spent, cap })
        };
        Span::ALL.into_iter().flat_map(one).collect()
    }

    /// Folds one event. What would break the promise is refused: then the journal or the kernel is broken.
    pub fn apply(&mut self, at: Timestamp, event: &ProjectEvent) -> Result<(), Illegal> {
        let illegal =
            |why: &str| Illegal { state: format!("a project's ledger: {why}"), event: format!("{event:?}") };
        match event {
            ProjectEvent::Capped { caps, .. } => self.caps = *caps,
            ProjectEvent::Reserved { session, action, amount } => {
                if self.hold(*session, *action).is_some() {
                    return Err(illegal("reserved already"));
                }
                if self.grant(*amount, at).is_err() {
                    return Err(illegal("more than is left"));
                }
                self.accounts = Span::ALL.map(|span| self.account(span, at));
                for account in &mut self.accounts {
                    account.held = account.held.plus(*amount);
                }
                let began = self.accounts.map(|account| account.began);
                let (session, action, amount) = (*session, *action, *amount);
                self.holds.push(Hold { session, action, amount, began });
            }
            ProjectEvent::Settled { session, action, used } => {
                let own = |hold: &Hold| hold.session == *session && hold.action == *action;
                let found = self.holds.iter().position(own).ok_or_else(|| illegal("nothing reserved"))?;
                let hold = self.holds.swap_remove(found);
                // The span it was reserved in may be over: then it counts nowhere any more.
                let same = |(account, began): &(&mut Account, Timestamp)| account.began == *began;
                for (account, _) in self.accounts.iter_mut().zip(hold.began).filter(same) {
                    account.held = account.held.minus(hold.amount);
                    account.spent = account.spent.plus(*used);
                }
            }
        }
        self.seq += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20, noon.
    const NOON: Timestamp = Timestamp(1_795_176_000_000);
    const DAY: u64 = 86_400_000;
    const SESSION: SessionId = SessionId(1);

    fn usd(dollars: u64) -> Amount {
        Amount { nanos: dollars * 1_000_000_000, ..Amount::ZERO }
    }

    fn cap(dollars: u64) -> Amount {
        Amount { nanos: usd(dollars).nanos, ..Amount::UNLIMITED }
    }

    fn project(caps: Caps) -> Project {
        let mut project = Project::default();
        project.apply(NOON, &ProjectEvent::Capped { caps, repo: "/r".into() }).unwrap();
        project
    }

    fn reserve(project: &mut Project, at: Timestamp, step: u32, amount: Amount) -> Result<(), Illegal> {
        let action = ActionId { turn: 1, step };
        project.apply(at, &ProjectEvent::Reserved { session: SESSION, action, amount })
    }

    fn settle(project: &mut Project, at: Timestamp, step: u32, used: Amount) -> Result<(), Illegal> {
        let action = ActionId { turn: 1, step };
        project.apply(at, &ProjectEvent::Settled { session: SESSION, action, used })
    }

    #[test]
    fn each_span_has_its_own_cap_and_begins_anew() {
        let caps = Caps { day: cap(5), month: cap(7), project: cap(10), ..Caps::NONE };
        let mut project = project(caps);
        reserve(&mut project, NOON, 1, usd(5)).unwrap();
        let short = project.grant(usd(1), NOON).unwrap_err();
        assert_eq!((short.span, short.unit, short.left.nanos), (Span::Day, "money", 0));
        assert_eq!(short.held, Some((SESSION, usd(5))), "a call that has not ended, or nobody has heard of");
        assert_eq!(short.resets.unwrap().to_string(), "2026-11-21T00:00:00.000Z");
        settle(&mut project, NOON, 1, usd(4)).unwrap();
        project.grant(usd(1), NOON).unwrap();
        let tomorrow = NOON.plus(DAY);
        let short = project.grant(usd(4), tomorrow).unwrap_err();
        assert_eq!((short.span, short.left.nanos), (Span::Month, usd(3).nanos));
        assert_eq!(short.resets.unwrap().to_string(), "2026-12-01T00:00:00.000Z");
        reserve(&mut project, tomorrow, 2, usd(3)).unwrap();
        settle(&mut project, tomorrow, 2, usd(3)).unwrap();
        let december = NOON.plus(20 * DAY);
        let short = project.grant(usd(4), december).unwrap_err();
        assert_eq!((short.span, short.resets), (Span::Project, None));
        project.grant(usd(3), december).unwrap();
    }

    #[test]
    fn an_hours_cap_begins_anew_with_the_next_hour_and_leaves_the_days_alone() {
        let mut project = project(Caps { hour: cap(2), day: cap(5), ..Caps::NONE });
        let late = NOON.plus(59 * 60_000);
        reserve(&mut project, late, 1, usd(2)).unwrap();
        let short = project.grant(usd(1), late).unwrap_err();
        assert_eq!((short.span, short.left.nanos), (Span::Hour, 0));
        assert_eq!(short.resets.unwrap().to_string(), "2026-11-20T13:00:00.000Z");
        // It ends in the next hour, and counts for the one it was reserved in.
        let one = NOON.plus(3_600_000);
        reserve(&mut project, one, 2, usd(2)).unwrap();
        settle(&mut project, one, 1, usd(2)).unwrap();
        assert_eq!(project.used(Span::Hour, one), (usd(2), Amount::ZERO));
        assert_eq!(project.used(Span::Day, one), (usd(2), usd(2)));
        settle(&mut project, one, 2, usd(2)).unwrap();
        let short = project.grant(usd(2), NOON.plus(2 * 3_600_000)).unwrap_err();
        assert_eq!((short.span, short.left.nanos), (Span::Day, usd(1).nanos));
    }

    #[test]
    fn a_call_counts_for_the_day_it_was_reserved_in() {
        let mut project = project(Caps { day: cap(5), ..Caps::NONE });
        reserve(&mut project, NOON, 1, usd(5)).unwrap();
        let tomorrow = NOON.plus(DAY);
        reserve(&mut project, tomorrow, 2, usd(5)).unwrap();
        settle(&mut project, tomorrow, 1, usd(5)).unwrap();
        assert_eq!(project.used(Span::Day, tomorrow), (usd(5), Amount::ZERO));
        assert_eq!(project.used(Span::Project, tomorrow), (usd(5), usd(5)));
        settle(&mut project, tomorrow, 2, usd(2)).unwrap();
        assert_eq!(project.used(Span::Day, tomorrow), (Amount::ZERO, usd(2)));
    }

    #[test]
    fn a_clock_that_was_set_back_opens_no_old_day_again() {
        let mut project = project(Caps { day: cap(5), ..Caps::NONE });
        reserve(&mut project, NOON, 1, usd(5)).unwrap();
        let yesterday = Timestamp(NOON.0 - DAY);
        assert!(project.grant(usd(1), yesterday).is_err());
        settle(&mut project, yesterday, 1, usd(1)).unwrap();
        assert_eq!(project.used(Span::Day, NOON), (Amount::ZERO, usd(1)));
        reserve(&mut project, yesterday, 2, usd(1)).unwrap();
        settle(&mut project, NOON, 2, usd(1)).unwrap();
        assert_eq!(project.used(Span::Day, NOON), (Amount::ZERO, usd(2)), "it is in the day that is open");
    }

    #[test]
    fn a_clock_that_was_far_ahead_once_keeps_no_cap_used_up_until_then() {
        let mut project = project(Caps { day: cap(5), month: cap(5), project: cap(20), ..Caps::NONE });
        let ahead = NOON.plus(40 * DAY);
        reserve(&mut project, ahead, 1, usd(5)).unwrap();
        assert!(project.grant(usd(1), ahead).is_err());
        assert_eq!(
            project.grant(usd(1), NOON).unwrap_err().span,
            Span::Month,
            "the next month may be a day away"
        );
        let october = Timestamp(NOON.0 - 21 * DAY);
        reserve(&mut project, october, 2, usd(4)).unwrap();
        settle(&mut project, october, 1, usd(5)).unwrap();
        assert_eq!(project.used(Span::Day, october), (usd(4), Amount::ZERO));
        assert_eq!(project.used(Span::Project, october), (usd(4), usd(5)), "what was spent was spent");
    }

    #[test]
    fn what_was_not_reserved_is_not_settled_and_nothing_is_reserved_twice_or_beyond() {
        let mut project = project(Caps { project: cap(5), ..Caps::NONE });
        assert!(settle(&mut project, NOON, 1, usd(1)).is_err());
        reserve(&mut project, NOON, 1, usd(3)).unwrap();
        assert!(reserve(&mut project, NOON, 1, usd(1)).is_err());
        assert!(reserve(&mut project, NOON, 2, usd(3)).is_err());
        settle(&mut project, NOON, 1, usd(4)).unwrap();
        assert_eq!(project.used(Span::Project, NOON).1, usd(4), "what was billed beyond is gone as well");
        assert!(settle(&mut project, NOON, 1, usd(1)).is_err());
    }

    #[test]
    fn caps_change_and_what_was_spent_stays() {
        let mut project = project(Caps { day: cap(5), ..Caps::NONE });
        reserve(&mut project, NOON, 1, usd(5)).unwrap();
        let caps = Caps { day: cap(6), ..Caps::NONE };
        project.apply(NOON, &ProjectEvent::Capped { caps, repo: "/r".into() }).unwrap();
        project.grant(usd(1), NOON).unwrap();
        assert!(project.grant(usd(2), NOON).is_err());
    }

    #[test]
    fn people_are_warned_once() {
        let mut project = project(Caps { day: cap(5), ..Caps::NONE });
        reserve(&mut project, NOON, 1, usd(5)).unwrap();
        assert_eq!(project.nearly_spent(usd(3), NOON), []);
        let nearly = Nearly { span: Span::Day, unit: "money", spent: usd(4).nanos, cap: usd(5).nanos };
        assert_eq!(project.nearly_spent(usd(4), NOON), [nearly]);
        settle(&mut project, NOON, 1, usd(4)).unwrap();
        assert_eq!(project.nearly_spent(usd(1), NOON), []);
    }
}
