//! The one HTTP driver: sends a dialect's bytes, feeds the answer to its decoder, and ends in a reply or a fault.
//!
//! Knows no dialect and reads no environment. Nothing is tried twice here and no redirect is followed: a key goes
//! where it was meant to go, once. Start at [`Http::stream`]; the connection is made in [`connect`].

mod connect;

use crate::dialect::{Auth, Decoder, Headers, Options, Wire, draft, fault, limits, sse};
use crate::settings::{Key, Provider};
use contract::cancel::{Reached, Urgency};
use contract::model::{Broken, Reply, Usage};
use contract::port::{Delta, Sink};
use contract::{Cancel, Fault, Kind, Timestamp};
use reqwest::{Client, RequestBuilder, Response};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes of a refusal's body that are read.
const REFUSAL_BYTES: usize = 64 * 1024;
/// Shorter values of headers, and shorter keys, are no secrets.
const SECRET_BYTES: usize = 8;
/// So much of a secret is taken out also where the rest of it is missing.
const TELLING_BYTES: usize = 12;
/// How long a refusal's body is waited for.
const REFUSAL_WAIT: Duration = Duration::from_secs(5);
/// How long the end of a complete answer is waited for, so that its connection can serve the next call. A busy machine
/// takes milliseconds to hand over the last bytes, and a new connection costs more than they do.
const TAIL_WAIT: Duration = Duration::from_millis(100);

/// The connections to one provider.
#[derive(Debug)]
pub struct Http {
    provider: Arc<Provider>,
    client: OnceLock<Result<Client, Fault>>,
    /// The key that a command printed.
    printed: Mutex<Option<Key>>,
}

/// Why waiting ended without what was waited for.
enum Halt {
    Stopped,
    Late,
}

/// What a whole call has to keep to.
struct Limits<'a> {
    cancel: &'a Cancel,
    total: Instant,
}

impl Limits<'_> {
    /// This, unless it is stopped or too late before.
    async fn wait<T>(&self, until: Instant, what: impl Future<Output = T>) -> Result<T, Halt> {
        tokio::select! {
            biased;
            () = self.cancel.reached(Urgency::Graceful) => Err(Halt::Stopped),
            done = what => Ok(done),
            () = tokio::time::sleep_until(until.min(self.total)) => Err(Halt::Late),
        }
    }
}

/// The limits of a whole stream: one timer, which is set anew when it rings too early and not with every piece.
struct Watch<'a> {
    limits: &'a Limits<'a>,
    until: Instant,
    timer: Pin<Box<Sleep>>,
    stopped: Reached,
}

impl<'a> Watch<'a> {
    fn new(limits: &'a Limits<'a>, until: Instant) -> Self {
        let until = until.min(limits.total);
        let stopped = limits.cancel.reached(Urgency::Graceful);
        Self { limits, until, timer: Box::pin(sleep_until(until)), stopped }
    }

    /// The next piece has to come before this moment.
    fn until(&mut self, until: Instant) {
        self.until = until.min(self.limits.total);
        if self.until < self.timer.deadline() {
            self.timer.as_mut().reset(self.until);
        }
    }

    async fn chunk(
        &mut self,
        response: &mut Response,
    ) -> Result<reqwest::Result<Option<impl Deref<Target = [u8]> + use<>>>, Halt> {
        loop {
            tokio::select! {
                biased;
                () = &mut self.stopped => return Err(Halt::Stopped),
                chunk = response.chunk() => return Ok(chunk),
                () = self.timer.as_mut() => {
                    if Instant::now() >= self.until {
                        return Err(Halt::Late);
                    }
                    self.timer.as_mut().reset(self.until);
                }
            }
        }
    }
}

impl Http {
    /// Connects to nothing yet.
    pub fn new(provider: Arc<Provider>) -> Self {
        Self { provider, client: OnceLock::new(), printed: Mutex::default() }
    }

    /// Uses this key from now on in the place of the configured one.
    pub fn hold(&self, key: Option<Key>) {
        *self.printed.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn key(&self) -> Option<Key> {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.clone().or_else(|| self.provider.key.clone())
    }

    /// One call: the reply, or what is left of it. Every piece of text goes to the sink as it comes.
    pub async fn stream(
        &self,
        wire: Wire,
        auth: Auth,
        decoder: Box<dyn Decoder>,
        options: &Options,
        cancel: &Cancel,
        sink: &dyn Sink,
    ) -> Result<Reply, Broken> {
        let (started, timeouts) = (Instant::now(), self.provider.timeouts);
        let limits = Limits { cancel, total: started + timeouts.total };
        let first = started + timeouts.first;
        let request = self.post(wire, auth).map_err(unsent)?;
        let response = match limits.wait(first, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.not_reached(&error)),
            // It was on its way: nobody knows what it costs.
            Err(halt) => return Err(self.halted(halt, "first", options).into()),
        };
        let headers = headers(&response);
        let meter = limits::meter(&headers, now());
        let answer = match self.accepted(response, &headers, options, &limits).await {
            Ok(Ok(response)) => self.read(response, headers, decoder, options, &limits, first, sink).await,
            // The decoder knows what was asked for: that bounds what it may cost.
            Ok(Err(no_stream)) => decoder.finish(Some(no_stream)),
            Err(broken) => Err(broken),
        };
        match answer {
            Ok(reply) => Ok(Reply { meter, ..reply }),
            // A server quotes what it was sent wherever it says anything.
            Err(Broken { fault, text, usage, .. }) => {
                Err(Broken { fault: self.discreet(fault), text: self.scrubbed(&text), usage, meter })
            }
        }
    }

