//! The actions on the workspace and its checks: prepare, check, inspect, integrate, adopt, rewind.
//!
//! Knows neither git nor commands (the ports do) and no verdict (the kernel computes it). Start at
//! [`prepare`]; each function is one kind of work.

use super::{Halt, Job, Kept, goal};
use contract::action::{Done, Prepared};
use contract::checks::{CheckJob, CheckOutput, Flag, Report, Side, Status, Suite};
use contract::port::Delta;
use contract::workspace::{Landing, Origin};
use contract::{ActionId, BoxFuture, Fault, Kind, SessionId, limits};
use std::path::PathBuf;

/// Makes the clone, finds the checks of its base, and which of them the goal is about.
pub(super) async fn prepare(job: &Job) -> Result<Done, Halt> {
    let context = &job.run.context;
    let spec = &context.spec;
    let goal = job.text(spec.goal).await?;
    // Made anew, it begins where it began: not at what is checked out by now.
    let base = context.base.clone().or_else(|| spec.base.clone());
    let origin = Origin { repo: repo(job), base, target: spec.target.clone(), worked: context.worked };
    job.unless_stopped()?;
    let ready = job.ports.workspace.prepare(job.run.session, origin).await?;
    let suite = job.ports.checks.find(ready.root, ready.base.clone()).await?;
    let goal_checks = goal::checks(&spec.goal_checks, &goal, &suite.checks)?;

    let mut notes = ready.notes;
    if suite.checks.is_empty() {
        notes.push(NO_CHECKS.to_owned());
    }
    let Suite { setup, checks } = suite;
    Ok(Done::Prepared(Prepared { base: ready.base, target: ready.target, checks, setup, goal_checks, notes }))
}

const NO_CHECKS: &str =
    "no checks were found, so no result can be confirmed; declare some in .kapell/config.toml and commit it";

/// The repository worked for: the user's, or for a child its parent's clone (from whose tree, as it
/// stands, the port starts when the spec names no base).
fn repo(job: &Job) -> PathBuf {
    let spec = &job.run.context.spec;
    match &spec.parent {
        Some(parent) => job.ports.workspace.root(parent.session),
        None => PathBuf::from(&spec.repo),
    }
}

/// Commits the work and runs the checks on base and result.
pub(super) async fn check(job: &Job, kept: &mut Kept, base_known: bool) -> Result<Done, Halt> {
    let base = job.base()?;
    let goal = job.text(job.run.context.spec.goal).await?;
    let result = job.ports.workspace.commit(job.run.session, message(&goal)).await?;
    job.unless_stopped()?;
    let output = run_checks(job, base, result, base_known).await?;
    kept.blobs.extend(output.blobs);
    Ok(Done::Checked(output.report))
}

async fn run_checks(job: &Job, base: String, result: String, base_known: bool) -> Result<CheckOutput, Fault> {
    job.sink.delta(Delta::Note("running the checks".to_owned()));
    let context = &job.run.context;
    let what = CheckJob {
        session: job.run.session,
        repo: job.ports.workspace.root(job.run.session),
        base,
        result,
        base_known,
        suite: Suite { setup: context.setup.clone(), checks: context.checks.clone() },
        key: job.key(),
    };
    let output = job.ports.checks.run(what, job.cancel.clone(), &*job.sink).await?;
    // A check that was stopped in the middle must not look like one that cannot run.
    if job.cancel.is_cancelled() && output.report.runs.iter().any(|run| run.status == Status::CouldNotRun) {
        return Err(Fault::new(Kind::Transient, "stopped", "the checks were stopped before their end"));
    }
    Ok(output)
}

/// The commit message: the goal's first line, cut to a subject.
fn message(goal: &str) -> String {
    let line = goal.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("Work without a goal");
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    if clean.chars().count() <= limits::SUBJECT_CHARS {
        return clean;
    }
    let cut: String = clean.chars().take(limits::SUBJECT_CHARS - 1).collect();
    format!("{}…", cut.trim_end())
}

/// Judges the change itself.
pub(super) async fn inspect(job: &Job, result: &str) -> Result<Done, Halt> {
    let (session, base) = (job.run.session, job.base()?);
    let context = &job.run.context;
    let commands = context.checks.iter().map(|check| &check.run).chain(&context.setup).cloned().collect();
    let change = job.ports.workspace.inspect(session, base, result.to_owned(), commands).await?;
    Ok(Done::Inspected { flags: recordable(change.flags), files: change.files })
}

/// Bytes of flags that are put on record: they stand in an event, which has a limit.
const FLAGS_BYTES: usize = limits::RECORD_BYTES / 4;

/// The first flags, as many as fit, and one about those that do not. None becomes none.
fn recordable(mut flags: Vec<Flag>) -> Vec<Flag> {
    let mut bytes = 0;
    let fitting = flags.iter().take_while(|flag| {
        bytes += serde_json::to_vec(flag).map_or(FLAGS_BYTES, |json| json.len());
        bytes <= FLAGS_BYTES
    });
    let (fitting, all) = (fitting.count(), flags.len());
    if fitting < all {
        flags.truncate(fitting);
        let what = format!("{} more findings are not listed; look at the whole change", all - fitting);
        flags.push(Flag { code: "more".into(), path: String::new(), what });
    }
    flags
}

