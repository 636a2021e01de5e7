//! The listener over real sockets: what slow, greedy and foreign clients get, and that others are served meanwhile.
//!
//! Start at [`Client`]; limits are short, so that nothing has to be waited for long.

use super::*;
use axum::routing::{get, post};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Bytes of the long answer: more than two sockets hold.
const LONG: usize = 32 << 20;

struct World {
    address: SocketAddr,
    token: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    dir: TempDir,
}

async fn world(limits: Limits) -> World {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(address("0").unwrap(), dir.path(), limits).await.unwrap();
    let (address, token) = (door.address(), std::fs::read_to_string(door.token_file().unwrap()).unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = Router::new()
        .route("/hello", get(async || "hello"))
        .route("/echo", post(async |body: String| body))
        .route("/long", get(async || vec![b'x'; LONG]))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(50)).await));
    let serving = tokio::spawn(door.serve(routes, async { drop(stopped.await) }));
    World { address, token, stop, serving, dir }
}

impl World {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn head(&self, line: &str, more: &str) -> String {
        format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{more}\r\n",
            self.address, self.token
        )
    }

    /// One request on a connection of its own; the status, and all that came.
    async fn ask(&self, line: &str, more: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.connect().await;
        stream.write_all(self.head(line, &format!("Connection: close\r\n{more}")).as_bytes()).await.unwrap();
        // Of a body that is refused not all is taken.
        drop(stream.write_all(body).await);
        let text = rest(stream).await;
        (status(&text), text)
    }
}

/// What comes until the other side closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(text: &str) -> u16 {
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn short() -> Limits {
    let short = Duration::from_millis(150);
    Limits { head: short, body: short, write: short, body_bytes: 1 << 16, ..Limits::default() }
}

#[tokio::test]
async fn routes_are_served_to_who_knows_the_token() {
    let world = world(Limits::default()).await;
    let (status, text) = world.ask("GET /hello", "", b"").await;
    assert!(status == 200 && text.ends_with("hello"), "{text}");
    let (status, text) = world.ask("POST /echo", "Content-Length: 4\r\n", b"back").await;
    assert!(status == 200 && text.ends_with("back"), "{text}");
    let (status, text) = world.ask("GET /nothing", "", b"").await;
    assert_eq!(status, 404, "{text}");
    for path in ["/hello", "/nothing"] {
        let mut stream = world.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", world.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let text = rest(stream).await;
        assert!(text.starts_with("HTTP/1.1 401") && text.contains("www-authenticate: Bearer"), "{text}");
        assert!(text.contains("application/problem+json") && !text.contains("access-control"), "{text}");
    }
    let file = world.dir.path().join(format!("{}.token", world.address.port()));
    assert!(file.exists());
    world.stop.send(()).unwrap();
    world.serving.await.unwrap();
    assert!(!file.exists() && TcpStream::connect(world.address).await.is_err());
}

#[tokio::test]
async fn what_others_reach_is_refused_and_says_what_to_type() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let refused = Door::open(address(text).unwrap(), dir.path(), Limits::default()).await.unwrap_err();
        assert!(refused.code == "not-loopback" && refused.hint.contains("ssh -L"), "{refused:?}");
    }
    for text in ["", "x", "localhost", "127.0.0.1", "1.2.3.4.5:1", "99999"] {
        assert_eq!(address(text).unwrap_err().code, "bad-address", "{text}");
    }
    for (text, is) in [
        ("80", "127.0.0.1:80"),
        (":80", "127.0.0.1:80"),
        ("localhost:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
    ] {
        assert_eq!(address(text).unwrap().to_string(), is);
    }
    let one = Door::open(address("0").unwrap(), dir.path(), Limits::default()).await.unwrap();
    let two = Door::open(one.address(), dir.path(), Limits::default()).await.unwrap_err();
    assert_eq!(two.code, "no-listener");
    assert!(one.token_file().unwrap().exists(), "who came second took nothing away");
}

