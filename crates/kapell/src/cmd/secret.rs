//! `secret set|list|remove`: values that calls may name as `secret:NAME`, kept in the encrypted file. A value comes in on
//! standard input, never as an argument, and is shown by nothing.
//!
//! Who may have one stands in config.toml (`[secrets.NAME]`). Start at [`run`].

use crate::anchors::Anchors;
use crate::app::{App, variable};
use crate::args::SecretVerb;
use crate::config::secrets::{Declared, From};
use crate::exit::{self, Failure};
use crate::handles::{can_be_hidden, kept_as, kept_name};
use crate::show::json_page;
use crate::{out, words};
use audit::log::Act;
use serde_json::json;
use std::collections::BTreeSet;

/// Does what was asked; the exit code.
pub(crate) fn run(app: &App, what: SecretVerb) -> Result<u8, Failure> {
    match what {
        SecretVerb::List => list(app),
        SecretVerb::Set { name } => set(app, &name),
        SecretVerb::Remove { name } => remove(app, &name),
    }
}

fn list(app: &App) -> Result<u8, Failure> {
    let config = app.config(None)?;
    let mut keys = app.vault().read().map_err(|fault| Failure::from(fault).into_usage())?;
    let own = keys.remove(&app.profile()).unwrap_or_default();
    let kept: BTreeSet<&str> = own.keys().filter_map(|name| kept_name(name)).collect();
    let names: BTreeSet<&str> =
        config.secrets.keys().map(String::as_str).chain(kept.iter().copied()).collect();
    let row = |name: &&str| {
        let declared = config.secrets.get(*name);
        let to = declared.map(|it| it.written.clone()).unwrap_or_default();
        (name.to_string(), state(declared, kept.contains(name)), to)
    };
    let rows: Vec<_> = names.iter().map(row).collect();
    if app.global.json {
        let all = rows.iter().map(|(name, state, to)| json!({"name": name, "state": state, "for": to}));
        out::print(&json_page(&json!({"profile": app.profile(), "secrets": all.collect::<Vec<_>>()})));
    } else if rows.is_empty() {
        out::print(
            "no secrets: declare [secrets.NAME] with `for` in config.toml, then kapell secret set NAME < FILE\n",
        );
    } else {
        for (name, state, to) in &rows {
            out::print(&format!(
                "secret:{name}  {state}; for {}\n",
                if to.is_empty() { "nobody".into() } else { to.join(", ") }
            ));
        }
    }
    Ok(exit::OK)
}

/// Is there a value?
fn state(declared: Option<&Declared>, kept: bool) -> String {
    match declared.map(|it| &it.from) {
        Some(From::Env(name)) if variable(name).is_some_and(|value| !value.is_empty()) => {
            format!("from {name}")
        }
        Some(From::Env(name)) => format!("no value: {name} is not set"),
        Some(From::Command(argv, _)) => format!("from {}", argv.first().map_or("", String::as_str)),
        Some(From::Kept) if kept => "kept".into(),
        Some(From::Kept) => "no value: kapell secret set".into(),
        None => "kept, but not declared in config.toml".into(),
    }
}

fn set(app: &App, name: &str) -> Result<u8, Failure> {
    if !::secrets::is_handle_name(name) {
        let what = format!("`{name}` cannot name a secret");
        return Err(Failure::usage(
            "bad-name",
            what,
            "capitals, digits and _, beginning with a letter, at most 32",
        ));
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        let what = "the value is read from standard input, not typed where it can be seen";
        return Err(Failure::usage("no-value", what, format!("kapell secret set {name} < FILE")));
    }
    let value = words::read(Some("-".into()), "value", std::io::stdin())?;
    let value = value.trim_end_matches(['\n', '\r']).to_owned();
    app.secrets.learn(name, &value);
    if !can_be_hidden(name, &value) || value.trim() != value {
        let what = "this value is too short or too common to be hidden where it stands, or begins or ends with a blank";
        return Err(Failure::usage(
            "weak-secret",
            what,
            "give one of at least eight characters that is no everyday word",
        ));
    }
    let declared = app.config(None)?.secrets.contains_key(name);
    let profile = app.profile();
    app.vault().change(|keys| keys.entry(profile).or_default().insert(kept_as(name), value))?;
    noted(app, "secret-set", name)?;
    let next = if declared {
        ""
    } else {
        "; nobody may have it yet: declare [secrets.NAME] with `for` in config.toml"
    };
    said(app, name, &format!("kept{next}"));
    Ok(exit::OK)
}

fn remove(app: &App, name: &str) -> Result<u8, Failure> {
    let profile = app.profile();
    let gone = app.vault().change(|keys| {
        let gone = keys.get_mut(&profile).and_then(|keys| keys.remove(&kept_as(name)));
        keys.retain(|_, keys| !keys.is_empty());
        gone.is_some()
    });
    if !gone.map_err(|fault| Failure::from(fault).into_usage())? {
        let what = format!("no value of secret:{name} is kept");
        return Err(Failure::usage("no-secret", what, "kapell secret list"));
    }
    noted(app, "secret-remove", name)?;
    said(app, name, "removed");
    Ok(exit::OK)
}

fn said(app: &App, name: &str, what: &str) {
    if app.global.json {
        out::print(&json_page(&json!({"name": name, "done": what})));
    } else if !app.global.quiet {
        out::print(&format!("secret:{name}: {what}\n"));
    }
}

/// Every change of a secret is an act on record; the value is not.
fn noted(app: &App, what: &str, name: &str) -> Result<(), Failure> {
    let act = Act::Config { what: what.into(), target: format!("{}/secret:{name}", app.profile()) };
    Ok(Anchors::new(&app.home).append(app.now(), act)?)
}
