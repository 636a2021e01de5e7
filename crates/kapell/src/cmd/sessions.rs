//! `sessions`: the list, one session in full, the tree.
//!
//! Start at [`run`].

use super::work::leave;
use crate::app::{self, App, Wired};
use crate::args::{ListOptions, Listing};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::quantity::span;
use crate::show::asked::Asked;
use crate::show::{clean, describe, headline, json_page, table::table};
use crate::tree::Tree;
use contract::event::TaskState;
use contract::journal::Journal;
use contract::money::usd;
use contract::port::Blobs;
use contract::workspace::Workspace;
use contract::{SessionId, Timestamp};
use kernel::Session;
use kernel::view::{self, Waits};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Sessions that are listed when nobody asks for all.
const NEWEST: usize = 30;
/// Characters of a goal in a list.
const GOAL: usize = 72;

/// Shows sessions; the exit code.
pub(crate) async fn run(app: &App, what: Option<Listing>, options: ListOptions) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return none(app, what.as_ref()) };
    let done = match what {
        None => list(app, &wired, options).await,
        Some(Listing::List(options)) => list(app, &wired, options).await,
        Some(Listing::Show { session }) => show(app, &wired, &session).await,
        Some(Listing::Transcript { session }) => super::transcript::run(app, &wired, &session).await,
        Some(Listing::Tree { session }) => tree(app, &wired, session.as_deref()).await,
    };
    leave(wired).await;
    done
}

fn none(app: &App, what: Option<&Listing>) -> Result<u8, Failure> {
    match what {
        Some(Listing::Show { .. } | Listing::Transcript { .. } | Listing::Tree { session: Some(_) }) => {
            Err(app::no_sessions())
        }
        _ if app.global.json => {
            out::print("[]\n");
            Ok(exit::OK)
        }
        _ => {
            out::print("There are no sessions yet. Start one: kapell run \"your goal\", or kapell demo\n");
            Ok(exit::OK)
        }
    }
}

async fn list(app: &App, wired: &Wired, options: ListOptions) -> Result<u8, Failure> {
    let listed = wired.store.sessions(false).await?;
    let most = if options.all { usize::MAX } else { NEWEST };
    let mut rows = Vec::new();
    for listed in listed.iter().take(most) {
        rows.push(Row::of(app, wired, listed.session).await?);
    }
    if app.global.json {
        out::print(&json_page(&rows.iter().map(Row::json).collect()));
        return Ok(exit::OK);
    }
    if rows.is_empty() {
        return none(app, None);
    }
    let now = app.now();
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells(now)).collect();
    let width = app.term.stdout.then(|| app.term.width());
    out::print(&table(&["SESSION", "STATE", "AGE", "STEPS", "COST", "GOAL"], &cells, width));
    if listed.len() > rows.len() {
        out::print(&format!("and {} older: kapell sessions --all\n", listed.len() - rows.len()));
    }
    Ok(exit::OK)
}

/// The newest sessions for programs.
pub(super) async fn values(app: &App, wired: &Wired, most: usize) -> Result<Vec<Value>, Failure> {
    let mut values = Vec::new();
    for listed in wired.store.sessions(false).await?.iter().take(most) {
        values.push(value(app, wired, listed.session).await?);
    }
    Ok(values)
}

/// One session for programs.
pub(super) async fn value(app: &App, wired: &Wired, session: SessionId) -> Result<Value, Failure> {
    Ok(Row::of(app, wired, session).await?.json())
}

/// A session in a list.
struct Row {
    state: Session,
    goal: String,
    /// What is wrong with it, when it cannot be read.
    broken: Option<String>,
    holder: Option<String>,
    word: &'static str,
    /// What it waits for.
    waits: Option<Waits>,
    children: usize,
}

