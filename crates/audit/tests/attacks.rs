//! What somebody may do who can write everything but has not the key: each is found, in a copy and by a kept head.
//!
//! Start at [`Place`], an installation in memory, and the first test.

use audit::export::{self, Pin, Verified};
use audit::log::{self, Act, Signer, Tip, new_key};
use contract::{Digest, Seq, SessionId, StreamId, Timestamp};
use std::collections::BTreeMap;

const A: StreamId = StreamId::Session(SessionId(1));
const B: StreamId = StreamId::Session(SessionId(2));

fn genesis(stream: StreamId) -> Digest {
    Digest::of(stream.to_string().as_bytes())
}

/// A journal and its signed log.
#[derive(Clone)]
struct Place {
    streams: BTreeMap<StreamId, Vec<String>>,
    lines: Vec<String>,
    tip: Tip,
}

fn chain(stream: StreamId, records: &[String]) -> Vec<Digest> {
    let next = |hash: &mut Digest, record: &String| {
        *hash = Digest::chain(hash, record.as_bytes());
        Some(*hash)
    };
    records.iter().scan(genesis(stream), next).collect()
}

impl Place {
    fn new(signer: &Signer) -> Self {
        let mut place = Self { streams: BTreeMap::new(), lines: Vec::new(), tip: Tip::default() };
        place.sign(signer, Act::Key { public: signer.public() });
        place
    }

    fn sign(&mut self, signer: &Signer, act: Act) {
        let (line, tip) = signer.line(self.tip, Timestamp(self.tip.n), act);
        self.lines.push(line);
        self.tip = tip;
    }

    fn write(&mut self, stream: StreamId, records: usize) {
        let all = self.streams.entry(stream).or_default();
        (0..records).for_each(|_| all.push(format!("{{\"seq\":{},\"what\":\"x\"}}", all.len() + 1)));
    }

    fn heads(&self) -> Vec<(StreamId, Seq, Digest)> {
        let head = |(stream, records): (&StreamId, &Vec<String>)| {
            let hashes = chain(*stream, records);
            (*stream, hashes.len() as u64, *hashes.last().unwrap())
        };
        self.streams.iter().map(head).collect()
    }

    fn anchor(&mut self, signer: &Signer) {
        let heads = self.heads();
        self.sign(signer, Act::Heads { heads });
    }

    /// What an export of it as it stands gives, and what is said of that.
    fn checked(&self, signer: &Signer, pin: Pin<'_>) -> Verified {
        self.checked_as(signer, pin, self.heads())
    }

    fn checked_as(&self, signer: &Signer, pin: Pin<'_>, listed: Vec<(StreamId, Seq, Digest)>) -> Verified {
        let act = Act::Export { lines: self.tip.n, last: self.tip.hash, streams: listed };
        let (manifest, _) = signer.line(self.tip, Timestamp(99), act);
        let file = |(stream, records): (&StreamId, &Vec<String>)| {
            let lines = chain(*stream, records).into_iter().zip(records);
            let lines = lines.flat_map(|(hash, record)| export::line(hash, record.as_bytes()));
            (export::file_name(*stream), lines.collect())
        };
        let files = self.streams.iter().map(file).collect();
        let log: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        export::verify(&manifest, &log, &files, pin, genesis)
    }

    fn reread(&mut self) {
        let log: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        self.tip = log::read(&log, None).1;
    }
}

fn place() -> (Place, Signer) {
    let signer = Signer::new(&new_key().unwrap()).unwrap();
    let mut place = Place::new(&signer);
    place.write(A, 5);
    place.write(B, 3);
    place.anchor(&signer);
    place.write(A, 4);
    place.anchor(&signer);
    (place, signer)
}

#[track_caller]
fn says(verified: &Verified, what: &str) {
    assert!(verified.findings.iter().any(|it| it.problem.contains(what)), "{:?}", verified.findings);
}

