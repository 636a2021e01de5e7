//! The same random commands to SQLite and to the in-memory twin: every reply and everything left must be the same.
//!
//! `PROPTEST_CASES=300` is the long form. A difference prints its seed and the fewest commands that still show it.
//! There is no third store yet: PostgreSQL joins here when it exists. Start at [`differential`], then [`Pair::run`].

mod common;

use common::Random;
use contract::intent::{Intent, Source, Wish};
use contract::journal::{Append, Batch, Error, Journal, Lease, Snapshot};
use contract::port::Blobs;
use contract::{BoxFuture, Digest, Fence, Seq, SessionId, StreamId, Timestamp, limits};
use journal::conformance::block_on;
use journal::{Memory, Options, Sqlite};
use std::fs;
use std::path::PathBuf;

/// Sequences of the everyday form.
const SEQUENCES: u64 = 12;
/// Commands of a sequence.
const COMMANDS: usize = 200;
/// Sessions, and so streams of each kind.
const SESSIONS: u64 = 4;
/// Blobs, some of them files.
const BLOBS: [usize; 4] = [0, 100, 5_000, limits::BLOB_ROW_BYTES + 1];

/// One command. Numbers mean something relative to what is there when it runs, so that any part of a sequence is one.
#[derive(Debug, Clone)]
enum Command {
    Append {
        parts: Vec<Part>,
        blobs: Vec<usize>,
        submit: Vec<(u64, u64)>,
        consume: Vec<i64>,
    },
    Submit {
        to: u64,
        key: u64,
        wish: u64,
    },
    Put {
        blobs: Vec<usize>,
    },
    Acquire {
        session: u64,
        owner: u64,
        force: bool,
    },
    Renew {
        sessions: Vec<u64>,
        stale: bool,
    },
    Release {
        session: u64,
        stale: bool,
    },
    Snapshot {
        stream: u64,
        behind: i64,
    },
    Wait {
        ms: u64,
    },
    Read {
        stream: u64,
        after: Seq,
        limit: usize,
    },
    List {
        session: u64,
        unfinished: bool,
    },
    Blob {
        which: usize,
    },
    /// The other process speaks from here on.
    Switch,
    /// Closed in order and opened again.
    Reopen,
    /// Killed: what another process finds.
    Crash,
}

/// One append of a batch.
#[derive(Debug, Clone)]
struct Part {
    stream: u64,
    /// What the writer believes, against what is there.
    off: i64,
    /// Of the newest fence; `None` is no fence at all.
    fence: Option<i64>,
    records: usize,
    ended: bool,
}

/// Below a bound.
fn draw(random: &mut Random, bound: u64) -> u64 {
    random.below(bound as usize) as u64
}

/// Mostly right, sometimes off by one or two.
fn off(random: &mut Random) -> i64 {
    let n = draw(random, 11) as i64;
    if n < 8 { 0 } else { [-2, -1, 1][n as usize - 8] }
}

fn part(random: &mut Random) -> Part {
    Part {
        stream: draw(random, 2 * SESSIONS),
        off: off(random),
        fence: (draw(random, 8) > 0).then(|| off(random)),
        records: draw(random, 4) as usize,
        ended: draw(random, 6) == 0,
    }
}

