//! What of a conversation a model is shown, and what was taken out of it.
//!
//! Records only: the kernel decides what goes, the engine words it. Start at [`Left`] and [`Summary`].

use crate::event::TaskState;
use crate::{Digest, is_default};
use serde::{Deserialize, Serialize};

/// Why a result's text is not shown. Its address is, so that it can be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// The same call was made again later: that result is newer.
    Superseded {
        /// The entry with the newer result.
        by: u64,
    },
    /// It is among the oldest.
    Old,
    /// The same text stands in another entry.
    Same {
        /// Which.
        item: u64,
    },
    /// It is too large to be shown together with what must be.
    Large,
}

/// What stands in the place of entries that are not shown any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// How many entries it stands for.
    pub entries: u64,
    /// What was called in them, oldest first; the newest of them when there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<Act>,
    /// Older calls that are not listed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub more: u64,
    /// The person's messages among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Digest>,
    /// What is left of the plan: id, goal, where it stands. Without an id: of the agent's own list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<(String, Digest, TaskState)>,
    /// What a model wrote about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Digest>,
    /// Bytes of that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bytes: u64,
}

/// A call and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Which tool.
    pub tool: String,
    /// Its arguments.
    pub args: Digest,
    /// Did it go well?
    pub ok: bool,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Digest>,
}

/// What a model was asked, as far as it can be checked and learned from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Over the whole request as the provider's adapter got it: instructions, tools, messages.
    pub request: Digest,
    /// Over instructions and tools alone.
    pub prompt: Digest,
    /// Bytes of instructions and tools.
    pub prompt_bytes: u64,
    /// Tokens of those, where the model's tokenizer is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// What had to be mended on the way; each becomes an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<String>,
    /// What a person is warned of while it answers; each becomes an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
