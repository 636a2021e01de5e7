//! Cargo, rustc, clippy and rustdoc as text; the tests of libtest and nextest. JSON is `rust_json.rs`'s.
//! Start at [`TABLE`].

use super::{Table, json};
use crate::rules::What::{Finding, Headless, Matters, Opens, Place, Quiet, Skip, Test, Totals};
use crate::rules::{own, rule};
use contract::found::Ending::Passed;
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "cargo",
    programs: &["cargo", "rustc", "rustdoc", "cross", "cargo-nextest", "bacon", "clippy-driver"],
    rules: &[
        rule(
            Skip,
            r"^(?:error|warning): (?:aborting due to |could not compile |build failed|\d+ warnings? emitted|`.+` \(.+\) generated \d+ warning|.+ generated \d+ warnings?|test failed, to rerun |doctest failed, to rerun |\d+ targets? failed|unused manifest key: )",
        ),
        rule(Opens(Error), r"^(?<severity>error|warning)\[(?<code>[\w:-]+)\]: (?<message>.+)$"),
        rule(Opens(Error), r"^(?<severity>error|warning): (?<message>.+)$"),
        rule(Place, r"^\s*--> (?<file>.+?):(?<line>\d+):(?<column>\d+)$"),
        rule(
            Headless(Error),
            r"^\s*thread '.*' (?:\(\d+\) )?panicked at (?<file>[^':]+):(?<line>\d+):(?<column>\d+):$",
        ),
        rule(
            Finding(Error),
            r"^\s*thread '.*' panicked at '?(?<message>.+?)'?, (?<file>[^ ']+\.rs):(?<line>\d+):(?<column>\d+)$",
        ),
        rule(
            Test(Passed),
            r"^test (?<test>.+?) \.\.\. (?<ending>ok|FAILED|ignored)(?:, .*)?(?: <(?<s>[\d.]+)s>)?$",
        ),
        rule(
            Test(Passed),
            r"^\s*(?:TRY \d+ )?(?<ending>PASS|FAIL|SKIP|SIGSEGV|SIGABRT|TIMEOUT|LEAK|ABORT) +\[ *(?:(?<s>[\d.]+)s)? *\] +(?:\( *\d+/\d+\) +)?(?<test>\S.*)$",
        ),
        rule(Totals, r"^\s*test result: "),
        rule(Totals, r"^\s*Summary \[.*run:"),
        rule(Matters, r"^---- .+ (?:stdout|stderr) ----$"),
        own(
            Quiet,
            r"^\s*(?:Compiling|Checking|Downloading|Downloaded|Updating|Locking|Adding|Fresh|Documenting|Blocking|Running|Doc-tests) ",
        ),
    ],
    json: Some(json::rust),
};
