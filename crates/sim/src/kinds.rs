//! Everything there is to meet, by name, from the types themselves: what no seed has met was not tested.
//!
//! A new variant does not compile until it is on its list. Start at [`Cover`].

use contract::Kind;
use contract::action::{Control, Done, EffectClass, End, Work};
use contract::checks::{Status, Verdict};
use contract::event::{Answer, Disposal, Event, Final, LedgerEvent, Notice, Subject, TaskState};
use contract::intent::{Source, Wish};
use contract::journal::Error;
use contract::model::Stop;
use contract::project::ProjectEvent;
use contract::quota::{CallEnd, QuotaEvent};
use contract::session::StageKind;
use kernel::Input;
use kernel::arbiter::Reason;
use kernel::fsm::{ApprovalMove, ApprovalState, CallMove, CallState, Phase, PhaseMove, Turn, TurnMove};
use kernel::session::Waiting;

use crate::swarm::Fault;

/// A value of a closed set.
pub(crate) trait Met {
    const GROUP: usize;
    fn index(&self) -> usize;
}

macro_rules! kinds {
    ($($what:literal $ty:ident { $($variant:ident),* $(,)? })*) => {
        enum Group { $($ty),* }
        const GROUPS: &[(&str, &[&str])] = &[$(($what, &[$(stringify!($variant)),*])),*];
        $(impl Met for $ty {
            const GROUP: usize = Group::$ty as usize;
            fn index(&self) -> usize {
                enum Index { $($variant),* }
                match self { $($ty::$variant { .. } => Index::$variant as usize),* }
            }
        })*
    };
}

kinds! {
    "event" Event {
        Opened, Submitted, Disposed, Selected, Started, Finished, Stale, Staged, Judged, Noticed, ApprovalAsked,
        ApprovalAnswered, Asked, Answered, CallAnswered, Garbled, ChildOpened, Planned, TaskMoved, Cut, Compacted,
        Uncompacted, Repaired, Paused, Resumed, Warned, Failed, Recovered, CancelAsked, Ending, Ended, Waits, FellBack,
    }
    "quota event" QuotaEvent { Declared, Taken, Settled, Queued, Lifted }
    "project event" ProjectEvent { Capped, Reserved, Settled }
    "end of a call" CallEnd { Answered, Limited, Down, Refused, Unknown }
    "ledger event" LedgerEvent { Opened, Admitted, Reserved, Settled, Overshoot, Barred, Raised }
    "work" Work { Prepare, Model, Summarise, Tools, Check, Inspect, Integrate, Adopt, Rewind, Hooks }
    "effect class" EffectClass { Pure, Keyed, Billed, Staged, External }
    "end of an attempt" End { Done, Failed, Cancelled, TimedOut, Unknown }
    "result" Done { Prepared, Said, Summarised, Ran, Checked, Inspected, Integrated, Adopted, Rewound, Hooked }
    "call that decides" Control { Delegate, Ask, Plan, Finish, Todo, FindTools }
    "kind of fault" Kind { Transient, Permanent, UserFixable, RateLimited, Degraded }
    "error of the store" Error {
        Conflict, Fenced, Full, ReadOnly, Io, Corrupt, Newer, Busy, Closed, Invalid,
    }
    "ending" Final { Completed, Failed, Cancelled }
    "verdict" Verdict { Confirmed, Refuted, Inconclusive }
    "check" Status { Passed, Failed, CouldNotRun, Flaky }
    "stop of a model" Stop { EndTurn, ToolUse, MaxTokens, Refusal, StopSequence }
    "waiting" Waiting { Approval, Answer, Children, Until }
    "reason not to run" Reason {
        Ended, Paused, Cancelling, InFlight, AwaitingChild, AwaitingApproval, AwaitingAnswer, NotBefore, CallsOpen,
        Interrupted, Uninitialised, Outranked, Undecided, NothingToDo,
    }
    "disposal" Disposal { Applied, Merged, Superseded, Expired, Refused }
    "answer" Answer { Granted, Denied, Expired, Withdrawn }
    "subject of an approval" Subject { Call, RunAgain, Land }
    "notice" Notice {
        NotConfirmed, NotIntegrated, Workaround, NextTask, Rewound, ReplyCut, ChildEnded, Compacted, Hook, Told,
    }
    "source" Source { User, Recovery, Subtask, Schedule, Planner, MainLoop }
    "wish" Wish {
        Continue, Initialise, Message, Cancel, Pause, Resume, Approve, Deny, Answer, Rewind, Uncompact,
        AddBudget, CapCall, SubtaskEnded,
    }
    "task" TaskState { Pending, Active, Done, Failed, Skipped }
    "stage" StageKind { Agent, Check, Inspect, Integrate, Plan }
    "input" Input { Open, Inbox, Outcome, Tick, Recover, Stop }
    "fault" Fault {
        Crash, PowerCut, TornTail, BitFlip, LostSector, GoDown, Stall, ClockForward, ClockBack, Skew, LeaseLost,
        CommitLost, ReplyLost, Conflict, Io, Full, ReadOnly, Newer, TooLarge, ReadError, LeaseError, SubmitError,
        LostMessage, DuplicateOutcome, LateOutcome, DuplicateIntent, ToldTwice, GarbledMail, ForeignSnapshot,
        WrongShape, Overbilled, Failure, Outage, NotBegun,
    }
    "phase" Phase { Active, Paused, Ended }
    "turn" Turn { Model, Calls, Yielded }
    "call" CallState { Open, Waiting, Handed, Running, Unknown, Answered }
    "approval" ApprovalState { Pending, Granted, Used, Closed }
}

