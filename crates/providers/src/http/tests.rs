//! The driver over a real socket: what it makes of servers that answer well, badly, late and not at all.

use super::*;
use crate::dialect::Codec;
use crate::dialect::anthropic::Anthropic;
use crate::settings::{Declared, Settings};
use contract::model::{Message, Request};
use contract::port::Quiet;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const KEY: &str = "sk-very-secret";
pub(super) const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nanthropic-ratelimit-requests-remaining: 3\r\nrequest-id: req_9\r\nconnection: close\r\n\r\n";
pub(super) const START: &str = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
pub(super) const HELLO: &str = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n";
pub(super) const END: &str = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\ndata: {\"type\":\"message_stop\"}\n\n";

/// What the server does once it has read a request.
#[derive(Clone)]
enum Act {
    Send(Vec<u8>),
    Hang,
}

fn send(text: impl AsRef<[u8]>) -> Act {
    Act::Send(text.as_ref().to_vec())
}

/// A server that does this on every connection; its address, and the requests it was sent.
async fn server(acts: Vec<Act>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (acts, requests) = (acts.clone(), Arc::clone(&requests));
            tokio::spawn(async move {
                let request = request(&mut socket).await;
                requests.lock().unwrap().push(request);
                for act in acts {
                    match act {
                        Act::Send(bytes) => drop(socket.write_all(&bytes).await),
                        // Until the other side goes away.
                        Act::Hang => drop(socket.read(&mut [0; 1]).await),
                    }
                }
            });
        }
    });
    (url, seen)
}

async fn request(socket: &mut tokio::net::TcpStream) -> String {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = socket.read(&mut piece).await.unwrap_or(0);
        all.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if read == 0 || (text.contains("\r\n\r\n") && body.len() >= length.unwrap_or(0)) {
            return text;
        }
    }
}

fn provider(url: &str, own: Declared) -> Arc<Provider> {
    let own = Declared { base_url: Some(url.to_owned()), ..own };
    let env = |name: &str| (name == "ANTHROPIC_API_KEY").then(|| KEY.to_owned());
    let settings = Settings::new(BTreeMap::from([("anthropic".to_owned(), own)]), env).unwrap();
    Arc::new(settings.providers["anthropic"].clone())
}

fn options() -> Options {
    let text = |text: &str| text.to_owned();
    Options {
        id: text("anthropic/claude-x"),
        provider: text("anthropic"),
        name: text("claude-x"),
        key_env: text("ANTHROPIC_API_KEY"),
        ..Options::default()
    }
}

fn asked() -> Request {
    Request {
        model: "anthropic/claude-x".into(),
        system: String::new(),
        messages: vec![Message::User { text: "go".into() }],
        tools: Vec::new(),
        max_tokens: 100,
        ordinal: 0,
        key: String::new(),
    }
}

async fn call_with(url: &str, own: Declared, cancel: &Cancel, sink: &dyn Sink) -> Result<Reply, Broken> {
    let http = Http::new(provider(url, own));
    let (request, options) = (asked(), options());
    let wire = Anthropic.encode(&request, &options);
    let decoder = Anthropic.decoder(&request, &options);
    http.stream(wire, Anthropic.auth(), decoder, &options, cancel, sink).await
}

/// One call to this address.
pub(super) async fn asked_with(url: &str, own: Declared) -> Result<Reply, Broken> {
    call_with(url, own, &Cancel::new(), &Quiet).await
}

async fn call(acts: Vec<Act>) -> Result<Reply, Broken> {
    let (url, _) = server(acts).await;
    call_with(&url, Declared::default(), &Cancel::new(), &Quiet).await
}

/// The same, of a server that hangs.
async fn call_hanging(acts: Vec<Act>) -> Result<Reply, Broken> {
    let (url, _) = server(acts).await;
    call_with(&url, quick(), &Cancel::new(), &Quiet).await
}

/// Short times, for servers that hang.
fn quick() -> Declared {
    let ms = Some(200);
    Declared { connect_ms: ms, first_ms: ms, between_ms: ms, total_ms: Some(5_000), ..Declared::default() }
}

