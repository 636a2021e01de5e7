//! Where the values of secrets are known from: the environment, keys of providers, `.env` and other files of the
//! repository and of the person's home. Read anew when a file changes; kept in memory, shown nowhere.
//!
//! Knows places; what a secret looks like is the crate `secrets`'. Start at [`Keeper`].

use crate::exit::Failure;
use ::secrets::harvest::{self, FILE_BYTES};
use ::secrets::{Redactor, Secret};
use contract::digest::Hasher;
use contract::tool::Spooled;
use contract::{Digest, Fault, Kind};
use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long the files of the home and the deep places of a tree count as looked at; the top of a tree never does.
const FRESH: Duration = Duration::from_secs(2);
/// How deep below the top `.env` files are looked for, and among how many entries.
const DEPTH: usize = 4;
const ENTRIES: usize = 4_000;
/// Directories that hold other people's code or what was built.
const SKIPPED: [&str; 8] = ["node_modules", "target", ".git", "vendor", ".venv", "venv", "dist", "build"];

/// Bytes of a long output that are cleaned at once.
const PIECE_BYTES: usize = 1 << 20;

/// A file as it was when it was read.
type Stamp = (PathBuf, Option<SystemTime>, u64);

/// What is known of one pair of trees.
struct Kept {
    stamps: Vec<Stamp>,
    learned: usize,
    redactor: Arc<Redactor>,
}

/// Files that are looked for now and then.
struct Places {
    looked: Instant,
    files: Vec<PathBuf>,
}

/// Finds secrets and keeps what it found.
#[derive(Default)]
pub(crate) struct Keeper {
    /// Of this process from its start: variables, keys that commands printed.
    learned: Mutex<BTreeSet<Secret>>,
    places: Mutex<HashMap<PathBuf, Places>>,
    kept: Mutex<HashMap<(PathBuf, PathBuf), Kept>>,
    home: Option<PathBuf>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    /// From the environment.
    pub(crate) fn new() -> Self {
        let home = crate::app::variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        Self { learned: Mutex::new(environment()), home, ..Self::default() }
    }

    /// From here on this value is a secret.
    pub(crate) fn learn(&self, label: &str, value: &str) {
        locked(&self.learned).extend(Secret::new(label, value));
    }

    /// What is said on the command line is put on record as it is: a secret in it is refused, not cut out.
    pub(crate) fn refuse(&self, what: &str, text: &str, repo: &Path) -> Result<(), Failure> {
        let redactor = engine::Secrets::of(self, repo, repo);
        let clean = redactor.text(text);
        let Some(mark) = (clean != text).then(|| ::secrets::masked(&clean)).flatten() else { return Ok(()) };
        let near = clean.find(mark).map_or("", |at| {
            let (from, to) =
                (clean.floor_char_boundary(at.saturating_sub(40)), (at + mark.len() + 20).min(clean.len()));
            &clean[from..clean.floor_char_boundary(to)]
        });
        let told = format!("the {what} holds a secret, and nothing was put on record: ...{near}...");
        Err(Failure::usage(
            "secret",
            told,
            "name the file or the variable it stands in instead of the secret itself",
        ))
    }

    /// The files of a tree that may hold secrets, and of the home.
    fn files(&self, tree: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = harvest::PROJECT.iter().map(|name| tree.join(name)).collect();
        files.extend(top(tree));
        let mut places = locked(&self.places);
        let now = Instant::now();
        let stale = |places: &Places| now.duration_since(places.looked) > FRESH;
        if places.get(tree).is_none_or(stale) {
            let mut files = Vec::new();
            deep(tree, DEPTH, &mut ENTRIES.clone(), &mut files);
            let home = self
                .home
                .iter()
                .flat_map(|home| harvest::HOME.iter().chain(&harvest::HOME_KEYS).map(|name| home.join(name)));
            files.extend(home.filter(|path| path.exists()));
            places.insert(tree.to_owned(), Places { looked: now, files });
        }
        files.extend(places.get(tree).into_iter().flat_map(|it| it.files.iter().cloned()));
        files.sort();
        files.dedup();
        files
    }
}

impl engine::Secrets for Keeper {
    fn of(&self, repo: &Path, root: &Path) -> Arc<Redactor> {
        let mut files = self.files(repo);
        if root != repo {
            files.extend(self.files(root));
        }
        let stamp = |path: PathBuf| {
            let meta = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
            Some((path, meta.modified().ok(), meta.len()))
        };
        let stamps: Vec<Stamp> = files.into_iter().filter_map(stamp).collect();
        let learned = locked(&self.learned).clone();
        let key = (repo.to_owned(), root.to_owned());
        let mut kept = locked(&self.kept);
        if let Some(known) = kept.get(&key).filter(|it| it.stamps == stamps && it.learned == learned.len()) {
            return Arc::clone(&known.redactor);
        }
        let mut secrets = learned.clone();
        secrets.extend(stamps.iter().flat_map(read));
        let redactor = Arc::new(Redactor::new(secrets));
        kept.insert(key, Kept { stamps, learned: learned.len(), redactor: Arc::clone(&redactor) });
        redactor
    }

