//! Savepoint, restore, commit and adopt: the tree before and after, byte for byte.

use crate::support::{TOO_LARGE, World, git_in, put, session, work};
use contract::workspace::{Origin, Workspace};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn a_rewind_brings_back_every_byte_and_can_itself_be_undone() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let root = ready.root;
    put(&root.join("new/deep/file"), "untracked\n");
    std::os::unix::fs::symlink("../a.txt", root.join("new/link")).unwrap();
    put(&root.join("run.sh"), "#!/bin/sh\n");
    std::fs::set_permissions(root.join("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    put(&root.join(OsStr::from_bytes(b"b\xffd\nname")), "bytes");
    put(&root.join("target/out"), "built");
    world.save(session, "1.1").await;
    let before = work(&root);

    std::fs::remove_dir_all(root.join("new")).unwrap();
    put(&root.join("new"), "a file where a directory was");
    std::fs::remove_file(root.join("a.txt")).unwrap();
    put(&root.join("a.txt/inside"), "a directory where a file was");
    std::fs::set_permissions(root.join("run.sh"), PermissionsExt::from_mode(0o644)).unwrap();
    put(&root.join("target/out"), "built again");
    put(&root.join("later.txt"), "later");
    world.save(session, "1.2").await;
    let after = work(&root);

    assert!(world.restore(session, "1.1").await);
    let mut expected = before.clone();
    expected.insert(b"target/out".to_vec(), b"0 built again".to_vec());
    assert_eq!(work(&root), expected, "ignored files stay as they are, all else is back");
    assert!(world.restore(session, "1.2").await);
    assert_eq!(work(&root), after);
    assert!(!world.restore(session, "9.9").await);
}

#[tokio::test]
async fn a_label_keeps_its_first_image_and_equal_trees_share_one() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let first = world.save(session, "1.1").await;
    assert_eq!(world.save(session, "1.2").await, first, "nothing changed between");
    put(&ready.root.join("x"), "x");
    assert_eq!(world.save(session, "1.1").await, first, "a label that exists is left as it is");
    assert_ne!(world.save(session, "1.3").await, first);
}

#[tokio::test]
async fn edits_of_the_same_length_in_the_same_tick_are_seen() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let path = ready.root.join("a.txt");
    for round in 0..40 {
        std::fs::write(&path, format!("round {round:04}")).unwrap();
        world.save(session, &format!("1.{round}")).await;
    }
    for round in [0, 7, 39, 3] {
        world.restore(session, &format!("1.{round}")).await;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("round {round:04}"));
    }
}

#[tokio::test]
async fn savepoints_survive_a_restart_and_what_the_agent_does_to_its_own_repository() {
    let mut world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("x"), "one");
    world.save(session, "1.1").await;
    put(&ready.root.join("x"), "two");
    git_in(&ready.root, &["add", "-A"]);
    git_in(&ready.root, &["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "-m", "mine"]);
    git_in(&ready.root, &["reflog", "expire", "--expire=now", "--all"]);
    git_in(&ready.root, &["gc", "--quiet", "--prune=now"]);
    std::fs::remove_dir_all(ready.root.join(".git")).unwrap();
    put(&ready.root.join(".git"), "gitdir: /nonexistent\n");
    world.restart();
    assert!(world.restore(session, "1.1").await);
    assert_eq!(std::fs::read_to_string(ready.root.join("x")).unwrap(), "one");
    assert_eq!(world.git.prepare(session, world.origin()).await.unwrap().base, ready.base);
}

#[tokio::test]
async fn what_was_once_imaged_stays_rewindable_when_it_is_ignored_later() {
    let mut world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("data.bin"), "first");
    world.save(session, "1.1").await;
    put(&ready.root.join(".gitignore"), "data.bin\n");
    put(&ready.root.join("data.bin"), "second");
    world.restart();
    world.save(session, "1.2").await;
    world.restore(session, "1.1").await;
    assert_eq!(std::fs::read_to_string(ready.root.join("data.bin")).unwrap(), "first");
    world.restore(session, "1.2").await;
    assert_eq!(std::fs::read_to_string(ready.root.join("data.bin")).unwrap(), "second");
    let result = world.commit(session).await;
    let names = world.git.diff(session, ready.base, result).await.unwrap();
    assert!(!String::from_utf8_lossy(&names).contains("b/data.bin"), "a commit leaves ignored files out");
}

