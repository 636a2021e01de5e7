//! How the wall clock goes where this machine is: the rules of its time zone, summer and winter.
//!
//! Knows no schedule. `TZ` says which zone, else the system's; where neither is known it is UTC. Start at [`Place::here`].

use contract::Timestamp;
use jiff::tz::TimeZone;
use kernel::schedule::{Wall, Zone};

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// A time zone.
#[derive(Debug, Clone)]
pub struct Place(TimeZone);

/// UTC.
impl Default for Place {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Place {
    /// That of this machine, or what is wrong with it.
    pub fn here() -> Result<Self, String> {
        TimeZone::try_system().map(Self).map_err(|error| {
            format!("the time zone of this machine is not known, schedules go by UTC: {error}")
        })
    }

    /// The one of this name in the database of time zones, or what is wrong with it.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = TimeZone::get(name).map(Self);
        found.map_err(|_| format!("the time zone `{name}` is not known on this machine"))
    }

    /// Its name in that database, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.iana_name()
    }

    /// As the wall shows it: `2026-11-20 09:30`.
    pub fn shown(&self, at: Timestamp) -> String {
        match local(self.wall(at)) {
            Some(local) => local.to_string().replace('T', " ").chars().take(16).collect(),
            None => at.to_string(),
        }
    }
}

/// What a wall shows then.
fn local(wall: Wall) -> Option<jiff::civil::DateTime> {
    let at = jiff::Timestamp::from_second(wall.checked_mul(60)?).ok()?;
    Some(at.to_zoned(TimeZone::UTC).datetime())
}

impl Zone for Place {
    fn wall(&self, at: Timestamp) -> Wall {
        let shown = || {
            let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
            let shown = at.to_zoned(self.0.clone()).datetime().to_zoned(TimeZone::UTC).ok()?;
            Some(shown.timestamp().as_second().div_euclid(60))
        };
        // Beyond the years that a calendar has, any zone will do.
        shown().unwrap_or_else(|| i64::try_from(at.0 / MINUTE_MS).unwrap_or(i64::MAX))
    }

    fn moment(&self, wall: Wall) -> Timestamp {
        let at = || local(wall)?.to_zoned(self.0.clone()).ok()?.timestamp().as_millisecond().try_into().ok();
        at().map_or_else(|| Timestamp(0).plus(wall.max(0).unsigned_abs() * MINUTE_MS), Timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_folds_of_a_place() {
        let berlin = Place(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let noon = at("2026-07-01T10:00:59.999Z");
        assert_eq!(berlin.shown(noon), "2026-07-01 12:00");
        assert_eq!(berlin.moment(berlin.wall(noon)), at("2026-07-01T10:00:00.000Z"));
        let gap = berlin.wall(at("2026-03-29T00:30:00.000Z")) + 60;
        assert_eq!(berlin.moment(gap), at("2026-03-29T01:30:00.000Z"));
        let (first, second) = (at("2026-10-25T00:30:00.000Z"), at("2026-10-25T01:30:00.000Z"));
        assert_eq!(berlin.wall(first), berlin.wall(second));
        assert_eq!(berlin.moment(berlin.wall(second)), first);
        // Nothing is out of reach.
        assert!(berlin.moment(i64::MAX / MINUTE_MS as i64).0 > 0);
        assert!(berlin.wall(Timestamp(u64::MAX)) > 0);
    }
}
