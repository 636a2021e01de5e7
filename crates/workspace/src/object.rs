//! Git objects made in this process: ids, loose object files, trees and commits.
//!
//! Knows no worktree, no ref and no session; reads no packs (that is `git`'s work). Start at [`Store`].

use sha1::Digest as _;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Regular file.
pub(crate) const FILE: u32 = 0o100_644;
/// Regular file with the executable bit.
pub(crate) const EXEC: u32 = 0o100_755;
/// Symbolic link.
pub(crate) const LINK: u32 = 0o120_000;
/// Submodule.
pub(crate) const GITLINK: u32 = 0o160_000;
/// Directory.
pub(crate) const TREE: u32 = 0o40_000;

/// Deflate level: the store grows with every savepoint, yet a savepoint must not be felt.
const DEFLATE_LEVEL: u8 = 1;

/// How a repository names its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    /// By git's own name (`extensions.objectFormat`).
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            _ => None,
        }
    }

    /// Git's own name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// Bytes of an id.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn hash(self, parts: [&[u8]; 2]) -> Oid {
        match self {
            Self::Sha1 => {
                Oid::of(&parts.iter().fold(sha1::Sha1::new(), |h, part| h.chain_update(part)).finalize())
            }
            Self::Sha256 => {
                Oid::of(&parts.iter().fold(sha2::Sha256::new(), |h, part| h.chain_update(part)).finalize())
            }
        }
    }
}

/// The name of an object: 20 or 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Oid {
    bytes: [u8; 32],
    len: u8,
}

impl Oid {
    /// From raw bytes; anything beyond 32 is cut (callers slice by [`Format::bytes`]).
    pub(crate) fn of(raw: &[u8]) -> Self {
        let len = raw.len().min(32);
        let mut bytes = [0; 32];
        bytes[..len].copy_from_slice(&raw[..len]);
        // `len` is at most 32.
        Self { bytes, len: len as u8 }
    }

    /// From hex digits.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        if !matches!(hex.len(), 40 | 64) || !hex.is_ascii() {
            return None;
        }
        let raw: Option<Vec<u8>> =
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).ok()).collect();
        raw.map(|raw| Self::of(&raw))
    }

    /// The raw bytes.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Blob,
    Tree,
    Commit,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
        }
    }
}

/// One line of a tree object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) mode: u32,
    pub(crate) name: &'a [u8],
    pub(crate) oid: Oid,
}

/// Who and when, for a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) name: String,
    pub(crate) email: String,
    /// Seconds since 1970, UTC.
    pub(crate) seconds: u64,
}

/// Objects that were asked for and may not outlive a power cut yet.
pub(crate) type Fresh = Arc<Mutex<BTreeSet<PathBuf>>>;

/// Above this many files at once the whole file system is synced instead, whatever others have written to it.
const SYNC_FILES: usize = 64;

/// The loose half of an object database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    objects: PathBuf,
    format: Format,
    fresh: Fresh,
}

impl Store {
    /// The objects of this git directory.
    pub(crate) fn new(git_dir: &Path, format: Format) -> Self {
        Self::with(git_dir, format, Fresh::default())
    }

    /// The same, sharing with others what is not durable yet.
    pub(crate) fn with(git_dir: &Path, format: Format, fresh: Fresh) -> Self {
        Self { objects: git_dir.join("objects"), format, fresh }
    }

    /// Writes an object unless it is there; its id.
    pub(crate) fn put(&self, kind: Kind, body: &[u8]) -> io::Result<Oid> {
        let header = format!("{} {}\0", kind.name(), body.len());
        let oid = self.format.hash([header.as_bytes(), body]);
        let path = self.path(&oid);
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        // After a power cut a file may be there without all of its bytes: then it does not count.
        if self.loose(&oid).is_ok_and(|found| found.is_some()) {
            return Ok(oid);
        }
        let raw = [header.as_bytes(), body].concat();
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(&raw, DEFLATE_LEVEL);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        write_atomically(&path, &packed, false)?;
        Ok(oid)
    }

