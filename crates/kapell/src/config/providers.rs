//! `[providers.NAME]` of the user's file: where models are reached, and what they cost and hold.
//!
//! Knows the file's shape; what it means is `providers`' to say. A project's file may say nothing of it: it comes with
//! a clone, and a base URL is where keys go. Start at [`File::providers`].

use super::{Config, Failure, File, Value};
use crate::quantity;
use ::providers::dialect::Server;
use ::providers::dialect::fault::own::{RULES, Rule};
use ::providers::settings::{Declared, Dialect, Facts, KeyCommand};
use contract::model::{BreakerRules, Price, Rates, Window};
use contract::{Kind, limits};
use std::path::{Path, PathBuf};
use toml::de::DeValue;

const KEYS: [&str; 21] = [
    "dialect",
    "server",
    "base_url",
    "key_env",
    "key_command",
    "headers",
    "proxy",
    "ca_file",
    "client_cert",
    "client_key",
    "timeouts",
    "requests_per_minute",
    "tokens_per_minute",
    "tokens_per_day",
    "tokens_per_week",
    "tokens_per_month",
    "concurrent",
    "window",
    "breaker",
    "errors",
    "models",
];
const TIMEOUT_KEYS: [&str; 4] = ["connect", "first", "between", "total"];
const ERROR_KEYS: [&str; 3] = ["status", "match", "kind"];
/// As events and messages name them, too.
const KINDS: [(&str, Kind); 5] = [
    ("transient", Kind::Transient),
    ("permanent", Kind::Permanent),
    ("user-fixable", Kind::UserFixable),
    ("rate-limited", Kind::RateLimited),
    ("degraded", Kind::Degraded),
];
const BREAKER_KEYS: [&str; 5] = ["failures", "percent", "window", "open", "probes"];
const WINDOW_KEYS: [&str; 2] = ["requests", "within"];
const MODEL_KEYS: [&str; 4] = ["context", "output", "price", "parameters"];
const PRICE_KEYS: [&str; 4] = ["input", "output", "cache_read", "cache_write"];
/// What ids of Kapell's own begin with.
const OWN: &str = "builtin";

type Key<'a> = toml::Spanned<std::borrow::Cow<'a, str>>;

