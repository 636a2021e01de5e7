//! What is on the other end of the three streams: a terminal or not, how wide, coloured or not.
//!
//! Start at [`Term::find`].

use std::io::IsTerminal;

/// Columns when nobody knows.
const UNKNOWN: usize = 80;

/// Facts about the streams.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Term {
    /// A person can type.
    pub(crate) stdin: bool,
    /// Results are looked at.
    pub(crate) stdout: bool,
    /// Progress is looked at.
    pub(crate) stderr: bool,
    /// Control codes are understood.
    pub(crate) moves: bool,
    /// Colour is wanted.
    pub(crate) color: bool,
}

impl Term {
    /// From the streams and the environment.
    pub(crate) fn find(no_color: bool, env: impl Fn(&str) -> Option<String>) -> Self {
        let moves = env("TERM").is_none_or(|term| term != "dumb" && !term.is_empty());
        let wanted = !no_color && env("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            stdin: std::io::stdin().is_terminal(),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
            moves,
            color: moves && wanted,
        }
    }

    /// A person can be asked, and sees what is asked.
    pub(crate) fn can_ask(self) -> bool {
        self.stdin && self.stdout
    }

    /// How results are painted.
    pub(crate) fn paint(self) -> Paint {
        Paint(self.color && self.stdout)
    }

    /// Columns of the terminal that progress goes to, now.
    pub(crate) fn width(self) -> usize {
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
        size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(UNKNOWN)
    }
}

/// Paints words, or leaves them as they are. The word says it all; colour only helps to find it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Something good.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("1;32", text)
    }

    /// Something bad.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// Something that waits for the person.
    pub(crate) fn warn(self, text: &str) -> String {
        self.with("1;33", text)
    }

    /// Something beside the point.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A word by what it means.
    pub(crate) fn word(self, word: &str) -> String {
        match word {
            "CONFIRMED" | "completed" => self.good(word),
            "REFUTED" | "failed" | "cancelled" => self.bad(word),
            "INCONCLUSIVE" | "paused" | "waiting" => self.warn(word),
            _ => word.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_off_when_anybody_says_so() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        assert!(Term::find(false, env(&[("TERM", "xterm")])).color);
        assert!(!Term::find(true, env(&[("TERM", "xterm")])).color);
        assert!(!Term::find(false, env(&[("NO_COLOR", "1")])).color);
        assert!(Term::find(false, env(&[("NO_COLOR", "")])).color);
        let dumb = Term::find(false, env(&[("TERM", "dumb")]));
        assert!(!dumb.color && !dumb.moves);
    }

    #[test]
    fn paint_adds_codes_only_when_on() {
        assert_eq!(Paint(false).word("CONFIRMED"), "CONFIRMED");
        assert_eq!(Paint(true).word("CONFIRMED"), "\x1b[1;32mCONFIRMED\x1b[0m");
        assert_eq!(Paint(true).word("else"), "else");
    }
}
