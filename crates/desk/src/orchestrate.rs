//! `get_persistent_memory`, `update_persistent_memory`, `get_todo_status`, `delegate_task`.
//!
//! Start at [`memory`].

use crate::args::Args;
use crate::change::How;
use crate::report::{cut, pattern, text_of};
use crate::{Desk, Done, Stop, Task};
use board::memory::{Entry, SECTIONS};
use board::{Memory, todo, when};
use regex::Regex;
use serde_json::{Map, Value, json};

/// The mode that notes of this server are by.
const NOTED_BY: &str = "mcp-server";
/// Seconds a task is expected to take, unless somebody knows better.
const ESTIMATE: u64 = 1800;
/// Characters of a task in a note.
const TASK: usize = 500;

/// Words of a task and the mode they mean; the first that fits.
const MODES: &[(&[&str], &str)] = &[
    (&["security", "auth", "vulnerab", "protect"], "implementation-security"),
    (&["performance", "optimize", "speed", "efficient"], "implementation-performance"),
    (&["feature", "implement", "develop", "add"], "implementation-features"),
    (&["validate", "test", "check", "analyze"], "validation-static"),
    (&["deploy", "release", "production"], "integration-deploy"),
];
const OTHER_MODE: &str = "implementation-core";

pub(crate) fn memory(desk: &Desk, args: &Args) -> Done {
    let wanted = wanted(args)?;
    let bytes = desk.root.read_if(&desk.options.memory)?.ok_or_else(|| {
        Stop::failed(format!("there is no {}: `update_persistent_memory` makes it", desk.options.memory))
    })?;
    let memory = Memory::parse(&text_of(&desk.options.memory, bytes)?);
    let named = args.text("section");
    let in_section = |title: &str| named.is_none_or(|named| named == title);
    let fits = |text: &str| wanted.as_ref().is_none_or(|wanted| wanted.is_match(text));
    let sections: Map<String, Value> = memory
        .sections()
        .into_iter()
        .filter(|section| in_section(&section.title) && (fits(&section.title) || fits(&section.body)))
        .map(|section| (section.title, section.body.into()))
        .collect();
    let shown: Vec<Entry> =
        memory.entries().into_iter().filter(|entry| sections.contains_key(&entry.section)).collect();
    let entries: Vec<Value> = shown.iter().map(structured).collect();
    Ok(json!({
        "total_sections": sections.len(),
        "total_entries": entries.len(),
        "sections": sections,
        "structured_entries": if args.flag("include_metadata") { Value::Array(entries) } else { Value::Null },
        "performance_info": {"lines": memory.lines(), "max_lines": desk.options.memory_lines},
    }))
}

fn structured(entry: &Entry) -> Value {
    json!({
        "timestamp": entry.timestamp, "mode": entry.mode, "category": entry.category, "section": entry.section,
        "finding": entry.get("Finding"), "command": entry.get("Command"), "achievement": entry.get("Achievement"),
        "insight": entry.get("Insight"), "coordination": entry.get("Coordination"), "content": entry.content,
    })
}

pub(crate) fn note(desk: &Desk, args: &Args) -> Done {
    let (section, content) = (args.said("section"), args.said("content"));
    if content.trim().is_empty() {
        return Err(Stop::failed("`content` is empty: there is nothing to note"));
    }
    let category = args.text("category").filter(|category| !category.trim().is_empty()).unwrap_or("general");
    let noted =
        noted(desk, "update_persistent_memory", section, category, content, args.flag("format_entry"))?;
    let mut reply = json!({
        "section": section, "category": category, "line_count": noted.lines, "backup_created": noted.backup,
    });
    if let Some(archive) = noted.archive {
        reply["archived_entries"] = noted.archived.into();
        reply["archive_file"] = archive.into();
    }
    Ok(reply)
}

/// What noting came to.
struct Noted {
    lines: usize,
    backup: bool,
    archived: usize,
    archive: Option<String>,
}

/// Adds to the memory. The oldest entries are put aside where it would become too long.
fn noted(
    desk: &Desk,
    tool: &str,
    section: &str,
    category: &str,
    content: &str,
    format: bool,
) -> Result<Noted, Stop> {
    let guard = desk.locked()?;
    let path = &desk.options.memory;
    let mut memory = match desk.root.read_if(path)? {
        Some(bytes) => Memory::parse(&text_of(path, bytes)?),
        None => Memory::none(),
    };
    match format {
        true => memory.add(section, &when::written_ms(desk.now()), NOTED_BY, category, content)?,
        false => memory.add_raw(section, content)?,
    }
    let most = desk.options.memory_lines;
    let archived = memory.make_room(most);
    let lines = memory.lines();
    if lines > most {
        let what =
            format!("{path} would have {lines} lines, and may have {most}; no entry is left to put aside");
        return Err(Stop::failed(what).with("current_lines", lines).with("max_lines", most));
    }
    let archive = match archived.is_empty() {
        true => None,
        false => Some(desk.copied(&format!("{path}.archived"), archived.concat().as_bytes())?),
    };
    let changed = desk.change(&guard, tool, path, How::Replace(memory.text().as_bytes()), true)?;
    Ok(Noted { lines, backup: changed.backup.is_some(), archived: archived.len(), archive })
}

