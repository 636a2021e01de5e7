//! What parsers are made of: rules with named groups, and the little state that ties lines together.
//!
//! Knows no tool. A rule takes from a line what its groups name: `file`, `line`, `column`, `severity`, `code`,
//! `message`; `test`, `ending`, `ms`, `s`; `run`, `passed`, `failed`, `errors`, `skipped`. All regexes are linear-time.
//! Start at [`What`], then [`Machine::line`].

use contract::checks::Tests;
use contract::found::{Ending, Finding, Severity, TestEnd};
use regex::{Captures, Regex};

/// Lines that may stand between the beginning of a finding and its place or message.
const GAP: u8 = 12;
/// Bytes of a message that are kept.
const MESSAGE_BYTES: usize = 400;

/// What a line that matches means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A finding, whole. The severity counts where the line says none.
    Finding(Severity),
    /// One whose place or message follows.
    Opens(Severity),
    /// The place of the open one.
    Place,
    /// The message of the open one, or of the finding that comes next.
    Message,
    /// One with its place; the next line that says something is its message.
    Headless(Severity),
    /// Names the file of the findings that follow.
    File,
    /// A finding of the file named before.
    InFile(Severity),
    /// A frame of a stack: the place of what is thrown at its end.
    Frame,
    /// What was thrown at the last frame.
    Thrown,
    /// A test that ended.
    Test(Ending),
    /// How many tests passed, failed, were skipped: by groups, or as `12 passed`.
    Totals,
    /// One more of something.
    Count(&'static str),
    /// Worth being seen, and nothing else.
    Matters,
    /// Worth nothing: all went well, or it repeats what was found.
    Quiet,
    /// Looks like a finding of another rule and is none.
    Skip,
}

/// A rule of a built-in parser.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) what: What,
    pub(crate) pattern: &'static str,
    /// Too common a line to be taken for this tool's unless the command names it.
    pub(crate) hinted: bool,
}

/// A rule for any output.
pub(crate) const fn rule(what: What, pattern: &'static str) -> Rule {
    Rule { what, pattern, hinted: false }
}

/// A rule for the output of the tool's own command.
pub(crate) const fn own(what: What, pattern: &'static str) -> Rule {
    Rule { what, pattern, hinted: true }
}

/// How much a line that was understood matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// All went well there.
    Nothing,
    /// Like any other line.
    Plain,
    /// A warning.
    Warning,
    /// An error, a failed test, a sum.
    Error,
}

/// Takes what is found.
pub(crate) trait Found {
    fn finding(&mut self, finding: Finding);
    fn test(&mut self, test: TestEnd);
    fn totals(&mut self, tool: &str, tests: Tests);
    fn count(&mut self, what: &'static str);
}

/// The state of one parser over one output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) name: String,
    open: Option<Open>,
    file: Option<String>,
    message: Option<String>,
    frame: Option<(String, Option<u32>)>,
}

#[derive(Debug, Clone)]
struct Open {
    finding: Finding,
    headless: bool,
    lines: u8,
}

impl Machine {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Before any rule sees a line: whether an open finding takes it as its message, or has waited long enough.
    pub(crate) fn begin(&mut self, text: &str, found: &mut dyn Found) -> bool {
        if text.trim().is_empty() {
            self.file = None;
        }
        let Some(open) = &mut self.open else { return false };
        if open.headless && !text.trim().is_empty() {
            open.finding.message = short(text.trim());
            self.close(found);
            return true;
        }
        open.lines += 1;
        if open.lines > GAP {
            self.close(found);
        }
        false
    }

