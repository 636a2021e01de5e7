//! Removing workspaces: what is nowhere else is kept, what is needed stays, and what was begun can be taken up again.
//! Knows nothing of sessions' states. Start at the first test.

use crate::support::{TOO_LARGE, World, put};
use contract::workspace::{Origin, Workspace};
use contract::{Fault, Kind};
use std::os::unix::fs::PermissionsExt as _;

fn refs(world: &World) -> String {
    world.run(&["for-each-ref", "--format=%(refname)", "refs/kapell"])
}

#[tokio::test]
async fn a_childs_work_is_kept_where_its_root_works() {
    let world = World::new();
    let (root, root_ready) = world.prepared().await;
    let (child, child_ready) = world.child_of(root).await;
    let (grandchild, ready) = world.child_of(child).await;
    put(&ready.root.join("deep.txt"), "deep work\n");
    put(&child_ready.root.join("child.txt"), "work of the child\n");
    for busy in [root, child] {
        assert_eq!(world.remove(busy).await.unwrap_err().code, "workspace-lends");
    }
    for (session, file, text) in
        [(grandchild, "deep.txt", "deep work"), (child, "child.txt", "work of the child")]
    {
        let (parked, kept_in) =
            world.remove(session).await.unwrap().parked.expect("its work is nowhere else");
        assert_eq!(kept_in, world.repo.canonicalize().unwrap());
        assert_eq!(parked, format!("refs/kapell/parked/{session}"));
        assert_eq!(world.run(&["show", &format!("{parked}:{file}")]), text);
    }
    assert_eq!(world.remove(root).await.unwrap().parked, None, "it changed nothing");
    assert!(!root_ready.root.exists());
    assert_eq!(refs(&world).lines().count(), 2, "{}", refs(&world));
    assert_eq!(world.run(&["show", &format!("refs/kapell/parked/{child}:child.txt")]), "work of the child");
    world.run(&["fsck", "--strict"]);
}

#[tokio::test]
async fn what_the_parent_took_in_is_kept_with_its_own_work() {
    let world = World::new();
    let (root, root_ready) = world.prepared().await;
    let (child, ready) = world.child_of(root).await;
    put(&ready.root.join("b.txt"), "b\n");
    let commit = world.commit(child).await;
    assert!(world.git.adopt(root, child, commit).await.unwrap().0);
    assert_eq!(world.remove(child).await.unwrap().parked, None);
    let (parked, _) = world.remove(root).await.unwrap().parked.unwrap();
    assert_eq!(world.run(&["show", &format!("{parked}:b.txt")]), "b");
    // One that conflicts is in nobody's tree.
    let (root, _) = world.prepared().await;
    let (child, ready) = world.child_of(root).await;
    put(&ready.root.join("a.txt"), "the child's\n");
    put(&world.git.root(root).join("a.txt"), "the parent's\n");
    let commit = world.commit(child).await;
    assert!(!world.git.adopt(root, child, commit).await.unwrap().0);
    let (parked, _) = world.remove(child).await.unwrap().parked.unwrap();
    assert_eq!(world.run(&["show", &format!("{parked}:a.txt")]), "the child's");
    assert!(!root_ready.root.exists());
}

#[tokio::test]
async fn work_whose_repository_is_not_there_is_not_removed() {
    let world = World::new();
    let (unchanged, _) = world.prepared().await;
    let (session, ready) = world.prepared().await;
    let (child, child_ready) = world.child_of(session).await;
    put(&ready.root.join("x"), "hours of work");
    put(&child_ready.root.join("y"), "more of it");
    let moved = world.dir.path().join("moved");
    std::fs::rename(&world.repo, &moved).unwrap();
    for session in [child, session] {
        let fault = match world.remove(session).await {
            Ok(removed) => panic!("removed: {removed:?}"),
            Err(fault) if fault.code == "workspace-lends" => continue,
            Err(fault) => fault,
        };
        assert_eq!(fault.code, "origin-gone", "{fault}");
        assert!(fault.what.contains("repo") && fault.hint.contains(&session.to_string()), "{fault}");
    }
    assert_eq!(std::fs::read_to_string(ready.root.join("x")).unwrap(), "hours of work");
    assert_eq!(std::fs::read_to_string(child_ready.root.join("y")).unwrap(), "more of it");
    assert_eq!(world.remove(unchanged).await.unwrap().parked, None);
    std::fs::rename(&moved, &world.repo).unwrap();
    for session in [child, session] {
        assert!(world.remove(session).await.unwrap().parked.is_some());
    }
}

