//! The main loop: what the session would do next by itself, derived from the state alone.
//!
//! Decides; [`crate::start`] starts. Start at [`Draft::advance`].

use crate::Illegal;
use crate::arbiter::{self, Reason};
use crate::decide::Draft;
use crate::fsm::{CallState, Phase, Turn};
use crate::session::Session;
use contract::action::{EffectClass, Work};
use contract::checks::Verdict;
use contract::event::{Disposal, Event, Final, Notice, Other, Subject, TaskState};
use contract::intent::{Intent, Source, Wish};
use contract::session::{Edge, StageKind};
use contract::{Digest, IntentId, limits};

/// What was chosen to run.
pub(crate) struct Choice {
    pub(crate) intent: Option<IntentId>,
    pub(crate) source: Source,
    pub(crate) wish: &'static str,
    pub(crate) why: String,
    pub(crate) work: Work,
    pub(crate) class: EffectClass,
    pub(crate) class_why: String,
}

impl Draft<'_> {
    /// Moves on until an action was started, or nothing can be done now. Every round emits at least one event
    /// or leaves the loop, and events without an action are bounded by calls, queue, plan and feedback rounds.
    pub(crate) fn advance(&mut self) -> Result<(), Illegal> {
        loop {
            if self.s.phase == Phase::Ended {
                return self.drop_queue();
            }
            if self.s.running.is_some() {
                return Ok(());
            }
            if self.s.cancel {
                self.collect_children()?;
                if self.s.live_children().next().is_some() {
                    return Ok(());
                }
                self.end(Final::Cancelled, 130, "cancelled")?;
                continue;
            }
            if self.ctx.hold || !self.select()? {
                return Ok(());
            }
        }
    }

    /// While cancelling, the ends of children are taken note of and nothing more.
    fn collect_children(&mut self) -> Result<(), Illegal> {
        let live: Vec<_> = self.s.live_children().collect();
        let ended = |intent: &&Intent| matches!(&intent.wish, Wish::SubtaskEnded { child, .. } if live.contains(child));
        let ends: Vec<IntentId> = self.s.queue.iter().filter(ended).map(|intent| intent.id).collect();
        for intent in ends {
            self.dispose(intent, Disposal::Applied)?;
        }
        Ok(())
    }

    /// One selection. True when something happened and it is worth looking again.
    fn select(&mut self) -> Result<bool, Illegal> {
        if self.answer_calls()? {
            return Ok(true);
        }
        let now = self.ctx.now;
        let mut queue: Vec<Intent> = self.s.queue.clone();
        queue.sort_by_key(|intent| std::cmp::Reverse(arbiter::rank(intent, now)));
        let open = queue.iter().find(|intent| match arbiter::eligible(self.s, &intent.wish, self.ctx.now) {
            Ok(()) => true,
            Err(Reason::Uninitialised) => true,
            Err(_) => false,
        });
        let Some(intent) = open.cloned() else { return self.own_wish() };
        // O2: what only lacks the workspace gets it first, as an action of its own.
        if arbiter::eligible(self.s, &intent.wish, self.ctx.now) == Err(Reason::Uninitialised) {
            let why =
                format!("inserted: {} of {:?} waits for the workspace", intent.wish.name(), intent.source);
            return self.prepare(why.to_lowercase());
        }
        match &intent.wish {
            Wish::Pause => {
                self.dispose(intent.id, Disposal::Applied)?;
                let hint = format!("kapell resume {}", self.s.id);
                self.pause("user", "paused on request", &hint, 0)?;
                Ok(true)
            }
            Wish::Message { .. } => self.message(&intent),
            Wish::Rewind { to } => {
                let (to, why) = (*to, format!("asked for by {:?}", intent.source).to_lowercase());
                let known = self.s.savepoints.iter().any(|(action, _)| *action == to);
                if !known {
                    let why = format!(
                        "there is no savepoint of action {to}; `kapell events` shows which there are"
                    );
                    self.dispose(intent.id, Disposal::Refused(why))?;
                    return Ok(true);
                }
                self.run(choice(
                    Some(&intent),
                    why,
                    Work::Rewind { to },
                    EffectClass::Keyed,
                    "restores a savepoint",
                ))
            }
            Wish::SubtaskEnded { child, end } => self.child_ended(&intent, *child, end.commit.clone()),
            Wish::Initialise if self.s.ready => {
                self.dispose(intent.id, Disposal::Superseded)?;
                Ok(true)
            }
            Wish::Initialise => self.prepare("asked for".into()),
            // Whoever wants the session to go on wants what the loop does next.
            _ => match self.want() {
                Want::Work(work, class, why) => {
                    let selected = format!("{:?} wants it to go on", intent.source).to_lowercase();
                    self.run(choice(Some(&intent), selected, work, class, &why))
                }
                Want::Moved => self.step_stage(),
                Want::Nothing(reason) => {
                    self.dispose(intent.id, Disposal::Refused(reason.to_string()))?;
                    Ok(true)
                }
            },
        }
    }

    /// A message opens or continues a turn; the model answers it together with whatever else waits.
    fn message(&mut self, intent: &Intent) -> Result<bool, Illegal> {
        let agent = self.s.stage().is_some_and(|stage| stage.kind == StageKind::Agent);
        if !agent {
            self.to_agent("a message came in", self.s.round)?;
        }
        let Some(work) = self.model_work() else { return Ok(false) };
        let why = format!("a message from {:?}", intent.source).to_lowercase();
        self.run(choice(Some(intent), why, work, EffectClass::Billed, "a model call"))
    }

    fn child_ended(
        &mut self,
        intent: &Intent,
        child: contract::SessionId,
        commit: Option<String>,
    ) -> Result<bool, Illegal> {
        let known = self.s.children.get(&child).map(|record| (record.ended, record.call.clone()));
        match (known, commit) {
            (None | Some((true, _)), _) => {
                self.dispose(intent.id, Disposal::Refused("no such child is awaited".into()))?
            }
            (Some((false, call)), Some(commit)) if self.s.phase == Phase::Active => {
                let work = Work::Adopt { child, commit, call };
                let why = "a child session has a result".to_owned();
                return self.run(choice(
                    Some(intent),
                    why,
                    work,
                    EffectClass::Staged,
                    "changes the own workspace",
                ));
            }
            // While the parent is paused, the result waits for it.
            (Some((false, _)), Some(_)) => return Ok(false),
            (Some((false, _)), None) => self.dispose(intent.id, Disposal::Applied)?,
        }
        Ok(true)
    }

    fn prepare(&mut self, why: String) -> Result<bool, Illegal> {
        let chosen = self.s.queue.iter().find(|intent| intent.wish == Wish::Initialise).cloned();
        let mut choice = choice(
            chosen.as_ref(),
            why,
            Work::Prepare,
            EffectClass::Keyed,
            "the clone is named after the session",
        );
        if chosen.is_none() {
            (choice.source, choice.wish) = (Source::Recovery, "initialise");
        }
        self.run(choice)
    }

    /// The loop's own wish, when nobody else's can run.
    fn own_wish(&mut self) -> Result<bool, Illegal> {
        match arbiter::eligible(self.s, &Wish::Continue, self.ctx.now) {
            Ok(()) => {}
            Err(Reason::Uninitialised) => return self.prepare("the loop waits for the workspace".into()),
            Err(_) => return Ok(false),
        }
        match self.want() {
            Want::Work(work, class, why) => {
                self.run(choice(None, "next in the workflow".into(), work, class, &why))
            }
            Want::Moved => self.step_stage(),
            Want::Nothing(_) => Ok(false),
        }
    }

    /// Everyone else who wanted something, with the reason; and what is fulfilled by the choice.
    pub(crate) fn others(&self, choice: &Choice) -> (Vec<Other>, Vec<(IntentId, Disposal)>) {
        let (mut others, mut disposed) = (Vec::new(), Vec::new());
        for intent in self.s.queue.iter().filter(|intent| Some(intent.id) != choice.intent) {
            let merged =
                matches!(choice.work, Work::Model { .. }) && matches!(intent.wish, Wish::Message { .. });
            // Preparing fulfils nobody's goal but an initialise; all other work is "going on".
            let goal = if choice.work == Work::Prepare { "initialise" } else { "continue" };
            let why = if merged && arbiter::eligible(self.s, &intent.wish, self.ctx.now).is_ok() {
                disposed.push((intent.id, Disposal::Merged));
                "delivered together with it".to_owned()
            } else if intent.wish.goal() == Some(goal) {
                disposed.push((intent.id, Disposal::Superseded));
                "superseded: the chosen one does the same".to_owned()
            } else {
                let reason =
                    arbiter::eligible(self.s, &intent.wish, self.ctx.now).err().unwrap_or(Reason::Outranked);
                reason.to_string()
            };
            others.push(Other {
                intent: Some(intent.id),
                source: intent.source,
                wish: intent.wish.name().into(),
                why,
            });
        }
        if choice.source != Source::MainLoop && !others.is_empty() {
            let why = "the chosen one does the same or goes first".to_owned();
            others.push(Other { intent: None, source: Source::MainLoop, wish: "continue".into(), why });
        }
        (others, disposed)
    }

    pub(crate) fn dispose(&mut self, intent: IntentId, how: Disposal) -> Result<(), Illegal> {
        self.emit(Event::Disposed { intent, how })
    }

    /// What the workflow asks for now.
    fn want(&self) -> Want {
        if let Some(redo) = &self.s.redo {
            return match redo.allowed {
                true => Want::Work(
                    redo.work.clone(),
                    redo.class,
                    "again: the last attempt was interrupted".into(),
                ),
                false => Want::Nothing(Reason::AwaitingApproval("of running it again".into())),
            };
        }
        let Some(stage) = self.s.stage() else { return Want::Nothing(Reason::NothingToDo) };
        let judged = self.s.verdict.as_ref();
        match stage.kind {
            StageKind::Agent => match self.s.turn {
                Turn::Model => match self.model_work() {
                    Some(work) => Want::Work(work, EffectClass::Billed, "a model call".into()),
                    None => Want::Nothing(Reason::NothingToDo),
                },
                Turn::Calls => self.want_call(),
                Turn::Yielded => Want::Moved,
            },
            StageKind::Check => {
                let work = Work::Check { base_known: !self.s.base_runs.is_empty() };
                Want::Work(work, EffectClass::Staged, "runs in throw-away checkouts".into())
            }
            StageKind::Inspect => match judged {
                Some(judged) => {
                    let work = Work::Inspect { result: judged.result.clone() };
                    Want::Work(work, EffectClass::Pure, "reads two commits".into())
                }
                None => Want::Moved,
            },
            StageKind::Integrate => match judged {
                Some(judged) if judged.verdict == Verdict::Confirmed => {
                    let work = Work::Integrate { result: judged.result.clone() };
                    Want::Work(work, EffectClass::Keyed, "a fast-forward to a named commit".into())
                }
                _ => Want::Moved,
            },
            StageKind::Plan => Want::Moved,
        }
    }

    fn want_call(&self) -> Want {
        let open =
            |slot: &&crate::session::CallSlot| slot.state == CallState::Open && slot.call.control.is_none();
        let all: Vec<_> = self.s.calls.iter().filter(open).collect();
        let Some(first) = all.first() else { return Want::Nothing(Reason::CallsOpen) };
        if first.call.class == EffectClass::Pure {
            // One batch up to the first call that is not pure: order between reads and writes is kept.
            let pure = all.iter().take_while(|slot| slot.call.class == EffectClass::Pure);
            let calls: Vec<_> = pure.map(|slot| slot.call.clone()).collect();
            return Want::Work(Work::Tools { calls }, EffectClass::Pure, first.call.why.clone());
        }
        let work = Work::Tools { calls: vec![first.call.clone()] };
        Want::Work(work, first.call.class, first.call.why.clone())
    }

    fn model_work(&self) -> Option<Work> {
        let model = self.s.model.as_ref()?;
        Some(Work::Model { model: model.id.clone(), ordinal: self.s.ordinal })
    }

    /// The current stage needs no action: take an edge.
    fn step_stage(&mut self) -> Result<bool, Illegal> {
        match self.s.stage().map(|stage| stage.kind) {
            Some(StageKind::Agent) => self.agent_yielded()?,
            Some(StageKind::Plan) => self.next_task()?,
            Some(StageKind::Inspect | StageKind::Integrate) => {
                self.end(Final::Failed, 4, "nothing was checked, so nothing can land")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn agent_yielded(&mut self) -> Result<(), Illegal> {
        match self.s.finish.clone() {
            Some(finish) if !finish.done => {
                let needs = if finish.needs.is_empty() { "you" } else { finish.needs.as_str() };
                let what = format!("the agent cannot go on: it needs {}", needs.replace('-', " "));
                let hint = match needs {
                    "language-model" => format!("kapell resume {} --model PROVIDER/NAME", self.s.id),
                    _ => format!("kapell resume {} \"your instructions\"", self.s.id),
                };
                self.pause("needs-model", &what, &hint, 8)
            }
            _ => self.take(true, "the agent yielded"),
        }
    }

    /// Takes the ok or the fail edge of the current stage.
    pub(crate) fn take(&mut self, ok: bool, why: &str) -> Result<(), Illegal> {
        let Some(stage) = self.s.stage() else { return Ok(()) };
        let edge = if ok { stage.ok.clone() } else { stage.fail.clone() };
        match edge {
            Edge::End => {
                let (state, code) = if ok { (Final::Completed, 0) } else { (Final::Failed, 1) };
                self.end(state, code, why)
            }
            Edge::To(to) => self.emit(Event::Staged { to, round: self.s.round, why: why.to_owned() }),
        }
    }

    /// Back to the agent with something to think about; bounded rounds.
    pub(crate) fn feedback(&mut self, notice: Notice, why: &str) -> Result<(), Illegal> {
        let Some(stage) = self.s.stage().cloned() else { return Ok(()) };
        let Edge::To(to) = stage.fail else { return self.end(Final::Failed, 1, why) };
        self.emit(Event::Staged { to, round: self.s.round + 1, why: why.to_owned() })?;
        self.emit(Event::Noticed { notice })
    }

    fn to_agent(&mut self, why: &str, round: u32) -> Result<(), Illegal> {
        let stages = self.s.spec.iter().flat_map(|spec| &spec.workflow.stages);
        let agent =
            stages.into_iter().find(|stage| stage.kind == StageKind::Agent).map(|stage| stage.name.clone());
        match agent {
            Some(to) => self.emit(Event::Staged { to, round, why: why.to_owned() }),
            None => Ok(()),
        }
    }

    /// The plan stage: mark the active task done, take the next one, or end.
    fn next_task(&mut self) -> Result<(), Illegal> {
        if let Some(active) = self.s.plan.active().map(|task| task.id.clone()) {
            self.emit(Event::TaskMoved { task: active, to: TaskState::Done })?;
        }
        let blocked: Vec<String> = self.s.plan.blocked().iter().map(|task| task.id.clone()).collect();
        for task in blocked {
            self.emit(Event::TaskMoved { task, to: TaskState::Skipped })?;
        }
        let Some(task) = self.s.plan.next().cloned() else {
            let why = self.closing_words();
            return self.end(Final::Completed, 0, &why);
        };
        self.emit(Event::TaskMoved { task: task.id.clone(), to: TaskState::Active })?;
        self.to_agent(&format!("next task: {}", task.id), 0)?;
        self.emit(Event::Noticed { notice: Notice::NextTask { task: task.id, goal: task.goal } })
    }

    fn closing_words(&self) -> String {
        match (&self.s.landed, &self.s.verdict) {
            (Some(commit), _) => format!("confirmed and landed as {}", commit.get(..12).unwrap_or(commit)),
            (None, Some(judged)) if judged.same_tree && judged.no_checks => "nothing was changed".into(),
            (None, Some(judged)) if judged.same_tree => {
                "nothing had to be changed: the checks pass already".into()
            }
            (None, Some(_)) => "confirmed".into(),
            (None, None) => "the workflow came to its end".into(),
        }
    }

    /// Calls that are decisions get their answer here. True when one did.
    fn answer_calls(&mut self) -> Result<bool, Illegal> {
        if self.s.turn != Turn::Calls || self.s.phase != Phase::Active || self.s.redo.is_some() {
            return Ok(false);
        }
        let Some(slot) = self.s.calls.iter().find(|slot| slot.state == CallState::Open).cloned() else {
            return Ok(false);
        };
        if slot.call.control.is_some() {
            return self.control(&slot.call);
        }
        let asks = self.s.spec.as_ref().is_some_and(|spec| needs_approval(spec.rights.ask, slot.call.class));
        if asks && slot.approval.is_none() && self.s.live_children().next().is_none() {
            let approval = format!("a{}", self.s.seq + 1);
            let expires = self.ctx.now.plus(limits::APPROVAL_MS);
            let subject = Subject::Call { call: slot.call.id.clone() };
            self.emit(Event::ApprovalAsked { approval, subject, hash: slot.call.hash, expires })?;
            return Ok(true);
        }
        Ok(false)
    }

    pub(crate) fn pause(&mut self, why: &str, what: &str, hint: &str, code: u8) -> Result<(), Illegal> {
        self.settle_block()?;
        self.emit(Event::Paused { why: why.into(), what: what.into(), hint: hint.into(), code })
    }

    /// What is left in the queue of an ended session is refused, so that nobody waits for it.
    fn drop_queue(&mut self) -> Result<(), Illegal> {
        let left: Vec<IntentId> = self.s.queue.iter().map(|intent| intent.id).collect();
        for intent in left {
            self.dispose(intent, Disposal::Refused(Reason::Ended.to_string()))?;
        }
        Ok(())
    }
}

enum Want {
    Work(Work, EffectClass, String),
    Moved,
    Nothing(Reason),
}

fn needs_approval(ask: contract::session::Ask, class: EffectClass) -> bool {
    use contract::session::Ask;
    match ask {
        Ask::Never => false,
        Ask::External => class == EffectClass::External,
        Ask::Writes => class != EffectClass::Pure,
    }
}

fn choice(intent: Option<&Intent>, why: String, work: Work, class: EffectClass, class_why: &str) -> Choice {
    Choice {
        intent: intent.map(|intent| intent.id),
        source: intent.map_or(Source::MainLoop, |intent| intent.source),
        wish: intent.map_or("continue", |intent| intent.wish.name()),
        why,
        work,
        class,
        class_why: class_why.to_owned(),
    }
}

/// The hash a person agrees to when a flagged commit is to land.
pub(crate) fn land_hash(result: &str) -> Digest {
    Digest::of(format!("land {result}").as_bytes())
}

impl Session {
    /// The approval a person would have to give now, if any.
    pub fn pending_approval(&self) -> Option<(&str, &crate::session::Approval)> {
        let pending =
            |approval: &&crate::session::Approval| approval.state == crate::fsm::ApprovalState::Pending;
        self.approvals
            .iter()
            .find(|(_, approval)| pending(approval))
            .map(|(id, approval)| (id.as_str(), approval))
    }
}
