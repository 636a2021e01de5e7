//! The four roots: config, data, state, cache (XDG), or all under `KAPELL_HOME`.
//!
//! Knows names of directories, not what is in them. Start at [`Home::find`].

use contract::{Fault, Kind};
use std::path::{Path, PathBuf};

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    /// What people write: `config.toml`.
    pub(crate) config: PathBuf,
    /// What must not be lost: the store.
    pub(crate) data: PathBuf,
    /// Workspaces, locks and process records.
    pub(crate) state: PathBuf,
    /// What can be deleted at any time.
    pub(crate) cache: PathBuf,
}

impl Home {
    /// From the environment: `KAPELL_HOME` moves all four; else the XDG variables; else the usual places in HOME.
    pub(crate) fn find(env: impl Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(home) = set("KAPELL_HOME") {
            let home = std::path::absolute(&home).unwrap_or(home);
            return Ok(Self {
                config: home.join("config"),
                data: home.join("data"),
                state: home.join("state"),
                cache: home.join("cache"),
            });
        }
        let home = set("HOME");
        let root = |xdg: &str, usual: &str| {
            // The XDG specification says: a relative path is to be ignored.
            let base =
                set(xdg).filter(|path| path.is_absolute()).or_else(|| home.as_ref().map(|h| h.join(usual)));
            base.map(|base| base.join("kapell")).ok_or_else(|| {
                let what = format!("neither {xdg} nor HOME is set, so there is no place to keep anything");
                Fault::new(Kind::UserFixable, "no-home", what).hint("set KAPELL_HOME=/some/directory")
            })
        };
        Ok(Self {
            config: root("XDG_CONFIG_HOME", ".config")?,
            data: root("XDG_DATA_HOME", ".local/share")?,
            state: root("XDG_STATE_HOME", ".local/state")?,
            cache: root("XDG_CACHE_HOME", ".cache")?,
        })
    }

    /// Makes the directories that are written to, for their owner only.
    pub(crate) fn create(&self) -> Result<(), Fault> {
        for dir in [&self.data, &self.state, &self.cache] {
            create_private(dir)?;
        }
        Ok(())
    }

    /// The store's file.
    pub(crate) fn store_file(&self) -> PathBuf {
        self.data.join("kapell.db")
    }

    /// One directory per session: its clone and its builds.
    pub(crate) fn sessions_dir(&self) -> PathBuf {
        self.state.join("sessions")
    }

    /// Parsers that agents have taught.
    pub(crate) fn parsers_dir(&self) -> PathBuf {
        self.state.join("parsers")
    }

    /// Outputs of running commands that are too long for memory; on the disk of the store, which takes them over.
    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.data.join("spool")
    }

    /// Tokens of listeners: `PORT.token`, for as long as one listens there.
    pub(crate) fn tokens_dir(&self) -> PathBuf {
        self.state.join("http")
    }

    /// Locks of sessions, and records of running processes beside them.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.state.join("run")
    }
}

/// The person's own ignore rules, where git looks for them when its settings name no other place.
pub(crate) fn git_ignore(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("git").join("ignore"))
}

/// Makes a directory (and its parents) that only its owner can enter.
pub(crate) fn create_private(dir: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        let what = format!("cannot create {}: {error}", dir.display());
        Fault::new(Kind::UserFixable, "no-directory", what)
            .hint("make its parent writable, or set KAPELL_HOME=/some/directory")
    })
}

/// The same of one that only its owner may ever have been able to enter: what others could have put there, or opened, is
/// theirs no more.
pub(crate) fn create_own(dir: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    create_private(dir)?;
    let fault = |what: String| {
        Fault::new(Kind::UserFixable, "no-directory", what)
            .hint("remove it, or set KAPELL_HOME=/some/directory of yours")
    };
    let look = std::fs::symlink_metadata(dir);
    let look = look.map_err(|error| fault(format!("cannot look at {}: {error}", dir.display())))?;
    if !look.is_dir() || look.uid() != rustix::process::geteuid().as_raw() {
        return Err(fault(format!("{} is not a directory of yours", dir.display())));
    }
    if look.permissions().mode() & 0o077 != 0 {
        let closed = std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700));
        closed.map_err(|error| fault(format!("cannot close {} to others: {error}", dir.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pairs: &[(&str, &str)]) -> Result<Home, Fault> {
        Home::find(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn one_variable_moves_all_four() {
        let home = find(&[("KAPELL_HOME", "/x"), ("HOME", "/h"), ("XDG_DATA_HOME", "/d")]).unwrap();
        assert_eq!(
            (home.data.as_path(), home.cache.as_path()),
            (Path::new("/x/data"), Path::new("/x/cache"))
        );
    }

    #[test]
    fn xdg_first_then_home_and_relative_is_ignored() {
        let home = find(&[
            ("HOME", "/h"),
            ("XDG_DATA_HOME", "/d"),
            ("XDG_STATE_HOME", "rel"),
            ("XDG_CACHE_HOME", ""),
        ])
        .unwrap();
        assert_eq!(home.data, Path::new("/d/kapell"));
        assert_eq!(home.state, Path::new("/h/.local/state/kapell"));
        assert_eq!(home.cache, Path::new("/h/.cache/kapell"));
    }

    #[test]
    fn nowhere_to_go_is_said() {
        assert!(find(&[]).unwrap_err().hint.contains("KAPELL_HOME"));
    }
}
