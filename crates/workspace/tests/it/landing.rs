//! Landing: the target moves or stays, and what does not land leaves the user's repository as it was.

use crate::support::{World, git_in, put, session};
use contract::Kind;
use contract::workspace::{Landing, Origin, Workspace};
use std::os::unix::fs::PermissionsExt;

fn why(landed: &contract::workspace::Landed) -> &str {
    landed.integrated.why.as_deref().unwrap_or("landed")
}

#[tokio::test]
async fn lands_by_fast_forward_and_leaves_nothing_behind() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("src/new.rs"), "new");
    let result = world.commit(session).await;
    let landed = world.land(session, &ready, &result, None).await;
    assert_eq!(landed.integrated.landed.as_deref(), Some(result.as_str()));
    assert_eq!(landed.integrated.branch.as_deref(), Some("main"));
    assert_eq!(world.head(), result);
    assert_eq!(world.run(&["status", "--porcelain"]), "");
    assert_eq!(world.run(&["branch", "--format=%(refname:short)"]), "main");
    world.run(&["fsck", "--strict"]);
    // A crash after landing: the same call again.
    let again = world.land(session, &ready, &result, None).await;
    assert_eq!(again.integrated.landed, landed.integrated.landed);
    // And the session goes on.
    put(&ready.root.join("src/new.rs"), "newer");
    let second = world.commit(session).await;
    assert_eq!(why(&world.land(session, &ready, &second, None).await), "landed");
    assert_eq!(world.run(&["show", "HEAD:src/new.rs"]), "newer");
}

#[tokio::test]
async fn rebases_onto_a_moved_target_after_checking_the_merged_tree() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("b.txt"), "b");
    let result = world.commit(session).await;
    world.write("c.txt", "c");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "meanwhile"]);
    let moved = world.head();
    let before = world.fingerprint();
    let landed = world.land(session, &ready, &result, Some(false)).await;
    assert_eq!(why(&landed), "checks");
    assert_eq!(world.fingerprint(), before);
    assert_eq!(world.run(&["rev-parse", &workspace::branch(session)]), result);
    let landed = world.land(session, &ready, &result, Some(true)).await;
    let tip = landed.integrated.landed.clone().unwrap();
    assert_eq!(landed.integrated.report.unwrap().result, tip);
    assert_eq!(landed.blobs, [b"log".to_vec()]);
    assert_eq!(world.head(), tip);
    assert_eq!(world.run(&["rev-parse", "HEAD^"]), moved);
    assert_eq!(world.run(&["log", "-1", "--format=%an %s"]), "Ada Example do the work");
    assert!(world.repo.join("b.txt").is_file() && world.repo.join("c.txt").is_file());
    assert_eq!(world.run(&["branch", "--format=%(refname:short)"]), "main");
    // A crash before this was put on record: the merged commit is found in the branch.
    let again = world.land(session, &ready, &result, None).await;
    assert_eq!(again.integrated.landed, Some(tip));
    // The session's next round does not conflict with its own landed work.
    put(&ready.root.join("b.txt"), "bb");
    let second = world.commit(session).await;
    assert_eq!(why(&world.land(session, &ready, &second, Some(true)).await), "landed");
    assert_eq!(world.run(&["show", "HEAD:b.txt"]), "bb");
}

#[tokio::test]
async fn a_repository_that_names_another_place_for_its_files_is_not_landed_in() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("planted.txt"), "mine\n");
    let result = world.commit(session).await;
    // As an unpacked archive may bring it along: the files go there, says git.
    let outside = world.repo.parent().unwrap().to_path_buf();
    world.run(&["config", "core.worktree", outside.to_str().unwrap()]);
    let landing = Landing {
        base: ready.base.clone(),
        result: result.clone(),
        target: ready.target.clone(),
        land: true,
    };
    let fault = world.land_with(session, landing, None).await.unwrap_err();
    assert_eq!(fault.code, "foreign-worktree", "{fault}");
    assert!(fault.hint.contains("core.worktree"), "{fault}");
    assert!(!outside.join("planted.txt").exists());
    world.run(&["config", "--unset", "core.worktree"]);
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
}

#[tokio::test]
async fn a_conflict_names_the_files_and_leaves_the_branch() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("a.txt"), "mine\n");
    let result = world.commit(session).await;
    world.write("a.txt", "theirs\n");
    world.run(&["commit", "-q", "-a", "-m", "meanwhile"]);
    let before = world.fingerprint();
    let landed = world.land(session, &ready, &result, None).await;
    assert_eq!(why(&landed), "conflict");
    assert!(String::from_utf8_lossy(&landed.blobs[0]).contains("a.txt"));
    assert_eq!(landed.integrated.branch, Some(workspace::branch(session)));
    assert_eq!(world.fingerprint(), before);
}

