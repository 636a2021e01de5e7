//! One session's directory: where things lie, what is on record about it, and the guard every git call passes.
//!
//! ```text
//! <state>/sessions/<id>/session.json   marker and record: whose directory this is, base, target, what was landed
//!                       git/           Kapell's repository: savepoints, results; objects borrowed by alternates
//!                       tree/          the worktree the agent sees
//!                       tree/.git/     the agent's own repository; nothing of Kapell depends on it
//! ```
//!
//! Knows nothing of the user's repository beyond its path. Start at [`Open::guard`].

use crate::git::{Binary, Repo};
use crate::image::Image;
use crate::object::{Format, Fresh, Oid, Stamp, Store, read_plain, write_atomically};
use contract::error::DISK_FULL;
use contract::{Fault, Kind, SessionId};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Beginning of the names of directories in which a session's parts are made.
pub(crate) const STAGE: &str = "making-";
/// The record of a session, which is also the marker that Kapell made its directory.
pub(crate) const MARKER: &str = "session.json";
/// Longest name a savepoint may have.
const LABEL_BYTES: usize = 100;
/// Who signs what Kapell commits when git knows no name of the user.
const NOBODY: (&str, &str) = ("Kapell", "kapell@localhost");

/// Attributes of a session's repositories: the tree holds exactly the bytes that git stores. No filter runs and
/// no line end is converted, so that a savepoint and a checkout are images, not translations.
pub(crate) const ATTRIBUTES: &str = "* -text -filter -ident -working-tree-encoding\n";

/// Where a session's things lie.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) session: SessionId,
    pub(crate) dir: PathBuf,
    pub(crate) git: PathBuf,
    pub(crate) tree: PathBuf,
}

impl Home {
    pub(crate) fn new(sessions: &Path, session: SessionId) -> Self {
        let dir = sessions.join(session.to_string());
        Self { session, git: dir.join("git"), tree: dir.join("tree"), dir }
    }

    /// Places inside the session's directory where its parts are made, before they are moved to where they belong.
    /// Each try has its own: a program of a broken-off try may still be dying in its.
    pub(crate) fn staged(&self) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let stage = self.dir.join(format!("{STAGE}{}-{}", since.as_nanos(), std::process::id()));
        Self { git: stage.join("git"), tree: stage.join("tree"), ..self.clone() }
    }

    /// The record, which is also the marker that Kapell made this directory.
    pub(crate) fn record(&self) -> io::Result<Option<Record>> {
        let Some(bytes) = read_plain(&self.dir.join(MARKER))? else { return Ok(None) };
        let record: Record = serde_json::from_slice(&bytes)?;
        Ok((record.session == self.session).then_some(record))
    }

    /// Writes the record, to last.
    pub(crate) fn save(&self, record: &Record) -> io::Result<()> {
        write_atomically(&self.dir.join(MARKER), &serde_json::to_vec_pretty(record)?, true)
    }

    /// A ref of Kapell's repository. Only Kapell writes there, one file per ref, never packed.
    pub(crate) fn read_ref(&self, name: &str) -> io::Result<Option<Oid>> {
        let bytes = read_plain(&self.git.join(name))?;
        Ok(bytes.and_then(|bytes| Oid::parse(String::from_utf8_lossy(&bytes).trim())))
    }

    /// `sync`: it outlives a power cut; so must what it names.
    pub(crate) fn write_ref(&self, name: &str, oid: &Oid, sync: bool) -> io::Result<()> {
        let path = self.git.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        write_atomically(&path, format!("{oid}\n").as_bytes(), sync)
    }
}

/// What `session.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) session: SessionId,
    /// `None` while it is being prepared: what lies there is incomplete.
    pub(crate) ready: Option<Facts>,
    /// While it is being prepared: the repository in which the base is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<PathBuf>,
}

impl Record {
    /// Of a session that is prepared.
    pub(crate) fn ready(session: SessionId, facts: Facts) -> Self {
        Self { session, ready: Some(facts), origin: None }
    }
}

/// What is on record about a prepared session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Where git is called for the origin: its top level, or the bare repository itself.
    pub(crate) repo: PathBuf,
    /// The origin's git directory (the common one of all its worktrees).
    pub(crate) common: PathBuf,
    pub(crate) bare: bool,
    /// `sha1` or `sha256`.
    pub(crate) format: String,
    pub(crate) base: String,
    pub(crate) base_tree: String,
    pub(crate) target: Option<String>,
    /// Name and address of the author.
    pub(crate) author: Option<(String, String)>,
    pub(crate) notes: Vec<String>,
    /// Object directories borrowed from, in the words of git's alternates file.
    pub(crate) borrowed: Vec<PathBuf>,
    /// The tip of the session's branch.
    #[serde(default)]
    pub(crate) work: Option<Point>,
    /// The last result that landed: later results are committed on top of it.
    #[serde(default)]
    pub(crate) landed: Option<Point>,
    /// A result, and the commit that landing it is about to make the tip of the target.
    #[serde(default)]
    pub(crate) landing: Option<(String, String)>,
    /// The branch last left in the user's repository, and its commit: anything else there is not ours to move.
    #[serde(default)]
    pub(crate) left: Option<(String, String)>,
}

