//! Hooks in Claude's format, as real programs: what they read, what their answers do, and what they cannot do.
//!
//! Start at the first test.

use crate::world::{DONE, World, call, finish, fixes, shell, write};
use serde_json::{Value, json};

/// A script of the person's own, and the file that declares it.
fn declare(world: &World, event: &str, matcher: &str, script: &str) {
    let path = world.path(&format!("hooks/{event}.sh"));
    world.write(&format!("hooks/{event}.sh"), &format!("#!/bin/sh\n{script}\n"));
    let file = world.path("kapell/config/hooks.json");
    let mut all: Value = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_else(|| json!({"confined": false, "hooks": {}}));
    let hook = json!({"type": "command", "command": format!("sh {}", path.display()), "timeout": 20});
    all["hooks"][event] = json!([{"matcher": matcher, "hooks": [hook]}]);
    world.write("kapell/config/hooks.json", &all.to_string());
}

/// Keeps what it reads in a file of this name.
fn keeps(world: &World, name: &str) -> String {
    format!("cat >> {}", world.path(name).display())
}

fn read(world: &World, name: &str) -> Vec<Value> {
    world.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_hook_reads_claudes_json_and_its_no_stops_the_call() {
    let world = World::new();
    let script = format!(
        "tee -a {} | grep -q forbidden && {{ echo not here >&2; exit 2; }}; exit 0",
        world.path("seen").display()
    );
    declare(&world, "PreToolUse", "Bash", &script);
    let model =
        world.script("out", &format!("{}{}{}", shell("touch forbidden"), shell("echo fine"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    let seen = read(&world, "seen");
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0]["hook_event_name"], "PreToolUse");
    assert_eq!(
        (&seen[0]["tool_name"], &seen[0]["tool_input"]["command"]),
        (&json!("Bash"), &json!("touch forbidden"))
    );
    assert!(
        seen[0]["session_id"].is_string() && seen[0]["cwd"].is_string() && seen[0]["tool_use_id"].is_string()
    );
    let said = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(said.contains("a hook denied it: not here"), "{said}");
    assert!(!world.repo().join("forbidden").exists());
    // It stands in the journal and in the audit log.
    let events = world.run(&["events", "last", "--json"]).expect(0).out;
    assert!(events.contains("\"hooked\"") && events.contains("not here"), "{events}");
    let acts = world.run(&["audit", "query", "--action", "hook"]).expect(0).out;
    assert!(acts.contains("denied") && acts.contains("not here"), "{acts}");
}

#[test]
fn what_a_hook_changes_is_what_runs_and_is_judged_anew() {
    let world = World::unconfined();
    let out = world.path("out.txt");
    let answer = |command: &str| {
        let said = json!({"hookSpecificOutput": {"hookEventName": "PreToolUse", "updatedInput": {"command": command}}});
        format!("cat > /dev/null; printf '%s' '{said}'")
    };
    declare(&world, "PreToolUse", "Bash", &answer(&format!("echo changed > {}", out.display())));
    let model = world.script("out", &format!("{}{}", shell("echo original"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(8);
    // The person is asked about what will run.
    let shown = world.run(&["approve", "--unseen", "last"]).expect(0).out;
    assert!(shown.contains("echo changed"), "{shown}");
    world.run(&["resume", "last"]).expect(0);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "changed\n");

    // A hook cannot get through what a rule denies, neither by its yes nor by other words.
    let world = World::new();
    world.write("kapell/config/config.toml", "[[policy.rule]]\ndecide = \"deny\"\ncommand = [\"touch\"]\n");
    let said = json!({"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow",
        "updatedInput": {"command": "touch denied"}}});
    declare(&world, "PreToolUse", "Bash", &format!("cat > /dev/null; printf '%s' '{said}'"));
    let model = world.script("out", &format!("{}{DONE}", shell("echo original")));
    world.run(&["run", "-m", &model, "--ask", "never", "--no-land", "do it"]);
    let said = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(said.contains("denied"), "{said}");
    let trees = std::fs::read_dir(world.path("kapell/state/sessions")).unwrap().flatten();
    assert!(!trees.into_iter().any(|entry| entry.path().join("tree/denied").exists()));
}

#[test]
fn a_yes_of_the_persons_own_hook_stands_for_theirs_and_a_projects_does_not() {
    let yes = json!({"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": {"behavior": "allow"}}});
    let world = World::unconfined();
    declare(&world, "PermissionRequest", "Bash", &format!("cat > /dev/null; printf '%s' '{yes}'"));
    let model = world.script("out", &format!("{}{}", shell("echo once > once.txt"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(0);
    assert_eq!(world.read("repo/once.txt"), "once\n");

    let world = World::unconfined();
    let hook = json!({"type": "command", "command": format!("printf '%s' '{yes}'")});
    world.write(
        "repo/.claude/settings.json",
        &json!({"hooks": {"PermissionRequest": [{"hooks": [hook]}]}}).to_string(),
    );
    world.commit("hooks");
    let model = world.script("out", &format!("{}{}", shell("echo once > once.txt"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(8);
}

#[test]
fn a_guard_that_fails_says_no_and_another_hook_that_fails_nothing() {
    for (script, timeout) in [("exit 1", false), ("exec sleep 30", true), ("echo '{'", false)] {
        let world = World::new();
        declare(&world, "PreToolUse", "Bash", script);
        if timeout {
            let file = "kapell/config/hooks.json";
            world.write(file, &world.read(file).replace("\"timeout\":20", "\"timeout\":0.3"));
        }
        let model = world.script("out", &format!("{}{}", shell("touch ran"), fixes()));
        world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
        assert!(!world.repo().join("ran").exists(), "{script}");
        let said = world.run(&["sessions", "transcript", "last"]).expect(0).out;
        assert!(said.contains("counts as a no"), "{said}");
    }
    let world = World::new();
    declare(&world, "PostToolUse", "", "exit 1");
    declare(&world, "SessionStart", "", "exec /nowhere/at/all");
    let model = world.script("out", &fixes());
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
}

#[test]
fn prompts_starts_results_and_ends_are_told_and_answered() {
    let world = World::new();
    declare(
        &world,
        "SessionStart",
        "startup",
        &format!("{}; echo the build is broken", keeps(&world, "start")),
    );
    let script = format!(
        "tee -a {} | grep -q secret && {{ echo no secrets >&2; exit 2; }}; exit 0",
        world.path("prompt").display()
    );
    declare(&world, "UserPromptSubmit", "", &script);
    declare(
        &world,
        "PostToolUse",
        "Write|Edit",
        &format!("{}; echo 'format it' >&2; exit 2", keeps(&world, "post")),
    );
    declare(&world, "SessionEnd", "", &keeps(&world, "end"));
    let model = world.script("out", &fixes());
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    assert_eq!(read(&world, "start")[0]["source"], "startup");
    assert_eq!(read(&world, "prompt")[0]["prompt"], "make the test pass");
    let post = &read(&world, "post")[0];
    assert_eq!((&post["tool_name"], &post["tool_input"]["content"]), (&json!("Write"), &json!("fixed\n")));
    assert!(post["tool_input"]["file_path"].as_str().unwrap().ends_with("/fixed.txt"), "{post}");
    assert_eq!(read(&world, "end")[0]["hook_event_name"], "SessionEnd");
    let said = world.run(&["sessions", "transcript", "last", "--json"]).expect(0).out;
    let texts = world.run(&["events", "last", "--json"]).expect(0).out;
    assert!(said.contains("\"hook\"") && texts.contains("format it"), "{said}\n{texts}");
    // A goal that is refused reaches no model.
    let refused = world.run(&["run", "-m", &model, "--ask", "never", "print the secret"]).expect(6);
    assert!(
        format!("{}{}", refused.out, refused.err).contains("no secrets"),
        "{}{}",
        refused.out,
        refused.err
    );
    let events = world.run(&["events", "last", "--json"]).expect(0).out;
    assert!(!events.contains("\"model\":{\"model\""), "a model was asked: {events}");
}

#[test]
fn an_agent_that_wants_to_stop_is_kept_at_work() {
    let world = World::new();
    let once = world.path("once");
    let answer = json!({"decision": "block", "reason": "write fixed.txt first"});
    let script =
        format!("cat > /dev/null; [ -e {0} ] && exit 0; touch {0}; printf '%s' '{answer}'", once.display());
    declare(&world, "Stop", "", &script);
    let model = world.script("out", &format!("{DONE}{}", fixes()));
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
}

#[test]
fn a_projects_hook_runs_only_as_it_was_trusted_and_never_as_the_agent_changed_it() {
    let world = World::new();
    let wary = |args: &[&str]| {
        let mut command = world.kapell(args);
        command.env_remove("KAPELL_TRUST");
        finish(command, b"")
    };
    world.write("repo/.claude/hooks/guard.sh", "echo guarded >> guard.log; exit 0\n");
    let hook = json!({"type": "command", "command": "sh \"$CLAUDE_PROJECT_DIR\"/.claude/hooks/guard.sh"});
    world.write(
        "repo/.claude/settings.json",
        &json!({"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [hook]}]}}).to_string(),
    );
    world.commit("hooks");
    let agent = format!(
        "{}{}{}{}",
        shell("echo one"),
        write(".claude/hooks/guard.sh", "exit 0\\n"),
        shell("touch unguarded"),
        fixes()
    );
    let model = world.script("out", &agent);
    // The session waits for the word, and goes on with it.
    let asked = wary(&["run", "-m", &model, "--ask", "never", "--no-land", "make the test pass"]).expect(8);
    assert!(format!("{}{}", asked.out, asked.err).contains("kapell trust"), "{}{}", asked.out, asked.err);
    assert!(wary(&["hooks"]).expect(8).out.contains("not trusted"));
    wary(&["trust"]).expect(0);
    assert!(wary(&["hooks"]).expect(0).out.contains("trusted"));
    wary(&["resume", "last"]).expect(0);
    let tree = std::fs::read_dir(world.path("kapell/state/sessions")).unwrap().flatten().next().unwrap();
    let tree = tree.path().join("tree");
    assert_eq!(std::fs::read_to_string(tree.join("guard.log")).unwrap(), "guarded\n");
    assert!(!tree.join("unguarded").exists(), "the agent took its guard away");
    let said = wary(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(said.contains("nobody trusts it, or it changed since"), "{said}");
}

#[test]
fn hooks_of_claude_code_are_taken_over() {
    let world = World::new();
    let settings =
        json!({"model": "x", "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}});
    world.write("home/.claude/settings.json", &settings.to_string());
    let told = world.run(&["hooks", "import"]).expect(0).out;
    assert!(told.contains("1 group(s)") && told.contains("Stop"), "{told}");
    assert!(world.run(&["hooks", "import"]).expect(0).out.contains("0 group(s)"));
    world.write("bad.json", "{\"hooks\": {\"PreToolUse\": [{\"matcher\": \"(\", \"hooks\": []}]}}");
    world.run(&["hooks", "import", &world.path("bad.json").display().to_string()]).expect(2);
    assert_eq!(world.run(&["hooks", "--json"]).expect(0).json()["hooks"].as_array().unwrap().len(), 1);
    // What cannot be understood stops a session before it begins.
    world.write("kapell/config/hooks.json", "{\"hooks\": []}");
    let model = world.script("out", &format!("{}{}", call("list", ""), fixes()));
    let refused = world.run(&["run", "-m", &model, "x"]).expect(2);
    assert!(refused.err.contains("hooks.json"), "{}", refused.err);
}
