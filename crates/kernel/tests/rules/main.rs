//! The rules of the kernel, tried from outside: one binary, one driver, many small stories.
//!
//! Knows only the public entrance [`kernel::decide`]. Start at `world.rs` (who plays journal, executor and mail),
//! then any story.

mod approvals;
mod arbiter;
mod bills;
mod budget;
mod calls;
mod children;
mod context;
mod endings;
mod fold;
mod hooks;
mod keep;
mod looping;
mod make;
mod museum;
mod project;
mod property;
mod quota;
mod recovery;
mod schedule;
mod views;
mod wording;
mod workflow;
mod world;
