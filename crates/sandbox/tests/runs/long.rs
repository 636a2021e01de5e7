//! A working day at a terminal, by a clock that does not wait: people come, type, are killed, come back.
//! Knows nothing of the inside. Start at [`eight_hours_are_as_the_first_minute`]; the real twenty minutes are
//! `cargo xtask soak`.

use super::BRISK;
use sandbox::job::link::{Frame, connect};
use sandbox::job::{Job, Screen, look, read};
use sandbox::{Command, Size};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
const MINUTES: u32 = 8 * 60;
/// Longer than the day: by this clock nothing else may end a wait.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn shows(job: &Job, line: &str) {
    let shown = |_: &_| job.shown().is_some_and(|shown| shown.rows.iter().any(|row| row == line));
    assert!(job.until(NEVER, shown).await);
}

/// What who comes now is shown.
async fn seen(dir: &Path) -> Screen {
    let (mut hears, _says) = connect(dir).await.unwrap();
    let Some(Frame::Screen(size, bytes)) = hears.next().await.unwrap() else { panic!("not a screen") };
    let mut screen = Screen::new(size);
    screen.feed(&bytes);
    screen
}

#[test]
fn eight_hours_are_as_the_first_minute() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let job_dir = dir.path().join("j1");
    std::fs::create_dir(&job_dir).unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let line = "stty -echo; while read -r n; do printf '\\033[H\\033[2Jminute %s\\n\\033[38;5;%dmcolour\\033[0m' \
                    \"$n\" $((n % 256)); done; echo bye";
        let command = Command::shell(line, dir.path()).grace(BRISK);
        let job = Job::start(command, &job_dir, Some(Size { columns: 80, rows: 24 })).unwrap();
        let mut open = 0;
        for minute in 1..=MINUTES {
            tokio::time::advance(MINUTE).await;
            job.write(format!("{minute}\n").as_bytes()).await.unwrap();
            shows(&job, &format!("minute {minute}")).await;
            shows(&job, "colour").await;
            // Every tenth minute somebody looks, makes the window another one, and is gone without a word.
            if minute % 10 == 0 {
                let (mut hears, mut says) = connect(&job_dir).await.unwrap();
                assert!(matches!(hears.next().await.unwrap(), Some(Frame::Screen(..))));
                let size = Size { columns: 80 + u16::try_from(minute % 7).unwrap(), rows: 24 };
                says.say(&Frame::Resize(size)).await.unwrap();
                let resized = |_: &_| job.shown().is_some_and(|shown| shown.size == size);
                assert!(job.until(NEVER, resized).await);
                drop((hears, says));
                let (screen, shown) = (seen(&job_dir).await, job.shown().unwrap());
                assert_eq!((screen.size(), screen.rows(), screen.cursor()), (size, shown.rows, shown.cursor));
                assert!(screen.dump().contains(&format!("38:5:{}", minute % 256)) || minute % 256 < 16);
            }
            // Once all that comes and goes has come and gone.
            if minute == 30 {
                open = files();
            }
        }
        assert!(began.elapsed() >= MINUTE * MINUTES);
        assert!(files() <= open + 2, "{} files open after 30 minutes, {} after eight hours", open, files());
        let status = look(&job_dir).unwrap();
        assert!(status.ended.is_empty(), "{status:?}");
        let piece = read(&job_dir, 0, 1).unwrap();
        assert_eq!((piece.from, piece.end), (0, job.status().bytes));
        job.write(b"\x04").await.unwrap();
        assert!(job.until(NEVER, |status| !status.ended.is_empty()).await);
        assert_eq!(job.status().ended, "exit status 0");
    });
}
