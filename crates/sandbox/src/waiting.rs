//! Does a command wait for input that nobody can give? Kernel evidence over its whole tree, never time alone.
//! Knows nothing of how runs are stopped. Start at [`Evidence`], which a run asks again and again while it is silent.
//!
//! A tree waits when no thread of it computes, sleeps for a time or waits for something outside, and one reads a
//! terminal or a pipe that only readers hold open for writing. Seen alike for [`INPUT_WAIT_MS`], without any thread
//! having been scheduled in between, it is so. What cannot be looked at (a program of another user) counts as at work.

use crate::blocked::{self, Doing, Look, Source};
use crate::proc;
use contract::limits::INPUT_WAIT_MS;
use contract::text;
use rustix::process::Pid;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// Who waits for input, and where from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The process.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// Where it reads.
    pub from: String,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {}) waits for input from {}", self.name, self.pid, self.from)
    }
}

/// One thread, as it was seen.
#[derive(Debug, Clone)]
struct Thread {
    pid: Pid,
    doing: Doing,
    /// Times it was put on a processor.
    switches: u64,
}

/// Every thread's process and times on a processor: as long as it is the same, nothing has moved.
type State = Vec<(i32, u64)>;

/// What was seen so far of one tree.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    seen: Option<(Waiting, State, u64)>,
}

impl Evidence {
    /// Looks at the tree below this process at this moment, in milliseconds of any clock. `Some` once it is certain.
    pub(crate) fn look(&mut self, top: Pid, now_ms: u64) -> Option<Waiting> {
        let found = tree(top).and_then(|threads| {
            let waiting = waiting(&threads, &writers)?;
            let state = threads.iter().map(|thread| (thread.pid.as_raw_pid(), thread.switches)).collect();
            Some((waiting, state))
        });
        self.weigh(found, now_ms)
    }

    fn weigh(&mut self, found: Option<(Waiting, State)>, now_ms: u64) -> Option<Waiting> {
        let Some((waiting, state)) = found else {
            self.seen = None;
            return None;
        };
        match &self.seen {
            Some((_, before, since)) if *before == state => {
                (now_ms.saturating_sub(*since) >= INPUT_WAIT_MS).then_some(waiting)
            }
            _ => {
                self.seen = Some((waiting, state, now_ms));
                None
            }
        }
    }
}

/// The verdict over all threads of a tree; `writers` tells which processes of it can write into a pipe.
fn waiting(threads: &[Thread], writers: &dyn Fn(&[Pid], &str) -> Vec<Pid>) -> Option<Waiting> {
    if threads.iter().any(|thread| thread.doing == Doing::Works) {
        return None;
    }
    let pids: Vec<Pid> =
        threads.iter().map(|thread| thread.pid).collect::<HashSet<_>>().into_iter().collect();
    let reads = |pid: &Pid| {
        threads.iter().any(|thread| thread.pid == *pid && matches!(thread.doing, Doing::Reads(_)))
    };
    let counts = |source: &&Source| match source {
        Source::Terminal(_) | Source::Fifo(_) => true,
        Source::Pipe(name) => writers(&pids, name).iter().all(reads),
    };
    let rank = |source: &Source| match source {
        Source::Terminal(_) => 0,
        Source::Fifo(_) => 1,
        Source::Pipe(_) => 2,
    };
    let (pid, source) = threads
        .iter()
        .filter_map(|thread| match &thread.doing {
            Doing::Reads(sources) => Some(sources.iter().map(|source| (thread.pid, source))),
            _ => None,
        })
        .flatten()
        .filter(|(_, source)| counts(source))
        .min_by_key(|(pid, source)| (rank(source), pid.as_raw_pid()))?;
    // Names are foreign text: anybody may call a file or a process anything.
    let from = match source {
        Source::Terminal(name) => format!("the terminal {}", clean(name)),
        Source::Pipe(name) if is_anonymous(name) => "a pipe that nobody writes to".to_owned(),
        Source::Pipe(name) => format!("the named pipe {}, which nobody writes to", clean(name)),
        Source::Fifo(name) => format!("the named pipe {}, which nobody opens for writing", clean(name)),
    };
    Some(Waiting { pid: pid.as_raw_pid(), name: clean(&proc::name(pid)), from })
}

