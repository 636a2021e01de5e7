//! Many sessions at once on one repository, dropped at any moment: nothing of the user's changes.

use crate::support::{World, put, session, work};
use contract::workspace::Workspace;
use std::sync::Arc;
use std::time::Duration;

/// Cycles in the everyday run, and in the full one; each makes, breaks off, saves, rewinds and removes a session.
const SOME: u64 = 60;
const ALL: u64 = 500;
/// How many at a time.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn many_cycles_leave_the_users_repository_whole() {
    storm(SOME).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; run it with `cargo test -p workspace -- --ignored`"]
async fn five_hundred_cycles_leave_the_users_repository_whole() {
    storm(ALL).await;
}

async fn storm(cycles: u64) {
    let world = Arc::new(World::new());
    world.write("untracked", "of the user");
    let before = world.fingerprint();
    let gate = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let cycles = (0..cycles).map(|number| {
        let (world, gate) = (Arc::clone(&world), Arc::clone(&gate));
        tokio::spawn(async move {
            let _turn = gate.acquire().await.unwrap();
            cycle(&world, number).await;
        })
    });
    for cycle in cycles.collect::<Vec<_>>() {
        cycle.await.unwrap();
    }
    assert_eq!(world.fingerprint(), before);
    assert_eq!(world.git.list().unwrap(), []);
    assert_eq!(world.run(&["for-each-ref", "refs/kapell/base"]), "");
    assert_eq!(world.run(&["fsck", "--strict", "--no-dangling"]), "");
}

async fn cycle(world: &World, number: u64) {
    let session = session();
    // Broken off somewhere in the middle, then again to its end.
    let patience = Duration::from_micros(number * 97 % 12_000);
    drop(tokio::time::timeout(patience, world.git.prepare(session, world.origin())).await);
    let ready = world.git.prepare(session, world.origin()).await.unwrap();
    put(&ready.root.join("x"), format!("{number}"));
    world.save(session, "1.1").await;
    let saved = work(&ready.root);
    put(&ready.root.join("x"), "changed");
    put(&ready.root.join("deep/y"), "new");
    drop(tokio::time::timeout(patience / 8, world.git.savepoint(session, "1.2".into())).await);
    drop(tokio::time::timeout(patience / 4, world.git.restore(session, "1.1".into())).await);
    assert!(world.restore(session, "1.1").await);
    assert_eq!(work(&ready.root), saved, "cycle {number}");
    let (parked, _) = world.remove(session).await.unwrap().parked.unwrap();
    assert_eq!(world.run(&["show", &format!("{parked}:x")]), number.to_string());
}
