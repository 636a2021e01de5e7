//! `[parsers.NAME]` of the user's file: how the outputs of programs are read that no built-in parser knows.
//!
//! Knows the file's shape; whether a pattern can be used is `output`'s to say, and told as a warning. A project's file
//! may say nothing of it: it comes with a clone. Start at [`File::parsers`].

use super::{Config, Failure, File, Value};
use output::Written;
use toml::de::DeValue;

const KEYS: [&str; 2] = ["command", "patterns"];

impl File<'_> {
    /// Every parser of this file.
    pub(super) fn parsers(&self, config: &mut Config, at: usize, value: &Value<'_>) -> Result<(), Failure> {
        if self.project {
            let mut failure =
                self.wrong(at, "a project's file cannot declare parsers: it comes with a clone".into());
            failure.fault.hint =
                "declare them in your own config.toml (kapell doctor shows where it is)".into();
            return Err(failure);
        }
        for (name, value) in self.table(value, "parsers")? {
            let title = format!("parsers.{}", name.get_ref());
            let mut written = Written { name: name.get_ref().clone().into_owned(), ..Written::default() };
            for (key, value) in self.table(value, &title)? {
                match key.get_ref().as_ref() {
                    "command" => written.command = self.texts(value)?,
                    "patterns" => written.patterns = self.texts(value)?,
                    other => {
                        return Err(self.unknown(key.span().start, other, &format!("{title}."), KEYS.into()));
                    }
                }
            }
            if written.command.is_empty() || written.patterns.is_empty() {
                let what = format!("`{title}` needs `command` (words of a command line) and `patterns`");
                return Err(self.wrong(name.span().start, what));
            }
            config.parsers.push(written);
        }
        Ok(())
    }

    /// A list of texts.
    fn texts(&self, value: &Value<'_>) -> Result<Vec<String>, Failure> {
        let DeValue::Array(words) = value.get_ref() else {
            return Err(self.wrong(value.span().start, "this must be a list of texts in quotes".into()));
        };
        words.iter().map(|word| self.string(word)).collect()
    }
}
