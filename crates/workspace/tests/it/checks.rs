//! Checks in clean checkouts: what is found, what is run, and how each end is told.

use crate::support::{World, put};
use contract::cancel::Urgency;
use contract::checks::{CheckJob, CheckOutput, Checks, Side, Status, Suite, Tests};
use contract::port::{Delta, Quiet, Sink};
use contract::workspace::{CheckMerged, Landing, Ready, Workspace};
use contract::{Cancel, Digest, SessionId};
use std::path::Path;
use std::sync::Mutex;

/// A repository whose checks are these lines of a `.kapell/config.toml`.
fn declared(config: &str) -> World {
    let world = World::new();
    world.write(".kapell/config.toml", config);
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "checks"]);
    world
}

async fn job(world: &World, session: SessionId, ready: &Ready) -> CheckJob {
    let result = world.commit(session).await;
    let suite = world.git.find(ready.root.clone(), ready.base.clone()).await.unwrap();
    let (repo, base) = (ready.root.clone(), ready.base.clone());
    CheckJob { session, repo, base, result, base_known: false, suite, key: "k/1.1".into() }
}

async fn run(world: &World, job: CheckJob) -> CheckOutput {
    let output = world.git.run(job, Cancel::new(), &Quiet).await.unwrap();
    assert_eq!(leftovers(world), Vec::<String>::new(), "the checkouts are gone");
    output
}

/// Checkouts that are still there.
fn leftovers(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let list = |dir: &Path| {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for slot in list(&world.dir.path().join("cache/checks")).iter().flat_map(|project| list(project)) {
        found.extend(
            ["base", "result"].iter().filter(|side| slot.join(side).exists()).map(|side| (*side).to_owned()),
        );
    }
    found
}

fn told(output: &CheckOutput) -> Vec<(Side, &str, Status)> {
    output.report.runs.iter().map(|run| (run.side, run.check.as_str(), run.status)).collect()
}

fn log(output: &CheckOutput, at: usize) -> String {
    let digest = output.report.runs[at].log;
    let blob = output.blobs.iter().find(|blob| Digest::of(blob) == digest).expect("every log is there");
    String::from_utf8(blob.clone()).unwrap()
}

#[tokio::test]
async fn checks_are_the_base_commits_and_run_on_both_sides() {
    let world = declared("[checks.a]\nrun = \"cat a.txt; test ! -e broken\"\nkind = \"test\"\n");
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("broken"), "");
    put(&ready.root.join(".kapell/config.toml"), "[checks.a]\nrun = \"true\"\n");
    let output = run(&world, job(&world, session, &ready).await).await;
    assert_eq!(told(&output), [(Side::Base, "a", Status::Passed), (Side::Result, "a", Status::Failed)]);
    assert_eq!(output.report.runs[1].exit, Some(1));
    assert_eq!(log(&output, 0), "one\ntwo\nthree\n");
    assert!(!output.report.same_tree);
}

#[tokio::test]
async fn equal_trees_run_once_and_known_bases_not_at_all() {
    let world = declared("[checks.a]\nrun = \"echo x >> \\\"$COUNT\\\"; echo ran\"\n");
    let count = world.dir.path().join("count");
    let options =
        workspace::Options { env: vec![("COUNT".into(), count.clone().into())], ..Default::default() };
    let git = workspace::Git::new(world.dir.path().join("state"), world.dir.path().join("cache"), options);
    let world = World { git: std::sync::Arc::new(git), ..world };
    let runs = || std::fs::read_to_string(&count).map_or(0, |text| text.lines().count());
    let (session, ready) = world.prepared().await;
    let output = run(&world, job(&world, session, &ready).await).await;
    assert!(output.report.same_tree);
    assert_eq!((runs(), told(&output).len()), (1, 2));
    put(&ready.root.join("x"), "x");
    let known = CheckJob { base_known: true, ..job(&world, session, &ready).await };
    let output = run(&world, known).await;
    assert_eq!((runs(), told(&output)), (2, vec![(Side::Result, "a", Status::Passed)]));
}

