//! Options of commands that work on sessions: new ones, going on, how the result is written.
//!
//! Knows no command's name. Start at [`RunOptions`].

use crate::quantity;
use clap::{Args, ValueEnum};
use contract::Amount;
use contract::session::Ask;
use std::path::PathBuf;

/// Options of `run` and `-p`.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub(crate) struct RunOptions {
    /// Who does the work, such as builtin/fixer
    #[arg(short, long, value_name = "PROVIDER/NAME")]
    pub(crate) model: Option<String>,
    /// Who goes on where that one cannot, in this order (repeatable, or comma-separated)
    #[arg(long, value_name = "PROVIDER/NAME", value_delimiter = ',')]
    pub(crate) fallback_model: Vec<String>,
    /// Most money the whole tree of sessions may cost
    #[arg(long, value_name = "USD", value_parser = quantity::nanos)]
    pub(crate) max_budget_usd: Option<u64>,
    /// Most tokens, input and output together
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    pub(crate) max_tokens: Option<u64>,
    /// Most actions in one turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_turns: Option<u32>,
    /// Most actions in the whole tree
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    pub(crate) max_steps: Option<u64>,
    /// Stop after this long (30s, 10m, 2h) with exit code 124; the session can be resumed
    #[arg(long, value_name = "TIME", value_parser = quantity::millis)]
    pub(crate) timeout: Option<u64>,
    /// Which calls wait for your approval
    #[arg(long, value_enum)]
    pub(crate) ask: Option<AskWord>,
    /// Leave a confirmed result on a branch instead of landing it
    #[arg(long)]
    pub(crate) no_land: bool,
    /// Start from this revision instead of HEAD
    #[arg(long, value_name = "REV")]
    pub(crate) base: Option<String>,
    /// Land on this branch instead of the one checked out
    #[arg(long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Give a model's earlier reply again, for nothing, where the very same question was asked within a day
    #[arg(long)]
    pub(crate) response_cache: bool,
    /// A check the goal is about (repeatable); otherwise found from its words, else all
    #[arg(long, value_name = "NAME")]
    pub(crate) check: Vec<String>,
    /// Only these tools, comma-separated
    #[arg(
        long = "allowedTools",
        visible_alias = "allowed-tools",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub(crate) allowed_tools: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// How the result is written.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub(crate) struct OutputOptions {
    /// text, one JSON object, or JSON lines as things happen
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) output_format: Option<Format>,
    /// With stream-json: what a model says as it says it, told apart by attempt
    #[arg(long)]
    pub(crate) include_partial_messages: bool,
    /// Write the result to this file too
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// End with exit code 75 where a provider's limit would be waited for
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Options of `resume`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ResumeOptions {
    /// Which session: id, unique beginning or end of it, or `last` (the default)
    pub(crate) session: Option<String>,
    /// A message for its agent
    pub(crate) message: Vec<String>,
    /// Go on with another model
    #[arg(short, long, value_name = "PROVIDER/NAME")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) more: More,
    /// Let one model call cost this much from now on
    #[arg(long, value_name = "USD", value_parser = quantity::nanos)]
    pub(crate) per_call_usd: Option<u64>,
    /// Let one model call use this many tokens from now on
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    pub(crate) per_call_tokens: Option<u64>,
    /// Go on with every unfinished session
    #[arg(long, conflicts_with_all = ["session", "message", "model"])]
    pub(crate) all: bool,
    /// Stop after this long (30s, 10m, 2h) with exit code 124
    #[arg(long, value_name = "TIME", value_parser = quantity::millis)]
    pub(crate) timeout: Option<u64>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

impl ResumeOptions {
    /// The cap of one model call that is wished for, where it was this one.
    pub(crate) fn call(&self, was: Amount) -> Option<Amount> {
        let (nanos, tokens) = (self.per_call_usd, self.per_call_tokens);
        (nanos.is_some() || tokens.is_some()).then(|| Amount {
            nanos: nanos.unwrap_or(was.nanos),
            tokens: tokens.unwrap_or(was.tokens),
            ..was
        })
    }
}

/// What is added to a tree's budget.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct More {
    /// Add money to the budget
    #[arg(long, value_name = "USD", value_parser = quantity::nanos)]
    add_usd: Option<u64>,
    /// Add tokens to the budget
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    add_tokens: Option<u64>,
    /// Add actions to the budget
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    add_steps: Option<u64>,
    /// Add minutes of running time to the budget
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    add_minutes: Option<u64>,
}

impl More {
    /// What is added, if anything is.
    pub(crate) fn amount(self) -> Option<Amount> {
        let amount = Amount {
            nanos: self.add_usd.unwrap_or(0),
            tokens: self.add_tokens.unwrap_or(0),
            steps: self.add_steps.unwrap_or(0),
            time_ms: self.add_minutes.unwrap_or(0).saturating_mul(60_000),
        };
        (amount != Amount::ZERO).then_some(amount)
    }
}

/// How a result is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object at the end.
    Json,
    /// JSON lines as things happen.
    StreamJson,
}

/// Which calls wait for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AskWord {
    /// None
    Never,
    /// What may act outside the workspace
    External,
    /// Everything that changes something
    Writes,
}

impl From<AskWord> for Ask {
    fn from(word: AskWord) -> Self {
        match word {
            AskWord::Never => Self::Never,
            AskWord::External => Self::External,
            AskWord::Writes => Self::Writes,
        }
    }
}
