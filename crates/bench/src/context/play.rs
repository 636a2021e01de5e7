//! Plays a conversation through the kernel: the same decisions, the same cuts, and a look at every request.
//!
//! Knows nothing of formats. Start at [`play`].

use super::read::{Talk, Turn};
use anyhow::{Context, Result, bail};
use contract::action::{
    Call, CallResult, Done, Effect, EffectClass, End, Item, Outcome, Prepared, Role, Run, Work,
};
use contract::context::Sent;
use contract::event::Event;
use contract::intent::{Intent, Source, Wish};
use contract::model::{Card, ModelRef, Price, Stop, Usage};
use contract::session::{Ask, Limits, Rights, SessionSpec};
use contract::{Amount, Digest, SessionId, Timestamp, limits};
use engine::Core;
use engine::core::{Moment, Step};
use kernel::context::misfits;
use kernel::governor::Slots;
use kernel::{Governor, Input, Session};

/// How a conversation is played.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Tokens of the model's context.
    pub(super) context: u64,
    /// What the provider reported is handed to the kernel. False: nothing is ever reported.
    pub(super) believe: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) requests: usize,
    pub(super) cuts: usize,
    /// Results that became references.
    pub(super) left: usize,
    pub(super) dropped: u64,
    /// Messages and exchanges that no request could hold: refused, with what to do.
    pub(super) refused: usize,
    pub(super) broken: Vec<String>,
    /// Tokens of requests, and of their beginnings that the request before had, too.
    tokens: (u64, u64),
    /// Permille that estimates were off.
    pub(super) off: Vec<u64>,
    /// The same for estimates that know no request before.
    pub(super) off_cold: Vec<u64>,
}

impl Found {
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.cuts += other.cuts;
        self.left += other.left;
        self.dropped += other.dropped;
        self.refused += other.refused;
        self.tokens = (self.tokens.0 + other.tokens.0, self.tokens.1 + other.tokens.1);
        self.off.extend(&other.off);
        self.off_cold.extend(&other.off_cold);
    }

    /// Percent of all tokens sent that the request before began with.
    pub(super) fn stable(&self) -> u64 {
        self.tokens.1 * 100 / self.tokens.0.max(1)
    }
}

/// The value below which so many percent lie.
pub(super) fn percentile(values: &[u64], percent: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// The reply is kept free as by a usual model.
const REPLY: u64 = 8_192;
/// Bytes of instructions and tools where the transcript does not tell.
const PROMPT_BYTES: u64 = 12_000;
/// Said to an agent that has yielded when nobody said anything.
const GO_ON: (u64, &[u8]) = (5, b"go on");

struct Player<'a> {
    turns: std::slice::Iter<'a, Turn>,
    plan: Plan,
    core: Core,
    governor: Governor,
    now: Timestamp,
    random: u128,
    found: Found,
    before: Vec<Item>,
    /// Instructions and tools as the first report tells them.
    prompt: Option<u64>,
}

/// Plays it to its end.
pub(super) fn play(talk: &Talk, plan: Plan) -> Result<Found> {
    let mut found = Found::default();
    let mut rest = &talk.turns[..];
    // Where the agent compacted its conversation, another one begins; so it does after what no request can hold.
    while let Some(first) = rest.first() {
        let end = rest.iter().skip(1).position(|turn| turn.anew).map_or(rest.len(), |at| at + 1);
        let mut player = Player::new(&rest[..end], plan);
        player.play(first).with_context(|| talk.name.clone())?;
        let end = end - player.turns.len();
        let own = std::mem::take(&mut player.found);
        found.add(&own);
        found.broken.extend(own.broken);
        rest = &rest[end..];
    }
    Ok(found)
}

impl<'a> Player<'a> {
    fn new(turns: &'a [Turn], plan: Plan) -> Self {
        let id = SessionId::v7(1, 7);
        Self {
            turns: turns.iter(),
            plan,
            core: Core::new(Session::new(id), 1),
            governor: Governor::new(Slots { model: 1, tool: 1, check: 1, workspace: 1 }),
            now: Timestamp(1_700_000_000_000),
            random: 0,
            found: Found::default(),
            before: Vec::new(),
            prompt: None,
        }
    }

