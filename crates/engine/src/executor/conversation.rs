//! The conversation a model is shown: the session's items with their texts, always valid.
//!
//! Chooses nothing (what stays in the context is the kernel's decision) and knows no wire format.
//! Start at [`messages`].
//!
//! A result that the kernel left out is one line with its address, which `read` takes.
//!
//! Valid means, for every provider: it begins with a user's message, every call is answered exactly
//! once and right after the message that made it, no message is empty, and the last word is not
//! the model's. The kernel sees to most of that; what still does not fit is mended here, so that one
//! odd record cannot make a session unable to go on.

use super::{Job, notice};
use contract::action::{Item, Role};
use contract::context::Left;
use contract::event::Notice;
use contract::model::{Image, Message, NO_RESULT, Private, ToolUse};
use contract::{CallId, Digest, Fault};
use serde_json::Value;
use std::collections::HashMap;

/// Said when the model spoke last.
const GO_ON: &str = "Go on. When nothing is left to do, call `finish`.";

/// The messages of the run's items, as this model may see them: what is private to another is left out.
/// `repairs`: what had to be mended on the way.
pub(super) async fn messages(
    job: &Job,
    model: &str,
    repairs: &mut Vec<String>,
) -> Result<Vec<Message>, Fault> {
    let items = &job.run.context.items;
    let mut results: HashMap<&CallId, &Item> = HashMap::new();
    for item in items {
        if let (Role::Tool, Some(call)) = (item.role, &item.call) {
            results.entry(call).or_insert(item);
        }
    }

    let mut out = Vec::with_capacity(items.len() + 1);
    for item in items {
        match item.role {
            // Placed after the call it answers, below.
            Role::Tool => {}
            Role::User | Role::Notice => {
                let text = spoken(job, item).await?;
                if !text.is_empty() {
                    out.push(Message::User { text });
                }
            }
            Role::Assistant => {
                let text = spoken(job, item).await?;
                let calls = uses(job, item).await?;
                if text.is_empty() && calls.is_empty() {
                    continue;
                }
                let private = private(job, item, model).await?;
                out.push(Message::Assistant { text, calls, private });
                for (call, _, _) in &item.calls {
                    let result = results.remove(call);
                    if result.is_none() {
                        repairs.push(format!("call {call} had no result: the model was told so"));
                    }
                    out.push(answer(job, call, result).await?);
                }
            }
        }
    }
    let mut orphans: Vec<_> = results.keys().collect();
    orphans.sort_unstable();
    let left_out = |call| format!("the result of {call} came without its call and was left out");
    repairs.extend(orphans.into_iter().map(left_out));

    if !matches!(out.first(), Some(Message::User { .. })) {
        out.insert(0, Message::User { text: job.text(job.run.context.spec.goal).await? });
    }
    if matches!(out.last(), Some(Message::Assistant { .. })) {
        out.push(Message::User { text: GO_ON.to_owned() });
    }
    Ok(out)
}

/// An item's words: what Kapell says, then its text. A child's last words are both: its notice has them already.
pub(super) async fn spoken(job: &Job, item: &Item) -> Result<String, Fault> {
    let mut words = match &item.notice {
        Some(notice) => notice::words(job, notice).await?,
        None => String::new(),
    };
    let told =
        matches!(item.notice.as_deref(), Some(Notice::ChildEnded { end, .. }) if end.summary == item.text);
    if let Some(text) = item.text.filter(|_| !told) {
        if !words.is_empty() {
            words.push('\n');
        }
        words.push_str(&job.text(text).await?);
    }
    Ok(words)
}

async fn uses(job: &Job, item: &Item) -> Result<Vec<ToolUse>, Fault> {
    let mut uses = Vec::with_capacity(item.calls.len());
    for (id, tool, args) in &item.calls {
        let bytes = job.ports.blobs.blob(*args).await?;
        let args = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        uses.push(ToolUse { id: id.clone(), tool: tool.clone(), args });
    }
    Ok(uses)
}

async fn answer(job: &Job, call: &CallId, result: Option<&Item>) -> Result<Message, Fault> {
    let Some(item) = result else {
        let text = NO_RESULT.to_owned();
        return Ok(Message::Tool { call: call.clone(), ok: false, text, images: Vec::new() });
    };
    if let (Some(why), Some(text)) = (item.left, item.text) {
        let text = left_out(why, item.bytes, text);
        return Ok(Message::Tool { call: call.clone(), ok: item.ok, text, images: Vec::new() });
    }
    let mut images = Vec::with_capacity(item.images.len());
    for (media_type, file) in &item.images {
        images.push(Image { media_type: media_type.clone(), bytes: job.ports.blobs.blob(*file).await? });
    }
    Ok(Message::Tool { call: call.clone(), ok: item.ok, text: spoken(job, item).await?, images })
}

/// The line in the place of a result: why it is not here, and where it is.
fn left_out(why: Left, bytes: u64, text: Digest) -> String {
    let why = match why {
        Left::Superseded { .. } => "the same call was made again later",
        Left::Old => "to make room",
        Left::Same { .. } => "the same text came before",
        Left::Large => "too large to be shown; read parts of it",
    };
    format!("[{bytes} bytes left out: {why}. The whole: read blob:{text}]")
}

/// What only its producer may see again, if that is who is asked.
async fn private(job: &Job, item: &Item, model: &str) -> Result<Option<Private>, Fault> {
    let Some((producer, blocks)) = item.private.as_ref().filter(|(producer, _)| producer == model) else {
        return Ok(None);
    };
    let blocks = serde_json::from_slice(&job.ports.blobs.blob(*blocks).await?);
    Ok(blocks.ok().map(|blocks| Private { producer: producer.clone(), blocks }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::limits;

    #[test]
    fn the_line_of_what_was_left_out_fits_its_allowance() {
        for why in [Left::Superseded { by: 9 }, Left::Old, Left::Same { item: 9 }, Left::Large] {
            let line = left_out(why, u64::MAX, Digest::of(b"x"));
            // Hexadecimal digits are the worst there is: a token for two of them at most; words have three or more.
            let bound = 64 / 2 + (line.len() - 64) / 3;
            assert!(bound as u64 <= limits::LEFT_TOKENS, "{line}");
        }
    }
}
