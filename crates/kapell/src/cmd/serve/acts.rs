//! What the API wishes: intents for the inbox, and new sessions in this process. Decides nothing.
//!
//! Start at [`Daemon::act`].

use super::host::Daemon;
use crate::args::{AskWord, RunOptions};
use crate::cmd::approve::{self};
use crate::cmd::tell::{Taken, tell_here};
use crate::cmd::{always, jobs, resume, rewind, run, sessions};
use crate::exit::Failure;
use crate::pick;
use crate::show::asked::Asked;
use crate::show::clean;
use crate::tree::{Blocker, Need, Tree};
use crate::{quantity, repo};
use api::{Act, Decision, Key, Order, Rule, Say};
use clap::ValueEnum;
use contract::intent::{Source, Wish};
use contract::journal::Journal;
use contract::model::Models;
use contract::port::Clock;
use contract::session::SessionSpec;
use contract::{Digest, Fault, Kind, SessionId, StreamId};
use kernel::Session;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// A repository and a model may be looked at for so long before a session is opened.
const ORDERED: Duration = Duration::from_secs(60);

impl Daemon {
    /// One wish.
    pub(super) async fn act(&self, act: Act, key: Key) -> Result<Value, Failure> {
        match act {
            Act::Open(order) => self.open(*order, key).await,
            Act::Wish { session, wish, ttl_ms } => {
                let (wish, blobs) = self.wish(session, wish).await?;
                let order =
                    engine::Order { session, source: Source::User, wish, key: Some(key.text), ttl_ms, blobs };
                self.told(order).await
            }
            Act::Decide { session, approval, decision } => {
                self.decide(session, &approval, &decision, key).await
            }
            Act::OpenTerminal { session, terminal } => self.open_terminal(session, terminal, key).await,
            Act::StopJob { session, job } => {
                let session = pick::session(&*self.wired.store, &session.to_string()).await?;
                let all = tools::Jobs::new(self.app.home.sessions_dir());
                let dir = jobs::find(&all, session, Some(&job))?.1;
                jobs::stopped(&job, &dir).await?;
                jobs::value(&job, &dir)
            }
        }
    }

    async fn open(&self, order: Order, key: Key) -> Result<Value, Failure> {
        let clock = &self.app.clock;
        let fresh = SessionId::v7(clock.now().0, clock.random());
        if key.given
            && let Some(id) = self.requests.known(&key, clock.now()).await?
            && self.is_open(id).await?
        {
            return sessions::value(&self.app, &self.wired, id).await;
        }
        // What cannot be opened takes no key, and keeps nobody else waiting.
        let goal = order.goal.clone();
        let spec = timeout(ORDERED, self.ordered(order)).await.map_err(|_| {
            let what = "looking at this repository and its model took too long";
            Failure::from(
                Fault::new(Kind::Transient, "slow", what).hint("try again; kapell doctor looks for why"),
            )
        })??;
        // Who comes again waits until it is known what became of the first.
        let _alone = match key.given {
            true => Some(self.opening.lock().await),
            false => None,
        };
        let id = match key.given {
            true => self.requests.promised(&key, fresh, clock.now()).await?,
            false => fresh,
        };
        if id == fresh || !self.is_open(id).await? {
            self.wired.engine.open_as(id, spec, vec![goal.into_bytes()]).await?;
            self.ours().insert(id);
        }
        sessions::value(&self.app, &self.wired, id).await
    }

    async fn is_open(&self, id: SessionId) -> Result<bool, Failure> {
        Ok(self.wired.store.head(StreamId::Session(id)).await?.seq > 0)
    }

    /// As a session is opened, looked at from every side.
    async fn ordered(&self, order: Order) -> Result<SessionSpec, Failure> {
        let top = repo::find_text(Path::new(&order.repo))?;
        let goal = order.goal.clone();
        let spec = run::ordered(&self.app, &goal, top, options(order)?).await?;
        run::known_tools(&self.wired, spec.rights.tools.as_deref())?;
        self.app.declare_caps(&self.wired, &spec.repo).await?;
        Ok(spec)
    }

