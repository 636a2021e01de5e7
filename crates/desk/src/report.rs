//! Small things that several replies share: texts cut short, patterns, encodings.
//!
//! Start anywhere.

use crate::Stop;
use regex::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take.
const PATTERN_BYTES: usize = 4 << 20;

/// The first characters, with dots where there are more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// A file that must be text.
pub(crate) fn text_of(path: &str, bytes: Vec<u8>) -> Result<String, Stop> {
    String::from_utf8(bytes).map_err(|error| {
        Stop::failed(format!("{path} is not UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
    })
}

/// A pattern as somebody wrote it.
pub(crate) fn pattern(text: &str, case_sensitive: bool) -> Result<Regex, Stop> {
    let built = RegexBuilder::new(text)
        .case_insensitive(!case_sensitive)
        .multi_line(true)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .build();
    built.map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Stop::failed(format!("invalid regular expression `{}`: {why}", cut(text, 200)))
    })
}

/// How a file's bytes are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Latin1,
    Ascii,
}

impl Encoding {
    pub(crate) fn named(name: &str) -> Result<Self, Stop> {
        match name.to_lowercase().replace('_', "-").as_str() {
            "utf-8" | "utf8" | "utf-8-sig" => Ok(Self::Utf8),
            "latin-1" | "latin1" | "iso-8859-1" | "cp1252" | "windows-1252" => Ok(Self::Latin1),
            "ascii" | "us-ascii" => Ok(Self::Ascii),
            _ => Err(Stop::failed(format!("unknown encoding `{}`: utf-8, latin-1 or ascii", cut(name, 40)))),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Latin1 => "latin-1",
            Self::Ascii => "ascii",
        }
    }

    /// The text; what is not of the encoding is read as Latin-1, of which every byte is a character.
    pub(crate) fn read(self, bytes: Vec<u8>) -> (String, Self) {
        let latin = |bytes: &[u8]| (bytes.iter().map(|byte| *byte as char).collect(), Self::Latin1);
        match self {
            Self::Latin1 => latin(&bytes),
            Self::Ascii if !bytes.is_ascii() => latin(&bytes),
            Self::Utf8 | Self::Ascii => match String::from_utf8(bytes) {
                Ok(text) => (text, self),
                Err(error) => latin(error.as_bytes()),
            },
        }
    }

    /// The bytes; a character the encoding lacks is said.
    pub(crate) fn written(self, text: &str) -> Result<Vec<u8>, Stop> {
        let most = match self {
            Self::Utf8 => return Ok(text.as_bytes().to_vec()),
            Self::Latin1 => 0xff,
            Self::Ascii => 0x7f,
        };
        let byte = |c: char| u8::try_from(u32::from(c)).ok().filter(|byte| *byte <= most).ok_or(c);
        text.chars().map(byte).collect::<Result<_, _>>().map_err(|c| {
            Stop::failed(format!(
                "{} has no character U+{:04X}: write it as utf-8",
                self.name(),
                u32::from(c)
            ))
        })
    }
}