    fn play(&mut self, first: &Turn) -> Result<()> {
        let goal = first.asked.first().copied().unwrap_or((GO_ON.0, Digest::of(GO_ON.1)));
        let mut run = self.step(Input::Open(Box::new(self.spec(goal))))?;
        let mut turn: Option<&Turn> = None;
        while let Some(now) = run {
            let done = match &now.work {
                Work::Prepare => prepared(),
                Work::Model { .. } => {
                    let Some(next) = self.turns.next() else { return Ok(()) };
                    self.look(&now, next);
                    turn = Some(next);
                    let said = self.said(&now, next);
                    if next.calls.is_empty() {
                        self.people(true)?;
                    }
                    said
                }
                Work::Tools { calls } => {
                    let results = results(calls, turn.context("a call without a reply")?);
                    if calls.last().is_some_and(|last| {
                        turn.is_some_and(|turn| last.id.ends_with(&format!("-{}", turn.calls.len() - 1)))
                    }) {
                        self.people(false)?;
                    }
                    results
                }
                other => bail!("a {} action in a bare workflow", other.name()),
            };
            let sent = matches!(now.work, Work::Model { .. }).then(|| self.sent());
            let outcome =
                Outcome { sent, ..Outcome::new(now.action, now.attempt, End::Done(done), Amount::ZERO) };
            run = self.step(Input::Outcome(Box::new(outcome)))?;
        }
        match self.core.state.pause.as_ref() {
            Some(pause) if pause.why == "failure" && pause.code == 8 => self.found.refused += 1,
            Some(pause) => bail!("it stopped: {}", pause.what),
            None => {}
        }
        Ok(())
    }

    /// What people say before the next reply. An agent that has yielded goes on only when somebody speaks.
    fn people(&mut self, yielded: bool) -> Result<()> {
        let Some(next) = self.turns.as_slice().first() else { return Ok(()) };
        let mut asked = next.asked.clone();
        if asked.is_empty() && yielded {
            asked.push((GO_ON.0, Digest::of(GO_ON.1)));
        }
        for (bytes, text) in asked {
            self.random += 1;
            let intent = Intent {
                id: SessionId::v7(self.now.0, self.random),
                session: self.core.state.id,
                source: Source::User,
                wish: Wish::Message { text, bytes },
                key: format!("m{}", self.random),
                at: self.now,
                ttl_ms: None,
            };
            if self.step(Input::Inbox(vec![Ok(intent)]))?.is_some() {
                bail!("a message started something while an action was in flight");
            }
        }
        Ok(())
    }

    fn step(&mut self, input: Input) -> Result<Option<Run>> {
        self.now = self.now.plus(1);
        self.random += 1;
        let moment = Moment { now: self.now, random: self.random };
        let Step { effects, events, .. } = self.core.step(&mut self.governor, input, moment)?;
        for event in &events {
            match event {
                Event::Compacted { left, dropped, .. } => {
                    self.found.cuts += 1;
                    self.found.left += left.len();
                    self.found.dropped += dropped.iter().map(|(first, last)| last - first + 1).sum::<u64>();
                }
                Event::Disposed { how: contract::event::Disposal::Refused(_), .. } => self.found.refused += 1,
                _ => {}
            }
        }
        Ok(effects.into_iter().find_map(|effect| match effect {
            Effect::Run(run) => Some(*run),
            _ => None,
        }))
    }

