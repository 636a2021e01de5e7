//! `[notify]` and `[telemetry]` of the user's file: who is told what, and at which address.
//!
//! Without them nothing is sent anywhere. A project's file may say nothing of it: it comes with a clone, and must not
//! choose where anything goes. Start at [`File::notify`].

use super::{Config, Failure, File, Value};
use telemetry::notice::Kind;
use telemetry::sentry::Dsn;

const NOTIFY_KEYS: [&str; 2] = ["webhook", "ntfy"];
const WEBHOOK_KEYS: [&str; 3] = ["url", "secret_env", "on"];
const NTFY_KEYS: [&str; 4] = ["url", "topic", "token_env", "on"];
const TELEMETRY_KEYS: [&str; 2] = ["otlp", "sentry"];
/// The value of `otlp` that leaves the address to the usual variable.
pub(crate) const ENV: &str = "env";

/// Who is told what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Signal {
    /// Posts to an address.
    pub(crate) webhook: Option<Target>,
    /// Posts to a topic of ntfy.
    pub(crate) ntfy: Option<Target>,
    /// The collector's address, or [`ENV`].
    pub(crate) otlp: Option<String>,
    /// A project of Sentry.
    pub(crate) sentry: Option<Dsn>,
}

/// Where notices go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The address.
    pub(crate) url: String,
    /// Of ntfy.
    pub(crate) topic: String,
    /// The variable that holds what a webhook is signed with, or what lets one write to a topic.
    pub(crate) secret_env: Option<String>,
    /// Which news.
    pub(crate) on: Vec<Kind>,
}

impl File<'_> {
    /// Webhook and ntfy.
    pub(super) fn notify(&self, config: &mut Config, value: &Value<'_>) -> Result<(), Failure> {
        for (key, value) in self.table(value, "notify")? {
            let at = key.span().start;
            match key.get_ref().as_ref() {
                "webhook" => {
                    config.signal.webhook = Some(self.target(value, "notify.webhook", &WEBHOOK_KEYS)?)
                }
                "ntfy" => {
                    let ntfy = self.target(value, "notify.ntfy", &NTFY_KEYS)?;
                    if ntfy.topic.is_empty() {
                        return Err(self.wrong(at, "`notify.ntfy` has no topic: add `topic`".into()));
                    }
                    config.signal.ntfy = Some(ntfy);
                }
                other => return Err(self.unknown(at, other, "notify.", NOTIFY_KEYS.to_vec())),
            }
        }
        Ok(())
    }

    /// Collector and Sentry.
    pub(super) fn telemetry(&self, config: &mut Config, value: &Value<'_>) -> Result<(), Failure> {
        for (key, value) in self.table(value, "telemetry")? {
            match key.get_ref().as_ref() {
                "otlp" if self.string(value)? == ENV => config.signal.otlp = Some(ENV.to_owned()),
                "otlp" => config.signal.otlp = Some(self.address(value)?),
                "sentry" => {
                    let dsn = Dsn::parse(&self.string(value)?);
                    let what = "this is no DSN: write https://KEY@HOST/PROJECT, as Sentry shows it";
                    config.signal.sentry =
                        Some(dsn.ok_or_else(|| self.wrong(value.span().start, what.into()))?);
                }
                other => {
                    return Err(self.unknown(key.span().start, other, "telemetry.", TELEMETRY_KEYS.to_vec()));
                }
            }
        }
        Ok(())
    }

    fn target(&self, value: &Value<'_>, title: &str, keys: &[&'static str]) -> Result<Target, Failure> {
        let (mut url, mut topic, mut secret_env, mut on) = (None, String::new(), None, Kind::ALL.to_vec());
        for (key, value) in self.table(value, title)? {
            match key.get_ref().as_ref() {
                "url" => url = Some(self.address(value)?),
                "topic" if keys.contains(&"topic") => topic = self.string(value)?,
                name @ ("secret_env" | "token_env") if keys.contains(&name) => {
                    secret_env = Some(self.string(value)?);
                }
                "on" => on = self.news(value)?,
                other => {
                    return Err(self.unknown(key.span().start, other, &format!("{title}."), keys.to_vec()));
                }
            }
        }
        let no_url = || self.wrong(value.span().start, format!("`{title}` has no address: add `url`"));
        Ok(Target { url: url.ok_or_else(no_url)?, topic, secret_env, on })
    }

    fn news(&self, value: &Value<'_>) -> Result<Vec<Kind>, Failure> {
        let kind = |word: String| {
            let known = Kind::ALL.into_iter().find(|kind| kind.name() == word);
            let what = format!("`{word}` is not one of asked, ended, failed");
            known.ok_or_else(|| self.wrong(value.span().start, what))
        };
        self.strings(value)?.into_iter().map(kind).collect()
    }

    fn address(&self, value: &Value<'_>) -> Result<String, Failure> {
        let url = self.string(value)?;
        courier::address(&url).map_err(|why| self.wrong(value.span().start, why))?;
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(text: &str, project: bool) -> Result<Config, Failure> {
        let mut config = Config::default();
        config.read(Path::new("config.toml"), text, project).map(|()| config)
    }

    #[test]
    fn addresses_are_the_users_alone() {
        let text = "[notify.webhook]\nurl = \"https://hook.example/k\"\nsecret_env = \"HOOK_SECRET\"\non = [\"asked\"]\n\
                    [notify.ntfy]\nurl = \"https://ntfy.example\"\ntopic = \"k\"\ntoken_env = \"T\"\n\
                    [telemetry]\notlp = \"http://127.0.0.1:4318\"\nsentry = \"https://k@s.example/1\"\n";
        let signal = read(text, false).unwrap().signal;
        let webhook = signal.webhook.unwrap();
        assert_eq!((webhook.on, webhook.secret_env.as_deref()), (vec![Kind::Asked], Some("HOOK_SECRET")));
        assert_eq!(
            (signal.ntfy.unwrap().topic.as_str(), signal.otlp.as_deref()),
            ("k", Some("http://127.0.0.1:4318"))
        );
        assert!(signal.sentry.is_some());
        assert_eq!(read("[telemetry]\notlp = \"env\"", false).unwrap().signal.otlp.as_deref(), Some(ENV));
        assert_eq!(Config::default().signal, Signal::default(), "nothing is sent unless somebody says so");
        for (text, why) in [
            ("[notify.webhook]\nurl = \"hook.example\"", "no address"),
            ("[notify.webhook]\nurl = \"https://me:pass@hook.example\"", "no name and no password"),
            ("[notify.webhook]\non = [\"asked\"]", "add `url`"),
            ("[notify.webhook]\nurl = \"http://h\"\non = [\"all\"]", "asked, ended, failed"),
            ("[notify.webhook]\nurl = \"http://h\"\ntopic = \"t\"", "no key `notify.webhook.topic`"),
            ("[notify.ntfy]\nurl = \"http://h\"", "add `topic`"),
            ("[telemetry]\nsentry = \"https://s.example/1\"", "no DSN"),
        ] {
            let failure = read(text, false).unwrap_err();
            assert!(failure.fault.what.contains(why), "{text}: {}", failure.fault.what);
        }
        for text in [
            "[notify.webhook]\nurl = \"https://evil.example\"",
            "[telemetry]\notlp = \"https://evil.example\"",
        ] {
            assert!(read(text, true).is_err(), "{text}");
        }
    }
}
