//! The lines of the asked table (KP, KS, KR, KM), each measured on both systems and compared.
//!
//! Knows what is asked for and how a line is computed; not how the work is done. Start at [`speed`].

use super::faults::{self, FAULTS, Fault, Ran};
use super::work::{Figures, Load};
use super::{System, once};
use crate::measure::Spread;
use anyhow::Result;

/// Runs of both systems in turn.
struct Both {
    b0: Vec<Figures>,
    kapell: Vec<Figures>,
}

fn both(load: Load, runs: u32) -> Result<Both> {
    let mut both = Both { b0: Vec::new(), kapell: Vec::new() };
    for _ in 0..runs {
        both.b0.push(once(System::B0, load)?);
        both.kapell.push(once(System::Kapell, load)?);
    }
    Ok(both)
}

impl Both {
    fn of(&self, figure: fn(&Figures) -> f64) -> (Spread, Spread) {
        let spread = |runs: &[Figures]| Spread::of(&runs.iter().map(figure).collect::<Vec<_>>());
        (spread(&self.b0), spread(&self.kapell))
    }
}

/// One printed line: `asked` in percent of B0's figure; positive asks for more, negative for less.
fn line(id: &str, what: &str, (b0, kapell): (Spread, Spread), asked: f64) {
    // Where neither has any there is nothing to be reduced.
    let gained = match (b0.median, kapell.median) {
        (0.0, 0.0) => 0.0,
        (before, now) => 100.0 * (now / before - 1.0),
    };
    let met = if asked < 0.0 { gained <= asked } else { gained >= asked };
    let figure = |spread: Spread| {
        format!("{} ({}..{})", digits(spread.median), digits(spread.low), digits(spread.high))
    };
    println!(
        "{id:<12} {what:<44} {:>28} {:>28} {asked:>+7.0}% {gained:>+8.0}%  {}",
        figure(b0),
        figure(kapell),
        if met { "met" } else { "NOT MET" }
    );
}

/// Three digits that matter.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn rate(figures: &Figures) -> f64 {
    figures.done / figures.seconds
}

/// KP-1 to KP-4, KS-2, KS-3, KM-1, KM-2, KM-4.
pub(super) fn speed(runs: u32, quick: bool) -> Result<()> {
    println!(
        "\n{:<12} {:<44} {:>28} {:>28} {:>8} {:>9}",
        "line", "measure", "B0", "Kapell", "asked", "measured"
    );
    let part = |n: u32| if quick { n.div_ceil(5) } else { n };
    let intents = both(Load { name: "intents", wide: 16, long: part(8) }, runs)?;
    line("KP-1", "intents settled/s, 16 producers, 1 session", intents.of(rate), 30.0);
    let transitions = both(Load { name: "run", wide: 16, long: part(6) }, runs)?;
    line("KP-2", "durable transitions/s, 16 sessions", transitions.of(|f| 2.0 * rate(f)), 25.0);
    let manage = both(Load { name: "manage", wide: 8, long: part(3) }, runs)?;
    line("KP-3", "create/open/switch/close per s, 8 at once", manage.of(rate), 20.0);
    let rounds = part(50);
    let whole = both(Load { name: "run", wide: 1, long: rounds }, runs)?;
    line("KP-4", &format!("runs/s of one script of {rounds} rounds"), whole.of(|f| 1.0 / f.seconds), 15.0);
    let actions = both(Load { name: "run", wide: 100, long: part(2) }, runs)?;
    line("KS-2 KM-2", "actions/s, 100 sessions", actions.of(rate), 40.0);
    line(
        "KS-3 KM-4",
        "actions per CPU second, 100 sessions",
        actions.of(|f| f.done / f.cpu_s.max(0.01)),
        25.0,
    );
    line(
        "KS-3 KM-4",
        "actions/s per MB at its peak, 100 sessions",
        actions.of(|f| rate(f) / f.peak_mb),
        25.0,
    );
    let alone = both(Load { name: "talk", wide: 1, long: part(10) }, runs.min(10))?;
    line("KM-1", "submit to first effect, p50 ms, 1 session", alone.of(|f| f.p50_ms), -50.0);
    line("KM-1", "submit to first effect, p95 ms, 1 session", alone.of(|f| f.p95_ms), -50.0);
    let busy = both(Load { name: "talk", wide: 100, long: part(10) }, runs.min(10))?;
    line("KM-1", "submit to first effect, p50 ms, 100 sessions", busy.of(|f| f.p50_ms), -50.0);
    line("KM-1", "submit to first effect, p95 ms, 100 sessions", busy.of(|f| f.p95_ms), -50.0);
    Ok(())
}

/// The p95 from message to first effect that a person is to be kept within.
const BUDGET_MS: f64 = 50.0;
/// Memory that queued intents and waiting sessions may take.
const MEMORY_MB: f64 = 256.0;

