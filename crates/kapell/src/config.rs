//! Configuration in layers: default < user < project < environment < flags. Every value knows where it came from.
//!
//! A project's file comes with a clone: it may choose, and narrow what the user set, but never widen it. Knows files
//! as text (FORMATS.md section 4); checks and set-up commands in the project's file are the workspace's to read.
//! Start at [`Config::load`].

mod listing;
mod parsers;
mod policy;
mod providers;
pub(crate) mod sandbox;
pub(crate) mod secrets;
pub(crate) mod signal;
mod web;

use crate::exit::Failure;
use crate::plain;
use crate::quantity;
use ::providers::settings::Declared;
use ::tools::WebRules;
use contract::confine::Confinement;
use contract::project::Caps;
use contract::session::{Ask, Quiet};
use contract::text::suggestion;
use contract::{Amount, limits};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The model when nobody chose one: needs no key, no account, no network.
const DEFAULT_MODEL: &str = "builtin/fixer";
/// Instructions and tools when nobody chose.
const DEFAULT_MODE: &str = "code";
/// The model that works also words what is taken out of its conversation.
pub(crate) const SAME: &str = "same";
/// Longest file.
const FILE_BYTES: u64 = 1 << 20;
/// Nobody does: it is listed.
pub(crate) const NOBODY: &str = "none";
/// Nobody, and nothing is cut by itself.
pub(crate) const NEVER: &str = "off";

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Of<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it came from.
    pub(crate) origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Built in.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Env(&'static str),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Model id.
    pub(crate) model: Of<String>,
    /// Ids of the models that go on where that one cannot, in this order.
    pub(crate) fallback: Of<Vec<String>>,
    /// Which calls wait for approval.
    pub(crate) ask: Of<Ask>,
    /// Instructions and tools to work with.
    pub(crate) mode: Of<String>,
    /// May a confirmed result land?
    pub(crate) land: Of<bool>,
    /// Cap in money, nano-dollars; `u64::MAX` = none, as in all of these.
    pub(crate) nanos: Of<u64>,
    /// Cap in tokens.
    pub(crate) tokens: Of<u64>,
    /// Cap in actions.
    pub(crate) steps: Of<u64>,
    /// Cap in time of running actions, milliseconds.
    pub(crate) time_ms: Of<u64>,
    /// Who words what is taken out of a conversation: a model's id, or one of [`SAME`], [`NOBODY`], [`NEVER`].
    pub(crate) compact_model: Of<String>,
    /// Are replies of models kept and given again? Of the user's file alone.
    pub(crate) response_cache: bool,
    /// When nothing that has waited for long goes on by itself. Of the user's file alone.
    pub(crate) quiet_hours: Option<Quiet>,
    /// Calls in a row that find nothing in the provider's cache, after which a person is asked; 0 = never.
    pub(crate) cache_misses: Of<u32>,
    /// Bytes kept of one command's output. Of the user's file alone.
    pub(crate) output_keep: u64,
    /// Bytes a session's directory may hold. Of the user's file alone.
    pub(crate) session_disk: u64,
    /// Memory in use from which nothing begins, percent; from 100 on never. Of the user's file alone.
    pub(crate) pause_memory: u64,
    /// Bytes left free on the disk below which nothing begins. Of the user's file alone.
    pub(crate) pause_disk: u64,
    /// Variables that commands inherit besides the usual ones. Of the user's file alone.
    pub(crate) pass_env: Vec<String>,
    /// Where models are reached, of the user's file alone.
    pub(crate) providers: BTreeMap<String, Declared>,
    /// Which hosts of the internet an agent may ask, of the user's file alone.
    pub(crate) web: WebRules,
    /// The proxy these are reached through, empty for none; the environment's where nothing is said. Of the user's file
    /// alone.
    pub(crate) web_proxy: Option<String>,
    /// Who is told what, and where; of the user's file alone.
    pub(crate) signal: signal::Signal,
    /// How outputs of programs are read that no built-in parser knows, of the user's file alone.
    pub(crate) parsers: Vec<output::Written>,
    /// What confines commands, of the user's file alone: all but the place they work in.
    pub(crate) sandbox: Confinement,
    /// Secrets that calls may name, by name; of the user's file alone.
    pub(crate) secrets: BTreeMap<String, secrets::Declared>,
    /// What may run, of both files; the project's only ask and deny.
    pub(crate) rules: Vec<kernel::policy::Rule>,
    /// The repository it was read for: rules may be about one.
    pub(crate) about: Option<PathBuf>,
    /// Caps of a call, an hour, a day, a month and the project, each in money and in tokens, as [`CAP_KEYS`] names them.
    pub(crate) caps: [Of<u64>; 10],
    /// Model calls that the sessions on the project may have under way at once.
    pub(crate) calls_at_once: Of<u64>,
}

