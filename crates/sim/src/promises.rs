//! What must hold, whatever happens. Each check names the promise (DESIGN section 4) it belongs to.
//!
//! Reads the durable store with eyes of its own; trusts nothing a process believes. Start at [`effect`] and [`at_rest`].

use crate::node::now;
use contract::action::{EffectClass, End, Run, Work};
use contract::event::{Answer, Event, LedgerEvent, Subject};
use contract::journal::Journal;
use contract::record::Record;
use contract::{SessionId, StreamId};
use engine::store;
use journal::Memory;
use kernel::Session;
use kernel::ledger::Ledger;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn records(eyes: &Memory, id: SessionId) -> Result<Vec<Record<Event>>, String> {
    now(store::records(eyes, StreamId::Session(id)))
        .map_err(|e| format!("promise 1: {id} cannot be read: {e}"))
}

/// The last events of a session and what is queued, for the reader of a failing seed.
pub(crate) fn tail(eyes: &Memory, id: SessionId) -> String {
    let events = records(eyes, id).unwrap_or_default();
    let state = now(store::session(eyes, id)).ok().flatten();
    let last: Vec<String> =
        events.iter().rev().take(12).rev().map(|r| format!("    {} {:?}", r.seq, r.event)).collect();
    let state = state.map(|s| {
        format!(
            "    {} queue {:?} running {:?} retry {:?} turn {:?} ready {}",
            s.status(s.at),
            s.queue,
            s.running,
            s.retry_at,
            s.turn,
            s.ready
        )
    });
    format!("  {id}\n{}\n{}", last.join("\n"), state.unwrap_or_default())
}

/// Before an effect begins: its Started is durable (I5), and the conversation a model gets is whole (promise 2).
pub(crate) fn started(eyes: &Memory, run: &Run, after: u64) -> Result<(), String> {
    let stream = StreamId::Session(run.session);
    let fresh = now(eyes.read(stream, after, usize::MAX)).map_err(|e| format!("promise 1: {e}"))?;
    let on_record = fresh.iter().any(|stored| match store::decode::<Event>(stream, stored.seq, &stored.bytes) {
        Ok(record) => matches!(&record.event, Event::Started { action, attempt, .. } if *action == run.action && *attempt == run.attempt),
        Err(_) => false,
    });
    if !on_record {
        return Err(format!(
            "promise 1: {} of {} runs, but its start is not durable",
            run.action, run.session
        ));
    }
    if !matches!(run.work, Work::Model { .. }) {
        return Ok(());
    }
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for item in &run.context.items {
        match &item.call {
            Some(call) => {
                if !open.remove(call.as_str()) {
                    return Err(format!(
                        "promise 2: {}: a result for call {call}, which is not open",
                        run.session
                    ));
                }
            }
            None if !open.is_empty() => {
                return Err(format!("promise 2: {}: calls {open:?} have no result", run.session));
            }
            None => open.extend(item.calls.iter().map(|(id, _, _)| id.as_str())),
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("promise 2: {}: calls {open:?} have no result", run.session))
    }
}

/// An external effect happens at most once, and once more for each time a person said so (promise 2, I6).
pub(crate) fn effect(eyes: &Memory, run: &Run, times: u64) -> Result<(), String> {
    let Work::Tools { calls } = &run.work else { return Ok(()) };
    let Some(call) = calls.iter().find(|call| call.tool == "external") else { return Ok(()) };
    let events = records(eyes, run.session)?;
    // A repeat may be agreed to under one action and, when that did not begin, happen under the next one.
    let carries =
        |work: &Work| matches!(work, Work::Tools { calls } if calls.iter().any(|c| c.id == call.id));
    let actions: BTreeSet<_> = events
        .iter()
        .filter_map(|record| match &record.event {
            Event::Started { action, work, .. } if carries(work) => Some(*action),
            _ => None,
        })
        .collect();
    let mut again = BTreeSet::new();
    for record in &events {
        if let Event::ApprovalAsked { approval, subject: Subject::RunAgain { action }, .. } = &record.event
            && actions.contains(action)
        {
            again.insert(approval.clone());
        }
    }
    let agreed = |record: &&Record<Event>| matches!(&record.event, Event::ApprovalAnswered { approval, answer: Answer::Granted, .. } if again.contains(approval));
    let yes = events.iter().filter(agreed).count() as u64;
    if times > 1 + yes {
        return Err(format!(
            "promise 2: call {} of {} took effect {times} times, a person agreed to {yes} repeats\n{}",
            call.id,
            run.session,
            tail(eyes, run.session)
        ));
    }
    Ok(())
}

