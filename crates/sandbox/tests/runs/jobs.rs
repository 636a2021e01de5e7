//! Commands that outlive the call that started them: with a pipe, at a terminal, looked at by people who come and go.
//! Knows nothing of the inside. Start at [`World`].

use super::{BRISK, alive, unique, until};
use contract::cancel::Urgency;
use sandbox::job::link::{Frame, Hears, Says, connect};
use sandbox::job::{Job, Screen, Status, look, read};
use sandbox::{Command, Size};
use std::path::PathBuf;
use std::time::Duration;

const SIZE: Size = Size { columns: 80, rows: 24 };
const LONG: Duration = Duration::from_secs(20);

/// A directory of its own, and a runtime.
struct World {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), runtime }
    }

    fn job(&self) -> PathBuf {
        self.dir.path().join("j1")
    }

    fn start(&self, line: &str, size: Option<Size>) -> Job {
        std::fs::create_dir_all(self.job()).unwrap();
        let command = Command::shell(line, self.dir.path()).grace(BRISK);
        Job::start(command, &self.job(), size).unwrap()
    }
}

fn over(status: &Status) -> bool {
    !status.ended.is_empty()
}

/// Waits until the screen fits.
async fn shows(job: &Job, what: &str, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
    let shown = |_: &Status| job.shown().is_some_and(|shown| fits(&shown.rows));
    assert!(
        job.until(LONG, shown).await,
        "never: {what}: {:?} {:#?}",
        job.status(),
        job.shown().unwrap().rows
    );
    job.shown().unwrap().rows
}

#[test]
fn a_pipe_is_written_into_and_read_by_number() {
    let world = World::new();
    world.runtime.block_on(async {
        let job = world.start("while read -r x; do echo \"got $x\"; done; echo end; exit 3", None);
        assert!(job.until(LONG, |status| status.waits.contains("waits for input from a pipe")).await);
        job.write(b"one\ntwo\n").await.unwrap();
        assert!(job.until(LONG, |status| status.bytes == 16).await);
        assert_eq!(read(&world.job(), 0, 100).unwrap().bytes, b"got one\ngot two\n");
        let piece = read(&world.job(), 8, 4).unwrap();
        assert_eq!((piece.from, piece.bytes.as_slice(), piece.end), (8, &b"got "[..], 16));
        let status = look(&world.job()).unwrap();
        assert!(
            status.ended.is_empty() && status.pid > 0 && status.command.contains("read -r x"),
            "{status:?}"
        );
        job.stop(Urgency::Graceful);
        assert!(job.until(LONG, over).await);
        assert_eq!(look(&world.job()).unwrap().ended, "stopped by SIGINT");
    });
}