    /// A small document of the provider's, within this time.
    pub async fn get(
        &self,
        url: &str,
        auth: Option<Auth>,
        headers: &[(&'static str, &'static str)],
        options: &Options,
        within: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let request = self.client()?.get(url);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.ask(request, auth, options, within).await
    }

    /// The same, asked with a body of JSON.
    pub async fn query(
        &self,
        url: &str,
        body: Vec<u8>,
        options: &Options,
        within: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let request = self.client()?.post(url).header("content-type", "application/json").body(body);
        self.ask(request, None, options, within).await
    }

    async fn ask(
        &self,
        request: RequestBuilder,
        auth: Option<Auth>,
        options: &Options,
        within: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let request = self.dressed(request, auth);
        let (cancel, until) = (Cancel::new(), Instant::now() + within);
        let limits = Limits { cancel: &cancel, total: until };
        let late = |halt| self.halted(halt, "connect", options);
        let response = limits.wait(until, request.send()).await.map_err(late)?;
        let mut response = response.map_err(|error| connect::failed(&self.provider, &error))?;
        let (status, headers) = (response.status().as_u16(), headers(&response));
        let most = if status == 200 { sse::EVENT_BYTES } else { REFUSAL_BYTES };
        let body = limits.wait(until, body(&mut response, most)).await.map_err(late)?;
        match status {
            200 => Ok(body),
            status => Err(self.discreet(fault::refused(options, status, &headers, &body, now()))),
        }
    }

    fn client(&self) -> Result<&Client, Fault> {
        self.client.get_or_init(|| connect::client(&self.provider)).as_ref().map_err(Clone::clone)
    }

    fn post(&self, wire: Wire, auth: Auth) -> Result<RequestBuilder, Fault> {
        let mut request = self.client()?.post(self.provider.url(&wire.path));
        for (name, value) in wire.headers {
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/json").body(wire.body);
        Ok(self.dressed(request, Some(auth)))
    }

    /// With the key and the configured headers, which may put themselves in the place of others.
    fn dressed(&self, request: RequestBuilder, auth: Option<Auth>) -> RequestBuilder {
        use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
        let mut headers = HeaderMap::new();
        let mut set = |name: &str, value: &str, secret: bool| {
            if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                value.set_sensitive(secret);
                headers.insert(name, value);
            }
        };
        if let (Some(auth), Some(key)) = (auth, self.key()) {
            match auth {
                Auth::Bearer => set("authorization", &format!("Bearer {}", key.secret()), true),
                Auth::Header(name) => set(name, key.secret(), true),
            }
        }
        self.provider.headers.iter().for_each(|(name, value)| set(name, value, true));
        request.headers(headers)
    }

    /// The answer, if it is a stream of events; the inner fault = it is something else, which a model may have made.
    async fn accepted(
        &self,
        mut response: Response,
        headers: &Headers,
        options: &Options,
        limits: &Limits<'_>,
    ) -> Result<Result<Response, Fault>, Broken> {
        let status = response.status().as_u16();
        let kind = headers.get("content-type").unwrap_or_default().to_ascii_lowercase();
        if status == 200 && (kind.is_empty() || kind.starts_with("text/event-stream")) {
            return Ok(Ok(response));
        }
        let until = Instant::now() + self.provider.timeouts.between.min(REFUSAL_WAIT);
        let body = match limits.wait(until, body(&mut response, REFUSAL_BYTES)).await {
            Ok(body) => body,
            Err(Halt::Late) => Vec::new(),
            Err(halt) => return Err(self.halted(halt, "total", options).into()),
        };
        if status != 200 {
            let fault = fault::refused(options, status, headers, &body, now());
            // A gateway that gave up waiting does not know what happened behind it.
            let usage = (!matches!(status, 408 | 504 | 524)).then(Usage::default);
            return Err(Broken { usage, ..fault.into() });
        }
        let error = serde_json::from_slice::<serde_json::Value>(&body).ok();
        match error.as_ref().and_then(|value| value.get("error")).filter(|error| !error.is_null()) {
            Some(error) => Err(unsent(fault::told(options, error))),
            None => Ok(Err(self.no_stream(&kind))),
        }
    }

    /// An answer that is something else. Some of it may have been made by a model.
    fn no_stream(&self, kind: &str) -> Fault {
        let kind = kind.split(';').next().unwrap_or_default();
        let what = format!("{} answered with {kind} instead of a stream of events", self.provider.name);
        Fault::new(Kind::UserFixable, "not-a-stream", what).hint(format!(
            "is {} the address of its API? set base_url of [providers.{}] in config.toml",
            self.provider.base_url, self.provider.name
        ))
    }

