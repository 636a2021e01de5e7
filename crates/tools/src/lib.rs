//! The tools an agent works with: read, write, edit, list, search, shell, job. Each file is one tool, whole: what the
//! model is told, the arguments it takes, the effect class, the limits, and running it.
//! Knows nothing of sessions, policy or approval. Start at [`all`], then `read.rs` as the simplest tool.
//!
//! Two things hold for all of them. Paths never leave the workspace: they are resolved by the kernel relative
//! to an open directory (`tree.rs`), not compared as text. And what a model sees has no control sequences
//! (`view.rs`); the raw bytes stay in [`contract::tool::Output::full`].

mod args;
mod edit;
mod image;
mod job;
mod jobs;
mod judge;
mod keys;
mod list;
mod name;
#[cfg(any(test, fuzzing))]
pub mod props;
mod read;
mod search;
mod shell;
#[cfg(test)]
mod testing;
mod tree;
mod view;
mod walk;
mod write;

pub use jobs::Jobs;

use contract::tool::Tool;
use std::path::PathBuf;
use std::sync::Arc;

/// What tools need to be told once.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Running commands leave a record in the folder of their session (its id) in here, for [`sandbox::sweep`].
    pub records: Option<PathBuf>,
    /// Background commands and terminals. The default has no place for any.
    pub jobs: Arc<Jobs>,
}

/// Every tool.
pub fn all(options: &Options) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(read::Read),
        Arc::new(write::Write),
        Arc::new(edit::Edit),
        Arc::new(list::List),
        Arc::new(search::Search),
        Arc::new(shell::Shell::new(options)),
        Arc::new(job::JobTool::new(Arc::clone(&options.jobs))),
    ]
}
