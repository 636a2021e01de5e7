//! Finds a model by its id. Knows which models exist, not what they do.
//!
//! Start at [`Registry`]: a model of Kapell's own is one more row of [`BUILT_IN`], a provider one more row of the
//! settings' presets.

use crate::dialect::Server;
use crate::remote::{Line, Remote};
use crate::settings::{Dialect, Facts, KeyCommand, Keys, Provider, Settings, Source};
use crate::{Fixer, Script};
use contract::model::{Card, Model, ModelRef, Models, Quota};
use contract::text::suggestion;
use contract::{Fault, Kind};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Every id of Kapell's own, as shown to a person; `<path>` stands for a file.
const BUILT_IN: [&str; 2] = ["builtin/fixer", "builtin/script:<path>"];
const FIXER: &str = "builtin/fixer";
const SCRIPT: &str = "builtin/script";
/// Tokens a model's context is taken to hold when nobody says.
const CONTEXT_TOKENS: u64 = 128_000;
/// As above, of a server on the person's own machines.
const LOCAL_TOKENS: u64 = 8_192;
/// Most tokens of one reply when nobody says.
const OUTPUT_TOKENS: u64 = 8_192;

/// What is known about a model beside what is configured: provider, name on the wire, base URL.
pub type Known = Box<dyn Fn(&str, &str, &str) -> Option<Facts> + Send + Sync>;

/// The registry as the port the binary wires in.
pub struct Registry {
    lines: BTreeMap<String, Arc<Line>>,
    known: Known,
}