/// Keys of both files, with those of the project alone behind.
const KEYS: [&str; 8] = ["model", "fallback", "ask", "mode", "land", "budget", "policy", "compact_model"];
/// Of the user's file alone.
const USER_KEYS: [&str; 14] = [
    "providers",
    "quiet_hours",
    "parsers",
    "response_cache",
    "output_keep",
    "session_disk",
    "pause_memory",
    "pause_disk",
    "pass_env",
    "web",
    "sandbox",
    "notify",
    "telemetry",
    "secrets",
];
const PROJECT_KEYS: [&str; 2] = ["setup", "checks"];
const BUDGET_KEYS: [&str; 6] = ["usd", "tokens", "steps", "time", "cache_misses", "calls_at_once"];
/// Keys of `[budget]` about more or less than a tree of sessions.
const CAP_KEYS: [&str; 10] = [
    "per_call_usd",
    "per_call_tokens",
    "hour_usd",
    "hour_tokens",
    "day_usd",
    "day_tokens",
    "month_usd",
    "month_tokens",
    "project_usd",
    "project_tokens",
];
const CHECK_KEYS: [&str; 3] = ["run", "kind", "timeout"];
const CHECK_KINDS: [&str; 5] = ["build", "test", "lint", "format", "other"];
const MODES: [&str; 3] = ["code", "plan", "review"];

impl Default for Config {
    fn default() -> Self {
        fn of<T>(value: T) -> Of<T> {
            Of { value, origin: Origin::Default }
        }
        Self {
            model: of(DEFAULT_MODEL.to_owned()),
            fallback: of(Vec::new()),
            ask: of(Ask::External),
            mode: of(DEFAULT_MODE.to_owned()),
            land: of(true),
            nanos: of(u64::MAX),
            tokens: of(u64::MAX),
            steps: of(limits::STEPS_PER_SESSION),
            time_ms: of(u64::MAX),
            compact_model: of(SAME.to_owned()),
            response_cache: false,
            quiet_hours: None,
            cache_misses: of(limits::CACHE_MISSES),
            output_keep: limits::OUTPUT_DISK_BYTES,
            session_disk: limits::SESSION_DISK_BYTES,
            pause_memory: limits::PAUSE_MEMORY_PERCENT,
            pause_disk: limits::PAUSE_DISK_BYTES,
            pass_env: Vec::new(),
            providers: BTreeMap::new(),
            web: WebRules::default(),
            web_proxy: None,
            signal: signal::Signal::default(),
            parsers: Vec::new(),
            sandbox: sandbox::usual(),
            secrets: BTreeMap::new(),
            rules: Vec::new(),
            about: None,
            caps: std::array::from_fn(|_| of(u64::MAX)),
            calls_at_once: of(u64::MAX),
        }
    }
}

impl Config {
    /// The user's file, then the project's, then the environment. Nothing is written, whatever is wrong.
    pub(crate) fn load(
        user: &Path,
        project: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let mut config = Self { about: project.map(Path::to_path_buf), ..Self::default() };
        config.file(&user.join("config.toml"), false)?;
        if let Some(top) = project {
            config.file(&top.join(".kapell").join("config.toml"), true)?;
        }
        config.environment(env)?;
        Ok(config)
    }

    /// The caps together.
    pub(crate) fn budget(&self) -> Amount {
        Amount {
            nanos: self.nanos.value,
            tokens: self.tokens.value,
            steps: self.steps.value,
            time_ms: self.time_ms.value,
        }
    }

    fn cap(&self, at: usize) -> Amount {
        let [nanos, tokens] = [at, at + 1].map(|at| self.caps[at].value);
        Amount { nanos, tokens, ..Amount::UNLIMITED }
    }

