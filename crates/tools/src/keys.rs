//! Names of keys as the bytes a terminal sends for them.
//! Knows nothing of jobs. Start at [`bytes`].

/// Named keys (ECMA-48 and xterm's function keys).
const NAMED: [(&str, &str); 31] = [
    ("enter", "\r"),
    ("return", "\r"),
    ("tab", "\t"),
    ("escape", "\x1b"),
    ("esc", "\x1b"),
    ("space", " "),
    ("backspace", "\x7f"),
    ("delete", "\x1b[3~"),
    ("insert", "\x1b[2~"),
    ("up", "\x1b[A"),
    ("down", "\x1b[B"),
    ("right", "\x1b[C"),
    ("left", "\x1b[D"),
    ("home", "\x1b[H"),
    ("end", "\x1b[F"),
    ("pageup", "\x1b[5~"),
    ("pagedown", "\x1b[6~"),
    ("shift-tab", "\x1b[Z"),
    ("f1", "\x1bOP"),
    ("f2", "\x1bOQ"),
    ("f3", "\x1bOR"),
    ("f4", "\x1bOS"),
    ("f5", "\x1b[15~"),
    ("f6", "\x1b[17~"),
    ("f7", "\x1b[18~"),
    ("f8", "\x1b[19~"),
    ("f9", "\x1b[20~"),
    ("f10", "\x1b[21~"),
    ("f11", "\x1b[23~"),
    ("f12", "\x1b[24~"),
    ("ctrl-space", "\0"),
];

/// The bytes of a key: one of the names, `ctrl-` and a letter, `alt-` and a key, or a single character.
pub(crate) fn bytes(key: &str) -> Result<Vec<u8>, String> {
    let lower = key.to_ascii_lowercase();
    if let Some((_, bytes)) = NAMED.iter().find(|(name, _)| *name == lower) {
        return Ok(bytes.as_bytes().to_vec());
    }
    if let Some(letter) = lower.strip_prefix("ctrl-").or_else(|| lower.strip_prefix("c-"))
        && let [letter @ (b'a'..=b'z' | b'[' | b'\\' | b']' | b'^' | b'_')] = letter.as_bytes()
    {
        return Ok(vec![letter & 0x1f]);
    }
    if let Some(rest) = key.get(..4).filter(|start| start.eq_ignore_ascii_case("alt-")).map(|_| &key[4..]) {
        return Ok([vec![0x1b], bytes(rest)?].concat());
    }
    if key.chars().count() == 1 {
        return Ok(key.as_bytes().to_vec());
    }
    Err(format!(
        "`{key}` is not the name of a key; there are enter, tab, escape, up, ctrl-c, alt-x, f5 and the like"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_a_terminal_sends() {
        for (key, expected) in [
            ("enter", "\r"),
            ("Enter", "\r"),
            ("ctrl-c", "\x03"),
            ("C-d", "\x04"),
            ("ctrl-[", "\x1b"),
            ("alt-x", "\x1bx"),
            ("up", "\x1b[A"),
            ("q", "q"),
            ("ü", "ü"),
            (":", ":"),
            ("alt-enter", "\x1b\r"),
        ] {
            assert_eq!(bytes(key), Ok(expected.as_bytes().to_vec()), "{key}");
        }
        for wrong in ["", "ctrl-", "ctrl-ü", "entr", "alt-", "ab"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
