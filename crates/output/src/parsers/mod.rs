//! The registry of parsers: one file a tool, one row here.
//!
//! Every rule of every parser is looked for in every line, in one pass of an automaton; which parser takes a line that
//! several match is decided by the command's own words first, by the order of rows then. Start at [`REGISTRY`].

mod cargo;
mod eslint;
mod exunit;
mod gcc;
mod git;
mod go;
mod java;
mod jest;
mod json;
mod make;
mod npm;
mod pytest;
mod tsc;
mod vitest;

use crate::rules::{Found, Rule, What};
use regex::{Regex, RegexSet, RegexSetBuilder};
use serde_json::Value;
use std::sync::LazyLock;

/// Reads one record of a line; `false` when it is none of its tool's.
type Json = fn(&Value, u64, &mut dyn Found) -> bool;

/// A parser: whose output, and what its lines mean.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Programs whose output it is.
    pub(crate) programs: &'static [&'static str],
    pub(crate) rules: &'static [Rule],
    pub(crate) json: Option<Json>,
}

/// Every parser. Narrow forms stand before wide ones.
pub(crate) const REGISTRY: &[Table] = &[
    tsc::TABLE,
    eslint::TABLE,
    pytest::TABLE,
    go::TABLE,
    java::TABLE,
    exunit::TABLE,
    vitest::TABLE,
    jest::TABLE,
    npm::TABLE,
    make::TABLE,
    gcc::TABLE,
    git::TABLE,
    cargo::TABLE,
];

/// Memory the automaton over all rules may take, bytes.
const AUTOMATON_BYTES: usize = 16 * 1024 * 1024;

/// The rules of several parsers, ready to be looked for.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) set: RegexSet,
    pub(crate) rules: Vec<Ready>,
}

/// One rule.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    /// Which parser's.
    pub(crate) parser: usize,
    pub(crate) what: What,
    pub(crate) regex: Regex,
    pub(crate) hinted: bool,
}

/// The built-in rules.
pub(crate) static BUILTIN: LazyLock<Compiled> = LazyLock::new(|| {
    let rules =
        || REGISTRY.iter().enumerate().flat_map(|(at, table)| table.rules.iter().map(move |rule| (at, rule)));
    let ready = rules().map(|(parser, rule)| Ready {
        parser,
        what: rule.what,
        regex: compile(rule.pattern),
        hinted: rule.hinted,
    });
    let rules_ready = ready.collect();
    let set = RegexSetBuilder::new(rules().map(|(_, rule)| rule.pattern))
        .size_limit(AUTOMATON_BYTES)
        .dfa_size_limit(AUTOMATON_BYTES)
        .build();
    // tidy: allow(unwrap): literals of this crate, all of which a test compiles
    Compiled { set: set.expect("the rules of the registry"), rules: rules_ready }
});

/// A pattern that stands in this crate.
pub(crate) fn compile(pattern: &'static str) -> Regex {
    // tidy: allow(unwrap): literals of this crate, all of which a test compiles
    Regex::new(pattern).expect("a pattern of this crate")
}