#[test]
fn a_job_ends_by_itself_and_with_its_handle() {
    let world = World::new();
    let seconds = unique();
    world.runtime.block_on(async {
        let job = world.start("echo done; exit 3", None);
        assert!(job.until(LONG, over).await);
        assert_eq!((job.status().ended.as_str(), job.status().bytes), ("exit status 3", 5));
        let job = world.start(&format!("setsid sleep {seconds} & sleep {seconds}"), Some(SIZE));
        assert!(job.until(LONG, |status| status.pid > 0).await);
        until("it runs", || alive(&format!("sleep\0{seconds}")));
        drop(job);
        let status = look(&world.job()).unwrap();
        assert_eq!((status.ended.as_str(), status.waits.as_str()), ("killed with its session", ""));
        let gone = async {
            while alive(&format!("sleep\0{seconds}")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, gone).await.expect("it is gone");
    });
}

#[test]
fn what_was_answered_does_not_wait_until_it_does_again() {
    let world = World::new();
    world.runtime.block_on(async {
        let job = world.start("cat > all", None);
        let waits = |status: &Status| status.waits.contains("`cat`");
        assert!(job.until(LONG, waits).await, "{:?}", job.status());
        job.write(b"one\n").await.unwrap();
        assert!(job.until(LONG, |status| status.waits.is_empty()).await, "{:?}", job.status());
        assert!(job.until(LONG, waits).await, "{:?}", job.status());
        job.stop(Urgency::Now);
        assert!(job.until(LONG, over).await);
    });
}

#[test]
fn who_does_not_listen_or_is_not_read_is_heard() {
    let world = World::new();
    world.runtime.block_on(async {
        let job = world.start("yes 'a line like many others'", None);
        let (_hears, mut says) = connect(&world.job()).await.unwrap();
        assert!(job.until(LONG, |status| status.bytes > 10_000_000).await);
        says.say(&Frame::Stop).await.unwrap();
        assert!(job.until(LONG, over).await, "{:?}", job.status());
        let job = world.start("sleep 1000", None);
        let (_hears, mut says) = connect(&world.job()).await.unwrap();
        for _ in 0..4 {
            says.say(&Frame::Input(vec![b'x'; 100_000])).await.unwrap();
        }
        says.say(&Frame::Stop).await.unwrap();
        assert!(job.until(LONG, over).await, "{:?}", job.status());
    });
}

async fn attached(world: &World) -> (Hears, Says, Screen) {
    let (mut hears, says) = connect(&world.job()).await.unwrap();
    let Some(Frame::Screen(size, bytes)) = hears.next().await.unwrap() else { panic!("not a screen") };
    let mut screen = Screen::new(size);
    screen.feed(&bytes);
    (hears, says, screen)
}

fn has(program: &str) -> bool {
    let found = std::process::Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.unwrap().status.success();
    if !found {
        eprintln!("SKIPPED 1 case: there is no {program}");
    }
    found
}

#[test]
fn programs_at_a_terminal_are_driven_by_a_script() {
    let world = World::new();
    let lines: String = (1..=500).map(|n| format!("line {n}\n")).collect();
    std::fs::write(world.dir.path().join("text"), lines).unwrap();
    world.runtime.block_on(async {
        if has("vim") {
            let job = world.start("vim -u NONE -i NONE -n text", Some(SIZE));
            shows(&job, "the file", |rows| rows[0] == "line 1").await;
            job.write(b"ihello \x1b").await.unwrap();
            shows(&job, "what was typed", |rows| rows[0] == "hello line 1").await;
            job.resize(Size { columns: 100, rows: 40 }).unwrap();
            shows(&job, "more rows", |rows| rows.len() == 40 && rows[38] == "line 39").await;
            job.write(b":q!\r").await.unwrap();
            assert!(job.until(LONG, over).await);
            assert_eq!(job.status().ended, "exit status 0");
        }
        if has("less") {
            let job = world.start("less text", Some(SIZE));
            shows(&job, "the beginning", |rows| rows[0] == "line 1").await;
            job.write(b"G").await.unwrap();
            shows(&job, "the end", |rows| rows[22] == "line 500").await;
            job.write(b"q").await.unwrap();
            assert!(job.until(LONG, over).await);
        }
        if has("top") {
            let job = world.start("top", Some(SIZE));
            shows(&job, "its heading", |rows| {
                rows.iter().any(|row| row.contains("PID") && row.contains("COMMAND"))
            })
            .await;
            job.write(b"q").await.unwrap();
            assert!(job.until(LONG, over).await);
        }
    });
}

#[test]
fn who_comes_back_sees_the_same_screen() {
    let world = World::new();
    world.runtime.block_on(async {
        // Every colour of 256, then the other screen with a half drawn line.
        let colours = "n=0; while [ $n -lt 256 ]; do printf '\\033[48;5;%dm%x\\033[0m' $n $((n % 16)); n=$((n+1)); done; \
                       printf '\\n\\033[?1049h\\033[3;5H\\033[38;5;123mhere\\033[0m'; read -r x; echo; echo \"got $x\"; read -r y";
        let job = world.start(colours, Some(SIZE));
        shows(&job, "the other screen", |rows| rows[2] == "    here").await;
        let (hears, mut says, first) = attached(&world).await;
        says.say(&Frame::Resize(Size { columns: 90, rows: 30 })).await.unwrap();
        shows(&job, "another size", |rows| rows.len() == 30).await;
        // As when it is killed: nothing is said.
        drop((hears, says));
        let (mut hears, mut says, mut again) = attached(&world).await;
        assert_eq!((again.size(), &again.rows()[..24]), (Size { columns: 90, rows: 30 }, &first.rows()[..]));
        assert!(again.dump().contains("38:5:123"), "{:?}", again.dump());
        let mut local = Screen::new(again.size());
        local.feed(job_dump(&world).await.as_bytes());
        assert_eq!((local.rows(), local.dump()), (again.rows(), again.dump()));
        says.say(&Frame::Input(b"word\n".to_vec())).await.unwrap();
        while !again.rows().iter().any(|row| row == "got word") {
            match hears.next().await.unwrap().unwrap() {
                Frame::Output(bytes) => again.feed(&bytes),
                Frame::At(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(again.rows(), job.shown().unwrap().rows);
        says.say(&Frame::Stop).await.unwrap();
        loop {
            match hears.next().await.unwrap().unwrap() {
                Frame::Ended(how) => break assert!(how.starts_with("stopped by SIG"), "{how}"),
                Frame::Output(_) | Frame::At(_) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

async fn job_dump(world: &World) -> String {
    attached(world).await.2.dump()
}

#[test]
fn a_flood_is_bounded_and_its_end_is_kept() {
    let world = World::new();
    world.runtime.block_on(async {
        let line = "yes 'a line like many others' | head -c 80000000; printf '\\377\\376 error: the last'";
        let job = world.start(line, None);
        assert!(job.until(Duration::from_secs(60), over).await, "{:?}", job.status());
        let status = job.status();
        assert_eq!((status.bytes, status.ended.as_str()), (80_000_018, "exit status 0"));
        let piece = read(&world.job(), status.bytes - 18, 100).unwrap();
        assert_eq!(piece.bytes, b"\xff\xfe error: the last");
        let kept: u64 =
            std::fs::read_dir(world.job()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        let most = contract::limits::OUTPUT_KEEP_BYTES as u64 + 2 * contract::limits::JOB_SEGMENT_BYTES;
        assert!(kept <= most && kept >= most / 2, "{kept}");
        assert!(read(&world.job(), 0, 1).unwrap().from > 0);
    });
}
