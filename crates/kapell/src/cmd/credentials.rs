//! `auth set|list|remove|rotate`: keys that Kapell keeps, by profile and provider. A key comes in on standard input, never
//! as an argument; it is tried with the cheapest call there is before it takes another's place.
//!
//! Start at [`run`]; where they are kept: `vault.rs`.

use super::auth::check;
use crate::anchors::Anchors;
use crate::app::App;
use crate::args::{AuthVerb, Stored};
use crate::exit::{self, Failure};
use crate::finding::Level;
use crate::handles::kept_name;
use crate::out;
use crate::show::json_page;
use crate::vault::Keys;
use crate::words;
use audit::log::Act;
use contract::text::suggestion;
use providers::settings::Key;
use providers::{Registry, Settings};
use serde_json::json;
use std::sync::Arc;

/// Does what was asked; the exit code.
pub(crate) async fn run(app: &App, what: AuthVerb) -> Result<u8, Failure> {
    match what {
        AuthVerb::List => list(app),
        AuthVerb::Set { stored, offline, keyring } => {
            put(app, &stored, Put { offline, rotate: false, keyring }).await
        }
        // It stays where it is.
        AuthVerb::Rotate { stored, offline } => {
            put(app, &stored, Put { offline, rotate: true, keyring: in_keyring(app, &stored) }).await
        }
        AuthVerb::Remove { stored } => remove(app, &stored).await,
    }
}

fn list(app: &App) -> Result<u8, Failure> {
    let vault = app.vault();
    let keys = vault.read().map_err(|fault| Failure::from(fault).into_usage())?;
    let kept = app.keyring().all();
    let all: Vec<(&String, &String)> = keys
        .iter()
        .flat_map(|(profile, keys)| keys.keys().map(move |provider| (profile, provider)))
        .filter(|(_, provider)| kept_name(provider).is_none())
        .chain(kept.iter().map(|(profile, provider)| (profile, provider)))
        .collect();
    if app.global.json {
        let all: Vec<_> =
            all.iter().map(|(profile, provider)| json!({"profile": profile, "provider": provider})).collect();
        out::print(&json_page(&json!({"file": vault.path(), "profile": app.profile(), "keys": all})));
        return Ok(exit::OK);
    }
    for (profile, provider) in &all {
        let used = if **profile == app.profile() { "" } else { " (not used now: KAPELL_PROFILE)" };
        out::print(&format!("{profile}/{provider}{used}\n"));
    }
    if all.is_empty() {
        out::print("no keys are kept; those of the environment are used: kapell auth\n");
    }
    Ok(exit::OK)
}

