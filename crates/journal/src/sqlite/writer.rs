//! The one writer: takes all that is queued, makes it one transaction, has the answers ready after its fsync.
//!
//! Knows jobs, not what they do, nor on whose thread it runs (that is `seat.rs`). Start at [`Writer::commit`].

use super::error::{self, Stop};
use super::heads::Heads;
use super::leases;
use super::schema;
use crate::notify::Notify;
use crate::oneshot::Reply;
use crate::queue::{Queue, Weigh};
use contract::journal::Error;
use contract::{SessionId, limits};
use rusqlite::Connection;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A disk that syncs faster than this, on average, is not worth a second thread.
const SWIFT: Duration = Duration::from_millis(1);
/// The newest commit's part in that average.
const NEWEST: u32 = 8;
/// Commits for one request each after which whoever writes counts as being alone.
const COMPANY: u8 = 4;
/// How long cutting off the log may wait for readers; it is tried again when next idle.
const CUT_OFF_WAIT: Duration = Duration::from_millis(100);
/// Pages besides those of the records that a commit of many requests touches, at most of the time: their last one in
/// each table.
const PAGES_BESIDES: usize = 8;
/// What a probe for free space writes.
const PROBE: [u8; 16 * 1024] = [0; 16 * 1024];

/// What a job sees: one open transaction.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) heads: &'a mut Heads,
    pub(crate) leases: &'a mut HashMap<SessionId, Option<leases::Row>>,
    pub(crate) blobs: &'a std::path::Path,
    /// Blob files were written: their directory must be synced before the commit.
    pub(crate) files: bool,
    /// Something was appended or submitted: wake who waits for it.
    pub(crate) news: bool,
}

/// A request in the writer's queue.
pub(crate) trait Job: Send {
    /// Bytes it will write, roughly.
    fn weight(&self) -> usize;
    /// Does it. An error means that the whole transaction is to be rolled back.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Error>;
    /// Answers, after the commit or after what broke it.
    fn answer(self: Box<Self>, broke: Option<&Error>);
}

impl Weigh for Box<dyn Job> {
    fn weight(&self) -> usize {
        Job::weight(self.as_ref())
    }
}

