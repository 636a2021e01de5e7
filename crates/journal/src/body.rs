//! The records of a frame as they stand in its row: plain, or packed with what every record says.
//!
//! Packed bytes give back exactly the plain ones, which are what is hashed. Knows no SQL and no events, but which words
//! stand in most of them. Start at [`pack`]; the way back is [`unpack`].

/// As they are: every row of store schema 1.
pub(crate) const PLAIN: i64 = 0;
/// [`shorten`]ed, then an LZ4 block beside [`WORDS`]; before it the length of what comes out, in groups of 7 bits.
pub(crate) const WORDED: i64 = 1;

/// In shortened bytes: 32 bytes follow, which were 64 hex digits in quotes.
const DIGEST: u8 = 1;
/// 16 bytes follow, which were the id of a session or an intent in quotes.
const ID: u8 = 2;
/// One byte follows, which is meant as it stands.
const ITSELF: u8 = 3;
/// Bytes of a digest and of an id, with their quotes.
const DIGEST_TEXT: usize = 66;
const ID_TEXT: usize = 38;
/// The longest shortened bytes that are packed, and the most a damaged length can ask for: a longer frame is as rare
/// as it is large.
const MOST: usize = 1024 * 1024;
/// Bytes of such a length.
const LENGTH_MOST: usize = 3;

/// How these bytes are best kept: a codec, and them in it.
pub(crate) fn pack(plain: Vec<u8>) -> (i64, Vec<u8>) {
    match worded(&plain).filter(|packed| packed.len() < plain.len()) {
        Some(packed) => (WORDED, packed),
        None => (PLAIN, plain),
    }
}

fn worded(plain: &[u8]) -> Option<Vec<u8>> {
    let short = shorten(plain);
    if short.len() > MOST {
        return None;
    }
    let mut packed = Vec::with_capacity(LENGTH_MOST + lz4_flex::block::get_maximum_output_size(short.len()));
    length(short.len(), &mut packed);
    let begin = packed.len();
    packed.resize(packed.capacity(), 0);
    let size = lz4_flex::block::compress_into_with_dict(&short, &mut packed[begin..], WORDS).ok()?;
    packed.truncate(begin + size);
    Some(packed)
}

/// The plain bytes again; `None` when these are not what [`pack`] gives.
pub(crate) fn unpack(codec: i64, bytes: Vec<u8>) -> Option<Vec<u8>> {
    match codec {
        PLAIN => Some(bytes),
        WORDED => {
            let (size, block) = claimed(&bytes)?;
            if size > MOST {
                return None;
            }
            let mut short = vec![0; size];
            let found = lz4_flex::block::decompress_into_with_dict(block, &mut short, WORDS).ok()?;
            if found == size { lengthen(&short) } else { None }
        }
        _ => None,
    }
}

