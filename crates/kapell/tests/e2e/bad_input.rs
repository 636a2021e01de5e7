//! Bad input: a clear error, the right exit code, nothing lost, nothing hung.
//!
//! Start at [`errors_of_usage`], the table.

use crate::world::{Ended, World, finish, fixes, write};
use std::process::Stdio;

#[track_caller]
fn says(ended: &Ended, words: &str) {
    assert!(ended.err.contains(words), "`{words}` is missing in:\n{}", ended.err);
    assert!(ended.err.contains("hint:") || ended.err.contains("tip:"), "no hint in:\n{}", ended.err);
    assert_eq!(ended.out, "");
}

#[test]
fn errors_of_usage() {
    let world = World::new();
    for (args, words) in [
        (&["rnu", "x"][..], "rnu"),
        (&["run", "x", "--modle", "y"], "--modle"),
        (&["run"], "there is no goal"),
        (&["run", "  "], "the goal is empty"),
        (&["run", "-m", "builtin/fixr", "x"], "there is no model `builtin/fixr`"),
        (&["run", "--allowedTools", "raed", "x"], "there is no tool `raed`"),
        (&["run", "-o", "no/such/dir/file", "x"], "cannot write"),
        (&["-C", "no/such/dir", "run", "x"], "cannot enter"),
        (&["resume", "nosuchone"], "there is no session `nosuchone`"),
        (&["why", "last"], "there are no sessions yet"),
        (&["-m", "x", "sessions"], "mixed"),
    ] {
        let ended = world.run(args).expect(2);
        says(&ended, words);
        assert!(!world.path("kapell/state/sessions").exists(), "{args:?} made a session");
    }
    world.run(&[]).expect(2);
}

#[test]
fn a_place_without_a_repository_says_what_to_type() {
    let world = World::empty();
    says(&world.run(&["run", "x"]).expect(2), "not inside a git repository");
    world.git(&["init", "-q", "-b", "main"]);
    let ended = world.run(&["run", "x"]).expect(1);
    assert!(ended.out.contains("git commit"), "{}", ended.out);
}

#[test]
fn an_unusable_configuration_touches_nothing() {
    let world = World::new();
    world.write("kapell/config/config.toml", "model = \"x\"\n[budget\n");
    let ended = world.run(&["run", "x"]).expect(2);
    says(&ended, "config.toml:2: this is not TOML");
    world.write("kapell/config/config.toml", "modle = \"x\"\n");
    says(&world.run(&["run", "x"]).expect(2), "no key `modle`");
    assert!(!world.path("kapell/state").exists());
}

#[test]
fn a_prompt_of_ten_megabytes_is_refused() {
    let world = World::new();
    let big = vec![b'x'; 10 << 20];
    says(&finish(world.kapell(&["run", "-"]), &big).expect(2), "longer than 4 MiB");
}

#[test]
fn odd_files_and_names_go_through() {
    let world = World::new();
    let odd = std::ffi::OsString::from_encoded(b"caf\xe9\nnew line \x1b[31m");
    std::fs::write(world.repo().join(odd), [0u8, 159, 146, 150]).unwrap();
    std::fs::write(world.repo().join("binary"), (0..=255u8).cycle().take(100_000).collect::<Vec<_>>())
        .unwrap();
    for n in 0..300 {
        world.write(&format!("repo/many/{n}/file.txt"), "x");
    }
    world.commit("odd");
    let before = world.image().0.len();
    let model = world.script("fix", &fixes());
    let ended = world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    assert!(!ended.out.contains('\x1b') && !ended.err.contains('\x1b'));
    assert_eq!(world.image().0.len(), before + 1);
}

trait Encoded {
    fn from_encoded(bytes: &[u8]) -> Self;
}

impl Encoded for std::ffi::OsString {
    fn from_encoded(bytes: &[u8]) -> Self {
        std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.write("locked/keep", "");
    std::fs::set_permissions(world.path("locked"), PermissionsExt::from_mode(0o555)).unwrap();
    std::fs::set_permissions(world.repo(), PermissionsExt::from_mode(0o777)).unwrap();
    let mut command = if rustix::process::getuid().is_root() {
        // Root may write everywhere: be somebody else. Everything on the way must be open to them.
        std::fs::set_permissions(world.path(""), PermissionsExt::from_mode(0o755)).unwrap();
        let open = std::process::Command::new("setpriv");
        let mut command = open;
        command.args(["--reuid=65534", "--clear-groups", env!("CARGO_BIN_EXE_kapell"), "run", "x"]);
        command.current_dir(world.repo()).env_clear().env("PATH", "/usr/bin:/bin");
        command
    } else {
        world.kapell(&["run", "x"])
    };
    command.env("KAPELL_HOME", world.path("locked/home"));
    // Where the binary itself is out of that person's reach there is nothing to be seen.
    let ended = match command.stdin(Stdio::null()).output() {
        Ok(out) if String::from_utf8_lossy(&out.stderr).contains("setpriv:") => return,
        Ok(out) => out,
        Err(_) => return,
    };
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot create") && said.contains("KAPELL_HOME"), "{said}");
}

#[test]
fn closed_streams_neither_hang_nor_lose_the_run() {
    let world = World::new();
    let model = world.script("fix", &format!("[[turn]]\ndelay_ms = 300\ntext = \"x\"\n{}", fixes()));
    let mut command =
        world.kapell(&["run", "-m", &model, "make the test pass", "--output-format", "stream-json"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
}

#[test]
fn standard_input_that_never_ends_is_not_waited_for() {
    let world = World::new();
    let model = world.script("fix", &fixes());
    let mut command = world.kapell(&["run", "-m", &model, "make the test pass"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let open = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(open);
}

#[test]
fn twenty_columns_are_enough() {
    let world = World::new();
    let model = world.script("fix", &format!("{}{}", write("a", "b"), fixes()));
    // `script` gives it a terminal; where there is no such program, there is nothing to be seen.
    let line =
        format!("stty cols 20; {} run -m '{model}' 'make the test pass'", env!("CARGO_BIN_EXE_kapell"));
    let mut command = world.kapell(&[]);
    command = {
        let mut script = std::process::Command::new("script");
        script
            .env_clear()
            .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .current_dir(world.repo());
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
        script
    };
    let Ok(out) = command.stdin(Stdio::null()).output() else { return };
    let shown = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{shown}");
    for status in shown.split("\r\u{1b}[2K").skip(1).filter_map(|s| s.split(['\r', '\n']).next()) {
        let first = status.chars().next().unwrap_or(' ');
        if ('⠀'..='⣿').contains(&first) {
            assert!(status.chars().count() <= 19, "{status:?}");
        }
    }
}
