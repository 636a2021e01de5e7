//! Rendering: what happened, as people and programs read it. Decides nothing.
//!
//! Foreign text goes through [`clean`] before it is shown. Start at [`progress`] (while it runs), [`result`] (at the
//! end) and [`stream`] (for programs).

pub(crate) mod asked;
pub(crate) mod clean;
pub(crate) mod describe;
pub(crate) mod diffstat;
mod hush;
pub(crate) mod progress;
pub(crate) mod result;
pub(crate) mod stream;
pub(crate) mod table;

use contract::port::Blobs;
use contract::{Digest, Fault};
use serde_json::Value;

/// A stored text, decoded lossily.
pub(crate) async fn text(blobs: &dyn Blobs, digest: Digest) -> Result<String, Fault> {
    let bytes = blobs.blob(digest).await?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The first line of a stored text that has one; what is wrong with it when it cannot be read.
pub(crate) async fn headline(blobs: &dyn Blobs, digest: Digest) -> String {
    match text(blobs, digest).await {
        Ok(text) => clean::line(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default()),
        Err(fault) => format!("({})", fault.what),
    }
}

/// One JSON document, as a line; its `type` stands first, where people look for it.
pub(crate) fn json_line(value: &Value) -> String {
    let Some(kind) = value.get("type") else { return format!("{value}\n") };
    let rest = value.as_object().into_iter().flatten().filter(|(key, _)| *key != "type");
    let rest: String = rest.map(|(key, value)| format!(",{}:{value}", Value::from(key.as_str()))).collect();
    format!("{{\"type\":{kind}{rest}}}\n")
}

/// One JSON document, for `--json`.
pub(crate) fn json_page(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Nano-dollars as dollars, for programs that expect a number.
pub(crate) fn usd(nanos: u64) -> f64 {
    nanos as f64 / contract::money::NANOS_PER_USD as f64
}
