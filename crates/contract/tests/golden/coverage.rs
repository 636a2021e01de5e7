//! Nothing stored goes without a golden file: every variant, every optional field both there and not there.
//!
//! Walks the examples along the schema read from the source; knows neither by name. Start at [`nothing_is_left_out`].

use super::schema::{Body, Field, Schema, Type, core};
use super::{board, events, ledger, looping, project, quota};
use contract::Event;
use contract::board::BoardEvent;
use contract::event::LedgerEvent;
use contract::looping::LoopEvent;
use contract::project::ProjectEvent;
use contract::quota::QuotaEvent;
use serde_json::Value;
use std::collections::BTreeSet;

/// What the examples show, in words for the reader of a failure.
#[derive(Default)]
struct Seen(BTreeSet<String>);

#[test]
fn nothing_is_left_out() {
    let schema = Schema::read();
    let mut wanted = BTreeSet::new();
    for root in ["Event", "LedgerEvent", "QuotaEvent", "ProjectEvent", "BoardEvent", "LoopEvent"] {
        want(&schema, root, &mut BTreeSet::new(), &mut wanted);
    }
    let mut seen = Seen::default();
    for (name, event) in stored() {
        let root = match name.split_once('-') {
            Some(("ledger", _)) => "LedgerEvent",
            Some(("quota", _)) => "QuotaEvent",
            Some(("project", _)) => "ProjectEvent",
            Some(("board", _)) => "BoardEvent",
            Some(("loop", _)) => "LoopEvent",
            _ => "Event",
        };
        seen.walk(&schema, root, &event);
    }
    let missing: Vec<&String> = wanted.difference(&seen.0).collect();
    assert!(missing.is_empty(), "add examples (events.rs, ledger.rs, quota.rs) that show {missing:#?}");
    assert!(wanted.len() > 200, "the reader of the source no longer understands it: {} facts", wanted.len());
}

/// Every example's name and event. That each has its file, byte for byte, is `main.rs`'s test.
fn stored() -> Vec<(&'static str, Value)> {
    let session = events::all().into_iter().map(|(name, event)| (name, serde_json::to_value(event).unwrap()));
    let ledger = ledger::all().into_iter().map(|(name, event)| (name, serde_json::to_value(event).unwrap()));
    let quota = quota::all().into_iter().map(|(name, event)| (name, serde_json::to_value(event).unwrap()));
    let project =
        project::all().into_iter().map(|(name, event)| (name, serde_json::to_value(event).unwrap()));
    let board = board::all().into_iter().map(|(name, event)| (name, serde_json::to_value(event).unwrap()));
    let looping =
        looping::all().into_iter().map(|(name, event)| (name, serde_json::to_value(event).unwrap()));
    session.chain(ledger).chain(quota).chain(project).chain(board).chain(looping).collect()
}

/// Everything a type can hold.
fn want(schema: &Schema, ty: &str, done: &mut BTreeSet<String>, wanted: &mut BTreeSet<String>) {
    let name = core(ty);
    if !done.insert(name.to_owned()) {
        return;
    }
    match schema.0.get(name) {
        None => {}
        Some(Type::Struct(list)) => want_fields(schema, name, list, done, wanted),
        Some(Type::Enum(variants)) => {
            for variant in variants {
                let owner = format!("{name}::{}", variant.tag);
                match &variant.body {
                    Body::Unit => {}
                    Body::One(ty) => want(schema, ty, done, wanted),
                    Body::Fields(list) => want_fields(schema, &owner, list, done, wanted),
                }
                wanted.insert(owner);
            }
        }
    }
}

fn want_fields(
    schema: &Schema,
    owner: &str,
    list: &[Field],
    done: &mut BTreeSet<String>,
    wanted: &mut BTreeSet<String>,
) {
    for field in list {
        if field.optional {
            wanted.insert(format!("{owner}.{} present", field.name));
            wanted.insert(format!("{owner}.{} absent", field.name));
        }
        want(schema, &field.ty, done, wanted);
    }
}

impl Seen {
    fn walk(&mut self, schema: &Schema, ty: &str, value: &Value) {
        if let Value::Array(list) = value {
            return list.iter().for_each(|value| self.walk(schema, ty, value));
        }
        let name = core(ty);
        match schema.0.get(name) {
            None => {}
            Some(_) if value.is_null() => {}
            Some(Type::Struct(list)) => self.fields(schema, name, list, value),
            Some(Type::Enum(variants)) => {
                let (tag, inner) = match value {
                    Value::String(tag) => (tag, &Value::Null),
                    Value::Object(map) => map.iter().next().expect("a tagged value"),
                    other => panic!("{name} is stored as {other}"),
                };
                let variant = variants.iter().find(|variant| variant.tag == *tag);
                let variant =
                    variant.unwrap_or_else(|| panic!("the schema reader does not know {name}::{tag}"));
                let owner = format!("{name}::{tag}");
                match &variant.body {
                    Body::Unit => {}
                    Body::One(ty) => self.walk(schema, ty, inner),
                    Body::Fields(list) => self.fields(schema, &owner, list, inner),
                }
                self.0.insert(owner);
            }
        }
    }

