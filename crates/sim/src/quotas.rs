//! The oracle's own books of a key's limits: what was taken in any stretch of time, what is under way, who probes.
//!
//! Kept by the plainest means, every call remembered; knows nothing of the kernel's buckets. Start at [`Quotas::enter`].

use crate::promise::{Checked, Promise};
use contract::model::Rates;
use contract::quota::QuotaEvent;
use contract::{ActionId, SessionId, Timestamp, limits};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Quotas {
    rates: Rates,
    declared: bool,
    /// The ledger's own time: a clock slightly behind the last event does not turn it back.
    now: Timestamp,
    taken: Vec<Timestamp>,
    under_way: BTreeMap<(SessionId, ActionId), Timestamp>,
}

impl Quotas {
    pub(crate) fn enter(&mut self, at: Timestamp, event: &QuotaEvent) -> Checked {
        if at.plus(limits::CLOCK_BACK_MS) < self.now {
            // The clock was set back: what is on record in the future is taken for now.
            self.taken.iter_mut().for_each(|taken| *taken = at.min(*taken));
            self.now = at;
        }
        self.now = self.now.max(at);
        let now = self.now;
        self.under_way.retain(|_, until| *until > now);
        match event {
            QuotaEvent::Declared { rates, .. } => {
                (self.rates, self.declared) = (*rates, true);
            }
            QuotaEvent::Taken { session, action, until, .. } => {
                Promise::Quota.holds(self.declared, || "taken from what nobody declared".into())?;
                self.taken.push(now);
                let twice = self.under_way.insert((*session, *action), *until).is_some();
                Promise::Quota.holds(!twice, || format!("{session} {action} is under way twice"))?;
                self.within()?;
            }
            QuotaEvent::Settled { session, action, .. } => {
                self.under_way.remove(&(*session, *action));
            }
        }
        Ok(())
    }

    /// No stretch of time has seen more calls than were allowed in it.
    fn within(&self) -> Checked {
        let in_last = |ms: u64| self.taken.iter().filter(|taken| self.now.since(**taken) < ms).count() as u64;
        let window = self.rates.window.map(|window| (window.requests, window.ms));
        let minute = self.rates.requests_per_minute.map(|requests| (requests, 60_000));
        for (most, ms) in window.into_iter().chain(minute) {
            let seen = in_last(ms);
            Promise::Quota
                .holds(seen <= most.max(1), || format!("{seen} calls in {ms} ms, allowed are {most}"))?;
        }
        let flying = self.under_way.len() as u64;
        let most = self.rates.concurrent.unwrap_or(u64::MAX).max(1);
        Promise::Quota.holds(flying <= most, || format!("{flying} calls under way, allowed are {most}"))
    }
}
