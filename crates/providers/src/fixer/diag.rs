//! Reads what `cargo clippy --message-format=json` prints: diagnostics and the targets they are about.
//!
//! Knows the compiler's JSON, nothing of what is done about it. Start at [`parse`].

use serde::Deserialize;
use std::collections::BTreeSet;

/// What one run of the compiler or linter said.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Findings {
    /// Diagnostics of the project's own packages, each once, in the order they came.
    pub diags: Vec<Diag>,
    /// Targets that were looked at (built, or at least complained about).
    pub targets: BTreeSet<String>,
    /// Hard errors of packages that are not the project's: name and message.
    pub foreign: Vec<String>,
}

/// One diagnostic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Diag {
    /// Lint or error code; empty when there is none.
    pub code: String,
    /// Its sentence.
    pub message: String,
    /// The compiler could not go on, lints or no lints.
    pub hard: bool,
    /// Targets that have it.
    pub targets: BTreeSet<String>,
    /// Where it points; `None` for a diagnostic about the whole crate.
    pub at: Option<Place>,
    /// Advice with replacements, in the compiler's order.
    pub advice: Vec<Advice>,
    /// Advice in words, help and notes.
    pub words: Vec<String>,
}

/// A place in a source file of the project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Relative to the workspace root.
    pub file: String,
    /// First character: line and column, both from 1, columns in characters.
    pub start: (usize, usize),
    /// Just after the last character.
    pub end: (usize, usize),
    /// The place is inside what a macro expanded to.
    pub expanded: bool,
}

/// One suggestion: all its parts belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Advice {
    /// How sure the compiler is.
    pub trust: Trust,
    /// What goes where.
    pub parts: Vec<(Place, String)>,
}

/// How sure the compiler is of its advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Means what was meant; may be applied without looking.
    Machine,
    /// May be wrong; must be verified.
    Maybe,
    /// A text to be filled in, or a choice: for somebody who understands.
    Human,
}

