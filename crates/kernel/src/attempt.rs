//! The fold of actions: selected, started, finished, and what their results change.
//!
//! Decides nothing; [`crate::apply`] is its only caller. Start at [`Session::start`] and [`Session::finish`].

use crate::fsm::{ApprovalMove, CallMove, CallState, Illegal, TurnMove};
use crate::session::{Attempt, CallSlot, Counted, Judged, Redo, Repeat, Session, StepBlock};
use crate::{further, verdict};
use contract::action::{Call, CallResult, Done, EffectClass, End, Item, Outcome, Role, Work};
use contract::checks::{Report, Side, Status, Verdict};
use contract::error::NOT_RUN;
use contract::event::{Event, Notice};
use contract::hooks::{Asked, HookEvent};
use contract::intent::Wish;
use contract::model::{Card, ModelRef, Stop, Usage};
use contract::{ActionId, Amount, CallId, Digest, IntentId, QuotaId, SessionId, Timestamp, limits};

/// Is this a result that this work can have? The executor's word is not taken on trust.
pub(crate) fn fits(work: &Work, done: &Done) -> Result<(), String> {
    let whole = match (work, done) {
        (Work::Prepare, Done::Prepared(_)) | (Work::Check { .. }, Done::Checked(_)) => true,
        (Work::Inspect { .. }, Done::Inspected { .. }) | (Work::Integrate { .. }, Done::Integrated(_)) => {
            true
        }
        (Work::Summarise { .. }, Done::Summarised { bytes, .. }) => *bytes <= limits::SUMMARY_TEXT_BYTES,
        (Work::Model { .. }, Done::Said { calls, .. }) => {
            let named = |(at, call): (usize, &Call)| calls[..at].iter().all(|other| other.id != call.id);
            calls.len() <= limits::CALLS_RECORDED && calls.iter().enumerate().all(named)
        }
        (Work::Tools { calls }, Done::Ran { results, .. }) => {
            calls.len() == results.len()
                && calls.iter().zip(results).all(|(call, result)| call.id == result.call)
        }
        (Work::Adopt { child, .. }, Done::Adopted { child: of, .. }) => child == of,
        (Work::Rewind { to }, Done::Rewound { to: of, .. }) => to == of,
        (Work::Hooks { asked }, Done::Hooked { call, .. }) => {
            let of = asked.call.as_ref().map(|call| &call.id);
            call.as_ref().is_none_or(|call| Some(&call.id) == of)
        }
        _ => false,
    };
    if whole { Ok(()) } else { Err(format!("this is not what a {} action gives", work.name())) }
}

