//! What is looked at after every kill and at the end: journals, effects outside, budget, the user's repository.
//!
//! Asks the binary from outside, as anybody could. Start at [`Case::look`]; the last word is [`Case::judge`]'s.

use super::case::Case;
use super::process;
use super::record::{Record, told};
use super::scenario::{self, Others};
use super::script;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// One in so many looks recomputes every hash and looks at every object of the user's repository.
pub(super) const DEEP: u64 = 6;

impl Case<'_> {
    pub(super) fn root_record(&self) -> Option<&Record> {
        self.sessions.get(self.root.as_ref()?)
    }

    pub(super) fn count_flights(&self, there: bool) {
        if !there {
            self.tally.add("flight/before the session was", 1);
            return;
        }
        let open = self.sessions.values().filter(|record| record.ended().is_none());
        let flights: Vec<String> = open.filter_map(Record::in_flight).collect();
        for flight in &flights {
            self.tally.add(&format!("flight/{flight}"), 1);
        }
        if flights.is_empty() {
            self.tally.add("flight/nothing", 1);
        }
    }

    /// What was seen and what was told is on record, and every promise holds. False: there is no session yet.
    pub(super) fn look(&mut self, deep: bool) -> Result<bool> {
        // First what was told and done: the journal may grow while it is read.
        let mut lines = Vec::new();
        for file in &self.told {
            let text = std::fs::read_to_string(file)?;
            // The last line may be torn: only whole ones were told.
            lines.extend(text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned));
        }
        let outside = std::fs::read_to_string(self.path("outside.log")).unwrap_or_default();
        if self.root.is_none() {
            let out = self.ask(&["sessions", "tree", "--json"])?;
            let tree: Value = serde_json::from_slice(&out.stdout).context("sessions tree --json")?;
            self.root = tree[0]["id"].as_str().map(str::to_owned);
            ensure!(
                self.root.is_some() || lines.is_empty(),
                "a session was announced and is not in the store"
            );
        }
        let Some(root) = self.root.clone() else { return Ok(false) };
        self.read(&root, deep)?;
        self.acknowledged(&lines)?;
        self.effects(&outside)?;
        let out = self.ask(&["cost", &root, "--json"])?;
        budget(&out.stdout).context("the budget")?;
        if deep {
            let out = self.ask(&["verify"])?;
            ensure!(out.status.success(), "verify: {}", String::from_utf8_lossy(&out.stdout));
        }
        Ok(true)
    }

    /// Reads the journals of a session and of all below it.
    fn read(&mut self, id: &str, deep: bool) -> Result<()> {
        let known = self.sessions.entry(id.to_owned()).or_default();
        if known.ended().is_none() || deep {
            let out = self.ask(&["events", id])?;
            ensure!(out.status.success(), "events: {}", String::from_utf8_lossy(&out.stderr));
            let record = self.sessions.entry(id.to_owned()).or_default();
            let asks = self.scenario.args.contains(&"external");
            if record.take(&String::from_utf8_lossy(&out.stdout)).with_context(|| format!("session {id}"))? {
                record.promises(asks).with_context(|| format!("session {id}"))?;
            }
        }
        let children = self.sessions.get(id).map(Record::children).unwrap_or_default();
        children.iter().try_for_each(|child| self.read(child, deep))
    }

    fn acknowledged(&self, lines: &[String]) -> Result<()> {
        for line in lines {
            let value: Value =
                serde_json::from_str(line).with_context(|| format!("a line of the stream: {line}"))?;
            for told in told(line, &value) {
                let record = value["session_id"].as_str().and_then(|id| self.sessions.get(id));
                ensure!(record.is_some_and(|record| record.holds(&told)), "announced and lost: {told:?}");
                self.tally.add("told", 1);
            }
        }
        Ok(())
    }

    /// No effect outside without its start on record, and none more often than somebody said.
    fn effects(&self, text: &str) -> Result<()> {
        let mut lines: BTreeMap<(&str, u32), u64> = BTreeMap::new();
        for line in text.lines() {
            let line = script::of_line(line).with_context(|| format!("a torn line outside: {line:?}"))?;
            *lines.entry(line).or_default() += 1;
        }
        let mut of: BTreeMap<&str, usize> = BTreeMap::new();
        for ((session, number), count) in lines {
            let record =
                self.sessions.get(session).context("an effect of a session that is not on record")?;
            let hash = self.shown.get(&(session.to_owned(), number));
            let free = u64::from(!self.scenario.args.contains(&"external"));
            let allowed = free + hash.map_or(0, |hash| record.granted(hash));
            ensure!(count <= allowed, "line {number} of {session} stands {count} times, {allowed} allowed");
            let distinct = of.entry(session).or_default();
            *distinct += 1;
            ensure!(
                *distinct <= record.outside(),
                "{distinct} effects of {session}, {} starts",
                record.outside()
            );
        }
        Ok(())
    }

    pub(super) fn judge(&mut self) -> Result<()> {
        process::nothing_carries(&self.dir.mark())?;
        self.look(true)?;
        let landed = self.theirs.check(true).context("the user's repository, at the end")?;
        self.told.clear();
        let record = self.root_record().context("no session")?;
        let (state, why) = record.ended().context("it has not ended")?;
        ensure!(self.scenario.ends.contains(&state), "it ended as {state}: {why}");
        self.tally.add(&format!("end/{state}"), 1);
        self.tally.add("landed", landed);
        self.tally.add("events", self.sessions.values().map(|record| record.len() as u64).sum());
        for (id, record) in &self.sessions {
            ensure!(record.ended().is_some(), "session {id} below an ended one goes on");
        }
        let files = self.theirs.landed_files()?;
        for file in &files {
            ensure!(self.theirs.show(file)? == "whole", "{file} did not land whole");
        }
        if state == "completed" {
            let text = std::fs::read_to_string(self.path("script.toml"))?;
            let wanted = text.matches("path = \"out/").count();
            ensure!(files.len() >= wanted || self.scenario.others == Others::Rewind, "only {files:?} landed");
            if self.scenario.words > 0 {
                let wanted: String = (0..self.scenario.words).map(|n| format!("w{n}\n")).collect();
                let landed = self.theirs.show(scenario::WORDS)?;
                ensure!(landed == format!("{wanted}END"), "words were lost or doubled: {landed:?}");
            }
        }
        Ok(())
    }
}