/// A commit and its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) commit: String,
    pub(crate) tree: String,
}

impl Facts {
    pub(crate) fn format(&self) -> Format {
        Format::parse(&self.format).unwrap_or(Format::Sha1)
    }

    /// Where git can be called for the origin: its top level, or its git directory when that worktree was removed;
    /// `None` when both are gone.
    pub(crate) fn place(&self) -> Option<PathBuf> {
        [&self.repo, &self.common].into_iter().find(|dir| dir.is_dir()).cloned()
    }

    /// The author of results, now.
    pub(crate) fn author(&self) -> Stamp {
        let (name, email) = self.author.clone().unwrap_or((NOBODY.0.to_owned(), NOBODY.1.to_owned()));
        Stamp { name, email, seconds: now() }
    }

    /// Configuration of Kapell's repository. It is rewritten whenever it is found changed.
    fn config(&self) -> String {
        let (version, extensions) = match self.format() {
            Format::Sha1 => (0, String::new()),
            other => (1, format!("[extensions]\n\tobjectFormat = {}\n", other.name())),
        };
        format!(
            "[core]\n\trepositoryFormatVersion = {version}\n\tfileMode = true\n\tbare = false\n\
             \tlogAllRefUpdates = false\n\tautoCRLF = false\n[index]\n\tversion = 2\n\
             [gc]\n\tauto = 0\n\tpruneExpire = never\n[commit]\n\tgpgSign = false\n{extensions}"
        )
    }

    /// Lines of the alternates file.
    pub(crate) fn alternates(&self, also: Option<&Path>) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt as _;
        let dirs = also.into_iter().chain(self.borrowed.iter().map(PathBuf::as_path));
        dirs.flat_map(|dir| [dir.as_os_str().as_bytes(), b"\n"].concat()).collect()
    }
}

/// A session that is in use by this process.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) home: Home,
    pub(crate) facts: Facts,
    pub(crate) image: Option<Image>,
    /// The last image as a commit.
    pub(crate) last: Option<(Oid, Oid)>,
    /// Objects that are not durable yet.
    pub(crate) fresh: Fresh,
}

impl Open {
    /// The session as its directory tells it; `None` when it was never prepared.
    pub(crate) fn load(home: Home) -> io::Result<Option<Self>> {
        let ready = home.record()?.and_then(|record| record.ready);
        Ok(ready.map(|facts| Self { home, facts, image: None, last: None, fresh: Fresh::default() }))
    }

    /// Kapell's object store of this session.
    pub(crate) fn store(&self) -> Store {
        Store::with(&self.home.git, self.facts.format(), Arc::clone(&self.fresh))
    }

