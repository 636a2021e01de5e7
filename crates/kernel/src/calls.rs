//! Intents that take effect at once, and calls that are decisions: approve, answer, cancel, plan, delegate, finish.
//!
//! Start at [`Draft::submitted`] (what people send) and [`Draft::control`] (what agents call).

use crate::decide::Draft;
use crate::fsm::{ApprovalState, CallState, Phase, Turn};
use crate::session::CallSlot;
use crate::{Illegal, plan, policy, workflow};
use contract::action::{Call, Control, Effect, Task, Todo};
use contract::event::{Answer, Disposal, Event, LedgerEvent, TaskState};
use contract::intent::{Intent, Source, Wish};
use contract::session::{Parent, Rights, SessionSpec, StageKind};
use contract::{Amount, ApprovalId, Digest, QuestionId, limits, text};

impl Draft<'_> {
    /// An intent came out of the inbox. Some wishes need no action and take effect at once; the others queue.
    pub(crate) fn submitted(&mut self, intent: Intent) -> Result<(), Illegal> {
        if let Some(why) = self.misplaced(&intent) {
            return self.emit(Event::Garbled { why });
        }
        let refused = self.refuse(&intent);
        let (id, source, wish) = (intent.id, intent.source, intent.wish.clone());
        self.emit(Event::Submitted { intent })?;
        if let Some(how) = refused {
            return self.dispose(id, how);
        }
        let how = match wish {
            Wish::Cancel => self.cancel(id)?,
            Wish::Resume { model: None } if self.s.pause.is_none() => return Ok(()),
            Wish::Continue if source == Source::User => return self.lifted(),
            Wish::Resume { model: None } if source != Source::User && self.s.waits_for_a_cut() => {
                Disposal::Refused("only a person may have this conversation cut".into())
            }
            Wish::Resume { model } => self.resume(model.map(|model| *model))?,
            Wish::Approve { approval, hash } => self.approve(id, &approval, hash)?,
            Wish::Deny { approval } => self.deny(id, &approval)?,
            Wish::Answer { question, text, bytes } => self.answer(id, &question, text, bytes)?,
            Wish::AddBudget { amount } => self.add_budget(amount)?,
            Wish::CapCall { .. } => Disposal::Applied,
            Wish::Message { .. } if source == Source::User => return self.spoken_to(id),
            Wish::Pause if self.s.running.is_none() && !self.s.cancel => return self.pause_now(id),
            Wish::Uncompact { item } if self.s.running.is_none() => self.uncompact(item)?,
            Wish::Continue
            | Wish::Initialise
            | Wish::Message { .. }
            | Wish::Pause
            | Wish::Uncompact { .. }
            | Wish::Rewind { .. }
            | Wish::SubtaskEnded { .. } => return Ok(()),
        };
        self.dispose(id, how)
    }

    /// What cannot even be put on record as a wish for this session.
    fn misplaced(&self, intent: &Intent) -> Option<String> {
        if intent.session != self.s.id {
            return Some(format!("intent {} is for session {}", intent.id, intent.session));
        }
        let twice = self.s.queue.iter().any(|queued| queued.id == intent.id);
        twice.then(|| format!("intent {} was delivered twice", intent.id))
    }

    /// What is refused at the door, whatever is wished.
    fn refuse(&self, intent: &Intent) -> Option<Disposal> {
        let person = "only a person may approve, answer or raise a budget";
        let typed = matches!(
            intent.wish,
            Wish::Approve { .. } | Wish::Answer { .. } | Wish::AddBudget { .. } | Wish::CapCall { .. }
        );
        let full = self.s.queue.len() >= limits::MAILBOX_INTENTS && takes_a_place(&intent.wish);
        if !self.open_ended() {
            return Some(Disposal::Refused("the session has ended".into()));
        }
        if intent.ttl_ms.is_some_and(|ttl| self.ctx.now >= intent.at.plus(ttl)) {
            return Some(Disposal::Expired);
        }
        if !intent.key.is_empty() && self.s.queue.iter().any(|queued| queued.key == intent.key) {
            return Some(Disposal::Superseded);
        }
        if typed && intent.source != Source::User {
            return Some(Disposal::Refused(person.into()));
        }
        full.then(|| {
            let most = limits::MAILBOX_INTENTS;
            Disposal::Refused(format!("busy: {most} intents wait already; try again later"))
        })
    }

    /// A person's message. It never queues behind a wait for the person, and it never is the yes or the answer that
    /// was waited for: what waits is withdrawn, and the agent is told so.
    fn spoken_to(&mut self, by: contract::IntentId) -> Result<(), Illegal> {
        // A message is no yes to what only a person may have done (promise 8): it is heard after that.
        if self.s.pause.is_some() && !self.s.waits_for_a_cut() {
            self.emit(Event::Resumed { model: None })?;
        }
        self.withdraw(Some(by))?;
        while let Some(call) = self.s.questions.values().find_map(|question| question.call.clone()) {
            let what = "not answered: the person wrote a message instead; it follows".to_owned();
            self.emit(Event::CallAnswered { call, ok: false, what })?;
        }
        Ok(())
    }

    /// The same for a message that lay in the queue when the agent's question came up.
    pub(crate) fn spoken_before(&mut self) -> Result<bool, Illegal> {
        let asks = self.s.pending_approval().is_some() || !self.s.questions.is_empty();
        if !asks || self.s.phase != Phase::Active {
            return Ok(false);
        }
        let said =
            |intent: &&Intent| intent.source == Source::User && matches!(intent.wish, Wish::Message { .. });
        let Some(by) = self.s.queue.iter().find(said).map(|intent| intent.id) else { return Ok(false) };
        self.spoken_to(by)?;
        Ok(true)
    }

    /// Approvals that are pending are no longer needed.
    pub(crate) fn withdraw(&mut self, by: Option<contract::IntentId>) -> Result<(), Illegal> {
        while let Some(id) = self.s.pending_approval().map(|(id, _)| id.to_owned()) {
            self.no(&id, Answer::Withdrawn, by)?;
        }
        Ok(())
    }

    fn pause_now(&mut self, id: contract::IntentId) -> Result<(), Illegal> {
        let budget = match self.s.pause.as_ref().map(|pause| pause.why.as_str()) {
            None => false,
            // It would go on by itself; a person does not want that.
            Some("budget") => true,
            Some(_) => return self.dispose(id, Disposal::Superseded),
        };
        // Before the pause, which disposes of every other wish for one.
        self.dispose(id, Disposal::Applied)?;
        if budget {
            self.emit(Event::Resumed { model: None })?;
        }
        self.pause_for_user()
    }

    fn cancel(&mut self, by: contract::IntentId) -> Result<Disposal, Illegal> {
        if self.s.cancel {
            // Asked for again: no more patience with what is in flight.
            self.stop(true);
            return Ok(Disposal::Superseded);
        }
        // Barred first, then told (DESIGN section 2): nothing below can be granted anything from here on.
        let session = self.s.id;
        self.emit_ledger(LedgerEvent::Barred { session })?;
        self.emit(Event::CancelAsked { by })?;
        self.cancel_children()?;
        self.stop(false);
        Ok(Disposal::Applied)
    }

    fn resume(&mut self, model: Option<contract::model::ModelRef>) -> Result<Disposal, Illegal> {
        // Who waits for a limit, or for the next try, may be given to another model as it is.
        if self.s.pause.is_none()
            && let Some(to) = model
        {
            if self.s.running.is_some() || self.s.cancel {
                let why = "the session is not paused; pause it before changing its model";
                return Ok(Disposal::Refused(why.into()));
            }
            self.switch(to, "a person said so")?;
            return Ok(Disposal::Applied);
        }
        let agent = self.s.stage().is_some_and(|stage| stage.kind == StageKind::Agent);
        let refused = self.s.pause.as_ref().is_some_and(|pause| pause.why == "failure");
        let stuck = self.s.finish.as_ref().is_some_and(|finish| !finish.done);
        let changed = model.is_some();
        self.emit(Event::Resumed { model })?;
        if changed {
            self.private_stays()?;
        }
        // An agent that had yielded without being done gets the word again.
        if agent && self.s.turn == Turn::Yielded && (refused || stuck) {
            let what = "go on: the person resumed the session".to_owned();
            self.emit(Event::Noticed { notice: contract::event::Notice::Told { what } })?;
        }
        Ok(Disposal::Applied)
    }

    fn approve(
        &mut self,
        by: contract::IntentId,
        id: &ApprovalId,
        hash: Digest,
    ) -> Result<Disposal, Illegal> {
        let Some(approval) = self.s.approvals.get(id) else {
            return Ok(Disposal::Refused(format!("there is no open approval {id}")));
        };
        if approval.state != ApprovalState::Pending {
            return Ok(Disposal::Refused(format!("approval {id} has been answered already")));
        }
        if approval.hash != hash && !contract::planted!(AnyContent) {
            return Ok(Disposal::Refused(format!(
                "the content of approval {id} is not what was shown; look again"
            )));
        }
        self.emit(Event::ApprovalAnswered { approval: id.clone(), answer: Answer::Granted, by: Some(by) })?;
        Ok(Disposal::Applied)
    }

    fn deny(&mut self, by: contract::IntentId, id: &ApprovalId) -> Result<Disposal, Illegal> {
        let Some(approval) = self.s.approvals.get(id).cloned() else {
            return Ok(Disposal::Refused(format!("there is no open approval {id}")));
        };
        if approval.state != ApprovalState::Pending {
            return Ok(Disposal::Refused(format!("approval {id} has been answered already")));
        }
        self.no(id, Answer::Denied, Some(by))?;
        Ok(Disposal::Applied)
    }

    fn no(&mut self, id: &ApprovalId, answer: Answer, by: Option<contract::IntentId>) -> Result<(), Illegal> {
        let Some(approval) = self.s.approvals.get(id).cloned() else { return Ok(()) };
        self.emit(Event::ApprovalAnswered { approval: id.clone(), answer, by })?;
        self.after_no(&approval.subject, answer)
    }

    fn answer(
        &mut self,
        by: contract::IntentId,
        id: &QuestionId,
        text: Digest,
        bytes: u64,
    ) -> Result<Disposal, Illegal> {
        if !self.s.questions.contains_key(id) {
            return Ok(Disposal::Refused(format!("there is no open question {id}")));
        }
        self.emit(Event::Answered { question: id.clone(), text, bytes, by })?;
        Ok(Disposal::Applied)
    }

    fn add_budget(&mut self, amount: Amount) -> Result<Disposal, Illegal> {
        if self.s.id != self.s.root() {
            return Ok(Disposal::Refused(format!(
                "the budget belongs to the root session {}",
                self.s.root()
            )));
        }
        self.emit_ledger(LedgerEvent::Raised { amount })?;
        // Whoever stopped for want of budget, in the whole tree, looks again.
        let own = self.s.id;
        let others: Vec<_> = self.ledger().sessions().filter(|session| *session != own).collect();
        self.out.effects.extend(others.into_iter().map(Effect::Wake));
        Ok(Disposal::Applied)
    }

    /// Things whose time ran out: intents, approvals, an action that stays silent past its deadline.
    pub(crate) fn expire(&mut self) -> Result<(), Illegal> {
        let now = self.ctx.now;
        let late = |intent: &&Intent| intent.ttl_ms.is_some_and(|ttl| now >= intent.at.plus(ttl));
        let expired: Vec<_> = self.s.queue.iter().filter(late).map(|intent| intent.id).collect();
        for intent in expired {
            self.dispose(intent, Disposal::Expired)?;
        }
        let unanswered = |(_, approval): &(&ApprovalId, &crate::session::Approval)| {
            approval.state == ApprovalState::Pending && now >= approval.expires
        };
        let expired: Vec<ApprovalId> =
            self.s.approvals.iter().filter(unanswered).map(|(id, _)| id.clone()).collect();
        for id in expired {
            self.no(&id, Answer::Expired, None)?;
        }
        let silent = |a: &crate::session::Attempt| now >= a.deadline.plus(contract::limits::OVERDUE_MS);
        if let Some(attempt) = self.s.running.clone().filter(silent) {
            self.stop(true);
            self.outcome(self.unseen(&attempt))?;
        }
        Ok(())
    }

    /// A call that the kernel itself answers. True: something happened.
    pub(crate) fn control(&mut self, call: &Call) -> Result<bool, Illegal> {
        match call.control.clone() {
            Some(Control::Delegate { goal, bytes, mode, budget, tools }) => {
                let child = ChildWish { goal, bytes, mode, budget, tools };
                self.delegate(call, child)
            }
            // Everything else waits until the children are back: the parent's tree is at rest meanwhile.
            _ if self.s.live_children().next().is_some() => Ok(false),
            Some(Control::Ask { question }) => {
                let id = format!("q{}", self.s.seq + 1);
                let (text, call) = (Some(question), Some(call.id.clone()));
                self.emit(Event::Asked {
                    question: id,
                    text,
                    call,
                    why: String::new(),
                    choices: Vec::new(),
                })?;
                Ok(true)
            }
            Some(Control::Plan { tasks }) => self.plan(call, &tasks),
            Some(Control::Finish { .. }) => {
                let before = self.s.calls.iter().take_while(|slot| slot.call.id != call.id);
                if before.clone().any(|slot| slot.state != CallState::Answered) {
                    return Ok(false);
                }
                // What was called beside it is not run any more.
                let open = |slot: &&CallSlot| slot.state == CallState::Open && slot.call.id != call.id;
                let rest: Vec<String> =
                    self.s.calls.iter().filter(open).map(|slot| slot.call.id.clone()).collect();
                for id in rest {
                    let what = "not run: `finish` was called in the same message".to_owned();
                    self.emit(Event::CallAnswered { call: id, ok: false, what })?;
                }
                self.reply(call, true, "noted; Kapell checks the result itself")
            }
            Some(Control::Todo { items }) => {
                let open = |todo: &&Todo| matches!(todo.state, TaskState::Pending | TaskState::Active);
                let (all, open) = (items.len(), items.iter().filter(open).count());
                self.reply(call, true, &format!("noted: {open} of {all} to be done"))
            }
            Some(Control::FindTools { names }) => {
                let told = match names.is_empty() {
                    true => "no other tool fits; say in other words what it is to do".to_owned(),
                    false => format!("you can call these from now on: {}", names.join(", ")),
                };
                self.reply(call, !names.is_empty(), &told)
            }
            None => Ok(false),
        }
    }

    fn reply(&mut self, call: &Call, ok: bool, what: &str) -> Result<bool, Illegal> {
        self.emit(Event::CallAnswered { call: call.id.clone(), ok, what: text::sentence(what) })?;
        Ok(true)
    }

    fn plan(&mut self, call: &Call, tasks: &[Task]) -> Result<bool, Illegal> {
        let order = match plan::check(tasks) {
            Ok(order) => order,
            Err(why) => return self.reply(call, false, &format!("the plan was not taken: {why}")),
        };
        self.emit(Event::Planned { tasks: order })?;
        let first = self.s.plan.next().map(|task| task.id.clone());
        let told = match first {
            Some(task) => {
                let told = format!("the plan stands; work on task `{task}` now");
                self.emit(Event::TaskMoved { task, to: TaskState::Active })?;
                told
            }
            None => "the plan is empty now".to_owned(),
        };
        self.reply(call, true, &told)
    }

    fn delegate(&mut self, call: &Call, wish: ChildWish) -> Result<bool, Illegal> {
        let Some(spec) = self.s.spec.clone() else { return Ok(false) };
        if let Some(why) = self.refuse_child(&spec, &wish) {
            return self.reply(call, false, &format!("not delegated: {why}"));
        }
        // Steps taken ahead and not used are given back: the parent rests, the child may need them.
        self.settle_block()?;
        let child = self.new_id();
        let parent = self.as_parent(&spec, call);
        let rights = Rights { tools: wish.tools.clone(), land: false, ..Rights::all(spec.rights.ask) };
        let child_spec = SessionSpec {
            fallback: spec.fallback.clone(),
            summaries: spec.summaries.clone(),
            goal: wish.goal,
            goal_bytes: wish.bytes,
            repo: spec.repo.clone(),
            base: None,
            target: None,
            model: self.s.model.clone().unwrap_or_else(|| spec.model.clone()),
            mode: if wish.mode.is_empty() { spec.mode.clone() } else { wish.mode },
            workflow: workflow::below(&spec.workflow),
            rights: rights.intersect(&Rights { land: false, ..spec.rights.clone() }),
            limits: self.s.limits(),
            budget: wish.budget,
            goal_checks: Vec::new(),
            hooks: spec.hooks.clone(),
            parent: Some(parent),
            task: plan::within(spec.task.as_deref(), self.s.plan.active().map(|task| &*task.id)),
        };
        let (session, cap) = (self.s.id, wish.budget);
        self.emit_ledger(LedgerEvent::Admitted { session: child, parent: session, cap })?;
        let action = contract::ActionId { turn: self.s.turn_no, step: self.s.step };
        self.emit(Event::ChildOpened { child, call: call.id.clone(), action })?;
        self.out.children.push((child, vec![Event::Opened { spec: Box::new(child_spec) }]));
        self.out.effects.push(Effect::Wake(child));
        Ok(true)
    }

    fn as_parent(&self, spec: &SessionSpec, call: &Call) -> Parent {
        let (mut ancestors, mut goals) = match &spec.parent {
            Some(own) => (own.ancestors.clone(), own.goals.clone()),
            None => (Vec::new(), Vec::new()),
        };
        ancestors.push(self.s.id);
        goals.push(spec.goal);
        let action = contract::ActionId { turn: self.s.turn_no, step: self.s.step };
        Parent { session: self.s.id, root: self.s.root(), ancestors, goals, action, call: call.id.clone() }
    }

    /// Why a child may not be opened (K1-2).
    fn refuse_child(&self, spec: &SessionSpec, wish: &ChildWish) -> Option<String> {
        let depth = spec.parent.as_ref().map_or(0, |parent| parent.ancestors.len()) as u32;
        let mut above = spec.parent.iter().flat_map(|parent| parent.goals.iter()).chain([&spec.goal]);
        if !spec.rights.delegate {
            return Some("this session may not delegate".into());
        }
        if depth + 1 > spec.limits.depth {
            return Some(format!(
                "the tree is {} levels deep already, which is its limit",
                spec.limits.depth
            ));
        }
        if self.s.children.len() as u32 >= spec.limits.children {
            return Some(format!(
                "this session has opened {} children, which is its limit",
                spec.limits.children
            ));
        }
        let reads =
            !wish.mode.is_empty() && policy::only_reads(&spec.mode) && !policy::only_reads(&wish.mode);
        if reads {
            return Some(format!("this session only reads (mode {}), and so do those below it", spec.mode));
        }
        if above.any(|goal| *goal == wish.goal) {
            return Some("a session above has this very goal; do it yourself".into());
        }
        None
    }
}

/// Does this wish take one of the bounded places in the queue? A child's end is awaited and a stop always heard.
fn takes_a_place(wish: &Wish) -> bool {
    matches!(
        wish,
        Wish::Continue
            | Wish::Initialise
            | Wish::Message { .. }
            | Wish::Rewind { .. }
            | Wish::Uncompact { .. }
    )
}

/// What an agent wants done by a child.
struct ChildWish {
    goal: Digest,
    bytes: u64,
    mode: String,
    budget: Amount,
    tools: Option<Vec<String>>,
}
