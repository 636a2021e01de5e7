//! The journal of a case as it was seen: nothing of it may go, and every promise that shows in it must hold.
//!
//! Reads events as text and JSON, knows none of Kapell's types. Start at [`Record::take`] and [`Record::promises`].

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One session's events.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// As they are stored, byte for byte.
    lines: Vec<String>,
    events: Vec<Value>,
}

impl Record {
    /// Takes in what the journal holds now: all that was seen before, unchanged, and then more. True: there is more.
    pub(super) fn take(&mut self, text: &str) -> Result<bool> {
        let now: Vec<&str> = text.lines().collect();
        let same = now.iter().zip(&self.lines).take_while(|(now, seen)| *now == *seen).count();
        ensure!(
            same == self.lines.len(),
            "events were lost or changed: {} were seen, {} are there, {same} are the same",
            self.lines.len(),
            now.len()
        );
        for line in &now[same..] {
            let record: Value = serde_json::from_str(line).with_context(|| format!("an event: {line}"))?;
            ensure!(record["seq"] == self.lines.len() as u64 + 1, "a gap before {line}");
            self.events.push(record["event"].clone());
            self.lines.push((*line).to_owned());
        }
        Ok(now.len() > same)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Every event of this kind.
    pub(super) fn of<'a>(&'a self, kind: &'a str) -> impl DoubleEndedIterator<Item = &'a Value> {
        self.events.iter().filter_map(move |event| event.get(kind))
    }

    /// How it ended, if it has: state and why.
    pub(super) fn ended(&self) -> Option<(&str, &str)> {
        let end = self.of("ended").next()?;
        Some((end["state"].as_str()?, end["why"].as_str()?))
    }

    /// The last word about whether it rests: why it is paused.
    pub(super) fn paused(&self) -> Option<&str> {
        let last =
            self.events.iter().rev().find_map(|event| match (event.get("paused"), event.get("resumed")) {
                (Some(paused), _) => Some(paused["why"].as_str()),
                (None, Some(_)) => Some(None),
                (None, None) => None,
            });
        last.flatten()
    }

    /// The children it opened.
    pub(super) fn children(&self) -> Vec<String> {
        self.of("child-opened").filter_map(|event| event["child"].as_str().map(str::to_owned)).collect()
    }

    /// What runs or was interrupted: the name of the work, with the class of a tool's.
    pub(super) fn in_flight(&self) -> Option<String> {
        let mut flight = None;
        for event in &self.events {
            if let Some(started) = event.get("started") {
                let work = match &started["work"] {
                    Value::Object(work) => work.keys().next().cloned().unwrap_or_default(),
                    word => word.as_str().unwrap_or_default().to_owned(),
                };
                let class = started["class"].as_str().unwrap_or_default();
                flight = Some(if work == "tools" { format!("{class} tools") } else { work });
            } else if event.get("finished").is_some() || event.get("ended").is_some() {
                flight = None;
            }
        }
        flight
    }

    /// Savepoints by the names of their actions.
    pub(super) fn savepoints(&self) -> Vec<String> {
        let done = self
            .of("finished")
            .filter(|event| event["outcome"]["end"]["done"]["ran"]["savepoint"].is_string());
        done.filter_map(|event| event["outcome"]["action"].as_str().map(str::to_owned)).collect()
    }

    /// Starts of calls that reach outside, first attempts only.
    pub(super) fn outside(&self) -> usize {
        self.of("started").filter(|started| started["class"] == "external" && started["attempt"] == 1).count()
    }

    /// How often a person agreed to this content.
    pub(super) fn granted(&self, hash: &str) -> u64 {
        let asked: BTreeSet<&str> = self
            .of("approval-asked")
            .filter(|asked| asked["hash"] == hash)
            .filter_map(|asked| asked["approval"].as_str())
            .collect();
        let yes = self.of("approval-answered").filter(|answer| answer["answer"] == "granted");
        yes.filter(|answer| answer["approval"].as_str().is_some_and(|id| asked.contains(id))).count() as u64
    }

    /// What must hold in every journal at any time.
    pub(super) fn promises(&self, asks: bool) -> Result<()> {
        self.one_at_a_time()?;
        self.approvals(asks)?;
        self.after_cancel()?;
        self.plan()
    }

    /// One action in flight, and each start has the fence of the newest holder.
    fn one_at_a_time(&self) -> Result<()> {
        let (mut flying, mut fence) = (None, 0);
        for event in &self.events {
            if let Some(started) = event.get("started") {
                ensure!(flying.is_none(), "a start while {flying:?} was in flight: {started}");
                ensure!(started["fence"].as_u64() >= Some(fence), "a start under an older lease: {started}");
                flying = Some((started["action"].clone(), started["attempt"].clone()));
            } else if let Some(finished) = event.get("finished") {
                let outcome = &finished["outcome"];
                let ended = Some((outcome["action"].clone(), outcome["attempt"].clone()));
                ensure!(ended == flying, "an end of {ended:?} while {flying:?} was in flight");
                flying = None;
            } else if let Some(recovered) = event.get("recovered") {
                let new = recovered["fence"].as_u64().unwrap_or(0);
                ensure!(new >= fence, "a lease that goes back: {recovered}");
                fence = new;
            }
        }
        Ok(())
    }

    /// No second run of what reaches outside, and with `asks` no first one, without a yes to that very content; no
    /// yes is used twice.
    fn approvals(&self, asks: bool) -> Result<()> {
        let (mut asked, mut granted, mut used) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for event in &self.events {
            if let Some(ask) = event.get("approval-asked") {
                asked.insert(ask["approval"].as_str(), &ask["hash"]);
            } else if let Some(answer) = event.get("approval-answered") {
                if answer["answer"] == "granted" {
                    ensure!(granted.insert(answer["approval"].as_str()), "granted twice: {answer}");
                }
            } else if let Some(started) =
                event.get("started").filter(|started| started["class"] == "external")
            {
                let approval = started["approval"].as_str();
                if approval.is_none() {
                    ensure!(!asks && started["attempt"] == 1, "run without a yes: {started}");
                    continue;
                }
                ensure!(granted.contains(&approval), "run without its yes: {started}");
                ensure!(used.insert(approval), "a yes used twice: {started}");
                let hash = &started["work"]["tools"]["calls"][0]["hash"];
                ensure!(asked.get(&approval) == Some(&hash), "a yes to something else: {started}");
            }
        }
        Ok(())
    }

    /// Once it was to be cancelled nothing starts.
    fn after_cancel(&self) -> Result<()> {
        let at = self.events.iter().position(|event| event.get("cancel-asked").is_some());
        let late = at.and_then(|at| self.events[at..].iter().find_map(|event| event.get("started")));
        late.map_or(Ok(()), |late| bail!("started after a cancel: {late}"))
    }

    /// A task begins when those before it are done.
    fn plan(&self) -> Result<()> {
        let tasks = self.of("planned").next().map(|planned| planned["tasks"].clone()).unwrap_or_default();
        let mut done = BTreeSet::new();
        for moved in self.of("task-moved") {
            let task = tasks.as_array().into_iter().flatten().find(|task| task["id"] == moved["task"]);
            let before = task.and_then(|task| task["after"].as_array()).into_iter().flatten();
            if moved["to"] == "active" {
                let mut before = before;
                ensure!(before.all(|id| done.contains(&id.as_str())), "begun too early: {moved}");
            } else if moved["to"] == "done" {
                ensure!(done.insert(moved["task"].as_str()), "done twice: {moved}");
            }
        }
        Ok(())
    }
}

/// What a line of the event stream says is durable.
#[derive(Debug)]
pub(super) enum Told<'a> {
    /// This very record.
    Event(&'a str),
    /// An action of this name has ended.
    Action(Value),
    /// A call was answered.
    Call(Value),
}

/// Everything a line of the event stream tells.
pub(super) fn told<'a>(line: &'a str, value: &Value) -> Vec<Told<'a>> {
    match value["type"].as_str() {
        Some("event") => {
            let record =
                line.split_once("\"record\":").and_then(|(_, rest)| rest.trim_end().strip_suffix('}'));
            record.map(Told::Event).into_iter().collect()
        }
        Some("assistant") => vec![Told::Action(value["message"]["id"].clone())],
        Some("user") => {
            let results = value["message"]["content"].as_array().into_iter().flatten();
            results.map(|result| Told::Call(result["tool_use_id"].clone())).collect()
        }
        _ => Vec::new(),
    }
}

