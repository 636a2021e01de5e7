//! The limits of one key at one provider: a fold of the calls that began and ended, shared by every session.
//!
//! Integers and values only; bounded however many calls there are. The strictest rule wins, and every no has its moment.
//! Start at [`Quota::verdict`] (may a call begin?) and [`Quota::apply`].

pub mod health;
pub mod learned;
pub mod pace;
pub mod spans;
pub mod supply;

use crate::Illegal;
use contract::model::{Gauge, Meter, Rates};
use contract::quota::{CallEnd, QuotaEvent};
use contract::{ActionId, Seq, SessionId, Timestamp, limits};
use health::{Breaker, Caller, Health, Pause, Rules};
use learned::Learned;
use pace::{Bucket, Flow, LATE_MS, MINUTE_MS, Window};
use serde::{Deserialize, Serialize};
use spans::Spans;
use supply::{Supply, Use};

/// Parts of a minute's requests that may go at once; the rest follows evenly.
const BURSTS: u64 = 6;
/// How long what is left counts when the provider does not say when it is full again.
const TOLD_MS: u64 = MINUTE_MS;
/// What was told is forgotten when nobody has told anything for so long.
const TOLD_FOR_MS: u64 = 10 * MINUTE_MS;

/// The fold of a quota's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Number of its last event.
    pub seq: Seq,
    /// Its name.
    pub name: String,
    /// What is declared.
    pub rates: Rates,
    /// The session that was opened with that.
    pub declared_by: SessionId,
    /// Its own time: the newest event's, which a clock that is a little behind does not turn back.
    now: Timestamp,
    /// Calls under way, oldest first.
    flights: Vec<Flight>,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// Of the last minute, and of the declared window.
    minute: Window,
    minute_tokens: Window,
    window: Option<Window>,
    learned: Learned,
    /// When a limit was last hit.
    hit_at: Timestamp,
    told_requests: Option<Told>,
    told_tokens: Option<Told>,
    health: Health,
    /// Of what it allows in a long time.
    #[serde(default)]
    supply: Supply,
    /// Tokens of the day, the week and the month.
    #[serde(default)]
    spans: Spans,
    /// The first of each process's line.
    #[serde(default)]
    places: Vec<Place>,
}

/// A place in the line of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    session: SessionId,
    rank: u64,
    tokens: u64,
    until: Timestamp,
}

/// A call under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    session: SessionId,
    action: ActionId,
    tokens: u64,
    began: Timestamp,
    until: Timestamp,
}

/// What the provider said is left, less what was taken since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    left: u64,
    limit: u64,
    /// When it is full again.
    until: Timestamp,
    /// How long that takes at most, as far as was told: near the end of its time it is told to be soon.
    reset_ms: u64,
    /// When the call began whose answer said so, and the first of those that began at about the same time.
    by: Timestamp,
    #[serde(default)]
    since: Timestamp,
    /// What was said, nothing taken off.
    #[serde(default)]
    said: u64,
    /// It has been seen to be full again at its moment. Of others nobody knows: some name the moment at which the
    /// oldest call no longer counts.
    #[serde(default)]
    refills: bool,
    /// Calls that began since its moment without anybody knowing what is there again.
    #[serde(default)]
    tried: u64,
}

impl Told {
    /// As it is now: what is known to be full again at its moment is, but for what began in its last stretch of time.
    /// Some let go of one call after the other: those see no more than is allowed in any such stretch.
    fn at(self, now: Timestamp, window: &Window) -> Self {
        if now < self.until || !self.refills {
            return self;
        }
        let left = self.limit.saturating_sub(window.sum_of(now, self.reset_ms));
        Self { left, until: now.plus(self.reset_ms), ..self }
    }

    /// Its moment has come, and nobody knows what is there again: one call finds out.
    fn is_open(self, now: Timestamp) -> bool {
        now >= self.until && !self.refills
    }

    /// Calls or tokens that begin now.
    fn less(self, now: Timestamp, window: &Window, units: u64) -> Self {
        let told = self.at(now, window);
        match told.is_open(now) {
            true => Self { tried: told.tried.saturating_add(1), ..told },
            false => Self { left: told.left.saturating_sub(units), ..told },
        }
    }

