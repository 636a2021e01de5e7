//! Secrets that a session comes upon: none of them leaves it, none is written over by its mark.
//!
//! Canaries stand in the environment, in `.env`, in the home and in the configuration of git; a model that wants all of
//! them asks every tool. Start at [`every_tool_is_asked_for_every_secret_and_none_gets_out`].

use crate::world::{Ended, UNCONFINED, World, finish};
use fake::{Plan, Reply, Script, Server};
use serde_json::{Value, json};
use std::process::Command;

const KEY: &str = "sk-e2e-Canary-Provider-81Lm9";
const ENV: &str = "canary-env-Q7x81Lm9Vt4zP";
const DOTENV: &str = "canary-dotenv-8Kq2Wz7Rt5";
const TRACKED: &str = "canary-tracked-3Hn6Yb1Xc8";
const NETRC: &str = "canary-netrc-5Gd9Pf2Mk4";
const AWS: &str = "canaryAws7Jr3Tv8Lw1Zs6Qe0UyNb2Xh4";
const GIT: &str = "canary-git-6Bm1Ck9Dn3";
const SSH: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW";
const SHAPED: &str = "ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6";
/// Looks like a template, ends in padding on one line with others, has a name of its own.
const ODD: &str = "canary<xxx>-your-4Tb9Qs8Wd1Fe";
const DOCKER: &str = "ZGVwbG95OmNhbmFyeS1kb2NrZXItN1JwNFpuNUtzOA==";
const WORK: &str = "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDf";
const ALL: [&str; 12] = [KEY, ENV, DOTENV, TRACKED, NETRC, AWS, GIT, SSH, SHAPED, ODD, DOCKER, WORK];

/// A world with all of them in it.
fn planted() -> World {
    let world = World::new();
    world.write("repo/.env", &format!("SERVICE_SECRET={TRACKED}\nPORT=3000\n"));
    world.write("repo/notes.txt", &format!("deploy with {SHAPED} and {TRACKED}\nthe second line\n"));
    world.commit("configuration");
    world.write("repo/.env.local", &format!("DATABASE_URL=postgres://app:{DOTENV}@db.internal/app\n"));
    world.write("repo/.env.odd", &format!("DB_PASSWORD='{ODD}'\n"));
    world.write("home/.docker/config.json", &format!("{{\"auths\":{{\"h\":{{\"auth\":\"{DOCKER}\"}}}}}}"));
    world.write(
        "home/.ssh/work",
        &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{WORK}\n-----END OPENSSH PRIVATE KEY-----\n"),
    );
    world.git(&["config", "remote.origin.url", &format!("https://ada:{GIT}@git.example.org/x.git")]);
    world.write("home/.netrc", &format!("machine h login ada password {NETRC}\n"));
    world.write("home/.aws/credentials", &format!("[default]\naws_secret_access_key = {AWS}\n"));
    world.write(
        "home/.ssh/id_ed25519",
        &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{SSH}\n-----END OPENSSH PRIVATE KEY-----\n"),
    );
    world
}

fn configured(world: &World, url: &str) {
    let text = format!(
        "ask = \"never\"\n\
         [providers.ours]\ndialect = \"anthropic\"\nbase_url = \"{url}\"\nkey_env = \"OURS_API_KEY\"\n\
         [providers.ours.models.m]\ncontext = 200_000\noutput = 4_000\nprice = {{ input = 3, output = 15 }}\n{UNCONFINED}"
    );
    world.write("kapell/config/config.toml", &text);
}

fn run(world: &World, args: &[&str]) -> Ended {
    let mut command: Command = world.kapell(args);
    command.env("OURS_API_KEY", KEY).env("DEPLOY_TOKEN", ENV);
    finish(command, b"")
}

/// Everything that is kept below Kapell's own directories, as bytes, but the clone of the repository, its
/// objects, and what background commands write for the person who may sit down at them.
fn kept(world: &World) -> Vec<(String, Vec<u8>)> {
    fn walk(dir: &std::path::Path, out: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let clone = ["tree", "objects", "git", "build", "jobs"].iter().any(|it| name == *it);
            match entry.file_type().unwrap().is_dir() {
                true if clone => {}
                true => walk(&path, out),
                false => out.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default())),
            }
        }
    }
    let mut out = Vec::new();
    walk(&world.path("kapell"), &mut out);
    out
}

