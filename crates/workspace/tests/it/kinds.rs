//! Every kind of repository has a stated behaviour.

use crate::support::{World, git_in, put, session};
use contract::workspace::{Landing, Origin, Workspace};

async fn refused(world: &World, origin: Origin) -> String {
    let fault = world.git.prepare(session(), origin).await.unwrap_err();
    assert!(!fault.hint.is_empty(), "{fault}");
    assert_eq!(fault.kind, contract::Kind::UserFixable);
    fault.code
}

#[tokio::test]
async fn what_cannot_be_worked_for_is_refused_with_advice() {
    let world = World::empty(&[]);
    assert_eq!(refused(&world, world.origin()).await, "no-commits");
    let plain = Origin { repo: world.dir.path().to_path_buf(), ..world.origin() };
    assert_eq!(refused(&world, plain).await, "not-a-repository");
    let gone = Origin { repo: world.dir.path().join("gone"), ..world.origin() };
    assert_eq!(refused(&world, gone).await, "no-such-directory");
    let world = World::new();
    let base = |base: &str| Origin { base: Some(base.to_owned()), ..world.origin() };
    assert_eq!(refused(&world, base("nowhere")).await, "no-such-commit");
    assert_eq!(refused(&world, base("--upload-pack=x")).await, "bad-revision");
    let target = Origin { target: Some("nowhere".to_owned()), ..world.origin() };
    assert_eq!(refused(&world, target).await, "no-such-branch");
    world.run(&["config", "extensions.partialClone", "origin"]);
    world.run(&["config", "core.repositoryFormatVersion", "1"]);
    assert_eq!(refused(&world, world.origin()).await, "partial-clone");
}

#[tokio::test]
async fn a_dirty_tree_is_not_seen_and_that_is_said() {
    let world = World::new();
    world.write("a.txt", "dirty");
    world.write("untracked", "x");
    let before = world.fingerprint();
    let (_, ready) = world.prepared().await;
    assert!(ready.notes.iter().any(|note| note.starts_with("2 uncommitted changes")), "{:?}", ready.notes);
    assert_eq!(std::fs::read_to_string(ready.root.join("a.txt")).unwrap(), "one\ntwo\nthree\n");
    assert!(!ready.root.join("untracked").exists());
    assert_eq!(world.fingerprint(), before);
    let refs = world.run(&["for-each-ref", "--format=%(refname)", "refs/kapell"]);
    assert_eq!(refs.lines().count(), 1, "one pin, nothing else: {refs}");
}

#[tokio::test]
async fn an_explicit_base_is_where_it_starts() {
    let world = World::new();
    let first = world.head();
    world.write("b.txt", "b");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "second"]);
    let origin = Origin { base: Some("HEAD~1".to_owned()), ..world.origin() };
    let ready = world.git.prepare(session(), origin).await.unwrap();
    assert_eq!(ready.base, first);
    assert!(!ready.root.join("b.txt").exists());
}

