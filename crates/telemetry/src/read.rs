//! Follows a store: each record once, in order, only what is new since the last look.
//!
//! Knows the Journal port, and reads committed records only; whoever looks waits, nobody who writes. Start at
//! [`Reader::refresh`].

use crate::fold::Measures;
use crate::sheet::Sheet;
use contract::event::{Event, LedgerEvent};
use contract::journal::{Error, Journal};
use contract::quota::QuotaEvent;
use contract::record::{self, Record, Storable};
use contract::{Seq, SessionId, StreamId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Records read at once.
const PAGE: usize = 1_000;

/// A reader of one store.
#[derive(Debug, Default)]
pub struct Reader {
    measures: Measures,
    /// The last record taken in of each stream.
    at: BTreeMap<StreamId, Seq>,
    inbox: u64,
}

impl Reader {
    /// Takes in what is new. Dropped half-way, the next call goes on where it was. A stream that is damaged is counted
    /// as such and left alone from then on; the error is the store's.
    pub async fn refresh(&mut self, journal: &dyn Journal) -> Result<(), Error> {
        let mut roots = BTreeSet::new();
        // Newest first as they come: whoever is delegated to stands behind who delegates.
        for listed in journal.sessions(false).await?.into_iter().rev() {
            let (id, stream) = (listed.session, StreamId::Session(listed.session));
            if self.at.get(&stream).is_some_and(|at| *at >= listed.head.seq) {
                continue;
            }
            let page = |measures: &mut Measures, record: Record<Event>| {
                if let Event::Opened { spec } = &record.event {
                    roots.insert(spec.root(id));
                }
                roots.extend(measures.root(id));
                measures.session(id, &record);
            };
            self.stream(journal, stream, page).await?;
        }
        for root in roots {
            self.tree(journal, root).await?;
        }
        for id in self.measures.quotas() {
            let page = |measures: &mut Measures, record: Record<QuotaEvent>| measures.quota(id, &record);
            self.stream(journal, StreamId::Quota(id), page).await?;
        }
        self.measures.tidy();
        self.inbox = journal.inbox_sessions().await?.len() as u64;
        Ok(())
    }

    /// The values of this moment.
    pub fn sheet(&self, now: Timestamp) -> Sheet {
        self.measures.sheet(now, self.inbox)
    }

    /// What was taken in.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    async fn tree(&mut self, journal: &dyn Journal, root: SessionId) -> Result<(), Error> {
        let page = |measures: &mut Measures, record: Record<LedgerEvent>| measures.tree(root, &record);
        self.stream(journal, StreamId::Tree(root), page).await
    }

    /// Takes in what is new in one stream.
    async fn stream<E: Storable>(
        &mut self,
        journal: &dyn Journal,
        stream: StreamId,
        mut each: impl FnMut(&mut Measures, Record<E>),
    ) -> Result<(), Error> {
        while !self.measures.is_damaged(stream) {
            let after = self.at.get(&stream).copied().unwrap_or_default();
            let page = match journal.read(stream, after, PAGE).await {
                Ok(page) => page,
                Err(Error::Corrupt(_) | Error::Newer { .. }) => {
                    self.measures.damaged(stream);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            for stored in &page {
                let Ok(record) = record::decode::<E>(&stored.bytes) else {
                    self.measures.damaged(stream);
                    return Ok(());
                };
                each(&mut self.measures, record);
                self.at.insert(stream, stored.seq);
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
        Ok(())
    }
}
