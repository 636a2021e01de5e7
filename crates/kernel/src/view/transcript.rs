//! Who said what, from the first word to the last: never cut, each call with its result.
//!
//! Texts are digests: whoever shows them reads the blobs. Start at [`transcript`].

use crate::hooks::word;
use contract::action::{Call, CallResult, Done, EffectClass, End, Role, Work};
use contract::event::{Disposal, Event, Notice};
use contract::hooks::{Asked, HookAnswer};
use contract::intent::{ChildEnd, Intent, Source, Wish};
use contract::policy::Decision;
use contract::record::Record;
use contract::{ActionId, CallId, Digest, Fault, IntentId, QuestionId, Seq, SessionId, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// One contribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Number of the event it stands in.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Who speaks. Results stand with their calls, so `tool` does not occur.
    pub role: Role,
    /// Which producer a user's message came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The action it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionId>,
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Digest>,
    /// What Kapell tells the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// The calls an agent makes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Made>,
    /// The agent did not come to an end: which attempt it was, and why. The next attempt began anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
}

/// What was said before a call of the model broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partial {
    /// First try is 1.
    pub attempt: u32,
    /// What went wrong.
    pub why: String,
}

/// A call and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its name.
    pub call: CallId,
    /// Which tool.
    pub tool: String,
    /// Its arguments.
    pub args: Digest,
    /// What a crash in the middle would mean.
    pub class: EffectClass,
    /// Its result; `None` = it has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// When.
    pub at: Timestamp,
    /// The action that ran it; none when Kapell itself answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionId>,
    /// Did it go well?
    pub ok: bool,
    /// What the agent sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Digest>,
    /// Kapell's own answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// The whole output, when the text is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Digest>,
    /// Exit status of a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
}

/// The conversation that these events (of one session, from its first) tell of.
pub fn transcript(events: &[Record<Event>]) -> Vec<Entry> {
    let mut reader = Reader::default();
    for record in events {
        reader.read(record);
    }
    reader.entries
}

#[derive(Default)]
struct Reader {
    entries: Vec<Entry>,
    queue: BTreeMap<IntentId, Intent>,
    questions: BTreeMap<QuestionId, CallId>,
    children: BTreeMap<SessionId, CallId>,
    ends: BTreeMap<SessionId, ChildEnd>,
    /// The agent's newest entry with calls: a call's name is unique inside it.
    made: Option<usize>,
    /// The model action in flight.
    asks: Option<ActionId>,
    /// What hooks are being asked about.
    hooks: Option<Asked>,
}

impl Reader {
    fn read(&mut self, record: &Record<Event>) {
        let at = record.at;
        match &record.event {
            Event::Opened { spec } => self.say(record, Role::User, |entry| entry.text = Some(spec.goal)),
            Event::Submitted { intent } => {
                self.queue.insert(intent.id, intent.clone());
            }
            Event::Selected { intent: Some(intent), action, .. } => {
                self.taken(record, *intent, Some(*action))
            }
            Event::Disposed { intent, how: Disposal::Merged } => self.taken(record, *intent, None),
            Event::Disposed { intent, how: Disposal::Applied } => self.applied(at, *intent),
            Event::Started { action, work, .. } => {
                self.asks = matches!(work, Work::Model { .. }).then_some(*action);
                self.hooks = if let Work::Hooks { asked } = work { Some((**asked).clone()) } else { None };
            }
            Event::Finished { outcome } => match &outcome.end {
                End::Done(done) => self.done(record, outcome.action, done),
                End::Failed(fault) if self.asks == Some(outcome.action) => self.broke(record, outcome, fault),
                // What was stopped has given something, too.
                _ => self.results(at, outcome.action, &outcome.written),
            },
            Event::Noticed { notice } => self.notice(record, None, notice.clone()),
            Event::Compacted { summary: Some(summary), .. } if summary.text.is_some() => {
                let (summary, words) = (summary.clone(), summary.text);
                self.say(record, Role::Notice, |entry| {
                    (entry.text, entry.notice) = (words, Some(Notice::Compacted { summary }));
                });
            }
            Event::Asked { question, call: Some(call), .. } => {
                self.questions.insert(question.clone(), call.clone());
            }
            Event::Answered { question, text, .. } => {
                if let Some(call) = self.questions.remove(question) {
                    self.answer(&call, Outcome { text: Some(*text), ..plain(at, true) });
                }
            }
            Event::CallAnswered { call, ok, what } => {
                let notice = Some(Notice::Told { what: what.clone() });
                self.answer(call, Outcome { notice, ..plain(at, *ok) });
            }
            Event::ChildOpened { child, call, .. } => {
                self.children.insert(*child, call.clone());
            }
            _ => {}
        }
    }

    /// The model broke off in the middle of what it said.
    fn broke(&mut self, record: &Record<Event>, outcome: &contract::action::Outcome, fault: &Fault) {
        let Some(text) = fault.detail else { return };
        let partial = Partial { attempt: outcome.attempt, why: fault.what.clone() };
        self.say(record, Role::Assistant, |entry| {
            (entry.action, entry.text, entry.partial) = (Some(outcome.action), Some(text), Some(partial));
        });
    }

