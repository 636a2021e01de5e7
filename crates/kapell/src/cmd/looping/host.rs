//! What the loop asks of this process, answered with the functions behind the commands.
//!
//! Decides nothing about slots and jobs. Start at [`Here`].

use crate::app::{App, Wired};
use crate::args::RunOptions;
use crate::cmd::run;
use crate::exit::Failure;
use crate::pick;
use crate::tree::Tree;
use crate::trust::{self, Item};
use ::looping::{Doing, End, Host, Looper, Opening, Place, Stand};
use contract::board::BoardEvent;
use contract::event::Final;
use contract::intent::{Source, Wish};
use contract::journal::Journal;
use contract::port::Clock;
use contract::session::{Limits, Rights, SessionSpec};
use contract::{Amount, BoxFuture, Fault, Seq, SessionId, Timestamp};
use desk::Desk;
use engine::{Attend, Order};
use kernel::fsm::Phase;
use kernel::looping::claim::{Task, Tasks};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sessions of the repository that are looked at, the newest.
const SESSIONS: usize = 200;

/// This process, for the loop of one repository.
pub(crate) struct Here<'a> {
    app: &'a App,
    wired: &'a Wired,
    trusting: Trusting,
    top: String,
}

/// What a person trusts of one repository.
pub(super) struct Trusting {
    trust: trust::Trust,
    repo: String,
}

impl Trusting {
    pub(super) fn new(app: &App, top: &Path) -> Self {
        let trust = app.trust();
        Self { repo: trust.repo(top), trust }
    }

    pub(super) fn item(&self, doing: &Doing) -> Item {
        trust::by_itself(&self.repo, doing.name.clone(), doing.run.clone(), &doing.does)
    }
}

impl ::looping::Trust for Trusting {
    fn trusts(&self, doing: &Doing) -> Result<bool, Fault> {
        Ok(self.trust.unknown(vec![self.item(doing)])?.is_empty())
    }
}

impl<'a> Here<'a> {
    /// For the repository with this top.
    pub(crate) fn new(app: &'a App, wired: &'a Wired, top: &str) -> Self {
        Self { app, wired, trusting: Trusting::new(app, Path::new(top)), top: top.to_owned() }
    }

    async fn spec(&self, opening: Opening) -> Result<SessionSpec, Failure> {
        let Opening { goal, mode, tools, writes, time_ms, task, .. } = opening;
        let goal = crate::show::text(&*self.wired.store, goal).await?;
        let options = RunOptions { allowed_tools: tools, ..RunOptions::default() };
        let config = self.app.config(Some(Path::new(&self.top)))?;
        let models = self.app.models(&config)?;
        run::looked(&models, &config).await;
        let hooks = run::hooks(self.app, &self.top, &config)?.hooks;
        let spec = run::spec(&goal, self.top.clone(), &config, options, &models)?;
        // What only reads here only reads there, whatever the mode is called.
        let mode = if kernel::policy::only_reads(&spec.mode) { spec.mode } else { mode };
        let budget = Amount { time_ms: spec.budget.time_ms.min(time_ms), ..spec.budget };
        let rights = Rights { writes, ..spec.rights };
        let limits = Limits { background: true, ..spec.limits };
        let workflow = kernel::workflow::unattended();
        Ok(SessionSpec { hooks, mode, workflow, rights, limits, budget, task: Some(task), ..spec })
    }

    async fn opened(&self, opening: Opening) -> Result<(), Failure> {
        let session = opening.session;
        let spec = self.spec(opening).await?;
        self.app.declare_caps(self.wired, &self.top).await?;
        // False: somebody else has opened it.
        self.wired.engine.open_once(session, spec, Vec::new()).await?;
        Ok(())
    }

    async fn stood(&self, session: SessionId) -> Result<Option<Stand>, Failure> {
        let Some(state) = self.wired.engine.look(session).await? else { return Ok(None) };
        if state.phase == Phase::Ended {
            let end = state.end.map(|end| End {
                code: end.code,
                why: end.why,
                cancelled: end.state == Final::Cancelled,
            });
            return Ok(Some(Stand { end, rests: true, held: false, paused: false }));
        }
        let tree = Tree::open(&self.wired.engine, session).await?;
        let rests = tree.idle(self.app.now()) && tree.root().phase != Phase::Ended;
        let paused = state.pause.as_ref().is_some_and(|pause| pause.why == "user");
        Ok(Some(Stand { end: None, rests, held: self.wired.locks.held(session), paused }))
    }

