//! Reads the checks a project declares in `.kapell/config.toml`.
//!
//! Unknown keys are errors that name the nearest known one. Start at [`parse`].

use contract::checks::{CheckDef, CheckKind, Suite};
use contract::text::nearest;
use contract::time::duration_ms;
use contract::{Fault, Kind, limits};
use toml::{Table, Value};

/// Keys of the project's file that other parts of Kapell read.
const OTHERS: [&str; 5] = ["model", "ask", "mode", "land", "budget"];
const KEYS: [&str; 3] = ["run", "kind", "timeout"];
const KINDS: [(&str, CheckKind); 5] = [
    ("build", CheckKind::Build),
    ("test", CheckKind::Test),
    ("lint", CheckKind::Lint),
    ("format", CheckKind::Format),
    ("other", CheckKind::Other),
];

/// The declared suite; `None` when the file declares no check, so that the usual ones are looked for.
pub(crate) fn parse(text: &str) -> Result<Option<Suite>, Fault> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
        wrong(format!("line {line} is not TOML: {}", error.message()), "correct it and commit it".to_owned())
    })?;
    let known: Vec<&str> = OTHERS.into_iter().chain(["setup", "checks"]).collect();
    known_keys("", &table, &known)?;
    let setup = match table.get("setup") {
        None => Vec::new(),
        Some(value) => {
            let list = value
                .as_array()
                .map(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
            list.flatten()
                .ok_or_else(|| example("`setup` is not a list of commands", "setup = [\"cargo fetch\"]"))?
        }
    };
    let Some(declared) = table.get("checks") else {
        return Ok(None);
    };
    let declared = declared
        .as_table()
        .ok_or_else(|| example("`checks` is not a table", "[checks.test]\nrun = \"make test\""))?;
    let checks: Vec<CheckDef> =
        declared.iter().map(|(name, value)| check(name, value)).collect::<Result<_, _>>()?;
    Ok((!checks.is_empty()).then_some(Suite { setup, checks }))
}

fn check(name: &str, value: &Value) -> Result<CheckDef, Fault> {
    let shape = || {
        example(&format!("`checks.{name}` has no `run`"), &format!("[checks.{name}]\nrun = \"make {name}\""))
    };
    let table = value.as_table().ok_or_else(shape)?;
    known_keys(&format!("checks.{name}."), table, &KEYS)?;
    let run =
        table.get("run").and_then(Value::as_str).filter(|run| !run.trim().is_empty()).ok_or_else(shape)?;
    let kind = match table.get("kind").map(|kind| kind.as_str().unwrap_or_default()) {
        None => CheckKind::Other,
        Some(word) => {
            KINDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind).ok_or_else(|| {
                let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
                wrong(
                    format!("`checks.{name}.kind` is `{word}`"),
                    format!("it is one of: {}", names.join(", ")),
                )
            })?
        }
    };
    let timeout_ms = match table.get("timeout").map(|timeout| timeout.as_str().unwrap_or_default()) {
        None => limits::CHECK_ONE_MS,
        Some(text) => duration_ms(text).ok_or_else(|| {
            example(&format!("`checks.{name}.timeout` is `{text}`"), "timeout = \"10m\"  # or ms, s, h, d")
        })?,
    };
    Ok(CheckDef {
        name: name.to_owned(),
        run: run.to_owned(),
        kind,
        timeout_ms,
        from: super::CONFIG.to_owned(),
    })
}

fn known_keys(prefix: &str, table: &Table, known: &[&str]) -> Result<(), Fault> {
    let Some(stranger) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let hint = match nearest(stranger, known.iter().copied()) {
        Some(near) => format!("did you mean `{prefix}{near}`?"),
        None => format!("keys: {}", known.join(", ")),
    };
    Err(wrong(format!("`{prefix}{stranger}` is not a known key"), hint))
}

fn wrong(what: String, hint: String) -> Fault {
    Fault::new(Kind::UserFixable, "config-invalid", format!("{}: {what}", super::CONFIG)).hint(hint)
}

fn example(what: &str, example: &str) -> Fault {
    wrong(what.to_owned(), format!("for example:\n{example}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_checks_keep_their_order_and_defaults() {
        let text = "setup = [\"cargo fetch\"]\nmodel = \"builtin/fixer\"\n[checks.unit]\nrun = \"make unit\"\nkind = \"test\"\n\
                    timeout = \"90s\"\n[checks.any]\nrun = \"true\"\n";
        let suite = parse(text).unwrap().unwrap();
        assert_eq!(suite.setup, ["cargo fetch"]);
        let unit = suite.checks.iter().find(|check| check.name == "unit").unwrap();
        assert_eq!((unit.kind, unit.timeout_ms), (CheckKind::Test, 90_000));
        let any = suite.checks.iter().find(|check| check.name == "any").unwrap();
        assert_eq!((any.kind, any.timeout_ms), (CheckKind::Other, limits::CHECK_ONE_MS));
        assert_eq!(parse("model = \"x\"").unwrap(), None);
    }

    #[test]
    fn every_mistake_says_what_to_write() {
        for (text, says) in [
            ("[check.test]\nrun = \"x\"", "did you mean `checks`?"),
            ("[checks.test]\nruns = \"x\"", "did you mean `checks.test.run`?"),
            ("[checks.test]\nkind = \"test\"", "run ="),
            ("[checks.test]\nrun = \"x\"\nkind = \"tests\"", "build, test, lint"),
            ("[checks.test]\nrun = \"x\"\ntimeout = \"10 minutes\"", "\"10m\""),
            ("[checks.test]\nrun = \"x\"\ntimeout = \"0s\"", "\"10m\""),
            ("setup = \"cargo fetch\"", "[\"cargo fetch\"]"),
            ("[checks.test", "correct it"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.hint.contains(says), "{text}: {fault}");
        }
    }
}
