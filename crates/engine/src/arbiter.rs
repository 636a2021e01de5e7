//! The loop of one live session: one mailbox, one input at a time, commit, then effects.
//!
//! Decides nothing: that is [`kernel::decide`]. Starts nothing before its commit is durable. Start at [`Arbiter::run`].

use crate::commit::{self, Committed, Host};
use crate::core::Core;
use crate::engine::{Attend, Shared};
use crate::executor::{self, Finished};
use crate::guard::Held;
use crate::task::{self, Kind, Task};
use crate::tree::Present;
use crate::watch;
use contract::action::{Effect, Outcome, Run};
use contract::cancel::Urgency;
use contract::journal::{Error, Mail};
use contract::port::Sink;
use contract::session::SessionSpec;
use contract::{ActionId, Cancel, SessionId, StreamId, Timestamp, limits};
use kernel::fsm::Phase;
use kernel::{Input, Session};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch as latest};

/// What can arrive in the mailbox. Intents are not here: they wait in the inbox and are fetched when poked, so
/// outcomes and stops are never behind them.
pub(crate) enum Letter {
    /// An attempt ended.
    Outcome(Box<Finished>),
    /// There may be something in the inbox, or a slot came free.
    Poke,
    /// The process goes down.
    Stop,
    /// What is in flight is killed at once.
    Force,
    /// The lease changed hands.
    Lost,
}

/// Letters a mailbox holds; a poke that finds it full is not needed.
pub(crate) const MAILBOX: usize = 16;

/// Attempts that are over at once after which others on this thread get a turn.
const AT_ONCE: u32 = 8;

/// What was killed has ended by then, or nothing more can be done about it.
const KILLED: Duration = Duration::from_secs(5);

/// The action in flight, as this process sees it.
struct Flight {
    action: ActionId,
    attempt: u32,
    cancel: Cancel,
    now: Now,
}

/// Where an attempt is.
enum Now {
    /// On its way, in a task of its own; its outcome comes as a letter.
    Flies(Task<()>),
    /// It was over at once; the outcome waits here for its turn.
    Landed(Option<Box<Finished>>),
}

impl Flight {
    /// An attempt that was given up may still report: the next one under the same name goes on.
    fn ends_with(&self, outcome: &Outcome) -> bool {
        (self.action, self.attempt) == (outcome.action, outcome.attempt)
    }

    /// Nobody waits for its outcome any more: has it killed, and waits until nothing of it is left, if that does not
    /// take too long. Two attempts at once would write into the same files, and files are no longer guarded when the
    /// session is let go of.
    async fn give_up(self) {
        self.cancel.cancel(Urgency::Now);
        let Now::Flies(task) = self.now else { return };
        if tokio::time::timeout(KILLED, task).await.is_err() {
            tracing::warn!(action = ?self.action, attempt = self.attempt, "killed, and has not ended yet");
        }
    }
}

pub(crate) struct Arbiter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) core: Core,
    pub(crate) mailbox: mpsc::Receiver<Letter>,
    pub(crate) address: mpsc::Sender<Letter>,
    pub(crate) first: Option<Input>,
    pub(crate) opened: Option<oneshot::Sender<Result<(), Error>>>,
    /// Attempts that were over at once so far.
    pub(crate) at_once: u32,
    /// Letters that came while an outcome was waited for, in their order.
    pub(crate) aside: VecDeque<Letter>,
    pub(crate) status: latest::Sender<Status>,
    pub(crate) present: Present,
    pub(crate) _guard: Box<dyn Held>,
}

/// What the engine and its surfaces see of a live session without reading the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Status {
    /// It may start something at any moment.
    #[default]
    Lives,
    /// Its arbiter has stopped; the reason when it was not its end.
    Stopped(Option<Error>),
}

impl Arbiter {
    /// Runs until the session ends, the process stops, or the store fails. Returns why, when it was a failure.
    #[tracing::instrument(name = "arbiter", skip_all, fields(session = %self.core.state.id))]
    pub(crate) async fn run(mut self) {
        let mut flight = None;
        let failure = self.serve(&mut flight).await.err();
        // From here on nobody can leave anything here: who tries starts the session anew, once this has ended.
        self.mailbox.close();
        let mut poked = self.aside.drain(..).any(|letter| matches!(letter, Letter::Poke));
        while let Ok(letter) = self.mailbox.try_recv() {
            poked |= matches!(letter, Letter::Poke);
        }
        if let Some(flight) = flight {
            flight.give_up().await;
        }
        let sound = failure.is_none();
        let Self { shared, core, status, address, present, _guard: guard, .. } = self;
        shared.settle_down(core.state.id, &core.state, core.unsnapped(), sound).await;
        // Who waits for the end may start it again at once, in another process too: by then nothing of it may be in the
        // way, and nothing may write into its files.
        shared.ports.workspace.release(core.state.id).await;
        drop(present);
        drop(guard);
        status.send_replace(Status::Stopped(failure));
        if sound {
            shared.forget(core.state.id, &address);
        }
        if poked && sound && core.state.phase != Phase::Ended {
            shared.wake(core.state.id, attend(&core));
        }
    }

