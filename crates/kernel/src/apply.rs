//! The fold: how each event changes the state. The only mutator of [`Session`].
//!
//! Decides nothing. Start at [`Session::apply`]; every arm is one event. What actions change is in [`crate::attempt`].

use crate::attempt::said;
use crate::circle::CIRCLE;
use crate::fsm::{
    ApprovalMove, ApprovalState, CallMove, CallState, Illegal, Phase, PhaseMove, Turn, TurnMove,
};
use crate::hooks::HookState;
use crate::retry::RETRY;
use crate::session::{Approval, Child, Ended, Finish, HeldUp, LandWord, Pause, Question, Session};
use contract::action::{Control, Item, Role, Work};
use contract::event::{Answer, Disposal, Event, Notice, Subject, TaskState};
use contract::hooks::{Asked, HookEvent};
use contract::intent::{Intent, Source, Wish};
use contract::{Timestamp, limits};
use std::sync::Arc;

impl Session {
    /// Folds one event. An event the state has no place for is an error: the journal or the kernel is broken.
    pub fn apply(&mut self, at: Timestamp, event: &Event) -> Result<(), Illegal> {
        if self.spec.is_none() != matches!(event, Event::Opened { .. }) {
            return Err(Illegal::new("opened exactly once, first", event));
        }
        if self.phase == Phase::Ended
            && !matches!(
                event,
                Event::Stale { .. }
                    | Event::Garbled { .. }
                    | Event::Submitted { .. }
                    | Event::Disposed { .. }
            )
        {
            return Err(Illegal::new(self.phase, event));
        }
        let before = std::mem::replace(&mut self.at, at);
        self.fold(at, event).inspect_err(|_| self.at = before)?;
        self.seq += 1;
        Ok(())
    }