#[derive(Deserialize)]
struct Line {
    reason: String,
    #[serde(default)]
    package_id: String,
    target: Option<Target>,
    profile: Option<Profile>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Message {
    message: String,
    code: Option<Code>,
    level: String,
    spans: Vec<Span>,
    children: Vec<Message>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    line_start: usize,
    line_end: usize,
    column_start: usize,
    column_end: usize,
    is_primary: bool,
    suggested_replacement: Option<String>,
    suggestion_applicability: Option<String>,
    expansion: Option<serde::de::IgnoredAny>,
}

/// Marks a target that was built for its tests.
const TEST: &str = " test";

/// Every compiler message among these lines, which may be folded; other lines are passed over.
pub(crate) fn parse(output: &str) -> Findings {
    let mut findings = Findings::default();
    for line in records(output) {
        let Some(target) = &line.target else { continue };
        // Path dependencies inside the project are the project; anything with another source is not ours.
        let own = line.package_id.starts_with("path+") || line.package_id.contains("(path+");
        let name = format!("{} {}", target.kind.join("+"), target.name);
        match (line.reason.as_str(), line.message) {
            ("compiler-artifact", _) if own => {
                let test = line.profile.is_some_and(|profile| profile.test);
                findings.targets.insert(if test { format!("{name}{TEST}") } else { name });
            }
            ("compiler-message", Some(message)) if own => take(&mut findings, name, message),
            ("compiler-message", Some(message)) if message.level == "error" => {
                findings.foreign.push(format!("{}: {}", target.name, message.message));
            }
            _ => {}
        }
    }
    findings
}

/// The JSON lines. One that was folded begins like the others and goes on until it is whole.
fn records(output: &str) -> Vec<Line> {
    let mut records = Vec::new();
    let mut open: Option<String> = None;
    for line in output.lines() {
        let mut text = match open.take() {
            _ if line.starts_with(RECORD) => String::new(),
            Some(text) => text,
            None => continue,
        };
        text.push_str(line);
        match serde_json::from_str(&text) {
            Ok(record) => records.push(record),
            Err(_) => open = Some(text),
        }
    }
    records
}

/// How each of cargo's JSON lines begins; inside a JSON string the quotes would be escaped.
const RECORD: &str = "{\"reason\":\"";

fn take(findings: &mut Findings, target: String, message: Message) {
    findings.targets.insert(target.clone());
    // Sentences without a place and a code sum up ("3 warnings emitted", "for more information ...").
    let tail = message.spans.is_empty() && message.code.is_none();
    if tail && (message.level != "error" || message.message.starts_with("aborting due to")) {
        return;
    }
    let mut diag = diag(message);
    match findings
        .diags
        .iter_mut()
        .find(|known| (&known.code, &known.message, &known.at) == (&diag.code, &diag.message, &diag.at))
    {
        Some(known) => {
            known.targets.insert(target);
        }
        None => {
            diag.targets.insert(target);
            findings.diags.push(diag);
        }
    }
}

fn diag(message: Message) -> Diag {
    let code = message.code.map(|code| code.code).unwrap_or_default();
    let numbered = code.strip_prefix('E').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let hard = message.level.starts_with("error") && (code.is_empty() || numbered);
    let primary = message.spans.iter().find(|span| span.is_primary).or(message.spans.first());
    let at = primary.and_then(place);
    let mut advice = Vec::new();
    let mut words = Vec::new();
    for child in &message.children {
        words.push(child.message.clone());
        advice.extend(suggestion(child));
    }
    Diag { code, message: message.message, hard, targets: BTreeSet::new(), at, advice, words }
}

/// A child's spans with replacements are one suggestion, unless two of them are for the same place:
/// then they are alternatives, and choosing takes understanding.
fn suggestion(child: &Message) -> Option<Advice> {
    let spans: Vec<&Span> = child.spans.iter().filter(|span| span.suggested_replacement.is_some()).collect();
    if spans.is_empty() {
        return None;
    }
    let trusts = |names: &[&str]| {
        spans
            .iter()
            .all(|span| span.suggestion_applicability.as_deref().is_some_and(|name| names.contains(&name)))
    };
    let mut trust = match () {
        () if trusts(&["MachineApplicable"]) => Trust::Machine,
        () if trusts(&["MachineApplicable", "MaybeIncorrect", "Unspecified"]) => Trust::Maybe,
        () => Trust::Human,
    };
    let mut parts = Vec::new();
    for span in &spans {
        parts.push((place(span)?, span.suggested_replacement.clone()?));
    }
    parts.sort();
    // A character that was lost on the way must not get into the code.
    let lost = parts.iter().any(|(_, new)| new.contains(char::REPLACEMENT_CHARACTER));
    if lost || parts.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        trust = Trust::Human;
    }
    if trust == Trust::Machine && parts.iter().any(|(place, _)| place.expanded) {
        trust = Trust::Maybe;
    }
    Some(Advice { trust, parts })
}

fn place(span: &Span) -> Option<Place> {
    let file = &span.file_name;
    let inside = !file.starts_with(['/', '<']) && !file.split('/').any(|part| part == "..");
    inside.then(|| Place {
        file: file.clone(),
        start: (span.line_start, span.column_start),
        end: (span.line_end, span.column_end),
        expanded: span.expansion.is_some(),
    })
}

impl Diag {
    /// One line for people: where and what.
    pub(crate) fn line(&self) -> String {
        let code = if self.code.is_empty() { String::new() } else { format!(" [{}]", self.code) };
        match &self.at {
            Some(at) => format!("{}:{}: {}{code}", at.file, at.start.0, self.message),
            None => format!("{}{code}", self.message),
        }
    }

    /// What stays the same when lines move: code, file and sentence.
    pub(crate) fn kind(&self) -> (&str, &str, &str) {
        (&self.code, self.at.as_ref().map_or("", |at| &at.file), &self.message)
    }
}

impl Findings {
    /// Names of the targets that were looked at, whether for themselves or for their tests.
    pub(crate) fn units(&self) -> BTreeSet<&str> {
        self.targets.iter().map(|target| target.strip_suffix(TEST).unwrap_or(target)).collect()
    }

    /// Targets the compiler could not get through.
    pub(crate) fn broken(&self) -> BTreeSet<&str> {
        let hard = self.diags.iter().filter(|diag| diag.hard);
        hard.flat_map(|diag| diag.targets.iter().map(String::as_str)).collect()
    }
}

