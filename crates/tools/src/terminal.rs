//! Terminals that a person opens in a session's workspace: each in a process of its own, which neither the session's end
//! nor that of whoever opened it takes along. Knows no rule; who may open one is asked before. Start at [`Terminal::open`];
//! what runs them is `sandbox::job::host`, begun by [`host`].
//!
//! They have a directory beside the session's own jobs, so that whoever looks at these looks at them; an agent does not.

use crate::args::refuse;
use crate::jobs::{Jobs, TERMINAL, named};
use crate::shell;
use contract::confine::Confinement;
use contract::limits::JOBS;
use contract::{Fault, Kind, SessionId};
use sandbox::job::{self, host};
use sandbox::{Command, Size};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the request that opened it is called, for who comes again with it.
const REQUEST: &str = "request";
/// Where its runs are recorded, for who has to end what a killed host left.
const RECORDS: &str = "run";

/// A terminal as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Beside which session.
    pub session: SessionId,
    /// Top of its workspace.
    pub root: PathBuf,
    /// A command line; `None`: a shell.
    pub command: Option<String>,
    /// Variables besides the inherited ones.
    pub env: Vec<(String, String)>,
    /// What holds it.
    pub confinement: Confinement,
    /// Its first size.
    pub size: Size,
}

/// A directory that waits for its terminal.
#[derive(Debug)]
pub struct Reserved {
    /// Its name, such as `t1`.
    pub name: String,
    dir: PathBuf,
    keep: u64,
}

/// What a host is told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    argv: Vec<String>,
    cwd: PathBuf,
    env: Vec<(String, String)>,
    confinement: Confinement,
    dir: PathBuf,
    keep: u64,
    columns: u16,
    rows: u16,
}

impl Jobs {
    /// The terminal that this request opened, if it did.
    pub fn opened_by(&self, session: SessionId, request: &str) -> Option<String> {
        let of_request =
            |dir: &Path| std::fs::read_to_string(dir.join(REQUEST)).is_ok_and(|it| it == request);
        let opened = |dir: &Path| of_request(dir) && job::look(dir).is_ok();
        self.of(session).into_iter().find(|(_, dir)| opened(dir)).map(|(name, _)| name)
    }

    /// Names of a session's terminals that run.
    pub fn terminals(&self, session: SessionId) -> Vec<String> {
        let runs = |dir: &Path| job::look(dir).is_ok_and(|status| status.ended.is_empty());
        let all = self.of(session).into_iter().filter(|(name, _)| name.starts_with(TERMINAL));
        all.filter(|(_, dir)| runs(dir)).map(|(name, _)| name).collect()
    }

    /// A place for one more, for this request.
    pub fn reserve(&self, session: SessionId, request: &str) -> Result<Reserved, Fault> {
        let open = self.terminals(session);
        if open.len() >= JOBS {
            let what = format!("{JOBS} terminals are open in this session already: {}", open.join(", "));
            return Err(Fault::new(Kind::UserFixable, "refused", what).hint("end one of them first"));
        }
        let (name, dir) = self.place(session, TERMINAL)?;
        std::fs::write(dir.join(REQUEST), request).map_err(|error| {
            refuse(format!("cannot write to {}: {error}; check free disk space", dir.display()))
        })?;
        Ok(Reserved { name, dir, keep: self.keeps() })
    }

    /// Ends what hosts that were killed have left running.
    pub fn sweep(&self) {
        for (_, dir) in self.dirs().iter().flat_map(|dir| named(dir, TERMINAL)) {
            let records = dir.join(RECORDS);
            let over = job::look(&dir).is_ok_and(|status| !status.ended.is_empty());
            if over && records.is_dir() {
                // What cannot be ended now is tried again with the next start.
                drop(sandbox::sweep(&records));
            }
        }
    }
}

impl Terminal {
    /// What is run at it, in one line.
    pub fn line(&self) -> String {
        self.command.clone().unwrap_or_else(|| shell::program().to_owned())
    }

    /// Starts it in this place. Blocks until it runs.
    pub fn open(&self, place: &Reserved) -> Result<(), Fault> {
        let mut argv = vec![shell::program().to_owned()];
        if let Some(command) = &self.command {
            argv.extend(["-c".to_owned(), command.clone()]);
        }
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let order = Order {
            argv,
            cwd: self.root.clone(),
            env: shell::GIT.into_iter().map(own).chain(self.env.clone()).collect(),
            confinement: self.confinement.clone(),
            dir: place.dir.clone(),
            keep: place.keep,
            columns: self.size.columns,
            rows: self.size.rows,
        };
        let failed = |why: String| {
            Fault::new(Kind::Transient, "no-terminal", format!("the terminal did not start: {why}"))
                .hint("try again; kapell doctor looks for what is wrong")
        };
        let text = serde_json::to_string(&order).map_err(|error| failed(error.to_string()))?;
        host::begin(&place.dir, &text).map_err(|error| {
            // Nothing was ever there: who comes again with the request gets another one.
            drop(std::fs::remove_file(place.dir.join(REQUEST)));
            drop(std::fs::remove_dir(&place.dir));
            failed(error.to_string())
        })
    }
}

/// Runs a terminal to its end where this process was started for that; its exit code. To be asked before anything else
/// starts.
pub fn host() -> Option<u8> {
    let text = host::asked()?;
    let order = text.map_err(|error| error.to_string()).and_then(|text| {
        let order: Order = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let Order { argv, cwd, env, confinement, dir, keep, columns, rows } = order;
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let command = Command::argv(argv, cwd).envs(env).keep(keep).record(dir.join(RECORDS));
        let size = Some(Size { columns, rows });
        Ok(host::Order { command: command.confine(confinement), dir, size })
    });
    Some(host::serve(order))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_apart_from_the_sessions_own() {
        let dir = tempfile::tempdir().unwrap();
        let (jobs, session) = (Jobs::new(dir.path().to_owned()), SessionId(7));
        assert_eq!(jobs.place(session, crate::jobs::OWN).unwrap().0, "j1");
        let first = jobs.reserve(session, "one").unwrap();
        assert_eq!((first.name.as_str(), jobs.reserve(session, "two").unwrap().name.as_str()), ("t1", "t2"));
        assert_eq!(jobs.place(session, crate::jobs::OWN).unwrap().0, "j2");
        let names: Vec<String> = jobs.of(session).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["j1", "j2", "t1", "t2"]);
        // None of them was opened, and an agent is told of none of them.
        assert_eq!((jobs.terminals(session), jobs.opened_by(session, "one")), (Vec::new(), None));
        assert!(jobs.found(session, "t1").is_err() && jobs.found(session, "j1").is_ok());
    }
}
