//! Records to values: counters grow with each record, gauges are read off the kernel's own folds of what is unfinished.
//!
//! Knows no store; who reads gives each record once and in its stream's order. Start at [`Measures`]: `session`, `tree`
//! and `quota` take records in, [`Measures::sheet`] gives the values of a moment.

use crate::faults::Faults;
use crate::metric as m;
use crate::sheet::Sheet;
use contract::action::{Done, End, Outcome, Work};
use contract::event::{Answer, Event, Final, LedgerEvent};
use contract::model::{CACHED, ModelRef, Usage};
use contract::quota::{CallEnd, QuotaEvent};
use contract::record::Record;
use contract::{ActionId, Amount, QuotaId, SessionId, StreamId, Timestamp};
use kernel::ledger::Ledger;
use kernel::quota::{Quota, health::Breaker};
use kernel::{Session, view};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Money that no model was asked for.
const NO_MODEL: &str = "none";
/// What a value per million stands for.
const MILLION: u64 = 1_000_000;
/// Quotas whose streams are followed.
const QUOTAS: usize = 64;

/// Model calls of one action that are not paid yet, and payments whose call is not known yet.
#[derive(Debug, Default)]
struct Bill {
    models: VecDeque<String>,
    nanos: VecDeque<u64>,
}

/// What is known after so many records.
#[derive(Debug, Default)]
pub struct Measures {
    counted: Sheet,
    /// Unfinished sessions.
    live: BTreeMap<SessionId, Session>,
    ended: BTreeMap<Final, u64>,
    /// Ledgers of trees whose root is unfinished.
    trees: BTreeMap<SessionId, Ledger>,
    quotas: BTreeMap<QuotaId, Quota>,
    bills: BTreeMap<(SessionId, ActionId), Bill>,
    damaged: BTreeSet<StreamId>,
    faults: Faults,
}

impl Measures {
    /// A record of a session. False: it does not fit what came before, and the session counts as damaged.
    pub fn session(&mut self, id: SessionId, record: &Record<Event>) -> bool {
        let stream = StreamId::Session(id);
        if self.damaged.contains(&stream) {
            return false;
        }
        if let Event::Opened { spec } = &record.event {
            let models = spec.fallback.iter().chain([&spec.model]);
            models.for_each(|model| self.know(model));
            self.counted.add(&m::OPENED, &[], 1);
            self.live.insert(id, Session::new(id));
        }
        self.count(id, record);
        let Some(state) = self.live.get_mut(&id) else { return true };
        if state.apply(record.at, &record.event).is_err() {
            self.damaged(stream);
            return false;
        }
        if let Event::Ended { state, .. } = &record.event {
            *self.ended.entry(*state).or_default() += 1;
            self.live.remove(&id);
            self.trees.remove(&id);
        }
        true
    }

    /// A record of a tree's ledger, whose root's stream has been read before.
    pub fn tree(&mut self, root: SessionId, record: &Record<LedgerEvent>) {
        match &record.event {
            LedgerEvent::Opened { .. } if self.live.contains_key(&root) => {
                self.trees.insert(root, Ledger::new(root));
            }
            LedgerEvent::Settled { session, action, used } => self.paid(*session, *action, used.nanos),
            LedgerEvent::Overshoot { .. } => self.counted.add(&m::OVERSHOOTS, &[], 1),
            _ => {}
        }
        if let Some(ledger) = self.trees.get_mut(&root)
            && ledger.apply(&record.event).is_err()
        {
            self.trees.remove(&root);
            self.damaged(StreamId::Tree(root));
        }
    }

    /// A record of a key's ledger.
    pub fn quota(&mut self, id: QuotaId, record: &Record<QuotaEvent>) {
        let quota = self.quotas.entry(id).or_default();
        if let QuotaEvent::Settled { end, .. } = &record.event {
            let end = match end {
                CallEnd::Answered => "answered",
                CallEnd::Limited { .. } => "limited",
                CallEnd::Down { .. } => "down",
                CallEnd::Refused => "refused",
                CallEnd::Unknown => "unknown",
            };
            self.counted.add(&m::PROVIDER_ENDS, &[&quota.name, end], 1);
        }
        if quota.apply(record.at, &record.event).is_err() {
            self.damaged(StreamId::Quota(id));
        }
    }

    /// This stream cannot be read any further.
    pub fn damaged(&mut self, stream: StreamId) {
        if let StreamId::Session(id) = stream {
            self.live.remove(&id);
        }
        self.damaged.insert(stream);
    }

    /// Can this stream still be read?
    pub fn is_damaged(&self, stream: StreamId) -> bool {
        self.damaged.contains(&stream)
    }

    /// The root of this session's tree, while the session is unfinished.
    pub fn root(&self, id: SessionId) -> Option<SessionId> {
        self.live.get(&id).map(Session::root)
    }

    /// Keys of providers that sessions named.
    pub fn quotas(&self) -> Vec<QuotaId> {
        self.quotas.keys().copied().collect()
    }

