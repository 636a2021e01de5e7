//! `attach`: a person at a terminal of a session. Leaving, or being killed, leaves it as it is for the next one.
//!
//! What its programs write goes through a screen of our own and is drawn from there, so that no sequence of theirs acts
//! on the person's terminal. Start at [`run`].

use super::jobs::{find, gone, session};
use crate::app::App;
use crate::exit::{self, Failure};
use crate::out;
use crate::show::clean;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sandbox::job::Screen;
use sandbox::job::link::{self, Frame, Hears, Says};
use sandbox::{Reader, Size};
use std::io::{self, Write};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// Ctrl-] leaves, as in telnet.
const LEAVE: u8 = 0x1d;
/// Between two drawings at least.
const FRAME: Duration = Duration::from_millis(20);
/// Back to how a terminal is before programs change it: modes, the other screen, colours; and empty.
const CLEAR: &str = "\x1b[!p\x1b[?1049l\x1b[0m\x1b[2J\x1b[H";
/// Back to the person's shell.
const BYE: &str = "\x1b[!p\x1b[?1049l\x1b[?25h\x1b[0m\r\n";

/// The person's terminal, as it was.
struct Raw(Termios);

impl Raw {
    fn set() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        show(BYE);
        // A terminal that is gone needs nothing any more.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Looks at one and types at it; the exit code.
pub(crate) async fn run(app: &App, name: &str, job: Option<&str>) -> Result<u8, Failure> {
    if !app.term.can_ask() {
        let what = "attach needs a terminal on standard input and output";
        return Err(Failure::usage("no-terminal", what, "kapell jobs SESSION JOB prints what one wrote"));
    }
    let session = session(app, name).await?;
    let (job, dir) = find(&tools::Jobs::new(app.home.sessions_dir()), session, job)?;
    let (hears, says) = link::connect(&dir).await.map_err(|_| gone(&job, &dir))?;
    if !app.global.quiet {
        out::complain(&format!("attached to {job}; Ctrl-] leaves it running\n"));
    }
    let failed = |error: io::Error| {
        let what = format!("the terminal cannot be used: {error}");
        Failure::failed("terminal", what, "try another terminal")
    };
    let raw = Raw::set().map_err(failed)?;
    let ended = attached(hears, says).await;
    drop(raw);
    match ended.map_err(failed)? {
        Some(how) => out::complain(&format!("{job} has ended: {}\n", clean::line(&how))),
        None => out::complain(&format!("left {job}; it runs on\n")),
    }
    Ok(exit::OK)
}

/// Until the person leaves, or it ends: then how.
async fn attached(mut hears: Hears, mut says: Says) -> io::Result<Option<String>> {
    let typed = Reader::terminal(io::stdin())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut screen = Screen::new(size());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut keys = [0; 4096];
    // When what has changed is drawn, however much comes until then.
    let mut due = None;
    let soon = || Some(Instant::now() + FRAME);
    says.say(&Frame::Resize(size())).await?;
    loop {
        tokio::select! {
            frame = hears.next() => match frame? {
                Some(Frame::Screen(size, bytes)) => {
                    screen = Screen::new(size);
                    screen.feed(&bytes);
                    due = due.or_else(soon);
                }
                Some(Frame::Output(bytes)) => {
                    screen.feed(&bytes);
                    due = due.or_else(soon);
                }
                Some(Frame::At(_)) => {}
                Some(Frame::Ended(how)) => {
                    draw(&screen);
                    return Ok(Some(how));
                }
                Some(_) => return Err(io::ErrorKind::InvalidData.into()),
                None => return Ok(Some("its Kapell is gone".to_owned())),
            },
            n = typed.read(&mut keys) => {
                let keys = &keys[..n];
                let leaves = keys.iter().position(|key| *key == LEAVE);
                if n == 0 || leaves == Some(0) {
                    return Ok(None);
                }
                says.say(&Frame::Input(keys[..leaves.unwrap_or(n)].to_vec())).await?;
                if leaves.is_some() {
                    return Ok(None);
                }
            }
            _ = resized.recv() => {
                screen.resize(size());
                says.say(&Frame::Resize(size())).await?;
                due = due.or_else(soon);
            }
            // Killed, it leaves the person's terminal as it was.
            _ = terminate.recv() => return Ok(None),
            _ = hangup.recv() => return Ok(None),
            () = until(due), if due.is_some() => {
                due = None;
                draw(&screen);
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await;
}

/// The size of the person's terminal.
fn size() -> Size {
    match tcgetwinsize(io::stdin()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size { columns: size.ws_col, rows: size.ws_row },
        _ => Size::default(),
    }
}

fn draw(screen: &Screen) {
    show(&format!("{CLEAR}{}", screen.dump()));
}

fn show(text: &str) {
    let mut out = io::stdout().lock();
    // A terminal that is gone ends the reading as well.
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
