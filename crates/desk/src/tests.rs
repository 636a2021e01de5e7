//! What went wrong with the server these tools come from, as tests of what is right; and that no path leads outside.
//!
//! One directory and one recorder for each test. Start at [`Place`].

mod beside;

use super::*;
use contract::Timestamp;
use contract::board::BoardEvent;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

/// Time that goes on by a millisecond whenever somebody looks.
#[derive(Debug, Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        Timestamp(1_763_600_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn random(&self) -> u128 {
        0
    }
}

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<BoardEvent>>);

impl Record for Kept {
    fn record(&self, _: &str, event: BoardEvent) -> Result<contract::Seq, Fault> {
        let mut all = self.0.lock().unwrap();
        all.push(event);
        Ok(all.len() as u64)
    }
}

struct Place {
    dir: tempfile::TempDir,
    desk: Desk,
    kept: Arc<Kept>,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("ws")).unwrap();
    let kept = Arc::<Kept>::default();
    let record: Arc<dyn Record> = Arc::<Kept>::clone(&kept);
    let desk = Desk::open(Options::new(dir.path().join("ws")), record, Arc::new(Ticks::default())).unwrap();
    Place { dir, desk, kept }
}

impl Place {
    fn call(&self, name: &str, args: Value) -> Value {
        match self.desk.call(name, args.as_object().unwrap()) {
            Reply::Done(value) => value,
            other => panic!("{name} {args}: {other:?}"),
        }
    }

    fn ok(&self, name: &str, args: Value) -> Value {
        let reply = self.call(name, args);
        assert_eq!(reply["success"], true, "{name}: {reply}");
        assert!(reply["timestamp"].as_str().unwrap().ends_with("000Z"));
        reply
    }

    fn fails(&self, name: &str, args: Value) -> String {
        let reply = self.call(name, args);
        assert_eq!(reply["success"], false, "{name}: {reply}");
        reply["error"].as_str().unwrap().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join("ws").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("ws").join(path)).unwrap()
    }
}

const MODES: &str = "customModes:\n  - slug: code-a\n    name: A\n    roleDefinition: You are A\n    groups:\n      - read\n      - - edit\n        - fileRegex: \\.md$\n          description: Notes\n    customInstructions: then code-c\n  - slug: code-b\n    name: B\n    roleDefinition: You are B\n    groups: [read, command]\n";

#[test]
fn all_twenty_are_there_by_both_names() {
    assert_eq!(spec::TOOLS.len(), 20);
    for spec in spec::TOOLS {
        assert!(spec::find(&format!("{}{}", spec.name, spec::SUFFIX)).is_some());
        assert_eq!(spec.input()["type"], "object");
    }
    assert_eq!(place().desk.call("no_such_tool", &Map::new()), Reply::Unknown);
}

#[test]
fn defect_1_a_task_is_delegated_by_its_words_and_noted() {
    let at = place();
    let reply =
        at.ok("delegate_task", json!({"task_description": "Fix the AUTH hole", "requirements": ["a"]}));
    assert_eq!(reply["mode_assigned"], "implementation-security");
    assert_eq!((&reply["status"], &reply["estimated_duration"]), (&json!("pending"), &json!(1800)));
    assert!(at.read("persistent-memory.md").contains("Fix the AUTH hole"));
    let named = at.ok("delegate_task", json!({"task_description": "x", "target_mode": "m"}));
    assert_eq!(named["mode_assigned"], "m");
}

#[test]
fn defect_2_modes_are_a_list_and_can_be_entered() {
    let at = place();
    assert!(at.fails("get_mode_capabilities", json!({})).contains(".roomodes"));
    at.write(".roomodes", MODES);
    let reply = at.ok("get_mode_capabilities", json!({"filter_by_group": "edit"}));
    assert_eq!((&reply["total_modes"], &reply["filtered_modes"]), (&json!(2), &json!(1)));
    assert_eq!(reply["available_groups"], json!(["command", "edit", "read"]));
    assert_eq!(reply["modes"][0]["groups"][1][1]["fileRegex"], "\\.md$");
    let reply = at.ok("switch_mode", json!({"target_mode": "code-b"}));
    assert_eq!(reply["mode_switch"]["mode_role"], "You are B");
    let id = reply["mode_switch"]["tracking_result"]["task_id"].as_str().unwrap().to_owned();
    at.ok("track_task_time", json!({"task_description": "x", "start_tracking": false, "task_id": id}));
    let unknown = at.call("switch_mode", json!({"target_mode": "nope"}));
    assert_eq!(
        (&unknown["success"], &unknown["available_modes"]),
        (&json!(false), &json!(["code-a", "code-b"]))
    );
    let reply = at.ok("run_validation", json!({"validation_type": "modes_configuration"}));
    assert!(reply["validation_result"]["warnings"][0].as_str().unwrap().contains("code-c"));
}

