//! Starting an action: slot, budget, approval, deadline; then Selected and Started in one breath.
//!
//! All or nothing: when a slot or the budget is missing, nothing is selected. Start at [`Draft::run`].

use crate::Illegal;
use crate::decide::Draft;
use crate::fsm::Turn;
use crate::governor::Slot;
use crate::ledger::Refusal;
use crate::next::Choice;
use contract::action::{Effect, EffectClass, Run, Work};
use contract::event::{Event, LedgerEvent};
use contract::model::{Card, Usage};
use contract::{ActionId, Amount, limits};

/// The slot a kind of work takes.
pub(crate) fn slot(work: &Work) -> Slot {
    match work {
        Work::Model { .. } => Slot::Model,
        Work::Tools { .. } => Slot::Tool,
        Work::Check { .. } | Work::Integrate { .. } => Slot::Check,
        Work::Prepare | Work::Inspect { .. } | Work::Adopt { .. } | Work::Rewind { .. } => Slot::Workspace,
    }
}

/// The name under which a block of steps is held: turn 0 belongs to no action.
pub(crate) fn block_name(action: ActionId) -> ActionId {
    ActionId { turn: 0, ..action }
}

/// How long a kind of work may take, milliseconds.
fn allowance_ms(work: &Work) -> u64 {
    match work {
        Work::Model { .. } => limits::MODEL_MS,
        Work::Tools { calls } => {
            let longest = calls.iter().map(|call| call.deadline_ms.unwrap_or(limits::TOOL_MS)).max();
            longest.unwrap_or(limits::TOOL_MS).min(limits::TOOL_MAX_MS)
        }
        Work::Check { .. } | Work::Integrate { .. } => limits::CHECK_MS,
        Work::Prepare | Work::Inspect { .. } | Work::Adopt { .. } | Work::Rewind { .. } => {
            limits::WORKSPACE_MS
        }
    }
}

/// The most a model call can use: everything said so far, the instructions, and a full reply.
/// A byte is never more than a token, so bytes bound tokens from above.
fn worst_case(card: Card, bytes: u64) -> Usage {
    let input = bytes.saturating_add(limits::PROMPT_TOKENS).min(card.context_tokens);
    Usage { input, output: card.output_tokens }
}

