//! Watches the durable store with eyes of its own, record by record as it becomes durable, and checks the promises.
//!
//! Trusts nothing a process believes; each record is read, decoded and folded here once. Start at [`Oracle::absorb`]
//! (after every write) and [`Oracle::at_rest`]; what one event must not do is in `watch.rs`.

use crate::books::Books;
use crate::kinds::Cover;
use crate::node::wait;
use crate::projects::Projects;
use crate::promise::{Broken, Checked, Promise};
use crate::quotas::Quotas;
use crate::watch::Watched;
use contract::action::{EffectClass, End, Run, Work};
use contract::event::{Event, LedgerEvent};
use contract::journal::{Batch, Head, Journal, Stored};
use contract::project::ProjectEvent;
use contract::quota::QuotaEvent;
use contract::{ActionId, Digest, Fence, ProjectId, QuotaId, SessionId, StreamId};
use engine::store;
use kernel::Session;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of everything.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) sessions: BTreeMap<SessionId, Watched>,
    books: BTreeMap<SessionId, Books>,
    quotas: BTreeMap<QuotaId, Quotas>,
    projects: BTreeMap<ProjectId, Projects>,
    heads: BTreeMap<StreamId, Head>,
    fences: BTreeMap<SessionId, Fence>,
    /// Intents that somebody was told are in the inbox.
    submitted: BTreeSet<(SessionId, String)>,
    /// How often each external call really happened.
    effects: BTreeMap<(SessionId, String), u64>,
    /// Workspaces in which an action began to change something and is not on record as done.
    half: BTreeMap<SessionId, ActionId>,
    pub(crate) trace: Trace,
    pub(crate) events: u64,
}

/// A running hash over everything that happened: two runs of one seed must agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace(pub(crate) u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    pub(crate) fn mix(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
}

