//! Kapell over HTTP: what `kapell serve` answers, as docs/api.md tells it, to programs and to the console.
//!
//! A surface: translates requests and does nothing itself. What it asks Kapell goes through [`Host`], which the binary
//! fulfils; no engine, no store, no environment here. Start at [`Api::routes`]; who is let in is `door`'s matter.

mod body;
mod document;
mod feed;
mod files;
pub mod life;
mod login;
mod measure;
mod page;
mod port;
mod problem;
mod rate;
mod read;
mod route;
mod shape;
mod term;
mod write;

pub use feed::{Hub, Source, Told};
pub use page::Page;
pub use port::{Act, Filter, Host, Key, Read};
pub use problem::Refused;
pub use read::{Acts, Look, View};
pub use term::{Hears, Line, Said, Shows};
pub use write::order::{Order, Terminal};
pub use write::wish::{Decision, Rule, Say, Wish};

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use contract::{Fault, Kind};
use route::Route;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

/// What is said of the daemon to whoever greets it.
#[derive(Debug, Clone)]
pub struct About {
    /// Of the binary.
    pub version: &'static str,
    /// Of records for programs.
    pub schema: u32,
    /// Of this start.
    pub boot: String,
}

/// What every route works with.
pub struct Api {
    host: Arc<dyn Host>,
    hub: Hub,
    about: About,
    /// True once the daemon is on its way out.
    closing: watch::Receiver<bool>,
    rates: rate::Rates,
    logins: Arc<login::Book>,
    named: read::Named,
    seats: term::Seats,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("about", &self.about).finish_non_exhaustive()
    }
}

/// What a handler gives.
type Answered = Result<Answer, Refused>;

/// A JSON document that goes out as it is.
#[derive(Debug)]
struct Answer(Value);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([("content-type", "application/json")], self.0.to_string()).into_response()
    }
}

impl Api {
    /// Over this host; `closing` turns true when the daemon begins to end.
    pub fn new(
        host: Arc<dyn Host>,
        source: Arc<dyn Source>,
        about: About,
        closing: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let logins = Arc::new(login::Book::new(Arc::clone(&host)));
        let hub = Hub::new(source, about.clone(), closing.clone());
        Arc::new(Self {
            host,
            hub,
            about,
            closing,
            rates: rate::Rates::default(),
            logins,
            named: read::Named::default(),
            seats: term::Seats::default(),
        })
    }

    /// What follows the journal for all who watch. Somebody has to let it run.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Every route, to be put behind a listener; [`Api::around`] belongs around what that says.
    pub fn routes(self: &Arc<Self>) -> Router {
        let all = route::router(self, table()).merge(files::routes());
        let all = all.fallback(async || Refused::of_status(StatusCode::NOT_FOUND));
        all.layer(from_fn_with_state(Arc::clone(self), rate::pass))
    }

    /// Names each request, and words every refusal as RFC 9457 wants it, whoever refused.
    pub fn around(self: &Arc<Self>, routes: Router) -> Router {
        routes.layer(from_fn_with_state(Arc::clone(self), problem::dress))
    }

    /// Who may come in over the loopback besides programs with the token.
    pub fn logins(&self) -> Arc<dyn door::Logins> {
        Arc::<login::Book>::clone(&self.logins)
    }

    /// Browsers find it at this port of the loopback.
    pub fn listens(&self, port: u16) {
        self.logins.listens(port);
    }

    async fn read(&self, read: Read) -> Answered {
        self.host.read(read).await.map(Answer)
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// Every route there is, but for the console's files, whose names change with what is in them.
fn table() -> Vec<Route> {
    let parts = [
        life::table(),
        login::table(),
        read::table(),
        write::table(),
        measure::table(),
        term::table(),
        feed::table(),
        files::table(),
    ];
    parts.into_iter().flatten().collect()
}

/// The OpenAPI document of every route, as `docs/openapi.json` has it.
pub fn openapi() -> String {
    document::text()
}

/// The daemon is on its way out.
fn closing() -> Refused {
    let fault = Fault::new(Kind::Transient, "closing", "this daemon is ending");
    Refused::from(fault.hint("ask again in a moment: what replaces it goes on with every session"))
}
