//! A server that is a program: one line of JSON per message, into its standard input and out of its standard output.
//! Knows no method but those it answers. Start at [`Process::start`].
//!
//! The program runs as any command does, watched over and confined by `sandbox`; when a [`Process`] is dropped, nothing of
//! it is left. What it writes beside messages is not kept; the end of its standard error is, to say why it ended.

use crate::frame::{Answer, FRAME_BYTES, Frame, Lines, Refusal, TooLong, read};
use contract::cancel::Urgency;
use contract::{Cancel, Fault, Kind};
use sandbox::{Command, Ended, Progress, Waits, Writer};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages on their way to the program.
const QUEUE: usize = 64;
/// Bytes kept of its standard error.
const KEEP: usize = 16 * 1024;
/// Bytes of it that are shown.
const SHOWN: usize = 1_000;

/// One that runs.
pub(crate) struct Process {
    shared: Arc<Shared>,
    out: mpsc::Sender<Vec<u8>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    /// Why it is over.
    over: Mutex<Option<String>>,
    /// Its list of tools is another one by now.
    stale: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// Starts it. `roots`: the address it is told when it asks where the work is.
    pub(crate) fn start(command: Command, roots: Option<String>) -> Result<Self, Fault> {
        let pipe = || -> std::io::Result<_> {
            let (reader, writer) = std::io::pipe()?;
            Ok((reader, Writer::pipe(writer.into())?))
        };
        let (reader, writer) = pipe().map_err(|error| {
            Fault::new(Kind::Transient, "mcp-pipe", format!("no pipe for a server: {error}"))
        })?;
        let command = command.reads(reader.into()).waits(Waits::Tell).apart().keep(KEEP);
        let shared = Arc::new(Shared::default());
        let (out, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (own, answers) = (Arc::clone(&shared), out.downgrade());
        // It ends with the program, or with who holds it: tidy: allow(spawn): aborted when dropped
        let task = tokio::spawn(async move {
            let (mut lines, cancel) = (Lines::default(), Cancel::new());
            let stop = cancel.clone();
            let mut heard = |progress: Progress<'_>| {
                let Progress::Output(bytes) = progress else { return };
                let mut each = |line: &[u8]| own.hear(line, roots.as_deref(), &answers);
                if lines.push(bytes, &mut each) == Err(TooLong) {
                    own.end(format!("it wrote a message of more than {} MiB", FRAME_BYTES >> 20));
                    stop.cancel(Urgency::Now);
                }
            };
            let write = async {
                while let Some(message) = queue.recv().await {
                    if writer.write(&message).await.is_err() {
                        break;
                    }
                }
                // What does not read any more will say why it ends.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = sandbox::run(command, cancel, &mut heard) => own.end(words(ended)),
                () = write => {}
            }
        });
        Ok(Self { shared, out, task })
    }

    /// Asks under this number.
    pub(crate) async fn ask(&self, id: u64, message: &Value) -> Result<Answer, Fault> {
        let (sender, answer) = oneshot::channel();
        lock(&self.shared.waiting).insert(id, sender);
        let _forgotten = Forget(&self.shared, id);
        self.tell(message).await?;
        answer.await.map_err(|_| self.gone())
    }

    /// Tells it something.
    pub(crate) async fn tell(&self, message: &Value) -> Result<(), Fault> {
        if self.over().is_some() {
            return Err(self.gone());
        }
        let line = format!("{message}\n").into_bytes();
        self.out.send(line).await.map_err(|_| self.gone())
    }

    /// Tells it something if that can be done without waiting.
    pub(crate) fn tell_at_once(&self, message: &Value) {
        drop(self.out.try_send(format!("{message}\n").into_bytes()));
    }

    /// Why it is over, if it is.
    pub(crate) fn over(&self) -> Option<String> {
        lock(&self.shared.over).clone()
    }

