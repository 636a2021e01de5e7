//! The user's branch that a result is to land on: where it stands, where it is checked out, and moving it.
//!
//! The only file that writes to the user's repository (but for the pin of the base). No hook of the user's runs in
//! any of it. Start at [`Target::look`].

use crate::git::{Binary, Repo, line, path};
use crate::object::read_plain;
use crate::process::Ended;
use crate::session::Facts;
use crate::work::fetch;
use contract::{Fault, Kind};
use std::path::{Path, PathBuf};

/// Names tried for a branch to leave, when the usual one is taken by somebody else.
const NAMES: u32 = 100;

/// A branch as `for-each-ref` tells it.
#[derive(Debug, Clone)]
struct Branch {
    name: String,
    commit: String,
    /// Top level of the worktree it is checked out in.
    out: Option<PathBuf>,
}

/// The user's repository at one moment.
#[derive(Debug)]
pub(crate) struct Target {
    repo: Repo,
    common: PathBuf,
    /// Top level of the worktree the session was opened in; none when bare.
    top: Option<PathBuf>,
    branches: Vec<Branch>,
    wanted: Option<String>,
}

/// Why a branch is not moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stays {
    /// As in `Integrated::why`.
    pub(crate) why: &'static str,
    /// For people.
    pub(crate) detail: String,
}

impl Stays {
    pub(crate) fn new(why: &'static str, detail: impl Into<String>) -> Self {
        Self { why, detail: detail.into() }
    }
}

/// Where a result can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// The branch is checked out there: files and index go along.
    Worktree(&'a Path),
    /// Only the ref moves.
    Ref,
}

/// Is the work tree one that belongs to this git directory, as `.git` in it says? Git itself believes a repository's own
/// `core.worktree`, which may name any directory of the person's.
fn leads_back(git_dir: &Path, top: &Path) -> Result<(), Fault> {
    let real = |path: &Path| path.canonicalize().ok();
    let dot = top.join(".git");
    let named = match read_plain(&dot) {
        Ok(Some(text)) => top.join(line(&text).strip_prefix("gitdir:").unwrap_or_default().trim()),
        _ => dot,
    };
    if real(&named).is_some_and(|named| Some(named) == real(git_dir)) {
        return Ok(());
    }
    let what = format!(
        "the repository's configuration says that its files are in {}, which is another place",
        top.display()
    );
    Err(Fault::new(Kind::UserFixable, "foreign-worktree", what)
        .hint("look at it, then: git config --unset core.worktree"))
}

impl Target {
    /// Looks at the repository a session works for, and refuses when it is not the one it was prepared from.
    pub(crate) async fn look(binary: &Binary, facts: &Facts, wanted: Option<&str>) -> Result<Self, Fault> {
        let repo = Repo::theirs(binary, &facts.repo);
        let mut ask = vec!["rev-parse", "--path-format=absolute", "--git-common-dir"];
        ask.extend((!facts.bare).then_some("--absolute-git-dir"));
        ask.extend((!facts.bare).then_some("--show-toplevel"));
        let answer = repo.call(ask).await?;
        let mut lines = answer.split(|&b| b == b'\n');
        let common = path(lines.next().unwrap_or_default());
        if common != facts.common {
            let what = format!("{} is no longer the repository the session began with", facts.repo.display());
            return Err(
                Fault::new(Kind::UserFixable, "origin-changed", what).hint("put the old one back there")
            );
        }
        let mut next = || path(lines.next().unwrap_or_default());
        let top = if facts.bare { None } else { Some((next(), next())) };
        let top = top.map(|(git_dir, top)| leads_back(&git_dir, &top).map(|()| top)).transpose()?;
        let format = "--format=%(refname)%00%(objectname)%00%(worktreepath)%00";
        let full = wanted.map(|name| format!("refs/heads/{name}"));
        let mut ask = vec!["for-each-ref", format, "refs/heads/kapell"];
        ask.extend(full.as_deref());
        let answer = repo.call(ask).await?;
        let fields: Vec<&[u8]> = answer.split(|&b| b == 0).collect();
        let branches = fields.chunks_exact(3).map(|field| Branch {
            name: line(field[0]).trim_start_matches("refs/heads/").to_owned(),
            commit: line(field[1]),
            out: (!field[2].is_empty()).then(|| path(field[2])),
        });
        let branches = branches.collect();
        Ok(Self { repo, common, top, branches, wanted: wanted.map(str::to_owned) })
    }

