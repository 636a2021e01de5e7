//! Logins of browsers: a code that is good once, for two halves that are good together until the daemon ends, a month at most.
//!
//! Nothing is kept for the next daemon: while there is none, somebody else may listen where a page asks again, and get
//! both halves. Knows neither pages nor what they ask. Start at [`Book`]; the routes are at the end.

use crate::problem::Refused;
use crate::rate::{Rate, limited};
use crate::route::Route;
use crate::shape::daemon;
use crate::{Answer, Api, Host, body, files};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::{BoxFuture, Digest, Fault, Kind, Timestamp};
use door::{Caller, Login, Logins};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Where a browser logs in.
pub(crate) const LOGIN: &str = "/v1/login";
/// A code is good for so long, milliseconds.
const CODE_MS: u64 = 60_000;
/// A login is good for so long, seconds.
const LOGIN_S: u64 = 2_592_000;
/// Codes that are good at the same time.
const CODES: usize = 16;
/// Logins that are kept; the oldest goes first.
const LOGINS: usize = 64;
/// Attempts with codes that nobody was given, of all clients together. Who has a code is not kept waiting by them, and with
/// 256 bits no number of them finds one: it keeps a log readable.
const ATTEMPTS: Rate = Rate { burst: 5, milli_per_second: 84 };
/// Event streams of one login at once.
const STREAMS: usize = 6;

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
    /// Room for its event streams.
    streams: Arc<Semaphore>,
    /// Goes with it: who holds the other end hears that it has ended.
    ends: watch::Sender<()>,
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
            streams: Arc::new(Semaphore::new(STREAMS)),
            ends: watch::channel(()).0,
        });
        Ok(halves)
    }

    /// A place for one more event stream of this caller: resolves when the stream has to end because its login has, and
    /// gives the place back when it is dropped.
    pub(crate) fn seat(&self, caller: Option<&Caller>) -> Result<BoxFuture<'static, ()>, Fault> {
        let Some(Caller::Login(name)) = caller else { return Ok(Box::pin(std::future::pending())) };
        let (state, now) = (self.state(), self.host.now());
        let Some(kept) = state.logins.iter().find(|kept| kept.name == *name) else {
            return Ok(Box::pin(std::future::ready(())));
        };
        let place = Arc::clone(&kept.streams).try_acquire_owned().map_err(|_| {
            let what = format!("a login has at most {STREAMS} event streams");
            let mut fault = Fault::new(Kind::RateLimited, "rate-limited", what).hint("close another window");
            fault.retry_after_ms = Some(1_000);
            fault
        })?;
        let (mut ends, left) = (kept.ends.subscribe(), Duration::from_millis(kept.until.since(now)));
        Ok(Box::pin(async move {
            // Nothing is ever sent: it ends with its login.
            let ended = async { while ends.changed().await.is_ok() {} };
            let _in_time = timeout(left, ended).await;
            drop(place);
        }))
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
        static OPEN: LazyLock<Vec<(Method, &str)>> = LazyLock::new(|| {
            let open = crate::table().into_iter().filter(|route| route.open);
            open.map(|route| (route.method, route.path)).collect()
        });
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        OPEN.iter().any(|(open, at)| open == method && *at == path)
    }
}

fn fresh() -> Result<String, Refused> {
    door::secret().map_err(|why| Fault::new(Kind::Permanent, "no-random", why).into())
}

/// The routes.
pub(crate) fn table() -> Vec<Route> {
    const COOKIE: &[(&str, &str)] = &[("Set-Cookie", "one half of the login")];
    vec![
        Route::post("/v1/login-codes", "A code with which a browser logs in once.", codes)
            .answers::<daemon::LoginCode>(201, "Good for a minute.")
            .refuses(&["no-loopback"]),
        Route::post(LOGIN, "Logs a browser in.", log_in)
            .reads::<Given>()
            .answers::<daemon::Login>(201, "The other half of the login.")
            .with(COOKIE)
            .refuses(&["no-loopback"])
            .open(),
        Route::delete(LOGIN, "Ends the login that asks.", log_out)
            .sends(204, "It has ended.", "")
            .refuses(&["no-login"]),
        Route::delete("/v1/logins", "Ends all logins.", log_out_all).sends(204, "They have ended.", ""),
    ]
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

/// A code that `kapell console` gave.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Code")]
struct Given {
    code: String,
}

async fn log_in(State(api): State<Arc<Api>>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Refused> {
    let Given { code } = body::read(&headers, &bytes)?;
    let Some(port) = api.logins.port.get() else {
        let hint = "kapell down, then kapell up; or kapell serve --tcp";
        return Err(Refused::user("no-loopback", "this daemon does not listen for browsers", hint));
    };
    let Halves { secret, proof, until } = api.logins.take(&code).map_err(|refused| {
        let taken = api.rates.take("logins", ATTEMPTS, api.host.now());
        taken.map_or_else(|wait_ms| limited("attempts to log in", wait_ms), |_| refused)
    })?;
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
    use crate::{Act, Key, Line, Read};
    use contract::{BoxFuture, SessionId};
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

        fn attach(
            &self,
            _: SessionId,
            _: String,
            _: Option<u64>,
        ) -> BoxFuture<'static, Result<Line, Refused>> {
            Box::pin(async { Err(Refused::user("no-job", "there is none", "")) })
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

    #[tokio::test]
    async fn streams_end_with_their_login_and_are_bounded() {
        let clock = Arc::new(Clock::default());
        let book = Book::new(Arc::clone(&clock) as Arc<dyn Host>);
        let [one, two] = [0, 1].map(|_| book.take(&book.code().unwrap().0).unwrap());
        let caller = |halves: &Halves| Caller::Login(book.login(&halves.secret).unwrap().name);
        let (one, two) = (caller(&one), caller(&two));
        let mut seats: Vec<_> = (0..STREAMS).map(|_| book.seat(Some(&one)).unwrap()).collect();
        assert_eq!(book.seat(Some(&one)).err().unwrap().code, "rate-limited");
        drop(seats.pop());
        seats.push(book.seat(Some(&one)).unwrap());
        let other = book.seat(Some(&two)).unwrap();
        assert!(book.seat(Some(&Caller::Token)).is_ok(), "programs are not counted here");
        let Caller::Login(name) = &one else { unreachable!() };
        book.end(Some(name));
        for seat in seats {
            seat.await;
        }
        let waits = timeout(Duration::ZERO, other).await;
        assert!(waits.is_err(), "the other login goes on");
        book.seat(Some(&one)).unwrap().await;
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
