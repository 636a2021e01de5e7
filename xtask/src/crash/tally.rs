//! What all cases of a run met together, kept over the end of the run itself.
//!
//! Counts and prints; judges nothing. Start at [`Tally::add`].

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counters by name, for all lanes.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts; the new value.
    pub(super) fn add(&self, name: &str, many: u64) -> u64 {
        let mut counts = self.lock();
        let count = counts.entry(name.to_owned()).or_default();
        *count += many;
        *count
    }

    /// What was counted under this name.
    pub(super) fn of(&self, name: &str) -> u64 {
        self.lock().get(name).copied().unwrap_or(0)
    }

    /// Every counter whose name begins so, without the beginning, the largest first.
    fn under(&self, prefix: &str) -> Vec<(String, u64)> {
        let counts = self.lock();
        let mut found: Vec<(String, u64)> =
            counts.iter().filter_map(|(name, n)| Some((name.strip_prefix(prefix)?.to_owned(), *n))).collect();
        found.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        found
    }

    /// Reads back what [`Tally::save`] wrote; the number of the next case.
    pub(super) fn load(&self, path: &Path) -> Result<u64> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let saved: Value =
            serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))?;
        let mut counts = self.lock();
        for (name, n) in saved["counts"].as_object().into_iter().flatten() {
            counts.insert(name.clone(), n.as_u64().unwrap_or(0));
        }
        saved["next_case"].as_u64().context("no next case")
    }

    /// Writes it down, whole or not at all.
    pub(super) fn save(&self, path: &Path, next_case: u64) -> Result<()> {
        let text = json!({ "next_case": next_case, "counts": *self.lock() }).to_string();
        let aside = path.with_extension("new");
        std::fs::write(&aside, text)
            .and_then(|()| std::fs::rename(&aside, path))
            .with_context(|| format!("write {}", path.display()))
    }

    /// The whole account, for people.
    pub(super) fn print(&self, seconds: f32) {
        let of = |name| self.of(name);
        println!(
            "crash: {} kills over {} sessions' trees in {seconds:.0} s ({:.1} a second)",
            of("kills"),
            of("cases"),
            of("run kills") as f32 / seconds.max(0.001)
        );
        for (title, prefix) in [
            ("killed", "victim/"),
            ("by kind of case", "kills/"),
            ("in flight", "flight/"),
            ("ended as", "end/"),
            ("others", "other/"),
        ] {
            let parts: Vec<String> =
                self.under(prefix).into_iter().map(|(name, n)| format!("{name} {n}")).collect();
            println!("  {title}: {}", parts.join(", "));
        }
        println!(
            "  {} events kept, {} of them announced before the process ended; {} outcomes unknown: {} repeats a person approved, {} denied; {} approvals given, {} budgets raised; integrate interrupted {} times, {} commits landed, {} of the user's own in between",
            of("events"),
            of("told"),
            of("unknown"),
            of("repeats"),
            of("denied"),
            of("approved"),
            of("raised"),
            of("flight/integrate"),
            of("landed"),
            of("theirs")
        );
        println!(
            "  no line doubled, no event lost, nothing left alive, no budget exceeded, no change of the user's lost"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_where_it_was_saved() {
        let path = std::env::temp_dir().join(format!("kapell-tally-{}.json", std::process::id()));
        let tally = Tally::default();
        tally.add("kills", 3);
        tally.add("kills/lines", 2);
        tally.save(&path, 7).unwrap();
        let again = Tally::default();
        assert_eq!(again.load(&path).unwrap(), 7);
        assert_eq!((again.add("kills", 1), again.under("kills/")), (4, vec![("lines".to_owned(), 2)]));
        std::fs::remove_file(&path).unwrap();
    }
}