#[test]
fn defect_3_the_environment_is_in_step_and_an_unknown_part_is_none() {
    let at = place();
    at.write(".roomodes", MODES);
    for kind in ["full", "files", "config", "modes"] {
        at.ok("sync_environment", json!({"sync_type": kind}));
    }
    assert!(at.fails("sync_environment", json!({"sync_type": "cosmic"})).contains("cosmic"));
    at.write(".roo/schedules.json", "{");
    let reply = at.call("sync_environment", json!({}));
    assert_eq!(
        (&reply["success"], &reply["sync_results"]["modes"]["success"]),
        (&json!(false), &json!(true))
    );
}

#[test]
fn defect_4_a_file_is_overwritten_and_what_it_held_is_copied_each_time() {
    let at = place();
    for n in 0..3 {
        let reply = at.ok("write_project_file", json!({"file_path": "a/b.md", "content": format!("v{n}")}));
        assert_eq!((&reply["operation"], &reply["backup_created"]), (&json!("write"), &json!(n > 0)));
    }
    assert_eq!(at.read("a/b.md"), "v2");
    let copies: Vec<_> = std::fs::read_dir(at.dir.path().join("ws/backups/a")).unwrap().collect();
    assert_eq!(copies.len(), 2, "two changes in one second are two copies");
    let reply = at.ok("restore_file", json!({"file_path": "a/b.md"}));
    assert_eq!((at.read("a/b.md").as_str(), &reply["current_backup_created"]), ("v1", &json!(true)));
    at.ok("write_project_file", json!({"file_path": "a/b.md", "content": "+", "append": true}));
    assert_eq!(at.read("a/b.md"), "v1+");
    assert!(at.fails("restore_file", json!({"file_path": "a/none.md"})).contains("no copy"));
}

#[test]
fn defect_5_a_task_that_was_started_stops() {
    let at = place();
    let started = at.ok("track_task_time", json!({"task_description": "t", "mode": "m"}));
    let id = started["task_id"].as_str().unwrap();
    let stop = json!({"task_description": "t", "start_tracking": false, "task_id": id});
    let stopped = at.ok("track_task_time", stop.clone());
    assert_eq!(
        (&stopped["action"], &stopped["mode"], &stopped["duration"]),
        (&json!("stop"), &json!("m"), &json!(0))
    );
    assert!(at.fails("track_task_time", stop).contains("is running"));
    assert!(
        at.fails("track_task_time", json!({"task_description": "t", "start_tracking": "false"}))
            .contains("task_id")
    );
    let report = at.ok("get_time_tracking", json!({}));
    assert_eq!(report["statistics"]["completed_tasks"], 1);
}

#[test]
fn defect_6_the_status_tells_which_files_are_there() {
    let at = place();
    at.write("TODO.md", "- [ ] x\n");
    let reply = at.ok("get_system_status", json!({"check_external_dependencies": true}));
    assert_eq!(reply["status"]["key_files_exist"]["TODO.md"], true);
    assert_eq!(reply["status"]["key_files_exist"][".roomodes"], false);
    assert_eq!(reply["status"]["status"], "warning");
    assert!(reply["performance_info"]["process_memory_mb"].as_f64().unwrap() > 0.0);
    at.write(".roo/schedules.json", "not JSON");
    at.write(".roomodes", "customModes: [");
    assert_eq!(at.ok("get_system_status", json!({}))["status"]["status"], "critical");
}

