//! The small state machines, each with one total transition function (O4).
//!
//! An illegal pair is an error value: refused and reported, never ignored. Start at the table you need.

use contract::event::Answer;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A move that the table does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Illegal {
    /// The machine and the state it is in.
    pub state: String,
    /// What was tried.
    pub event: String,
}

impl Illegal {
    pub(crate) fn new(state: impl fmt::Debug, event: impl fmt::Debug) -> Self {
        Self { state: format!("{state:?}"), event: format!("{event:?}") }
    }
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not possible in {}", self.event, self.state)
    }
}

impl std::error::Error for Illegal {}

/// A session as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Goes on by itself, or waits for something that will come by itself.
    Active,
    /// Waits for a person.
    Paused,
    /// Over; nothing leads out.
    Ended,
}

/// What moves a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseMove {
    /// It stops for a person.
    Pause,
    /// A person lets it go on.
    Resume,
    /// It is over.
    End,
}

impl Phase {
    /// The table.
    pub fn next(self, by: PhaseMove) -> Result<Self, Illegal> {
        match (self, by) {
            (Self::Active, PhaseMove::Pause) => Ok(Self::Paused),
            (Self::Paused, PhaseMove::Resume) => Ok(Self::Active),
            (Self::Active | Self::Paused, PhaseMove::End) => Ok(Self::Ended),
            _ => Err(Illegal::new(self, by)),
        }
    }
}

/// A turn: from an input until the agent yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// The model has the word.
    Model,
    /// Its calls want their results.
    Calls,
    /// The agent has yielded.
    Yielded,
}

/// What moves a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnMove {
    /// Something was said to the agent.
    Input,
    /// The model made calls.
    SaidCalls,
    /// The model only spoke.
    SaidText,
    /// The last open call got its result.
    CallsAnswered,
    /// The last open call got its result, and `finish` was among them.
    Finished,
}

impl Turn {
    /// The table.
    pub fn next(self, by: TurnMove) -> Result<Self, Illegal> {
        match (self, by) {
            (Self::Model | Self::Yielded, TurnMove::Input) => Ok(Self::Model),
            (Self::Model, TurnMove::SaidCalls) => Ok(Self::Calls),
            (Self::Model, TurnMove::SaidText) => Ok(Self::Yielded),
            (Self::Calls, TurnMove::CallsAnswered) => Ok(Self::Model),
            (Self::Calls, TurnMove::Finished) => Ok(Self::Yielded),
            _ => Err(Illegal::new(self, by)),
        }
    }
}

/// One tool call of the model's last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallState {
    /// Not begun.
    Open,
    /// Waits for an approval.
    Waiting,
    /// Waits for a child session or a person's answer.
    Handed,
    /// An attempt runs.
    Running,
    /// An attempt ended and nobody knows how.
    Unknown,
    /// It has its result.
    Answered,
}

/// What moves a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallMove {
    /// An approval is needed.
    AskApproval,
    /// The approval came.
    Approve,
    /// It became a child session or a question.
    HandOver,
    /// An attempt starts.
    Start,
    /// The attempt was lost.
    Lose,
    /// It may be tried again.
    Retry,
    /// It got its result.
    Answer,
}

impl CallState {
    /// The table.
    pub fn next(self, by: CallMove) -> Result<Self, Illegal> {
        match (self, by) {
            (Self::Open, CallMove::AskApproval) => Ok(Self::Waiting),
            (Self::Waiting, CallMove::Approve) => Ok(Self::Open),
            (Self::Open, CallMove::HandOver) => Ok(Self::Handed),
            (Self::Open, CallMove::Start) => Ok(Self::Running),
            (Self::Running, CallMove::Lose) => Ok(Self::Unknown),
            (Self::Unknown | Self::Running, CallMove::Retry) => Ok(Self::Open),
            (Self::Answered, CallMove::Answer) => Err(Illegal::new(self, by)),
            (_, CallMove::Answer) => Ok(Self::Answered),
            _ => Err(Illegal::new(self, by)),
        }
    }
}

/// An approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalState {
    /// Nobody has answered.
    Pending,
    /// Yes, not used yet.
    Granted,
    /// Yes, and used up.
    Used,
    /// No, or run out, or no longer needed.
    Closed,
}

/// What moves an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalMove {
    /// An answer, also "nobody answered in time".
    Answer(Answer),
    /// Something started under it.
    Use,
}

impl ApprovalState {
    /// The table. A yes can be used once and never un-said after use.
    pub fn next(self, by: ApprovalMove) -> Result<Self, Illegal> {
        match (self, by) {
            (Self::Pending, ApprovalMove::Answer(Answer::Granted)) => Ok(Self::Granted),
            (Self::Pending, ApprovalMove::Answer(_)) => Ok(Self::Closed),
            (Self::Granted, ApprovalMove::Answer(Answer::Withdrawn)) => Ok(Self::Closed),
            (Self::Granted, ApprovalMove::Use) => Ok(Self::Used),
            _ => Err(Illegal::new(self, by)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the legal pairs of a table, so that a new edge is a conscious act.
    fn legal<S: Copy, M: Copy>(states: &[S], moves: &[M], next: fn(S, M) -> Result<S, Illegal>) -> usize {
        states.iter().flat_map(|&s| moves.iter().map(move |&m| next(s, m))).filter(Result::is_ok).count()
    }

    #[test]
    fn every_pair_is_decided_and_only_the_listed_ones_are_legal() {
        use {ApprovalMove as A, CallMove as C, PhaseMove as P, TurnMove as T};
        let phases = [Phase::Active, Phase::Paused, Phase::Ended];
        assert_eq!(legal(&phases, &[P::Pause, P::Resume, P::End], Phase::next), 4);
        let turns = [Turn::Model, Turn::Calls, Turn::Yielded];
        let moves = [T::Input, T::SaidCalls, T::SaidText, T::CallsAnswered, T::Finished];
        assert_eq!(legal(&turns, &moves, Turn::next), 6);
        let calls = [
            CallState::Open,
            CallState::Waiting,
            CallState::Handed,
            CallState::Running,
            CallState::Unknown,
            CallState::Answered,
        ];
        let moves = [C::AskApproval, C::Approve, C::HandOver, C::Start, C::Lose, C::Retry, C::Answer];
        assert_eq!(legal(&calls, &moves, CallState::next), 12);
        let approvals =
            [ApprovalState::Pending, ApprovalState::Granted, ApprovalState::Used, ApprovalState::Closed];
        let moves = [
            A::Answer(Answer::Granted),
            A::Answer(Answer::Denied),
            A::Answer(Answer::Expired),
            A::Answer(Answer::Withdrawn),
            A::Use,
        ];
        assert_eq!(legal(&approvals, &moves, ApprovalState::next), 6);
    }

    #[test]
    fn nothing_leads_out_of_the_end() {
        for by in [PhaseMove::Pause, PhaseMove::Resume, PhaseMove::End] {
            assert!(Phase::Ended.next(by).is_err());
        }
    }

    #[test]
    fn an_approval_is_used_at_most_once() {
        let granted = ApprovalState::Pending.next(ApprovalMove::Answer(Answer::Granted)).unwrap();
        let used = granted.next(ApprovalMove::Use).unwrap();
        assert!(used.next(ApprovalMove::Use).is_err());
        assert!(used.next(ApprovalMove::Answer(Answer::Granted)).is_err());
    }
}
