//! The plan: a DAG of tasks, worked off one after the other.
//!
//! Knows ids and dependencies; goals are digests. Start at [`check`] and [`Plan::next`].

use contract::action::Task;
use contract::event::TaskState;
use contract::limits;
use serde::{Deserialize, Serialize};

/// A plan and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Tasks in topological order with their states.
    pub tasks: Vec<(Task, TaskState)>,
}

/// Puts tasks into topological order (stable), or says what is wrong with them.
pub fn check(tasks: &[Task]) -> Result<Vec<Task>, String> {
    if tasks.len() > limits::PLAN_TASKS {
        return Err(format!(
            "a plan holds at most {} tasks; this one has {}",
            limits::PLAN_TASKS,
            tasks.len()
        ));
    }
    for (at, task) in tasks.iter().enumerate() {
        if tasks[..at].iter().any(|other| other.id == task.id) {
            return Err(format!("task id `{}` stands twice", task.id));
        }
        if let Some(missing) = task.after.iter().find(|id| !tasks.iter().any(|other| &other.id == *id)) {
            return Err(format!("task `{}` comes after `{missing}`, which does not exist", task.id));
        }
    }
    let mut left: Vec<&Task> = tasks.iter().collect();
    let mut order: Vec<Task> = Vec::with_capacity(tasks.len());
    while !left.is_empty() {
        let ready = |task: &Task| task.after.iter().all(|id| order.iter().any(|done| &done.id == id));
        let Some(at) = left.iter().position(|task| ready(task) || contract::planted!(SkipDependency)) else {
            let cycle: Vec<&str> = left.iter().map(|task| task.id.as_str()).collect();
            return Err(format!("these tasks wait for each other: {}", cycle.join(", ")));
        };
        order.push(left.remove(at).clone());
    }
    Ok(order)
}

/// The name of a task of a plan, behind that of the task the plan itself is for.
pub fn within(whole: Option<&str>, part: Option<&str>) -> Option<String> {
    match (whole, part) {
        (Some(whole), Some(part)) => Some(format!("{whole}/{part}")),
        (whole, part) => whole.or(part).map(str::to_owned),
    }
}

impl Plan {
    /// The task being worked on.
    pub fn active(&self) -> Option<&Task> {
        self.tasks.iter().find(|(_, state)| *state == TaskState::Active).map(|(task, _)| task)
    }

    /// The next task whose predecessors are all done.
    pub fn next(&self) -> Option<&Task> {
        let done =
            |id: &String| self.tasks.iter().any(|(task, state)| &task.id == id && *state == TaskState::Done);
        let mut pending = self.tasks.iter().filter(|(_, state)| *state == TaskState::Pending);
        pending
            .find(|(task, _)| task.after.iter().all(done) || contract::planted!(SkipDependency))
            .map(|(task, _)| task)
    }

    /// Tasks that can never begin because one before them failed or was skipped.
    pub fn blocked(&self) -> Vec<&Task> {
        let lost = |id: &String| {
            let stopped = |state| matches!(state, TaskState::Failed | TaskState::Skipped);
            self.tasks.iter().any(|(task, state)| &task.id == id && stopped(*state))
        };
        let pending = self.tasks.iter().filter(|(_, state)| *state == TaskState::Pending);
        pending.filter(|(task, _)| task.after.iter().any(lost)).map(|(task, _)| task).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Digest;

    fn task(id: &str, after: &[&str]) -> Task {
        Task { id: id.into(), goal: Digest::default(), after: after.iter().map(|&s| s.into()).collect() }
    }

    #[test]
    fn order_respects_dependencies_and_is_stable() {
        let order = check(&[task("c", &["b"]), task("a", &[]), task("b", &["a"])]).unwrap();
        assert_eq!(order.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn cycles_unknowns_and_doubles_are_refused() {
        assert!(check(&[task("a", &["b"]), task("b", &["a"])]).unwrap_err().contains("wait for each other"));
        assert!(check(&[task("a", &["x"])]).unwrap_err().contains("does not exist"));
        assert!(check(&[task("a", &[]), task("a", &[])]).unwrap_err().contains("twice"));
    }

    #[test]
    fn a_plan_holds_so_many_tasks_and_not_one_more() {
        let many = |n: usize| (0..n).map(|n| task(&n.to_string(), &[])).collect::<Vec<_>>();
        assert_eq!(check(&many(limits::PLAN_TASKS)).unwrap().len(), limits::PLAN_TASKS);
        assert!(check(&many(limits::PLAN_TASKS + 1)).unwrap_err().contains("at most"));
    }

    #[test]
    fn a_failed_task_blocks_what_comes_after_it() {
        let plan = Plan {
            tasks: vec![
                (task("a", &[]), TaskState::Failed),
                (task("b", &["a"]), TaskState::Pending),
                (task("c", &[]), TaskState::Pending),
            ],
        };
        assert_eq!(plan.next().unwrap().id, "c");
        assert_eq!(plan.blocked().len(), 1);
    }
}
