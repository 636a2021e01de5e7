//! `.roo/schedules.json`: read as the scheduler of Roo writes it and as others have written it, changed one field at a
//! time. Names are camelCase and numbers texts, whatever a client sends; what stands there otherwise stays.
//!
//! Fires nothing. Start at [`Schedules::parse`]; the fields are in [`FIELDS`].

use crate::json::{self, Edit, Kind, Node};
use crate::{Bad, bad};
use serde_json::{Map, Value};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Text,
    /// A whole number, stored as a text; empty where there is none.
    Number,
    Flag,
    Days,
    OneOf(&'static [&'static str]),
}

/// The fields of a schedule, in the order in which a new one is written.
const FIELDS: &[(&str, Holds)] = &[
    ("id", Holds::Text),
    ("name", Holds::Text),
    ("mode", Holds::Text),
    ("modeDisplayName", Holds::Text),
    ("taskInstructions", Holds::Text),
    ("scheduleType", Holds::OneOf(&["time", "interval", "cron", "manual"])),
    ("timeInterval", Holds::Number),
    ("timeUnit", Holds::OneOf(&["minute", "hour", "day"])),
    ("selectedDays", Holds::Days),
    ("startDate", Holds::Text),
    ("startHour", Holds::Number),
    ("startMinute", Holds::Number),
    ("expirationDate", Holds::Text),
    ("expirationHour", Holds::Number),
    ("expirationMinute", Holds::Number),
    ("requireActivity", Holds::Flag),
    ("active", Holds::Flag),
    ("taskInteraction", Holds::OneOf(&["wait", "interrupt", "skip"])),
    ("inactivityDelay", Holds::Number),
    ("lastExecutionTime", Holds::Text),
    ("lastSkippedTime", Holds::Text),
    ("nextExecutionTime", Holds::Text),
    ("lastTaskId", Holds::Text),
    ("createdAt", Holds::Text),
    ("updatedAt", Holds::Text),
];

/// The days of a week as they are written.
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One schedule: its fields under their camelCase names, everything else under its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What it is called by; a number is taken as its text.
    pub id: String,
    /// All of it.
    pub fields: Map<String, Value>,
}

impl Schedule {
    /// A text field; nothing where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Absent means true.
    pub fn is_active(&self) -> bool {
        self.fields.get("active").and_then(Value::as_bool).unwrap_or(true)
    }
}

/// The file.
#[derive(Debug, Clone)]
pub struct Schedules {
    text: String,
}

impl Schedules {
    /// Reads it; what is not `{"schedules": [{...}]}` is said.
    pub fn parse(text: &str) -> Result<Self, Bad> {
        let all = Self { text: text.to_owned() };
        let root = json::parse(text)?;
        for (at, node) in all.list(&root)?.items().unwrap_or_default().iter().enumerate() {
            if !matches!(node.kind, Kind::Object(_)) {
                return Err(bad(format!("schedule {} is not an object", at + 1)));
            }
        }
        Ok(all)
    }

    /// A file without schedules.
    pub fn none() -> Self {
        Self { text: "{\n  \"schedules\": []\n}\n".to_owned() }
    }

    /// What the file holds.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every schedule, in order.
    pub fn all(&self) -> Vec<Schedule> {
        let Ok(root) = json::parse(&self.text) else { return Vec::new() };
        let nodes = self.list(&root).ok().and_then(Node::items).unwrap_or_default();
        nodes.iter().map(|node| self.schedule(node)).collect()
    }

    /// The one of this id.
    pub fn get(&self, id: &str) -> Option<Schedule> {
        self.all().into_iter().find(|schedule| schedule.id == id)
    }

    /// Changes fields of one schedule. Names may be written either way; `null` takes a field out.
    pub fn update(&mut self, id: &str, fields: &Map<String, Value>) -> Result<(), Bad> {
        let new = canonical(fields)?;
        if new.iter().any(|(name, _)| name == "id") {
            return Err(bad("the id of a schedule stays: delete it and create another"));
        }
        for (name, value) in new {
            let root = json::parse(&self.text)?;
            let node = self.find(&root, id)?;
            let edit = self.set(node, &name, value);
            self.text = json::edited(&self.text, edit.into_iter().collect());
        }
        Ok(())
    }