#[track_caller]
fn none_in(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for canary in ALL {
        // A part of it would be enough for somebody.
        for piece in [canary, &canary[..canary.len() - 3], &canary[3..]] {
            assert!(!text.contains(piece), "{what} holds {canary}");
        }
    }
}

fn asks(world: &World) -> Vec<Reply> {
    let repo = world.repo();
    let shell = |command: String| Reply::call("shell", &json!({"command": command}));
    let call = |tool: &str, args: Value| Reply::call(tool, &args);
    vec![
        call("read", json!({"path": ".env"})),
        call("read", json!({"path": "notes.txt"})),
        call("search", json!({"pattern": "canary|ghp_"})),
        call("glob", json!({"pattern": "**/*.env*"})),
        call("list", json!({"path": "."})),
        shell(format!("cat {0}/.env {0}/.env.local {0}/.env.odd notes.txt; env; git -C {0} config -l", repo.display())),
        shell(
            "cat $HOME/.netrc $HOME/.aws/credentials $HOME/.docker/config.json $HOME/.ssh/*; tail -n 2 $HOME/.ssh/work"
                .into(),
        ),
        shell(format!("base64 -w0 {0}/.env; xxd -p {0}/.env | tr -d '\\n'; rev {0}/.env", repo.display())),
        // As it would be sent piece by piece.
        shell("head -c 30 .env; echo; cut -c1-35 .env; sed 's/=/ = /' .env".into()),
        shell("cat .env >&2; exit 3".into()),
        call(
            "edit",
            json!({"path": "notes.txt", "edits": [{"old_string": format!("deploy with {TRACKED}"), "new_string": "x"}]}),
        ),
        call("memory_write", json!({"name": "keys", "content": format!("the key is {SHAPED}")})),
        call("memory_read", json!({})),
        call(
            "apply_patch",
            json!({"patch": "--- a/.env\n+++ b/.env\n@@ -1,2 +1,2 @@\n SERVICE_SECRET=x\n-PORT=1\n+PORT=2\n"}),
        ),
        call(
            "multi_edit",
            json!({"edits": [{"path": ".env", "old_string": "PORT=1", "new_string": "PORT=2"}]}),
        ),
        call("shell", json!({"command": "cat .env; env", "background": true})),
        call("job", json!({"action": "read", "job": "j1", "wait_ms": 3_000})),
        call("job", json!({"action": "list"})),
        call("todo", json!({"todos": [{"content": format!("use {SHAPED}"), "status": "pending"}]})),
        call("plan", json!({"tasks": [{"id": "a", "goal": format!("use {SHAPED}")}]})),
        call("no_such_tool", json!({"key": SHAPED})),
        Reply::text(format!("The token is {SHAPED}, as notes.txt says."))
            .and_call("list", &json!({"path": "."})),
    ]
}

