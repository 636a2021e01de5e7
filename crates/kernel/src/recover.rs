//! After a crash, and before going down: what was in flight, and what its effect class says about it.
//!
//! Start at [`Draft::recover`].

use crate::Illegal;
use crate::decide::Draft;
use crate::session::Attempt;
use contract::Amount;
use contract::action::{Effect, EffectClass, End, Outcome};
use contract::event::Event;

impl Draft<'_> {
    /// A new process holds the session. Whatever was in flight died with the old one.
    pub(crate) fn recover(&mut self) -> Result<(), Illegal> {
        if !self.open_ended() {
            return Ok(());
        }
        let running = self.s.running.clone();
        let did = match running.as_ref().map(|attempt| attempt.class) {
            None => "nothing",
            _ if self.s.cancel => "nothing",
            Some(EffectClass::External) => "ask",
            Some(EffectClass::Staged) => "restored",
            Some(EffectClass::Pure | EffectClass::Keyed | EffectClass::Billed) => "run-again",
        };
        let found = running.as_ref().map(|attempt| attempt.action);
        self.emit(Event::Recovered { fence: self.ctx.fence, found, did: did.to_owned() })?;
        match running {
            Some(attempt) => self.outcome(self.unseen(&attempt)),
            None => Ok(()),
        }
    }

    /// The end of an attempt that nobody saw. Its time counts up to its deadline.
    pub(crate) fn unseen(&self, attempt: &Attempt) -> Outcome {
        let time_ms = self.ctx.now.min(attempt.deadline).since(attempt.started);
        let used = Amount { time_ms, ..Amount::ZERO };
        Outcome::new(attempt.action, attempt.attempt, End::Unknown, used)
    }

    /// Stops the action in flight, at once or by the ladder. Its end comes back as an outcome.
    pub(crate) fn stop(&mut self, now: bool) {
        if let Some(running) = &self.s.running {
            self.out.effects.push(Effect::Cancel { action: running.action, now });
        }
    }
}
