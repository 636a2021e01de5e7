//! One rule: what it is about, where it was written, and how far it holds for a part.
//!
//! Denying and asking look closely: options may stand between words, in any order, and what is not known may be it.
//! Allowing looks at nothing but the plain beginning. Start at [`Rule::matched`].

use super::{Policy, glob};
use contract::policy::{Arg, Decision, Doubt, How, Part, Touch};

/// Who wrote a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The person's own file.
    User,
    /// The project's file, which came with a clone: it denies and asks, and allows nothing.
    Project,
}

/// A rule as a person wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it says.
    pub verdict: Decision,
    /// What about.
    pub matches: Match,
    /// Whose it is.
    pub layer: Layer,
    /// File and line.
    pub place: String,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// A program and the beginning of its arguments, or exactly these.
    Command {
        /// A `*` in a word stands for anything; as the last word, for any rest.
        words: Vec<String>,
        /// Nothing may follow.
        exact: bool,
    },
    /// A file, or everything below a directory.
    Path {
        /// Absolute, below `~/`, or relative to the workspace; without `/`: a name anywhere.
        pattern: String,
        /// Reading too, or only writing.
        how: How,
    },
    /// A host; `*.example.com` = every one below it.
    Host(String),
}

/// How far a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matched {
    /// It is about something else.
    No,
    /// It cannot be told from the text.
    Maybe,
    /// It is about this.
    Yes,
}

impl Rule {
    /// As it is shown.
    pub fn text(&self) -> String {
        let about = match &self.matches {
            Match::Command { words, exact } => {
                format!("command `{}`{}", words.join(" "), if *exact { " exactly" } else { "" })
            }
            Match::Path { pattern, how: How::Write } => format!("writing `{pattern}`"),
            Match::Path { pattern, .. } => format!("reading or writing `{pattern}`"),
            Match::Host(host) => format!("host `{host}`"),
        };
        format!("{} {about}", self.verdict.name())
    }

    pub(super) fn origin(&self) -> String {
        match self.layer {
            Layer::User => self.place.clone(),
            Layer::Project => format!("project: {}", self.place),
        }
    }

    /// How far it holds, looked at closely.
    pub fn matched(&self, policy: &Policy, part: &Part) -> Matched {
        match &self.matches {
            Match::Command { words, exact } => {
                let degree = command(words, *exact, &part.words);
                // Code that an option brings can make it any command of the same program.
                let hides = part.doubts.contains(&Doubt::Code) && same_program(words, &part.words);
                if degree == Matched::No && hides { Matched::Maybe } else { degree }
            }
            Match::Path { .. } => {
                let degree = |touch: &Touch| match (&touch.path, self.holds_for(policy, touch)) {
                    (_, true) => Matched::Yes,
                    (None, false) if self.about(touch) => Matched::Maybe,
                    _ => Matched::No,
                };
                part.touches.iter().map(degree).max().unwrap_or(Matched::No)
            }
            Match::Host(pattern) => {
                let unknown = part.doubts.contains(&Doubt::Host);
                match part.hosts.iter().any(|it| host(pattern, it)) {
                    true => Matched::Yes,
                    false if unknown => Matched::Maybe,
                    false => Matched::No,
                }
            }
        }
    }

    /// Is the rule about what happens to it?
    fn about(&self, touch: &Touch) -> bool {
        let Match::Path { how, .. } = &self.matches else { return false };
        match how {
            How::Write if self.verdict == Decision::Allow => touch.how == How::Write,
            How::Write => touch.how >= How::Any,
            // An allowed reading allows no writing.
            _ if self.verdict == Decision::Allow => touch.how == How::Read,
            _ => true,
        }
    }

    /// Does this rule about paths hold for it?
    pub(super) fn holds_for(&self, policy: &Policy, touch: &Touch) -> bool {
        let Match::Path { pattern, .. } = &self.matches else { return false };
        self.about(touch) && path(pattern, policy, touch)
    }

    /// Allows this rule about commands the part? Everything it says must be there, in place, and known.
    pub(super) fn allows(&self, part: &Part) -> bool {
        let Match::Command { words, exact } = &self.matches else { return false };
        begins(words, *exact, part)
    }
}

/// Does the part begin with these words, each of them in place and known? With `exact` nothing follows.
pub(super) fn begins(words: &[String], exact: bool, part: &Part) -> bool {
    let (rest, open) = match words.split_last() {
        Some((last, rest)) if last == "*" => (rest, true),
        _ => (words, !exact),
    };
    if rest.is_empty() || part.words.len() < rest.len() || (!open && part.words.len() != rest.len()) {
        return false;
    }
    rest.iter().zip(&part.words).enumerate().all(|(at, (pattern, word))| {
        let Some(text) = word.known() else { return false };
        glob::word(pattern, if at == 0 { plain(text) } else { text })
    })
}

