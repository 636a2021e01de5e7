//! Runs real commands and looks at what is left of them. Waits for conditions, never for a time.
//! Knows nothing of the inside. Start at [`go`]; `killed` kills the process that runs the commands.

#[path = "runs/input.rs"]
mod input;
#[path = "runs/jobs.rs"]
mod jobs;
#[path = "runs/killed.rs"]
mod killed;
#[path = "runs/long.rs"]
mod long;

use contract::Cancel;
use contract::cancel::Urgency;
use contract::tool::Stopped;
use sandbox::{Command, Ended, Error, Grace, Progress, Stage, run};
use std::path::Path;
use std::time::Duration;

/// Short enough for a test, long enough for a shell to handle a signal on a busy machine.
const BRISK: Grace = Grace { int_ms: 400, term_ms: 400 };

fn go(command: Command) -> Result<Ended, Error> {
    go_with(command, Cancel::new(), |_| ())
}

fn go_with(
    command: Command,
    cancel: Cancel,
    mut progress: impl FnMut(Progress<'_>) + Send,
) -> Result<Ended, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(command, cancel, &mut progress))
}

fn shell(line: &str) -> Command {
    Command::shell(line, "/")
}

fn text(ended: &Ended) -> String {
    String::from_utf8(ended.output.clone().into_bytes()).unwrap()
}

/// Does anything live that has this text in its command line or environment?
fn alive(mark: &str) -> bool {
    let holds = |file: std::path::PathBuf| {
        std::fs::read(file).is_ok_and(|bytes| {
            bytes.windows(mark.len().max(1)).any(|window| window.starts_with(mark.as_bytes()))
        })
    };
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let own = entry.file_name().to_str() == Some(&std::process::id().to_string());
        !own && (holds(entry.path().join("cmdline")) || holds(entry.path().join("environ")))
    })
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < limit, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A number of seconds to sleep that no other test uses, by which its process is found.
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("98765{:05}{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn output_comes_in_order_and_the_status_is_told() {
    let mut lines = Vec::new();
    let ended = go_with(shell("echo one; echo two >&2; echo three; exit 3"), Cancel::new(), |progress| {
        if let Progress::Line(line) = progress {
            lines.push(line.to_owned());
        }
    });
    let ended = ended.unwrap();
    assert_eq!(text(&ended), "one\ntwo\nthree\n");
    assert_eq!(lines, ["one", "two", "three"]);
    assert_eq!((ended.exit, ended.signal, ended.stopped, ended.stage), (Some(3), None, None, None));
    assert_eq!((ended.survivors, ended.left), (0, 0));
}

#[test]
fn standard_error_can_be_kept_apart() {
    let ended = go(shell("echo one; echo two >&2").apart()).unwrap();
    assert_eq!(text(&ended), "one\n");
    assert_eq!(ended.stderr.into_bytes(), b"two\n");
}

#[test]
fn exit_137_is_not_sigkill() {
    let ended = go(shell("exit 137")).unwrap();
    assert_eq!((ended.exit, ended.signal), (Some(137), None));
    let ended = go(shell("kill -9 $$")).unwrap();
    assert_eq!((ended.exit, ended.signal, ended.stopped), (None, Some(9), None));
}

#[test]
fn arguments_stay_literal() {
    let ended = go(Command::argv(["echo", "a;b", "$HOME"], "/")).unwrap();
    assert_eq!(text(&ended), "a;b $HOME\n");
}

#[test]
fn nothing_waits_for_input() {
    assert_eq!(go(shell("cat; read x; echo done")).unwrap().exit, Some(0));
    let ended = go(Command::argv(["cat"], "/").stdin(vec![b'x'; 300_000])).unwrap();
    assert_eq!(ended.output.total(), 300_000);
}

#[test]
fn there_is_no_terminal() {
    let ended =
        go(shell("if (: < /dev/tty) 2>/dev/null; then echo has one; fi; tty; ps -o sid= -p $$; echo $$"));
    let text = text(&ended.unwrap());
    assert!(text.starts_with("not a tty\n"), "{text}");
    let mut numbers = text.lines().skip(1).map(str::trim);
    assert_eq!(numbers.next(), numbers.next(), "leads its own session");
}

#[test]
fn signals_arrive_whatever_kapell_was_started_with() {
    let ended = go(Command::argv(["cat", "/proc/self/status"], "/")).unwrap();
    let status = text(&ended);
    for mask in ["SigBlk:", "SigIgn:"] {
        let line = status.lines().find(|line| line.starts_with(mask)).unwrap();
        let bits = u64::from_str_radix(line.split_ascii_whitespace().nth(1).unwrap(), 16).unwrap();
        // Above them are real-time signals, of which the C library keeps two for itself.
        const ORDINARY: u64 = (1 << 31) - 1;
        assert_eq!(bits & ORDINARY, 0, "{line}");
    }
}

