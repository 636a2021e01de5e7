//! Writing to standard output and standard error without ever holding up the run, or dying of a closed pipe.
//!
//! Knows bytes only. [`print`] is for commands that print and end; [`Pipe`] for those that run meanwhile.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

/// Pieces that wait for a slow reader.
const QUEUE: usize = 256;

/// Something could not be written that a reader is still there for.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes to standard output. A reader that has gone away is no error; a full disk is, see [`lost`].
pub(crate) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// The same for bytes that are no text.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _noted = out.write_all(bytes).and_then(|()| out.flush()).inspect_err(note);
}

/// Standard output that remembers what could not be written.
#[derive(Debug)]
pub(crate) struct Remembering;

impl Write for Remembering {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).inspect_err(note)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().inspect_err(note)
    }
}

fn note(error: &io::Error) {
    // Nobody is left to be told.
    let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::Interrupted].contains(&error.kind());
    if !gone && !LOST.swap(true, Ordering::Relaxed) {
        complain(&format!("error: standard output could not be written: {error}\n"));
    }
}

/// Was anything not written that somebody reads? Then this did not go well, whatever else did.
pub(crate) fn lost() -> bool {
    LOST.load(Ordering::Relaxed)
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
    done: oneshot::Receiver<()>,
    /// What was left here while the reader was slow, oldest first.
    left: VecDeque<Vec<u8>>,
}

impl Pipe {
    /// To this writer, until it says that nobody listens; what comes then is dropped.
    pub(crate) fn to(mut writer: impl Write + Send + 'static) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (finished, done) = oneshot::channel();
        // Not joined: a reader that stopped reading must not keep the process from ending.
        drop(std::thread::spawn(move || {
            let mut open = true;
            while let Some(bytes) = receiver.blocking_recv() {
                open = open && writer.write_all(&bytes).and_then(|()| writer.flush()).is_ok();
            }
            drop::<oneshot::Sender<()>>(finished);
        }));
        Self { sender, done, left: VecDeque::new() }
    }

    /// Leaves something to be handed over by [`Pipe::pass`], at once when there is room. Never waits: whoever also
    /// listens to a person must not be kept by a reader.
    pub(crate) fn leave(&mut self, bytes: impl Into<Vec<u8>>) {
        match self.left.is_empty() {
            true => {
                if let Err(TrySendError::Full(bytes)) = self.sender.try_send(bytes.into()) {
                    self.left.push_back(bytes);
                }
            }
            false => self.left.push_back(bytes.into()),
        }
    }

    /// The reader is behind.
    pub(crate) fn is_behind(&self) -> bool {
        !self.left.is_empty()
    }

    /// Hands over the oldest that was left, once the reader makes room. With nothing left it does not resolve.
    pub(crate) async fn pass(&mut self) {
        if self.left.is_empty() {
            return std::future::pending().await;
        }
        match self.sender.reserve().await {
            Ok(room) => room.send(self.left.pop_front().unwrap_or_default()),
            Err(_) => self.left.clear(),
        }
    }

    /// Waits for room, then hands over.
    pub(crate) async fn send(&self, bytes: impl Into<Vec<u8>>) {
        // The thread takes everything until the sender is gone.
        let _ = self.sender.send(bytes.into()).await;
    }

    /// Hands over if there is room, else drops.
    pub(crate) fn offer(&self, bytes: impl Into<Vec<u8>>) {
        if !self.is_behind() {
            let _ = self.sender.try_send(bytes.into());
        }
    }

    /// Waits until everything is written. Whoever cannot wait for ever for a reader stops waiting for this.
    pub(crate) async fn end(mut self) {
        while self.is_behind() {
            self.pass().await;
        }
        let Self { sender, done, .. } = self;
        drop(sender);
        // It ends by being dropped.
        let _ = done.await;
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
        pipe.end().await;
        assert_eq!(sink.0.lock().unwrap().0, b"ab");
    }

    /// A reader that takes nothing before it is told to.
    struct Stuck(std::sync::mpsc::Receiver<()>, Sink);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_a_slow_reader_has_no_room_for_is_kept_in_order_and_nobody_waits() {
        let (go, told) = std::sync::mpsc::channel();
        let sink = Sink::default();
        sink.0.lock().unwrap().1 = usize::MAX;
        let mut pipe = Pipe::to(Stuck(told, sink.clone()));
        let all: Vec<u8> = (0..=u8::MAX).chain(0..=u8::MAX).collect();
        all.iter().for_each(|byte| pipe.leave([*byte]));
        assert!(pipe.is_behind());
        // Given up half way, nothing is lost.
        assert!(looked(pipe.pass()).is_none());
        drop(go);
        pipe.end().await;
        assert_eq!(sink.0.lock().unwrap().0, all);
    }

    /// One look.
    fn looked<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