fn clean(name: &str) -> String {
    text::sentence(name).replace(['\n', '\t'], " ")
}

fn is_anonymous(pipe: &str) -> bool {
    pipe.starts_with("pipe:")
}

/// Every thread below this process; `None` as soon as one is at work, which is nearly always.
fn tree(top: Pid) -> Option<Vec<Thread>> {
    let mut threads = Vec::new();
    let mut open = proc::children_of(top);
    let first = open.clone();
    while let Some(pid) = open.pop() {
        let below = proc::children_of(pid);
        // The first process of a command that counts its own shows nothing of itself: it waits for what is below it.
        let waits = first.contains(&pid) && !below.is_empty() && hides(pid);
        if !waits {
            for tid in proc::threads(pid) {
                threads.extend(thread(pid, tid)?);
            }
        }
        open.extend(below);
    }
    (!threads.is_empty()).then_some(threads)
}

/// Nobody of its own user may look into it.
fn hides(pid: Pid) -> bool {
    let link = fs::read_link(format!("/proc/{}/exe", pid.as_raw_pid()));
    link.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// `None`: at work. `Some(None)`: over.
fn thread(pid: Pid, tid: i32) -> Option<Option<Thread>> {
    let base = format!("/proc/{}/task/{tid}", pid.as_raw_pid());
    let Ok(stat) = fs::read(format!("{base}/stat")) else { return Some(None) };
    let after = stat.iter().rposition(|&byte| byte == b')')? + 2;
    let doing = match stat.get(after)? {
        b'Z' | b'X' => return Some(None),
        // Stopped, as a job of the background that reads its terminal is.
        b'T' | b't' => Doing::Idles,
        b'S' => blocked::doing(&fs::read_to_string(format!("{base}/syscall")).ok()?, &Process { pid }),
        _ => return None,
    };
    if doing == Doing::Works {
        return None;
    }
    let status = fs::read_to_string(format!("{base}/status")).ok()?;
    let count = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    let switches = status.lines().filter(|line| line.contains("ctxt_switches:")).filter_map(count).sum();
    Some(Some(Thread { pid, doing, switches }))
}

/// A real process.
struct Process {
    pid: Pid,
}

impl Process {
    fn path(&self, rest: &str) -> String {
        format!("/proc/{}/{rest}", self.pid.as_raw_pid())
    }
}

impl Look for Process {
    fn memory(&self, at: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        let read = fs::File::open(self.path("mem")).ok()?.read_at(&mut buffer, at).ok()?;
        buffer.truncate(read);
        Some(buffer)
    }

    fn target(&self, fd: u64) -> Option<OsString> {
        fs::read_link(self.path(&format!("fd/{fd}"))).ok().map(Into::into)
    }

    fn is_fifo(&self, from: Option<u64>, path: &OsStr) -> bool {
        let from = from.map_or_else(|| self.path("cwd"), |fd| self.path(&format!("fd/{fd}")));
        // An absolute path stays what it is.
        fs::metadata(Path::new(&from).join(path)).is_ok_and(|file| file.file_type().is_fifo())
    }

    fn polled(&self, epoll: u64) -> Option<Vec<u64>> {
        let info = fs::read_to_string(self.path(&format!("fdinfo/{epoll}"))).ok()?;
        let number = |line: &str| line.strip_prefix("tfd:")?.split_ascii_whitespace().next()?.parse().ok();
        Some(info.lines().filter_map(number).collect())
    }
}

/// Which of these processes hold this pipe open for writing; of one with a name, which of all there are: anybody may have
/// opened that.
fn writers(pids: &[Pid], pipe: &str) -> Vec<Pid> {
    // What cannot be looked at may hold it; outside of the run, that would be every process of other users.
    let mut found: Vec<Pid> = pids.iter().copied().filter(|pid| holds(*pid, pipe, true)).collect();
    if !is_anonymous(pipe) {
        let others = proc::all().into_iter().map(|stat| stat.pid).filter(|pid| !pids.contains(pid));
        found.extend(others.filter(|pid| holds(*pid, pipe, false)));
    }
    found
}

fn holds(pid: Pid, pipe: &str, unseen: bool) -> bool {
    let base = format!("/proc/{}", pid.as_raw_pid());
    let Ok(entries) = fs::read_dir(format!("{base}/fd")) else { return unseen };
    entries.flatten().any(|entry| {
        let leads = fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == pipe);
        leads && writable(&format!("{base}/fdinfo/{}", entry.file_name().to_string_lossy()))
    })
}

