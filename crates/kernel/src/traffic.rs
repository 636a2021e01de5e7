//! A model call takes from its key's quota when it starts and tells it how it ended, in the appends of the session.
//!
//! Knows sessions and outcomes; what a quota allows is [`crate::quota`]'s. Start at [`Draft::take_quota`].

use crate::Illegal;
use crate::decide::Draft;
use crate::further::{Facts, Further};
use crate::session::Attempt;
use contract::action::{End, Outcome};
use contract::error::{CONTEXT_FULL, NOT_RUN};
use contract::model::Quota;
use contract::quota::{CallEnd, QuotaEvent};
use contract::{ActionId, Fault, Kind, QuotaId, StreamId, Timestamp, limits};

impl Draft<'_> {
    /// The call that is about to start counts from here on.
    pub(crate) fn take_quota(
        &mut self,
        action: ActionId,
        tokens: u64,
        deadline: Timestamp,
    ) -> Result<(), Illegal> {
        let Some(quota) = self.s.model.as_ref().and_then(|model| model.quota.clone()) else { return Ok(()) };
        let (id, session) = (QuotaId::of(&quota.name), self.s.id);
        self.declare(id, &quota)?;
        let until = deadline.plus(limits::OVERDUE_MS);
        self.emit_quota(id, QuotaEvent::Taken { session, action, tokens, until })
    }

    /// What a person declares holds for every session; of two declarations that of the newer session.
    fn declare(&mut self, id: QuotaId, quota: &Quota) -> Result<(), Illegal> {
        let (by, known) = (self.s.id, self.gov.quota_mut(id)?);
        let news = known.seq == 0 || by >= known.declared_by && known.rates != quota.rates;
        if !news {
            return Ok(());
        }
        self.emit_quota(id, QuotaEvent::Declared { name: quota.name.clone(), rates: quota.rates, by })
    }

    /// How the call ended, as far as the provider is concerned.
    pub(crate) fn settle_quota(&mut self, attempt: &Attempt, outcome: &Outcome) -> Result<(), Illegal> {
        let Some(id) = attempt.quota else { return Ok(()) };
        let (session, action, end) = (self.s.id, attempt.action, call_end(&outcome.end));
        // What nobody counted counts as if all of it had been used.
        let unseen = !outcome.metered && matches!(end, CallEnd::Unknown | CallEnd::Down { .. });
        let tokens = if unseen { attempt.reserved.tokens } else { outcome.used.tokens };
        let meter = outcome.meter;
        self.emit_quota(id, QuotaEvent::Settled { session, action, tokens, end, meter })
    }

    fn emit_quota(&mut self, id: QuotaId, event: QuotaEvent) -> Result<(), Illegal> {
        self.gov.quota_mut(id)?.apply(self.ctx.now, &event)?;
        let stream = StreamId::Quota(id);
        match self.out.further.iter_mut().find(|further| further.stream == stream) {
            Some(Further { facts: Facts::Quota(facts), .. }) => facts.push(event),
            _ => self.out.further.push(Further { stream, facts: Facts::Quota(vec![event]) }),
        }
        Ok(())
    }
}

fn call_end(end: &End) -> CallEnd {
    match end {
        End::Done(_) => CallEnd::Answered,
        End::Failed(fault) => failed(fault),
        End::TimedOut => CallEnd::Down { retry_after_ms: None },
        End::Cancelled | End::Unknown => CallEnd::Unknown,
    }
}

fn failed(fault: &Fault) -> CallEnd {
    let retry_after_ms = fault.retry_after_ms;
    match fault.kind {
        Kind::RateLimited => CallEnd::Limited { retry_after_ms },
        _ if fault.code.starts_with(NOT_RUN) || fault.code == CONTEXT_FULL => CallEnd::Refused,
        Kind::Transient | Kind::Degraded => CallEnd::Down { retry_after_ms },
        Kind::Permanent | Kind::UserFixable => CallEnd::Refused,
    }
}
