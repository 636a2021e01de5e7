//! The state of a session: a fold over its events, and nothing else.
//!
//! Holds indexes and digests, never texts. Start at [`Session`]; the only mutator is [`Session::apply`].

use crate::circle::Trail;
use crate::context::{Anchor, Gauge};
use crate::fsm::{ApprovalState, CallState, Phase, Turn};
use crate::hooks::HookState;
use crate::plan::Plan;
use contract::action::{Call, Context, EffectClass, Item, Prepared, Todo, Work};
use contract::checks::{CheckRun, Flag, Verdict};
use contract::event::{Answer, Final, Subject};
use contract::hooks::HookEvent;
use contract::intent::{ChildEnd, Intent, Source};
use contract::model::ModelRef;
use contract::session::{Limits, SessionSpec, Stage};
use contract::{
    ActionId, Amount, ApprovalId, CallId, Digest, Fence, QuestionId, QuotaId, Seq, SessionId, Timestamp,
    limits,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Version of the serialised state (snapshots). A snapshot of another version is not used.
pub const SCHEMA: u32 = 5;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Number of its last event.
    pub seq: Seq,
    /// When it was opened.
    pub opened: Timestamp,
    /// When its last event was written.
    pub at: Timestamp,
    /// What it was opened with; `None` before its first event.
    #[serde(with = "shared")]
    pub spec: Option<Arc<SessionSpec>>,
    /// Active, paused or ended.
    pub phase: Phase,
    /// Why it is paused, when it is.
    pub pause: Option<Pause>,
    /// How it ended, when it did.
    pub end: Option<Ended>,
    /// Somebody asked to cancel.
    pub cancel: bool,
    /// The model that has the word.
    pub model: Option<ModelRef>,
    /// The newest lease on record.
    pub fence: Fence,
    /// The workspace stands, as far as this process knows.
    pub ready: bool,
    /// What preparing found.
    pub prepared: Option<Prepared>,
    /// Where in the workflow.
    pub stage: usize,
    /// What its actions had taken when it came there, milliseconds; counted where the stage has a limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stage_from_ms: u64,
    /// Feedback rounds taken.
    pub round: u32,
    /// The running number of the turn.
    pub turn_no: u32,
    /// Where in the turn.
    pub turn: Turn,
    /// Who spoke last to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<Source>,
    /// Number of the newest action.
    pub step: u32,
    /// Actions in this turn.
    pub steps_in_turn: u32,
    /// Intents taken from the inbox and not yet selected or disposed of.
    pub queue: Vec<Intent>,
    /// Selected and about to start. Only inside one append: a Started follows every Selected.
    pub chosen: Option<ActionId>,
    /// The action in flight: at most one.
    pub running: Option<Attempt>,
    /// An interrupted action that is to run again.
    pub redo: Option<Redo>,
    /// The conversation, bounded by cuts.
    pub items: VecDeque<Item>,
    /// What the provider counted in the newest exchange.
    pub counted: Option<Counted>,
    /// Entries there have been in it.
    pub numbered: u64,
    /// Entries that are not shown any more, by number; only the newest are remembered.
    pub evicted: VecDeque<Item>,
    /// What the newest cut took out.
    pub last_cut: Vec<u64>,
    /// What is known about the tokens of each model.
    pub gauges: BTreeMap<String, Gauge>,
    /// The newest request whose size its provider told.
    pub anchor: Option<Anchor>,
    /// Model actions so far.
    pub ordinal: u32,
    /// The calls of the model's last message.
    pub calls: Vec<CallSlot>,
    /// `finish` as the agent called it in this turn.
    pub finish: Option<Finish>,
    /// The agent's last text.
    pub last_text: Option<Digest>,
    /// Approvals that are not closed.
    pub approvals: BTreeMap<ApprovalId, Approval>,
    /// Questions without an answer.
    pub questions: BTreeMap<QuestionId, Question>,
    /// Children by name.
    pub children: BTreeMap<SessionId, Child>,
    /// The plan.
    pub plan: Plan,
    /// The agent's own list of what is to be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub todo: Vec<Todo>,
    /// Tools it has found beyond those that are shown from the start, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
    /// Runs of the checks on base.
    pub base_runs: Vec<CheckRun>,
    /// The newest verdict.
    pub verdict: Option<Judged>,
    /// Flags of the newest inspection.
    pub flags: Vec<Flag>,
    /// What a person (or time) said about landing a flagged commit.
    pub land: Option<LandWord>,
    /// Commit that landed last.
    pub landed: Option<String>,
    /// The branch on which confirmed work was left, when it did not land.
    pub left_on: Option<String>,
    /// Failures in a row, by signature.
    pub failures: BTreeMap<String, u32>,
    /// The newest failing call and how often it came in a row.
    pub repeat: Option<Repeat>,
    /// What the agent did of late.
    #[serde(default)]
    pub trail: Trail,
    /// Replies in a row that were cut at their limit with nothing in them that could be done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut_replies: u32,
    /// Not before this moment.
    pub retry_at: Option<Timestamp>,
    /// When that was decided: a clock behind it has been set back, and nobody waits for what it says.
    pub retry_from: Timestamp,
    /// What keeps the next model call from starting, since it was last put on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_up: Option<HeldUp>,
    /// Savepoints by action, newest last.
    pub savepoints: VecDeque<(ActionId, String)>,
    /// Steps taken out of the tree's budget and not used up.
    pub block: Option<StepBlock>,
    /// What is known of its hooks.
    #[serde(default, skip_serializing_if = "is_none")]
    pub hooks: HookState,
    /// What was really used so far by this session alone.
    pub used: Amount,
    /// A person has said that its conversation may be cut now, which is not cut by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_once: bool,
    /// When its newest call of a model ended.
    #[serde(default)]
    pub called_at: Timestamp,
    /// The cap of one model call, where a person has said another than it was opened with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_cap: Option<Amount>,
    /// What its provider has kept of the conversation.
    #[serde(default)]
    pub cache: Cache,
}

