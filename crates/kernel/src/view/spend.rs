//! Every model call with its tokens, cost and time, sums of them along any axis, and what made a provider's cache useless.
//!
//! Costs are the ledger's, tokens the provider's own as far as it told them. Start at [`calls`], then [`sums`] and
//! [`breaks`].

use crate::plan;
use contract::action::{Done, End, Outcome, Work};
use contract::event::{Event, LedgerEvent, TaskState};
use contract::model::{ModelRef, Price, Shown, Usage};
use contract::record::Record;
use contract::session::Summaries;
use contract::{ActionId, SessionId, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// One attempt at one model call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelCall {
    /// Whose.
    pub session: SessionId,
    /// Which action.
    pub action: ActionId,
    /// First try is 1.
    pub attempt: u32,
    /// Which model.
    pub model: String,
    /// The session's mode.
    pub mode: String,
    /// The task it was for: of the session, of its plan, or of both; empty = of none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// How it ended: `done`, `failed`, `cancelled`, `timed-out`, `unknown`; empty = it has not.
    pub end: &'static str,
    /// What it has cost, as settled.
    pub nanos: u64,
    /// Tokens, as settled.
    pub tokens: u64,
    /// The provider's own count, when there was a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The figures are an upper bound, not what the provider told.
    pub estimated: bool,
    /// What the provider's cache has saved, nano-dollars; below zero when writing cost more than reading saved.
    pub saved: i64,
    /// The provider's name for the exchange.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// What was shown.
    #[serde(skip)]
    pub shown: Option<Box<Shown>>,
    /// What happened to the conversation since the call before.
    #[serde(skip)]
    since: Option<&'static str>,
}

/// The model calls of one session. `ledger` is its tree's.
pub fn calls(session: SessionId, events: &[Record<Event>], ledger: &[Record<LedgerEvent>]) -> Vec<ModelCall> {
    let mut settled = bills(session, ledger);
    let (mut calls, mut prices, mut mode) = (Vec::<ModelCall>::new(), BTreeMap::new(), String::new());
    let (mut task, mut active) = (None, None);
    let mut since = None;
    let mut open = None;
    for record in events {
        match &record.event {
            Event::Opened { spec } => {
                mode.clone_from(&spec.mode);
                task.clone_from(&spec.task);
                let wording = match &spec.summaries {
                    Some(Summaries::By(model)) => Some(&**model),
                    _ => None,
                };
                let all = spec.fallback.iter().chain([&spec.model]).chain(wording);
                all.for_each(|model| know(&mut prices, model));
            }
            Event::Resumed { model: Some(model) } | Event::FellBack { to: model, .. } => {
                know(&mut prices, model);
                since = Some("the model changed");
            }
            Event::TaskMoved { task, to: TaskState::Active } => active = Some(task.clone()),
            Event::TaskMoved { task, .. } => active = active.filter(|active| active != task),
            Event::Planned { .. } => active = None,
            Event::Started {
                action,
                attempt,
                work: Work::Model { model, .. } | Work::Summarise { model, .. },
                ..
            } => {
                open = Some(calls.len());
                calls.push(ModelCall {
                    session,
                    action: *action,
                    attempt: *attempt,
                    model: model.clone(),
                    mode: mode.clone(),
                    task: plan::within(task.as_deref(), active.as_deref()).unwrap_or_default(),
                    at: record.at,
                    ms: 0,
                    end: "",
                    nanos: 0,
                    tokens: 0,
                    usage: None,
                    estimated: false,
                    saved: 0,
                    request_id: String::new(),
                    shown: None,
                    since: since.take(),
                });
            }
            Event::Finished { outcome } => {
                let Some(at) = open.take().filter(|at| calls[*at].action == outcome.action) else { continue };
                let bill = settled.get_mut(&outcome.action).and_then(VecDeque::pop_front);
                finish(&mut calls[at], record.at, outcome, bill.unwrap_or_default(), &prices);
                if calls[at].shown.is_none() {
                    // Nothing is compared with a call without a reply: the next one still is unlike the one before it.
                    since = calls[at].since.or(since);
                }
            }
            other => since = since.or(changed(other)),
        }
    }
    calls
}

/// Money and tokens of each action of this session, an attempt after the other.
fn bills(session: SessionId, ledger: &[Record<LedgerEvent>]) -> BTreeMap<ActionId, VecDeque<(u64, u64)>> {
    let mut settled: BTreeMap<ActionId, VecDeque<(u64, u64)>> = BTreeMap::new();
    for record in ledger {
        match &record.event {
            LedgerEvent::Settled { session: of, action, used } if *of == session => {
                settled.entry(*action).or_default().push_back((used.nanos, used.tokens));
            }
            _ => {}
        }
    }
    settled
}

