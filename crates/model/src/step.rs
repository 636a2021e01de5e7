//! What can happen next, and what it changes: claims, expiries, crashes, commits, outcomes, people.
//!
//! A commit is one action, because what a worker believes changes by its own commits only; that it believes something
//! old is a state. Start at [`Action`], then [`commit`].

use crate::state::{Asked, Flight, Kept, NOW, Slot, State, Tree, View, Word};
use crate::{Config, Plant, promises, script};
use contract::action::{Effect, EffectClass, End, Outcome, Run, Work};
use contract::event::{Answer, Event, Subject};
use contract::intent::{Intent, Source, Wish};
use contract::journal::{Error, Journal};
use contract::{Amount, Digest, SessionId, Timestamp, limits};
use engine::commit::Host;
use engine::core::{Core, Moment, Step};
use engine::store;
use journal::Memory;
use kernel::fsm::{ApprovalState, Phase};
use kernel::governor::Slots;
use kernel::ledger::Ledger;
use kernel::{Governor, Input, Session};
use stateright::{Model, Property};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Something happens. Numbers are a worker, a tree, a session in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A worker takes a lease that is free, lapsed, or of a worker that died.
    Claim(usize, usize, usize),
    /// The holder was silent for too long.
    Expire(usize, usize),
    /// A worker dies with everything it has in memory, and is started again. Dying before a commit is this, too.
    Crash(usize),
    /// A worker's arbiter takes one input, decides, commits, dispatches.
    Commit(usize, usize, usize, Letter),
    /// The same, but it dies between the commit and hearing of it.
    CommitAndDie(usize, usize, usize, Letter),
    /// The external effect of what is in flight happens.
    Act(usize, usize, usize),
    /// A person cancels.
    Cancel(usize, usize),
    /// A person says yes to an approval.
    Approve(usize, usize, usize),
    /// A person says no.
    Deny(usize, usize, usize),
    /// Time passes to the next moment that an arbiter has set its timer for, if that is not far.
    Soon(usize),
    /// Time passes every deadline.
    Later(usize),
}

/// Every deadline and the life of every approval is over.
const LATER: Timestamp = Timestamp(NOW.0 + limits::APPROVAL_MS + limits::CHECK_MS);

/// What an arbiter finds in its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Letter {
    /// It has just taken the session over.
    Recover,
    /// Everything in the inbox.
    Inbox,
    /// What is in flight ended.
    Outcome,
    /// What is in flight was given up by its executor: nobody knows whether it had its effect.
    TimedOut,
    /// An outcome that it had before.
    Again,
    /// Time.
    Tick,
}

/// The in-memory journal answers at the first poll.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the in-memory journal never waits"),
    }
}

