//! `metrics`: what is measured of all sessions in the store, once; for a scraper of files, or to look at.
//!
//! Reads committed records only, as any look does. Start at [`run`].

use super::work::leave;
use crate::app::App;
use crate::exit::{self, Failure};
use crate::out;
use crate::show::json_page;
use serde_json::{Map, Value, json};
use telemetry::metric::ALL;
use telemetry::prometheus;
use telemetry::series::shown;
use telemetry::sheet::{Row, Sheet};
use telemetry::station::Station;

/// Prints the page; the exit code. What only a running process knows (its memory, times of decisions) is not in it.
pub(crate) async fn run(app: &App) -> Result<u8, Failure> {
    let mut station = Station::default();
    let sheet = match app.look()? {
        Some(wired) => {
            let sheet = station.sheet(&*wired.store, app.now(), None).await;
            leave(wired).await;
            sheet?
        }
        // There is nothing yet: a scraper is told so, not refused.
        None => station.reader().sheet(app.now()),
    };
    let text = if app.global.json { json_page(&value(&sheet)) } else { prometheus::text(&sheet) };
    out::print(&text);
    Ok(exit::OK)
}

/// The same for programs that read no expositions.
fn value(sheet: &Sheet) -> Value {
    let rows = ALL.iter().flat_map(|metric| sheet.rows(metric).map(move |row| (metric, row)));
    let rows = rows.map(|(metric, (labels, row))| {
        let names = metric.labels.iter().map(|name| (*name).to_owned());
        let labels: Map<String, Value> = names.zip(labels.iter().map(|label| json!(label))).collect();
        let mut told = json!({"name": metric.name, "type": metric.kind.name(), "labels": labels});
        match row {
            Row::Number(n) => told["value"] = shown(*n, metric.per),
            Row::Buckets { counts, sum } => {
                let bounds: Vec<Value> =
                    metric.bounds.iter().map(|bound| shown(*bound, metric.per)).collect();
                told["bounds"] = json!(bounds);
                told["counts"] = json!(counts);
                told["sum"] = shown(*sum, metric.per);
            }
        }
        told
    });
    json!({"metrics": rows.collect::<Vec<Value>>()})
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_counts_in_the_buckets_that_are_shown() {
        assert_eq!(engine::meter::BOUNDS_NS, *telemetry::metric::SHORT_NS);
    }
}
