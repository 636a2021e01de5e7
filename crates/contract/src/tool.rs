//! The Tool port: spec + schema + effect class + limits + run, in one value.

use crate::action::EffectClass;
use crate::confine::{Confinement, HostAsked, InForce};
use crate::handle::Handed;
use crate::model::{Image, ToolSpec};
use crate::policy::Part;
use crate::port::{Blobs, Sink};
use crate::{BoxFuture, Cancel, Digest, Fault, SessionId};
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The world a call runs in.
#[derive(Clone)]
pub struct Scope {
    /// Whose call.
    pub session: SessionId,
    /// Key of the action: `session/turn.step`.
    pub key: String,
    /// Top of the workspace; every path stays inside.
    pub root: PathBuf,
    /// Extra environment for commands.
    pub env: Vec<(String, String)>,
    /// Commands of the project's declared checks and set-up: confined by declaration.
    pub declared: Vec<String>,
    /// The mode only reads.
    pub reads: bool,
    /// What confines commands; `None`: nothing does.
    pub confinement: Option<Confinement>,
    /// How many calls of its action may run as one process, this one included; 1 = it is alone.
    pub together: usize,
    /// Reads earlier outputs.
    pub blobs: Arc<dyn Blobs>,
    /// Finds secrets, for who shows pieces of a text that goes on before and behind them; `None`: there are none.
    pub masks: Option<Arc<dyn Masks>>,
}

/// Where secrets are in a text. Whatever a tool gives back is looked through once more, but what reaches over the end of
/// a piece is in neither of two pieces.
pub trait Masks: Send + Sync {
    /// Ranges of bytes, in order and apart, with what is shown in their place.
    fn of(&self, text: &[u8]) -> Vec<(Range<usize>, String)>;
    /// Of a text that may go on: how many of its bytes can be shown by now. What follows may become a secret.
    fn settled(&self, text: &[u8]) -> usize;
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("key", &self.key).field("root", &self.root).finish_non_exhaustive()
    }
}

/// What a tool says about a call before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What a crash in the middle would mean.
    pub class: EffectClass,
    /// Why, in a few words.
    pub why: String,
    /// Hash over the exact content (tool, arguments, directory, environment difference, file digests).
    pub hash: Digest,
    /// Its own deadline, if it asked for one.
    pub deadline_ms: Option<u64>,
    /// What would confine the command it runs, if it runs one.
    pub held: Option<InForce>,
}

/// What a tool gives back. An error a model can react to is an output with `ok: false`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// False: the model sees it as an error.
    pub ok: bool,
    /// What the model sees.
    pub text: String,
    /// The whole output, when the text is cut or not UTF-8.
    pub full: Option<Vec<u8>>,
    /// The same where it is too much for memory.
    pub spooled: Option<Spooled>,
    /// Exit status of a command.
    pub exit: Option<i32>,
    /// How it was stopped, if it was.
    pub stopped: Option<Stopped>,
    /// Pictures the model sees besides the text.
    pub images: Vec<Image>,
    /// Hosts that commands asked for through the proxy.
    pub asked: Vec<HostAsked>,
    /// Secrets whose values it was given.
    pub handed: Vec<Handed>,
}

/// A whole output in a file, written and synced. Who gets it makes a blob of it ([`Blobs::adopt`]) or removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    /// Where it lies.
    pub path: PathBuf,
    /// Address of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
}

/// Why a run ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// On request.
    Cancelled,
    /// At its deadline.
    TimedOut,
    /// It waited for input that nobody can give.
    NeedsInput,
}

impl Output {
    /// A success.
    pub fn ok(text: impl Into<String>) -> Self {
        Self {
            ok: true,
            text: text.into(),
            full: None,
            spooled: None,
            exit: None,
            stopped: None,
            images: Vec::new(),
            asked: Vec::new(),
            handed: Vec::new(),
        }
    }

    /// An error for the model to react to.
    pub fn error(text: impl Into<String>) -> Self {
        Self { ok: false, ..Self::ok(text) }
    }
}

/// The port.
pub trait Tool: Send + Sync {
    /// How a model sees it.
    fn spec(&self) -> ToolSpec;
    /// The name in its spec; for who looks for one tool among many.
    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(self.spec().name)
    }
    /// Is it shown to a model from the start even where there are many? Others are found when they are needed.
    fn is_core(&self) -> bool {
        true
    }
    /// Checks the arguments and says what running them means. A fault's text goes to the model.
    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault>;
    /// What running it in this class would do, for the rules to be matched on. Empty: nothing is known of it.
    fn parts(&self, _args: &Value, _scope: &Scope, _class: EffectClass) -> Vec<Part> {
        Vec::new()
    }
    /// A mark that calls share which may run as one process; none: it runs by itself.
    fn together(&self, _args: &Value, _scope: &Scope) -> Option<Digest> {
        None
    }
    /// Runs it. Must end soon after `cancel`, leaving nothing alive.
    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Output>;
}

/// Tools that only some sessions have: of other programs, which a person or a trusted file named.
pub trait Others: Send + Sync {
    /// Those of this session on this repository. What cannot be had is left out, and `sink` is told why.
    fn of<'a>(
        &'a self,
        repo: &'a Path,
        scope: &'a Scope,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Vec<Arc<dyn Tool>>>;
}

/// There are none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOthers;

impl Others for NoOthers {
    fn of<'a>(&'a self, _: &'a Path, _: &'a Scope, _: &'a dyn Sink) -> BoxFuture<'a, Vec<Arc<dyn Tool>>> {
        Box::pin(async { Vec::new() })
    }
}
