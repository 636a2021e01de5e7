//! The signed log and credentials through the binary: what was changed afterwards is found, keys are kept sealed.
//!
//! Start at the first test.

use crate::world::{World, finish, fixes, shell};
use fake::{Plan, Reply, Script, Server};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// The largest file of streams in a copy.
fn stream(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir.join("streams")).unwrap().flatten().map(|entry| entry.path());
    files.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn a_copy_that_was_changed_in_any_way_is_found_out_without_a_store() {
    let world = World::new();
    let model = world.script("out", &format!("{}{}", shell("cat readme.txt"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    let dir = world.path("copy");
    let made = world.run(&["audit", "export", dir.to_str().unwrap(), "--json"]).expect(0).json();
    let key = made["key"].as_str().unwrap().to_owned();
    assert!(made["records"].as_u64().unwrap() > 20, "{made}");
    // Another machine: nothing but the copy and the key.
    let other = World::empty();
    let verify = |dir: &Path| other.run(&["audit", "verify", dir.to_str().unwrap(), "--key", &key, "--json"]);
    let sound = verify(&dir).expect(0).json();
    assert_eq!(sound["records"], made["records"]);
    assert!(!other.path("kapell").join("data").exists());

    for (what, change, says) in changes() {
        let changed = world.path(&format!("copy-{}", what.replace(' ', "-")));
        copy(&dir, &changed);
        change(&changed);
        let told = verify(&changed).expect(1).json();
        let findings = told["findings"].to_string();
        assert!(says.split('|').any(|says| findings.contains(says)), "{what}: {findings}");
    }
    let stranger =
        other.run(&["audit", "verify", dir.to_str().unwrap(), "--key", &"ab".repeat(32)]).expect(1);
    assert!(stranger.out.contains("signature does not hold"), "{}", stranger.out);
}

fn edit(path: &Path, change: impl Fn(&mut Vec<String>)) {
    let mut lines: Vec<String> = std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    std::fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

type Change = fn(&Path);

/// What somebody may do to a copy, and a piece of what is said about it.
fn changes() -> Vec<(&'static str, Change, &'static str)> {
    vec![
        (
            "flip",
            |dir| edit(&stream(dir), |lines| lines[3] = lines[3].replacen("\"at\":\"2", "\"at\":\"3", 1)),
            "was changed",
        ),
        ("cut", |dir| edit(&stream(dir), |lines| drop(lines.remove(4))), "missing or moved"),
        ("reorder", |dir| edit(&stream(dir), |lines| lines.swap(4, 5)), "missing or moved"),
        ("truncate", |dir| edit(&stream(dir), |lines| lines.truncate(6)), "its end is missing"),
        ("drop a file", |dir| std::fs::remove_file(stream(dir)).unwrap(), "the file is missing"),
        ("empty a file", |dir| std::fs::write(stream(dir), "").unwrap(), "its end is missing"),
        (
            "add a file",
            |dir| std::fs::write(dir.join("streams/session-x.txt"), "").unwrap(),
            "does not name it",
        ),
        ("cut the log", |dir| edit(&dir.join("log.jsonl"), |lines| lines.truncate(1)), "its end is missing"),
        (
            "edit the log",
            |dir| {
                edit(&dir.join("log.jsonl"), |lines| {
                    lines[1] = lines[1].replacen("\"at\":\"2", "\"at\":\"3", 1)
                })
            },
            "signature does not hold",
        ),
        (
            "edit the list",
            |dir| {
                edit(&dir.join("manifest.json"), |lines| {
                    lines[0] = lines[0].replacen("\"lines\":", "\"lines\":1", 1)
                })
            },
            "signature does not hold",
        ),
        // Whoever writes a stream anew, hashes included, has not its signature.
        // Whoever writes a stream anew, every hash of it included, has not the signature.
        ("write anew", |dir| anew(&stream(dir)), "written anew"),
    ]
}

/// Changes the third record and recomputes the chain from there on.
fn anew(path: &Path) {
    let name = path.file_stem().unwrap().to_string_lossy().replacen('-', "/", 1);
    let mut hash = journal::genesis(name.parse().unwrap());
    let mut out = String::new();
    for (n, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
        let record = line.split_once(' ').unwrap().1;
        let record = if n == 2 { record.replacen("\"at\":\"2", "\"at\":\"3", 1) } else { record.to_owned() };
        hash = contract::Digest::chain(&hash, record.as_bytes());
        out.push_str(&format!("{hash} {record}\n"));
    }
    std::fs::write(path, out).unwrap();
}

#[test]
fn acts_are_listed_and_a_lost_log_is_told() {
    let world = World::unconfined();
    let model = world.script("out", &format!("{}{}", shell("touch made.log"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(8);
    world.run(&["approve", "--unseen", "last"]).expect(0);
    world.run(&["resume", "last"]).expect(0);
    let listed = world.run(&["audit", "query", "--json", "--limit", "10000"]).expect(0).json();
    let entries = listed["entries"].as_array().unwrap();
    for category in ["permission", "file", "process", "model", "session"] {
        assert!(entries.iter().any(|entry| entry["category"] == category), "no {category} in {listed}");
    }
    let of = |args: &[&str]| -> Vec<Value> {
        let told = world.run(&[&["audit", "query", "--json"], args].concat()).expect(0).json();
        told["entries"].as_array().unwrap().clone()
    };
    let run = of(&["--action", "shell", "--category", "process"]);
    assert!(run.len() == 1 && run[0]["target"].as_str().unwrap().starts_with("touch made.log"), "{run:?}");
    let granted = of(&["--action", "approval", "--outcome", "granted"]);
    assert!(granted.len() == 1 && granted[0]["actor"] == "user", "{granted:?}");
    assert!(of(&["--since", "2999-01-01"]).is_empty() && of(&["--target", "no such thing"]).is_empty());
    let csv = world.run(&["audit", "query", "--csv", "--category", "model"]).expect(0).out;
    assert!(csv.starts_with("at,session,seq,") && csv.lines().count() > 2, "{csv}");
    world.run(&["audit", "query", "--category", "modle"]).expect(2);

    world.run(&["audit", "verify"]).expect(0);
    let log = "kapell/data/audit/log.jsonl";
    let text = world.read(log);
    let first = text.lines().next().unwrap();
    world.write(log, &format!("{first}\n{}\n", text.lines().last().unwrap()));
    let told = world.run(&["audit", "verify"]).expect(1);
    assert!(told.out.contains("missing or moved"), "{}", told.out);
    std::fs::remove_file(world.path(log)).unwrap();
    assert!(world.run(&["audit", "verify"]).expect(1).out.contains("nothing was signed"));
}

#[test]
fn a_key_may_be_in_the_systems_keyring() {
    let world = World::new();
    let replies = vec![Reply::call("finish", &json!({"status": "done", "summary": "Done."}))];
    let server = Server::start(Plan { script: Script::new(replies), ..Plan::default() }).unwrap();
    world.write(
        "kapell/config/config.toml",
        &format!(
            "[providers.ours]\ndialect = \"anthropic\"\nbase_url = \"{}\"\nkey_env = \"OURS_API_KEY\"\n\
             [providers.ours.models.m]\ncontext = 100_000\noutput = 4_000\nprice = {{ input = 3, output = 15 }}\n",
            server.url()
        ),
    );
    let run = |args: &[&str], input: &str, there: bool| {
        let mut command = world.kapell(args);
        let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
        command.env("PATH", if there { path } else { "/nowhere".into() });
        finish(command, input.as_bytes())
    };
    // Where there is none, that is said, and the key is kept nowhere.
    let refused = run(&["auth", "set", "ours", "--offline", "--keyring"], KEY, false).expect(1);
    assert!(
        refused.err.contains("keyring cannot be reached") && refused.err.contains("secret-tool"),
        "{}",
        refused.err
    );
    assert!(world.run(&["auth", "list"]).expect(0).out.contains("no keys are kept"));
    // The program as it behaves: a key by its attributes, read from standard input, printed without a line end.
    let (tool, ring) = (world.path("bin/secret-tool"), world.path("ring"));
    world.write(
        "bin/secret-tool",
        &format!(
            "#!/bin/sh\ndo=$1; shift; [ \"$do\" = store ] && shift\nname={}/$(echo \"$*\" | tr ' /' '__')\nmkdir -p {}\n\
             case $do in store) cat > \"$name\";; lookup) cat \"$name\";; clear) rm \"$name\";; esac\n",
            ring.display(),
            ring.display()
        ),
    );
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    run(&["auth", "set", "ours", "--offline", "--keyring"], KEY, true).expect(0);
    assert_eq!(run(&["auth", "list"], "", true).expect(0).out, "default/ours\n");
    assert!(!world.path("kapell/data/credentials").exists());
    run(&["run", "-m", "ours/m", "--max-budget-usd", "1", "look around"], "", true);
    assert!(!server.asked().is_empty() && server.asked().iter().all(|seen| seen.key == KEY));
    run(&["auth", "rotate", "ours", "--offline"], NEW, true).expect(0);
    assert!(!world.path("kapell/data/credentials").exists());
    run(&["auth", "remove", "ours"], "", true).expect(0);
    assert!(std::fs::read_dir(ring).unwrap().next().is_none());
}

const KEY: &str = "sk-first-Kept-Key-8Kq2Wz7Rt5";
const NEW: &str = "sk-second-Kept-Key-3Hn6Yb1Xc8";

#[test]
fn a_kept_key_is_used_and_only_a_good_one_replaces_it() {
    let world = World::new();
    let replies = vec![
        Reply::call("write", &json!({"path": "fixed.txt", "content": "fixed\n"})),
        Reply::call("finish", &json!({"status": "done", "summary": "Done."})),
    ];
    let server = Server::start(Plan { script: Script::new(replies), ..Plan::default() }).unwrap();
    let refuses = fake::refused().unwrap();
    let configured = |url: &str| {
        world.write(
            "kapell/config/config.toml",
            &format!(
                "[providers.ours]\ndialect = \"anthropic\"\nbase_url = \"{url}\"\nkey_env = \"OURS_API_KEY\"\n\
                 [providers.ours.models.m]\ncontext = 100_000\noutput = 4_000\nprice = {{ input = 3, output = 15 }}\n"
            ),
        );
    };
    let auth = |args: &[&str], key: &str| finish(world.kapell(&[&["auth"], args].concat()), key.as_bytes());
    configured(&server.url());
    assert!(auth(&["rotate", "ours"], NEW).expect(2).err.contains("no key of default/ours"));
    auth(&["set", "ours"], &format!("{KEY}\n")).expect(0);
    assert!(auth(&["set", "oours", "--offline"], KEY).expect(2).err.contains("no provider"));
    world.run(&["run", "-m", "ours/m", "--max-budget-usd", "1", "make the test pass"]).expect(0);
    assert!(!server.asked().is_empty() && server.asked().iter().all(|seen| seen.key == KEY));
    // Whether the new key is good cannot be known: the old one stays.
    configured(&refuses);
    assert!(auth(&["rotate", "ours"], NEW).expect(1).err.contains("still the one in use"));
    configured(&server.url());
    auth(&["rotate", "ours", "--offline"], NEW).expect(0);
    let listed = world.run(&["auth", "list"]).expect(0);
    assert_eq!(listed.out, "default/ours\n");
    let acts = world.run(&["audit", "query", "--category", "config"]).expect(0).out;
    assert!(
        acts.contains("auth-set") && acts.contains("auth-rotate") && acts.contains("default/ours"),
        "{acts}"
    );
    let file = std::fs::read(world.path("kapell/data/credentials")).unwrap();
    for key in [KEY, NEW] {
        assert!(!String::from_utf8_lossy(&file).contains(&key[3..]));
        let kept = std::process::Command::new("grep")
            .args(["-rlF", key])
            .arg(world.path("kapell"))
            .output()
            .unwrap();
        assert!(kept.stdout.is_empty(), "{}", String::from_utf8_lossy(&kept.stdout));
    }
    auth(&["remove", "ours"], "").expect(0);
    assert!(world.run(&["auth", "list"]).expect(0).out.contains("no keys are kept"));
}

#[test]
fn a_log_that_is_cut_removed_or_put_back_is_found_out() {
    let world = World::new();
    let model = world.script("out", &fixes());
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    world.run(&["trust"]).expect(0);
    let log = world.path("kapell/data/audit/log.jsonl");
    let whole = std::fs::read(&log).unwrap();
    let verify = |args: &[&str]| world.run(&[&["audit", "verify"], args].concat());
    let head = verify(&["--json"]).expect(0).json()["head"].as_str().unwrap().to_owned();
    verify(&["--since", &head]).expect(0);
    assert!(verify(&["--since", "7"]).expect(2).err.contains("a head is a number"));
    let found =
        |what: &str, ended: crate::world::Ended| assert!(ended.expect(1).out.contains(what), "{what}");

    // The last act, which stands nowhere else.
    let text = String::from_utf8(whole.clone()).unwrap();
    let cut: String = text.lines().take(text.lines().count() - 1).map(|line| format!("{line}\n")).collect();
    std::fs::write(&log, &cut).unwrap();
    found("its end is missing", verify(&[]));
    found("its end is missing", verify(&["--since", &head]));
    // One byte that is no text is a line that is not signed, not a directory that cannot be written.
    let mut flipped = whole.clone();
    flipped[200] = 0xff;
    std::fs::write(&log, &flipped).unwrap();
    found("log.jsonl:1", verify(&[]));
    let listed = world.run(&["audit", "query", "--category", "config"]).expect(0).out;
    assert!(listed.contains("what stands behind it is not listed"), "{listed}");
    std::fs::write(&log, &whole).unwrap();
    verify(&[]).expect(0);

    // Removed, and something is signed again: a finding for ever after, but not for who kept a later head.
    std::fs::remove_file(&log).unwrap();
    world.run(&["resume"]);
    world.run(&["trust"]).expect(0);
    found("lines was gone", verify(&[]));
    found("not the line whose head was kept", verify(&["--since", &head]));
    let listed = world.run(&["audit", "query", "--action", "audit-gap"]).expect(0).out;
    assert!(listed.contains("lines were gone"), "{listed}");
    let text = world.read("kapell/data/audit/log.jsonl");
    let last = text.lines().last().unwrap();
    let later = format!("{}:{}", text.lines().count(), contract::Digest::of(last.as_bytes()));
    verify(&["--since", &later]).expect(0);

    // Without its key no line is added, least of all with a key that nobody knows.
    std::fs::remove_file(world.path("kapell/data/audit/key")).unwrap();
    assert!(world.run(&["trust"]).expect(1).err.contains("holds no key"));
    assert_eq!(world.read("kapell/data/audit/log.jsonl"), text);
}

#[test]
fn a_backup_goes_on_with_its_log_and_a_copy_names_its_head() {
    let world = World::new();
    let model = world.script("out", &fixes());
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    let (dir, first) = (world.path("other/data"), world.path("first"));
    std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
    world.run(&["backup", dir.to_str().unwrap()]).expect(0);
    let there = |args: &[&str]| {
        let mut command = world.kapell(args);
        command.env("KAPELL_HOME", world.path("other"));
        finish(command, b"")
    };
    let told = there(&["audit", "verify", "--json"]).expect(0).json();
    assert!(told["records"].as_u64().unwrap() > 20 && told["lines"].as_u64().unwrap() > 1, "{told}");
    // It goes on with the same key.
    there(&["trust"]).expect(0);
    assert_eq!(there(&["audit", "verify", "--json"]).expect(0).json()["key"], told["key"]);

    // Each copy is a line of its own, and a later copy holds the earlier head.
    let made = world.run(&["audit", "export", first.to_str().unwrap(), "--json"]).expect(0).json();
    let head = made["head"].as_str().unwrap().to_owned();
    let second = world.path("second");
    let again = world.run(&["audit", "export", second.to_str().unwrap(), "--json"]).expect(0).json();
    assert_ne!(again["head"], made["head"]);
    world.run(&["audit", "verify", second.to_str().unwrap(), "--since", &head]).expect(0);
    let newer = again["head"].as_str().unwrap();
    let old = world.run(&["audit", "verify", first.to_str().unwrap(), "--since", newer]).expect(1);
    assert!(old.out.contains("its end is missing"), "{}", old.out);
    // Whose it is, the copy alone does not prove.
    let alone = world.run(&["audit", "verify", first.to_str().unwrap()]).expect(0);
    assert!(alone.out.contains("the copy itself says so"), "{}", alone.out);
    world.run(&["audit", "verify", "--since", newer]).expect(0);
}
