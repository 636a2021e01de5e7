//! How rough a seed is: each rate drawn once, many of them zero (swarm testing, Groce et al. 2012).
//!
//! Knows rates, not what they do. Start at [`Setup`] (what a run is asked for) and [`Swarm`] (what the seed drew).

use crate::rng::Rng;

/// What can go wrong outside the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed; what it had written stays.
    Crash,
    /// The machine loses power: every process dies, and what was not synced is gone.
    PowerCut,
    /// Power goes while a batch is written: only its beginning reached the disk.
    TornTail,
    /// The same, with one bit wrong.
    BitFlip,
    /// The same, with one sector missing.
    LostSector,
    /// A process goes down in order.
    GoDown,
    /// A process does not move for a while.
    Stall,
    /// The wall clock jumps ahead.
    ClockForward,
    /// The wall clock jumps back.
    ClockBack,
    /// One process's clock is off.
    Skew,
    /// A session changes hands although its holder lives.
    LeaseLost,
    /// The process dies before the commit is durable.
    CommitLost,
    /// The process dies after it is durable and before it knows.
    ReplyLost,
    /// A commit is refused although nobody else wrote.
    Conflict,
    /// The disk fails; whether the write is on it only a restart shows.
    Io,
    /// No space.
    Full,
    /// The store cannot be written for a moment.
    ReadOnly,
    /// A newer Kapell has brought the store up to date.
    Newer,
    /// A record is refused as too large.
    TooLarge,
    /// Something cannot be read for a moment.
    ReadError,
    /// A lease cannot be taken or renewed for a moment.
    LeaseError,
    /// An intent cannot be left, or nobody learns that it was.
    SubmitError,
    /// An attempt's end is never heard of.
    LostMessage,
    /// An attempt's end is told twice.
    DuplicateOutcome,
    /// An attempt ends long after its deadline.
    LateOutcome,
    /// An intent is submitted twice.
    DuplicateIntent,
    /// A child's end is told again, under another key.
    ToldTwice,
    /// Something in the inbox is not an intent.
    GarbledMail,
    /// A snapshot lies there that is of another history.
    ForeignSnapshot,
    /// An executor answers with a result of another kind of work.
    WrongShape,
    /// A model bills more than it may.
    Overbilled,
    /// Models, tools and checks fail.
    Failure,
    /// Every model's provider is down for a while.
    Outage,
    /// An attempt that was to begin fails before it does.
    NotBegun,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::Crash,
        Self::PowerCut,
        Self::TornTail,
        Self::BitFlip,
        Self::LostSector,
        Self::GoDown,
        Self::Stall,
        Self::ClockForward,
        Self::ClockBack,
        Self::Skew,
        Self::LeaseLost,
        Self::CommitLost,
        Self::ReplyLost,
        Self::Conflict,
        Self::Io,
        Self::Full,
        Self::ReadOnly,
        Self::Newer,
        Self::TooLarge,
        Self::ReadError,
        Self::LeaseError,
        Self::SubmitError,
        Self::LostMessage,
        Self::DuplicateOutcome,
        Self::LateOutcome,
        Self::DuplicateIntent,
        Self::ToldTwice,
        Self::GarbledMail,
        Self::ForeignSnapshot,
        Self::WrongShape,
        Self::Overbilled,
        Self::Failure,
        Self::Outage,
        Self::NotBegun,
    ];
}

/// Faults that are switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Without(u64);

impl Without {
    /// With this one switched off too.
    #[must_use]
    pub fn and(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u64)
    }

    /// Is it switched off?
    pub fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u64 != 0
    }

    /// Exactly the others switched off.
    #[must_use]
    pub fn others(self) -> Self {
        Fault::ALL
            .iter()
            .filter(|fault| !self.has(**fault))
            .fold(Self::default(), |all, fault| all.and(*fault))
    }

    /// Names separated by commas, as [`Without::parse`] reads them.
    pub fn names(self) -> String {
        let off = Fault::ALL.iter().filter(|fault| self.has(**fault));
        off.map(|fault| format!("{fault:?}")).collect::<Vec<_>>().join(",")
    }

    /// From names separated by commas; the error is the name nobody knows.
    pub fn parse(names: &str) -> Result<Self, String> {
        let known = |name: &str| Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name);
        let mut parsed = Self::default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            parsed = parsed.and(known(name).ok_or_else(|| format!("there is no fault `{name}`"))?);
        }
        Ok(parsed)
    }
}

/// What the sessions are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The in-memory twin.
    #[default]
    Memory,
    /// SQLite in a temporary directory.
    Sqlite,
}

/// What one run is asked for. The seed says the rest, unless something here overrules it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// The seed.
    pub seed: u64,
    /// Scheduler steps with faults; after them come as many as it takes to come to rest.
    pub steps: u64,
    /// Processes at most.
    pub nodes: Option<u64>,
    /// Root sessions at most.
    pub sessions: Option<u64>,
    /// Faults switched off.
    pub without: Without,
    /// Where it is stored.
    pub backend: Backend,
}

