//! What the loop asks of the process it runs in: sessions, a person's trust, secrets, the clock and the journal.
//!
//! Shapes only; the binary fulfils it with the functions behind its commands. Start at [`Host`].

use contract::intent::Wish;
use contract::journal::Journal;
use contract::port::Clock;
use contract::{BoxFuture, Digest, Fault, SessionId};
use kernel::looping::claim::Tasks;
use serde_json::Value;

/// What a person trusts of one repository.
pub trait Trust: Send + Sync {
    /// Does a person trust this, as it stands?
    fn trusts(&self, doing: &Doing) -> Result<bool, Fault>;
}

/// Answers for one repository. Every call may be repeated.
pub trait Host: Trust {
    /// The clock, and fresh random bits.
    fn clock(&self) -> &dyn Clock;

    /// Where the loop's record is.
    fn journal(&self) -> &dyn Journal;

    /// Why this text may not be put on record, if it may not: it holds a secret. `what` names it for people.
    fn refused(&self, what: &str, text: &str) -> Option<String>;

    /// How a session stands; `None`: nobody has opened it.
    fn stand(&self, session: SessionId) -> BoxFuture<'_, Result<Option<Stand>, Fault>>;

    /// The tasks of the repository, the newest. `ours` are jobs of the loop: somebody goes on with them.
    fn tasks<'a>(&'a self, ours: &'a [SessionId]) -> BoxFuture<'a, Result<Tasks, Fault>>;

    /// Opens a session. Whoever of several gets there first opens it, once; the others are answered alike.
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<(), Fault>>;

    /// Goes on with a session that nobody executes.
    fn go_on(&self, session: SessionId) -> BoxFuture<'_, Result<(), Fault>>;

    /// Leaves a wish for a session, once for each key. Where nobody executes it, it is taken note of at once.
    fn wish(&self, session: SessionId, wish: Wish, key: String) -> BoxFuture<'_, Result<(), Fault>>;
}

/// Something that would run by itself, or say what may.
#[derive(Debug, Clone, PartialEq)]
pub struct Doing {
    /// `schedule 17`, `mode docs`.
    pub name: String,
    /// For people.
    pub run: String,
    /// All that it does.
    pub does: Value,
}

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// What it came to, if it has ended.
    pub end: Option<End>,
    /// Nothing goes on by itself in its whole tree.
    pub rests: bool,
    /// A living process executes it.
    pub held: bool,
    /// It was asked to pause, and has.
    pub paused: bool,
}

/// What a session came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Exit code by DESIGN section 7.
    pub code: u8,
    /// Why, in one sentence.
    pub why: String,
    /// Somebody stopped it.
    pub cancelled: bool,
}

/// A session to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Under this id.
    pub session: SessionId,
    /// What is to be done, as it stands on record.
    pub goal: Digest,
    /// The mode it works in.
    pub mode: String,
    /// Tools allowed by name; `None` = all that exist.
    pub tools: Option<Vec<String>>,
    /// Regular expressions that the paths of what it writes fit, each; none = anywhere.
    pub writes: Vec<String>,
    /// How long its actions may take together, children's too, milliseconds.
    pub time_ms: u64,
    /// What it is for, as costs are told by it: a schedule or a task that was handed over.
    pub task: String,
}
