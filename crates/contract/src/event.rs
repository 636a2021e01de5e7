//! The facts. This enum is a stored schema: variants and fields are for ever (see FORMATS.md).
//!
//! New optional fields need a default; anything else needs a new `record::VERSION` and an upcast.

use crate::action::{EffectClass, Outcome, Task, Work};
use crate::checks::Verdict;
use crate::context::{Left, Summary};
use crate::hooks::HookEvent;
use crate::intent::{ChildEnd, Intent, Source};
use crate::record::Storable;
use crate::session::SessionSpec;
use crate::{
    ActionId, Amount, ApprovalId, CallId, Digest, Fence, IntentId, QuestionId, SessionId, Timestamp,
    is_default,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fact in a session's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The session exists.
    Opened {
        /// What it was opened with.
        spec: Box<SessionSpec>,
    },
    /// An intent was taken from the inbox.
    Submitted {
        /// The intent.
        intent: Intent,
    },
    /// An intent left the queue without being selected.
    Disposed {
        /// Which.
        intent: IntentId,
        /// How.
        how: Disposal,
    },
    /// The arbiter chose.
    Selected {
        /// The action it became.
        action: ActionId,
        /// The chosen intent, when it came from the inbox; the session's own wishes have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        intent: Option<IntentId>,
        /// Who wanted it.
        source: Source,
        /// What was wanted.
        wish: String,
        /// Why it won, in a few words.
        why: String,
        /// Every other candidate and why it did not run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<Other>,
    },
    /// An attempt begins. Nothing has run before this is durable.
    Started {
        /// Which action.
        action: ActionId,
        /// First try is 1.
        attempt: u32,
        /// What it does.
        work: Work,
        /// What a crash in the middle means.
        class: EffectClass,
        /// Why that class.
        why: String,
        /// When it must have ended.
        deadline: Timestamp,
        /// The lease it runs under.
        fence: Fence,
        /// The approval it uses up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<ApprovalId>,
        /// What was reserved in the tree's ledger for it.
        #[serde(default, skip_serializing_if = "is_default")]
        reserved: Amount,
    },
    /// An attempt ended.
    Finished {
        /// How.
        outcome: Outcome,
    },
    /// An outcome of an attempt that is no longer current: recorded, not applied.
    Stale {
        /// Which.
        outcome: Outcome,
    },
    /// The workflow moved on.
    Staged {
        /// To this stage.
        to: String,
        /// Feedback rounds so far.
        round: u32,
        /// Why.
        why: String,
    },
    /// Kapell's verdict over the checks.
    Judged {
        /// The verdict.
        verdict: Verdict,
        /// The commit it is about.
        result: String,
        /// The reasons, one per line for people.
        reasons: Vec<String>,
    },
    /// Kapell tells the agent something (check results, a warning).
    Noticed {
        /// What.
        notice: Notice,
    },
    /// Somebody must say yes before something runs or lands.
    ApprovalAsked {
        /// Its name.
        approval: ApprovalId,
        /// What for.
        subject: Subject,
        /// The exact content.
        hash: Digest,
        /// Denied when nobody answered by then.
        expires: Timestamp,
    },
    /// An approval was answered (or ran out).
    ApprovalAnswered {
        /// Which.
        approval: ApprovalId,
        /// `granted`, `denied`, `expired`, `withdrawn`.
        answer: Answer,
        /// Who: an intent, or nobody (time).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<IntentId>,
    },
    /// A question to the person.
    Asked {
        /// Its name.
        question: QuestionId,
        /// Its text; empty for Kapell's own questions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<Digest>,
        /// The call that waits for the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        /// Kapell's own words, when Kapell asks: what happened.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
        /// Ranked choices.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        choices: Vec<String>,
    },
    /// A question was answered.
    Answered {
        /// Which.
        question: QuestionId,
        /// The answer.
        text: Digest,
        /// Bytes of it.
        bytes: u64,
        /// By which intent.
        by: IntentId,
    },
    /// Kapell itself answered a call: a decision, a denial, a result nobody will ever know.
    CallAnswered {
        /// Which.
        call: CallId,
        /// Did it go well?
        ok: bool,
        /// What the agent is told.
        what: String,
    },
    /// Something in the inbox could not be understood and was refused.
    Garbled {
        /// What was wrong with it.
        why: String,
    },
    /// A child session was opened for a call.
    ChildOpened {
        /// The child.
        child: SessionId,
        /// The call that waits for it.
        call: CallId,
        /// The action that opened it.
        action: ActionId,
    },
    /// The plan was set.
    Planned {
        /// Its tasks, in topological order.
        tasks: Vec<Task>,
    },
    /// A task of the plan moved.
    TaskMoved {
        /// Which.
        task: String,
        /// `active`, `done`, `failed`, `skipped`.
        to: TaskState,
    },
    /// The oldest part of the conversation left the context.
    Cut {
        /// Items dropped.
        items: u64,
        /// Bytes dropped.
        bytes: u64,
    },
    /// Part of the conversation is not shown any more, so that the next request fits: the record of what was lost.
    Compacted {
        /// `full`: it would not have fitted; `refused`: the provider said so.
        why: String,
        /// Results of which only the address is shown.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<(u64, Left)>,
        /// Entries that are not shown at all, by number: first and last of each run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dropped: Vec<(u64, u64)>,
        /// What stands in their place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<Box<Summary>>,
        /// Tokens of the request before, as far as they can be told.
        before: u64,
        /// Tokens after.
        after: u64,
        /// The most there may be.
        cap: u64,
    },
    /// A person brought entries back into the conversation.
    Uncompacted {
        /// Which, by number.
        items: Vec<u64>,
        /// Tokens of the request with them.
        after: u64,
    },
    /// The conversation was not as every provider wants it, and was mended.
    Repaired {
        /// What was wrong, and what was done.
        what: String,
        /// A call without a result: this is its result from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        /// An entry that belongs to nothing: it is not shown any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u64>,
    },
    /// The session waits for a person's word or a time; no action is in flight.
    Paused {
        /// `user`, `budget`, `failure`, `needs-model`, `shutdown`, `limit`.
        why: String,
        /// More for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        what: String,
        /// What to type next.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        hint: String,
        /// Exit code a one-shot surface ends with.
        code: u8,
    },
    /// It goes on.
    Resumed {
        /// The model from now on, when it changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<crate::model::ModelRef>,
    },
    /// Nothing can be asked of the model before this moment: a limit, a provider that is down. Goes on by itself.
    Waits {
        /// `rate`, `window`, `concurrency`, `reset`, `backoff`, `breaker`, `retry`; `lifted` = a person ended the wait.
        why: String,
        /// More for people.
        what: String,
        /// When it is looked at again; a moment that has come ends every wait.
        until: Timestamp,
    },
    /// The next model of the declared chain has the word from now on.
    FellBack {
        /// It.
        to: crate::model::ModelRef,
        /// Why not the one before.
        why: String,
        /// What it costs more (or less) than the one before; `None` = a price is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dearer: Option<Dearer>,
    },
    /// Something a person should know before it stops the work: most of a budget is used.
    Warned {
        /// What.
        what: String,
    },
    /// A failure; with its count the base of retry and escalation.
    Failed {
        /// Layer and code: the signature.
        signature: String,
        /// How often in a row.
        count: u32,
        /// What happens now: `retry`, `workaround`, `tell` (the agent), `cut`, `ask`, `end`.
        then: String,
        /// Not before this moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// A new process took the session over and found this.
    Recovered {
        /// The lease it runs under.
        fence: Fence,
        /// What was in flight.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<ActionId>,
        /// What was done about it: `nothing`, `run-again`, `restored`, `ask`.
        did: String,
    },
    /// Cancel was asked for; no new call from here on.
    CancelAsked {
        /// By which intent.
        by: IntentId,
    },
    /// It is about to end so; hooks are told first.
    Ending {
        /// `completed`, `failed`.
        state: Final,
        /// Exit code by DESIGN section 7.
        code: u8,
        /// Why, for people.
        why: String,
    },
    /// The end. Nothing follows but stale outcomes.
    Ended {
        /// `completed`, `failed`, `cancelled`.
        state: Final,
        /// Exit code by DESIGN section 7.
        code: u8,
        /// Why, for people.
        why: String,
        /// The agent's last words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<Digest>,
    },
}

/// The difference between two prices, nano-dollars per million tokens; negative = cheaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dearer {
    /// Of input.
    pub input: i64,
    /// Of output.
    pub output: i64,
}

