//! The proxy over the loopback: who is let through, what is kept of it, and what gets round it.

use super::hello::tests::said;
use super::*;

/// A server that answers whatever it is asked with what it heard.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = vec![0; 64 * 1024];
            let read = stream.read(&mut heard).await.unwrap_or(0);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {read}\r\n\r\n");
            let _gone = stream.write_all(&[head.as_bytes(), &heard[..read]].concat()).await;
        }
    });
    address
}

/// A proxy for these hosts, whose names all lead to this server.
async fn gate(allow: &[&str], private: &[&str], server: SocketAddr, public: bool) -> (Gate, SocketAddr) {
    let list = |all: &[&str]| all.iter().map(|host| (*host).to_owned()).collect();
    let lookup: Lookup = Arc::new(move |_, _| Box::pin(async move { Ok(vec![server]) }));
    let public: fn(IpAddr) -> Result<(), &'static str> = if public { |_| Ok(()) } else { address::public };
    let hosts = Arc::new(Hosts { allow: list(allow), private: list(private) });
    let gate = Gate { hosts, log: Log::default(), lookup, public };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, serving) = (listener.local_addr().unwrap(), gate.clone());
    tokio::spawn(async move { serving.serve(listener).await });
    (gate, address)
}

async fn asks(proxy: SocketAddr, words: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let mut heard = Vec::new();
    for (at, words) in words.iter().enumerate() {
        if at > 0 {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).await.unwrap();
            heard.extend_from_slice(&piece[..read]);
        }
        let _refused = stream.write_all(words).await;
    }
    let _ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut heard)).await.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

fn told(gate: &Gate) -> Vec<(String, u16, bool, u32)> {
    gate.log.taken().into_iter().map(|it| (it.host, it.port, it.passed, it.times)).collect()
}

#[tokio::test]
async fn a_listed_host_is_reached_and_any_other_is_not() {
    let server = echo().await;
    let (gate, proxy) = gate(&["a.example", "*.b.example"], &[], server, true).await;
    for (host, reached) in
        [("a.example", true), ("A.Example.", true), ("x.b.example", true), ("b.example", false)]
    {
        let heard = asks(proxy, &[format!("GET http://{host}/x HTTP/1.1\r\n\r\n").as_bytes()]).await;
        assert_eq!(heard.contains("GET /x HTTP/1.1"), reached, "{host}: {heard}");
        assert_eq!(heard.starts_with("HTTP/1.1 403 "), !reached, "{host}: {heard}");
    }
    let refused = asks(proxy, &[b"GET http://xb.example/ HTTP/1.1\r\n\r\n"]).await;
    assert!(refused.contains("xb.example:80 is not among the hosts"), "{refused}");
    let other = asks(proxy, &[b"GET http://a.example:8080/ HTTP/1.1\r\n\r\n"]).await;
    assert!(other.starts_with("HTTP/1.1 403 "), "{other}");
    assert_eq!(
        told(&gate),
        [
            ("a.example".into(), 80, true, 2),
            ("x.b.example".into(), 80, true, 1),
            ("b.example".into(), 80, false, 1),
            ("xb.example".into(), 80, false, 1),
            ("a.example".into(), 8080, false, 1),
        ]
    );
    assert!(gate.log.taken().is_empty());
}

#[tokio::test]
async fn through_a_tunnel_goes_tls_for_that_very_host() {
    let server = echo().await;
    let (gate, proxy) = gate(&["a.example", "10.0.0.7:443"], &[], server, true).await;
    let connect = |host: &str| format!("CONNECT {host}:443 HTTP/1.1\r\n\r\n").into_bytes();
    let hello = said(Some("a.example"), 40);
    let heard = asks(proxy, &[&connect("a.example"), &hello]).await;
    assert!(heard.starts_with("HTTP/1.1 200 Connection established") && heard.contains("200 OK"), "{heard}");
    // Another name inside, none, or something else: the server hears nothing of it.
    for words in [&said(Some("evil.example"), 400)[..], &said(None, 400), b"GET / HTTP/1.1\r\n\r\n"] {
        let heard = asks(proxy, &[&connect("a.example"), words]).await;
        assert!(!heard.contains("200 OK"), "{heard}");
    }
    let heard = asks(proxy, &[&connect("10.0.0.7"), &said(None, 400)]).await;
    assert!(heard.contains("200 OK"), "{heard}");
    let refused = asks(proxy, &[&connect("evil.example")]).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let told = told(&gate);
    assert_eq!(told[0], ("a.example".into(), 443, true, 4));
    assert_eq!(told[1], ("a.example".into(), 443, false, 3));
    assert_eq!(told.last().unwrap(), &("evil.example".into(), 443, false, 1));
}

