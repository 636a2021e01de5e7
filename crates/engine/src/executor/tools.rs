//! Runs one tool call, or a batch of pure ones or of those that may be one process, and puts the results on record.
//!
//! Allows nothing: the calls come judged, decided and, where needed, approved. What is checked here
//! is that running them still means what it meant then. Start at [`run`].

use super::ruler::Ruler;
use super::{Halt, Job, Kept};
use crate::task::{self, Kind as TaskKind, Lost};
use contract::action::{Call, CallResult, Done, EffectClass};
use contract::cancel::Urgency;
use contract::policy::{Decision, Ruling};
use contract::tool::{Judged, Output, Scope, Stopped, Tool};
use contract::{Digest, Fault, Kind, limits};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Restores what an earlier attempt left half done, images the workspace unless all calls are pure, runs them.
pub(super) async fn run(job: &Arc<Job>, kept: &mut Kept, calls: &[Call]) -> Result<Done, Halt> {
    let (session, workspace) = (job.run.session, &job.ports.workspace);
    if job.run.restore {
        workspace.restore(session, job.label()).await?;
    }
    let pure = calls.iter().all(|call| call.class == EffectClass::Pure);
    let savepoint = if pure { None } else { Some(workspace.savepoint(session, job.label()).await?) };

    // Several that are not pure stand in one action only where the tool can make one process of them.
    let (at_once, together) =
        if pure { (limits::CALLS_AT_ONCE, 1) } else { (calls.len().max(1), calls.len()) };
    let mut results = Vec::with_capacity(calls.len());
    for group in calls.chunks(at_once) {
        job.unless_stopped()?;
        if let [call] = group {
            let ran = task::caught(one(job, call, 1)).await.map_err(|lost| panicked(&call.tool, lost))??;
            let halted = ran.halted;
            results.push(record(job, call, whole(job, ran).await, kept));
            if halted {
                kept.written = results;
                return Err(Halt::Stopped);
            }
            continue;
        }
        let start = |call: &Call| {
            let (job, call) = (Arc::clone(job), call.clone());
            task::spawn(TaskKind::Action, async move { one(&job, &call, together).await })
        };
        let running: Vec<_> = group.iter().map(start).collect();
        let mut halted = false;
        for (call, running) in group.iter().zip(running) {
            let ran = running.await.map_err(|lost| panicked(&call.tool, lost))??;
            if ran.halted && pure {
                return Err(Halt::Stopped);
            }
            halted |= ran.halted;
            results.push(record(job, call, whole(job, ran).await, kept));
        }
        if halted {
            kept.written = results;
            return Err(Halt::Stopped);
        }
    }
    Ok(Done::Ran { results, savepoint })
}

/// What one call gave.
struct Ran {
    output: Output,
    /// Where its whole output is, when it was too much for memory.
    whole: Option<Digest>,
    /// False: it was refused before anything ran.
    started: bool,
    /// It was stopped from outside: this is what it had given by then.
    halted: bool,
}

impl Ran {
    fn refused(text: impl Into<String>) -> Self {
        Self { output: Output::error(text), whole: None, started: false, halted: false }
    }
}

async fn one(job: &Job, call: &Call, together: usize) -> Result<Ran, Halt> {
    let bytes = job.ports.blobs.blob(call.args).await?;
    let args: Value = serde_json::from_slice(&bytes).map_err(|error| {
        Fault::new(
            Kind::Permanent,
            "bad-args",
            format!("the recorded arguments of {} are not JSON: {error}", call.id),
        )
    })?;
    let Some(tool) = job.ports.tools.iter().find(|tool| tool.name() == call.tool) else {
        return Ok(Ran::refused(format!("not run: this Kapell has no tool `{}`", call.tool)));
    };
    let scope = Scope { together, ..job.scope() };
    let judged = tool.judge(&args, &scope);
    let held = judged.as_ref().ok().and_then(|judged| judged.held.clone());
    if let Err(why) = still_the_same(job.run.approved, call, judged) {
        return Ok(Ran::refused(why));
    }
    let ruled = Ruler::new(job).ruled(&**tool, &args, &scope, call.class, held.as_ref());
    if let Err(why) = still_ruled(job, call, ruled) {
        return Ok(Ran::refused(why));
    }
    if job.cancel.is_cancelled() || !job.gate.enter() {
        return Err(Halt::Stopped);
    }
    let mut output = in_time(job, call, &**tool, args, scope).await;
    super::hide::output(job, &mut output);
    let halted = output.stopped.is_some() && job.outside.is_cancelled();
    Ok(Ran { output, whole: None, started: true, halted })
}