/// Why the next request may begin otherwise than the one before, when this happened between them.
fn changed(event: &Event) -> Option<&'static str> {
    match event {
        Event::Cut { .. } | Event::Compacted { .. } => Some("the conversation was cut to make room"),
        Event::Uncompacted { .. } => Some("a person brought entries back"),
        Event::Repaired { call, item, .. } if call.is_some() || item.is_some() => {
            Some("the conversation was mended")
        }
        Event::Recovered { .. } => Some("another process went on"),
        _ => None,
    }
}

fn know(prices: &mut BTreeMap<String, Option<Price>>, model: &ModelRef) {
    prices.insert(model.id.clone(), model.card.price);
}

fn finish(
    call: &mut ModelCall,
    at: Timestamp,
    outcome: &Outcome,
    bill: (u64, u64),
    prices: &BTreeMap<String, Option<Price>>,
) {
    call.ms = at.since(call.at);
    (call.nanos, call.tokens) = bill;
    call.end = match &outcome.end {
        End::Done(_) => "done",
        End::Failed(_) => "failed",
        End::Cancelled => "cancelled",
        End::TimedOut => "timed-out",
        End::Unknown => "unknown",
    };
    // Nobody saw the bill: what stands there is the reservation.
    call.estimated = outcome.estimated || !outcome.metered && call.tokens > outcome.used.tokens;
    let (usage, request_id) = match &outcome.end {
        End::Done(Done::Said { usage, request_id, shown, .. }) => {
            call.shown.clone_from(shown);
            (usage, request_id)
        }
        End::Done(Done::Summarised { usage, request_id, .. }) => (usage, request_id),
        _ => return,
    };
    call.estimated |= usage.estimated;
    call.saved = prices.get(&call.model).copied().flatten().map_or(0, |price| price.saved(*usage));
    call.usage = Some(*usage);
    call.request_id.clone_from(request_id);
}

/// Along which axis calls are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// By session.
    Session,
    /// By model.
    Model,
    /// By provider: what stands before the first `/` of a model's id.
    Provider,
    /// By mode.
    Mode,
    /// By UTC day.
    Day,
    /// By the task they were for; `-` = for none.
    Task,
}

/// Calls that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Sum {
    /// What they have in common.
    pub name: String,
    /// How many.
    pub calls: u64,
    /// How many of their figures are upper bounds.
    pub estimated: u64,
    /// What they have cost, nano-dollars.
    pub nanos: u64,
    /// All their tokens.
    pub tokens: u64,
    /// Input that was neither read from a cache nor written to one.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Read from a provider's cache.
    pub cache_read: u64,
    /// Written to a provider's cache.
    pub cache_write: u64,
    /// What those caches have saved, nano-dollars.
    pub saved: i64,
    /// Time of all, and of the slowest, milliseconds.
    pub ms: u64,
    /// Of the slowest.
    pub slowest_ms: u64,
}

/// The calls added up by this axis, by name.
pub fn sums(calls: &[ModelCall], axis: Axis) -> Vec<Sum> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for call in calls {
        let name = match axis {
            Axis::Session => call.session.to_string(),
            Axis::Model => call.model.clone(),
            Axis::Provider => call.model.split('/').next().unwrap_or_default().to_owned(),
            Axis::Mode => call.mode.clone(),
            Axis::Task if call.task.is_empty() => "-".to_owned(),
            Axis::Task => call.task.clone(),
            Axis::Day => call.at.to_string().chars().take_while(|c| *c != 'T').collect(),
        };
        let sum = sums.entry(name.clone()).or_insert_with(|| Sum { name, ..Sum::default() });
        let usage = call.usage.unwrap_or_default();
        sum.calls += 1;
        sum.estimated += u64::from(call.estimated);
        sum.nanos = sum.nanos.saturating_add(call.nanos);
        sum.tokens = sum.tokens.saturating_add(call.tokens);
        sum.input = sum.input.saturating_add(usage.input);
        sum.output = sum.output.saturating_add(usage.output);
        sum.cache_read = sum.cache_read.saturating_add(usage.cache_read);
        sum.cache_write = sum.cache_write.saturating_add(usage.cache_write);
        sum.saved = sum.saved.saturating_add(call.saved);
        sum.ms = sum.ms.saturating_add(call.ms);
        sum.slowest_ms = sum.slowest_ms.max(call.ms);
    }
    sums.into_values().collect()
}

/// Two calls of which the second could not use what the provider had kept of the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// The call before.
    pub before: ActionId,
    /// The call that had to be read anew.
    pub action: ActionId,
    /// The first message that differs, or the last of the few among which it is; 0 = all of them, from the first on.
    pub message: u64,
    /// The first of those few.
    pub from: u64,
    /// Who speaks there.
    pub speaker: &'static str,
    /// Why, as far as it is on record.
    pub why: String,
}

/// Where the beginning of the conversation changed from one call to the next.
pub fn breaks(calls: &[ModelCall]) -> Vec<Break> {
    let shown = |call: &&ModelCall| call.shown.is_some();
    let known: Vec<&ModelCall> = calls.iter().filter(shown).collect();
    known.windows(2).filter_map(|pair| broken(pair[0], pair[1])).collect()
}

