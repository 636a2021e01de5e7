//! A small world around the kernel: journal, mail, clock and executor as plain values, and the promises checked after
//! every single decision.
//!
//! Knows nothing of storage or time. Start at [`World::feed`]; stories mostly use [`World::end`] and [`World::play`].

use crate::make;
use contract::action::{Done, Effect, EffectClass, End, Item, Outcome, Role, Run, Work};
use contract::checks::Status;
use contract::event::{Answer, Event, LedgerEvent};
use contract::intent::{Intent, Source, Wish};
use contract::quota::QuotaEvent;
use contract::record::Record;
use contract::session::SessionSpec;
use contract::{ActionId, Amount, QuotaId, SessionId, StreamId, Timestamp};
use kernel::fsm::Phase;
use kernel::further::{Book, Facts, Further, needed};
use kernel::governor::Slots;
use kernel::ledger::Ledger;
use kernel::{Ctx, Decision, Governor, Illegal, Input, Session};
use std::collections::{BTreeMap, BTreeSet};

/// The root session of most stories.
pub(crate) const ROOT: SessionId = SessionId(1);
/// Where every story's clock begins.
pub(crate) const BEGIN: u64 = 1_000_000;
const SLOTS: Slots = Slots { model: 64, tool: 64, check: 64, workspace: 64 };

