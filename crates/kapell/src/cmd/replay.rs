//! `replay`: plays a session's record offline: folds every event, builds every request to a model anew, and compares
//! both with what is on record. Needs no model, no network and no right to write.
//!
//! Start at [`run`].

use super::work::leave;
use crate::app::{self, App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::show::json_page;
use contract::action::{Done, EffectClass, End, Outcome, Run, Work};
use contract::context::Sent;
use contract::event::Event;
use contract::journal::{Error, Journal};
use contract::model::Request;
use contract::record::Record;
use contract::{ActionId, Seq, SessionId, StreamId};
use engine::store;
use kernel::Session;
use kernel::view::{Differs, differs};
use serde_json::json;
use std::collections::BTreeMap;

/// A request built anew, or why it cannot be.
type Built = Result<(Request, Sent), String>;

/// What was compared.
#[derive(Default)]
struct Told {
    events: u64,
    snapshots: u64,
    /// Requests built anew that are what was asked.
    same: u64,
    /// Model calls of which no request is on record: an older record, or nobody saw their end.
    unknown: u64,
    difference: Option<Difference>,
}

/// The first thing that is not as recorded.
struct Difference {
    seq: Seq,
    what: String,
}

/// Replays; the exit code is that of a failure when something differs.
pub(crate) async fn run(app: &App, name: &str) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let done = replay(app, &wired, name).await;
    leave(wired).await;
    done
}

async fn replay(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let told = compare(wired, session).await?;
    if app.global.json {
        let difference = told.difference.as_ref().map(|it| json!({"seq": it.seq, "what": it.what}));
        out::print(&json_page(&json!({
            "session_id": session.to_string(), "events": told.events, "snapshots": told.snapshots,
            "requests": told.same, "unknown": told.unknown, "difference": difference,
        })));
    } else {
        out::print(&told.page(session));
    }
    Ok(if told.difference.is_some() { exit::FAILURE } else { exit::OK })
}

async fn compare(wired: &Wired, id: SessionId) -> Result<Told, Failure> {
    let stream = StreamId::Session(id);
    let kept = wired.store.snapshots(stream).await?;
    let mut snapshots: BTreeMap<Seq, Session> =
        kept.iter().filter_map(|snapshot| Some((snapshot.seq, store::session_in(snapshot)?))).collect();
    let mut records: Vec<Record<Event>> = Vec::new();
    let read = store::each::<Event>(&*wired.store, stream, 0, |record, _| {
        records.push(record);
        Ok(())
    });
    let mut told = Told::default();
    match read.await {
        Ok(()) => {}
        // What lies before the damage is compared; the damage is the difference unless something differs before it.
        Err(Error::Corrupt(what)) => {
            told.difference = Some(Difference { seq: records.len() as u64 + 1, what })
        }
        Err(error) => return Err(error.into()),
    }
    let (mut state, mut asked) = (Session::new(id), BTreeMap::new());
    for record in &records {
        if let Err(error) = state.apply(record.at, &record.event) {
            told.difference =
                Some(Difference { seq: record.seq, what: format!("it cannot be folded: {error}") });
            return Ok(told);
        }
        told.events += 1;
        if let Some(snapshot) = snapshots.remove(&record.seq) {
            if snapshot != state {
                let what = "the snapshot taken after it is not the fold of the events".to_owned();
                told.difference = Some(Difference { seq: record.seq, what });
                return Ok(told);
            }
            told.snapshots += 1;
        }
        if let Some(what) = told.model_call(wired, &state, &record.event, &mut asked).await {
            told.difference = Some(Difference { seq: record.seq, what });
            return Ok(told);
        }
    }
    Ok(told)
}

impl Told {
    /// Builds the request of a model call that begins, and compares it when its end tells what was asked.
    async fn model_call(
        &mut self,
        wired: &Wired,
        state: &Session,
        event: &Event,
        asked: &mut BTreeMap<(ActionId, u32), Built>,
    ) -> Option<String> {
        match event {
            Event::Started { action, attempt, work: work @ Work::Model { .. }, class, .. } => {
                let run = run_of(state, *action, *attempt, work, *class)?;
                let built = match wired.engine.rebuild(run).await {
                    Ok(built) => Ok(built?),
                    Err(fault) => Err(fault.to_string()),
                };
                asked.insert((*action, *attempt), built);
                None
            }
            Event::Finished { outcome } => {
                let built = asked.remove(&(outcome.action, outcome.attempt))?;
                let Some(sent) = &outcome.sent else {
                    self.unknown += 1;
                    return None;
                };
                let call = format!("the request of {}, attempt {}", outcome.action, outcome.attempt);
                match built {
                    Ok((_, built)) if built.request == sent.request => {
                        self.same += 1;
                        None
                    }
                    Ok((_, built)) if built.prompt != sent.prompt => {
                        Some(format!("{call}: the instructions or the tools are not what they were"))
                    }
                    Ok((request, built)) => Some(format!(
                        "{call}: {} (recorded {}, built anew {})",
                        place(outcome, &request),
                        sent.request.short(),
                        built.request.short()
                    )),
                    Err(why) => Some(format!("{call} cannot be built anew: {why}")),
                }
            }
            _ => None,
        }
    }