    #[expect(clippy::too_many_arguments, reason = "one call's values, taken apart nowhere else")]
    async fn read(
        &self,
        mut response: Response,
        headers: Headers,
        mut decoder: Box<dyn Decoder>,
        options: &Options,
        limits: &Limits<'_>,
        first: Instant,
        sink: &dyn Sink,
    ) -> Result<Reply, Broken> {
        decoder.headers(&headers);
        let (mut lines, mut events) = (sse::Lines::default(), Vec::new());
        let (mut watch, mut phase) = (Watch::new(limits, first), "first");
        let why = loop {
            let chunk = match watch.chunk(&mut response).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => break None,
                Ok(Err(_)) => break Some(draft::cut(&self.provider.name)),
                Err(halt) => break Some(self.halted(halt, phase, options)),
            };
            if let Err(fault) = lines.push(&chunk, &mut events) {
                break Some(fault);
            }
            if !events.is_empty() || phase != "first" {
                phase = "between";
                watch.until(Instant::now() + self.provider.timeouts.between);
            }
            match fed(&mut *decoder, &mut events, sink) {
                Ok(false) => {}
                Ok(true) => {
                    drop(tokio::time::timeout(TAIL_WAIT, emptied(&mut response)).await);
                    break None;
                }
                Err(fault) => break Some(fault),
            }
        };
        decoder.finish(why)
    }

    fn halted(&self, halt: Halt, phase: &str, options: &Options) -> Fault {
        let (name, timeouts) = (&self.provider.name, self.provider.timeouts);
        let (code, what, after) = match (halt, phase) {
            (Halt::Stopped, _) => {
                return Fault::new(Kind::Transient, "cancelled", "the model call was cancelled");
            }
            (_, "connect") => ("not-reached", "did not answer", None),
            (_, "first") if timeouts.first < timeouts.total => {
                ("first-token-late", "began no answer", Some(timeouts.first))
            }
            (_, "between") => {
                ("stream-stalled", "stopped in the middle of its answer", Some(timeouts.between))
            }
            _ => ("call-late", "did not come to an end", Some(timeouts.total)),
        };
        let after =
            after.map_or_else(|| " in time".to_owned(), |after| format!(" within {} s", after.as_secs_f64()));
        Fault::new(Kind::Transient, code, format!("{name} {what}{after} ({})", options.id))
            .hint(format!("a slow model wants longer timeouts: [providers.{name}] in config.toml"))
    }

    /// It was never sent, or the connection broke before there was an answer.
    fn not_reached(&self, error: &reqwest::Error) -> Broken {
        let fault = connect::failed(&self.provider, error);
        let usage = (error.is_connect() || error.is_builder()).then(Usage::default);
        Broken { usage, ..fault.into() }
    }

    /// A fault that may quote a server.
    fn discreet(&self, fault: Fault) -> Fault {
        Fault { what: self.scrubbed(&fault.what), hint: self.scrubbed(&fault.hint), ..fault }
    }

    /// What a server says, without the key and the values of configured headers that it may quote.
    fn scrubbed(&self, text: &str) -> String {
        let headers = self.provider.headers.iter().flat_map(|(_, value)| value.split_whitespace());
        let key = self.key();
        let secrets =
            key.iter().map(Key::secret).chain(headers).filter(|secret| secret.len() >= SECRET_BYTES);
        secrets.fold(text.to_owned(), |text, secret| without(&text, secret))
    }
}

/// The text without this secret, also where a quote was cut in the middle of it.
fn without(text: &str, secret: &str) -> String {
    let head = &secret[..secret.floor_char_boundary(TELLING_BYTES)];
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(head) {
        out.push_str(&rest[..at]);
        out.push_str("[key]");
        let same = rest[at..].chars().zip(secret.chars()).take_while(|(a, b)| a == b);
        rest = &rest[at + same.map(|(c, _)| c.len_utf8()).sum::<usize>()..];
    }
    out + rest
}

/// Every event to the decoder, its text and its notices to the sink; true = the reply is complete.
fn fed(decoder: &mut dyn Decoder, events: &mut Vec<sse::Event>, sink: &dyn Sink) -> Result<bool, Fault> {
    for event in events.drain(..) {
        let read = decoder.event(&event);
        std::iter::from_fn(|| decoder.notice()).for_each(|notice| sink.delta(Delta::Note(notice)));
        let progress = read?;
        if !progress.text.is_empty() {
            sink.delta(Delta::Text(progress.text));
        }
        if progress.done {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Nothing of the answer is left to come: only then can its connection serve the next call.
async fn emptied(response: &mut Response) {
    while let Ok(Some(_)) = response.chunk().await {}
}

/// A call that cost nothing.
fn unsent(fault: Fault) -> Broken {
    Broken { usage: Some(Usage::default()), ..fault.into() }
}

/// So much of the body as there is before it ends, breaks or is too long.
async fn body(response: &mut Response, most: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
        if body.len() == most {
            break;
        }
    }
    body
}

fn headers(response: &Response) -> Headers {
    let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Headers::new(response.headers().iter().map(|(name, value)| (name.as_str(), text(value))))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
