//! `events`: a session's records as they are stored, once or as they come, on the screen or as a folder.
//!
//! Reads the journal and nothing else. Start at [`run`] and [`export`].

use super::work::{Work, leave};
use crate::app::{self, App, Wired};
use crate::drive;
use crate::exit::{self, Failure};
use crate::out::{self, Pipe};
use crate::pick;
use crate::show::json_page;
use contract::event::Event;
use contract::journal::{Journal, Stored};
use contract::port::Blobs;
use contract::{Digest, SessionId, StreamId, record};
use engine::Watch;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

/// Records read at once.
const PAGE: usize = 1_000;

/// Prints records; the exit code.
pub(crate) async fn run(app: &App, name: &str, follow: bool, after: u64) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let session = pick::session(&*wired.store, name).await?;
    let done =
        if follow { tail(&wired, session, after).await } else { all(app, &wired, session, after).await };
    leave(wired).await;
    done
}

async fn all(app: &App, wired: &Wired, session: SessionId, mut after: u64) -> Result<u8, Failure> {
    let pipe = Pipe::to(crate::out::Remembering);
    let mut first = true;
    loop {
        let page = wired.store.read(StreamId::Session(session), after, PAGE).await?;
        let mut text = Vec::new();
        for stored in &page {
            if app.global.json {
                text.extend_from_slice(if std::mem::take(&mut first) { b"[" } else { b",\n" });
                text.extend_from_slice(&stored.bytes);
            } else {
                text.extend_from_slice(&stored.bytes);
                text.push(b'\n');
            }
            after = stored.seq;
        }
        pipe.send(text).await;
        if page.len() < PAGE {
            break;
        }
    }
    if app.global.json {
        pipe.send(if first { "[]\n" } else { "]\n" }).await;
    }
    pipe.end().await;
    Ok(exit::OK)
}

/// Until the session has ended, or somebody stops following.
async fn tail(wired: &Wired, session: SessionId, after: u64) -> Result<u8, Failure> {
    let mut signals = Work::signals()?;
    let mut pipe = Pipe::to(crate::out::Remembering);
    let mut watch: Watch = wired.engine.watch(session, after);
    let code = loop {
        let page = tokio::select! {
            page = watch.next(), if !pipe.is_behind() => page?,
            () = pipe.pass() => continue,
            code = signals.next() => break code,
        };
        let over = page.iter().any(ended);
        for stored in page {
            pipe.leave([&stored.bytes[..], b"\n"].concat());
        }
        if over {
            break exit::OK;
        }
    };
    drive::hand_over(pipe, code != exit::OK, &mut signals).await;
    Ok(code)
}

fn ended(stored: &Stored) -> bool {
    // Only the last event of a session can be that one; most are ruled out without being read.
    let could = stored.bytes.windows(b"\"ended\"".len()).any(|window| window == b"\"ended\"");
    could
        && record::decode::<Event>(&stored.bytes)
            .is_ok_and(|record| matches!(record.event, Event::Ended { .. }))
}

/// Writes a session as a folder; the exit code.
pub(crate) async fn export(app: &App, name: &str, dir: &Path) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let session = pick::session(&*wired.store, name).await?;
    let written = write(&wired, session, dir).await;
    leave(wired).await;
    let (events, blobs) = written?;
    if app.global.json {
        let what = json!({"session_id": session.to_string(), "dir": dir, "events": events, "blobs": blobs});
        out::print(&json_page(&what));
    } else {
        out::print(&format!(
            "{events} events and {blobs} blobs of session {} are in {}\n",
            pick::short(session),
            dir.display()
        ));
    }
    Ok(exit::OK)
}

async fn write(wired: &Wired, session: SessionId, dir: &Path) -> Result<(u64, u64), Failure> {
    let fault = |error: std::io::Error| {
        let what = format!("cannot write the session into {}: {error}", dir.display());
        Failure::usage("export", what, "name an empty directory, or one that does not exist")
    };
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(fault(std::io::ErrorKind::DirectoryNotEmpty.into()));
    }
    let blobs_dir = dir.join("blobs");
    std::fs::create_dir_all(&blobs_dir).map_err(fault)?;
    let create =
        |name: &str| std::fs::File::create(dir.join(name)).map(std::io::BufWriter::new).map_err(fault);
    let (mut events, mut chain) = (create("events.jsonl")?, create("chain.txt")?);
    let (mut after, mut digests) = (0, BTreeSet::new());
    loop {
        let page = wired.store.read(StreamId::Session(session), after, PAGE).await?;
        for stored in &page {
            events.write_all(&stored.bytes).and_then(|()| events.write_all(b"\n")).map_err(fault)?;
            writeln!(chain, "{} {}", stored.seq, stored.hash).map_err(fault)?;
            mentioned(&stored.bytes, &mut digests);
            after = stored.seq;
        }
        if page.len() < PAGE {
            break;
        }
    }
    events.flush().and_then(|()| chain.flush()).map_err(fault)?;
    let mut written = 0;
    for digest in digests {
        // Hashes of other things look the same: what is no blob is none.
        if let Ok(mut blob) = wired.store.open(digest).await {
            let mut file = std::fs::File::create(blobs_dir.join(digest.to_string())).map_err(fault)?;
            std::io::copy(&mut blob, &mut file).map_err(fault)?;
            written += 1;
        }
    }
    Ok((after, written))
}

/// Hex digits of a digest.
const DIGITS: usize = 64;

/// Everything in a record that looks like a digest.
pub(crate) fn mentioned(record: &[u8], digests: &mut impl Extend<Digest>) {
    let runs = record.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() == DIGITS);
    digests.extend(runs.filter_map(|run| std::str::from_utf8(run).ok()?.parse().ok()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let record = format!("{{\"v\":1,\"event\":{{\"x\":[\"{a}\",{{\"y\":\"{b}\"}}],\"z\":\"not one\"}}}}");
        let mut found = BTreeSet::new();
        mentioned(record.as_bytes(), &mut found);
        assert_eq!(found, BTreeSet::from([a, b]));
    }
}