    fn file(&self, redactor: &Redactor, file: Spooled) -> Result<Spooled, Fault> {
        let beside = file.path.with_extension("clean");
        let fault = |error: std::io::Error| {
            drop(std::fs::remove_file(&beside));
            drop(std::fs::remove_file(&file.path));
            let what = format!("{} cannot be cleaned: {error}", file.path.display());
            Fault::new(Kind::UserFixable, "spool", what).hint("make room on the disk of the data directory")
        };
        let (digest, bytes) = cleaned(redactor, &file.path, &beside).map_err(fault)?;
        std::fs::rename(&beside, &file.path).map_err(fault)?;
        Ok(Spooled { digest, bytes, ..file })
    }
}

/// Writes a file without secrets, some whole lines at a time; the address of what was written, and its bytes.
fn cleaned(redactor: &Redactor, from: &Path, to: &Path) -> std::io::Result<(Digest, u64)> {
    let mut reader = std::fs::File::open(from)?;
    let mut writer = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(to)?;
    let (mut held, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    let (mut hasher, mut bytes, mut over) = (Hasher::default(), 0, false);
    while !over {
        let read = reader.read(&mut piece)?;
        over = read == 0;
        held.extend_from_slice(&piece[..read]);
        // A line that never ends is cut where it is long.
        let end = held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let ready = if over || held.len() > 4 * PIECE_BYTES { held.len() } else { end };
        let rest = held.split_off(ready);
        let clean = redactor.bytes(&held);
        hasher.update(&clean);
        bytes += clean.len() as u64;
        writer.write_all(&clean)?;
        drop(clean);
        held = rest;
    }
    writer.sync_all()?;
    Ok((hasher.digest(), bytes))
}

fn read((path, _, bytes): &Stamp) -> Vec<Secret> {
    if *bytes > FILE_BYTES {
        return Vec::new();
    }
    let text = std::fs::read(path).unwrap_or_default();
    harvest::file(&path.to_string_lossy(), &String::from_utf8_lossy(&text))
}

fn environment() -> BTreeSet<Secret> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    variables.filter_map(|(name, value)| harvest::variable(&name, &value)).collect()
}

/// The `.env` files at the top of a tree.
fn top(tree: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(tree).into_iter().flatten().take(ENTRIES).flatten();
    let env = entries.filter(|entry| entry.file_name().to_str().is_some_and(harvest::is_env));
    env.map(|entry| entry.path()).collect()
}

fn deep(dir: &Path, depth: usize, left: &mut usize, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        *left = left.saturating_sub(1);
        if *left == 0 {
            return;
        }
        let (name, kind) = (entry.file_name(), entry.file_type());
        let Some(name) = name.to_str() else { continue };
        let is_dir = kind.is_ok_and(|kind| kind.is_dir());
        if is_dir && depth > 0 && !SKIPPED.contains(&name) {
            deep(&entry.path(), depth - 1, left, out);
        } else if !is_dir && harvest::is_env(name) {
            out.push(entry.path());
        }
    }
}

/// A complaint without secrets: for what is said where no session is known.
pub(crate) fn plain(text: &str) -> String {
    static OWN: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(environment()));
    OWN.text(text).into_owned()
}

/// Log lines without secrets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainLog;

impl std::io::Write for PlainLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        crate::out::complain(&plain(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Secrets;

    #[test]
    fn files_of_a_tree_are_read_anew_when_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Keeper::default();
        let shown = |text: &str| keeper.of(dir.path(), dir.path()).text(text).into_owned();
        assert_eq!(shown("value-one-7f3k81"), "value-one-7f3k81");
        std::fs::write(dir.path().join(".env"), "A_SECRET=value-one-7f3k81\n").unwrap();
        assert_eq!(shown("x value-one-7f3k81"), "x [secret removed: A_SECRET]");
        std::fs::write(dir.path().join(".env"), "A_SECRET=value-two-7f3k811\n").unwrap();
        assert_eq!(
            shown("value-one-7f3k81 value-two-7f3k811"),
            "value-one-7f3k81 [secret removed: A_SECRET]"
        );
        keeper.learn("printed", "a-printed-key-99");
        assert_eq!(shown("a-printed-key-99"), "[secret removed: printed]");
        assert!(keeper.refuse("goal", "use a-printed-key-99", dir.path()).is_err());
        assert!(keeper.refuse("goal", "fix the failing test", dir.path()).is_ok());
        let path = dir.path().join("spool");
        let text = format!("{}x value-two-7f3k811 y\n", "a line\n".repeat(400_000));
        std::fs::write(&path, &text).unwrap();
        let file =
            Spooled { path: path.clone(), digest: Digest::of(text.as_bytes()), bytes: text.len() as u64 };
        let clean = keeper.file(&keeper.of(dir.path(), dir.path()), file).unwrap();
        let expected = text.replace("value-two-7f3k811", "[secret removed: A_SECRET]");
        assert!(std::fs::read(&path).unwrap() == expected.as_bytes(), "the file is clean");
        assert_eq!((clean.digest, clean.bytes), (Digest::of(expected.as_bytes()), expected.len() as u64));
    }
}