#[tokio::test]
async fn a_worktree_that_was_removed_is_no_repository_that_is_gone() {
    let world = World::new();
    let linked = world.dir.path().join("linked");
    world.run(&["worktree", "add", "-q", "-b", "other", linked.to_str().unwrap()]);
    let session = crate::support::session();
    let mut origin = world.origin();
    origin.repo.clone_from(&linked);
    let ready = world.git.prepare(session, origin).await.unwrap();
    put(&ready.root.join("x"), "x");
    world.run(&["worktree", "remove", linked.to_str().unwrap()]);
    let (parked, _) = world.remove(session).await.unwrap().parked.unwrap();
    assert_eq!(world.run(&["show", &format!("{parked}:x")]), "x");
    assert_eq!(refs(&world), parked);
}

#[tokio::test]
async fn the_last_word_is_heard_with_the_lock_in_hand() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("x"), "x");
    let lock = world.dir.path().join(format!("state/run/{session}.lock"));
    let no = async {
        let file = std::fs::File::open(&lock).unwrap();
        assert!(file.try_lock().is_err(), "somebody else could begin");
        Err(Fault::new(Kind::UserFixable, "needed", "it was opened a moment ago"))
    };
    assert_eq!(world.git.remove(session, no).await.unwrap_err().code, "needed");
    assert!(ready.root.join("x").is_file());
    assert_eq!(refs(&world), format!("refs/kapell/base/{session}"), "nothing was parked or unpinned");
}

#[tokio::test]
async fn the_marker_goes_last() {
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    let world = World::new();
    let (session, _) = world.prepared().await;
    let home = world.home(session);
    for name in ["build", "scratch", "jobs", "a", "z"] {
        put(&home.join(name).join("file"), "");
    }
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &home, WatchFlags::DELETE | WatchFlags::MOVED_FROM).unwrap();
    world.remove(session).await.unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut gone = Vec::new();
    while let Ok(event) = events.next() {
        gone.extend(event.file_name().map(|name| name.to_str().unwrap().to_owned()));
    }
    assert!(gone.len() > 6, "{gone:?}");
    assert_eq!(gone.last().map(String::as_str), Some("session.json"), "{gone:?}");
}

#[tokio::test]
async fn an_interrupted_removal_is_taken_up_again() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    // What a removal leaves that is killed in the middle: all was parked, half of the tree is gone.
    let parked = format!("refs/kapell/parked/{session}");
    world.run(&["update-ref", &parked, &ready.base]);
    std::fs::rename(&ready.root, world.home(session).join("going")).unwrap();
    std::fs::remove_file(world.home(session).join("going/a.txt")).unwrap();
    std::fs::remove_dir_all(world.home(session).join("git/refs")).unwrap();
    assert_eq!(world.git.list().unwrap().len(), 1, "it is still known to be ours");
    assert_eq!(world.remove(session).await.unwrap().parked, None, "half a tree is no work");
    assert_eq!(refs(&world), parked);
    assert_eq!(world.run(&["rev-parse", &parked]), ready.base);
    assert!(!world.home(session).exists());
}

#[tokio::test]
async fn a_result_whose_tree_somebody_removed_is_kept() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("x"), "x");
    world.commit(session).await;
    std::fs::remove_dir_all(&ready.root).unwrap();
    let (parked, _) = world.remove(session).await.unwrap().parked.unwrap();
    assert_eq!(world.run(&["show", &format!("{parked}:x")]), "x");
}

#[tokio::test]
async fn a_workspace_that_was_never_ready_leaves_no_pin() {
    let world = World::new();
    // Its directory is somebody's: nothing was pinned for it.
    let foreign = crate::support::session();
    put(&world.home(foreign).join("mine"), "");
    world.git.prepare(foreign, world.origin()).await.unwrap_err();
    assert_eq!(refs(&world), "");
    // It dies in the middle: a file's content is gone from the repository.
    let oid = world.run(&["rev-parse", "HEAD:a.txt"]);
    let object = world.repo.join(".git/objects").join(&oid[..2]).join(&oid[2..]);
    let kept = std::fs::read(&object).unwrap();
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::remove_file(&object).unwrap();
    let session = crate::support::session();
    world.git.prepare(session, world.origin()).await.unwrap_err();
    assert_eq!(refs(&world), format!("refs/kapell/base/{session}"));
    std::fs::write(&object, kept).unwrap();
    world.remove(session).await.unwrap();
    assert_eq!(refs(&world), "");
    assert!(!world.home(session).exists());
}

