//! Calls `git`, each time with its directories, environment and settings spelled out.
//!
//! Knows no session. Two kinds of repository: [`Repo::own`], made by Kapell, where no setting of the user or the
//! agent counts; and [`Repo::theirs`], where the user's settings count but no hook ever runs.

use crate::process::{self, Ended, Program, Stopped};
use contract::error::DISK_FULL;
use contract::{Cancel, Fault, Kind, SessionId, limits};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Oldest git that does what is asked of it here (`merge-tree --write-tree` came with 2.38; Debian 12 has 2.39).
const OLDEST: (u32, u32) = (2, 39);

/// Settings that hold in every call, over whatever a configuration file says: no program of the repository's
/// choosing runs, nothing is asked, nothing is collected behind our back.
const SETTINGS: [(&str, &str); 15] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.quotePath", "false"),
    ("core.sshCommand", "false"),
    ("core.alternateRefsCommand", ":"),
    ("commit.gpgSign", "false"),
    ("merge.autoStash", "false"),
    ("merge.verifySignatures", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("submodule.recurse", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
];

/// How git says that another git holds a lock.
const LOCKED: &[u8] = b".lock': File exists";
impl Ended {
    /// Did it end badly because another git holds a lock?
    pub(crate) fn is_locked(&self) -> bool {
        self.code != Some(0) && self.errors.windows(LOCKED.len()).any(|part| part == LOCKED)
    }
}

/// How long another git is waited for, and how often it is looked at.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_STEP: Duration = Duration::from_millis(20);
/// Longest piece of git's own words in a fault, characters.
const QUOTE_CHARS: usize = 300;

/// The `git` program. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    path: Arc<PathBuf>,
    /// Where running calls leave their records; `None` = nowhere, for calls that only look.
    records: Option<Arc<PathBuf>>,
    looked: Arc<OnceCell<()>>,
}

impl Binary {
    /// The distribution's own git when there is one, else the first on the search path. Running calls leave
    /// process records in `records`.
    pub(crate) fn new(records: PathBuf) -> Self {
        let own = Path::new("/usr/bin/git");
        let path = if own.is_file() { own.to_path_buf() } else { PathBuf::from("git") };
        Self::at(path, records)
    }

    /// This very program.
    pub(crate) fn at(path: PathBuf, records: PathBuf) -> Self {
        Self { path: Arc::new(path), records: Some(Arc::new(records)), looked: Arc::default() }
    }

    /// The same, with the records of its calls in the session's own directory.
    pub(crate) fn of(&self, session: SessionId) -> Self {
        let own = |records: &Arc<PathBuf>| Arc::new(records.join(session.to_string()));
        Self { records: self.records.as_ref().map(own), ..self.clone() }
    }

    /// The same, writing nothing anywhere itself: for looking at a disk that may not be written.
    pub(crate) fn quiet(&self) -> Self {
        Self { records: None, ..self.clone() }
    }

    /// Fails, with what to do, when git is missing or too old. Looks once.
    pub(crate) async fn ready(&self) -> Result<(), Fault> {
        self.looked.get_or_try_init(|| self.look()).await.copied()
    }

    async fn look(&self) -> Result<(), Fault> {
        let hint = "install git 2.39 or newer (Debian: `sudo apt install git`)";
        let ended = process::run(
            self.program(["--version".into()].into(), Path::new("/")),
            &Cancel::new(),
            &mut |_| {},
        )
        .await;
        let ended = ended.map_err(|fault| match fault.code.as_str() {
            "no-program" | "not-executable" => {
                Fault::new(Kind::UserFixable, "git-missing", "the program `git` was not found").hint(hint)
            }
            _ => fault,
        })?;
        let text = String::from_utf8_lossy(&ended.output).trim().to_owned();
        match version(&text) {
            Some(found) if found >= OLDEST => Ok(()),
            _ => {
                let what = format!("`{}` says `{text}`, which is older than 2.39", self.path.display());
                Err(Fault::new(Kind::UserFixable, "git-too-old", what).hint(hint))
            }
        }
    }

