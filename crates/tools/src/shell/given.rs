//! Secrets for a command: in its environment, or in a word of its arguments.
//!
//! A value is never part of a line that a shell reads: quoting it would be guessing. Knows nobody who may have one. Start
//! at [`Shell::looked`] and [`Shell::give`].

use super::{Args, Shell, line};
use crate::args::refuse;
use crate::handed::{self, Values};
use crate::name;
use contract::Fault;
use contract::handle::{Handed, Receiver};
use contract::policy::Part;
use contract::tool::Scope;
use serde_json::{Value, json};

/// Variables that decide which programs run and what they obey.
const DECIDE: [&str; 9] =
    ["PATH", "HOME", "SHELL", "ENV", "BASH_ENV", "IFS", "TMPDIR", "PYTHONPATH", "NODE_OPTIONS"];
/// Beginnings of such.
const DECIDE_STARTS: [&str; 4] = ["LD_", "DYLD_", "KAPELL_", "GIT_"];

/// What one command is given.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Variables and their handles.
    env: Vec<(String, String)>,
    values: Values,
    /// For the record.
    pub(super) handed: Vec<Handed>,
}

impl Given {
    /// The command with what it is given.
    pub(super) fn to(&self, command: sandbox::Command) -> sandbox::Command {
        let given = self.env.iter().map(|(name, handle)| (name, self.values.filled(handle)));
        given.fold(command, |command, (name, value)| command.given(name, value))
    }

    /// What to start; with a secret in its words, only as the program that it is.
    pub(super) fn ways(&self, args: &Args, shell: &str) -> Vec<Vec<String>> {
        let mut ways = args.ways(shell);
        let in_words = ways.iter().flatten().any(|word| self.values.filled(word) != *word);
        if in_words {
            ways.truncate(1);
            ways.iter_mut().flatten().for_each(|word| *word = self.values.filled(word));
        }
        ways
    }
}

impl Args {
    /// Variables and the handles in them.
    fn variables(&self) -> Result<Vec<(String, String)>, Fault> {
        let wrong = |entry: &str| {
            refuse(format!(
                "`shell`: `{entry}` is not NAME=secret:HANDLE; a plain value stands before the command: NAME=value COMMAND"
            ))
        };
        let one = |entry: &String| {
            let (name, handle) = entry.split_once('=').ok_or_else(|| wrong(entry))?;
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let named = !name.is_empty()
                && name.bytes().all(word)
                && !name.starts_with(|first: char| first.is_ascii_digit());
            if !named || secrets::handle(handle).is_none() {
                return Err(wrong(entry));
            }
            if DECIDE.contains(&name) || DECIDE_STARTS.iter().any(|start| name.starts_with(start)) {
                return Err(refuse(format!("`shell`: {name} holds no secret: it decides what runs")));
            }
            Ok((name.to_owned(), handle.to_owned()))
        };
        self.env.iter().map(one).collect()
    }

    /// Everything that it would run.
    fn parts(&self, scope: &Scope) -> Vec<Part> {
        let root = scope.root.to_string_lossy().into_owned();
        let quoted = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
        let line = match (&self.command, &self.argv) {
            (Some(command), _) => command.clone(),
            (None, argv) => argv.iter().flatten().map(quoted).collect::<Vec<_>>().join(" "),
        };
        let plain =
            |cwd: &String| name::parse(cwd).map_or(root.clone(), |path| path.to_string_lossy().into());
        let cwd = self.cwd.as_ref().map_or(root.clone(), plain);
        let cwd = if cwd.starts_with('/') { cwd } else { format!("{root}/{cwd}") };
        command::parts(&line, &command::Place { root, home: String::new() }, &cwd)
    }
}

impl Shell {
    /// The schema with a place for secrets, where there are any.
    pub(super) fn with_secrets(&self, mut schema: Value) -> Value {
        let list = self.handles.list();
        if !list.is_empty() {
            let about = format!(
                "Secrets for its environment, each NAME=secret:HANDLE; nobody shows you a value. There are {list}. A handle may \
                 stand in a word of `argv`, too."
            );
            schema["properties"]["env"] =
                json!({"type": "array", "items": {"type": "string"}, "description": about});
        }
        schema
    }

