//! Logins of browsers: a code that is good once, for two halves that are good together until the daemon ends, a month at most.
//!
//! Nothing is kept for the next daemon: while there is none, somebody else may listen where a page asks again, and get
//! both halves. Knows neither pages nor what they ask. Start at [`Book`]; the routes are at the end.

use crate::problem::Refused;
use crate::rate::{Rate, limited};
use crate::{Answer, Api, Host, body, files};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use axum::{Extension, Router};
use contract::{Digest, Fault, Kind, Timestamp};
use door::{Caller, Login, Logins};
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A code is good for so long, milliseconds.
const CODE_MS: u64 = 60_000;
/// A login is good for so long, seconds.
const LOGIN_S: u64 = 2_592_000;
/// Codes that are good at the same time.
const CODES: usize = 16;
/// Logins that are kept; the oldest goes first.
const LOGINS: usize = 64;
/// Attempts to log in, of all clients together.
const ATTEMPTS: Rate = Rate { burst: 5, milli_per_second: 84 };

/// Who logged in.
pub(crate) struct Book {
    host: Arc<dyn Host>,
    /// Where browsers find this daemon; unset where it does not listen for them.
    port: OnceLock<u16>,
    state: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    codes: Vec<Code>,
    logins: Vec<Kept>,
}

struct Code {
    digest: Digest,
    until: Timestamp,
}

/// A login as it is kept: by digests.
struct Kept {
    name: String,
    secret: Digest,
    proof: Digest,
    until: Timestamp,
}

/// What a browser gets for a code.
struct Halves {
    secret: String,
    proof: String,
    until: Timestamp,
}

impl Book {
    /// Nobody is logged in yet.
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        Self { host, port: OnceLock::new(), state: Mutex::default() }
    }

    /// Browsers find this daemon at this port of the loopback.
    pub(crate) fn listens(&self, port: u16) {
        // It is taken once, before anybody can ask.
        let _once = self.port.set(port);
    }

    fn state(&self) -> MutexGuard<'_, Open> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn code(&self) -> Result<(String, Timestamp), Refused> {
        let (code, now) = (fresh()?, self.host.now());
        let until = Timestamp(now.0 + CODE_MS);
        let mut state = self.state();
        state.codes.retain(|code| code.until > now);
        if state.codes.len() >= CODES {
            return Err(limited("codes", CODE_MS));
        }
        state.codes.push(Code { digest: Digest::of(code.as_bytes()), until });
        Ok((code, until))
    }

    /// Takes a code for a login.
    fn take(&self, code: &str) -> Result<Halves, Refused> {
        let (digest, now) = (Digest::of(code.as_bytes()), self.host.now());
        let mut state = self.state();
        let known = state.codes.iter().position(|code| code.digest == digest && code.until > now);
        let Some(known) = known else {
            let what = "this code is unknown, used or too old";
            return Err(Refused::user("unauthorised", what, "kapell console gives a fresh one"));
        };
        // Used up, whatever comes of it.
        state.codes.remove(known);
        let halves = Halves { secret: fresh()?, proof: fresh()?, until: Timestamp(now.0 + LOGIN_S * 1_000) };
        state.logins.retain(|kept| kept.until > now);
        if state.logins.len() >= LOGINS {
            state.logins.remove(0);
        }
        state.logins.push(Kept {
            name: format!("{:016x}", self.host.random() as u64),
            secret: Digest::of(halves.secret.as_bytes()),
            proof: Digest::of(halves.proof.as_bytes()),
            until: halves.until,
        });
        Ok(halves)
    }

    /// Ends one, or all.
    fn end(&self, name: Option<&str>) {
        let mut state = self.state();
        state.codes.clear();
        state.logins.retain(|kept| name.is_some_and(|name| kept.name != name));
    }
}

impl Logins for Book {
    fn login(&self, secret: &str) -> Option<Login> {
        let (digest, now) = (Digest::of(secret.as_bytes()), self.host.now());
        let state = self.state();
        let kept = state.logins.iter().find(|kept| kept.secret == digest && kept.until > now)?;
        Some(Login { name: kept.name.clone(), proof: kept.proof })
    }

    fn is_page(&self, path: &str) -> bool {
        files::is_page(path)
    }

    fn is_open(&self, method: &Method, path: &str) -> bool {
        match *method {
            Method::GET | Method::HEAD => matches!(path, "/v1/health" | "/v1/ready"),
            Method::POST => path == "/v1/login" || files::is_report(path),
            _ => false,
        }
    }
}

fn fresh() -> Result<String, Refused> {
    door::secret().map_err(|why| Fault::new(Kind::Permanent, "no-random", why).into())
}

/// The routes.
pub(crate) fn routes(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/v1/login-codes", post(codes))
        .route("/v1/login", post(log_in).delete(log_out))
        .route("/v1/logins", delete(log_out_all))
        .with_state(Arc::clone(api))
}