    fn fields(&mut self, schema: &Schema, owner: &str, list: &[Field], value: &Value) {
        let map = value.as_object().unwrap_or_else(|| panic!("{owner} is stored as {value}"));
        for key in map.keys() {
            assert!(list.iter().any(|f| f.name == *key), "the schema reader does not know {owner}.{key}");
        }
        for field in list {
            let there = map.get(&field.name).filter(|value| !value.is_null());
            let word = if there.is_some() { "present" } else { "absent" };
            self.0.insert(format!("{owner}.{} {word}", field.name));
            there.into_iter().for_each(|value| self.walk(schema, &field.ty, value));
        }
    }
}

/// The same, said by the compiler: a new variant does not build until it stands here, and fails until an example shows it.
macro_rules! every_variant {
    ($ty:ident: $($variant:ident = $name:literal),+ $(,)?) => {{
        #[allow(dead_code, reason = "exists to be exhaustive, never called")]
        fn exhaustive(value: &$ty) -> &'static str {
            match value { $($ty::$variant { .. } => $name),+ }
        }
        [$($name),+]
    }};
}

#[test]
fn every_event_has_a_golden_file() {
    let events = every_variant!(Event:
        Opened = "opened", Submitted = "submitted", Disposed = "disposed", Selected = "selected",
        Started = "started", Finished = "finished", Stale = "stale", Staged = "staged", Judged = "judged",
        Noticed = "noticed", ApprovalAsked = "approval-asked", ApprovalAnswered = "approval-answered",
        Asked = "asked", Answered = "answered", ChildOpened = "child-opened", Planned = "planned",
        TaskMoved = "task-moved", Cut = "cut", Compacted = "compacted", Uncompacted = "uncompacted",
        Repaired = "repaired", Paused = "paused", Waits = "waits", FellBack = "fell-back", Resumed = "resumed", Warned = "warned",
        Failed = "failed",
        Recovered = "recovered", CallAnswered = "call-answered", Garbled = "garbled", CancelAsked = "cancel-asked", Ending = "ending", Ended = "ended",
    );
    let ledger = every_variant!(LedgerEvent:
        Opened = "opened", Admitted = "admitted", Reserved = "reserved", Settled = "settled",
        Overshoot = "overshoot", Barred = "barred", Raised = "raised",
    );
    let quota = every_variant!(QuotaEvent: Declared = "declared", Taken = "taken", Settled = "settled", Queued = "queued", Lifted = "lifted");
    let project = every_variant!(ProjectEvent: Capped = "capped", Reserved = "reserved", Settled = "settled");
    let board = every_variant!(BoardEvent: Changing = "changing", Kept = "kept", Terminal = "terminal");
    let looping = every_variant!(LoopEvent: Seen = "seen", Fired = "fired", Passed = "passed", Held = "held", Delegated = "delegated", Failed = "failed", Escalated = "escalated", Cleared = "cleared", Closed = "closed", Halted = "halted", Continued = "continued", Accepted = "accepted", Unopened = "unopened", Synced = "synced", Zoned = "zoned");
    let stored = stored();
    let group = |name: &str| {
        ["ledger-", "quota-", "project-", "board-", "loop-"].into_iter().find(|group| name.starts_with(group))
    };
    let shown = |wanted: Option<&str>, tag: &str| {
        stored.iter().any(|(name, event)| group(name) == wanted && event.get(tag).is_some())
    };
    let missing: Vec<&str> = events.into_iter().filter(|tag| !shown(None, tag)).collect();
    assert!(missing.is_empty(), "no example shows the events {missing:?}");
    let missing: Vec<&str> = ledger.into_iter().filter(|tag| !shown(Some("ledger-"), tag)).collect();
    assert!(missing.is_empty(), "no example shows the ledger events {missing:?}");
    let missing: Vec<&str> = quota.into_iter().filter(|tag| !shown(Some("quota-"), tag)).collect();
    assert!(missing.is_empty(), "no example shows the quota events {missing:?}");
    let missing: Vec<&str> = project.into_iter().filter(|tag| !shown(Some("project-"), tag)).collect();
    assert!(missing.is_empty(), "no example shows the project events {missing:?}");
    let missing: Vec<&str> = board.into_iter().filter(|tag| !shown(Some("board-"), tag)).collect();
    assert!(missing.is_empty(), "no example shows the board events {missing:?}");
    let missing: Vec<&str> = looping.into_iter().filter(|tag| !shown(Some("loop-"), tag)).collect();
    assert!(missing.is_empty(), "no example shows the loop events {missing:?}");
}
