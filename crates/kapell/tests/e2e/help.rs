//! What `--help` says, as it stands: a change of it is a change for people.
//!
//! Start at [`pages`].

use crate::world::World;

#[test]
fn pages() {
    let world = World::empty();
    let mut all = String::new();
    for command in [
        "",
        "run",
        "demo",
        "resume",
        "sessions",
        "sessions list",
        "sessions show",
        "sessions tree",
        "events",
        "why",
        "cost",
        "cancel",
        "approve",
        "deny",
        "answer",
        "rewind",
        "diff",
        "jobs",
        "attach",
        "verify",
        "doctor",
        "gc",
    ] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let page = world.run(&args).expect(0);
        assert_eq!(page.err, "");
        all.push_str(&format!("$ kapell {}\n{}\n", args.join(" "), page.out));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn the_version_is_one_line() {
    let ended = World::empty().run(&["--version"]).expect(0);
    assert_eq!(ended.out, format!("kapell {}\n", env!("CARGO_PKG_VERSION")));
}
