//! Path names as text, whatever bytes they are made of, and back.
//! Knows nothing of files. Start at [`show`].
//!
//! The convention: a byte that is not UTF-8, a control character and a character that hides or turns text
//! around are written `\xNN`, byte by byte; a backslash is written `\\`. Read back, any other backslash is
//! itself, so that a plain name works as it is.

use crate::args::refuse;
use crate::view;
use contract::Fault;
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The name on one line, in text that [`parse`] turns into the same bytes.
pub(crate) fn show(path: &Path) -> String {
    let mut out = String::new();
    let escape = |out: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing to a String cannot fail.
            let _infallible = write!(out, "\\x{byte:02x}");
        }
    };
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() || view::is_hidden(c) => {
                    escape(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes())
                }
                c => out.push(c),
            }
        }
        escape(&mut out, chunk.invalid());
    }
    out
}

/// The name that this text means.
pub(crate) fn parse(text: &str) -> Result<PathBuf, Fault> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        out.push(*first);
        if *first != b'\\' {
            continue;
        }
        let hex = |byte: u8| char::from(byte).to_digit(16);
        match *after {
            [b'\\', ..] => rest = &after[1..],
            [b'x', high, low, ..] => {
                if let (Some(high), Some(low)) = (hex(high), hex(low)) {
                    out.pop();
                    // Two hexadecimal digits fit a byte.
                    out.push((high << 4 | low) as u8);
                    rest = &after[3..];
                }
            }
            _ => {}
        }
    }
    if out.is_empty() {
        return Err(refuse("the path is empty"));
    }
    if out.contains(&0) {
        return Err(refuse("the path holds a zero byte"));
    }
    Ok(OsString::from_vec(out).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_bytes_round_trip() {
        let mut names: Vec<Vec<u8>> = (1..=255).map(|byte| vec![b'a', byte, b'b']).collect();
        names.extend([
            b"\\x41".to_vec(),
            b"\\\\".to_vec(),
            b"x\\".to_vec(),
            "ü\u{202e}\n".as_bytes().to_vec(),
        ]);
        for name in names {
            let path = PathBuf::from(OsString::from_vec(name));
            let shown = show(&path);
            assert!(!shown.contains(|c: char| c.is_control()), "{shown}");
            assert_eq!(parse(&shown).unwrap(), path, "{shown}");
        }
    }

    #[test]
    fn plain_backslashes_need_no_care() {
        for (text, path) in [(r"a\b", r"a\b"), (r"\x4", r"\x4"), (r"\xzz", r"\xzz"), (r"\x41", "A")] {
            assert_eq!(parse(text).unwrap(), Path::new(path));
        }
        assert!(parse("").is_err());
        assert!(parse("a\0").is_err());
        assert!(parse(r"a\x00").is_err());
    }
}
