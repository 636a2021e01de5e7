//! The rules that hold for a repository: those of the person's file, narrowed by the project's.
//!
//! Read anew each time they are needed, so that what a person writes down holds at once. Start at [`of`].

use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;
use contract::Fault;
use engine::Rules;
use kernel::policy::Policy;
use std::path::Path;
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
    Policy { rules: config.rules.clone(), home: user_home(), own }
}

/// The directory that `~` means.
pub(crate) fn user_home() -> String {
    crate::app::variable("HOME").filter(|home| home.starts_with('/')).unwrap_or_else(|| "/nonexistent".into())
}

/// Rules as the files say them now.
pub(crate) struct Files(pub(crate) Home);

impl Rules for Files {
    fn of(&self, repo: &str) -> Result<Arc<Policy>, Fault> {
        let config = Config::load(&self.0.config, Some(Path::new(repo)), |_| None)
            .map_err(|Failure { fault, .. }| fault)?;
        Ok(Arc::new(of(&self.0, &config)))
    }
}