#[test]
fn programs_that_cannot_run_are_named() {
    let error = |command| go(command).unwrap_err().to_string();
    assert_eq!(error(Command::argv(["no-such-program"], "/")), "program `no-such-program` was not found");
    assert_eq!(
        error(Command::argv(["true"], "/no/such/directory")),
        "cannot work in `/no/such/directory`: No such file or directory (os error 2)"
    );
    assert_eq!(
        error(Command::argv(["/etc/passwd"], "/")),
        "cannot execute `/etc/passwd`: Permission denied (os error 13)"
    );
}

#[test]
fn secrets_do_not_reach_a_child_nor_its_parents_environment() {
    let command = shell("env; cat /proc/$PPID/environ").env("X_API_KEY", "hidden").env("SHOWN", "seen");
    let text = text(&go(command).unwrap());
    assert!(text.contains("SHOWN=seen") && text.contains("GIT_TERMINAL_PROMPT=0"), "{text}");
    assert!(!text.contains("hidden") && text.ends_with('\n'), "the warden's environment is empty: {text}");
}

#[test]
fn what_runs_in_the_background_is_dead_afterwards() {
    let seconds = unique();
    // A plain one, one in a session of its own, one orphaned with an empty environment, and one that does all.
    let line = format!(
        "sleep {seconds} & setsid sleep {seconds} & (env -i setsid sleep {seconds} >/dev/null 2>&1 </dev/null &) ; \
         setsid sh -c 'env -i setsid sleep {seconds} & exit' & sleep 0.05; echo started"
    );
    let ended = go(shell(&line)).unwrap();
    assert_eq!((ended.exit, text(&ended).as_str()), (Some(0), "started\n"));
    assert!(ended.survivors >= 4, "{}", ended.survivors);
    assert!(!alive(&seconds));
}

#[test]
fn a_storm_of_forks_is_ended() {
    let seconds = unique();
    // Every process starts two more, in sessions of their own, as long as it lives.
    let storm = format!(
        "f() {{ [ $1 -gt 5 ] && exec sleep {seconds}; setsid sh -c \"$F\" f $(($1+1)) & setsid sh -c \"$F\" f $(($1+1)) & sleep {seconds}; }}; f $1"
    );
    let line = "sh -c \"$F\" f 0 & sleep 0.2; echo enough";
    let ended = go(shell(line).env("F", storm)).unwrap();
    assert_eq!((ended.exit, ended.left), (Some(0), 0));
    assert!(ended.survivors > 2, "{}", ended.survivors);
    assert!(!alive(&seconds));
}

/// Cancels once it has said something and a process with this mark runs.
fn cancelled(line: &str, mark: &str, urgency: Urgency) -> (Ended, Vec<Stage>) {
    let cancel = Cancel::new();
    let token = cancel.clone();
    let mut stages = Vec::new();
    let ended = go_with(shell(line).grace(BRISK), cancel, |progress| match progress {
        Progress::Line(line) if line != "ready" => {}
        Progress::Line(_) => {
            until("it runs", || alive(mark));
            token.cancel(urgency);
        }
        Progress::Stopping(stage) => stages.push(stage),
        _ => {}
    });
    (ended.unwrap(), stages)
}

#[test]
fn the_ladder_names_the_stage_that_worked() {
    use Stage::{Interrupt, Kill, Terminate};
    let seconds = unique();
    let wait = format!("echo ready; while :; do sleep {seconds}; done");
    for (trap, signal, expected) in [
        ("", Some(2), vec![Interrupt]),
        ("trap '' INT; ", Some(15), vec![Interrupt, Terminate]),
        ("trap '' INT TERM; (sleep 9 & sleep 9) & ", Some(9), vec![Interrupt, Terminate, Kill]),
        ("trap 'echo bye; exit 5' INT; ", None, vec![Interrupt]),
    ] {
        // A shell that is just forking may lose a signal, so the mark is the sleep's own command line.
        let (ended, stages) =
            cancelled(&format!("{trap}{wait}"), &format!("sleep\0{seconds}"), Urgency::Graceful);
        assert_eq!((&stages, ended.signal), (&expected, signal), "{trap}");
        assert_eq!(ended.stage, expected.last().copied());
        assert_eq!(ended.stopped, Some(Stopped::Cancelled));
        if signal.is_none() {
            assert_eq!((ended.exit, text(&ended).as_str()), (Some(5), "ready\nbye\n"));
        }
        assert!(!alive(&seconds));
    }
}

#[test]
fn now_means_now() {
    let (ended, stages) = cancelled("trap '' INT TERM; echo ready; sleep 1000; sleep 1000", "", Urgency::Now);
    assert_eq!((ended.signal, stages), (Some(9), vec![Stage::Kill]));
    assert!(ended.duration_ms < BRISK.int_ms, "{}", ended.duration_ms);
}

