//! Landing: rebase onto the target's tip, check the merged tree if the target moved, fast-forward, or leave a branch.
//!
//! Called again after a crash it finds what was done and goes on. Knows not what a check is. Start at [`Git::land`].

use crate::git::{Repo, line, revision};
use crate::object::{Kind as ObjectKind, Oid};
use crate::session::{Facts, Point, branch, io_fault};
use crate::target::{LAND_REF, Stays, Target};
use crate::work::{Merged, merge};
use crate::{Git, Held};
use contract::action::Integrated;
use contract::checks::CheckOutput;
use contract::workspace::{CheckMerged, Landed, Landing};
use contract::{Cancel, Digest, Fault, Kind, SessionId, limits};

/// A commit that could become the tip, and the tip it was made for.
struct Candidate {
    commit: String,
    /// The target had moved: this tree was never checked.
    merged: bool,
}

/// What a try to land came to.
enum Tried {
    Landed(String),
    Stays(Stays, String),
    Moved,
}

impl Git {
    pub(crate) async fn land(
        &self,
        session: SessionId,
        landing: Landing,
        check: CheckMerged<'_>,
        cancel: Cancel,
    ) -> Result<Landed, Fault> {
        let result = revision(&landing.result)?.to_owned();
        let mut held = self.hold(session).await?;
        let repo = held.guard(&self.binary)?;
        if result == landing.base || result == held.facts.base {
            return Ok(outcome(
                None,
                None,
                Some(Stays::new("nothing-to-land", "the work changes nothing")),
                None,
            ));
        }
        let mut output = None;
        for _ in 0..limits::LAND_TRIES {
            stop_if(&cancel)?;
            let target = self.target(&held, &landing).await?;
            let tried =
                self.try_once(&mut held, &repo, &target, &landing, check, &mut output, &cancel).await?;
            match tried {
                Tried::Landed(tip) => return Ok(outcome(Some(tip), landing.target, None, output)),
                Tried::Stays(stays, commit) => {
                    let name = self.leave(&mut held, &target, &commit).await?;
                    return Ok(outcome(None, Some(name), Some(stays), output));
                }
                Tried::Moved => {}
            }
        }
        let target = self.target(&held, &landing).await?;
        let name = self.leave(&mut held, &target, &result).await?;
        let stays = Stays::new("moved", "the target moved each time the work was about to land");
        Ok(outcome(None, Some(name), Some(stays), output))
    }

    #[expect(clippy::too_many_arguments, reason = "one step of the loop above, with all that it holds")]
    async fn try_once(
        &self,
        held: &mut Held,
        repo: &Repo,
        target: &Target,
        landing: &Landing,
        check: CheckMerged<'_>,
        output: &mut Option<CheckOutput>,
        cancel: &Cancel,
    ) -> Result<Tried, Fault> {
        let result = landing.result.clone();
        let (tip, place) = match target.place() {
            Ok(found) => found,
            Err(stays) => return Ok(Tried::Stays(stays, result)),
        };
        if let Some(landed) = already(held, target, &result, &tip).await? {
            self.landed(held, repo, target, &result).await?;
            return Ok(Tried::Landed(landed));
        }
        if !landing.land {
            return Ok(Tried::Stays(Stays::new("not-asked", "landing was not asked for"), result));
        }
        let candidate = match rebase(held, repo, &result, &tip).await? {
            Ok(candidate) if !landed_before(&held.facts, &result) => candidate,
            Err(Stays { why: "nothing-to-land", .. }) => {
                self.landed(held, repo, target, &result).await?;
                return Ok(Tried::Landed(tip));
            }
            Err(stays) if !landed_before(&held.facts, &result) => return Ok(Tried::Stays(stays, result)),
            _ => return Ok(Tried::Stays(taken_back(landing), result)),
        };
        if candidate.merged {
            let (good, runs) = check(candidate.commit.clone()).await?;
            *output = Some(runs);
            stop_if(cancel)?;
            if !good {
                let stays = Stays::new(
                    "checks",
                    "the checks do not hold on the work merged with the target's new tip",
                );
                return Ok(Tried::Stays(stays, result));
            }
            // The checks may have taken minutes. With another branch checked out by now, that one would move.
            let now = self.target(held, landing).await?;
            if now.place() != Ok((tip.clone(), place)) {
                return Ok(Tried::Moved);
            }
        }
        let mut facts = held.facts.clone();
        facts.landing = Some((result.clone(), candidate.commit.clone()));
        record(held, facts)?;
        self.leave(held, target, &candidate.commit).await?;
        match target.advance(&tip, &candidate.commit, &place).await? {
            Ok(()) => {
                self.landed(held, repo, target, &result).await?;
                Ok(Tried::Landed(candidate.commit))
            }
            Err(words) => {
                let now = self.target(held, landing).await?;
                Ok(match now.place() {
                    // With another branch checked out by now, this one can be moved by itself.
                    Ok((still, at)) if still == tip && at == place => {
                        Tried::Stays(refused(&words), candidate.commit)
                    }
                    _ => Tried::Moved,
                })
            }
        }
    }

    /// The user's repository now.
    async fn target(&self, held: &Held, landing: &Landing) -> Result<Target, Fault> {
        Target::look(&self.binary.of(held.home.session), &held.facts, landing.target.as_deref()).await
    }