#[test]
fn a_copy_of_a_journal_that_was_cut_before_is_found_out() {
    let (sound, signer) = place();
    let key = signer.public();
    let pin = Pin { key: Some(&key), since: None };
    assert_eq!(sound.checked(&signer, pin).findings, []);
    // The last event gone, and the head put back: Kapell itself signs the shorter list.
    let mut cut = sound.clone();
    cut.streams.get_mut(&A).unwrap().pop();
    says(&cut.checked(&signer, pin), "its end is missing");
    // A stream gone as a whole, from the list too.
    let mut dropped = sound;
    dropped.streams.remove(&B);
    says(&dropped.checked(&signer, pin), "the list of this copy does not");
}

#[test]
fn a_stream_written_anew_and_signed_again_contradicts_the_line_before() {
    let (sound, signer) = place();
    let mut anew = sound.clone();
    anew.streams.get_mut(&A).unwrap()[2] = "{\"seq\":3,\"what\":\"y\"}".into();
    anew.write(A, 1);
    // Somebody gets Kapell to sign where it stands now.
    anew.anchor(&signer);
    says(&anew.checked(&signer, Pin::default()), "written anew");
    // The same number with another hash.
    let mut twice = sound;
    twice.streams.get_mut(&A).unwrap()[8] = "{\"seq\":9,\"what\":\"y\"}".into();
    twice.anchor(&signer);
    says(&twice.checked(&signer, Pin::default()), "another thing than line 3");
}

#[test]
fn a_head_that_was_kept_finds_what_was_taken_back() {
    let (mut now, signer) = place();
    let (old, before) = (now.clone(), now.tip);
    now.sign(&signer, Act::Config { what: "trust".into(), target: "make".into() });
    let kept = now.tip;
    let since = |since: Tip| Pin { key: None, since: Some(since) };
    assert_eq!(now.checked(&signer, since(kept)).findings, []);
    assert_eq!(now.checked(&signer, since(before)).findings, []);
    assert_eq!(kept.to_string().parse::<Tip>().unwrap(), kept);
    assert!("7".parse::<Tip>().is_err() && "x:ab".parse::<Tip>().is_err());
    // All put back together, journal and log: sound by itself, but not for who kept a head.
    assert_eq!(old.checked(&signer, Pin::default()).findings, []);
    says(&old.checked(&signer, since(kept)), "not the line whose head was kept");
    let mut cut = now.clone();
    cut.lines.truncate(2);
    cut.reread();
    says(&cut.checked(&signer, since(kept)), "its end is missing");
    // Begun anew, with the very same key.
    let mut anew = Place::new(&signer);
    anew.streams = now.streams.clone();
    (0..5).for_each(|_| anew.anchor(&signer));
    assert_eq!(anew.checked(&signer, Pin::default()).findings, []);
    says(&anew.checked(&signer, since(kept)), "not the line whose head was kept");
}

#[test]
fn a_gap_is_a_finding_until_a_later_head_is_kept() {
    let (mut place, signer) = place();
    place.sign(&signer, Act::Gap { lines: 7, last: Digest::default(), key: signer.public() });
    says(&place.checked(&signer, Pin::default()), "a log of 7 lines was gone");
    place.write(A, 1);
    place.anchor(&signer);
    let pin = Pin { key: None, since: Some(place.tip) };
    assert_eq!(place.checked(&signer, pin).findings, []);
}

#[test]
fn nothing_is_taken_off_lines_and_nothing_put_between_them() {
    let (sound, signer) = place();
    let log: String = sound.lines.iter().map(|line| format!("{line}\n")).collect();
    assert!(log::read(&log, None).2.is_none());
    assert!(log::read(&log.replace('\n', "\r\n"), None).2.is_some(), "a byte more is a change");
    assert!(log::read(&log.replacen('\n', "\n\n", 1), None).2.is_some());
    let act = Act::Export { lines: sound.tip.n, last: sound.tip.hash, streams: sound.heads() };
    let (manifest, _) = signer.line(sound.tip, Timestamp(99), act);
    let blank = BTreeMap::from([(export::file_name(A), b"\n\n".to_vec())]);
    let told = export::verify(&manifest, &log, &blank, Pin::default(), genesis);
    assert!(told.findings.iter().any(|it| it.problem.contains("not a record")), "{:?}", told.findings);
}
