//! npm, pnpm and yarn: what the package manager itself complains of. Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Finding, Matters, Skip};
use crate::rules::{own, rule};
use contract::found::Severity::{Error, Warning};

pub(super) const TABLE: Table = Table {
    name: "npm",
    programs: &["npm", "npx", "pnpm", "yarn", "yarnpkg", "bun"],
    rules: &[
        rule(Skip, r"^npm (?:ERR!|error) code (?:ELIFECYCLE|1)$"),
        rule(Finding(Error), r"^npm (?:ERR!|error) code (?<code>\S+)$"),
        rule(
            Finding(Error),
            r"^npm (?:ERR!|error) (?<message>(?:[Mm]issing script|Lifecycle script .* failed|Test failed|Exit status |.* failed with error).*)$",
        ),
        rule(Matters, r"^npm (?:ERR!|error) "),
        rule(Finding(Warning), r"^npm (?:WARN|warn) (?<code>[\w-]+) (?<message>.+)$"),
        rule(Finding(Error), r"^\s*(?<code>ERR_PNPM_\w+) +(?<message>.+)$"),
        rule(Finding(Error), r"^\s?ELIFECYCLE +(?<message>.+)$"),
        rule(Finding(Error), r"^➤ (?<code>YN\d+): .*?Error: (?<message>.+)$"),
        own(Finding(Error), r"^error (?<message>.+)$"),
        own(Finding(Warning), r"^warning (?<message>.+)$"),
        own(Finding(Warning), r"^ ?WARN +(?<message>.+)$"),
        rule(Finding(Error), r"^error (?<message>Command failed with exit code \d+\.)$"),
    ],
    json: None,
};
