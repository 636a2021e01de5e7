//! Runs child processes so that nothing of them is left alive: not at their end, not when stopped, and not
//! when Kapell itself is killed; and keeps them to the files and the network they were given, where that is asked for
//! ([`Command::confine`], `confine/mod.rs`). Linux only.
//! Knows nothing of tools, git or sessions. Start at [`run()`], then `helper/warden.rs`, which does the work.
//!
//! ```text
//! kapell ── keeper (this binary again, tiny, one per process; forks and nothing else)
//!    │         └── warden (one per run at a time; a child subreaper: what the command starts stays below it)
//!    └─ socket ─────┘ └── the command (own session and group; null stdin and no terminal, unless it is given one)
//! ```
//!
//! The warden holds a socket to Kapell. When the command ends, when it is told to, or when the socket closes
//! because Kapell died, it kills everything below itself until the kernel says there is no child left. No
//! process can leave that tree: a daemon that forks twice, changes its session and clears its environment is
//! handed to the nearest subreaper above it, which is the warden. Killing by number is safe there, because
//! the number of a child that was not waited for cannot be given to another process. A warden that has nothing below
//! itself any more, and was never told to stop anything, waits for the next run: forking one costs as much as the
//! rest of a short command.
//!
//! Should the wardens be killed too, [`sweep`] finds what was left by the records the runs wrote, and by the groups of
//! the kernel's that the wardens made, where they may (`cgroup.rs`).

mod apart;
mod blocked;
mod capture;
mod cgroup;
mod command;
mod confine;
mod environ;
mod flow;
pub mod gate;
pub mod helper;
pub mod job;
mod keeper;
mod pass;
mod patience;
mod proc;
#[cfg(any(test, fuzzing))]
pub mod props;
mod pty;
mod record;
mod run;
mod sys;
mod waiting;
mod watch;
mod wire;

pub use apart::apart;
pub use capture::Captured;
pub use cgroup::groups;
pub use command::{Command, Grace, Waits};
pub use confine::{Offers, in_force, offers, open, repositories, seal, seal_theirs, unseal};
pub use environ::{bared, is_secret};
pub use flow::{Reader, Writer};
pub use patience::{Patience, is_noise};
pub use pty::{Size, Terminal};
pub use record::{Swept, look, sweep};
pub use run::{Ended, Error, Progress, Stage, run};
pub use waiting::Waiting;
