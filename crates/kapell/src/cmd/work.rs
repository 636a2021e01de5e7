//! What `run`, `resume` and `demo` share: follow a session, write the result in the format asked for, end in order.
//!
//! Start at [`Work::follow`].

use crate::app::{App, Wired};
use crate::args::{Format, OutputOptions};
use crate::ask::Prompter;
use crate::drive::{self, Drive, End, Lines};
use crate::exit::{self, Failure};
use crate::out::{self, Pipe};
use crate::pick;
use crate::pressure::Pressure;
use crate::show::json_line;
use crate::show::progress::{Level, Progress};
use crate::show::result::Summary;
use crate::show::stream::Stream;
use crate::signals::Signals;
use crate::term::Paint;
use crate::tree::Tree;
use contract::journal::Journal;
use contract::{SessionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A piece of work from the first argument to the exit code.
pub(crate) struct Work<'a> {
    pub(crate) app: &'a App,
    pub(crate) format: Format,
    /// Pieces of what models say are told, too.
    partial: bool,
    file: Option<PathBuf>,
    no_wait: bool,
    began: Timestamp,
}

/// What following one session needs to know.
pub(crate) struct Start {
    /// The tree.
    pub(crate) tree: Tree,
    /// This process executes it.
    pub(crate) ours: bool,
    /// Keys of intents that were submitted, and for whom.
    pub(crate) awaited: BTreeMap<String, SessionId>,
    /// For people, before anything else.
    pub(crate) notes: Vec<String>,
    /// Stop after this long.
    pub(crate) timeout: Option<Duration>,
}

impl<'a> Work<'a> {
    /// Looks at how the result is wanted; a file that cannot be written is told now, not at the end.
    pub(crate) fn new(app: &'a App, output: &OutputOptions) -> Result<Self, Failure> {
        let asked = if app.global.json { Format::Json } else { Format::Text };
        let format = output.output_format.unwrap_or(asked);
        if output.include_partial_messages && format != Format::StreamJson {
            return Err(Failure::usage(
                "no-stream",
                "--include-partial-messages is for --output-format stream-json",
                "add --output-format stream-json, or leave it out",
            ));
        }
        let (file, partial) = (output.output.clone(), output.include_partial_messages);
        if let Some(path) = &file {
            std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|e| unwritable(path, &e))?;
        }
        Ok(Self { app, format, partial, file, no_wait: output.no_wait, began: app.now() })
    }

    /// Signals from here on mean this work.
    pub(crate) fn signals() -> Result<Signals, Failure> {
        Signals::new().map_err(|error| {
            Failure::failed("signals", format!("cannot wait for signals: {error}"), "try again")
        })
    }

    /// Follows a session to its end, its rest, or a stop; then writes the result. The exit code.
    pub(crate) async fn follow(
        &self,
        wired: &Wired,
        start: Start,
        signals: &mut Signals,
    ) -> Result<Summary, Failure> {
        let level = match (self.app.global.quiet, self.app.global.verbose) {
            (true, _) => Level::Quiet,
            (_, true) => Level::Verbose,
            _ => Level::Normal,
        };
        let mut progress = Progress::new(level, self.app.term, self.app.now());
        start.notes.iter().for_each(|note| progress.note(note));
        wired
            .warnings
            .iter()
            .for_each(|why| progress.note(&format!("warning: {}", crate::show::clean::line(why))));
        let mut lines = (self.format == Format::StreamJson)
            .then(|| Lines { pipe: Pipe::to(crate::out::Remembering), stream: Stream::new(self.partial) });
        if let Some(lines) = &mut lines {
            lines.pipe.leave(json_line(&self.init(wired, &start.tree).await));
        }
        let can_ask = self.format == Format::Text && self.app.term.can_ask() && level > Level::Quiet;
        let mut drive = Drive {
            app: self.app,
            wired,
            tree: start.tree,
            progress,
            lines,
            signals,
            timeout: start.timeout,
            no_wait: self.no_wait,
            ours: start.ours,
            awaited: start.awaited,
            pressure: Pressure::new(&self.app.home, &self.app.config(None)?),
            prompter: can_ask.then(|| Prompter::new(self.app.now())),
            left_alone: BTreeSet::new(),
        };
        let end = drive.run().await;
        let Drive { tree, progress, lines, .. } = drive;
        progress.end().await;
        let mut summary = match &end {
            End::Broken(failure) => Summary::failed(Some(tree.root), failure),
            _ => {
                Summary::of(wired, &tree, code(&end, &tree, self.app.now()), self.began, self.app.now()).await
            }
        };
        if self.format != Format::Text {
            summary.count(wired).await;
        }
        if let Some(Lines { mut pipe, .. }) = lines {
            pipe.leave(json_line(&summary.json()));
            drive::hand_over(pipe, matches!(end, End::Stopped(_)), signals).await;
        }
        if let End::Broken(failure) = end {
            self.write_file(&summary)?;
            if self.format == Format::Text {
                return Err(failure);
            }
        }
        Ok(summary)
    }

    async fn init(&self, wired: &Wired, tree: &Tree) -> serde_json::Value {
        let spec = pick::spec(&*wired.store, tree.root).await.ok().flatten();
        let (repo, model) = spec.map(|spec| (spec.repo, spec.model.id)).unwrap_or_default();
        let tools: Vec<String> = wired.tools.clone();
        Stream::init(tree.root, &repo, &model, &tools)
    }

    /// Writes the result to standard output (the stream has it already) and to the file that was asked for.
    pub(crate) fn write(&self, summary: &Summary) -> Result<(), Failure> {
        match self.format {
            Format::Text => out::print(&summary.text(self.app.term.paint())),
            Format::Json => out::print(&json_line(&summary.json())),
            Format::StreamJson => {}
        }
        self.write_file(summary)
    }

    fn write_file(&self, summary: &Summary) -> Result<(), Failure> {
        let Some(path) = &self.file else { return Ok(()) };
        let text = match self.format {
            Format::Text => summary.text(Paint::default()),
            Format::Json | Format::StreamJson => json_line(&summary.json()),
        };
        std::fs::write(path, text).map_err(|error| unwritable(path, &error))
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("cannot write {}: {error}", path.display());
    Failure::usage("output-unwritable", what, "name a file in a directory that exists and can be written")
}