    /// The secrets that it names.
    fn named(&self, args: &Args) -> Result<Vec<String>, Fault> {
        let variables = args.variables()?;
        let of_env = self.handles.named(variables.iter().map(|(_, handle)| handle.as_str()));
        if let Some((_, handle)) =
            variables.iter().find(|(_, it)| !of_env.iter().any(|name| secrets::handle(it) == Some(name)))
        {
            return Err(handed::unknown(handle, &self.handles));
        }
        let words: Vec<&str> = match (&args.command, &args.argv) {
            (Some(command), _) => vec![command],
            (None, argv) => argv.iter().flatten().map(String::as_str).collect(),
        };
        let of_words = self.handles.named(words.iter().copied());
        let plain = args.command.as_ref().is_none_or(|command| line::words(command).is_some());
        if !of_words.is_empty() && (!plain || args.stays()) {
            let name = &of_words[0];
            return Err(refuse(format!(
                "`shell`: a secret is no part of a line that a shell reads: give it as a variable, `env`: [\"{name}=secret:{name}\"], \
                 and write ${name} in the command; or use `argv`"
            )));
        }
        if words
            .first()
            .is_some_and(|program| args.argv.is_some() && !self.handles.named([*program]).is_empty())
        {
            return Err(refuse("`shell`: a secret is no program"));
        }
        let mut all = [of_env, of_words].concat();
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Is everything that it names for it? What is said of the call then.
    pub(super) fn looked(&self, args: &Args, scope: &Scope, why: &str) -> Result<String, Fault> {
        let names = self.named(args)?;
        if names.is_empty() {
            return Ok(why.to_owned());
        }
        let parts = args.parts(scope);
        let to = Receiver::Command(&parts);
        self.handles.may(&names, &to)?;
        Ok(handed::told(why, &names, &to))
    }

    /// The values that it names, looked at once more.
    pub(super) async fn give(&self, args: &Args, scope: &Scope) -> Result<Given, Fault> {
        let names = self.named(args)?;
        if names.is_empty() {
            return Ok(Given::default());
        }
        let parts = args.parts(scope);
        let (values, handed) = self.handles.values(&names, &Receiver::Command(&parts)).await?;
        Ok(Given { env: args.variables()?, values, handed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::testing::Bench;
    use contract::BoxFuture;
    use contract::handle::Handles;
    use contract::tool::Tool;
    use std::sync::Arc;

    /// Keeps one secret, for `sh` and `printenv`.
    #[derive(Debug)]
    struct One;

    impl Handles for One {
        fn names(&self) -> Vec<(String, String)> {
            vec![("KEY".into(), "sh, printenv".into())]
        }

        fn may(&self, name: &str, to: &Receiver<'_>) -> Result<(), Fault> {
            let Receiver::Command(parts) = to else { panic!("{to}") };
            let fits = |part: &Part| ["sh", "printenv"].contains(&part.words[0].shown());
            let said = parts.iter().all(fits);
            if said { Ok(()) } else { Err(refuse(format!("secret:{name} is not for {to}"))) }
        }

        fn value<'a>(&'a self, name: &'a str, to: &'a Receiver<'a>) -> BoxFuture<'a, Result<String, Fault>> {
            Box::pin(async move { self.may(name, to).map(|()| "it's $HOME \"1\"".to_owned()) })
        }
    }

    fn shell() -> Shell {
        Shell::new(&Options { handles: Some(Arc::new(One)), ..Options::default() })
    }

    #[test]
    fn a_command_gets_what_it_names_and_is_for_it() {
        let bench = Bench::new();
        bench.file("show.sh", "echo \"$1\"\n");
        for args in [
            json!({"command": "printenv A_KEY", "env": ["A_KEY=secret:KEY"]}),
            json!({"argv": ["sh", "show.sh", "secret:KEY"]}),
        ] {
            let judged = bench.judge(&shell(), args.clone()).unwrap();
            assert!(judged.why.starts_with("gives secret:KEY to `"), "{}", judged.why);
            let output = bench.run(&shell(), args);
            assert!(output.text.starts_with("it's $HOME \"1\"\n"), "{}", output.text);
            let told: Vec<_> = output.handed.iter().map(|it| it.name.as_str()).collect();
            assert_eq!(told, ["KEY"]);
        }
        // What names no secret that there is, is a text.
        let output = bench.run(&shell(), json!({"command": "echo secret:OTHER"}));
        assert!(output.ok && output.text.starts_with("secret:OTHER") && output.handed.is_empty());
        assert!(shell().spec().schema.to_string().contains("secret:KEY (for sh, printenv)"));
    }

    #[test]
    fn whatever_else_names_one_is_refused_before_it_is_decided() {
        let bench = Bench::new();
        for (args, why) in [
            (json!({"command": "ls", "env": ["A=secret:KEY"]}), "is not for `ls`"),
            (json!({"command": "printenv A | rev", "env": ["A=secret:KEY"]}), "is not for"),
            (json!({"command": "printenv", "env": ["A=secret:NONE"]}), "names no secret"),
            (json!({"command": "printenv", "env": ["A=plain"]}), "is not NAME=secret:HANDLE"),
            (json!({"command": "printenv", "env": ["A=x secret:KEY"]}), "is not NAME=secret:HANDLE"),
            (json!({"command": "printenv", "env": ["1A=secret:KEY"]}), "is not NAME=secret:HANDLE"),
            (json!({"command": "printenv", "env": ["LD_PRELOAD=secret:KEY"]}), "it decides what runs"),
            (json!({"command": "sh -c 'echo secret:KEY'"}), "no part of a line"),
            (json!({"command": "sh x secret:KEY", "background": true}), "no part of a line"),
            (json!({"argv": ["secret:KEY"]}), "no program"),
        ] {
            let fault = bench.judge(&shell(), args.clone()).unwrap_err();
            assert!(fault.what.contains(why), "{args}: {}", fault.what);
            let output = bench.run(&shell(), args.clone());
            assert!(!output.ok && output.text.contains(why), "{args}: {}", output.text);
        }
        let none = Shell::new(&Options::default());
        let fault = bench.judge(&none, json!({"command": "ls", "env": ["A=secret:KEY"]})).unwrap_err();
        assert!(fault.what.contains("[secrets]"), "{}", fault.what);
        assert!(!none.spec().schema.to_string().contains("secret"));
    }
}
