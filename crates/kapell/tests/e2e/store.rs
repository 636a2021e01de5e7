//! The store from outside: verify, export, gc, names of sessions.
//!
//! Start at the first test; each is one story.

use crate::world::{DONE, World, fixes, write};

fn landed() -> World {
    let world = World::new();
    let model = world.script("fix", &fixes());
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    world
}

#[test]
fn an_export_is_the_whole_session() {
    let world = landed();
    let dir = world.path("export");
    world.run(&["events", "last", "--export", dir.to_str().unwrap()]).expect(0);
    assert_eq!(world.read("export/events.jsonl"), world.run(&["events", "last"]).expect(0).out);
    let lines = world.read("export/chain.txt");
    assert_eq!(lines.lines().count(), world.read("export/events.jsonl").lines().count());
    let blobs: Vec<_> = std::fs::read_dir(dir.join("blobs")).unwrap().flatten().collect();
    assert!(blobs.iter().any(|blob| std::fs::read(blob.path()).unwrap() == b"make the test pass"));
    world.run(&["events", "last", "--export", dir.to_str().unwrap()]).expect(2);
}

/// Makes an event unreadable.
fn damage(world: &World) {
    let file = world.path("kapell/data/kapell.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let events = world.run(&["events", "last"]).expect(0).lines();
    let result = events.iter().find_map(|line| line["event"]["judged"]["result"].as_str());
    let result = result.expect("a verdict names a commit").as_bytes();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(result)).collect();
    assert!(!places.is_empty(), "nothing in words stands in plain sight, a commit does");
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    std::fs::write(&file, bytes).unwrap();
}

#[test]
fn damage_is_found_and_named() {
    let world = landed();
    let well = world.run(&["verify"]).expect(0);
    assert!(well.out.contains("All is well."), "{}", well.out);
    damage(&world);
    let damaged = world.run(&["verify"]).expect(1);
    assert!(damaged.out.contains("DAMAGED session/"), "{}", damaged.out);
}

#[test]
fn a_backup_is_a_store_of_its_own() {
    let world = landed();
    let dir = world.path("other/data");
    std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
    world.run(&["backup", dir.to_str().unwrap()]).expect(0);
    world.run(&["backup", dir.to_str().unwrap()]).expect(2);
    let mut there = world.kapell(&["events", "last"]);
    there.env("KAPELL_HOME", world.path("other"));
    let copied = crate::world::finish(there, b"").expect(0).out;
    assert_eq!(copied, world.run(&["events", "last"]).expect(0).out);
}

#[test]
fn a_transcript_has_every_word_and_every_result() {
    let world = landed();
    let told = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(told.contains("you\n  make the test pass\n"), "{told}");
    assert!(told.contains("-> write {") && told.contains("<- ok"), "{told}");
    let entries = world.run(&["sessions", "transcript", "last", "--json"]).expect(0).json();
    assert_eq!(entries[0]["role"], "user", "{entries:#}");
}

#[test]
fn gc_takes_what_is_over_and_leaves_the_record() {
    let world = landed();
    let events = world.run(&["events", "last"]).expect(0).out;
    let dry = world.run(&["gc", "--dry-run", "--json"]).expect(0).json();
    assert!(dry["items"].as_array().unwrap().iter().any(|item| item["kind"] == "workspace"), "{dry:#}");
    let sessions = world.path("kapell/state/sessions");
    assert_eq!(std::fs::read_dir(&sessions).unwrap().count(), 1);
    world.run(&["gc"]).expect(0);
    assert_eq!(std::fs::read_dir(&sessions).unwrap().count(), 0);
    assert_eq!(world.run(&["events", "last"]).expect(0).out, events);
    world.run(&["verify"]).expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    assert_eq!(world.git(&["for-each-ref", "refs/kapell"]), "");
}

#[test]
fn gc_names_where_work_is_kept_and_leaves_what_it_cannot_keep() {
    let world = World::new();
    let model = world.script("lie", &format!("{}{DONE}{DONE}{DONE}{DONE}", write("fixed.txt", "broken\\n")));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(3);
    let moved = world.path("moved");
    std::fs::rename(world.repo(), &moved).unwrap();
    let gc = || {
        let mut command = world.kapell(&["gc"]);
        command.current_dir(world.path(""));
        crate::world::finish(command, b"").expect(0).out
    };
    let told = gc();
    assert!(told.contains(" stays: the repository ") && told.contains("put it back where it was"), "{told}");
    assert_eq!(std::fs::read_dir(world.path("kapell/state/sessions")).unwrap().count(), 1);
    std::fs::rename(&moved, world.repo()).unwrap();
    let told = gc();
    let parked = told.split_once("(work kept as ").and_then(|(_, rest)| rest.split_once(" in ")).unwrap().0;
    assert_eq!(world.git(&["show", &format!("{parked}:fixed.txt")]), "broken");
    assert!(
        told.contains(&format!("{parked} in {}", world.repo().canonicalize().unwrap().display())),
        "{told}"
    );
}

