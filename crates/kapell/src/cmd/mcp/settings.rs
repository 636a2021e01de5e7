//! Where the twenty tools find their files: the usual names, or what the old server's variables say.
//!
//! The variables have no prefix (`WORKSPACE_PATH`), so they count only where that server is asked for. Start at [`read`].

use crate::app::{App, variable};
use crate::exit::Failure;
use desk::Options;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Values of the environment above those of a `.env` file; names in any case.
struct Values(BTreeMap<String, String>);

impl Values {
    fn read(app: &App) -> Self {
        let text = std::fs::read_to_string(app.cwd.join(".env")).unwrap_or_default();
        let line = |line: &str| {
            let (name, value) = line.trim().trim_start_matches("export ").split_once('=')?;
            let value = value.trim().trim_matches(['"', '\'']);
            (!name.starts_with('#')).then(|| (name.trim().to_uppercase(), value.to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn get(&self, name: &str) -> Option<String> {
        let found = variable(name).or_else(|| variable(&name.to_lowercase()));
        found.or_else(|| self.0.get(name).cloned()).filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str, from: u64, to: u64) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (from..=to).contains(number));
        number.map(Some).ok_or_else(|| {
            let what = format!("{name} is between {from} and {to}, not `{text}`");
            Failure::usage("bad-variable", what, format!("unset {name}, or set it to a number in that span"))
        })
    }
}

/// The options of the twenty tools.
pub(super) fn read(app: &App, compat: bool) -> Result<Options, Failure> {
    let mut options = Options::new(app.cwd.clone());
    if !compat {
        return Ok(options);
    }
    let values = Values::read(app);
    if let Some(path) = values.get("WORKSPACE_PATH") {
        options.workspace = PathBuf::from(path);
    }
    for (name, slot) in [
        ("SCHEDULES_FILE", &mut options.schedules),
        ("TASK_TIMING_FILE", &mut options.timing),
        ("PERSISTENT_MEMORY_FILE", &mut options.memory),
        ("TODO_FILE", &mut options.todo),
        ("MODES_FILE", &mut options.modes),
        ("BACKUPS_DIR", &mut options.backups),
    ] {
        if let Some(value) = values.get(name) {
            *slot = value;
        }
    }
    if let Some(lines) = values.number("PERSISTENT_MEMORY_MAX_LINES", 100, 1000)? {
        options.memory_lines = usize::try_from(lines).unwrap_or(usize::MAX);
    }
    if let Some(limit) = values.number("COMMAND_FAILURE_LIMIT", 1, 10)? {
        options.failure_limit = limit;
    }
    if let Some(backup) = values.get("BACKUP_BEFORE_MODIFY") {
        options.backup = !matches!(backup.to_lowercase().as_str(), "false" | "0" | "no" | "off");
    }
    Ok(options)
}
