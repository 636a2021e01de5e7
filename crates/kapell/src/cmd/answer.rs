//! `answer`: the answer to a question, from any terminal.
//!
//! Start at [`run`].

use super::tell::{report, tell};
use super::work::leave;
use crate::app::{App, Wired};
use crate::args::joined;
use crate::exit::Failure;
use crate::pick::{self, short};
use crate::tree::Tree;
use crate::words;
use contract::intent::Wish;
use contract::{Digest, QuestionId, SessionId};

/// Answers; the exit code.
pub(crate) async fn run(app: &App, name: &str, text: &[String]) -> Result<u8, Failure> {
    let text = words::read(joined(text), "answer", std::io::stdin())?;
    let wired = app.wire_to_tell()?;
    let done = answer(app, &wired, name, text).await;
    leave(wired).await;
    done
}

async fn answer(app: &App, wired: &Wired, name: &str, text: String) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let tree = Tree::open(&wired.engine, session).await?;
    let (session, question) = find(&tree, session)?;
    // The question may be named: `kapell answer SESSION q7 "the answer"`.
    let text =
        match text.strip_prefix(question.as_str()).and_then(|rest| rest.strip_prefix(char::is_whitespace)) {
            Some(rest) if !rest.trim().is_empty() => rest.trim_start().to_owned(),
            _ => text,
        };
    app.secrets.refuse("answer", &text, &app.cwd)?;
    let wish = Wish::Answer {
        question: question.clone(),
        text: Digest::of(text.as_bytes()),
        bytes: text.len() as u64,
    };
    let told = tell(app, wired, session, wish, vec![text.into_bytes()]).await?;
    let next = format!("kapell resume {}", short(tree.root));
    report(app, session, "answer", &told, &format!("question {question} is answered"), &next)
}

/// The oldest open question: of the named session, else of one below it.
pub(super) fn find(tree: &Tree, named: SessionId) -> Result<(SessionId, QuestionId), Failure> {
    let own = tree.get(named).into_iter();
    let mut all = own.chain(tree.sessions().filter(|state| state.id != named));
    let found = all.find_map(|state| Some((state.id, state.questions.keys().next()?.clone())));
    found.ok_or_else(|| {
        let id = short(named);
        let hint = format!(
            "kapell sessions show {id} tells what it waits for; kapell resume {id} \"...\" sends a message"
        );
        Failure::usage("no-question", format!("session {id} has asked nothing"), hint)
    })
}
