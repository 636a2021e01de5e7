//! What confines commands: shown, tried, and in force for what an agent runs and for checks.
//!
//! What a confinement holds is proved in `crates/sandbox/tests/confined.rs`; here, that it is there.

use crate::world::{DONE, Ended, World, call, finish, fixes, shell, until};
use std::io::{Read, Write};
use std::net::TcpListener;

const ON: &str = "[sandbox]\nprofile = \"workspace-write\"\n";

/// A world whose commands are confined; `None`, with a word, where this system cannot.
fn confined(config: &str) -> Option<World> {
    let world = World::new();
    world.write("kapell/config/config.toml", config);
    let shown = world.run(&["sandbox", "--profile", "workspace-write", "--json"]);
    if shown.code != 0 {
        println!("SKIPPED: {}", shown.out);
        return None;
    }
    Some(world)
}

#[test]
fn it_is_shown_and_tried() {
    let Some(world) = confined(ON) else { return };
    let shown = world.run(&["sandbox"]).expect(0);
    assert!(shown.out.contains("in force    workspace-write: landlock "), "{}", shown.out);
    assert!(shown.out.contains("seccomp, namespaces, network off"), "{}", shown.out);
    let line = "echo in > in.txt; echo out > ../out.txt; cat ../kapell/config/config.toml; git status --short; exit 7";
    let tried = world.run(&["sandbox", "--", "sh", "-c", line]).expect(7);
    assert!(tried.out.contains("?? in.txt") && !tried.out.contains("profile"), "{}", tried.out);
    assert!(world.path("repo/in.txt").exists() && !world.path("out.txt").exists());
    // Nothing is left of what was closed for the time being.
    assert!(!world.path("repo/.git/commondir").exists());
    let read = world.run(&["sandbox", "--profile", "read-only", "--", "touch", "made.txt"]);
    assert!(read.code != 0 && !world.path("repo/made.txt").exists(), "{}", read.out);
    let full = world.run(&["sandbox", "--profile", "full", "--", "touch", "../made.txt"]).expect(0);
    assert!(world.path("made.txt").exists(), "{}", full.out);
}

#[test]
fn what_the_environment_keeps_under_other_names_reaches_no_command() {
    let Some(world) = confined(ON) else { return };
    let canary = "kanarienvogel";
    let kept = [
        ("GIT_CONFIG_COUNT", "1".to_owned()),
        ("GIT_CONFIG_KEY_0", "http.https://host.example/.extraheader".to_owned()),
        ("GIT_CONFIG_VALUE_0", format!("AUTHORIZATION: basic {canary}")),
        ("GIT_CONFIG_VALUE_1", format!("AUTHORIZATION: basic {canary}")),
        ("BUNDLE_GEMS__EXAMPLE__COM", format!("me:{canary}")),
        ("KAPELL_ACME_KEY", canary.to_owned()),
        ("NPM_TOKEN_PROD", canary.to_owned()),
        ("PIP_INDEX_URL", format!("https://me:{canary}@host.example/simple")),
        ("HTTPS_PROXY", format!("http://me:{canary}@proxy.example:3128")),
    ];
    for profile in ["workspace-write", "full"] {
        let mut command = world.kapell(&["sandbox", "--profile", profile, "--", "env"]);
        command.envs(kept.iter().map(|(name, value)| (name, value)));
        let ended = finish(command, b"").expect(0);
        assert!(!ended.out.contains(canary), "{}", ended.out);
        assert!(ended.out.contains("PIP_INDEX_URL=https://host.example/simple"), "{}", ended.out);
    }
}

#[test]
fn an_agents_commands_are_confined_and_need_no_yes() {
    let Some(world) = confined(ON) else { return };
    let out = world.path("out.txt");
    let line =
        format!("touch made.log; echo x > {}; echo $HOME; ls -A ~; git log --oneline | wc -l", out.display());
    let model = world.script("out", &format!("{}{}", shell(&line), fixes()));
    // What is below /tmp is the command's own: nobody is asked, and nothing is written outside.
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(0);
    assert!(!out.exists());
    let model = world
        .script("in", &format!("{}{}", shell("make -v; touch made.log; cc -v; python3 -V; true"), fixes()));
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(0);
    let events = world.run(&["events", "last"]).expect(0);
    assert!(events.out.contains("confined: workspace-write: landlock "), "{}", events.out);
    // Whoever is not asked is held all the same.
    let model = world.script("never", &format!("{}{}", shell(&line), fixes()));
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    assert!(!out.exists());
}

#[test]
fn checks_are_confined() {
    let Some(world) = confined(ON) else { return };
    let out = world.path("out.txt");
    let check =
        format!("touch {} 2> /dev/null; grep -q fixed fixed.txt && git log -1 > /tmp/own", out.display());
    world.write("repo/.kapell/config.toml", &format!("[checks.test]\nrun = \"{check}\"\nkind = \"test\"\n"));
    world.commit("a check that writes elsewhere");
    let model = world.script("fix", &fixes());
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    assert!(!out.exists());
}

