//! A job in a process of its own, which outlives whoever asked for it: this binary again, under a hidden word.
//! Knows nothing of what the job is: both ends agree on that in one text, which is the caller's. Start at [`begin`] (who
//! asks) and [`asked`], then [`serve`] (who runs it).
//!
//! The text goes through a pipe, since command lines are seen by every user of the machine. The host answers with one line
//! once the job runs, or says why it does not, and is on its own from there on: it ends with its job.

use crate::apart::apart_with_pipes;
use crate::command::Command;
use crate::pty::Size;
use contract::cancel::Urgency;
use contract::limits::JOB_BEAT_MS;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The hidden first argument.
const WORD: &str = "__kapell-terminal";
/// What a host says when its job runs; anything else is why it does not.
const RUNS: &str = "runs";
/// Bytes of an order, or of an answer.
const ORDER_BYTES: u64 = 1024 * 1024;
/// How long an ended job is kept where who looks can be told so.
const LAST: Duration = Duration::from_secs(2);

/// Hosts that this process has started: a fact about the process, like its children, hence a static. One that has ended
/// keeps its number until the next one begins.
static HOSTS: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// What a host is to run.
#[derive(Debug)]
pub struct Order {
    /// The command, confined and recorded as it is to be.
    pub command: Command,
    /// Its own directory, which is there.
    pub dir: PathBuf,
    /// Of its terminal; without one it has a pipe.
    pub size: Option<Size>,
}

/// Starts a host in this directory with this text, and waits until its job runs. Blocks.
pub fn begin(dir: &Path, text: &str) -> io::Result<()> {
    let mut child = apart_with_pipes(WORD, dir)?;
    let said = agreed(&mut child, text);
    match said.as_deref() {
        Ok(RUNS) => {
            let mut hosts = HOSTS.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.retain_mut(|host| matches!(host.try_wait(), Ok(None)));
            hosts.push(child);
            Ok(())
        }
        other => {
            let why = match other {
                Ok("") => "its host ended without a word".to_owned(),
                Ok(why) => why.to_owned(),
                Err(error) => error.to_string(),
            };
            drop(child.kill());
            drop(child.wait());
            Err(io::Error::other(why))
        }
    }
}

fn agreed(child: &mut Child, text: &str) -> io::Result<String> {
    let mut said = String::new();
    if let (Some(mut theirs), Some(ours)) = (child.stdin.take(), child.stdout.take()) {
        theirs.write_all(text.as_bytes())?;
        drop(theirs);
        BufReader::new(ours.take(ORDER_BYTES)).read_line(&mut said)?;
    }
    Ok(said.trim_end().to_owned())
}

/// The text this process was started with, where it was started as a host.
pub fn asked() -> Option<io::Result<String>> {
    if std::env::args_os().nth(1).is_none_or(|word| word != WORD) {
        return None;
    }
    let mut text = String::new();
    Some(io::stdin().take(ORDER_BYTES).read_to_string(&mut text).map(|_| text))
}

/// Runs it to its end. The exit code of the host.
pub fn serve(order: Result<Order, String>) -> u8 {
    let answer = |line: &str| {
        let mut out = io::stdout();
        let line = line.replace('\n', " ");
        // Who asked may be gone; the job is not for them alone.
        drop(writeln!(out, "{line}").and_then(|()| out.flush()));
    };
    let order = match order.and_then(|order| quiet().map(|()| order).map_err(|error| error.to_string())) {
        Ok(order) => order,
        Err(why) => {
            answer(&why);
            return 1;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => u8::from(!runtime.block_on(run(order, answer))),
        Err(error) => {
            answer(&error.to_string());
            1
        }
    }
}

/// Nothing is read any more, and nothing that it may say reaches a terminal.
fn quiet() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Until the directory is not there any more.
async fn gone(dir: &Path) {
    let mut look = tokio::time::interval(Duration::from_millis(JOB_BEAT_MS));
    while dir.is_dir() {
        look.tick().await;
    }
}

/// True when it ran.
async fn run(order: Order, answer: impl Fn(&str)) -> bool {
    let Order { command, dir, size } = order;
    let (mut job, mut terminate) =
        match (super::Job::start(command, &dir, size), signal(SignalKind::terminate())) {
            (Ok(job), Ok(terminate)) => (job, terminate),
            (Err(error), _) => {
                answer(&error.to_string());
                return false;
            }
            (_, Err(error)) => {
                answer(&error.to_string());
                return false;
            }
        };
    let ended = |status: &super::Status| !status.ended.is_empty();
    // A program that is not there has ended by now.
    job.until(LAST, |status| status.pid != 0 || ended(status)).await;
    answer(RUNS);
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _said_nowhere = rustix::stdio::dup2_stdout(&null);
    }
    tokio::select! {
        _over = job.until(Duration::MAX, ended) => {}
        _told = terminate.recv() => job.stop(Urgency::Graceful),
        // Nobody can find it any more.
        () = gone(&dir) => job.stop(Urgency::Graceful),
    }
    // Its clients are told within a second.
    job.settled().await;
    true
}
