//! One tree of many sessions: opened, run and joined, beside as many sessions that know nothing of each other.
//!
//! Each leaf calls one tool and ends. Each size runs in a process of its own. Start at [`run`].

use crate::{measure, own, rig, stats};
use anyhow::{Context, Result, bail};
use contract::event::Event;
use contract::model::{Broken, Card, Message, Model, ModelRef, Models, Reply, Request, Stop, ToolUse, Usage};
use contract::port::Sink;
use contract::session::SessionSpec;
use contract::{BoxFuture, Cancel, Digest, Fault, SessionId, StreamId};
use engine::Engine;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Children of the root, and children of each of them.
const TREES: [(u32, u32); 3] = [(10, 0), (10, 9), (20, 49)];

/// What one run came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Figures {
    sessions: u64,
    seconds: f64,
    cpu_s: f64,
    written: u64,
    stored: u64,
    peak_mb: f64,
    before_mb: f64,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    println!(
        "                 sessions  wall s   cpu us each   events each   device bytes each   peak MB   KB resident each"
    );
    for (wide, below) in TREES.iter().take(if quick { 1 } else { TREES.len() }) {
        let (wide, below) = (wide.to_string(), below.to_string());
        let flat: Figures = own::figures(&["fan-one", "flat", &wide, &below])?;
        let tree: Figures = own::figures(&["fan-one", "tree", &wide, &below])?;
        print("independent", flat);
        print("one tree", tree);
        println!(
            "  tree : independent   x{:.2} wall   x{:.2} cpu   x{:.2} device bytes   x{:.2} peak",
            tree.seconds / flat.seconds,
            tree.cpu_s / flat.cpu_s.max(0.01),
            tree.written as f64 / flat.written.max(1) as f64,
            tree.peak_mb / flat.peak_mb
        );
    }
    Ok(())
}

fn print(name: &str, f: Figures) {
    let each = |n: f64| n / f.sessions as f64;
    println!(
        "{name:<16} {:>8} {:>7.2} {:>13.0} {:>13.1} {:>19.0} {:>9.1} {:>18.1}",
        f.sessions,
        f.seconds,
        measure::us_each(f.cpu_s, f.sessions),
        each(f.stored as f64),
        each(f.written as f64),
        f.peak_mb,
        each((f.peak_mb - f.before_mb) * 1024.0)
    );
}

/// The process for one size.
pub(crate) fn one(args: &[String]) -> Result<()> {
    let [shape, wide, below] = args else { bail!("fan-one tree|flat WIDE BELOW") };
    let (wide, below): (u32, u32) = (wide.parse()?, below.parse()?);
    let children = wide * (1 + below);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let dir = tempfile::tempdir_in(".")?;
    let before_mb = stats::rss_mb();
    let figures = runtime.block_on(async {
        let engine = rig::engine_with(rig::store(dir.path())?, Arc::new(Fan { wide, below }), rig::tools());
        let (written, cpu, began) = (stats::written(), stats::cpu_s(), Instant::now());
        let ids = match shape.as_str() {
            "tree" => tree(&engine).await?,
            _ => flat(&engine, children).await?,
        };
        let (seconds, cpu_s) = (began.elapsed().as_secs_f64(), stats::cpu_s() - cpu);
        engine.shutdown().await;
        let written = stats::written() - written;
        let wanted = children as usize + usize::from(shape == "tree");
        anyhow::ensure!(ids.len() == wanted, "{} sessions instead of {wanted}", ids.len());
        let mut stored = 0;
        for id in &ids {
            let state = engine.look(*id).await?.with_context(|| format!("session {id} is not there"))?;
            let end = state.end.as_ref();
            anyhow::ensure!(end.is_some_and(|end| end.code == 0), "{id} ended as {end:?}, {:?}", state.pause);
            stored += state.seq;
        }
        let (sessions, peak_mb) = (u64::from(children), measure::peak_mb());
        anyhow::Ok(Figures { sessions, seconds, cpu_s, written, stored, peak_mb, before_mb })
    })?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn spec(goal: &str) -> (SessionSpec, Vec<Vec<u8>>) {
    let (mut spec, _) = rig::spec(100);
    (spec.goal, spec.goal_bytes) = (Digest::of(goal.as_bytes()), goal.len() as u64);
    // More than a session gets by default: the width of this tree is asked for.
    spec.limits.children = contract::limits::CALLS_PER_MESSAGE as u32;
    (spec, vec![goal.into()])
}

async fn tree(engine: &Engine) -> Result<Vec<SessionId>> {
    let (spec, blobs) = spec("root");
    let root = engine.open(spec, blobs).await?;
    finished(engine, root).await?;
    let (mut all, mut open) = (Vec::new(), vec![root]);
    while let Some(id) = open.pop() {
        all.push(id);
        let records = engine::store::records::<Event>(&**engine.journal(), StreamId::Session(id)).await?;
        open.extend(records.into_iter().filter_map(|record| match record.event {
            Event::ChildOpened { child, .. } => Some(child),
            _ => None,
        }));
    }
    Ok(all)
}

async fn flat(engine: &Engine, sessions: u32) -> Result<Vec<SessionId>> {
    let mut ids = Vec::new();
    for at in 0..sessions {
        let (mut spec, blobs) = spec(&format!("leaf {at}"));
        spec.workflow = kernel::workflow::child();
        ids.push(engine.open(spec, blobs).await?);
    }
    for id in &ids {
        finished(engine, *id).await?;
    }
    Ok(ids)
}

async fn finished(engine: &Engine, id: SessionId) -> Result<()> {
    engine.stopped(id).await.map_or(Ok(()), |error| bail!("session {id}: {error}"))
}

/// The root and its children delegate, who is below them calls a tool; then each is done.
#[derive(Clone)]
struct Fan {
    wide: u32,
    below: u32,
}

impl Fan {
    fn calls(&self, goal: &str) -> Vec<ToolUse> {
        let delegate = |n: u32, to: &str| ToolUse {
            id: format!("d{n}"),
            tool: "delegate".into(),
            args: json!({ "goal": format!("{to} {goal} {n}") }),
        };
        match goal.split_whitespace().next() {
            Some("root") if self.below > 0 => (0..self.wide).map(|n| delegate(n, "middle")).collect(),
            Some("root") => (0..self.wide).map(|n| delegate(n, "leaf")).collect(),
            Some("middle") => (0..self.below).map(|n| delegate(n, "leaf")).collect(),
            _ => vec![ToolUse { id: "t".into(), tool: "nothing".into(), args: json!({}) }],
        }
    }
}

impl Model for Fan {
    fn card(&self) -> Card {
        rig::spec(0).0.model.card
    }

    fn respond<'a>(
        &'a self,
        request: Request,
        _: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>> {
        let goal = match request.messages.first() {
            Some(Message::User { text }) => text.as_str(),
            _ => "",
        };
        let calls = if request.ordinal == 0 { self.calls(goal) } else { Vec::new() };
        let stop = if calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
        let usage = Usage { input: 10, output: 10, ..Usage::default() };
        Box::pin(async move { Ok(Reply::plain("", calls, stop, usage)) })
    }
}

impl Models for Fan {
    fn open(&self, id: &str, _: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
        Ok((ModelRef { id: id.to_owned(), card: self.card(), quota: None }, Arc::new(self.clone())))
    }
}