/// A job made of a closure.
pub(crate) struct Task<T, F> {
    pub(crate) weight: usize,
    pub(crate) run: F,
    pub(crate) result: Option<Result<T, Error>>,
    pub(crate) reply: Reply<Result<T, Error>>,
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send> Job for Task<T, F> {
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.result = Some(match (self.run)(tx) {
            Ok(value) => Ok(value),
            Err(Stop::Refuse(error)) => Err(error),
            Err(Stop::Abort(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, broke: Option<&Error>) {
        match (broke, self.result) {
            (Some(error), _) => self.reply.send(Err(error.clone())),
            (None, Some(result)) => self.reply.send(result),
            // Not run and nothing broke: cannot be. The dropped reply says that the writer is gone.
            (None, None) => {}
        }
    }
}

/// Jobs whose transaction is over, and what broke it, if something did.
pub(crate) struct Answers {
    jobs: Vec<Box<dyn Job>>,
    broke: Option<Error>,
    /// Who waits for news, when there is any.
    news: Option<Notify>,
}

impl Answers {
    /// Tells everybody.
    pub(crate) fn tell(self) {
        for job in self.jobs {
            job.answer(self.broke.as_ref());
        }
        if let Some(changed) = self.news {
            changed.notify();
        }
    }
}

/// The writer's own things.
pub(crate) struct Writer {
    conn: Connection,
    dir: PathBuf,
    blobs: PathBuf,
    changed: Notify,
    heads: Heads,
    leases: HashMap<SessionId, Option<leases::Row>>,
    /// SQLite's count of other connections' commits, when the caches above were last right.
    version: Option<i64>,
    /// Why nothing more is written.
    broken: Option<String>,
    /// Pages in the write-ahead log since it was last copied, guessed upwards.
    pages: u64,
    /// Transactions so far.
    commits: u64,
    /// How long a commit took lately.
    pace: Duration,
    /// Commits, from now on, that may be for one request each until nobody else counts as writing.
    company: u8,
}

impl Writer {
    pub(crate) fn new(conn: Connection, dir: PathBuf, changed: Notify) -> Self {
        let blobs = dir.join(schema::BLOBS);
        Self {
            conn,
            dir,
            blobs,
            changed,
            heads: Heads::default(),
            leases: HashMap::new(),
            version: None,
            broken: None,
            pages: 0,
            commits: 0,
            pace: SWIFT,
            company: 0,
        }
    }

    /// One group commit of what is queued, of at most `bytes` beyond its first request. `None`: nothing was taken,
    /// because another process is writing and, with a bound on the bytes, nobody has time to wait for it.
    pub(crate) fn commit(&mut self, queue: &Queue<Box<dyn Job>>, bytes: usize) -> Option<Answers> {
        let began = Instant::now();
        let patient = bytes >= limits::GROUP_COMMIT_BYTES;
        let open = self.begin(patient);
        if matches!(open, Err(Error::Busy(_))) && !patient {
            return None;
        }
        // Taken only now: what came while another process was writing goes into the same commit.
        let mut jobs = queue.take(limits::GROUP_COMMIT, bytes.min(limits::GROUP_COMMIT_BYTES));
        let weight: usize = jobs.iter().map(Weigh::weight).sum();
        let done = open.and_then(|()| self.transact(&mut jobs));
        self.commits += 1;
        self.company = if jobs.len() > 1 { COMPANY } else { self.company.saturating_sub(1) };
        self.pace = smoothed(self.pace, began.elapsed());
        match done {
            Ok(news) => {
                self.pages += (jobs.len().min(PAGES_BESIDES) + weight / schema::PAGE_BYTES) as u64;
                Some(Answers { jobs, broke: None, news: news.then(|| self.changed.clone()) })
            }
            Err(error) => Some(Answers { jobs, broke: Some(self.broke(error)), news: None }),
        }
    }

    /// Has a commit taken so little time lately that handing it to another thread would take longer?
    pub(crate) fn swift(&self) -> bool {
        self.pace < SWIFT
    }

    /// Has a commit served more than one request lately?
    pub(crate) fn company(&self) -> bool {
        self.company > 0
    }

    /// Transactions so far.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// The write-ahead log holds something that the file does not.
    pub(crate) fn unmerged(&self) -> bool {
        self.pages > 0
    }

    /// The write-ahead log has grown enough to be merged.
    pub(crate) fn merge_due(&self) -> bool {
        self.pages >= limits::JOURNAL_WAL_PAGES
    }

    /// Merges it then. Only on the writer's own thread: it takes a while.
    pub(crate) fn merge_if_due(&mut self) {
        if self.merge_due() {
            self.checkpoint();
        }
    }

    /// Opens the transaction; waits for another process's only when patient.
    fn begin(&self, patient: bool) -> Result<(), Error> {
        if let Some(why) = &self.broken {
            return Err(Error::Closed(why.clone()));
        }
        if patient {
            return execute(&self.conn, "BEGIN IMMEDIATE");
        }
        // Setting a time-out only stores a number.
        let _ = self.conn.busy_timeout(Duration::ZERO);
        let open = execute(&self.conn, "BEGIN IMMEDIATE");
        let _ = self.conn.busy_timeout(Duration::from_millis(limits::JOURNAL_BUSY_MS));
        open
    }

    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<bool, Error> {
        self.refresh()?;
        let mut tx = Tx {
            conn: &self.conn,
            heads: &mut self.heads,
            leases: &mut self.leases,
            blobs: &self.blobs,
            files: false,
            news: false,
        };
        jobs.iter_mut().try_for_each(|job| job.run(&mut tx))?;
        let news = tx.news;
        if tx.files {
            crate::blob::sync_dir(&self.blobs).map_err(|error| error::io(&self.blobs, &error))?;
        }
        self.heads.flush_if_due(&self.conn).map_err(error::sql)?;
        execute(&self.conn, "COMMIT")?;
        Ok(news)
    }

    /// Other processes write too: what is cached holds only while SQLite has seen no commit but ours.
    fn refresh(&mut self) -> Result<(), Error> {
        let pragma =
            |sql| -> rusqlite::Result<i64> { self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0)) };
        let version = pragma("PRAGMA data_version").map_err(error::sql)?;
        if self.version == Some(version) {
            return Ok(());
        }
        let schema = pragma("PRAGMA user_version").map_err(error::sql)?;
        let known = schema::newest(schema::STEPS);
        if schema != i64::from(known) {
            let found = u32::try_from(schema).unwrap_or(u32::MAX);
            return Err(Error::Newer { found, known });
        }
        self.leases.clear();
        self.heads.catch_up(&self.conn)?;
        self.version = Some(version);
        Ok(())
    }

    /// Rolls back and decides whether anything more may be written. After a failed write or fsync nobody knows
    /// what the disk holds; after a full disk the rollback is clean.
    fn broke(&mut self, error: Error) -> Error {
        if !self.conn.is_autocommit() && execute(&self.conn, "ROLLBACK").is_err() {
            self.broken = Some("a transaction could not be rolled back".into());
        }
        self.heads.forget();
        self.leases.clear();
        self.version = None;
        match error {
            // SQLite tells a full disk from a broken one, but calls an exhausted quota an I/O error.
            Error::Io(why) if self.disk_is_full() => Error::Full(why),
            Error::Io(why) => {
                self.broken = Some(format!("an earlier write failed ({why})"));
                Error::Io(why)
            }
            other => other,
        }
    }

    fn disk_is_full(&self) -> bool {
        let path = self.dir.join(".probe");
        let probed = File::create(&path)
            .and_then(|mut file| file.write_all(&PROBE).and_then(|()| file.sync_all()))
            .map_err(|error| error::io(&path, &error));
        // The probe is of no further use; when it cannot be removed it is empty or tiny.
        let _ = fs::remove_file(&path);
        matches!(probed, Err(Error::Full(_)))
    }

    /// Copies the write-ahead log into the file, as far as readers permit. Runs after the answers went out.
    fn checkpoint(&mut self) {
        self.pages = 0;
        self.merge("PASSIVE");
    }

    /// Idle: merge, and give back the space of a log that grew large while some reader held it.
    pub(crate) fn settle(&mut self) {
        self.checkpoint();
        let large =
            fs::metadata(schema::wal(&self.dir)).is_ok_and(|wal| wal.len() > limits::JOURNAL_WAL_BYTES);
        if large && self.conn.busy_timeout(CUT_OFF_WAIT).is_ok() {
            self.merge("TRUNCATE");
            // Setting a time-out only stores a number.
            let _ = self.conn.busy_timeout(Duration::from_millis(limits::JOURNAL_BUSY_MS));
        }
    }

    fn merge(&mut self, mode: &str) {
        let merged = self
            .conn
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
            .map_err(error::sql);
        // A full disk or a busy reader loses nothing: the log still holds everything. A failed fsync of the file
        // must not be tried again as if nothing had happened.
        if let Err(Error::Io(why)) = merged
            && !self.disk_is_full()
        {
            self.broken = Some(format!("merging the write-ahead log failed ({why})"));
        }
    }
}

fn execute(conn: &Connection, sql: &str) -> Result<(), Error> {
    conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(error::sql)?;
    Ok(())
}

/// What a commit takes, mostly by the newest ones.
fn smoothed(pace: Duration, newest: Duration) -> Duration {
    (pace * (NEWEST - 1) + newest) / NEWEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::block_on;
    use crate::oneshot;

    /// Runs one job that ends like this.
    fn after(writer: &mut Writer, result: Result<(), Error>) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let run = move |tx: &mut Tx<'_>| {
            tx.conn.execute("INSERT INTO snapshots VALUES (NULL, abs(random()), 1, x'', x'', x'')", [])?;
            result.clone().map_err(Stop::Abort)
        };
        let queue = Queue::<Box<dyn Job>>::new(1);
        queue.put(Box::new(Task { weight: 0, run, result: None, reply })).unwrap();
        writer.commit(&queue, usize::MAX).unwrap().tell();
        block_on(answer).unwrap()
    }

