//! TypeScript's compilers, plain and pretty. Start at [`TABLE`].

use super::Table;
use crate::rules::What::Finding;
use crate::rules::rule;
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "tsc",
    programs: &["tsc", "tsgo", "vue-tsc"],
    rules: &[
        rule(
            Finding(Error),
            r"^(?<file>[^\s(][^(]*)\((?<line>\d+),(?<column>\d+)\): (?<severity>error|warning) (?<code>TS\d+): (?<message>.+)$",
        ),
        rule(
            Finding(Error),
            r"^(?<file>[^\s:][^:]*):(?<line>\d+):(?<column>\d+) - (?<severity>error|warning) (?<code>TS\d+): (?<message>.+)$",
        ),
        rule(Finding(Error), r"^error (?<code>TS\d+): (?<message>.+)$"),
    ],
    json: None,
};
