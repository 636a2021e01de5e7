//! `models`: what can be used now, how much it holds and costs, and why the rest cannot be used.
//!
//! Asks every provider for its list at the same time; what vendors answered is kept for a few minutes, what runs on
//! the person's own machines is asked each time. Start at [`run`].

use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::home;
use crate::out;
use crate::quantity::clock;
use crate::show::{clean, json_page, table::table};
use contract::journal::Journal;
use contract::model::{Card, Models, Price};
use contract::money::usd;
use contract::text::suggestion;
use contract::{Fault, Timestamp};
use kernel::quota::health::Breaker;
use kernel::quota::{self, Load, Quota};
use providers::Registry;
use providers::remote::Line;
use providers::settings::Source;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a vendor's list is taken from the cache.
const FRESH: Duration = Duration::from_secs(300);
/// Models of one local server that are asked how much they hold.
const MEASURED: usize = 32;
/// The model that is always there.
const FIXER: &str = "builtin/fixer";

/// One model that can be used.
struct Usable {
    id: String,
    card: Card,
    /// Who says what it costs.
    priced_by: Option<Source>,
}

/// Calls wait so long for each other all the time, under whatever limit: no news, milliseconds.
const MOMENT_MS: u64 = 5_000;

/// What became of asking one provider.
struct Asked {
    provider: String,
    base_url: String,
    models: Result<Vec<Usable>, Fault>,
    held: Option<Held>,
    /// Whether it counts as failing, as far as anybody has called it.
    breaker: Option<Breaker>,
    /// What is used of what its key allows, or is meant to use, in a long time.
    used: Vec<quota::supply::Use>,
}

/// Why a call to a provider would wait now, and until when.
pub(super) struct Held(quota::Held);

impl Held {
    /// For people.
    pub(super) fn what(&self) -> String {
        format!("calls wait until {}: {}", clock(self.0.until), self.0.why.words())
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({"why": self.0.why.name(), "until": self.0.until, "what": self.0.why.words()})
    }
}

/// What the record says of calls under this key.
pub(super) async fn held(journal: &dyn Journal, key: &str, now: Timestamp) -> Result<Option<Held>, Failure> {
    Ok(waits(&engine::keys::quota(journal, key).await?, now))
}

fn waits(known: &Quota, now: Timestamp) -> Option<Held> {
    let held = known.verdict(now, 0, Load::default()).err();
    held.filter(|held| held.until.since(now) > MOMENT_MS).map(Held)
}

/// An open or half-open breaker, for people.
fn fails(breaker: Breaker) -> Option<String> {
    let then = "then one call at a time, of all processes, tries it";
    match breaker {
        Breaker::Closed => None,
        Breaker::Open { until } => {
            Some(format!("it failed too often: breaker open until {}, {then}", clock(until)))
        }
        Breaker::HalfOpen { well, probe } => {
            let tries = if probe.is_some() { "one call tries it now" } else { "the next call tries it" };
            Some(format!("it failed too often: breaker half-open, {tries} ({well} went well so far)"))
        }
    }
}

/// The same for programs.
fn breaker(of: Breaker) -> Value {
    match of {
        Breaker::Closed => json!({"state": "closed"}),
        Breaker::Open { until } => json!({"state": "open", "until": until}),
        Breaker::HalfOpen { well, probe } => {
            let probe = probe.map(|(session, _)| session.to_string());
            json!({"state": "half-open", "well": well, "probe": probe})
        }
    }
}

/// Shows the models; the exit code.
pub(crate) async fn run(app: &App, only: Option<&str>) -> Result<u8, Failure> {
    // Where there is no record, or none that can be read, nobody is known to wait.
    let record = app.look().ok().flatten().map(|wired| wired.store);
    let (models, asked) = all(app, only, record).await?;
    match app.global.json {
        true => out::print(&json_page(&document(&models, only, &asked))),
        false => show(app, &models, only, &asked),
    }
    Ok(exit::OK)
}

/// Every model that can be used now, for programs.
pub(super) async fn value(app: &App, wired: &Wired) -> Result<Value, Failure> {
    let (models, asked) = all(app, None, Some(Arc::clone(&wired.store))).await?;
    Ok(document(&models, None, &asked))
}

