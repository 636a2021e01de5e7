//! Where the values of secrets are known from: the environment, keys of providers, `.env` and other files of the
//! repository and of the person's home. Read anew when a file changes; kept in memory, shown nowhere.
//!
//! Knows places; what a secret looks like is the crate `secrets`'. Start at [`Keeper`].

use crate::exit::Failure;
use crate::plain;
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

/// Files of a directory of the home that are looked at.
const DIR_FILES: usize = 64;
/// Secrets of one file of a repository that go before those of others.
const FILE_SECRETS: usize = 256;

/// Bytes of a long output that are cleaned at once, and most where no line ends.
const PIECE_BYTES: usize = 1 << 20;
const MOST_BYTES: usize = 4 * PIECE_BYTES;

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
        let mut learned = locked(&self.learned);
        learned.extend(Secret::given(label, value));
        locked(&SAID).learned = Some(Arc::new(Redactor::new(learned.clone())));
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

    /// The files of a tree that may hold secrets: those at its top first.
    fn files(&self, tree: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = harvest::PROJECT.iter().map(|name| tree.join(name)).collect();
        files.extend(top(tree));
        files.extend(self.now_and_then(tree, || {
            let mut files = Vec::new();
            deep(tree, DEPTH, &mut ENTRIES.clone(), &mut files);
            files.sort();
            files
        }));
        files
    }

    /// The person's own.
    fn own(&self) -> Vec<PathBuf> {
        let Some(home) = &self.home else { return Vec::new() };
        self.now_and_then(home, || {
            let named = harvest::HOME.iter().map(|name| home.join(name));
            let listed = harvest::HOME_DIRS.iter().flat_map(|dir| {
                let mut files: Vec<PathBuf> =
                    entries(&home.join(dir)).map(|entry| entry.path()).take(DIR_FILES).collect();
                files.sort();
                files
            });
            named.chain(listed).filter(|path| path.exists()).collect()
        })
    }

    /// What was found there, not looked for again for a while.
    fn now_and_then(&self, place: &Path, find: impl FnOnce() -> Vec<PathBuf>) -> Vec<PathBuf> {
        let mut places = locked(&self.places);
        let now = Instant::now();
        let fresh = places.get(place).filter(|places| now.duration_since(places.looked) <= FRESH);
        if let Some(places) = fresh {
            return places.files.clone();
        }
        let files = find();
        places.insert(place.to_owned(), Places { looked: now, files: files.clone() });
        files
    }
}

impl engine::Secrets for Keeper {
    fn of(&self, repo: &Path, root: &Path) -> Arc<Redactor> {
        let mut files = self.files(repo);
        if root != repo {
            files.extend(self.files(root));
        }
        let mut seen = BTreeSet::new();
        let mut stamp = |path: PathBuf| {
            let meta = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
            seen.insert(path.clone()).then(|| (path, meta.modified().ok(), meta.len()))
        };
        let own: Vec<Stamp> = self.own().into_iter().filter_map(&mut stamp).collect();
        let others: Vec<Stamp> = files.into_iter().filter_map(&mut stamp).collect();
        let stamps = [&own[..], &others[..]].concat();
        let learned = locked(&self.learned).clone();
        let key = (repo.to_owned(), root.to_owned());
        let mut kept = locked(&self.kept);
        if let Some(known) = kept.get(&key).filter(|it| it.stamps == stamps && it.learned == learned.len()) {
            return Arc::clone(&known.redactor);
        }
        let redactor = Arc::new(Redactor::new(ranked(learned.clone(), &own, &others)));
        if redactor.left_out() > 0 {
            tracing::warn!(
                left_out = redactor.left_out(),
                "the repository's files hold more secrets than are looked for"
            );
        }
        locked(&SAID).wide = Some(Arc::clone(&redactor));
        kept.insert(key, Kept { stamps, learned: learned.len(), redactor: Arc::clone(&redactor) });
        redactor
    }