/// One session as this world holds it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) state: Session,
    pub(crate) events: Vec<Record<Event>>,
    /// Folded from the events alone, after a trip through JSON.
    shadow: Session,
    /// The action in flight, as the executor sees it.
    pub(crate) flight: Option<Run>,
    /// The newest attempt that was cancelled, and how urgently.
    pub(crate) cancelled: Option<(ActionId, bool)>,
    pub(crate) wake_at: Option<Timestamp>,
    /// The newest wake-up that was kept.
    ticked: Timestamp,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) fence: u64,
    pub(crate) hold: bool,
    pub(crate) governor: Governor,
    pub(crate) sessions: BTreeMap<SessionId, Live>,
    pub(crate) ledgers: BTreeMap<SessionId, Vec<LedgerEvent>>,
    /// Facts of the ledgers that many sessions share.
    pub(crate) shared: BTreeMap<StreamId, Vec<(Timestamp, Facts)>>,
    pub(crate) inbox: BTreeMap<SessionId, Vec<Intent>>,
    keys: BTreeSet<(SessionId, String)>,
    ids: BTreeSet<SessionId>,
    wakes: BTreeSet<SessionId>,
    counter: u128,
    /// Every external call that took effect, as often as it did.
    pub(crate) effects: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_slots(SLOTS)
    }

    pub(crate) fn with_slots(slots: Slots) -> Self {
        Self {
            now: BEGIN,
            fence: 1,
            hold: false,
            governor: Governor::new(slots),
            sessions: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            shared: BTreeMap::new(),
            inbox: BTreeMap::new(),
            keys: BTreeSet::new(),
            ids: BTreeSet::new(),
            wakes: BTreeSet::new(),
            counter: 0,
            effects: Vec::new(),
        }
    }

    /// A world with one open session, prepared, its first model call in flight.
    pub(crate) fn working(spec: SessionSpec) -> Self {
        let mut world = Self::new();
        world.open(ROOT, spec);
        world.end(ROOT, make::prepared());
        world
    }

    pub(crate) fn open(&mut self, id: SessionId, spec: SessionSpec) -> Decision {
        self.sessions.insert(id, Live::new(id));
        self.feed(id, Input::Open(Box::new(spec)))
    }

    pub(crate) fn state(&self, id: SessionId) -> &Session {
        &self.sessions[&id].state
    }

    pub(crate) fn root(&self) -> &Session {
        self.state(ROOT)
    }

    pub(crate) fn events(&self, id: SessionId) -> impl DoubleEndedIterator<Item = &Event> {
        self.sessions[&id].events.iter().map(|record| &record.event)
    }

    pub(crate) fn ledger(&self, root: SessionId) -> &Ledger {
        self.governor.peek(root).expect("a ledger")
    }

    fn ctx(&mut self) -> Ctx {
        self.counter += 1;
        let random = self.counter.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        Ctx { now: Timestamp(self.now), random, fence: self.fence, hold: self.hold }
    }

    /// One input, one decision, everything checked.
    pub(crate) fn feed(&mut self, id: SessionId, input: Input) -> Decision {
        self.try_feed(id, input).unwrap_or_else(|illegal| panic!("illegal: {illegal}"))
    }

    pub(crate) fn try_feed(&mut self, id: SessionId, input: Input) -> Result<Decision, Illegal> {
        let ctx = self.ctx();
        let live = self.sessions.get_mut(&id).expect("a session");
        for stream in needed(&live.state, &input) {
            if !self.governor.has(stream) {
                self.governor.put(stream, self.refolded(stream));
            }
        }
        let live = self.sessions.get_mut(&id).expect("a session");
        let decision = kernel::decide(&mut live.state, &mut self.governor, input, &ctx)?;
        self.record(id, &decision);
        self.check(id, &decision);
        self.dispatch(id, &decision);
        Ok(decision)
    }

    /// A ledger that many sessions share, from its facts alone.
    pub(crate) fn refolded(&self, stream: StreamId) -> Book {
        let mut book = Book::new(stream).expect("a shared ledger");
        for (at, facts) in self.shared.get(&stream).into_iter().flatten() {
            match (&mut book, facts) {
                (Book::Quota(quota), Facts::Quota(facts)) => {
                    facts.iter().for_each(|fact| quota.apply(*at, fact).expect("a fold of the quota"));
                }
                (Book::Project(project), Facts::Project(facts)) => {
                    facts.iter().for_each(|fact| project.apply(*at, fact).expect("a fold of the project"));
                }
                (book, facts) => panic!("{facts:?} in {book:?}"),
            }
        }
        book
    }

    /// A person wants what this key holds up tried, as a command puts it on record.
    pub(crate) fn lift(&mut self, id: QuotaId) {
        let (stream, lifted) =
            (StreamId::Quota(id), Facts::Quota(vec![QuotaEvent::Lifted { why: "now".into() }]));
        self.shared.entry(stream).or_default().push((Timestamp(self.now), lifted));
        self.governor.put(stream, self.refolded(stream));
    }

    fn record(&mut self, id: SessionId, decision: &Decision) {
        let at = Timestamp(self.now);
        for Further { stream, facts } in &decision.further {
            self.shared.entry(*stream).or_default().push((at, facts.clone()));
            let own = match *stream {
                StreamId::Quota(id) => self.governor.quota(id).cloned().map(|it| Book::Quota(Box::new(it))),
                StreamId::Project(_) => {
                    self.governor.project(*stream).cloned().map(|it| Book::Project(Box::new(it)))
                }
                _ => panic!("{stream} is no shared ledger"),
            };
            assert_eq!(own, Some(self.refolded(*stream)), "{stream} differs from its fold");
        }
        let live = self.sessions.get_mut(&id).expect("a session");
        for event in &decision.events {
            explained(&live.shadow, event);
            let bytes = contract::record::encode(live.shadow.seq + 1, at, event);
            let record: Record<Event> = contract::record::decode(&bytes).expect("a record");
            live.shadow.apply(record.at, &record.event).expect("a fold");
            live.events.push(record);
        }
        let root = live.state.root();
        self.ledgers.entry(root).or_default().extend(decision.ledger.iter().cloned());
        for (child, events) in &decision.children {
            assert!(self.ids.insert(*child), "an id twice");
            let mut born = Live::new(*child);
            for event in events {
                born.state.apply(at, event).expect("a child's first facts");
                born.shadow.apply(at, event).expect("a child's first facts");
                born.events.push(Record { seq: born.state.seq, at, event: event.clone() });
            }
            self.sessions.insert(*child, born);
        }
        for intent in &decision.submit {
            assert!(self.ids.insert(intent.id), "an id twice");
            self.post(intent.clone());
        }
    }

    /// The promises that must hold after every decision.
    fn check(&self, id: SessionId, decision: &Decision) {
        let live = &self.sessions[&id];
        let json = |state: &Session| serde_json::to_string(state).expect("a state is JSON");
        assert!(live.state == live.shadow, "the fold differs from the live state: {}", self.brief(id));
        let now_and_then = live.events.len() < 60 || live.state.seq.is_multiple_of(16);
        if now_and_then {
            assert_eq!(json(&live.state), json(&fold(id, &live.events)), "the fold from scratch differs");
        }
        let root = live.state.root();
        let ledger = self.governor.peek(root).expect("a ledger");
        assert!(ledger.sound(), "over the cap: {:?}", decision.ledger);
        if now_and_then {
            let mut again = Ledger::new(root);
            for event in &self.ledgers[&root] {
                again.apply(event).expect("a fold of the ledger");
                assert!(again.sound(), "over the cap: {event:?}");
            }
            assert_eq!(&again, ledger, "the ledger differs from its fold");
        }
        let runs = decision.effects.iter().filter(|effect| matches!(effect, Effect::Run(_))).count();
        assert!(runs <= 1, "two actions in one decision");
        assert!(decision.wake_at.is_none_or(|at| at.0 > self.now), "a wake-up in the past");
        if now_and_then || live.state.phase == Phase::Ended {
            one_action_in_flight(&live.events);
            half_is_taken_back_first(&live.events);
            yes_before_use(&live.events);
        }
        if live.state.phase == Phase::Paused {
            let pause = live.state.pause.as_ref().expect("a reason");
            assert!(!pause.why.is_empty() && !pause.what.is_empty() && !pause.hint.is_empty(), "{pause:?}");
        }
    }

    fn dispatch(&mut self, id: SessionId, decision: &Decision) {
        for effect in &decision.effects {
            let live = self.sessions.get_mut(&id).expect("a session");
            match effect {
                Effect::Run(run) => {
                    let on_record = decision.events.iter().any(|event| {
                        matches!(event, Event::Started { action, attempt, work, .. }
                            if (action, attempt, work) == (&run.action, &run.attempt, &run.work))
                    });
                    assert!(on_record, "an effect without its start");
                    if matches!(run.work, Work::Model { .. }) {
                        whole_conversation(&run.context.items);
                    }
                    (live.flight, live.cancelled) = (Some((**run).clone()), None);
                }
                Effect::Cancel { action, now } => live.cancelled = Some((*action, *now)),
                Effect::Wake(other) => {
                    self.wakes.insert(*other);
                }
            }
        }
        let live = self.sessions.get_mut(&id).expect("a session");
        live.wake_at = decision.wake_at;
        if live.state.running.is_none() {
            live.flight = None;
        }
    }

    /// Leaves an intent in an inbox; a repeated key is dropped, as the store does.
    pub(crate) fn post(&mut self, intent: Intent) {
        if self.keys.insert((intent.session, intent.key.clone())) {
            self.inbox.entry(intent.session).or_default().push(intent);
        }
    }

    pub(crate) fn intent(&mut self, session: SessionId, source: Source, wish: Wish) -> Intent {
        self.counter += 1;
        let id = SessionId(self.counter << 64 | 7);
        let key = format!("key {}", self.counter);
        Intent { id, session, source, wish, key, at: Timestamp(self.now), ttl_ms: None }
    }

    /// Somebody's wish, delivered at once.
    pub(crate) fn wish(&mut self, session: SessionId, source: Source, wish: Wish) -> Decision {
        let intent = self.intent(session, source, wish);
        self.feed(session, Input::Inbox(vec![Ok(intent)]))
    }

    pub(crate) fn user(&mut self, wish: Wish) -> Decision {
        self.wish(ROOT, Source::User, wish)
    }

    /// A session in one line, for a test that fails.
    pub(crate) fn brief(&self, id: SessionId) -> String {
        let s = self.state(id);
        let status = s.status(Timestamp(self.now));
        let calls: Vec<_> = s.calls.iter().map(|slot| (&slot.call.id, slot.state)).collect();
        format!(
            "{id} {status} stage {} {:?} {:?} {:?} calls {calls:?} redo {:?}",
            s.stage, s.turn, s.pause, s.end, s.redo
        )
    }

    /// The work in flight.
    pub(crate) fn flight(&self, id: SessionId) -> &Run {
        self.sessions[&id].flight.as_ref().unwrap_or_else(|| panic!("nothing runs: {}", self.brief(id)))
    }

    pub(crate) fn work(&self, id: SessionId) -> &Work {
        &self.flight(id).work
    }

    /// What the action in flight is: `model`, `tools` ...; `-` when nothing runs.
    pub(crate) fn doing(&self, id: SessionId) -> &'static str {
        self.sessions[&id].flight.as_ref().map_or("-", |run| run.work.name())
    }

    /// The action in flight ends like this.
    pub(crate) fn end(&mut self, id: SessionId, end: End) -> Decision {
        let outcome = self.outcome(id, end);
        self.now += 10;
        let decision = self.feed(id, Input::Outcome(Box::new(outcome)));
        self.unhurried(id);
        decision
    }

    /// Where most of a budget is used the next call comes a little later: this world has the time.
    fn unhurried(&mut self, id: SessionId) {
        let live = &self.sessions[&id];
        let slowed = live.state.slowed(&self.governor, Timestamp(self.now));
        if let Some(at) = slowed.filter(|at| live.wake_at == Some(*at)) {
            self.now = at.0;
            self.feed(id, Input::Tick);
        }
    }

    pub(crate) fn outcome(&mut self, id: SessionId, end: End) -> Outcome {
        let run = self.flight(id).clone();
        if run.class == EffectClass::External && matches!(end, End::Done(_)) {
            self.effects.push(run.action.to_string());
        }
        let mut used = Amount { steps: 1, time_ms: 10, ..Amount::ZERO };
        if let End::Done(Done::Said { usage, .. }) = &end {
            used.tokens = usage.input + usage.output;
            used.nanos = run.context.spec.model.card.price.map_or(0, |price| price.cost(*usage));
        }
        Outcome::new(run.action, run.attempt, end, used)
    }

    /// Tool calls in flight go well.
    pub(crate) fn tools(&mut self, id: SessionId) -> Decision {
        let end = make::ran(self.flight(id), true);
        self.end(id, end)
    }

    /// Delivers what lies in the inboxes and wakes who is to be woken. True when there was something.
    pub(crate) fn deliver(&mut self) -> bool {
        let mail = std::mem::take(&mut self.inbox);
        let wakes = std::mem::take(&mut self.wakes);
        let some = !mail.is_empty() || !wakes.is_empty();
        for (id, letters) in mail {
            if self.sessions.contains_key(&id) {
                self.feed(id, Input::Inbox(letters.into_iter().map(Ok).collect()));
            }
        }
        for id in wakes {
            if self.sessions.contains_key(&id) {
                self.feed(id, Input::Tick);
            }
        }
        some
    }

    /// Everything goes well until nothing moves by itself any more.
    pub(crate) fn play(&mut self) {
        for _ in 0..20_000 {
            if self.deliver() {
                continue;
            }
            let flying = self.sessions.iter().find(|(_, live)| live.flight.is_some()).map(|(id, _)| *id);
            if let Some(id) = flying {
                let end = self.next_end(id);
                self.end(id, end);
                continue;
            }
            let now = Timestamp(self.now);
            let waits =
                |state: &Session| state.retry_at.is_some() || state.slowed(&self.governor, now).is_some();
            let retries = self
                .sessions
                .iter()
                .filter(|(_, live)| waits(&live.state) && live.state.phase == Phase::Active);
            let due =
                retries.filter_map(|(id, live)| Some((live.wake_at.filter(|at| live.ticked < *at)?, *id)));
            let Some((at, id)) = due.min() else { return };
            self.now = self.now.max(at.0);
            self.sessions.get_mut(&id).expect("a session").ticked = at;
            self.feed(id, Input::Tick);
        }
        panic!("it never comes to rest");
    }

    /// How the action in flight ends: well. A cancelled one is cancelled.
    fn next_end(&mut self, id: SessionId) -> End {
        let live = self.sessions.get_mut(&id).expect("a session");
        let run = live.flight.as_ref().expect("a flight");
        if live.cancelled.is_some_and(|(action, _)| action == run.action) {
            return End::Cancelled;
        }
        well(run, &run.work)
    }

    /// A new process: nothing of the old one is left but what was recorded.
    pub(crate) fn restart(&mut self) {
        self.fence += 1;
        self.governor = Governor::new(SLOTS);
        for (root, events) in &self.ledgers {
            let mut ledger = Ledger::new(*root);
            events.iter().for_each(|event| ledger.apply(event).expect("a fold of the ledger"));
            self.governor.load(*root, ledger);
        }
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in &ids {
            let live = self.sessions.get_mut(id).expect("a session");
            (live.flight, live.cancelled) = (None, None);
            live.state = fold(*id, &live.events);
        }
        for id in ids {
            self.feed(id, Input::Recover);
        }
    }

    /// What a dead process had not consumed is still in the inbox: here everything was, so children are looked after.
    pub(crate) fn inbox_again(&mut self) {
        let live: Vec<SessionId> =
            self.sessions.iter().filter(|(_, l)| l.state.phase != Phase::Ended).map(|(id, _)| *id).collect();
        self.wakes.extend(live);
    }

    /// After everything came to rest: it has ended, or says what it waits for.
    pub(crate) fn at_rest(&self, id: SessionId) {
        let state = self.state(id);
        let waits = state.waiting(Timestamp(self.now)).is_some();
        assert!(
            state.phase != Phase::Active || waits,
            "neither ended nor waiting for anything: {}",
            self.brief(id)
        );
        assert!(
            state.phase != Phase::Ended || state.queue.is_empty(),
            "forgotten in the queue: {:?}",
            state.queue
        );
    }
}

