//! What lies on disk beside the store: workspaces, pins in the user's repositories, check slots, locks, records.
//!
//! Looks only; what to do stands in each finding. Start at [`look`].

use crate::app::{App, Wired};
use crate::exit::Failure;
use crate::finding::Finding;
use crate::quantity::bytes;
use contract::event::Event;
use contract::journal::Journal;
use contract::{SessionId, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use workspace::{Pinned, Standing};

/// What is to be known of a session to judge its things.
#[derive(Debug, Clone, Default)]
pub(super) struct Owner {
    pub(super) ended: bool,
    /// Its workspace was made once.
    pub(super) prepared: bool,
    /// The repository it was opened for.
    pub(super) repo: PathBuf,
}

pub(super) type Owners = BTreeMap<SessionId, Owner>;

/// Everything beside the store.
pub(super) async fn look(app: &App, wired: &Wired, owners: &Owners) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let mut whole: BTreeMap<SessionId, Pinned> = BTreeMap::new();
    let mut there = BTreeSet::new();
    for found in wired.git.audit()? {
        there.extend(found.session);
        let owner = found.session.and_then(|id| owners.get(&id));
        findings.extend(standing(found.session, &found.dir, &found.standing, owner));
        if let (Some(id), Standing::Whole(pinned)) = (found.session, found.standing) {
            whole.insert(id, pinned);
        }
    }
    findings.extend(gone(owners, &there));
    let size = wired.git.list()?.iter().map(|workspace| workspace.bytes).sum();
    let what = format!("{} with {}", there.len(), bytes(size));
    findings.push(Finding::ok("workspaces", what));
    findings.extend(pins(wired, owners, &whole, &there).await);
    findings.extend(slots(wired));
    findings.extend(running(app, wired, owners));
    Ok(findings)
}

/// The workspace of one session, for `verify SESSION`.
pub(in crate::cmd) async fn workspace_of(wired: &Wired, id: SessionId) -> Result<Vec<Finding>, Failure> {
    // A session whose events cannot be read is named where they are.
    let Ok(Some(state)) = wired.engine.look(id).await else { return Ok(Vec::new()) };
    let repo = state.spec.as_ref().map(|spec| PathBuf::from(&spec.repo)).unwrap_or_default();
    let ended = state.phase == kernel::fsm::Phase::Ended;
    let owners = Owners::from([(id, Owner { ended, prepared: state.prepared.is_some(), repo })]);
    let Some(found) = wired.git.audit_one(id) else {
        return Ok(gone(&owners, &BTreeSet::new()));
    };
    let mut findings: Vec<Finding> =
        standing(Some(id), &found.dir, &found.standing, owners.get(&id)).into_iter().collect();
    if let Standing::Whole(pinned) = found.standing {
        let whole = BTreeMap::from([(id, pinned)]);
        let all = pins(wired, &owners, &whole, &BTreeSet::from([id])).await;
        findings.extend(all.into_iter().filter(|finding| finding.what.contains(&id.to_string())));
        if findings.is_empty() {
            findings.push(Finding::ok("workspaces", format!("{} is whole", found.dir.display())));
        }
    }
    Ok(findings)
}

fn standing(
    session: Option<SessionId>,
    dir: &Path,
    standing: &Standing,
    owner: Option<&Owner>,
) -> Option<Finding> {
    let dir = dir.display();
    let works = owner.is_some_and(|owner| !owner.ended);
    let id = session.map_or(String::new(), |id| id.to_string());
    match standing {
        Standing::Whole(_) | Standing::Unfinished if owner.is_some() => None,
        Standing::Whole(_) | Standing::Unfinished => Some(Finding::note(
            "workspaces",
            format!("{dir} belongs to no session of this store"),
            "kapell gc parks its work in the repository and removes it",
        )),
        Standing::Broken(why) if works => Some(Finding::bad(
            "workspaces",
            format!("session {id}: {why}"),
            format!("put it back and kapell resume {id}, or end the session: kapell cancel {id}"),
        )),
        Standing::Broken(why) => Some(Finding::note(
            "workspaces",
            format!("{dir}: {why}"),
            "no unfinished session needs it; remove it yourself if kapell gc leaves it",
        )),
        Standing::Foreign if works => Some(Finding::bad(
            "workspaces",
            format!("session {id}: {dir} was not made by Kapell"),
            format!("move it away, then kapell resume {id}"),
        )),
        Standing::Foreign => Some(Finding::note(
            "workspaces",
            format!("{dir} was not made by Kapell"),
            "Kapell never touches it; remove it yourself if it is yours",
        )),
    }
}

