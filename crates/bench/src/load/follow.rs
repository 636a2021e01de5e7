//! A follower: one event stream of one session, taken up again where it broke; every event once and in order, or it fails.
//!
//! Reads HTTP by itself: what is measured is the daemon, not a client. Start at [`Followed::follow`].

use super::Ticking;
use super::daemon::Place;
use anyhow::{Context, Result, ensure};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

/// Before it is tried again, where the daemon named no time.
const AGAIN: Duration = Duration::from_millis(200);

/// One session as somebody follows it.
pub(super) struct Followed {
    session: Arc<Ticking>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The number of the last event it was told.
    last: u64,
    /// When its stream was opened, each time.
    opened: Vec<Instant>,
    /// From commit to here, of events that were committed while it was connected.
    delays: Vec<Duration>,
}

/// Why a stream ended.
enum Broke {
    /// It can be tried again after this time.
    Again(Duration),
    /// What it was told is wrong.
    Wrong(anyhow::Error),
}

impl From<std::io::Error> for Broke {
    fn from(_: std::io::Error) -> Self {
        Self::Again(AGAIN)
    }
}

impl Followed {
    pub(super) fn new(session: Arc<Ticking>) -> Self {
        Self { session, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_at_the_end(&self) -> bool {
        self.missing() == 0
    }

    /// Events it was not told.
    pub(super) fn missing(&self) -> u64 {
        self.session.head() - self.known().last.min(self.session.head())
    }

    pub(super) fn heard(&self) -> u64 {
        self.known().last
    }

    pub(super) fn delays(&self) -> Vec<Duration> {
        self.known().delays.clone()
    }

    /// How long after this moment its stream was open again.
    pub(super) fn resumed_after(&self, moment: Instant) -> Option<Duration> {
        self.known().opened.iter().find(|opened| **opened > moment).map(|opened| *opened - moment)
    }

    /// Follows until it is given up; ends only where something is wrong.
    pub(super) async fn follow(&self, place: watch::Receiver<Place>) -> Result<()> {
        loop {
            let now = place.borrow().clone();
            match self.stream(&now).await {
                Ok(()) => sleep(AGAIN).await,
                Err(Broke::Again(after)) => sleep(after).await,
                Err(Broke::Wrong(error)) => return Err(error.context(format!("session {}", self.session.id))),
            }
        }
    }

    async fn stream(&self, place: &Place) -> Result<(), Broke> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)).await?;
        let (id, last) = (self.session.id, self.known().last);
        let resumes = if last > 0 { format!("Last-Event-ID: {last}\r\n") } else { String::new() };
        let head = format!(
            "GET /v1/sessions/{id}/events HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n\
             Accept: text/event-stream\r\n{resumes}\r\n",
            place.port, place.token
        );
        stream.write_all(head.as_bytes()).await?;
        let mut stream = BufReader::new(stream);
        opened(&mut stream).await?;
        let open = Instant::now();
        self.known().opened.push(open);
        let mut rest = Vec::new();
        while let Some(piece) = chunk(&mut stream).await? {
            rest.extend_from_slice(&piece);
            let Some(end) = rest.windows(2).rposition(|two| two == b"\n\n") else { continue };
            let whole: Vec<u8> = rest.drain(..end + 2).collect();
            self.told(&whole, open).map_err(Broke::Wrong)?;
        }
        Ok(())
    }

    /// Messages, whole.
    fn told(&self, text: &[u8], open: Instant) -> Result<()> {
        let now = Instant::now();
        let text = std::str::from_utf8(text).context("not UTF-8")?;
        let mut known = self.known();
        for message in text.split("\n\n").filter(|message| !message.is_empty() && !message.starts_with(':')) {
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
            let seq: u64 = field("id: ").context("no number")?.parse()?;
            ensure!(seq == known.last + 1, "event {seq} came after event {}", known.last);
            let data = field("data: ").context("no data")?;
            ensure!(data.starts_with(&format!("{{\"v\":1,\"seq\":{seq},")), "event {seq} is {data}");
            known.last = seq;
            // What was told before the writer knew that it is durable took no time.
            let committed = self.session.at(seq).unwrap_or(now);
            if committed > open {
                known.delays.push(now.saturating_duration_since(committed));
            }
        }
        Ok(())
    }
}

/// The head of an answer that is a stream; anything else is why not.
async fn opened(stream: &mut BufReader<TcpStream>) -> Result<(), Broke> {
    let (mut status, mut wait) = (0, AGAIN);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(Broke::Again(AGAIN));
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.split(' ').next().and_then(|status| status.parse().ok()).unwrap_or(0);
        } else if let Some(seconds) = line.strip_prefix("retry-after: ") {
            wait = Duration::from_secs(seconds.parse().unwrap_or(1));
        } else if line.is_empty() {
            break;
        }
    }
    match status {
        200 => Ok(()),
        // Between two daemons the word of the old one is not taken.
        401 | 429 | 503 => Err(Broke::Again(wait)),
        other => Err(Broke::Wrong(anyhow::anyhow!("the daemon answered {other}"))),
    }
}

/// The next piece of a body that comes in pieces; `None` at its end.
async fn chunk(stream: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>, Broke> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let length = usize::from_str_radix(line.trim(), 16);
    let length = length.map_err(|_| Broke::Wrong(anyhow::anyhow!("a piece of `{}` bytes", line.trim())))?;
    let mut piece = vec![0; length + 2];
    stream.read_exact(&mut piece).await?;
    piece.truncate(length);
    Ok((length > 0).then_some(piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::SessionId;

    fn followed() -> Followed {
        let committed = Mutex::new(vec![Instant::now(); 3]);
        Followed::new(Arc::new(Ticking { id: SessionId(1), fence: 1, committed }))
    }

    #[test]
    fn what_is_twice_left_out_or_in_another_order_is_noticed() {
        let message =
            |seq: u64| format!("id: {seq}\nevent: record\ndata: {{\"v\":1,\"seq\":{seq},\"x\":1}}\n\n");
        let open = Instant::now();
        let told = |parts: &[u64]| {
            let one = followed();
            let text: String = parts.iter().map(|seq| message(*seq)).collect();
            one.told(format!(": beat\n\n{text}").as_bytes(), open).map(|()| one.missing())
        };
        assert_eq!(told(&[1, 2]).unwrap(), 1);
        assert_eq!(told(&[1, 2, 3]).unwrap(), 0);
        for wrong in [&[2][..], &[1, 1], &[1, 3], &[1, 2, 1]] {
            assert!(told(wrong).is_err(), "{wrong:?}");
        }
        assert!(followed().told(b"id: 1\ndata: {\"v\":1,\"seq\":2}\n\n", open).is_err());
    }
}
