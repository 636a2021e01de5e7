//! What of a repository's loop a person has to trust before it runs: its schedules, and the modes it declares.
//!
//! Knows what each would do, and its name in the record of trust; runs nothing. Start at [`all`].

use crate::modes::{self, Modes};
use crate::port::{Doing, Trust};
use crate::read::Read;
use board::modes::Mode;
use contract::Fault;
use serde_json::{Value, json};

/// What decides when a schedule fires and what it does to others; what a scheduler stamps is none of it.
const FIELDS: [&str; 16] = [
    "scheduleType",
    "timeInterval",
    "timeUnit",
    "selectedDays",
    "startDate",
    "startHour",
    "startMinute",
    "expirationDate",
    "expirationHour",
    "expirationMinute",
    "requireActivity",
    "taskInteraction",
    "inactivityDelay",
    "missedRuns",
    "mode",
    "taskInstructions",
];

/// What to type where something is not trusted.
pub const HINT: &str = "look at it, then: kapell trust";

/// Everything of a repository's loop that runs by itself or says what may.
pub fn all(reads: &[Read], modes: &Modes) -> Vec<Doing> {
    let schedules = reads.iter().map(|read| schedule(read, modes));
    schedules.chain(modes.0.iter().map(mode)).collect()
}

/// Why a schedule does not fire, if it does not for want of trust.
pub(crate) fn schedule_refused(
    trust: &dyn Trust,
    read: &Read,
    modes: &Modes,
) -> Result<Option<String>, Fault> {
    let known = trust.trusts(&schedule(read, modes))?;
    Ok((!known).then(|| format!("nobody trusts this schedule, or it or its mode changed: {HINT}")))
}

/// Why nothing is opened in a mode, if a project's own is not trusted.
pub(crate) fn mode_refused(trust: &dyn Trust, of: &Mode, modes: &Modes) -> Result<Option<String>, Fault> {
    let own = modes.0.iter().any(|own| own == of);
    let known = !own || trust.trusts(&mode(of))?;
    Ok((!known)
        .then(|| format!("nobody trusts the mode `{}` of this repository, or it changed: {HINT}", of.slug)))
}

fn schedule(read: &Read, modes: &Modes) -> Doing {
    let (file, slug) = (&read.file, read.file.text("mode"));
    let fields: Vec<Value> = FIELDS.iter().map(|name| json!([name, file.fields.get(*name)])).collect();
    let mode = modes.find(slug);
    let does = json!([file.id, fields, mode.as_ref().map(told)]);
    let holds = match mode.as_ref().map(modes::tools) {
        Some(Some(tools)) if tools.is_empty() => "no tools".to_owned(),
        Some(Some(_)) => groups(mode.as_ref()),
        Some(None) => "all tools".to_owned(),
        None => "there is no such mode".to_owned(),
    };
    let plain = |name: &str| match file.fields.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    let every = format!("every {} {}", plain("timeInterval"), plain("timeUnit"));
    let run = format!("{every} in mode {slug} ({holds}): {}", file.text("taskInstructions"));
    Doing { name: format!("schedule {}", file.id), run, does }
}

fn mode(mode: &Mode) -> Doing {
    let run = format!("{}: {} {}", groups(Some(mode)), mode.role, mode.instructions);
    Doing { name: format!("mode {}", mode.slug), run: run.trim_end().to_owned(), does: told(mode) }
}

fn groups(mode: Option<&Mode>) -> String {
    let groups = mode.map(|mode| mode.groups.as_slice()).unwrap_or_default();
    groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// All of a mode that its agent may or reads.
fn told(mode: &Mode) -> Value {
    let groups: Vec<Value> = mode.groups.iter().map(|group| json!([group.name, group.file_regex])).collect();
    json!([mode.slug, mode.name, mode.role, mode.instructions, groups])
}
