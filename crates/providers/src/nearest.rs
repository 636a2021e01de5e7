//! The nearest of some names to a mistyped one. Knows nothing of what the names mean.

/// The closest candidate, if any is close enough to be what was meant (a third of its length).
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|name| (distance(typed, name), name))
        .filter(|&(far, name)| far <= 1 + name.chars().count() / 3)
        .min_by_key(|&(far, _)| far)
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace one character) from `a` to `b`: Levenshtein's, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_slip_and_leaves_a_stranger() {
        let names = ["delay_ms", "text", "stop"];
        assert_eq!(nearest("delay", names), Some("delay_ms"));
        assert_eq!(nearest("txet", names), Some("text"));
        assert_eq!(nearest("provider", names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
