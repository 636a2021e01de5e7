//! Straight-line programs over a conversation: the fixer is run again from the start for every
//! reply, fed with the results the conversation already holds, and stops at the first call that has none.
//!
//! That makes a reply a pure function of the conversation while the program reads from top to
//! bottom. Knows no tool and no compiler. Start at [`reply`] and [`Talk::ask`].

use super::wire;
use contract::model::{Message, Request, ToolUse};
use serde_json::Value;

/// A call the program wants made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Want {
    /// This call.
    Call {
        /// Which tool.
        tool: &'static str,
        /// Its arguments.
        args: Value,
    },
    /// Whatever call turns this file from one text into the other. Put into words only when it is
    /// really made: on the way there it is enough that the call on record does the same.
    Change {
        /// The file.
        path: String,
        /// Its text before.
        from: String,
        /// Its text afterwards.
        to: String,
    },
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Did it go well?
    pub ok: bool,
    /// What the tool said.
    pub text: String,
}

/// Why a run of the program stops here.
#[derive(Debug)]
pub(crate) enum Pause {
    /// The conversation has no results for these calls yet: make them.
    Ask {
        /// What is said with them.
        text: String,
        /// The calls.
        calls: Vec<Want>,
    },
    /// The person or Kapell said something in the middle of a turn: begin a new one.
    Interrupted,
    /// The conversation went another way than this program would have gone.
    Diverged,
}

/// One message of the assistant and what came of it.
#[derive(Debug)]
struct Round<'a> {
    calls: &'a [ToolUse],
    answers: Vec<Answer>,
    /// Messages of the person before it, counted from the start of the conversation.
    heard: usize,
}

/// The conversation as the program sees it.
#[derive(Debug)]
pub(crate) struct Talk<'a> {
    rounds: &'a [Round<'a>],
    heard: &'a [&'a str],
    next: usize,
    turn_start: usize,
    turn_heard: usize,
}

impl Talk<'_> {
    /// Makes these calls with these words and returns their results, one per call.
    pub(crate) fn ask(&mut self, text: impl Into<String>, calls: Vec<Want>) -> Result<Vec<Answer>, Pause> {
        if self.heard().len() > self.turn_heard {
            return Err(Pause::Interrupted);
        }
        let Some(round) = self.rounds.get(self.next) else {
            return Err(Pause::Ask { text: text.into(), calls });
        };
        let same = round.calls.len() == calls.len()
            && round.calls.iter().zip(&calls).all(|(made, want)| is_same(made, want));
        if !same {
            return Err(Pause::Diverged);
        }
        self.next += 1;
        Ok(round.answers.clone())
    }

    /// Everything the person and Kapell said up to here.
    pub(crate) fn heard(&self) -> &[&str] {
        let until = self.rounds.get(self.next).map_or(self.heard.len(), |round| round.heard);
        &self.heard[..until]
    }

    /// A new turn begins here.
    pub(crate) fn begin_turn(&mut self) {
        self.turn_start = self.next;
        self.turn_heard = self.heard().len();
    }

    /// Actions of this turn so far: each message of ours is one, a batch of calls that only read is
    /// one, and every other call.
    pub(crate) fn actions(&self) -> u32 {
        let cost = |round: &Round<'_>| {
            let reads = round.calls.iter().all(|call| READS.contains(&call.tool.as_str()));
            1 + if reads { 1 } else { u32::try_from(round.calls.len()).unwrap_or(u32::MAX) }
        };
        self.rounds[self.turn_start..self.next].iter().map(cost).sum()
    }
}

/// Is this call on record the one that is wanted?
fn is_same(made: &ToolUse, want: &Want) -> bool {
    match want {
        Want::Call { tool, args } => made.tool == *tool && made.args == *args,
        Want::Change { path, from, to } => {
            made.args["path"] == **path && wire::changed(made, from).is_some_and(|text| text == *to)
        }
    }
}

/// Tools that only read.
const READS: [&str; 3] = ["read", "list", "search"];

