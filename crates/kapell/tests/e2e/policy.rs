//! Rules of people: what never runs, what need not ask, and what `policy` says about it.

use crate::world::{World, fixes, shell};

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
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(8);
    let approved = world.run(&["approve", "--always", "last"]).expect(0);
    assert!(approved.out.contains("rule: allow exactly `touch made.log`"), "{}", approved.out);
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
