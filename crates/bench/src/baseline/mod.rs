//! Kapell beside B0, a naive conductor kept runnable as the baseline of the asked percentages.
//!
//! B0 is our own: it is not KiloCode, whose source names no baseline. Same work, same machine, same run; each figure
//! comes from a process of its own, the two systems in turn. Start at [`run`]; B0 itself is `naive.rs`.

mod faults;
mod kapell;
mod lines;
mod naive;
mod script;
mod victim;
mod work;

pub(crate) use kapell::Kapell;
pub(crate) use script::{MARK, Script};
pub(crate) use work::{each, run as worker};

use crate::own;
use anyhow::{Context, Result, bail};
use work::{Figures, Load};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    B0,
    Kapell,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::B0 => "b0",
            Self::Kapell => "kapell",
        }
    }

    fn named(name: &str) -> Result<Self> {
        match name {
            "b0" => Ok(Self::B0),
            "kapell" => Ok(Self::Kapell),
            _ => bail!("there is no system `{name}`: b0 | kapell"),
        }
    }
}

/// One run of a workload in a process of its own.
fn once(system: System, load: Load) -> Result<Figures> {
    own::figures(&["worker", system.name(), load.name, &load.wide.to_string(), &load.long.to_string()])
}

/// The whole table. `--quick`: each line once, in its smallest form; `--runs N`; `--only speed|capacity|faults`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let runs = args.iter().position(|arg| arg == "--runs").and_then(|at| args.get(at + 1));
    let runs = match runs {
        Some(runs) => runs.parse().context("--runs takes a number")?,
        None if quick => 1,
        None => 30,
    };
    println!(
        "B0 is our own naive baseline (one lock, one loop, fsync per event, whole history read again, no dedupe, no \
         cache), not KiloCode's.\nBoth sides: the same fake model and tool, the same threads, the same disk, in turn; \
         the middle of {runs} run(s) and the bounds of its 95 % confidence."
    );
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1));
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    if wanted("speed") {
        lines::speed(runs, quick)?;
    }
    if wanted("capacity") {
        lines::capacity(if quick { 1 } else { runs.min(5) }, quick)?;
    }
    if wanted("faults") {
        lines::reliability(if quick { 1 } else { runs.min(8).into() })?;
    }
    lines::elsewhere();
    Ok(())
}
