//! Who gets nothing from the daemon: pages of others, programs without the token, requests that are two things at once.
//!
//! Start at [`from_outside`]; the refused are tables.

use crate::daemon::{Daemon, problem};
use crate::world::World;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

#[test]
fn from_outside() {
    let world = World::empty();
    let daemon = Daemon::start(&world, &["--tcp", "0"]);
    let (host, bearer) =
        (daemon.address().to_owned(), format!("Bearer {}", daemon.found["token"].as_str().unwrap()));
    let (host, know) = (("Host", host.as_str()), ("Authorization", bearer.as_str()));
    let local = format!("localhost:{}", host.1.rsplit(':').next().unwrap());
    let cookie = format!("kapell-{}=x", host.1.rsplit(':').next().unwrap());
    for (status, code, headers) in [
        (200, "", vec![host, know]),
        (200, "", vec![("Host", local.as_str()), know]),
        (401, "unauthorised", vec![host]),
        (401, "unauthorised", vec![host, ("Authorization", "Bearer 0")]),
        (401, "unauthorised", vec![host, ("Cookie", cookie.as_str()), ("Kapell-Proof", "x")]),
        (403, "forbidden", vec![("Host", "evil.example"), know]),
        (403, "forbidden", vec![("Host", "127.0.0.1"), know]),
        (400, "bad-request", vec![know]),
        (400, "bad-request", vec![host, host, know]),
        (403, "forbidden", vec![host, know, ("Origin", "http://evil.example")]),
        (403, "forbidden", vec![host, know, ("Origin", "null")]),
        (403, "forbidden", vec![host, know, ("Sec-Fetch-Site", "cross-site")]),
        (403, "forbidden", vec![host, know, ("Sec-Fetch-Site", "same-site")]),
        (403, "forbidden", vec![host, know, ("Sec-Fetch-Site", "none")]),
    ] {
        let answer = daemon.over_tcp("GET /v1/sessions", &headers, "");
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(!answer.head.contains("access-control"), "{answer:?}");
        if status != 200 {
            assert_eq!(problem(&answer)["code"], code, "{headers:?}");
        }
        assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401, "{answer:?}");
    }
    // What holds nothing is told to everybody here, and to no page of others.
    assert_eq!(daemon.over_tcp("GET /v1/health", &[host], "").status, 200);
    assert_eq!(daemon.over_tcp("GET /v1/ready", &[host], "").status, 200);
    for foreign in [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        assert_eq!(daemon.over_tcp("GET /v1/health", &[host, foreign], "").status, 403);
    }
    let preflight = [host, ("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")];
    assert_eq!(daemon.over_tcp("OPTIONS /v1/sessions", &preflight, "").status, 403);
    // A path that is not there says so to who may come in, and nothing to others.
    assert_eq!(daemon.over_tcp("GET /v1/nothing", &[host], "").status, 401);
    assert_eq!(daemon.over_tcp("GET /v1/../../etc/passwd", &[host, know], "").status, 404);
}

#[test]
fn requests_that_are_two_things_at_once() {
    let world = World::empty();
    let daemon = Daemon::start(&world, &["--tcp", "0"]);
    let head = |more: &str| {
        format!(
            "GET /v1 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{more}",
            daemon.address(),
            daemon.found["token"].as_str().unwrap()
        )
    };
    for more in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/health HTTP/1.1\r\n\r\n"
            .to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n".into(),
        "Content-Length: 0\r\nContent-Length: 44\r\n\r\n".into(),
        "Content-Length: +0\r\n\r\n".into(),
        "X: a\r\n folded: b\r\n\r\n".into(),
        "Content-Length : 0\r\n\r\n".into(),
        format!("X: {}\r\n\r\n", "a".repeat(17 << 10)),
        format!("{}\r\n", "X: a\r\n".repeat(70)),
    ] {
        let mut stream = daemon.connect();
        stream.write_all(head(&more).as_bytes()).unwrap();
        let mut text = String::new();
        // It closes: what comes behind is nobody's request.
        let _ = stream.read_to_string(&mut text);
        assert!(text.starts_with("HTTP/1.1 4"), "{more}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{more}: {text}");
    }
    assert_eq!(daemon.get("/v1/health")["status"], "ok");
}

#[test]
fn refusals_have_words_whoever_refuses() {
    let world = World::empty();
    let daemon = Daemon::start(&world, &[]);
    for (line, status, code) in [
        ("GET /v2", 404, "no-route"),
        ("GET /v1/sessions/../../../etc/passwd", 404, "no-route"),
        ("PUT /v1/sessions", 405, "method"),
        ("DELETE /v1", 405, "method"),
    ] {
        let answer = daemon.ask(line, &[("Request-Id", "mine.1")], "");
        let problem = problem(&answer);
        assert_eq!((answer.status, problem["code"].as_str().unwrap()), (status, code), "{line}");
        assert!(
            problem["request_id"] == "mine.1" && !problem["hint"].as_str().unwrap().is_empty(),
            "{problem}"
        );
        assert_eq!(answer.head.contains("allow: "), status == 405, "{answer:?}");
    }
    let long =
        daemon.ask("PUT /v1/sessions", &[("Content-Type", "application/json")], &"x".repeat((1 << 20) + 1));
    assert_eq!(problem(&long)["code"], "too-large");
    let odd = daemon.ask("GET /v1", &[("Request-Id", "a b")], "");
    assert!(
        odd.head.contains("request-id: r-") && odd.head.contains("ratelimit: limit=200, remaining="),
        "{odd:?}"
    );
    assert!(odd.head.contains("cache-control: no-store") && odd.head.contains("nosniff"), "{odd:?}");
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let world = World::empty();
    let daemon = Daemon::start(&world, &[]);
    let mut stream = UnixStream::connect(daemon.found["socket"].as_str().unwrap()).unwrap();
    let one = "GET /v1/health HTTP/1.1\r\nHost: kapell\r\n";
    let all = format!("{one}\r\n").repeat(999) + one + "Connection: close\r\n\r\n";
    stream.write_all(all.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (taken, refused) = (text.matches("HTTP/1.1 200").count(), text.matches("HTTP/1.1 429").count());
    assert!(taken >= 200 && refused > 0 && taken + refused == 1_000, "{taken} {refused}");
    assert!(text.contains("urn:kapell:rate-limited") && text.contains("retry-after: 1"), "{text}");
}
