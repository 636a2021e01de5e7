//! When a schedule fires: which of its slots has come, what becomes of those that were missed, and what a task that
//! runs means for it.
//!
//! Knows moments and a wall clock that somebody else reads ([`Zone`]); no file, no journal. Start at [`Schedule::due`].

use contract::Timestamp;

/// What a wall clock shows, as minutes since it showed 1970-01-01 00:00.
pub type Wall = i64;

/// Minutes of a day as the wall shows them.
pub const DAY_MIN: i64 = 24 * 60;
/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;
/// Milliseconds of a day without a change of the clock.
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// A slot this late counts as missed where missed ones are not made up for: a loop looks more than once a minute.
pub const LATE_MS: u64 = 2 * MINUTE_MS;
/// Slots that are looked at one by one; of a longer sleep only the newest are counted.
const COUNTED: u64 = 10_000;
/// 1970-01-01 was a Thursday.
const EPOCH_WEEKDAY: i64 = 4;

/// How the wall clock of a place goes. Both directions are total.
pub trait Zone {
    /// What it shows at this moment, seconds cut off.
    fn wall(&self, at: Timestamp) -> Wall;
    /// When it shows this: what is passed over when clocks go forward lies as far behind the gap as it would have lain
    /// in it; what comes twice when they go back is its first time.
    fn moment(&self, wall: Wall) -> Timestamp;
}

/// The unit of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Sixty seconds, whatever the wall clock does.
    Minute,
    /// Sixty minutes, whatever the wall clock does.
    Hour,
    /// From a time of the day to the same of the next, by the wall clock.
    Day,
}

/// How far apart slots are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    /// How many units; 0 counts as 1.
    pub count: u32,
    /// Of which.
    pub unit: Unit,
}

impl Every {
    /// Without a change of the clock, milliseconds.
    pub(crate) fn step_ms(self) -> u64 {
        let unit_ms = match self.unit {
            Unit::Minute => MINUTE_MS,
            Unit::Hour => 60 * MINUTE_MS,
            Unit::Day => DAY_MS,
        };
        u64::from(self.count.max(1)) * unit_ms
    }
}

/// Days of a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Days(u8);

impl Days {
    /// With this one, 0 = Sunday.
    #[must_use]
    pub fn with(self, weekday: u8) -> Self {
        Self(self.0 | 1 << (weekday % 7))
    }

    /// None chosen means every one.
    fn has(self, wall: Wall) -> bool {
        let weekday = (wall.div_euclid(DAY_MIN) + EPOCH_WEEKDAY).rem_euclid(7);
        self.0 == 0 || self.0 & (1 << weekday) != 0
    }
}

/// What to do with slots that came while nobody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// One run stands for all of them.
    #[default]
    Once,
    /// None is made up for.
    Skip,
    /// Each is run, the oldest first, but at most so many.
    All(u32),
}

/// What to do where a task runs already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// Wait until it ends, or has done nothing for so long, milliseconds; then it is interrupted.
    Wait {
        /// So long.
        idle_ms: u64,
    },
    /// Interrupt it.
    Interrupt,
    /// Let the slot go.
    Skip,
}

/// A schedule, as far as time is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Somebody wants it to fire.
    pub active: bool,
    /// `None`: it never fires.
    pub every: Option<Every>,
    /// Only on these.
    pub days: Days,
    /// The first slot of a fixed grid; `None` = intervals count from the last run.
    pub start: Option<Wall>,
    /// The minute of the day to which a slot moves that its days forbid.
    pub at: i64,
    /// The last minute it may fire in.
    pub expires: Option<Wall>,
    /// What it does where a task runs already.
    pub meets: Meets,
    /// Passed over where nothing else happened since its last run.
    pub needs_activity: bool,
    /// What was missed.
    pub missed: Missed,
}

/// From where slots are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// No slot at or before this moment comes any more.
    pub at: Timestamp,
    /// It ran then, or was passed over; false: it was only seen for the first time.
    pub ran: bool,
    /// This one has come and waits for a task that runs.
    pub held: Option<Timestamp>,
    /// The newest slots that are dealt with: none comes twice, whatever the clock does.
    pub recent: Vec<Timestamp>,
}

/// A slot that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// When it was to be.
    pub at: Timestamp,
    /// Earlier ones it stands for.
    pub missed: u32,
}

