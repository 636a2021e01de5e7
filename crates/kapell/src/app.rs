//! What every command works with: roots, configuration, streams; and the engine, wired from its ports when needed.
//!
//! The one place where adapters meet the engine; decides nothing. Start at [`App::new`]; nothing is opened before a
//! command asks for it.

use crate::anchors::Anchors;
use crate::args::Global;
use crate::cage;
use crate::clock::System;
use crate::config::Config;
use crate::exit::Failure;
use crate::guard::Locks;
use crate::handles::{self, Kept};
use crate::home::{self, Home};
use crate::hooks::Runner;
use crate::keyring::Keyring;
use crate::keys;
use crate::secrets::Keeper;
use crate::sending::Sending;
use crate::servers;
use crate::term::Term;
use crate::toolbox;
use crate::trust::{Trust, Trusted};
use crate::vault::Vault;
use contract::confine::Confinement;
use contract::handle::Handles;
use contract::journal::Journal;
use contract::model::Models;
use contract::port::Clock;
use contract::{Fault, Kind};
use engine::{Engine, Options, Ports};
use journal::Sqlite;
use kernel::governor::Slots;
use looping::{Synced, Watch};
use providers::settings::Key;
use providers::{Cards, Registry, Replies, Settings};
use std::path::PathBuf;
use std::sync::Arc;

/// Hex digits of randomness in an owner's name: two engines of one process differ.
const OWNER_DIGITS: usize = 8;

/// What a command works with.
pub(crate) struct App {
    /// The four roots.
    pub(crate) home: Home,
    /// Options of every command.
    pub(crate) global: Global,
    /// The streams.
    pub(crate) term: Term,
    /// Where the person stands.
    pub(crate) cwd: PathBuf,
    /// Time and randomness.
    pub(crate) clock: Arc<System>,
    /// What must be shown to nobody.
    pub(crate) secrets: Arc<Keeper>,
}

/// An engine and the adapters that a surface calls by themselves.
pub(crate) struct Wired {
    /// The engine.
    pub(crate) engine: Engine,
    /// The store.
    pub(crate) store: Arc<Sqlite>,
    /// The sessions' clones.
    pub(crate) git: Arc<workspace::Git>,
    /// Background commands and terminals.
    pub(crate) jobs: Arc<tools::Jobs>,
    /// The locks of sessions.
    pub(crate) locks: Arc<Locks>,
    /// Names of the tools.
    pub(crate) tools: Vec<String>,
    /// The models.
    pub(crate) models: Arc<Registry>,
    /// What is wrong with the configuration and in nobody's way.
    pub(crate) warnings: Vec<String>,
    /// Where it is signed what the journal held; `None` for who only looks.
    pub(crate) anchors: Option<Anchors>,
    /// Who sends what is to be sent; `None` where nobody wants anything, and for who only looks.
    pub(crate) sending: Option<Sending>,
}

impl App {
    /// From the environment. Touches no file.
    pub(crate) fn new(global: Global) -> Result<Self, Failure> {
        let cwd = std::env::current_dir().map_err(|error| {
            let what = format!("the current directory cannot be read: {error}");
            Failure::usage("no-directory", what, "cd to a directory that exists")
        })?;
        let home = Home::find(variable).map_err(Failure::from).map_err(Failure::into_usage)?;
        let term = Term::find(global.no_color, variable);
        Ok(Self { home, global, term, cwd, clock: Arc::default(), secrets: Arc::new(Keeper::new()) })
    }

    /// The configuration for work on this repository, or for none.
    pub(crate) fn config(&self, project: Option<&std::path::Path>) -> Result<Config, Failure> {
        Config::load(&self.home.config, project, variable)
    }

    /// Puts the caps of the sessions on this project together on record, where every process finds them.
    pub(crate) async fn declare_caps(&self, wired: &Wired, repo: &str) -> Result<(), Failure> {
        let caps = self.config(Some(std::path::Path::new(repo)))?.project_caps();
        Ok(engine::caps::declare(&*wired.store, repo, caps, self.now()).await?)
    }

    /// The clock's now.
    pub(crate) fn now(&self) -> contract::Timestamp {
        self.clock.now()
    }

    /// The engine over the real ports. Needs a tokio runtime.
    pub(crate) fn wire(&self) -> Result<Wired, Failure> {
        self.wire_with(&self.config(None)?)
    }

    /// The same for who says a word to sessions and runs nothing: a mistake in the configuration must not keep anybody
    /// from stopping one.
    pub(crate) fn wire_to_tell(&self) -> Result<Wired, Failure> {
        let config = self.config(None).unwrap_or_else(|failure| {
            crate::out::warn(&format!("{}; it does not matter for this", failure.fault.what));
            Config::default()
        });
        self.wire_with(&config)
    }