    fn program(&self, args: Vec<OsString>, cwd: &Path) -> Program {
        Program {
            argv: [vec![self.path.as_os_str().to_owned()], args].concat(),
            cwd: cwd.to_path_buf(),
            env: Vec::new(),
            stdin: Vec::new(),
            timeout_ms: limits::WORKSPACE_MS,
            keep: usize::MAX,
            apart: true,
            records: self.records.as_ref().map(|records| records.to_path_buf()),
            confined: None,
        }
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A repository to call git in.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    git: Binary,
    cwd: PathBuf,
    env: Vec<(OsString, OsString)>,
    keep: usize,
    /// Of the user's: names of filters whose programs it brings along itself, found once.
    filters: Option<Arc<OnceCell<Vec<OsString>>>>,
}

impl Repo {
    /// One that Kapell made: this git directory and this worktree, whatever lies around.
    pub(crate) fn own(git: &Binary, git_dir: &Path, work_tree: &Path) -> Self {
        let env = [
            ("GIT_DIR", git_dir.as_os_str()),
            ("GIT_WORK_TREE", work_tree.as_os_str()),
            ("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            ("GIT_CONFIG_GLOBAL", OsStr::new("/dev/null")),
            ("GIT_ATTR_NOSYSTEM", OsStr::new("1")),
            ("GIT_NO_REPLACE_OBJECTS", OsStr::new("1")),
        ];
        let (cwd, env) = (git_dir.to_path_buf(), both(&env));
        Self { git: git.clone(), cwd, env, keep: usize::MAX, filters: None }
    }

    /// The user's: found from this directory, in the user's own environment.
    pub(crate) fn theirs(git: &Binary, dir: &Path) -> Self {
        let (cwd, env) = (dir.to_path_buf(), both(&[]));
        Self { git: git.clone(), cwd, env, keep: usize::MAX, filters: Some(Arc::default()) }
    }

    /// The same with one more variable.
    pub(crate) fn with(&self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut repo = self.clone();
        repo.env.push((name.into(), value.as_ref().to_owned()));
        repo
    }

    /// The same, called from another directory.
    pub(crate) fn from(&self, dir: &Path) -> Self {
        Self { cwd: dir.to_path_buf(), ..self.clone() }
    }

    /// The same, keeping at most this many bytes of an answer.
    pub(crate) fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Where it runs.
    pub(crate) fn dir(&self) -> &Path {
        &self.cwd
    }

    /// Runs `git` with these arguments; its standard output. Any exit status but 0 is a fault.
    pub(crate) async fn call<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<u8>, Fault> {
        self.feed(args, Vec::new()).await
    }

    /// The same with standard input.
    pub(crate) async fn feed<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        stdin: Vec<u8>,
    ) -> Result<Vec<u8>, Fault> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let ended = self.run(args.clone(), stdin).await?;
        match ended.code {
            Some(0) => Ok(ended.output),
            _ => Err(self.failed(&args, &ended)),
        }
    }

    /// Runs `git`; how it ended, whatever the exit status.
    pub(crate) async fn ask<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Ended, Fault> {
        self.run(args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(), Vec::new()).await
    }

    /// Runs `git` to change something in the user's repository. It is never cut off in the middle, and waits a while
    /// for another git of the user's to let go of its lock.
    pub(crate) async fn change<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Ended, Fault> {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self.finish(self.tamed(args).await?).await
    }

    /// The same for several calls in one piece: a shell script whose first arguments are these, and after them the
    /// words that start `git`.
    pub(crate) async fn change_by(&self, script: &str, args: &[&str]) -> Result<Ended, Fault> {
        let mut program = self.tamed(Vec::new()).await?;
        let words = ["sh", "-c", script, "sh"].into_iter().chain(args.iter().copied());
        program.argv = words.map(OsString::from).chain(program.argv).collect();
        self.finish(program).await
    }

    async fn finish(&self, program: Program) -> Result<Ended, Fault> {
        self.git.ready().await?;
        let mut waited = Duration::ZERO;
        loop {
            let ended = process::finish(program.clone()).await?;
            if !ended.is_locked() || waited >= LOCK_PATIENCE {
                return Ok(ended);
            }
            tokio::time::sleep(LOCK_STEP).await;
            waited += LOCK_STEP;
        }
    }

