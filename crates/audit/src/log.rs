//! The signed log: numbered lines, each over the one before it, each with an Ed25519 signature. Most of them name the
//! heads of streams, so that whoever rewrites a stream, hashes included, contradicts a line.
//!
//! Who can write the log but not sign it can only take lines off its end, or all of them: that shows by a head that was kept
//! elsewhere, see [`taken_back`]. Knows bytes, no file. Start at [`Signer::line`] and [`read`].

use contract::{Digest, Seq, StreamId, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Lines from here on are signed with this key.
    Key {
        /// It, in hexadecimal.
        public: String,
    },
    /// Where streams stood.
    Heads {
        /// Stream, number of its last event, its chain hash.
        heads: Vec<(StreamId, Seq, Digest)>,
    },
    /// Something a person did that belongs to no session.
    Config {
        /// What, such as `auth-set`.
        what: String,
        /// To what; never a secret.
        target: String,
    },
    /// Lines that stood here are gone: the log goes on without them, or begins anew.
    Gap {
        /// How many there were.
        lines: u64,
        /// The chain hash of the last of them.
        last: Digest,
        /// The key they were signed with, in hexadecimal.
        key: String,
    },
    /// A copy was made, and this is what it holds.
    Export {
        /// Lines of the log in it.
        lines: u64,
        /// The chain hash of the last of them.
        last: Digest,
        /// Stream, number of its last event, its chain hash.
        streams: Vec<(StreamId, Seq, Digest)>,
    },
}

/// A line's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// 1, 2, 3 ...
    pub n: u64,
    /// Chain hash of the line before; zeros for the first.
    pub prev: Digest,
    /// When.
    pub at: Timestamp,
    /// What.
    pub act: Act,
}

/// Where the log stands. Whoever keeps it elsewhere, as `7:ab12...`, knows later whether the log still goes on from there:
/// a log that was put back to an older state as a whole, journal and all, contradicts nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tip {
    /// Lines so far.
    pub n: u64,
    /// Chain hash of the last.
    pub hash: Digest,
}

impl std::fmt::Display for Tip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.n, self.hash)
    }
}

impl std::str::FromStr for Tip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(n, hash)| Some((n.parse().ok()?, hash.parse().ok()?)));
        let (n, hash) = parts
            .ok_or("a head is a number, a colon and 64 hexadecimal digits, as `audit verify` prints it")?;
        Ok(Self { n, hash })
    }
}

/// What a line says of a stream's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Its chain hash.
    pub hash: Digest,
    /// The line.
    pub line: u64,
}

/// All that lines say of each stream's events.
pub type Anchors = BTreeMap<StreamId, BTreeMap<Seq, Anchor>>;

/// What is wrong with a log, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

/// Signs lines.
pub struct Signer(Ed25519KeyPair);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.public())
    }
}

/// A new key, to be kept where only its owner reads it.
pub fn new_key() -> Option<Vec<u8>> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok()?;
    Some(document.as_ref().to_vec())
}

impl Signer {
    /// With a key that [`new_key`] made.
    pub fn new(pkcs8: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_pkcs8(pkcs8).ok().map(Self)
    }

    /// The public half, in hexadecimal.
    pub fn public(&self) -> String {
        hex(self.0.public_key().as_ref())
    }

    /// The line after `tip`, without its line end, and where the log stands then.
    pub fn line(&self, tip: Tip, at: Timestamp, act: Act) -> (String, Tip) {
        let body = Body { n: tip.n + 1, prev: tip.hash, at, act };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let line = format!("{OPEN}{}{MIDDLE}{text}}}", hex(self.0.sign(text.as_bytes()).as_ref()));
        let next = Tip { n: body.n, hash: Digest::of(line.as_bytes()) };
        (line, next)
    }
}

const OPEN: &str = "{\"sig\":\"";
const MIDDLE: &str = "\",\"body\":";
/// Hexadecimal digits of a signature.
const SIGNATURE: usize = 128;

