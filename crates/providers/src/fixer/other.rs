//! The program for projects it has no rules for: runs the checks and says what they say.
//!
//! Knows the checks the instructions list, nothing of what they check. Start at [`turn`].

use super::goal::Check;
use super::replay::{Pause, Talk};
use super::wire;
use contract::limits;

/// Lines of a failed check's output repeated in the last word.
const TAIL_LINES: usize = 12;

/// One turn: run the checks, say which of them fail.
pub(super) fn turn(talk: &mut Talk<'_>, checks: &[Check]) -> Result<(), Pause> {
    if checks.is_empty() {
        let summary = "There is neither a Cargo.toml nor a check, so there is nothing to go by; what to do takes a language model.";
        talk.ask("", vec![wire::finish(false, summary)])?;
        return Ok(());
    }
    let calls = checks
        .iter()
        .take(limits::CALLS_PER_MESSAGE)
        .map(|check| wire::shell(&check.run, limits::TOOL_MAX_MS));
    let answers = talk.ask("Running the checks.", calls.collect())?;
    let failed: Vec<_> = checks.iter().zip(&answers).filter(|(_, answer)| !answer.ok).collect();
    let summary = match failed.first() {
        None => "All checks pass; nothing was changed.".to_owned(),
        Some((check, answer)) => {
            let names: Vec<&str> = failed.iter().map(|(check, _)| check.name.as_str()).collect();
            let lines: Vec<&str> = answer.text.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            format!(
                "Failing: {}. This project has no rules here, so mending it takes a language model. The end of `{}`:\n{tail}",
                names.join(", "),
                check.run
            )
        }
    };
    talk.ask("", vec![wire::finish(failed.is_empty(), &summary)])?;
    Ok(())
}
