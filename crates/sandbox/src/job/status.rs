//! What a job says of itself on disk, again and again: for other processes, and for after a crash.
//! Knows nothing of how it runs. Start at [`look`].
//!
//! A file of lines `word value`, replaced as a whole. A job whose host is gone died with it, whatever the file says.

use crate::proc;
use contract::text;
use rustix::process::{Pid, getpid};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const NAME: &str = "job";

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Its command, in one line.
    pub command: String,
    /// It has a terminal.
    pub terminal: bool,
    /// Its process.
    pub pid: i32,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    /// When this was written: a heartbeat, milliseconds since 1970.
    pub beat_ms: u64,
    /// When it last wrote something, milliseconds since 1970.
    pub said_ms: u64,
    /// Bytes it wrote.
    pub bytes: u64,
    /// Who of it waits for input, if anybody; empty otherwise.
    pub waits: String,
    /// How it ended; empty while it runs.
    pub ended: String,
    /// The process that runs it, by number and start, and the boot of the machine.
    host: (i32, u64, String),
}

impl Status {
    /// One that begins now, here.
    pub(crate) fn new(command: String, terminal: bool) -> Self {
        let start = proc::stat(getpid()).map_or(0, |stat| stat.start);
        let now = now_ms();
        let host = (getpid().as_raw_pid(), start, proc::boot_id().to_owned());
        let (command, said_ms) = (text::sentence(&command), now);
        Self { command, terminal, started_ms: now, beat_ms: now, said_ms, host, ..Self::default() }
    }

    /// Puts it in the place of what was there.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let Self { command, terminal, pid, started_ms, beat_ms, said_ms, bytes, waits, ended, host } = self;
        let line = |text: &str| text.replace(['\n', '\r'], " ");
        let (number, start, boot) = host;
        let lines = format!(
            "command {}\nterminal {terminal}\npid {pid}\nstarted {started_ms}\nbeat {beat_ms}\nsaid {said_ms}\n\
             bytes {bytes}\nwaits {}\nended {}\nhost {number} {start} {boot}\n",
            line(command),
            line(waits),
            line(ended)
        );
        let new = dir.join(NAME).with_extension("new");
        fs::write(&new, lines)?;
        fs::rename(new, dir.join(NAME))
    }

    fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for line in text.lines() {
            let Some((word, value)) = line.split_once(' ') else { continue };
            let number = || value.parse().unwrap_or(0);
            match word {
                "command" => status.command = value.to_owned(),
                "terminal" => status.terminal = value == "true",
                "pid" => status.pid = value.parse().unwrap_or(0),
                "started" => status.started_ms = number(),
                "beat" => status.beat_ms = number(),
                "said" => status.said_ms = number(),
                "bytes" => status.bytes = number(),
                "waits" => status.waits = value.to_owned(),
                "ended" => status.ended = value.to_owned(),
                "host" => {
                    let mut words = value.split(' ');
                    let mut next = || words.next().unwrap_or_default();
                    status.host =
                        (next().parse().unwrap_or(0), next().parse().unwrap_or(0), next().to_owned());
                }
                _ => {}
            }
        }
        status
    }

    /// Does the process that runs it live?
    fn hosted(&self) -> bool {
        let (pid, start, boot) = &self.host;
        let alive = |pid: Pid| proc::stat(pid).is_some_and(|stat| stat.start == *start && !stat.dead);
        *boot == proc::boot_id() && Pid::from_raw(*pid).is_some_and(alive)
    }
}

/// What the job in this directory says of itself. One whose host died without a word has ended with it.
pub fn look(dir: &Path) -> io::Result<Status> {
    let mut status = Status::parse(&fs::read_to_string(dir.join(NAME))?);
    if status.ended.is_empty() && !status.hosted() {
        status.ended = "killed together with the Kapell that ran it".to_owned();
        status.waits.clear();
    }
    Ok(status)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_a_dead_host_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut status = Status::new("npm run\ndev".into(), true);
        status.bytes = 7;
        status.waits = "`node` waits".into();
        status.write(dir.path()).unwrap();
        let found = look(dir.path()).unwrap();
        assert_eq!((found.command.as_str(), found.bytes, found.ended.as_str()), ("npm run dev", 7, ""));
        assert_eq!(found.waits, "`node` waits");
        // The same number, but another process.
        status.host.1 += 1;
        status.write(dir.path()).unwrap();
        let found = look(dir.path()).unwrap();
        assert!(found.ended.starts_with("killed together") && found.waits.is_empty(), "{found:?}");
        status.ended = "exit status 3".into();
        status.write(dir.path()).unwrap();
        assert_eq!(look(dir.path()).unwrap().ended, "exit status 3");
    }
}
