//! Attempts to get out of a confinement, each shown to work outside of it and to fail inside.
//! Knows what the sandbox promises, not how it keeps it. Start at [`escapes`]; the attempts are lines of
//! `confined/escapes.tsv`, `tricks.rs` does what a shell cannot.
//!
//! Everything runs as an ordinary user: the superuser's tests start themselves again as one. What this system does not
//! let anybody do, or has no layer against, is printed as SKIPPED.

#[path = "confined/tricks.rs"]
mod tricks;
#[path = "confined/world.rs"]
mod world;

use contract::confine::{Network, Profile};
use sandbox::Offers;
use std::process::Command;
use world::World;

/// An ordinary user and group: nobody's.
const ORDINARY: u32 = 65534;
const WHICH: &str = "KAPELL_TEST_WHICH";
/// Set where the tests run that must find every layer: then nothing is SKIPPED for want of one.
const STRICT: &str = "KAPELL_TEST_STRICT";

/// Runs one of the ignored tests below as an ordinary user, and passes on what it says.
fn as_ordinary(which: &str) {
    let Some(world) = World::new() else { return };
    let ordinary = rustix::process::getuid().is_root().then_some(ORDINARY);
    println!("{}", started(&world, which, ordinary));
}

/// Runs it as this user, and fails with what it says unless it passes.
fn started(world: &World, which: &str, user: Option<u32>) -> String {
    let mut command = Command::new(world.path("self"));
    command.args(["--ignored", "--exact", which, "--nocapture"]).env_clear().env(WHICH, world.top());
    command.env("PATH", "/usr/bin:/bin").current_dir(world.top());
    if let Ok(strict) = std::env::var(STRICT) {
        command.env(STRICT, strict);
    }
    if let Some(user) = user {
        std::os::unix::process::CommandExt::gid(&mut command, user);
        std::os::unix::process::CommandExt::uid(&mut command, user);
    }
    let output = command.output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text
}

/// All layers, or a word about what is missing.
fn whole() -> bool {
    let Offers { landlock, seccomp, namespaces, .. } = sandbox::offers();
    let whole = *landlock >= 3 && *seccomp && namespaces.is_ok();
    assert!(whole || std::env::var_os(STRICT).is_none(), "{:?}", sandbox::offers());
    if !whole {
        println!(
            "SKIPPED: this system has landlock {landlock}, seccomp {seccomp}, namespaces {namespaces:?}"
        );
    }
    whole
}

#[test]
fn nothing_escapes() {
    as_ordinary("escapes");
}

#[test]
fn less_holds_less_and_that_is_known() {
    as_ordinary("escapes_from_rules_alone");
}

/// In containers everybody is the superuser.
#[test]
fn nor_does_the_superuser() {
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: not the superuser");
        return;
    }
    let Some(world) = World::new() else { return };
    let text = started(&world, "escapes", None);
    println!("{text}");
}

#[test]
fn what_destroys_outside_is_held() {
    as_ordinary("destroys");
}

#[test]
fn what_only_reads_writes_nothing() {
    as_ordinary("reads_only");
}

#[test]
#[ignore = "run by nothing_escapes, as an ordinary user"]
fn escapes() {
    if !whole() {
        return;
    }
    let world = World::found(&std::env::var(WHICH).unwrap());
    let (mut held, mut skipped, mut wrong) = (0, 0, Vec::new());
    for attempt in world::attempts() {
        // Who is it already does not become it.
        if attempt.sign == "says:uid=0" && rustix::process::getuid().is_root() {
            continue;
        }
        let outside = world.tried(&attempt, None);
        if !outside.worked {
            println!("SKIPPED: {}: does not work here for anybody: {}", attempt.name, outside.said);
            skipped += 1;
            continue;
        }
        let inside = world.tried(&attempt, Some(world.confinement(Profile::WorkspaceWrite)));
        match inside.worked {
            true => wrong.push(format!("{}: {}", attempt.name, inside.said)),
            false => held += 1,
        }
    }
    println!("escapes: {held} attempts that work outside fail inside, {skipped} SKIPPED");
    assert!(wrong.is_empty(), "these got out:\n{}", wrong.join("\n"));
    assert!(held >= 60, "only {held} attempts tell anything");
}