/// Signature and signed text of a line.
fn parts(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix(OPEN)?;
    let (signature, rest) = (rest.get(..SIGNATURE)?, rest.get(SIGNATURE..)?);
    Some((signature, rest.strip_prefix(MIDDLE)?.strip_suffix('}')?))
}

/// A line whose signature holds by this key.
pub fn signed(line: &str, public: &str) -> Result<Body, String> {
    let (signature, text) = parts(line).ok_or("it is not a line of this log")?;
    let (signature, key) = (bytes(signature), bytes(public));
    let (Some(signature), Some(key)) = (signature, key) else { return Err("it is not signed".into()) };
    UnparsedPublicKey::new(&ED25519, key)
        .verify(text.as_bytes(), &signature)
        .map_err(|_| "its signature does not hold".to_owned())?;
    serde_json::from_str(text).map_err(|error| format!("it cannot be read: {error}"))
}

/// The lines of a log, checked: numbers, chain, signatures. `pinned`: the only key that may have begun it. What comes
/// after the first flaw is not read.
pub fn read(text: &str, pinned: Option<&str>) -> (Vec<Body>, Tip, Option<Flaw>) {
    let (mut bodies, mut tip, mut key) = (Vec::new(), Tip::default(), pinned.map(str::to_owned));
    for (line, n) in lines(text).zip(1..) {
        let flaw = |problem: String| Some(Flaw { line: n, problem });
        let introduced =
            parts(line).and_then(|(_, text)| match serde_json::from_str::<Body>(text).ok()?.act {
                Act::Key { public } => Some(public),
                _ => None,
            });
        if n == 1 && key.is_none() {
            key.clone_from(&introduced);
        }
        let Some(public) = &key else { return (bodies, tip, flaw("it names no key".into())) };
        let body = match signed(line, public) {
            Ok(body) => body,
            Err(problem) => return (bodies, tip, flaw(problem)),
        };
        if (body.n, body.prev) != (tip.n + 1, tip.hash) {
            let problem = format!(
                "it says it is line {} after {}: lines are missing or moved",
                body.n,
                body.prev.short()
            );
            return (bodies, tip, flaw(problem));
        }
        // A new key is introduced by the old one.
        key = introduced.or(key);
        tip = Tip { n, hash: Digest::of(line.as_bytes()) };
        bodies.push(body);
    }
    let torn = !text.is_empty() && !text.ends_with('\n');
    let flaw = torn.then(|| Flaw { line: tip.n, problem: "its end is missing".into() });
    (bodies, tip, flaw)
}

/// The lines of a log's text. Nothing is taken off their ends: that would be a change nobody sees.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_terminator('\n')
}

/// What the lines say of each stream last, in order.
pub fn heads(bodies: &[Body]) -> BTreeMap<StreamId, (Seq, Digest)> {
    named(bodies).map(|(_, stream, seq, hash)| (stream, (seq, hash))).collect()
}

/// What all lines say of each stream, and the lines that contradict an earlier one.
pub fn anchors(bodies: &[Body]) -> (Anchors, Vec<Flaw>) {
    let (mut anchors, mut flaws) = (Anchors::new(), Vec::new());
    for (line, stream, seq, hash) in named(bodies) {
        let first = *anchors.entry(stream).or_default().entry(seq).or_insert(Anchor { hash, line });
        if first.hash != hash {
            let problem =
                format!("it says of event {seq} of {stream} another thing than line {} does", first.line);
            flaws.push(Flaw { line, problem });
        }
    }
    (anchors, flaws)
}

fn named(bodies: &[Body]) -> impl Iterator<Item = (u64, StreamId, Seq, Digest)> {
    bodies.iter().flat_map(|body| {
        let heads = if let Act::Heads { heads } = &body.act { &heads[..] } else { &[] };
        heads.iter().map(|(stream, seq, hash)| (body.n, *stream, *seq, *hash))
    })
}

