//! Follows the store's log once for everybody: folds what was appended into the board, and wakes who follows it.
//!
//! Reads the journal whoever wrote it; nothing that it tells is from memory alone. Start at [`Hub::run`].

use super::board::{Board, OVER_KEPT, Took};
use super::source::Source;
use crate::About;
use contract::event::Event;
use contract::journal::{Error, Journal};
use contract::{Fault, Seq, SessionId, StreamId, Timestamp, record};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::Instant;

/// Rows of the store's log, and records of a stream, that are taken at once.
const PAGE: usize = 1_000;
/// What other processes append is looked for so often.
const POLL: Duration = Duration::from_millis(contract::limits::INBOX_POLL_MS);
/// What only time changes (a holder that is gone, a retry that is due) is looked at so often.
const SWEEP: Duration = Duration::from_secs(2);
/// Event streams at once.
const STREAMS: usize = 2_000;
/// Lines of progress that a slow reader may lag behind before it loses the oldest.
const PROGRESS: usize = 256;
/// After a failed read of the store.
const AGAIN: Duration = Duration::from_secs(1);

/// Something that is told to whoever listens, and is lost on who does not.
#[derive(Debug, Clone)]
pub enum Told {
    /// A line of `stream-json` about an action under way.
    Progress(SessionId, Arc<str>),
    /// Background commands and terminals of a session may have changed.
    Jobs(SessionId),
    /// Schedules may have changed.
    Schedules,
}

struct Inner {
    source: Arc<dyn Source>,
    journal: Arc<dyn Journal>,
    about: About,
    board: Mutex<Board>,
    rev: watch::Sender<u64>,
    ready: watch::Sender<bool>,
    whole: watch::Sender<bool>,
    closing: watch::Receiver<bool>,
    heads: Mutex<BTreeMap<SessionId, watch::Sender<Seq>>>,
    told: broadcast::Sender<Told>,
    streams: Arc<Semaphore>,
}

