//! `cargo xtask sim`: the simulator over many seeds, some of them twice, in two processes and on SQLite; or with bugs planted.
//!
//! Knows how it is built; the work is in `crates/sim`. Start at [`run`].

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `--seeds N`, `--from N`, `--seed S`, `--steps N`, `--without A,B`, `--nodes N`, `--sessions N`, `--store sqlite`,
/// `--met`: handed on as they are. `--plants` builds with the known bugs in, into a directory of its own.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--plants") {
        refused_in_a_release_build()?;
        let program = build(true)?;
        return start(&program, args);
    }
    let program = build(false)?;
    let commit = commit().unwrap_or_else(|| "?".to_owned());
    let mut all = args.to_vec();
    all.extend(["--commit".to_owned(), commit]);
    if args.iter().any(|arg| arg == "--seed") {
        return start(&program, &all);
    }
    let traces = program.with_file_name("sim-traces.txt");
    let file = traces.to_string_lossy().into_owned();
    all.extend(["--traces".to_owned(), file.clone()]);
    start(&program, &all)?;
    start(&program, &["--check-traces".to_owned(), file])
}

fn start(program: &Path, args: &[String]) -> Result<()> {
    let status = Command::new(program).args(args).current_dir(crate::root()?).status();
    let status = status.with_context(|| format!("start {}", program.display()))?;
    ensure!(status.success(), "the simulator ended with {status}");
    Ok(())
}

/// What the planted build is told beyond the ordinary one. Its own directory, so that neither throws the other away.
const PLANTED: [&str; 2] = ["--config", "build.rustflags=[\"--cfg\", \"planted\"]"];

fn build(planted: bool) -> Result<PathBuf> {
    let mut target = crate::programs::target_dir()?;
    let mut cargo = crate::cargo();
    cargo.args(["build", "--quiet", "--profile", "sim", "--package", "sim"]).current_dir(crate::root()?);
    if planted {
        target.push("planted");
        // The variable would win over the argument.
        cargo.args(PLANTED).arg("--target-dir").arg(&target).env_remove("RUSTFLAGS");
    }
    let status = cargo.status().context("cargo could not be started")?;
    ensure!(status.success(), "the simulator does not build: {status}");
    Ok(target.join("sim").join("sim"))
}

/// The bugs are in no release build: the compiler itself refuses one that has them.
pub(crate) fn refused_in_a_release_build() -> Result<()> {
    let compile = |assertions: &str| -> Result<(bool, String)> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let out = Command::new(rustc)
            .args([
                "--edition",
                "2024",
                "--crate-type",
                "lib",
                "--cfg",
                "planted",
                "--emit",
                "metadata",
                "-o",
                "-",
            ])
            .args(["-C", assertions, "crates/contract/src/planted.rs"])
            .current_dir(crate::root()?)
            .stdin(Stdio::null())
            .output()
            .context("rustc could not be started")?;
        Ok((out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned()))
    };
    let (built, why) = compile("debug-assertions=on")?;
    ensure!(built, "the planted bugs do not compile by themselves:\n{why}");
    match compile("debug-assertions=off")? {
        (false, why) if why.contains("never for a release build") => Ok(()),
        (built, why) => bail!("a release build with planted bugs was not refused (built: {built}):\n{why}"),
    }
}

fn commit() -> Option<String> {
    let out =
        Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(crate::root().ok()?).output();
    let out = out.ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_release_build_with_planted_bugs_is_refused() {
        super::refused_in_a_release_build().unwrap();
    }
}