    /// With what a newer call was told. Of calls that began at about the same time nobody knows which one the provider
    /// saw first: the smallest of their words holds, less what is under way.
    fn or_newer(self, new: Self, now: Timestamp, uncounted: u64) -> Self {
        if new.by.plus(LATE_MS) <= self.since || now >= self.until && new.by < self.by {
            return self;
        }
        if new.by >= self.since.plus(LATE_MS) || now >= self.until {
            return new;
        }
        let newer = if new.by < self.by { self } else { new };
        let said = self.said.min(new.said);
        Self { said, left: said.saturating_sub(uncounted), since: self.since.min(new.since), ..newer }
    }

    /// What is known of how it fills, when a call that began then was told this.
    fn refills(self, began: Timestamp, gauge: Gauge, taken: u64) -> bool {
        match began >= self.until && !self.refills {
            true => gauge.left.saturating_add(taken) >= self.limit,
            false => self.refills,
        }
    }
}

/// Why a call may not begin yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Requests or tokens a minute.
    Rate,
    /// Requests in the declared window.
    Window,
    /// What the provider says is left.
    Reset,
    /// The provider said that a limit was hit.
    Limited,
    /// Several sessions failed together, or the provider asked for time.
    Backoff,
    /// It failed too often.
    Breaker,
    /// As many calls are under way as there may be, or the one that probes, or they hold tokens that may come back.
    UnderWay,
}

impl Why {
    /// The stored and printed name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Window => "window",
            Self::Reset => "reset",
            Self::Limited => "limited",
            Self::Backoff => "backoff",
            Self::Breaker => "breaker",
            Self::UnderWay => "concurrency",
        }
    }

    /// What it means, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Rate => "as many calls or tokens a minute as are allowed are used up",
            Self::Window => "the declared window is full",
            Self::Reset => "the provider says that nothing is left until it is reset",
            Self::Limited => "a limit of the provider was hit",
            Self::Backoff => "the provider is unwell, and everybody backs off",
            Self::Breaker => "the provider failed too often; then one call tries it",
            Self::UnderWay => "as many calls as may be are under way",
        }
    }
}

/// A no, and when it is worth asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The strictest rule.
    pub why: Why,
    /// The moment it allows; for [`Why::UnderWay`] the last one, since a call may end before.
    pub until: Timestamp,
}

/// Calls and their tokens: one that asks, and those that go before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Calls.
    pub calls: u64,
    /// Tokens they can use at most.
    pub tokens: u64,
}

impl Load {
    /// So many more.
    #[must_use]
    pub fn and(self, calls: u64, tokens: u64) -> Self {
        Self { calls: self.calls.saturating_add(calls), tokens: self.tokens.saturating_add(tokens) }
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            seq: 0,
            name: String::new(),
            rates: Rates::default(),
            declared_by: SessionId(0),
            now: Timestamp(0),
            flights: Vec::new(),
            requests: None,
            tokens: None,
            minute: Window::new(MINUTE_MS),
            minute_tokens: Window::new(MINUTE_MS),
            window: None,
            learned: Learned::default(),
            hit_at: Timestamp(0),
            told_requests: None,
            told_tokens: None,
            health: Health::default(),
            supply: Supply::default(),
            spans: Spans::default(),
            places: Vec::new(),
        }
    }
}

impl Quota {
    /// May a call of at most so many tokens begin, once those before it have?
    pub fn verdict(&self, now: Timestamp, tokens: u64, ahead: Load) -> Result<(), Held> {
        if self.set_back(now) {
            let mut own = self.clone();
            own.turn(now);
            return own.verdict(now, tokens, ahead);
        }
        let now = self.now.max(now);
        let strictest =
            self.moments(now, tokens, ahead).filter(|held| held.until > now).max_by_key(|held| held.until);
        strictest.filter(|_| !contract::planted!(NoQuota)).map_or(Ok(()), Err)
    }

