//! The servers of the sessions this process executes: started when they are needed, one of each per workspace, ended when
//! nobody needs them, and started again with patience when they end by themselves.
//! Knows nothing of what they can do. Start at [`Servers`]; a session's tools come from its [`Others`].

use crate::catalog::Listed;
use crate::declared::{Server, Way};
use crate::expand::{expanded, unset};
use crate::file::{Declared, PROJECT};
use crate::http::Remote;
use crate::link::{Link, Wire};
use crate::pins::{Pinned, Pins};
use crate::process::Process;
use crate::tool::Lent;
use contract::confine::Confinement;
use contract::port::{Delta, Sink};
use contract::tool::{Others, Scope, Tool};
use contract::{BoxFuture, Digest, Fault, Kind, SessionId};
use futures_util::future::join_all;
use reqwest::Url;
use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Who is not asked for so long is ended.
const IDLE: Duration = Duration::from_mins(10);
/// Before one that did not start is started again, the first time; then twice as long each time.
const AFTER_NO_START: Duration = Duration::from_secs(15);
/// Before one that ended by itself is started again, from the second time in a row on.
const AFTER_END: Duration = Duration::from_secs(1);
/// Longest of these waits.
const LONGEST: Duration = Duration::from_mins(10);
/// Longest file that declares servers.
const FILE_BYTES: u64 = 1 << 20;

/// What is needed of the world around.
pub trait World: Send + Sync {
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// This value is a secret from here on.
    fn learn(&self, name: &str, value: &str);
    /// Does a person trust this server of a repository, with the files it names as this tree has them? A fault says no.
    fn trusted(&self, server: &Server, repo: &Path, tree: &Path) -> Result<(), Fault>;
    /// What confines commands there; `None` stands for no session.
    fn confinement(&self, session: Option<SessionId>, root: &Path, reads: bool) -> Confinement;
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct Options {
    /// The person's own file.
    pub own: PathBuf,
    /// What was taken in of servers.
    pub pins: PathBuf,
    /// Programs leave a record in the folder of their session in here, for `sandbox::sweep`.
    pub records: Option<PathBuf>,
    /// False: nothing is started to find out what a server can do; what was taken in is all there is.
    pub starts: bool,
}

/// All of them.
pub struct Servers {
    options: Options,
    pins: Pins,
    world: Arc<dyn World>,
    live: Mutex<HashMap<(PathBuf, Digest), Arc<Slot>>>,
    /// Of these it was said that they are not used.
    told: Mutex<BTreeSet<String>>,
}

/// A server in one workspace.
struct Slot {
    session: Option<SessionId>,
    used: Mutex<Instant>,
    held: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    link: Option<Arc<Link>>,
    listed: Arc<Listed>,
    /// How often in a row it did not come to an answer.
    failures: u32,
    /// Not started again before this, and why.
    after: Option<(Instant, String)>,
}

/// Where somebody works with a server.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) session: Option<SessionId>,
    pub(crate) repo: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) reads: bool,
}