/// What a provider has kept of a conversation, as far as it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cache {
    /// Tokens that it had kept after the newest call; 0 = nothing is known of any.
    pub tokens: u64,
    /// Calls in a row that found next to nothing of it.
    pub misses: u32,
    /// When the newest call began.
    pub at: Timestamp,
    /// A person knows, and has it go on all the same.
    pub settled: bool,
}

fn is_none(hooks: &HookState) -> bool {
    *hooks == HookState::default()
}

fn is_zero<N: Default + PartialEq>(n: &N) -> bool {
    *n == N::default()
}

/// A shared value is stored as the value.
mod shared {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        it: &Option<Arc<T>>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        it.as_deref().serialize(s)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Arc<T>>, D::Error> {
        Ok(Option::<T>::deserialize(d)?.map(Arc::new))
    }
}

/// An attempt in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which action.
    pub action: ActionId,
    /// First try is 1.
    pub attempt: u32,
    /// What it does.
    pub work: Work,
    /// What a crash in the middle means.
    pub class: EffectClass,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// When it began.
    pub started: Timestamp,
    /// What was reserved for it.
    pub reserved: Amount,
    /// The quota a model is called under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaId>,
}

/// An action to be run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redo {
    /// Which action.
    pub action: ActionId,
    /// The attempt that was lost.
    pub attempt: u32,
    /// What it does.
    pub work: Work,
    /// Its class.
    pub class: EffectClass,
    /// It may run: its class allows it, or a person said so. False: a person must decide.
    pub allowed: bool,
    /// The approval it will use up.
    pub approval: Option<ApprovalId>,
}

/// How long the conversation was by a provider's own count. An upper bound for as long as items only go, from the
/// oldest on, or are added behind: whatever else changes the conversation drops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Who counted.
    pub model: String,
    /// Tokens given and said.
    pub tokens: u64,
    /// Items that these were, from the first one on.
    pub items: usize,
}

/// A call and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSlot {
    /// The call.
    pub call: Call,
    /// Where it stands.
    pub state: CallState,
    /// The approval it runs under.
    pub approval: Option<ApprovalId>,
    /// What it had given when it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Digest>,
    /// Hooks that were asked about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<HookEvent>,
    /// A hook of the person's own said yes in the person's place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waived: bool,
}

/// The agent's own word on how it stands. Proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// It says it is done.
    pub done: bool,
    /// What is missing when not.
    pub needs: String,
    /// Its words.
    pub summary: Digest,
}

/// An approval on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What for.
    pub subject: Subject,
    /// The exact content.
    pub hash: Digest,
    /// Where it stands.
    pub state: ApprovalState,
    /// When it counts as denied.
    pub expires: Timestamp,
    /// When it was asked.
    pub asked: Timestamp,
}

/// A question without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The agent's words.
    pub text: Option<Digest>,
    /// The call that waits.
    pub call: Option<CallId>,
    /// Kapell's words.
    pub why: String,
    /// Ranked choices.
    pub choices: Vec<String>,
}

/// The answer to "may this flagged commit land?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandWord {
    /// Which commit.
    pub result: String,
    /// Granted, denied or expired.
    pub answer: Answer,
}