impl Live {
    fn new(id: SessionId) -> Self {
        Self {
            state: Session::new(id),
            events: Vec::new(),
            shadow: Session::new(id),
            flight: None,
            cancelled: None,
            wake_at: None,
            ticked: Timestamp(0),
        }
    }
}

/// How work that goes well ends.
pub(crate) fn well(run: &Run, work: &Work) -> End {
    match work {
        Work::Prepare => make::prepared(),
        Work::Model { .. } => make::says(vec![make::finish(&format!("last{}", run.action.step))]),
        Work::Summarise { .. } => make::worded(),
        Work::Tools { .. } => make::ran(run, true),
        Work::Check { .. } => {
            make::checked(&format!("commit{}", run.action.step), Status::Failed, Status::Passed)
        }
        Work::Inspect { .. } => make::inspected(0),
        Work::Integrate { result } => make::landed(result),
        Work::Adopt { child, .. } => {
            End::Done(Done::Adopted { child: *child, clean: true, text: make::text("adopted"), bytes: 7 })
        }
        Work::Hooks { .. } => {
            End::Done(Done::Hooked { answers: Vec::new(), told: None, bytes: 0, call: None })
        }
        Work::Rewind { to } => End::Done(Done::Rewound { to: *to, undo: format!("undo {}", run.action) }),
    }
}

