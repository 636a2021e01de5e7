//! The measures by name: what each counts, in which unit, by which labels. The list is what `docs/metrics.md` describes.
//!
//! Knows no record and no wire format. Start at [`ALL`]; values are kept in a [`crate::sheet::Sheet`].

use crate::sheet::Sheet;

/// How a measure moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from the store's first record on (of processes: from their start on).
    Counter,
    /// Up and down.
    Gauge,
    /// How often a value was at most so large.
    Histogram,
}

impl Kind {
    /// The name in expositions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with the unit it is shown in.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Kept units in one that is shown: 1000 = kept in milliseconds, shown in seconds.
    pub per: u64,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets, in kept units.
    pub bounds: &'static [u64],
    /// What it is, in a sentence.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, per: 1, labels, bounds: &[], help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { kind: Kind::Gauge, ..counter(name, labels, help) }
}

const fn times(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { kind: Kind::Histogram, per: 1_000, bounds: LONG_MS, ..counter(name, labels, help) }
}

const fn instants(name: &'static str, help: &'static str) -> Metric {
    Metric { kind: Kind::Histogram, per: 1_000_000_000, bounds: SHORT_NS, ..counter(name, &[], help) }
}

/// Of what takes from milliseconds to minutes.
const LONG_MS: &[u64] = &[
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    1_800_000,
];
/// Of what takes from microseconds to seconds: the buckets that the engine counts in.
pub const SHORT_NS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];
/// Nano-dollars in a dollar.
const NANOS: u64 = 1_000_000_000;

/// Sessions by what they are doing.
pub static SESSIONS: Metric = gauge(
    "kapell_sessions",
    &["state"],
    "Sessions by state: created, active, running, waiting, paused, completed, failed, cancelled, damaged.",
);
/// What unfinished sessions wait for.
pub static WAITING: Metric = gauge(
    "kapell_sessions_waiting",
    &["for"],
    "Unfinished sessions that wait, by what for: approval, answer, resume, children, limit, time, turn.",
);
/// The longest wait for a person.
pub static NEEDS_YOU: Metric = Metric {
    per: 1_000,
    ..gauge(
        "kapell_needs_you_seconds",
        &[],
        "How long the session that has waited longest for a person's word (approval, answer, resume) has waited; 0 when none does.",
    )
};
/// The longest time an unfinished session has been without an event while an action runs.
pub static QUIET: Metric = Metric {
    per: 1_000,
    ..gauge(
        "kapell_running_quiet_seconds",
        &[],
        "The longest time since a session in which an action runs has written anything.",
    )
};
/// Sessions that were opened.
pub static OPENED: Metric = counter("kapell_sessions_opened_total", &[], "Sessions opened.");
/// Sessions that ended.
pub static ENDED: Metric = counter(
    "kapell_sessions_ended_total",
    &["state", "code"],
    "Sessions that ended, by how and by exit code.",
);
/// Actions that ended.
pub static ACTIONS: Metric = counter(
    "kapell_actions_total",
    &["kind", "outcome"],
    "Attempts at actions that ended, by kind of work and by outcome (done, failed, cancelled, timed-out, unknown).",
);
/// Time of actions.
pub static ACTION_TIME: Metric =
    times("kapell_action_seconds", &["kind"], "From the start of an attempt to its end, by kind of work.");
/// Actions in flight.
pub static RUNNING: Metric =
    gauge("kapell_actions_running", &["kind"], "Actions in flight, by kind of work.");
/// Outcomes that came too late.
pub static STALE: Metric =
    counter("kapell_outcomes_stale_total", &[], "Outcomes of attempts that were given up before.");
