//! What a mode of a project may do, as tools of Kapell, and what its agent is told besides the task.
//!
//! Knows the modes that Roo has built in and those a project declares; opens nothing. Start at [`Modes::find`].

use board::modes::{Group, Mode};
use std::fmt::Write as _;

/// A group of a mode, and the tools it stands for.
const GROUPS: &[(&str, &[&str])] = &[
    ("read", &["read", "list", "glob", "search", "paths", "notebook_read", "memory_read"]),
    ("edit", &["write", "edit", "multi_edit", "apply_patch", "notebook_edit", "memory_write"]),
    ("command", &["shell", "job", "learn_parser"]),
    ("browser", &["web_fetch"]),
    ("mcp", &["mcp__*"]),
];

/// Groups of the modes that the Loop-Orchestrator brings along.
const WORKS: &[&str] = &["read", "edit", "command"];
const CHECKS: &[&str] = &["read", "command"];
const PLANS: &[&str] = &["read", "edit"];

/// Modes that Roo has without a file, and those of the Loop-Orchestrator: a project's own of the same name go before.
const BUILT_IN: &[(&str, &[&str])] = &[
    ("code", &["read", "edit", "browser", "command", "mcp"]),
    ("architect", &["read", "edit", "browser", "mcp"]),
    ("ask", &["read", "browser", "mcp"]),
    ("debug", &["read", "edit", "browser", "command", "mcp"]),
    (HANDS_ON, &[]),
    ("optimization-memory", PLANS),
    ("implementation-core", WORKS),
    ("implementation-security", WORKS),
    ("implementation-performance", WORKS),
    ("implementation-features", WORKS),
    ("validation-static", CHECKS),
    ("validation-unit", CHECKS),
    ("validation-integration", CHECKS),
    ("validation-api", CHECKS),
    ("quality-functional", CHECKS),
    ("quality-performance", CHECKS),
    ("quality-security", CHECKS),
    ("quality-compatibility", CHECKS),
    ("integration-commit", WORKS),
    ("integration-deploy", WORKS),
    ("integration-release", WORKS),
    ("integration-testing", WORKS),
    ("integration-document", WORKS),
    ("planning-analysis", PLANS),
    ("planning-priorities", PLANS),
    ("planning-architecture", PLANS),
    ("planning-requirements", PLANS),
    ("deployment-production", WORKS),
    ("monitoring-observability", CHECKS),
    ("maintenance-operations", WORKS),
    ("time-tracking", PLANS),
];

/// It has no tool of its own, and holds all of them: what it hands on is within what it holds.
const HANDS_ON: &str = "orchestrator";

/// What the architect of Roo may edit.
const ARCHITECT_EDITS: &str = r"\.md$";

/// Names under which some schedules call modes of the same project.
const ALIASES: &[(&str, &str)] = &[
    ("core-development", "implementation-core"),
    ("feature-development", "implementation-features"),
    ("static-analysis", "validation-static"),
    ("unit-testing", "validation-unit"),
    ("version-control", "integration-commit"),
];

/// The modes of a project.
#[derive(Debug, Default)]
pub struct Modes(pub Vec<Mode>);

impl Modes {
    /// The mode of this name: the project's own first, then Roo's, then by another name.
    pub fn find(&self, slug: &str) -> Option<Mode> {
        let own = |slug: &str| self.0.iter().find(|mode| mode.slug == slug).cloned();
        let alias = || {
            let (_, slug) = ALIASES.iter().find(|(alias, _)| *alias == slug)?;
            own(slug).or_else(|| built_in(slug))
        };
        own(slug).or_else(|| built_in(slug)).or_else(alias)
    }

    /// The names there are, for who wrote another one.
    pub fn names(&self) -> String {
        let own = self.0.iter().map(|mode| mode.slug.as_str());
        own.chain(BUILT_IN.iter().map(|(slug, _)| *slug)).collect::<Vec<_>>().join(", ")
    }
}

fn built_in(slug: &str) -> Option<Mode> {
    let (_, groups) = BUILT_IN.iter().find(|(known, _)| *known == slug)?;
    let group = |name: &&str| Group {
        name: (*name).to_owned(),
        file_regex: (slug == "architect" && *name == "edit").then(|| ARCHITECT_EDITS.to_owned()),
        description: None,
    };
    Some(Mode { slug: slug.into(), groups: groups.iter().map(group).collect(), ..Mode::default() })
}