#[test]
fn defect_7_schedules_stay_as_the_scheduler_reads_them() {
    let at = place();
    let file = "{\n  \"schedules\": [\n    {\n      \"id\": \"1\",\n      \"name\": \"a\",\n      \"mode\": \"m\",\n      \"timeInterval\": \"10\",\n      \"unknown\": [1]\n    }\n  ]\n}\n";
    at.write(".roo/schedules.json", file);
    // Without instructions, and still it is told.
    assert_eq!(at.ok("get_schedule_status", json!({}))["schedules"][0]["task_instructions_preview"], "");
    let fields = json!({"time_interval": 20, "updatedAt": "x"});
    let reply =
        at.ok("manage_schedules", json!({"action": "update", "schedule_id": "1", "update_fields": fields}));
    assert_eq!(reply["backup_created"], true);
    let wanted = file.replace("\"10\"", "\"20\"").replace("[1]\n", "[1],\n      \"updatedAt\": \"x\"\n");
    assert_eq!(at.read(".roo/schedules.json"), wanted);
    let wrong = json!({"action": "update", "schedule_id": "1", "update_fields": {"tiemInterval": 5}});
    assert!(at.fails("manage_schedules", wrong).contains("tiemInterval"));
    let new =
        json!({"action": "create", "schedule_data": {"name": "n", "mode": "m", "task_interaction": "skip"}});
    let id = at.ok("manage_schedules", new)["schedule_id"].as_str().unwrap().to_owned();
    at.ok("manage_schedules", json!({"action": "deactivate", "schedule_id": id}));
    assert_eq!(at.ok("get_schedule_status", json!({}))["total_schedules"], 1);
    assert_eq!(
        at.ok("get_schedule_status", json!({"schedule_id": id}))["schedules"][0]["status"],
        "inactive"
    );
    at.ok("manage_schedules", json!({"action": "delete", "schedule_id": id}));
    at.ok("manage_schedules", json!({"action": "delete", "schedule_id": "never was"}));
    for wrong in [
        json!({"action": "explode"}),
        json!({"action": "create"}),
        json!({"action": "create", "schedule_data": {"name": "x"}}),
        json!({"action": "create", "schedule_data": {"name": "x", "mode": "m", "taskInteraction": "background"}}),
        json!({"action": "activate", "schedule_id": "no"}),
    ] {
        at.fails("manage_schedules", wrong);
    }
    assert_eq!(at.read(".roo/schedules.json"), wanted);
}

#[test]
fn defect_8_matches_are_limited_not_files_and_options_have_their_own_shape() {
    let at = place();
    for n in 0..150 {
        at.write(&format!("d/{n:03}.md"), "zero\nneedle one\nneedle two\n");
    }
    let found = |args: Value| at.ok("search_in_files", args);
    let reply = found(json!({"pattern": "needle"}));
    assert_eq!((&reply["total_matches"], &reply["files_searched"]), (&json!(300), &json!(150)));
    let reply = found(json!({"pattern": "NEEDLE", "max_matches": 3}));
    assert_eq!((&reply["total_matches"], &reply["truncated"]), (&json!(3), &json!(true)));
    let reply = found(json!({"pattern": "one", "context_lines": 1, "max_matches": 1}));
    assert_eq!(reply["matches"][0]["context"]["context_lines"], json!(["zero", "needle one", "needle two"]));
    let reply = found(json!({"pattern": "one", "include_line_numbers": false, "max_matches": 1}));
    assert!(reply["matches"][0].get("context").is_none() && reply["matches"][0].get("line_number").is_none());
    assert_eq!(found(json!({"pattern": "x", "file_pattern": "*.nothing"}))["total_matches"], 0);
    assert_eq!(found(json!({"pattern": "need", "whole_word": true}))["total_matches"], 0);
    assert!(at.fails("search_in_files", json!({"pattern": "("})).contains("regular expression"));
}

#[test]
fn defect_9_a_note_is_inserted_once_whatever_the_section_begins_with() {
    let at = place();
    let section = board::memory::SECTIONS[0];
    let text = board::memory::SECTIONS.map(|title| format!("# {title}\n\n## Old\n- a\n")).join("\n");
    at.write("persistent-memory.md", &text);
    let reply = at.ok("update_persistent_memory", json!({"section": section, "content": "new thing"}));
    assert_eq!(reply["line_count"], text.lines().count() + 3);
    assert_eq!(at.read("persistent-memory.md").matches("new thing").count(), 1);
}