    fn branch(&self, name: &str) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.name == name)
    }

    /// The branch's tip and how it can be moved, or why it cannot.
    pub(crate) fn place(&self) -> Result<(String, Place<'_>), Stays> {
        let no = |detail: String| Err(Stays::new("no-branch", detail));
        let Some(name) = &self.wanted else {
            return no("no branch is checked out in your repository, so there is none to land on".to_owned());
        };
        let Some(branch) = self.branch(name) else {
            return no(format!("the branch `{name}` is no longer there"));
        };
        if self.rebasing(name) {
            return Err(Stays::new("dirty", format!("a rebase of `{name}` is under way in your repository")));
        }
        match (&branch.out, &self.top) {
            (None, _) => Ok((branch.commit.clone(), Place::Ref)),
            // A bare repository's HEAD names a branch, but nothing is checked out in the repository itself.
            (Some(out), None) if self.is_itself(out) => Ok((branch.commit.clone(), Place::Ref)),
            (Some(out), Some(top)) if out == top => Ok((branch.commit.clone(), Place::Worktree(top))),
            (Some(out), _) => no(format!("`{name}` is checked out in another worktree, {}", out.display())),
        }
    }

    /// Does git mean the bare repository itself by this worktree? It names one in `X/.git` by `X`.
    fn is_itself(&self, out: &Path) -> bool {
        let common = self.common.canonicalize().ok();
        [out.to_path_buf(), out.join(".git")]
            .iter()
            .any(|dir| common.is_some() && dir.canonicalize().ok() == common)
    }

    /// Is a rebase of this branch under way in any worktree? Its end would throw our move away.
    fn rebasing(&self, name: &str) -> bool {
        let worktrees = std::fs::read_dir(self.common.join("worktrees")).into_iter().flatten().flatten();
        let mut dirs = worktrees.map(|entry| entry.path()).chain([self.common.clone()]);
        let full = format!("refs/heads/{name}");
        dirs.any(|dir| {
            ["rebase-merge/head-name", "rebase-apply/head-name"].iter().any(|file| {
                let head = read_plain(&dir.join(file)).ok().flatten();
                head.is_some_and(|head| line(&head) == full)
            })
        })
    }

    /// A name for the branch to leave: the usual one, unless somebody else put something there.
    pub(crate) fn free_name(
        &self,
        usual: &str,
        commit: &str,
        left: Option<&(String, String)>,
    ) -> Result<String, Fault> {
        if self.branch("kapell").is_some() {
            let what = "your branch `kapell` is in the way of the branch the work would be left on";
            return Err(Fault::new(Kind::UserFixable, "branch-in-the-way", what)
                .hint("rename it: `git branch -m kapell my-kapell`"));
        }
        let ours = |name: &str| match self.branch(name) {
            None => true,
            Some(branch) => {
                let known = branch.commit == commit
                    || left.is_some_and(|(left, at)| left == name && *at == branch.commit);
                known && (branch.out.is_none() || branch.commit == commit)
            }
        };
        let mut names = std::iter::once(usual.to_owned()).chain((2..NAMES).map(|n| format!("{usual}-{n}")));
        names.find(|name| ours(name)).ok_or_else(|| {
            Fault::new(Kind::UserFixable, "branch-in-the-way", format!("all names like `{usual}` are taken"))
                .hint(format!("delete some: `git branch -D {usual}`"))
        })
    }

    /// Brings a commit of the session's repository over as a branch.
    pub(crate) async fn leave(&self, from: &Path, name: &str, commit: &str) -> Result<(), Fault> {
        if self.branch(name).is_some_and(|branch| branch.commit == commit) {
            return Ok(());
        }
        fetch(&self.repo, from, &format!("+{LAND_REF}:refs/heads/{name}")).await
    }

    /// Takes a left branch away again, if it is still what we left and nobody has it checked out.
    pub(crate) async fn unleave(&self, name: &str, commit: &str) -> Result<(), Fault> {
        self.repo.change_by(UNLEAVE, &[&format!("refs/heads/{name}"), commit]).await.map(drop)
    }

    /// Moves the branch from `tip` to `to` (which is in the user's repository by now); git's own words when it refuses.
    pub(crate) async fn advance(
        &self,
        tip: &str,
        to: &str,
        place: &Place<'_>,
    ) -> Result<Result<(), String>, Fault> {
        let name = self.wanted.as_deref().unwrap_or_default();
        let ended = match place {
            Place::Ref => {
                let full = format!("refs/heads/{name}");
                self.repo.change(["update-ref", "-m", "kapell: landed", &full, to, tip]).await?
            }
            Place::Worktree(top) => forward(&self.repo.from(top), name, tip, to).await?,
        };
        Ok(match ended.code {
            Some(0) => Ok(()),
            // That passes, and says nothing about the work.
            _ if ended.is_locked() => return Err(self.repo.failed(&["merge"], &ended)),
            _ => Err(String::from_utf8_lossy(&ended.errors).trim().to_owned()),
        })
    }

    /// Is this commit in the branch's history? False too when the repository does not have it.
    pub(crate) async fn contains(&self, commit: &str, tip: &str) -> Result<bool, Fault> {
        Ok(self.repo.ask(["merge-base", "--is-ancestor", commit, tip]).await?.code == Some(0))
    }
}

