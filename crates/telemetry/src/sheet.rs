//! Values of measures, by label. However many names agents invent, a measure has a bounded number of rows.
//!
//! Integers only; knows no record and no wire format. Start at [`Sheet`].

use crate::metric::{Metric, OVERFLOW};
use contract::text;
use std::collections::{BTreeMap, BTreeSet};

/// Values that one label of one measure may have; beyond them everything is [`OTHER`].
const VALUES: usize = 64;
/// Bytes of a label's value.
const VALUE_BYTES: usize = 96;
/// Stands for every value there is no room for.
pub const OTHER: &str = "other";

/// One row of a measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A counter's or a gauge's value, in kept units.
    Number(u64),
    /// A histogram's.
    Buckets {
        /// How many in each bucket, not those below it; the last one has no bound.
        counts: Vec<u64>,
        /// All of them together, in kept units.
        sum: u64,
    },
}

/// The rows of one measure, by the values of its labels.
#[derive(Debug, Clone, Default)]
struct Family {
    rows: BTreeMap<Vec<String>, Row>,
    /// Values seen of each label.
    values: Vec<BTreeSet<String>>,
}

/// Values of measures.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    families: BTreeMap<&'static str, Family>,
}

impl Sheet {
    /// Counts so many more.
    pub fn add(&mut self, metric: &'static Metric, labels: &[&str], n: u64) {
        if let Row::Number(value) = self.row(metric, labels) {
            *value = value.saturating_add(n);
        }
    }

    /// It is this now.
    pub fn set(&mut self, metric: &'static Metric, labels: &[&str], n: u64) {
        if let Row::Number(value) = self.row(metric, labels) {
            *value = n;
        }
    }

    /// It is this now, unless it was more.
    pub fn raise(&mut self, metric: &'static Metric, labels: &[&str], n: u64) {
        if let Row::Number(value) = self.row(metric, labels) {
            *value = n.max(*value);
        }
    }

    /// One value of a histogram.
    pub fn observe(&mut self, metric: &'static Metric, labels: &[&str], n: u64) {
        let at = metric.bounds.partition_point(|bound| *bound < n);
        if let Row::Buckets { counts, sum } = self.row(metric, labels) {
            counts[at] = counts[at].saturating_add(1);
            *sum = sum.saturating_add(n);
        }
    }

    /// A histogram that was counted elsewhere, in the same buckets.
    pub fn histogram(&mut self, metric: &'static Metric, labels: &[&str], all: &[u64], total: u64) {
        if let Row::Buckets { counts, sum } = self.row(metric, labels) {
            counts.iter_mut().zip(all).for_each(|(count, n)| *count = *n);
            *sum = total;
        }
    }

    /// The rows of this measure, by the values of its labels.
    pub fn rows(&self, metric: &Metric) -> impl Iterator<Item = (&[String], &Row)> {
        let family = self.families.get(metric.name);
        family.into_iter().flat_map(|family| family.rows.iter().map(|(labels, row)| (labels.as_slice(), row)))
    }

    /// The number in this row, if there is one.
    pub fn number(&self, metric: &Metric, labels: &[&str]) -> Option<u64> {
        let key: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        match self.families.get(metric.name)?.rows.get(&key)? {
            Row::Number(n) => Some(*n),
            Row::Buckets { .. } => None,
        }
    }

    fn row(&mut self, metric: &'static Metric, labels: &[&str]) -> &mut Row {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let family = self.families.entry(metric.name).or_default();
        family.values.resize_with(labels.len(), BTreeSet::new);
        let mut left_out = false;
        let key: Vec<String> = family
            .values
            .iter_mut()
            .zip(labels)
            .map(|(values, value)| bounded(values, value, &mut left_out))
            .collect();
        if left_out && metric.name != OVERFLOW.name {
            self.add(&OVERFLOW, &[metric.name], 1);
        }
        let empty = || match metric.bounds {
            [] => Row::Number(0),
            bounds => Row::Buckets { counts: vec![0; bounds.len() + 1], sum: 0 },
        };
        self.families.entry(metric.name).or_default().rows.entry(key).or_insert_with(empty)
    }
}

fn bounded(values: &mut BTreeSet<String>, value: &str, left_out: &mut bool) -> String {
    let value = text::bounded(value, VALUE_BYTES).replace('\n', " ");
    if values.contains(&value) || value == OTHER {
        return value;
    }
    if values.len() >= VALUES {
        *left_out = true;
        return OTHER.to_owned();
    }
    values.insert(value.clone());
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{ACTION_TIME, TOOLS};

    #[test]
    fn however_many_names_there_are_a_measure_stays_bounded_and_counts_all() {
        let mut sheet = Sheet::default();
        for n in 0..1_000 {
            sheet.add(&TOOLS, &[&format!("tool-{n}"), "ok"], 1);
        }
        assert_eq!(sheet.rows(&TOOLS).count(), VALUES + 1);
        let all =
            sheet.rows(&TOOLS).map(|(_, row)| if let Row::Number(n) = row { *n } else { 0 }).sum::<u64>();
        assert_eq!(all, 1_000, "nothing is lost");
        assert_eq!(sheet.number(&TOOLS, &[OTHER, "ok"]), Some(1_000 - VALUES as u64));
        assert_eq!(sheet.number(&OVERFLOW, &[TOOLS.name]), Some(1_000 - VALUES as u64));
    }

    #[test]
    fn hostile_names_are_short_and_clean() {
        let mut sheet = Sheet::default();
        sheet.add(&TOOLS, &[&format!("a\u{1b}[31m\n\"{}", "x".repeat(5_000)), "ok"], 1);
        let (labels, _) = sheet.rows(&TOOLS).next().unwrap();
        assert!(labels[0].len() <= VALUE_BYTES && labels[0].starts_with("a \""), "{:?}", labels[0]);
    }

    #[test]
    fn values_fall_into_the_bucket_that_holds_them() {
        let mut sheet = Sheet::default();
        for ms in [0, 5, 6, u64::MAX] {
            sheet.observe(&ACTION_TIME, &["model"], ms);
        }
        let (_, row) = sheet.rows(&ACTION_TIME).next().unwrap();
        let Row::Buckets { counts, sum } = row else { panic!("{row:?}") };
        assert_eq!((counts[0], counts[1], *counts.last().unwrap(), *sum), (2, 1, 1, u64::MAX));
    }
}
