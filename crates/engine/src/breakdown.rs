//! Sessions whose arbiter breaks down: taken up again a few times, and given up when they get nowhere.
//!
//! An arbiter breaks down when an invariant does not hold or it panics, which comes again with every recovery from the
//! same journal. Knows nothing of why. Start at [`Breakdowns::count`].

use contract::intent::{ChildEnd, Intent, Source, Wish};
use contract::journal::Error;
use contract::session::Parent;
use contract::{Digest, Fault, Kind, SessionId, Timestamp};
use kernel::Session;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Breakdowns at one place after which a session is given up.
pub(crate) const TRIES: u32 = 3;

/// Where a session stood, as far as its conversation and workflow got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    stage: usize,
    round: u32,
    ordinal: u32,
    items: usize,
}

impl Place {
    fn of(state: &Session) -> Self {
        let Session { stage, round, ordinal, ref items, .. } = *state;
        Self { stage, round, ordinal, items: items.len() }
    }
}

/// What broke down in this process.
#[derive(Debug, Default)]
pub(crate) struct Breakdowns(Mutex<BTreeMap<SessionId, (Place, u32)>>);

impl Breakdowns {
    /// One more of this session; how many there were without its having got any further.
    pub(crate) fn count(&self, state: &Session) -> u32 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Place::of(state);
        let (at, times) = known.entry(state.id).or_insert((place, 0));
        if *at != place {
            (*at, *times) = (place, 0);
        }
        *times += 1;
        *times
    }
}

/// Would it come again? A disk that is full or a store that is locked may be well the next time.
pub(crate) fn comes_again(error: &Error) -> bool {
    matches!(error, Error::Corrupt(_) | Error::Closed(_))
}

/// The code of the fault of a session that was given up: its parent, if it has one, has been told that it failed.
pub const GIVEN_UP: &str = "broken-session";

/// The fault of a session that was given up.
pub(crate) fn fault(session: SessionId, error: &Error) -> Fault {
    let what = format!("session {session} broke down {TRIES} times at the same place: {error}");
    Fault::new(Kind::Permanent, GIVEN_UP, what)
        .hint(format!("kapell verify; kapell events {session} --export DIR keeps what it did"))
}

/// What its parent is told: it failed. The key is that of the child's own last word, so that only one counts.
pub(crate) fn word(
    parent: &Parent,
    child: SessionId,
    why: Digest,
    (now, random): (Timestamp, u128),
) -> Intent {
    let end = ChildEnd { state: "failed".to_owned(), code: 1, commit: None, summary: Some(why) };
    Intent {
        id: SessionId::v7(now.0, random),
        session: parent.session,
        source: Source::Subtask,
        wish: Wish::SubtaskEnded { child, end },
        key: format!("child/{child}"),
        at: now,
        ttl_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_breakdowns_at_one_place_add_up() {
        let known = Breakdowns::default();
        let mut state = Session::new(SessionId(7));
        assert_eq!((known.count(&state), known.count(&state)), (1, 2));
        state.ordinal += 1;
        assert_eq!((known.count(&state), known.count(&Session::new(SessionId(8)))), (1, 1));
    }

    #[test]
    fn what_may_pass_is_no_breakdown() {
        assert!(comes_again(&Error::Corrupt("x".into())));
        assert!(
            !comes_again(&Error::Full("x".into())) && !comes_again(&Error::Fenced { session: SessionId(1) })
        );
    }
}
