//! What surfaces call: open, submit, attend, watch, look, shut down. They translate; this does.
//!
//! Knows which sessions live in this process; nothing of who asks. Start at [`Engine`].

use crate::arbiter::{self, Arbiter, Letter, MAILBOX, Status};
use crate::breakdown::{self, Breakdowns};
use crate::commit::{self, Host};
use crate::core::{Core, Moment};
use crate::executor::{self, Ports};
use crate::guard::Guard;
use crate::lease::Leases;
use crate::meter::Meter;
use crate::named;
use crate::recent::Recent;
use crate::task::{self, Kind, Task};
use crate::tree::{Present, Trees};
use crate::{Watch, store};
use contract::action::Run;
use contract::context::Sent;
use contract::intent::{Intent, Source, Wish};
use contract::journal::{Error, Journal, Lease, Submitted};
use contract::model::Request;
use contract::port::{Delta, Sink};
use contract::session::SessionSpec;
use contract::{ActionId, Digest, Fault, Kind as FaultKind, SessionId, StreamId, limits};
use kernel::governor::Slots;
use kernel::ledger::Ledger;
use kernel::pool::Bundle;
use kernel::pressure::Level;
use kernel::{Governor, Input, Session};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name among all engines: who holds a lease.
    pub owner: String,
    /// How much may run at once.
    pub slots: Slots,
}

/// What to do with a session whose arbiter is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attend {
    /// Go on with it.
    GoOn,
    /// Take note of what was in flight and of what is in the inbox, start nothing, and let go of it again.
    Settle,
}

/// An intent as a surface gives it.
#[derive(Debug, Clone)]
pub struct Order {
    /// For which session.
    pub session: SessionId,
    /// From whom.
    pub source: Source,
    /// What.
    pub wish: Wish,
    /// Idempotency key; `None` = a fresh one.
    pub key: Option<String>,
    /// Time to live, milliseconds.
    pub ttl_ms: Option<u64>,
    /// Texts the wish refers to.
    pub blobs: Vec<Vec<u8>>,
}

/// Progress of an action in this process. Lossy.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Whose.
    pub session: SessionId,
    /// Of which action.
    pub action: ActionId,
    /// Of which attempt: what another one said before it broke is not part of what this one says.
    pub attempt: u32,
    /// What.
    pub delta: Delta,
}

/// Progress items a slow listener may lag behind before it loses the oldest.
const PROGRESS: usize = 1024;
/// Sessions that are taken up at the same time: each needs a lock, a lease and its journal read.
const WAKERS: usize = 8;

/// Which of the wakers, and of the locks of those who take sessions up, a session goes to.
fn way(id: SessionId) -> usize {
    (id.0 % WAKERS as u128) as usize
}

struct Live {
    address: mpsc::Sender<Letter>,
    status: watch::Receiver<Status>,
    /// It takes what is in the inbox, starts nothing and stops.
    settles: bool,
}

impl Live {
    /// It ended without a word.
    fn panicked(&self) -> bool {
        self.status.has_changed().is_err() && !matches!(*self.status.borrow(), Status::Stopped(_))
    }

    /// Nothing of it is left: it has stopped, or it panicked and can say nothing any more.
    fn gone(&self) -> bool {
        matches!(*self.status.borrow(), Status::Stopped(_)) || self.status.has_changed().is_err()
    }
}

pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) journal: Arc<dyn Journal>,
    guard: Arc<dyn Guard>,
    options: Options,
    governor: Mutex<Governor>,
    live: Mutex<BTreeMap<SessionId, Live>>,
    pub(crate) trees: Trees,
    /// It is being shut down: whoever is started from here on starts nothing.
    closing: AtomicBool,
    /// One of these is held while a session is taken up: whoever else wants the same session then finds it here.
    taking: [tokio::sync::Mutex<()>; WAKERS],
    /// Shared by those who open, attend and wake sessions; a shutdown waits for all of them.
    waking: tokio::sync::RwLock<()>,
    leases: Leases,
    meter: Meter,
    breakdowns: Breakdowns,
    recent: Arc<Recent>,
    progress: broadcast::Sender<Progress>,
    /// Sessions to be attended because another one's effect says so. One session always goes the same way.
    wakes: [mpsc::UnboundedSender<(SessionId, Attend)>; WAKERS],
}