/// KS-1 and KS-4.
pub(super) fn capacity(runs: u32, quick: bool) -> Result<()> {
    let most = |system| -> Result<f64> {
        // Doubling until it fails, then halving the gap.
        let keeps = |wide: usize| -> Result<bool> {
            Ok(once(system, Load { name: "talk", wide, long: 6 })?.p95_ms <= BUDGET_MS)
        };
        let (mut good, mut bad) = (0, 4);
        let end = if quick { 8 } else { 2_048 };
        while bad <= end && keeps(bad)? {
            (good, bad) = (bad, bad * 2);
        }
        for _ in 0..if quick || bad > end { 0 } else { 3 } {
            let middle = good.midpoint(bad);
            if keeps(middle)? { good = middle } else { bad = middle }
        }
        Ok(good as f64)
    };
    let (mut b0, mut kapell) = (Vec::new(), Vec::new());
    for _ in 0..runs.min(3) {
        b0.push(most(System::B0)?);
        kapell.push(most(System::Kapell)?);
    }
    let what = format!("sessions with p95 within {BUDGET_MS} ms ({} runs)", b0.len());
    line("KS-1", &what, (Spread::of(&b0), Spread::of(&kapell)), 50.0);
    let queued = both(Load { name: "queued", wide: if quick { 50 } else { 1_000 }, long: 0 }, runs)?;
    let what = format!("sessions with a queued intent in {MEMORY_MB} MB ({runs} runs)");
    line("KS-4", &what, queued.of(|f| MEMORY_MB * f.done / f.peak_mb), 30.0);
    Ok(())
}

/// KR-1 to KR-4 and KM-3, from the same runs.
pub(super) fn reliability(each: u64) -> Result<()> {
    let soak = |system| -> Result<Vec<(Fault, Ran)>> {
        let runs = FAULTS.iter().flat_map(|fault| (0..each).map(|seed| (*fault, seed)));
        runs.map(|(fault, seed)| Ok((fault, faults::soak(system, fault, seed + 1)?))).collect()
    };
    let (b0, kapell) = (soak(System::B0)?, soak(System::Kapell)?);
    println!("\nfaults: share of runs in the right state without help, by what was done to them");
    for fault in FAULTS {
        let right =
            |runs: &[(Fault, Ran)]| runs.iter().filter(|(own, ran)| *own == fault && ran.right()).count();
        println!(
            "  {:<12} B0 {:>2} of {each}   Kapell {:>2} of {each}",
            fault.name(),
            right(&b0),
            right(&kapell)
        );
    }
    for (name, runs) in [("B0", &b0), ("Kapell", &kapell)] {
        let first = runs.iter().find_map(|(fault, ran)| Some((fault.name(), ran.wrong.first()?)));
        println!(
            "  {name}: first thing wrong: {}",
            first.map_or("nothing".into(), |(f, w)| format!("{f}: {w}"))
        );
    }
    let exact = |n: f64| Spread { median: n, low: n, high: n };
    let pair = |figure: fn(&[(Fault, Ran)]) -> f64| (exact(figure(&b0)), exact(figure(&kapell)));
    let all = b0.len();
    line("KR-1", &format!("unrecovered of {all} injected faults"), pair(unrecovered), -90.0);
    line("KM-3", "the same as an error rate", pair(|runs| unrecovered(runs) / runs.len() as f64), -80.0);
    line("KR-2", &format!("runs with a crash or hang of its own, of {all}"), pair(unstable), -95.0);
    let kills = |runs: &[(Fault, Ran)]| runs.iter().map(|(_, ran)| ran.kills).sum::<u32>();
    let what = format!("invariants broken, {} and {} kill -9", kills(&b0), kills(&kapell));
    line("KR-3", &what, pair(killed), -99.0);
    availability(&b0, &kapell);
    Ok(())
}

fn unrecovered(runs: &[(Fault, Ran)]) -> f64 {
    runs.iter().filter(|(_, ran)| !ran.right()).count() as f64
}

fn unstable(runs: &[(Fault, Ran)]) -> f64 {
    runs.iter().filter(|(_, ran)| ran.crashes > 0 || ran.hung).count() as f64
}

fn killed(runs: &[(Fault, Ran)]) -> f64 {
    runs.iter().filter(|(_, ran)| ran.kills > 0).map(|(_, ran)| ran.wrong.len()).sum::<usize>() as f64
}

/// KR-4: down time is what a restart and its recovery take, times how often that is needed.
fn availability(b0: &[(Fault, Ran)], kapell: &[(Fault, Ran)]) {
    println!("\nKR-4 availability 99.9 %: at most 43.2 min down in 30 days (43,200 min x 0.001)");
    for (name, runs) in [("B0", b0), ("Kapell", kapell)] {
        let down: Vec<f64> = runs.iter().flat_map(|(_, ran)| ran.down_ms.clone()).collect();
        if down.is_empty() {
            println!("  {name}: no kill met it alive: nothing to compute with");
            continue;
        }
        let (down, each) = (Spread::of(&down), 43.2 * 60_000.0);
        let hourly = 720.0 * down.median / 60_000.0;
        let stuck = runs.iter().filter(|(_, ran)| ran.kills > 0 && !ran.finished).count();
        println!(
            "  {name}: down {:.0} ms per crash ({:.0}..{:.0}); a crash each hour: 720 x {:.0} ms = {hourly:.2} min; the \
             43.2 min hold {:.0} crashes; {stuck} killed run(s) never came back by themselves: {}",
            down.median,
            down.low,
            down.high,
            down.median,
            each / down.median,
            if hourly <= 43.2 && stuck == 0 { "met" } else { "NOT MET" }
        );
    }
}

/// What this machine cannot say.
pub(super) fn elsewhere() {
    println!(
        "\nKM-5 bug rate: not measurable here; a stand-in is the share of planted defects that the tests catch.\n\
         KM-6 satisfaction: not measurable here (it takes people).\n\
         KB-1 to KB-4 velocity, maintenance, time to market, retention: not measurable here (business outcomes)."
    );
}