    async fn serve(&mut self, flight: &mut Option<Flight>) -> Result<(), Error> {
        let mut wake_at = None;
        // Taking over starts nothing before the inbox was heard: a cancel that waited there has the first word.
        let mut taking_over = matches!(self.first, Some(Input::Recover));
        if let Some(first) = self.first.take() {
            let hold = self.core.hold;
            self.core.hold |= taking_over;
            let done = self.step(first, Vec::new(), Vec::new(), flight).await;
            self.core.hold = hold;
            if let Some(opened) = self.opened.take() {
                // Nobody may be listening any more; the session goes on all the same.
                let _ = opened.send(done.as_ref().map(|_| ()).map_err(Clone::clone));
            }
            wake_at = done?;
            // What was read before the session was ours may have been old: only now it is known who is below it.
            let how = attend(&self.core);
            self.core.state.live_children().for_each(|child| self.shared.wake(child, how));
        }
        let mut inbox = true;
        loop {
            if std::mem::take(&mut inbox) {
                let mail = self.shared.journal.inbox(self.core.state.id).await?;
                let began = std::mem::take(&mut taking_over);
                if !mail.is_empty() {
                    wake_at = self.mail(mail, flight).await?;
                } else if began {
                    wake_at = self.step(Input::Tick, Vec::new(), Vec::new(), flight).await?;
                }
            }
            if self.over(flight.is_some()) {
                return Ok(());
            }
            wake_at = match self.next(wake_at, flight.as_mut()).await? {
                Some(Letter::Outcome(finished)) => {
                    let Finished { outcome, blobs } = *finished;
                    flight.take_if(|flight| flight.ends_with(&outcome));
                    self.step(Input::Outcome(Box::new(outcome)), blobs, Vec::new(), flight).await?
                }
                Some(Letter::Poke) => {
                    inbox = true;
                    self.step(Input::Tick, Vec::new(), Vec::new(), flight).await?
                }
                Some(Letter::Stop) => {
                    self.core.hold = true;
                    self.step(Input::Stop, Vec::new(), Vec::new(), flight).await?
                }
                Some(Letter::Force) => {
                    if let Some(flight) = flight.as_ref() {
                        flight.cancel.cancel(Urgency::Now);
                    }
                    wake_at
                }
                Some(Letter::Lost) => return Err(Error::Fenced { session: self.core.state.id }),
                None => self.step(Input::Tick, Vec::new(), Vec::new(), flight).await?,
            };
        }
    }

    /// The next letter, or that the time has come. What others sent goes before what came of this session's own work.
    async fn next(
        &mut self,
        wake_at: Option<Timestamp>,
        flight: Option<&mut Flight>,
    ) -> Result<Option<Letter>, Error> {
        if let Some(letter) = self.aside.pop_front() {
            return Ok(Some(letter));
        }
        let flying = flight.is_some();
        if let Some(Flight { now: Now::Landed(finished), .. }) = flight {
            // Work that is always over at once must not keep others from running.
            self.at_once += 1;
            if self.at_once.is_multiple_of(AT_ONCE) {
                tokio::task::yield_now().await;
            }
            let letter = self.mailbox.try_recv().ok();
            if let Some(letter) = letter.or_else(|| finished.take().map(Letter::Outcome)) {
                return Ok(Some(letter));
            }
        }
        let letter = tokio::select! {
            biased;
            letter = self.mailbox.recv() => letter,
            () = until(&self.shared, wake_at) => None,
            () = raised_elsewhere(&self.shared, &self.core.state) => {
                commit::load_ledger(&*self.shared, self.core.state.root()).await?;
                None
            }
        };
        let late = |at: Timestamp| self.shared.ports.clock.now().since(at) > limits::OVERDUE_MS;
        if flying && wake_at.is_some_and(late) { Ok(self.after_sleep(letter).await) } else { Ok(letter) }
    }

    /// Nobody was awake at the moment that was waited for: the process was stopped, or the machine slept. What is in
    /// flight slept as well, and gets the time to say that it is over before anybody calls it silent.
    async fn after_sleep(&mut self, first: Option<Letter>) -> Option<Letter> {
        let mut came = first;
        let patience = tokio::time::sleep(Duration::from_millis(limits::OVERDUE_MS));
        tokio::pin!(patience);
        loop {
            match came {
                Some(Letter::Outcome(_) | Letter::Stop | Letter::Force | Letter::Lost) => return came,
                Some(other) => self.aside.push_back(other),
                None => {}
            }
            came = tokio::select! {
                biased;
                letter = self.mailbox.recv() => Some(letter?),
                () = &mut patience => return self.aside.pop_front(),
            };
        }
    }

    fn over(&self, flying: bool) -> bool {
        !flying && (self.core.hold || self.core.state.phase == Phase::Ended)
    }