fn answer(status: &str, headers: &str, body: &str) -> Act {
    send(format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n{body}"))
}

#[derive(Default)]
struct Heard(Mutex<String>);

impl Sink for Heard {
    fn delta(&self, delta: Delta) {
        if let Delta::Text(text) = delta {
            self.0.lock().unwrap().push_str(&text);
        }
    }
}

#[tokio::test]
async fn a_reply_comes_in_pieces_with_its_limits_and_its_name() {
    let (url, seen) =
        server(vec![send(HEAD), send(START), send(&HELLO[..30]), send(&HELLO[30..]), send(END)]).await;
    let heard = Heard::default();
    let own =
        Declared { headers: vec![("X-Team".to_owned(), "blue".to_owned())].into(), ..Declared::default() };
    let reply = call_with(&url, own, &Cancel::new(), &heard).await.unwrap();
    assert_eq!((reply.text.as_str(), heard.0.lock().unwrap().as_str()), ("hello", "hello"));
    assert_eq!((reply.request_id.as_str(), reply.usage.input, reply.usage.output), ("req_9", 5, 2));
    assert_eq!(reply.meter.requests.unwrap().left, 3);
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("POST /v1/messages HTTP/1.1\r\n"), "{}", seen[0]);
    for line in [
        &format!("x-api-key: {KEY}"),
        "x-team: blue",
        "anthropic-version: 2023-06-01",
        "content-type: application/json",
    ] {
        assert!(seen[0].contains(&format!("\r\n{line}\r\n")), "{line} in {}", seen[0]);
    }
}

