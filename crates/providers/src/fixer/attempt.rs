//! The workbench: what is on disk, what the checks say about it, and trying changes so that only
//! those stay that make something better and nothing worse.
//!
//! Knows fixes as data, not where they come from. Start at [`Bench::try_all`].

use super::diag::{self, Findings};
use super::patch::{self, Fix, Texts, applied};
use super::replay::{Answer, Pause, Talk, Want};
use super::tests_run::{self, Tests};
use super::wire;
use contract::limits;
use std::collections::{BTreeMap, BTreeSet};

/// Actions kept back for putting files right, formatting and the last word.
const RESERVE_ACTIONS: u32 = 15;
/// Deadline of one run of a check, milliseconds.
const CHECK_MS: u64 = limits::TOOL_MAX_MS;

/// Bytes of an output asked for in one call: a page, with room for lines longer than the others.
const PIECE_BYTES: usize = limits::READ_BYTES / 2;
/// Most lines of an output asked for in one call.
const PIECE_LINES: usize = 1_000;

/// What is remembered from turn to turn.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Changes that were tried, by [`Fix::key`]; none is tried twice.
    pub tried: BTreeSet<String>,
    /// The state the work began from.
    pub base: Option<State>,
    /// The code was formatted when the work began.
    pub formatted: bool,
}

/// What the checks say about the files as they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Compiler and linter.
    pub findings: Findings,
    /// Tests.
    pub tests: Tests,
    /// What the linter's command printed when it said nothing that could be read.
    pub unread: String,
}

/// The commands of the checks.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    /// Prints diagnostics as JSON.
    pub lint: String,
    /// Runs the tests.
    pub test: String,
}

/// What a change must make better to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Fewer findings of its kind, or fewer failing tests.
    Findings,
    /// Fewer failing tests: a finding is only a hint at what they fail from.
    Tests,
}

/// The files as the fixer knows them, and the conversation it changes them through.
#[derive(Debug)]
pub(crate) struct Bench<'t, 'a> {
    pub talk: &'t mut Talk<'a>,
    pub memory: &'t mut Memory,
    pub commands: Commands,
    /// Files as they are on disk.
    disk: Texts,
    /// Files as they should be.
    pub texts: Texts,
    unreadable: BTreeSet<String>,
    /// Files that could not be changed, and why.
    pub refused: BTreeMap<String, String>,
}

impl<'t, 'a> Bench<'t, 'a> {
    pub(crate) fn new(talk: &'t mut Talk<'a>, memory: &'t mut Memory, commands: Commands) -> Self {
        let (disk, texts) = (Texts::new(), Texts::new());
        Self { talk, memory, commands, disk, texts, unreadable: BTreeSet::new(), refused: BTreeMap::new() }
    }

    /// Too few actions of this turn are left to try anything more.
    pub(crate) fn spent(&self) -> bool {
        self.talk.actions() + RESERVE_ACTIONS >= limits::STEPS_PER_TURN
    }

    /// Reads these files unless they are known; those that cannot be read are left out from then on.
    pub(crate) fn read(&mut self, files: BTreeSet<String>) -> Result<(), Pause> {
        let mut wanted: Vec<(String, usize, String)> = (files.into_iter())
            .filter(|file| !self.texts.contains_key(file) && !self.unreadable.contains(file))
            .map(|file| (file, 1, String::new()))
            .collect();
        while !wanted.is_empty() {
            let rest = wanted.split_off(wanted.len().min(limits::CALLS_PER_MESSAGE));
            let calls = wanted.iter().map(|(file, from, _)| wire::read(file, *from)).collect();
            let answers = self.talk.ask("Reading the files concerned.", calls)?;
            let mut more = Vec::new();
            for ((file, _, mut text), answer) in wanted.into_iter().zip(answers) {
                match wire::page(&answer) {
                    None => {
                        self.unreadable.insert(file);
                    }
                    Some(page) => {
                        text.push_str(&page.text);
                        match page.next {
                            Some(next) => more.push((file, next, text)),
                            None => {
                                self.disk.insert(file.clone(), text.clone());
                                self.texts.insert(file, text);
                            }
                        }
                    }
                }
            }
            more.extend(rest);
            wanted = more;
        }
        Ok(())
    }

