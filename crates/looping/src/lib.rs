//! The loop of a project: what its `.roo/schedules.json` makes run by itself, and what was handed over to it.
//!
//! Knows the project's files, the loop's record and one port ([`Host`]); no engine beyond that record, no arguments, no
//! terminal. What a slot means is the kernel's to say. Start at [`Looper::look`].

mod jobs;
mod looper;
mod modes;
mod place;
mod port;
mod read;
mod serve;
mod slots;
mod synced;
mod trusted;
mod view;

pub use looper::{Look, Looper, News, hand_over};
pub use modes::Modes;
pub use place::Place;
pub use port::{Doing, End, Host, Opening, Stand, Trust};
pub use read::Read;
pub use serve::{BUSY, CALM, Came, serve, to_the_end, until};
pub use synced::{Synced, Watch};
pub use trusted::{HINT, all as by_themselves};
pub use view::{Seen, Status};

#[cfg(test)]
mod tests;