    fn page(&self, session: SessionId) -> String {
        let mut out = format!(
            "session {}: {} events fold as recorded, {} snapshots agree\n{} requests are what was asked",
            short(session),
            self.events,
            self.snapshots,
            self.same
        );
        if self.unknown > 0 {
            out.push_str(&format!("; of {} model calls nobody recorded what was asked", self.unknown));
        }
        out.push('\n');
        if let Some(difference) = &self.difference {
            out.push_str(&format!("first difference, at event {}: {}\n", difference.seq, difference.what));
        }
        out
    }
}

/// The first message that differs, as far as the record tells.
fn place(outcome: &Outcome, request: &Request) -> String {
    let End::Done(Done::Said { shown: Some(recorded), .. }) = &outcome.end else {
        return "the conversation is not what was asked".to_owned();
    };
    let built = engine::executor::shown::shown(request);
    let (was, is) = (recorded.messages, built.messages);
    match differs(recorded, &built) {
        Some(Differs { message, from, speaker }) if from == message => {
            format!("message {message} of {was} ({speaker}) is the first that is not what was asked")
        }
        Some(Differs { message, from, .. }) => {
            format!(
                "one of the messages {from} to {message} of {was} is the first that is not what was asked"
            )
        }
        None if was == is => "one of the last messages is not what was asked".to_owned(),
        None => format!("{was} messages were asked, and {is} are built anew"),
    }
}

/// The run that began with this event.
fn run_of(state: &Session, action: ActionId, attempt: u32, work: &Work, class: EffectClass) -> Option<Run> {
    let running = state.running.as_ref()?;
    Some(Run {
        session: state.id,
        action,
        attempt,
        work: work.clone(),
        class,
        deadline: running.deadline,
        // Of the request, this alone is not on record: it is what the budget left for the reply.
        max_tokens: 0,
        card: state.card_for(work),
        restore: false,
        approved: None,
        context: Box::new(state.context(state.spec.clone()?, true)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Amount;
    use contract::model::{Message, Stop, Usage};

    #[test]
    fn the_first_message_that_differs_is_named() {
        let request = |texts: &[&str]| Request {
            model: "a/b".into(),
            system: String::new(),
            messages: texts.iter().map(|text| Message::User { text: (*text).to_owned() }).collect(),
            tools: Vec::new(),
            max_tokens: 1,
            ordinal: 0,
            key: String::new(),
        };
        let asked = |texts: &[&str]| {
            let done = Done::said(None, 0, Vec::new(), Stop::EndTurn, Usage::default());
            let Done::Said { text, bytes, calls, stop, usage, private, request_id, again, tokens, .. } = done
            else {
                unreachable!("it is what was made")
            };
            let shown = Some(Box::new(engine::executor::shown::shown(&request(texts))));
            let said =
                Done::Said { text, bytes, calls, stop, usage, private, request_id, shown, again, tokens };
            Outcome::new(ActionId { turn: 1, step: 2 }, 1, End::Done(said), Amount::ZERO)
        };
        let told = |was: &[&str], is: &[&str]| place(&asked(was), &request(is));
        assert!(told(&["a", "b", "c"], &["a", "x", "c"]).starts_with("message 2 of 3 (user) is the first"));
        assert!(told(&["a", "b"], &["a", "b", "c"]).starts_with("2 messages were asked, and 3"));
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let mut other = many.clone();
        other[41] = "x".into();
        let (many, other): (Vec<&str>, Vec<&str>) =
            (many.iter().map(String::as_str).collect(), other.iter().map(String::as_str).collect());
        assert!(
            told(&many, &other).starts_with("one of the messages 41 to 44 of 100"),
            "{}",
            told(&many, &other)
        );
        let failed = Outcome { end: End::Unknown, ..asked(&["a"]) };
        assert_eq!(place(&failed, &request(&["b"])), "the conversation is not what was asked");
    }
}