#[test]
fn the_memory_makes_room_by_itself_and_says_when_it_cannot() {
    let at = place();
    let section = board::memory::SECTIONS[2];
    for n in 0..120 {
        at.ok("update_persistent_memory", json!({"section": section, "content": format!("note {n}")}));
    }
    let text = at.read("persistent-memory.md");
    assert!(text.lines().count() <= 300 && text.contains("note 119") && !text.contains("note 0\n"));
    let long = "x\n".repeat(400);
    let reply = at.call("update_persistent_memory", json!({"section": section, "content": long}));
    assert_eq!((&reply["success"], &reply["max_lines"]), (&json!(false), &json!(300)));
    assert_eq!(at.read("persistent-memory.md"), text);
}

#[test]
fn defect_10_dates_filter_whatever_the_rows_hold_and_no_limit_is_no_rows() {
    let at = place();
    let row = |at: &str, id: u32| format!("{at}\tm\t{id}\t\t\t5\tt\tcompleted\tnormal\n");
    let header = board::timing::COLUMNS.join("\t");
    let rows =
        [row("2026-01-01T00:00:00Z", 1), row("soon", 2), row("2026-01-02T12:00:00", 3), row("1767484800", 4)];
    at.write("task_timing.tsv", &format!("{header}\n{}", rows.concat()));
    let reply = at.ok("get_time_tracking", json!({"start_date": "2026-01-02", "end_date": "2026-01-02"}));
    assert_eq!((&reply["filtered_entries"], &reply["undated_entries"]), (&json!(1), &json!(1)));
    assert_eq!(reply["entries"][0]["task_id"], "3");
    assert_eq!(at.ok("get_time_tracking", json!({"limit": 0}))["filtered_entries"], 0);
    assert_eq!(at.ok("get_time_tracking", json!({"limit": 1}))["entries"][0]["task_id"], "4");
    assert_eq!(at.ok("get_time_tracking", json!({}))["mode_statistics"]["m"]["total_duration"], 20);
    assert!(at.fails("get_time_tracking", json!({"start_date": "someday"})).contains("someday"));
}

/// Paths that lead out, each in its own way.
fn escapes(at: &Place) -> Vec<String> {
    let out = at.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("secret.md"), "secret").unwrap();
    let ws = at.dir.path().join("ws");
    std::os::unix::fs::symlink("../out", ws.join("link")).unwrap();
    std::os::unix::fs::symlink(out.join("secret.md"), ws.join("file.md")).unwrap();
    std::os::unix::fs::symlink("/", ws.join("top")).unwrap();
    std::fs::create_dir(ws.join("sub")).unwrap();
    std::os::unix::fs::symlink("../../out", ws.join("sub/up")).unwrap();
    let plain = [
        "../out",
        "../out/secret.md",
        "sub/../../out/secret.md",
        "./.././out/secret.md",
        "link",
        "link/secret.md",
        "file.md",
        "top/etc/passwd",
        "sub/up/secret.md",
        "/etc/passwd",
        "/proc/self/environ",
        "..",
        "sub/../..",
    ];
    plain
        .into_iter()
        .map(str::to_owned)
        .chain([out.join("secret.md").display().to_string(), "a\0/../../out".into()])
        .collect()
}

