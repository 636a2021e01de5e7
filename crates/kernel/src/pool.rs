//! Things of the machine that actions need at the same time: open files, connections, processes. All of a bundle or
//! nothing of it, in one breath (S1.5-2, S1.5-5).
//!
//! Nobody holds a part and waits for the rest, so nobody waits for each other for ever. Who waits stands in one line:
//! what those ahead want is not given to those behind. A share is kept for what a person waits for. Knows numbers, not
//! what they count. Start at [`Pools::fits`].

use contract::SessionId;
use contract::limits::POOL_KEPT_PERCENT;
use std::collections::BTreeMap;

/// So many of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bundle {
    /// Open files.
    pub files: u64,
    /// Connections to elsewhere.
    pub net: u64,
    /// Processes started at once.
    pub processes: u64,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// A person waits for it.
    Person,
    /// Anybody else.
    Work,
}

impl Bundle {
    /// Nothing.
    pub const NONE: Self = Self { files: 0, net: 0, processes: 0 };

    fn each(self) -> [u64; 3] {
        [self.files, self.net, self.processes]
    }

    fn of([files, net, processes]: [u64; 3]) -> Self {
        Self { files, net, processes }
    }

    fn with(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let [a, b] = [self.each(), other.each()];
        Self::of(std::array::from_fn(|kind| f(a[kind], b[kind])))
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// The larger of each.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        self.with(other, u64::max)
    }
}

/// What there is of each, and who holds what.
#[derive(Debug, Clone)]
pub struct Pools {
    most: Bundle,
    used: Bundle,
    held: BTreeMap<SessionId, Bundle>,
}

impl Pools {
    /// So many of each in all.
    pub fn new(most: Bundle) -> Self {
        Self { most, used: Bundle::NONE, held: BTreeMap::new() }
    }

    /// What somebody may hold at most, all others gone: a person everything, others all but the share kept for one.
    fn room(&self, whose: Whose) -> Bundle {
        match whose {
            Whose::Person => self.most,
            // Of one there is no share to keep.
            Whose::Work => self.most.with(Bundle::NONE, |most, _| {
                let kept = most / 100 * POOL_KEPT_PERCENT + most % 100 * POOL_KEPT_PERCENT / 100;
                (most - kept).min(most.saturating_sub(1)).max(1).min(most)
            }),
        }
    }

    /// Is all of it free, after those `ahead` had theirs? What is more than there can be counts as all there can be.
    pub fn fits(&self, want: Bundle, ahead: Bundle, whose: Whose) -> bool {
        let room = self.room(whose);
        let want = want.with(room, u64::min);
        let sum = self.used.plus(ahead).plus(want).each();
        (0..3).all(|kind| want.each()[kind] == 0 || sum[kind] <= room.each()[kind])
    }

    /// Takes all of it. Only after [`Pools::fits`]; what is wanted beyond what there is is not counted.
    pub fn take(&mut self, session: SessionId, want: Bundle, whose: Whose) {
        self.give_back(session);
        let want = want.with(self.room(whose), u64::min);
        if want != Bundle::NONE {
            self.used = self.used.plus(want);
            self.held.insert(session, want);
        }
    }

    /// Gives back what a session holds. True when that was something.
    pub fn give_back(&mut self, session: SessionId) -> bool {
        let held = self.held.remove(&session);
        self.used = self.used.with(held.unwrap_or_default(), u64::saturating_sub);
        held.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Bundle = Bundle { files: 100, net: 10, processes: 4 };

    fn of(files: u64, net: u64, processes: u64) -> Bundle {
        Bundle { files, net, processes }
    }

    #[test]
    fn a_person_finds_something_when_all_the_work_has_taken_what_it_may() {
        let mut pools = Pools::new(MOST);
        for n in 1.. {
            if !pools.fits(of(0, 0, 1), Bundle::NONE, Whose::Work) {
                assert_eq!(n, 4, "one of four is kept");
                break;
            }
            pools.take(SessionId(n), of(0, 0, 1), Whose::Work);
        }
        assert!(pools.fits(of(0, 0, 1), Bundle::NONE, Whose::Person));
        // Where there is one only, work may have it.
        let one = Pools::new(of(1, 1, 1));
        assert!(one.fits(of(1, 1, 1), Bundle::NONE, Whose::Work));
    }

    #[test]
    fn more_than_there_is_waits_for_all_there_is() {
        let mut pools = Pools::new(MOST);
        assert!(pools.fits(of(1_000, 0, 0), Bundle::NONE, Whose::Work));
        pools.take(SessionId(1), of(1, 0, 0), Whose::Work);
        assert!(!pools.fits(of(1_000, 0, 0), Bundle::NONE, Whose::Work));
        assert!(pools.give_back(SessionId(1)) && !pools.give_back(SessionId(1)));
        assert!(pools.fits(of(1_000, 0, 0), Bundle::NONE, Whose::Work));
    }

    #[test]
    fn who_wants_nothing_of_a_kind_does_not_wait_for_it() {
        let pools = Pools::new(MOST);
        let ahead = of(1_000, 0, 0);
        assert!(!pools.fits(of(1, 0, 0), ahead, Whose::Work));
        assert!(pools.fits(of(0, 1, 0), ahead, Whose::Work));
    }
}
