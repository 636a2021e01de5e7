//! What a person says a server's refusals mean: rules of the configuration, looked at before the table (spec S1.4-1).
//!
//! Knows a status and texts, no socket. Start at [`Rules::kind`].

use contract::Kind;
use regex::{Regex, RegexBuilder};

/// Memory that one pattern may compile to, bytes.
const PATTERN_BYTES: usize = 1024 * 1024;
/// Rules of one provider.
pub const RULES: usize = 64;

/// One rule. Of what it leaves out, anything fits.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The answer's status.
    pub status: Option<u16>,
    /// What the server said: its words for types, its sentence, or anything else in its answer.
    pattern: Option<Regex>,
    /// What it means.
    pub kind: Kind,
}

impl Rule {
    /// A rule, or why there is none. Patterns do not care for capitals.
    pub fn new(status: Option<u16>, pattern: Option<&str>, kind: Kind) -> Result<Self, String> {
        if status.is_none() && pattern.is_none_or(str::is_empty) {
            return Err("a rule for errors wants `status`, `match`, or both".into());
        }
        let built = |text: &str| {
            RegexBuilder::new(text).case_insensitive(true).size_limit(PATTERN_BYTES).build().map_err(
                |error| {
                    let why = error.to_string();
                    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    format!("`{text}` is no regular expression: {why}")
                },
            )
        };
        Ok(Self { status, pattern: pattern.map(built).transpose()?, kind })
    }

    fn fits(&self, status: Option<u16>, texts: &[&str]) -> bool {
        let by_status = self.status.is_none_or(|own| status == Some(own));
        by_status && self.pattern.as_ref().is_none_or(|own| texts.iter().any(|text| own.is_match(text)))
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let text = |rule: &Self| rule.pattern.as_ref().map(|own| own.as_str().to_owned());
        (self.status, self.kind, text(self)) == (other.status, other.kind, text(other))
    }
}

impl Eq for Rule {}

/// Rules in the order in which they are looked at: the first that fits counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// What they say of an answer. `words_only`: only rules that look at what was said count.
    pub fn kind(&self, status: Option<u16>, texts: &[&str], words_only: bool) -> Option<Kind> {
        let mut rules = self.0.iter().filter(|rule| rule.pattern.is_some() || !words_only);
        rules.find(|rule| rule.fits(status, texts)).map(|rule| rule.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(status: Option<u16>, pattern: Option<&str>, kind: Kind) -> Rule {
        Rule::new(status, pattern, kind).unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = Rules(vec![
            rule(Some(418), Some("tea ?pot"), Kind::Degraded),
            rule(None, Some("^capacity"), Kind::RateLimited),
            rule(Some(418), None, Kind::Permanent),
        ]);
        for (status, text, kind) in [
            (Some(418), "a Teapot", Some(Kind::Degraded)),
            (Some(418), "a kettle", Some(Kind::Permanent)),
            (Some(400), "Capacity is used up", Some(Kind::RateLimited)),
            (None, "capacity", Some(Kind::RateLimited)),
            (Some(400), "no capacity", None),
            (None, "teapot", None),
        ] {
            assert_eq!(rules.kind(status, &["code", text], false), kind, "{status:?} {text}");
        }
        let words_only = |text| rules.kind(Some(418), &[text], true);
        assert_eq!((words_only("a kettle"), words_only("a teapot")), (None, Some(Kind::Degraded)));
    }

    #[test]
    fn what_cannot_be_a_rule_is_said() {
        for (pattern, says) in [(None, "wants"), (Some(""), "wants"), (Some("("), "no regular expression")] {
            let why = Rule::new(None, pattern, Kind::Transient).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        assert!(Rule::new(None, Some("(a{1000}){1000}"), Kind::Transient).is_err(), "too large");
    }
}
