//! The first words of a TLS connection (RFC 8446, section 4.1.2): which server they are for (RFC 6066, section 3).
//! Knows nothing else of TLS. Start at [`server`].
//!
//! A name hidden inside (encrypted client hello) is not seen: the one outside counts, and who answers to it is the listed
//! host itself.

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Not enough yet.
    More,
    /// Words for this server.
    Name(String),
    /// Words that name no server.
    NoName,
    /// Not the first words of TLS.
    Other,
}

/// More than the first words of any program take.
const MOST: usize = 64 * 1024;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// Looks at everything said so far.
pub(super) fn server(bytes: &[u8]) -> Said {
    if bytes.len() > MOST || bytes.first().is_some_and(|kind| *kind != HANDSHAKE) {
        return Said::Other;
    }
    let Some(words) = joined(bytes) else { return Said::More };
    match hello(&words) {
        Some(said) => said,
        None => Said::Other,
    }
}

/// The handshake message out of its records, once it is whole.
fn joined(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut words = Vec::new();
    loop {
        if let [_, a, b, c, rest @ ..] = words.as_slice() {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if rest.len() >= length {
                words.truncate(4 + length);
                return Some(words);
            }
        }
        let [HANDSHAKE, _, _, high, low, rest @ ..] = bytes else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // A record that is empty could go on for ever; one that is not whole yet is waited for.
        let (record, after) = rest.split_at_checked(length.max(1))?;
        words.extend_from_slice(record);
        bytes = after;
    }
}

/// `None`: it is not what it says it is.
fn hello(words: &[u8]) -> Option<Said> {
    let mut read = Reader(words);
    if read.take(1)? != [CLIENT_HELLO] {
        return None;
    }
    read.take(3)?;
    // Version and random bytes; then the session, ciphers and compressions, each with its length.
    read.take(2 + 32)?;
    read.sized(1)?;
    read.sized(2)?;
    read.sized(1)?;
    if read.0.is_empty() {
        return Some(Said::NoName);
    }
    let mut extensions = Reader(read.sized(2)?);
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut body = Reader(extensions.sized(2)?);
        if kind == usize::from(SERVER_NAME) {
            let mut names = Reader(body.sized(2)?);
            if names.take(1)? != [HOST_NAME] {
                return None;
            }
            let name = std::str::from_utf8(names.sized(2)?).ok()?;
            return Some(Said::Name(name.trim_end_matches('.').to_owned()));
        }
    }
    Some(Said::NoName)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// What follows its own length.
    fn sized(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn sized(bytes: usize, body: &[u8]) -> Vec<u8> {
        [&body.len().to_be_bytes()[8 - bytes..], body].concat()
    }

    /// The first words for a server, in records of this many bytes.
    pub(in super::super) fn said(name: Option<&str>, record: usize) -> Vec<u8> {
        let names =
            |name: &str| sized(2, &sized(2, &[&[HOST_NAME][..], &sized(2, name.as_bytes())].concat()));
        let other = [&[0, 43][..], &sized(2, &[2, 3, 4])].concat();
        let own = name.map(|name| [&[0, 0][..], &names(name)].concat()).unwrap_or_default();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &sized(1, &[1; 32]),
            &sized(2, &[0x13, 1]),
            &sized(1, &[0]),
            &sized(2, &[other, own].concat()),
        ]
        .concat();
        let message = [&[CLIENT_HELLO][..], &sized(3, &body)].concat();
        message.chunks(record).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &sized(2, part)].concat()).collect()
    }

    #[test]
    fn the_name_is_found_however_it_is_cut() {
        for record in [1, 7, 50, 9_999] {
            let bytes = said(Some("Some.Example"), record);
            for cut in 0..bytes.len() {
                assert_eq!(server(&bytes[..cut]), Said::More, "{record} {cut}");
            }
            assert_eq!(server(&bytes), Said::Name("Some.Example".into()));
            let more = [bytes, b"more".to_vec()].concat();
            assert_eq!(server(&more), Said::Name("Some.Example".into()));
        }
        assert_eq!(server(&said(None, 99)), Said::NoName);
    }

    #[test]
    fn anything_else_is_something_else() {
        for other in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-x", &[HANDSHAKE, 3, 1, 0, 5, 2, 0, 0, 1, 0]] {
            assert_eq!(server(other), Said::Other);
        }
        let mut torn = said(Some("a.example"), 9_999);
        let at = torn.len() - 12;
        torn[at] = 0xff;
        assert_ne!(server(&torn), Said::Name("a.example".into()));
        assert_eq!(server(&vec![HANDSHAKE; MOST + 1]), Said::Other);
    }
}