/// Tool calls.
pub static TOOLS: Metric = counter(
    "kapell_tool_calls_total",
    &["tool", "outcome"],
    "Tool calls that ended, by tool and by outcome: ok, error, or the attempt's (failed, cancelled, timed-out, unknown).",
);
/// Model calls.
pub static CALLS: Metric = counter(
    "kapell_model_calls_total",
    &["model", "outcome"],
    "Model calls that ended, by model and by outcome.",
);
/// Time of model calls.
pub static CALL_TIME: Metric = times(
    "kapell_model_call_seconds",
    &["model"],
    "From a model call's start to the end of its answer, as Kapell sees it.",
);
/// Tokens.
pub static TOKENS: Metric = counter(
    "kapell_model_tokens_total",
    &["model", "type"],
    "Tokens as providers count them, by type: input (neither read from a cache nor written to one), output, cache_read, cache_write.",
);
/// Replies that were kept.
pub static KEPT_REPLIES: Metric = counter(
    "kapell_replies_kept_total",
    &["model"],
    "Model calls that were answered from Kapell's own kept replies: nobody was asked.",
);
/// Money.
pub static SPENT: Metric = Metric {
    per: NANOS,
    ..counter(
        "kapell_spent_usd_total",
        &["model"],
        "Money settled in the ledgers of trees, by model; none = what no model was asked for.",
    )
};
/// Money that is reserved.
pub static RESERVED: Metric = Metric {
    per: NANOS,
    ..gauge(
        "kapell_budget_reserved_usd",
        &[],
        "Money reserved by actions in flight, over all unfinished trees.",
    )
};
/// How far the fullest budget is used.
pub static BUDGET: Metric = Metric {
    per: 1_000_000,
    ..gauge(
        "kapell_budget_used_ratio",
        &["unit"],
        "Settled and reserved part of the cap of the unfinished tree that is nearest to its cap, by unit: money, tokens, steps, time.",
    )
};
/// Frozen trees.
pub static FROZEN: Metric = gauge(
    "kapell_budgets_frozen",
    &[],
    "Unfinished trees that are frozen because more was billed than reserved.",
);
/// More was billed than reserved.
pub static OVERSHOOTS: Metric =
    counter("kapell_budget_overshoots_total", &[], "Times a provider billed more than was reserved.");
/// Breakers.
pub static BREAKER: Metric = gauge(
    "kapell_provider_breaker_state",
    &["quota"],
    "The circuit breaker of a key at a provider: 0 closed, 1 half open, 2 open.",
);
/// Calls under way at a provider.
pub static UNDER_WAY: Metric = gauge(
    "kapell_provider_calls_under_way",
    &["quota"],
    "Calls under way with a key at a provider, over all processes.",
);
/// How calls ended for their provider.
pub static PROVIDER_ENDS: Metric = counter(
    "kapell_provider_calls_total",
    &["quota", "end"],
    "Calls that ended with a key at a provider: answered, limited, down, refused, unknown.",
);
/// Waits for limits.
pub static WAITS: Metric = counter(
    "kapell_limit_waits_total",
    &["why"],
    "Times a session had to wait for a provider: rate, window, concurrency, reset, backoff, breaker, retry.",
);
/// The next model of the chain.
pub static FALLBACKS: Metric =
    counter("kapell_fallbacks_total", &[], "Times a session went on with the next model of its chain.");
/// Intents.
pub static INTENTS: Metric = counter(
    "kapell_intents_total",
    &["source", "wish"],
    "Intents taken from inboxes, by who wanted them and what was wanted.",
);
/// Intents that wait inside sessions.
pub static QUEUED: Metric = gauge(
    "kapell_intents_queued",
    &[],
    "Intents that sessions have taken and neither selected nor disposed of.",
);
/// Sessions with mail.
pub static INBOX: Metric =
    gauge("kapell_inbox_sessions", &[], "Sessions whose inbox holds something that nobody has taken yet.");
/// Answers to approvals.
pub static APPROVALS: Metric = counter(
    "kapell_approvals_total",
    &["answer"],
    "Approvals by answer: asked, granted, denied, expired, withdrawn.",
);
/// Verdicts.
pub static VERDICTS: Metric =
    counter("kapell_verdicts_total", &["verdict"], "Verdicts over checks: confirmed, refuted, inconclusive.");
/// Failures.
pub static FAULTS: Metric = counter(
    "kapell_faults_total",
    &["kind", "code"],
    "Attempts that failed, by kind and code of the fault; `kapell errors` tells more.",
);
/// Restarts.
pub static RECOVERIES: Metric = counter(
    "kapell_recoveries_total",
    &["did"],
    "Sessions taken over by a new process, by what was done about what was in flight.",
);
/// Conversations that were cut.
pub static COMPACTIONS: Metric =
    counter("kapell_compactions_total", &[], "Times a conversation was cut to make room.");
/// Streams that cannot be read.
pub static DAMAGED: Metric = gauge(
    "kapell_streams_damaged",
    &[],
    "Streams of the store that cannot be read; `kapell verify` names them.",
);
/// Label values that were left out.
pub static OVERFLOW: Metric = counter(
    "kapell_labels_overflow_total",
    &["metric"],
    "Values that were counted under the label `other`, because their measure has as many as it may have.",
);
/// Decisions.
pub static DECISION: Metric =
    instants("kapell_arbiter_decision_seconds", "Time of one decision: from an input to events and effects.");
