//! What must hold after a fault: acknowledged is there, the chain is whole, no effect twice, the session goes on or
//! says why not.
//!
//! Knows the program's documented output only (FORMATS.md). Start at [`judge`].

use super::scene::{Ended, Scene};
use crate::shim::random;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// Exit codes of FORMATS.md section 7.
const CODES: [i32; 13] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 75, 124, 130, 143];
/// Times a session may be taken up again before it counts as one that does not come to an end.
const ROUNDS: usize = 10;

/// What a scene came to, when nothing is wrong.
#[derive(Debug, Default, Clone)]
pub(super) struct Came {
    /// Lines that were told before the fault, all of them on record afterwards.
    pub(super) told: usize,
    /// Events on record at the end.
    pub(super) events: usize,
    /// Outcomes nobody knew: a person was asked.
    pub(super) unknown: usize,
    /// The session ended as failed and said why.
    pub(super) failed: Option<String>,
    /// The process went on to its end in spite of the fault.
    pub(super) borne: usize,
}

/// Judges the acts under the fault, then what a person finds afterwards.
pub(super) fn judge(scene: &Scene<'_>, acts: &[Ended], killed: bool, seed: u64) -> Result<Came> {
    let mut came = Came::default();
    let documented = |act: &Ended| match act.code {
        Some(code) => CODES.contains(&code),
        None => killed,
    };
    for act in acts {
        ensure!(documented(act), "`{}` ended with {:?}: {}", act.name, act.code, act.err);
        silent_or_sound(act)?;
    }
    let sound = scene.kapell(&["verify"])?;
    // How a run failed may be told without a store; anything else is an acknowledgement.
    let told = acts
        .iter()
        .flat_map(|act| act.out.lines())
        .filter(|line| !line.contains("\"is_error\":true"))
        .count();
    let unborn = sound.code != Some(0) && sound.err.contains("schema 0");
    ensure!(sound.code == Some(0) || (unborn && told == 0), "verify: {}{}", sound.out, sound.err);
    let mut events = record(scene)?;
    for act in acts {
        came.told += acknowledged(act, &events)?;
    }
    ensure!(scene.effects() <= started(&events), "an effect outside without a start on record");
    // An answer that was acknowledged is on record, whatever became of what followed it.
    let yes = acts.iter().any(|act| act.name == "approve" && act.code == Some(0));
    ensure!(
        !yes || events.iter().any(|event| event.contains("\"approval-answered\"")),
        "an acknowledged approval is lost"
    );
    came.borne = usize::from(acts.len() == 3 && acts[2].code == Some(0));
    let allowed = finish(scene, &mut events, &mut came, seed)?;
    ensure!(!killed || came.failed.is_none(), "the session failed after a kill");
    let effects = scene.effects();
    ensure!(effects <= allowed, "the effect took place {effects} times, {allowed} allowed");
    let sound = scene.kapell(&["verify"])?;
    ensure!(sound.code == Some(0), "verify at the end: {}{}", sound.out, sound.err);
    came.events = events.len();
    Ok(came)
}

/// What ended by itself says how, in the last line of its stream; what was killed says nothing untrue.
fn silent_or_sound(act: &Ended) -> Result<()> {
    let text = format!("{}{}", act.out, act.err);
    ensure!(!text.contains("panicked") && !text.contains("internal error"), "`{}` broke: {text}", act.name);
    let Some(code) = act.code else { return Ok(()) };
    if act.name == "approve" {
        let page: Value = serde_json::from_str(&act.out).unwrap_or_default();
        let said = page["error"]["what"].as_str().is_some_and(|what| !what.is_empty());
        ensure!(code == 0 || said, "`approve` ended with {code} and says nothing: {text}");
        return Ok(());
    }
    let last = act.out.lines().last().and_then(|line| serde_json::from_str(line).ok());
    let last: Value = last.unwrap_or_default();
    ensure!(last["type"] == "result", "`{}` ended with {code} and no result: {text}", act.name);
    ensure!(last["exit_code"] == code, "`{}` ended with {code} and said {}", act.name, last["exit_code"]);
    let why = !last["result"].as_str().unwrap_or_default().is_empty() || !last["error"].is_null();
    ensure!(why, "`{}` ended with {code} and does not say why: {last}", act.name);
    Ok(())
}

/// The events of the session, in order and without a gap; none when there is no session.
fn record(scene: &Scene<'_>) -> Result<Vec<String>> {
    let out = scene.kapell(&["events", "last"])?;
    if out.code != Some(0) {
        let nothing =
            ["no sessions", "no session", "schema 0", "no such"].iter().any(|word| out.err.contains(word));
        ensure!(nothing, "events: {}", out.err);
        return Ok(Vec::new());
    }
    let events: Vec<String> = out.out.lines().map(str::to_owned).collect();
    for (at, event) in events.iter().enumerate() {
        let value: Value = serde_json::from_str(event)?;
        ensure!(value["seq"] == at + 1, "event {} stands where {} should", value["seq"], at + 1);
    }
    Ok(events)
}

