//! How often who may ask: a bucket of requests for each caller, which fills up again by itself.
//!
//! Pure but for the lock; time comes in. Start at [`Rates::take`].

use crate::login::LOGIN;
use crate::problem::Refused;
use crate::{Api, files};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contract::{Fault, Kind, Timestamp};
use door::Caller;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Buckets that are kept; full ones go first.
const BUCKETS: usize = 4_096;
/// A request, in the thousandths that a bucket counts in.
const ONE: u64 = 1_000;

/// How much at once, and how much a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// At once.
    pub(crate) burst: u64,
    /// In thousandths a second.
    pub(crate) milli_per_second: u64,
}

/// Every request of one credential.
pub(crate) const REQUESTS: Rate = Rate { burst: 200, milli_per_second: 100_000 };

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of a request that are left.
    left: u64,
    at: Timestamp,
}

/// Buckets by name.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<BTreeMap<String, Bucket>>);

impl Rates {
    /// Takes one: how many are left then, or how many milliseconds until there is one.
    pub(crate) fn take(&self, name: &str, rate: Rate, now: Timestamp) -> Result<u64, u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= BUCKETS {
            all.retain(|_, bucket| now.since(bucket.at) < FORGOTTEN_MS);
        }
        let full = Bucket { left: rate.burst * ONE, at: now };
        let bucket = all.entry(name.to_owned()).or_insert(full);
        let gained = now.since(bucket.at).saturating_mul(rate.milli_per_second) / 1_000;
        if gained > 0 {
            *bucket = Bucket { left: bucket.left.saturating_add(gained).min(full.left), at: now };
        }
        if bucket.left < ONE {
            return Err((ONE - bucket.left).saturating_mul(1_000).div_ceil(rate.milli_per_second.max(1)));
        }
        bucket.left -= ONE;
        Ok(bucket.left / ONE)
    }
}

/// A bucket that nobody took from for so long is full.
const FORGOTTEN_MS: u64 = 120_000;

/// One request, within what its caller may ask.
pub(crate) async fn pass(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let name = match request.extensions().get::<Caller>() {
        Some(Caller::Peer) => "peer".to_owned(),
        Some(Caller::Token) => "token".to_owned(),
        Some(Caller::Login(name)) => format!("login/{name}"),
        // What strangers ask in one place keeps nobody from another; who logs in is counted where codes are known.
        Some(Caller::Anybody) | None => match request.uri().path() {
            LOGIN => return next.run(request).await,
            path if files::is_page(path) => "anybody/".to_owned(),
            path => format!("anybody{path}"),
        },
    };
    match api.rates.take(&name, REQUESTS, api.host.now()) {
        Err(wait_ms) => limited("requests", wait_ms).into_response(),
        Ok(left) => {
            let reset = ((REQUESTS.burst - left) * ONE).div_ceil(REQUESTS.milli_per_second);
            let told = format!("limit={}, remaining={left}, reset={reset}", REQUESTS.burst);
            let mut response = next.run(request).await;
            if let Ok(told) = HeaderValue::from_str(&told) {
                response.headers_mut().insert(RATE_LIMIT, told);
            }
            response
        }
    }
}

/// Too many of these.
pub(crate) fn limited(what: &str, wait_ms: u64) -> Refused {
    let mut fault =
        Fault::new(Kind::RateLimited, "rate-limited", format!("these are too many {what} at once"))
            .hint("wait for as long as Retry-After says");
    fault.retry_after_ms = Some(wait_ms);
    fault.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let rates = Rates::default();
        let rate = Rate { burst: 3, milli_per_second: 500 };
        let at = |ms: u64| Timestamp(1_000_000 + ms);
        assert_eq!([0, 1, 2].map(|_| rates.take("a", rate, at(0))), [Ok(2), Ok(1), Ok(0)]);
        assert_eq!(rates.take("a", rate, at(0)), Err(2_000));
        assert_eq!(rates.take("b", rate, at(0)), Ok(2), "others have their own");
        assert_eq!(rates.take("a", rate, at(500)), Err(1_500));
        assert_eq!(rates.take("a", rate, at(2_000)), Ok(0));
        assert_eq!(rates.take("a", rate, at(1_000_000)), Ok(2), "it holds no more than a burst");
    }

    #[test]
    fn small_steps_of_time_are_not_lost() {
        let rates = Rates::default();
        let rate = Rate { burst: 1, milli_per_second: 100 };
        assert_eq!(rates.take("a", rate, Timestamp(0)), Ok(0));
        let got = (1..=20_000).filter(|ms| rates.take("a", rate, Timestamp(*ms)).is_ok()).count();
        assert_eq!(got, 2);
    }

    #[test]
    fn who_was_not_seen_for_long_is_forgotten() {
        let rates = Rates::default();
        for n in 0..BUCKETS {
            rates.take(&n.to_string(), REQUESTS, Timestamp(0)).unwrap();
        }
        rates.take("new", REQUESTS, Timestamp(FORGOTTEN_MS)).unwrap();
        assert_eq!(rates.0.lock().unwrap().len(), 1);
    }
}