#[tokio::test]
async fn what_judged_code_builds_is_not_there_for_the_next_judgement() {
    // Both sides run what their own commit holds: the base builds, the result plants and replaces.
    let world = declared("[checks.a]\nrun = \"sh ./build.sh\"\n");
    world.write(
        "build.sh",
        "mkdir -p \"$CARGO_TARGET_DIR\"; cd \"$CARGO_TARGET_DIR\"; test -e warm || echo base > warm\n",
    );
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "builds"]);
    let (session, ready) = world.prepared().await;
    let plants = "cd \"$CARGO_TARGET_DIR\"; cat warm; test ! -e planted && test ! -e debug/deps/x || exit 9\n\
                  echo agent > planted; mkdir -p debug/deps; echo agent > debug/deps/x\n";
    put(&ready.root.join("build.sh"), plants);
    for _ in 0..2 {
        let output = run(&world, job(&world, session, &ready).await).await;
        assert_eq!(told(&output), [(Side::Base, "a", Status::Passed), (Side::Result, "a", Status::Passed)]);
        assert_eq!(log(&output, 1), "base\n", "what the base built is warm");
    }
    put(&ready.root.join("build.sh"), format!("{plants}echo agent > warm\n"));
    run(&world, job(&world, session, &ready).await).await;
    put(&ready.root.join("build.sh"), plants);
    let output = run(&world, job(&world, session, &ready).await).await;
    assert_eq!(log(&output, 1), "base\n");
    // The base of a child is an agent's too.
    let (child, child_ready) = world.child_of(session).await;
    put(&child_ready.root.join("x"), "x");
    let output = run(&world, job(&world, child, &child_ready).await).await;
    assert_eq!(told(&output)[0], (Side::Base, "a", Status::Passed));
    let output = run(&world, job(&world, session, &ready).await).await;
    assert_eq!(told(&output)[1], (Side::Result, "a", Status::Passed), "{}", log(&output, 1));
}

#[tokio::test]
async fn every_way_not_to_run_is_told_apart_from_failing() {
    let world = declared(
        "[checks.missing]\nrun = \"no-such-program-at-all\"\n[checks.slow]\nrun = \"sleep 600\"\ntimeout = \"50ms\"\n\
         [checks.signal]\nrun = \"kill -9 $$\"\n[checks.status]\nrun = \"exit 3\"\n",
    );
    let (session, ready) = world.prepared().await;
    let output = run(&world, job(&world, session, &ready).await).await;
    let status = |name: &str| {
        output.report.runs.iter().find(|run| run.check == name).map(|run| (run.status, run.exit))
    };
    assert_eq!(status("missing"), Some((Status::CouldNotRun, Some(127))));
    assert_eq!(status("slow").unwrap().0, Status::CouldNotRun);
    assert_eq!(status("signal"), Some((Status::Failed, None)));
    assert_eq!(status("status"), Some((Status::Failed, Some(3))));
}

#[tokio::test]
async fn a_failing_set_up_means_that_nothing_could_run() {
    let world =
        declared("setup = [\"echo ready\", \"echo no network; exit 7\"]\n[checks.a]\nrun = \"true\"\n");
    let (session, ready) = world.prepared().await;
    let output = run(&world, job(&world, session, &ready).await).await;
    assert_eq!(output.report.runs[0].status, Status::CouldNotRun);
    assert!(log(&output, 0).contains("exit status 7") && log(&output, 0).contains("no network"));
}

#[tokio::test]
async fn a_check_that_changes_its_mind_is_flaky() {
    let world =
        declared("[checks.a]\nrun = \"if test -e new && ! test -e seen; then touch seen; exit 1; fi\"\n");
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("new"), "");
    let output = run(&world, job(&world, session, &ready).await).await;
    assert_eq!(told(&output), [(Side::Base, "a", Status::Passed), (Side::Result, "a", Status::Flaky)]);
    assert!(log(&output, 1).contains("once more"));
}

#[tokio::test]
async fn the_checkout_is_clean_alone_and_its_path_is_not_in_the_log() {
    let world = declared(
        "[checks.a]\nrun = \"pwd; git rev-parse --show-toplevel HEAD; git status --porcelain; ls; echo $CARGO_TARGET_DIR/x\"\n",
    );
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("x"), "x");
    put(&ready.root.join("left.log"), "ignored files are not in a commit");
    let output = run(&world, job(&world, session, &ready).await).await;
    let result = &output.report.result;
    assert_eq!(log(&output, 1), format!(".\n.\n{result}\na.txt\nsrc\nx\ntarget/x\n"));
}

