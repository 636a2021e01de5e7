//! Secrets that calls name: a value gets to the program, the host or the hook that it is for, and stands nowhere else.
//!
//! Start at [`a_value_is_put_in_for_whom_it_is_and_nobody_else_sees_it`].

use crate::world::{Ended, World, finish};
use fake::{Plan, Reply, Script, Server};
use serde_json::{Value, json};

const VALUE: &str = "canary-handle-7Qx3Lm9Vt4zP";
/// Its SHA-256, which tells that a program had it.
const SUM: &str = "SUM";

/// Grants for scripts of the repository, a host and hooks; with a model that makes these calls.
fn planted(replies: Vec<Reply>, more: &str) -> (World, Server) {
    let world = World::new();
    world.write("repo/use.sh", "printf %s \"$A_KEY\" | sha256sum\nprintf '%s\\n' \"$A_KEY\"\n");
    world.write("repo/other.sh", "printf '%s\\n' \"$A_KEY\" | rev\n");
    world.commit("scripts");
    let mut replies = replies;
    replies.push(Reply::call("write", &json!({"path": "fixed.txt", "content": "fixed\n"})));
    replies.push(Reply::call("finish", &json!({"status": "done", "summary": "Done."})));
    let server = Server::start(Plan { script: Script::new(replies), ..Plan::default() }).unwrap();
    let text = format!(
        "ask = \"never\"\n\
         [secrets.API]\nfor = [\"sh use.sh\", \"sh ./use.sh\", \"hooks\"{more}]\n\
         [providers.ours]\ndialect = \"anthropic\"\nbase_url = \"{}\"\nkey_env = \"OURS_API_KEY\"\n\
         [providers.ours.models.m]\ncontext = 200_000\noutput = 4_000\nprice = {{ input = 3, output = 15 }}\n",
        server.url()
    );
    world.write("kapell/config/config.toml", &text);
    (world, server)
}

fn run(world: &World, args: &[&str]) -> Ended {
    let mut command = world.kapell(args);
    command.env("OURS_API_KEY", "sk-e2e-a-key-of-a-provider-1");
    finish(command, b"")
}

fn works(world: &World) -> Ended {
    let args = ["run", "-m", "ours/m", "--verbose", "--output-format", "stream-json"];
    run(world, &[&args[..], &["--include-partial-messages", "--no-land", "make the test pass"]].concat())
}

fn sum() -> String {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("printf %s '{VALUE}' | sha256sum")]);
    let out = command.output().unwrap().stdout;
    String::from_utf8_lossy(&out).split_whitespace().next().unwrap_or(SUM).to_owned()
}

/// Nothing that leaves, is said or is kept holds the value, nor most of it.
#[track_caller]
fn nowhere(world: &World, server: &Server, ended: &Ended) {
    let none = |what: &str, text: &str| {
        for piece in [VALUE, &VALUE[..20], &VALUE[6..]] {
            assert!(!text.contains(piece), "{what} holds it");
        }
    };
    none("standard output", &ended.out);
    none("standard error", &ended.err);
    server.asked().iter().for_each(|seen| none("a request", &seen.body));
    for args in [
        &["sessions", "transcript", "last"][..],
        &["events", "last", "--json"],
        &["record", "last"],
        &["audit", "query"],
        &["jobs", "list", "last"],
        &["auth", "list"],
        &["secret", "list"],
    ] {
        let ended = run(world, args);
        none(&args.join(" "), &format!("{}{}", ended.out, ended.err));
    }
    let export = world.path("export");
    run(world, &["events", "last", "--export", export.to_str().unwrap()]).expect(0);
    for entry in std::fs::read_dir(export.join("blobs")).unwrap() {
        none("a blob", &String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()));
    }
    for name in ["credentials", "kapell.db", "kapell.db-wal"] {
        let bytes = std::fs::read(world.path("kapell/data").join(name)).unwrap_or_default();
        none(name, &String::from_utf8_lossy(&bytes));
    }
}

fn shell(args: Value) -> Reply {
    Reply::call("shell", &args)
}

