//! Pages say what is so: the commands they name exist, and the pages keep to their size.
//!
//! Knows xtask's commands, the packages and the names of kapell's subcommands. Start at [`commands`].

use super::Finding;
use super::links::fenced;
use super::tree::{File, Tree};

/// Pages whose commands people type.
const PAGES: &[&str] = &["README.md", "AGENTS.md"];

/// AGENTS.md is commands and pointers.
const AGENTS_LINES: usize = 80;

/// What `.ci/run` and the README agree on.
const TEST_COMMAND: &str = "cargo xtask ci";

/// Commands in fenced blocks and backticks that do not exist.
pub(super) fn commands(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in PAGES.iter().filter_map(|path| tree.file(path)) {
        for (line, command) in named(file) {
            if let Some(advice) = unknown(tree, command) {
                findings.push(Finding::new(&file.path, line, "docs", advice));
            }
        }
    }
    findings
}

/// Pages past their size, and a CI script that does not run the README's test command.
pub(super) fn pages(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(file) = tree.file("AGENTS.md")
        && file.text.lines().count() >= AGENTS_LINES
    {
        let advice = format!("keep it under {AGENTS_LINES} lines: commands and pointers");
        findings.push(Finding::new(&file.path, 0, "docs", advice));
    }
    for path in ["README.md", ".ci/run"] {
        if tree.file(path).is_some_and(|file| !file.text.contains(TEST_COMMAND)) {
            findings.push(Finding::new(
                path,
                0,
                "docs",
                format!("the test command is `{TEST_COMMAND}`: name it here"),
            ));
        }
    }
    findings
}

/// Every command line a page shows.
fn named(file: &File) -> Vec<(usize, &str)> {
    let blocks =
        fenced(&file.text).into_iter().map(|(line, text)| (line, text.trim().trim_start_matches("$ ")));
    let inline = super::links::prose(&file.text)
        .into_iter()
        .flat_map(|(line, text)| text.split('`').skip(1).step_by(2).map(move |code| (line, code)));
    blocks.chain(inline).collect()
}

/// What is wrong with a command, if anything is.
fn unknown(tree: &Tree, command: &str) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
    let bare = |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase()) && !word.contains('.');
    match words.as_slice() {
        ["cargo", "xtask", name, ..] if bare(name) => {
            let known = crate::COMMANDS.iter().any(|command| command.name == *name);
            (!known)
                .then(|| format!("there is no `cargo xtask {name}`: name one that `cargo xtask help` lists"))
        }
        ["cargo", rest @ ..] => {
            let at = rest.iter().position(|word| *word == "-p")?;
            let package = rest.get(at + 1).filter(|name| bare(name))?;
            let known = tree.packages.iter().any(|p| p.name == **package);
            (!known).then(|| format!("there is no package `{package}` in the workspace"))
        }
        ["kapell", name, ..] if bare(name) => (!has_subcommand(tree, name))
            .then(|| format!("kapell has no command `{name}`: bring the page up to date")),
        _ => None,
    }
}

/// Does the binary's source declare it, as a variant (`Run`) or as a name in quotes (`"run"`)?
fn has_subcommand(tree: &Tree, name: &str) -> bool {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    let variant: String = name.split('-').filter(|part| !part.is_empty()).map(capital).collect();
    let quoted = format!("\"{name}\"");
    let own = tree.rust().filter(|(file, _)| file.path.starts_with("crates/kapell/src/"));
    own.into_iter().any(|(file, source)| {
        let declared = |line: &String| {
            line.trim_start()
                .strip_prefix(variant.as_str())
                .is_some_and(|rest| rest.starts_with([',', '(', ' ', '{']))
        };
        file.text.contains(&quoted) || source.code.iter().any(declared)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_commands_exist() {
        let page = "Type `cargo xtask ci` or `cargo xtask dance`.\n```sh\n$ kapell run x\nkapell fly  # away\n\
                    cargo test -p kernel\ncargo test -p colonel\nkapell --help\n```\n";
        let tree =
            Tree::of(&[("README.md", page), ("crates/kapell/src/args.rs", "enum C {\n  Run(Args),\n}\n")])
                .with_package("kernel", &[]);
        let lines: Vec<usize> = commands(&tree).iter().map(|f| f.line).collect();
        assert_eq!(lines, [4, 6, 1]);
    }

    #[test]
    fn pages_keep_to_their_size_and_command() {
        let tree = Tree::of(&[("AGENTS.md", &"x\n".repeat(80)), (".ci/run", "cargo test\n")]);
        let found: Vec<String> = pages(&tree).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["AGENTS.md", ".ci/run"]);
    }
}
