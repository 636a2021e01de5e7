//! What all ports share.

use crate::found::{Finding, TestEnd};
use crate::tool::Spooled;
use crate::{Digest, Fault, Kind, Timestamp};
use std::future::Future;
use std::io::{BufRead, Cursor};
use std::pin::Pin;

/// A boxed future, so that ports stay plain traits without a runtime.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where time and randomness come from. The simulator brings its own.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// 128 fresh random bits.
    fn random(&self) -> u128;
}

/// Takes lossy progress: text deltas, output lines. Dropping any of it must change nothing.
pub trait Sink: Send + Sync {
    /// One piece of progress.
    fn delta(&self, delta: Delta);
}

/// Progress of a running action. Never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// A piece of a model's text.
    Text(String),
    /// A line of a program's output.
    Line(String),
    /// What the action is doing now, in a few words.
    Note(String),
    /// Something that should be there is not, or is not what it was: a person is to see it.
    Warning(String),
    /// A step towards stopping it, which a person at work wants to see.
    Stopping(String),
    /// A complaint in a program's output.
    Finding(Finding),
    /// A test in it that ended.
    Test(TestEnd),
}

/// A sink that forgets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Sink for Quiet {
    fn delta(&self, _: Delta) {}
}

/// Reads content-addressed bytes, and takes over files that hold some.
pub trait Blobs: Send + Sync {
    /// The bytes at this address; a missing or damaged blob is a fault, never other bytes.
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>>;
    /// The same to be read piece by piece: a whole output may be larger than memory should hold.
    fn open(&self, digest: Digest) -> BoxFuture<'_, Result<Box<dyn BufRead + Send>, Fault>> {
        Box::pin(async move { Ok(Box::new(Cursor::new(self.blob(digest).await?)) as _) })
    }
    /// Makes a blob of a file, which is gone then. Durable when this returns.
    fn adopt(&self, file: Spooled) -> BoxFuture<'_, Result<(), Fault>> {
        let what = format!("there is no place for the {} bytes of {}", file.bytes, file.path.display());
        Box::pin(async move { Err(Fault::new(Kind::Permanent, "no-place", what)) })
    }
}
