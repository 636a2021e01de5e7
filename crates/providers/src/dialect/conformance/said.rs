//! What comes out of the streams: one table for all dialects.

use super::*;
use crate::dialect::fault::refused;
use contract::error::CONTEXT_FULL;
use contract::model::{Stop, Usage};
use contract::{Kind, Timestamp};
use serde_json::Value;
use std::collections::HashSet;

struct Said {
    case: &'static str,
    text: &'static str,
    calls: Vec<(&'static str, Value)>,
    stop: Stop,
    /// The provider told what it cost.
    counted: bool,
}

/// The record of every case that ends well, whoever said it.
fn table() -> Vec<Said> {
    let said = |case, text, calls: &[(&'static str, Value)], stop| Said {
        case,
        text,
        calls: calls.to_vec(),
        stop,
        counted: !matches!(case, "no-usage" | "odd-usage"),
    };
    let read = |path: &str| ("read", json!({ "path": path }));
    vec![
        said("text", "Hello, world.", &[], Stop::EndTurn),
        said("no-usage", "Hello, world.", &[], Stop::EndTurn),
        said("odd-usage", "Hello, world.", &[], Stop::EndTurn),
        said("unicode", "Příliš žluťoučký kůň 🐎 — 日本語 ü\n", &[], Stop::EndTurn),
        said("tool", "Let me look.", &[read("src/lib.rs")], Stop::ToolUse),
        said(
            "parallel",
            "",
            &[read("a.rs"), ("list", json!({"path": "src", "depth": 2})), read("é \"q\" \\ \n.rs")],
            Stop::ToolUse,
        ),
        said("thinking", "Forty-two.", &[], Stop::EndTurn),
        said("thinking-tool", "I read it.", &[read("a.rs"), read("b.rs")], Stop::ToolUse),
        said("no-arguments", "", &[("status", json!({}))], Stop::ToolUse),
        said("empty", "", &[], Stop::EndTurn),
        said("long", "Once upona time", &[], Stop::MaxTokens),
        said("malformed", "", &[("read", json!(r#"{"path": src/lib.rs}"#))], Stop::ToolUse),
        said("duplicate-ids", "", &[read("a"), read("b")], Stop::ToolUse),
        said("refusal", "I cannot.", &[], Stop::Refusal),
    ]
}

/// What the calls in the streams cost: those who tell of a cache had 40 of the 100 tokens in it.
fn cost(row: &Row) -> Usage {
    let caches = ["anthropic", "responses", "gemini", "openai", "openrouter", "deepseek"].contains(&row.name);
    let cache_read = if caches { 40 } else { 0 };
    Usage { input: 100 - cache_read, output: 20, cache_read, ..Usage::default() }
}

#[test]
fn the_same_is_said_whoever_says_it() {
    for row in rows() {
        for said in table() {
            let place = format!("{} {}", row.name, said.case);
            let said = match (row.name, said.case) {
                // It tells what it could not read in words of its own: they stand for the arguments.
                ("gemini", "malformed") => {
                    let told = json!("Malformed function call: print(default_api.read(path=src/lib.rs))");
                    Said { calls: vec![("read", told)], ..said }
                }
                _ => said,
            };
            let (shown, reply) = decoded(&row, &events(&stream(&row, said.case)));
            let reply = reply.unwrap_or_else(|broken| panic!("{place}: {}", broken.fault));
            let calls: Vec<(&str, Value)> =
                reply.calls.iter().map(|call| (call.tool.as_str(), call.args.clone())).collect();
            assert_eq!(
                (reply.text.as_str(), &calls, reply.stop),
                (said.text, &said.calls, said.stop),
                "{place}"
            );
            assert_eq!(shown, reply.text, "{place}: what was shown");
            let ids: HashSet<&str> = reply.calls.iter().map(|call| call.id.as_str()).collect();
            assert_eq!(ids.len(), reply.calls.len(), "{place}: {ids:?}");
            assert!(!ids.contains(""), "{place}");
            assert_eq!(reply.request_id, "req-1", "{place}");
            let cost = cost(&row);
            if said.counted {
                assert_eq!(reply.usage, cost, "{place}");
            } else {
                let bounded = reply.usage.given() >= "go".len() as u64 && reply.usage.output >= 3;
                assert!(reply.usage.estimated && bounded, "{place}: {:?}", reply.usage);
            }
        }
    }
}

#[test]
fn a_failure_inside_a_stream_keeps_what_was_said() {
    for row in rows() {
        let broken = reply(&row, "failed").expect_err(row.name);
        assert_eq!((broken.text.as_str(), broken.fault.kind), ("Hello, ", Kind::Degraded), "{}", row.name);
        let usage = broken.usage.expect("bounded");
        assert!(usage.estimated && usage.output >= 2 && usage.given() > 0, "{}: {usage:?}", row.name);
    }
}

/// Thoughts are kept where the producer gives them and wants them back.
#[test]
fn thoughts_are_kept_for_their_producer() {
    for row in rows() {
        let private = reply(&row, "thinking-tool").expect(row.name).private;
        let keeps = !["openai", "lm-studio"].contains(&row.name);
        assert_eq!(private.is_some(), keeps, "{}", row.name);
        if let Some(private) = private {
            assert_eq!(private.producer, row.options().id);
            assert!(private.blocks.to_string().contains("PRIVATE"), "{}", row.name);
        }
        let plain = reply(&row, "tool").expect(row.name).private;
        // Gemini signs calls, thought or not.
        assert_eq!(plain.is_some(), row.name == "gemini", "{}: {plain:?}", row.name);
    }
}

#[test]
fn refusals_before_the_stream_have_their_kind() {
    for row in rows() {
        let refusal = |case: &str| {
            let text = String::from_utf8(file(&row, case, "http")).expect("text");
            let (status, body) = text.split_once('\n').expect("a status in the first line");
            let status = status.parse().expect("a status");
            refused(&row.options(), status, &Headers::default(), body.as_bytes(), Timestamp::default())
        };
        let overflow = refusal("overflow");
        assert_eq!((overflow.kind, overflow.code.as_str()), (Kind::Permanent, CONTEXT_FULL), "{}", row.name);
        let limited = refusal("limited");
        assert_eq!(
            (limited.kind, limited.code.as_str()),
            (Kind::RateLimited, "rate-limited"),
            "{}",
            row.name
        );
        assert_eq!(limited.retry_after_ms, (row.name == "gemini").then_some(34_075), "{}", row.name);
        let key = refusal("key");
        assert_eq!((key.kind, key.code.as_str()), (Kind::UserFixable, "key-refused"), "{}", row.name);
    }
}

#[test]
fn a_blocked_prompt_is_a_refusal() {
    let row = rows().into_iter().find(|row| row.name == "gemini").expect("a row");
    let reply = reply(&row, "blocked").expect("a reply");
    assert_eq!((reply.stop, reply.text.as_str(), reply.usage.input), (Stop::Refusal, "", 60));
}

/// What is new, and what keeps a connection open, means nothing.
#[test]
fn unknown_events_and_fields_change_nothing() {
    for row in rows() {
        for case in CASES {
            let plain = stream(&row, case);
            let text = String::from_utf8(plain.clone()).expect("text");
            let news = "event: tidings\ndata: {\"type\":\"tidings.new\",\"n\":[{}]}\n\n";
            let mut noisy = String::from(": hello\n\nretry: 3\n\n");
            for (at, line) in text.split_inclusive('\n').enumerate() {
                noisy.push_str(&line.replace("data: {", "data: {\"novelty\":{\"a\":[null]},"));
                if line.trim().is_empty() {
                    noisy.push_str(if at % 2 == 0 { ": ping\n\n" } else { news });
                }
            }
            assert_eq!(
                decoded(&row, &events(noisy.as_bytes())),
                decoded(&row, &events(&plain)),
                "{} {case}",
                row.name
            );
        }
    }
}

/// Events with nothing but a piece of text are read a shorter way, which no event goes that says a thing twice.
#[test]
fn the_short_way_reads_what_the_long_way_reads() {
    let twice = |mut event: Event| {
        if let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(&event.data) {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            event.data = format!("{{{0},{0}}}", fields.join(","));
        }
        event
    };
    for row in rows() {
        for case in CASES {
            let short = events(&stream(&row, case));
            let long = short.iter().cloned().map(twice).collect::<Vec<_>>();
            assert_eq!(decoded(&row, &short), decoded(&row, &long), "{} {case}", row.name);
        }
    }
}