/// The engine: cheap to clone, ends with [`Engine::shutdown`].
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    _helpers: Arc<Vec<Task<()>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("owner", &self.shared.options.owner).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine over these ports. Needs a running tokio runtime.
    pub fn new(mut ports: Ports, journal: Arc<dyn Journal>, guard: Arc<dyn Guard>, options: Options) -> Self {
        let recent = Arc::new(Recent::new(ports.blobs));
        ports.blobs = recent.clone();
        ports.tools = named::all(ports.tools);
        // Unbounded, but bounded by what is sent: one entry per commit that names another session.
        let mut woken = Vec::with_capacity(WAKERS);
        let wakes = std::array::from_fn(|_| {
            let (wake, to_be_woken) = mpsc::unbounded_channel();
            woken.push(to_be_woken);
            wake
        });
        let shared = Arc::new(Shared {
            ports,
            journal,
            guard,
            governor: Mutex::new(Governor::new(options.slots)),
            options,
            live: Mutex::default(),
            trees: Trees::default(),
            closing: AtomicBool::new(false),
            taking: Default::default(),
            waking: tokio::sync::RwLock::default(),
            leases: Leases::default(),
            meter: Meter::default(),
            breakdowns: Breakdowns::default(),
            recent,
            progress: broadcast::channel(PROGRESS).0,
            wakes,
        });
        let mut helpers = vec![
            task::spawn(Kind::Watch, renewing(Arc::clone(&shared))),
            task::spawn(Kind::Watch, polling(Arc::clone(&shared))),
        ];
        helpers
            .extend(woken.into_iter().map(|way| task::spawn(Kind::Watch, waking(Arc::clone(&shared), way))));
        Self { shared, _helpers: Arc::new(helpers) }
    }

    /// Opens a session and starts it. Resolves once its first event is durable.
    pub async fn open(&self, spec: SessionSpec, blobs: Vec<Vec<u8>>) -> Result<SessionId, Fault> {
        let clock = &self.shared.ports.clock;
        self.open_as(SessionId::v7(clock.now().0, clock.random()), spec, blobs).await
    }

    /// The same under an id that was promised before: fresh, and nobody else's.
    pub async fn open_as(
        &self,
        id: SessionId,
        spec: SessionSpec,
        blobs: Vec<Vec<u8>>,
    ) -> Result<SessionId, Fault> {
        match self.opened(id, spec, blobs, false).await? {
            true => Ok(id),
            false => Err(Error::Fenced { session: id }.fault()),
        }
    }

    /// The same under an id that stands on record already, as what somebody is going to open: whoever of any number of
    /// processes gets there first opens it, once. False: it is open, or somebody else is at it.
    pub async fn open_once(
        &self,
        id: SessionId,
        spec: SessionSpec,
        blobs: Vec<Vec<u8>>,
    ) -> Result<bool, Fault> {
        self.opened(id, spec, blobs, true).await
    }

    async fn opened(
        &self,
        id: SessionId,
        spec: SessionSpec,
        blobs: Vec<Vec<u8>>,
        named: bool,
    ) -> Result<bool, Fault> {
        if let Some(problem) = kernel::workflow::problem(&spec.workflow) {
            return Err(Fault::new(FaultKind::UserFixable, "workflow", problem));
        }
        self.shared.journal.put(blobs).await.map_err(|e| e.fault())?;
        let (opened, answer) = oneshot::channel();
        let start = Start {
            state: Session::new(id),
            first: arbiter::opening(spec),
            hold: false,
            opened: Some(opened),
            named,
        };
        let until_it_is_held = self.shared.waking.read().await;
        let alone = if named { Some(self.shared.taking[way(id)].lock().await) } else { None };
        let started = self.shared.start(id, start).await?;
        drop((alone, until_it_is_held));
        if started.is_err() {
            return Ok(false);
        }
        match answer.await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) => Err(error.fault()),
            Err(_) => Err(Error::Closed("the session stopped before it began".into()).fault()),
        }
    }

    /// Leaves an intent in a session's inbox. Works whoever executes the session, and when nobody does.
    pub async fn submit(&self, order: Order) -> Result<Submitted, Fault> {
        let shared = &self.shared;
        let head =
            shared.journal.head(contract::StreamId::Session(order.session)).await.map_err(|e| e.fault())?;
        if head.seq == 0 {
            let what = format!("there is no session {}", order.session);
            return Err(Fault::new(FaultKind::UserFixable, "no-session", what).hint("kapell sessions"));
        }
        let (now, random) = (shared.ports.clock.now(), shared.ports.clock.random());
        let id = SessionId::v7(now.0, random);
        let key = order.key.unwrap_or_else(|| id.to_string());
        let (session, source, wish, ttl_ms) = (order.session, order.source, order.wish, order.ttl_ms);
        let intent = Intent { id, session, source, wish, key, at: now, ttl_ms };
        if !order.blobs.is_empty() {
            shared.journal.put(order.blobs).await.map_err(|e| e.fault())?;
        }
        let submitted = shared.journal.submit(intent).await.map_err(|e| e.fault())?;
        shared.poke(session);
        Ok(submitted)
    }

    /// Takes a session over and runs it here, with everything below it. `Err(Held)` inside: a living process has it.
    pub async fn attend(&self, id: SessionId, how: Attend) -> Result<Result<(), Lease>, Fault> {
        let _until_it_is_held = self.shared.waking.read().await;
        self.shared.attend(id, how).await
    }

    /// Follows a session's events from the one after `after` on.
    pub fn watch(&self, id: SessionId, after: u64) -> Watch {
        arbiter::follow(&self.shared, id, after)
    }

    /// Progress of everything that runs in this process.
    pub fn progress(&self) -> broadcast::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// A session as the journal has it.
    pub async fn look(&self, id: SessionId) -> Result<Option<Session>, Fault> {
        store::session(&*self.shared.journal, id).await.map_err(|e| e.fault())
    }

    /// A tree's ledger as the journal has it.
    pub async fn ledger(&self, root: SessionId) -> Result<Ledger, Fault> {
        store::ledger(&*self.shared.journal, root).await.map_err(|e| e.fault())
    }

    /// What a run would ask its model, built anew from the record and not sent. `None`: it asks no model.
    pub async fn rebuild(&self, run: Run) -> Result<Option<(Request, Sent)>, Fault> {
        executor::rebuild(&self.shared.ports, run).await
    }

    /// How long its decisions and commits have taken.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// The store.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.shared.journal
    }

    /// So much of the machine is shared by what runs here. To be said before anything runs.
    pub fn share(&self, most: Bundle) {
        self.shared.governor().share(most);
    }

    /// How short the machine is: what may begin goes by that until the next word. Whoever was held back and need not
    /// be any more goes on.
    pub fn press(&self, level: Level) {
        let woken = self.shared.governor().press(level);
        self.shared.poke_all(woken);
    }

    /// Does it live here, so that it goes on by itself with what is submitted?
    pub fn lives(&self, id: SessionId) -> bool {
        self.shared.lives().get(&id).is_some_and(|live| !live.gone())
    }

    /// Resolves when the session's arbiter has stopped here; at once when it does not live here.
    /// The error: why it stopped, when it was not its end.
    pub async fn stopped(&self, id: SessionId) -> Option<Error> {
        self.shared.out_of_the_way(id).await
    }

    /// It was told to shut down: whoever is attended from here on starts nothing.
    pub fn is_closing(&self) -> bool {
        self.shared.closing.load(Ordering::SeqCst)
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Stops in order: nothing new starts, what runs is stopped and its end recorded, leases are given back.
    pub async fn shutdown(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // A lease once asked for is taken even when nobody waits for it any more: cut off there, this process would
        // give its lock back first and then take the lease from whoever has the lock by then.
        drop(self.shared.waking.write().await);
        loop {
            let live: Vec<_> = {
                let mut lives = self.shared.lives();
                lives.retain(|_, live| !live.gone());
                lives.values().map(|live| (live.address.clone(), live.status.clone())).collect()
            };
            if live.is_empty() {
                return;
            }
            for (address, _) in &live {
                // A full mailbox is being emptied; a closed one is what we want.
                let _ = address.send(Letter::Stop).await;
            }
            for (_, mut status) in live {
                let _ = status.wait_for(|status| matches!(status, Status::Stopped(_))).await;
            }
        }
    }
}

