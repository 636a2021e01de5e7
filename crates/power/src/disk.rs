//! A disk that may lose whatever was not synced: bytes by sector, names by directory.
//!
//! Knows operations and paths, not SQLite. A sync of a file makes its bytes durable and nothing else; its name is
//! durable when its directory was synced. Start at [`Disk::apply`], then [`Disk::cut`].

use crate::record::{Op, What, parent};
use crate::rng::Rng;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// What a disk writes at once.
const SECTOR: u64 = 512;

/// Which syncs are believed: the controls break the promise on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// As the program asked for them.
    Honest,
    /// None has any effect.
    Ignored,
    /// As SQLite's `synchronous=NORMAL` would have asked for them: none for a commit. FULL asks for one more sync of the
    /// write-ahead log than NORMAL, at each commit; a sync of a log that has got frames since the last one is that one.
    Normal,
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Debug, Clone)]
enum Naming {
    Add(String, Node),
    Remove(String),
    Move { from: String, to: String },
}

/// How much of what was not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survival {
    /// Nothing.
    None,
    /// Everything: what a crash of the process alone leaves.
    All,
    /// Some sectors and names, by chance; a few of them torn.
    Some,
    /// Everything up to a moment, the last write torn.
    Prefix,
    /// Only what was written last.
    Newest,
}

/// The store's files and their names, with the directories above them up to one that was there before.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: String,
    /// `root/home`.
    home: String,
    /// `root/home/data`.
    data: String,
    syncs: Syncs,
    files: Vec<File>,
    inodes: BTreeMap<u64, usize>,
    names: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: BTreeMap<String, Vec<Naming>>,
    /// Bytes of frames in the write-ahead log since it was last synced.
    frames: bool,
}

impl Disk {
    /// A directory without a home in it, as far as is known.
    pub(crate) fn new(root: &str, syncs: Syncs) -> Self {
        let names = BTreeMap::from([(root.to_owned(), Node::Dir)]);
        Self {
            root: root.to_owned(),
            home: format!("{root}/home"),
            data: format!("{root}/home/data"),
            syncs,
            files: Vec::new(),
            inodes: BTreeMap::new(),
            durable: names.clone(),
            names,
            pending: BTreeMap::new(),
            frames: false,
        }
    }

    /// Does this path count? Only what must not be lost does.
    pub(crate) fn ours(&self, path: &str) -> bool {
        let below =
            path.strip_prefix(&self.data).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // The log's index is shared memory: it is made anew by whoever opens the store after a crash.
        (below && !path.ends_with("-shm")) || path == self.root || path == self.home
    }

    /// Lets an operation happen.
    pub(crate) fn apply(&mut self, op: &Op) {
        if !self.ours(&op.path) {
            return;
        }
        if op.path.starts_with(&self.data) && !self.names.contains_key(&self.home) {
            // Nobody made it: it was there before.
            self.names.insert(self.home.clone(), Node::Dir);
            self.durable.insert(self.home.clone(), Node::Dir);
        }
        match &op.what {
            What::Write { inode, at, bytes } => {
                // Beyond its header of 32 bytes a log has frames only.
                self.frames |= op.path.ends_with("-wal") && *at >= 32;
                self.change(*inode, Change::Write(*at, bytes.clone()));
            }
            What::Truncate { inode, size } => self.change(*inode, Change::Truncate(*size)),
            What::Sync { inode } => self.sync(&op.path, *inode),
            What::Create { inode } => {
                self.inodes.insert(*inode, self.files.len());
                let node = Node::File(self.files.len());
                self.files.push(File::default());
                self.name(Naming::Add(op.path.clone(), node));
            }
            What::MakeDir => self.name(Naming::Add(op.path.clone(), Node::Dir)),
            What::Unlink => self.name(Naming::Remove(op.path.clone())),
            What::Rename { from } => self.name(Naming::Move { from: from.clone(), to: op.path.clone() }),
        }
    }

