//! The words, records and ports that every other crate agrees on.
//!
//! Knows nothing of how a thing is done: no I/O, no clock, no randomness, no async runtime.
//! Start at [`event`] (what is stored for ever), then [`action`] (what may run) and the ports
//! [`journal`], [`model`], [`tool`], [`workspace`], [`checks`].
#![warn(missing_docs)]

pub mod action;
pub mod board;
pub mod cancel;
pub mod checks;
pub mod confine;
pub mod context;
pub mod digest;
pub mod error;
pub mod event;
pub mod found;
pub mod handle;
pub mod hooks;
pub mod id;
pub mod intent;
pub mod journal;
pub mod limits;
pub mod looping;
pub mod model;
pub mod money;
#[cfg(planted)]
pub mod planted;
pub mod policy;
pub mod port;
pub mod project;
#[cfg(any(test, fuzzing))]
pub mod props;
pub mod quota;
pub mod record;
pub mod session;
pub mod text;
pub mod time;
pub mod tool;
pub mod workspace;

pub use cancel::Cancel;
pub use digest::Digest;
pub use error::{Fault, Kind};
pub use event::Event;
pub use id::{
    ActionId, ApprovalId, CallId, Fence, IntentId, ProjectId, QuestionId, QuotaId, Seq, SessionId, StreamId,
};
pub use money::Amount;
pub use port::BoxFuture;
pub use time::Timestamp;

/// Left out of what is stored.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Is this known bug switched on? `false`, at compile time, in every build but the simulator's own.
#[cfg(not(planted))]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

/// Is this known bug switched on in this thread?
#[cfg(planted)]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::on($crate::planted::Bug::$bug)
    };
}
