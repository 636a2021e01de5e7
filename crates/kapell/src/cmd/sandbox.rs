//! `sandbox`: what confines commands here, and one command confined, to try it.
//!
//! Decides nothing: the layers are the sandbox crate's. Start at [`run`].

use crate::app::App;
use crate::args::SandboxOptions;
use crate::config::sandbox::{network, profile};
use crate::exit::{self, Failure};
use crate::home::create_private;
use crate::show::json_page;
use crate::signals::Signals;
use crate::{out, repo};
use contract::Cancel;
use contract::cancel::Urgency;
use contract::confine::{Confinement, Profile};
use serde_json::json;
use std::io::Write;

/// Longest that a command tried here may take, milliseconds.
const LIMIT_MS: u64 = 24 * 60 * 60 * 1000;

/// Shows it, or tries it; the exit code, which is the command's own.
pub(crate) async fn run(app: &App, options: &SandboxOptions) -> Result<u8, Failure> {
    let top = repo::find(&app.cwd).unwrap_or_else(|_| app.cwd.clone());
    let mut asked = Confinement { workspace: top, ..app.config(None)?.sandbox };
    if let Some(name) = &options.profile {
        asked.profile = profile(name);
    }
    if let Some(name) = &options.network {
        asked.network = network(name);
    }
    if options.command.is_empty() {
        return Ok(show(app, &asked));
    }
    // What it fetches goes over the person's caches, as in a session, and goes with it.
    let scratch = app.home.cache.join("sandbox").join(std::process::id().to_string());
    create_private(&scratch)?;
    let tried = tried(app, Confinement { scratch: Some(scratch.clone()), ..asked }, &options.command).await;
    if let Err(error) = workspace::remove_tree(&scratch) {
        out::complain(&format!("kapell: {} is left behind: {error}\n", scratch.display()));
    }
    tried
}

fn show(app: &App, asked: &Confinement) -> u8 {
    let offers = sandbox::offers();
    let held = sandbox::in_force(asked);
    if app.global.json {
        let page = json!({
            "in_force": held.as_ref().ok(),
            "refused": held.as_ref().err().map(ToString::to_string),
            "workspace": asked.workspace,
            "offers": {
                "landlock": offers.landlock, "seccomp": offers.seccomp,
                "namespaces": offers.namespaces.is_ok(), "why_no_namespaces": offers.namespaces.as_ref().err(),
            },
        });
        out::print(&json_page(&page));
    } else {
        let yes = |has: bool| if has { "yes" } else { "no" };
        let namespaces = match &offers.namespaces {
            Ok(()) => "yes".to_owned(),
            Err(why) => format!("no ({why})"),
        };
        out::print(&format!(
            "landlock    {}\nseccomp     {}\nnamespaces  {namespaces}\nworkspace   {}\n",
            if offers.landlock == 0 { "no".to_owned() } else { format!("version {}", offers.landlock) },
            yes(offers.seccomp),
            asked.workspace.display()
        ));
        match &held {
            Ok(held) => out::print(&format!("in force    {held}\n")),
            Err(error) => out::print(&format!("refused     {error}\n")),
        }
    }
    if held.is_ok() { exit::OK } else { exit::FAILURE }
}

async fn tried(app: &App, asked: Confinement, words: &[String]) -> Result<u8, Failure> {
    let mut signals = Signals::new().map_err(|error| {
        Failure::failed("signals", format!("cannot wait for signals: {error}"), "try again")
    })?;
    // The workspace is the person's: what is made in it for the time being goes again.
    let mut asked = asked;
    let (made, kept) = match asked.profile {
        Profile::WorkspaceWrite => sandbox::seal_theirs(&asked.workspace).unwrap_or_default(),
        _ => Default::default(),
    };
    asked.kept.extend(kept);
    let (workspace, before) = (asked.workspace.clone(), sandbox::repositories(&asked.workspace));
    let cancel = Cancel::new();
    let command = sandbox::Command::argv(words, &app.cwd).timeout_ms(LIMIT_MS).keep(0).confine(asked);
    let mut progress = |progress: sandbox::Progress<'_>| {
        if let sandbox::Progress::Output(bytes) = progress {
            let mut out = std::io::stdout().lock();
            // Nobody is left to be told.
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        }
    };
    let mut running = Box::pin(sandbox::run(command, cancel.clone(), &mut progress));
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            _ = signals.next() => cancel.cancel(Urgency::Graceful),
        }
    };
    drop(running);
    sandbox::unseal(&made);
    for new in sandbox::repositories(&workspace).difference(&before) {
        out::complain(&format!(
            "kapell: {} is new: git here would run the hooks and obey the configuration that the command gave it; look at \
             them, or remove it\n",
            new.display()
        ));
    }
    let ended = ended.map_err(contract::Fault::from)?;
    for refused in ended.asked.iter().filter(|it| !it.passed) {
        out::complain(&format!("kapell: refused: {}\n", crate::show::clean::line(&refused.why)));
    }
    // As shells tell of a signal.
    let code = ended.exit.or(ended.signal.map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILURE))
}
