//! What must hold of every text, however odd: called by the fuzz target and by the tests.
//!
//! Not part of a build that ships. Start at [`line`].

use crate::{Place, of_script, parse, print};

/// Any bytes are read without panic; what was read prints to a text that reads as the same, and does the same.
pub fn line(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let place = Place { root: "/w/p".into(), home: "/home/me".into() };
    let parsed = parse(&text);
    let first = of_script(&parsed, &place, "/w/p");
    if parsed.trouble.is_some() {
        assert!(first.iter().any(|part| !part.doubts.is_empty()), "trouble is a doubt");
        return;
    }
    let printed = print(&parsed.script);
    let again = parse(&printed);
    // Deeper or longer than the text it came from, it may reach a bound: then it is said.
    if let Some(trouble) = &again.trouble {
        assert!(trouble.contains("deep") || trouble.contains("steps"), "{text:?} -> {printed:?}: {trouble}");
        return;
    }
    assert_eq!(print(&again.script), printed, "{text:?}");
    let words = |parts: &[contract::policy::Part]| {
        parts
            .iter()
            .map(|part| (part.words.clone(), part.doubts.clone(), part.touches.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&of_script(&again, &place, "/w/p")), words(&first), "{text:?} -> {printed:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs() {
        corpus::replay("command", line);
    }

    proptest! {
        #![proptest_config(corpus::cases(400))]

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            line(&bytes);
        }

        #[test]
        fn pieces_of_shell(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..16)) {
            line(pieces.concat().as_bytes());
        }
    }

    const PIECES: &[&str] = &[
        "ls",
        " ",
        "\n",
        ";",
        "&",
        "|",
        "&&",
        "||",
        "(",
        ")",
        "{ ",
        " }",
        "'",
        "\"",
        "\\",
        "$",
        "$(",
        "${",
        "`",
        "<",
        ">",
        "<<E\n",
        "\nE\n",
        "<<<",
        "2>&1",
        "if ",
        " then ",
        " fi",
        "for x in ",
        " do ",
        " done",
        "case ",
        " esac",
        " in ",
        "a=b",
        "a=(",
        "[[ ",
        " ]]",
        "((",
        "))",
        "$((",
        "!",
        "time ",
        "#",
        "~",
        "*",
        "é",
        "f()",
        "=~",
        "env ",
        "bash -c ",
        "xargs ",
        "eval ",
        "rm -rf /",
        "cd x",
        "$x",
        "\"$x\"",
        "function f ",
        "<(",
        "&>",
        "|&",
        "$'\\x41'",
        "git -c a=b ",
    ];
}
