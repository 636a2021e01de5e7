//! The server of the measurement: answers every dialect from memory, whole or event by event.
//!
//! As little as can be: what it takes from the machine it takes from both sides alike. Start at [`serve`].

use anyhow::{Context, Result};
use fake::dialect::{ALL, Context as Spoken, Dialect};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A short answer in one piece, and a long one event by event.
pub(super) const SHAPES: [&str; 2] = ["whole", "streamed"];

/// The text of an answer of this shape.
pub(super) fn text(shape: &str) -> String {
    "Now I look at the next file. ".repeat(if shape == "streamed" { 15 } else { 2 })
}

type Answers = BTreeMap<(&'static str, &'static str), Vec<Vec<u8>>>;

/// Prints its port and serves until it is killed.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        let answers = Arc::new(answers());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // tidy: allow(spawn): ends with its connection, at the latest with this process
            tokio::spawn(connection(stream, Arc::clone(&answers)));
        }
    })
}

fn answers() -> Answers {
    let shaped =
        |shape| ALL.into_iter().map(move |dialect| ((dialect.name(), shape), answer(dialect, shape)));
    SHAPES.into_iter().flat_map(shaped).collect()
}

/// The pieces in which it is written.
fn answer(dialect: Dialect, shape: &str) -> Vec<Vec<u8>> {
    let args = serde_json::json!({"path": "src/next.rs"});
    let reply = fake::Reply::text(text(shape)).and_call("read", &args);
    let usage = Some(fake::Usage { input: 5000, output: 60, ..fake::Usage::default() });
    let context = Spoken { turn: 8, model: "model".into(), usage, same_ids: false };
    let events = dialect.stream(&reply, &context);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    if shape == "whole" {
        let body = events.concat();
        return vec![format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()];
    }
    let chunk = |event: &String| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes();
    let opening = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    std::iter::once(opening).chain(events.iter().map(chunk)).chain([b"0\r\n\r\n".to_vec()]).collect()
}

/// Ends in an error when the other side goes away, which is how every connection here ends.
async fn connection(mut stream: TcpStream, answers: Arc<Answers>) -> Result<()> {
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            anyhow::ensure!(stream.read_buf(&mut buffer).await? > 0, "over");
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let path = head.split(' ').nth(1).context("no path")?;
        let shape = SHAPES.into_iter().find(|shape| path[1..].starts_with(shape)).context("no shape")?;
        let dialect = Dialect::of(path).context("no dialect")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let whole = end + length.context("no length")?;
        while buffer.len() < whole {
            anyhow::ensure!(stream.read_buf(&mut buffer).await? > 0, "over");
        }
        buffer.drain(..whole);
        for piece in answers.get(&(dialect.name(), shape)).into_iter().flatten() {
            stream.write_all(piece).await?;
        }
    }
}
