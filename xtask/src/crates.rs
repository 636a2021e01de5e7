//! `cargo xtask crates [NAME=VERSION ...] [--keep DIR]`: crates nobody here wrote, taken from the registry by cargo, put
//! under git, and given to `kapell run --model builtin/fixer "make clippy pass"`. Prints a table.
//!
//! Counts warnings and tests itself, before and after, and checks that what is not confirmed changed nothing.
//! Start at [`run`].

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The issue's own list: five with advice for everything, one without, one that no longer compiles.
const CRATES: &[&str] = &[
    "ansi_term=0.12.1",
    "semver-parser=0.7.0",
    "humantime=1.3.0",
    "strsim=0.8.0",
    "unicode-width=0.1.5",
    "term_size=0.3.2",
    "rustc-serialize=0.3.24",
];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let keep = args.iter().position(|a| a == "--keep").and_then(|at| args.get(at + 1)).cloned();
    let named: Vec<&str> = args.iter().map(String::as_str).filter(|a| a.contains('=')).collect();
    let wanted = if named.is_empty() { CRATES.to_vec() } else { named };
    let binary = crate::programs::build("kapell", true)?;
    let dir = match keep {
        Some(dir) => PathBuf::from(dir),
        None => std::env::temp_dir().join(format!("kapell-crates-{}", std::process::id())),
    };
    std::fs::create_dir_all(&dir)?;
    println!("| crate | warnings before | after | tests before | after | verdict | end | steps | s |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut failed = 0;
    for spec in wanted {
        match one(&binary, &dir, spec) {
            Ok(row) => println!("{row}"),
            Err(error) => {
                failed += 1;
                println!("| {spec} | {error:#} |");
            }
        }
    }
    ensure!(failed == 0, "{failed} crate(s) could not be tried, or were changed without a confirmation");
    Ok(())
}

