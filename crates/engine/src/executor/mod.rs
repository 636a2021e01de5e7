//! Runs one attempt of one action against the ports and says how it ended.
//!
//! Knows no session state, no journal, no policy and no vendor: everything it needs stands in the
//! [`Run`], everything it learns goes into the [`Outcome`]. Start at [`execute`].
//!
//! # The one road
//!
//! ```text
//! arbiter: Started is durable --Run--> execute --Finished--> arbiter: Finished joins the next commit
//!
//! execute      drives `attempt`, watches deadline and cancel token, measures the time
//! attempt      by kind of work:
//!   Model      model.rs         conversation.rs + notice.rs + prompt.rs -> request -> reply -> calls.rs
//!   Summarise  summary.rs       entries that are to go -> request -> reply -> text
//!   Tools      tools.rs         restore? -> savepoint? -> judge again -> run -> results
//!   Hooks      hooks.rs         savepoint? -> each hook -> a changed call judged again -> answers
//!   the rest   workspace.rs     prepare, check, inspect, integrate, adopt, rewind
//! ```
//!
//! A model's call becomes a [`contract::action::Call`] in `calls.rs`: the tool judges its own
//! arguments (class, hash); the calls that are decisions (`finish`, `ask`, `plan`, `todo`, `delegate`) are
//! read by `control.rs` and never run here. There is no second way to a tool.
//!
//! # How an attempt ends
//!
//! * What was finished counts, even when a stop was asked for meanwhile: `Done`.
//! * Stopped from outside: `Cancelled`, with what its calls had given by then. Stopped at the deadline: `TimedOut`; but a tool that ran
//!   out of time and stopped cleanly is a result like any other, with `ok: false` and what it had
//!   printed.
//! * A stop has three steps: ask (the sandbox's own ladder runs now), after `GRACE_MS` insist, after
//!   `STOP_NOW_MS` more drop the future: the outcome is there before the kernel gives the action up
//!   as silent. A model call is insisted on at once: nothing of it stays behind.
//! * A panic in an adapter is a permanent fault with the code `panic`.
//! * A tools action in which no tool has begun yet says so: `not-run` begins the fault's code. The
//!   gate in `stop.rs` makes that certain, so that nobody is asked about an effect that never was.
//!
//! `used` counts one step, the time, and for a reply its tokens and their price. An interrupted model call
//! reports no tokens, because nobody knows them: the kernel settles it as fully spent.

pub mod asked;
mod calls;
mod control;
mod conversation;
#[cfg(test)]
pub(crate) mod fake;
mod find;
mod goal;
mod hide;
mod hooks;
mod model;
mod notice;
mod picture;
mod prompt;
mod ruler;
pub mod shown;
mod stop;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod tools;
mod workspace;
mod writes;

use self::stop::{Gate, Watch};
use crate::task::{self, Lost};
use ::secrets::Redactor;
use contract::action::{CallResult, Done, End, Outcome, Run, Work};
use contract::checks::Checks;
use contract::context::Sent;
use contract::hooks::Hooks;
use contract::model::{Meter, Models, Request};
use contract::port::{Blobs, Clock, Sink};
use contract::tool::{Others, Scope, Spooled, Tool};
use contract::workspace::Workspace;
use contract::{Amount, Cancel, Digest, Fault, Kind, SessionId};
use kernel::policy::Policy;
use std::path::Path;
use std::sync::Arc;

/// The outside world of an attempt.
#[derive(Clone)]
pub struct Ports {
    /// Reads texts, arguments and logs.
    pub blobs: Arc<dyn Blobs>,
    /// The sessions' clones.
    pub workspace: Arc<dyn Workspace>,
    /// Finds and runs checks.
    pub checks: Arc<dyn Checks>,
    /// Every tool there is; a session's rights choose among them.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Tools that only some sessions have besides.
    pub others: Arc<dyn Others>,
    /// Finds models.
    pub models: Arc<dyn Models>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Extra environment for commands.
    pub env: Vec<(String, String)>,
    /// What may run.
    pub rules: Arc<dyn Rules>,
    /// What is taken out of every text.
    pub secrets: Arc<dyn Secrets>,
    /// Runs hooks.
    pub hooks: Arc<dyn Hooks>,
}

/// Finds the rules that hold for a session, as they are now.
pub trait Rules: Send + Sync {
    /// The rules for this repository, and for the tree of sessions with this root. A fault refuses every call until it is
    /// put right.
    fn of(&self, repo: &str, root: SessionId) -> Result<Arc<Policy>, Fault>;
}

