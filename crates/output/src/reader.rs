//! Reads an output as it comes: lines, what parsers make of them, what is kept.
//!
//! Knows no process. Memory is bounded whatever comes. Start at [`Reader`].

use crate::custom::Custom;
use crate::digest::Digest;
use crate::keep::Keep;
use crate::lines::{Line, Lines};
use crate::parsers::{BUILTIN, REGISTRY};
use crate::rules::{Found, Machine, Weight};
use crate::shown::{self, Room};
use crate::tool::{self, Kind};
use crate::weigh::{self, Class};
use contract::checks::Tests;
use contract::found::{Ending, Finding, Severity, TestEnd};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Findings that are kept, and likewise tests; all are counted.
pub const FINDINGS: usize = 500;
/// Findings and tests that are remembered, to count each once.
const REMEMBERED: usize = 64 * 1024;
/// Bytes of a line that parsers and weights look at.
const LOOK_BYTES: usize = 4 * 1024;
/// Bytes of a record that is read as JSON.
const RECORD_BYTES: usize = 256 * 1024;
/// Shorter outputs are shown as they are, bytes.
const SHORT_BYTES: usize = 5 * 1024;

/// What happens while an output is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A complaint.
    Finding(Finding),
    /// A test that ended.
    Test(TestEnd),
}

/// What is known of an output before it is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The command line, or a tool's name; empty when nobody knows.
    pub command: String,
    /// Parsers of the user's.
    pub custom: Arc<Custom>,
    /// Bytes shown of it at most.
    pub limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { command: String::new(), custom: Arc::default(), limit: 16 * 1024 }
    }
}

/// The reader.
pub struct Reader {
    lines: Lines,
    body: Body,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("lines", &self.body.keep.lines()).finish_non_exhaustive()
    }
}

struct Body {
    machines: Vec<Machine>,
    /// Parsers that the command names, built-in ones first.
    hinted: Vec<bool>,
    custom: Arc<Custom>,
    /// Which of these read a line.
    used: Vec<bool>,
    keep: Keep,
    seen: Seen,
    kind: Kind,
    limit: usize,
}

impl Reader {
    /// For one output.
    pub fn new(options: Options) -> Self {
        let words = tool::programs(&options.command);
        let kind = tool::kind(&words, &options.command);
        let names = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        let mut hinted: Vec<bool> =
            REGISTRY.iter().map(|table| names(table.programs) || table.name == options.command).collect();
        hinted.extend(options.custom.hinted(&options.command));
        let custom_names = options.custom.names();
        let names = REGISTRY.iter().map(|table| table.name).chain(custom_names);
        let machines = names.map(Machine::new).collect();
        let whole = if kind == Kind::Content { options.limit } else { SHORT_BYTES.min(options.limit) };
        let keep = Keep::new(whole);
        let body = Body {
            machines,
            hinted,
            used: vec![false; options.custom.written().len()],
            custom: options.custom,
            keep,
            seen: Seen::default(),
            kind,
            limit: options.limit,
        };
        Self { lines: Lines::new(), body }
    }

    /// The next bytes. How they are cut into pieces changes nothing.
    pub fn push(&mut self, bytes: &[u8], events: &mut dyn FnMut(Event)) {
        let body = &mut self.body;
        self.lines.push(bytes, |line| body.line(&line, events));
    }

    /// The end.
    pub fn finish(self, events: &mut dyn FnMut(Event)) -> Digest {
        let Self { lines, mut body } = self;
        let count = lines.finish(|line| body.line(&line, events));
        let mut sight = Sight { seen: &mut body.seen, events };
        body.machines.iter_mut().for_each(|machine| machine.close(&mut sight));
        body.digest(count)
    }
}

impl Body {
    fn line(&mut self, line: &Line<'_>, events: &mut dyn FnMut(Event)) {
        let text: &str = &line.text;
        if line.binary {
            let note = format!("[{} bytes that are no text]", text.len());
            return self.keep.push(&note, line.number, Class::Noise);
        }
        let look = weigh::bare(&text[..text.floor_char_boundary(LOOK_BYTES)]);
        let record = weigh::bare(text);
        let known = self.parse(look, record, line.number, events);
        let class = match weigh::weigh(look, known) {
            // A terminal shows only what came last.
            class if line.overwritten && class < Class::Strong => class.min(Class::Noise),
            class => class,
        };
        self.keep.push(text, line.number, class);
    }

