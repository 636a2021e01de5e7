//! Where the daemon is reached: a socket of the file system always, the loopback when asked.
//!
//! Knows neither routes nor who is let in. Start at [`Listeners::open`].

use api::Api;
use api::life::Run;
use contract::{Digest, Fault};
use door::{Door, Hatch, Limits};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes of a request's body.
const BODY_BYTES: usize = 1 << 20;
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Headers of a request.
const HEADERS: usize = 64;
/// Descriptors for followers, sessions and their programs. Not more: programs that are started inherit the number.
const FILES: u64 = 8_192;

/// Everything that is listened at.
pub(super) struct Listeners {
    hatch: Hatch,
    v4: Option<Door>,
    v6: Option<Door>,
    /// What a person should know of where it does not listen.
    pub(super) warning: Option<String>,
}

impl Listeners {
    /// Takes the socket, and this port of the loopback.
    pub(super) async fn open(
        run: &Run,
        api: &Arc<Api>,
        token: &str,
        tcp: Option<u16>,
        files: u64,
    ) -> Result<Self, Fault> {
        let limits = Limits {
            connections: usize::try_from(files / 3).unwrap_or(usize::MAX),
            head_bytes: HEAD_BYTES,
            headers: HEADERS,
            chunked: false,
            body_bytes: BODY_BYTES,
            head: std::time::Duration::from_secs(10),
            ..Limits::default()
        };
        let (mut v4, mut v6, mut warning) = (None, None, None);
        if let Some(port) = tcp {
            let token = Digest::of(token.as_bytes());
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let door = Door::with_logins(at, token, api.logins(), limits).await?;
            let at = SocketAddr::from((Ipv6Addr::LOCALHOST, door.address().port()));
            // Not every machine has it. Where somebody else has it, they are what browsers find at `localhost`.
            let taken = TcpListener::bind(at).is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
            warning = taken.then(|| {
                format!("{at} belongs to another program: open http://127.0.0.1:{}, not localhost", at.port())
            });
            v6 = Door::with_logins(at, token, api.logins(), limits).await.ok();
            api.listens(door.address().port());
            v4 = Some(door);
        }
        Ok(Self { hatch: Hatch::open(&run.socket(), limits)?, v4, v6, warning })
    }

    /// Where browsers find it.
    pub(super) fn url(&self) -> Option<String> {
        self.v4.as_ref().map(|door| format!("http://{}", door.address()))
    }

    /// Serves until the other end of `stop` is dropped.
    pub(super) async fn serve(self, api: &Arc<Api>, stop: watch::Receiver<()>) {
        let Self { hatch, v4, v6, .. } = self;
        let stopped = || {
            let mut stop = stop.clone();
            async move { while stop.changed().await.is_ok() {} }
        };
        let door = async |door: Option<Door>| {
            if let Some(door) = door {
                door.serve_in(api.routes(), |routes| api.around(routes), stopped()).await;
            }
        };
        tokio::join!(
            hatch.serve_in(api.routes(), |routes| api.around(routes), stopped()),
            door(v4),
            door(v6),
        );
    }
}

/// Takes as many descriptors as are there for asking, within reason; how many there are.
pub(super) fn more_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(FILES).min(FILES);
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        // Without them it serves fewer at once.
        let _fewer = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(FILES)
}
