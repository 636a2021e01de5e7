//! Dashboard and alert rules name measures and labels that there are; every measure is on the dashboard or in a rule.
//!
//! Reads `deploy/` as text. Start at [`named`].

use serde_json::Value;
use std::collections::BTreeSet;
use telemetry::metric::{ALL, Kind, Metric};

const RULES: &str = include_str!("../../../deploy/alerts.yml");
const TESTS: &str = include_str!("../../../deploy/alerts_test.yml");
const BOARD: &str = include_str!("../../../deploy/dashboard.json");

/// The measure that a series of this name belongs to.
fn measure(series: &str) -> Option<&'static Metric> {
    let plain = ALL.iter().find(|metric| metric.name == series && metric.kind != Kind::Histogram);
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
    let histogram =
        |name: &str| ALL.iter().find(|metric| metric.name == name && metric.kind == Kind::Histogram);
    plain.or_else(|| histogram(base?)).copied()
}

/// Every series in a text, with the labels that its braces ask for.
fn named(text: &str) -> Vec<(String, Vec<String>)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut all = Vec::new();
    for start in ["kapell_", "process_"] {
        for (at, _) in text.match_indices(start) {
            if text[..at].ends_with(word) {
                continue;
            }
            let rest = &text[at..];
            let name: String = rest.chars().take_while(|c| word(*c)).collect();
            let inside = rest[name.len()..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
            let pairs = inside.map_or("", |(inside, _)| inside).split(',');
            let labels = pairs
                .filter_map(|pair| pair.split_once(['=', '!']))
                .map(|(label, _)| label.trim().to_owned());
            all.push((name, labels.collect()));
        }
    }
    all
}

/// The expressions of the dashboard.
fn expressions() -> Vec<String> {
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_named_is_measured_and_has_those_labels() {
    let texts = expressions().into_iter().chain([RULES.to_owned(), TESTS.to_owned()]);
    let mut seen = 0;
    for text in texts {
        for (name, labels) in named(&text) {
            let metric = measure(&name).unwrap_or_else(|| panic!("nothing is called {name}: {text}"));
            for label in labels {
                let given = label == "job" || label == "le" && metric.kind == Kind::Histogram;
                assert!(
                    given || metric.labels.contains(&label.as_str()),
                    "{name} has no label {label}: {text}"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} were found");
}

#[test]
fn every_measure_is_shown_or_watched() {
    let text = expressions().join("\n") + RULES;
    let named: BTreeSet<&str> =
        named(&text).iter().filter_map(|(name, _)| Some(measure(name)?.name)).collect();
    let left: Vec<&str> = ALL.iter().map(|metric| metric.name).filter(|name| !named.contains(name)).collect();
    assert!(left.is_empty(), "nobody looks at {left:?}");
}

#[test]
fn every_rule_has_a_test_that_lets_it_fire() {
    let names = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        let firing = TESTS.contains(&format!("alertname=\"{name}\",alertstate=\"firing\"}}"));
        assert!(firing || TESTS.contains(&format!("alertname: {name}\n")), "{name} is never seen to fire");
    }
}