/// Whatever a process had printed is on record. How many lines that were.
fn acknowledged(act: &Ended, events: &[String]) -> Result<usize> {
    let mut count = 0;
    // The last line may be torn: only whole ones were told.
    for line in act.out.split_inclusive('\n').filter(|line| line.ends_with('\n') && act.name != "approve") {
        let value: Value = serde_json::from_str(line)?;
        let any = |kinds: &[&str], word: &str| {
            events
                .iter()
                .filter(|event| kinds.iter().any(|kind| event.contains(kind)))
                .any(|event| event.contains(word))
        };
        let on_record = match value["type"].as_str() {
            Some("system") => !events.is_empty(),
            Some("event") => {
                let record =
                    line.split_once("\"record\":").and_then(|(_, rest)| rest.trim_end().strip_suffix('}'));
                record.is_some_and(|record| events.iter().any(|event| event == record))
            }
            Some("assistant") => any(&["\"finished\""], &format!("\"action\":{}", value["message"]["id"])),
            Some("user") => {
                let call = &value["message"]["content"][0]["tool_use_id"];
                any(&["\"finished\"", "\"call-answered\""], &format!("\"call\":{call}"))
            }
            Some("result") if value["termination_reason"] == "completed" => {
                any(&["\"ended\""], "\"completed\"")
            }
            _ => continue,
        };
        ensure!(on_record, "acknowledged and lost: {line}");
        count += 1;
    }
    Ok(count)
}

/// Starts of the shell command on record.
fn started(events: &[String]) -> usize {
    events.iter().filter(|event| event.contains("\"started\"") && event.contains("\"shell\"")).count()
}

/// Goes on like a person until the session has ended. How often the effect may have taken place.
fn finish(scene: &Scene<'_>, events: &mut Vec<String>, came: &mut Came, mut seed: u64) -> Result<usize> {
    let mut allowed = 1;
    let mut words = String::new();
    let mut by_name = false;
    for _ in 0..ROUNDS {
        if events.is_empty() {
            // Killed before there was a session: nothing was told, and a new one can be had.
            let again = scene.act(super::scene::Fault::None)?;
            let code = again.last().and_then(|act| act.code);
            ensure!(code == Some(0), "a new session ended with {code:?}: {again:?}");
            *events = record(scene)?;
            continue;
        }
        if let Some(ended) = events.iter().rev().find(|event| event.contains("\"event\":{\"ended\"")) {
            let ended: Value = serde_json::from_str(ended)?;
            let ended = &ended["event"]["ended"];
            let loud = !ended["why"].as_str().unwrap_or_default().is_empty();
            ensure!(loud, "the session ended without a word: {ended}");
            came.failed = (ended["state"] != "completed").then(|| ended["why"].to_string());
            if came.failed.is_none() && came.unknown == 0 {
                landed(scene)?;
            }
            return Ok(allowed);
        }
        match pending(events)? {
            Some((id, subject)) => {
                let again = subject.get("run-again").is_some();
                // Agreeing to the call itself is the plot; running one again is a person's choice.
                let yes = !again || random(&mut seed, 100) < 30;
                came.unknown += usize::from(again);
                allowed += usize::from(again && yes);
                let told = scene.kapell(&[if yes { "approve" } else { "deny" }, "last", &id])?;
                // An answer that was cut off before it was told may have been taken all the same.
                let taken = told.err.contains("has been answered already");
                ensure!(told.code == Some(0) || taken, "answering {id} failed: {}", told.err);
            }
            None => {
                // A session that is paused because something failed waits for a person by name.
                let which = if std::mem::replace(&mut by_name, true) { "last" } else { "--all" };
                let on = scene.kapell(&["resume", which, "--output-format", "stream-json"])?;
                ensure!(
                    on.code.is_some_and(|code| CODES.contains(&code)),
                    "resume: {:?} {}",
                    on.code,
                    on.err
                );
                words = format!("{}{}", on.out, on.err);
            }
        }
        let now = record(scene)?;
        ensure!(
            now.len() >= events.len() && now[..events.len()] == events[..],
            "events were lost or changed"
        );
        *events = now;
    }
    bail!("the session does not come to an end: {words}")
}

/// The approval that waits, and what it is about.
fn pending(events: &[String]) -> Result<Option<(String, Value)>> {
    let mut open = BTreeMap::new();
    for event in events {
        let value: Value = serde_json::from_str(event)?;
        if let Some(asked) = value["event"].get("approval-asked") {
            open.insert(asked["approval"].as_str().context("no id")?.to_owned(), asked["subject"].clone());
        }
        if let Some(answered) = value["event"].get("approval-answered") {
            open.remove(answered["approval"].as_str().context("no id")?);
        }
    }
    Ok(open.pop_first())
}

/// A completed session's work is on the branch.
fn landed(scene: &Scene<'_>) -> Result<()> {
    let shown = scene.git(&["show", "main:out.txt"])?;
    ensure!(shown.status.success() && shown.stdout == b"out\n", "completed, and nothing landed");
    Ok(())
}
