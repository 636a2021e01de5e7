//! What runs next: the arbiter's one selection, and the main loop's own wish, derived from the state alone.
//!
//! Decides; [`crate::start`] starts, [`crate::stages`] walks the workflow. Start at [`Draft::advance`].

use crate::Illegal;
use crate::arbiter::{self, Reason};
use crate::decide::Draft;
use crate::fsm::{CallState, Phase, Turn};
use contract::action::{Call, EffectClass, Work};
use contract::checks::Verdict;
use contract::event::{Answer, Disposal, Event, Final, Other, Subject};
use contract::intent::{ChildEnd, Intent, Source, Wish};
use contract::session::StageKind;
use contract::{ActionId, Digest, IntentId, SessionId, limits, text};

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

/// What the workflow asks for.
pub(crate) enum Want {
    Work(Work, EffectClass, String),
    /// No action: an edge to take.
    Moved,
    Nothing(Reason),
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
            if self.s.cancel && !(contract::planted!(CancelRespawn) && self.s.redo.is_some()) {
                self.collect_children()?;
                if self.s.running_children().next().is_some() {
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
        loop {
            let live: Vec<SessionId> = self.s.live_children().collect();
            let ended = |intent: &&Intent| matches!(&intent.wish, Wish::SubtaskEnded { child, .. } if live.contains(child));
            let Some(intent) = self.s.queue.iter().find(ended).map(|intent| intent.id) else { return Ok(()) };
            self.dispose(intent, Disposal::Applied)?;
        }
    }

    /// One selection. True when something happened and it is worth looking again.
    fn select(&mut self) -> Result<bool, Illegal> {
        if let Some(moved) = self.ending()? {
            return Ok(moved);
        }
        if self.pause_wanted()?
            || self.uncompact_wanted()?
            || self.landing_refused()?
            || self.budget_came_back()?
        {
            return Ok(true);
        }
        if let Some(moved) = self.hooks_due()? {
            return Ok(moved);
        }
        if self.answer_calls()?
            || self.spoken_before()?
            || self.repeated()?
            || self.circling()?
            || self.cut_short()?
            || self.cache_lost()?
        {
            return Ok(true);
        }
        let now = self.ctx.now;
        let mut queue: Vec<&Intent> = self.s.queue.iter().collect();
        queue.sort_by_key(|intent| std::cmp::Reverse(arbiter::rank(intent, now)));
        let mut open =
            queue.into_iter().filter_map(|intent| match arbiter::eligible(self.s, &intent.wish, now) {
                Ok(()) => Some((intent, true)),
                Err(Reason::Uninitialised) => Some((intent, false)),
                Err(_) => None,
            });
        let mut first = open.next();
        if first.is_some_and(|(intent, _)| intent.wish.goal() == Wish::Continue.goal()) {
            // Answering a message is going on, and more: merely going on must not come in its way.
            first = open.find(|(intent, _)| matches!(intent.wish, Wish::Message { .. })).or(first);
        }
        let first = first.map(|(intent, ready)| (intent.clone(), ready));
        match first {
            None => self.own_wish(),
            Some((intent, true)) => self.fulfil(&intent),
            // O2: what only lacks the workspace gets it first, as an action of its own.
            Some((intent, false)) => {
                let (wish, source) = (intent.wish.name(), arbiter::source_name(intent.source));
                self.prepare(format!("inserted: {wish} of {source} waits for the workspace"))
            }
        }
    }

    /// A pause that waited for the step boundary goes before everything else.
    fn pause_wanted(&mut self) -> Result<bool, Illegal> {
        let wanted = self.s.queue.iter().find(|intent| intent.wish == Wish::Pause).map(|intent| intent.id);
        let Some(intent) = wanted.filter(|_| self.s.phase == Phase::Active) else { return Ok(false) };
        self.dispose(intent, Disposal::Applied)?;
        self.pause_for_user()?;
        Ok(true)
    }

    pub(crate) fn pause_for_user(&mut self) -> Result<(), Illegal> {
        let hint = format!("kapell resume {}", self.s.id);
        self.pause("user", "paused on request", &hint, 0)
    }

    fn fulfil(&mut self, intent: &Intent) -> Result<bool, Illegal> {
        match &intent.wish {
            Wish::Message { .. } => self.message(intent),
            Wish::Rewind { to } => self.rewind(intent, *to),
            Wish::SubtaskEnded { child, end } => self.child_ended(intent, *child, end),
            Wish::Initialise if self.s.ready => {
                self.dispose(intent.id, Disposal::Superseded)?;
                Ok(true)
            }
            Wish::Initialise => self.prepare("asked for".into()),
            // Whoever wants the session to go on wants what the loop does next.
            _ => match self.want() {
                Want::Work(work, class, class_why) => {
                    let why = format!("{} wants it to go on", arbiter::source_name(intent.source));
                    self.run(choice(Some(intent), why, work, class, &class_why))
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
        if let Some(work) = self.hook_wanted().filter(|_| self.s.turn == Turn::Model) {
            return self.ask_hooks(work);
        }
        if let Some(work) = self.prompt_hooks(intent) {
            return self.ask_hooks(work);
        }
        let agent = self.s.stage().is_some_and(|stage| stage.kind == StageKind::Agent);
        if !agent {
            self.go_to_agent("a message came in", self.s.round)?;
        }
        let Some(work) = self.model_work() else { return Ok(false) };
        let why = format!("a message from {}", arbiter::source_name(intent.source));
        self.run(choice(Some(intent), why, work, EffectClass::Billed, "a model call"))
    }

    fn rewind(&mut self, intent: &Intent, to: ActionId) -> Result<bool, Illegal> {
        if !self.s.savepoints.iter().any(|(action, _)| *action == to) {
            let why = format!("there is no savepoint of action {to}; `kapell events` shows which there are");
            self.dispose(intent.id, Disposal::Refused(why))?;
            return Ok(true);
        }
        let why = format!("asked for by {}", arbiter::source_name(intent.source));
        self.run(choice(Some(intent), why, Work::Rewind { to }, EffectClass::Keyed, "restores a savepoint"))
    }

    fn child_ended(&mut self, intent: &Intent, child: SessionId, end: &ChildEnd) -> Result<bool, Illegal> {
        let waiting =
            self.s.children.get(&child).filter(|record| !record.ended || contract::planted!(AdoptTwice));
        match (waiting.map(|record| record.call.clone()), end.commit.clone()) {
            (None, _) => {
                self.dispose(intent.id, Disposal::Refused("no such child is awaited".into()))?;
            }
            (Some(call), Some(commit)) => {
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
            (Some(_), None) => self.dispose(intent.id, Disposal::Applied)?,
        }
        Ok(true)
    }

    fn prepare(&mut self, why: String) -> Result<bool, Illegal> {
        let chosen = self.s.queue.iter().find(|intent| intent.wish == Wish::Initialise).cloned();
        let class_why = "the clone is named after the session";
        let mut choice = choice(chosen.as_ref(), why, Work::Prepare, EffectClass::Keyed, class_why);
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
        // Preparing fulfils nobody's goal but an initialise; all other work of an active session is "going on".
        let goal = match choice.work {
            Work::Prepare => Some("initialise"),
            _ if self.s.phase == Phase::Active => Some("continue"),
            _ => None,
        };
        for intent in self.s.queue.iter().filter(|intent| Some(intent.id) != choice.intent) {
            let blocked = arbiter::eligible(self.s, &intent.wish, self.ctx.now).err();
            let merges =
                matches!(choice.work, Work::Model { .. }) && matches!(intent.wish, Wish::Message { .. });
            let why = if merges && !self.heard(intent) {
                "waits for its hooks".to_owned()
            } else if merges && blocked.is_none() {
                disposed.push((intent.id, Disposal::Merged));
                "delivered together with it".to_owned()
            } else if intent.wish.goal().is_some() && intent.wish.goal() == goal {
                disposed.push((intent.id, Disposal::Superseded));
                "superseded: the chosen one does the same".to_owned()
            } else {
                blocked.unwrap_or(Reason::Outranked).to_string()
            };
            let (source, wish) = (intent.source, intent.wish.name().into());
            others.push(Other { intent: Some(intent.id), source, wish, why });
        }
        if choice.source != Source::MainLoop {
            let blocked = arbiter::eligible(self.s, &Wish::Continue, self.ctx.now).err();
            let why = blocked.map_or("the chosen one does the same or goes first".into(), |r| r.to_string());
            others.push(Other { intent: None, source: Source::MainLoop, wish: "continue".into(), why });
        }
        (others, disposed)
    }

    pub(crate) fn dispose(&mut self, intent: IntentId, how: Disposal) -> Result<(), Illegal> {
        let how = match how {
            // It may name what the other side wrote.
            Disposal::Refused(why) => Disposal::Refused(text::sentence(&why)),
            other => other,
        };
        self.emit(Event::Disposed { intent, how })
    }

    /// What the workflow asks for now.
    pub(crate) fn want(&self) -> Want {
        if let Some(redo) = &self.s.redo {
            return match redo.allowed {
                true => Want::Work(
                    redo.work.clone(),
                    redo.class,
                    "again: the last attempt was interrupted".into(),
                ),
                false => Want::Nothing(Reason::Undecided),
            };
        }
        if let Some(work) = self.hook_wanted() {
            let (class, why) = self.hook_class(&work);
            return Want::Work(work, class, why);
        }
        let Some(stage) = self.s.stage() else { return Want::Nothing(Reason::NothingToDo) };
        match (stage.kind, self.s.verdict.as_ref()) {
            (StageKind::Agent, _) => match self.s.turn {
                Turn::Model => match self.model_work() {
                    Some(work) => Want::Work(work, EffectClass::Billed, "a model call".into()),
                    None => Want::Nothing(Reason::NothingToDo),
                },
                Turn::Calls => self.want_call(),
                Turn::Yielded => Want::Moved,
            },
            (StageKind::Check, _) => {
                let work = Work::Check { base_known: !self.s.base_runs.is_empty() };
                Want::Work(work, EffectClass::Staged, "runs in throw-away checkouts".into())
            }
            (StageKind::Inspect, Some(judged)) if self.s.land_word(&judged.result).is_none() => {
                let work = Work::Inspect { result: judged.result.clone() };
                Want::Work(work, EffectClass::Pure, "reads two commits".into())
            }
            (StageKind::Integrate, Some(judged)) if judged.verdict == Verdict::Confirmed => {
                let work = Work::Integrate { result: judged.result.clone() };
                Want::Work(work, EffectClass::Keyed, "a fast-forward to a named commit".into())
            }
            (StageKind::Inspect | StageKind::Integrate | StageKind::Plan, _) => Want::Moved,
        }
    }

    fn want_call(&self) -> Want {
        let mut open = self.s.calls.iter().skip_while(|slot| slot.state != CallState::Open);
        let Some(first) = open.next().filter(|slot| slot.call.control.is_none()) else {
            return Want::Nothing(Reason::CallsOpen);
        };
        let mut calls = vec![first.call.clone()];
        let free = |call: &Call| call.class == EffectClass::Pure && call.ruled.is_none();
        if free(&first.call) {
            // One batch up to the first call that is not pure: the order between reads and the rest is kept.
            let open = open.filter(|slot| slot.state != CallState::Answered);
            let pure = open.take_while(|slot| {
                let runs = slot.state == CallState::Open && slot.call.control.is_none();
                runs && free(&slot.call) && !self.hook_pending(slot)
            });
            calls.extend(pure.map(|slot| slot.call.clone()));
        } else if let Some(mark) = self.joins(&first.call) {
            // Its tool makes one process of them where it can (S2.6-2).
            let open = open.filter(|slot| slot.state != CallState::Answered);
            let same = open.take_while(|slot| {
                let runs = slot.state == CallState::Open && slot.call.control.is_none();
                runs && self.joins(&slot.call) == Some(mark) && !self.hook_pending(slot)
            });
            calls.extend(same.take(limits::CALLS_TOGETHER - 1).map(|slot| slot.call.clone()));
        }
        let why = match calls.len() {
            n if n > 1 && first.call.class == EffectClass::Staged => {
                format!("{n} calls together; {}", first.call.why)
            }
            _ => first.call.why.clone(),
        };
        Want::Work(Work::Tools { calls }, first.call.class, why)
    }

    /// The mark of a call that may run together with others. Only of what is taken back as a whole, and what nobody
    /// is asked about: a yes is bound to one call, and so is the question whether to run it again.
    fn joins(&self, call: &Call) -> Option<Digest> {
        call.together.filter(|_| call.class == EffectClass::Staged && !self.needs_approval(call))
    }

    fn model_work(&self) -> Option<Work> {
        let model = self.s.model.as_ref()?;
        Some(Work::Model { model: model.id.clone(), ordinal: self.s.ordinal })
    }

    /// Calls that are decisions get their answer here; calls that need a yes are asked for. True when one was.
    fn answer_calls(&mut self) -> Result<bool, Illegal> {
        if self.s.turn != Turn::Calls || self.s.phase != Phase::Active || self.s.redo.is_some() {
            return Ok(false);
        }
        let Some(slot) = self.s.calls.iter().find(|slot| slot.state == CallState::Open) else {
            return Ok(false);
        };
        if self.hook_pending(slot) {
            return Ok(false);
        }
        if slot.call.control.is_some() {
            let call = slot.call.clone();
            return self.control(&call);
        }
        let asks = self.needs_approval(&slot.call) && !slot.waived;
        if asks && slot.approval.is_none() && self.s.live_children().next().is_none() {
            let approval = format!("a{}", self.s.seq + 1);
            let expires = self.ctx.now.plus(limits::APPROVAL_MS);
            let (subject, hash) = (Subject::Call { call: slot.call.id.clone() }, slot.call.hash);
            self.emit(Event::ApprovalAsked { approval, subject, hash, expires })?;
            return Ok(true);
        }
        Ok(false)
    }

    /// What the rules said goes first; where they said nothing, the class decides.
    pub(crate) fn needs_approval(&self, call: &Call) -> bool {
        use contract::session::Ask;
        let class = call.class;
        if let Some(ruled) = &call.ruled {
            return ruled.verdict != contract::policy::Decision::Allow;
        }
        match self.s.spec.as_ref().map_or(Ask::Writes, |spec| spec.rights.ask) {
            Ask::Never => false,
            Ask::External => class == EffectClass::External,
            Ask::Writes => class != EffectClass::Pure,
        }
    }

    /// A flagged commit that a person (or time) said no to.
    fn landing_refused(&mut self) -> Result<bool, Illegal> {
        let inspects = self.s.stage().is_some_and(|stage| stage.kind == StageKind::Inspect);
        let word = self.s.verdict.as_ref().and_then(|judged| self.s.land_word(&judged.result));
        let how = match word.filter(|_| inspects) {
            Some(Answer::Denied) => "a person said no",
            Some(Answer::Expired) => "nobody answered in time",
            _ => return Ok(false),
        };
        let why = format!("the change weakens tests or checks, and landing it was not approved: {how}");
        self.end(Final::Failed, 6, &why)?;
        Ok(true)
    }

    /// Stops for a person. A session that is paused already stays so for its first reason.
    pub(crate) fn pause(&mut self, why: &str, what: &str, hint: &str, code: u8) -> Result<(), Illegal> {
        if self.s.phase != Phase::Active {
            return Ok(());
        }
        self.settle_block()?;
        self.emit(Event::Paused { why: why.into(), what: what.into(), hint: hint.into(), code })?;
        // Whoever wanted a pause has one: it must not come back after the resume.
        while let Some(intent) = self.s.queue.iter().find(|intent| intent.wish == Wish::Pause) {
            self.dispose(intent.id, Disposal::Superseded)?;
        }
        Ok(())
    }

    /// What is left in the queue of an ended session is refused, so that nobody waits for it.
    fn drop_queue(&mut self) -> Result<(), Illegal> {
        while let Some(intent) = self.s.queue.first() {
            self.dispose(intent.id, Disposal::Refused(Reason::Ended.to_string()))?;
        }
        Ok(())
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
