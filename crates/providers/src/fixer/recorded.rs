//! What compilers and test runners really printed, from the data set `logs` (see DESIGN section 7).
//!
//! Found by `KAPELL_DATA` or beside the project; where it is absent the tests say SKIPPED.

use super::{diag, source, tests_run};
use std::path::PathBuf;

/// The texts of an archive of the data set.
fn archive(name: &str) -> Option<Vec<(String, String)>> {
    let data = std::env::var_os("KAPELL_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let packed = data.join("logs").join(format!("{name}.tar.xz"));
    let to = tempfile::tempdir().unwrap();
    let mut tar = std::process::Command::new("tar");
    let unpacked = packed.exists()
        && tar.arg("-xJf").arg(&packed).arg("-C").arg(to.path()).status().is_ok_and(|s| s.success());
    if !unpacked {
        eprintln!("SKIPPED 1: no {name}.tar.xz (set KAPELL_DATA)");
        return None;
    }
    let files = std::fs::read_dir(to.path().join(name)).unwrap();
    Some(
        files
            .map(|file| file.unwrap())
            .map(|file| {
                let text = String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned();
                (file.file_name().to_string_lossy().into_owned(), text)
            })
            .collect(),
    )
}

#[test]
fn text_for_people_is_not_taken_for_findings() {
    let Some(logs) = archive("rustc-stderr") else { return };
    assert_eq!(logs.len(), 300);
    for (name, text) in logs {
        let findings = diag::parse(&text);
        assert!(findings.diags.is_empty() && findings.targets.is_empty(), "{name}");
        // The source lines quoted in it, whole or cut anywhere, are read without a stumble.
        for line in text.lines().filter_map(|line| line.split_once('|')).map(|(_, code)| code) {
            source::words(line, "self", true);
            let opens = line.match_indices(['(', '{', '[']).map(|(at, _)| at);
            opens.for_each(|at| {
                assert!(source::closing(line, at).is_none_or(|close| close > at), "{name}: {line}")
            });
        }
    }
}

#[test]
fn test_runs_are_counted_as_they_count_themselves() {
    let Some(logs) = archive("tokf") else { return };
    let mut seen = 0;
    for (name, text) in logs.iter().filter(|(name, _)| name.contains("cargo__test_test")) {
        let tests = tests_run::parse(text);
        let sums = text.lines().filter_map(|line| line.trim().strip_prefix("test result: "));
        let counted = |what: &str| -> u64 {
            let number = |line: &str| line.split(what).next()?.rsplit(' ').next()?.parse::<u64>().ok();
            sums.clone().filter_map(number).sum()
        };
        assert_eq!(tests.passed, counted(" passed"), "{name}");
        assert_eq!(tests.ran, sums.clone().next().is_some(), "{name}");
        let failed =
            text.lines().filter(|line| line.starts_with("test ") && line.ends_with("FAILED")).count();
        assert_eq!(tests.failed.len(), failed, "{name}");
        assert_eq!(tests.green(), failed == 0 && !text.contains("could not compile"), "{name}");
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}
