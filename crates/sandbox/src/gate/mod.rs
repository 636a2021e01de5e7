//! The one way out of a command's own network: an HTTP proxy in this process, behind a socket that listens inside.
//! Knows nothing of namespaces: the listening socket comes to it ready made. Start at [`Gate::serve`].
//!
//! Only listed hosts are let through, by name: a name is asked for once, every address of it must be everybody's (but for
//! hosts of one's own network that a person listed), and the connection is made to these very addresses. Through `CONNECT`
//! only TLS passes whose first words name that very host; of plain HTTP one request, whose `Host` is the one that was
//! looked at. Both verdicts are kept for the record. A listed host can be told anything that fits into a request: the list
//! is the person's.

pub mod address;
mod hello;
mod request;

use crate::pass;
use crate::sys::{self, Owned};
use contract::confine::{HostAsked, Hosts};
use contract::limits::{GATE_ASKED, GATE_CALLS, GATE_CONNECT_MS, GATE_HEAD_MS};
use request::{Refused, Request};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
// tidy: allow(spawn): connections end with their set, which ends with the run
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The port it listens on: not one that Linux gives to who asks for any (32768 to 60999).
pub(crate) const PORT: u16 = 61_080;

type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
type Lookup = Arc<dyn Fn(String, u16) -> Answer + Send + Sync>;

/// Who was asked for by commands, as it comes; whoever holds it takes it out.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<HostAsked>>>);

impl Log {
    /// What was asked for since it was taken last.
    pub fn taken(&self) -> Vec<HostAsked> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who may be asked, and who was.
#[derive(Clone)]
pub(crate) struct Gate {
    hosts: Arc<Hosts>,
    log: Log,
    lookup: Lookup,
    /// Only tests have another than [`address::public`]: their servers are on this machine.
    public: fn(IpAddr) -> Result<(), &'static str>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Gate {
    pub(crate) fn new(hosts: Hosts, log: Log) -> Self {
        let lookup: Lookup = Arc::new(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        });
        let hosts = Arc::new(hosts);
        Self { hosts, log, lookup, public: address::public }
    }

    /// Takes the listening socket that the command's first process sends over this one, and serves there for as long as it
    /// is polled. Never ends.
    pub(crate) async fn open(self, from: OwnedFd) {
        if let Ok(listener) = received(from).await {
            let _broken = self.serve(listener).await;
        }
        std::future::pending().await
    }

