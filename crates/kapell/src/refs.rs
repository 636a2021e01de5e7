//! Which blobs a record refers to: what must be there for the session to be told, shown and continued.
//!
//! By type, not by looks: hashes of approvals and names of commits look the same and are no blobs. Start at [`event`].

use contract::Digest;
use contract::action::{Call, Control, Done, End, Outcome, Task, Work};
use contract::checks::Report;
use contract::context::Summary;
use contract::event::{Event, Notice};
use contract::intent::{ChildEnd, Wish};

/// The blobs an event refers to.
pub(crate) fn event(event: &Event) -> Vec<Digest> {
    let mut found = Vec::new();
    match event {
        Event::Opened { spec } => {
            found.push(spec.goal);
            found.extend(spec.parent.iter().flat_map(|parent| parent.goals.iter().copied()));
        }
        Event::Started { work: Work::Tools { calls }, .. } => {
            calls.iter().for_each(|call| asked(call, &mut found))
        }
        Event::Started { work: Work::Hooks { asked: about }, .. } => {
            about.call.iter().for_each(|call| asked(call, &mut found));
            found.extend(about.gave.into_iter().chain(about.text));
        }
        Event::Submitted { intent } => found.extend(wish(&intent.wish)),
        Event::Finished { outcome } | Event::Stale { outcome } => ended(outcome, &mut found),
        Event::Noticed { notice } => noticed(notice, &mut found),
        Event::Compacted { summary, .. } => found.extend(summary.iter().flat_map(|summary| cut(summary))),
        Event::Asked { text, .. } => found.extend(*text),
        Event::Answered { text, .. } => found.push(*text),
        Event::Planned { tasks } => found.extend(goals(tasks)),
        Event::Ended { summary, .. } => found.extend(*summary),
        Event::Disposed { .. }
        | Event::Selected { .. }
        | Event::Started { .. }
        | Event::Staged { .. }
        | Event::Judged { .. }
        | Event::ApprovalAsked { .. }
        | Event::ApprovalAnswered { .. }
        | Event::CallAnswered { .. }
        | Event::Garbled { .. }
        | Event::ChildOpened { .. }
        | Event::TaskMoved { .. }
        | Event::Cut { .. }
        | Event::Uncompacted { .. }
        | Event::Repaired { .. }
        | Event::Paused { .. }
        | Event::Waits { .. }
        | Event::FellBack { .. }
        | Event::Resumed { .. }
        | Event::Warned { .. }
        | Event::Failed { .. }
        | Event::Recovered { .. }
        | Event::Ending { .. }
        | Event::CancelAsked { .. } => {}
    }
    found
}

/// The blob a wish refers to.
pub(crate) fn wish(wish: &Wish) -> Option<Digest> {
    match wish {
        Wish::Message { text, .. } | Wish::Answer { text, .. } => Some(*text),
        Wish::SubtaskEnded { end: ChildEnd { summary, .. }, .. } => *summary,
        _ => None,
    }
}

fn ended(outcome: &Outcome, found: &mut Vec<Digest>) {
    found.extend(outcome.written.iter().flat_map(|result| [Some(result.text), result.full]).flatten());
    let done = match &outcome.end {
        End::Done(done) => done,
        End::Failed(fault) => return found.extend(fault.detail),
        End::Cancelled | End::TimedOut | End::Unknown => return,
    };
    match done {
        Done::Said { text, calls, private, .. } => {
            found.extend(*text);
            found.extend(private.as_ref().map(|(_, blocks)| *blocks));
            calls.iter().for_each(|call| asked(call, found));
        }
        Done::Ran { results, .. } => {
            found.extend(results.iter().flat_map(|result| [Some(result.text), result.full]).flatten());
            let images = results.iter().flat_map(|result| &result.images);
            found.extend(images.map(|(_, file)| *file));
        }
        Done::Checked(report) => found.extend(logs(report)),
        Done::Integrated(integrated) => {
            found.extend(integrated.detail);
            found.extend(integrated.report.iter().flat_map(logs));
        }
        Done::Adopted { text, .. } | Done::Summarised { text, .. } => found.push(*text),
        Done::Hooked { told, call, .. } => {
            found.extend(*told);
            call.iter().for_each(|call| asked(call, found));
        }
        Done::Prepared(_) | Done::Inspected { .. } | Done::Rewound { .. } => {}
    }
}

fn asked(call: &Call, found: &mut Vec<Digest>) {
    found.push(call.args);
    found.extend(call.error);
    match &call.control {
        Some(Control::Delegate { goal, .. }) => found.push(*goal),
        Some(Control::Ask { question }) => found.push(*question),
        Some(Control::Plan { tasks }) => found.extend(goals(tasks)),
        Some(Control::Finish { summary, .. }) => found.push(*summary),
        Some(Control::Todo { items }) => found.extend(items.iter().map(|todo| todo.text)),
        Some(Control::FindTools { .. }) | None => {}
    }
}

fn noticed(notice: &Notice, found: &mut Vec<Digest>) {
    match notice {
        Notice::NotConfirmed { logs, .. } => found.extend(logs.iter().map(|(_, log)| *log)),
        Notice::NotIntegrated { detail, .. } => found.extend(*detail),
        Notice::NextTask { goal, .. } => found.push(*goal),
        Notice::ChildEnded { end, .. } => found.extend(end.summary),
        Notice::Compacted { summary } => found.extend(cut(summary)),
        Notice::Hook { text, .. } => found.push(*text),
        Notice::Workaround { .. } | Notice::Rewound { .. } | Notice::ReplyCut | Notice::Told { .. } => {}
    }
}

fn cut(summary: &Summary) -> Vec<Digest> {
    let acts = summary.acts.iter().flat_map(|act| [Some(act.args), act.result]).flatten();
    let tasks = summary.tasks.iter().map(|(_, goal, _)| *goal);
    acts.chain(summary.messages.iter().copied()).chain(tasks).chain(summary.text).collect()
}

fn goals(tasks: &[Task]) -> impl Iterator<Item = Digest> {
    tasks.iter().map(|task| task.goal)
}

fn logs(report: &Report) -> impl Iterator<Item = Digest> {
    report.runs.iter().map(|run| run.log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Fields of records whose value has the form of a digest and is none of a blob.
    const NO_BLOBS: [&str; 5] = ["hash", "approved", "request", "prompt", "together"];

    /// Digests in a JSON value, by the nearest name above them.
    fn named(value: &serde_json::Value, name: &str, found: &mut BTreeSet<Digest>) {
        match value {
            serde_json::Value::String(text) if !NO_BLOBS.contains(&name) => {
                found.extend(text.parse::<Digest>())
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| named(item, name, found)),
            serde_json::Value::Object(fields) => {
                fields.iter().for_each(|(name, item)| named(item, name, found))
            }
            _ => {}
        }
    }

    #[test]
    fn every_digest_in_every_kind_of_record_is_either_found_or_known_to_be_no_blob() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/tests/golden/v1");
        let (mut records, mut digests) = (0, 0);
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                let Ok(record) = contract::record::decode::<Event>(line.as_bytes()) else { continue };
                let mut wanted = BTreeSet::new();
                named(&serde_json::from_str(line).unwrap(), "", &mut wanted);
                let found: BTreeSet<Digest> = event(&record.event).into_iter().collect();
                assert_eq!(found, wanted, "{}", path.display());
                (records, digests) = (records + 1, digests + wanted.len());
            }
        }
        assert!(records > 30 && digests > 20, "{records} records with {digests} digests");
    }
}
