//! A user's repository, a [`Git`] over it, and short words for what tests do.

use contract::checks::{CheckOutput, Report};
use contract::workspace::{CheckMerged, Landed, Landing, Origin, Ready, Workspace};
use contract::{Cancel, Fault, SessionId};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use workspace::{Git, Options, Removed};

/// A user with a repository, and Kapell beside it.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) repo: PathBuf,
    pub(crate) git: Arc<Git>,
}

/// Bytes of a file that no savepoint takes in.
pub(crate) const TOO_LARGE: u64 = contract::limits::SAVEPOINT_FILE_BYTES + 1;

static SESSIONS: AtomicU64 = AtomicU64::new(1);

pub(crate) fn session() -> SessionId {
    SessionId::v7(1_795_000_000_000, u128::from(SESSIONS.fetch_add(1, Ordering::Relaxed)))
}

impl World {
    /// A repository with a few files on `main`.
    pub(crate) fn new() -> Self {
        let world = Self::empty(&[]);
        for (path, text) in [
            ("a.txt", "one\ntwo\nthree\n"),
            ("src/lib.rs", "pub fn f() {}\n"),
            (".gitignore", "target/\n*.log\n"),
        ] {
            world.write(path, text);
        }
        world.run(&["add", "-A"]);
        world.run(&["commit", "-q", "-m", "start"]);
        world
    }

    /// A repository without a commit.
    pub(crate) fn empty(init: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        std::fs::create_dir(&repo).unwrap();
        let git = Arc::new(Git::new(dir.path().join("state"), dir.path().join("cache"), Options::default()));
        let world = Self { dir, repo, git };
        world.run(&[&["init", "-q", "-b", "main"], init].concat());
        world.run(&["config", "user.name", "Ada Example"]);
        world.run(&["config", "user.email", "ada@example.org"]);
        world
    }

    /// Kapell as after a restart: nothing in memory.
    pub(crate) fn restart(&mut self) {
        self.git = Arc::new(Git::new(
            self.dir.path().join("state"),
            self.dir.path().join("cache"),
            Options::default(),
        ));
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        put(&self.repo.join(path), text);
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        git_in(&self.repo, args)
    }

    pub(crate) fn head(&self) -> String {
        self.run(&["rev-parse", "HEAD"])
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { repo: self.repo.clone(), base: None, target: None, worked: false }
    }

    pub(crate) async fn prepared(&self) -> (SessionId, Ready) {
        let session = session();
        (session, self.git.prepare(session, self.origin()).await.unwrap())
    }

    /// A session below another one, from its tree as it stands.
    pub(crate) async fn child_of(&self, parent: SessionId) -> (SessionId, Ready) {
        let (child, repo) = (session(), self.git.root(parent));
        let ready =
            self.git.prepare(child, Origin { repo, base: None, target: None, worked: false }).await.unwrap();
        (child, ready)
    }

    /// Removes a session's directory, with nothing to say against it.
    pub(crate) async fn remove(&self, session: SessionId) -> Result<Removed, Fault> {
        self.git.remove(session, async { Ok(()) }).await
    }

    /// A session's own directory.
    pub(crate) fn home(&self, session: SessionId) -> PathBuf {
        self.git.root(session).parent().unwrap().to_path_buf()
    }

    pub(crate) async fn save(&self, session: SessionId, label: &str) -> String {
        self.git.savepoint(session, label.to_owned()).await.unwrap()
    }

    pub(crate) async fn restore(&self, session: SessionId, label: &str) -> bool {
        self.git.restore(session, label.to_owned()).await.unwrap()
    }

    pub(crate) async fn commit(&self, session: SessionId) -> String {
        self.git.commit(session, "do the work".to_owned()).await.unwrap()
    }

    /// Lands with checks that say `good`; panics when they are asked and `good` is `None`.
    pub(crate) async fn land(
        &self,
        session: SessionId,
        ready: &Ready,
        result: &str,
        good: Option<bool>,
    ) -> Landed {
        let landing = Landing {
            base: ready.base.clone(),
            result: result.to_owned(),
            target: ready.target.clone(),
            land: true,
        };
        self.land_with(session, landing, good).await.unwrap()
    }

    pub(crate) async fn land_with(
        &self,
        session: SessionId,
        landing: Landing,
        good: Option<bool>,
    ) -> Result<Landed, Fault> {
        let base = landing.base.clone();
        let check: CheckMerged<'_> = &move |result: String| {
            let report = Report { base: base.clone(), result, same_tree: false, runs: Vec::new() };
            let good = good.expect("the target did not move, so nothing is checked again");
            Box::pin(async move { Ok((good, CheckOutput { report, blobs: vec![b"log".to_vec()] })) })
        };
        self.git.integrate(session, self.origin(), landing, check, Cancel::new()).await
    }

    /// Lands with checks that hold, while the user does this.
    pub(crate) async fn land_while(
        &self,
        session: SessionId,
        ready: &Ready,
        result: &str,
        meanwhile: &(dyn Fn() + Send + Sync),
    ) -> Landed {
        let (base, result, target) = (ready.base.clone(), result.to_owned(), ready.target.clone());
        let landing = Landing { base: base.clone(), result, target, land: true };
        let check: CheckMerged<'_> = &move |result: String| {
            meanwhile();
            let report = Report { base: base.clone(), result, same_tree: false, runs: Vec::new() };
            Box::pin(async move { Ok((true, CheckOutput { report, blobs: Vec::new() })) })
        };
        self.git.integrate(session, self.origin(), landing, check, Cancel::new()).await.unwrap()
    }

    /// Everything of the user's that must not change, byte for byte: files, index, refs but our pins, HEAD.
    pub(crate) fn fingerprint(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = files(&self.repo);
        all.retain(|path, _| !path.starts_with(b".git/"));
        let index = std::fs::read(self.repo.join(".git/index")).unwrap_or_default();
        let head = std::fs::read(self.repo.join(".git/HEAD")).unwrap();
        let refs =
            self.run(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"]);
        let refs: Vec<&str> = refs.lines().filter(|line| !line.starts_with("refs/heads/kapell/")).collect();
        all.extend([
            (b"\0index".to_vec(), index),
            (b"\0head".to_vec(), head),
            (b"\0refs".to_vec(), refs.join("\n").into()),
        ]);
        all
    }
}

pub(crate) fn put(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Runs git as the user would, with nothing of this machine's settings.
pub(crate) fn git_in(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("/usr/bin/git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Every file below a directory: mode and content by path; directories that are empty do not show.
pub(crate) fn files(root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut queue = vec![root.to_path_buf()];
    while let Some(dir) = queue.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let name = OsString::from(path.strip_prefix(root).unwrap()).into_vec();
            if meta.is_dir() {
                queue.push(path);
            } else if meta.is_symlink() {
                let target = std::fs::read_link(&path).unwrap().into_os_string().into_vec();
                found.insert(name, [b"link ", target.as_slice()].concat());
            } else {
                let mode = format!("{:o} ", meta.mode() & 0o100);
                found.insert(name, [mode.as_bytes(), &std::fs::read(&path).unwrap()].concat());
            }
        }
    }
    found
}

/// The files of a workspace without the agent's own repository.
pub(crate) fn work(root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = files(root);
    all.retain(|path, _| !path.starts_with(b".git/"));
    all
}
