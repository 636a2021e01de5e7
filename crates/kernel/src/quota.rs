//! The limits of one key at one provider: a fold of the calls that began and ended, shared by every session.
//!
//! Integers and values only; bounded however many calls there are. The strictest rule wins, and every no has its moment.
//! Start at [`Quota::verdict`] (may a call begin?) and [`Quota::apply`].

pub mod health;
pub mod learned;
pub mod pace;

use crate::Illegal;
use contract::model::{Gauge, Rates};
use contract::quota::{CallEnd, QuotaEvent};
use contract::{ActionId, Seq, SessionId, Timestamp, limits};
use health::{Breaker, Health, Pause};
use learned::Learned;
use pace::{Bucket, Flow, LATE_MS, MINUTE_MS, Window};
use serde::{Deserialize, Serialize};

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
    /// When it is full again, and how long that takes.
    until: Timestamp,
    reset_ms: u64,
    /// When the call began whose answer said so.
    by: Timestamp,
}

impl Told {
    /// As it is now: once the moment has come, all of it is there again.
    fn at(self, now: Timestamp) -> Self {
        if now < self.until {
            self
        } else {
            Self { left: self.limit, until: now.plus(self.reset_ms), ..self }
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
        let told = |told: Option<Told>, units: u64| {
            let short = |told: &Told| told.left < units.min(told.limit);
            told.map(|told| told.at(now)).filter(short).map(|told| held(Why::Reset, told.until))
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
        .chain(told(self.told_requests, load.calls))
        .chain(told(self.told_tokens, load.tokens))
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
        let until = self.flying(now).map(|flight| flight.until).min().filter(|_| full)?;
        Some(Held { why: Why::UnderWay, until })
    }

    fn flying(&self, now: Timestamp) -> impl Iterator<Item = &Flight> {
        self.flights.iter().filter(move |flight| flight.until > now)
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
        match event {
            QuotaEvent::Declared { name, rates, by } => {
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
                self.flights.push(Flight { session, action, tokens, began: now, until });
                self.took(tokens);
                self.health.began(now, (session, action));
            }
            QuotaEvent::Settled { session, action, tokens, end, meter } => {
                let under_way = self.under_way(now);
                let own = |flight: &Flight| (flight.session, flight.action) == (*session, *action);
                let flight = self.flights.iter().position(own).map(|at| self.flights.remove(at));
                let began = flight.as_ref().map_or(now, |flight| flight.began);
                if let Some(flight) = flight {
                    self.used(&flight, *tokens);
                }
                match end {
                    // Those that were under way together hit it together: that is one hit.
                    CallEnd::Limited { .. } if began <= self.hit_at => {}
                    CallEnd::Limited { .. } => {
                        self.hit_at = now;
                        self.learned.hit(self.minute.sum(now));
                    }
                    CallEnd::Answered => self.learned.answered(),
                    _ => {}
                }
                self.health.ended(now, (*session, *action), *end, under_way);
                self.tell(began, meter.requests, meter.tokens);
            }
            QuotaEvent::Lifted { .. } => {
                self.health.lift(now);
                (self.told_requests, self.told_tokens) = (None, None);
            }
        }
        self.buckets();
        self.seq += 1;
        Ok(())
    }

    fn took(&mut self, tokens: u64) {
        let (now, requests, token) = (self.now, self.request_flow(), self.token_flow());
        if let Some(bucket) = &mut self.requests {
            bucket.take(requests, now, 1);
        }
        if let Some((bucket, flow)) = self.tokens.as_mut().zip(token) {
            bucket.take(flow, now, tokens);
        }
        self.minute.take(now, 1);
        self.minute_tokens.take(now, tokens);
        if let Some(window) = &mut self.window {
            window.take(now, 1);
        }
        let less = |told: &mut Option<Told>, units: u64| {
            if let Some(told) = told {
                *told = told.at(now);
                told.left = told.left.saturating_sub(units);
            }
        };
        less(&mut self.told_requests, 1);
        less(&mut self.told_tokens, tokens);
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
    fn tell(&mut self, began: Timestamp, requests: Option<Gauge>, tokens: Option<Gauge>) {
        let now = self.now;
        let uncounted = || self.flights.iter().filter(|flight| flight.began.plus(LATE_MS) > began);
        let calls = uncounted().count() as u64;
        let heavy = uncounted().map(|flight| flight.tokens).fold(0, u64::saturating_add);
        let told = |gauge: Gauge, uncounted: u64| {
            let reset_ms = gauge.reset_ms.unwrap_or(TOLD_MS).min(health::ASKED_MOST_MS);
            Told {
                left: gauge.left.saturating_sub(uncounted),
                limit: gauge.limit.unwrap_or(u64::MAX).max(gauge.left).max(1),
                until: now.plus(reset_ms),
                reset_ms,
                by: began,
            }
        };
        let newer = |old: Option<Told>, new: Option<Told>| match (old, new) {
            (Some(old), Some(new)) if new.by < old.by => Some(old),
            (old, new) => new.or(old),
        };
        self.told_requests = newer(self.told_requests, requests.map(|gauge| told(gauge, calls)));
        self.told_tokens = newer(self.told_tokens, tokens.map(|gauge| told(gauge, heavy)));
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
            });
            back(&mut self.hit_at);
            self.health.turn_back(by);
            self.now = at;
        }
        self.now = self.now.max(at);
    }
}

#[cfg(test)]
mod tests;
