//! A small outside world for the executor's tests: everything in memory, everything written down.
//!
//! Knows only the ports. Start at [`World`].

use super::{Finished, Ports, execute};
use contract::action::{Call, Context, Done, EffectClass, End, Integrated, Item, Role, Run, Work};
use contract::cancel::Urgency;
use contract::checks::{
    CheckDef, CheckJob, CheckKind, CheckOutput, CheckRun, Checks, Report, Side, Status, Suite,
};
use contract::model::{
    Broken, Card, Model, ModelRef, Models, Price, Reply, Request, Stop, ToolSpec, ToolUse, Usage,
};
use contract::port::{Blobs, Clock, Quiet, Sink};
use contract::session::{Ask, Edge, Limits, Rights, SessionSpec, Stage, StageKind, Workflow};
use contract::tool::{Judged, Output, Scope, Tool};
use contract::workspace::{Change, CheckMerged, Landed, Landing, Origin, Ready, Workspace};
use contract::{ActionId, Amount, BoxFuture, Cancel, Digest, Fault, Kind, SessionId, Timestamp, limits};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

pub(super) const SESSION: SessionId = SessionId(7);
pub(super) const ACTION: ActionId = ActionId { turn: 2, step: 9 };
pub(crate) const GOAL: &str = "make clippy pass";

/// The world a test sets up and looks at afterwards.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Inner>);

#[derive(Default)]
struct Inner {
    blobs: Mutex<HashMap<Digest, Vec<u8>>>,
    log: Mutex<Vec<String>>,
    savepoints: Mutex<BTreeMap<String, String>>,
    /// Status of a check on a side, where it is not `Passed`.
    failing: Mutex<BTreeMap<(String, Side), Status>>,
    tools: Mutex<Vec<Arc<dyn Tool>>>,
    respond: Mutex<Option<Respond>>,
    request: Mutex<Option<Request>>,
    /// Cancelled by the first run of the checks.
    stop: Mutex<Option<Cancel>>,
}

type Respond = Arc<dyn Fn(Cancel) -> BoxFuture<'static, Result<Reply, Broken>> + Send + Sync>;
type Running = BoxFuture<'static, Output>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl World {
    pub(super) fn put(&self, bytes: impl AsRef<[u8]>) -> Digest {
        let digest = Digest::of(bytes.as_ref());
        lock(&self.0.blobs).insert(digest, bytes.as_ref().to_vec());
        digest
    }

    pub(super) fn get(&self, digest: Digest) -> String {
        String::from_utf8(lock(&self.0.blobs)[&digest].clone()).unwrap()
    }

    pub(super) fn log(&self) -> Vec<String> {
        lock(&self.0.log).clone()
    }

    fn note(&self, line: impl Into<String>) {
        lock(&self.0.log).push(line.into());
    }

    pub(super) fn has_savepoint(&self, label: &str) {
        lock(&self.0.savepoints).insert(label.into(), format!("commit-{label}"));
    }

    pub(super) fn check_is(&self, check: &str, side: Side, status: Status) {
        lock(&self.0.failing).insert((check.into(), side), status);
    }

    pub(super) fn stop_during_checks(&self, cancel: &Cancel) {
        *lock(&self.0.stop) = Some(cancel.clone());
    }

    pub(super) fn tool(
        &self,
        name: &'static str,
        class: EffectClass,
        run: impl Fn(Value, Cancel) -> Running + Send + Sync + 'static,
    ) {
        let log = self.clone();
        lock(&self.0.tools).push(Arc::new(FakeTool { name, class, log, run: Box::new(run) }));
    }

    pub(super) fn model_says(&self, text: &str, calls: Vec<ToolUse>) {
        let text = text.to_owned();
        self.model(move |_| {
            let usage = Usage { input: 1_000, output: 500, ..Usage::default() };
            let reply = Reply::plain(&*text, calls.clone(), Stop::ToolUse, usage);
            Box::pin(async { Ok(reply) })
        });
    }

    pub(crate) fn model(
        &self,
        respond: impl Fn(Cancel) -> BoxFuture<'static, Result<Reply, Broken>> + Send + Sync + 'static,
    ) {
        *lock(&self.0.respond) = Some(Arc::new(respond));
    }

    /// What the model was asked.
    pub(super) fn asked(&self) -> Request {
        lock(&self.0.request).clone().unwrap()
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            blobs: Arc::new(self.clone()),
            workspace: Arc::new(self.clone()),
            checks: Arc::new(self.clone()),
            tools: lock(&self.0.tools).clone(),
            others: Arc::new(contract::tool::NoOthers),
            models: Arc::new(self.clone()),
            clock: Arc::new(TokioClock(tokio::time::Instant::now())),
            env: Vec::new(),
            rules: Arc::new(kernel::policy::Policy::default()),
            secrets: Arc::new(super::Plain::default()),
            hooks: Arc::new(contract::hooks::NoHooks),
        }
    }

    /// A recorded call of a tool.
    pub(super) fn call(&self, id: &str, tool: &str, class: EffectClass, args: &Value) -> Call {
        let args = self.put(args.to_string());
        Call {
            id: id.into(),
            tool: tool.into(),
            args,
            class,
            why: String::new(),
            hash: args,
            deadline_ms: None,
            control: None,
            error: None,
            ruled: None,
            together: None,
            hooks: Vec::new(),
            held: None,
        }
    }

    /// A prepared session's run of this work.
    pub(crate) fn run_of(&self, work: Work) -> Run {
        let card = Card {
            context_tokens: 1_000,
            output_tokens: 1_000,
            price: Some(Price { input: 3_000_000_000, output: 15_000_000_000, ..Price::default() }),
        };
        let stage = Stage {
            name: "implement".into(),
            kind: StageKind::Agent,
            ok: Edge::End,
            fail: Edge::End,
            limit_ms: None,
        };
        let spec = SessionSpec {
            goal: self.put(GOAL),
            goal_bytes: GOAL.len() as u64,
            repo: "/repo".into(),
            base: None,
            target: None,
            model: ModelRef { id: "fake/model".into(), card, quota: None },
            fallback: Vec::new(),
            hooks: Vec::new(),
            summaries: None,
            mode: "implement".into(),
            workflow: Workflow { name: "one".into(), stages: vec![stage] },
            rights: Rights::all(Ask::Never),
            limits: Limits::default(),
            budget: Amount::UNLIMITED,
            goal_checks: Vec::new(),
            parent: None,
            task: None,
        };
        let context = Context {
            spec: Arc::new(spec),
            base: Some("base".into()),
            target: Some("main".into()),
            worked: false,
            checks: suite().checks,
            setup: suite().setup,
            items: Vec::new(),
            model: None,
            found: Vec::new(),
        };
        Run {
            session: SESSION,
            action: ACTION,
            attempt: 1,
            work,
            class: EffectClass::Pure,
            deadline: Timestamp(limits::TOOL_MS),
            restore: false,
            approved: None,
            max_tokens: 1_000,
            card: Some(card),
            context: Box::new(context),
        }
    }

    /// Runs it; the blobs it hands back are then in the world, as after the commit.
    pub(super) async fn execute(&self, run: Run, cancel: Cancel) -> Finished {
        let finished = execute(&self.ports(), run, cancel, Arc::new(Quiet)).await;
        finished.blobs.iter().for_each(|blob| {
            self.put(blob);
        });
        finished
    }

    pub(super) async fn end(&self, run: Run) -> End {
        self.execute(run, Cancel::new()).await.outcome.end
    }

    /// The result texts of a tools action.
    pub(super) fn results(&self, end: &End) -> Vec<(bool, String)> {
        let End::Done(Done::Ran { results, .. }) = end else { panic!("no results in {end:?}") };
        results.iter().map(|result| (result.ok, self.get(result.text))).collect()
    }

    pub(super) fn item(&self, role: Role, text: &str) -> Item {
        Item { text: Some(self.put(text)), bytes: text.len() as u64, ..Item::by(role) }
    }
}