const PHASES: [Phase; 3] = [Phase::Active, Phase::Paused, Phase::Ended];
const TURNS: [Turn; 3] = [Turn::Model, Turn::Calls, Turn::Yielded];
const CALLS: [CallState; 6] = [
    CallState::Open,
    CallState::Waiting,
    CallState::Handed,
    CallState::Running,
    CallState::Unknown,
    CallState::Answered,
];
const APPROVALS: [ApprovalState; 4] =
    [ApprovalState::Pending, ApprovalState::Granted, ApprovalState::Used, ApprovalState::Closed];

/// Why a session pauses: words in the event, not a type. One that is not here is reported by [`Cover::paused`].
const PAUSES: [&str; 9] =
    ["user", "budget", "failure", "needs-model", "limit", "stuck", "hook", "context", "cache"];

/// An edge of one of the kernel's small state machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    Phase(Phase, Phase),
    Turn(Turn, Turn),
    Call(CallState, CallState),
    Approval(ApprovalState, ApprovalMove),
}

/// Every edge the kernel's tables have.
fn edges() -> Vec<Edge> {
    use {ApprovalMove as A, CallMove as C, PhaseMove as P, TurnMove as T};
    let mut all = Vec::new();
    for from in PHASES {
        all.extend(
            [P::Pause, P::Resume, P::End]
                .iter()
                .filter_map(|&by| Some(Edge::Phase(from, from.next(by).ok()?))),
        );
    }
    for from in TURNS {
        let moves = [T::Input, T::SaidCalls, T::SaidText, T::CallsAnswered, T::Finished];
        all.extend(moves.iter().filter_map(|&by| Some(Edge::Turn(from, from.next(by).ok()?))));
    }
    for from in CALLS {
        let moves = [C::AskApproval, C::Approve, C::HandOver, C::Start, C::Lose, C::Retry, C::Answer];
        all.extend(moves.iter().filter_map(|&by| Some(Edge::Call(from, from.next(by).ok()?))));
    }
    let answers = [Answer::Granted, Answer::Denied, Answer::Expired, Answer::Withdrawn].map(A::Answer);
    for from in APPROVALS {
        let moves = answers.iter().copied().chain([A::Use]);
        all.extend(moves.filter(|&by| from.next(by).is_ok()).map(|by| Edge::Approval(from, by)));
    }
    all.dedup();
    all
}