fn command(random: &mut Random) -> Command {
    let sessions = |random: &mut Random| draw(random, SESSIONS);
    let blobs = BLOBS.len() as u64;
    match draw(random, 30) {
        0..=9 => Command::Append {
            parts: (0..=draw(random, 3)).map(|_| part(random)).collect(),
            blobs: (0..draw(random, 3)).map(|_| draw(random, blobs) as usize).collect(),
            submit: (0..draw(random, 2)).map(|_| (sessions(random), draw(random, 40))).collect(),
            consume: (0..draw(random, 3)).map(|_| draw(random, 6) as i64 - 1).collect(),
        },
        10..=12 => Command::Submit { to: sessions(random), key: draw(random, 40), wish: draw(random, 4) },
        13 => Command::Put { blobs: vec![draw(random, blobs) as usize] },
        14..=16 => {
            let (session, owner) = (sessions(random), draw(random, 3));
            Command::Acquire { session, owner, force: draw(random, 4) == 0 }
        }
        17 => Command::Renew { sessions: (0..draw(random, 4)).collect(), stale: draw(random, 3) == 0 },
        18 => Command::Release { session: sessions(random), stale: draw(random, 3) == 0 },
        19 => Command::Snapshot { stream: draw(random, 2 * SESSIONS), behind: draw(random, 5) as i64 - 1 },
        20 => {
            Command::Wait { ms: [1, 100, limits::LEASE_MS, 3 * limits::LEASE_MS][draw(random, 4) as usize] }
        }
        21..=23 => {
            let (stream, after) = (draw(random, 2 * SESSIONS), draw(random, 12));
            Command::Read { stream, after, limit: [0, 1, 5, 1_000][draw(random, 4) as usize] }
        }
        24..=25 => Command::List { session: sessions(random), unfinished: draw(random, 2) == 0 },
        26 => Command::Blob { which: draw(random, blobs) as usize },
        27 => Command::Switch,
        28 => Command::Reopen,
        _ => Command::Crash,
    }
}

fn session(n: u64) -> SessionId {
    common::session(1 + n)
}

fn stream(n: u64) -> StreamId {
    match n < SESSIONS {
        true => StreamId::Session(session(n)),
        false => StreamId::Tree(session(n - SESSIONS)),
    }
}

fn blob(which: usize) -> Vec<u8> {
    (0..BLOBS[which]).map(|at| (at * 7 + which) as u8).collect()
}

/// Two processes over each of the two stores.
struct Pair {
    dir: tempfile::TempDir,
    generation: u32,
    sqlite: [Option<Sqlite>; 2],
    memory: [Memory; 2],
    speaker: usize,
    now: Timestamp,
    /// Leases as they were given out, newest last.
    leases: Vec<Lease>,
}