    /// What each rule says.
    fn moments(&self, now: Timestamp, tokens: u64, ahead: Load) -> impl Iterator<Item = Held> {
        // What alone is more than there ever is waits for all there is.
        let most = self.rates.tokens_per_minute.unwrap_or(u64::MAX).max(1);
        let calls = ahead.calls.saturating_add(1);
        let load = Load { calls, tokens: ahead.tokens.saturating_add(tokens.min(most)) };
        let held = |why, until| Held { why, until };
        // What a call under way has taken and will not use comes back with its end.
        let spent = if self.under_way(now) > 0 { Why::UnderWay } else { Why::Rate };
        let wait = |why, bucket: Option<Bucket>, flow: Option<Flow>, units| {
            let ms = bucket.zip(flow).map(|(bucket, flow)| bucket.wait_ms(flow, now, units));
            held(why, now.plus(ms.unwrap_or(0)))
        };
        let minute = self.rates.requests_per_minute.map(|most| self.minute.free_at(most, now, load.calls));
        let tokens =
            self.rates.tokens_per_minute.map(|most| self.minute_tokens.free_at(most, now, load.tokens));
        let window = self.window.as_ref().zip(self.rates.window);
        let window = window.map(|(window, rate)| window.free_at(rate.requests, now, load.calls));
        let told = |known: Option<Told>, window, units: u64| {
            let known = known?;
            if known.is_open(now) {
                let until = self.flying(now).map(|flight| flight.until).min()?;
                return (known.tried > 0 || load.calls > 1).then_some(held(Why::UnderWay, until));
            }
            let told = known.at(now, window);
            // It is full again, but for calls that are let go one after the other.
            let until = if told.until == known.until { told.until } else { now.plus(LATE_MS) };
            (told.left < units.min(told.limit)).then_some(held(Why::Reset, until))
        };
        let pause = self.health.pause().map(|(until, why)| match why {
            Pause::Limited => held(Why::Limited, until),
            Pause::Backoff => held(Why::Backoff, until),
        });
        [
            wait(Why::Rate, self.requests, Some(self.request_flow()), load.calls),
            wait(spent, self.tokens, self.token_flow(), load.tokens),
        ]
        .into_iter()
        .chain(minute.map(|at| held(Why::Rate, at)))
        .chain(tokens.map(|at| held(spent, at)))
        .chain(window.map(|at| held(Why::Window, at)))
        .chain(told(self.told_requests, &self.minute, load.calls))
        .chain(told(self.told_tokens, &self.minute_tokens, load.tokens))
        .chain(pause)
        .chain(self.breaker(now))
        .chain(self.crowded(now, load))
    }

    fn breaker(&self, now: Timestamp) -> Option<Held> {
        match self.health.breaker() {
            Breaker::Closed => None,
            Breaker::Open { until } => Some(Held { why: Why::Breaker, until }),
            Breaker::HalfOpen { probe, .. } => {
                let probe = probe.filter(|_| !contract::planted!(TwoProbes));
                let flies = |flight: &&Flight| Some((flight.session, flight.action)) == probe;
                let probing = self.flying(now).find(flies)?;
                Some(Held { why: Why::UnderWay, until: probing.until })
            }
        }
    }

    /// Too many under way: one of them has to end, or to lapse.
    fn crowded(&self, now: Timestamp, load: Load) -> Option<Held> {
        let most = self.rates.concurrent.unwrap_or(u64::MAX).min(self.health.ramp()).max(1);
        let full = self.under_way(now).saturating_add(load.calls) > most;
        // With none under way it is those ahead who take what there is.
        let until = self.flying(now).map(|flight| flight.until).min();
        let until = until.unwrap_or_else(|| now.plus(limits::QUOTA_LOOK_MS));
        full.then_some(Held { why: Why::UnderWay, until })
    }

    fn flying(&self, now: Timestamp) -> impl Iterator<Item = &Flight> {
        self.flights.iter().filter(move |flight| flight.until > now)
    }