/// How a schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// No slot comes; why.
    Never(&'static str),
    /// Its last minute is over: it is no longer active.
    Expired,
    /// Not before this moment.
    Later(Timestamp),
    /// To be run.
    Now(Slot),
    /// Too late: missed slots are not made up for.
    Late(Slot),
}

/// Where the slots of a schedule lie, its days aside.
enum Grid {
    /// So many milliseconds apart.
    Elapsed { origin: Timestamp, step_ms: u64 },
    /// So many days apart, at one time of the day.
    Daily { origin: Wall, step_min: i64 },
}

impl Grid {
    /// The first one behind this moment.
    fn after(&self, at: Timestamp, zone: &dyn Zone) -> Timestamp {
        match *self {
            Self::Elapsed { origin, .. } if at < origin => origin,
            Self::Elapsed { origin, step_ms } => origin.plus((at.since(origin) / step_ms + 1) * step_ms),
            Self::Daily { origin, step_min } => {
                let steps = (zone.wall(at) - origin).div_euclid(step_min).max(0);
                let mut wall = origin + steps * step_min;
                while zone.moment(wall) <= at && zone.moment(wall) < Timestamp::MAX {
                    wall += step_min;
                }
                zone.moment(wall)
            }
        }
    }
}

impl Schedule {
    /// How it stands at this moment.
    pub fn due(&self, since: &Since, now: Timestamp, zone: &dyn Zone) -> Due {
        let Some(every) = self.every else {
            return Due::Never("it has no interval");
        };
        if !self.active {
            return Due::Never("it is not active");
        }
        if self.expires.is_some_and(|last| zone.wall(now) > last) {
            return Due::Expired;
        }
        let since = &sane(since, now, every);
        let grid = self.grid(since, every, zone);
        let come = self.come(&grid, since, (now, every.step_ms()), zone);
        match (come.newest, self.missed) {
            (None, _) => match self.behind(&grid, since, now.max(since.at), zone) {
                Some(next) => Due::Later(next),
                None => Due::Never("no slot of it comes any more"),
            },
            (Some(at), Missed::Skip) if now.since(at) > LATE_MS && since.held.is_none() => {
                Due::Late(Slot { at, missed: come.count - 1 })
            }
            (Some(_), Missed::All(most)) => {
                let kept = come.last.len().min(most.max(1) as usize);
                let at = come.last[come.last.len() - kept];
                Due::Now(Slot { at, missed: come.count - u32::try_from(kept).unwrap_or(u32::MAX) })
            }
            (Some(at), _) => Due::Now(Slot { at, missed: come.count - 1 }),
        }
    }

    /// The slots that come next behind this moment, at most so many.
    pub fn next(&self, since: &Since, after: Timestamp, zone: &dyn Zone, most: usize) -> Vec<Timestamp> {
        let mut found = Vec::new();
        let Some(every) = self.every.filter(|_| self.active) else { return found };
        let since = &sane(since, after, every);
        let grid = self.grid(since, every, zone);
        let mut at = after.max(since.at);
        while let (true, Some(next)) = (found.len() < most, self.behind(&grid, since, at, zone)) {
            found.push(next);
            at = next;
        }
        found
    }

    fn grid(&self, since: &Since, every: Every, zone: &dyn Zone) -> Grid {
        // The wall clock at which counting begins. Seconds of a run do not count.
        let origin = match (self.start, since.ran) {
            (Some(start), _) => start,
            (None, true) => zone.wall(since.at),
            (None, false) => zone.wall(since.at).div_euclid(DAY_MIN) * DAY_MIN + self.at,
        };
        if every.unit == Unit::Day {
            return Grid::Daily { origin, step_min: i64::from(every.count.max(1)) * DAY_MIN };
        }
        // A minute that the wall shows twice is the one it ran in, not the first.
        let ran = Timestamp(since.at.0 - since.at.0 % MINUTE_MS);
        let origin = if self.start.is_none() && since.ran { ran } else { zone.moment(origin) };
        Grid::Elapsed { origin, step_ms: every.step_ms() }
    }

