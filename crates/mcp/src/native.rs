//! Kapell's own tools: few, and little to read. What a client is shown, and how arguments become a [`Call`].
//!
//! Start at [`TOOLS`]. The whole list stays below 2,000 tokens; a test counts them.

use crate::port::{Call, Order};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Events in one reply when nobody says how many, and at most.
const EVENTS: (usize, usize) = (50, 500);
/// Hits of a search.
const HITS: (usize, usize) = (20, 100);
/// Seconds that a call may wait.
pub(crate) const WAIT_SECONDS: u64 = 3_600;

/// A tool.
#[derive(Debug)]
pub struct Spec {
    /// What it is called by.
    pub name: &'static str,
    /// In a sentence.
    pub about: &'static str,
    /// Does it leave everything as it is?
    pub read_only: bool,
    /// Does it end or undo something?
    pub destructive: bool,
    /// JSON Schema of the arguments: properties, and which of them are required.
    input: (&'static str, &'static [&'static str]),
    /// JSON Schema of the reply: properties.
    output: &'static str,
    pub(crate) read: fn(Map<String, Value>) -> Result<Call, String>,
}

const S: &str = r#"{"session":{"type":"string"}}"#;

/// All of them.
pub const TOOLS: &[Spec] = &[
    Spec {
        name: "session_start",
        about: "Start a coding session on this repository, or go on with one. Returns at once unless told to wait; ends with this server, and can be gone on with.",
        read_only: false,
        destructive: false,
        input: (
            r#"{"goal":{"type":"string"},"session":{"type":"string","description":"go on with this one; goal is then a message"},"model":{"type":"string"},"checks":{"type":"array","items":{"type":"string"},"description":"commands that must pass"},"land":{"type":"boolean"},"budget_usd":{"type":"number"},"wait_seconds":{"type":"integer"}}"#,
            &[],
        ),
        output: r#"{"session_id":{"type":"string"},"state":{"type":"string"},"waiting":{"type":"array"}}"#,
        read: |args| Ok(Call::Start(limited(object::<Order>(args)?)?)),
    },
    Spec {
        name: "session_status",
        about: "State of a session (`last`: the newest) and what it waits for: questions, approvals with content and hash.",
        read_only: true,
        destructive: false,
        input: (r#"{"session":{"type":"string"},"wait_seconds":{"type":"integer"}}"#, &[]),
        output: r#"{"session_id":{"type":"string"},"state":{"type":"string"},"waiting":{"type":"array"}}"#,
        read: |args| {
            let Status { session, wait_seconds } = object(args)?;
            Ok(Call::Status { session, wait_seconds: seconds(wait_seconds)? })
        },
    },
    Spec {
        name: "session_events",
        about: "Events of a session after a number, oldest first.",
        read_only: true,
        destructive: false,
        input: (
            r#"{"session":{"type":"string"},"after":{"type":"integer"},"limit":{"type":"integer"}}"#,
            &[],
        ),
        output: r#"{"events":{"type":"array"},"next":{"type":"integer"},"more":{"type":"boolean"}}"#,
        read: |args| {
            let Events { session, after, limit } = object(args)?;
            Ok(Call::Events { session, after, limit: limit.unwrap_or(EVENTS.0).clamp(1, EVENTS.1) })
        },
    },
    Spec {
        name: "session_answer",
        about: "Answer the question a session waits with.",
        read_only: false,
        destructive: false,
        input: (r#"{"session":{"type":"string"},"text":{"type":"string"}}"#, &["text"]),
        output: r#"{"taken":{"type":"string"}}"#,
        read: |args| {
            let Answer { session, text } = object(args)?;
            Ok(Call::Answer { session, text })
        },
    },
    Spec {
        name: "session_approve",
        about: "Say yes or no, for the user, to exactly what session_status shows under this approval and hash.",
        read_only: false,
        destructive: true,
        input: (
            r#"{"session":{"type":"string"},"approval":{"type":"string"},"hash":{"type":"string"},"yes":{"type":"boolean"}}"#,
            &["approval", "hash", "yes"],
        ),
        output: r#"{"taken":{"type":"string"}}"#,
        read: |args| {
            let Approve { session, approval, hash, yes } = object(args)?;
            Ok(Call::Approve { session, approval, hash, yes })
        },
    },
    Spec {
        name: "session_cancel",
        about: "End a session for good; its work is kept.",
        read_only: false,
        destructive: true,
        input: (S, &["session"]),
        output: r#"{"taken":{"type":"string"}}"#,
        read: |args| Ok(Call::Cancel { session: object::<Named>(args)?.session }),
    },
    Spec {
        name: "session_rewind",
        about: "Put a session's workspace back to before an action such as 1.4.",
        read_only: false,
        destructive: true,
        input: (r#"{"session":{"type":"string"},"action":{"type":"string"}}"#, &["action"]),
        output: r#"{"taken":{"type":"string"}}"#,
        read: |args| {
            let Rewind { session, action } = object(args)?;
            Ok(Call::Rewind { session, action })
        },
    },
    Spec {
        name: "session_why",
        about: "Who wanted each action, why it won, why others waited.",
        read_only: true,
        destructive: false,
        input: (r#"{"session":{"type":"string"},"action":{"type":"string"}}"#, &[]),
        output: r#"{"actions":{"type":"array"},"intents":{"type":"array"}}"#,
        read: |args| {
            let Why { session, action } = object(args)?;
            Ok(Call::Why { session, action })
        },
    },
    Spec {
        name: "session_cost",
        about: "Spent, reserved and left, in nano-dollars, tokens, steps, time.",
        read_only: true,
        destructive: false,
        input: (S, &[]),
        output: r#"{"cap":{"type":"object"},"total":{"type":"object"}}"#,
        read: |args| Ok(Call::Cost { session: object::<MayName>(args)?.session }),
    },
    Spec {
        name: "session_plan",
        about: "Stage, tasks and the agent's own list.",
        read_only: true,
        destructive: false,
        input: (S, &[]),
        output: r#"{"stage":{"type":["string","null"]},"todo":{"type":"array"},"tasks":{"type":"array"}}"#,
        read: |args| Ok(Call::Plan { session: object::<Named>(args)?.session }),
    },
    Spec {
        name: "session_verdict",
        about: "What Kapell's own checks say of the result.",
        read_only: true,
        destructive: false,
        input: (S, &[]),
        output: r#"{"verdict":{"type":["string","null"]},"reasons":{"type":"array"},"checks":{"type":"array"}}"#,
        read: |args| Ok(Call::Verdict { session: object::<Named>(args)?.session }),
    },
    Spec {
        name: "board",
        about: "Sessions, newest first, with state and cost.",
        read_only: true,
        destructive: false,
        input: (r#"{"all":{"type":"boolean"}}"#, &[]),
        output: r#"{"sessions":{"type":"array"}}"#,
        read: |args| Ok(Call::Board { all: object::<Board>(args)?.all }),
    },
    Spec {
        name: "search",
        about: "Text in goals and conversations of sessions.",
        read_only: true,
        destructive: false,
        input: (r#"{"query":{"type":"string"},"limit":{"type":"integer"}}"#, &["query"]),
        output: r#"{"hits":{"type":"array"},"searched":{"type":"integer"}}"#,
        read: |args| {
            let Search { query, limit } = object(args)?;
            if query.trim().is_empty() {
                return Err("`query` is empty".into());
            }
            Ok(Call::Search { query, limit: limit.unwrap_or(HITS.0).clamp(1, HITS.1) })
        },
    },
];

/// The tool of this name.
pub fn find(name: &str) -> Option<&'static Spec> {
    TOOLS.iter().find(|spec| spec.name == name)
}

impl Spec {
    /// The JSON Schema of the arguments.
    pub fn input_schema(&self) -> Map<String, Value> {
        let mut schema = schema(self.input.0);
        if !self.input.1.is_empty() {
            schema.insert("required".into(), self.input.1.into());
        }
        schema.insert("additionalProperties".into(), false.into());
        schema
    }

    /// The JSON Schema of the reply.
    pub fn output_schema(&self) -> Map<String, Value> {
        schema(self.output)
    }
}

fn schema(properties: &str) -> Map<String, Value> {
    let properties: Value = serde_json::from_str(properties).unwrap_or_default();
    [("type".to_owned(), "object".into()), ("properties".to_owned(), properties)].into_iter().collect()
}

fn last() -> String {
    "last".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default = "last")]
    session: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MayName {
    session: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    #[serde(default = "last")]
    session: String,
    #[serde(default)]
    wait_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    #[serde(default = "last")]
    session: String,
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default = "last")]
    session: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    #[serde(default = "last")]
    session: String,
    approval: String,
    hash: String,
    yes: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rewind {
    #[serde(default = "last")]
    session: String,
    action: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default = "last")]
    session: String,
    action: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Board {
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
    limit: Option<usize>,
}

fn object<T: DeserializeOwned>(mut args: Map<String, Value>) -> Result<T, String> {
    // What is said to be nothing is not said.
    args.retain(|_, value| !value.is_null());
    serde_json::from_value(Value::Object(args)).map_err(|error| error.to_string())
}

fn seconds(wait: u64) -> Result<u64, String> {
    match wait <= WAIT_SECONDS {
        true => Ok(wait),
        false => Err(format!("`wait_seconds` is at most {WAIT_SECONDS}")),
    }
}

fn limited(order: Order) -> Result<Order, String> {
    seconds(order.wait_seconds)?;
    if order.session.is_none() && order.goal.as_ref().is_none_or(|goal| goal.trim().is_empty()) {
        return Err("a `goal` is needed, or a `session` to go on with".into());
    }
    if order.budget_usd.is_some_and(|usd| !usd.is_finite() || usd < 0.0) {
        return Err("`budget_usd` is not negative".into());
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(name: &str, args: Value) -> Result<Call, String> {
        (find(name).unwrap().read)(args.as_object().unwrap().clone())
    }

    #[test]
    fn arguments_become_calls_or_are_told_what_is_wrong() {
        let status = read("session_status", json!({"session": null})).unwrap();
        assert_eq!(status, Call::Status { session: "last".into(), wait_seconds: 0 });
        assert_eq!(read("board", json!({})).unwrap(), Call::Board { all: false });
        for (name, args, says) in [
            ("session_start", json!({}), "goal"),
            ("session_start", json!({"goal": "x", "gaol": 1}), "gaol"),
            ("session_start", json!({"goal": "x", "wait_seconds": 9999}), "wait_seconds"),
            ("session_start", json!({"goal": "x", "budget_usd": -1}), "negative"),
            ("session_approve", json!({"approval": "a1", "yes": true}), "hash"),
            ("session_cancel", json!({"session": 7}), "string"),
            ("search", json!({"query": " "}), "empty"),
        ] {
            let error = read(name, args.clone()).unwrap_err();
            assert!(error.contains(says), "{name} {args}: {error}");
        }
    }

    #[test]
    fn schemas_are_objects_with_the_properties_that_are_read() {
        for spec in TOOLS {
            let (input, output) = (spec.input_schema(), spec.output_schema());
            let properties = input["properties"].as_object().unwrap();
            assert!(input.get("required").is_none_or(|all| {
                all.as_array().unwrap().iter().all(|name| properties.contains_key(name.as_str().unwrap()))
            }));
            assert!(!output["properties"].as_object().unwrap().is_empty(), "{}", spec.name);
        }
    }
}
