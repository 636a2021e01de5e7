//! Golden journals: one real store of every released schema version, with work in flight, kept for ever.
//!
//! Today's code must fold each to the state on record, refuse what is newer, and go on with what was in flight.
//! `UPDATE_GOLDEN=1 cargo test -p kapell --test golden` makes what is missing and never changes what is there: the
//! journal of a new store schema, and the recorded states of a new session schema. Start at [`golden::Golden`], then
//! `make.rs` (what is in one).

mod fold;
mod golden;
mod make;
mod matrix;
mod newer;
mod resume;
#[path = "../e2e/world.rs"]
#[allow(dead_code, reason = "its World has a place of its own each time; a golden journal names one place")]
mod world;
