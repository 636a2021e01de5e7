//! Promise 5 through the binary: caps hold over processes and kills, and what was spent adds up by every axis.
//!
//! Start at [`twenty_sessions_killed_on_the_way_stay_within_the_days_cap`].

use crate::world::{Running, World, call, until};
use rustix::process::Signal;
use serde_json::Value;

/// A thousand dollars for a million tokens said, nothing for those given: a reply of 500 tokens is half a dollar.
const DEAR: &str =
    "[model]\noutput_tokens = 500\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 1000.0\n";
/// Nano-dollars that one call holds at least: 500 tokens said.
const CALL: u64 = 500_000_000;
/// Nano-dollars of five dollars.
const CAP: u64 = 5_000_000_000;

/// A model in `name` that reads a file three times, for a fifth of a dollar and `delay_ms` each time, and says that it
/// is done.
fn reader(world: &World, name: &str, delay_ms: u64) -> String {
    let usage = format!("usage = {{ input = 100, output = 200 }}\ndelay_ms = {delay_ms}\n");
    let read = call("read", "path = \"readme.txt\"").replacen("[[turn]]\n", &format!("[[turn]]\n{usage}"), 1);
    world.write(name, &format!("{DEAR}{}", read.repeat(3)));
    format!("builtin/script:{}", world.path(name).display())
}

fn spent(world: &World, span: &str) -> u64 {
    let page = world.run(&["cost", "--json"]).expect(0).json();
    page["project"][span]["nanos"]["spent"].as_u64().unwrap_or_else(|| panic!("{page}"))
}

/// Nothing before the first process has made the store.
fn reserved(world: &World) -> u64 {
    let ended = world.run(&["cost", "--json"]);
    if ended.code != 0 {
        return 0;
    }
    ended.json()["project"]["day"]["nanos"]["reserved"].as_u64().unwrap_or(0)
}

