//! ExUnit and the Elixir compiler. Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Finding, Opens, Place, Test, Totals};
use crate::rules::{own, rule};
use contract::found::Ending::Failed;
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "mix",
    programs: &["mix", "elixir", "elixirc"],
    rules: &[
        rule(Test(Failed), r"^ +\d+\) (?:test|property|doctest) (?<test>.+) \([\w.]+\)$"),
        rule(
            Totals,
            r"^(?:\d+ (?:doctests?|properties|property), )*(?<run>\d+) tests?, (?<failed>\d+) failures?(?:, (?<skipped>\d+) (?:skipped|excluded))?",
        ),
        rule(
            Finding(Error),
            r"^\*\* \((?<code>[\w.]+)\) (?:(?<file>[^\s:]+\.exs?):(?<line>\d+): )?(?<message>.+)$",
        ),
        rule(Place, r"^\s*└─ (?<file>[^\s:]+\.exs?):(?<line>\d+)(?::(?<column>\d+))?(?::.*)?$"),
        own(Opens(Error), r"^\s*(?<severity>error|warning): (?<message>.+)$"),
    ],
    json: None,
};
