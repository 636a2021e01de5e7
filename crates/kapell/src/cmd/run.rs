//! `run` and `-p`: a new session for a goal in this repository, followed to its end.
//!
//! Start at [`run`].

use super::work::{Start, Work, leave, left_behind};
use crate::app::{App, Wired};
use crate::args::{Format, RunOptions};
use crate::config::{Config, NEVER, NOBODY, Of, Origin, SAME};
use crate::exit::Failure;
use crate::hooks::file::Found;
use crate::out;
use crate::show::json_line;
use crate::show::result::Summary;
use crate::signals::Signals;
use crate::tree::Tree;
use crate::{repo, words};
use contract::Digest;
use contract::model::{ModelRef, Models};
use contract::session::{Ask, Limits, Rights, SessionSpec, Summaries};
use contract::text::suggestion;
use providers::Registry;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Runs a goal; the exit code.
pub(crate) async fn run(app: &App, goal: Option<String>, options: RunOptions) -> Result<u8, Failure> {
    let output = options.output.clone();
    let work = Work::new(app, &output)?;
    let done = Box::pin(begin(app, &work, goal, options)).await;
    match done {
        Ok(summary) => work.write(&summary).map(|()| summary.code),
        Err(failure) => Err(told(work.format, failure)),
    }
}

/// In the formats for programs the last line is a result, whatever went wrong.
pub(crate) fn told(format: Format, mut failure: Failure) -> Failure {
    if format != Format::Text {
        out::print(&json_line(&Summary::failed(None, &failure).json()));
        failure.told = true;
    }
    failure
}

async fn begin(
    app: &App,
    work: &Work<'_>,
    goal: Option<String>,
    options: RunOptions,
) -> Result<Summary, Failure> {
    let mut signals = Work::signals()?;
    let goal = words::read(goal, "goal", std::io::stdin())?;
    let top = repo::find_text(&app.cwd)?;
    let timeout = options.timeout.map(Duration::from_millis);
    let config = flags(app.config(Some(Path::new(&top)))?, &options);
    let models = app.models(&config)?;
    app.secrets.refuse("goal", &goal, Path::new(&top))?;
    looked(&models, &config).await;
    let hooks = hooks(app, &top, &config)?;
    let spec = SessionSpec { hooks: hooks.hooks, ..spec(&goal, top, &config, options, &models)? };
    let mut wired = app.wire_to_work(&config)?;
    wired.warnings.extend(hooks.notes);
    let summary = start(work, &wired, Plan { goal, spec, timeout }, &mut signals).await;
    leave(wired).await;
    summary
}

/// What a session on this repository is opened with, for who asks from elsewhere.
pub(super) async fn ordered(
    app: &App,
    goal: &str,
    top: String,
    options: RunOptions,
) -> Result<SessionSpec, Failure> {
    app.secrets.refuse("goal", goal, Path::new(&top))?;
    let config = flags(app.config(Some(Path::new(&top)))?, &options);
    let models = app.models(&config)?;
    looked(&models, &config).await;
    let hooks = hooks(app, &top, &config)?.hooks;
    Ok(SessionSpec { hooks, ..spec(goal, top, &config, options, &models)? })
}

/// Asks local servers for the models that this configuration names.
pub(super) async fn looked(models: &Registry, config: &Config) {
    models.look(&config.model.value).await;
    for id in &config.fallback.value {
        models.look(id).await;
    }
    models.look(&config.compact_model.value).await;
}

/// Who is asked and told in a session on this repository. What they run stands on record, so that it holds no secret.
pub(super) fn hooks(app: &App, top: &str, config: &Config) -> Result<Found, Failure> {
    let found = crate::hooks::file::all(&app.home, Path::new(top), config.sandbox.profile)?;
    for hook in &found.hooks {
        app.secrets.refuse("command of a hook", &hook.run, Path::new(top))?;
    }
    Ok(found)
}

/// What is to be done.
pub(crate) struct Plan {
    /// The goal's text.
    pub(crate) goal: String,
    /// What the session is opened with.
    pub(crate) spec: SessionSpec,
    /// Stop after this long.
    pub(crate) timeout: Option<Duration>,
}

/// Opens a session and follows it.
pub(crate) async fn start(
    work: &Work<'_>,
    wired: &Wired,
    plan: Plan,
    signals: &mut Signals,
) -> Result<Summary, Failure> {
    known_tools(wired, plan.spec.rights.tools.as_deref())?;
    work.app.declare_caps(wired, &plan.spec.repo).await?;
    let root = wired.engine.open(plan.spec, vec![plan.goal.into_bytes()]).await?;
    let notes = left_behind(wired, root).await?.into_iter().collect();
    let tree = Tree::from_start(&wired.engine, root);
    work.follow(
        wired,
        Start { tree, ours: true, awaited: BTreeMap::new(), notes, timeout: plan.timeout },
        signals,
    )
    .await
}

/// The command line is the last layer.
pub(super) fn flags(mut config: Config, options: &RunOptions) -> Config {
    fn set<T>(slot: &mut Of<T>, value: Option<T>) {
        if let Some(value) = value {
            *slot = Of { value, origin: Origin::Flag };
        }
    }
    set(&mut config.model, options.model.clone());
    set(&mut config.fallback, Some(options.fallback_model.clone()).filter(|chain| !chain.is_empty()));
    set(&mut config.ask, options.ask.map(Into::into));
    set(&mut config.land, options.no_land.then_some(false));
    config.response_cache |= options.response_cache;
    set(&mut config.nanos, options.max_budget_usd);
    set(&mut config.tokens, options.max_tokens);
    set(&mut config.steps, options.max_steps);
    config
}