impl Default for Registry {
    fn default() -> Self {
        Self { lines: BTreeMap::new(), known: Box::new(|_, _, _| None) }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Models for Registry {
    fn open(&self, id: &str, project: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
        if let Some((provider, name)) = id.split_once('/').filter(|(_, name)| !name.is_empty())
            && let Some(line) = self.lines.get(provider)
        {
            line.usable()?;
            let card = self.card(line, name);
            let quota = Some(Quota { name: line.provider.quota(), rates: line.provider.rates });
            let model = Arc::new(Remote::new(Arc::clone(line), name, card));
            return Ok((ModelRef { id: id.into(), card, quota }, model));
        }
        let model: Arc<dyn Model> = match id.split_once(':') {
            None if id == FIXER => Arc::new(Fixer),
            // A script's path is relative to the project.
            Some((SCRIPT, path)) if !path.is_empty() => Arc::new(Script::load(&project.join(path))?),
            _ => return Err(self.unknown(id)),
        };
        Ok((ModelRef { id: id.into(), card: model.card(), quota: None }, model))
    }

    fn count(&self, id: &str, text: &str) -> Option<u64> {
        crate::count::tokens(id, text)
    }
}

impl Registry {
    /// With these providers, and what is known about models beside what is configured.
    pub fn new(settings: Settings, known: Known) -> Self {
        Self::with_keys(settings, known, Arc::new(|command| Box::pin(async move { Err(no_keys(&command)) })))
    }

    /// The same, with who runs the commands that print keys.
    pub fn with_keys(settings: Settings, known: Known, keys: Keys) -> Self {
        let line = |(name, provider)| (name, Arc::new(Line::new(provider, Arc::clone(&keys))));
        Self { lines: settings.providers.into_iter().map(line).collect(), known }
    }

    /// The providers, by name.
    pub fn lines(&self) -> &BTreeMap<String, Arc<Line>> {
        &self.lines
    }

    /// Asks what has to be known before this model is opened: how much it holds on the person's own machine, and what a
    /// vendor's list says of a model nobody here knows. Who does not answer is no error here: the call itself will say so.
    pub async fn look(&self, id: &str) {
        let Some((provider, name)) = id.split_once('/') else { return };
        let Some(line) = self.lines.get(provider) else { return };
        let Provider { server, dialect, .. } = *line.provider;
        let tells = server == Server::OpenRouter || dialect == Dialect::Gemini;
        let known = |line: &Line| {
            let own = line.provider.models.get(name).is_some_and(|own| own.price.is_some());
            own || (self.known)(provider, name, &line.provider.base_url).is_some()
        };
        if server.is_local() {
            drop(line.measure(name).await);
        } else if tells && !known(line) {
            drop(line.list().await);
        }
    }

    /// What is known about this model: configured before kept data before what its server told.
    pub fn card(&self, line: &Line, name: &str) -> Card {
        let provider = &line.provider;
        let own = provider.models.get(name).cloned().unwrap_or_default();
        let kept = (self.known)(&provider.name, name, &provider.base_url).unwrap_or_default();
        let told = line.told(name).unwrap_or_default();
        let local = provider.server.is_local();
        let usual = if local { LOCAL_TOKENS } else { CONTEXT_TOKENS };
        // What a model could hold says nothing about what it was loaded with.
        let holds = kept.context_tokens.or(told.context_tokens).filter(|_| !local);
        let context = line.assumed(name).filter(|_| local || own.context_tokens.is_some());
        let context_tokens = context.or(holds).unwrap_or(usual).max(2);
        let output = own.output_tokens.or(kept.output_tokens).or(told.output_tokens).unwrap_or(OUTPUT_TOKENS);
        Card {
            context_tokens,
            output_tokens: output.clamp(1, context_tokens / 2),
            price: own.price.or(kept.price).or(told.price),
        }
    }

    /// Who says what this model costs; `None` = nobody knows.
    pub fn priced_by(&self, line: &Line, name: &str) -> Option<Source> {
        let provider = &line.provider;
        let priced = |facts: Option<Facts>| facts.filter(|facts| facts.price.is_some());
        let said = |by: String| Source { by, date: String::new() };
        let own = priced(provider.models.get(name).cloned());
        let own = own.map(|_| said(format!("[providers.{}.models] in config.toml", provider.name)));
        let kept = || priced((self.known)(&provider.name, name, &provider.base_url))?.source;
        let told = || priced(line.told(name)).map(|_| said(format!("the list of {}", provider.name)));
        own.or_else(kept).or_else(told)
    }

    fn unknown(&self, id: &str) -> Fault {
        let name = id.split_once(':').map_or(id, |(name, _)| name);
        let fault =
            |what: String, hint: String| Fault::new(Kind::UserFixable, "model-unknown", what).hint(hint);
        if name == SCRIPT {
            let what = format!("`{id}` names no script file");
            return fault(what, format!("add its path: `{SCRIPT}:path/to/script.toml`"));
        }
        let (provider, rest) = id.split_once('/').unwrap_or((id, ""));
        let near = suggestion(provider, self.lines.keys().map(String::as_str));
        let guess = match suggestion(name, [FIXER, SCRIPT]) {
            guess if !guess.is_empty() => guess,
            _ if rest.is_empty() && self.lines.contains_key(provider) => {
                return fault(
                    format!("`{id}` names a provider and no model"),
                    format!("add the model's name: `{provider}/NAME`; kapell models lists them"),
                );
            }
            _ => near,
        };
        let providers = self.lines.keys().map(|name| format!(", {name}/NAME"));
        let all = BUILT_IN.join(", ") + &providers.collect::<String>();
        fault(format!("there is no model `{id}`"), format!("{guess}models: {all}"))
    }
}

/// Said where no programs are run.
fn no_keys(command: &KeyCommand) -> Fault {
    let what = format!("`{}` prints the key, and no program is run here", command.program());
    Fault::new(Kind::UserFixable, "key-missing", what).hint("use key_env in config.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::model::Price;

    fn open(id: &str, project: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
        Registry::default().open(id, project)
    }

    fn refused(id: &str) -> Fault {
        open(id, Path::new(".")).err().expect("refused")
    }

    fn registry(env: &[(&str, &str)]) -> Registry {
        let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let price = Price { input: 3, output: 15, ..Price::default() };
        let known = move |provider: &str, name: &str, _: &str| {
            let known = Facts { context_tokens: Some(200_000), price: Some(price), ..Facts::default() };
            (provider == "anthropic" && name == "claude-x").then_some(known)
        };
        Registry::new(Settings::new(BTreeMap::new(), env).unwrap(), Box::new(known))
    }

    #[test]
    fn a_providers_model_is_opened_with_what_is_known_and_the_name_of_its_limits() {
        let registry = registry(&[("ANTHROPIC_API_KEY", "sk-secret")]);
        let (reference, model) = registry.open("anthropic/claude-x", Path::new(".")).unwrap();
        assert_eq!((reference.card.context_tokens, reference.card.output_tokens), (200_000, OUTPUT_TOKENS));
        assert_eq!((model.card(), reference.card.price.unwrap().output), (reference.card, 15));
        let quota = reference.quota.unwrap().name;
        assert!(quota.starts_with("anthropic/") && quota.len() == 18 && !quota.contains("sk-"));
        let (other, _) = registry.open("anthropic/not/known:yet", Path::new(".")).unwrap();
        assert_eq!((other.card.context_tokens, other.card.price), (CONTEXT_TOKENS, None));
        assert!(!format!("{registry:?}").contains("sk-secret"));
    }

    #[test]
    fn without_a_key_the_variable_is_named() {
        let fault = registry(&[]).open("anthropic/claude-x", Path::new(".")).err().unwrap();
        assert_eq!((fault.kind, fault.code.as_str()), (Kind::UserFixable, "key-missing"));
        assert!(fault.what.contains("ANTHROPIC_API_KEY"));
    }

    #[test]
    fn a_mistyped_provider_is_named() {
        let refused = |id: &str| registry(&[]).open(id, Path::new(".")).err().unwrap();
        assert!(refused("antropic/claude-x").hint.starts_with("did you mean `anthropic`? "));
        assert!(refused("anthropic/").hint.contains("anthropic/NAME"));
        assert!(refused("anthropic").what.contains("no model"));
    }

    #[test]
    fn the_fixer_is_free_and_says_so() {
        let (reference, model) = open("builtin/fixer", Path::new(".")).unwrap();
        assert_eq!(reference.id, "builtin/fixer");
        let price = model.card().price.expect("known");
        assert_eq!((price.input, price.output), (0, 0));
    }

    #[test]
    fn a_script_is_found_relative_to_the_project() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("play.toml"), "[[turn]]\ntext = \"hello\"\n").unwrap();
        let (reference, _) = open("builtin/script:play.toml", dir.path()).unwrap();
        assert_eq!(reference.id, "builtin/script:play.toml");
    }

    #[test]
    fn unknown_ids_are_the_persons_to_mend() {
        let typo = refused("builtin/fixr");
        assert_eq!((typo.kind, typo.code.as_str()), (Kind::UserFixable, "model-unknown"));
        assert_eq!(
            typo.to_string(),
            "there is no model `builtin/fixr`\n  hint: did you mean `builtin/fixer`? models: builtin/fixer, builtin/script:<path>"
        );
        assert!(refused("somebody/else").hint.starts_with("models: "));
        assert!(refused("builtin/script").hint.contains("add its path"));
        assert_eq!(refused("builtin/script:/no/such/file.toml").code, "script-unreadable");
    }
}
