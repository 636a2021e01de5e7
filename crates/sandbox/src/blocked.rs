//! What one thread is blocked on, read from the system call it sleeps in (/proc/PID/syscall, proc_pid_syscall(5)).
//! Knows nothing of runs or trees, and asks through [`Look`], so that tables test it. Start at [`doing`].
//!
//! Only what can end without Kapell's tree doing anything, and without time passing, counts as input: a terminal, a
//! pipe, the other end of a named pipe. Anything not understood counts as being at work.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What a thread does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It computes, sleeps for a time, or waits for something outside: the network, a lock, a disk.
    Works,
    /// It goes on only when another thread or process of the same tree does something.
    Idles,
    /// It reads without a limit of time, from the first of these that speaks.
    Reads(Vec<Source>),
}

/// Where input may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A terminal, by its device.
    Terminal(String),
    /// A pipe, as /proc names it: `pipe:[4711]`.
    Pipe(String),
    /// A named pipe that nobody has opened at its other end.
    Fifo(String),
}

/// Looks at the process of the thread.
pub(crate) trait Look {
    /// This many bytes of its memory.
    fn memory(&self, at: u64, bytes: usize) -> Option<Vec<u8>>;
    /// What a descriptor leads to, as its link in /proc tells.
    fn target(&self, fd: u64) -> Option<OsString>;
    /// Is that path a named pipe? A relative one is taken from this descriptor, or from its working directory.
    fn is_fifo(&self, from: Option<u64>, path: &OsStr) -> bool;
    /// Descriptors an epoll instance waits for.
    fn polled(&self, epoll: u64) -> Option<Vec<u64>>;
}

/// Most descriptors of one call that are looked at.
const FDS: u64 = 1024;
const POLLIN: u16 = 0x0001;
/// Of futex(2): the kinds of waiting, below the flags for private and clock.
const FUTEX_WAITS: [u64; 3] = [0, 6, 9];
const FUTEX_FLAGS: u64 = 0x80 | 0x100;
/// Bytes of a path that are looked at.
const PATH_BYTES: usize = 256;

/// What a line of /proc/PID/syscall means: `running`, or a number and six arguments.
pub(crate) fn doing(line: &str, look: &dyn Look) -> Doing {
    let mut words = line.split_ascii_whitespace();
    let number = words.next().and_then(|word| word.parse::<i64>().ok());
    let args: Vec<u64> = words
        .take(6)
        .filter_map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok())
        .collect();
    let (Some(number), Ok(args)) = (number, <[u64; 6]>::try_from(args)) else { return Doing::Works };
    call(number, args, look).unwrap_or(Doing::Works)
}

/// Polls without a limit of time by a number of milliseconds, which is a C int.
fn for_ever(timeout: u64) -> bool {
    (timeout as u32 as i32) < 0
}

fn call(number: i64, args: [u64; 6], look: &dyn Look) -> Option<Doing> {
    let [a, b, c, d, e, _] = args;
    match number {
        libc::SYS_read | libc::SYS_readv => reads(&[a], look),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll if for_ever(c) => reads(&polled(a, b, look)?, look),
        libc::SYS_ppoll if c == 0 => reads(&polled(a, b, look)?, look),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select if e == 0 => reads(&selected(a, b, look)?, look),
        libc::SYS_pselect6 if e == 0 => reads(&selected(a, b, look)?, look),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait if for_ever(d) => reads(&look.polled(a)?, look),
        libc::SYS_epoll_pwait if for_ever(d) => reads(&look.polled(a)?, look),
        libc::SYS_epoll_pwait2 if d == 0 => reads(&look.polled(a)?, look),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => opens(None, a, b, look),
        libc::SYS_openat => opens((a as u32 as i32 != libc::AT_FDCWD).then_some(a), b, c, look),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_pause => Some(Doing::Idles),
        // A full pipe is emptied by somebody of the tree, or by Kapell, which reads all the time.
        libc::SYS_wait4 | libc::SYS_waitid | libc::SYS_rt_sigsuspend | libc::SYS_write | libc::SYS_writev => {
            Some(Doing::Idles)
        }
        libc::SYS_rt_sigtimedwait if c == 0 => Some(Doing::Idles),
        libc::SYS_futex if d == 0 && FUTEX_WAITS.contains(&(b & !FUTEX_FLAGS)) => Some(Doing::Idles),
        _ => None,
    }
}

/// An open of a named pipe that sleeps waits for its other end. Any other one waits for a slow disk or network.
fn opens(from: Option<u64>, path: u64, flags: u64, look: &dyn Look) -> Option<Doing> {
    let reading = flags & 0b11 == libc::O_RDONLY as u64;
    let bytes = look.memory(path, PATH_BYTES)?;
    let path = bytes.split(|&byte| byte == 0).next()?;
    let name = String::from_utf8_lossy(path).into_owned();
    (reading && look.is_fifo(from, OsStr::from_bytes(path))).then(|| Doing::Reads(vec![Source::Fifo(name)]))
}