impl Row {
    /// A session that cannot be read is listed with what is wrong: it must never vanish.
    async fn of(app: &App, wired: &Wired, id: SessionId) -> Result<Self, Failure> {
        let (state, broken) = match wired.engine.look(id).await {
            Ok(state) => (state.unwrap_or_else(|| Session::new(id)), None),
            Err(fault) => (Session::new(id), Some(fault.what)),
        };
        let goal = match &state.spec {
            Some(spec) => headline(&*wired.store, spec.goal).await,
            None => String::new(),
        };
        let now = app.now();
        let held = wired.locks.held(id);
        let lease = wired.store.holder(id).await?.filter(|_| held);
        let (word, waits) = (word(&state, held, now), view::waits(&state, now));
        let children = state.children.len();
        Ok(Self { goal, broken, holder: lease.map(|lease| lease.owner), word, waits, children, state })
    }

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let child = self.state.spec.as_ref().is_some_and(|spec| spec.parent.is_some());
        let goal = match &self.broken {
            Some(why) => format!("cannot be read: {}", clean::line(why)),
            None => format!("{}{}", if child { "↳ " } else { "" }, clean::cut(&self.goal, GOAL)),
        };
        vec![
            short(self.state.id),
            self.word.to_owned(),
            span(now.since(self.state.opened)),
            self.state.step.to_string(),
            usd(self.state.used.nanos),
            goal,
        ]
    }

    fn json(&self) -> Value {
        let state = &self.state;
        let spec = state.spec.as_ref();
        json!({
            "session_id": state.id.to_string(),
            "short": short(state.id),
            "state": self.word,
            "exit_code": state.end.as_ref().map(|end| end.code).or(state.pause.as_ref().map(|pause| pause.code)),
            "why": state.end.as_ref().map(|end| &end.why).or(state.pause.as_ref().map(|pause| &pause.what)),
            "waits": self.waits,
            "stage": state.stage().map(|stage| &stage.name),
            "round": state.round,
            "goal": self.goal,
            "repo": spec.map(|spec| &spec.repo),
            "model": state.model.as_ref().map(|model| &model.id),
            "opened": state.opened.to_string(),
            "updated": state.at.to_string(),
            "events": state.seq,
            "steps": state.step,
            "tokens": state.used.tokens,
            "cost_nanos": state.used.nanos,
            "verdict": state.verdict.as_ref().map(|judged| judged.verdict.name()),
            "landed": state.landed,
            "parent": spec.and_then(|spec| Some(spec.parent.as_ref()?.session.to_string())),
            "children": self.children,
            "holder": self.holder,
            "broken": self.broken,
        })
    }
}

/// One word for where it stands. What nobody holds does not run, whatever its last event says.
fn word(state: &Session, held: bool, now: Timestamp) -> &'static str {
    alive(state.status(now), held)
}

fn alive(status: &'static str, held: bool) -> &'static str {
    match status {
        "running" | "active" | "created" if !held => "stopped",
        other => other,
    }
}

/// A session in full.
struct Page {
    row: Row,
    asked: Vec<Asked>,
    todo: Vec<(&'static str, String)>,
}

impl Page {
    async fn of(app: &App, wired: &Wired, id: SessionId) -> Result<Self, Failure> {
        let row = Row::of(app, wired, id).await?;
        let tree = Tree::open(&wired.engine, id).await?;
        let mut asked = Vec::new();
        for blocker in tree.blockers(app.now()) {
            if let Some(state) = tree.get(blocker.session) {
                asked.extend(Asked::of(&*wired.store, state, &blocker).await);
            }
        }
        let todo = todo(&*wired.store, &row.state).await;
        Ok(Self { row, asked, todo })
    }

    fn json(&self) -> Value {
        let (mut value, state) = (self.row.json(), &self.row.state);
        value["waiting"] = self.asked.iter().map(Asked::json).collect();
        value["savepoints"] = state.savepoints.iter().map(|(action, _)| action.to_string()).collect();
        value["todo"] = self.todo.iter().map(|(state, text)| json!({"state": state, "text": text})).collect();
        value["reasons"] = state.verdict.iter().flat_map(|judged| judged.reasons.clone()).collect();
        value
    }
}

/// One session in full, for programs.
pub(super) async fn full(app: &App, wired: &Wired, id: SessionId) -> Result<Value, Failure> {
    Ok(Page::of(app, wired, id).await?.json())
}

async fn show(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let id = pick::session(&*wired.store, name).await?;
    let whole = Page::of(app, wired, id).await?;
    if app.global.json {
        out::print(&json_page(&whole.json()));
        return Ok(exit::OK);
    }
    let Page { row, asked, todo } = whole;
    out::print(&page(app, &row, &wired.git.root(id).display().to_string()));
    for (state, text) in &todo {
        let mark = match *state {
            "done" => "[x]",
            "active" => "[>]",
            "skipped" => "[-]",
            _ => "[ ]",
        };
        out::print(&format!("{:<10} {mark} {}\n", "todo", clean::cut(&clean::line(text), GOAL)));
    }
    asked.iter().for_each(|asked| out::print(&asked.page()));
    if row.word == "stopped" {
        out::print(&format!("next: kapell resume {}\n", short(id)));
    }
    Ok(exit::OK)
}

/// The agent's own list of what is to be done: where each entry stands, and its words.
pub(super) async fn todo(blobs: &dyn Blobs, state: &Session) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for todo in &state.todo {
        let state = match todo.state {
            TaskState::Pending => "pending",
            TaskState::Active => "active",
            TaskState::Done => "done",
            TaskState::Failed => "failed",
            TaskState::Skipped => "skipped",
        };
        all.push((state, headline(blobs, todo.text).await));
    }
    all
}

fn page(app: &App, row: &Row, root: &str) -> String {
    let (state, paint) = (&row.state, app.term.paint());
    let mut lines =
        vec![("session", state.id.to_string()), ("goal", row.goal.clone()), ("state", paint.word(row.word))];
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("broken", row.broken.clone());
    add(
        "why",
        state
            .end
            .as_ref()
            .map(|end| end.why.clone())
            .or(state.pause.as_ref().map(|pause| pause.what.clone())),
    );
    let by_itself = row.waits.as_ref().filter(|_| state.end.is_none() && state.pause.is_none());
    add(
        "waits",
        by_itself.and_then(|waits| Some(format!("until {}: {}", waits.until?, clean::line(&waits.what)))),
    );
    add("stage", state.stage().map(|stage| format!("{} (round {})", stage.name, state.round)));
    add("running", state.running.as_ref().map(|run| format!("{} {}", run.action, run.work.name())));
    add("held by", row.holder.clone());
    add("model", state.model.as_ref().map(|model| model.id.clone()));
    add(
        "context",
        state.model.as_ref().filter(|_| state.end.is_none()).map(|_| super::transcript::size(state)),
    );
    add("project", state.spec.as_ref().map(|spec| spec.repo.clone()));
    let there = state.prepared.is_some() && std::path::Path::new(root).exists();
    add("workspace", there.then(|| root.to_owned()));
    add(
        "verdict",
        state
            .verdict
            .as_ref()
            .map(|judged| format!("{}: {}", judged.verdict.name(), judged.reasons.join("; "))),
    );
    add("landed", state.landed.as_deref().map(|commit| describe::commit(commit).to_owned()));
    add("left on", state.left_on.clone());
    add("steps", Some(state.step.to_string()));
    add("cost", Some(format!("{} · {} tokens", usd(state.used.nanos), state.used.tokens)));
    add("opened", Some(state.opened.to_string()));
    let notes = state.prepared.iter().flat_map(|prepared| &prepared.notes);
    notes.for_each(|note| add("note", Some(note.clone())));
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<10} {}\n", one_line(&value, paint.word(row.word) == value)))
        .collect()
}

