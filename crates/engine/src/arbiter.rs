//! The loop of one live session: one mailbox, one input at a time, commit, then effects.
//!
//! Decides nothing: that is [`kernel::decide`]. Starts nothing before its commit is durable. Start at [`Arbiter::run`].

use crate::core::{Core, Moment, Step};
use crate::engine::{Attend, Shared};
use crate::executor::{self, Finished};
use crate::guard::Held;
use crate::task::{self, Kind, Task};
use crate::{store, watch};
use contract::action::{Effect, End, Outcome, Run};
use contract::cancel::Urgency;
use contract::journal::{Class, Error, Mail};
use contract::port::Sink;
use contract::session::SessionSpec;
use contract::{ActionId, Cancel, Fault, SessionId, StreamId, Timestamp};
use kernel::fsm::Phase;
use kernel::{Input, Session};
use std::sync::Arc;
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
    /// The lease changed hands.
    Lost,
}

/// Letters a mailbox holds; a poke that finds it full is not needed.
pub(crate) const MAILBOX: usize = 16;

/// Times a conflict is answered by reading again before the session is given up.
const RELOADS: u32 = 8;

/// The action in flight, as this process sees it.
struct Flight {
    action: ActionId,
    attempt: u32,
    cancel: Cancel,
    _task: Task<()>,
}

impl Flight {
    /// An attempt that was given up may still report: the next one under the same name goes on.
    fn ends_with(&self, outcome: &Outcome) -> bool {
        (self.action, self.attempt) == (outcome.action, outcome.attempt)
    }
}

