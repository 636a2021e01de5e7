//! What the kernel says about this process's own sockets.
//!
//! Start at [`to`].

use anyhow::{Context, Result};
use rustix::net::{getpeername, sockopt::tcp_nodelay};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::net::SocketAddr;

/// Sockets of this process that are connected to this port of loopback, and how many of them send at once.
pub(super) fn to(port: u16) -> Result<(usize, usize)> {
    let own = Pid::from_raw(i32::try_from(std::process::id())?).context("a process has a number")?;
    let handle = pidfd_open(own, PidfdFlags::empty())?;
    let (mut all, mut at_once) = (0, 0);
    for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // The directory that is being read is gone by then, and files are no sockets.
        let Ok(socket) = pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()) else { continue };
        let peer = getpeername(&socket).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok());
        if peer.is_some_and(|peer| peer.port() == port) {
            all += 1;
            at_once += usize::from(tcp_nodelay(&socket)?);
        }
    }
    Ok((all, at_once))
}
