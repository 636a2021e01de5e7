//! What the server saw: one line per request, for tests to look at.
//!
//! Start at [`Seen`].

use crate::Dialect;

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number among the requests for replies, from 1; 0 = it was for something else.
    pub number: u64,
    /// When it had arrived, milliseconds since the server began.
    pub at_ms: u64,
    /// Its path.
    pub path: String,
    /// The dialect of the path.
    pub dialect: Option<Dialect>,
    /// The key that came with it; empty = none.
    pub key: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
    /// How often the model had spoken in it.
    pub turn: usize,
    /// The status it was answered with; 0 = none went out.
    pub status: u16,
    /// Which limit refused it; empty = none.
    pub limit: &'static str,
    /// When a refused one was told to come back, milliseconds since the server began.
    pub retry_at_ms: Option<u64>,
    /// Bytes of the answer that were sent.
    pub sent: u64,
    /// Whoever asked went away before the answer was over.
    pub cancelled: bool,
    /// The answer is over, or nobody wants it any more.
    pub over: bool,
}

impl Seen {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The key in one of the places where dialects put it.
    pub(crate) fn key_of(path: &str, headers: &[(String, String)]) -> String {
        let header =
            |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let query = path.split_once("key=").map(|(_, rest)| rest.split('&').next().unwrap_or_default());
        let key = bearer.or_else(|| header("x-api-key")).or_else(|| header("x-goog-api-key")).or(query);
        key.unwrap_or_default().to_owned()
    }
}
