//! What is taken out of a conversation that has grown too large, and what a person brings back.
//!
//! Order of sacrifice (spec 4.6): outputs that a later one replaces, old outputs, repeated outputs, then the oldest turns
//! into a summary, then the person's oldest messages, at last outputs too large to be shown beside what must be. The goal,
//! the active task, the newest message and the newest exchange stay word for word; a call and its result stay or go
//! together. Knows no text. Start at [`Draft::make_room`] and [`plan`].

use crate::context::{Scale, misfits, summary};
use crate::decide::Draft;
use crate::next::Choice;
use crate::session::Session;
use crate::{Illegal, fsm::Phase};
use contract::action::{Item, Role, Work};
use contract::context::{Act, Left, Summary};
use contract::event::{Disposal, Event, Notice, TaskState};
use contract::hooks::{Asked, HookEvent};
use contract::intent::Wish;
use contract::model::NO_RESULT;
use contract::session::{SessionSpec, Summaries};
use contract::{Digest, IntentId, limits};
use std::collections::BTreeMap;

/// The bounds of a cut.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Tokens the request may have at most.
    pub cap: u64,
    /// Tokens it should have after the cut.
    pub target: u64,
    /// Tokens that are not the conversation's: instructions, tools, messages about to come in.
    pub fixed: u64,
    /// What estimates have to be multiplied with, permille: the provider told more than they did.
    pub factor: u64,
    /// Bytes of a model's words about what goes.
    pub words: u64,
}

/// What goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    /// Results of which only the address stays.
    pub left: Vec<(u64, Left)>,
    /// Entries that go, first and last of each run.
    pub dropped: Vec<(u64, u64)>,
    /// What stands in their place.
    pub summary: Option<Summary>,
    /// Tokens of the request afterwards.
    pub after: u64,
}

/// How dear an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pin {
    Free,
    /// The person's word: said, or brought back.
    Person,
    Always,
}

struct Entry<'a> {
    item: &'a Item,
    weight: u64,
    pin: Pin,
    /// The exchange it belongs to: a message of the model, and the results of its calls.
    exchange: Option<usize>,
    /// The call it answers: tool and arguments.
    call: Option<(&'a str, Digest)>,
    left: Option<Left>,
    gone: bool,
}

impl Entry<'_> {
    fn output(&self) -> bool {
        let shown =
            self.item.role == Role::Tool && !self.gone && self.left.is_none() && self.item.left.is_none();
        // Without a text of its own there is no address that could stand in its place.
        shown && self.item.text.is_some()
    }
}

struct Planner<'a> {
    entries: Vec<Entry<'a>>,
    scale: Scale,
    bound: Bound,
    total: u64,
    count: usize,
    /// The newest exchange.
    newest: Option<usize>,
    /// Lines of each kind in the summary.
    lines: usize,
    tasks: Vec<(String, Digest, TaskState)>,
    /// Tokens of what was dropped, calls in it, messages in it.
    dropped: (u64, usize, usize),
    /// Bytes of a model's words about what went before, when that goes too.
    words: u64,
}

/// What has to go so that these entries fit; empty when nothing can. `after` tells whether that is enough.
pub fn plan<'a>(
    items: impl IntoIterator<Item = &'a Item>,
    tasks: Vec<(String, Digest, TaskState)>,
    scale: Scale,
    bound: Bound,
) -> Cut {
    let mut planner = Planner::new(items.into_iter().collect(), tasks, scale, bound);
    planner.superseded();
    planner.old();
    planner.same();
    planner.turns();
    planner.messages();
    planner.large();
    planner.cut()
}

/// The cut that was planned before, of these very entries.
pub(crate) fn exactly<'a>(
    items: impl IntoIterator<Item = &'a Item>,
    tasks: Vec<(String, Digest, TaskState)>,
    scale: Scale,
    bound: Bound,
    left: &[(u64, Left)],
    dropped: &[(u64, u64)],
) -> Cut {
    let mut planner = Planner::new(items.into_iter().collect(), tasks, scale, bound);
    for at in 0..planner.entries.len() {
        let no = planner.entries[at].item.no;
        if dropped.iter().any(|(first, last)| (*first..=*last).contains(&no)) {
            planner.remove(at);
        } else if let Some((_, why)) = left.iter().find(|(of, _)| *of == no) {
            planner.leave(at, *why);
        }
    }
    planner.cut()
}