    /// A line that matches a rule. `None`: it means nothing as things stand.
    pub(crate) fn line(
        &mut self,
        (what, regex): (What, &Regex),
        text: &str,
        at: u64,
        found: &mut dyn Found,
    ) -> Option<Weight> {
        let groups = Groups(regex.captures(text)?);
        match what {
            What::Finding(_) | What::Opens(_) | What::Headless(_) | What::InFile(_) | What::Thrown => {
                self.complaint(what, &groups, at, found)
            }
            What::Place => self.place(&groups, found),
            What::Message => self.message(&groups, found),
            What::File => {
                self.file = groups.text("file");
                Some(Weight::Plain)
            }
            What::Frame => {
                self.frame = Some((groups.text("file")?, groups.number("line")));
                Some(Weight::Plain)
            }
            What::Test(ending) => self.test(&groups, ending, at, found),
            What::Totals => {
                let tests = groups.totals(text)?;
                found.totals(&self.name, tests);
                Some(if tests.failed > 0 { Weight::Error } else { Weight::Plain })
            }
            What::Count(what) => {
                found.count(what);
                None
            }
            What::Matters => Some(Weight::Error),
            What::Quiet => Some(Weight::Nothing),
            What::Skip => Some(Weight::Plain),
        }
    }

    /// The beginning of a finding, or all of it.
    fn complaint(
        &mut self,
        what: What,
        groups: &Groups<'_>,
        at: u64,
        found: &mut dyn Found,
    ) -> Option<Weight> {
        let default = match what {
            What::Finding(severity)
            | What::Opens(severity)
            | What::Headless(severity)
            | What::InFile(severity) => severity,
            _ => Severity::Error,
        };
        let place = match what {
            What::InFile(_) => Some((self.file.clone()?, None)),
            What::Thrown => Some(self.frame.take()?),
            _ => None,
        };
        let mut finding = self.finding(groups, default, at);
        if let Some((file, line)) = place {
            finding.file = Some(file);
            finding.line = line.or(finding.line);
        }
        let weight = weight(finding.severity);
        self.close(found);
        if matches!(what, What::Opens(_) | What::Headless(_)) {
            let headless = matches!(what, What::Headless(_));
            self.open = Some(Open { finding, headless, lines: 0 });
        } else {
            found.finding(finding);
        }
        weight
    }

    fn place(&mut self, groups: &Groups<'_>, found: &mut dyn Found) -> Option<Weight> {
        let open = self.open.as_mut()?;
        open.finding.file = groups.text("file");
        open.finding.line = groups.number("line");
        open.finding.column = groups.number("column");
        let weight = weight(open.finding.severity);
        self.close(found);
        weight
    }

    fn message(&mut self, groups: &Groups<'_>, found: &mut dyn Found) -> Option<Weight> {
        let message = short(&groups.text("message")?);
        if let Some(open) = &mut self.open {
            open.finding.message = message;
            if let Some(severity) = groups.text("severity").and_then(|word| severity(&word)) {
                open.finding.severity = severity;
            }
            let weight = weight(open.finding.severity);
            self.close(found);
            return weight;
        }
        // The first of several lines says most.
        self.message.get_or_insert(message);
        Some(Weight::Error)
    }

    fn test(
        &mut self,
        groups: &Groups<'_>,
        ending: Ending,
        at: u64,
        found: &mut dyn Found,
    ) -> Option<Weight> {
        let ending = groups.text("ending").and_then(|word| self::ending(&word)).unwrap_or(ending);
        let name = groups.text("test")?.trim().to_owned();
        if ending == Ending::Failed && name.ends_with(".py") && self.message.is_some() {
            // A file that could not be collected: what stopped it was said before.
            let finding = self.finding(groups, Severity::Error, at);
            found.finding(Finding { file: Some(short(&name)), ..finding });
        }
        found.test(TestEnd { tool: self.name.clone(), name: short(&name), ending, ms: groups.ms(), at });
        Some(if ending == Ending::Failed { Weight::Error } else { Weight::Nothing })
    }

    /// Gives up what waits for the rest of a finding.
    pub(crate) fn close(&mut self, found: &mut dyn Found) {
        if let Some(open) = self.open.take() {
            found.finding(open.finding);
        }
    }

