//! Writing to standard output and standard error without ever holding up the run, or dying of a closed pipe.
//!
//! Knows bytes only. [`print`] is for commands that print and end; [`Pipe`] for those that run meanwhile.

use std::io::{self, Write};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces that wait for a slow reader.
const QUEUE: usize = 256;

/// Writes to standard output. A reader that has gone away is no error.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody is left to be told.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes to standard error. A reader that has gone away is no error.
pub(crate) fn complain(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A warning, on standard error.
pub(crate) fn warn(why: &str) {
    complain(&format!("warning: {}\n", crate::show::clean::line(why)));
}

/// A stream that is written by a thread of its own.
#[derive(Debug)]
pub(crate) struct Pipe {
    sender: mpsc::Sender<Vec<u8>>,
    done: std_mpsc::Receiver<()>,
}

impl Pipe {
    /// To this writer, until it says that nobody listens; what comes then is dropped.
    pub(crate) fn to(mut writer: impl Write + Send + 'static) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (finished, done) = std_mpsc::channel();
        // Not joined: a reader that stopped reading must not keep the process from ending.
        drop(std::thread::spawn(move || {
            let mut open = true;
            while let Some(bytes) = receiver.blocking_recv() {
                open = open && writer.write_all(&bytes).and_then(|()| writer.flush()).is_ok();
            }
            drop(finished);
        }));
        Self { sender, done }
    }

    /// Waits for room, then hands over.
    pub(crate) async fn send(&self, bytes: impl Into<Vec<u8>>) {
        // The thread takes everything until the sender is gone.
        let _ = self.sender.send(bytes.into()).await;
    }

    /// Hands over if there is room, else drops.
    pub(crate) fn offer(&self, bytes: impl Into<Vec<u8>>) {
        let _ = self.sender.try_send(bytes.into());
    }

    /// Waits until everything is written, at most this long.
    pub(crate) fn end(self, patience: Option<Duration>) {
        let Self { sender, done } = self;
        drop(sender);
        match patience {
            Some(patience) => drop(done.recv_timeout(patience)),
            None => drop(done.recv()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut inner = self.0.lock().unwrap();
            if inner.1 == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            inner.1 -= 1;
            inner.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn everything_arrives_in_order_until_the_reader_goes() {
        let sink = Sink::default();
        sink.0.lock().unwrap().1 = 2;
        let pipe = Pipe::to(sink.clone());
        for piece in ["a", "b", "c", "d"] {
            pipe.send(piece).await;
        }
        tokio::task::spawn_blocking(move || pipe.end(None)).await.unwrap();
        assert_eq!(sink.0.lock().unwrap().0, b"ab");
    }
}