#[test]
fn checks_of_one_message_are_one_process_and_each_has_its_own_result() {
    let Some(world) = confined(ON) else { return };
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return println!("SKIPPED 1 case: there is no python3");
    }
    for (name, text) in [("a", "x = 1\n"), ("b", "y = 2\n"), ("c", "z = 3\n"), ("bad", "x = (\n")] {
        world.write(&format!("repo/{name}.py"), text);
    }
    world.write("repo/.gitignore", "__pycache__/\n");
    world.commit("programs");
    let turn = |expect: &str, names: &[&str]| -> String {
        let expect = if expect.is_empty() {
            String::new()
        } else {
            format!("expect = '''{expect}'''\nliteral = true\n")
        };
        let call = |name: &&str| {
            format!(
                "[[turn.call]]\ntool = \"shell\"\nargs = {{ command = 'python3 -m py_compile {name}.py' }}\n"
            )
        };
        format!("[[turn]]\n{expect}{}", names.iter().map(call).collect::<String>())
    };
    let turns = [
        turn("", &["a", "b", "c"]),
        turn("[exit status 0; one process for 3 files]", &["a", "bad"]),
        turn("SyntaxError", &["b"]),
        fixes(),
    ];
    let model = world.script("lint", &turns.concat());
    world.run(&["run", "-m", &model, "--ask", "external", "make the test pass"]).expect(0);
    let events = world.run(&["events", "last", "--json"]).expect(0).json();
    let events: Vec<String> = events.as_array().unwrap().iter().map(ToString::to_string).collect();
    let of = |word: &str| events.iter().filter(|text| text.contains(word)).collect::<Vec<_>>();
    let started = of("{\"started\":");
    let together: Vec<usize> = started.iter().map(|text| text.matches("\"together\"").count()).collect();
    let together: Vec<usize> = together.into_iter().filter(|count| *count > 0).collect();
    assert_eq!(together, [3, 2, 1], "{started:#?}");
    let first = started.iter().find(|text| text.contains("\"together\"")).unwrap();
    assert!(first.contains("3 calls together; confined: workspace-write"), "{first}");
    // Each call has a result of its own, and what was not well says so alone.
    let results = of("\"results\":");
    let oks: Vec<usize> = results.iter().map(|text| text.matches("\"ok\":true").count()).collect();
    assert_eq!(oks[..3], [3, 1, 1], "{results:#?}");
}

#[test]
fn it_is_on_where_nobody_wrote_anything_and_off_where_somebody_did() {
    let Some(world) = confined("") else { return };
    let shown = world.run(&["sandbox", "--json"]).expect(0).json();
    assert_eq!(shown["in_force"]["profile"], "workspace-write", "{shown:#}");
    world.run(&["policy", "explain", "touch made.log"]).expect(0);
    world.write("kapell/config/config.toml", "[sandbox]\nprofile = \"full\"\n");
    let shown = world.run(&["sandbox", "--json"]).expect(0).json();
    assert_eq!(shown["in_force"]["profile"], "full", "{shown:#}");
    world.run(&["policy", "explain", "touch made.log"]).expect(8);
}

/// The binary where nobody gets namespaces, as in many containers. `None`: they cannot be taken away here.
fn without_namespaces(world: &World, args: &[&str]) -> Option<Ended> {
    let kapell = world.kapell(args);
    let line = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", line, "sh"]).arg(kapell.get_program());
    command.args(kapell.get_args()).env_clear().current_dir(world.repo());
    command.envs(kapell.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let can = std::process::Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            "echo 0 > /proc/sys/user/max_user_namespaces && setpriv --version",
        ])
        .output();
    if !can.is_ok_and(|out| out.status.success()) {
        println!("SKIPPED: namespaces cannot be taken away here");
        return None;
    }
    Some(finish(command, b""))
}

#[test]
fn where_the_kernel_offers_less_nothing_runs_until_somebody_accepts_it() {
    let Some(world) = confined("") else { return };
    let out = world.path("out.txt");
    let line = format!("echo x > {}; echo $((40 + 2)) > made.log; cat made.log", out.display());
    let model = world.script("out", &format!("{}{}", shell(&line), fixes()));
    let run = ["run", "-m", &model, "make the test pass"];
    let Some(refused) = without_namespaces(&world, &run) else { return };
    assert_eq!(refused.code, 2, "{}", refused.err);
    for told in ["it lacks namespaces", "degraded = true", "kapell sandbox"] {
        assert!(refused.err.contains(told), "{told}: {}", refused.err);
    }
    world.write("kapell/config/config.toml", "[sandbox]\ndegraded = true\n");
    let Some(ended) = without_namespaces(&world, &run) else { return };
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("there are no namespaces"), "{}", ended.err);
    // Held by what there is, and on record as that.
    assert!(!out.exists());
    let events = world.run(&["events", "last"]).expect(0).out;
    let held = "\"held\":{\"profile\":\"workspace-write\",\"network\":\"off\",";
    assert!(events.contains(held) && events.contains("\"namespaces\":false"), "{events}");
    assert!(world.run(&["sessions", "transcript", "last"]).expect(0).out.contains("     42\n"));
}