/// Painted words are ours; everything else is cleaned.
fn one_line(value: &str, own: bool) -> String {
    if own { value.to_owned() } else { clean::line(value) }
}

async fn tree(app: &App, wired: &Wired, name: Option<&str>) -> Result<u8, Failure> {
    let roots: Vec<SessionId> = match name {
        Some(name) => vec![pick::session(&*wired.store, name).await?],
        None => {
            let listed = wired.store.sessions(false).await?;
            let roots = pick::roots(&*wired.store, &listed, NEWEST).await?;
            roots.into_iter().map(|(listed, _)| listed.session).collect()
        }
    };
    let mut family = Family::default();
    for root in roots {
        family.add(wired, root).await?;
    }
    let rows = view::board(&family.states, app.now());
    if app.global.json {
        let rows = rows.iter().map(|row| family.json(row));
        out::print(&json_page(&Value::Array(rows.collect())));
    } else {
        let mut text = String::new();
        rows.iter().for_each(|row| family.text(row, 0, &mut text));
        out::print(&text);
    }
    Ok(exit::OK)
}

/// Sessions with everything below them, and what the kernel's board cannot know: texts, and who lives.
#[derive(Default)]
struct Family {
    states: Vec<Session>,
    goals: BTreeMap<SessionId, String>,
    held: BTreeSet<SessionId>,
}

impl Family {
    async fn add(&mut self, wired: &Wired, root: SessionId) -> Result<(), Failure> {
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            let Some(state) = wired.engine.look(id).await? else { continue };
            open.extend(state.children.keys());
            if let Some(spec) = &state.spec {
                self.goals.insert(id, headline(&*wired.store, spec.goal).await);
            }
            if wired.locks.held(id) {
                self.held.insert(id);
            }
            self.states.push(state);
        }
        Ok(())
    }

    fn word(&self, row: &view::Row) -> &'static str {
        alive(row.status, self.held.contains(&row.id))
    }

    fn json(&self, row: &view::Row) -> Value {
        let mut value = serde_json::to_value(row).unwrap_or_default();
        value["status"] = self.word(row).into();
        value["goal_text"] = self.goals.get(&row.id).cloned().into();
        value["children"] = row.children.iter().map(|child| self.json(child)).collect();
        value
    }

    fn text(&self, row: &view::Row, depth: usize, out: &mut String) {
        let mut parts = vec![
            format!("{}{} {}", "  ".repeat(depth), row.short, self.word(row)),
            format!("{} steps", row.used.steps),
            usd(row.used.nanos),
        ];
        parts.extend(row.doing.as_ref().map(|doing| clean::line(&format!("{} {}", doing.work, doing.on))));
        parts.extend(row.waits.as_ref().map(|waits| clean::cut(&clean::line(&waits.what), GOAL)));
        parts.extend(self.goals.get(&row.id).map(|goal| clean::cut(goal, GOAL)));
        out.push_str(&format!("{}\n", parts.join(" · ")));
        row.children.iter().for_each(|child| self.text(child, depth + 1, out));
    }
}