#[test]
fn every_tool_is_asked_for_every_secret_and_none_gets_out() {
    let world = planted();
    let mut replies = asks(&world);
    replies.push(Reply::call("write", &json!({"path": "fixed.txt", "content": "fixed\n"})));
    replies
        .push(Reply::call("finish", &json!({"status": "done", "summary": format!("Done with {SHAPED}.")})));
    let server = Server::start(Plan { script: Script::new(replies), ..Plan::default() }).unwrap();
    configured(&world, &server.url());
    let args = [
        "run",
        "-m",
        "ours/m",
        "--verbose",
        "--output-format",
        "stream-json",
        "--include-partial-messages",
        "make the test pass",
    ];
    let ended = run(&world, &args);
    let asked = server.asked();
    assert!(asked.len() > 15, "{} requests\n{}\n{}", asked.len(), ended.out, ended.err);
    for seen in &asked {
        none_in("a request", seen.body.as_bytes());
    }
    none_in("standard output", ended.out.as_bytes());
    none_in("standard error", ended.err.as_bytes());
    for (file, bytes) in kept(&world) {
        none_in(&file, &bytes);
    }
    // Blobs are compressed, so they are read as people read them.
    for args in [&["sessions", "transcript", "last"][..], &["events", "last", "--json"], &["record", "last"]]
    {
        let ended = run(&world, args);
        none_in(&args.join(" "), format!("{}{}", ended.out, ended.err).as_bytes());
    }
    let export = world.path("export");
    run(&world, &["events", "last", "--export", export.to_str().unwrap()]).expect(0);
    let mut files = 0;
    for entry in std::fs::read_dir(export.join("blobs")).unwrap() {
        files += 1;
        none_in("a blob", &std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(files > 20, "{files} blobs");
    // The tools did find them: what stands there is the mark.
    let said = run(&world, &["sessions", "transcript", "last"]).out;
    for label in
        ["SERVICE_SECRET", "github-token", "netrc", "aws_secret_access_key", "private-key", "url-password"]
    {
        assert!(said.contains(&format!("[secret removed: {label}]")), "{label} was never met:\n{said}");
    }
}

#[test]
fn a_mark_is_never_written_in_the_place_of_its_secret() {
    let world = planted();
    let before = world.read("repo/.env");
    let mark = "SERVICE_SECRET=[secret removed: SERVICE_SECRET]\n";
    let patch = "*** Begin Patch\n*** Update File: .env\n@@\n-PORT=3000\n+SERVICE_SECRET=[secret removed: SERVICE_SECRET]\n*** End Patch";
    let replies = vec![
        Reply::call("read", &json!({"path": ".env"})),
        Reply::call("write", &json!({"path": ".env", "content": format!("{mark}PORT=4000\n")})),
        Reply::call(
            "edit",
            &json!({"path": ".env", "edits": [{"old_string": "PORT=3000\n", "new_string": format!("{mark}PORT=4000\n")}]}),
        ),
        Reply::call(
            "multi_edit",
            &json!({"edits": [{"path": ".env", "old_string": "PORT=3000", "new_string": mark}]}),
        ),
        Reply::call("apply_patch", &json!({"patch": patch})),
        Reply::call("shell", &json!({"command": format!("printf '{}' > .env", mark.trim())})),
        // Around it, all is allowed.
        Reply::call(
            "edit",
            &json!({"path": ".env", "edits": [{"old_string": "PORT=3000", "new_string": "PORT=4000"}]}),
        ),
        Reply::call("write", &json!({"path": "fixed.txt", "content": "fixed\n"})),
        Reply::call("finish", &json!({"status": "done", "summary": "Done."})),
    ];
    let server = Server::start(Plan { script: Script::new(replies), ..Plan::default() }).unwrap();
    configured(&world, &server.url());
    run(&world, &["run", "-m", "ours/m", "make the test pass"]).expect(0);
    assert_eq!(world.read("repo/.env"), before.replace("3000", "4000"));
    let said = run(&world, &["sessions", "transcript", "last"]).out;
    assert_eq!(said.matches("which stands for a secret that you are not shown").count(), 5, "{said}");
}

#[test]
fn a_secret_in_what_a_person_says_is_refused_before_it_is_on_record() {
    let world = planted();
    let ended = run(&world, &["run", "--ask", "never", &format!("deploy with {SHAPED} please")]).expect(2);
    assert!(
        ended.err.contains("the goal holds a secret") && ended.err.contains("[secret removed: github-token]"),
        "{}",
        ended.err
    );
    none_in("standard error", ended.err.as_bytes());
    let ended = run(&world, &["run", &format!("log in with {DOTENV}")]).expect(2);
    none_in("standard error", ended.err.as_bytes());
    for (file, bytes) in kept(&world) {
        none_in(&file, &bytes);
    }
}

#[test]
fn files_without_an_end_in_a_clone_hang_nobody() {
    let world = World::new();
    let link = |to: &str, name: &str| {
        let path = world.path(&format!("repo/{name}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, path).unwrap();
    };
    for (to, name) in [
        ("/proc/self/pagemap", ".env"),
        ("/dev/zero", ".env.local"),
        ("/dev/zero", ".npmrc"),
        ("/proc/self/pagemap", "deep/er/.env"),
        ("/dev/zero", "check.sh"),
    ] {
        link(to, name);
    }
    let done = world.script("done", &crate::world::fixes());
    world.commit("links");
    world.run(&["run", "-m", &done, "make the test pass"]).expect(0);
    // A check that names such a file is shown, and a configuration that is one is refused.
    let config = world.path("repo/.kapell/config.toml");
    world.write("repo/.kapell/config.toml", "[checks.c]\nrun = \"sh check.sh\"\nkind = \"test\"\n");
    world.commit("a check");
    assert!(world.run(&["trust", "show"]).expect(8).out.contains("sh check.sh"));
    std::fs::remove_file(config).unwrap();
    link("/dev/zero", ".kapell/config.toml");
    let told = world.run(&["policy", "list"]).expect(2);
    assert!(told.err.contains("not a plain file"), "{}", told.err);
}
