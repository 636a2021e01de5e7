//! Commands that outlive the call that started them: in the background with a pipe to write into, or at a terminal.
//! Knows nothing of sessions or tools. Start at [`Job::start`].
//!
//! A job runs in this process, below a warden like any command: it never outlives this process, whatever happens to
//! it. One that is to outlive whoever asks for it is run by a process of its own (`host.rs`). Its output is on disk by sequence number (`spool.rs`), its screen in memory (`screen.rs`), and a socket in its
//! directory lets any process of its owner look and type (`link.rs`); who looks can come and go.

pub mod host;
pub mod link;
mod screen;
mod spool;
mod status;

pub use screen::Screen;
pub use spool::{Piece, read};
pub use status::{Status, look};

use crate::command::{Command, Waits};
use crate::flow::Writer;
use crate::pty::{Size, Terminal};
use crate::run::{Ended, Error, Progress, failed, run};
use contract::cancel::{Cancel, Urgency};
use contract::limits::{JOB_BEAT_MS, JOB_CLIENTS};
use contract::tool::Stopped;
use link::{Frame, Hears, Says};
use spool::Spool;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
// tidy: allow(spawn): the clients of a job end with their set, which ends with the job
use tokio::task::JoinSet;

/// A job. Dropping it kills all of it.
#[derive(Debug)]
pub struct Job {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.task.abort();
        if self.status().ended.is_empty() {
            self.shared.update(|live| {
                live.status.ended = "killed with its session".to_owned();
                live.status.waits.clear();
            });
            self.shared.beat();
        }
    }
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    writer: Writer,
    terminal: Option<Terminal>,
    cancel: Cancel,
    live: Mutex<Live>,
    /// Counts what has changed, for who waits.
    changed: watch::Sender<u64>,
    output: broadcast::Sender<Arc<[u8]>>,
}

#[derive(Debug)]
struct Live {
    status: Status,
    spool: Spool,
    screen: Option<Screen>,
}

/// What a screen shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its rows, from the top.
    pub rows: Vec<String>,
    /// Row and column of the cursor, from 1 on.
    pub cursor: (usize, usize),
    /// Its size.
    pub size: Size,
}

/// Bytes shown to who begins to look at a job without a screen.
const LOOK_BACK_BYTES: u64 = 64 * 1024;
/// Pieces of output that a slow client may be behind before it is shown the screen anew.
const BEHIND: usize = 256;
/// Pieces of input that a job may be behind before more of it is lost.
const TYPED: usize = 64;
/// How long what was typed last may take to be read.
const LAST: Duration = Duration::from_secs(1);
/// Between two tries to let a client in.
const REFUSED: Duration = Duration::from_millis(100);

impl Job {
    /// Starts the command with its output in this directory, which must be its own; at a terminal of this size, or
    /// with a pipe. The newest of its output is kept, as much as the command says. Needs a tokio runtime.
    pub fn start(command: Command, dir: &Path, size: Option<Size>) -> Result<Self, Error> {
        let failed = |error| failed("starting a background command")(error);
        let text: Vec<_> = command.argv.iter().map(|word| word.to_string_lossy()).collect();
        let status = Status::new(text.join(" "), size.is_some());
        let spool = Spool::create(dir, command.keep as u64).map_err(failed)?;
        status.write(dir).map_err(failed)?;
        let listener = link::listen(dir).map_err(failed)?;
        let command = command.keep(0).waits(Waits::Tell);
        let (command, writer, terminal) = match size {
            Some(size) => {
                let (command, terminal) = command.terminal(size).map_err(failed)?;
                (command, Writer::terminal(&terminal).map_err(failed)?, Some(terminal))
            }
            None => {
                let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
                let (reads, writes) = pipe.map_err(io::Error::from).map_err(failed)?;
                (command.reads(reads), Writer::pipe(writes).map_err(failed)?, None)
            }
        };
        let live = Mutex::new(Live { status, spool, screen: size.map(Screen::new) });
        let (changed, output) = (watch::Sender::new(0), broadcast::Sender::new(BEHIND));
        let (dir, cancel) = (dir.to_owned(), Cancel::new());
        let shared = Arc::new(Shared { dir, writer, terminal, cancel, live, changed, output });
        // tidy: allow(spawn): owned by the job, whose end aborts it
        let task = tokio::spawn(serve(Arc::clone(&shared), command, listener));
        Ok(Self { shared, task })
    }

    /// What is known of it now.
    pub fn status(&self) -> Status {
        self.shared.live().status.clone()
    }

