//! What must hold, whatever happens: one name per promise, and what it looks like when one is broken.
//!
//! Knows no way to find out; the oracle does. Start at [`Promise`].

use std::fmt;

/// The invariants (I1 to I10), and promises of the design page that are checked besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// I1: what was acknowledged is there after any crash.
    Acknowledged,
    /// I2: numbers have no gap, the chain verifies, a batch is there as a whole or not at all.
    Chain,
    /// I3: state is a fold of the journal, on every replay and in every process.
    Fold,
    /// I4: one action in flight, under the newest lease; nothing is committed twice.
    Once,
    /// I5: nothing runs before its start is durable.
    DurableFirst,
    /// I6: what is external and unknown runs again only when a person says so.
    Unknown,
    /// I7: a yes is good for one thing, once.
    Approval,
    /// I8: what a task depends on is done before it.
    Order,
    /// I9: settled + held <= cap, and every reservation is settled once.
    Budget,
    /// No key is used beyond what its provider allows, as far as that is declared or told.
    Quota,
    /// I10: when faults stop, everything comes to its end.
    Liveness,
    /// An intent takes effect once, however often it is sent.
    Dedupe,
    /// For everybody who waits there is a reason.
    Explained,
    /// Every call of a conversation has its result.
    Conversation,
    /// What an interrupted action left half done is taken back before anything else of its session runs.
    Half,
    /// A cut leaves what must stay, tells of what went, and does no more than was planned when nobody words it.
    Cut,
    /// After a cancel nothing new starts.
    Stop,
    /// A list of what there is has been outgrown: mend the simulator.
    Known,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acknowledged => "I1 acknowledged is durable",
            Self::Chain => "I2 no gap, the chain holds",
            Self::Fold => "I3 state is the fold",
            Self::Once => "I4 one authority, once",
            Self::DurableFirst => "I5 durable before it runs",
            Self::Unknown => "I6 unknown is not run again",
            Self::Approval => "I7 a yes is for one thing, once",
            Self::Order => "I8 dependencies first",
            Self::Budget => "I9 never over budget",
            Self::Quota => "within every key's limits",
            Self::Liveness => "I10 everything ends",
            Self::Dedupe => "an intent takes effect once",
            Self::Explained => "everyone who waits has a reason",
            Self::Conversation => "conversations are whole",
            Self::Half => "half a change is taken back first",
            Self::Cut => "a cut keeps what must stay",
            Self::Stop => "stop means stop",
            Self::Known => "the simulator knows it",
        })
    }
}

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// To what, and how.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// Nothing, or what broke.
pub(crate) type Checked = Result<(), Broken>;

impl Promise {
    pub(crate) fn broken<T>(self, what: impl Into<String>) -> Result<T, Broken> {
        Err(Broken { promise: self, what: what.into() })
    }

    /// Broken, unless this is so.
    pub(crate) fn holds(self, so: bool, what: impl FnOnce() -> String) -> Checked {
        if so { Ok(()) } else { self.broken(what()) }
    }
}
