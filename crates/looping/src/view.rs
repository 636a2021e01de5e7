//! The loop as it stands, without changing anything: when schedules come next, what would be done with them now.
//!
//! Works without a record, and without the right to write one. Start at [`Seen`].

use crate::modes::Modes;
use crate::place::Place;
use crate::port::Trust;
use crate::read::Read;
use crate::slots::{waits, worded};
use crate::trusted;
use contract::looping::{Job, LoopEvent};
use contract::{Digest, Fault, SessionId, Timestamp};
use desk::Desk;
use kernel::looping::claim::{Case, Tasks, decide};
use kernel::looping::{Failing, Loop, Open};
use kernel::schedule::Due;
use serde_json::{Value, json};

/// What a repository's files and the record of its loop say at one moment.
pub struct Seen<'h> {
    /// Its schedules, in the order of the file.
    pub reads: Vec<Read>,
    /// The record; empty where there is none.
    pub known: Loop,
    /// How the wall clock goes.
    pub place: Place,
    trust: &'h dyn Trust,
    modes: Modes,
    now: Timestamp,
}

impl std::fmt::Debug for Seen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").field("reads", &self.reads).field("now", &self.now).finish_non_exhaustive()
    }
}

/// How the loop stands.
#[derive(Debug)]
pub struct Status<'s> {
    /// Why nothing fires, if nothing does.
    pub paused: Option<&'s str>,
    /// Jobs whose end is not written back, oldest first.
    pub jobs: Vec<&'s Open>,
    /// What fails, by its name.
    pub failing: Vec<(&'s str, &'s Failing)>,
    /// The slot that comes next, and its schedule's name.
    pub next: Option<(Timestamp, String)>,
}

impl<'h> Seen<'h> {
    /// What the files say, and the record. Slots go by the zone on record, else by this one; without any, what goes by
    /// the wall clock does not fire.
    pub fn of(
        trust: &'h dyn Trust,
        desk: &Desk,
        (zone, known): (Option<Place>, Loop),
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let zone = match &known.zone {
            Some(name) => Place::named(name).ok(),
            None => zone,
        };
        let reads = Read::all(desk.schedules()?, now, zone.is_some());
        let modes = Modes(desk.modes()?.unwrap_or_default());
        Ok(Self { reads, known, place: zone.unwrap_or_default(), trust, modes, now })
    }

    /// How one schedule stands: a word, and the slots that come next.
    pub fn stands(&self, read: &Read, most: usize) -> (&'static str, Vec<Timestamp>) {
        let since = self.known.counts(read.filed(), self.now);
        let next = read.time.next(&since, self.now, &self.place, most);
        let held = since.held.is_some();
        // A record of trust that cannot be read trusts nothing.
        let untrusted =
            || trusted::schedule_refused(self.trust, read, &self.modes).map_or(true, |why| why.is_some());
        let word = match self.known.due(read.filed(), self.now, &self.place) {
            _ if !read.inert.is_empty() => "inert",
            _ if !read.time.active => "inactive",
            _ if self.known.schedule_escalated(&read.file.id).is_some() => "escalated",
            Due::Never(_) => "inert",
            _ if untrusted() => "untrusted",
            Due::Expired => "expired",
            Due::Later(_) => "waits",
            Due::Now(_) | Due::Late(_) if held => "held",
            Due::Now(_) | Due::Late(_) => "due",
        };
        (word, next)
    }

    /// The same as a document, with its newest slot and session.
    pub fn value(&self, read: &Read, most: usize) -> Value {
        let (state, next) = self.stands(read, most);
        let known = self.known.schedule(&read.file.id);
        let session = known.and_then(|known| known.session).map(|id| id.to_string());
        json!({
            "id": read.file.id, "name": read.name(), "mode": read.file.text("mode"), "state": state,
            "next": next.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "last_slot": known.and_then(|known| known.last).map(|(slot, _)| slot.to_string()),
            "last_session": session,
        })
    }

    /// How the loop stands.
    pub fn status(&self) -> Status<'_> {
        let next = |read: &Read| Some((self.stands(read, 1).1.first().copied()?, read.name().to_owned()));
        Status {
            paused: self.known.halted.as_deref(),
            jobs: self.known.jobs().collect(),
            failing: self.known.failing().collect(),
            next: self.reads.iter().filter_map(next).min(),
        }
    }

    /// What would be done with a schedule now, while these tasks are there: a sentence.
    pub fn would(&self, read: &Read, tasks: &Tasks, repo: &str) -> String {
        match self.stands(read, 1).0 {
            "untrusted" => return format!("nothing: untrusted; {}", trusted::HINT),
            "inert" if !read.inert.is_empty() => return format!("nothing: {}", read.inert),
            _ => {}
        }
        let mut known = self.known.clone();
        let job = Job { session: SessionId(0), mode: String::new(), goal: Digest::of(b""), bytes: 0 };
        let wrong = worded(read, &self.modes).err().unwrap_or_default();
        let case = Case { filed: read.filed(), tasks, zone: &self.place, repo, wrong: &wrong, now: self.now };
        let mut facts = decide(&case, &known, &job);
        // Met for the first time, it is judged once it is on record.
        if let Some(seen @ LoopEvent::Seen { .. }) = facts.first()
            && known.apply(self.now, seen).is_ok()
        {
            facts = decide(&case, &known, &job);
        }
        let slot = |at: &Timestamp, missed: u32| match missed {
            0 => format!("the slot of {}", self.place.shown(*at)),
            n => format!("the slot of {} and {n} before it", self.place.shown(*at)),
        };
        match facts.first() {
            Some(LoopEvent::Fired { slot: at, missed, interrupts, .. }) if interrupts.is_empty() => {
                format!("would fire {}", slot(at, *missed))
            }
            Some(LoopEvent::Fired { slot: at, missed, .. }) => {
                format!("would pause what runs and fire {}", slot(at, *missed))
            }
            Some(LoopEvent::Passed { slot: at, missed, why, .. }) => {
                format!("would pass over {}: {why}", slot(at, *missed))
            }
            Some(LoopEvent::Held { slot: at, .. }) => {
                format!("would wait with {}: {}", slot(at, 0), waits(&known, &read.file.id))
            }
            _ if known.halted.is_some() => "nothing: the loop is paused".into(),
            _ => match self.stands(read, 1).0 {
                "held" => format!("nothing: its slot waits: {}", waits(&known, &read.file.id)),
                state => format!("nothing: {state}"),
            },
        }
    }
}
