//! `run_validation`: what is wrong with the system, a file, the orchestrator's files or the modes.
//!
//! Start at [`run`]; one check is a line in [`Checks`].

use crate::args::Args;
use crate::report::text_of;
use crate::{Desk, Done, Stop, develop, schedule, times};
use board::{Memory, modes};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What was checked, and what was found.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    details: Vec<Value>,
    pub(crate) errors: Vec<String>,
    pub(crate) warnings: Vec<String>,
    passed: usize,
    fail_fast: bool,
}

impl Checks {
    fn is_over(&self) -> bool {
        self.fail_fast && !self.errors.is_empty()
    }

    /// One check: its name, and why it did not pass.
    fn check(&mut self, name: &str, done: Result<String, Stop>) {
        if self.is_over() {
            return;
        }
        let (status, said) = match done {
            Ok(said) => {
                self.passed += 1;
                ("passed", said)
            }
            Err(Stop::Failed(why, _) | Stop::Wrong(why)) => {
                self.errors.push(format!("{name}: {why}"));
                ("failed", why)
            }
        };
        self.details.push(json!({"check": name, "status": status, "message": said}));
    }
}

pub(crate) fn run(desk: &Desk, args: &Args) -> Done {
    let kind = args.said("validation_type");
    let mut checks = Checks { fail_fast: args.flag("fail_fast"), ..Checks::default() };
    match kind {
        "system_health" => system(desk, &mut checks),
        "file_integrity" => {
            let path = args.text("target_path").filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| Stop::failed("`file_integrity` needs `target_path`"))?;
            let options = args.object("validation_options");
            let most =
                options.and_then(|options| options.get("max_size_mb")).and_then(Value::as_u64).unwrap_or(10);
            integrity(desk, path, most, &mut checks);
        }
        "orchestrator_files" => files(desk, &mut checks),
        "modes_configuration" => configured(desk, &mut checks),
        other => {
            let known = "system_health, file_integrity, orchestrator_files or modes_configuration";
            return Err(Stop::failed(format!("unknown validation type `{other}`: {known}")));
        }
    }
    let total = checks.details.len();
    let good = checks.errors.is_empty();
    Ok(json!({
        "success": good,
        "validation_result": {
            "success": good,
            "validation_type": kind,
            "details": checks.details,
            "errors": checks.errors,
            "warnings": checks.warnings,
            "metrics": {
                "total_checks": total, "passed_checks": checks.passed, "failed_checks": total - checks.passed,
                "error_count": checks.errors.len(), "warning_count": checks.warnings.len(),
            },
        },
    }))
}

fn system(desk: &Desk, checks: &mut Checks) {
    checks.check(
        "workspace",
        desk.root.list(".").map(|all| format!("{} entries", all.len())).map_err(Stop::from),
    );
    let free = crate::status::free_bytes(desk);
    checks.check(
        "disk",
        match free {
            Some(free) if free > 64 << 20 => Ok(format!("{} MB are free", free >> 20)),
            Some(free) => Err(Stop::failed(format!("only {} MB are free", free >> 20))),
            None => Err(Stop::failed("the room on the disk cannot be read")),
        },
    );
    files(desk, checks);
}

/// Every file of the orchestrator that is there can be read as what it should be.
pub(crate) fn files(desk: &Desk, checks: &mut Checks) {
    let options = &desk.options;
    let mut optional = |name: &str, path: &str, done: Result<Option<String>, Stop>| match done {
        Ok(None) => checks.warnings.push(format!("{name}: there is no {path}")),
        Ok(Some(said)) => checks.check(name, Ok(said)),
        Err(stop) => checks.check(name, Err(stop)),
    };
    let schedules = schedule::read(desk).map(|all| all.map(|all| format!("{} schedules", all.all().len())));
    optional("schedules", &options.schedules, schedules);
    let timing = times::read(desk)
        .map(|all| all.map(|all| format!("{} rows, {} lines that are none", all.rows.len(), all.odd)));
    optional("time tracking", &options.timing, timing);
    optional("memory", &options.memory, memory(desk));
    let todo = desk.root.read_if(&options.todo).map_err(Stop::from);
    let todo = todo.map(|bytes| {
        bytes.map(|bytes| format!("{} items", board::todo::items(&String::from_utf8_lossy(&bytes)).len()))
    });
    optional("to-do", &options.todo, todo);
    let modes = develop::read(desk).map(|all| all.map(|all| format!("{} modes", all.len())));
    optional("modes", &options.modes, modes);
}