/// What a session with this goal, configuration and options is opened with.
pub(crate) fn spec(
    goal: &str,
    repo: String,
    config: &Config,
    options: RunOptions,
    models: &dyn Models,
) -> Result<SessionSpec, Failure> {
    let open = |id: &str, origin: &Origin| match models.open(id, Path::new(&repo)) {
        Ok((model, _)) => Ok(model),
        Err(mut fault) => {
            if *origin != Origin::Flag {
                fault.what = format!("{} (from {origin})", fault.what);
            }
            Err(Failure::from(fault).into_usage())
        }
    };
    let model = open(&config.model.value, &config.model.origin)?;
    let chain = config.fallback.value.iter().map(|id| open(id, &config.fallback.origin));
    let fallback = chain.collect::<Result<Vec<ModelRef>, Failure>>()?;
    let summaries = match config.compact_model.value.as_str() {
        NOBODY => None,
        NEVER => Some(Summaries::Never),
        // A script or a rule has no words for anything.
        SAME => (!model.id.starts_with(OWN_MODELS)).then_some(Summaries::Same),
        id => Some(Summaries::By(Box::new(open(id, &config.compact_model.origin)?))),
    };
    let usual = Limits::default();
    let tools =
        options.allowed_tools.map(|names| names.into_iter().filter(|name| !name.is_empty()).collect());
    Ok(SessionSpec {
        goal: Digest::of(goal.as_bytes()),
        goal_bytes: goal.len() as u64,
        repo,
        base: options.base,
        target: options.branch,
        model,
        fallback,
        summaries,
        mode: config.mode.value.clone(),
        workflow: kernel::workflow::standard(),
        rights: Rights { tools, land: config.land.value, ..Rights::all(ask(config)) },
        limits: Limits {
            steps_per_turn: options.max_turns.unwrap_or(usual.steps_per_turn),
            call: config.call_cap(),
            cache_misses: config.cache_misses.value,
            quiet: config.quiet_hours,
            calls_at_once: Some(config.calls_at_once.value).filter(|most| *most < u64::MAX),
            ..usual
        },
        budget: config.budget(),
        goal_checks: options.check,
        hooks: Vec::new(),
        parent: None,
        task: None,
    })
}

/// What the ids of Kapell's own models begin with.
const OWN_MODELS: &str = "builtin/";

/// The model that is Kapell's own code: what it runs are its own fixed commands, not somebody's words.
pub(crate) const OWN_MODEL: &str = "builtin/fixer";

/// Kapell need not ask about itself, unless somebody said that it should.
fn ask(config: &Config) -> Ask {
    let unsaid = config.ask.origin == Origin::Default && config.model.value == OWN_MODEL;
    if unsaid { Ask::Never } else { config.ask.value }
}

pub(super) fn known_tools(wired: &Wired, allowed: Option<&[String]>) -> Result<(), Failure> {
    let known = || wired.tools.iter().map(String::as_str);
    // What servers have is known when they are asked.
    let odd = |name: &&String| !name.starts_with("mcp__") && known().all(|tool| tool != name.as_str());
    match allowed.into_iter().flatten().find(odd) {
        None => Ok(()),
        Some(unknown) => {
            let hint =
                format!("{}tools: {}", suggestion(unknown, known()), known().collect::<Vec<_>>().join(", "));
            Err(Failure::usage("unknown-tool", format!("there is no tool `{unknown}`"), hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use providers::Registry;

    fn made(options: RunOptions) -> Result<SessionSpec, Failure> {
        spec("goal", "/r".into(), &flags(Config::default(), &options), options, &Registry::default())
    }

    #[test]
    fn flags_become_the_spec() {
        let options = RunOptions {
            ask: Some(crate::args::AskWord::Writes),
            no_land: true,
            max_turns: Some(7),
            max_tokens: Some(9),
            allowed_tools: Some(vec!["read".into(), String::new()]),
            check: vec!["test".into()],
            ..RunOptions::default()
        };
        let spec = made(options).unwrap();
        assert_eq!((spec.rights.ask, spec.rights.land), (Ask::Writes, false));
        assert_eq!((spec.limits.steps_per_turn, spec.budget.tokens, spec.budget.nanos), (7, 9, u64::MAX));
        assert_eq!(spec.rights.tools.unwrap(), ["read"]);
        assert_eq!(spec.goal_checks, ["test"]);
        assert_eq!(spec.model.id, "builtin/fixer");
    }

    #[test]
    fn only_kapells_own_model_is_not_asked_about() {
        let ask = |model: Option<&str>, ask| {
            made(RunOptions { model: model.map(str::to_owned), ask, ..Default::default() })
                .unwrap()
                .rights
                .ask
        };
        assert_eq!(ask(None, None), Ask::Never);
        assert_eq!(ask(None, Some(crate::args::AskWord::External)), Ask::External);
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("s.toml");
        std::fs::write(&script, "[[turn]]\ntext = \"x\"\n").unwrap();
        assert_eq!(ask(Some(&format!("builtin/script:{}", script.display())), None), Ask::External);
    }

    #[test]
    fn an_unknown_model_is_usage_and_names_its_origin() {
        let error =
            made(RunOptions { model: Some("builtin/fixr".into()), ..Default::default() }).unwrap_err();
        assert_eq!(error.code, 2);
        assert!(error.fault.hint.contains("builtin/fixer"));
        let model = Of { value: "x/y".into(), origin: Origin::Env("KAPELL_MODEL") };
        let config = Config { model, ..Config::default() };
        let error = spec("g", "/r".into(), &config, RunOptions::default(), &Registry::default()).unwrap_err();
        assert!(error.fault.what.ends_with("(from KAPELL_MODEL)"), "{}", error.fault.what);
    }
}
