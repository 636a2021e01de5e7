//! `.roomodes`: the modes of a project, read as Roo reads them: YAML (or JSON, which is YAML), a list.
//!
//! Only read so far. Every scalar is a text: nothing in this file is a number. Start at [`read`].

use crate::{Bad, bad};
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Deeper is refused.
const DEPTH: usize = 64;
/// Values in one file; aliases count as what they stand for.
const VALUES: usize = 100_000;

/// A mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mode {
    /// What it is called by.
    pub slug: String,
    /// What people see.
    pub name: String,
    /// In a sentence.
    pub description: String,
    /// Who the agent is in it.
    pub role: String,
    /// When somebody should choose it.
    pub when_to_use: String,
    /// What it may do.
    pub groups: Vec<Group>,
    /// Where it comes from.
    pub source: String,
    /// What it is told besides.
    pub instructions: String,
}

/// Something a mode may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// read, edit, browser, command, mcp.
    pub name: String,
    /// Only for files of these names.
    pub file_regex: Option<String>,
    /// What these files are.
    pub description: Option<String>,
}

/// The modes of a file.
pub fn read(text: &str) -> Result<Vec<Mode>, Bad> {
    let value = value(text)?;
    let modes = value.get("customModes").ok_or_else(|| bad("there is no `customModes` in the file"))?;
    // Some write `customModes:` with nothing below it.
    if modes.is_null() || modes.as_str() == Some("") {
        return Ok(Vec::new());
    }
    let list = modes.as_array().ok_or_else(|| bad("`customModes` is not a list"))?;
    list.iter()
        .enumerate()
        .map(|(at, mode)| mode_of(mode).map_err(|e| bad(format!("mode {}: {e}", at + 1))))
        .collect()
}

fn mode_of(value: &Value) -> Result<Mode, Bad> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let slug = text("slug");
    if slug.is_empty() {
        return Err(bad("it has no slug"));
    }
    let groups = value.get("groups").and_then(Value::as_array);
    let groups = groups.into_iter().flatten().map(group_of).collect::<Result<_, _>>()?;
    Ok(Mode {
        slug,
        name: text("name"),
        description: text("description"),
        role: text("roleDefinition"),
        when_to_use: text("whenToUse"),
        groups,
        source: text("source"),
        instructions: text("customInstructions"),
    })
}

fn group_of(value: &Value) -> Result<Group, Bad> {
    if let Some(name) = value.as_str() {
        return Ok(Group { name: name.to_owned(), ..Group::default() });
    }
    let pair = value
        .as_array()
        .filter(|pair| pair.len() == 2)
        .ok_or_else(|| bad("a group is neither a name nor a pair"))?;
    let name = pair[0].as_str().ok_or_else(|| bad("a group has no name"))?.to_owned();
    let text = |key: &str| pair[1].get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(Group { name, file_regex: text("fileRegex"), description: text("description") })
}

/// Names that look like modes of the same families and are none: `integration-document` where there are
/// `integration-commit` and `integration-testing`. With the modes that name them.
pub fn dangling(modes: &[Mode]) -> BTreeMap<String, Vec<String>> {
    let slugs: BTreeSet<&str> = modes.iter().map(|mode| mode.slug.as_str()).collect();
    let mut families: BTreeMap<&str, usize> = BTreeMap::new();
    for slug in &slugs {
        if let Some((family, _)) = slug.split_once('-') {
            *families.entry(family).or_default() += 1;
        }
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mode in modes {
        let texts = [&mode.instructions, &mode.role, &mode.when_to_use];
        let words =
            texts.into_iter().flat_map(|text| text.split(|c: char| !c.is_ascii_lowercase() && c != '-'));
        let words: BTreeSet<&str> = words.map(|word| word.trim_matches('-')).collect();
        for word in words {
            let family = word.split_once('-').map(|(family, _)| family);
            if family.is_some_and(|family| families.get(family).is_some_and(|n| *n > 1))
                && !slugs.contains(word)
            {
                found.entry(word.to_owned()).or_default().push(mode.slug.clone());
            }
        }
    }
    found
}

/// The first document of the text as a value whose scalars are texts.
fn value(text: &str) -> Result<Value, Bad> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, _) = event.map_err(|error| bad(format!("not YAML: {error}")))?;
        if builder.take(event)? {
            break;
        }
    }
    Ok(builder.done.unwrap_or(Value::Null))
}

