//! The tools the engine gets, each in the session's own surroundings.
//!
//! Knows no tool by name. Start at [`all`].

use crate::home::Home;
use contract::action::EffectClass;
use contract::confine::{Confinement, Profile};
use contract::model::ToolSpec;
use contract::policy::Part;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tools::{Place, WebRules};

/// Every tool there is.
pub(crate) fn all(
    home: &Home,
    jobs: &Arc<tools::Jobs>,
    spool: Place,
    web: &WebRules,
    parsers: tools::Parsers,
    confined: &Confinement,
) -> Vec<Arc<dyn Tool>> {
    let sessions = home.sessions_dir();
    let options = tools::Options {
        records: Some(home.run_dir()),
        spool: Some(spool),
        jobs: Arc::clone(jobs),
        web: web.clone(),
        parsers: Arc::new(parsers),
    };
    let at_home = |tool| {
        Arc::new(AtHome { tool, sessions: sessions.clone(), confined: confined.clone() }) as Arc<dyn Tool>
    };
    tools::all(&options).into_iter().map(at_home).collect()
}

/// A tool whose programs build outside the worktree, in the session's own directory: what they build is neither
/// imaged by savepoints nor shared with another session, and goes with the session.
struct AtHome {
    tool: Arc<dyn Tool>,
    sessions: PathBuf,
    confined: Confinement,
}

impl AtHome {
    fn scope(&self, mut scope: Scope) -> Scope {
        let dir = self.sessions.join(scope.session.to_string());
        let target = dir.join("build");
        scope.env.push(("CARGO_TARGET_DIR".into(), target.to_string_lossy().into_owned()));
        scope.confinement = Some(self.confinement(&scope, &dir, target));
        scope
    }

    /// What the session's commands see: its tree, and what git in it borrows from.
    fn confinement(&self, scope: &Scope, dir: &Path, target: PathBuf) -> Confinement {
        let mut confined = self.confined.clone();
        if scope.reads {
            confined.profile = confined.profile.min(Profile::ReadOnly);
        }
        confined.workspace.clone_from(&scope.root);
        confined.scratch = Some(dir.join("scratch"));
        // Named by Kapell's own repository: the agent's could name anything.
        confined.read.extend(workspace::borrowed(dir));
        // What is not there cannot be given.
        if confined.profile != Profile::Full && std::fs::create_dir_all(&target).is_ok() {
            confined.write.push(target);
        }
        confined
    }
}

impl Tool for AtHome {
    fn spec(&self) -> ToolSpec {
        self.tool.spec()
    }

    fn is_core(&self) -> bool {
        self.tool.is_core()
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        self.tool.judge(args, &self.scope(scope.clone()))
    }

    fn parts(&self, args: &Value, scope: &Scope, class: EffectClass) -> Vec<Part> {
        tools::parts::of(&*self.tool, args, scope, class, &crate::policy::user_home())
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Output> {
        self.tool.run(args, self.scope(scope), cancel, sink)
    }
}
