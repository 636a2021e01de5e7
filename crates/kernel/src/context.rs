//! The conversation as the next request holds it: how large it is, what was taken out of it, what came back.
//!
//! Counted where a tokenizer is public, learned from the usage that replies report elsewhere. Knows no text and chooses
//! nothing ([`crate::compact`] does). Start at [`Session::request_tokens`] and [`Session::cap`].

use crate::fsm::Illegal;
use crate::picture::Sight;
use crate::session::{Attempt, Session};
use contract::action::{Done, End, Item, Outcome, Role, Work};
use contract::context::{Left, Summary};
use contract::event::{Event, Notice};
use contract::model::{Card, Usage};
use contract::{CallId, limits};
use serde::{Deserialize, Serialize};

/// What signatures of failures to word a summary begin with.
pub(crate) const WORDING: &str = "summarise/";

/// What is known about the size of one model's tokens and of the instructions it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gauge {
    /// Tokens per thousand bytes.
    pub per_kb: u64,
    /// Replies that told.
    pub replies: u64,
    /// How far the estimates before them were off, permille of what was reported; the newest count most.
    pub off_permille: u64,
    /// Bytes of instructions and tools.
    pub prompt_bytes: Option<u64>,
    /// Tokens of those, when the model's tokenizer is public.
    pub prompt_tokens: Option<u64>,
}

/// A request whose size the provider told: what came after it is all that has to be estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Which model.
    pub model: String,
    /// The newest entry it held.
    pub upto: u64,
    /// Its tokens.
    pub tokens: u64,
}

/// How bytes become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Tokens per thousand bytes.
    pub per_kb: u64,
    /// Counted tokens are this model's.
    pub counted: bool,
    /// How it counts pictures.
    pub sight: Sight,
}

/// Bounds of what is learned: ten bytes a token, and one.
const PER_KB: std::ops::RangeInclusive<u64> = 100..=1_000;
/// A reported size this many times off the estimate is not believed.
const ABSURD: u64 = 4;
/// Bytes below which nothing is learned from a request.
const TELLING_BYTES: u64 = 2_000;

impl Scale {
    /// Tokens of this many bytes.
    pub fn bytes(self, bytes: u64) -> u64 {
        bytes.saturating_mul(self.per_kb).div_ceil(1_000)
    }

    /// Tokens of an entry.
    pub fn item(self, item: &Item) -> u64 {
        let text = match item.left {
            Some(_) => limits::LEFT_TOKENS,
            None => {
                let images = pictures(item, |pixels| self.sight.tokens(pixels));
                let counted = item.tokens.filter(|_| self.counted);
                counted.unwrap_or_else(|| self.bytes(item.bytes)).saturating_add(images)
            }
        };
        text.saturating_add(limits::MESSAGE_TOKENS)
    }
}

/// Tokens of all pictures of an entry.
pub(crate) fn pictures(item: &Item, tokens: impl Fn(Option<(u32, u32)>) -> u64) -> u64 {
    let each = (0..item.images.len()).map(|at| tokens(item.pixels.get(at).copied()));
    each.fold(0, u64::saturating_add)
}

/// Tokens of a context that are kept free for the reply.
pub fn reserve(card: Card) -> u64 {
    card.reply_tokens().max(limits::REPLY_ROOM_TOKENS.min(card.context_tokens / 4))
}

/// Bytes that a summary takes once worded, at most.
pub(crate) fn summary_bytes(summary: &Summary) -> u64 {
    let lines = 1 + summary.acts.len() + summary.tasks.len() + summary.messages.len();
    limits::SUMMARY_LINE_BYTES * lines as u64 + summary.bytes
}

pub(crate) fn summary(item: &Item) -> Option<&Summary> {
    match item.notice.as_deref() {
        Some(Notice::Compacted { summary }) => Some(summary),
        _ => None,
    }
}

impl Session {
    /// What is known about the model that has the word.
    pub fn gauge(&self) -> Gauge {
        let known = self.model.as_ref().and_then(|model| self.gauges.get(&model.id));
        known.copied().unwrap_or(Gauge { per_kb: limits::TOKENS_PER_KB, ..Gauge::default() })
    }

    /// How bytes become tokens for the model that has the word.
    pub fn scale(&self) -> Scale {
        let gauge = self.gauge();
        let sight = self.model.as_ref().map_or(Sight::Unknown, |model| Sight::of(&model.id));
        Scale { per_kb: gauge.per_kb, counted: gauge.prompt_tokens.is_some(), sight }
    }

    /// The most tokens a request may have: what the model takes, less the room for its reply. No bound where nobody
    /// knows what it takes.
    pub fn cap(&self) -> u64 {
        let card = self.model.as_ref().map(|model| model.card).filter(|card| card.context_tokens > 0);
        card.map_or(u64::MAX, |card| card.context_tokens - reserve(card))
    }