#[tokio::test]
async fn nothing_the_agent_writes_is_run() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let proof = world.dir.path().join("it-ran");
    let script = format!("#!/bin/sh\ntouch {}\n", proof.display());
    let evil = ready.root.join("evil.sh");
    put(&evil, &script);
    std::fs::set_permissions(&evil, PermissionsExt::from_mode(0o755)).unwrap();
    let kapells = ready.root.parent().unwrap().join("git");
    for git in [ready.root.join(".git"), kapells] {
        for hook in [
            "post-checkout",
            "pre-commit",
            "reference-transaction",
            "post-index-change",
            "fsmonitor-watchman",
        ] {
            let path = git.join("hooks").join(hook);
            put(&path, &script);
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut config = std::fs::read_to_string(git.join("config")).unwrap();
        let evil = evil.display();
        config.push_str(&format!(
            "[core]\n\tfsmonitor = {evil}\n\thooksPath = hooks\n[filter \"x\"]\n\tclean = {evil}\n\tsmudge = {evil}\n\
             [diff]\n\texternal = {evil}\n[diff \"x\"]\n\ttextconv = {evil}\n\tcommand = {evil}\n[merge \"x\"]\n\tdriver = {evil}\n"
        ));
        std::fs::write(git.join("config"), config).unwrap();
    }
    put(&ready.root.join(".gitattributes"), "* filter=x diff=x merge=x\n");
    put(&ready.root.join("a.txt"), "changed\n");
    world.save(session, "1.1").await;
    put(&ready.root.join("a.txt"), "changed again\n");
    world.restore(session, "1.1").await;
    let result = world.commit(session).await;
    world.git.diff(session, ready.base.clone(), result.clone()).await.unwrap();
    world.git.inspect(session, ready.base.clone(), result.clone(), Vec::new()).await.unwrap();
    world.write("other.txt", "so that the target moved");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "moved"]);
    let landed = world.land(session, &ready, &result, Some(true)).await;
    assert!(landed.integrated.landed.is_some());
    assert!(!proof.exists());
}

#[tokio::test]
async fn a_workspace_that_is_not_its_own_is_refused() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let git = ready.root.parent().unwrap().join("git");
    std::fs::rename(&git, git.with_extension("away")).unwrap();
    std::os::unix::fs::symlink(world.repo.join(".git"), &git).unwrap();
    let fault = world.git.savepoint(session, "1.1".into()).await.unwrap_err();
    assert_eq!(fault.code, "workspace-foreign");
    std::fs::remove_file(&git).unwrap();
    std::fs::rename(git.with_extension("away"), &git).unwrap();
    put(&git.join("commondir"), world.repo.join(".git").to_str().unwrap());
    assert_eq!(world.git.commit(session, "x".into()).await.unwrap_err().code, "workspace-foreign");
}

#[tokio::test]
async fn commit_is_one_commit_on_the_base_signed_by_the_user() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    assert_eq!(world.commit(session).await, ready.base, "nothing changed");
    put(&ready.root.join("x"), "x");
    put(&ready.root.join("debug.log"), "ignored");
    let first = world.commit(session).await;
    assert_eq!(world.commit(session).await, first, "again is the same");
    put(&ready.root.join("x"), "y");
    let second = world.commit(session).await;
    let git = ready.root.parent().unwrap().join("git");
    let show =
        |format: &str| git_in(&git, &["--git-dir=.", "log", "-1", &format!("--format={format}"), &second]);
    assert_eq!(show("%P"), ready.base);
    assert_eq!(show("%an <%ae>|%s"), "Ada Example <ada@example.org>|do the work");
    assert_eq!(git_in(&git, &["--git-dir=.", "diff", "--name-only", &ready.base, &second]), "x");
    assert_eq!(git_in(&git, &["--git-dir=.", "rev-parse", &workspace::branch(session)]), second);
    git_in(&git, &["--git-dir=.", "fsck", "--strict"]);
    std::fs::remove_file(ready.root.join("x")).unwrap();
    assert_eq!(world.commit(session).await, ready.base, "back at the base");
}

