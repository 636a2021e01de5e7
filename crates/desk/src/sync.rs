//! `sync_environment`: can everything be read, and what changed since it was looked at last?
//!
//! Start at [`sync`].

use crate::args::Args;
use crate::validate::{self, Checks};
use crate::{Desk, Done, Stop, develop};
use contract::Digest;
use serde_json::{Map, Value, json};

pub(crate) fn sync(desk: &Desk, args: &Args) -> Done {
    let kind = args.said("sync_type");
    let parts: &[&str] = match kind {
        "full" => &["file_system", "configuration", "modes"],
        "files" => &["file_system"],
        "config" => &["configuration"],
        "modes" => &["modes"],
        other => {
            return Err(Stop::failed(format!("unknown sync type `{other}`: full, files, config or modes")));
        }
    };
    let wanted = args.texts("target_components");
    let mut errors: Vec<String> = Vec::new();
    let mut results = Map::new();
    for part in parts.iter().filter(|part| wanted.is_empty() || wanted.iter().any(|wanted| wanted == *part)) {
        let (found, value) = match *part {
            "file_system" => file_system(desk),
            "configuration" => configuration(desk),
            _ => modes(desk),
        };
        let mut value = value;
        value["success"] = found.is_empty().into();
        errors.extend(found);
        results.insert((*part).to_owned(), value);
    }
    let verification = args
        .flag("verify_sync")
        .then(|| json!({"verified": errors.is_empty(), "components": results.keys().collect::<Vec<_>>()}));
    Ok(json!({
        "success": errors.is_empty(),
        "sync_type": kind,
        "sync_results": results,
        "verification": verification,
        "errors": errors,
    }))
}

/// Files that are there can be read and parsed; their digests tell of a change.
fn file_system(desk: &Desk) -> (Vec<String>, Value) {
    let mut checks = Checks::default();
    validate::files(desk, &mut checks);
    let options = &desk.options;
    let keys = [&options.schedules, &options.timing, &options.memory, &options.todo, &options.modes];
    let digests: Map<String, Value> = keys
        .into_iter()
        .filter_map(|path| Some((path.clone(), desk.root.read(path).ok()?)))
        .map(|(path, bytes)| (path, Digest::of(&bytes).to_string().into()))
        .collect();
    let head =
        desk.root.read(".git/HEAD").ok().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    (checks.errors, json!({"files": digests, "warnings": checks.warnings, "version_control": head}))
}

fn configuration(desk: &Desk) -> (Vec<String>, Value) {
    let options = &desk.options;
    let mut errors = Vec::new();
    for (name, path) in [("SCHEDULES_FILE", &options.schedules), ("BACKUPS_DIR", &options.backups)] {
        if let Err(fault) = desk.root.relative(path) {
            errors.push(format!("{name}: {}", fault.what));
        }
    }
    let value = json!({
        "workspace": desk.root.path().display().to_string(),
        "persistent_memory_max_lines": options.memory_lines,
        "command_failure_limit": options.failure_limit,
        "backup_before_modify": options.backup,
    });
    (errors, value)
}

fn modes(desk: &Desk) -> (Vec<String>, Value) {
    match develop::read(desk) {
        Ok(Some(modes)) => (Vec::new(), json!({"modes": modes.len()})),
        // A workspace without modes is in order.
        Ok(None) => (Vec::new(), json!({"modes": 0, "note": format!("there is no {}", desk.options.modes)})),
        Err(Stop::Failed(why, _) | Stop::Wrong(why)) => (vec![why], json!({})),
    }
}