/// Fast-forwards the branch that is checked out. git moves whatever is checked out at that instant, so it is looked at
/// before, and again after: another branch that the user switched to in between goes back to where this merge found it,
/// which git itself has noted. And git writes files and index first and the branch last: when the user commits in
/// between, or something holds the branch, or a git moves none, it stays and the rest has gone ahead. Then files and index go back to where the branch is by now; a change of the user's stays, and so
/// does what the user has landed by hand. In one piece: a Kapell that is killed in between leaves nothing half landed.
async fn forward(theirs: &Repo, name: &str, tip: &str, to: &str) -> Result<Ended, Fault> {
    theirs.change_by(FORWARD, &[&format!("refs/heads/{name}"), tip, to]).await
}

/// Does the index hold all that landing changes? git writes it in one piece, so a merge that was refused left nothing,
/// and then nothing is put back. What the user wants of merges into the branch (`mergeOptions`) is not about this one.
const FORWARD: &str = r#"
branch=$1 tip=$2 to=$3; shift 3
out=$("$@" symbolic-ref -q HEAD)
if [ "$out" != "$branch" ]; then
    echo "${out:-a commit} is checked out by now, not $branch" >&2
    exit 1
fi
if [ "$("$@" rev-parse --verify --quiet HEAD)" = "$tip" ]; then
    NONE= "$@" --config-env="branch.${branch#refs/heads/}.mergeOptions=NONE" \
        merge --ff-only --no-autostash --no-stat --no-progress --quiet "$to"
    code=$?
else
    echo "$branch was moved meanwhile" >&2
    code=1
fi
if [ $code = 0 ]; then
    [ "$("$@" rev-parse --verify --quiet "$branch")" = "$to" ] && exit 0
    code=1
    was=$("$@" rev-parse --verify --quiet ORIG_HEAD)
    if [ "$("$@" rev-parse --verify --quiet HEAD)" != "$to" ]; then
        echo "git merged and did not move $branch" >&2
    elif "$@" update-ref -m 'kapell: taken back' HEAD "$was" "$to"; then
        echo "another branch than $branch was checked out meanwhile; it is where it was" >&2
    else
        echo "another branch than $branch was checked out meanwhile, and stands at $to now" >&2
    fi
