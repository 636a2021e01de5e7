//! One post to one address: no redirect is followed, no second try is made here, nothing of the answer is read.
//!
//! Knows no content. Start at [`Poster::post`].

use reqwest::{Client, Url};
use std::sync::OnceLock;
use std::time::Duration;

/// How long a connection may take, and the whole of a post.
const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(10);

/// What goes out.
pub(crate) struct Post {
    pub(crate) url: String,
    pub(crate) content: &'static str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The other side has it.
    Taken,
    /// It may take it later.
    Again,
    /// It does not want it.
    Refused,
}

/// Why this is no address that something can be posted to.
pub fn address(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("this is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("an address begins with http:// or https:// and names a host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address holds no name and no password: a variable does, named beside it".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("an address ends with its path".into());
    }
    Ok(())
}

/// A client for each kind of address; made when first needed.
pub(crate) struct Poster {
    version: &'static str,
    plain: OnceLock<Option<Client>>,
    secure: OnceLock<Option<Client>>,
}

impl Poster {
    pub(crate) fn new(version: &'static str) -> Self {
        Self { version, plain: OnceLock::new(), secure: OnceLock::new() }
    }

    /// Posts it once.
    pub(crate) async fn post(&self, post: Post) -> Fate {
        let Post { url, content, headers, body } = post;
        let Some(client) = self.client(&url) else { return Fate::Again };
        let request = client.post(&url).header("content-type", content).body(body);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let fate = match request.send().await {
            Ok(answer) => of_status(answer.status().as_u16()),
            Err(error) if error.is_builder() => Fate::Refused,
            Err(_) => Fate::Again,
        };
        if fate != Fate::Taken {
            let host = Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned));
            tracing::warn!(host, ?fate, "not taken");
        }
        fate
    }

    fn client(&self, url: &str) -> Option<&Client> {
        let plain = url.starts_with("http:");
        let slot = if plain { &self.plain } else { &self.secure };
        slot.get_or_init(|| client(self.version, plain)).as_ref()
    }
}

fn client(version: &str, plain: bool) -> Option<Client> {
    // That somebody has chosen before who does the cryptography is fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = Client::builder()
        .user_agent(format!("kapell/{version}"))
        .http1_only()
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .no_proxy();
    // Nothing is encrypted on the way: the system's certificates need not be there.
    let builder = if plain { builder.tls_certs_only([]) } else { builder };
    builder.build().map_err(|error| tracing::warn!(%error, "nothing can be sent")).ok()
}

fn of_status(status: u16) -> Fate {
    match status {
        200..=299 => Fate::Taken,
        // Busy, too early, too often; unwell.
        408 | 425 | 429 | 500..=599 => Fate::Again,
        // A redirect would lead where nobody wrote down.
        _ => Fate::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_no_secrets_and_lead_to_a_host() {
        for good in ["http://127.0.0.1:9", "https://ntfy.example/up/", "http://[::1]:4318"] {
            assert_eq!(address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "ntfy.sh",
            "file:///etc/passwd",
            "http://",
            "https://me:secret@h/",
            "http://h/?k=secret",
            "http://h/#x",
        ] {
            let why = address(bad).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let fates = [204, 301, 404, 429, 503].map(of_status);
        assert_eq!(fates, [Fate::Taken, Fate::Refused, Fate::Refused, Fate::Again, Fate::Again]);
    }
}