impl Pair {
    fn new() -> Self {
        let memory = Memory::new();
        let mut pair = Self {
            dir: tempfile::tempdir().unwrap(),
            generation: 0,
            sqlite: [None, None],
            memory: [memory.peer(), memory],
            speaker: 0,
            now: Timestamp(1_000_000),
            leases: Vec::new(),
        };
        fs::create_dir(pair.path()).unwrap();
        pair.open();
        pair
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.generation.to_string())
    }

    fn open(&mut self) {
        let path = self.path();
        self.sqlite = [(); 2].map(|()| Some(Sqlite::open(&path, Options::default()).unwrap()));
    }

    /// Asks both stores the same; their common answer.
    fn both<T>(
        &self,
        ask: impl Fn(&dyn Journal) -> BoxFuture<'_, Result<T, Error>>,
    ) -> Result<Result<T, Error>, String>
    where
        T: std::fmt::Debug,
    {
        let sqlite = block_on(ask(self.sqlite[self.speaker].as_ref().unwrap()));
        let memory = block_on(ask(&self.memory[self.speaker]));
        match said(&sqlite) == said(&memory) {
            true => Ok(memory),
            false => Err(format!("sqlite says {}\nmemory says {}", said(&sqlite), said(&memory))),
        }
    }

    fn head(&self, of: StreamId) -> Result<Seq, String> {
        Ok(self.both(|store| store.head(of))?.map(|head| head.seq).unwrap_or_default())
    }

    fn newest(&self, of: SessionId) -> Option<&Lease> {
        self.leases.iter().rev().find(|lease| lease.session == of)
    }

    /// A lease of this session as somebody may still believe in it.
    fn lease(&self, of: SessionId, stale: bool) -> Option<Lease> {
        if !stale {
            return self.newest(of).cloned();
        }
        self.leases.iter().find(|lease| lease.session == of).cloned()
    }

    fn run(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Append { parts, blobs, submit, consume } => {
                let batch = self.batch(parts, blobs, submit, consume)?;
                self.both(|store| store.append(batch.clone())).map(drop)
            }
            Command::Submit { to, key, wish } => {
                let intent = self.intent(*to, *key, *wish);
                self.both(|store| store.submit(intent.clone())).map(drop)
            }
            Command::Put { blobs } => {
                let blobs: Vec<Vec<u8>> = blobs.iter().map(|which| blob(*which)).collect();
                self.both(|store| store.put(blobs.clone())).map(drop)
            }
            Command::Acquire { session: of, owner, force } => {
                let (of, owner, now) = (session(*of), format!("owner-{owner}"), self.now);
                let taken = self.both(|store| store.acquire(of, owner.clone(), now, *force))?;
                self.leases.extend(taken.ok().and_then(Result::ok));
                Ok(())
            }
            Command::Renew { sessions, stale } => {
                let leases: Vec<Lease> =
                    sessions.iter().filter_map(|of| self.lease(session(*of), *stale)).collect();
                let now = self.now;
                self.both(|store| store.renew(leases.clone(), now)).map(drop)
            }
            Command::Release { session: of, stale } => {
                let Some(lease) = self.lease(session(*of), *stale) else { return Ok(()) };
                self.both(|store| store.release(lease.clone())).map(drop)
            }
            Command::Snapshot { stream: of, behind } => self.snapshot(stream(*of), *behind),
            Command::Wait { ms } => {
                self.now = self.now.plus(*ms);
                Ok(())
            }
            Command::Read { stream: of, after, limit } => {
                self.both(|store| store.read(stream(*of), *after, *limit)).map(drop)
            }
            Command::List { session: of, unfinished } => self.list(session(*of), *unfinished),
            Command::Blob { which } => self.blob(*which),
            Command::Switch => {
                self.speaker = 1 - self.speaker;
                Ok(())
            }
            Command::Reopen => {
                self.sqlite = [None, None];
                self.open();
                Ok(())
            }
            Command::Crash => {
                self.crash();
                Ok(())
            }
        }
    }

    /// Both processes are killed: SQLite's files as they lie there are opened elsewhere.
    fn crash(&mut self) {
        let from = self.path();
        self.generation += 1;
        let to = self.path();
        fs::create_dir_all(to.join("blobs")).unwrap();
        for name in ["kapell.db", "kapell.db-wal"] {
            if from.join(name).exists() {
                fs::copy(from.join(name), to.join(name)).unwrap();
            }
        }
        for entry in fs::read_dir(from.join("blobs")).unwrap().flatten() {
            fs::copy(entry.path(), to.join("blobs").join(entry.file_name())).unwrap();
        }
        self.sqlite = [None, None];
        self.open();
        let next = self.memory[0].crash();
        self.memory = [next.peer(), next];
    }

    fn batch(
        &self,
        parts: &[Part],
        blobs: &[usize],
        submit: &[(u64, u64)],
        consume: &[i64],
    ) -> Result<Batch, String> {
        let mut appends = Vec::new();
        for part in parts {
            let of = stream(part.stream);
            let head = self.head(of)?;
            let expected = head.saturating_add_signed(part.off);
            let newest: Option<Fence> = match of {
                StreamId::Session(session) => self.newest(session).map(|lease| lease.fence),
                StreamId::Tree(_)
                | StreamId::Quota(_)
                | StreamId::Project(_)
                | StreamId::Board(_)
                | StreamId::Loop(_) => None,
            };
            let fence = part.fence.and_then(|off| newest.map(|fence| fence.saturating_add_signed(off)));
            let record =
                |n| format!("{{\"v\":1,\"seq\":{},\"n\":{n}}}", expected + 1 + n as u64).into_bytes();
            let records = (0..part.records).map(record).collect();
            appends.push(Append { stream: of, expected, fence, records, ended: part.ended });
        }
        let mut waiting = Vec::new();
        for n in 0..SESSIONS {
            let mail = self.both(|store| store.inbox(session(n)))?;
            waiting.extend(mail.unwrap_or_default().into_iter().map(|mail| mail.row));
        }
        // A row that waits, one that does not any more, one that never was.
        let row = |at: &i64| match usize::try_from(*at).ok().and_then(|at| waiting.get(at)) {
            Some(row) => *row,
            None if *at < 0 => 1_000_000,
            None => 1,
        };
        Ok(Batch {
            appends,
            blobs: blobs.iter().map(|which| blob(*which)).collect(),
            submit: submit.iter().map(|(to, key)| self.intent(*to, *key, 0)).collect(),
            consume: consume.iter().map(row).collect(),
        })
    }

    fn intent(&self, to: u64, key: u64, wish: u64) -> Intent {
        let wish = [Wish::Continue, Wish::Pause, Wish::Cancel, Wish::Initialise][wish as usize].clone();
        let (session, key) = (session(to), format!("key-{key}"));
        Intent {
            id: common::session(900),
            session,
            source: Source::User,
            wish,
            key,
            at: self.now,
            ttl_ms: None,
        }
    }

    fn snapshot(&self, of: StreamId, behind: i64) -> Result<(), String> {
        let seq = self.head(of)?.saturating_add_signed(-behind);
        let event = self.both(|store| store.read(of, seq.saturating_sub(1), 1))?.unwrap_or_default();
        let head = event.first().map_or(Digest::default(), |stored| stored.hash);
        let snapshot = Snapshot { seq, head, json: format!("{{\"seq\":{seq}}}").into_bytes() };
        self.both(|store| store.snapshot(of, snapshot.clone()))?.ok();
        self.both(|store| store.snapshots(of)).map(drop)
    }

    fn blob(&self, which: usize) -> Result<(), String> {
        let digest = Digest::of(&blob(which));
        let sqlite = block_on(self.sqlite[self.speaker].as_ref().unwrap().blob(digest));
        let memory = block_on(self.memory[self.speaker].blob(digest));
        match (&sqlite, &memory) {
            (Ok(left), Ok(right)) if left == right => Ok(()),
            (Err(left), Err(right)) if left.code == right.code => Ok(()),
            _ => Err(format!(
                "blob {which}: sqlite {:?}, memory {:?}",
                sqlite.map(|b| b.len()),
                memory.map(|b| b.len())
            )),
        }
    }

    /// Everything that is in the stores.
    fn compare(&self) -> Result<(), String> {
        for n in 0..2 * SESSIONS {
            self.head(stream(n))?;
            self.both(|store| store.read(stream(n), 0, usize::MAX >> 1))?.ok();
            self.both(|store| store.snapshots(stream(n)))?.ok();
        }
        for n in 0..SESSIONS {
            self.list(session(n), n % 2 == 0)?;
        }
        (0..BLOBS.len()).try_for_each(|which| self.blob(which))?;
        self.both(|store| store.verify()).map(drop)
    }

    fn list(&self, of: SessionId, unfinished: bool) -> Result<(), String> {
        self.both(|store| store.sessions(unfinished))?.ok();
        self.both(|store| store.inbox(of))?.ok();
        self.both(|store| store.holder(of))?.ok();
        self.both(|store| store.inbox_sessions()).map(drop)
    }
}