#[derive(Default)]
struct Builder {
    open: Vec<(Open, usize)>,
    anchors: BTreeMap<usize, (Value, usize)>,
    values: usize,
    done: Option<Value>,
}

enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

impl Builder {
    /// True when the document is complete.
    fn take(&mut self, event: Event<'_>) -> Result<bool, Bad> {
        match event {
            Event::Scalar(text, _, anchor, _) => self.put(Value::String(text.into_owned()), anchor, 1)?,
            Event::SequenceStart(anchor, _) => self.open(Open::List(Vec::new()), anchor)?,
            Event::MappingStart(anchor, _) => self.open(Open::Map(Map::new(), None), anchor)?,
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((Open::List(list), anchor)) => self.put(Value::Array(list), anchor, 0)?,
                Some((Open::Map(map, _), anchor)) => self.put(Value::Object(map), anchor, 0)?,
                None => {}
            },
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let (value, size) = known.ok_or_else(|| bad("not YAML: an alias stands for nothing"))?;
                self.put(value, 0, size)?;
            }
            Event::DocumentEnd => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn open(&mut self, open: Open, anchor: usize) -> Result<(), Bad> {
        self.open.push((open, anchor));
        if self.open.len() > DEPTH { Err(bad("nested too deep")) } else { Ok(()) }
    }

    fn put(&mut self, value: Value, anchor: usize, size: usize) -> Result<(), Bad> {
        self.values += size;
        if self.values > VALUES {
            return Err(bad("too many values"));
        }
        if anchor > 0 {
            let size = count(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some((Open::List(list), _)) => list.push(value),
            Some((Open::Map(map, key), _)) => match key.take() {
                Some(key) => drop(map.insert(key, value)),
                None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            },
        }
        Ok(())
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "customModes:\n  - slug: integration-commit\n    name: \"\\U0001F4E6 Commit\"\n    groups:\n      - read\n      - - edit\n        - fileRegex: \\.md$\n          description: Notes\n    customInstructions: |-\n      Then integration-document, or integration-testing; well-known.\n  - slug: integration-testing\n    source: project\n";

    #[test]
    fn a_list_of_modes_with_groups_of_both_kinds() {
        let modes = read(FILE).unwrap();
        assert_eq!(modes.len(), 2);
        assert_eq!(modes[0].name, "\u{1f4e6} Commit");
        assert_eq!(modes[0].groups[0].name, "read");
        assert_eq!(modes[0].groups[1].file_regex.as_deref(), Some("\\.md$"));
        assert_eq!(modes[1].source, "project");
        let json = r#"{"customModes": [{"slug": "a", "name": "A", "groups": ["read"]}]}"#;
        assert_eq!(read(json).unwrap()[0].slug, "a");
        assert_eq!(read("customModes: []\n").unwrap(), []);
        assert_eq!(read("customModes:\n").unwrap(), []);
    }

    #[test]
    fn what_is_named_and_not_there_is_found() {
        let dangling = dangling(&read(FILE).unwrap());
        assert_eq!(dangling.keys().collect::<Vec<_>>(), ["integration-document"]);
        assert_eq!(dangling["integration-document"], ["integration-commit"]);
    }

    #[test]
    fn damage_is_said() {
        for (text, says) in [
            ("customModes:\n  a: 1\n", "not a list"),
            ("modes: []\n", "customModes"),
            ("customModes:\n  - name: x\n", "mode 1: it has no slug"),
            ("customModes: [\n", "not YAML"),
            ("a: *x\n", "not YAML"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.0.contains(says), "{text}: {error}");
        }
        let bomb = "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\n\
                    d: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e]\n";
        assert!(read(bomb).unwrap_err().0.contains("too many"));
    }
}