/// Commits.
pub static COMMIT: Metric = instants(
    "kapell_journal_commit_seconds",
    "Time of one commit as a session waits for it: queue, write, fsync.",
);
/// The binary.
pub static BUILD: Metric = gauge("kapell_build_info", &["version"], "1, for the version that runs.");
/// Memory.
pub static MEMORY: Metric = gauge("process_resident_memory_bytes", &[], "Resident memory of this process.");
/// Descriptors.
pub static DESCRIPTORS: Metric = gauge("process_open_fds", &[], "Open file descriptors of this process.");
/// Most descriptors.
pub static DESCRIPTORS_MOST: Metric =
    gauge("process_max_fds", &[], "File descriptors this process may have open.");
/// Threads.
pub static THREADS: Metric = gauge("process_threads", &[], "Threads of this process.");
/// Processor time.
pub static CPU: Metric = Metric {
    per: 1_000,
    ..counter("process_cpu_seconds_total", &[], "Processor time of this process, of user and system.")
};
/// The process's birth.
pub static STARTED: Metric = Metric {
    per: 1_000,
    ..gauge("process_start_time_seconds", &[], "When this process began, seconds since 1970.")
};

/// Every measure, in the order in which they are shown. Nothing else is emitted.
pub static ALL: &[&Metric] = &[
    &SESSIONS,
    &WAITING,
    &NEEDS_YOU,
    &QUIET,
    &OPENED,
    &ENDED,
    &ACTIONS,
    &ACTION_TIME,
    &RUNNING,
    &STALE,
    &TOOLS,
    &CALLS,
    &CALL_TIME,
    &TOKENS,
    &KEPT_REPLIES,
    &SPENT,
    &RESERVED,
    &BUDGET,
    &FROZEN,
    &OVERSHOOTS,
    &BREAKER,
    &UNDER_WAY,
    &PROVIDER_ENDS,
    &WAITS,
    &FALLBACKS,
    &INTENTS,
    &QUEUED,
    &INBOX,
    &APPROVALS,
    &VERDICTS,
    &FAULTS,
    &RECOVERIES,
    &COMPACTIONS,
    &DAMAGED,
    &OVERFLOW,
    &DECISION,
    &COMMIT,
    &BUILD,
    &MEMORY,
    &DESCRIPTORS,
    &DESCRIPTORS_MOST,
    &THREADS,
    &CPU,
    &STARTED,
];

/// States of sessions, all of which are always shown: an alert on one that is not there never fires.
pub const STATES: [&str; 9] =
    ["created", "active", "running", "waiting", "paused", "completed", "failed", "cancelled", "damaged"];
/// What sessions wait for; always shown.
pub const WAIT_KINDS: [&str; 7] = ["approval", "answer", "resume", "children", "limit", "time", "turn"];
/// Those of them that only a person ends.
pub const NEED_KINDS: [&str; 3] = ["approval", "answer", "resume"];

/// A moment's values of one process, as the host finds them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Version of the binary.
    pub version: String,
    /// Resident bytes.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// How many there may be.
    pub descriptors_most: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time, milliseconds.
    pub cpu_ms: u64,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    /// Times of decisions: how many in each bucket of [`SHORT_NS`] and above, and their sum in nanoseconds.
    pub decisions: (Vec<u64>, u64),
    /// Times of commits, likewise.
    pub commits: (Vec<u64>, u64),
}

impl Process {
    /// Puts its values into a sheet.
    pub fn write(&self, sheet: &mut Sheet) {
        sheet.set(&BUILD, &[&self.version], 1);
        for (metric, value) in [
            (&MEMORY, self.resident_bytes),
            (&DESCRIPTORS, self.descriptors),
            (&DESCRIPTORS_MOST, self.descriptors_most),
            (&THREADS, self.threads),
            (&CPU, self.cpu_ms),
            (&STARTED, self.started_ms),
        ] {
            sheet.set(metric, &[], value);
        }
        sheet.histogram(&DECISION, &[], &self.decisions.0, self.decisions.1);
        sheet.histogram(&COMMIT, &[], &self.commits.0, self.commits.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_what_prometheus_wants_and_stand_once() {
        let mut seen = BTreeSet::new();
        for metric in ALL {
            let word =
                |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            assert!(word(metric.name) && metric.labels.iter().all(|label| word(label)), "{}", metric.name);
            assert!(seen.insert(metric.name), "{} stands twice", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert_eq!(metric.bounds.is_empty(), metric.kind != Kind::Histogram, "{}", metric.name);
            assert!(metric.bounds.is_sorted() && metric.help.ends_with('.'), "{}", metric.name);
        }
    }
    #[test]
    fn the_page_lists_every_measure_and_nothing_else() {
        let page = include_str!("../../../docs/metrics.md");
        let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted = ALL.iter().map(|metric| {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!(
                "| `{}` | {} | {} | {} |",
                metric.name,
                metric.kind.name(),
                labels.join(", "),
                metric.help
            )
        });
        assert_eq!(told, wanted.collect::<Vec<String>>());
    }
}
