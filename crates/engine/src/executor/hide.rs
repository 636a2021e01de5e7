//! Takes secrets out of what an attempt learns: its progress, its record, and the blobs it refers to. Whatever leaves
//! `execute` has gone through here; what a model is asked goes through [`request`].
//!
//! Knows no secret: the port does. Start at [`Hidden`].

use super::{Finished, Job, Ports, Secrets};
use ::secrets::{Redactor, Stream, mask};
use contract::Digest;
use contract::action::{Outcome, Run};
use contract::model::{Message, Reply, Request};
use contract::port::{Delta, Sink};
use contract::tool::{Masks, Output};
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known for this run's session now.
pub(super) fn redactor(ports: &Ports, run: &Run) -> Arc<Redactor> {
    ports.secrets.of(Path::new(&run.context.spec.repo), &ports.workspace.root(run.session))
}

/// One attempt's secrets: as they are when it begins, and when it ends.
pub(super) struct Hidden {
    ports: Ports,
    repo: String,
    session: contract::SessionId,
    learned: usize,
    begin: Arc<Redactor>,
}

impl Hidden {
    pub(super) fn new(ports: &Ports, run: &Run) -> Self {
        // Asked first: what is learned in between is looked up again.
        let learned = ports.secrets.learned();
        let begin = redactor(ports, run);
        let (ports, repo) = (ports.clone(), run.context.spec.repo.clone());
        Self { ports, repo, session: run.session, learned, begin }
    }

    /// Progress without secrets, also where one comes in two pieces.
    pub(super) fn sink(&self, to: Arc<dyn Sink>) -> Arc<Clean> {
        let secrets = Arc::clone(&self.ports.secrets);
        let (repo, root) = (PathBuf::from(&self.repo), self.ports.workspace.root(self.session));
        let state = Mutex::new(Streams::new(self.learned, Arc::clone(&self.begin)));
        Arc::new(Clean { to, secrets, repo, root, state })
    }

    /// The record and its blobs without secrets. What the attempt itself brought about counts: a key it made is known
    /// by now.
    pub(super) fn finished(&self, outcome: Outcome, blobs: Vec<Vec<u8>>) -> Finished {
        let redactor = self.ports.secrets.of(Path::new(&self.repo), &self.ports.workspace.root(self.session));
        let mut moved: Vec<(String, String)> = Vec::new();
        let blobs: Vec<Vec<u8>> = blobs
            .into_iter()
            .map(|bytes| match cleaned(&redactor, &bytes) {
                None => bytes,
                Some(clean) => {
                    moved.push((Digest::of(&bytes).to_string(), Digest::of(&clean).to_string()));
                    clean
                }
            })
            .collect();
        Finished { outcome: recorded(&redactor, outcome, &moved), blobs }
    }
}

/// Secrets in what a tool shows piece by piece, as they are known when it looks.
pub(super) struct Looked {
    ports: Ports,
    repo: String,
    session: contract::SessionId,
}

impl Looked {
    pub(super) fn new(ports: &Ports, run: &Run) -> Self {
        Self { ports: ports.clone(), repo: run.context.spec.repo.clone(), session: run.session }
    }

    fn redactor(&self) -> Arc<Redactor> {
        self.ports.secrets.of(Path::new(&self.repo), &self.ports.workspace.root(self.session))
    }
}

impl Masks for Looked {
    fn of(&self, text: &[u8]) -> Vec<(Range<usize>, String)> {
        let found = self.redactor().find(text);
        found.into_iter().map(|span| (span.start..span.end, mask(&span.label))).collect()
    }

    fn settled(&self, text: &[u8]) -> usize {
        self.redactor().settled(text)
    }
}

/// A blob without secrets, if there were some. One that is JSON stays JSON.
fn cleaned(redactor: &Redactor, bytes: &[u8]) -> Option<Vec<u8>> {
    let clean = redactor.bytes(bytes);
    // Behind an escape, as of a line end, the bytes do not show where a word begins: the strings do.
    let told = matches!(clean, Cow::Owned(_)) || bytes.contains(&b'\\');
    let json = bytes.first().is_some_and(|byte| b"{[\"".contains(byte));
    let value = if told && json { serde_json::from_slice::<Value>(bytes).ok() } else { None };
    let Some(mut value) = value else { return owned(clean) };
    if !redactor.json(&mut value) {
        return owned(clean);
    }
    let text = value.to_string();
    // What only the bytes tell goes too, where it leaves JSON.
    match redactor.text(&text) {
        Cow::Owned(more) if serde_json::from_str::<Value>(&more).is_ok() => Some(more.into_bytes()),
        _ => Some(text.into_bytes()),
    }
}

