//! A model behind a provider's API: its dialect's bytes over the driver, and what its server really holds.
//!
//! Knows no vendor and tries nothing twice. Start at [`Remote`]; [`Line`] is what the models of one provider share.

use crate::dialect::openai_chat::encode::OPTIONAL;
use crate::dialect::{Options, Server, fault};
use crate::http::Http;
use crate::listing;
use crate::settings::{Dialect, Facts, KeyCommand, Keys, Provider};
use crate::{json_bytes, request_tokens, tokens};
use contract::cancel::Urgency;
use contract::error::CONTEXT_FULL;
use contract::model::{Broken, Card, Message, Model, Reply, Request, ToolSpec, Usage};
use contract::port::Sink;
use contract::{BoxFuture, Cancel, Fault, Kind, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a listing may take.
const LIST_WAIT: Duration = Duration::from_secs(10);
/// How long a server on the person's own machines may take to tell about itself.
const LOCAL_WAIT: Duration = Duration::from_secs(2);
/// How long a key that a command printed is used before the command is asked again.
const KEY_KEPT: Duration = Duration::from_secs(300);
/// What Ollama gives a model to hold when nobody says otherwise; it cuts what is longer without a word.
const OLLAMA_TOKENS: u64 = 4096;

/// The connections to one provider, and what it told about its models.
pub struct Line {
    /// Whose.
    pub provider: Arc<Provider>,
    http: Http,
    keys: Keys,
    /// Fields that its server refused.
    without: Mutex<Vec<&'static str>>,
    /// When its command last printed the key; held while it runs, so that it runs once.
    printed: tokio::sync::Mutex<Option<Instant>>,
    /// What its list says.
    told: Mutex<BTreeMap<String, Facts>>,
    /// How much a model holds where it runs.
    measured: Mutex<BTreeMap<String, u64>>,
    /// Models that were loaded to be measured.
    loaded: Mutex<BTreeSet<String>>,
}

impl Line {
    /// To this provider, whose command for a key is run by `keys`. Connects to nothing yet.
    pub fn new(provider: Provider, keys: Keys) -> Self {
        let provider = Arc::new(provider);
        let http = Http::new(Arc::clone(&provider));
        let printed = tokio::sync::Mutex::default();
        let (without, told, measured) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { http, keys, printed, without, provider, told, measured, loaded: Mutex::default() }
    }

    /// Sees to it that a key which a command prints is at hand. It is asked for again after a while, and when the
    /// provider refuses it: such keys are often good for an hour only.
    async fn unlocked(&self) -> Result<(), Fault> {
        let Some(command) = &self.provider.key_command else { return Ok(()) };
        let mut printed = self.printed.lock().await;
        if printed.is_some_and(|at| at.elapsed() < KEY_KEPT) {
            return Ok(());
        }
        self.http.hold(Some((self.keys)(command.clone()).await?));
        *printed = Some(Instant::now());
        Ok(())
    }

    /// What was refused is asked for anew by the next call.
    async fn refused(&self, fault: &Fault) {
        if fault.code == fault::KEY_REFUSED && self.provider.key_command.is_some() {
            *self.printed.lock().await = None;
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
            key_command: self.provider.key_command.as_ref().map_or("", KeyCommand::program).to_owned(),
            server: self.provider.server,
            errors: self.provider.errors.clone(),
            without: lock(&self.without).clone(),
            parameters: parameters.unwrap_or_default(),
        }
    }

    /// Is there what it takes to call it?
    pub fn usable(&self) -> Result<(), Fault> {
        let none = self.provider.key.is_none() && self.provider.key_command.is_none();
        match self.provider.wants_key && none {
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
        lock(&self.told).extend(models.iter().cloned());
        Ok(models)
    }

    /// The same, and whether the key is good also where a list is shown to everybody.
    pub async fn check(&self) -> Result<Vec<(String, Facts)>, Fault> {
        let models = self.list().await?;
        if self.provider.server == Server::OpenRouter {
            let auth = Some(self.provider.dialect.codec().auth());
            self.http.get(&self.provider.url("/key"), auth, &[], &self.options(""), LIST_WAIT).await?;
        }
        Ok(models)
    }

    /// The list of models as the provider gives it.
    pub async fn listing(&self) -> Result<Vec<u8>, Fault> {
        self.usable()?;
        self.unlocked().await?;
        let dialect = self.provider.dialect;
        let (path, headers) = dialect.listing();
        let within = if self.provider.server.is_local() { LOCAL_WAIT } else { LIST_WAIT };
        let auth = Some(dialect.codec().auth());
        let listed = self.http.get(&self.provider.url(path), auth, headers, &self.options(""), within).await;
        if let Err(fault) = &listed {
            self.refused(fault).await;
        }
        listed
    }

    /// A server that refuses a field it could do without is asked again without it, from now on.
    fn learn(&self, options: &Options, fault: &mut Fault) {
        if self.provider.dialect != Dialect::Chat || fault.code != fault::REQUEST_REFUSED {
            return;
        }
        let names = |field: &&&str| !options.without.contains(*field) && fault.what.contains(**field);
        let Some(field) = OPTIONAL.iter().find(names) else { return };
        lock(&self.without).push(field);
        let what = format!("{} does not take `{field}`: {}", self.provider.name, fault.what);
        *fault = Fault::new(Kind::Transient, "field-refused", what).hint("it is asked again without it");
    }

    /// What its list said of this model.
    pub fn told(&self, name: &str) -> Option<Facts> {
        lock(&self.told).get(name).cloned()
    }

    /// Asks how much this model holds where it runs; `None` = its server does not say. Kept once it is known.
    pub async fn measure(&self, name: &str) -> Result<Option<u64>, Fault> {
        let known = lock(&self.measured).get(name).copied();
        if known.is_some() {
            return Ok(known);
        }
        let found = match self.provider.server {
            Server::LlamaCpp => listing::llama_cpp(&self.own("/props").await?),
            Server::Ollama => match listing::ollama_loaded(&self.own("/api/ps").await?, name) {
                Some(loaded) => Some(loaded),
                None => listing::ollama_declared(&self.show(name).await?),
            },
            Server::LmStudio => listing::lm_studio_loaded(&self.own("/api/v0/models").await?, name),
            Server::Vllm => listing::of(&self.listing().await?, name).and_then(|facts| facts.context_tokens),
            _ => None,
        };
        if let Some(tokens) = found {
            lock(&self.measured).insert(name.to_owned(), tokens);
        }
        Ok(found)
    }

    /// Has Ollama load this model, as the call itself would, because it tells only of loaded ones how much they hold.
    async fn load(&self, name: &str) {
        if self.provider.server != Server::Ollama || !lock(&self.loaded).insert(name.to_owned()) {
            return;
        }
        let asked = serde_json::json!({ "model": name, "stream": false }).to_string().into_bytes();
        let (url, within) = (self.provider.root_url("/api/generate"), self.provider.timeouts.first);
        // One that cannot be loaded says why when it is called.
        if self.http.query(&url, asked, &self.options(name), within).await.is_ok() {
            drop(self.measure(name).await);
        }
    }

    /// A document of a server's own, beside its dialect.
    async fn own(&self, path: &str) -> Result<Vec<u8>, Fault> {
        let auth = Some(self.provider.dialect.codec().auth());
        self.http.get(&self.provider.root_url(path), auth, &[], &self.options(""), LOCAL_WAIT).await
    }

    /// What Ollama knows of this model.
    async fn show(&self, name: &str) -> Result<Vec<u8>, Fault> {
        let asked = serde_json::json!({ "model": name }).to_string().into_bytes();
        let url = self.provider.root_url("/api/show");
        self.http.query(&url, asked, &self.options(name), LOCAL_WAIT).await
    }

    /// How much this model holds as far as that is known without asking: what is declared, but no more than was measured.
    pub fn assumed(&self, name: &str) -> Option<u64> {
        let declared = self.provider.models.get(name).and_then(|facts| facts.context_tokens);
        let measured = lock(&self.measured).get(name).copied();
        match (declared, measured) {
            (Some(declared), Some(measured)) => Some(declared.min(measured)),
            (Some(one), None) | (None, Some(one)) => Some(one),
            (None, None) => (self.provider.server == Server::Ollama).then_some(OLLAMA_TOKENS),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("provider", &self.provider).finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
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
        let name = &self.options.name;
        match self.line.measure(name).await {
            Ok(Some(_)) => {}
            Ok(None) => self.line.load(name).await,
            // It has no such document, or keeps it to itself: what is declared, or usual, holds.
            Err(fault) if matches!(fault.kind, Kind::UserFixable | Kind::Permanent) => {}
            Err(fault) => return Err(fault),
        }
        let holds = self.line.assumed(name).unwrap_or(self.card.context_tokens);
        let wanted = wanted(request).saturating_add(request.max_tokens);
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

/// An estimate of all that a server is sent: words, pictures and tools.
fn wanted(request: &Request) -> u64 {
    let bytes = |tool: &ToolSpec| tool.name.len() + tool.description.len() + json_bytes(&tool.schema);
    let pictures = request.messages.iter().map(|message| match message {
        Message::Tool { images, .. } => images.len() as u64,
        _ => 0,
    });
    request_tokens(request)
        .saturating_add(tokens(request.tools.iter().map(bytes).sum()))
        .saturating_add(pictures.sum::<u64>().saturating_mul(limits::PICTURE_TOKENS))
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
            tokio::select! {
                biased;
                () = cancel.reached(Urgency::Graceful) => {
                    let fault = Fault::new(Kind::Transient, "cancelled", "the model call was cancelled");
                    return Err(free(fault));
                }
                ready = async {
                    self.line.unlocked().await?;
                    self.fits(&request).await
                } => ready.map_err(free)?,
            }
            let codec = self.line.provider.dialect.codec();
            let options = Options { without: lock(&self.line.without).clone(), ..self.options.clone() };
            let wire = codec.encode(&request, &options);
            let decoder = codec.decoder(&request, &options);
            let line = &self.line;
            let mut done = line.http.stream(wire, codec.auth(), decoder, &options, &cancel, sink).await;
            if let Err(broken) = &mut done {
                line.refused(&broken.fault).await;
                line.learn(&options, &mut broken.fault);
            }
            done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use crate::settings::{Declared, Settings};
    use contract::model::{Image, Models};
    use contract::port::Quiet;
    use std::path::Path;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A local server with these documents; everything else is not found.
    async fn server(documents: &'static [(&'static str, &'static str)]) -> String {
        server_that_loads(documents, documents).await
    }

    /// The same, whose documents are others once a model was loaded.
    async fn server_that_loads(
        mut documents: &'static [(&'static str, &'static str)],
        then: &'static [(&'static str, &'static str)],
    ) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut piece = [0; 4096];
                let read = socket.read(&mut piece).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&piece[..read]).into_owned();
                if request.starts_with("POST /api/generate ") {
                    documents = then;
                }
                let found = documents.iter().find(|(line, _)| request.starts_with(&format!("{line} HTTP")));
                let (status, body) = found.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", *body));
                let head =
                    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
                let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                drop(socket.write_all(answer.as_bytes()).await);
            }
        });
        url
    }

    fn registry(provider: &str, url: String, declared: Option<u64>) -> Registry {
        let facts = Facts { context_tokens: declared, ..Facts::default() };
        let models = BTreeMap::from([("m".to_owned(), facts)]);
        let own = Declared { base_url: Some(url), models, ..Declared::default() };
        let settings = Settings::new(BTreeMap::from([(provider.to_owned(), own)]), |_| None).unwrap();
        Registry::new(settings, Box::new(|_, _, _| None))
    }

    async fn context(provider: &str, url: String, declared: Option<u64>) -> u64 {
        let (registry, id) = (registry(provider, url, declared), format!("{provider}/m"));
        registry.look(&id).await;
        registry.open(&id, Path::new(".")).unwrap().0.card.context_tokens
    }

    #[tokio::test]
    async fn a_local_model_is_opened_with_what_it_holds_there() {
        for (provider, documents, declared, holds) in [
            (
                "llamacpp",
                &[("GET /props", r#"{"default_generation_settings":{"n_ctx":4096}}"#)][..],
                None,
                4096,
            ),
            (
                "llamacpp",
                &[("GET /props", r#"{"default_generation_settings":{"n_ctx":4096}}"#)],
                Some(32_768),
                4096,
            ),
            (
                "llamacpp",
                &[("GET /props", r#"{"default_generation_settings":{"n_ctx":4096}}"#)],
                Some(2048),
                2048,
            ),
            (
                "ollama",
                &[("GET /api/ps", r#"{"models":[{"model":"m:latest","context_length":16384}]}"#)],
                None,
                16_384,
            ),
            (
                "ollama",
                &[
                    ("GET /api/ps", r#"{"models":[]}"#),
                    ("POST /api/show", r#"{"parameters":"num_ctx 6000"}"#),
                ],
                None,
                6000,
            ),
            ("ollama", &[("GET /api/ps", r#"{"models":[]}"#), ("POST /api/show", "{}")], None, OLLAMA_TOKENS),
            (
                "ollama",
                &[("GET /api/ps", r#"{"models":[]}"#), ("POST /api/show", "{}")],
                Some(32_768),
                32_768,
            ),
            ("vllm", &[("GET /v1/models", r#"{"data":[{"id":"m","max_model_len":9000}]}"#)], None, 9000),
            (
                "lmstudio",
                &[(
                    "GET /api/v0/models",
                    r#"{"data":[{"id":"m","max_context_length":131072,"loaded_context_length":5000}]}"#,
                )],
                None,
                5000,
            ),
            (
                "lmstudio",
                &[("GET /api/v0/models", r#"{"data":[{"id":"m","max_context_length":131072}]}"#)],
                None,
                8192,
            ),
            ("llamacpp", &[], None, 8192),
        ] {
            let url = server(documents).await;
            assert_eq!(
                context(provider, url, declared).await,
                holds,
                "{provider} {documents:?} {declared:?}"
            );
        }
    }

    fn asked(bytes: usize) -> Request {
        Request {
            model: "ollama/m".into(),
            system: String::new(),
            messages: vec![Message::User { text: "x".repeat(bytes) }],
            tools: Vec::new(),
            max_tokens: 100,
            ordinal: 0,
            key: String::new(),
        }
    }

    #[tokio::test]
    async fn what_would_be_cut_without_a_word_is_refused() {
        let url = server(&[("GET /api/ps", r#"{"models":[{"model":"m","context_length":1000}]}"#)]).await;
        let (_, model) = registry("ollama", url, Some(32_768)).open("ollama/m", Path::new(".")).unwrap();
        let request = asked;
        let broken = model.respond(request(4_000), Cancel::new(), &Quiet).await.unwrap_err();
        assert_eq!((broken.fault.code.as_str(), broken.usage), (CONTEXT_FULL, Some(Usage::default())));
        assert!(
            broken.fault.what.contains("holds 1000 tokens")
                && broken.fault.hint.contains("OLLAMA_CONTEXT_LENGTH")
        );
        // What fits is sent, to a server that has no such path.
        let broken = model.respond(request(100), Cancel::new(), &Quiet).await.unwrap_err();
        assert_eq!(broken.fault.code, "model-unknown");
        // Tools and pictures are sent too.
        let schema = serde_json::json!({ "description": "x".repeat(4_000) });
        let tool = ToolSpec { name: "t".into(), description: String::new(), schema };
        let image = Image { media_type: "image/png".into(), bytes: vec![1] };
        let shown = Message::Tool { call: "c".into(), ok: true, text: String::new(), images: vec![image] };
        for heavy in
            [Request { tools: vec![tool], ..request(100) }, Request { messages: vec![shown], ..request(0) }]
        {
            let broken = model.respond(heavy, Cancel::new(), &Quiet).await.unwrap_err();
            assert_eq!(broken.fault.code, CONTEXT_FULL);
        }
    }

    #[tokio::test]
    async fn what_is_not_loaded_yet_is_loaded_and_measured_before_its_first_call() {
        let url = server_that_loads(
            &[("GET /api/ps", r#"{"models":[]}"#), ("POST /api/show", "{}")],
            &[
                ("POST /api/generate", r#"{"done":true}"#),
                ("GET /api/ps", r#"{"models":[{"model":"m:latest","context_length":4096}]}"#),
            ],
        )
        .await;
        let (_, model) = registry("ollama", url, Some(32_768)).open("ollama/m", Path::new(".")).unwrap();
        let broken = model.respond(asked(20_000), Cancel::new(), &Quiet).await.unwrap_err();
        assert_eq!(broken.fault.code, CONTEXT_FULL, "{}", broken.fault);
        assert!(broken.fault.what.contains("holds 4096 tokens"), "{}", broken.fault);
    }

    #[tokio::test]
    async fn a_server_that_does_not_tell_what_it_holds_is_asked_all_the_same_and_one_that_hangs_can_be_left()
    {
        for provider in ["llamacpp", "lmstudio"] {
            let url = server(&[("POST /v1/chat/completions", "{}")]).await;
            let id = format!("{provider}/m");
            let (_, model) = registry(provider, url, Some(8_000)).open(&id, Path::new(".")).unwrap();
            let broken = model.respond(asked(100), Cancel::new(), &Quiet).await.unwrap_err();
            assert_eq!(broken.fault.code, "not-a-stream", "the call itself was made: {}", broken.fault);
        }
        // It takes connections and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", silent.local_addr().unwrap());
        let (_, model) = registry("llamacpp", url, None).open("llamacpp/m", Path::new(".")).unwrap();
        let cancel = Cancel::new();
        let leave = async {
            let held = silent.accept().await;
            cancel.cancel(Urgency::Graceful);
            held
        };
        let (done, _held) = tokio::join!(model.respond(asked(100), cancel.clone(), &Quiet), leave);
        let broken = done.unwrap_err();
        assert_eq!((broken.fault.code.as_str(), broken.usage), ("cancelled", Some(Usage::default())));
    }

    #[tokio::test]
    async fn what_nobody_here_knows_is_looked_up_where_the_vendor_tells_it() {
        const LIST: &str = r#"{"data":[{"id":"a/b:free","context_length":65536,"pricing":{"prompt":"0.000001","completion":"0.000002"}}]}"#;
        let url = server(&[("GET /v1/models", LIST)]).await;
        let own = Declared { base_url: Some(url), ..Declared::default() };
        let env = |name: &str| (name == "OPENROUTER_API_KEY").then(|| "k".to_owned());
        let settings = Settings::new(BTreeMap::from([("openrouter".to_owned(), own)]), env).unwrap();
        let registry = Registry::new(settings, Box::new(|_, _, _| None));
        let card = || registry.open("openrouter/a/b:free", Path::new(".")).unwrap().0.card;
        assert_eq!(card().price, None);
        registry.look("openrouter/a/b:free").await;
        let price = card().price.unwrap();
        assert_eq!(
            (card().context_tokens, price.input, price.output),
            (65_536, 1_000_000_000, 2_000_000_000)
        );
    }

    /// A server of chat that knows no `stream_options`; how it was asked, with and without.
    async fn strict() -> (String, Arc<Mutex<Vec<bool>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, asked) = (format!("http://{}/v1", listener.local_addr().unwrap()), Arc::default());
        let seen: Arc<Mutex<Vec<bool>>> = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (mut text, mut piece) = (String::new(), [0; 4096]);
                while !text.ends_with('}') {
                    let read = socket.read(&mut piece).await.unwrap_or(0);
                    text.push_str(&String::from_utf8_lossy(&piece[..read]));
                }
                let with = text.contains("stream_options");
                seen.lock().unwrap().push(with);
                let (status, kind, body) = match with {
                    true => (
                        "400 Bad Request",
                        "application/json",
                        r#"{"error":{"message":"Extra inputs are not permitted: stream_options"}}"#,
                    ),
                    false => (
                        "200 OK",
                        "text/event-stream",
                        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
                    ),
                };
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n");
                let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                drop(socket.write_all(answer.as_bytes()).await);
            }
        });
        (url, asked)
    }

    #[tokio::test]
    async fn a_field_that_a_server_refuses_is_left_out_from_then_on() {
        let (url, asked) = strict().await;
        let own = Declared {
            base_url: Some(url),
            dialect: Some(Dialect::Chat),
            server: None,
            ..Declared::default()
        };
        let settings = Settings::new(BTreeMap::from([("strict".to_owned(), own)]), |_| None).unwrap();
        let registry = Registry::new(settings, Box::new(|_, _, _| None));
        let (_, model) = registry.open("strict/m", Path::new(".")).unwrap();
        let request = || Request {
            model: "strict/m".into(),
            system: String::new(),
            messages: vec![Message::User { text: "go".into() }],
            tools: Vec::new(),
            max_tokens: 100,
            ordinal: 0,
            key: String::new(),
        };
        let broken = model.respond(request(), Cancel::new(), &Quiet).await.unwrap_err();
        assert_eq!((broken.fault.kind, broken.fault.code.as_str()), (Kind::Transient, "field-refused"));
        assert_eq!(broken.usage, Some(Usage::default()));
        for _ in 0..2 {
            assert_eq!(model.respond(request(), Cancel::new(), &Quiet).await.unwrap().text, "hi");
        }
        assert_eq!(*asked.lock().unwrap(), [true, false, false]);
    }

    #[tokio::test]
    async fn a_list_that_everybody_sees_says_nothing_of_a_key() {
        let own = |url| Declared { base_url: Some(url), ..Declared::default() };
        let env = |name: &str| (name == "OPENROUTER_API_KEY").then(|| "a-key-of-tests".to_owned());
        let listed = ("GET /v1/models", r#"{"data":[{"id":"a/b"}]}"#);
        for (documents, good) in [
            (Box::leak(Box::new([listed, ("GET /v1/key", r#"{"data":{}}"#)])) as &'static [_], true),
            (Box::leak(Box::new([listed])) as &'static [_], false),
        ] {
            let declared = BTreeMap::from([("openrouter".to_owned(), own(server(documents).await))]);
            let registry = Registry::new(Settings::new(declared, env).unwrap(), Box::new(|_, _, _| None));
            let line = &registry.lines()["openrouter"];
            assert!(line.list().await.is_ok());
            assert_eq!(line.check().await.is_ok(), good);
        }
    }

    #[tokio::test]
    async fn no_server_no_list() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        drop(listener);
        let registry = registry("ollama", url, None);
        let fault = registry.lines()["ollama"].list().await.unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("connection-refused", Kind::Transient));
        assert!(fault.hint.starts_with("start the server"), "{fault}");
        let wrong = registry_of_page().await;
        assert_eq!(wrong.lines()["vllm"].list().await.unwrap_err().code, "no-listing");
    }

    async fn registry_of_page() -> Registry {
        registry("vllm", server(&[("GET /v1/models", "<html>")]).await, None)
    }
}