impl<'a> Planner<'a> {
    fn new(
        items: Vec<&'a Item>,
        tasks: Vec<(String, Digest, TaskState)>,
        scale: Scale,
        bound: Bound,
    ) -> Self {
        let last = |role| items.iter().rposition(|item| item.role == role);
        let (said, spoke) = (last(Role::User), last(Role::Assistant).unwrap_or(items.len()));
        let active = tasks.iter().find(|(.., state)| *state == TaskState::Active).map(|(id, ..)| id.as_str());
        let told = |item: &Item| matches!(item.notice.as_deref(), Some(Notice::NextTask { task, .. }) if Some(task.as_str()) == active);
        let task = items.iter().rposition(|item| told(item));
        let (mut exchange, mut calls) = (None, BTreeMap::new());
        let mut entries = Vec::with_capacity(items.len());
        for (at, item) in items.iter().copied().enumerate() {
            if item.role == Role::Assistant {
                exchange = Some(exchange.map_or(0, |n: usize| n + 1));
                calls = item.calls.iter().map(|(id, tool, args)| (id, (tool.as_str(), *args))).collect();
            }
            let pin = match item.role {
                _ if at == 0 || at >= spoke || Some(at) == said || Some(at) == task => Pin::Always,
                Role::User => Pin::Person,
                _ if item.kept => Pin::Person,
                _ => Pin::Free,
            };
            entries.push(Entry {
                item,
                weight: Self::weigh(scale, bound, item),
                pin,
                exchange: exchange.filter(|_| matches!(item.role, Role::Assistant | Role::Tool)),
                call: item.call.as_ref().and_then(|id| calls.get(id).copied()),
                left: None,
                gone: false,
            });
        }
        let total = entries.iter().map(|entry| entry.weight).fold(bound.fixed, u64::saturating_add);
        let tenth = bound.cap.saturating_mul(100) / scale.per_kb.max(1) / limits::SUMMARY_LINE_BYTES;
        let lines = (tenth as usize / 2).clamp(2, limits::SUMMARY_ACTS);
        let open = |state: &TaskState| matches!(state, TaskState::Active | TaskState::Pending);
        let tasks = tasks.into_iter().filter(|(.., state)| open(state)).take(lines).collect();
        Self {
            count: entries.len(),
            newest: exchange,
            entries,
            scale,
            bound,
            total,
            lines,
            tasks,
            dropped: (0, 0, 0),
            words: bound.words,
        }
    }

    fn weigh(scale: Scale, bound: Bound, item: &Item) -> u64 {
        scale.item(item).saturating_mul(bound.factor) / 1_000
    }

    /// Lines for calls, and for messages, in the summary of what was dropped: an eighth of its size at most for each.
    fn lines(&self) -> (usize, usize) {
        let line = self.scale.bytes(limits::SUMMARY_LINE_BYTES).saturating_mul(self.bound.factor) / 1_000;
        let (tokens, acts, messages) = self.dropped;
        let most = ((tokens / 8 / line.max(1)) as usize).min(self.lines);
        (acts.min(most), messages.min(most))
    }

    /// Tokens of the request as planned so far, the summary included.
    fn tokens(&self) -> u64 {
        if self.dropped.0 == 0 {
            return self.total;
        }
        let (acts, messages) = self.lines();
        let lines = (1 + acts + messages + self.tasks.len()) as u64;
        let words =
            self.scale.bytes(limits::SUMMARY_LINE_BYTES * lines + self.words) + limits::MESSAGE_TOKENS;
        self.total.saturating_add(words.saturating_mul(self.bound.factor).div_ceil(1_000))
    }

