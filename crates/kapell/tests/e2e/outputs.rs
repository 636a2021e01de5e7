//! Outputs of programs from outside: what an agent is shown of them, what a watcher sees meanwhile, parsers of one's own.
//!
//! Start at the first test; each is one story.

use crate::world::{World, finish, fixes, shell};

#[test]
fn the_error_behind_a_million_lines_reaches_agent_and_watcher() {
    let world = World::new();
    let flood = shell("seq 1000000; echo src/a.c:7:3: error: the last of all; exit 1");
    let small = shell("echo src/b.c:9:1: error: seen at once");
    let model = world.script("flood", &format!("{flood}{small}{}", fixes()));
    let args =
        ["run", "-m", &model, "--ask", "never", "make the test pass", "--output-format", "stream-json"];
    let lines = world.run(&args).expect(0).lines();
    let result = lines.iter().find(|line| line["type"] == "user").unwrap();
    let shown = result["message"]["content"][0]["content"].as_str().unwrap();
    assert!(shown.starts_with("1\n") && shown.len() < 12 * 1024, "{shown}");
    assert!(
        shown.contains("\nsrc/a.c:7:3: error: the last of all\n[... only a part is shown, of "),
        "{shown}"
    );
    assert!(shown.ends_with("[exit status 1; 1 error, 0 warnings in 1000001 lines]"), "{shown}");
    let told = lines.iter().find(|line| line["finding"]["file"] == "src/b.c").unwrap();
    assert_eq!((told["type"].as_str(), told["finding"]["line"].as_u64()), (Some("progress"), Some(9)));
}

#[test]
fn a_log_is_read_with_parsers_of_ones_own() {
    let world = World::empty();
    world.write(
        "kapell/config/config.toml",
        "[parsers.oddcheck]\ncommand = [\"oddcheck\"]\npatterns = ['^ODD (?<file>\\S+): (?<message>.+)$', '(unclosed']\n",
    );
    let log = b"starting\nODD a.q: why\ntest b ... FAILED\n";
    let ended = finish(world.kapell(&["parse", "--tool", "oddcheck --all", "--json"]), log).expect(0);
    assert!(ended.err.contains("warning: parser `oddcheck`: pattern `(unclosed`"), "{}", ended.err);
    let seen = ended.json();
    assert_eq!(seen["findings"][0]["file"], "a.q");
    assert_eq!(
        (&seen["findings"][0]["tool"], &seen["ends"][0]["ending"]),
        (&"oddcheck".into(), &"failed".into())
    );
    let ended = finish(world.kapell(&["parse", "--tool", "oddcheck"]), log).expect(0);
    assert!(
        ended.out.starts_with("1 error, 0 warnings in 3 lines; tests: 0 passed, 1 failed\n"),
        "{}",
        ended.out
    );
    world.run(&["parse", "no-such-file"]).expect(2);
    let doctor = world.run(&["doctor"]);
    assert!(doctor.out.contains("(unclosed"), "{}", doctor.out);
}
