//! Commands of one action that can be one process, brought together: the first waits a moment for the others, one process
//! runs for all of them, and whoever still waits is given its end (S2.6-2).
//! Knows nothing of which commands these are (`together.rs`). Start at [`Gather::join`].
//!
//! Nobody owns the process: whoever waits drives it, and when one gives up, the next goes on. It is stopped when nobody
//! waits any more. Where it did not do for all, each runs its own command, one after the other.

use contract::cancel::Urgency;
use contract::limits::CALLS_TOGETHER_MS;
use contract::{BoxFuture, Cancel, Digest};
use sandbox::Ended;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, watch};

/// The process for all: `None` = it could not be started.
pub(super) type Running = BoxFuture<'static, Option<Ended>>;

/// Groups that others may still join, by their action and mark.
#[derive(Default)]
pub(super) struct Gather(Mutex<HashMap<(String, Digest), Arc<Group>>>);

impl std::fmt::Debug for Gather {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gather")
    }
}

/// What came of joining.
pub(super) enum Joined {
    /// One process did it for so many files: how it ended, and what of its output is this one's.
    Together(Arc<Ended>, String, usize),
    /// It runs by itself, for as long as it holds this after the others of its group.
    Alone(OwnedMutexGuard<()>),
    /// It was told to stop. The others go on.
    Cancelled,
}

#[derive(Default)]
struct Group {
    members: Mutex<Members>,
    /// Nobody joins any more.
    closed: watch::Sender<bool>,
    /// Stops the process.
    cancel: Cancel,
    run: tokio::sync::Mutex<Run>,
    /// Whose turn it is, where each runs its own.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Members {
    files: Vec<String>,
    joined: usize,
    /// Those that still want to know.
    here: usize,
}

#[derive(Default)]
enum Run {
    #[default]
    Not,
    On(Running),
    Over(Option<Arc<Ended>>),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gather {
    /// Joins the others of this mark in this action, of which there are so many at most. `start` starts the process for
    /// the files of all; it is called once, by anybody. `own` tells this file's part of what it printed.
    pub(super) async fn join(
        &self,
        (action, mark): (&str, Digest),
        most: usize,
        file: &str,
        cancel: &Cancel,
        start: impl FnOnce(&[String], Cancel) -> Running,
        own: impl FnOnce(&Ended, &[String]) -> Option<String>,
    ) -> Joined {
        let key = (action.to_owned(), mark);
        let group = self.enter(&key, most, file);
        let mut closed = group.closed.subscribe();
        tokio::select! {
            biased;
            () = cancel.reached(Urgency::Graceful) => {
                group.leave();
                return Joined::Cancelled;
            }
            _ = closed.wait_for(|closed| *closed) => {}
            () = tokio::time::sleep(Duration::from_millis(CALLS_TOGETHER_MS)) => self.close(&key, &group),
        }
        let files = locked(&group.members).files.clone();
        if files.len() < 2 {
            return group.alone(cancel).await;
        }
        let mut drive = std::pin::pin!(group.drive(&files, start));
        let ended = tokio::select! {
            biased;
            () = cancel.reached(Urgency::Graceful) => {
                if group.leave() > 0 {
                    return Joined::Cancelled;
                }
                group.cancel.cancel(Urgency::Graceful);
                // Nobody else waits: its end is ours to see.
                tokio::select! {
                    biased;
                    () = cancel.reached(Urgency::Now) => {
                        group.cancel.cancel(Urgency::Now);
                        drive.await
                    }
                    ended = &mut drive => ended,
                };
                return Joined::Cancelled;
            }
            ended = &mut drive => ended,
        };
        let well = ended.filter(|ended| ended.ok() && ended.output.dropped() == 0);
        match well.and_then(|ended| Some((own(&ended, &files)?, ended))) {
            Some((part, ended)) => Joined::Together(ended, part, files.len()),
            None => group.alone(cancel).await,
        }
    }

    fn enter(&self, key: &(String, Digest), most: usize, file: &str) -> Arc<Group> {
        let mut open = locked(&self.0);
        let group = Arc::clone(open.entry(key.clone()).or_default());
        let mut members = locked(&group.members);
        (members.joined, members.here) = (members.joined + 1, members.here + 1);
        if !members.files.iter().any(|known| known == file) {
            members.files.push(file.to_owned());
        }
        if members.joined >= most {
            open.remove(key);
            group.closed.send_replace(true);
        }
        drop(members);
        group
    }

    fn close(&self, key: &(String, Digest), group: &Arc<Group>) {
        let mut open = locked(&self.0);
        if open.get(key).is_some_and(|known| Arc::ptr_eq(known, group)) {
            open.remove(key);
        }
        group.closed.send_replace(true);
    }
}

impl Group {
    /// One that does not wait any more; how many do.
    fn leave(&self) -> usize {
        let mut members = locked(&self.members);
        members.here -= 1;
        members.here
    }