impl Model for Config {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let trees = (0..self.trees).map(|_| Arc::new(self.tree()));
        let trees: Vec<_> = trees.collect();
        self.parts.note(&trees);
        vec![State::close(trees, None)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        for w in 0..self.workers {
            if state.trees.iter().any(|tree| tree.knows(w)) {
                actions.push(Action::Crash(w));
            }
        }
        for (t, tree) in state.trees.iter().enumerate() {
            if self.later && tree.now < LATER {
                actions.push(Action::Later(t));
            }
            if tree.alarm().is_some() {
                actions.push(Action::Soon(t));
            }
            for (s, slot) in tree.slots.iter().enumerate() {
                self.around(slot, (t, s), actions);
                for w in 0..self.workers {
                    self.within(tree, slot, (w, t, s), actions);
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = Next { config: self, trees: state.trees.clone(), broken: None };
        next.act(action);
        self.parts.note(&next.trees);
        Some(State::close(next.trees, next.broken))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::properties(self)
    }
}

/// Nobody but a person can do anything any more.
pub(crate) fn at_rest(config: &Config, state: &State) -> bool {
    if state.broken.is_some() {
        return false;
    }
    let mut actions = Vec::new();
    config.actions(state, &mut actions);
    // A crash without a lease left to take brings nothing on; people are not obliged to say anything.
    let idle = |action: &Action| {
        matches!(action, Action::Crash(_) | Action::Expire(..) | Action::Later(_))
            || matches!(action, Action::Cancel(..) | Action::Approve(..) | Action::Deny(..))
    };
    actions.iter().all(idle)
}

impl Config {
    /// A tree with its root session opened by a process that died at once.
    fn tree(&self) -> Tree {
        let (store, id) = (Memory::new(), SessionId(1));
        let mut core = Core::new(Session::new(id), 0);
        core.hold = true;
        let mut governor = Governor::new(Slots::for_cores(16));
        let opened = core.step(&mut governor, Input::Open(Box::new(script::spec())), moment(NOW, 0));
        let mut batch = opened.unwrap_or_else(|e| unreachable!("the session opens: {e}")).batch;
        batch.appends.iter_mut().for_each(|append| append.fence = None);
        now(store.append(batch)).unwrap_or_else(|e| unreachable!("an empty store takes it: {e}"));
        let slots = vec![Slot::new(id, core.state, self.workers)];
        let (ledger, known) = (Kept::ledger(governor.ledger(id).clone()), vec![None; self.workers]);
        Tree { store, ledger, known, slots, now: NOW }
    }

    /// What happens to a session whoever holds it.
    fn around(&self, slot: &Slot, (t, s): (usize, usize), actions: &mut Vec<Action>) {
        let ended = slot.fold.it.phase == Phase::Ended;
        let holder = slot.owner.and_then(|w| slot.views[w].as_ref()).filter(|view| view.fence == slot.fence);
        if holder.is_some() && !slot.lapsed && slot.fence < self.leases {
            actions.push(Action::Expire(t, s));
        }
        if slot.fence < self.leases && !ended && (holder.is_none() || slot.lapsed) {
            let free = (0..self.workers).filter(|w| slot.views[*w].is_none());
            actions.extend(free.map(|w| Action::Claim(w, t, s)));
        }
        if ended {
            return;
        }
        if self.cancel && !slot.past.cancelled && s == 0 {
            actions.push(Action::Cancel(t, s));
        }
        for (place, asked) in slot.past.asked.iter().enumerate() {
            let pending = slot.fold.it.approvals.get(&asked.name);
            // Two people race for the first one; for later ones that shows nothing new.
            let most = if place == 0 { self.answers } else { 1 };
            if pending.is_some_and(|a| a.state == ApprovalState::Pending) && asked.typed < most {
                actions.push(Action::Approve(t, s, place));
                actions.push(Action::Deny(t, s, place));
            }
        }
    }

    /// What one worker can do about a session.
    fn within(&self, tree: &Tree, slot: &Slot, (w, t, s): (usize, usize, usize), actions: &mut Vec<Action>) {
        let Some(view) = &slot.views[w] else { return };
        let external = view.flight.as_ref().is_some_and(|f| f.run.class == EffectClass::External);
        let mut letters = Vec::new();
        if view.first {
            letters.push(Letter::Recover);
        } else {
            if !slot.mail.is_empty() {
                letters.push(Letter::Inbox);
            }
            if view.flight.as_ref().is_some_and(|f| f.acted || f.cancelled || !external) {
                letters.push(Letter::Outcome);
            }
            // Each would be asked about and could time out again: once shows it.
            if external && !slot.past.timed_out {
                letters.push(Letter::TimedOut);
            }
            if view.late.is_some() {
                letters.push(Letter::Again);
            }
            let rings = view.alarm.is_some_and(|at| at > NOW && at <= tree.now);
            if rings || due(&view.fold.it, tree.now) || resumed(view, tree, w) {
                letters.push(Letter::Tick);
            }
        }
        if external && view.flight.as_ref().is_some_and(|f| !f.acted) {
            actions.push(Action::Act(w, t, s));
        }
        for letter in letters {
            actions.push(Action::Commit(w, t, s, letter));
            if self.lost_replies {
                actions.push(Action::CommitAndDie(w, t, s, letter));
            }
        }
    }
}

/// Something has run out of time.
fn due(session: &Session, at: Timestamp) -> bool {
    let silent = session.running.as_ref().is_some_and(|a| at >= a.deadline.plus(limits::OVERDUE_MS));
    let pending = |a: &kernel::session::Approval| a.state == ApprovalState::Pending && at >= a.expires;
    session.phase != Phase::Ended && (silent || session.approvals.values().any(pending))
}

/// A relative has settled: what stopped for want of budget looks again.
fn resumed(view: &View, tree: &Tree, w: usize) -> bool {
    let stopped = view.fold.it.pause.as_ref().is_some_and(|pause| pause.why == "budget");
    stopped && tree.known[w].as_ref().is_some_and(|ledger| ledger.seq < tree.ledger.seq)
}

fn moment(now: Timestamp, random: u128) -> Moment {
    Moment { now, random }
}

struct Next<'a> {
    config: &'a Config,
    trees: Vec<Arc<Tree>>,
    broken: Option<String>,
}

impl Next<'_> {
    fn act(&mut self, action: Action) {
        match action {
            Action::Claim(w, t, s) => self.claim(w, t, s),
            Action::Expire(t, s) => Arc::make_mut(&mut self.trees[t]).slots[s].lapsed = true,
            Action::Crash(w) => self.crash(w),
            Action::Commit(w, t, s, letter) => self.step(w, t, s, letter),
            Action::CommitAndDie(w, t, s, letter) => {
                self.step(w, t, s, letter);
                self.crash(w);
            }
            Action::Act(w, t, s) => {
                let slot = &mut Arc::make_mut(&mut self.trees[t]).slots[s];
                slot.past.effects += 1;
                if let Some(flight) = slot.views[w].as_mut().and_then(|view| view.flight.as_mut()) {
                    flight.acted = true;
                }
            }
            Action::Cancel(t, s) => {
                Arc::make_mut(&mut self.trees[t]).slots[s].past.cancelled = true;
                self.say(t, s, Word::Cancel);
            }
            Action::Approve(t, s, place) => self.say(t, s, Word::Approve(place)),
            Action::Deny(t, s, place) => self.say(t, s, Word::Deny(place)),
            Action::Later(t) => {
                Arc::make_mut(&mut self.trees[t]).now = LATER;
            }
            Action::Soon(t) => {
                let tree = Arc::make_mut(&mut self.trees[t]);
                tree.now = tree.alarm().unwrap_or(tree.now);
            }
        }
    }

    fn crash(&mut self, w: usize) {
        for tree in &mut self.trees {
            if tree.knows(w) {
                let tree = Arc::make_mut(tree);
                tree.known[w] = None;
                tree.slots.iter_mut().for_each(|slot| slot.views[w] = None);
            }
        }
    }

    fn claim(&mut self, w: usize, t: usize, s: usize) {
        let tree = Arc::make_mut(&mut self.trees[t]);
        tree.store = tree.store.fork();
        let slot = &mut tree.slots[s];
        let lease = now(tree.store.acquire(slot.id, format!("w{w}"), tree.now, true));
        let Ok(Ok(lease)) = lease else {
            self.broken = Some(format!("a free lease is refused: {lease:?}"));
            return;
        };
        // What the journal folds to is what was decided: promise 12.
        let read = now(store::session(&tree.store, slot.id));
        if read.as_ref().ok().and_then(Option::as_ref) != Some(&slot.fold.it) {
            self.broken = Some(format!("the journal folds to something else: {read:?}"));
        }
        (slot.owner, slot.fence, slot.lapsed) = (Some(w), lease.fence, false);
        // A governor that has the tree's ledger already does not read it again.
        tree.known[w].get_or_insert_with(|| Arc::clone(&tree.ledger));
        let (fold, fence) = (Arc::clone(&slot.fold), lease.fence);
        slot.views[w] =
            Some(View { fold, fence, first: true, flight: None, alarm: None, late: None, repeated: false });
    }

    fn say(&mut self, t: usize, s: usize, word: Word) {
        let tree = Arc::make_mut(&mut self.trees[t]);
        tree.store = tree.store.fork();
        let at = tree.now;
        let slot = &mut tree.slots[s];
        let mut asked = |place: usize| {
            let asked = &mut slot.past.asked[place];
            asked.typed += 1;
            (asked.name.clone(), asked.typed)
        };
        let (wish, key) = match word {
            Word::Approve(place) => {
                let (approval, nth) = asked(place);
                let key = format!("yes {approval} {nth}");
                (Wish::Approve { approval, hash: Digest::of(b"content") }, key)
            }
            Word::Deny(place) => {
                let (approval, nth) = asked(place);
                let key = format!("no {approval} {nth}");
                (Wish::Deny { approval }, key)
            }
            _ => (Wish::Cancel, "cancel".to_owned()),
        };
        let id = SessionId(u128::from(crate::state::hash(&key)) << 64 | slot.id.0 & u128::from(u64::MAX));
        let intent = Intent { id, session: slot.id, source: Source::User, wish, key, at, ttl_ms: None };
        if now(tree.store.submit(intent)).is_err() {
            self.broken = Some("the inbox refuses a person's word".into());
        }
        slot.mail.push(word);
    }

    /// One input of one arbiter: as the arbiter does it, with the same answers to the same refusals.
    fn step(&mut self, w: usize, t: usize, s: usize, letter: Letter) {
        let mut tree = (*self.trees[t]).clone();
        tree.store = tree.store.fork();
        if let Err(why) = commit(self.config, &mut tree, w, s, letter) {
            self.broken = Some(why);
        }
        self.trees[t] = Arc::new(tree);
    }
}

/// The input of this letter, and the inbox rows it accounts for.
fn input(config: &Config, tree: &Tree, slot: &Slot, view: &mut View, letter: Letter) -> (Input, Vec<u64>) {
    match letter {
        Letter::Recover => (Input::Recover, Vec::new()),
        Letter::Tick => (Input::Tick, Vec::new()),
        Letter::Inbox => {
            let mail = now(tree.store.inbox(slot.id)).unwrap_or_default();
            let rows = mail.iter().map(|mail| mail.row).collect();
            (Input::Inbox(mail.into_iter().map(|mail| mail.intent).collect()), rows)
        }
        Letter::Outcome | Letter::TimedOut => {
            let flight = view.flight.take();
            let mut outcome = flight.map(|flight| outcome(config, &flight));
            if let (Letter::TimedOut, Some(outcome)) = (letter, &mut outcome) {
                outcome.end = End::TimedOut;
            }
            if config.duplicates && !view.repeated {
                view.late = outcome.clone();
            }
            (outcome.map_or(Input::Tick, |outcome| Input::Outcome(Box::new(outcome))), Vec::new())
        }
        Letter::Again => {
            view.repeated = true;
            (view.late.take().map_or(Input::Tick, |outcome| Input::Outcome(Box::new(outcome))), Vec::new())
        }
    }
}

fn outcome(config: &Config, flight: &Flight) -> Outcome {
    let run = &flight.run;
    let end = match flight.cancelled {
        true => End::Cancelled,
        false => End::Done(script::done(config, run)),
    };
    let tokens = if matches!(run.work, Work::Model { .. }) { 2 } else { 0 };
    let used = Amount { steps: 1, tokens, ..Amount::ZERO };
    Outcome::new(run.action, run.attempt, end, used)
}

/// What a commit needs of the process around it.
struct Process<'a> {
    store: &'a Memory,
    governor: Mutex<Governor>,
    moment: Moment,
    /// A commit was refused and everything read again.
    again: AtomicBool,
}

