//! After a crash, and before going down: what was in flight, and what its effect class says about it.
//!
//! Start at [`Draft::recover`].

use crate::Illegal;
use crate::decide::Draft;
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
            Some(EffectClass::External) => "ask",
            Some(EffectClass::Staged) => "restored",
            Some(EffectClass::Pure | EffectClass::Keyed | EffectClass::Billed) => "run-again",
        };
        let found = running.as_ref().map(|attempt| attempt.action);
        self.emit(Event::Recovered { fence: self.ctx.fence, found, did: did.to_owned() })?;
        if let Some(attempt) = running {
            let outcome = Outcome {
                action: attempt.action,
                attempt: attempt.attempt,
                end: End::Unknown,
                used: Amount::ZERO,
            };
            self.outcome(outcome)?;
        }
        Ok(())
    }

    /// The process goes down: the action in flight is stopped; nothing new starts. The session stays as it is,
    /// to be taken up by the next process.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = &self.s.running {
            self.out.effects.push(Effect::Cancel { action: running.action, now: false });
        }
    }
}
