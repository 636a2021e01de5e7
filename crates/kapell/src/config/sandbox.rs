//! `[sandbox]` of the user's file: what confines commands.
//!
//! Knows the file's shape; what a profile means is the sandbox's to say. A project's file may say nothing of it: it comes
//! with a clone. Start at [`File::sandbox`].

use super::{Config, Failure, File, Value};
use crate::quantity;
use contract::confine::{Confinement, Hosts, Network, Profile};
use contract::limits;
use std::path::PathBuf;
use toml::de::DeValue;

const KEYS: [&str; 10] = [
    "profile",
    "network",
    "hosts",
    "private",
    "read",
    "write",
    "memory",
    "processes",
    "file_size",
    "degraded",
];
/// Where packages come from: what commands may ask with `network = "hosts"` unless a person lists others. Those that
/// only hand things out; none that keeps what anybody sends it.
pub(crate) const PACKAGES: [&str; 23] = [
    "crates.io",
    // tidy: allow(machine): everybody's builds ask it
    "index.crates.io",
    // tidy: allow(machine): everybody's builds ask it
    "static.crates.io",
    "static.rust-lang.org",
    // tidy: allow(machine): everybody's builds ask it
    "registry.npmjs.org",
    "registry.yarnpkg.com",
    "nodejs.org",
    // tidy: allow(machine): everybody's builds ask it
    "pypi.org",
    // tidy: allow(machine): everybody's builds ask it
    "files.pythonhosted.org",
    // tidy: allow(machine): everybody's builds ask it
    "proxy.golang.org",
    "sum.golang.org",
    "go.dev",
    "dl.google.com",
    "rubygems.org",
    "index.rubygems.org",
    "repo.maven.apache.org",
    "repo1.maven.org",
    "plugins.gradle.org",
    "services.gradle.org",
    "deb.debian.org:80",
    "deb.debian.org",
    "security.debian.org:80",
    "archive.ubuntu.com:80",
];

impl File<'_> {
    /// What this file says of it.
    pub(super) fn sandbox(&self, config: &mut Config, value: &Value<'_>) -> Result<(), Failure> {
        let to: &mut Confinement = &mut config.sandbox;
        for (key, value) in self.table(value, "sandbox")? {
            match key.get_ref().as_ref() {
                "profile" => to.profile = profile(&self.word(value, &PROFILES)?),
                "network" => to.network = network(&self.word(value, &NETWORKS)?),
                "hosts" => to.hosts.allow = self.patterns(value)?,
                "private" => to.hosts.private = self.patterns(value)?,
                "file_size" => to.file = self.size(value)?,
                "memory" => to.memory = self.size(value)?,
                "processes" => {
                    let count = quantity::count(&self.number(value)?);
                    to.processes = count.map_err(|why| self.wrong(value.span().start, why))?;
                }
                "read" => to.read = self.places(value)?,
                "write" => to.write = self.places(value)?,
                "degraded" => {
                    let DeValue::Boolean(is) = value.get_ref() else {
                        return Err(self.wrong(value.span().start, "`degraded` is true or false".into()));
                    };
                    to.degraded = *is;
                }
                other => return Err(self.unknown(key.span().start, other, "sandbox.", KEYS.to_vec())),
            }
        }
        Ok(())
    }

    /// `NAME`, `*.NAME`, each also with `:PORT`.
    fn patterns(&self, value: &Value<'_>) -> Result<Vec<String>, Failure> {
        let all = self.strings(value)?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?');
        let plain = |host: &String| {
            let name = host.strip_prefix("*.").unwrap_or(host);
            !name.is_empty() && !name.contains('*') && !name.contains(odd)
        };
        match all.iter().find(|host| !plain(host)) {
            None => Ok(all),
            Some(host) => {
                let what = format!("`{host}` is no host: write NAME, *.NAME or NAME:PORT");
                Err(self.wrong(value.span().start, what))
            }
        }
    }

    fn places(&self, value: &Value<'_>) -> Result<Vec<PathBuf>, Failure> {
        let place = |text: String| {
            let home = crate::policy::user_home();
            let path = match text.strip_prefix("~/") {
                Some(rest) => PathBuf::from(home).join(rest),
                None => PathBuf::from(&text),
            };
            match path.is_absolute() && path.components().count() > 1 {
                true => Ok(path),
                false => {
                    Err(self.wrong(value.span().start, format!("`{text}` is no place: begin with / or ~/")))
                }
            }
        };
        self.strings(value)?.into_iter().map(place).collect()
    }
}