/// An answer that two stores must agree on. What an error says is each store's own; what kind it is is not.
fn said<T: std::fmt::Debug>(answer: &Result<T, Error>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(error @ (Error::Conflict { .. } | Error::Fenced { .. })) => format!("{error:?}"),
        Err(error) => format!("{:?}", std::mem::discriminant(error)),
    }
}
/// The first difference of a sequence, and after how many commands.
fn difference(commands: &[Command]) -> Option<(usize, String)> {
    let mut pair = Pair::new();
    for (at, command) in commands.iter().enumerate() {
        if let Err(why) = pair.run(command) {
            return Some((at, why));
        }
    }
    pair.compare().err().map(|why| (commands.len(), why))
}

/// Leaves out whatever the difference does not need.
fn shrink(mut commands: Vec<Command>) -> Vec<Command> {
    let mut piece = commands.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < commands.len() {
            let mut fewer = commands.clone();
            fewer.drain(at..(at + piece).min(commands.len()));
            match difference(&fewer) {
                Some(_) => commands = fewer,
                None => at += piece,
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    commands
}

#[test]
fn differential() {
    let given = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let sequences = given.unwrap_or(SEQUENCES);
    for seed in 0..sequences {
        let mut random = Random(seed);
        let commands: Vec<Command> = (0..COMMANDS).map(|_| command(&mut random)).collect();
        if let Some((at, why)) = difference(&commands) {
            let fewest = shrink(commands[..=at.min(COMMANDS - 1)].to_vec());
            panic!(
                "seed {seed}, command {at}: {why}\nthe fewest commands that show a difference: {fewest:#?}"
            );
        }
    }
    println!("differential: {sequences} sequences x {COMMANDS} commands: SQLite and memory agree");
}