/// A program of the system by its bare name; any other as it was written.
fn plain(program: &str) -> &str {
    let dirs = ["/bin/", "/usr/bin/", "/usr/local/bin/"];
    dirs.iter()
        .find_map(|dir| program.strip_prefix(dir))
        .filter(|rest| !rest.contains('/'))
        .unwrap_or(program)
}

fn same_program(rule: &[String], words: &[Arg]) -> bool {
    let (Some(name), Some(program)) = (rule.first(), words.first().and_then(Arg::known)) else {
        return false;
    };
    glob::word(name, program.rsplit('/').next().unwrap_or(program)) || glob::word(name, program)
}

fn command(rule: &[String], exact: bool, words: &[Arg]) -> Matched {
    let rule = match rule.split_last() {
        Some((last, rest)) if last == "*" => rest,
        _ => rule,
    };
    let (Some(name), Some(program)) = (rule.first(), words.first()) else { return Matched::No };
    if program.known().is_none() {
        return Matched::Maybe;
    }
    if !same_program(std::slice::from_ref(name), std::slice::from_ref(&words[0])) {
        return Matched::No;
    }
    let args = &words[1..];
    if exact && args.len() > rule.len() - 1 && !args.iter().any(|arg| matches!(arg, Arg::Many(_))) {
        return Matched::No;
    }
    let (options, operands): (Vec<&String>, Vec<&String>) =
        rule[1..].iter().partition(|word| word.starts_with('-'));
    let options = options.into_iter().map(|option| has_option(option, args)).min().unwrap_or(Matched::Yes);
    options.min(in_order(&operands, args))
}

/// Are these the first arguments that are no options? What follows an option may be its value.
fn in_order(wanted: &[&String], args: &[Arg]) -> Matched {
    let (mut next, mut degree, mut value) = (0, Matched::Yes, false);
    for arg in args {
        if next == wanted.len() {
            break;
        }
        let Some(text) = arg.known() else { return Matched::Maybe };
        if text.starts_with('-') && text.len() > 1 {
            value = !text.contains('=');
            continue;
        }
        if glob::word(wanted[next], text) {
            next += 1;
        } else if value {
            degree = Matched::Maybe;
        } else {
            return Matched::No;
        }
        value = false;
    }
    if next == wanted.len() { degree } else { Matched::No }
}

/// Is this option among them, alone or together with others as in `-rf`?
fn has_option(option: &str, args: &[Arg]) -> Matched {
    let known = || args.iter().filter_map(Arg::known);
    let letters = option.strip_prefix('-').filter(|rest| !rest.starts_with('-') && rest.len() < 5);
    let there = match letters {
        Some(letters) => {
            let short = |arg: &&str| arg.starts_with('-') && !arg.starts_with("--");
            letters.chars().all(|letter| known().filter(short).any(|arg| arg.contains(letter)))
        }
        None => known()
            .any(|arg| arg == option || arg.strip_prefix(option).is_some_and(|rest| rest.starts_with('='))),
    };
    // Git takes the beginning of a long option for the whole.
    let short = |arg: &str| {
        arg.len() > 2 && arg.starts_with("--") && option.starts_with(arg.split('=').next().unwrap_or(arg))
    };
    match there {
        true => Matched::Yes,
        false if letters.is_none() && known().any(short) => Matched::Maybe,
        false if args.iter().any(|arg| arg.known().is_none()) => Matched::Maybe,
        false => Matched::No,
    }
}

/// Is it this file, or below this directory?
fn path(pattern: &str, policy: &Policy, touch: &Touch) -> bool {
    let Some(full) = touch.path.as_deref() else { return false };
    let below = |pattern: &str, text: &str| {
        glob::matches(pattern, text) || glob::matches(&format!("{}/**", pattern.trim_end_matches('/')), text)
    };
    if let Some(rest) = pattern.strip_prefix("~/") {
        return below(&format!("{}/{rest}", policy.home), full);
    }
    if pattern.starts_with('/') {
        return below(pattern, full);
    }
    if !pattern.trim_end_matches('/').contains('/') {
        return full.split('/').any(|name| glob::matches(pattern.trim_end_matches('/'), name));
    }
    touch.inside.as_deref().is_some_and(|inside| below(pattern.trim_start_matches("./"), inside))
}

/// Is the host this one? A name is not the names below it.
pub(super) fn host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => {
            host.strip_suffix(domain).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
        }
        None => pattern == host || pattern == "*",
    }
}