/// The first event of a stream that is not as some line says, by its chain hashes from the first event on.
pub fn contradiction(hashes: &[Digest], anchors: &BTreeMap<Seq, Anchor>) -> Option<(Seq, String)> {
    anchors.iter().find_map(|(seq, Anchor { hash, line })| {
        let is = usize::try_from(*seq).ok().and_then(|seq| hashes.get(seq.checked_sub(1)?));
        let problem = match is {
            Some(is) if is == hash => return None,
            Some(_) => {
                format!("it is not the event that line {line} of the log signed: the stream was written anew")
            }
            None => {
                format!(
                    "it ends after event {}; line {line} of the log signed {seq}: its end is missing",
                    hashes.len()
                )
            }
        };
        Some((*seq, problem))
    })
}

/// What is wrong with a log by a head of it that was kept elsewhere.
pub fn taken_back(bodies: &[Body], tip: Tip, kept: Tip) -> Option<Flaw> {
    let at = usize::try_from(kept.n).unwrap_or(usize::MAX);
    let hash = if kept.n == tip.n { Some(tip.hash) } else { bodies.get(at).map(|next| next.prev) };
    let problem = match hash {
        Some(hash) if hash == kept.hash => return None,
        Some(_) => {
            "it is not the line whose head was kept: the log was written anew, or begun anew".to_owned()
        }
        None => format!(
            "it has {} sound lines, and the head of line {} was kept: its end is missing",
            tip.n, kept.n
        ),
    };
    Some(Flaw { line: kept.n, problem })
}

/// The lines behind `since` that say that lines are gone.
pub fn gaps(bodies: &[Body], since: u64) -> Vec<Flaw> {
    let gap = |body: &Body| match &body.act {
        Act::Gap { lines, key, .. } => {
            let problem = format!("at {} a log of {lines} lines was gone, or its end (key {key})", body.at);
            Some(Flaw { line: body.n, problem })
        }
        _ => None,
    };
    bodies.iter().filter(|body| body.n > since).filter_map(gap).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    if hex.is_ascii() && hex.len().is_multiple_of(2) {
        (0..hex.len()).step_by(2).map(pair).collect()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(acts: usize) -> (Vec<String>, Signer) {
        let signer = Signer::new(&new_key().unwrap()).unwrap();
        let mut tip = Tip::default();
        let mut lines = Vec::new();
        for n in 0..=acts {
            let config = Act::Config { what: "auth-set".into(), target: n.to_string() };
            let act = if n == 0 { Act::Key { public: signer.public() } } else { config };
            let (line, next) = signer.line(tip, Timestamp(n as u64), act);
            lines.push(line);
            tip = next;
        }
        (lines, signer)
    }

    fn text(lines: &[String]) -> String {
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn an_untouched_log_is_sound_and_any_change_is_found() {
        let (lines, signer) = log(4);
        let (bodies, tip, flaw) = read(&text(&lines), Some(&signer.public()));
        assert_eq!((bodies.len(), tip.n, flaw), (5, 5, None));
        let at = |lines: &[String]| read(&text(lines), None).2.map(|flaw| flaw.line);
        for n in 0..lines[2].len() {
            let mut changed = lines.clone();
            let mut bytes = changed[2].clone().into_bytes();
            bytes[n] ^= 1;
            changed[2] = String::from_utf8_lossy(&bytes).into_owned();
            assert!(at(&changed).is_some(), "byte {n}");
        }
        let mut cut = lines.clone();
        cut.remove(2);
        assert_eq!(at(&cut), Some(3));
        let mut moved = lines.clone();
        moved.swap(2, 3);
        assert_eq!(at(&moved), Some(3));
        let whole = text(&lines);
        assert!(read(&whole[..whole.len() - 1], None).2.is_some());
        let (others, _) = log(4);
        assert!(read(&text(&others), Some(&signer.public())).2.is_some(), "signed by somebody else");
        assert!(
            read(&whole[..whole.len() - lines[4].len() - 1], None).1.n < tip.n,
            "what is cut off is not there"
        );
    }
}
