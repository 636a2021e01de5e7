//! One page, fetched from an address that was looked at before it was connected to.
//!
//! Knows nothing of what a page says. Start at [`Net::get`].
//!
//! A name is asked for once. Every address it has must be everybody's; the connection is made to these very addresses,
//! so that a second answer for the same name changes nothing. No proxy is used: it would resolve the name itself. A
//! redirect is a new address, looked at like the first, and followed only on the same host or to one a person allows.

use super::address;
use crate::args::refuse;
use contract::cancel::Urgency;
use contract::limits::{WEB_BYTES, WEB_MS, WEB_REDIRECTS, WEB_URL_BYTES};
use contract::{BoxFuture, Cancel, Fault, Kind, text};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, Url};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use url::Host;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of a redirect that is no address, in what is said of it.
const SHOWN_BYTES: usize = 200;
const TYPES: &str =
    "text/html,application/xhtml+xml,text/*;q=0.9,application/json;q=0.9,application/xml;q=0.8";

/// What a person said about hosts: `NAME` or `NAME:PORT`, nothing below a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// May be asked without anybody saying yes each time.
    pub allow: Vec<String>,
    /// May have an address of one's own network.
    pub private: Vec<String>,
}

impl Rules {
    fn named(list: &[String], url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_end_matches('.');
        let port = url.port_or_known_default().unwrap_or(0);
        list.iter().any(|entry| {
            entry.eq_ignore_ascii_case(host) || entry.eq_ignore_ascii_case(&format!("{host}:{port}"))
        })
    }

    /// Is this one asked without a yes?
    pub(crate) fn allows(&self, url: &Url) -> bool {
        Self::named(&self.allow, url)
    }
}

type Lookup = Arc<dyn Fn(String, u16) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The way to the network.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) rules: Rules,
    lookup: Lookup,
    /// Only tests have another than [`address::public`]: their servers are on this machine.
    public: fn(IpAddr) -> Result<(), &'static str>,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    /// Where it really came from.
    pub(crate) url: Url,
    pub(crate) status: u16,
    /// Such as `text/html; charset=utf-8`; may be empty.
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
    /// There was more.
    pub(crate) cut: bool,
}

/// A page, or where it is instead.
#[derive(Debug)]
pub(crate) enum Got {
    Page(Page),
    /// On another host, which nobody has allowed.
    Elsewhere(Url),
}

