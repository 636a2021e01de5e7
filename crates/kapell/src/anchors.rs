//! The signed log on disk: its key, its lines, and the anchors that every command leaves behind which wrote.
//!
//! A copy of what the journal says of itself; nothing is decided by it. Start at [`Anchors::anchor`].

use crate::home::create_private;
use audit::log::{self, Act, Signer, Tip};
use contract::journal::Journal;
use contract::{Fault, Kind, StreamId, Timestamp};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The log and its key.
#[derive(Debug, Clone)]
pub(crate) struct Anchors {
    dir: PathBuf,
}

impl Anchors {
    /// Below the directory of the store.
    pub(crate) fn new(data: &std::path::Path) -> Self {
        Self { dir: data.join("audit") }
    }

    /// The log's text; empty where there is none yet.
    pub(crate) fn text(&self) -> Result<String, Fault> {
        match std::fs::read_to_string(self.dir.join("log.jsonl")) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// The public half of this installation's key; `None` before anything was signed.
    pub(crate) fn public(&self) -> Option<String> {
        Some(Signer::new(&std::fs::read(self.dir.join("key")).ok()?)?.public())
    }

    /// Puts an act at the end, durably.
    pub(crate) fn append(&self, at: Timestamp, act: Act) -> Result<(), Fault> {
        self.append_after(at, |_| Some(act)).map(drop)
    }

    /// The signed line about an act that follows the log's end, without adding it.
    pub(crate) fn sign(&self, at: Timestamp, act: impl FnOnce(Tip) -> Act) -> Result<String, Fault> {
        let (_, tip, _) = log::read(&self.text()?, None);
        Ok(self.signer()?.line(tip, at, act(tip)).0)
    }

    /// Names the heads of all streams that moved since the last time.
    pub(crate) async fn anchor(&self, store: &dyn Journal, at: Timestamp) -> Result<usize, Fault> {
        let mut now = Vec::new();
        for listed in store.sessions(false).await.map_err(|e| e.fault())? {
            now.push((StreamId::Session(listed.session), listed.head));
            let tree = StreamId::Tree(listed.session);
            let head = store.head(tree).await.map_err(|e| e.fault())?;
            now.extend((head.seq > 0).then_some((tree, head)));
        }
        if now.is_empty() {
            return Ok(0);
        }
        let mut moved = 0;
        self.append_after(at, |known| {
            let new = |(stream, head): &(StreamId, contract::journal::Head)| {
                let same = known.get(stream).is_some_and(|(seq, _)| *seq >= head.seq);
                (!same).then_some((*stream, head.seq, head.hash))
            };
            let heads: Vec<_> = now.iter().filter_map(new).collect();
            moved = heads.len();
            (moved > 0).then_some(Act::Heads { heads })
        })?;
        Ok(moved)
    }

    fn append_after(
        &self,
        at: Timestamp,
        act: impl FnOnce(&std::collections::BTreeMap<StreamId, (u64, contract::Digest)>) -> Option<Act>,
    ) -> Result<(), Fault> {
        create_private(&self.dir)?;
        let path = self.dir.join("log.jsonl");
        let fault = |error: std::io::Error| self.fault(&error);
        let mut file =
            File::options().create(true).read(true).append(true).mode(0o600).open(path).map_err(fault)?;
        // One writer at a time; the lock goes with the file.
        file.lock().map_err(fault)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fault)?;
        if !text.ends_with('\n') && !text.is_empty() {
            // A line that a crash tore was never told to anybody.
            let whole = text.rfind('\n').map_or(0, |at| at + 1);
            text.truncate(whole);
            file.set_len(whole as u64).map_err(fault)?;
            file.seek(SeekFrom::End(0)).map_err(fault)?;
        }
        // What is wrong with it is found by who verifies; new lines follow the last one all the same.
        let bodies: Vec<log::Body> = text.lines().filter_map(line_body).collect();
        let Some(act) = act(&log::heads(&bodies)) else { return Ok(()) };
        let mut tip = text.lines().last().map_or(Tip::default(), |line| Tip {
            n: bodies.last().map_or(0, |body| body.n),
            hash: contract::Digest::of(line.as_bytes()),
        });
        let signer = self.signer()?;
        let mut lines = String::new();
        if tip.n == 0 {
            let (line, next) = signer.line(tip, at, Act::Key { public: signer.public() });
            lines.push_str(&format!("{line}\n"));
            tip = next;
        }
        lines.push_str(&format!("{}\n", signer.line(tip, at, act).0));
        file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()).map_err(fault)
    }

    /// The key, made at first use.
    fn signer(&self) -> Result<Signer, Fault> {
        create_private(&self.dir)?;
        let path = self.dir.join("key");
        if !path.exists() {
            let key = log::new_key().ok_or_else(|| self.fault(&std::io::Error::other("no randomness")))?;
            let beside = self.dir.join(format!("key.{}", std::process::id()));
            let write = || {
                let mut file = File::options().create_new(true).write(true).mode(0o600).open(&beside)?;
                file.write_all(&key).and_then(|()| file.sync_all())?;
                // Whoever is first made the key.
                let linked = std::fs::hard_link(&beside, &path);
                std::fs::remove_file(&beside)?;
                linked.or_else(|error| if path.exists() { Ok(()) } else { Err(error) })
            };
            write().map_err(|error| self.fault(&error))?;
        }
        let bytes = std::fs::read(&path).map_err(|error| self.fault(&error))?;
        Signer::new(&bytes).ok_or_else(|| {
            Fault::new(
                Kind::UserFixable,
                "audit-key",
                format!("{} holds no key of the signed log", path.display()),
            )
            .hint("put the key back; if it is lost, move the directory away: a new log begins with a new key")
        })
    }

    fn fault(&self, error: &std::io::Error) -> Fault {
        let what = format!("the signed log in {} cannot be used: {error}", self.dir.display());
        Fault::new(Kind::UserFixable, "audit-log", what)
            .hint("make the data directory writable, then: kapell audit verify")
    }
}

fn line_body(line: &str) -> Option<log::Body> {
    #[derive(serde::Deserialize)]
    struct Line {
        body: log::Body,
    }
    serde_json::from_str::<Line>(line).ok().map(|line| line.body)
}
