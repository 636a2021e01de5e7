//! What the seeds met: event kinds, works, endings, faults. What was never met was never tested.

use std::collections::BTreeMap;

/// Counts by name.
#[derive(Debug, Clone, Default)]
pub struct Cover(pub BTreeMap<String, u64>);

impl Cover {
    /// One more of it.
    pub fn met(&mut self, name: impl Into<String>) {
        *self.0.entry(name.into()).or_default() += 1;
    }

    /// Both together.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }
}