#[tokio::test]
async fn dirty_files_in_the_way_keep_everything_as_it_is() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("a.txt"), "mine\n");
    put(&ready.root.join("fresh.txt"), "mine\n");
    let result = world.commit(session).await;
    for (path, text) in [("a.txt", "being edited\n"), ("fresh.txt", "untracked of the user\n")] {
        let old = std::fs::read(world.repo.join(path)).ok();
        world.write(path, text);
        let before = world.fingerprint();
        assert_eq!(why(&world.land(session, &ready, &result, None).await), "dirty", "{path}");
        assert_eq!(world.fingerprint(), before, "{path}");
        match old {
            Some(old) => world.write(path, old),
            None => std::fs::remove_file(world.repo.join(path)).unwrap(),
        }
    }
    // Uncommitted work elsewhere is no obstacle and stays.
    world.write("src/lib.rs", "pub fn being_edited() {}\n");
    world.write("note", "untracked\n");
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
    assert_eq!(world.run(&["status", "--porcelain"]), " M src/lib.rs\n?? note");
}

#[tokio::test]
async fn a_branch_that_cannot_be_written_is_not_blamed_on_the_users_files() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("a.txt"), "mine\n");
    let result = world.commit(session).await;
    let log = world.repo.join(".git/logs/refs/heads/main");
    // Checked out, so that files and index would go along; then with only the branch to move.
    for elsewhere in [false, true] {
        if elsewhere {
            world.run(&["checkout", "-q", "-b", "elsewhere"]);
        }
        let kept = std::fs::read(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        put(&log.join("in the way"), "");
        let tip = world.run(&["rev-parse", "main"]);
        let landed = world.land(session, &ready, &result, None).await;
        assert_eq!(why(&landed), "refused");
        let detail = String::from_utf8_lossy(&landed.blobs[0]);
        assert!(detail.contains("logs/refs/heads/main"), "git says what is wrong: {detail}");
        let now = (world.run(&["rev-parse", "main"]), world.run(&["status", "--porcelain"]));
        assert_eq!(now, (tip, String::new()), "nothing is half landed");
        assert_eq!(landed.integrated.branch, Some(workspace::branch(session)));
        std::fs::remove_dir_all(&log).unwrap();
        std::fs::write(&log, kept).unwrap();
    }
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
}

#[tokio::test]
async fn no_hook_of_the_user_runs() {
    let world = World::new();
    let proof = world.dir.path().join("hook-ran");
    for hook in [
        "pre-merge-commit",
        "post-merge",
        "post-checkout",
        "reference-transaction",
        "pre-commit",
        "update",
        "post-rewrite",
    ] {
        let path = world.repo.join(".git/hooks").join(hook);
        put(&path, format!("#!/bin/sh\ntouch {}\n", proof.display()));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("x"), "x");
    let result = world.commit(session).await;
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
    world.remove(session).await.unwrap();
    assert!(!proof.exists());
}

#[tokio::test]
async fn without_leave_to_land_only_a_branch_is_left() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("x"), "x");
    let result = world.commit(session).await;
    let before = world.fingerprint();
    let landing = Landing {
        base: ready.base.clone(),
        result: result.clone(),
        target: ready.target.clone(),
        land: false,
    };
    let landed = world.land_with(session, landing, None).await.unwrap();
    assert_eq!(why(&landed), "not-asked");
    assert_eq!(world.run(&["rev-parse", &workspace::branch(session)]), result);
    assert_eq!(world.fingerprint(), before);
    // Nothing to land leaves nothing.
    let (other, ready) = world.prepared().await;
    let landed = world.land(other, &ready, &ready.base.clone(), None).await;
    assert_eq!((why(&landed), &landed.integrated.branch), ("nothing-to-land", &None));
}

#[tokio::test]
async fn a_branch_of_that_name_that_is_not_ours_is_not_touched() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let name = workspace::branch(session);
    world.run(&["branch", &name]);
    put(&ready.root.join("x"), "x");
    let result = world.commit(session).await;
    world.run(&["checkout", "-q", "--detach"]);
    let mut landing = Landing { base: ready.base.clone(), result: result.clone(), target: None, land: true };
    let landed = world.land_with(session, landing.clone(), None).await.unwrap();
    assert_eq!(why(&landed), "no-branch");
    let usual = world.run(&["rev-parse", &name]);
    let kept = if usual == result { name.clone() } else { format!("{name}-2") };
    assert_eq!(landed.integrated.branch, Some(kept.clone()));
    assert_eq!(usual, ready.base);
    // The next result may move the branch we left.
    put(&ready.root.join("x"), "y");
    landing.result = world.commit(session).await;
    let landed = world.land_with(session, landing.clone(), None).await.unwrap();
    assert_eq!(landed.integrated.branch, Some(kept.clone()));
    assert_eq!(world.run(&["rev-parse", &kept]), landing.result);
}

