//! The nearest known word to a mistyped one. Knows nothing of what the words mean. Start at [`nearest`].

/// Words this far apart are not taken for each other: one edit for every three letters.
const LETTERS_PER_EDIT: usize = 3;

/// The known word that was most likely meant, if any is near enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let scored = known.into_iter().map(|other| (distance(&word, &other.to_lowercase()), other));
    let (edits, best) =
        scored.min_by_key(|(edits, other)| (!other.to_lowercase().starts_with(&word), *edits))?;
    let longest = word.chars().count().max(best.chars().count());
    let starts = word.len() >= LETTERS_PER_EDIT && best.starts_with(&word);
    (edits <= longest.div_ceil(LETTERS_PER_EDIT) || starts).then_some(best)
}

/// `did you mean ...?` and a space, or nothing.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |best| format!("did you mean `{best}`? "))
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let edit = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if swapped { edit.min(rows[i - 2][j - 2] + 1) } else { edit }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["model", "ask", "budget", "checks"];
        for (typed, meant) in [
            ("modle", Some("model")),
            ("Budgets", Some("budget")),
            ("check", Some("checks")),
            ("bud", Some("budget")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
        assert_eq!(suggestion("akk", known), "did you mean `ask`? ");
        assert_eq!(suggestion("xyzzy", known), "");
    }
}