#[tokio::test]
async fn a_cancel_stops_at_once_and_leaves_nothing() {
    let world = declared("[checks.a]\nrun = \"echo started; sleep 600\"\n");
    let (session, ready) = world.prepared().await;
    let job = job(&world, session, &ready).await;
    struct Stop(Cancel, Mutex<Vec<String>>);
    impl Sink for Stop {
        fn delta(&self, delta: Delta) {
            if let Delta::Line(line) = delta {
                self.1.lock().unwrap().push(line);
                self.0.cancel(Urgency::Now);
            }
        }
    }
    let stop = Stop(Cancel::new(), Mutex::default());
    let fault = world.git.run(job, stop.0.clone(), &stop).await.unwrap_err();
    assert_eq!(fault.code, "cancelled");
    assert_eq!(*stop.1.lock().unwrap(), ["started"]);
    assert_eq!(leftovers(&world), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_dead_run_left_is_swept() {
    let world = declared("[checks.a]\nrun = \"true\"\n");
    let (session, ready) = world.prepared().await;
    run(&world, job(&world, session, &ready).await).await;
    let project =
        std::fs::read_dir(world.dir.path().join("cache/checks")).unwrap().next().unwrap().unwrap().path();
    put(&project.join("0/base/left"), "x");
    put(&project.join("0/target/debug/deps/kept"), "x");
    assert_eq!(world.git.sweep_checks().await.unwrap(), 1);
    assert_eq!(leftovers(&world), Vec::<String>::new());
    assert!(project.join("0/target/debug/deps/kept").is_file());
    assert_eq!(world.git.sweep_checks().await.unwrap(), 0);
}

#[tokio::test]
async fn a_cargo_project_is_found_built_and_counted() {
    let world = World::new();
    world.write("Cargo.toml", "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    let lib = "pub fn two() -> u32 {\n    2\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn two() {\n        assert_eq!(super::two(), 2);\n    }\n}\n";
    world.write("src/lib.rs", lib);
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "tiny"]);
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("src/lib.rs"), lib.replacen("    2\n", "    3\n", 1));
    let mut job = job(&world, session, &ready).await;
    job.suite.checks.retain(|check| check.name == "test");
    let output = run(&world, job).await;
    assert_eq!(told(&output), [(Side::Base, "test", Status::Passed), (Side::Result, "test", Status::Failed)]);
    assert_eq!(output.report.runs[0].tests, Some(Tests { passed: 1, failed: 0, ignored: 0 }));
    assert_eq!(output.report.runs[1].tests, Some(Tests { passed: 0, failed: 1, ignored: 0 }));
}

#[tokio::test]
async fn nothing_found_is_an_empty_suite() {
    let world = World::new();
    let (session, ready) = world.prepared().await;
    let job = job(&world, session, &ready).await;
    assert_eq!(job.suite, Suite::default());
    assert_eq!(run(&world, job).await.report.runs, []);
    assert_eq!(world.git.find(world.repo.clone(), "HEAD".into()).await.unwrap(), Suite::default());
}

#[tokio::test]
async fn a_merged_tree_is_checked_while_landing() {
    let world = declared("[checks.a]\nrun = \"test -e mine && test -e theirs\"\n");
    let (session, ready) = world.prepared().await;
    put(&ready.root.join("mine"), "");
    let work = job(&world, session, &ready).await;
    world.write("theirs", "");
    world.run(&["add", "-A"]);
    world.run(&["commit", "-q", "-m", "meanwhile"]);
    let landing = Landing {
        base: ready.base.clone(),
        result: work.result.clone(),
        target: ready.target.clone(),
        land: true,
    };
    let check: CheckMerged<'_> = &|merged: String| {
        let job = CheckJob { result: merged, base_known: true, ..work.clone() };
        Box::pin(async {
            let output = world.git.run(job, Cancel::new(), &Quiet).await?;
            Ok((output.report.runs.iter().all(|run| run.status == Status::Passed), output))
        })
    };
    let landed = world.git.integrate(session, world.origin(), landing, check, Cancel::new()).await.unwrap();
    assert_eq!(landed.integrated.landed, Some(world.head()));
    assert_eq!(landed.integrated.report.unwrap().runs.len(), 1);
}
