//! What was promised to the outside, and when: lines that were told, effects that took place.
//!
//! Knows the printed formats (FORMATS.md section 6) and the finished journal. Start at [`promises`].

use crate::record::{Op, What};
use crate::store::Truth;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// From this operation on, the session's stream must reach this event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Operations that had happened.
    pub(crate) after: usize,
    /// The event.
    pub(crate) seq: usize,
    /// For people.
    pub(crate) why: String,
}

/// All of them, in the order of the operations.
pub(crate) fn promises(root: &str, ops: &[Op], truth: &Truth) -> Result<Vec<Promise>> {
    let events: Vec<Value> =
        truth.events.iter().map(|bytes| serde_json::from_slice(bytes)).collect::<Result<_, _>>()?;
    let mut found = Vec::new();
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let mut written = 0;
    for (at, op) in ops.iter().enumerate() {
        let What::Write { bytes, .. } = &op.what else { continue };
        let Some(rest) = op.path.strip_prefix(root) else { continue };
        if rest == "/outside.log" {
            // The effect is there when this operation is: its start must have been durable before.
            let seq = seq(&events, |event| event["started"].to_string().contains("\"shell\""));
            let seq = seq.context("an effect outside, and no start in the journal")?;
            found.push(Promise { after: at, seq, why: "the shell command had its effect".into() });
        } else if rest.contains("/tree/") && bytes.as_slice() == b"out\n" {
            let like = |event: &Value| event["started"].to_string().contains("\"write\"");
            let starts = events.iter().enumerate().filter(|(_, event)| like(&event["event"]));
            let seq = starts.map(|(at, _)| at + 1).nth(written);
            written += 1;
            let seq = seq.context("a file was written, and no start in the journal")?;
            found.push(Promise { after: at, seq, why: "a file was written in the workspace".into() });
        } else if rest.starts_with("/told") {
            let text = texts.entry(&op.path).or_default();
            text.push_str(&String::from_utf8_lossy(bytes));
            while let Some((line, left)) = text.split_once('\n') {
                let seq = told(line, &events, truth);
                // A record that was told and is in no journal at the end is lost already.
                let record = line.contains("\"type\":\"event\"");
                ensure!(seq.is_some() || !record, "told, and not in the journal at the end: {line}");
                found.extend(seq.map(|seq| Promise { after: at + 1, seq, why: short(line) }));
                *text = left.to_owned();
            }
        }
    }
    Ok(found)
}

fn short(line: &str) -> String {
    line.chars().take(160).collect()
}

/// Number of the first event like this.
fn seq(events: &[Value], like: impl Fn(&Value) -> bool) -> Option<usize> {
    events.iter().position(|event| like(&event["event"])).map(|at| at + 1)
}

/// The event that a line of output tells of, if it does.
fn told(line: &str, events: &[Value], truth: &Truth) -> Option<usize> {
    if line.contains("\"wish\": \"approve\"") {
        return seq(events, |event| event.get("approval-answered").is_some());
    }
    let value: Value = serde_json::from_str(line).ok()?;
    match value["type"].as_str() {
        Some("system") => Some(1),
        Some("event") => {
            let record = line.split_once("\"record\":")?.1.strip_suffix('}')?;
            truth.events.iter().position(|event| event == record.as_bytes()).map(|at| at + 1)
        }
        Some("assistant") => {
            let action = &value["message"]["id"];
            seq(events, |event| event["finished"]["outcome"]["action"] == *action)
        }
        Some("user") => {
            let call = format!("\"call\":{}", value["message"]["content"][0]["tool_use_id"]);
            seq(events, |event| event["finished"].to_string().contains(&call))
        }
        Some("result") if value["termination_reason"] == "completed" => {
            seq(events, |event| event.get("ended").is_some())
        }
        // A line of `kapell events`: the record itself.
        _ => truth.events.iter().position(|event| event == line.as_bytes()).map(|at| at + 1),
    }
}