#[test]
fn a_stopped_token_starts_nothing() {
    let cancel = Cancel::new();
    cancel.cancel(Urgency::Graceful);
    let file = tempfile::tempdir().unwrap().path().join("made");
    let ended =
        go_with(Command::argv(["touch".into(), file.clone().into_os_string()], "/"), cancel, |_| ()).unwrap();
    assert_eq!((ended.stopped, ended.exit), (Some(Stopped::Cancelled), None));
    assert!(!file.exists());
}

#[test]
fn time_runs_out() {
    let ended = go(shell("echo begun; sleep 1000").timeout_ms(100).grace(BRISK)).unwrap();
    assert_eq!(
        (ended.stopped, ended.signal, ended.stage),
        (Some(Stopped::TimedOut), Some(2), Some(Stage::Interrupt))
    );
    assert_eq!(text(&ended), "begun\n");
}

#[test]
fn a_dropped_run_is_killed() {
    let seconds = unique();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut tell = Some(tell);
        let mut progress = |_: Progress<'_>| {
            assert!(alive(&seconds));
            tell.take().map(|tell| tell.send(()));
        };
        let command = shell(&format!("setsid sleep {seconds} & echo ready; sleep {seconds}"));
        tokio::select! {
            _ = run(command, Cancel::new(), &mut progress) => unreachable!("it sleeps"),
            _ = told => {}
        }
    });
    until("killed", || !alive(&seconds));
}

#[test]
fn a_killed_warden_takes_its_command_along() {
    let seconds = unique();
    let line = format!("setsid sleep {seconds} & echo ready; kill -9 $PPID; sleep {seconds}");
    let error = go(shell(&line)).unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    until("killed", || !alive(&seconds));
}

#[test]
fn much_output_takes_little_memory() {
    let rss = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = rss();
    let line =
        "yes 'a line of output like many others' | head -c 100000000; echo; echo error: at the very end";
    let ended = go(shell(line).keep(1 << 20)).unwrap();
    let grown = rss().saturating_sub(before);
    assert!(ended.output.total() > 100_000_000);
    let bytes = ended.output.into_bytes();
    assert!(bytes.ends_with(b"\nerror: at the very end\n") && bytes.len() < (1 << 20) + 100);
    // Other tests of this process grow it as well.
    assert!(grown < 32 * 1024, "{grown} KiB more");
}

/// Head and tail of what was kept, and how many bytes it is of all.
fn ends(ended: &Ended, length: usize) -> (Vec<u8>, Vec<u8>, u64) {
    let bytes = ended.output.clone().into_bytes();
    (bytes[..length].to_vec(), bytes[bytes.len() - length..].to_vec(), ended.output.total())
}

#[test]
fn output_of_every_shape_comes_as_it_was_written() {
    let keep = contract::limits::OUTPUT_KEEP_BYTES;
    // Every byte there is, what is no UTF-8 and no line included: kept whole, byte for byte.
    let line =
        "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done | tee /dev/null";
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(go(shell(line)).unwrap().output.into_bytes(), all);
    let ended = go(shell("head -c 1000000 /dev/zero | tr '\\0' '\\377'")).unwrap();
    assert!(ended.output.total() == 1_000_000 && ended.output.into_bytes() == vec![0xff; 1_000_000]);
    // One line longer than what is kept: both of its ends.
    let ended = go(shell("printf begin; head -c 40000000 /dev/zero | tr '\\0' x; printf end")).unwrap();
    let (head, tail, total) = ends(&ended, 8);
    assert_eq!((head.as_slice(), tail.as_slice(), total), (&b"beginxxx"[..], &b"xxxxxend"[..], 40_000_008));
    assert!(ended.output.into_bytes().len() <= keep + 100);
    // A million lines, the error in the last.
    let ended = go(shell("seq 1000000 | sed 's/^/line of it: /'; echo 'error: here'")).unwrap();
    let (head, tail, _) = ends(&ended, 16);
    assert_eq!(head, b"line of it: 1\nli");
    assert!(tail.ends_with(b"00\nerror: here\n"), "{}", String::from_utf8_lossy(&tail));
}

#[test]
fn records_are_there_while_it_runs_and_gone_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let records = || std::fs::read_dir(dir.path()).unwrap().count();
    let mut during = 0;
    let command = shell("echo ready").record(dir.path());
    go_with(command, Cancel::new(), |_| during = records()).unwrap();
    assert_eq!((during, records()), (1, 0));
    go(Command::argv(["true"], "/no/such/directory").record(dir.path())).unwrap_err();
    assert_eq!(records(), 0);
}

#[test]
fn many_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                tokio::spawn(async move {
                    let command = Command::shell(format!("sleep 5 & echo {n}; exit {n}"), Path::new("/"));
                    let ended = run(command, Cancel::new(), &mut |_| ()).await.unwrap();
                    (n, ended.exit, text(&ended), ended.survivors)
                })
            })
            .collect();
        for task in tasks {
            let (n, exit, text, survivors) = task.await.unwrap();
            assert_eq!((exit, text, survivors), (Some(n), format!("{n}\n"), 1));
        }
    });
}
