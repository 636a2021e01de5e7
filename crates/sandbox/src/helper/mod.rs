//! The helper: this very binary, started again under a hidden word, before anything else of it ran.
//! Knows nothing of async, tools or sessions; has one thread. Start at [`dispatch`].
//!
//! Its environment is empty, so that a command cannot read secrets from its parent in /proc.

mod children;
mod keeper;
mod warden;

pub(crate) use keeper::FDS;

/// The hidden first argument.
pub(crate) const WORD: &str = "__kapell-helper";

/// Becomes the helper, and never returns, when this process was started as one. The first line of `main`.
pub fn dispatch() {
    if std::env::args_os().nth(1).is_some_and(|word| word == WORD) {
        keeper::serve();
    }
}
