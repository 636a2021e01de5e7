//! engine
pub mod executor;
pub mod task;
