//! The leases of this process: one record for all live sessions, renewed together.
//!
//! Knows the Journal port's leases; not what runs under them. Start at [`Leases::renew`].

use contract::journal::{Error, Journal, Lease};
use contract::{SessionId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What this process holds.
#[derive(Debug, Default)]
pub struct Leases(Mutex<BTreeMap<SessionId, Lease>>);

impl Leases {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Lease>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Remembers a lease.
    pub fn add(&self, lease: Lease) {
        self.lock().insert(lease.session, lease);
    }

    /// Forgets a lease; the caller gives it back.
    pub fn remove(&self, session: SessionId) -> Option<Lease> {
        self.lock().remove(&session)
    }

    /// Prolongs all of them; names the sessions that somebody else holds now.
    pub async fn renew(&self, journal: &dyn Journal, now: Timestamp) -> Result<Vec<SessionId>, Error> {
        let held: Vec<Lease> = self.lock().values().cloned().collect();
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<SessionId> = held.iter().map(|lease| lease.session).collect();
        let kept = journal.renew(held, now).await?;
        let lost = |session: &SessionId| !kept.iter().any(|lease| lease.session == *session);
        let lost: Vec<SessionId> = asked.into_iter().filter(lost).collect();
        let mut leases = self.lock();
        for lease in kept {
            // Only what is still held: it may have been given back meanwhile.
            if let Some(held) = leases.get_mut(&lease.session) {
                *held = lease;
            }
        }
        lost.iter().for_each(|session| drop(leases.remove(session)));
        Ok(lost)
    }
}