/// The same for tools that do other things besides: what could not be noted is told, and not their failure.
pub(crate) fn remark(desk: &Desk, tool: &str, category: &str, content: &str) -> Result<(), String> {
    match noted(desk, tool, SECTIONS[2], category, content, true) {
        Ok(_) => Ok(()),
        Err(Stop::Failed(why, _) | Stop::Wrong(why)) => Err(why),
    }
}

pub(crate) fn todo(desk: &Desk, args: &Args) -> Done {
    let wanted = wanted(args)?;
    let path = &desk.options.todo;
    let bytes = desk.root.read_if(path)?.ok_or_else(|| Stop::failed(format!("there is no {path}")))?;
    let text = String::from_utf8_lossy(&bytes);
    let all = args.flag("include_completed");
    let fits = |item: &todo::Item| wanted.as_ref().is_none_or(|wanted| wanted.is_match(&item.text));
    let items: Vec<todo::Item> =
        todo::items(&text).into_iter().filter(|item| (all || !item.completed) && fits(item)).collect();
    let completed = items.iter().filter(|item| item.completed).count();
    let rate = if items.is_empty() { 0.0 } else { completed as f64 * 100.0 / items.len() as f64 };
    let shown = |item: &todo::Item| json!({"text": item.text, "completed": item.completed, "section": item.section, "line": item.line});
    Ok(json!({
        "total_todos": items.len(),
        "completed_todos": completed,
        "pending_todos": items.len() - completed,
        "completion_rate": (rate * 100.0).round() / 100.0,
        "todos": items.iter().map(shown).collect::<Vec<_>>(),
    }))
}

fn wanted(args: &Args) -> Result<Option<Regex>, Stop> {
    let text = args.text("search_pattern").filter(|text| !text.is_empty());
    text.map(|text| pattern(text, false)).transpose()
}

/// The mode whose words the task has.
fn mode_for(task: &str) -> &'static str {
    let task = task.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| task.contains(word));
    MODES.iter().find(|(words, _)| has(words)).map_or(OTHER_MODE, |(_, mode)| mode)
}

pub(crate) fn delegate(desk: &Desk, args: &Args) -> Done {
    let task = args.said("task_description");
    if task.trim().is_empty() {
        return Err(Stop::failed("`task_description` is empty: there is nothing to delegate"));
    }
    let mode = args.text("target_mode").filter(|mode| !mode.is_empty()).unwrap_or_else(|| mode_for(task));
    let id = format!("task_{}", desk.now());
    let at = when::written(desk.now());
    let text = handed(task, args);
    let modes = crate::develop::read(desk).ok().flatten().unwrap_or_default();
    let handed = Task { id: &id, text: &text, mode, priority: args.said("priority"), modes };
    let mut warnings = Vec::new();
    let session = desk.record.delegate(handed).unwrap_or_else(|fault| {
        warnings.push(format!("nobody will work on it: {}", fault.what));
        None
    });
    let said = format!("Coordination: task {id} for {mode} ({}): {}", args.said("priority"), cut(task, TASK));
    let mut reply = json!({
        "task_id": id,
        "mode_assigned": mode,
        "estimated_duration": ESTIMATE,
        "delegation_timestamp": at,
        "status": "pending",
        "request": {
            "task_description": task,
            "target_mode": mode,
            "priority": args.said("priority"),
            "context": args.value("context"),
            "requirements": args.value("requirements"),
            "deadline": args.text("deadline"),
            "timestamp": at,
        },
    });
    if let Some(session) = session {
        reply["session_id"] = session.to_string().into();
    }
    if let Err(why) = remark(desk, "delegate_task", "task-delegation", &said) {
        warnings.push(format!("not noted in the memory: {why}"));
    }
    if !warnings.is_empty() {
        reply["warnings"] = warnings.into();
    }
    Ok(reply)
}

/// The task with what was said besides, as whoever works on it reads it.
fn handed(task: &str, args: &Args) -> String {
    let mut text = task.trim().to_owned();
    for (name, heading) in
        [("context", "Context"), ("requirements", "Requirements"), ("deadline", "Deadline")]
    {
        let said = match args.value(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(said)) => said.clone(),
            Some(Value::Array(list)) => {
                let item = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
                list.iter().map(|one| format!("- {}\n", item(one))).collect()
            }
            Some(other) => serde_json::to_string_pretty(other).unwrap_or_default(),
        };
        if !said.trim().is_empty() {
            text.push_str(&format!("\n\n{heading}:\n{}", said.trim_end()));
        }
    }
    text
}
