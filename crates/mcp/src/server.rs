//! The server: which tools are listed, calls passed on, answers turned into results.
//!
//! Knows what a call costs (its place in a bounded queue), not what it does. Start at [`Server::stdio`]; what the SDK asks
//! is answered in `handler.rs`.

use crate::kept::{Kept, Made};
use crate::lines::Lines;
use crate::native;
use crate::port::{Asker, Conductor};
use crate::resources::Place;
use contract::{Digest, Fault};
use desk::{Desk, Reply, spec};
use rmcp::model::{CallToolResult, ContentBlock, ResourceUpdatedNotificationParam, Tool, ToolAnnotations};
use rmcp::service::{Peer, RoleServer, RunningService, ServerInitializeError, ServiceExt};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

/// Calls that work on files at once.
const AT_ONCE: usize = 8;
/// Calls that are being worked on or wait for their turn; one more is told to come back.
const WAITING: usize = 2_048;

/// Between two looks at what a client follows.
const LOOK: Duration = Duration::from_millis(500);
/// Resources that one client may follow.
pub(crate) const FOLLOWED: usize = 100;

pub(crate) const INSTRUCTIONS: &str = "Kapell runs coding sessions on this repository: session_start begins one, session_status tells \
    what it waits for, session_answer and session_approve let it go on, session_verdict says what its checks found. Approve only \
    what the user agreed to.";

/// Which tools are listed; all of them can be called, by either name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Kapell's own.
    Native,
    /// Kapell's own and the twenty.
    All,
    /// The twenty where the directory has their files, else Kapell's own only.
    Auto,
}

/// How the server behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// As the Loop-Orchestrator server: only the twenty, under their suffixed names, and a failure is no error.
    pub compat: bool,
    /// Otherwise: which.
    pub listed: Listed,
}

/// Serves any number of clients.
#[derive(Clone)]
pub struct Server {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Arc<Client>,
}

/// What all clients share.
pub(crate) struct Shared {
    pub(crate) desk: Desk,
    pub(crate) conductor: Arc<dyn Conductor>,
    pub(crate) options: Options,
    running: Semaphore,
    waiting: Semaphore,
    kept: Kept,
    /// Those that came over HTTP and are told of what they follow by [`Server::tell`].
    told: Mutex<Vec<Weak<Client>>>,
}