    fn finding(&mut self, groups: &Groups<'_>, default: Severity, at: u64) -> Finding {
        let code = groups.text("code");
        let kept = self.message.take();
        let message = groups.text("message").or(kept).or_else(|| code.clone()).unwrap_or_default();
        Finding {
            tool: self.name.clone(),
            severity: groups.text("severity").and_then(|word| severity(&word)).unwrap_or(default),
            file: groups.text("file"),
            line: groups.number("line"),
            column: groups.number("column"),
            code,
            message: short(message.trim()),
            at,
        }
    }
}

fn weight(severity: Severity) -> Option<Weight> {
    Some(match severity {
        Severity::Error => Weight::Error,
        Severity::Warning => Weight::Warning,
        Severity::Note => Weight::Plain,
    })
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(MESSAGE_BYTES)].to_owned()
}

/// The words tools have for how bad it is.
pub(crate) fn severity(word: &str) -> Option<Severity> {
    Some(match word.to_ascii_lowercase().as_str() {
        "error" | "err" | "err!" | "fatal" | "fatal error" | "failure" | "critical" | "e" | "×" | "✖" => {
            Severity::Error
        }
        "warning" | "warn" | "w" | "!" | "⚠" => Severity::Warning,
        "note" | "info" | "help" | "hint" | "remark" | "style" | "i" | "ℹ" => Severity::Note,
        _ => return None,
    })
}

/// The words runners have for how a test ended.
pub(crate) fn ending(word: &str) -> Option<Ending> {
    Some(match word.to_ascii_lowercase().as_str() {
        "ok" | "pass" | "passed" | "xpass" | "leak" | "✓" | "✔" | "√" => Ending::Passed,
        "fail" | "failed" | "failure" | "error" | "timeout" | "abort" | "sigsegv" | "sigabrt"
        | "exception" | "not run" | "✕" | "✖" | "×" | "✗" => Ending::Failed,
        "ignored" | "skip" | "skipped" | "xfail" | "↓" | "○" => Ending::Skipped,
        _ => return None,
    })
}

struct Groups<'a>(Captures<'a>);

impl Groups<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.name(name).map(|found| found.as_str().to_owned())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.name(name)?.as_str().parse().ok()
    }

    /// Milliseconds, from whole ones or from seconds with a fraction.
    fn ms(&self) -> Option<u64> {
        let (text, scale) = match (self.0.name("ms"), self.0.name("s")) {
            (Some(ms), _) => (ms.as_str(), 1),
            (None, s) => (s?.as_str(), 1000),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole: u64 = whole.trim().parse().ok()?;
        let thousandths: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        whole.checked_mul(scale)?.checked_add(thousandths * scale / 1000)
    }

    fn totals(&self, text: &str) -> Option<Tests> {
        let group = |name: &str| self.number::<u64>(name);
        let failed = group("failed").unwrap_or(0).saturating_add(group("errors").unwrap_or(0));
        let ignored = group("skipped").unwrap_or(0);
        if let Some(run) = group("run") {
            let passed = run.saturating_sub(failed).saturating_sub(ignored);
            return Some(Tests { passed, failed, ignored });
        }
        if ["passed", "failed", "skipped"].iter().any(|name| self.0.name(name).is_some()) {
            return Some(Tests { passed: group("passed").unwrap_or(0), failed, ignored });
        }
        counted(text)
    }
}

/// `12 passed, 3 failed`: the numbers right before the words runners use.
fn counted(text: &str) -> Option<Tests> {
    let mut tests = Tests::default();
    let mut seen = false;
    let mut number: Option<u64> = None;
    for word in text.split([' ', ',', ';', '|', '(', ')', '=', '\t', ':']).filter(|word| !word.is_empty()) {
        if let Some(n) = number {
            let place = match word {
                "passed" | "passing" | "xpassed" => Some(&mut tests.passed),
                "failed" | "failing" | "error" | "errors" | "failures" => Some(&mut tests.failed),
                "ignored" | "skipped" | "pending" | "todo" | "xfailed" | "deselected" => {
                    Some(&mut tests.ignored)
                }
                _ => None,
            };
            if let Some(place) = place {
                *place = place.saturating_add(n);
                seen = true;
            }
        }
        number = word.parse().ok();
    }
    seen.then_some(tests)
}
