//! The signed log: numbered lines, each over the one before it, each with an Ed25519 signature. Most of them name the
//! heads of streams, so that whoever rewrites a stream, hashes included, contradicts a line.
//!
//! Knows bytes, no file. Start at [`Signer::line`] and [`read`].

use contract::{Digest, Seq, StreamId, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

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

/// Where the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tip {
    /// Lines so far.
    pub n: u64,
    /// Chain hash of the last.
    pub hash: Digest,
}

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
    for (line, n) in text.lines().zip(1..) {
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

/// What the lines say of each stream last, in order.
pub fn heads(bodies: &[Body]) -> std::collections::BTreeMap<StreamId, (Seq, Digest)> {
    let named = bodies.iter().filter_map(|body| match &body.act {
        Act::Heads { heads } => Some(heads),
        _ => None,
    });
    named.flatten().map(|(stream, seq, hash)| (*stream, (*seq, *hash))).collect()
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
