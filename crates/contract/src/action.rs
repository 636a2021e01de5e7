//! What may run, what a crash in the middle of it means, and how it ended.

use crate::checks::{CheckDef, Flag, Report};
use crate::confine::{HostAsked, InForce};
use crate::context::{Left, Sent};
use crate::event::{Notice, TaskState};
use crate::handle::Handed;
use crate::hooks::{Asked, HookAnswer, HookEvent};
use crate::model::{Card, Meter, Shown, Stop, Usage};
use crate::policy::Ruling;
use crate::session::SessionSpec;
use crate::{ActionId, Amount, CallId, Digest, Fault, SessionId, Timestamp, is_default};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a crash in the middle of an action means (DESIGN section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectClass {
    /// Changes nothing: run again.
    Pure,
    /// Has a key that makes a repeat harmless: run again with the same key.
    Keyed,
    /// Costs money: settle the reservation as spent, run again.
    Billed,
    /// Confined to the workspace: restore the savepoint, run again.
    Staged,
    /// Outcome unknown: a probe or a person decides; never run again silently.
    External,
}

impl EffectClass {
    /// The stored and printed name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Keyed => "keyed",
            Self::Billed => "billed",
            Self::Staged => "staged",
            Self::External => "external",
        }
    }
}

/// A tool call as the model asked for it, after the tool itself judged its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The model's name for it.
    pub id: CallId,
    /// Which tool.
    pub tool: String,
    /// Its arguments (JSON), as a blob.
    pub args: Digest,
    /// What a crash in the middle would mean.
    pub class: EffectClass,
    /// Why that class, in a few words.
    pub why: String,
    /// Hash over the exact content (tool, arguments, directory, environment difference, file digests).
    pub hash: Digest,
    /// Its own deadline, if it asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Calls that the kernel itself answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// The arguments do not fit: this becomes the call's result, nothing runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Digest>,
    /// What the rules said when it was made; without it, the class decides alone whether a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruled: Option<Ruling>,
    /// Calls with the same mark may run as one process, each with its own result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<Digest>,
    /// Events of which hooks want to hear when they are about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookEvent>,
    /// What would confine the command it runs, when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<InForce>,
}

/// A call that is a decision, not an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Open a child session and wait for its result.
    Delegate {
        /// The child's goal.
        goal: Digest,
        /// Bytes of it.
        bytes: u64,
        /// Mode of the child; empty = the parent's.
        mode: String,
        /// The child's own cap within the tree.
        budget: Amount,
        /// Tools the child may use, within the parent's; `None` = the parent's.
        tools: Option<Vec<String>>,
    },
    /// Ask the person.
    Ask {
        /// The question.
        question: Digest,
    },
    /// Set the plan.
    Plan {
        /// Its tasks.
        tasks: Vec<Task>,
    },
    /// End the turn with a word about how it stands.
    Finish {
        /// True: the agent says it is done (which proves nothing). False: it cannot go on.
        done: bool,
        /// What is missing when not done, such as `language-model` or `person`.
        needs: String,
        /// Its words.
        summary: Digest,
    },
    /// Set the list of what is to be done: the agent's own notes, which nobody works off for it.
    Todo {
        /// Its entries, in their order.
        items: Vec<Todo>,
    },
    /// Be shown tools that are not shown from the start.
    FindTools {
        /// Those that fit what was looked for.
        names: Vec<String>,
    },
}

/// An entry of the agent's own list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Todo {
    /// What is to be done.
    pub text: Digest,
    /// Where it stands.
    pub state: TaskState,
}

/// A node of the plan, which is a DAG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in the plan.
    pub id: String,
    /// What to do.
    pub goal: Digest,
    /// Ids of tasks that must be done before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Make the workspace ready. Idempotent.
    Prepare,
    /// Ask the model for its next message.
    Model {
        /// Which model.
        model: String,
        /// How many model actions came before in this session.
        ordinal: u32,
    },
    /// Ask a model to word what is about to be taken out of the conversation.
    Summarise {
        /// Which model.
        model: String,
        /// Results of which only the address will be shown.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<(u64, Left)>,
        /// Entries that will not be shown at all, by number: first and last of each run.
        dropped: Vec<(u64, u64)>,
    },
    /// Run one tool call, a batch of pure ones, or staged ones that may run as one process.
    Tools {
        /// The calls.
        calls: Vec<Call>,
    },
    /// Commit the work and run the checks on base and result.
    Check {
        /// Base runs already on record are not repeated.
        base_known: bool,
    },
    /// Judge the change itself.
    Inspect {
        /// The commit to judge.
        result: String,
    },
    /// Land the result.
    Integrate {
        /// The confirmed commit.
        result: String,
    },
    /// Take over a child's result into the own workspace.
    Adopt {
        /// Whose.
        child: SessionId,
        /// Which commit.
        commit: String,
        /// The call that gets the result.
        call: CallId,
    },
    /// Put the workspace back to before an action.
    Rewind {
        /// Which action.
        to: ActionId,
    },
    /// Ask the hooks, or tell them.
    Hooks {
        /// About what.
        asked: Box<Asked>,
    },
}