#[tokio::test]
async fn refusals_are_faults_that_never_quote_the_key() {
    let quote =
        format!(r#"{{"type":"error","error":{{"type":"authentication_error","message":"bad key {KEY}"}}}}"#);
    let broken = call(vec![answer("401 Unauthorized", "content-type: application/json\r\n", &quote)])
        .await
        .unwrap_err();
    assert_eq!((broken.fault.kind, broken.fault.code.as_str()), (Kind::UserFixable, "key-refused"));
    assert!(broken.fault.what.contains("[key]") && !format!("{broken:?}").contains(KEY));
    assert_eq!(broken.usage, Some(Usage::default()));
    // Nor does what goes wrong later, be it the whole key, a piece of it where a quote ends, or what a header holds.
    let header = "Bearer another-secret-of-tests";
    let own =
        || Declared { headers: vec![("x-gate".to_owned(), header.to_owned())].into(), ..Declared::default() };
    for words in [KEY.to_owned(), format!("{}{KEY} and more", "x".repeat(282)), header.to_owned()] {
        let event = format!(
            "data: {{\"type\":\"error\",\"error\":{{\"type\":\"api_error\",\"message\":\"{words}\"}}}}\n\n"
        );
        let said = HELLO.replace("hello", &words);
        let (url, _) = server(vec![send(HEAD), send(START), send(said), send(event)]).await;
        let broken = call_with(&url, own(), &Cancel::new(), &Quiet).await.unwrap_err();
        assert!(broken.fault.what.contains("[key]") && broken.text.contains("[key]"), "{broken:?}");
        let told = format!("{broken:?}");
        assert!(!told.contains(&KEY[..12]) && !told.contains("another-secret"), "{told}");
    }
    let headers = "retry-after: 7\r\nanthropic-ratelimit-requests-remaining: 0\r\n";
    let broken = call(vec![answer("429 Too Many Requests", headers, "")]).await.unwrap_err();
    assert_eq!((broken.fault.kind, broken.fault.retry_after_ms), (Kind::RateLimited, Some(7_000)));
    assert_eq!(broken.meter.requests.unwrap().left, 0);
    let broken = call(vec![answer("529 Overloaded", "", "<html>")]).await.unwrap_err();
    assert_eq!(broken.fault.kind, Kind::Degraded);
    let broken = call(vec![answer("504 Gateway Timeout", "", "")]).await.unwrap_err();
    assert_eq!(
        (broken.fault.kind, broken.usage),
        (Kind::Degraded, None),
        "nobody knows what happened behind it"
    );
    let broken = call_hanging(vec![answer("500 Oh", "", &"x".repeat(100)), Act::Hang]).await.unwrap_err();
    assert_eq!(broken.fault.kind, Kind::Degraded);
}

#[tokio::test]
async fn a_redirect_takes_no_key_along() {
    let (there, seen) = server(vec![send(HEAD), send(START), send(END)]).await;
    let moved = answer("307 Temporary Redirect", &format!("location: {there}/v1/messages?x=1\r\n"), "");
    let broken = call(vec![moved]).await.unwrap_err();
    assert_eq!((broken.fault.kind, broken.fault.code.as_str()), (Kind::UserFixable, "redirected"));
    assert!(broken.fault.what.ends_with(&format!("to {there}/v1/messages")), "{}", broken.fault);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_stream_is_said() {
    let html = call(vec![answer("200 OK", "content-type: text/html; charset=utf-8\r\n", "<html>Welcome")])
        .await
        .unwrap_err();
    let usage = html.usage.unwrap();
    assert_eq!((html.fault.code.as_str(), usage.estimated), ("not-a-stream", true));
    assert!(usage.given() > 0 && usage.output > 0, "what a model may have made is not free: {usage:?}");
    assert!(html.fault.what.contains("text/html instead"), "{}", html.fault);
    let body = r#"{"error":{"type":"overloaded_error","message":"x"}}"#;
    let json = call(vec![answer("200 OK", "content-type: application/json\r\n", body)]).await.unwrap_err();
    assert_eq!(json.fault.kind, Kind::Degraded);
}

#[tokio::test]
async fn a_cut_stream_keeps_what_was_said() {
    for acts in [
        vec![send(HEAD), send(START), send(HELLO)],
        vec![send(HEAD), send(START), send(HELLO), send(&END[..20])],
        // More is announced than comes.
        vec![send(HEAD.replace("connection: close", "content-length: 9999")), send(START), send(HELLO)],
    ] {
        let broken = call(acts).await.unwrap_err();
        assert_eq!((broken.fault.code.as_str(), broken.fault.kind), ("stream-cut", Kind::Transient));
        let usage = broken.usage.unwrap();
        assert_eq!((broken.text.as_str(), usage.input, usage.estimated), ("hello", 5, true));
        assert_eq!(broken.meter.requests.unwrap().left, 3);
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up_at_each_stage() {
    for (acts, code, text, known) in [
        (vec![Act::Hang], "first-token-late", "", false),
        (vec![send(HEAD), Act::Hang], "first-token-late", "", true),
        (vec![send(HEAD), send(": comments are no answer\n\n"), Act::Hang], "first-token-late", "", true),
        (vec![send(HEAD), send(START), send(HELLO), Act::Hang], "stream-stalled", "hello", true),
    ] {
        let broken = call_hanging(acts).await.unwrap_err();
        assert_eq!((broken.fault.code.as_str(), broken.fault.kind), (code, Kind::Transient));
        assert_eq!((broken.text.as_str(), broken.usage.is_some()), (text, known));
    }
    let (url, _) = server(vec![send(HEAD), send(START), send(HELLO), Act::Hang]).await;
    let own = Declared { total_ms: Some(200), first_ms: Some(150), ..Declared::default() };
    let broken = call_with(&url, own, &Cancel::new(), &Quiet).await.unwrap_err();
    assert_eq!((broken.fault.code.as_str(), broken.text.as_str()), ("stream-stalled", "hello"));
}

#[tokio::test]
async fn an_interrupt_ends_a_stream_at_once() {
    struct StopsAtText(Cancel, Mutex<Option<std::time::Instant>>);
    impl Sink for StopsAtText {
        fn delta(&self, _: Delta) {
            *self.1.lock().unwrap() = Some(std::time::Instant::now());
            self.0.cancel(Urgency::Graceful);
        }
    }
    let (url, _) = server(vec![send(HEAD), send(START), send(HELLO), Act::Hang]).await;
    let cancel = Cancel::new();
    let sink = StopsAtText(cancel.clone(), Mutex::default());
    let broken = call_with(&url, Declared::default(), &cancel, &sink).await.unwrap_err();
    let since = sink.1.lock().unwrap().unwrap().elapsed();
    assert!(since < Duration::from_millis(100), "{since:?}");
    assert_eq!((broken.fault.code.as_str(), broken.text.as_str()), ("cancelled", "hello"));

    let (url, _) = server(vec![Act::Hang]).await;
    let cancel = Cancel::new();
    let (answer, ()) = tokio::join!(call_with(&url, Declared::default(), &cancel, &Quiet), async {
        cancel.cancel(Urgency::Now);
    });
    assert_eq!(answer.unwrap_err().fault.code, "cancelled");
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let broken = call_with(&url, quick(), &Cancel::new(), &Quiet).await.unwrap_err();
    assert_eq!((broken.fault.code.as_str(), broken.fault.kind), ("connection-refused", Kind::Transient));
    assert_eq!(broken.usage, Some(Usage::default()));
    let dead = call(vec![]).await.unwrap_err();
    assert_eq!((dead.fault.code.as_str(), dead.usage), ("connection-lost", None));
}

#[tokio::test]
async fn tls_that_fails_is_the_persons_to_mend() {
    // A server that speaks no TLS at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let broken = call_with(&url, Declared::default(), &Cancel::new(), &Quiet).await.unwrap_err();
    let Fault { kind, code, .. } = &broken.fault;
    assert_eq!((code.as_str(), *kind), ("tls-failed", Kind::UserFixable), "{}", broken.fault);
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("ca.pem");
    std::fs::write(&pem, "nothing").unwrap();
    for (path, says) in [(pem, "holds no certificate"), (dir.path().join("gone.pem"), "gone.pem")] {
        let own = Declared { ca_file: Some(path), ..Declared::default() };
        let broken = call_with(&url, own, &Cancel::new(), &Quiet).await.unwrap_err();
        assert_eq!((broken.fault.code.as_str(), broken.fault.kind), ("bad-config", Kind::UserFixable));
        assert!(broken.fault.what.contains(says), "{}", broken.fault);
    }
}

#[tokio::test]
async fn a_proxy_is_asked_for_what_is_elsewhere() {
    let (proxy, seen) = server(vec![send(HEAD), send(START), send(HELLO), send(END)]).await;
    let through = Declared { proxy: Some(proxy).into(), ..Declared::default() };
    assert_eq!(asked_with("http://models.example/claude", through).await.unwrap().text, "hello");
    let first = seen.lock().unwrap()[0].lines().next().unwrap_or_default().to_owned();
    assert_eq!(first, "POST http://models.example/claude/v1/messages HTTP/1.1");
    let nowhere = Declared { proxy: Some("no proxy".to_owned()).into(), ..Declared::default() };
    let broken = asked_with("http://models.example", nowhere).await.unwrap_err();
    assert_eq!((broken.fault.code.as_str(), broken.fault.kind), ("bad-config", Kind::UserFixable));
}

#[tokio::test]
async fn gzip_is_undone_and_a_line_without_end_is_refused() {
    let packed = gzip(format!("{START}{HELLO}{END}").as_bytes());
    let head = HEAD.replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n");
    let reply = call(vec![send(head), send(packed)]).await.unwrap();
    assert_eq!(reply.text, "hello");

    let megabyte = send(vec![b'x'; 1024 * 1024]);
    let mut acts = vec![send(HEAD), send(START), send(HELLO)];
    acts.extend(std::iter::repeat_n(megabyte, 50));
    let broken = call(acts).await.unwrap_err();
    assert_eq!((broken.fault.code.as_str(), broken.text.as_str()), ("stream-line", "hello"));
}

/// Stored blocks of deflate (RFC 1951, 3.2.4) in a gzip member (RFC 1952); nobody here checks the sum.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let length = u16::try_from(bytes.len()).unwrap();
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(bytes);
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)));
    }
    out.extend((!crc).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}

#[tokio::test]
async fn a_complete_reply_leaves_the_connection_to_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = format!("{START}{HELLO}{END}");
    // As after a reply that is complete before its stream is: two chunks more, then the end.
    let rest = "c\r\ndata: [DONE]\r\n2\r\n\n\n\r\n0\r\n\r\n";
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n{rest}",
        body.len()
    );
    let served = tokio::spawn(async move {
        // One connection only: a second would never be accepted.
        let (mut socket, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            request(&mut socket).await;
            socket.write_all(whole.as_bytes()).await.unwrap();
        }
    });
    let http = Http::new(provider(&url, Declared::default()));
    for _ in 0..2 {
        let (request, options) = (asked(), options());
        let wire = Anthropic.encode(&request, &options);
        let decoder = Anthropic.decoder(&request, &options);
        let reply = http.stream(wire, Anthropic.auth(), decoder, &options, &Cancel::new(), &Quiet).await;
        assert_eq!(reply.unwrap().text, "hello");
    }
    served.await.unwrap();
}