/// The board, and the way to hear of changes. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("about", &self.0.about).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A board of this start of the daemon. It is empty until [`Hub::run`] runs.
    pub(crate) fn new(source: Arc<dyn Source>, about: About, closing: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Inner {
            journal: source.journal(),
            source,
            about,
            closing,
            board: Mutex::default(),
            rev: watch::channel(0).0,
            ready: watch::channel(false).0,
            whole: watch::channel(false).0,
            heads: Mutex::default(),
            told: broadcast::channel(PROGRESS).0,
            streams: Arc::new(Semaphore::new(STREAMS)),
        }))
    }

    /// Reads what goes on, then follows it until the program closes. A store that cannot be read is tried again.
    pub async fn run(self) {
        let mut closing = self.closing();
        tokio::select! {
            () = self.follow() => {}
            // Whoever could say so is gone: so is the daemon.
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }

    /// Tells who listens now.
    pub fn tell(&self, told: Told) {
        // Nobody listens: then nobody missed it.
        let _ = self.0.told.send(told);
    }

    /// Something of the state of a session that goes on.
    pub fn of<T>(&self, id: SessionId, of: impl FnOnce(&kernel::Session) -> T) -> Option<T> {
        self.board().session(id).map(of)
    }

    async fn follow(&self) {
        let mut place = loop {
            match self.load().await {
                Ok(place) => break place,
                Err(error) => tracing::warn!(%error, "the board is not there yet"),
            }
            tokio::time::sleep(AGAIN).await;
        };
        let mut sweep = Instant::now() + SWEEP;
        loop {
            // Taken before reading, so that an append in between is not missed.
            let changed = self.0.journal.changed();
            match self.news(&mut place).await {
                Ok(true) => {}
                Ok(false) => {
                    tokio::select! { () = changed => {}, () = tokio::time::sleep(POLL) => {} }
                }
                Err(error) => {
                    tracing::warn!(%error, "the board stands still");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            if Instant::now() >= sweep {
                sweep = Instant::now() + SWEEP;
                self.sweep();
            }
        }
    }

    /// What goes on, then the newest of what is over; the place in the log from which on it has to be followed.
    async fn load(&self) -> Result<u64, Error> {
        let place = self.0.journal.place().await?;
        let all = self.0.journal.sessions(false).await?;
        for listed in &all {
            // Who came before this and read before an append that this place is behind.
            self.head(listed.session, listed.head.seq);
        }
        for listed in all.iter().filter(|listed| !listed.ended) {
            self.read(listed.session).await;
        }
        self.0.ready.send_replace(true);
        for listed in all.iter().filter(|listed| listed.ended).take(OVER_KEPT) {
            self.read(listed.session).await;
        }
        self.publish();
        self.0.whole.send_replace(true);
        Ok(place)
    }

    /// Takes in what was appended since; false when there is nothing.
    async fn news(&self, place: &mut u64) -> Result<bool, Error> {
        let grown = self.0.journal.grown(*place, PAGE).await?;
        let Some(last) = grown.last() else { return Ok(false) };
        let next = last.place;
        let mut heads = BTreeMap::new();
        for grown in &grown {
            if let StreamId::Session(id) = grown.stream {
                heads.insert(id, grown.seq);
            }
        }
        // Who follows a session reads it while the board is brought up to date.
        for (id, seq) in &heads {
            self.head(*id, *seq);
        }
        for id in heads.keys() {
            self.advance(*id).await;
        }
        *place = next;
        self.publish();
        Ok(true)
    }

    fn head(&self, id: SessionId, seq: Seq) {
        let mut heads = lock(&self.0.heads);
        if let Some(head) = heads.get(&id) {
            if head.receiver_count() == 0 {
                heads.remove(&id);
            } else {
                head.send_if_modified(|at| std::mem::replace(at, seq.max(*at)) < seq);
            }
        }
    }

    /// Folds a session's new records in; reads it anew where that does not go.
    async fn advance(&self, id: SessionId) {
        let known = self.board().open_at(id);
        let Some(mut after) = known else { return self.read(id).await };
        loop {
            let Ok(page) = self.0.journal.read(StreamId::Session(id), after, PAGE).await else {
                return self.read(id).await;
            };
            for stored in &page {
                let Ok(record) = record::decode::<Event>(&stored.bytes) else { return self.read(id).await };
                let took = self.board().apply(id, &record);
                if matches!(took, Took::Anew) {
                    return self.read(id).await;
                }
                after = stored.seq;
            }
            if page.len() < PAGE {
                break;
            }
        }
        self.settle(id).await;
    }

    /// A session as the journal has it.
    async fn read(&self, id: SessionId) {
        match self.0.source.look(id).await {
            Ok(Some(session)) => {
                let goal = match &session.spec {
                    Some(spec) => self.0.source.headline(spec.goal).await,
                    None => String::new(),
                };
                let (held, now) = (self.0.source.held(id), self.now());
                self.board().put(session, goal, held, now);
                self.settle(id).await;
            }
            Ok(None) => {}
            Err(fault) => {
                let now = self.now();
                self.board().put_broken(id, fault.what, now);
            }
        }
    }

    async fn settle(&self, id: SessionId) {
        let asking = self.board().session(id).filter(|state| asks(state)).cloned();
        let asked = match &asking {
            Some(state) => self.0.source.asked(state).await,
            None => Vec::new(),
        };
        let (held, now) = (self.0.source.held(id), self.now());
        let mut board = self.board();
        board.ask(id, asked);
        board.hold(id, held);
        board.settle(id, now);
    }

    fn sweep(&self) {
        let now = self.now();
        let open = self.board().open();
        let held: BTreeMap<SessionId, bool> =
            open.into_iter().map(|id| (id, self.0.source.held(id))).collect();
        let moved = self.board().sweep(now, |id| held.get(&id).copied().unwrap_or(false));
        lock(&self.0.heads).retain(|_, head| head.receiver_count() > 0);
        if moved > 0 {
            self.publish();
        }
    }

    fn publish(&self) {
        let rev = self.board().rev();
        self.0.rev.send_replace(rev);
    }
}

/// May it ask a person something? Whatever it is, who knows is [`Source::asked`].
fn asks(state: &kernel::Session) -> bool {
    state.pause.is_some() || !state.approvals.is_empty() || !state.questions.is_empty()
}

/// For who follows.
impl Hub {
    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.0.board)
    }

    pub(crate) fn journal(&self) -> &Arc<dyn Journal> {
        &self.0.journal
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.source.now()
    }

    pub(crate) fn about(&self) -> &About {
        &self.0.about
    }

    /// What unfinished sessions ask a person now, or only this one; `None` when there is no such session. A state on the
    /// board is as good as the journal's while it is as long.
    pub(crate) async fn asked(&self, of: Option<SessionId>) -> Result<Option<Vec<Value>>, Fault> {
        if let Some(id) = of
            && self.journal().head(StreamId::Session(id)).await.map_err(|error| error.fault())?.seq == 0
        {
            return Ok(None);
        }
        let mut all = Vec::new();
        let listed = self.journal().sessions(true).await.map_err(|error| error.fault())?;
        for listed in listed.into_iter().filter(|listed| of.is_none_or(|of| of == listed.session)) {
            let (id, seq) = (listed.session, listed.head.seq);
            let known = self
                .board()
                .session(id)
                .filter(|state| state.seq >= seq)
                .map(|state| asks(state).then(|| state.clone()));
            let state = match known {
                Some(state) => state,
                // One that cannot be read asks nothing; the list of sessions says what is wrong with it.
                None => self.0.source.look(id).await.ok().flatten(),
            };
            if let Some(state) = state {
                all.extend(self.0.source.asked(&state).await);
            }
        }
        Ok(Some(all))
    }

    /// Everything that goes on is on the board.
    pub(crate) async fn ready(&self) {
        let mut ready = self.0.ready.subscribe();
        // The sender lives as long as this does.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// So is what is over and listed still.
    pub(crate) async fn whole(&self) {
        let mut whole = self.0.whole.subscribe();
        // The sender lives as long as this does.
        let _ = whole.wait_for(|whole| *whole).await;
    }

    pub(crate) fn revs(&self) -> watch::Receiver<u64> {
        self.0.rev.subscribe()
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.clone()
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Told> {
        self.0.told.subscribe()
    }

    /// Changes when the session has grown. What it grew by is in the journal.
    pub(crate) fn grows(&self, id: SessionId) -> watch::Receiver<Seq> {
        lock(&self.0.heads).entry(id).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Room for one more event stream; `None` when there are as many as there may be.
    pub(crate) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.streams).try_acquire_owned().ok()
    }
}
