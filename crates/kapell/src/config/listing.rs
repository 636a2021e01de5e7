//! Every setting with its value and its origin, for programs. Keys, and what may hold one, are not shown.
//!
//! Start at [`Config::listing`].

use super::{CAP_KEYS, Config, Of, Origin};
use serde_json::{Value, json};
use std::path::Path;

/// Stands for what is nobody's business.
const HIDDEN: &str = "***";

impl Origin {
    fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File(..) => "file",
            Self::Env(_) => "env",
            Self::Flag => "flag",
        }
    }
}

fn item(key: &str, value: Value, origin: &Origin) -> Value {
    json!({"key": key, "value": value, "origin": origin.to_string(), "kind": origin.kind()})
}

/// No limit is said as such: the number that stands for it is of no use to anybody.
fn limit(key: &str, of: &Of<u64>) -> Value {
    let value = if of.value == u64::MAX { "unlimited".into() } else { of.value.into() };
    item(key, value, &of.origin)
}

impl Config {
    /// All of it. `user` is the directory of the person's own file, in which alone some keys may stand.
    pub(crate) fn listing(&self, user: &Path) -> Vec<Value> {
        let ask = format!("{:?}", self.ask.value).to_lowercase();
        let mut all = vec![
            item("model", json!(self.model.value), &self.model.origin),
            item("fallback", json!(self.fallback.value), &self.fallback.origin),
            item("mode", json!(self.mode.value), &self.mode.origin),
            item("ask", ask.into(), &self.ask.origin),
            item("land", self.land.value.into(), &self.land.origin),
            item("compact_model", json!(self.compact_model.value), &self.compact_model.origin),
            limit("budget.nanos", &self.nanos),
            limit("budget.tokens", &self.tokens),
            limit("budget.steps", &self.steps),
            limit("budget.time_ms", &self.time_ms),
        ];
        let caps = CAP_KEYS.iter().zip(&self.caps);
        all.extend(caps.map(|(key, of)| limit(&format!("budget.{}", key.replace("_usd", "_nanos")), of)));
        all.push(limit("budget.calls_at_once", &self.calls_at_once));
        all.extend(self.own(&user.join("config.toml")));
        all
    }

    /// What stands in the person's own file alone: its line is not kept.
    fn own(&self, file: &Path) -> Vec<Value> {
        let usual = Self::default();
        let mut all = Vec::new();
        let mut add = |key: &str, value: Value, usual: bool| {
            let (origin, kind) =
                if usual { ("default".to_owned(), "default") } else { (file.display().to_string(), "file") };
            all.push(json!({"key": key, "value": value, "origin": origin, "kind": kind}));
        };
        add("response_cache", self.response_cache.into(), self.response_cache == usual.response_cache);
        let quiet = self.quiet_hours.as_ref().map(|quiet| format!("{quiet:?}"));
        add("quiet_hours", quiet.into(), self.quiet_hours.is_none());
        add("output_keep", self.output_keep.into(), self.output_keep == usual.output_keep);
        add("session_disk", self.session_disk.into(), self.session_disk == usual.session_disk);
        add("pause_memory", self.pause_memory.into(), self.pause_memory == usual.pause_memory);
        add("pause_disk", self.pause_disk.into(), self.pause_disk == usual.pause_disk);
        add("pass_env", json!(self.pass_env), self.pass_env.is_empty());
        for name in self.providers.keys() {
            // Addresses, headers and commands may hold a key.
            add(&format!("providers.{name}"), HIDDEN.into(), false);
        }
        add("web", own_rules(self.web == usual.web), self.web == usual.web);
        let proxy = self.web_proxy.as_ref().map(|_| HIDDEN);
        add("web.proxy", proxy.into(), self.web_proxy.is_none());
        add("parsers", self.parsers.len().into(), self.parsers.is_empty());
        add("policy.rules", self.rules.len().into(), self.rules.is_empty());
        add("sandbox", own_rules(self.sandbox == usual.sandbox), self.sandbox == usual.sandbox);
        all
    }
}

/// Of what is a table of its own only whether it was changed is told.
fn own_rules(usual: bool) -> Value {
    if usual { "as built in".into() } else { "as written there".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_an_origin_and_no_key_is_shown() {
        let mut config = Config::default();
        let text = "model = \"acme/m\"\nresponse_cache = true\n[budget]\nusd = 2\n\
            [providers.acme]\nbase_url = \"https://token:hunter2@acme.example/v1\"\nkey_env = \"ACME_API_KEY\"\n";
        config.read(Path::new("/home/ada/config.toml"), text, false).unwrap();
        let listing = config.listing(Path::new("/home/ada"));
        let of = |key: &str| listing.iter().find(|item| item["key"] == key).unwrap().clone();
        assert_eq!(
            of("model"),
            json!({"key": "model", "value": "acme/m", "origin": "/home/ada/config.toml:1", "kind": "file"})
        );
        assert_eq!(of("budget.nanos")["value"], 2_000_000_000_u64);
        assert_eq!(of("budget.day_nanos")["value"], "unlimited");
        assert_eq!(
            (&of("response_cache")["value"], &of("response_cache")["kind"]),
            (&json!(true), &json!("file"))
        );
        assert_eq!(of("mode")["kind"], "default");
        assert_eq!(of("providers.acme")["value"], HIDDEN);
        assert!(!json!(listing).to_string().contains("hunter2"));
    }
}
