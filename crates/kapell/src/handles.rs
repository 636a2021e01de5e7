//! Values of secrets that calls name as `secret:NAME`: out of the encrypted file, a variable, or what a command of the
//! person's prints; each for those whom the person wrote down, and taken out of every text from then on.
//!
//! Knows no tool. Who may have one is `kernel::policy::handle`'s to say. Start at [`Kept`].

use crate::app::{App, variable};
use crate::config::Config;
use crate::config::secrets::{Declared, From};
use crate::keys;
use crate::secrets::Keeper;
use crate::vault::Vault;
use contract::handle::{Handles, Receiver};
use contract::{BoxFuture, Fault, Kind};
use kernel::policy::handle;
use providers::settings::KeyCommand;
use std::collections::BTreeMap;
use std::sync::Arc;

/// In the encrypted file they stand beside the keys of providers, whose names have no colon.
const KEPT: &str = "secret:";

/// The name that a secret has in the encrypted file.
pub(crate) fn kept_as(name: &str) -> String {
    format!("{KEPT}{name}")
}

/// The secret that has this name there; `None`: it is the key of a provider.
pub(crate) fn kept_name(name: &str) -> Option<&str> {
    name.strip_prefix(KEPT)
}

/// Can it be found where it stands in a text? One that cannot would be shown.
pub(crate) fn can_be_hidden(name: &str, value: &str) -> bool {
    ::secrets::Secret::given(name, value).is_some()
}

/// The port over the configuration.
pub(crate) struct Kept {
    declared: BTreeMap<String, Declared>,
    profile: String,
    vault: Vault,
    keeper: Arc<Keeper>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.declared.keys()).finish()
    }
}

impl Kept {
    /// What this configuration declares. Values of variables are secrets from here on.
    pub(crate) fn new(app: &App, config: &Config) -> Self {
        let declared = config.secrets.clone();
        for (name, secret) in &declared {
            if let From::Env(from) = &secret.from {
                variable(from).iter().for_each(|value| app.secrets.learn(name, value));
            }
        }
        Self { declared, profile: app.profile(), vault: app.vault(), keeper: Arc::clone(&app.secrets) }
    }

    async fn found(&self, name: &str, secret: &Declared) -> Result<String, Fault> {
        match &secret.from {
            From::Env(from) => variable(from).filter(|value| !value.is_empty()).ok_or_else(|| {
                let what = format!("secret:{name} has no value: the variable {from} is not set");
                Fault::new(Kind::UserFixable, "no-secret", what).hint(format!("set {from} and start again"))
            }),
            From::Command(argv, dir) => {
                let command = KeyCommand { argv: argv.clone(), dir: dir.clone() };
                keys::asked(&command, &format!("secrets.{name}.command")).await
            }
            From::Kept => {
                let vault = self.vault.clone();
                let read = tokio::task::spawn_blocking(move || vault.read()).await;
                let mut keys = read.map_err(|error| {
                    Fault::new(Kind::Permanent, "credentials", format!("reading them broke: {error}"))
                })??;
                let own = keys.get_mut(&self.profile).and_then(|keys| keys.remove(&kept_as(name)));
                own.ok_or_else(|| {
                    let what = format!("secret:{name} has no value");
                    Fault::new(Kind::UserFixable, "no-secret", what)
                        .hint(format!("kapell secret set {name} < FILE"))
                })
            }
        }
    }
}

impl Handles for Kept {
    fn names(&self) -> Vec<(String, String)> {
        self.declared.iter().map(|(name, it)| (name.clone(), it.written.join(", "))).collect()
    }

    fn may(&self, name: &str, to: &Receiver<'_>) -> Result<(), Fault> {
        let refused = |what: String| Fault::new(Kind::UserFixable, "secret-refused", what);
        let Some(secret) = self.declared.get(name) else {
            return Err(refused(format!("there is no secret:{name}: it is declared nowhere in config.toml")));
        };
        match handle::may(&secret.grants, to) {
            true => Ok(()),
            false => Err(refused(format!(
                "secret:{name} is not for {to}: it is for {}; every program of a line must be one of those, and nothing \
                 of it may go to a file",
                secret.written.join(", ")
            ))),
        }
    }

    fn value<'a>(&'a self, name: &'a str, to: &'a Receiver<'a>) -> BoxFuture<'a, Result<String, Fault>> {
        Box::pin(async move {
            self.may(name, to)?;
            let Some(secret) = self.declared.get(name) else { return Ok(String::new()) };
            let value = self.found(name, secret).await?;
            if !can_be_hidden(name, &value) {
                let what = format!("the value of secret:{name} is too short or too common to be hidden");
                return Err(Fault::new(Kind::UserFixable, "weak-secret", what)
                    .hint("a secret has at least eight characters, and is no everyday word"));
            }
            self.keeper.learn(name, &value);
            Ok(value)
        })
    }
}
