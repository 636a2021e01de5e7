//! Programs the harnesses use and a fresh machine may not have: found, or installed by the ordinary clients.
//!
//! Knows where a program comes from, not what it is for. Start at [`need`].

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a program comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// A Debian package of this name.
    Debian(&'static str),
    /// A crate of this name and version, installed with its own lock file.
    Crate(&'static str, &'static str),
}

/// Where `program` is, after installing it when it is not there. Err: what to type to get it.
pub(crate) fn need(program: &str, origin: Origin) -> Result<PathBuf> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    eprintln!("xtask: {program} is not here: {}", by_hand(origin));
    let installed = match origin {
        Origin::Debian(package) => debian(package),
        Origin::Crate(name, version) => {
            quietly(crate::cargo().args(["install", "--locked", "--quiet"]).args([
                "--version",
                version,
                name,
            ]))
        }
    };
    installed.with_context(|| format!("{program} could not be installed; by hand: {}", by_hand(origin)))?;
    find(program).with_context(|| format!("{program} was installed and is still not found in PATH"))
}

fn by_hand(origin: Origin) -> String {
    match origin {
        Origin::Debian(package) => format!("apt-get install -y {package}"),
        Origin::Crate(name, version) => format!("cargo install --locked --version {version} {name}"),
    }
}

/// With the package lists there are; when they do not know it, with fresh ones.
fn debian(package: &str) -> Result<()> {
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "-y", "-qq", "--no-install-recommends", package]);
        quietly(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    install().or_else(|_| {
        quietly(Command::new("apt-get").args(["update", "-qq"]))?;
        install()
    })
}

fn quietly(command: &mut Command) -> Result<()> {
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("start the installer")?;
    ensure!(status.success(), "the installer ended with {status}");
    Ok(())
}

/// In PATH, or where cargo puts what it installs.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home =
        cargo_home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(cargo_home.map(|home| home.join("bin")));
    dirs.into_iter().map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_not_installed() {
        assert!(need("sh", Origin::Debian("no-such-package")).is_ok());
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn the_way_by_hand_is_a_command() {
        assert_eq!(
            by_hand(Origin::Crate("cargo-fuzz", "0.13.2")),
            "cargo install --locked --version 0.13.2 cargo-fuzz"
        );
    }
}