#[tokio::test]
async fn a_state_directory_behind_a_link_is_still_known() {
    let mut world = World::new();
    let real = world.dir.path().join("elsewhere");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, world.dir.path().join("state")).unwrap();
    world.restart();
    let (root, _) = world.prepared().await;
    let (child, ready) = world.child_of(root).await;
    put(&ready.root.join("x"), "x");
    assert_eq!(world.remove(root).await.unwrap_err().code, "workspace-lends");
    let children = |found: &workspace::Found| matches!(&found.standing, workspace::Standing::Whole(pinned) if pinned.child);
    assert_eq!(world.git.audit().unwrap().iter().filter(|found| children(found)).count(), 1);
    let (parked, _) = world.remove(child).await.unwrap().parked.unwrap();
    assert_eq!(world.run(&["show", &format!("{parked}:x")]), "x");
    world.remove(root).await.unwrap();
    assert_eq!(refs(&world), parked);
}

#[tokio::test]
async fn a_workspace_that_held_work_is_not_made_anew_without_a_word() {
    let mut world = World::new();
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("x"), "x");
    std::fs::remove_dir_all(world.home(session)).unwrap();
    world.restart();
    world.write("later.txt", "later");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "later"]);
    let again = Origin { base: Some(ready.base.clone()), worked: true, ..world.origin() };
    let fault = world.git.prepare(session, again.clone()).await.unwrap_err();
    assert_eq!(fault.code, "workspace-lost");
    assert!(fault.hint.contains("kapell cancel"), "{fault}");
    assert!(!world.home(session).exists());
    // One that held nothing begins where it began.
    let made = world.git.prepare(session, Origin { worked: false, ..again }).await.unwrap();
    assert_eq!(made.base, ready.base);
    assert!(!made.root.join("later.txt").exists());
}

#[tokio::test]
async fn a_childs_work_that_is_not_there_is_told_apart_from_trouble_of_the_own_tree() {
    let world = World::new();
    let (root, _) = world.prepared().await;
    let (child, ready) = world.child_of(root).await;
    put(&ready.root.join("b.txt"), "b\n");
    let commit = world.commit(child).await;
    let git = world.home(child).join("git");
    std::fs::remove_dir_all(git.join("refs")).unwrap();
    let fault = world.git.adopt(root, child, commit.clone()).await.unwrap_err();
    assert_eq!((fault.kind, fault.code.as_str()), (Kind::Permanent, contract::error::CHILD_GONE), "{fault}");
    std::fs::remove_dir_all(world.home(child)).unwrap();
    let mut world = world;
    world.restart();
    let fault = world.git.adopt(root, child, commit).await.unwrap_err();
    assert_eq!(fault.code, contract::error::CHILD_GONE, "{fault}");
    assert!(!world.git.root(root).join("b.txt").exists());
}

#[tokio::test]
async fn a_childs_work_is_not_given_up_because_something_passed_went_wrong() {
    let mut world = World::new();
    let (root, _) = world.prepared().await;
    let (child, ready) = world.child_of(root).await;
    put(&ready.root.join("b.txt"), "b\n");
    let commit = world.commit(child).await;
    // The machine is short of memory, and git is what it ends.
    let killed = world.dir.path().join("killed-git");
    put(&killed, "#!/bin/sh\ncase \" $* \" in *\" fetch \"*) exit 137 ;; esac\nexec /usr/bin/git \"$@\"\n");
    std::fs::set_permissions(&killed, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (state, cache) = (world.dir.path().join("state"), world.dir.path().join("cache"));
    let options = workspace::Options { git: Some(killed), ..workspace::Options::default() };
    let short = workspace::Git::new(state, cache, options);
    let fault = short.adopt(root, child, commit.clone()).await.unwrap_err();
    assert_eq!(fault.code, "git-failed", "{fault}");
    world.restart();
    assert!(world.git.adopt(root, child, commit).await.unwrap().0);
    assert!(world.git.root(root).join("b.txt").exists());
}

#[tokio::test]
async fn what_is_in_no_savepoint_is_not_removed_without_a_word() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let large = ready.root.join("out.csv");
    put(&large, "");
    std::fs::File::options().write(true).open(&large).unwrap().set_len(TOO_LARGE).unwrap();
    let fault = world.remove(session).await.unwrap_err();
    assert_eq!((fault.kind, fault.code.as_str()), (Kind::UserFixable, "not-saved"), "{fault}");
    assert!(fault.what.contains("out.csv") && fault.what.contains("too large"), "{fault}");
    assert!(large.exists());
    std::fs::remove_file(&large).unwrap();
    assert_eq!(world.remove(session).await.unwrap().parked, None);
}
