//! The commands, one per file. Each translates between the person and the engine, and decides nothing.
//!
//! Start at [`run`], which finds the command for what was typed.

mod always;
mod answer;
mod approve;
mod attach;
mod audit;
mod auth;
mod backup;
mod cancel;
mod cost;
mod credentials;
mod demo;
mod diff;
mod doctor;
pub(crate) mod errors;
mod events;
mod gc;
mod hooks;
pub(crate) mod jobs;
pub(crate) mod looping;
pub(crate) mod mcp;
mod metrics;
mod models;
mod parse;
mod pause;
mod policy;
mod record;
mod replay;
mod resume;
mod retry;
mod rewind;
mod run;
mod sandbox;
mod secret;
pub(crate) mod serve;
mod sessions;
mod spend;
mod tell;
mod trace;
mod transcript;
mod trust;
mod uncompact;
mod verify;
mod why;
mod work;

use crate::app::App;
use crate::args::{Cli, ResumeOptions, Verb};
use crate::exit::Failure;

/// Does what was typed; the exit code.
pub(crate) async fn run(app: &App, cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        None => Box::pin(bare(app, cli)).await,
        Some(_)
            if cli.print.is_some()
                || cli.continue_
                || cli.resume.is_some()
                || cli.run != Default::default() =>
        {
            let hint =
                "write options of a command behind its name: kapell run -m builtin/fixer \"your goal\"";
            Err(Failure::usage("misplaced-option", "a command and options of `kapell -p` were mixed", hint))
        }
        Some(verb) => Box::pin(command(app, verb)).await,
    }
}

/// Tells a program that reads result records of a mistake made before there was a command.
pub(crate) fn told_program(failure: Failure) -> Failure {
    run::told(crate::args::Format::Json, failure)
}

/// `-p`, `-c` and `-r` without a command.
async fn bare(app: &App, cli: Cli) -> Result<u8, Failure> {
    match (cli.print, cli.continue_, cli.resume) {
        (Some(goal), false, None) => Box::pin(run::run(app, Some(goal), cli.run)).await,
        (message, newest, session) if (newest || session.is_some()) && only_output(&cli.run) => {
            let options = ResumeOptions {
                session,
                message: message.into_iter().collect(),
                model: cli.run.model,
                timeout: cli.run.timeout,
                output: cli.run.output,
                ..ResumeOptions::default()
            };
            resume::run(app, options).await
        }
        (None, false, None) => {
            let hint = "kapell run \"your goal\" starts one; kapell --help shows everything";
            Err(Failure::usage("no-command", "there is nothing to do: no command and no goal", hint))
        }
        _ => {
            let hint = "a session keeps its rights and its workspace; kapell resume --help shows what can be changed";
            Err(Failure::usage("misplaced-option", "these options are for a new session", hint))
        }
    }
}

/// Only options that a session under way can take too.
fn only_output(run: &crate::args::RunOptions) -> bool {
    let taken = crate::args::RunOptions {
        model: run.model.clone(),
        timeout: run.timeout,
        output: run.output.clone(),
        ..Default::default()
    };
    *run == taken
}

async fn command(app: &App, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Run { goal, detach: true, options } => {
            serve::detach::detach(app, crate::args::joined(&goal), options)
        }
        Verb::Run { goal, options, .. } => Box::pin(run::run(app, crate::args::joined(&goal), options)).await,
        Verb::Demo { dir } => demo::run(app, dir).await,
        Verb::Resume(options) => resume::run(app, options).await,
        Verb::Sessions { what, options } => sessions::run(app, what, options).await,
        Verb::Events { session, follow, after, export } => match export {
            Some(dir) => events::export(app, &session, &dir).await,
            None => events::run(app, &session, follow, after).await,
        },
        Verb::Why { session, action } => why::run(app, &session, action).await,
        Verb::Cost(options) => cost::run(app, &options).await,
        Verb::Pause { session } => pause::run(app, &session).await,
        Verb::Cancel { session } => cancel::run(app, &session).await,
        Verb::Approve { session, approval, unseen, always, for_session } => {
            let yes = match (always, for_session) {
                (true, _) => approve::Say::Always,
                (_, true) => approve::Say::Session,
                _ => approve::Say::Yes,
            };
            let which = match &approval {
                Some(name) => approve::Which::Named(name),
                None if unseen => approve::Which::Any,
                None => approve::Which::Shown,
            };
            approve::run(app, &session, which, yes).await
        }
        Verb::Deny { session, approval } => {
            let which = approval.as_deref().map_or(approve::Which::Any, approve::Which::Named);
            approve::run(app, &session, which, approve::Say::No).await
        }
        Verb::Answer { session, text } => answer::run(app, &session, &text).await,
        Verb::Rewind { session, action } => rewind::run(app, &session, action).await,
        Verb::Uncompact { session, entry } => uncompact::run(app, &session, entry).await,
        Verb::Replay { session } => replay::run(app, &session).await,
        Verb::Record { session, output } => record::run(app, &session, output.as_deref()).await,
        Verb::Jobs(options) => jobs::run(app, &options).await,
        Verb::Attach { session, job } => attach::run(app, &session, job.as_deref()).await,
        Verb::Diff { session } => diff::run(app, &session).await,
        Verb::Verify { session } => verify::run(app, session.as_deref()).await,
        Verb::Backup { dir } => backup::run(app, &dir).await,
        Verb::Models { retry: Some(provider), .. } => retry::run(app, &provider).await,
        Verb::Models { provider, .. } => models::run(app, provider.as_deref()).await,
        Verb::Secret { what } => secret::run(app, what),
        Verb::Auth { what: Some(what), .. } => credentials::run(app, what).await,
        Verb::Auth { provider, .. } => auth::run(app, provider.as_deref()).await,
        Verb::Trust { what } => trust::run(app, what).await,
        Verb::Hooks { what } => hooks::run(app, what),
        Verb::Audit { what } => audit::run(app, what).await,
        Verb::Parse { file, tool, limit } => parse::run(app, file.as_deref(), tool.as_deref(), limit),
        Verb::Policy { what } => policy::run(app, what),
        Verb::Sandbox(options) => sandbox::run(app, &options).await,
        Verb::Mcp(options) => mcp::run(app, &options).await,
        Verb::Up(options) => serve::up::up(app, &options),
        Verb::Down => serve::up::down(app),
        Verb::Status(options) => serve::status::status(app, &options).await,
        Verb::Console(options) => serve::console::console(app, &options),
        Verb::Serve(options) => Box::pin(serve::run(app, &options)).await,
        Verb::Metrics => metrics::run(app).await,
        Verb::Trace { session } => trace::run(app, &session).await,
        Verb::Errors(options) => errors::run(app, &options).await,
        Verb::Loop(options) => Box::pin(looping::run(app, &options)).await,
        Verb::Schedules { next } => Box::pin(looping::schedules(app, next)).await,
        Verb::Doctor => doctor::run(app).await,
        Verb::Gc { dry_run } => gc::run(app, dry_run).await,
    }
}