pub(super) fn suite() -> Suite {
    let check = |name: &str, kind| CheckDef {
        name: name.into(),
        run: format!("cargo {name}"),
        kind,
        timeout_ms: 1,
        from: "Cargo.toml".into(),
    };
    Suite {
        setup: vec!["cargo fetch".into()],
        checks: vec![check("test", CheckKind::Test), check("clippy", CheckKind::Lint)],
    }
}

pub(super) fn wants(id: &str, tool: &str, args: Value) -> ToolUse {
    ToolUse { id: id.into(), tool: tool.into(), args }
}

/// Time of a paused tokio runtime, from 1970 on.
#[derive(Debug)]
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
    fn random(&self) -> u128 {
        0
    }
}

struct FakeTool {
    name: &'static str,
    class: EffectClass,
    log: World,
    run: Box<dyn Fn(Value, Cancel) -> Running + Send + Sync>,
}

impl Tool for FakeTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec { name: self.name.into(), description: String::new(), schema: json!({"type": "object"}) }
    }

    fn is_core(&self) -> bool {
        !self.name.starts_with("far")
    }

    /// An argument `bad` does not fit, `class` overrides the class, the arguments are the content.
    fn judge(&self, args: &Value, _: &Scope) -> Result<Judged, Fault> {
        if args.get("bad").is_some() {
            return Err(Fault::new(Kind::UserFixable, "bad", "`bad` does not fit").hint("leave it out"));
        }
        let class = args.get("class").map_or(self.class, |it| serde_json::from_value(it.clone()).unwrap());
        let hash = Digest::of(args.to_string().as_bytes());
        Ok(Judged { class, why: "a fake".into(), hash, deadline_ms: Some(5_000), held: None })
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Output> {
        self.log.note(format!("run {} {} {:?}", self.name, scope.key, scope.declared));
        (self.run)(args, cancel)
    }
}

impl Blobs for World {
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        let found = lock(&self.0.blobs).get(&digest).cloned();
        Box::pin(async move {
            found.ok_or_else(|| Fault::new(Kind::Permanent, "blob-missing", format!("no blob {digest}")))
        })
    }
}