/// settled + held <= cap, in every unit, for the tree and for everybody in it.
fn budget(json: &[u8]) -> Result<()> {
    let cost: Value = serde_json::from_slice(json).context("cost --json")?;
    let check = |name: &Value, of: &Value, cap: &Value| {
        for unit in ["nanos", "tokens", "steps", "time_ms"] {
            let n = |amount: &Value| amount[unit].as_u64().unwrap_or(0);
            let (settled, held) = (n(&of["settled"]), n(&of["held"]));
            let most = cap[unit].as_u64().unwrap_or(u64::MAX);
            ensure!(
                settled.saturating_add(held) <= most,
                "{name} {unit}: {settled} settled, {held} held, cap {most}"
            );
            ensure!(n(&of["over"]) == 0, "{name} {unit}: more was used than reserved");
        }
        Ok(())
    };
    check(&Value::from("total"), &cost["total"], &cost["cap"])?;
    let sessions = cost["sessions"].as_array().context("no sessions")?;
    sessions.iter().try_for_each(|one| check(&one["session"], &one["own"], &one["cap"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_cap_is_seen() {
        let of = |settled: u64, over: u64| {
            let own = format!(
                "{{\"settled\":{{\"steps\":{settled}}},\"held\":{{\"steps\":16}},\"over\":{{\"steps\":{over}}}}}"
            );
            format!("{{\"cap\":{{\"steps\":20,\"nanos\":\"unlimited\"}},\"total\":{own},\"sessions\":[]}}")
        };
        budget(of(4, 0).as_bytes()).unwrap();
        assert!(budget(of(5, 0).as_bytes()).is_err());
        assert!(budget(of(1, 1).as_bytes()).is_err());
    }
}
