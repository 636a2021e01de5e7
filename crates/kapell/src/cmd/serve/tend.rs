//! Looks after sessions while the daemon lives: takes up what nobody runs at its start, and again what breaks down here;
//! holds work back where the machine is short; has signed what the journal holds.
//!
//! Wishes nothing for them. Start at [`tend`].

use super::host::Daemon;
use crate::app::Wired;
use crate::exit::Failure;
use crate::out;
use crate::pick::short;
use crate::pressure::Pressure;
use crate::show::clean;
use contract::journal::Journal;
use contract::{Fault, Kind, SessionId};
use engine::Attend;
use kernel::Session;
use kernel::fsm::Phase;
use kernel::pressure::Level;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between two looks at the machine.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks for sessions that nobody runs any more.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two signatures of what the journal holds.
const SIGN: Duration = Duration::from_secs(300);

/// Until the daemon ends.
pub(super) async fn tend(daemon: &Daemon, resume: bool, mut closing: watch::Receiver<bool>) {
    let tended = async {
        if resume {
            take_up(daemon).await;
        }
        looking(daemon).await;
    };
    tokio::select! {
        () = tended => {}
        _end = closing.wait_for(|closing| *closing) => {}
    }
}

/// Goes on with every session that was under way and that nobody has: what waits for a person goes on waiting, but here,
/// so that the answer is enough. What was paused stays so.
async fn take_up(daemon: &Daemon) {
    let listed = match daemon.wired.store.sessions(true).await {
        Ok(listed) => listed,
        Err(error) => return say(&error.to_string()),
    };
    let mut taken = 0;
    for listed in listed {
        match taken_up(daemon, listed.session).await {
            Ok(true) => taken += 1,
            Ok(false) => {}
            // The others go on: what is wrong with one is none of theirs.
            Err(failure) => {
                say(&format!("{} was not taken up: {}", short(listed.session), failure.fault.what))
            }
        }
    }
    if taken > 0 {
        say(&format!("went on with {taken} session(s) that nobody ran"));
    }
}

/// True when it is one that goes on here from now on.
async fn taken_up(daemon: &Daemon, session: SessionId) -> Result<bool, Failure> {
    let wired = &daemon.wired;
    if wired.locks.held(session) {
        return Ok(false);
    }
    let Some(state) = wired.engine.look(session).await? else { return Ok(false) };
    // Children come along with their roots.
    if state.root() != session || state.phase != Phase::Active {
        return Ok(false);
    }
    if let Some(spec) = &state.spec {
        daemon.app.declare_caps(wired, &spec.repo).await?;
    }
    let held = wired.engine.attend(session, Attend::GoOn).await?.is_ok();
    if held {
        daemon.ours().insert(session);
    }
    Ok(held)
}

async fn looking(daemon: &Daemon) {
    let config = daemon.app.config(None).unwrap_or_default();
    let mut pressure = Pressure::new(&daemon.app.home, &config);
    let (mut looked, mut signed) = (Instant::now(), Instant::now());
    let mut care = Care::default();
    loop {
        press(daemon, &mut pressure);
        if looked.elapsed() >= SILENCE {
            care.look(daemon).await;
            looked = Instant::now();
        }
        if signed.elapsed() >= SIGN {
            sign(&daemon.wired, daemon.app.now()).await;
            signed = Instant::now();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Holds work back where memory or the disk is short.
fn press(daemon: &Daemon, pressure: &mut Pressure) {
    let Some(looked) = pressure.look(daemon.app.now()) else { return };
    daemon.wired.engine.press(looked.level);
    let mut degraded = daemon.degraded();
    if let Some(note) = looked.note {
        say(&note);
        if looked.level == Level::Emergency {
            let fault = Fault::new(Kind::Degraded, "degraded", note).hint("kapell doctor says what is short");
            *degraded = Some(fault);
        }
    }
    if looked.level != Level::Emergency {
        *degraded = None;
    }
}

async fn sign(wired: &Wired, now: contract::Timestamp) {
    if let Some(anchors) = &wired.anchors
        && let Err(fault) = anchors.anchor(&*wired.store, now).await
    {
        say(&format!("not signed: {}", fault.what));
    }
}

/// Sessions that should be at work here, and are not.
#[derive(Default)]
struct Care {
    /// Which tree a session belongs to: that never changes.
    roots: BTreeMap<SessionId, SessionId>,
    /// What was said already.
    said: BTreeSet<String>,
}

impl Care {
    async fn look(&mut self, daemon: &Daemon) {
        let Ok(listed) = daemon.wired.store.sessions(true).await else { return };
        for listed in listed {
            if daemon.wired.locks.held(listed.session) {
                continue;
            }
            if let Err(failure) = self.again(daemon, listed.session).await {
                let line = format!("{} does not go on: {}", short(listed.session), failure.fault.what);
                if self.said.insert(line.clone()) {
                    say(&line);
                }
            }
        }
    }

    async fn again(&mut self, daemon: &Daemon, session: SessionId) -> Result<(), Failure> {
        let known = self.roots.get(&session).copied();
        if known.is_some_and(|root| !daemon.ours().contains(&root)) {
            return Ok(());
        }
        let state: Option<Session> = daemon.wired.engine.look(session).await?;
        let Some(state) = state else { return Ok(()) };
        self.roots.insert(session, state.root());
        if state.phase == Phase::Active && daemon.ours().contains(&state.root()) {
            // Somebody else may have it by now; then it is theirs.
            let _theirs = daemon.wired.engine.attend(session, Attend::GoOn).await?;
        }
        Ok(())
    }
}

pub(super) fn say(line: &str) {
    out::complain(&format!("{}\n", clean::line(line)));
}
