//! The verdict over check runs (DESIGN section 1). An agent's text has no way in here.
//!
//! Knows runs and which of them the goal is about; not how they were run. Start at [`judge`].

use contract::checks::{CheckRun, Report, Side, Status, Verdict};

/// A verdict with its reasons for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, one per line.
    pub reasons: Vec<String>,
    /// Names of the checks that speak against it.
    pub against: Vec<String>,
}

fn status(runs: &[CheckRun], check: &str, side: Side) -> Option<Status> {
    runs.iter().rev().find(|run| run.check == check && run.side == side).map(|run| run.status)
}

/// A report with the runs on base that are on record, where it left them out.
pub(crate) fn whole(report: &Report, base_runs: &[CheckRun]) -> Report {
    let mut whole = report.clone();
    if whole.runs.iter().all(|run| run.side == Side::Result) {
        whole.runs.splice(0..0, base_runs.iter().cloned());
    }
    whole
}

/// CONFIRMED: the goal's checks pass on the result and nothing green on base is red.
/// INCONCLUSIVE: no check found, one could not run, one is flaky, or one is red that nobody could run on base.
/// REFUTED: otherwise. `goal` empty means the goal is about every check.
pub fn judge(report: &Report, goal: &[String]) -> Judgement {
    let mut names: Vec<&str> = report.runs.iter().map(|run| run.check.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let (mut refuted, mut unclear) = (Vec::new(), Vec::new());
    let mut against = Vec::new();
    for name in &names {
        let base = status(&report.runs, name, Side::Base);
        let result = status(&report.runs, name, Side::Result).or(if report.same_tree { base } else { None });
        let wanted = goal.is_empty() || goal.iter().any(|g| g == name);
        match (base, result) {
            (_, Some(Status::Passed)) => {}
            (Some(Status::Passed), Some(Status::Failed)) => {
                refuted.push(format!("{name}: passed on base, fails on the result"));
                against.push((*name).to_owned());
            }
            (_, Some(Status::Failed)) if wanted => {
                refuted.push(format!("{name}: fails on the result"));
                against.push((*name).to_owned());
            }
            // As red as it was.
            (Some(Status::Failed), Some(Status::Failed)) => {}
            (_, Some(Status::Failed)) => {
                unclear.push(format!(
                    "{name}: fails on the result, and gave no clear answer on base to compare with"
                ));
                against.push((*name).to_owned());
            }
            (Some(Status::Passed), state) | (_, state) if wanted || base == Some(Status::Passed) => {
                let how = match state {
                    Some(Status::Flaky) => "gives both answers on the same tree",
                    _ => "could not run on the result",
                };
                unclear.push(format!("{name}: {how}"));
                against.push((*name).to_owned());
            }
            _ => {}
        }
    }
    for missing in goal.iter().filter(|g| !names.contains(&g.as_str())) {
        unclear.push(format!("{missing}: the goal names this check, but it was not run"));
    }
    if names.is_empty() && goal.is_empty() {
        unclear.push("no check was found in this repository".to_owned());
    }
    let verdict = match (refuted.is_empty(), unclear.is_empty()) {
        (false, _) => Verdict::Refuted,
        (true, false) => Verdict::Inconclusive,
        (true, true) => Verdict::Confirmed,
    };
    let mut reasons = refuted;
    reasons.append(&mut unclear);
    if verdict == Verdict::Confirmed {
        reasons = names.iter().map(|name| confirmed(report, name)).collect();
    }
    Judgement { verdict, reasons, against }
}

fn confirmed(report: &Report, name: &str) -> String {
    let result = status(&report.runs, name, Side::Result).or_else(|| status(&report.runs, name, Side::Base));
    match (status(&report.runs, name, Side::Base), result) {
        (Some(Status::Passed), Some(Status::Passed)) => format!("{name}: passes, as on base"),
        (_, Some(Status::Passed)) => format!("{name}: passes now, did not on base"),
        (_, Some(Status::Failed)) => format!("{name}: fails as on base; not what the goal is about"),
        _ => format!("{name}: gave no clear answer, on base neither; not what the goal is about"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Digest;

    fn run(check: &str, side: Side, status: Status) -> CheckRun {
        CheckRun {
            check: check.into(),
            side,
            status,
            exit: None,
            log: Digest::default(),
            ms: 1,
            tests: None,
            held: None,
            asked: Vec::new(),
        }
    }

    fn report(rows: &[(&str, Status, Status)]) -> Report {
        let runs = rows
            .iter()
            .flat_map(|&(name, base, result)| [run(name, Side::Base, base), run(name, Side::Result, result)])
            .collect();
        Report { base: "b".into(), result: "r".into(), same_tree: false, runs }
    }

    fn verdict(rows: &[(&str, Status, Status)], goal: &[&str]) -> Verdict {
        let goal: Vec<String> = goal.iter().map(|&g| g.to_owned()).collect();
        judge(&report(rows), &goal).verdict
    }

    #[test]
    fn the_rule_as_a_table() {
        use Status::{CouldNotRun as C, Failed as F, Flaky as K, Passed as P};
        use Verdict::{Confirmed, Inconclusive, Refuted};
        for (rows, goal, want) in [
            (vec![("test", F, P)], vec!["test"], Confirmed),
            (vec![("test", P, P)], vec![], Confirmed),
            (vec![("test", F, P), ("lint", F, F)], vec!["test"], Confirmed),
            (vec![("test", F, P), ("lint", F, F)], vec![], Refuted),
            (vec![("test", F, P), ("lint", P, F)], vec!["test"], Refuted),
            (vec![("test", F, F)], vec!["test"], Refuted),
            (vec![("test", F, C)], vec!["test"], Inconclusive),
            (vec![("test", P, K)], vec![], Inconclusive),
            (vec![("test", P, P), ("slow", P, C)], vec!["test"], Inconclusive),
            (vec![("test", P, P), ("slow", C, C)], vec!["test"], Confirmed),
            (vec![("test", F, P), ("lint", C, F)], vec!["test"], Inconclusive),
            (vec![("test", F, P), ("lint", K, F)], vec!["test"], Inconclusive),
            (vec![("test", P, F), ("slow", P, C)], vec![], Refuted),
            (vec![], vec![], Inconclusive),
            (vec![("test", P, P)], vec!["clippy"], Inconclusive),
        ] {
            assert_eq!(verdict(&rows, &goal), want, "{rows:?} {goal:?}");
        }
    }

    #[test]
    fn a_tree_that_did_not_change_is_judged_by_its_base_runs() {
        let mut report = report(&[]);
        report.same_tree = true;
        report.runs.push(run("test", Side::Base, Status::Passed));
        assert_eq!(judge(&report, &[]).verdict, Verdict::Confirmed);
    }
}
