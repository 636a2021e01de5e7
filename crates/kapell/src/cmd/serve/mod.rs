//! `serve`: the daemon. Sessions in one process that lives on, and the HTTP API of docs/api.md over it.
//!
//! Wires the surface (`api`) to the engine; what calls do is in `host.rs`, where it listens in `listen.rs`, who looks after
//! sessions meanwhile in `tend.rs`. Commands that speak to it: `up.rs`, `status.rs`, `console.rs`, `detach.rs`. Start at [`run`].

mod acts;
pub(crate) mod client;
pub(crate) mod console;
pub(crate) mod detach;
mod feed;
mod host;
mod listen;
mod lists;
mod look;
mod measure;
mod requests;
mod schedules;
pub(crate) mod status;
mod tend;
mod terminals;
pub(crate) mod up;

use crate::app::App;
use crate::args::Global;
use crate::cmd::work::{Work, leave};
use crate::exit::{self, Failure};
use crate::home::create_own;
use crate::out;
use crate::show::stream::SCHEMA;
use crate::signals::Signals;
use api::life::{Found, Run};
use api::{About, Api};
use contract::port::Clock;
use contract::{BoxFuture, SessionId};
use engine::Engine;
use engine::task::{Kind, Task, spawn};
use feed::Watched;
use host::{Daemon, Handle};
use listen::Listeners;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Listen on the loopback too, for browsers; port 0 takes any that is free
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "7373")]
    pub(crate) tcp: Option<u16>,
    /// Leave unfinished sessions that nobody runs as they are, instead of going on with them
    #[arg(long)]
    pub(crate) no_resume: bool,
    /// Print the OpenAPI document of the API, and serve nothing
    #[arg(long, conflicts_with_all = ["tcp", "no_resume"])]
    pub(crate) openapi: bool,
}

/// Serves until a signal comes; the exit code.
pub(crate) async fn run(app: &App, options: &Options) -> Result<u8, Failure> {
    if options.openapi {
        out::print(&api::openapi());
        return Ok(exit::OK);
    }
    let mut signals = Work::signals()?;
    // What the functions behind commands say to people is said to nobody here.
    let json = app.global.json;
    let app = Arc::new(App::new(Global { quiet: true, verbose: false, json: true, ..app.global.clone() })?);
    app.home.create()?;
    create_own(&app.home.run_dir())?;
    let run = Run::new(app.home.run_dir());
    let mut reign = run.reign().map_err(refused)?;
    let files = listen::more_files();
    let wired = Arc::new(app.wire_to_work(&app.config(None)?)?);
    wired.warnings.iter().for_each(|why| warn(why));
    let (end, closing) = watch::channel(false);
    let boot = SessionId::v7(app.now().0, app.clock.random()).to_string();
    let daemon = Arc::new(Daemon::new(Arc::clone(&app), Arc::clone(&wired)));
    let about = About { version: env!("CARGO_PKG_VERSION"), schema: SCHEMA, boot: boot.clone() };
    let watched = Arc::new(Watched(Arc::clone(&daemon)));
    let api = Api::new(Arc::new(Handle(Arc::clone(&daemon))), watched, about, closing.clone());
    let token = door::secret().map_err(|why| Failure::failed("no-token", why, "try again"))?;
    let listeners = Listeners::open(&run, &api, &token, options.tcp, files).await.map_err(refused)?;
    listeners.warning.iter().for_each(|why| warn(why));
    let url = listeners.url();
    let found = Found { v: 1, boot, pid: std::process::id(), socket: run.socket(), url, token };
    let left = tools::Jobs::new(app.home.sessions_dir());
    drop(tokio::task::spawn_blocking(move || left.sweep()));
    reign.tell(found.clone())?;
    tell(json, &found);
    let (leave_off, stop) = watch::channel(());
    let mut tasks = Tasks::start(&daemon, &api, listeners, stop, closing, !options.no_resume);
    tokio::select! {
        _signal = signals.next() => {}
        () = tasks.fell() => {}
    }
    end.send_replace(true);
    stopped(&wired.engine, &mut signals).await;
    drop(leave_off);
    let broken = tasks.ended().await;
    daemon.ended().await;
    drop((api, daemon));
    // A request that is still being answered holds it; what runs was ended above.
    if let Some(wired) = Arc::into_inner(wired) {
        leave(wired).await;
    }
    drop(reign);
    broken.map(|()| exit::OK)
}

/// What the daemon does at the same time, each in a task of its own: who is slow at one keeps no other waiting.
struct Tasks {
    all: Vec<Task<()>>,
    /// True once one of them is over.
    over: watch::Receiver<bool>,
}

/// Says so when a task is over, however it came to that.
struct Over(watch::Sender<bool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Tasks {
    fn start(
        daemon: &Arc<Daemon>,
        api: &Arc<Api>,
        listeners: Listeners,
        stop: watch::Receiver<()>,
        closing: watch::Receiver<bool>,
        resume: bool,
    ) -> Self {
        let (over, is_over) = watch::channel(false);
        let start = |future: BoxFuture<'static, ()>| {
            let over = Over(over.clone());
            spawn(Kind::Watch, async move {
                future.await;
                drop(over);
            })
        };
        let (with, routes) = (|| (Arc::clone(daemon), closing.clone()), Arc::clone(api));
        let mut all = vec![start(Box::pin(async move { listeners.serve(&routes, stop).await }))];
        let ((own, ends), hub) = (with(), api.hub().clone());
        all.push(start(Box::pin(async move { feed::tell(&own.wired.engine, &hub, ends).await })));
        let (own, ends) = with();
        all.push(start(Box::pin(async move { tend::tend(&own, resume, ends).await })));
        let (own, ends) = with();
        all.push(start(Box::pin(async move { schedules::fire(&own, ends).await })));
        let (own, mut ends) = with();
        all.push(start(Box::pin(async move {
            tokio::select! {
                () = measure::ticking(own) => {}
                _end = ends.wait_for(|closing| *closing) => {}
            }
        })));
        Self { all, over: is_over }
    }

    /// Resolves when one of them is over, which none is while the daemon goes on.
    async fn fell(&mut self) {
        let _told = self.over.wait_for(|over| *over).await;
    }

    /// Each ends by itself once the daemon does; what broke one down.
    async fn ended(self) -> Result<(), Failure> {
        let mut broken = Ok(());
        for task in self.all {
            if let Err(lost) = task.await {
                let what = format!("a part of the daemon broke down: {lost:?}");
                broken =
                    Err(Failure::failed("broken", what, "kapell up starts it again; sessions go on then"));
            }
        }
        broken
    }
}

fn warn(why: &str) {
    out::complain(&format!("warning: {}\n", crate::show::clean::line(why)));
}

fn refused(fault: contract::Fault) -> Failure {
    Failure::from(fault).into_usage()
}

/// Stops what runs, in order; asked again, at once. Every session can be resumed, and the next daemon does.
async fn stopped(engine: &Engine, signals: &mut Signals) {
    let mut stopping = std::pin::pin!(engine.shutdown());
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _again = signals.next() => engine.force().await,
        }
    }
}

/// Where it is, for people; for programs with `--json`.
fn tell(json: bool, found: &Found) {
    if json {
        let line = json!({
            "boot": found.boot, "pid": found.pid, "socket": found.socket.display().to_string(), "url": found.url,
        });
        out::print(&format!("{line}\n"));
    } else {
        let socket = found.socket.display();
        let url = found.url.as_ref().map(|url| format!(" and {url}")).unwrap_or_default();
        out::complain(&format!("serving at {socket}{url}\n"));
    }
}