    /// Serves for as long as it is polled.
    pub(crate) async fn serve(&self, listener: TcpListener) -> io::Error {
        // tidy: allow(spawn): ends with the run, which drops it
        let mut calls = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if calls.len() < GATE_CALLS => match accepted {
                    Ok((stream, _)) => {
                        let gate = self.clone();
                        calls.spawn(async move { gate.call(stream).await });
                    }
                    // Out of descriptors, or the caller is gone already.
                    Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                        tokio::time::sleep(Duration::from_millis(GATE_HEAD_MS / 100)).await;
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => return error,
                },
                Some(_ended) = calls.join_next(), if !calls.is_empty() => {}
            }
        }
    }

    async fn call(&self, mut client: TcpStream) {
        let head = timeout(Duration::from_millis(GATE_HEAD_MS), request::read(&mut client)).await;
        let Ok(Ok(head)) = head else { return };
        let passed = match head {
            Ok(request) => self.pass(request, &mut client).await,
            Err(refused) => Err(refused),
        };
        if let Err(refused) = passed {
            // Who asked may be gone.
            let _gone = client.write_all(refused.answer().as_bytes()).await;
            let _gone = client.shutdown().await;
        }
    }

    async fn pass(&self, request: Request, client: &mut TcpStream) -> Result<(), Refused> {
        let (host, port) = (request.host.clone(), request.port);
        let said = self.looked_at(&request).await;
        self.note(&host, port, said.as_ref().err().map(|refused| refused.why.as_str()));
        let mut server = said?;
        if request.tunnel {
            // Nobody to be told any more: the answer was given.
            let _ended = self.tunnel(&host, port, client, &mut server).await;
        } else {
            let _ended = request.forward(client, &mut server).await;
        }
        Ok(())
    }

    /// The way to that host, if it is listed and its addresses are what they should be.
    async fn looked_at(&self, request: &Request) -> Result<TcpStream, Refused> {
        let (host, port) = (request.host.as_str(), request.port);
        let usual = if request.tunnel { 443 } else { 80 };
        let listed = |list: &[String]| list.iter().any(|pattern| fits(pattern, host, port, usual));
        if !listed(&self.hosts.allow) {
            return Err(Refused::new(
                403,
                format!("{host}:{port} is not among the hosts that commands may ask"),
            ));
        }
        let wait = Duration::from_millis(GATE_CONNECT_MS);
        let unknown = || Refused::new(502, format!("{host} has no address"));
        let found = timeout(wait, (self.lookup)(host.to_owned(), port)).await;
        let addresses = found.map_err(|_| unknown())?.map_err(|_| unknown())?;
        let own = |address: &SocketAddr| (self.public)(address.ip()).err();
        if !listed(&self.hosts.private)
            && let Some(what) = addresses.iter().find_map(own)
        {
            let way = "a network of your own is listed under `private` of [sandbox]";
            return Err(Refused::new(403, format!("{host} leads to {what}; {way}")));
        }
        for address in addresses {
            if let Ok(Ok(stream)) = timeout(wait, TcpStream::connect(address)).await {
                return Ok(stream);
            }
        }
        Err(Refused::new(504, format!("{host}:{port} cannot be reached")))
    }

    /// Both ways, once the first words from inside are TLS for that very host.
    async fn tunnel(
        &self,
        host: &str,
        port: u16,
        client: &mut TcpStream,
        server: &mut TcpStream,
    ) -> io::Result<()> {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        let mut first = Vec::new();
        let named = loop {
            let mut piece = [0; 4096];
            let read = timeout(Duration::from_millis(GATE_HEAD_MS), client.read(&mut piece)).await??;
            if read == 0 {
                return Ok(());
            }
            first.extend_from_slice(&piece[..read]);
            match hello::server(&first) {
                hello::Said::More => {}
                hello::Said::Name(name) => break name.eq_ignore_ascii_case(host),
                // An address has no name to be said.
                hello::Said::NoName => break host.parse::<IpAddr>().is_ok(),
                hello::Said::Other => break false,
            }
        };
        if !named {
            self.note(host, port, Some("what was said through it was not TLS for that host"));
            return Ok(());
        }
        server.write_all(&first).await?;
        copy_bidirectional(client, server).await.map(drop)
    }

    fn note(&self, host: &str, port: u16, refused: Option<&str>) {
        let mut all = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        let why = refused.unwrap_or_default();
        let same = |it: &&mut HostAsked| it.host == host && it.port == port && it.why == why;
        if let Some(known) = all.iter_mut().find(same) {
            known.times = known.times.saturating_add(1);
        } else if all.len() < GATE_ASKED {
            all.push(HostAsked {
                host: host.into(),
                port,
                passed: refused.is_none(),
                why: why.into(),
                times: 1,
            });
        } else if let Some(last) = all.last_mut() {
            // A record has its limits: the rest is counted together.
            (last.host, last.port, last.passed) = ("others".into(), 0, false);
            last.times = last.times.saturating_add(1);
        }
    }
}

async fn received(from: OwnedFd) -> io::Result<TcpListener> {
    rustix::io::ioctl_fionbio(&from, true)?;
    let socket = sys::watch(Owned(Arc::new(from)), Interest::READABLE)?;
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(|socket| Ok(pass::receive(&*socket.get_ref().0, &mut [0])?)) {
            Ok(received) => {
                let sent = received?.1.pop().ok_or(io::ErrorKind::UnexpectedEof)?;
                let listener = std::net::TcpListener::from(sent);
                listener.set_nonblocking(true)?;
                return TcpListener::from_std(listener);
            }
            Err(_would_block) => {}
        }
    }
}

/// `NAME`, `*.NAME` (all below it, not itself), each also with `:PORT`; without one, only the usual port.
fn fits(pattern: &str, host: &str, port: u16, usual: u16) -> bool {
    let (name, wanted) = match pattern.rsplit_once(':') {
        // An IPv6 address stands in brackets when it has a port.
        Some((name, number)) if !name.contains(':') || name.starts_with('[') => match number.parse::<u16>() {
            Ok(number) => (name, number),
            Err(_) => return false,
        },
        _ => (pattern, usual),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let same = match name.strip_prefix("*.") {
        Some(below) => host
            .len()
            .checked_sub(below.len() + 1)
            .is_some_and(|at| host.as_bytes()[at] == b'.' && host[at + 1..].eq_ignore_ascii_case(below)),
        None => name.eq_ignore_ascii_case(host),
    };
    same && wanted == port
}

#[cfg(test)]
mod tests;