impl Setup {
    /// This seed, as it comes.
    pub fn new(seed: u64, steps: u64) -> Self {
        let (without, backend) = (Without::default(), Backend::Memory);
        Self { seed, steps, nodes: None, sessions: None, without, backend }
    }

    /// The arguments of `cargo xtask sim` that run this again.
    pub fn arguments(&self) -> String {
        let mut text = format!("--seed {} --steps {}", self.seed, self.steps);
        let mut add = |name: &str, value: String| text.push_str(&format!(" {name} {value}"));
        self.nodes.iter().for_each(|nodes| add("--nodes", nodes.to_string()));
        self.sessions.iter().for_each(|sessions| add("--sessions", sessions.to_string()));
        let off = Fault::ALL.iter().filter(|fault| self.without.has(**fault)).count();
        if off > Fault::ALL.len() / 2 {
            add("--only", format!("{},", self.without.others().names()));
        } else if off > 0 {
            add("--without", self.without.names());
        }
        if self.backend == Backend::Sqlite {
            add("--store", "sqlite".into());
        }
        text
    }
}

/// What the seed drew. Rates are per hundred thousand and per scheduler step, or per write, read or message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swarm {
    pub(crate) nodes: u64,
    pub(crate) sessions: u64,
    /// Slots of each kind in each process.
    pub(crate) slots: u64,
    /// Processes share a lock of the operating system; otherwise only leases keep them apart.
    pub(crate) locks: bool,
    pub(crate) crash: u64,
    pub(crate) power: u64,
    pub(crate) go_down: u64,
    pub(crate) stall: u64,
    pub(crate) clock: u64,
    pub(crate) lease: u64,
    pub(crate) append: u64,
    pub(crate) read: u64,
    pub(crate) submit: u64,
    pub(crate) lost: u64,
    pub(crate) duplicate: u64,
    pub(crate) late: u64,
    pub(crate) failure: u64,
    pub(crate) wrong: u64,
    pub(crate) overbill: u64,
    pub(crate) oddities: u64,
    pub(crate) not_begun: u64,
    pub(crate) person: u64,
    pub(crate) story: Story,
}

/// What the sessions of a seed tell of most: per thousand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    /// Sessions in which a person is asked before something is done.
    pub(crate) asks: u64,
    /// Calls that act outside.
    pub(crate) acts: u64,
    /// Sessions that talk until their conversation is cut.
    pub(crate) long: u64,
}

impl Swarm {
    pub(crate) fn draw(rng: &mut Rng, setup: &Setup) -> Self {
        let sessions = 2 + rng.below(22);
        let nodes = 1 + rng.below(3);
        Self {
            nodes: setup.nodes.map_or(nodes, |most| most.min(nodes)).max(1),
            sessions: setup.sessions.map_or(sessions, |most| most.min(sessions)).max(1),
            slots: 1 + rng.below(3),
            locks: rng.chance(700),
            crash: rng.of(&[0, 50, 150, 400]),
            power: rng.of(&[0, 0, 50, 150]),
            go_down: rng.of(&[0, 0, 100, 300]),
            stall: rng.of(&[0, 0, 100, 800]),
            clock: rng.of(&[0, 0, 100, 400]),
            lease: rng.of(&[0, 0, 300, 1_000, 6_000]),
            append: rng.of(&[0, 200, 1_000, 3_000]),
            read: rng.of(&[0, 0, 0, 500]),
            submit: rng.of(&[0, 0, 5_000, 20_000]),
            lost: rng.of(&[0, 0, 1_000, 5_000, 20_000]),
            duplicate: rng.of(&[0, 2_000, 10_000, 20_000]),
            late: rng.of(&[0, 0, 1_000, 5_000]),
            failure: rng.of(&[0, 5_000, 20_000, 40_000]),
            wrong: rng.of(&[0, 0, 500, 2_000]),
            overbill: rng.of(&[0, 0, 500, 3_000]),
            oddities: rng.of(&[0, 0, 200, 1_000]),
            not_begun: rng.of(&[0, 0, 2_000, 10_000, 30_000]),
            person: rng.of(&[500, 3_000, 12_000]),
            story: Story {
                asks: rng.of(&[0, 500, 500, 1_000]),
                acts: rng.of(&[0, 250, 250, 600]),
                long: rng.of(&[0, 0, 100, 600]),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Met;

    #[test]
    fn every_fault_is_listed_once_and_named() {
        for (at, fault) in Fault::ALL.iter().enumerate() {
            assert_eq!((fault.index(), *fault as usize), (at, at));
        }
        let off = Without::default().and(Fault::Crash).and(Fault::Skew);
        assert_eq!(Without::parse(&off.names()), Ok(off));
        assert!(Without::parse("Crash,Rain").unwrap_err().contains("Rain"));
    }
}