    fn say(&mut self, record: &Record<Event>, role: Role, fill: impl FnOnce(&mut Entry)) {
        let (seq, at) = (record.seq, record.at);
        let mut entry = Entry {
            seq,
            at,
            role,
            source: None,
            action: None,
            text: None,
            notice: None,
            calls: Vec::new(),
            partial: None,
        };
        fill(&mut entry);
        self.entries.push(entry);
    }

    fn notice(&mut self, record: &Record<Event>, action: Option<ActionId>, notice: Notice) {
        self.say(record, Role::Notice, |entry| (entry.action, entry.notice) = (action, Some(notice)));
    }

    /// An intent was taken up: a message reached the agent, or a child's result is being taken over.
    fn taken(&mut self, record: &Record<Event>, intent: IntentId, action: Option<ActionId>) {
        let Some(intent) = self.queue.remove(&intent) else { return };
        match intent.wish {
            Wish::Message { text, .. } => self.say(record, Role::User, |entry| {
                (entry.source, entry.action, entry.text) = (Some(intent.source), action, Some(text));
            }),
            Wish::SubtaskEnded { child, end } => {
                self.ends.insert(child, end);
            }
            _ => {}
        }
    }

    /// A child's end that left nothing to take over.
    fn applied(&mut self, at: Timestamp, intent: IntentId) {
        let Some(Intent { wish: Wish::SubtaskEnded { child, end }, .. }) = self.queue.remove(&intent) else {
            return;
        };
        if let Some(call) = self.children.remove(&child) {
            let outcome = Outcome { text: end.summary, ..plain(at, end.code == 0) };
            self.answer(&call, Outcome { notice: Some(Notice::ChildEnded { child, end }), ..outcome });
        }
    }

    fn done(&mut self, record: &Record<Event>, action: ActionId, done: &Done) {
        let at = record.at;
        match done {
            Done::Said { text, calls, .. } => {
                self.made = Some(self.entries.len());
                let made = calls.iter().map(|call| made(at, call)).collect();
                self.say(record, Role::Assistant, |entry| {
                    (entry.action, entry.text, entry.calls) = (Some(action), *text, made);
                });
            }
            Done::Ran { results, .. } => self.results(at, action, results),
            Done::Adopted { child, clean, text, .. } => {
                if let Some(call) = self.children.remove(child) {
                    let notice = self.ends.remove(child).map(|end| Notice::ChildEnded { child: *child, end });
                    let (action, text) = (Some(action), Some(*text));
                    self.answer(&call, Outcome { action, text, notice, ..plain(at, *clean) });
                }
            }
            Done::Rewound { to, .. } => self.notice(record, Some(action), Notice::Rewound { to: *to }),
            Done::Hooked { answers, told, call, .. } => {
                self.hooked(record, action, answers, *told);
                // Changed to what is refused: that is its answer.
                if let Some((call, error)) = call.as_ref().and_then(|call| Some((&call.id, call.error?))) {
                    self.answer(
                        call,
                        Outcome { action: Some(action), text: Some(error), ..plain(at, false) },
                    );
                }
            }
            // What a model notes of entries that go is said to nobody but itself.
            Done::Summarised { .. } => {}
            Done::Prepared(_) | Done::Checked(_) | Done::Inspected { .. } | Done::Integrated(_) => {}
        }
    }

    /// What hooks said is a call's answer, when they denied it, or a word to the agent.
    fn hooked(
        &mut self,
        record: &Record<Event>,
        action: ActionId,
        answers: &[HookAnswer],
        told: Option<Digest>,
    ) {
        let Some(asked) = self.hooks.take() else { return };
        let denied = word(asked.event, &[], answers) == Some(Decision::Deny);
        match (&asked.call, told) {
            (Some(call), _) if denied && asked.event.guards() => {
                let call = call.id.clone();
                self.answer(&call, Outcome { action: Some(action), text: told, ..plain(record.at, false) });
            }
            (_, Some(text)) => self.notice(record, Some(action), Notice::Hook { event: asked.event, text }),
            _ => {}
        }
    }

    fn results(&mut self, at: Timestamp, action: ActionId, results: &[CallResult]) {
        for CallResult { call, ok, text, full, exit, .. } in results {
            let (text, full) = (Some(*text), *full);
            self.answer(call, Outcome { action: Some(action), text, full, exit: *exit, ..plain(at, *ok) });
        }
    }

    fn answer(&mut self, call: &str, outcome: Outcome) {
        let calls = self.made.and_then(|at| self.entries.get_mut(at)).map(|entry| &mut entry.calls);
        if let Some(made) = calls.into_iter().flatten().find(|made| made.call == call) {
            made.outcome = Some(outcome);
        }
    }
}

fn plain(at: Timestamp, ok: bool) -> Outcome {
    Outcome { at, action: None, ok, text: None, notice: None, full: None, exit: None }
}

fn made(at: Timestamp, call: &Call) -> Made {
    let refused = call.error.map(|error| Outcome { text: Some(error), ..plain(at, false) });
    Made {
        call: call.id.clone(),
        tool: call.tool.clone(),
        args: call.args,
        class: call.class,
        outcome: refused,
    }
}
