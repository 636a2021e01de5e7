//! Before what a job did is checked, and before it lands: what it relies on is looked at, and put on record.
//!
//! A wall around two ports: with something wrong, the stage does not begin. Knows sessions by what they were opened with;
//! those that a person runs are let through. Start at [`Watch::before`].

use contract::checks::{CheckJob, CheckOutput, Checks, Suite};
use contract::event::Event;
use contract::journal::Journal;
use contract::looping::LoopEvent;
use contract::port::{Clock, Sink};
use contract::session::SessionSpec;
use contract::workspace::{Change, CheckMerged, Landed, Landing, Origin, Ready, Workspace};
use contract::{BoxFuture, Cancel, Fault, Kind, Seq, SessionId, StreamId};
use desk::{Desk, Surroundings};
use engine::looping::commit;
use kernel::looping::Loop;
use std::path::PathBuf;
use std::sync::Arc;

/// Who looks at what jobs rely on.
pub struct Watch {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Who only looks changes no file.
#[derive(Debug)]
struct Nothing;

impl desk::Record for Nothing {
    fn record(&self, _: &str, _: contract::board::BoardEvent) -> Result<Seq, Fault> {
        Err(Fault::new(Kind::Permanent, "only-looks", "looking changes no file"))
    }
}

impl Watch {
    /// Over this store.
    pub fn new(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Self {
        Self { journal, clock }
    }

    /// Looks, where the session is a job of the loop: shared files readable and of their form, modes valid, the commit
    /// that is checked out, and which files changed since the last look. A fault where something is wrong.
    pub async fn before(&self, session: SessionId, stage: &str) -> Result<(), Fault> {
        let Some(spec) = self.opened(session).await? else { return Ok(()) };
        if !kernel::workflow::is_unattended(&spec.workflow) {
            return Ok(());
        }
        let Surroundings { files, head, wrong } = self.look(&spec.repo).await?;
        let (mut known, now) = (Loop::default(), self.clock.now());
        let fact = |known: &Loop| {
            let before = known.synced.as_ref().map(|synced| &synced.files);
            let drift = before.map(|before| kernel::looping::drift(before, &files)).unwrap_or_default();
            vec![LoopEvent::Synced {
                session,
                stage: stage.to_owned(),
                head: head.clone(),
                files: files.clone(),
                drift,
                wrong: wrong.clone(),
            }]
        };
        let done = commit(&*self.journal, &spec.repo, &mut known, now, Vec::new(), fact).await;
        done.map_err(|error| error.fault())?;
        if wrong.is_empty() {
            return Ok(());
        }
        let what = format!(
            "before {stage}, something that the project's loop relies on is wrong: {}",
            wrong.join("; ")
        );
        Err(Fault::new(Kind::UserFixable, "surroundings", what)
            .hint(format!("mend it, then: kapell resume {session}")))
    }

    async fn look(&self, repo: &str) -> Result<Surroundings, Fault> {
        let (repo, clock) = (PathBuf::from(repo), Arc::clone(&self.clock));
        let looked = tokio::task::spawn_blocking(move || {
            let desk = Desk::open(desk::Options::new(repo), Arc::new(Nothing), clock)?;
            Ok(desk.surroundings())
        });
        looked.await.unwrap_or_else(|error| {
            Err(Fault::new(Kind::Permanent, "project-files", error.to_string()).hint("try again"))
        })
    }

    async fn opened(&self, session: SessionId) -> Result<Option<SessionSpec>, Fault> {
        let stream = StreamId::Session(session);
        let first = self.journal.read(stream, 0, 1).await.map_err(|error| error.fault())?.pop();
        let Some(first) = first else { return Ok(None) };
        let record = engine::store::decode::<Event>(stream, first.seq, &first.bytes);
        match record.map_err(|error| error.fault())?.event {
            Event::Opened { spec } => Ok(Some(*spec)),
            _ => Ok(None),
        }
    }
}

/// A port before which somebody looks.
pub struct Synced<T> {
    inner: Arc<T>,
    watch: Arc<Watch>,
}

impl<T> Synced<T> {
    /// Around this one.
    pub fn over(inner: Arc<T>, watch: &Arc<Watch>) -> Self {
        Self { inner, watch: Arc::clone(watch) }
    }
}

impl<T> std::fmt::Debug for Synced<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Synced").finish_non_exhaustive()
    }
}

impl<T: Checks> Checks for Synced<T> {
    fn find(&self, repo: PathBuf, commit: String) -> BoxFuture<'_, Result<Suite, Fault>> {
        self.inner.find(repo, commit)
    }

    fn run<'a>(
        &'a self,
        job: CheckJob,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<CheckOutput, Fault>> {
        Box::pin(async move {
            self.watch.before(job.session, "validate").await?;
            self.inner.run(job, cancel, sink).await
        })
    }
}

impl<T: Workspace> Workspace for Synced<T> {
    fn prepare(&self, session: SessionId, origin: Origin) -> BoxFuture<'_, Result<Ready, Fault>> {
        self.inner.prepare(session, origin)
    }

    fn release(&self, session: SessionId) -> BoxFuture<'_, ()> {
        self.inner.release(session)
    }

    fn root(&self, session: SessionId) -> PathBuf {
        self.inner.root(session)
    }

    fn savepoint(&self, session: SessionId, label: String) -> BoxFuture<'_, Result<String, Fault>> {
        self.inner.savepoint(session, label)
    }

    fn restore(&self, session: SessionId, label: String) -> BoxFuture<'_, Result<bool, Fault>> {
        self.inner.restore(session, label)
    }

    fn commit(&self, session: SessionId, message: String) -> BoxFuture<'_, Result<String, Fault>> {
        self.inner.commit(session, message)
    }

    fn inspect(
        &self,
        session: SessionId,
        base: String,
        result: String,
        commands: Vec<String>,
    ) -> BoxFuture<'_, Result<Change, Fault>> {
        self.inner.inspect(session, base, result, commands)
    }

    fn diff(
        &self,
        session: SessionId,
        base: String,
        result: String,
    ) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        self.inner.diff(session, base, result)
    }

    fn integrate<'a>(
        &'a self,
        session: SessionId,
        origin: Origin,
        landing: Landing,
        check: CheckMerged<'a>,
        cancel: Cancel,
    ) -> BoxFuture<'a, Result<Landed, Fault>> {
        Box::pin(async move {
            self.watch.before(session, "integrate").await?;
            self.inner.integrate(session, origin, landing, check, cancel).await
        })
    }

    fn adopt(
        &self,
        session: SessionId,
        child: SessionId,
        commit: String,
    ) -> BoxFuture<'_, Result<(bool, String), Fault>> {
        self.inner.adopt(session, child, commit)
    }
}
