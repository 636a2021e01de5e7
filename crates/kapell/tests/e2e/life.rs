//! A session's life: lands, is refuted, stops and goes on, delegates, is rewound.
//!
//! Start at the first test; each is one story.

use crate::world::{DONE, World, call, fixes, shell, until, write};
use rustix::process::Signal;

#[test]
fn a_confirmed_change_lands() {
    let world = World::new();
    let model = world.script("fix", &fixes());
    let ended = world.run(&["run", "-m", &model, "make", "the", "test", "pass"]).expect(0);
    assert!(ended.out.contains("All done.") && ended.out.contains("CONFIRMED"), "{}", ended.out);
    assert!(ended.out.contains("landed on main as "), "{}", ended.out);
    assert!(ended.out.contains("1 file changed, 1 insertion(+)"), "{}", ended.out);
    assert_eq!(ended.out.lines().filter(|line| line.starts_with("next: ")).count(), 1);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(world.git(&["log", "-1", "--format=%s"]), "make the test pass");
}

#[test]
fn what_is_not_confirmed_leaves_everything_as_it_was() {
    let world = World::new();
    world.write("repo/untracked.txt", "mine\n");
    let before = world.image();
    let turns = format!("{}{DONE}{DONE}{DONE}{DONE}", write("fixed.txt", "broken\\n"));
    let model = world.script("lie", &turns);
    let ended = world.run(&["run", "-m", &model, "make the test pass"]).expect(3);
    assert!(ended.out.contains("REFUTED"), "{}", ended.out);
    assert_eq!(world.image(), before);
    let diff = world.run(&["diff", "last"]).expect(0);
    assert!(diff.out.contains("+broken"), "{}", diff.out);
}

#[test]
fn no_land_leaves_a_branch() {
    let world = World::new();
    let model = world.script("fix", &fixes());
    let head = world.git(&["rev-parse", "main"]);
    let ended =
        world.run(&["run", "-m", &model, "--no-land", "make the test pass", "--json"]).expect(0).json();
    assert_eq!(world.git(&["rev-parse", "main"]), head);
    let branch = ended["branch"].as_str().unwrap();
    assert_eq!(world.git(&["show", &format!("{branch}:fixed.txt")]), "fixed");
}

#[test]
fn the_goal_comes_from_stdin_and_from_a_subdirectory() {
    let world = World::new();
    let model = world.script("fix", &fixes());
    std::fs::create_dir(world.repo().join("deep")).unwrap();
    let mut command = world.kapell(&["-p", "-", "-m", &model]);
    command.current_dir(world.repo().join("deep"));
    crate::world::finish(command, b"make the test pass\n").expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
}

#[test]
fn interrupted_it_stops_in_order_and_goes_on_later() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let world = World::new();
        let turns = format!("[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n{}", fixes());
        let model = world.script("slow", &turns);
        let running = world.start(&["run", "-m", &model, "make the test pass"]);
        world.wait("the model is asked", |shown| shown["steps"] == 2);
        running.signal(signal);
        let ended = running.end().expect(code);
        assert!(ended.err.contains("kapell resume"), "{}", ended.err);
        assert_eq!(world.shown()["state"], "stopped");
        world.script("slow", &format!("[[turn]]\ntext = \"x\"\n{}", fixes()));
        world.run(&["resume", "last"]).expect(0);
        assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    }
}

#[test]
fn a_second_interrupt_kills_at_once() {
    let world = World::unconfined();
    // A command that takes no notice of being asked to stop.
    let turns = shell(&format!(
        "trap \"\" INT TERM; echo $$ > {}; sleep 600 & wait; wait",
        world.path("pid").display()
    ));
    let model = world.script("stubborn", &turns);
    let running = world.start(&["run", "-m", &model, "--ask", "never", "goal"]);
    until("the command runs", || world.read("pid").trim().parse::<i32>().is_ok());
    let pid = rustix::process::Pid::from_raw(world.read("pid").trim().parse().unwrap()).unwrap();
    running.signal(Signal::INT);
    world.wait("it is stopping", |_| true);
    running.signal(Signal::INT);
    let begin = std::time::Instant::now();
    running.end().expect(130);
    // Asked, told, killed: the whole ladder takes longer than that.
    assert!(begin.elapsed().as_millis() < u128::from(contract::limits::STOP_INT_MS));
    until("it is gone", || rustix::process::test_kill_process(pid).is_err());
}

#[test]
fn a_timeout_is_a_stop_with_its_own_code() {
    let world = World::new();
    let model = world.script("slow", "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n");
    let ended = world.run(&["run", "-m", &model, "--timeout", "500ms", "goal", "--json"]).expect(124);
    assert_eq!(ended.json()["termination_reason"], "timeout");
}