    /// Forgets what files look like: something else changed them.
    pub(crate) fn forget(&mut self) {
        self.disk.clear();
        self.texts.clear();
    }

    /// The calls that bring the disk to `self.texts`, each with its file.
    fn changes(&self) -> Vec<(String, Want)> {
        let differs = |(file, text): &(&String, &String)| self.disk[*file] != **text;
        let change =
            |(file, text): (&String, &String)| (file.clone(), wire::change(file, &self.disk[file], text));
        self.texts.iter().filter(differs).map(change).collect()
    }

    /// Writes what is to be written, then makes these calls; returns the answers of these calls.
    pub(crate) fn ask(&mut self, words: &str, calls: Vec<Want>) -> Result<Vec<Answer>, Pause> {
        let mut changes = self.changes();
        // A message holds only so many calls: what does not fit goes ahead.
        let room = limits::CALLS_PER_MESSAGE - calls.len();
        while changes.len() > room {
            let now = changes.split_off(changes.len() - room);
            self.say("Changing files.", now, Vec::new())?;
        }
        if changes.is_empty() && calls.is_empty() {
            return Ok(Vec::new());
        }
        self.say(words, changes, calls)
    }

    /// One message of changes and other calls; a change that is refused is not tried again.
    fn say(
        &mut self,
        words: &str,
        changes: Vec<(String, Want)>,
        calls: Vec<Want>,
    ) -> Result<Vec<Answer>, Pause> {
        let (files, mut wants): (Vec<String>, Vec<Want>) = changes.into_iter().unzip();
        wants.extend(calls);
        let mut answers = self.talk.ask(words, wants)?;
        let rest = answers.split_off(files.len());
        for (file, answer) in files.into_iter().zip(answers) {
            if answer.ok {
                self.disk.insert(file.clone(), self.texts[&file].clone());
            } else {
                self.texts.insert(file.clone(), self.disk[&file].clone());
                self.refused.insert(file, answer.text);
            }
        }
        Ok(rest)
    }

    /// Runs linter and tests on the files as they should be.
    pub(crate) fn measure(&mut self, words: &str) -> Result<State, Pause> {
        let calls =
            vec![wire::shell(&self.commands.lint, CHECK_MS), wire::shell(&self.commands.test, CHECK_MS)];
        let answers = self.ask(words, calls)?;
        let outputs = self.whole(&answers)?;
        let findings = diag::parse(&outputs[0]);
        let silent = findings.targets.is_empty() && findings.foreign.is_empty();
        let unread = if silent { outputs[0].clone() } else { String::new() };
        Ok(State { findings, tests: tests_run::parse(&outputs[1]), unread })
    }

    /// The whole outputs, read piece by piece where the view was cut.
    fn whole(&mut self, answers: &[Answer]) -> Result<Vec<String>, Pause> {
        let mut pieces: Vec<Option<Pieces>> =
            answers.iter().map(|answer| wire::blob(answer).map(Pieces::new)).collect();
        loop {
            let mut asked = Vec::new();
            for (i, pieces) in pieces.iter_mut().enumerate() {
                let room = limits::CALLS_PER_MESSAGE - asked.len();
                let wanted = pieces.as_mut().map(|pieces| pieces.wanted(room)).unwrap_or_default();
                asked.extend(wanted.into_iter().map(|(from, lines)| (i, from, lines)));
            }
            if asked.is_empty() {
                break;
            }
            let call = |&(i, from, lines): &(usize, usize, usize)| {
                let path = pieces[i].as_ref().map_or("", |pieces| &pieces.blob.path);
                wire::read_lines(path, from, lines)
            };
            let calls = asked.iter().map(call).collect();
            let read = self.talk.ask("Reading the rest of the output.", calls)?;
            for ((i, from, lines), answer) in asked.into_iter().zip(&read) {
                if let Some(pieces) = &mut pieces[i] {
                    pieces.take(from, lines, wire::page(answer));
                }
            }
        }
        let whole = |(answer, pieces): (&Answer, Option<Pieces>)| {
            let texts = pieces.map(|pieces| pieces.texts).filter(|texts| !texts.is_empty());
            texts.map_or_else(|| answer.text.clone(), |texts| texts.into_values().collect())
        };
        Ok(answers.iter().zip(pieces).map(whole).collect())
    }