    /// The same as this configuration says.
    pub(crate) fn wire_with(&self, config: &Config) -> Result<Wired, Failure> {
        self.home.create()?;
        let models = self.models(config)?;
        let store = Sqlite::open(&self.home.data, journal::Options::default()).map_err(|e| e.fault())?;
        // While the workspace is made, not while the first command runs: who compiles hears no signal.
        drop(tokio::task::spawn_blocking(output::ready));
        let mut wired = self.wire_over(Arc::new(store), models, config, true);
        wired.anchors = Some(Anchors::new(&self.home));
        Ok(wired)
    }

    /// The same for who is going to run something: refused where commands cannot be confined as they should be.
    pub(crate) fn wire_to_work(&self, config: &Config) -> Result<Wired, Failure> {
        let less = cage::checked(&config.sandbox)?;
        let mut wired = self.wire_with(config)?;
        wired.warnings.extend(less);
        wired.sending = Sending::begin(self, &wired, config)?;
        Ok(wired)
    }

    /// The same for commands that only look: changes nothing, and needs no right to write. `None`: there is no store.
    pub(crate) fn look(&self) -> Result<Option<Wired>, Failure> {
        if !self.home.store_file().exists() {
            return Ok(None);
        }
        let store = Sqlite::open_read_only(&self.home.data).map_err(|e| e.fault())?;
        // Nothing is executed: no provider is needed, and a mistake in the configuration is in nobody's way.
        Ok(Some(self.wire_over(Arc::new(store), Registry::default(), &Config::default(), false)))
    }

