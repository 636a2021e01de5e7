//! A command line that needs no shell, as its words; and how long a command usually may take.
//! Knows nothing of running it. Start at [`words`].
//!
//! Whatever could mean something to a shell goes to a shell: this only finds the lines that are a program and its
//! arguments, word by word (S2.1-1).

use contract::limits::TOOL_MS;

/// Characters that may mean something to a shell, wherever they stand.
const META: &str = "|&;<>()$`\\\"'*?[]{}#~!\n\r\0";

/// Words that are not programs, or other ones than a shell's own.
const OWN: [&str; 66] = [
    ".", ":", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd", "command", "compgen",
    "complete", "continue", "coproc", "declare", "dirs", "disown", "do", "done", "echo", "elif", "else",
    "enable", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg", "fi", "for", "function",
    "getopts", "hash", "help", "history", "if", "in", "jobs", "kill", "let", "local", "logout", "mapfile",
    "popd", "printf", "pushd", "pwd", "read", "readonly", "return", "select", "set", "shift", "shopt",
    "source", "test", "then", "time", "times", "trap", "true", "type",
];
const MORE: [&str; 11] = [
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "while",
    "suspend",
    "readarray",
    "compopt",
];

/// Without what a shell passes over at both ends: any other blank is a letter to it.
pub(super) fn trimmed(command: &str) -> &str {
    command.trim_matches([' ', '\t', '\n'])
}

/// Its words, when it is nothing but a program and its arguments.
pub(super) fn words(command: &str) -> Option<Vec<&str>> {
    let command = trimmed(command);
    if command.contains(|c: char| META.contains(c)) {
        return None;
    }
    let words: Vec<&str> = command.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let first = words.first()?;
    // `NAME=value program` sets a variable.
    (!first.contains('=') && !OWN.contains(first) && !MORE.contains(first)).then_some(words)
}

const MINUTE_MS: u64 = 60_000;
/// Beginnings of commands and the time they get before they say something (S2.1-4), the first that fits.
const BASES: [(&str, u64); 40] = [
    ("cargo fmt", MINUTE_MS),
    ("cargo", 10 * MINUTE_MS),
    ("rustc", 10 * MINUTE_MS),
    ("go build", 10 * MINUTE_MS),
    ("go test", 5 * MINUTE_MS),
    ("go", 5 * MINUTE_MS),
    ("pytest", 5 * MINUTE_MS),
    ("python -m pytest", 5 * MINUTE_MS),
    ("python3 -m pytest", 5 * MINUTE_MS),
    ("tox", 10 * MINUTE_MS),
    ("jest", 5 * MINUTE_MS),
    ("npx jest", 5 * MINUTE_MS),
    ("vitest", 5 * MINUTE_MS),
    ("npx vitest", 5 * MINUTE_MS),
    ("npm run build", 10 * MINUTE_MS),
    ("npm", 5 * MINUTE_MS),
    ("pnpm run build", 10 * MINUTE_MS),
    ("pnpm", 5 * MINUTE_MS),
    ("yarn build", 10 * MINUTE_MS),
    ("yarn", 5 * MINUTE_MS),
    ("bun", 5 * MINUTE_MS),
    ("pip", 5 * MINUTE_MS),
    ("pip3", 5 * MINUTE_MS),
    ("uv", 5 * MINUTE_MS),
    ("make", 10 * MINUTE_MS),
    ("ninja", 10 * MINUTE_MS),
    ("cmake", 10 * MINUTE_MS),
    ("mvn", 10 * MINUTE_MS),
    ("gradle", 10 * MINUTE_MS),
    ("./gradlew", 10 * MINUTE_MS),
    ("bazel", 10 * MINUTE_MS),
    ("docker build", 10 * MINUTE_MS),
    ("git clone", 5 * MINUTE_MS),
    ("git fetch", 5 * MINUTE_MS),
    ("git pull", 5 * MINUTE_MS),
    ("git push", 5 * MINUTE_MS),
    ("git submodule", 5 * MINUTE_MS),
    ("git gc", 5 * MINUTE_MS),
    ("git", MINUTE_MS / 2),
    ("prettier", MINUTE_MS / 2),
];

/// The time a command gets as long as it says nothing, milliseconds. Of several in one line, the longest.
pub(super) fn base_ms(command: &str) -> u64 {
    let parts = command.split(['|', '&', ';', '\n', '(', ')']).map(str::trim).filter(|part| !part.is_empty());
    parts.map(one_ms).max().unwrap_or(TOOL_MS)
}

fn one_ms(part: &str) -> u64 {
    let words: Vec<&str> = part.split_whitespace().collect();
    // What goes before a command and is none: variables, and programs that start others.
    let before = |word: &&&str| word.contains('=') || ["env", "time", "nice", "exec", "sudo"].contains(*word);
    let skipped = words.iter().take_while(before).count();
    let starts = |name: &str| {
        let mut name = name.split(' ');
        let mut rest = words.iter().skip(skipped);
        name.all(|word| rest.next() == Some(&word))
    };
    BASES.iter().find(|(name, _)| starts(name)).map_or(TOOL_MS, |(_, ms)| *ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_means_something_to_a_shell_is_not_taken_apart() {
        for line in [
            "a | b",
            "a && b",
            "a; b",
            "a > f",
            "a $X",
            "a `b`",
            "echo 'a;b'",
            "a \"b\"",
            "ls *.rs",
            "a ?",
            "[ -f x ]",
            "a {b,c}",
            "a # b",
            "a ~/b",
            "! a",
            "X=1 a",
            "cd src",
            "source env",
            "time a",
            "exec a",
            "a\nb",
            "a \\b",
            "",
            "  ",
            "true",
            "if a",
        ] {
            assert_eq!(words(line), None, "{line:?}");
        }
        for (line, expected) in [
            ("cargo test --workspace -p a", vec!["cargo", "test", "--workspace", "-p", "a"]),
            ("  ls   -la\tsrc ", vec!["ls", "-la", "src"]),
            ("ls\u{a0}", vec!["ls\u{a0}"]),
            ("\x0bls", vec!["\x0bls"]),
            ("git log --format=%H -n 1 HEAD^", vec!["git", "log", "--format=%H", "-n", "1", "HEAD^"]),
            ("./run a:b,c@d+e", vec!["./run", "a:b,c@d+e"]),
        ] {
            assert_eq!(words(line), Some(expected), "{line:?}");
        }
    }

    #[test]
    fn every_command_has_its_time() {
        for (line, minutes) in [
            ("go build ./...", 10),
            ("go test ./...", 5),
            ("pytest -q", 5),
            ("npm i", 5),
            ("npm run build", 10),
            ("eslint .", 1),
            ("ls", 1),
            ("cargo build", 10),
            ("RUST_LOG=x env A=b cargo test", 10),
            ("cd x && cargo build 2>&1 | tail", 10),
            ("cargofoo", 1),
            ("cargo fmt", 1),
        ] {
            assert_eq!(base_ms(line), minutes * MINUTE_MS, "{line}");
        }
        assert_eq!((base_ms("git status"), base_ms("prettier ."), base_ms("")), (30_000, 30_000, TOOL_MS));
    }
}
