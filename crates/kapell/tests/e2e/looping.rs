//! Schedules that fire by themselves: once each, over any number of processes, whoever is killed meanwhile.
//!
//! Slots lie in the past, so that nobody waits for a clock. Start at [`World::schedules`].

use crate::daemon::Daemon;
use crate::world::{DONE, Ended, World, fixes, until, write};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A schedule of every thirtieth day that is long overdue, with what else it says.
fn overdue(id: &str, more: Value) -> Value {
    let mut one = json!({
        "id": id, "name": format!("n{id}"), "mode": "code", "taskInstructions": "make the test pass",
        "scheduleType": "time", "timeInterval": "30", "timeUnit": "day", "startDate": "2026-01-01", "futureField": [1, 2],
        "lastExecutionTime": "2026-01-02T00:00:00.000Z",
    });
    for (name, value) in more.as_object().unwrap() {
        one[name] = value.clone();
    }
    one
}

impl World {
    fn schedules(&self, all: &[Value]) {
        self.write("repo/.roo/schedules.json", &format!("{:#}\n", json!({"schedules": all, "else": null})));
    }

    fn schedule(&self, nth: usize) -> Value {
        serde_json::from_str::<Value>(&self.read("repo/.roo/schedules.json")).unwrap()["schedules"][nth]
            .clone()
    }

    /// One look at the loop with this model, to its end.
    pub(crate) fn once(&self, model: &str) -> Ended {
        self.start_with(&["loop", "--once"], &[("KAPELL_MODEL", model)]).end()
    }

    pub(crate) fn sessions(&self) -> Vec<Value> {
        self.run(&["sessions", "--json"]).expect(0).json().as_array().unwrap().clone()
    }

    /// The rows of tracked time: mode, task id, result, priority.
    pub(crate) fn rows(&self) -> Vec<[String; 4]> {
        let text = self.read("repo/task_timing.tsv");
        let row = |line: &str| {
            let cells: Vec<&str> = line.split('\t').collect();
            [cells[1], cells[2], cells[7], cells[8]].map(str::to_owned)
        };
        text.lines().skip(1).map(row).collect()
    }
}

#[test]
fn what_is_due_fires_once_and_the_files_tell() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({})), overdue("8", json!({"active": false}))]);
    let before = world.read("repo/.roo/schedules.json");
    world.commit("schedules");
    let listed = world.run(&["schedules", "--json"]).expect(0).json();
    assert_eq!(
        (&listed["schedules"][0]["state"], &listed["schedules"][1]["state"]),
        (&json!("due"), &json!("inactive"))
    );
    let dry = world.run(&["loop", "--dry-run"]).expect(0);
    assert!(dry.out.contains("n7 (7): would fire the slot of 2026-"), "{}", dry.out);
    assert!(
        world.read("repo/.roo/schedules.json") == before && !world.path("kapell/data").exists(),
        "it only looked"
    );
    let model = world.script("fix", &fixes());
    let ended = world.once(&model).expect(0);
    assert!(ended.out.contains("fired    n7: session ") && ended.out.contains("ended    "), "{}", ended.out);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n", "it landed");
    // Three fields were written, and no other byte.
    let sessions = world.sessions();
    assert_eq!((sessions.len(), &sessions[0]["state"]), (1, &json!("completed")));
    let (id, one) = (sessions[0]["session_id"].as_str().unwrap(), world.schedule(0));
    assert_eq!(one["lastTaskId"], id);
    let mut expected = serde_json::from_str::<Value>(&before).unwrap();
    for name in ["lastExecutionTime", "nextExecutionTime", "lastTaskId"] {
        expected["schedules"][0][name] = one[name].clone();
    }
    assert_eq!(serde_json::from_str::<Value>(&world.read("repo/.roo/schedules.json")).unwrap(), expected);
    let row = |result: &str| ["code", id, result, "schedule"].map(str::to_owned);
    assert_eq!(world.rows(), [row("started"), row("completed")]);
    // Nothing is due any more.
    let again = world.once(&model).expect(0);
    assert_eq!((again.out.as_str(), world.sessions().len()), ("", 1));
    world.run(&["verify"]).expect(0);
}

