//! What can go wrong, typed at its source (DESIGN section 6).

use crate::{Digest, text};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The five kinds of error. The kind decides whether and how something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Will likely pass when tried again soon.
    Transient,
    /// Will never pass as it stands.
    Permanent,
    /// A person can mend it; the hint says how.
    UserFixable,
    /// A limit; passes later.
    RateLimited,
    /// The other side is unwell (5xx, refused): back off longer.
    Degraded,
}

impl Kind {
    /// The stored and printed name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::UserFixable => "user-fixable",
            Self::RateLimited => "rate-limited",
            Self::Degraded => "degraded",
        }
    }
}

/// Codes of faults that say "nothing has run yet" begin with this: even an external effect's outcome is then known.
pub const NOT_RUN: &str = "not-run";

/// Longest code, bytes; a script writes its own.
const CODE_BYTES: usize = 64;

/// The code of a model's "this conversation is too long for me": the kernel cuts it shorter and asks again.
pub const CONTEXT_FULL: &str = "context-full";

/// Codes of faults of a model's call that say nothing of its provider's health, whatever else they are: it has answered.
pub const NOT_DOWN: [&str; 6] =
    [CONTEXT_FULL, "call-malformed", "field-refused", "no-summary", "reply-empty", "reply-repeats"];

/// Code of a fault for the taking over of a child's work that is not to be had any more: nothing was changed, and
/// another try finds as little.
pub const CHILD_GONE: &str = "child-gone";
/// Code of a fault for what a repository brings along to be run and nobody trusted: it goes away when a person does.
pub const UNTRUSTED: &str = "untrusted";

/// Code of a fault for a disk without space: it goes away when a person makes room, whatever was being done.
pub const DISK_FULL: &str = "disk-full";

/// A failure as a value: what happened, to what, what to type next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Decides what follows.
    pub kind: Kind,
    /// Stable short name, such as `git-missing`; with the layer it is the failure's signature.
    pub code: String,
    /// One sentence in Kapell's own words. Never quotes secrets or whole outputs.
    pub what: String,
    /// What the person should type or change next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Longer foreign text (a program's stderr), kept as a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Digest>,
    /// Earliest sensible moment for another try, in milliseconds from now, when the other side said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Fault {
    /// A failure of this kind, code and sentence. Faults go on record and to terminals, and may quote what failed: their
    /// texts are made clean and short here, whoever wrote them.
    pub fn new(kind: Kind, code: &str, what: impl Into<String>) -> Self {
        Self {
            kind,
            code: text::bounded(code, CODE_BYTES),
            what: text::sentence(&what.into()),
            hint: String::new(),
            detail: None,
            retry_after_ms: None,
        }
    }

    /// Adds what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = text::sentence(&hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