impl Draft<'_> {
    /// Starts the chosen work, or remembers what it waits for. True when something happened.
    pub(crate) fn run(&mut self, mut choice: Choice) -> Result<bool, Illegal> {
        let redo = self.s.redo.clone().filter(|redo| redo.work == choice.work);
        if redo.is_none() && self.over_turn_limit(&choice)? {
            return Ok(true);
        }
        let slot = slot(&choice.work);
        if !self.gov.free(self.s.id, slot) {
            self.gov.wait(self.s.id, slot);
            return Ok(false);
        }
        if matches!(choice.work, Work::Model { .. }) {
            self.cut()?;
        }
        let (demand, deadline_ms) = match self.demand(&choice.work) {
            Ok(demand) => demand,
            Err((what, hint)) => {
                self.pause("budget", &what, &hint, 7)?;
                return Ok(true);
            }
        };
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
            self.dispose(intent, contract::event::Disposal::Superseded)?;
        }
        for (intent, how) in disposed {
            self.dispose(intent, how)?;
        }
        let approval =
            redo.as_ref().map_or_else(|| self.call_approval(&choice.work), |redo| redo.approval.clone());
        self.start(choice, action, attempt, demand, deadline_ms, approval)?;
        Ok(true)
    }

    fn start(
        &mut self,
        choice: Choice,
        action: ActionId,
        attempt: u32,
        demand: Amount,
        deadline_ms: u64,
        approval: Option<String>,
    ) -> Result<(), Illegal> {
        let session = self.s.id;
        if demand.steps > 0 {
            self.settle_block()?;
            let amount = Amount { steps: demand.steps, ..Amount::ZERO };
            self.emit_ledger(LedgerEvent::Reserved { session, action: block_name(action), amount })?;
        }
        let amount = Amount { steps: 0, ..demand };
        if amount != Amount::ZERO {
            self.emit_ledger(LedgerEvent::Reserved { session, action, amount })?;
        }
        self.gov.take(session, slot(&choice.work));
        let deadline = self.ctx.now.plus(deadline_ms);
        let approved = match (&choice.work, &approval) {
            (Work::Tools { calls }, Some(_)) => calls.first().map(|call| call.hash),
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
        let with_items = matches!(choice.work, Work::Model { .. });
        let run = Run {
            session: self.s.id,
            action,
            attempt,
            class: choice.class,
            deadline,
            restore: attempt > 1 && choice.class == EffectClass::Staged,
            approved,
            context: Box::new(self.s.context(&spec, with_items)),
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
        let what = format!("this turn has taken {limit} steps, which is its limit");
        let hint = format!("kapell resume {} to give it {limit} more", self.s.id);
        self.pause("limit", &what, &hint, 5)?;
        Ok(true)
    }

    /// What the work needs from the tree's budget, and how long it may take. Err: what is missing and what to type.
    fn demand(&mut self, work: &Work) -> Result<(Amount, u64), (String, String)> {
        let id = self.s.id;
        let mut demand = Amount::ZERO;
        if let (Work::Model { .. }, Some(model)) = (work, &self.s.model) {
            let (card, name) = (model.card, model.id.clone());
            let bytes = self.s.items.iter().map(|item| item.bytes).sum();
            let usage = worst_case(card, bytes);
            let cap = self.ledger().cap(id);
            match card.price {
                Some(price) => demand.nanos = price.cost(usage),
                None if cap.tokens != u64::MAX => {}
                None => {
                    let what = format!("the price of {name} is not known, so a budget in money cannot hold");
                    return Err((
                        what,
                        format!("kapell resume {id} --max-tokens N, or choose a model with a known price"),
                    ));
                }
            }
            demand.tokens = usage.input.saturating_add(usage.output);
        }
        let left = self.ledger().left(id);
        if self.s.block.as_ref().is_none_or(|block| block.used >= block.granted) {
            demand.steps = limits::STEP_BLOCK.min(left.steps).max(1);
        }
        let mut deadline_ms = allowance_ms(work);
        if left.time_ms != u64::MAX {
            deadline_ms = deadline_ms.min(left.time_ms);
            demand.time_ms = deadline_ms.max(1);
        }
        match self.ledger().grant(id, demand) {
            Ok(()) => Ok((demand, deadline_ms)),
            Err(refusal) => Err(words(id, refusal)),
        }
    }

    /// Drops the oldest part of the conversation when it grew past its bounds; the goal stays, pairs stay whole.
    fn cut(&mut self) -> Result<(), Illegal> {
        let tokens = self
            .s
            .model
            .as_ref()
            .map_or(u64::MAX, |m| m.card.context_tokens.saturating_sub(m.card.output_tokens));
        let room = tokens.saturating_sub(limits::PROMPT_TOKENS).saturating_mul(3);
        let bytes: u64 = self.s.items.iter().map(|item| item.bytes).sum();
        if self.s.items.len() <= limits::CONTEXT_ITEMS && bytes <= room {
            return Ok(());
        }
        let (keep_items, keep_bytes) = (limits::CONTEXT_ITEMS * 3 / 4, room / 4 * 3);
        let (mut dropped, mut left_bytes) = (0, bytes);
        for (at, item) in self.s.items.iter().enumerate().skip(1) {
            let small_enough = self.s.items.len() - at < keep_items && left_bytes <= keep_bytes;
            let boundary = item.call.is_none();
            if small_enough && boundary {
                break;
            }
            dropped = at;
            left_bytes -= item.bytes;
        }
        // Never the newest exchange: without it there would be nothing to answer.
        let newest = self.s.items.iter().rposition(|item| item.call.is_none()).unwrap_or(0);
        let items = dropped.min(newest.saturating_sub(1));
        if items == 0 {
            return Ok(());
        }
        let bytes = self.s.items.iter().skip(1).take(items).map(|item| item.bytes).sum();
        self.emit(Event::Cut { items: items as u64, bytes })
    }
}

fn words(id: contract::SessionId, refusal: Refusal) -> (String, String) {
    match refusal {
        Refusal::Cap { unit, session, .. } => {
            let whose =
                if session == id { "this session's".to_owned() } else { format!("session {session}'s") };
            let flag = match unit {
                "money" => "--add-usd 1",
                "tokens" => "--add-tokens 100000",
                "steps" => "--add-steps 100",
                _ => "--add-minutes 10",
            };
            (
                format!("what is left of {whose} budget of {unit} does not suffice for the next step"),
                format!("kapell resume {id} {flag}"),
            )
        }
        Refusal::Frozen => (
            "more was billed than had been reserved; the tree is frozen".into(),
            format!("kapell resume {id} --add-usd 1"),
        ),
        Refusal::Barred => {
            ("a session above this one is being stopped".into(), format!("kapell sessions show {id}"))
        }
        Refusal::Unknown => {
            ("this session has no account in its tree's budget".into(), "kapell verify".into())
        }
    }
}
