//! `cargo xtask console`: the console in a browser, over the mock of the daemon and over the real binary.
//!
//! Knows where its tests stand, not what they do. Start at [`run`].

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Tests over the real binary.
const REAL: &str = "test/real";
/// Tests over the mock: every view, theme and width, hostile texts, keys, speed.
const MOCK: &str = "test/browser";

/// Runs both; `--real`: only those over the binary. Says what is missing and does nothing where that is not there.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let dirs: &[&str] = match args {
        [] => &[REAL, MOCK],
        [flag] if flag == "--real" => &[REAL],
        _ => bail!("cargo xtask console [--real]"),
    };
    let root = crate::root()?;
    let console = root.join("console");
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let lacks = [
        (node.is_err(), "node (Debian: apt-get install nodejs npm)"),
        (!Path::new(&chromium).exists(), "Chromium (Debian: apt-get install chromium; or CHROMIUM=PATH)"),
        (
            !console.join("node_modules/playwright-core").exists(),
            "console/node_modules (npm install in console)",
        ),
    ];
    if let Some((_, what)) = lacks.iter().find(|(lacks, _)| *lacks) {
        println!("console: SKIPPED, there is no {what}");
        return Ok(());
    }
    let built = Command::new(env!("CARGO")).args(["build", "-p", "kapell"]).current_dir(&root).status()?;
    if !built.success() {
        bail!("the binary does not build");
    }
    for dir in dirs {
        let mut files: Vec<_> = std::fs::read_dir(console.join(dir))
            .with_context(|| format!("console/{dir}"))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
            .collect();
        files.sort();
        let mut tests = Command::new("node");
        tests.args(["--test", "--test-concurrency=1"]).args(files).current_dir(&console);
        if !tests.env("KAPELL", root.join("target/debug/kapell")).status()?.success() {
            bail!("tests in console/{dir} failed; console/artifacts holds pictures");
        }
    }
    Ok(())
}
