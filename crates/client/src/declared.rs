//! One server as a person or a repository declares it.
//! Knows no file (`file.rs`) and starts nothing. Start at [`Server`].

use crate::expand::names;
use contract::Digest;
use contract::confine::{Network, Profile};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Characters of a name: with a tool's it must fit what models take.
const NAME_CHARS: usize = 32;
/// How long one may take to be ready, milliseconds, where nobody says otherwise; the first start may have to fetch it.
pub(crate) const START_MS: u64 = 30_000;
/// How long a call may take, milliseconds, where nobody says otherwise.
pub(crate) const CALL_MS: u64 = 120_000;

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What it is called here.
    pub name: String,
    /// How it is reached.
    pub way: Way,
    /// A repository's file declares it: it runs where a person trusts it, and as confined as any command.
    pub project: bool,
    /// The file.
    pub from: PathBuf,
    /// False: it is declared, and not used.
    pub enabled: bool,
    /// How long it may take to be ready, milliseconds.
    pub start_ms: u64,
    /// How long a call may take, milliseconds.
    pub call_ms: u64,
    /// These of its tools alone, where any are named.
    pub only: Vec<String>,
    /// Not these.
    pub without: Vec<String>,
    /// It may ask which directory is worked in.
    pub roots: bool,
    /// How much it may do, where a person says so; else as much as commands.
    pub profile: Option<Profile>,
    /// What of the network it reaches, likewise.
    pub network: Option<Network>,
    /// What it may read besides.
    pub read: Vec<PathBuf>,
}

/// How a server is reached. Texts may hold `${NAME}` and `${NAME:-default}`, which stand for variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A program, over its standard input and output.
    Program {
        /// Its name or path.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables it is given.
        env: BTreeMap<String, String>,
        /// Variables it is given as they are here.
        pass: Vec<String>,
        /// Where it works, seen from the workspace; its top when left out.
        cwd: Option<String>,
    },
    /// An address, over HTTP.
    Url {
        /// Where.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, String>,
        /// The variable that holds the token it is shown.
        token: Option<String>,
    },
}

impl Server {
    /// One with the usual limits.
    pub fn new(name: &str, way: Way, from: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            way,
            project: false,
            from,
            enabled: true,
            start_ms: START_MS,
            call_ms: CALL_MS,
            only: Vec::new(),
            without: Vec::new(),
            roots: false,
            profile: None,
            network: None,
            read: Vec::new(),
        }
    }

    /// What it is made of, for who trusts it: everything but the values of its variables when they are filled in.
    pub fn does(&self) -> Value {
        match &self.way {
            Way::Program { command, args, env, pass, cwd } => {
                json!({"command": command, "args": args, "env": env, "pass": pass, "cwd": cwd})
            }
            Way::Url { url, headers, token } => json!({"url": url, "headers": headers, "token": token}),
        }
    }

    /// Which server it is: another program, address or set of variables is another one. What a variable holds is not part
    /// of it, so that a token can be renewed.
    pub fn identity(&self) -> Digest {
        let mut does = self.does();
        for held in ["env", "headers"] {
            if let Some(names) = does[held].as_object().map(|held| held.keys().cloned().collect::<Vec<_>>()) {
                does[held] = names.into();
            }
        }
        let whose = if self.project { self.from.to_string_lossy().into_owned() } else { String::new() };
        Digest::of(json!([self.name, whose, does]).to_string().as_bytes())
    }

    /// What runs or is asked, in one line for people: with the names of variables that it gets and of those whose values
    /// it is given, without what they hold.
    pub fn run(&self) -> String {
        let (mut line, set, given, texts): (_, Vec<&String>, Vec<&String>, Vec<&String>) = match &self.way {
            Way::Program { command, args, env, pass, .. } => {
                let words: Vec<String> =
                    std::iter::once(command).chain(args).map(|word| quoted(word)).collect();
                let texts = std::iter::once(command).chain(args).chain(env.values()).collect();
                (words.join(" "), env.keys().collect(), pass.iter().collect(), texts)
            }
            Way::Url { url, headers, token } => {
                let texts = std::iter::once(url).chain(headers.values()).collect();
                (url.clone(), headers.keys().collect(), token.iter().collect(), texts)
            }
        };
        let mut given: Vec<String> = given.into_iter().cloned().collect();
        given.extend(texts.into_iter().flat_map(|text| names(text)));
        given.sort();
        given.dedup();
        if !set.is_empty() {
            line.push_str(&format!(
                " [with {}]",
                set.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ")
            ));
        }
        if !given.is_empty() {
            line.push_str(&format!(" [reads your {}]", given.join(", ")));
        }
        line
    }

    /// Is this tool of it to be offered?
    pub(crate) fn wants(&self, tool: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == tool);
        (self.only.is_empty() || named(&self.only)) && !named(&self.without)
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match word {
        "" => "''".to_owned(),
        word if word.chars().all(plain) => word.to_owned(),
        word => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Why this is no name of a server.
pub(crate) fn misnamed(name: &str) -> Option<String> {
    let fits = !name.is_empty()
        && name.len() <= NAME_CHARS
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && !name.contains("__");
    (!fits).then(|| {
        let shown = contract::text::bounded(name, 2 * NAME_CHARS);
        format!("`{shown}` is no name: up to {NAME_CHARS} letters, digits, `-` and single `_`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(args: &[&str], env: &[(&str, &str)]) -> Server {
        let way = Way::Program {
            command: "npx".into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            pass: Vec::new(),
            cwd: None,
        };
        Server::new("x", way, PathBuf::from("/f"))
    }

    #[test]
    fn another_command_is_another_server_and_another_value_is_not() {
        let one = program(&["-y", "a b"], &[("TOKEN", "1")]);
        assert_eq!(one.identity(), program(&["-y", "a b"], &[("TOKEN", "2")]).identity());
        assert_ne!(one.identity(), program(&["-y", "a"], &[("TOKEN", "1")]).identity());
        assert_ne!(one.identity(), program(&["-y", "a b"], &[("OTHER", "1")]).identity());
        assert_ne!(one.does(), program(&["-y", "a b"], &[("TOKEN", "2")]).does(), "trust is about all of it");
        assert_eq!(one.run(), "npx -y 'a b' [with TOKEN]");
        let asks = program(&["${HOME}"], &[("TOKEN", "${GITHUB_TOKEN:-}")]);
        assert_eq!(asks.run(), "npx '${HOME}' [with TOKEN] [reads your GITHUB_TOKEN, HOME]");
    }

    #[test]
    fn names_fit_into_the_names_of_tools() {
        for (name, fits) in
            [("github", true), ("my-db_2", true), ("", false), ("a__b", false), ("ä", false), ("a.b", false)]
        {
            assert_eq!(misnamed(name).is_none(), fits, "{name}");
        }
        assert!(misnamed(&"x".repeat(33)).is_some());
    }
}
