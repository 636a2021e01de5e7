//! Each kind of thing damaged, lost or left behind, and `verify` or `doctor` naming it.
//!
//! Start at [`found`], which every test ends in.

use crate::world::{DONE, World, call, fixes, shell, until, write};
use rustix::process::Signal;
use serde_json::Value;
use std::path::PathBuf;

const STORE: &str = "kapell/data/kapell.db";

/// A session that landed, all of it in the main file.
fn landed() -> World {
    let world = World::new();
    let model = world.script("fix", &fixes());
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    world
}

/// A session that was killed while it asked the model, all of it in the main file.
fn killed() -> (World, String) {
    let world = World::new();
    let turns = format!("{}[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n", write("one.txt", "1"));
    let model = world.script("slow", &turns);
    let running = world.start(&["run", "-m", &model, "--ask", "never", "make the test pass"]);
    let shown = world.wait("the model is asked again", |shown| shown["steps"] == 4);
    running.signal(Signal::KILL);
    running.end();
    world.run(&["gc"]).expect(0);
    (world, shown["session_id"].as_str().unwrap().to_owned())
}

/// Where bytes are in the store's file, all of them.
fn places(world: &World, bytes: &[u8]) -> Vec<usize> {
    let file = std::fs::read(world.path(STORE)).unwrap();
    let places: Vec<usize> =
        file.windows(bytes.len()).enumerate().filter(|(_, part)| *part == bytes).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{:?} is not in the file", String::from_utf8_lossy(bytes));
    places
}

/// Flips a bit of these bytes, wherever they are, this many bytes after their beginning.
fn flip(world: &World, bytes: &[u8], after: usize) {
    let places = places(world, bytes);
    let mut file = std::fs::read(world.path(STORE)).unwrap();
    places.into_iter().for_each(|at| file[at + after] ^= 1);
    std::fs::write(world.path(STORE), file).unwrap();
}

/// The command says this, at this level, and what to type next; its exit code goes by the worst.
#[track_caller]
fn found(world: &World, args: &[&str], level: &str, name: &str, words: &str) -> Value {
    let ended = world.run(&[args, &["--json"]].concat());
    let all = ended.json();
    let findings = all["findings"].as_array().unwrap_or_else(|| panic!("{all:#}"));
    let fits = |finding: &&Value| {
        finding["level"] == level
            && finding["name"] == name
            && finding["what"].as_str().unwrap().contains(words)
    };
    let found = findings.iter().find(fits).unwrap_or_else(|| panic!("no {level} {name} `{words}`: {all:#}"));
    assert!(level == "ok" || !found["hint"].as_str().unwrap().is_empty(), "{found:#}");
    let bad = findings.iter().any(|finding| finding["level"] == "bad");
    assert_eq!(ended.code, i32::from(bad), "{all:#}");
    assert_eq!(all["exit_code"], ended.code);
    // For people the same, in words.
    let text = world.run(args);
    assert_eq!(text.code, ended.code);
    assert!(text.out.contains(words), "{}", text.out);
    found.clone()
}

#[test]
fn a_sound_store_is_told_part_by_part_and_left_as_it_is() {
    let world = landed();
    // SQLite's two side files come with any reader of a store that can be written; all else stays, times included.
    let image = |world: &World| {
        let entries = std::fs::read_dir(world.path("kapell/data")).unwrap().map(Result::unwrap);
        let mut files: Vec<_> = entries
            .filter(|entry| {
                !["kapell.db-shm", "kapell.db-wal"].contains(&entry.file_name().to_str().unwrap())
            })
            .map(|entry| {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                (
                    entry.file_name(),
                    entry.metadata().unwrap().modified().unwrap(),
                    contract::Digest::of(&bytes),
                )
            })
            .collect();
        files.sort();
        files
    };
    let before = image(&world);
    for (name, words) in [
        ("chain", "every hash recomputed"),
        ("fold", "1 sessions and 1 ledgers"),
        ("snapshots", "agree with the fold"),
        ("blobs", "that records refer to are there"),
        ("leases", "no fence goes back"),
        ("inbox", "0 intents wait"),
    ] {
        found(&world, &["verify"], "ok", name, words);
    }
    found(&world, &["verify", "last"], "ok", "chain", "folded anew");
    found(&world, &["verify", "last"], "ok", "workspaces", "is whole");
    assert_eq!(image(&world), before);
    world.run(&["verify", "nobody"]).expect(2);
    let doctor = world.run(&["doctor", "--json"]).expect(0).json();
    let bad = |finding: &&Value| finding["level"] == "bad";
    assert_eq!(doctor["findings"].as_array().unwrap().iter().find(bad), None);
}

#[test]
fn a_store_in_use_can_be_verified() {
    let world = World::new();
    let model = world.script("slow", "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n");
    let running = world.start(&["run", "-m", &model, "goal"]);
    world.wait("the model is asked", |shown| shown["steps"] == 2);
    found(&world, &["verify"], "ok", "leases", "1, 1 held");
    found(&world, &["verify", "last"], "ok", "chain", "folded anew");
    found(&world, &["doctor"], "ok", "sessions", "1 at work");
    running.signal(Signal::KILL);
    running.end();
}