    /// Kapell's repository, after making sure that it is: real directories, the session's own marker, and no file
    /// that would make git take its configuration, its objects or its refs from elsewhere.
    pub(crate) fn guard(&self, binary: &Binary) -> Result<Repo, Fault> {
        let refuse = |why: &str| {
            let what =
                format!("the workspace of session {} is not what it should be: {why}", self.home.session);
            let hint =
                format!("put {} right, or save what you need of it and remove it", self.home.dir.display());
            Fault::new(Kind::Permanent, "workspace-foreign", what).hint(hint)
        };
        for dir in [&self.home.dir, &self.home.git, &self.home.tree] {
            if !std::fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir()) {
                return Err(refuse(&format!("{} is no directory", dir.display())));
            }
        }
        let record = match self.home.record() {
            Err(error) if passes(&error) => return Err(io_fault("reading", &self.home.dir, &error)),
            read => read.ok().flatten(),
        };
        if record.is_none_or(|record| record.ready.is_none()) {
            return Err(refuse("its session.json is missing or of another session"));
        }
        for stray in ["commondir", "gitdir", "config.worktree"] {
            if self.home.git.join(stray).symlink_metadata().is_ok() {
                return Err(refuse(&format!("its repository has a file `{stray}`")));
            }
        }
        self.own_files().map_err(|error| match passes(&error) {
            true => io_fault("writing in", &self.home.git, &error),
            false => refuse(&error.to_string()),
        })?;
        Ok(Repo::own(&binary.of(self.home.session), &self.home.git, &self.home.tree))
    }

    /// Puts the files that steer git right, where something changed them.
    fn own_files(&self) -> io::Result<()> {
        let right = [
            ("config", self.facts.config().into_bytes()),
            ("HEAD", format!("ref: refs/heads/{}\n", branch(self.home.session)).into_bytes()),
            ("info/attributes", ATTRIBUTES.into()),
            ("objects/info/alternates", self.facts.alternates(None)),
        ];
        for (name, bytes) in right {
            let path = self.home.git.join(name);
            if read_plain(&path)?.as_deref() != Some(&bytes) {
                write_atomically(&path, &bytes, false)?;
            }
        }
        Ok(())
    }

    /// Makes Kapell's repository and the agent's, both empty of work. `exclude`: ignore rules of the origin.
    pub(crate) fn found(&self, exclude: &[u8], shallow: Option<&[u8]>) -> io::Result<()> {
        std::fs::create_dir_all(&self.home.tree)?;
        skeleton(&self.home.git, exclude, shallow)?;
        self.own_files()
    }

    /// Makes the agent's repository in the tree, clean at the base. Its index is Kapell's: same files, same stat data.
    pub(crate) fn found_agents(&self, exclude: &[u8], shallow: Option<&[u8]>) -> io::Result<()> {
        let git = self.home.tree.join(".git");
        skeleton(&git, exclude, shallow)?;
        let mut config = self.facts.config().replace("logAllRefUpdates = false", "logAllRefUpdates = true");
        if let Some((name, email)) = &self.facts.author {
            config.push_str(&format!("[user]\n\tname = {}\n\temail = {}\n", quoted(name), quoted(email)));
        }
        std::fs::write(git.join("config"), config)?;
        std::fs::write(git.join("info/attributes"), ATTRIBUTES)?;
        std::fs::write(
            git.join("objects/info/alternates"),
            self.facts.alternates(Some(&self.home.git.join("objects"))),
        )?;
        let head = format!("refs/heads/{}", branch(self.home.session));
        std::fs::create_dir_all(git.join("refs/heads/kapell"))?;
        std::fs::write(git.join(&head), format!("{}\n", self.facts.base))?;
        std::fs::write(git.join("HEAD"), format!("ref: {head}\n"))?;
        std::fs::copy(self.home.git.join("index"), git.join("index")).map(drop)
    }
}

fn skeleton(git: &Path, exclude: &[u8], shallow: Option<&[u8]>) -> io::Result<()> {
    for dir in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
        std::fs::create_dir_all(git.join(dir))?;
    }
    std::fs::write(git.join("info/exclude"), exclude)?;
    match shallow {
        Some(shallow) => std::fs::write(git.join("shallow"), shallow),
        None => Ok(()),
    }
}

/// A value of a git configuration file.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Directories of objects that the git of the session with this directory borrows from.
pub fn borrowed(dir: &Path) -> Vec<PathBuf> {
    let own = dir.join("git").join("objects");
    let list = read_plain(&own.join("info/alternates")).ok().flatten().unwrap_or_default();
    let lines = list.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(crate::git::path);
    std::iter::once(own).chain(lines).collect()
}

/// Name of a session's branch: `kapell/` and the last eight digits of its id (the first are a coarse time).
pub fn branch(session: SessionId) -> String {
    let id = session.to_string();
    format!("kapell/{}", &id[id.len() - 8..])
}

/// The ref that keeps a session's base in the repository it began from.
pub(crate) fn pin(session: SessionId) -> String {
    format!("refs/kapell/base/{session}")
}

/// The ref of a savepoint.
pub(crate) fn save_ref(label: &str) -> Result<String, Fault> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let good = !label.is_empty()
        && label.len() <= LABEL_BYTES
        && label.bytes().all(fine)
        && !label.starts_with(['.', '-'])
        && !label.ends_with('.')
        && !label.ends_with(".lock")
        && !label.contains("..");
    match good {
        true => Ok(format!("refs/kapell/save/{label}")),
        false => Err(Fault::new(Kind::Permanent, "bad-label", "a savepoint's label is a plain short word")),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Is this trouble of the machine's, which says nothing about the file?
pub(crate) fn passes(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let machine = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::IO,
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::ROFS,
        Errno::ACCESS,
    ];
    Errno::from_io_error(error).is_some_and(|error| machine.contains(&error))
}

/// A file error as a fault.
pub(crate) fn io_fault(what: &str, path: &Path, error: &io::Error) -> Fault {
    let said = format!("{what} {} failed: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Fault::new(Kind::UserFixable, DISK_FULL, said).hint("free some space, then `kapell resume`")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Fault::new(Kind::UserFixable, "not-writable", said).hint("make that directory writable for you")
        }
        _ => Fault::new(Kind::Permanent, "file-error", said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_plain() {
        assert_eq!(save_ref("3.14").unwrap(), "refs/kapell/save/3.14");
        for bad in ["", "a/b", "../x", "a..b", ".x", "x.lock", "-x", "x.", "a b"] {
            assert!(save_ref(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_with_quotes_stay_one_value() {
        assert_eq!(quoted("a \"b\"\\\n[x]"), "\"a \\\"b\\\"\\\\[x]\"");
    }
}