    /// Small enough for a while.
    fn done(&self) -> bool {
        self.tokens() <= self.bound.target && self.count <= limits::CONTEXT_ITEMS * 3 / 4
    }

    /// Small enough to be sent.
    fn fits(&self) -> bool {
        self.tokens() <= self.bound.cap && self.count <= limits::CONTEXT_ITEMS
    }

    fn leave(&mut self, at: usize, why: Left) {
        let line = (limits::LEFT_TOKENS + limits::MESSAGE_TOKENS).saturating_mul(self.bound.factor) / 1_000;
        let entry = &mut self.entries[at];
        // A line that is hardly shorter than the text is no gain.
        if entry.weight > 2 * line {
            self.total = self.total.saturating_sub(entry.weight - line);
            (entry.left, entry.weight) = (Some(why), line);
        }
    }

    fn remove(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        if entry.gone {
            return;
        }
        entry.gone = true;
        self.total = self.total.saturating_sub(entry.weight);
        let (tokens, acts, messages) = &mut self.dropped;
        // What stands in the place of the first takes a place itself.
        self.count -= usize::from(*tokens > 0);
        *tokens = tokens.saturating_add(entry.weight.max(1));
        let old = summary(entry.item);
        self.words = self.words.max(old.map_or(0, |old| old.bytes));
        *acts += usize::from(entry.call.is_some()) + old.map_or(0, |old| old.acts.len());
        *messages += usize::from(entry.item.role == Role::User) + old.map_or(0, |old| old.messages.len());
    }

