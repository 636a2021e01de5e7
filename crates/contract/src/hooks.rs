//! Hooks: programs of a person, or of a project a person trusts, that are asked or told when something happens.
//!
//! Knows no file format and no process: the binary reads Claude's JSON and runs them, `kernel::hooks` says what their
//! answers come to together. Start at [`HookEvent`], then [`Hooks`], the port.

use crate::action::Call;
use crate::handle::Handed;
use crate::policy::Decision;
use crate::session::SessionSpec;
use crate::{BoxFuture, Cancel, Digest, IntentId, SessionId, is_default};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// What a hook is asked about or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// The workspace stands, or a person let the session go on.
    SessionStart,
    /// The session is about to end.
    SessionEnd,
    /// The goal, or a message, before the agent sees it.
    UserPromptSubmit,
    /// A call, before rules and people are asked.
    PreToolUse,
    /// A person would be asked about a call.
    PermissionRequest,
    /// A call went well.
    PostToolUse,
    /// A call failed.
    PostToolUseFailure,
    /// The agent of a root session yields.
    Stop,
    /// The agent of a child session yields.
    SubagentStop,
    /// Entries are about to be taken out of the conversation.
    PreCompact,
    /// They were.
    PostCompact,
    /// Somebody is waited for.
    Notification,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::SessionStart,
        Self::SessionEnd,
        Self::UserPromptSubmit,
        Self::PreToolUse,
        Self::PermissionRequest,
        Self::PostToolUse,
        Self::PostToolUseFailure,
        Self::Stop,
        Self::SubagentStop,
        Self::PreCompact,
        Self::PostCompact,
        Self::Notification,
    ];

    /// The name in files and in what hooks read: Claude Code's.
    pub fn name(self) -> &'static str {
        match self {
            Self::SessionStart => "SessionStart",
            Self::SessionEnd => "SessionEnd",
            Self::UserPromptSubmit => "UserPromptSubmit",
            Self::PreToolUse => "PreToolUse",
            Self::PermissionRequest => "PermissionRequest",
            Self::PostToolUse => "PostToolUse",
            Self::PostToolUseFailure => "PostToolUseFailure",
            Self::Stop => "Stop",
            Self::SubagentStop => "SubagentStop",
            Self::PreCompact => "PreCompact",
            Self::PostCompact => "PostCompact",
            Self::Notification => "Notification",
        }
    }

    /// A hook of these that fails, or does not answer in time, has said no.
    pub fn guards(self) -> bool {
        matches!(self, Self::UserPromptSubmit | Self::PreToolUse | Self::PermissionRequest)
    }
}

/// A declared hook, as a session was opened with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookDef {
    /// When it is asked.
    pub event: HookEvent,
    /// Which tools, or which kind of the event; empty = all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub matcher: String,
    /// Which calls of those, as `Tool(pattern)`; empty = all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub only: String,
    /// A line for the shell.
    pub run: String,
    /// How long it may take, milliseconds.
    pub timeout_ms: u64,
    /// The file that declares it.
    pub from: String,
    /// A project brought it along: it runs only as a person trusted it, and never allows anything.
    #[serde(default, skip_serializing_if = "is_default")]
    pub project: bool,
    /// It runs confined as the session's commands are; otherwise as the person.
    #[serde(default, skip_serializing_if = "is_default")]
    pub confined: bool,
    /// Its answer counts for nothing (`async`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub silent: bool,
    /// Variables it is given besides; a value may name a secret, as `secret:NAME`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<(String, String)>,
}

/// One event of which hooks are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which.
    pub event: HookEvent,
    /// Its kind, as matchers see it: `startup`, `auto`, `permission_prompt` ...
    #[serde(default, skip_serializing_if = "is_default")]
    pub about: String,
    /// The call it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Box<Call>>,
    /// What the call gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave: Option<Digest>,
    /// The prompt, or the agent's last words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Digest>,
    /// The intent whose message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentId>,
    /// A hook has kept the agent at work already.
    #[serde(default, skip_serializing_if = "is_default")]
    pub again: bool,
}

impl Asked {
    /// That this happened; nothing else is known of it.
    pub fn of(event: HookEvent, about: &str) -> Self {
        let about = about.to_owned();
        Self { event, about, call: None, gave: None, text: None, intent: None, again: false }
    }
}

/// What one hook answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookAnswer {
    /// Its place in the session's list.
    pub hook: u32,
    /// What it decided, if it did; `deny` is also what keeps an agent at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<Decision>,
    /// It wants the session stopped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub halt: bool,
    /// Its reason, cut short.
    #[serde(default, skip_serializing_if = "is_default")]
    pub said: String,
    /// Why it gave no answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failed: String,
    /// Its exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Secrets whose values it was given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub handed: Vec<Handed>,
}

/// An event with everything that a hook may read of it.
#[derive(Debug, Clone)]
pub struct HookAsk {
    /// Whose.
    pub session: SessionId,
    /// Name of the action, `session/turn.step`: a hook that is asked again after a crash gets the same.
    pub key: String,
    /// Top of the workspace.
    pub root: PathBuf,
    /// What the session was opened with.
    pub spec: Arc<SessionSpec>,
    /// The event.
    pub asked: Asked,
    /// The call's arguments, as they are by now.
    pub args: Option<Value>,
    /// What the call gave.
    pub gave: Option<String>,
    /// The prompt, or the agent's last words.
    pub text: Option<String>,
    /// Extra environment for commands.
    pub env: Vec<(String, String)>,
}

/// A hook's answer, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookSaid {
    /// What it decided.
    pub say: Option<Decision>,
    /// Why.
    pub reason: String,
    /// It wants the session stopped.
    pub halt: bool,
    /// What the agent should know.
    pub context: String,
    /// Other arguments for the call, in our words.
    pub args: Option<Value>,
    /// Why there is no answer.
    pub failed: String,
    /// Its exit status.
    pub exit: Option<i32>,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Secrets whose values it was given.
    pub handed: Vec<Handed>,
}

/// The port: who knows the hooks' format, and runs them.
pub trait Hooks: Send + Sync {
    /// Is this hook one for this event?
    fn fits(&self, hook: &HookDef, asked: &Asked, tool: &str, args: Option<&Value>) -> bool;
    /// Asks it. Ends soon after `cancel`; a hook that fails is an answer.
    fn ask<'a>(&'a self, hook: &'a HookDef, ask: &'a HookAsk, cancel: Cancel) -> BoxFuture<'a, HookSaid>;
}

/// Nobody runs hooks: those that guard say no.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn fits(&self, hook: &HookDef, asked: &Asked, _: &str, _: Option<&Value>) -> bool {
        hook.event == asked.event
    }

    fn ask<'a>(&'a self, _: &'a HookDef, _: &'a HookAsk, _: Cancel) -> BoxFuture<'a, HookSaid> {
        Box::pin(async { HookSaid { failed: "nobody here runs hooks".into(), ..HookSaid::default() } })
    }
}
