//! Starting an action: slot, budget, approval, deadline; then Selected and Started in one breath.
//!
//! All or nothing: when a slot or the budget is missing, nothing is selected. Start at [`Draft::run`].

use crate::Illegal;
use crate::budget::{Demand, Missing, words};
use crate::compact::Room;
use crate::decide::Draft;
use crate::fsm::{Phase, Turn};
use crate::governor::{Line, Slot};
use crate::ledger::Refusal;
use crate::next::{Choice, Want};
use crate::pool::Bundle;
use contract::action::{Call, Effect, EffectClass, Run, Work};
use contract::event::{Disposal, Event, Final, LedgerEvent};
use contract::intent::Source;
use contract::{ActionId, Amount, Timestamp, limits};

/// The slot a kind of work takes.
pub(crate) fn slot(work: &Work) -> Slot {
    match work {
        Work::Model { .. } | Work::Summarise { .. } => Slot::Model,
        Work::Tools { .. } | Work::Hooks { .. } => Slot::Tool,
        Work::Check { .. } | Work::Integrate { .. } => Slot::Check,
        Work::Prepare | Work::Inspect { .. } | Work::Adopt { .. } | Work::Rewind { .. } => Slot::Workspace,
    }
}

/// Files one call has open at a time.
const CALL_FILES: u64 = 8;
/// Exit code of what ran out of time (DESIGN section 7).
const OVERTIME: u8 = 124;
/// Tools that ask others do it over a connection; their names begin so.
const NET: &str = "web_";

/// What a kind of work needs of the machine at a time, roughly.
pub(crate) fn bundle(work: &Work) -> Bundle {
    match work {
        Work::Model { .. } | Work::Summarise { .. } => Bundle { files: 1, net: 1, processes: 0 },
        Work::Tools { calls } => {
            let at_once = calls.len().min(limits::CALLS_AT_ONCE) as u64;
            let pure = calls.iter().all(|call| call.class == EffectClass::Pure);
            let asks = calls.iter().filter(|call| call.tool.starts_with(NET)).count() as u64;
            let (at_once, processes) = if pure { (at_once, 0) } else { (1, 1) };
            Bundle { files: at_once * CALL_FILES, net: asks.min(at_once), processes }
        }
        Work::Hooks { .. } => Bundle { files: CALL_FILES, net: 0, processes: 1 },
        Work::Check { .. } | Work::Integrate { .. } => Bundle { files: 2 * CALL_FILES, net: 0, processes: 1 },
        Work::Prepare | Work::Inspect { .. } | Work::Adopt { .. } | Work::Rewind { .. } => {
            Bundle { files: 2 * CALL_FILES, net: 0, processes: 0 }
        }
    }
}

/// The name under which a block of steps is held: turn 0 belongs to no action.
pub(crate) fn block_name(action: ActionId) -> ActionId {
    ActionId { turn: 0, ..action }
}

/// How long a kind of work may take, milliseconds.
pub(crate) fn allowance_ms(work: &Work) -> u64 {
    match work {
        Work::Model { .. } | Work::Summarise { .. } => limits::MODEL_MS,
        Work::Tools { calls } => {
            let longest = calls.iter().map(|call| call.deadline_ms.unwrap_or(limits::TOOL_MS)).max();
            let longest = longest.unwrap_or(limits::TOOL_MS).min(limits::TOOL_MAX_MS);
            // A large batch runs in several rounds, each as long as its longest call.
            longest.saturating_mul(calls.len().div_ceil(limits::CALLS_AT_ONCE).max(1) as u64)
        }
        Work::Hooks { .. } => limits::HOOKS_MS,
        Work::Check { .. } | Work::Integrate { .. } => limits::CHECK_MS,
        Work::Prepare | Work::Inspect { .. } | Work::Adopt { .. } | Work::Rewind { .. } => {
            limits::WORKSPACE_MS
        }
    }
}

