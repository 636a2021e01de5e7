//! What can be read without a call: the board, sessions, and the project's shared files.
//!
//! Start at [`Place::named`]; addresses are `kapell://board`, `kapell://session/ID[/PART]` and `kapell://files/NAME`.

use crate::port::Call;
use rmcp::model::{Resource, ResourceTemplate};
use serde_json::Value;

/// Sessions on one page of the list.
pub(crate) const PAGE: usize = 50;
/// Events in the resource of a session's events.
const EVENTS: usize = 500;
const JSON: &str = "application/json";

/// Parts of a session that can be read by themselves.
const PARTS: [(&str, &str); 5] = [
    ("events", "its newest events"),
    ("plan", "stage, tasks and list"),
    ("verdict", "what the checks say"),
    ("why", "who wanted each action"),
    ("cost", "spent, reserved, left"),
];

/// The project's shared files.
pub(crate) const FILES: [(&str, &str); 5] = [
    ("todo", "text/markdown"),
    ("memory", "text/markdown"),
    ("schedules", JSON),
    ("times", "text/tab-separated-values"),
    ("modes", "application/yaml"),
];

/// What an address names.
#[derive(Debug, PartialEq)]
pub(crate) enum Place {
    /// Answered by Kapell.
    Asked(Call),
    /// A file of the project: its name and type.
    File(&'static str, &'static str),
}

impl Place {
    pub(crate) fn named(uri: &str) -> Option<Self> {
        let path = uri.strip_prefix("kapell://")?;
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["board"] => Some(Self::Asked(Call::Board { all: false })),
            ["files", name] => {
                FILES.iter().find(|(known, _)| *known == name).map(|(name, kind)| Self::File(name, kind))
            }
            ["session", id] if !id.is_empty() => {
                Some(Self::Asked(Call::Status { session: id.to_owned(), wait_seconds: 0 }))
            }
            ["session", id, part] if !id.is_empty() => {
                let session = id.to_owned();
                Some(Self::Asked(match part {
                    "events" => Call::Events { session, after: 0, limit: EVENTS },
                    "plan" => Call::Plan { session },
                    "verdict" => Call::Verdict { session },
                    "why" => Call::Why { session, action: None },
                    "cost" => Call::Cost { session: Some(session) },
                    _ => return None,
                }))
            }
            _ => None,
        }
    }
}

/// The board and those files that are there.
pub(crate) fn fixed(there: impl Fn(&str) -> bool) -> Vec<Resource> {
    let board = Resource::new("kapell://board", "board")
        .with_description("Sessions, newest first, with state and cost")
        .with_mime_type(JSON);
    let files = FILES.iter().filter(|(name, _)| there(name)).map(|(name, kind)| {
        Resource::new(format!("kapell://files/{name}"), *name)
            .with_description("A shared file of the project, as it is")
            .with_mime_type(*kind)
    });
    std::iter::once(board).chain(files).collect()
}

/// A session as the board tells of it.
pub(crate) fn session(row: &Value) -> Option<Resource> {
    let id = row["session_id"].as_str()?;
    let goal: String = row["goal"].as_str().unwrap_or_default().chars().take(80).collect();
    let resource =
        Resource::new(format!("kapell://session/{id}"), format!("session {}", row["short"].as_str()?));
    Some(resource.with_description(goal).with_mime_type(JSON))
}

/// Addresses with a gap.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let whole = ResourceTemplate::new("kapell://session/{session}", "session")
        .with_description("A session: `last`, its id, or the end of it")
        .with_mime_type(JSON);
    let parts = PARTS.iter().map(|(part, about)| {
        ResourceTemplate::new(format!("kapell://session/{{session}}/{part}"), format!("session {part}"))
            .with_description(*about)
            .with_mime_type(JSON)
    });
    std::iter::once(whole).chain(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_places_or_nothing() {
        assert_eq!(Place::named("kapell://board"), Some(Place::Asked(Call::Board { all: false })));
        assert_eq!(Place::named("kapell://files/todo"), Some(Place::File("todo", "text/markdown")));
        for (part, _) in PARTS {
            assert!(Place::named(&format!("kapell://session/last/{part}")).is_some(), "{part}");
        }
        for none in [
            "",
            "board",
            "kapell://",
            "kapell://files/../x",
            "kapell://files/x",
            "kapell://session/",
            "kapell://session/a/b",
            "kapell://session/a/b/c",
            "file:///etc/passwd",
            "KAPELL://board",
        ] {
            assert_eq!(Place::named(none), None, "{none}");
        }
        assert_eq!(templates().len(), 1 + PARTS.len());
        assert_eq!(fixed(|name| name == "todo").len(), 2);
    }
}
