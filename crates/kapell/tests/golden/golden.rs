//! Where golden journals are kept, and the one place on a machine where their sessions can go on.
//!
//! Knows files, not what is in them. Start at [`all`] and [`Golden::copy`]; [`Place`] is for whoever runs sessions.

use crate::world::{Ended, finish};
use contract::Digest;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A journal names its repository by an absolute path, so each version has a fixed one.
const PLACE: &str = "/tmp/kapell-golden";

/// One version's journal.
pub(crate) struct Golden {
    /// Its store schema.
    pub(crate) version: u32,
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Is what is missing to be made?
pub(crate) fn update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

/// Every journal there is, oldest first.
pub(crate) fn all() -> Vec<Golden> {
    crate::make::ensure();
    let names = fs::read_dir(home()).unwrap().map(|entry| entry.unwrap().file_name());
    let number = |name: std::ffi::OsString| name.to_str()?.strip_prefix('v')?.parse().ok();
    let mut versions: Vec<u32> = names.filter_map(number).collect();
    versions.sort_unstable();
    versions.into_iter().map(|version| Golden { version }).collect()
}

impl Golden {
    /// Where it is kept.
    pub(crate) fn dir(&self) -> PathBuf {
        home().join(format!("v{}", self.version))
    }

    /// The sessions by the name of what each shows.
    pub(crate) fn sessions(&self) -> serde_json::Map<String, Value> {
        let text = fs::read(self.dir().join("sessions.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// A copy of the store in a directory of its own: a data directory as Kapell knows it.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("kapell-golden-").tempdir().unwrap();
        copy_tree(&self.dir().join("data"), &dir.path().join("data"));
        dir
    }
}

/// The newest store schema this binary writes.
pub(crate) fn newest_schema() -> u32 {
    let dir = tempfile::tempdir().unwrap();
    drop(journal::Sqlite::open(dir.path(), journal::Options::default()).unwrap());
    user_version(&fs::read(dir.path().join("kapell.db")).unwrap())
}

/// The schema in the header of a database file (SQLite file format, section 1.3: offset 60, big-endian).
pub(crate) fn user_version(file: &[u8]) -> u32 {
    u32::from_be_bytes(file[60..64].try_into().unwrap())
}

/// Copies a directory with everything in it.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Names and digests of the files of a data directory. What readers share in memory is no content.
pub(crate) fn image(dir: &Path) -> Vec<(PathBuf, Digest)> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // The signed log is no part of the store: it says where the store stood.
                if path.file_name().is_none_or(|name| name != "audit") {
                    dirs.push(path);
                }
            } else if path.extension().is_none_or(|e| e != "db-shm" && e != "lock") {
                let bytes = fs::read(&path).unwrap();
                // An empty write-ahead log is none.
                if !bytes.is_empty() {
                    files.push((path, Digest::of(&bytes)));
                }
            }
        }
    }
    files.sort();
    files
}

/// The fixed place of one version, for one user of it at a time.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    _lock: File,
}

impl Place {
    /// Empty, and nobody else's until it is dropped.
    pub(crate) fn take(version: u32) -> Self {
        let name = format!("{PLACE}-v{version}");
        let lock = File::create(format!("{name}.lock")).unwrap_or_else(|error| {
            panic!("{name}.lock: {error}; golden journals name this place, and another user has it")
        });
        lock.lock().unwrap();
        let dir = PathBuf::from(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir(&dir).unwrap();
        Self { dir, _lock: lock }
    }

    /// With the journal, the repository and the workspaces as they were when the journal was made.
    pub(crate) fn restore(golden: &Golden) -> Self {
        let place = Self::take(golden.version);
        place.tar(&["-xzf", golden.dir().join("world.tar.gz").to_str().unwrap()]);
        copy_tree(&golden.dir().join("data"), &place.path("kapell/data"));
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// `tar` in this place.
    pub(crate) fn tar(&self, args: &[&str]) {
        let done = Command::new("tar").current_dir(&self.dir).args(args).status().unwrap();
        assert!(done.success(), "tar {args:?}");
    }

    /// A program with an environment of its own, in the repository.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.path("repo"));
        command
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env("HOME", self.path("home"))
            .env("KAPELL_TRUST", "all")
            .env("KAPELL_HOME", self.path("kapell"));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        }
        command
    }

    /// The binary, run to its end.
    pub(crate) fn kapell(&self, args: &[&str]) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_kapell"));
        command.args(args);
        finish(command, b"")
    }

    /// The binary, running.
    pub(crate) fn start(&self, args: &[&str]) -> std::process::Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_kapell"));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) {
        let done = self.command("git").args(args).status().unwrap();
        assert!(done.success(), "git {args:?}");
    }

    /// A session as `sessions show` tells it.
    pub(crate) fn shown(&self, session: &str) -> Value {
        let ended = self.kapell(&["sessions", "show", session, "--json"]);
        if ended.code == 0 { ended.json() } else { Value::Null }
    }

    /// The events of a session: one key each, and its fields.
    pub(crate) fn events(&self, session: &str) -> Vec<(String, Value)> {
        let lines = self.kapell(&["events", session]).expect(0).lines();
        let event = |line: &Value| match &line["event"] {
            Value::Object(event) => event.iter().next().map(|(key, value)| (key.clone(), value.clone())),
            bare => bare.as_str().map(|name| (name.to_owned(), Value::Null)),
        };
        lines.iter().filter_map(event).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}
