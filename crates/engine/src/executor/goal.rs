//! Which checks a goal is about: named in the spec, else found from the goal's own words.
//!
//! Knows no ports; a pure function over texts. Start at [`checks`].

use super::text::suggestion;
use contract::checks::{CheckDef, CheckKind};
use contract::{Fault, Kind};

/// Words that stand for a kind of check, beside the check's own name.
const WORDS: &[(CheckKind, &[&str])] = &[
    (CheckKind::Lint, &["lint", "lints", "linter", "linting", "clippy", "warning", "warnings"]),
    (CheckKind::Test, &["test", "tests", "testing"]),
    (CheckKind::Build, &["build", "builds", "compile", "compiles", "compiler", "compilation"]),
    (CheckKind::Format, &["format", "formats", "formatted", "formatting", "fmt", "rustfmt"]),
];

/// Words that mean the tests unless the goal names something else ("fix what is failing").
const WEAK: &[&str] = &["failing", "fails", "failure", "failures"];

/// Names of the checks that the goal is about, in the suite's order; empty = all.
pub(super) fn checks(declared: &[String], goal: &str, suite: &[CheckDef]) -> Result<Vec<String>, Fault> {
    if declared.is_empty() {
        return Ok(from_words(goal, suite));
    }
    let names = || suite.iter().map(|check| check.name.as_str());
    match declared.iter().find(|name| names().all(|known| known != name.as_str())) {
        Some(unknown) => Err(unknown_check(unknown, &names().collect::<Vec<_>>())),
        None => Ok(declared.to_vec()),
    }
}

fn from_words(goal: &str, suite: &[CheckDef]) -> Vec<String> {
    let goal = goal.to_lowercase();
    let words: Vec<&str> = goal
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')
        .filter(|w| !w.is_empty())
        .collect();
    let says = |word: &str| words.contains(&word);

    let named = |check: &CheckDef| says(&check.name.to_lowercase());
    // A name is more exact than a synonym: "make clippy pass" is not about every linter.
    let meant = |check: &CheckDef| {
        let by_kind = WORDS.iter().any(|(kind, words)| *kind == check.kind && words.iter().any(|w| says(w)));
        let named_beside = suite.iter().any(|other| other.kind == check.kind && named(other));
        named(check) || (by_kind && !named_beside)
    };
    let pick = |meant: &dyn Fn(&CheckDef) -> bool| -> Vec<String> {
        suite.iter().filter(|check| meant(check)).map(|check| check.name.clone()).collect()
    };
    let found = pick(&meant);
    if found.is_empty() && WEAK.iter().any(|word| says(word)) {
        return pick(&|check| check.kind == CheckKind::Test);
    }
    found
}

fn unknown_check(name: &str, known: &[&str]) -> Fault {
    let what = format!("the project has no check named `{name}`{}", suggestion(name, known.iter().copied()));
    let hint = if known.is_empty() {
        "no checks were found; declare them in .kapell/config.toml and commit it".to_owned()
    } else {
        format!("its checks are: {}", known.join(", "))
    };
    Fault::new(Kind::UserFixable, "unknown-check", what).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> Vec<CheckDef> {
        let check = |name: &str, kind| CheckDef {
            name: name.into(),
            run: String::new(),
            kind,
            timeout_ms: 1,
            from: String::new(),
        };
        vec![
            check("build", CheckKind::Build),
            check("test", CheckKind::Test),
            check("clippy", CheckKind::Lint),
            check("eslint", CheckKind::Lint),
            check("fmt", CheckKind::Format),
            check("docs-links", CheckKind::Other),
        ]
    }

    #[test]
    fn a_goals_words_name_its_checks() {
        for (goal, checks) in [
            ("make clippy pass", &["clippy"][..]),
            ("Fix the failing test.", &["test"]),
            ("no more lint warnings", &["clippy", "eslint"]),
            ("fix the failing build", &["build"]),
            ("it fails, mend it", &["test"]),
            ("run rustfmt and make the tests pass", &["test", "fmt"]),
            ("mend docs-links", &["docs-links"]),
            ("add a parser for dates", &[]),
            ("latest contest", &[]),
            ("", &[]),
        ] {
            assert_eq!(super::checks(&[], goal, &suite()).unwrap(), checks, "{goal}");
        }
    }

    #[test]
    fn declared_checks_must_exist() {
        let declared = |name: &str| super::checks(&[name.into()], "clippy", &suite());
        assert_eq!(declared("fmt").unwrap(), ["fmt"]);
        let fault = declared("clipy").unwrap_err();
        assert_eq!(fault.kind, Kind::UserFixable);
        assert!(fault.what.contains("did you mean `clippy`?"), "{fault}");
        assert!(fault.hint.contains("build, test, clippy"), "{fault}");
        assert!(super::checks(&["x".into()], "", &[]).unwrap_err().hint.contains(".kapell/config.toml"));
    }
}