/// After the faults have stopped and everything came to rest.
pub(crate) fn at_rest(eyes: &Memory, sessions: &BTreeSet<SessionId>) -> Result<(), String> {
    let verified = now(eyes.verify()).map_err(|e| format!("promise 1: {e}"))?;
    if let Some(damage) = verified.damage.first() {
        return Err(format!("promise 1: {damage:?}"));
    }
    let mut trees: BTreeMap<SessionId, Vec<SessionId>> = BTreeMap::new();
    for &id in sessions {
        let state = replay(eyes, id)?;
        trees.entry(state.root()).or_default().push(id);
        if state.end.is_none() {
            return Err(format!(
                "promise 1: {id} neither ends nor says why: {} {:?} {:?}",
                state.status(state.at),
                state.pause,
                state.running
            ));
        }
    }
    trees.keys().try_for_each(|&root| budget(eyes, root))
}

/// Promise 12: the journal folds to the same state twice, with and without snapshots. Promises 3, 4, 8 on the way.
fn replay(eyes: &Memory, id: SessionId) -> Result<Session, String> {
    let events = records(eyes, id)?;
    let mut state = Session::new(id);
    for record in &events {
        explained(&state, &record.event).map_err(|why| format!("promise 4: {id}: {why}"))?;
        state
            .apply(record.at, &record.event)
            .map_err(|e| format!("promise 12: {id} at {}: {e}", record.seq))?;
    }
    let snapped = now(store::session(eyes, id)).map_err(|e| format!("promise 12: {id}: {e}"))?;
    let bytes = |state: &Session| serde_json::to_vec(state).unwrap_or_default();
    if snapped.as_ref().map(bytes) != Some(bytes(&state)) {
        return Err(format!("promise 12: {id} folds to two states"));
    }
    approvals(&events).map_err(|why| format!("promise 8: {id}: {why}"))?;
    attempts(&events).map_err(|why| format!("promise 3: {id}: {why}"))?;
    Ok(state)
}

/// Every queued intent that was not chosen has a reason.
fn explained(state: &Session, event: &Event) -> Result<(), String> {
    let Event::Selected { intent, others, .. } = event else { return Ok(()) };
    for queued in state.queue.iter().filter(|queued| Some(queued.id) != *intent) {
        let reason = others.iter().find(|other| other.intent == Some(queued.id));
        if reason.is_none_or(|other| other.why.is_empty()) {
            return Err(format!("nothing says why {:?} waited", queued.wish));
        }
    }
    Ok(())
}

/// Each approval starts at most one attempt, and only after a yes.
fn approvals(events: &[Record<Event>]) -> Result<(), String> {
    let (mut yes, mut used) = (BTreeSet::new(), BTreeSet::new());
    for record in events {
        match &record.event {
            Event::ApprovalAnswered { approval, answer: Answer::Granted, .. } => {
                yes.insert(approval.clone());
            }
            Event::Started { approval: Some(approval), .. } if !yes.contains(approval) => {
                return Err(format!("{approval} was used without a yes"));
            }
            Event::Started { approval: Some(approval), .. } if !used.insert(approval.clone()) => {
                return Err(format!("{approval} was used twice"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every start has exactly one end before the next start; what is external and lost is never simply started again.
fn attempts(events: &[Record<Event>]) -> Result<(), String> {
    let mut flying = None;
    let mut lost = BTreeSet::new();
    for record in events {
        match &record.event {
            Event::Started { action, attempt, class, approval, .. } => {
                if let Some(other) = flying.replace((*action, *attempt, *class)) {
                    return Err(format!("{action} started while {other:?} was in flight"));
                }
                if lost.contains(action) && approval.is_none() {
                    return Err(format!("{action} ran again although nobody knows what it did"));
                }
            }
            Event::Finished { outcome } => match flying.take() {
                Some((action, attempt, class)) if (action, attempt) == (outcome.action, outcome.attempt) => {
                    if class == EffectClass::External
                        && matches!(outcome.end, End::Unknown | End::Cancelled | End::TimedOut)
                    {
                        lost.insert(action);
                    }
                }
                other => return Err(format!("{} finished while {other:?} was in flight", outcome.action)),
            },
            _ => {}
        }
    }
    Ok(())
}

/// Promise 5: settled + held <= cap at every event of the ledger, unless an overshoot is on record.
fn budget(eyes: &Memory, root: SessionId) -> Result<(), String> {
    let events: Vec<Record<LedgerEvent>> =
        now(store::records(eyes, StreamId::Tree(root))).map_err(|e| format!("promise 5: {e}"))?;
    let mut ledger = Ledger::new(root);
    let mut over = false;
    for record in &events {
        over |= matches!(record.event, LedgerEvent::Overshoot { .. });
        ledger.apply(&record.event).map_err(|e| format!("promise 5: tree {root} at {}: {e}", record.seq))?;
        if !over && !ledger.sound() {
            return Err(format!("promise 5: tree {root} is over its cap at {}", record.seq));
        }
    }
    Ok(())
}