impl Draft<'_> {
    /// Starts the chosen work, or remembers what it waits for. True when something happened.
    pub(crate) fn run(&mut self, mut choice: Choice) -> Result<bool, Illegal> {
        let redo = self.s.redo.clone().filter(|redo| redo.allowed && redo.work == choice.work);
        if redo.is_none() && self.over_turn_limit(&choice)? {
            return Ok(true);
        }
        if self.over_stage_limit(&choice)? {
            return Ok(true);
        }
        let (slot, rank) = (slot(&choice.work), self.rank(&choice));
        let (want, whose) = (bundle(&choice.work), self.whose(&choice));
        let free = self.gov.free_for(self.s.id, slot, rank, whose);
        if !free || !self.gov.fits(self.s.id, want, rank, whose) {
            let line = if free { Line::Pool } else { Line::Slot(slot) };
            self.stand_for(line, rank, 0, want, whose);
            return Ok(false);
        }
        if let Some(until) = self.not_before(&choice) {
            self.look_at = Some(until);
            return Ok(false);
        }
        match self.make_room(&choice)? {
            Room::Fits => {}
            Room::Moved => return Ok(true),
            Room::Stuck => return Ok(false),
            Room::Worded(work) => return self.word_first(work),
            Room::Hooks(work) => return self.ask_hooks(work),
        }
        let demand = match self.demand(&choice.work) {
            Ok(demand) => demand,
            // Nobody stops for want of a nicer wording.
            Err(_) if matches!(choice.work, Work::Summarise { .. }) => {
                self.cut_to_fit()?;
                return Ok(true);
            }
            Err(missing) => return self.not_granted(&choice, &missing),
        };
        if let Some(moved) = self.held_up(&choice.work, demand.amount.tokens, rank)? {
            return Ok(moved);
        }
        let (others, disposed) = self.others(&choice);
        // A re-run keeps its name (session, turn, step) and gets a new attempt; what is new gets a new step.
        let (action, attempt) = match &redo {
            Some(redo) => (redo.action, redo.attempt + 1),
            None => {
                // A message to an agent that has yielded opens the next turn; its action belongs there.
                let opens = choice.wish == "message" && self.s.turn == Turn::Yielded;
                (ActionId { turn: self.s.turn_no + u32::from(opens), step: self.s.step + 1 }, 1)
            }
        };
        if redo.is_none() {
            self.emit(Event::Selected {
                action,
                intent: choice.intent,
                source: choice.source,
                wish: choice.wish.to_owned(),
                why: std::mem::take(&mut choice.why),
                others,
            })?;
        } else if let Some(intent) = choice.intent {
            self.dispose(intent, Disposal::Superseded)?;
        }
        for (intent, how) in disposed {
            self.dispose(intent, how)?;
        }
        let approval =
            redo.as_ref().map_or_else(|| self.call_approval(&choice.work), |redo| redo.approval.clone());
        self.start(choice, action, attempt, demand, approval)?;
        Ok(true)
    }

    /// When this may begin: after quiet hours, unless a person wants it, and slower near the end of a budget.
    fn not_before(&self, choice: &Choice) -> Option<Timestamp> {
        let quiet = if choice.source == Source::User { None } else { self.quiet_until() };
        let slowed = || choice.work.asks_model().then(|| self.s.slowed(self.gov, self.ctx.now)).flatten();
        quiet.or_else(slowed)
    }

    fn start(
        &mut self,
        choice: Choice,
        action: ActionId,
        attempt: u32,
        demand: Demand,
        approval: Option<String>,
    ) -> Result<(), Illegal> {
        let session = self.s.id;
        let Demand { amount: demand, deadline_ms, max_tokens } = demand;
        if demand.steps > 0 {
            self.settle_block()?;
            let amount = Amount { steps: demand.steps, ..Amount::ZERO };
            self.emit_ledger(LedgerEvent::Reserved { session, action: block_name(action), amount })?;
        }
        let amount = Amount { steps: 0, ..demand };
        // A model call is always on account, also one that should be free: what it is billed then shows.
        if amount != Amount::ZERO || choice.work.asks_model() {
            self.emit_ledger(LedgerEvent::Reserved { session, action, amount })?;
        }
        let (want, whose) = (bundle(&choice.work), self.whose(&choice));
        let woken = self.gov.take_with(session, slot(&choice.work), want, whose);
        self.out.effects.extend(woken.into_iter().map(Effect::Wake));
        let deadline = self.ctx.now.plus(deadline_ms);
        if choice.work.asks_model() {
            self.take_quota(&choice.work, action, demand.tokens, deadline)?;
            self.take_project(action, demand)?;
        }
        // What a person had to agree to runs as they saw it, also when it runs again.
        let approved = match &choice.work {
            Work::Tools { calls } => {
                let asked = |call: &&Call| approval.is_some() || self.needs_approval(call);
                calls.first().filter(asked).map(|call| call.hash)
            }
            _ => None,
        };
        self.emit(Event::Started {
            action,
            attempt,
            work: choice.work.clone(),
            class: choice.class,
            why: choice.class_why,
            deadline,
            fence: self.ctx.fence,
            approval,
            reserved: demand,
        })?;
        let Some(spec) = self.s.spec.clone() else { return Ok(()) };
        let with_items = choice.work.asks_model();
        let run = Run {
            session: self.s.id,
            action,
            attempt,
            class: choice.class,
            deadline,
            restore: attempt > 1 && choice.class == EffectClass::Staged,
            approved,
            max_tokens,
            card: self.s.card_for(&choice.work),
            context: Box::new(self.s.context(spec, with_items)),
            work: choice.work,
        };
        self.out.effects.push(Effect::Run(Box::new(run)));
        Ok(())
    }

    fn call_approval(&self, work: &Work) -> Option<String> {
        let Work::Tools { calls } = work else { return None };
        let first = calls.first()?;
        self.s.calls.iter().find(|slot| slot.call.id == first.id)?.approval.clone()
    }

    fn over_turn_limit(&mut self, choice: &Choice) -> Result<bool, Illegal> {
        let limit = self.s.spec.as_ref().map_or(limits::STEPS_PER_TURN, |spec| spec.limits.steps_per_turn);
        let counts = matches!(choice.work, Work::Model { .. } | Work::Tools { .. });
        let fresh = matches!(choice.wish, "message");
        if !counts || fresh || self.s.steps_in_turn < limit {
            return Ok(false);
        }
        let what =
            format!("this turn has taken {limit} steps, which is its limit; resumed it gets as many more");
        let hint = format!("kapell resume {}", self.s.id);
        self.pause("limit", &what, &hint, 5)?;
        Ok(true)
    }

    /// A stage that has worked for as long as it may is the end: it is set only where nobody looks on.
    fn over_stage_limit(&mut self, choice: &Choice) -> Result<bool, Illegal> {
        use Work::{Check, Inspect, Integrate, Model, Tools};
        let counts = matches!(
            choice.work,
            Model { .. } | Tools { .. } | Check { .. } | Inspect { .. } | Integrate { .. }
        );
        let over = self.s.phase == Phase::Active && self.s.stage_left_ms() == Some(0);
        let Some(stage) = self.s.stage().filter(|_| counts && over).cloned() else { return Ok(false) };
        let limit = stage.limit_ms.unwrap_or_default() / 1_000;
        let what = format!("the stage `{}` has worked for {limit} s, which is its limit", stage.name);
        self.end(Final::Failed, OVERTIME, &what)?;
        Ok(true)
    }

    /// Nothing can be reserved: the session stops for a person who can, or ends where nobody can.
    fn not_granted(&mut self, choice: &Choice, missing: &Missing) -> Result<bool, Illegal> {
        if let Some(ending) = self.s.hooks.ending.clone() {
            self.end_now(ending.state, ending.code, &ending.why)?;
            return Ok(true);
        }
        let (what, hint) = words(self.s.id, self.s.root(), missing);
        if self.s.phase != Phase::Active {
            // It is paused already, and somebody wanted this one thing meanwhile.
            let Some(intent) = choice.intent else { return Ok(false) };
            self.dispose(intent, Disposal::Refused(format!("{what}; {hint}")))?;
            return Ok(true);
        }
        if matches!(missing, Missing::Project(_)) {
            self.relied_on_project();
        }
        match missing {
            // A child's own part cannot be raised: its parent is told, and decides.
            Missing::Refused(Refusal::Cap { session, .. }) if *session != self.s.root() => {
                self.end(Final::Failed, 7, &what)?;
            }
            _ => self.pause("budget", &what, &hint, 7)?,
        }
        Ok(true)
    }

    /// A session that stopped for want of budget goes on by itself once there is some.
    pub(crate) fn budget_came_back(&mut self) -> Result<bool, Illegal> {
        let stopped =
            self.s.phase == Phase::Paused && self.s.pause.as_ref().is_some_and(|p| p.why == "budget");
        if !stopped {
            return Ok(false);
        }
        let Want::Work(work, ..) = self.want() else { return Ok(false) };
        if self.demand(&work).is_err() {
            return Ok(false);
        }
        self.emit(Event::Resumed { model: None })?;
        Ok(true)
    }
}