    /// Outputs, oldest first, that nobody wants to keep, up to so many exchanges before the newest.
    fn outputs(&self, fresh: usize) -> Vec<usize> {
        let before = self.newest.map_or(0, |newest| (newest + 1).saturating_sub(fresh));
        let wanted = |entry: &Entry<'_>| {
            entry.output() && entry.pin == Pin::Free && entry.exchange.is_some_and(|n| n < before)
        };
        (0..self.entries.len()).filter(|at| wanted(&self.entries[*at])).collect()
    }

    fn superseded(&mut self) {
        let mut newest = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.item.role == Role::Tool) {
            if let Some(call) = entry.call {
                newest.insert(call, entry.item.no);
            }
        }
        for at in self.outputs(1) {
            let entry = &self.entries[at];
            let newer = entry.call.and_then(|call| newest.get(&call)).filter(|no| **no > entry.item.no);
            if let Some(&by) = newer.filter(|_| !self.done()) {
                self.leave(at, Left::Superseded { by });
            }
        }
    }

    fn old(&mut self) {
        for at in self.outputs(limits::FRESH_EXCHANGES) {
            if self.tokens() > self.bound.target {
                self.leave(at, Left::Old);
            }
        }
    }

    fn same(&mut self) {
        let mut first = BTreeMap::new();
        let free = self.outputs(1);
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            let Some(text) = entry.item.text.filter(|_| entry.output()) else { continue };
            let item = *first.entry(text).or_insert(entry.item.no);
            if item != entry.item.no && free.contains(&at) && self.tokens() > self.bound.target {
                self.leave(at, Left::Same { item });
            }
        }
    }

    /// The oldest turns become a summary.
    fn turns(&mut self) {
        if self.done() {
            return;
        }
        let mut at = 1;
        while at < self.entries.len() && !self.done() {
            // What stood in the place of earlier ones is part of the new summary.
            if self.drop_from(at, Pin::Free) {
                self.merge_summaries();
            }
            at += 1;
        }
    }

    fn merge_summaries(&mut self) {
        let old = |at: &usize| summary(self.entries[*at].item).is_some() && !self.entries[*at].gone;
        let old: Vec<usize> = (0..self.entries.len()).filter(old).collect();
        old.into_iter().for_each(|at| self.remove(at));
    }

    /// Drops an entry that is no dearer than that, with the whole exchange it begins.
    fn drop_from(&mut self, at: usize, most: Pin) -> bool {
        let entry = &self.entries[at];
        let cheap = |pin: Pin| pin == Pin::Free || (most == Pin::Person && pin == Pin::Person);
        let old = summary(entry.item).is_some();
        if entry.gone || old || entry.item.role == Role::Tool || !cheap(entry.pin) {
            return false;
        }
        let group: Vec<usize> = match entry.exchange {
            None => vec![at],
            _ if contract::planted!(CutApart) => vec![at],
            own => (at..self.entries.len()).filter(|at| self.entries[*at].exchange == own).collect(),
        };
        if !group.iter().all(|at| cheap(self.entries[*at].pin)) {
            return false;
        }
        group.into_iter().for_each(|at| self.remove(at));
        true
    }

    /// What the person said or brought back, oldest first, only as far as it must.
    fn messages(&mut self) {
        let mut at = 1;
        while at < self.entries.len() && !self.fits() {
            if self.drop_from(at, Pin::Person) {
                self.merge_summaries();
            }
            at += 1;
        }
    }

    /// Outputs that do not fit beside what must be shown, largest first.
    fn large(&mut self) {
        let mut outputs: Vec<usize> =
            (0..self.entries.len()).filter(|at| self.entries[*at].output()).collect();
        outputs.sort_by_key(|at| std::cmp::Reverse(self.entries[*at].weight));
        for at in outputs {
            if self.tokens() > self.bound.cap {
                self.leave(at, Left::Large);
            }
        }
    }

    fn cut(self) -> Cut {
        let left = self.entries.iter().filter(|entry| !entry.gone);
        let left = left.filter_map(|entry| Some((entry.item.no, entry.left?))).collect();
        let mut dropped: Vec<(u64, u64)> = Vec::new();
        let mut run = false;
        for entry in &self.entries {
            match dropped.last_mut().filter(|(_, last)| run && *last < entry.item.no) {
                Some((_, last)) if entry.gone => *last = entry.item.no,
                _ if entry.gone => dropped.push((entry.item.no, entry.item.no)),
                _ => {}
            }
            run = entry.gone;
        }
        let summary = (!dropped.is_empty()).then(|| self.summary());
        Cut { left, dropped: apart(dropped, &self.entries), summary, after: self.tokens() }
    }

    fn summary(&self) -> Summary {
        let mut new = Summary { tasks: self.tasks.clone(), ..Summary::default() };
        let mut acts = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.gone) {
            if let Some(old) = summary(entry.item) {
                // Words about what went before still hold, until new ones are found that tell of it as well.
                (new.text, new.bytes) = (old.text, old.bytes);
                new.entries += old.entries;
                new.more += old.more;
                acts.extend(old.acts.iter().cloned());
                new.messages.extend(&old.messages);
                continue;
            }
            new.entries += 1;
            if let Some((tool, args)) = entry.call {
                let (ok, result) = (entry.item.ok, entry.item.text);
                acts.push(Act { tool: tool.to_owned(), args, ok, result });
            }
            if entry.item.role == Role::User {
                new.messages.extend(entry.item.text);
            }
        }
        let (listed, told) = self.lines();
        let older = acts.len().saturating_sub(listed);
        new.more += older as u64;
        new.acts = acts.split_off(older);
        new.messages.drain(..new.messages.len().saturating_sub(told));
        new
    }
}

/// Runs as numbers: an entry that stays (a summary stands between older ones) must not lie inside one.
fn apart(runs: Vec<(u64, u64)>, entries: &[Entry<'_>]) -> Vec<(u64, u64)> {
    let inside = |(first, last): &(u64, u64)| {
        entries.iter().any(|entry| !entry.gone && (*first..=*last).contains(&entry.item.no))
    };
    if !runs.iter().any(inside) {
        return runs;
    }
    entries.iter().filter(|entry| entry.gone).map(|entry| (entry.item.no, entry.item.no)).collect()
}

/// Why a session pauses whose conversation is not cut by itself.
const CUT: &str = "context";

impl Session {
    /// Does a person say when the conversation is cut?
    pub(crate) fn cut_by_hand(&self) -> bool {
        let never = |spec: &SessionSpec| matches!(spec.summaries, Some(Summaries::Never));
        !self.cut_once && self.spec.as_deref().is_some_and(never)
    }

    /// A person had it go on: what it stopped for may be done, once.
    pub(crate) fn may_cut(&self) -> bool {
        self.cut_once || self.waits_for_a_cut()
    }

    /// Is it paused until a person says that its conversation may be cut?
    pub fn waits_for_a_cut(&self) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.why == CUT)
    }
}

