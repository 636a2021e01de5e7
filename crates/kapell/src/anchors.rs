//! The signed log on disk: its key, its lines, and the anchors that every command leaves behind which wrote.
//!
//! Log and key are beside the store; the log's last head is kept in the state directory as well, so that a log that was cut,
//! removed or put back to an older one shows. A copy of what the journal says of itself; nothing is decided by it. Start at
//! [`Anchors::anchor`].

use crate::home::{Home, create_private};
use audit::log::{self, Act, Body, Signer, Tip};
use contract::journal::{Head, Journal};
use contract::{Digest, Fault, Kind, StreamId, Timestamp};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The log and its key.
#[derive(Debug, Clone)]
pub(crate) struct Anchors {
    dir: PathBuf,
    /// Where the log's head is kept besides.
    kept: PathBuf,
}

/// A head of the log as it is kept, and the key the log was signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) tip: Tip,
    pub(crate) key: String,
}

impl Anchors {
    /// Below the directory of the store.
    pub(crate) fn new(home: &Home) -> Self {
        Self { dir: home.data.join("audit"), kept: home.state.join("audit-head") }
    }

    /// The log's text; empty where there is none yet. What is no text in it shows as a line that is not signed.
    pub(crate) fn text(&self) -> Result<String, Fault> {
        Ok(String::from_utf8_lossy(&self.bytes()?.unwrap_or_default()).into_owned())
    }

