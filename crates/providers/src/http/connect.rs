//! Connections: TLS, proxies, certificates; and what it means when there is none.
//!
//! Knows no dialect and no key. Start at [`client`].

use crate::settings::Provider;
use contract::{Fault, Kind};
use reqwest::{Certificate, Client, Identity, NoProxy, Proxy};
use std::error::Error;
use std::path::Path;

/// A client that goes where it is sent and nowhere else: HTTP/1.1, no redirects, no second tries, small packets at once.
pub(super) fn client(provider: &Provider) -> Result<Client, Fault> {
    // The one place that chooses who does the cryptography; that somebody has chosen before is fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = Client::builder()
        .user_agent(concat!("kapell/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(provider.timeouts.connect)
        .no_proxy();
    if provider.server.is_local() {
        // llama.cpp promises to keep a connection and ends it behind a streamed answer: the next call would meet the
        // end. A new connection on the same machine costs next to nothing.
        builder = builder.pool_max_idle_per_host(0);
    }
    if let Some(url) = &*provider.proxy {
        let proxy = Proxy::all(url).map_err(|_| bad(provider, "proxy", "it is no address of a proxy"))?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&provider.no_proxy)));
    }
    builder = match &provider.ca_file {
        Some(path) => {
            let pem = read(provider, "ca_file", path)?;
            let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if certificates.is_empty() {
                return Err(bad(provider, "ca_file", "it holds no certificate in PEM"));
            }
            builder.tls_certs_merge(certificates)
        }
        // Nothing is encrypted on the way: the system's certificates need not be there.
        None if provider.base_url.starts_with("http:") && provider.proxy.is_none() => {
            builder.tls_certs_only([])
        }
        None => builder,
    };
    if let Some((cert, key)) = &provider.client_cert {
        let mut pem = read(provider, "client_cert", cert)?;
        if let Some(key) = key {
            pem.push(b'\n');
            pem.extend(read(provider, "client_key", key)?);
        }
        let what = "certificate and key are not readable as PEM";
        builder = builder.identity(Identity::from_pem(&pem).map_err(|_| bad(provider, "client_cert", what))?);
    }
    builder.build().map_err(|error| {
        let what = format!("no connection to {} can be made: {}", provider.name, cause(&error));
        Fault::new(Kind::UserFixable, "tls-failed", what)
            .hint("install the system's certificates (ca-certificates), or set ca_file in config.toml or SSL_CERT_FILE")
    })
}

fn read(provider: &Provider, key: &str, path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path).map_err(|error| bad(provider, key, &format!("{}: {error}", path.display())))
}

fn bad(provider: &Provider, key: &str, why: &str) -> Fault {
    let what = format!("`{key}` of the provider `{}` is of no use: {why}", provider.name);
    Fault::new(Kind::UserFixable, "bad-config", what)
        .hint(format!("correct {key} in [providers.{}] of config.toml", provider.name))
}

/// Why there is no answer.
pub(super) fn failed(provider: &Provider, error: &reqwest::Error) -> Fault {
    let (name, url) = (&provider.name, &provider.base_url);
    let config = format!("base_url of [providers.{name}] in config.toml says where it is");
    if error.is_builder() {
        let what = format!("`{url}` is no address that a request can be sent to");
        return Fault::new(Kind::UserFixable, "base-url", what).hint(config);
    }
    if let Some(why) = tls(error) {
        let what = format!("no secure connection to {name} ({url}): {why}");
        return Fault::new(Kind::UserFixable, "tls-failed", what).hint(format!(
            "an authority of your own goes into ca_file of [providers.{name}], or into the file that \
                 SSL_CERT_FILE names; {config}"
        ));
    }
    let start = match provider.server.is_local() {
        true => format!("start the server; {config}"),
        false => format!("is the network there? {config}"),
    };
    let refused = io(error).is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    let (code, what) = match () {
        () if error.is_dns() => ("name-unknown", format!("the name of {name}'s server is not known ({url})")),
        () if refused => ("connection-refused", format!("nobody answers for {name} at {url}")),
        () if error.is_connect() => {
            ("not-reached", format!("{name} is not reached at {url}: {}", cause(error)))
        }
        () => {
            ("connection-lost", format!("{name} closed the connection before it answered: {}", cause(error)))
        }
    };
    Fault::new(Kind::Transient, code, what).hint(start)
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |error| beneath(*error))
}

/// What an error is made of. One of I/O shows the source of what it carries, not that itself.
fn beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn tls(error: &reqwest::Error) -> Option<String> {
    chain(error).find_map(|error| error.downcast_ref::<rustls::Error>()).map(ToString::to_string)
}

fn io(error: &reqwest::Error) -> Option<&std::io::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The innermost reason, which names no address.
fn cause(error: &reqwest::Error) -> String {
    chain(error).last().map_or_else(|| "no reason given".to_owned(), ToString::to_string)
}
