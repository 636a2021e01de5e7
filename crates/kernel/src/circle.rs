//! An agent that goes round in a circle: the same calls with the same results, one, two or three messages long.
//!
//! Knows digests of calls and of what came of them, no texts: who waits and sees something new is in no circle. Start at
//! [`Trail::circle`].

use crate::Illegal;
use crate::decide::Draft;
use crate::fsm::{Phase, Turn};
use contract::action::Call;
use contract::event::{Event, Notice};
use contract::{Digest, Timestamp, limits};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Messages that the longest circle has.
const LONGEST: usize = 3;
/// Rounds after which the agent is told, and after which a person is asked (users' pain 12: within five).
const TOLD: usize = 3;
const ASKED: usize = 5;
/// Rounds that a person is asked about last no longer than this per message, milliseconds, and their calls together no
/// longer than that: what takes its time waits for something (a build elsewhere, a test that fails now and then), and is
/// only told.
const ROUNDS_MS: u64 = 120_000;
const CALLS_MS: u64 = 30_000;

/// What a circle is called on record.
pub(crate) const CIRCLE: &str = "loop/same-calls";

/// What the ids of models begin with that play a script.
const SCRIPTS: &str = "builtin/script";

/// What the agent did of late.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trail {
    /// The calls of each message and what came of them, newest last.
    steps: VecDeque<Footprint>,
    /// The message whose calls are being answered.
    open: u64,
    /// One of them failed.
    failed: bool,
    /// Which tools these are.
    tools: String,
    /// It was told of the circle it is in.
    told: bool,
}

/// The calls of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Footprint {
    /// A number for them and for what came of them; odd where one of them failed.
    sum: u64,
    /// When the message came.
    came: Timestamp,
    /// How long all of them took, milliseconds.
    took_ms: u64,
}

impl Trail {
    /// A call was answered.
    pub(crate) fn answered(&mut self, call: &Call, ok: bool, text: Option<Digest>) {
        let text = text.map(|text| text.to_string()).unwrap_or_default();
        let whole = format!("{} {} {ok} {text}", call.tool, call.args);
        let sum = Digest::of(whole.as_bytes()).0;
        let sum = sum.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if self.open == 0 {
            self.tools.clear();
        }
        self.open = self.open.wrapping_add(sum);
        self.failed |= !ok;
        let room = self.tools.len() + call.tool.len() < limits::SUBJECT_CHARS;
        if room && !self.tools.split(", ").any(|tool| tool == call.tool) {
            self.tools.push_str(if self.tools.is_empty() { "" } else { ", " });
            self.tools.push_str(&call.tool);
        }
    }

    /// All calls of a message are, which came then and are done now.
    pub(crate) fn stepped(&mut self, came: Timestamp, now: Timestamp) {
        let (open, failed) = (std::mem::take(&mut self.open), std::mem::take(&mut self.failed));
        self.steps.push_back(Footprint {
            sum: open & !1 | u64::from(failed),
            came,
            took_ms: now.since(came),
        });
        if self.steps.len() > LONGEST * ASKED {
            self.steps.pop_front();
        }
        self.told &= self.circle().is_some();
    }

    /// Somebody said something: what the agent does from here on is something else.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The agent knows.
    pub(crate) fn told(&mut self) {
        self.told = true;
    }

    /// Did a call of the newest messages fail?
    fn failed(&self, messages: usize) -> bool {
        self.steps.iter().rev().take(messages).any(|step| step.sum % 2 == 1)
    }

    /// The circle it is in, if it is in one: messages, and how often it went round.
    pub fn circle(&self) -> Option<(usize, usize)> {
        let steps: Vec<u64> = self.steps.iter().rev().map(|step| step.sum).collect();
        let rounds = |length: usize| {
            let newest = &steps[..length.min(steps.len())];
            steps.chunks_exact(length).take_while(|round| *round == newest).count()
        };
        (1..=LONGEST).map(|length| (length, rounds(length))).find(|(_, rounds)| *rounds >= TOLD)
    }

    /// Did the rounds that a person is asked about come one upon the other, without waiting for anything?
    fn hurried(&self, length: usize) -> bool {
        let rounds = || self.steps.iter().rev().take(length * ASKED);
        let (newest, oldest) = (rounds().next(), rounds().next_back());
        let lasted = newest.zip(oldest).map_or(0, |(newest, oldest)| newest.came.since(oldest.came));
        let called = rounds().map(|step| step.took_ms).fold(0, u64::saturating_add);
        lasted <= ROUNDS_MS * length as u64 && called <= CALLS_MS
    }
}

impl Draft<'_> {
    /// First another way, then a person.
    pub(crate) fn circling(&mut self) -> Result<bool, Illegal> {
        let Some((length, rounds)) = self.s.trail.circle() else { return Ok(false) };
        let told = self.s.trail.told;
        // What a script repeats is wanted.
        let scripted = self.s.model.as_ref().is_some_and(|model| model.id.starts_with(SCRIPTS));
        // One call that fails again and again is seen to by itself; two that fail in turn are not.
        let seen = self.s.repeat.as_ref().is_some_and(|repeat| repeat.count > 1);
        let quiet = scripted
            || seen && self.s.trail.failed(length)
            || self.s.limits().same_failures == 0
            || told && (rounds < ASKED || !self.s.trail.hurried(length));
        if quiet || self.s.turn != Turn::Model || self.s.phase != Phase::Active {
            return Ok(false);
        }
        let signature = CIRCLE.to_owned();
        let count = u32::try_from(rounds).unwrap_or(u32::MAX);
        let then = if told { "ask" } else { "workaround" };
        let failed = Event::Failed {
            signature: signature.clone(),
            count,
            then: then.into(),
            retry_at: self.s.retry_at,
        };
        self.emit(failed)?;
        if !told {
            self.emit(Event::Noticed { notice: Notice::Workaround { signature } })?;
            return Ok(true);
        }
        let tools = &self.s.trail.tools;
        let round = if length == 1 { String::new() } else { format!(", the last of {length} messages") };
        let what =
            format!("the agent made the same calls ({tools}{round}) {rounds} times with the same results");
        let hint =
            format!("kapell resume {} \"another way: ...\"  (or: kapell cancel, kapell rewind)", self.s.id);
        self.pause("stuck", &what, &hint, 5)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(steps: &[u64]) -> Option<(usize, usize)> {
        let mut trail = Trail::default();
        for step in steps {
            trail.open = step * 2;
            trail.stepped(Timestamp(1), Timestamp(1));
        }
        trail.circle()
    }

    #[test]
    fn circles_of_one_two_and_three_messages_are_seen_and_nothing_else_is() {
        assert_eq!(trail(&[1, 1]), None);
        assert_eq!(trail(&[7, 1, 1, 1]), Some((1, 3)));
        assert_eq!(trail(&[7, 1, 2, 1, 2, 1, 2]), Some((2, 3)));
        assert_eq!(trail(&[1, 2, 3].repeat(5)), Some((3, 5)));
        assert_eq!(trail(&[1; 40]), Some((1, LONGEST * ASKED)), "no more is remembered");
        assert_eq!(trail(&[1, 1, 2, 1, 1, 2, 1, 1]), None);
        assert_eq!(trail(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), None);
        assert_eq!(
            trail(&[1, 2, 1, 3, 1, 4, 1, 5]),
            None,
            "every second call is the same: tests between edits"
        );
    }
}