    /// The log's bytes: no half of a line that somebody is adding.
    fn bytes(&self) -> Result<Option<Vec<u8>>, Fault> {
        let mut file = match File::open(self.dir.join("log.jsonl")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| self.fault(&error))?,
        };
        let mut bytes = Vec::new();
        file.lock_shared().and_then(|()| file.read_to_end(&mut bytes)).map_err(|error| self.fault(&error))?;
        Ok(Some(bytes))
    }

    /// The public half of this installation's key; `None` before anything was signed.
    pub(crate) fn public(&self) -> Option<String> {
        Some(Signer::new(&std::fs::read(self.dir.join("key")).ok()?)?.public())
    }

    /// The head that is kept besides the log.
    pub(crate) fn kept(&self) -> Option<Kept> {
        let text = std::fs::read_to_string(&self.kept).ok()?;
        let (tip, key) = text.trim().split_once(' ')?;
        Some(Kept { tip: tip.parse().ok()?, key: key.to_owned() })
    }

    /// Where that is.
    pub(crate) fn kept_at(&self) -> &Path {
        &self.kept
    }

    /// Puts an act at the end, durably.
    pub(crate) fn append(&self, at: Timestamp, act: Act) -> Result<(), Fault> {
        self.append_after(at, |_, _| Some(act)).map(drop)
    }

    /// The same for an act that names the log's end; its line.
    pub(crate) fn append_with(&self, at: Timestamp, act: impl FnOnce(Tip) -> Act) -> Result<String, Fault> {
        Ok(self.append_after(at, |_, tip| Some(act(tip)))?.unwrap_or_default())
    }

    /// Names the heads of all streams that moved since the last time. What contradicts an earlier line is not signed
    /// again: that would make it look sound.
    pub(crate) async fn anchor(&self, store: &dyn Journal, at: Timestamp) -> Result<usize, Fault> {
        let mut now: Vec<(StreamId, Head)> = Vec::new();
        for listed in store.sessions(false).await.map_err(|e| e.fault())? {
            now.push((StreamId::Session(listed.session), listed.head));
            let tree = StreamId::Tree(listed.session);
            let head = store.head(tree).await.map_err(|e| e.fault())?;
            now.extend((head.seq > 0).then_some((tree, head)));
        }
        let known = log::heads(&bodies(&self.text()?));
        let (mut sound, mut wrong) = (Vec::new(), Vec::new());
        for (stream, head) in now {
            match known.get(&stream) {
                Some(signed) if *signed == (head.seq, head.hash) => {}
                Some((seq, hash)) if !stands(store, stream, *seq, *hash).await => {
                    wrong.push(format!("{stream}, event {seq}"))
                }
                _ => sound.push((stream, head)),
            }
        }
        let mut moved = 0;
        if !sound.is_empty() {
            self.append_after(at, |bodies, _| {
                // Somebody else may have been faster.
                let known = log::heads(bodies);
                let new = |(stream, head): &(StreamId, Head)| {
                    let same = known.get(stream).is_some_and(|(seq, _)| *seq >= head.seq);
                    (!same).then_some((*stream, head.seq, head.hash))
                };
                let heads: Vec<_> = sound.iter().filter_map(new).collect();
                moved = heads.len();
                (moved > 0).then_some(Act::Heads { heads })
            })?;
        }
        if wrong.is_empty() {
            return Ok(moved);
        }
        let what = format!("the journal is not what was signed before: {}", wrong.join("; "));
        Err(Fault::new(Kind::UserFixable, "audit-contradicted", what).hint("kapell audit verify tells more"))
    }

    /// Copies log and key below another data directory. To be called before the store is copied, which may only be ahead.
    pub(crate) fn copy(&self, to: &Path) -> Result<(), Fault> {
        let to = to.join("audit");
        let Some(text) = self.bytes()? else { return Ok(()) };
        let key = std::fs::read(self.dir.join("key")).map_err(|error| self.fault(&error))?;
        create_private(&to)?;
        for (name, bytes) in [("log.jsonl", text), ("key", key)] {
            let mut options = File::options();
            let file = options.create_new(true).write(true).mode(0o600).open(to.join(name));
            let written = file.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
            written.map_err(|error| self.fault(&error))?;
        }
        Ok(())
    }

    fn append_after(
        &self,
        at: Timestamp,
        act: impl FnOnce(&[Body], Tip) -> Option<Act>,
    ) -> Result<Option<String>, Fault> {
        create_private(&self.dir)?;
        let path = self.dir.join("log.jsonl");
        let fault = |error: std::io::Error| self.fault(&error);
        let mut file =
            File::options().create(true).read(true).append(true).mode(0o600).open(path).map_err(fault)?;
        // One writer at a time; the lock goes with the file.
        file.lock().map_err(fault)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fault)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            // A line that a crash tore was never told to anybody.
            bytes.truncate(whole);
            file.set_len(whole as u64).map_err(fault)?;
        }
        // What is wrong with it is found by who verifies; new lines follow the last one all the same.
        let text = String::from_utf8_lossy(&bytes);
        let bodies = bodies(&text);
        let mut tip = log::lines(&text).last().map_or(Tip::default(), |line| Tip {
            n: bodies.last().map_or(0, |body| body.n),
            hash: Digest::of(line.as_bytes()),
        });
        let signer = self.signer(tip.n == 0)?;
        let mut lines = String::new();
        let mut sign = |tip: &mut Tip, act: Act| {
            let (line, next) = signer.line(*tip, at, act);
            lines.push_str(&format!("{line}\n"));
            *tip = next;
            line
        };
        let before = tip;
        let gap = self.kept().filter(|kept| !goes_on(&text, kept.tip));
        if tip.n == 0 {
            sign(&mut tip, Act::Key { public: signer.public() });
        }
        if let Some(Kept { tip: Tip { n, hash }, key }) = gap {
            // For ever: what stood in them cannot be known any more.
            sign(&mut tip, Act::Gap { lines: n, last: hash, key });
        }
        let Some(act) = act(&bodies, tip) else {
            return Ok(None);
        };
        let line = sign(&mut tip, act);
        debug_assert!(tip.n > before.n, "something was signed");
        file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()).map_err(fault)?;
        self.keep(&Kept { tip, key: signer.public() })?;
        Ok(Some(line))
    }

    /// Keeps the head. It may lag behind after a crash, never run ahead: the lines are durable.
    fn keep(&self, kept: &Kept) -> Result<(), Fault> {
        create_private(self.kept.parent().unwrap_or(Path::new("/")))?;
        let beside = self.kept.with_extension(format!("new.{}", std::process::id()));
        let text = format!("{} {}\n", kept.tip, kept.key);
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &self.kept));
        written.map_err(|error| {
            let what =
                format!("the head of the signed log cannot be kept in {}: {error}", self.kept.display());
            Fault::new(Kind::UserFixable, "audit-head", what).hint("make the state directory writable")
        })
    }

    /// The key, made at first use: a log that has lines has a key.
    fn signer(&self, first: bool) -> Result<Signer, Fault> {
        create_private(&self.dir)?;
        let path = self.dir.join("key");
        if !path.exists() && first {
            let key = log::new_key().ok_or_else(|| self.fault(&std::io::Error::other("no randomness")))?;
            let beside = self.dir.join(format!("key.{}", std::process::id()));
            let write = || {
                // Left behind by a process of the same number that was killed: nobody else has this name.
                drop(std::fs::remove_file(&beside));
                let mut file = File::options().create_new(true).write(true).mode(0o600).open(&beside)?;
                file.write_all(&key).and_then(|()| file.sync_all())?;
                // Whoever is first made the key.
                let linked = std::fs::hard_link(&beside, &path);
                std::fs::remove_file(&beside)?;
                linked.or_else(|error| if path.exists() { Ok(()) } else { Err(error) })
            };
            write().map_err(|error| self.fault(&error))?;
        }
        let key = std::fs::read(&path).ok().and_then(|bytes| Signer::new(&bytes));
        key.ok_or_else(|| {
            let what = format!("{} holds no key of the signed log", path.display());
            Fault::new(Kind::UserFixable, "audit-key", what).hint(
                "put the key back; if it is lost, move the directory away: a new log begins with a new key, and says so",
            )
        })
    }

    fn fault(&self, error: &std::io::Error) -> Fault {
        let what = format!("the signed log in {} cannot be used: {error}", self.dir.display());
        Fault::new(Kind::UserFixable, "audit-log", what)
            .hint("make the data directory writable, then: kapell audit verify")
    }
}

/// Is this still the stream's event of that number?
async fn stands(store: &dyn Journal, stream: StreamId, seq: u64, hash: Digest) -> bool {
    let read = store.read(stream, seq.saturating_sub(1), 1).await;
    read.is_ok_and(|page| page.first().is_some_and(|stored| (stored.seq, stored.hash) == (seq, hash)))
}

/// Does the log still hold the line that was its last one then?
fn goes_on(text: &str, kept: Tip) -> bool {
    let line = usize::try_from(kept.n).ok().and_then(|n| log::lines(text).nth(n.checked_sub(1)?));
    line.is_some_and(|line| Digest::of(line.as_bytes()) == kept.hash)
}

fn bodies(text: &str) -> Vec<Body> {
    #[derive(serde::Deserialize)]
    struct Line {
        body: Body,
    }
    let body = |line| serde_json::from_str::<Line>(line).ok().map(|line| line.body);
    log::lines(text).filter_map(body).collect()
}
