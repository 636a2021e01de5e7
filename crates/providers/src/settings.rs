//! Where models are reached: the providers Kapell knows, and what a person's configuration declares beside them.
//!
//! Reads no file and no environment: both come in as values. A key leaves this module only into a request's header.
//! Start at [`Settings::new`]; what is known without configuration is in [`presets`].

mod presets;

use crate::dialect::anthropic::Anthropic;
use crate::dialect::fault::own::Rules;
use crate::dialect::gemini::Gemini;
use crate::dialect::openai_chat::Chat;
use crate::dialect::openai_responses::Responses;
use crate::dialect::{Codec, Server};
use contract::model::{Price, Rates};
use contract::{BoxFuture, Fault, Kind, limits};
use presets::PRESETS;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest that all of an answer is waited for, milliseconds: the action around it ends a little later.
const TOTAL_MS: u64 = limits::MODEL_MS - 30_000;
/// Hex digits of a key's hash in the name of its limits.
const HASH_DIGITS: usize = 8;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions, which most local servers speak.
    Chat,
    /// Google Gemini.
    Gemini,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Anthropic, Self::Responses, Self::Chat, Self::Gemini];

    /// As configurations write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Responses => "openai-responses",
            Self::Chat => "openai-chat",
            Self::Gemini => "gemini",
        }
    }

    /// The dialect of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// Where its models are listed, and the headers that takes.
    pub(crate) fn listing(self) -> (&'static str, &'static [(&'static str, &'static str)]) {
        match self {
            Self::Anthropic => ("/v1/models?limit=1000", &[("anthropic-version", "2023-06-01")]),
            Self::Responses | Self::Chat => ("/models", &[]),
            Self::Gemini => ("/v1beta/models?pageSize=1000", &[]),
        }
    }

    /// Who writes and reads it.
    pub(crate) fn codec(self) -> &'static dyn Codec {
        match self {
            Self::Anthropic => &Anthropic,
            Self::Responses => &Responses,
            Self::Chat => &Chat,
            Self::Gemini => &Gemini,
        }
    }
}

/// A key. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// From a variable's value.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// For the header of a request, and for nothing else.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

/// What may hold a secret. Shown nowhere.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Hidden<T>(T);

impl<T> From<T> for Hidden<T> {
    fn from(it: T) -> Self {
        Self(it)
    }
}

impl<T> std::ops::Deref for Hidden<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::ops::DerefMut for Hidden<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// A command whose output is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where it runs.
    pub dir: PathBuf,
}

impl KeyCommand {
    /// The program's name: its arguments are shown nowhere.
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }
}

/// Runs such a command and gives its key, or says why there is none.
pub type Keys = Arc<dyn Fn(KeyCommand) -> BoxFuture<'static, Result<Key, Fault>> + Send + Sync>;

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// From the request to the first event of the answer.
    pub first: Duration,
    /// Between two pieces of the answer.
    pub between: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Timeouts {
    /// Spec S1.1-8 and section 10 row 20: by the class of model. A local one is loaded first, and reads slowly; behind
    /// some dialects a model thinks for minutes without a word. All of it ends before the action does, so that what was
    /// said and what it cost are still told.
    fn usual(dialect: Dialect, server: Server) -> Self {
        let (connect, first, between) = match dialect {
            _ if server.is_local() => (2, 300, 60),
            // It says at once that it has begun, and while it thinks that it is alive.
            Dialect::Anthropic => (10, 60, 60),
            Dialect::Responses => (10, 60, 300),
            Dialect::Chat | Dialect::Gemini => (10, 120, 120),
        };
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(connect),
            first: seconds(first),
            between: seconds(between),
            total: Duration::from_millis(TOTAL_MS),
        }
    }
}

/// Who says what a model costs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// A file, a data set with its version, or a provider's own list.
    pub by: String,
    /// Of which day, as `2026-11-20`; empty = nobody said.
    pub date: String,
}

/// What is known or declared about one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Tokens its context holds.
    pub context_tokens: Option<u64>,
    /// Most tokens of one reply.
    pub output_tokens: Option<u64>,
    /// Its price.
    pub price: Option<Price>,
    /// Who says what it costs.
    pub source: Option<Source>,
    /// Further parameters of the request's body.
    pub parameters: Map<String, Value>,
}

