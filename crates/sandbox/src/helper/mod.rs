//! The helper: this very binary, started again under a hidden word, before anything else of it ran.
//! Knows nothing of async, tools or sessions; has one thread. Start at [`dispatch`].
//!
//! Its environment is empty, so that a command cannot read secrets from its parent in /proc.

mod children;
mod first;
mod keeper;
mod warden;

/// The hidden first argument.
pub(crate) const WORD: &str = "__kapell-helper";

/// Becomes the helper, and never returns, when this process was started as one. The first line of `main`.
pub fn dispatch() {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == WORD) {
        if words.next().is_some_and(|word| word == crate::confine::PROBE) {
            crate::confine::try_out();
        }
        keeper::serve();
    }
}