impl Rules for Policy {
    fn of(&self, _: &str, _: SessionId) -> Result<Arc<Policy>, Fault> {
        Ok(Arc::new(self.clone()))
    }
}

/// Finds the secrets that a session might come upon, as they are now.
pub trait Secrets: Send + Sync {
    /// What takes them out of texts: of a session on this repository, with its clone here.
    fn of(&self, repo: &Path, root: &Path) -> Arc<Redactor>;
    /// Grows when more becomes known by itself, as by a value that a call was given.
    fn learned(&self) -> usize {
        0
    }
    /// The same file without secrets: what is too much for memory is read and written piece by piece.
    fn file(&self, _: &Redactor, file: Spooled) -> Result<Spooled, Fault> {
        let what = format!("nobody here takes secrets out of {}", file.path.display());
        Err(Fault::new(Kind::Permanent, "not-clean", what))
    }
}

/// Knows no secret's value, only their makers' forms: for tests and measurements.
#[derive(Debug, Clone, Default)]
pub struct Plain(Arc<Redactor>);

impl Secrets for Plain {
    fn of(&self, _: &Path, _: &Path) -> Arc<Redactor> {
        Arc::clone(&self.0)
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").field("tools", &self.tools.len()).finish_non_exhaustive()
    }
}

/// How an attempt ended, and what its record refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The record.
    pub outcome: Outcome,
    /// The blobs it refers to; they must become durable no later than the record.
    pub blobs: Vec<Vec<u8>>,
}

/// Runs one attempt to its end. Never panics and never fails: whatever happens is an [`Outcome`].
///
/// `cancel` is the arbiter's token; it stops this attempt and nothing else. Dropping the future
/// drops the attempt.
#[tracing::instrument(skip_all, fields(session = %run.session, action = %run.action, attempt = run.attempt, work = run.work.name()))]
pub async fn execute(ports: &Ports, run: Run, cancel: Cancel, sink: Arc<dyn Sink>) -> Finished {
    let began = ports.clock.now();
    let (action, number, name) = (run.action, run.attempt, run.work.name());
    let watch = Watch::new(&run, began, cancel);
    let hidden = hide::Hidden::new(ports, &run);
    let sink = hidden.sink(sink);

    let (end, kept) = if watch.is_over() {
        (watch.stopped(), Kept::default())
    } else {
        let job = Job {
            ports: ports.clone(),
            run,
            outside: watch.outside.clone(),
            cancel: watch.own.clone(),
            gate: Arc::clone(&watch.gate),
            sink: Arc::clone(&sink) as Arc<dyn Sink>,
        };
        let mut driven = Box::pin(task::caught(attempt(job)));
        match watch.over(driven.as_mut()).await {
            Some(Ok((result, kept))) => (watch.end(result), kept),
            Some(Err(Lost::Panicked(why))) => (watch.failed(panicked(name, &why)), Kept::default()),
            // Only a task can be aborted, and only by the end of the runtime: the process is going down.
            Some(Err(Lost::Aborted)) => (End::Unknown, Kept::default()),
            None => (watch.stopped(), Kept::default()),
        }
    };

    let used = Amount { steps: 1, time_ms: ports.clock.now().since(began), ..kept.spent };
    let Kept { blobs, meter, metered, estimated, sent, written, .. } = kept;
    let outcome =
        Outcome { meter, metered, estimated, sent, written, ..Outcome::new(action, number, end, used) };
    sink.end();
    hidden.finished(outcome, blobs)
}

/// What a run would ask its model, built anew from the record and not sent. `None`: it asks no model.
pub async fn rebuild(ports: &Ports, run: Run) -> Result<Option<(Request, Sent)>, Fault> {
    let job = Job {
        ports: ports.clone(),
        run,
        outside: Cancel::new(),
        cancel: Cancel::new(),
        gate: Arc::default(),
        sink: Arc::new(contract::port::Quiet),
    };
    let request = model::rebuild(&job.with_others().await).await?;
    Ok(request.map(|request| (request.clone(), model::sent(&*ports.models, &request))))
}

/// Everything one attempt works with.
struct Job {
    ports: Ports,
    run: Run,
    /// The arbiter's token: cancelled means that somebody wants it stopped.
    outside: Cancel,
    /// The attempt's own token: cancelled with the other, and at the deadline.
    cancel: Cancel,
    /// Passed before the first tool begins.
    gate: Arc<Gate>,
    sink: Arc<dyn Sink>,
}

