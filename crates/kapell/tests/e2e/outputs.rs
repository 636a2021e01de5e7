//! Outputs of programs from outside: what an agent is shown of them, what a watcher sees meanwhile, parsers of one's own.
//!
//! Start at the first test; each is one story.

use crate::world::{World, call, finish, fixes, shell};

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
    finish(world.kapell(&["parse", "--limit", "18446744073709551615"]), log).expect(2);
    finish(world.kapell(&["parse", "--limit", "67108864"]), log).expect(0);
    let doctor = world.run(&["doctor"]);
    assert!(doctor.out.contains("(unclosed"), "{}", doctor.out);
}

#[test]
fn every_byte_of_a_long_output_is_kept_read_and_searched() {
    let world = World::new();
    // Twelve megabytes, not all of it text, with one line in the middle that nobody would show.
    let flood =
        r#"i=0; while [ $i -lt 3 ]; do seq 600000; printf "\377\000needle in $i\n"; i=$((i+1)); done"#;
    let made = std::process::Command::new("/bin/bash").args(["-c", flood]).output().unwrap().stdout;
    let digest = contract::Digest::of(&made);
    assert!(made.len() > 12_000_000, "{}", made.len());
    let turns = [
        shell(flood),
        call("search", &format!("path = \"blob:{digest}\", pattern = \"needle in 1\", literal = true")),
        call("read", &format!("path = \"blob:{digest}\", offset = 1200002, limit = 1")),
        fixes(),
    ];
    let model = world.script("flood", &turns.concat());
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    let transcript = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(transcript.contains("needle in 1"), "{transcript}");
    assert!(transcript.contains("1200002\t"), "{transcript}");
    let export = world.path("out").display().to_string();
    world.run(&["events", "last", "--export", &export]).expect(0);
    assert!(std::fs::read(world.path("out/blobs").join(digest.to_string())).unwrap() == made);
    // Nothing half done lies about, and nothing that an event mentions is taken away.
    assert_eq!(std::fs::read_dir(world.path("kapell/data/spool")).unwrap().count(), 0);
    world.run(&["gc"]).expect(0);
    assert_eq!(world.run(&["verify"]).expect(0).code, 0);
    world.write("kapell/data/spool/00000000-0000-7000-8000-000000000001.1-0", "half");
    let dry = world.run(&["gc", "--dry-run"]).expect(0).out;
    assert!(dry.contains("half an output") && dry.contains("would be freed"), "{dry}");
    world.run(&["gc"]).expect(0);
    assert_eq!(std::fs::read_dir(world.path("kapell/data/spool")).unwrap().count(), 0);
}

#[test]
fn a_learned_parser_that_reads_nothing_any_more_is_laid_aside() {
    let world = World::new();
    let printed = "checking\nPROBLEM one.q line 7: too odd\nchecked";
    let odd = |lines: &str| shell(&format!("oddcheck() {{ printf \"{lines}\\n\"; return 1; }}; oddcheck"));
    let digest = contract::Digest::of(format!("{printed}\n[exit status 1]").as_bytes());
    let learn = call(
        "learn_parser",
        &format!(
            "name = \"oddcheck\", command = [\"oddcheck\"], output = \"blob:{digest}\", \
            example = \"PROBLEM one.q line 7: too odd\", \
            patterns = ['^PROBLEM (?<file>\\S+) line (?<line>\\d+): (?<message>.+)$']"
        ),
    );
    let (old, new) = (odd(&printed.replace('\n', "\\n")), odd("checking\\none.q(7) is too odd\\nchecked"));
    let model =
        world.script("learns", &[old.clone(), learn, old, new.clone(), new.clone(), new, fixes()].concat());
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    let transcript = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(transcript.contains("parser `oddcheck` is learned"), "{transcript}");
    assert!(transcript.contains("[exit status 1; 1 error, 0 warnings in 3 lines]"), "{transcript}");
    assert_eq!(transcript.matches("the learned parser `oddcheck` reads nothing").count(), 1, "{transcript}");
}

#[test]
fn what_is_kept_of_an_output_can_be_bounded() {
    let world = World::new();
    world.write("kapell/config/config.toml", "output_keep = \"6 MiB\"\n");
    let model = world.script("flood", &format!("{}{}", shell("seq 2000000; echo the end"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    let blobs = std::fs::read_dir(world.path("kapell/data/blobs")).unwrap();
    let raw = blobs.flatten().find(|entry| entry.file_name().to_string_lossy().ends_with(".raw")).unwrap();
    let kept = std::fs::read(raw.path()).unwrap();
    assert!(kept.starts_with(b"1\n2\n") && kept.ends_with(b"2000000\nthe end\n"));
    assert!((6 << 20..(6 << 20) + 100).contains(&kept.len()), "{}", kept.len());
    let text = String::from_utf8(kept).unwrap();
    assert!(text.contains(" bytes were not kept ...]\n"));
}
