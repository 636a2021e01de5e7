//! `track_task_time` and `get_time_tracking`.
//!
//! A stop is a row of its own: what was acknowledged stays as it was written. Start at [`track`].

use crate::args::Args;
use crate::change::How;
use crate::{Desk, Done, Stop};
use board::timing::{COLUMNS, Row};
use board::{Timing, when};
use serde_json::{Map, Value, json};

/// Milliseconds of a day, less one.
const DAY_END: i64 = 86_400_000 - 1;
/// The mode of whoever names none.
const NO_MODE: &str = "unknown";

pub(crate) fn track(desk: &Desk, args: &Args) -> Done {
    let (task, priority) = (args.said("task_description"), args.said("priority"));
    let (mode, id) = (args.text("mode"), args.text("task_id").filter(|id| !id.is_empty()));
    match args.flag("start_tracking") {
        true => start(desk, task, mode.unwrap_or(NO_MODE), priority, id),
        false => stop(desk, task, mode, id),
    }
}

pub(crate) fn start(desk: &Desk, task: &str, mode: &str, priority: &str, id: Option<&str>) -> Done {
    let guard = desk.locked()?;
    let all = read(desk)?.unwrap_or_else(|| Timing::parse(b""));
    let id = id.map_or_else(|| all.fresh_id(desk.now()), str::to_owned);
    let now = when::written(desk.now());
    let row = [&now, mode, &id, &now, "", "", task, "started", priority].map(str::to_owned);
    let text = all.appended(&row);
    desk.change(&guard, "track_task_time", &desk.options.timing, How::Append(text.as_bytes()), false)?;
    Ok(
        json!({"action": "start", "task_id": id, "task_description": task, "mode": mode, "priority": priority}),
    )
}

fn stop(desk: &Desk, task: &str, mode: Option<&str>, id: Option<&str>) -> Done {
    let guard = desk.locked()?;
    let id =
        id.ok_or_else(|| Stop::failed("to stop a task its `task_id` is needed, as the start told it"))?;
    let all = read(desk)?.unwrap_or_else(|| Timing::parse(b""));
    let Some(running) = all.running(id) else {
        return Err(Stop::failed(format!("no task {id} is running")).with("task_id", id));
    };
    let began = when::read(running.get("start_time")).unwrap_or_else(|| desk.now());
    let duration = u64::try_from(desk.now().saturating_sub(began)).unwrap_or(0) / 1000;
    let now = when::written(desk.now());
    let (mode, priority) = (mode.unwrap_or(running.get("mode")), running.get("priority"));
    let seconds = duration.to_string();
    let start = running.get("start_time");
    let row = [&now, mode, id, start, &now, &seconds, task, "completed", priority].map(str::to_owned);
    let text = all.appended(&row);
    desk.change(&guard, "track_task_time", &desk.options.timing, How::Append(text.as_bytes()), false)?;
    Ok(json!({
        "action": "stop", "task_id": id, "task_description": task, "mode": mode, "priority": priority,
        "duration": duration,
    }))
}

/// The rows; `None` where there is no file.
pub(crate) fn read(desk: &Desk) -> Result<Option<Timing>, Stop> {
    Ok(desk.root.read_if(&desk.options.timing)?.map(|bytes| Timing::parse(&bytes)))
}

pub(crate) fn report(desk: &Desk, args: &Args) -> Done {
    let from = moment(args, "start_date", 0)?;
    let to = moment(args, "end_date", DAY_END)?;
    let all = read(desk)?.ok_or_else(|| {
        Stop::failed(format!("there is no {}: `track_task_time` makes it", desk.options.timing))
    })?;
    let (mode, priority) = (args.text("filter_mode"), args.text("filter_priority"));
    let mut undated = 0;
    let mut kept: Vec<&Row> = Vec::new();
    for row in &all.rows {
        let fits = mode.is_none_or(|mode| row.get("mode") == mode)
            && priority.is_none_or(|priority| row.get("priority") == priority);
        if !fits {
            continue;
        }
        // A row that does not say when is in no span of time, and said to be left out.
        match row.at() {
            None if from.is_some() || to.is_some() => undated += 1,
            Some(at) if from.is_some_and(|from| at < from) || to.is_some_and(|to| at > to) => {}
            _ => kept.push(row),
        }
    }
    if let Some(limit) = args.whole("limit") {
        kept.drain(..kept.len().saturating_sub(limit));
    }
    let timed: Vec<u64> = kept.iter().filter_map(|row| row.duration()).collect();
    let total: u64 = timed.iter().sum();
    let mean = if timed.is_empty() { 0.0 } else { total as f64 / timed.len() as f64 };
    let modes: Map<String, Value> = Timing::by_mode(kept.iter().copied())
        .into_iter()
        .map(|(mode, of)| {
            (mode, json!({"count": of.count, "total_duration": of.seconds, "completed": of.completed}))
        })
        .collect();
    let mut reply = json!({
        "total_entries": all.rows.len(),
        "filtered_entries": kept.len(),
        "statistics": {
            "total_duration_seconds": total,
            "total_duration_formatted": when::span(total),
            "completed_tasks": kept.iter().filter(|row| row.is_completed()).count(),
            "started_tasks": kept.iter().filter(|row| row.is_started()).count(),
            "average_duration": mean,
        },
        "mode_statistics": modes,
        "entries": kept.into_iter().map(entry).collect::<Vec<_>>(),
    });
    for (name, count) in [("undated_entries", undated), ("unreadable_lines", all.odd)] {
        if count > 0 {
            reply[name] = count.into();
        }
    }
    Ok(reply)
}

fn entry(row: &Row) -> Value {
    let cells = COLUMNS.iter().map(|name| ((*name).to_owned(), Value::from(row.get(name))));
    Value::Object(cells.collect())
}

/// A bound; a day without a time is all of it.
fn moment(args: &Args, name: &str, day: i64) -> Result<Option<i64>, Stop> {
    let Some(text) = args.text(name).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let at = when::read(text).ok_or_else(|| {
        Stop::failed(format!("`{name}` is no moment: {text} (such as 2026-11-20 or 2026-11-20T06:00:00Z)"))
    })?;
    Ok(Some(if when::is_day(text) { at + day } else { at }))
}
