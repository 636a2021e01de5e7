//! What the SDK asks a server: one method of the protocol each, translated and passed on.
//!
//! Decides nothing about tools. Start at [`ServerHandler`]'s implementation.
#![expect(
    deprecated,
    reason = "logging and subscribing belong to protocol versions that clients still speak"
)]

use crate::port::{Asker, Call};
use crate::server::{FOLLOWED, INSTRUCTIONS, Server, said};
use crate::{prompts, resources};
use contract::cancel::Urgency;
use contract::{Digest, Fault};
use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest, CustomResult,
    ElicitRequestParams, ElicitationAction, ElicitationSchema, ErrorCode, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, Implementation, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, LoggingLevel, LoggingMessageNotificationParam,
    PaginatedRequestParams, ProgressNotificationParam, PromptMessage, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ResourceContents, Role,
    ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams,
    UnsubscribeRequestParams,
};
use rmcp::service::{ElicitationMode, RequestContext, RoleServer};
use serde_json::{Map, Value, json};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Methods that are answered here; what comes under their names in another form is told so.
const METHODS: [&str; 13] = [
    "initialize",
    "ping",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "logging/setLevel",
    "completion/complete",
];
/// Pieces of progress that wait to be told; more are left out.
const PROGRESS: usize = 64;
/// How long a person may think about an approval.
const PERSON: Duration = Duration::from_secs(600);
/// Characters of an approval's content that a person is shown.
const CONTENT: usize = 4_000;

impl Server {
    /// A call, with what it tells on its way told to the client that asked for it.
    async fn run(
        &self,
        name: &str,
        args: Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> CallToolResult {
        if let Some(refusal) = self.agreed(name, &args, context).await {
            return refusal;
        }
        let (sender, mut told) = mpsc::channel(PROGRESS);
        let token = context.meta.get_progress_token();
        let asker = Asker {
            // Lossy: what does not fit is not told.
            progress: Arc::new(move |n, words| drop(sender.try_send((n, words)))),
            ..Asker::default()
        };
        let cancel = asker.cancel.clone();
        let tell = async |n: u64, words: String| {
            if let Some(token) = &token {
                let params = ProgressNotificationParam::new(token.clone(), n as f64).with_message(words);
                let _gone = context.peer.notify_progress(params).await;
            }
        };
        let mut running = std::pin::pin!(self.call(name, args, asker));
        let result = loop {
            tokio::select! {
                biased;
                Some((n, words)) = told.recv() => tell(n, words).await,
                result = &mut running => break result,
                () = context.ct.cancelled() => {
                    cancel.cancel(Urgency::Now);
                    return said("cancelled".into());
                }
            }
        };
        while let Ok((n, words)) = told.try_recv() {
            tell(n, words).await;
        }
        result
    }

    /// A yes is asked of the person at the client, where the client can ask. What stands in the way of it otherwise.
    async fn agreed(
        &self,
        name: &str,
        args: &Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> Option<CallToolResult> {
        let asks = name == "session_approve" && args.get("yes") == Some(&Value::Bool(true));
        let modern = context.protocol_version().is_some_and(|version| !version.has_initialize());
        let able = context.peer.supported_elicitation_modes().contains(&ElicitationMode::Form);
        if !asks || modern || !able || self.shared.options.compat {
            return None;
        }
        let session = args.get("session").and_then(Value::as_str).unwrap_or("last").to_owned();
        let call = Call::Status { session, wait_seconds: 0 };
        let status = self.shared.conductor.call(call, Asker::default()).await.ok()?;
        let meant = |asked: &&Value| {
            Some(&asked["id"]) == args.get("approval") && Some(&asked["hash"]) == args.get("hash")
        };
        // Of what is not there the call itself says so.
        let asked = status["waiting"].as_array()?.iter().find(meant)?;
        let content: String = asked["content"].as_str().unwrap_or_default().chars().take(CONTENT).collect();
        let message = format!("{}\n\n{content}", asked["what"].as_str().unwrap_or_default());
        let requested_schema = ElicitationSchema::builder().required_bool("approve").build_unchecked();
        let params = ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema };
        match context.peer.create_elicitation_with_timeout(params, Some(PERSON)).await {
            Ok(answer) if answer.action == ElicitationAction::Accept => {
                let yes = answer.content.is_some_and(|content| content["approve"] == true);
                (!yes).then(|| said("the user did not agree; session_approve with yes: false says no".into()))
            }
            Ok(_) => Some(said("the user did not agree; session_approve with yes: false says no".into())),
            Err(error) => Some(said(format!("the user could not be asked: {error}"))),
        }
    }

    /// Tells a client that wants to hear of it what went wrong.
    async fn log(&self, name: &str, result: &CallToolResult, context: &RequestContext<RoleServer>) {
        let level = *self.client.level.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = level.is_some_and(|level| level <= rank(LoggingLevel::Warning));
        if result.is_error == Some(true) && wanted {
            let mut params = LoggingMessageNotificationParam::new(
                LoggingLevel::Warning,
                json!({"tool": name, "failed": true}),
            );
            params.logger = Some("kapell".into());
            let told = context.peer.notify_logging_message(params).await;
            // A client that has gone hears nothing any more.
            drop(told);
        }
    }
}

fn rank(level: LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Notice => 2,
        LoggingLevel::Warning => 3,
        LoggingLevel::Error => 4,
        LoggingLevel::Critical => 5,
        LoggingLevel::Alert => 6,
        _ => 7,
    }
}

