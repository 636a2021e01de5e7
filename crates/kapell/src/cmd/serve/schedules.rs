//! Fires the schedules of every repository that sessions were opened for, and opens what was delegated there, while the
//! daemon lives.
//!
//! Decides nothing: what is due, trusted and claimed is the loop's to know. Start at [`fire`].

use super::host::Daemon;
use super::tend::say;
use crate::cmd::looping::looper;
use crate::pick::short;
use crate::show::clean;
use looping::{BUSY, CALM, Looper, News, until};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between two looks for repositories that are new.
const NEW: Duration = Duration::from_secs(60);
/// What a repository has when it has schedules.
const FILE: &str = ".roo/schedules.json";

/// The loop of one repository, and what went wrong in its last look.
struct One<'a> {
    looper: Looper<'a>,
    trouble: String,
}

/// Until the daemon ends.
pub(super) async fn fire(daemon: &Daemon, mut closing: watch::Receiver<bool>) {
    let fired = async {
        let (mut all, mut known) = (BTreeMap::new(), Instant::now());
        more(daemon, &mut all).await;
        loop {
            let mut wait = CALM;
            for (repo, one) in &mut all {
                wait = wait.min(look(daemon, repo, one).await);
            }
            tokio::time::sleep(wait.min(NEW)).await;
            if known.elapsed() >= NEW {
                more(daemon, &mut all).await;
                known = Instant::now();
            }
        }
    };
    tokio::select! {
        () = fired => {}
        _end = closing.wait_for(|closing| *closing) => {}
    }
}

/// Repositories that are there, and have a loop.
async fn more<'a>(daemon: &'a Daemon, all: &mut BTreeMap<String, One<'a>>) {
    let repos = match daemon.repos().await {
        Ok(repos) => repos,
        Err(failure) => return say(&failure.fault.what),
    };
    for repo in repos.into_iter().filter(|repo| Path::new(repo).join(FILE).is_file()) {
        if all.contains_key(&repo) {
            continue;
        }
        match looper(&daemon.app, &daemon.wired, &repo) {
            Ok(looper) => drop(all.insert(repo, One { looper, trouble: String::new() })),
            Err(failure) => {
                say(&format!("the loop of {} does not run: {}", clean::line(&repo), failure.fault))
            }
        }
    }
}

/// One look; when to look again.
async fn look(daemon: &Daemon, repo: &str, one: &mut One<'_>) -> Duration {
    let told = |news: &News| {
        let session =
            news.session.map(|session| format!(" (session {})", short(session))).unwrap_or_default();
        say(&format!(
            "{}: {} {}{session}: {}",
            clean::line(repo),
            news.what,
            clean::line(&news.about),
            clean::line(&news.why)
        ));
    };
    match one.looper.look().await {
        Ok(look) => {
            one.trouble.clear();
            look.news.iter().for_each(told);
            daemon.ours().extend(look.jobs.iter().filter(|(_, rests)| !rests).map(|(session, _)| *session));
            match look.jobs.iter().any(|(_, rests)| !rests) {
                true => BUSY,
                false => until(look.next, one.looper.now()),
            }
        }
        Err(fault) => {
            let why = fault.to_string();
            if why != one.trouble {
                told(&News::new("trouble", "loop", why.clone()));
                one.trouble = why;
            }
            CALM
        }
    }
}
