//! The Checks port: which checks a commit asks for, and running them in throw-away checkouts.
//!
//! Judges nothing: a verdict over the runs is the kernel's. `config.rs` reads declared checks, `detect.rs` finds
//! others, `run.rs` runs, `slot.rs` keeps the places they run in. Start at the `impl`.

pub(crate) mod config;
pub(crate) mod detect;
mod run;
pub(crate) mod slot;

use crate::Git;
use crate::apply::contents;
use crate::git::{Repo, line, path, pieces, revision, shown};
use crate::object::{EXEC, FILE, Format, Oid, Store};
use crate::session::{Open, io_fault};
use contract::checks::{CheckJob, CheckOutput, Checks, Suite};
use contract::port::Sink;
use contract::{BoxFuture, Cancel, Fault, Kind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a project declares its checks.
const CONFIG: &str = ".kapell/config.toml";
/// Files whose content decides what is found, beside the workflow files of CI.
const READ: [&str; 8] = [
    CONFIG,
    "Cargo.toml",
    "package.json",
    "pyproject.toml",
    "setup.cfg",
    "Makefile",
    "makefile",
    "GNUmakefile",
];
/// Most files read of one commit to find checks.
const READ_MOST: usize = 64;

impl Checks for Git {
    fn find(&self, repo: PathBuf, commit: String) -> BoxFuture<'_, Result<Suite, Fault>> {
        Box::pin(async move {
            let place = self.place(&repo).await?;
            let files = Files::read(&place, revision(&commit)?).await?;
            match files.text(CONFIG) {
                Some(text) => match config::parse(text)? {
                    Some(suite) => Ok(suite),
                    None => Ok(detect::detect(&files, self.has_clippy(&place.records).await)),
                },
                None => Ok(detect::detect(&files, self.has_clippy(&place.records).await)),
            }
        })
    }

    fn run<'a>(
        &'a self,
        job: CheckJob,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<CheckOutput, Fault>> {
        Box::pin(self.run_checks(job, cancel, sink))
    }
}

/// A repository to read commits from.
pub(crate) struct Place {
    pub(crate) repo: Repo,
    pub(crate) git_dir: PathBuf,
    pub(crate) store: Store,
    /// Object directories it borrows from.
    pub(crate) borrowed: Vec<PathBuf>,
    /// Names the project: all sessions on one repository share it.
    pub(crate) project: PathBuf,
    /// Where programs leave their records.
    pub(crate) records: PathBuf,
    /// Its session is a child of another one, from whose tree it began.
    pub(crate) child: bool,
}

impl Git {
    /// The repository behind a directory: Kapell's own when it is a session's workspace, else the user's.
    pub(crate) async fn place(&self, dir: &Path) -> Result<Place, Fault> {
        if let Some(session) = self.session_of(dir) {
            // Read without the session's lock: landing holds it while it has a merged tree checked.
            let home = self.home(session);
            let open = Open::load(home).map_err(|error| io_fault("reading", dir, &error))?;
            let open = open.ok_or_else(|| Fault::new(Kind::Permanent, "workspace-missing", "it is gone"))?;
            let repo = open.guard(&self.binary)?;
            let child = self.session_at(&open.facts.common).is_some();
            let (git_dir, store, borrowed) = (open.home.git.clone(), open.store(), open.facts.borrowed);
            let project = borrowed.last().cloned().unwrap_or_else(|| git_dir.clone());
            let records = self.records.join(session.to_string());
            return Ok(Place { repo, git_dir, store, borrowed, project, records, child });
        }
        let repo = Repo::theirs(&self.binary, dir);
        let answer = repo
            .call(["rev-parse", "--path-format=absolute", "--show-object-format", "--git-common-dir"])
            .await?;
        let text = line(&answer);
        let (format, common) = text.split_once('\n').unwrap_or_default();
        let git_dir = path(common.as_bytes());
        let store = Store::new(&git_dir, Format::parse(format).unwrap_or(Format::Sha1));
        Ok(Place {
            repo,
            project: git_dir.join("objects"),
            git_dir,
            store,
            borrowed: Vec::new(),
            records: self.records.clone(),
            child: false,
        })
    }

    /// Is there a clippy to run? Asked of the shell, as the check itself will be.
    async fn has_clippy(&self, records: &Path) -> bool {
        let program = self.program("command -v cargo-clippy", Path::new("/"), records);
        crate::process::run(program, &Cancel::new(), &mut |_| {})
            .await
            .is_ok_and(|ended| ended.code == Some(0))
    }
}

/// The files of a commit: all names, and the texts that decide about checks.
#[derive(Debug, Default)]
pub(crate) struct Files {
    texts: BTreeMap<String, String>,
    names: Vec<String>,
}

impl Files {
    async fn read(place: &Place, commit: &str) -> Result<Self, Fault> {
        let answer = place.repo.call(["ls-tree", "-r", "-z", "--full-tree", commit]).await?;
        let mut names = Vec::new();
        let mut wanted: Vec<(String, Oid)> = Vec::new();
        for entry in pieces(&answer) {
            // `100644 blob <oid>\t<path>`
            let text = shown(entry);
            let Some((head, name)) = text.split_once('\t') else { continue };
            let mut fields = head.split(' ');
            let mode = fields.next().and_then(|mode| u32::from_str_radix(mode, 8).ok());
            let oid = fields.nth(1).and_then(Oid::parse);
            if let (Some(FILE | EXEC), Some(oid)) = (mode, oid) {
                // A check is put into words, and no word says where the others are.
                if decides(name) && !name.contains('\0') && wanted.len() < READ_MOST {
                    wanted.push((name.to_owned(), oid));
                }
                names.push(name.to_owned());
            }
        }
        let found = contents(&place.repo, &place.store, wanted.iter().map(|(_, oid)| *oid)).await?;
        let text = |oid: &Oid| Some(String::from_utf8_lossy(found.get(oid)?).into_owned());
        let texts = wanted.into_iter().filter_map(|(name, oid)| Some((name, text(&oid)?))).collect();
        Ok(Self { texts, names })
    }

    /// A file's text, if it is there and was read.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// Is there a file of this path?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|there| there == name)
    }

    /// Is there a file whose path fits?
    pub(crate) fn any(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.names.iter().any(|name| fits(name))
    }

    /// Does a text that was read, of a path that fits, hold these words?
    pub(crate) fn says(&self, fits: impl Fn(&str) -> bool, words: &str) -> bool {
        self.texts.iter().any(|(name, text)| fits(name) && text.contains(words))
    }
}

fn decides(name: &str) -> bool {
    let bench = name.starts_with("benches/") && name.ends_with(".rs");
    READ.contains(&name) || name.starts_with(".github/workflows/") || name == ".gitlab-ci.yml" || bench
}
