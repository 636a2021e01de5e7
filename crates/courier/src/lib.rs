//! Sends what a person has asked for, to the addresses that person wrote down: notices, spans, measures, failures.
//!
//! Reads committed records beside those who work; nobody waits for it. Of all processes of an installation one sends at a
//! time. Reads no configuration and no environment. Start at [`Courier::run`].
#![warn(missing_docs)]

mod cursor;
mod follow;
mod outbox;
mod post;

pub use post::address;

use contract::Timestamp;
use contract::journal::Journal;
use contract::port::Clock;
use follow::Follow;
use outbox::Outbox;
use post::{Fate, Post, Poster};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::metric::Process;
use telemetry::notice::{self, Kind, Notice};
use telemetry::sentry::Dsn;
use telemetry::station::Station;
use telemetry::{otlp, sentry};

/// Between two looks, when something happens; also how often it is looked whether another process has stopped sending.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks for what other processes write.
const CALM: Duration = Duration::from_secs(3);
/// How long the last look and its posts may take.
const LAST: Duration = Duration::from_secs(5);
/// Between two posts of measures, milliseconds.
const MEASURES_MS: u64 = 60_000;
/// Spans of one post, and spans that are kept while nobody takes them.
const SPANS: usize = 512;
const SPANS_KEPT: usize = 8_192;
/// After a post of spans or measures that failed, milliseconds.
const REST_MS: u64 = 10_000;

/// A webhook.
#[derive(Clone)]
pub struct Webhook {
    /// Where it is posted to.
    pub url: String,
    /// What it is signed with; `None` = it is not.
    pub secret: Option<Vec<u8>>,
    /// Which news.
    pub on: Vec<Kind>,
}

/// A topic of ntfy.
#[derive(Clone)]
pub struct Ntfy {
    /// The server.
    pub url: String,
    /// The topic.
    pub topic: String,
    /// Lets one write to it; `None` = everybody may.
    pub token: Option<String>,
    /// Which news.
    pub on: Vec<Kind>,
}

/// A collector of OpenTelemetry.
#[derive(Clone)]
pub struct Collector {
    /// Its base address: `/v1/traces` and `/v1/metrics` are below it.
    pub url: String,
    /// Headers it wants.
    pub headers: Vec<(String, String)>,
}

/// Who is told what.
pub struct Options {
    /// Where undelivered notices wait, and how far everything was read. Made when missing.
    pub dir: PathBuf,
    /// A webhook.
    pub webhook: Option<Webhook>,
    /// A topic.
    pub ntfy: Option<Ntfy>,
    /// A collector.
    pub otlp: Option<Collector>,
    /// A project of Sentry.
    pub sentry: Option<Dsn>,
    /// Of the program.
    pub version: &'static str,
    /// Where a person can look at sessions now; `None` = nowhere.
    pub console: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Takes secrets out of a text.
    pub plain: fn(&str) -> String,
    /// What this process is like now.
    pub process: Box<dyn Fn() -> Process + Send + Sync>,
}

impl Options {
    /// Is anybody told anything?
    pub fn is_needed(&self) -> bool {
        self.webhook.is_some() || self.ntfy.is_some() || self.otlp.is_some() || self.sentry.is_some()
    }
}

/// What is shown of a value that holds secrets.
macro_rules! discreet {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}

discreet! {
    Webhook { url, on }
    Ntfy { url, topic, on }
    Collector { url }
    Options { dir, webhook, ntfy, otlp, sentry }
}

/// Whoever is told by a notice; the name stands in files.
const WEBHOOK: &str = "webhook";
const NTFY: &str = "ntfy";

/// One process's sender.
pub struct Courier {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    options: Options,
    poster: Poster,
    began: Timestamp,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("dir", &self.options.dir).finish_non_exhaustive()
    }
}

impl Courier {
    /// Sends nothing yet. What is older than this moment stays untold, unless an earlier sender had begun with it.
    pub fn new(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, options: Options) -> Self {
        let (began, poster) = (clock.now(), Poster::new(options.version));
        Self { journal, clock, options, poster, began }
    }