/// Why an intent left the queue unselected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposal {
    /// It took effect at once (an answer, a pause).
    Applied,
    /// It was delivered together with the selected one.
    Merged,
    /// The selected one fulfils the same goal.
    Superseded,
    /// Its time to live ran out.
    Expired,
    /// It cannot be done; this is why.
    Refused(String),
}

/// A candidate that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// The intent, when it came from the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentId>,
    /// Who wanted it.
    pub source: Source,
    /// What.
    pub wish: String,
    /// Why not.
    pub why: String,
}

/// What Kapell tells the agent. The wording is the reader's; the facts are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// The checks did not confirm; reasons and the logs of what failed.
    NotConfirmed {
        /// The reasons.
        reasons: Vec<String>,
        /// Check name and log.
        logs: Vec<(String, Digest)>,
    },
    /// Landing failed on conflicts or on the merged tree.
    NotIntegrated {
        /// `conflict` or `checks`.
        why: String,
        /// More.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<Digest>,
    },
    /// The same call failed again and again: take another way.
    Workaround {
        /// What failed.
        signature: String,
    },
    /// Work on this task of the plan now.
    NextTask {
        /// Its id.
        task: String,
        /// Its goal.
        goal: Digest,
    },
    /// The workspace was put back to before an action.
    Rewound {
        /// Which.
        to: ActionId,
    },
    /// The reply was cut at its limit; go on.
    ReplyCut,
    /// A child session ended.
    ChildEnded {
        /// Which.
        child: SessionId,
        /// How.
        end: ChildEnd,
    },
    /// What the conversation held that is not shown any more.
    Compacted {
        /// In short.
        summary: Box<Summary>,
    },
    /// What a hook has to say.
    Hook {
        /// When it was asked.
        event: HookEvent,
        /// Its words.
        text: Digest,
    },
    /// Kapell's own short answer.
    Told {
        /// What.
        what: String,
    },
}