/// The state that events alone give.
pub(crate) fn fold(id: SessionId, events: &[Record<Event>]) -> Session {
    let mut state = Session::new(id);
    for record in events {
        state.apply(record.at, &record.event).expect("a fold");
    }
    state
}

/// Every queued intent that was not chosen has a reason, and the loop's own wish as well.
fn explained(before: &Session, event: &Event) {
    let Event::Selected { intent, others, source, why, .. } = event else { return };
    assert!(!why.is_empty());
    for queued in before.queue.iter().filter(|queued| Some(queued.id) != *intent) {
        let reason = others.iter().find(|other| other.intent == Some(queued.id));
        assert!(reason.is_some_and(|other| !other.why.is_empty()), "nothing says why {queued:?} waited");
    }
    let own = *source == Source::MainLoop || others.iter().any(|other| other.source == Source::MainLoop);
    assert!(own, "nothing says why the loop waited");
}

fn one_action_in_flight(events: &[Record<Event>]) {
    let mut flying: Option<(ActionId, u32)> = None;
    let mut lost = BTreeSet::new();
    let mut last = 0;
    for record in events {
        match &record.event {
            Event::Selected { action, .. } => {
                assert!(action.step == last + 1, "{action} after step {last}");
                last = action.step;
            }
            Event::Started { action, attempt, approval, .. } => {
                assert!(flying.is_none(), "{action} started while {flying:?} was in flight");
                assert!(!lost.contains(action) || approval.is_some(), "{action} ran again unasked");
                flying = Some((*action, *attempt));
                if matches!(&record.event, Event::Started { class: EffectClass::External, .. }) {
                    lost.insert(*action);
                }
            }
            Event::Finished { outcome } => {
                assert_eq!(flying.take(), Some((outcome.action, outcome.attempt)), "an end without a start");
                let not_run =
                    matches!(&outcome.end, End::Failed(f) if f.code.starts_with(contract::error::NOT_RUN));
                if not_run {
                    lost.remove(&outcome.action);
                }
            }
            _ => {}
        }
    }
}

