//! The same server over HTTP: routes for whoever is let in by the listener they are mounted on.
//!
//! Knows paths and how many clients there may be; who may come is the listener's matter. Start at [`Server::routes`];
//! the older transport is in `events.rs`.

use crate::events::Streams;
use crate::lines::FRAME_BYTES;
use crate::server::Server;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where the protocol is spoken: streamable HTTP, from protocol 2025-03-26 on.
pub const PATH: &str = "/mcp";
/// Where it was spoken before: a stream of events, and messages posted to the address that its first event tells.
pub const EVENTS: &str = "/sse";

/// Clients whose state is kept; who was not heard of for longest makes room for the next one.
const CLIENTS: usize = 1_024;
/// A client that is not heard of for so long has to greet again. People leave an agent open over night.
const IDLE: Duration = Duration::from_secs(12 * 3_600);
const SESSION_ID: &str = "mcp-session-id";

/// Who was heard of when.
#[derive(Default)]
struct Heard {
    /// Grows with every request.
    moment: u64,
    last: HashMap<String, u64>,
}

/// The clients there are.
struct Clients {
    sessions: Arc<LocalSessionManager>,
    heard: Mutex<Heard>,
}

impl Server {
    /// The protocol's routes, for any number of clients. [`Server::tell`] runs beside whoever serves them.
    pub fn routes(&self) -> Router {
        let server = self.clone();
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(IDLE);
        let sessions = Arc::new(sessions);
        let config = StreamableHttpServerConfig::default().with_max_request_body_bytes(FRAME_BYTES);
        let service = StreamableHttpService::new(move || Ok(server.told()), Arc::clone(&sessions), config);
        let clients = Arc::new(Clients { sessions, heard: Mutex::default() });
        let newer = Router::new().route_service(PATH, service).layer(from_fn_with_state(clients, bounded));
        let older = Router::new()
            .route(EVENTS, get(Streams::open))
            .route(Streams::MESSAGES, post(Streams::message))
            .with_state(Arc::new(Streams::new(self.clone())));
        newer.merge(older)
    }
}

/// Makes room before a client is greeted.
async fn bounded(State(clients): State<Arc<Clients>>, request: Request, next: Next) -> Response {
    let session = request.headers().get(SESSION_ID).and_then(|value| value.to_str().ok());
    match session {
        Some(id) => clients.hears(id),
        None if request.method() == Method::POST => clients.makes_room().await,
        None => {}
    }
    let ends = request.method() == Method::DELETE;
    let mut response = next.run(request).await;
    // Done when it is answered: clients that are told "accepted" warn their users.
    if ends && response.status() == StatusCode::ACCEPTED {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

impl Clients {
    fn hears(&self, id: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.moment += 1;
        let moment = heard.moment;
        let known = heard.last.len();
        match heard.last.get_mut(id) {
            Some(last) => *last = moment,
            // Names that nobody has are only counted, and forgotten when there is no room.
            None if known < 2 * CLIENTS => drop(heard.last.insert(id.to_owned(), moment)),
            None => {}
        }
    }

    async fn makes_room(&self) {
        let known: Vec<_> = {
            let sessions = self.sessions.sessions.read().await;
            if sessions.len() < CLIENTS {
                return;
            }
            sessions.keys().cloned().collect()
        };
        let longest = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.last.retain(|id, _| known.iter().any(|known| **known == **id));
            known.into_iter().min_by_key(|id| heard.last.get(&**id).copied().unwrap_or_default())
        };
        if let Some(id) = longest {
            // One that has gone by itself has made room as well.
            drop(self.sessions.close_session(&id).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_was_not_heard_of_for_longest_makes_room() {
        let sessions = Arc::new(LocalSessionManager::default());
        let clients = Clients { sessions: Arc::clone(&sessions), heard: Mutex::default() };
        let mut ends = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..CLIENTS {
            let (id, end) = sessions.create_session().await.unwrap();
            ends.push(end);
            ids.push(id);
        }
        ids.iter().for_each(|id| clients.hears(id));
        clients.hears(&ids[0]);
        clients.makes_room().await;
        let there = sessions.sessions.read().await;
        assert!(there.len() == CLIENTS - 1 && there.contains_key(&ids[0]) && !there.contains_key(&ids[1]));
    }
}