    /// What parsers make of a line.
    fn parse(&mut self, look: &str, record: &str, at: u64, events: &mut dyn FnMut(Event)) -> Option<Weight> {
        let mut sight = Sight { seen: &mut self.seen, events };
        if record.starts_with(['{', '[']) && record.len() <= RECORD_BYTES && json(record, at, &mut sight) {
            return Some(sight.seen.weight.take().unwrap_or(Weight::Nothing));
        }
        let mut taken = None;
        for machine in &mut self.machines {
            if machine.begin(look, &mut sight) {
                taken = Some(Weight::Error);
            }
        }
        if taken.is_some() || look.trim().is_empty() {
            return taken;
        }
        let own = self.custom.compiled();
        let offset = REGISTRY.len();
        for (rules, offset) in [(own, offset), (&*BUILTIN, 0)] {
            let matches = rules.set.matches(look);
            if !matches.matched_any() {
                continue;
            }
            for hinted in [true, false] {
                for rule in matches.iter().map(|at| &rules.rules[at]) {
                    let parser = rule.parser + offset;
                    if self.hinted[parser] != hinted || (rule.hinted && !hinted) {
                        continue;
                    }
                    let weight = self.machines[parser].line((rule.what, &rule.regex), look, at, &mut sight);
                    if let Some(weight) = weight {
                        if offset > 0 {
                            self.used[rule.parser] = true;
                        }
                        // A foreign pattern may show more, and never hide.
                        return Some(if offset > 0 { weight.max(Weight::Plain) } else { weight });
                    }
                }
            }
        }
        None
    }

    fn digest(self, count: u64) -> Digest {
        let Self { keep, seen, kind, limit, custom, hinted, used, .. } = self;
        let named = custom.names().zip(used).zip(&hinted[REGISTRY.len()..]);
        let own =
            named.filter(|(_, hinted)| **hinted).map(|((name, used), _)| (name.to_owned(), used)).collect();
        let (bytes, troubles) = (keep.bytes, keep.troubles);
        let (text, truncated) = match &keep.whole {
            Some(whole) => (whole.clone(), false),
            None => {
                let known = seen.errors + seen.warnings + seen.tested().map_or(0, |tests| tests.failed);
                let told = (known > 0 || !seen.totals.is_empty()) && troubles <= known;
                let room = room(kind, limit, bytes, told);
                (shown::text(&keep.into_entries(), count, room), true)
            }
        };
        Digest {
            errors: seen.errors,
            warnings: seen.warnings,
            troubles,
            lines: count,
            bytes,
            tests: seen.tested(),
            findings: seen.findings,
            ends: seen.tests,
            counts: seen.counts,
            text,
            truncated,
            own,
        }
    }
}

/// How much of an output of so many bytes is shown. `told`: what went wrong is known in a few words already.
fn room(kind: Kind, limit: usize, bytes: u64, told: bool) -> Room {
    let share = |percent: u64| usize::try_from(bytes / 100 * percent).unwrap_or(usize::MAX);
    match kind {
        // Somebody asked for these very lines.
        Kind::Content => Room { limit, ends: limit, head: 60 },
        Kind::Log => {
            // A log is read for a few lines of it.
            let limit = limit / 8 * 5;
            let limit = if told { share(40).clamp(limit / 10 * 3, limit) } else { limit };
            Room { limit, ends: share(30).clamp(limit / 5, limit * 3 / 4), head: 10 }
        }
    }
}

fn json(record: &str, at: u64, found: &mut Sight<'_>) -> bool {
    let known = ["\"reason\"", "\"$message_type\"", "\"Action\"", "\"event\"", "\"filePath\""];
    if !known.iter().any(|word| memchr::memmem::find(record.as_bytes(), word.as_bytes()).is_some()) {
        return false;
    }
    let Ok(value) = serde_json::from_str(record) else { return false };
    REGISTRY.iter().filter_map(|table| table.json).any(|read| read(&value, at, found))
}

