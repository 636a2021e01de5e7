//! Following a stream from any event on. Reads the journal, so nothing is lost whoever wrote it.
//!
//! Start at [`Watch::next`].

use contract::journal::{Error, Journal, Stored};
use contract::{Seq, StreamId, limits};
use std::sync::Arc;
use std::time::Duration;

/// Records a watcher takes at once.
const PAGE: usize = 500;

/// A place in a stream.
#[derive(Debug, Clone)]
pub struct Watch {
    journal: Arc<dyn Journal>,
    stream: StreamId,
    after: Seq,
}

impl Watch {
    /// From the event after `after` on.
    pub fn new(journal: Arc<dyn Journal>, stream: StreamId, after: Seq) -> Self {
        Self { journal, stream, after }
    }

    /// What is there now, without waiting.
    pub async fn now(&mut self) -> Result<Vec<Stored>, Error> {
        let page = self.journal.read(self.stream, self.after, PAGE).await?;
        if let Some(last) = page.last() {
            self.after = last.seq;
        }
        Ok(page)
    }

    /// The next records, at least one. Wakes at once for this process's appends, and polls for others'.
    pub async fn next(&mut self) -> Result<Vec<Stored>, Error> {
        loop {
            // Taken before reading, so that an append in between is not missed.
            let changed = self.journal.changed();
            let page = self.now().await?;
            if !page.is_empty() {
                return Ok(page);
            }
            let poll = tokio::time::sleep(Duration::from_millis(limits::INBOX_POLL_MS));
            tokio::select! { () = changed => {}, () = poll => {} }
        }
    }
}
