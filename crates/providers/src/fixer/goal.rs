//! What is asked for: the checks the instructions list, and the words of the goal.
//!
//! Knows words, not projects. Start at [`Goal::of`].

/// The checks a goal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Goal {
    /// The linter is to be content.
    pub lint: bool,
    /// The tests are to pass.
    pub test: bool,
    /// The code is to be formatted.
    pub format: bool,
    /// It is to compile.
    pub build: bool,
}

/// A check as the instructions list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// Its name.
    pub name: String,
    /// Its command.
    pub run: String,
    /// The goal is about it.
    pub goal: bool,
}

const LINT: [&str; 4] = ["clippy", "lint", "warning", "deprecat"];
const TEST: [&str; 1] = ["test"];
const FORMAT: [&str; 3] = ["fmt", "format", "rustfmt"];
const BUILD: [&str; 3] = ["compil", "build", "error"];

/// Reads lines such as "- clippy (must pass): `cargo clippy`".
pub(crate) fn checks(system: &str) -> Vec<Check> {
    let line = |line: &str| {
        let (name, run) = line.trim().strip_prefix("- ")?.split_once(": `")?;
        let run = run.trim_end().strip_suffix('`')?;
        let bare = name.trim_end_matches(" (must pass)");
        let word = !bare.is_empty() && !bare.contains(char::is_whitespace);
        word.then(|| Check { name: bare.into(), run: run.into(), goal: name != bare })
    };
    system.lines().filter_map(line).collect()
}

impl Goal {
    /// Reads the goal from the first message; words that name no check mean the checks that must
    /// pass, and without any all that can be checked.
    pub(crate) fn of(checks: &[Check], said: &[&str]) -> Self {
        let named = Self::from_words(said.first().copied().unwrap_or_default());
        if named != Self::default() {
            return named;
        }
        let listed: Vec<&str> =
            checks.iter().filter(|check| check.goal).map(|check| check.run.as_str()).collect();
        match Self::from_words(&listed.join(" ")) {
            none if none == Self::default() => Self { lint: true, test: true, format: false, build: true },
            goal => goal,
        }
    }

    fn from_words(text: &str) -> Self {
        let words: Vec<String> = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect();
        let any = |stems: &[&str]| words.iter().any(|word| stems.iter().any(|stem| word.starts_with(stem)));
        Self { lint: any(&LINT), test: any(&TEST), format: any(&FORMAT), build: any(&BUILD) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (bool, bool, bool, bool) {
        let goal = Goal::of(&[], &[text, "the tests failed"]);
        (goal.lint, goal.test, goal.format, goal.build)
    }

    #[test]
    fn words_decide() {
        assert_eq!(read("make clippy pass"), (true, false, false, false));
        assert_eq!(read("Fix the failing tests and all warnings"), (true, true, false, false));
        assert_eq!(read("run rustfmt"), (false, false, true, false));
        assert_eq!(read("it no longer compiles"), (false, false, false, true));
        assert_eq!(read("tidy up"), (true, true, false, true));
    }

    #[test]
    fn checks_that_must_pass_decide_when_words_do_not() {
        let system =
            "# Checks\nText: `x`\n- clippy: `cargo clippy -- -D warnings`\n- t (must pass): `cargo test`\n";
        let checks = checks(system);
        assert_eq!(checks.iter().map(|check| check.goal).collect::<Vec<_>>(), [false, true]);
        assert_eq!(checks[0].run, "cargo clippy -- -D warnings");
        assert_eq!(Goal::of(&checks, &["tidy up"]), Goal { test: true, ..Goal::default() });
    }
}
