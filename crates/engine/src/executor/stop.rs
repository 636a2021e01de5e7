//! What can end an attempt early, and what is known about it then: deadline, cancel token, gate.
//!
//! Knows no ports and no kind of work beyond how long it may resist. Start at [`Watch::over`].

use super::Halt;
use crate::task::Lost;
use contract::action::{Done, EffectClass, End, Run, Work};
use contract::cancel::Urgency;
use contract::error::NOT_RUN;
use contract::{Cancel, Fault, Kind, Timestamp, limits};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long the sandbox's ladder has before an attempt is told to stop at once, milliseconds. It leaves time to
/// insist, and as much again for the outcome to reach the arbiter within `OVERDUE_MS`.
pub(super) const GRACE_MS: u64 = limits::OVERDUE_MS - 2 * limits::STOP_NOW_MS;

/// Has the first tool begun? Answered once and for all: what is barred will never begin, so that a
/// stop before it is not an unknown outcome.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU8);

impl Gate {
    const OPEN: u8 = 0;
    const ENTERED: u8 = 1;
    const BARRED: u8 = 2;

    /// Something is about to run. False: it must not.
    pub(super) fn enter(&self) -> bool {
        self.settle(Self::ENTERED)
    }

    /// Nothing more may begin. False: something has.
    fn bar(&self) -> bool {
        self.settle(Self::BARRED)
    }

    fn settle(&self, to: u8) -> bool {
        let before = self.0.compare_exchange(Self::OPEN, to, Ordering::AcqRel, Ordering::Acquire);
        before.is_ok() || before == Err(to)
    }
}

/// Watches over one attempt.
pub(super) struct Watch {
    /// The arbiter's token.
    pub(super) outside: Cancel,
    /// The attempt's own: cancelled with the other, and at the deadline.
    pub(super) own: Cancel,
    pub(super) gate: Arc<Gate>,
    left: Duration,
    /// How long the attempt may go on once it was asked to stop.
    grace: Duration,
    tools: bool,
    class: EffectClass,
}

impl Watch {
    pub(super) fn new(run: &Run, now: Timestamp, outside: Cancel) -> Self {
        let grace_ms = match run.work {
            Work::Model { .. } | Work::Summarise { .. } => 0,
            _ => GRACE_MS,
        };
        Self {
            own: outside.child(),
            outside,
            gate: Arc::default(),
            left: Duration::from_millis(run.deadline.since(now)),
            grace: Duration::from_millis(grace_ms),
            tools: matches!(run.work, Work::Tools { .. }),
            class: run.class,
        }
    }

    /// There is no time left, or it is not wanted any more.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_zero() || self.outside.is_cancelled()
    }

    /// Drives the attempt; asks it to stop when time or patience is over. `None`: it never did, and is to be dropped.
    pub(super) async fn over<T>(
        &self,
        mut attempt: Pin<&mut impl Future<Output = Result<T, Lost>>>,
    ) -> Option<Result<T, Lost>> {
        tokio::select! {
            biased;
            ended = &mut attempt => return Some(ended),
            () = self.outside.reached(Urgency::Graceful) => {}
            () = tokio::time::sleep(self.left) => self.own.cancel(Urgency::Graceful),
        }
        tokio::select! {
            biased;
            ended = &mut attempt => return Some(ended),
            () = self.outside.reached(Urgency::Now) => {}
            () = tokio::time::sleep(self.grace) => self.own.cancel(Urgency::Now),
        }
        let last = Duration::from_millis(limits::STOP_NOW_MS);
        let ended = tokio::time::timeout(last, &mut attempt).await.ok();
        if ended.is_none() {
            tracing::warn!("an action ignored its cancel token and was dropped");
        }
        ended
    }

    /// How an attempt with this result ended.
    pub(super) fn end(&self, result: Result<Done, Halt>) -> End {
        match result {
            Ok(done) => End::Done(done),
            Err(Halt::Fault(fault)) if !self.own.is_cancelled() => self.failed(fault),
            Err(_) => self.stopped(),
        }
    }

    /// The end of an attempt that failed. A fault before the first tool began says so: the outcome is known.
    pub(super) fn failed(&self, fault: Fault) -> End {
        let code = match self.tools && self.gate.bar() {
            true => format!("{NOT_RUN}-{}", fault.code),
            false => fault.code,
        };
        End::Failed(Fault { code, ..fault })
    }

    /// The end of an attempt that was stopped. An external effect that never began is not an unknown one.
    pub(super) fn stopped(&self) -> End {
        if self.class == EffectClass::External && self.gate.bar() {
            let what = "it was stopped before it began, so nothing has happened";
            return End::Failed(Fault::new(Kind::Transient, NOT_RUN, what));
        }
        if self.outside.is_cancelled() { End::Cancelled } else { End::TimedOut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_entered_or_barred_but_never_both() {
        let entered = Gate::default();
        assert!(entered.enter() && entered.enter() && !entered.bar());
        let barred = Gate::default();
        assert!(barred.bar() && barred.bar() && !barred.enter());
    }
}