    /// Tokens of instructions and tools. Before the first request nobody knows them.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        let gauge = self.gauge();
        let context = self.model.as_ref().map_or(u64::MAX, |model| model.card.context_tokens);
        let unknown = limits::PROMPT_TOKENS.min(context / 4);
        gauge.prompt_tokens.or(gauge.prompt_bytes.map(|bytes| self.scale().bytes(bytes))).unwrap_or(unknown)
    }

    /// Tokens of the next request: the newest size the provider told and what came since, or all of it estimated.
    pub fn request_tokens(&self) -> u64 {
        let scale = self.scale();
        let from = |no: u64| {
            let newer = self.items.iter().filter(|item| item.no > no);
            newer.map(|item| scale.item(item)).fold(0, u64::saturating_add)
        };
        let own = |anchor: &&Anchor| self.model.as_ref().is_some_and(|model| model.id == anchor.model);
        match self.anchor.as_ref().filter(own) {
            Some(anchor) => anchor.tokens.saturating_add(from(anchor.upto)),
            None => self.prompt_tokens().saturating_add(from(0)),
        }
    }

    /// A new entry at the end of the conversation.
    pub(crate) fn push(&mut self, item: Item) {
        let item = self.number(item);
        self.items.push_back(item);
    }

    fn number(&mut self, item: Item) -> Item {
        self.numbered += 1;
        Item { no: self.numbered, ..item }
    }

    /// What a model call tells about sizes, whether or not it gave a reply.
    pub(crate) fn learn(&mut self, attempt: &Attempt, outcome: &Outcome) {
        let Work::Model { model, .. } = &attempt.work else { return };
        if self.model.as_ref().is_none_or(|own| own.id != *model) {
            return;
        }
        let (mut gauge, expected) = (self.gauge(), self.request_tokens());
        if let Some(sent) = &outcome.sent {
            (gauge.prompt_bytes, gauge.prompt_tokens) = (Some(sent.prompt_bytes), sent.prompt_tokens);
        }
        self.keep_gauge(model, gauge);
        let End::Done(Done::Said { usage, .. }) = &outcome.end else { return };
        let (given, likely) = (usage.given(), self.request_tokens());
        let absurd = given < likely / ABSURD || given > likely.saturating_mul(ABSURD);
        // Who tells nothing, or what cannot be, is not learned from.
        if usage.estimated || given == 0 || absurd {
            return;
        }
        self.refine(&mut gauge, *usage, expected);
        self.keep_gauge(model, gauge);
        self.anchor = Some(Anchor { model: model.clone(), upto: self.numbered, tokens: given });
    }

    fn refine(&self, gauge: &mut Gauge, usage: Usage, expected: u64) {
        let given = usage.given();
        let weight = gauge.replies.min(3);
        let smooth = |old: u64, new: u64| (weight * old + new) / (weight + 1);
        // Nothing was known about the instructions before the first one.
        if gauge.replies > 0 {
            let off = given.abs_diff(expected).saturating_mul(1_000) / given;
            gauge.off_permille = smooth(gauge.off_permille, off);
        }
        if let Some(per_kb) = self.told_per_kb(gauge, given) {
            gauge.per_kb = smooth(gauge.per_kb, per_kb.clamp(*PER_KB.start(), *PER_KB.end()));
        }
        gauge.replies += 1;
    }

    /// Tokens per thousand bytes of what was asked, or better of what came to it since the request before.
    fn told_per_kb(&self, gauge: &Gauge, given: u64) -> Option<u64> {
        let counted = gauge.prompt_tokens.is_some();
        let model = self.model.as_ref().map(|model| &model.id);
        let before = self.anchor.as_ref().filter(|anchor| Some(&anchor.model) == model);
        let (from, mut known, mut bytes) = match before {
            Some(anchor) => (anchor.upto, anchor.tokens, 0),
            None => {
                (0, gauge.prompt_tokens.unwrap_or(0), gauge.prompt_bytes.filter(|_| !counted).unwrap_or(0))
            }
        };
        gauge.prompt_bytes?;
        for item in self.items.iter().filter(|item| item.no > from) {
            known = known.saturating_add(limits::MESSAGE_TOKENS);
            match item.tokens.filter(|_| counted) {
                // The size of a picture is not that of its bytes.
                _ if !item.images.is_empty() => return None,
                _ if item.left.is_some() => known = known.saturating_add(limits::LEFT_TOKENS),
                Some(tokens) => known = known.saturating_add(tokens),
                None => bytes = bytes.saturating_add(item.bytes),
            }
        }
        (bytes >= TELLING_BYTES).then(|| given.saturating_sub(known).saturating_mul(1_000) / bytes)
    }

    fn keep_gauge(&mut self, model: &str, gauge: Gauge) {
        if self.gauges.len() >= limits::GAUGES && !self.gauges.contains_key(model) {
            self.gauges.pop_first();
        }
        self.gauges.insert(model.to_owned(), gauge);
    }

    /// What is shown of the conversation: less, more, or mended.
    pub(crate) fn fold_context(&mut self, event: &Event) -> Result<(), Illegal> {
        match event {
            Event::Compacted { left, dropped, summary, .. } => {
                self.compacted(left, dropped, summary.as_deref())
            }
            Event::Uncompacted { items, .. } => self.uncompacted(items),
            event => self.repaired(event),
        }
    }

    /// The record of a loss: what it names is not shown any more.
    fn compacted(
        &mut self,
        left: &[(u64, Left)],
        dropped: &[(u64, u64)],
        summary: Option<&Summary>,
    ) -> Result<(), Illegal> {
        self.reworded();
        self.last_cut.clear();
        // Whoever was to word this is not asked any more.
        self.redo.take_if(|redo| matches!(redo.work, Work::Summarise { .. }));
        self.failures.retain(|signature, _| !signature.starts_with(WORDING));
        for (no, why) in left {
            let found = self.items.iter_mut().find(|item| item.no == *no && item.role == Role::Tool);
            found.ok_or_else(|| Illegal::new("a result of that number", no))?.left = Some(*why);
            self.last_cut.push(*no);
        }
        let goal = self.items.front().map_or(0, |item| item.no);
        for (first, last) in dropped {
            let run = *first..=*last;
            if run.contains(&goal) || !self.items.iter().any(|item| run.contains(&item.no)) {
                return Err(Illegal::new("entries after the goal", first));
            }
        }
        let gone = |item: &Item| dropped.iter().any(|(first, last)| (*first..=*last).contains(&item.no));
        let mut at = None;
        for item in std::mem::take(&mut self.items) {
            if !gone(&item) {
                self.items.push_back(item);
                continue;
            }
            at.get_or_insert(self.items.len());
            self.evict(item);
        }
        if let Some(summary) = summary {
            let bytes = summary_bytes(summary);
            let notice = Some(Box::new(Notice::Compacted { summary: Box::new(summary.clone()) }));
            let item = self.number(Item { notice, bytes, ..Item::by(Role::Notice) });
            self.items.insert(at.unwrap_or(1).min(self.items.len()), item);
        }
        Ok(())
    }

    /// Remembers an entry that is not shown any more. What stood in the place of others is not one.
    pub(crate) fn evict(&mut self, item: Item) {
        if summary(&item).is_some() {
            return;
        }
        self.last_cut.push(item.no);
        let at = self.evicted.partition_point(|known| known.no < item.no);
        self.evicted.insert(at, item);
        if self.evicted.len() > limits::EVICTED_ITEMS {
            self.evicted.pop_front();
        }
    }

    /// Entries are shown again, in their old places, and go last when room is needed.
    fn uncompacted(&mut self, items: &[u64]) -> Result<(), Illegal> {
        self.reworded();
        for no in items {
            self.last_cut.retain(|cut| cut != no);
            if let Some(item) = self.items.iter_mut().find(|item| item.no == *no) {
                (item.left, item.kept) = (None, true);
                continue;
            }
            let at = self.evicted.iter().position(|item| item.no == *no);
            let item = at.and_then(|at| self.evicted.remove(at));
            let item = item.ok_or_else(|| Illegal::new("entries that were taken out", no))?;
            let after = |known: &Item| summary(known).is_none() && known.no > *no;
            let place = self.items.iter().position(after).unwrap_or(self.items.len());
            self.items.insert(place, Item { left: None, kept: true, ..item });
        }
        Ok(())
    }

    /// The conversation is mended: a result for a call that has none, or an entry less.
    fn repaired(&mut self, event: &Event) -> Result<(), Illegal> {
        let Event::Repaired { what, call, item } = event else { return Err(Illegal::new("repair", event)) };
        if call.is_some() || item.is_some() {
            self.reworded();
        }
        if let Some(no) = item {
            let at = self.items.iter().position(|item| item.no == *no && item.role == Role::Tool);
            self.items.remove(at.ok_or_else(|| Illegal::new("a result of that number", no))?);
        }
        let Some(call) = call else { return Ok(()) };
        let makes = |item: &Item| item.calls.iter().any(|(id, ..)| id == call);
        let made = self.items.iter().rposition(makes).ok_or_else(|| Illegal::new("calls", call))?;
        let results = self.items.iter().skip(made + 1).take_while(|item| item.role == Role::Tool).count();
        let (notice, bytes) = (Some(Box::new(Notice::Told { what: what.clone() })), what.len() as u64);
        let answer = Item { call: Some(call.clone()), ok: false, notice, bytes, ..Item::by(Role::Tool) };
        let answer = self.number(answer);
        self.items.insert(made + 1 + results, answer);
        Ok(())
    }
}

/// What is wrong with a conversation: calls without a result, and results without their call.
pub fn misfits<'a>(items: impl IntoIterator<Item = &'a Item>) -> (Vec<CallId>, Vec<u64>) {
    let (mut open, mut unanswered, mut orphans) = (Vec::<&CallId>::new(), Vec::new(), Vec::new());
    for item in items {
        match (item.role, &item.call) {
            (Role::Assistant, _) => {
                unanswered.extend(open.drain(..).cloned());
                open.extend(item.calls.iter().map(|(id, ..)| id));
            }
            (Role::Tool, call) => match open.iter().position(|id| Some(*id) == call.as_ref()) {
                Some(at) => drop(open.remove(at)),
                None => orphans.push(item.no),
            },
            _ => {}
        }
    }
    unanswered.extend(open.into_iter().cloned());
    (unanswered, orphans)
}
