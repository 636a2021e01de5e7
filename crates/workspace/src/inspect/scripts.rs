//! Which files of the repository a check's command runs: `./ci.sh`, `sh check.sh`, `python3 -m checks.all`.
//!
//! Reads words only: what a shell makes of variables is not known, and what a script calls itself is not followed.
//! Start at [`changed`].

use super::{FileChange, flag, language};
use crate::committed::below;
use contract::checks::Flag;
use std::collections::BTreeSet;

/// Programs whose first argument is the file they run.
const READERS: [&str; 16] = [
    "sh", "bash", "dash", "zsh", "ksh", "fish", "python", "python3", "node", "deno", "bun", "ruby", "perl",
    "php", "source", ".",
];
/// Programs that run what follows them.
const BEFORE: [&str; 12] =
    ["env", "exec", "time", "nice", "command", "sudo", "run", "uv", "poetry", "npx", "timeout", "xvfb-run"];

/// Scripts of checks that were there on base and are not what they were. Files of tests are judged test by test.
pub(super) fn changed(changes: &[FileChange], commands: &[String]) -> Vec<Flag> {
    let scripts: BTreeSet<String> = commands.iter().flat_map(|command| scripts(command)).collect();
    let of = |change: &FileChange| {
        let path = change.old_path.as_deref()?;
        let run = scripts.contains(path) && !language::is_test_path(path);
        let verb = if change.new_path.is_none() { "was deleted" } else { "changed" };
        run.then(|| flag("check-changed", path, format!("a file that a check runs {verb}")))
    };
    changes.iter().filter_map(of).collect()
}

/// Paths from the top that this command line runs, there or in a directory it goes to.
fn scripts(line: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![String::new()];
    for part in line.split([';', '|', '&', '\n', '(', ')', '{', '}', '`']) {
        let mut words = part.split_whitespace().map(|word| word.trim_matches(['"', '\'', '$']));
        let Some(first) = words.find(|word| !is_ahead(word)) else { continue };
        let program = first.rsplit('/').next().unwrap_or(first);
        let rest: Vec<&str> = words.collect();
        let run: Vec<String> = match () {
            () if first == "cd" => {
                dirs.extend(rest.first().map(|dir| format!("{dir}/")));
                continue;
            }
            () if is_reader(program) => argument(&rest),
            () if first.contains('/') && !first.starts_with('/') => vec![first.to_owned()],
            () => continue,
        };
        let at =
            |dir: &String| run.iter().filter_map(|path| below(&format!("{dir}{path}"))).collect::<Vec<_>>();
        found.extend(dirs.iter().flat_map(at));
    }
    found
}

/// Does the program come later?
fn is_ahead(word: &str) -> bool {
    let settings = word.contains('=') && !word.starts_with('=');
    let figure = word.chars().next().is_some_and(|c| c.is_ascii_digit());
    let program = word.rsplit('/').next().unwrap_or(word);
    settings || figure || word.starts_with('-') || BEFORE.contains(&program) || word == "!"
}

/// `python3.12` reads as `python3` does.
fn is_reader(program: &str) -> bool {
    let plain = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    READERS.contains(&program) || !plain.is_empty() && READERS.contains(&plain)
}

/// The file that an interpreter is given.
fn argument(words: &[&str]) -> Vec<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-c" | "-e" => return Vec::new(),
            "-m" => {
                let module = words.next().map(|module| module.replace('.', "/")).unwrap_or_default();
                return ["", "/__main__", "/__init__"].map(|end| format!("{module}{end}.py")).to_vec();
            }
            "run" => {}
            word if word.starts_with('-') => {}
            word => return vec![word.to_owned()],
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_runs_is_read_from_its_words() {
        for (line, want) in [
            ("sh check.sh", vec!["check.sh"]),
            ("./scripts/ci.sh --fast && cargo test", vec!["scripts/ci.sh"]),
            ("CI=1 timeout 60 bash -eu ci/run", vec!["ci/run"]),
            ("python3.12 -u t.py | tee log", vec!["t.py"]),
            (
                "python -m checks.all",
                vec!["checks/all.py", "checks/all/__init__.py", "checks/all/__main__.py"],
            ),
            ("cd web; node ./lint.mjs", vec!["lint.mjs", "web/lint.mjs"]),
            ("bash -c 'exit 0'", vec![]),
            ("cargo test && grep -q fixed fixed.txt", vec![]),
            ("/usr/bin/env python3 tools/x.py", vec!["tools/x.py"]),
        ] {
            assert_eq!(scripts(line).into_iter().collect::<Vec<_>>(), want, "{line}");
        }
    }

    #[test]
    fn a_script_of_a_check_that_changed_is_seen() {
        let change = |old: Option<&str>, new: Option<&str>| FileChange {
            old_path: old.map(str::to_owned),
            new_path: new.map(str::to_owned),
            ..FileChange::default()
        };
        let commands = ["sh check.sh".to_owned(), "python3 tests/test_all.py".to_owned()];
        let flags = |old, new| changed(&[change(old, new)], &commands).len();
        assert_eq!(flags(Some("check.sh"), Some("check.sh")), 1);
        assert_eq!(flags(Some("check.sh"), None), 1);
        assert_eq!(flags(Some("check.sh"), Some("other.sh")), 1);
        assert_eq!(flags(None, Some("check.sh")), 0, "what is new was not run on base");
        assert_eq!(flags(Some("src/a.sh"), Some("src/a.sh")), 0);
        assert_eq!(flags(Some("tests/test_all.py"), Some("tests/test_all.py")), 0, "judged test by test");
    }
}
