//! A terminal with real programs in it for twenty minutes: driven by a script, looked at by clients that are killed, found
//! again with the same screen; and what that costs in memory, files and processes. `cargo xtask soak [MINUTES]`; a command,
//! never a test.
//!
//! Knows nothing of the inside. Start at [`main`]; one round is [`round`]. A client is this program again.

use sandbox::job::link::{Frame, connect};
use sandbox::job::{Job, Screen, read};
use sandbox::{Command, Size};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const SIZE: Size = Size { columns: 80, rows: 24 };
const LARGER: Size = Size { columns: 100, rows: 40 };
/// How long a screen may take to show what it should, on a machine however busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two programs: nobody types faster, and the machine may have other work.
const PAUSE: Duration = Duration::from_millis(500);
/// Every colour there is, then a line in one of them.
const COLOURS: &str = "clear; n=0; while [ $n -lt 256 ]; do printf '\\033[48;5;%dm%x\\033[0m' $n $((n % 16)); \
                       n=$((n+1)); done; printf '\\n\\033[38;5;123m%s\\033[0m\\n' all-of-them\r";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let [word, dir] = args.as_slice()
        && word == "client"
    {
        return runtime.block_on(client(Path::new(dir)));
    }
    let minutes: f64 = args.first().map_or(20.0, |text| text.parse().expect("a number of minutes"));
    runtime.block_on(soak(Duration::from_secs_f64(minutes * 60.0)));
}

/// Looks until it is killed. Says once that it sees something.
async fn client(dir: &Path) {
    let (mut hears, _says) = connect(dir).await.expect("the job");
    while let Ok(Some(frame)) = hears.next().await {
        if let Frame::Screen(..) = frame {
            println!("here");
        }
    }
}

struct World {
    job: Job,
    dir: PathBuf,
    programs: Vec<&'static str>,
    /// Screens that were compared after a client had been killed.
    compared: u64,
}

async fn soak(time: Duration) {
    let top = std::env::temp_dir().join(format!("kapell-soak-{}", std::process::id()));
    let dir = top.join("job");
    std::fs::create_dir_all(&dir).expect("a directory");
    let lines: String = (1..=500).map(|n| format!("line {n}\n")).collect();
    std::fs::write(top.join("text"), lines).expect("a file");
    let programs = ["vim", "less", "top"].into_iter().filter(|program| has(program)).collect();
    let shell = Command::argv(["/bin/sh"], &top).env("PS1", "$ ").env("HOME", &top);
    let job = Job::start(shell, &dir, Some(SIZE)).expect("it starts");
    let mut world = World { job, dir, programs, compared: 0 };
    println!("programs: {}", world.programs.join(", "));
    println!(
        "{:>8} {:>7} {:>9} {:>9} {:>6} {:>10}",
        "minutes", "rounds", "screens", "KiB", "files", "processes"
    );
    let (began, mut rounds, mut told) = (Instant::now(), 0, Instant::now());
    // The first one makes everything that stays.
    round(&mut world).await;
    let first = (rss(), files(), below());
    while began.elapsed() < time {
        round(&mut world).await;
        rounds += 1;
        if told.elapsed() >= time / 10 {
            told = Instant::now();
            row(began, rounds, &world);
        }
    }
    row(began, rounds, &world);
    let last = (rss(), files(), below());
    println!("after the first round {first:?}, after the last {last:?} (KiB, files, processes)");
    println!("{} bytes of output, {} kept on disk", world.job.status().bytes, kept(&world.dir));
    drop(world);
    let limit = Instant::now() + PATIENCE;
    // The keeper stays; nothing else may.
    while below() > 1 && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("processes below this one after the end: {}", below());
    assert_eq!(below(), 1, "something of the job is left");
    assert!(last.1 <= first.1 && last.2 <= first.2, "something was left open");
    assert!(last.0 < first.0 + 32 * 1024, "memory grows");
    // tidy: allow(recursive-delete): made above, with the number of this process in its name
    let _gone = std::fs::remove_dir_all(&top);
}

fn row(began: Instant, rounds: u64, world: &World) {
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("{minutes:>8.1} {rounds:>7} {:>9} {:>9} {:>6} {:>10}", world.compared, rss(), files(), below());
}

