//! A terminal for a command: a pair of a master, which Kapell holds, and a slave, which becomes the command's own.
//! Knows nothing of what is shown on it. Start at [`Terminal::open`].
//!
//! Made here and handed to the warden, which makes it the controlling terminal: a crate that starts programs at
//! terminals by itself would go round the warden, and nothing would be sure to end.

use contract::limits::{TERMINAL_COLUMNS, TERMINAL_ROWS};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { columns: TERMINAL_COLUMNS, rows: TERMINAL_ROWS }
    }
}

/// The master of a command's terminal.
#[derive(Debug, Clone)]
pub struct Terminal(Arc<OwnedFd>);

impl Terminal {
    /// A new one, and its slave.
    pub(crate) fn open(size: Size) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        // By the open master, not by a name: no other instance of devpts can be meant.
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        let terminal = Self(Arc::new(master));
        terminal.resize(size)?;
        Ok((terminal, slave))
    }

    pub(crate) fn master(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0)
    }

    /// Tells the terminal its size, and the programs at it that it changed (SIGWINCH).
    pub fn resize(&self, size: Size) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&*self.0, size)?)
    }
}
