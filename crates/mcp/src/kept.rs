//! Answers of tools that only read, kept until anything below the directory changes.
//!
//! Knows neither tools nor files: who asks says what an answer is good for. Start at [`Kept::find`].

use serde_json::Value;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of all answers that are kept.
const BYTES: usize = 4 << 20;
/// Bytes of one.
const ONE: usize = 256 << 10;
/// What changes without the kernel's telling (a mapping, another name of a file) is seen after so long.
const FRESH: Duration = Duration::from_millis(500);
/// What is said of the time of an answer, in it and in its text.
const STAMP: &str = "timestamp";
const STAMP_LINE: &str = "\n  \"timestamp\": \"";

/// What an answer was made from: the directory as it was, and what knows its secrets.
#[derive(Clone)]
pub(crate) struct Made {
    /// The directory's number.
    pub(crate) generation: u64,
    /// It is the same one, or the answer has to be cleaned anew.
    pub(crate) cleaner: Option<Arc<dyn Any + Send + Sync>>,
}

impl Made {
    fn is(&self, other: &Self) -> bool {
        let same = match (&self.cleaner, &other.cleaner) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same && self.generation == other.generation
    }
}

/// One answer: what it says, and the same as text.
pub(crate) struct Answer {
    value: Value,
    text: String,
    /// Where the time stands in the text.
    stamp: (usize, usize),
    made: Made,
    since: Instant,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Kept {
    all: Mutex<(HashMap<String, Arc<Answer>>, usize)>,
}

impl Kept {
    /// The answer to this, if it would be the same today but for its time, which is put in.
    pub(crate) fn find(&self, key: &str, made: &Made, now: &str) -> Option<(Value, String)> {
        let found = Arc::clone(self.lock().0.get(key)?);
        if !found.made.is(made) || found.since.elapsed() > FRESH {
            return None;
        }
        let (from, to) = found.stamp;
        let mut value = found.value.clone();
        value[STAMP] = now.into();
        let mut text = String::with_capacity(found.text.len() + now.len());
        text.push_str(&found.text[..from]);
        text.push_str(now);
        text.push_str(&found.text[to..]);
        Some((value, text))
    }

    /// Keeps an answer.
    pub(crate) fn keep(&self, key: String, made: Made, value: &Value, text: &str) {
        let bytes = key.len() + 2 * text.len();
        // Of a text that does not say its time nobody could say another one.
        let Some(from) = text.find(STAMP_LINE).map(|at| at + STAMP_LINE.len()) else { return };
        let Some(length) = text[from..].find('"') else { return };
        if bytes > ONE {
            return;
        }
        let (value, text) = (value.clone(), text.to_owned());
        let answer = Answer { value, text, stamp: (from, from + length), made, since: Instant::now() };
        let (all, held) = &mut *self.lock();
        if *held + bytes > BYTES {
            all.clear();
            *held = 0;
        }
        *held += bytes;
        if let Some(before) = all.insert(key.clone(), Arc::new(answer)) {
            *held = held.saturating_sub(key.len() + 2 * before.text.len());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (HashMap<String, Arc<Answer>>, usize)> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(generation: u64) -> Made {
        Made { generation, cleaner: None }
    }

    fn text(value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap()
    }

    #[test]
    fn an_answer_is_the_same_but_for_its_time() {
        let kept = Kept::default();
        let then =
            json!({"a": {"timestamp": "inside"}, "content": "\n  \"timestamp\": \"x\"", "timestamp": "then"});
        kept.keep("k".into(), made(1), &then, &text(&then));
        let mut now = then;
        now["timestamp"] = "now".into();
        assert_eq!(kept.find("k", &made(1), "now"), Some((now.clone(), text(&now))));
        assert_eq!(kept.find("k", &made(2), "now"), None, "something changed");
        assert_eq!(kept.find("other", &made(1), "now"), None);
        let cleaner = Made { cleaner: Some(Arc::new(1)), ..made(1) };
        assert_eq!(kept.find("k", &cleaner, "now"), None, "what is a secret is another thing by now");
    }

    #[test]
    fn little_is_kept_and_nothing_that_does_not_say_its_time() {
        let kept = Kept::default();
        kept.keep("a".into(), made(1), &json!({}), "{}");
        assert_eq!(kept.find("a", &made(1), ""), None);
        let large = json!({"content": "x".repeat(ONE), "timestamp": "t"});
        kept.keep("b".into(), made(1), &large, &text(&large));
        assert_eq!(kept.find("b", &made(1), ""), None);
        let some = json!({"content": "x".repeat(ONE / 4), "timestamp": "t"});
        for n in 0..100 {
            kept.keep(n.to_string(), made(1), &some, &text(&some));
            kept.keep(n.to_string(), made(1), &some, &text(&some));
        }
        let (all, held) = &*kept.lock();
        assert!(*held <= BYTES && !all.is_empty() && all.len() < 40, "{} {held}", all.len());
    }
}