impl Models for World {
    fn open(&self, id: &str, _: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
        let card = Card { context_tokens: 1, output_tokens: 1, price: None };
        match id {
            "fake/model" | "fake/other" => {
                Ok((ModelRef { id: id.into(), card, quota: None }, Arc::new(self.clone())))
            }
            _ => Err(Fault::new(Kind::UserFixable, "unknown-model", format!("no model `{id}`"))),
        }
    }
}

impl Model for World {
    fn card(&self) -> Card {
        Card { context_tokens: 1, output_tokens: 1, price: None }
    }

    fn respond<'a>(
        &'a self,
        request: Request,
        cancel: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>> {
        *lock(&self.0.request) = Some(request);
        let respond = lock(&self.0.respond).clone().unwrap();
        respond(cancel)
    }
}

impl Checks for World {
    fn find(&self, repo: PathBuf, commit: String) -> BoxFuture<'_, Result<Suite, Fault>> {
        self.note(format!("find {} {commit}", repo.display()));
        Box::pin(async { Ok(suite()) })
    }

    fn run<'a>(
        &'a self,
        job: CheckJob,
        _: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<CheckOutput, Fault>> {
        self.note(format!("checks {} {}..{} known={}", job.key, job.base, job.result, job.base_known));
        if let Some(stop) = &*lock(&self.0.stop) {
            stop.cancel(Urgency::Graceful);
        }
        let failing = lock(&self.0.failing).clone();
        let sides = if job.base_known { &[Side::Result][..] } else { &[Side::Base, Side::Result] };
        let log = b"a log".to_vec();
        let run = |check: &CheckDef, side: Side| CheckRun {
            check: check.name.clone(),
            side,
            status: failing.get(&(check.name.clone(), side)).copied().unwrap_or(Status::Passed),
            exit: None,
            log: Digest::of(&log),
            ms: 1,
            tests: None,
            held: None,
            asked: Vec::new(),
        };
        let runs = sides.iter().flat_map(|side| job.suite.checks.iter().map(|it| run(it, *side))).collect();
        let report = Report { base: job.base, result: job.result, same_tree: false, runs };
        Box::pin(async { Ok(CheckOutput { report, blobs: vec![log] }) })
    }
}

impl Workspace for World {
    fn prepare(&self, session: SessionId, origin: Origin) -> BoxFuture<'_, Result<Ready, Fault>> {
        let again = if origin.worked { "again: " } else { "" };
        self.note(format!("{again}prepare {} {:?}", origin.repo.display(), origin.base));
        let root = self.root(session);
        let base = origin.base.unwrap_or_else(|| "head".into());
        Box::pin(async { Ok(Ready { root, base, target: Some("main".into()), notes: Vec::new() }) })
    }

    fn root(&self, session: SessionId) -> PathBuf {
        PathBuf::from(format!("/clones/{}", session.0))
    }

    fn savepoint(&self, session: SessionId, label: String) -> BoxFuture<'_, Result<String, Fault>> {
        self.note(format!("savepoint {} {label}", session.0));
        self.has_savepoint(&label);
        Box::pin(async move { Ok(format!("commit-{label}")) })
    }

    fn restore(&self, _: SessionId, label: String) -> BoxFuture<'_, Result<bool, Fault>> {
        let found = lock(&self.0.savepoints).contains_key(&label);
        self.note(format!("restore {label} {found}"));
        Box::pin(async move { Ok(found) })
    }

    fn commit(&self, _: SessionId, message: String) -> BoxFuture<'_, Result<String, Fault>> {
        self.note(format!("commit {message}"));
        Box::pin(async { Ok("result".into()) })
    }

    fn inspect(
        &self,
        _: SessionId,
        base: String,
        result: String,
        _: Vec<String>,
    ) -> BoxFuture<'_, Result<Change, Fault>> {
        self.note(format!("inspect {base}..{result}"));
        Box::pin(async { Ok(Change { files: 3, flags: Vec::new() }) })
    }

    fn diff(&self, _: SessionId, _: String, _: String) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn integrate<'a>(
        &'a self,
        _: SessionId,
        origin: Origin,
        landing: Landing,
        check: CheckMerged<'a>,
        _: Cancel,
    ) -> BoxFuture<'a, Result<Landed, Fault>> {
        self.note(format!("integrate {} {} land={}", origin.repo.display(), landing.result, landing.land));
        Box::pin(async move {
            let (ok, output) = check("merged".into()).await?;
            let integrated = Integrated {
                landed: ok.then(|| "merged".into()),
                branch: landing.target,
                why: (!ok).then(|| "checks".into()),
                detail: None,
                report: Some(output.report),
            };
            Ok(Landed { integrated, blobs: output.blobs })
        })
    }

    fn adopt(
        &self,
        _: SessionId,
        child: SessionId,
        commit: String,
    ) -> BoxFuture<'_, Result<(bool, String), Fault>> {
        self.note(format!("adopt {} {commit}", child.0));
        Box::pin(async { Ok((false, "conflicts in a.rs".into())) })
    }
}