impl Host for Process<'_> {
    fn journal(&self) -> &dyn Journal {
        self.store
    }

    fn governor(&self) -> MutexGuard<'_, Governor> {
        self.governor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self) -> Moment {
        self.moment
    }

    fn poke_all(&self, _: Vec<SessionId>) {
        self.again.store(true, Ordering::Relaxed);
    }
}

/// One input all the way to the disk, by the engine's own hand; then what the process does about it.
fn commit(config: &Config, tree: &mut Tree, w: usize, s: usize, letter: Letter) -> Result<(), String> {
    let slot = &tree.slots[s];
    let Some(mut view) = slot.views[w].clone() else { return Ok(()) };
    let (input, rows) = input(config, tree, slot, &mut view, letter);
    view.first = false;
    let root = view.fold.it.root();
    let mut core = Core::new(view.fold.it.clone(), view.fence);
    if config.plant == Some(Plant::NoFencing) {
        core.fence = slot.fence;
    }
    let mut governor = Governor::new(Slots::for_cores(16));
    if let Some(known) = &tree.known[w] {
        governor.load(root, known.it.clone());
    }
    let random = u128::from(core.state.step) << 64 | core.state.id.0;
    let process = Process {
        store: &tree.store,
        governor: Mutex::new(governor),
        moment: moment(tree.now, random),
        again: AtomicBool::new(false),
    };
    let done = now(engine::commit::step(&process, &mut core, input.clone(), Vec::new(), rows));
    let again = process.again.load(Ordering::Relaxed);
    let known = process.governor().peek(root).cloned();
    let slot = &mut tree.slots[s];
    slot.past.conflict |= again && config.children > 0;
    match done {
        Ok(committed) => settle(config, tree, (w, s), view, core.state, known, committed.step, letter),
        Err(Error::Fenced { .. }) => {
            slot.past.refused_fence = true;
            slot.views[w] = None;
            tree.known[w] = known.map(Kept::ledger);
            Ok(())
        }
        Err(error) => Err(format!("on {input:?}: {error}")),
    }
}

