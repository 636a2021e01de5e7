//! What rules are derived from: the person's surroundings, and a look at files that a test can make up.
//! Knows no rule. Start at [`Place`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The person's surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) home: PathBuf,
    /// Where programs are looked for.
    pub(super) path: Vec<PathBuf>,
    pub(super) variables: Vec<(OsString, OsString)>,
}

impl Place {
    /// Out of the environment that the command will have.
    pub(super) fn new(env: &[(OsString, OsString)]) -> Self {
        let get = |wanted: &str| env.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let absolute = |path: &PathBuf| path.is_absolute();
        Self {
            home: get("HOME").map(PathBuf::from).unwrap_or_default(),
            path: get("PATH")
                .map_or_else(Vec::new, |all| std::env::split_paths(&all).filter(absolute).collect()),
            variables: env.to_vec(),
        }
    }

    /// A home that can be hidden.
    pub(super) fn has_home(&self) -> bool {
        self.home.is_absolute() && self.home.components().count() > 1
    }

    /// A directory that a variable names.
    pub(super) fn variable(&self, wanted: &str) -> Option<PathBuf> {
        let (_, value) = self.variables.iter().find(|(name, _)| name == wanted)?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    }

    /// Never the home as a whole, nor what it lies in.
    pub(super) fn may_show(&self, path: &Path) -> bool {
        path.is_absolute() && path != Path::new("/") && !(self.has_home() && self.home.starts_with(path))
    }
}

/// What a path is, without following it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File,
    Link(PathBuf),
}

/// A look at files.
pub(super) trait Files {
    fn kind(&self, path: &Path) -> Option<Kind>;
    /// Where it really is; `None`: nowhere.
    fn real(&self, path: &Path) -> Option<PathBuf>;
    fn list(&self, dir: &Path) -> Vec<PathBuf>;
}

/// The files there are.
pub(super) struct Disk;

impl Files for Disk {
    fn kind(&self, path: &Path) -> Option<Kind> {
        let kind = std::fs::symlink_metadata(path).ok()?.file_type();
        Some(match kind {
            kind if kind.is_dir() => Kind::Dir,
            kind if kind.is_symlink() => Kind::Link(std::fs::read_link(path).ok()?),
            _ => Kind::File,
        })
    }

    fn real(&self, path: &Path) -> Option<PathBuf> {
        std::fs::canonicalize(path).ok()
    }

    fn list(&self, dir: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// Files made up: `/dir/`, `/file`, `/link>target`.
#[cfg(test)]
pub(super) struct Fake(std::collections::BTreeMap<PathBuf, Kind>);

#[cfg(test)]
impl Fake {
    pub(super) fn new(all: &[&str]) -> Self {
        let one = |text: &&str| match (text.split_once('>'), text.strip_suffix('/')) {
            (Some((link, to)), _) => (link.into(), Kind::Link(to.into())),
            (_, Some(dir)) => (dir.into(), Kind::Dir),
            _ => ((*text).into(), Kind::File),
        };
        Self(all.iter().map(one).collect())
    }
}

#[cfg(test)]
impl Files for Fake {
    fn kind(&self, path: &Path) -> Option<Kind> {
        self.0
            .get(path)
            .cloned()
            .or_else(|| self.0.keys().any(|other| other.starts_with(path)).then_some(Kind::Dir))
    }

    fn real(&self, path: &Path) -> Option<PathBuf> {
        match self.kind(path)? {
            Kind::Link(to) => Some(path.parent()?.join(to)),
            _ => Some(path.to_owned()),
        }
    }

    fn list(&self, dir: &Path) -> Vec<PathBuf> {
        self.0.keys().filter(|path| path.parent() == Some(dir)).cloned().collect()
    }
}
