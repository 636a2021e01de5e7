//! `[web]` of the user's file: which hosts an agent may ask, and how they are reached.
//!
//! Knows the file's shape; what it means is `tools`' to say. A project's file may say nothing of it: it comes with a
//! clone, and must not open a way out. Start at [`File::web`].

use super::{Config, Failure, File, Value};
use toml::de::DeValue;

const KEYS: [&str; 3] = ["allow", "private", "proxy"];

impl File<'_> {
    /// The hosts of this file.
    pub(super) fn web(&self, config: &mut Config, value: &Value<'_>) -> Result<(), Failure> {
        for (key, value) in self.table(value, "web")? {
            let hosts = || self.hosts(value);
            match key.get_ref().as_ref() {
                "allow" => config.web.allow = hosts()?,
                "private" => config.web.private = hosts()?,
                "proxy" => config.web_proxy = Some(self.proxy(value)?),
                other => return Err(self.unknown(key.span().start, other, "web.", KEYS.to_vec())),
            }
        }
        Ok(())
    }

    /// The address of a proxy; empty = none, whatever the environment says.
    fn proxy(&self, value: &Value<'_>) -> Result<String, Failure> {
        let proxy = self.string(value)?;
        let known = ["http://", "https://"].iter().any(|start| proxy.starts_with(start));
        if !proxy.is_empty() && !known {
            let what = "a proxy is written as http://HOST:PORT or https://HOST:PORT; \"\" means none";
            return Err(self.wrong(value.span().start, what.into()));
        }
        Ok(proxy)
    }

    fn hosts(&self, value: &Value<'_>) -> Result<Vec<String>, Failure> {
        let DeValue::Array(hosts) = value.get_ref() else {
            return Err(
                self.wrong(value.span().start, "this is a list of hosts, such as [\"docs.rs\"]".into())
            );
        };
        let host = |value: &Value<'_>| {
            let host = self.string(value)?;
            let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '*' | '@');
            if host.is_empty() || host.contains(odd) {
                let what = format!("`{host}` is no host: write its name or `NAME:PORT`, one by one");
                return Err(self.wrong(value.span().start, what));
            }
            Ok(host)
        };
        hosts.iter().map(host).collect()
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
    fn hosts_are_named_one_by_one_by_the_user_alone() {
        let config = read("[web]\nallow = [\"docs.rs\"]\nprivate = [\"wiki.corp:8080\"]\n", false).unwrap();
        assert_eq!(
            (config.web.allow, config.web.private),
            (vec!["docs.rs".into()], vec!["wiki.corp:8080".into()])
        );
        for (text, why) in [
            ("[web]\nallow = [\"*.rs\"]", "is no host"),
            ("[web]\nallow = [\"https://docs.rs\"]", "is no host"),
            ("[web]\nallow = \"docs.rs\"", "list of hosts"),
            ("[web]\nallows = []", "no key `web.allows`"),
            ("[web]\nproxy = \"me:secret@proxy:8080\"", "http://HOST:PORT"),
        ] {
            let failure = read(text, false).unwrap_err();
            assert!(failure.fault.what.contains(why), "{}", failure.fault.what);
            assert!(!failure.fault.what.contains("secret"), "{}", failure.fault.what);
        }
        let proxied = read("[web]\nproxy = \"http://proxy:8080\"\n", false).unwrap();
        assert_eq!(proxied.web_proxy.as_deref(), Some("http://proxy:8080"));
        assert_eq!(read("[web]\nproxy = \"\"\n", false).unwrap().web_proxy.as_deref(), Some(""));
        assert!(read("[web]\nproxy = \"http://evil.example\"", true).is_err());
        assert!(read("[web]\nallow = [\"evil.example\"]", true).is_err());
    }
}