    /// The models that this configuration and the environment declare.
    pub(crate) fn models(&self, config: &Config) -> Result<Registry, Failure> {
        let settings = Settings::new(config.providers.clone(), variable);
        let mut settings = settings.map_err(|fault| Failure::from(fault).into_usage())?;
        self.unsealed(&mut settings)?;
        let cards = self.cards()?;
        let known = move |provider: &str, model: &str, url: &str| {
            Some(cards.find(provider, model, Some(url))?.into())
        };
        let named = config.providers.values().filter_map(|declared| declared.key_env.as_deref());
        for name in named {
            variable(name).iter().for_each(|key| self.secrets.learn(name, key));
        }
        let keeper = Arc::clone(&self.secrets);
        let printed = move |command| -> contract::BoxFuture<'static, _> {
            Box::pin(keys::printed(command, Arc::clone(&keeper)))
        };
        Ok(Registry::with_keys(settings, Box::new(known), Arc::new(printed)))
    }

    /// Keys that are kept, where neither the environment nor a command has one.
    fn unsealed(&self, settings: &mut Settings) -> Result<(), Failure> {
        let profile = self.profile();
        for (_, name) in self.keyring().all().into_iter().filter(|(whose, _)| *whose == profile) {
            if let Some(provider) = settings.providers.get_mut(&name)
                && provider.key.is_none()
                && provider.key_command.is_none()
            {
                provider.key_command = Some(Keyring::lookup(&profile, &name));
            }
        }
        let vault = self.vault();
        if !vault.path().exists() {
            return Ok(());
        }
        let mut keys = vault.read().map_err(|fault| Failure::from(fault).into_usage())?;
        for (name, key) in keys.remove(&profile).into_iter().flatten() {
            self.secrets.learn(handles::kept_name(&name).unwrap_or("key"), &key);
            if let Some(provider) = settings.providers.get_mut(&name)
                && provider.key.is_none()
                && provider.key_command.is_none()
            {
                provider.key = Some(Key::new(key));
            }
        }
        Ok(())
    }

    /// What was trusted of the things that repositories bring along.
    pub(crate) fn trust(&self) -> Trust {
        Trust::new(&self.home, variable("KAPELL_TRUST").as_deref() == Some("all"))
    }

    /// The keys that are kept.
    pub(crate) fn vault(&self) -> Vault {
        Vault::new(&self.home, variable("KAPELL_PASSPHRASE"))
    }

    /// Which keys are in the system's keyring.
    pub(crate) fn keyring(&self) -> Keyring {
        Keyring::new(&self.home.data)
    }

    /// Whose keys are used.
    pub(crate) fn profile(&self) -> String {
        variable("KAPELL_PROFILE").filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into())
    }

    /// The parsers of the person's own, and those learned; with what cannot be used of them.
    pub(crate) fn parsers(&self, config: &Config) -> (tools::Parsers, Vec<String>) {
        tools::Parsers::load(config.parsers.clone(), Some(self.home.parsers_dir()))
    }

    /// What models cost and hold: what the person's own file says, above what is built in.
    pub(crate) fn cards(&self) -> Result<Cards, Failure> {
        let mut cards = Cards::new(self.now());
        let path = self.home.config.join("prices.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                cards.read(&text, &path.display().to_string()).map_err(|f| Failure::from(f).into_usage())?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                return Err(Failure::usage(
                    "prices-unreadable",
                    what,
                    "make it a readable file of UTF-8 text",
                ));
            }
        }
        Ok(cards)
    }

    /// The models as the engine asks them: with their replies kept, where a person wants that.
    fn asked(&self, models: &Arc<Registry>, config: &Config) -> Arc<dyn Models> {
        let asked: Arc<dyn Models> = Arc::<Registry>::clone(models);
        if !config.response_cache {
            return asked;
        }
        let lines = models.lines().clone();
        let settings = move |provider: &str| {
            lines.get(provider).map(|line| line.provider.identity()).unwrap_or_default()
        };
        Arc::new(Replies::new(asked, self.home.cache.join("replies"), Box::new(settings)))
    }

    /// What other programs offer. `starts`: false for who only looks.
    pub(crate) fn servers(&self, config: &Config, starts: bool) -> Arc<client::Servers> {
        servers::of(&self.home, self.trust(), &self.secrets, &config.sandbox, starts)
    }

    fn wire_over(&self, store: Arc<Sqlite>, models: Registry, config: &Config, starts: bool) -> Wired {
        let models = Arc::new(models);
        let value = |name: &String| Some((name.clone(), variable(name)?));
        let passed: Vec<(String, String)> = config.pass_env.iter().filter_map(value).collect();
        let git = Arc::new(self.workspace(&passed, Some(&config.sandbox)));
        let jobs = Arc::new(tools::Jobs::new(self.home.sessions_dir()).keeping(config.output_keep));
        let spool = tools::Place { most: config.output_keep, ..tools::Place::new(self.home.spool_dir()) };
        let servers = self.servers(config, starts);
        let locks = Locks::new(self.home.run_dir(), Arc::clone(&jobs), spool.clone());
        let locks = Arc::new(locks.with(&servers));
        let journal: Arc<dyn Journal> = Arc::<Sqlite>::clone(&store);
        let (parsers, warnings) = self.parsers(config);
        let handles: Arc<dyn Handles> = Arc::new(Kept::new(self, config));
        let tools = toolbox::all(&self.home, &jobs, spool, parsers, config, Arc::clone(&handles));
        let names = tools.iter().map(|tool| tool.spec().name).collect();
        let checks = Trusted {
            git: Arc::<workspace::Git>::clone(&git),
            trust: self.trust(),
            sandbox: config.sandbox.clone(),
        };
        // What is wrong around a job of the loop is found before its work is checked, and before it lands.
        let clock: Arc<dyn Clock> = Arc::<System>::clone(&self.clock);
        let watch = Arc::new(Watch::new(Arc::clone(&journal), clock));
        let ports = Ports {
            blobs: Arc::<Sqlite>::clone(&store),
            workspace: Arc::new(Synced::over(Arc::clone(&git), &watch)),
            checks: Arc::new(Synced::over(Arc::new(checks), &watch)),
            tools,
            others: servers.others(),
            models: self.asked(&models, config),
            clock: Arc::<System>::clone(&self.clock),
            env: passed,
            rules: Arc::new(crate::policy::Files(self.home.clone())),
            secrets: Arc::<Keeper>::clone(&self.secrets),
            hooks: Arc::new(Runner::new(&self.home, &config.sandbox, self.trust(), handles)),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = Options { owner: self.owner(), slots: Slots::for_cores(cores) };
        let engine = Engine::new(ports, journal, Arc::<Locks>::clone(&locks), options);
        engine.share(crate::pressure::shares(cores));
        Wired {
            engine,
            store,
            git,
            jobs,
            locks,
            tools: names,
            models,
            warnings,
            anchors: None,
            sending: None,
        }
    }

    /// The workspaces alone.
    pub(crate) fn workspace(
        &self,
        passed: &[(String, String)],
        confined: Option<&Confinement>,
    ) -> workspace::Git {
        let options = workspace::Options {
            env: passed.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            records: Some(self.home.run_dir()),
            ignore: home::git_ignore(variable),
            confined: confined.cloned(),
            ..workspace::Options::default()
        };
        workspace::Git::new(self.home.state.clone(), self.home.cache.clone(), options)
    }

    /// host-pid-random: tells people where to look, and machines that it is somebody else.
    fn owner(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { "host" } else { host.trim() };
        let random = format!("{:032x}", self.clock.random());
        format!("{host}-{}-{}", std::process::id(), &random[..OWNER_DIGITS])
    }
}

/// A variable of the environment; one that is not UTF-8 counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The fault for "there is no session yet", for commands that need one.
pub(crate) fn no_sessions() -> Failure {
    let fault = Fault::new(Kind::UserFixable, "no-session", "there are no sessions yet");
    Failure::from(fault.hint("kapell run \"your goal\", or kapell demo")).into_usage()
}
