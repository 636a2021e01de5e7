//! Asks the hooks about one event, one after the other, and puts on record what they answered.
//!
//! Knows no format and no process (the port does) and decides nothing (`kernel::hooks` does): a call that a hook changed
//! is judged and ruled anew here, as if the model had made it so. Start at [`ask`].

use super::calls::Toolbox;
use super::text::head;
use super::{Halt, Job, Kept};
use contract::action::{Call, Done, EffectClass};
use contract::hooks::{Asked, HookAnswer, HookAsk, HookDef, HookEvent, HookSaid};
use contract::policy::Decision;
use contract::{Fault, Kind, limits, text};
use serde_json::Value;
use std::sync::Arc;

/// Bytes of what hooks tell the agent.
const MOST: usize = limits::NOTICE_BYTES as usize;

/// What comes together on the way.
#[derive(Default)]
struct Heard {
    answers: Vec<HookAnswer>,
    /// For the agent.
    told: Vec<String>,
    /// The call as it is by now.
    changed: Option<Call>,
}

/// Asks every hook that is for this event; the first no ends it.
pub(super) async fn ask(job: &Arc<Job>, kept: &mut Kept, asked: &Asked) -> Result<Done, Halt> {
    let (session, workspace) = (job.run.session, &job.ports.workspace);
    if job.run.restore {
        workspace.restore(session, job.label()).await?;
    }
    let mut asking = of(job, asked).await?;
    let fitting: Vec<(usize, HookDef)> = fitting(job, &asking);
    if job.run.class == EffectClass::Staged && !fitting.is_empty() {
        workspace.savepoint(session, job.label()).await?;
    }
    let mut heard = Heard::default();
    for (at, hook) in &fitting {
        job.unless_stopped()?;
        let said = job.ports.hooks.ask(hook, &asking, job.cancel.child()).await;
        // What was stopped has said nothing.
        job.unless_stopped()?;
        if heard.take(job, kept, *at, hook, said, &mut asking) {
            break;
        }
    }
    let told = head(heard.told.join("\n"), MOST);
    let bytes = told.len() as u64;
    let told = (!told.is_empty()).then(|| kept.put(told));
    Ok(Done::Hooked { answers: heard.answers, told, bytes, call: heard.changed.map(Box::new) })
}

/// Those that the event is for, by their place.
fn fitting(job: &Job, asking: &HookAsk) -> Vec<(usize, HookDef)> {
    let tool = asking.asked.call.as_ref().map(|call| call.tool.clone()).unwrap_or_default();
    let fits = |hook: &HookDef| job.ports.hooks.fits(hook, &asking.asked, &tool, asking.args.as_ref());
    let all = job.run.context.spec.hooks.iter().enumerate();
    all.filter(|(_, hook)| hook.event == asking.asked.event && fits(hook))
        .map(|(at, hook)| (at, hook.clone()))
        .collect()
}

/// The event with its texts.
async fn of(job: &Job, asked: &Asked) -> Result<HookAsk, Fault> {
    let args = match &asked.call {
        Some(call) => Some(json(job, call).await?),
        None => None,
    };
    let gave = match asked.gave {
        Some(gave) => Some(job.text(gave).await?),
        None => None,
    };
    let text = match asked.text {
        Some(text) => Some(job.text(text).await?),
        None => None,
    };
    Ok(HookAsk {
        session: job.run.session,
        key: job.key(),
        root: job.ports.workspace.root(job.run.session),
        spec: Arc::clone(&job.run.context.spec),
        asked: asked.clone(),
        args,
        gave,
        text,
        env: job.ports.env.clone(),
    })
}

async fn json(job: &Job, call: &Call) -> Result<Value, Fault> {
    let bytes = job.ports.blobs.blob(call.args).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!("the recorded arguments of {} are not JSON: {error}", call.id);
        Fault::new(Kind::Permanent, "bad-args", what)
    })
}

impl Heard {
    /// Takes one answer down. True: nobody else needs to be asked.
    fn take(
        &mut self,
        job: &Job,
        kept: &mut Kept,
        at: usize,
        hook: &HookDef,
        said: HookSaid,
        asking: &mut HookAsk,
    ) -> bool {
        let event = hook.event;
        let said =
            if hook.silent { HookSaid { exit: said.exit, ms: said.ms, ..HookSaid::default() } } else { said };
        let failed = event.guards() && !said.failed.is_empty();
        let denied = failed || said.say == Some(Decision::Deny);
        if let Some(words) = words(event, denied, &said) {
            self.told.push(words);
        }
        if !said.context.is_empty() && !denied {
            self.told.push(said.context.clone());
        }
        if let (Some(args), Some(call)) = (said.args.clone().filter(|_| !denied), &asking.asked.call) {
            let anew = Toolbox::new(job).anew(call, args.clone(), kept);
            self.told
                .push(format!("A hook changed the arguments of your {} call {}: {args}", call.tool, call.id));
            asking.asked.call = Some(Box::new(anew.clone()));
            asking.args = Some(args);
            self.changed = Some(anew);
        }
        let refused = self.changed.as_ref().is_some_and(|call| call.error.is_some());
        self.answers.push(HookAnswer {
            hook: u32::try_from(at).unwrap_or(u32::MAX),
            say: said.say,
            halt: said.halt,
            said: text::sentence(&said.reason),
            failed: text::sentence(&said.failed),
            exit: said.exit,
            ms: said.ms,
        });
        denied || refused || said.halt
    }
}

/// How a no is put to the agent.
fn words(event: HookEvent, denied: bool, said: &HookSaid) -> Option<String> {
    if !denied {
        return None;
    }
    let why = if said.reason.is_empty() { "it gave no reason" } else { &said.reason };
    Some(match event {
        HookEvent::UserPromptSubmit => return None,
        HookEvent::PreToolUse | HookEvent::PermissionRequest if !said.failed.is_empty() => {
            format!("not run: a hook that guards this failed, which counts as a no: {}", said.failed)
        }
        HookEvent::PreToolUse | HookEvent::PermissionRequest => format!("not run: a hook denied it: {why}"),
        HookEvent::Stop | HookEvent::SubagentStop => format!("A hook says that you are not done: {why}"),
        _ => format!("A hook ({}) objects: {why}", event.name()),
    })
}