impl Oracle {
    pub(crate) fn state(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id).map(|watched| &watched.state)
    }

    /// Sessions that have not ended, oldest first.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.iter().filter(|(_, watched)| watched.state.end.is_none()).map(|(id, _)| *id)
    }

    /// A session changed hands.
    pub(crate) fn granted(&mut self, session: SessionId, fence: Fence) -> Checked {
        let before = self.fences.insert(session, fence).unwrap_or(0);
        let again = || format!("{session} was leased under {fence} after {before}");
        Promise::Once.holds(fence > before, again)
    }

    /// Somebody wrote to these streams, perhaps: what is new is read and checked.
    pub(crate) fn tried(
        &mut self,
        eyes: &dyn Journal,
        streams: &[(StreamId, Option<Fence>)],
        cover: &mut Cover,
    ) -> Checked {
        for (stream, fence) in streams {
            let moved = self.absorb(eyes, *stream, cover)?;
            if let (StreamId::Session(id), true, Some(fence)) = (*stream, moved, fence) {
                let newest = self.fences.get(&id).copied().unwrap_or(0);
                Promise::Once.holds(*fence == newest, || {
                    format!("{id} was written under lease {fence}; it is held under {newest}")
                })?;
            }
        }
        Ok(())
    }

    /// Reads what is new in a stream. True when something was.
    pub(crate) fn absorb(
        &mut self,
        eyes: &dyn Journal,
        stream: StreamId,
        cover: &mut Cover,
    ) -> Result<bool, Broken> {
        let seen = self.head(stream);
        let unread =
            |e| Broken { promise: Promise::Acknowledged, what: format!("{stream} cannot be read: {e}") };
        let fresh = wait(eyes.read(stream, seen.seq, usize::MAX)).map_err(unread)?;
        for stored in &fresh {
            self.record(stream, stored, cover)?;
        }
        Ok(!fresh.is_empty())
    }

    fn head(&self, stream: StreamId) -> Head {
        self.heads.get(&stream).copied().unwrap_or_else(|| Head { seq: 0, hash: journal::genesis(stream) })
    }

    fn record(&mut self, stream: StreamId, stored: &Stored, cover: &mut Cover) -> Checked {
        let seen = self.head(stream);
        let hash = Digest::chain(&seen.hash, &stored.bytes);
        Promise::Chain.holds(stored.seq == seen.seq + 1 && stored.hash == hash, || {
            format!("{stream}: event {} does not follow event {} by its hash", stored.seq, seen.seq)
        })?;
        self.heads.insert(stream, Head { seq: stored.seq, hash });
        self.events += 1;
        self.trace.mix(u64::from_le_bytes(std::array::from_fn(|at| hash.0[at])));
        let number = |seq| {
            Promise::Chain
                .holds(seq == stored.seq, || format!("{stream}: event {} says it is {seq}", stored.seq))
        };
        let unread = |e| Broken { promise: Promise::Chain, what: format!("{stream}: {e}") };
        match stream {
            StreamId::Session(id) => {
                let record = store::decode::<Event>(stream, stored.seq, &stored.bytes).map_err(unread)?;
                number(record.seq)?;
                self.refused(id, &record.event)?;
                self.whole_again(id, &record.event);
                let watched = self.sessions.entry(id).or_insert_with(|| Watched::new(id));
                watched.record(&record, cover)
            }
            StreamId::Tree(root) => {
                let record =
                    store::decode::<LedgerEvent>(stream, stored.seq, &stored.bytes).map_err(unread)?;
                number(record.seq)?;
                cover.met(&record.event);
                self.books.entry(root).or_default().enter(root, &record.event)
            }
            StreamId::Quota(id) => {
                let record =
                    store::decode::<QuotaEvent>(stream, stored.seq, &stored.bytes).map_err(unread)?;
                number(record.seq)?;
                cover.met(&record.event);
                if let QuotaEvent::Settled { end, .. } = &record.event {
                    cover.met(end);
                }
                self.quotas.entry(id).or_default().enter(record.at, &record.event)
            }
            StreamId::Project(id) => {
                let record =
                    store::decode::<ProjectEvent>(stream, stored.seq, &stored.bytes).map_err(unread)?;
                number(record.seq)?;
                cover.met(&record.event);
                self.projects.entry(id).or_default().enter(record.at, &record.event)
            }
            // Nobody of the simulated world writes there.
            StreamId::Board(id) => {
                Promise::Chain.holds(false, || format!("the files of {id} were changed by nobody"))
            }
            StreamId::Loop(id) => Promise::Chain.holds(false, || format!("{id} has no loop that runs")),
        }
    }

    /// A no from the budget is one that the books bear out, as far as that can be told from outside.
    fn refused(&self, id: SessionId, event: &Event) -> Checked {
        let Event::Paused { why, what, .. } = event else { return Ok(()) };
        let root = self.state(id).map_or(id, Session::root);
        let unknown = why == "budget" && what.contains("no account");
        let known = self.books.get(&root).is_some_and(|books| books.has(id));
        Promise::Budget
            .holds(!(unknown && known), || format!("{id} has an account, and was told that it has none"))
    }

    /// A process died with this on its way. All of it is there or nothing; nothing, where it never reached the disk.
    pub(crate) fn doubt(
        &mut self,
        eyes: &dyn Journal,
        batch: &Batch,
        durable: bool,
        cover: &mut Cover,
    ) -> Checked {
        let mut there = 0;
        let written: Vec<_> = batch.appends.iter().filter(|append| !append.records.is_empty()).collect();
        for append in &written {
            let seen = self.head(append.stream).seq;
            let fresh = wait(eyes.read(append.stream, seen, usize::MAX)).unwrap_or_default();
            let same = fresh.iter().map(|stored| &stored.bytes).eq(&append.records);
            Promise::Chain.holds(fresh.is_empty() || same, || {
                format!("{} holds {} record(s) that nobody wrote", append.stream, fresh.len())
            })?;
            // Somebody who built on it may have been told first: then it is there, and read already.
            let told = append.expected < seen && {
                let all = wait(eyes.read(append.stream, append.expected, append.records.len()));
                all.unwrap_or_default().iter().map(|stored| &stored.bytes).eq(&append.records)
            };
            there += usize::from(same || told);
        }
        Promise::Chain.holds(there == 0 || there == written.len(), || {
            format!("a batch over {} streams is there in {there} of them", written.len())
        })?;
        Promise::Chain.holds(durable || there == 0, || "what never reached the disk is there".into())?;
        written.iter().try_for_each(|append| self.absorb(eyes, append.stream, cover).map(drop))
    }

    /// After a crash: what somebody was told is durable is there, and is what it was (I1).
    pub(crate) fn after_crash(&self, eyes: &dyn Journal) -> Checked {
        for (stream, head) in &self.heads {
            let found = wait(eyes.head(*stream)).unwrap_or_default();
            Promise::Acknowledged.holds(found == *head, || {
                format!("{stream} was acknowledged up to event {}, the store has {}", head.seq, found.seq)
            })?;
        }
        Ok(())
    }

    /// An attempt is about to begin: its start is durable (I5), nothing else flies (I4), its conversation is whole.
    pub(crate) fn launched(&self, run: &Run) -> Checked {
        let running = self.state(run.session).and_then(|state| state.running.as_ref());
        let own = running.is_some_and(|a| (a.action, a.attempt) == (run.action, run.attempt));
        let session = run.session;
        Promise::DurableFirst.holds(own, || {
            format!("action {} of {session} runs, but its start is not on record", run.action)
        })?;
        if !matches!(run.work, Work::Model { .. }) {
            return Ok(());
        }
        let mut open: Vec<&str> = Vec::new();
        for item in &run.context.items {
            match &item.call {
                Some(call) => {
                    let at = open.iter().position(|id| id == call);
                    let Some(at) = at else {
                        return Promise::Conversation
                            .broken(format!("{session}: a result for call {call}, which is not open"));
                    };
                    open.swap_remove(at);
                }
                None if !open.is_empty() => break,
                None => open.extend(item.calls.iter().map(|(id, _, _)| id.as_str())),
            }
        }
        Promise::Conversation.holds(open.is_empty(), || format!("{session}: calls {open:?} have no result"))
    }

    /// An attempt begins in its workspace: half a change that lies there is taken back first, by who left it there.
    pub(crate) fn begun(&mut self, run: &Run) -> Checked {
        let session = run.session;
        // The workspace has to stand before something in it can be taken back.
        if matches!(run.work, Work::Prepare) {
            return Ok(());
        }
        if let Some(left) = self.half.get(&session) {
            let back = run.action == *left && run.restore;
            Promise::Half.holds(back, || {
                format!(
                    "{session}: {}/{} ({}) begins on half a change that {left} left",
                    run.action,
                    run.attempt,
                    run.work.name()
                )
            })?;
        }
        // Checks work in checkouts that are thrown away.
        if run.class == EffectClass::Staged && !matches!(run.work, Work::Check { .. }) {
            self.half.insert(session, run.action);
        }
        Ok(())
    }

    /// What is on record as done is not half a change any more.
    fn whole_again(&mut self, id: SessionId, event: &Event) {
        if let Event::Finished { outcome } = event
            && matches!(outcome.end, End::Done(_))
            && self.half.get(&id) == Some(&outcome.action)
        {
            self.half.remove(&id);
        }
    }

    /// What a process believes is what the journal says (I3).
    pub(crate) fn same(&self, own: &Session) -> Checked {
        let Some(state) = self.state(own.id) else { return Ok(()) };
        Promise::Fold.holds(own == state, || {
            format!(
                "{} is at {} in its process and at {} in the journal, or differs",
                own.id, own.seq, state.seq
            )
        })
    }

    /// An external call happens: at most once, and once more for each time a person said so (I6).
    pub(crate) fn effect(&mut self, run: &Run) -> Checked {
        let Some(call) = external(run) else { return Ok(()) };
        let times = self.effects.entry((run.session, call.to_owned())).or_default();
        *times += 1;
        let yes = self.sessions.get(&run.session).map_or(0, |watched| watched.repeats(call));
        Promise::Unknown.holds(*times <= 1 + yes, || {
            format!(
                "call {call} of {} took effect {times} times, a person agreed to {yes} repeats",
                run.session
            )
        })
    }

    /// Somebody was told that this intent is in the inbox.
    pub(crate) fn submitted(&mut self, session: SessionId, key: &str) {
        self.submitted.insert((session, key.to_owned()));
    }

    /// After the faults have stopped and everything came to rest.
    pub(crate) fn at_rest(&self, eyes: &dyn Journal) -> Checked {
        let unread =
            |e| Broken { promise: Promise::Acknowledged, what: format!("the store cannot be read: {e}") };
        self.after_crash(eyes)?;
        let verified = wait(eyes.verify()).map_err(unread)?;
        // Snapshots of another history were put there on purpose, and are to be noticed.
        let damage: Vec<_> =
            verified.damage.iter().filter(|found| !found.what.starts_with("snapshot")).collect();
        Promise::Chain.holds(damage.is_empty(), || format!("{damage:?}"))?;
        let open = wait(eyes.sessions(true)).map_err(unread)?;
        Promise::Liveness.holds(open.is_empty(), || format!("listed as unfinished: {open:?}"))?;
        for (id, watched) in &self.sessions {
            let again = wait(store::session(eyes, *id)).map_err(unread)?;
            let bytes = |state: &Session| serde_json::to_vec(state).unwrap_or_default();
            Promise::Fold.holds(again.as_ref().map(bytes) == Some(bytes(&watched.state)), || {
                format!("{id} is another one when it is read again")
            })?;
        }
        for (session, key) in &self.submitted {
            let taken = self.sessions.get(session).is_some_and(|watched| watched.took(key));
            let waits = || wait(eyes.inbox(*session)).unwrap_or_default();
            let there = taken || waits().iter().any(|mail| mail.intent.as_ref().is_ok_and(|i| i.key == *key));
            Promise::Acknowledged.holds(there, || format!("intent {key} for {session} is gone"))?;
        }
        self.books.iter().try_for_each(|(root, books)| books.at_rest(*root))
    }

    /// The last that is known of some sessions, for the reader of a failing seed.
    pub(crate) fn describe(&self, ids: &[SessionId]) -> String {
        let one = |id: &SessionId| self.sessions.get(id).map(Watched::describe);
        ids.iter().filter_map(one).collect::<Vec<_>>().join("\n")
    }
}

/// The call whose effect shows outside, if this run has one.
pub(crate) fn external(run: &Run) -> Option<&str> {
    let Work::Tools { calls } = &run.work else { return None };
    calls.iter().find(|call| call.tool == "external").map(|call| call.id.as_str())
}
