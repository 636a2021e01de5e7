//! Building and finding our own programs.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// Builds a package's program and says where it is.
pub(crate) fn build(package: &str, release: bool) -> Result<PathBuf> {
    let mut args = vec!["build", "--quiet", "--package", package];
    if release {
        args.push("--release");
    }
    let status = crate::cargo()
        .args(&args)
        .current_dir(crate::root()?)
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("`cargo {}` ended with {status}", args.join(" "));
    }
    Ok(target_dir()?.join(if release { "release" } else { "debug" }).join(package))
}

pub(crate) fn target_dir() -> Result<PathBuf> {
    let out = crate::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(crate::root()?)
        .output()
        .context("cargo metadata")?;
    let value: serde_json::Value =
        serde_json::from_slice(&out.stdout).context("cargo metadata did not answer JSON")?;
    value["target_directory"].as_str().map(PathBuf::from).context("cargo metadata names no target directory")
}

/// Builds programs of these packages, and one example, in one go (their libraries once); says where they are.
pub(crate) fn build_together(packages: &[&str], example: &str, release: bool) -> Result<PathBuf> {
    let mut args = vec!["build", "--quiet", "--bins", "--example", example];
    args.extend(packages.iter().flat_map(|package| ["--package", *package]));
    if release {
        args.push("--release");
    }
    let status = crate::cargo().args(&args).current_dir(crate::root()?).status();
    let status = status.context("cargo could not be started")?;
    if !status.success() {
        bail!("`cargo {}` ended with {status}", args.join(" "));
    }
    Ok(target_dir()?.join(if release { "release" } else { "debug" }))
}

/// Runs an optimised example of a package in the foreground with these arguments.
pub(crate) fn example(package: &str, name: &str, args: &[String]) -> Result<()> {
    let cargo = ["run", "--quiet", "--release", "--package", package, "--example", name, "--"];
    let status = crate::cargo().args(cargo).args(args).current_dir(crate::root()?).status();
    let status = status.context("cargo could not be started")?;
    if !status.success() {
        bail!("{name} of {package} ended with {status}");
    }
    Ok(())
}

/// Runs one of our programs in the foreground with these arguments.
pub(crate) fn run(package: &str, release: bool, args: &[String]) -> Result<()> {
    let program = build(package, release)?;
    let status = std::process::Command::new(&program).args(args).current_dir(crate::root()?).status();
    let status = status.with_context(|| format!("start {}", program.display()))?;
    if !status.success() {
        bail!("{package} ended with {status}");
    }
    Ok(())
}