/// Writes a length in groups of 7 bits, the lowest first; the highest bit says that more follow.
fn length(mut size: usize, out: &mut Vec<u8>) {
    while size > 0x7f {
        out.push(size as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
}

/// Such a length, and what comes after it.
fn claimed(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().take(LENGTH_MOST).position(|byte| byte & 0x80 == 0)?;
    let (head, rest) = bytes.split_at(end + 1);
    let size = head.iter().rev().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    Some((size, rest))
}

/// With digests and ids as bytes: hex digits are twice as long, and nothing else makes them shorter.
fn shorten(plain: &[u8]) -> Vec<u8> {
    let mut short = Vec::with_capacity(plain.len());
    let mut rest = plain;
    while let Some(at) = rest.iter().position(|byte| matches!(*byte, b'"' | DIGEST..=ITSELF)) {
        short.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if let Some(digest) = rest.get(..DIGEST_TEXT).and_then(hex::<32>) {
            short.push(DIGEST);
            short.extend_from_slice(&digest);
            rest = &rest[DIGEST_TEXT..];
        } else if let Some(id) = rest.get(..ID_TEXT).and_then(uuid) {
            short.push(ID);
            short.extend_from_slice(&id);
            rest = &rest[ID_TEXT..];
        } else {
            if rest[0] != b'"' {
                short.push(ITSELF);
            }
            short.push(rest[0]);
            rest = &rest[1..];
        }
    }
    short.extend_from_slice(rest);
    short
}

/// And back; `None` when it ends in the middle of something.
fn lengthen(short: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(2 * short.len());
    let mut rest = short;
    while let Some(at) = rest.iter().position(|byte| matches!(*byte, DIGEST..=ITSELF)) {
        plain.extend_from_slice(&rest[..at]);
        let (mark, after) = rest[at..].split_first()?;
        rest = match *mark {
            DIGEST => {
                let (digest, after) = after.split_first_chunk::<32>()?;
                quoted(&mut plain, digest, &[]);
                after
            }
            ID => {
                let (id, after) = after.split_first_chunk::<16>()?;
                quoted(&mut plain, id, &HYPHENS);
                after
            }
            _ => {
                let (byte, after) = after.split_first()?;
                plain.push(*byte);
                after
            }
        };
    }
    plain.extend_from_slice(rest);
    Some(plain)
}

/// Bytes of an id before which a hyphen stands.
const HYPHENS: [usize; 4] = [4, 6, 8, 10];

/// In quotes, as lowercase hex digits with hyphens before these bytes.
fn quoted(out: &mut Vec<u8>, bytes: &[u8], hyphens: &[usize]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for (at, byte) in bytes.iter().enumerate() {
        if hyphens.contains(&at) {
            out.push(b'-');
        }
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    out.push(b'"');
}

/// What is quoted here, when it is `N` bytes as lowercase hex digits and nothing else.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digits = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut out = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (slot, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *slot = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

/// Likewise, when it is a UUID as Kapell writes it.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    if [text[0], text[9], text[14], text[19], text[24], text[37]] != *b"\"----\"" {
        return None;
    }
    let mut digits = [b'"'; 34];
    let mut next = 1;
    for part in [&text[1..9], &text[10..14], &text[15..19], &text[20..24], &text[25..37]] {
        digits[next..next + part.len()].copy_from_slice(part);
        next += part.len();
    }
    hex(&digits)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// What stands in most records; what is met most often comes last. Part of the format for ever: other words are another
/// codec.
const WORDS: &[u8] = include_bytes!("words-1.txt");

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Digest;

    fn round(plain: &[u8]) -> (i64, usize) {
        let (codec, bytes) = pack(plain.to_vec());
        let size = bytes.len();
        assert_eq!(unpack(codec, bytes).as_deref(), Some(plain));
        (codec, size)
    }

    #[test]
    fn words_are_for_ever() {
        let written = "0214c858faad5a4e070b86aa010bdf785bd06342924fcc96a804970f4af0c2d9";
        assert_eq!(Digest::of(WORDS).to_string(), written, "rows that were packed with the others are lost");
    }

    #[test]
    fn what_is_in_the_way_of_the_marks_comes_back_too() {
        let digest = Digest::of(b"x").to_string();
        let id = "01a1f791-19db-7000-8000-000000000000";
        for plain in [
            String::new(),
            "\u{1}\u{2}\u{3}\"\"".repeat(40),
            format!("{{\"a\":\"{digest}\",\"b\":\"{id}\"}}"),
            format!("\"{digest}"),
            format!("\"{id}"),
            format!("\"{}\"\"{}\"", digest.to_uppercase(), id.to_uppercase()),
            format!("\"{}\"", id.replace('-', "a")),
            format!("\"{digest}\"{digest}\"{id}\"{id}\""),
        ] {
            round(plain.as_bytes());
        }
    }

    /// The frame of one step: an outcome, the next choice, its start.
    const STEP: [&str; 3] = [
        r#"{"v":1,"seq":46,"at":"2026-11-20T06:07:24.123Z","event":{"finished":{"outcome":{"action":"1.15","attempt":1,"end":{"done":{"ran":{"results":[{"call":"toolu_01A","ok":true,"text":"TEXT","bytes":1312}]}}},"used":{"steps":1,"time_ms":7}}}}}"#,
        r#"{"v":1,"seq":47,"at":"2026-11-20T06:07:24.123Z","event":{"selected":{"action":"1.16","source":"main-loop","wish":"continue","why":"next in the workflow"}}}"#,
        r#"{"v":1,"seq":48,"at":"2026-11-20T06:07:24.123Z","event":{"started":{"action":"1.16","attempt":1,"work":{"tools":{"calls":[{"id":"toolu_01B","tool":"search","args":"ARGS","class":"pure","why":"only reads","hash":"HASH"}]}},"class":"pure","why":"only reads","deadline":"2026-11-20T06:08:24.123Z","fence":1}}}"#,
    ];

    #[test]
    fn a_step_takes_a_third_of_its_bytes() {
        let digest = |word: &str| Digest::of(word.as_bytes()).to_string();
        let filled = |record: &str| {
            ["TEXT", "ARGS", "HASH"]
                .iter()
                .fold(record.to_owned(), |record, word| record.replace(word, &digest(word)))
        };
        let plain = crate::frame::join(&STEP.map(|record| filled(record).into_bytes()));
        let (codec, size) = round(&plain);
        assert_eq!(codec, WORDED);
        // Three digests of 32 bytes among them, which nothing makes shorter.
        assert!(size * 3 < plain.len(), "{size} of {}", plain.len());
    }

    #[test]
    fn what_nobody_packed_is_refused() {
        let (_, packed) = pack(STEP[0].as_bytes().to_vec());
        for cut in 0..packed.len() {
            assert_ne!(unpack(WORDED, packed[..cut].to_vec()).as_deref(), Some(STEP[0].as_bytes()));
        }
        assert_eq!(unpack(2, packed), None, "a codec of a later version");
        assert_eq!(unpack(WORDED, vec![0xff; 4]), None);
        assert_eq!(unpack(WORDED, vec![0xff, 0xff, 0x3f, 0]), None, "more than these bytes can stand for");
    }
}
