//! One session under watch: its fold, and what none of its events may do.
//!
//! Knows events as they stand in the journal; keeps its own small books beside the kernel's. Start at [`Watched::record`].

use crate::cuts::Cuts;
use crate::kinds::{Cover, Edge};
use crate::promise::{Checked, Promise};
use contract::action::{Done, EffectClass, End, Integrated, Outcome, Work};
use contract::error::NOT_RUN;
use contract::event::{Answer, Disposal, Event, Notice, Other, Subject, TaskState};
use contract::intent::{Intent, Source, Wish};
use contract::record::Record;
use contract::{ActionId, ApprovalId, CallId, Digest, IntentId, SessionId, Timestamp};
use kernel::Session;
use kernel::arbiter::{self, Reason};
use kernel::fsm::{ApprovalMove, ApprovalState, CallState, Turn};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An approval as the journal tells of it.
#[derive(Debug)]
struct Asked {
    subject: Subject,
    hash: Digest,
    granted: bool,
    used: bool,
}

/// Events kept for who reads a failing seed.
const TAIL: usize = 14;

#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) state: Session,
    flying: Option<(ActionId, u32, EffectClass)>,
    /// External actions of which nobody knows what they did.
    uncertain: BTreeSet<ActionId>,
    approvals: BTreeMap<ApprovalId, Asked>,
    /// Calls an action has carried.
    carried: BTreeMap<ActionId, Vec<CallId>>,
    /// How often a person agreed to run a call again.
    again: BTreeMap<CallId, u64>,
    /// What people said yes to.
    said: BTreeMap<IntentId, (Source, Digest)>,
    keys: BTreeSet<String>,
    adopted: BTreeSet<SessionId>,
    landed: BTreeSet<String>,
    cuts: Cuts,
    cancelled: bool,
    tail: VecDeque<Record<Event>>,
}

impl Watched {
    pub(crate) fn new(id: SessionId) -> Self {
        Self {
            state: Session::new(id),
            flying: None,
            uncertain: BTreeSet::new(),
            approvals: BTreeMap::new(),
            carried: BTreeMap::new(),
            again: BTreeMap::new(),
            said: BTreeMap::new(),
            keys: BTreeSet::new(),
            adopted: BTreeSet::new(),
            landed: BTreeSet::new(),
            cuts: Cuts::default(),
            cancelled: false,
            tail: VecDeque::new(),
        }
    }

    pub(crate) fn repeats(&self, call: &str) -> u64 {
        self.again.get(call).copied().unwrap_or(0)
    }

