//! Who sends what a person has asked for, beside the sessions of this process: reads configuration and variables.
//!
//! What is sent and how often it is tried is `courier`'s. Start at [`Sending::begin`].

use crate::app::{App, Wired, variable};
use crate::config::Config;
use crate::config::signal::{ENV, Target};
use crate::exit::Failure;
use crate::gauges;
use crate::secrets;
use api::life::Run;
use contract::journal::Journal;
use contract::port::Clock;
use courier::{Collector, Courier, Ntfy, Options, Webhook};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Where a collector is when nobody says otherwise, by OpenTelemetry's own rules.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// A sender at work.
#[derive(Debug)]
pub(crate) struct Sending {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Sending {
    /// Begins to send, if this configuration wants anything sent.
    pub(crate) fn begin(app: &App, wired: &Wired, config: &Config) -> Result<Option<Self>, Failure> {
        let options = options(app, wired, config)?;
        if !options.is_needed() {
            return Ok(None);
        }
        let journal: Arc<dyn Journal> = Arc::<journal::Sqlite>::clone(&wired.store);
        let clock: Arc<dyn Clock> = Arc::<crate::clock::System>::clone(&app.clock);
        let (stop, stopped) = oneshot::channel();
        let courier = Courier::new(journal, clock, options);
        let task = tokio::spawn(courier.run(async { drop(stopped.await) }));
        Ok(Some(Self { stop, task }))
    }

    /// Sends what is left, within a few seconds.
    pub(crate) async fn end(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "not everything was sent");
        }
    }
}

fn options(app: &App, wired: &Wired, config: &Config) -> Result<Options, Failure> {
    let signal = &config.signal;
    let secret = |target: &Target| target.secret_env.as_deref().map(|name| value(app, name)).transpose();
    let webhook = match &signal.webhook {
        Some(target) => {
            let secret = secret(target)?.map(String::into_bytes);
            Some(Webhook { url: target.url.clone(), secret, on: target.on.clone() })
        }
        None => None,
    };
    let ntfy = match &signal.ntfy {
        Some(target) => {
            let (url, topic) = (target.url.clone(), target.topic.clone());
            Some(Ntfy { url, topic, token: secret(target)?, on: target.on.clone() })
        }
        None => None,
    };
    let run = Run::new(app.home.run_dir());
    let (engine, began) = (wired.engine.clone(), app.now());
    Ok(Options {
        dir: app.home.state.join("outbox"),
        webhook,
        ntfy,
        otlp: signal.otlp.as_deref().map(|url| collector(app, url)).transpose()?,
        sentry: signal.sentry.clone(),
        version: env!("CARGO_PKG_VERSION"),
        console: Box::new(move || run.found().filter(|_| run.is_ruled())?.url),
        plain: secrets::plain,
        process: Box::new(move || gauges::process(&engine, began)),
    })
}

/// A secret that a variable holds. One that is not there is a mistake: unsigned, nobody could tell who speaks.
fn value(app: &App, name: &str) -> Result<String, Failure> {
    let value = variable(name).filter(|value| !value.is_empty()).ok_or_else(|| {
        let what = format!("the variable {name}, which [notify] in config.toml names, is not set");
        Failure::usage("no-secret", what, format!("set {name}, or take its line out"))
    })?;
    app.secrets.learn(name, &value);
    Ok(value)
}

fn collector(app: &App, url: &str) -> Result<Collector, Failure> {
    let url = match url {
        ENV => variable(ENDPOINT).filter(|url| !url.is_empty()).ok_or_else(|| {
            let what = format!("telemetry.otlp is \"{ENV}\", and {ENDPOINT} is not set");
            Failure::usage(
                "no-collector",
                what,
                format!("set {ENDPOINT}, or write the address in config.toml"),
            )
        })?,
        url => url.to_owned(),
    };
    courier::address(&url)
        .map_err(|why| Failure::usage("bad-collector", why, format!("correct {ENDPOINT}")))?;
    let headers = variable(HEADERS).unwrap_or_default();
    let pairs = headers.split(',').filter_map(|pair| pair.split_once('='));
    let headers: Vec<(String, String)> =
        pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    headers.iter().for_each(|(name, value)| app.secrets.learn(name, value));
    Ok(Collector { url, headers })
}
