//! One question to a model: build the request, get the reply, put it on record.
//!
//! Knows no provider and no wire format. Start at [`speak`].

use super::asked::chain;
use super::calls::Toolbox;
use super::{Halt, Job, Kept, conversation, goal, hide, prompt, shown};
use contract::action::{Done, Work};
use contract::context::Sent;
use contract::error::NOT_RUN;
use contract::model::{Broken, Card, Model, Models, Reply, Request, Usage};
use contract::port::{Delta, Sink};
use contract::{Amount, Digest, Fault};
use secrets::Redactor;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Most of what a model notes in one call that is put on record.
const NOTES: usize = 8;

/// Asks the model for its next message.
pub(super) async fn speak(job: &Job, kept: &mut Kept, id: &str, ordinal: u32) -> Result<Done, Halt> {
    // Nothing is sent yet: whatever ends the attempt before that costs nothing.
    kept.metered = true;
    let (card, model) = open(job, id)?;
    let toolbox = Toolbox::new(job);
    let mut repairs = Vec::new();
    let request = Request {
        max_tokens: job.run.max_tokens,
        ordinal,
        ..request(job, &toolbox, id, &mut repairs).await.map_err(unsent)?
    };
    kept.sent = Some(Sent { repairs, ..sent(&*job.ports.models, &request) });
    job.unless_stopped()?;
    let shown = Some(Box::new(shown::shown(&request)));
    let redactor = job.redactor();
    let mut request = request;
    hide::request(&redactor, &mut request);
    kept.metered = false;
    let heard = Heard { sink: &*job.sink, notes: Mutex::default() };
    let answer = model.respond(request, job.cancel.clone(), &heard).await;
    heard.keep(kept, &redactor);
    let mut reply = match answer {
        Ok(reply) => reply,
        Err(broken) => return Err(Halt::Fault(lost(card, broken, kept))),
    };
    hide::reply(&redactor, &mut reply);

    (kept.meter, kept.metered, kept.estimated) = (reply.meter, true, reply.usage.estimated);
    kept.spent = cost(card, reply.usage);
    let (again, tokens) = size(&*job.ports.models, id, &reply);
    let calls = toolbox.record(job, reply.calls, kept);
    let bytes = reply.text.len() as u64;
    let text = (bytes > 0).then(|| kept.put(reply.text));
    let private = reply.private.map(|private| (private.producer, kept.put(private.blocks.to_string())));
    let Reply { stop, usage, request_id, .. } = reply;
    let again = Some(again);
    Ok(Done::Said { text, bytes, calls, stop, usage, private, request_id, shown, again, tokens })
}

/// Passes on what a model says, and keeps what it notes: progress is lost, a warning is not to be.
struct Heard<'a> {
    sink: &'a dyn Sink,
    notes: Mutex<Vec<String>>,
}

impl Heard<'_> {
    fn keep(self, kept: &mut Kept, redactor: &Redactor) {
        let notes = self.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(sent) = &mut kept.sent {
            sent.warnings = notes.iter().map(|note| redactor.text(note).into_owned()).collect();
        }
    }
}

impl Sink for Heard<'_> {
    fn delta(&self, delta: Delta) {
        if let Delta::Note(note) = &delta {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            if notes.len() < NOTES && !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        self.sink.delta(delta);
    }
}

/// The model, and what the call was reserved by. What is known of the model now may be something else.
pub(super) fn open(job: &Job, id: &str) -> Result<(Card, Arc<dyn Model>), Fault> {
    let repo = Path::new(&job.run.context.spec.repo);
    let (found, model) = job.ports.models.open(id, repo).map_err(unsent)?;
    Ok((job.run.card.unwrap_or(found.card), model))
}

/// It failed here, before anything was sent: its provider has no part in it.
pub(super) fn unsent(fault: Fault) -> Fault {
    Fault { code: format!("{NOT_RUN}-{}", fault.code), ..fault }
}

/// The request but for what the model's card says of it.
async fn request(
    job: &Job,
    toolbox: &Toolbox,
    id: &str,
    repairs: &mut Vec<String>,
) -> Result<Request, Fault> {
    Ok(Request {
        model: id.to_owned(),
        system: system(job).await?,
        messages: conversation::messages(job, id, repairs).await?,
        tools: toolbox.specs(),
        max_tokens: 0,
        ordinal: 0,
        // A server that is told of it is told of attempts.
        key: format!("{}/{}", job.key(), job.run.attempt),
    })
}

/// What a model action would ask, without asking: for who compares it with what was asked.
pub(super) async fn rebuild(job: &Job) -> Result<Option<Request>, Fault> {
    let Work::Model { model, .. } = &job.run.work else { return Ok(None) };
    request(job, &Toolbox::new(job), model, &mut Vec::new()).await.map(Some)
}

/// What is recorded of a request.
pub(super) fn sent(models: &dyn Models, request: &Request) -> Sent {
    let tools = request.tools.iter().map(|tool| format!("{}{}{}", tool.name, tool.description, tool.schema));
    let prompt = tools.fold(request.system.clone(), |all, tool| all + &tool);
    let chain = chain(request);
    let digest = |of: Option<&Digest>| of.copied().unwrap_or_default();
    Sent {
        request: digest(chain.last()),
        prompt: digest(chain.first()),
        prompt_bytes: prompt.len() as u64,
        prompt_tokens: models.count(&request.model, &prompt),
        repairs: Vec::new(),
        warnings: Vec::new(),
    }
}

/// Bytes of a reply that the next request holds again, and their tokens where the tokenizer is public.
fn size(models: &dyn Models, id: &str, reply: &Reply) -> (u64, Option<u64>) {
    let private = reply.private.as_ref().map_or(0, |private| private.blocks.to_string().len() as u64);
    let calls = reply.calls.iter().map(|call| format!("{}{}", call.tool, call.args));
    let words = calls.fold(reply.text.clone(), |all, call| all + &call);
    // What is private is no text; its bytes bound its tokens.
    (words.len() as u64 + private, models.count(id, &words).map(|tokens| tokens + private / 2))
}

/// A call without a reply: what it said before it broke is kept beside the fault, and what is known of its cost counts.
pub(super) fn lost(card: Card, broken: Broken, kept: &mut Kept) -> Fault {
    let Broken { mut fault, text, usage, meter } = broken;
    let known = usage.unwrap_or_default();
    (kept.meter, kept.metered, kept.estimated) = (meter, usage.is_some(), known.estimated);
    kept.spent = cost(card, known);
    if !text.is_empty() {
        fault.detail = Some(kept.put(text));
    }
    fault
}

async fn system(job: &Job) -> Result<String, Fault> {
    let context = &job.run.context;
    let goal = job.text(context.spec.goal).await?;
    let goal_checks = goal::checks(&context.spec.goal_checks, &goal, &context.checks)?;
    Ok(prompt::system(&context.spec.mode, &context.checks, &goal_checks))
}

/// Tokens and their price. A model of unknown price costs nothing here: a budget in money has refused it before.
pub(super) fn cost(card: Card, usage: Usage) -> Amount {
    Amount { tokens: usage.total(), nanos: card.price.map_or(0, |price| price.cost(usage)), ..Amount::ZERO }
}
