//! What is shown of a conversation after something was taken out of it, brought back or mended.
//!
//! Knows entries as the fold keeps them. Start at [`Cuts::before`], which remembers, and [`Cuts::after`], which checks.

use crate::promise::{Checked, Promise};
use contract::action::{Done, End, Item, Role, Work};
use contract::context::{Left, Summary};
use contract::event::{Event, Notice, TaskState};
use contract::{CallId, Digest};
use kernel::Session;
use kernel::context::misfits;
use kernel::fsm::CallState;
use std::collections::BTreeSet;

/// What a model was asked to word, and how that went.
#[derive(Debug)]
struct Asked {
    /// Every entry that was to be left out or to go.
    planned: BTreeSet<u64>,
    words: Words,
}

#[derive(Debug, PartialEq, Eq)]
enum Words {
    Awaited,
    Found(Digest),
    /// Nobody words it: the next cut is the one that was planned, without words.
    Failed,
}

/// What is remembered of one session's conversation.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    asked: Option<Asked>,
    /// The entries before the event that changes what is shown of them.
    items: Vec<Item>,
}

impl Cuts {
    /// Remembers what an event is about to change.
    pub(crate) fn before(&mut self, state: &Session, event: &Event) {
        match event {
            Event::Started { work: Work::Summarise { left, dropped, .. }, .. } => {
                let planned = state.items.iter().map(|item| item.no).filter(|no| named(left, dropped, *no));
                self.asked = Some(Asked { planned: planned.collect(), words: Words::Awaited });
            }
            Event::Finished { outcome } => {
                if let (End::Done(Done::Summarised { text, .. }), Some(asked)) =
                    (&outcome.end, &mut self.asked)
                {
                    asked.words = Words::Found(*text);
                }
            }
            Event::Failed { then, .. } if then == "cut" => {
                self.asked.iter_mut().for_each(|asked| asked.words = Words::Failed);
            }
            // What comes back is planned anew.
            Event::Uncompacted { .. } => self.asked = None,
            _ => {}
        }
        if changes(event) {
            self.items = state.items.iter().cloned().collect();
        }
    }

    /// Checks what is shown now.
    pub(crate) fn after(&mut self, state: &Session, event: &Event) -> Checked {
        if !changes(event) {
            return Ok(());
        }
        whole(state)?;
        if let Event::Compacted { left, dropped, summary, .. } = event {
            self.stays(state)?;
            self.told(state, dropped, summary.as_deref())?;
            self.planned(state, left, dropped, summary.as_deref())?;
        }
        Ok(())
    }

    /// The goal, the task at hand, the person's newest word and the newest exchange are there, each in its place.
    fn stays(&self, state: &Session) -> Checked {
        let last = |role| self.items.iter().rposition(|item| item.role == role);
        let spoke = last(Role::Assistant).unwrap_or(self.items.len());
        let active = state.plan.tasks.iter().find(|(_, task)| *task == TaskState::Active);
        let told = |item: &Item| match (item.notice.as_deref(), active) {
            (Some(Notice::NextTask { task, .. }), Some((active, _))) => *task == active.id,
            _ => false,
        };
        let task = self.items.iter().rposition(told);
        let mut pinned: Vec<u64> = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            if at == 0 || at >= spoke || Some(at) == last(Role::User) || Some(at) == task {
                pinned.push(item.no);
            }
        }
        let mut shown = state.items.iter().map(|item| item.no);
        let missing = pinned.iter().find(|no| !shown.any(|shown| shown == **no));
        Promise::Cut.holds(missing.is_none(), || {
            format!("{}: entry {missing:?} had to stay, and is not in its place after a cut", state.id)
        })
    }

    /// Who reads what is left is told how much went.
    fn told(&self, state: &Session, dropped: &[(u64, u64)], summary: Option<&Summary>) -> Checked {
        let gone = self.items.iter().filter(|item| named(&[], dropped, item.no));
        let entries: u64 = gone.map(|item| earlier(item).map_or(1, |old| old.entries)).sum();
        let said = summary.map_or(0, |summary| summary.entries);
        Promise::Cut.holds(entries == said, || {
            format!("{}: {entries} entries went, and {said} are told of", state.id)
        })
    }

    /// A cut that a model words is the one it was asked about; without words it goes no further.
    fn planned(
        &mut self,
        state: &Session,
        left: &[(u64, Left)],
        dropped: &[(u64, u64)],
        summary: Option<&Summary>,
    ) -> Checked {
        let text = summary.and_then(|summary| summary.text);
        let known =
            |text: &Digest| self.items.iter().filter_map(earlier).any(|old| old.text.as_ref() == Some(text));
        let Some(asked) = self.asked.take().filter(|asked| asked.words != Words::Awaited) else {
            let own = text.as_ref().is_none_or(known);
            return Promise::Cut
                .holds(own, || format!("{}: a cut has words that nobody was asked for", state.id));
        };
        let cut: BTreeSet<u64> =
            self.items.iter().map(|item| item.no).filter(|no| named(left, dropped, *no)).collect();
        let further = cut.difference(&asked.planned).next();
        Promise::Cut.holds(further.is_none(), || {
            format!("{}: entry {further:?} went, which was not planned to", state.id)
        })?;
        let good = match &asked.words {
            Words::Found(words) => text == Some(*words) && cut == asked.planned,
            _ => text.as_ref().is_none_or(known),
        };
        Promise::Cut.holds(good, || {
            format!("{}: the words {:?} were found for a cut that has {text:?}", state.id, asked.words)
        })
    }
}

fn changes(event: &Event) -> bool {
    matches!(
        event,
        Event::Cut { .. } | Event::Compacted { .. } | Event::Uncompacted { .. } | Event::Repaired { .. }
    )
}

fn named(left: &[(u64, Left)], dropped: &[(u64, u64)], no: u64) -> bool {
    let gone = dropped.iter().any(|(first, last)| (*first..=*last).contains(&no));
    gone || left.iter().any(|(left, _)| *left == no)
}

fn earlier(item: &Item) -> Option<&Summary> {
    match item.notice.as_deref() {
        Some(Notice::Compacted { summary }) => Some(summary),
        _ => None,
    }
}

/// Every result has its call, and every call its result, but those that are still to come.
fn whole(state: &Session) -> Checked {
    let (unanswered, orphans) = misfits(&state.items);
    let open =
        |id: &CallId| state.calls.iter().any(|slot| slot.call.id == *id && slot.state != CallState::Answered);
    let lost: Vec<&CallId> = unanswered.iter().filter(|id| !open(id)).collect();
    Promise::Conversation.holds(lost.is_empty() && orphans.is_empty(), || {
        format!("{}: calls {lost:?} have no result, results {orphans:?} no call", state.id)
    })
}