#[test]
fn defect_11_no_path_leads_outside_by_any_tool() {
    let at = place();
    at.write("in.md", "inside");
    let paths = escapes(&at);
    let before = std::fs::read_dir(at.dir.path().join("out")).unwrap().count();
    let mut tried = 0;
    for path in &paths {
        for (tool, args) in [
            ("read_project_file", json!({"file_path": path})),
            ("write_project_file", json!({"file_path": path, "content": "x"})),
            (
                "write_project_file",
                json!({"file_path": format!("{path}/new.md"), "content": "x", "append": true}),
            ),
            ("list_project_structure", json!({"directory": path})),
            ("search_in_files", json!({"pattern": "s.cret", "directory": path})),
            ("backup_file", json!({"file_path": path})),
            ("backup_file", json!({"file_path": "in.md", "backup_directory": path})),
            ("backup_file", json!({"file_path": "in.md", "backup_name": path})),
            ("restore_file", json!({"file_path": path, "backup_path": "in.md"})),
            ("restore_file", json!({"file_path": "in.md", "backup_path": path})),
            ("run_validation", json!({"validation_type": "file_integrity", "target_path": path})),
        ] {
            tried += 1;
            let reply = at.call(tool, args.clone());
            let named = args["backup_name"].as_str().unwrap_or("/");
            // A name is a place among the copies, whatever lies beside the file.
            let plain_name = !named.contains('/') && named != "..";
            assert!(reply["success"] == false || plain_name, "{tool} {args}: {reply}");
            assert!(!reply.to_string().contains("\"secret\""), "{tool} {args}: {reply}");
        }
    }
    assert!(tried >= 60, "{tried}");
    assert_eq!(std::fs::read_to_string(at.dir.path().join("out/secret.md")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(at.dir.path().join("out")).unwrap().count(), before);
    assert_eq!(at.read("in.md"), "inside");
    // The whole workspace is walked, and what its links lead to is not in it.
    assert_eq!(at.ok("search_in_files", json!({"pattern": "secret"}))["total_matches"], 0);
    assert!(!at.ok("list_project_structure", json!({})).to_string().contains("secret"));
    let git =
        at.fails("write_project_file", json!({"file_path": "sub/.GIT/hooks/pre-commit", "content": "x"}));
    assert!(git.contains("git"), "{git}");
}

#[test]
fn links_that_stay_inside_are_followed_and_kept() {
    let at = place();
    at.write("real/a.md", "old");
    std::os::unix::fs::symlink("real/a.md", at.dir.path().join("ws/a.md")).unwrap();
    at.ok("write_project_file", json!({"file_path": "a.md", "content": "new"}));
    assert_eq!(at.read("real/a.md"), "new");
    assert!(at.dir.path().join("ws/a.md").is_symlink());
}

#[test]
fn defect_13_a_tab_in_a_description_shifts_nothing() {
    let at = place();
    let task = "tab\there\nand a line";
    at.ok("track_task_time", json!({"task_description": task, "priority": "todo"}));
    let entry = &at.ok("get_time_tracking", json!({"filter_priority": "todo"}))["entries"][0];
    assert_eq!(
        (&entry["task"], &entry["result"], &entry["priority"]),
        (&json!(task), &json!("started"), &json!("todo"))
    );
}

#[test]
fn defect_14_what_one_tool_wrote_the_next_one_reads() {
    let at = place();
    let section = board::memory::SECTIONS[1];
    let args = json!({"section": section, "include_metadata": true});
    at.ok("update_persistent_memory", json!({"section": section, "content": "first"}));
    assert_eq!(at.ok("get_persistent_memory", args.clone())["total_entries"], 1);
    at.ok("update_persistent_memory", json!({"section": section, "content": "second"}));
    assert_eq!(at.ok("get_persistent_memory", args)["total_entries"], 2);
    at.ok("search_in_files", json!({"pattern": "third"}));
    at.ok("write_project_file", json!({"file_path": "x.md", "content": "third", "append": true}));
    assert_eq!(at.ok("search_in_files", json!({"pattern": "third"}))["total_matches"], 1);
}

#[test]
fn defect_15_an_own_entry_comes_back_with_its_finding() {
    let at = place();
    let section = board::memory::SECTIONS[0];
    at.ok("update_persistent_memory", json!({"section": section, "content": "it works", "category": "c"}));
    let reply = at.ok("get_persistent_memory", json!({"include_metadata": true, "search_pattern": "WORKS"}));
    assert_eq!(reply["structured_entries"][0]["finding"], "it works");
    assert_eq!(
        (&reply["structured_entries"][0]["category"], &reply["total_sections"]),
        (&json!("c"), &json!(1))
    );
    assert!(at.fails("get_persistent_memory", json!({"search_pattern": "["})).contains("regular"));
}

#[test]
fn every_change_is_on_record_before_it_is_made() {
    let at = place();
    at.ok("write_project_file", json!({"file_path": "x.md", "content": "one"}));
    at.ok("write_project_file", json!({"file_path": "x.md", "content": "two"}));
    std::fs::create_dir(at.dir.path().join("ws/dir")).unwrap();
    assert!(
        at.fails("write_project_file", json!({"file_path": "dir", "content": "x"})).contains("directory")
    );
    let all = at.kept.0.lock().unwrap();
    let BoardEvent::Changing { path, tool, before, after, backup, .. } = &all[1] else { panic!("{all:?}") };
    assert_eq!((path.as_str(), tool.as_str()), ("x.md", "write_project_file"));
    assert_eq!((before.unwrap(), *after), (contract::Digest::of(b"one"), contract::Digest::of(b"two")));
    assert_eq!(at.read(backup.as_ref().unwrap()), "one");
    assert_eq!(all.len(), 2);
}

#[test]
fn arguments_are_taken_as_clients_send_them_and_wrong_ones_are_named() {
    let at = place();
    at.write("TODO.md", "# S\n- [ ] a\n- [x] b\n");
    let reply =
        at.ok("get_todo_status_tool", json!({"include_completed": "true", "search_pattern": null, "x": 1}));
    assert_eq!((&reply["total_todos"], &reply["completion_rate"]), (&json!(2), &json!(50.0)));
    assert_eq!(
        at.ok("get_todo_status", json!({}))["todos"],
        json!([{"text": "a", "completed": false, "section": "# S", "line": 2}])
    );
    for (tool, args, says) in [
        ("track_task_time", json!({"task_description": "t", "priority": "urgent"}), "schedule, todo, normal"),
        ("track_task_time", json!({}), "task_description"),
        ("get_time_tracking", json!({"limit": "many"}), "limit"),
        ("update_persistent_memory", json!({"section": "system_updates", "content": "x"}), "section"),
        ("get_schedule_status", json!({"include_inactive": "maybe"}), "include_inactive"),
    ] {
        let reply = at.desk.call(tool, args.as_object().unwrap());
        assert!(matches!(&reply, Reply::Wrong(why) if why.contains(says)), "{tool}: {reply:?}");
    }
}

#[test]
fn the_third_error_of_a_kind_goes_to_a_person() {
    let at = place();
    let call =
        || at.ok("error_recovery", json!({"operation": "file_read", "error_context": "x.md not found"}));
    assert_eq!(call()["recovery_result"]["recovery_strategy"], "cleanup");
    assert_eq!(call()["recovery_result"]["attempts_left"], 1);
    // Another server, and the count goes on.
    let other = Desk::open(
        Options::new(at.dir.path().join("ws")),
        Arc::new(Kept::default()),
        Arc::new(Ticks::default()),
    );
    let args = json!({"operation": "file_read", "error_context": "x.md not found"});
    let Reply::Done(third) = other.unwrap().call("error_recovery", args.as_object().unwrap()) else {
        panic!()
    };
    assert_eq!(third["recovery_result"]["recovery_strategy"], "escalate");
    assert_eq!(call()["recovery_result"]["attempt"], 1);
    let file = call()["recovery_result"]["checkpoint"]["checkpoint_file"].as_str().unwrap().to_owned();
    assert!(at.read(&file).contains("not found"));
}

#[test]
fn files_are_read_with_their_limits_and_encodings() {
    let at = place();
    std::fs::write(at.dir.path().join("ws/l.txt"), b"caf\xe9").unwrap();
    let reply = at.ok("read_project_file", json!({"file_path": "l.txt", "include_metadata": true}));
    assert_eq!((&reply["content"], &reply["metadata"]["encoding"]), (&json!("caf\u{e9}"), &json!("latin-1")));
    at.write("big.md", &"x".repeat((1 << 20) + 1));
    let reply = at.call("read_project_file", json!({"file_path": "big.md", "max_size_mb": 1}));
    assert_eq!((&reply["success"], &reply["file_size"]), (&json!(false), &json!((1 << 20) + 1)));
    assert_eq!(reply["file_path"], "big.md");
    assert!(at.fails("read_project_file", json!({"file_path": "."})).contains("directory"));
    let list = at.ok("list_project_structure", json!({"file_pattern": "*.md"}));
    assert_eq!((&list["files"], &list["structure"]["big.md"]["type"]), (&json!(1), &json!("file")));
    at.ok("run_validation", json!({"validation_type": "system_health"}));
    assert!(
        at.fails("run_validation", json!({"validation_type": "comprehensive"})).contains("comprehensive")
    );
    assert!(at.fails("run_validation", json!({"validation_type": "file_integrity"})).contains("target_path"));
}
