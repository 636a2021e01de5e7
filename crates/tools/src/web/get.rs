//! One page, fetched from an address that was looked at before it was connected to.
//!
//! Knows nothing of what a page says. Start at [`Net::get`].
//!
//! A name is asked for once. Every address it has must be everybody's; the connection is made to these very addresses,
//! so that a second answer for the same name changes nothing. A redirect is a new address, looked at like the first, and
//! followed only on the same host or to one a person allows.
//!
//! Behind a proxy of the person's, names are looked up and looked at here all the same. One that only the proxy can
//! resolve goes there, unless its form says that it belongs to somebody's own network ([`address::at_home`]): what the
//! proxy then connects to is the proxy's to judge.

use crate::args::refuse;
use contract::cancel::Urgency;
use contract::limits::{WEB_BYTES, WEB_MS, WEB_REDIRECTS, WEB_URL_BYTES};
use contract::{BoxFuture, Cancel, Fault, Kind, text};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Client, NoProxy, Proxy, Response, Url};
use sandbox::gate::address;
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
    /// How the internet is reached where it is not reached directly.
    pub way: Way,
}

/// Proxies, as the person or the environment names them. An address may hold a password: it is shown nowhere.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// Address of the proxy for `http:` pages.
    pub http: Option<String>,
    /// For `https:` pages.
    pub https: Option<String>,
    /// Hosts that are reached without one, as in `NO_PROXY`.
    pub direct: String,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("direct", &self.direct).finish_non_exhaustive()
    }
}

impl Way {
    /// The person's own proxy for everything, or none where it is empty; else what the environment says.
    pub fn find(own: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let named = |names: [&str; 4]| {
            let found = names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
            own.map_or(found, |own| Some(own.to_owned()).filter(|own| !own.is_empty()))
        };
        Self {
            http: named(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https: named(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            direct: variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default(),
        }
    }

    fn proxy(&self, url: &Url) -> Option<&str> {
        if url.scheme() == "https" { self.https.as_deref() } else { self.http.as_deref() }
    }
}

/// Where a host was found.
enum Found {
    /// At these addresses, each of them looked at.
    Here(Vec<SocketAddr>),
    /// Only the proxy may know.
    Beyond,
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
    pub(crate) async fn get(
        &self,
        url: Url,
        headers: HeaderMap,
        cancel: &Cancel,
    ) -> Result<Option<Got>, Fault> {
        tokio::select! {
            biased;
            () = cancel.reached(Urgency::Graceful) => Ok(None),
            got = tokio::time::timeout(Duration::from_millis(WEB_MS), self.follow(url, &headers)) => match got {
                Ok(got) => got.map(Some),
                Err(_) => Err(Fault::new(Kind::Transient, "web-timeout", format!("no whole answer within {} s", WEB_MS / 1000))),
            },
        }
    }

    async fn follow(&self, mut url: Url, headers: &HeaderMap) -> Result<Got, Fault> {
        let first = url.clone();
        for _ in 0..=WEB_REDIRECTS {
            // What was for one place is for no other.
            let here = url.scheme() == first.scheme() && same_place(&first, &url);
            let headers = if here { headers.clone() } else { HeaderMap::new() };
            let response = self.ask(&url, headers).await?;
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

    async fn ask(&self, url: &Url, headers: HeaderMap) -> Result<Response, Fault> {
        let found = self.find(url).await?;
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
        if let (Some(Host::Domain(name)), Found::Here(addresses)) = (url.host(), &found) {
            builder = builder.resolve_to_addrs(name, addresses);
        }
        let way = self.rules.way.proxy(url);
        if let Some(way) = way {
            let odd = |_| {
                refuse("the proxy's address cannot be used")
                    .hint("correct `proxy` under [web], or HTTPS_PROXY")
            };
            let proxy = Proxy::all(way).map_err(odd)?;
            // What nobody here has looked at must not be connected to from here.
            let direct =
                matches!(found, Found::Here(_)).then(|| NoProxy::from_string(&self.rules.way.direct));
            builder = builder.proxy(proxy.no_proxy(direct.flatten()));
        }
        if url.scheme() == "http" && way.is_none_or(|way| way.starts_with("http:")) {
            builder = builder.tls_certs_only([]);
        }
        let failed = |error: &reqwest::Error| {
            let why = std::iter::successors(std::error::Error::source(error), |error| error.source());
            let why = why.last().map_or_else(|| error.to_string(), ToString::to_string);
            Fault::new(Kind::Transient, "web-failed", format!("no answer from `{url}`: {why}"))
        };
        let client = builder.build().map_err(|error| failed(&error))?;
        client
            .get(url.clone())
            .header(ACCEPT, TYPES)
            .headers(headers)
            .send()
            .await
            .map_err(|error| failed(&error))
    }

    /// Where the host is, every address looked at.
    async fn find(&self, url: &Url) -> Result<Found, Fault> {
        let port = url.port_or_known_default().unwrap_or(0);
        let private = Rules::named(&self.rules.private, url);
        let addresses = match url.host() {
            Some(Host::Ipv4(ip)) => vec![SocketAddr::new(ip.into(), port)],
            Some(Host::Ipv6(ip)) => vec![SocketAddr::new(ip.into(), port)],
            Some(Host::Domain(name)) => match (self.lookup)(name.to_owned(), port).await {
                Ok(addresses) => addresses,
                Err(_) if self.rules.way.proxy(url).is_some() && (private || !address::at_home(name)) => {
                    return Ok(Found::Beyond);
                }
                Err(error) => {
                    let what = format!("`{name}` is not found: {error}");
                    return Err(Fault::new(Kind::Transient, "name-unknown", what));
                }
            },
            None => return Err(refuse(format!("`{url}` names no host"))),
        };
        if addresses.is_empty() {
            return Err(refuse(format!("`{url}`: the host has no address")));
        }
        if !private {
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
        Ok(Found::Here(addresses))
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
    fn the_persons_proxy_goes_before_the_environments_and_an_empty_one_is_none() {
        let env = |name: &str| match name {
            "https_proxy" => Some("http://tls:1".to_owned()),
            "HTTP_PROXY" => Some(String::new()),
            "ALL_PROXY" => Some("http://any:2".to_owned()),
            "NO_PROXY" => Some("a.test".to_owned()),
            _ => None,
        };
        let way = Way::find(None, env);
        assert_eq!((way.https.as_deref(), way.http.as_deref()), (Some("http://tls:1"), Some("http://any:2")));
        assert_eq!(way.direct, "a.test");
        let own = Way::find(Some("http://me:secret@own:3"), env);
        assert_eq!((own.https.as_deref(), &own.http), (Some("http://me:secret@own:3"), &own.https));
        assert!(!format!("{own:?}").contains("secret"));
        let none = Way::find(Some(""), env);
        assert_eq!((none.https, none.http), (None, None));
    }

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