/// Why an attempt has no result.
#[derive(Debug)]
enum Halt {
    Fault(Fault),
    /// It was told to stop, and did.
    Stopped,
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What an attempt collects on its way.
#[derive(Debug, Default)]
struct Kept {
    blobs: Vec<Vec<u8>>,
    /// Tokens and money; steps and time are measured by `execute`.
    spent: Amount,
    /// What a model's answer told about the limits of the key.
    meter: Meter,
    /// `spent` is known although there is no reply.
    metered: bool,
    /// `spent` is an upper bound.
    estimated: bool,
    /// What a model was asked.
    sent: Option<Sent>,
    /// What the calls had given when the action was stopped.
    written: Vec<CallResult>,
}

impl Kept {
    fn put(&mut self, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.blobs.push(bytes);
        digest
    }
}

async fn attempt(job: Job) -> (Result<Done, Halt>, Kept) {
    let mut kept = Kept::default();
    let job = Arc::new(job.with_others().await);
    let result = match &job.run.work {
        Work::Prepare => workspace::prepare(&job).await,
        Work::Model { model, ordinal } => model::speak(&job, &mut kept, model, *ordinal).await,
        Work::Summarise { model, dropped, .. } => summary::word(&job, &mut kept, model, dropped).await,
        Work::Tools { calls } => tools::run(&job, &mut kept, calls).await,
        Work::Check { base_known } => workspace::check(&job, &mut kept, *base_known).await,
        Work::Inspect { result } => workspace::inspect(&job, result).await,
        Work::Integrate { result } => workspace::integrate(&job, &mut kept, result).await,
        Work::Adopt { child, commit, .. } => workspace::adopt(&job, &mut kept, *child, commit).await,
        Work::Rewind { to } => workspace::rewind(&job, *to).await,
        Work::Hooks { asked } => hooks::ask(&job, &mut kept, asked).await,
    };
    (result, kept)
}

impl Job {
    /// Where it is about calls: with the tools that this session alone has. A name that is taken stays whose it is.
    async fn with_others(mut self) -> Self {
        let known = |name: &str| self.ports.tools.iter().any(|tool| tool.name() == name);
        let about = match &self.run.work {
            Work::Model { .. } | Work::Hooks { .. } => true,
            Work::Tools { calls } => calls.iter().any(|call| !known(&call.tool)),
            _ => false,
        };
        if about {
            let (repo, scope) = (Path::new(&self.run.context.spec.repo), self.scope());
            let others = self.ports.others.of(repo, &scope, &*self.sink).await;
            let others: Vec<_> = others.into_iter().filter(|tool| !known(&tool.name())).collect();
            self.ports.tools.extend(others);
        }
        self
    }

    /// The name of this action's savepoint.
    fn label(&self) -> String {
        self.run.action.to_string()
    }

    /// The name of this action among all sessions: for processes, directories and idempotency.
    fn key(&self) -> String {
        format!("{}/{}", self.run.session, self.run.action)
    }

    /// The world a tool call of this action is judged in and runs in.
    fn scope(&self) -> Scope {
        let context = &self.run.context;
        let checks = context.checks.iter().map(|check| check.run.clone());
        Scope {
            session: self.run.session,
            key: self.key(),
            root: self.ports.workspace.root(self.run.session),
            env: self.ports.env.clone(),
            declared: context.setup.iter().cloned().chain(checks).collect(),
            reads: kernel::policy::only_reads(&context.spec.mode),
            confinement: None,
            together: 1,
            blobs: Arc::clone(&self.ports.blobs),
            masks: Some(Arc::new(hide::Looked::new(&self.ports, &self.run))),
        }
    }

    /// What takes secrets out of this session's texts, by what is known of them now.
    fn redactor(&self) -> Arc<Redactor> {
        hide::redactor(&self.ports, &self.run)
    }

    /// A stored text. Bytes that are not UTF-8 are shown as such.
    async fn text(&self, digest: Digest) -> Result<String, Fault> {
        let bytes = self.ports.blobs.blob(digest).await?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into()))
    }

    /// The commit the work started from.
    fn base(&self) -> Result<String, Fault> {
        self.run.context.base.clone().ok_or_else(|| {
            let what = format!("{} was started before the workspace stands", self.run.work.name());
            Fault::new(Kind::Permanent, "not-prepared", what)
        })
    }

    /// Goes on only when nobody has asked for a stop.
    fn unless_stopped(&self) -> Result<(), Halt> {
        if self.cancel.is_cancelled() { Err(Halt::Stopped) } else { Ok(()) }
    }
}

fn panicked(work: &str, why: &str) -> Fault {
    Fault::new(Kind::Permanent, "panic", format!("a {work} action panicked: {why}"))
        .hint("this is a bug in Kapell; `kapell events --json` shows what led to it")
}
