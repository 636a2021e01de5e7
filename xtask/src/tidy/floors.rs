//! Floors and walls: which crate may depend on which (DESIGN section 3).
//!
//! Knows manifests only; calls are [`super::banned`]'s. Start at [`FLOORS`], the table a new crate joins.

use super::Finding;
use super::source::{Source, find_word};
use super::tree::{Package, Tree};

/// One crate's place.
struct Floor {
    name: &'static str,
    /// Members it may build on.
    on: &'static [&'static str],
    /// Members its tests may use besides.
    dev: &'static [&'static str],
    /// When set: the only external crates it may use outside tests.
    external: Option<&'static [&'static str]>,
}

const fn floor(name: &'static str, on: &'static [&'static str], dev: &'static [&'static str]) -> Floor {
    Floor { name, on, dev, external: None }
}

const ALL: &[&str] = &["*"];

const FLOORS: &[Floor] = &[
    Floor { external: Some(&["serde", "serde_json", "blake3"]), ..floor("contract", &[], &["corpus"]) },
    Floor { external: Some(&["serde"]), ..floor("kernel", &["contract"], &[]) },
    Floor {
        external: Some(&["regex", "serde", "serde_json", "memchr"]),
        ..floor("output", &["contract"], &["corpus"])
    },
    Floor {
        external: Some(&["aho-corasick", "memchr", "regex", "serde_json"]),
        ..floor("secrets", &[], &["corpus"])
    },
    Floor { external: Some(&["ring", "serde", "serde_json"]), ..floor("audit", &["contract"], &[]) },
    Floor { external: Some(&["jiff", "saphyr-parser", "serde_json"]), ..floor("board", &[], &["corpus"]) },
    floor("telemetry", &["contract", "kernel"], &[]),
    floor("courier", &["contract", "kernel", "telemetry"], &[]),
    floor("client", &["contract", "sandbox"], &[]),
    Floor { external: Some(&["regex", "serde_json"]), ..floor("hooks", &["contract"], &[]) },
    floor("desk", &["contract", "board"], &["corpus"]),
    floor("door", &["contract"], &[]),
    floor("mcp", &["contract", "desk", "door"], &[]),
    floor("api", &["contract", "kernel", "door"], &["journal"]),
    floor("journal", &["contract"], &["corpus"]),
    floor("sandbox", &["contract", "secrets"], &["corpus"]),
    floor("command", &["contract"], &["corpus", "kernel"]),
    floor("workspace", &["contract", "sandbox", "output"], &["corpus"]),
    floor("providers", &["contract"], &["tools", "sandbox", "corpus", "fake"]),
    floor("tools", &["contract", "sandbox", "command", "output", "secrets"], &["corpus"]),
    floor("corpus", &[], &[]),
    floor("fake", &["contract"], &[]),
    floor("engine", &["contract", "kernel", "secrets"], &["journal", "corpus"]),
    floor("looping", &["contract", "kernel", "engine", "board", "desk"], &["journal", "tools"]),
    floor("sim", &["contract", "kernel", "engine", "journal"], &[]),
    floor("power", &["contract", "kernel", "engine", "journal"], &[]),
    floor("bench", &["contract", "kernel", "engine", "journal", "output", "providers", "fake"], &[]),
    floor("model", &["contract", "kernel", "engine", "journal"], &[]),
    floor("kapell", ALL, ALL),
    floor("xtask", ALL, ALL),
];

/// External crates that only some may use, and why.
const OWNED: &[(&str, &[&str], &str)] = &[
    (
        "tokio",
        &[
            "sandbox",
            "workspace",
            "tools",
            "providers",
            "engine",
            "looping",
            "client",
            "door",
            "mcp",
            "api",
            "courier",
            "kapell",
            "bench",
            "fake",
        ],
        "the floors below have nothing to await with",
    ),
    (
        "rusqlite",
        &["journal", "bench"],
        "only the journal speaks SQL; the benchmark measures a bare loop as its floor",
    ),
    ("axum", &["door", "mcp", "api"], "HTTP is spoken by the listener, and routes are made by surfaces"),
    ("rmcp", &["mcp"], "the protocol's types stay in its leaf: whoever uses them is built with them"),
    (
        "libc",
        &["sandbox", "journal"],
        "only the sandbox calls the system unsafely; the journal knows its errors by number",
    ),
    ("clap", &["kapell"], "only the binary reads arguments"),
    ("tracing-subscriber", &["kapell"], "only the binary decides where logs go"),
    ("anyhow", &["kapell", "xtask", "bench", "power", "fake"], "libraries have typed errors"),
];

/// Dependencies that go against the table.
pub(super) fn edges(tree: &Tree) -> Vec<Finding> {
    tree.packages.iter().flat_map(package).collect()
}

fn package(package: &Package) -> Vec<Finding> {
    let finding = |advice: String| Finding::new(&package.manifest, 0, "floor", advice);
    let name = package.name.as_str();
    let Some(floor) = FLOORS.iter().find(|floor| floor.name == name) else {
        return vec![finding(format!(
            "`{name}` has no floor: add a row to FLOORS in xtask/src/tidy/floors.rs"
        ))];
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let other = dependency.name.as_str();
        let listed = |list: &[&str]| list == ALL || list.contains(&other);
        if dependency.internal {
            let allowed = listed(floor.on) || (dependency.dev && listed(floor.dev));
            if !allowed && other != name {
                findings.push(finding(format!(
                    "`{name}` may not know `{other}`: go through a port of `contract`"
                )));
            }
            continue;
        }
        if dependency.dev {
            continue;
        }
        if floor.external.is_some_and(|only| !only.contains(&other)) {
            findings.push(finding(format!("`{name}` is kept free of `{other}`: remove the dependency")));
        }
        if let Some((_, owners, why)) =
            OWNED.iter().find(|(owned, owners, _)| *owned == other && !owners.contains(&name))
        {
            let owners = owners.join(", ");
            findings.push(finding(format!("`{other}` belongs to {owners} ({why}): remove it from `{name}`")));
        }
    }
    findings
}

/// Dependencies that no file of the crate names: they cost a build and say something untrue.
pub(super) fn unused(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let dir = package.manifest.trim_end_matches("Cargo.toml");
        let own: Vec<&Source> =
            tree.rust().filter(|(file, _)| file.path.starts_with(dir)).map(|(_, source)| source).collect();
        for dependency in &package.dependencies {
            let name = dependency.name.replace('-', "_");
            let named = |source: &&Source| source.code.iter().any(|line| find_word(line, &name).is_some());
            if !own.iter().any(named) {
                let advice =
                    format!("`{}` is used nowhere in `{}`: remove it", dependency.name, package.name);
                findings.push(Finding::new(&package.manifest, 0, "unused", advice));
            }
        }
    }
    findings
}

/// What every manifest states: the workspace's lints, and versions in one place.
pub(super) fn manifests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A workspace of its own (the fuzz targets) has nothing to inherit.
    let shares = |file: &&super::tree::File| !file.text.contains("\n[workspace]\n");
    for file in tree.ending("/Cargo.toml").filter(shares) {
        // The sandbox denies `unsafe` instead of forbidding it: it alone needs exceptions.
        let lints = if file.path == "crates/sandbox/Cargo.toml" {
            "unsafe_code = \"deny\""
        } else {
            "[lints]\nworkspace = true"
        };
        if !file.text.contains(lints) {
            findings.push(Finding::new(
                &file.path,
                0,
                "floor",
                format!("must contain `{}`", lints.replace('\n', " ")),
            ));
        }
        let mut section = "";
        for (at, line) in file.text.lines().enumerate() {
            if line.starts_with('[') {
                section = line.trim();
            } else if section.ends_with("dependencies]")
                && line.contains('=')
                && !line.contains("workspace = true")
            {
                let advice = "name the version once, under [workspace.dependencies] in the root Cargo.toml";
                findings.push(Finding::new(&file.path, at + 1, "floor", advice));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(name: &str, dependencies: &[&str]) -> Vec<String> {
        edges(&Tree::default().with_package(name, dependencies)).into_iter().map(|f| f.advice).collect()
    }

    #[test]
    fn allowed_edges_are_silent() {
        assert!(advice("kernel", &["contract", "+serde", "~+proptest"]).is_empty());
        assert!(advice("engine", &["contract", "kernel", "~journal", "+tokio"]).is_empty());
        assert!(advice("kapell", &["journal", "tools", "+clap", "+tokio"]).is_empty());
    }

    #[test]
    fn forbidden_edges_are_named() {
        for (name, dependencies, word) in [
            ("kernel", ["+serde_json"], "kept free"),
            ("kernel", ["journal"], "may not know"),
            ("engine", ["journal"], "may not know"),
            ("journal", ["+tokio"], "belongs to"),
            ("tools", ["+rusqlite"], "belongs to journal"),
            ("tools", ["~kernel"], "may not know"),
            ("mystery", ["contract"], "no floor"),
        ] {
            let found = advice(name, &dependencies);
            assert!(found.len() == 1 && found[0].contains(word), "{name}: {found:?}");
        }
    }

    #[test]
    fn dependencies_are_used() {
        let text = "//! A.\nuse serde_json::Value; // globset\n";
        let tree =
            Tree::of(&[("crates/a/src/lib.rs", text)]).with_package("a", &["+serde-json", "~+globset"]);
        let found = unused(&tree);
        assert!(found.len() == 1 && found[0].advice.contains("`globset`"), "{found:?}");
    }

    #[test]
    fn manifests_share_lints_and_versions() {
        let bad = "[package]\nname = \"a\"\nversion = \"1\"\n[dependencies]\nserde = \"1\"\n";
        let lines: Vec<usize> =
            manifests(&Tree::of(&[("crates/a/Cargo.toml", bad)])).iter().map(|f| f.line).collect();
        assert_eq!(lines, [0, 5]);
        let good = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n\n[dependencies]\nserde.workspace = true\n";
        assert!(manifests(&Tree::of(&[("crates/a/Cargo.toml", good)])).is_empty());
    }
}
