//! A model call under a key's limits and its project's: who goes first, who waits until when, what is taken and how it ended; and what
//! follows when the provider is down: patience, or the next model of a declared chain.
//!
//! Knows sessions and outcomes; what a quota allows is [`crate::quota`]'s. Start at [`Draft::held_up`].

use crate::Illegal;
use crate::crowd;
use crate::decide::Draft;
use crate::fsm::Phase;
use crate::further::{Facts, Further, quota_of};
use crate::governor::{Line, Rank};
use crate::next::Choice;
use crate::pool::{Bundle, Whose};
use crate::quota::{Held, Load, Why};
use crate::retry::{self, RETRY};
use crate::session::Attempt;
use contract::action::{Done, Effect, End, Outcome, Work};
use contract::error::{NOT_DOWN, NOT_RUN};
use contract::event::{Dearer, Event};
use contract::intent::Source;
use contract::model::{CACHED, Meter, ModelRef, Price, Quota};
use contract::quota::{CallEnd, QuotaEvent};
use contract::session::{Ask, StageKind};
use contract::{ActionId, Fault, Kind, QuotaId, SessionId, StreamId, Timestamp, limits};

/// What `Failed` says happens now, when the next model of the chain has the word.
const FALLBACK: &str = "fallback";

/// Those who wait for one moment come within this time after it, milliseconds.
const JITTER_MS: u64 = 1_000;

/// Whose call it is (S1.1-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A person waits for it.
    Person = 100,
    /// It plans.
    Planning = 80,
    /// It does the work.
    Execution = 60,
    /// It judges work.
    Validation = 40,
    /// Nobody waits for it.
    Background = 20,
}

impl Class {
    /// Where it stands when it asks at this moment. Everybody ages alike, one class with every `AGEING_MS`: two that wait
    /// keep their order, and whoever has waited long enough goes before any newcomer.
    pub(crate) fn rank(self, now: Timestamp) -> Rank {
        const CLASS: u64 = 20;
        let below = Self::Person as u64 - self as u64;
        now.0.saturating_add(below * limits::AGEING_MS / CLASS)
    }
}

