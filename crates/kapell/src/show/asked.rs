//! What a person is asked, in full: the exact content of an approval, the words of a question, and what to type.
//!
//! Reads the session's state and its blobs; answers nothing. Start at [`Asked::of`].

use super::{clean, headline, text};
use crate::pick::short;
use crate::tree::{Blocker, Need};
use contract::action::{Call, Work};
use contract::event::Subject;
use contract::port::Blobs;
use contract::{Digest, SessionId};
use kernel::Session;
use serde_json::{Map, Value, json};

/// Something that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whose.
    pub(crate) session: SessionId,
    /// `approval`, `question` or `resume`.
    pub(crate) kind: &'static str,
    /// Name of the approval or question.
    pub(crate) id: String,
    /// What is asked, in one line.
    pub(crate) title: String,
    /// The exact content.
    pub(crate) content: String,
    /// What to type, the most likely first.
    pub(crate) commands: Vec<String>,
    /// What a yes is bound to.
    pub(crate) hash: Option<Digest>,
    /// What a screen shows besides, for programs.
    pub(crate) more: Map<String, Value>,
}

impl Asked {
    /// What this session waits for.
    pub(crate) async fn of(blobs: &dyn Blobs, state: &Session, blocker: &Blocker) -> Option<Self> {
        let mut asked = Self::asked(blobs, state, blocker).await?;
        asked.more.insert("short".into(), short(state.id).into());
        if let Some(spec) = &state.spec {
            asked.more.insert("goal".into(), headline(blobs, spec.goal).await.into());
        }
        asked.more.insert("used".into(), json!(state.used));
        Some(asked)
    }

    async fn asked(blobs: &dyn Blobs, state: &Session, blocker: &Blocker) -> Option<Self> {
        match &blocker.kind {
            Need::Approval(id) => Self::approval(blobs, state, id).await,
            Need::Answer(id) => Self::question(blobs, state, id).await,
            Need::Resume { .. } => {
                let pause = state.pause.as_ref()?;
                Some(Self {
                    session: state.id,
                    kind: "resume",
                    id: String::new(),
                    title: clean::line(&pause.what),
                    content: String::new(),
                    commands: vec![clean::line(&pause.hint)],
                    hash: None,
                    more: fields(json!({"asked_at": state.at.to_string()})),
                })
            }
        }
    }

    async fn approval(blobs: &dyn Blobs, state: &Session, id: &str) -> Option<Self> {
        let approval = state.approvals.get(id)?;
        let mut more =
            fields(json!({"asked_at": approval.asked.to_string(), "expires": approval.expires.to_string()}));
        let (title, content) = match &approval.subject {
            Subject::Call { call } => {
                let slot = state.calls.iter().find(|slot| slot.call.id == *call)?;
                more.extend(risk(&slot.call));
                let title = format!(
                    "may this {} call run? It is {} ({})",
                    clean::line(&slot.call.tool),
                    slot.call.class.name(),
                    clean::line(slot.call.ruled.as_ref().map_or(&slot.call.why, |ruled| &ruled.why))
                );
                (title, exact(blobs, &slot.call).await + &gives(&slot.call))
            }
            Subject::RunAgain { action } => {
                let redo = state.redo.as_ref();
                let content = match redo.map(|redo| &redo.work) {
                    Some(Work::Tools { calls }) => match calls.first() {
                        Some(call) => {
                            more.extend(risk(call));
                            exact(blobs, call).await
                        }
                        None => String::new(),
                    },
                    _ => String::new(),
                };
                let title = format!(
                    "action {action} was interrupted; nobody knows whether it took effect. Run it again?"
                );
                (title, content)
            }
            Subject::Land { result } => {
                more.insert("diff".into(), true.into());
                let flags = state.flags.iter().map(|flag| {
                    format!(
                        "{}: {} ({})\n",
                        clean::line(&flag.path),
                        clean::line(&flag.what),
                        clean::line(&flag.code)
                    )
                });
                let title =
                    format!("may {} land? It weakens tests or checks", super::describe::commit(result));
                (title, flags.collect())
            }
        };
        let session = short(state.id);
        Some(Self {
            session: state.id,
            kind: "approval",
            id: id.to_owned(),
            title,
            content,
            commands: vec![format!("kapell approve {session} {id}"), format!("kapell deny {session} {id}")],
            hash: Some(approval.hash),
            more,
        })
    }