impl Work {
    /// Is a model asked?
    pub fn asks_model(&self) -> bool {
        matches!(self, Self::Model { .. } | Self::Summarise { .. })
    }

    /// The stored and printed name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Model { .. } => "model",
            Self::Summarise { .. } => "summarise",
            Self::Tools { .. } => "tools",
            Self::Check { .. } => "check",
            Self::Inspect { .. } => "inspect",
            Self::Integrate { .. } => "integrate",
            Self::Adopt { .. } => "adopt",
            Self::Rewind { .. } => "rewind",
            Self::Hooks { .. } => "hooks",
        }
    }
}

/// What the engine does after a commit. Replay drops these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run an action.
    Run(Box<Run>),
    /// Stop the action in flight.
    Cancel {
        /// Which.
        action: ActionId,
        /// Kill at once instead of asking first.
        now: bool,
    },
    /// Another session has something in its inbox, or was just opened.
    Wake(SessionId),
}

/// One attempt at one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub action: ActionId,
    /// First try is 1; an outcome of another attempt is stale.
    pub attempt: u32,
    /// What to do.
    pub work: Work,
    /// Its class.
    pub class: EffectClass,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// An earlier attempt may have left half a change: restore this action's savepoint first.
    pub restore: bool,
    /// The content a person approved; running anything else is refused.
    pub approved: Option<Digest>,
    /// Most tokens a model may say: what was reserved holds for no more.
    pub max_tokens: u64,
    /// The facts that a model's call was reserved by: it is settled by the same. `None`: no model is asked.
    pub card: Option<Card>,
    /// What the executor needs to know of the session.
    pub context: Box<Context>,
}

/// The part of the state that executing needs. Values only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// What the session was opened with.
    pub spec: Arc<SessionSpec>,
    /// Base commit once prepared.
    pub base: Option<String>,
    /// Branch to land on, once prepared.
    pub target: Option<String>,
    /// The workspace may hold something that its base does not.
    pub worked: bool,
    /// The checks of the base commit.
    pub checks: Vec<CheckDef>,
    /// Set-up commands of the base commit.
    pub setup: Vec<String>,
    /// The conversation, for model actions.
    pub items: Vec<Item>,
    /// The model that will read what this action gives.
    pub model: Option<String>,
    /// Tools the agent has found, which are shown from then on.
    pub found: Vec<String>,
}

/// One entry of the conversation, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Who speaks.
    pub role: Role,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Digest>,
    /// The calls an assistant's message makes: id, tool, arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<(CallId, String, Digest)>,
    /// The call a tool's message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// Did the call go well?
    #[serde(default)]
    pub ok: bool,
    /// What Kapell says, when it is Kapell who speaks; worded when the request is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Box<Notice>>,
    /// Bytes of text and arguments.
    pub bytes: u64,
    /// Who made what only it may see again, and that, as a blob of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<(String, Digest)>,
    /// Pictures of a tool's result: media type and file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<(String, Digest)>,
    /// Width and height of each of them, in pixels; empty = not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pixels: Vec<(u32, u32)>,
    /// Its number in the session, from 1 on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no: u64,
    /// Its tokens, where the model's tokenizer is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Why its text is not shown; a line with its address stands in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// A person brought it back: it goes last.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kept: bool,
}

impl Item {
    /// An entry of this speaker that says nothing yet.
    pub fn by(role: Role) -> Self {
        Self {
            role,
            text: None,
            calls: Vec::new(),
            call: None,
            ok: true,
            notice: None,
            bytes: 0,
            private: None,
            images: Vec::new(),
            pixels: Vec::new(),
            no: 0,
            tokens: None,
            left: None,
            kept: false,
        }
    }
}

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The person or the parent.
    User,
    /// Kapell itself: check results, notices.
    Notice,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

/// How one attempt ended. Comes back through the session's mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which action.
    pub action: ActionId,
    /// Which attempt.
    pub attempt: u32,
    /// How it ended.
    pub end: End,
    /// What it really used.
    #[serde(default)]
    pub used: Amount,
    /// What a model's answer told about the limits of the key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub meter: Meter,
    /// False: what a failed or interrupted model call cost is not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metered: bool,
    /// What it used is an upper bound: the provider told nothing, or not all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub estimated: bool,
    /// What a model was asked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
    /// What its calls had given when it was stopped: partial, and no answer to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<CallResult>,
}