#[test]
fn killed_it_goes_on_where_it_was() {
    let world = World::new();
    let turns = format!("{}{}", write("one.txt", "1"), "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n");
    let model = world.script("slow", &turns);
    let running = world.start(&["run", "-m", &model, "make the test pass"]);
    world.wait("the second question", |shown| shown["steps"].as_u64() >= Some(4));
    running.signal(Signal::KILL);
    running.end();
    let noted = world.script("slow", &format!("{}{}", write("one.txt", "1"), fixes()));
    let other = world.run(&["run", "-m", &noted, "--no-land", "something else"]);
    assert!(other.err.contains("1 unfinished session(s)"), "{}", other.err);
    let ended = world.run(&["-c"]).expect(0);
    assert!(ended.err.contains("was in flight"), "{}", ended.err);
    assert_eq!((world.read("repo/fixed.txt"), world.read("repo/one.txt")), ("fixed\n".into(), "1".into()));
}

#[test]
fn a_child_does_a_part_and_its_parent_takes_it_over() {
    let world = World::new();
    // Both play this file. In the child, delegating its own goal again is refused, and it writes the file itself.
    let calls = "[[turn]]\n[[turn.call]]\ntool = \"delegate\"\nargs = { goal = \"write the file\" }\n\
        [[turn.call]]\ntool = \"write\"\nargs = { path = \"fixed.txt\", content = \"fixed\" }\n";
    let model = world.script("family", &format!("{calls}{DONE}"));
    let ended =
        world.run(&["run", "-m", &model, "make the test pass", "--output-format", "stream-json"]).expect(0);
    let lines = ended.lines();
    let of_child =
        |line: &&serde_json::Value| line["type"] == "assistant" && line["parent_tool_use_id"].is_string();
    assert!(lines.iter().any(|line| of_child(&line)), "{}", ended.out);
    let tree = world.run(&["sessions", "tree", "--json"]).expect(0).json();
    assert_eq!(tree[0]["children"][0]["status"], "completed", "{tree:#}");
    let shown = world.run(&["sessions", "tree"]).expect(0);
    assert_eq!(shown.out.lines().filter(|line| line.starts_with("  ")).count(), 1, "{}", shown.out);
    let cost = world.run(&["cost", "last", "--json"]).expect(0).json();
    assert_eq!(cost["sessions"].as_array().unwrap().len(), 2);
}

#[test]
fn a_rewind_puts_the_workspace_back() {
    let world = World::new();
    let turns = format!(
        "{}{}{}",
        write("fixed.txt", "fixed\\n"),
        write("extra.txt", "x"),
        call("ask", "question = \"go on?\"")
    );
    let model = world.script("two", &format!("{turns}{DONE}"));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(8);
    let savepoints = world.shown()["savepoints"].clone();
    let second = savepoints.as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    world.run(&["rewind", "last", "9.99"]).expect(2);
    world.run(&["answer", "last", "yes"]).expect(0);
    world.run(&["rewind", "last", &second]).expect(0);
    let ended = world.run(&["resume", "last", "--json"]).expect(0).json();
    assert_eq!(ended["verdict"], "CONFIRMED");
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    assert_eq!(world.read("repo/extra.txt"), "", "{ended:#}");
}

#[test]
fn two_processes_do_not_run_one_session() {
    let world = World::new();
    let model = world.script("slow", &format!("[[turn]]\ndelay_ms = 1500\ntext = \"slow\"\n{}", fixes()));
    let first = world.start(&["run", "-m", &model, "make the test pass"]);
    world.wait("it runs", |shown| shown["state"] == "running");
    let second = world.start(&["resume", "last"]);
    let (first, second) = (first.end().expect(0), second.end().expect(0));
    assert!(second.err.contains("following it"), "{}", second.err);
    assert!(first.out.contains("CONFIRMED") && second.out.contains("CONFIRMED"));
    assert_eq!(world.git(&["rev-list", "--count", "main"]), "2");
}

#[test]
fn who_follows_a_process_that_leaves_without_a_word_goes_on_itself() {
    let world = World::new();
    let model = world.script("asks", &format!("{}{DONE}", call("ask", "question = \"Which colour?\"")));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(8);
    let id = world.shown()["session_id"].as_str().unwrap().to_owned();
    // Another process has it, and will never look into its inbox.
    let holder = std::fs::File::open(world.path(&format!("kapell/state/run/{id}.lock"))).unwrap();
    holder.lock().unwrap();
    let err = std::fs::File::create(world.path("err.txt")).unwrap();
    let mut child = world.kapell(&["resume", "last"]).stderr(err).spawn().unwrap();
    until("it follows", || world.read("err.txt").contains("following it"));
    drop(holder);
    let mut code = None;
    until("it rests", || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(8), "{}", world.read("err.txt"));
}

#[test]
fn nothing_a_command_started_outlives_the_run() {
    let world = World::unconfined();
    let marker = world.path("pid");
    let turns = shell(&format!("echo $$ > {}; exec sleep 600", marker.display()));
    let model = world.script("sleeper", &turns);
    let running = world.start(&["run", "-m", &model, "--ask", "never", "goal"]);
    until("the command runs", || world.read("pid").trim().parse::<i32>().is_ok());
    let pid = rustix::process::Pid::from_raw(world.read("pid").trim().parse().unwrap()).unwrap();
    running.signal(Signal::KILL);
    running.end();
    until("it is gone", || rustix::process::test_kill_process(pid).is_err());
}
