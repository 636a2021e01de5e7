//! What is found in a program's output: complaints with their place, tests with their outcome.
//!
//! Knows no tool's format (`output` does). Start at [`Finding`].

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The tool refuses.
    Error,
    /// The tool goes on.
    Warning,
    /// It belongs to another finding, or only tells.
    Note,
}

/// A complaint of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the parser that understood it.
    pub tool: String,
    /// How bad.
    pub severity: Severity,
    /// The file, as the tool names it.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// Column in it, as the tool counts.
    pub column: Option<u32>,
    /// The tool's name for this kind of complaint.
    pub code: Option<String>,
    /// What it says, one line.
    pub message: String,
    /// Line of the output it was found in, from 1.
    pub at: u64,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It passed.
    Passed,
    /// It failed, or could not run.
    Failed,
    /// It was left out.
    Skipped,
}

/// A test that ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TestEnd {
    /// Name of the parser that understood it.
    pub tool: String,
    /// Its name, as the runner prints it.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
    /// How long it took, milliseconds, where the runner says so.
    pub ms: Option<u64>,
    /// Line of the output it was found in, from 1.
    pub at: u64,
}