/// What the seeds have met, and how often.
#[derive(Debug, Clone)]
pub struct Cover {
    counts: Vec<Vec<u64>>,
    edges: Vec<(Edge, u64)>,
    pauses: [u64; PAUSES.len()],
}

impl Default for Cover {
    fn default() -> Self {
        Self {
            counts: GROUPS.iter().map(|(_, names)| vec![0; names.len()]).collect(),
            edges: edges().into_iter().map(|edge| (edge, 0)).collect(),
            pauses: [0; PAUSES.len()],
        }
    }
}

impl Cover {
    /// One more of it.
    pub(crate) fn met<T: Met>(&mut self, it: &T) {
        self.counts[T::GROUP][it.index()] += 1;
    }

    /// A move of a state machine. False: its table has no such edge.
    pub(crate) fn edge(&mut self, edge: Edge) -> bool {
        let slot = self.edges.iter_mut().find(|(known, _)| *known == edge);
        slot.map(|(_, count)| *count += 1).is_some()
    }

    /// A pause for this reason. False: nobody has heard of it.
    pub(crate) fn paused(&mut self, why: &str) -> bool {
        let at = PAUSES.iter().position(|known| *known == why);
        at.map(|at| self.pauses[at] += 1).is_some()
    }

    /// Both together.
    pub fn merge(&mut self, other: &Self) {
        let counts = self.counts.iter_mut().flatten().zip(other.counts.iter().flatten());
        counts.for_each(|(own, more)| *own += more);
        self.edges.iter_mut().zip(&other.edges).for_each(|((_, own), (_, more))| *own += more);
        self.pauses.iter_mut().zip(&other.pauses).for_each(|(own, more)| *own += more);
    }

    /// Everything there is, with how often it was met: (what it is, its name, count).
    pub fn all(&self) -> Vec<(&'static str, String, u64)> {
        let mut all = Vec::new();
        for ((what, names), counts) in GROUPS.iter().zip(&self.counts) {
            all.extend(names.iter().zip(counts).map(|(name, count)| (*what, (*name).to_owned(), *count)));
        }
        let edges = self.edges.iter().map(|(edge, count)| ("edge", edge.to_string(), *count));
        let pauses = PAUSES.iter().zip(self.pauses).map(|(why, count)| ("pause", (*why).to_owned(), count));
        all.extend(edges);
        all.extend(pauses);
        all
    }
}

impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Phase(from, to) => write!(f, "phase {from:?} -> {to:?}"),
            Self::Turn(from, to) => write!(f, "turn {from:?} -> {to:?}"),
            Self::Call(from, to) => write!(f, "call {from:?} -> {to:?}"),
            Self::Approval(from, by) => write!(f, "approval {from:?} by {by:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists of states that edges are made of are as long as the lists that do not compile without each variant.
    #[test]
    fn every_state_of_every_machine_is_listed() {
        let listed = |group: usize| GROUPS[group].1.len();
        assert_eq!(PHASES.len(), listed(Phase::GROUP));
        assert_eq!(TURNS.len(), listed(Turn::GROUP));
        assert_eq!(CALLS.len(), listed(CallState::GROUP));
        assert_eq!(APPROVALS.len(), listed(ApprovalState::GROUP));
        assert_eq!(edges().len(), 4 + 6 + 12 + 6, "as many as the kernel's own test of its tables counts");
    }

    #[test]
    fn what_was_met_is_counted_and_the_rest_is_zero() {
        let mut cover = Cover::default();
        cover.met(&Input::Tick);
        assert!(cover.edge(Edge::Phase(Phase::Active, Phase::Paused)));
        assert!(!cover.edge(Edge::Phase(Phase::Ended, Phase::Active)));
        assert!(!cover.paused("weather"));
        let mut twice = cover.clone();
        twice.merge(&cover);
        let met: Vec<_> = twice.all().into_iter().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(met.len(), 2, "{met:?}");
        assert!(met.iter().all(|(_, _, count)| *count == 2));
    }
}