    /// Sends until `stop` resolves; then looks and posts once more, within five seconds.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let held = loop {
            match self.alone() {
                Some(held) => break held,
                None => tokio::select! {
                    // Whoever sends now sees what this process has written.
                    () = &mut stop => return,
                    () = tokio::time::sleep(LOOK) => {}
                },
            }
        };
        let mut round = Round::new(&self);
        loop {
            let changed = self.journal.changed();
            // Never dropped in the middle: what was found and not put down would be lost.
            let over = {
                let mut going = std::pin::pin!(round.go());
                tokio::select! {
                    () = &mut going => false,
                    () = &mut stop => {
                        let _ = tokio::time::timeout(LAST, going).await;
                        true
                    }
                }
            };
            if over {
                break;
            }
            tokio::select! {
                () = &mut stop => break,
                () = async { tokio::join!(changed, tokio::time::sleep(LOOK)); } => {}
                () = tokio::time::sleep(CALM) => {}
            }
        }
        if tokio::time::timeout(LAST, round.last()).await.is_err() {
            tracing::warn!("not everything was sent in time; notices are kept for the next sender");
        }
        drop(held);
    }

    /// The right to send, which goes with the value; `None`: another process has it, or there is no place for it.
    fn alone(&self) -> Option<File> {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        let dir = &self.options.dir;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        let open =
            |()| File::options().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"));
        let file = made.and_then(open).map_err(|error| tracing::warn!(%error, "nothing is sent")).ok()?;
        match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
        }
    }
}

/// What one sender has before it.
struct Round<'a> {
    of: &'a Courier,
    follow: Follow,
    outbox: Outbox,
    station: Station,
    spans: Vec<Value>,
    /// No spans and measures before this moment.
    rests_until: Timestamp,
    measured: Timestamp,
}

impl<'a> Round<'a> {
    fn new(of: &'a Courier) -> Self {
        Self {
            of,
            follow: Follow::open(&of.options.dir, of.began),
            outbox: Outbox::open(&of.options.dir),
            station: Station::default(),
            spans: Vec::new(),
            rests_until: Timestamp(0),
            measured: of.clock.now(),
        }
    }

    fn now(&self) -> Timestamp {
        self.of.clock.now()
    }

    /// One look, and what is due.
    async fn go(&mut self) {
        self.look().await;
        tokio::join!(
            deliver(self.of, &mut self.outbox),
            collect(self.of, &mut self.spans, &mut self.rests_until),
        );
        self.measure(false).await;
        self.failures().await;
    }

    /// The last one.
    async fn last(&mut self) {
        self.look().await;
        self.rests_until = Timestamp(0);
        tokio::join!(
            deliver(self.of, &mut self.outbox),
            collect(self.of, &mut self.spans, &mut self.rests_until),
        );
        self.measure(true).await;
        self.failures().await;
    }