/// What an attempt left half done is taken back before anything else changes the workspace.
fn half_is_taken_back_first(events: &[Record<Event>]) {
    let (mut flying, mut half) = (None, None);
    for record in events {
        match &record.event {
            // Checks work in checkouts that are thrown away.
            Event::Started { work: Work::Check { .. }, .. } => {}
            Event::Started { action, attempt, class: EffectClass::Staged, .. } => {
                let good = half.is_none_or(|half| half == *action && *attempt > 1);
                assert!(good, "{action}/{attempt} changes what {half:?} left half done");
                flying = Some(*action);
            }
            Event::Finished { outcome } => {
                let staged = flying.take() == Some(outcome.action);
                match &outcome.end {
                    End::Done(Done::Rewound { .. }) => half = None,
                    End::Done(_) if staged => half = None,
                    End::Failed(f) if f.code.starts_with(contract::error::NOT_RUN) => {}
                    // It puts back first, then looks for the child's work.
                    End::Failed(f) if f.code == contract::error::CHILD_GONE => half = None,
                    _ if staged => half = Some(outcome.action),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn yes_before_use(events: &[Record<Event>]) {
    let (mut asked, mut yes, mut used) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for record in events {
        match &record.event {
            Event::ApprovalAsked { approval, .. } => assert!(asked.insert(approval.clone()), "an id twice"),
            Event::Asked { question, .. } => assert!(asked.insert(question.clone()), "an id twice"),
            Event::ApprovalAnswered { approval, answer: Answer::Granted, .. } => {
                yes.insert(approval.clone());
            }
            Event::Started { approval: Some(approval), .. } => {
                assert!(yes.contains(approval), "{approval} was used without a yes");
                assert!(used.insert(approval.clone()), "{approval} was used twice");
            }
            _ => {}
        }
    }
}

/// Every call is followed by its result before anything else is said, and the goal comes first.
pub(crate) fn whole_conversation(items: &[Item]) {
    assert_eq!(items.first().map(|item| item.role), Some(Role::User), "the goal comes first");
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for item in items {
        match &item.call {
            Some(call) => assert!(open.remove(call.as_str()), "a result for call {call}, which is not open"),
            None => {
                assert!(open.is_empty(), "calls {open:?} have no result");
                open.extend(item.calls.iter().map(|(id, _, _)| id.as_str()));
            }
        }
    }
    assert!(open.is_empty(), "calls {open:?} have no result");
}