    /// The first slot behind this moment that may fire; `None`: it has expired by then.
    fn behind(&self, grid: &Grid, since: &Since, at: Timestamp, zone: &dyn Zone) -> Option<Timestamp> {
        let mut at = at;
        loop {
            let slot = self.allowed(grid.after(at, zone), zone);
            if slot >= Timestamp::MAX || self.expires.is_some_and(|last| zone.wall(slot) > last) {
                return None;
            }
            if !since.recent.contains(&slot) {
                return Some(slot);
            }
            at = slot;
        }
    }

    /// The slot itself, or where its days move it: to the beginning of the next day that they allow.
    fn allowed(&self, slot: Timestamp, zone: &dyn Zone) -> Timestamp {
        let wall = zone.wall(slot);
        if self.days.has(wall) {
            return slot;
        }
        let day = |n: i64| (wall.div_euclid(DAY_MIN) + n) * DAY_MIN + self.at;
        let next = (1..=7).map(day).find(|wall| self.days.has(*wall));
        next.map_or(slot, |wall| zone.moment(wall))
    }

    fn come(&self, grid: &Grid, since: &Since, (now, step_ms): (Timestamp, u64), zone: &dyn Zone) -> Come {
        let mut come = Come::default();
        // Of a long sleep only its end is counted.
        let first = Timestamp(now.0.saturating_sub(step_ms.saturating_mul(COUNTED)));
        let mut at = since.at.max(first);
        if let Some(held) = since.held.filter(|held| *held <= now) {
            come.add(held, self.missed);
            if self.start.is_none() {
                return come;
            }
            at = at.max(held);
        }
        while let Some(slot) = self.behind(grid, since, at, zone).filter(|slot| *slot <= now) {
            come.add(slot, self.missed);
            at = slot;
        }
        come
    }
}

/// Slots that have come.
#[derive(Default)]
struct Come {
    count: u32,
    newest: Option<Timestamp>,
    /// The newest ones, oldest first, as many as are run one by one.
    last: Vec<Timestamp>,
}

impl Come {
    fn add(&mut self, slot: Timestamp, missed: Missed) {
        self.count = self.count.saturating_add(1);
        self.newest = Some(slot);
        if let Missed::All(most) = missed {
            self.last.push(slot);
            if self.last.len() > most.max(1) as usize {
                self.last.remove(0);
            }
        }
    }
}

/// A moment far ahead of the clock was written by one that went wrong: slots count from now then.
fn sane(since: &Since, now: Timestamp, every: Every) -> Since {
    let ahead = since.at > now.plus(every.step_ms().max(DAY_MS));
    Since { at: if ahead { now } else { since.at }, ..since.clone() }
}

/// What is to be done about a slot that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Run it.
    Run,
    /// Run it, and let what runs pause first.
    Interrupt,
    /// Look again in a minute.
    Hold,
    /// Let it go; why.
    Pass(&'static str),
}

/// What else is going on in the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Around {
    /// A task runs, and has done nothing for so long, milliseconds.
    pub runs_idle_ms: Option<u64>,
    /// Something happened in another task since the schedule's last run.
    pub active: bool,
    /// It has run before.
    pub ran: bool,
    /// Its own last session has not ended.
    pub open: bool,
    /// A job is claimed and not open yet, or there are as many as there may be: nothing more is claimed meanwhile.
    pub claimed: bool,
}

impl Schedule {
    /// Does it depend on what the wall clock of a place shows, not on elapsed time alone?
    pub fn by_the_wall(&self) -> bool {
        let daily = self.every.is_some_and(|every| every.unit == Unit::Day);
        daily
            || self.start.is_some()
            || self.expires.is_some()
            || self.days != Days::default()
            || self.at != 0
    }

    /// What a slot that has come means, with all this going on.
    pub fn then(&self, around: Around) -> Then {
        if self.needs_activity && around.ran && !around.active {
            return Then::Pass("nothing happened in other tasks since its last run");
        }
        match (around.runs_idle_ms, self.meets) {
            (Some(_), Meets::Skip) => Then::Pass("a task was running"),
            _ if around.open || around.claimed => Then::Hold,
            (None, _) => Then::Run,
            (Some(idle), Meets::Wait { idle_ms }) if idle < idle_ms => Then::Hold,
            (Some(_), Meets::Wait { .. } | Meets::Interrupt) => Then::Interrupt,
        }
    }
}
