//! What a surface asks for metrics: the page for Prometheus, and the series for charts.
//!
//! Knows the Journal port and no HTTP: a route hands on what is given here. Start at [`Station::page`].

use crate::metric::Process;
use crate::prometheus;
use crate::read::Reader;
use crate::series::Series;
use crate::sheet::Sheet;
use contract::Timestamp;
use contract::journal::{Error, Journal};
use serde_json::Value;

/// A store's measures, kept up to date by looking. One for each process; nothing happens in between two looks.
#[derive(Debug, Default)]
pub struct Station {
    reader: Reader,
    series: Series,
}

impl Station {
    /// The values of this moment. `process`: of a process that runs sessions, for what only it knows.
    pub async fn sheet(
        &mut self,
        journal: &dyn Journal,
        now: Timestamp,
        process: Option<&Process>,
    ) -> Result<Sheet, Error> {
        self.reader.refresh(journal).await?;
        let mut sheet = self.reader.sheet(now);
        process.iter().for_each(|process| process.write(&mut sheet));
        Ok(sheet)
    }

    /// The page of a scrape, to be answered as [`prometheus::CONTENT_TYPE`].
    pub async fn page(
        &mut self,
        journal: &dyn Journal,
        now: Timestamp,
        process: Option<&Process>,
    ) -> Result<String, Error> {
        Ok(prometheus::text(&self.sheet(journal, now, process).await?))
    }

    /// Adds the point of this moment to the series, if it is due: to be called every few seconds.
    pub async fn tick(
        &mut self,
        journal: &dyn Journal,
        now: Timestamp,
        process: Option<&Process>,
    ) -> Result<(), Error> {
        if self.series.is_due(now) {
            let sheet = self.sheet(journal, now, process).await?;
            self.series.tick(now, &sheet);
        }
        Ok(())
    }

    /// See [`Series::query`].
    pub fn series(&self, name: Option<&str>, since: Timestamp, step_ms: u64) -> Value {
        self.series.query(name, since, step_ms)
    }

    /// What was read.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}