/// What one client asked for.
#[derive(Default)]
pub(crate) struct Client {
    /// How it is told of what it follows; nothing before it follows anything.
    pub(crate) peer: OnceLock<Peer<RoleServer>>,
    /// Resources it follows, with what they held when it was told last.
    pub(crate) follows: Mutex<BTreeMap<String, Option<Digest>>>,
    /// From which rank on it wants to be told; nothing before it says so.
    pub(crate) level: Mutex<Option<u8>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Server {
    /// Over these tools.
    pub fn new(desk: Desk, conductor: Arc<dyn Conductor>, options: Options) -> Self {
        let (running, waiting) = (Semaphore::new(AT_ONCE), Semaphore::new(WAITING));
        let (kept, told) = (Kept::default(), Mutex::default());
        let shared = Arc::new(Shared { desk, conductor, options, running, waiting, kept, told });
        Self { shared, client: Arc::default() }
    }

    /// For another client.
    pub(crate) fn another(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), client: Arc::default() }
    }

    /// For another client, that [`Self::tell`] tells of what it follows.
    pub(crate) fn told(&self) -> Self {
        let other = self.another();
        let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|client| client.strong_count() > 0);
        told.push(Arc::downgrade(&other.client));
        other
    }

    /// Tells the clients of [`Self::routes`] of changes to what they follow. Never ends.
    pub async fn tell(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for client in told.iter().filter_map(Weak::upgrade) {
                let Some(peer) = client.peer.get().cloned() else { continue };
                if !peer.is_transport_closed() {
                    Self { shared: Arc::clone(&self.shared), client }.look(&peer).await;
                }
            }
        }
    }

    /// Serves one client until it has gone.
    pub async fn serve<R, W>(&self, read: R, write: W) -> Result<(), String>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let own = self.another();
        let running: RunningService<RoleServer, Self> =
            match own.clone().serve_on(Lines::new(read, write)).await {
                Ok(running) => running,
                // A client that goes before it has begun wanted nothing.
                Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
        let peer = running.peer().clone();
        tokio::select! {
            ended = running.waiting() => ended.map(drop).map_err(|error| error.to_string()),
            () = own.follow(&peer) => Ok(()),
        }
    }

    async fn serve_on<R, W>(
        self,
        lines: Lines<R, W>,
    ) -> Result<RunningService<RoleServer, Self>, ServerInitializeError>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        ServiceExt::serve(self, lines).await
    }

    /// Tells a client of changes to what it follows, for as long as it is there.
    async fn follow(&self, peer: &Peer<RoleServer>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look(peer).await;
        }
    }

    /// What a client follows is looked at once.
    async fn look(&self, peer: &Peer<RoleServer>) {
        let followed: Vec<String> = self.followed().keys().cloned().collect();
        for uri in followed {
            let now = self.content(&uri).await.ok().map(|(text, _)| Digest::of(text.as_bytes()));
            let changed = match self.followed().get_mut(&uri) {
                Some(held) if *held != now => {
                    *held = now;
                    true
                }
                _ => false,
            };
            if changed {
                // A client that has gone is noticed by whoever waits for it.
                let _gone = peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await;
            }
        }
    }

    pub(crate) fn followed(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<Digest>>> {
        self.client.follows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands at an address, and its type.
    pub(crate) async fn content(&self, uri: &str) -> Result<(String, &'static str), Fault> {
        match Place::named(uri) {
            Some(Place::Asked(call)) => {
                let value = self.shared.conductor.call(call, Asker::default()).await?;
                Ok((text(&value), "application/json"))
            }
            Some(Place::File(name, kind)) => {
                let shown = tokio::task::block_in_place(|| {
                    let read = self.shared.desk.file(name)?;
                    let mut shown = Value::String(String::from_utf8_lossy(&read).into_owned());
                    self.shared.conductor.clean(&mut shown, false);
                    Ok::<_, Fault>(shown)
                })?;
                Ok((shown.as_str().unwrap_or_default().to_owned(), kind))
            }
            None => {
                let shown: String = uri.chars().take(200).collect();
                Err(Fault::new(
                    contract::Kind::UserFixable,
                    "no-resource",
                    format!("there is no resource {shown}"),
                )
                .hint("resources/list and resources/templates/list tell what there is"))
            }
        }
    }

    /// Serves the client at the other end of standard input and output until it has gone.
    pub async fn stdio(&self) -> Result<(), String> {
        let (read, write) = rmcp::transport::io::stdio_pipes();
        self.serve(read, write).await
    }

    /// What is listed to clients.
    pub fn tools(&self) -> Vec<Tool> {
        let Shared { desk, options, .. } = &*self.shared;
        let own = native::TOOLS.iter().map(native_tool);
        let twenty = spec::TOOLS.iter().map(|spec| desk_tool(spec, options.compat));
        match (options.compat, options.listed) {
            (true, _) => twenty.collect(),
            (false, Listed::Native) => own.collect(),
            (false, Listed::Auto) if !desk.is_used() => own.collect(),
            (false, Listed::All | Listed::Auto) => own.chain(twenty).collect(),
        }
    }

    pub(crate) async fn call(&self, name: &str, args: Map<String, Value>, asker: Asker) -> CallToolResult {
        let Shared { desk, conductor, options, running, waiting, .. } = &*self.shared;
        let Ok(_waiting) = waiting.try_acquire() else {
            return said(format!("busy: {WAITING} calls wait already; call again"));
        };
        if let Some(spec) = native::find(name).filter(|_| !options.compat) {
            return match (spec.read)(args) {
                Ok(call) => match conductor.call(call, asker).await {
                    Ok(value) => structured(value, false),
                    Err(fault) => failed(&fault),
                },
                Err(why) => said(format!("{name}: {why}")),
            };
        }
        let Ok(_running) = running.acquire().await else { return said("the server is ending".into()) };
        let found = spec::find(name);
        let writes = found.is_some_and(|spec| !spec.read_only);
        let args = Value::Object(args);
        if writes && let Some(why) = conductor.written_back(&args) {
            return said(why);
        }
        let steady = found.filter(|spec| spec.is_steady()).map(|spec| format!("{} {args}", spec.name));
        let made = steady.as_ref().and_then(|_| self.made());
        if let (Some(key), Some(made)) = (&steady, &made)
            && let Some((value, text)) = self.shared.kept.find(key, made, &desk.told_at())
        {
            desk.counted();
            return replied(text, value, options.compat);
        }
        let Value::Object(args) = args else { return said("arguments are an object".into()) };
        // Files are read and written here and now; others go on in other threads meanwhile.
        let called = || match desk.call(name, &args) {
            Reply::Done(mut value) => {
                conductor.clean(&mut value, writes);
                Reply::Done(value)
            }
            other => other,
        };
        match tokio::task::block_in_place(called) {
            Reply::Done(value) => {
                let text = text(&value);
                // Read while nothing changed: it is good until something does.
                if let (Some(key), Some(made)) = (steady, made)
                    && value["success"] == true
                    && desk.generation() == Some(made.generation)
                {
                    self.shared.kept.keep(key, made, &value, &text);
                }
                replied(text, value, options.compat)
            }
            Reply::Wrong(why) => said(format!("Input validation error: {why}")),
            Reply::Unknown => said(format!("Unknown tool: {name}")),
        }
    }

    /// What an answer would be made from now; `None`: nobody can tell whether it stays so.
    fn made(&self) -> Option<Made> {
        let cleaner = self.shared.conductor.cleaner();
        Some(Made { generation: self.shared.desk.generation()?, cleaner })
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        spec::find(name).is_some() || (native::find(name).is_some() && !self.shared.options.compat)
    }
}

fn native_tool(spec: &native::Spec) -> Tool {
    let hints = ToolAnnotations::new().read_only(spec.read_only).destructive(spec.destructive);
    Tool::new(spec.name, spec.about, Arc::new(spec.input_schema()))
        .with_raw_output_schema(Arc::new(spec.output_schema()))
        // Only what differs from what a client assumes is said: every word is read by a model.
        .with_annotations(if spec.read_only { ToolAnnotations::new().read_only(true) } else { hints })
}

fn desk_tool(spec: &'static spec::Spec, suffixed: bool) -> Tool {
    let name = if suffixed { format!("{}{}", spec.name, spec::SUFFIX) } else { spec.name.to_owned() };
    let tool = Tool::new(name, spec.about, Arc::new(spec.input()))
        .with_raw_output_schema(Arc::new(spec::Spec::output()));
    if spec.read_only { tool.with_annotations(ToolAnnotations::new().read_only(true)) } else { tool }
}

fn text(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn structured(value: Value, error: bool) -> CallToolResult {
    let object = if value.is_object() { value } else { json!({"result": value}) };
    structured_as(text(&object), object, error)
}

/// The reply of one of the twenty.
fn replied(text: String, value: Value, compat: bool) -> CallToolResult {
    let error = !compat && value["success"] == false;
    let mut object = Map::new();
    object.insert("result".to_owned(), value);
    structured_as(text, Value::Object(object), error)
}

fn structured_as(text: String, value: Value, error: bool) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(value);
    result.is_error = Some(error);
    result
}

pub(crate) fn said(what: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(what)])
}

fn failed(fault: &Fault) -> CallToolResult {
    let hint = if fault.hint.is_empty() { String::new() } else { format!("\nhint: {}", fault.hint) };
    said(format!("{}{hint}", fault.what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::ListToolsResult;

    /// Tokens of the whole list of Kapell's own tools, as a client gets it.
    #[test]
    fn the_whole_list_stays_below_two_thousand_tokens() {
        let tools: Vec<Tool> = native::TOOLS.iter().map(native_tool).collect();
        let list = serde_json::to_string(&ListToolsResult::with_all_items(tools)).unwrap();
        let tokens = tiktoken::get_encoding("o200k_base").unwrap().count(&list);
        assert!(tokens < 2_000, "{tokens} tokens");
        assert!(tokens > 500, "{tokens} tokens are too few to be all of it");
    }
}