#[test]
fn the_daemon_fires_them_too() {
    let world = World::new();
    let model = world.script("fix", &fixes());
    // By this session the daemon knows the repository.
    world.run(&["run", "--no-land", "-m", &world.script("done", DONE), "say hello"]);
    world.schedules(&[overdue("7", json!({}))]);
    world.commit("schedules");
    world.write("kapell/config/config.toml", &format!("model = {}\n", json!(model)));
    let mut daemon = Daemon::start(&world, &[]);
    until("the slot's session has landed", || {
        world.schedule(0)["lastTaskId"].is_string() && world.rows().len() == 2
    });
    let listed = daemon.get("/v1/schedules")["items"][0].take();
    assert_eq!(
        (&listed["last_session"], &listed["state"]),
        (&world.schedule(0)["lastTaskId"], &json!("waits"))
    );
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    assert_eq!(world.sessions().len(), 2);
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn of_eight_processes_one_fires_a_slot() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({})), overdue("8", json!({"taskInteraction": "interrupt"}))]);
    let model = world.script("fix", &fixes());
    let eight: Vec<_> =
        (0..8).map(|_| world.start_with(&["loop", "--once"], &[("KAPELL_MODEL", &model)])).collect();
    let ended: Vec<Ended> = eight.into_iter().map(|one| one.end()).collect();
    let fired = |id: &str| ended.iter().filter(|one| one.out.contains(&format!("fired    n{id}: "))).count();
    let said: String = ended.iter().map(|one| format!("{}: {}{}", one.code, one.out, one.err)).collect();
    assert_eq!((fired("7"), fired("8")), (1, 1), "{said}");
    let tasks: BTreeSet<String> = [0, 1].map(|nth| world.schedule(nth)["lastTaskId"].to_string()).into();
    let sessions: BTreeSet<String> =
        world.sessions().iter().map(|session| session["session_id"].to_string()).collect();
    assert_eq!(sessions, tasks, "{said}");
    let started = world.rows().iter().filter(|row| row[2] == "started").count();
    assert_eq!(started, 2);
}

#[test]
fn killed_in_the_middle_another_process_goes_on_with_the_same_session() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({}))]);
    let slow = format!("[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n{}", fixes());
    let model = world.script("slow", &slow);
    let running = world.start_with(&["loop"], &[("KAPELL_MODEL", &model)]);
    world.wait("the model is asked", |shown| shown["steps"] == 2);
    running.signal(Signal::KILL);
    running.end();
    world.script("slow", &format!("[[turn]]\ntext = \"x\"\n{}", fixes()));
    let ended = world.once(&model).expect(0);
    assert!(!ended.out.contains("fired") && ended.out.contains("completed"), "{}", ended.out);
    let sessions = world.sessions();
    assert_eq!((sessions.len(), &sessions[0]["state"]), (1, &json!("completed")));
    assert_eq!(world.rows().len(), 2);
}

#[test]
fn a_task_that_runs_is_waited_for_skipped_or_paused_as_the_schedule_says() {
    let world = World::new();
    let slow = world.script("slow", &format!("[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n{}", fixes()));
    let running = world.start(&["run", "-m", &slow, "something else"]);
    world.wait("the model is asked", |shown| shown["steps"] == 2);
    let other = world.sessions()[0]["session_id"].clone();
    let quick = world.script("quick", &fixes());
    world.schedules(&[
        overdue("1", json!({"taskInteraction": "skip"})),
        overdue("2", json!({"inactivityDelay": "3"})),
    ]);
    let ended = world.once(&quick).expect(0);
    assert!(ended.out.contains("passed   n1: a task was running"), "{}", ended.out);
    assert!(ended.out.contains("held     n2: a task is running"), "{}", ended.out);
    assert!(
        world.schedule(0)["lastSkippedTime"].is_string() && world.schedule(1)["lastSkippedTime"].is_string()
    );
    let listed = world.run(&["schedules", "--json"]).expect(0).json();
    assert_eq!(
        (&listed["schedules"][0]["state"], &listed["schedules"][1]["state"]),
        (&json!("waits"), &json!("held"))
    );
    // What interrupts has it paused, and runs.
    world.schedules(&[overdue("3", json!({"taskInteraction": "interrupt"}))]);
    let ended = world.once(&quick).expect(0);
    assert!(ended.out.contains("fired    n3: "), "{}", ended.out);
    let paused = || {
        let all = world.sessions();
        all.iter().any(|one| {
            one["session_id"] == other && matches!(one["state"].as_str(), Some("paused" | "pausing"))
        }) || world.run(&["events", other.as_str().unwrap()]).out.contains("\"wish\":\"pause\"")
    };
    until("it was told to pause", paused);
    running.signal(Signal::KILL);
    running.end();
}

