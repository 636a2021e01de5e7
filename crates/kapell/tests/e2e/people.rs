//! People at other terminals: approve, deny, answer, cancel, follow.
//!
//! Start at the first test; each is one story.

use crate::world::{DONE, World, call, fixes, shell, write};

/// Turns that want something done outside, then reach the goal.
pub(crate) fn outside(world: &World) -> String {
    format!("{}{}", shell(&format!("echo once >> {}", world.path("outside.log").display())), fixes())
}

#[test]
fn an_external_call_waits_for_a_yes_from_any_terminal() {
    let world = World::unconfined();
    let model = world.script("out", &outside(&world));
    let ended = world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(8);
    assert!(ended.out.contains("echo once >>"), "the exact content is shown: {}", ended.out);
    let command =
        ended.out.lines().find_map(|line| line.trim().strip_prefix("type: kapell approve ")).unwrap();
    assert_eq!(world.read("outside.log"), "");
    // A restart, a wrong name: neither of them is a yes.
    world.run(&["resume", "last"]).expect(8);
    world.run(&["approve", "last", "a999"]).expect(2);
    assert_eq!(world.read("outside.log"), "");
    let words: Vec<&str> = command.split_whitespace().collect();
    let approved = world.run(&[&["approve"], &words[..]].concat()).expect(0);
    assert!(approved.out.contains("once and for exactly this"), "{}", approved.out);
    assert!(approved.out.contains("next: kapell resume"), "{}", approved.out);
    assert_eq!(world.read("outside.log"), "");
    world.run(&["approve", "--unseen", "last"]).expect(2);
    world.run(&["resume", "last"]).expect(0);
    assert_eq!(world.read("outside.log"), "once\n");
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
}

#[test]
fn a_no_is_heard_by_the_agent() {
    let world = World::unconfined();
    let model = world.script("out", &outside(&world));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(8);
    world.run(&["deny", "last"]).expect(0);
    world.run(&["resume", "last"]).expect(0);
    assert_eq!(world.read("outside.log"), "");
    let events = world.run(&["events", "last"]).expect(0);
    assert!(events.out.contains("a person said no"));
}

#[test]
fn a_message_is_not_a_yes() {
    let world = World::unconfined();
    let model = world.script("out", &outside(&world));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(8);
    world.run(&["resume", "last", "yes, please go on"]).expect(0);
    assert_eq!(world.read("outside.log"), "");
    let events = world.run(&["events", "last"]).expect(0);
    assert!(events.out.contains("withdrawn"), "{}", events.out);
}

#[test]
fn a_question_is_answered_and_not_by_silence() {
    let world = World::new();
    let turns = format!(
        "{}{}",
        call("ask", "question = \"Which colour?\""),
        "[[turn]]\nexpect = \"blue\"\n[[turn.call]]\ntool = \"write\"\nargs = { path = \"fixed.txt\", content = \"fixed\" }\n"
    );
    let model = world.script("asks", &format!("{turns}{DONE}"));
    let ended = world.run(&["run", "-m", &model, "make the test pass"]).expect(8);
    assert!(ended.out.contains("Which colour?") && ended.out.contains("kapell answer"), "{}", ended.out);
    world.run(&["resume", "last"]).expect(8);
    world.run(&["answer", "last", "blue", "please"]).expect(0);
    world.run(&["answer", "last", "red"]).expect(2);
    world.run(&["resume", "last"]).expect(0);
}

#[test]
fn cancel_from_another_terminal_ends_it_for_good() {
    let world = World::new();
    let model = world.script("slow", &format!("[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n{}", fixes()));
    let running = world.start(&["run", "-m", &model, "make the test pass", "--json"]);
    world.wait("the model is asked", |shown| shown["steps"] == 2);
    let cancelled = world.run(&["cancel", "last"]).expect(0);
    assert!(cancelled.out.contains("is cancelled"), "{}", cancelled.out);
    assert_eq!(running.end().expect(130).json()["termination_reason"], "interrupted");
    let again = world.run(&["resume", "last"]).expect(2);
    assert!(again.err.contains("is over") && again.err.contains("kapell run"), "{}", again.err);
    world.run(&["cancel", "last"]).expect(1);
}

#[test]
fn pause_waits_for_the_action_in_flight_and_resume_goes_on() {
    let world = World::new();
    let model =
        world.script("slow", &format!("[[turn]]\ndelay_ms = 1500\ntext = \"slow\"\n{}", shell("true")));
    let running = world.start(&["run", "-m", &model, "--ask", "never", "make the test pass", "--json"]);
    world.wait("the model is asked", |shown| shown["steps"] == 2);
    world.run(&["pause", "last"]).expect(0);
    running.end().expect(0);
    let shown = world.shown();
    assert_eq!((shown["state"].as_str(), shown["steps"].as_u64()), (Some("paused"), Some(2)), "{shown:#}");
    world.run(&["cancel", "last"]).expect(0);
}

