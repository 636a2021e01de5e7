//! What happens with one input: state + governor + input + now -> events, effects, reply.
//!
//! Pure: it mutates only the values handed in, by folding the very events it returns. If the commit of those
//! events fails, the values are ahead of the journal: drop them and read them again. Start at [`decide`].

use crate::fsm::{ApprovalState, Phase};
use crate::further::Further;
use crate::governor::Governor;
use crate::ledger::Ledger;
use crate::{Illegal, Session};
use contract::action::{Effect, Outcome};
use contract::event::{Event, LedgerEvent};
use contract::intent::Intent;
use contract::{Fence, SessionId, StreamId, Timestamp, limits, text};

/// The values from outside.
#[derive(Debug, Clone, Copy)]
pub struct Ctx {
    /// The wall clock.
    pub now: Timestamp,
    /// Fresh random bits: ids and jitter.
    pub random: u128,
    /// The lease this process holds.
    pub fence: Fence,
    /// Nothing new starts in this process: it is going down, or only settles what was submitted.
    pub hold: bool,
}

/// What can arrive at a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The session is to exist.
    Open(Box<contract::session::SessionSpec>),
    /// What was in the inbox, oldest first; what nobody understands comes as its own description.
    Inbox(Vec<Result<Intent, String>>),
    /// An attempt ended.
    Outcome(Box<Outcome>),
    /// Time passed, or a slot came free.
    Tick,
    /// This process took the session over.
    Recover,
    /// This process is going down (`Ctx::hold` from here on): stop what runs, leave the rest to the next one.
    Stop,
}

/// What follows from an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Facts for the session's stream.
    pub events: Vec<Event>,
    /// Facts for the tree's ledger, in the same append.
    pub ledger: Vec<LedgerEvent>,
    /// Facts for further ledgers, in the same append; at most one entry per stream.
    pub further: Vec<Further>,
    /// Ledgers that were looked at and said no: it holds only while they stand where they are.
    pub looked: Vec<StreamId>,
    /// Children born in the same append, each with its first facts.
    pub children: Vec<(SessionId, Vec<Event>)>,
    /// Intents for other sessions, in the same append.
    pub submit: Vec<Intent>,
    /// What to do once all that is durable.
    pub effects: Vec<Effect>,
    /// When to look again if nothing else happens.
    pub wake_at: Option<Timestamp>,
}

/// The kernel's one entrance.
pub fn decide(
    state: &mut Session,
    governor: &mut Governor,
    input: Input,
    ctx: &Ctx,
) -> Result<Decision, Illegal> {
    let mut draft = Draft {
        s: state,
        gov: governor,
        ctx: *ctx,
        out: Decision::default(),
        born: 0,
        in_line: false,
        look_at: None,
    };
    if !matches!(input, Input::Open(_)) {
        draft.loaded()?;
    }
    match input {
        Input::Open(spec) => draft.open(*spec)?,
        Input::Inbox(mail) => {
            // First what ran out of time: a yes that comes after the last moment is none.
            draft.expire()?;
            for letter in mail {
                match letter {
                    Ok(intent) => draft.submitted(intent)?,
                    Err(why) => draft.emit(Event::Garbled { why: text::sentence(&why) })?,
                }
            }
        }
        Input::Outcome(outcome) => draft.outcome(*outcome)?,
        Input::Tick => {}
        Input::Recover => draft.recover()?,
        Input::Stop => draft.stop(false),
    }
    draft.expire()?;
    draft.advance()?;
    draft.leave_line();
    draft.wake_line();
    draft.out.wake_at = draft.wake_at();
    Ok(draft.out)
}

/// The state being moved and what came of it so far.
pub(crate) struct Draft<'a> {
    pub(crate) s: &'a mut Session,
    pub(crate) gov: &'a mut Governor,
    pub(crate) ctx: Ctx,
    pub(crate) out: Decision,
    /// Ids made from `ctx.random` so far.
    pub(crate) born: u32,
    /// It waits for a slot, or for a key's limits.
    pub(crate) in_line: bool,
    /// When it looks again whether they allow its call.
    pub(crate) look_at: Option<Timestamp>,
}

impl Draft<'_> {
    pub(crate) fn emit(&mut self, event: Event) -> Result<(), Illegal> {
        self.s.apply(self.ctx.now, &event)?;
        self.out.events.push(event);
        Ok(())
    }

    pub(crate) fn emit_ledger(&mut self, event: LedgerEvent) -> Result<(), Illegal> {
        self.ledger().apply(&event)?;
        self.out.ledger.push(event);
        Ok(())
    }

    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        let root = self.s.root();
        self.gov.ledger(root)
    }

    /// A fresh id. Distinct within one decision, and across decisions by `ctx.random`.
    pub(crate) fn new_id(&mut self) -> SessionId {
        self.born += 1;
        let salt = u128::from(self.born).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        SessionId::v7(self.ctx.now.0, self.ctx.random ^ salt)
    }

    /// A session that is not there, or whose tree's ledger is not, must not be decided upon: nothing is changed.
    fn loaded(&mut self) -> Result<(), Illegal> {
        let root = self.s.root();
        let illegal = |why: String| Err(Illegal { state: why, event: "an input".into() });
        if self.s.spec.is_none() {
            return illegal(format!("session {} is not opened", self.s.id));
        }
        if self.s.phase != Phase::Ended && self.gov.peek(root).is_none_or(|ledger| ledger.seq == 0) {
            return illegal(format!("the ledger of tree {root} is not loaded"));
        }
        Ok(())
    }

    /// Who does not wait for a slot any more must not keep others waiting behind it.
    fn leave_line(&mut self) {
        if !self.in_line {
            let woken = self.gov.leave(self.s.id);
            self.out.effects.extend(woken.into_iter().map(Effect::Wake));
        }
    }

    fn open(&mut self, spec: contract::session::SessionSpec) -> Result<(), Illegal> {
        if let Some(problem) = crate::workflow::problem(&spec.workflow) {
            return Err(Illegal { state: "workflow".into(), event: problem });
        }
        if spec.parent.is_none() {
            self.emit_to_root(spec.budget)?;
        }
        self.emit(Event::Opened { spec: Box::new(spec) })
    }

    fn emit_to_root(&mut self, cap: contract::Amount) -> Result<(), Illegal> {
        let event = LedgerEvent::Opened { cap };
        self.gov.ledger(self.s.id).apply(&event)?;
        self.out.ledger.push(event);
        Ok(())
    }

    fn wake_at(&self) -> Option<Timestamp> {
        if self.s.phase == Phase::Ended {
            return None;
        }
        let now = self.ctx.now;
        let overdue = self.s.running.as_ref().map(|a| a.deadline.plus(limits::OVERDUE_MS));
        let ttl = self.s.queue.iter().filter_map(|intent| Some(intent.at.plus(intent.ttl_ms?))).min();
        let open = self.s.approvals.values().filter(|approval| approval.state == ApprovalState::Pending);
        let approvals = open.map(|approval| approval.expires).min();
        let retry = self.s.not_before(now).filter(|_| self.s.running.is_none());
        let moments = [retry, overdue, ttl, approvals, self.look_at, self.caps_begin_anew()];
        // What lay before now has just been seen to.
        moments.into_iter().flatten().filter(|at| *at > now).min()
    }
}