/// A code for the person's browser. A browser cannot ask for another one.
async fn codes(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Refused> {
    if !matches!(caller, Caller::Peer | Caller::Token) {
        let hint = "type it at a terminal: kapell console";
        return Err(Refused::user("forbidden", "a login does not give other logins", hint));
    }
    let Some(port) = api.logins.port.get() else {
        let hint = "kapell down, then kapell up; or kapell serve --tcp";
        return Err(Refused::user("no-loopback", "this daemon does not listen for browsers", hint));
    };
    let (code, until) = api.logins.code()?;
    let url = format!("http://127.0.0.1:{port}/#code={code}");
    let told = json!({"code": code, "url": url, "expires": until.to_string()});
    Ok((StatusCode::CREATED, Answer(told)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    code: String,
}

async fn log_in(State(api): State<Arc<Api>>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Refused> {
    let Given { code } = body::read(&headers, &bytes)?;
    let Some(port) = api.logins.port.get() else {
        let hint = "kapell down, then kapell up; or kapell serve --tcp";
        return Err(Refused::user("no-loopback", "this daemon does not listen for browsers", hint));
    };
    let now = api.host.now();
    api.rates.take("logins", ATTEMPTS, now).map_err(|wait_ms| limited("attempts to log in", wait_ms))?;
    let Halves { secret, proof, until } = api.logins.take(&code)?;
    let cookie = format!(
        "{}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age={LOGIN_S}",
        door::cookie_name(*port)
    );
    let told = json!({"proof": proof, "boot": api.about.boot, "expires": until.to_string()});
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Answer(told)).into_response())
}

async fn log_out(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, Refused> {
    let Caller::Login(name) = caller else {
        let hint = "DELETE /v1/logins ends all of them";
        return Err(Refused::user("no-login", "this request comes from no login", hint));
    };
    api.logins.end(Some(&name));
    Ok(StatusCode::NO_CONTENT)
}

async fn log_out_all(State(api): State<Arc<Api>>) -> Result<StatusCode, Refused> {
    api.logins.end(None);
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, Key, Read};
    use contract::BoxFuture;
    use serde_json::Value;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A clock that is set by hand.
    #[derive(Default)]
    struct Clock(AtomicU64);

    impl Host for Clock {
        fn read(&self, _: Read) -> BoxFuture<'static, Result<Value, Refused>> {
            Box::pin(async { Ok(Value::Null) })
        }

        fn act(&self, _: Act, _: Key) -> BoxFuture<'static, Result<Value, Refused>> {
            Box::pin(async { Ok(Value::Null) })
        }

        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }

        fn random(&self) -> u128 {
            u128::from(self.0.fetch_add(1, Ordering::Relaxed))
        }
    }

    #[test]
    fn a_code_is_good_once_and_not_for_long() {
        let clock = Arc::new(Clock::default());
        let book = Book::new(Arc::clone(&clock) as Arc<dyn Host>);
        let (code, _) = book.code().unwrap();
        assert!(book.take("other").is_err());
        let halves = book.take(&code).unwrap();
        assert!(book.take(&code).is_err(), "it is used up");
        assert!(halves.secret != halves.proof && halves.secret.len() == 64);
        let (late, _) = book.code().unwrap();
        clock.0.fetch_add(CODE_MS, Ordering::Relaxed);
        assert!(book.take(&late).is_err());
    }

    #[test]
    fn logins_end_one_by_one_with_their_month_and_together() {
        let clock = Arc::new(Clock::default());
        let book = Book::new(Arc::clone(&clock) as Arc<dyn Host>);
        let [one, two] = [0, 1].map(|_| book.take(&book.code().unwrap().0).unwrap());
        let login = book.login(&one.secret).unwrap();
        assert_eq!(login.proof, Digest::of(one.proof.as_bytes()));
        assert!(book.login(&one.proof).is_none(), "the halves are not each other's");
        book.end(Some(&login.name));
        assert!(book.login(&one.secret).is_none() && book.login(&two.secret).is_some());
        clock.0.fetch_add(LOGIN_S * 1_000, Ordering::Relaxed);
        assert!(book.login(&two.secret).is_none(), "a month is over");
        book.end(None);
        assert!(book.state().logins.is_empty());
    }

    #[test]
    fn codes_and_logins_are_bounded() {
        let book = Book::new(Arc::new(Clock::default()) as Arc<dyn Host>);
        let first = book.take(&book.code().unwrap().0).unwrap();
        for _ in 0..LOGINS {
            book.take(&book.code().unwrap().0).unwrap();
        }
        assert!(book.login(&first.secret).is_none() && book.state().logins.len() == LOGINS);
        let refused = (0..=CODES).map(|_| book.code()).find_map(Result::err).unwrap();
        assert_eq!(refused.fault.code, "rate-limited");
    }
}
