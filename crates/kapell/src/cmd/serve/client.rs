//! Asks a running daemon over its socket: one request, one answer.
//!
//! Knows HTTP as far as our own daemon speaks it. Start at [`Client::find`].

use crate::app::App;
use crate::exit::Failure;
use api::life::Run;
use contract::{Fault, Kind};
use rustix::net::sockopt::socket_peercred;
use rustix::process::Pid;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for anything from it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_BYTES: u64 = 64 << 20;

/// A daemon that is there.
pub(crate) struct Client {
    socket: PathBuf,
    /// Its process, as the system says.
    pub(crate) pid: Pid,
}

impl Client {
    /// The daemon of this person's installation, if one listens.
    pub(crate) fn find(app: &App) -> Option<Self> {
        let socket = Run::new(app.home.run_dir()).socket();
        let stream = UnixStream::connect(&socket).ok()?;
        Some(Self { pid: socket_peercred(&stream).ok()?.pid, socket })
    }

    /// The same, for who needs one.
    pub(crate) fn needed(app: &App) -> Result<Self, Failure> {
        Self::find(app).ok_or_else(|| {
            Failure::usage("no-daemon", "there is no daemon that could do this", "kapell up starts it")
        })
    }

    /// What there is to be read at this path.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask("GET", path, None)
    }

    /// What comes of this.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask("POST", path, Some(body))
    }

    /// Ends what is at this path.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask("DELETE", path, None)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let (status, text) = self.exchange(method, path, body).map_err(|error| {
            let what = format!("the daemon did not answer: {error}");
            Failure::failed("no-answer", what, "kapell status shows it; kapell down, then kapell up")
        })?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status < 400 {
            return Ok(value);
        }
        // It was a fault there, with the code that the command would have ended with here.
        let told = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let kind = serde_json::from_value(value["kind"].clone()).unwrap_or(Kind::Permanent);
        let fault = Fault::new(kind, &told("code"), told("title")).hint(told("hint"));
        let code = value["exit_code"].as_u64().and_then(|code| u8::try_from(code).ok());
        let failure = Failure::from(fault);
        Err(Failure { code: code.unwrap_or(failure.code), ..failure })
    }

    fn exchange(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: kapell\r\nConnection: close\r\n");
        match body {
            Some(body) => {
                let body = body.to_string();
                let length = body.len();
                request +=
                    &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
            }
            None => request += "\r\n",
        }
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "its answer is not HTTP");
        let (head, text) = answer.split_once("\r\n\r\n").ok_or_else(odd)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(odd)?;
        Ok((status, text.to_owned()))
    }
}
