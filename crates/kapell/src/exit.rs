//! Exit codes (DESIGN section 7), the words for them in records, and errors on their way to the person.
//!
//! Knows no session. Start at [`Failure`].

use contract::{Fault, Kind, journal};

/// All went well.
pub(crate) const OK: u8 = 0;
/// It could not.
pub(crate) const FAILURE: u8 = 1;
/// Arguments or configuration; nothing was started.
pub(crate) const USAGE: u8 = 2;
/// A rule or a person said no.
pub(crate) const DENIED: u8 = 6;
/// A question or an approval is parked, or a language model is needed.
pub(crate) const NEEDS_YOU: u8 = 8;
/// Waiting on a limit; goes on later.
pub(crate) const WAITING: u8 = 75;
/// `--timeout` ran out.
pub(crate) const TIMEOUT: u8 = 124;
/// SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// SIGTERM.
pub(crate) const TERMINATED: u8 = 143;

/// Every code and its `termination_reason`, for records and for `--help`.
pub(crate) const TABLE: &[(u8, &str, &str)] = &[
    (OK, "completed", "the work is done (and landed, unless asked not to)"),
    (FAILURE, "failed", "it could not be done"),
    (USAGE, "usage", "arguments or configuration; nothing was started"),
    (3, "refuted", "the checks say no"),
    (4, "inconclusive", "no check was found, it could not run, or it is flaky"),
    (5, "stuck", "the same failure again and again, or a limit of steps"),
    (DENIED, "denied", "an approval was denied or ran out"),
    (7, "budget", "the budget is used up"),
    (NEEDS_YOU, "needs_you", "an approval or a question waits, or a language model is needed"),
    (WAITING, "waiting", "waiting on a limit; goes on later"),
    (TIMEOUT, "timeout", "--timeout ran out"),
    (INTERRUPTED, "interrupted", "SIGINT (Ctrl-C)"),
    (TERMINATED, "terminated", "SIGTERM"),
];

/// The `termination_reason` of a code.
pub(crate) fn reason(code: u8) -> &'static str {
    TABLE.iter().find(|(known, ..)| *known == code).map_or("failed", |(_, word, _)| word)
}

/// An error and the exit code it ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What happened, to what, what to type next.
    pub(crate) fault: Fault,
    /// The exit code.
    pub(crate) code: u8,
    /// A program has been told already, in the last record of its stream.
    pub(crate) told: bool,
}

impl Failure {
    /// Something in the arguments, the configuration or the place it was called in: exit 2.
    pub(crate) fn usage(code: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { fault: Fault::new(Kind::UserFixable, code, what).hint(hint), code: USAGE, told: false }
    }

    /// Something did not work out: exit 1.
    pub(crate) fn failed(code: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { fault: Fault::new(Kind::Permanent, code, what).hint(hint), code: FAILURE, told: false }
    }

    /// The same error, as one of usage.
    pub(crate) fn into_usage(mut self) -> Self {
        self.code = USAGE;
        self
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let code = if fault.kind == Kind::RateLimited { WAITING } else { FAILURE };
        Self { fault, code, told: false }
    }
}

impl From<journal::Error> for Failure {
    fn from(error: journal::Error) -> Self {
        error.fault().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_word_each() {
        assert_eq!(reason(0), "completed");
        assert_eq!(reason(8), "needs_you");
        assert_eq!(reason(99), "failed");
        let mut words: Vec<_> = TABLE.iter().map(|(_, word, _)| word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), TABLE.len());
    }
}
