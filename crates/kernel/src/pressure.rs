//! How short of memory or disk the machine is: a ladder of levels with hysteresis, from readings alone.
//!
//! Looked at with every reading, not only when a level changes: whatever was held back goes on once readings stay low,
//! however slowly they fell (S1.5-4). Knows neither what is read nor who is held back. Start at [`Ladder::look`].

use contract::Timestamp;
use contract::limits::{PRESSURE_CALM_MS, PRESSURE_HYSTERESIS_PERMILLE};

/// How short it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Not at all.
    #[default]
    Normal,
    /// Less is begun at a time.
    Warn,
    /// Only what a person waits for begins.
    Critical,
    /// Nothing begins.
    Emergency,
}

/// The levels above normal, lowest first.
const RUNGS: [Level; 3] = [Level::Warn, Level::Critical, Level::Emergency];
/// How far the lower rungs are below the highest, permille.
const BELOW: [u64; 3] = [150, 50, 0];

/// One thing that can become short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    rungs: [u64; 3],
    level: Level,
    /// Since when readings are low enough for the level below.
    calm: Option<Timestamp>,
}

impl Ladder {
    /// With everything stopped from so much use on, permille. Above a thousand: never.
    pub fn new(emergency: u64) -> Self {
        Self { rungs: BELOW.map(|below| emergency.saturating_sub(below)), level: Level::Normal, calm: None }
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// A reading, permille of what there is: the level from here on. It rises at once and falls by one rung when
    /// readings have been below it, by the hysteresis, for a while.
    pub fn look(&mut self, used: u64, now: Timestamp) -> Level {
        let reached =
            RUNGS.into_iter().zip(self.rungs).filter(|(_, from)| used >= *from).map(|(rung, _)| rung);
        let reached = reached.max().unwrap_or(Level::Normal);
        if reached >= self.level {
            (self.level, self.calm) = (reached, None);
            return self.level;
        }
        let at = RUNGS.iter().position(|rung| *rung == self.level);
        let from = at.map_or(0, |at| self.rungs[at]);
        if used.saturating_add(PRESSURE_HYSTERESIS_PERMILLE) > from {
            self.calm = None;
            return self.level;
        }
        let since = *self.calm.get_or_insert(now);
        // A clock that was set back starts anew.
        if now < since {
            self.calm = Some(now);
        } else if now.since(since) >= PRESSURE_CALM_MS {
            self.level = at.and_then(|at| at.checked_sub(1)).map_or(Level::Normal, |below| RUNGS[below]);
            self.calm = Some(now);
        }
        self.level
    }
}

/// How much of a disk is used, permille: of the part next to its end that counts. `spare`: where nothing begins.
pub fn disk_used(free: u64, total: u64, spare: u64) -> u64 {
    // Twenty times what is spared, but no more than a fifth of a small disk: the last twentieth of that is the spare.
    let counts = spare.saturating_mul(20).min(total / 5);
    let used = counts.saturating_sub(free);
    used.saturating_mul(1000).checked_div(counts).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp(1_000_000 + second * 1000)
    }

    #[test]
    fn it_rises_at_once_and_falls_rung_by_rung() {
        let mut ladder = Ladder::new(950);
        assert_eq!(ladder.look(799, at(0)), Level::Normal);
        assert_eq!(ladder.look(960, at(1)), Level::Emergency, "a spike goes to the top");
        assert_eq!(ladder.look(860, at(2)), Level::Emergency, "not low enough");
        let levels: Vec<Level> = (3..20).map(|second| ladder.look(100, at(second))).collect();
        let falls: Vec<Level> = levels
            .iter()
            .enumerate()
            .filter(|(n, l)| *n == 0 || levels[n - 1] != **l)
            .map(|(_, l)| *l)
            .collect();
        assert_eq!(falls, [Level::Emergency, Level::Critical, Level::Warn, Level::Normal]);
    }

    #[test]
    fn a_slow_ramp_up_and_down_ends_at_normal() {
        let mut ladder = Ladder::new(950);
        let mut highest = Level::Normal;
        // A permille every two seconds, up and down again: no reading ever drops by much.
        let ramp = (500..1000).chain((400..1000).rev());
        for (n, used) in ramp.enumerate() {
            highest = highest.max(ladder.look(used, at(2 * n as u64)));
        }
        assert_eq!((highest, ladder.level()), (Level::Emergency, Level::Normal));
    }

    #[test]
    fn oscillation_holds_the_level_and_calm_frees_it() {
        let mut ladder = Ladder::new(950);
        let mut changes = 0;
        let mut last = Level::Normal;
        for n in 0..10_000 {
            // Around the highest rung, within the hysteresis, every hundred milliseconds.
            let level = ladder.look(if n % 2 == 0 { 955 } else { 870 }, Timestamp(1_000_000 + n * 100));
            changes += u32::from(level != last);
            last = level;
        }
        assert_eq!((changes, last), (1, Level::Emergency));
        // Beyond the hysteresis, but never long enough.
        for n in 0..1_000 {
            ladder.look(if n % 3 == 0 { 955 } else { 100 }, Timestamp(3_000_000 + n * 1_000));
        }
        assert_eq!(ladder.level(), Level::Emergency);
        for n in 0..20 {
            ladder.look(840, Timestamp(5_000_000 + n * 1_000));
        }
        assert_eq!(
            ladder.level(),
            Level::Critical,
            "low enough for the highest rung, too high for the next one"
        );
        for n in 0..20 {
            ladder.look(0, Timestamp(6_000_000 + n * 1_000));
        }
        assert_eq!(ladder.level(), Level::Normal);
    }

    #[test]
    fn a_clock_that_is_set_back_strands_nobody() {
        let mut ladder = Ladder::new(950);
        ladder.look(990, at(10_000));
        ladder.look(0, at(10_001));
        for second in 0..20 {
            ladder.look(0, at(second));
        }
        assert_eq!(ladder.level(), Level::Normal);
    }

    #[test]
    fn a_disk_counts_from_where_it_becomes_short() {
        const GIB: u64 = 1 << 30;
        const MIB: u64 = 1 << 20;
        assert_eq!(disk_used(100 * GIB, 500 * GIB, 200 * MIB), 0);
        assert_eq!(disk_used(200 * MIB, 500 * GIB, 200 * MIB), 950);
        assert_eq!(disk_used(0, 500 * GIB, 200 * MIB), 1000);
        // On a small disk the last hundredth.
        assert!(
            disk_used(4 * MIB, 100 * MIB, 200 * MIB) < 850 && disk_used(MIB, 100 * MIB, 200 * MIB) >= 950
        );
        assert_eq!(disk_used(0, 0, 0), 0);
    }
}
