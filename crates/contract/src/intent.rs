//! Intents: somebody's wish that something run next. Producers submit; they cannot execute.

use crate::{ActionId, Amount, ApprovalId, Digest, IntentId, QuestionId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

/// Who wants it. A closed set: an unknown source does not parse and is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A person, at any surface.
    User,
    /// The engine after a restart, or a missing precondition.
    Recovery,
    /// A finished child session.
    Subtask,
    /// A schedule.
    Schedule,
    /// The planner.
    Planner,
    /// The session's own loop.
    MainLoop,
}

impl Source {
    /// Class for selection: higher goes first (person > recovery > delegated result > background).
    pub fn class(self) -> u64 {
        match self {
            Self::User => 50,
            Self::Recovery => 40,
            Self::Subtask => 30,
            Self::Schedule => 20,
            Self::Planner => 15,
            Self::MainLoop => 10,
        }
    }
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Go on with whatever is next; from a person: also where that waits for its moment.
    Continue,
    /// Make the workspace (and what the session hangs on) ready.
    Initialise,
    /// A message for the agent.
    Message {
        /// Its text.
        text: Digest,
        /// Bytes of it.
        bytes: u64,
    },
    /// End now; the state is final.
    Cancel,
    /// Finish the action in flight, then wait.
    Pause,
    /// Go on after a pause, or retry what stopped for a person.
    Resume {
        /// Continue with another model from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<Box<crate::model::ModelRef>>,
    },
    /// Yes to exactly this content.
    Approve {
        /// Which approval.
        approval: ApprovalId,
        /// The content it was shown for; must match.
        hash: Digest,
    },
    /// No.
    Deny {
        /// Which approval.
        approval: ApprovalId,
    },
    /// An answer to a question.
    Answer {
        /// Which question.
        question: QuestionId,
        /// The answer.
        text: Digest,
        /// Bytes of it.
        bytes: u64,
    },
    /// Put the workspace back to before this action; itself undoable.
    Rewind {
        /// The action whose savepoint is wanted.
        to: ActionId,
    },
    /// Show the agent again what was taken out of its conversation.
    Uncompact {
        /// Which entry; `None` = what the newest cut took out, as far as it fits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u64>,
    },
    /// Raise the tree's cap.
    AddBudget {
        /// What is added.
        amount: Amount,
    },
    /// What one model call may use at most, from now on.
    CapCall {
        /// In money and in tokens.
        call: Amount,
    },
    /// A child session ended.
    SubtaskEnded {
        /// The child.
        child: SessionId,
        /// How it ended.
        end: ChildEnd,
    },
}

/// How a child session ended, as its parent learns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildEnd {
    /// `completed`, `failed` or `cancelled`.
    pub state: String,
    /// Exit code by DESIGN section 7.
    pub code: u8,
    /// The commit to adopt, when the child's verdict was CONFIRMED and it changed something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The child's own last words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Digest>,
}

impl Wish {
    /// Two intents with the same goal key want the same thing: when one runs, the other is superseded.
    /// `None` means each is wanted for itself ("yes" twice is legitimate).
    pub fn goal(&self) -> Option<&'static str> {
        match self {
            Self::Continue | Self::Resume { .. } => Some("continue"),
            Self::Initialise => Some("initialise"),
            Self::Cancel => Some("cancel"),
            Self::Pause => Some("pause"),
            _ => None,
        }
    }

    /// The stored and printed name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Initialise => "initialise",
            Self::Message { .. } => "message",
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume { .. } => "resume",
            Self::Approve { .. } => "approve",
            Self::Deny { .. } => "deny",
            Self::Answer { .. } => "answer",
            Self::Rewind { .. } => "rewind",
            Self::Uncompact { .. } => "uncompact",
            Self::AddBudget { .. } => "add-budget",
            Self::CapCall { .. } => "cap-call",
            Self::SubtaskEnded { .. } => "subtask-ended",
        }
    }
}

/// A wish on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its name.
    pub id: IntentId,
    /// Where it should run.
    pub session: SessionId,
    /// Who wants it.
    pub source: Source,
    /// What is wanted.
    pub wish: Wish,
    /// Idempotency key: the inbox takes each (session, key) once, for ever.
    pub key: String,
    /// When it was submitted.
    pub at: Timestamp,
    /// Dropped, and said so, when not selected within this time. Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}
