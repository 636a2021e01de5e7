//! Labels of real outputs: the sums tools print at their end, and a table of what a person counted.
//!
//! Reads no single finding: it must not share the parsers' eyes. Start at [`sums`].

/// What an output's own closing lines say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) tool: &'static str,
    pub(super) errors: Option<u64>,
    pub(super) warnings: Option<u64>,
    pub(super) failed: Option<u64>,
}

/// The sums in an output; nothing where its tool prints none.
pub(super) fn sums(text: &str) -> Sums {
    let mut sums = Sums::default();
    for line in text.lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("error: aborting due to ") {
            sums.tool = "rustc";
            sums.errors = Some(number(rest).unwrap_or(1));
            sums.warnings = Some(rest.split_once("; ").and_then(|(_, rest)| number(rest)).unwrap_or(0));
        } else if line.starts_with("warning: ") && line.ends_with(" emitted") {
            sums.tool = "rustc";
            sums.warnings = number(&line["warning: ".len()..]);
            sums.errors = Some(0);
        } else if let Some(rest) = line.strip_prefix("Found ").filter(|rest| rest.contains(" error")) {
            sums.tool = if line.ends_with(" errors.") || line.ends_with(" error.") { "biome" } else { "tsc" };
            sums.errors = Some(sums.errors.unwrap_or(0) + number(rest).unwrap_or(0));
        } else if let Some(rest) = line.strip_prefix("Found ").filter(|rest| rest.contains(" warning")) {
            sums.tool = "biome";
            sums.warnings = Some(sums.warnings.unwrap_or(0) + number(rest).unwrap_or(0));
        } else if line.contains(" problems (") || line.contains(" problem (") {
            sums.tool = "eslint";
            let counts = line.split_once('(').map_or("", |(_, rest)| rest);
            sums.errors = number(counts);
            sums.warnings = counts.split_once(", ").and_then(|(_, rest)| number(rest));
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            sums.tool = "cargo test";
            let failed = rest.split("; ").find_map(|part| part.strip_suffix(" failed")).and_then(number);
            sums.failed = Some(sums.failed.unwrap_or(0) + failed.unwrap_or(0));
        } else if line.starts_with("Tests  ") || (line.starts_with("Tests:") && line.contains(" total")) {
            sums.tool = if line.starts_with("Tests:") { "jest" } else { "vitest" };
            let failed = line.split([',', '|', ':']).find_map(|part| part.trim().strip_suffix(" failed"));
            let failed = failed.and_then(|part| part.split_whitespace().next_back()).and_then(number);
            sums.failed = Some(sums.failed.unwrap_or(0) + failed.unwrap_or(0));
        }
    }
    if text.contains("iagnostics not shown") {
        // Not all of what was summed up was printed.
        return Sums { failed: sums.failed, ..Sums::default() };
    }
    sums
}

/// The number a text begins with.
fn number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Tool, end of the file's name, and what a person counted: errors, warnings, tests passed, tests failed. An error is a
/// complaint with a cause; a line that only says that there were some is none.
pub(super) const BY_EYE: &[(&str, &str, [u64; 4])] = &[
    ("cargo", "cargo__test_test__compile_error.txt", [2, 0, 0, 0]),
    ("cargo", "cargo__nextest_test__compile_error.txt", [2, 0, 0, 0]),
    ("cargo", "generic__rust_errors.txt", [2, 1, 0, 0]),
    ("cargo test", "cargo__test_test__failure.txt", [2, 0, 10, 2]),
    ("cargo test", "cargo__test_test__pass.txt", [0, 0, 23, 0]),
    ("cargo test", "cargo__test_test__pass_with_ignored.txt", [0, 0, 12, 0]),
    ("eslint", "eslint__check_test__failure.txt", [2, 5, 0, 0]),
    ("vitest", "npm__test-vitest_test__failure.txt", [0, 0, 4, 1]),
    ("vitest", "npm__test-vitest_test__success.txt", [0, 0, 5, 0]),
    ("jest", "npm__test-jest_test__failure.txt", [0, 0, 4, 1]),
    ("pytest", "pytest_test__decoy.txt", [1, 0, 1, 1]),
    ("pytest", "pytest_test__err.txt", [1, 0, 0, 1]),
    ("pytest", "pytest_test__failure.txt", [3, 0, 2, 3]),
    ("pytest", "pytest__fail.txt", [1, 0, 3, 1]),
    ("go test", "filters__go__test_test__all_pass.txt", [0, 0, 18, 0]),
    ("go test", "filters__go__test_test__failure.txt", [2, 0, 6, 3]),
    ("go test", "filters__go__test_test__panic.txt", [1, 0, 0, 1]),
    ("git", "git__push_test__rejected.txt", [1, 0, 0, 0]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_sums_are_read() {
        let sum = |tool, errors, warnings, failed| Sums { tool, errors, warnings, failed };
        for (text, wanted) in [
            (
                "error: aborting due to 2 previous errors; 1 warning emitted",
                sum("rustc", Some(2), Some(1), None),
            ),
            ("error: aborting due to previous error", sum("rustc", Some(1), Some(0), None)),
            ("warning: 3 warnings emitted", sum("rustc", Some(0), Some(3), None)),
            ("✖ 7 problems (2 errors, 5 warnings)", sum("eslint", Some(2), Some(5), None)),
            ("test result: FAILED. 2 passed; 3 failed; 0 ignored", sum("cargo test", None, None, Some(3))),
            ("      Tests  1 failed | 5 passed (6)", sum("vitest", None, None, Some(1))),
            ("Tests:       1 failed, 5 passed, 6 total", sum("jest", None, None, Some(1))),
        ] {
            assert_eq!(sums(text), wanted, "{text}");
        }
    }
}
