//! `cargo xtask bench parsers` and `bench output`: what is understood, and what stays in view, of real outputs that
//! nobody here wrote. The data set is outside the project; where a part of it is absent, that is said.
//!
//! Start at [`parsers::run`] and [`economy::run`].

pub(crate) mod economy;
mod labels;
pub(crate) mod parsers;
mod recorded;

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// One archive of the data set, unpacked; `None` where it is not there.
fn archive(data: &Path, file: &str) -> Result<Option<TempDir>> {
    let path = data.join(file);
    if !path.exists() {
        println!("SKIPPED 1 set: {file} is not in KAPELL_DATA");
        return Ok(None);
    }
    let to = tempfile::tempdir()?;
    let status = std::process::Command::new("tar").arg("-xJf").arg(&path).arg("-C").arg(to.path()).status();
    ensure!(status.context("start tar")?.success(), "tar cannot unpack {}", path.display());
    Ok(Some(to))
}

/// Every file below, sorted.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 }
}
