//! `sync_environment`: can everything be read, and what changed since it was looked at last?
//!
//! Start at [`sync`].

use crate::args::Args;
use crate::validate::{self, Checks};
use crate::{Desk, Done, Stop, develop};
use contract::Digest;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What whoever works in the directory relies on, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// Digests of the shared files that are there, by path.
    pub files: BTreeMap<String, Digest>,
    /// The commit that is checked out; empty: none, or it cannot be told.
    pub head: String,
    /// What is wrong, one sentence each: a file that cannot be read or is not of its form, modes that are none.
    pub wrong: Vec<String>,
}

impl Desk {
    /// Looks at the shared files and the commit. Changes nothing.
    pub fn surroundings(&self) -> Surroundings {
        let mut checks = Checks::default();
        validate::files(self, &mut checks);
        let (configured, _) = configuration(self);
        let wrong = checks.errors.into_iter().chain(configured).collect();
        Surroundings { files: digests(self), head: checked_out(self).unwrap_or_default(), wrong }
    }
}

/// The shared files that can be read.
fn digests(desk: &Desk) -> BTreeMap<String, Digest> {
    let options = &desk.options;
    let paths = [&options.schedules, &options.timing, &options.memory, &options.todo, &options.modes];
    let digest = |path: &String| Some((path.clone(), Digest::of(&desk.root.read(path).ok()?)));
    paths.into_iter().filter_map(digest).collect()
}

/// The commit that `HEAD` leads to, by git's files.
fn checked_out(desk: &Desk) -> Option<String> {
    let text = |path: &str| Some(String::from_utf8_lossy(&desk.root.read(path).ok()?).trim().to_owned());
    let head = text(".git/HEAD")?;
    let Some(name) = head.strip_prefix("ref: ") else { return Some(head) };
    let packed = || {
        let refs = text(".git/packed-refs")?;
        let found = refs.lines().filter_map(|line| line.split_once(' ')).find(|(_, of)| *of == name);
        found.map(|(commit, _)| commit.to_owned())
    };
    text(&format!(".git/{name}")).or_else(packed)
}

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
    let digests: Map<String, Value> =
        digests(desk).into_iter().map(|(path, digest)| (path, digest.to_string().into())).collect();
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
