//! Tools that print a record per line: cargo, rustc and libtest, `go test -json`, eslint.
//!
//! Knows records, no text. Start at [`rust`].

use crate::rules::{Found, severity};
use contract::found::{Ending, Finding, Severity, TestEnd};
use serde_json::Value;

/// Bytes of a message that are kept.
const MESSAGE_BYTES: usize = 400;

/// A compiler's message, by cargo or bare; a test of libtest. `false`: none of these.
pub(super) fn rust(record: &Value, at: u64, found: &mut dyn Found) -> bool {
    if record["reason"] == "compiler-message" {
        return diagnostic(&record["message"], at, found);
    }
    if record["$message_type"] == "diagnostic" {
        return diagnostic(record, at, found);
    }
    if record["type"] == "test" && record["name"].is_string() {
        let ending = match record["event"].as_str() {
            Some("ok") => Ending::Passed,
            Some("failed" | "timeout") => Ending::Failed,
            Some("ignored") => Ending::Skipped,
            _ => return true,
        };
        found.test(TestEnd {
            tool: "cargo".into(),
            name: text(&record["name"]),
            ending,
            ms: millis(&record["exec_time"]),
            at,
        });
        return true;
    }
    record["reason"].is_string()
}

fn diagnostic(message: &Value, at: u64, found: &mut dyn Found) -> bool {
    let Some(severity) = message["level"].as_str().and_then(severity) else { return true };
    let spans = message["spans"].as_array();
    let span = spans.and_then(|spans| spans.iter().find(|span| span["is_primary"] == true));
    let said = text(&message["message"]);
    // Its last words, not findings: how many there were.
    let sum = span.is_none() && (said.starts_with("aborting due to") || said.contains(" emitted"));
    if severity != Severity::Note && !sum {
        found.finding(Finding {
            tool: "cargo".into(),
            severity,
            file: span.map(|span| text(&span["file_name"])),
            line: span.and_then(|span| number(&span["line_start"])),
            column: span.and_then(|span| number(&span["column_start"])),
            code: code(&message["code"]["code"]),
            message: said,
            at,
        });
    }
    true
}

/// An event of `go test -json` or `go build -json`.
pub(super) fn go(record: &Value, at: u64, found: &mut dyn Found) -> bool {
    let (Some(action), true) =
        (record["Action"].as_str(), record["Package"].is_string() || record["ImportPath"].is_string())
    else {
        return false;
    };
    let ending = match action {
        "pass" => Ending::Passed,
        "fail" => Ending::Failed,
        "skip" => Ending::Skipped,
        _ => return true,
    };
    if record["Test"].is_string() {
        let name = text(&record["Test"]);
        found.test(TestEnd { tool: "go".into(), name, ending, ms: millis(&record["Elapsed"]), at });
    }
    true
}

/// The whole of `eslint --format json`, which is one line.
pub(super) fn eslint(record: &Value, at: u64, found: &mut dyn Found) -> bool {
    let Some(files) =
        record.as_array().filter(|files| files.first().is_some_and(|file| file["filePath"].is_string()))
    else {
        return false;
    };
    for file in files {
        for message in file["messages"].as_array().into_iter().flatten() {
            found.finding(Finding {
                tool: "eslint".into(),
                severity: if message["severity"] == 2 { Severity::Error } else { Severity::Warning },
                file: Some(text(&file["filePath"])),
                line: number(&message["line"]),
                column: number(&message["column"]),
                code: code(&message["ruleId"]),
                message: text(&message["message"]),
                at,
            });
        }
    }
    true
}

fn text(value: &Value) -> String {
    let text = contract::text::clean(value.as_str().unwrap_or_default());
    text[..text.floor_char_boundary(MESSAGE_BYTES)].to_owned()
}

fn code(value: &Value) -> Option<String> {
    value.is_string().then(|| text(value))
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}

/// Seconds with a fraction, as milliseconds.
fn millis(seconds: &Value) -> Option<u64> {
    let seconds = seconds.as_f64().filter(|seconds| (0.0..1e12).contains(seconds))?;
    Some((seconds * 1000.0).round() as u64)
}