#[tokio::test]
async fn the_agent_sees_a_clean_repository_on_its_branch() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    assert_eq!(git_in(&ready.root, &["status", "--porcelain"]), "");
    assert_eq!(git_in(&ready.root, &["branch", "--show-current"]), workspace::branch(session));
    assert_eq!(git_in(&ready.root, &["log", "--format=%s"]), "start");
    assert_eq!(git_in(&ready.root, &["remote"]), "");
    git_in(&ready.root, &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_repository_made_inside_the_tree_is_imaged_without_its_git_directory() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let inner = ready.root.join("inner");
    put(&inner.join("file"), "one");
    git_in(&inner, &["init", "-q"]);
    world.save(session, "1.1").await;
    put(&inner.join("file"), "two");
    world.restore(session, "1.1").await;
    assert_eq!(std::fs::read_to_string(inner.join("file")).unwrap(), "one");
    assert!(inner.join(".git/HEAD").is_file());
}

#[tokio::test]
async fn a_childs_work_is_taken_in_or_named_in_conflict() {
    let world = World::new();
    let (parent, ready) = world.prepared().await;
    put(&ready.root.join("a.txt"), "ONE\ntwo\nthree\n");
    let base = world.save(parent, "1.1").await;
    let child = session();
    let origin = Origin { repo: ready.root.clone(), base: Some(base.clone()), target: None, worked: false };
    let made = world.git.prepare(child, origin).await.unwrap();
    assert_eq!(made.base, base);
    assert_eq!(std::fs::read_to_string(made.root.join("a.txt")).unwrap(), "ONE\ntwo\nthree\n");
    put(&made.root.join("a.txt"), "ONE\ntwo\nTHREE\n");
    put(&made.root.join("child.txt"), "child");
    let result = world.commit(child).await;

    // Meanwhile the parent went on, uncommitted.
    put(&ready.root.join("parent.txt"), "parent");
    let (clean, text) = world.git.adopt(parent, child, result.clone()).await.unwrap();
    assert!(clean, "{text}");
    assert_eq!(std::fs::read_to_string(ready.root.join("a.txt")).unwrap(), "ONE\ntwo\nTHREE\n");
    assert!(ready.root.join("child.txt").is_file() && ready.root.join("parent.txt").is_file());

    put(&ready.root.join("a.txt"), "ONE\ntwo\nthird\n");
    let before = work(&ready.root);
    let (clean, text) = world.git.adopt(parent, child, result).await.unwrap();
    assert!(!clean && text.contains("a.txt"), "{text}");
    assert_eq!(work(&ready.root), before);
}

#[tokio::test]
async fn a_child_without_a_base_starts_from_what_the_parent_has_now() {
    let world = World::new();
    let (_, ready) = world.prepared().await;
    put(&ready.root.join("x"), "uncommitted");
    let mut origin = Origin { repo: ready.root.clone(), base: None, target: None, worked: false };
    // As deep as sessions go: git alone would stop following alternates.
    for _ in 0..contract::limits::DEPTH + 2 {
        let child = session();
        let made = world.git.prepare(child, origin).await.unwrap();
        assert_eq!(std::fs::read_to_string(made.root.join("x")).unwrap(), "uncommitted");
        git_in(&made.root, &["log", "--format=%s"]);
        origin = Origin { repo: made.root, base: None, target: None, worked: false };
    }
}