/// Unfinished sessions whose workspace was made and is not there.
fn gone(owners: &Owners, there: &BTreeSet<SessionId>) -> Vec<Finding> {
    let lost = |(id, owner): (&SessionId, &Owner)| {
        let lost = owner.prepared && !owner.ended && !there.contains(id);
        lost.then(|| {
            Finding::bad(
                "workspaces",
                format!("session {id}: its workspace is gone, with the work in it that had not landed"),
                format!(
                    "kapell cancel {id} ends the session; kapell sessions transcript {id} shows what it did"
                ),
            )
        })
    };
    owners.iter().filter_map(lost).collect()
}

/// Kapell's refs in the users' repositories: every workspace has its own, and no other is there.
async fn pins(
    wired: &Wired,
    owners: &Owners,
    whole: &BTreeMap<SessionId, Pinned>,
    there: &BTreeSet<SessionId>,
) -> Vec<Finding> {
    let borrowed = whole.values().filter(|pinned| !pinned.child).map(|pinned| pinned.repo.clone());
    // A child's repository is its parent's workspace.
    let opened = owners.iter().filter(|(id, _)| whole.get(id).is_none_or(|pinned| !pinned.child));
    let repos: BTreeSet<PathBuf> =
        borrowed.chain(opened.map(|(_, owner)| owner.repo.clone())).filter(|repo| repo.is_dir()).collect();
    let (mut findings, mut sound, mut parked) = (Vec::new(), 0u64, 0u64);
    for (id, pinned) in whole.iter().filter(|(_, pinned)| !pinned.child && !pinned.repo.is_dir()) {
        let what = format!("session {id}: its repository {} is gone", pinned.repo.display());
        findings.push(Finding::bad(
            "pins",
            what,
            "put it back where it was; work that did not land is in the workspace",
        ));
    }
    for repo in repos {
        let refs = match wired.git.pins(&repo).await {
            Ok(refs) => refs,
            Err(fault) => {
                findings.push(Finding::note(
                    "pins",
                    format!("{}: {}", repo.display(), fault.what),
                    fault.hint,
                ));
                continue;
            }
        };
        let pinned: BTreeMap<&str, &str> =
            refs.iter().map(|pin| (pin.name.as_str(), pin.commit.as_str())).collect();
        for (id, workspace) in whole.iter().filter(|(_, w)| !w.child && w.repo == repo) {
            match unpinned(wired, &repo, *id, &workspace.base, &pinned).await {
                Some(finding) => findings.push(finding),
                None => sound += 1,
            }
        }
        parked += pinned.keys().filter(|name| name.starts_with("refs/kapell/parked/")).count() as u64;
        for name in pinned.keys().filter_map(|name| name.strip_prefix("refs/kapell/base/")) {
            findings.extend(left(&repo, name, owners, there));
        }
    }
    let kept = if parked > 0 {
        format!("; {parked} keep work that never landed (git for-each-ref refs/kapell/parked)")
    } else {
        String::new()
    };
    findings.push(Finding::ok("pins", format!("{sound} bases are pinned and there{kept}")));
    findings
}

async fn unpinned(
    wired: &Wired,
    repo: &Path,
    id: SessionId,
    base: &str,
    pinned: &BTreeMap<&str, &str>,
) -> Option<Finding> {
    let (name, dir) = (format!("refs/kapell/base/{id}"), repo.display());
    let wrong = match pinned.get(name.as_str()) {
        Some(commit) if *commit == base => None,
        Some(commit) => Some(format!("points to {commit}, not to the base {base}")),
        None => {
            Some("is missing, so a collection of garbage there may drop what the session borrows".to_owned())
        }
    };
    match (wired.git.has_commit(repo, base).await, wrong) {
        (Ok(false), _) => Some(Finding::bad(
            "pins",
            format!("session {id}: its base {base} is not in {dir} any more"),
            format!("fetch that commit into {dir} again, or end the session: kapell cancel {id}"),
        )),
        (Err(fault), _) => Some(Finding::note("pins", format!("{dir}: {}", fault.what), fault.hint)),
        (Ok(true), Some(wrong)) => Some(Finding::bad(
            "pins",
            format!("session {id}: {name} in {dir} {wrong}"),
            format!("git -C {dir} update-ref {name} {base}"),
        )),
        (Ok(true), None) => None,
    }
}

