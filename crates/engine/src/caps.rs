//! What a person allows all sessions on a project together, put on record where every process reads it.
//!
//! Knows the Journal port and the project's ledger. Start at [`declare`].

use crate::store;
use contract::journal::{Append, Batch, Class, Error, Journal};
use contract::project::{Caps, ProjectEvent};
use contract::{ProjectId, StreamId, Timestamp, record};
use kernel::further::Book;
use kernel::project::Project;

/// Times another process's write is answered by reading again.
const TRIES: u32 = 32;

/// The ledger of the project in this directory.
pub async fn project(journal: &dyn Journal, repo: &str) -> Result<Project, Error> {
    match store::book(journal, StreamId::Project(ProjectId::of(repo))).await? {
        Book::Project(project) => Ok(*project),
        Book::Quota(_) => Err(Error::Corrupt("a project's ledger is a key's".into())),
    }
}

/// These caps hold from here on. Nothing is written when they do already, and none where there never was one.
pub async fn declare(journal: &dyn Journal, repo: &str, caps: Caps, now: Timestamp) -> Result<(), Error> {
    let stream = StreamId::Project(ProjectId::of(repo));
    let mut tries = 0;
    loop {
        let known = project(journal, repo).await?;
        if known.caps() == caps {
            return Ok(());
        }
        let event = ProjectEvent::Capped { caps, repo: repo.to_owned() };
        let records = vec![record::encode(known.seq + 1, now, &event)];
        let append = Append { stream, expected: known.seq, fence: None, records, ended: false };
        tries += 1;
        match journal.append(Batch { appends: vec![append], ..Batch::default() }).await {
            Ok(_) => return Ok(()),
            Err(error) if error.class() == Class::Retry && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}
