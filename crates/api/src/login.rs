//! What is open to who has no credential yet.
//!
//! Start at [`Entry`].

use axum::http::Method;
use door::{Login, Logins};

/// Over the loopback: programs with the token, and these.
pub(crate) struct Entry;

impl Logins for Entry {
    fn login(&self, _secret: &str) -> Option<Login> {
        None
    }

    fn is_page(&self, _path: &str) -> bool {
        false
    }

    fn is_open(&self, method: &Method, path: &str) -> bool {
        matches!(*method, Method::GET | Method::HEAD) && matches!(path, "/v1/health" | "/v1/ready")
    }
}
