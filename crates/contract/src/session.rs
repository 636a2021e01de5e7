//! What a session is opened with: goal, repository, model, rights, limits, workflow.

use crate::hooks::HookDef;
use crate::model::ModelRef;
use crate::{ActionId, Amount, CallId, Digest, SessionId, Timestamp, is_default, limits};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Everything that is fixed when a session opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// The goal, as the person or the parent wrote it.
    pub goal: Digest,
    /// Bytes of it.
    pub goal_bytes: u64,
    /// Top level of the repository worked for (absolute path).
    pub repo: String,
    /// The commit the work starts from; `None` = HEAD at the time the workspace is prepared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The branch to land on; `None` = the branch that is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Who answers the conversation.
    pub model: ModelRef,
    /// Who answers when that one's provider is down, used up, or refuses the key: in this order, and nobody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<ModelRef>,
    /// Who words what is taken out of a conversation that has grown too large; `None` = nobody, it is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summaries: Option<Summaries>,
    /// Name of the mode (instructions, tools) the session works in.
    pub mode: String,
    /// The declared stages.
    pub workflow: Workflow,
    /// What it may do.
    pub rights: Rights,
    /// What bounds it.
    #[serde(default)]
    pub limits: Limits,
    /// Cap of the whole tree (root) or of this child's part.
    pub budget: Amount,
    /// Names of the checks the goal is about; empty = found from the goal's words, else all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goal_checks: Vec<String>,
    /// Who is asked or told when something happens, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookDef>,
    /// Who delegated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The task it is for, as costs are told by it: of a plan, a schedule or somebody who handed it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

impl SessionSpec {
    /// The root of the tree this session belongs to.
    pub fn root(&self, own: SessionId) -> SessionId {
        self.parent.as_ref().map_or(own, |parent| parent.root)
    }
}

/// Who words what is taken out of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Summaries {
    /// The model that has the word.
    Same,
    /// This one.
    By(Box<ModelRef>),
    /// Nobody, and nothing is taken out by itself: a person is asked.
    Never,
}

/// The place in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The session that delegated.
    pub session: SessionId,
    /// The root of the tree.
    pub root: SessionId,
    /// All sessions above, root first.
    pub ancestors: Vec<SessionId>,
    /// Their goals, in the same order: delegating one of them again is a cycle.
    pub goals: Vec<Digest>,
    /// The action that delegated.
    pub action: ActionId,
    /// The tool call that waits for the result.
    pub call: CallId,
}

/// What a session may do. A child's rights lie within its parent's (K1-1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Tools allowed by name; `None` = all that exist. `mcp__*` and `mcp__SERVER__*` are those of servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Which effect classes wait for a person's approval.
    pub ask: Ask,
    /// May the result be landed on the target branch?
    pub land: bool,
    /// May it open child sessions?
    pub delegate: bool,
    /// Regular expressions; what a call writes in the workspace lies at paths that fit each of them. Empty = anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
}

/// When a tool call waits for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Never (unattended, trusted).
    Never,
    /// External effects only.
    External,
    /// Everything that is not pure.
    Writes,
}

impl Rights {
    /// All rights; what an approval policy asks is still asked.
    pub fn all(ask: Ask) -> Self {
        Self { tools: None, ask, land: true, delegate: true, writes: Vec::new() }
    }

    /// True when `self` grants nothing that `parent` does not.
    pub fn within(&self, parent: &Self) -> bool {
        let tools = match (&self.tools, &parent.tools) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(allowed)) => own.iter().all(|tool| covers(allowed, tool)),
        };
        let writes = parent.writes.iter().all(|only| self.writes.contains(only));
        tools
            && writes
            && self.ask >= parent.ask
            && self.land <= parent.land
            && self.delegate <= parent.delegate
    }

    /// The most that both allow.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let tools = match (&self.tools, &other.tools) {
            (None, tools) | (tools, None) => tools.clone(),
            (Some(a), Some(b)) => {
                let own = a.iter().filter(|tool| covers(b, tool));
                Some(
                    own.chain(b.iter().filter(|tool| covers(a, tool) && !a.contains(tool)))
                        .cloned()
                        .collect(),
                )
            }
        };
        let more = other.writes.iter().filter(|only| !self.writes.contains(only));
        let writes = self.writes.iter().chain(more).cloned().collect();
        Self {
            writes,
            tools,
            ask: self.ask.max(other.ask),
            land: self.land && other.land,
            delegate: self.delegate && other.delegate,
        }
    }

    /// May this tool be called?
    pub fn allows(&self, tool: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| covers(tools, tool))
    }
}

/// Is it one of these? `mcp__*` and `mcp__SERVER__*` stand for all tools of servers, and of one.
fn covers(tools: &[String], tool: &str) -> bool {
    let all = |name: &str| {
        name.strip_suffix('*').is_some_and(|front| front.starts_with("mcp__") && tool.starts_with(front))
    };
    tools.iter().any(|name| name == tool || all(name))
}