/// After the commit: what is durable now, what the worker holds, what was done that must not be.
#[allow(clippy::too_many_arguments, reason = "what one commit has brought, put in its places")]
fn settle(
    config: &Config,
    tree: &mut Tree,
    (w, s): (usize, usize),
    mut view: View,
    session: Session,
    known: Option<Ledger>,
    step: Step,
    letter: Letter,
) -> Result<(), String> {
    let slot = &mut tree.slots[s];
    let before = Arc::clone(&slot.fold);
    if !step.events.is_empty() && view.fence < slot.fence {
        return Err(format!("a commit under lease {} when {} is the newest", view.fence, slot.fence));
    }
    for event in &step.events {
        note(slot, &before.it, event)?;
    }
    match letter {
        Letter::Inbox => slot.mail.clear(),
        Letter::TimedOut => slot.past.timed_out = true,
        _ => {}
    }
    let ended = session.phase == Phase::Ended;
    let cancelled = session.cancel;
    slot.fold = Kept::session(session, &slot.past);
    view.fold = Arc::clone(&slot.fold);
    view.alarm = step.wake_at;
    // Without events for it the ledger in memory, old or not, is what it was.
    tree.known[w] = known.map(Kept::ledger);
    if let Some(known) = tree.known[w].as_ref().filter(|known| known.seq > tree.ledger.seq) {
        tree.ledger = Arc::clone(known);
    }
    for effect in step.effects {
        match effect {
            Effect::Run(_) if cancelled => {
                return Err("something is started after a cancel was committed".into());
            }
            Effect::Run(run) => {
                view.flight = Some(Flight { run: Arc::new(*run), acted: false, cancelled: false })
            }
            Effect::Cancel { action, .. } => stop(config, &mut view, action)?,
            Effect::Wake(_) => {}
        }
    }
    if config.plant == Some(Plant::ReusedApproval) {
        keep_the_yes(&mut view, slot);
    }
    slot.views[w] = Some(view).filter(|_| !ended);
    if config.children == 0 { Ok(()) } else { relatives(config, tree) }
}