/// The exit code of a tree as it was left.
fn code(end: &End, tree: &Tree, now: Timestamp) -> u8 {
    let root = tree.root();
    match (end, &root.end) {
        // A stop that came too late changes nothing about how it ended.
        (_, Some(ended)) => ended.code,
        (End::Stopped(code), None) => *code,
        (End::Broken(failure), None) => failure.code,
        (End::Settled, None) => {
            let blockers = tree.blockers(now);
            let own = blockers.iter().find(|blocker| blocker.session == tree.root);
            own.or(blockers.first()).map_or(exit::FAILURE, crate::tree::Blocker::code)
        }
    }
}

/// Leaves in order: what runs here is stopped, leases are given back, what is queued for the store is written.
pub(crate) async fn leave(wired: Wired) {
    // After a killed stop this is the second chance, and it must not take for ever.
    let _ = tokio::time::timeout(LAST, wired.engine.shutdown()).await;
    if let Some(sending) = wired.sending {
        sending.end().await;
    }
    if let Some(anchors) = &wired.anchors {
        let now = contract::port::Clock::now(&crate::clock::System::default());
        // What was done is done, whether it could be signed or not; `audit verify` tells what is not.
        if let Err(fault) = anchors.anchor(&*wired.store, now).await {
            tracing::warn!(%fault, "not signed");
        }
    }
}

/// How long leaving may take when it was not done yet.
const LAST: Duration = Duration::from_secs(2);

/// Sessions of the same repository that were left unfinished and that nobody holds, in one line.
pub(crate) async fn left_behind(wired: &Wired, but: SessionId) -> Result<Option<String>, Failure> {
    let Some(own) = pick::spec(&*wired.store, but).await? else { return Ok(None) };
    let mut left = Vec::new();
    for (listed, spec) in pick::roots(&*wired.store, &wired.store.sessions(true).await?, MANY).await? {
        if listed.session != but && spec.repo == own.repo && !wired.locks.held(listed.session) {
            left.push(pick::short(listed.session));
        }
    }
    let more = if left.len() >= MANY - 1 { " or more" } else { "" };
    Ok((!left.is_empty()).then(|| {
        let newest = &left[0];
        format!(
            "{}{more} unfinished session(s) of this repository, newest {newest}: kapell sessions, kapell resume {newest}",
            left.len()
        )
    }))
}

/// Unfinished sessions that are counted.
const MANY: usize = 20;