/// Between a call and its answer, milliseconds; as long as real models take with `KAPELL_TEST_LATENCY_MS=3000`.
fn latency_ms() -> u64 {
    std::env::var("KAPELL_TEST_LATENCY_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(300)
}

#[test]
fn twenty_sessions_killed_on_the_way_stay_within_the_days_cap() {
    let world = World::new();
    world.write("kapell/config/config.toml", "[budget]\nday_usd = 5\n");
    let model = reader(&world, "dear.toml", latency_ms());
    let start = |n: usize, model: &str| {
        world.start(&["run", &format!("read it, {n}"), "-m", model, "--no-land", "--json"])
    };
    // Two whose first call takes longer than all that is here: nothing but the kill can end it.
    let slow = reader(&world, "slow.toml", 600_000);
    let victims: Vec<Running> = (0..2).map(|n| start(n, &slow)).collect();
    until("both calls are under way", || reserved(&world) >= 2 * CALL);
    let running: Vec<Running> = (2..20).map(|n| start(n, &model)).collect();
    for victim in victims {
        victim.signal(Signal::KILL);
        assert_eq!(victim.end().code, 128 + 9);
    }
    let codes: Vec<i32> = running.into_iter().map(|one| one.end().code).collect();
    assert!(codes.contains(&7), "the cap binds: {codes:?}");
    let strange: Vec<&i32> = codes.iter().filter(|code| ![0, 3, 4, 7].contains(*code)).collect();
    assert!(strange.is_empty(), "{codes:?}");
    let day = spent(&world, "day");
    assert!(day <= CAP && day > CAP / 2, "{day} of {CAP}");

    // Everybody who was killed goes on, and finds the same cap.
    reader(&world, "slow.toml", 0);
    world.run(&["resume", "--all", "--json"]);
    let day = spent(&world, "day");
    assert!(day <= CAP, "{day} of {CAP}");
    assert_eq!(reserved(&world), 0, "nothing is held for ever");
    let by = world.run(&["cost", "--by", "model", "--json"]).expect(0).json();
    let sum =
        |key: &str| by["sums"].as_array().unwrap().iter().map(|sum| sum[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("nanos"), day, "what the calls cost is what the project's ledger says: {by}");

    // A cap hit is a state with a way forward.
    let paused = world.run(&["run", "one more", "-m", &model, "--no-land"]).expect(7);
    assert!(paused.err.contains("for today") || paused.out.contains("for today"), "{paused:?}");
    world.write("kapell/config/config.toml", "[budget]\nday_usd = 50\n");
    let went_on = world.run(&["resume", "last", "--json"]);
    assert_ne!(went_on.code, 7, "{went_on:?}");
}

#[test]
fn what_was_spent_adds_up_by_every_axis_and_the_cache_is_accounted_for() {
    let world = World::new();
    let model = "[model]\noutput_tokens = 500\nprice_input_usd_per_mtok = 3.0\nprice_output_usd_per_mtok = 15.0\n\
                 price_cache_read_usd_per_mtok = 0.3\nprice_cache_write_usd_per_mtok = 3.75\n";
    let turn = |usage: &str| {
        call("read", "path = \"readme.txt\"").replacen(
            "[[turn]]\n",
            &format!("[[turn]]\nusage = {{ {usage} }}\n"),
            1,
        )
    };
    let first = turn("input = 100, output = 20, cache_write = 4000");
    let second = turn("input = 50, output = 20, cache_read = 4000");
    world.write("cached.toml", &format!("{model}{first}{second}{}", crate::world::DONE));
    let id = format!("builtin/script:{}", world.path("cached.toml").display());
    world.run(&["run", "read it", "-m", &id, "--no-land", "--json"]);
    let mut costs = Vec::new();
    for axis in ["session", "child", "model", "provider", "mode", "day", "task"] {
        let page = world.run(&["cost", "--by", axis, "--json"]).expect(0).json();
        let sums = page["sums"].as_array().unwrap().clone();
        assert_eq!(sums.len(), 1, "{axis}: {page}");
        costs.push(sums[0]["nanos"].clone());
        assert_eq!(
            (&sums[0]["cache_read"], &sums[0]["cache_write"]),
            (&Value::from(4000), &Value::from(4000))
        );
        // Reading saved 4,000 x $2.70 a million, writing cost 4,000 x $0.75 more.
        assert_eq!(sums[0]["saved"], Value::from(10_800_000 - 3_000_000), "{axis}");
    }
    let total = world.run(&["cost", "--json"]).expect(0).json()["total"]["nanos"].clone();
    assert!(costs.iter().all(|cost| *cost == total), "{costs:?} {total}");
    let cache = world.run(&["cost", "last", "--cache"]).expect(0);
    assert!(cache.out.contains("nothing broke the provider's cache"), "{}", cache.out);
    let table = world.run(&["cost", "--by", "model"]).expect(0);
    assert!(table.out.contains("SAVED") && table.out.contains("builtin/script"), "{}", table.out);
}

#[test]
fn an_unknown_price_needs_a_cap_in_tokens_and_none_in_money() {
    let world = World::new();
    world.write("unpriced.toml", &format!("[model]\noutput_tokens = 500\n{}", crate::world::DONE));
    let id = format!("builtin/script:{}", world.path("unpriced.toml").display());
    let refused =
        world.run(&["run", "do it", "-m", &id, "--no-land", "--max-tokens", "100k", "--max-budget-usd", "1"]);
    let refused = refused.expect(7);
    let all = format!("{}{}", refused.out, refused.err);
    assert!(all.contains("is not known") && all.contains("prices.toml"), "{all}");
    let goes = world.run(&["run", "do it", "-m", &id, "--no-land", "--max-tokens", "100k"]);
    assert_ne!(goes.code, 7, "{goes:?}");
}

#[test]
fn a_cap_of_one_call_is_raised_by_the_command_that_the_message_names() {
    let world = World::new();
    world.write("kapell/config/config.toml", "[budget]\nper_call_usd = 0.3\n");
    let model = reader(&world, "dear.toml", 0);
    let stopped = world.run(&["run", "do it", "-m", &model, "--no-land", "--max-budget-usd", "5"]).expect(7);
    let all = format!("{}{}", stopped.out, stopped.err);
    assert!(all.contains("--per-call-usd 0.50"), "{all}");
    let said = |world: &World| world.run(&["events", "last"]).expect(0).out.matches("\"said\"").count();
    let before = said(&world);
    let goes = world.run(&["resume", "last", "--per-call-usd", "0.50"]);
    assert_ne!(goes.code, 7, "{goes:?}");
    assert!(said(&world) > before, "the call is made now: {goes:?}");
}

#[test]
fn an_hours_cap_stops_what_the_day_would_allow_and_says_the_ways_on_in_their_order() {
    let world = World::new();
    world.write("kapell/config/config.toml", "[budget]\nhour_usd = 0.6\nday_usd = 50\n");
    let model = reader(&world, "dear.toml", 0);
    let stopped = world.run(&["run", "read it", "-m", &model, "--no-land"]);
    // An hour that ends on the way begins anew: then it comes further.
    let all = format!("{}{}", stopped.out, stopped.err);
    assert_eq!(stopped.code, 7, "{all}");
    assert!(all.contains("budget of money for this hour"), "{all}");
    let (first, last) =
        (all.find("1. kapell resume").expect("ranked"), all.find("a higher [budget] hour_usd"));
    assert!(last.is_some_and(|last| first < last), "{all}");
    world.write("kapell/config/config.toml", "[budget]\nhour_usd = 60\nday_usd = 50\n");
    let went_on = world.run(&["resume", "last", "--json"]);
    assert_ne!(went_on.code, 7, "{went_on:?}");
    let page = world.run(&["cost", "--json"]).expect(0).json();
    let spent = |span: &str| page["project"][span]["nanos"]["spent"].clone();
    assert_eq!(spent("hour"), spent("day"), "{page}");
}

#[test]
fn what_a_plan_s_tasks_cost_is_told_by_task_and_provider() {
    let world = World::new();
    let usage = "usage = { input = 100, output = 200 }\n";
    let plan =
        "[[turn.call]]\ntool = \"plan\"\nargs = { tasks = [{ id = \"parse\", goal = \"parse it\" }] }\n";
    let read = call("read", "path = \"readme.txt\"").replacen("[[turn]]\n", &format!("[[turn]]\n{usage}"), 1);
    world.write("planned.toml", &format!("{DEAR}[[turn]]\n{usage}{plan}{read}{read}{}", crate::world::DONE));
    let id = format!("builtin/script:{}", world.path("planned.toml").display());
    world.run(&["run", "plan it", "-m", &id, "--no-land", "--json"]);
    let named = |args: &[&str]| {
        let page = world.run(&[&["cost", "--json"], args].concat()).expect(0).json();
        let sums = page["sums"].as_array().unwrap().clone();
        sums.iter()
            .map(|sum| (sum["name"].as_str().unwrap().to_owned(), sum["nanos"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let tasks = named(&["last", "--by", "task"]);
    let names: Vec<&str> = tasks.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["-", "parse"], "{tasks:?}");
    let total = world.run(&["cost", "--json"]).expect(0).json()["total"]["nanos"].as_u64().unwrap();
    assert_eq!(tasks.iter().map(|(_, nanos)| nanos).sum::<u64>(), total, "{tasks:?}");
    assert_eq!(named(&["last", "--by", "provider"]), [("builtin".to_owned(), total)]);
    // Over all trees a plan's names stand behind their session's.
    assert!(named(&["--by", "task"]).iter().any(|(name, _)| name.ends_with("/parse")));
}
