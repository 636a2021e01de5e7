//! `error_recovery`: what is to be done about an error, and the count that turns the third of its kind into a question
//! for a person. The count is a file, so it outlives the server.
//!
//! Start at [`recover`].

use crate::args::Args;
use crate::change::How;
use crate::report::cut;
use crate::root::Guard;
use crate::{Desk, Done, Stop};
use board::when;
use contract::Digest;
use serde_json::{Map, Value, json};

/// Below the directory for copies.
const CHECKPOINTS: &str = "recovery_checkpoints";
/// Seconds before an operation is tried again.
const DELAY: u64 = 5;
/// Characters of an error in a checkpoint.
const ERROR: usize = 4_000;
/// Kinds of errors that are counted; beyond, the oldest are forgotten.
const KINDS: usize = 1_000;

pub(crate) fn recover(desk: &Desk, args: &Args) -> Done {
    let (operation, error) = (args.said("operation"), args.said("error_context"));
    if error.trim().is_empty() {
        return Err(Stop::failed("`error_context` is empty: say what went wrong"));
    }
    let guard = desk.locked()?;
    let limit = desk.options.failure_limit;
    let nth = counted(desk, &guard, operation, error, limit)?;
    let named = args.text("recovery_strategy");
    let strategy = if nth >= limit { "escalate" } else { named.unwrap_or_else(|| chosen(operation, error)) };
    let mut result = json!({
        "operation": operation,
        "error_context": error,
        "recovery_strategy": strategy,
        "attempt": nth,
        "attempts_left": limit.saturating_sub(nth),
    });
    match strategy {
        "retry" => {
            result["action"] = "retry_operation".into();
            result["delay_seconds"] = DELAY.into();
        }
        "rollback" => {
            result["action"] = "rollback_changes".into();
            result["rollback_from"] = rollback(desk, error).into();
        }
        "cleanup" => {
            result["action"] = "cleanup_and_retry".into();
            result["cleanup_actions"] =
                json!(["make what is missing", "remove what was left half-done", "try again"]);
        }
        _ => {
            result["action"] = "escalate_to_person".into();
            let why = match nth >= limit {
                true => format!("the same error {nth} times: a person has to look before it is tried again"),
                false => "nothing is known that would mend this kind of error".to_owned(),
            };
            result["escalation_reason"] = why.into();
        }
    }
    if args.flag("create_checkpoint") {
        result["checkpoint"] = checkpoint(desk, &guard, operation, error)?;
    }
    Ok(json!({"recovery_result": result}))
}

/// What the words of the error suggest.
fn chosen(operation: &str, error: &str) -> &'static str {
    let (operation, error) = (operation.to_lowercase(), error.to_lowercase());
    let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if operation.starts_with("file_") {
        return match () {
            () if says(&["permission"]) => "escalate",
            () if says(&["not found", "does not exist", "no such file"]) => "cleanup",
            () => "retry",
        };
    }
    if operation.contains("network") || operation.contains("http") {
        return if says(&["timeout", "timed out"]) { "retry" } else { "escalate" };
    }
    if says(&["temporary", "retry"]) { "retry" } else { "escalate" }
}

/// The newest copy of the file that the error names.
fn rollback(desk: &Desk, error: &str) -> Option<String> {
    let words =
        error.split(|c: char| c.is_whitespace() || "'\"`(),:;".contains(c)).filter(|word| word.contains('.'));
    words.filter_map(|word| desk.copies(word).ok()?.pop()).next()
}

/// Counts the error; which one of its kind it is. The one that reaches the limit begins the count anew.
fn counted(desk: &Desk, guard: &Guard, operation: &str, error: &str, limit: u64) -> Result<u64, Stop> {
    let path = format!("{}/{CHECKPOINTS}/failures.json", desk.options.backups.trim_end_matches('/'));
    let bytes = desk.root.read_if(&path)?.unwrap_or_default();
    // A count that cannot be read is begun anew: it guards, and must not be in the way.
    let mut counts: Map<String, Value> = serde_json::from_slice(&bytes).unwrap_or_default();
    let key = signature(operation, error);
    let nth = counts.get(&key).and_then(|of| of["count"].as_u64()).unwrap_or(0) + 1;
    match nth >= limit {
        true => drop(counts.remove(&key)),
        false => {
            drop(counts.insert(
                key,
                json!({"count": nth, "last": when::written(desk.now()), "operation": operation}),
            ))
        }
    }
    while counts.len() > KINDS {
        let oldest = counts.iter().min_by_key(|(_, of)| of["last"].as_str().unwrap_or_default().to_owned());
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
        counts.remove(&oldest);
    }
    let text = serde_json::to_vec_pretty(&counts).unwrap_or_default();
    desk.change(guard, "error_recovery", &path, How::Replace(&text), false)?;
    Ok(nth)
}

/// The same error of the same operation, whatever numbers stand in it.
fn signature(operation: &str, error: &str) -> String {
    let plain: String = error.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let digest = Digest::of(format!("{operation}\0{plain}").as_bytes()).to_string();
    digest.chars().take(16).collect()
}

fn checkpoint(desk: &Desk, guard: &Guard, operation: &str, error: &str) -> Done {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let name: String = operation.chars().take(60).map(safe).collect();
    let dir = format!("{}/{CHECKPOINTS}", desk.options.backups.trim_end_matches('/'));
    let epoch = desk.now() / 1000;
    let ids = std::iter::once(format!("checkpoint_{epoch}_{name}"));
    let mut ids = ids.chain((1..).map(|n: u32| format!("checkpoint_{epoch}_{name}_{n}")));
    let id = ids.find(|id| !desk.root.exists(&format!("{dir}/{id}.json"))).unwrap_or_default();
    let file = format!("{dir}/{id}.json");
    let text = json!({
        "operation": operation,
        "error_context": cut(error, ERROR),
        "timestamp": when::written(desk.now()),
        "system_state": {"workspace": desk.root.path().display().to_string(), "process": std::process::id()},
    });
    let text = serde_json::to_vec_pretty(&text).unwrap_or_default();
    desk.change(guard, "error_recovery", &file, How::Replace(&text), false)?;
    Ok(json!({"checkpoint_file": file, "checkpoint_id": id}))
}
