//! Follows one run: reads output and reports, and climbs the stop ladder when told to or when time is up.
//! Knows nothing of how the command was started (`run.rs`). Start at [`Watch::follow`].

use crate::capture::{Captured, Lines};
use crate::command::{Command, Grace};
use crate::record::Record;
use crate::run::{Error, Progress, Stage, failed};
use crate::wire::{Order, Report, Step};
use contract::cancel::{Cancel, Urgency};
use contract::limits::{OUTPUT_DRAIN_MS, STOP_KILL_MS};
use contract::tool::Stopped;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep_until};

pub(crate) struct Watch<'a> {
    pub(crate) control: UnixStream,
    pub(crate) reports: Vec<u8>,
    pub(crate) stop: Stop,
    pub(crate) outputs: [Stream; 2],
    pub(crate) end: End,
    pub(crate) record: Option<&'a Record>,
    pub(crate) progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
}

impl Watch<'_> {
    /// Until everything has ended and all output is read.
    pub(crate) async fn follow(&mut self, cancel: &Cancel) -> Result<(), Error> {
        while !(self.end.clean.is_some() && self.outputs.iter().all(|output| output.pipe.is_none())) {
            let [output, stderr] = &mut self.outputs;
            let over = self.end.clean.is_some();
            let wanted = self.stop.listens().filter(|_| self.end.status.is_none() && !over);
            tokio::select! {
                n = output.read() => output.take(n, self.progress),
                n = stderr.read() => stderr.take(n, self.progress),
                read = self.control.read_buf(&mut self.reports), if !over => {
                    if read.unwrap_or(0) == 0 {
                        return Err(Error::Lost { program: String::new() });
                    }
                    self.hear()?;
                }
                () = until(self.stop.due) => {
                    if over {
                        // Someone outside the tree holds the pipe; what it writes is not this command's output.
                        return Ok(());
                    }
                    if self.stop.stage == Some(Stage::Kill) || self.end.status.is_some() {
                        return Err(Error::Lost { program: String::new() });
                    }
                    self.climb(Stopped::TimedOut, false);
                }
                () = reached(cancel, wanted) => {
                    let now = cancel.urgency() == Some(Urgency::Now);
                    self.climb(Stopped::Cancelled, now);
                }
            }
        }
        Ok(())
    }

    fn climb(&mut self, why: Stopped, now: bool) {
        let order = self.stop.climb(why, now);
        if let Some(stage) = self.stop.stage {
            (self.progress)(Progress::Stopping(stage));
        }
        // One byte always fits; a warden that is gone is noticed by the next read.
        let _gone = self.control.try_write(&[order as u8]);
    }

    fn hear(&mut self) -> Result<(), Error> {
        while let Some((report, _)) = self.reports.split_first_chunk::<{ Report::SIZE }>() {
            let report = Report::decode(*report);
            self.reports.drain(..Report::SIZE);
            match report {
                Some(Report::Started { pid, warden }) => {
                    let noted = self.record.map_or(Ok(()), |record| record.started(pid, warden));
                    noted.map_err(failed("writing its record"))?;
                }
                Some(Report::Ended { status }) => {
                    self.end.status = Some(status);
                    self.stop.due = Some(Instant::now() + Duration::from_millis(2 * STOP_KILL_MS));
                }
                Some(Report::Clean { killed, left }) => {
                    self.end.survivors = killed.unsigned_abs();
                    self.end.clean = Some(left.unsigned_abs());
                    self.stop.due = Some(Instant::now() + Duration::from_millis(OUTPUT_DRAIN_MS));
                }
                Some(Report::Failed { step, errno }) => {
                    let source = io::Error::from_raw_os_error(errno);
                    return Err(match step {
                        Step::Session => Error::System { doing: "making a session", source },
                        Step::Directory => Error::Directory { cwd: String::new(), source },
                        Step::Exec => Error::Exec { program: String::new(), source },
                    });
                }
                None => return Err(Error::Lost { program: String::new() }),
            }
        }
        Ok(())
    }
}

/// Bytes read from a pipe at once: the size of a Linux pipe.
const CHUNK: usize = 64 * 1024;

pub(crate) struct Stream {
    pipe: Option<Receiver>,
    chunk: Box<[u8]>,
    pub(crate) captured: Captured,
    lines: Lines,
}

impl Stream {
    pub(crate) fn new(pipe: Option<Receiver>, keep: usize) -> Self {
        let size = if pipe.is_some() { CHUNK } else { 0 };
        let chunk = vec![0; size].into_boxed_slice();
        Self { pipe, chunk, captured: Captured::new(keep), lines: Lines::default() }
    }

    /// Reads once; never resolves when there is nothing to read from.
    async fn read(&mut self) -> usize {
        match self.pipe.as_mut() {
            // A pipe has no errors but being closed.
            Some(pipe) => pipe.read(&mut self.chunk).await.unwrap_or(0),
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, n: usize, progress: &mut (dyn FnMut(Progress<'_>) + Send)) {
        self.captured.push(&self.chunk[..n]);
        self.lines.push(&self.chunk[..n], |line| progress(Progress::Line(line)));
        if n == 0 {
            self.pipe = None;
            self.lines.finish(|line| progress(Progress::Line(line)));
        }
    }
}

/// What the warden has told so far.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) status: Option<i32>,
    pub(crate) survivors: u32,
    /// Told that all is killed; the number is what could not be.
    pub(crate) clean: Option<u32>,
}

/// Where on the stop ladder a run is.
pub(crate) struct Stop {
    pub(crate) why: Option<Stopped>,
    pub(crate) stage: Option<Stage>,
    /// When the next step is due.
    due: Option<Instant>,
    grace: Grace,
}

impl Stop {
    pub(crate) fn new(command: &Command, start: Instant) -> Self {
        // Beyond some centuries an instant overflows: no deadline then.
        let due = command.timeout_ms.and_then(|ms| start.checked_add(Duration::from_millis(ms)));
        Self { why: None, stage: None, due, grace: command.grace }
    }

    /// The next step, or straight to the last one.
    fn climb(&mut self, why: Stopped, now: bool) -> Order {
        self.why.get_or_insert(why);
        let (stage, order, wait_ms) = match self.stage {
            None if !now => (Stage::Interrupt, Order::Interrupt, self.grace.int_ms),
            Some(Stage::Interrupt) if !now => (Stage::Terminate, Order::Terminate, self.grace.term_ms),
            // The warden itself waits this long for the killed to be gone; twice that means it is gone too.
            _ => (Stage::Kill, Order::Kill, 2 * STOP_KILL_MS),
        };
        self.stage = Some(stage);
        self.due = Some(Instant::now() + Duration::from_millis(wait_ms));
        order
    }

    /// The urgency that would change something now.
    fn listens(&self) -> Option<Urgency> {
        match self.stage {
            None => Some(Urgency::Graceful),
            Some(Stage::Interrupt | Stage::Terminate) => Some(Urgency::Now),
            Some(Stage::Kill) => None,
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn reached(cancel: &Cancel, wanted: Option<Urgency>) {
    match wanted {
        Some(urgency) => cancel.reached(urgency).await,
        None => std::future::pending().await,
    }
}
