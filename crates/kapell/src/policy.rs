//! The rules that hold for a repository: those of the person's file, narrowed by the project's.
//!
//! Read anew each time they are needed, so that what a person writes down holds at once. Start at [`of`].

use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;
use contract::policy::{Decision, How};
use contract::{Fault, SessionId};
use engine::Rules;
use kernel::policy::{Match, Policy, Rule};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The policy over this configuration.
pub(crate) fn of(home: &Home, config: &Config) -> Policy {
    let text = |path: &Path| path.to_string_lossy().trim_end_matches('/').to_owned();
    let mut own: Vec<String> =
        [&home.config, &home.data, &home.state, &home.cache].map(|dir| text(dir)).to_vec();
    // Links on the way are another name of the same place.
    let real = own.iter().filter_map(|dir| std::fs::canonicalize(dir).ok()).map(|path| text(&path));
    let real: Vec<String> = real.filter(|dir| !own.contains(dir)).collect();
    own.extend(real);
    let hosts = config.sandbox.hosts.allow.iter().map(|host| name(host).to_owned()).collect();
    Policy { rules: config.rules.clone(), home: user_home(), own, hosts }
}

/// Of a listed host its name alone: of a port no command line tells.
fn name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None if host.matches(':').count() > 1 => host,
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// The directory that `~` means.
pub(crate) fn user_home() -> String {
    crate::app::variable("HOME").filter(|home| home.starts_with('/')).unwrap_or_else(|| "/nonexistent".into())
}

/// Places that rules deny which name one each, to any use and to being written: to these a command is held by its sandbox,
/// whatever words it is made of. In the workspace, unless they begin with `/`.
pub(crate) fn denied(rules: &[Rule]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (home, mut hidden, mut kept) = (user_home(), Vec::new(), Vec::new());
    for rule in rules.iter().filter(|rule| rule.verdict == Decision::Deny) {
        let Match::Path { pattern, how } = &rule.matches else { continue };
        if pattern.contains(['*', '?']) {
            continue;
        }
        let plain = pattern.trim_start_matches("./").trim_end_matches('/');
        let place = plain.strip_prefix("~/").map_or(plain.to_owned(), |rest| format!("{home}/{rest}"));
        if *how == How::Write { &mut kept } else { &mut hidden }.push(place.into());
    }
    (hidden, kept)
}

/// Rules as the files say them now.
pub(crate) struct Files(pub(crate) Home);

impl Rules for Files {
    fn of(&self, repo: &str, root: SessionId) -> Result<Arc<Policy>, Fault> {
        let config = Config::load(&self.0.config, Some(Path::new(repo)), |_| None)
            .and_then(|mut config| with_session(&self.0, &mut config, root).map(|()| config))
            .map_err(|Failure { fault, .. }| fault)?;
        Ok(Arc::new(of(&self.0, &config)))
    }
}

/// Where the rules of one session, and of those below it, are written. They go with its directory.
pub(crate) fn session_file(home: &Home, root: SessionId) -> PathBuf {
    home.sessions_dir().join(root.to_string()).join("rules.toml")
}

/// Adds the rules that a person made for one session.
pub(crate) fn with_session(home: &Home, config: &mut Config, root: SessionId) -> Result<(), Failure> {
    config.file(&session_file(home, root), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_name_whatever_their_port() {
        for (host, is) in [
            ("crates.io", "crates.io"),
            ("*.example.org:443", "*.example.org"),
            ("[::1]:443", "::1"),
            ("[::1]", "::1"),
            ("fe80::1", "fe80::1"),
        ] {
            assert_eq!(name(host), is);
        }
    }
}