/// A background program of the agent's that exchanges a directory of the tree with a link to somewhere else, as fast as
/// it can, while the tree is imaged and put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_exchanged_for_a_link_leads_nowhere() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let outside = world.dir.path().join("outside");
    put(&outside.join("secret"), "a secret of somebody else");
    put(&outside.join("x"), "theirs");
    let (dir, link) = (ready.root.join("d"), ready.root.join("link"));
    put(&dir.join("x"), "mine");
    put(&dir.join("y"), "mine");
    world.save(session, "first").await;
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    let before = crate::support::files(&outside);
    let (over, swaps) = (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::AtomicU32::new(0));
    let rounds = async {
        for round in 0..60 {
            put(&ready.root.join("n"), round.to_string());
            // Whatever they meet on the way, they may fail; outside they must not be.
            drop(world.git.savepoint(session, format!("s{round}")).await);
            drop(world.git.restore(session, "first".to_owned()).await);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                // The agent puts back what a restore took.
                if !dir.exists() && !link.is_dir() {
                    drop(std::fs::create_dir(&dir));
                }
                if link.symlink_metadata().is_err() {
                    drop(std::os::unix::fs::symlink(&outside, &link));
                }
                if renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).is_ok() {
                    swaps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(rounds));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(swaps.into_inner() > 100);
    assert_eq!(crate::support::files(&outside), before, "nothing outside was written or removed");
    let git = world.home(session).join("git");
    let objects = git_in(&git, &["--git-dir=.", "cat-file", "--batch-all-objects", "--batch"]);
    assert!(!objects.contains("a secret of somebody else"), "nothing outside was read");
}

#[tokio::test]
async fn what_outgrew_the_limit_is_put_back_and_what_was_never_saved_is_left_alone() {
    let mut world = World::new();
    let (session, ready) = world.prepared().await;
    let (grown, shrunk) = (ready.root.join("grown.csv"), ready.root.join("shrunk.csv"));
    let length = |path: &std::path::Path, bytes| {
        std::fs::File::options().append(true).open(path).unwrap().set_len(bytes).unwrap();
    };
    put(&grown, "one line\n");
    put(&shrunk, "");
    length(&shrunk, TOO_LARGE);
    world.save(session, "1.1").await;
    length(&grown, TOO_LARGE);
    length(&shrunk, 3);
    world.restart();
    assert!(world.restore(session, "1.1").await);
    assert_eq!(grown.metadata().unwrap().len(), 9);
    // The savepoint has not a byte of it: it is no file that was not there.
    assert_eq!(shrunk.metadata().unwrap().len(), 3);
    std::fs::remove_file(&shrunk).unwrap();
    assert!(world.restore(session, "1.1").await);
}

#[tokio::test]
async fn a_tree_that_git_could_not_hold_is_imaged_without_what_it_could_not() {
    let mut world = World::new();
    let (session, ready) = world.prepared().await;
    let root = &ready.root;
    world.save(session, "1.1").await;
    for name in [".GIT", "git~1", "d/.git.", "d/.Git /x"] {
        put(&root.join(name).join("config"), "x");
    }
    put(&root.join("good.txt"), "good");
    world.save(session, "1.2").await;
    std::fs::remove_file(root.join("good.txt")).unwrap();
    world.restart();
    assert!(world.restore(session, "1.2").await);
    assert_eq!(std::fs::read_to_string(root.join("good.txt")).unwrap(), "good");
    assert!(root.join(".GIT/config").exists(), "what is in no savepoint stays");
    // So it can be looked at by the checks, and land.
    let result = world.commit(session).await;
    let names = world.git.diff(session, ready.base.clone(), result.clone()).await.unwrap();
    let names = String::from_utf8_lossy(&names);
    assert!(names.contains("b/good.txt") && !names.to_lowercase().contains("git~1"), "{names}");
    assert!(world.land(session, &ready, &result, None).await.integrated.landed.is_some());
}

#[tokio::test]
async fn a_tree_that_is_too_deep_is_imaged_as_far_as_it_can_be_named() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    world.save(session, "1.1").await;
    // A program that makes a directory and goes into it, until it is stopped.
    let name = "d".repeat(200);
    let mut at = std::fs::File::open(&ready.root).unwrap();
    for _ in 0..30 {
        rustix::fs::mkdirat(&at, name.as_str(), rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        let mode = rustix::fs::Mode::empty();
        at = rustix::fs::openat(&at, name.as_str(), flags, mode).unwrap().into();
        let create = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        drop(rustix::fs::openat(&at, "f".repeat(150), create, rustix::fs::Mode::RWXU).unwrap());
    }
    put(&ready.root.join("good.txt"), "good");
    world.save(session, "1.2").await;
    std::fs::remove_file(ready.root.join("good.txt")).unwrap();
    assert!(world.restore(session, "1.2").await);
    assert!(ready.root.join("good.txt").exists());
    assert!(world.restore(session, "1.1").await);
    assert!(!ready.root.join("good.txt").exists());
}
