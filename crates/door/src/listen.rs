//! The listener: connections accepted within bounds, each served by the routes behind the guard, ended in order.
//!
//! Knows HTTP/1.1 and no route. Start at [`Door::open`].

use crate::guard::{self, Guard};
use crate::limits::Limits;
use crate::patient::Patient;
use crate::token::Token;
use axum::Router;
use axum::middleware::from_fn_with_state;
use contract::{Fault, Kind};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet; // tidy: allow(spawn): connections end with the set, and the set with `Door::serve`

/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Before the next try, when the system has no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound address that only programs with the token of this start get anything from.
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    token: Token,
    limits: Limits,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("address", &self.address).finish_non_exhaustive()
    }
}

/// An address as people write it: `PORT`, `localhost:PORT`, `127.0.0.1:PORT`, `[::1]:PORT`. Port 0 is any that is free.
pub fn address(text: &str) -> Result<SocketAddr, Fault> {
    let local = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    let port = local.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.or_else(|| text.parse().ok()).ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        Fault::new(Kind::UserFixable, "bad-address", format!("`{shown}` is no address with a port"))
            .hint("write it as 127.0.0.1:8000, or as the port alone; port 0 takes any that is free")
    })
}

impl Door {
    /// Takes the address and writes the token of this start to `PORT.token` of this directory. An address that other
    /// machines reach is refused: the token would go there in the clear.
    pub async fn open(address: SocketAddr, tokens: &Path, limits: Limits) -> Result<Self, Fault> {
        if !is_loopback(address.ip()) {
            let what = format!(
                "{address} can be reached from other machines, and what goes there would be neither \
                encrypted nor kept to you"
            );
            return Err(Fault::new(Kind::UserFixable, "not-loopback", what).hint(format!(
                "listen on 127.0.0.1:{port}, and reach it from elsewhere by `ssh -L {port}:127.0.0.1:{port} HOST`",
                port = address.port()
            )));
        }
        let taken = |error: io::Error| {
            Fault::new(Kind::UserFixable, "no-listener", format!("cannot listen at {address}: {error}"))
                .hint("name a free port, or 0 for any: --http 127.0.0.1:0")
        };
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let token = Token::create(tokens, address.port())?;
        Ok(Self { listener, address, token, limits })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file that holds the token, until this ends.
    pub fn token_file(&self) -> &Path {
        &self.token.file
    }

    /// Serves these routes until `stop` is ready; then what is being answered has its grace, and everything ends.
    pub async fn serve(self, routes: Router, stop: impl Future<Output = ()>) {
        let Self { listener, address, token, limits } = self;
        let guard = Arc::new(Guard::new(address, token.digest(), limits));
        let service = TowerToHyperService::new(routes.layer(from_fn_with_state(guard, guard::pass)));
        let room = Arc::new(Semaphore::new(limits.connections));
        let (end, ending) = watch::channel(());
        let mut open = JoinSet::new(); // tidy: allow(spawn): ended below
        let mut stop = pin!(stop);
        loop {
            let (stream, place) = tokio::select! {
                () = &mut stop => break,
                Some(_over) = open.join_next() => continue,
                next = accepted(&listener, &room) => next,
            };
            // When it grows narrow nobody keeps a place for their next request.
            let keep = room.available_permits() > limits.connections / 4;
            let (service, ending) = (service.clone(), ending.clone());
            open.spawn(async move {
                served(stream, service, limits, keep, ending).await;
                drop(place);
            });
        }
        drop(listener);
        drop(end);
        let all = async { while open.join_next().await.is_some() {} };
        // Who goes on longer is cut off with the set.
        let _in_time = tokio::time::timeout(limits.grace, all).await;
    }
}

/// IPv4 addresses mapped into IPv6 included.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

async fn accepted(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(room).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it every short answer waits for the other side's acknowledgement. One that fails is gone.
                drop(stream.set_nodelay(true));
                return (stream, place);
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn served(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    limits: Limits,
    keep: bool,
    mut ending: watch::Receiver<()>,
) {
    let io = TokioIo::new(Patient::new(stream, limits.write));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).keep_alive(keep).max_buf_size(HEAD_BYTES);
    let mut serving = pin!(http.serve_connection(io, service).with_upgrades());
    // How a connection failed is its client's matter.
    tokio::select! {
        _ended = serving.as_mut() => return,
        _ending = ending.changed() => serving.as_mut().graceful_shutdown(),
    }
    let _ended = serving.await;
}

#[cfg(test)]
mod tests;