    pub(crate) fn took(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    pub(crate) fn describe(&self) -> String {
        let s = &self.state;
        let mut text = format!("  {} ({})\n", s.id, s.status(s.at));
        for record in &self.tail {
            text.push_str(&format!("    {} {} {:?}\n", record.seq, record.at, record.event));
        }
        text.push_str(&format!(
            "    phase {:?} turn {:?} queue {:?} running {:?} redo {:?} retry {:?} children {:?}",
            s.phase, s.turn, s.queue, s.running, s.redo, s.retry_at, s.children
        ));
        text
    }

    /// One durable event: checked against what came before, folded, counted.
    pub(crate) fn record(&mut self, record: &Record<Event>, cover: &mut Cover) -> Checked {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(record.clone());
        let (id, event) = (self.state.id, &record.event);
        self.before(record.at, event, cover)?;
        self.cuts.before(&self.state, event);
        let (phase, turn, items) = (self.state.phase, self.state.turn, self.state.items.len());
        let calls: Vec<(CallId, CallState)> =
            self.state.calls.iter().map(|slot| (slot.call.id.clone(), slot.state)).collect();
        if let Err(illegal) = self.state.apply(record.at, event) {
            return Promise::Fold.broken(format!("{id} at {}: {illegal}", record.seq));
        }
        self.cuts.after(&self.state, event)?;
        if let Event::Compacted { summary: Some(summary), .. } = event {
            // It stands in the place of what went, not at the end.
            cover.met(&Notice::Compacted { summary: summary.clone() });
        }
        cover.met(event);
        cover.met(&self.state.phase);
        cover.met(&self.state.turn);
        if phase != self.state.phase {
            edge(cover, Edge::Phase(phase, self.state.phase))?;
        }
        let spoken = matches!(event, Event::Noticed { .. });
        // A message of which every call is wrong goes there and back within one event.
        let through = matches!(event, Event::Finished { outcome } if said_calls(outcome));
        match (turn, self.state.turn) {
            (Turn::Model, Turn::Model | Turn::Yielded) if through => {
                edge(cover, Edge::Turn(Turn::Model, Turn::Calls))?;
                edge(cover, Edge::Turn(Turn::Calls, self.state.turn))?;
            }
            (before, after) if before != after || spoken => edge(cover, Edge::Turn(before, after))?,
            _ => {}
        }
        for (call, before) in calls {
            let now = self.state.calls.iter().find(|slot| slot.call.id == call).map(|slot| slot.state);
            let after = now.unwrap_or(CallState::Answered);
            if before != after {
                cover.met(&before);
                cover.met(&after);
                edge(cover, Edge::Call(before, after))?;
            }
        }
        for queued in &self.state.queue {
            if let Err(reason) = arbiter::eligible(&self.state, &queued.wish, record.at) {
                cover.met(&reason);
            }
        }
        if let (true, Some(notice)) =
            (self.state.items.len() > items, self.state.items.back().and_then(|item| item.notice.as_ref()))
        {
            cover.met(&**notice);
        }
        if let Some(waiting) = self.state.waiting(record.at) {
            cover.met(&waiting);
        }
        Ok(())
    }

    /// What this event must not do, given what came before it.
    fn before(&mut self, at: Timestamp, event: &Event, cover: &mut Cover) -> Checked {
        match event {
            Event::Submitted { intent } => self.submitted(intent, cover)?,
            Event::Disposed { intent, how } => self.disposed(*intent, how, cover),
            Event::Selected { intent, source, others, .. } => {
                cover.met(source);
                self.explained(at, *intent, others, cover)?;
            }
            Event::Started { action, attempt, work, class, approval, .. } => {
                cover.met(work);
                cover.met(class);
                self.started(*action, *attempt, work, *class)?;
                self.approved(*action, work, approval.as_ref(), cover)?;
            }
            Event::Finished { outcome } => self.finished(outcome, cover)?,
            Event::Staged { to, .. } => {
                let stages = self.state.spec.iter().flat_map(|spec| &spec.workflow.stages);
                stages.filter(|stage| &stage.name == to).for_each(|stage| cover.met(&stage.kind));
            }
            Event::Opened { spec } => {
                spec.workflow.stages.first().iter().for_each(|stage| cover.met(&stage.kind));
            }
            Event::Judged { verdict, .. } => cover.met(verdict),
            Event::ApprovalAsked { approval, subject, hash, .. } => {
                cover.met(subject);
                cover.met(&ApprovalState::Pending);
                let asked = Asked { subject: subject.clone(), hash: *hash, granted: false, used: false };
                self.approvals.insert(approval.clone(), asked);
            }
            Event::ApprovalAnswered { approval, answer, by } => {
                self.answered(approval, *answer, *by, cover)?
            }
            Event::Planned { tasks } => {
                cover.met(&TaskState::Pending);
                self.ordered(tasks)?;
            }
            Event::TaskMoved { task, to } => {
                cover.met(to);
                self.moved(task, *to)?;
            }
            Event::Paused { why, .. } => {
                let known = cover.paused(why);
                Promise::Known.holds(known, || format!("a pause for {why}"))?;
            }
            Event::CancelAsked { .. } => self.cancelled = true,
            Event::Ended { state, .. } => cover.met(state),
            _ => {}
        }
        Ok(())
    }

    /// Each intent takes effect once (its key is taken once, for ever).
    fn submitted(&mut self, intent: &Intent, cover: &mut Cover) -> Checked {
        cover.met(&intent.wish);
        cover.met(&intent.source);
        if let Wish::Approve { hash, .. } = &intent.wish {
            self.said.insert(intent.id, (intent.source, *hash));
        }
        let fresh = self.keys.insert(intent.key.clone());
        Promise::Dedupe.holds(fresh, || format!("{}: intent {} came in twice", self.state.id, intent.key))
    }

    fn disposed(&mut self, intent: IntentId, how: &Disposal, cover: &mut Cover) {
        cover.met(how);
        if let Disposal::Refused(why) = how {
            let reasons = [Reason::NothingToDo, Reason::Undecided, Reason::CallsOpen, Reason::Ended];
            reasons.iter().filter(|reason| reason.to_string() == *why).for_each(|reason| cover.met(reason));
        }
        if let (Disposal::Applied, Some(queued)) = (how, self.state.queue.iter().find(|i| i.id == intent))
            && let Wish::SubtaskEnded { child, .. } = &queued.wish
        {
            self.adopted.insert(*child);
        }
    }

    /// Every queued intent that was not chosen has a reason.
    fn explained(
        &self,
        at: Timestamp,
        chosen: Option<IntentId>,
        others: &[Other],
        cover: &mut Cover,
    ) -> Checked {
        let outranked = Reason::Outranked.to_string();
        for queued in self.state.queue.iter().filter(|queued| Some(queued.id) != chosen) {
            let reason = others.iter().find(|other| other.intent == Some(queued.id));
            let told = reason.is_some_and(|other| !other.why.is_empty());
            Promise::Explained
                .holds(told, || format!("{}: nothing says why {:?} waited", self.state.id, queued.wish))?;
            match arbiter::eligible(&self.state, &queued.wish, at) {
                Err(why) => cover.met(&why),
                Ok(()) if reason.is_some_and(|other| other.why == outranked) => cover.met(&Reason::Outranked),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn started(&mut self, action: ActionId, attempt: u32, work: &Work, class: EffectClass) -> Checked {
        let id = self.state.id;
        Promise::Stop.holds(!self.cancelled, || format!("{id}: {action} starts after a cancel"))?;
        let other = self.flying.replace((action, attempt, class));
        Promise::Once
            .holds(other.is_none(), || format!("{id}: {action} starts while {other:?} is in flight"))?;
        match work {
            Work::Adopt { child, .. } => {
                let fresh = !self.adopted.contains(child);
                Promise::Once.holds(fresh, || format!("{id}: the result of {child} is taken over twice"))?;
            }
            Work::Integrate { result } => {
                let fresh = !self.landed.contains(result);
                Promise::Once.holds(fresh, || format!("{id}: {result} lands twice"))?;
            }
            Work::Tools { calls } => {
                let ids = calls.iter().map(|call| call.id.clone());
                self.carried.entry(action).or_default().extend(ids);
            }
            _ => {}
        }
        Ok(())
    }

    /// A start under an approval: it was given, for this, and is used up now (I7). An unknown one needs it (I6).
    fn approved(
        &mut self,
        action: ActionId,
        work: &Work,
        approval: Option<&ApprovalId>,
        cover: &mut Cover,
    ) -> Checked {
        let id = self.state.id;
        let asked = approval.and_then(|approval| self.approvals.get_mut(approval));
        if self.uncertain.remove(&action) {
            let yes = asked.as_ref().is_some_and(|a| a.granted && a.subject == Subject::RunAgain { action });
            Promise::Unknown.holds(yes, || format!("{id}: {action} runs again; nobody knows what it did"))?;
        }
        let Some(name) = approval else { return Ok(()) };
        let Some(asked) = asked else {
            return Promise::Approval
                .broken(format!("{id}: {action} runs under {name}, which nobody asked for"));
        };
        Promise::Approval.holds(asked.granted, || format!("{id}: {name} was used without a yes"))?;
        Promise::Approval.holds(!asked.used, || format!("{id}: {name} was used twice"))?;
        asked.used = true;
        cover.met(&ApprovalState::Used);
        edge(cover, Edge::Approval(ApprovalState::Granted, ApprovalMove::Use))?;
        let Work::Tools { calls } = work else { return Ok(()) };
        let shown = calls.first().map(|call| call.hash);
        Promise::Approval.holds(shown == Some(asked.hash), || {
            format!("{id}: {name} was given for {}, and {shown:?} runs", asked.hash)
        })
    }

    fn finished(&mut self, outcome: &Outcome, cover: &mut Cover) -> Checked {
        let flying = self.flying.take();
        let own =
            flying.is_some_and(|(action, attempt, _)| (action, attempt) == (outcome.action, outcome.attempt));
        let id = self.state.id;
        Promise::Once.holds(own, || {
            format!("{id}: the end of {}/{} counts for {flying:?}", outcome.action, outcome.attempt)
        })?;
        cover.met(&outcome.end);
        match &outcome.end {
            End::Done(done) => {
                cover.met(done);
                self.done(done, cover);
            }
            End::Failed(fault) => cover.met(&fault.kind),
            End::TimedOut | End::Cancelled | End::Unknown => {}
        }
        // Failing before it began is the one failure of an external effect whose outcome is known.
        let known = match &outcome.end {
            End::Done(_) => true,
            End::Failed(fault) => fault.code.starts_with(NOT_RUN),
            End::TimedOut | End::Cancelled | End::Unknown => false,
        };
        if !known && flying.is_some_and(|(_, _, class)| class == EffectClass::External) {
            self.uncertain.insert(outcome.action);
        }
        Ok(())
    }

    fn done(&mut self, done: &Done, cover: &mut Cover) {
        match done {
            Done::Said { calls, stop, .. } => {
                cover.met(stop);
                calls.iter().filter_map(|call| call.control.as_ref()).for_each(|control| cover.met(control));
            }
            Done::Checked(report) => report.runs.iter().for_each(|run| cover.met(&run.status)),
            Done::Adopted { child, .. } => {
                self.adopted.insert(*child);
            }
            Done::Integrated(Integrated { landed: Some(landed), .. }) => {
                self.landed.insert(landed.clone());
            }
            _ => {}
        }
    }

    /// A yes comes from a person, and for the content that was shown (I7).
    fn answered(
        &mut self,
        name: &ApprovalId,
        answer: Answer,
        by: Option<IntentId>,
        cover: &mut Cover,
    ) -> Checked {
        cover.met(&answer);
        let id = self.state.id;
        let Some(asked) = self.approvals.get_mut(name) else {
            return Promise::Approval.broken(format!("{id}: an answer to {name}, which nobody asked"));
        };
        let before = if asked.granted { ApprovalState::Granted } else { ApprovalState::Pending };
        edge(cover, Edge::Approval(before, ApprovalMove::Answer(answer)))?;
        if answer != Answer::Granted {
            cover.met(&ApprovalState::Closed);
            return Ok(());
        }
        cover.met(&ApprovalState::Granted);
        let said = by.and_then(|by| self.said.get(&by));
        let exact = said.is_some_and(|(source, hash)| *source == Source::User && *hash == asked.hash);
        Promise::Approval.holds(exact, || format!("{id}: {name} counts as granted, by {said:?}"))?;
        asked.granted = true;
        if let Subject::RunAgain { action } = &asked.subject {
            for call in self.carried.get(action).into_iter().flatten() {
                *self.again.entry(call.clone()).or_default() += 1;
            }
        }
        Ok(())
    }

    /// A plan is in an order in which it can be done (I8).
    fn ordered(&self, tasks: &[contract::action::Task]) -> Checked {
        for (at, task) in tasks.iter().enumerate() {
            let known = task.after.iter().all(|id| tasks[..at].iter().any(|before| before.id == *id));
            Promise::Order.holds(known, || {
                format!("{}: task {} is planned before what it needs", self.state.id, task.id)
            })?;
        }
        Ok(())
    }

    /// A task begins when all it depends on is done, and is done once (I8, I4).
    fn moved(&self, task: &str, to: TaskState) -> Checked {
        let tasks = &self.state.plan.tasks;
        let of = |id: &str| tasks.iter().find(|(task, _)| task.id == id).map(|(_, state)| *state);
        let id = self.state.id;
        if to == TaskState::Done {
            Promise::Once
                .holds(of(task) == Some(TaskState::Active), || format!("{id}: task {task} is done twice"))?;
        }
        if to != TaskState::Active {
            return Ok(());
        }
        let needs = tasks.iter().filter(|(t, _)| t.id == task).flat_map(|(t, _)| &t.after);
        let missing = needs.into_iter().find(|need| of(need) != Some(TaskState::Done));
        Promise::Order
            .holds(missing.is_none(), || format!("{id}: task {task} begins before {missing:?} is done"))
    }
}

fn said_calls(outcome: &Outcome) -> bool {
    matches!(&outcome.end, End::Done(Done::Said { calls, .. }) if !calls.is_empty())
}

/// A move, counted; one that the tables do not have would have been refused by the fold.
fn edge(cover: &mut Cover, edge: Edge) -> Checked {
    let known = cover.edge(edge);
    Promise::Known.holds(known, || format!("no table has the edge {edge}"))
}
