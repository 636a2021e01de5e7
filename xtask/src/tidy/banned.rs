//! Banned calls: what a crate must not do, whatever its manifest allows.
//!
//! Knows names only, no types. Start at [`BANS`]; clippy says the same of kernel and contract by type
//! (their `clippy.toml`), this says it without compiling and for grouped imports too.

use super::Finding;
use super::source::find_word;
use super::tree::Tree;

struct Ban {
    rule: &'static str,
    words: &'static [&'static str],
    place: Place,
    /// Do tests keep to it too?
    in_tests: bool,
    advice: &'static str,
}

/// Path prefixes.
enum Place {
    Only(&'static [&'static str]),
    Outside(&'static [&'static str]),
}

/// Who may read the process environment and print.
const SURFACES: &[&str] = &[
    "crates/kapell/",
    "xtask/",
    "crates/sim/",
    "crates/model/",
    "crates/bench/",
    "crates/power/",
    "crates/fake/src/main.rs",
    "fuzz/src/main.rs",
];

const BANS: &[Ban] = &[
    Ban {
        rule: "wall",
        words: &[
            "SystemTime",
            "Instant::now",
            "std::env",
            "env::",
            "std::fs",
            "fs::",
            "std::thread",
            "thread::",
            "std::net",
            "std::process",
            "rand::",
            "getrandom",
        ],
        place: Place::Only(&["crates/kernel/src/", "crates/contract/src/"]),
        in_tests: true,
        advice: "no clock, randomness, thread or I/O here: take it in as a value",
    },
    Ban {
        rule: "wall",
        words: &["HashMap", "HashSet", "f32", "f64"],
        place: Place::Only(&["crates/kernel/src/"]),
        in_tests: false,
        advice: "replay must be the same to the byte: use BTreeMap or BTreeSet, and integers",
    },
    Ban {
        rule: "print",
        words: &["println!", "eprintln!", "print!", "eprint!", "dbg!"],
        place: Place::Outside(SURFACES),
        in_tests: false,
        advice: "only the binary talks to people: return a value or an event, or use tracing",
    },
    Ban {
        rule: "env",
        words: &[
            "env::var",
            "env::vars",
            "env::var_os",
            "env::args",
            "env::current_dir",
            "env::home_dir",
            "env::temp_dir",
        ],
        place: Place::Outside(SURFACES),
        in_tests: false,
        advice: "only the binary reads the environment: take an option of this crate",
    },
    Ban {
        rule: "spawn",
        words: &[
            "tokio::spawn",
            "tokio::task::spawn",
            "thread::spawn",
            "thread::Builder",
            "spawn_local",
            "JoinSet",
        ],
        place: Place::Outside(&[
            "crates/engine/src/task.rs",
            "crates/journal/src/",
            "crates/kapell/",
            "xtask/",
            "crates/sim/",
        ]),
        in_tests: false,
        advice: "tasks have kinds and owners: go through engine::task, or state here who stops it",
    },
    Ban {
        rule: "command",
        words: &["Command::new"],
        place: Place::Outside(&[
            "crates/sandbox/",
            "crates/workspace/src/process.rs",
            "crates/bench/",
            "crates/power/",
            "xtask/",
        ]),
        in_tests: false,
        advice: "programs are started by `sandbox` (group, limits, stop ladder), git by workspace's process module",
    },
    Ban {
        rule: "unsafe",
        words: &["unsafe"],
        place: Place::Outside(&["crates/sandbox/"]),
        in_tests: true,
        advice: "only `sandbox` may hold unsafe code",
    },
    Ban {
        rule: "unwrap",
        words: &[".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("],
        place: Place::Outside(&[]),
        in_tests: false,
        advice: "return a typed error; if it cannot happen, say why in `// tidy: allow(unwrap): ...`",
    },
    Ban {
        rule: "recursive-delete",
        words: &["remove_dir_all"],
        place: Place::Outside(&[]),
        in_tests: false,
        advice: "delete only what Kapell made: say here how that is known, in `// tidy: allow(recursive-delete): ...`",
    },
    Ban {
        rule: "unfinished",
        words: &["todo!", "unimplemented!"],
        place: Place::Outside(&[]),
        in_tests: true,
        advice: "finish it, or leave it out",
    },
];

