//! Whom `kapell mcp --http` does not serve: strangers, pages of browsers, and who sends too much or too slowly.
//!
//! Start at the first test; the server is [`crate::mcp_http::Served`].

use crate::mcp_http::{Answer, Client, JSON, Older, Served, TAKES, answer};
use crate::world::World;
use serde_json::json;
use std::io::{Read, Write};

const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
/// Every road in.
const ROADS: [&str; 5] = ["POST /mcp", "GET /mcp", "DELETE /mcp", "GET /sse", "POST /messages?sessionId=x"];

fn refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    // Nothing that a page of another site may read.
    assert!(!answer.head.contains("access-control-"), "{answer:?}");
    assert!(!answer.head.contains("mcp-session-id"), "{answer:?}");
}

#[test]
fn strangers_are_refused_on_every_road() {
    let world = World::new();
    let served = Served::start(&world, "0", &[]);
    let wrong = format!("{}0", served.bearer);
    for road in ROADS {
        let none = served.ask_with(road, &[JSON, TAKES], HELLO);
        refused(&none, 401);
        assert!(
            none.head.contains("www-authenticate: bearer") && none.body.contains("Bearer TOKEN"),
            "{none:?}"
        );
        for token in ["Bearer x", "Bearer ", wrong.as_str(), &served.bearer.replace("Bearer", "Basic")] {
            refused(&served.ask_with(road, &[("Authorization", token), JSON, TAKES], HELLO), 401);
        }
    }
    // A token in an address is none: it would stand in logs and histories.
    let token = served.bearer.split(' ').nth(1).unwrap();
    refused(&served.ask_with(&format!("POST /mcp?token={token}"), &[JSON, TAKES], HELLO), 401);
    refused(&served.ask_with("GET /.well-known/oauth-authorization-server", &[], ""), 404);
    assert_eq!(served.ask("POST /mcp", &[JSON, TAKES], HELLO).status, 200);
    assert_eq!(served.ask("GET /nothing", &[], "").status, 404);
}

#[test]
fn pages_of_browsers_are_refused_with_the_token_and_without() {
    let world = World::new();
    let served = Served::start(&world, "0", &[]);
    let port = served.address.rsplit(':').next().unwrap();
    let rebound = format!("evil.example:{port}");
    for road in ROADS {
        // A page that sends what a browser lets any page send (drive-by).
        for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"]
        {
            refused(&served.ask(road, &[("Origin", origin), JSON, TAKES], HELLO), 403);
            let simple =
                [("Origin", origin), ("Content-Type", "text/plain"), ("Sec-Fetch-Site", "cross-site")];
            refused(&served.ask_with(road, &simple, HELLO), 403);
        }
        // An image, a frame or a link there: no origin is told.
        refused(
            &served.ask(road, &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], ""),
            403,
        );
        // A page whose name leads here (DNS rebinding): to the browser it is the same site.
        let same = [
            ("Host", rebound.as_str()),
            ("Origin", &*format!("http://{rebound}")),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        refused(&served.ask(road, &[&same[..], &[JSON, TAKES]].concat(), HELLO), 403);
        refused(&served.ask(road, &[("Host", "evil.example"), JSON, TAKES], HELLO), 403);
    }
    for road in ["OPTIONS /mcp", "OPTIONS /messages", "OPTIONS /sse"] {
        let asks = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")];
        refused(&served.ask_with(road, &asks, ""), 403);
    }
    let whole = format!("POST http://{rebound}/mcp");
    refused(&served.ask(&whole, &[JSON, TAKES], HELLO), 403);
    // The same names a program uses.
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        assert_eq!(
            served.ask("POST /mcp", &[("Host", host.as_str()), JSON, TAKES], HELLO).status,
            200,
            "{host}"
        );
    }
}

#[test]
fn two_lengths_or_hosts_are_no_request() {
    let world = World::new();
    let served = Served::start(&world, "0", &[]);
    for more in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: +4\r\n",
        "Content-Length : 4\r\n",
        "X: y\r\n z\r\n",
        "Host: evil.example\r\n",
    ] {
        let head = served.head("POST /mcp", &[("Authorization", &served.bearer), JSON, TAKES], None);
        let head = head.strip_suffix("\r\n").unwrap();
        let mut stream = served.connect();
        let after = "GET /sse HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        stream.get_mut().write_all(format!("{head}{more}\r\n0\r\n\r\n{after}").as_bytes()).unwrap();
        let first = answer(&mut stream);
        assert!((400..500).contains(&first.status) && first.status != 404, "{more:?}: {first:?}");
    }
    assert_eq!(served.ask("POST /mcp", &[JSON, TAKES], HELLO).status, 200);
}