#[test]
fn a_paused_loop_fires_nothing_until_it_goes_on() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({}))]);
    let model = world.script("fix", &fixes());
    assert!(world.run(&["loop", "pause"]).expect(0).out.contains("is paused"));
    assert!(world.run(&["loop", "pause"]).expect(0).out.contains("already"));
    assert_eq!(world.once(&model).expect(0).out, "");
    assert!(world.run(&["loop", "status"]).expect(0).out.contains("a person said so"));
    assert_eq!(world.run(&["loop", "status", "--json"]).expect(0).json()["jobs"], json!([]));
    assert!(world.sessions().is_empty());
    world.run(&["loop", "continue"]).expect(0);
    world.once(&model).expect(0);
    assert_eq!(world.sessions().len(), 1);
}

#[test]
fn what_cannot_be_run_is_passed_over_and_said() {
    let world = World::new();
    world.schedules(&[
        overdue("1", json!({"mode": "nosuch"})),
        overdue("2", json!({"taskInstructions": " "})),
        overdue("3", json!({"expirationDate": "2026-02-01"})),
        overdue("4", json!({"scheduleType": "cron"})),
    ]);
    let model = world.script("fix", &fixes());
    let dry = world.run(&["loop", "--dry-run"]).expect(0).out;
    assert!(dry.contains("n1 (1): would pass over") && dry.contains("n3 (3): nothing: expired"), "{dry}");
    let ended = world.once(&model).expect(0);
    assert!(ended.out.contains("passed   n1: there is no mode `nosuch`"), "{}", ended.out);
    assert!(ended.out.contains("passed   n2: it has no taskInstructions"), "{}", ended.out);
    assert!(ended.out.contains("expired  n3: "), "{}", ended.out);
    assert_eq!(
        (&world.schedule(2)["active"], &world.schedule(2)["expirationDate"]),
        (&json!(false), &json!("2026-02-01"))
    );
    assert_eq!(world.schedule(3)["nextExecutionTime"], Value::Null);
    assert!(world.sessions().is_empty());
    // Damage is said with its place, and is no reason to write.
    world.write("repo/.roo/schedules.json", "{\"schedules\": [{]}");
    let ended = world.once(&model);
    assert!(ended.code != 0 && ended.err.contains("line 1, column 17"), "{}", ended.err);
    assert_eq!(world.read("repo/.roo/schedules.json"), "{\"schedules\": [{]}");
}

#[test]
fn a_mode_holds_its_agent_to_its_tools() {
    let world = World::new();
    world.write(
        "repo/.roomodes",
        "customModes:\n  - slug: reader\n    name: Reader\n    roleDefinition: You only look.\n    groups: [read]\n",
    );
    world.schedules(&[overdue("7", json!({"mode": "reader"}))]);
    let model = world.script("fix", &fixes());
    world.once(&model);
    assert_eq!(world.read("repo/fixed.txt"), "", "it may not write");
    let id = world.sessions()[0]["session_id"].as_str().unwrap().to_owned();
    let events = world.run(&["events", &id]).expect(0);
    let spec = &events.lines()[0]["event"]["opened"]["spec"];
    assert_eq!(spec["mode"], "reader");
    let tools = spec["rights"]["tools"].as_array().unwrap();
    assert!(tools.contains(&json!("read")) && !tools.contains(&json!("write")), "{tools:?}");
}