    /// A request is about to be sent: is it as it must be, and how large do we think it is?
    fn look(&mut self, run: &Run, next: &Turn) {
        let (state, items) = (&self.core.state, &run.context.items);
        let scale = state.scale();
        let weight = |items: &[Item]| items.iter().map(|item| scale.item(item)).sum::<u64>();
        let prompt = self.prompt.unwrap_or(limits::PROMPT_TOKENS.min(self.plan.context / 4));
        let (cold, known, cap) = (prompt + weight(items), state.request_tokens(), state.cap());
        let at = self.found.requests;
        let mut broken = |what: String| self.found.broken.push(format!("request {at}: {what}"));
        if known > cap || items.len() > limits::CONTEXT_ITEMS + limits::CALLS_RECORDED {
            broken(format!("{known} tokens in {} entries, and {cap} fit", items.len()));
        }
        let (unanswered, orphans) = misfits(items);
        if !unanswered.is_empty() || !orphans.is_empty() {
            broken(format!("calls without results {unanswered:?}, results without calls {orphans:?}"));
        }
        let goal = state.spec.as_ref().map(|spec| spec.goal);
        if items.first().and_then(|item| item.text) != goal {
            broken("the goal is not the first entry".to_owned());
        }
        let newest = |role: Role| state.items.iter().rfind(|item| item.role == role).map(|item| item.no);
        for role in [Role::User, Role::Assistant] {
            if newest(role).is_some_and(|no| items.iter().all(|item| item.no != no)) {
                broken(format!("the newest {role:?} entry is not there"));
            }
        }
        let same = |(now, before): &(&Item, &Item)| now.no == before.no && now.left == before.left;
        let shared = items.iter().zip(&self.before).take_while(same).count();
        if at > 0 {
            self.found.tokens.0 += cold;
            self.found.tokens.1 += prompt + weight(&items[..shared]);
        }
        self.before.clone_from(items);
        self.found.requests += 1;
        // What was reported is the size of what the other agent asked: comparable until something is cut here.
        let comparable = self.plan.believe && self.found.cuts == 0;
        let Some(usage) = next.usage.filter(|_| comparable) else { return };
        let given = usage.given();
        match self.prompt {
            // What the agent's own instructions and tools took is what its first request had besides.
            None => self.prompt = Some(given.saturating_sub(weight(items))),
            Some(_) => {
                self.found.off.push(given.abs_diff(known) * 1_000 / given);
                self.found.off_cold.push(given.abs_diff(cold) * 1_000 / given);
            }
        }
    }

    fn said(&self, run: &Run, turn: &Turn) -> Done {
        let calls = (0..).zip(&turn.calls).map(|(n, called)| Call {
            id: format!("c{}-{n}", run.action.step),
            tool: called.tool.clone(),
            args: called.args,
            class: EffectClass::Pure,
            why: String::new(),
            hash: called.args,
            deadline_ms: None,
            control: None,
            error: None,
            ruled: None,
            together: None,
            hooks: Vec::new(),
            held: None,
        });
        let calls: Vec<Call> = calls.collect();
        let stop = if calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
        let nothing = Usage { estimated: true, ..Usage::default() };
        let usage = turn.usage.filter(|_| self.plan.believe).unwrap_or(nothing);
        let (private, request_id, again) = (None, String::new(), Some(turn.said));
        Done::Said {
            text: None,
            bytes: turn.said,
            calls,
            stop,
            usage,
            private,
            request_id,
            shown: None,
            again,
            tokens: None,
        }
    }

    fn sent(&self) -> Sent {
        Sent {
            request: Digest::default(),
            prompt: Digest::default(),
            prompt_bytes: PROMPT_BYTES,
            prompt_tokens: self.prompt,
            repairs: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn spec(&self, (goal_bytes, goal): (u64, Digest)) -> SessionSpec {
        let price = Some(Price::default());
        let card = Card { context_tokens: self.plan.context, output_tokens: REPLY, price };
        SessionSpec {
            goal,
            goal_bytes,
            repo: "/".into(),
            base: None,
            target: None,
            model: ModelRef { id: "bench/transcript".into(), card, quota: None },
            mode: "code".into(),
            workflow: kernel::workflow::bare(),
            rights: Rights::all(Ask::Never),
            limits: Limits { steps_per_turn: u32::MAX, same_failures: 0, ..Limits::default() },
            budget: Amount::UNLIMITED,
            goal_checks: Vec::new(),
            hooks: Vec::new(),
            parent: None,
            task: None,
            fallback: Vec::new(),
            summaries: None,
        }
    }
}

fn prepared() -> Done {
    Done::Prepared(Prepared {
        base: "0".into(),
        target: None,
        checks: Vec::new(),
        setup: Vec::new(),
        goal_checks: Vec::new(),
        notes: Vec::new(),
    })
}

fn results(calls: &[Call], turn: &Turn) -> Done {
    let result = |call: &Call| {
        let at = call.id.rsplit('-').next().and_then(|n| n.parse::<usize>().ok());
        let called = at.and_then(|at| turn.calls.get(at));
        let (bytes, text) = called.map_or((0, Digest::default()), |called| called.result);
        CallResult {
            call: call.id.clone(),
            ok: true,
            text,
            bytes,
            full: None,
            exit: None,
            changed: false,
            images: vec![("image/png".to_owned(), text); called.map_or(0, |called| called.images)],
            pixels: Vec::new(),
            tokens: None,
            asked: Vec::new(),
            handed: Vec::new(),
        }
    };
    Done::Ran { results: calls.iter().map(result).collect(), savepoint: None }
}