#[test]
fn what_held_a_command_and_a_check_is_on_record() {
    let Some(world) = confined("") else { return };
    let model = world.script("out", &format!("{}{}", shell("touch made.log"), fixes()));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    let events = world.run(&["events", "last"]).expect(0).lines();
    let started =
        events.iter().find(|it| it["event"]["started"]["work"]["tools"]["calls"][0]["tool"] == "shell");
    let held = &started.unwrap()["event"]["started"]["work"]["tools"]["calls"][0]["held"];
    assert_eq!((&held["profile"], &held["namespaces"]), (&"workspace-write".into(), &true.into()), "{held}");
    let report =
        |it: &&serde_json::Value| it["event"]["finished"]["outcome"]["end"]["done"]["checked"].is_object();
    let checked = events.iter().find(report).unwrap();
    let runs = checked["event"]["finished"]["outcome"]["end"]["done"]["checked"]["runs"].as_array().unwrap();
    assert!(!runs.is_empty() && runs.iter().all(|run| run["held"]["seccomp"] == true), "{runs:#?}");
    world.write("kapell/config/config.toml", "[sandbox]\nprofile = \"full\"\n");
    world.run(&["run", "-m", &model, "--ask", "never", "--no-land", "again"]);
    let events = world.run(&["events", "last"]).expect(0).out;
    assert!(events.contains("\"held\":{\"profile\":\"full\","), "{events}");
}

/// Answers every request with one line; its port. Not at the address that programs ask without a proxy.
fn page() -> u16 {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _head = stream.read(&mut [0; 4096]);
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthe page\n");
        }
    }));
    port
}

/// A line for bash that asks the proxy for a page, without a program for it.
fn asks(host: &str) -> String {
    format!(
        "exec 3<>/dev/tcp/127.0.0.1/${{http_proxy##*:}}; printf \"GET http://{host}/ HTTP/1.1\\r\\n\\r\\n\" >&3; cat <&3"
    )
}

#[test]
fn listed_hosts_are_reached_by_the_proxy_alone_and_both_verdicts_are_on_record() {
    let Some(world) = confined("") else { return };
    let host = format!("127.0.0.2:{}", page());
    let config = |private: &str| {
        let text = format!("[sandbox]\nnetwork = \"hosts\"\nhosts = [\"{host}\"]\nprivate = [{private}]\n");
        world.write("kapell/config/config.toml", &text);
    };
    config(&format!("\"{host}\""));
    world.write("repo/fetch.sh", &asks(&host).replace("cat <&3", "grep -q page <&3"));
    let check = "[checks.test]\nrun = \"bash fetch.sh && grep -q fixed fixed.txt\"\nkind = \"test\"\n";
    world.write("repo/.kapell/config.toml", check);
    world.commit("a check that fetches");
    let past = format!("exec 3<>/dev/tcp/{}", host.replace(':', "/"));
    let turns = [shell(&asks(&host)), shell(&asks("evil.example")), shell(&past), fixes()].concat();
    let model = world.script("out", &turns);
    // What listed hosts are asked can be asked again, so that nobody has to say yes.
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    let told = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(told.contains("the page"), "{told}");
    assert!(told.contains("the sandbox refused: evil.example:80 is not among the hosts"), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
    let acts = world.run(&["audit", "query", "--category", "network", "--json"]).expect(0).json();
    let count = |outcome: &str| {
        acts["entries"].as_array().unwrap().iter().filter(|it| it["outcome"] == outcome).count()
    };
    // The command's, and the check's.
    assert!(count("ok") >= 2 && count("denied") == 1, "{acts:#}");
    // An address of one's own network is not reached for being listed.
    config("");
    world.run(&["run", "-m", &model, "--no-land", "again"]);
    let told = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(told.contains("leads to this machine") && !told.contains("the page"), "{told}");
}

#[test]
fn a_confined_background_command_and_terminal_are_used_and_end_with_the_session() {
    let Some(world) = confined("") else { return };
    let mark = world.path("x").display().to_string().replace('/', "");
    let line = format!("echo ready; read -r x; echo \"got $x\"; exec -a {mark} sleep 600");
    let turns = [
        call("shell", &format!("command = '{line}', background = true")),
        call("job", "action = \"write\", job = \"j1\", text = \"word\\n\""),
        call("shell", "command = 'test -t 0 && echo a $((6 * 7)) terminal; read -r x', terminal = true"),
        call("job", "action = \"read\", job = \"j2\""),
        call("job", "action = \"read\", job = \"j1\", wait_ms = 2000"),
        DONE.to_owned(),
        DONE.to_owned(),
    ];
    let model = world.script("server", &turns.concat());
    world.run(&["run", "-m", &model, "--ask", "never", "--no-land", "goal"]);
    let told = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    for words in ["ready\n", "got word", "a 42 terminal"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let alive = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.starts_with(mark.as_bytes())).count()
    };
    until("it is gone", || alive() == 0);
}
