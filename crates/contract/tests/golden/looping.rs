//! One example or more of every event of a project's loop. New variant or field: add a row here.
//!
//! Knows no schedule. Start at [`all`].

use super::Example;
use super::examples::{AT, session};
use contract::Digest;
use contract::looping::{Job, LoopEvent};

/// Every example of such an event.
pub(crate) fn all() -> Vec<Example<LoopEvent>> {
    let job = Job {
        session: session(1),
        mode: "architect".into(),
        goal: Digest::of(b"look for what is next"),
        bytes: 21,
    };
    let schedule = || "1770843427038".to_owned();
    let what = || "schedule/1770843427038".to_owned();
    let fired = |missed| LoopEvent::Fired {
        schedule: schedule(),
        slot: AT,
        missed,
        job: job.clone(),
        interrupts: Vec::new(),
    };
    let passed = |missed| LoopEvent::Passed {
        schedule: schedule(),
        slot: AT,
        missed,
        why: "a task was running".into(),
    };
    let mut all = around();
    all.extend([
        ("loop-seen", LoopEvent::Seen { repo: "/home/ada/project".into(), schedule: schedule() }),
        ("loop-fired", fired(0)),
        ("loop-fired-late", fired(431)),
        (
            "loop-fired-interrupting",
            LoopEvent::Fired {
                schedule: schedule(),
                slot: AT,
                missed: 0,
                job: job.clone(),
                interrupts: vec![session(2), session(3)],
            },
        ),
        ("loop-passed", passed(0)),
        ("loop-passed-many", passed(2)),
        ("loop-held", LoopEvent::Held { schedule: schedule(), slot: AT }),
        (
            "loop-delegated",
            LoopEvent::Delegated {
                repo: "/home/ada/project".into(),
                task: "task_1795154844123".into(),
                priority: "todo".into(),
                job: job.clone(),
            },
        ),
        ("loop-failed", LoopEvent::Failed { what: what(), signature: "exit 3".into(), count: 2 }),
        (
            "loop-escalated",
            LoopEvent::Escalated {
                what: what(),
                signature: "exit 3".into(),
                why: "refuted three times".into(),
            },
        ),
        ("loop-cleared", LoopEvent::Cleared { what: what() }),
        ("loop-closed", LoopEvent::Closed { session: session(1), code: 3 }),
        ("loop-halted", LoopEvent::Halted { why: "a person said so".into() }),
        ("loop-continued", LoopEvent::Continued { why: "a person said so".into() }),
    ]);
    all
}

/// Of jobs that wait, and of what they rely on.
fn around() -> Vec<Example<LoopEvent>> {
    vec![
        ("loop-accepted", LoopEvent::Accepted { session: session(1) }),
        ("loop-unopened", unopened("no-mode", false)),
        ("loop-unopened-passing", unopened("provider-down", true)),
        ("loop-synced", synced("9b74c9897bac770ffc029102a200c5de9b74c989", Vec::new(), Vec::new())),
        (
            "loop-synced-wrong",
            synced("", vec!["TODO.md".into()], vec![".roomodes is no YAML: line 3, column 1".into()]),
        ),
        ("loop-zoned", LoopEvent::Zoned { repo: "/home/ada/project".into(), zone: "Europe/Berlin".into() }),
    ]
}

fn unopened(signature: &str, passing: bool) -> LoopEvent {
    LoopEvent::Unopened { session: session(1), signature: signature.into(), passing }
}

fn synced(head: &str, drift: Vec<String>, wrong: Vec<String>) -> LoopEvent {
    LoopEvent::Synced {
        session: session(1),
        stage: "validate".into(),
        head: head.into(),
        files: [("TODO.md".to_owned(), Digest::of(b"- [ ] write"))].into(),
        drift,
        wrong,
    }
}
