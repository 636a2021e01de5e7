//! `record`: what a session's model said, as a script that `builtin/script` plays again. Known forms of secrets are
//! replaced; texts are taken word for word otherwise.
//!
//! Start at [`run`]; the file is made by [`script`].

use super::work::leave;
use crate::app::{self, App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::show;
use contract::action::{Call, Done, End, Outcome, Work};
use contract::event::Event;
use contract::model::{Card, Stop, Usage};
use contract::money::NANOS_PER_USD;
use contract::{ActionId, Digest, Fault, StreamId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The text without secrets, also of a record made before they were taken out; `hidden` grows by how many are marked.
fn without(text: &str, hidden: &mut u64) -> String {
    let clean = ::secrets::Redactor::default().text(text).into_owned();
    *hidden += clean.matches("[secret removed").count() as u64;
    clean
}

/// A model action as it ended last.
enum Turn {
    Said { text: String, calls: Vec<(String, Value)>, stop: Stop, usage: Usage },
    Failed(Fault),
}

/// Writes the script; the exit code.
pub(crate) async fn run(app: &App, name: &str, output: Option<&Path>) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let done = record(app, &wired, name, output).await;
    leave(wired).await;
    done
}

async fn record(app: &App, wired: &Wired, name: &str, output: Option<&Path>) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let records = engine::store::records::<Event>(&*wired.store, StreamId::Session(session)).await?;
    let events: Vec<&Event> = records.iter().map(|record| &record.event).collect();
    let card = events.iter().find_map(|event| match event {
        Event::Opened { spec } => Some(spec.model.card),
        _ => None,
    });
    let children = events.iter().filter(|event| matches!(event, Event::ChildOpened { .. })).count();
    let (mut turns, mut hidden) = (Vec::new(), 0);
    for outcome in outcomes(&events) {
        turns.extend(turn(wired, outcome, &mut hidden).await?);
    }
    let text = script(card, &turns);
    let Some(path) = output else {
        out::print(&text);
        return Ok(exit::OK);
    };
    std::fs::write(path, &text).map_err(|error| {
        let what = format!("cannot write {}: {error}", path.display());
        Failure::usage("record", what, "name a file in a directory that exists")
    })?;
    if !app.global.quiet {
        let children = if children > 0 {
            format!("; {children} child sessions are records of their own")
        } else {
            String::new()
        };
        out::complain(&format!(
            "{} turns of {} are in {} ({hidden} secrets removed{children})\nplay it: kapell run -m builtin/script:{} \"the goal\"\n",
            turns.len(),
            short(session),
            path.display(),
            path.display()
        ));
    }
    Ok(exit::OK)
}

/// How each model action ended at last, in the order in which they began: a script counts them, too.
fn outcomes<'a>(events: &[&'a Event]) -> Vec<&'a Outcome> {
    let mut order: BTreeMap<u32, ActionId> = BTreeMap::new();
    let mut ends: BTreeMap<ActionId, &Outcome> = BTreeMap::new();
    for event in events {
        match event {
            Event::Started { action, work: Work::Model { ordinal, .. }, .. } => {
                order.insert(*ordinal, *action);
            }
            Event::Finished { outcome } => {
                ends.insert(outcome.action, outcome);
            }
            _ => {}
        }
    }
    order.values().map_while(|action| ends.get(action).copied()).collect()
}

async fn turn(wired: &Wired, outcome: &Outcome, hidden: &mut u64) -> Result<Option<Turn>, Failure> {
    let (text, calls, stop, usage) = match &outcome.end {
        End::Done(Done::Said { text, calls, stop, usage, .. }) => (text, calls, stop, usage),
        End::Failed(fault) => {
            let what = without(&fault.what, hidden);
            return Ok(Some(Turn::Failed(Fault { what, ..fault.clone() })));
        }
        // Nobody saw what it would have said.
        _ => return Ok(None),
    };
    let text = match text {
        Some(digest) => without(&blob(wired, *digest).await?, hidden),
        None => String::new(),
    };
    let mut made = Vec::with_capacity(calls.len());
    for Call { tool, args, .. } in calls {
        let args = without(&blob(wired, *args).await?, hidden);
        made.push((tool.clone(), serde_json::from_str(&args).unwrap_or(Value::String(args))));
    }
    Ok(Some(Turn::Said { text, calls: made, stop: *stop, usage: *usage }))
}

