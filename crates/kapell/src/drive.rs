//! Follows a tree of sessions until it ends, rests or is stopped: renders, asks, obeys signals and the clock.
//!
//! The engine does the work and the journal says what happened; this only looks on. Start at [`Drive::run`].

use crate::app::{App, Wired};
use crate::ask::Prompter;
use crate::exit::{self, Failure};
use crate::out::Pipe;
use crate::pick::short;
use crate::pressure::Pressure;
use crate::show::progress::{Progress, REDRAW};
use crate::show::stream::Stream;
use crate::signals::Signals;
use crate::tree::{Happened, Tree};
use contract::event::Event;
use contract::limits::INBOX_POLL_MS;
use contract::{BoxFuture, Fault, SessionId, Timestamp};
use engine::Attend;
use kernel::fsm::Phase;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};
use tokio::time::{Instant, sleep_until};

/// How long an orderly stop may take before the rest is killed (S5.4-1).
const STOP: Duration = Duration::from_secs(30);
/// How long it may take once everything was told to be killed: the killing, and what is put on record of it.
const FORCE: Duration = Duration::from_secs(7);
/// How long a reader who is behind is waited for once everything else has stopped.
const READER: Duration = Duration::from_secs(5);
/// Silence after which whoever should be at work is looked for.
const SILENCE: Duration = Duration::from_secs(5);
/// How long sessions below an ended one may take to end too.
const AFTERMATH_MS: u64 = 10_000;
/// How long a disk without room is waited for where nobody can be told, milliseconds.
const FULL_MS: u64 = 5_000;
/// While nothing happens before a known moment: between two redraws, and between two looks for what others write.
const CALM: Duration = Duration::from_secs(1);
/// A moment that does not come.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How following came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// Everything ended, or waits for a person.
    Settled,
    /// It was stopped, and this is the exit code.
    Stopped(u8),
    /// It broke.
    Broken(Failure),
}

/// Where records for programs go.
pub(crate) struct Lines {
    /// Standard output.
    pub(crate) pipe: Pipe,
    /// What turns events into records.
    pub(crate) stream: Stream,
}

/// A tree being followed.
pub(crate) struct Drive<'a> {
    pub(crate) app: &'a App,
    pub(crate) wired: &'a Wired,
    pub(crate) tree: Tree,
    pub(crate) progress: Progress,
    pub(crate) lines: Option<Lines>,
    pub(crate) signals: &'a mut Signals,
    /// Stop after this long.
    pub(crate) timeout: Option<Duration>,
    /// Stop where a provider's limit would be waited for.
    pub(crate) no_wait: bool,
    /// This process executes it.
    pub(crate) ours: bool,
    /// Keys of intents whose effect is not on record yet, and whose they are: before that, rest means nothing.
    pub(crate) awaited: BTreeMap<String, SessionId>,
    /// How short the machine is.
    pub(crate) pressure: Pressure,
    /// Asks on the terminal, when there is one.
    pub(crate) prompter: Option<Prompter>,
    /// What was said of children that could not be taken over: once each.
    pub(crate) left_alone: BTreeSet<String>,
}

/// What woke the loop.
enum Woken {
    Journal,
    Progress(engine::engine::Progress),
    Redraw,
    Signal(u8),
    TimeOut,
    ShutDown,
    GraceOver,
    Silence,
    Failed(contract::journal::Error),
    Typed(Option<String>),
}

/// A stop under way.
struct Stopping {
    code: u8,
    shutdown: Option<BoxFuture<'static, ()>>,
    until: Instant,
    forced: bool,
}

impl Stopping {
    /// Everything has stopped, but for a reader who is behind.
    fn hurry(&mut self) {
        self.until = self.until.min(Instant::now() + READER);
    }
}

