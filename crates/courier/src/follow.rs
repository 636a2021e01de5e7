//! What is new in all sessions since the last look: notices, spans and failures.
//!
//! Reads committed records through the Journal port. Start at [`Follow::look`].

use crate::cursor::Cursor;
use contract::action::End;
use contract::event::Event;
use contract::journal::{Error, Journal, Listed};
use contract::record::{self, Record};
use contract::{Digest, Seq, SessionId, StreamId, Timestamp};
use kernel::Session;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use telemetry::faults::{Faults, Fingerprint};
use telemetry::notice::{self, Notice};
use telemetry::otlp::trace::Tracer;
use telemetry::sentry::AGAIN_MS;

/// Records read at once.
const PAGE: usize = 1_000;

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Notices, each with the goal it is about.
    pub(crate) notices: Vec<(Notice, Digest)>,
    pub(crate) spans: Vec<Value>,
}

/// An unfinished session as this process has read it.
struct Live {
    state: Session,
    tracer: Tracer,
}

/// A place in every session, and what is known of those that go on.
pub(crate) struct Follow {
    cursor: Cursor,
    live: BTreeMap<SessionId, Live>,
    open: BTreeSet<SessionId>,
    faults: Faults,
    /// When a failure was last told.
    told: BTreeMap<String, Timestamp>,
    /// Failures that came since.
    fresh: BTreeSet<String>,
}

impl Follow {
    pub(crate) fn open(dir: &Path, began: Timestamp) -> Self {
        let cursor = Cursor::open(dir, began);
        let (live, open, told, fresh) = Default::default();
        Self { cursor, live, open, faults: Faults::default(), told, fresh }
    }

    /// What is new. A session that cannot be read is passed over.
    pub(crate) async fn look(&mut self, journal: &dyn Journal) -> Result<Found, Error> {
        let mut found = Found::default();
        let listed = journal.sessions(false).await?;
        self.open = listed.iter().filter(|it| !it.ended).map(|it| it.session).collect();
        for Listed { session, head, ended } in listed.into_iter().rev() {
            let Some((after, since)) = self.cursor.after(session, head.seq, ended) else { continue };
            match self.session(journal, session, after, since, &mut found).await {
                Ok(at) => self.cursor.taken(session, at),
                Err(Error::Corrupt(why)) => {
                    tracing::warn!(%session, why, "passed over");
                    self.live.remove(&session);
                    self.cursor.taken(session, head.seq);
                }
                Err(error) => {
                    // What was found before is told; the rest is found the next time.
                    tracing::warn!(%session, %error, "not read");
                    break;
                }
            }
        }
        Ok(found)
    }

    /// What was found has been put down: it is not found again.
    pub(crate) fn keep(&mut self, now: Timestamp) {
        let open = &self.open;
        self.cursor.keep(now, |id| open.contains(&id));
    }

    /// Failures to be told of now: those that came since they were last told, an hour ago or never.
    pub(crate) fn failures(&mut self, now: Timestamp) -> Vec<Fingerprint> {
        let told = &mut self.told;
        let due = |one: &&Fingerprint| told.get(&one.id).is_none_or(|at| at.plus(AGAIN_MS) <= now);
        let fresh = &self.fresh;
        let all = self.faults.all();
        let due: Vec<Fingerprint> =
            all.into_iter().filter(|one| fresh.contains(&one.id)).filter(due).cloned().collect();
        for one in &due {
            self.fresh.remove(&one.id);
            told.insert(one.id.clone(), now);
        }
        told.retain(|_, at| at.plus(AGAIN_MS) > now);
        due
    }

    /// Reads one session to its end; the last record. What stands before the first news is folded and not told.
    async fn session(
        &mut self,
        journal: &dyn Journal,
        id: SessionId,
        after: Seq,
        since: Timestamp,
        found: &mut Found,
    ) -> Result<Seq, Error> {
        let new = || Live { state: Session::new(id), tracer: Tracer::new(id) };
        // Left out of the map while it is read: dropped half-way, it is read anew.
        let mut live = self.live.remove(&id).unwrap_or_else(new);
        let mut worth: Vec<Record<Event>> = Vec::new();
        loop {
            let at = live.state.seq;
            let page = journal.read(StreamId::Session(id), at, PAGE).await?;
            for stored in &page {
                let corrupt = |why: String| Error::Corrupt(format!("event {} of {id}: {why}", stored.seq));
                let record =
                    record::decode::<Event>(&stored.bytes).map_err(|why| corrupt(why.to_string()))?;
                live.state.apply(record.at, &record.event).map_err(|why| corrupt(why.to_string()))?;
                let spans = live.tracer.record(&record);
                if record.seq > after && record.at >= since {
                    found.spans.extend(spans);
                    self.failed(id, &record);
                    worth.extend(is_worth_a_look(&record.event).then_some(record));
                }
            }
            if page.len() < PAGE {
                break;
            }
        }
        let state = &live.state;
        let goal = state.spec.as_ref().map(|spec| spec.goal).unwrap_or_default();
        let notices = worth.iter().filter_map(|record| notice::of(id, record, state));
        found.notices.extend(notices.map(|notice| (notice, goal)));
        let at = state.seq;
        if state.end.is_none() {
            self.live.insert(id, live);
        }
        Ok(at)
    }

    fn failed(&mut self, id: SessionId, record: &Record<Event>) {
        if let Event::Finished { outcome } = &record.event
            && let End::Failed(fault) = &outcome.end
        {
            let one = self.faults.add(id, record.at, fault).id.clone();
            self.fresh.insert(one);
        }
    }
}

fn is_worth_a_look(event: &Event) -> bool {
    matches!(
        event,
        Event::ApprovalAsked { .. } | Event::Asked { .. } | Event::Paused { .. } | Event::Ended { .. }
    )
}
