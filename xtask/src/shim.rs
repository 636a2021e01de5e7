//! The preloaded library of `faults` and `power`: built from `xtask/shim/shim.c` by the machine's C compiler.
//!
//! Knows its variables, not what its users look for. Start at [`build`]; what it does stands in the C file.

use crate::tools::Origin;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles the shim into this directory and says where it is.
pub(crate) fn build(into: &Path) -> Result<PathBuf> {
    crate::tools::need("cc", Origin::Debian("gcc"))?;
    let (source, library) = (crate::root()?.join("xtask/shim/shim.c"), into.join("shim.so"));
    let out = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
        .args([&library, &source])
        .args(["-ldl", "-lpthread"])
        .output()
        .context("start cc")?;
    ensure!(out.status.success(), "cc: {}", String::from_utf8_lossy(&out.stderr));
    Ok(library)
}

/// A directory in memory where there is one: what a kill leaves behind is the same there, and nothing waits for a disk.
pub(crate) fn quick_dir() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// A directory of its own, removed at the end.
#[derive(Debug)]
pub(crate) struct Temp(pub(crate) PathBuf);

impl Temp {
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // tidy: allow(recursive-delete): made by `Temp::new` with create_dir, so it is ours alone
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The next number of a seeded sequence (SplitMix64), below the bound.
pub(crate) fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) % below.max(1)
}