/// Does /proc/PID/fdinfo/FD tell of a descriptor that can be written to?
fn writable(info: &str) -> bool {
    let Ok(info) = fs::read_to_string(info) else { return true };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    fn thread(number: i32, doing: Doing) -> Thread {
        Thread { pid: pid(number), doing, switches: 1 }
    }

    fn verdict(threads: &[Thread], writers: &[i32]) -> Option<String> {
        let writers: Vec<Pid> = writers.iter().map(|number| pid(*number)).collect();
        waiting(threads, &|_, _| writers.clone()).map(|waiting| waiting.from)
    }

    #[test]
    fn a_tree_waits_when_nobody_in_it_can_go_on() {
        let tty = || Doing::Reads(vec![Source::Terminal("/dev/pts/1".into())]);
        let pipe = || Doing::Reads(vec![Source::Pipe("pipe:[1]".into())]);
        let (shell, cat, other) = (4_000_001, 4_000_002, 4_000_003);
        let terminal = Some("the terminal /dev/pts/1".to_owned());
        assert_eq!(verdict(&[thread(shell, Doing::Idles), thread(cat, tty())], &[]), terminal);
        // The cause is named, not who waits for it.
        let chain = [thread(cat, pipe()), thread(other, tty())];
        assert_eq!(verdict(&chain, &[other]), terminal);
        assert_eq!(verdict(&[thread(shell, Doing::Works), thread(cat, tty())], &[]), None);
        assert_eq!(verdict(&[thread(shell, Doing::Idles)], &[]), None);
        let unfed = Some("a pipe that nobody writes to".to_owned());
        assert_eq!(verdict(&[thread(cat, pipe())], &[]), unfed);
        assert_eq!(verdict(&[thread(cat, pipe())], &[cat]), unfed);
        // One that is stuck by itself is not waiting for input, nor is who reads from it.
        assert_eq!(verdict(&[thread(cat, pipe()), thread(other, Doing::Idles)], &[other]), None);
    }

    #[test]
    fn a_named_pipe_may_be_fed_from_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let name = path.to_str().unwrap();
        assert!(writers(&[], name).is_empty());
        let _held = fs::File::options().read(true).write(true).open(&path).unwrap();
        assert_eq!(writers(&[], name), [rustix::process::getpid()]);
        let cat = [thread(4_000_002, Doing::Reads(vec![Source::Pipe(name.into())]))];
        assert_eq!(waiting(&cat, &writers), None);
    }

    #[test]
    fn names_do_nothing_where_they_are_shown() {
        let odd = Doing::Reads(vec![Source::Fifo("a\u{1b}[2J\u{1b}]0;x\u{7}\nb".into())]);
        assert_eq!(
            verdict(&[thread(4_000_002, odd)], &[]).unwrap(),
            "the named pipe a b, which nobody opens for writing"
        );
    }

    #[test]
    fn it_must_be_seen_alike_for_long_enough() {
        let found = |switches| {
            let waiting = Waiting { pid: 7, name: "cat".into(), from: "the terminal /dev/pts/1".into() };
            Some((waiting, vec![(7, switches)]))
        };
        let mut evidence = Evidence::default();
        assert_eq!(evidence.weigh(found(1), 0), None);
        assert_eq!(evidence.weigh(found(1), INPUT_WAIT_MS - 1), None);
        assert!(evidence.weigh(found(1), INPUT_WAIT_MS).is_some());
        // It was scheduled meanwhile: from there on.
        assert_eq!(evidence.weigh(found(2), INPUT_WAIT_MS + 1), None);
        assert!(evidence.weigh(found(2), 2 * INPUT_WAIT_MS + 1).is_some());
        assert_eq!(evidence.weigh(None, 9 * INPUT_WAIT_MS), None);
        assert_eq!(evidence.weigh(found(2), 9 * INPUT_WAIT_MS), None);
    }
}