impl Engine {
    /// What is being stopped is killed at once, without the rest of its grace (S5.4-1). Its end comes on record still.
    pub async fn force(&self) {
        let addresses: Vec<_> = self.shared.lives().values().map(|live| live.address.clone()).collect();
        for address in addresses {
            // A closed mailbox has nothing left to stop.
            let _ = address.send(Letter::Force).await;
        }
    }
}

struct Start {
    state: Session,
    first: Input,
    hold: bool,
    opened: Option<oneshot::Sender<Result<(), Error>>>,
    /// Others may know its name, and may have opened it before.
    named: bool,
}

impl Host for Shared {
    fn journal(&self) -> &dyn Journal {
        &*self.journal
    }

    fn governor(&self) -> MutexGuard<'_, Governor> {
        self.governor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self) -> Moment {
        Moment { now: self.ports.clock.now(), random: self.ports.clock.random() }
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    /// Tells those that are here.
    fn poke_all(&self, ids: Vec<SessionId>) {
        for id in ids {
            self.poke(id);
        }
    }
}

impl Shared {
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.lives().len()
    }

    fn lives(&self) -> MutexGuard<'_, BTreeMap<SessionId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has just become durable and will be asked for soon.
    pub(crate) fn keep(&self, blobs: Vec<Vec<u8>>) {
        self.recent.keep(blobs);
    }

    /// Tells the session's arbiter to look; false when there is none here, or none that will look again.
    pub(crate) fn poke(&self, id: SessionId) -> bool {
        // Full: it will look anyway.
        let told = |live: &Live| {
            !matches!(live.address.try_send(Letter::Poke), Err(mpsc::error::TrySendError::Closed(_)))
        };
        self.lives().get(&id).is_some_and(told)
    }

    /// Does one live here already that does this? Who wants it to go on is not served by one that only settles.
    fn joins(&self, id: SessionId, how: Attend) -> bool {
        let settles = self.lives().get(&id).is_some_and(|live| live.settles);
        (how == Attend::Settle || !settles) && self.poke(id)
    }

    pub(crate) fn wake(&self, id: SessionId, how: Attend) {
        if !self.joins(id, how) {
            // The receiver goes away with the engine: then nobody is left to be woken.
            let _ = self.wakes[way(id)].send((id, how));
        }
    }

    /// Nobody needs to know any more that this arbiter was here.
    pub(crate) fn forget(&self, id: SessionId, address: &mpsc::Sender<Letter>) {
        let mut lives = self.lives();
        if lives.get(&id).is_some_and(|live| live.address.same_channel(address)) {
            lives.remove(&id);
        }
    }

    /// Waits for an arbiter that is on its way out; why it stopped, when it was not its end.
    async fn out_of_the_way(&self, id: SessionId) -> Option<Error> {
        let mut status = self.lives().get(&id).map(|live| live.status.clone())?;
        let stopped = status.wait_for(|status| matches!(status, Status::Stopped(_))).await;
        match stopped.as_deref() {
            Ok(Status::Stopped(error)) => error.clone(),
            Ok(_) => None,
            Err(_) => Some(Error::Closed(format!("the arbiter of session {id} panicked"))),
        }
    }

    pub(crate) fn progress_of(self: &Arc<Self>, run: &Run) -> impl Sink + use<> {
        struct Tell(broadcast::Sender<Progress>, SessionId, ActionId, u32);
        impl Sink for Tell {
            fn delta(&self, delta: Delta) {
                let (session, action, attempt) = (self.1, self.2, self.3);
                let _ = self.0.send(Progress { session, action, attempt, delta });
            }
        }
        Tell(self.progress.clone(), run.session, run.action, run.attempt)
    }

    /// Takes lock and lease, then starts the arbiter.
    async fn start(self: &Arc<Self>, id: SessionId, start: Start) -> Result<Result<(), Lease>, Fault> {
        let guard = Arc::clone(&self.guard);
        // Waits for another process, and for killed programs to be gone: not on a thread that others need.
        let Some(guard) = task::blocking(move || guard.claim(id)).await? else {
            let holder = self.journal.holder(id).await.map_err(|e| e.fault())?;
            let unknown = Lease {
                session: id,
                owner: "another process".into(),
                fence: 0,
                until: self.ports.clock.now(),
            };
            return Ok(Err(holder.unwrap_or(unknown)));
        };
        if start.named && self.journal.head(StreamId::Session(id)).await.map_err(|e| e.fault())?.seq > 0 {
            let (owner, until) = ("another process".into(), self.ports.clock.now());
            return Ok(Err(Lease { session: id, owner, fence: 0, until }));
        }
        // With the lock in hand no other process of this machine runs it: a lease that looks alive is a dead one's.
        let now = self.ports.clock.now();
        let lease =
            self.journal.acquire(id, self.options.owner.clone(), now, true).await.map_err(|e| e.fault())?;
        let lease = match lease {
            Ok(lease) => lease,
            Err(other) => return Ok(Err(other)),
        };
        let present = Present::enter(self, start.state.root());
        commit::ensure_ledger(&**self, &start.state).await.map_err(|e| e.fault())?;
        let mut core = Core::new(start.state, lease.fence);
        self.leases.add(lease);
        let (address, mailbox) = mpsc::channel(MAILBOX);
        let (status, seen) = watch::channel(Status::Lives);
        self.lives().insert(id, Live { address: address.clone(), status: seen, settles: start.hold });
        // After it can be seen: either a shutdown finds it and waits for it, or it finds the shutdown.
        core.hold = start.hold || self.closing.load(Ordering::SeqCst);
        let arbiter = Arbiter {
            shared: Arc::clone(self),
            core,
            mailbox,
            address,
            first: Some(start.first),
            opened: start.opened,
            at_once: 0,
            aside: VecDeque::new(),
            status,
            present,
            _guard: guard,
        };
        drop(task::spawn(Kind::Arbiter, arbiter.run()));
        Ok(Ok(()))
    }

    async fn attend(self: &Arc<Self>, id: SessionId, how: Attend) -> Result<Result<(), Lease>, Fault> {
        if self.joins(id, how) {
            return Ok(Ok(()));
        }
        let _alone = self.taking[way(id)].lock().await;
        // Somebody else may have taken it up while this waited.
        if self.joins(id, how) {
            return Ok(Ok(()));
        }
        let broke = self.out_of_the_way(id).await.filter(breakdown::comes_again);
        if self.lives().get(&id).is_some_and(Live::panicked) {
            // It could not do so itself.
            self.make_room(id);
            self.let_go(id).await;
        }
        let Some(state) = store::session(&*self.journal, id).await.map_err(|e| e.fault())? else {
            let what = format!("there is no session {id}");
            return Err(Fault::new(FaultKind::UserFixable, "no-session", what).hint("kapell sessions"));
        };
        if let Some(error) = broke
            && self.breakdowns.count(&state) >= breakdown::TRIES
        {
            return Err(self.give_up(&state, &error).await?);
        }
        let hold = how == Attend::Settle;
        self.start(id, Start { state, first: Input::Recover, hold, opened: None, named: false }).await
    }

    /// A session that breaks down whenever it is taken up is left alone here, and its parent hears that it failed.
    async fn give_up(&self, state: &Session, error: &Error) -> Result<Fault, Fault> {
        let fault = breakdown::fault(state.id, error);
        if let Some(parent) = state.spec.as_ref().and_then(|spec| spec.parent.as_ref()) {
            let why = fault.what.clone().into_bytes();
            let clock = &self.ports.clock;
            let word = breakdown::word(parent, state.id, Digest::of(&why), (clock.now(), clock.random()));
            self.journal.put(vec![why]).await.map_err(|e| e.fault())?;
            self.journal.submit(word).await.map_err(|e| e.fault())?;
            self.poke(parent.session);
        }
        Ok(fault)
    }

    pub(crate) async fn snapshot(&self, state: &Session) {
        let stream = contract::StreamId::Session(state.id);
        if let Err(error) = store::snapshot(&*self.journal, stream, state.seq, state).await {
            // A cache: without it the next start only reads more.
            tracing::warn!(%error, session = %state.id, "no snapshot");
        }
        let root = state.root();
        // From the journal, not from memory: what is decided and not committed must not stand under its head's hash.
        let kept = match store::ledger(&*self.journal, root).await {
            Ok(ledger) if ledger.seq >= limits::SNAPSHOT_EVENTS => {
                store::snapshot(&*self.journal, contract::StreamId::Tree(root), ledger.seq, &ledger).await
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, %root, "no snapshot of the ledger");
        }
    }

    pub(crate) async fn snapshot_books(&self, due: &[StreamId]) {
        for stream in due {
            if let Err(error) = store::snapshot_book(&*self.journal, *stream).await {
                tracing::warn!(%error, %stream, "no snapshot");
            }
        }
    }

    /// An arbiter has stopped: what it held is given back.
    pub(crate) async fn settle_down(&self, id: SessionId, state: &Session, unsnapped: u64, sound: bool) {
        self.make_room(id);
        if sound && unsnapped >= limits::SNAPSHOT_EVENTS {
            self.snapshot(state).await;
        }
        self.let_go(id).await;
    }

    /// Its slots and its share of the machine are free for others.
    fn make_room(&self, id: SessionId) {
        let woken = self.governor().release(id);
        self.poke_all(woken);
    }

    async fn let_go(&self, id: SessionId) {
        if let Some(lease) = self.leases.remove(id)
            && let Err(error) = self.journal.release(lease).await
        {
            tracing::warn!(%error, session = %id, "the lease lapses by itself");
        }
    }
}