impl Drive<'_> {
    /// Follows to the end.
    pub(crate) async fn run(&mut self) -> End {
        match self.follow().await {
            Ok(end) => end,
            Err(failure) => End::Broken(failure),
        }
    }

    async fn follow(&mut self) -> Result<End, Failure> {
        let mut stopping: Option<Stopping> = None;
        let mut deltas = self.wired.engine.progress();
        let deadline = Instant::now() + self.timeout.unwrap_or(NEVER);
        let mut heard = Instant::now();
        let mut redraw = Instant::now();
        let mut look = true;
        let mut changed = self.wired.engine.journal().changed();
        loop {
            // What a reader has no room for waits here, and what is in the journal waits there.
            let behind = self.lines.as_ref().is_some_and(|lines| lines.pipe.is_behind());
            if !behind && std::mem::take(&mut look) {
                // Taken before reading, so that what is appended meanwhile is not missed.
                changed = self.wired.engine.journal().changed();
                if self.take_in(&mut deltas).await? {
                    heard = Instant::now();
                    look = true;
                    continue;
                }
                if let Some(end) = self.at_rest(&mut stopping).await {
                    return Ok(end);
                }
            }
            let until = stopping.as_ref().map_or(deadline, |stopping| stopping.until);
            let (between_redraws, between_looks) = self.pace();
            let woken = tokio::select! {
                () = &mut changed, if !behind => Woken::Journal,
                // What other processes write is not announced.
                () = tokio::time::sleep(between_looks), if !behind => Woken::Journal,
                Ok(delta) = deltas.recv(), if !behind => Woken::Progress(delta),
                () = passed(&mut self.lines) => Woken::Journal,
                () = sleep_until(redraw) => Woken::Redraw,
                code = self.signals.next() => Woken::Signal(code),
                () = finished(&mut stopping) => Woken::ShutDown,
                () = sleep_until(until) => if stopping.is_some() { Woken::GraceOver } else { Woken::TimeOut },
                () = sleep_until(heard + SILENCE) => Woken::Silence,
                error = failed(self.wired, self.tree.root, self.ours) => Woken::Failed(error),
                line = typed(&mut self.prompter) => Woken::Typed(line),
            };
            match woken {
                Woken::Journal => look = true,
                Woken::ShutDown => {
                    look = true;
                    stopping.iter_mut().filter(|_| behind).for_each(Stopping::hurry);
                }
                Woken::Progress(delta) => self.told(&delta),
                Woken::Redraw => {
                    redraw = Instant::now() + between_redraws;
                    self.redraw(&mut stopping);
                }
                Woken::Silence => {
                    heard = Instant::now();
                    self.look_after(stopping.is_some()).await?;
                }
                Woken::Signal(code) => match &mut stopping {
                    Some(stopping) if self.ours && !stopping.forced => self.force(stopping).await,
                    Some(stopping) => return Ok(End::Stopped(stopping.code)),
                    None => stopping = Some(self.stop(code)),
                },
                Woken::TimeOut => stopping = Some(self.stop(exit::TIMEOUT)),
                Woken::GraceOver => return Ok(End::Stopped(stopping.map_or(exit::FAILURE, |s| s.code))),
                Woken::Failed(error) => {
                    self.take_in(&mut deltas).await?;
                    return Err(error.into());
                }
                Woken::Typed(line) => look |= self.typed(line).await?,
            }
        }
    }

    /// Between two redraws, and between two looks at the journal: a wait for a limit may last for hours. What this
    /// process executes is announced by the journal itself.
    fn pace(&self) -> (Duration, Duration) {
        let waits = self.tree.held_up(self.app.now());
        let poll = if waits && self.ours { CALM } else { Duration::from_millis(INBOX_POLL_MS) };
        (if waits { CALM } else { REDRAW }, poll)
    }

    /// A piece of progress. Findings and tests are lossy: what a slow reader misses stands in the result.
    fn told(&mut self, delta: &engine::engine::Progress) {
        self.progress.delta(delta);
        if let Some(lines) = &mut self.lines {
            if let Some(line) = Stream::progress(delta) {
                lines.pipe.offer(line);
            }
            for line in lines.stream.delta(&self.tree, delta) {
                lines.pipe.leave(line);
            }
        }
    }

    /// Renders what is new. True when there was something.
    async fn take_in(&mut self, deltas: &mut Receiver<engine::engine::Progress>) -> Result<bool, Failure> {
        let news = self.tree.news().await?;
        // What was said before something went on record is told before it.
        while let Some(delta) = next(deltas) {
            self.told(&delta);
        }
        for happened in &news {
            self.noted(happened);
            let blobs = &*self.wired.store;
            self.progress.happened(&self.tree, blobs, happened).await;
            if let Some(lines) = &mut self.lines
                && let Some(line) = lines.stream.record(&self.tree, blobs, happened).await
            {
                lines.pipe.leave(line);
            }
        }
        Ok(!news.is_empty())
    }

    fn noted(&mut self, happened: &Happened) {
        if let Event::Submitted { intent } = &happened.record.event {
            self.awaited.remove(&intent.key);
        }
    }

    /// Nothing is new: is that the end?
    async fn at_rest(&mut self, stopping: &mut Option<Stopping>) -> Option<End> {
        let now = self.app.now();
        if let Some(stopping) = stopping {
            return stopping.shutdown.is_none().then_some(End::Stopped(stopping.code));
        }
        let root = self.tree.root();
        let over = root.phase == Phase::Ended && now.since(root.at) > AFTERMATH_MS;
        let rests = self.awaited.is_empty() && self.tree.idle(now);
        if !over && !rests {
            self.withdraw(now);
            if self.no_wait && self.tree.held_up(now) {
                *stopping = Some(self.stop(exit::WAITING));
            }
            return None;
        }
        if self.ask(now).await {
            return None;
        }
        Some(End::Settled)
    }

    /// A question that was answered elsewhere does not stand any more, also while others work on.
    fn withdraw(&mut self, now: Timestamp) {
        if let Some(prompter) = self.prompter.as_mut().filter(|prompter| prompter.is_asking()) {
            prompter.open(&self.tree.blockers(now));
        }
    }

    /// Asks the person at the terminal, if there is one and something to ask. True when it did, or has.
    async fn ask(&mut self, now: Timestamp) -> bool {
        let Some(prompter) = &mut self.prompter else { return false };
        let blockers = self.tree.blockers(now);
        if prompter.open(&blockers) {
            return true;
        }
        self.progress.clear();
        prompter.ask(&self.tree, &*self.wired.store, &blockers).await
    }

    /// Always something to look at afterwards.
    async fn typed(&mut self, line: Option<String>) -> Result<bool, Failure> {
        let Some(prompter) = &mut self.prompter else { return Ok(true) };
        match prompter.understood(line) {
            Some(order) => {
                let said = order.blobs.iter().map(|text| String::from_utf8_lossy(text));
                let repo = self.tree.root().spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
                for text in said {
                    if let Err(failure) = self.app.secrets.refuse("answer", &text, Path::new(&repo)) {
                        self.progress.note(&failure.fault.what);
                        return Ok(true);
                    }
                }
                self.awaited.extend(order.key.clone().map(|key| (key, order.session)));
                self.wired.engine.submit(order).await?;
            }
            // Standard input has ended: nobody can be asked any more.
            None if prompter.is_over() => self.prompter = None,
            None => {}
        }
        Ok(true)
    }

    /// Looks how short the machine is. True when the disk has had no room for a while and nobody is there to make some:
    /// what is on record is whole, so it is a good moment to leave.
    fn press(&mut self) -> bool {
        let Some(looked) = self.pressure.look(self.app.now()) else { return false };
        self.wired.engine.press(looked.level);
        if let Some(note) = looked.note {
            self.progress.note(&note);
        }
        self.ours && self.prompter.is_none() && looked.full_ms >= FULL_MS
    }

    /// Draws what stands anew, and stops where the disk is full.
    fn redraw(&mut self, stopping: &mut Option<Stopping>) {
        // A line being typed must not be written over.
        if self.prompter.as_ref().is_none_or(|prompter| !prompter.is_asking()) {
            self.progress.tick(&self.tree, self.app.now());
        }
        if self.press() && stopping.is_none() {
            *stopping = Some(self.stop(exit::WAITING));
        }
    }

    /// Stops in order: nothing new starts, what runs is stopped and its end recorded.
    fn stop(&mut self, code: u8) -> Stopping {
        let id = short(self.tree.root);
        let why = match code {
            exit::TIMEOUT => "time is over",
            exit::WAITING if self.pressure.is_full() => "the disk is full",
            exit::WAITING => "not waiting for the limit",
            _ => "stopping",
        };
        let shutdown: Option<BoxFuture<'static, ()>> = match self.ours {
            true => {
                self.progress.note(&format!("{why}: what runs is being ended (again: kill it at once)"));
                self.progress.note(&format!("the session can be resumed: kapell resume {id}"));
                let engine = self.wired.engine.clone();
                Some(Box::pin(async move { engine.shutdown().await }))
            }
            false => {
                self.progress
                    .note(&format!("no longer following; the session goes on: kapell cancel {id} stops it"));
                None
            }
        };
        Stopping { code, shutdown, until: Instant::now() + STOP, forced: false }
    }

    /// Asked again: kills what does not end by itself. The next signal leaves at once.
    async fn force(&mut self, stopping: &mut Stopping) {
        self.progress.note("killing what runs (again: leave at once)");
        self.wired.engine.force().await;
        stopping.forced = true;
        stopping.until = Instant::now() + FORCE;
    }

    /// Long silence: whoever should be at work may have died with its process. Takes over what nobody holds.
    /// Who stops takes over nothing: that would wait for the shutdown, which waits for the loop this is called from.
    async fn look_after(&mut self, stopping: bool) -> Result<(), Failure> {
        if stopping {
            return Ok(());
        }
        // What was asked for and is not on record lies in an inbox that nobody may be reading any more.
        let idle: BTreeSet<SessionId> =
            self.tree.busy(self.app.now()).into_iter().chain(self.awaited.values().copied()).collect();
        for id in idle {
            let held = match self.wired.engine.attend(id, Attend::GoOn).await {
                Ok(held) => held,
                Err(fault) if id != self.tree.root => {
                    let note = left_alone(id, &fault);
                    if self.left_alone.insert(note.clone()) {
                        self.progress.note(&note);
                    }
                    // Nobody is there who could put it on record; it stays in the inbox.
                    self.awaited.retain(|_, session| *session != id);
                    continue;
                }
                Err(fault) => return Err(fault.into()),
            };
            if id != self.tree.root {
                continue;
            }
            match (held, self.ours) {
                (Ok(()), false) => {
                    self.ours = true;
                    self.progress.note("its process is gone; going on here");
                }
                (Err(lease), true) => {
                    self.ours = false;
                    self.progress.note(&format!("{} has taken it over; following", lease.owner));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What is said of a child that could not be taken over. One that was given up stays so: its parent has been told that
/// it failed, and decides. Any other is asked for again.
fn left_alone(id: SessionId, fault: &Fault) -> String {
    let Fault { what, hint, .. } = fault;
    let said = match fault.code == engine::GIVEN_UP {
        true => format!("given up: {what}"),
        false => format!("{} was not taken over, and is asked for again: {what}", short(id)),
    };
    if hint.is_empty() { said } else { format!("{said}; {hint}") }
}

/// The next piece that is there already. What a slow reader has lost is lost.
fn next(deltas: &mut Receiver<engine::engine::Progress>) -> Option<engine::engine::Progress> {
    loop {
        match deltas.try_recv() {
            Ok(delta) => return Some(delta),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
        }
    }
}

async fn finished(stopping: &mut Option<Stopping>) {
    if let Some(stopping) = stopping
        && let Some(shutdown) = &mut stopping.shutdown
    {
        shutdown.await;
        stopping.shutdown = None;
        return;
    }
    std::future::pending().await
}

/// Resolves when the root's arbiter gives up because of the store.
async fn failed(wired: &Wired, root: SessionId, ours: bool) -> contract::journal::Error {
    if ours && let Some(error) = wired.engine.stopped(root).await {
        return error;
    }
    std::future::pending().await
}

/// Waits until everything is written, but not longer than a person wants to wait for a reader.
pub(crate) async fn hand_over(pipe: Pipe, stopped: bool, signals: &mut Signals) {
    let patience = if stopped { READER } else { NEVER };
    tokio::select! {
        () = pipe.end() => {}
        () = tokio::time::sleep(patience) => {}
        _ = signals.next() => {}
    }
}

async fn passed(lines: &mut Option<Lines>) {
    match lines {
        Some(lines) => lines.pipe.pass().await,
        None => std::future::pending().await,
    }
}

async fn typed(prompter: &mut Option<Prompter>) -> Option<String> {
    match prompter {
        Some(prompter) => prompter.line().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Kind;

    #[test]
    fn only_a_child_that_was_given_up_is_said_to_be() {
        let gone = Fault::new(Kind::Permanent, engine::GIVEN_UP, "it broke down").hint("kapell verify");
        assert_eq!(left_alone(SessionId(7), &gone), "given up: it broke down; kapell verify");
        let full = Fault::new(Kind::Transient, "full", "no space left");
        let said = left_alone(SessionId(7), &full);
        assert!(said.ends_with("is asked for again: no space left") && !said.contains("given up"), "{said}");
    }
}
