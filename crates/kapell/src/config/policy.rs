//! `[[policy.rule]]`: what may run without asking, what asks, what never runs.
//!
//! Knows the file's shape; what a rule means is `kernel::policy`'s to say. A project's file comes with a clone: it denies
//! and asks, and allows nothing. Start at [`File::policy`].

use super::{Config, Failure, File, Value};
use contract::policy::{Decision, How};
use kernel::policy::{Layer, Match, Rule};
use std::path::Path;
use toml::de::DeValue;

const KEYS: [&str; 7] = ["decide", "command", "exact", "path", "access", "host", "repo"];

impl File<'_> {
    /// Every rule of this file, behind those that are there already.
    pub(super) fn policy(&self, config: &mut Config, value: &Value<'_>) -> Result<(), Failure> {
        for (key, value) in self.table(value, "policy")? {
            let at = key.span().start;
            if key.get_ref() != "rule" {
                return Err(self.unknown(at, key.get_ref(), "policy.", vec!["rule"]));
            }
            let DeValue::Array(rules) = value.get_ref() else {
                return Err(self.wrong(at, "rules are a list: write [[policy.rule]]".into()));
            };
            for rule in rules {
                let (rule, repo) = self.rule(rule)?;
                let elsewhere = repo.is_some_and(|repo| config.about.as_deref() != Some(Path::new(&repo)));
                if !elsewhere {
                    config.rules.push(rule);
                }
            }
        }
        Ok(())
    }

    /// A rule, and the one repository it is for.
    fn rule(&self, value: &Value<'_>) -> Result<(Rule, Option<String>), Failure> {
        let at = value.span().start;
        let (mut verdict, mut how, mut exact) = (None, None, false);
        let (mut command, mut path, mut host, mut repo) = (None, None, None, None);
        for (key, value) in self.table(value, "policy.rule")? {
            match key.get_ref().as_ref() {
                "decide" => {
                    verdict = Some(match self.word(value, &["allow", "ask", "deny"])?.as_str() {
                        "allow" => Decision::Allow,
                        "ask" => Decision::Ask,
                        _ => Decision::Deny,
                    });
                }
                "command" => command = Some(self.words(value)?),
                "exact" => {
                    let DeValue::Boolean(is) = value.get_ref() else {
                        return Err(self.wrong(value.span().start, "`exact` is true or false".into()));
                    };
                    exact = *is;
                }
                "path" => path = Some(self.string(value)?),
                "access" => {
                    how = Some(match self.word(value, &["read", "write"])?.as_str() {
                        "write" => How::Write,
                        _ => How::Read,
                    });
                }
                "repo" => repo = Some(self.string(value)?),
                "host" => host = Some(self.string(value)?.to_ascii_lowercase()),
                other => return Err(self.unknown(key.span().start, other, "policy.rule.", KEYS.into())),
            }
        }
        let Some(verdict) = verdict else {
            return Err(
                self.wrong(at, "the rule says nothing: add decide = \"allow\", \"ask\" or \"deny\"".into())
            );
        };
        if self.project && verdict == Decision::Allow {
            let what =
                "a project's file cannot allow anything: it comes with a clone; its rules ask and deny";
            let mut failure = self.wrong(at, what.into());
            failure.fault.hint =
                "put the rule into your own config.toml (kapell doctor shows where it is)".into();
            return Err(failure);
        }
        let matches = match (command, path, host) {
            (Some(words), None, None) if how.is_none() => Match::Command { words, exact },
            (None, Some(pattern), None) if !exact && !pattern.is_empty() => {
                // Nobody who forbids a file wants it written; who allows one says what.
                Match::Path { pattern, how: how.unwrap_or(How::Read) }
            }
            (None, None, Some(host)) if !exact && how.is_none() && !host.is_empty() => Match::Host(host),
            _ => {
                let what =
                    "a rule is about one thing: `command` (with `exact`), `path` (with `access`) or `host`";
                return Err(self.wrong(at, what.into()));
            }
        };
        let layer = if self.project { Layer::Project } else { Layer::User };
        let place = format!("{}:{}", self.path.display(), self.line(at));
        Ok((Rule { verdict, matches, layer, place }, repo))
    }

    /// Words in one text, or in a list where they hold blanks.
    fn words(&self, value: &Value<'_>) -> Result<Vec<String>, Failure> {
        let words = match value.get_ref() {
            DeValue::Array(list) => {
                list.iter().map(|word| self.string(word)).collect::<Result<Vec<_>, _>>()?
            }
            _ => self.string(value)?.split_whitespace().map(str::to_owned).collect(),
        };
        match words.first() {
            Some(first) if !first.is_empty() && first != "*" => Ok(words),
            _ => Err(self.wrong(value.span().start, "`command` begins with a program's name".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use contract::policy::Decision;
    use kernel::policy::{Layer, Match};

    fn load(user: &str, project: &str) -> Result<Config, crate::exit::Failure> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("p/.kapell")).unwrap();
        std::fs::write(dir.path().join("config.toml"), user).unwrap();
        std::fs::write(dir.path().join("p/.kapell/config.toml"), project).unwrap();
        Config::load(dir.path(), Some(&dir.path().join("p")), |_| None)
    }

    #[test]
    fn rules_of_both_files_stand_one_after_the_other() {
        let user = "[[policy.rule]]\ndecide = \"allow\"\ncommand = \"npm run *\"\n\
                    [[policy.rule]]\ndecide = \"ask\"\npath = \"~/x\"\naccess = \"write\"\n";
        let project = "[[policy.rule]]\ndecide = \"deny\"\nhost = \"Evil.com\"\n";
        let rules = load(user, project).unwrap().rules;
        assert_eq!(rules.len(), 3);
        let words = ["npm", "run", "*"].map(str::to_owned).to_vec();
        assert_eq!(rules[0].matches, Match::Command { words, exact: false });
        assert!(rules[0].place.ends_with("config.toml:1"), "{}", rules[0].place);
        assert_eq!((rules[2].verdict, rules[2].layer), (Decision::Deny, Layer::Project));
        assert_eq!(rules[2].matches, Match::Host("evil.com".into()));
    }

    #[test]
    fn a_rule_about_one_repository_holds_there_only() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let rule = format!(
            "[[policy.rule]]\ndecide = \"allow\"\ncommand = \"make\"\nrepo = {:?}\n",
            one.display().to_string()
        );
        std::fs::write(dir.path().join("config.toml"), rule).unwrap();
        let rules = |project| Config::load(dir.path(), project, |_| None).unwrap().rules.len();
        assert_eq!((rules(Some(one.as_path())), rules(Some(other.as_path())), rules(None)), (1, 0, 0));
    }

    #[test]
    fn a_project_that_allows_is_an_error_with_its_file() {
        let error = load("", "\n[[policy.rule]]\ndecide = \"allow\"\ncommand = \"make\"\n").unwrap_err();
        assert!(
            error.fault.what.contains("p/.kapell/config.toml:2: a project's file cannot allow"),
            "{}",
            error.fault.what
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (text, says) in [
            ("[[policy.rule]]\ncommand = \"x\"\n", "says nothing"),
            ("[[policy.rule]]\ndecide = \"alow\"\n", "`alow` is not one of"),
            ("[[policy.rule]]\ndecide = \"deny\"\n", "about one thing"),
            ("[[policy.rule]]\ndecide = \"deny\"\ncommand = \"x\"\nhost = \"y\"\n", "about one thing"),
            ("[[policy.rule]]\ndecide = \"allow\"\ncommand = \"*\"\n", "begins with a program's name"),
            ("[[policy.rule]]\ndecide = \"deny\"\ncomand = \"x\"\n", "`policy.rule.comand`"),
            ("[[policy.rules]]\ndecide = \"deny\"\n", "`policy.rules`"),
        ] {
            let error = load(text, "").unwrap_err();
            assert!(error.fault.what.contains(says), "{text}: {}", error.fault.what);
        }
    }
}
