//! Maven with Surefire, and Gradle. Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Finding, Headless, Matters, Quiet, Skip, Test, Totals};
use crate::rules::rule;
use contract::found::Ending::{Failed, Passed};
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "java",
    programs: &["mvn", "mvnw", "gradle", "gradlew", "ant", "sbt"],
    rules: &[
        rule(
            Finding(Error),
            r"^\[(?<severity>ERROR|WARNING)\] (?<file>[^\s:\[]+\.\w+):\[(?<line>\d+)(?:,(?<column>\d+))?\] (?<message>.+)$",
        ),
        rule(
            Finding(Error),
            r"^\[ERROR\] (?<message>Failed to execute goal .+|Could not .+|Unresolveable .+|Non-resolvable .+)$",
        ),
        rule(
            Test(Failed),
            r"^(?:\[ERROR\] +)?(?<test>[\w$.\[\]]+(?:\([\w.$]+\))?) +(?:Time elapsed|--? Time elapsed|-- Time elapsed): (?<s>[\d.]+) s(?:ec)? +<<< (?<ending>FAILURE|ERROR)!",
        ),
        rule(
            Totals,
            r"^(?:\[\w+\] )?Tests run: (?<run>\d+), Failures: (?<failed>\d+), Errors: (?<errors>\d+), Skipped: (?<skipped>\d+)\s*$",
        ),
        rule(Matters, r"^(?:\[ERROR\] )?Tests run: .*<<< (?:FAILURE|ERROR)!"),
        rule(Quiet, r"^(?:\[INFO\] )?Tests run: \d+, Failures: 0, Errors: 0, .*Time elapsed"),
        rule(
            Skip,
            r"^\[ERROR\]\s*(?:$|-> \[Help|To see the full|Re-run Maven|For more information|\[Help|After correcting|  mvn )",
        ),
        rule(Matters, r"^> Task \S+ FAILED"),
        rule(Quiet, r"^> Task \S+(?: (?:UP-TO-DATE|NO-SOURCE|FROM-CACHE|SKIPPED))?$"),
        rule(Test(Passed), r"^(?<test>\w[\w.$]* > .+?) (?<ending>PASSED|FAILED|SKIPPED)$"),
        rule(Headless(Error), r"^\* What went wrong:$"),
        rule(
            Finding(Error),
            r"^(?<severity>[ew]): (?:file://)?(?<file>[^\s:]+):(?<line>\d+):(?<column>\d+):? (?<message>.+)$",
        ),
        rule(Totals, r"^(?<run>\d+) tests? completed, (?<failed>\d+) failed(?:, (?<skipped>\d+) skipped)?"),
    ],
    json: None,
};
