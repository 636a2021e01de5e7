//! What confines commands: shown, tried, and in force for what an agent runs and for checks.
//!
//! What a confinement holds is proved in `crates/sandbox/tests/confined.rs`; here, that it is there.

use crate::world::{World, fixes, shell};

const ON: &str = "[sandbox]\nprofile = \"workspace-write\"\n";

/// A world whose commands are confined; `None`, with a word, where this system cannot.
fn confined(config: &str) -> Option<World> {
    let world = World::new();
    world.write("kapell/config/config.toml", config);
    let shown = world.run(&["sandbox", "--profile", "workspace-write", "--json"]);
    if shown.code != 0 {
        println!("SKIPPED: {}", shown.out);
        return None;
    }
    Some(world)
}

#[test]
fn it_is_shown_and_tried() {
    let Some(world) = confined(ON) else { return };
    let shown = world.run(&["sandbox"]).expect(0);
    assert!(shown.out.contains("in force    workspace-write: landlock "), "{}", shown.out);
    assert!(shown.out.contains("seccomp, namespaces, network off"), "{}", shown.out);
    let line = "echo in > in.txt; echo out > ../out.txt; cat ../kapell/config/config.toml; git status --short; exit 7";
    let tried = world.run(&["sandbox", "--", "sh", "-c", line]).expect(7);
    assert!(tried.out.contains("?? in.txt") && !tried.out.contains("profile"), "{}", tried.out);
    assert!(world.path("repo/in.txt").exists() && !world.path("out.txt").exists());
    // Nothing is left of what was closed for the time being.
    assert!(!world.path("repo/.git/commondir").exists());
    let read = world.run(&["sandbox", "--profile", "read-only", "--", "touch", "made.txt"]);
    assert!(read.code != 0 && !world.path("repo/made.txt").exists(), "{}", read.out);
    let full = world.run(&["sandbox", "--profile", "full", "--", "touch", "../made.txt"]).expect(0);
    assert!(world.path("made.txt").exists(), "{}", full.out);
}

#[test]
fn an_agents_commands_are_confined_and_need_no_yes() {
    let Some(world) = confined(ON) else { return };
    let out = world.path("out.txt");
    let line =
        format!("touch made.log; echo x > {}; echo $HOME; ls -A ~; git log --oneline | wc -l", out.display());
    let model = world.script("out", &format!("{}{}", shell(&line), fixes()));
    // What is below /tmp is the command's own: nobody is asked, and nothing is written outside.
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(0);
    assert!(!out.exists());
    let model = world
        .script("in", &format!("{}{}", shell("make -v; touch made.log; cc -v; python3 -V; true"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(0);
    let events = world.run(&["events", "last"]).expect(0);
    assert!(events.out.contains("confined: workspace-write: landlock "), "{}", events.out);
    // Whoever is not asked is held all the same.
    let model = world.script("never", &format!("{}{}", shell(&line), fixes()));
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    assert!(!out.exists());
}

#[test]
fn checks_are_confined() {
    let Some(world) = confined(ON) else { return };
    let out = world.path("out.txt");
    let check =
        format!("touch {} 2> /dev/null; grep -q fixed fixed.txt && git log -1 > /tmp/own", out.display());
    world.write("repo/.kapell/config.toml", &format!("[checks.test]\nrun = \"{check}\"\nkind = \"test\"\n"));
    world.commit("a check that writes elsewhere");
    let model = world.script("fix", &fixes());
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    assert!(!out.exists());
}

#[test]
fn checks_of_one_message_are_one_process_and_each_has_its_own_result() {
    let Some(world) = confined(ON) else { return };
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return println!("SKIPPED 1 case: there is no python3");
    }
    for (name, text) in [("a", "x = 1\n"), ("b", "y = 2\n"), ("c", "z = 3\n"), ("bad", "x = (\n")] {
        world.write(&format!("repo/{name}.py"), text);
    }
    world.write("repo/.gitignore", "__pycache__/\n");
    world.commit("programs");
    let turn = |expect: &str, names: &[&str]| -> String {
        let expect = if expect.is_empty() {
            String::new()
        } else {
            format!("expect = '''{expect}'''\nliteral = true\n")
        };
        let call = |name: &&str| {
            format!(
                "[[turn.call]]\ntool = \"shell\"\nargs = {{ command = 'python3 -m py_compile {name}.py' }}\n"
            )
        };
        format!("[[turn]]\n{expect}{}", names.iter().map(call).collect::<String>())
    };
    let turns = [
        turn("", &["a", "b", "c"]),
        turn("[exit status 0; one process for 3 files]", &["a", "bad"]),
        turn("SyntaxError", &["b"]),
        fixes(),
    ];
    let model = world.script("lint", &turns.concat());
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(0);
    let events = world.run(&["events", "last", "--json"]).expect(0).json();
    let events: Vec<String> = events.as_array().unwrap().iter().map(ToString::to_string).collect();
    let of = |word: &str| events.iter().filter(|text| text.contains(word)).collect::<Vec<_>>();
    let started = of("{\"started\":");
    let together: Vec<usize> = started.iter().map(|text| text.matches("\"together\"").count()).collect();
    let together: Vec<usize> = together.into_iter().filter(|count| *count > 0).collect();
    assert_eq!(together, [3, 2, 1], "{started:#?}");
    let first = started.iter().find(|text| text.contains("\"together\"")).unwrap();
    assert!(first.contains("3 calls together; confined: workspace-write"), "{first}");
    // Each call has a result of its own, and what was not well says so alone.
    let results = of("\"results\":");
    let oks: Vec<usize> = results.iter().map(|text| text.matches("\"ok\":true").count()).collect();
    assert_eq!(oks[..3], [3, 1, 1], "{results:#?}");
}
