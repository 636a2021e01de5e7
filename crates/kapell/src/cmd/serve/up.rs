//! `up` and `down`: the daemon in the background, and its end; a user unit for those who have systemd.
//!
//! Start at [`up`].

use super::client::Client;
use crate::app::{App, variable};
use crate::exit::{self, Failure};
use crate::home::create_private;
use crate::out;
use crate::show::{clean, json_page};
use api::life::Run;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks for the daemon that was started.
const LOOK: Duration = Duration::from_millis(10);
/// How long it may take until it listens: its sessions are taken up later.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end: commands have their grace.
const END_S: i64 = 40;
/// Lines of its log that are shown when it does not start.
const LINES: usize = 10;

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct UpOptions {
    /// Where browsers find it; 0 takes any port that is free
    #[arg(long, value_name = "PORT", default_value_t = 7373)]
    pub(crate) tcp: u16,
    /// Leave unfinished sessions that nobody runs as they are
    #[arg(long)]
    pub(crate) no_resume: bool,
    /// Print a systemd user unit instead, which starts it with your login
    #[arg(long)]
    pub(crate) systemd: bool,
    /// Write that unit to where systemd looks for it
    #[arg(long, requires = "systemd")]
    pub(crate) write: bool,
}

/// Starts the daemon in the background, unless it is there; the exit code.
pub(crate) fn up(app: &App, options: &UpOptions) -> Result<u8, Failure> {
    if options.systemd {
        return unit(app, options);
    }
    if let Some(client) = Client::find(app) {
        return told(app, &client, "is up already");
    }
    app.home.create()?;
    let dir = app.home.run_dir();
    create_private(&dir)?;
    let log = dir.join("daemon.log");
    let file = File::create(&log).map_err(|error| {
        let what = format!("cannot write {}: {error}", log.display());
        Failure::usage("no-log", what, "make the state directory writable, or set KAPELL_HOME")
    })?;
    let port = options.tcp.to_string();
    let mut args = vec!["serve", "--tcp", &port];
    args.extend(options.no_resume.then_some("--no-resume"));
    let started = sandbox::apart(args, Path::new("/"), file);
    let mut child = started.map_err(|error| {
        Failure::failed("no-daemon", format!("the daemon cannot be started: {error}"), "try again")
    })?;
    let began = Instant::now();
    while began.elapsed() < START {
        if let Some(client) = Client::find(app).filter(|client| client.get("/v1/health").is_ok()) {
            return told(app, &client, "is up");
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(LOOK);
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    let last: Vec<&str> = said.lines().rev().take(LINES).collect();
    let said: String = last.iter().rev().map(|line| format!("{}\n", clean::line(line))).collect();
    let what = format!("the daemon did not start: {}", said.trim_end());
    Err(Failure::failed("no-daemon", what, format!("kapell serve shows all of it; {}", log.display())))
}

fn told(app: &App, client: &Client, how: &str) -> Result<u8, Failure> {
    let found = Run::new(app.home.run_dir()).found();
    let url = found.and_then(|found| found.url);
    let pid = client.pid.as_raw_nonzero();
    if app.global.json {
        out::print(&json_page(&json!({"running": true, "pid": pid, "url": url})));
    } else if !app.global.quiet {
        let at = url.map(|url| format!(" at {url}; kapell console opens it")).unwrap_or_default();
        out::print(&format!("the daemon {how}, process {pid}{at}\n"));
    }
    Ok(exit::OK)
}

/// Ends the daemon; its sessions can be resumed. The exit code.
pub(crate) fn down(app: &App) -> Result<u8, Failure> {
    let Some(client) = Client::find(app) else {
        return said(app, "there is no daemon");
    };
    let failed = |error: rustix::io::Errno| {
        let what = format!("process {} cannot be ended: {error}", client.pid.as_raw_nonzero());
        Failure::failed("no-end", what, "kapell status shows the daemon")
    };
    // The socket's word for it, and a handle: no other process can be meant, whatever becomes of this one.
    let process = pidfd_open(client.pid, PidfdFlags::empty()).map_err(failed)?;
    pidfd_send_signal(&process, Signal::TERM).map_err(failed)?;
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let until = Timespec { tv_sec: END_S, tv_nsec: 0 };
    match poll(&mut ended, Some(&until)).map_err(failed)? {
        0 => {
            let what =
                format!("process {} has been told to end and has not yet", client.pid.as_raw_nonzero());
            Err(Failure::failed("not-ended", what, "kapell down again kills what it runs at once"))
        }
        _ => said(app, "the daemon has ended; its sessions go on with the next one: kapell up"),
    }
}

fn said(app: &App, line: &str) -> Result<u8, Failure> {
    if app.global.json {
        out::print(&json_page(&json!({"running": false})));
    } else if !app.global.quiet {
        out::print(&format!("{line}\n"));
    }
    Ok(exit::OK)
}

/// The user unit, printed or written where systemd finds it.
fn unit(app: &App, options: &UpOptions) -> Result<u8, Failure> {
    let failed = |error: io::Error| {
        Failure::failed(
            "no-unit",
            format!("the unit cannot be written: {error}"),
            "kapell up --systemd prints it",
        )
    };
    let exe = std::env::current_exe().map_err(failed)?;
    let home = variable("KAPELL_HOME").filter(|home| !home.is_empty());
    let text = unit_text(&exe, home.as_deref(), options);
    if !options.write {
        out::print(&text);
        return Ok(exit::OK);
    }
    let config = variable("XDG_CONFIG_HOME").filter(|dir| dir.starts_with('/')).map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")));
    let config = config.ok_or_else(|| Failure::usage("no-home", "HOME is not set", "set HOME"))?;
    let file = config.join("systemd/user/kapell.service");
    std::fs::create_dir_all(file.parent().unwrap_or(&config)).map_err(failed)?;
    std::fs::write(&file, text).map_err(failed)?;
    let next = "systemctl --user daemon-reload && systemctl --user enable --now kapell";
    if app.global.json {
        out::print(&json_page(&json!({"unit": file.display().to_string(), "next": next})));
    } else if !app.global.quiet {
        out::print(&format!("{} is written\nnext: {next}\n", file.display()));
    }
    Ok(exit::OK)
}

fn unit_text(exe: &Path, home: Option<&str>, options: &UpOptions) -> String {
    let quoted = |text: &str| {
        format!(
            "\"{}\"",
            text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$")
        )
    };
    let exe = quoted(&exe.display().to_string());
    let more = if options.no_resume { " --no-resume" } else { "" };
    let home = home.map(|home| format!("Environment={}\n", quoted(&format!("KAPELL_HOME={home}"))));
    format!(
        "[Unit]\nDescription=Kapell, a conductor of coding agents\n\n[Service]\n{}ExecStart={exe} serve --tcp {}{more}\n\
        Restart=on-failure\nKillMode=process\nTimeoutStopSec=60\nDelegate=yes\n\n[Install]\nWantedBy=default.target\n",
        home.unwrap_or_default(),
        options.tcp,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_holds_any_path() {
        let options = UpOptions { tcp: 0, no_resume: true, systemd: true, write: false };
        let text = unit_text(Path::new("/opt/a b/100%/kapell"), Some("/x\"y"), &options);
        assert!(text.contains("ExecStart=\"/opt/a b/100%%/kapell\" serve --tcp 0 --no-resume\n"), "{text}");
        assert!(text.contains("Environment=\"KAPELL_HOME=/x\\\"y\"\n"), "{text}");
    }
}
