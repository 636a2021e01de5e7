//! A new session as a request asks for it: the options of `kapell run` under their names.
//!
//! Knows fields, not what they lead to. Start at [`Order`].

use crate::problem::Refused;
use contract::Digest;
use contract::limits::{COMMAND_BYTES, TERMINAL_COLUMNS, TERMINAL_ROWS};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::RangeInclusive;

/// Columns and rows a terminal may have.
const SIZES: RangeInclusive<u16> = 2..=1_000;
/// Bytes of a goal.
const GOAL_BYTES: usize = 256 << 10;

/// What is to be reached, where, and within which bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// In plain words.
    #[schemars(length(min = 1, max = 262_144))]
    pub goal: String,
    /// The repository: an absolute path.
    #[schemars(regex(pattern = "^/"))]
    pub repo: String,
    /// By its id.
    #[serde(default)]
    pub model: Option<String>,
    /// Who goes on where that one cannot.
    #[serde(default)]
    pub fallback_model: Vec<String>,
    /// Dollars, as on the command line.
    #[serde(default)]
    pub max_budget_usd: Option<String>,
    /// Input and output together.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// Actions in one turn.
    #[serde(default)]
    pub max_turns: Option<u32>,
    /// Actions in the whole tree.
    #[serde(default)]
    pub max_steps: Option<u64>,
    /// `never`, `external` or `writes`.
    #[serde(default)]
    pub ask: Option<String>,
    /// Leave a confirmed result on a branch.
    #[serde(default)]
    pub no_land: bool,
    /// A revision instead of HEAD.
    #[serde(default)]
    pub base: Option<String>,
    /// A branch instead of the one checked out.
    #[serde(default)]
    pub branch: Option<String>,
    /// Checks the goal is about.
    #[serde(default)]
    pub check: Vec<String>,
    /// Only these tools.
    #[serde(default)]
    pub allowed_tools: Option<Vec<String>>,
    /// Instructions and tools to work with.
    #[serde(default)]
    pub mode: Option<String>,
}

/// A terminal in a session's workspace, for the person who asks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    /// That it is one; commands without a terminal are the agent's.
    #[serde(default)]
    pub terminal: bool,
    /// A command line; a shell without one.
    #[serde(default)]
    pub command: Option<String>,
    /// Characters in a row.
    #[serde(default = "columns")]
    #[schemars(range(min = 2, max = 1_000))]
    pub columns: u16,
    /// Rows.
    #[serde(default = "rows")]
    #[schemars(range(min = 2, max = 1_000))]
    pub rows: u16,
    /// The yes to exactly this, as the refusal `needs-yes` named it.
    #[serde(default)]
    #[schemars(with = "Option<crate::shape::Digest>")]
    pub hash: Option<Digest>,
}

fn columns() -> u16 {
    TERMINAL_COLUMNS
}

fn rows() -> u16 {
    TERMINAL_ROWS
}

impl Terminal {
    /// What can be said without looking at anything.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let wrong = |what: String, hint: &str| Err(Refused::user("bad-field", what, hint));
        let sizes = [("columns", self.columns), ("rows", self.rows)];
        if let Some((name, _)) = sizes.into_iter().find(|(_, size)| !SIZES.contains(size)) {
            let what = format!("`{name}` is from {} to {}", SIZES.start(), SIZES.end());
            return wrong(what, "leave it out for the usual size");
        }
        match &self.command {
            _ if !self.terminal => wrong(
                "`terminal` is not true".into(),
                "only terminals are opened here; the agent runs the rest",
            ),
            Some(line) if line.trim().is_empty() => {
                wrong("`command` is empty".into(), "leave it out for a shell")
            }
            Some(line) if line.contains('\0') || line.len() > COMMAND_BYTES => {
                wrong(format!("`command` is a line of at most {COMMAND_BYTES} bytes"), "put it into a file")
            }
            _ => Ok(()),
        }
    }
}

impl Order {
    /// What can be said without looking at anything.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let wrong = |what: &str, hint: &str| Err(Refused::user("bad-field", what, hint));
        match () {
            () if self.goal.trim().is_empty() => {
                wrong("`goal` is empty", "say in plain words what is to be reached")
            }
            () if self.goal.len() > GOAL_BYTES => {
                wrong("`goal` is too long", "put it into a file of the repository")
            }
            () if !self.repo.starts_with('/') => wrong("`repo` is no absolute path", "write it from / on"),
            () => Ok(()),
        }
    }
}