    /// As it is stored, and the texts it names.
    async fn wish(&self, session: SessionId, wish: api::Wish) -> Result<(Wish, Vec<Vec<u8>>), Failure> {
        let state = self.look(session).await?;
        let repo = state.spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
        let text = |what: &str, text: String| -> Result<(Digest, u64, Vec<Vec<u8>>), Failure> {
            self.app.secrets.refuse(what, &text, Path::new(&repo))?;
            Ok((Digest::of(text.as_bytes()), text.len() as u64, vec![text.into_bytes()]))
        };
        Ok(match wish {
            api::Wish::Continue => (Wish::Continue, Vec::new()),
            api::Wish::Message { text: said } => {
                let (text, bytes, blobs) = text("message", said)?;
                (Wish::Message { text, bytes }, blobs)
            }
            api::Wish::Cancel => (Wish::Cancel, Vec::new()),
            api::Wish::Pause => (Wish::Pause, Vec::new()),
            api::Wish::Resume { model } => {
                let model = match model {
                    None => None,
                    Some(id) => {
                        self.wired.models.look(&id).await;
                        let opened = self.wired.models.open(&id, Path::new(&repo));
                        let (model, _) = opened.map_err(|fault| Failure::from(fault).into_usage())?;
                        resume::unasked(&state, &id)?;
                        Some(Box::new(model))
                    }
                };
                // What the person's configuration says now holds from here on.
                self.app.declare_caps(&self.wired, &repo).await?;
                (Wish::Resume { model }, Vec::new())
            }
            api::Wish::Approve { approval, hash } => (Wish::Approve { approval, hash }, Vec::new()),
            api::Wish::Deny { approval } => (Wish::Deny { approval }, Vec::new()),
            api::Wish::Answer { question, text: said } => {
                let (text, bytes, blobs) = text("answer", said)?;
                (Wish::Answer { question, text, bytes }, blobs)
            }
            api::Wish::Rewind { to } => {
                rewind::ready(&self.wired, &session.to_string(), to).await?;
                (Wish::Rewind { to }, Vec::new())
            }
            api::Wish::Uncompact { item } => (Wish::Uncompact { item }, Vec::new()),
            api::Wish::AddBudget { amount } => (Wish::AddBudget { amount }, Vec::new()),
            api::Wish::CapCall { call } => (Wish::CapCall { call }, Vec::new()),
        })
    }

    pub(super) async fn look(&self, session: SessionId) -> Result<Session, Failure> {
        let state = self.wired.engine.look(session).await?;
        state.ok_or_else(|| {
            let what = format!("there is no session {session}");
            Failure::usage("no-session", what, "kapell sessions lists them")
        })
    }

