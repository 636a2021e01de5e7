//! Who runs next: candidates, eligibility with a reason for each, one selection (spec section 14).
//!
//! Knows intents and the state; starts nothing. Start at [`eligible`] and [`rank`].

use crate::Session;
use crate::fsm::{Phase, Turn};
use crate::session::Waiting;
use contract::intent::{Intent, Source, Wish};
use contract::{Timestamp, limits};

/// Why a candidate does not run now. Recorded with every selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The session is over.
    Ended,
    /// The session is paused.
    Paused(String),
    /// It is being cancelled.
    Cancelling,
    /// Another action is in flight.
    InFlight,
    /// Children are alive, and this is not their result.
    AwaitingChild(usize),
    /// An approval is pending.
    AwaitingApproval(String),
    /// A question is open.
    AwaitingAnswer(String),
    /// Not before this moment.
    NotBefore(Timestamp),
    /// The agent's calls must get their results first.
    CallsOpen,
    /// An interrupted action goes first.
    Interrupted,
    /// The workspace is not ready: an initialise goes first.
    Uninitialised,
    /// Somebody of a higher class, or somebody older, was chosen.
    Outranked,
    /// A person must say whether an interrupted action runs again.
    Undecided,
    /// There is nothing left to do.
    NothingToDo,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended => write!(f, "the session has ended"),
            Self::Paused(why) => write!(f, "the session is paused ({why})"),
            Self::Cancelling => write!(f, "the session is being cancelled"),
            Self::InFlight => write!(f, "an action is in flight"),
            Self::AwaitingChild(n) => write!(f, "waits for {n} child session(s)"),
            Self::AwaitingApproval(id) => write!(f, "waits for approval {id}"),
            Self::AwaitingAnswer(id) => write!(f, "waits for the answer to {id}"),
            Self::NotBefore(at) => write!(f, "not before {at}"),
            Self::CallsOpen => write!(f, "waits until the agent's calls have their results"),
            Self::Interrupted => write!(f, "an interrupted action goes first"),
            Self::Uninitialised => write!(f, "waits for the workspace to be ready"),
            Self::Outranked => write!(f, "another one goes first"),
            Self::Undecided => write!(f, "a person must say whether an interrupted action runs again"),
            Self::NothingToDo => write!(f, "nothing is left to do"),
        }
    }
}

/// May this intent be selected now? `Uninitialised` is the one obstacle the arbiter removes by itself (O2).
pub fn eligible(s: &Session, wish: &Wish, now: Timestamp) -> Result<(), Reason> {
    if s.phase == Phase::Ended {
        return Err(Reason::Ended);
    }
    if s.cancel {
        return Err(Reason::Cancelling);
    }
    if s.running.is_some() {
        return Err(Reason::InFlight);
    }
    // Undoing, and taking note, need no agent: they may come in while the session is paused.
    let while_paused = match wish {
        Wish::Rewind { .. } | Wish::Initialise => true,
        // A result that changes the workspace waits with its parent.
        Wish::SubtaskEnded { end, .. } => end.commit.is_none(),
        _ => false,
    };
    if s.phase == Phase::Paused && !while_paused {
        return Err(Reason::Paused(s.pause.as_ref().map(|p| p.why.clone()).unwrap_or_default()));
    }
    waits(s, wish, now)?;
    if !s.ready && !matches!(wish, Wish::Initialise) {
        return Err(Reason::Uninitialised);
    }
    Ok(())
}

/// What a wish waits for that is not the workspace. Preparing waits for nothing.
fn waits(s: &Session, wish: &Wish, now: Timestamp) -> Result<(), Reason> {
    let speaks = matches!(wish, Wish::Message { .. } | Wish::Rewind { .. });
    // Checks leave nothing half done: whoever speaks to the agent, or undoes, need not wait until they can run.
    let goes_on = s.redo.is_none() || (speaks && s.checks_again());
    match wish {
        Wish::Pause | Wish::Initialise => return Ok(()),
        // Two interrupted actions cannot be remembered: the first one is brought to its end.
        Wish::SubtaskEnded { .. } | Wish::Message { .. } | Wish::Rewind { .. } if !goes_on => {
            return Err(Reason::Interrupted);
        }
        Wish::SubtaskEnded { .. } => return Ok(()),
        _ => {}
    }
    if !goes_on && s.redo.as_ref().is_some_and(|redo| redo.allowed) {
        // What was interrupted (the taking over of one child's result) waits for nobody else's end.
        return s.not_before(now).map_or(Ok(()), |at| Err(Reason::NotBefore(at)));
    }
    match s.waiting(now) {
        Some(Waiting::Children(n)) => Err(Reason::AwaitingChild(n)),
        Some(Waiting::Approval(id)) => Err(Reason::AwaitingApproval(id)),
        Some(Waiting::Answer(id)) => Err(Reason::AwaitingAnswer(id)),
        Some(Waiting::Until(at)) if !speaks => Err(Reason::NotBefore(at)),
        _ if speaks && s.turn == Turn::Calls => Err(Reason::CallsOpen),
        _ => Ok(()),
    }
}

/// A source as it is stored and printed.
pub(crate) fn source_name(source: Source) -> &'static str {
    match source {
        Source::User => "user",
        Source::Recovery => "recovery",
        Source::Subtask => "subtask",
        Source::Schedule => "schedule",
        Source::Planner => "planner",
        Source::MainLoop => "main-loop",
    }
}

/// Selection order: class first, raised by one step of ten per [`limits::AGEING_MS`] waited, then age, then id.
/// Larger goes first.
pub fn rank(
    intent: &Intent,
    now: Timestamp,
) -> (u64, std::cmp::Reverse<Timestamp>, std::cmp::Reverse<contract::IntentId>) {
    let aged = now.since(intent.at) / limits::AGEING_MS * 10;
    // A person's word stays above whatever has merely waited for long.
    let ceiling = Source::User.class() - 1;
    let own = intent.source.class();
    let class = if own > ceiling { own + aged } else { own.saturating_add(aged).min(ceiling) };
    (class, std::cmp::Reverse(intent.at), std::cmp::Reverse(intent.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::SessionId;

    fn intent(source: Source, at: u64, id: u128) -> Intent {
        let wish = Wish::Continue;
        Intent {
            id: SessionId(id),
            session: SessionId(9),
            source,
            wish,
            key: String::new(),
            at: Timestamp(at),
            ttl_ms: None,
        }
    }

    #[test]
    fn class_then_age_then_id() {
        let now = Timestamp(1000);
        let user = intent(Source::User, 900, 3);
        let recovery = intent(Source::Recovery, 0, 2);
        let older = intent(Source::User, 800, 4);
        assert!(rank(&user, now) > rank(&recovery, now));
        assert!(rank(&older, now) > rank(&user, now));
        assert!(rank(&intent(Source::User, 900, 1), now) > rank(&user, now));
    }

    #[test]
    fn ageing_lifts_the_background_but_never_above_a_person() {
        let now = Timestamp(10 * limits::AGEING_MS);
        let old_loop = intent(Source::MainLoop, 0, 1);
        let fresh_child = intent(Source::Subtask, now.0, 2);
        assert!(rank(&old_loop, now) > rank(&fresh_child, now));
        assert!(rank(&intent(Source::User, now.0, 3), now) > rank(&old_loop, now));
    }
}