/// A server as it stands, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// It.
    pub server: Server,
    /// A person has to trust it first.
    pub trusted: bool,
    /// What was taken in of it.
    pub pinned: Option<Pinned>,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers").field("options", &self.options).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Servers {
    /// None runs yet.
    pub fn new(options: Options, world: Arc<dyn World>) -> Self {
        let pins = Pins::new(options.pins.clone());
        Self { options, pins, world, live: Mutex::default(), told: Mutex::default() }
    }

    /// What is declared for this repository, by the person and by itself.
    pub fn declared(&self, repo: &Path) -> Result<Declared, Fault> {
        let project = repo.join(PROJECT);
        let (own, theirs) = (text(&self.options.own)?, text(&project));
        let (theirs, note) = match theirs {
            Ok(theirs) => (theirs, None),
            Err(fault) => (None, Some(fault.what)),
        };
        let own = own.as_deref().map(|text| (&*self.options.own, text));
        let mut declared = Declared::read(own, theirs.as_deref().map(|text| (&*project, text)))
            .map_err(|why| Fault::new(Kind::UserFixable, "mcp-config", why).hint("correct the file"))?;
        declared.notes.extend(note);
        Ok(declared)
    }

    /// How they all stand in this tree.
    pub fn look(&self, repo: &Path) -> Result<(Vec<Look>, Vec<String>), Fault> {
        let declared = self.declared(repo)?;
        let looked = declared.servers.into_iter().map(|server| {
            let pinned = self.pins.of(&server.identity())?;
            Ok(Look { trusted: self.trusted(&server, repo, repo).is_ok(), server, pinned })
        });
        Ok((looked.collect::<Result<_, Fault>>()?, declared.notes))
    }

    /// Asks a server what it can do, in a directory that it may only read; what was taken in before stays.
    pub async fn ask(&self, server: &Server, repo: &Path) -> Result<Pinned, Fault> {
        let place = Place { session: None, repo: repo.to_owned(), root: repo.to_owned(), reads: true };
        self.trusted(server, repo, repo)?;
        let link = self.open(server, &place).await?;
        let listed = self.listed(server, &link).await?;
        self.compared(server, &listed)
    }

    /// Takes in what a server says now.
    pub async fn take_in(&self, server: &Server, repo: &Path) -> Result<Pinned, Fault> {
        let place = Place { session: None, repo: repo.to_owned(), root: repo.to_owned(), reads: true };
        let link = self.open(server, &place).await?;
        let listed = self.listed(server, &link).await?;
        let pinned = Pinned { server: server.name.clone(), listed, differs: Vec::new() };
        self.pins.set(&server.identity(), pinned, false)
    }

    /// Forgets what was taken in of a server.
    pub fn forget(&self, server: &Server) -> Result<(), Fault> {
        self.pins.forget(&server.identity())
    }

    /// Ends those of a session. Call it when nobody executes the session here any more.
    pub fn end(&self, session: SessionId) {
        lock(&self.live).retain(|_, slot| slot.session != Some(session));
    }

    fn trusted(&self, server: &Server, repo: &Path, tree: &Path) -> Result<(), Fault> {
        if server.project { self.world.trusted(server, repo, tree) } else { Ok(()) }
    }

    /// What confines its program.
    pub(crate) fn confinement(&self, server: &Server, place: &Place) -> Confinement {
        let mut confined = self.world.confinement(place.session, &place.root, place.reads);
        if !server.project {
            // Where only reading is expected nothing widens that.
            if !place.reads {
                confined.profile = server.profile.unwrap_or(confined.profile);
            }
            confined.network = server.network.unwrap_or(confined.network);
            confined.read.extend(server.read.iter().cloned());
        }
        confined
    }

    /// A way to a server, which is started where it does not run; and what it lists now.
    pub(crate) async fn ready(
        &self,
        server: &Server,
        place: &Place,
    ) -> Result<(Arc<Link>, Arc<Listed>), Fault> {
        let slot = self.slot(server, place);
        let mut held = slot.held.lock().await;
        match held.link.as_ref().map(|link| link.over()) {
            Some(None) => {}
            Some(Some(why)) => held.failed(why, AFTER_END),
            None => {}
        }
        if held.link.is_none() {
            if let Some((_, why)) = held.after.as_ref().filter(|(after, _)| *after > Instant::now()) {
                let left =
                    held.after.as_ref().map_or(0, |(after, _)| (*after - Instant::now()).as_secs() + 1);
                let what =
                    format!("the server `{}` is down ({why}); it is tried again in {left} s", server.name);
                return Err(Fault::new(Kind::Degraded, "mcp-down", what));
            }
            let started = async {
                let link = self.open(server, place).await?;
                let listed = self.listed(server, &link).await?;
                self.compared(server, &listed)?;
                Ok::<_, Fault>((link, listed))
            };
            match started.await {
                Ok((link, listed)) => (held.link, held.listed) = (Some(Arc::new(link)), Arc::new(listed)),
                Err(fault) => {
                    held.failed(fault.what.clone(), AFTER_NO_START);
                    return Err(fault);
                }
            }
        }
        let link =
            held.link.clone().ok_or_else(|| Fault::new(Kind::Transient, "mcp-gone", "the server is gone"))?;
        if link.stale() {
            let listed = self.listed(server, &link).await?;
            self.compared(server, &listed)?;
            held.listed = Arc::new(listed);
        }
        Ok((link, Arc::clone(&held.listed)))
    }

    /// It gave an answer: it is well.
    pub(crate) async fn well(&self, server: &Server, place: &Place) {
        self.slot(server, place).held.lock().await.failures = 0;
    }

    /// Ends it: what it does after nobody waits for it any more would be nobody's.
    pub(crate) async fn stop(&self, server: &Server, place: &Place, why: &str) {
        self.slot(server, place).held.lock().await.failed(why.to_owned(), AFTER_END);
    }

    fn slot(&self, server: &Server, place: &Place) -> Arc<Slot> {
        let mut live = lock(&self.live);
        live.retain(|_, slot| Arc::strong_count(slot) > 1 || lock(&slot.used).elapsed() < IDLE);
        let key = (place.root.clone(), server.identity());
        let slot = live.entry(key).or_insert_with(|| {
            let (used, held) = (Mutex::new(Instant::now()), tokio::sync::Mutex::default());
            Arc::new(Slot { session: place.session, used, held })
        });
        *lock(&slot.used) = Instant::now();
        Arc::clone(slot)
    }

    async fn open(&self, server: &Server, place: &Place) -> Result<Link, Fault> {
        self.trusted(server, &place.repo, &place.root)?;
        let wire = self.wire(server, place)?;
        match timeout(Duration::from_millis(server.start_ms), Link::open(wire, server.roots)).await {
            Ok(opened) => opened.map_err(|fault| about(server, fault)),
            Err(_) => Err(late(server, "was not ready", server.start_ms, "startup_timeout_sec")),
        }
    }

    async fn listed(&self, server: &Server, link: &Link) -> Result<Listed, Fault> {
        match timeout(Duration::from_millis(server.start_ms), link.list()).await {
            Ok(listed) => listed.map_err(|fault| about(server, fault)),
            Err(_) => Err(late(server, "did not say what it can do", server.start_ms, "startup_timeout_sec")),
        }
    }

    /// Compares what a server lists with what was taken in of it; the first list is taken in.
    fn compared(&self, server: &Server, listed: &Listed) -> Result<Pinned, Fault> {
        let identity = server.identity();
        let Some(pinned) = self.pins.of(&identity)? else {
            let pinned = Pinned { server: server.name.clone(), listed: listed.clone(), differs: Vec::new() };
            return self.pins.set(&identity, pinned, true);
        };
        let differs = listed.differs(&pinned.listed.tools);
        let differs: Vec<(String, String)> =
            differs.into_iter().map(|(name, how)| (name, how.to_owned())).collect();
        if differs == pinned.differs {
            return Ok(pinned);
        }
        self.pins.set(&identity, Pinned { differs, ..pinned }, false)
    }

    fn wire(&self, server: &Server, place: &Place) -> Result<Wire, Fault> {
        let fill = |text: &str| {
            expanded(text, &|name| self.world.variable(name)).map_err(|fault| about(server, fault))
        };
        let roots = if server.roots { Url::from_file_path(&place.root).ok().map(String::from) } else { None };
        match &server.way {
            Way::Program { command, args, env, pass, cwd } => {
                let argv: Vec<String> =
                    std::iter::once(command).chain(args).map(|word| fill(word)).collect::<Result<_, _>>()?;
                let cwd = cwd.as_deref().map_or_else(|| place.root.clone(), |cwd| place.root.join(cwd));
                let mut program = sandbox::Command::argv(argv, cwd).confine(self.confinement(server, place));
                for (name, value) in env {
                    let value = fill(value)?;
                    self.learn(name, &value);
                    program = program.given(name, value);
                }
                for name in pass {
                    let value = self.world.variable(name).ok_or_else(|| about(server, unset(name)))?;
                    self.learn(name, &value);
                    program = program.given(name, value);
                }
                if let Some(records) = &self.options.records {
                    program = match place.session {
                        Some(session) => program.record(records.join(session.to_string())),
                        None => program,
                    };
                }
                Process::start(program, roots).map(Wire::Process)
            }
            Way::Url { url, headers, token } => {
                let mut sent = Vec::new();
                for (name, value) in headers {
                    let value = fill(value)?;
                    self.learn("header", value.rsplit(' ').next().unwrap_or(&value));
                    sent.push((name.clone(), value));
                }
                if let Some(name) = token {
                    let value = self.world.variable(name).ok_or_else(|| about(server, unset(name)))?;
                    self.world.learn(name, &value);
                    sent.push(("authorization".to_owned(), format!("Bearer {value}")));
                }
                let remote = Remote::new(&fill(url)?, &sent, roots).map_err(|fault| about(server, fault))?;
                Ok(Wire::Remote(Box::new(remote)))
            }
        }
    }

    /// A value whose name says that it is a secret.
    fn learn(&self, name: &str, value: &str) {
        if name == "header" || sandbox::is_secret(name.as_ref()) {
            self.world.learn(name, value);
        }
    }

    /// What may be offered of a server here; it is asked if it never was.
    async fn offered(&self, server: &Server, place: &Place) -> Result<Pinned, Fault> {
        self.trusted(server, &place.repo, &place.root)?;
        if let Some(pinned) = self.pins.of(&server.identity())? {
            return Ok(pinned);
        }
        if !self.options.starts {
            return Ok(Pinned::default());
        }
        self.ready(server, place).await?;
        Ok(self.pins.of(&server.identity())?.unwrap_or_default())
    }

    /// Says once why something is not there.
    fn tell(&self, sink: &dyn Sink, words: String) {
        if lock(&self.told).insert(words.clone()) {
            sink.delta(Delta::Warning(words));
        }
    }
}