#[test]
fn a_read_only_store_can_be_verified() {
    use std::os::unix::fs::PermissionsExt;
    let world = landed();
    let mode = |bits| {
        for name in ["kapell/data/kapell.db", "kapell/data"] {
            std::fs::set_permissions(world.path(name), PermissionsExt::from_mode(bits)).unwrap();
        }
    };
    mode(0o555);
    if std::fs::write(world.path("kapell/data/probe"), "").is_ok() {
        println!("SKIPPED: this user may write everywhere");
        std::fs::remove_file(world.path("kapell/data/probe")).unwrap();
    } else {
        world.run(&["verify"]).expect(0);
        found(&world, &["doctor"], "bad", "commit", "cannot write in");
    }
    mode(0o755);
}

#[test]
fn a_damaged_record_is_named_with_its_session() {
    let world = landed();
    // Words are packed, commits are not.
    let events = world.run(&["events", "last"]).expect(0).lines();
    let result = events.iter().find_map(|line| line["event"]["judged"]["result"].as_str()).unwrap();
    flip(&world, result.as_bytes(), 3);
    found(&world, &["verify"], "bad", "chain", "DAMAGED session/");
    found(&world, &["verify", "last"], "bad", "chain", "DAMAGED session/");
    let text = world.run(&["verify"]).expect(1).out;
    assert_eq!(text.matches("DAMAGED session/").count(), 1, "once: {text}");
}

#[test]
fn a_damaged_blob_is_named() {
    let world = landed();
    flip(&world, b"make the test pass", 1);
    found(&world, &["verify"], "bad", "blobs", "its digest is another");
    found(&world, &["verify", "last"], "bad", "blobs", "its digest is another");
}

#[test]
fn a_blob_that_is_not_there_is_named_by_what_refers_to_it() {
    let world = landed();
    // Its row and the index over rows go by another digest now.
    let digest = contract::Digest::of(b"make the test pass");
    let mut file = std::fs::read(world.path(STORE)).unwrap();
    // In a record, packed, a mark stands before it (FORMATS.md, section 1).
    let unpacked: Vec<usize> = places(&world, &digest.0).into_iter().filter(|at| file[at - 1] != 1).collect();
    unpacked.into_iter().for_each(|at| file[at + 5] ^= 1);
    std::fs::write(world.path(STORE), file).unwrap();
    found(&world, &["verify"], "bad", "blobs", &format!("DAMAGED blob {digest}: event 1 of session/"));
    found(&world, &["verify", "last"], "bad", "blobs", "and it is not there");
}