async fn all(
    app: &App,
    only: Option<&str>,
    record: Option<Arc<journal::Sqlite>>,
) -> Result<(Arc<Registry>, Vec<Asked>), Failure> {
    let models = Arc::new(app.models(&app.config(None)?)?);
    let lines = chosen(&models, only)?;
    let mut asking = tokio::task::JoinSet::new();
    for line in lines.into_values() {
        let (models, cache, now) = (Arc::clone(&models), kept_in(app, &line), app.now());
        let record = record.clone();
        asking.spawn(async move {
            let mut asked = ask(&models, &line, cache).await;
            if let Some(record) = record
                && let Ok(known) = engine::keys::quota(&*record, &line.provider.quota()).await
            {
                asked.held = waits(&known, now);
                asked.used = known.uses(now);
                asked.breaker = (known.seq > 0).then(|| known.breaker_state());
            }
            asked
        });
    }
    let mut asked = asking.join_all().await;
    asked.sort_by(|a, b| a.provider.cmp(&b.provider));
    Ok((models, asked))
}

/// All providers, or the one that is named.
pub(super) fn chosen(models: &Registry, only: Option<&str>) -> Result<BTreeMap<String, Arc<Line>>, Failure> {
    let lines = models.lines();
    let Some(name) = only else { return Ok(lines.clone()) };
    match lines.get(name) {
        Some(line) => Ok(BTreeMap::from([(name.to_owned(), Arc::clone(line))])),
        None => {
            let known = || lines.keys().map(String::as_str);
            let near = suggestion(name, known());
            let hint = format!("{near}providers: {}", known().collect::<Vec<_>>().join(", "));
            Err(Failure::usage("unknown-provider", format!("there is no provider `{name}`"), hint))
        }
    }
}

async fn ask(models: &Registry, line: &Line, cache: Option<PathBuf>) -> Asked {
    let listed = listed(line, cache).await;
    if line.provider.server.is_local() {
        for (name, _) in listed.iter().flatten().take(MEASURED) {
            // One that does not tell is shown with what is assumed.
            drop(line.measure(name).await);
        }
    }
    let usable = |name: &str| Usable {
        id: format!("{}/{name}", line.provider.name),
        card: models.card(line, name),
        priced_by: models.priced_by(line, name),
    };
    let declared = line.provider.models.keys();
    let models = listed.map(|listed| {
        let mut names: Vec<&String> = listed.iter().map(|(name, _)| name).chain(declared).collect();
        names.sort();
        names.dedup();
        names.into_iter().map(|name| usable(name)).collect()
    });
    let (provider, base_url) = (line.provider.name.clone(), line.provider.base_url.clone());
    Asked { provider, base_url, models, held: None, breaker: None, used: Vec::new() }
}

async fn listed(
    line: &Line,
    cache: Option<PathBuf>,
) -> Result<Vec<(String, providers::settings::Facts)>, Fault> {
    line.usable()?;
    if let Some(models) = cache.as_deref().and_then(fresh).and_then(|body| line.read(&body).ok()) {
        return Ok(models);
    }
    let body = line.listing().await?;
    let models = line.read(&body)?;
    if let Some(path) = cache {
        // A cache that cannot be written is no cache.
        drop(path.parent().map(home::create_private).transpose());
        drop(std::fs::write(path, body));
    }
    Ok(models)
}

/// Where a vendor's list is kept: by the key, because it decides what is listed.
fn kept_in(app: &App, line: &Line) -> Option<PathBuf> {
    let name = line.provider.quota().replace('/', "-");
    (!line.provider.server.is_local()).then(|| app.home.cache.join("models").join(format!("{name}.json")))
}

fn fresh(path: &std::path::Path) -> Option<Vec<u8>> {
    let written = std::fs::metadata(path).ok()?.modified().ok()?;
    let age = SystemTime::now().duration_since(written).ok()?;
    if age < FRESH { std::fs::read(path).ok() } else { None }
}

/// Kapell's own, unless somebody else's were asked for.
fn own(models: &Registry, only: Option<&str>) -> Option<Usable> {
    let (found, _) = models.open(FIXER, std::path::Path::new(".")).ok()?;
    only.is_none().then_some(Usable { id: found.id, card: found.card, priced_by: None })
}