    /// Starts it, or goes on where the last who waited left it.
    async fn drive(
        &self,
        files: &[String],
        start: impl FnOnce(&[String], Cancel) -> Running,
    ) -> Option<Arc<Ended>> {
        let mut run = self.run.lock().await;
        if let Run::Not = *run {
            *run = Run::On(start(files, self.cancel.clone()));
        }
        if let Run::On(running) = &mut *run {
            let ended = running.await.map(Arc::new);
            *run = Run::Over(ended);
        }
        match &*run {
            Run::Over(ended) => ended.clone(),
            Run::Not | Run::On(_) => None,
        }
    }

    /// Each runs its own after all, when it is its turn.
    async fn alone(&self, cancel: &Cancel) -> Joined {
        tokio::select! {
            biased;
            () = cancel.reached(Urgency::Graceful) => Joined::Cancelled,
            turn = Arc::clone(&self.turn).lock_owned() => Joined::Alone(turn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shell;
    use crate::Options;
    use crate::testing::Bench;
    use contract::Cancel;
    use contract::cancel::Urgency;
    use contract::port::Quiet;
    use contract::tool::{Output, Stopped, Tool};
    use serde_json::json;
    use std::sync::Arc;
    use tokio::task::JoinHandle;

    /// Looks at every file it is given, once there is a file `go`; says at each start that it runs.
    const RUFF: &str = "#!/bin/sh\necho run >> ../runs\nwhile [ ! -e ../go ]; do sleep 0.01; done\nshift\nfor f; do\n\
                        grep -q bad \"$f\" && { echo \"$f:1:1: E1 bad\"; bad=1; }\ndone\n\
                        [ -n \"$bad\" ] && exit 1\necho 'All checks passed!'\n";

    struct World {
        bench: Bench,
        shell: Arc<Shell>,
        runtime: tokio::runtime::Runtime,
    }

    impl World {
        fn new(files: usize) -> Self {
            use std::os::unix::fs::PermissionsExt;
            let mut bench = Bench::new();
            let program = bench.top().join("bin/ruff");
            std::fs::create_dir(bench.top().join("bin")).unwrap();
            std::fs::write(&program, RUFF).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let path = format!("{}:/usr/bin:/bin", bench.top().join("bin").display());
            bench.scope.env.push(("PATH".into(), path));
            bench.scope.together = files;
            (0..files).for_each(|n| drop(bench.file(format!("f{n}.py"), "well\n")));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            Self { bench, shell: Arc::new(Shell::new(&Options::default())), runtime }
        }

        fn go(&self) {
            std::fs::write(self.bench.top().join("go"), "").unwrap();
        }

        fn runs(&self) -> usize {
            let runs = std::fs::read_to_string(self.bench.top().join("runs"));
            runs.map_or(0, |runs| runs.lines().count())
        }

        /// Started in the runtime, like calls of one action.
        fn start(&self, line: String, cancel: &Cancel) -> JoinHandle<Output> {
            let (shell, scope, cancel) = (Arc::clone(&self.shell), self.bench.scope.clone(), cancel.clone());
            tokio::spawn(async move { shell.run(json!({"command": line}), scope, cancel, &Quiet).await })
        }

        fn all(&self, lines: impl IntoIterator<Item = String>) -> Vec<Output> {
            self.runtime.block_on(async {
                let running: Vec<_> =
                    lines.into_iter().map(|line| self.start(line, &Cancel::new())).collect();
                let mut outputs = Vec::new();
                for one in running {
                    outputs.push(one.await.unwrap());
                }
                outputs
            })
        }
    }

    fn lines(files: usize) -> impl Iterator<Item = String> {
        (0..files).map(|n| format!("ruff check f{n}.py"))
    }

    #[test]
    fn thirty_requests_are_one_process_and_thirty_answers() {
        let world = World::new(30);
        world.go();
        for output in world.all(lines(30)) {
            assert_eq!(output.text, "All checks passed!\n[exit status 0; one process for 30 files]");
            assert!(output.ok && output.exit == Some(0));
        }
        assert_eq!(world.runs(), 1);
    }

    #[test]
    fn where_one_is_not_well_each_is_asked_alone() {
        let world = World::new(5);
        world.go();
        world.bench.file("f3.py", "bad\n");
        let outputs = world.all(lines(5));
        for (n, output) in outputs.iter().enumerate() {
            let expected = match n {
                3 => "f3.py:1:1: E1 bad\n[exit status 1",
                _ => "All checks passed!\n[exit status 0]",
            };
            assert!(output.text.starts_with(expected), "{n}: {}", output.text);
            assert_eq!(output.ok, n != 3);
        }
        assert_eq!(world.runs(), 6);
    }

    #[test]
    fn other_flags_and_what_is_no_file_are_other_processes() {
        let mut world = World::new(3);
        world.bench.scope.together = 5;
        world.go();
        std::fs::create_dir(world.bench.root().join("dir")).unwrap();
        let mut all: Vec<String> = lines(3).collect();
        all.extend(["ruff check -q f0.py".to_owned(), "ruff check dir".to_owned()]);
        let outputs = world.all(all);
        assert!(outputs[..3].iter().all(|output| output.text.ends_with("one process for 3 files]")));
        assert!(
            outputs[3..].iter().all(|output| output.exit.is_some() && !output.text.contains("one process"))
        );
        assert_eq!(world.runs(), 3);
    }

    #[test]
    fn who_is_cancelled_leaves_the_others_alone() {
        let world = World::new(3);
        world.runtime.block_on(async {
            let cancels = [Cancel::new(), Cancel::new(), Cancel::new()];
            let mut running: Vec<_> =
                lines(3).zip(&cancels).map(|(line, cancel)| world.start(line, cancel)).collect();
            while world.runs() == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            // The first one drives the process: the next one goes on with it.
            cancels[0].cancel(Urgency::Graceful);
            let first = running.remove(0).await.unwrap();
            assert_eq!((first.ok, first.stopped), (false, Some(Stopped::Cancelled)));
            cancels[1].cancel(Urgency::Now);
            assert_eq!(running.remove(0).await.unwrap().stopped, Some(Stopped::Cancelled));
            world.go();
            let last = running.remove(0).await.unwrap();
            assert_eq!(last.text, "All checks passed!\n[exit status 0; one process for 3 files]");
        });
        assert_eq!(world.runs(), 1);
    }

    #[test]
    fn the_process_ends_with_the_last_who_waits() {
        let world = World::new(2);
        world.runtime.block_on(async {
            let cancel = Cancel::new();
            let running: Vec<_> = lines(2).map(|line| world.start(line, &cancel.child())).collect();
            while world.runs() == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            cancel.cancel(Urgency::Graceful);
            for one in running {
                assert_eq!(one.await.unwrap().stopped, Some(Stopped::Cancelled));
            }
        });
        // Nobody ran it again, and nothing waits for `go` any more: the shell's own run saw its end.
        assert_eq!(world.runs(), 1);
    }
}