/// What lies in a file becomes a blob, durable before the record that names it. What is shown stands without it, too.
async fn whole(job: &Job, mut ran: Ran) -> Ran {
    let Some(file) = ran.output.spooled.take() else { return ran };
    let digest = file.digest;
    match job.ports.blobs.adopt(file).await {
        Ok(()) => ran.whole = Some(digest),
        Err(fault) => ran.output.text.push_str(&format!("\n[the whole output could not be kept: {fault}]")),
    }
    ran
}

/// Between the decision and now the world may have changed: a file the approval was bound to, or
/// whatever made the call harmless. Then nothing runs, and the model may ask again.
fn still_the_same(approved: Option<Digest>, call: &Call, now: Result<Judged, Fault>) -> Result<(), String> {
    let now = now.map_err(|fault| fault.to_string())?;
    if approved.is_some_and(|hash| hash != now.hash) {
        return Err(
            "not run: the content changed since it was approved; look again, then make the call anew".into(),
        );
    }
    if now.class > call.class {
        return Err(format!(
            "not run: it was allowed as {}, but would now be {} ({}); make the call anew",
            call.class.name(),
            now.class.name(),
            now.why
        ));
    }
    Ok(())
}

/// The rules may have become stricter since: what a person did not see is not run.
fn still_ruled(job: &Job, call: &Call, now: Result<Option<Ruling>, String>) -> Result<(), String> {
    let asks = now?.filter(|ruling| ruling.verdict == Decision::Ask);
    let seen =
        job.run.approved.is_some() || call.ruled.as_ref().is_some_and(|then| then.verdict == Decision::Ask);
    match asks {
        Some(ruling) if !seen => {
            Err(format!("not run: it needs a yes by now ({}); make the call anew", ruling.why))
        }
        _ => Ok(()),
    }
}

/// Runs the tool, and asks it to stop at the call's own deadline.
async fn in_time(job: &Job, call: &Call, tool: &dyn Tool, args: Value, scope: Scope) -> Output {
    let began = job.ports.clock.now();
    let cancel = job.cancel.child();
    let deadline_ms = call.deadline_ms.unwrap_or(limits::TOOL_MS).min(limits::TOOL_MAX_MS);
    let mut running = tool.run(args, scope, cancel.clone(), &*job.sink);
    let output = tokio::select! {
        biased;
        output = &mut running => output,
        () = tokio::time::sleep(Duration::from_millis(deadline_ms)) => {
            cancel.cancel(Urgency::Graceful);
            running.await
        }
    };
    // A tool that kept its own time has said so itself; one that somebody stopped is out of no time.
    if output.stopped != Some(Stopped::Cancelled) || job.outside.is_cancelled() {
        return output;
    }
    let secs = job.ports.clock.now().since(began).div_ceil(1000);
    let text = match output.text.as_str() {
        "" => format!("timed out after {secs} s without output"),
        text => format!("timed out after {secs} s; partial output follows\n{text}"),
    };
    Output { ok: false, text, ..output }
}

fn record(job: &Job, call: &Call, ran: Ran, kept: &mut Kept) -> CallResult {
    let Output { ok, mut text, full, exit, images, asked, handed, .. } = ran.output;
    let whole = ran.whole;
    let pixels: Option<Vec<_>> = images.iter().map(|image| super::picture::pixels(&image.bytes)).collect();
    let images = images.into_iter().map(|image| (image.media_type, kept.put(image.bytes))).collect();
    let full = full.map(|bytes| kept.put(bytes)).or(whole);
    // The model can only ask for the whole output if it has its name.
    if let Some(digest) = full.filter(|digest| !text.contains(&digest.short())) {
        text.push_str(&format!("\n[whole output: blob:{digest}]"));
    }
    CallResult {
        call: call.id.clone(),
        ok,
        bytes: text.len() as u64,
        tokens: job.run.context.model.as_ref().and_then(|model| job.ports.models.count(model, &text)),
        text: kept.put(text),
        full,
        exit,
        changed: ran.started && call.class > EffectClass::Pure,
        images,
        // All of them or none: which is which goes by the place.
        pixels: pixels.unwrap_or_default(),
        asked,
        handed,
    }
}

fn panicked(tool: &str, lost: Lost) -> Fault {
    let what = match lost {
        Lost::Panicked(why) => format!("the tool `{tool}` panicked: {why}"),
        Lost::Aborted => format!("the tool `{tool}` was aborted"),
    };
    Fault::new(Kind::Permanent, "panic", what).hint("this is a bug in Kapell; take another way to the goal")
}