    fn fold(&mut self, at: Timestamp, event: &Event) -> Result<(), Illegal> {
        match event {
            Event::Opened { spec } => {
                self.opened = at;
                self.model = Some(spec.model.clone());
                self.push(said(Role::User, spec.goal, spec.goal_bytes));
                self.spec = Some(Arc::new((**spec).clone()));
            }
            Event::Submitted { intent } => self.queue.push(intent.clone()),
            Event::Disposed { intent, how } => self.dispose(*intent, how)?,
            Event::Selected { action, intent, source, wish, .. } => {
                if wish == "message" {
                    self.asked_by = Some(*source);
                }
                self.select(*action, *intent)?;
            }
            Event::Started { .. } => self.start(at, event)?,
            Event::Finished { outcome } => self.finish(at, outcome)?,
            Event::Stale { .. } | Event::Garbled { .. } | Event::Warned { .. } => {}
            Event::Staged { to, round, .. } => self.staged(to, *round)?,
            Event::Judged { verdict, result, reasons } => self.judged(*verdict, result, reasons),
            Event::Noticed { notice } => self.noticed(notice)?,
            Event::ApprovalAsked { .. }
            | Event::ApprovalAnswered { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::CallAnswered { .. }
            | Event::ChildOpened { .. } => self.fold_wait(at, event)?,
            Event::Planned { tasks } => {
                self.plan.tasks = tasks.iter().map(|task| (task.clone(), TaskState::Pending)).collect();
            }
            Event::TaskMoved { task, to } => {
                let found = self.plan.tasks.iter_mut().find(|(t, _)| &t.id == task);
                found.ok_or_else(|| Illegal::new("plan", event))?.1 = *to;
            }
            Event::Cut { items, .. } => {
                let left = self.items.len().saturating_sub(1) as u64;
                if *items > left {
                    return Err(Illegal::new(format!("{left} items that may be cut"), event));
                }
                self.last_cut.clear();
                let gone: Vec<Item> = self.items.drain(1..=*items as usize).collect();
                gone.into_iter().for_each(|item| self.evict(item));
                self.reworded();
            }
            Event::Compacted { .. } | Event::Uncompacted { .. } | Event::Repaired { .. } => {
                self.fold_context(event)?;
                if let Event::Compacted { summary, .. } = event {
                    (self.hooks.compact, self.cut_once) = (false, false);
                    let text = summary.as_ref().and_then(|summary| summary.text);
                    self.tell_hooks(Asked { text, ..Asked::of(HookEvent::PostCompact, "auto") });
                }
            }
            Event::Waits { .. } | Event::FellBack { .. } => self.fold_limit(at, event),
            Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Failed { .. }
            | Event::Recovered { .. }
            | Event::CancelAsked { .. }
            | Event::Ending { .. }
            | Event::Ended { .. } => self.fold_phase(at, event)?,
        }
        Ok(())
    }

    /// What calls wait for: people and children, and their answers.
    fn fold_wait(&mut self, at: Timestamp, event: &Event) -> Result<(), Illegal> {
        match event {
            Event::ApprovalAsked { approval, subject, hash, expires } => {
                if let Subject::Call { call } = subject {
                    self.move_call(call, CallMove::AskApproval)?;
                }
                let record = Approval {
                    subject: subject.clone(),
                    hash: *hash,
                    state: ApprovalState::Pending,
                    expires: *expires,
                    asked: at,
                };
                self.approvals.insert(approval.clone(), record);
                self.tell_hooks(Asked::of(HookEvent::Notification, "permission_prompt"));
            }
            Event::ApprovalAnswered { approval, answer, .. } => self.answered(approval, *answer)?,
            Event::Asked { question, text, call, why, choices } => {
                if let Some(call) = call {
                    self.move_call(call, CallMove::HandOver)?;
                }
                let record =
                    Question { text: *text, call: call.clone(), why: why.clone(), choices: choices.clone() };
                self.questions.insert(question.clone(), record);
                let asked = Asked { text: *text, ..Asked::of(HookEvent::Notification, "elicitation_dialog") };
                self.tell_hooks(asked);
            }
            Event::Answered { question, text, bytes, .. } => {
                self.asked_by = Some(Source::User);
                let asked =
                    self.questions.remove(question).ok_or_else(|| Illegal::new("questions", event))?;
                if let Some(call) = asked.call {
                    let item = Item { call: Some(call.clone()), ok: true, ..said(Role::Tool, *text, *bytes) };
                    self.answer_call(&call, item)?;
                }
            }
            Event::CallAnswered { call, ok, what } => {
                // A question whose call is answered otherwise is no longer asked.
                self.questions.retain(|_, question| question.call.as_ref() != Some(call));
                // Nor is the child of a call that is answered otherwise waited for any longer.
                self.children
                    .values_mut()
                    .filter(|child| child.call == *call)
                    .for_each(|child| child.ended = true);
                self.redo.take_if(|redo| matches!(&redo.work, Work::Adopt { call: of, .. } if of == call));
                let notice = Some(Box::new(Notice::Told { what: what.clone() }));
                let bytes = what.len() as u64;
                let item = Item { call: Some(call.clone()), ok: *ok, notice, bytes, ..Item::by(Role::Tool) };
                self.answer_call(call, item)?;
            }
            Event::ChildOpened { child, call, .. } => {
                self.move_call(call, CallMove::HandOver)?;
                self.children.insert(*child, Child { call: call.clone(), ended: false, end: None });
                // The steps taken ahead were given back: the child may need them.
                self.block = None;
            }
            _ => return Err(Illegal::new("waits", event)),
        }
        Ok(())
    }

    /// A limit, or an outage, of a provider.
    fn fold_limit(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::Waits { until, .. } if *until <= at => {
                self.held_up = None;
                self.retry_at = None;
            }
            Event::Waits { why, what, until } => {
                self.held_up = Some(HeldUp { why: why.clone(), what: what.clone(), until: *until });
            }
            Event::FellBack { to, .. } => {
                self.model = Some(to.clone());
                self.held_up = None;
                self.retry_at = None;
                // Those were the other model's.
                self.cache.forget();
                self.failures.retain(|signature, _| !signature.starts_with("model/"));
                // The interrupted call of the other model is not made again.
                self.redo.take_if(|redo| redo.work.asks_model());
            }
            _ => {}
        }
    }

