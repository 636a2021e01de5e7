//! git: what it refuses, and how much status, diff and log show. Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Count, Finding, Quiet, Skip};
use crate::rules::{own, rule};
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "git",
    programs: &["git", "gh", "hub", "jj"],
    rules: &[
        own(Skip, r"^error: failed to push some refs "),
        rule(Finding(Error), r"^CONFLICT \((?<code>[^)]+)\): (?<message>.+?)$"),
        rule(Finding(Error), r"^ ! \[(?<code>[\w ]+)\] +(?<message>.+)$"),
        rule(Finding(Error), r"^remote: (?<severity>error|fatal|warning): (?<message>.+)$"),
        rule(Finding(Error), r"^fatal: (?<message>.+)$"),
        own(Finding(Error), r"^(?<severity>error|warning): (?<message>.+)$"),
        rule(Count("changed files"), r"^diff --git "),
        own(Count("added lines"), r"^\+(?:[^+]|$)"),
        own(Count("removed lines"), r"^-(?:[^-]|$)"),
        own(Count("commits"), r"^commit [0-9a-f]{40}"),
        own(
            Count("changed files"),
            r"^\s+(?:modified|new file|deleted|renamed|copied|typechange|both modified):\s+\S",
        ),
        own(Count("changed files"), r"^[ MADRCUT][ MADRCUT] \S"),
        own(Count("untracked files"), r"^\?\? \S"),
        rule(
            Quiet,
            r"^(?:remote: )?(?:Enumerating|Counting|Compressing|Receiving|Resolving|Writing|Unpacking|Updating files)\b.*\d%",
        ),
    ],
    json: None,
};