fn owned(bytes: Cow<'_, [u8]>) -> Option<Vec<u8>> {
    match bytes {
        Cow::Owned(bytes) => Some(bytes),
        Cow::Borrowed(_) => None,
    }
}

/// Does a value hold one, in its strings or over them?
fn holds(redactor: &Redactor, value: &Value) -> bool {
    !redactor.find(value.to_string().as_bytes()).is_empty() || redactor.json(&mut value.clone())
}

/// The record's own texts without secrets, and the new addresses of what changed.
fn recorded(redactor: &Redactor, outcome: Outcome, moved: &[(String, String)]) -> Outcome {
    let Ok(mut text) = serde_json::to_string(&outcome) else { return outcome };
    if moved.is_empty() && !text.contains('\\') && redactor.find(text.as_bytes()).is_empty() {
        return outcome;
    }
    for (from, to) in moved {
        text = text.replace(from, to);
    }
    let Ok(mut value) = serde_json::from_str::<Value>(&text) else { return outcome };
    redactor.json(&mut value);
    serde_json::from_value(value).unwrap_or(outcome)
}

/// What a model is asked, without what became known since it was put on record.
pub(super) fn request(redactor: &Redactor, request: &mut Request) {
    redactor.clean(&mut request.system);
    for tool in &mut request.tools {
        redactor.clean(&mut tool.description);
    }
    for message in &mut request.messages {
        match message {
            Message::User { text } | Message::Tool { text, .. } => _ = redactor.clean(text),
            Message::Assistant { text, calls, private } => {
                redactor.clean(text);
                calls.iter_mut().for_each(|call| _ = redactor.json(&mut call.args));
                // It is signed: with a word changed its producer would refuse it.
                if private.as_ref().is_some_and(|it| holds(redactor, &it.blocks)) {
                    *private = None;
                }
            }
        }
    }
}

/// What a model said.
pub(super) fn reply(redactor: &Redactor, reply: &mut Reply) {
    redactor.clean(&mut reply.text);
    reply.calls.iter_mut().for_each(|call| _ = redactor.json(&mut call.args));
    if reply.private.as_ref().is_some_and(|it| holds(redactor, &it.blocks)) {
        reply.private = None;
    }
}

/// What a tool gave. What lies in a file and cannot be cleaned is not kept.
pub(super) fn output(job: &Job, output: &mut Output) {
    let redactor = job.redactor();
    redactor.clean(&mut output.text);
    if let Some(full) = &mut output.full
        && let Cow::Owned(clean) = redactor.bytes(full)
    {
        *full = clean;
    }
    let Some(file) = output.spooled.take() else { return };
    let (name, short) = (file.digest.to_string(), file.digest.short());
    match job.ports.secrets.file(&redactor, file) {
        Ok(clean) => {
            let named = output.text.replace(&name, &clean.digest.to_string());
            output.text = named.replace(&short, &clean.digest.short());
            output.spooled = Some(clean);
        }
        Err(fault) => output.text.push_str(&format!("\n[the whole output could not be kept: {fault}]")),
    }
}

/// Why a call with a mark in its arguments is not run: what it writes would replace the secret by the mark.
pub(super) fn written_back(args: &Value) -> Option<String> {
    let mark = strings(args).into_iter().find_map(::secrets::masked)?;
    Some(format!(
        "not run: the arguments hold `{mark}`, which stands for a secret that you are not shown; running this would put \
         the mark in the secret's place. Change only what is around it (with `edit`), or let a program read the secret \
         from where it stands"
    ))
}

fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(map) => {
            map.iter().flat_map(|(key, value)| [vec![key.as_str()], strings(value)].concat()).collect()
        }
        _ => Vec::new(),
    }
}

/// A sink that lets no secret through, also none that became known while the attempt runs.
pub(super) struct Clean {
    to: Arc<dyn Sink>,
    secrets: Arc<dyn Secrets>,
    repo: PathBuf,
    root: PathBuf,
    state: Mutex<Streams>,
}

/// What it knows, and what it holds back.
struct Streams {
    learned: usize,
    redactor: Arc<Redactor>,
    words: Stream,
    lines: Stream,
}

impl Streams {
    fn new(learned: usize, redactor: Arc<Redactor>) -> Self {
        let stream = || Stream::new(Arc::clone(&redactor));
        Self { learned, words: stream(), lines: stream(), redactor: Arc::clone(&redactor) }
    }
}

impl Clean {
    /// Nothing more comes: what was held back is told.
    pub(super) fn end(&self) {
        let (mut state, held) = self.state();
        let rest = held.map_or_else(String::new, |held| state.redactor.text(&held).into_owned());
        let rest = rest + &state.words.end();
        drop(state);
        if !rest.is_empty() {
            self.to.delta(Delta::Text(rest));
        }
    }

