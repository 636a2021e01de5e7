//! What an output comes to. A value; [`crate::Reader`] makes it.

use contract::checks::Tests;
use contract::found::{Ending, Finding, Severity, TestEnd};

/// An output, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Errors that parsers understood, each once.
    pub errors: u64,
    /// Warnings, likewise.
    pub warnings: u64,
    /// Kinds of lines that tell of trouble no parser knows.
    pub troubles: u64,
    /// Lines of the output.
    pub lines: u64,
    /// Bytes of it without control sequences.
    pub bytes: u64,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// The first tests; of many, those that failed.
    pub ends: Vec<TestEnd>,
    /// How many tests there were, where a runner told or they were seen to end.
    pub tests: Option<Tests>,
    /// Other things that were counted.
    pub counts: Vec<(&'static str, u64)>,
    /// What is shown.
    pub text: String,
    /// Not all of it is shown.
    pub truncated: bool,
    /// Of the parsers people or agents wrote, those that the command names, and whether each of them read anything.
    pub own: Vec<(String, bool)>,
}

impl Digest {
    /// `2 errors, 1 warning in 812 lines; 40 tests passed, 2 failed`.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if self.errors > 0 || self.warnings > 0 {
            parts.push(format!("{}, {}", plural(self.errors, "error"), plural(self.warnings, "warning")));
        } else if self.troubles > 0 {
            parts.push(format!("{} of trouble", plural(self.troubles, "kind")));
        } else {
            parts.push("0 errors, 0 warnings".to_owned());
        }
        let mut text = format!("{} in {}", parts.join(", "), plural(self.lines, "line"));
        if let Some(tests) = self.tests {
            text.push_str(&format!("; tests: {} passed, {} failed", tests.passed, tests.failed));
            if tests.ignored > 0 {
                text.push_str(&format!(", {} skipped", tests.ignored));
            }
        }
        for (what, count) in &self.counts {
            text.push_str(&format!("; {count} {what}"));
        }
        text
    }

    /// Something was understood of it.
    pub fn understood(&self) -> bool {
        self.errors > 0 || self.warnings > 0 || self.tests.is_some() || !self.counts.is_empty()
    }
}

/// How bad a finding is, in a word.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// How a test ended, in a word.
pub fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Passed => "passed",
        Ending::Failed => "failed",
        Ending::Skipped => "skipped",
    }
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
