//! Who wanted what, why it won, why the others waited, how it was tried and what followed (promise 4).
//!
//! Everything said here stands in the events; nothing is guessed. Start at [`why`].

use super::waits::{Waits, waits};
use crate::session::Session;
use contract::action::{EffectClass, End, Outcome};
use contract::event::{Disposal, Event, Other};
use contract::intent::{Intent, Source};
use contract::record::Record;
use contract::{ActionId, Amount, ApprovalId, Fence, IntentId, SessionId, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// The whole explanation of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// Every action, in order.
    pub actions: Vec<Chosen>,
    /// Every intent that never became an action, in the order in which they left the queue; the waiting ones last.
    pub intents: Vec<Unchosen>,
    /// What was in the inbox and could not be understood, with its time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub garbled: Vec<(Timestamp, String)>,
    /// What it waits for now; `None` while something runs, and after the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// How it ended, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// An action: who wanted it, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// Which.
    pub action: ActionId,
    /// When it was chosen.
    pub at: Timestamp,
    /// Who wanted it.
    pub source: Source,
    /// What was wanted.
    pub wish: String,
    /// The intent, when it came from the inbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentId>,
    /// When that was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted: Option<Timestamp>,
    /// Why it won.
    pub why: String,
    /// Everybody else who wanted something, and why it waited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Other>,
    /// What kind of work it became.
    pub work: String,
    /// Its tries.
    pub attempts: Vec<AttemptTold>,
    /// What followed before the next action was chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<String>,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptTold {
    /// 1 is the first.
    pub attempt: u32,
    /// When it began.
    pub at: Timestamp,
    /// What a crash in the middle would mean.
    pub class: EffectClass,
    /// Why that class.
    pub class_why: String,
    /// When it had to be over.
    pub deadline: Timestamp,
    /// The lease it ran under.
    pub fence: Fence,
    /// The approval it used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    /// What was reserved for it.
    pub reserved: Amount,
    /// How it ended, in words; `None` = it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What it used.
    pub used: Amount,
}

/// An intent that never became an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchosen {
    /// Which.
    pub intent: IntentId,
    /// Who wanted it.
    pub source: Source,
    /// What.
    pub wish: String,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It left the queue.
    Disposed {
        /// When.
        at: Timestamp,
        /// How.
        how: Disposal,
    },
    /// It still waits; this is why.
    Waits(String),
}

/// The explanation of a session from all its events.
pub fn why(id: SessionId, events: &[Record<Event>], now: Timestamp) -> Why {
    let mut reader = Reader::default();
    let mut state = Session::new(id);
    for record in events {
        reader.read(record);
        // A journal that does not fold is explained as far as it does.
        if state.apply(record.at, &record.event).is_err() {
            break;
        }
    }
    let mut intents = reader.disposed;
    intents.extend(state.queue.iter().map(|intent| {
        let reason = crate::arbiter::eligible(&state, &intent.wish, now).err();
        let why = reason
            .map_or_else(|| "it is next, as soon as there is a free slot".to_owned(), |r| r.to_string());
        unchosen(intent, Fate::Waits(why))
    }));
    let ended =
        state.end.as_ref().map(|end| format!("{}, exit code {}: {}", end.state.name(), end.code, end.why));
    Why { actions: reader.actions, intents, garbled: reader.garbled, waits: waits(&state, now), ended }
}

fn unchosen(intent: &Intent, fate: Fate) -> Unchosen {
    let wish = intent.wish.name().to_owned();
    Unchosen { intent: intent.id, source: intent.source, wish, submitted: intent.at, fate }
}

#[derive(Default)]
struct Reader {
    actions: Vec<Chosen>,
    queue: BTreeMap<IntentId, Intent>,
    disposed: Vec<Unchosen>,
    garbled: Vec<(Timestamp, String)>,
}

impl Reader {
    fn read(&mut self, record: &Record<Event>) {
        let at = record.at;
        match &record.event {
            Event::Submitted { intent } => {
                self.queue.insert(intent.id, intent.clone());
            }
            Event::Disposed { intent, how } => {
                if let Some(intent) = self.queue.remove(intent) {
                    self.disposed.push(unchosen(&intent, Fate::Disposed { at, how: how.clone() }));
                }
            }
            Event::Garbled { why } => self.garbled.push((at, why.clone())),
            Event::Selected { action, intent, source, wish, why, others } => {
                let submitted = intent.and_then(|id| self.queue.remove(&id)).map(|intent| intent.at);
                self.actions.push(Chosen {
                    action: *action,
                    at,
                    source: *source,
                    wish: wish.clone(),
                    intent: *intent,
                    submitted,
                    why: why.clone(),
                    others: others.clone(),
                    work: String::new(),
                    attempts: Vec::new(),
                    then: Vec::new(),
                });
            }
            Event::Started { .. } => self.started(at, &record.event),
            Event::Finished { outcome } => self.finished(at, outcome),
            event => {
                if let (Some(words), Some(chosen)) = (followed(event), self.actions.last_mut()) {
                    chosen.then.push(words);
                }
            }
        }
    }