    /// Where its output is.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// What its terminal shows, if it has one.
    pub fn shown(&self) -> Option<Shown> {
        let live = self.shared.live();
        let screen = live.screen.as_ref()?;
        Some(Shown { rows: screen.rows(), cursor: screen.cursor(), size: screen.size() })
    }

    /// Writes into what it reads; waits while it does not read.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.write(bytes).await
    }

    /// Gives its terminal another size. False: it has none.
    pub fn resize(&self, size: Size) -> io::Result<bool> {
        self.shared.resize(size)
    }

    /// Stops it by the ladder, or at once.
    pub fn stop(&self, urgency: Urgency) {
        self.shared.cancel.cancel(urgency);
    }

    /// Waits until it has ended and who looks at it was told, if it listens.
    pub async fn settled(&mut self) {
        // How it ended stands in its status.
        drop((&mut self.task).await);
    }

    /// Waits until this holds, or for this long. True when it holds.
    pub async fn until(&self, limit: Duration, holds: impl Fn(&Status) -> bool) -> bool {
        let mut changed = self.shared.changed.subscribe();
        let wait = async { while !holds(&self.status()) && changed.changed().await.is_ok() {} };
        tokio::time::timeout(limit, wait).await.is_ok()
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self) -> Option<Size> {
        self.live().screen.as_ref().map(Screen::size)
    }

    fn resize(&self, size: Size) -> io::Result<bool> {
        let mut live = self.live();
        if let (Some(terminal), Some(screen)) = (&self.terminal, &mut live.screen) {
            terminal.resize(size)?;
            screen.resize(size);
            drop(live);
            self.changed.send_modify(|count| *count += 1);
            return Ok(true);
        }
        Ok(false)
    }

    fn update(&self, change: impl FnOnce(&mut Live)) {
        change(&mut self.live());
        self.changed.send_modify(|count| *count += 1);
    }

    fn progress(&self, progress: Progress<'_>) {
        match progress {
            Progress::Output(bytes) => self.update(|live| {
                live.status.waits.clear();
                // A full disk loses scrollback, never the job: the gap shows in the numbers.
                if live.spool.push(bytes).is_err() {
                    live.status.waits = "its output cannot be written to disk".to_owned();
                }
                live.status.bytes = live.spool.end();
                live.status.said_ms = status::now_ms();
                if let Some(screen) = &mut live.screen {
                    screen.feed(bytes);
                }
                // Under the same lock as the screen: who begins to look misses nothing and sees nothing twice.
                let _nobody_looks = self.output.send(bytes.into());
            }),
            Progress::Waits(waiting) => {
                let waits = waiting.map_or_else(String::new, ToString::to_string);
                if self.live().status.waits != waits {
                    self.update(|live| live.status.waits = waits);
                    self.beat();
                }
            }
            Progress::Started(pid) => {
                self.update(|live| live.status.pid = pid);
                self.beat();
            }
            Progress::Line(_) | Progress::Stopping(_) | Progress::Killed => {}
        }
    }

    fn beat(&self) {
        // Written under the lock: what was true before is never written after what is true now.
        let mut live = self.live();
        live.status.beat_ms = status::now_ms();
        // The next beat tries again; the job does not depend on it.
        let _later = live.status.write(&self.dir);
    }

    /// Writes into what it reads. Whoever waited for that may go on; if not, it is told again.
    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write(bytes).await?;
        if !self.live().status.waits.is_empty() {
            self.update(|live| live.status.waits.clear());
        }
        Ok(())
    }

    /// What makes a terminal show what this one shows, and everything that comes after it.
    fn begin(&self) -> ([Frame; 2], broadcast::Receiver<Arc<[u8]>>) {
        let live = self.live();
        let (receiver, at) = (self.output.subscribe(), Frame::At(live.spool.end()));
        let frame = match &live.screen {
            Some(screen) => Frame::Screen(screen.size(), screen.dump().into_bytes()),
            None => {
                let from = live.spool.end().saturating_sub(LOOK_BACK_BYTES);
                let most = usize::try_from(LOOK_BACK_BYTES).unwrap_or(usize::MAX);
                let bytes = read(&self.dir, from, most).map_or_else(|_| Vec::new(), |piece| piece.bytes);
                Frame::Screen(Size::default(), bytes)
            }
        };
        ([frame, at], receiver)
    }
}

