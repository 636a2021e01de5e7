//! A model words what a cut takes out of the conversation, where a session wants that: an action like any other, on
//! record, budgeted and billed. What goes is planned before and by [`crate::compact`]; at the third failure it goes
//! without words.
//!
//! Knows no text. Start at [`Draft::wording`].

use crate::Illegal;
use crate::compact::{Bound, Cut, exactly, plan};
use crate::context::WORDING;
use crate::decide::Draft;
use crate::fsm::Phase;
use crate::next::Choice;
use crate::retry::{self, RETRY};
use crate::session::Session;
use contract::action::{EffectClass, Work};
use contract::context::Summary;
use contract::event::Event;
use contract::intent::Source;
use contract::model::ModelRef;
use contract::session::Summaries;
use contract::{Digest, Fault, limits};

impl Draft<'_> {
    /// The question to a model about what has to go, where that is wanted, and turns have to go and not outputs alone.
    pub(crate) fn wording(&self, coming: u64) -> Option<Work> {
        let failed: u32 = self.s.wording_failures();
        if self.s.phase != Phase::Active || self.s.redo.is_some() || failed >= limits::SUMMARY_FAILURES {
            return None;
        }
        let model = self.s.wording_model()?.id;
        let cap = self.s.cap();
        let target = cap / 100 * limits::CUT_TO_PERCENT;
        let bound = Bound { cap, target, words: limits::SUMMARY_TEXT_BYTES, ..self.bound(coming) };
        let Cut { left, dropped, after, .. } = plan(&self.s.items, self.tasks(), self.s.scale(), bound);
        (!dropped.is_empty() && after <= cap).then_some(Work::Summarise { model, left, dropped })
    }

    /// Starts the question in the place of what was chosen, which comes when there is room.
    pub(crate) fn word_first(&mut self, work: Work) -> Result<bool, Illegal> {
        self.run(Choice {
            intent: None,
            source: Source::MainLoop,
            wish: "continue",
            why: "inserted: the conversation has to become shorter first".into(),
            work,
            class: EffectClass::Billed,
            class_why: "a model call".into(),
        })
    }

    /// A model has worded what was to go: now it goes.
    pub(crate) fn worded(&mut self, work: &Work, text: Digest, bytes: u64) -> Result<(), Illegal> {
        let Work::Summarise { left, dropped, .. } = work else { return Ok(()) };
        let coming = self.coming_tokens();
        let before = self.s.request_tokens().saturating_add(coming);
        let bound = Bound { words: bytes, ..self.bound(coming) };
        let cut = exactly(&self.s.items, self.tasks(), self.s.scale(), bound, left, dropped);
        let summary = cut.summary.map(|summary| Box::new(Summary { text: Some(text), bytes, ..summary }));
        if summary.is_none() {
            return Ok(());
        }
        let (why, cap, after) = ("full".to_owned(), bound.cap, cut.after);
        self.emit(Event::Compacted { why, left: cut.left, dropped: cut.dropped, summary, before, after, cap })
    }

    /// It could not be worded: asked again, and at the third failure the conversation is cut without.
    pub(crate) fn not_worded(&mut self, fault: &Fault) -> Result<(), Illegal> {
        let signature = format!("{WORDING}{}", fault.code);
        let own = self.s.failures.get(&signature).copied().unwrap_or(0) + 1;
        let count = self.s.wording_failures() + 1;
        let policy = retry::policy(fault.kind);
        let delay = retry::delay_ms(fault.kind, count, fault.retry_after_ms, self.ctx.random);
        if policy.retries && count < limits::SUMMARY_FAILURES && delay <= policy.cap_ms {
            let (then, retry_at) = (RETRY.to_owned(), Some(self.ctx.now.plus(delay)));
            return self.emit(Event::Failed { signature, count: own, then, retry_at });
        }
        self.emit(Event::Failed { signature, count: own, then: "cut".into(), retry_at: None })?;
        self.cut_to_fit().map(drop)
    }
}

impl Session {
    /// Who words what is taken out of the conversation, if somebody is to.
    pub(crate) fn wording_model(&self) -> Option<ModelRef> {
        match self.spec.as_ref()?.summaries.as_ref()? {
            Summaries::Same => self.model.clone(),
            Summaries::Never => None,
            Summaries::By(model) => Some((**model).clone()),
        }
    }

    /// Failures to word it, since it was worded or cut last.
    fn wording_failures(&self) -> u32 {
        let own = self.failures.iter().filter(|(signature, _)| signature.starts_with(WORDING));
        own.map(|(_, count)| *count).fold(0, u32::saturating_add)
    }
}