/// The flight is told to stop. The planted bug starts it again instead.
fn stop(config: &Config, view: &mut View, action: contract::ActionId) -> Result<(), String> {
    let Some(flight) = view.flight.as_mut().filter(|flight| flight.run.action == action) else {
        return Ok(());
    };
    if config.plant == Some(Plant::Respawn) {
        let run: &Arc<Run> = &flight.run;
        let fresh = Flight { run: Arc::clone(run), acted: false, cancelled: false };
        let respawned = !flight.cancelled;
        *flight = fresh;
        return if respawned {
            Err("something is started after a cancel was committed".into())
        } else {
            Ok(())
        };
    }
    flight.cancelled = true;
    Ok(())
}

/// A memory in which a used yes stays: the planted bug.
fn keep_the_yes(view: &mut View, slot: &Slot) {
    let Some(asked) = slot.past.asked.iter().find(|asked| asked.used > 0) else { return };
    let mut session = view.fold.it.clone();
    if let Some(redo) = session.redo.as_mut().filter(|redo| !redo.allowed) {
        (redo.allowed, redo.approval) = (true, Some(asked.name.clone()));
        let pending = session.approvals.pop_first();
        if let Some((_, mut approval)) = pending {
            approval.state = ApprovalState::Granted;
            session.approvals.insert(asked.name.clone(), approval);
        }
        if let Some(Work::Tools { calls }) = session.redo.as_ref().map(|redo| redo.work.clone()) {
            for slot in
                session.calls.iter_mut().filter(|slot| calls.iter().any(|call| call.id == slot.call.id))
            {
                slot.state = kernel::fsm::CallState::Open;
            }
        }
        view.fold = Kept::session(session, &slot.past);
    }
}