#[tokio::test]
async fn a_target_that_is_not_checked_out_moves_alone() {
    let world = World::new();
    world.run(&["branch", "release"]);
    let before_tree = std::fs::read_to_string(world.repo.join("a.txt")).unwrap();
    let session = session();
    let mut origin = world.origin();
    origin.target = Some("release".to_owned());
    let ready = world.git.prepare(session, origin).await.unwrap();
    assert_eq!(ready.target.as_deref(), Some("release"));
    put(&ready.root.join("a.txt"), "x");
    let result = world.commit(session).await;
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
    assert_eq!(world.run(&["rev-parse", "release"]), result);
    assert_eq!(world.head(), ready.base);
    assert_eq!(std::fs::read_to_string(world.repo.join("a.txt")).unwrap(), before_tree);
}

#[tokio::test]
async fn a_branch_that_the_user_switches_to_while_the_checks_run_does_not_move() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("b.txt"), "b");
    let result = world.commit(session).await;
    world.run(&["branch", "older"]);
    world.write("c.txt", "c");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "meanwhile"]);
    let (older, moved) = (world.run(&["rev-parse", "older"]), world.head());
    let landed =
        world.land_while(session, &ready, &result, &|| drop(world.run(&["switch", "-q", "older"]))).await;
    let tip = landed.integrated.landed.clone().unwrap();
    assert_eq!(world.run(&["rev-parse", "main"]), tip);
    assert_eq!(world.run(&["rev-parse", "main^"]), moved);
    assert_eq!(world.run(&["rev-parse", "older"]), older, "it is not what the work was to land on");
    assert_eq!(world.run(&["status", "--porcelain"]), "");
    // The other way round: what is checked out by now goes along.
    put(&ready.root.join("b.txt"), "bb");
    let second = world.commit(session).await;
    let landed =
        world.land_while(session, &ready, &second, &|| drop(world.run(&["switch", "-q", "main"]))).await;
    assert_eq!(why(&landed), "landed");
    assert_eq!(world.run(&["status", "--porcelain"]), "");
    assert_eq!(world.run(&["show", "HEAD:b.txt"]), "bb");
}

#[tokio::test]
async fn a_left_branch_that_somebody_looks_at_stays() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("b.txt"), "b");
    let result = world.commit(session).await;
    let mut landing = Landing {
        base: ready.base.clone(),
        result: result.clone(),
        target: Some("main".into()),
        land: false,
    };
    let left = world.land_with(session, landing.clone(), None).await.unwrap().integrated.branch.unwrap();
    world.run(&["switch", "-q", &left]);
    landing.land = true;
    assert_eq!(why(&world.land_with(session, landing, None).await.unwrap()), "landed");
    assert_eq!(world.run(&["rev-parse", "main"]), result);
    assert_eq!(world.run(&["status", "--porcelain"]), "", "HEAD still names a commit");
    assert_eq!(world.run(&["rev-parse", &left]), result);
    // Nobody looks at it in any worktree: it goes, as it always did.
    let (other, ready) = world.prepared().await;
    put(&ready.root.join("c.txt"), "c");
    let result = world.commit(other).await;
    world.run(&["switch", "-q", "main"]);
    assert_eq!(why(&world.land(other, &ready, &result, Some(true)).await), "landed");
    assert_eq!(world.run(&["branch", "--list", &workspace::branch(other)]), "");
}

#[tokio::test]
async fn a_branch_that_is_being_rebased_or_checked_out_elsewhere_is_left_alone() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("x"), "x");
    let result = world.commit(session).await;
    put(&world.repo.join(".git/rebase-merge/head-name"), "refs/heads/main\n");
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "dirty");
    std::fs::remove_dir_all(world.repo.join(".git/rebase-merge")).unwrap();
    world.run(&["checkout", "-q", "-b", "elsewhere"]);
    let linked = world.dir.path().join("linked");
    world.run(&["worktree", "add", "-q", linked.to_str().unwrap(), "main"]);
    let landed = world.land(session, &ready, &result, None).await;
    assert_eq!(why(&landed), "no-branch");
    assert!(String::from_utf8_lossy(&landed.blobs[0]).contains("another worktree"));
    assert_eq!(git_in(&linked, &["rev-parse", "HEAD"]), ready.base);
}