#[test]
fn gc_leaves_the_place_of_a_check_that_runs() {
    let world = landed();
    let slot = std::fs::read_dir(world.path("kapell/cache/checks"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path()
        .join("0");
    let built = slot.join("target/debug/deps/thing");
    std::fs::create_dir_all(built.parent().unwrap()).unwrap();
    std::fs::write(&built, "warm").unwrap();
    // A check that began after the looking did: its session is in no list, its lock is held.
    let lock = std::fs::File::options().write(true).open(slot.join("lock")).unwrap();
    lock.lock().unwrap();
    let told = world.run(&["gc"]).expect(0).out;
    assert!(told.contains("stays: a check runs in it"), "{told}");
    assert!(built.is_file());
    lock.unlock().unwrap();
    let told = world.run(&["gc", "--dry-run"]).expect(0).out;
    assert!(told.contains(&slot.display().to_string()) && built.is_file(), "{told}");
    world.run(&["gc"]).expect(0);
    assert!(!slot.join("target").exists() && slot.join("lock").is_file());
    assert!(!world.run(&["gc"]).expect(0).out.contains("place for checks"));
}

#[test]
fn gc_tells_what_it_removed_whatever_comes_after() {
    let world = landed();
    damage(&world);
    let ended = world.run(&["gc"]);
    assert_eq!(std::fs::read_dir(world.path("kapell/state/sessions")).unwrap().count(), 0);
    assert!(ended.out.lines().any(|line| line.starts_with("workspace ")), "{}\n{}", ended.out, ended.err);
}

#[test]
fn a_session_has_several_names() {
    let world = landed();
    let id = world.shown()["session_id"].as_str().unwrap().to_owned();
    for name in ["last", &id, &id[id.len() - 8..], &id[..20]] {
        let shown = world.run(&["sessions", "show", name, "--json"]).expect(0).json();
        assert_eq!(shown["session_id"], id, "{name}");
    }
    world.run(&["sessions", "show", &id[..3]]).expect(2);
}

#[test]
fn a_dry_gc_only_looks() {
    let world = landed();
    let run = world.path("kapell/state/run");
    // What a session whose lock is gone already has left.
    std::fs::create_dir_all(run.join("01a1f870-0000-7000-8000-000000000001")).unwrap();
    let names = || {
        let entries = std::fs::read_dir(&run).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    let dry = world.run(&["gc", "--dry-run"]).expect(0);
    assert!(dry.out.contains("locks and records"), "{}", dry.out);
    assert_eq!(names(), before);
    world.run(&["gc"]).expect(0);
}

#[test]
fn a_store_that_cannot_be_written_can_still_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let world = landed();
    let events = world.run(&["events", "last"]).expect(0).out;
    for name in ["kapell.db", "kapell.db-wal", "kapell.db-shm"] {
        let path = world.path(&format!("kapell/data/{name}"));
        if path.exists() {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o444)).unwrap();
        }
    }
    assert_eq!(world.run(&["events", "last"]).expect(0).out, events);
}

#[test]
fn a_change_can_be_seen_after_its_workspace_is_gone() {
    let world = World::new();
    let half = world.script("half", &format!("{}{DONE}", write("half.txt", "half\\n")));
    let good = world.script("good", &fixes());
    for (model, kept) in [(&half, "refs/kapell/parked/"), (&good, "")] {
        world.run(&["run", "-m", model, "--ask", "never", "make the test pass"]);
        let before = world.run(&["diff", "last"]).expect(0).out;
        assert!(before.contains("new file mode"), "{before}");
        world.run(&["gc"]).expect(0);
        let page = world.run(&["diff", "last", "--json"]).expect(0).json();
        assert_eq!(page["diff"].as_str(), Some(before.as_str()));
        let of = page["of"].as_str().unwrap();
        assert!(of.starts_with("its workspace was removed") && of.contains(kept), "{of}");
        let shown = world.run(&["sessions", "show", "last"]).expect(0).out;
        assert!(!shown.contains("\nworkspace "), "{shown}");
    }
}