#[test]
fn a_value_is_put_in_for_whom_it_is_and_nobody_else_sees_it() {
    let named = json!(["A_KEY=secret:API"]);
    let (world, server) = planted(
        vec![
            shell(json!({"command": "sh use.sh", "env": named})),
            shell(json!({"command": "sh use.sh", "env": named, "background": true})),
            Reply::call("job", &json!({"action": "read", "job": "j1", "wait_ms": 3_000})),
            shell(json!({"command": "sh other.sh", "env": named})),
            shell(json!({"command": "sh use.sh | rev", "env": named})),
            shell(json!({"command": "sh use.sh > kept.txt", "env": named})),
            shell(json!({"command": "sh -c 'echo secret:API'"})),
            shell(json!({"command": "sh use.sh", "env": ["A_KEY=secret:OTHER"]})),
            Reply::call("write", &json!({"path": "note.txt", "content": "give it secret:API\n"})),
        ],
        "",
    );
    let set = |value: &str| finish(world.kapell(&["secret", "set", "API"]), value.as_bytes());
    set("short").expect(2);
    assert!(set(&format!("{VALUE}\n")).expect(0).out.contains("secret:API: kept"));
    let listed = run(&world, &["secret", "list"]).expect(0).out;
    assert_eq!(listed, "secret:API  kept; for sh use.sh, sh ./use.sh, hooks\n");
    let ended = works(&world).expect(0);
    nowhere(&world, &server, &ended);
    let said = run(&world, &["sessions", "transcript", "last"]).out;
    assert_eq!(said.matches(&sum()).count(), 2, "{said}");
    assert!(said.contains("[secret removed: API]"), "{said}");
    assert_eq!(said.matches("secret:API is not for").count(), 3, "{said}");
    assert!(said.contains("no part of a line") && said.contains("names no secret"), "{said}");
    // A handle in a file is a text.
    let tree = run(&world, &["diff", "last"]).out;
    assert!(tree.contains("give it secret:API") && !tree.contains("kept.txt"), "{tree}");
    // Each use stands in the audit log, with who got it.
    let acts = run(&world, &["audit", "query", "--action", "secret"]).expect(0).out;
    assert_eq!(acts.lines().filter(|line| line.contains("secret:API to `sh`")).count(), 2, "{acts}");
    run(&world, &["audit", "verify"]).expect(0);
    run(&world, &["secret", "remove", "API"]).expect(0);
    assert!(run(&world, &["secret", "list"]).out.contains("no value: kapell secret set"));
}

#[test]
fn a_person_is_asked_about_the_handle_and_told_who_gets_it() {
    let reply = shell(json!({"command": "sh use.sh", "env": ["A_KEY=secret:API"]}));
    let (world, server) = planted(vec![reply], "");
    finish(world.kapell(&["secret", "set", "API"]), VALUE.as_bytes()).expect(0);
    let config = world.read("kapell/config/config.toml").replace("\"never\"", "\"writes\"");
    world.write("kapell/config/config.toml", &config);
    let ended = works(&world).expect(8);
    let asked = run(&world, &["sessions", "show", "last"]);
    let told = format!("{}{}", asked.out, asked.err);
    assert!(told.contains("A_KEY=secret:API") && told.contains("secret:API to `sh`"), "{told}");
    nowhere(&world, &server, &ended);
    // What was written down is taken back before the yes: nobody gets it.
    let config = world.read("kapell/config/config.toml").replace("\"sh use.sh\", \"sh ./use.sh\", ", "");
    world.write("kapell/config/config.toml", &config);
    run(&world, &["approve", "--unseen", "last"]).expect(0);
    run(&world, &["resume", "last"]);
    let said = run(&world, &["sessions", "transcript", "last"]).out;
    assert!(said.contains("secret:API is not for") && !said.contains(&sum()), "{said}");
}

/// A server of one page: where it is, and the head of the request that it got.
fn page() -> (String, std::thread::JoinHandle<String>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let asked = std::thread::spawn(move || {
        let (mut stream, mut head, mut byte) = (listener.accept().unwrap().0, Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            head.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
        String::from_utf8_lossy(&head).into_owned()
    });
    (host, asked)
}

#[test]
fn a_hook_and_a_host_get_it_where_they_are_written_down() {
    let (host, page) = page();
    let fetch = json!({"url": format!("http://{host}/page"), "headers": ["X-Key: Bearer secret:API"]});
    let replies = vec![Reply::call("web_fetch", &fetch), shell(json!({"command": "ls"}))];
    let (world, server) = planted(replies, &format!(", \"host:{host}\""));
    let config = world.read("kapell/config/config.toml");
    let web = format!("[web]\nallow = [\"{host}\"]\nprivate = [\"{host}\"]\n");
    world.write("kapell/config/config.toml", &format!("{config}{web}"));
    finish(world.kapell(&["secret", "set", "API"]), VALUE.as_bytes()).expect(0);
    let out = world.path("hook.out");
    let hooks = json!({"confined": false, "env": {"A_KEY": "secret:API", "PLAIN": "x"}, "hooks": {"PreToolUse": [
        {"matcher": "Bash", "hooks": [{"type": "command", "command":
            format!("printf %s \"$PLAIN$A_KEY\" > {}; printf %s \"$A_KEY\" >&2; exit 2", out.display())}]}]}});
    world.write("kapell/config/hooks.json", &hooks.to_string());
    let ended = works(&world).expect(0);
    nowhere(&world, &server, &ended);
    assert_eq!(std::fs::read_to_string(out).unwrap(), format!("x{VALUE}"));
    let said = run(&world, &["sessions", "transcript", "last"]).out;
    assert!(said.contains("a hook denied it: [secret removed: API]"), "{said}");
    let acts = run(&world, &["audit", "query", "--action", "secret"]).expect(0).out;
    assert!(acts.contains("secret:API to a hook for PreToolUse"), "{acts}");
    assert!(acts.contains(&format!("secret:API to {host}")), "{acts}");
    let head = page.join().unwrap();
    assert!(head.contains(&format!("x-key: Bearer {VALUE}\r\n")), "{head}");
}