/// A pin that pins nothing any more.
fn left(repo: &Path, name: &str, owners: &Owners, there: &BTreeSet<SessionId>) -> Option<Finding> {
    let id: Option<SessionId> = name.parse().ok();
    let owner = id.and_then(|id| owners.get(&id));
    if id.is_some_and(|id| there.contains(&id)) || owner.is_some_and(|owner| !owner.ended) {
        return None;
    }
    let whose = match owner {
        Some(_) => "whose session has ended and has no workspace",
        None => "of no session of this store (one of another KAPELL_HOME may need it)",
    };
    let (full, dir) = (format!("refs/kapell/base/{name}"), repo.display());
    Some(Finding::note(
        "pins",
        format!("{dir} has {full}, {whose}"),
        format!("git -C {dir} update-ref -d {full}"),
    ))
}

fn slots(wired: &Wired) -> Option<Finding> {
    let slots = wired.git.audit_slots();
    let what = format!("{} places for checks, {} in use", slots.all, slots.held);
    match slots.left {
        0 => (slots.all > 0).then(|| Finding::ok("checks", what)),
        left => Some(Finding::note(
            "checks",
            format!("{what}, {left} with checkouts of a run that died"),
            "the next run there removes them, and so does kapell gc",
        )),
    }
}

/// Locks and records of processes: those of dead ones are left over.
fn running(app: &App, wired: &Wired, owners: &Owners) -> Vec<Finding> {
    let (mut findings, mut stale) = (Vec::new(), Vec::new());
    let run = app.home.run_dir();
    let entries = std::fs::read_dir(&run).into_iter().flatten().flatten();
    let ids: BTreeSet<SessionId> =
        entries.filter_map(|entry| entry.path().file_stem()?.to_str()?.parse().ok()).collect();
    for id in ids.into_iter().filter(|id| !wired.locks.held(*id)) {
        let works = owners.get(&id).is_some_and(|owner| !owner.ended);
        if !works && wired.locks.path(id).exists() {
            stale.push(id.to_string());
        }
        findings.extend(records(&wired.locks.records(id), &format!("session {id}"), works.then_some(id)));
    }
    findings.extend(records(&run, "no session", None));
    if let Some(first) = stale.first() {
        let what = format!("{} of sessions that are over, such as {first}", stale.len());
        findings.push(Finding::note("locks", what, "kapell gc removes them"));
    }
    findings
}

/// Records that nobody who lives keeps.
fn records(dir: &Path, of: &str, resumable: Option<SessionId>) -> Option<Finding> {
    let (all, alive) = sandbox::look(dir).ok()?;
    let end = match resumable {
        Some(id) => format!("kapell resume {id} ends what is left of them"),
        None => "kapell gc ends what is left of them and removes the records".to_owned(),
    };
    match (all, alive) {
        (0, _) => None,
        (_, 0) => {
            Some(Finding::note("processes", format!("{of}: {all} records of programs that are gone"), end))
        }
        (..) => Some(Finding::note(
            "processes",
            format!("{of}: {alive} programs still run though their Kapell died"),
            end,
        )),
    }
}

/// Sessions by what has to be known of them: unfinished ones from their state, ended ones from their first event.
pub(super) async fn owner(wired: &Wired, id: SessionId) -> Owner {
    let first = wired.store.read(StreamId::Session(id), 0, 1).await.unwrap_or_default();
    let opened = first.first().and_then(|stored| contract::record::decode::<Event>(&stored.bytes).ok());
    let repo = match opened.map(|record| record.event) {
        Some(Event::Opened { spec }) => PathBuf::from(spec.repo),
        _ => PathBuf::new(),
    };
    Owner { ended: true, prepared: false, repo }
}