    async fn question(blobs: &dyn Blobs, state: &Session, id: &str) -> Option<Self> {
        let question = state.questions.get(id)?;
        let mut content = match question.text {
            Some(digest) => clean::text(&text(blobs, digest).await.unwrap_or_else(|fault| fault.what)),
            None => clean::text(&question.why),
        };
        for (at, choice) in question.choices.iter().enumerate() {
            content.push_str(&format!("\n{}. {}", at + 1, clean::line(choice)));
        }
        Some(Self {
            session: state.id,
            kind: "question",
            id: id.to_owned(),
            title: "the agent asks".to_owned(),
            content,
            commands: vec![format!("kapell answer {} \"your answer\"", short(state.id))],
            hash: None,
            more: fields(json!({
                "asked_at": state.at.to_string(),
                "choices": question.choices.iter().map(|choice| clean::line(choice)).collect::<Vec<_>>(),
            })),
        })
    }

    /// For people: what is asked, its content, what to type.
    pub(crate) fn page(&self) -> String {
        let mut out = format!(
            "{}{}: {}\n",
            self.kind,
            if self.id.is_empty() { String::new() } else { format!(" {}", self.id) },
            self.title
        );
        for line in self.content.lines() {
            out.push_str(&format!("    {line}\n"));
        }
        for command in self.commands.iter().filter(|command| !command.is_empty()) {
            out.push_str(&format!("  type: {command}\n"));
        }
        out
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let mut value = json!({
            "session_id": self.session.to_string(),
            "kind": self.kind,
            "id": self.id,
            "what": self.title,
            "content": self.content,
            "commands": self.commands,
            "hash": self.hash.map(|hash| hash.to_string()),
        });
        for (name, more) in &self.more {
            value[name] = more.clone();
        }
        value
    }
}

fn fields(of: Value) -> Map<String, Value> {
    match of {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What a call is, and what the rules said of it.
fn risk(call: &Call) -> Map<String, Value> {
    fields(json!({
        "tool": clean::line(&call.tool),
        "class": call.class.name(),
        "rule": clean::line(call.ruled.as_ref().map_or(&call.why, |ruled| &ruled.why)),
    }))
}

/// Who would get which secret: it stands beside what the rules say.
fn gives(call: &Call) -> String {
    match call.why.starts_with(tools::GIVES) {
        true => format!("{}\n", clean::line(call.why.split("; ").next().unwrap_or_default())),
        false => String::new(),
    }
}

/// A call's arguments, every one of them, as they would run.
async fn exact(blobs: &dyn Blobs, call: &Call) -> String {
    let text = match text(blobs, call.args).await {
        Ok(text) => text,
        Err(fault) => return fault.what,
    };
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(&text) else { return clean::text(&text) };
    let mut out = String::new();
    for (name, value) in &map {
        let value = match value {
            Value::String(text) => visible(text),
            other => other.to_string(),
        };
        out.push_str(&format!("{}: {value}\n", clean::line(name)));
    }
    out
}

/// A text of which nothing is left out: what would be invisible is written as an escape.
fn visible(text: &str) -> String {
    if clean::text(text) == text {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if c == '\n' || clean::text(&c.to_string()) == c.to_string() {
                c.to_string()
            } else {
                c.escape_unicode().to_string()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_what_is_approved_is_hidden() {
        assert_eq!(visible("rm -r x\nls"), "rm -r x\nls");
        assert_eq!(visible("echo \u{202e}a\x1b[8mb"), "echo \\u{202e}a\\u{1b}[8mb");
    }

    #[test]
    fn a_page_ends_with_what_to_type() {
        let asked = Asked {
            session: SessionId(1),
            kind: "approval",
            id: "a4".into(),
            title: "may it?".into(),
            content: "command: x".into(),
            commands: vec!["kapell approve 1 a4".into()],
            hash: None,
            more: Map::new(),
        };
        assert_eq!(asked.page(), "approval a4: may it?\n    command: x\n  type: kapell approve 1 a4\n");
    }
}
