//! Actions and their ends in a few words.
//!
//! Knows no layout. Start at [`work`] and [`end`].

use super::clean;
use crate::pick::short;
use contract::action::{Call, Done, End, Work};
use contract::event::Dearer;
use contract::hooks::HookAnswer;
use contract::money::usd;
use contract::port::Blobs;
use serde_json::Value;

/// Characters of one call.
const CALL: usize = 120;
/// Calls of a batch that are named.
const NAMED: usize = 3;
/// Arguments that say best what a call does.
const TELLING: [&str; 9] =
    ["command", "path", "pattern", "query", "url", "goal", "question", "summary", "name"];

/// What an action does.
pub(crate) async fn work(blobs: &dyn Blobs, work: &Work) -> String {
    match work {
        Work::Prepare => "make the workspace".to_owned(),
        Work::Model { model, .. } => format!("ask {}", clean::line(model)),
        Work::Summarise { model, .. } => format!("let {} sum up what came first", clean::line(model)),
        Work::Tools { calls } => {
            let mut words = Vec::new();
            for one in calls.iter().take(NAMED) {
                words.push(call(blobs, one).await);
            }
            if calls.len() > NAMED {
                words.push(format!("{} more", calls.len() - NAMED));
            }
            words.join(", ")
        }
        Work::Check { base_known: true } => "run the checks on the result".to_owned(),
        Work::Check { base_known: false } => "run the checks on base and result".to_owned(),
        Work::Inspect { .. } => "look for weakened tests and checks".to_owned(),
        Work::Integrate { result } => format!("integrate {}", commit(result)),
        Work::Adopt { child, .. } => format!("take over the work of {}", short(*child)),
        Work::Rewind { to } => format!("rewind to before {to}"),
        Work::Hooks { asked } => match &asked.call {
            Some(one) => format!("hooks {}: {}", asked.event.name(), call(blobs, one).await),
            None => format!("hooks {} {}", asked.event.name(), clean::line(&asked.about)),
        },
    }
}

/// A tool call: its name and its most telling argument.
pub(crate) async fn call(blobs: &dyn Blobs, call: &Call) -> String {
    let tool = clean::line(&call.tool);
    let Ok(text) = super::text(blobs, call.args).await else { return tool };
    let told = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(map)) => TELLING.iter().find_map(|key| Some(clean::line(map.get(*key)?.as_str()?))),
        _ => None,
    };
    match told.filter(|told| !told.is_empty()) {
        Some(told) => clean::cut(&format!("{tool}: {told}"), CALL),
        None => tool,
    }
}

/// What hooks answered: the first that is more than nothing.
fn hooked(answers: &[HookAnswer]) -> (bool, String) {
    let telling = |answer: &&HookAnswer| answer.say.is_some() || answer.halt || !answer.failed.is_empty();
    let Some(answer) = answers.iter().find(telling) else {
        return (true, format!("{} asked, nothing against it", answers.len()));
    };
    let word = match (answer.halt, answer.failed.is_empty(), answer.say) {
        (true, ..) => "stop",
        (_, false, _) => "failed",
        (_, _, say) => say.map_or("", contract::policy::Decision::name),
    };
    let why = clean::line(if answer.failed.is_empty() { &answer.said } else { &answer.failed });
    let good =
        answer.failed.is_empty() && !answer.halt && answer.say != Some(contract::policy::Decision::Deny);
    (good, if why.is_empty() { word.to_owned() } else { format!("{word}: {why}") })
}

