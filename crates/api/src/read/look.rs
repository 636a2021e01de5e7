//! What there is to look at besides lists of sessions: each a question that the binary answers with one document.
//!
//! Start at [`Look`].

use crate::page::Page;
use contract::{ActionId, Seq, SessionId};

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// What is wrong, and how to mend it.
    Doctor,
    /// What can be used now, and what it costs.
    Models,
    /// What is set, each with its origin; for a repository, when one is named.
    Config(Option<String>),
    /// Who did what.
    Audit(Acts, Page),
    /// Texts of goals and conversations in which these words stand.
    Search {
        /// The words.
        words: String,
        /// At most so many hits.
        limit: usize,
    },
    /// Repositories that sessions were opened for.
    Repos,
    /// Schedules of one repository, or of all that sessions were opened for.
    Schedules(Option<String>),
    /// What all sessions cost.
    Spent,
    /// One session, seen in this way.
    Session(SessionId, View),
}

/// A way to see a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// In full.
    Page,
    /// Who said what.
    Transcript {
        /// Entries before this event.
        before: Option<Seq>,
        /// The newest so many of them.
        limit: usize,
    },
    /// Who wanted what, and why it won.
    Why {
        /// Only this action.
        action: Option<ActionId>,
        /// Actions before this one.
        before: Option<ActionId>,
        /// The newest so many of them.
        limit: usize,
    },
    /// Its plan and its own list of what is to be done.
    Plan,
    /// The newest verdict, and the runs it rests on.
    Checks,
    /// The change; of one action, when it is named.
    Diff(Option<ActionId>),
    /// What its tree cost.
    Cost,
    /// Its model calls, and what made a provider's cache useless.
    Calls,
    /// Background commands and terminals.
    Jobs,
    /// What one of them wrote, from this byte on.
    Output(String, u64),
}

/// Which acts: the flags of `kapell audit query`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acts {
    /// Of this session.
    pub session: Option<String>,
    /// Of this category.
    pub category: Option<String>,
    /// Such as `shell`, `approval`.
    pub action: Option<String>,
    /// Such as `ok`, `denied`.
    pub outcome: Option<String>,
    /// `info`, `notice` or `warning`.
    pub severity: Option<String>,
    /// Who.
    pub by: Option<String>,
    /// What stands in what the act was about.
    pub target: Option<String>,
    /// From this moment on.
    pub since: Option<String>,
    /// Up to this moment.
    pub until: Option<String>,
}