    #[test]
    fn one_slow_commit_counts_and_is_forgotten() {
        let mut pace = smoothed(SWIFT, SWIFT * 9);
        assert_eq!(pace, SWIFT * 2);
        for _ in 0..NEWEST {
            pace = smoothed(pace, SWIFT / 10);
        }
        assert!(pace < SWIFT, "{pace:?}");
    }

    #[test]
    fn heavy_requests_are_not_all_in_one_commit() {
        let dir = tempfile::tempdir().unwrap();
        let conn = schema::open(dir.path(), schema::STEPS).unwrap();
        let mut writer = Writer::new(conn, dir.path().to_owned(), Notify::default());
        let queue = Queue::<Box<dyn Job>>::new(4);
        for _ in 0..2 {
            let (reply, _nobody) = oneshot::channel();
            let run = |_: &mut Tx<'_>| Ok(());
            queue
                .put(Box::new(Task { weight: limits::GROUP_COMMIT_BYTES, run, result: None, reply }))
                .unwrap();
        }
        assert_eq!(writer.commit(&queue, usize::MAX).unwrap().jobs.len(), 1);
        assert_eq!(writer.commit(&queue, usize::MAX).unwrap().jobs.len(), 1);
    }

    #[test]
    fn what_was_committed_is_merged_and_a_large_log_gives_back_its_space() {
        let dir = tempfile::tempdir().unwrap();
        let conn = schema::open(dir.path(), schema::STEPS).unwrap();
        let mut writer = Writer::new(conn, dir.path().to_owned(), Notify::default());
        let log = || fs::metadata(schema::wal(dir.path())).unwrap().len();
        assert!(!writer.unmerged());
        after(&mut writer, Ok(())).unwrap();
        assert!(writer.unmerged());
        writer.settle();
        assert!(!writer.unmerged() && log() > 0, "a small one is written over");
        let large = format!("UPDATE snapshots SET bytes = zeroblob({})", limits::JOURNAL_WAL_BYTES);
        writer.conn.execute(&large, []).unwrap();
        assert!(log() > limits::JOURNAL_WAL_BYTES);
        writer.settle();
        assert_eq!(log(), 0);
    }

    fn rows(writer: &Writer) -> i64 {
        writer.conn.query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn after_a_full_disk_it_goes_on_after_a_failed_one_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let conn = schema::open(dir.path(), schema::STEPS).unwrap();
        let mut writer = Writer::new(conn, dir.path().to_owned(), Notify::default());
        let full = Err(Error::Full("no space".into()));
        assert_eq!(after(&mut writer, full.clone()), full);
        assert_eq!(rows(&writer), 0, "rolled back");
        assert_eq!(after(&mut writer, Ok(())), Ok(()));
        let failed = Err(Error::Io("fsync".into()));
        assert_eq!(after(&mut writer, failed.clone()), failed);
        assert!(matches!(after(&mut writer, Ok(())), Err(Error::Closed(_))));
        assert_eq!(rows(&writer), 1);
    }
}