/// The tools of all servers that this session may use.
pub(crate) struct Mine(pub(crate) Arc<Servers>);

impl Servers {
    /// As sessions get their tools.
    pub fn others(self: &Arc<Self>) -> Arc<dyn Others> {
        Arc::new(Mine(Arc::clone(self)))
    }
}

impl Others for Mine {
    fn of<'a>(
        &'a self,
        repo: &'a Path,
        scope: &'a Scope,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Vec<Arc<dyn Tool>>> {
        Box::pin(async move {
            let servers = &self.0;
            let declared = match servers.declared(repo) {
                Ok(declared) => declared,
                Err(fault) => {
                    servers.tell(sink, format!("no servers are used: {fault}"));
                    return Vec::new();
                }
            };
            declared.notes.into_iter().for_each(|note| servers.tell(sink, note));
            let place = Place {
                session: Some(scope.session),
                repo: repo.to_owned(),
                root: scope.root.clone(),
                reads: scope.reads,
            };
            let used: Vec<Server> = declared.servers.into_iter().filter(|server| server.enabled).collect();
            let asked = join_all(used.iter().map(|server| servers.offered(server, &place))).await;
            let (mut names, mut tools) = (BTreeSet::new(), Vec::new());
            for (server, offered) in used.iter().zip(asked) {
                let pinned = match offered {
                    Ok(pinned) => pinned,
                    Err(fault) => {
                        servers.tell(sink, format!("`{}` is not used: {fault}", server.name));
                        continue;
                    }
                };
                if !pinned.differs.is_empty() {
                    let words = pinned.differs.iter().map(|(name, how)| format!("{name} ({how})"));
                    let words: Vec<String> = words.collect();
                    servers.tell(sink, format!(
                        "tools of `{}` are not what was taken in, and are not offered: {}. Look, then: kapell mcp trust {}",
                        server.name, words.join(", "), server.name
                    ));
                }
                for entry in pinned.offered().filter(|entry| server.wants(&entry.name)) {
                    let lent = Lent::new(Arc::clone(servers), server, entry, repo);
                    // Two names that come to the same would be one tool standing for another.
                    if names.insert(lent.name.to_ascii_lowercase()) {
                        tools.push(Arc::new(lent) as Arc<dyn Tool>);
                    }
                }
            }
            tools
        })
    }
}

