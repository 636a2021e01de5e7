//! Takes secrets out of a text that comes in pieces: what may still become one is held back.
//!
//! Knows no clock: who is at the end says so. Start at [`Stream::push`].

use crate::pattern;
use crate::redact::{Redactor, mask};
use std::sync::Arc;

/// Most bytes that are held back; beyond, all but the last of them go on.
const HELD_BYTES: usize = 16 * 1024;
/// Of what is one secret as far as it came: beyond, it goes as one.
const MOST_BYTES: usize = 2 * HELD_BYTES;
/// Of a longer one: how much of its end stays.
const TAIL_BYTES: usize = 1024;
/// Lines of a private key without an end that are held to be one.
const KEY_LINES: usize = 200;

/// One text that is under way.
#[derive(Debug)]
pub struct Stream {
    redactor: Arc<Redactor>,
    held: String,
    /// Lines that are still taken for a private key's.
    key_lines: usize,
}

impl Stream {
    /// The beginning of a text.
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, held: String::new(), key_lines: 0 }
    }

    /// Takes a piece; what can be shown by now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let ready = self.ready();
        if ready == 0 {
            return String::new();
        }
        let rest = self.held.split_off(ready);
        let text = std::mem::replace(&mut self.held, rest);
        self.redactor.text(&text).into_owned()
    }

    /// The end: whatever was held back.
    pub fn end(&mut self) -> String {
        self.redactor.text(&std::mem::take(&mut self.held)).into_owned()
    }

    /// A whole line of a program's output, of which private keys have many.
    pub fn line(&mut self, line: &str) -> String {
        if self.key_lines > 0 {
            self.key_lines = if line.contains("-----END ") { 0 } else { self.key_lines - 1 };
            return mask("private-key");
        }
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") && !line.contains("-----END ") {
            self.key_lines = KEY_LINES;
            return mask("private-key");
        }
        self.redactor.text(line).into_owned()
    }

    /// The same where there is no good place to cut: not in a word that may become a token, unless it is too long for one.
    fn long(&self) -> usize {
        let held = &self.held;
        let end = held.floor_char_boundary(held.len() - TAIL_BYTES);
        let part = |c: char| c.is_ascii_alphanumeric() || "_-.+/=".contains(c);
        let word = held[..end].rfind(|c| !part(c)).map_or(0, |at| held.ceil_char_boundary(at + 1));
        let ready = if word == 0 || held.len() > MOST_BYTES { end } else { word };
        let mut over = self.redactor.find(held.as_bytes()).into_iter();
        match over.find(|span| span.start < ready && ready < span.end).map(|span| span.start) {
            None => ready,
            Some(0) if held.len() > MOST_BYTES => held.len(),
            Some(start) => held.floor_char_boundary(start),
        }
    }

    /// Bytes that no secret can reach over.
    fn ready(&self) -> usize {
        let held = &self.held;
        if held.len() > HELD_BYTES {
            return self.long();
        }
        // A key's block is shown when it is whole.
        if let Some(begin) = held.find("-----BEGIN ")
            && !held[begin..].contains("-----END ")
        {
            return begin;
        }
        let most = held.floor_char_boundary(held.len().saturating_sub(self.redactor.spaced()));
        let line = held.rfind('\n').map_or(0, |at| at + 1);
        let shown = &held[..if pattern::is_telling(&held[line..]) { line.min(most) } else { most }];
        let ready = shown.rfind(char::is_whitespace).map_or(0, |at| shown.ceil_char_boundary(at + 1));
        let spans = if ready == 0 { Vec::new() } else { self.redactor.find(held.as_bytes()) };
        let over = spans.into_iter().find(|span| span.start < ready && ready < span.end);
        over.map_or(ready, |span| held.floor_char_boundary(span.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn a_secret_over_two_pieces_is_taken_out_wherever_they_part() {
        let known = Secret::new("PASS", "correct horse battery 77");
        let redactor = Arc::new(Redactor::new(known));
        let text = "Look: ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6 and correct horse battery 77 é\nAPI_KEY=abc-1234 end";
        let whole = redactor.text(text).into_owned();
        assert_eq!(whole.matches("[secret removed").count(), 3, "{whole}");
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let mut stream = Stream::new(Arc::clone(&redactor));
            let shown = [stream.push(&text[..at]), stream.push(&text[at..]), stream.end()].concat();
            assert_eq!(shown, whole, "parted at {at}");
        }
        let mut stream = Stream::new(redactor);
        let mut shown: String = text.chars().map(|c| stream.push(&c.to_string())).collect();
        shown.push_str(&stream.end());
        assert_eq!(shown, whole);
    }

    #[test]
    fn words_are_not_held_for_long() {
        let mut stream = Stream::new(Arc::default());
        assert_eq!(stream.push("I look at the fi"), "I look at the ");
        assert_eq!(stream.push("les "), "files ");
        assert_eq!(stream.push(&"x".repeat(HELD_BYTES + 1)).len(), HELD_BYTES + 1 - TAIL_BYTES);
    }

    #[test]
    fn a_secret_in_a_line_without_places_to_cut_goes_whole() {
        const KEY: &str = "ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6";
        // A token that begins before what is held back, and one longer than that.
        let long = format!(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi{}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r",
            "aB3dE6gH9j".repeat(200)
        );
        for key in [KEY, &long] {
            for short in [0, 10, 35, 1000] {
                let before = "x,".repeat((HELD_BYTES - TAIL_BYTES - short) / 2);
                let text = format!("{before}{key},{}", "y,".repeat(2 * TAIL_BYTES));
                let mut stream = Stream::new(Arc::default());
                let mut shown: String = text
                    .as_bytes()
                    .chunks(512)
                    .map(|it| stream.push(std::str::from_utf8(it).unwrap()))
                    .collect();
                shown.push_str(&stream.end());
                assert!(!shown.contains(&key[key.len() - 20..]) && !shown.contains(&key[..30]), "{short}");
                assert!(shown.len() > before.len() + 2 * TAIL_BYTES);
            }
        }
        let mut stream = Stream::new(Arc::default());
        let key = format!("-----BEGIN PRIVATE KEY-----\n{}", "aB3dE6gH9j".repeat(2_800));
        let shown: String =
            key.as_bytes().chunks(512).map(|it| stream.push(std::str::from_utf8(it).unwrap())).collect();
        assert!(!shown.contains("aB3dE6gH9j"), "{}", shown.len());
    }

    #[test]
    fn lines_of_a_private_key_are_none() {
        let mut stream = Stream::new(Arc::default());
        let shown: Vec<String> =
            ["-----BEGIN EC PRIVATE KEY-----", "MHcCAQEE", "-----END EC PRIVATE KEY-----", "done"]
                .map(|line| stream.line(line))
                .into();
        assert_eq!(shown, [&mask("private-key"), &mask("private-key"), &mask("private-key"), "done"]);
    }
}