impl Net {
    pub(crate) fn new(rules: Rules) -> Self {
        let lookup: Lookup = Arc::new(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        });
        Self { rules, lookup, public: address::public }
    }

    /// For tests: names as they say, and what counts as everybody's.
    #[cfg(test)]
    pub(super) fn told(rules: Rules, lookup: Lookup, public: fn(IpAddr) -> Result<(), &'static str>) -> Self {
        Self { rules, lookup, public }
    }

    /// Fetches it. `None`: it was told to stop.
    pub(crate) async fn get(&self, url: Url, cancel: &Cancel) -> Result<Option<Got>, Fault> {
        tokio::select! {
            biased;
            () = cancel.reached(Urgency::Graceful) => Ok(None),
            got = tokio::time::timeout(Duration::from_millis(WEB_MS), self.follow(url)) => match got {
                Ok(got) => got.map(Some),
                Err(_) => Err(Fault::new(Kind::Transient, "web-timeout", format!("no whole answer within {} s", WEB_MS / 1000))),
            },
        }
    }

    async fn follow(&self, mut url: Url) -> Result<Got, Fault> {
        for _ in 0..=WEB_REDIRECTS {
            let response = self.ask(&url).await?;
            if !response.status().is_redirection() {
                return page(url, response).await.map(Got::Page);
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.ok_or_else(|| refuse(format!("{} without an address", response.status())))?;
            let odd = |error| refuse(format!("a redirect to `{}`: {error}", text::bounded(to, SHOWN_BYTES)));
            let next = checked(url.join(to).map_err(odd)?)?;
            if next.scheme() == "http" && url.scheme() == "https" {
                return Err(refuse(format!("`{url}` leads from https to http: `{next}`")));
            }
            if !same_place(&url, &next) && !self.rules.allows(&next) {
                return Ok(Got::Elsewhere(next));
            }
            url = next;
        }
        Err(refuse(format!("more than {WEB_REDIRECTS} redirects")))
    }

    async fn ask(&self, url: &Url) -> Result<Response, Fault> {
        let addresses = self.addresses(url).await?;
        // The one that is chosen first stays; the providers choose the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = Client::builder()
            .user_agent(concat!("kapell/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .no_proxy()
            .pool_max_idle_per_host(0);
        if let Some(Host::Domain(name)) = url.host() {
            builder = builder.resolve_to_addrs(name, &addresses);
        }
        if url.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        }
        let failed = |error: &reqwest::Error| {
            let why = std::iter::successors(std::error::Error::source(error), |error| error.source());
            let why = why.last().map_or_else(|| error.to_string(), ToString::to_string);
            Fault::new(Kind::Transient, "web-failed", format!("no answer from `{url}`: {why}"))
        };
        let client = builder.build().map_err(|error| failed(&error))?;
        client.get(url.clone()).header(ACCEPT, TYPES).send().await.map_err(|error| failed(&error))
    }

    /// Where the host is, every address looked at.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Fault> {
        let port = url.port_or_known_default().unwrap_or(0);
        let addresses = match url.host() {
            Some(Host::Ipv4(ip)) => vec![SocketAddr::new(ip.into(), port)],
            Some(Host::Ipv6(ip)) => vec![SocketAddr::new(ip.into(), port)],
            Some(Host::Domain(name)) => (self.lookup)(name.to_owned(), port).await.map_err(|error| {
                Fault::new(Kind::Transient, "name-unknown", format!("`{name}` is not found: {error}"))
            })?,
            None => return Err(refuse(format!("`{url}` names no host"))),
        };
        if addresses.is_empty() {
            return Err(refuse(format!("`{url}`: the host has no address")));
        }
        if !Rules::named(&self.rules.private, url) {
            for address in &addresses {
                (self.public)(address.ip()).map_err(|what| {
                    let host = url.host_str().unwrap_or_default();
                    refuse(format!("`{host}` is refused: its address {} is {what}", address.ip())).hint(
                        "only addresses of the public internet are fetched; a person can name the host under `private` \
                         in [web] of the user's config.toml",
                    )
                })?;
            }
        }
        Ok(addresses)
    }
}

/// An address that may be asked for at all, without what stays at home.
pub(crate) fn checked(mut url: Url) -> Result<Url, Fault> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse(format!("`{}:` is not fetched, only http and https", url.scheme())));
    }
    if url.host().is_none_or(|host| host == Host::Domain("")) {
        return Err(refuse("the address names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("an address with a name or password in it is not fetched"));
    }
    url.set_fragment(None);
    if url.as_str().len() > WEB_URL_BYTES {
        return Err(refuse(format!("an address of more than {WEB_URL_BYTES} bytes is not fetched")));
    }
    Ok(url)
}

/// Is it the same host, at the same port or at the one each scheme has by itself? Of those an address says nothing.
fn same_place(one: &Url, other: &Url) -> bool {
    one.host() == other.host() && one.port() == other.port()
}

async fn page(url: Url, mut response: Response) -> Result<Page, Fault> {
    let status = response.status().as_u16();
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let (mut bytes, mut cut) = (Vec::new(), false);
    let broken = |error: reqwest::Error| {
        Fault::new(
            Kind::Transient,
            "web-failed",
            format!("`{url}`: the answer broke off: {}", error.without_url()),
        )
    };
    // Counted behind the decompression: that is what memory holds.
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        let room = WEB_BYTES - bytes.len();
        cut = chunk.len() > room;
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if cut {
            break;
        }
    }
    Ok(Page { url, status, kind, bytes, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_is_another_place() {
        let same = |one: &str, other: &str| same_place(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(
            same("http://a.test/x", "https://a.test/") && same("http://a.test:80/", "https://a.test:443/")
        );
        assert!(same("http://a.test:8080/", "https://a.test:8080/"));
        assert!(
            !same("http://a.test/", "https://a.test:8443/")
                && !same("http://a.test:8080/", "https://a.test/")
        );
        assert!(!same("http://a.test/", "http://b.test/"));
    }
}
