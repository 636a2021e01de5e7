//! Asks the hooks about one event, all of them at once, and puts on record what they answered.
//!
//! Knows no format and no process (the port does) and decides nothing (`kernel::hooks` does): a call that a hook changed
//! is judged and ruled anew here, as if the model had made it so. Start at [`ask`].

use super::calls::Toolbox;
use super::text::head;
use super::{Halt, Job, Kept};
use crate::task::{self, Kind as TaskKind, Lost};
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
    /// Other arguments for the call, as hooks want them, each with the place of its answer; all were asked about the call
    /// as it was made.
    wanted: Vec<(usize, Value)>,
}

/// Asks every hook that is for this event. Each hears of it as it happened; what they say is taken in their order.
pub(super) async fn ask(job: &Arc<Job>, kept: &mut Kept, asked: &Asked) -> Result<Done, Halt> {
    let (session, workspace) = (job.run.session, &job.ports.workspace);
    if job.run.restore {
        workspace.restore(session, job.label()).await?;
    }
    let asking = Arc::new(of(job, asked).await?);
    let fitting: Vec<(usize, HookDef)> = fitting(job, &asking);
    if job.run.class == EffectClass::Staged && !fitting.is_empty() {
        workspace.savepoint(session, job.label()).await?;
    }
    let mut heard = Heard::default();
    for group in fitting.chunks(limits::CALLS_AT_ONCE) {
        job.unless_stopped()?;
        let start = |(_, hook): &(usize, HookDef)| {
            let (job, asking, hook) = (Arc::clone(job), Arc::clone(&asking), hook.clone());
            let asked = async move { job.ports.hooks.ask(&hook, &asking, job.cancel.child()).await };
            task::spawn(TaskKind::Action, asked)
        };
        let running: Vec<_> = group.iter().map(start).collect();
        for ((at, hook), running) in group.iter().zip(running) {
            let said = running.await.unwrap_or_else(broken);
            // What was stopped has said nothing.
            job.unless_stopped()?;
            heard.take(*at, hook, said);
        }
    }
    let call = heard.changed(job, kept, &asking);
    let told = head(heard.told.join("\n"), MOST);
    let bytes = told.len() as u64;
    let told = (!told.is_empty()).then(|| kept.put(told));
    Ok(Done::Hooked { answers: heard.answers, told, bytes, call: call.map(Box::new) })
}

/// One that has no answer to give.
fn broken(lost: Lost) -> HookSaid {
    let failed = match lost {
        Lost::Panicked(why) => format!("asking it panicked: {why}"),
        Lost::Aborted => "asking it was aborted".to_owned(),
    };
    HookSaid { failed, ..HookSaid::default() }
}

/// Those that the event is for, by their place. One that is declared twice is asked once.
fn fitting(job: &Job, asking: &HookAsk) -> Vec<(usize, HookDef)> {
    let tool = asking.asked.call.as_ref().map(|call| call.tool.clone()).unwrap_or_default();
    let fits = |hook: &HookDef| job.ports.hooks.fits(hook, &asking.asked, &tool, asking.args.as_ref());
    let all = job.run.context.spec.hooks.iter().enumerate();
    let mut found: Vec<(usize, HookDef)> = Vec::new();
    for (at, hook) in all.filter(|(_, hook)| hook.event == asking.asked.event && fits(hook)) {
        let same = |(_, other): &(usize, HookDef)| {
            (&other.run, &other.env, other.project, other.silent)
                == (&hook.run, &hook.env, hook.project, hook.silent)
        };
        if !found.iter().any(same) {
            found.push((at, hook.clone()));
        }
    }
    found
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
    /// Takes one answer down.
    fn take(&mut self, at: usize, hook: &HookDef, said: HookSaid) {
        let event = hook.event;
        let said = if hook.silent { silenced(said) } else { said };
        let failed = event.guards() && !said.failed.is_empty();
        let denied = failed || said.say == Some(Decision::Deny);
        if let Some(words) = words(event, denied, &said) {
            self.told.push(words);
        }
        if !said.context.is_empty() && !denied {
            self.told.push(said.context.clone());
        }
        let args = said.args.filter(|_| !denied);
        self.wanted.extend(args.map(|args| (self.answers.len(), args)));
        self.answers.push(HookAnswer {
            hook: u32::try_from(at).unwrap_or(u32::MAX),
            say: said.say,
            halt: said.halt,
            said: text::sentence(&said.reason),
            failed: text::sentence(&said.failed),
            exit: said.exit,
            ms: said.ms,
            handed: said.handed,
        });
    }

    /// The call as hooks want it. Where two want it differently none of them gets its will: what one of them put in to
    /// be safe, the other one's call would lack.
    fn changed(&mut self, job: &Job, kept: &mut Kept, asking: &HookAsk) -> Option<Call> {
        let call = asking.asked.call.as_ref()?;
        let (_, args) = self.wanted.first()?.clone();
        // Who allowed the call as it was has not seen this one.
        for (at, answer) in self.answers.iter_mut().enumerate() {
            let own = self.wanted.iter().any(|(by, _)| *by == at);
            answer.say = answer.say.filter(|say| own || *say != Decision::Allow);
        }
        if self.wanted.iter().any(|(_, other)| *other != args) {
            let advice = format!(
                "not run: hooks changed the arguments of {} in ways that contradict each other; a person has to decide which one \
                 holds",
                call.id
            );
            return Some(Call { error: Some(kept.put(advice)), ..(**call).clone() });
        }
        let told = format!("A hook changed the arguments of your {} call {}: {args}", call.tool, call.id);
        self.told.push(told);
        Some(Toolbox::new(job).anew(call, args, kept))
    }
}

/// What stays of an answer that counts for nothing.
fn silenced(said: HookSaid) -> HookSaid {
    HookSaid { exit: said.exit, ms: said.ms, handed: said.handed, ..HookSaid::default() }
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
