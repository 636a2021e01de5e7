//! Reads what `cargo test` prints: which tests failed, how many passed.
//!
//! Start at [`parse`] and [`Tests::worse_than`].

use std::collections::BTreeSet;

/// What a run of the tests said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    /// Something did not compile.
    pub uncompiled: bool,
    /// Tests that passed.
    pub passed: u64,
    /// Names of those that failed, with the binary they are in.
    pub failed: BTreeSet<String>,
    /// At least one test binary ran to its end.
    pub ran: bool,
}

/// Reads the output of a test run.
pub(crate) fn parse(output: &str) -> Tests {
    let mut tests = Tests::default();
    let mut binary = "";
    for line in output.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("Running ").or(line.strip_prefix("Doc-tests ")) {
            binary = rest.split(" (").next().unwrap_or(rest);
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            tests.ran = true;
            tests.passed += counted(counts);
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            tests.failed.insert(format!("{binary}: {}", without_line(name)));
        } else if line.starts_with("error: could not compile")
            || line.starts_with("error: no matching package")
        {
            tests.uncompiled = true;
        }
    }
    tests
}

/// "ok. 12 passed; 0 failed; ..."
fn counted(counts: &str) -> u64 {
    let before = counts.split(" passed").next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Documentation tests are named by their line, which moves: `src/lib.rs - f (line 12)`.
fn without_line(name: &str) -> &str {
    name.split(" (line ").next().unwrap_or(name)
}

impl Tests {
    /// Did anything that was well before stop being so?
    pub(crate) fn worse_than(&self, before: &Self) -> bool {
        (self.uncompiled && !before.uncompiled)
            || self.passed < before.passed
            || !self.failed.is_subset(&before.failed) && !before.uncompiled
    }

    /// True when all is well.
    pub(crate) fn green(&self) -> bool {
        !self.uncompiled && self.failed.is_empty()
    }

    /// For people.
    pub(crate) fn line(&self) -> String {
        match (self.uncompiled, self.ran) {
            (true, _) => "the tests do not compile".into(),
            (_, false) => "no tests ran".into(),
            _ => format!("{} tests passed, {} failed", self.passed, self.failed.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "     Running unittests src/lib.rs (target/debug/deps/x-1f)\n\
        running 2 tests\ntest a ... ok\ntest b ... FAILED\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
        \x20  Doc-tests x\ntest src/lib.rs - f (line 12) ... FAILED\n\
        test result: FAILED. 3 passed; 1 failed; 0 ignored\n";

    #[test]
    fn counts_and_names() {
        let tests = parse(OUTPUT);
        assert_eq!((tests.passed, tests.ran, tests.uncompiled), (4, true, false));
        let failed: Vec<_> = tests.failed.iter().map(String::as_str).collect();
        assert_eq!(failed, ["unittests src/lib.rs: b", "x: src/lib.rs - f"]);
        assert_eq!(tests.line(), "4 tests passed, 2 failed");
    }

    #[test]
    fn worse_is_a_new_failure_fewer_passes_or_no_build() {
        let before = parse(OUTPUT);
        assert!(!before.worse_than(&before));
        assert!(parse(&OUTPUT.replace("test a ... ok", "test a ... FAILED")).worse_than(&before));
        assert!(parse(&OUTPUT.replace("3 passed", "2 passed")).worse_than(&before));
        assert!(parse("error: could not compile `x` (lib) due to 1 previous error\n").worse_than(&before));
        assert!(!before.worse_than(&parse("error: could not compile `x`")));
        assert!(!parse(&OUTPUT.replace("(line 12)", "(line 14)")).worse_than(&before));
    }
}
