//! The lock of the operating system behind a lease: who holds it knows that no other process of this machine runs
//! the session, and clears away what a dead one left running.
//!
//! A fence guards the journal, not the files; this guards the files. Start at [`Guard`].

use contract::{Fault, SessionId};

/// Held as long as the session is executed here; dropping it gives it back.
pub trait Held: Send + Sync {}

/// Takes the lock of a session.
pub trait Guard: Send + Sync + std::fmt::Debug {
    /// The lock, after killing what a dead holder left running. `None`: a living process has it.
    fn claim(&self, session: SessionId) -> Result<Option<Box<dyn Held>>, Fault>;
}

/// For stores that no other process can reach (tests, the simulator).
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

struct Nothing;
impl Held for Nothing {}

impl Guard for Alone {
    fn claim(&self, _: SessionId) -> Result<Option<Box<dyn Held>>, Fault> {
        Ok(Some(Box::new(Nothing)))
    }
}
