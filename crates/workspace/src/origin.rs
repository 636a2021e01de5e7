//! What there is to know about the repository a session works for.
//!
//! Only reads; knows no session. Start at [`Origin::look`].

use crate::git::{Repo, line, path, pieces, revision};
use crate::object::{Format, read_plain};
use contract::{Fault, Kind};
use std::path::{Path, PathBuf};

/// Values of the user's configuration that a session needs.
const WANTED: &str = r"^(user\.(name|email)|core\.excludesfile|extensions\.partialclone)$";

/// A repository as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The git directory all its worktrees share.
    pub(crate) common: PathBuf,
    pub(crate) format: Format,
    pub(crate) bare: bool,
    pub(crate) base: String,
    pub(crate) base_tree: String,
    /// The branch to land on.
    pub(crate) target: Option<String>,
    /// Name and address of its author, if git knows them.
    pub(crate) author: Option<(String, String)>,
    /// Ignore rules besides the `.gitignore` files: the user's own and the repository's.
    pub(crate) exclude: Vec<u8>,
    /// Where its history is cut, if it is.
    pub(crate) shallow: Option<Vec<u8>>,
}

impl Origin {
    /// Looks at the repository in `repo.dir()`, from this base (else its HEAD) towards this branch (else the one
    /// that is checked out; none when HEAD is detached or the repository is bare). `usual_excludes` is where the user's own
    /// ignore rules are when git's settings do not say.
    pub(crate) async fn look(
        repo: &Repo,
        base: Option<&str>,
        target: Option<&str>,
        usual_excludes: Option<&Path>,
    ) -> Result<Self, Fault> {
        let base = revision(base.unwrap_or("HEAD"))?;
        let (commit, tree) = (format!("{base}^{{commit}}"), format!("{base}^{{tree}}"));
        let args = [
            "rev-parse",
            "--path-format=absolute",
            "--git-common-dir",
            "--show-object-format",
            "--is-bare-repository",
            &commit,
            &tree,
            "--symbolic-full-name",
            "HEAD",
        ];
        let ended = repo.ask(args).await?;
        // A path may hold a line feed: the five answers after it are counted from the end.
        let text = String::from_utf8_lossy(&ended.output).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        if ended.code != Some(0) {
            return Err(
                not_usable(repo, base, &lines, &ended.errors).unwrap_or_else(|| repo.failed(&args, &ended))
            );
        }
        let [common @ .., format, bare, base_commit, base_tree, head] = lines.as_slice() else {
            return Err(repo.failed(&args, &ended));
        };
        let common = path(common.join("\n").as_bytes());
        let bare = *bare == "true";
        let target = match target {
            Some(name) => Some(branch(repo, name).await?),
            None if bare => None,
            None => head.strip_prefix("refs/heads/").map(str::to_owned),
        };
        let settings = Settings::read(repo).await?;
        let exclude =
            [settings.excludes_file(usual_excludes)?, read(&common, "info/exclude")?.unwrap_or_default()]
                .join(&b"\n"[..]);
        Ok(Self {
            format: Format::parse(format).ok_or_else(|| repo.failed(&args, &ended))?,
            shallow: read(&common, "shallow")?,
            author: settings.author(),
            base: (*base_commit).to_owned(),
            base_tree: (*base_tree).to_owned(),
            common,
            bare,
            target,
            exclude,
        })
    }
}

/// Names the repository's trouble in the person's words, when it is one of the usual ones.
fn not_usable(repo: &Repo, base: &str, lines: &[&str], errors: &[u8]) -> Option<Fault> {
    let errors = String::from_utf8_lossy(errors);
    let dir = repo.dir().display();
    let fixable =
        |code: &str, what: String, hint: &str| Some(Fault::new(Kind::UserFixable, code, what).hint(hint));
    if errors.contains("not a git repository") {
        let hint = "go to a repository, or make one: `git init && git add -A && git commit -m start`";
        return fixable("not-a-repository", format!("{dir} is not a git repository"), hint);
    }
    if errors.contains("dubious ownership") || lines.len() < 3 {
        return None;
    }
    if base == "HEAD" {
        let hint = "make a first commit: `git add -A && git commit -m start`";
        return fixable("no-commits", format!("the repository in {dir} has no commit yet"), hint);
    }
    let hint = "`git log --oneline --all` shows what there is";
    fixable("no-such-commit", format!("`{base}` names no commit of the repository in {dir}"), hint)
}

/// Makes sure a branch is there.
async fn branch(repo: &Repo, name: &str) -> Result<String, Fault> {
    let name = revision(name)?;
    let name = name.strip_prefix("refs/heads/").unwrap_or(name);
    let full = format!("refs/heads/{name}^{{commit}}");
    match repo.ask(["rev-parse", "--verify", "--quiet", &full]).await?.code {
        Some(0) => Ok(name.to_owned()),
        _ => {
            let what = format!("there is no branch `{name}` in {}", repo.dir().display());
            let hint = format!("make it first: `git branch {name}`");
            Err(Fault::new(Kind::UserFixable, "no-such-branch", what).hint(hint))
        }
    }
}

fn read(common: &Path, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    let path = common.join(name);
    read_plain(&path).map_err(|error| crate::session::io_fault("reading", &path, &error))
}

/// Some of the user's configuration, as git resolves it.
#[derive(Debug, Default)]
struct Settings {
    name: Option<String>,
    email: Option<String>,
    excludes: Option<PathBuf>,
}

impl Settings {
    async fn read(repo: &Repo) -> Result<Self, Fault> {
        let ended = repo.ask(["config", "-z", "--type=path", "--get-regexp", WANTED]).await?;
        let mut settings = Self::default();
        for piece in pieces(&ended.output) {
            let mut parts = piece.splitn(2, |&b| b == b'\n');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            match key {
                b"user.name" => settings.name = Some(line(value)),
                b"user.email" => settings.email = Some(line(value)),
                b"core.excludesfile" => settings.excludes = Some(path(value)),
                b"extensions.partialclone" => {
                    let what = format!("the repository in {} is a partial clone", repo.dir().display());
                    let hint = "fetch the rest of it first: `git fetch --refetch --no-filter`, \
                                then `git config --unset extensions.partialClone`";
                    return Err(Fault::new(Kind::UserFixable, "partial-clone", what).hint(hint));
                }
                _ => {}
            }
        }
        Ok(settings)
    }

    fn author(&self) -> Option<(String, String)> {
        Some((self.name.clone()?, self.email.clone()?))
    }

    /// The user's own ignore rules: where the settings say, else where they usually are.
    fn excludes_file(&self, usual: Option<&Path>) -> Result<Vec<u8>, Fault> {
        let Some(file) = self.excludes.clone().or_else(|| usual.map(Path::to_path_buf)) else {
            return Ok(Vec::new());
        };
        // The user's dotfiles are often links; following the user's own is right.
        Ok(std::fs::read(file).unwrap_or_default())
    }
}
