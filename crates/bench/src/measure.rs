//! What repeated runs say together, and what the kernel says about this process at its worst.
//!
//! Knows numbers only. Start at [`Spread`].

use std::time::Duration;

/// The median of some runs, and the bounds within which the true one lies with 95 % confidence.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// By order statistics: no assumption about the distribution. Few runs give their minimum and maximum.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return Self::default() };
        let (half, reach) = (sorted.len() as f64 / 2.0, 0.98 * (sorted.len() as f64).sqrt());
        let at = |place: f64| sorted[(place.max(0.0) as usize).min(last)];
        let middle = (sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0;
        Self { median: middle, low: at((half - reach).floor()), high: at((half + reach).ceil()) }
    }
}

/// The number in a line `Name:   123 kB` of a file of the kernel's, in MB.
fn mb(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let kb: f64 = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default();
    kb / 1024.0
}

/// The most memory this process ever had resident, in MB.
pub(crate) fn peak_mb() -> f64 {
    mb("/proc/self/status", "VmHWM:")
}

/// CPU time per unit, in microseconds.
pub(crate) fn us_each(seconds: f64, units: u64) -> f64 {
    seconds * 1e6 / units.max(1) as f64
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_its_bounds() {
        let many: Vec<f64> = (1..=30).rev().map(f64::from).collect();
        let spread = Spread::of(&many);
        assert_eq!((spread.median, spread.low, spread.high), (15.5, 10.0, 22.0));
        let few = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((few.median, few.low, few.high), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of(&[]).median, 0.0);
    }
}