/// What Landlock and seccomp hold by themselves; the rest is known, and listed here.
#[test]
#[ignore = "run by less_holds_less_and_that_is_known, as an ordinary user"]
fn escapes_from_rules_alone() {
    if !whole() {
        return;
    }
    let known = [
        "change a mode",
        "change times",
        "see that it is there",
        "see who else is there",
        "see what others were started with",
        "see the connections of others",
        "see the local sockets of others",
        "see the mounts of others",
        "see the limits of others",
        "more processes than its share",
        "read shared memory of System V",
        "the workspace moved away",
    ];
    let world = World::found(&std::env::var(WHICH).unwrap());
    let offers = Offers { namespaces: Err("left out by the test".into()), ..sandbox::offers().clone() };
    let mut wrong = Vec::new();
    let (mut held, mut open) = (0, 0);
    for attempt in world::attempts() {
        if !world.tried(&attempt, None).worked {
            continue;
        }
        let confinement =
            contract::confine::Confinement { degraded: true, ..world.confinement(Profile::WorkspaceWrite) };
        let inside = world.tried_with(&attempt, Some((confinement, offers.clone())));
        let git = attempt.line.contains(".git/")
            || attempt.sign.contains("ws/.git")
            || attempt.name.contains("git's directory");
        match (inside.worked, git || known.contains(&attempt.name.as_str())) {
            (true, false) => wrong.push(format!("{}: {}", attempt.name, inside.said)),
            (true, true) => open += 1,
            (false, _) => held += 1,
        }
    }
    println!("rules alone: {held} attempts fail, {open} known ones do not");
    assert!(wrong.is_empty(), "these got out:\n{}", wrong.join("\n"));
    assert!(held >= 40, "only {held}");
}

#[test]
#[ignore = "run by what_destroys_outside_is_held, as an ordinary user"]
fn destroys() {
    if !whole() {
        return;
    }
    let world = World::found(&std::env::var(WHICH).unwrap());
    let (mut held, mut wrong) = (0, Vec::new());
    for line in include_str!("confined/destroy.txt").lines() {
        let attempt = world::Attempt::new(line, "lost:out/keep", line);
        let outside = world.tried(&attempt, None);
        if !outside.worked {
            println!("SKIPPED: {line}: does not work here: {}", outside.said);
            continue;
        }
        let inside = world.tried(&attempt, Some(world.confinement(Profile::WorkspaceWrite)));
        if inside.worked { wrong.push(line) } else { held += 1 }
    }
    println!("destroys: {held} spellings held");
    assert!(wrong.is_empty(), "these destroyed something:\n{}", wrong.join("\n"));
    assert!(held >= 60, "only {held}");
}

#[test]
#[ignore = "run by what_only_reads_writes_nothing, as an ordinary user"]
fn reads_only() {
    if !whole() {
        return;
    }
    let world = World::found(&std::env::var(WHICH).unwrap());
    let (mut held, mut wrong) = (0, Vec::new());
    for line in include_str!("confined/plan.txt").lines() {
        let attempt = world::Attempt::new(line, "changed:ws", line);
        let outside = world.tried(&attempt, None);
        if !outside.worked {
            println!("SKIPPED: {line}: changes nothing here: {}", outside.said);
            continue;
        }
        let inside = world.tried(&attempt, Some(world.confinement(Profile::ReadOnly)));
        if inside.worked { wrong.push(line) } else { held += 1 }
    }
    println!("reads only: {held} ways to write held");
    assert!(wrong.is_empty(), "these wrote:\n{}", wrong.join("\n"));
    assert!(held >= 40, "only {held}");
    let reads = world::Attempt::new(
        "read",
        "exit",
        "cat a.txt && ls -la && git status && git log --oneline && wc -l a.txt && echo > /tmp/own",
    );
    let inside = world.tried(&reads, Some(world.confinement(Profile::ReadOnly)));
    assert!(inside.worked, "{}", inside.said);
}

/// What commands need goes on working.
#[test]
fn work_goes_on() {
    as_ordinary("works");
}

