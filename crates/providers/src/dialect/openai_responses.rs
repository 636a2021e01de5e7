//! OpenAI's Responses: a conversation of items, streamed as typed events. Nothing is stored at the provider.
//!
//! Reasoning comes encrypted and goes back to the model that made it, and to no other. Knows no socket. Start at
//! [`Responses`].

mod decode;
mod encode;

use super::{Auth, Codec, Decoder, Options, Wire, named};
use contract::model::Request;

/// The dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Responses;

impl Codec for Responses {
    fn auth(&self) -> Auth {
        Auth::Bearer
    }

    fn encode(&self, request: &Request, options: &Options) -> Wire {
        Wire {
            path: "/responses".into(),
            headers: named(request, options.server),
            body: encode::body(request, options),
        }
    }

    fn decoder(&self, request: &Request, options: &Options) -> Box<dyn Decoder> {
        Box::new(decode::Reading::new(request, options))
    }
}
