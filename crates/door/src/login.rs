//! The second way in: two halves of a login, one in a cookie and one that only our own pages know.
//!
//! Cookies of the loopback go to every port of it, and by themselves; the proof does neither. Knows names of headers, not
//! where logins are kept. Start at [`Logins`].

use axum::http::{HeaderMap, HeaderName, Method, header};
use contract::Digest;

/// Where a page sends its half.
pub(crate) const PROOF: HeaderName = HeaderName::from_static("kapell-proof");
/// The same for WebSockets, whose headers a page cannot choose: one of the protocols it offers begins like this.
const PROOF_PROTOCOL: &str = "kapell.proof.";

/// Who logged in, and what is served to pages.
pub trait Logins: Send + Sync + 'static {
    /// The login whose cookie this is, unless it has run out.
    fn login(&self, secret: &str) -> Option<Login>;

    /// A file of our own pages: holds no data, and is what a browser begins with.
    fn is_page(&self, path: &str) -> bool;

    /// Answered to everybody who can reach it from here, pages of others left out.
    fn is_open(&self, method: &Method, path: &str) -> bool;
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What it is called; says nothing of its halves.
    pub name: String,
    /// Of the page's half.
    pub proof: Digest,
}

impl Login {
    /// Compared by digest: the time that takes says nothing of the proof.
    pub(crate) fn is_proof(&self, given: &str) -> bool {
        Digest::of(given.as_bytes()) == self.proof
    }
}

/// The cookie's name: servers on other ports of this machine see it, and must not take it for theirs.
pub fn cookie_name(port: u16) -> String {
    format!("kapell-{port}")
}

/// The value of the one cookie of this name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value);
    match (ours.next(), ours.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// The page's half among the protocols that a WebSocket offers.
pub(crate) fn proof_of_socket(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).find_map(|offered| offered.trim().strip_prefix(PROOF_PROTOCOL))
}
