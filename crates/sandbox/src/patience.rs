//! How long a command may take: a base, more while it says something, and a ceiling (S2.1-4). Pure.
//! Knows nothing of processes; time comes in as a value. Start at [`Patience`], then [`is_noise`].

use contract::limits::{TOOL_EXTEND_MS, TOOL_MAX_MS};

/// The time a command gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Without a word from it, milliseconds.
    pub base_ms: u64,
    /// Every line that says something moves the end to at least this long after it, milliseconds.
    pub extend_ms: u64,
    /// Whatever it says, milliseconds.
    pub ceiling_ms: u64,
}

impl Patience {
    /// Exactly this long.
    pub fn exactly(ms: u64) -> Self {
        Self { base_ms: ms, extend_ms: 0, ceiling_ms: ms }
    }

    /// This long, and longer while it says something.
    pub fn from(base_ms: u64) -> Self {
        Self { base_ms, extend_ms: TOOL_EXTEND_MS, ceiling_ms: TOOL_MAX_MS.max(base_ms) }
    }

    /// The end it has now, after something was said at this moment; both in milliseconds since the start.
    pub(crate) fn heard(&self, due_ms: u64, now_ms: u64) -> u64 {
        due_ms.max(now_ms.saturating_add(self.extend_ms).min(self.ceiling_ms))
    }
}

/// Signs of which spinners, bars and rows of dots are made.
const SIGNS: &str = "|/-\\.·•*+=#<>[](){}_~^:;,%@oO";
/// Words that stand beside a bar and tell nothing by themselves.
const UNITS: [&str; 22] = [
    "b", "kb", "mb", "gb", "kib", "mib", "gib", "k", "m", "g", "s", "ms", "sec", "min", "h", "d", "eta",
    "it", "of", "bytes", "kbps", "mbps",
];

/// Says nothing: blank, dots, a spinner, a percentage, a progress bar.
pub fn is_noise(line: &str) -> bool {
    // What a terminal would show last: a bar is drawn over itself.
    let line = contract::text::clean(line.trim_end_matches('\r').rsplit('\r').next().unwrap_or(line));
    let is_sign = |c: char| c.is_whitespace() || c.is_ascii_digit() || SIGNS.contains(c) || is_drawing(c);
    // `oo` is a row of signs; `o` in a word is not.
    let mut words = line.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let all_units = words.all(|word| {
        UNITS.contains(&word.to_ascii_lowercase().as_str()) || word.chars().all(|c| matches!(c, 'o' | 'O'))
    });
    all_units && line.chars().all(|c| is_sign(c) || c.is_alphabetic())
}

/// Boxes, blocks, shapes and the dots of braille.
fn is_drawing(c: char) -> bool {
    matches!(c, '\u{2500}'..='\u{25ff}' | '\u{2800}'..='\u{28ff}' | '\u{2190}'..='\u{21ff}' | '…')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_from_words() {
        for noise in [
            "",
            "   ",
            ".",
            ".....",
            "|",
            "/",
            "⠋",
            "⠹ ⠹",
            "45%",
            " 45.2 % ",
            "[=====>    ] 45%",
            "####    12/40",
            "12%|█████▏        | 1.2M/10M [00:01<00:09, 1.1MB/s]",
            "oooooo",
            "ETA 00:12",
            "\r 10%\r 20%\r 30%",
            "\u{1b}[2K\u{1b}[32m⣾\u{1b}[0m",
            "12.3 KiB/s",
            "━━━━━━━━━━━━━━━ 10.2/10.2 MB",
            "3",
        ] {
            assert!(is_noise(noise), "{noise:?}");
        }
        for words in [
            "Compiling serde v1.0.229",
            "test result: ok. 3 passed; 0 failed",
            "ok",
            "src/main.rs:3:5: error",
            "[INFO] 45% done with module a",
            "FAIL",
            "Überprüfung",
            "1. first",
            "a.",
        ] {
            assert!(!is_noise(words), "{words:?}");
        }
    }

    /// A command that says this line once a second, on a clock of its own: when it is stopped.
    fn ends(patience: Patience, line: Option<&str>) -> u64 {
        let (mut now, mut due) = (0, patience.base_ms);
        while now < due {
            now += 1_000;
            if line.is_some_and(|line| !is_noise(line)) && now <= due {
                due = patience.heard(due, now);
            }
        }
        due
    }

    #[test]
    fn dots_end_at_the_base_and_words_at_the_ceiling() {
        let patience = Patience { base_ms: 60_000, extend_ms: 30_000, ceiling_ms: 300_000 };
        assert_eq!(ends(patience, None), 60_000);
        assert_eq!(ends(patience, Some("....")), 60_000);
        assert_eq!(ends(patience, Some("compiling")), 300_000);
        assert_eq!(ends(Patience::exactly(5_000), Some("compiling")), 5_000);
    }

    #[test]
    fn a_word_in_time_buys_its_share_and_never_takes_any() {
        let patience = Patience { base_ms: 60_000, extend_ms: 30_000, ceiling_ms: 300_000 };
        assert_eq!(patience.heard(60_000, 10_000), 60_000);
        assert_eq!(patience.heard(60_000, 50_000), 80_000);
        assert_eq!(patience.heard(290_000, 289_000), 300_000);
        assert_eq!(Patience::from(600_000).ceiling_ms, TOOL_MAX_MS);
    }
}
