//! Long histories, made quickly: the kernel decides each step as ever, outcomes come at once, commits are not awaited
//! one by one. What is stored is what the engine would have stored: one frame for each step.
//!
//! Start at [`write`].

use crate::rig;
use anyhow::{Context, Result, bail};
use contract::action::{Call, CallResult, Done, Effect, EffectClass, End, Outcome, Prepared, Run, Work};
use contract::journal::Journal;
use contract::model::{Stop, Usage};
use contract::{Amount, Digest, SessionId, Timestamp};
use engine::Core;
use engine::core::Moment;
use kernel::governor::Slots;
use kernel::{Governor, Input, Session};

/// Calls in one message.
const CALLS: u32 = 50;
/// Commits queued before they are awaited.
const AHEAD: usize = 1_000;

/// A session of at least this many events, its last action in flight, as after a kill.
pub(crate) async fn write(journal: &dyn Journal, events: u64) -> Result<SessionId> {
    let (spec, mut blobs) = rig::spec(u32::MAX / 4);
    blobs.push(b"{}".to_vec());
    blobs.push(b"done".to_vec());
    journal.put(blobs).await.map_err(|error| error.fault())?;
    let mut now = Timestamp(1_700_000_000_000);
    let id = SessionId::v7(now.0, 7);
    let lease = journal.acquire(id, "history".into(), now, true).await.map_err(|error| error.fault())?;
    let lease = lease.ok().context("the session is held")?;
    let mut core = Core::new(Session::new(id), lease.fence);
    let slots = Slots { model: 1, tool: 1, check: 1, workspace: 1 };
    let mut governor = Governor::new(slots);
    let (mut input, mut queued) = (Input::Open(Box::new(spec)), Vec::new());
    for random in 1.. {
        now = now.plus(1);
        let step = core.step(&mut governor, input, Moment { now, random })?;
        queued.push(journal.append(step.batch));
        if queued.len() >= AHEAD || core.state.seq >= events {
            for commit in queued.drain(..) {
                commit.await.map_err(|error| error.fault())?;
            }
        }
        if core.state.seq >= events {
            break;
        }
        let run = step.effects.into_iter().find_map(|effect| match effect {
            Effect::Run(run) => Some(run),
            _ => None,
        });
        input = Input::Outcome(Box::new(outcome(*run.context("the session came to rest")?)?));
    }
    journal.release(lease).await.map_err(|error| error.fault())?;
    Ok(id)
}

/// What a model and a tool that answer at once come back with.
pub(crate) fn outcome(run: Run) -> Result<Outcome> {
    let done = match &run.work {
        Work::Prepare => Done::Prepared(Prepared {
            base: "0".into(),
            target: None,
            checks: Vec::new(),
            setup: Vec::new(),
            goal_checks: Vec::new(),
            notes: Vec::new(),
        }),
        Work::Model { .. } => {
            let calls = (0..CALLS).map(|n| call(format!("c{}-{n}", run.action.step))).collect();
            let usage = Usage { input: 10, output: 10, ..Usage::default() };
            Done::said(None, 0, calls, Stop::ToolUse, usage)
        }
        Work::Tools { calls } => {
            let text = Digest::of(b"done");
            let result = |call: &Call| CallResult {
                call: call.id.clone(),
                ok: true,
                text,
                bytes: 4,
                full: None,
                exit: None,
                changed: false,
                images: Vec::new(),
                pixels: Vec::new(),
                tokens: None,
                asked: Vec::new(),
                handed: Vec::new(),
            };
            Done::Ran { results: calls.iter().map(result).collect(), savepoint: None }
        }
        other => bail!("nobody asked for {}", other.name()),
    };
    let used = Amount { steps: 1, ..Amount::ZERO };
    Ok(Outcome::new(run.action, run.attempt, End::Done(done), used))
}

fn call(id: String) -> Call {
    Call {
        id,
        tool: "nothing".into(),
        args: Digest::of(b"{}"),
        class: EffectClass::Keyed,
        why: "nothing".into(),
        hash: Digest::default(),
        deadline_ms: None,
        control: None,
        error: None,
        ruled: None,
        together: None,
        hooks: Vec::new(),
        held: None,
    }
}
