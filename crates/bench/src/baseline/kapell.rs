//! Kapell behind the same few calls as B0, and its fake model and tool.
//!
//! The engine is the real one over a real store; only model, tool and workspace are fakes. Start at [`Kapell`].

use super::script::Script;
use crate::rig;
use anyhow::{Context, Result, bail};
use contract::action::EffectClass;
use contract::event::Event;
use contract::intent::{Source, Wish};
use contract::journal::{Journal, Submitted};
use contract::model::{
    Broken, Card, Model, ModelRef, Models, Reply, Request, Stop, ToolSpec, ToolUse, Usage,
};
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault, Kind, SessionId, StreamId, Timestamp};
use engine::{Attend, Engine, Order};
use kernel::fsm::Phase;
use kernel::session::{Session, Waiting};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long anything may take before a run counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a message waits before its sender looks why.
const STALLED: Duration = Duration::from_millis(250);
/// Between two looks at a session that is to come to rest.
const LOOK: Duration = Duration::from_millis(1);

/// A session that stopped for a person: nothing goes on by itself.
#[derive(Debug)]
pub(crate) struct Helpless(String);

impl std::fmt::Display for Helpless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Helpless {}

/// The real engine over a store in a directory.
pub(crate) struct Kapell {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Engine,
    script: Arc<Script>,
}

impl Kapell {
    /// `ends`: a session ends when its agent has nothing left to do, else it asks and waits.
    pub(crate) fn new(dir: &Path, script: Script, ends: bool) -> Result<Self> {
        Self::over(rig::store(dir)?, script, ends)
    }

    /// The same over any store.
    pub(crate) fn over(store: Arc<dyn Journal>, script: Script, ends: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let script = Arc::new(script);
        let agent = Arc::new(Agent { script: script.clone(), ends });
        let engine = {
            let _inside = runtime.enter();
            rig::engine_with(store, agent.clone(), vec![agent])
        };
        Ok(Self { runtime, engine, script })
    }

    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    /// Makes a session; its agent begins with the goal.
    pub(crate) fn open(&self, goal: &str) -> Result<SessionId> {
        let (mut spec, _) = rig::spec(100_000);
        (spec.goal, spec.goal_bytes) = (Digest::of(goal.as_bytes()), goal.len() as u64);
        Ok(self.runtime.block_on(self.engine.open(spec, vec![goal.into()]))?)
    }

    /// Leaves a wish in a session's inbox.
    pub(crate) fn submit(&self, session: SessionId, wish: Wish, key: &str) -> Result<Submitted> {
        let blobs = if let Wish::Message { .. } = wish { vec![key.as_bytes().to_vec()] } else { Vec::new() };
        let (source, key) = (Source::User, Some(key.to_owned()));
        Ok(self.runtime.block_on(self.engine.submit(Order {
            session,
            source,
            wish,
            key,
            ttl_ms: None,
            blobs,
        }))?)
    }

    /// A message, its text being its key.
    pub(crate) fn message(&self, session: SessionId, key: &str) -> Result<Submitted> {
        let wish = Wish::Message { text: Digest::of(key.as_bytes()), bytes: key.len() as u64 };
        self.submit(session, wish, key)
    }

    /// A message, until its first effect. A repeated one is answered at once.
    pub(crate) fn tell(&self, session: SessionId, key: &str) -> Result<()> {
        let told = self.script.sends(key);
        if self.message(session, key)? == Submitted::Repeat {
            return Ok(());
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if told.recv_timeout(STALLED).is_ok() {
                return Ok(());
            }
            // What came while the agent was about to ask waits behind its question: so a person answers it.
            if let Some(Waiting::Answer(question)) = self.look(session)?.waiting(Timestamp(u64::MAX)) {
                let wish = Wish::Answer { question: question.clone(), text: Digest::of(b"go on"), bytes: 5 };
                self.runtime.block_on(self.engine.journal().put(vec![b"go on".to_vec()]))?;
                self.submit(session, wish, &format!("answer-{question}"))?;
            }
        }
        let state = self.look(session)?;
        bail!(
            "{key} had no effect: {:?}, {:?}, {} queued",
            state.waiting(state.at),
            state.pause,
            state.queue.len()
        )
    }

    pub(crate) fn look(&self, session: SessionId) -> Result<Session> {
        let state = self.runtime.block_on(self.engine.look(session))?;
        state.with_context(|| format!("there is no session {session}"))
    }