fn show(app: &App, models: &Registry, only: Option<&str>, asked: &[Asked]) {
    let all = own(models, only).into_iter();
    let row = |usable: &Usable| {
        let Card { context_tokens, output_tokens, price } = usable.card;
        let money =
            price.map_or_else(|| "unknown".to_owned(), |p| format!("{} / {}", usd(p.input), usd(p.output)));
        vec![clean::line(&usable.id), context_tokens.to_string(), output_tokens.to_string(), money]
    };
    let mut rows: Vec<Vec<String>> = all.map(|usable| row(&usable)).collect();
    rows.extend(asked.iter().filter_map(|asked| asked.models.as_ref().ok()).flatten().map(row));
    if !rows.is_empty() {
        out::print(&table(&["MODEL", "CONTEXT", "REPLY", "MONEY FOR 1M TOKENS IN / OUT"], &rows, None));
    }
    let listed = asked.iter().filter_map(|asked| asked.models.as_ref().ok()).flatten();
    let mut sources: Vec<String> =
        listed.filter_map(|usable| Some(told(usable.priced_by.as_ref()?))).collect();
    sources.sort();
    sources.dedup();
    if !sources.is_empty() {
        out::print(&format!("\nprices: {}\n", sources.join("; ")));
    }
    let paint = app.term.paint();
    for Asked { provider, models, held, breaker, used, .. } in asked {
        for used in used {
            let words = used.words();
            let words = if used.is_most() { paint.warn(&words) } else { words };
            out::print(&format!("\n{provider}: {words}\n"));
        }
        if let Some(fails) = breaker.and_then(fails) {
            out::print(&format!("\n{provider}: {}\n", paint.warn(&fails)));
        }
        if let Some(held) = held {
            let what = paint.warn(&held.what());
            out::print(&format!("\n{provider}: {what}\n  kapell models --retry {provider} tries it now\n"));
        }
        match models {
            Ok(models) if models.is_empty() => out::print(&format!("\n{provider}: has no models\n")),
            Ok(_) => {}
            Err(fault) => {
                let what = paint.warn(&clean::line(&fault.what));
                out::print(&format!("\n{provider}: {what}\n  {}\n", clean::line(&fault.hint)));
            }
        }
    }
}

fn document(models: &Registry, only: Option<&str>, asked: &[Asked]) -> Value {
    let usable = |usable: &Usable| {
        let Card { context_tokens, output_tokens, price } = usable.card;
        json!({"id": usable.id, "context_tokens": context_tokens, "output_tokens": output_tokens,
            "price": price.map(priced), "price_from": usable.priced_by.as_ref().map(source)})
    };
    let mut all: Vec<Value> = own(models, only).iter().map(usable).collect();
    all.extend(asked.iter().filter_map(|asked| asked.models.as_ref().ok()).flatten().map(usable));
    let provider = |asked: &Asked| {
        let mut value = json!({"name": asked.provider, "base_url": asked.base_url, "usable": asked.models.is_ok(),
                "held": asked.held.as_ref().map(Held::json), "breaker": asked.breaker.map(breaker),
                "used": asked.used.iter().map(share).collect::<Vec<_>>()});
        if let Err(Fault { kind, code, what, hint, .. }) = &asked.models {
            value["error"] = json!({"kind": kind.name(), "code": code, "what": what, "hint": hint});
        }
        value
    };
    json!({"models": all, "providers": asked.iter().map(provider).collect::<Vec<_>>()})
}

fn share(used: &quota::supply::Use) -> Value {
    json!({"unit": used.unit, "used": used.used, "most": used.most, "until": used.until})
}

/// Who says what a model costs, for programs.
pub(super) fn source(source: &Source) -> Value {
    let date = (!source.date.is_empty()).then_some(&source.date);
    json!({"by": source.by, "date": date})
}

/// The same for people.
pub(super) fn told(source: &Source) -> String {
    let by = clean::line(&source.by);
    if source.date.is_empty() { by } else { format!("{by} of {}", clean::line(&source.date)) }
}

fn priced(price: Price) -> Value {
    serde_json::to_value(price).unwrap_or_default()
}