fi
"$@" diff-tree -r -z --name-only --no-renames "$tip" "$to" |
    xargs -0 "$@" diff-index --cached --quiet "$to" -- >/dev/null 2>&1 &&
    "$@" read-tree -m -u "$to" HEAD
exit $code
"#;

/// `update-ref` does not mind that a branch is checked out somewhere: its worktree would be left on nothing. It refuses
/// when somebody moved the branch meanwhile; then it is theirs.
const UNLEAVE: &str = r#"
branch=$1 commit=$2; shift 2
[ -z "$("$@" for-each-ref --format='%(worktreepath)' "$branch")" ] || exit 0
"$@" update-ref -d "$branch" "$commit"
"#;

/// Where the session's repository holds what is brought over.
pub(crate) const LAND_REF: &str = "refs/kapell/land";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::time::{Duration, Instant};

    async fn git(repo: &Repo, args: &[&str]) -> String {
        let ended = repo.ask(args).await.unwrap();
        assert_eq!(ended.code, Some(0), "{args:?}: {}", String::from_utf8_lossy(&ended.errors));
        line(&ended.output)
    }

    /// A repository with work to land: its directory, it, its branch's tip and the work's commit.
    async fn repository() -> (tempfile::TempDir, Repo, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("repo");
        std::fs::create_dir(&top).unwrap();
        let repo = Repo::theirs(&Binary::new(dir.path().join("records")), &top)
            .with("GIT_AUTHOR_NAME", "a")
            .with("GIT_AUTHOR_EMAIL", "a@b")
            .with("GIT_COMMITTER_NAME", "a")
            .with("GIT_COMMITTER_EMAIL", "a@b");
        let write = |name: &str, text: &str| std::fs::write(top.join(name), text).unwrap();
        git(&repo, &["init", "-q", "-b", "main"]).await;
        write("old", "base\n");
        write("mine", "base\n");
        git(&repo, &["add", "-A"]).await;
        git(&repo, &["commit", "-qm", "base"]).await;
        let tip = git(&repo, &["rev-parse", "HEAD"]).await;
        write("old", "landed\n");
        write("new", "landed\n");
        git(&repo, &["add", "-A"]).await;
        git(&repo, &["commit", "-qm", "work"]).await;
        let to = git(&repo, &["rev-parse", "HEAD"]).await;
        (dir, repo, tip, to)
    }

    #[tokio::test]
    async fn a_commit_of_the_users_in_the_middle_of_landing_leaves_nothing_half_landed() {
        let (dir, repo, tip, to) = repository().await;
        let top = dir.path().join("repo");
        let write = |name: &str, text: &str| std::fs::write(top.join(name), text).unwrap();
        // Where git stands when the branch has moved under it: files and index are ahead, the branch is elsewhere.
        git(&repo, &["update-ref", "HEAD", &tip]).await;
        write("theirs", "by hand\n");
        git(&repo, &["add", "theirs"]).await;
        git(&repo, &["commit", "-qm", "by hand", "--", "theirs"]).await;
        write("mine", "not committed\n");
        write("unknown", "not known to git\n");
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "M mine\nA  new\nM  old\n?? unknown");
        let ended = forward(&repo, "main", &tip, &to).await.unwrap();
        assert_ne!(ended.code, Some(0), "it was not landed");
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "M mine\n?? unknown");
        assert!(!top.join("new").exists());
        assert_eq!(std::fs::read_to_string(top.join("old")).unwrap(), "base\n");
    }

    #[tokio::test]
    async fn a_branch_that_is_held_leaves_nothing_half_landed() {
        let (dir, repo, tip, to) = repository().await;
        git(&repo, &["reset", "-q", "--hard", &tip]).await;
        // Its log cannot be written. (For a lock git would be asked again and again.)
        let log = dir.path().join("repo/.git/logs/refs/heads/main");
        std::fs::remove_file(&log).unwrap();
        std::fs::create_dir(&log).unwrap();
        std::fs::write(log.join("in the way"), "").unwrap();
        assert_ne!(forward(&repo, "main", &tip, &to).await.unwrap().code, Some(0));
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "");
        std::fs::remove_file(log.join("in the way")).unwrap();
        assert_eq!(forward(&repo, "main", &tip, &to).await.unwrap().code, Some(0));
        assert_eq!(git(&repo, &["rev-parse", "HEAD"]).await, to);
    }

    #[tokio::test]
    async fn what_was_begun_when_kapell_was_killed_leaves_nothing_half_landed() {
        let (dir, repo, tip, to) = repository().await;
        git(&repo, &["reset", "-q", "--hard", &tip]).await;
        // The branch cannot be moved: its log cannot be written.
        let log = dir.path().join("repo/.git/logs/refs/heads/main");
        std::fs::remove_file(&log).unwrap();
        std::fs::create_dir(&log).unwrap();
        std::fs::write(log.join("in the way"), "").unwrap();
        let index = || std::fs::metadata(dir.path().join("repo/.git/index")).unwrap().ino();
        let before = index();
        let mut landing = Box::pin(forward(&repo, "main", &tip, &to));
        while index() == before {
            let next = tokio::time::timeout(Duration::from_millis(1), &mut landing);
            assert!(next.await.is_err() || index() != before, "the index went ahead");
        }
        drop(landing);
        let began = Instant::now();
        while !git(&repo, &["status", "--porcelain"]).await.is_empty() {
            assert!(began.elapsed() < Duration::from_secs(30), "the index stays ahead of the branch");
        }
        assert!(!dir.path().join("repo/new").exists());
    }

    #[tokio::test]
    async fn another_branch_that_is_checked_out_by_now_does_not_move() {
        let (dir, repo, tip, to) = repository().await;
        git(&repo, &["reset", "-q", "--hard", &tip]).await;
        git(&repo, &["switch", "-q", "-c", "feature"]).await;
        let ended = forward(&repo, "main", &tip, &to).await.unwrap();
        assert_ne!(ended.code, Some(0));
        assert!(String::from_utf8_lossy(&ended.errors).contains("refs/heads/feature is checked out by now"));
        // The same in the very instant between the look and the move: a git at which the user is faster.
        git(&repo, &["switch", "-q", "main"]).await;
        git(&repo, &["branch", "-q", "-D", "feature"]).await;
        let slow = dir.path().join("slow-git");
        let script = "#!/bin/sh\ncase \" $* \" in *\" merge --ff-only \"*) /usr/bin/git switch -q -c feature ;; esac\n\
                      exec /usr/bin/git \"$@\"\n";
        std::fs::write(&slow, script).unwrap();
        std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let theirs = Repo::theirs(&Binary::at(slow, dir.path().join("records")), repo.dir());
        std::fs::write(dir.path().join("repo/mine"), "not committed\n").unwrap();
        assert_ne!(forward(&theirs, "main", &tip, &to).await.unwrap().code, Some(0));
        for branch in ["main", "feature"] {
            assert_eq!(git(&repo, &["rev-parse", branch]).await, tip, "{branch}");
        }
        assert_eq!(git(&repo, &["symbolic-ref", "--short", "HEAD"]).await, "feature");
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "M mine");
        assert!(!dir.path().join("repo/new").exists());
    }

    /// A git that does something else, `instead` or before, when it is asked to merge.
    fn meddling(dir: &Path, repo: &Repo, what: &str) -> Repo {
        let script = format!(
            "#!/bin/sh\nfor last; do :; done\ncase \" $* \" in *\" merge --ff-only \"*) {what} ;; esac\n\
             exec /usr/bin/git \"$@\"\n"
        );
        let path = dir.join("meddling-git");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Repo::theirs(&Binary::at(path, dir.join("records")), repo.dir())
    }

    #[tokio::test]
    async fn a_branch_that_was_switched_to_goes_back_to_where_it_was() {
        let (dir, repo, old, tip) = repository().await;
        // The work is one commit further, and another branch one behind.
        git(&repo, &["commit", "-q", "--allow-empty", "-m", "more"]).await;
        std::fs::write(dir.path().join("repo/newer"), "work\n").unwrap();
        git(&repo, &["add", "-A"]).await;
        git(&repo, &["commit", "-qm", "newer"]).await;
        let to = git(&repo, &["rev-parse", "HEAD"]).await;
        git(&repo, &["reset", "-q", "--hard", &tip]).await;
        git(&repo, &["branch", "release", &old]).await;
        let theirs = meddling(dir.path(), &repo, "/usr/bin/git switch -q release");
        assert_ne!(forward(&theirs, "main", &tip, &to).await.unwrap().code, Some(0));
        for (branch, commit) in [("main", &tip), ("release", &old)] {
            assert_eq!(git(&repo, &["rev-parse", branch]).await, *commit, "{branch}");
        }
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "");
        // What was dropped from the branch meanwhile does not come back with the work.
        git(&repo, &["switch", "-q", "main"]).await;
        git(&repo, &["reset", "-q", "--hard", &old]).await;
        assert_ne!(forward(&repo, "main", &tip, &to).await.unwrap().code, Some(0));
        assert_eq!(git(&repo, &["rev-parse", "main"]).await, old);
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "");
    }

    #[tokio::test]
    async fn a_merge_that_moves_nothing_leaves_nothing_half_landed() {
        let (dir, repo, tip, to) = repository().await;
        git(&repo, &["reset", "-q", "--hard", &tip]).await;
        let theirs = meddling(dir.path(), &repo, "exec /usr/bin/git merge -q --squash \"$last\"");
        assert_ne!(forward(&theirs, "main", &tip, &to).await.unwrap().code, Some(0));
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "");
        assert_eq!(git(&repo, &["rev-parse", "main"]).await, tip);
        // The user's own wish for merges is not about this one.
        for wish in ["--squash", "-s ours"] {
            git(&repo, &["config", "branch.main.mergeOptions", wish]).await;
            let ended = forward(&repo, "main", &tip, &to).await.unwrap();
            assert_eq!(ended.code, Some(0), "{}", String::from_utf8_lossy(&ended.errors));
            assert_eq!(git(&repo, &["rev-parse", "main"]).await, to);
            assert_eq!(git(&repo, &["status", "--porcelain"]).await, "");
            git(&repo, &["reset", "-q", "--hard", &tip]).await;
        }
    }

    #[tokio::test]
    async fn what_the_user_landed_by_hand_meanwhile_is_not_taken_back() {
        let (dir, repo, tip, to) = repository().await;
        // The same work as a commit of the user's own, before git began or in the middle of it.
        git(&repo, &["reset", "-q", "--soft", &tip]).await;
        git(&repo, &["commit", "-qm", "the work, squashed"]).await;
        assert_ne!(forward(&repo, "main", &tip, &to).await.unwrap().code, Some(0), "it was not landed");
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "");
        assert_eq!(std::fs::read_to_string(dir.path().join("repo/old")).unwrap(), "landed\n");
        // A change that is in the way is refused before anything is touched, and stays.
        git(&repo, &["reset", "-q", "--hard", &tip]).await;
        std::fs::write(dir.path().join("repo/old"), "not committed\n").unwrap();
        git(&repo, &["add", "old"]).await;
        assert_ne!(forward(&repo, "main", &tip, &to).await.unwrap().code, Some(0));
        assert_eq!(git(&repo, &["status", "--porcelain"]).await, "M  old");
    }
}
