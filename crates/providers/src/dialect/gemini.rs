//! Google's Gemini API, `streamGenerateContent`: contents of parts, calls without ids, signatures on parts.
//!
//! Signatures and thoughts go back on the very part they came on, to the model that made them. Knows no socket. Start at
//! [`Gemini`].

mod decode;
mod encode;
mod schema;

use super::{Auth, Codec, Decoder, Options, Wire};
use contract::model::Request;

/// The dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gemini;

impl Codec for Gemini {
    fn auth(&self) -> Auth {
        Auth::Header("x-goog-api-key")
    }

    fn encode(&self, request: &Request, options: &Options) -> Wire {
        Wire { path: path(&options.name), headers: Vec::new(), body: encode::body(request, options) }
    }

    fn decoder(&self, request: &Request, options: &Options) -> Box<dyn Decoder> {
        Box::new(decode::Reading::new(request, options))
    }
}

/// Where this model answers. A name with a slash is a resource of its own kind (`tunedModels/x`).
fn path(name: &str) -> String {
    let mut path = String::from(if name.contains('/') { "/v1beta/" } else { "/v1beta/models/" });
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b'@' => {
                path.push(byte.into())
            }
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path + ":streamGenerateContent?alt=sse"
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_models_address() {
        assert_eq!(path("gemini-2.5-pro"), "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
        assert_eq!(path("tunedModels/a b"), "/v1beta/tunedModels/a%20b:streamGenerateContent?alt=sse");
    }
}
