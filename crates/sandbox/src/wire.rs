//! What Kapell and a warden say to each other over their socket. Bytes only, no I/O.
//! Knows nothing of processes. Start at [`Spawn`].
//!
//! To the warden: one length-prefixed [`Spawn`], then single [`Order`] bytes; closing the socket means kill.
//! From the warden: fixed-size [`Report`]s.

use crate::cgroup::Limits;
use crate::confine::Plan;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What to start. The program is a path; nothing is searched for any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spawn {
    /// Its standard input is a terminal, which becomes its own.
    pub(crate) terminal: bool,
    pub(crate) program: OsString,
    /// Including argument 0.
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// How it is confined, if it is.
    pub(crate) plan: Option<Plan>,
    /// What it may take, where the system has a way to hold it to that.
    pub(crate) limits: Limits,
}

/// Says that there is a terminal.
const TERMINAL: &str = "terminal";

/// Bytes of the length before a [`Spawn`].
pub(crate) const PREFIX: usize = 4;

impl Spawn {
    /// With its length before it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; PREFIX];
        let mut put = |text: &OsString| {
            out.extend(length(text.len()));
            out.extend(text.as_bytes());
        };
        put(&OsString::from(if self.terminal { TERMINAL } else { "" }));
        put(&OsString::from(self.limits.memory.to_string()));
        put(&OsString::from(self.limits.processes.to_string()));
        put(&self.program);
        let plan = self.plan.as_ref().map(Plan::encode).unwrap_or_default();
        put(&OsString::from(plan.len().to_string()));
        plan.iter().for_each(&mut put);
        put(&OsString::from(self.argv.len().to_string()));
        self.argv.iter().for_each(&mut put);
        for (name, value) in &self.env {
            put(name);
            put(value);
        }
        let body = length(out.len() - PREFIX);
        out[..PREFIX].copy_from_slice(&body);
        out
    }

    /// Without its length. `None`: not what [`Spawn::encode`] writes.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut texts = Vec::new();
        while let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() {
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*prefix) as usize)?;
            texts.push(OsString::from_vec(text.to_vec()));
            bytes = rest;
        }
        let mut texts = texts.into_iter();
        let terminal = texts.next()? == TERMINAL;
        let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
        let limits = Limits { memory: number(texts.next()?)?, processes: number(texts.next()?)? };
        let program = texts.next()?;
        let count = |text: OsString| text.to_str()?.parse::<usize>().ok();
        let planned = count(texts.next()?)?;
        let plan: Vec<_> = texts.by_ref().take(planned).collect();
        let plan = if planned == 0 { None } else { Some(Plan::decode(plan)?) };
        let argc = count(texts.next()?)?;
        let argv: Vec<_> = texts.by_ref().take(argc).collect();
        let mut env = Vec::new();
        while let Some(name) = texts.next() {
            env.push((name, texts.next()?));
        }
        (argv.len() == argc && argc > 0).then_some(Self { terminal, program, argv, env, plan, limits })
    }
}

fn length(len: usize) -> [u8; PREFIX] {
    // The kernel bounds arguments and environment far below this; a saturated length does not decode.
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// A step of the stop ladder, as one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    Interrupt = b'I',
    Terminate = b'T',
    Kill = b'K',
}

impl Order {
    pub(crate) fn decode(byte: u8) -> Option<Self> {
        [Self::Interrupt, Self::Terminate, Self::Kill].into_iter().find(|order| *order as u8 == byte)
    }
}

/// Which step of starting failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Session,
    Directory,
    Exec,
    Namespaces,
    Landlock,
    Seccomp,
    Limits,
    /// The entry of the plan with this number.
    Mount(u16),
}

impl Step {
    const PLAIN: [Self; 7] = [
        Self::Session,
        Self::Directory,
        Self::Exec,
        Self::Namespaces,
        Self::Landlock,
        Self::Seccomp,
        Self::Limits,
    ];

    fn number(self) -> i32 {
        match self {
            Self::Mount(number) => 0x100 + i32::from(number),
            plain => Self::PLAIN.iter().position(|step| *step == plain).map_or(0, |at| at as i32),
        }
    }

    pub(crate) fn decode(number: i32) -> Option<Self> {
        match u16::try_from(number.checked_sub(0x100)?) {
            Ok(mount) => Some(Self::Mount(mount)),
            Err(_) => Self::PLAIN.get(usize::try_from(number).ok()?).copied(),
        }
    }
}

/// What a warden tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The command runs.
    Started { pid: i32, warden: i32 },
    /// It could not be started.
    Failed { step: Step, errno: i32 },
    /// The command itself ended with this wait status.
    Ended { status: i32 },
    /// What it had left behind was killed; `left` could not be.
    Clean { killed: i32, left: i32 },
}

impl Report {
    /// Bytes of a report.
    pub(crate) const SIZE: usize = 9;

    pub(crate) fn encode(self) -> [u8; Self::SIZE] {
        let (tag, a, b) = match self {
            Self::Started { pid, warden } => (b'S', pid, warden),
            Self::Failed { step, errno } => (b'F', step.number(), errno),
            Self::Ended { status } => (b'E', status, 0),
            Self::Clean { killed, left } => (b'C', killed, left),
        };
        let mut out = [tag; Self::SIZE];
        out[1..5].copy_from_slice(&a.to_le_bytes());
        out[5..].copy_from_slice(&b.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [tag, a0, a1, a2, a3, b0, b1, b2, b3] = bytes;
        let (a, b) = (i32::from_le_bytes([a0, a1, a2, a3]), i32::from_le_bytes([b0, b1, b2, b3]));
        match tag {
            b'S' => Some(Self::Started { pid: a, warden: b }),
            b'F' => Some(Self::Failed { step: Step::decode(a)?, errno: b }),
            b'E' => Some(Self::Ended { status: a }),
            b'C' => Some(Self::Clean { killed: a, left: b }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spawn_round_trips_with_any_bytes() {
        let spawn = Spawn {
            terminal: true,
            program: "/bin/x".into(),
            argv: vec!["x".into(), "".into(), OsString::from_vec(vec![0xff, b'\n'])],
            env: vec![("A".into(), "".into()), ("B".into(), "=\n".into())],
            plan: None,
            limits: Limits { memory: u64::MAX, processes: 0 },
        };
        let bytes = spawn.encode();
        assert_eq!(Spawn::decode(&bytes[PREFIX..]), Some(spawn));
        assert_eq!(Spawn::decode(&bytes[PREFIX..bytes.len() - 1]), None);
        assert_eq!(Spawn::decode(b""), None);
    }

    #[test]
    fn reports_and_orders_round_trip() {
        for report in [
            Report::Started { pid: 7, warden: i32::MAX },
            Report::Failed { step: Step::Directory, errno: 2 },
            Report::Failed { step: Step::Seccomp, errno: 1 },
            Report::Failed { step: Step::Mount(7), errno: 13 },
            Report::Ended { status: 0x0900 },
            Report::Clean { killed: 3, left: 0 },
        ] {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        assert_eq!(Report::decode([b'?'; Report::SIZE]), None);
        for order in [Order::Interrupt, Order::Terminate, Order::Kill] {
            assert_eq!(Order::decode(order as u8), Some(order));
        }
        assert_eq!(Order::decode(0), None);
    }
}