async fn blob(wired: &Wired, digest: Digest) -> Result<String, Failure> {
    Ok(show::text(&*wired.store, digest).await?)
}

/// The TOML: `literal`, so that no word of it is taken for a template.
fn script(card: Option<Card>, turns: &[Turn]) -> String {
    let mut out = String::from("# What a model said, recorded by `kapell record`.\n\n");
    if let Some(card) = card {
        out.push_str(&format!(
            "[model]\ncontext_tokens = {}\noutput_tokens = {}\n",
            card.context_tokens, card.output_tokens
        ));
        if let Some(price) = card.price {
            let usd = |nanos: u64| format!("{}.{:09}", nanos / NANOS_PER_USD, nanos % NANOS_PER_USD);
            out.push_str(&format!(
                "price_input_usd_per_mtok = {}\nprice_output_usd_per_mtok = {}\n",
                usd(price.input),
                usd(price.output)
            ));
        }
    }
    for turn in turns {
        out.push_str("\n[[turn]]\n");
        match turn {
            Turn::Failed(fault) => {
                let after =
                    fault.retry_after_ms.map(|ms| format!(", retry_after_ms = {ms}")).unwrap_or_default();
                out.push_str(&format!(
                    "error = {{ kind = {}, code = {}, what = {}{after} }}\n",
                    quoted(fault.kind.name()),
                    quoted(&fault.code),
                    quoted(&fault.what)
                ));
            }
            Turn::Said { text, calls, stop, usage } => {
                out.push_str(&format!("literal = true\ntext = {}\n", quoted(text)));
                let stop = serde_json::to_value(stop).unwrap_or_default();
                out.push_str(&format!("stop = {}\n", quoted(stop.as_str().unwrap_or("end-turn"))));
                out.push_str(&format!(
                    "usage = {{ input = {}, output = {} }}\n",
                    usage.given(),
                    usage.output
                ));
                for (tool, args) in calls {
                    out.push_str(&format!("[[turn.call]]\ntool = {}\n", quoted(tool)));
                    match args {
                        Value::String(raw) => out.push_str(&format!("raw_args = {}\n", quoted(raw))),
                        // As JSON: TOML has no word for null, and numbers of its own.
                        args => out.push_str(&format!("json_args = {}\n", quoted(&args.to_string()))),
                    }
                }
            }
        }
    }
    out
}

/// A TOML string; a multi-line one stays readable.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::model::Price;
    use contract::{Kind, model::Model};

    #[test]
    fn a_script_made_of_turns_is_read_as_those_turns() {
        let said = |text: &str, args: Value| Turn::Said {
            text: text.into(),
            calls: vec![("write".into(), args)],
            stop: Stop::ToolUse,
            usage: Usage { input: 10, output: 3, cache_read: 5, ..Usage::default() },
        };
        let odd = "{{last}} \"quotes\" \u{27}\u{27}\u{27}three \\ back\n\u{7f}\u{1} \u{1f600}";
        let turns = [
            said(odd, serde_json::json!({"path": "a", "n": null, "deep": [1, 2.5, {"x": odd}]})),
            Turn::Failed(Fault {
                retry_after_ms: Some(20),
                ..Fault::new(Kind::RateLimited, "slow", "too fast")
            }),
            said("", Value::String("not { json".into())),
        ];
        let price = Price { input: 3_000_000_001, output: 15_000_000_000, ..Price::default() };
        let card = Card { context_tokens: 1_000, output_tokens: 100, price: Some(price) };
        let text = script(Some(card), &turns);
        let read = providers::Script::parse(&text, "it").unwrap_or_else(|fault| panic!("{fault}\n{text}"));
        assert_eq!(read.card(), card);
        let (_, turns) = providers::script::format::parse(&text, "it").unwrap();
        assert_eq!(turns[0].text, odd);
        assert!(turns[0].literal);
        assert_eq!(turns[0].calls[0].args["deep"][2]["x"], odd);
        assert_eq!(turns[0].calls[0].args["n"], Value::Null);
        assert_eq!(turns[1].error.as_ref().unwrap().retry_after_ms, Some(20));
        assert_eq!(turns[2].calls[0].args, "not { json");
    }
}