#[tokio::test]
async fn a_name_that_leads_into_ones_own_network_is_refused_unless_listed_as_that() {
    let server = echo().await;
    let (gate, proxy) = gate(&["a.example:80", "wiki.example"], &["wiki.example"], server, false).await;
    let heard = asks(proxy, &[b"GET http://a.example/ HTTP/1.1\r\n\r\n"]).await;
    assert!(heard.contains("a.example leads to this machine"), "{heard}");
    let heard = asks(proxy, &[b"GET http://wiki.example/ HTTP/1.1\r\n\r\n"]).await;
    assert!(heard.contains("200 OK"), "{heard}");
    let heard = asks(proxy, &[b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n"]).await;
    assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
    assert_eq!(gate.log.taken().iter().filter(|it| it.passed).count(), 1);
}

#[tokio::test]
async fn a_second_request_on_the_same_connection_goes_nowhere() {
    let server = echo().await;
    let (gate, proxy) = gate(&["a.example"], &[], server, true).await;
    let two = b"GET http://a.example/one HTTP/1.1\r\n\r\nGET http://evil.example/two HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let heard = asks(proxy, &[two]).await;
    assert!(heard.contains("GET /one") && !heard.contains("two"), "{heard}");
    assert_eq!(told(&gate), [("a.example".into(), 80, true, 1)]);
}

#[tokio::test]
async fn a_length_or_a_name_that_others_read_otherwise_goes_nowhere() {
    let server = echo().await;
    let (gate, proxy) = gate(&["a.example", "[::1]:80"], &[], server, true).await;
    for length in ["+5", "-0", "0x5", "5, 5", "\u{a0}5", "5 5", ""] {
        let head = format!("POST http://a.example/ HTTP/1.1\r\nContent-Length: {length}\r\n\r\nabcde");
        let heard = asks(proxy, &[head.as_bytes()]).await;
        assert!(heard.starts_with("HTTP/1.1 400"), "{length:?}: {heard}");
    }
    let heard = asks(proxy, &[b"GET http://[::1]x/ HTTP/1.1\r\n\r\n"]).await;
    assert!(heard.starts_with("HTTP/1.1 400"), "{heard}");
    assert_eq!(told(&gate), []);
    let heard = asks(proxy, &[b"POST http://a.example/ HTTP/1.1\r\nContent-Length:  5 \r\n\r\nabcde"]).await;
    assert!(heard.starts_with("HTTP/1.1 200") && heard.ends_with("abcde"), "{heard}");
}

#[tokio::test]
async fn what_is_kept_has_an_end() {
    let (gate, _) = gate(&[], &[], "127.0.0.1:9".parse().unwrap(), true).await;
    for n in 0..2 * GATE_ASKED {
        gate.note(&format!("h{n}.example"), 443, Some("not listed"));
    }
    let all = gate.log.taken();
    assert_eq!(all.len(), GATE_ASKED);
    assert_eq!(all.last().unwrap().times as usize, GATE_ASKED + 1);
}

#[test]
fn patterns_fit_whole_names_and_one_port() {
    for (pattern, host, port, fit) in [
        ("a.example", "a.example", 443, true),
        ("a.example", "a.example", 80, false),
        ("a.example:8443", "a.example", 8443, true),
        ("a.example:8443", "a.example", 443, false),
        ("*.example", "a.b.example", 443, true),
        ("*.example", "example", 443, false),
        ("*.example", ".example", 443, true),
        ("*.example", "aexample", 443, false),
        ("A.Example", "a.example", 443, true),
        ("[::1]:443", "::1", 443, true),
        ("::1", "::1", 443, true),
        ("a.example:x", "a.example", 443, false),
    ] {
        assert_eq!(fits(pattern, host, port, 443), fit, "{pattern} {host}:{port}");
    }
}