#[test]
#[ignore = "run by work_goes_on, as an ordinary user"]
fn works() {
    if !whole() {
        return;
    }
    let world = World::found(&std::env::var(WHICH).unwrap());
    let lines = [
        "echo x > made && cat made && mkdir -p d/e && mv made d/e && rm -r d",
        "echo x > /tmp/a && mv /tmp/a ./b && cp b $TMPDIR/c && cat /tmp/c",
        "test -w $HOME && echo x > ~/.note && cat ~/.note",
        "cat ~/.note",
        "test $(cat ~/.cargo/registry/keep) = kept && echo new > ~/.cargo/registry/fetched",
        "cat ~/.cargo/registry/fetched",
        "test $$ -lt 9 && test -e /proc/$$/cwd && test ! -e /proc/1/exe",
        "echo x > /dev/null; head -c 4 /dev/urandom > r; : < /dev/zero",
        "echo x > /dev/shm/s && cat /dev/shm/s",
        "mkfifo p && (echo x > p & cat p)",
        "git status && git add -A && git commit -qm one && git log -1 --stat",
        "git checkout -q -b side && echo y > y && git add y && git commit -qm y && git rebase -q main && git stash list",
        "git worktree add -q ../ws/tree side~0 --detach && cd tree && git status && git worktree list",
        "git branch -D gone 2>/dev/null; git tag t && git gc -q && git fsck",
        "id && whoami; getent passwd root; date; uname -a; ls / /etc /usr > /dev/null",
        "ps -ef > /dev/null && nproc && cat /proc/self/status > /dev/null && cat /proc/cpuinfo > /dev/null",
        "$SELF server",
        "sleep 30 & kill $!",
        "ulimit -a > /dev/null; nice true; renice 5 -p $$ > /dev/null; taskset -p $$ > /dev/null; timeout 5 true; nohup true; setsid -w true",
        "echo 'int main(){return 0;}' > c.c && if command -v cc > /dev/null; then cc c.c -o c && ./c; fi",
        "printf 'all:\\n\\techo made > m\\n' > Makefile && if command -v make > /dev/null; then make -s && cat m; fi",
        "if command -v perl > /dev/null; then perl -e 'use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Local => \"s\", Listen => 1) or die'; fi",
    ];
    world.reset();
    for line in lines {
        let inside =
            world.run(line, Some((world.confinement(Profile::WorkspaceWrite), sandbox::offers().clone())));
        assert!(inside.worked, "{line}\n{}", inside.said);
    }
    // While one command holds the changes of a cache, another one writes there too.
    world.reset();
    let confined = |line: &str| {
        world.run(line, Some((world.confinement(Profile::WorkspaceWrite), sandbox::offers().clone())))
    };
    let tried = std::thread::scope(|scope| {
        let first = "echo one > ~/.cargo/registry/one; touch begun; until test -e over; do sleep 0.02; done";
        let second = "until test -e begun; do sleep 0.02; done; test $(cat ~/.cargo/registry/keep) = kept && echo \
            two > ~/.cargo/registry/two; echo $? > over; test $(cat over) = 0";
        [first, second].map(|line| scope.spawn(move || confined(line))).map(|run| run.join().unwrap())
    });
    assert!(tried.iter().all(|tried| tried.worked), "{} {}", tried[0].said, tried[1].said);
    // With the whole network the neighbours on it are reached.
    let open =
        contract::confine::Confinement { network: Network::On, ..world.confinement(Profile::WorkspaceWrite) };
    let reached = world.run("$SELF tcp $TCP && $SELF udp $UDP", Some((open, sandbox::offers().clone())));
    assert!(reached.worked, "{}", reached.said);
    // Where it is refused, nothing runs.
    let none = Offers { namespaces: Err("left out".into()), ..sandbox::offers().clone() };
    let refused = world.run("touch ran", Some((world.confinement(Profile::WorkspaceWrite), none)));
    assert!(!refused.worked && refused.said.contains("lacks namespaces (left out)"), "{}", refused.said);
    assert!(!world.path("ws/ran").exists());
}
