//! Which untracked paths git would ignore: `.gitignore` files of the worktree and the session's exclude file.
//!
//! Knows no table and no git; reads ignore files only when somebody asks about a path below them.
//! Start at [`Rules::ignores`].

use crate::inside::Inside;
use crate::table::join;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where the patterns' paths are anchored; never touched on disk.
const ANCHOR: &str = "/";

/// The rules that hold in one directory.
#[derive(Debug)]
pub(crate) struct Rules {
    tree: Arc<Inside>,
    dir: Vec<u8>,
    parent: Option<Arc<Rules>>,
    own: OnceLock<Gitignore>,
    /// Rules of the repository as a whole, weaker than any `.gitignore`.
    exclude: Arc<Gitignore>,
    ignored: OnceLock<bool>,
}

impl Rules {
    /// The rules at the top of a worktree.
    pub(crate) fn top(tree: &Arc<Inside>, exclude: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            tree: Arc::clone(tree),
            dir: Vec::new(),
            parent: None,
            own: OnceLock::new(),
            exclude: Arc::new(compile(b"", exclude)),
            ignored: OnceLock::from(false),
        })
    }

    /// The rules one directory further down.
    pub(crate) fn below(self: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            tree: Arc::clone(&self.tree),
            dir: join(&self.dir, name),
            parent: Some(Arc::clone(self)),
            own: OnceLock::new(),
            exclude: Arc::clone(&self.exclude),
            ignored: OnceLock::new(),
        })
    }

    /// The directory, relative to the top.
    pub(crate) fn dir(&self) -> &[u8] {
        &self.dir
    }

    /// Does git ignore this entry of the directory, were it untracked? Nothing below an ignored directory comes back.
    pub(crate) fn ignores(&self, name: &[u8], is_dir: bool) -> bool {
        if self.is_ignored() {
            return true;
        }
        let path = anchored(&join(&self.dir, name));
        let mut level = Some(self);
        while let Some(rules) = level {
            let found = rules.own().matched(&path, is_dir);
            if !found.is_none() {
                return found.is_ignore();
            }
            level = rules.parent.as_deref();
        }
        self.exclude.matched(&path, is_dir).is_ignore()
    }

    fn is_ignored(&self) -> bool {
        *self.ignored.get_or_init(|| {
            let name = crate::table::split(&self.dir).1;
            self.parent.as_ref().is_some_and(|parent| parent.ignores(name, true))
        })
    }

    fn own(&self) -> &Gitignore {
        self.own.get_or_init(|| {
            // An unreadable ignore file ignores nothing, as in git.
            compile(&self.dir, &self.tree.read_plain(&join(&self.dir, b".gitignore")).unwrap_or_default())
        })
    }
}

fn anchored(path: &[u8]) -> PathBuf {
    Path::new(ANCHOR).join(OsStr::from_bytes(path))
}

fn compile(dir: &[u8], text: &[u8]) -> Gitignore {
    let mut builder = GitignoreBuilder::new(anchored(dir));
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // A line that is not UTF-8 or no pattern is passed over, and so ignores nothing.
    for line in text.split(|&b| b == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
        drop(builder.add_line(None, line.strip_suffix('\r').unwrap_or(line)).map(drop));
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_rules_win_and_ignored_directories_stay_closed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join(".gitignore"), "*.log\n/target/\nsecret\n").unwrap();
        std::fs::write(dir.path().join("a/.gitignore"), "!keep.log\nb/\n").unwrap();
        let top = Rules::top(&Arc::new(Inside::open(dir.path()).unwrap()), b"*.tmp\n");
        let a = top.below(b"a");
        assert!(top.ignores(b"x.log", false) && top.ignores(b"target", true) && top.ignores(b"y.tmp", false));
        assert!(!top.ignores(b"target", false));
        assert!(
            !a.ignores(b"keep.log", false) && a.ignores(b"other.log", false) && a.ignores(b"secret", true)
        );
        assert!(a.below(b"b").ignores(b"keep.log", false));
        assert!(!a.ignores(b"main.rs", false));
    }
}