    /// Calls that other processes have ahead of one of this rank, and the first moment from which one of them that does
    /// not come counts no more. `own`: this process has it in its own line.
    pub fn elsewhere(
        &self,
        now: Timestamp,
        who: (u64, SessionId),
        own: impl Fn(SessionId) -> bool,
    ) -> (Load, Option<Timestamp>) {
        let now = self.now.max(now);
        let ahead = |place: &&Place| {
            place.until > now
                && (place.rank, place.session) < who
                && place.session != who.1
                && !own(place.session)
        };
        let places = || self.places.iter().filter(ahead);
        let load = places().fold(Load::default(), |load, place| load.and(1, place.tokens));
        (load, places().map(|place| place.until).min())
    }

    /// Until when this session's place counts, if it has one.
    pub fn place(&self, session: SessionId) -> Option<Timestamp> {
        self.places.iter().find(|place| place.session == session).map(|place| place.until)
    }

    /// The provider's circuit breaker, as the newest event has left it.
    pub fn breaker_state(&self) -> Breaker {
        self.health.breaker()
    }

    /// Calls under way at this moment.
    pub fn under_way(&self, now: Timestamp) -> u64 {
        self.flying(now).count() as u64
    }

    /// Requests a minute: the smaller of what is declared and what was learned.
    fn request_flow(&self) -> Flow {
        let learned = self.learned.flow();
        let Some(declared) = self.rates.requests_per_minute.map(|most| most.max(1)) else { return learned };
        match self.learned.was_hit() && learned.per_minute < declared {
            true => learned,
            false => Flow { per_minute: declared, burst: (declared / BURSTS).max(1) },
        }
    }

    fn token_flow(&self) -> Option<Flow> {
        let per_minute = self.rates.tokens_per_minute?.max(1);
        Some(Flow { per_minute, burst: per_minute })
    }

    /// Folds one event. What was not declared first does not belong here.
    pub fn apply(&mut self, at: Timestamp, event: &QuotaEvent) -> Result<(), Illegal> {
        if self.seq == 0 && !matches!(event, QuotaEvent::Declared { .. }) {
            return Err(Illegal { state: "a quota nobody declared".into(), event: format!("{event:?}") });
        }
        self.turn(at);
        let now = self.now;
        // What a killed process held lapses by itself.
        self.flights.retain(|flight| flight.until > now);
        self.places.retain(|place| place.until > now);
        match event {
            QuotaEvent::Declared { name, rates, by } => {
                // Everybody looks anew.
                self.places.clear();
                (self.name, self.rates, self.declared_by) = (name.clone(), *rates, *by);
                let length = rates.window.map(|window| window.ms.max(1));
                if self.window.as_ref().map(|window| window.ms) != length {
                    // What is known of calls before counts as if all of it had been now.
                    let known = self.window.as_ref().map_or(0, |window| window.sum(now));
                    let known = known.max(self.minute.sum(now));
                    self.window = length.map(Window::new);
                    self.window.iter_mut().for_each(|window| window.take(now, known));
                }
            }
            QuotaEvent::Taken { session, action, tokens, until } => {
                let (session, action, tokens, until) = (*session, *action, *tokens, *until);
                self.places.retain(|place| place.session != session);
                self.flights.push(Flight { session, action, tokens, began: now, until });
                self.took(tokens);
                self.health.began(now, (session, action));
            }
            QuotaEvent::Settled { session, action, tokens, end, meter } => {
                self.settled((*session, *action), *tokens, *end, *meter);
            }
            QuotaEvent::Queued { session, rank, tokens, until } => {
                let place = Place { session: *session, rank: *rank, tokens: *tokens, until: *until };
                self.places.retain(|other| other.session != place.session);
                if self.places.len() < limits::QUOTA_PLACES {
                    self.places.push(place);
                }
            }
            QuotaEvent::Lifted { .. } => {
                self.places.clear();
                self.health.lift(now);
                (self.told_requests, self.told_tokens) = (None, None);
            }
        }
        self.buckets();
        self.supply = self.supply.after(self.most_used());
        let spent = if let QuotaEvent::Settled { tokens, .. } = event { *tokens } else { 0 };
        self.spans = self.spans.after(now, spent, &self.rates);
        self.seq += 1;
        Ok(())
    }