/// Runs it, beats, and serves who looks, until it has ended.
async fn serve(shared: Arc<Shared>, command: Command, listener: UnixListener) {
    let mut progress = |progress: Progress<'_>| shared.progress(progress);
    let mut running = Box::pin(run(command, shared.cancel.clone(), &mut progress));
    // tidy: allow(spawn): owned by this function, which the job owns
    let mut clients = JoinSet::new();
    let mut beat = tokio::time::interval(Duration::from_millis(JOB_BEAT_MS));
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            _ = beat.tick() => shared.beat(),
            _ = clients.join_next(), if !clients.is_empty() => {}
            asked = accept(&listener), if clients.len() < JOB_CLIENTS => {
                if let Some(stream) = asked {
                    let (hears, says) = link::halves(stream);
                    clients.spawn(attend(Arc::clone(&shared), hears, says));
                }
            }
        }
    };
    drop(running);
    shared.update(|live| {
        live.status.ended = how(&ended);
        live.status.waits.clear();
    });
    shared.beat();
    // Who looks is told, if it listens.
    let told = async { while clients.join_next().await.is_some() {} };
    let _who_does_not_listen = tokio::time::timeout(Duration::from_secs(1), told).await;
}

/// The next client. Where none can be let in for now, as with too many files open, it is tried again after a while.
async fn accept(listener: &UnixListener) -> Option<UnixStream> {
    if let Ok((stream, _)) = listener.accept().await {
        return Some(stream);
    }
    tokio::time::sleep(REFUSED).await;
    None
}

/// One client, until it or the job is gone. It is heard whatever it is being shown, and whether or not the job reads.
async fn attend(shared: Arc<Shared>, hears: Hears, says: Says) -> io::Result<()> {
    let (typed, input) = mpsc::channel(TYPED);
    let mut fed = std::pin::pin!(feed(&shared, input));
    tokio::select! {
        biased;
        heard = obey(&shared, hears, typed) => {
            heard?;
            // What it typed last is still written, if it is read.
            tokio::time::timeout(LAST, fed).await.unwrap_or(Ok(()))
        }
        fed = &mut fed => fed,
        shown = show(&shared, says) => shown,
    }
}

/// Does what a client says. What is typed faster than the job reads for long is lost, as at any terminal.
async fn obey(shared: &Shared, mut hears: Hears, typed: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    while let Some(frame) = hears.next().await? {
        match frame {
            Frame::Input(bytes) => drop(typed.try_send(bytes)),
            Frame::Resize(size) => drop(shared.resize(size)?),
            Frame::Stop => shared.cancel.cancel(Urgency::Graceful),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(())
}

/// Writes what was typed.
async fn feed(shared: &Shared, mut input: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(bytes) = input.recv().await {
        shared.write(&bytes).await?;
    }
    Ok(())
}

/// Shows what there is and what comes, until it has ended.
async fn show(shared: &Shared, mut says: Says) -> io::Result<()> {
    let mut changed = shared.changed.subscribe();
    let mut output = begin(shared, &mut says).await?;
    let mut size = shared.size();
    loop {
        let ended = shared.live().status.ended.clone();
        if size != shared.size() {
            // Everybody who looks sees the same screen, whoever made it another size.
            output = begin(shared, &mut says).await?;
            size = shared.size();
        }
        tokio::select! {
            biased;
            piece = output.recv() => match piece {
                Ok(bytes) => says.say(&Frame::Output(bytes.to_vec())).await?,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    output = begin(shared, &mut says).await?;
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            () = std::future::ready(()), if !ended.is_empty() => return says.say(&Frame::Ended(ended)).await,
            _ = changed.changed() => {}
        }
    }
}

/// Shows how it is now, and what comes after.
async fn begin(shared: &Shared, says: &mut Says) -> io::Result<broadcast::Receiver<Arc<[u8]>>> {
    let (frames, output) = shared.begin();
    for frame in &frames {
        says.say(frame).await?;
    }
    Ok(output)
}

/// How it ended, in a few words.
fn how(ended: &Result<Ended, Error>) -> String {
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return error.to_string(),
    };
    let stage = ended.stage.map_or(String::new(), |stage| format!(" by {stage}"));
    match (ended.stopped, ended.exit, ended.signal) {
        (Some(Stopped::TimedOut), ..) => format!("stopped{stage}: its time was over"),
        (Some(_), ..) => format!("stopped{stage}"),
        (None, Some(exit), _) => format!("exit status {exit}"),
        (None, None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None, None) => "ended without a status".to_owned(),
    }
}
