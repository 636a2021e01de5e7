//! `cargo xtask schemathesis`: the OpenAPI document against the real `kapell serve`, by a program that reads documents.
//!
//! Schemathesis (PyPI) makes requests out of `docs/openapi.json`, good and bad ones, and holds every answer against it: no
//! 5xx, no status, type, header or field that the document does not tell of, no route without its credential. Knows no
//! route. Start at [`run`].

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The version that the checks below are named after.
const VERSION: &str = "schemathesis==4.32.5";
/// What is held against the document. Left out is `positive_data_acceptance`: a repository that is not there, or an
/// approval that is over, is refused though its request has the right form.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth";
/// Requests for each route and pass.
const EXAMPLES: &str = "60";
/// Below what one credential may ask, so that answers are more than refusals.
const RATE: &str = "90/s";

/// Two passes: over a session that is there, and over any id. `--examples N`, `--seed S`, `--binary PATH`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut examples, mut seed, mut binary) = (EXAMPLES.to_owned(), "1".to_owned(), None);
    let mut words = args.iter();
    while let Some(flag) = words.next() {
        let value = words.next().cloned();
        match (flag.as_str(), value) {
            ("--examples", Some(value)) => examples = value,
            ("--seed", Some(value)) => seed = value,
            ("--binary", Some(value)) => binary = Some(std::fs::canonicalize(&value).context(value)?),
            _ => bail!("cargo xtask schemathesis [--examples N] [--seed S] [--binary PATH]"),
        }
    }
    let binary = binary.map_or_else(|| crate::programs::build("kapell", false), Ok)?;
    let tool = installed()?;
    let place = std::env::temp_dir().join(format!("kapell-schemathesis-{}", std::process::id()));
    std::fs::create_dir_all(&place)?;
    let daemon = Daemon::start(&binary, &place);
    let done = daemon.and_then(|daemon| {
        let session = daemon.session()?;
        for (name, id) in [("a session that is there", Some(session)), ("any session", None)] {
            println!("schemathesis: {name}");
            daemon.judged(&tool, &place, id.as_deref(), &examples, &seed)?;
        }
        daemon.lives()
    });
    // tidy: allow(recursive-delete): made just above, under this process's own number
    std::fs::remove_dir_all(&place)?;
    done?;
    println!("schemathesis: no 5xx, and nothing that docs/openapi.json does not tell of");
    Ok(())
}

/// The program in a virtual environment of its own, below the directory of builds.
fn installed() -> Result<PathBuf> {
    let venv = crate::programs::target_dir()?.join("schemathesis");
    let tool = venv.join("bin/schemathesis");
    if !tool.exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status();
        if !made.context("python3 (Debian: apt-get install python3-venv)")?.success() {
            bail!("python3 -m venv failed (Debian: apt-get install python3-venv)");
        }
        let got = Command::new(venv.join("bin/pip")).args(["install", "--quiet", VERSION]).status()?;
        if !got.success() {
            bail!("{VERSION} could not be installed from PyPI");
        }
    }
    Ok(tool)
}

/// A daemon over a store in which a session has run.
struct Daemon {
    child: Child,
    /// Read to the end only when the daemon is.
    _out: BufReader<ChildStdout>,
    binary: PathBuf,
    place: PathBuf,
    url: String,
    token: String,
}

impl Daemon {
    fn start(binary: &Path, place: &Path) -> Result<Self> {
        let mut demo = kapell(binary, place);
        let demo = demo.args(["demo", "--dir", "demo"]).stdout(Stdio::null()).stderr(Stdio::null());
        demo.status().with_context(|| binary.display().to_string())?;
        let log = std::fs::File::create(place.join("daemon.log"))?;
        let mut child = kapell(binary, place)
            .args(["serve", "--tcp", "0", "--json"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).context("kapell serve --json told nothing")?;
        let found = std::fs::read(place.join("home/run/daemon.json"))
            .or_else(|_| std::fs::read(place.join("home/state/run/daemon.json")));
        let found: Value = serde_json::from_slice(&found.context("there is no daemon.json")?)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            child,
            _out: out,
            binary: binary.to_owned(),
            place: place.to_owned(),
            url: text(&told["url"]).context("it listens at no port")?,
            token: text(&found["token"]).context("it has no token")?,
        })
    }

    /// The newest session's id.
    fn session(&self) -> Result<String> {
        let out = kapell(&self.binary, &self.place).args(["sessions", "--json"]).output()?;
        let all: Value = serde_json::from_slice(&out.stdout).context("kapell sessions --json")?;
        all[0]["session_id"].as_str().map(str::to_owned).context("the demo left no session")
    }

    fn judged(&self, tool: &Path, place: &Path, id: Option<&str>, examples: &str, seed: &str) -> Result<()> {
        let known = id.map(|id| format!("[parameters]\n\"path.id\" = \"{id}\"\n")).unwrap_or_default();
        // An event stream has no end that could be waited for; e2e tests read it.
        let config = format!("[[operations]]\ninclude-path = \"/v1/feed\"\nenabled = false\n\n{known}");
        let file = place.join("schemathesis.toml");
        std::fs::write(&file, config)?;
        let document = crate::root()?.join("docs/openapi.json");
        let status = Command::new(tool)
            .arg("--config-file")
            .arg(&file)
            .arg("run")
            .arg(&document)
            .args(["--url", &self.url, "--checks", CHECKS, "--max-examples", examples, "--seed", seed])
            .args(["--rate-limit", RATE, "--request-timeout", "20", "--phases", "examples,coverage,fuzzing"])
            .args(["--generation-database", "none", "--warnings", "off", "--continue-on-failure"])
            .args(["-H", &format!("Authorization: Bearer {}", self.token)])
            .current_dir(place)
            .status()?;
        if !status.success() {
            let log = std::fs::read_to_string(place.join("daemon.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            bail!("schemathesis found something; the daemon said last:\n{}", last.join("\n"));
        }
        Ok(())
    }

    /// It has outlived all of it.
    fn lives(mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the daemon ended with {status}"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked first, so that what it began ends with it.
        let asked = kapell(&self.binary, &self.place)
            .arg("down")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !asked.is_ok_and(|status| status.success()) {
            let _gone = self.child.kill();
        }
        let _ended = self.child.wait();
    }
}

fn kapell(binary: &Path, place: &Path) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(place).env("KAPELL_HOME", place.join("home")).env_remove("KAPELL_TRUST");
    command
}