impl File<'_> {
    /// Every provider of this file.
    pub(super) fn providers(&self, config: &mut Config, at: usize, value: &Value<'_>) -> Result<(), Failure> {
        if self.project {
            let what =
                "a project's file cannot declare providers: it comes with a clone, and keys go to base URLs";
            let mut failure = self.wrong(at, what.into());
            failure.fault.hint =
                "declare them in your own config.toml (kapell doctor shows where it is)".into();
            return Err(failure);
        }
        for (key, value) in self.table(value, "providers")? {
            let name = key.get_ref().as_ref();
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name == OWN || !name.chars().all(fits) {
                let what = format!(
                    "`{name}` cannot be a provider's name: letters, digits, `-`, `_`, `.`; not `{OWN}`"
                );
                return Err(self.wrong(key.span().start, what));
            }
            let declared = self.provider(name, value)?;
            config.providers.insert(name.to_owned(), declared);
        }
        Ok(())
    }

    fn provider(&self, name: &str, value: &Value<'_>) -> Result<Declared, Failure> {
        let mut own = Declared::default();
        let title = format!("providers.{name}");
        for (key, value) in self.table(value, &title)? {
            match key.get_ref().as_ref() {
                "dialect" => {
                    let word = self.word(value, &Dialect::ALL.map(Dialect::name))?;
                    own.dialect = Dialect::named(&word);
                }
                "server" => {
                    let word = self.word(value, &Server::NAMED.map(|(name, _)| name))?;
                    own.server =
                        Server::NAMED.into_iter().find(|(name, _)| *name == word).map(|(_, server)| server);
                }
                "base_url" => own.base_url = Some(self.string(value)?),
                "key_env" => own.key_env = Some(self.variable(value)?),
                "key_command" => own.key_command = Some(self.key_command(value)?),
                "headers" => own.headers = self.headers(value)?.into(),
                "proxy" => own.proxy = Some(self.string(value)?).into(),
                "ca_file" => own.ca_file = Some(self.beside(value)?),
                "client_cert" => own.client_cert = Some(self.beside(value)?),
                "client_key" => own.client_key = Some(self.beside(value)?),
                "errors" => own.errors.0 = self.errors(&title, value)?,
                "breaker" => own.rates.breaker = Some(self.breaker(&title, value)?),
                "timeouts" => self.timeouts(&mut own, &title, value)?,
                "models" => {
                    for (key, value) in self.table(value, &format!("{title}.models"))? {
                        own.models.insert(key.get_ref().to_string(), self.model(&title, key, value)?);
                    }
                }
                "requests_per_minute"
                | "tokens_per_minute"
                | "tokens_per_day"
                | "tokens_per_week"
                | "tokens_per_month"
                | "concurrent"
                | "window" => {
                    self.rate(&mut own.rates, &title, key, value)?;
                }
                other => {
                    return Err(self.unknown(key.span().start, other, &format!("{title}."), KEYS.into()));
                }
            }
        }
        if own.key_env.is_some() && own.key_command.is_some() {
            let what = format!("`{title}` says twice where its key comes from: key_env or key_command");
            return Err(self.wrong(value.span().start, what));
        }
        Ok(own)
    }

    /// Program and arguments; no shell reads them.
    fn key_command(&self, value: &Value<'_>) -> Result<KeyCommand, Failure> {
        let words = match value.get_ref() {
            DeValue::Array(words) => words.iter().map(|word| self.string(word)).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        if words.first().is_none_or(String::is_empty) {
            let what = "`key_command` is a list: a program and its arguments, such as [\"pass\", \"show\", \"work/key\"]";
            return Err(self.wrong(value.span().start, what.into()));
        }
        let dir = self.path.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
        Ok(KeyCommand { argv: words, dir })
    }

    /// What refusals of this server mean.
    fn errors(&self, title: &str, value: &Value<'_>) -> Result<Vec<Rule>, Failure> {
        let at = value.span().start;
        let DeValue::Array(rules) = value.get_ref() else {
            let what = "`errors` is a list, such as [{ match = \"at capacity\", kind = \"rate-limited\" }]";
            return Err(self.wrong(at, what.into()));
        };
        if rules.len() > RULES {
            return Err(self.wrong(at, format!("`{title}.errors` has more than {RULES} rules")));
        }
        rules.iter().map(|rule| self.error_rule(&format!("{title}.errors"), rule)).collect()
    }

    fn error_rule(&self, title: &str, value: &Value<'_>) -> Result<Rule, Failure> {
        let (mut status, mut pattern, mut kind) = (None, None, None);
        for (key, value) in self.table(value, title)? {
            match key.get_ref().as_ref() {
                "status" => {
                    let number =
                        self.number(value)?.parse().ok().filter(|status| (300..600).contains(status));
                    let what = || "`status` is that of a refusal: 300 to 599".to_owned();
                    status = Some(number.ok_or_else(|| self.wrong(value.span().start, what()))?);
                }
                "match" => pattern = Some(self.string(value)?),
                "kind" => {
                    let word = self.word(value, &KINDS.map(|(name, _)| name))?;
                    kind = KINDS.into_iter().find(|(name, _)| *name == word).map(|(_, kind)| kind);
                }
                other => {
                    return Err(self.unknown(
                        key.span().start,
                        other,
                        &format!("{title}."),
                        ERROR_KEYS.into(),
                    ));
                }
            }
        }
        let Some(kind) = kind else {
            let names = KINDS.map(|(name, _)| name).join(", ");
            return Err(self.wrong(value.span().start, format!("a rule of `{title}` wants `kind`: {names}")));
        };
        Rule::new(status, pattern.as_deref(), kind).map_err(|why| self.wrong(value.span().start, why))
    }

    fn rate(&self, rates: &mut Rates, title: &str, key: &Key<'_>, value: &Value<'_>) -> Result<(), Failure> {
        match key.get_ref().as_ref() {
            "requests_per_minute" => rates.requests_per_minute = Some(self.count(value)?),
            "tokens_per_minute" => rates.tokens_per_minute = Some(self.count(value)?),
            "tokens_per_day" => rates.tokens_per_day = Some(self.count(value)?),
            "tokens_per_week" => rates.tokens_per_week = Some(self.count(value)?),
            "tokens_per_month" => rates.tokens_per_month = Some(self.count(value)?),
            "concurrent" => rates.concurrent = Some(self.count(value)?),
            _ => {
                let (mut requests, mut ms) = (None, None);
                for (key, value) in self.table(value, &format!("{title}.window"))? {
                    match key.get_ref().as_ref() {
                        "requests" => requests = Some(self.count(value)?),
                        "within" => ms = Some(self.span(value)?),
                        other => {
                            let prefix = format!("{title}.window.");
                            return Err(self.unknown(key.span().start, other, &prefix, WINDOW_KEYS.into()));
                        }
                    }
                }
                let (Some(requests), Some(ms)) = (requests, ms) else {
                    let what = format!("`{title}.window` wants both `requests` and `within`");
                    return Err(self.wrong(key.span().start, what));
                };
                rates.window = Some(Window { requests, ms });
            }
        }
        Ok(())
    }

    /// When it counts as failing, and how it is tried again.
    fn breaker(&self, title: &str, value: &Value<'_>) -> Result<BreakerRules, Failure> {
        let (mut rules, title) = (BreakerRules::default(), format!("{title}.breaker"));
        for (key, value) in self.table(value, &title)? {
            let within = |most: u32| {
                let number = self.number(value)?.parse().ok().filter(|n| (1..=most).contains(n));
                let what = || format!("`{title}.{}` is a whole number from 1 to {most}", key.get_ref());
                number.ok_or_else(|| self.wrong(value.span().start, what())).map(Some)
            };
            match key.get_ref().as_ref() {
                "failures" => rules.failures = within(1_000)?,
                "percent" => rules.percent = within(100)?,
                "window" => rules.window = within(limits::BREAKER_WINDOW)?,
                "open" => rules.open_ms = Some(self.span(value)?),
                "probes" => rules.probes = within(100)?,
                other => {
                    let (at, prefix) = (key.span().start, format!("{title}."));
                    return Err(self.unknown(at, other, &prefix, BREAKER_KEYS.into()));
                }
            }
        }
        Ok(rules)
    }

    /// The name of a variable, so that nobody writes the key itself into a file.
    fn variable(&self, value: &Value<'_>) -> Result<String, Failure> {
        let name = self.string(value)?;
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        match !name.is_empty() && name.chars().all(fits) {
            true if ::sandbox::is_secret(name.as_ref()) => Ok(name),
            true => {
                let what = format!(
                    "`{name}` is not kept from the programs that Kapell starts: use a name that ends with _API_KEY or _TOKEN"
                );
                Err(self.wrong(value.span().start, what))
            }
            // It may be the key: it is not shown.
            false => {
                let what = "`key_env` is the name of a variable in capitals, such as MY_API_KEY; never the key itself";
                Err(self.wrong(value.span().start, what.into()))
            }
        }
    }

    fn headers(&self, value: &Value<'_>) -> Result<Vec<(String, String)>, Failure> {
        let mut headers = Vec::new();
        for (key, value) in self.table(value, "headers")? {
            let text = self.string(value)?;
            let name = key.get_ref().as_ref();
            let token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || !name.chars().all(token) || text.chars().any(char::is_control) {
                return Err(
                    self.wrong(key.span().start, "this is no header: a name, and a text of one line".into())
                );
            }
            headers.push((name.to_owned(), text));
        }
        Ok(headers)
    }

    /// A path; one that is relative is meant from the file's directory.
    fn beside(&self, value: &Value<'_>) -> Result<PathBuf, Failure> {
        let path = PathBuf::from(self.string(value)?);
        Ok(self.path.parent().map_or_else(|| path.clone(), |dir| dir.join(&path)))
    }

    fn timeouts(&self, own: &mut Declared, title: &str, value: &Value<'_>) -> Result<(), Failure> {
        for (key, value) in self.table(value, &format!("{title}.timeouts"))? {
            let slot = match key.get_ref().as_ref() {
                "connect" => &mut own.connect_ms,
                "first" => &mut own.first_ms,
                "between" => &mut own.between_ms,
                "total" => &mut own.total_ms,
                other => {
                    let prefix = format!("{title}.timeouts.");
                    return Err(self.unknown(key.span().start, other, &prefix, TIMEOUT_KEYS.into()));
                }
            };
            *slot = Some(self.span(value)?);
        }
        Ok(())
    }

    fn model(&self, title: &str, name: &Key<'_>, value: &Value<'_>) -> Result<Facts, Failure> {
        let title = format!("{title}.models.{}", name.get_ref());
        let mut facts = Facts::default();
        for (key, value) in self.table(value, &title)? {
            match key.get_ref().as_ref() {
                "context" => facts.context_tokens = Some(self.count(value)?),
                "output" => facts.output_tokens = Some(self.count(value)?),
                "price" => facts.price = Some(self.price(&title, key, value)?),
                "parameters" => {
                    let table = self.table(value, &format!("{title}.parameters"))?;
                    let pair = |(key, value): (&Key<'_>, &Value<'_>)| {
                        (key.get_ref().to_string(), json(value.get_ref()))
                    };
                    facts.parameters = table.iter().map(pair).collect();
                }
                other => {
                    let prefix = format!("{title}.");
                    return Err(self.unknown(key.span().start, other, &prefix, MODEL_KEYS.into()));
                }
            }
        }
        Ok(facts)
    }

    /// Dollars for a million tokens.
    fn price(&self, title: &str, key: &Key<'_>, value: &Value<'_>) -> Result<Price, Failure> {
        let (mut input, mut output, mut price) = (None, None, Price::default());
        for (key, value) in self.table(value, &format!("{title}.price"))? {
            let number = self.number(value)?;
            let nanos = quantity::nanos(&number).map_err(|why| self.wrong(value.span().start, why))?;
            match key.get_ref().as_ref() {
                "input" => input = Some(nanos),
                "output" => output = Some(nanos),
                "cache_read" => price.cache_read = Some(nanos),
                "cache_write" => price.cache_write = Some(nanos),
                other => {
                    let prefix = format!("{title}.price.");
                    return Err(self.unknown(key.span().start, other, &prefix, PRICE_KEYS.into()));
                }
            }
        }
        let (Some(input), Some(output)) = (input, output) else {
            let what =
                format!("`{title}.price` wants both `input` and `output`, in dollars for a million tokens");
            return Err(self.wrong(key.span().start, what));
        };
        Ok(Price { input, output, ..price })
    }

    fn count(&self, value: &Value<'_>) -> Result<u64, Failure> {
        quantity::count(&self.number(value)?).map_err(|why| self.wrong(value.span().start, why))
    }

    fn span(&self, value: &Value<'_>) -> Result<u64, Failure> {
        quantity::millis(&self.string(value)?).map_err(|why| self.wrong(value.span().start, why))
    }
}