    /// A call ended.
    fn settled(&mut self, caller: Caller, tokens: u64, end: CallEnd, meter: Meter) {
        let now = self.now;
        let under_way = self.under_way(now);
        let own = |flight: &Flight| (flight.session, flight.action) == caller;
        let flight = self.flights.iter().position(own).map(|at| self.flights.remove(at));
        let began = flight.as_ref().map_or(now, |flight| flight.began);
        if let Some(flight) = flight {
            self.used(&flight, tokens);
        }
        match end {
            // Those that were under way together hit it together: that is one hit.
            CallEnd::Limited { .. } if began <= self.hit_at => {}
            CallEnd::Limited { .. } => {
                self.hit_at = now;
                self.learned.hit(self.minute.sum(now));
                // What was thought to be full again was not.
                let told = [&mut self.told_requests, &mut self.told_tokens];
                told.into_iter().flatten().for_each(|told| told.refills = false);
            }
            CallEnd::Answered => self.learned.answered(),
            _ => {}
        }
        self.health.ended(now, caller, end, under_way, Rules::of(self.rates.breaker));
        self.tell(began, tokens, meter.requests, meter.tokens);
    }

    /// The share that is used of what is allowed in a long time: of the declared window, or as the provider tells.
    fn most_used(&self) -> Option<Use> {
        let now = self.now;
        let window =
            self.window.as_ref().zip(self.rates.window).filter(|(window, _)| supply::is_long(window.ms));
        let window = window.map(|(window, rate)| Use {
            unit: "calls",
            used: window.sum(now),
            most: rate.requests,
            until: window.free_at(rate.requests, now, rate.requests),
        });
        let told = |told: Option<Told>, unit| {
            let told = told.filter(|told| supply::is_long(told.reset_ms) && told.limit < u64::MAX)?;
            let used = told.limit.saturating_sub(told.left);
            (now < told.until).then_some(Use { unit, used, most: told.limit, until: told.until })
        };
        let all = [window, told(self.told_requests, "calls"), told(self.told_tokens, "tokens")];
        all.into_iter().flatten().max_by_key(|supply| supply.percent())
    }

    /// What is nearly used up, or used up, since the newest event, for people.
    pub fn just_scarce(&self) -> Vec<String> {
        let supply = self.most_used().filter(|_| self.supply.just());
        let all = supply.into_iter().chain(self.spans.uses(self.now, &self.rates, true));
        all.map(|supply| format!("{} of the key {}", supply.words(), self.name)).collect()
    }

    /// What a person means to use, and what is nearly used up of anything else, at any time.
    pub fn uses(&self, now: Timestamp) -> Vec<Use> {
        let scarce = self.most_used().filter(|supply| supply.percent() >= limits::BUDGET_WARN_PERCENT);
        let scarce = scarce.filter(|supply| now < supply.until);
        scarce.into_iter().chain(self.spans.uses(self.now.max(now), &self.rates, false)).collect()
    }

    fn took(&mut self, tokens: u64) {
        let (now, requests, token) = (self.now, self.request_flow(), self.token_flow());
        if let Some(bucket) = &mut self.requests {
            bucket.take(requests, now, 1);
        }
        if let Some((bucket, flow)) = self.tokens.as_mut().zip(token) {
            bucket.take(flow, now, tokens);
        }
        self.told_requests = self.told_requests.map(|told| told.less(now, &self.minute, 1));
        self.told_tokens = self.told_tokens.map(|told| told.less(now, &self.minute_tokens, tokens));
        self.minute.take(now, 1);
        self.minute_tokens.take(now, tokens);
        if let Some(window) = &mut self.window {
            window.take(now, 1);
        }
    }

    /// A call used this many tokens of those it had taken; what it used beyond them is taken now.
    fn used(&mut self, flight: &Flight, tokens: u64) {
        let (now, flow) = (self.now, self.token_flow());
        let back = flight.tokens.saturating_sub(tokens);
        let more = tokens.saturating_sub(flight.tokens);
        if let Some((bucket, flow)) = self.tokens.as_mut().zip(flow) {
            bucket.give(flow, now, back);
            bucket.take(flow, now, more);
        }
        self.minute_tokens.give(flight.began, back);
        if more > 0 {
            self.minute_tokens.take(now, more);
        }
    }

