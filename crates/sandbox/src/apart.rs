//! Starts a program that is meant to go on without us: the daemon, and hosts of terminals; nothing else.
//!
//! It has a session of its own, so that no terminal takes it along. Knows nothing of what it does. Start at [`apart`].

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// This binary again with these arguments, in this directory, with what it says in this file. Who drops the handle leaves
/// it running.
pub fn apart<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, dir: &Path, log: File) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
    spawn(command)
}

/// The same with pipes to it, for who has to agree with it on something before it goes on alone. By the very file that
/// runs here, also when another one has taken its name meanwhile.
pub(crate) fn apart_with_pipes(word: &str, dir: &Path) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("kapell-terminal").arg(word).current_dir(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    spawn(command)
}

fn spawn(mut command: Command) -> io::Result<Child> {
    #[expect(
        unsafe_code,
        reason = "between fork and exec only one system call is made, and nothing is allocated"
    )]
    // SAFETY: setsid is safe to call there.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
    }
    command.spawn()
}