#[test]
fn a_deleted_blob_file_is_named() {
    let world = World::new();
    let turns = format!("{}{}", shell("head -c 200000 /dev/urandom | od -An -tx1"), fixes());
    let model = world.script("loud", &turns);
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    let files: Vec<PathBuf> = std::fs::read_dir(world.path("kapell/data/blobs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!files.is_empty());
    std::fs::remove_file(&files[0]).unwrap();
    found(&world, &["verify"], "bad", "blobs", "its file:");
    found(&world, &["verify", "last"], "bad", "blobs", "its file:");
}

#[test]
fn a_damaged_snapshot_is_named_and_nothing_else() {
    let world = World::new();
    let looks = call("list", "path = \".\"").replace("[[turn]]\n[[", "[[turn]]\nrepeat = 42\n[[");
    let model = world.script("long", &format!("{looks}{}{DONE}", write("fixed.txt", "fixed\\n")));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    found(&world, &["verify"], "ok", "snapshots", "1: every hash recomputed; 1 agree with the fold");
    flip(&world, b"{\"schema\":", 4);
    found(&world, &["verify"], "bad", "snapshots", "DAMAGED snapshot of session/");
    found(&world, &["verify"], "ok", "chain", "every hash recomputed");
}

#[test]
fn a_damaged_lease_is_named_and_a_dead_holder_too() {
    let (world, id) = killed();
    let lease = found(&world, &["verify"], "note", "leases", "held it and is gone");
    assert!(lease["hint"].as_str().unwrap().contains(&format!("kapell resume {id}")), "{lease:#}");
    let owner = lease["what"].as_str().unwrap().split(' ').nth(2).unwrap().to_owned();
    flip(&world, owner.as_bytes(), 1);
    let bad = format!("the row of session {id} is not what was written");
    let lease = found(&world, &["verify"], "bad", "leases", &bad);
    let mends = format!("kapell resume {id}");
    assert!(lease["hint"].as_str().unwrap().contains(&mends), "{lease:#}");
    found(&world, &["verify", &id], "bad", "leases", "its lease is not what was written");
    found(&world, &["doctor"], "bad", "leases", &format!("that of session {id} is not what was written"));
    world.run(&["sessions", "show", &id]).expect(0);
    world.script("slow", &format!("[[turn]]\ntext = \"x\"\n{}", fixes()));
    world.run(&["resume", &id]).expect(0);
    found(&world, &["verify"], "ok", "leases", "no fence goes back");
}

#[test]
fn a_damaged_intent_is_named_and_one_that_waits_for_nobody() {
    let world = World::new();
    let model = world.script("slow", "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n");
    let running = world.start(&["run", "-m", &model, "goal"]);
    let shown = world.wait("the model is asked", |shown| shown["steps"] == 2);
    running.signal(Signal::STOP);
    let cancel = world.start(&["cancel", "last"]);
    until("it is in the inbox", || world.run(&["verify"]).out.contains("1 intents wait"));
    for running in [cancel, running] {
        running.signal(Signal::KILL);
        running.end();
    }
    world.run(&["gc"]).expect(0);
    flip(&world, b"\"wish\":\"cancel\"", 9);
    let id = shown["session_id"].as_str().unwrap();
    found(&world, &["verify"], "bad", "inbox", &format!("for session {id}, is not what was written"));
}

#[test]
fn a_workspace_that_is_gone_or_foreign_is_named() {
    let (world, id) = killed();
    found(&world, &["doctor"], "ok", "workspaces", "1 with ");
    let dir = world.path(&format!("kapell/state/sessions/{id}"));
    // Somebody's own directory, and one that Kapell made for a session of another store.
    std::fs::create_dir(dir.with_file_name("mine")).unwrap();
    found(&world, &["doctor"], "note", "workspaces", "mine was not made by Kapell");
    std::fs::rename(dir.join("tree"), world.path("tree")).unwrap();
    found(&world, &["doctor"], "bad", "workspaces", "tree is missing");
    std::fs::rename(world.path("tree"), dir.join("tree")).unwrap();
    std::fs::write(dir.join("git/objects/info/alternates"), "/nowhere\n").unwrap();
    found(&world, &["doctor"], "bad", "workspaces", "borrowed objects is not what Kapell wrote");
    found(&world, &["verify", "last"], "bad", "workspaces", "borrowed objects is not what Kapell wrote");
    std::fs::rename(&dir, world.path("elsewhere")).unwrap();
    let lost = found(&world, &["doctor"], "bad", "workspaces", "its workspace is gone");
    assert!(lost["what"].as_str().unwrap().contains(&id), "{lost:#}");
    found(&world, &["verify", "last"], "bad", "workspaces", "its workspace is gone");
}

#[test]
fn pins_that_are_missing_wrong_or_left_behind_are_named() {
    let (world, id) = killed();
    let pin = format!("refs/kapell/base/{id}");
    found(&world, &["doctor"], "ok", "pins", "1 bases are pinned");
    let base = world.git(&["rev-parse", &pin]);
    world.git(&["update-ref", "-d", &pin]);
    let missing = found(&world, &["doctor"], "bad", "pins", "is missing");
    // What it says to type mends it.
    assert!(missing["hint"].as_str().unwrap().ends_with(&format!("update-ref {pin} {base}")), "{missing:#}");
    world.git(&["commit", "-q", "--allow-empty", "-m", "other"]);
    world.git(&["update-ref", &pin, "HEAD"]);
    found(&world, &["verify", "last"], "bad", "pins", "not to the base");
    world.git(&["update-ref", &pin, &base]);
    found(&world, &["doctor"], "ok", "pins", "1 bases are pinned");
    let stranger = "01a1f870-0000-7000-8000-000000000001";
    world.git(&["update-ref", &format!("refs/kapell/base/{stranger}"), "HEAD"]);
    found(&world, &["doctor"], "note", "pins", &format!("refs/kapell/base/{stranger}, of no session"));
    std::fs::rename(world.repo().join(".git"), world.path("moved.git")).unwrap();
    found(&world, &["doctor"], "bad", "workspaces", "the objects it borrows are gone");
}

#[test]
fn locks_records_and_checkouts_of_dead_processes_are_named() {
    let world = landed();
    let id = world.shown()["session_id"].as_str().unwrap().to_owned();
    found(&world, &["doctor"], "note", "locks", &format!("such as {id}"));
    let records = world.path(&format!("kapell/state/run/{id}"));
    std::fs::create_dir_all(&records).unwrap();
    std::fs::write(records.join("t.run"), "boot another-one\nleader 1 2\n").unwrap();
    found(
        &world,
        &["doctor"],
        "note",
        "processes",
        &format!("session {id}: 1 records of programs that are gone"),
    );
    let slot = world.path("kapell/cache/checks/somewhere/0");
    std::fs::create_dir_all(slot.join("base")).unwrap();
    std::fs::write(slot.join("lock"), "").unwrap();
    found(&world, &["doctor"], "note", "checks", "1 with checkouts of a run that died");
    world.run(&["gc"]).expect(0);
    let doctor = world.run(&["doctor", "--json"]).expect(0).json();
    for name in ["locks", "processes", "checks"] {
        let left = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == name);
        assert_eq!(left, None, "gc did what was said");
    }
}
