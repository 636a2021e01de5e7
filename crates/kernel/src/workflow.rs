//! Workflows as data: the built-in ones, and what makes one valid.
//!
//! Knows stages and edges; not how a stage is done. Start at [`standard`].

use contract::session::{Edge, Stage, StageKind, Workflow};

fn stage(name: &str, kind: StageKind, ok: &str, fail: &str) -> Stage {
    let edge = |to: &str| if to.is_empty() { Edge::End } else { Edge::To(to.to_owned()) };
    Stage { name: name.to_owned(), kind, ok: edge(ok), fail: edge(fail), limit_ms: None }
}

/// implement -> validate -> quality -> integrate -> plan, and round again.
pub fn standard() -> Workflow {
    Workflow {
        name: "standard".to_owned(),
        stages: vec![
            stage("implement", StageKind::Agent, "validate", ""),
            stage("validate", StageKind::Check, "quality", "implement"),
            stage("quality", StageKind::Inspect, "integrate", "implement"),
            stage("integrate", StageKind::Integrate, "plan", "implement"),
            stage("plan", StageKind::Plan, "implement", ""),
        ],
    }
}

/// The same without landing: a child's result is adopted by its parent.
pub fn child() -> Workflow {
    Workflow {
        name: "child".to_owned(),
        stages: vec![
            stage("implement", StageKind::Agent, "validate", ""),
            stage("validate", StageKind::Check, "quality", "implement"),
            stage("quality", StageKind::Inspect, "plan", "implement"),
            stage("plan", StageKind::Plan, "implement", ""),
        ],
    }
}

/// How long each stage may work where nobody looks on, seconds (spec S3 2.3, the archived limits).
const UNATTENDED_S: [(&str, u64); 5] =
    [("implement", 3_600), ("validate", 900), ("quality", 1_800), ("integrate", 900), ("plan", 1_800)];

/// Its name.
const UNATTENDED: &str = "unattended";

/// Is it the one for work that nobody looks on at?
pub fn is_unattended(workflow: &Workflow) -> bool {
    workflow.name == UNATTENDED
}

/// The standard one for work that nobody looks on at: each stage has a limit of time.
pub fn unattended() -> Workflow {
    let mut all = standard();
    all.name = UNATTENDED.to_owned();
    for stage in &mut all.stages {
        let limit = UNATTENDED_S.iter().find(|(name, _)| *name == stage.name);
        stage.limit_ms = limit.map(|(_, seconds)| seconds * 1_000);
    }
    all
}

/// A child's stages, with the limits that those of the same name have above it.
pub(crate) fn below(parent: &Workflow) -> Workflow {
    let mut all = child();
    for stage in &mut all.stages {
        stage.limit_ms = parent.stages.iter().find(|of| of.name == stage.name).and_then(|of| of.limit_ms);
    }
    all
}

/// The agent alone: nothing is checked and nothing lands.
pub fn bare() -> Workflow {
    Workflow { name: "bare".to_owned(), stages: vec![stage("implement", StageKind::Agent, "", "")] }
}

/// Why a workflow cannot be used, if it cannot.
pub fn problem(workflow: &Workflow) -> Option<String> {
    if workflow.stages.is_empty() {
        return Some(format!("workflow `{}` has no stages", workflow.name));
    }
    let known = |name: &str| workflow.stages.iter().any(|stage| stage.name == name);
    for (at, stage) in workflow.stages.iter().enumerate() {
        if workflow.stages[..at].iter().any(|other| other.name == stage.name) {
            return Some(format!("stage `{}` stands twice in workflow `{}`", stage.name, workflow.name));
        }
        for edge in [&stage.ok, &stage.fail] {
            if let Edge::To(to) = edge
                && !known(to)
            {
                return Some(format!("stage `{}` leads to `{to}`, which does not exist", stage.name));
            }
        }
    }
    let mut reached = vec![workflow.stages[0].name.as_str()];
    let mut at = 0;
    while let Some(stage) = reached.get(at).and_then(|name| workflow.stages.iter().find(|s| s.name == *name))
    {
        for edge in [&stage.ok, &stage.fail] {
            if let Edge::To(to) = edge
                && !reached.contains(&to.as_str())
            {
                reached.push(to);
            }
        }
        at += 1;
    }
    let lost = workflow.stages.iter().find(|stage| !reached.contains(&stage.name.as_str()));
    lost.map(|stage| format!("no edge leads to stage `{}`", stage.name)).or_else(|| circle(workflow))
}

/// An ok edge into an agent's stage: the agent would be asked without having been told anything, or for ever.
/// It gets the word at the start, with feedback (fail edges), and with the next task (plan stages), so ok edges
/// lead onwards only.
fn circle(workflow: &Workflow) -> Option<String> {
    let place = |name: &String| workflow.stages.iter().position(|stage| &stage.name == name);
    for (at, stage) in workflow.stages.iter().enumerate().filter(|(_, stage)| stage.kind != StageKind::Plan) {
        let Edge::To(to) = &stage.ok else { continue };
        let next = place(to)?;
        if next <= at {
            return Some(format!(
                "the ok edge of stage `{}` leads back to `{to}`: only a plan may go round",
                stage.name
            ));
        }
        if workflow.stages[next].kind == StageKind::Agent {
            return Some(format!("the ok edge of stage `{}` leads to the agent's stage `{to}`", stage.name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_are_valid() {
        for workflow in [standard(), child(), bare(), unattended(), below(&unattended())] {
            assert_eq!(problem(&workflow), None);
        }
    }

    #[test]
    fn broken_ones_are_named() {
        let mut lost = standard();
        lost.stages.push(stage("island", StageKind::Agent, "", ""));
        assert!(problem(&lost).unwrap().contains("island"));
        let mut dangling = standard();
        dangling.stages[0].ok = Edge::To("nowhere".into());
        assert!(problem(&dangling).unwrap().contains("nowhere"));
        let mut twice = standard();
        twice.stages.push(standard().stages.remove(0));
        assert!(problem(&twice).unwrap().contains("twice"));
        assert!(problem(&Workflow { name: "x".into(), stages: vec![] }).is_some());
        let two = |first: &str, second: &str| Workflow {
            name: "two".into(),
            stages: vec![stage("a", StageKind::Agent, first, ""), stage("b", StageKind::Check, second, "a")],
        };
        assert_eq!(problem(&two("b", "")), None);
        assert!(problem(&two("b", "a")).unwrap().contains("leads back"));
        assert!(problem(&two("b", "b")).unwrap().contains("leads back"));
    }
}