    fn of(&mut self, action: ActionId) -> Option<&mut Chosen> {
        self.actions.iter_mut().rev().find(|chosen| chosen.action == action)
    }

    fn started(&mut self, at: Timestamp, event: &Event) {
        let Event::Started { action, attempt, work, class, why, deadline, fence, approval, reserved } = event
        else {
            return;
        };
        let Some(chosen) = self.of(*action) else { return };
        chosen.work = work.name().to_owned();
        chosen.attempts.push(AttemptTold {
            attempt: *attempt,
            at,
            class: *class,
            class_why: why.clone(),
            deadline: *deadline,
            fence: *fence,
            approval: approval.clone(),
            reserved: *reserved,
            end: None,
            ended: None,
            used: Amount::ZERO,
        });
    }

    fn finished(&mut self, at: Timestamp, outcome: &Outcome) {
        let Some(chosen) = self.of(outcome.action) else { return };
        if let Some(told) = chosen.attempts.iter_mut().find(|told| told.attempt == outcome.attempt) {
            (told.end, told.ended, told.used) = (Some(ended(&outcome.end)), Some(at), outcome.used);
        }
    }
}

fn ended(end: &End) -> String {
    match end {
        End::Done(_) => "done".into(),
        End::Failed(fault) => format!("failed ({}, {}): {}", fault.kind.name(), fault.code, fault.what),
        End::Cancelled => "stopped on request".into(),
        End::TimedOut => "ran past its deadline".into(),
        End::Unknown => "nobody saw its end".into(),
    }
}

/// What an event says about the action before it; `None` = nothing of interest.
fn followed(event: &Event) -> Option<String> {
    Some(match event {
        Event::Staged { to, why, .. } => format!("on to {to}: {why}"),
        Event::Judged { verdict, reasons, .. } => format!("{}: {}", verdict.name(), reasons.join("; ")),
        Event::ApprovalAsked { approval, .. } => format!("asked for approval {approval}"),
        Event::ApprovalAnswered { approval, answer, .. } => {
            format!("approval {approval} {}", format!("{answer:?}").to_lowercase())
        }
        Event::Asked { question, .. } => format!("asked {question}"),
        Event::Answered { question, .. } => format!("{question} was answered"),
        Event::CallAnswered { call, what, .. } => format!("call {call}: {what}"),
        Event::ChildOpened { child, .. } => format!("opened the child session {child}"),
        Event::Planned { tasks } => format!("planned {} task(s)", tasks.len()),
        Event::TaskMoved { task, to } => format!("task {task} {}", format!("{to:?}").to_lowercase()),
        Event::Cut { items, .. } => format!("the {items} oldest entries left the context"),
        Event::Compacted { why, left, dropped, before, after, cap, .. } => {
            let gone: u64 = dropped.iter().map(|(first, last)| last - first + 1).sum();
            let why =
                if why == "refused" { "the provider found it too long" } else { "it would not have fitted" };
            format!(
                "the conversation was cut ({why}): about {before} tokens before, {after} after, {cap} allowed; {} outputs \
                 left as references, {gone} entries dropped",
                left.len()
            )
        }
        Event::Uncompacted { items, .. } => format!("{} entries are shown to the model again", items.len()),
        Event::Repaired { what, .. } => format!("the conversation was mended: {what}"),
        Event::Paused { why, what, .. } => format!("paused ({why}): {what}"),
        Event::Waits { what, until, .. } => format!("waits until {until}: {what}"),
        Event::FellBack { to, why, .. } => format!("{} has the word from now on: {why}", to.id),
        Event::Resumed { .. } => "resumed".into(),
        Event::Warned { what } => what.clone(),
        Event::Failed { signature, count, then, .. } => {
            format!("{signature} failed, {count} in a row; then: {then}")
        }
        Event::Recovered { found: Some(action), did, .. } => {
            format!("a new process found {action} in flight: {did}")
        }
        Event::Recovered { found: None, .. } => "a new process took over".into(),
        Event::CancelAsked { .. } => "cancel was asked for".into(),
        Event::Stale { outcome } => format!("a late outcome of {} was not applied", outcome.action),
        Event::Ended { state, code, why, .. } => format!("ended {} ({code}): {why}", state.name()),
        _ => return None,
    })
}