/// Descriptors of a `struct pollfd` array that are asked for input.
fn polled(at: u64, count: u64, look: &dyn Look) -> Option<Vec<u64>> {
    let bytes = look.memory(at, usize::try_from(count.min(FDS)).ok()? * 8)?;
    let entries = bytes.chunks_exact(8).filter_map(|entry| {
        let (fd, rest) = entry.split_first_chunk::<4>()?;
        let (events, _) = rest.split_first_chunk::<2>()?;
        let fd = u64::try_from(i32::from_ne_bytes(*fd)).ok()?;
        (u16::from_ne_bytes(*events) & POLLIN != 0).then_some(fd)
    });
    Some(entries.collect())
}

/// Descriptors of an `fd_set` of those to read.
fn selected(count: u64, at: u64, look: &dyn Look) -> Option<Vec<u64>> {
    if at == 0 {
        return Some(Vec::new());
    }
    let count = count.min(FDS);
    let bytes = look.memory(at, usize::try_from(count.div_ceil(64)).ok()? * 8)?;
    let is_set = |fd: &u64| bytes.get(*fd as usize / 8).is_some_and(|byte| byte >> (fd % 8) & 1 == 1);
    Some((0..count).filter(is_set).collect())
}

/// What waiting for these descriptors means; `None` = for something outside.
fn reads(fds: &[u64], look: &dyn Look) -> Option<Doing> {
    let mut sources = Vec::new();
    for &fd in fds {
        sources.extend(source(look.target(fd)?, look)?);
    }
    Some(if sources.is_empty() { Doing::Idles } else { Doing::Reads(sources) })
}

