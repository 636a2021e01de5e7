//! Counts tests from what test runners print.
//!
//! A convenience for people: a verdict never hangs on it. Start at [`tests`].

use contract::checks::Tests;

/// Tests passed, failed and ignored, when the output says so in a form that is known.
pub(crate) fn tests(output: &str) -> Option<Tests> {
    [cargo, nextest, jest, vitest, pytest, mocha, node, go].iter().find_map(|count| count(output))
}

/// The number right before a word: `3 passed`.
fn before(line: &str, word: &str) -> Option<u64> {
    let words: Vec<&str> =
        line.split([' ', ',', ';', '|', '(', ')', '=', '\t']).filter(|part| !part.is_empty()).collect();
    let at = words.iter().position(|part| *part == word)?;
    words.get(at.checked_sub(1)?)?.parse().ok()
}

fn sum(parts: impl Iterator<Item = Tests>) -> Option<Tests> {
    parts.reduce(|a, b| Tests {
        passed: a.passed.saturating_add(b.passed),
        failed: a.failed.saturating_add(b.failed),
        ignored: a.ignored.saturating_add(b.ignored),
    })
}

/// One line, by the words that runner uses.
fn one(line: &str, passed: &[&str], failed: &[&str], ignored: &[&str]) -> Tests {
    let total =
        |words: &[&str]| words.iter().filter_map(|word| before(line, word)).fold(0, u64::saturating_add);
    Tests { passed: total(passed), failed: total(failed), ignored: total(ignored) }
}

fn cargo(output: &str) -> Option<Tests> {
    let lines = output.lines().filter(|line| line.trim_start().starts_with("test result: "));
    sum(lines.map(|line| one(line, &["passed"], &["failed"], &["ignored"])))
}

fn nextest(output: &str) -> Option<Tests> {
    let lines = output.lines().filter(|line| line.contains("Summary [") && line.contains("run:"));
    sum(lines.map(|line| one(line, &["passed"], &["failed"], &["skipped"])))
}

fn jest(output: &str) -> Option<Tests> {
    let lines =
        output.lines().filter(|line| line.trim_start().starts_with("Tests:") && line.contains("total"));
    sum(lines.map(|line| one(line, &["passed"], &["failed"], &["skipped", "todo"])))
}

fn vitest(output: &str) -> Option<Tests> {
    let lines = output.lines().filter(|line| line.trim_start().starts_with("Tests  "));
    sum(lines.map(|line| one(line, &["passed"], &["failed"], &["skipped", "todo"])))
}

fn pytest(output: &str) -> Option<Tests> {
    let ended = |line: &&str| line.contains(" in ") && line.trim_end_matches(['=', ' ']).ends_with('s');
    let counted = |line: &&str| {
        ["passed", "failed", "skipped", "error", "errors"].iter().any(|word| before(line, word).is_some())
    };
    let line = output.lines().rev().take(20).filter(ended).find(counted)?;
    Some(one(
        line,
        &["passed", "xpassed"],
        &["failed", "error", "errors"],
        &["skipped", "xfailed", "deselected"],
    ))
}

fn mocha(output: &str) -> Option<Tests> {
    let has = output.lines().any(|line| before(line, "passing").is_some());
    let lines = output
        .lines()
        .filter(|line| ["passing", "failing", "pending"].iter().any(|word| before(line, word).is_some()));
    sum(lines.map(|line| one(line, &["passing"], &["failing"], &["pending"]))).filter(|_| has)
}

fn node(output: &str) -> Option<Tests> {
    let value = |word: &str| {
        let line = output
            .lines()
            .rev()
            .find_map(|line| line.trim_start_matches(['#', 'ℹ', ' ']).strip_prefix(word))?;
        line.trim().parse::<u64>().ok()
    };
    Some(Tests {
        passed: value("pass ")?,
        failed: value("fail ")?,
        ignored: value("skipped ").unwrap_or_default(),
    })
}

fn go(output: &str) -> Option<Tests> {
    let count = |mark: &str| output.lines().filter(|line| line.trim_start().starts_with(mark)).count() as u64;
    let found = Tests { passed: count("--- PASS:"), failed: count("--- FAIL:"), ignored: count("--- SKIP:") };
    (found != Tests::default()).then_some(found)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn each_runner_is_understood() {
        let cases = [
            (
                "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured\n   Doc-tests x\ntest result: FAILED. 2 passed; 3 failed; 0 ignored",
                (7, 3, 1),
            ),
            ("     Summary [   0.105s] 9 tests run: 7 passed (1 slow), 2 failed, 4 skipped", (7, 2, 4)),
            ("==== 3 failed, 12 passed, 2 skipped, 1 xfailed in 0.12s ====", (12, 3, 3)),
            ("5 passed in 1.20s", (5, 0, 0)),
            (
                "Test Suites: 1 passed, 1 total\nTests:       1 failed, 2 skipped, 5 passed, 8 total",
                (5, 1, 2),
            ),
            (" Test Files  1 passed (1)\n      Tests  1 failed | 5 passed (6)", (5, 1, 0)),
            ("  12 passing (30ms)\n  1 pending\n  2 failing", (12, 2, 1)),
            ("# tests 4\n# pass 3\n# fail 1\n# skipped 0", (3, 1, 0)),
            (
                "=== RUN TestA\n--- PASS: TestA (0.00s)\n    --- FAIL: TestB/x (0.00s)\n--- SKIP: TestC",
                (1, 1, 1),
            ),
        ];
        for (output, (passed, failed, ignored)) in cases {
            assert_eq!(tests(output), Some(Tests { passed, failed, ignored }), "{output}");
        }
        assert_eq!(tests("ok  \texample.org/x\t0.1s"), None);
        assert_eq!(tests("all passed"), None);
    }
}
