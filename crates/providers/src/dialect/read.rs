//! Reading JSON that is nearly as documented: fields that are missing, null, or of another type are no error.
//!
//! Knows no dialect. Start at [`json`], [`text`] and [`count`].

use super::Options;
use contract::{Fault, Kind};
use serde_json::Value;

/// The event's data as JSON.
pub(crate) fn json(data: &str, options: &Options) -> Result<Value, Fault> {
    serde_json::from_str(data).map_err(|error| {
        let what = format!("{} sent an event that is no JSON: {error}", options.provider);
        Fault::new(Kind::Transient, "stream-garbled", what).hint(format!(
            "if it stays so, check base_url and dialect of `{}` in config.toml",
            options.provider
        ))
    })
}

/// The text in this field; anything else = empty.
pub(crate) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The list in this field; anything else = empty.
pub(crate) fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A count, however it is written: whole, with a point, as text. Nothing sensible = `None`.
pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let float = number.as_f64().filter(|float| float.is_finite() && *float >= 0.0)?;
            Some(float as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The first of these (JSON pointers) that is a count.
pub(crate) fn count(value: &Value, pointers: &[&str]) -> Option<u64> {
    pointers.iter().find_map(|pointer| number(value.pointer(pointer)?))
}

#[cfg(test)]
mod tests {
    use super::{count, list, number, text};
    use serde_json::json;

    #[test]
    fn counts_are_read_however_they_are_written() {
        let table = [
            (json!(7), Some(7)),
            (json!(7.9), Some(7)),
            (json!("12"), Some(12)),
            (json!(-1), None),
            (json!(null), None),
            (json!("many"), None),
            (json!([1]), None),
        ];
        for (written, meant) in table {
            assert_eq!(number(&written), meant, "{written}");
        }
        let value = json!({"a": null, "b": {"c": "3"}, "t": 1, "l": {}});
        assert_eq!(count(&value, &["/a", "/b/c"]), Some(3));
        assert_eq!((text(&value, "t"), list(&value, "l").len()), ("", 0));
    }
}