/// A child session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The call that waits for it.
    pub call: CallId,
    /// It has ended and its parent has the result.
    pub ended: bool,
    /// How it ended, from the moment that its end was taken up.
    pub end: Option<ChildEnd>,
}

/// A limit or a provider that is down, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeldUp {
    /// `rate`, `window`, `concurrency`, `reset`, `backoff`, `breaker`, `retry`.
    pub why: String,
    /// More for people.
    pub what: String,
    /// When it is looked at again.
    pub until: Timestamp,
}

/// Why a session waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// `user`, `budget`, `failure`, `needs-model`, `shutdown`, `limit`, `stuck`.
    pub why: String,
    /// More for people.
    pub what: String,
    /// What to type next.
    pub hint: String,
    /// Exit code of a one-shot surface.
    pub code: u8,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Completed, failed, cancelled.
    pub state: Final,
    /// Exit code.
    pub code: u8,
    /// Why.
    pub why: String,
    /// The agent's last words.
    pub summary: Option<Digest>,
}

/// The newest verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The commit it is about.
    pub result: String,
    /// True when that commit has the same tree as the base.
    pub same_tree: bool,
    /// No check at all was found.
    pub no_checks: bool,
    /// Why.
    pub reasons: Vec<String>,
    /// Logs of the checks that speak against it.
    pub logs: Vec<(String, Digest)>,
}

/// A call that failed again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// Tool and arguments.
    pub args: Digest,
    /// Which tool.
    pub tool: String,
    /// How often in a row.
    pub count: u32,
    /// Tokens used when the agent was told to take another way.
    pub warned_at_tokens: Option<u64>,
    /// The count at that moment: only what fails after the warning counts against it.
    pub warned_at_count: u32,
}

/// Steps reserved ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepBlock {
    /// The action that reserved it.
    pub action: ActionId,
    /// How many.
    pub granted: u64,
    /// How many are used.
    pub used: u64,
}

/// What the session waits for, in order of precedence. Derived, never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A person's yes or no.
    Approval(ApprovalId),
    /// A person's answer.
    Answer(QuestionId),
    /// Children.
    Children(usize),
    /// A moment.
    Until(Timestamp),
}

