//! `[sandbox]` of the user's file: what confines commands.
//!
//! Knows the file's shape; what a profile means is the sandbox's to say. A project's file may say nothing of it: it comes
//! with a clone. Start at [`File::sandbox`].

use super::{Config, Failure, File, Value};
use crate::quantity;
use contract::confine::{Confinement, Network, Profile};
use std::path::PathBuf;
use toml::de::DeValue;

const KEYS: [&str; 7] = ["profile", "network", "read", "write", "degraded", "memory", "processes"];

impl File<'_> {
    /// What this file says of it.
    pub(super) fn sandbox(&self, config: &mut Config, value: &Value<'_>) -> Result<(), Failure> {
        let to: &mut Confinement = &mut config.sandbox;
        for (key, value) in self.table(value, "sandbox")? {
            match key.get_ref().as_ref() {
                "profile" => to.profile = profile(&self.word(value, &PROFILES)?),
                "network" => to.network = network(&self.word(value, &NETWORKS)?),
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
pub(crate) const NETWORKS: [&str; 2] = ["off", "on"];

/// A profile of this name, which is one of [`PROFILES`].
pub(crate) fn profile(name: &str) -> Profile {
    let all = [Profile::ReadOnly, Profile::WorkspaceWrite, Profile::Full];
    all.into_iter().find(|profile| profile.name() == name).unwrap_or_default()
}

/// A network of this name, which is one of [`NETWORKS`].
pub(crate) fn network(name: &str) -> Network {
    [Network::Off, Network::On].into_iter().find(|network| network.name() == name).unwrap_or_default()
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
        assert!(!unsaid.degraded);
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
            ("memory = \"much\"", "much"),
            ("netwrok = \"on\"", "no key `sandbox.netwrok`"),
        ] {
            let failure = read(&format!("[sandbox]\n{wrong}\n"), false).unwrap_err();
            assert!(failure.fault.what.contains(why), "{}", failure.fault.what);
        }
    }
}