fn not_there(fault: &Fault) -> ErrorData {
    let what = format!("{}{}{}", fault.what, if fault.hint.is_empty() { "" } else { "; " }, fault.hint);
    match fault.code.as_str() {
        "no-resource" | "no-session" | "no-file" | "ambiguous-session" => {
            ErrorData::resource_not_found(what, None)
        }
        _ => ErrorData::internal_error(what, None),
    }
}

/// Where a page begins.
fn from(request: Option<PaginatedRequestParams>) -> Result<usize, ErrorData> {
    match request.and_then(|request| request.cursor) {
        None => Ok(0),
        Some(cursor) => {
            cursor.parse().map_err(|_| ErrorData::invalid_params("the cursor is none of ours", None))
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let tools = ServerCapabilities::builder().enable_tools();
        let capabilities = match self.shared.options.compat {
            true => tools.build(),
            false => tools
                .enable_logging()
                .enable_prompts()
                .enable_resources()
                .enable_resources_subscribe()
                .build(),
        };
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
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // One page holds all of them.
        let begin = from(request)?;
        Ok(ListToolsResult::with_all_items(self.tools().into_iter().skip(begin).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.to_string();
        if !self.knows(&name) && !self.shared.options.compat {
            let shown: String = name.chars().take(100).collect();
            return Err(ErrorData::invalid_params(format!("Unknown tool: {shown}"), None));
        }
        let result = self.run(&name, request.arguments.unwrap_or_default(), &context).await;
        self.log(&name, &result, &context).await;
        Ok(result.into())
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *self.client.level.lock().unwrap_or_else(PoisonError::into_inner) = Some(rank(request.level));
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::list()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let words = prompts::text(&request.name, &request.arguments.unwrap_or_default());
        let words = words.map_err(|why| ErrorData::invalid_params(why, None))?;
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, words)]).into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let begin = from(request)?;
        let shared = &self.shared;
        let mut all = resources::fixed(|name| tokio::task::block_in_place(|| shared.desk.has(name)));
        let board = shared.conductor.call(Call::Board { all: true }, Asker::default()).await;
        let board = board.map_err(|fault| not_there(&fault))?;
        all.extend(board["sessions"].as_array().into_iter().flatten().filter_map(resources::session));
        let end = begin.saturating_add(resources::PAGE);
        let next = (all.len() > end).then(|| end.to_string());
        let page = all.into_iter().skip(begin).take(resources::PAGE).collect();
        let mut result = ListResourcesResult::with_all_items(page);
        result.next_cursor = next;
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (text, kind) = self.content(&request.uri).await.map_err(|fault| not_there(&fault))?;
        let contents = ResourceContents::text(text, request.uri).with_mime_type(kind);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (text, _) = self.content(&request.uri).await.map_err(|fault| not_there(&fault))?;
        let mut followed = self.followed();
        if followed.len() >= FOLLOWED && !followed.contains_key(&request.uri) {
            return Err(ErrorData::invalid_params(
                format!("at most {FOLLOWED} resources are followed"),
                None,
            ));
        }
        followed.insert(request.uri, Some(Digest::of(text.as_bytes())));
        self.client.peer.get_or_init(|| context.peer);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.followed().remove(&request.uri);
        Ok(())
    }
}
