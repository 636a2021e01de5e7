//! The tools the engine gets, each in the session's own surroundings.
//!
//! Knows no tool by name. Start at [`all`].

use crate::config::Config;
use crate::home::Home;
use crate::room::{Room, Said};
use contract::action::EffectClass;
use contract::confine::{Confinement, Profile};
use contract::handle::Handles;
use contract::model::ToolSpec;
use contract::policy::Part;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault, SessionId};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tools::Place;

/// Every tool there is.
pub(crate) fn all(
    home: &Home,
    jobs: &Arc<tools::Jobs>,
    spool: Place,
    parsers: tools::Parsers,
    config: &Config,
    handles: Arc<dyn Handles>,
) -> Vec<Arc<dyn Tool>> {
    let sessions = home.sessions_dir();
    let options = tools::Options {
        records: Some(home.run_dir()),
        spool: Some(spool),
        jobs: Arc::clone(jobs),
        web: tools::WebRules {
            way: tools::WebWay::find(config.web_proxy.as_deref(), crate::app::variable),
            ..config.web.clone()
        },
        parsers: Arc::new(parsers),
        handles: Some(handles),
    };
    let room = Room::new(sessions.clone(), config.session_disk);
    let (hidden, kept) = crate::policy::denied(&config.rules);
    let confined = Confinement { hidden, kept, ..config.sandbox.clone() };
    let at_home = |tool| {
        let (sessions, room, confined) = (sessions.clone(), room.clone(), confined.clone());
        Arc::new(AtHome { tool, sessions, room, confined }) as Arc<dyn Tool>
    };
    tools::all(&options).into_iter().map(at_home).collect()
}

/// A tool whose programs build outside the worktree, in the session's own directory: what they build is neither
/// imaged by savepoints nor shared with another session, and goes with the session.
struct AtHome {
    tool: Arc<dyn Tool>,
    sessions: PathBuf,
    room: Room,
    confined: Confinement,
}

impl AtHome {
    /// Measured on a thread that may block; what cannot be measured holds nobody up.
    async fn look(&self, args: &Value, session: SessionId) -> Said {
        let (room, command) = (self.room.clone(), args["command"].as_str().map(str::to_owned));
        let look = tokio::task::spawn_blocking(move || room.look(session, command.as_deref()));
        look.await.unwrap_or(Said::Nothing)
    }

    fn scope(&self, mut scope: Scope) -> Scope {
        let dir = self.sessions.join(scope.session.to_string());
        let target = dir.join("build");
        scope.env.push(("CARGO_TARGET_DIR".into(), target.to_string_lossy().into_owned()));
        scope.confinement = Some(confinement(&self.confined, &dir, &scope.root, scope.reads));
        scope
    }
}

/// What the commands of the session with this directory see: its tree, and what git in it borrows from.
pub(crate) fn confinement(confined: &Confinement, dir: &Path, root: &Path, reads: bool) -> Confinement {
    let (mut confined, target) = (confined.clone(), dir.join("build"));
    if reads {
        confined.profile = confined.profile.min(Profile::ReadOnly);
    }
    root.clone_into(&mut confined.workspace);
    // As rules name them: in the workspace, where nothing else is said.
    confined.hidden.iter_mut().chain(&mut confined.kept).for_each(|place| *place = root.join(&*place));
    confined.scratch = Some(dir.join("scratch"));
    // Named by Kapell's own repository: the agent's could name anything.
    confined.read.extend(workspace::borrowed(dir));
    // What is not there cannot be given.
    if confined.profile != Profile::Full && std::fs::create_dir_all(&target).is_ok() {
        confined.write.push(target);
    }
    confined
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

    fn together(&self, args: &Value, scope: &Scope) -> Option<Digest> {
        self.tool.together(args, &self.scope(scope.clone()))
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Output> {
        Box::pin(async move {
            let scope = self.scope(scope);
            let changes = self.tool.judge(&args, &scope).is_ok_and(|judged| judged.class > EffectClass::Pure);
            let said = if changes { self.look(&args, scope.session).await } else { Said::Nothing };
            if let Said::Refusal(why) = said {
                return Output::error(why);
            }
            let session = scope.session;
            let mut output = self.tool.run(args, scope, cancel, sink).await;
            if let Said::Warning(words) = said {
                output.text.push_str(&words);
                self.room.forget(session);
            }
            output
        })
    }
}
