//! Asks the person at the terminal, and reads exactly one line per question. Used with a terminal on both sides only.
//!
//! Knows no engine: an understood answer is an order for it. A line typed before its question was shown is dropped.
//! Start at [`Prompter::ask`].

use crate::out;
use crate::show::asked::Asked;
use crate::tree::{Blocker, Need, Tree};
use contract::intent::{Source, Wish};
use contract::port::Blobs;
use contract::{Digest, SessionId, Timestamp};
use engine::Order;
use std::io::BufRead;
use tokio::sync::mpsc;

/// Lines typed ahead.
const TYPED: usize = 8;

/// Reads standard input in a thread of its own, from the first question on.
pub(crate) struct Prompter {
    lines: Option<mpsc::Receiver<String>>,
    asking: Option<(Blocker, Asked)>,
    passed: Vec<Blocker>,
    over: bool,
    asked: u32,
    opened: Timestamp,
}

impl Prompter {
    /// Reads nothing yet. `now` makes the keys of its orders unlike those of another process.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { lines: None, asking: None, passed: Vec::new(), over: false, asked: 0, opened: now }
    }

    /// A question is shown and waits.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Nothing more can be read.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// True while the question shown is still one of these; otherwise it is withdrawn.
    pub(crate) fn open(&mut self, blockers: &[Blocker]) -> bool {
        let still = self.asking.as_ref().is_some_and(|(blocker, _)| blockers.contains(blocker));
        if !still && self.asking.take().is_some() {
            out::print("(answered elsewhere)\n");
        }
        still
    }

    /// Shows the next question. False: there is none that was not passed over.
    pub(crate) async fn ask(&mut self, tree: &Tree, blobs: &dyn Blobs, blockers: &[Blocker]) -> bool {
        for blocker in blockers {
            let askable = !matches!(blocker.kind, Need::Resume { .. }) && !self.passed.contains(blocker);
            let Some(state) = tree.get(blocker.session).filter(|_| askable) else { continue };
            let Some(asked) = Asked::of(blobs, state, blocker).await else { continue };
            let how = match blocker.kind {
                Need::Approval(_) => "yes / no / later? ",
                _ => "your answer (empty: later)? ",
            };
            self.start();
            // What was typed before the question was there is no answer to it. Without a terminal there is nothing
            // to be thrown away.
            let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
            while self.lines.as_mut().is_some_and(|lines| lines.try_recv().is_ok()) {}
            out::print(&format!("\n{}{how}", asked.page()));
            self.asking = Some((blocker.clone(), asked));
            return true;
        }
        false
    }

    fn start(&mut self) {
        if self.lines.is_some() {
            return;
        }
        let (sender, receiver) = mpsc::channel(TYPED);
        // Not joined: it waits for a person, and the process does not.
        drop(std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        }));
        self.lines = Some(receiver);
    }

    /// The next typed line; `None` at the end of standard input. Only while a question waits.
    pub(crate) async fn line(&mut self) -> Option<String> {
        match (&self.asking, &mut self.lines) {
            (Some(_), Some(lines)) => lines.recv().await,
            _ => std::future::pending().await,
        }
    }

    /// What a typed line means for the question that was shown.
    pub(crate) fn understood(&mut self, line: Option<String>) -> Option<Order> {
        let (blocker, asked) = self.asking.take()?;
        let Some(line) = line else {
            self.over = true;
            return None;
        };
        let words = line.trim();
        let wish = match (&blocker.kind, words.to_lowercase().as_str()) {
            (_, "later" | "") => {
                self.passed.push(blocker);
                return None;
            }
            (Need::Approval(id), "yes" | "y") => {
                Wish::Approve { approval: id.clone(), hash: asked.hash.unwrap_or_default() }
            }
            (Need::Approval(id), "no" | "n") => Wish::Deny { approval: id.clone() },
            (Need::Approval(_), _) => {
                out::print("please type yes, no or later\n");
                return None;
            }
            (Need::Answer(id), _) => {
                let (text, bytes) = (Digest::of(words.as_bytes()), words.len() as u64);
                return Some(self.order(
                    blocker.session,
                    Wish::Answer { question: id.clone(), text, bytes },
                    words,
                ));
            }
            (Need::Resume { .. }, _) => return None,
        };
        Some(self.order(blocker.session, wish, ""))
    }

    fn order(&mut self, session: SessionId, wish: Wish, text: &str) -> Order {
        self.asked += 1;
        let key = Some(format!("terminal/{}/{}/{}", std::process::id(), self.opened.0, self.asked));
        let blobs = if text.is_empty() { Vec::new() } else { vec![text.as_bytes().to_vec()] };
        Order { session, source: Source::User, wish, key, ttl_ms: None, blobs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(kind: Need) -> Prompter {
        let blocker = Blocker { session: SessionId(3), kind };
        let asked = Asked {
            session: SessionId(3),
            kind: "approval",
            id: "a1".into(),
            title: String::new(),
            content: String::new(),
            commands: Vec::new(),
            hash: Some(Digest::of(b"content")),
            more: serde_json::Map::new(),
        };
        Prompter { asking: Some((blocker, asked)), ..Prompter::new(Timestamp(1)) }
    }

    #[test]
    fn only_a_plain_yes_is_a_yes() {
        for (typed, wish) in [
            ("yes", Some(Wish::Approve { approval: "a1".into(), hash: Digest::of(b"content") })),
            (" NO ", Some(Wish::Deny { approval: "a1".into() })),
            ("yes please do", None),
            ("ok", None),
            ("later", None),
            ("", None),
        ] {
            let order = asking(Need::Approval("a1".into())).understood(Some(typed.into()));
            assert_eq!(order.map(|order| order.wish), wish, "{typed}");
        }
    }

    #[test]
    fn an_answer_is_taken_as_typed_and_the_end_ends_asking() {
        let mut prompter = asking(Need::Answer("q1".into()));
        let order = prompter.understood(Some(" blue \n".into())).unwrap();
        assert_eq!(order.blobs, [b"blue".to_vec()]);
        let mut prompter = asking(Need::Answer("q1".into()));
        assert!(prompter.understood(None).is_none() && prompter.is_over());
    }
}
