//! `[secrets.NAME]` of the user's file: secrets that a call may name as `secret:NAME`, and who may have each.
//!
//! Knows the file's shape; who may have one is `kernel::policy::handle`'s to say. A project's file may say nothing of it:
//! it comes with a clone. Start at [`File::secrets`].

use super::{Config, Failure, File, Value};
use kernel::policy::handle::Grant;
use std::path::PathBuf;

const KEYS: [&str; 3] = ["for", "env", "command"];

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Who may have it, as it is written.
    pub(crate) written: Vec<String>,
    /// The same, understood.
    pub(crate) grants: Vec<Grant>,
    /// Where its value is.
    pub(crate) from: From,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// In the encrypted file: `kapell secret set NAME`.
    Kept,
    /// In this variable of Kapell's own environment.
    Env(String),
    /// What this command prints, run in that directory.
    Command(Vec<String>, PathBuf),
}

impl File<'_> {
    /// All of them.
    pub(super) fn secrets(&self, config: &mut Config, value: &Value<'_>) -> Result<(), Failure> {
        for (name, value) in self.table(value, "secrets")? {
            let (at, name) = (name.span().start, name.get_ref().as_ref());
            if !::secrets::is_handle_name(name) {
                let what = format!(
                    "`{name}` cannot name a secret: capitals, digits and _, beginning with a letter, at most 32"
                );
                return Err(self.wrong(at, what));
            }
            config.secrets.insert(name.to_owned(), self.secret(name, at, value)?);
        }
        Ok(())
    }

    fn secret(&self, name: &str, at: usize, value: &Value<'_>) -> Result<Declared, Failure> {
        let title = format!("secrets.{name}");
        let (mut written, mut from) = (Vec::new(), None);
        for (key, value) in self.table(value, &title)? {
            let place = key.span().start;
            let found = match key.get_ref().as_ref() {
                "for" => {
                    written = self.strings(value)?;
                    continue;
                }
                "env" => From::Env(self.string(value)?),
                "command" => {
                    let dir = self.path.parent().map_or_else(|| PathBuf::from("/"), PathBuf::from);
                    From::Command(self.strings(value)?, dir)
                }
                other => return Err(self.unknown(place, other, &format!("{title}."), KEYS.to_vec())),
            };
            let empty = matches!(&found, From::Env(name) if name.is_empty())
                || matches!(&found, From::Command(argv, _) if argv.is_empty());
            if empty || from.replace(found).is_some() {
                return Err(self.wrong(place, format!("`{title}` has one `env` or one `command`, not empty")));
            }
        }
        if written.is_empty() {
            let what =
                format!("nobody may have `{title}`: add for = [\"gh\", \"host:api.github.com\", \"hooks\"]");
            return Err(self.wrong(at, what));
        }
        let grants: Result<Vec<Grant>, String> = written.iter().map(|text| Grant::parse(text)).collect();
        let grants = grants.map_err(|why| self.wrong(at, format!("`{title}.for`: {why}")))?;
        Ok(Declared { written, grants, from: from.unwrap_or(From::Kept) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(text: &str, project: bool) -> Result<Config, Failure> {
        let mut config = Config::default();
        config.read(Path::new("/c/config.toml"), text, project).map(|()| config)
    }

    #[test]
    fn a_person_says_who_may_have_what() {
        let text = "[secrets.GITHUB]\nfor = [\"gh\", \"host:api.github.com\"]\n[secrets.NPM]\nfor = [\"npm publish\"]\n\
                    env = \"NPM_PUBLISH\"\n[secrets.DB]\nfor = [\"psql\"]\ncommand = [\"pass\", \"db\"]\n";
        let secrets = read(text, false).unwrap().secrets;
        assert_eq!(secrets["GITHUB"].grants.len(), 2);
        assert_eq!(secrets["GITHUB"].from, From::Kept);
        assert_eq!(secrets["NPM"].from, From::Env("NPM_PUBLISH".into()));
        assert_eq!(secrets["DB"].from, From::Command(vec!["pass".into(), "db".into()], "/c".into()));
        assert!(read(text, true).unwrap_err().fault.what.contains("no key `secrets`"));
        for (wrong, why) in [
            ("[secrets.github]\nfor = [\"gh\"]", "cannot name a secret"),
            ("[secrets.A]\n", "nobody may have"),
            ("[secrets.A]\nfor = []", "nobody may have"),
            ("[secrets.A]\nfor = [\"*\"]", "any program"),
            ("[secrets.A]\nfor = [\"gh\"]\nenv = \"X\"\ncommand = [\"x\"]", "one `env` or one `command`"),
            ("[secrets.A]\nfor = [\"gh\"]\ncommand = []", "one `env` or one `command`"),
            ("[secrets.A]\nfor = [\"gh\"]\nvalue = \"x\"", "no key `secrets.A.value`"),
        ] {
            let failure = read(wrong, false).unwrap_err();
            assert!(failure.fault.what.contains(why), "{wrong}: {}", failure.fault.what);
        }
    }
}