/// What may come from a descriptor: input, nothing of its own (`Some(None)`), or something outside (`None`).
fn source(target: OsString, look: &dyn Look) -> Option<Option<Source>> {
    let name = String::from_utf8_lossy(target.as_bytes()).into_owned();
    let terminal = |name: &str| {
        name.strip_prefix("/dev/pts/").is_some_and(|end| end != "ptmx")
            || name.strip_prefix("/dev/tty").is_some_and(|end| !end.contains('/'))
            || name == "/dev/console"
    };
    Some(match name.as_str() {
        // The master's side of a terminal speaks when the programs in it do.
        "/dev/ptmx"
        | "/dev/pts/ptmx"
        | "anon_inode:[eventfd]"
        | "anon_inode:[signalfd]"
        | "anon_inode:[pidfd]" => None,
        name if terminal(name) => Some(Source::Terminal(name.to_owned())),
        name if name.starts_with("pipe:[") => Some(Source::Pipe(name.to_owned())),
        _ if name.starts_with('/') && look.is_fifo(None, &target) => Some(Source::Pipe(name)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// A process with these descriptors and this memory from address 0x1000 on.
    #[derive(Default)]
    struct Fake {
        fds: HashMap<u64, &'static str>,
        memory: Vec<u8>,
        epoll: Vec<u64>,
    }

    impl Look for Fake {
        fn memory(&self, at: u64, bytes: usize) -> Option<Vec<u8>> {
            let from = usize::try_from(at.checked_sub(0x1000)?).ok()?;
            let mut found = self.memory.get(from..)?.to_vec();
            found.resize(bytes, 0);
            Some(found)
        }
        fn target(&self, fd: u64) -> Option<OsString> {
            self.fds.get(&fd).map(|target| (*target).into())
        }
        fn is_fifo(&self, from: Option<u64>, path: &OsStr) -> bool {
            path == "/place/fifo"
                || path == "questions" && from.is_none()
                || path == "answers" && from == Some(7)
        }
        fn polled(&self, _: u64) -> Option<Vec<u64>> {
            Some(self.epoll.clone())
        }
    }

    fn fake(fds: &[(u64, &'static str)]) -> Fake {
        Fake { fds: fds.iter().copied().collect(), ..Fake::default() }
    }

    fn line(number: i64, args: [u64; 6]) -> String {
        let args: Vec<String> = args.iter().map(|arg| format!("{arg:#x}")).collect();
        format!("{number} {} 0x7ffd5568af98 0x7fd24a8a02ad", args.join(" "))
    }

    fn terminal() -> Doing {
        Doing::Reads(vec![Source::Terminal("/dev/pts/4".into())])
    }

    #[test]
    fn a_read_is_what_its_descriptor_leads_to() {
        for (target, expected) in [
            ("/dev/pts/4", terminal()),
            ("/dev/tty", Doing::Reads(vec![Source::Terminal("/dev/tty".into())])),
            ("pipe:[7]", Doing::Reads(vec![Source::Pipe("pipe:[7]".into())])),
            ("/place/fifo", Doing::Reads(vec![Source::Pipe("/place/fifo".into())])),
            ("/dev/ptmx", Doing::Idles),
            ("anon_inode:[eventfd]", Doing::Idles),
            ("socket:[9]", Doing::Works),
            ("anon_inode:inotify", Doing::Works),
            ("anon_inode:[timerfd]", Doing::Works),
            ("/place/file", Doing::Works),
        ] {
            let read = line(libc::SYS_read, [0, 0x1000, 0x20000, 0, 0, 0]);
            assert_eq!(doing(&read, &fake(&[(0, target)])), expected, "{target}");
        }
        assert_eq!(doing(&line(libc::SYS_read, [3, 0, 0, 0, 0, 0]), &fake(&[])), Doing::Works);
    }

    #[test]
    fn who_has_a_limit_of_time_or_works_does_not_wait() {
        let look = fake(&[(0, "/dev/pts/4")]);
        for text in ["running", "", "-1 0x7ffd5568af98 0x7fd24a8a02ad", "0 0x0"] {
            assert_eq!(doing(text, &look), Doing::Works, "{text}");
        }
        for (number, args) in [
            (libc::SYS_clock_nanosleep, [0; 6]),
            (libc::SYS_nanosleep, [0; 6]),
            (libc::SYS_futex, [1, 0x80, 2, 0x5000, 0, 0]),
            (libc::SYS_epoll_pwait, [0, 0, 1, 1000, 0, 0]),
            (libc::SYS_ppoll, [0x1000, 1, 0x5000, 0, 0, 0]),
            (libc::SYS_recvfrom, [0; 6]),
            (libc::SYS_flock, [0; 6]),
        ] {
            assert_eq!(doing(&line(number, args), &look), Doing::Works, "{number}");
        }
        for (number, args) in [
            (libc::SYS_wait4, [u64::MAX, 0, 0, 0, 0, 0]),
            (libc::SYS_futex, [1, 0x189, 2, 0, 0, 0]),
            (libc::SYS_write, [1, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(doing(&line(number, args), &look), Doing::Idles, "{number}");
        }
    }

    #[test]
    fn sets_of_descriptors_are_read_from_memory() {
        let mut look = fake(&[(0, "/dev/pts/4"), (5, "anon_inode:[eventfd]"), (6, "socket:[1]")]);
        let entry = |fd: i32, events: u16| [&fd.to_ne_bytes()[..], &events.to_ne_bytes(), &[0, 0]].concat();
        // Waiting to write does not count, nor does an entry that is switched off.
        look.memory = [entry(0, POLLIN), entry(5, POLLIN), entry(6, 4), entry(-1, POLLIN)].concat();
        let poll = line(libc::SYS_ppoll, [0x1000, 4, 0, 0, 0, 0]);
        assert_eq!(doing(&poll, &look), terminal());
        look.memory = vec![0b0010_0001];
        assert_eq!(doing(&line(libc::SYS_pselect6, [6, 0x1000, 0, 0, 0, 0]), &look), terminal());
        look.memory = vec![0b0110_0001];
        assert_eq!(doing(&line(libc::SYS_pselect6, [7, 0x1000, 0, 0, 0, 0]), &look), Doing::Works);
        assert_eq!(doing(&line(libc::SYS_pselect6, [0, 0, 0, 0, 0, 0]), &look), Doing::Idles);
        look.epoll = vec![0, 5];
        let epoll = line(libc::SYS_epoll_pwait, [9, 0x1000, 64, 0xffff_ffff, 0, 0]);
        assert_eq!(doing(&epoll, &look), terminal());
        look.epoll = vec![0, 6];
        assert_eq!(doing(&epoll, &look), Doing::Works);
    }

    #[test]
    fn opening_a_named_pipe_waits_for_its_other_end() {
        let mut look = fake(&[]);
        look.memory = b"questions\0rest".to_vec();
        let here = libc::AT_FDCWD as u32;
        let open = |from: u64, flags: i32| line(libc::SYS_openat, [from, 0x1000, flags as u64, 0, 0, 0]);
        let expected = |name: &str| Doing::Reads(vec![Source::Fifo(name.into())]);
        assert_eq!(doing(&open(here.into(), libc::O_CLOEXEC), &look), expected("questions"));
        assert_eq!(doing(&open(libc::AT_FDCWD as u64, libc::O_CLOEXEC), &look), expected("questions"));
        assert_eq!(doing(&open(here.into(), libc::O_WRONLY), &look), Doing::Works);
        assert_eq!(doing(&open(7, libc::O_CLOEXEC), &look), Doing::Works);
        look.memory = b"answers\0".to_vec();
        assert_eq!(doing(&open(7, libc::O_CLOEXEC), &look), expected("answers"));
        // A file on a slow disk.
        look.memory = b"/place/file\0".to_vec();
        assert_eq!(doing(&open(here.into(), libc::O_CLOEXEC), &look), Doing::Works);
    }
}
