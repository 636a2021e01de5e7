//! JSON-RPC on lines, bounded: a frame that is too long or no message is answered and not kept, and while too much is on
//! its way in or out nothing more is read.
//!
//! The SDK's own transport drops such frames without a word. Start at [`Lines`].

use rmcp::model::{GetExtensions, JsonRpcMessage};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};

/// Bytes of one frame.
pub(crate) const FRAME_BYTES: usize = 8 << 20;
/// KiB of requests that are being worked on; each counts one more.
const IN_KIB: usize = 64 << 10;
/// Bytes of replies that a client has not read yet.
const OUT_BYTES: usize = 32 << 20;
/// Characters of what was no message, in the reply.
const WHY: usize = 200;

/// One connection.
pub(crate) struct Lines<R, W> {
    read: BufReader<R>,
    line: Vec<u8>,
    /// The rest of a line that is too long is passed over.
    skipping: bool,
    out: Arc<Out<W>>,
    room: Arc<Semaphore>,
    /// Read, and waiting for room.
    next: Option<(RxJsonRpcMessage<RoleServer>, u32)>,
    /// To be said about what was no message.
    refusal: Option<Vec<u8>>,
    /// Some of it may not have been written yet.
    unwritten: bool,
}

struct Out<W> {
    sink: Mutex<Sink<W>>,
    /// Bytes that were handed over and not taken yet.
    queued: AtomicUsize,
    taken: Notify,
}

struct Sink<W> {
    write: Option<W>,
    /// Half-written when a writer was dropped: the next one goes on from here.
    left: Vec<u8>,
}

