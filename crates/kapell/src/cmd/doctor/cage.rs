//! What `doctor` says of confinement: what is in force here, what stays open all the same, and what commands are not given.
//!
//! Knows no layer; they are the sandbox crate's. Start at [`findings`].

use crate::app::App;
use crate::finding::Finding;
use crate::repo;

/// All of it.
pub(super) fn findings(app: &App) -> Vec<Finding> {
    let top = repo::find(&app.cwd).ok();
    // What is wrong with the file is said elsewhere.
    let Ok(config) = app.config(top.as_deref()) else { return Vec::new() };
    let mut all = Vec::new();
    match sandbox::in_force(&config.sandbox) {
        Ok(held) => {
            all.push(Finding::ok("sandbox", held.to_string()));
            let hint =
                "what a command must not reach should not lie where it is shown: kapell sandbox -- ls DIR";
            all.extend(sandbox::open(&held).into_iter().map(|what| Finding::note("sandbox", what, hint)));
        }
        Err(error) => {
            let hint = "kapell sandbox shows what is missing; `degraded = true` under [sandbox] accepts it";
            all.push(Finding::bad("sandbox", error.to_string(), hint));
        }
    }
    let bared = sandbox::bared(std::env::vars_os());
    if !bared.is_empty() {
        let what = format!(
            "commands are given {} without the name and password in the address: a proxy that asks for them refuses commands",
            bared.join(", ")
        );
        let hint = "let them use a proxy on this machine that needs no password and adds it";
        all.push(Finding::note("environment", what, hint));
    }
    all
}