    async fn listed(&self, ours: &[SessionId]) -> Result<Tasks, Failure> {
        let (store, engine, now) = (&*self.wired.store, &self.wired.engine, self.app.now());
        let mut tasks = BTreeMap::new();
        let listed = store.sessions(false).await?;
        for (listed, spec) in pick::roots(store, &listed, SESSIONS).await? {
            if spec.repo != self.top {
                continue;
            }
            let id = listed.session;
            let task = if listed.ended {
                Task {
                    runs: false,
                    acts: false,
                    at: engine.look(id).await?.map_or(Timestamp(0), |state| state.at),
                }
            } else {
                let tree = Tree::open(engine, id).await?;
                // What a dead process left runs when somebody goes on with it: the loop does so with its own.
                let runs = !tree.idle(now) && (ours.contains(&id) || self.wired.locks.held(id));
                let at = tree.sessions().map(|state| state.at).max().unwrap_or_default();
                let acts = tree.sessions().any(|state| state.running.is_some());
                Task { runs: runs && tree.root().phase != Phase::Ended, acts, at }
            };
            tasks.insert(id, task);
        }
        Ok(Tasks(tasks))
    }
}

fn fault(failure: Failure) -> Fault {
    failure.fault
}

impl ::looping::Trust for Here<'_> {
    fn trusts(&self, doing: &Doing) -> Result<bool, Fault> {
        self.trusting.trusts(doing)
    }
}

impl Host for Here<'_> {
    fn clock(&self) -> &dyn Clock {
        &*self.app.clock
    }

    fn journal(&self) -> &dyn Journal {
        &*self.wired.store
    }

    fn refused(&self, what: &str, text: &str) -> Option<String> {
        let refused = self.app.secrets.refuse(what, text, Path::new(&self.top));
        refused.err().map(|failure| failure.fault.what)
    }

    fn stand(&self, session: SessionId) -> BoxFuture<'_, Result<Option<Stand>, Fault>> {
        Box::pin(async move { self.stood(session).await.map_err(fault) })
    }

    fn tasks<'a>(&'a self, ours: &'a [SessionId]) -> BoxFuture<'a, Result<Tasks, Fault>> {
        Box::pin(async move { self.listed(ours).await.map_err(fault) })
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { self.opened(opening).await.map_err(fault) })
    }

    fn go_on(&self, session: SessionId) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { self.wired.engine.attend(session, Attend::GoOn).await.map(drop) })
    }

    fn wish(&self, session: SessionId, wish: Wish, key: String) -> BoxFuture<'_, Result<(), Fault>> {
        let order =
            Order { session, source: Source::Schedule, wish, key: Some(key), ttl_ms: None, blobs: vec![] };
        Box::pin(async move {
            self.wired.engine.submit(order).await?;
            if !self.wired.locks.held(session) {
                self.wired.engine.attend(session, Attend::Settle).await.map(drop)?;
            }
            Ok(())
        })
    }
}

/// The loop of the repository with this top, in this process. Reads and writes nothing yet.
pub(crate) fn looper<'a>(app: &'a App, wired: &'a Wired, top: &str) -> Result<Looper<'a>, Failure> {
    let record = Recorder {
        store: Arc::clone(&wired.store),
        clock: Arc::clone(&app.clock),
        runtime: tokio::runtime::Handle::current(),
    };
    let desk = desk(app, top, Arc::new(record))?;
    let here = Box::new(Here::new(app, wired, top));
    Ok(Looper::new(here, Arc::new(desk), top.to_owned(), zone()))
}

/// The zone of this machine; what is wrong with it is said.
pub(super) fn zone() -> Option<Place> {
    Place::here().inspect_err(|wrong| crate::out::warn(wrong)).ok()
}

pub(super) fn desk(app: &App, top: &str, record: Arc<dyn desk::Record>) -> Result<Desk, Fault> {
    let clock: Arc<dyn Clock> = Arc::<crate::clock::System>::clone(&app.clock);
    Desk::open(desk::Options::new(PathBuf::from(top)), record, clock)
}

/// Puts changes of files on record, for the desk. Called from threads that may block.
struct Recorder {
    store: Arc<journal::Sqlite>,
    clock: Arc<crate::clock::System>,
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl desk::Record for Recorder {
    fn record(&self, repo: &str, event: BoardEvent) -> Result<Seq, Fault> {
        let now = self.clock.now();
        let recorded = self.runtime.block_on(engine::board::record(&*self.store, repo, &event, now));
        recorded.map_err(|error| error.fault())
    }
}
