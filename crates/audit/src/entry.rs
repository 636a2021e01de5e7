//! Acts, as they are read off a session's events: permissions, files, processes, the network, models, the session itself.
//! Secrets and texts are in none of them; what a call was about stands behind the address of its arguments.
//!
//! Pure. Start at [`entries`]; what a tool does to the world is in [`kind`].

use contract::action::{Call, Done, EffectClass, End, Outcome, Work};
use contract::confine::HostAsked;
use contract::event::{Answer, Event, Subject};
use contract::handle::Handed;
use contract::hooks::HookAnswer;
use contract::intent::{Intent, Wish};
use contract::policy::Decision;
use contract::record::Record;
use contract::{Digest, SessionId};
use serde::Serialize;

/// What kind of act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Something was asked, allowed or refused.
    Permission,
    /// Files were read or changed.
    File,
    /// A program was run.
    Process,
    /// The network was used.
    Network,
    /// A model was asked.
    Model,
    /// The session began, moved or ended.
    Session,
    /// A limit, a budget, a credential or a rule was changed.
    Config,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Permission,
        Self::File,
        Self::Process,
        Self::Network,
        Self::Model,
        Self::Session,
        Self::Config,
    ];

    /// As it is printed and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::File => "file",
            Self::Process => "process",
            Self::Network => "network",
            Self::Model => "model",
            Self::Session => "session",
            Self::Config => "config",
        }
    }
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When, RFC 3339.
    pub at: String,
    /// The session; `None` = of the installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The event it was read off.
    pub seq: u64,
    /// What kind.
    pub category: Category,
    /// What, in a word or two.
    pub action: String,
    /// To what.
    pub target: String,
    /// `asked`, `started`, `ok`, `failed`, `denied` ...
    pub outcome: String,
    /// `info`, `notice` or `warning`.
    pub severity: &'static str,
    /// Who wanted it.
    pub actor: String,
    /// The action of the session, `turn.step`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// The arguments, for who wants to know more.
    #[serde(skip)]
    pub args: Option<Digest>,
}

/// The kind of act that a call of this tool is.
pub fn kind(tool: &str) -> Category {
    match tool {
        "shell" | "job" => Category::Process,
        "web_fetch" | "web_search" => Category::Network,
        _ => Category::File,
    }
}

/// The acts that an event tells of.
pub fn entries(session: SessionId, record: &Record<Event>) -> Vec<Entry> {
    let new = |category: Category, action: &str, target: String, outcome: &str| Entry {
        at: record.at.to_string(),
        session: Some(session.to_string()),
        seq: record.seq,
        category,
        action: action.into(),
        target,
        outcome: outcome.into(),
        severity: severity(outcome),
        actor: "kapell".into(),
        step: String::new(),
        args: None,
    };
    let told = |action: &str, target: String| vec![new(Category::Session, action, target, "ok")];
    match &record.event {
        Event::Opened { spec } => told("open", format!("{} with {}", spec.repo, spec.model.id)),
        Event::Submitted { intent } => vec![submitted(new, intent)],
        Event::Started { action, work, approval, .. } => {
            let approval = approval.as_ref().map(|id| format!("approval {id}"));
            let step = action.to_string();
            let mut entries = started(new, work);
            for entry in &mut entries {
                entry.step.clone_from(&step);
                entry.actor = approval.clone().unwrap_or_else(|| "agent".into());
            }
            entries
        }
        Event::Finished { outcome } => finished(new, outcome),
        Event::Stale { outcome } => {
            vec![Entry {
                step: outcome.action.to_string(),
                ..new(Category::Session, "outcome", String::new(), "stale")
            }]
        }
        Event::ApprovalAsked { .. } | Event::ApprovalAnswered { .. } => approval(new, &record.event),
        Event::Judged { verdict, result, .. } => told("verdict", format!("{result}: {verdict:?}")),
        Event::ChildOpened { child, .. } => told("delegate", child.to_string()),
        Event::CallAnswered { call, ok, .. } => {
            vec![new(Category::Session, "answered", call.to_string(), if *ok { "ok" } else { "failed" })]
        }
        Event::Paused { why, .. } => told("pause", why.clone()),
        Event::Resumed { .. } => told("go on", String::new()),
        Event::FellBack { to, why, .. } => {
            vec![new(Category::Model, "fall back", format!("{}: {why}", to.id), "ok")]
        }
        Event::Recovered { did, .. } => told("recover", did.clone()),
        Event::CancelAsked { .. } => told("cancel", String::new()),
        Event::Garbled { why } => vec![new(Category::Session, "garbled", why.clone(), "denied")],
        Event::Ended { code, why, state, .. } => {
            vec![new(Category::Session, "end", format!("{} (exit code {code}): {why}", state.name()), "ok")]
        }
        _ => Vec::new(),
    }
}

