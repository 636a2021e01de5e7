//! What the API looks at, each by the function behind the command of the same name.
//!
//! Start at [`Daemon::show`].

use super::host::Daemon;
use crate::args::AuditQuery;
use crate::cmd::mcp::find;
use crate::cmd::{audit, cost, diff, doctor, jobs, looping, models, sessions, spend, transcript, why};
use crate::exit::Failure;
use crate::pick;
use crate::show::{clean, headline};
use api::{Acts, Look, Page, Refused, View};
use contract::action::{Done, End};
use contract::event::{Event, TaskState};
use contract::journal::Journal;
use contract::{Fault, Kind, SessionId, StreamId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Newest sessions whose repositories are listed.
const REPOS_OF: usize = 1_000;
/// Records read at once.
const PAGE: usize = 1_000;
/// Characters around a hit.
const HIT_CHARS: usize = 200;

impl Daemon {
    pub(super) async fn show(&self, look: Look) -> Result<Value, Failure> {
        let (app, wired) = (&*self.app, &*self.wired);
        match look {
            Look::Doctor => doctor::value(app, wired).await,
            Look::Models => models::value(app, wired).await,
            Look::Config(repo) => {
                let config = app.config(repo.as_deref().map(Path::new))?;
                Ok(json!({"items": config.listing(&app.home.config)}))
            }
            Look::Audit(acts, page) => self.acts(acts, &page).await,
            Look::Search { words, limit } => self.search(&words, limit).await,
            Look::Repos => Ok(json!({"items": self.repos().await?})),
            Look::Schedules(repo) => self.schedules(repo).await,
            Look::Spent => cost::overview(app, wired).await,
            Look::Session(id, view) => {
                if wired.store.head(StreamId::Session(id)).await?.seq == 0 {
                    let fault =
                        Fault::new(Kind::UserFixable, "no-session", format!("there is no session {id}"));
                    return Err(Failure::from(fault.hint("kapell sessions lists them")).into_usage());
                }
                self.view(id, view).await
            }
        }
    }

    async fn view(&self, id: SessionId, view: View) -> Result<Value, Failure> {
        let (app, wired) = (&*self.app, &*self.wired);
        match view {
            View::Page => sessions::full(app, wired, id).await,
            View::Transcript { before, limit } => transcript::value(wired, id, before, limit).await,
            View::Why { action, before, limit } => why::page(wired, id, action, before, limit).await,
            View::Plan => self.plan(id).await,
            View::Checks => self.checks(id).await,
            View::Diff(of) => diff::value(wired, id, of).await,
            View::Cost => cost::value(wired, Some(&id.to_string())).await,
            View::Calls => Ok(spend::calls(wired, id).await?.json(id)),
            View::Jobs => Ok(jobs::values(id, &self.jobs().of(id))),
            View::Output(job, after) => {
                let (_, dir) = jobs::find(&self.jobs(), id, Some(&job))?;
                let piece = jobs::piece(&dir, after)?;
                let text = clean::text(&String::from_utf8_lossy(&piece.bytes));
                let bytes = piece.bytes.len() as u64;
                Ok(
                    json!({"from": piece.from, "bytes": bytes, "text": text, "end": piece.from + bytes >= piece.end}),
                )
            }
        }
    }

    fn jobs(&self) -> tools::Jobs {
        tools::Jobs::new(self.app.home.sessions_dir())
    }

    /// A cursor is how many acts were told.
    async fn acts(&self, acts: Acts, page: &Page) -> Result<Value, Failure> {
        let offset = match page.cursor.as_deref().map(str::parse) {
            None => 0,
            Some(Ok(offset)) => offset,
            Some(Err(_)) => return Err(Failure::from(Refused::bad_cursor().fault).into_usage()),
        };
        let Acts { session, category, action, outcome, severity, by, target, since, until } = acts;
        let wanted = AuditQuery {
            session,
            category,
            action,
            outcome,
            severity,
            by,
            target,
            since,
            until,
            limit: page.limit,
            offset,
            csv: false,
        };
        let (total, entries) = audit::page(&self.app, &self.wired, &wanted).await?;
        let told = offset + entries.len();
        let mut answer = json!({"items": entries, "total": total});
        if told < total {
            answer["next"] = told.to_string().into();
        }
        Ok(answer)
    }

    /// What was looked through is told too: there is no index, and not everything is.
    async fn search(&self, words: &str, limit: usize) -> Result<Value, Failure> {
        let found = find::search(&self.wired, words, limit).await?;
        let mut items = Vec::new();
        for hit in found["hits"].as_array().into_iter().flatten() {
            let (Some(id), Some(seq)) = (hit["session_id"].as_str(), hit["event"].as_u64()) else { continue };
            let Ok(session) = id.parse::<SessionId>() else { continue };
            let stream = StreamId::Session(session);
            let Some(stored) = self.wired.store.read(stream, seq.saturating_sub(1), 1).await?.pop() else {
                continue;
            };
            let record = engine::store::decode::<Event>(stream, seq, &stored.bytes)?;
            let text: String = hit["text"].as_str().unwrap_or_default().chars().take(HIT_CHARS).collect();
            items.push(json!({
                "session_id": id, "seq": seq, "at": record.at.to_string(), "kind": kind(&record.event), "text": text,
            }));
        }
        Ok(json!({"items": items, "searched": found["searched"], "sessions": found["sessions"]}))
    }

    /// A repository that is gone, or a file that cannot be read, is told of beside the others.
    async fn schedules(&self, repo: Option<String>) -> Result<Value, Failure> {
        let repos = match repo {
            Some(repo) => BTreeSet::from([repo]),
            None => self.repos().await?,
        };
        let (mut items, mut trouble) = (Vec::new(), Vec::new());
        for repo in repos {
            match looping::values(&self.app, &self.wired, &repo).await {
                Ok(found) => items.extend(found),
                Err(failure) => trouble.push(json!({"repo": repo, "what": failure.fault.what})),
            }
        }
        Ok(json!({"items": items, "trouble": trouble}))
    }

    /// The repositories that the newest sessions were opened for.
    pub(super) async fn repos(&self) -> Result<BTreeSet<String>, Failure> {
        let mut repos = BTreeSet::new();
        for listed in self.wired.store.sessions(false).await?.iter().take(REPOS_OF) {
            // One that is damaged is told of where sessions are listed.
            if let Ok(Some(spec)) = pick::spec(&*self.wired.store, listed.session).await {
                repos.insert(spec.repo);
            }
        }
        Ok(repos)
    }

    async fn plan(&self, id: SessionId) -> Result<Value, Failure> {
        let state = self.wired.engine.look(id).await?.unwrap_or_else(|| kernel::Session::new(id));
        let mut tasks = Vec::new();
        for (task, at) in &state.plan.tasks {
            let mut value = serde_json::to_value(task).unwrap_or_default();
            value["goal_text"] = headline(&*self.wired.store, task.goal).await.into();
            value["state"] = state_of(*at).into();
            tasks.push(value);
        }
        let todo = sessions::todo(&*self.wired.store, &state).await;
        let todo: Vec<Value> =
            todo.iter().map(|(state, text)| json!({"state": state, "text": text})).collect();
        Ok(json!({"tasks": tasks, "todo": todo}))
    }

    async fn checks(&self, id: SessionId) -> Result<Value, Failure> {
        let state = self.wired.engine.look(id).await?.unwrap_or_else(|| kernel::Session::new(id));
        let judged = state.verdict.as_ref();
        let report = match judged {
            Some(_) => self.report(id).await?,
            None => Value::Null,
        };
        Ok(json!({
            "verdict": judged.map(|judged| judged.verdict.name()),
            "result": judged.map(|judged| &judged.result),
            "reasons": judged.map(|judged| judged.reasons.clone()).unwrap_or_default(),
            "flags": state.flags,
            "report": report,
        }))
    }

    /// The newest runs of the checks.
    async fn report(&self, id: SessionId) -> Result<Value, Failure> {
        const CHECKED: &[u8] = b"\"checked\"";
        let stream = StreamId::Session(id);
        let (mut after, mut newest) = (0, None);
        loop {
            let page = self.wired.store.read(stream, after, PAGE).await?;
            for stored in &page {
                after = stored.seq;
                if stored.bytes.windows(CHECKED.len()).any(|window| window == CHECKED) {
                    newest = Some(stored.clone());
                }
            }
            if page.len() < PAGE {
                break;
            }
        }
        let Some(stored) = newest else { return Ok(Value::Null) };
        let record = engine::store::decode::<Event>(stream, stored.seq, &stored.bytes)?;
        Ok(match record.event {
            Event::Finished { outcome } => match outcome.end {
                End::Done(Done::Checked(report)) => serde_json::to_value(report).unwrap_or_default(),
                _ => Value::Null,
            },
            _ => Value::Null,
        })
    }
}

/// What kind of text an event brought.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Opened { .. } => "goal",
        Event::Finished { outcome } => match &outcome.end {
            End::Done(Done::Said { .. }) => "said",
            _ => "result",
        },
        Event::Submitted { .. } | Event::Asked { .. } | Event::Answered { .. } => "said",
        _ => "command",
    }
}

fn state_of(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => "pending",
        TaskState::Active => "active",
        TaskState::Done => "done",
        TaskState::Failed => "failed",
        TaskState::Skipped => "skipped",
    }
}
