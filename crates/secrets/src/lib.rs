//! Secrets in texts: found, taken out, and never written back.
//!
//! Pure: knows no file, no environment and no port; known values come in as values. What has neither a known value, a
//! maker's form nor a telling name is not found. Start at [`Redactor`]; where known values come from: [`harvest`].

mod handle;
pub mod harvest;
mod known;
mod name;
mod pattern;
#[cfg(test)]
mod props;
mod redact;
mod stream;
mod worth;

pub use handle::{filled, handle, handles, is_handle_name};
pub use known::Secret;
pub use name::is_secret;
pub use redact::{Redactor, Span, mask, masked};
pub use stream::Stream;
