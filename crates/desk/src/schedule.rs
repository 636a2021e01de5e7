//! `get_schedule_status` and `manage_schedules`.
//!
//! Start at [`status`] and [`manage`].

use crate::args::Args;
use crate::change::How;
use crate::report::{cut, text_of};
use crate::{Desk, Done, Stop};
use board::schedules::Schedule;
use board::{Schedules, when};
use serde_json::{Map, Value, json};

/// Characters of the instructions in a list.
const PREVIEW: usize = 200;

pub(crate) fn status(desk: &Desk, args: &Args) -> Done {
    let all = read(desk)?.ok_or_else(|| missing(desk))?;
    let all = all.all();
    let wanted = args.text("schedule_id");
    if let Some(id) = wanted
        && !all.iter().any(|schedule| schedule.id == id)
    {
        return Err(unknown(id));
    }
    let shown: Vec<&Schedule> = all
        .iter()
        .filter(|schedule| match wanted {
            Some(id) => schedule.id == id,
            None => args.flag("include_inactive") || schedule.is_active(),
        })
        .collect();
    if !args.flag("format_output") {
        let raw: Vec<Value> = shown.iter().map(|schedule| schedule.fields.clone().into()).collect();
        return Ok(json!({"data": {"schedules": raw}}));
    }
    Ok(json!({
        "total_schedules": shown.len(),
        "active_schedules": shown.iter().filter(|schedule| schedule.is_active()).count(),
        "schedules": shown.into_iter().map(formatted).collect::<Vec<_>>(),
    }))
}

fn formatted(schedule: &Schedule) -> Value {
    let or_null = |name: &str| Some(schedule.text(name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let instructions = schedule.text("taskInstructions");
    json!({
        "id": schedule.id,
        "name": schedule.text("name"),
        "mode": schedule.text("mode"),
        "status": if schedule.is_active() { "active" } else { "inactive" },
        "next_execution": or_null("nextExecutionTime"),
        "last_execution": or_null("lastExecutionTime"),
        "created_at": or_null("createdAt"),
        "updated_at": or_null("updatedAt"),
        "task_instructions_preview": cut(instructions, PREVIEW),
    })
}

pub(crate) fn manage(desk: &Desk, args: &Args) -> Done {
    let action = args.said("action");
    let guard = desk.locked()?;
    let read = read(desk)?;
    let now = when::written_ms(desk.now());
    let named = || args.text("schedule_id").filter(|id| !id.is_empty());
    let needs = |name: &str| Stop::failed(format!("`{action}` needs `{name}`"));
    let (all, id) = match action {
        "create" => {
            let mut fields = args.object("schedule_data").ok_or_else(|| needs("schedule_data"))?.clone();
            let mut all = read.unwrap_or_else(Schedules::none);
            for (name, value) in defaults(&now) {
                if !has(&fields, &name) {
                    fields.insert(name, value);
                }
            }
            let id = fresh(&all, desk.now());
            all.create(&id, &fields)?;
            (all, id)
        }
        "update" | "activate" | "deactivate" => {
            let id = named().ok_or_else(|| needs("schedule_id"))?.to_owned();
            let mut fields = match action {
                // Some clients send the fields under the other name.
                "update" => args
                    .object("update_fields")
                    .or_else(|| args.object("schedule_data"))
                    .ok_or_else(|| needs("update_fields"))?
                    .clone(),
                _ => [("active".to_owned(), json!(action == "activate"))].into_iter().collect(),
            };
            if fields.is_empty() {
                return Err(needs("update_fields"));
            }
            let mut all = read.ok_or_else(|| missing(desk))?;
            if all.get(&id).is_none() {
                return Err(unknown(&id));
            }
            if !has(&fields, "updatedAt") {
                fields.insert("updatedAt".into(), now.into());
            }
            all.update(&id, &fields)?;
            (all, id)
        }
        "delete" => {
            let id = named().ok_or_else(|| needs("schedule_id"))?.to_owned();
            let mut all = read.ok_or_else(|| missing(desk))?;
            if !all.delete(&id)? {
                // What is to be gone is gone: no failure, and nothing to write.
                return Ok(json!({"action": action, "schedule_id": id, "backup_created": false}));
            }
            (all, id)
        }
        other => {
            let what = format!("unknown action `{other}`: create, update, activate, deactivate or delete");
            return Err(Stop::failed(what));
        }
    };
    let how = How::Replace(all.text().as_bytes());
    let changed = desk.change(&guard, "manage_schedules", &desk.options.schedules, how, true)?;
    Ok(json!({"action": action, "schedule_id": id, "backup_created": changed.backup.is_some()}))
}

/// What the scheduler's own form fills in.
fn defaults(now: &str) -> [(String, Value); 8] {
    [
        ("scheduleType", json!("time")),
        ("taskInstructions", json!("")),
        ("requireActivity", json!(false)),
        ("active", json!(true)),
        ("taskInteraction", json!("wait")),
        ("inactivityDelay", json!("3")),
        ("createdAt", json!(now)),
        ("updatedAt", json!(now)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// Is the field there, in either spelling?
fn has(fields: &Map<String, Value>, camel: &str) -> bool {
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    fields.keys().any(|name| plain(name) == plain(camel))
}

fn fresh(all: &Schedules, now: i64) -> String {
    (now..).map(|id| id.to_string()).find(|id| all.get(id).is_none()).unwrap_or_default()
}

/// The schedules; `None` where there is no file.
pub(crate) fn read(desk: &Desk) -> Result<Option<Schedules>, Stop> {
    match desk.root.read_if(&desk.options.schedules)? {
        Some(bytes) => Ok(Some(Schedules::parse(&text_of(&desk.options.schedules, bytes)?)?)),
        None => Ok(None),
    }
}

fn missing(desk: &Desk) -> Stop {
    Stop::failed(format!(
        "there is no {}: `manage_schedules` with action `create` makes it",
        desk.options.schedules
    ))
}

fn unknown(id: &str) -> Stop {
    Stop::failed(format!("there is no schedule {id}")).with("schedule_id", id)
}