    /// Tries these changes and keeps what holds: for findings all at once, then in smaller groups where
    /// that does not hold; for failing tests one by one. They must be compatible with one another.
    /// Returns the state with what was kept.
    pub(crate) fn try_all(&mut self, mut best: State, fixes: Vec<Fix>, aim: Aim) -> Result<State, Pause> {
        let before = self.texts.clone();
        self.memory.tried.extend(fixes.iter().map(|fix| fix.key(&before)));
        let mut kept: Vec<Fix> = Vec::new();
        let mut groups = match aim {
            Aim::Findings => vec![fixes],
            Aim::Tests => fixes.into_iter().rev().map(|fix| vec![fix]).collect(),
        };
        while let Some(mut group) = groups.pop() {
            group.retain(|fix| fix.parts.iter().all(|part| !self.refused.contains_key(&part.file)));
            if group.is_empty() {
                continue;
            }
            if self.spent() || (aim == Aim::Tests && best.tests.green()) {
                break;
            }
            self.texts = applied(&before, kept.iter().chain(&group));
            let refused = self.refused.len();
            let state = self.measure(&format!("Trying {}.", summary(&group)))?;
            if self.refused.len() > refused {
                groups.push(group);
                continue;
            }
            let blamed = self.blamed(&group, &kept, &best, &state);
            if !blamed.contains(&true) && holds(&best, &state, &group, aim) {
                best = state;
                kept.extend(group);
            } else if group.len() > 1 {
                let (sound, suspect) = split(group, blamed);
                // The last one pushed is tried first.
                groups.extend([suspect, sound].into_iter().filter(|part| !part.is_empty()));
            }
        }
        kept.retain(|fix| fix.parts.iter().all(|part| !self.refused.contains_key(&part.file)));
        self.texts = applied(&before, &kept);
        Ok(best)
    }

    /// For each fix of a group: does a hard error that was not there before point at what it changed?
    fn blamed(&self, group: &[Fix], kept: &[Fix], best: &State, state: &State) -> Vec<bool> {
        let known: BTreeSet<_> = best.findings.diags.iter().filter(|d| d.hard).map(|d| d.kind()).collect();
        let errors: Vec<(&str, usize)> = (state.findings.diags.iter())
            .filter(|diag| diag.hard && !known.contains(&diag.kind()))
            .filter_map(|diag| diag.at.as_ref().map(|at| (at.file.as_str(), at.start.0)))
            .collect();
        let all: Vec<&Fix> = kept.iter().chain(group).collect();
        let near = |fix: &Fix| {
            patch::lines_after(fix, &all, &self.texts)
                .iter()
                .any(|(file, lines)| errors.iter().any(|(at, line)| at == file && lines.contains(line)))
        };
        group.iter().map(near).collect()
    }
}

/// Lints whose advice only changes how a thing is written: the last to blame for a failing test.
const SPELLING: [&str; 12] = [
    "bare_trait_objects",
    "clippy::legacy_numeric_constants",
    "clippy::needless_borrow",
    "clippy::needless_lifetimes",
    "clippy::needless_return",
    "clippy::redundant_field_names",
    "clippy::redundant_static_lifetimes",
    "deprecated",
    "ellipsis_inclusive_range_patterns",
    "mismatched_lifetime_syntaxes",
    "unused_imports",
    "unused_mut",
];

/// An output being read. How many lines it has is not known beforehand, so pieces are asked for side
/// by side until one of them has an end.
#[derive(Debug)]
struct Pieces {
    blob: wire::Blob,
    /// Lines asked for in one call.
    lines: usize,
    /// Calls in one message: about as many as the output has pieces.
    width: usize,
    next: usize,
    ended: bool,
    /// What was cut for its bytes: from which line, how many.
    gaps: Vec<(usize, usize)>,
    texts: BTreeMap<usize, String>,
}