/// Is there room for the next request?
pub(crate) enum Room {
    Fits,
    /// Something was done about it: look again.
    Moved,
    /// It does not fit, and nothing can be done now.
    Stuck,
    /// A model is asked first to word what has to go.
    Worded(Work),
    /// Hooks are told first.
    Hooks(Work),
}

impl Draft<'_> {
    /// Sees to it that the next request is whole and fits, or stops for a person who can.
    pub(crate) fn make_room(&mut self, choice: &Choice) -> Result<Room, Illegal> {
        if !matches!(choice.work, Work::Model { .. }) {
            return Ok(Room::Fits);
        }
        self.mend()?;
        let (cap, coming) = (self.s.cap(), self.coming_tokens());
        let before = self.s.request_tokens().saturating_add(coming);
        if before <= cap && self.s.items.len() <= limits::CONTEXT_ITEMS {
            return Ok(Room::Fits);
        }
        if self.s.cut_by_hand() {
            return self.asks_to_cut(&format!("its next request takes about {before} tokens of {cap}"));
        }
        if self.s.hooked_on(HookEvent::PreCompact) && !self.s.hooks.compact {
            let asked = Box::new(Asked::of(HookEvent::PreCompact, "auto"));
            return Ok(Room::Hooks(Work::Hooks { asked }));
        }
        if let Some(work) = self.wording(coming) {
            return Ok(Room::Worded(work));
        }
        let after = self.cut_to_fit()?;
        if after <= cap {
            return Ok(Room::Fits);
        }
        self.does_not_fit(after, coming)
    }

    /// Nothing is taken out of this conversation by itself: a person says yes, or gives it a larger model.
    pub(crate) fn asks_to_cut(&mut self, why: &str) -> Result<Room, Illegal> {
        if self.s.phase != Phase::Active {
            return Ok(Room::Stuck);
        }
        let (id, name) = (self.s.id, self.s.model.as_ref().map(|model| model.id.clone()).unwrap_or_default());
        let what =
            format!("the conversation has grown too long for {name} ({why}), and is not cut by itself");
        let hint = format!(
            "kapell resume {id} cuts it this once, with everything on record (kapell uncompact brings it back); --model \
             PROVIDER/NAME: one with a larger context"
        );
        self.pause(CUT, &what, &hint, 8)?;
        Ok(Room::Moved)
    }

    /// Tokens of messages that join the next request.
    pub(crate) fn coming_tokens(&self) -> u64 {
        let scale = self.s.scale();
        let coming = self.coming().into_iter().map(|(_, bytes)| scale.bytes(bytes) + limits::MESSAGE_TOKENS);
        coming.fold(0, u64::saturating_add)
    }

    /// Cuts without a model's words, and says how many tokens are left.
    pub(crate) fn cut_to_fit(&mut self) -> Result<u64, Illegal> {
        let (cap, coming) = (self.s.cap(), self.coming_tokens());
        let (before, target) =
            (self.s.request_tokens().saturating_add(coming), cap / 100 * limits::CUT_TO_PERCENT);
        self.compact("full", before, Bound { cap, target, ..self.bound(coming) })
    }

    pub(crate) fn tasks(&self) -> Vec<(String, Digest, TaskState)> {
        let tasks = self.s.plan.tasks.iter().map(|(task, state)| (task.id.clone(), task.goal, *state));
        // The agent's own list has no ids.
        let todo = self.s.todo.iter().map(|todo| (String::new(), todo.text, todo.state));
        tasks.chain(todo).collect()
    }

    /// The most tokens that the messages which join the next request can be.
    pub(crate) fn coming_most(&self) -> u64 {
        let most = |(_, bytes): (IntentId, u64)| bytes.saturating_add(limits::ITEM_TOKENS);
        self.coming().into_iter().map(most).fold(0, u64::saturating_add)
    }

    /// Messages that join the next request: who wrote them, and their bytes.
    fn coming(&self) -> Vec<(IntentId, u64)> {
        let message = |intent: &contract::intent::Intent| match intent.wish {
            Wish::Message { bytes, .. } => Some((intent.id, bytes)),
            _ => None,
        };
        self.s.queue.iter().filter_map(message).collect()
    }

    pub(crate) fn bound(&self, coming: u64) -> Bound {
        let scale = self.s.scale();
        let (known, fixed) = (self.s.request_tokens(), self.s.prompt_tokens());
        let all = self.s.items.iter().map(|item| scale.item(item)).fold(0, u64::saturating_add);
        // What the provider told counts, where it told more than the estimate.
        let factor = known.saturating_sub(fixed).saturating_mul(1_000) / all.max(1);
        let cap = self.s.cap();
        let fixed = fixed.saturating_add(coming);
        Bound { cap, target: cap, fixed, factor: factor.clamp(1_000, 4_000), words: 0 }
    }

    /// Cuts, and says how many tokens are left.
    fn compact(&mut self, why: &str, before: u64, bound: Bound) -> Result<u64, Illegal> {
        let cut = plan(&self.s.items, self.tasks(), self.s.scale(), bound);
        if cut.left.is_empty() && cut.dropped.is_empty() {
            return Ok(before);
        }
        let (summary, after) = (cut.summary.map(Box::new), cut.after);
        let (left, dropped, cap) = (cut.left, cut.dropped, bound.cap);
        self.emit(Event::Compacted { why: why.to_owned(), left, dropped, summary, before, after, cap })?;
        Ok(after)
    }

    /// The model says that the conversation is too long for it: a quarter less. True when something could go.
    pub(crate) fn cut_quarter(&mut self) -> Result<bool, Illegal> {
        let (before, fixed) = (self.s.request_tokens(), self.s.prompt_tokens());
        let target = fixed + before.saturating_sub(fixed) * limits::REFUSED_TO_PERCENT / 100;
        let events = self.out.events.len();
        self.compact("refused", before, Bound { cap: target, target, ..self.bound(0) })?;
        Ok(self.out.events.len() > events)
    }

    /// Even what must be shown is too much: a message that is too long is refused, anything else needs a larger model.
    fn does_not_fit(&mut self, after: u64, coming: u64) -> Result<Room, Illegal> {
        let cap = self.s.cap();
        let largest = self.coming().into_iter().max_by_key(|(_, bytes)| *bytes);
        if let Some((intent, bytes)) = largest.filter(|_| after.saturating_sub(coming) <= cap) {
            let why = format!(
                "a message of {bytes} bytes does not fit into what the model can take; shorten it, put it into a file, \
                 or resume with another --model"
            );
            self.dispose(intent, Disposal::Refused(why))?;
            return Ok(Room::Moved);
        }
        let name = self.s.model.as_ref().map(|model| model.id.clone()).unwrap_or_default();
        let what = format!(
            "what the model must be shown (goal, task, newest exchange) takes about {after} tokens; {name} takes {cap} \
             beside its reply"
        );
        let hint = format!("kapell resume {} --model PROVIDER/NAME (one with a larger context)", self.s.id);
        if self.s.phase != Phase::Active {
            return Ok(Room::Stuck);
        }
        self.pause("failure", &what, &hint, 8)?;
        Ok(Room::Moved)
    }

    /// Every call has its result, every result its call: where that is not so, it is mended, on record.
    fn mend(&mut self) -> Result<(), Illegal> {
        let (unanswered, orphans) = misfits(&self.s.items);
        for call in unanswered {
            self.emit(Event::Repaired { what: NO_RESULT.to_owned(), call: Some(call), item: None })?;
        }
        for no in orphans {
            let what = "a result without its call was taken out".to_owned();
            self.emit(Event::Repaired { what, call: None, item: Some(no) })?;
        }
        Ok(())
    }

    /// What only its producer may see again is not shown to another model: said once, when the model changes.
    pub(crate) fn private_stays(&mut self) -> Result<(), Illegal> {
        let Some(model) = self.s.model.as_ref().map(|model| model.id.clone()) else { return Ok(()) };
        let others = |item: &&Item| item.private.as_ref().is_some_and(|(producer, _)| *producer != model);
        let held = self.s.items.iter().filter(others).count();
        if held == 0 {
            return Ok(());
        }
        let what = format!(
            "{held} message(s) have parts that only their own model may see again: {model} is not sent them"
        );
        self.emit(Event::Repaired { what: contract::text::sentence(&what), call: None, item: None })
    }

    /// Brings back what a cut took out, as far as it fits.
    pub(crate) fn uncompact(&mut self, item: Option<u64>) -> Result<Disposal, Illegal> {
        let (cap, scale) = (self.s.cap(), self.s.scale());
        let mut room = cap.saturating_sub(self.s.request_tokens());
        let (mut back, mut wanted) = (Vec::new(), Vec::new());
        match item {
            Some(no) => wanted.push(no),
            None => wanted.extend(self.s.last_cut.iter().rev()),
        }
        let mut lacking = None;
        for no in wanted {
            if back.contains(&no) {
                continue;
            }
            let Some(group) = self.s.taken_out(no) else { continue };
            let line = limits::LEFT_TOKENS + limits::MESSAGE_TOKENS;
            let tokens = |item: &Item| match item.left {
                Some(_) => scale.item(&Item { left: None, ..item.clone() }).saturating_sub(line),
                None => scale.item(item),
            };
            let needs = group.iter().map(|item| tokens(item)).fold(0, u64::saturating_add);
            if needs > room {
                lacking.get_or_insert(needs);
                continue;
            }
            room -= needs;
            back.extend(group.iter().map(|item| item.no));
        }
        if back.is_empty() {
            let why = match (lacking, item) {
                (Some(needs), _) => format!("it would take {needs} tokens, and there is room for {room}"),
                (None, Some(no)) => format!(
                    "entry {no} was not taken out, or too long ago; `kapell sessions transcript` shows all"
                ),
                (None, None) => "nothing was taken out of this conversation".to_owned(),
            };
            return Ok(Disposal::Refused(why));
        }
        back.sort_unstable();
        self.emit(Event::Uncompacted { items: back, after: cap.saturating_sub(room) })?;
        Ok(Disposal::Applied)
    }

    /// What people want back, at the first moment when nothing is in flight.
    pub(crate) fn uncompact_wanted(&mut self) -> Result<bool, Illegal> {
        let wanted = self.s.queue.iter().find_map(|intent| match intent.wish {
            Wish::Uncompact { item } => Some((intent.id, item)),
            _ => None,
        });
        let Some((id, item)) = wanted else { return Ok(false) };
        let how = self.uncompact(item)?;
        self.dispose(id, how)?;
        Ok(true)
    }
}

impl Session {
    /// The entries that come back together with this one: a result alone, or a whole exchange.
    fn taken_out(&self, no: u64) -> Option<Vec<&Item>> {
        if let Some(item) = self.items.iter().find(|item| item.no == no) {
            return item.left.map(|_| vec![item]);
        }
        let at = self.evicted.iter().position(|item| item.no == no)?;
        let item = &self.evicted[at];
        let makes =
            |id: &str| self.evicted.iter().position(|item| item.calls.iter().any(|(own, ..)| own == id));
        let head = match (item.role, &item.call) {
            (Role::Tool, Some(call)) => &self.evicted[makes(call)?],
            _ => item,
        };
        let answers = |item: &&Item| {
            item.call.as_ref().is_some_and(|call| head.calls.iter().any(|(id, ..)| id == call))
        };
        let results: Vec<&Item> = self.evicted.iter().filter(answers).collect();
        // A result that is not at hand any more would leave its call alone.
        (results.len() == head.calls.len()).then(|| [vec![head], results].concat())
    }
}
