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
        let kept = journal.renew(held.clone(), now).await?;
        let mut kept: BTreeMap<SessionId, Lease> =
            kept.into_iter().map(|lease| (lease.session, lease)).collect();
        let mut leases = self.lock();
        let mut lost = Vec::new();
        for asked in held {
            let (session, fence) = (asked.session, asked.fence);
            // Only what is still held: it may have been given back meanwhile, and taken anew.
            let Some(own) = leases.get_mut(&session).filter(|own| own.fence == fence) else { continue };
            match kept.remove(&session) {
                Some(lease) => *own = lease,
                None => lost.push(session),
            }
        }
        lost.iter().for_each(|session| drop(leases.remove(session)));
        Ok(lost)
    }
}
