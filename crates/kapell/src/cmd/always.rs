//! "Always" and "for this session" as rules: each command of a call that asked, exactly as it stands; for its repository
//! into the person's own `config.toml`, for the session into a file of the session's.
//!
//! A rule is written for what is known from the text and not behind the floor; for anything else none is, and that is
//! said before the yes is given. Start at [`rules`].

use crate::app::App;
use crate::config::Config;
use crate::exit::Failure;
use crate::{cage, out, policy};
use contract::SessionId;
use contract::action::EffectClass;
use contract::event::Subject;
use contract::policy::{Arg, Decision, Part};
use contract::port::Blobs;
use kernel::Session;
use kernel::policy::Setting;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The words of every command that asked.
pub(super) async fn rules(
    app: &App,
    blobs: &dyn Blobs,
    state: &Session,
    approval: &str,
) -> Result<Vec<Vec<String>>, Failure> {
    let subject = state.approvals.get(approval).map(|approval| &approval.subject);
    let Some(Subject::Call { call }) = subject else { return Err(no_rule("it is not about a call")) };
    let slot = state.calls.iter().find(|slot| slot.call.id == *call);
    let Some(call) = slot.map(|slot| &slot.call) else { return Err(no_rule("its call is not there")) };
    let args: Value = serde_json::from_slice(&blobs.blob(call.args).await?).unwrap_or_default();
    let argv = args["argv"].as_array().map(|words| {
        let quoted = |word: &Value| format!("'{}'", word.as_str().unwrap_or_default().replace('\'', "'\\''"));
        words.iter().map(quoted).collect::<Vec<_>>().join(" ")
    });
    let Some(line) = args["command"].as_str().map(str::to_owned).or(argv) else {
        return Err(no_rule("it runs no command"));
    };
    let repo = state.spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
    let ask = state.spec.as_ref().map_or(contract::session::Ask::Writes, |spec| spec.rights.ask);
    let mut config = app.config(Some(Path::new(&repo)))?;
    policy::with_session(&app.home, &mut config, state.root())?;
    let policy = policy::of(&app.home, &config);
    let place = command::Place { root: repo.clone(), home: policy::user_home() };
    let confined = call.class != EffectClass::External;
    let caged = call.held.as_ref().filter(|_| confined).and_then(cage::caged);
    let setting = Setting { ask, confined, caged, reads: false };
    let cwd = match args["cwd"].as_str() {
        Some(cwd) if cwd.starts_with('/') => cwd.to_owned(),
        Some(cwd) => format!("{repo}/{cwd}"),
        None => repo,
    };
    let mut words = Vec::new();
    for part in command::parts(&line, &place, &cwd) {
        let decided = policy.part(setting, &part);
        if decided.verdict == Decision::Allow {
            continue;
        }
        let written = decided.origin != "built-in" && decided.origin != "profile";
        if written {
            return Err(no_rule(&format!("{} ({})", decided.why, decided.origin)));
        }
        words.push(exact(&part).ok_or_else(|| no_rule(&decided.why))?);
    }
    Ok(words)
}

fn exact(part: &Part) -> Option<Vec<String>> {
    let plain = |arg: &Arg| arg.known().filter(|text| !text.contains(['*', '?', '\n'])).map(str::to_owned);
    let words: Option<Vec<String>> = part.words.iter().map(plain).collect();
    words.filter(|words| !words.is_empty() && part.doubts.is_empty())
}

fn no_rule(why: &str) -> Failure {
    let what = format!("no rule can stand for this, and nothing was approved: {why}");
    Failure::usage("no-rule", what, "kapell approve without --always and --session agrees to it once")
}

/// For how long, and where, a rule holds.
pub(super) enum Scope<'a> {
    /// In this repository, until the person takes it out.
    Repo(&'a str),
    /// In the tree of sessions with this root.
    Session(SessionId),
}

/// Adds them to the file they belong in, which must be readable before and after.
pub(super) fn write(app: &App, rules: &[Vec<String>], scope: &Scope<'_>) -> Result<(), Failure> {
    if rules.is_empty() {
        return Ok(());
    }
    let (path, line, about) = match scope {
        Scope::Repo(repo) => {
            let line = format!("repo = {}\n", toml::Value::String((*repo).to_owned()));
            (app.home.config.join("config.toml"), line, format!(" in {repo}"))
        }
        Scope::Session(root) => {
            (policy::session_file(&app.home, *root), String::new(), " for this session".to_owned())
        }
    };
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    let wrong = |error: std::io::Error| {
        let what = format!("approved once, but {} could not be written: {error}", path.display());
        Failure::usage("config-unwritable", what, "make it writable, or write the rule yourself")
    };
    std::fs::create_dir_all(dir).map_err(wrong)?;
    // One at a time: what another adds meanwhile must not be lost.
    let mut lock = std::fs::File::options();
    let lock = lock.create(true).truncate(false).write(true).mode(0o600).open(path.with_extension("lock"));
    let _lock = lock.and_then(|file| file.lock().map(|()| file)).map_err(wrong)?;
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(error)),
    };
    let mut text = before.clone();
    for words in rules {
        let list = toml::Value::Array(words.iter().cloned().map(toml::Value::String).collect());
        let gap = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
        text.push_str(&format!(
            "{gap}[[policy.rule]]\ndecide = \"allow\"\ncommand = {list}\nexact = true\n{line}"
        ));
    }
    // What a link leads to is changed, and who may read it stays.
    let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    let beside = real.with_extension("toml.new");
    let mut file = std::fs::File::options();
    let file = file.create(true).truncate(true).write(true).mode(0o600).open(&beside);
    file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(wrong)?;
    if let Ok(meta) = std::fs::metadata(&real) {
        std::fs::set_permissions(&beside, meta.permissions()).map_err(wrong)?;
    }
    std::fs::rename(&beside, &real).map_err(wrong)?;
    if let Err(failure) = Config::default().file(&path, false) {
        std::fs::write(&path, before).map_err(wrong)?;
        return Err(failure);
    }
    if !app.global.json && !app.global.quiet {
        for words in rules {
            out::print(&format!(
                "rule: allow exactly `{}`{about} ({})\n",
                crate::show::clean::line(&words.join(" ")),
                path.display()
            ));
        }
    }
    Ok(())
}
