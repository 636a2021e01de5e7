//! Terminals of people in sessions' workspaces: opened by the rules that hold for every command, and looked at.
//!
//! They run in processes of their own (`tools::terminal`), so the next daemon finds them as they are. Start at
//! [`Daemon::open_terminal`]; who looks at one is in [`attached`].

use super::host::Daemon;
use crate::cmd::jobs::{find, gone, value};
use crate::exit::Failure;
use crate::room::{Room, Said as Full};
use crate::{app, cage, policy, toolbox};
use api::{Hears, Key, Line, Said, Shows};
use contract::board::BoardEvent;
use contract::policy::{Decision, Ruling};
use contract::workspace::Workspace;
use contract::{BoxFuture, Digest, SessionId};
use engine::Rules;
use kernel::Session;
use kernel::policy::Setting;
use sandbox::Size;
use sandbox::job;
use sandbox::job::link::{self, Frame};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;
use tools::Jobs;
use tools::terminal::Terminal;

/// Bytes that a client may have missed and is still told one by one.
const MISSED: u64 = 256 << 10;
/// How long a terminal may take to show its screen.
const SCREEN: Duration = Duration::from_secs(5);

impl Daemon {
    /// Opens one, unless this request did before; how it is.
    pub(super) async fn open_terminal(
        &self,
        session: SessionId,
        asked: api::Terminal,
        key: Key,
    ) -> Result<serde_json::Value, Failure> {
        let state = self.look(session).await?;
        // Who comes again waits until it is known what became of the first.
        let _alone = self.opening.lock().await;
        let jobs = &self.wired.jobs;
        if let Some(name) = jobs.opened_by(session, &request(&key)) {
            return value(&name, &find(jobs, session, Some(&name))?.1);
        }
        let terminal = self.terminal(session, &asked)?;
        let ruling = self.ruled(&state, &terminal, asked.hash)?;
        let place = jobs.reserve(session, &request(&key))?;
        let name = place.name.clone();
        self.recorded(&state, &terminal, &name, &ruling).await?;
        let begun = tokio::task::spawn_blocking(move || terminal.open(&place)).await;
        begun.map_err(|error| Failure::failed("broken", error.to_string(), "try again"))??;
        value(&name, &find(jobs, session, Some(&name))?.1)
    }

    /// As it would be: in the session's tree, held like its commands.
    fn terminal(&self, session: SessionId, asked: &api::Terminal) -> Result<Terminal, Failure> {
        let (home, config) = (&self.app.home, self.app.config(None)?);
        let (root, dir) = (self.wired.git.root(session), home.sessions_dir().join(session.to_string()));
        if !root.is_dir() {
            let what = format!("session {session} has no workspace: it has not begun, or it was collected");
            return Err(Failure::usage("no-workspace", what, "kapell sessions show tells how it is"));
        }
        if let Full::Refusal(why) = Room::new(home.sessions_dir(), config.session_disk).look(session, None) {
            return Err(Failure::usage("refused", why, "kapell gc makes room"));
        }
        let passed = config.pass_env.iter().filter_map(|name| Some((name.clone(), app::variable(name)?)));
        let build = ("CARGO_TARGET_DIR".to_owned(), dir.join("build").to_string_lossy().into_owned());
        Ok(Terminal {
            session,
            confinement: toolbox::confinement(&config.sandbox, &dir, &root, false),
            root,
            command: asked.command.clone(),
            env: passed.chain([build]).collect(),
            size: Size { columns: asked.columns, rows: asked.rows },
        })
    }

