//! What servers of other programs need of Kapell: the environment, trust, secrets, and what confines commands.
//!
//! Knows no protocol (`client` does). Start at [`of`].

use crate::home::Home;
use crate::secrets::Keeper;
use crate::trust::{self, Trust};
use crate::{app, toolbox};
use client::{Options, Server, Servers, World};
use contract::confine::{Confinement, Profile};
use contract::error::UNTRUSTED;
use contract::{Fault, Kind, SessionId};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The person's own file.
pub(crate) fn own_file(home: &Home) -> PathBuf {
    home.config.join("mcp.toml")
}

/// Who keeps them. `starts`: false where nothing is executed.
pub(crate) fn of(
    home: &Home,
    trust: Trust,
    secrets: &Arc<Keeper>,
    confined: &Confinement,
    starts: bool,
) -> Arc<Servers> {
    let options =
        Options { own: own_file(home), pins: home.data.join("mcp"), records: Some(home.run_dir()), starts };
    let (sessions, secrets, confined) = (home.sessions_dir(), Arc::clone(secrets), confined.clone());
    Arc::new(Servers::new(options, Arc::new(Around { sessions, trust, secrets, confined })))
}

struct Around {
    sessions: PathBuf,
    trust: Trust,
    secrets: Arc<Keeper>,
    confined: Confinement,
}

impl World for Around {
    fn variable(&self, name: &str) -> Option<String> {
        app::variable(name)
    }

    fn learn(&self, name: &str, value: &str) {
        self.secrets.learn(name, value);
    }

    fn trusted(&self, server: &Server, repo: &Path, tree: &Path) -> Result<(), Fault> {
        let item = trust::served(server, &self.trust.repo(repo), tree);
        if self.trust.unknown(vec![item])?.is_empty() {
            return Ok(());
        }
        let what = format!("nobody trusts the server `{}` of this repository, or it changed", server.name);
        let hint = format!("look at it: kapell mcp list; then: kapell mcp trust {}", server.name);
        Err(Fault::new(Kind::UserFixable, UNTRUSTED, what).hint(hint))
    }

    fn confinement(&self, session: Option<SessionId>, root: &Path, reads: bool) -> Confinement {
        if let Some(session) = session {
            return toolbox::confinement(
                &self.confined,
                &self.sessions.join(session.to_string()),
                root,
                reads,
            );
        }
        // Of no session: it looks at the person's own tree, and changes nothing.
        let profile = self.confined.profile.min(Profile::ReadOnly);
        Confinement { profile, workspace: root.to_owned(), ..self.confined.clone() }
    }
}
