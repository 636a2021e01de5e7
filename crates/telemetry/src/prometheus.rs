//! The text format of Prometheus, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
//!
//! Knows sheets, not where their values come from. Start at [`text`].

use crate::metric::{ALL, Metric};
use crate::sheet::{Row, Sheet};
use std::fmt::Write as _;

/// What an answer with such a text is called.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything in this sheet. Counters and gauges are exact: no value goes through a float.
pub fn text(sheet: &Sheet) -> String {
    let mut out = String::new();
    for metric in ALL {
        let mut rows = sheet.rows(metric).peekable();
        if rows.peek().is_none() {
            continue;
        }
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {} {}", metric.name, help(metric.help));
        let _ = writeln!(out, "# TYPE {} {}", metric.name, metric.kind.name());
        rows.for_each(|(labels, row)| line(&mut out, metric, labels, row));
    }
    out
}

fn line(out: &mut String, metric: &Metric, labels: &[String], row: &Row) {
    let name = metric.name;
    let pairs: Vec<String> = metric
        .labels
        .iter()
        .zip(labels)
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    let within = |pairs: &[String]| match pairs {
        [] => String::new(),
        pairs => format!("{{{}}}", pairs.join(",")),
    };
    match row {
        Row::Number(n) => {
            let _ = writeln!(out, "{name}{} {}", within(&pairs), decimal(*n, metric.per));
        }
        Row::Buckets { counts, sum } => {
            let mut below = 0_u64;
            let bounds = metric.bounds.iter().map(|bound| decimal(*bound, metric.per));
            for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
                below = below.saturating_add(*count);
                let pairs = [pairs.as_slice(), &[format!("le=\"{bound}\"")]].concat();
                let _ = writeln!(out, "{name}_bucket{} {below}", within(&pairs));
            }
            let _ = writeln!(out, "{name}_sum{} {}", within(&pairs), decimal(*sum, metric.per));
            let _ = writeln!(out, "{name}_count{} {below}", within(&pairs));
        }
    }
}

/// So many kept units in shown ones, of which a power of ten is `per`: as a decimal number, exactly.
pub fn decimal(n: u64, per: u64) -> String {
    let digits = per.max(1).ilog10() as usize;
    let (whole, rest) = (n / per.max(1), n % per.max(1));
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:0digits$}").trim_end_matches('0').to_owned()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn help(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{CALL_TIME, SPENT, TOOLS};

    #[test]
    fn numbers_are_exact() {
        for (n, per, text) in [
            (0, 1, "0"),
            (1_500, 1_000, "1.5"),
            (5, 1_000, "0.005"),
            (1, 1_000_000_000, "0.000000001"),
            (u64::MAX, 1, "18446744073709551615"),
            (12_000, 1_000, "12"),
        ] {
            assert_eq!(decimal(n, per), text);
        }
    }

    #[test]
    fn a_page_is_as_the_format_wants_it() {
        let mut sheet = Sheet::default();
        sheet.add(&TOOLS, &["sh\\e\"ll", "ok"], 2);
        sheet.add(&SPENT, &["a/b"], 1_250_000_000);
        sheet.observe(&CALL_TIME, &["a/b"], 7);
        sheet.observe(&CALL_TIME, &["a/b"], 3_000_000);
        let page = text(&sheet);
        for line in [
            "# TYPE kapell_tool_calls_total counter",
            "kapell_tool_calls_total{tool=\"sh\\\\e\\\"ll\",outcome=\"ok\"} 2",
            "kapell_spent_usd_total{model=\"a/b\"} 1.25",
            "kapell_model_call_seconds_bucket{model=\"a/b\",le=\"0.005\"} 0",
            "kapell_model_call_seconds_bucket{model=\"a/b\",le=\"0.01\"} 1",
            "kapell_model_call_seconds_bucket{model=\"a/b\",le=\"+Inf\"} 2",
            "kapell_model_call_seconds_sum{model=\"a/b\"} 3000.007",
            "kapell_model_call_seconds_count{model=\"a/b\"} 2",
        ] {
            assert!(page.lines().any(|it| it == line), "{line} is not in\n{page}");
        }
    }
}