/// What promises have to know of an event that is durable now.
fn note(slot: &mut Slot, before: &Session, event: &Event) -> Result<(), String> {
    let past = &mut slot.past;
    let place = |asked: &[Asked], name: &str| asked.iter().position(|asked| asked.name == name);
    match event {
        Event::Selected { .. } | Event::Started { .. } if before.cancel => {
            Err("something is started after a cancel was committed".into())
        }
        Event::Started { approval: Some(name), .. } => match place(&past.asked, name) {
            Some(place) => {
                past.asked[place].used += 1;
                Ok(())
            }
            None => Err(format!("{name} is used and was never asked for")),
        },
        Event::ApprovalAsked { approval, subject, .. } => {
            let again = matches!(subject, Subject::RunAgain { .. });
            past.asked.push(Asked { name: approval.clone(), again, yes: 0, used: 0, typed: 0 });
            Ok(())
        }
        Event::ApprovalAnswered { approval, answer: Answer::Granted, .. } => {
            if let Some(place) = place(&past.asked, approval) {
                past.asked[place].yes += 1;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Children that were born, and mail that was left for relatives.
fn relatives(config: &Config, tree: &mut Tree) -> Result<(), String> {
    let born: Vec<SessionId> =
        tree.slots.iter().flat_map(|slot| slot.fold.it.children.keys().copied()).collect();
    for id in born {
        if tree.slots.iter().all(|slot| slot.id != id) {
            let read = now(store::session(&tree.store, id)).ok().flatten();
            let session = read.ok_or("a child that was opened is not in the journal")?;
            tree.slots.push(Slot::new(id, session, config.workers));
        }
    }
    for slot in &mut tree.slots {
        let waiting = now(tree.store.inbox(slot.id)).map_or(0, |mail| mail.len());
        while slot.mail.len() < waiting {
            slot.mail.push(Word::Other);
        }
    }
    Ok(())
}
