//! Follows one run: reads output and reports, and climbs the stop ladder when told to, when time is up, or when it
//! waits for input that nobody can give.
//! Knows nothing of how the command was started (`run.rs`). Start at [`Watch::follow`].

use crate::capture::{Captured, Lines};
use crate::command::{Command, Grace, Waits};
use crate::flow::Flow;
use crate::keeper::Warden;
use crate::patience::{Patience, is_noise};
use crate::record::Record;
use crate::run::{Error, Progress, Stage, failed};
use crate::waiting::{Evidence, Waiting};
use crate::wire::{Order, Report, Step};
use contract::cancel::{Cancel, Urgency};
use contract::limits::{INPUT_LOOK_MS, OUTPUT_DRAIN_MS, STOP_KILL_MS};
use contract::tool::Stopped;
use rustix::process::Pid;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until};

pub(crate) struct Watch<'a> {
    pub(crate) control: UnixStream,
    pub(crate) reports: Vec<u8>,
    pub(crate) stop: Stop,
    pub(crate) silence: Silence,
    pub(crate) outputs: [Stream; 2],
    pub(crate) end: End,
    pub(crate) record: Option<&'a Record>,
    pub(crate) warden: Option<Warden>,
    pub(crate) progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    pub(crate) gate: Way,
}