    /// What failed, by fingerprint.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Everything that was there has been taken in: what ended sessions left unpaid is nobody's.
    pub fn tidy(&mut self) {
        let live = &self.live;
        let (kept, over) =
            std::mem::take(&mut self.bills).into_iter().partition(|((id, _), _)| live.contains_key(id));
        self.bills = kept;
        let unpaid: u64 = over.values().flat_map(|bill: &Bill| &bill.nanos).sum();
        if unpaid > 0 {
            self.counted.add(&m::SPENT, &[NO_MODEL], unpaid);
        }
    }

    /// The values of this moment; `inbox` = sessions that have mail.
    pub fn sheet(&self, now: Timestamp, inbox: u64) -> Sheet {
        let mut sheet = self.counted.clone();
        m::STATES.iter().for_each(|state| sheet.set(&m::SESSIONS, &[state], 0));
        m::WAIT_KINDS.iter().for_each(|kind| sheet.set(&m::WAITING, &[kind], 0));
        for metric in [&m::NEEDS_YOU, &m::QUIET, &m::QUEUED, &m::RESERVED, &m::FROZEN] {
            sheet.set(metric, &[], 0);
        }
        for (state, n) in &self.ended {
            sheet.set(&m::SESSIONS, &[state.name()], *n);
        }
        let damaged = self.damaged.iter().filter(|stream| matches!(stream, StreamId::Session(_))).count();
        sheet.set(&m::SESSIONS, &["damaged"], damaged as u64);
        sheet.set(&m::DAMAGED, &[], self.damaged.len() as u64);
        sheet.set(&m::INBOX, &[], inbox);
        self.live.values().for_each(|state| moment(&mut sheet, state, now));
        self.trees.iter().for_each(|(root, ledger)| budget(&mut sheet, *root, ledger));
        for quota in self.quotas.values().filter(|quota| quota.seq > 0) {
            let state = match quota.breaker_state() {
                Breaker::Closed => 0,
                Breaker::HalfOpen { .. } => 1,
                Breaker::Open { until } => {
                    if now < until {
                        2
                    } else {
                        1
                    }
                }
            };
            sheet.set(&m::BREAKER, &[&quota.name], state);
            sheet.set(&m::UNDER_WAY, &[&quota.name], quota.under_way(now));
        }
        sheet
    }

    fn know(&mut self, model: &ModelRef) {
        if let Some(quota) = &model.quota
            && self.quotas.len() < QUOTAS
        {
            self.quotas.entry(QuotaId::of(&quota.name)).or_default();
        }
    }

    fn count(&mut self, id: SessionId, record: &Record<Event>) {
        let counted = &mut self.counted;
        match &record.event {
            Event::Started {
                action,
                work: Work::Model { model, .. } | Work::Summarise { model, .. },
                ..
            } => {
                self.called(id, *action, model_label(model));
            }
            Event::Finished { outcome } => self.finished(id, record.at, outcome),
            Event::Stale { .. } => counted.add(&m::STALE, &[], 1),
            Event::Submitted { intent } => {
                let source = format!("{:?}", intent.source).to_lowercase();
                counted.add(&m::INTENTS, &[&source, intent.wish.name()], 1);
            }
            Event::ApprovalAsked { .. } => counted.add(&m::APPROVALS, &["asked"], 1),
            Event::ApprovalAnswered { answer, .. } => {
                let answer = match answer {
                    Answer::Granted => "granted",
                    Answer::Denied => "denied",
                    Answer::Expired => "expired",
                    Answer::Withdrawn => "withdrawn",
                };
                counted.add(&m::APPROVALS, &[answer], 1);
            }
            Event::Judged { verdict, .. } => {
                counted.add(&m::VERDICTS, &[&verdict.name().to_lowercase()], 1);
            }
            Event::Waits { why, until, .. } if *until > record.at => counted.add(&m::WAITS, &[why], 1),
            Event::FellBack { to, .. } => {
                counted.add(&m::FALLBACKS, &[], 1);
                self.know(to);
            }
            Event::Resumed { model: Some(model) } => self.know(model),
            Event::Recovered { did, .. } => counted.add(&m::RECOVERIES, &[did], 1),
            Event::Cut { .. } | Event::Compacted { .. } => counted.add(&m::COMPACTIONS, &[], 1),
            Event::Ended { state, code, .. } => {
                counted.add(&m::ENDED, &[state.name(), &code.to_string()], 1);
            }
            _ => {}
        }
    }