/// How an attempt ended, and whether that is good.
pub(crate) fn end(end: &End) -> (bool, String) {
    match end {
        End::Done(Done::Ran { results, .. }) => {
            let bad: Vec<_> = results.iter().filter(|result| !result.ok).collect();
            match (bad.len(), bad.first().and_then(|result| result.exit)) {
                (0, _) => (true, "ok".to_owned()),
                (1, Some(exit)) if results.len() == 1 => (false, format!("exit {exit}")),
                (n, _) if results.len() == 1 => {
                    (false, if n == 1 { "error".to_owned() } else { format!("{n} errors") })
                }
                (n, _) => (false, format!("{n} of {} failed", results.len())),
            }
        }
        End::Done(Done::Adopted { clean, .. }) => (*clean, if *clean { "ok" } else { "conflict" }.to_owned()),
        End::Done(Done::Inspected { flags, files }) => match flags.len() {
            0 => (true, format!("{files} files, nothing weakened")),
            n => (false, format!("{n} flagged")),
        },
        End::Done(Done::Integrated(integrated)) => match (&integrated.landed, &integrated.why) {
            (Some(landed), _) => (true, format!("landed as {}", commit(landed))),
            (None, why) => (false, format!("not landed: {}", why.as_deref().unwrap_or("no reason given"))),
        },
        End::Done(Done::Hooked { answers, .. }) => hooked(answers),
        End::Done(Done::Checked(report)) => (true, format!("{} runs", report.runs.len())),
        End::Done(_) => (true, "ok".to_owned()),
        End::Failed(fault) => (false, format!("failed: {}", clean::line(&fault.what))),
        End::Cancelled => (false, "stopped".to_owned()),
        End::TimedOut => (false, "timed out".to_owned()),
        End::Unknown => (false, "outcome unknown".to_owned()),
    }
}

/// What another model costs more or less, in US dollars per million tokens.
pub(crate) fn dearer(by: Option<Dearer>) -> String {
    let Some(Dearer { input, output }) = by else { return String::new() };
    let told = |nanos: i64| format!("{}{}", if nanos < 0 { "-" } else { "+" }, usd(nanos.unsigned_abs()));
    format!(" ({} in, {} out per million tokens)", told(input), told(output))
}

/// A commit as people write it.
pub(crate) fn commit(id: &str) -> &str {
    const DIGITS: usize = 12;
    id.get(..DIGITS).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::action::{CallResult, EffectClass};
    use contract::{BoxFuture, Digest, Fault, Kind};
    use std::collections::BTreeMap;

    struct Store(BTreeMap<Digest, Vec<u8>>);
    impl Blobs for Store {
        fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
            let found = self.0.get(&digest).cloned();
            Box::pin(async move { found.ok_or_else(|| Fault::new(Kind::Permanent, "no-blob", "gone")) })
        }
    }

    fn make(args: &str) -> (Store, Call) {
        let digest = Digest::of(args.as_bytes());
        let call = Call {
            id: "c1".into(),
            tool: "shell".into(),
            args: digest,
            class: EffectClass::Staged,
            why: String::new(),
            hash: digest,
            deadline_ms: None,
            control: None,
            error: None,
            ruled: None,
            together: None,
            hooks: Vec::new(),
            held: None,
        };
        (Store(BTreeMap::from([(digest, args.as_bytes().to_vec())])), call)
    }

    #[tokio::test]
    async fn calls_are_told_by_what_matters() {
        let (store, one) = make("{\"command\":\"cargo\\ntest \\u001b[31m\",\"timeout\":5}");
        assert_eq!(call(&store, &one).await, "shell: cargo test");
        let (store, odd) = make("[1]");
        assert_eq!(call(&store, &odd).await, "shell");
        let lost = Store(BTreeMap::new());
        assert_eq!(call(&lost, &one).await, "shell");
        let calls = vec![one.clone(), one.clone(), one.clone(), one];
        assert_eq!(work(&lost, &Work::Tools { calls }).await, "shell, shell, shell, 1 more");
    }

    #[test]
    fn ends_say_whether_it_went_well() {
        let result = |ok, exit| CallResult {
            call: "c".into(),
            ok,
            text: Digest::default(),
            bytes: 0,
            full: None,
            exit,
            changed: false,
            images: Vec::new(),
            pixels: Vec::new(),
            tokens: None,
            asked: Vec::new(),
            handed: Vec::new(),
        };
        let ran = |results| end(&End::Done(Done::Ran { results, savepoint: None }));
        assert_eq!(ran(vec![result(true, Some(0))]), (true, "ok".into()));
        assert_eq!(ran(vec![result(false, Some(101))]), (false, "exit 101".into()));
        assert_eq!(ran(vec![result(true, None), result(false, None)]), (false, "1 of 2 failed".into()));
        assert_eq!(end(&End::Unknown), (false, "outcome unknown".into()));
    }
}