fn approval(new: impl Fn(Category, &str, String, &str) -> Entry, event: &Event) -> Vec<Entry> {
    match event {
        Event::ApprovalAsked { approval, subject, hash, expires } => {
            let about = match subject {
                Subject::Call { call } => format!("call {call}"),
                Subject::RunAgain { action } => format!("action {action} again"),
                Subject::Land { result } => format!("land {result}"),
            };
            let target = format!("{approval}: {about}, content {}, until {expires}", hash.short());
            vec![new(Category::Permission, "approval", target, "asked")]
        }
        Event::ApprovalAnswered { approval, answer, by } => {
            let word = match answer {
                Answer::Granted => "granted",
                Answer::Denied => "denied",
                Answer::Expired => "expired",
                Answer::Withdrawn => "withdrawn",
            };
            let actor = if by.is_some() { "user" } else { "time" };
            vec![Entry {
                actor: actor.into(),
                ..new(Category::Permission, "approval", approval.clone(), word)
            }]
        }
        _ => Vec::new(),
    }
}

fn severity(outcome: &str) -> &'static str {
    match outcome {
        "denied" | "expired" | "refused" | "unknown" => "warning",
        "asked" | "given" | "granted" | "failed" | "stale" | "timed-out" | "withdrawn" => "notice",
        _ => "info",
    }
}

fn submitted(new: impl Fn(Category, &str, String, &str) -> Entry, intent: &Intent) -> Entry {
    let (category, target) = match &intent.wish {
        Wish::Approve { approval, hash } => {
            (Category::Permission, format!("{approval}, content {}", hash.short()))
        }
        Wish::Deny { approval } => (Category::Permission, approval.to_string()),
        Wish::AddBudget { .. } | Wish::CapCall { .. } => (Category::Config, "budget".into()),
        _ => (Category::Session, String::new()),
    };
    let actor = format!("{:?}", intent.source).to_lowercase();
    Entry { actor, ..new(category, intent.wish.name(), target, "submitted") }
}

fn started(new: impl Fn(Category, &str, String, &str) -> Entry, work: &Work) -> Vec<Entry> {
    match work {
        Work::Model { model, .. } | Work::Summarise { model, .. } => {
            vec![new(Category::Model, "ask", model.clone(), "started")]
        }
        Work::Tools { calls } => {
            let one = |call: &Call| {
                let target = format!("{} ({}: {})", call.tool, call.class.name(), call.why);
                Entry { args: Some(call.args), ..new(kind(&call.tool), &call.tool, target, "started") }
            };
            // What runs without anybody's word was allowed by what it is.
            let allowed = |call: &&Call| call.ruled.is_none() && call.class != EffectClass::Pure;
            let word = |call: &Call| {
                let why = format!("{}: {}", call.class.name(), call.why);
                Entry { args: Some(call.args), ..new(Category::Permission, &call.tool, why, "allowed") }
            };
            calls.iter().filter(allowed).map(word).chain(calls.iter().map(one)).collect()
        }
        Work::Check { .. } => vec![new(Category::Process, "check", String::new(), "started")],
        Work::Integrate { result } => vec![new(Category::File, "land", result.clone(), "started")],
        Work::Adopt { child, commit, .. } => {
            vec![new(Category::File, "adopt", format!("{commit} of {child}"), "started")]
        }
        Work::Rewind { to } => vec![new(Category::File, "rewind", to.to_string(), "started")],
        Work::Prepare => vec![new(Category::File, "prepare", String::new(), "started")],
        Work::Hooks { asked } => {
            let about = asked.call.as_ref().map_or(&asked.about, |call| &call.tool);
            let target = format!("{} {about}", asked.event.name());
            vec![new(Category::Process, "hooks", target.trim_end().into(), "started")]
        }
        Work::Inspect { .. } => Vec::new(),
    }
}