/// The tools of a mode; `None`: all.
pub(crate) fn tools(mode: &Mode) -> Option<Vec<String>> {
    if mode.slug == HANDS_ON && mode.groups.is_empty() {
        return None;
    }
    let of = |group: &Group| GROUPS.iter().find(|(name, _)| *name == group.name).map(|(_, tools)| *tools);
    Some(mode.groups.iter().filter_map(of).flatten().map(|tool| (*tool).to_owned()).collect())
}

/// The expressions that the paths of what it writes fit; none: it writes anywhere.
pub(crate) fn writes(mode: &Mode) -> Vec<String> {
    let edits = || mode.groups.iter().filter(|group| group.name == "edit");
    if edits().any(|group| group.file_regex.is_none()) {
        return Vec::new();
    }
    let only: Vec<&str> = edits().filter_map(|group| group.file_regex.as_deref()).collect();
    match only[..] {
        [] => Vec::new(),
        [only] => vec![only.to_owned()],
        _ => vec![only.iter().map(|only| format!("(?:{only})")).collect::<Vec<_>>().join("|")],
    }
}

/// A task as an agent in this mode reads it: the task first, for its first line names the work.
pub(crate) fn worded(mode: &Mode, task: &str) -> String {
    let mut text = task.trim_end().to_owned();
    let name = if mode.name.is_empty() { &mode.slug } else { &mode.name };
    // Writing into a String cannot fail.
    let _ = write!(text, "\n\n# Mode {name}\n");
    for part in [&mode.role, &mode.instructions].into_iter().filter(|part| !part.trim().is_empty()) {
        let _ = write!(text, "\n{}\n", part.trim());
    }
    for group in mode.groups.iter().filter(|group| group.name == "edit") {
        if let Some(only) = &group.file_regex {
            let _ = write!(text, "\nEdit only files whose paths match `{only}`.\n");
        }
    }
    text.push_str(
        "\nNobody is there to answer: where something is open, decide, and say what you assumed.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_become_tools_and_nothing_else() {
        let modes = Modes(board::modes::read(
            "customModes:\n  - slug: docs\n    name: Docs\n    roleDefinition: You write.\n    groups:\n      - read\n      - - edit\n        - fileRegex: \\.txt$\n  - slug: implementation-core\n    groups: []\n",
        )
        .unwrap());
        let docs = modes.find("docs").unwrap();
        let allowed = tools(&docs).unwrap();
        assert!(allowed.contains(&"read".to_owned()) && allowed.contains(&"edit".to_owned()));
        assert!(!allowed.contains(&"shell".to_owned()) && !allowed.contains(&"web_fetch".to_owned()));
        let text = worded(&docs, "Mend the manual.\nAll of it.\n");
        assert!(text.starts_with("Mend the manual.\nAll of it.\n\n# Mode Docs\n\nYou write.\n"), "{text}");
        assert!(text.contains(r"`\.txt$`"), "{text}");
        assert_eq!(writes(&docs), [r"\.txt$"]);
        assert_eq!(writes(&modes.find("architect").unwrap()), [ARCHITECT_EDITS]);
        assert!(writes(&modes.find("code").unwrap()).is_empty());
        assert_eq!(
            tools(&modes.find("ask").unwrap()).unwrap().iter().filter(|tool| *tool == "edit").count(),
            0
        );
        assert_eq!(modes.find("core-development").unwrap().slug, "implementation-core");
        assert_eq!(tools(&modes.find("orchestrator").unwrap()), None);
        assert_eq!(tools(&modes.find("implementation-core").unwrap()), Some(Vec::new()));
        assert_eq!(modes.find("static-analysis").unwrap().slug, "validation-static");
        assert!(modes.find("nosuch").is_none());
        assert_eq!(BUILT_IN.iter().filter(|(slug, _)| slug.contains('-')).count(), 26);
        assert!(modes.names().starts_with("docs, implementation-core, code, "));
    }

    #[test]
    fn every_tool_of_a_group_exists() {
        let known: Vec<String> =
            ::tools::all(&::tools::Options::default()).iter().map(|tool| tool.spec().name).collect();
        for (group, tools) in GROUPS {
            for tool in tools.iter().filter(|tool| !tool.starts_with("mcp__")) {
                assert!(known.iter().any(|known| known == tool), "{group}: {tool}");
            }
        }
    }
}
