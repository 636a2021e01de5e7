//! May a call run? Deny before ask before allow, over what the call would do.
//!
//! Knows no shell, no file and no configuration: parts come as data ([`contract::policy::Part`]), rules too. Four layers,
//! each stronger than the next: the floor, which nothing bypasses; the rules that people wrote; what Kapell asks about
//! by itself; and what the profile says of everything else. Start at [`Policy::rule`].

mod builtin;
mod floor;
mod glob;
pub mod handle;
mod rule;

pub use rule::{Layer, Match, Matched, Rule};

use contract::confine::Network;
use contract::policy::{Arg, Decision, Doubt, How, Part, Ruling, Touch};
use contract::session::Ask;

/// Every rule there is for a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// In the order in which they were written.
    pub rules: Vec<Rule>,
    /// The home directory, for rules about `~`.
    pub home: String,
    /// Kapell's own directories: no call changes what is in them.
    pub own: Vec<String>,
    /// Hosts that what is confined may ask without a rule; a name, or `*.name`.
    pub hosts: Vec<String>,
}

/// What a call may do at most, and what holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Which calls wait for a person.
    pub ask: Ask,
    /// A sandbox keeps it to the workspace and to known hosts, or the tool itself does.
    pub confined: bool,
    /// What of the network reaches a command that a whole sandbox holds; `None`: none holds it, or the network is open.
    pub caged: Option<Network>,
    /// The mode only reads.
    pub reads: bool,
}

/// Modes of which nothing but reading is expected.
pub fn only_reads(mode: &str) -> bool {
    matches!(mode, "plan" | "review")
}

/// The verdict over one part, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// May it run?
    pub verdict: Decision,
    /// Where that comes from, as it is printed: `floor`, `built-in`, a file and line, `profile`.
    pub origin: String,
    /// The rule, or the reason.
    pub why: String,
}

impl Policy {
    /// May all of it run? The part with the strictest verdict decides; the first of them.
    pub fn rule(&self, setting: Setting, parts: &[Part]) -> Ruling {
        let mut worst: Option<(&Part, Decided)> = None;
        let mut firm = false;
        for part in parts {
            let decided = self.part(setting, part);
            firm |= decided.verdict == Decision::Ask && !["built-in", "profile"].contains(&&*decided.origin);
            if worst.as_ref().is_none_or(|(_, worst)| decided.verdict > worst.verdict) {
                worst = Some((part, decided));
            }
        }
        let Some((part, decided)) = worst else {
            return Ruling { verdict: Decision::Allow, why: "it runs nothing".into(), firm: false };
        };
        Ruling {
            verdict: decided.verdict,
            why: format!("{}{} ({})", named(part), decided.why, decided.origin),
            firm,
        }
    }

    /// May a person have this shell, to type at? Nobody knows what it will be told, but who tells it is who would be asked:
    /// where a sandbox holds it, only a rule that somebody wrote asks about it.
    pub fn shell(&self, setting: Setting, parts: &[Part]) -> Ruling {
        let ruling = self.rule(setting, parts);
        let written = |part: &Part| {
            let asks = |verdict, degree| self.strongest(part, verdict, degree).is_some();
            asks(Decision::Ask, Matched::Yes)
                || asks(Decision::Ask, Matched::Maybe)
                || asks(Decision::Deny, Matched::Maybe)
        };
        if ruling.verdict != Decision::Ask || !setting.confined || parts.iter().any(written) {
            return ruling;
        }
        let why = "the sandbox holds what a person types at it".into();
        Ruling { verdict: Decision::Allow, why, firm: false }
    }

    /// May this part run?
    pub fn part(&self, setting: Setting, part: &Part) -> Decided {
        let of = |verdict, origin: &str, why: String| Decided { verdict, origin: origin.to_owned(), why };
        if let Some(why) = floor::denies(self, part) {
            return of(Decision::Deny, "floor", why);
        }
        if let Some(decided) = self.strongest(part, Decision::Deny, Matched::Yes) {
            return decided;
        }
        let harmless = builtin::harmless(part);
        if setting.reads && !harmless && !part.wraps && changes(part) {
            return of(Decision::Deny, "mode", "this mode only reads".into());
        }
        if let Some(why) = floor::asks(self, part) {
            return of(Decision::Ask, "floor", why);
        }
        let asked = self
            .strongest(part, Decision::Ask, Matched::Yes)
            .or_else(|| self.strongest(part, Decision::Deny, Matched::Maybe))
            .or_else(|| self.strongest(part, Decision::Ask, Matched::Maybe));
        if let Some(decided) = asked {
            return decided;
        }
        if let Some(decided) = self.allowed(part) {
            return decided;
        }
        self.unruled(setting, part, harmless)
    }

