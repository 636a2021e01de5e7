//! What a session may take of the machine: memory and disk that run short, and its own share of the disk.
//!
//! Start at the first test; each is one story. A disk that really fills up is `cargo xtask matrix`.

use crate::world::{World, fixes, shell};

#[test]
fn short_of_memory_nothing_begins_and_what_was_held_back_goes_on_later() {
    let world = World::new();
    // As if the machine had none left: one per cent is always in use.
    world.write("kapell/config/config.toml", "pause_memory = 1\n");
    let slow = "[[turn]]\ndelay_ms = 2500\n[[turn.call]]\ntool = \"list\"\nargs = {}\n";
    let model = world.script("slow", &format!("{slow}{}", fixes()));
    let ended = world
        .run(&["run", "-m", &model, "--ask", "never", "--timeout", "6s", "make the test pass"])
        .expect(124);
    assert!(ended.err.contains("paused, nothing new begins: memory is nearly used up ("), "{}", ended.err);
    assert!(!world.repo().join("fixed.txt").exists());
    world.write("kapell/config/config.toml", "pause_memory = 100\n");
    let ended = world.run(&["resume", "last"]).expect(0);
    assert!(!ended.err.contains("paused"), "{}", ended.err);
    assert_eq!(world.run(&["verify"]).expect(0).code, 0);
}

#[test]
fn a_session_that_holds_too_much_is_told_and_makes_room() {
    let world = World::new();
    world.write("kapell/config/config.toml", "session_disk = \"8 MiB\"\n");
    let turns = [
        shell("head -c 9000000 /dev/zero > big; sleep 0.3; echo made"),
        shell("echo never seen"),
        shell("rm big"),
        shell("sleep 0.3; echo there is room"),
        fixes(),
    ];
    let model = world.script("fills", &turns.concat());
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    let told = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    let refused = "not run: the directory of this session holds ";
    assert_eq!(told.matches(refused).count(), 1, "{told}");
    assert!(!told.contains("     never seen") && told.contains("     there is room"), "{told}");
}