#[tokio::test]
async fn submodules_stay_as_they_are() {
    let library = World::new();
    let world = World::new();
    let url = library.repo.to_str().unwrap();
    world.run(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, "lib"]);
    world.run(&["commit", "-q", "-m", "submodule"]);
    let (session, ready) = world.prepared().await;
    assert!(ready.notes.iter().any(|note| note.contains("submodules")));
    assert!(ready.root.join("lib").is_dir());
    put(&ready.root.join("lib/inside"), "not ours");
    put(&ready.root.join("x"), "x");
    world.save(session, "1.1").await;
    std::fs::remove_dir_all(ready.root.join("lib")).unwrap();
    world.restore(session, "1.1").await;
    let result = world.commit(session).await;
    let landed = world.land(session, &ready, &result, None).await;
    assert!(landed.integrated.landed.is_some());
    assert_eq!(world.run(&["diff", "--name-only", "HEAD~1", "HEAD"]), "x");
    assert_eq!(world.run(&["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_bare_repository_takes_a_named_branch_or_a_left_one() {
    let world = World::new();
    let bare = world.dir.path().join("bare.git");
    world.run(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    for target in [None, Some("main".to_owned())] {
        let session = session();
        let origin = Origin { repo: bare.clone(), base: None, target: target.clone(), worked: false };
        let ready = world.git.prepare(session, origin).await.unwrap();
        assert_eq!(ready.target, target);
        put(&ready.root.join("x"), format!("{target:?}"));
        let result = world.commit(session).await;
        let landing = Landing { base: ready.base, result: result.clone(), target: ready.target, land: true };
        let landed = world.land_with(session, landing, None).await.unwrap().integrated;
        let at = landed.branch.unwrap();
        assert_eq!(git_in(&bare, &["rev-parse", &at]), result);
        assert_eq!(landed.why.as_deref(), if target.is_some() { None } else { Some("no-branch") });
    }
}

#[tokio::test]
async fn shallow_detached_linked_and_sha256_repositories_work() {
    let world = World::new();
    world.write("b.txt", "b");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "second"]);
    let shallow = world.dir.path().join("shallow");
    let url = format!("file://{}", world.repo.display());
    world.run(&["clone", "-q", "--depth=1", &url, shallow.to_str().unwrap()]);
    let linked = world.dir.path().join("linked");
    world.run(&["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    let sha256 = World::empty(&["--object-format=sha256"]);
    sha256.write("a.txt", "one\n");
    sha256.run(&["add", "-A"]);
    sha256.run(&["commit", "-q", "-m", "start"]);
    for repo in [&shallow, &linked, &sha256.repo] {
        let session = session();
        let origin = Origin { repo: repo.clone(), base: None, target: None, worked: false };
        let ready = world.git.prepare(session, origin).await.unwrap();
        put(&ready.root.join("x"), "x");
        world.save(session, "1.1").await;
        std::fs::remove_file(ready.root.join("a.txt")).unwrap();
        world.restore(session, "1.1").await;
        let result = world.commit(session).await;
        git_in(&ready.root, &["log", "--format=%s"]);
        let landing = Landing { base: ready.base, result: result.clone(), target: ready.target, land: true };
        let landed = world.land_with(session, landing, None).await.unwrap().integrated;
        assert_eq!(landed.landed, Some(result), "{repo:?}: {:?}", landed.why);
        assert_eq!(git_in(repo, &["status", "--porcelain"]), "");
        git_in(repo, &["fsck", "--strict"]);
    }
    let detached = world.dir.path().join("detached");
    world.run(&["worktree", "add", "-q", "--detach", detached.to_str().unwrap()]);
    let ready = world
        .git
        .prepare(session(), Origin { repo: detached, base: None, target: None, worked: false })
        .await
        .unwrap();
    assert_eq!(ready.target, None);
}

#[tokio::test]
async fn a_half_made_workspace_is_made_anew_and_a_strangers_directory_is_not_touched() {
    let mut world = World::new();
    let (session, ready) = world.prepared().await;
    let dir = ready.root.parent().unwrap().to_path_buf();
    std::fs::write(dir.join("session.json"), format!("{{\"session\":\"{session}\",\"ready\":null}}"))
        .unwrap();
    put(&ready.root.join("half"), "made");
    world.restart();
    let again = world.git.prepare(session, world.origin()).await.unwrap();
    assert_eq!(again.base, ready.base);
    assert!(!ready.root.join("half").exists() && ready.root.join("a.txt").is_file());

    let other = crate::support::session();
    let strange = world.dir.path().join("state/sessions").join(other.to_string());
    put(&strange.join("mine"), "mine");
    assert!(world.git.prepare(other, world.origin()).await.is_err());
    assert_eq!(std::fs::read_to_string(strange.join("mine")).unwrap(), "mine");
}

#[tokio::test]
async fn line_ends_and_filters_are_left_as_stored() {
    let world = World::new();
    world.write(".gitattributes", "*.txt text eol=crlf\n*.bin filter=lfs -text\n");
    world.write("x.bin", "version https://git-lfs.github.com/spec/v1\n");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "attributes"]);
    let (session, ready) = world.prepared().await;
    assert!(ready.notes.iter().any(|note| note.contains("filters")));
    assert_eq!(std::fs::read_to_string(ready.root.join("a.txt")).unwrap(), "one\ntwo\nthree\n");
    assert_eq!(world.commit(session).await, ready.base);
    assert_eq!(git_in(&ready.root, &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_path_with_a_line_feed_is_refused_before_anything_is_made() {
    let world = World::new();
    let odd = world.dir.path().join("a\nb");
    std::fs::rename(&world.repo, &odd).unwrap();
    let session = session();
    let fault = world.git.prepare(session, Origin { repo: odd.clone(), ..world.origin() }).await.unwrap_err();
    assert_eq!(fault.code, "path-line-feed", "{fault}");
    assert_eq!(git_in(&odd, &["for-each-ref", "refs/kapell"]), "");
}