    /// Adds a schedule at the end.
    pub fn create(&mut self, id: &str, fields: &Map<String, Value>) -> Result<(), Bad> {
        if self.get(id).is_some() {
            return Err(bad(format!("there is a schedule {id} already")));
        }
        let mut new = canonical(fields)?;
        new.retain(|(name, value)| name != "id" && !value.is_null());
        for needed in ["name", "mode"] {
            let there =
                new.iter().any(|(name, v)| name == needed && v.as_str().is_some_and(|v| !v.is_empty()));
            if !there {
                return Err(bad(format!("a schedule needs a `{needed}`")));
            }
        }
        new.insert(0, ("id".into(), id.into()));
        let place = |name: &str| FIELDS.iter().position(|(known, _)| *known == name).unwrap_or(FIELDS.len());
        new.sort_by_key(|(name, _)| place(name));
        let lines: Vec<String> = new
            .iter()
            .map(|(name, value)| format!("  {}: {}", Value::from(name.as_str()), written(value, "  ")))
            .collect();
        let own = format!("{{\n{}\n}}", lines.join(",\n"));
        let root = json::parse(&self.text)?;
        let list = self.list(&root)?;
        let last = list.items().and_then(<[Node]>::last).map(|node| node.span.clone());
        let edit = json::appended(&self.text, list, last, &own);
        self.text = json::edited(&self.text, vec![edit]);
        Ok(())
    }

    /// Takes a schedule out. False: there was none.
    pub fn delete(&mut self, id: &str) -> Result<bool, Bad> {
        let root = json::parse(&self.text)?;
        let list = self.list(&root)?;
        let nodes = list.items().unwrap_or_default();
        let Some(nth) = nodes.iter().position(|node| self.schedule(node).id == id) else { return Ok(false) };
        let spans: Vec<_> = nodes.iter().map(|node| node.span.clone()).collect();
        let edit = json::removed(&self.text, &spans, nth, list);
        self.text = json::edited(&self.text, vec![edit]);
        Ok(true)
    }

    fn list<'n>(&self, root: &'n Node) -> Result<&'n Node, Bad> {
        let list = root.member("schedules").map(|member| &member.value);
        list.filter(|list| list.items().is_some())
            .ok_or_else(|| bad("there is no list `schedules` in the file: it should be {\"schedules\": []}"))
    }

    fn find<'n>(&self, root: &'n Node, id: &str) -> Result<&'n Node, Bad> {
        let nodes = self.list(root)?.items().unwrap_or_default();
        let found = nodes.iter().find(|node| self.schedule(node).id == id);
        found.ok_or_else(|| bad(format!("there is no schedule {id}")))
    }

    fn schedule(&self, node: &Node) -> Schedule {
        let mut fields = Map::new();
        // A name in camelCase counts more than the same in snake_case, wherever it stands.
        for camel in [false, true] {
            for member in node.members() {
                let name = known(&member.key).unwrap_or(&member.key);
                if camel == (name == member.key) {
                    fields.insert(name.to_owned(), member.value.value(&self.text));
                }
            }
        }
        let id = match fields.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => String::new(),
        };
        Schedule { id, fields }
    }

    fn set(&self, node: &Node, name: &str, value: Value) -> Vec<Edit> {
        let members = node.members();
        let at = (0..members.len())
            .rev()
            .find(|at| members[*at].key == name)
            .or_else(|| (0..members.len()).rev().find(|at| known(&members[*at].key) == Some(name)));
        let Some(at) = at else {
            if value.is_null() {
                return Vec::new();
            }
            let own = format!("{}: {}", Value::from(name), written(&value, ""));
            let last = members.last().map(|last| last.key_span.start..last.value.span.end);
            return vec![json::appended(&self.text, node, last, &own)];
        };
        let member = &members[at];
        if value.is_null() {
            let spans: Vec<_> = members.iter().map(|m| m.key_span.start..m.value.span.end).collect();
            return vec![json::removed(&self.text, &spans, at, node)];
        }
        let mut edits = Vec::new();
        if member.key != name {
            edits.push(Edit { at: member.key_span.clone(), new: Value::from(name).to_string() });
        }
        if member.value.value(&self.text) == value {
            return edits;
        }
        // Of days only those that are named change; the others stand as they stood.
        match (&value, &member.value.kind) {
            (Value::Object(new), Kind::Object(old))
                if new.keys().all(|key| old.iter().any(|m| m.key == *key)) =>
            {
                for (key, value) in new {
                    let old = member.value.member(key).filter(|old| old.value.value(&self.text) != *value);
                    let edit = old.map(|old| Edit { at: old.value.span.clone(), new: value.to_string() });
                    edits.extend(edit);
                }
            }
            _ => edits.push(Edit { at: member.value.span.clone(), new: written(&value, "") }),
        }
        edits
    }
}

