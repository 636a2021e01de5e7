//! `cargo xtask deploy`: what `deploy/` holds for Prometheus, judged by its own tool.
//!
//! Knows promtool's words, no rule. With a binary of Kapell the page it prints is judged too. Start at [`run`].

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// How to come by it where it is not there.
const HINT: &str = "promtool is not there: apt-get install --no-install-recommends prometheus (the server need not run), \
                    or say where it is: PROMTOOL=/path/promtool cargo xtask deploy";

/// Checks rules, their tests and the example's configuration; `--binary PATH`: and what that binary prints.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let binary = match args {
        [] => None,
        [flag, path] if flag == "--binary" => {
            Some(std::fs::canonicalize(path).with_context(|| path.clone())?)
        }
        _ => bail!("cargo xtask deploy [--binary PATH]"),
    };
    let root = crate::root()?;
    let tool = std::env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    if Command::new(&tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        bail!("{HINT}");
    }
    let dir = root.join("deploy");
    for words in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        judged(Command::new(&tool).args(words).current_dir(&dir))?;
    }
    let place = std::env::temp_dir().join(format!("kapell-deploy-{}", std::process::id()));
    std::fs::create_dir_all(&place)?;
    let done = within(tool.as_ref(), &dir, &place, binary.as_deref());
    // tidy: allow(recursive-delete): made just above, under this process's own number
    std::fs::remove_dir_all(&place)?;
    done?;
    println!("deploy: rules, their tests and the configuration are sound");
    Ok(())
}

/// What wants a directory of its own.
fn within(tool: &Path, dir: &Path, place: &Path, binary: Option<&Path>) -> Result<()> {
    for name in ["prometheus.yml", "alerts.yml"] {
        std::fs::copy(dir.join(name), place.join(name)).with_context(|| format!("deploy/{name}"))?;
    }
    std::fs::write(place.join("token"), "")?;
    judged(Command::new(tool).args(["check", "config", "prometheus.yml"]).current_dir(place))?;
    match binary {
        Some(binary) => page(tool, binary, place),
        None => Ok(()),
    }
}

/// What the binary prints of an empty store and of one session.
fn page(tool: &Path, binary: &Path, place: &Path) -> Result<()> {
    let kapell = |args: &[&str]| {
        let mut command = Command::new(binary);
        command.args(args).current_dir(place).env("KAPELL_HOME", place.join("home"));
        command
    };
    for _ in 0..2 {
        let printed = kapell(&["metrics"]).output().with_context(|| binary.display().to_string())?;
        let file = place.join("page");
        std::fs::write(&file, &printed.stdout)?;
        judged(Command::new(tool).args(["check", "metrics"]).stdin(std::fs::File::open(&file)?))?;
        kapell(&["demo", "--dir", "demo"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    }
    Ok(())
}

fn judged(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?} found something");
    }
    Ok(())
}
