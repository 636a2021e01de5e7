//! Texts in the pieces a stream brings them in.
//!
//! Knows no dialect. Start at [`pieces`].

/// Characters of a piece of arguments.
const PIECE: usize = 7;

/// Words with the space behind them, as tokens come.
pub(super) fn words(text: &str) -> Vec<&str> {
    text.split_inclusive(' ').collect()
}

/// Pieces that heed no boundary but that of characters.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    all.chunks(PIECE).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        for text in ["", "one", "two  words ", "{\"path\":\"src/ä.rs\"}"] {
            assert_eq!(words(text).concat(), text);
            assert_eq!(pieces(text).concat(), text);
        }
    }
}