/// Bounds of one session; defaults in [`limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Actions in one turn.
    pub steps_per_turn: u32,
    /// Deepest level below the root.
    pub depth: u32,
    /// Children this session may open.
    pub children: u32,
    /// Backward edges of the workflow.
    pub rounds: u32,
    /// Failures of one signature.
    pub same_failures: u32,
    /// Cap of a single model call, in money and tokens.
    #[serde(skip_serializing_if = "Amount::is_unlimited")]
    pub call: Amount,
    /// Calls in a row that found nothing of what the provider had kept, after which a person is asked; 0 = never.
    #[serde(skip_serializing_if = "is_usual")]
    pub cache_misses: u32,
    /// When nothing that has waited for long goes on by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// Nobody waits for it: whoever somebody waits for goes before.
    #[serde(skip_serializing_if = "is_default")]
    pub background: bool,
    /// Model calls that the sessions on this project may have under way at once; `None` = no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_at_once: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls takes a reference")]
fn is_usual(misses: &u32) -> bool {
    *misses == limits::CACHE_MISSES
}

/// Hours of every day. One that ends where it begins is the whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// Its first minute in the UTC day.
    pub from_min: u32,
    /// The first minute behind it.
    pub to_min: u32,
}

impl Quiet {
    /// The end of the quiet that this moment lies in, [`Timestamp::MAX`] if there is none; `None` = it is not quiet then.
    pub fn ends(self, at: Timestamp) -> Option<Timestamp> {
        const MINUTE_MS: u64 = 60_000;
        let (from, to) = (u64::from(self.from_min), u64::from(self.to_min));
        let minute = at.since(at.day()) / MINUTE_MS;
        let day = match from.cmp(&to) {
            Ordering::Equal => return Some(Timestamp::MAX),
            Ordering::Less => (from..to).contains(&minute).then(|| at.day())?,
            Ordering::Greater if minute >= from => at.next_day(),
            Ordering::Greater => (minute < to).then(|| at.day())?,
        };
        Some(day.plus(to * MINUTE_MS))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps_per_turn: limits::STEPS_PER_TURN,
            depth: limits::DEPTH,
            children: limits::CHILDREN,
            rounds: limits::ROUNDS,
            same_failures: limits::SAME_FAILURES,
            call: Amount::UNLIMITED,
            cache_misses: limits::CACHE_MISSES,
            quiet: None,
            background: false,
            calls_at_once: None,
        }
    }
}

/// The stages of a session and the edges between them, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// The stages; the first one is where a session begins.
    pub stages: Vec<Stage>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name, unique in the workflow.
    pub name: String,
    /// What happens in it.
    pub kind: StageKind,
    /// Where to go when it went well.
    pub ok: Edge,
    /// Where to go when it did not. An edge to an earlier stage is a feedback round.
    pub fail: Edge,
    /// How long its actions may take together, each time it is entered, milliseconds; `None` = as long as they take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
}

/// What a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// The agent works until it yields.
    Agent,
    /// Kapell runs the checks on base and result and computes the verdict.
    Check,
    /// Kapell inspects the change itself: weakened tests and checks.
    Inspect,
    /// Rebase, check the merged tree, fast-forward.
    Integrate,
    /// Choose the next task of the plan, or end.
    Plan,
}

/// Where an edge leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// To the stage of this name.
    To(String),
    /// The session ends.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_servers_are_allowed_together() {
        let of = |tools: &[&str]| {
            let tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
            Rights { tools: Some(tools), ..Rights::all(Ask::Never) }
        };
        let (all, one) = (of(&["read", "mcp__*"]), of(&["mcp__db__*", "edit", "mcp__web__get"]));
        assert!(all.allows("mcp__db__ask") && one.allows("mcp__db__ask") && !one.allows("mcp__dbx__ask"));
        assert!(!of(&["re*"]).allows("read") && !one.allows("read"));
        assert!(
            of(&["mcp__db__ask"]).within(&one) && one.within(&of(&["edit", "mcp__*"])) && !all.within(&one)
        );
        for both in [all.intersect(&one), one.intersect(&all)] {
            assert_eq!(both.tools.unwrap(), ["mcp__db__*", "mcp__web__get"]);
        }
    }

    #[test]
    fn quiet_hours_go_past_midnight_and_may_have_no_end() {
        let at = |text: &str| format!("2026-11-{text}:00.000Z").parse::<Timestamp>().unwrap();
        let quiet = |from: u32, to: u32| Quiet { from_min: from * 60, to_min: to * 60 };
        for (quiet, now, ends) in [
            (quiet(22, 7), "20T21:59", None),
            (quiet(22, 7), "20T22:00", Some("21T07:00")),
            (quiet(22, 7), "21T06:59", Some("21T07:00")),
            (quiet(22, 7), "21T07:00", None),
            (quiet(9, 17), "20T12:30", Some("20T17:00")),
            (quiet(9, 17), "20T17:00", None),
        ] {
            assert_eq!(quiet.ends(at(now)), ends.map(at), "{now}");
        }
        assert_eq!(quiet(0, 0).ends(at("20T12:00")), Some(Timestamp::MAX));
    }
}