impl Session {
    pub(crate) fn select(&mut self, action: ActionId, intent: Option<IntentId>) -> Result<(), Illegal> {
        if self.running.is_some() || self.chosen.is_some() || self.cancel {
            return Err(Illegal::new("one action in flight", action));
        }
        if action.step != self.step + 1 {
            return Err(Illegal::new(format!("at step {}", self.step), action));
        }
        self.step = action.step;
        self.steps_in_turn += 1;
        self.chosen = Some(action);
        let Some(id) = intent else { return Ok(()) };
        match self.take_queued(id)?.wish {
            Wish::Message { text, bytes } => {
                // What the agent does now will have to be checked anyway.
                self.redo.take_if(|redo| matches!(redo.work, Work::Check { .. }));
                self.hooks.kept = 0;
                self.input(said(Role::User, text, bytes), true)
            }
            Wish::Rewind { .. } => {
                self.redo.take_if(|redo| matches!(redo.work, Work::Check { .. }));
                Ok(())
            }
            Wish::SubtaskEnded { child, end } => {
                if let Some(record) = self.children.get_mut(&child) {
                    record.end = Some(end);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn start(&mut self, at: Timestamp, event: &Event) -> Result<(), Illegal> {
        let Event::Started { action, attempt, work, class, deadline, fence, approval, reserved, .. } = event
        else {
            return Err(Illegal::new("start", event));
        };
        let again = self.redo.as_ref().is_some_and(|redo| {
            redo.action == *action && redo.attempt + 1 == *attempt && redo.allowed && redo.work == *work
        });
        let first = self.chosen == Some(*action) && *attempt == 1;
        if self.running.is_some() || !(again || first) {
            return Err(Illegal::new("one action in flight, selected or interrupted before", action));
        }
        if *fence < self.fence {
            return Err(Illegal::new(format!("held under lease {}", self.fence), fence));
        }
        if let Some(id) = approval.as_ref().filter(|_| !contract::planted!(ReuseApproval)) {
            let record = self.approvals.get_mut(id).ok_or_else(|| Illegal::new("approvals", id))?;
            record.state = record.state.next(ApprovalMove::Use)?;
            self.approvals.remove(id);
        }
        match work {
            Work::Tools { calls } => {
                for call in calls {
                    self.move_call(&call.id, CallMove::Start)?;
                }
            }
            Work::Model { .. } if *attempt == 1 => self.ordinal += 1,
            _ => {}
        }
        self.chosen = None;
        if again {
            self.redo = None;
        }
        if reserved.steps > 0 {
            let action = crate::start::block_name(*action);
            self.block = Some(StepBlock { action, granted: reserved.steps, used: 0 });
        }
        if let Some(block) = &mut self.block {
            block.used += 1;
        }
        self.fence = *fence;
        self.retry_at = None;
        if work.asks_model() {
            self.held_up = None;
        }
        let quota = self.quota_for(work);
        self.running = Some(Attempt {
            action: *action,
            attempt: *attempt,
            work: work.clone(),
            class: *class,
            deadline: *deadline,
            started: at,
            reserved: *reserved,
            quota,
        });
        Ok(())
    }

    pub(crate) fn finish(&mut self, at: Timestamp, outcome: &Outcome) -> Result<(), Illegal> {
        let own = |a: &Attempt| a.action == outcome.action && a.attempt == outcome.attempt;
        let fits = |a: &Attempt| own(a) || contract::planted!(StaleOutcome);
        let attempt = match self.running.take() {
            Some(attempt) if fits(&attempt) => attempt,
            other => {
                let state = other.as_ref().map(|a| a.action);
                self.running = other;
                return Err(Illegal::new(state, outcome));
            }
        };
        let ran_ms = at.since(attempt.started);
        self.used =
            self.used.plus(Amount { steps: 1, time_ms: outcome.used.time_ms.min(ran_ms), ..outcome.used });
        if attempt.work.asks_model() {
            self.called_at = at;
        }
        self.learn(&attempt, outcome);
        match &outcome.end {
            End::Done(done) => self.done(&attempt, done),
            // Failing before it began is the one failure of an external effect whose outcome is known.
            End::Failed(fault) => self.lost(&attempt, !fault.code.starts_with(NOT_RUN), true),
            End::TimedOut => self.lost(&attempt, true, true),
            End::Cancelled | End::Unknown => {
                for result in &outcome.written {
                    if let Some(slot) = self.call(&result.call) {
                        slot.partial = Some(result.text);
                    }
                }
                self.lost(&attempt, true, false)
            }
        }
    }

    /// The attempt gave no result. Calls go back to open, or to unknown when nobody can say what they did.
    /// `began`: the work may have had an effect before it was lost. `failed`: it ended by itself.
    fn lost(&mut self, attempt: &Attempt, began: bool, failed: bool) -> Result<(), Illegal> {
        let unknown = began && attempt.class == EffectClass::External && !contract::planted!(UnknownAgain);
        if let Work::Tools { calls } = &attempt.work {
            for call in calls {
                self.move_call(&call.id, if unknown { CallMove::Lose } else { CallMove::Retry })?;
                // A yes is good for one attempt.
                if let Some(slot) = self.call(&call.id).filter(|_| !contract::planted!(ReuseApproval)) {
                    slot.approval = None;
                }
            }
        }
        // What was interrupted runs again under its own name; what failed is a new try, unless it left half a change
        // or nothing but this record remembers that it was wanted. Preparing is wanted until the workspace is ready.
        // Half a change of an earlier attempt is still there when the one that was to take it back could not begin.
        let earlier = attempt.attempt > 1 && !contract::planted!(ForgetHalf);
        let half = (began || earlier) && attempt.class == EffectClass::Staged;
        let only_here = matches!(attempt.work, Work::Adopt { .. } | Work::Rewind { .. });
        if attempt.work != Work::Prepare && (unknown || !failed || half || only_here) {
            self.redo = Some(Redo {
                action: attempt.action,
                attempt: attempt.attempt,
                work: attempt.work.clone(),
                class: attempt.class,
                allowed: !unknown,
                approval: None,
            });
        }
        Ok(())
    }

    fn done(&mut self, attempt: &Attempt, done: &Done) -> Result<(), Illegal> {
        fits(&attempt.work, done).map_err(|why| Illegal::new(&attempt.work, why))?;
        if !self.failures.is_empty() {
            let layer = format!("{}/", attempt.work.name());
            self.failures.retain(|signature, _| !signature.starts_with(&layer));
        }
        match done {
            Done::Prepared(prepared) => {
                self.ready = true;
                if self.prepared.is_none() {
                    self.prepared = Some(prepared.clone());
                    self.tell_hooks(Asked::of(HookEvent::SessionStart, "startup"));
                }
            }
            Done::Said { text, bytes, calls, stop, usage, private, again, tokens, .. } => {
                let idle = *stop == Stop::MaxTokens && calls.iter().all(|call| call.error.is_some());
                self.cut_replies = if idle { self.cut_replies + 1 } else { 0 };
                // Where nobody counted the calls, what the model wrote bounds them.
                let allowed = usage.output.saturating_mul(limits::BYTES_PER_TOKEN).max(*bytes);
                let (bytes, private) = (again.unwrap_or(allowed), private.clone());
                let item = Item { text: *text, bytes, private, tokens: *tokens, ..Item::by(Role::Assistant) };
                let counted = self.count(&attempt.work, *usage);
                self.heard(item, calls)?;
                self.counted = counted;
                self.cache = self.cache.after(attempt.started, *usage);
            }
            // What it words is taken out by the event that follows.
            Done::Summarised { .. } => {}
            Done::Ran { results, savepoint } => {
                if let Some(commit) = savepoint {
                    self.keep_savepoint(attempt.action, commit);
                }
                for result in results {
                    self.tell_result(result);
                    self.answer_call(&result.call, result_item(result))?;
                }
            }
            Done::Hooked { .. } => {
                if let Work::Hooks { asked } = &attempt.work {
                    self.hooked(asked, done)?;
                }
            }
            Done::Checked(report) => self.checked(report),
            Done::Inspected { flags, .. } => self.flags = flags.clone(),
            Done::Integrated(integrated) => {
                self.left_on = integrated.branch.clone().filter(|_| integrated.landed.is_none());
                self.landed = integrated.landed.clone().or(self.landed.take());
            }
            Done::Adopted { child, text, bytes, clean } => {
                // A clean adoption is told with how the child ended; a conflict with the names of the files.
                let end = self.children.get(child).and_then(|record| record.end.clone()).filter(|_| *clean);
                let notice = end.map(|end| Notice::ChildEnded { child: *child, end });
                self.child_ended(*child, notice, Some(*text), *bytes, *clean)?;
            }
            Done::Rewound { to, undo } => {
                self.keep_savepoint(attempt.action, undo);
                if self.turn != crate::fsm::Turn::Calls {
                    self.noticed(&Notice::Rewound { to: *to })?;
                }
            }
        }
        Ok(())
    }

    /// The quota a call is made under.
    pub(crate) fn quota_for(&self, work: &Work) -> Option<QuotaId> {
        self.asked(work).and_then(further::quota_of)
    }

    /// The model that is asked: the session's, or the one that words what is taken out.
    pub(crate) fn asked(&self, work: &Work) -> Option<&ModelRef> {
        let (Work::Model { model: id, .. } | Work::Summarise { model: id, .. }) = work else { return None };
        let words = self.spec.as_ref().and_then(|spec| further::other_words(spec));
        self.model.iter().chain(words).find(|model| model.id == *id)
    }

    /// What is known of the model that this work asks.
    pub fn card_for(&self, work: &Work) -> Option<Card> {
        self.asked(work).map(|model| model.card)
    }

    /// What the provider counted, with the reply that is about to be added. A count that is no more than a fraction of
    /// what was sent is not believed.
    fn count(&self, work: &Work, usage: Usage) -> Option<Counted> {
        let Work::Model { model, .. } = work else { return None };
        let bytes = self.items.iter().map(|item| item.bytes).fold(0, u64::saturating_add);
        let likely = usage.given() >= bytes / limits::TOKEN_BYTES_MOST;
        let (model, tokens, items) = (model.clone(), usage.total(), self.items.len() + 1);
        (likely && !usage.estimated).then_some(Counted { model, tokens, items })
    }

    /// The model has spoken.
    fn heard(&mut self, item: Item, calls: &[Call]) -> Result<(), Illegal> {
        let made = calls.iter().map(|c| (c.id.clone(), c.tool.clone(), c.args)).collect();
        self.last_text = item.text.or(self.last_text);
        self.push(Item { calls: made, ..item });
        let slot = |call: &Call| CallSlot {
            call: call.clone(),
            state: CallState::Open,
            approval: None,
            partial: None,
            asked: Vec::new(),
            waived: false,
        };
        self.calls = calls.iter().map(slot).collect();
        let by = if calls.is_empty() { TurnMove::SaidText } else { TurnMove::SaidCalls };
        self.turn = self.turn.next(by)?;
        // Calls whose arguments do not fit have their answer already.
        let wrong: Vec<(CallId, Digest)> =
            calls.iter().filter_map(|call| Some((call.id.clone(), call.error?))).collect();
        for (id, error) in wrong {
            let answer = said(Role::Tool, error, limits::REFUSAL_BYTES);
            self.answer_call(&id, Item { call: Some(id.clone()), ok: false, ..answer })?;
        }
        Ok(())
    }

    fn keep_savepoint(&mut self, action: ActionId, commit: &str) {
        self.savepoints.push_back((action, commit.to_owned()));
        if self.savepoints.len() > limits::SAVEPOINTS {
            self.savepoints.pop_front();
        }
    }

    fn checked(&mut self, report: &Report) {
        let base: Vec<_> = report.runs.iter().filter(|run| run.side == Side::Base).cloned().collect();
        let whole = verdict::whole(report, &self.base_runs);
        // What could not run there is tried again the next time.
        if !base.is_empty() && base.iter().all(|run| run.status != Status::CouldNotRun) {
            self.base_runs = base;
        }
        let failed = whole.runs.iter().filter(|run| run.status != Status::Passed);
        let logs = failed
            .filter(|run| run.side == Side::Result || report.same_tree)
            .map(|run| (run.check.clone(), run.log));
        self.verdict = Some(Judged {
            verdict: Verdict::Inconclusive,
            result: report.result.clone(),
            same_tree: report.same_tree,
            no_checks: whole.runs.is_empty(),
            reasons: Vec::new(),
            logs: logs.collect(),
        });
        self.flags.clear();
    }

    /// The parent gets a child's result, as the answer to the call that delegated.
    pub(crate) fn child_ended(
        &mut self,
        child: SessionId,
        notice: Option<Notice>,
        text: Option<Digest>,
        bytes: u64,
        ok: bool,
    ) -> Result<(), Illegal> {
        let record = self.children.get_mut(&child).ok_or_else(|| Illegal::new("children", child))?;
        record.ended = true;
        let call = record.call.clone();
        let bytes = bytes.saturating_add(if notice.is_some() { limits::NOTICE_BYTES } else { 0 });
        let notice = notice.map(Box::new);
        let item = Item { text, call: Some(call.clone()), ok, notice, bytes, ..Item::by(Role::Tool) };
        self.answer_call(&call, item)
    }

    /// The same call failing again and again is noticed; any other call in between does not hide it.
    pub(crate) fn count_repeat(&mut self, call: &str, ok: bool) {
        let Some(Call { args, tool, .. }) =
            self.calls.iter().map(|slot| &slot.call).find(|known| known.id == call)
        else {
            return;
        };
        let same = |repeat: &Repeat| repeat.args == *args && repeat.tool == *tool;
        match &mut self.repeat {
            Some(repeat) if same(repeat) && !ok => repeat.count += 1,
            Some(repeat) if same(repeat) => self.repeat = None,
            _ if !ok => {
                let (args, tool) = (*args, tool.clone());
                self.repeat =
                    Some(Repeat { args, tool, count: 1, warned_at_tokens: None, warned_at_count: 0 });
            }
            _ => {}
        }
    }
}

/// An entry of the conversation that is a text.
pub(crate) fn said(role: Role, text: Digest, bytes: u64) -> Item {
    Item { text: Some(text), bytes, ..Item::by(role) }
}

fn result_item(result: &CallResult) -> Item {
    let item = said(Role::Tool, result.text, result.bytes);
    let (images, pixels) = (result.images.clone(), result.pixels.clone());
    Item { call: Some(result.call.clone()), ok: result.ok, images, pixels, tokens: result.tokens, ..item }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_must_be_of_the_kind_of_its_work() {
        let rewound = Done::Rewound { to: ActionId { turn: 1, step: 1 }, undo: String::new() };
        assert!(fits(&Work::Rewind { to: ActionId { turn: 1, step: 1 } }, &rewound).is_ok());
        assert!(fits(&Work::Rewind { to: ActionId { turn: 1, step: 2 } }, &rewound).is_err());
        assert!(fits(&Work::Prepare, &rewound).is_err());
    }
}
