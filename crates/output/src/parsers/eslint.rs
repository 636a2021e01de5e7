//! ESLint (stylish, compact, unix, JSON), stylelint and biome. Start at [`TABLE`].

use super::{Table, json};
use crate::rules::What::{File, Finding, InFile, Matters, Message, Opens};
use crate::rules::rule;
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "eslint",
    programs: &["eslint", "stylelint", "standard", "xo", "biome", "next"],
    rules: &[
        rule(
            File,
            r"^(?<file>(?:[A-Za-z]:)?[\w@./\\\[\]()-][\w@./\\\[\]() -]*\.(?:[cm]?[jt]sx?|vue|svelte|astro|json|s?css|less|md))$",
        ),
        rule(
            InFile(Error),
            r"^\s+(?<line>\d+):(?<column>\d+)\s+(?<severity>error|warning|Error:|Warning:|✖|⚠)\s+(?<message>.+?)(?:\s{2,}(?<code>\S+))?$",
        ),
        rule(
            Finding(Error),
            r"^(?<file>.+): line (?<line>\d+), col (?<column>\d+), (?<severity>Error|Warning) - (?<message>.+?)(?: \((?<code>[^)]+)\))?$",
        ),
        rule(
            Finding(Error),
            r"^(?<file>[^\s:]+):(?<line>\d+):(?<column>\d+): (?<message>.+) \[(?<severity>Error|Warning)(?:/(?<code>[^\]]+))?\]$",
        ),
        rule(
            Opens(Error),
            r"^(?<file>[^\s:]+):(?<line>\d+):(?<column>\d+) (?<code>(?:lint|assist|parse|suppressions|syntax|format)\S*)\s.*━",
        ),
        rule(
            Opens(Error),
            r"^(?<file>[^\s:]+\.\w+) (?<code>format|lint|assist|organizeImports|parse|check|internalError/\w+)\s.*━",
        ),
        rule(Message, r"^\s+(?<severity>[×✖!ℹ]) (?<message>.+)$"),
        rule(Matters, r"^✖ \d+ problems?"),
    ],
    json: Some(json::eslint),
};
