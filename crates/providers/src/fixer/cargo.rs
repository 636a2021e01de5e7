//! The program for Rust projects: look, apply what can be applied, verify, say what is left.
//!
//! Knows the checks of a Cargo project; trying and undoing is the workbench's. Start at [`turn`].

use super::attempt::{Aim, Bench, Commands, Memory, State};
use super::diag::{Advice, Diag, Place, Trust, offset};
use super::goal::{Check, Goal};
use super::patch::{Fix, Part, Texts, compatible, whole_lines};
use super::replay::{Pause, Talk};
use super::{rules, wire};
use contract::limits;
use std::collections::BTreeSet;
use std::ops::Range;

/// Linter and tests when the instructions list none.
const LINT: &str = "cargo clippy --all-targets";
const TEST: &str = "cargo test --no-fail-fast";
/// Takes out of the JSON what is there twice (the text for people, the source lines) and folds what
/// is still too long for a line of the read tool.
const SHORTEN: &str = r#"sed -E 's/"rendered":"([^"\\]|\\.)*",//g; s/,"text":\[(\{[^{}"]*("([^"\\]|\\.)*"[^{}"]*)*\},?)*\]//g' | fold -w 1900"#;
const FORMAT_CHECK: &str = "cargo fmt --check";
const FORMAT: &str = "cargo fmt";
/// Findings named in the last word.
const NAMED: usize = 8;

/// One turn over a Cargo project.
pub(super) fn turn(
    talk: &mut Talk<'_>,
    goal: Goal,
    checks: &[Check],
    memory: &mut Memory,
) -> Result<(), Pause> {
    let mut bench = Bench::new(talk, memory, commands(checks));
    if bench.memory.base.is_none() {
        let formatted =
            bench.ask("Is the code formatted?", vec![wire::shell(FORMAT_CHECK, limits::TOOL_MS)])?;
        bench.memory.formatted = formatted[0].ok;
    }
    let mut best = bench.measure("Running the checks.")?;
    bench.memory.base.get_or_insert_with(|| best.clone());
    if best.unread.is_empty() && (goal.lint || goal.build || goal.test) {
        while !bench.spent() && !reached(goal, &best) {
            let fixes = candidates(&mut bench, goal, &best)?;
            if fixes.is_empty() {
                break;
            }
            let broken = best.findings.diags.iter().any(|diag| diag.hard);
            let aim = if goal.lint || broken { Aim::Findings } else { Aim::Tests };
            best = bench.try_all(best, fixes, aim)?;
        }
    }
    let formatted = format(&mut bench, goal)?;
    let (done, summary) = last_word(&bench, goal, &best, formatted);
    bench.ask("", vec![wire::finish(done, &summary)])?;
    Ok(())
}

/// The project's own commands where they are plain, so that features and targets are the same. The
/// tests' command is taken word for word: what a project declares, Kapell knows to be confined.
fn commands(checks: &[Check]) -> Commands {
    let own = |start: &str| {
        let plain =
            |run: &&str| run.starts_with(start) && !run.contains(['|', ';', '&', '<', '>', '$', '`', '\n']);
        checks.iter().map(|check| check.run.as_str()).find(plain)
    };
    let run = own("cargo clippy").unwrap_or(LINT);
    let (cargo, rest) = run.split_once(" -- ").unwrap_or((run, ""));
    // Warnings stay warnings: denied ones would hide what comes after them.
    let rest = rest.replace("-D warnings", "").replace("-D ", "-W ");
    let rest = if rest.trim().is_empty() { String::new() } else { format!(" -- {}", rest.trim()) };
    Commands {
        lint: format!("{cargo} --keep-going --message-format=json{rest} 2>&1 | {SHORTEN}"),
        test: own("cargo test").unwrap_or(TEST).to_owned(),
    }
}

/// True when nothing of the goal is left.
fn reached(goal: Goal, state: &State) -> bool {
    let findings = &state.findings;
    let lint = !goal.lint || findings.diags.is_empty();
    let build = !goal.build || findings.diags.iter().all(|diag| !diag.hard);
    lint && build && (!goal.test || state.tests.green()) && findings.foreign.is_empty()
}

/// The next changes worth trying: what is sure first; then, one finding one try, what may be wrong.
fn candidates(bench: &mut Bench<'_, '_>, goal: Goal, state: &State) -> Result<Vec<Fix>, Pause> {
    let broken = state.findings.diags.iter().any(|diag| diag.hard);
    let hints = goal.lint || (goal.test && !state.tests.green() && !broken);
    let diags: Vec<&Diag> = state.findings.diags.iter().filter(|diag| hints || diag.hard).collect();
    let files = diags.iter().flat_map(|diag| {
        let advised = diag.advice.iter().flat_map(|advice| &advice.parts).map(|(place, _)| &place.file);
        advised.chain(diag.at.as_ref().map(|at| &at.file)).cloned()
    });
    let mut files: BTreeSet<String> = files.collect();
    files.insert(rules::MANIFEST.into());
    bench.read(files)?;
    let more = diags.iter().flat_map(|diag| rules::also_needed(diag, &bench.texts)).collect();
    bench.read(more)?;
    read_for_names(bench, &diags)?;
    let fresh = |fixes: Vec<Fix>, bench: &Bench<'_, '_>| {
        let fresh = |fix: &Fix| !bench.memory.tried.contains(&fix.key(&bench.texts));
        compatible(fixes.into_iter().filter(fresh).collect())
    };
    let advised = |trust: Trust, texts: &Texts| -> Vec<Fix> {
        diags.iter().flat_map(|diag| advice(diag, trust, texts)).collect()
    };
    let mut sure: Vec<Fix> = advised(Trust::Machine, &bench.texts);
    sure.extend(rules::answers(&diags, &bench.texts));
    let sure = fresh(sure, bench);
    if !sure.is_empty() {
        return Ok(sure);
    }
    Ok(fresh(advised(Trust::Maybe, &bench.texts), bench))
}