/// What a person's configuration says about one provider; what it does not say is the preset's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// How it is spoken to.
    pub dialect: Option<Dialect>,
    /// Which program answers, when its ways differ from the dialect's.
    pub server: Option<Server>,
    /// Where.
    pub base_url: Option<String>,
    /// Variable its key comes from.
    pub key_env: Option<String>,
    /// Command that prints its key; goes before any variable.
    pub key_command: Option<KeyCommand>,
    /// Further headers.
    pub headers: Hidden<Vec<(String, String)>>,
    /// URL of a proxy; empty = none, whatever the environment says.
    pub proxy: Hidden<Option<String>>,
    /// PEM file with certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show.
    pub client_cert: Option<PathBuf>,
    /// PEM file with its key; none = it is in the same file.
    pub client_key: Option<PathBuf>,
    /// As in [`Timeouts`], milliseconds.
    pub connect_ms: Option<u64>,
    /// As in [`Timeouts`], milliseconds.
    pub first_ms: Option<u64>,
    /// As in [`Timeouts`], milliseconds.
    pub between_ms: Option<u64>,
    /// As in [`Timeouts`], milliseconds.
    pub total_ms: Option<u64>,
    /// What it allows.
    pub rates: Rates,
    /// What its refusals mean, beside what is known of them.
    pub errors: Rules,
    /// Its models, by their names on the wire.
    pub models: BTreeMap<String, Facts>,
}

/// One provider, ready to be called.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// What stands before the slash of its models' ids.
    pub name: String,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Which program answers.
    pub server: Server,
    /// Where, without a slash at the end.
    pub base_url: String,
    /// Its key, if there is one.
    pub key: Option<Key>,
    /// Variable the key comes from, or should; empty = none.
    pub key_env: String,
    /// Command that prints the key, run when it is needed.
    pub key_command: Option<KeyCommand>,
    /// Without a key there is no use in calling it.
    pub wants_key: bool,
    /// Further headers.
    pub headers: Hidden<Vec<(String, String)>>,
    /// URL of a proxy.
    pub proxy: Hidden<Option<String>>,
    /// Hosts that are reached without it, as in `NO_PROXY`.
    pub no_proxy: String,
    /// PEM file with certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files with the certificate to show and its key.
    pub client_cert: Option<(PathBuf, Option<PathBuf>)>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// What it allows.
    pub rates: Rates,
    /// What its refusals mean, beside what is known of them.
    pub errors: Rules,
    /// What is declared of its models.
    pub models: BTreeMap<String, Facts>,
}

impl Provider {
    /// The name of the limits that all calls with this key share: never the key.
    pub fn quota(&self) -> String {
        // A key that is not known yet goes by who prints it.
        let printed = self.key_command.as_ref().map(|command| command.argv.join("\0"));
        let other = printed.as_deref().unwrap_or(&self.base_url);
        let secret = self.key.as_ref().map_or(other, |key| key.secret());
        format!("{}/{}", self.name, &blake3::hash(secret.as_bytes()).to_hex()[..HASH_DIGITS])
    }

    /// What decides about its replies beside the request. To be hashed, not to be shown: headers are part of it.
    pub fn identity(&self) -> String {
        let Self { dialect, server, base_url, headers, models, .. } = self;
        format!("{dialect:?} {server:?} {base_url} {:?} {models:?}", headers.0)
    }

    /// The address of this path. What base and path both say stands once: people write a base with and without `/v1`.
    pub fn url(&self, path: &str) -> String {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let base = self.base_url.trim_end_matches('/');
        let base = base
            .strip_suffix(first)
            .filter(|rest| rest.ends_with('/') && !rest.ends_with("//"))
            .unwrap_or(base);
        format!("{}{path}", base.trim_end_matches('/'))
    }

    /// The address of this path at the server's root, for what is no part of its dialect.
    pub fn root_url(&self, path: &str) -> String {
        let base = self.base_url.trim_end_matches('/');
        format!("{}{path}", base.strip_suffix("/v1").unwrap_or(base))
    }
}

/// Every provider that is known or declared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// By name.
    pub providers: BTreeMap<String, Provider>,
}