fn finished(new: impl Fn(Category, &str, String, &str) -> Entry, outcome: &Outcome) -> Vec<Entry> {
    let step = outcome.action.to_string();
    let mut entries = match &outcome.end {
        End::Done(Done::Said { calls, .. }) => {
            let mut entries =
                vec![new(Category::Model, "ask", format!("{} tokens", outcome.used.tokens), "ok")];
            entries.extend(calls.iter().filter_map(|call| ruled(&new, call)));
            entries
        }
        End::Done(Done::Ran { results, .. }) => {
            let word = |ok: bool| if ok { "ok" } else { "failed" };
            let exit =
                |code: Option<i32>| code.map(|code| format!(", exit status {code}")).unwrap_or_default();
            let one = |it: &contract::action::CallResult| {
                let target = format!("call {}{}", it.call, exit(it.exit));
                new(
                    if it.exit.is_some() { Category::Process } else { Category::File },
                    "result",
                    target,
                    word(it.ok),
                )
            };
            let mut entries: Vec<Entry> = results.iter().map(one).collect();
            entries.extend(results.iter().flat_map(|it| &it.asked).map(|it| knock(&new, it)));
            entries.extend(results.iter().flat_map(|it| &it.handed).map(|it| given(&new, it)));
            entries
        }
        End::Done(Done::Checked(report)) => {
            let mut entries = vec![new(Category::Session, "step", String::new(), "ok")];
            entries.extend(report.runs.iter().flat_map(|run| &run.asked).map(|it| knock(&new, it)));
            entries
        }
        End::Done(Done::Hooked { answers, .. }) => {
            let given = answers.iter().flat_map(|it| &it.handed).map(|it| given(&new, it));
            answers.iter().map(|it| hooked(&new, it)).chain(given).collect()
        }
        End::Done(Done::Integrated(it)) => {
            let to = it.landed.clone().or(it.why.clone()).unwrap_or_default();
            vec![new(Category::File, "land", to, if it.landed.is_some() { "ok" } else { "refused" })]
        }
        End::Done(_) => vec![new(Category::Session, "step", String::new(), "ok")],
        End::Failed(fault) => vec![new(Category::Session, "step", fault.code.clone(), "failed")],
        End::Cancelled => vec![new(Category::Session, "step", String::new(), "cancelled")],
        End::TimedOut => vec![new(Category::Session, "step", String::new(), "timed-out")],
        End::Unknown => vec![new(Category::Session, "step", String::new(), "unknown")],
    };
    entries.iter_mut().for_each(|entry| entry.step.clone_from(&step));
    entries
}

/// What one hook answered.
fn hooked(new: &impl Fn(Category, &str, String, &str) -> Entry, answer: &HookAnswer) -> Entry {
    let word = match (answer.failed.is_empty(), answer.say) {
        (false, _) => "failed",
        (true, Some(Decision::Deny)) => "denied",
        (true, Some(Decision::Ask)) => "asked",
        (true, Some(Decision::Allow)) => "allowed",
        (true, None) => "ok",
    };
    let why = if answer.failed.is_empty() { &answer.said } else { &answer.failed };
    let target = format!("hook {}: {why}", answer.hook);
    new(Category::Permission, "hook", target.trim_end_matches([' ', ':']).into(), word)
}

/// A host that a command asked for through the proxy, and whether it was let through.
fn knock(new: &impl Fn(Category, &str, String, &str) -> Entry, asked: &HostAsked) -> Entry {
    let times = if asked.times > 1 { format!(", {} times", asked.times) } else { String::new() };
    let why = if asked.why.is_empty() { String::new() } else { format!(": {}", asked.why) };
    let target = format!("{}:{}{times}{why}", asked.host, asked.port);
    new(Category::Network, "connect", target, if asked.passed { "ok" } else { "denied" })
}

/// A secret whose value somebody got.
fn given(new: &impl Fn(Category, &str, String, &str) -> Entry, it: &Handed) -> Entry {
    new(Category::Permission, "secret", format!("secret:{} to {}", it.name, it.to), "given")
}

/// What the rules, or the tool itself, said to a call.
fn ruled(new: &impl Fn(Category, &str, String, &str) -> Entry, call: &Call) -> Option<Entry> {
    let (why, word) = match (&call.error, &call.ruled) {
        (Some(_), _) => ("not run".to_owned(), "refused"),
        (None, Some(ruling)) if ruling.verdict == Decision::Ask => (ruling.why.clone(), "asked"),
        (None, Some(ruling)) => (ruling.why.clone(), "allowed"),
        (None, None) => return None,
    };
    let args = call.error.or(Some(call.args));
    Some(Entry { args, ..new(Category::Permission, &call.tool, why, word) })
}
