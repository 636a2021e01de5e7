//! Faults, one for each run of a victim: what it came to without anybody's help (KR-1 to KR-4).
//!
//! Knows the victim as a process: starts it, kills it, starts it again as a supervisor would. Start at [`soak`].

use super::{System, victim};
use crate::measure::ms;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The name of the victim's workload.
pub(crate) const VICTIM: &str = "victim";
/// Sessions of a victim, and messages to each.
const SIZE: (usize, u32) = (4, 6);
/// Times a supervisor starts a process that ends by itself with an error.
const STARTS: u32 = 4;
/// Nothing that works takes as long.
const HANGS: Duration = Duration::from_secs(40);

/// What is done to a victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL at a random moment, twice.
    Killed,
    /// SIGKILL, and half of a record behind what was written.
    Torn,
    /// A model call fails once.
    ModelFails,
    /// A tool panics once.
    ToolPanics,
    /// Answers are lost, and messages sent again.
    Resent,
}

pub(crate) const FAULTS: [Fault; 5] =
    [Fault::Killed, Fault::Torn, Fault::ModelFails, Fault::ToolPanics, Fault::Resent];

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Torn => "torn",
            Self::ModelFails => "model-fails",
            Self::ToolPanics => "tool-panics",
            Self::Resent => "resent",
        }
    }

    fn kills(self) -> u32 {
        match self {
            Self::Killed => 2,
            Self::Torn => 1,
            _ => 0,
        }
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// It reached its end by itself, or by being started again.
    pub(crate) finished: bool,
    /// Times it ended with an error of its own.
    pub(crate) crashes: u32,
    pub(crate) hung: bool,
    /// It waits for a person.
    pub(crate) helpless: bool,
    /// Kills that met it alive.
    pub(crate) kills: u32,
    /// What was not right at the end.
    pub(crate) wrong: Vec<String>,
    /// From each start after a kill until it was up again with everything taken up, milliseconds.
    pub(crate) down_ms: Vec<f64>,
}

impl Ran {
    pub(crate) fn right(&self) -> bool {
        self.finished && self.wrong.is_empty()
    }
}

/// One run with one fault.
pub(crate) fn soak(system: System, fault: Fault, seed: u64) -> Result<Ran> {
    let dir = tempfile::tempdir_in(".")?;
    let (mut ran, mut random) = (Ran::default(), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _ in 0..fault.kills() {
        if !kill(system, fault, dir.path(), Duration::from_millis(2 + next(60)), &mut ran)? {
            break;
        }
        if fault == Fault::Torn {
            tear(system, dir.path())?;
        }
    }
    for _ in 0..STARTS {
        let mut child = start(system, fault, dir.path())?;
        let (began, ups) = (Instant::now(), victim::times_up(dir.path()));
        if ran.kills > 0 && wait_up(&mut child, dir.path(), ups)? {
            ran.down_ms.push(ms(began.elapsed()));
        }
        match end(&mut child, HANGS)? {
            Some(Some(0)) => ran.finished = true,
            Some(Some(victim::HELPLESS)) => ran.helpless = true,
            Some(_) => ran.crashes += 1,
            None => ran.hung = true,
        }
        if ran.finished || ran.helpless || ran.hung {
            break;
        }
    }
    ran.wrong = victim::wrong(system, dir.path(), SIZE.0, SIZE.1)
        .unwrap_or_else(|error| vec![format!("cannot be looked at: {error:#}")]);
    Ok(ran)
}

fn start(system: System, fault: Fault, dir: &Path) -> Result<Child> {
    let own = std::env::current_exe()?;
    let mut command = Command::new(own);
    command.args(["worker", system.name(), VICTIM, &SIZE.0.to_string(), &SIZE.1.to_string()]);
    command.arg(dir).arg(fault.name());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("the victim could not be started")
}

/// Starts it and kills it this long after it is up. False: it had ended by then.
fn kill(system: System, fault: Fault, dir: &Path, after: Duration, ran: &mut Ran) -> Result<bool> {
    let (began, ups) = (Instant::now(), victim::times_up(dir));
    let mut child = start(system, fault, dir)?;
    if wait_up(&mut child, dir, ups)? {
        if ran.kills > 0 {
            ran.down_ms.push(ms(began.elapsed()));
        }
        std::thread::sleep(after);
    }
    if child.try_wait()?.is_some() {
        return Ok(false);
    }
    child.kill()?;
    child.wait()?;
    ran.kills += 1;
    Ok(true)
}

/// Waits until it says so, or has ended.
fn wait_up(child: &mut Child, dir: &Path, ups: usize) -> Result<bool> {
    let began = Instant::now();
    while began.elapsed() < HANGS {
        if victim::times_up(dir) > ups {
            return Ok(true);
        }
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}

/// Its exit code, if it has one. `None`: it did not end.
fn end(child: &mut Child, within: Duration) -> Result<Option<Option<i32>>> {
    let began = Instant::now();
    while began.elapsed() < within {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// What a write that was not acknowledged leaves behind: the first half of a record.
fn tear(system: System, dir: &Path) -> Result<()> {
    let store = dir.join("store");
    let (path, half): (_, Vec<u8>) = match system {
        System::B0 => (store.join("s0.jsonl"), br#"{"tool-called":{"call":{"id":"call-m-0-"#.to_vec()),
        System::Kapell => {
            let log = store.join("kapell.db-wal");
            // A frame as it would be, cut in its middle.
            let bytes = std::fs::read(&log)?;
            (log, bytes.get(32..32 + 2_000).unwrap_or_default().to_vec())
        }
    };
    let mut file = std::fs::OpenOptions::new().append(true).open(path)?;
    std::io::Write::write_all(&mut file, &half)?;
    Ok(())
}
