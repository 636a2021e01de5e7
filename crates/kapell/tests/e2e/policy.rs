//! Rules of people: what never runs, what need not ask, and what `policy` says about it.

use crate::world::{UNCONFINED, World, fixes, shell};

const MAKE: &str = "touch made.log";

#[test]
fn a_denied_command_does_not_run_and_the_agent_is_told_why() {
    let world = World::new();
    world.write(
        "kapell/config/config.toml",
        "ask = \"never\"\n[[policy.rule]]\ndecide = \"deny\"\ncommand = \"touch\"\n",
    );
    let made = world.path("made.log");
    let model = world
        .script("out", &format!("{}{}", shell(&format!("env timeout 5 touch {}", made.display())), fixes()));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    assert!(!made.exists());
    let said = world.run(&["sessions", "transcript", "last"]).expect(0);
    assert!(said.out.contains("not run: denied: `touch`: deny command `touch`"), "{}", said.out);
}

#[test]
fn always_writes_a_rule_for_exactly_what_asked() {
    let world = World::new();
    let model = world.script("out", &format!("{}{}", shell(MAKE), fixes()));
    // A file of the person's own choosing, which nobody else reads.
    world.write("kapell/config/own.toml", &format!("# mine\n{UNCONFINED}"));
    let (link, own) = (world.path("kapell/config/config.toml"), world.path("kapell/config/own.toml"));
    std::os::unix::fs::symlink("own.toml", &link).unwrap();
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(8);
    let approved = world.run(&["approve", "--unseen", "--always", "last"]).expect(0);
    assert!(approved.out.contains("rule: allow exactly `touch made.log` in "), "{}", approved.out);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&own).unwrap().permissions());
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink() && mode & 0o777 == 0o600, "{mode:o}");
    assert!(world.read("kapell/config/own.toml").starts_with("# mine"));
    world.run(&["policy", "explain", MAKE]).expect(0);
    world.run(&["policy", "explain", "touch other.log"]).expect(8);
    world.run(&["policy", "explain", "--json", "rm -rf /"]).expect(6);
    world.run(&["resume", "last"]).expect(0);
    let listed = world.run(&["policy", "list"]).expect(0);
    assert!(listed.out.contains("allow command `touch made.log` exactly"), "{}", listed.out);
    // A rule of a clone that allows is a mistake, not a right.
    world.write("repo/.kapell/config.toml", "[[policy.rule]]\ndecide = \"allow\"\ncommand = \"touch\"\n");
    let refused = world.run(&["policy", "explain", "touch other.log"]).expect(2);
    assert!(refused.err.contains("a project's file cannot allow"), "{}", refused.err);
}

#[test]
fn what_only_reads_writes_by_no_tool() {
    let world = World::new();
    let patch = "--- /dev/null\n+++ b/x.txt\n@@ -0,0 +1 @@\n+x\n";
    let call = |tool: &str, args: serde_json::Value| {
        format!("[[turn]]\nliteral = true\n[[turn.call]]\ntool = \"{tool}\"\njson_args = '''{args}'''\n")
    };
    let edits = serde_json::json!([{"path": "readme.txt", "old_string": "hello", "new_string": "bye"}]);
    let turns = [
        call("apply_patch", serde_json::json!({"patch": patch})),
        call("multi_edit", serde_json::json!({"edits": edits})),
        call("memory_write", serde_json::json!({"name": "x", "content": "y"})),
        call("read", serde_json::json!({"path": "readme.txt"})),
        fixes(),
    ];
    let model = world.script("plan", &turns.concat());
    world.write("kapell/config/config.toml", "mode = \"plan\"\nask = \"never\"\n");
    world.run(&["run", "-m", &model, "look around"]);
    let said = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert_eq!(said.matches("this mode only reads").count(), 4, "{said}");
    assert!(said.contains("hello") && !said.contains("created `x.txt`"), "{said}");
}

#[test]
fn a_patch_of_files_that_later_commands_obey_waits_for_a_yes() {
    let world = World::new();
    let patch = "--- a/.kapell/config.toml\n+++ b/.kapell/config.toml\n@@ -1 +1,2 @@\n [checks.test]\n+#\n";
    let args = serde_json::json!({"patch": patch});
    let turn = format!(
        "[[turn]]\nliteral = true\n[[turn.call]]\ntool = \"apply_patch\"\njson_args = '''{args}'''\n"
    );
    let model = world.script("patch", &format!("{turn}{}", fixes()));
    let ended = world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(8);
    assert!(ended.out.contains("a file that later commands or people run"), "{}", ended.out);
}
