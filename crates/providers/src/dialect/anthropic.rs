//! Anthropic Messages (`/v1/messages`, version 2023-06-01).
//!
//! Knows no socket and no key. What was thought goes back to the same model in the very order it came in; to another
//! it is never shown. Start at [`Anthropic`]; the answer is read in [`reading`].

mod encode;
pub mod reading;

use super::{Auth, Codec, Decoder, Options, Wire};
use contract::model::Request;

/// The dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anthropic;

impl Codec for Anthropic {
    fn auth(&self) -> Auth {
        Auth::Header("x-api-key")
    }

    fn encode(&self, request: &Request, options: &Options) -> Wire {
        Wire {
            path: "/v1/messages".into(),
            headers: vec![("anthropic-version", "2023-06-01".into()), ("accept", "text/event-stream".into())],
            body: encode::body(request, options),
        }
    }

    fn decoder(&self, request: &Request, options: &Options) -> Box<dyn Decoder> {
        Box::new(reading::Reading::new(request, options))
    }
}

#[cfg(test)]
mod tests;
