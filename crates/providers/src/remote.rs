//! A model behind a provider's API: its dialect's bytes over the driver, and what its server really holds.
//!
//! Knows no vendor and tries nothing twice. Start at [`Remote`]; [`Line`] is what the models of one provider share.

use crate::dialect::{Options, Server, fault};
use crate::http::Http;
use crate::listing;
use crate::request_tokens;
use crate::settings::{Facts, Provider};
use contract::error::CONTEXT_FULL;
use contract::model::{Broken, Card, Model, Reply, Request, Usage};
use contract::port::Sink;
use contract::{BoxFuture, Cancel, Fault, Kind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a listing may take.
const LIST_WAIT: Duration = Duration::from_secs(10);
/// How long a server on the person's own machines may take to tell about itself.
const LOCAL_WAIT: Duration = Duration::from_secs(2);
/// What Ollama gives a model to hold when nobody says otherwise; it cuts what is longer without a word.
const OLLAMA_TOKENS: u64 = 4096;

/// The connections to one provider, and what it told about its models.
#[derive(Debug)]
pub struct Line {
    /// Whose.
    pub provider: Arc<Provider>,
    http: Http,
    told: Mutex<BTreeMap<String, Facts>>,
    measured: Mutex<BTreeMap<String, u64>>,
}

impl Line {
    /// To this provider. Connects to nothing yet.
    pub fn new(provider: Provider) -> Self {
        let provider = Arc::new(provider);
        Self {
            http: Http::new(Arc::clone(&provider)),
            provider,
            told: Mutex::default(),
            measured: Mutex::default(),
        }
    }

    /// What the dialect needs to know of this model.
    pub fn options(&self, name: &str) -> Options {
        let parameters = self.provider.models.get(name).map(|facts| facts.parameters.clone());
        Options {
            id: format!("{}/{name}", self.provider.name),
            provider: self.provider.name.clone(),
            name: name.to_owned(),
            key_env: self.provider.key_env.clone(),
            server: self.provider.server,
            parameters: parameters.unwrap_or_default(),
        }
    }

    /// Is there what it takes to call it?
    pub fn usable(&self) -> Result<(), Fault> {
        match self.provider.wants_key && self.provider.key.is_none() {
            true => Err(fault::no_key(&self.options(""))),
            false => Ok(()),
        }
    }

    /// The provider's models, as it lists them now: the cheapest call there is, and it says whether the key is good.
    pub async fn list(&self) -> Result<Vec<(String, Facts)>, Fault> {
        self.read(&self.listing().await?)
    }

    /// The models in what [`Self::listing`] gave, now or before.
    pub fn read(&self, listing: &[u8]) -> Result<Vec<(String, Facts)>, Fault> {
        let models = listing::models(listing).ok_or_else(|| {
            let what = format!("{} answered, but with no list of models", self.provider.name);
            Fault::new(Kind::UserFixable, "no-listing", what).hint(format!(
                "is {} the address of its API? set base_url of [providers.{}] in config.toml",
                self.provider.base_url, self.provider.name
            ))
        })?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(models.iter().cloned());
        Ok(models)
    }

    /// The list of models as the provider gives it.
    pub async fn listing(&self) -> Result<Vec<u8>, Fault> {
        self.usable()?;
        let dialect = self.provider.dialect;
        let (path, headers) = dialect.listing();
        let within = if self.provider.server.is_local() { LOCAL_WAIT } else { LIST_WAIT };
        let auth = Some(dialect.codec().auth());
        self.http.get(&self.provider.url(path), auth, headers, &self.options(""), within).await
    }

    /// What a server told of this model before.
    pub fn told(&self, name: &str) -> Option<Facts> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn measured(&self, name: &str) -> Option<u64> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// How much this model holds where it runs, as its server says now; `None` = it does not say. Asked once, and kept
    /// once it is known.
    pub async fn measure(&self, name: &str) -> Result<Option<u64>, Fault> {
        if let Some(known) = self.measured(name) {
            return Ok(Some(known));
        }
        let options = self.options(name);
        let root = |path: &str| self.provider.root_url(path);
        let get = |path: &str| {
            let url = root(path);
            let options = &options;
            async move { self.http.get(&url, None, &[], options, LOCAL_WAIT).await }
        };
        let found = match self.provider.server {
            Server::LlamaCpp => listing::llama_cpp(&get("/props").await?),
            Server::Ollama => match listing::ollama_loaded(&get("/api/ps").await?, name) {
                Some(loaded) => Some(loaded),
                None => {
                    let asked = serde_json::json!({ "model": name }).to_string().into_bytes();
                    let shown = self.http.query(&root("/api/show"), asked, &options, LOCAL_WAIT).await?;
                    listing::ollama_declared(&shown)
                }
            },
            Server::LmStudio => {
                listing::of(&get("/api/v0/models").await?, name).and_then(|facts| facts.context_tokens)
            }
            Server::Vllm => listing::of(&self.listing().await?, name).and_then(|facts| facts.context_tokens),
            _ => None,
        };
        if let Some(tokens) = found {
            self.measured.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), tokens);
        }
        Ok(found)
    }

    /// How much this model holds as far as that is known without asking.
    pub fn assumed(&self, name: &str) -> Option<u64> {
        let declared = self.provider.models.get(name).and_then(|facts| facts.context_tokens);
        let told = self.told(name).and_then(|facts| facts.context_tokens);
        match (declared, told) {
            (Some(declared), Some(told)) => Some(declared.min(told)),
            (one, other) => {
                one.or(other).or((self.provider.server == Server::Ollama).then_some(OLLAMA_TOKENS))
            }
        }
    }
}

/// One model of a provider.
#[derive(Debug, Clone)]
pub struct Remote {
    line: Arc<Line>,
    options: Options,
    card: Card,
}

impl Remote {
    /// The model of this name on the wire, with what is known about it.
    pub fn new(line: Arc<Line>, name: &str, card: Card) -> Self {
        Self { options: line.options(name), line, card }
    }

    /// A local server may hold less than its model could, and some cut what is too long without a word: it is refused here.
    async fn fits(&self, request: &Request) -> Result<(), Fault> {
        if !self.options.server.is_local() {
            return Ok(());
        }
        self.line.measure(&self.options.name).await?;
        let holds = self.line.assumed(&self.options.name).unwrap_or(self.card.context_tokens);
        let wanted = request_tokens(request).saturating_add(request.max_tokens);
        if wanted <= holds {
            return Ok(());
        }
        let what = format!(
            "`{}` holds {holds} tokens where it runs, and this call needs about {wanted}",
            self.options.id
        );
        let hint = match self.options.server {
            Server::Ollama => {
                "start Ollama with a larger OLLAMA_CONTEXT_LENGTH, or set num_ctx in the model's Modelfile"
            }
            Server::LlamaCpp => "start llama-server with a larger --ctx-size",
            _ => "load the model with a larger context",
        };
        Err(Fault::new(Kind::Permanent, CONTEXT_FULL, what).hint(hint))
    }
}

impl Model for Remote {
    fn card(&self) -> Card {
        self.card
    }

    fn respond<'a>(
        &'a self,
        request: Request,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>> {
        Box::pin(async move {
            let free = |fault: Fault| Broken { usage: Some(Usage::default()), ..fault.into() };
            self.line.usable().map_err(free)?;
            self.fits(&request).await.map_err(free)?;
            let codec = self.line.provider.dialect.codec();
            let wire = codec.encode(&request, &self.options);
            let decoder = codec.decoder(&request, &self.options);
            self.line.http.stream(wire, codec.auth(), decoder, &self.options, &cancel, sink).await
        })
    }
}
