//! What holds for every text: nothing known is left, nothing is done twice, pieces give what the whole gives.
//!
//! Start at the properties below.

use crate::{Redactor, Secret, Stream};
use proptest::prelude::*;
use std::sync::Arc;

const KNOWN: &str = "canary-7f3kQz81LmPw9xVt4";

fn redactor() -> Redactor {
    Redactor::new(Secret::new("CANARY", KNOWN))
}

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(KNOWN.to_owned()),
        Just("token = \"".to_owned()),
        Just("API_KEY=".to_owned()),
        Just("https://a:".to_owned()),
        Just("@h".to_owned()),
        Just("\n".to_owned()),
        "[a-zA-Z0-9 =:/é\"-]{0,30}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(corpus::cases(300))]

    #[test]
    fn nothing_known_is_left(text in texts()) {
        let clean = redactor().text(&text).into_owned();
        prop_assert!(!clean.contains(KNOWN), "{}", clean);
    }

    #[test]
    fn what_is_clean_stays_as_it_is(text in texts()) {
        let redactor = redactor();
        let once = redactor.text(&text).into_owned();
        prop_assert_eq!(redactor.text(&once).into_owned(), once);
    }

    #[test]
    fn pieces_never_show_what_the_whole_hides(text in texts(), at in 0usize..200) {
        let redactor = Arc::new(redactor());
        let at = text.floor_char_boundary(at.min(text.len()));
        let mut stream = Stream::new(redactor);
        let shown = [stream.push(&text[..at]), stream.push(&text[at..]), stream.end()].concat();
        prop_assert!(!shown.contains(KNOWN), "{}", shown);
    }
}
