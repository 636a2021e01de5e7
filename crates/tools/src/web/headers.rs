//! Headers of a request that hold a secret: for the host that it is for, and for no other that it leads to.
//!
//! Knows nobody who may have one. Start at [`WebFetch::headers`].

use super::{Args, WebFetch};
use crate::args::{parse, refuse};
use crate::handed;
use contract::Fault;
use contract::handle::{Handed, Receiver};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Headers by which a connection is kept, or that say where a request goes.
const OURS: [&str; 6] = ["host", "connection", "content-length", "transfer-encoding", "upgrade", "accept"];

/// Who gets what stands in the headers.
pub(super) fn receiver(url: &Url) -> Receiver<'_> {
    let name = url.host_str().unwrap_or_default().trim_end_matches('.');
    Receiver::Host { name, port: url.port_or_known_default().unwrap_or(0), tls: url.scheme() == "https" }
}

/// Name and value of a header as it is written.
fn pair(header: &str) -> Result<(&str, &str), Fault> {
    let wrong = || {
        refuse(format!(
            "`web_fetch`: `{header}` is not NAME: secret:HANDLE; headers are there for secrets only"
        ))
    };
    let (name, value) = header.split_once(':').ok_or_else(wrong)?;
    let (name, value) = (name.trim(), value.trim());
    let allowed = HeaderName::from_bytes(name.as_bytes()).is_ok()
        && !OURS.contains(&name.to_ascii_lowercase().as_str());
    let printed = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if allowed && printed && !secrets::handles(value).is_empty() { Ok((name, value)) } else { Err(wrong()) }
}

impl WebFetch {
    /// The schema with a place for secrets, where there are any.
    pub(super) fn with_secrets(&self, mut schema: Value) -> Value {
        let list = self.handles.list();
        if !list.is_empty() {
            let about = format!(
                "Headers with a secret, such as \"Authorization: Bearer secret:NAME\"; nobody shows you its value. There are {list}."
            );
            schema["properties"]["headers"] =
                json!({"type": "array", "items": {"type": "string"}, "description": about});
        }
        schema
    }

    /// The secrets that a request names. One that is not there is a mistake: nobody means a header to be sent without.
    pub(super) fn named(&self, args: &Value) -> Result<Vec<String>, Fault> {
        let Args { headers, .. } = parse("web_fetch", args)?;
        for header in &headers {
            let (_, value) = pair(header)?;
            let there = self.handles.named([value]);
            let missing =
                secrets::handles(value).into_iter().find(|(_, name)| !there.iter().any(|it| it == name));
            if let Some((_, name)) = missing {
                return Err(handed::unknown(&format!("secret:{name}"), &self.handles));
            }
        }
        Ok(self.handles.named(headers.iter().map(String::as_str)))
    }

    /// The headers with their values, looked at once more.
    pub(super) async fn headers(
        &self,
        args: &Value,
        url: &Url,
        told: &mut Vec<Handed>,
    ) -> Result<HeaderMap, Fault> {
        let named = self.named(args)?;
        let (values, handed) = self.handles.values(&named, &receiver(url)).await?;
        *told = handed;
        let Args { headers, .. } = parse("web_fetch", args)?;
        let mut map = HeaderMap::new();
        for header in &headers {
            let (name, value) = pair(header)?;
            let odd = || {
                refuse(format!(
                    "`web_fetch`: what stands behind {value} can be no header: it has line ends or the like"
                ))
            };
            let mut filled = HeaderValue::from_str(&values.filled(value)).map_err(|_| odd())?;
            filled.set_sensitive(true);
            map.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| odd())?, filled);
        }
        Ok(map)
    }
}
