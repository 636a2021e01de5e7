//! `cargo xtask context`: context building over real transcripts. Every request of every transcript is built by the
//! kernel's own rules, under several caps, and checked: it fits, no call is without its result, what is pinned is there.
//! Beside that, how far the estimates are off what the provider reported, and what share of a request a cache could reuse.
//!
//! Start at [`run`]; transcripts are read by `read.rs`, played by `play.rs`.

mod play;
mod read;

use anyhow::{Result, ensure};
use play::{Found, Plan};
use read::Talk;
use std::path::Path;

/// Archives below `transcripts` in the data set.
const SETS: [&str; 2] = ["cc-spotter", "pi-mono"];
/// Caps under which every transcript is played: the model's context, and two that force cuts.
const CONTEXTS: [u64; 3] = [200_000, 64_000, 24_000];

/// `DIR`: the data set.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let dir = args.first().map(Path::new).unwrap_or(Path::new("../shared/data"));
    let talks = talks(dir)?;
    if talks.is_empty() {
        return Ok(());
    }
    let turns: usize = talks.iter().map(Talk::replies).sum();
    println!("{} conversations, {turns} replies", talks.len());
    table(&talks)?;
    estimates(&talks)
}

/// The transcripts of every set that is there.
fn talks(dir: &Path) -> Result<Vec<Talk>> {
    let mut talks = Vec::new();
    for set in SETS {
        let file = dir.join("transcripts").join(format!("{set}.tar.xz"));
        if file.exists() {
            talks.extend(read::archive(&file, set)?);
        } else {
            println!("SKIPPED 1 set: {set} is not in KAPELL_DATA");
        }
    }
    Ok(talks)
}

fn table(talks: &[Talk]) -> Result<()> {
    println!(
        "\n{:28} {:>8} {:>8} {:>6} {:>6} {:>7} {:>8} {:>8}",
        "conversation", "context", "requests", "cuts", "left", "dropped", "refused", "stable"
    );
    let mut broken = 0;
    for context in CONTEXTS {
        let mut all = Found::default();
        for talk in talks {
            let found = play::play(talk, Plan { context, believe: false })?;
            row(&talk.name, context, &found);
            broken += found.broken.len();
            for what in &found.broken {
                println!("    BROKEN {what}");
            }
            all.add(&found);
        }
        row("all", context, &all);
    }
    ensure!(broken == 0, "{broken} requests are not as they must be");
    println!("every request fits its cap, has every call with its result, and holds what is pinned");
    Ok(())
}

fn row(name: &str, context: u64, found: &Found) {
    println!(
        "{:28} {context:>8} {:>8} {:>6} {:>6} {:>7} {:>8} {:>7}%",
        name.chars().take(28).collect::<String>(),
        found.requests,
        found.cuts,
        found.left,
        found.dropped,
        found.refused,
        found.stable()
    );
}

/// How far the estimates were off, where nothing was cut and the provider told.
fn estimates(talks: &[Talk]) -> Result<()> {
    let mut all = Found::default();
    println!("\nestimate of a request against what was reported for it, permille off");
    println!(
        "{:28} {:>8} {:>6} {:>6} {:>6} {:>12}",
        "conversation", "requests", "p50", "p95", "worst", "from scratch"
    );
    for talk in talks {
        let found = play::play(talk, Plan { context: 4_000_000, believe: true })?;
        errors(&talk.name, &found);
        all.add(&found);
    }
    errors("all", &all);
    Ok(())
}

fn errors(name: &str, found: &Found) {
    let at = play::percentile;
    let (near, cold) = (&found.off, &found.off_cold);
    println!(
        "{:28} {:>8} {:>6} {:>6} {:>6} {:>5} {:>6}",
        name.chars().take(28).collect::<String>(),
        near.len(),
        at(near, 50),
        at(near, 95),
        at(near, 100),
        at(cold, 50),
        at(cold, 95)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole of it is a command by hand; this is every short conversation, and the beginning of each long one.
    #[test]
    fn requests_of_real_transcripts_fit_are_whole_and_keep_what_is_pinned() {
        let dir = std::env::var_os("KAPELL_DATA").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
            std::path::PathBuf::from,
        );
        for talk in talks(&dir).unwrap() {
            let talk = talk.beginning(120);
            let found = play::play(&talk, Plan { context: 24_000, believe: false }).unwrap();
            assert_eq!(found.broken, Vec::<String>::new(), "{}", talk.name);
            assert!(found.requests > 0, "{}", talk.name);
        }
    }

    #[test]
    fn a_conversation_that_grows_is_cut_and_its_estimates_learn() {
        let talk = read::made(60, 9_000);
        let cut = play::play(&talk, Plan { context: 40_000, believe: false }).unwrap();
        assert!(cut.broken.is_empty() && cut.cuts > 1 && cut.left > 10, "{cut:?}");
        assert!((50..100).contains(&cut.stable()), "{}", cut.stable());
        let told = play::play(&talk, Plan { context: 4_000_000, believe: true }).unwrap();
        assert!(told.cuts == 0 && play::percentile(&told.off, 95) < 50, "{told:?}");
    }
}