impl Pieces {
    fn new(blob: wire::Blob) -> Self {
        let lines = (PIECE_BYTES / blob.line_bytes).clamp(1, PIECE_LINES);
        let width = (blob.bytes / blob.line_bytes / lines + 1).min(limits::CALLS_PER_MESSAGE);
        Self { blob, lines, width, next: 1, ended: false, gaps: Vec::new(), texts: BTreeMap::new() }
    }

    /// The next pieces to ask for, at most `room` of them.
    fn wanted(&mut self, room: usize) -> Vec<(usize, usize)> {
        let gaps = self.gaps.len().min(room);
        let mut wanted: Vec<_> = self.gaps.drain(..gaps).collect();
        while !self.ended && wanted.len() < self.width.min(room) {
            wanted.push((self.next, self.lines));
            self.next += self.lines;
        }
        wanted
    }

    /// A piece came, or there is none that far.
    fn take(&mut self, from: usize, lines: usize, page: Option<wire::Page>) {
        let Some(page) = page else {
            self.ended = true;
            return;
        };
        match page.next {
            None => self.ended = true,
            Some(at) if at > from && at < from + lines => self.gaps.push((at, from + lines - at)),
            Some(_) => {}
        }
        self.texts.insert(from, page.text);
    }
}

/// Parts a group that did not hold into what is likely sound and what is suspect: what is blamed,
/// else what changes more than spelling, else simply one half.
fn split(group: Vec<Fix>, blamed: Vec<bool>) -> (Vec<Fix>, Vec<Fix>) {
    let deeper = group.iter().map(|fix| !SPELLING.contains(&fix.code.as_str())).collect();
    for suspect in [blamed, deeper] {
        if suspect.contains(&true) && suspect.contains(&false) {
            let (suspect, sound): (Vec<_>, Vec<_>) = group.into_iter().zip(suspect).partition(|pair| pair.1);
            let fixes = |pairs: Vec<(Fix, bool)>| pairs.into_iter().map(|pair| pair.0).collect();
            return (fixes(sound), fixes(suspect));
        }
    }
    let mut first = group;
    let second = first.split_off(first.len().div_ceil(2));
    (first, second)
}

/// Does a change hold? Nothing that was well may be worse, and something must be better.
fn holds(before: &State, after: &State, group: &[Fix], aim: Aim) -> bool {
    if !after.unread.is_empty() || after.tests.worse_than(&before.tests) {
        return false;
    }
    let (was, is) = (&before.findings, &after.findings);
    // What is no longer looked at is not mended.
    if !was.units().is_subset(&is.units()) {
        return false;
    }
    let (broken, breaks) = (was.broken(), is.broken());
    let newly = breaks.difference(&broken).any(|target| was.targets.contains(*target));
    let hard = |findings: &Findings| -> BTreeSet<(String, String)> {
        let hard = findings.diags.iter().filter(|diag| diag.hard);
        hard.map(|diag| (diag.code.clone(), diag.message.clone())).collect()
    };
    let (old, new) = (hard(was), hard(is));
    let only_worse = !new.is_subset(&old) && old.is_subset(&new);
    if newly || (only_worse && !broken.is_empty()) {
        return false;
    }
    let codes: BTreeSet<&str> = group.iter().map(|fix| fix.code.as_str()).collect();
    let count =
        |findings: &Findings| findings.diags.iter().filter(|d| codes.contains(d.code.as_str())).count();
    let fewer_failures = after.tests.failed.len() < before.tests.failed.len()
        || (before.tests.uncompiled && !after.tests.uncompiled);
    let fewer_findings = count(is) < count(was) || is.targets.len() > was.targets.len();
    fewer_failures || (aim == Aim::Findings && fewer_findings)
}

/// "3 x `deprecated`, 1 x `unused_mut`"
fn summary(group: &[Fix]) -> String {
    let codes: BTreeSet<&str> = group.iter().map(|fix| fix.code.as_str()).collect();
    let count = |code: &str| group.iter().filter(|fix| fix.code == code).count();
    let parts: Vec<String> = codes.iter().map(|code| format!("{} x `{code}`", count(code))).collect();
    parts.join(", ")
}
