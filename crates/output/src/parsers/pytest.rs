//! pytest and unittest, and what Python throws. Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Finding, Frame, Matters, Message, Test, Thrown, Totals};
use crate::rules::rule;
use contract::found::Ending::{Failed, Passed};
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "pytest",
    programs: &["pytest", "py.test", "python", "python3", "tox", "nox", "unittest"],
    rules: &[
        rule(
            Test(Passed),
            r"^(?:\[gw\d+\] (?:\[ *\d+%\] )?)?(?<test>\S+::\S.*?) (?<ending>PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)(?: .*)?$",
        ),
        rule(Test(Failed), r"^(?:FAILED|ERROR) (?<test>\S+?::.+?)(?: - .*)?$"),
        rule(Test(Failed), r"^(?:FAILED|ERROR) (?<test>[\w./-]+\.py)(?: - .*)?$"),
        rule(Message, r"^E {3,}(?<message>\S.*)$"),
        rule(
            Finding(Error),
            r"^(?<file>[^\s:]+\.py):(?<line>\d+): (?<code>[\w.]*(?:Error|Exception|Failed|Exit|Interrupt|Warning)\w*)$",
        ),
        rule(Frame, r#"^\s+File "(?<file>[^"]+)", line (?<line>\d+)(?:, in .*)?$"#),
        rule(
            Thrown,
            r"^(?<code>[\w.]*(?:Error|Exception|Interrupt|Exit|NotImplemented|DoesNotExist|Invalid)\w*)(?:: (?<message>.*))?$",
        ),
        rule(Test(Failed), r"^(?:FAIL|ERROR): (?<test>\w+ \([\w.]+\).*)$"),
        rule(Test(Passed), r"^(?<test>test\w* \([\w.]+\)).* \.\.\. (?<ending>ok|FAIL|ERROR|skipped)\b"),
        rule(
            Totals,
            r"^(?:=+ )?\d+ (?:passed|failed|skipped|errors?|xfailed|xpassed|deselected|warnings?)\b.* in [\d.]+ ?m?s",
        ),
        rule(Matters, r"^>\s{3,}\S"),
        rule(Matters, r"^_{3,} .+ _{3,}$"),
    ],
    json: None,
};
