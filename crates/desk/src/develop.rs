//! `get_mode_capabilities` and `switch_mode`.
//!
//! Start at [`modes`].

use crate::args::Args;
use crate::report::text_of;
use crate::{Desk, Done, Stop, orchestrate, times};
use board::modes::{self, Mode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The modes; `None` where there is no file.
pub(crate) fn read(desk: &Desk) -> Result<Option<Vec<Mode>>, Stop> {
    let path = &desk.options.modes;
    match desk.root.read_if(path)? {
        Some(bytes) => {
            let read = modes::read(&text_of(path, bytes)?);
            read.map(Some).map_err(|bad| Stop::failed(format!("{path}: {bad}")))
        }
        None => Ok(None),
    }
}

fn all(desk: &Desk) -> Result<Vec<Mode>, Stop> {
    read(desk)?.ok_or_else(|| Stop::failed(format!("there is no {} in the workspace", desk.options.modes)))
}

pub(crate) fn modes(desk: &Desk, args: &Args) -> Done {
    let all = all(desk)?;
    let wanted = args.text("filter_by_group").filter(|group| !group.is_empty());
    let shown: Vec<&Mode> = all
        .iter()
        .filter(|mode| wanted.is_none_or(|wanted| mode.groups.iter().any(|group| group.name == wanted)))
        .collect();
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for mode in &shown {
        mode.groups.iter().for_each(|group| groups.entry(&group.name).or_default().push(&mode.slug));
    }
    let available: BTreeSet<&str> =
        all.iter().flat_map(|mode| &mode.groups).map(|group| group.name.as_str()).collect();
    let instructions = args.flag("include_instructions");
    Ok(json!({
        "total_modes": all.len(),
        "filtered_modes": shown.len(),
        "mode_groups": groups,
        "modes": shown.iter().map(|mode| described(mode, instructions)).collect::<Vec<_>>(),
        "available_groups": available,
    }))
}

fn described(mode: &Mode, instructions: bool) -> Value {
    let group = |group: &modes::Group| match &group.file_regex {
        None => json!(group.name),
        Some(regex) => json!([group.name, {"fileRegex": regex, "description": group.description}]),
    };
    let mut out: Map<String, Value> = [
        ("slug", json!(mode.slug)),
        ("name", json!(mode.name)),
        ("description", json!(mode.description)),
        ("when_to_use", json!(mode.when_to_use)),
        ("groups", mode.groups.iter().map(group).collect()),
        ("source", json!(mode.source)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let told = |text: &str| if instructions { json!(text) } else { Value::Null };
    out.insert("role_definition".into(), told(&mode.role));
    out.insert("custom_instructions".into(), told(&mode.instructions));
    Value::Object(out)
}

pub(crate) fn switch(desk: &Desk, args: &Args) -> Done {
    let all = all(desk)?;
    let slug = args.said("target_mode");
    let Some(mode) = all.iter().find(|mode| mode.slug == slug) else {
        let known: Vec<&str> = all.iter().map(|mode| mode.slug.as_str()).collect();
        return Err(Stop::failed(format!("there is no mode `{slug}`")).with("available_modes", known));
    };
    let (context, priority) = (args.text("task_context"), args.said("priority"));
    let task = format!("mode {slug}: {}", context.unwrap_or("no context given"));
    let tracking = match args.flag("track_time") {
        true => times::start(desk, &task, slug, priority, None)?,
        false => Value::Null,
    };
    let mut reply = json!({
        "mode_switch": {
            "target_mode": slug,
            "mode_name": mode.name,
            "mode_description": mode.description,
            "mode_role": mode.role,
            "context": context,
            "priority": priority,
            "tracking_result": tracking,
        },
    });
    let said = format!("Coordination: switched to {slug} ({priority})");
    if let Err(why) = orchestrate::remark(desk, "switch_mode", "mode-switch", &said) {
        reply["warnings"] = json!([format!("not noted in the memory: {why}")]);
    }
    Ok(reply)
}
