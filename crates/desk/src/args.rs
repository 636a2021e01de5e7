//! The arguments of a call, checked against the tool's parameters before it runs.
//!
//! Clients send numbers and flags as texts, and objects as JSON in a text: what can only mean one thing is taken.
//! Start at [`Args::new`].

use crate::Stop;
use crate::spec::{Param, Spec, Takes};
use serde_json::{Map, Value};

/// Checked arguments: those given, and the defaults of the others.
#[derive(Debug)]
pub(crate) struct Args(Map<String, Value>);

impl Args {
    pub(crate) fn new(spec: &Spec, given: &Map<String, Value>) -> Result<Self, Stop> {
        let mut all = Map::new();
        for param in spec.params {
            let value = match given.get(param.name).filter(|value| !value.is_null()) {
                Some(value) => taken(param, value)?,
                None if param.required => {
                    return Err(Stop::Wrong(format!("{}: `{}` is missing", spec.name, param.name)));
                }
                None => match param.default() {
                    Some(value) => value,
                    None => continue,
                },
            };
            all.insert(param.name.to_owned(), value);
        }
        Ok(Self(all))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A text that is required, or has a default.
    pub(crate) fn said(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(crate) fn whole(&self, name: &str) -> Option<usize> {
        self.0.get(name).and_then(Value::as_u64).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    pub(crate) fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name).and_then(Value::as_object)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    }
}

fn taken(param: &Param, value: &Value) -> Result<Value, Stop> {
    let wrong = |what: &str| {
        let shown: String = value.to_string().chars().take(80).collect();
        Err(Stop::Wrong(format!("`{}` takes {what}, not {shown}", param.name)))
    };
    match (param.takes, value) {
        (Takes::Text, Value::String(_)) | (Takes::Flag, Value::Bool(_)) => Ok(value.clone()),
        (Takes::Text, Value::Number(number)) => Ok(number.to_string().into()),
        (Takes::Text, _) => wrong("a text"),
        (Takes::Flag, Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(true.into()),
            "false" | "0" | "no" => Ok(false.into()),
            _ => wrong("true or false"),
        },
        (Takes::Flag, _) => wrong("true or false"),
        (Takes::Whole, Value::Number(number)) => {
            let whole = number.as_u64().or_else(|| {
                number.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 1e15).map(|n| n as u64)
            });
            whole.map_or_else(|| wrong("a whole number from 0 on"), |n| Ok(n.into()))
        }
        (Takes::Whole, Value::String(text)) => {
            text.trim().parse::<u64>().map_or_else(|_| wrong("a whole number from 0 on"), |n| Ok(n.into()))
        }
        (Takes::Whole, _) => wrong("a whole number from 0 on"),
        (Takes::OneOf(words), Value::String(text)) if words.contains(&text.as_str()) => Ok(value.clone()),
        (Takes::OneOf(words), _) => wrong(&format!("one of {}", words.join(", "))),
        (Takes::Object, Value::Object(_)) | (Takes::Texts, Value::Array(_)) => Ok(value.clone()),
        (Takes::Object | Takes::Texts, Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(read) if read.is_object() || read.is_array() => taken(param, &read),
            _ if param.takes == Takes::Texts => Ok(Value::Array(vec![value.clone()])),
            _ => wrong("an object"),
        },
        (Takes::Object, _) => wrong("an object"),
        (Takes::Texts, _) => wrong("a list of texts"),
    }
}