pub(crate) struct Arbiter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) core: Core,
    pub(crate) mailbox: mpsc::Receiver<Letter>,
    pub(crate) address: mpsc::Sender<Letter>,
    pub(crate) first: Option<Input>,
    pub(crate) opened: Option<oneshot::Sender<Result<(), Error>>>,
    pub(crate) status: latest::Sender<Status>,
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
        if let Some(flight) = &flight {
            flight.cancel.cancel(Urgency::Now);
        }
        // From here on nobody can leave anything here: who tries starts the session anew, once this has ended.
        self.mailbox.close();
        let mut poked = false;
        while let Ok(letter) = self.mailbox.try_recv() {
            poked |= matches!(letter, Letter::Poke);
        }
        let sound = failure.is_none();
        let Self { shared, core, status, address, _guard: guard, .. } = self;
        shared.settle_down(core.state.id, &core.state, core.unsnapped(), sound).await;
        // Who waits for the end may start it again at once: by then nothing of it may be in the way.
        drop(flight);
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
        if let Some(first) = self.first.take() {
            let done = self.step(first, Vec::new(), Vec::new(), flight).await;
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
                if !mail.is_empty() {
                    wake_at = self.mail(mail, flight).await?;
                }
            }
            if self.over(flight.is_some()) {
                return Ok(());
            }
            let letter = tokio::select! {
                letter = self.mailbox.recv() => letter,
                () = until(&self.shared, wake_at) => None,
            };
            wake_at = match letter {
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
                Some(Letter::Lost) => return Err(Error::Fenced { session: self.core.state.id }),
                None => self.step(Input::Tick, Vec::new(), Vec::new(), flight).await?,
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

    /// Decide, commit, dispatch. A conflict means that somebody else wrote: read again, decide again.
    async fn step(
        &mut self,
        mut input: Input,
        mut blobs: Vec<Vec<u8>>,
        rows: Vec<u64>,
        flight: &mut Option<Flight>,
    ) -> Result<Option<Timestamp>, Error> {
        for reload in 0..=RELOADS {
            if reload > 0 {
                self.reload().await?;
            }
            match self.attempt(input.clone(), blobs.clone(), rows.clone()).await {
                Ok(step) => {
                    self.shared.keep(blobs);
                    self.dispatch(step.effects, flight);
                    if step.snapshot {
                        self.shared.snapshot(&self.core.state).await;
                    }
                    return Ok(step.wake_at);
                }
                Err(error) if error.class() == Class::Retry && reload < RELOADS => {}
                Err(Error::Invalid(why)) if reload < RELOADS => {
                    // A record that the store refuses would come again with every resume.
                    input = refused(&input, &why).ok_or(Error::Invalid(why))?;
                    blobs = Vec::new();
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy(format!("session {} could not be written", self.core.state.id)))
    }

    async fn attempt(&mut self, input: Input, blobs: Vec<Vec<u8>>, rows: Vec<u64>) -> Result<Step, Error> {
        let (step, commit) = loop {
            self.shared.ensure_ledger(&self.core.state).await?;
            // Held from the decision until the batch is queued: the ledger's events queue in the order they were decided.
            let mut governor = self.shared.governor();
            if self.core.state.seq > 0 && governor.peek(self.core.state.root()).is_none() {
                continue;
            }
            let moment =
                Moment { now: self.shared.ports.clock.now(), random: self.shared.ports.clock.random() };
            let mut step =
                self.core.step(&mut governor, input, moment).map_err(|e| Error::Corrupt(e.to_string()))?;
            step.batch.blobs = blobs;
            step.batch.consume = rows;
            let commit =
                (!step.is_empty()).then(|| self.shared.journal.append(std::mem::take(&mut step.batch)));
            break (step, commit);
        };
        if let Some(commit) = commit
            && let Err(error) = commit.await
        {
            let woken = {
                let mut governor = self.shared.governor();
                governor.forget(self.core.state.root());
                governor.release(self.core.state.id)
            };
            self.shared.poke_all(woken);
            return Err(error);
        }
        Ok(step)
    }

    async fn reload(&mut self) -> Result<(), Error> {
        let id = self.core.state.id;
        let state = store::session(&*self.shared.journal, id).await?.unwrap_or_else(|| Session::new(id));
        self.core.state = state;
        self.shared.load_ledger(self.core.state.root()).await?;
        self.shared.governor().keep(&self.core.state);
        Ok(())
    }

    fn dispatch(&self, effects: Vec<Effect>, flight: &mut Option<Flight>) {
        for effect in effects {
            match effect {
                Effect::Run(run) => *flight = Some(self.launch(*run)),
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
    }

    fn launch(&self, run: Run) -> Flight {
        let (cancel, action, attempt) = (Cancel::new(), run.action, run.attempt);
        let (shared, address, token) = (Arc::clone(&self.shared), self.address.clone(), cancel.clone());
        let sink: Arc<dyn Sink> = Arc::new(shared.progress_of(run.session, action));
        let task = task::spawn(Kind::Action, async move {
            let finished = executor::execute(&shared.ports, run, token, sink).await;
            // A closed mailbox means that the arbiter has stopped: recovery will deal with the action.
            let _ = address.send(Letter::Outcome(Box::new(finished))).await;
        });
        Flight { action, attempt, cancel, _task: task }
    }
}

/// How others are attended by a session like this.
fn attend(core: &Core) -> Attend {
    if core.hold { Attend::Settle } else { Attend::GoOn }
}

/// The outcome to put on record when the store refuses the real one (too large a record): that it failed, and why.
fn refused(input: &Input, why: &str) -> Option<Input> {
    let Input::Outcome(outcome) = input else { return None };
    let what = format!("the outcome of action {} cannot be recorded: {why}", outcome.action);
    let end = End::Failed(Fault::new(contract::Kind::Permanent, "unrecordable", what));
    let known = matches!(&outcome.end, End::Failed(fault) if fault.code == "unrecordable");
    (!known).then(|| Input::Outcome(Box::new(Outcome { end, ..(**outcome).clone() })))
}

/// Sleeps until the wall clock has reached this moment; for ever when there is none.
async fn until(shared: &Shared, at: Option<Timestamp>) {
    match at {
        Some(at) => {
            tokio::time::sleep(Duration::from_millis(at.since(shared.ports.clock.now()).max(1))).await
        }
        None => std::future::pending().await,
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

    #[tokio::test]
    async fn a_late_word_of_an_attempt_that_was_given_up_does_not_end_the_next_one() {
        let action = ActionId { turn: 1, step: 2 };
        let task = task::spawn(Kind::Action, std::future::pending());
        let flight = Flight { action, attempt: 2, cancel: Cancel::new(), _task: task };
        let outcome = |attempt| Outcome { action, attempt, end: End::Unknown, used: Amount::ZERO };
        assert!(!flight.ends_with(&outcome(1)));
        assert!(flight.ends_with(&outcome(2)));
    }

    #[test]
    fn an_outcome_that_cannot_be_recorded_becomes_a_failure_once() {
        let action = ActionId { turn: 1, step: 2 };
        let outcome =
            Outcome { action, attempt: 1, end: End::Unknown, used: Amount { tokens: 7, ..Amount::ZERO } };
        let failed = refused(&Input::Outcome(Box::new(outcome)), "too large").unwrap();
        let Input::Outcome(outcome) = &failed else { panic!("{failed:?}") };
        assert!(
            matches!(&outcome.end, End::Failed(fault) if fault.what.contains("too large")),
            "{outcome:?}"
        );
        assert_eq!(outcome.used.tokens, 7, "what was spent stays spent");
        assert_eq!(refused(&failed, "still"), None);
        assert_eq!(refused(&Input::Tick, "too large"), None);
    }
}