/// Each program once, with a client killed while it shows something.
async fn round(world: &mut World) {
    for program in world.programs.clone() {
        match program {
            "vim" => {
                world.types("vim -u NONE -i NONE -n text\r").await;
                world.shows("the file", |rows| rows[0] == "line 1").await;
                world.types("ihello \x1b").await;
                world.shows("what was typed", |rows| rows[0] == "hello line 1").await;
                world.seen_again().await;
                world.job.resize(LARGER).expect("another size");
                world.shows("more rows", |rows| rows.len() == 40 && rows[38] == "line 39").await;
                world.job.resize(SIZE).expect("the first size");
                world.shows("fewer rows", |rows| rows.len() == 24 && rows[22] == "line 23").await;
                world.types(":q!\r").await;
            }
            "less" => {
                world.types("less text\r").await;
                world.shows("the beginning", |rows| rows[0] == "line 1").await;
                world.types("G").await;
                world.shows("the end", |rows| rows[22] == "line 500").await;
                world.seen_again().await;
                world.types("q").await;
            }
            _ => {
                world.types("top\r").await;
                world.shows("its heading", |rows| rows.iter().any(|row| row.contains("COMMAND"))).await;
                world.killed().await;
                world.types("q").await;
            }
        }
        // What is typed before the program has ended would be its own.
        world.shows("the program's end", prompts).await;
        world.cleared().await;
        tokio::time::sleep(PAUSE).await;
    }
    world.types("seq 20000\r").await;
    world.shows("a flood", |rows| rows.iter().any(|row| row == "20000")).await;
    world.types(COLOURS).await;
    world.shows("colours", |rows| rows.iter().any(|row| row == "all-of-them")).await;
    world.shows("a prompt", prompts).await;
    world.seen_again().await;
    world.cleared().await;
}

/// Is the shell's prompt the last that is shown?
fn prompts(rows: &[String]) -> bool {
    rows.iter().rev().find(|row| !row.is_empty()).is_some_and(|row| row.ends_with('$'))
}

impl World {
    async fn types(&self, text: &str) {
        self.job.write(text.as_bytes()).await.expect("it reads");
    }

    /// Nothing is shown but a prompt.
    async fn cleared(&self) {
        self.types("clear\r").await;
        self.shows("a prompt alone", |rows| rows[0] == "$" && rows[1..].iter().all(String::is_empty)).await;
    }

    async fn shows(&self, what: &str, fits: impl Fn(&[String]) -> bool) {
        let shown = |_: &_| self.job.shown().is_some_and(|shown| fits(&shown.rows));
        let found = self.job.until(PATIENCE, shown).await;
        assert!(found, "never: {what}: {:#?}", self.job.shown().map(|shown| shown.rows));
    }

    /// A client that sees it and is killed at once.
    async fn killed(&self) {
        let mut client = Client(
            std::process::Command::new(std::env::current_exe().expect("this program"))
                .args(["client".as_ref(), self.dir.as_os_str()])
                .stdout(Stdio::piped())
                .spawn()
                .expect("a client"),
        );
        let out = client.0.stdout.take().expect("its output");
        let said = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).map(|_| line)
        });
        assert_eq!(said.await.expect("a thread").expect("a line"), "here\n");
    }

    /// Kills a client; who comes next sees what the job shows, in every cell.
    async fn seen_again(&mut self) {
        self.killed().await;
        let (mut hears, _says) = connect(&self.dir).await.expect("the job");
        let Ok(Some(Frame::Screen(size, bytes))) = hears.next().await else { panic!("not a screen") };
        let mut screen = Screen::new(size);
        screen.feed(&bytes);
        let shown = self.job.shown().expect("a screen");
        assert_eq!((screen.size(), screen.rows(), screen.cursor()), (shown.size, shown.rows, shown.cursor));
        self.compared += 1;
    }
}

struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _dead_already = self.0.kill();
        let _status = self.0.wait();
    }
}

fn has(program: &str) -> bool {
    let found = std::process::Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: there is no {program}");
    }
    found
}

fn kept(dir: &Path) -> u64 {
    read(dir, 0, 1).map_or(0, |piece| piece.end - piece.from)
}

/// Memory of this process, KiB.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Processes that have this one above them.
fn below() -> usize {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let parents: std::collections::HashMap<u32, u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let ours = |pid: &&u32| {
        let mut above = parents.get(pid);
        while let Some(next) = above.filter(|next| **next > 1) {
            if *next == std::process::id() {
                return true;
            }
            above = parents.get(next);
        }
        false
    };
    parents.keys().filter(ours).count()
}