/// The name of a field however it is written; `None`: it is none of ours.
fn known(name: &str) -> Option<&'static str> {
    FIELDS.iter().map(|(known, _)| *known).find(|known| *known == name || snake(known) == name)
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Fields as they are stored; what is no field of a schedule, or cannot be one's value, is refused.
fn canonical(fields: &Map<String, Value>) -> Result<Vec<(String, Value)>, Bad> {
    let mut out: Vec<(String, Value)> = Vec::new();
    for (name, value) in fields {
        let Some(camel) = known(name) else {
            let all: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
            return Err(bad(format!("`{name}` is no field of a schedule; there are {}", all.join(", "))));
        };
        let holds = FIELDS.iter().find(|(known, _)| *known == camel).map_or(Holds::Text, |(_, holds)| *holds);
        out.retain(|(known, _)| known != camel);
        out.push((camel.to_owned(), stored(camel, holds, value)?));
    }
    Ok(out)
}

fn stored(name: &str, holds: Holds, value: &Value) -> Result<Value, Bad> {
    let refuse = |what: &str| Err(bad(format!("`{name}` takes {what}, not {value}")));
    match (holds, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Holds::Text, Value::String(_)) | (Holds::Flag, Value::Bool(_)) => Ok(value.clone()),
        (Holds::Text, Value::Number(number)) if name == "id" => Ok(number.to_string().into()),
        (Holds::Text, _) => refuse("a text"),
        (Holds::Flag, Value::String(text)) if text == "true" || text == "false" => {
            Ok((text == "true").into())
        }
        (Holds::Flag, _) => refuse("true or false"),
        (Holds::Number, Value::Number(number)) => match number.as_u64() {
            Some(number) => within(name, number).map(|()| number.to_string().into()),
            None => refuse("a whole number"),
        },
        (Holds::Number, Value::String(text)) if text.is_empty() && name != "timeInterval" => {
            Ok(value.clone())
        }
        (Holds::Number, Value::String(text)) => match text.parse::<u64>() {
            Ok(number) => within(name, number).map(|()| value.clone()),
            Err(_) => refuse("a whole number"),
        },
        (Holds::Number, _) => refuse("a whole number"),
        (Holds::OneOf(words), Value::String(text)) if words.contains(&text.as_str()) => Ok(value.clone()),
        (Holds::OneOf(words), _) => refuse(&format!("one of {}", words.join(", "))),
        (Holds::Days, Value::Object(days)) => {
            let fits = |(day, on): (&String, &Value)| DAYS.contains(&day.as_str()) && on.is_boolean();
            if days.iter().all(fits) {
                Ok(value.clone())
            } else {
                refuse("true or false for sun, mon ... sat")
            }
        }
        (Holds::Days, _) => refuse("true or false for sun, mon ... sat"),
    }
}

fn within(name: &str, number: u64) -> Result<(), Bad> {
    let most = match name {
        "startHour" | "expirationHour" => 23,
        "startMinute" | "expirationMinute" => 59,
        "timeInterval" => {
            return if number > 0 { Ok(()) } else { Err(bad("`timeInterval` is at least 1")) };
        }
        _ => return Ok(()),
    };
    if number <= most { Ok(()) } else { Err(bad(format!("`{name}` is at most {most}, not {number}"))) }
}

