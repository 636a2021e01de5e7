//! Known bugs, one per rule, put into the real code to see whether the simulator notices: negative controls.
//!
//! Exists only under `--cfg planted`, which no release build can have. Each hook is one word at the place where the
//! rule stands. Start at [`Bug`]; a thread switches one on with [`plant`].

#[cfg(not(debug_assertions))]
compile_error!(
    "`--cfg planted` puts known bugs into Kapell: it is for the simulator, never for a release build"
);

use std::cell::Cell;

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The store takes appends under an old lease.
    NoFencing,
    /// The store does not compare where a stream is with where the writer thinks it is.
    NoExpected,
    /// A write is acknowledged before it is on the disk.
    AckBeforeSync,
    /// An effect starts although its commit was refused.
    EffectFirst,
    /// Damaged records are not noticed by their chain hash.
    SkipChain,
    /// What comes after a hole in the log is replayed.
    ReplayHole,
    /// The inbox forgets which keys it has taken.
    ForgetDedupe,
    /// A yes is not used up.
    ReuseApproval,
    /// A yes to one content is taken for a yes to another.
    AnyContent,
    /// A reservation is not gone once it is settled.
    DoubleSettle,
    /// More is reserved than is left.
    OverBudget,
    /// Nobody is told that a slot came free.
    LostWakeUp,
    /// An outcome of an earlier attempt is applied to the current one.
    StaleOutcome,
    /// An interrupted action is started again although somebody asked to cancel.
    CancelRespawn,
    /// An external effect whose outcome is unknown is run again.
    UnknownAgain,
    /// A task begins before what it depends on is done.
    SkipDependency,
    /// A child's result is taken over as often as it is told.
    AdoptTwice,
    /// A snapshot of another history is used.
    AnySnapshot,
    /// A reservation that the ledger at hand has not heard of is passed over.
    StaleLedger,
    /// A no from a budget that somebody else has changed meanwhile stands.
    StaleNo,
    /// A slot that was freed by a decision that could not be committed is offered to nobody.
    ForgetFreed,
    /// A provider that was down is tried by several calls at once.
    TwoProbes,
    /// A key's limits are not looked at.
    NoQuota,
    /// Half a change is forgotten when the attempt that was to take it back could not begin.
    ForgetHalf,
    /// A cut takes a call out of the conversation and leaves its result there.
    CutApart,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::NoFencing,
        Self::NoExpected,
        Self::AckBeforeSync,
        Self::EffectFirst,
        Self::SkipChain,
        Self::ReplayHole,
        Self::ForgetDedupe,
        Self::ReuseApproval,
        Self::AnyContent,
        Self::DoubleSettle,
        Self::OverBudget,
        Self::LostWakeUp,
        Self::StaleOutcome,
        Self::CancelRespawn,
        Self::UnknownAgain,
        Self::SkipDependency,
        Self::AdoptTwice,
        Self::AnySnapshot,
        Self::StaleLedger,
        Self::StaleNo,
        Self::ForgetFreed,
        Self::TwoProbes,
        Self::NoQuota,
        Self::ForgetHalf,
        Self::CutApart,
    ];
}

thread_local! {
    static ON: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// From now on this thread runs with this bug, or with none.
pub fn plant(bug: Option<Bug>) {
    ON.set(bug);
}

/// Is this bug on in this thread?
pub fn on(bug: Bug) -> bool {
    ON.get() == Some(bug)
}
