//! An engine over a real store, with models and tools that answer at once: what is left is Kapell's own work.

use contract::action::EffectClass;
use contract::checks::{CheckJob, CheckOutput, Checks, Report, Suite};
use contract::journal::Journal;
use contract::model::{
    Broken, Card, Model, ModelRef, Models, Price, Reply, Request, Stop, ToolSpec, ToolUse, Usage,
};
use contract::port::{Clock, Sink};
use contract::session::{Ask, Limits, Rights, SessionSpec};
use contract::tool::{Judged, Output, Scope, Tool};
use contract::workspace::{Change, CheckMerged, Landed, Landing, Origin, Ready, Workspace};
use contract::{Amount, BoxFuture, Cancel, Digest, Fault, Kind, SessionId, Timestamp};
use engine::{Engine, Options, Ports};
use journal::Sqlite;
use kernel::governor::Slots;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Real(AtomicU64);

impl Clock for Real {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as u64)
    }

    fn random(&self) -> u128 {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

/// Calls the tool `steps` times, [`CALLS`] times in a message, then stops. Each call is an action of its own.
struct Loop(u32);

/// Calls in one message: nearly every step is then a durable step and nothing else.
const CALLS: u32 = 50;

impl Model for Loop {
    fn card(&self) -> Card {
        Card {
            context_tokens: 1_000_000,
            output_tokens: 100,
            price: Some(Price { input: 0, output: 0, ..Price::default() }),
        }
    }

    fn respond<'a>(
        &'a self,
        request: Request,
        _: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>> {
        let left = self.0.saturating_sub(request.ordinal * CALLS).min(CALLS);
        let call = |n| ToolUse { id: format!("c{n}"), tool: "nothing".into(), args: json!({}) };
        let calls: Vec<ToolUse> = (0..left).map(call).collect();
        let stop = if left > 0 { Stop::ToolUse } else { Stop::EndTurn };
        let usage = Usage { input: 10, output: 10, ..Usage::default() };
        Box::pin(async move { Ok(Reply::plain("", calls, stop, usage)) })
    }
}

struct One(u32);

impl Models for One {
    fn open(&self, id: &str, _: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
        let model = Arc::new(Loop(self.0));
        Ok((ModelRef { id: id.to_owned(), card: model.card(), quota: None }, model))
    }
}

/// What the tool's calls give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// The same text each time: it is stored once.
    Same,
    /// Another text each time: each is a blob of its own, as real outputs are.
    Fresh,
}

struct Nothing {
    outputs: Outputs,
    calls: AtomicU64,
}

impl Tool for Nothing {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "nothing".into(),
            description: "does nothing".into(),
            schema: json!({"type": "object"}),
        }
    }

    fn judge(&self, _: &Value, _: &Scope) -> Result<Judged, Fault> {
        Ok(Judged {
            class: EffectClass::Keyed,
            why: "nothing".into(),
            hash: Digest::default(),
            deadline_ms: None,
            held: None,
        })
    }

    fn run<'a>(&'a self, _: Value, _: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        let n = match self.outputs {
            Outputs::Same => 0,
            Outputs::Fresh => self.calls.fetch_add(1, Ordering::Relaxed),
        };
        Box::pin(async move { if n == 0 { Output::ok("done") } else { Output::ok(format!("done {n}")) } })
    }
}

struct Still;

fn no<T: Send + 'static>() -> BoxFuture<'static, Result<T, Fault>> {
    Box::pin(async { Err(Fault::new(Kind::Permanent, "bench", "not part of this benchmark")) })
}

