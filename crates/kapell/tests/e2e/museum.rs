//! The museum, from outside: bugs other conductors shipped that only processes, files and repositories can show.
//! Comments name the source; `docs/museum.md` is the whole list.
//!
//! Start at any test; what needs no process is in the kernel's museum.

use crate::world::{DONE, Running, World, call, fixes, shell, until, write};
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Stdio;

/// A turn in which the model thinks for longer than any test.
const THINKS: &str = "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n";

/// A session that wrote a line outside, was asked something next, and was killed over it; its id.
fn killed(world: &World) -> String {
    let model = world.script("killed", &format!("{}{THINKS}", outside(world)));
    let running = world.start(&["run", "-m", &model, "--ask", "never", "make the test pass"]);
    world.wait("the second question", |shown| shown["steps"].as_u64() >= Some(4));
    kill(running);
    // When it goes on, the model answers.
    world.script("killed", &format!("{}{}", outside(world), fixes()));
    world.shown()["session_id"].as_str().unwrap().to_owned()
}

fn outside(world: &World) -> String {
    shell(&format!("echo once >> {}", world.path("outside.log").display()))
}

fn kill(running: Running) {
    running.signal(Signal::KILL);
    running.end();
}

fn state(world: &World, name: &str) -> PathBuf {
    world.path(&format!("kapell/state/{name}"))
}

fn alive(pid: u32) -> bool {
    rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap()).is_ok()
}