#[tokio::test]
async fn removing_parks_what_did_not_land_and_touches_nothing_else() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let precious = world.dir.path().join("state/sessions/not-a-session/keep");
    put(&precious, "keep");
    put(&ready.root.join("x"), "x");
    std::os::unix::fs::symlink(&world.repo, ready.root.join("target-link")).unwrap();
    std::fs::create_dir_all(ready.root.join("target")).unwrap();
    std::os::unix::fs::symlink(&world.repo, ready.root.join("target/link")).unwrap();
    assert_eq!(world.git.list().unwrap().len(), 1);
    let lock = std::fs::File::create(world.dir.path().join(format!("state/run/{session}.lock"))).unwrap();
    lock.lock().unwrap();
    assert_eq!(world.remove(session).await.unwrap_err().code, "workspace-in-use");
    drop(lock);
    let removed = world.remove(session).await.unwrap();
    let (parked, kept_in) = removed.parked.unwrap();
    assert_eq!(kept_in, world.repo.canonicalize().unwrap());
    assert_eq!(world.run(&["show", &format!("{parked}:x")]), "x");
    assert_eq!(world.run(&["for-each-ref", "refs/kapell/base"]), "");
    assert!(!ready.root.exists() && precious.is_file() && world.repo.join("a.txt").is_file());
    assert_eq!(world.remove(session).await.unwrap_err().code, "workspace-foreign");
    world.run(&["fsck", "--strict"]);
}

#[tokio::test]
async fn a_branch_that_is_checked_out_beside_a_bare_repository_is_left_alone() {
    let world = World::new();
    let dir = world.dir.path();
    // The usual layout: `proj/.git` is bare, the branches are directories beside it.
    let (proj, main) = (dir.join("proj"), dir.join("proj/main"));
    std::fs::create_dir(&proj).unwrap();
    git_in(dir, &["clone", "-q", "--bare", "repo", "proj/.git"]);
    let session = session();
    let origin = Origin { repo: proj.clone(), target: Some("main".to_owned()), ..world.origin() };
    let ready = world.git.prepare(session, origin).await.unwrap();
    put(&ready.root.join("new.txt"), "new");
    let result = world.commit(session).await;
    git_in(&proj, &["worktree", "add", "-q", "main", "main"]);
    let landed = world.land(session, &ready, &result, None).await;
    assert_eq!(why(&landed), "no-branch");
    assert!(String::from_utf8_lossy(&landed.blobs[0]).contains("proj/main"));
    assert_eq!(git_in(&main, &["rev-parse", "HEAD"]), ready.base);
    assert_eq!(git_in(&main, &["status", "--porcelain"]), "");
    // Checked out nowhere, though the bare repository's HEAD names it.
    git_in(&proj, &["worktree", "remove", "main"]);
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
    assert_eq!(git_in(&proj, &["rev-parse", "main"]), result);
}

#[tokio::test]
async fn what_the_user_took_back_does_not_land_again() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("new.txt"), "new");
    let result = world.commit(session).await;
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
    world.run(&["reset", "-q", "--hard", &ready.base]);
    // The next task changes nothing.
    assert_eq!(world.commit(session).await, result);
    let landed = world.land(session, &ready, &result, None).await;
    assert_eq!(why(&landed), "taken-back");
    assert_eq!((world.head(), world.run(&["status", "--porcelain"])), (ready.base.clone(), String::new()));
    assert_eq!(world.run(&["rev-parse", &landed.integrated.branch.unwrap()]), result);
    // Neither beside something else that they put there.
    world.write("other.txt", "theirs");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "theirs"]);
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "taken-back");
    assert!(!world.repo.join("new.txt").exists());
    // The same change under another name is there: nothing was taken back.
    world.write("new.txt", "new");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "by hand"]);
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
}

#[tokio::test]
async fn a_lock_of_the_users_git_is_waited_for_and_not_taken_for_a_no() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("new.txt"), "new");
    let result = world.commit(session).await;
    // As long as the editor of `git commit -a` is open.
    let lock = world.repo.join(".git/index.lock");
    put(&lock, "");
    let base = ready.base.clone();
    let landing = Landing { base, result: result.clone(), target: ready.target.clone(), land: true };
    let fault = world.land_with(session, landing, None).await.unwrap_err();
    assert_eq!((fault.kind, fault.code.as_str()), (Kind::Transient, "git-locked"), "{fault}");
    assert!(fault.what.contains("index.lock") && !fault.hint.is_empty(), "{fault}");
    assert_eq!(world.head(), ready.base);
    std::fs::remove_file(&lock).unwrap();
    assert_eq!(why(&world.land(session, &ready, &result, None).await), "landed");
    assert_eq!(world.head(), result);
}

#[tokio::test]
async fn what_another_process_landed_meanwhile_is_not_forgotten() {
    let mut world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("new.txt"), "one");
    let here = std::sync::Arc::clone(&world.git);
    world.restart();
    let first = world.commit(session).await;
    assert_eq!(why(&world.land(session, &ready, &first, None).await), "landed");
    // The process that had the session open before takes it up again.
    world.git = here;
    put(&ready.root.join("new.txt"), "two");
    let second = world.commit(session).await;
    assert_eq!(why(&world.land(session, &ready, &second, None).await), "landed");
    assert_eq!(world.run(&["rev-parse", "HEAD^"]), first);
}