    /// What the answer to a call that began then said is left. Calls that began later, or only just before, may not be
    /// counted in it yet; of two answers that of the newer call knows more.
    fn tell(&mut self, began: Timestamp, used: u64, requests: Option<Gauge>, tokens: Option<Gauge>) {
        let now = self.now;
        let uncounted = || self.flights.iter().filter(|flight| flight.began.plus(LATE_MS) > began);
        let calls = uncounted().count() as u64;
        let heavy = uncounted().map(|flight| flight.tokens).fold(0, u64::saturating_add);
        let told = |old: Option<Told>, gauge: Gauge, uncounted: u64, each: u64| {
            let reset_ms = gauge.reset_ms.unwrap_or(TOLD_MS).min(health::ASKED_MOST_MS);
            let limit = gauge.limit.unwrap_or(u64::MAX).max(gauge.left).max(1);
            let same = old.filter(|old| old.limit == limit);
            let taken = same.map_or(0, |old| old.tried.saturating_mul(each));
            Told {
                left: gauge.left.saturating_sub(uncounted),
                limit,
                until: now.plus(reset_ms),
                reset_ms: same.map_or(reset_ms, |old| old.reset_ms.max(reset_ms)),
                by: began,
                since: began,
                said: gauge.left,
                refills: same.is_some_and(|old| old.refills(began, gauge, taken)),
                tried: 0,
            }
        };
        let newer = |old: Option<Told>, new: Option<Told>, uncounted| match (old, new) {
            (Some(old), Some(new)) => Some(old.or_newer(new, now, uncounted)),
            (old, new) => new.or(old),
        };
        let (old, heaviest) = (self.told_requests, used.max(1));
        self.told_requests = newer(old, requests.map(|gauge| told(old, gauge, calls, 1)), calls);
        let old = self.told_tokens;
        self.told_tokens = newer(old, tokens.map(|gauge| told(old, gauge, heavy, heaviest)), heavy);
    }

    /// Buckets exist where there is a rate, and begin full; that of a hit limit is empty.
    fn buckets(&mut self) {
        let now = self.now;
        let begin = |flow| if self.hit_at == now { Bucket::empty(now) } else { Bucket::full(flow, now) };
        let flow = self.request_flow();
        let known = self.requests.filter(|_| self.hit_at != now);
        self.requests = Some(known.unwrap_or_else(|| begin(flow)));
        self.tokens = self.token_flow().map(|flow| self.tokens.unwrap_or_else(|| Bucket::full(flow, now)));
        let current = |told: &Told| now.since(told.by) < TOLD_FOR_MS.saturating_add(told.reset_ms);
        (self.told_requests, self.told_tokens) =
            (self.told_requests.filter(current), self.told_tokens.filter(current));
    }

    /// Was the clock set back since its newest event? Time goes on from there with the next one.
    pub fn set_back(&self, at: Timestamp) -> bool {
        at.plus(limits::CLOCK_BACK_MS) < self.now
    }

    /// Its own time goes on, or, with a clock that was set back, begins there again: nobody waits for what lies ahead.
    fn turn(&mut self, at: Timestamp) {
        if self.set_back(at) {
            let by = self.now.since(at);
            let back = |at: &mut Timestamp| at.0 = at.0.saturating_sub(by);
            [&mut self.requests, &mut self.tokens]
                .into_iter()
                .flatten()
                .for_each(|bucket| bucket.turn_back(by));
            self.minute.turn_back(by);
            self.minute_tokens.turn_back(by);
            self.window.iter_mut().for_each(|window| window.turn_back(by));
            for flight in &mut self.flights {
                back(&mut flight.began);
                back(&mut flight.until);
            }
            let told = [&mut self.told_requests, &mut self.told_tokens];
            told.into_iter().flatten().for_each(|told| {
                back(&mut told.until);
                back(&mut told.by);
                back(&mut told.since);
            });
            self.places.iter_mut().for_each(|place| back(&mut place.until));
            back(&mut self.hit_at);
            self.health.turn_back(by);
            self.spans.turn_back(at);
            self.now = at;
        }
        self.now = self.now.max(at);
    }
}

#[cfg(test)]
mod tests;