impl Record {
    /// Does the journal hold what was told?
    pub(super) fn holds(&self, told: &Told<'_>) -> bool {
        match told {
            Told::Event(line) => self.lines.iter().any(|known| known == line),
            Told::Action(id) => self.of("finished").any(|event| event["outcome"]["action"] == *id),
            Told::Call(id) => self.answered(id),
        }
    }

    /// By its tool, by Kapell, by a person, or by the end of a child.
    fn answered(&self, call: &Value) -> bool {
        let results = |event: &Value| event["outcome"]["end"]["done"]["ran"]["results"].clone();
        let by_tool = self.of("finished").any(|event| {
            results(event).as_array().into_iter().flatten().any(|result| result["call"] == *call)
        });
        let by_person = || {
            let asked = self.of("asked").filter(|asked| asked["call"] == *call);
            asked
                .into_iter()
                .any(|asked| self.of("answered").any(|answer| answer["question"] == asked["question"]))
        };
        let by_child = || {
            let opened = self.of("child-opened").filter(|opened| opened["call"] == *call);
            opened.into_iter().any(|opened| {
                let ends =
                    |event: &Value| event["intent"]["wish"]["subtask-ended"]["child"] == opened["child"];
                self.of("submitted").any(ends)
            })
        };
        by_tool || self.of("call-answered").any(|event| event["call"] == *call) || by_person() || by_child()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(events: &[&str]) -> Record {
        let lines = events
            .iter()
            .enumerate()
            .map(|(at, event)| format!("{{\"seq\":{},\"event\":{event}}}\n", at + 1));
        let mut record = Record::default();
        record.take(&lines.collect::<String>()).unwrap();
        record
    }

    fn started(attempt: u32, more: &str) -> String {
        format!(
            "{{\"started\":{{\"action\":\"1.2\",\"attempt\":{attempt},\"class\":\"external\",\"fence\":1,\"work\":{{\"tools\":{{\"calls\":[{{\"hash\":\"h\"}}]}}}}{more}}}}}"
        )
    }

    fn finished(attempt: u32) -> String {
        format!("{{\"finished\":{{\"outcome\":{{\"action\":\"1.2\",\"attempt\":{attempt}}}}}}}")
    }

    const ASKED: &str = "{\"approval-asked\":{\"approval\":\"a1\",\"hash\":\"h\"}}";
    const GRANTED: &str = "{\"approval-answered\":{\"approval\":\"a1\",\"answer\":\"granted\"}}";
    const USES: &str = ",\"approval\":\"a1\"";

    #[test]
    fn what_was_seen_may_not_go_or_change() {
        let mut seen = record(&["{\"opened\":{}}", "{\"resumed\":{}}"]);
        assert!(seen.take("{\"seq\":1,\"event\":{\"opened\":{}}}\n").is_err());
        let gap = "{\"seq\":1,\"event\":{\"opened\":{}}}\n{\"seq\":2,\"event\":{\"resumed\":{}}}\n{\"seq\":4,\"event\":{\"resumed\":{}}}\n";
        assert!(seen.take(gap).unwrap_err().to_string().contains("gap"));
    }

    #[test]
    fn a_second_run_needs_a_yes_and_a_yes_serves_once() {
        record(&[&started(1, ""), &finished(1), ASKED, GRANTED, &started(2, USES)]).promises(false).unwrap();
        let unasked = record(&[&started(1, ""), &finished(1), &started(2, "")]);
        assert!(unasked.promises(false).unwrap_err().to_string().contains("without a yes"));
        assert!(record(&[&started(1, "")]).promises(true).is_err());
        let twice = [ASKED, GRANTED, &started(1, USES), &finished(1), &started(2, USES)];
        assert!(record(&twice).promises(true).unwrap_err().to_string().contains("used twice"));
        let other = ASKED.replace("\"h\"", "\"other\"");
        assert!(
            record(&[&other, GRANTED, &started(1, USES)])
                .promises(true)
                .unwrap_err()
                .to_string()
                .contains("something else")
        );
    }

    #[test]
    fn two_actions_at_once_and_a_start_after_a_cancel_are_seen() {
        assert!(record(&[&started(1, ""), &started(2, "")]).promises(false).is_err());
        let late = record(&["{\"cancel-asked\":{}}", &started(1, "")]);
        assert!(late.promises(false).unwrap_err().to_string().contains("after a cancel"));
    }

    #[test]
    fn what_is_in_flight_has_a_name() {
        assert_eq!(record(&[&started(1, "")]).in_flight().as_deref(), Some("external tools"));
        assert_eq!(record(&[&started(1, ""), &finished(1)]).in_flight(), None);
        let prepare = "{\"started\":{\"work\":\"prepare\",\"class\":\"keyed\"}}";
        assert_eq!(record(&[prepare]).in_flight().as_deref(), Some("prepare"));
    }
}