    /// What the rules say of it. Where they ask, the answer is a yes to exactly this, or the refusal that names it.
    fn ruled(&self, state: &Session, of: &Terminal, yes: Option<Digest>) -> Result<Ruling, Failure> {
        let spec = state.spec.clone().ok_or_else(|| {
            let what = format!("session {} cannot be read", state.id);
            Failure::failed("no-workspace", what, "kapell verify tells what is wrong with it")
        })?;
        let held = sandbox::in_force(&of.confinement).map_err(contract::Fault::from)?;
        let rules = policy::Files(self.app.home.clone()).of(&spec.repo, state.root())?;
        let root = of.root.to_string_lossy().into_owned();
        let place = command::Place { root: root.clone(), home: policy::user_home() };
        let confined = held.holds() && held.network != contract::confine::Network::On;
        // The mode is the agent's, not the person's.
        let setting = Setting { ask: spec.rights.ask, confined, caged: cage::caged(&held), reads: false };
        let parts = command::parts(&of.line(), &place, &root);
        let ruling = match of.command {
            Some(_) => rules.rule(setting, &parts),
            None => rules.shell(setting, &parts),
        };
        let exactly = format!("terminal\0{}\0{root}\0{}\0{held}\0{}", state.id, of.line(), ruling.why);
        let hash = Digest::of(exactly.as_bytes());
        match ruling.verdict {
            Decision::Deny => Err(Failure::usage(
                "refused",
                format!("the terminal was refused: {}", ruling.why),
                "kapell policy list shows the rules",
            )),
            Decision::Ask if yes != Some(hash) => {
                let what = format!("this terminal needs your yes: {} ({held})", ruling.why);
                let mut failure = Failure::usage("needs-yes", what, "send it again with this `hash`");
                failure.fault.detail = Some(hash);
                Err(failure)
            }
            _ => Ok(ruling),
        }
    }

    /// Before anything of it runs.
    async fn recorded(
        &self,
        state: &Session,
        of: &Terminal,
        name: &str,
        ruling: &Ruling,
    ) -> Result<(), Failure> {
        let line = of.line().into_bytes();
        let repo = state.spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
        let event = BoardEvent::Terminal {
            session: of.session,
            job: name.to_owned(),
            command: Digest::of(&line),
            bytes: line.len() as u64,
            held: sandbox::in_force(&of.confinement).map_err(contract::Fault::from)?.to_string(),
            ruling: ruling.why.clone(),
            asked: ruling.verdict == Decision::Ask,
        };
        engine::board::record_with(&*self.wired.store, &repo, &event, &[line], self.app.now()).await?;
        Ok(())
    }
}

/// What a request is called beside the terminal it opened.
fn request(key: &Key) -> String {
    format!("{} {}", key.text, key.body)
}

/// Looks at one, whoever runs it.
pub(super) async fn attached(
    jobs: &Jobs,
    session: SessionId,
    name: &str,
    after: Option<u64>,
) -> Result<Line, Failure> {
    let (name, dir) = find(jobs, session, Some(name))?;
    let (mut hears, says) = link::connect(&dir).await.map_err(|_| gone(&name, &dir))?;
    let first = timeout(SCREEN, first(&mut hears)).await.map_err(|_| gone(&name, &dir))?;
    let mut first = first.map_err(|_| gone(&name, &dir))?;
    if let Some(missed) = after.and_then(|after| missed(&dir, &first, after)) {
        first = missed;
    }
    Ok(Line { shows: Box::new(Shown { first, hears }), hears: Box::new(Heard(says)) })
}

/// A screen, up to the number of the byte that comes after it.
async fn first(hears: &mut link::Hears) -> io::Result<VecDeque<Frame>> {
    let mut frames = VecDeque::new();
    while let Some(frame) = hears.next().await? {
        let whole = matches!(frame, Frame::At(_) | Frame::Ended(_));
        frames.push_back(frame);
        if whole {
            return Ok(frames);
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Instead of a screen: what was written since this byte, as far as it is kept and not too much.
fn missed(dir: &Path, screen: &VecDeque<Frame>, after: u64) -> Option<VecDeque<Frame>> {
    let Some(Frame::At(end)) = screen.back() else { return None };
    let bytes = end.checked_sub(after).filter(|bytes| *bytes <= MISSED)?;
    // It is on disk before it is told of.
    let piece = job::read(dir, after, usize::try_from(bytes).ok()?).ok()?;
    let whole = piece.from == after && piece.bytes.len() as u64 == bytes;
    whole.then(|| VecDeque::from([Frame::At(after), Frame::Output(piece.bytes)]))
}

/// The terminal's frames, as messages.
struct Shown {
    first: VecDeque<Frame>,
    hears: link::Hears,
}

impl Shows for Shown {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            if let Some(frame) = self.first.pop_front() {
                return Ok(Some(frame.message()));
            }
            Ok(self.hears.next().await?.map(|frame| frame.message()))
        })
    }
}

/// What people type.
struct Heard(link::Says);

impl Hears for Heard {
    fn say(&mut self, said: Said) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let frame = match said {
                Said::Typed(bytes) => Frame::Input(bytes),
                Said::Sized(columns, rows) => Frame::Resize(Size { columns, rows }),
                Said::Stop => Frame::Stop,
            };
            self.0.say(&frame).await
        })
    }
}