/// A value as it stands in the file; days from Sunday on.
fn written(value: &Value, indent: &str) -> String {
    let text = match value {
        Value::Object(map) if map.keys().all(|day| DAYS.contains(&day.as_str())) && !map.is_empty() => {
            let days = DAYS.iter().filter_map(|day| Some(format!("  \"{day}\": {}", map.get(*day)?)));
            format!("{{\n{}\n}}", days.collect::<Vec<_>>().join(",\n"))
        }
        value => json::pretty(value),
    };
    text.replace('\n', &format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FILE: &str = r#"{
  "schedules": [
    {
      "id": "1770843427038",
      "name": "Ada's \u2764 loop",
      "mode": "orchestrator-simple",
      "taskInstructions": "line\nline",
      "scheduleType": "time",
      "timeInterval": "360",
      "timeUnit": "minute",
      "selectedDays": {
        "sun": true,
        "mon": true
      },
      "startMinute": "30",
      "futureField": [1,  2.50],
      "active": true
    },
    {"id": "2", "name": "b", "mode": "m"}
  ],
  "other": null
}
"#;

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn one_field_changes_and_every_other_byte_stays() {
        let mut all = Schedules::parse(FILE).unwrap();
        all.update("1770843427038", &fields(json!({"time_interval": 10}))).unwrap();
        assert_eq!(all.text(), FILE.replace("\"360\"", "\"10\""));
        all.update("1770843427038", &fields(json!({"timeInterval": "360", "active": null}))).unwrap();
        assert_eq!(all.text(), FILE.replace(",\n      \"active\": true", ""));
        all.update("1770843427038", &fields(json!({"active": true}))).unwrap();
        assert_eq!(all.text(), FILE);
        all.update("1770843427038", &fields(json!({"selectedDays": {"mon": false}}))).unwrap();
        assert_eq!(all.text(), FILE.replace("\"mon\": true", "\"mon\": false"));
    }

    #[test]
    fn what_is_new_is_written_as_its_neighbours_are() {
        let mut all = Schedules::parse(FILE).unwrap();
        all.update("2", &fields(json!({"start_hour": 7}))).unwrap();
        assert!(
            all.text().contains(r#"{"id": "2", "name": "b", "mode": "m", "startHour": "7"}"#),
            "{}",
            all.text()
        );
        all.create(
            "3",
            &fields(json!({"mode": "m", "name": "c", "selected_days": {"sat": true, "mon": false}})),
        )
        .unwrap();
        let new = "\n    },\n    {\"id\"";
        assert!(all.text().contains(new));
        let tail = "    {\n      \"id\": \"3\",\n      \"name\": \"c\",\n      \"mode\": \"m\",\n      \"selectedDays\": {\n        \"mon\": false,\n        \"sat\": true\n      }\n    }\n  ],\n  \"other\": null\n}\n";
        assert!(all.text().ends_with(tail), "{}", all.text());
        assert!(all.delete("3").unwrap() && all.delete("2").unwrap() && !all.delete("2").unwrap());
        assert_eq!(all.text(), FILE.replace(",\n    {\"id\": \"2\", \"name\": \"b\", \"mode\": \"m\"}", ""));
    }

    #[test]
    fn an_empty_file_fills_and_empties() {
        let mut all = Schedules::none();
        all.create("1", &fields(json!({"name": "a", "mode": "m"}))).unwrap();
        let one = "{\n  \"schedules\": [\n    {\n      \"id\": \"1\",\n      \"name\": \"a\",\n      \"mode\": \"m\"\n    }\n  ]\n}\n";
        assert_eq!(all.text(), one);
        assert!(all.delete("1").unwrap());
        assert_eq!(all.text(), Schedules::none().text());
    }

    #[test]
    fn snake_case_is_read_and_becomes_camel_case_where_it_is_changed() {
        let file = r#"{"schedules": [{"id": 7, "name": "x", "mode": "m", "time_interval": 5, "task_instructions": "t"}]}"#;
        let mut all = Schedules::parse(file).unwrap();
        assert_eq!(all.all()[0].text("taskInstructions"), "t");
        all.update("7", &fields(json!({"timeInterval": 9}))).unwrap();
        assert_eq!(all.text(), file.replace(r#""time_interval": 5"#, r#""timeInterval": "9""#));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let mut all = Schedules::parse(FILE).unwrap();
        for (wrong, says) in [
            (json!({"tiemInterval": 5}), "tiemInterval"),
            (json!({"timeInterval": 0}), "at least 1"),
            (json!({"timeInterval": "soon"}), "whole number"),
            (json!({"timeUnit": "week"}), "minute, hour, day"),
            (json!({"taskInteraction": "background"}), "wait, interrupt, skip"),
            (json!({"startHour": 24}), "at most 23"),
            (json!({"selectedDays": {"monday": true}}), "sun, mon"),
            (json!({"id": "9"}), "stays"),
        ] {
            let error = all.update("2", &fields(wrong.clone())).unwrap_err();
            assert!(error.0.contains(says), "{wrong}: {error}");
        }
        assert!(all.create("9", &fields(json!({"name": "x"}))).unwrap_err().0.contains("mode"));
        assert_eq!(all.text(), FILE);
    }

    #[test]
    fn damage_is_said_with_its_place() {
        for (text, says) in [
            ("{\"schedules\": [1]}", "schedule 1"),
            ("[]", "no list"),
            ("{\"schedules\": [{]}", "line 1, column 17"),
            ("{\"schedules\": []} x", "more after"),
            ("", "missing"),
        ] {
            let error = Schedules::parse(text).unwrap_err();
            assert!(error.0.contains(says), "{text}: {error}");
        }
    }
}