    /// What holds where nobody wrote a rule.
    fn unruled(&self, setting: Setting, part: &Part, harmless: bool) -> Decided {
        let of = |verdict, origin: &str, why: String| Decided { verdict, origin: origin.to_owned(), why };
        if part.wraps && part.touches.iter().all(builtin::readable) {
            return of(Decision::Allow, "built-in", "it only runs what is looked at by itself".into());
        }
        if harmless {
            return of(Decision::Allow, "built-in", "it only reads what is here".into());
        }
        if setting.ask == Ask::Never {
            return of(Decision::Allow, "ask = never", "nobody is asked".into());
        }
        if let Some(why) = builtin::asks(part, setting) {
            return of(Decision::Ask, "built-in", why);
        }
        if !setting.confined {
            let why = match part.doubts.first() {
                Some(doubt) => doubt.to_string(),
                None => "nothing confines it, and no rule allows it".into(),
            };
            return of(Decision::Ask, "profile", why);
        }
        // Where the network is held as well, whom it would speak to is no question.
        let held = |doubt: &&Doubt| {
            matches!(doubt, Doubt::Code | Doubt::Variable(_))
                || (setting.caged.is_some() && matches!(doubt, Doubt::Host | Doubt::Elsewhere))
        };
        if let Some(doubt) = part.doubts.iter().find(|doubt| !held(doubt)) {
            return of(Decision::Ask, "profile", doubt.to_string());
        }
        if setting.caged.is_some() {
            return of(Decision::Allow, "profile", "the sandbox confines it".into());
        }
        let known = |host: &str| self.hosts.iter().any(|pattern| glob::word(pattern, host));
        let strange = |host: &&String| !known(host) && self.host(host) != Some(Decision::Allow);
        if let Some(host) = part.hosts.iter().find(strange) {
            return of(Decision::Ask, "profile", format!("it speaks to {host}, which no rule allows"));
        }
        if let Some(touch) = part.touches.iter().find(|touch| self.leaves(touch)) {
            let path = touch.path.as_deref().unwrap_or_default();
            return of(Decision::Ask, "profile", format!("it writes {path}, outside of the workspace"));
        }
        of(Decision::Allow, "profile", "the sandbox confines it".into())
    }

    /// A write that a sandbox around the workspace would refuse.
    fn leaves(&self, touch: &Touch) -> bool {
        let path = touch.path.as_deref();
        touch.how == How::Write
            && touch.inside.is_none()
            && path.is_some_and(|path| !builtin::scratch(path))
            && !self.path_allowed(touch)
    }

    fn path_allowed(&self, touch: &Touch) -> bool {
        let rule = |rule: &&Rule| {
            rule.verdict == Decision::Allow
                && matches!(rule.matches, Match::Path { .. })
                && rule.holds_for(self, touch)
        };
        self.rules.iter().any(|it| rule(&it))
    }

    fn host(&self, host: &str) -> Option<Decision> {
        let about = |rule: &&Rule| matches!(&rule.matches, Match::Host(pattern) if rule::host(pattern, host));
        self.rules.iter().filter(about).map(|rule| rule.verdict).max()
    }

    /// The first rule of this verdict that holds to this degree.
    fn strongest(&self, part: &Part, verdict: Decision, degree: Matched) -> Option<Decided> {
        let rules = self.rules.iter().filter(|rule| rule.verdict == verdict);
        let rule = rules.into_iter().find(|rule| rule.matched(self, part) == degree)?;
        let (verdict, why) = match degree {
            Matched::Maybe => (Decision::Ask, format!("it may be what {} is about", rule.text())),
            _ => (verdict, rule.text()),
        };
        Some(Decided { verdict, origin: rule.origin(), why })
    }

    /// A rule that a person wrote allows it. It covers a program, never a doubt, and writing outside of the workspace
    /// only together with a rule about the path.
    fn allowed(&self, part: &Part) -> Option<Decided> {
        let decided =
            |rule: &Rule| Decided { verdict: Decision::Allow, origin: rule.origin(), why: rule.text() };
        if !part.doubts.is_empty() {
            return None;
        }
        let out = |touch: &Touch| {
            let known_here = touch.inside.is_some() || touch.path.as_deref().is_some_and(builtin::nowhere);
            // What is named to a program of which nothing is known may be written.
            let any = touch.how == How::Any && touch.path.is_some() && !builtin::readable(touch);
            (touch.how == How::Write || any) && !known_here && !self.path_allowed(touch)
        };
        let mut allows = self.rules.iter().filter(|rule| rule.verdict == Decision::Allow);
        if part.words.is_empty() {
            // Files and hosts alone: each needs its rule.
            let files = part.touches.iter().all(|touch| self.path_allowed(touch));
            let hosts = part.hosts.iter().all(|host| self.host(host) == Some(Decision::Allow));
            let some = !(part.touches.is_empty() && part.hosts.is_empty());
            let rule = allows.find(|rule| rule.matched(self, part) == Matched::Yes);
            return rule.filter(|_| files && hosts && some).map(decided);
        }
        let rule = allows.find(|rule| matches!(rule.matches, Match::Command { .. }) && rule.allows(part))?;
        (!part.touches.iter().any(out)).then(|| decided(rule))
    }
}

/// Whatever is more than reading, or may be.
fn changes(part: &Part) -> bool {
    let writes =
        |touch: &Touch| touch.how == How::Write && !touch.path.as_deref().is_some_and(builtin::nowhere);
    !part.words.is_empty()
        || part.touches.iter().any(writes)
        || !part.doubts.is_empty()
        || !part.hosts.is_empty()
}

/// Which part it is about: the program, and the next word where that is a command of it.
fn named(part: &Part) -> String {
    let word = |at: usize| part.words.get(at).and_then(Arg::known);
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(40).collect::<String>();
    let command =
        |text: &&str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && text.len() < 20;
    match (word(0), word(1).filter(command)) {
        (None, _) => String::new(),
        (Some(program), None) => format!("`{}`: ", short(program)),
        (Some(program), Some(next)) => format!("`{} {next}`: ", short(program)),
    }
}

#[cfg(test)]
mod tests;