/// A value for a request's body. What JSON has not (dates, endless numbers) is a text as it stands in the file.
fn json(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(yes) => (*yes).into(),
        DeValue::Integer(n) => {
            i64::from_str_radix(n.as_str(), n.radix()).map_or_else(|_| n.as_str().into(), Into::into)
        }
        DeValue::Float(n) => n.as_str().parse::<f64>().map_or_else(|_| n.as_str().into(), Into::into),
        DeValue::Datetime(at) => at.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let pair =
                |(key, value): (&Key<'_>, &Value<'_>)| (key.get_ref().to_string(), json(value.get_ref()));
            serde_json::Value::Object(table.iter().map(pair).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn read(text: &str, project: bool) -> Result<Config, Failure> {
        let mut config = Config::default();
        config.read(Path::new("/home/ada/config.toml"), text, project).map(|()| config)
    }

    #[test]
    fn a_whole_provider() {
        let text = r#"
[providers.work]
dialect = "anthropic"
base_url = "https://models.example/claude"
key_env = "WORK_API_KEY"
headers = { X-Team = "blue" }
proxy = "http://proxy.example:3128"
ca_file = "ca.pem"
client_cert = "/etc/me.pem"
timeouts = { first = "2m", total = "9m" }
requests_per_minute = 50
tokens_per_week = 2_000_000
concurrent = 4
window = { requests = 200, within = "5h" }
breaker = { failures = 3, percent = 40, open = "10s" }
errors = [{ match = "at capacity", kind = "rate-limited" }, { status = 418, kind = "degraded" }]

[providers.work.models."claude/x:1"]
context = 200_000
output = 8_192
price = { input = 3, output = 15.5, cache_read = 0.3 }
parameters = { temperature = 0.5, thinking = { type = "enabled", budget_tokens = 4000 } }
"#;
        let config = read(text, false).unwrap();
        let own = &config.providers["work"];
        assert_eq!((own.dialect, own.key_env.as_deref()), (Some(Dialect::Anthropic), Some("WORK_API_KEY")));
        assert_eq!(own.ca_file.as_deref(), Some(Path::new("/home/ada/ca.pem")));
        assert_eq!(own.client_cert.as_deref(), Some(Path::new("/etc/me.pem")));
        assert_eq!((own.first_ms, own.between_ms, own.total_ms), (Some(120_000), None, Some(540_000)));
        let window = Some(Window { requests: 200, ms: 18_000_000 });
        let week = Some(2_000_000);
        let rates = Rates { requests_per_minute: Some(50), concurrent: Some(4), window, ..Rates::default() };
        let (failures, percent, open_ms) = (Some(3), Some(40), Some(10_000));
        let breaker = Some(BreakerRules { failures, percent, open_ms, ..BreakerRules::default() });
        let rates = Rates { tokens_per_week: week, breaker, ..rates };
        assert_eq!(own.rates, rates);
        let kinds = [(Some(418), ""), (Some(503), "We are AT CAPACITY")]
            .map(|(status, text)| own.errors.kind(status, &[text], false));
        assert_eq!(kinds, [Some(Kind::Degraded), Some(Kind::RateLimited)]);
        let facts = &own.models["claude/x:1"];
        let price = facts.price.unwrap();
        assert_eq!(
            (price.input, price.output, price.cache_read),
            (3_000_000_000, 15_500_000_000, Some(300_000_000))
        );
        let parameters = json!({"temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 4000}});
        assert_eq!(serde_json::Value::Object(facts.parameters.clone()), parameters);
    }

    #[test]
    fn a_clone_declares_nothing() {
        let failure = read("[providers.anthropic]\nbase_url = \"https://evil.example\"\n", true).unwrap_err();
        assert!(failure.fault.what.contains("cannot declare providers"), "{}", failure.fault);
        assert_eq!(failure.code, 2);
    }

    #[test]
    fn mistakes_are_named_and_keys_are_not_shown() {
        for (text, says) in [
            ("[providers.builtin]\n", "cannot be a provider's name"),
            ("[providers.\"a/b\"]\n", "cannot be a provider's name"),
            ("[providers.a]\ndialect = \"smoke\"\n", "`smoke` is not one of anthropic"),
            ("[providers.a]\nserver = \"olama\"\n", "`olama` is not one of ollama"),
            ("[providers.a]\nkey_env = \"sk-12\"\n", "never the key itself"),
            ("[providers.a]\nkey_env = \"MY_KEY\"\n", "ends with _API_KEY"),
            ("[providers.a]\nkey = \"sk-12\"\n", "no key `providers.a.key`"),
            ("[providers.a]\nconcurrent = 0\n", "above 0"),
            ("[providers.a]\nwindow = { requests = 1 }\n", "wants both"),
            ("[providers.a]\nbreaker = { percent = 0 }\n", "whole number from 1 to 100"),
            ("[providers.a]\nbreaker = { window = 33 }\n", "whole number from 1 to 32"),
            ("[providers.a]\nbreaker = { opne = \"1s\" }\n", "`providers.a.breaker.opne`"),
            ("[providers.a.models.m]\nprice = { input = 1 }\n", "wants both"),
            ("[providers.a.models.m]\nprize = 1\n", "`providers.a.models.m.prize`"),
            ("[providers.a]\nerrors = 3\n", "is a list"),
            ("[providers.a]\nerrors = [{ status = 200, kind = \"degraded\" }]\n", "300 to 599"),
            ("[providers.a]\nerrors = [{ match = \"(\", kind = \"degraded\" }]\n", "no regular expression"),
            ("[providers.a]\nerrors = [{ kind = \"degraded\" }]\n", "wants `status`, `match`, or both"),
            ("[providers.a]\nerrors = [{ match = \"x\" }]\n", "wants `kind`"),
            (
                "[providers.a]\nerrors = [{ match = \"x\", kind = \"odd\" }]\n",
                "`odd` is not one of transient",
            ),
            ("[providers.a.timeouts]\nfirst = 3\n", "text in quotes"),
            ("[providers.a]\nheaders = { \"a b\" = \"c\" }\n", "no header"),
        ] {
            let failure = read(text, false).unwrap_err();
            assert!(failure.fault.what.contains(says), "{}", failure.fault);
            assert!(!failure.fault.to_string().contains("sk-12"));
        }
    }
}
