//! Starts a program that is meant to go on without us: the daemon, and nothing else.
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