/// Takes a key from standard input. One that replaces another must be good, unless that cannot be asked on purpose.
async fn put(app: &App, stored: &Stored, how: Put) -> Result<u8, Failure> {
    let Put { offline, rotate, keyring } = how;
    let settings = settings(app)?;
    let Some(provider) = settings.providers.get(&stored.provider).cloned() else {
        let near = suggestion(&stored.provider, settings.providers.keys().map(String::as_str));
        let hint = format!("{near}kapell models lists the providers");
        return Err(Failure::usage(
            "unknown-provider",
            format!("there is no provider `{}`", stored.provider),
            hint,
        ));
    };
    let profile = stored.profile.clone().unwrap_or_else(|| app.profile());
    let vault = app.vault();
    let keys = vault.read().map_err(|fault| Failure::from(fault).into_usage())?;
    let old = keys.get(&profile).and_then(|keys| keys.get(&stored.provider));
    if rotate && old.is_none() && !keyring {
        let what = format!("no key of {profile}/{} is kept", stored.provider);
        return Err(Failure::usage("no-key", what, format!("kapell auth set {} < FILE", stored.provider)));
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        let hint =
            format!("kapell auth set {} < FILE, or pipe it in from a password manager", stored.provider);
        return Err(Failure::usage(
            "no-key",
            "the key is read from standard input, not typed where it can be seen",
            hint,
        ));
    }
    let key = words::read(Some("-".into()), "key", std::io::stdin())?.trim().to_owned();
    if key.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Failure::usage(
            "bad-key",
            "a key is one word",
            "give the key and nothing else on standard input",
        ));
    }
    app.secrets.learn("key", &key);
    if !offline {
        let mut tried = provider;
        (tried.key, tried.key_command) = (Some(Key::new(&key)), None);
        let name = stored.provider.clone();
        let alone = Settings { providers: [(name.clone(), tried)].into() };
        let registry = Registry::new(alone, Box::new(|_, _, _| None));
        let found = match registry.lines().get(&name) {
            Some(line) => check(&Arc::clone(line), true).await,
            None => return Err(Failure::failed("auth", "the provider went away", "try again")),
        };
        if found.level != Level::Ok {
            let kept = if rotate { "; the old key is still the one in use" } else { "; nothing was kept" };
            let hint = format!("{}; --offline keeps it without asking", found.hint);
            return Err(Failure::failed("key-refused", format!("{}{kept}", found.what), hint));
        }
    }
    if keyring {
        app.keyring().put(&profile, &stored.provider, &key).await?;
    } else {
        vault.change(|keys| keys.entry(profile.clone()).or_default().insert(stored.provider.clone(), key))?;
    }
    let what = if rotate { "auth-rotate" } else { "auth-set" };
    noted(app, what, &profile, &stored.provider)?;
    let tried = if offline { "not tried" } else { "it is good" };
    said(app, &profile, &stored.provider, &format!("kept, {tried}"));
    Ok(exit::OK)
}

/// How a key is taken.
#[derive(Clone, Copy)]
struct Put {
    /// The provider is not asked.
    offline: bool,
    /// It replaces one.
    rotate: bool,
    /// It goes into the system's keyring.
    keyring: bool,
}

fn in_keyring(app: &App, stored: &Stored) -> bool {
    let profile = stored.profile.clone().unwrap_or_else(|| app.profile());
    app.keyring().all().contains(&(profile, stored.provider.clone()))
}

async fn remove(app: &App, stored: &Stored) -> Result<u8, Failure> {
    if in_keyring(app, stored) {
        let profile = stored.profile.clone().unwrap_or_else(|| app.profile());
        app.keyring().remove(&profile, &stored.provider).await?;
        noted(app, "auth-remove", &profile, &stored.provider)?;
        said(app, &profile, &stored.provider, "removed from the keyring");
        return Ok(exit::OK);
    }
    let vault = app.vault();
    let profile = stored.profile.clone().unwrap_or_else(|| app.profile());
    let take = |keys: &mut Keys| {
        let gone = keys.get_mut(&profile).and_then(|keys| keys.remove(&stored.provider));
        keys.retain(|_, keys| !keys.is_empty());
        gone
    };
    let gone = vault.change(take).map_err(|fault| Failure::from(fault).into_usage())?;
    if gone.is_none() {
        let what = format!("no key of {profile}/{} is kept", stored.provider);
        return Err(Failure::usage("no-key", what, "kapell auth list"));
    }
    noted(app, "auth-remove", &profile, &stored.provider)?;
    said(app, &profile, &stored.provider, "removed");
    Ok(exit::OK)
}

fn said(app: &App, profile: &str, provider: &str, what: &str) {
    if app.global.json {
        out::print(&json_page(&json!({"profile": profile, "provider": provider, "done": what})));
    } else if !app.global.quiet {
        out::print(&format!("{profile}/{provider}: {what}\n"));
    }
}

/// Every change of a credential is an act on record; the credential is not.
fn noted(app: &App, what: &str, profile: &str, provider: &str) -> Result<(), Failure> {
    let act = Act::Config { what: what.into(), target: format!("{profile}/{provider}") };
    Ok(Anchors::new(&app.home).append(app.now(), act)?)
}

fn settings(app: &App) -> Result<Settings, Failure> {
    let config = app.config(None)?;
    Settings::new(config.providers, crate::app::variable).map_err(|fault| Failure::from(fault).into_usage())
}