#[test]
fn what_fails_three_times_in_the_same_way_waits_for_a_person() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({"missedRuns": "all"}))]);
    let lies = world.script("lie", &format!("{}{DONE}{DONE}{DONE}{DONE}", write("fixed.txt", "broken\\n")));
    let ended = world.once(&lies).expect(3);
    assert_eq!(ended.out.matches("fired    n7: ").count(), 3, "{}", ended.out);
    assert!(ended.out.contains("escalated schedule/7: it failed 3 times in a row"), "{}", ended.out);
    assert_eq!(world.sessions().len(), 3);
    assert_eq!(world.rows().iter().filter(|row| row[2].starts_with("failed: ")).count(), 3);
    assert!(world.read("repo/persistent-memory.md").contains("schedule/7 is not tried any more"));
    // Another process knows it too.
    assert_eq!(world.once(&lies).expect(0).out, "");
    let status = world.run(&["loop", "status", "--json"]).expect(0).json();
    assert_eq!(
        (&status["failing"][0]["what"], &status["failing"][0]["count"]),
        (&json!("schedule/7"), &json!(3))
    );
    assert_eq!(world.run(&["schedules", "--json"]).expect(0).json()["schedules"][0]["state"], "escalated");
    assert!(world.run(&["loop", "clear", "schedule/8"]).expect(2).err.contains("kapell loop status"));
    world.run(&["loop", "clear", "schedule/7"]).expect(0);
    let fixes = world.script("fix", &fixes());
    world.schedules(&[overdue("7", json!({"missedRuns": "once"}))]);
    assert!(world.once(&fixes).expect(0).out.contains("completed"));
    assert_eq!(world.run(&["loop", "status", "--json"]).expect(0).json()["failing"], json!([]));
}

#[test]
fn opening_that_fails_is_on_record_once_however_many_try() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({}))]);
    for _ in 0..4 {
        let ended = world.once("no/such").expect(1);
        assert!(ended.out.contains("trouble  schedule 7"), "{}", ended.out);
        assert!(!ended.out.contains("escalated"), "{}", ended.out);
    }
    let status = world.run(&["loop", "status", "--json"]).expect(0).json();
    assert_eq!((&status["jobs"][0]["unopened"]["count"], &status["failing"]), (&json!(1), &json!([])));
    assert!(world.run(&["loop", "status"]).expect(0).out.contains("1 time(s): "));
    assert!(world.sessions().is_empty());
    // What was in the way is mended: nobody waits for a clock.
    let model = world.script("fix", &fixes());
    assert!(world.once(&model).expect(0).out.contains("completed"));
}

#[test]
fn one_wall_clock_is_on_record_whatever_processes_show() {
    let world = World::new();
    let daily = json!({"timeInterval": "1", "startHour": "07", "startMinute": "00"});
    world.schedules(&[overdue("7", daily)]);
    let model = world.script("fix", &fixes());
    let once =
        |zone: &str| world.start_with(&["loop", "--once"], &[("TZ", zone), ("KAPELL_MODEL", &model)]).end();
    let first = once("Europe/Berlin").expect(0);
    assert!(first.out.contains("fired    n7: ") && first.out.contains(" 07:00"), "{}", first.out);
    for zone in ["UTC", "America/New_York", "Pacific/Kiritimati"] {
        let ended = once(zone).expect(0);
        assert!(!ended.out.contains("fired"), "{zone}: {}", ended.out);
        assert!(ended.out.contains("slots go by Europe/Berlin"), "{zone}: {}", ended.out);
    }
    assert_eq!(world.sessions().len(), 1);
    assert_eq!(world.run(&["loop", "status", "--json"]).expect(0).json()["zone"], "Europe/Berlin");
    // A person changes it, with a name that is one.
    assert!(world.run(&["loop", "zone", "Nowhere/Atall"]).expect(1).err.contains("Europe/Berlin"));
    world.run(&["loop", "zone", "UTC"]).expect(0);
    assert!(world.run(&["loop", "zone"]).expect(0).out.contains("UTC"));
}

#[test]
fn a_stopped_loop_pauses_what_runs_and_goes_on_with_it() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({}))]);
    let slow = format!("[[turn]]\ndelay_ms = 1500\ntext = \"slow\"\n{}", fixes());
    let model = world.script("slow", &slow);
    let running = world.start_with(&["loop"], &[("KAPELL_MODEL", &model)]);
    world.wait("the model is asked", |shown| shown["steps"] == 2);
    let stopped = world.run(&["loop", "stop", "--json"]).expect(0).json();
    let id = world.sessions()[0]["session_id"].clone();
    assert_eq!((&stopped["loop"], &stopped["jobs"]), (&json!("paused"), &json!([id])));
    until("it is paused", || world.sessions()[0]["state"] == "paused");
    assert_eq!(world.read("repo/fixed.txt"), "");
    world.run(&["loop", "continue"]).expect(0);
    until("it has landed", || world.rows().len() == 2);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    running.signal(Signal::INT);
    running.end().expect(130);
}

