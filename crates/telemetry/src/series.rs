//! The values of the last day, for charts: one point every ten seconds, in memory only.
//!
//! Knows sheets. Start at [`Series::tick`] and [`Series::query`].

use crate::metric::{ALL, Metric};
use crate::prometheus::decimal;
use crate::sheet::{Row, Sheet};
use contract::Timestamp;
use serde_json::{Map, Number, Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Between two points, milliseconds.
pub const STEP_MS: u64 = 10_000;
/// Points that are kept: a day of them.
const POINTS: usize = 8_640;
/// Series that are kept; others that come later are left out.
const SERIES: usize = 256;
/// Points of one series that an answer holds at most.
const ANSWER: u64 = 2_000;

/// Whose values: the name, what it ends in (of histograms `_sum` and `_count`), and the labels.
type Key = (&'static str, &'static str, Vec<String>);

struct Line {
    metric: &'static Metric,
    /// Units kept in one that is shown.
    per: u64,
    points: VecDeque<Option<u64>>,
}

/// Values over time.
#[derive(Default)]
pub struct Series {
    lines: BTreeMap<Key, Line>,
    /// Moment of the newest point, a multiple of [`STEP_MS`].
    newest: u64,
    points: usize,
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Series").field("lines", &self.lines.len()).field("points", &self.points).finish()
    }
}

impl Series {
    /// Is the next point due?
    pub fn is_due(&self, now: Timestamp) -> bool {
        now.0 / STEP_MS > self.newest / STEP_MS
    }

    /// Keeps the values of this moment. Steps that were missed (the machine slept) have no value; a clock that was
    /// set back adds nothing until it is there again.
    pub fn tick(&mut self, now: Timestamp, sheet: &Sheet) {
        if !self.is_due(now) {
            return;
        }
        let at = now.0 / STEP_MS * STEP_MS;
        let steps = if self.points == 0 { 1 } else { (at - self.newest) / STEP_MS };
        let missed = usize::try_from(steps - 1).unwrap_or(POINTS).min(POINTS);
        self.newest = at;
        let before = (self.points + missed).min(POINTS - 1);
        for line in self.lines.values_mut() {
            line.points.extend(std::iter::repeat_n(None, missed + 1));
        }
        for metric in ALL {
            for (labels, row) in sheet.rows(metric) {
                match row {
                    Row::Number(n) => {
                        self.point((metric.name, "", labels.to_vec()), metric, metric.per, *n, before)
                    }
                    Row::Buckets { counts, sum } => {
                        let count = counts.iter().fold(0, |all: u64, n| all.saturating_add(*n));
                        self.point((metric.name, "_count", labels.to_vec()), metric, 1, count, before);
                        self.point((metric.name, "_sum", labels.to_vec()), metric, metric.per, *sum, before);
                    }
                }
            }
        }
        self.points = before + 1;
        for line in self.lines.values_mut() {
            line.points.drain(..line.points.len().saturating_sub(self.points));
        }
    }

    fn point(&mut self, key: Key, metric: &'static Metric, per: u64, n: u64, before: usize) {
        if !self.lines.contains_key(&key) && self.lines.len() >= SERIES {
            return;
        }
        let new = || Line { metric, per, points: std::iter::repeat_n(None, before + 1).collect() };
        if let Some(last) = self.lines.entry(key).or_insert_with(new).points.back_mut() {
            *last = Some(n);
        }
    }