    /// The cap of one model call.
    pub(crate) fn call_cap(&self) -> Amount {
        self.cap(0)
    }

    /// The caps of all sessions on the project together.
    pub(crate) fn project_caps(&self) -> Caps {
        Caps { hour: self.cap(2), day: self.cap(4), month: self.cap(6), project: self.cap(8) }
    }

    fn environment(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        if let Some(model) = set("KAPELL_MODEL") {
            self.model = Of { value: model, origin: Origin::Env("KAPELL_MODEL") };
        }
        if let Some(word) = set("KAPELL_ASK") {
            let value = ask(&word).map_err(|why| {
                Failure::usage(
                    "bad-environment",
                    format!("KAPELL_ASK: {why}"),
                    "correct it or unset KAPELL_ASK",
                )
            })?;
            self.ask = Of { value, origin: Origin::Env("KAPELL_ASK") };
        }
        Ok(())
    }

    pub(crate) fn file(&mut self, path: &Path, project: bool) -> Result<(), Failure> {
        let text = match plain::text(path, FILE_BYTES) {
            Ok(text) => text,
            Err(error) if missing(&error) => return Ok(()),
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                return Err(Failure::usage(
                    "config-unreadable",
                    what,
                    "make it a readable file of UTF-8 text, of at most 1 MiB",
                ));
            }
        };
        self.read(path, &text, project)
    }

    /// Takes over what this file says; `project` = it came with a clone.
    pub(crate) fn read(&mut self, path: &Path, text: &str, project: bool) -> Result<(), Failure> {
        File { path, text, project }.read(self)
    }
}

/// No such file, or something on the way to it is not a directory.
fn missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn ask(word: &str) -> Result<Ask, String> {
    match word {
        "never" => Ok(Ask::Never),
        "external" => Ok(Ask::External),
        "writes" => Ok(Ask::Writes),
        other => Err(format!("`{other}` is not one of never, external, writes")),
    }
}

