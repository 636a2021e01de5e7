//! The listeners: connections accepted within bounds, each served by the routes behind the guard, ended in order.
//!
//! Knows HTTP/1.1 and no route. Start at [`Door::open`]; [`Hatch`] is the same on a socket of the file system.

use crate::guard::{self, Guard, Way};
use crate::limits::Limits;
use crate::login::Logins;
use crate::patient::Patient;
use crate::token::Token;
use axum::Router;
use axum::middleware::from_fn_with_state;
use contract::{Digest, Fault, Kind};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet; // tidy: allow(spawn): connections end with the set, and the set with `served_by`

/// Before the next try, when the system has no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound address that only programs with the token of this start, and who logged in, get anything from.
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    token: Digest,
    file: Option<Token>,
    logins: Option<Arc<dyn Logins>>,
    limits: Limits,
}

/// A socket of the file system that only processes of the same person get anything from. Its file goes when it ends in order.
pub struct Hatch {
    listener: UnixListener,
    path: PathBuf,
    limits: Limits,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("address", &self.address).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Hatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hatch").field("path", &self.path).finish_non_exhaustive()
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
        let (listener, address) = bound(address, "--http 127.0.0.1:0").await?;
        let file = Token::create(tokens, address.port())?;
        Ok(Self { listener, address, token: file.digest(), file: Some(file), logins: None, limits })
    }

    /// The same for a server that keeps the token itself, and serves pages to who logs in.
    pub async fn with_logins(
        address: SocketAddr,
        token: Digest,
        logins: Arc<dyn Logins>,
        limits: Limits,
    ) -> Result<Self, Fault> {
        let (listener, address) = bound(address, "--tcp 0").await?;
        Ok(Self { listener, address, token, file: None, logins: Some(logins), limits })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file that holds the token, until this ends; nothing where the server keeps it itself.
    pub fn token_file(&self) -> Option<&Path> {
        self.file.as_ref().map(|token| &*token.file)
    }

    /// Serves these routes until `stop` is ready; then what is being answered has its grace, and everything ends.
    pub async fn serve(self, routes: Router, stop: impl Future<Output = ()>) {
        self.serve_in(routes, |guarded| guarded, stop).await;
    }

    /// The same, with something put around what the guard says as well: to word its refusals, not to let anybody in.
    pub async fn serve_in(
        self,
        routes: Router,
        around: impl FnOnce(Router) -> Router,
        stop: impl Future<Output = ()>,
    ) {
        let Self { listener, address, token, file, logins, limits } = self;
        let way = Way::Loopback { address, token, logins };
        served_by(listener, guarded(way, routes, around, limits), limits, stop).await;
        drop(file);
    }
}

impl Hatch {
    /// Takes this path, where nobody else listens any more: its directory is for its owner alone, and so is the socket.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, Fault> {
        let taken = |error: io::Error| {
            let what = format!("cannot listen at {}: {error}", path.display());
            Fault::new(Kind::UserFixable, "no-listener", what)
                .hint("make its directory writable for you; a path has at most 107 bytes: KAPELL_HOME can be shorter")
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(taken(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(taken)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(taken)?;
        Ok(Self { listener, path: path.to_owned(), limits })
    }

    /// As [`Door::serve_in`].
    pub async fn serve_in(
        self,
        routes: Router,
        around: impl FnOnce(Router) -> Router,
        stop: impl Future<Output = ()>,
    ) {
        let Self { listener, path, limits } = self;
        let service = guarded(Way::Socket, routes, around, limits);
        let stop = async {
            stop.await;
            // Who comes now finds nobody, rather than somebody who is leaving.
            drop(std::fs::remove_file(path));
        };
        served_by(listener, service, limits, stop).await;
    }
}

/// The address, taken.
async fn bound(address: SocketAddr, other: &str) -> Result<(TcpListener, SocketAddr), Fault> {
    if !is_loopback(address.ip()) {
        let what = format!(
            "{address} can be reached from other machines, and what goes there would be neither encrypted nor kept to you"
        );
        return Err(Fault::new(Kind::UserFixable, "not-loopback", what).hint(format!(
            "listen on 127.0.0.1:{port}, and reach it from elsewhere by `ssh -L {port}:127.0.0.1:{port} HOST`",
            port = address.port()
        )));
    }
    let taken = |error: io::Error| {
        Fault::new(Kind::UserFixable, "no-listener", format!("cannot listen at {address}: {error}"))
            .hint(format!("name a free port, or 0 for any: {other}"))
    };
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    Ok((listener, address))
}

type Service = TowerToHyperService<Router>;

fn guarded(way: Way, routes: Router, around: impl FnOnce(Router) -> Router, limits: Limits) -> Service {
    let guard = Arc::new(Guard::new(way, limits));
    TowerToHyperService::new(around(routes.layer(from_fn_with_state(guard, guard::pass))))
}

/// Serves until `stop` is ready; then what is being answered has its grace.
async fn served_by(
    listener: impl Listener,
    service: Service,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
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

/// IPv4 addresses mapped into IPv6 included.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Where connections come from.
trait Listener {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one that may stay.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Without it every short answer waits for the other side's acknowledgement. One that fails is gone.
        drop(stream.set_nodelay(true));
        Ok(stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.accept().await?;
            // The system says who connected; the socket's mode would let the superuser in, too.
            if stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw()) {
                return Ok(stream);
            }
        }
    }
}

async fn accepted<L: Listener>(listener: &L, room: &Arc<Semaphore>) -> (L::Stream, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(room).acquire_owned().await else { return std::future::pending().await };
        match listener.next().await {
            Ok(stream) => return (stream, place),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn served<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    service: Service,
    limits: Limits,
    keep: bool,
    mut ending: watch::Receiver<()>,
) {
    let io = TokioIo::new(Patient::new(stream, limits.write));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).keep_alive(keep);
    http.max_buf_size(limits.head_bytes).max_headers(limits.headers);
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