impl Draft<'_> {
    /// Where the chosen work stands in its line: calls of models by whose they are, everything else as it comes.
    pub(crate) fn rank(&self, choice: &Choice) -> Rank {
        match choice.work {
            Work::Model { .. } | Work::Summarise { .. } => self.class(choice.source).rank(self.ctx.now),
            _ => 0,
        }
    }

    /// Does a person wait for it?
    pub(crate) fn whose(&self, choice: &Choice) -> Whose {
        if self.class(choice.source) == Class::Person { Whose::Person } else { Whose::Work }
    }

    fn class(&self, source: Source) -> Class {
        let Some(spec) = &self.s.spec else { return Class::Execution };
        let first = match (spec.limits.background, &spec.parent) {
            (true, _) => Source::Schedule,
            (false, None) => Source::User,
            (false, Some(_)) => Source::Subtask,
        };
        let asked = if source == Source::MainLoop { self.s.asked_by.unwrap_or(first) } else { source };
        let planning = self.s.stage().is_some_and(|stage| stage.kind == StageKind::Plan);
        match spec.mode.as_str() {
            _ if asked == Source::User && spec.parent.is_none() && spec.rights.ask != Ask::Never => {
                Class::Person
            }
            _ if asked == Source::Schedule => Class::Background,
            _ if planning || asked == Source::Planner => Class::Planning,
            "plan" | "planner" | "architect" => Class::Planning,
            "review" | "validate" | "check" | "test" => Class::Validation,
            _ => Class::Execution,
        }
    }

    /// Stands in a line, or keeps its place in it.
    pub(crate) fn stand(&mut self, line: Line, rank: Rank, tokens: u64) {
        self.stand_for(line, rank, tokens, Bundle::NONE, Whose::Work);
    }

    /// The same for all of this of the pools.
    pub(crate) fn stand_for(&mut self, line: Line, rank: Rank, tokens: u64, want: Bundle, whose: Whose) {
        self.in_line = true;
        let woken = self.gov.wait_with(self.s.id, line, rank, tokens, want, whose);
        self.out.effects.extend(woken.into_iter().map(Effect::Wake));
    }

    /// What the project's limit and the key's say to a call of at most so many tokens. `None`: it may begin. Otherwise
    /// whether anything happened that is worth looking at again.
    pub(crate) fn held_up(&mut self, work: &Work, tokens: u64, rank: Rank) -> Result<Option<bool>, Illegal> {
        // The project's first: who waits there is in nobody's way under the key.
        let crowd = crowd::of(self.s.spec.as_deref(), work);
        let key = self.s.asked(work).and_then(|model| model.quota.clone());
        for quota in crowd.iter().chain(&key) {
            let moved = self.held_by(quota, work, tokens, rank)?;
            if moved.is_some() {
                return Ok(moved);
            }
        }
        Ok(None)
    }

    /// The same of one of them.
    fn held_by(
        &mut self,
        quota: &Quota,
        work: &Work,
        tokens: u64,
        rank: Rank,
    ) -> Result<Option<bool>, Illegal> {
        let id = QuotaId::of(&quota.name);
        // Before the verdict: it is by what is declared now.
        self.declare(id, quota)?;
        let ahead = self.gov.ahead(self.s.id, id, rank);
        self.set_back(id)?;
        let (now, me) = (self.ctx.now, (self.gov.rank_of(self.s.id, rank), self.s.id));
        let (others, lapses) = self.elsewhere(id, me);
        let load = ahead.and(others.calls, others.tokens);
        let held = self.gov.quota_mut(id)?.verdict(now, tokens, load).err();
        if held.is_none() && ahead.calls == 0 {
            return Ok(None);
        }
        if let Some(held) = held.filter(|held| gives_way(*held, self.ctx.now)) {
            if matches!(work, Work::Summarise { .. }) && self.s.redo.is_none() {
                // Nobody waits long for a nicer wording.
                self.cut_to_fit()?;
                return Ok(Some(true));
            }
            let own =
                self.s.asked(work).zip(self.s.model.as_ref()).is_some_and(|(one, own)| one.id == own.id);
            if own && self.fall_back(&self.words(quota, work, held))? {
                return Ok(Some(true));
            }
        }
        if let Some(held) = held
            && self.never_by_itself(held.until, &self.words(quota, work, held))?
        {
            return Ok(Some(true));
        }
        self.stand(Line::Quota(id), rank, tokens);
        // Who stands behind others is told of by the first.
        let waited = if ahead.calls == 0 { self.gov.waited(self.s.id, rank) } else { 0 };
        let soon = self.ctx.now.plus(limits::QUOTA_LOOK_MS);
        self.look_at = Some(match held {
            // Calls of other processes end without a word to this one: the first in the line looks.
            Some(Held { why: Why::UnderWay, until }) if ahead.calls == 0 => until.min(soon),
            // Not all of them at the very moment.
            Some(held) => held.until.plus(jitter(held.until.since(self.ctx.now), self.ctx.random)),
            None => soon,
        });
        // Who is ahead elsewhere may never come.
        self.look_at = self.look_at.map(|at| lapses.map_or(at, |lapses| at.min(lapses)));
        if let Some(held) = held {
            self.tell_wait(self.words(quota, work, held), held, waited)?;
            if ahead.calls == 0 && lasts(held, now, waited) {
                self.queue(id, held, me.0, tokens)?;
            }
        }
        Ok(Some(false))
    }

    /// What other processes have ahead of this session in the key's line.
    fn elsewhere(&self, id: QuotaId, me: (Rank, SessionId)) -> (Load, Option<Timestamp>) {
        let own = |other| self.gov.stands(other) == Some(Line::Quota(id));
        self.gov.quota(id).map_or((Load::default(), None), |quota| quota.elsewhere(self.ctx.now, me, own))
    }

    /// The first of this process's line takes its place among those of the others, or keeps it.
    fn queue(&mut self, id: QuotaId, held: Held, rank: Rank, tokens: u64) -> Result<(), Illegal> {
        let (now, session) = (self.ctx.now, self.s.id);
        let comes = if held.why == Why::UnderWay { now } else { held.until };
        let kept = self.gov.quota_mut(id)?.place(session);
        // It looks again before its place is lost.
        if kept.is_some_and(|until| until > comes.plus(2 * limits::QUOTA_LOOK_MS)) {
            return Ok(());
        }
        let until = comes.plus(limits::QUOTA_PLACE_MS);
        self.emit_quota(id, QuotaEvent::Queued { session, rank, tokens, until })
    }

    /// A person wants it to go on: what waits for its moment is tried now.
    pub(crate) fn lifted(&mut self) -> Result<(), Illegal> {
        let now = self.ctx.now;
        let waits = self.s.not_before(now).is_some() || self.quiet_until().is_some();
        if !waits || self.s.phase == Phase::Ended {
            return Ok(());
        }
        let (why, what) = ("lifted".to_owned(), "a person wants it tried now".to_owned());
        self.emit(Event::Waits { why, what, until: now })
    }

    /// A clock that was set back is put on record: from there on the key's time goes on.
    fn set_back(&mut self, id: QuotaId) -> Result<(), Illegal> {
        let known = self.gov.quota_mut(id)?;
        if known.seq == 0 || !known.set_back(self.ctx.now) {
            return Ok(());
        }
        let (name, rates, by) = (known.name.clone(), known.rates, known.declared_by);
        self.emit_quota(id, QuotaEvent::Declared { name, rates, by })
    }

    /// A wait that lasts is put on record, unless it stands there already, about. How long calls under way will take
    /// nobody knows: that wait is told by how long it has lasted.
    fn tell_wait(&mut self, what: String, held: Held, waited_ms: u64) -> Result<(), Illegal> {
        let (now, until) = (self.ctx.now, self.awake(held.until));
        let lasts = lasts(held, now, waited_ms);
        let told = self.s.held_up(now).is_some_and(|old| {
            let apart = old.until.since(until).max(until.since(old.until));
            apart <= 10 * limits::WAIT_TOLD_MS || apart <= until.since(now) / 4
        });
        // A session that is paused, and of which one thing is wanted meanwhile, waits for a person.
        if !lasts || told || self.s.phase != Phase::Active {
            return Ok(());
        }
        let what = quietly(what, held.until, until);
        self.emit(Event::Waits { why: held.why.name().into(), what, until })
    }

    /// When a wait until then ends by itself: not in a person's quiet hours, unless it is short.
    fn awake(&self, until: Timestamp) -> Timestamp {
        let long = until.since(self.ctx.now) > limits::QUIET_WAIT_MS;
        let quiet = self.s.limits().quiet.filter(|_| long);
        quiet.and_then(|quiet| quiet.ends(until)).unwrap_or(until)
    }

    /// The end of the quiet hours that a wait on record goes on to, when they are now: nothing goes on by itself before.
    pub(crate) fn quiet_until(&self) -> Option<Timestamp> {
        let now = self.ctx.now;
        let until = self.s.held_up(now)?.until;
        self.s.limits().quiet.and_then(|quiet| quiet.ends(now)).filter(|ends| *ends == until)
    }

    /// Where all hours are quiet, a long wait is a person's to end.
    fn never_by_itself(&mut self, until: Timestamp, what: &str) -> Result<bool, Illegal> {
        if self.awake(until) != Timestamp::MAX || until == Timestamp::MAX || self.s.phase != Phase::Active {
            return Ok(false);
        }
        let what = format!("{what}, until {until}; nothing goes on by itself (quiet_hours)");
        self.pause("quiet", &what, &format!("after that: kapell resume {}", self.s.id), 75)?;
        Ok(true)
    }

    fn words(&self, quota: &Quota, work: &Work, held: Held) -> String {
        let model = self.s.asked(work).map_or("the model", |model| &model.id);
        match (held.why, quota.rates.concurrent) {
            (Why::UnderWay, Some(most)) if crowd::is(quota) => {
                format!("{model}: {most} calls of this project are under way, as many as it may have at once")
            }
            (why, _) => format!("{model}: {}", why.words()),
        }
    }

    /// The next model of the declared chain has the word, if there is one that can be asked.
    fn fall_back(&mut self, why: &str) -> Result<bool, Illegal> {
        let Some(to) = self.next_model() else { return Ok(false) };
        self.switch(to, why)?;
        Ok(true)
    }

    /// Another model has the word from here on; what only the one before may see stays with it.
    pub(crate) fn switch(&mut self, to: ModelRef, why: &str) -> Result<(), Illegal> {
        let price = self.s.model.as_ref().and_then(|from| from.card.price);
        let dearer = price.zip(to.card.price).map(|(from, to)| dearer(from, to));
        self.emit(Event::FellBack { to, why: why.to_owned(), dearer })?;
        self.private_stays()
    }

    fn next_model(&self) -> Option<ModelRef> {
        let (spec, from) = (self.s.spec.as_ref()?, self.s.model.as_ref()?);
        let after = spec.fallback.iter().position(|model| model.id == from.id).map_or(0, |at| at + 1);
        let fits = |to: &&ModelRef| to.id != from.id && self.priced(to) && self.answers(to);
        spec.fallback[after..].iter().find(fits).cloned()
    }

    /// Could this model be asked soon, as far as its key's limits tell?
    fn answers(&self, model: &ModelRef) -> bool {
        let quota = quota_of(model).and_then(|id| self.gov.quota(id));
        let held = quota.and_then(|quota| quota.verdict(self.ctx.now, 0, Load::default()).err());
        !held.is_some_and(|held| gives_way(held, self.ctx.now))
    }

    /// A provider's limits and outages end nothing: the call is made again when they are over, as often as it takes, or
    /// by the next model of the chain. False: this failure is one to count.
    pub(crate) fn outlast(
        &mut self,
        attempt: &Attempt,
        fault: &Fault,
        signature: &str,
        count: u32,
        free: bool,
    ) -> Result<bool, Illegal> {
        let long = fault.retry_after_ms.is_some_and(|ms| ms > limits::FALLBACK_MS);
        let gives_up = match fault.kind {
            Kind::UserFixable => true,
            Kind::RateLimited => long,
            Kind::Degraded | Kind::Transient => count >= retry::policy(Kind::Degraded).attempts,
            Kind::Permanent => false,
        };
        if gives_up && self.next_model().is_some() {
            let (signature, then) = (signature.to_owned(), FALLBACK.to_owned());
            self.emit(Event::Failed { signature, count, then, retry_at: None })?;
            return self.fall_back(&fault.what);
        }
        let patient = match fault.kind {
            // Tries that break on the way may be billed: those are counted.
            Kind::RateLimited | Kind::Degraded => {
                attempt.quota.is_some() && (free || count < retry::policy(fault.kind).attempts)
            }
            Kind::Transient => attempt.quota.is_some() && free,
            Kind::Permanent | Kind::UserFixable => false,
        };
        if patient {
            let delay_ms = retry::patient_ms(fault.kind, count, fault.retry_after_ms, self.ctx.random);
            self.try_again_in(delay_ms, fault, signature.to_owned(), count)?;
        }
        Ok(patient)
    }

    /// It is tried again after this time; a wait that lasts is told.
    pub(crate) fn try_again_in(
        &mut self,
        delay_ms: u64,
        fault: &Fault,
        signature: String,
        count: u32,
    ) -> Result<(), Illegal> {
        let asked = self.ctx.now.plus(delay_ms);
        let until = self.awake(asked);
        if until == Timestamp::MAX {
            self.emit(Event::Failed { signature, count, then: "ask".into(), retry_at: None })?;
            self.never_by_itself(asked, &fault.what)?;
            return Ok(());
        }
        self.emit(Event::Failed { signature, count, then: RETRY.into(), retry_at: Some(until) })?;
        if delay_ms > limits::WAIT_TOLD_MS {
            let what = quietly(fault.what.clone(), asked, until);
            self.emit(Event::Waits { why: "retry".into(), what, until })?;
        }
        Ok(())
    }

    /// Whoever is first in a line that this decision has moved looks again.
    pub(crate) fn wake_line(&mut self) {
        for Further { stream, .. } in &self.out.further {
            let StreamId::Quota(id) = *stream else { continue };
            let first = self.gov.next(Line::Quota(id)).into_iter().filter(|first| *first != self.s.id);
            self.out.effects.extend(first.map(Effect::Wake));
        }
    }
}