    /// By what is known now. A text: words that were held back until more became known.
    fn state(&self) -> (MutexGuard<'_, Streams>, Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = self.secrets.learned();
        if learned == state.learned {
            return (state, None);
        }
        let held = state.words.end();
        *state = Streams::new(learned, self.secrets.of(&self.repo, &self.root));
        (state, Some(held).filter(|held| !held.is_empty()))
    }
}

impl Sink for Clean {
    fn delta(&self, delta: Delta) {
        let (mut state, held) = self.state();
        let redactor = Arc::clone(&state.redactor);
        let plain = |text: String| redactor.text(&text).into_owned();
        if let Some(held) = held {
            self.to.delta(Delta::Text(plain(held)));
        }
        let clean = match delta {
            Delta::Text(text) => {
                let shown = state.words.push(&text);
                if shown.is_empty() {
                    return;
                }
                Delta::Text(shown)
            }
            Delta::Line(text) => Delta::Line(state.lines.line(&text)),
            Delta::Note(text) => Delta::Note(plain(text)),
            Delta::Warning(text) => Delta::Warning(plain(text)),
            Delta::Stopping(text) => Delta::Stopping(plain(text)),
            Delta::Finding(mut finding) => {
                redactor.clean(&mut finding.message);
                Delta::Finding(finding)
            }
            Delta::Test(mut test) => {
                redactor.clean(&mut test.name);
                Delta::Test(test)
            }
        };
        drop(state);
        self.to.delta(clean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::action::{Done, End};
    use contract::{ActionId, Amount, Fault, Kind};

    const KEY: &str = "ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6";

    #[test]
    fn a_record_names_the_blobs_as_they_are_kept() {
        let redactor = Redactor::default();
        let dirty = format!("token {KEY}").into_bytes();
        let clean = cleaned(&redactor, &dirty).unwrap();
        let moved = [(Digest::of(&dirty).to_string(), Digest::of(&clean).to_string())];
        let end = End::Done(Done::Adopted {
            child: contract::SessionId(1),
            clean: true,
            bytes: dirty.len() as u64,
            text: Digest::of(&dirty),
        });
        let outcome = Outcome::new(ActionId { turn: 1, step: 1 }, 1, end, Amount::ZERO);
        let End::Done(Done::Adopted { text, .. }) = recorded(&redactor, outcome, &moved).end else {
            panic!()
        };
        assert_eq!(text, Digest::of(&clean));
        let failed = End::Failed(Fault::new(Kind::UserFixable, "auth", format!("key {KEY} was refused")));
        let outcome = Outcome::new(ActionId { turn: 1, step: 1 }, 1, failed, Amount::ZERO);
        let End::Failed(fault) = recorded(&redactor, outcome, &[]).end else { panic!() };
        assert_eq!(fault.what, "key [secret removed: github-token] was refused");
    }

    #[test]
    fn what_stands_behind_an_escape_is_seen() {
        let redactor = Redactor::default();
        let told = format!("remote said:\n{KEY}\nDB_PASSWORD=hunter2x\n");
        let failed = End::Failed(Fault::new(Kind::UserFixable, "auth", told.clone()));
        let outcome = Outcome::new(ActionId { turn: 1, step: 1 }, 1, failed, Amount::ZERO);
        let End::Failed(fault) = recorded(&redactor, outcome, &[]).end else { panic!() };
        assert!(!fault.what.contains("ghp_") && !fault.what.contains("hunter2x"), "{}", fault.what);
        let blob = serde_json::json!({"out": told, "client_secret": "q8Zr1Lk29xPw7Vt4"}).to_string();
        let clean = String::from_utf8(cleaned(&redactor, blob.as_bytes()).unwrap()).unwrap();
        for secret in ["ghp_", "hunter2x", "q8Zr1Lk29xPw7Vt4"] {
            assert!(!clean.contains(secret), "{clean}");
        }
        assert!(serde_json::from_str::<Value>(&clean).is_ok());
        assert!(holds(&redactor, &serde_json::json!([{"thinking": told}])));
        assert!(!holds(&redactor, &serde_json::json!([{"thinking": "a\nplain thought"}])));
    }

    #[test]
    fn json_that_is_cleaned_is_still_json() {
        let dirty = serde_json::json!({"content": format!("KEY=\"{KEY}\"\n"), "path": "a"}).to_string();
        let clean = cleaned(&Redactor::default(), dirty.as_bytes()).unwrap();
        let value: Value = serde_json::from_slice(&clean).unwrap();
        assert!(value["content"].as_str().unwrap().contains("[secret removed"), "{value}");
        assert!(written_back(&value).unwrap().contains("github-token"));
        assert_eq!(written_back(&serde_json::json!({"a": ["b", 1]})), None);
    }
}
