//! Commands that wait for input nobody can give, and commands that only look like it.
//! Knows nothing of the inside. Start at [`who_waits_is_ended_with_the_reason`].
//!
//! Each takes as long as the evidence needs, so all of one test run at once.

use super::{BRISK, go, shell, text, until};
use contract::Cancel;
use contract::tool::Stopped;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use sandbox::{Command, Ended, Patience, Progress, Size, Waits, Writer, run};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A terminal that nobody types at, and its name: what a person's own would be if a command found it.
fn terminal() -> (OwnedFd, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (master, name)
}

/// Runs all of these lines at once in this directory; `T` is a terminal's name, one for each.
fn all(lines: &[&str], dir: &Path) -> Vec<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let runs: Vec<_> = lines
            .iter()
            .map(|line| {
                let (master, name) = terminal();
                let command = Command::shell(*line, dir).env("T", name).env("TERM", "xterm").grace(BRISK);
                tokio::spawn(async move {
                    let ended = run(command.timeout_ms(20_000), Cancel::new(), &mut |_| ()).await.unwrap();
                    drop(master);
                    ended
                })
            })
            .collect();
        let mut ended = Vec::new();
        for run in runs {
            ended.push(run.await.unwrap());
        }
        ended
    })
}

fn has(program: &str) -> bool {
    go(shell(&format!("command -v {program}"))).unwrap().ok()
}

#[test]
fn who_waits_is_ended_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text"), "line\n".repeat(1000)).unwrap();
    let mut lines = vec![
        ("cat < $T", "cat", "the terminal /dev/pts/"),
        // A question, as su, sudo and ssh ask it: at the terminal, whatever standard input is.
        ("printf 'Password: ' > $T; read -r x < $T", "sh", "the terminal /dev/pts/"),
        ("sort < $T | uniq | tail -n 1; true", "sort", "the terminal /dev/pts/"),
        ("mkfifo one; cat one", "cat", "the named pipe one, which nobody opens for writing"),
        ("mkfifo two; exec 3<>two; read -r x <&3", "sh", "nobody writes to"),
        // A daemon that holds the output open, while what started it waits for a word.
        ("(exec setsid cat < $T) & wait", "cat", "the terminal /dev/pts/"),
    ];
    // Their input is this terminal, and so is what they ask at.
    for (program, line) in [
        ("less", "setsid -c less text < $T > $T 2>&1"),
        ("vim", "setsid -c vim -u NONE text < $T > $T 2>&1"),
        ("git", "git init -q . && GIT_EDITOR='cat < $T; true' git commit --allow-empty -q"),
    ] {
        let name = if program == "git" { "cat" } else { program };
        match has(program) {
            true => lines.push((line, name, "the terminal /dev/pts/")),
            false => eprintln!("SKIPPED 1 case: there is no {program}"),
        }
    }
    // As an ordinary user, for the superuser is asked nothing.
    for (program, line, from) in [
        ("su", "su root -c true", "the terminal /dev/pts/"),
        ("sudo", "sudo -k true", "the terminal /dev/tty"),
    ] {
        let ordinary = "setsid -c setpriv --reuid=65534 --regid=65534 --clear-groups";
        let line = format!("cd / && {ordinary} {line} < $T > $T 2>&1");
        match rustix::process::getuid().is_root() && has(program) && has("setpriv") {
            true => lines.push((line.leak(), program, from)),
            false => {
                eprintln!("SKIPPED 1 case: there is no {program} that asks, or this is not the superuser")
            }
        }
    }
    let ended = all(&lines.iter().map(|line| line.0).collect::<Vec<_>>(), dir.path());
    for ((line, name, from), ended) in lines.iter().zip(ended) {
        assert_eq!(ended.stopped, Some(Stopped::NeedsInput), "{line}: {ended:?}");
        let waited = ended.waited.as_ref().unwrap();
        assert!(waited.from.contains(from), "{line}: {waited}");
        assert_eq!(&waited.name, name, "{line}: {waited}");
        assert!(ended.duration_ms < 15_000 && ended.left == 0, "{line}: {ended:?}");
    }
}

#[test]
fn who_works_in_silence_is_not_ended() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        "sleep 4",
        "sleep 4 | cat",
        "sleep 4 & wait",
        "cat < $T & sleep 4; kill $!",
        "end=$(($(date +%s) + 4)); while [ $(date +%s) -lt $end ]; do :; done",
        // One that works below another that waits for a word.
        "(sleep 4; echo done > $T) & timeout 4 cat < $T; true",
        "mkfifo pipe; (sleep 4; echo word > pipe) & cat pipe",
    ];
    for (line, ended) in lines.iter().zip(all(&lines, dir.path())) {
        assert_eq!((ended.stopped, &ended.waited), (None, &None), "{line}: {ended:?}");
        assert!(ended.exit == Some(0) && ended.duration_ms >= 3_000, "{line}: {ended:?}");
    }
}