    /// Whether the session goes on, waits for a person, or is over.
    fn fold_phase(&mut self, at: Timestamp, event: &Event) -> Result<(), Illegal> {
        match event {
            Event::Paused { why, what, hint, code } => {
                self.phase = self.phase.next(PhaseMove::Pause)?;
                if *code != 0 {
                    self.tell_hooks(Asked::of(HookEvent::Notification, "idle_prompt"));
                }
                self.retry_at = None;
                self.held_up = None;
                self.block = None;
                self.pause =
                    Some(Pause { why: why.clone(), what: what.clone(), hint: hint.clone(), code: *code });
            }
            Event::Resumed { model } => {
                self.phase = self.phase.next(PhaseMove::Resume)?;
                self.tell_hooks(Asked::of(HookEvent::SessionStart, "resume"));
                self.cut_once = self.may_cut() && model.is_none();
                let why = self.pause.take().map(|pause| pause.why).unwrap_or_default();
                // What a provider keeps it does not keep for long.
                self.cache.resumed(&why);
                self.failures.clear();
                self.repeat = None;
                self.cut_replies = 0;
                self.steps_in_turn = 0;
                self.trail.forget();
                if let Some(model) = model {
                    self.model = Some(model.clone());
                    // The interrupted call of another model is not made again.
                    self.redo.take_if(|redo| redo.work.asks_model());
                }
            }
            Event::Failed { signature, count, then, retry_at } => {
                self.failures.insert(signature.clone(), *count);
                self.retry_at = *retry_at;
                self.retry_from = at;
                if then != RETRY {
                    // A rewind that cannot be done must not keep the session from going on.
                    self.redo.take_if(|redo| matches!(redo.work, Work::Rewind { .. }));
                    // Who is only told of something, and cannot be, is passed over.
                    if signature.starts_with("hooks/") {
                        self.hooks.due.pop_front_if(|due| !due.event.guards());
                    }
                }
            }
            Event::Recovered { fence, .. } => {
                if *fence < self.fence {
                    return Err(Illegal::new(format!("held under lease {}", self.fence), event));
                }
                self.fence = *fence;
                self.ready = false;
                // Another program may word the same conversation otherwise.
                self.counted = None;
                self.cache.forget();
            }
            Event::CancelAsked { .. } => self.cancel = true,
            Event::Ending { state, code, why } => {
                let (state, code, why) = (*state, *code, why.clone());
                self.hooks.ending = Some(Ended { state, code, why, summary: None });
            }
            Event::Ended { .. } if self.running.is_some() => {
                return Err(Illegal::new("an action is in flight", event));
            }
            Event::Ended { state, code, why, summary } => {
                self.over(Ended { state: *state, code: *code, why: why.clone(), summary: *summary })?;
            }
            _ => return Err(Illegal::new(self.phase, event)),
        }
        Ok(())
    }

    fn over(&mut self, end: Ended) -> Result<(), Illegal> {
        self.phase = self.phase.next(PhaseMove::End)?;
        self.pause = None;
        self.retry_at = None;
        self.held_up = None;
        self.redo = None;
        self.block = None;
        self.approvals.clear();
        self.questions.clear();
        self.hooks = HookState::default();
        self.end = Some(end);
        Ok(())
    }

    /// In another stage, or in the same one again: its time begins anew.
    fn staged(&mut self, to: &str, round: u32) -> Result<(), Illegal> {
        let found = self.spec.iter().flat_map(|s| &s.workflow.stages).position(|stage| stage.name == to);
        self.stage = found.ok_or_else(|| Illegal::new("workflow", to))?;
        self.round = round;
        let limited = self.stage().is_some_and(|stage| stage.limit_ms.is_some());
        self.stage_from_ms = if limited { self.used.time_ms } else { 0 };
        self.without_checks();
        Ok(())
    }

    /// Checks of a stage that was left are not made again: a message that went to the agent has taken their place.
    fn without_checks(&mut self) {
        self.redo.take_if(|redo| matches!(redo.work, Work::Check { .. }));
    }

    /// The conversation is no longer what was counted and kept.
    pub(crate) fn reworded(&mut self) {
        (self.anchor, self.counted) = (None, None);
        self.cache.forget();
    }

    pub(crate) fn take_queued(&mut self, id: contract::IntentId) -> Result<Intent, Illegal> {
        self.hooks.cleared.retain(|cleared| *cleared != id);
        let at = self.queue.iter().position(|queued| queued.id == id);
        Ok(self.queue.remove(at.ok_or_else(|| Illegal::new("queue", id))?))
    }

    fn dispose(&mut self, intent: contract::IntentId, how: &Disposal) -> Result<(), Illegal> {
        let intent = self.take_queued(intent)?;
        match (&intent.wish, how) {
            // A message delivered together with the selected one is still a message.
            (Wish::Message { text, bytes }, Disposal::Merged) => self.push(said(Role::User, *text, *bytes)),
            (Wish::SubtaskEnded { child, end }, Disposal::Applied) => {
                if let Some(record) = self.children.get_mut(child) {
                    record.end = Some(end.clone());
                }
                let notice = Notice::ChildEnded { child: *child, end: end.clone() };
                self.child_ended(*child, Some(notice), end.summary, 0, end.code == 0)?;
            }
            (Wish::CapCall { call }, Disposal::Applied) => self.call_cap = Some(*call),
            _ => {}
        }
        Ok(())
    }

