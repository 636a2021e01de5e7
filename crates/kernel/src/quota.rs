//! The limits of one key at one provider: a fold of the calls that began and ended, shared by every session.
//!
//! Integers and values only; bounded however many calls there are. Start at [`Quota::apply`].

use crate::Illegal;
use contract::model::Rates;
use contract::quota::QuotaEvent;
use contract::{ActionId, Seq, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

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
    /// Calls under way.
    flights: Vec<Flight>,
}

/// A call under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    session: SessionId,
    action: ActionId,
    tokens: u64,
    until: Timestamp,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            seq: 0,
            name: String::new(),
            rates: Rates::default(),
            declared_by: SessionId(0),
            flights: Vec::new(),
        }
    }
}

impl Quota {
    /// Folds one event. What was not declared first does not belong here.
    pub fn apply(&mut self, at: Timestamp, event: &QuotaEvent) -> Result<(), Illegal> {
        if self.seq == 0 && !matches!(event, QuotaEvent::Declared { .. }) {
            return Err(Illegal {
                state: "a quota of which nothing is known".into(),
                event: format!("{event:?}"),
            });
        }
        // What a killed process held lapses by itself.
        self.flights.retain(|flight| flight.until > at);
        match event {
            QuotaEvent::Declared { name, rates, by } => {
                (self.name, self.rates, self.declared_by) = (name.clone(), *rates, *by);
            }
            QuotaEvent::Taken { session, action, tokens, until } => {
                let (session, action, tokens, until) = (*session, *action, *tokens, *until);
                self.flights.push(Flight { session, action, tokens, until });
            }
            QuotaEvent::Settled { session, action, .. } => {
                self.flights.retain(|flight| (flight.session, flight.action) != (*session, *action));
            }
        }
        self.seq += 1;
        Ok(())
    }

    /// Calls under way at this moment.
    pub fn under_way(&self, now: Timestamp) -> usize {
        self.flights.iter().filter(|flight| flight.until > now).count()
    }
}
