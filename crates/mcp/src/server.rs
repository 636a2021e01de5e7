//! The server as the SDK sees it: lists tools, passes calls on, turns answers into results.
//!
//! Knows what a call costs (its place in a bounded queue), not what it does. Start at [`Server::stdio`].

use crate::lines::Lines;
use crate::native;
use crate::port::{Asker, Conductor};
use contract::cancel::Urgency;
use contract::{Cancel, Fault};
use desk::{Desk, Reply, spec};
use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest, CustomResult,
    ErrorCode, Implementation, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ProtocolVersion, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer, ServiceExt};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};

/// Calls that work on files at once.
const AT_ONCE: usize = 8;
/// Calls that are being worked on or wait for their turn; one more is told to come back.
const WAITING: usize = 2_048;

/// Pieces of progress that wait to be told; more are left out.
const PROGRESS: usize = 64;
/// Methods that are answered here; what comes under their names in another form is told so.
const METHODS: [&str; 4] = ["initialize", "ping", "tools/list", "tools/call"];

const INSTRUCTIONS: &str = "Kapell runs coding sessions on this repository: session_start begins one, session_status tells \
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
pub struct Server(Arc<Inner>);

struct Inner {
    desk: Desk,
    conductor: Arc<dyn Conductor>,
    options: Options,
    running: Semaphore,
    waiting: Semaphore,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Server {
    /// Over these tools.
    pub fn new(desk: Desk, conductor: Arc<dyn Conductor>, options: Options) -> Self {
        let (running, waiting) = (Semaphore::new(AT_ONCE), Semaphore::new(WAITING));
        Self(Arc::new(Inner { desk, conductor, options, running, waiting }))
    }

    /// Serves one client until it has gone.
    pub async fn serve<R, W>(&self, read: R, write: W) -> Result<(), String>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let running = match self.clone().serve_transport(Lines::new(read, write)).await {
            Ok(running) => running,
            // A client that goes before it has begun wanted nothing.
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        running.waiting().await.map(drop).map_err(|error| error.to_string())
    }

    async fn serve_transport<T, E, A>(
        self,
        transport: T,
    ) -> Result<rmcp::service::RunningService<RoleServer, Self>, rmcp::service::ServerInitializeError>
    where
        T: rmcp::transport::IntoTransport<RoleServer, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        ServiceExt::serve(self, transport).await
    }

    /// Serves the client at the other end of standard input and output until it has gone.
    pub async fn stdio(&self) -> Result<(), String> {
        let (read, write) = rmcp::transport::io::stdio_pipes();
        self.serve(read, write).await
    }

    /// What is listed to clients.
    pub fn tools(&self) -> Vec<Tool> {
        let Inner { desk, options, .. } = &*self.0;
        let own = native::TOOLS.iter().map(native_tool);
        let twenty = spec::TOOLS.iter().map(|spec| desk_tool(spec, options.compat));
        match (options.compat, options.listed) {
            (true, _) => twenty.collect(),
            (false, Listed::Native) => own.collect(),
            (false, Listed::Auto) if !desk.is_used() => own.collect(),
            (false, Listed::All | Listed::Auto) => own.chain(twenty).collect(),
        }
    }

    async fn call(&self, name: &str, args: Map<String, Value>, asker: Asker) -> CallToolResult {
        let Inner { desk, conductor, options, running, waiting } = &*self.0;
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
        // Files are read and written here and now; others go on in other threads meanwhile.
        match tokio::task::block_in_place(|| desk.call(name, &args)) {
            Reply::Done(value) => {
                let error = !options.compat && value["success"] == false;
                structured_as(&value, json!({"result": &value}), error)
            }
            Reply::Wrong(why) => said(format!("Input validation error: {why}")),
            Reply::Unknown => said(format!("Unknown tool: {name}")),
        }
    }

    fn knows(&self, name: &str) -> bool {
        spec::find(name).is_some() || (native::find(name).is_some() && !self.0.options.compat)
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
    structured_as(&object.clone(), object, error)
}

fn structured_as(shown: &Value, value: Value, error: bool) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text(shown))]);
    result.structured_content = Some(value);
    result.is_error = Some(error);
    result
}

fn said(what: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(what)])
}

fn failed(fault: &Fault) -> CallToolResult {
    let hint = if fault.hint.is_empty() { String::new() } else { format!("\nhint: {}", fault.hint) };
    said(format!("{}{hint}", fault.what))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let mut info = ServerConfig::new(capabilities).with_instructions(INSTRUCTIONS);
        info.server_info = Implementation::new("kapell", env!("CARGO_PKG_VERSION")).with_title("Kapell");
        info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        info
    }

    /// Comes here when a method is not known, or its parameters are not of its form.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let method: String = request.method.chars().take(100).collect();
        Err(match METHODS.contains(&method.as_str()) {
            true => {
                ErrorData::invalid_params(format!("the parameters of {method} are not of its form"), None)
            }
            false => {
                ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("there is no method {method}"), None)
            }
        })
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.to_string();
        if !self.knows(&name) && !self.0.options.compat {
            let shown: String = name.chars().take(100).collect();
            return Err(ErrorData::invalid_params(format!("Unknown tool: {shown}"), None));
        }
        let (sender, mut told) = mpsc::channel(PROGRESS);
        let token = context.meta.get_progress_token();
        // Lossy: what does not fit is not told.
        let progress = Arc::new(move |n, words| drop(sender.try_send((n, words))));
        let asker = Asker { cancel: Cancel::new(), progress };
        let cancel = asker.cancel.clone();
        let tell = async |n: u64, words: String| {
            if let Some(token) = &token {
                let params = ProgressNotificationParam::new(token.clone(), n as f64).with_message(words);
                let _gone = context.peer.notify_progress(params).await;
            }
        };
        let mut running = std::pin::pin!(self.call(&name, request.arguments.unwrap_or_default(), asker));
        let result = loop {
            tokio::select! {
                biased;
                Some((n, words)) = told.recv() => tell(n, words).await,
                result = &mut running => break result,
                () = context.ct.cancelled() => {
                    cancel.cancel(Urgency::Now);
                    break said("cancelled".into());
                }
            }
        };
        while let Ok((n, words)) = told.try_recv() {
            tell(n, words).await;
        }
        Ok(result.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