/// Names of profiles, as they are written.
pub(crate) const PROFILES: [&str; 3] = ["read-only", "workspace-write", "full"];
/// Names of networks, as they are written.
pub(crate) const NETWORKS: [&str; 3] = ["off", "hosts", "on"];

/// What holds where nobody wrote anything.
pub(super) fn usual() -> Confinement {
    let allow = PACKAGES.map(str::to_owned).to_vec();
    Confinement {
        hosts: Hosts { allow, private: Vec::new() },
        file: limits::COMMAND_FILE_BYTES,
        ..Confinement::default()
    }
}

/// A profile of this name, which is one of [`PROFILES`].
pub(crate) fn profile(name: &str) -> Profile {
    let all = [Profile::ReadOnly, Profile::WorkspaceWrite, Profile::Full];
    all.into_iter().find(|profile| profile.name() == name).unwrap_or_default()
}

/// A network of this name, which is one of [`NETWORKS`].
pub(crate) fn network(name: &str) -> Network {
    [Network::Off, Network::Hosts, Network::On]
        .into_iter()
        .find(|network| network.name() == name)
        .unwrap_or_default()
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
    fn the_user_chooses_and_a_project_does_not() {
        let unsaid = read("", false).unwrap().sandbox;
        assert_eq!((unsaid.profile, unsaid.network), (Profile::WorkspaceWrite, Network::Off));
        assert!(!unsaid.degraded && unsaid.hosts.allow.iter().any(|host| host == "crates.io"));
        let limits = "network = \"hosts\"\nhosts = [\"a.example\", \"*.b.example:8443\"]\nprivate = [\"a.example\"]\n\
                      memory = \"2 GiB\"\nprocesses = 99\nfile_size = \"1 GiB\"\n";
        let said = read(&format!("[sandbox]\n{limits}"), false).unwrap().sandbox;
        assert_eq!((said.network, said.hosts.allow.len(), said.hosts.private.len()), (Network::Hosts, 2, 1));
        assert_eq!((said.memory, said.processes, said.file), (2 << 30, 99, 1 << 30));
        let full = read("[sandbox]\nprofile = \"full\"\n", false).unwrap().sandbox;
        assert_eq!(full.profile, Profile::Full);
        let text = "[sandbox]\nprofile = \"read-only\"\nnetwork = \"on\"\nread = [\"/data\"]\nwrite = [\"/var/cache/x\"]\n\
                    degraded = true\nmemory = \"2 GiB\"\nprocesses = 500\n";
        let sandbox = read(text, false).unwrap().sandbox;
        assert_eq!((sandbox.profile, sandbox.network), (Profile::ReadOnly, Network::On));
        assert_eq!((sandbox.read, sandbox.write), (vec!["/data".into()], vec!["/var/cache/x".into()]));
        assert!(sandbox.degraded);
        assert_eq!((sandbox.memory, sandbox.processes), (2 << 30, 500));
        assert!(read(text, true).unwrap_err().fault.what.contains("no key `sandbox`"));
        for (wrong, why) in [
            ("profile = \"none\"", "`none` is not one of read-only"),
            ("write = [\"x\"]", "`x` is no place"),
            ("write = [\"/\"]", "`/` is no place"),
            ("degraded = 1", "true or false"),
            ("hosts = [\"https://a.example\"]", "is no host"),
            ("hosts = [\"*\"]", "is no host"),
            ("memory = \"much\"", "much"),
            ("processes = \"x\"", "number"),
            ("netwrok = \"on\"", "no key `sandbox.netwrok`"),
        ] {
            let failure = read(&format!("[sandbox]\n{wrong}\n"), false).unwrap_err();
            assert!(failure.fault.what.contains(why), "{}", failure.fault.what);
        }
    }
}