#[test]
fn a_loop_that_is_cancelled_leaves_nothing_to_do() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({})), overdue("8", json!({}))]);
    let asks = world.script("ask", &crate::world::call("ask", "question = \"which?\""));
    assert!(world.once(&asks).expect(8).out.contains("fired    n7: "));
    let stopped = world.run(&["loop", "stop", "--cancel"]).expect(0);
    assert!(stopped.out.contains("is cancelled"), "{}", stopped.out);
    until("it has ended", || world.sessions().iter().all(|one| one["state"] == "cancelled"));
    world.once(&asks).expect(130);
    let status = world.run(&["loop", "status", "--json"]).expect(0).json();
    assert_eq!((&status["jobs"], &status["failing"]), (&json!([]), &json!([])));
    assert!(status["paused"].is_string());
}

#[test]
fn a_mode_writes_only_where_its_expression_lets_it() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({"mode": "architect"}))]);
    let turns =
        [write("modes.yaml", "x"), write("docs/plan.md", "a plan\\n"), write("fixed.txt", "fixed\\n")];
    let model = world.script("plans", &format!("{}{DONE}{DONE}{DONE}{DONE}", turns.join("")));
    world.once(&model);
    let id = world.sessions()[0]["session_id"].as_str().unwrap().to_owned();
    let events = world.run(&["events", &id]).expect(0);
    assert_eq!(events.lines()[0]["event"]["opened"]["spec"]["rights"]["writes"], json!([r"\.md$"]));
    let told = world.run(&["sessions", "transcript", &id]).expect(0).out;
    assert!(told.contains("modes.yaml: this mode writes only files whose paths match"), "{told}");
    assert!(told.contains("fixed.txt: this mode writes only"), "{told}");
    assert!(!told.contains("docs/plan.md: this mode"), "{told}");
}

#[test]
fn nothing_is_checked_or_landed_while_the_surroundings_are_wrong() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({}))]);
    let sections =
        ["Non-Obvious Implementation Patterns", "Development & Debug Commands", "System Updates & Status"];
    let memory = sections.map(|title| format!("# {title}\n")).join("\n");
    world.write("repo/persistent-memory.md", &memory.replace("# System", "# Systems"));
    let model = world.script("fix", &fixes());
    let ended = world.once(&model).expect(8);
    assert!(ended.out.contains("fired    n7: "), "{}", ended.out);
    assert_eq!(world.read("repo/fixed.txt"), "", "nothing landed");
    let status = world.run(&["loop", "status", "--json"]).expect(0).json();
    let synced = &status["synced"];
    assert!(synced["wrong"][0].as_str().unwrap().contains("its sections are not"), "{synced:#}");
    assert_eq!((&synced["before"], synced["head"].as_str().unwrap().len()), (&json!("validate"), 40));
    assert!(world.run(&["loop", "status"]).expect(0).out.contains("wrong: "));
    // Mended, it goes on where it was.
    world.write("repo/persistent-memory.md", &memory);
    let id = world.sessions()[0]["session_id"].as_str().unwrap().to_owned();
    world.run(&["resume", &id]).expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    world.once(&model).expect(0);
    let status = world.run(&["loop", "status", "--json"]).expect(0).json();
    let synced = &status["synced"];
    assert_eq!((&synced["wrong"], &synced["before"]), (&json!([]), &json!("integrate")));
    assert!(synced["drift"].as_array().is_some(), "{synced:#}");
}

