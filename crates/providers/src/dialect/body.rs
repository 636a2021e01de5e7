//! What the bodies of all requests share: parameters of the user's own beside Kapell's.
//!
//! Knows no dialect. Start at [`Extra`].

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Further parameters of a body, except those which Kapell sets itself. Flattened into the body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extra<'a> {
    /// The user's.
    pub(crate) parameters: &'a Map<String, Value>,
    /// Kapell's own, by name.
    pub(crate) own: &'static [&'static str],
}

impl Serialize for Extra<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.parameters.iter().filter(|(name, _)| !self.own.contains(&name.as_str())) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The body in bytes.
pub(crate) fn bytes(body: &impl Serialize) -> Vec<u8> {
    // Nothing in a body can fail to be written: keys are texts and the writer is memory.
    serde_json::to_vec(body).unwrap_or_default()
}
