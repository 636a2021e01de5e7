//! What is measured and told of sessions: folds of the records that are on disk, and the formats others read.
//!
//! Pure but for [`read`], which pages through the Journal port. Knows no HTTP client, no clock and no configuration; nothing
//! here is on the way of a decision. Start at [`station`] (what surfaces ask), [`metric`] (the measures) and [`fold`] (records
//! to values).
#![warn(missing_docs)]

pub mod faults;
pub mod fold;
pub mod metric;
pub mod notice;
pub mod otlp;
pub mod prometheus;
pub mod read;
pub mod sentry;
pub mod series;
pub mod sheet;
pub mod station;
