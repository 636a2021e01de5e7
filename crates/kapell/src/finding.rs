//! What `verify` and `doctor` say: one thing that was looked at, how it is, and what to type next.
//!
//! Knows nothing of what is looked at. Start at [`Finding`].

use crate::out;
use crate::show::clean;
use crate::term::{Paint, Term};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Damaged, lost, or in the way of working.
    Bad,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Bad => "BAD",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How it is.
    pub(crate) level: Level,
    /// What kind of thing, in one word.
    pub(crate) name: &'static str,
    /// Which one, and what is the matter.
    pub(crate) what: String,
    /// What to type, when something is to be done.
    pub(crate) hint: String,
}

impl Finding {
    /// All is well, nothing to do.
    pub(crate) fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, name, what: what.into(), hint: String::new() }
    }

    /// Something worth knowing.
    pub(crate) fn note(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { level: Level::Note, name, what: what.into(), hint: hint.into() }
    }

    /// Something wrong.
    pub(crate) fn bad(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { level: Level::Bad, name, what: what.into(), hint: hint.into() }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let level = self.level.word().to_lowercase();
        json!({"name": self.name, "level": level, "what": self.what, "hint": self.hint})
    }

    /// For people; ends in a line feed.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let level = format!("{:<4}", self.level.word());
        let level = match self.level {
            Level::Ok => paint.good(&level),
            Level::Note => paint.warn(&level),
            Level::Bad => paint.bad(&level),
        };
        let mut text = format!("{level} {:<11} {}\n", self.name, clean::line(&self.what));
        if !self.hint.is_empty() {
            text.push_str(&format!("                 {}\n", clean::line(&self.hint)));
        }
        text
    }
}

/// The worst of them.
pub(crate) fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// Nothing is said before this long: most stores are done by then.
const SILENT: Duration = Duration::from_secs(2);
/// Pause between two words.
const PAUSE: Duration = Duration::from_millis(200);

/// One line on a terminal that says how far something long is. Elsewhere nothing is said.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    seen: bool,
    said: Mutex<Option<Instant>>,
}

impl Progress {
    /// Begins now.
    pub(crate) fn begin(term: Term) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), seen: term.stderr && term.moves, said: Mutex::new(None) })
    }

    /// Says how far it is, when somebody looks, long enough has passed, and not too often.
    pub(crate) fn tell(&self, doing: &str, done: u64, of: u64) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seen && due(self.began.elapsed(), said.map(|at| at.elapsed())) {
            out::complain(&format!("\r\x1b[K{doing}: {done} of {of}"));
            *said = Some(Instant::now());
        }
    }

    /// Takes the line away again.
    pub(crate) fn clear(&self) {
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            out::complain("\r\x1b[K");
        }
    }
}

fn due(since_begin: Duration, since_said: Option<Duration>) -> bool {
    since_begin >= SILENT && since_said.is_none_or(|since| since >= PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_after_two_seconds_and_then_five_a_second() {
        let ms = Duration::from_millis;
        assert!(!due(ms(1_999), None) && due(ms(2_000), None));
        assert!(!due(ms(9_000), Some(ms(199))) && due(ms(9_000), Some(ms(200))));
    }

    #[test]
    fn what_is_foreign_in_a_finding_cannot_move_the_cursor() {
        let text = Finding::bad("blobs", "a\x1b[2Jb", "c\nd").text(Term::default().paint());
        assert!(
            text.starts_with("BAD  blobs ") && !text.contains('\x1b') && text.lines().count() == 2,
            "{text:?}"
        );
    }
}