/// What was found so far, each once.
#[derive(Debug, Default)]
struct Seen {
    findings: Vec<Finding>,
    tests: Vec<TestEnd>,
    errors: u64,
    warnings: u64,
    known: HashSet<u64>,
    /// By the ends of tests.
    ended: HashMap<String, Tests>,
    /// By runners' own sums.
    totals: HashMap<String, Tests>,
    counts: Vec<(&'static str, u64)>,
    /// The heaviest found in the record that is being read.
    weight: Option<Weight>,
}

impl Seen {
    fn is_new(&mut self, what: impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let hash = hasher.finish();
        !self.known.contains(&hash) && (self.known.len() >= REMEMBERED || self.known.insert(hash))
    }

    /// How many tests there were: as each runner sums up, or else as many as were seen.
    fn tested(&self) -> Option<Tests> {
        let mut tools: Vec<&String> = self.totals.keys().chain(self.ended.keys()).collect();
        tools.sort();
        tools.dedup();
        let each = tools.into_iter().filter_map(|tool| self.totals.get(tool).or(self.ended.get(tool)));
        // A runner that another one calls ends tests whose sum the other prints.
        let summed: Vec<&Tests> = self.totals.values().collect();
        let add = |a: Tests, b: &Tests| Tests {
            passed: a.passed.saturating_add(b.passed),
            failed: a.failed.saturating_add(b.failed),
            ignored: a.ignored.saturating_add(b.ignored),
        };
        if summed.is_empty() {
            let mut each = each.peekable();
            each.peek()?;
            return Some(each.fold(Tests::default(), add));
        }
        Some(summed.into_iter().fold(Tests::default(), add))
    }
}

struct Sight<'a> {
    seen: &'a mut Seen,
    events: &'a mut dyn FnMut(Event),
}

impl Found for Sight<'_> {
    fn finding(&mut self, finding: Finding) {
        let key = (finding.severity, &finding.file, finding.line, finding.column, &finding.message);
        let weight = match finding.severity {
            Severity::Error => Some(Weight::Error),
            Severity::Warning => Some(Weight::Warning),
            Severity::Note => None,
        };
        self.seen.weight = self.seen.weight.max(weight);
        if !self.seen.is_new(key) {
            return;
        }
        match finding.severity {
            Severity::Error => self.seen.errors += 1,
            Severity::Warning => self.seen.warnings += 1,
            Severity::Note => return,
        }
        (self.events)(Event::Finding(finding.clone()));
        if self.seen.findings.len() < FINDINGS {
            self.seen.findings.push(finding);
        }
    }

    fn test(&mut self, test: TestEnd) {
        if test.ending == Ending::Failed {
            self.seen.weight = Some(Weight::Error);
        }
        // Summaries name a test again, some by its last part only.
        let leaf = test
            .name
            .rsplit([" › ", " > "][usize::from(!test.name.contains(" › "))])
            .next()
            .unwrap_or_default();
        let leaf = leaf.trim().to_owned();
        let is_new = self.seen.is_new((&test.tool, &test.name, test.ending));
        if !is_new || (leaf != test.name && !self.seen.is_new((&test.tool, &leaf, test.ending))) {
            return;
        }
        let ended = self.seen.ended.entry(test.tool.clone()).or_default();
        match test.ending {
            Ending::Passed => ended.passed += 1,
            Ending::Failed => ended.failed += 1,
            Ending::Skipped => ended.ignored += 1,
        }
        (self.events)(Event::Test(test.clone()));
        if self.seen.tests.len() < FINDINGS {
            self.seen.tests.push(test);
        } else if test.ending == Ending::Failed
            && let Some(passed) = self.seen.tests.iter_mut().find(|test| test.ending != Ending::Failed)
        {
            // Of many tests the failed ones are kept.
            *passed = test;
        }
    }

    fn totals(&mut self, tool: &str, tests: Tests) {
        let sum = self.seen.totals.entry(tool.to_owned()).or_default();
        sum.passed = sum.passed.saturating_add(tests.passed);
        sum.failed = sum.failed.saturating_add(tests.failed);
        sum.ignored = sum.ignored.saturating_add(tests.ignored);
    }

    fn count(&mut self, what: &'static str) {
        match self.seen.counts.iter_mut().find(|(name, _)| *name == what) {
            Some((_, count)) => *count += 1,
            None => self.seen.counts.push((what, 1)),
        }
    }
}