/// Calls where they do not belong.
pub(super) fn calls(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        let is_example = file.path.contains("/examples/") || file.path.ends_with("build.rs");
        for ban in BANS.iter().filter(|ban| ban.holds_for(&file.path, is_example)) {
            // Most files name none of it; only the others are looked at line by line.
            if !ban.words.iter().any(|word| file.text.contains(word)) {
                continue;
            }
            for (at, line) in source.code.iter().enumerate() {
                if source.test[at] && !ban.in_tests {
                    continue;
                }
                if let Some(word) = ban.words.iter().find(|word| find_word(line, word).is_some()) {
                    let advice = format!("`{word}`: {}", ban.advice);
                    findings.push(Finding::new(&file.path, at + 1, ban.rule, advice));
                }
            }
        }
    }
    findings
}

/// Lints that are silenced without a word. `#[expect]` is better than `#[allow]`: it ends when its cause does.
pub(super) fn silenced(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        for (at, line) in source.code.iter().enumerate() {
            let opens = |mark: &str| line.trim_start().starts_with(mark);
            if !["#[allow(", "#![allow(", "#[expect(", "#![expect("].into_iter().any(opens) {
                continue;
            }
            let end = (at..source.code.len()).find(|&n| source.code[n].contains(")]")).unwrap_or(at);
            if !source.code[at..=end].iter().any(|line| find_word(line, "reason").is_some()) {
                let advice = "say why: `#[expect(lint, reason = \"...\")]`";
                findings.push(Finding::new(&file.path, at + 1, "silenced", advice));
            }
        }
    }
    findings
}

impl Ban {
    fn holds_for(&self, path: &str, is_example: bool) -> bool {
        match self.place {
            Place::Only(inside) => inside.iter().any(|prefix| path.starts_with(prefix)),
            Place::Outside(free) => {
                let surface =
                    is_example && matches!(self.rule, "print" | "env" | "unwrap" | "command" | "spawn");
                !surface && !free.iter().any(|prefix| path.starts_with(prefix))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule names found in this file.
    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        calls(&Tree::of(&[(path, text)])).iter().map(|f| f.rule).collect()
    }

    #[test]
    fn each_ban_bites_and_ends_at_its_border() {
        for (text, path, rule, free) in [
            ("let t = Instant::now();", "crates/kernel/src/a.rs", "wall", "crates/engine/src/a.rs"),
            ("use std::{fs::File, io};", "crates/contract/src/a.rs", "wall", "crates/journal/src/a.rs"),
            ("let m: HashMap<u8, u8>;", "crates/kernel/src/a.rs", "wall", "crates/contract/src/a.rs"),
            ("println!(\"\");", "crates/tools/src/a.rs", "print", "crates/kapell/src/a.rs"),
            ("let v = std::env::var(\"A\");", "crates/journal/src/a.rs", "env", "crates/kapell/src/a.rs"),
            ("tokio::spawn(x);", "crates/engine/src/actor.rs", "spawn", "crates/engine/src/task.rs"),
            ("Command::new(\"ls\");", "crates/tools/src/a.rs", "command", "crates/workspace/src/process.rs"),
            ("unsafe { x() }", "crates/kapell/src/a.rs", "unsafe", "crates/sandbox/src/a.rs"),
            ("x.unwrap();", "crates/kapell/src/a.rs", "unwrap", "crates/kapell/tests/a.rs"),
            (
                "remove_dir_all(x);",
                "crates/workspace/src/a.rs",
                "recursive-delete",
                "crates/workspace/tests/a.rs",
            ),
            ("todo!()", "crates/kapell/tests/a.rs", "unfinished", "crates/kapell/README.md"),
        ] {
            assert_eq!(rules(path, text), [rule], "{text} in {path}");
            assert!(rules(free, text).is_empty(), "{text} in {free}");
        }
    }

    #[test]
    fn silenced_lints_say_why() {
        let text = "#[allow(dead_code)]\nfn a() {}\n#[expect(\n    dead_code,\n    reason = \"held\"\n)]\nfn b() {}\n\
                    #![expect(unused)]\n";
        let lines: Vec<usize> = silenced(&Tree::of(&[("a.rs", text)])).iter().map(|f| f.line).collect();
        assert_eq!(lines, [1, 8]);
    }

    #[test]
    fn lookalikes_are_free() {
        let text = "// .unwrap() in a comment\nx.unwrap_or(1); let s = \"println!\"; respawn(); respond::spawned();\n";
        assert!(rules("crates/tools/src/a.rs", text).is_empty());
        let tests = "#[cfg(test)]\nmod tests {\n fn a() { x.unwrap(); }\n}\n";
        assert!(rules("crates/tools/src/a.rs", tests).is_empty());
    }
}