fn broken(before: &ModelCall, now: &ModelCall) -> Option<Break> {
    let (a, b) = (before.shown.as_ref()?, now.shown.as_ref()?);
    let all = |why: &str| {
        let (message, from, speaker) = (0, 0, "");
        Some(Break { before: before.action, action: now.action, message, from, speaker, why: why.to_owned() })
    };
    if before.model != now.model {
        return all("the model changed");
    }
    if a.tools != b.tools {
        return all("the tools changed");
    }
    if a.system != b.system {
        return all("the instructions changed");
    }
    let Differs { message, from, speaker } = differs(a, b)?;
    let why = now.since.unwrap_or("that message is worded otherwise").to_owned();
    Some(Break { before: before.action, action: now.action, message, from, speaker, why })
}

/// Where two conversations begin to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differs {
    /// The first message that differs, or the last of the few among which it is.
    pub message: u64,
    /// The first of those few.
    pub from: u64,
    /// Who speaks there in the second.
    pub speaker: &'static str,
}

/// The first message that is not the same in both; `None` = the second begins as the first does, and goes on.
pub fn differs(a: &Shown, b: &Shown) -> Option<Differs> {
    let stride = a.stride.max(b.stride).max(1);
    let at = |shown: &Shown, messages: u64| {
        let place = usize::try_from(messages / shown.stride.max(1)).ok()?.checked_sub(1)?;
        shown.chain.get(place).cloned()
    };
    let both = (1..).map(|n| n * stride).take_while(|messages| *messages <= a.messages.min(b.messages));
    let message = both.into_iter().find(|messages| at(a, *messages) != at(b, *messages));
    let message = message.or_else(|| (b.messages < a.messages).then_some(b.messages))?;
    let speaker = match at(b, message).as_deref().and_then(|link| link.chars().next()) {
        Some('u') => "user",
        Some('a') => "assistant",
        Some('t' | 'e') => "tool",
        _ => "",
    };
    Some(Differs { message, from: message.saturating_sub(stride) + 1, speaker })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(step: u32, tools: &str, chain: &[&str]) -> ModelCall {
        let shown = Shown {
            system: "s".into(),
            tools: tools.into(),
            messages: chain.len() as u64,
            stride: 1,
            chain: chain.iter().map(|link| (*link).to_owned()).collect(),
        };
        ModelCall {
            session: SessionId(1),
            action: ActionId { turn: 1, step },
            attempt: 1,
            model: "a/b".into(),
            mode: "code".into(),
            task: "nightly".into(),
            at: Timestamp(0),
            ms: 5,
            end: "done",
            nanos: 3,
            tokens: 2,
            usage: None,
            estimated: false,
            saved: -1,
            request_id: String::new(),
            shown: Some(Box::new(shown)),
            since: None,
        }
    }

    #[test]
    fn a_conversation_that_grows_breaks_nothing_and_a_changed_message_is_named() {
        let calls = [
            call(1, "t", &["u1"]),
            call(2, "t", &["u1", "a2", "t3"]),
            call(3, "t", &["u1", "a2", "t9", "a4", "t5"]),
        ];
        let found = breaks(&calls);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].message, found[0].from, found[0].speaker), (3, 3, "tool"));
        assert_eq!((found[0].before.step, found[0].action.step), (2, 3));
    }

    #[test]
    fn other_tools_another_model_and_a_cut_are_told() {
        let mut cut = call(3, "u", &["u1"]);
        cut.since = Some("the context was cut");
        let mut other = call(4, "u", &["u1"]);
        other.model = "a/c".into();
        let found = breaks(&[call(1, "t", &["u1"]), call(2, "u", &["u1", "a2"]), cut, other]);
        let why: Vec<&str> = found.iter().map(|found| found.why.as_str()).collect();
        assert_eq!(why, ["the tools changed", "the context was cut", "the model changed"]);
    }

    #[test]
    fn sums_add_up_whatever_the_axis() {
        let calls = [call(1, "t", &[]), call(2, "t", &[])];
        for axis in [Axis::Session, Axis::Model, Axis::Provider, Axis::Mode, Axis::Day, Axis::Task] {
            let sums = sums(&calls, axis);
            assert_eq!((sums.len(), sums[0].calls, sums[0].nanos, sums[0].saved), (1, 2, 6, -2), "{axis:?}");
        }
        assert_eq!(sums(&calls, Axis::Day)[0].name, "1970-01-01");
        assert_eq!(sums(&calls, Axis::Provider)[0].name, "a");
        assert_eq!(sums(&calls, Axis::Task)[0].name, "nightly");
        let [first, second] = calls;
        let mixed = [ModelCall { task: String::new(), model: "b/c".into(), ..first }, second];
        let names = |axis| sums(&mixed, axis).into_iter().map(|sum| sum.name).collect::<Vec<_>>();
        assert_eq!(
            (names(Axis::Provider), names(Axis::Task)),
            (["a", "b"].map(String::from).into(), ["-", "nightly"].map(String::from).into())
        );
    }
}