impl Settings {
    /// The presets, what is declared over and beside them, and what the environment says: keys, other base URLs, proxies.
    pub fn new(
        declared: BTreeMap<String, Declared>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Fault> {
        let env =
            |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let presets = PRESETS.iter().map(|preset| preset.name.to_owned());
        let mut names: Vec<String> = presets.chain(declared.keys().cloned()).collect();
        names.sort();
        names.dedup();
        let mut providers = BTreeMap::new();
        for name in names {
            let own = declared.get(&name).cloned().unwrap_or_default();
            providers.insert(name.clone(), provider(name, own, &env)?);
        }
        Ok(Self { providers })
    }
}

fn provider(name: String, own: Declared, env: &dyn Fn(&str) -> Option<String>) -> Result<Provider, Fault> {
    let preset = PRESETS.iter().find(|preset| preset.name == name);
    let Some(dialect) = own.dialect.or(preset.map(|preset| preset.dialect)) else {
        return Err(incomplete(&name, "dialect", &Dialect::ALL.map(Dialect::name).join(", ")));
    };
    let known = preset.filter(|preset| preset.dialect == dialect).map(|preset| preset.server);
    let server = own.server.or(known).unwrap_or_default();
    let usual_url =
        || preset.map(|preset| env(preset.base_env).unwrap_or_else(|| preset.base_url.to_owned()));
    let Some(base_url) = own.base_url.clone().or_else(usual_url) else {
        return Err(incomplete(&name, "base_url", "such as \"http://127.0.0.1:8000/v1\""));
    };
    let base_url = base_url.trim_end_matches('/').to_owned();
    let host = host_of(&base_url).ok_or_else(|| {
        let what = format!("`{name}` has no usable base_url: `{}` is no http(s) address", shown(&base_url));
        Fault::new(Kind::UserFixable, "base-url", what).hint("write it like https://api.example.com/v1")
    })?;
    let variables: Vec<&str> = match (&own.key_env, preset) {
        (Some(name), _) => vec![name],
        (None, Some(preset)) => preset.key_env.to_vec(),
        (None, None) => Vec::new(),
    };
    let found = variables.iter().find_map(|name| Some((*name, env(name)?)));
    let found = found.filter(|_| own.key_command.is_none());
    let key_env = found.as_ref().map(|(name, _)| *name).or(variables.first().copied()).unwrap_or_default();
    let usual = Timeouts::usual(dialect, server);
    let or = |ms: Option<u64>, usual: Duration| ms.map_or(usual, Duration::from_millis);
    if let Some(total) = own.total_ms.filter(|ms| *ms > TOTAL_MS) {
        let what = format!(
            "timeouts.total of `{name}` is {} s, and a call of a model ends after {} s",
            total / 1000,
            limits::MODEL_MS / 1000
        );
        let hint = format!("set it to {} s or less in [providers.{name}] of config.toml", TOTAL_MS / 1000);
        return Err(Fault::new(Kind::UserFixable, "timeout-void", what).hint(hint));
    }
    own.models.iter().try_for_each(|(model, facts)| dearer(&name, model, facts))?;
    Ok(Provider {
        dialect,
        server,
        key: found.as_ref().map(|(_, secret)| Key::new(secret)),
        key_env: key_env.to_owned(),
        wants_key: own.key_env.is_some()
            || own.key_command.is_some()
            || preset.is_some_and(|preset| preset.wants_key),
        key_command: own.key_command,
        headers: own.headers,
        proxy: proxy(own.proxy.0, &base_url, &host, env).into(),
        no_proxy: env("NO_PROXY").or_else(|| env("no_proxy")).unwrap_or_default(),
        ca_file: own.ca_file,
        client_cert: own.client_cert.map(|cert| (cert, own.client_key)),
        timeouts: Timeouts {
            connect: or(own.connect_ms, usual.connect),
            first: or(own.first_ms, usual.first),
            between: or(own.between_ms, usual.between),
            total: or(own.total_ms, usual.total),
        },
        rates: own.rates,
        errors: own.errors,
        models: own.models,
        base_url,
        name,
    })
}

/// Parameters that make a call dearer than its model's list price need a price of their own.
fn dearer(provider: &str, model: &str, facts: &Facts) -> Result<(), Fault> {
    let dear = |(name, value): &(&String, &Value)| match name.as_str() {
        "service_tier" | "serviceTier" => {
            value.as_str().is_some_and(|tier| tier.eq_ignore_ascii_case("priority"))
        }
        "speed" => value.as_str() == Some("fast"),
        _ => false,
    };
    let Some((parameter, value)) = facts.parameters.iter().find(dear).filter(|_| facts.price.is_none())
    else {
        return Ok(());
    };
    let what = format!("`{parameter}` = {value} makes {provider}/{model} dearer than its list price");
    let hint =
        format!("add what it costs then: price in [providers.{provider}.models.\"{model}\"] of config.toml");
    Err(Fault::new(Kind::UserFixable, "price-unknown", what).hint(hint))
}

fn incomplete(name: &str, key: &str, values: &str) -> Fault {
    let what = format!("the provider `{name}` is declared without `{key}`");
    Fault::new(Kind::UserFixable, "provider-incomplete", what)
        .hint(format!("add {key} to [providers.{name}] in config.toml: {values}"))
}

/// A proxy of its own, else the environment's; never for this machine itself.
fn proxy(own: Option<String>, url: &str, host: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if let Some(own) = own {
        return Some(own).filter(|own| !own.is_empty());
    }
    if host == "localhost" || host == "[::1]" || host.starts_with("127.") {
        return None;
    }
    let names: &[&str] = match url.starts_with("https:") {
        true => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        false => &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    names.iter().find_map(|name| env(name))
}

/// The host of an http(s) address without its port; `None` = it is none.
fn host_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    // A user or a password in an address would be shown wherever the address is.
    if authority.contains('@') || rest.contains(['?', '#']) {
        return None;
    }
    let host = match authority.find(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next()?,
    };
    (!host.is_empty() && !url.contains(char::is_whitespace)).then(|| host.to_ascii_lowercase())
}

/// An address as it may be shown: without a password.
fn shown(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("...@{rest}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests;