/// What an approval is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A tool call.
    Call {
        /// Which.
        call: CallId,
    },
    /// Running an action again whose outcome is unknown.
    RunAgain {
        /// Which.
        action: ActionId,
    },
    /// Landing a flagged change.
    Land {
        /// The commit.
        result: String,
    },
}

/// How an approval was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Yes, once.
    Granted,
    /// No.
    Denied,
    /// Nobody answered in time: no.
    Expired,
    /// No longer needed.
    Withdrawn,
}

/// Where a task of the plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// Not begun.
    Pending,
    /// Being worked on.
    Active,
    /// Done and landed.
    Done,
    /// Given up.
    Failed,
    /// Not begun because something before it failed.
    Skipped,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Final {
    /// The workflow came to its end.
    Completed,
    /// It could not.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl Final {
    /// The stored and printed name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Storable for Event {
    fn upcast(_version: u32, event: Value) -> Value {
        event
    }
}

/// A fact in a tree's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerEvent {
    /// The tree exists.
    Opened {
        /// Its cap.
        cap: Amount,
    },
    /// A child has a cap of its own inside the tree.
    Admitted {
        /// The child.
        session: SessionId,
        /// Its parent.
        parent: SessionId,
        /// Its cap.
        cap: Amount,
    },
    /// Taken out of the cap before an action starts.
    Reserved {
        /// Whose.
        session: SessionId,
        /// For which action.
        action: ActionId,
        /// How much.
        amount: Amount,
    },
    /// What the action really used; the reservation is gone.
    Settled {
        /// Whose.
        session: SessionId,
        /// Which action.
        action: ActionId,
        /// How much.
        used: Amount,
    },
    /// More was billed than reserved: the tree is frozen.
    Overshoot {
        /// Whose.
        session: SessionId,
        /// Which action.
        action: ActionId,
        /// By how much.
        over: Amount,
    },
    /// No new grants for this session and all below it.
    Barred {
        /// Which.
        session: SessionId,
    },
    /// The cap was raised by a person; a frozen tree goes on.
    Raised {
        /// By how much.
        amount: Amount,
    },
}

impl Storable for LedgerEvent {
    fn upcast(_version: u32, event: Value) -> Value {
        event
    }
}