impl Held {
    /// It did not come to an answer: it is ended, and started again after a while. A server that ended by itself once is
    /// started again at once.
    fn failed(&mut self, why: String, first: Duration) {
        self.link = None;
        self.failures += 1;
        let again = self.failures - 1;
        let wait = match (first == AFTER_END, again) {
            (true, 0) => Duration::ZERO,
            (true, again) => first * 2u32.saturating_pow((again - 1).min(16)),
            (false, again) => first * 2u32.saturating_pow(again.min(16)),
        };
        self.after = Some((Instant::now() + wait.min(LONGEST), why));
    }
}

/// What a file says; `None`: there is none.
fn text(path: &Path) -> Result<Option<String>, Fault> {
    let wrong = |why: &dyn std::fmt::Display| {
        let what = format!("{} cannot be read: {why}", path.display());
        Fault::new(Kind::UserFixable, "mcp-config", what).hint("make it a readable file of UTF-8 text")
    };
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(wrong(&"it is no file")),
        Ok(meta) if meta.len() > FILE_BYTES => Err(wrong(&"it is longer than 1 MiB")),
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(|error| wrong(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&error)),
    }
}

fn about(server: &Server, fault: Fault) -> Fault {
    Fault { what: format!("the server `{}`: {}", server.name, fault.what), ..fault }
}

fn late(server: &Server, what: &str, ms: u64, key: &str) -> Fault {
    let what = format!("the server `{}` {what} within {} s", server.name, ms / 1000);
    Fault::new(Kind::Degraded, "mcp-late", what).hint(format!(
        "give it more time with `{key}` in mcp.toml, or see what it says: kapell mcp tools {}",
        server.name
    ))
}