impl Workspace for Still {
    fn prepare(&self, _: SessionId, _: Origin) -> BoxFuture<'_, Result<Ready, Fault>> {
        Box::pin(async {
            Ok(Ready { root: PathBuf::from("/"), base: "0".into(), target: None, notes: Vec::new() })
        })
    }
    fn root(&self, _: SessionId) -> PathBuf {
        PathBuf::from("/")
    }
    fn savepoint(&self, _: SessionId, label: String) -> BoxFuture<'_, Result<String, Fault>> {
        Box::pin(async { Ok(label) })
    }
    fn restore(&self, _: SessionId, _: String) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(async { Ok(true) })
    }
    /// Nothing was changed: the result is the base.
    fn commit(&self, _: SessionId, _: String) -> BoxFuture<'_, Result<String, Fault>> {
        Box::pin(async { Ok("0".into()) })
    }
    fn inspect(
        &self,
        _: SessionId,
        _: String,
        _: String,
        _: Vec<String>,
    ) -> BoxFuture<'_, Result<Change, Fault>> {
        no()
    }
    fn diff(&self, _: SessionId, _: String, _: String) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        no()
    }
    fn integrate<'a>(
        &'a self,
        _: SessionId,
        _: Origin,
        _: Landing,
        _: CheckMerged<'a>,
        _: Cancel,
    ) -> BoxFuture<'a, Result<Landed, Fault>> {
        no()
    }
    fn adopt(&self, _: SessionId, _: SessionId, _: String) -> BoxFuture<'_, Result<(bool, String), Fault>> {
        no()
    }
}

impl Checks for Still {
    fn find(&self, _: PathBuf, _: String) -> BoxFuture<'_, Result<Suite, Fault>> {
        Box::pin(async { Ok(Suite::default()) })
    }
    fn run<'a>(
        &'a self,
        job: CheckJob,
        _: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<CheckOutput, Fault>> {
        let report = Report { same_tree: true, base: job.base, result: job.result, runs: Vec::new() };
        Box::pin(async { Ok(CheckOutput { report, blobs: Vec::new() }) })
    }
}

/// The store in `dir`.
pub(crate) fn store(dir: &Path) -> anyhow::Result<Arc<Sqlite>> {
    Ok(Arc::new(Sqlite::open(dir, journal::Options::default())?))
}

/// An engine whose sessions make `steps` calls each.
pub(crate) fn engine(journal: Arc<Sqlite>, steps: u32) -> Engine {
    engine_of(journal, steps, Outputs::Same)
}

/// The same, with a say in what the calls give.
pub(crate) fn engine_of(journal: Arc<Sqlite>, steps: u32, outputs: Outputs) -> Engine {
    engine_with(journal, Arc::new(One(steps)), tools_with(outputs))
}

/// The one tool there is, called `nothing`.
pub(crate) fn tools() -> Vec<Arc<dyn Tool>> {
    tools_with(Outputs::Same)
}

fn tools_with(outputs: Outputs) -> Vec<Arc<dyn Tool>> {
    vec![Arc::new(Nothing { outputs, calls: AtomicU64::new(0) })]
}

/// An engine over this store whose sessions talk to these models and call these tools.
pub(crate) fn engine_with(
    journal: Arc<dyn Journal>,
    models: Arc<dyn Models>,
    tools: Vec<Arc<dyn Tool>>,
) -> Engine {
    let still = Arc::new(Still);
    let ports = Ports {
        blobs: journal.clone(),
        workspace: still.clone(),
        checks: still,
        tools,
        others: Arc::new(contract::tool::NoOthers),
        models,
        clock: Arc::new(Real::default()),
        env: Vec::new(),
        rules: Arc::new(kernel::policy::Policy::default()),
        secrets: Arc::new(engine::Plain::default()),
        hooks: Arc::new(contract::hooks::NoHooks),
    };
    let slots = Slots { model: 4096, tool: 4096, check: 1, workspace: 4096 };
    let options = Options { owner: format!("bench-{}", std::process::id()), slots };
    Engine::new(ports, journal, Arc::new(engine::guard::Alone), options)
}

/// A session that only talks and calls.
pub(crate) fn spec(steps: u32) -> (SessionSpec, Vec<Vec<u8>>) {
    let goal = b"count".to_vec();
    let card = Loop(0).card();
    let spec = SessionSpec {
        goal: Digest::of(&goal),
        goal_bytes: goal.len() as u64,
        repo: "/".into(),
        base: None,
        target: None,
        model: ModelRef { id: "bench/loop".into(), card, quota: None },
        fallback: Vec::new(),
        summaries: None,
        mode: "code".into(),
        workflow: kernel::workflow::bare(),
        rights: Rights::all(Ask::Never),
        limits: Limits {
            steps_per_turn: steps.saturating_mul(2).saturating_add(10),
            // It calls the same thing all the time.
            same_failures: 0,
            ..Limits::default()
        },
        budget: Amount::UNLIMITED,
        goal_checks: Vec::new(),
        hooks: Vec::new(),
        parent: None,
        task: None,
    };
    (spec, vec![goal])
}
