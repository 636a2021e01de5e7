//! What a call would do, as plain data that rules are matched on, and what was ruled about it.
//!
//! Knows no shell and no rule: `command` makes parts of a command line, `kernel::policy` rules. Start at [`Part`].

use crate::is_default;
use serde::{Deserialize, Serialize};

/// One thing that a call would run or do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Program and arguments as the program would get them; empty for what is no program (a redirection, a file tool).
    pub words: Vec<Arg>,
    /// No rule has to allow it: it only runs what it is given, which is another part, or a person allowed it elsewhere.
    pub wraps: bool,
    /// Files and directories.
    pub touches: Vec<Touch>,
    /// Hosts that are spoken to.
    pub hosts: Vec<String>,
    /// What the text does not tell. With any of these, no rule allows the part.
    pub doubts: Vec<Doubt>,
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// It is this.
    Known(String),
    /// One word, which only the shell will know; as it was written.
    One(String),
    /// Any number of words, none included; as it was written.
    Many(String),
}

impl Arg {
    /// The word, if it is known.
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            _ => None,
        }
    }

    /// The word, or how it was written.
    pub fn shown(&self) -> &str {
        match self {
            Self::Known(text) | Self::One(text) | Self::Many(text) => text,
        }
    }
}

/// May this argument bring that option: as it is, abbreviated, with a value behind it, or as a letter among others?
pub fn brings(arg: &str, option: &str) -> bool {
    if option.starts_with("--") {
        let name = arg.split('=').next().unwrap_or(arg);
        return name.len() > 2 && (option.starts_with(name) || name.starts_with(option));
    }
    match option.strip_prefix('-').filter(|letter| letter.len() == 1) {
        Some(letter) => arg.starts_with('-') && !arg.starts_with("--") && arg.contains(letter),
        None => arg.starts_with(option),
    }
}

/// A path and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// Absolute, without `.` and `..`, as far as text can tell; `None` when only the shell will know it.
    pub path: Option<String>,
    /// In the workspace: its path from the top, which itself is empty.
    pub inside: Option<String>,
    /// What happens to it.
    pub how: How,
}

/// What happens to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It is read or listed.
    Read,
    /// Named to a program of which nothing is known.
    Any,
    /// It is made, changed or removed.
    Write,
}

/// What a text does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Which program it is.
    Program,
    /// A text of code of another language, or code that an option hides.
    Code,
    /// A shell that runs what comes in.
    Input,
    /// It runs on another machine, or where this one's rules do not hold.
    Elsewhere,
    /// A variable of the environment that changes what programs do.
    Variable(String),
    /// Which host is spoken to.
    Host,
    /// The text could not be read to its end.
    Unread(String),
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program => f.write_str("which program it runs is known only when it runs"),
            Self::Code => f.write_str("it runs code that is not looked into"),
            Self::Input => f.write_str("a shell runs whatever it reads"),
            Self::Elsewhere => f.write_str("it runs somewhere else"),
            Self::Variable(name) => write!(f, "it sets {name}, which can change what programs do"),
            Self::Host => f.write_str("which host it speaks to is known only when it runs"),
            Self::Unread(why) => write!(f, "it could not be read: {why}"),
        }
    }
}

/// May it run?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Without asking.
    Allow,
    /// When a person says yes to exactly this.
    Ask,
    /// Not at all.
    Deny,
}

impl Decision {
    /// The stored and printed name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// May it run?
    pub verdict: Decision,
    /// The rule that decided and where it stands, in Kapell's own words.
    pub why: String,
    /// Only a person can say yes to it: nothing bypasses it, or a person wrote that it asks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub firm: bool,
}
