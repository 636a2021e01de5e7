//! The server: connections on loopback, each request looked up, answered and written down.
//!
//! Knows neither dialects nor faults; it does the steps of an [`Answer`]. Start at [`Server::start`].

use crate::http::{Asked as Request, Other, Wire};
use crate::limits::{Gate, Limits};
use crate::play::{self, Answer, Around, Asked, Step};
use crate::{Dialect, Rule, Script, Seen};
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};

/// What a server says, how it breaks, what it allows.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The conversation.
    pub script: Script,
    /// Faults; the first rule that hits counts.
    pub rules: Vec<Rule>,
    /// Limits of each key.
    pub limits: Limits,
    /// Before every good answer, milliseconds.
    pub latency_ms: u64,
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    began: Instant,
    number: AtomicU64,
    gate: Mutex<Gate>,
    seen: Mutex<Vec<Seen>>,
}

impl Server {
    /// On a free port of loopback, with a thread of its own.
    pub fn start(plan: Plan) -> io::Result<Self> {
        Self::at(0, plan)
    }

    /// On this port of loopback.
    pub fn at(port: u16, plan: Plan) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // Not by the runtime: a test that has one of its own may not wait for another.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let gate = Mutex::new(Gate::new(plan.limits));
        let (began, number, seen) = (Instant::now(), AtomicU64::new(0), Mutex::default());
        let shared = Arc::new(Shared { plan, began, number, gate, seen });
        runtime.spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, runtime: Some(runtime) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same with `https`: every handshake there is answered with noise.
    pub fn tls_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Every request so far, in the order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Those that asked for a reply.
    pub fn asked(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.number > 0).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An address of loopback at which nobody listens.
pub fn refused() -> io::Result<String> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(format!("http://{}", listener.local_addr()?))
}

