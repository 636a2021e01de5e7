//! The stored schema, read from the contract's own source: types, variants, fields, and which of them are optional.
//!
//! Knows the source as rustfmt leaves it, and no values. Start at [`Schema::read`]. It exists so that nobody has to
//! remember which combinations want a golden file.

use std::collections::BTreeMap;

/// Serialised types by name.
pub(crate) struct Schema(pub(crate) BTreeMap<String, Type>);

#[derive(Debug)]
pub(crate) enum Type {
    Struct(Vec<Field>),
    Enum(Vec<Variant>),
}

#[derive(Debug)]
pub(crate) struct Variant {
    /// As it is stored.
    pub(crate) tag: String,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Unit,
    One(String),
    Fields(Vec<Field>),
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: String,
    /// May be missing or null.
    pub(crate) optional: bool,
}

impl Schema {
    /// Reads every file of the contract.
    pub(crate) fn read() -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let mut types = BTreeMap::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            read_file(&std::fs::read_to_string(entry.unwrap().path()).unwrap(), &mut types);
        }
        Self(types)
    }
}

fn read_file(text: &str, types: &mut BTreeMap<String, Type>) {
    let mut lines = text.lines();
    let mut attributes = String::new();
    while let Some(line) = lines.next() {
        if line.starts_with("#[") {
            attributes += line;
        } else if let Some((keyword, name)) = opening(line) {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
            // Serialised and read back: what is only serialised is for people.
            if attributes.contains("Serialize") && attributes.contains("Deserialize") {
                let ty = match keyword {
                    "struct" => Type::Struct(fields(&body)),
                    _ => Type::Enum(variants(&body, &attributes)),
                };
                types.insert(name.to_owned(), ty);
            }
            attributes.clear();
        } else if !line.starts_with("//") {
            attributes.clear();
        }
    }
}

/// `pub struct Name {` or `pub enum Name {`.
fn opening(line: &str) -> Option<(&str, &str)> {
    let (keyword, name) = line.strip_prefix("pub ")?.strip_suffix(" {")?.split_once(' ')?;
    matches!(keyword, "struct" | "enum").then_some((keyword, name))
}

fn fields(lines: &[&str]) -> Vec<Field> {
    let mut found = Vec::new();
    let mut skippable = false;
    for line in lines.iter().map(|line| line.trim()) {
        if line.starts_with("#[") {
            skippable |= line.contains("skip_serializing_if");
        } else if let Some((name, ty)) =
            line.trim_start_matches("pub ").trim_end_matches(',').split_once(": ")
            && !line.starts_with("//")
        {
            let optional = skippable || ty.starts_with("Option<");
            found.push(Field { name: name.to_owned(), ty: ty.to_owned(), optional });
            skippable = false;
        }
    }
    found
}

fn variants(lines: &[&str], attributes: &str) -> Vec<Variant> {
    let upper = attributes.contains("UPPERCASE");
    let mut found = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        // Variants stand at one level of indentation; comments and attributes are not names.
        let Some(text) = line.strip_prefix("    ").filter(|text| text.starts_with(char::is_uppercase)) else {
            continue;
        };
        let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
        let body = match text[name.len()..].trim_end_matches(',') {
            "" => Body::Unit,
            " {" => Body::Fields(fields(
                &lines.by_ref().take_while(|l| **l != "    },").copied().collect::<Vec<_>>(),
            )),
            tuple => Body::One(tuple.trim_matches(['(', ')']).to_owned()),
        };
        found.push(Variant { tag: if upper { name.to_uppercase() } else { kebab(&name) }, body });
    }
    found
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// `Vec<T>`, `Option<T>` or `Box<T>` taken off, and the path in front of the name: what a type is about.
pub(crate) fn core(ty: &str) -> &str {
    let inner =
        ["Vec<", "Option<", "Box<"].iter().find_map(|outer| ty.strip_prefix(outer)?.strip_suffix('>'));
    inner.map_or_else(|| ty.rsplit("::").next().unwrap_or(ty), core)
}
