//! Fingerprints of what failed: the same failure, whatever numbers, names and paths it told this time, counted once.
//!
//! Pure. Kapell's own sentences only: what they quote is taken out. Start at [`Faults::add`].

use contract::{Digest, Fault, Kind, SessionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Fingerprints that are kept; of more, those that were last seen longest ago go.
const MOST: usize = 512;
/// Sessions that are named for each.
const SESSIONS: usize = 64;
/// Hex digits of a fingerprint.
const DIGITS: usize = 12;
/// Longest sentence, characters.
const CHARS: usize = 300;

/// A failure that came once or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Its name: 12 hex digits of the digest of kind, code and words.
    pub id: String,
    /// Kind of the fault.
    pub kind: Kind,
    /// Its code.
    pub code: String,
    /// Its sentence, without what differs from time to time.
    pub what: String,
    /// How often it came.
    pub count: u64,
    /// When it came first.
    pub first: Timestamp,
    /// When it came last.
    pub last: Timestamp,
    /// Sessions it came in, oldest first; at most 64 are named.
    pub sessions: BTreeSet<SessionId>,
}

/// Everything that failed.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    all: BTreeMap<String, Fingerprint>,
}

impl Faults {
    /// One more; its fingerprint.
    pub fn add(&mut self, session: SessionId, at: Timestamp, fault: &Fault) -> &Fingerprint {
        let what = normal(&fault.what);
        let name = format!("{}\n{}\n{what}", fault.kind.name(), fault.code);
        let id: String = Digest::of(name.as_bytes()).to_string().chars().take(DIGITS).collect();
        if self.all.len() >= MOST
            && !self.all.contains_key(&id)
            && let Some(oldest) = self.all.values().min_by_key(|one| one.last).map(|one| one.id.clone())
        {
            self.all.remove(&oldest);
        }
        let new = || Fingerprint {
            id: id.clone(),
            kind: fault.kind,
            code: fault.code.clone(),
            what,
            count: 0,
            first: at,
            last: at,
            sessions: BTreeSet::new(),
        };
        let one = self.all.entry(id.clone()).or_insert_with(new);
        one.count += 1;
        one.first = one.first.min(at);
        one.last = one.last.max(at);
        if one.sessions.len() < SESSIONS {
            one.sessions.insert(session);
        }
        one
    }

    /// All of them, the one that came last first.
    pub fn all(&self) -> Vec<&Fingerprint> {
        let mut all: Vec<&Fingerprint> = self.all.values().collect();
        all.sort_by(|a, b| (b.last, &a.id).cmp(&(a.last, &b.id)));
        all
    }
}

/// A sentence without what differs from time to time: numbers, ids, digests, paths, addresses and whatever is quoted. What
/// stands behind a colon is somebody else's word (a provider's, a system's), which may hold anything.
pub fn normal(what: &str) -> String {
    let (own, told) = what.split_once(": ").map_or((what, false), |(own, _)| (own, true));
    let mut out = own_words(own);
    if told {
        out.push_str(": …");
    }
    out
}

fn own_words(what: &str) -> String {
    let mut out = String::with_capacity(what.len());
    let mut rest = what;
    while let Some(c) = rest.chars().next() {
        let quote = matches!(c, '`' | '"' | '\'');
        let inside = &rest[c.len_utf8()..];
        match quote.then(|| inside.find(c)).flatten() {
            // An apostrophe inside of a word quotes nothing.
            Some(end) if c != '\'' || out.is_empty() || out.ends_with([' ', '(', ':']) => {
                out.extend([c, '…', c]);
                rest = &inside[end + c.len_utf8()..];
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '`' | '"' | '(' | ')' | ',' | ';');
                let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
                if word.is_empty() {
                    out.push(if c.is_whitespace() { ' ' } else { c });
                    rest = inside;
                } else {
                    out.push_str(&plain(word));
                    rest = &rest[word.len()..];
                }
            }
        }
    }
    out.chars().take(CHARS).collect()
}

fn plain(word: &str) -> String {
    let bare = word.trim_end_matches([':', '.']);
    let end = &word[bare.len()..];
    if bare.contains("://") {
        return format!("URL{end}");
    }
    if bare.starts_with('/') && bare.len() > 1 || bare.starts_with("./") || bare.matches('/').count() > 1 {
        return format!("PATH{end}");
    }
    let hex = bare.len() >= 8 && bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if hex && bare.chars().any(|c| c.is_ascii_digit()) {
        return format!("ID{end}");
    }
    let mut out = String::new();
    for c in word.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_has_one_fingerprint_whatever_it_names() {
        for (a, b) in [
            ("acme did not answer within 2.5 s (acme/x-1)", "acme did not answer within 10.25 s (acme/x-2)"),
            ("cannot read /home/ada/a.rs: gone", "cannot read /srv/b/c.rs: gone"),
            ("there is no file `a b`", "there is no file `c`"),
            (
                "session 01a1f791-19db-7000-8000-000000000009 is held",
                "session 01a1f791-19db-7000-8000-00000000000a is held",
            ),
            ("nobody answers at http://127.0.0.1:8080/v1", "nobody answers at https://b.example"),
        ] {
            assert_eq!(normal(a), normal(b));
        }
        assert_ne!(normal("the disk is full"), normal("the disk is read-only"));
        assert_eq!(
            normal("acme takes no such request (400): my secret plan"),
            "acme takes no such request (#): …"
        );
        assert_eq!(normal("it isn't there, and it won't be"), "it isn't there, and it won't be");
        assert_eq!(normal(&"9".repeat(10_000)).chars().count(), 2, "an id: {}", normal(&"9".repeat(20)));
    }

    #[test]
    fn first_last_count_and_sessions_are_kept_and_bounded() {
        let mut faults = Faults::default();
        let fault = |n: usize| Fault::new(Kind::Transient, "late", format!("it took {n} s"));
        for n in 0..100 {
            faults.add(SessionId(n as u128), Timestamp(1_000 - n as u64), &fault(n));
        }
        let all = faults.all();
        assert_eq!((all.len(), all[0].count, all[0].first.0, all[0].last.0), (1, 100, 901, 1_000));
        assert_eq!(all[0].sessions.len(), SESSIONS);
        for n in 0..2 * MOST {
            let code = format!("code-{n}");
            faults.add(SessionId(1), Timestamp(2_000 + n as u64), &Fault::new(Kind::Permanent, &code, "x"));
        }
        let all = faults.all();
        assert_eq!(all.len(), MOST);
        assert_eq!(all[0].code, format!("code-{}", 2 * MOST - 1), "the newest first");
    }
}
