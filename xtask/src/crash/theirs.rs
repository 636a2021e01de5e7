//! The user's repository: made, worked in by the user while sessions land in it, and looked at after every kill.
//!
//! Asks git and the file system, nobody else. Start at [`Theirs::check`].

use super::process::git;
use super::scenario::{MINE, User};
use anyhow::{Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What the user changed by hand.
const CHANGED: &str = "mine, not committed\n";
/// Who the user is.
const USER: &str = "Ada";
/// Sets of files of which all or none land.
const WHOLE: &str = "out";

/// A repository and what the user knows to have done in it.
#[derive(Debug)]
pub(super) struct Theirs {
    dir: PathBuf,
    base: String,
    /// Files that are not committed, as the user left them.
    dirty: BTreeMap<&'static str, &'static str>,
    /// Commits the user made meanwhile.
    own: Vec<String>,
    /// The tip as it was seen last.
    tip: String,
    /// No path is to land by two commits.
    once: bool,
}

impl Theirs {
    /// A repository with one check, and the user's unfinished work in it.
    /// `once`: no path is to land by two commits (a rewind after a landing takes back what landed).
    pub(super) fn new(dir: &Path, user: User, once: bool) -> Result<Self> {
        std::fs::create_dir_all(dir.join(".kapell"))?;
        std::fs::write(dir.join("file.txt"), "base\n")?;
        std::fs::write(dir.join(MINE), "as committed\n")?;
        std::fs::write(dir.join(".kapell/config.toml"), "[checks.there]\nrun = \"test -f file.txt\"\n")?;
        git(dir, &["init", "-q", "-b", "main"])?;
        git(dir, &["config", "user.name", USER])?;
        git(dir, &["config", "user.email", "ada@example.org"])?;
        git(dir, &["add", "-A"])?;
        git(dir, &["commit", "-qm", "base"])?;
        let base = git(dir, &["rev-parse", "HEAD"])?.trim().to_owned();
        let mut dirty = BTreeMap::from([(MINE, CHANGED)]);
        if user != User::InTheWay {
            dirty.insert("unknown.txt", "not known to git\n");
        }
        for (name, text) in &dirty {
            std::fs::write(dir.join(name), text)?;
        }
        Ok(Self { dir: dir.to_owned(), tip: base.clone(), base, dirty, own: Vec::new(), once })
    }

    /// The user commits something to the target branch. Another git may be at it just now: then a moment later.
    pub(super) fn commit(&mut self) -> Result<bool> {
        let name = format!("theirs-{}.txt", self.own.len());
        std::fs::write(self.dir.join(&name), "theirs\n")?;
        let done = git(&self.dir, &["add", &name])
            .and_then(|_| git(&self.dir, &["commit", "-qm", "by hand", "--", &name]));
        if let Err(error) = done {
            // Left as it was before, so that the check knows what to expect.
            let lock = format!("{error:#}").contains("lock");
            ensure!(lock, "the user cannot commit: {error:#}");
            self.undo(&name)?;
            return Ok(false);
        }
        // Kapell may have landed on top of it by now: the newest commit that made this file is the user's.
        let made = git(&self.dir, &["log", "-1", "--format=%H", "main", "--", &name])?;
        self.own.push(made.trim().to_owned());
        Ok(true)
    }

    fn undo(&self, name: &str) -> Result<()> {
        for _ in 0..200 {
            if git(&self.dir, &["rm", "-q", "-f", "--cached", "--ignore-unmatch", name]).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(std::fs::remove_file(self.dir.join(name))?)
    }

    /// While nothing of ours runs: the branch is whole, nothing of the user's is lost, nothing is in the user's way.
    /// Returns how many commits landed. `deep`: the objects too.
    pub(super) fn check(&mut self, deep: bool) -> Result<u64> {
        let locks = locks(&self.dir.join(".git"));
        ensure!(locks.is_empty(), "lock files block the user: {locks:?}");
        for (name, text) in &self.dirty {
            let now = std::fs::read_to_string(self.dir.join(name)).unwrap_or_default();
            ensure!(now == *text, "the user's {name} was changed: {now:?}");
        }
        let status = git(&self.dir, &["status", "--porcelain", "--untracked-files=all"])?;
        let seen: BTreeSet<&str> = status.lines().map(|line| &line[3..]).collect();
        let known: BTreeSet<&str> = self.dirty.keys().copied().collect();
        ensure!(seen == known, "index and tree do not agree with the branch:\n{status}");
        let head = git(&self.dir, &["symbolic-ref", "HEAD"])?;
        ensure!(head.trim() == "refs/heads/main", "HEAD is {head}");
        let tip = git(&self.dir, &["rev-parse", "main"])?.trim().to_owned();
        let mut landed = 0;
        if tip != self.tip || deep {
            landed = self.history()?;
        }
        if deep {
            git(&self.dir, &["fsck", "--no-dangling", "--no-progress", "--strict"])?;
        }
        self.tip = tip;
        Ok(landed)
    }

    /// Every commit since the base: the user's are all there, ours are whole and none landed twice.
    fn history(&self) -> Result<u64> {
        let log = git(
            &self.dir,
            &["log", "--first-parent", "--name-only", "--format=%x00%H", &format!("{}..main", self.base)],
        )?;
        let (mut own, mut ours, mut paths) = (BTreeSet::new(), 0, BTreeSet::new());
        for commit in log.split('\0').skip(1) {
            let mut lines = commit.lines().filter(|line| !line.is_empty());
            let id = lines.next().unwrap_or_default();
            if self.own.iter().any(|known| known == id) {
                own.insert(id);
                continue;
            }
            ours += 1;
            for path in lines {
                ensure!(
                    paths.insert(path.to_owned()) || !self.once,
                    "{path} landed twice, the second time in {id}"
                );
                ensure!(!path.starts_with("theirs"), "{id} holds the user's {path}");
            }
        }
        ensure!(own.len() == self.own.len(), "commits of the user's are gone: {:?} of {:?}", own, self.own);
        git(&self.dir, &["merge-base", "--is-ancestor", &self.tip, "main"])?;
        Ok(ours)
    }

    /// Names of the files below `out` on the target branch.
    pub(super) fn landed_files(&self) -> Result<Vec<String>> {
        let names = git(&self.dir, &["ls-tree", "-r", "--name-only", "main", "--", WHOLE])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// A file of the target branch.
    pub(super) fn show(&self, path: &str) -> Result<String> {
        git(&self.dir, &["show", &format!("main:{path}")])
    }
}

/// Every lock file below a directory of git's.
fn locks(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // Objects have no locks, and there are many.
                if !path.ends_with("objects") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|end| end == "lock") {
                found.push(path);
            }
        }
    }
    found
}