#[test]
fn where_somebody_can_answer_it_is_told_and_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (pipe, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let writer = Writer::pipe(end).unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut tell = Some(tell);
        let mut progress = |progress: Progress<'_>| {
            if let Progress::Waits(Some(waiting)) = progress {
                let _told_before = tell.take().map(|tell| tell.send(waiting.clone()));
            }
        };
        let command = shell("read -r x; echo \"got $x\"").reads(pipe).waits(Waits::Tell);
        let answer = async {
            let waiting = told.await.unwrap();
            assert_eq!(waiting.from, "a pipe that nobody writes to");
            writer.write(b"word\n").await.unwrap();
        };
        let (ended, ()) = tokio::join!(run(command, Cancel::new(), &mut progress), answer);
        assert_eq!(text(&ended.unwrap()), "got word\n");
    });
}

#[test]
fn a_terminal_of_its_own_has_a_size_and_signals() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let line = "tty; stty size; : < /dev/tty && echo own; trap 'stty size; exit 7' WINCH; echo ready; \
                    while :; do sleep 0.01; done";
        let (command, terminal) = shell(line).terminal(Size { columns: 80, rows: 24 }).unwrap();
        let mut progress = |progress: Progress<'_>| {
            if progress == Progress::Line("ready\r") {
                terminal.resize(Size { columns: 100, rows: 30 }).unwrap();
            }
        };
        run(command.timeout_ms(20_000), Cancel::new(), &mut progress).await.unwrap()
    });
    let text = text(&ended);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("/dev/pts/"), "{text}");
    assert_eq!((&lines[1..], ended.exit), (&["24 80", "own", "ready", "30 100"][..], Some(7)));
}

#[test]
fn words_buy_time_and_dots_do_not() {
    let patience = Patience { base_ms: 400, extend_ms: 400, ceiling_ms: 1_500 };
    let run = |line: &str| go(shell(line).patience(patience).grace(BRISK)).unwrap();
    let dots = run("while :; do echo ..; sleep 0.05; done");
    assert_eq!((dots.stopped, dots.waited), (Some(Stopped::TimedOut), None));
    assert!(dots.duration_ms < 1_500, "{}", dots.duration_ms);
    let words = run("n=0; while :; do n=$((n+1)); echo step $n; sleep 0.05; done");
    assert_eq!(words.stopped, Some(Stopped::TimedOut));
    assert!(words.duration_ms >= 1_500, "{}", words.duration_ms);
}

#[test]
fn the_directory_is_the_one_that_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    std::fs::create_dir(&one).unwrap();
    std::fs::write(one.join("here"), "").unwrap();
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let opened = rustix::fs::open(&one, flags, rustix::fs::Mode::empty()).unwrap();
    std::fs::rename(&one, &two).unwrap();
    std::os::unix::fs::symlink("/etc", &one).unwrap();
    let ended = go(Command::shell("pwd -P; ls", &one).at(opened)).unwrap();
    assert_eq!(text(&ended), format!("{}\nhere\n", two.canonicalize().unwrap().display()));
    until("it is gone", || std::fs::remove_dir_all(&two).is_ok());
}

/// Pain 14 names these: without a terminal each of them ends by itself, and at once.
#[test]
fn what_asks_at_a_terminal_it_does_not_have_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let line = "git init -q . && git config user.name a && git config user.email a@b && \
        git commit -q --allow-empty -m 1 && echo a > f && git add f && git commit -q -m 2 && \
        GIT_SEQUENCE_EDITOR=\"sed -i s/^pick/edit/\" git rebase -q -i HEAD~1; echo b > f; git add f; git rebase --continue";
    let mut lines = vec!["cat", "read -r x; true", "${EDITOR:-vi} f", "${PAGER:-less} /etc/passwd", line];
    let ordinary = "cd / && setpriv --reuid=65534 --regid=65534 --clear-groups";
    let (su, sudo) = (format!("{ordinary} su root -c true; true"), format!("{ordinary} sudo -k true; true"));
    for (program, line) in
        [("ssh", "ssh -o ConnectTimeout=2 nobody@127.0.0.1 -p 1 true; true"), ("su", &su), ("sudo", &sudo)]
    {
        match has(program) {
            true => lines.push(line),
            false => eprintln!("SKIPPED 1 case: there is no {program}"),
        }
    }
    for (line, ended) in lines.iter().zip(all(&lines, dir.path())) {
        assert_eq!((ended.stopped, ended.exit), (None, Some(0)), "{line}: {ended:?}");
    }
}
