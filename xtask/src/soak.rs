//! `cargo xtask soak [MINUTES]`: a real terminal session over a real stretch of time.
//!
//! Knows nothing of terminals: the work is an example of `sandbox`. Start at [`run`].

use anyhow::Result;

/// In the foreground; 20 minutes unless told otherwise.
pub(crate) fn run(args: &[String]) -> Result<()> {
    crate::programs::example("sandbox", "soak", args)
}