/// The compiler's advice of this trust as fixes, in its order.
fn advice(diag: &Diag, trust: Trust, texts: &Texts) -> Vec<Fix> {
    if rules::is_name_shape(diag) || rules::depends_on_configuration(diag, texts) {
        return Vec::new();
    }
    let part = |(place, new): &(Place, String)| {
        let text = texts.get(&place.file)?;
        let (start, end) = (offset(text, place.start)?, offset(text, place.end)?);
        if start > end || silences(text, start..end, new) {
            return None;
        }
        // What leaves an empty line behind takes the line with it.
        let range =
            if new.is_empty() && start < end { rules::with_line(text, start..end) } else { start..end };
        Some(Part { file: place.file.clone(), at: (range.start, range.end), new: new.clone() })
    };
    // Of the two ways to compare fat pointers only this one compares what was compared before.
    let keeps = |advice: &&Advice| {
        diag.code != "ambiguous_wide_pointer_comparisons"
            || advice.parts.iter().any(|(_, new)| new.contains("ptr::eq"))
    };
    let advice = diag.advice.iter().filter(|advice| advice.trust == trust).filter(keeps);
    let parts = advice.filter_map(|advice| advice.parts.iter().map(part).collect::<Option<Vec<_>>>());
    parts.filter_map(|parts| Fix::new(&diag.code, parts, texts)).collect()
}

/// Advice that would make a finding invisible instead of mending it. An `allow` that stands there
/// already may be written another way, but not for more than it was.
fn silences(text: &str, range: Range<usize>, new: &str) -> bool {
    let lines = whole_lines(text, range.clone());
    let before = &text[lines.clone()];
    let after = format!("{}{new}{}", &text[lines.start..range.start], &text[range.end..lines.end]);
    let more = |word: &str| after.matches(word).count() > before.matches(word).count();
    let wider = more("#![allow(") && !before.contains("cfg_attr(");
    wider || ["allow(", "#[expect(", "#[ignore", "let _ ="].into_iter().any(more)
}

/// Names to be changed are looked up in the whole project first.
fn read_for_names(bench: &mut Bench<'_, '_>, diags: &[&Diag]) -> Result<(), Pause> {
    let names: BTreeSet<&str> = diags.iter().filter_map(|diag| rules::old_name(diag, &bench.texts)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let calls = names.iter().map(|name| wire::search_word(name)).take(limits::CALLS_PER_MESSAGE).collect();
    let answers = bench.talk.ask("Looking where these names are used.", calls)?;
    let mut files: BTreeSet<String> = answers.iter().flat_map(wire::found_files).collect();
    files.retain(|file| file.ends_with(".rs"));
    files.extend(["src/lib.rs".into(), "src/main.rs".into()]);
    bench.read(files)
}

/// Formats when that is asked for, or when the code was formatted and would not be any more.
fn format(bench: &mut Bench<'_, '_>, goal: Goal) -> Result<bool, Pause> {
    if !goal.format && !bench.memory.formatted {
        // Files may still have to be put right.
        bench.ask("Putting the files right.", Vec::new())?;
        return Ok(false);
    }
    let calls = vec![wire::shell(FORMAT, limits::TOOL_MS), wire::shell(FORMAT_CHECK, limits::TOOL_MS)];
    let answers = bench.ask("Formatting.", calls)?;
    bench.forget();
    Ok(answers[1].ok)
}

/// Is it done, and the sentence that says how it stands.
fn last_word(bench: &Bench<'_, '_>, goal: Goal, state: &State, formatted: bool) -> (bool, String) {
    let base = bench.memory.base.as_ref().unwrap_or(state);
    if !state.unread.is_empty() {
        let said: Vec<&str> =
            state.unread.lines().filter(|line| line.starts_with("error")).take(NAMED).collect();
        return (false, format!("`{}` could not do its work: {}", bench.commands.lint, said.join("; ")));
    }
    let (was, is) = (base.findings.diags.len(), state.findings.diags.len());
    let mut summary = format!("Findings: {was} before, {is} now; {}.", state.tests.line());
    let worse = state.tests.worse_than(&base.tests);
    let done = reached(goal, state) && (!goal.format || formatted) && !worse;
    if done {
        return (true, summary);
    }
    for (file, why) in &bench.refused {
        summary.push_str(&format!(" `{file}` could not be changed: {why}."));
    }
    if bench.spent() {
        summary.push_str(" This turn has no actions left to try more.");
    }
    if !state.findings.foreign.is_empty() {
        let foreign = state.findings.foreign.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        summary.push_str(&format!(" Dependencies that do not compile: {foreign}."));
    }
    if goal.format && !formatted {
        summary.push_str(" rustfmt could not format all files.");
    }
    if !state.tests.failed.is_empty() {
        let failed: Vec<&str> = state.tests.failed.iter().take(NAMED).map(String::as_str).collect();
        summary.push_str(&format!(" Failing tests: {}.", failed.join(", ")));
    }
    if is > 0 {
        let lines: Vec<String> =
            state.findings.diags.iter().take(NAMED).map(|d| format!("- {}", d.line())).collect();
        let more = if is > NAMED { format!("\n- and {} more", is - NAMED) } else { String::new() };
        summary.push_str(&format!(
            "\nWhat remains has no advice that can be applied and verified; it takes a language model or a person:\n{}{more}",
            lines.join("\n")
        ));
    }
    (false, summary)
}
