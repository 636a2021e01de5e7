//! Jest, mocha and node's own runner: tests by their signs. Vitest has a form of its own (`vitest.rs`).
//! Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Matters, Quiet, Test, Totals};
use crate::rules::{own, rule};
use contract::found::Ending::{Failed, Passed, Skipped};

pub(super) const TABLE: Table = Table {
    name: "jest",
    programs: &["jest", "mocha", "ava", "jasmine"],
    rules: &[
        rule(Test(Passed), r"^\s*[✓✔√] (?<test>.+?) \((?<ms>[\d.]+) ?ms\)$"),
        rule(Test(Passed), r"^\s*[✓✔√] (?<test>.+?) \((?<s>[\d.]+) ?s\)$"),
        rule(Test(Failed), r"^\s*[✕✖✗] (?<test>.+?) \((?<ms>[\d.]+) ?ms\)$"),
        rule(Test(Failed), r"^\s*[✕✖✗] (?<test>.+?) \((?<s>[\d.]+) ?s\)$"),
        rule(Test(Failed), r"^\s+✕ (?<test>.+)$"),
        rule(Test(Skipped), r"^\s+○ skipped (?<test>.+)$"),
        own(Test(Passed), r"^\s+[✓✔√] (?<test>.+)$"),
        rule(Test(Failed), r"^\s{0,4}● (?<test>.+ › .+)$"),
        rule(Matters, r"^\s*● "),
        rule(Matters, r"^\s*FAIL \S+\.[cm]?[jt]sx?"),
        rule(Quiet, r"^\s*PASS \S+\.[cm]?[jt]sx?"),
        rule(Totals, r"^\s*Tests:.*total"),
        rule(Totals, r"^\s*\d+ (?:passing|failing|pending)\b"),
        rule(Totals, r"^[#ℹ] pass (?<passed>\d+)$"),
        rule(Totals, r"^[#ℹ] fail (?<failed>\d+)$"),
        rule(Totals, r"^[#ℹ] skipped (?<skipped>\d+)$"),
        rule(Test(Failed), r"^not ok \d+ -? ?(?<test>.+)$"),
        rule(Test(Skipped), r"^ok \d+ -? ?(?<test>.+?) # (?:SKIP|TODO)"),
        rule(Test(Passed), r"^ok \d+ -? ?(?<test>.+)$"),
    ],
    json: None,
};
