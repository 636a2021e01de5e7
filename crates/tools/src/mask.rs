//! Pieces of a text, without the secrets that reach over their ends.
//! Knows no secret: where they are comes in as data. Start at [`part`]; screens are [`screen`].

use std::ops::Range;

/// Where secrets are, and what is shown in their place.
pub(crate) type Spots = [(Range<usize>, String)];

/// The bytes `show` of a text, and where the next piece begins: a secret that reaches over an end is not shown in part.
pub(crate) fn part(text: &[u8], show: Range<usize>, spots: &Spots) -> (Vec<u8>, usize) {
    let (mut out, mut at) = (Vec::new(), show.start);
    for (spot, mask) in spots.iter().filter(|(spot, _)| spot.end > show.start && spot.start < show.end) {
        out.extend_from_slice(&text[at.min(spot.start)..spot.start]);
        out.extend_from_slice(mask.as_bytes());
        at = spot.end;
    }
    out.extend_from_slice(&text[at.min(show.end)..show.end]);
    (out, at.max(show.end))
}

/// Rows of a screen as one text, in which a row that is full goes on in the next; and where in it rows end without a line.
pub(crate) fn joined(rows: &[String], columns: usize) -> (String, Vec<usize>) {
    let (mut text, mut ends) = (String::new(), Vec::new());
    for row in rows {
        text.push_str(row);
        if row.chars().count() < columns {
            text.push('\n');
        } else {
            ends.push(text.len());
        }
    }
    (text, ends)
}

/// The screen of what was [`joined`], a line for each row. A secret over the end of a row stands where it began.
pub(crate) fn screen(text: &str, ends: &[usize], spots: &Spots) -> String {
    let whole = |cut: &usize| {
        let spot = spots.iter().find(|(spot, _)| spot.start < *cut && *cut < spot.end);
        spot.map_or(*cut, |(spot, _)| spot.end)
    };
    let mut cuts: Vec<usize> = ends.iter().map(whole).chain([text.len()]).collect();
    cuts.dedup();
    let (mut out, mut at) = (Vec::new(), 0);
    for cut in cuts {
        let (shown, next) = part(text.as_bytes(), at..cut.max(at), spots);
        out.extend(shown);
        if out.last().is_some_and(|last| *last != b'\n') {
            out.push(b'\n');
        }
        at = next;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_piece_shows_a_part_of_a_secret() {
        let text = b"one SECRET two";
        let spots = [(4..10, "[x]".to_owned())];
        for from in 0..=text.len() {
            for to in from..=text.len() {
                let (shown, next) = part(text, from..to, &spots);
                let shown = String::from_utf8(shown).unwrap();
                assert!(!shown.bytes().any(|byte| b"SECRT".contains(&byte)), "{from}..{to}: {shown}");
                assert!(next >= to);
                let (rest, _) = part(text, next..text.len(), &spots);
                assert!(!String::from_utf8(rest).unwrap().contains('R'), "{from}..{to}");
            }
        }
        assert_eq!(part(text, 0..7, &spots), (b"one [x]".to_vec(), 10));
    }

    #[test]
    fn a_row_that_is_full_goes_on_in_the_next() {
        let rows = ["key=SEC", "RETS on", "ok"].map(str::to_owned);
        let (text, ends) = joined(&rows, 7);
        assert_eq!(text, "key=SECRETS onok\n");
        let spots = [(4..11, "[x]".to_owned())];
        assert_eq!(screen(&text, &ends, &spots), "key=[x]\n on\nok\n");
        assert_eq!(screen(&text, &ends, &[]), "key=SEC\nRETS on\nok\n");
        let (text, ends) = joined(&rows[..2], 7);
        assert_eq!(screen(&text, &ends, &[]), "key=SEC\nRETS on\n");
        assert_eq!(screen("", &[], &[]), "");
    }
}
