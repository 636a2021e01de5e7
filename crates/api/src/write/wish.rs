//! Wishes for a session as requests write them: as they are stored, but that texts stand as texts.
//!
//! Knows no session. Start at [`Wish`].

use crate::problem::Refused;
use crate::shape;
use contract::{ActionId, Amount, Digest};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a person can wish. What the engine wishes for itself is no word here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "contract::intent::Wish says what they are")]
pub enum Wish {
    Continue,
    Message {
        text: String,
    },
    Cancel,
    Pause,
    Resume {
        #[serde(default)]
        model: Option<String>,
    },
    Approve {
        approval: String,
        #[schemars(with = "shape::Digest")]
        hash: Digest,
    },
    Deny {
        approval: String,
    },
    Answer {
        question: String,
        text: String,
    },
    Rewind {
        #[schemars(with = "shape::Action")]
        to: ActionId,
    },
    Uncompact {
        #[serde(default)]
        item: Option<u64>,
    },
    AddBudget {
        #[schemars(with = "shape::Amount")]
        amount: Amount,
    },
    CapCall {
        #[schemars(with = "shape::Amount")]
        call: Amount,
    },
}

/// A yes or no to what waits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Which.
    pub say: Say,
    /// What a yes is bound to: what was shown.
    #[serde(default)]
    #[schemars(with = "Option<shape::Digest>")]
    pub hash: Option<Digest>,
    /// A yes to more than this once.
    #[serde(default)]
    pub rule: Option<Rule>,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Say {
    /// To exactly what was shown.
    Yes,
    /// Not at all.
    No,
}

/// For what else a yes holds: exactly the commands that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// While this session lives.
    Session,
    /// In this repository, until the person takes it out of their configuration.
    Always,
}

impl Decision {
    /// A yes names what was seen; a no makes no rule.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        match self.say {
            Say::Yes if self.hash.is_none() => {
                let hint = "GET /v1/approvals shows it beside the content it stands for";
                Err(Refused::user("bad-field", "a yes needs the `hash` of what was shown", hint))
            }
            Say::No if self.rule.is_some() => Err(Refused::user(
                "bad-field",
                "a no makes no rule",
                "leave `rule` out, or write one into config.toml",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn wishes_are_as_they_are_stored_with_texts_for_digests() {
        for (stored, wish) in [
            (json!("cancel"), Wish::Cancel),
            (json!({"resume": {}}), Wish::Resume { model: None }),
            (json!({"message": {"text": "hi"}}), Wish::Message { text: "hi".into() }),
            (json!({"rewind": {"to": "1.4"}}), Wish::Rewind { to: "1.4".parse().unwrap() }),
        ] {
            assert_eq!(from_value::<Wish>(stored).unwrap(), wish);
        }
        for refused in [
            json!("initialise"),
            json!({"subtask-ended": {}}),
            json!({"message": {"text": "hi", "bytes": 2}}),
            json!({"approve": {"approval": "a1"}}),
            json!({"approve": {"approval": "a1", "hash": "short"}}),
            json!({"rewind": {"to": "x"}}),
        ] {
            assert!(from_value::<Wish>(refused.clone()).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_yes_names_what_was_seen() {
        let check = |value| from_value::<Decision>(value).unwrap().check().is_ok();
        assert!(check(json!({"say": "yes", "hash": Digest::of(b"x").to_string(), "rule": "session"})));
        assert!(check(json!({"say": "no"})));
        assert!(!check(json!({"say": "yes"})) && !check(json!({"say": "no", "rule": "always"})));
    }
}
