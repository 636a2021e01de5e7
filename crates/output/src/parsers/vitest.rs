//! Vitest's default and verbose reporters. Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Quiet, Test, Totals};
use crate::rules::{own, rule};
use contract::found::Ending::{Failed, Passed, Skipped};

pub(super) const TABLE: Table = Table {
    name: "vitest",
    programs: &["vitest"],
    rules: &[
        rule(Test(Failed), r"^\s*FAIL  (?:\|.+?\| )?(?<test>\S+ > .+)$"),
        rule(Test(Failed), r"^\s*[×❯] (?:\|.+?\| )?(?<test>\S+ > .+?)(?: (?<ms>\d+)ms)?$"),
        rule(Test(Failed), r"^\s+× (?<test>.+?)(?: (?<ms>\d+)ms)?$"),
        rule(Test(Passed), r"^\s*✓ (?:\|.+?\| )?(?<test>\S+ > .+?)(?: (?<ms>\d+)ms)?$"),
        rule(Quiet, r"^\s*✓ (?:\|.+?\| )?\S+ \(\d+ tests?.*\)"),
        own(Test(Skipped), r"^\s*↓ (?<test>\S+ > .+)$"),
        rule(Totals, r"^\s*Tests  "),
    ],
    json: None,
};