    /// A yes or no, bound to what was shown.
    async fn decide(
        &self,
        named: SessionId,
        approval: &str,
        decision: &Decision,
        key: Key,
    ) -> Result<Value, Failure> {
        let (app, wired) = (&self.app, &self.wired);
        self.look(named).await?;
        let tree = Tree::open(&wired.engine, named).await?;
        // Only what waits no more can have been answered by this very request before.
        let (session, approval, repeated) = match approve::find(&tree, named, Some(approval)) {
            Ok((session, approval)) => (session, approval, false),
            Err(failure) => match self.repeated(&tree, &key).await? {
                Some(session) => (session, approval.to_owned(), true),
                None => return Err(failure),
            },
        };
        let Decision { say, hash, rule } = decision;
        let hash = hash.unwrap_or_default();
        if *say == Say::Yes {
            let blocker = Blocker { session, kind: Need::Approval(approval.clone()) };
            let asked = match tree.get(session) {
                Some(state) => Asked::of(&*wired.store, state, &blocker).await,
                None => None,
            };
            if asked.is_some_and(|asked| asked.hash != Some(hash)) {
                let what = format!("approval {approval} is about something else than what has this hash");
                let hint = "look at it again: GET /v1/approvals";
                return Err(Failure::usage("hash-differs", what, hint));
            }
        }
        // Who comes again is told what became of the first time, which wrote its rule.
        let rules = match (rule, tree.get(session)) {
            (Some(_), Some(state)) if !repeated => {
                match always::rules(app, &*wired.store, state, &approval).await {
                    Ok(rules) => rules,
                    // A key that stood for another wish is told so first: below, where that is seen.
                    Err(_) if self.repeated(&tree, &key).await?.is_some() => Vec::new(),
                    Err(failure) => return Err(failure),
                }
            }
            _ => Vec::new(),
        };
        let wish = match say {
            Say::Yes => Wish::Approve { approval, hash },
            Say::No => Wish::Deny { approval },
        };
        let key = Some(key.text);
        let order =
            engine::Order { session, source: Source::User, wish, key, ttl_ms: None, blobs: Vec::new() };
        // What came too late is an error here: it is no yes, and makes no rule. Nor does what nobody took yet.
        let mut told = self.told(order).await?;
        if !rules.is_empty() && told["taken"] != "applied" {
            told["why"] = "no rule was written: the session's process has not looked yet".into();
            return Ok(told);
        }
        let repo = tree.root().spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
        match rule {
            Some(Rule::Session) => always::write(app, &rules, &always::Scope::Session(tree.root().root()))?,
            Some(Rule::Always) => always::write(app, &rules, &always::Scope::Repo(&repo))?,
            None => {}
        }
        Ok(told)
    }

    /// The session that heard this key before: what it answered waits no more, and is answered again all the same.
    async fn repeated(&self, tree: &Tree, key: &Key) -> Result<Option<SessionId>, Failure> {
        if !key.given {
            return Ok(None);
        }
        for state in tree.sessions() {
            if crate::cmd::tell::heard(&self.wired, state.id, &key.text).await? {
                return Ok(Some(state.id));
            }
        }
        Ok(None)
    }

    /// Leaves it in the inbox, and tells what became of it.
    async fn told(&self, order: engine::Order) -> Result<Value, Failure> {
        let (session, wish, key) = (order.session, order.wish.name(), order.key.clone());
        let state = self.look(session).await?;
        let (told, intent) = tell_here(&self.wired, order).await?;
        if told.holder.is_none() {
            self.ours().insert(state.root());
        }
        let taken = match told.taken {
            Taken::Applied => "applied",
            Taken::Queued => "queued",
            Taken::Waiting => "waiting",
            Taken::Refused(why) => {
                let what = format!("{wish} was refused: {}", clean::line(&why));
                return Err(Failure::failed(
                    "refused",
                    what,
                    "look at the session again: what it waits for has changed",
                ));
            }
        };
        Ok(json!({
            "session_id": session.to_string(), "wish": wish, "taken": taken, "why": "", "holder": told.holder,
            "next": "", "intent": intent.map(|id| id.to_string()), "key": key,
        }))
    }
}

/// The options of `kapell run` that an order stands for.
fn options(order: Order) -> Result<RunOptions, Failure> {
    let usage = |what: String| Failure::usage("bad-field", what, "kapell run --help says what it takes");
    let ask = order.ask.map(|word| {
        AskWord::from_str(&word, false)
            .map_err(|_| usage(format!("`ask` is never, external or writes, not `{word}`")))
    });
    let money = order
        .max_budget_usd
        .map(|text| quantity::nanos(&text).map_err(|why| usage(format!("`max_budget_usd`: {why}"))));
    Ok(RunOptions {
        model: order.model,
        fallback_model: order.fallback_model,
        max_budget_usd: money.transpose()?,
        max_tokens: order.max_tokens,
        max_turns: order.max_turns.filter(|turns| *turns > 0),
        max_steps: order.max_steps,
        ask: ask.transpose()?,
        no_land: order.no_land,
        base: order.base,
        branch: order.branch,
        check: order.check,
        allowed_tools: order.allowed_tools,
        ..RunOptions::default()
    })
}