    fn change(&mut self, inode: u64, change: Change) {
        if let Some(file) = self.inodes.get(&inode) {
            self.files[*file].pending.push(change);
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.pending.entry(naming.dir().to_owned()).or_default().push(naming);
    }

    fn sync(&mut self, path: &str, inode: u64) {
        let commit = path.ends_with("-wal") && std::mem::take(&mut self.frames);
        if self.syncs == Syncs::Ignored || (self.syncs == Syncs::Normal && commit) {
            return;
        }
        if self.names.get(path) == Some(&Node::Dir) {
            for naming in self.pending.remove(path).unwrap_or_default() {
                naming.apply(&mut self.durable);
            }
        } else if let Some(file) = self.inodes.get(&inode) {
            let file = &mut self.files[*file];
            for change in std::mem::take(&mut file.pending) {
                change.apply(&mut file.durable);
            }
        }
    }

    /// What has not been synced.
    pub(crate) fn is_clean(&self) -> bool {
        self.pending.values().all(Vec::is_empty) && self.files.iter().all(|file| file.pending.is_empty())
    }

    /// The power goes: what survives is put into the directory `to`.
    pub(crate) fn cut(&self, to: &Path, survival: Survival, rng: &mut Rng) -> Result<()> {
        let mut names = self.durable.clone();
        for pending in self.pending.values() {
            let kept = match survival {
                Survival::None => 0,
                Survival::All => pending.len(),
                _ => rng.below(pending.len() as u64 + 1) as usize,
            };
            pending[..kept].iter().for_each(|naming| naming.apply(&mut names));
        }
        for (path, node) in &names {
            // A name whose directory did not survive is gone with it.
            let mut above = parent(path);
            let mut reachable = true;
            while above.len() >= self.root.len() {
                reachable &= names.get(above) == Some(&Node::Dir);
                above = parent(above);
            }
            let Some(rest) = path.strip_prefix(&self.root).filter(|_| reachable || *path == self.root) else {
                continue;
            };
            let place = to.join(rest.trim_start_matches('/'));
            match node {
                Node::Dir => std::fs::create_dir_all(&place),
                Node::File(file) => std::fs::write(&place, self.files[*file].survive(survival, rng)),
            }
            .with_context(|| format!("make {}", place.display()))?;
        }
        Ok(())
    }
}

impl Naming {
    fn dir(&self) -> &str {
        match self {
            Self::Add(path, _) | Self::Remove(path) => parent(path),
            Self::Move { to, .. } => parent(to),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Move { from, to } => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, new) => put(bytes, *at, new),
            Self::Truncate(size) => bytes.resize(*size as usize, 0),
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, new: &[u8]) {
    let (at, end) = (at as usize, at as usize + new.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(new);
}

impl File {
    fn survive(&self, survival: Survival, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let many = self.pending.len();
        match survival {
            Survival::None => {}
            Survival::All => self.pending.iter().for_each(|change| change.apply(&mut bytes)),
            Survival::Prefix => {
                let kept = rng.below(many as u64 + 1) as usize;
                self.pending[..kept].iter().for_each(|change| change.apply(&mut bytes));
                if let Some(Change::Write(at, new)) = self.pending.get(kept) {
                    put(&mut bytes, *at, &new[..rng.below(new.len() as u64) as usize]);
                }
            }
            Survival::Newest => {
                let first = many - rng.below(many as u64 + 1) as usize;
                self.pending[first..].iter().for_each(|change| change.apply(&mut bytes));
            }
            Survival::Some => {
                let odds = 1 + rng.below(9);
                for change in &self.pending {
                    some(change, &mut bytes, odds, rng);
                }
                // The length may have arrived without the bytes.
                let mut whole = bytes.clone();
                self.pending.iter().for_each(|change| change.apply(&mut whole));
                if bytes.len() < whole.len() && rng.below(4) == 0 {
                    bytes.resize(whole.len(), 0);
                }
            }
        }
        bytes
    }
}

/// Each sector of a change by itself: kept, lost or, now and then, torn.
fn some(change: &Change, bytes: &mut Vec<u8>, odds: u64, rng: &mut Rng) {
    let Change::Write(at, new) = change else {
        if rng.below(10) < odds {
            change.apply(bytes);
        }
        return;
    };
    let mut from = 0;
    while from < new.len() {
        let sector = (at + from as u64) / SECTOR + 1;
        let end = new.len().min((sector * SECTOR - at) as usize);
        if rng.below(10) < odds {
            let torn = rng.below(20) == 0;
            let end = if torn { from + rng.below((end - from) as u64) as usize } else { end };
            put(bytes, at + from as u64, &new[from..end]);
        }
        from = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(path: &str, what: What) -> Op {
        Op { path: path.into(), what }
    }

    fn write(at: u64, byte: u8, len: usize) -> Op {
        op("/r/home/data/f", What::Write { inode: 1, at, bytes: vec![byte; len] })
    }

    /// With directories that are durable.
    fn disk(syncs: Syncs) -> Disk {
        let mut disk = Disk::new("/r", Syncs::Honest);
        for path in ["/r/home", "/r/home/data"] {
            disk.apply(&op(path, What::MakeDir));
            disk.apply(&op(parent(path), What::Sync { inode: 9 }));
        }
        disk.syncs = syncs;
        disk
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let mut disk = disk(Syncs::Honest);
        for op in [
            op("/r/home/data/f", What::Create { inode: 1 }),
            write(0, b'a', 1024),
            op("/r/home/data/f", What::Sync { inode: 1 }),
            op("/r/home/data", What::Sync { inode: 9 }),
            write(512, b'b', 1024),
        ] {
            disk.apply(&op);
        }
        let mut rng = Rng::new(1);
        let dir = std::env::temp_dir().join(format!("power-disk-{}", std::process::id()));
        let mut seen = std::collections::BTreeSet::new();
        for survival in [Survival::None, Survival::All].into_iter().chain([Survival::Some; 40]) {
            disk.cut(&dir, survival, &mut rng).unwrap();
            let bytes = std::fs::read(dir.join("home/data/f")).unwrap();
            assert!(bytes[..512] == [b'a'; 512], "a synced sector is lost");
            assert!(survival != Survival::None || bytes.len() == 1024);
            seen.insert(bytes);
        }
        assert!(seen.len() > 4, "{} states", seen.len());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_name_is_durable_when_its_directory_was_synced() {
        let mut disk = disk(Syncs::Honest);
        disk.apply(&op("/r/home/data/f", What::Create { inode: 1 }));
        disk.apply(&op("/r/home/data/f", What::Sync { inode: 1 }));
        assert!(disk.durable.len() == 3 && disk.names.len() == 4);
        disk.apply(&op("/r/home/data", What::Sync { inode: 9 }));
        assert_eq!(disk.durable, disk.names);
        disk.apply(&op("/r/home/data/g", What::Rename { from: "/r/home/data/f".into() }));
        assert!(disk.durable.contains_key("/r/home/data/f") && !disk.is_clean());
    }

    #[test]
    fn normal_leaves_out_the_syncs_of_commits_only() {
        let mut disk = disk(Syncs::Normal);
        let wal = |what| op("/r/home/data/k-wal", what);
        let frame = || wal(What::Write { inode: 1, at: 32, bytes: vec![1; 8] });
        disk.apply(&wal(What::Create { inode: 1 }));
        disk.apply(&wal(What::Write { inode: 1, at: 0, bytes: vec![1; 32] }));
        disk.apply(&wal(What::Sync { inode: 1 }));
        assert_eq!(disk.files[0].durable.len(), 32, "the header is synced");
        disk.apply(&frame());
        disk.apply(&wal(What::Sync { inode: 1 }));
        assert_eq!(disk.files[0].durable.len(), 32, "a commit is not");
        disk.apply(&wal(What::Sync { inode: 1 }));
        assert_eq!(disk.files[0].durable.len(), 40, "before it is merged it is");
    }
}
