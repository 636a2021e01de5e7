//! Seeds that every push runs: some fresh ones, all that were kept, and one run twice, in memory and on SQLite.
//!
//! Knows where kept seeds lie (`seeds/*.txt`). The long form is `cargo xtask sim`.

use crate::*;

/// One line of a kept file: the arguments of a run, as `cargo xtask sim` prints them.
fn parse(line: &str) -> Setup {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
    let number = |name: &str| value(name).map(|value| value.parse().unwrap());
    let only = value("--only").map(|names| Without::parse(names).unwrap().others());
    let without = value("--without").map(|names| Without::parse(names).unwrap());
    Setup {
        nodes: number("--nodes"),
        sessions: number("--sessions"),
        without: only.or(without).unwrap_or_default(),
        ..Setup::new(number("--seed").unwrap(), number("--steps").unwrap())
    }
}

fn kept() -> Vec<(String, Setup)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        all.extend(lines.map(|line| (format!("{}: {line}", file.display()), parse(line))));
    }
    all
}

#[test]
fn promises_hold() {
    for seed in 0..12 {
        let run = run_in_memory(Setup::new(seed, 800));
        assert_eq!(run.broken, None, "replay with: cargo xtask sim {}", run.setup.arguments());
    }
}

#[test]
fn seeds_that_once_failed_pass() {
    let kept = kept();
    assert!(kept.len() >= 4, "the kept seeds are gone");
    for (line, setup) in kept {
        assert_eq!(run_in_memory(setup).broken, None, "{line}");
    }
}

#[test]
fn a_seed_runs_the_same_twice_and_on_sqlite() {
    let setup = Setup { without: Without::default().and(Fault::GarbledMail), ..Setup::new(7, 500) };
    let first = run_in_memory(setup);
    assert_eq!(run_in_memory(setup).trace, first.trace);
    assert_ne!(run_in_memory(Setup { seed: 8, ..setup }).trace, first.trace);
    let dir = tempfile::tempdir().unwrap();
    let sqlite = run(Setup { backend: Backend::Sqlite, ..setup }, || dir.path().to_owned()).unwrap();
    assert_eq!((sqlite.trace, sqlite.broken), (first.trace, first.broken));
}

#[test]
fn what_is_printed_for_a_replay_is_understood() {
    let mut setup = Setup { nodes: Some(2), sessions: Some(1), ..Setup::new(9, 70) };
    setup.without = Without::default().and(Fault::Crash);
    assert_eq!(parse(&setup.arguments()), setup);
    setup.without = setup.without.others();
    assert_eq!(parse(&setup.arguments()), setup);
}

#[test]
fn a_seed_meets_what_it_met_and_no_list_is_empty() {
    let run = run_in_memory(Setup::new(3, 800));
    let all = run.cover.all();
    assert!(all.iter().filter(|(_, _, count)| *count > 0).count() > all.len() / 3);
}