/// Renews all leases at a third of their time.
async fn renewing(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_millis(limits::LEASE_MS / 3)).await;
        match shared.leases.renew(&*shared.journal, shared.ports.clock.now()).await {
            Ok(lost) => {
                for id in lost {
                    let address = shared.lives().get(&id).map(|live| live.address.clone());
                    if let Some(address) = address {
                        let _ = address.send(Letter::Lost).await;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "leases not renewed"),
        }
    }
}

/// Looks for mail from other processes. What this process submits is announced by a poke.
///
/// While nothing happens here, somebody thinks or a limit is waited for: it looks ever more rarely, as far as a person
/// who answers from elsewhere does not notice.
async fn polling(shared: Arc<Shared>) {
    let mut between = limits::INBOX_POLL_MS;
    loop {
        let changed = shared.journal.changed();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(between)) => {
                between = (between * 3 / 2).min(limits::INBOX_POLL_MOST_MS);
            }
            () = changed => {
                between = limits::INBOX_POLL_MS;
                tokio::time::sleep(Duration::from_millis(between)).await;
            }
        }
        if shared.lives().is_empty() {
            continue;
        }
        match shared.journal.inbox_sessions().await {
            Ok(sessions) => shared.poke_all(sessions),
            Err(error) => tracing::warn!(%error, "inbox not read"),
        }
    }
}

/// Starts sessions that another one's effect named: children just born, parents with a result to take.
async fn waking(shared: Arc<Shared>, mut woken: mpsc::UnboundedReceiver<(SessionId, Attend)>) {
    while let Some((id, how)) = woken.recv().await {
        let _until_it_is_held = shared.waking.read().await;
        if shared.closing.load(Ordering::SeqCst) {
            // What it was to look at lies in its inbox, for the next process.
            continue;
        }
        match shared.attend(id, how).await {
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, session = %id, "not woken"),
        }
    }
}
