//! What is measured and told, through the binary: expositions, fingerprints.
//!
//! Start at the first test.

use crate::daemon::Daemon;
use crate::models::{configured, server, with_key};
use crate::world::{DONE, Ended, World, call, fixes, until};
use serde_json::{Value, json};

/// The value of this line of an exposition.
#[track_caller]
fn value(page: &str, row: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{row} is not in\n{page}")).parse().unwrap()
}

/// Every line is a comment or a sample, samples stand below their type, and nothing stands twice.
#[track_caller]
fn well_formed(page: &str) {
    let (mut family, mut seen) = (String::new(), std::collections::BTreeSet::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (row, value) = line.rsplit_once(' ').unwrap();
        let name = row.split('{').next().unwrap();
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(base == family || name == family, "{line} stands below {family}");
        assert!(value.parse::<f64>().is_ok() && seen.insert(row.to_owned()), "{line}");
    }
}

fn metrics(world: &World) -> String {
    let page = world.run(&["metrics"]).expect(0).out;
    well_formed(&page);
    page
}

#[test]
fn a_store_that_is_not_there_yet_has_metrics_too() {
    let world = World::new();
    let page = metrics(&world);
    assert_eq!(value(&page, "kapell_sessions{state=\"running\"}"), 0.0);
    assert!(!world.path("kapell/data/kapell.db").exists(), "looking makes nothing");
}

#[test]
fn one_run_is_counted_to_the_token_and_the_cent() {
    let (world, server) = (World::new(), server());
    configured(&world, "anthropic", &server.url());
    with_key(&world, &["run", "-m", "ours/m", "--max-budget-usd", "1", "make the test pass"]).expect(0);
    let page = metrics(&world);
    for (row, wanted) in [
        ("kapell_sessions{state=\"completed\"}", 1.0),
        ("kapell_sessions_opened_total", 1.0),
        ("kapell_sessions_ended_total{state=\"completed\",code=\"0\"}", 1.0),
        ("kapell_model_calls_total{model=\"ours/m\",outcome=\"done\"}", 2.0),
        ("kapell_model_call_seconds_count{model=\"ours/m\"}", 2.0),
        ("kapell_model_tokens_total{model=\"ours/m\",type=\"input\"}", 3_000.0),
        ("kapell_model_tokens_total{model=\"ours/m\",type=\"output\"}", 150.0),
        ("kapell_spent_usd_total{model=\"ours/m\"}", 0.01125),
        ("kapell_tool_calls_total{tool=\"write\",outcome=\"ok\"}", 1.0),
        ("kapell_verdicts_total{verdict=\"confirmed\"}", 1.0),
        ("kapell_budget_reserved_usd", 0.0),
        ("kapell_streams_damaged", 0.0),
    ] {
        assert_eq!(value(&page, row), wanted, "{row}");
    }
    let quota = page.lines().find(|line| line.starts_with("kapell_provider_breaker_state{")).unwrap();
    assert!(quota.contains("quota=\"ours/") && quota.ends_with(" 0"), "{quota}");
    let json: Value = world.run(&["metrics", "--json"]).expect(0).json();
    let rows = json["metrics"].as_array().unwrap();
    let spent = rows.iter().find(|row| row["name"] == "kapell_spent_usd_total").unwrap();
    assert_eq!((&spent["labels"]["model"], &spent["value"]), (&"ours/m".into(), &0.01125.into()));
}

#[test]
fn what_waits_for_a_person_is_seen_and_hostile_names_stay_one_line() {
    let world = World::new();
    let turns = format!("{}{}", call("no\\n\\\"such{}", "x = 1"), call("ask", "question = \"Which?\""));
    let model = world.script("asks", &format!("{turns}{DONE}"));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(8);
    let page = metrics(&world);
    assert_eq!(value(&page, "kapell_sessions{state=\"waiting\"}"), 1.0);
    assert_eq!(value(&page, "kapell_sessions_waiting{for=\"answer\"}"), 1.0);
    assert!(value(&page, "kapell_needs_you_seconds") > 0.0);
    assert!(!page.contains(world.path("asks.toml").to_str().unwrap()), "paths of scripts stay here");
    assert!(page.contains("model=\"builtin/script\""));
}

#[test]
fn a_daemon_tells_the_same_and_what_only_it_knows() {
    let world = World::new();
    world.run(&["run", "-m", &world.script("well", &fixes()), "make the test pass"]).expect(0);
    let mut daemon = Daemon::start(&world, &[]);
    let answer = daemon.ask("GET /metrics", &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    well_formed(&answer.body);
    assert_eq!(value(&answer.body, "kapell_sessions{state=\"completed\"}"), 1.0);
    assert!(value(&answer.body, "process_resident_memory_bytes") > 1e6);
    assert!(value(&answer.body, "process_open_fds") > 3.0);
    assert!(value(&answer.body, "kapell_journal_commit_seconds_count") >= 0.0);
    until("the first point is there", || {
        daemon.get("/v1/metrics/series?name=kapell_sessions")["series"] != json!([])
    });
    let series = daemon.get("/v1/metrics/series?name=kapell_sess*&step_ms=10000");
    let rows = series["series"].as_array().unwrap();
    let completed = rows.iter().find(|row| row["labels"]["state"] == "completed").unwrap();
    assert_eq!(completed["points"].as_array().unwrap().last(), Some(&json!(1)));
    assert_eq!(daemon.ask("GET /v1/metrics/series?since=noon", &[], "").status, 422);
    assert_eq!(daemon.end(), Some(0));
}

fn errors(world: &World) -> Ended {
    world.run(&["errors", "--json"]).expect(0)
}

#[test]
fn what_failed_twice_has_one_fingerprint_with_first_and_last() {
    let world = World::new();
    world.run(&["run", "-m", &world.script("well", &fixes()), "make the test pass"]).expect(0);
    assert!(world.run(&["errors"]).expect(0).out.contains("nothing has failed"));
    let failing = "[[turn]]\nerror = { kind = \"permanent\", code = \"model-broke\", what = \"it broke at byte 17\" }\n";
    let again = failing.replace("17", "4711");
    for (name, turn) in [("one", failing), ("two", &*again)] {
        let ended = world.run(&["run", "-m", &world.script(name, turn), "break it"]);
        assert_ne!(ended.code, 0, "{}", ended.out);
    }
    let told = errors(&world).json();
    let mine: Vec<&Value> =
        told["errors"].as_array().unwrap().iter().filter(|one| one["code"] == "model-broke").collect();
    assert_eq!(mine.len(), 1, "{told:#}");
    assert_eq!(
        (&mine[0]["what"], mine[0]["sessions"].as_array().unwrap().len()),
        (&"it broke at byte #".into(), 2)
    );
    assert!(mine[0]["first"].as_str() < mine[0]["last"].as_str(), "{told:#}");
    let count = mine[0]["count"].as_u64().unwrap();
    let page = metrics(&world);
    assert_eq!(value(&page, "kapell_faults_total{kind=\"permanent\",code=\"model-broke\"}"), count as f64);
    let last = mine[0]["sessions"][1].as_str().unwrap();
    let only = world.run(&["errors", "--session", last]).expect(0).out;
    assert!(only.contains("model-broke") && only.contains("permanent"), "{only}");
}