/// Given back when the request's last handle goes.
#[derive(Debug, Clone)]
struct Held {
    #[expect(dead_code, reason = "held for its room, which goes back with it")]
    permit: Arc<OwnedSemaphorePermit>,
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> Lines<R, W> {
    pub(crate) fn new(read: R, write: W) -> Self {
        let sink = Mutex::new(Sink { write: Some(write), left: Vec::new() });
        Self {
            read: BufReader::with_capacity(64 << 10, read),
            line: Vec::new(),
            skipping: false,
            out: Arc::new(Out { sink, queued: AtomicUsize::new(0), taken: Notify::new() }),
            room: Arc::new(Semaphore::new(IN_KIB)),
            next: None,
            refusal: None,
            unwritten: false,
        }
    }

    /// Says what there is to be said. Safe to be dropped: what is handed over is handed over once, and written whole.
    async fn refuse(&mut self) -> io::Result<()> {
        if self.refusal.is_none() && !self.unwritten {
            return Ok(());
        }
        let mut sink = self.out.sink.lock().await;
        if let Some(line) = self.refusal.take() {
            sink.left.extend_from_slice(&line);
            self.unwritten = true;
        }
        sink.flush().await?;
        self.unwritten = false;
        Ok(())
    }

    /// One line into `self.line`; false at the end. Safe to be dropped: what was read stays.
    async fn line(&mut self) -> io::Result<Read> {
        loop {
            let available = self.read.fill_buf().await?;
            if available.is_empty() {
                return Ok(Read::End);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let take = end.map_or(available.len(), |at| at + 1);
            let fits = self.line.len() + take <= FRAME_BYTES;
            if !self.skipping && fits {
                self.line.extend_from_slice(&available[..take]);
            }
            self.read.consume(take);
            match (self.skipping, fits, end.is_some()) {
                (true, _, true) => self.skipping = false,
                (true, _, false) | (false, true, false) => {}
                (false, true, true) => return Ok(Read::Line),
                (false, false, ended) => {
                    self.skipping = !ended;
                    self.line = Vec::new();
                    return Ok(Read::TooLong);
                }
            }
        }
    }
}

enum Read {
    Line,
    TooLong,
    End,
}

impl<W: AsyncWrite + Unpin> Sink<W> {
    async fn flush(&mut self) -> io::Result<()> {
        let Self { write: Some(write), left } = self else { return Err(io::ErrorKind::NotConnected.into()) };
        while !left.is_empty() {
            match write.write(left).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => drop(left.drain(..n)),
            }
        }
        write.flush().await
    }
}

/// Bytes on their way out, counted until they are taken or given up.
struct Queued<W> {
    out: Arc<Out<W>>,
    bytes: usize,
}

impl<W> Queued<W> {
    fn new(out: &Arc<Out<W>>, bytes: usize) -> Self {
        out.queued.fetch_add(bytes, Ordering::AcqRel);
        Self { out: Arc::clone(out), bytes }
    }
}

impl<W> Drop for Queued<W> {
    fn drop(&mut self) {
        self.out.queued.fetch_sub(self.bytes, Ordering::AcqRel);
        self.out.taken.notify_waiters();
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let line = serde_json::to_vec(&message).map(|mut line| {
            line.push(b'\n');
            line
        });
        let queued = Queued::new(&self.out, line.as_ref().map_or(0, Vec::len));
        async move {
            let line = line?;
            let mut sink = queued.out.sink.lock().await;
            sink.left.extend_from_slice(&line);
            sink.flush().await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            self.refuse().await.ok()?;
            if let Some((_, kib)) = &self.next {
                let permit = Arc::clone(&self.room).acquire_many_owned(*kib).await.ok()?;
                let (mut message, _) = self.next.take()?;
                if let JsonRpcMessage::Request(request) = &mut message {
                    request.request.extensions_mut().insert(Held { permit: Arc::new(permit) });
                }
                return Some(message);
            }
            while self.out.queued.load(Ordering::Acquire) > OUT_BYTES {
                let taken = self.out.taken.notified();
                if self.out.queued.load(Ordering::Acquire) > OUT_BYTES {
                    taken.await;
                }
            }
            let refusal = match self.line().await {
                Ok(Read::Line) => {
                    let line = std::mem::take(&mut self.line);
                    match understood(&line) {
                        Ok(Some(message)) => {
                            let kib = u32::try_from(1 + line.len() / 1024).unwrap_or(u32::MAX);
                            self.next = Some((message, kib));
                            continue;
                        }
                        Ok(None) => continue,
                        Err(refusal) => refusal,
                    }
                }
                Ok(Read::TooLong) => {
                    refusal(&Value::Null, -32700, &format!("a message is longer than {FRAME_BYTES} bytes"))
                }
                // A reader that fails is a client that has gone: there is nobody to tell.
                Ok(Read::End) | Err(_) => return None,
            };
            self.refusal = Some(format!("{refusal}\n").into_bytes());
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        let mut sink = self.out.sink.lock().await;
        match sink.write.take() {
            Some(mut write) => write.shutdown().await,
            None => Ok(()),
        }
    }
}

/// The message in a line; nothing in an empty one; else what is answered.
fn understood(line: &[u8]) -> Result<Option<RxJsonRpcMessage<RoleServer>>, Value> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let error = match serde_json::from_slice::<RxJsonRpcMessage<RoleServer>>(line) {
        Ok(message) => return Ok(Some(message)),
        Err(error) => error,
    };
    let Ok(value) = serde_json::from_slice::<Value>(line) else {
        let why: String = error.to_string().chars().take(WHY).collect();
        return Err(refusal(&Value::Null, -32700, &format!("not JSON: {why}")));
    };
    let id =
        value.get("id").filter(|id| id.is_string() || id.is_i64() || id.is_u64()).unwrap_or(&Value::Null);
    let method = value.get("method").and_then(Value::as_str);
    match method {
        // Notifications are not answered, also when nobody understands them.
        Some(_) if value.get("id").is_none() && value["jsonrpc"] == "2.0" => Ok(None),
        Some(method) if value["jsonrpc"] == "2.0" && !id.is_null() => {
            let method: String = method.chars().take(WHY).collect();
            Err(refusal(id, -32602, &format!("the parameters of `{method}` are not of its form")))
        }
        _ => Err(refusal(id, -32600, "not a JSON-RPC 2.0 request")),
    }
}

fn refusal(id: &Value, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}