    /// The series whose name is this one (or begins so, with `*` at its end; without it: all), from this moment on, a
    /// point for each step: `{"step_ms","from","series":[{"name","labels","unit","points"}]}`. The step becomes a
    /// multiple of ten seconds, and so long that no series has more than 2000 points; each point is the last value in it.
    pub fn query(&self, name: Option<&str>, since: Timestamp, step_ms: u64) -> Value {
        let points = self.points as u64;
        let first = (self.newest + STEP_MS).saturating_sub(points * STEP_MS);
        let from = (since.0 / STEP_MS * STEP_MS).clamp(first, self.newest + STEP_MS);
        let span = (self.newest + STEP_MS - from) / STEP_MS;
        let every = (step_ms / STEP_MS).max(1).max(span.div_ceil(ANSWER));
        let skip = usize::try_from((from - first) / STEP_MS).unwrap_or(usize::MAX);
        let fits = |whole: &str| match name.map(|name| (name, name.strip_suffix('*'))) {
            None => true,
            Some((_, Some(start))) => whole.starts_with(start),
            Some((name, None)) => whole == name,
        };
        let lines =
            self.lines.iter().map(|((name, end, labels), line)| (format!("{name}{end}"), labels, line));
        let told = lines.filter(|(name, ..)| fits(name)).map(|(name, labels, line)| {
            let points: Vec<Option<u64>> = line.points.iter().skip(skip).copied().collect();
            let every = usize::try_from(every).unwrap_or(usize::MAX);
            let last = |chunk: &[Option<u64>]| chunk.iter().rev().flatten().next().copied();
            let points: Vec<Value> = points
                .chunks(every)
                .map(|chunk| last(chunk).map_or(Value::Null, |n| shown(n, line.per)))
                .collect();
            let names = line.metric.labels.iter().map(|name| (*name).to_owned());
            let labels: Map<String, Value> = names.zip(labels.iter().map(|label| json!(label))).collect();
            json!({"name": name, "labels": labels, "unit": unit(&name), "points": points})
        });
        let series: Vec<Value> = told.collect();
        json!({"step_ms": every * STEP_MS, "from": Timestamp(from).to_string(), "series": series})
    }
}

/// A kept value as a JSON number.
pub fn shown(n: u64, per: u64) -> Value {
    decimal(n, per).parse::<Number>().map_or(Value::Null, Value::Number)
}

/// The unit, as the name says it.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total").trim_end_matches("_sum");
    match name.rsplit('_').next() {
        _ if name.ends_with("_count") => "",
        Some("seconds") => "s",
        Some("usd") => "usd",
        Some("bytes") => "B",
        Some("ratio") => "1",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{OPENED, SPENT};

    fn at(sheet: &mut Sheet, n: u64) -> &Sheet {
        sheet.set(&OPENED, &[], n);
        sheet
    }

    fn points(series: &Series, since: u64, step_ms: u64) -> Value {
        series.query(Some(OPENED.name), Timestamp(since), step_ms)["series"][0]["points"].clone()
    }

    #[test]
    fn a_point_for_each_step_and_none_where_nobody_looked() {
        let (mut series, mut sheet) = (Series::default(), Sheet::default());
        for (ms, n) in [(20_000, 1), (30_500, 2), (31_000, 9), (60_000, 5), (1_000, 7)] {
            series.tick(Timestamp(ms), at(&mut sheet, n));
        }
        assert_eq!(points(&series, 0, 0), json!([1, 2, null, null, 5]));
        assert_eq!(points(&series, 30_000, 20_000), json!([2, 5]), "the last in each step");
        assert_eq!(points(&series, 60_000, 0), json!([5]));
        sheet.set(&SPENT, &["a/b"], 1_500_000_000);
        series.tick(Timestamp(70_000), at(&mut sheet, 6));
        let all = series.query(Some("kapell_s*"), Timestamp(0), 0);
        assert_eq!(all["series"].as_array().unwrap().len(), 2);
        let spent = &all["series"][1];
        assert_eq!(spent["points"], json!([null, null, null, null, null, 1.5]));
        assert_eq!((&spent["labels"], &spent["unit"]), (&json!({"model": "a/b"}), &json!("usd")));
    }

    #[test]
    fn a_day_and_so_many_series_are_kept_and_an_answer_is_bounded() {
        let (mut series, mut sheet) = (Series::default(), Sheet::default());
        for n in 1..=POINTS as u64 + 50 {
            series.tick(Timestamp(n * STEP_MS), at(&mut sheet, n));
        }
        let answer = series.query(Some(OPENED.name), Timestamp(0), 0);
        assert_eq!(series.lines.values().next().unwrap().points.len(), POINTS);
        assert!(answer["series"][0]["points"].as_array().unwrap().len() as u64 <= ANSWER);
        assert_eq!(points(&series, u64::MAX, 0), json!([]));
        series.tick(Timestamp(u64::MAX), at(&mut sheet, 1));
        assert_eq!(series.lines.values().next().unwrap().points.len(), POINTS, "after a very long sleep");
    }
}
