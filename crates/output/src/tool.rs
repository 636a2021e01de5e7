//! Which programs a command line runs, as far as its words tell.
//!
//! Knows no shell: what is quoted or computed is not followed, and nothing is decided by it but how output is shown.
//! Start at [`programs`].

/// What a command's output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was asked for as it is: files, differences, matches.
    Content,
    /// It tells how something went.
    Log,
}

/// Programs that print what they were asked for, and those that only prepare it.
const CONTENT: [&str; 29] = [
    "cat", "head", "tail", "sed", "awk", "grep", "rg", "ag", "find", "fd", "ls", "tree", "nl", "bat", "less",
    "more", "wc", "sort", "uniq", "cut", "tr", "xxd", "hexdump", "jq", "diff", "file", "stat", "column",
    "strings",
];
const SILENT: [&str; 12] =
    ["cd", "echo", "printf", "true", "export", "set", "pwd", "test", "[", "sleep", "mkdir", "tee"];
/// What git shows on request.
const GIT_CONTENT: [&str; 6] = ["diff", "show", "log", "blame", "grep", "cat-file"];
/// Words that run the program after them.
const WRAPPERS: [&str; 14] = [
    "sudo", "env", "time", "nice", "nohup", "timeout", "command", "exec", "xargs", "stdbuf", "npx", "bunx",
    "uv", "poetry",
];

/// The names of the programs a line runs, without their directories, each once.
pub(crate) fn programs(line: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in line.split(['|', ';', '&', '\n', '(', ')', '`']) {
        let mut words = part.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let is_setting = word.contains('=') && !word.starts_with(['-', '=']);
            if is_setting
                || word.starts_with(['-', '<', '>', '{', '}', '!'])
                || word.chars().all(|c| c.is_ascii_digit() || c == 's')
            {
                continue;
            }
            let name = word.rsplit('/').next().unwrap_or(word).trim_matches(['"', '\'', '$']);
            let name = name.to_owned();
            let wraps = WRAPPERS.contains(&name.as_str());
            let module = matches!(name.as_str(), "python" | "python3") && words.peek() == Some(&"-m");
            let runs = matches!(name.as_str(), "run" | "exec" | "do" | "then" | "if" | "while" | "else");
            if !runs && !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
            if module {
                words.next();
            } else if !(wraps || runs) {
                break;
            }
        }
    }
    names
}

/// What the output of a line is for: content when all its programs print content.
pub(crate) fn kind(programs: &[String], line: &str) -> Kind {
    let mut shows = false;
    for name in programs {
        let name = name.as_str();
        if CONTENT.contains(&name) || (name == "git" && shows_git(line)) {
            shows = true;
        } else if !SILENT.contains(&name) {
            return Kind::Log;
        }
    }
    if shows { Kind::Content } else { Kind::Log }
}

fn shows_git(line: &str) -> bool {
    let mut words = line.split_whitespace();
    while let Some(word) = words.next() {
        if word == "git" {
            let command = words.by_ref().find(|word| !word.starts_with('-'));
            if !command.is_some_and(|command| GIT_CONTENT.contains(&command)) {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_by_their_words() {
        for (line, names) in [
            ("cd x && RUST_LOG=debug /usr/bin/cargo test -p a 2>&1 | tail -5", &["cd", "cargo", "tail"][..]),
            (
                "timeout 20 npx vitest run; python3 -m pytest -q",
                &["timeout", "npx", "vitest", "python3", "pytest"],
            ),
            ("", &[]),
        ] {
            assert_eq!(programs(line), names, "{line}");
        }
    }

    #[test]
    fn content_is_told_from_logs() {
        for (line, content) in [
            ("cat a | head -5", true),
            ("git diff HEAD~1 -- src", true),
            ("git log && git push", false),
            ("cd a && grep -rn x .", true),
            ("cargo build 2>&1 | tail -20", false),
            ("ls; make", false),
            ("pwd", false),
        ] {
            let is = kind(&programs(line), line) == Kind::Content;
            assert_eq!(is, content, "{line}");
        }
    }
}