#[test]
fn slow_and_greedy_clients_keep_nobody_waiting() {
    let world = World::new();
    world.write("repo/large.txt", &"0123456789\n".repeat(60_000));
    let served = Served::start(&world, "0", &[]);
    let (mut client, _) = Client::connect(&served, "2025-06-18");
    // Heads and bodies that never end, and answers that nobody takes.
    let know = [("Authorization", served.bearer.as_str()), JSON, TAKES];
    let mut slow = Vec::new();
    for n in 0..90 {
        let mut stream = served.connect();
        let part = match n % 3 {
            0 => "POST /mcp HTTP/1.1\r\nHost:".to_owned(),
            1 => format!("{}{{\"jsonrpc\"", served.head("POST /mcp", &know, Some(1000))),
            _ => served.head("GET /sse", &know, None),
        };
        stream.get_mut().write_all(part.as_bytes()).unwrap();
        slow.push(stream);
    }
    let (mut greedy, _) = Client::connect(&served, "2025-06-18");
    let large = json!({"name": "read_project_file", "arguments": {"file_path": "large.txt"}});
    for id in 0..50 {
        greedy.send(&json!({"jsonrpc": "2.0", "id": 100 + id, "method": "tools/call", "params": large}));
    }
    for _ in 0..20 {
        client.call("read_project_file", json!({"file_path": "readme.txt"}));
    }
    // More than is taken: said so, not kept, and others go on.
    let long = format!("{{\"x\":\"{}\"}}", "a".repeat(9 << 20));
    for road in ["POST /mcp", "POST /messages?sessionId=x"] {
        let answer = served.ask(road, &[JSON, TAKES], &long);
        assert!(answer.status == 413 && answer.body.contains("at most 8388608 bytes"), "{answer:?}");
    }
    client.call("read_project_file", json!({"file_path": "readme.txt"}));
    drop(slow);
    assert_eq!(served.end(), Some(143));
}

#[test]
fn what_others_can_reach_is_refused_before_anything_runs() {
    let world = World::empty();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8000"] {
        let ended = world.run(&["mcp", "--http", address]).expect(2);
        assert!(ended.err.contains("other machines") && ended.err.contains("ssh -L"), "{}", ended.err);
    }
    for address in ["nonsense", "127.0.0.1", "localhost:99999"] {
        let ended = world.run(&["mcp", "--http", address]).expect(2);
        assert!(ended.err.contains("127.0.0.1:8000"), "{}", ended.err);
    }
    let served = Served::start(&world, "0", &[]);
    let ended = world.run(&["mcp", "--http", &served.address]).expect(2);
    assert!(ended.err.contains("cannot listen") && ended.err.contains("--http"), "{}", ended.err);
    // The one that is there is not disturbed.
    let mut stream = served.connect();
    stream
        .get_mut()
        .write_all(served.head("GET /sse", &[("Authorization", &served.bearer)], None).as_bytes())
        .unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
}

/// Paths that lead out of the workspace, each in its own way; the workspace gets the links they need.
fn escapes(world: &World) -> Vec<String> {
    world.write("out/secret.md", "the secret\n");
    let repo = world.repo();
    std::fs::create_dir_all(repo.join("sub")).unwrap();
    for (to, at) in
        [("../out", "link"), ("../out/secret.md", "file.md"), ("/", "top"), ("../../out", "sub/up")]
    {
        std::os::unix::fs::symlink(to, repo.join(at)).unwrap();
    }
    let whole = world.path("out/secret.md").display().to_string();
    let plain = [
        "../out/secret.md",
        "sub/../../out/secret.md",
        "./.././out/secret.md",
        "link/secret.md",
        "file.md",
        "top/etc/passwd",
        "sub/up/secret.md",
        "/etc/passwd",
        "/proc/self/environ",
        "..",
        "link/../../out/secret.md",
    ];
    plain.into_iter().map(str::to_owned).chain([whole, "a\0/../../out".into()]).collect()
}

