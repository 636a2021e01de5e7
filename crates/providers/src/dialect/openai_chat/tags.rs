//! Thoughts that a server leaves in the text, between `<think>` and `</think>`.
//!
//! Only at the very beginning of a reply: further on they are words like others. Some templates open the tag themselves,
//! so that only its end is in the reply: that shows when it comes. Start at [`Tags::push`] and [`unopened`].

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Takes thoughts out of a text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Tags {
    state: State,
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far.
    #[default]
    Start,
    Thinking,
    /// Behind the tag: white space there belongs to it.
    Gap,
    Text,
}

impl Tags {
    /// The next piece: the text in it, and the thoughts, tags included. What may be the beginning of a tag is held.
    pub(super) fn push(&mut self, piece: &str) -> (String, String) {
        self.held.push_str(piece);
        let mut thought = String::new();
        if self.state == State::Start {
            let begin = self.held.trim_start();
            if let Some(rest) = begin.strip_prefix(OPEN) {
                let tag = self.held.len() - rest.len();
                thought.extend(self.held.drain(..tag));
                self.state = State::Thinking;
            } else if OPEN.starts_with(begin) {
                return (String::new(), thought);
            } else {
                self.state = State::Text;
            }
        }
        if self.state == State::Thinking {
            match self.held.find(CLOSE) {
                Some(at) => {
                    thought.extend(self.held.drain(..at + CLOSE.len()));
                    self.state = State::Gap;
                }
                None => {
                    let keep =
                        (1..CLOSE.len()).rev().find(|n| self.held.ends_with(&CLOSE[..*n])).unwrap_or(0);
                    let end = self.held.len() - keep;
                    thought.extend(self.held.drain(..end));
                    return (String::new(), thought);
                }
            }
        }
        if self.state == State::Gap {
            let white = self.held.len() - self.held.trim_start().len();
            self.held.drain(..white);
            self.state = if self.held.is_empty() { State::Gap } else { State::Text };
        }
        (std::mem::take(&mut self.held), thought)
    }

    /// What was held because more could have come: text, or thoughts.
    pub(super) fn rest(&mut self) -> (String, String) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Thinking => (String::new(), held),
            _ => (held, String::new()),
        }
    }
}

/// How many bytes at the beginning of a whole reply are thoughts whose opening tag the template wrote: those up to the
/// end of a closing tag that stands on a line of its own and that nothing has opened. What a reply quotes is no such tag.
pub(super) fn unopened(text: &str) -> usize {
    let Some(at) = text.find(CLOSE) else { return 0 };
    let (before, after) = (&text[..at], &text[at + CLOSE.len()..]);
    let alone = (before.trim_end_matches([' ', '\t']).ends_with('\n') || before.trim().is_empty())
        && (after.is_empty() || after.trim_start_matches([' ', '\t', '\r']).starts_with('\n'));
    let quoted = before.matches("```").count() % 2 == 1;
    if !alone || quoted || before.contains(OPEN) {
        return 0;
    }
    text.len() - after.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_beginning_ends_thoughts_only_where_it_can_be_nothing_else() {
        for (text, said) in [
            ("Hm, a test.\nI see.\n</think>\n\nIt is done.", "It is done."),
            ("hm\n</think>", ""),
            ("</think>\nhello", "hello"),
            ("hello", "hello"),
            ("the tag `</think>` ends it", "the tag `</think>` ends it"),
            ("first\n</think> and more", "first\n</think> and more"),
            ("<think>\n</think>\nx", "<think>\n</think>\nx"),
            ("see\n```\n</think>\n```\n", "see\n```\n</think>\n```\n"),
            ("", ""),
        ] {
            assert_eq!(&text[unopened(text)..], said, "{text:?}");
        }
    }

    fn read(pieces: &[&str]) -> (String, String) {
        let mut tags = Tags::default();
        let (mut text, mut thought) = (String::new(), String::new());
        for (more, thoughts) in pieces.iter().map(|piece| tags.push(piece)) {
            text.push_str(&more);
            thought.push_str(&thoughts);
        }
        let (more, thoughts) = tags.rest();
        (text + &more, thought + &thoughts)
    }

    #[test]
    fn thoughts_leave_the_text_however_it_is_cut() {
        let table = [
            ("hello", "hello"),
            ("<think>hm</think>\n\nhello", "hello"),
            ("\n<think>\nhm < 3 </thin\n</think>hello <think>", "hello <think>"),
            ("<thin", "<thin"),
            ("<think>for ever", ""),
            ("a <think>b</think>", "a <think>b</think>"),
            ("<think></think>é", "é"),
            ("", ""),
        ];
        assert_eq!(read(&["<thi", "nk>for ", "ever"]).1, "<think>for ever");
        for (whole, text) in table {
            for at in (0..=whole.len()).filter(|at| whole.is_char_boundary(*at)) {
                assert_eq!(read(&[&whole[..at], &whole[at..]]).0, text, "{whole} at {at}");
            }
            assert_eq!(read(&[whole]).0, text);
        }
    }
}
