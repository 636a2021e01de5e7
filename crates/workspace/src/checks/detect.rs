//! Finds the checks of a project that declares none, by the files it has.
//!
//! What a project does not use itself is not demanded of it: formatting is checked only where the project says so.
//! To know another kind of project, add a function to [`detect`].

use super::Files;
use contract::checks::{CheckDef, CheckKind, Suite};
use contract::limits;
use serde_json::Value;

/// The usual checks for the files of a commit.
pub(crate) fn detect(files: &Files, clippy: bool) -> Suite {
    let mut found = Found::default();
    rust(files, clippy, &mut found);
    node(files, &mut found);
    go(files, &mut found);
    python(files, &mut found);
    if found.suite.checks.is_empty() {
        make(files, &mut found);
    }
    found.suite
}

#[derive(Default)]
struct Found {
    suite: Suite,
}

impl Found {
    fn setup(&mut self, command: &str) {
        self.suite.setup.push(command.to_owned());
    }

    /// Adds a check; a name that another tool took gets this tool's in front.
    fn check(&mut self, tool: &str, name: &str, run: &str, kind: CheckKind, from: &str) {
        let taken = self.suite.checks.iter().any(|check| check.name == name);
        let name = if taken { format!("{tool}-{name}") } else { name.to_owned() };
        let (run, from) = (run.to_owned(), from.to_owned());
        self.suite.checks.push(CheckDef { name, run, kind, timeout_ms: limits::CHECK_ONE_MS, from });
    }
}

fn rust(files: &Files, clippy: bool, found: &mut Found) {
    let Some(text) = files.text("Cargo.toml") else { return };
    let manifest: toml::Table = text.parse().unwrap_or_default();
    // Without a lock file versions are chosen now; offline, from what is there.
    found.setup(if files.has("Cargo.lock") { "cargo fetch" } else { "cargo fetch || cargo fetch --offline" });
    let all = if manifest.contains_key("workspace") { " --workspace" } else { "" };
    let from = "Cargo.toml";
    found.check("cargo", "build", &format!("cargo build{all}"), CheckKind::Build, from);
    found.check("cargo", "test", &format!("cargo test{all}"), CheckKind::Test, from);
    if clippy {
        // Benches that need a nightly compiler would fail on any change.
        let nightly = files.says(|name| name.starts_with("benches/"), "#![feature(");
        let lib = files.has("src/lib.rs") || manifest.contains_key("lib");
        let targets = match (nightly, lib) {
            (false, _) => " --all-targets",
            (true, true) => " --lib --bins --tests --examples",
            (true, false) => " --bins --tests --examples",
        };
        let run = format!("cargo clippy{all}{targets} -- -D warnings");
        found.check("cargo", "clippy", &run, CheckKind::Lint, from);
    }
    if files.has("rustfmt.toml") || files.has(".rustfmt.toml") || files.says(is_ci, "cargo fmt") {
        found.check("cargo", "fmt", "cargo fmt --all --check", CheckKind::Format, from);
    }
}

fn is_ci(name: &str) -> bool {
    name.starts_with(".github/workflows/") || name == ".gitlab-ci.yml"
}

fn node(files: &Files, found: &mut Found) {
    let Some(text) = files.text("package.json") else { return };
    let package: Value = serde_json::from_str(text).unwrap_or_default();
    let scripts = &package["scripts"];
    let dependencies = ["dependencies", "devDependencies"].iter().any(|key| package[*key].is_object());
    let (tool, setup) = if files.has("pnpm-lock.yaml") {
        ("pnpm", Some("pnpm install --frozen-lockfile"))
    } else if files.has("yarn.lock") {
        ("yarn", Some("yarn install --frozen-lockfile"))
    } else if files.has("package-lock.json") {
        ("npm", Some("npm ci --no-audit --no-fund"))
    } else {
        ("npm", dependencies.then_some("npm install --no-package-lock --no-audit --no-fund"))
    };
    let wanted = [
        ("build", CheckKind::Build),
        ("typecheck", CheckKind::Build),
        ("test", CheckKind::Test),
        ("lint", CheckKind::Lint),
        ("format:check", CheckKind::Format),
    ];
    let mut any = false;
    for (name, kind) in wanted {
        let Some(script) = scripts[name].as_str() else { continue };
        // What `npm init` writes; it tests nothing.
        if script.contains("no test specified") {
            continue;
        }
        any = true;
        found.check(tool, name, &format!("{tool} run {name}"), kind, "package.json");
    }
    if any {
        setup.into_iter().for_each(|command| found.setup(command));
    }
}