    async fn mail(
        &mut self,
        mail: Vec<Mail>,
        flight: &mut Option<Flight>,
    ) -> Result<Option<Timestamp>, Error> {
        let rows = mail.iter().map(|m| m.row).collect();
        let letters = mail.into_iter().map(|m| m.intent).collect();
        self.step(Input::Inbox(letters), Vec::new(), rows, flight).await
    }

    /// Decide, commit, dispatch.
    async fn step(
        &mut self,
        input: Input,
        blobs: Vec<Vec<u8>>,
        rows: Vec<u64>,
        flight: &mut Option<Flight>,
    ) -> Result<Option<Timestamp>, Error> {
        let Committed { step, blobs } =
            commit::step(&*self.shared, &mut self.core, input, blobs, rows).await?;
        self.shared.keep(blobs);
        self.dispatch(step.effects, flight).await;
        if step.snapshot {
            self.shared.snapshot(&self.core.state).await;
        }
        self.shared.snapshot_books(&step.snapshots).await;
        Ok(step.wake_at)
    }

    async fn dispatch(&self, effects: Vec<Effect>, flight: &mut Option<Flight>) {
        let mut launched = None;
        for effect in effects {
            match effect {
                // Last: it may take a while, and the others are waited for.
                Effect::Run(run) => launched = Some(run),
                Effect::Cancel { action, now } => {
                    if let Some(flight) = flight.as_ref().filter(|f| f.action == action) {
                        flight.cancel.cancel(if now { Urgency::Now } else { Urgency::Graceful });
                    }
                }
                Effect::Wake(session) => {
                    self.shared.wake(session, attend(&self.core));
                }
            }
        }
        if let Some(run) = launched {
            // What is launched while another attempt flies takes its place: that one was given up.
            if let Some(old) = flight.take() {
                old.give_up().await;
            }
            *flight = Some(self.launch(*run).await);
        }
    }

    /// Starts the attempt here and now; what is not over at once goes on in a task of its own.
    async fn launch(&self, run: Run) -> Flight {
        let (cancel, action, attempt) = (Cancel::new(), run.action, run.attempt);
        let (shared, address, token) = (Arc::clone(&self.shared), self.address.clone(), cancel.clone());
        let sink: Arc<dyn Sink> = Arc::new(shared.progress_of(&run));
        let mut running = Box::pin(async move { executor::execute(&shared.ports, run, token, sink).await });
        let first = poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
        let now = match first {
            Poll::Ready(finished) => Now::Landed(Some(Box::new(finished))),
            Poll::Pending => {
                let task = task::spawn(Kind::Action, async move {
                    let finished = running.await;
                    // A closed mailbox means that the arbiter has stopped: recovery will deal with the action.
                    let _ = address.send(Letter::Outcome(Box::new(finished))).await;
                });
                Now::Flies(task)
            }
        };
        Flight { action, attempt, cancel, now }
    }
}

/// How others are attended by a session like this.
fn attend(core: &Core) -> Attend {
    if core.hold { Attend::Settle } else { Attend::GoOn }
}

/// How often who stopped for want of budget looks whether another process raised it.
const LOOK: Duration = Duration::from_secs(1);

/// Resolves when a session that stopped for want of budget may find some: its tree's ledger was written to by another
/// process, whose wake-ups end at its own sessions.
async fn raised_elsewhere(shared: &Shared, state: &Session) {
    if state.pause.as_ref().is_none_or(|pause| pause.why != "budget") {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let known = shared.governor().peek(state.root()).map_or(0, |ledger| ledger.seq);
        if shared.journal.head(StreamId::Tree(state.root())).await.is_ok_and(|head| head.seq > known) {
            return;
        }
    }
}

/// The longest sleep without a look at the wall clock: a machine that was asleep oversleeps no more than this.
const NAP_MS: u64 = 5_000;

/// Sleeps until the wall clock has reached this moment; for ever when there is none.
async fn until(shared: &Shared, at: Option<Timestamp>) {
    let Some(at) = at else { return std::future::pending().await };
    loop {
        let left = at.since(shared.ports.clock.now());
        tokio::time::sleep(Duration::from_millis(left.clamp(1, NAP_MS))).await;
        if left <= NAP_MS {
            return;
        }
    }
}

/// The first input of a session that is to exist.
pub(crate) fn opening(spec: SessionSpec) -> Input {
    Input::Open(Box::new(spec))
}

/// A place from which everything about a session can be followed.
pub(crate) fn follow(shared: &Shared, id: SessionId, after: u64) -> watch::Watch {
    watch::Watch::new(Arc::clone(&shared.journal), StreamId::Session(id), after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Amount;
    use contract::action::End;

    #[tokio::test]
    async fn a_late_word_of_an_attempt_that_was_given_up_does_not_end_the_next_one() {
        let action = ActionId { turn: 1, step: 2 };
        let now = Now::Flies(task::spawn(Kind::Action, std::future::pending()));
        let flight = Flight { action, attempt: 2, cancel: Cancel::new(), now };
        let outcome = |attempt| Outcome::new(action, attempt, End::Unknown, Amount::ZERO);
        assert!(!flight.ends_with(&outcome(1)));
        assert!(flight.ends_with(&outcome(2)));
    }
}