pub(crate) fn memory(desk: &Desk) -> Result<Option<String>, Stop> {
    let path = &desk.options.memory;
    let Some(bytes) = desk.root.read_if(path)? else { return Ok(None) };
    let memory = Memory::parse(&text_of(path, bytes)?);
    if !memory.is_well_formed() {
        let wanted = board::memory::SECTIONS.join("`, `");
        return Err(Stop::failed(format!("its sections are not `{wanted}`, in this order")));
    }
    let (lines, most) = (memory.lines(), desk.options.memory_lines);
    match lines > most {
        true => Err(Stop::failed(format!("{lines} lines, and may have {most}"))),
        false => Ok(Some(format!("{lines} of {most} lines"))),
    }
}

fn integrity(desk: &Desk, path: &str, most_mb: u64, checks: &mut Checks) {
    let bytes = desk.root.read(path);
    let size = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
    checks.check(
        "readable",
        bytes.as_ref().map(|_| format!("{size} bytes")).map_err(|fault| fault.clone().into()),
    );
    let Ok(bytes) = bytes else { return };
    checks.check(
        "size",
        match size <= most_mb << 20 {
            true => Ok(format!("at most {most_mb} MB")),
            false => Err(Stop::failed(format!("{size} bytes, more than {most_mb} MB"))),
        },
    );
    let lower = path.to_lowercase();
    if lower.ends_with(".json") {
        let read = serde_json::from_slice::<Value>(&bytes);
        checks
            .check("JSON", read.map(|_| "it is".to_owned()).map_err(|error| Stop::failed(error.to_string())));
    } else if bytes.contains(&0) {
        checks.warnings.push("it is binary".into());
    } else {
        let text = std::str::from_utf8(&bytes).map(|_| "UTF-8".to_owned());
        checks.check(
            "text",
            text.map_err(|error| Stop::failed(format!("not UTF-8 from byte {}", error.valid_up_to()))),
        );
    }
}

fn configured(desk: &Desk, checks: &mut Checks) {
    const GROUPS: [&str; 5] = ["read", "edit", "browser", "command", "mcp"];
    let path = &desk.options.modes;
    let all =
        develop::read(desk).and_then(|all| all.ok_or_else(|| Stop::failed(format!("there is no {path}"))));
    checks.check("file", all.as_ref().map(|all| format!("{} modes", all.len())).map_err(again));
    let Ok(all) = all else { return };
    let mut slugs = BTreeSet::new();
    let twice: Vec<&str> =
        all.iter().map(|mode| mode.slug.as_str()).filter(|slug| !slugs.insert(*slug)).collect();
    checks.check("unique", none(&twice, "slugs stand twice"));
    let bare: Vec<&str> =
        all.iter().filter(|m| m.name.is_empty() || m.role.is_empty()).map(|m| m.slug.as_str()).collect();
    checks.check("complete", none(&bare, "modes have no name or no role"));
    let odd: BTreeSet<&str> = all
        .iter()
        .flat_map(|mode| &mode.groups)
        .map(|group| group.name.as_str())
        .filter(|name| !GROUPS.contains(name))
        .collect();
    checks.check("groups", none(&odd.into_iter().collect::<Vec<_>>(), "groups are unknown"));
    for (slug, by) in modes::dangling(&all) {
        checks.warnings.push(format!("`{slug}` is named by {} and is no mode", by.join(", ")));
    }
}

fn none(found: &[&str], what: &str) -> Result<String, Stop> {
    if found.is_empty() {
        Ok("they are".into())
    } else {
        Err(Stop::failed(format!("{what}: {}", found.join(", "))))
    }
}

fn again(stop: &Stop) -> Stop {
    match stop {
        Stop::Failed(why, _) | Stop::Wrong(why) => Stop::failed(why.clone()),
    }
}
