//! One question to a model: build the request, get the reply, put it on record.
//!
//! Knows no provider and no wire format. Start at [`speak`].

use super::calls::Toolbox;
use super::{Halt, Job, Kept, conversation, goal, prompt, shown};
use contract::action::Done;
use contract::model::{Broken, Card, Reply, Request, Usage};
use contract::{Amount, Fault};
use std::path::Path;

/// Asks the model for its next message.
pub(super) async fn speak(job: &Job, kept: &mut Kept, id: &str, ordinal: u32) -> Result<Done, Halt> {
    let spec = &job.run.context.spec;
    let (found, model) = job.ports.models.open(id, Path::new(&spec.repo))?;
    // The recorded card is the one that was reserved by; another model has only its own.
    let card = if spec.model.id == id { spec.model.card } else { found.card };

    let toolbox = Toolbox::new(job);
    let request = Request {
        model: id.to_owned(),
        system: system(job).await?,
        messages: conversation::messages(job, id).await?,
        tools: toolbox.specs(),
        max_tokens: job.run.max_tokens,
        ordinal,
        key: job.key(),
    };
    job.unless_stopped()?;
    let shown = Some(Box::new(shown::shown(&request)));
    let reply = match model.respond(request, job.cancel.clone(), &*job.sink).await {
        Ok(reply) => reply,
        Err(broken) => return Err(Halt::Fault(lost(card, broken, kept))),
    };

    (kept.meter, kept.metered, kept.estimated) = (reply.meter, true, reply.usage.estimated);
    kept.spent = cost(card, reply.usage);
    let calls = toolbox.record(job, reply.calls, kept);
    let bytes = reply.text.len() as u64;
    let text = (bytes > 0).then(|| kept.put(reply.text));
    let private = reply.private.map(|private| (private.producer, kept.put(private.blocks.to_string())));
    let Reply { stop, usage, request_id, .. } = reply;
    Ok(Done::Said { text, bytes, calls, stop, usage, private, request_id, shown })
}

/// A call without a reply: what it said before it broke is kept beside the fault, and what is known of its cost counts.
fn lost(card: Card, broken: Broken, kept: &mut Kept) -> Fault {
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
fn cost(card: Card, usage: Usage) -> Amount {
    Amount { tokens: usage.total(), nanos: card.price.map_or(0, |price| price.cost(usage)), ..Amount::ZERO }
}
