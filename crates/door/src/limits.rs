//! How much clients may hold of this process: connections, bytes, time.
//!
//! Numbers only. Start at [`Limits`].

use std::time::Duration;

/// Bounds over all clients of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that are open at once; others wait in the system's queue. Each is one descriptor.
    pub connections: usize,
    /// Bytes of a request's head, at least 8,192.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Are bodies taken whose length is not told (`Transfer-Encoding`)?
    pub chunked: bool,
    /// Bytes of one request's body.
    pub body_bytes: usize,
    /// Bytes of bodies that are held at once, whoever sent them.
    pub held_bytes: usize,
    /// From a connection's opening, or the end of its last request, to the end of the next request's head.
    pub head: Duration,
    /// From the head to the end of the body, waiting for room included.
    pub body: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write: Duration,
    /// What is being answered when the listener ends may go on for so long.
    pub grace: Duration,
}

impl Default for Limits {
    /// For the usual 1,024 descriptors of a process, half of which are for other things.
    fn default() -> Self {
        Self {
            connections: 512,
            head_bytes: 64 << 10,
            headers: 100,
            chunked: true,
            body_bytes: 8 << 20,
            held_bytes: 64 << 20,
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            grace: Duration::from_millis(500),
        }
    }
}
