//! One question to a model: build the request, get the reply, put it on record.
//!
//! Knows no provider and no wire format. Start at [`speak`].

use super::calls::Toolbox;
use super::{Halt, Job, Kept, conversation, goal, prompt};
use contract::action::Done;
use contract::model::{Card, Request, Usage};
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
        messages: conversation::messages(job).await?,
        tools: toolbox.specs(),
        ordinal,
        key: job.key(),
    };
    job.unless_stopped()?;
    let reply = model.respond(request, job.cancel.clone(), &*job.sink).await?;

    kept.spent = cost(card, reply.usage);
    let calls = toolbox.record(job, reply.calls, kept);
    let bytes = reply.text.len() as u64;
    let text = (bytes > 0).then(|| kept.put(reply.text));
    Ok(Done::Said { text, bytes, calls, stop: reply.stop, usage: reply.usage })
}

async fn system(job: &Job) -> Result<String, Fault> {
    let context = &job.run.context;
    let goal = job.text(context.spec.goal).await?;
    let goal_checks = goal::checks(&context.spec.goal_checks, &goal, &context.checks)?;
    Ok(prompt::system(&context.spec.mode, &context.checks, &goal_checks))
}

/// Tokens and their price. A model of unknown price costs nothing here: a budget in money has refused it before.
fn cost(card: Card, usage: Usage) -> Amount {
    Amount {
        tokens: usage.input.saturating_add(usage.output),
        nanos: card.price.map_or(0, |price| price.cost(usage)),
        ..Amount::ZERO
    }
}