    fn learned(&self) -> usize {
        locked(&self.learned).len()
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

/// The person's own values first, then some of each file of the repository: no file crowds out another.
fn ranked(learned: BTreeSet<Secret>, own: &[Stamp], others: &[Stamp]) -> Vec<Secret> {
    let mut secrets: Vec<Secret> = learned.into_iter().chain(own.iter().flat_map(read)).collect();
    let mut rest = Vec::new();
    for stamp in others {
        let mut found = read(stamp);
        rest.extend(found.split_off(found.len().min(FILE_SECRETS)));
        secrets.append(&mut found);
    }
    secrets.append(&mut rest);
    secrets
}

/// Writes a file without secrets, a piece at a time; the address of what was written, and its bytes.
fn cleaned(redactor: &Redactor, from: &Path, to: &Path) -> std::io::Result<(Digest, u64)> {
    let mut reader = std::fs::File::open(from)?;
    let mut writer = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(to)?;
    let (mut held, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    let (mut hasher, mut bytes, mut over) = (Hasher::default(), 0, false);
    while !over {
        let read = reader.read(&mut piece)?;
        over = read == 0;
        held.extend_from_slice(&piece[..read]);
        if !over && held.len() < PIECE_BYTES {
            continue;
        }
        let ready = if over { held.len() } else { redactor.cut(&held, MOST_BYTES) };
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

fn read((path, ..): &Stamp) -> Vec<Secret> {
    let mut bytes = plain::beginning(path, FILE_BYTES).unwrap_or_default();
    if bytes.len() as u64 == FILE_BYTES {
        // Half a line would be half a value.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    }
    harvest::file(&path.to_string_lossy(), &String::from_utf8_lossy(&bytes))
}

fn environment() -> BTreeSet<Secret> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    variables.filter_map(|(name, value)| harvest::variable(&name, &value)).collect()
}

/// The `.env` files at the top of a tree.
fn top(tree: &Path) -> Vec<PathBuf> {
    let env = entries(tree).filter(|entry| entry.file_name().to_str().is_some_and(harvest::is_env));
    env.map(|entry| entry.path()).collect()
}

fn entries(dir: &Path) -> impl Iterator<Item = std::fs::DirEntry> {
    std::fs::read_dir(dir).into_iter().flatten().take(ENTRIES).flatten()
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

/// What this process came to know, for what it says where no session is known.
struct Said {
    environment: Redactor,
    learned: Option<Arc<Redactor>>,
    wide: Option<Arc<Redactor>>,
}

static SAID: LazyLock<Mutex<Said>> = LazyLock::new(|| {
    Mutex::new(Said { environment: Redactor::new(environment()), learned: None, wide: None })
});

/// A complaint without secrets: for what is said where no session is known.
pub(crate) fn plain(text: &str) -> String {
    let said = locked(&SAID);
    let mut text = said.environment.text(text).into_owned();
    for known in said.learned.iter().chain(&said.wide) {
        known.clean(&mut text);
    }
    text
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

    #[test]
    fn a_secret_over_two_pieces_of_a_file_is_taken_out() {
        const TOKEN: &str = "ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let key: String =
            (0..60).map(|n| format!("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj{n:04}\n")).collect();
        let block = format!("-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\n");
        for (before, secret, after) in [
            // Over the end of a first piece of lines, and of a first piece without any.
            ("a line\n".repeat((PIECE_BYTES - block.len() / 2) / 7), &*block, "a line\n".repeat(200_000)),
            (",".repeat(MOST_BYTES - 20), TOKEN, ",".repeat(PIECE_BYTES)),
            (",".repeat(MOST_BYTES + PIECE_BYTES - 20), TOKEN, ",".repeat(PIECE_BYTES)),
        ] {
            let text = format!("{before}{secret}{after}");
            std::fs::write(&path, &text).unwrap();
            let file =
                Spooled { path: path.clone(), digest: Digest::of(text.as_bytes()), bytes: text.len() as u64 };
            Keeper::default().file(&Redactor::default(), file).unwrap();
            let clean = std::fs::read_to_string(&path).unwrap();
            let left =
                secret.lines().find(|line| line.len() > 30 && clean.contains(&line[line.len() - 20..]));
            assert_eq!(left, None, "is still there");
            assert_eq!(clean.matches("[secret removed").count(), 1);
            assert!(clean.starts_with(&before) && clean.trim_end().ends_with(after.trim_end()));
        }
    }

    #[test]
    fn a_repository_crowds_out_nothing_of_the_persons() {
        let dir = tempfile::tempdir().unwrap();
        let (home, tree) = (dir.path().join("home"), dir.path().join("tree"));
        std::fs::create_dir_all(home.join(".ssh")).unwrap();
        std::fs::create_dir_all(tree.join("b")).unwrap();
        std::fs::write(home.join(".npmrc"), "//r/:_authToken=npm-own-Token-7f3kQz\n").unwrap();
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5v7Q\n-----END OPENSSH PRIVATE KEY-----\n";
        std::fs::write(home.join(".ssh/work"), key).unwrap();
        let many: String = (0..5_000).map(|n| format!("A_TOKEN=q7Rk2m{n:05}zXv\n")).collect();
        std::fs::write(tree.join(".env"), many).unwrap();
        std::fs::write(tree.join("b/.env"), "B_SECRET=value-two-7f3k811\n").unwrap();
        for (name, to) in
            [(".envrc", "/proc/self/pagemap"), (".env.zero", "/dev/zero"), (".npmrc", "/dev/tty")]
        {
            std::os::unix::fs::symlink(to, tree.join(name)).unwrap();
        }
        let keeper = Keeper { home: Some(home), ..Keeper::default() };
        keeper.learn("key", "aB3xXx7Qm2<Lp9Vt4Zs");
        for value in [
            "npm-own-Token-7f3kQz",
            "b3BlbnNzaC1rZXktdjEAAAAABG5v7Q",
            "aB3xXx7Qm2<Lp9Vt4Zs",
            "value-two-7f3k811",
        ] {
            let shown = keeper.of(&tree, &tree).text(value).into_owned();
            assert!(shown.starts_with("[secret removed"), "{value}: {shown}");
        }
        // What is said where no session is known goes through the same.
        assert!(!plain("the server says: invalid key aB3xXx7Qm2<Lp9Vt4Zs").contains("Lp9Vt4Zs"));
        assert!(!plain("npm: npm-own-Token-7f3kQz is refused").contains("7f3kQz"));
    }
}