/// Is this wait one that lasts? How long calls under way will take nobody knows: by how long it has lasted.
fn lasts(held: Held, now: Timestamp, waited_ms: u64) -> bool {
    match held.why {
        Why::UnderWay => waited_ms > limits::WAIT_TOLD_MS,
        _ => held.until.since(now) > limits::WAIT_TOLD_MS,
    }
}

/// The words of a wait that goes on to the end of quiet hours.
fn quietly(what: String, asked: Timestamp, until: Timestamp) -> String {
    if asked == until { what } else { format!("{what} until {asked}, and then it is quiet") }
}

/// A little of what a wait lasts, so that those who wait for the same moment do not come together.
fn jitter(wait_ms: u64, random: u128) -> u64 {
    let most = (wait_ms / 10).min(JITTER_MS);
    (random % u128::from(most + 1)) as u64
}

/// Is it worth asking another model?
fn gives_way(held: Held, now: Timestamp) -> bool {
    match held.why {
        Why::Breaker => true,
        Why::UnderWay => false,
        _ => held.until.since(now) > limits::FALLBACK_MS,
    }
}

fn dearer(from: Price, to: Price) -> Dearer {
    let apart = |from: u64, to: u64| {
        i64::try_from(i128::from(to) - i128::from(from)).unwrap_or(if to > from {
            i64::MAX
        } else {
            i64::MIN
        })
    };
    Dearer { input: apart(from.input, to.input), output: apart(from.output, to.output) }
}