#[tokio::test]
async fn a_long_body_is_refused_however_it_is_announced() {
    let world = world(short()).await;
    let long = vec![b'a'; (1 << 16) + 1];
    let (status, text) = world.ask("POST /echo", &format!("Content-Length: {}\r\n", long.len()), &long).await;
    assert!(status == 413 && text.contains("at most 65536 bytes"), "{text}");
    let mut chunks = format!("{:x}\r\n", long.len()).into_bytes();
    chunks.extend_from_slice(&long);
    chunks.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(world.ask("POST /echo", "Transfer-Encoding: chunked\r\n", &chunks).await.0, 413);
    // Who asks first is told at once, and sends nothing.
    assert_eq!(
        world.ask("POST /echo", "Content-Length: 99999999\r\nExpect: 100-continue\r\n", b"").await.0,
        413
    );
    assert_eq!(world.ask("GET /hello", "", b"").await.0, 200);
}

#[tokio::test]
async fn slow_heads_and_bodies_end() {
    let world = world(short()).await;
    let mut stream = world.connect().await;
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost:").await.unwrap();
    assert!(!rest(stream).await.contains(" 200 "));
    assert_eq!(rest(world.connect().await).await, "", "who says nothing is not kept either");
    let (status, text) = world.ask("POST /echo", "Content-Length: 10\r\n", b"half").await;
    assert_eq!(status, 408, "{text}");
    assert_eq!(world.ask("GET /hello", "", b"").await.0, 200);
}

#[tokio::test]
async fn who_takes_nothing_loses_the_place() {
    let world = world(Limits { connections: 1, ..short() }).await;
    let mut greedy = world.connect().await;
    greedy.write_all(world.head("GET /long", "").as_bytes()).await.unwrap();
    let mut first = [0; 16];
    greedy.read_exact(&mut first).await.unwrap();
    // There is one place, and this is served: the other one was put out.
    assert_eq!(world.ask("GET /hello", "", b"").await.0, 200);
    assert!(rest(greedy).await.len() < LONG);
    // Who takes all gets all.
    assert!(world.ask("GET /long", "", b"").await.1.len() > LONG);
}

#[tokio::test]
async fn bodies_have_so_much_room_in_all() {
    let limits = Limits { held_bytes: (1 << 16) - 1024, body: Duration::from_secs(20), ..short() };
    let world = world(limits).await;
    // Takes all of the room, and does not send what it said.
    let mut first = world.connect().await;
    let head = world.head("POST /echo", "Connection: close\r\nContent-Length: 65000\r\n");
    first.write_all(head.as_bytes()).await.unwrap();
    first.write_all(b"a").await.unwrap();
    let mut second = Box::pin(world.ask("POST /echo", "Content-Length: 65000\r\n", &[b'b'; 65_000]));
    // Without a body there is nothing to wait for.
    tokio::select! {
        biased;
        (_, text) = &mut second => panic!("there was no room for it: {text:.100}"),
        (status, _) = world.ask("GET /hello", "", b"") => assert_eq!(status, 200),
    }
    first.write_all(&[b'a'; 64_999]).await.unwrap();
    assert_eq!(status(&rest(first).await), 200);
    assert_eq!(second.await.0, 200);
}

#[tokio::test]
async fn what_is_being_answered_at_the_end_is_answered() {
    let world = world(Limits::default()).await;
    let mut stream = world.connect().await;
    stream.write_all(world.head("GET /slow", "").as_bytes()).await.unwrap();
    let idle = world.connect().await;
    // The connection was accepted before this one's answer came.
    assert_eq!(world.ask("GET /hello", "", b"").await.0, 200);
    world.stop.send(()).unwrap();
    assert_eq!(status(&rest(stream).await), 200);
    world.serving.await.unwrap();
    assert_eq!(rest(idle).await, "");
}