impl Outcome {
    /// That this attempt ended so, having used that.
    pub fn new(action: ActionId, attempt: u32, end: End, used: Amount) -> Self {
        let (meter, metered, estimated) = (Meter::default(), false, false);
        Self { action, attempt, end, used, meter, metered, estimated, sent: None, written: Vec::new() }
    }
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It did what it does (a tool's error is a result too).
    Done(Done),
    /// It could not.
    Failed(Fault),
    /// It was stopped on request; what it may have done outside is unknown if it was external.
    Cancelled,
    /// It ran past its deadline and was stopped.
    TimedOut,
    /// Nobody knows: the process died with it.
    Unknown,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// The workspace stands.
    Prepared(Prepared),
    /// The model spoke.
    Said {
        /// Its text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<Digest>,
        /// Bytes of the text.
        #[serde(default)]
        bytes: u64,
        /// Its calls.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<Call>,
        /// Why it stopped.
        stop: Stop,
        /// Tokens.
        usage: Usage,
        /// Who made what only it may see again, and that, as a blob of JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        private: Option<(String, Digest)>,
        /// The provider's name for the exchange.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        request_id: String,
        /// What it was shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Box<Shown>>,
        /// Bytes of it that the next request holds again: text, calls, what is private. `None` = only the text's are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<u64>,
        /// Tokens of those, where the model's tokenizer is public.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokens: Option<u64>,
    },
    /// The model has worded what is taken out.
    Summarised {
        /// Its text.
        text: Digest,
        /// Bytes of it.
        bytes: u64,
        /// Tokens.
        usage: Usage,
        /// The provider's name for the exchange.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        request_id: String,
    },
    /// Tools ran.
    Ran {
        /// One result per call, in the order of the calls.
        results: Vec<CallResult>,
        /// The savepoint taken before a staged or external call (a commit of the workspace's own store).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        savepoint: Option<String>,
    },
    /// The checks ran.
    Checked(Report),
    /// The change was judged.
    Inspected {
        /// What a person should see before it lands.
        flags: Vec<Flag>,
        /// Files changed.
        files: u64,
    },
    /// It landed, or it did not.
    Integrated(Integrated),
    /// A child's commit is in the workspace, or it conflicts.
    Adopted {
        /// Which child.
        child: SessionId,
        /// False: conflicts; the workspace is as before.
        clean: bool,
        /// What to tell the parent's agent.
        text: Digest,
        /// Bytes of the text.
        bytes: u64,
    },
    /// The workspace is as it was before that action.
    Rewound {
        /// Which action.
        to: ActionId,
        /// The savepoint of the state before the rewind, to undo it.
        undo: String,
    },
    /// The hooks have answered.
    Hooked {
        /// Each, in the order in which they were asked; who was not asked is not here.
        answers: Vec<HookAnswer>,
        /// What the agent is told of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<Digest>,
        /// Bytes of that.
        #[serde(default, skip_serializing_if = "is_default")]
        bytes: u64,
        /// The call as they changed it, judged anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Box<Call>>,
    },
}

impl Done {
    /// That a model said this, nothing of it private.
    pub fn said(text: Option<Digest>, bytes: u64, calls: Vec<Call>, stop: Stop, usage: Usage) -> Self {
        let (private, request_id, shown) = (None, String::new(), None);
        Self::Said { text, bytes, calls, stop, usage, private, request_id, shown, again: None, tokens: None }
    }
}

/// A prepared workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The commit the work starts from.
    pub base: String,
    /// The branch to land on; `None` = HEAD is detached or the repository is bare: a branch is left instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Checks of the base commit.
    pub checks: Vec<CheckDef>,
    /// Set-up commands of the base commit, run before the checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// Names of the checks the goal is about.
    pub goal_checks: Vec<String>,
    /// What the person should know (uncommitted changes left out, submodules not initialised ...).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The end of an integration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integrated {
    /// The commit that is now the tip of the target; `None` = not landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed: Option<String>,
    /// The branch: landed on, or left with the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Why it did not land: `conflict`, `checks`, `dirty`, `moved`, `no-branch`, `refused`, `not-asked`,
    /// `nothing-to-land`, `taken-back`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// More about it (conflicting files), as a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Digest>,
    /// The checks on the merged tree, when the target had moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// The result of one tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResult {
    /// Which call.
    pub call: CallId,
    /// False: the model sees it as an error.
    pub ok: bool,
    /// What the model sees.
    pub text: Digest,
    /// Bytes of that.
    pub bytes: u64,
    /// The whole output when the text is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Digest>,
    /// Exit status of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// It changed the workspace.
    #[serde(default)]
    pub changed: bool,
    /// Pictures the model sees besides: media type and file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<(String, Digest)>,
    /// Width and height of each of them, in pixels; empty = not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pixels: Vec<(u32, u32)>,
    /// Tokens of the text, where the model's tokenizer is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Hosts that commands asked for through the proxy since the last result that told of any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<HostAsked>,
    /// Secrets whose values it was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handed: Vec<Handed>,
}