    /// Leaves a commit as a branch in the user's repository; its name.
    async fn leave(&self, held: &mut Held, target: &Target, commit: &str) -> Result<String, Fault> {
        let name = target.free_name(&branch(held.home.session), commit, held.facts.left.as_ref())?;
        let oid = Oid::parse(commit).ok_or_else(|| {
            Fault::new(Kind::Permanent, "bad-revision", format!("`{commit}` is no commit id"))
        })?;
        held.home
            .write_ref(LAND_REF, &oid, false)
            .map_err(|error| io_fault("writing", &held.home.git, &error))?;
        target.leave(&held.home.git, &name, commit).await?;
        let mut facts = held.facts.clone();
        facts.left = Some((name.clone(), commit.to_owned()));
        record(held, facts)?;
        Ok(name)
    }

    /// Puts the landing on record and takes the left branch away.
    async fn landed(&self, held: &mut Held, repo: &Repo, target: &Target, result: &str) -> Result<(), Fault> {
        if let Some((name, commit)) = held.facts.left.clone() {
            target.unleave(&name, &commit).await?;
        }
        let tree = match &held.facts.work {
            Some(work) if work.commit == result => work.tree.clone(),
            _ => line(&repo.call(["rev-parse", &format!("{result}^{{tree}}")]).await?),
        };
        let mut facts = held.facts.clone();
        facts.landed = Some(Point { commit: result.to_owned(), tree });
        facts.left = None;
        record(held, facts)
    }
}

/// Why git left the branch where it was: something of the user's is in the way, or it cannot be written.
fn refused(words: &str) -> Stays {
    // git speaks English here: it is started with LC_ALL=C.
    let in_the_way = ["overwritten by", "lose untracked files", "unmerged files", "not concluded your"];
    if in_the_way.iter().any(|part| words.contains(part)) {
        return Stays::new("dirty", format!("your tree has changes that landing would overwrite:\n{words}"));
    }
    Stays::new("refused", format!("git would not move the branch, and said why:\n{words}"))
}

fn record(held: &mut Held, facts: Facts) -> Result<(), Fault> {
    held.record(facts).map_err(|error| io_fault("writing", &held.home.dir, &error))
}

/// The landed commit, when an earlier call landed it already.
async fn already(held: &Held, target: &Target, result: &str, tip: &str) -> Result<Option<String>, Fault> {
    let begun = held.facts.landing.as_ref().filter(|(of, _)| of == result).map(|(_, commit)| commit.as_str());
    for commit in [Some(result), begun].into_iter().flatten() {
        if commit == tip || (tip != held.facts.base && target.contains(commit, tip).await?) {
            return Ok(Some(commit.to_owned()));
        }
    }
    Ok(None)
}

/// Was this very result landed once? Who finds it missing from the target must not put it there again.
fn landed_before(facts: &Facts, result: &str) -> bool {
    facts.landed.as_ref().is_some_and(|landed| landed.commit == result)
}

fn taken_back(landing: &Landing) -> Stays {
    let target = landing.target.as_deref().unwrap_or("the target");
    let what = format!(
        "this work landed before, and `{target}` does not have it any more: whoever took it back decides"
    );
    Stays::new("taken-back", what)
}

/// The result on top of the tip.
async fn rebase(
    held: &Held,
    repo: &Repo,
    result: &str,
    tip: &str,
) -> Result<Result<Candidate, Stays>, Fault> {
    let answer = repo.call(["rev-parse", &format!("{result}^"), &format!("{tip}^{{tree}}")]).await?;
    let answer = line(&answer);
    let (parent, tip_tree) = answer.split_once('\n').unwrap_or_default();
    if parent == tip {
        return Ok(Ok(Candidate { commit: result.to_owned(), merged: false }));
    }
    match merge(held, repo, parent, tip, result).await? {
        Merged::Conflicts(paths) => Ok(Err(Stays::new(
            "conflict",
            format!("the work conflicts with the target's new tip in: {paths}"),
        ))),
        Merged::Clean(tree) if tree == tip_tree => {
            Ok(Err(Stays::new("nothing-to-land", "the target has the same change already")))
        }
        Merged::Clean(tree) => {
            let body = repo.call(["cat-file", "commit", result]).await?;
            let commit =
                onto(held, &body, &tree, tip).map_err(|error| io_fault("writing", &held.home.git, &error))?;
            Ok(Ok(Candidate { commit, merged: true }))
        }
    }
}

/// The same commit with another tree and parent. Nothing else changes, so doing it again gives the same id.
fn onto(held: &Held, body: &[u8], tree: &str, parent: &str) -> std::io::Result<String> {
    let mut moved = format!("tree {tree}\nparent {parent}\n").into_bytes();
    let mut rest = body;
    while rest.starts_with(b"tree ") || rest.starts_with(b"parent ") {
        let end = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |end| end + 1);
        rest = &rest[end..];
    }
    moved.extend_from_slice(rest);
    held.store().put(ObjectKind::Commit, &moved).map(|oid| oid.to_string())
}

fn stop_if(cancel: &Cancel) -> Result<(), Fault> {
    match cancel.is_cancelled() {
        true => {
            Err(Fault::new(Kind::Transient, "cancelled", "landing was stopped on request; nothing landed"))
        }
        false => Ok(()),
    }
}

fn outcome(
    landed: Option<String>,
    branch: Option<String>,
    stays: Option<Stays>,
    output: Option<CheckOutput>,
) -> Landed {
    let (report, mut blobs) = output.map_or((None, Vec::new()), |output| (Some(output.report), output.blobs));
    let detail = stays.as_ref().map(|stays| stays.detail.clone().into_bytes());
    let integrated = Integrated {
        landed,
        branch,
        why: stays.map(|stays| stays.why.to_owned()),
        detail: detail.as_deref().map(Digest::of),
        report,
    };
    blobs.extend(detail);
    Landed { integrated, blobs }
}
