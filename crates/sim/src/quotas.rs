//! The oracle's own books of a key's limits: what was taken in any stretch of time, what is under way, who probes.
//!
//! Kept by the plainest means, every call remembered; knows nothing of the kernel's buckets. Start at [`Quotas::enter`].

use crate::promise::{Checked, Promise};
use contract::model::Rates;
use contract::quota::{CallEnd, QuotaEvent};
use contract::{ActionId, SessionId, Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(crate) struct Quotas {
    rates: Rates,
    declared: bool,
    /// The ledger's own time: a clock slightly behind the last event does not turn it back.
    now: Timestamp,
    taken: Vec<Timestamp>,
    under_way: BTreeMap<(SessionId, ActionId), Timestamp>,
    /// The newest ends: true = the provider was down.
    ends: Vec<bool>,
    row: u32,
    /// It was down too often: those that were taken since, and how many of them were answered.
    probes: Option<(BTreeSet<(SessionId, ActionId)>, u32)>,
}

impl Quotas {
    pub(crate) fn enter(&mut self, at: Timestamp, event: &QuotaEvent) -> Checked {
        if at.plus(limits::CLOCK_BACK_MS) < self.now {
            // The clock was set back: what was taken lies as far behind as before, what is under way ends as far ahead.
            let by = self.now.since(at);
            let calls = self.taken.iter_mut().chain(self.under_way.values_mut());
            calls.for_each(|at| at.0 = at.0.saturating_sub(by));
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
                self.probing((*session, *action))?;
            }
            QuotaEvent::Settled { session, action, end, .. } => {
                self.under_way.remove(&(*session, *action));
                self.ended((*session, *action), *end);
            }
            QuotaEvent::Queued { .. } => {}
            // What failed before counts no more; who probes still does so alone.
            QuotaEvent::Lifted { .. } => {
                self.ends.clear();
                self.row = 0;
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

    /// While it is not known to be well again, one call at a time tries it.
    fn probing(&mut self, caller: (SessionId, ActionId)) -> Checked {
        let Some((probes, _)) = &mut self.probes else { return Ok(()) };
        let other = probes.iter().find(|probe| **probe != caller && self.under_way.contains_key(probe));
        Promise::Quota.holds(other.is_none(), || format!("{caller:?} and {other:?} probe at once"))?;
        probes.insert(caller);
        Ok(())
    }

    /// S1.4-4: five in a row, or half of twenty, open the breaker; three probes that are answered close it.
    fn ended(&mut self, caller: (SessionId, ActionId), end: CallEnd) {
        let down = match end {
            CallEnd::Answered => false,
            CallEnd::Down { .. } => true,
            _ => return,
        };
        self.ends.push(down);
        self.row = if down { self.row + 1 } else { 0 };
        let newest = self.ends.iter().rev().take(20);
        let often = self.ends.len() >= 20 && newest.filter(|down| **down).count() >= 10;
        let trips = match &mut self.probes {
            None => down && (self.row >= 5 || often),
            Some((probes, well)) if probes.contains(&caller) => {
                *well = if down { 0 } else { *well + 1 };
                down
            }
            Some(_) => false,
        };
        if trips {
            let mut probes = self.probes.take().unwrap_or_default();
            probes.1 = 0;
            (self.probes, self.row) = (Some(probes), 0);
            self.ends.clear();
        }
        if self.probes.as_ref().is_some_and(|(_, well)| *well >= 3) {
            self.probes = None;
            self.ends.clear();
        }
    }
}