#[test]
fn a_schedule_fires_only_as_a_person_trusts_it() {
    let world = World::new();
    let reader = |groups: &str| {
        world.write("repo/.roomodes", &format!("customModes:\n  - slug: reader\n    groups: [{groups}]\n"));
    };
    let model = world.script("fix", &fixes());
    let run = |args: &[&str]| world.start_with(args, &[("KAPELL_TRUST", ""), ("KAPELL_MODEL", &model)]).end();
    let state =
        |nth: usize| run(&["schedules", "--json"]).expect(0).json()["schedules"][nth]["state"].clone();
    reader("read");
    let (seven, eight) = (overdue("7", json!({})), overdue("8", json!({"mode": "reader"})));
    world.schedules(std::slice::from_ref(&seven));
    world.commit("schedules");
    let before = world.read("repo/.roo/schedules.json");
    let ended = run(&["loop", "--once"]).expect(8);
    assert_eq!(ended.out.matches("untrusted n7: ").count(), 1, "{}", ended.out);
    assert!(ended.out.contains("kapell trust"), "{}", ended.out);
    assert!(run(&["loop", "--dry-run"]).expect(0).out.contains("nothing: untrusted; "));
    assert!(run(&["schedules"]).expect(0).out.contains("kapell trust"));
    assert_eq!((state(0), world.read("repo/.roo/schedules.json")), (json!("untrusted"), before));
    assert!(world.sessions().is_empty());
    run(&["trust", "show"]).expect(8);
    let trusted = run(&["trust"]).expect(0).out;
    assert!(trusted.contains("schedule 7: `every 30 day in mode code (read, edit, "), "{trusted}");
    assert!(trusted.contains("mode reader: `read:"), "{trusted}");
    run(&["trust", "show"]).expect(0);
    // One that nobody trusts keeps no other.
    world.schedules(&[eight.clone(), seven.clone()]);
    let ended = run(&["loop", "--once"]).expect(8);
    assert!(ended.out.contains("untrusted n8: ") && ended.out.contains("fired    n7: "), "{}", ended.out);
    assert_eq!(world.sessions().len(), 1);
    // What the loop stamps is no change; anything that it would do otherwise is.
    assert_eq!((state(0), state(1)), (json!("untrusted"), json!("waits")));
    run(&["trust"]).expect(0);
    assert_eq!(state(0), "due");
    for (name, value) in [("taskInstructions", "another"), ("mode", "architect"), ("timeInterval", "1")] {
        let mut changed = seven.clone();
        changed[name] = value.into();
        world.schedules(&[eight.clone(), changed]);
        assert_eq!((state(0), state(1)), (json!("due"), json!("untrusted")), "{name}");
    }
    // A mode that may do more is another one.
    reader("read, command");
    assert_eq!(state(0), "untrusted");
    run(&["loop", "--once"]).expect(8);
    assert_eq!(world.sessions().len(), 1);
    run(&["trust", "revoke"]).expect(0);
    reader("read");
    assert_eq!(state(0), "untrusted");
}

#[test]
fn a_claimed_job_is_opened_only_in_a_mode_that_is_trusted() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({"mode": "reader"}))]);
    let reader = |groups: &str| {
        world.write("repo/.roomodes", &format!("customModes:\n  - slug: reader\n    groups: [{groups}]\n"));
    };
    reader("read, edit");
    world.commit("modes");
    let model = world.script("fix", &fixes());
    let run = |args: &[&str], model: &str| {
        world.start_with(args, &[("KAPELL_TRUST", ""), ("KAPELL_MODEL", model)]).end()
    };
    run(&["trust"], &model).expect(0);
    // Claimed, and no process could open it.
    assert!(run(&["loop", "--once"], "no/such").expect(1).out.contains("fired    n7: "));
    reader("read, edit, command");
    let ended = run(&["loop", "--once"], &model).expect(8);
    assert!(ended.out.contains("nobody trusts the mode `reader`"), "{}", ended.out);
    assert!(world.sessions().is_empty());
    reader("read, edit");
    assert!(run(&["loop", "--once"], &model).expect(0).out.contains("completed"));
}

#[test]
fn a_paused_loop_opens_nothing_that_was_claimed() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({}))]);
    let model = world.script("fix", &fixes());
    assert!(world.once("no/such").expect(1).out.contains("fired    n7: "));
    world.run(&["loop", "pause"]).expect(0);
    assert_eq!(world.once(&model).expect(8).out, "");
    assert!(world.sessions().is_empty());
    world.run(&["loop", "continue"]).expect(0);
    assert!(world.once(&model).expect(0).out.contains("completed"));
}

