//! `cargo xtask coverage`: lines of the critical crates that the tests run, per crate and per file.
//!
//! Knows nothing of how lines are counted: cargo-tarpaulin does. Start at [`run`].

use crate::tools::{self, Origin};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

/// Crates in which a line that no test runs is a finding.
const PACKAGES: [&str; 3] = ["kernel", "journal", "workspace"];
/// Share of lines that must be run, per cent.
const COVERED: u64 = 90;
/// Files shown: those with the most lines that are not run.
const SHOWN: usize = 15;
/// The newest that was tried.
const VERSION: &str = "0.37.5";

pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some(other) = args.first() {
        bail!("coverage takes no arguments, not `{other}`");
    }
    tools::need("cargo-tarpaulin", Origin::Crate("cargo-tarpaulin", VERSION))?;
    let root = crate::root()?;
    let out = std::env::temp_dir().join(format!("kapell-coverage-{}", std::process::id()));
    std::fs::create_dir_all(&out)?;
    let mut command = crate::cargo();
    command.args(["tarpaulin", "--out", "Json", "--skip-clean", "--timeout", "600", "--engine", "llvm"]);
    command.arg("--output-dir").arg(&out).arg("--target-dir");
    command.arg(crate::programs::target_dir()?.join("coverage"));
    PACKAGES.iter().for_each(|package| {
        command.args(["--packages", package]);
    });
    let status = command.current_dir(&root).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.context("start cargo tarpaulin")?;
    ensure!(status.success(), "cargo tarpaulin ended with {status}");
    let text = std::fs::read(out.join("tarpaulin-report.json")).context("tarpaulin left no report")?;
    let files = files(&serde_json::from_slice(&text)?, &root)?;
    print(&files)
}

/// Lines that could be and that were run, by file.
type Files = BTreeMap<String, (u64, u64)>;

fn files(report: &serde_json::Value, root: &Path) -> Result<Files> {
    let mut files = Files::new();
    for file in report["files"].as_array().context("no list of files in the report")? {
        let parts = file["path"].as_array().context("a file without a path")?;
        let path: std::path::PathBuf = parts.iter().filter_map(|part| part.as_str()).collect();
        let Ok(path) = path.strip_prefix(root) else { continue };
        let path = path.display().to_string();
        let number = |name: &str| file[name].as_u64().unwrap_or(0);
        if PACKAGES.iter().any(|package| path.starts_with(&format!("crates/{package}/src/"))) {
            files.insert(path, (number("coverable"), number("covered")));
        }
    }
    Ok(files)
}

fn print(files: &Files) -> Result<()> {
    let mut worst: Vec<_> = files.iter().collect();
    worst.sort_by_key(|(_, (all, run))| std::cmp::Reverse(all - run));
    for (path, (all, run)) in worst.iter().take(SHOWN).filter(|(_, (all, run))| run < all) {
        println!("{:>5} lines not run in {path} ({})", all - run, share(*run, *all));
    }
    let (mut low, mut figure) = (Vec::new(), Vec::new());
    for package in PACKAGES {
        let of = |(path, _): &(&String, &(u64, u64))| path.starts_with(&format!("crates/{package}/"));
        let (all, run) = files.iter().filter(of).fold((0, 0), |sum, (_, row)| (sum.0 + row.0, sum.1 + row.1));
        figure.push(format!("{package} {run} of {all} lines run, {}", share(run, all)));
        ensure!(all > 0, "no line of {package} is in the report");
        if run * 100 < all * COVERED {
            low.push(package);
        }
    }
    println!("coverage: {}", figure.join("; "));
    ensure!(low.is_empty(), "less than {COVERED} % in {}", low.join(", "));
    Ok(())
}

fn share(part: u64, all: u64) -> String {
    match all {
        0 => "none".into(),
        all => format!("{}.{} %", part * 100 / all, part * 1000 / all % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(path: &str, coverable: u64, covered: u64) -> serde_json::Value {
        let parts: Vec<&str> =
            std::iter::once("/").chain(path.split('/').filter(|p| !p.is_empty())).collect();
        json!({"path": parts, "coverable": coverable, "covered": covered})
    }

    #[test]
    fn only_the_crates_own_sources_count() {
        let report = json!({"files": [
            row("/r/crates/kernel/src/a.rs", 100, 95),
            row("/r/crates/kernel/tests/b.rs", 100, 0),
            row("/r/crates/engine/src/c.rs", 100, 0),
            row("/r/crates/journal/src/d.rs", 10, 9),
            row("/r/crates/workspace/src/e.rs", 10, 10),
        ]});
        let files = files(&report, Path::new("/r")).unwrap();
        assert_eq!(files.len(), 3);
        assert!(print(&files).is_ok());
    }

    #[test]
    fn too_little_fails_and_so_does_a_crate_without_a_line() {
        let mut files = Files::new();
        files.insert("crates/kernel/src/a.rs".into(), (100, 89));
        files.insert("crates/journal/src/a.rs".into(), (100, 99));
        assert!(print(&files).unwrap_err().to_string().contains("workspace"));
        files.insert("crates/workspace/src/a.rs".into(), (100, 99));
        assert!(print(&files).unwrap_err().to_string().contains("kernel"));
    }
}
