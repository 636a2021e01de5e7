//! `mcp`: Kapell as a server of the Model Context Protocol, for the client that started it; and the servers of others
//! that its own agents use (`servers.rs`).
//!
//! Wires the surface (`mcp`) and the twenty tools (`desk`) to the store; what native calls do is in `calls.rs`, HTTP is
//! opened in `http.rs`, what is read of the old server's variables in `settings.rs`. Start at [`run`].

mod bridge;
mod calls;
pub(in crate::cmd) mod find;
mod http;
mod servers;
mod settings;

use crate::app::App;
use crate::cmd::work::Work;
use crate::exit::{self, Failure};
use bridge::{Bridge, Recorder};
use desk::Desk;
pub(crate) use servers::{Verb, declared};
use std::sync::Arc;

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) others: Option<Verb>,
    /// Behave as another server: its tools by its names, and its environment variables
    #[arg(long, value_enum, value_name = "SERVER")]
    pub(crate) compat: Option<Compat>,
    /// Which tools are listed; every one can be called. auto: the twenty too, where the directory has their files
    #[arg(long, value_enum, default_value = "auto", conflicts_with = "compat")]
    pub(crate) tools: Listed,
    /// Serve any number of clients over HTTP instead, on this machine only; they read the token of this start from a file
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8000")]
    pub(crate) http: Option<String>,
}

/// A server whose clients come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compat {
    /// Twenty tools named with `_tool`; a tool that fails is no error of the protocol
    LoopOrchestrator,
}

/// Tools that are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Listed {
    /// As the directory suggests
    Auto,
    /// Kapell's own
    Native,
    /// Kapell's own and the twenty
    All,
}

/// Serves until the client goes or a signal comes; the exit code.
pub(crate) async fn run(app: &App, options: &Options) -> Result<u8, Failure> {
    if let Some(verb) = &options.others {
        return Box::pin(servers::run(app, verb)).await;
    }
    let mut signals = Work::signals()?;
    let app = Arc::new(App::new(app.global.clone())?);
    let settings = settings::read(&app, options.compat.is_some())?;
    let bridge = Arc::new(Bridge::new(Arc::clone(&app), settings.workspace.clone()));
    let recorder = Recorder::new(Arc::clone(&bridge));
    let clock: Arc<dyn contract::port::Clock> = Arc::<crate::clock::System>::clone(&app.clock);
    let desk = Desk::open(settings, Arc::new(recorder), clock).map_err(Failure::from)?;
    let listed = match options.tools {
        Listed::Auto => mcp::Listed::Auto,
        Listed::Native => mcp::Listed::Native,
        Listed::All => mcp::Listed::All,
    };
    let behaves = mcp::Options { compat: options.compat.is_some(), listed };
    let server = mcp::Server::new(desk, bridge::conductor(&bridge), behaves);
    let code = match &options.http {
        Some(address) => http::serve(&app, &server, address, &mut signals).await,
        None => tokio::select! {
            served = server.stdio() => served.map(|()| exit::OK).map_err(|why| {
                let what = format!("the client and this server did not come together: {why}");
                Failure::failed("mcp", what, "start `kapell mcp` from a client of the Model Context Protocol")
            }),
            code = signals.next() => Ok(code),
        },
    };
    bridge.left().await;
    code
}