/// Runs the program on the conversation and returns what it wants next.
///
/// Another model may have spoken before, or the oldest messages may be gone: the program is started
/// at the first round from which on the conversation is its own, at the latest after the last one.
pub(crate) fn reply(
    request: &Request,
    program: impl Fn(&mut Talk<'_>) -> Result<std::convert::Infallible, Pause>,
) -> (String, Vec<Want>) {
    let (rounds, heard) = read(&request.messages);
    for start in 0..=rounds.len() {
        let mut talk = Talk { rounds: &rounds, heard: &heard, next: start, turn_start: start, turn_heard: 0 };
        if let Err(Pause::Ask { text, calls }) = program(&mut talk) {
            return (text, calls);
        }
    }
    // Not reached: a program started after the last round has nothing to diverge from.
    (String::new(), Vec::new())
}

fn read(messages: &[Message]) -> (Vec<Round<'_>>, Vec<&str>) {
    let mut rounds: Vec<Round<'_>> = Vec::new();
    let mut heard: Vec<&str> = Vec::new();
    for message in messages {
        match message {
            Message::User { text } => heard.push(text),
            Message::Assistant { calls, .. } => {
                let none = Answer { ok: false, text: "no result".into() };
                let answers = vec![none; calls.len()];
                rounds.push(Round { calls, answers, heard: heard.len() });
            }
            Message::Tool { call, ok, text, .. } => {
                let Some(round) = rounds.last_mut() else { continue };
                if let Some(i) = round.calls.iter().position(|made| made.id == *call) {
                    round.answers[i] = Answer { ok: *ok, text: text.clone() };
                }
            }
        }
    }
    (rounds, heard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn want(tool: &'static str, n: u32) -> Want {
        Want::Call { tool, args: json!({ "n": n }) }
    }

    fn program(talk: &mut Talk<'_>) -> Result<std::convert::Infallible, Pause> {
        talk.begin_turn();
        let first = talk.ask("first", vec![want("a", 1), want("b", 2)])?;
        let sum = first.iter().filter(|answer| answer.ok).count() as u32;
        let mut n = 0;
        loop {
            n += 1;
            let asked = talk.ask(
                format!("{} heard, {} actions", talk.heard().len(), talk.actions()),
                vec![want("c", sum * 10 + n)],
            );
            if matches!(asked, Err(Pause::Interrupted)) {
                talk.begin_turn();
            } else {
                asked?;
            }
        }
    }

    fn request(messages: Vec<Message>) -> Request {
        Request {
            model: String::new(),
            system: String::new(),
            messages,
            tools: vec![],
            max_tokens: 1_000,
            ordinal: 0,
            key: String::new(),
        }
    }

    fn said(calls: &[Want]) -> Message {
        let calls = calls.iter().enumerate().map(|(i, want)| {
            let (tool, args) = wire::spoken(want.clone());
            ToolUse { id: i.to_string(), tool: tool.into(), args }
        });
        Message::said("", calls.collect())
    }

    fn result(id: &str, ok: bool) -> Message {
        Message::result(id, ok, "t")
    }

    fn user() -> Message {
        Message::User { text: "go".into() }
    }

    #[test]
    fn results_are_fed_in_order() {
        let first = [want("a", 1), want("b", 2)];
        assert_eq!(reply(&request(vec![user()]), program), ("first".into(), first.to_vec()));
        let mut talk = vec![user(), said(&first), result("1", true), result("0", false), user()];
        let next = reply(&request(talk.clone()), program);
        assert_eq!(next, ("2 heard, 0 actions".into(), vec![want("c", 12)]), "a message begins a new turn");
        talk.extend([said(&next.1), result("0", true)]);
        assert_eq!(reply(&request(talk), program), ("2 heard, 2 actions".into(), vec![want("c", 13)]));
    }

    #[test]
    fn a_foreign_beginning_is_passed_over() {
        let foreign = said(&[want("z", 9)]);
        let first = [want("a", 1), want("b", 2)];
        let mut talk = vec![user(), foreign, result("0", true)];
        assert_eq!(reply(&request(talk.clone()), program).0, "first");
        talk.extend([said(&first), result("0", true), result("1", true)]);
        assert_eq!(reply(&request(talk), program).1, vec![want("c", 21)]);
    }
}