#[test]
fn cancel_of_a_session_that_nobody_holds_is_final_at_once() {
    let world = World::unconfined();
    let model = world.script("out", &outside(&world));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(8);
    world.run(&["cancel", "last"]).expect(0);
    assert_eq!(world.shown()["state"], "cancelled");
}

#[test]
fn a_follower_sees_every_event_once() {
    let world = World::new();
    let model = world.script("slow", &format!("[[turn]]\ndelay_ms = 300\ntext = \"slow\"\n{}", fixes()));
    let running = world.start(&["run", "-m", &model, "make the test pass"]);
    world.wait("it runs", |shown| shown["state"] == "running");
    let follower = world.start(&["events", "last", "--follow"]);
    running.end().expect(0);
    let seen = follower.end().expect(0).lines();
    let numbers: Vec<u64> = seen.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(seen.last().unwrap()["event"]["ended"].is_object());
    assert_eq!(world.run(&["events", "last"]).expect(0).lines(), seen);
    let rest = world.run(&["events", "last", "--after", "3"]).expect(0).lines();
    assert_eq!(rest[..], seen[3..]);
}

#[test]
fn at_a_terminal_one_is_asked_and_only_a_typed_yes_counts() {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    let world = World::unconfined();
    let model = world.script("out", &outside(&world));
    let line = format!("{} run -m '{model}' 'make the test pass'", env!("CARGO_BIN_EXE_kapell"));
    // `script` gives it a terminal; where there is no such program, there is nothing to be seen.
    let bare = world.kapell(&[]);
    let mut command = Command::new("timeout");
    command.env_clear().envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .args(["120", "script", "-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .current_dir(world.repo());
    let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else { return };
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    // Typed ahead: no answer to a question that was not there yet.
    keys.write_all(b"yes\n").unwrap();
    let mut shown = Vec::new();
    let mut until = |wanted: &str, shown: &mut Vec<u8>| {
        let mut piece = [0; 4096];
        loop {
            let at = shown.windows(wanted.len()).position(|window| window == wanted.as_bytes());
            if let Some(at) = at {
                drop(shown.drain(..at + wanted.len()));
                return;
            }
            let read = screen.read(&mut piece).unwrap();
            assert!(read > 0, "the end before `{wanted}`:\n{}", String::from_utf8_lossy(shown));
            shown.extend_from_slice(&piece[..read]);
        }
    };
    until("yes / no / later?", &mut shown);
    assert_eq!(world.read("outside.log"), "");
    keys.write_all(b"sure\n").unwrap();
    until("please type yes, no or later", &mut shown);
    until("yes / no / later?", &mut shown);
    keys.write_all(b"yes\n").unwrap();
    until("CONFIRMED", &mut shown);
    until("next: ", &mut shown);
    assert!(child.wait().unwrap().success());
    assert_eq!(world.read("outside.log"), "once\n");
}

#[test]
fn a_mistake_in_the_configuration_does_not_keep_anybody_from_stopping() {
    let world = World::new();
    let model = world.script("waits", "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n");
    let running = world.start(&["run", "-m", &model, "--ask", "never", "make the test pass"]);
    world.wait("the question", |shown| shown["steps"].as_u64() >= Some(2));
    world.write("kapell/config/config.toml", "modle = \"x\"\n");
    let ended = world.run(&["cancel", "last"]).expect(0);
    assert!(ended.err.contains("there is no key `modle`"), "{}", ended.err);
    running.end();
}

#[test]
fn what_could_not_be_written_is_no_success() {
    let world = World::new();
    let model = world.script("fix", &fixes());
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    for args in [&["sessions", "--json"][..], &["events", "last"], &["diff", "last"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = world.kapell(args).stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("standard output could not be written"), "{args:?}: {said}");
    }
}

#[test]
fn a_check_whose_script_was_emptied_waits_for_a_yes() {
    let world = World::new();
    world.write("repo/.kapell/config.toml", "[checks.test]\nrun = \"sh check.sh\"\nkind = \"test\"\n");
    world.write("repo/check.sh", "grep -q fixed fixed.txt\n");
    world.commit("a script checks");
    let model = world.script("cheats", &format!("{}{DONE}", write("check.sh", "exit 0\\n")));
    let ended = world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(8);
    assert!(ended.out.contains("a file that a check runs changed"), "{}", ended.out);
    assert_eq!(world.read("repo/check.sh"), "grep -q fixed fixed.txt\n");
}
