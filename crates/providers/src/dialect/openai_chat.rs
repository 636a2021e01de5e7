//! OpenAI's Chat Completions, and the many servers that speak it nearly: how each deviates is data in [`flavour`].
//!
//! Knows no socket. Written from OpenAI's API reference and the servers' own documentation. Start at [`Chat`].

mod decode;
pub(crate) mod encode;
pub(crate) mod flavour;
mod tags;

use super::{Auth, Codec, Decoder, Options, Wire, named};
use contract::model::Request;

/// The dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chat;

impl Codec for Chat {
    fn auth(&self) -> Auth {
        Auth::Bearer
    }

    fn encode(&self, request: &Request, options: &Options) -> Wire {
        let body = encode::body(request, options);
        Wire { path: "/chat/completions".into(), headers: named(request, options.server), body }
    }

    fn decoder(&self, request: &Request, options: &Options) -> Box<dyn Decoder> {
        Box::new(decode::Reading::new(request, options))
    }
}

#[cfg(test)]
mod tests;