    /// Makes what was put so far outlive a power cut. To be called before anything names it that does.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        if fresh.len() > SYNC_FILES {
            return Ok(rustix::fs::syncfs(std::fs::File::open(&self.objects)?)?);
        }
        for path in &fresh {
            if let Err(error) = std::fs::File::open(path).and_then(|file| file.sync_data()) {
                // What a failed sync leaves in memory would pass for whole the next time.
                drop(std::fs::remove_file(path));
                return Err(error);
            }
        }
        let mut dirs: BTreeSet<&Path> = fresh.iter().filter_map(|path| path.parent()).collect();
        if !dirs.is_empty() {
            dirs.insert(&self.objects);
        }
        dirs.into_iter().try_for_each(|dir| std::fs::File::open(dir)?.sync_all())
    }

    /// The body of a loose object of this store; `None` when it is packed or lives elsewhere.
    pub(crate) fn loose(&self, oid: &Oid) -> io::Result<Option<Vec<u8>>> {
        let packed = match std::fs::read(self.path(oid)) {
            Ok(packed) if packed.is_empty() => return Ok(None),
            Ok(packed) => packed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let raw = miniz_oxide::inflate::decompress_to_vec_zlib(&packed)
            .map_err(|_| io::Error::other(format!("object {oid} is damaged")))?;
        if self.format.hash([&raw, b""]) != *oid {
            return Err(io::Error::other(format!("object {oid} is damaged")));
        }
        let start = raw.iter().position(|&b| b == 0).map_or(raw.len(), |zero| zero + 1);
        Ok(Some(raw[start..].to_vec()))
    }

    /// Writes a tree; entries may come in any order.
    pub(crate) fn put_tree(&self, mut entries: Vec<Entry<'_>>) -> io::Result<Oid> {
        entries.sort_by(|a, b| sort_key(a).cmp(sort_key(b)));
        let mut body = Vec::with_capacity(entries.len() * 48);
        for entry in &entries {
            write!(body, "{:o} ", entry.mode)?;
            body.extend_from_slice(entry.name);
            body.push(0);
            body.extend_from_slice(entry.oid.raw());
        }
        self.put(Kind::Tree, &body)
    }

    /// Writes a commit.
    pub(crate) fn put_commit(
        &self,
        tree: &Oid,
        parents: &[String],
        stamp: &Stamp,
        message: &str,
    ) -> io::Result<Oid> {
        let who = format!("{} <{}> {} +0000", plain(&stamp.name), plain(&stamp.email), stamp.seconds);
        let mut body = format!("tree {tree}\n");
        for parent in parents {
            body.push_str(&format!("parent {parent}\n"));
        }
        body.push_str(&format!("author {who}\ncommitter {who}\n\n"));
        // A zero byte would cut the message for every reader.
        body.push_str(message.replace('\0', " ").trim_end());
        body.push('\n');
        self.put(Kind::Commit, body.as_bytes())
    }

    fn path(&self, oid: &Oid) -> PathBuf {
        let hex = oid.to_string();
        self.objects.join(&hex[..2]).join(&hex[2..])
    }
}

/// Git sorts a directory as if its name ended in a slash.
fn sort_key<'a>(entry: &Entry<'a>) -> impl Iterator<Item = u8> + use<'a> {
    let slash = (entry.mode == TREE).then_some(b'/');
    entry.name.iter().copied().chain(slash)
}

/// An identity field without the characters that structure it.
fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\0')).collect();
    if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() }
}

/// How the names of files begin that were to replace another and, after a crash, never did.
pub(crate) const TEMP: &str = ".tmp-";

/// Replaces a file as a whole: readers see the old bytes or the new ones. `sync` = also after a power cut.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = path.parent().ok_or_else(|| io::Error::other("a path without a directory"))?;
    let temp = dir.join(format!("{TEMP}{}-{number}", std::process::id()));
    let mut file = std::fs::File::create(&temp)?;
    let written = file.write_all(bytes).and_then(|()| if sync { file.sync_all() } else { Ok(()) });
    if let Err(error) = written.and_then(|()| std::fs::rename(&temp, path)) {
        drop(std::fs::remove_file(&temp));
        return Err(error);
    }
    if sync {
        std::fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Reads a small file that may be missing; a link is never followed.
pub(crate) fn read_plain(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => {
            let mut bytes = Vec::new();
            std::fs::File::open(path)?.read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path, format: Format) -> Store {
        std::fs::create_dir_all(dir.join("objects")).unwrap();
        Store::new(dir, format)
    }

    #[test]
    fn ids_are_gits_own() {
        let dir = tempfile::tempdir().unwrap();
        let sha1 = store(dir.path(), Format::Sha1);
        let blob = sha1.put(Kind::Blob, b"hello\n").unwrap();
        assert_eq!(blob.to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(sha1.put_tree(vec![]).unwrap().to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        let sha256 = store(dir.path(), Format::Sha256);
        assert_eq!(
            sha256.put_tree(vec![]).unwrap().to_string(),
            "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
        );
        assert_eq!(sha1.loose(&blob).unwrap().unwrap(), b"hello\n");
        assert_eq!(Oid::parse(&blob.to_string()), Some(blob));
    }

    #[test]
    fn what_a_power_cut_left_of_a_file_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), Format::Sha1);
        let blob = store.put(Kind::Blob, b"x").unwrap();
        let whole = std::fs::read(store.path(&blob)).unwrap();
        for left in [&b""[..], &whole[..whole.len() / 2], &[0; 30]] {
            std::fs::write(store.path(&blob), left).unwrap();
            store.put(Kind::Blob, b"x").unwrap();
            assert_eq!(store.loose(&blob).unwrap().unwrap(), b"x");
        }
    }

    #[test]
    fn objects_are_fresh_until_they_are_synced_however_many() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), Format::Sha1);
        for many in [1, SYNC_FILES + 1] {
            for n in 0..many {
                store.put(Kind::Blob, format!("{many} {n}").as_bytes()).unwrap();
            }
            assert_eq!(store.fresh.lock().unwrap().len(), many);
            store.sync().unwrap();
            assert!(store.fresh.lock().unwrap().is_empty());
        }
        // One that an earlier process wrote is not known to be durable.
        store.put(Kind::Blob, b"1 0").unwrap();
        assert_eq!(store.fresh.lock().unwrap().len(), 1);
    }

    #[test]
    fn trees_sort_directories_with_their_slash() {
        let oid = Oid::of(&[1; 20]);
        let file = Entry { mode: FILE, name: b"a.c", oid };
        let dir = Entry { mode: TREE, name: b"a", oid };
        assert!(sort_key(&file).lt(sort_key(&dir)));
    }
}