fn one(binary: &Path, dir: &Path, spec: &str) -> Result<String> {
    let (name, version) = spec.split_once('=').context("NAME=VERSION")?;
    let home = dir.join(format!("{name}-{version}"));
    let repo = home.join("repo");
    fetch(&home, name, version, &repo)?;
    let before = Count::of(&repo, &home)?;
    let image = image(&repo)?;
    let began = Instant::now();
    let out = Command::new(binary)
        .args(["run", "--model", "builtin/fixer", "--output-format", "json", "make clippy pass"])
        .current_dir(&repo)
        .env("KAPELL_TRUST", "all")
        .env("KAPELL_HOME", home.join("kapell"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let seconds = began.elapsed().as_secs_f32();
    let result: Value = serde_json::from_slice(&out.stdout).with_context(|| {
        format!("kapell ended with {} and said: {}", out.status, String::from_utf8_lossy(&out.stdout))
    })?;
    let landed = out.status.code() == Some(0) && result["landed"].is_string();
    let after = Count::of(&repo, &home)?;
    if !landed {
        ensure!(self::image(&repo)? == image, "not landed, and yet the branch or the tree is not as before");
    }
    let verdict = result["verdict"].as_str().unwrap_or("-");
    let end = result["termination_reason"].as_str().unwrap_or("?");
    Ok(format!(
        "| {name} {version} | {} | {} | {} | {} | {verdict} | {end} (exit {}) | {} | {seconds:.0} |",
        before.warnings,
        after.warnings,
        before.tests,
        after.tests,
        out.status.code().unwrap_or(-1),
        result["num_steps"].as_u64().or(result["num_turns"].as_u64()).unwrap_or_default(),
    ))
}

/// The crate's own files as published, in a repository with one commit.
fn fetch(home: &Path, name: &str, version: &str, repo: &Path) -> Result<()> {
    let scratch = home.join("scratch");
    std::fs::create_dir_all(scratch.join("src"))?;
    std::fs::write(scratch.join("src/lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"scratch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\n{name} = \"={version}\"\n[workspace]\n"
    );
    std::fs::write(scratch.join("Cargo.toml"), manifest)?;
    let out = crate::cargo().args(["metadata", "--format-version", "1"]).current_dir(&scratch).output()?;
    ensure!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    let value: Value = serde_json::from_slice(&out.stdout)?;
    let packages = value["packages"].as_array().context("no packages")?;
    let manifest = packages.iter().find(|p| p["name"] == name && p["version"] == version);
    let manifest = manifest.and_then(|p| p["manifest_path"].as_str()).context("not in the registry")?;
    let source = Path::new(manifest).parent().context("a manifest without a directory")?;
    std::fs::create_dir_all(repo)?;
    copy(source, repo)?;
    for args in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-qm", "as published"]] {
        git(repo, args)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == ".cargo-ok" || entry.file_name() == ".cargo_vcs_info.json" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy(&source, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

fn git(repo: &Path, args: &[&str]) -> Result<String> {
    let out = Command::new("git")
        .args(["-c", "user.name=crates", "-c", "user.email=crates@localhost"])
        .args(args)
        .current_dir(repo)
        .output()?;
    ensure!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// What a person would call "my repository": branch, tip, and everything in the tree.
fn image(repo: &Path) -> Result<String> {
    let head = git(repo, &["symbolic-ref", "HEAD"])? + &git(repo, &["rev-parse", "HEAD"])?;
    let status = git(repo, &["status", "--porcelain=v2", "-z", "--ignored"])?;
    let mut files = Vec::new();
    list(repo, repo, &mut files)?;
    files.sort();
    Ok(head + &status + &files.join("\n"))
}

fn list(root: &Path, dir: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == ".git" {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            list(root, &path, files)?;
        } else {
            let bytes = std::fs::read(&path)?;
            let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
                (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            files.push(format!("{} {} {sum:x}", path.strip_prefix(root)?.display(), bytes.len()));
        }
    }
    Ok(())
}

/// What cargo itself says about the crate.
struct Count {
    warnings: String,
    tests: String,
}

impl Count {
    /// In a copy, so that nothing of it (a lock file, a target directory) appears in the repository.
    fn of(repo: &Path, home: &Path) -> Result<Self> {
        let place = home.join("count");
        if place.exists() {
            // tidy: allow(recursive-delete): a directory of this command's own, under the one it made
            std::fs::remove_dir_all(&place)?;
        }
        std::fs::create_dir_all(&place)?;
        git(repo, &["checkout-index", "-a", &format!("--prefix={}/", place.display())])?;
        let cargo = |args: &[&str]| {
            crate::cargo()
                .args(args)
                .current_dir(&place)
                .env("CARGO_TARGET_DIR", home.join("target"))
                .stdin(Stdio::null())
                .output()
        };
        let out = cargo(&["clippy", "--all-targets", "--message-format=json", "--quiet"])?;
        let (mut warnings, mut errors) = (BTreeSet::new(), BTreeSet::new());
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
            let message = &value["message"];
            let spans = message["spans"].as_array().map_or(0, Vec::len);
            let rendered = message["rendered"].as_str().unwrap_or_default().to_owned();
            match message["level"].as_str() {
                Some("warning") if spans > 0 => drop(warnings.insert(rendered)),
                Some("error") if spans > 0 => drop(errors.insert(rendered)),
                _ => {}
            }
        }
        let warnings = match errors.len() {
            0 => warnings.len().to_string(),
            n => format!("{} and {n} errors", warnings.len()),
        };
        let out = cargo(&["test", "--no-fail-fast"])?;
        Ok(Self { warnings, tests: tests(&String::from_utf8_lossy(&out.stdout)) })
    }
}

/// Sums of the runner's closing lines.
fn tests(text: &str) -> String {
    let (mut passed, mut failed, mut seen) = (0_u64, 0_u64, false);
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        seen = true;
        let number = |word: &str| {
            let before = line.split(word).next().unwrap_or_default();
            before.split_whitespace().last().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default()
        };
        passed += number(" passed");
        failed += number(" failed");
    }
    match (seen, failed) {
        (false, _) => "do not build".to_owned(),
        (true, 0) => format!("{passed} pass"),
        (true, _) => format!("{passed} pass, {failed} fail"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn closing_lines_are_summed() {
        let line =
            "test result: ok. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(super::tests(&format!("{line}\nnoise\n{line}\n")), "6 pass, 2 fail");
        assert_eq!(super::tests("error"), "do not build");
    }
}