/// A panic of another connection leaves nothing half done: the record is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // A connection that could not be taken is one the client tries again.
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // tidy: allow(spawn): ends with its connection, at the latest with the server's runtime
            tokio::spawn(connection(stream, shared.clone()));
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    loop {
        match wire.request().await {
            Ok(Ok(request)) => match shared.serve(wire, request).await {
                ControlFlow::Continue(next) => wire = next,
                ControlFlow::Break(()) => return,
            },
            Ok(Err(Other::Tls)) => {
                // Whoever asks for TLS gets noise, and then the end.
                let _ = wire.send(b"HTTP/1.1 400 no TLS here\r\n\r\n").await;
                return wire.close().await;
            }
            Ok(Err(Other::Closed)) | Err(_) => return,
        }
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    async fn serve(&self, wire: Wire, request: Request) -> ControlFlow<(), Wire> {
        let dialect = Dialect::of(&request.path).filter(|_| request.method == "POST");
        let value: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let key = Seen::key_of(&request.path, &request.headers);
        let turn = dialect.map_or(0, |dialect| dialect.turn(&value));
        let at = self.note(&request, dialect, &key, turn);
        let Some(dialect) = dialect else {
            return self.act(wire, at, listing(&request)).await;
        };
        let number = self.change(at, |seen| seen.number);
        let asked = Asked {
            dialect,
            model: dialect.model(&request.path, &value),
            turn,
            bytes: request.body.len() as u64,
            max_tokens: dialect.max_tokens(&value),
        };
        if !dialect.streams(&value) {
            let what = "this server answers streams only: set `stream` to true";
            return self.act(wire, at, play::whole(400, vec![], &dialect.error(400, what))).await;
        }
        let most = asked.most();
        let tokens = most.input.div_ceil(4) + most.output;
        let entered = lock(&self.gate).enter(&key, tokens, self.now_ms());
        let around = self.around(&key);
        if let Err(refused) = entered {
            let answer = play::limited(dialect, refused.limit, refused.retry_ms, &around);
            self.change(at, |seen| {
                seen.limit = refused.limit;
                seen.retry_at_ms = Some(seen.at_ms + refused.retry_ms.div_ceil(1000) * 1000);
            });
            return self.act(wire, at, answer).await;
        }
        let rule = self.plan.rules.iter().find(|rule| rule.hits(number, turn, &request.path));
        let reply = self.plan.script.reply(turn);
        let cost = reply.usage.unwrap_or_else(|| asked.usual(&reply));
        let mut answer = play::answer(&asked, reply, rule.map(|rule| rule.fault), &around);
        if rule.is_none() && self.plan.latency_ms > 0 {
            answer.steps.insert(0, Step::Pause(self.plan.latency_ms));
        }
        let next = self.act(wire, at, answer).await;
        let unused = tokens.saturating_sub(cost.input + cost.output);
        lock(&self.gate).leave(&key, unused, self.now_ms());
        next
    }

    fn around(&self, key: &str) -> Around {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (requests, tokens) = lock(&self.gate).told(key, self.now_ms());
        Around { now_s, requests, tokens }
    }

    /// Writes the request down; its place.
    fn note(&self, request: &Request, dialect: Option<Dialect>, key: &str, turn: usize) -> usize {
        let number = dialect.map_or(0, |_| self.number.fetch_add(1, Ordering::Relaxed) + 1);
        let mut seen = lock(&self.seen);
        seen.push(Seen {
            number,
            at_ms: self.now_ms(),
            path: request.path.clone(),
            dialect,
            key: key.to_owned(),
            headers: request.headers.clone(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            turn,
            status: 0,
            limit: "",
            retry_at_ms: None,
            sent: 0,
            cancelled: false,
            over: false,
        });
        seen.len() - 1
    }

    fn change<T>(&self, at: usize, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut lock(&self.seen)[at])
    }

    /// Does what the answer says. Goes on with the connection when that is still good.
    async fn act(&self, mut wire: Wire, at: usize, answer: Answer) -> ControlFlow<(), Wire> {
        let gone = |cancelled: bool| {
            self.change(at, |seen| (seen.cancelled, seen.over) = (cancelled, true));
        };
        for step in answer.steps {
            let kept = match step {
                Step::Send(bytes) => self.send(&mut wire, at, answer.status, &bytes).await,
                Step::Again(bytes, times) => {
                    let mut kept = true;
                    for _ in 0..times {
                        kept = self.send(&mut wire, at, answer.status, &bytes).await;
                        if !kept {
                            break;
                        }
                    }
                    kept
                }
                Step::Pause(ms) => {
                    tokio::select! {
                        () = wire.gone() => false,
                        () = tokio::time::sleep(Duration::from_millis(ms)) => true,
                    }
                }
                Step::Hang => {
                    wire.gone().await;
                    false
                }
                Step::Close => {
                    gone(false);
                    wire.close().await;
                    return ControlFlow::Break(());
                }
                Step::Reset => {
                    gone(false);
                    wire.reset();
                    return ControlFlow::Break(());
                }
            };
            if !kept {
                gone(true);
                return ControlFlow::Break(());
            }
        }
        gone(false);
        ControlFlow::Continue(wire)
    }

    /// False = nobody listens any more.
    async fn send(&self, wire: &mut Wire, at: usize, status: u16, bytes: &[u8]) -> bool {
        let kept = wire.send(bytes).await.is_ok();
        if kept {
            self.change(at, |seen| {
                seen.status = status;
                seen.sent += bytes.len() as u64;
            });
        }
        kept
    }
}

/// What is asked for beside replies: the list of models, in words every dialect finds its own in.
fn listing(request: &Request) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default();
    if request.method != "GET" || !path.ends_with("/models") {
        let error = json!({"error": {"type": "not_found_error", "message": format!("nothing is at {path}")}});
        return play::whole(404, vec![], &error);
    }
    let list = json!({
        "object": "list", "has_more": false, "first_id": "fake", "last_id": "fake",
        "data": [{"id": "fake", "type": "model", "object": "model", "display_name": "Fake", "owned_by": "fake",
            "created": 1_760_000_000, "created_at": "2025-10-09T00:00:00Z"}],
        "models": [{"name": "models/fake", "displayName": "Fake", "inputTokenLimit": 200_000, "outputTokenLimit": 8_192,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent"]}],
    });
    play::whole(200, vec![], &list)
}
