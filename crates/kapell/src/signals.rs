//! SIGINT, SIGTERM and SIGHUP as values (S5.4): first stop in order, then kill, then out.
//!
//! Knows nothing of what is stopped. Start at [`Signals::new`]. A hang-up is ignored: closing the terminal does not
//! end the work.

use crate::exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Signals after which the process leaves at once, whatever it is doing.
const PATIENCE: u32 = 3;

/// Stop requests from outside, each with the exit code it stands for.
#[derive(Debug)]
pub(crate) struct Signals(mpsc::UnboundedReceiver<u8>);

impl Signals {
    /// From now on the three signals come here. Needs a tokio runtime.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // Unbounded, but the third is the last.
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut seen = 0;
            loop {
                let code = tokio::select! {
                    _ = interrupt.recv() => exit::INTERRUPTED,
                    _ = terminate.recv() => exit::TERMINATED,
                    _ = hangup.recv() => continue,
                };
                seen += 1;
                if seen >= PATIENCE {
                    // The journal is sound at every moment: leaving here loses nothing that was acknowledged.
                    std::process::exit(code.into());
                }
                // Nobody listens once the command is about to end anyway.
                let _ = sender.send(code);
            }
        });
        Ok(Self(receiver))
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> u8 {
        match self.0.recv().await {
            Some(code) => code,
            None => std::future::pending().await,
        }
    }
}
