//! The fold: how each event changes the state. The only mutator of [`Session`].
//!
//! Decides nothing. Start at [`Session::apply`]; every arm is one event.

use crate::fsm::{
    ApprovalMove, ApprovalState, CallMove, CallState, Illegal, Phase, PhaseMove, Turn, TurnMove,
};
use crate::session::{
    Approval, Attempt, CallSlot, Child, Ended, Finish, Judged, Pause, Question, Redo, Repeat, Session,
    StepBlock,
};
use contract::action::{Control, Done, EffectClass, End, Item, Outcome, Role, Work};
use contract::checks::{Side, Status};
use contract::event::{Answer, Disposal, Event, Notice, Subject, TaskState};
use contract::intent::Wish;
use contract::{ActionId, Amount, Digest, Timestamp, limits};

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
        self.fold(at, event)?;
        self.seq += 1;
        self.at = at;
        Ok(())
    }

    fn fold(&mut self, at: Timestamp, event: &Event) -> Result<(), Illegal> {
        match event {
            Event::Opened { spec } => {
                self.opened = at;
                self.model = Some(spec.model.clone());
                self.items.push_back(said(Role::User, spec.goal, spec.goal_bytes));
                self.spec = Some(spec.clone());
            }
            Event::Submitted { intent } => self.queue.push(intent.clone()),
            Event::Disposed { intent, how } => self.dispose(*intent, how)?,
            Event::Selected { action, intent, .. } => self.select(*action, *intent)?,
            Event::Started { .. } => self.start(at, event)?,
            Event::Finished { outcome } => self.finish(at, outcome)?,
            Event::Stale { .. } | Event::Garbled { .. } => {}
            Event::Staged { to, round, .. } => {
                let found =
                    self.spec.iter().flat_map(|s| &s.workflow.stages).position(|stage| &stage.name == to);
                self.stage = found.ok_or_else(|| Illegal::new("workflow", event))?;
                self.round = *round;
            }
            Event::Judged { verdict, result, reasons } => self.judged(*verdict, result, reasons),
            Event::Noticed { notice } => self.noticed(notice)?,
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
            }
            Event::ApprovalAnswered { approval, answer, .. } => self.answered(approval, *answer)?,
            Event::Asked { question, text, call, why, choices } => {
                if let Some(call) = call {
                    self.move_call(call, CallMove::HandOver)?;
                }
                let record =
                    Question { text: *text, call: call.clone(), why: why.clone(), choices: choices.clone() };
                self.questions.insert(question.clone(), record);
            }
            Event::Answered { question, text, bytes, .. } => {
                let asked =
                    self.questions.remove(question).ok_or_else(|| Illegal::new("questions", event))?;
                if let Some(call) = asked.call {
                    let item = Item { call: Some(call.clone()), ok: true, ..said(Role::Tool, *text, *bytes) };
                    self.answer_call(&call, item)?;
                }
            }
            Event::CallAnswered { call, ok, what } => {
                let notice = Some(Box::new(Notice::Told { what: what.clone() }));
                let bytes = what.len() as u64;
                let item = Item {
                    role: Role::Tool,
                    text: None,
                    calls: vec![],
                    call: Some(call.clone()),
                    ok: *ok,
                    notice,
                    bytes,
                };
                self.answer_call(call, item)?;
            }
            Event::ChildOpened { child, call, .. } => {
                self.move_call(call, CallMove::HandOver)?;
                self.children.insert(*child, Child { call: call.clone(), ended: false });
            }
            Event::Planned { tasks } => {
                self.plan.tasks = tasks.iter().map(|task| (task.clone(), TaskState::Pending)).collect();
            }
            Event::TaskMoved { task, to } => {
                let found = self.plan.tasks.iter_mut().find(|(t, _)| &t.id == task);
                found.ok_or_else(|| Illegal::new("plan", event))?.1 = *to;
            }
            Event::Cut { items, .. } => {
                let end = (*items as usize).min(self.items.len().saturating_sub(1));
                self.items.drain(1..=end);
            }
            Event::Paused { why, what, hint, code } => {
                self.phase = self.phase.next(PhaseMove::Pause)?;
                self.retry_at = None;
                self.pause =
                    Some(Pause { why: why.clone(), what: what.clone(), hint: hint.clone(), code: *code });
            }
            Event::Resumed { model } => {
                self.phase = self.phase.next(PhaseMove::Resume)?;
                self.pause = None;
                self.failures.clear();
                self.repeat = None;
                self.steps_in_turn = 0;
                if let Some(model) = model {
                    self.model = Some(model.clone());
                }
            }
            Event::Failed { signature, count, retry_at, .. } => {
                self.failures.insert(signature.clone(), *count);
                self.retry_at = *retry_at;
            }
            Event::Recovered { fence, .. } => {
                self.fence = *fence;
                self.ready = false;
            }
            Event::CancelAsked { .. } => self.cancel = true,
            Event::Ended { state, code, why, summary } => {
                self.phase = self.phase.next(PhaseMove::End)?;
                self.pause = None;
                self.retry_at = None;
                self.redo = None;
                self.approvals.clear();
                self.questions.clear();
                self.end = Some(Ended { state: *state, code: *code, why: why.clone(), summary: *summary });
            }
        }
        Ok(())
    }

    fn dispose(&mut self, intent: contract::IntentId, how: &Disposal) -> Result<(), Illegal> {
        let at = self.queue.iter().position(|queued| queued.id == intent);
        let intent = self.queue.remove(at.ok_or_else(|| Illegal::new("queue", how))?);
        match (&intent.wish, how) {
            // A message delivered together with the selected one is still a message.
            (Wish::Message { text, bytes }, Disposal::Merged) => {
                self.items.push_back(said(Role::User, *text, *bytes))
            }
            (Wish::SubtaskEnded { child, end }, Disposal::Applied) => {
                let notice = Notice::ChildEnded { child: *child, end: end.clone() };
                self.child_ended(*child, notice, end.summary, 0, end.code == 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn select(&mut self, action: ActionId, intent: Option<contract::IntentId>) -> Result<(), Illegal> {
        if action.step != self.step + 1 {
            return Err(Illegal::new(format!("at step {}", self.step), action));
        }
        self.step = action.step;
        self.steps_in_turn += 1;
        let Some(id) = intent else { return Ok(()) };
        let at =
            self.queue.iter().position(|queued| queued.id == id).ok_or_else(|| Illegal::new("queue", id))?;
        if let Wish::Message { text, bytes } = self.queue.remove(at).wish {
            self.input(said(Role::User, text, bytes))?;
        }
        Ok(())
    }

    /// Something was said to the agent: the model has the word again.
    fn input(&mut self, item: Item) -> Result<(), Illegal> {
        if self.turn == Turn::Yielded {
            self.turn_no += 1;
            self.steps_in_turn = 0;
            self.finish = None;
        }
        self.turn = self.turn.next(TurnMove::Input)?;
        self.items.push_back(item);
        Ok(())
    }

    fn noticed(&mut self, notice: &Notice) -> Result<(), Illegal> {
        let item = Item {
            role: Role::Notice,
            text: None,
            calls: Vec::new(),
            call: None,
            ok: true,
            notice: Some(Box::new(notice.clone())),
            bytes: limits::NOTICE_BYTES,
        };
        if let (Notice::Workaround { .. }, Some(repeat)) = (notice, &mut self.repeat) {
            repeat.warned_at_tokens = Some(self.used.tokens);
        }
        self.input(item)
    }

    fn start(&mut self, at: Timestamp, event: &Event) -> Result<(), Illegal> {
        let Event::Started { action, attempt, work, class, deadline, fence, approval, reserved, .. } = event
        else {
            return Err(Illegal::new("start", event));
        };
        if self.running.is_some() || action.step > self.step {
            return Err(Illegal::new("one action in flight", action));
        }
        if let Some(id) = approval {
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
        if self.redo.as_ref().is_some_and(|redo| redo.action == *action) {
            self.redo = None;
        }
        if reserved.steps > 0 {
            self.block = Some(StepBlock {
                action: crate::start::block_name(*action),
                granted: reserved.steps,
                used: 0,
            });
        }
        if let Some(block) = &mut self.block {
            block.used += 1;
        }
        self.fence = *fence;
        self.retry_at = None;
        let (work, class) = (work.clone(), *class);
        self.running = Some(Attempt {
            action: *action,
            attempt: *attempt,
            work,
            class,
            deadline: *deadline,
            started: at,
            reserved: *reserved,
        });
        Ok(())
    }

    fn finish(&mut self, at: Timestamp, outcome: &Outcome) -> Result<(), Illegal> {
        let fits = |a: &Attempt| a.action == outcome.action && a.attempt == outcome.attempt;
        let attempt = match self.running.take() {
            Some(attempt) if fits(&attempt) => attempt,
            other => return Err(Illegal::new(other.map(|a| a.action), outcome)),
        };
        let ran_ms = at.since(attempt.started);
        self.used =
            self.used.plus(Amount { steps: 1, time_ms: outcome.used.time_ms.min(ran_ms), ..outcome.used });
        match &outcome.end {
            End::Done(done) => self.done(&attempt, done),
            // Failing before it began is the one failure of an external effect whose outcome is known.
            End::Failed(fault) => {
                self.lost(&attempt, !fault.code.starts_with(contract::error::NOT_RUN), true)
            }
            End::TimedOut => self.lost(&attempt, true, true),
            End::Cancelled | End::Unknown => self.lost(&attempt, true, false),
        }
    }

    /// The attempt gave no result. Calls go back to open, or to unknown when nobody can say what they did.
    /// `began`: the work may have had an effect before it was lost.
    fn lost(&mut self, attempt: &Attempt, began: bool, failed: bool) -> Result<(), Illegal> {
        let unknown = began && attempt.class == EffectClass::External;
        if let Work::Tools { calls } = &attempt.work {
            for call in calls {
                self.move_call(&call.id, if unknown { CallMove::Lose } else { CallMove::Retry })?;
            }
        }
        // What was interrupted runs again under its own name; what failed is a new try, unless it left half a change.
        if unknown || !failed || (began && attempt.class == EffectClass::Staged) {
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
        self.failures.remove(attempt.work.name());
        match done {
            Done::Prepared(prepared) => {
                self.ready = true;
                self.prepared.get_or_insert_with(|| prepared.clone());
            }
            Done::Said { text, bytes, calls, .. } => {
                let made = calls.iter().map(|c| (c.id.clone(), c.tool.clone(), c.args)).collect();
                let item = Item {
                    role: Role::Assistant,
                    text: *text,
                    calls: made,
                    call: None,
                    ok: true,
                    notice: None,
                    bytes: *bytes,
                };
                self.items.push_back(item);
                self.last_text = text.or(self.last_text);
                let slot = |call: &contract::action::Call| CallSlot {
                    call: call.clone(),
                    state: CallState::Open,
                    approval: None,
                };
                self.calls = calls.iter().map(slot).collect();
                self.turn = self.turn.next(if calls.is_empty() {
                    TurnMove::SaidText
                } else {
                    TurnMove::SaidCalls
                })?;
                let wrong: Vec<(String, Digest)> =
                    calls.iter().filter_map(|call| Some((call.id.clone(), call.error?))).collect();
                for (id, error) in wrong {
                    let item = Item { call: Some(id.clone()), ok: false, ..said(Role::Tool, error, 0) };
                    self.answer_call(&id, item)?;
                }
            }
            Done::Ran { results, savepoint } => {
                if let Some(commit) = savepoint {
                    self.savepoints.push_back((attempt.action, commit.clone()));
                    if self.savepoints.len() > limits::SAVEPOINTS {
                        self.savepoints.pop_front();
                    }
                }
                for result in results {
                    self.count_repeat(&result.call, result.ok);
                    self.answer_call(&result.call, Self::result_item(result))?;
                }
            }
            Done::Checked(report) => self.checked(report),
            Done::Inspected { flags, .. } => self.flags = flags.clone(),
            Done::Integrated(integrated) => self.landed = integrated.landed.clone().or(self.landed.take()),
            Done::Adopted { child, text, bytes, clean } => {
                let notice = Notice::Told { what: String::new() };
                self.child_ended(*child, notice, Some(*text), *bytes, *clean)?;
            }
            Done::Rewound { to, undo } => {
                self.savepoints.push_back((attempt.action, undo.clone()));
                if self.turn != Turn::Calls {
                    self.noticed(&Notice::Rewound { to: *to })?;
                }
            }
        }
        Ok(())
    }

    fn checked(&mut self, report: &contract::checks::Report) {
        let base: Vec<_> = report.runs.iter().filter(|run| run.side == Side::Base).cloned().collect();
        if !base.is_empty() {
            self.base_runs = base;
        }
        let failed = report.runs.iter().filter(|run| run.status != Status::Passed);
        let logs = failed
            .filter(|run| run.side == Side::Result || report.same_tree)
            .map(|run| (run.check.clone(), run.log));
        let no_checks = report.runs.is_empty();
        self.verdict = Some(Judged {
            verdict: contract::checks::Verdict::Inconclusive,
            result: report.result.clone(),
            same_tree: report.same_tree,
            no_checks,
            reasons: Vec::new(),
            logs: logs.collect(),
        });
        self.flags.clear();
    }

    fn judged(&mut self, verdict: contract::checks::Verdict, result: &str, reasons: &[String]) {
        if let Some(judged) = self.verdict.as_mut().filter(|judged| judged.result == result) {
            judged.verdict = verdict;
            judged.reasons = reasons.to_vec();
        }
    }

    fn child_ended(
        &mut self,
        child: contract::SessionId,
        notice: Notice,
        text: Option<Digest>,
        bytes: u64,
        ok: bool,
    ) -> Result<(), Illegal> {
        let record = self.children.get_mut(&child).ok_or_else(|| Illegal::new("children", child))?;
        record.ended = true;
        let call = record.call.clone();
        let notice = Some(Box::new(notice));
        let item =
            Item { role: Role::Tool, text, calls: vec![], call: Some(call.clone()), ok, notice, bytes };
        self.answer_call(&call, item)
    }

    fn answered(&mut self, approval: &str, answer: Answer) -> Result<(), Illegal> {
        let record = self.approvals.get_mut(approval).ok_or_else(|| Illegal::new("approvals", approval))?;
        record.state = record.state.next(ApprovalMove::Answer(answer))?;
        let (granted, subject) = (record.state == ApprovalState::Granted, record.subject.clone());
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
            Subject::Land { result } if granted => {
                self.land_agreed = Some(result);
                self.approvals.remove(approval);
            }
            Subject::Call { .. } | Subject::Land { .. } => {}
        }
        if !granted {
            self.approvals.remove(approval);
        }
        Ok(())
    }

    fn move_call(&mut self, id: &str, by: CallMove) -> Result<(), Illegal> {
        let slot = self.call(id).ok_or_else(|| Illegal::new("calls", id))?;
        slot.state = slot.state.next(by)?;
        Ok(())
    }

    fn answer_call(&mut self, id: &str, item: Item) -> Result<(), Illegal> {
        self.move_call(id, CallMove::Answer)?;
        if let Some(Control::Finish { done, needs, summary }) =
            self.call(id).and_then(|slot| slot.call.control.clone())
        {
            self.finish = Some(Finish { done, needs, summary });
        }
        self.items.push_back(item);
        if self.calls.iter().all(|slot| slot.state == CallState::Answered) {
            self.calls.clear();
            let by = if self.finish.is_some() { TurnMove::Finished } else { TurnMove::CallsAnswered };
            self.turn = self.turn.next(by)?;
        }
        Ok(())
    }

    fn count_repeat(&mut self, call: &str, ok: bool) {
        let Some((args, tool)) = self.call(call).map(|slot| (slot.call.args, slot.call.tool.clone())) else {
            return;
        };
        let same = |repeat: &Repeat| repeat.args == args && repeat.tool == tool;
        match &mut self.repeat {
            Some(repeat) if same(repeat) && !ok => repeat.count += 1,
            Some(repeat) if same(repeat) => self.repeat = None,
            _ if !ok => self.repeat = Some(Repeat { args, tool, count: 1, warned_at_tokens: None }),
            _ => {}
        }
    }
}

fn said(role: Role, text: Digest, bytes: u64) -> Item {
    Item { role, text: Some(text), calls: Vec::new(), call: None, ok: true, notice: None, bytes }
}