    async fn look(&mut self) {
        let found = match self.follow.look(&*self.of.journal).await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "not looked"),
        };
        if self.of.options.otlp.is_some() {
            self.spans.extend(found.spans);
            let over = self.spans.len().saturating_sub(SPANS_KEPT);
            self.spans.drain(..over);
        }
        for (notice, goal) in found.notices {
            self.tell(&notice, &goal).await;
        }
        // Only now: what was found is written down.
        self.follow.keep(self.now());
    }

    /// Puts a notice down for everybody who wants such.
    async fn tell(&mut self, notice: &Notice, goal: &contract::Digest) {
        let options = &self.of.options;
        if notice.at.plus(notice::STALE_MS) < self.now() {
            return;
        }
        let goal = self.of.journal.blob(*goal).await.unwrap_or_default();
        let goal = String::from_utf8_lossy(&goal);
        let goal = (options.plain)(goal.lines().find(|line| !line.trim().is_empty()).unwrap_or_default());
        let url = (options.console)().map_or_else(String::new, |url| format!("{url}/#/s/{}", notice.session));
        if options.webhook.as_ref().is_some_and(|webhook| webhook.on.contains(&notice.kind)) {
            self.outbox.put(WEBHOOK, &notice.id, notice::webhook(notice, &goal, &url), self.now());
        }
        if let Some(ntfy) = options.ntfy.as_ref().filter(|ntfy| ntfy.on.contains(&notice.kind)) {
            self.outbox.put(NTFY, &notice.id, notice::ntfy(notice, &goal, &url, &ntfy.topic), self.now());
        }
    }

    /// Measures, every minute and at the end.
    async fn measure(&mut self, last: bool) {
        let now = self.now();
        let Some(collector) = &self.of.options.otlp else { return };
        if !last && (now.since(self.measured) < MEASURES_MS || now < self.rests_until) {
            return;
        }
        self.measured = now;
        let process = (self.of.options.process)();
        let Ok(sheet) = self.station.sheet(&*self.of.journal, now, Some(&process)).await else { return };
        let body = otlp::metrics(&sheet, now, self.of.options.version);
        self.of.poster.post(collected(collector, "metrics", &body)).await;
    }

    /// What failed since the last look, each kind of failure once in an hour.
    async fn failures(&mut self) {
        let Some(dsn) = &self.of.options.sentry else { return };
        let (now, version) = (self.now(), self.of.options.version);
        for one in self.follow.failures(now) {
            let headers = vec![("x-sentry-auth".to_owned(), dsn.auth(version))];
            let body = sentry::envelope(&one, now, version);
            let content = "application/x-sentry-envelope";
            self.of.poster.post(Post { url: dsn.url.clone(), content, headers, body }).await;
        }
    }
}

fn collected(collector: &Collector, what: &str, body: &Value) -> Post {
    Post {
        url: format!("{}/v1/{what}", collector.url.trim_end_matches('/')),
        content: "application/json",
        headers: collector.headers.clone(),
        body: body.to_string().into_bytes(),
    }
}

/// Posts the spans that wait.
async fn collect(of: &Courier, spans: &mut Vec<Value>, rests_until: &mut Timestamp) {
    let Some(collector) = &of.options.otlp else { return };
    while !spans.is_empty() && of.clock.now() >= *rests_until {
        let some: Vec<Value> = spans.iter().take(SPANS).cloned().collect();
        let n = some.len();
        let body = otlp::trace::request(some, of.options.version);
        match of.poster.post(collected(collector, "traces", &body)).await {
            Fate::Again => *rests_until = of.clock.now().plus(REST_MS),
            // What it refuses it would refuse again.
            Fate::Taken | Fate::Refused => drop(spans.drain(..n)),
        }
    }
}

/// Tries every notice that is due once. Who takes one not is not tried with the next: a round must not take as long as
/// all of them would.
async fn deliver(of: &Courier, outbox: &mut Outbox) {
    let mut unwell = BTreeSet::new();
    for id in outbox.due(of.clock.now()) {
        let Some(letter) = outbox.get(&id).filter(|letter| !unwell.contains(&letter.to)) else { continue };
        let to = letter.to.clone();
        let Some(post) = addressed(of, &letter.to, letter.body.to_string()) else {
            // Nobody wants it any more.
            outbox.done(&id);
            continue;
        };
        match of.poster.post(post).await {
            Fate::Taken | Fate::Refused => outbox.done(&id),
            Fate::Again => {
                outbox.failed(&id, of.clock.now());
                unwell.insert(to);
            }
        }
    }
}

fn addressed(of: &Courier, to: &str, body: String) -> Option<Post> {
    let (body, now) = (body.into_bytes(), of.clock.now());
    let content = "application/json";
    match to {
        WEBHOOK => {
            let webhook = of.options.webhook.as_ref()?;
            let sign =
                |secret: &Vec<u8>| ("kapell-signature".to_owned(), notice::signature(secret, now, &body));
            let headers = webhook.secret.iter().map(sign).collect();
            Some(Post { url: webhook.url.clone(), content, headers, body })
        }
        NTFY => {
            let ntfy = of.options.ntfy.as_ref()?;
            let bearer = |token: &String| ("authorization".to_owned(), format!("Bearer {token}"));
            let headers = ntfy.token.iter().map(bearer).collect();
            Some(Post { url: ntfy.url.clone(), content, headers, body })
        }
        _ => None,
    }
}