#[test]
fn what_is_claimed_and_not_open_yet_keeps_its_goal() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({}))]);
    let model = world.script("fix", &fixes());
    assert!(world.once("no/such").expect(1).out.contains("fired    n7: "));
    let swept = world.run(&["gc"]).expect(0).out;
    assert!(!swept.contains("no event mentions"), "{swept}");
    assert!(world.once(&model).expect(0).out.contains("completed"));
}

#[test]
fn what_cannot_be_told_apart_or_placed_in_time_is_inert_and_said() {
    let world = World::new();
    let minute = json!({"startDate": "", "timeInterval": "10000", "timeUnit": "minute"});
    let mut none = overdue("", json!({"name": "none"}));
    none.as_object_mut().unwrap().remove("id");
    let huge = json!({"startDate": "", "timeInterval": "4294967295"});
    let told = json!({"lastExecutionTime": "2099-01-01T00:00:00.000Z"});
    world.schedules(&[
        overdue("1", json!({})),
        overdue("1", json!({"name": "again"})),
        none,
        overdue("2", huge),
        overdue("3", told),
    ]);
    let model = world.script("fix", &fixes());
    let before = world.read("repo/.roo/schedules.json");
    let ended = world.once(&model).expect(1);
    for said in ["inert    n1: another", "inert    again: another", "inert    none: it has no id"] {
        assert!(ended.out.contains(said), "{said}: {}", ended.out);
    }
    assert!(ended.out.contains("trouble  n3: its file says that it ran"), "{}", ended.out);
    assert!(!ended.out.contains("expired") && world.sessions().is_empty(), "{}", ended.out);
    let mut expected = serde_json::from_str::<Value>(&before).unwrap();
    expected["schedules"][4]["nextExecutionTime"] = world.schedule(4)["nextExecutionTime"].clone();
    assert_eq!(serde_json::from_str::<Value>(&world.read("repo/.roo/schedules.json")).unwrap(), expected);
    // Where the time zone is not known and none is on record, only what needs none fires.
    let world = World::new();
    let model = world.script("fix", &fixes());
    world.schedules(&[overdue("4", json!({})), overdue("5", minute)]);
    let env = [("TZ", "Nowhere/Atall"), ("KAPELL_MODEL", &model)];
    let ended = world.start_with(&["loop", "--once"], &env).end().expect(0);
    assert!(ended.err.contains("time zone"), "{}", ended.err);
    assert!(ended.out.contains("inert    n4: ") && ended.out.contains("set TZ"), "{}", ended.out);
    assert!(ended.out.contains("fired    n5: ") && world.sessions().len() == 1, "{}", ended.out);
}

#[test]
fn a_slot_waits_for_the_session_of_the_one_before() {
    let world = World::new();
    world.schedules(&[overdue("7", json!({"missedRuns": "all", "taskInteraction": "interrupt"}))]);
    let asks = world.script("ask", &crate::world::call("ask", "question = \"which?\""));
    let ended = world.once(&asks).expect(8);
    assert!(ended.out.contains("fired    n7: "), "{}", ended.out);
    assert!(ended.out.contains("held     n7: its last session "), "{}", ended.out);
    assert_eq!(world.once(&asks).expect(8).out, "");
    assert_eq!(world.sessions().len(), 1);
    assert!(world.run(&["loop", "--dry-run"]).expect(0).out.contains("its last session "));
}

#[test]
fn an_interrupt_is_heard_in_the_middle_of_a_look() {
    const MANY: usize = 60;
    let world = World::new();
    let many: Vec<Value> =
        (0..MANY).map(|nth| overdue(&nth.to_string(), json!({"taskInteraction": "interrupt"}))).collect();
    world.schedules(&many);
    let slow = world.script("slow", "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n");
    let running = world.start_with(&["loop"], &[("KAPELL_MODEL", &slow)]);
    until("it began", || {
        let listed = world.run(&["sessions", "--json"]);
        listed.code == 0 && listed.json().as_array().is_some_and(|all| !all.is_empty())
    });
    running.signal(Signal::INT);
    running.end().expect(130);
    let begun = world.rows().len();
    assert!(begun < MANY, "{begun} were begun");
}