impl Draft<'_> {
    /// The call that is about to start counts from here on: under its key, and in its project.
    pub(crate) fn take_quota(
        &mut self,
        work: &Work,
        action: ActionId,
        tokens: u64,
        deadline: Timestamp,
    ) -> Result<(), Illegal> {
        let session = self.s.id;
        let until = deadline.plus(limits::OVERDUE_MS);
        let crowd = crowd::of(self.s.spec.as_deref(), work).map(|crowd| QuotaId::of(&crowd.name));
        for quota in crowd.into_iter().chain(self.s.quota_for(work)) {
            self.emit_quota(quota, QuotaEvent::Taken { session, action, tokens, until })?;
            self.scarce(quota)?;
        }
        Ok(())
    }

    /// Tells people once when most of what a key allows in a long time is used.
    fn scarce(&mut self, quota: QuotaId) -> Result<(), Illegal> {
        let news = self.gov.quota_mut(quota)?.just_scarce();
        news.into_iter().try_for_each(|what| self.emit(Event::Warned { what }))
    }

    /// What a person declares holds for every session; of two declarations that of the newer session.
    fn declare(&mut self, id: QuotaId, quota: &Quota) -> Result<(), Illegal> {
        let (by, known) = (self.s.id, self.gov.quota_mut(id)?);
        let news = known.seq == 0 || by >= known.declared_by && known.rates != quota.rates;
        if !news {
            return Ok(());
        }
        self.emit_quota(id, QuotaEvent::Declared { name: quota.name.clone(), rates: quota.rates, by })?;
        // What was used before counts in what is meant to be enough now.
        self.scarce(id)
    }

    /// How the call ended, as far as the provider is concerned; for its project it has ended.
    pub(crate) fn settle_quota(&mut self, attempt: &Attempt, outcome: &Outcome) -> Result<(), Illegal> {
        let (session, action) = (self.s.id, attempt.action);
        let crowd = crowd::of(self.s.spec.as_deref(), &attempt.work);
        if let Some(id) = crowd.map(|crowd| QuotaId::of(&crowd.name))
            && self.knows(id)?
        {
            let (end, meter) = (CallEnd::Unknown, Meter::default());
            self.emit_quota(id, QuotaEvent::Settled { session, action, tokens: 0, end, meter })?;
        }
        let Some(id) = attempt.quota else { return Ok(()) };
        if !self.knows(id)? {
            return Ok(());
        }
        let end = call_end(attempt, &outcome.end);
        // What nobody counted counts as if all of it had been used.
        let unseen = !outcome.metered && matches!(end, CallEnd::Unknown | CallEnd::Down { .. });
        let tokens = if unseen { attempt.reserved.tokens } else { outcome.used.tokens };
        let meter = outcome.meter;
        self.emit_quota(id, QuotaEvent::Settled { session, action, tokens, end, meter })?;
        self.scarce(id)
    }

    /// Is the call on record there? It is not where it is of a time when the call of a model that only words summaries was
    /// not. Or this process has not heard of it: passed over, it would be under way until it lapses.
    fn knows(&mut self, id: QuotaId) -> Result<bool, Illegal> {
        let known = self.gov.quota_mut(id)?.seq > 0;
        let stream = StreamId::Quota(id);
        if !known && !self.out.looked.contains(&stream) {
            self.out.looked.push(stream);
        }
        Ok(known)
    }

    fn emit_quota(&mut self, id: QuotaId, event: QuotaEvent) -> Result<(), Illegal> {
        self.gov.quota_mut(id)?.apply(self.ctx.now, &event)?;
        let stream = StreamId::Quota(id);
        match self.out.further.iter_mut().find(|further| further.stream == stream) {
            Some(Further { facts: Facts::Quota(facts), .. }) => facts.push(event),
            _ => self.out.further.push(Further { stream, facts: Facts::Quota(vec![event]) }),
        }
        Ok(())
    }
}

fn call_end(attempt: &Attempt, end: &End) -> CallEnd {
    let allowed = attempt.deadline.since(attempt.started);
    match end {
        // Nobody was asked.
        End::Done(Done::Said { request_id, .. } | Done::Summarised { request_id, .. })
            if request_id.starts_with(CACHED) =>
        {
            CallEnd::Refused
        }
        End::Done(_) => CallEnd::Answered,
        End::Failed(fault) => failed(fault),
        End::TimedOut if allowed >= limits::MODEL_MS => CallEnd::Down { retry_after_ms: None },
        // Less time than a call has: what was left to the session is no measure of its provider.
        End::TimedOut | End::Cancelled | End::Unknown => CallEnd::Unknown,
    }
}

fn failed(fault: &Fault) -> CallEnd {
    let retry_after_ms = fault.retry_after_ms;
    match fault.kind {
        Kind::RateLimited => CallEnd::Limited { retry_after_ms },
        _ if fault.code.starts_with(NOT_RUN) || NOT_DOWN.contains(&&*fault.code) => CallEnd::Refused,
        Kind::Transient | Kind::Degraded => CallEnd::Down { retry_after_ms },
        Kind::Permanent | Kind::UserFixable => CallEnd::Refused,
    }
}