/// CC 2.1.199: a corrupt worker record, left by an unclean shutdown, made the daemon kill itself and all agents.
#[test]
fn a_corrupt_record_of_a_run_makes_nobody_kill_a_stranger() {
    let world = World::unconfined();
    let id = killed(&world);
    let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let own = std::process::id();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let dir = state(&world, &format!("run/{id}"));
    std::fs::create_dir_all(&dir).unwrap();
    let records = [
        String::new(),
        "\0\0\0\u{fffd} leader".into(),
        format!("boot {boot}leader {} 1\nwarden {own} 1\n", stranger.id()),
        format!("boot {boot}leader {}", stranger.id()),
        "leader 1 0\nwarden 0 0\nleader -1 x\n".into(),
    ];
    for (n, text) in records.iter().enumerate() {
        std::fs::write(dir.join(format!("torn-{n}.run")), text).unwrap();
    }
    world.run(&["resume", "last"]).expect(0);
    assert!(alive(stranger.id()), "a process that is not Kapell's was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// CC 2.1.200: a stale lock whose process number had been given to somebody else blocked every start.
#[test]
fn a_stale_lock_with_a_reused_process_number_blocks_nobody() {
    let world = World::unconfined();
    let id = killed(&world);
    // The lease of the dead one has not run out, and its lock file is there; a living process has its number now.
    let lock = state(&world, &format!("run/{id}.lock"));
    assert!(lock.exists());
    std::fs::write(&lock, std::process::id().to_string()).unwrap();
    let ended = world.run(&["resume", "last"]).expect(0);
    assert!(!ended.err.contains("following it"), "{}", ended.err);
}

/// CC 2.1.203: reopening a session ran its prompt from scratch. CC 2.1.211: killed ones started again by themselves.
#[test]
fn a_killed_session_is_gone_on_with_where_it_was_and_only_when_asked() {
    let world = World::unconfined();
    let id = killed(&world);
    let model = world.script("other", &fixes());
    world.run(&["run", "-m", &model, "--no-land", "something else"]).expect(0);
    let shown = world.run(&["sessions", "show", &id, "--json"]).expect(0).json();
    assert_eq!(shown["steps"], 4, "nobody asked for it: {shown:#}");
    world.run(&["resume", &id]).expect(0);
    assert_eq!(world.read("outside.log"), "once\n");
    world.run(&["resume", &id]).expect(2);
    assert_eq!(world.read("outside.log"), "once\n", "what is over is not begun again");
}

/// GM#27368: resuming a session deleted it.
#[test]
fn a_resume_that_fails_leaves_the_session_as_it_was() {
    let world = World::unconfined();
    let id = killed(&world);
    let events = world.run(&["events", &id]).expect(0).out;
    world.run(&["resume", &id, "-m", "no/model"]).expect(2);
    kill(world.start(&["resume", &id]));
    let now = world.run(&["events", &id]).expect(0).out;
    assert!(now.starts_with(&events), "what was on record is on record");
    world.run(&["resume", &id]).expect(0);
}

/// CC#91822: a session moved to another list when the working directory changed.
#[test]
fn a_session_is_found_from_wherever_one_stands() {
    let world = World::unconfined();
    let id = killed(&world);
    std::fs::create_dir_all(world.repo().join("deep/er")).unwrap();
    for dir in [world.repo().join("deep/er"), world.path("."), std::env::temp_dir()] {
        let mut command = world.kapell(&["sessions", "show", "last", "--json"]);
        command.current_dir(&dir);
        let shown = crate::world::finish(command, b"").expect(0).json();
        assert_eq!(shown["session_id"], id.as_str(), "from {}", dir.display());
    }
    let mut command = world.kapell(&["-c"]);
    command.current_dir(world.repo().join("deep/er"));
    crate::world::finish(command, b"").expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n", "it works where it began");
}

/// CC#60235: a worktree was made on the branch checked out last instead of the one that was asked for.
#[test]
fn work_begins_and_lands_on_the_branch_that_was_asked_for() {
    let world = World::new();
    world.git(&["checkout", "-q", "-b", "feature"]);
    world.write("repo/feature.txt", "only here\n");
    world.commit("feature");
    let feature = world.git(&["rev-parse", "feature"]);
    let base = world.git(&["rev-parse", "main"]);
    let model = world.script("fix", &fixes());
    world.run(&["run", "-m", &model, "--base", "main", "--branch", "main", "make the test pass"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "feature"]), feature);
    assert_eq!(world.git(&["rev-parse", "main^"]), base);
    assert_eq!(world.git(&["ls-tree", "--name-only", "main", "feature.txt"]), "");
    assert_eq!(world.git(&["show", "main:fixed.txt"]), "fixed");
}

/// CC 2.1.143: cleaning up fell back to `rm -rf`. Sylk: it deleted what was still in use.
#[test]
fn cleaning_up_deletes_neither_a_strangers_directory_nor_a_living_session() {
    let world = World::new();
    let model = world.script("fix", &fixes());
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    let stranger = state(&world, "sessions/01890000-0000-7000-8000-000000000000/keep");
    std::fs::create_dir_all(&stranger).unwrap();
    std::fs::write(stranger.join("mine.txt"), "mine").unwrap();
    let link = state(&world, "sessions/link");
    std::os::unix::fs::symlink(world.repo(), &link).unwrap();
    let model = world.script("slow", &format!("{}{THINKS}", write("a.txt", "a")));
    let running = world.start(&["run", "-m", &model, "something else"]);
    let works = |shown: &serde_json::Value| shown["state"] == "running" && shown["steps"].as_u64() >= Some(4);
    let id = world.wait("it works", works)["session_id"].clone();
    let tree = state(&world, &format!("sessions/{}/tree/a.txt", id.as_str().unwrap()));
    assert!(tree.exists());
    world.run(&["gc"]);
    assert!(tree.exists(), "it is still worked in");
    assert!(stranger.join("mine.txt").exists() && link.exists());
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n", "nothing is deleted through a link");
    kill(running);
}

/// CX#45150: a missing last line made a session of thousands of lines unreadable.
#[test]
fn a_torn_end_of_the_log_leaves_the_session_readable() {
    let world = World::unconfined();
    let id = killed(&world);
    let wal = world.path("kapell/data/kapell.db-wal");
    let bytes = std::fs::read(&wal).unwrap_or_default();
    assert!(bytes.len() > 8192, "nothing to tear");
    std::fs::write(&wal, &bytes[..bytes.len() - 1_000]).unwrap();
    let events = world.run(&["events", &id]).expect(0).out;
    assert!(events.lines().count() >= 5, "{events}");
    // What was torn off may have been the end of the command: then nobody knows how it ended.
    let mut code = world.run(&["resume", &id]).code;
    if code == 8 {
        world.run(&["deny", &id]).expect(0);
        code = world.run(&["resume", &id]).code;
    }
    assert_eq!(code, 0);
    assert_eq!(world.read("outside.log"), "once\n");
    world.run(&["verify"]).expect(0);
}

/// gastown#3584: a heartbeat was written, and nobody ever read it.
#[test]
fn who_stops_giving_a_sign_of_life_is_noticed_by_who_follows() {
    let world = World::new();
    let model = world.script("slow", THINKS);
    let first = world.start(&["run", "-m", &model, "make the test pass"]);
    world.wait("it runs", |shown| shown["state"] == "running");
    let err = std::fs::File::create(world.path("err.txt")).unwrap();
    let mut second = world.kapell(&["resume", "last"]).stdout(Stdio::null()).stderr(err).spawn().unwrap();
    until("it follows", || world.read("err.txt").contains("following it"));
    world.script("slow", &format!("[[turn]]\ntext = \"x\"\n{}", fixes()));
    kill(first);
    let mut code = None;
    until("it goes on", || {
        code = second.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(0), "{}", world.read("err.txt"));
    assert!(world.read("err.txt").contains("going on here"));
}

/// cline#9590: a checkpoint renamed the user's `.git` for a moment, and died in that moment.
#[test]
fn savepoints_do_not_touch_the_users_git_directory() {
    let world = World::new();
    let git = world.repo().join(".git");
    let image = || ["HEAD", "index", "config"].map(|file| std::fs::read(git.join(file)).unwrap());
    let before = image();
    let turns: String = (0..12).map(|n| write(&format!("file-{n}.txt"), "x")).collect();
    let model = world.script("writes", &format!("{turns}{THINKS}"));
    let running = world.start(&["run", "-m", &model, "make the test pass"]);
    world.wait("savepoints", |shown| {
        assert!(git.is_dir(), "the user's .git is gone");
        shown["savepoints"].as_array().is_some_and(|points| points.len() >= 6)
    });
    kill(running);
    assert!(git.is_dir() && image() == before);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

/// career-ops-hq/career-ops#2085: the word ERROR in a log failed a run in which everything went well.
#[test]
fn the_word_error_in_a_log_fails_nothing() {
    let world = World::new();
    let check = "[checks.test]\nrun = \"echo 'ERROR: cache miss'; echo FAILED >&2; grep -q fixed fixed.txt\"\nkind = \"test\"\n";
    world.write("repo/.kapell/config.toml", check);
    world.commit("a noisy check");
    let noisy = shell("echo ERROR: fatal: panicked at nothing; exit 0");
    let model = world.script("noisy", &format!("{noisy}{}", fixes()));
    let ended = world.run(&["run", "-m", &model, "--ask", "never", "make the test pass", "--json"]).expect(0);
    assert_eq!(ended.json()["verdict"], "CONFIRMED");
}

/// 5dive-ai/5dive#222: a new agent got the home of a dead one whose number it had been given.
#[test]
fn a_new_session_never_gets_the_directory_of_a_dead_one() {
    let world = World::new();
    let model = world.script(
        "first",
        &format!("{}{}", write("secret.txt", "of the first"), call("ask", "question = \"?\"")),
    );
    world.run(&["run", "-m", &model, "same goal"]).expect(8);
    let first = world.shown()["session_id"].as_str().unwrap().to_owned();
    world.run(&["cancel", &first]).expect(0);
    let model = world.script("second", &format!("{}{DONE}", shell("ls -a; pwd")));
    world.run(&["run", "-m", &model, "--ask", "never", "same goal"]);
    let second = world.shown()["session_id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let said = world.run(&["sessions", "transcript", &second]).expect(0).out;
    assert!(said.contains(&second) && !said.contains("secret.txt"), "{said}");
    assert!(
        state(&world, &format!("sessions/{first}/tree/secret.txt")).exists(),
        "the first one's work is kept"
    );
}

/// Sylk: opening the log twice without writing began its numbers anew, and later recoveries ignored what came after.
#[test]
fn looking_again_and_again_changes_no_number() {
    let world = World::unconfined();
    let id = killed(&world);
    let before = world.run(&["events", &id]).expect(0).lines();
    for _ in 0..3 {
        world.run(&["sessions"]).expect(0);
        world.run(&["verify"]).expect(0);
    }
    world.run(&["resume", &id]).expect(0);
    let after = world.run(&["events", &id]).expect(0).lines();
    assert!(after.len() > before.len());
    let numbers: Vec<u64> = after.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=after.len() as u64).collect::<Vec<_>>());
}