    /// Has it said since this was asked last that its list of tools is another one?
    pub(crate) fn stale(&self) -> bool {
        self.shared.stale.swap(false, Ordering::Relaxed)
    }

    fn gone(&self) -> Fault {
        let why = self.over().unwrap_or_else(|| "it ended".to_owned());
        Fault::new(Kind::Transient, "mcp-gone", format!("the server is gone: {why}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // With the run, whatever it started is killed.
        self.task.abort();
    }
}

/// Who does not wait any more is not kept a place for.
struct Forget<'a>(&'a Shared, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}

impl Shared {
    fn hear(&self, line: &[u8], roots: Option<&str>, out: &mpsc::WeakSender<Vec<u8>>) {
        if lock(&self.over).is_some() {
            return;
        }
        for frame in read(line) {
            match frame {
                Frame::Answer(id, answer) => {
                    if let Some(waits) = lock(&self.waiting).remove(&id) {
                        drop(waits.send(answer));
                    }
                }
                Frame::Told(method) => {
                    if method == "notifications/tools/list_changed" {
                        self.stale.store(true, Ordering::Relaxed);
                    }
                }
                Frame::Asked(id, method) => {
                    let message = format!("{}\n", answered(&id, &method, roots)).into_bytes();
                    let sent = out.upgrade().is_none_or(|out| out.try_send(message).is_ok());
                    if !sent {
                        self.end("it asks without reading the answers".to_owned());
                    }
                }
            }
        }
    }

    /// From here on whatever it says is not heard, and nobody waits for it.
    fn end(&self, why: String) {
        lock(&self.over).get_or_insert(why);
        lock(&self.waiting).clear();
    }
}

/// What a server's own requests are answered: where the work is, where a person lets it ask; that Kapell is there; no.
pub(crate) fn answered(id: &Value, method: &str, roots: Option<&str>) -> Value {
    match (method, roots) {
        ("ping", _) => json!({"jsonrpc": "2.0", "id": id, "result": {}}),
        ("roots/list", Some(uri)) => {
            json!({"jsonrpc": "2.0", "id": id, "result": {"roots": [{"uri": uri, "name": "workspace"}]}})
        }
        _ => {
            let error = json!({"code": -32601, "message": "this client does not do that"});
            json!({"jsonrpc": "2.0", "id": id, "error": error})
        }
    }
}

/// How it ended, with its last words.
fn words(ended: Result<Ended, sandbox::Error>) -> String {
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return Fault::from(error).to_string(),
    };
    let how = match (ended.exit, ended.signal) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "it ended".to_owned(),
    };
    let said = contract::text::clean(&String::from_utf8_lossy(&ended.stderr.into_bytes()));
    let said = said.trim();
    let from = said.char_indices().map(|(at, _)| at).find(|at| said.len() - at <= SHOWN).unwrap_or(0);
    match &said[from..] {
        "" => how,
        tail => format!("{how}, and said: {tail}"),
    }
}

/// Words of a server's error, for people and models.
pub(crate) fn refused(refusal: &Refusal) -> Fault {
    let words = contract::text::bounded(&refusal.message, SHOWN);
    Fault::new(Kind::Permanent, "mcp-refused", format!("the server refused ({}): {words}", refusal.code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_for_a_server_but_what_a_person_allowed() {
        let id = json!("x");
        for (method, roots, code) in [
            ("ping", None, None),
            ("roots/list", Some("file:///w"), None),
            ("roots/list", None, Some(-32601)),
            ("sampling/createMessage", Some("file:///w"), Some(-32601)),
            ("elicitation/create", None, Some(-32601)),
        ] {
            let answer = answered(&id, method, roots);
            assert_eq!(answer["error"]["code"].as_i64(), code, "{method}");
            assert_eq!(answer["id"], id);
        }
        assert_eq!(answered(&id, "roots/list", Some("file:///w"))["result"]["roots"][0]["uri"], "file:///w");
    }
}