impl Session {
    /// A session without events.
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            seq: 0,
            opened: Timestamp(0),
            at: Timestamp(0),
            spec: None,
            phase: Phase::Active,
            pause: None,
            end: None,
            cancel: false,
            model: None,
            fence: 0,
            ready: false,
            prepared: None,
            stage: 0,
            stage_from_ms: 0,
            round: 0,
            turn_no: 1,
            turn: Turn::Model,
            asked_by: None,
            step: 0,
            steps_in_turn: 0,
            queue: Vec::new(),
            chosen: None,
            running: None,
            redo: None,
            items: VecDeque::new(),
            counted: None,
            numbered: 0,
            evicted: VecDeque::new(),
            last_cut: Vec::new(),
            gauges: BTreeMap::new(),
            anchor: None,
            ordinal: 0,
            calls: Vec::new(),
            finish: None,
            last_text: None,
            approvals: BTreeMap::new(),
            questions: BTreeMap::new(),
            children: BTreeMap::new(),
            plan: Plan::default(),
            todo: Vec::new(),
            found: Vec::new(),
            base_runs: Vec::new(),
            verdict: None,
            flags: Vec::new(),
            land: None,
            landed: None,
            left_on: None,
            failures: BTreeMap::new(),
            repeat: None,
            trail: Trail::default(),
            cut_replies: 0,
            retry_at: None,
            retry_from: Timestamp(0),
            held_up: None,
            savepoints: VecDeque::new(),
            block: None,
            hooks: HookState::default(),
            used: Amount::ZERO,
            cut_once: false,
            called_at: Timestamp(0),
            call_cap: None,
            cache: Cache::default(),
        }
    }

    /// What bounds it, as it is now.
    pub fn limits(&self) -> Limits {
        let opened = self.spec.as_ref().map(|spec| spec.limits).unwrap_or_default();
        Limits { call: self.call_cap.unwrap_or(opened.call), ..opened }
    }

    /// The root of its tree.
    pub fn root(&self) -> SessionId {
        self.spec.as_ref().map_or(self.id, |spec| spec.root(self.id))
    }

    /// The stage it is in.
    pub fn stage(&self) -> Option<&Stage> {
        self.spec.as_ref()?.workflow.stages.get(self.stage)
    }

    /// How much longer the actions of the current stage may take, milliseconds; `None` = as long as they take.
    pub fn stage_left_ms(&self) -> Option<u64> {
        let spent = self.used.time_ms.saturating_sub(self.stage_from_ms);
        Some(self.stage()?.limit_ms?.saturating_sub(spent))
    }

    /// Sessions below it that may still run: nobody has heard of their end.
    pub fn running_children(&self) -> impl Iterator<Item = SessionId> {
        self.children.iter().filter(|(_, child)| !child.ended && child.end.is_none()).map(|(id, _)| *id)
    }

    /// Sessions below it whose result it does not have yet.
    pub fn live_children(&self) -> impl Iterator<Item = SessionId> {
        self.children.iter().filter(|(_, child)| !child.ended).map(|(id, _)| *id)
    }

    /// Does it go on, and still have to take the result of this session?
    pub fn awaits(&self, child: SessionId) -> bool {
        self.phase != Phase::Ended && self.live_children().any(|live| live == child)
    }

    /// Are checks what was interrupted, or failed?
    pub(crate) fn checks_again(&self) -> bool {
        self.redo.as_ref().is_some_and(|redo| matches!(redo.work, Work::Check { .. }))
    }

    /// May its tree hold anything that its base does not?
    fn worked(&self) -> bool {
        let changes = |redo: &Redo| !matches!(redo.work, Work::Model { .. } | Work::Summarise { .. });
        !self.savepoints.is_empty()
            || self.verdict.is_some()
            || self.children.values().any(|child| child.ended)
            || self.redo.as_ref().is_some_and(changes)
    }

    /// What it waits for, if it is active and nothing runs.
    pub fn waiting(&self, now: Timestamp) -> Option<Waiting> {
        if self.phase != Phase::Active || self.running.is_some() {
            return None;
        }
        let pending = self.approvals.iter().find(|(_, approval)| approval.state == ApprovalState::Pending);
        if let Some((id, _)) = pending {
            return Some(Waiting::Approval(id.clone()));
        }
        if let Some(id) = self.questions.keys().next() {
            return Some(Waiting::Answer(id.clone()));
        }
        match self.live_children().count() {
            0 => self.not_before(now).map(Waiting::Until),
            n => Some(Waiting::Children(n)),
        }
    }

    /// The moment a retry waits for, if it has not come. A clock that was set back does not prolong it.
    pub fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        let set_back = now.plus(limits::CLOCK_BACK_MS) < self.retry_from;
        self.retry_at.filter(|at| now < *at && !set_back)
    }

    /// The limit it waits for, if it is active and nothing runs. A clock that was set back does not prolong it.
    pub fn held_up(&self, now: Timestamp) -> Option<&HeldUp> {
        let rests = self.phase == Phase::Active && self.running.is_none();
        let set_back = now.plus(limits::CLOCK_BACK_MS) < self.at;
        self.held_up.as_ref().filter(|held| rests && now < held.until && !set_back)
    }

    /// What a person said about landing this commit, if it was asked.
    pub fn land_word(&self, result: &str) -> Option<Answer> {
        self.land.as_ref().filter(|word| word.result == result).map(|word| word.answer)
    }

    /// The approval a person would have to give now, if any.
    pub fn pending_approval(&self) -> Option<(&str, &Approval)> {
        let mut pending =
            self.approvals.iter().filter(|(_, approval)| approval.state == ApprovalState::Pending);
        pending.next().map(|(id, approval)| (id.as_str(), approval))
    }

    /// What executing an action needs to know.
    pub fn context(&self, spec: Arc<SessionSpec>, with_items: bool) -> Context {
        let prepared = self.prepared.as_ref();
        Context {
            spec,
            base: prepared.map(|p| p.base.clone()),
            target: prepared.and_then(|p| p.target.clone()),
            worked: self.worked(),
            checks: prepared.map(|p| p.checks.clone()).unwrap_or_default(),
            setup: prepared.map(|p| p.setup.clone()).unwrap_or_default(),
            items: if with_items { self.items.iter().cloned().collect() } else { Vec::new() },
            model: self.model.as_ref().map(|model| model.id.clone()),
            found: self.found.clone(),
        }
    }

    pub(crate) fn call(&mut self, id: &str) -> Option<&mut CallSlot> {
        self.calls.iter_mut().find(|slot| slot.call.id == id)
    }

    /// One word for people and boards.
    pub fn status(&self, now: Timestamp) -> &'static str {
        match (self.phase, &self.end) {
            (Phase::Ended, Some(end)) => end.state.name(),
            (Phase::Ended, None) => "ended",
            (Phase::Paused, _) => "paused",
            (Phase::Active, _) if self.running.is_some() => "running",
            (Phase::Active, _) if self.waiting(now).is_some() || self.held_up(now).is_some() => "waiting",
            (Phase::Active, _) if self.prepared.is_none() => "created",
            (Phase::Active, _) => "active",
        }
    }
}