fn go(files: &Files, found: &mut Found) {
    if !files.has("go.mod") {
        return;
    }
    found.setup("go mod download");
    found.check("go", "build", "go build ./...", CheckKind::Build, "go.mod");
    found.check("go", "test", "go test ./...", CheckKind::Test, "go.mod");
    found.check("go", "vet", "go vet ./...", CheckKind::Lint, "go.mod");
}

fn python(files: &Files, found: &mut Found) {
    let settings = |words: &str| files.says(|name| matches!(name, "pyproject.toml" | "setup.cfg"), words);
    let test_file = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        file.ends_with(".py") && (file.starts_with("test_") || file.ends_with("_test.py"))
    };
    let (prefix, setup) = if files.has("uv.lock") {
        ("uv run ", Some("uv sync --frozen"))
    } else if files.has("poetry.lock") {
        ("poetry run ", Some("poetry install"))
    } else {
        ("", None)
    };
    let before = found.suite.checks.len();
    if settings("pytest")
        || files.has("pytest.ini")
        || files.any(|name| name.ends_with("conftest.py"))
        || files.any(test_file)
    {
        let run = format!("{prefix}python3 -m pytest -q");
        let from = if files.has("pyproject.toml") { "pyproject.toml" } else { "tests" };
        found.check("python", "test", &run, CheckKind::Test, from);
    }
    if settings("tool.ruff") || files.has("ruff.toml") || files.has(".ruff.toml") {
        found.check("python", "ruff", &format!("{prefix}ruff check ."), CheckKind::Lint, "pyproject.toml");
    }
    if found.suite.checks.len() > before {
        setup.into_iter().for_each(|command| found.setup(command));
    }
}

fn make(files: &Files, found: &mut Found) {
    for name in ["GNUmakefile", "makefile", "Makefile"] {
        let Some(text) = files.text(name) else { continue };
        let has = |target: &str| {
            text.lines().any(|line| line.split(':').next() == Some(target) && line.contains(':'))
        };
        for (target, kind) in
            [("test", CheckKind::Test), ("check", CheckKind::Test), ("lint", CheckKind::Lint)]
        {
            if has(target) {
                found.check("make", target, &format!("make {target}"), kind, name);
            }
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(texts: &[(&str, &str)]) -> Suite {
        let files = Files {
            texts: texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            names: texts.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        detect(&files, true)
    }

    fn runs(suite: &Suite) -> Vec<String> {
        suite.checks.iter().map(|check| format!("{}: {}", check.name, check.run)).collect()
    }

    #[test]
    fn rust_projects() {
        let plain = suite(&[("Cargo.toml", "[package]\nname = \"x\"")]);
        assert_eq!(plain.setup, ["cargo fetch || cargo fetch --offline"]);
        assert_eq!(
            runs(&plain),
            ["build: cargo build", "test: cargo test", "clippy: cargo clippy --all-targets -- -D warnings"]
        );
        let large = suite(&[("Cargo.toml", "[workspace]"), ("Cargo.lock", ""), ("rustfmt.toml", "")]);
        assert_eq!(large.setup, ["cargo fetch"]);
        assert!(runs(&large).contains(&"fmt: cargo fmt --all --check".to_owned()));
        assert!(runs(&large).contains(&"test: cargo test --workspace".to_owned()));
        let nightly = suite(&[("Cargo.toml", ""), ("src/lib.rs", ""), ("benches/b.rs", "#![feature(test)]")]);
        assert!(
            runs(&nightly)
                .contains(&"clippy: cargo clippy --lib --bins --tests --examples -- -D warnings".to_owned())
        );
    }

    #[test]
    fn node_projects() {
        let package = r#"{"scripts": {"test": "jest", "lint": "eslint .", "start": "node ."}, "devDependencies": {"jest": "1"}}"#;
        let found = suite(&[("package.json", package), ("package-lock.json", "{}")]);
        assert_eq!(found.setup, ["npm ci --no-audit --no-fund"]);
        assert_eq!(runs(&found), ["test: npm run test", "lint: npm run lint"]);
        let empty = r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#;
        assert_eq!(suite(&[("package.json", empty)]), Suite::default());
    }

    #[test]
    fn others_and_mixtures() {
        assert_eq!(runs(&suite(&[("go.mod", "")]))[1], "test: go test ./...");
        assert_eq!(runs(&suite(&[("tests/test_x.py", "")])), ["test: python3 -m pytest -q"]);
        let make = suite(&[("Makefile", "test: all\n\tfoo\nlint:\n\tbar\n# check: no\n")]);
        assert_eq!(runs(&make), ["test: make test", "lint: make lint"]);
        let both = suite(&[("Cargo.toml", ""), ("package.json", r#"{"scripts": {"test": "node --test"}}"#)]);
        assert!(runs(&both).contains(&"npm-test: npm run test".to_owned()));
        assert_eq!(suite(&[("README.md", "")]), Suite::default());
    }
}