/// Lands the result, or says why not. When the target has moved, the checks run on the merged tree first.
pub(super) async fn integrate(job: &Job, kept: &mut Kept, result: &str) -> Result<Done, Halt> {
    let context = &job.run.context;
    let base = job.base()?;
    let goal = job.text(context.spec.goal).await?;
    let goal_checks = goal::checks(&context.spec.goal_checks, &goal, &context.checks)?;
    let (base_is, target) = (Some(base.clone()), context.target.clone());
    let origin = Origin { repo: repo(job), base: base_is, target, worked: true };
    let landing = Landing {
        base: base.clone(),
        result: result.to_owned(),
        target: context.target.clone(),
        land: context.spec.rights.land,
    };
    let check = |merged: String| -> BoxFuture<'_, Result<(bool, CheckOutput), Fault>> {
        Box::pin(check_merged(job, &goal_checks, base.clone(), merged))
    };
    job.unless_stopped()?;
    let landed =
        job.ports.workspace.integrate(job.run.session, origin, landing, &check, job.cancel.clone()).await?;
    kept.blobs.extend(landed.blobs);
    Ok(Done::Integrated(landed.integrated))
}

async fn check_merged(
    job: &Job,
    goal_checks: &[String],
    base: String,
    merged: String,
) -> Result<(bool, CheckOutput), Fault> {
    let is_goal = |name: &str| goal_checks.is_empty() || goal_checks.iter().any(|goal| goal == name);
    // Only a check that the goal is not about needs its result on base; the others must pass anyway.
    let base_known = job.run.context.checks.iter().all(|check| is_goal(&check.name));
    let output = run_checks(job, base, merged, base_known).await?;
    Ok((holds(job, &output.report, &is_goal), output))
}

/// Every check that the goal is about, or that passed on base, passes on the merged tree.
fn holds(job: &Job, report: &Report, is_goal: &dyn Fn(&str) -> bool) -> bool {
    let passed = |name: &str, side| {
        let mut runs = report.runs.iter().filter(|run| run.check == name && run.side == side).peekable();
        runs.peek().is_some() && runs.all(|run| run.status == Status::Passed)
    };
    let failed = |name: &str, side| {
        report.runs.iter().any(|run| run.check == name && run.side == side && run.status == Status::Failed)
    };
    let checks = &job.run.context.checks;
    // One that nobody could run on base is no excuse for a red result.
    let unclear = |name: &str| failed(name, Side::Result) && !failed(name, Side::Base);
    let needed = |name: &str| is_goal(name) || passed(name, Side::Base) || unclear(name);
    !checks.is_empty() && checks.iter().all(|check| !needed(&check.name) || passed(&check.name, Side::Result))
}

/// Takes a child's result into the own workspace, with a savepoint like any staged action.
pub(super) async fn adopt(job: &Job, kept: &mut Kept, child: SessionId, commit: &str) -> Result<Done, Halt> {
    let (session, workspace) = (job.run.session, &job.ports.workspace);
    if job.run.restore {
        workspace.restore(session, job.label()).await?;
    }
    workspace.savepoint(session, job.label()).await?;
    job.unless_stopped()?;
    let (clean, text) = workspace.adopt(session, child, commit.to_owned()).await?;
    Ok(Done::Adopted { child, clean, bytes: text.len() as u64, text: kept.put(text) })
}

/// Puts the workspace back to before an action, with a savepoint of its own: the way back is to
/// rewind to this very rewind.
pub(super) async fn rewind(job: &Job, to: ActionId) -> Result<Done, Halt> {
    let (session, workspace) = (job.run.session, &job.ports.workspace);
    let undo = workspace.savepoint(session, undo_label(job.run.action)).await?;
    job.unless_stopped()?;
    for label in [to.to_string(), undo_label(to)] {
        if workspace.restore(session, label).await? {
            return Ok(Done::Rewound { to, undo });
        }
    }
    let what = format!("action {to} has no savepoint: it changed nothing, or never ran");
    let hint = format!("`kapell events {session}` shows the actions that have one");
    Err(Fault::new(Kind::UserFixable, "no-savepoint", what).hint(hint).into())
}

/// The savepoint of what a rewind has overwritten.
fn undo_label(rewind: ActionId) -> String {
    format!("undo-{rewind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_flags_fit_into_an_event() {
        let flag = |n: usize| Flag {
            code: "test-deleted".into(),
            path: format!("tests/{n}.rs"),
            what: "a file of the tests was deleted".into(),
        };
        let few: Vec<Flag> = (0..9).map(flag).collect();
        assert_eq!(recordable(few.clone()), few);
        let many = recordable((0..20_000).map(flag).collect());
        assert!(serde_json::to_vec(&many).unwrap().len() < limits::RECORD_BYTES / 2);
        assert_eq!(many[0], flag(0));
        let left = format!("{} more findings are not listed", 20_001 - many.len());
        assert!(many.last().unwrap().what.starts_with(&left));
    }

    #[test]
    fn the_subject_is_the_goals_first_line() {
        for (goal, subject) in [
            ("fix the test\n\nand more", "fix the test"),
            ("\n  \t\n  Fix\x1b[1m it  \n", "Fix[1m it"),
            (" \n", "Work without a goal"),
        ] {
            assert_eq!(message(goal), subject);
        }
        let long = message(&"é".repeat(200));
        assert_eq!(long.chars().count(), limits::SUBJECT_CHARS);
        assert!(long.ends_with('…'));
    }
}
