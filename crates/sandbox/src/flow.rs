//! Bytes into and out of a pipe or a terminal, without a thread that waits for them.
//! Knows nothing of what they mean. Start at [`Flow`].

use crate::pty::Terminal;
use crate::sys::{self, Owned};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The end of a pipe or of a terminal that Kapell holds. It blocks nobody who holds it, from here on.
#[derive(Debug)]
pub(crate) struct Flow(AsyncFd<Owned>);

impl Flow {
    /// One to read from.
    pub(crate) fn reader(fd: Arc<OwnedFd>) -> io::Result<Self> {
        Self::new(fd, Interest::READABLE)
    }

    /// One to write into.
    pub(crate) fn writer(fd: Arc<OwnedFd>) -> io::Result<Self> {
        Self::new(fd, Interest::WRITABLE)
    }

    fn new(fd: Arc<OwnedFd>, interest: Interest) -> io::Result<Self> {
        fcntl_setfl(&*fd, fcntl_getfl(&*fd)? | OFlags::NONBLOCK)?;
        Ok(Self(sys::watch(Owned(fd), interest)?))
    }

    /// Reads once; 0 = it is closed at its other end. A terminal whose programs are gone says so by an error.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> usize {
        loop {
            let Ok(mut ready) = self.0.readable().await else { return 0 };
            match ready.try_io(|fd| Ok(rustix::io::read(&*fd.get_ref().0, &mut *buffer)?)) {
                Ok(Ok(n)) => return n,
                Ok(Err(error)) if interrupted(&error) => {}
                Ok(Err(_)) => return 0,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes all of it; waits while the reader does not read.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|fd| Ok(rustix::io::write(&*fd.get_ref().0, bytes)?)) {
                Ok(Ok(n)) => bytes = &bytes[n..],
                Ok(Err(error)) if interrupted(&error) => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}

/// Reads what a person types.
#[derive(Debug)]
pub struct Reader(Flow);

impl Reader {
    /// From the terminal that this leads to, opened anew so that nobody else's reading changes. Needs a tokio runtime.
    pub fn terminal(fd: impl AsFd) -> io::Result<Self> {
        let name = rustix::termios::ttyname(fd, Vec::new())?;
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        Flow::reader(Arc::new(rustix::fs::open(name, flags, Mode::empty())?)).map(Self)
    }

    /// Reads once; 0 = it is gone.
    pub async fn read(&self, buffer: &mut [u8]) -> usize {
        self.0.read(buffer).await
    }
}

/// Writes into what a command reads.
#[derive(Debug)]
pub struct Writer(Flow);

impl Writer {
    /// Into a pipe. Needs a tokio runtime.
    pub fn pipe(pipe: OwnedFd) -> io::Result<Self> {
        Flow::writer(Arc::new(pipe)).map(Self)
    }

    /// Into a terminal, as if typed. Needs a tokio runtime.
    pub fn terminal(terminal: &Terminal) -> io::Result<Self> {
        // A descriptor of its own: the runtime watches each one once.
        let own = rustix::io::fcntl_dupfd_cloexec(&*terminal.master(), 0)?;
        Flow::writer(Arc::new(own)).map(Self)
    }

    /// All of it; waits while the command does not read.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

fn interrupted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INTR.raw_os_error())
}