/// Byte offset of a line and column (both from 1, columns in characters); `None` past the end.
pub(crate) fn offset(text: &str, (line, column): (usize, usize)) -> Option<usize> {
    let mut start = 0;
    for _ in 1..line {
        start += text[start..].find('\n')? + 1;
    }
    let rest = &text[start..];
    let mut chars = rest.char_indices().map(|(i, _)| i).chain([rest.len()]);
    chars.nth(column.checked_sub(1)?).map(|i| start + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_characters() {
        let text = "aé\nbc\n";
        assert_eq!(offset(text, (1, 3)), Some(3));
        assert_eq!(offset(text, (2, 2)), Some(5));
        assert_eq!(offset(text, (3, 1)), Some(7));
        assert_eq!(offset(text, (4, 1)), None);
    }

    const OWN: &str = r#""package_id":"path+file:///p#x@0.1.0""#;

    fn line(level: &str, code: &str, file: &str, child: &str) -> String {
        format!(
            r#"{{"reason":"compiler-message",{OWN},"target":{{"kind":["lib"],"name":"x"}},"message":{{"message":"m","code":{code},"level":"{level}","spans":[{}],"children":[{child}]}}}}"#,
            span(file, "null", "null")
        )
    }

    fn span(file: &str, new: &str, trust: &str) -> String {
        format!(
            r#"{{"file_name":"{file}","line_start":1,"line_end":1,"column_start":1,"column_end":2,"is_primary":true,"suggested_replacement":{new},"suggestion_applicability":{trust},"expansion":null}}"#
        )
    }

    fn child(spans: &[String]) -> String {
        format!(
            r#"{{"message":"help","code":null,"level":"help","spans":[{}],"children":[]}}"#,
            spans.join(",")
        )
    }

    #[test]
    fn the_same_finding_of_two_targets_is_one() {
        let one = line("warning", r#"{"code":"unused_mut"}"#, "src/lib.rs", "");
        let two = one.replace(r#"["lib"]"#, r#"["test"]"#);
        let findings = parse(&format!("noise\n{one}\n{two}\n"));
        assert_eq!(findings.diags.len(), 1);
        assert_eq!(findings.diags[0].targets.len(), 2);
        assert!(findings.broken().is_empty());
    }

    #[test]
    fn folded_lines_are_put_together() {
        let line = line("warning", r#"{"code":"unused_mut"}"#, "src/lib.rs", "");
        let folded: String =
            line.as_bytes().chunks(40).map(|piece| format!("{}\n", String::from_utf8_lossy(piece))).collect();
        let findings = parse(&format!(
            "    Checking x\n{folded}    Finished\n{}",
            line.replace("src/lib.rs", "src/b.rs")
        ));
        assert_eq!(findings.diags.len(), 2);
        assert_eq!(parse(&line[..line.len() - 1]).diags, []);
    }

    #[test]
    fn hard_errors_are_told_from_denied_lints() {
        let lint = line("error", r#"{"code":"clippy::never_loop"}"#, "a.rs", "");
        let hard = line("error", r#"{"code":"E0308"}"#, "b.rs", "");
        let findings = parse(&format!("{lint}\n{hard}"));
        assert_eq!(findings.diags.iter().map(|diag| diag.hard).collect::<Vec<_>>(), [false, true]);
        assert_eq!(findings.broken().into_iter().collect::<Vec<_>>(), ["lib x"]);
    }

    #[test]
    fn alternatives_and_foreign_files_are_not_applied() {
        let machine = r#""MachineApplicable""#;
        let same = child(&[span("a.rs", r#""x""#, machine), span("a.rs", r#""y""#, machine)]);
        let outside = child(&[span("/etc/a.rs", r#""x""#, machine)]);
        let good = child(&[span("a.rs", r#""x""#, machine)]);
        let all = [same, outside, good].join(",");
        let findings = parse(&line("warning", r#"{"code":"l"}"#, "a.rs", &all));
        let trusts: Vec<_> = findings.diags[0].advice.iter().map(|advice| advice.trust).collect();
        assert_eq!(trusts, [Trust::Human, Trust::Machine]);
    }

    #[test]
    fn a_dependency_that_does_not_compile_is_named() {
        let own = line("error", "null", "a.rs", "");
        let foreign = own.replace("path+file:///p#x@0.1.0", "registry+https://example#y@1.0.0");
        let findings = parse(&foreign);
        assert_eq!((findings.diags.len(), findings.foreign.as_slice()), (0, &["x: m".to_owned()][..]));
    }
}