    /// A fault about a call that ended badly.
    pub(crate) fn failed(&self, args: &[impl AsRef<OsStr>], ended: &Ended) -> Fault {
        let errors = String::from_utf8_lossy(&ended.errors);
        let word = args.first().map_or("git".into(), |arg| arg.as_ref().to_string_lossy());
        let dir = self.cwd.display();
        if errors.contains("dubious ownership") {
            let what = format!("git refuses {dir} because it belongs to somebody else");
            let hint = format!("if you trust it: `git config --global --add safe.directory '{dir}'`");
            return Fault::new(Kind::UserFixable, "git-ownership", what).hint(hint);
        }
        if ended.is_locked() {
            let said: String = errors.trim().chars().take(QUOTE_CHARS).collect();
            let what = format!("another git is at work in {dir}, so `git {word}` has to wait: {said}");
            let hint =
                "let it end (an editor of `git commit` may be open); where no git runs, remove that file";
            return Fault::new(Kind::Transient, "git-locked", what).hint(hint);
        }
        if ["No space left", "Disk quota exceeded"].iter().any(|full| errors.contains(full)) {
            let what = format!("`git {word}` in {dir} found the disk full");
            return Fault::new(Kind::UserFixable, DISK_FULL, what)
                .hint("free some space, then `kapell resume`");
        }
        let said: String = errors.trim().chars().take(QUOTE_CHARS).collect();
        let what = format!("`git {word}` failed in {dir}: {said}");
        Fault::new(Kind::Permanent, "git-failed", what)
    }

    fn program(&self, args: Vec<OsString>) -> Program {
        let settings =
            SETTINGS.iter().flat_map(|(name, value)| ["-c".into(), format!("{name}={value}").into()]);
        let mut program = self.git.program(settings.chain(args).collect(), &self.cwd);
        program.env.clone_from(&self.env);
        program.keep = self.keep;
        program
    }

    /// The same with the repository's own filters taken away: a clone brings none along, an unpacked archive may. What
    /// the user configured for all repositories stays, and so does Git LFS, wherever it was switched on.
    async fn tamed(&self, args: Vec<OsString>) -> Result<Program, Fault> {
        let mut program = self.program(args);
        let Some(found) = &self.filters else { return Ok(program) };
        self.git.ready().await?;
        let names = found.get_or_try_init(|| self.brought()).await?;
        let settings = names.iter().flat_map(|name| {
            [("clean", ""), ("smudge", ""), ("process", ""), ("required", "false")].map(|(key, value)| {
                let key =
                    [OsStr::new("filter."), name, OsStr::new("."), OsStr::new(key)].join(OsStr::new(""));
                (key, OsString::from(value))
            })
        });
        // By variables: a name may hold any sign, an equals sign too.
        let settings: Vec<(OsString, OsString)> = settings.collect();
        program.env.push(("GIT_CONFIG_COUNT".into(), settings.len().to_string().into()));
        for (at, (key, value)) in settings.into_iter().enumerate() {
            program.env.push((format!("GIT_CONFIG_KEY_{at}").into(), key));
            program.env.push((format!("GIT_CONFIG_VALUE_{at}").into(), value));
        }
        Ok(program)
    }