    fn finished(&mut self, id: SessionId, at: Timestamp, outcome: &Outcome) {
        if let End::Failed(fault) = &outcome.end {
            self.counted.add(&m::FAULTS, &[fault.kind.name(), &fault.code], 1);
            self.faults.add(id, at, fault);
        }
        let running = self.live.get(&id).and_then(|state| state.running.as_ref());
        let Some(run) = running.filter(|run| run.action == outcome.action) else { return };
        let (sheet, kind, end) = (&mut self.counted, run.work.name(), end_name(&outcome.end));
        let ms = at.since(run.started);
        sheet.add(&m::ACTIONS, &[kind, end], 1);
        sheet.observe(&m::ACTION_TIME, &[kind], ms);
        match &run.work {
            Work::Model { model, .. } | Work::Summarise { model, .. } => {
                said(sheet, &model_label(model), ms, end, &outcome.end);
            }
            Work::Tools { calls } => {
                for call in calls {
                    let word = match &outcome.end {
                        End::Done(Done::Ran { results, .. }) => {
                            let ok = results.iter().any(|result| result.call == call.id && result.ok);
                            if ok { "ok" } else { "error" }
                        }
                        _ => end,
                    };
                    sheet.add(&m::TOOLS, &[&call.tool, word], 1);
                }
            }
            _ => {}
        }
    }

    /// A model is asked: what is paid for this action is paid for it.
    fn called(&mut self, session: SessionId, action: ActionId, model: String) {
        let bill = self.bills.entry((session, action)).or_default();
        match bill.nanos.pop_front() {
            Some(nanos) => self.counted.add(&m::SPENT, &[&model], nanos),
            None => bill.models.push_back(model),
        }
    }

    fn paid(&mut self, session: SessionId, action: ActionId, nanos: u64) {
        let model = self.bills.get_mut(&(session, action)).and_then(|bill| bill.models.pop_front());
        match model {
            Some(model) => self.counted.add(&m::SPENT, &[&model], nanos),
            // A call whose beginning has not been read yet, or no call of a model.
            None if nanos > 0 => self.bills.entry((session, action)).or_default().nanos.push_back(nanos),
            None => {}
        }
        self.bills.retain(|key, bill| {
            *key != (session, action) || !(bill.models.is_empty() && bill.nanos.is_empty())
        });
    }
}

/// What a model's call came to.
fn said(sheet: &mut Sheet, model: &str, ms: u64, end: &str, how: &End) {
    let (usage, request) = match how {
        End::Done(Done::Said { usage, request_id, .. } | Done::Summarised { usage, request_id, .. }) => {
            (*usage, request_id.as_str())
        }
        _ => (Usage::default(), ""),
    };
    if request.starts_with(CACHED) {
        sheet.add(&m::KEPT_REPLIES, &[model], 1);
        return;
    }
    sheet.add(&m::CALLS, &[model, end], 1);
    sheet.observe(&m::CALL_TIME, &[model], ms);
    for (kind, n) in [
        ("input", usage.input),
        ("output", usage.output),
        ("cache_read", usage.cache_read),
        ("cache_write", usage.cache_write),
    ] {
        sheet.add(&m::TOKENS, &[model, kind], n);
    }
}

/// The word for an end.
pub(crate) fn end_name(end: &End) -> &'static str {
    match end {
        End::Done(_) => "done",
        End::Failed(_) => "failed",
        End::Cancelled => "cancelled",
        End::TimedOut => "timed-out",
        End::Unknown => "unknown",
    }
}

/// A model as others may see it: without the path of a script.
pub(crate) fn model_label(id: &str) -> String {
    match id.split_once(':') {
        Some((own, _)) if own.starts_with("builtin/") => own.to_owned(),
        _ => id.to_owned(),
    }
}

/// What an unfinished session adds to the gauges.
fn moment(sheet: &mut Sheet, state: &Session, now: Timestamp) {
    sheet.add(&m::SESSIONS, &[state.status(now)], 1);
    sheet.add(&m::QUEUED, &[], state.queue.len() as u64);
    if let Some(run) = &state.running {
        sheet.add(&m::RUNNING, &[run.work.name()], 1);
        sheet.raise(&m::QUIET, &[], now.since(state.at));
    }
    if let Some(waits) = view::waits(state, now) {
        sheet.add(&m::WAITING, &[waits.kind], 1);
        if m::NEED_KINDS.contains(&waits.kind) {
            sheet.raise(&m::NEEDS_YOU, &[], now.since(state.at));
        }
    }
}

/// What an unfinished tree adds to the gauges.
fn budget(sheet: &mut Sheet, root: SessionId, ledger: &Ledger) {
    let (cap, held) = (ledger.cap(root), ledger.held(root));
    let used: Amount = ledger.settled(root).plus(held);
    sheet.add(&m::RESERVED, &[], held.nanos);
    sheet.add(&m::FROZEN, &[], u64::from(ledger.frozen()));
    for (unit, cap, used) in [
        ("money", cap.nanos, used.nanos),
        ("tokens", cap.tokens, used.tokens),
        ("steps", cap.steps, used.steps),
        ("time", cap.time_ms, used.time_ms),
    ] {
        if cap != u64::MAX && cap > 0 {
            let part = u128::from(used) * u128::from(MILLION) / u128::from(cap);
            sheet.raise(&m::BUDGET, &[unit], u64::try_from(part).unwrap_or(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests;