#[test]
fn no_path_leads_outside_over_http_and_the_older_transport() {
    let world = World::new();
    let served = Served::start(&world, "0", &[]);
    let (mut client, _) = Client::connect(&served, "2025-06-18");
    let mut older = Older::connect(&served);
    let mut tried = 0;
    for path in escapes(&world) {
        for (tool, args) in [
            ("read_project_file", json!({"file_path": path})),
            ("write_project_file", json!({"file_path": path, "content": "x"})),
            (
                "write_project_file",
                json!({"file_path": format!("{path}/new.md"), "content": "x", "append": true}),
            ),
            ("list_project_structure", json!({"directory": path})),
            ("search_in_files", json!({"pattern": "secret|root:", "directory": path})),
        ] {
            let params = json!({"name": tool, "arguments": args});
            let results = [client.request("tools/call", params.clone()), older.request("tools/call", params)];
            for result in results {
                let text = result.to_string();
                assert!(!text.contains("the secret") && !text.contains("root:x:"), "{tool} {path:?}: {text}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried}");
    assert_eq!(world.read("out/secret.md"), "the secret\n");
    assert_eq!(std::fs::read_dir(world.path("out")).unwrap().count(), 1);
}

/// Bytes that differ from a good frame in a way that the number says.
fn spoiled(whole: &[u8], n: usize) -> Vec<u8> {
    let mut frame = whole.to_vec();
    let mix = n.wrapping_mul(0x9e37_79b9).rotate_left(7);
    match n % 6 {
        0 => frame[mix % whole.len()] = (mix >> 8) as u8,
        1 => frame.truncate(mix % whole.len()),
        2 => frame
            .splice(mix % whole.len()..mix % whole.len(), (0..n % 40).map(|at| (mix >> (at % 24)) as u8))
            .for_each(drop),
        3 => frame = format!("{}{}", "[".repeat(n % 3000), String::from_utf8_lossy(whole)).into_bytes(),
        4 => {
            frame = json!({"jsonrpc": "2.0", "id": [n, null], "method": format!("tools/{n}"), "params": n})
                .to_string()
                .into_bytes()
        }
        _ => frame.rotate_left(mix % whole.len()),
    }
    frame
}

#[test]
fn ten_thousand_spoiled_frames_over_http_and_it_serves_on() {
    const FRAMES: usize = 10_000;
    let world = World::new();
    let served = Served::start(&world, "0", &[]);
    let (mut client, _) = Client::connect(&served, "2025-06-18");
    let whole = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_todo_status","arguments":{}}}"#;
    let know = [("Authorization", served.bearer.as_str()), JSON, TAKES];
    let (mut answers, session) = ([0_usize; 6], client.session().to_owned());
    let mut stream = served.connect();
    for n in 0..FRAMES {
        let body = spoiled(whole, n);
        // With a session and without.
        let own = [("Mcp-Session-Id", session.as_str())];
        let headers = if n % 2 == 0 { [&know[..], &own[..]].concat() } else { know.to_vec() };
        let head = served.head("POST /mcp", &headers, Some(body.len()));
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        let _ = stream.get_mut().write_all(&body);
        let got = answer(&mut stream);
        answers[usize::from(got.status / 100).min(5)] += 1;
        assert!(got.status < 500, "{}: {got:?}", String::from_utf8_lossy(&body));
        if got.status >= 400 {
            assert!(!got.body.contains("panicked"), "{got:?}");
        }
        if got.head.contains("connection: close") {
            stream = served.connect();
        }
        if n % 1_000 == 999 {
            client.call("read_project_file", json!({"file_path": "readme.txt"}));
        }
    }
    assert_eq!(answers.iter().sum::<usize>(), FRAMES);
    assert!(answers[4] > FRAMES / 2, "{answers:?}");
    println!("answers by hundreds: {answers:?}");
    assert_eq!(served.end(), Some(143));
}

#[test]
fn spoiled_frames_of_the_older_transport_are_answered_in_its_stream() {
    let world = World::new();
    let served = Served::start(&world, "0", &[]);
    let mut older = Older::connect(&served);
    let whole = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_todo_status","arguments":{}}}"#;
    for n in 0..600 {
        let got = older.send_bytes(&spoiled(whole, n));
        assert!(got.status < 500, "{n}: {got:?}");
    }
    // Whatever was answered came in the stream, and does not keep this from coming.
    older.request("ping", json!({}));
    assert_eq!(served.end(), Some(143));
}