/// What serves the command's way out, if it has any. Never ends.
pub(crate) type Way = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Watch<'_> {
    /// Until everything has ended and all output is read.
    pub(crate) async fn follow(&mut self, cancel: &Cancel) -> Result<(), Error> {
        while !(self.end.clean.is_some() && self.outputs.iter().all(|output| output.pipe.is_none())) {
            let [output, stderr] = &mut self.outputs;
            let over = self.end.clean.is_some();
            let wanted = self.stop.listens().filter(|_| self.end.status.is_none() && !over);
            let look = self.silence.next.filter(|_| self.stop.stage.is_none() && !over);
            tokio::select! {
                n = output.read() => {
                    let words = output.take(n, self.progress);
                    self.heard(words);
                }
                n = stderr.read() => {
                    let mut lines = |progress: Progress<'_>| {
                        if !matches!(progress, Progress::Output(_)) {
                            (self.progress)(progress);
                        }
                    };
                    let words = stderr.take(n, &mut lines);
                    self.heard(words);
                }
                read = self.control.read_buf(&mut self.reports), if !over => {
                    if read.unwrap_or(0) == 0 {
                        return Err(Error::Lost { program: String::new() });
                    }
                    self.hear()?;
                }
                () = &mut self.gate => {}
                () = until(look) => self.look(),
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

    /// It wrote something; `words` when that said something.
    fn heard(&mut self, words: bool) {
        if words {
            self.stop.heard();
        }
        // What it says on being stopped does not undo why.
        if self.stop.stage.is_none() {
            self.silence.broken();
        }
    }

    /// It has been silent for a while: does it wait for input?
    fn look(&mut self) {
        let before = self.silence.waited.take();
        self.silence.waited = self.silence.look();
        match (self.silence.waits, &self.silence.waited) {
            (Waits::Tell, None) if before.is_none() => {}
            (Waits::Tell, waited) => (self.progress)(Progress::Waits(waited.as_ref())),
            (Waits::Stop, Some(_)) => self.climb(Stopped::NeedsInput, false),
            (Waits::Stop, None) => {}
        }
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
                    if self.warden.as_ref().is_none_or(|known| known.stat.pid.as_raw_pid() != warden) {
                        self.warden = Warden::find(warden);
                    }
                    let known = self.warden.as_ref();
                    let noted = self.record.map_or(Ok(()), |record| record.started(pid, known));
                    noted.map_err(failed("writing its record"))?;
                    self.silence.warden = Pid::from_raw(warden);
                    (self.progress)(Progress::Started(pid));
                }
                Some(Report::Ended { status }) => {
                    self.end.status = Some(status);
                    self.stop.last(Duration::from_millis(2 * STOP_KILL_MS));
                }
                Some(Report::Clean { killed, left }) => {
                    self.end.survivors = killed.unsigned_abs();
                    self.end.clean = Some(left.unsigned_abs());
                    self.stop.last(Duration::from_millis(OUTPUT_DRAIN_MS));
                    if self.stop.stage == Some(Stage::Kill) && left == 0 {
                        (self.progress)(Progress::Killed);
                    }
                }
                Some(Report::Failed { step, errno }) => {
                    let source = io::Error::from_raw_os_error(errno);
                    return Err(match step {
                        Step::Session => Error::System { doing: "making a session", source },
                        Step::Directory => Error::Directory { cwd: String::new(), source },
                        Step::Exec => Error::Exec { program: String::new(), source },
                        Step::Namespaces => Error::Confine { layer: "namespaces".to_owned(), source },
                        Step::Landlock => Error::Confine { layer: "landlock".to_owned(), source },
                        Step::Seccomp => Error::Confine { layer: "seccomp".to_owned(), source },
                        Step::Limits => Error::Confine { layer: "limits".to_owned(), source },
                        Step::Mount(number) => Error::Mount { number: number.into(), source },
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
    pipe: Option<Flow>,
    chunk: Box<[u8]>,
    pub(crate) captured: Captured,
    lines: Lines,
}

impl Stream {
    pub(crate) fn new(pipe: Option<Flow>, keep: usize) -> Self {
        let size = if pipe.is_some() { CHUNK } else { 0 };
        let chunk = vec![0; size].into_boxed_slice();
        Self { pipe, chunk, captured: Captured::new(keep), lines: Lines::default() }
    }

    /// Reads once; never resolves when there is nothing to read from.
    async fn read(&mut self) -> usize {
        match self.pipe.as_ref() {
            // A pipe has no errors but being closed.
            Some(pipe) => pipe.read(&mut self.chunk).await,
            None => std::future::pending().await,
        }
    }

    /// Passes on what was read. True when a line of it said something.
    fn take(&mut self, n: usize, progress: &mut (dyn FnMut(Progress<'_>) + Send)) -> bool {
        let mut words = false;
        let mut line = |line: &str| {
            words = words || !is_noise(line);
            progress(Progress::Line(line));
        };
        self.captured.push(&self.chunk[..n]);
        self.lines.push(&self.chunk[..n], &mut line);
        if n == 0 {
            self.pipe = None;
            self.lines.finish(&mut line);
        } else {
            progress(Progress::Output(&self.chunk[..n]));
        }
        words
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

/// What is known of a command that says nothing.
pub(crate) struct Silence {
    waits: Waits,
    /// Who waits, once that is certain.
    pub(crate) waited: Option<Waiting>,
    warden: Option<Pid>,
    evidence: Evidence,
    start: Instant,
    /// When to look next.
    next: Option<Instant>,
}

impl Silence {
    pub(crate) fn new(command: &Command, start: Instant) -> Self {
        let waits = command.waits;
        let mut silence =
            Self { waits, waited: None, warden: None, evidence: Evidence::default(), start, next: None };
        silence.broken();
        silence
    }

    fn broken(&mut self) {
        self.waited = None;
        self.evidence = Evidence::default();
        self.next = Some(Instant::now() + Duration::from_millis(INPUT_LOOK_MS));
    }

    /// `Some` when it is certain.
    fn look(&mut self) -> Option<Waiting> {
        self.next = Some(Instant::now() + Duration::from_millis(INPUT_LOOK_MS));
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.evidence.look(self.warden?, now_ms)
    }
}

/// Where on the stop ladder a run is.
pub(crate) struct Stop {
    pub(crate) why: Option<Stopped>,
    pub(crate) stage: Option<Stage>,
    /// When the next step is due.
    due: Option<Instant>,
    grace: Grace,
    start: Instant,
    patience: Option<Patience>,
}

impl Stop {
    pub(crate) fn new(command: &Command, start: Instant) -> Self {
        let patience = command.patience;
        // Beyond some centuries an instant overflows: no deadline then.
        let due = patience.and_then(|patience| start.checked_add(Duration::from_millis(patience.base_ms)));
        Self { why: None, stage: None, due, grace: command.grace, start, patience }
    }

    /// It has ended: what is left has this long, whatever is said meanwhile.
    fn last(&mut self, time: Duration) {
        self.due = Some(Instant::now() + time);
        self.patience = None;
    }

    /// It said something, which may buy it time.
    fn heard(&mut self) {
        let (Some(patience), Some(due), None) = (self.patience, self.due, self.stage) else { return };
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let later = patience.heard(ms(due - self.start), ms(self.start.elapsed()));
        self.due = self.start.checked_add(Duration::from_millis(later));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_ended_buys_no_time_by_what_others_say() {
        let patience = Patience { base_ms: 1_000, extend_ms: 60_000, ceiling_ms: 3_600_000 };
        let command = Command::shell("x", "/").patience(patience);
        let mut stop = Stop::new(&command, Instant::now() - Duration::from_millis(900));
        stop.heard();
        assert!(stop.due.unwrap() > Instant::now() + Duration::from_millis(30_000));
        stop.last(Duration::from_millis(500));
        let due = stop.due;
        assert!(due.unwrap() < Instant::now() + Duration::from_millis(1_000));
        stop.heard();
        assert_eq!(stop.due, due);
    }
}