    /// Until its arbiter has stopped.
    pub(crate) fn ended(&self, session: SessionId) -> Result<()> {
        match self.runtime.block_on(self.engine.stopped(session)) {
            Some(error) => bail!("session {session}: {error}"),
            None => Ok(()),
        }
    }

    pub(crate) fn close(&self, session: SessionId) -> Result<()> {
        self.submit(session, Wish::Cancel, &format!("close-{session}"))?;
        self.ended(session)
    }

    /// Until the agent waits for somebody and nothing is left to be taken up.
    pub(crate) fn rest(&self, session: SessionId) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            // The inbox first: what has left it by then is in the state.
            let mail = self.runtime.block_on(self.engine.journal().inbox(session))?;
            let state = self.look(session)?;
            if let Some(pause) = state.pause.as_ref().filter(|_| state.phase == Phase::Paused) {
                return Err(Helpless(format!("session {session} waits for a person: {}", pause.what)).into());
            }
            let waits = matches!(state.waiting(state.at), Some(Waiting::Answer(_)));
            let idle = state.queue.iter().all(|intent| intent.wish == Wish::Continue);
            if mail.is_empty() && (state.phase == Phase::Ended || (waits && idle)) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        bail!("session {session} does not come to rest")
    }

    /// The session that was opened with this goal, taken up again.
    pub(crate) fn again(&self, goal: &str) -> Result<Option<SessionId>> {
        let wanted = Digest::of(goal.as_bytes());
        for listed in self.runtime.block_on(self.engine.journal().sessions(false))? {
            let state = self.look(listed.session)?;
            if state.spec.as_ref().is_some_and(|spec| spec.goal == wanted) {
                if let Err(lease) = self.runtime.block_on(self.engine.attend(state.id, Attend::GoOn))? {
                    bail!("session {} is held by {}", state.id, lease.owner);
                }
                return Ok(Some(state.id));
            }
        }
        Ok(None)
    }

    /// What is on record of a session.
    pub(crate) fn events(&self, session: SessionId) -> Result<Vec<Event>> {
        let records = engine::store::records::<Event>(&**self.engine.journal(), StreamId::Session(session));
        Ok(self.runtime.block_on(records)?.into_iter().map(|record| record.event).collect())
    }

    pub(crate) fn shutdown(self) {
        self.runtime.block_on(self.engine.shutdown());
    }
}

/// The script as a model and as a tool.
struct Agent {
    script: Arc<Script>,
    ends: bool,
}

impl Model for Agent {
    fn card(&self) -> Card {
        rig::spec(0).0.model.card
    }

    fn respond<'a>(
        &'a self,
        request: Request,
        _: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>> {
        let said = self.script.say(&request.messages);
        let using = |tool: &str, args| ToolUse { id: tool.into(), tool: tool.into(), args };
        // While more is on its way there is something to do yet.
        let idle = || match self.script.expects_more() {
            true => using("work", json!({"what": "look"})),
            // Never the same words: what is asked again and again in vain counts as stuck.
            false => using("ask", json!({"question": format!("what after {}?", request.ordinal)})),
        };
        let reply = said.map(|call| {
            let call = call.or_else(|| (!self.ends).then(idle));
            let stop = if call.is_some() { Stop::ToolUse } else { Stop::EndTurn };
            let usage = Usage { input: 10, output: 10, ..Usage::default() };
            Reply::plain("", call.into_iter().collect(), stop, usage)
        });
        Box::pin(async { reply.map_err(|why| Fault::new(Kind::Transient, "overloaded", why).into()) })
    }
}

impl Models for Agent {
    fn open(&self, id: &str, _: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
        let model = Agent { script: self.script.clone(), ends: self.ends };
        Ok((ModelRef { id: id.to_owned(), card: model.card(), quota: None }, Arc::new(model)))
    }
}

impl Tool for Agent {
    fn spec(&self) -> ToolSpec {
        let (name, description) = ("work".into(), "leaves a line".into());
        ToolSpec { name, description, schema: json!({"type": "object"}) }
    }

    fn judge(&self, args: &Value, _: &Scope) -> Result<Judged, Fault> {
        let hash = Digest::of(args.to_string().as_bytes());
        let why = "the world knows keys".into();
        Ok(Judged { class: EffectClass::Keyed, why, hash, deadline_ms: None, held: None })
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(async move { Output::ok(self.script.work(&args, Some(&scope.key))) })
    }
}