/// A file being read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    project: bool,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl File<'_> {
    fn read(&self, config: &mut Config) -> Result<(), Failure> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, format!("this is not TOML: {}", error.message().trim()))
        })?;
        for (key, value) in table.get_ref() {
            let at = key.span().start;
            match key.get_ref().as_ref() {
                "model" => self.choose(&mut config.model, at, self.string(value)?),
                "fallback" => self.choose(&mut config.fallback, at, self.strings(value)?),
                "compact_model" => self.choose(&mut config.compact_model, at, self.string(value)?),
                "mode" => {
                    let reads = |mode: &String| kernel::policy::only_reads(mode);
                    let mode = self.word(value, &MODES)?;
                    self.narrow(&mut config.mode, at, mode, |project, user| reads(user) && !reads(project))?;
                }
                "ask" => {
                    let ask = ask(&self.string(value)?).map_err(|why| self.wrong(value.span().start, why))?;
                    self.narrow(&mut config.ask, at, ask, |project, user| project < user)?;
                }
                "land" => {
                    let DeValue::Boolean(land) = value.get_ref() else {
                        return Err(self.wrong(at, "`land` is true or false".into()));
                    };
                    self.narrow(&mut config.land, at, *land, |project, user| project & !user)?;
                }
                "budget" => self.budget(config, value)?,
                "providers" => self.providers(config, at, value)?,
                "web" if !self.project => self.web(config, value)?,
                "sandbox" if !self.project => self.sandbox(config, value)?,
                "secrets" if !self.project => self.secrets(config, value)?,
                "notify" if !self.project => self.notify(config, value)?,
                "telemetry" if !self.project => self.telemetry(config, value)?,
                "parsers" => self.parsers(config, at, value)?,
                "policy" => self.policy(config, value)?,
                "response_cache" if !self.project => {
                    let DeValue::Boolean(on) = value.get_ref() else {
                        return Err(self.wrong(at, "`response_cache` is true or false".into()));
                    };
                    config.response_cache = *on;
                }
                "quiet_hours" if !self.project => {
                    let quiet = quantity::quiet(&self.string(value)?);
                    config.quiet_hours = Some(quiet.map_err(|why| self.wrong(value.span().start, why))?);
                }
                "output_keep" if !self.project => config.output_keep = self.size(value)?,
                "session_disk" if !self.project => config.session_disk = self.size(value)?,
                "pause_disk" if !self.project => config.pause_disk = self.size(value)?,
                "pause_memory" if !self.project => {
                    let percent = quantity::count(&self.number(value)?);
                    config.pause_memory = percent.map_err(|why| self.wrong(value.span().start, why))?;
                }
                "pass_env" if !self.project => config.pass_env = self.pass_env(value)?,
                "setup" if self.project => self.setup(value)?,
                "checks" if self.project => self.checks(value)?,
                other => return Err(self.unknown(at, other, "", self.keys())),
            }
        }
        Ok(())
    }

    fn keys(&self) -> Vec<&'static str> {
        let own: &[&str] = if self.project { &PROJECT_KEYS } else { &USER_KEYS };
        KEYS.iter().chain(own).copied().collect()
    }

    fn size(&self, value: &Value<'_>) -> Result<u64, Failure> {
        quantity::size(&self.string(value)?).map_err(|why| self.wrong(value.span().start, why))
    }

    fn pass_env(&self, value: &Value<'_>) -> Result<Vec<String>, Failure> {
        let DeValue::Array(names) = value.get_ref() else {
            return Err(self.wrong(value.span().start, "`pass_env` is a list of names of variables".into()));
        };
        let name = |value: &Value<'_>| {
            let name = self.string(value)?;
            if ::sandbox::is_secret(name.as_ref()) {
                let why = format!("`{name}` holds a secret by its name: no command is ever given one");
                return Err(self.wrong(value.span().start, why));
            }
            Ok(name)
        };
        names.iter().map(name).collect()
    }

    fn budget(&self, config: &mut Config, value: &Value<'_>) -> Result<(), Failure> {
        for (key, value) in self.table(value, "budget")? {
            let (at, name) = (key.span().start, key.get_ref().as_ref());
            let wider = |project: &u64, user: &u64| project > user;
            let parsed = |n: Result<u64, String>| n.map_err(|why| self.wrong(value.span().start, why));
            match name {
                "usd" => {
                    let nanos = parsed(quantity::nanos(&self.number(value)?))?;
                    self.narrow(&mut config.nanos, at, nanos, wider)?;
                }
                "tokens" => {
                    let tokens = parsed(quantity::count(&self.number(value)?))?;
                    self.narrow(&mut config.tokens, at, tokens, wider)?;
                }
                "steps" => {
                    let steps = parsed(quantity::count(&self.number(value)?))?;
                    self.narrow(&mut config.steps, at, steps, wider)?;
                }
                "time" => {
                    let time = parsed(quantity::millis(&self.string(value)?))?;
                    self.narrow(&mut config.time_ms, at, time, wider)?;
                }
                "calls_at_once" => {
                    let calls = parsed(quantity::count(&self.number(value)?))?;
                    self.narrow(&mut config.calls_at_once, at, calls, wider)?;
                }
                "cache_misses" => {
                    let misses = self.number(value)?.parse();
                    let why = || "`cache_misses` is a whole number, 0 = never ask".to_owned();
                    let misses = misses.map_err(|_| self.wrong(value.span().start, why()))?;
                    let wider = |project: &u32, user: &u32| *user > 0 && (*project == 0 || project > user);
                    self.narrow(&mut config.cache_misses, at, misses, wider)?;
                }
                other => match CAP_KEYS.iter().position(|key| *key == other) {
                    Some(cap) => {
                        let parse = if other.ends_with("_usd") { quantity::nanos } else { quantity::count };
                        let n = parsed(parse(&self.number(value)?))?;
                        self.narrow(&mut config.caps[cap], at, n, wider)?;
                    }
                    None => {
                        let known = [&BUDGET_KEYS[..], &CAP_KEYS[..]].concat();
                        return Err(self.unknown(at, other, "budget.", known));
                    }
                },
            }
        }
        Ok(())
    }

    /// Looked at so that a mistake is told now and not after the workspace was made; used by the workspace.
    fn setup(&self, value: &Value<'_>) -> Result<(), Failure> {
        let DeValue::Array(commands) = value.get_ref() else {
            return Err(self.wrong(value.span().start, "`setup` is a list of commands".into()));
        };
        commands.iter().try_for_each(|command| self.string(command).map(drop))
    }

    fn checks(&self, value: &Value<'_>) -> Result<(), Failure> {
        for (name, check) in self.table(value, "checks")? {
            let title = format!("checks.{}", name.get_ref());
            let table = self.table(check, &title)?;
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    "run" => {
                        if self.string(value)?.trim().is_empty() {
                            return Err(self.wrong(value.span().start, format!("`{title}.run` is empty")));
                        }
                    }
                    "kind" => drop(self.word(value, &CHECK_KINDS)?),
                    "timeout" => {
                        let text = self.string(value)?;
                        quantity::millis(&text).map_err(|why| self.wrong(value.span().start, why))?;
                    }
                    other => {
                        let at = key.span().start;
                        return Err(self.unknown(at, other, &format!("{title}."), CHECK_KEYS.into()));
                    }
                }
            }
            if !table.keys().any(|key| key.get_ref() == "run") {
                return Err(self.wrong(name.span().start, format!("`{title}` has no command: add `run`")));
            }
        }
        Ok(())
    }

    fn choose<T>(&self, slot: &mut Of<T>, at: usize, value: T) {
        *slot = Of { value, origin: self.origin(at) };
    }

    /// A project's value that would widen the user's is an error, not silently left out.
    fn narrow<T: PartialEq>(
        &self,
        slot: &mut Of<T>,
        at: usize,
        value: T,
        wider: impl Fn(&T, &T) -> bool,
    ) -> Result<(), Failure> {
        if self.project && wider(&value, &slot.value) {
            let key = self.text.get(at..).and_then(|text| text.split([' ', '=']).next()).unwrap_or_default();
            let what =
                format!("`{key}`: a project's file cannot allow more than the user does ({})", slot.origin);
            return Err(self.wrong(at, what));
        }
        self.choose(slot, at, value);
        Ok(())
    }

    fn table<'v>(&self, value: &'v Value<'v>, name: &str) -> Result<&'v DeTable<'v>, Failure> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.wrong(value.span().start, format!("`{name}` is a table: write [{name}]"))),
        }
    }

    fn string(&self, value: &Value<'_>) -> Result<String, Failure> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            _ => Err(self.wrong(value.span().start, "this must be a text in quotes".into())),
        }
    }

    fn strings(&self, value: &Value<'_>) -> Result<Vec<String>, Failure> {
        let DeValue::Array(all) = value.get_ref() else {
            return Err(self.wrong(value.span().start, "this must be a list of texts in quotes".into()));
        };
        all.iter().map(|one| self.string(one)).collect()
    }

    fn word(&self, value: &Value<'_>, known: &[&'static str]) -> Result<String, Failure> {
        let word = self.string(value)?;
        if known.contains(&word.as_str()) {
            return Ok(word);
        }
        let what = format!("`{word}` is not one of {}", known.join(", "));
        Err(self.wrong(value.span().start, what))
    }

    /// A number as it was written, so that money stays exact.
    fn number(&self, value: &Value<'_>) -> Result<String, Failure> {
        match value.get_ref() {
            DeValue::Integer(n) if n.radix() == 10 => Ok(n.as_str().to_owned()),
            DeValue::Float(n) => Ok(n.as_str().to_owned()),
            _ => Err(self.wrong(value.span().start, "this must be a number".into())),
        }
    }

    fn origin(&self, at: usize) -> Origin {
        Origin::File(self.path.to_path_buf(), self.line(at))
    }

    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
    }

    fn unknown(&self, at: usize, key: &str, prefix: &str, known: Vec<&str>) -> Failure {
        let near = suggestion(key, known.iter().copied());
        let project = "setup, checks";
        let elsewhere = !self.project && PROJECT_KEYS.contains(&key);
        let mut failure = self.wrong(at, format!("there is no key `{prefix}{key}` in this file"));
        failure.fault.hint = match elsewhere {
            true => format!("{project} belong in the project's .kapell/config.toml"),
            false => format!("{near}keys: {}", known.join(", ")),
        };
        failure
    }

    fn wrong(&self, at: usize, why: String) -> Failure {
        let what = format!("{}:{}: {why}", self.path.display(), self.line(at));
        Failure::usage("bad-config", what, "correct that line; FORMATS.md section 4 shows every key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new(user: &str, project: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("p/.kapell")).unwrap();
            std::fs::write(dir.path().join("config.toml"), user).unwrap();
            std::fs::write(dir.path().join("p/.kapell/config.toml"), project).unwrap();
            Self(dir)
        }

        fn load(&self, env: &[(&str, &str)]) -> Result<Config, Failure> {
            let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            Config::load(self.0.path(), Some(&self.0.path().join("p")), env)
        }
    }

    #[test]
    fn variables_are_passed_by_name_and_never_secrets() {
        let loaded = Files::new("pass_env = [\"DATABASE_URL\", \"DISPLAY\"]", "").load(&[]).unwrap();
        assert_eq!(loaded.pass_env, ["DATABASE_URL", "DISPLAY"]);
        let error =
            |user: &str, project: &str| format!("{:?}", Files::new(user, project).load(&[]).unwrap_err());
        assert!(error("pass_env = [\"GH_TOKEN\"]", "").contains("no command is ever given one"));
        assert!(error("pass_env = 1", "").contains("a list of names"));
        assert!(error("", "pass_env = [\"A\"]").contains("pass_env"));
    }

    #[test]
    fn nothing_there_is_the_default() {
        let config = Config::load(Path::new("/nonexistent"), None, |_| None).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.budget().steps, limits::STEPS_PER_SESSION);
    }

    #[test]
    fn the_later_layer_wins_and_says_so() {
        let user = "model = \"a/one\"\n[budget]\nusd = 5.25\ntime = \"2h\"\n";
        let files = Files::new(user, "# comment\nmodel = \"b/two\"\n[budget]\nusd = 1\n");
        let config = files.load(&[]).unwrap();
        assert_eq!(config.model.value, "b/two");
        assert!(config.model.origin.to_string().ends_with("p/.kapell/config.toml:2"));
        assert_eq!((config.nanos.value, config.time_ms.value), (1_000_000_000, 7_200_000));
        let config = files.load(&[("KAPELL_MODEL", "c/three"), ("KAPELL_ASK", "")]).unwrap();
        assert_eq!(
            (config.model.value.as_str(), config.model.origin),
            ("c/three", Origin::Env("KAPELL_MODEL"))
        );
    }

    #[test]
    fn caps_of_calls_days_months_and_projects() {
        let user = "[budget]\nper_call_usd = 0.5\nhour_usd = 1\nday_usd = 5\nmonth_tokens = 2_000_000\n";
        let project = "[budget]\nday_usd = 4\nproject_usd = 20\ncalls_at_once = 3\n";
        let config = Files::new(user, project).load(&[]).unwrap();
        let usd = |dollars: u64| Amount { nanos: dollars * 1_000_000_000, ..Amount::UNLIMITED };
        assert_eq!(config.call_cap(), Amount { nanos: 500_000_000, ..Amount::UNLIMITED });
        let month = Amount { tokens: 2_000_000, ..Amount::UNLIMITED };
        assert_eq!(config.project_caps(), Caps { hour: usd(1), day: usd(4), month, project: usd(20) });
        assert_eq!(config.calls_at_once.value, 3);
        let error = Files::new(user, "[budget]\nday_usd = 6\n").load(&[]).unwrap_err();
        assert!(error.fault.what.contains("cannot allow more"), "{}", error.fault.what);
        let error = Files::new("[budget]\nday_us = 6\n", "").load(&[]).unwrap_err();
        assert!(error.fault.hint.contains("did you mean `day_usd`?"), "{}", error.fault.hint);
    }

    #[test]
    fn a_project_narrows_and_never_widens() {
        let narrower = "ask = \"writes\"\nland = false\n[budget]\nsteps = 10\n";
        let config = Files::new("ask = \"external\"\n", narrower).load(&[]).unwrap();
        assert_eq!((config.ask.value, config.land.value, config.steps.value), (Ask::Writes, false, 10));
        // Every key that limits; the others choose, or are one side's alone.
        let budget = |amount: &str| {
            BUDGET_KEYS
                .iter()
                .chain(&CAP_KEYS)
                .map(|key| match *key {
                    "time" => format!("[budget]\ntime = \"{amount}m\"\n"),
                    key => format!("[budget]\n{key} = {amount}\n"),
                })
                .collect::<Vec<_>>()
        };
        let mut pairs: Vec<(String, String)> = budget("5").into_iter().zip(budget("6")).collect();
        for key in KEYS {
            let (user, project) = match key {
                "ask" => ("ask = \"external\"\n", "ask = \"never\"\n"),
                "mode" => ("mode = \"review\"\n", "mode = \"code\"\n"),
                "land" => ("land = false\n", "land = true\n"),
                "model" | "fallback" | "compact_model" | "budget" | "policy" => continue,
                other => panic!("may a project widen `{other}`?"),
            };
            pairs.push((user.into(), project.into()));
        }
        for (user, wider) in pairs {
            let error = Files::new(&user, &wider).load(&[]).unwrap_err();
            assert!(error.fault.what.contains("cannot allow more"), "{wider}: {}", error.fault.what);
        }
        assert_eq!(
            Files::new("mode = \"code\"\n", "mode = \"plan\"\n").load(&[]).unwrap().mode.value,
            "plan"
        );
    }

    #[test]
    fn mistakes_name_file_line_and_the_nearest_key() {
        for (user, project, says, hint) in [
            ("model = \n", "", "config.toml:1: this is not TOML", "correct"),
            ("\n\nmodle = \"x\"\n", "", "config.toml:3: there is no key `modle`", "did you mean `model`?"),
            ("[budget]\nmoney = 1\n", "", "config.toml:2: there is no key `budget.money`", "usd"),
            ("[budget]\nusd = \"5\"\n", "", "config.toml:2: this must be a number", "correct"),
            ("ask = \"nver\"\n", "", "`nver` is not one of never, external, writes", "correct"),
            ("setup = []\n", "", "no key `setup`", "project's .kapell/config.toml"),
            ("", "[checks.test]\nrun = 1\n", "config.toml:2: this must be a text", "correct"),
            ("", "[checks.test]\nkind = \"test\"\n", "`checks.test` has no command", "correct"),
            ("", "[checks.test]\nrun = \"x\"\nkind = \"tset\"\n", "`tset` is not one of build", "correct"),
            (
                "",
                "[checks.test]\nrun = \"x\"\ntimout = \"1m\"\n",
                "`checks.test.timout`",
                "did you mean `timeout`?",
            ),
            ("mode = \"coed\"\n", "", "`coed` is not one of code", "correct"),
        ] {
            let error = Files::new(user, project).load(&[]).unwrap_err();
            assert_eq!(error.code, 2);
            assert!(error.fault.what.contains(says), "{}", error.fault.what);
            assert!(error.fault.hint.contains(hint), "{}", error.fault.hint);
        }
        let error = Files::new("", "").load(&[("KAPELL_ASK", "maybe")]).unwrap_err();
        assert!(error.fault.what.starts_with("KAPELL_ASK"));
    }

    #[test]
    fn a_whole_project_file() {
        let project = "setup = [\"cargo fetch\"]\n[checks.test]\nrun = \"cargo test\"\nkind = \"test\"\ntimeout = \"10m\"\n";
        let config = Files::new("", project).load(&[]).unwrap();
        assert_eq!(Config { about: None, ..config }, Config::default());
    }

    #[test]
    fn parsers_are_the_users_alone() {
        let user = "[parsers.oddcheck]\ncommand = [\"oddcheck\"]\npatterns = ['^ODD (?<message>.+)$']\n";
        let config = Files::new(user, "").load(&[]).unwrap();
        assert_eq!((config.parsers.len(), config.parsers[0].name.as_str()), (1, "oddcheck"));
        let error = Files::new("", user).load(&[]).unwrap_err();
        assert!(error.fault.what.contains("cannot declare parsers"), "{}", error.fault.what);
        let error = Files::new("[parsers.x]\npattern = []\n", "").load(&[]).unwrap_err();
        assert!(error.fault.hint.contains("did you mean `patterns`?"), "{}", error.fault.hint);
        let error = Files::new("[parsers.x]\ncommand = [\"x\"]\n", "").load(&[]).unwrap_err();
        assert!(error.fault.what.contains("needs `command`"), "{}", error.fault.what);
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let files = Files::new("", "");
        std::fs::write(files.0.path().join("config.toml"), b"model = \"\xff\"").unwrap();
        assert_eq!(files.load(&[]).unwrap_err().fault.code, "config-unreadable");
    }
}