    /// Something was said to the agent: the model has the word again. `opens`: a new turn, if it had yielded.
    pub(crate) fn input(&mut self, item: Item, opens: bool) -> Result<(), Illegal> {
        self.hooks.stop = false;
        if opens && self.turn == Turn::Yielded {
            self.turn_no += 1;
            self.steps_in_turn = 0;
            self.finish = None;
        }
        self.turn = self.turn.next(TurnMove::Input)?;
        if item.role == Role::User {
            self.trail.forget();
        }
        self.push(item);
        Ok(())
    }

    pub(crate) fn noticed(&mut self, notice: &Notice) -> Result<(), Illegal> {
        let notice_of = Some(Box::new(notice.clone()));
        let item = Item { notice: notice_of, bytes: limits::NOTICE_BYTES, ..Item::by(Role::Notice) };
        match (notice, &mut self.repeat) {
            (Notice::Workaround { signature }, _) if signature == CIRCLE => self.trail.told(),
            (Notice::Workaround { .. }, Some(repeat)) => {
                repeat.warned_at_tokens = Some(self.used.tokens);
                repeat.warned_at_count = repeat.count;
            }
            _ => {}
        }
        // A reply that was cut goes on in the same turn: its steps count on.
        self.input(item, *notice != Notice::ReplyCut)
    }

    fn judged(&mut self, verdict: contract::checks::Verdict, result: &str, reasons: &[String]) {
        if let Some(judged) = self.verdict.as_mut().filter(|judged| judged.result == result) {
            judged.verdict = verdict;
            judged.reasons = reasons.to_vec();
        }
    }

    fn answered(&mut self, approval: &str, answer: Answer) -> Result<(), Illegal> {
        let record = self.approvals.get_mut(approval).ok_or_else(|| Illegal::new("approvals", approval))?;
        record.state = record.state.next(ApprovalMove::Answer(answer))?;
        let (granted, subject) = (record.state == ApprovalState::Granted, record.subject.clone());
        let land = matches!(subject, Subject::Land { .. });
        match subject {
            Subject::Call { call } if granted => {
                self.move_call(&call, CallMove::Approve)?;
                if let Some(slot) = self.call(&call) {
                    slot.approval = Some(approval.to_owned());
                }
            }
            Subject::RunAgain { .. } if granted => {
                if let Some(redo) = &mut self.redo {
                    redo.allowed = true;
                    redo.approval = Some(approval.to_owned());
                    if let Work::Tools { calls } = redo.work.clone() {
                        for call in calls {
                            self.move_call(&call.id, CallMove::Retry)?;
                        }
                    }
                }
            }
            Subject::RunAgain { .. } => self.redo = None,
            Subject::Land { .. } if answer == Answer::Withdrawn => {}
            Subject::Land { result } => self.land = Some(LandWord { result, answer }),
            Subject::Call { .. } => {}
        }
        // A yes for something that is to run is kept until it is used.
        if !granted || land {
            self.approvals.remove(approval);
        }
        Ok(())
    }

    pub(crate) fn move_call(&mut self, id: &str, by: CallMove) -> Result<(), Illegal> {
        let slot = self.call(id).ok_or_else(|| Illegal::new("calls", id))?;
        slot.state = slot.state.next(by)?;
        Ok(())
    }

    pub(crate) fn answer_call(&mut self, id: &str, item: Item) -> Result<(), Illegal> {
        self.move_call(id, CallMove::Answer)?;
        self.count_repeat(id, item.ok);
        if let Some(slot) = self.calls.iter().find(|slot| slot.call.id == id) {
            self.trail.answered(&slot.call, item.ok, item.text);
        }
        match self.call(id).and_then(|slot| slot.call.control.clone()).filter(|_| item.ok) {
            Some(Control::Finish { done, needs, summary }) => {
                self.finish = Some(Finish { done, needs, summary });
            }
            Some(Control::Todo { items }) => self.todo = items,
            Some(Control::FindTools { names }) => {
                for name in names {
                    if !self.found.contains(&name) && self.found.len() < limits::TOOLS_FOUND {
                        self.found.push(name);
                        // The next request shows it: what was counted before is no bound any more.
                        self.reworded();
                    }
                }
            }
            _ => {}
        }
        self.push(item);
        if self.calls.iter().all(|slot| slot.state == CallState::Answered) {
            self.calls.clear();
            self.trail.stepped(self.called_at, self.at);
            let by = if self.finish.is_some() { TurnMove::Finished } else { TurnMove::CallsAnswered };
            self.turn = self.turn.next(by)?;
            self.say_notes();
        }
        Ok(())
    }
}
