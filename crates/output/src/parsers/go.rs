//! Go: build, vet, test, as text and as `-json`. Start at [`TABLE`].

use super::{Table, json};
use crate::rules::What::{Finding, Matters, Quiet, Skip, Test};
use crate::rules::{own, rule};
use contract::found::Ending::Passed;
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "go",
    programs: &["go", "gotestsum", "golangci-lint", "staticcheck"],
    rules: &[
        rule(Skip, r"^\s+\S+\.go:\d+ \+0x"),
        rule(
            Finding(Error),
            r"^(?:vet: )?(?<file>[^\s:]+\.go):(?<line>\d+)(?::(?<column>\d+))?: (?<message>.+)$",
        ),
        rule(Finding(Error), r"^\s+(?<file>[^\s:/]+_test\.go):(?<line>\d+): (?<message>.+)$"),
        rule(Test(Passed), r"^\s*--- (?<ending>PASS|FAIL|SKIP): (?<test>\S+)(?: \((?<s>[\d.]+)s\))?$"),
        rule(Finding(Error), r"^panic: (?<message>.+)$"),
        rule(Quiet, r"^=== (?:RUN|PAUSE|CONT|NAME) "),
        rule(Quiet, r"^ok  \t"),
        rule(Matters, r"^FAIL\t"),
        rule(Matters, r"^# \S+$"),
        own(Quiet, r"^go: downloading "),
    ],
    json: Some(json::go),
};