    /// Names of the filters for which the repository's own configuration names a program. Asking for them runs none.
    async fn brought(&self) -> Result<Vec<OsString>, Fault> {
        let args = ["config", "--includes", "--show-scope", "-z", "--get-regexp", FILTERS];
        let program = self.program(args.map(OsString::from).to_vec());
        let ended = process::run(program, &Cancel::new(), &mut |_| {}).await?;
        let mut names: Vec<OsString> = brought(&ended.output);
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn run(&self, args: Vec<OsString>, stdin: Vec<u8>) -> Result<Ended, Fault> {
        self.git.ready().await?;
        let program = Program { stdin, ..self.tamed(args).await? };
        let ended = process::run(program, &Cancel::new(), &mut |_| {}).await?;
        match ended.stopped {
            None => Ok(ended),
            Some(Stopped::Cancelled | Stopped::TimedOut | Stopped::NeedsInput) => {
                let what = format!("git did not end in time in {}", self.cwd.display());
                Err(Fault::new(Kind::Transient, "git-timeout", what).hint("try again"))
            }
        }
    }
}

/// Settings of filters that name a program.
const FILTERS: &str = r"^filter\..*\.(clean|smudge|process)$";

/// What Git LFS writes there: the user's own program, found on the search path.
const LFS: [&str; 6] = [
    "git-lfs clean -- %f",
    "git-lfs smudge -- %f",
    "git-lfs smudge --skip -- %f",
    "git-lfs filter-process",
    "git-lfs filter-process --skip",
    "",
];

/// Names out of pairs of a scope and a setting: those that the repository itself decides.
fn brought(answer: &[u8]) -> Vec<OsString> {
    let mut parts = answer.split(|&b| b == 0);
    let mut names = Vec::new();
    while let (Some(scope), Some(setting)) = (parts.next(), parts.next()) {
        let (key, value) = match setting.iter().position(|&b| b == b'\n') {
            Some(at) => (&setting[..at], &setting[at + 1..]),
            None => (setting, &b""[..]),
        };
        let own = matches!(scope, b"local" | b"worktree");
        let known = LFS.iter().any(|known| known.as_bytes() == value);
        let name =
            key.strip_prefix(b"filter.").and_then(|key| Some(&key[..key.iter().rposition(|&b| b == b'.')?]));
        names.extend(name.filter(|_| own && !known).map(|name| OsStr::from_bytes(name).to_owned()));
    }
    names
}

/// What every call gets: plain answers, no questions, no locks taken just to look, paths taken literally.
fn both(extra: &[(&str, &OsStr)]) -> Vec<(OsString, OsString)> {
    let always = [
        ("LC_ALL", "C"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        // Wins over what a configuration allows: only from disk to disk, no helper of a made-up protocol.
        ("GIT_ALLOW_PROTOCOL", "file"),
    ];
    let always = always.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    always.chain(extra.iter().map(|(name, value)| ((*name).into(), (*value).to_owned()))).collect()
}

/// The pieces of a `-z` answer.
pub(crate) fn pieces(answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    answer.split(|&b| b == 0).filter(|piece| !piece.is_empty())
}

/// A piece as text, in which two of them never become one: what is no UTF-8 stands there in hex digits behind a zero,
/// which no name has.
pub(crate) fn shown(piece: &[u8]) -> String {
    piece.utf8_chunks().fold(String::with_capacity(piece.len()), |text, chunk| {
        chunk.invalid().iter().fold(text + chunk.valid(), |text, byte| text + &format!("\0{byte:02x}"))
    })
}

/// A one-line answer, such as a commit id.
pub(crate) fn line(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).trim().to_owned()
}

/// A path of git's, which is bytes.
pub(crate) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// A revision from outside as an argument: never an option, never empty.
pub(crate) fn revision(text: &str) -> Result<&str, Fault> {
    let bad = text.is_empty() || text.starts_with('-') || text.contains(['\n', '\0']);
    if bad {
        let shown: String = text.chars().take(QUOTE_CHARS).collect();
        let fault = Fault::new(Kind::UserFixable, "bad-revision", format!("`{shown}` cannot name a commit"));
        return Err(fault.hint("give a branch, a tag or a commit id"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_not_texts() {
        assert_eq!(version("git version 2.39.5"), Some((2, 39)));
        assert_eq!(version("git version 2.100.0.windows.1"), Some((2, 100)));
        assert!(version("git version 2.9.0") < Some(OLDEST));
        assert_eq!(version("hub 1"), None);
    }

    #[tokio::test]
    async fn a_missing_or_old_git_is_said_plainly() {
        let dir = tempfile::tempdir().unwrap();
        let gone = Binary::at(dir.path().join("no-git"), dir.path().join("run"));
        assert_eq!(gone.ready().await.unwrap_err().code, "git-missing");
        let old = dir.path().join("git");
        std::fs::write(&old, "#!/bin/sh\necho git version 2.30.2\n").unwrap();
        std::fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let fault = Binary::at(old, dir.path().join("run")).ready().await.unwrap_err();
        assert_eq!(fault.code, "git-too-old");
        assert!(fault.hint.contains("2.39"));
    }

    #[test]
    fn filters_are_taken_away_where_the_repository_brings_them() {
        let answer = b"local\0filter.evil.clean\ntouch x; cat\0global\0filter.mine.clean\nmine\0local\0filter.lfs.process\n\
            git-lfs filter-process\0worktree\0filter.a.b=c.smudge\nsh\nx\0";
        assert_eq!(brought(answer), ["evil", "a.b=c"]);
        assert_eq!(brought(b""), [""; 0]);
    }

    #[test]
    fn names_that_differ_in_a_byte_stay_two() {
        assert_eq!(shown("a/é".as_bytes()), "a/é");
        assert_eq!(shown(b"a\xff\xfeb"), "a\0ff\0feb");
        let names = [&b"check\xff.sh"[..], b"check\xfe.sh", "check\u{fffd}.sh".as_bytes(), b"checkff.sh"];
        let shown: std::collections::HashSet<String> = names.iter().map(|name| shown(name)).collect();
        assert_eq!(shown.len(), names.len());
    }

    #[test]
    fn an_option_is_no_revision() {
        assert!(revision("--upload-pack=x").is_err() && revision("").is_err());
        assert_eq!(revision("main").unwrap(), "main");
    }
}
