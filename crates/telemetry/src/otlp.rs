//! OpenTelemetry: what sessions did as spans, and measures, in OTLP's JSON (opentelemetry.io/docs/specs/otlp, proto 1.x).
//!
//! Ids are ours: a trace is a tree of sessions, its id that of the root. Nothing of prompts, arguments, outputs or goals is in
//! it. Knows no client. Start at [`trace::Tracer`] and [`metrics`].

pub mod trace;

use crate::metric::{ALL, CALL_TIME, Kind, Metric};
use crate::sheet::{Row, Sheet};
use contract::Timestamp;
use serde_json::{Value, json};

/// Nanoseconds in a millisecond.
const NS: u64 = 1_000_000;

/// An attribute that is a text.
fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// An attribute that is a whole number. OTLP's JSON writes those as texts.
fn number(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn flag(key: &str, value: bool) -> Value {
    json!({"key": key, "value": {"boolValue": value}})
}

/// Who tells: the program, its version, and nothing of the machine.
fn resource(version: &str) -> Value {
    json!({"attributes": [text("service.name", "kapell"), text("service.version", version)]})
}

fn scope(version: &str) -> Value {
    json!({"name": "kapell", "version": version})
}

fn nanos(at: Timestamp) -> String {
    at.0.saturating_mul(NS).to_string()
}

/// A number as OTLP's JSON has doubles.
fn double(n: u64, per: u64) -> Value {
    crate::series::shown(n, per)
}

/// The provider in a model's id.
fn provider(model: &str) -> &str {
    model.split('/').next().unwrap_or(model)
}

/// A request with every measure of this sheet, to be posted to `/v1/metrics`. Names are those of Prometheus; model calls
/// besides as `gen_ai.client.operation.duration`, as the conventions have them.
pub fn metrics(sheet: &Sheet, now: Timestamp, version: &str) -> Value {
    let mut all = Vec::new();
    for metric in ALL {
        let points: Vec<Value> = sheet.rows(metric).map(|row| point(metric, row, now, None)).collect();
        if !points.is_empty() {
            all.push(one(metric.name, metric, points));
        }
    }
    let calls: Vec<Value> = sheet
        .rows(&CALL_TIME)
        .map(|(labels, row)| {
            let model = labels.first().map_or("", String::as_str);
            let attributes = json!([
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.provider.name", provider(model)),
                text("gen_ai.request.model", model.split_once('/').map_or(model, |(_, name)| name)),
            ]);
            point(&CALL_TIME, (labels, row), now, Some(attributes))
        })
        .collect();
    if !calls.is_empty() {
        all.push(one("gen_ai.client.operation.duration", &CALL_TIME, calls));
    }
    json!({"resourceMetrics": [{
        "resource": resource(version),
        "scopeMetrics": [{"scope": scope(version), "metrics": all}],
    }]})
}

fn one(name: &str, metric: &Metric, points: Vec<Value>) -> Value {
    let unit = match name {
        _ if name.ends_with("_seconds") || name.ends_with("_seconds_total") || name.starts_with("gen_ai") => {
            "s"
        }
        _ if name.ends_with("_bytes") => "By",
        _ if name.contains("_usd") => "USD",
        _ => "1",
    };
    let mut told = json!({"name": name, "description": metric.help, "unit": unit});
    // 2 = cumulative.
    match metric.kind {
        Kind::Counter => {
            told["sum"] = json!({"dataPoints": points, "aggregationTemporality": 2, "isMonotonic": true});
        }
        Kind::Gauge => told["gauge"] = json!({"dataPoints": points}),
        Kind::Histogram => told["histogram"] = json!({"dataPoints": points, "aggregationTemporality": 2}),
    }
    told
}

fn point(
    metric: &Metric,
    (labels, row): (&[String], &Row),
    now: Timestamp,
    attributes: Option<Value>,
) -> Value {
    let own = || metric.labels.iter().zip(labels).map(|(name, value)| text(name, value)).collect();
    let attributes = attributes.unwrap_or_else(|| Value::Array(own()));
    let mut told = json!({"timeUnixNano": nanos(now), "attributes": attributes});
    match row {
        Row::Number(n) if metric.per == 1 => told["asInt"] = n.to_string().into(),
        Row::Number(n) => told["asDouble"] = double(*n, metric.per),
        Row::Buckets { counts, sum } => {
            let all = counts.iter().fold(0_u64, |all, n| all.saturating_add(*n));
            let bounds: Vec<Value> = metric.bounds.iter().map(|bound| double(*bound, metric.per)).collect();
            told["count"] = all.to_string().into();
            told["sum"] = double(*sum, metric.per);
            told["explicitBounds"] = bounds.into();
            told["bucketCounts"] =
                counts.iter().map(|n| Value::from(n.to_string())).collect::<Vec<Value>>().into();
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{SPENT, TOOLS};

    #[test]
    fn measures_are_sums_gauges_and_histograms_as_the_protocol_wants_them() {
        let mut sheet = Sheet::default();
        sheet.add(&TOOLS, &["shell", "ok"], 2);
        sheet.add(&SPENT, &["acme/x"], 1_500_000_000);
        sheet.observe(&CALL_TIME, &["acme/x"], 7);
        let told = metrics(&sheet, Timestamp(5), "1.2.3");
        let all = told["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
        let named = |name: &str| all.iter().find(|one| one["name"] == name).unwrap();
        let tools = &named("kapell_tool_calls_total")["sum"];
        assert_eq!((&tools["isMonotonic"], &tools["dataPoints"][0]["asInt"]), (&json!(true), &json!("2")));
        assert_eq!(tools["dataPoints"][0]["timeUnixNano"], "5000000");
        assert_eq!(named("kapell_spent_usd_total")["sum"]["dataPoints"][0]["asDouble"], 1.5);
        let calls = &named("gen_ai.client.operation.duration")["histogram"]["dataPoints"][0];
        assert_eq!((&calls["count"], &calls["sum"]), (&json!("1"), &json!(0.007)));
        let (bounds, counts) =
            (calls["explicitBounds"].as_array().unwrap(), calls["bucketCounts"].as_array().unwrap());
        assert_eq!(bounds.len() + 1, counts.len());
        assert_eq!(calls["attributes"][1], text("gen_ai.provider.name", "acme"));
    }
}
