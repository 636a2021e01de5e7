//! What our model layer (driver and codec) adds to a call, beside a bare client of the same HTTP crate in the same run.
//!
//! Both send the same bytes to the same server, which is a process of its own and answers from memory; the bare client
//! reads the answer to its end and understands nothing of it. In turns, so that a busy machine is busy for both.
//! Start at [`run`].

mod lanes;
mod server;
mod sockets;

pub(crate) use server::serve;

use crate::measure::{Spread, ms};
use crate::{own, stats};
use anyhow::{Context, Result, ensure};
use contract::model::{Message, Model, Models, Request, ToolSpec, ToolUse};
use contract::port::Sink;
use contract::{Cancel, Fault, port::Delta};
use fake::Dialect;
use providers::Registry;
use providers::dialect::{
    Codec, Options, anthropic::Anthropic, gemini::Gemini, openai_chat::Chat, openai_responses::Responses,
};
use providers::settings::{self, Declared, Settings};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Calls at once.
const LEVELS: [usize; 3] = [1, 16, 64];
/// Name of the model, which the server does not look at.
const NAME: &str = "model";

/// Both ways to ask, with all they need.
struct Rig {
    model: Arc<dyn Model>,
    request: Request,
    client: reqwest::Client,
    url: String,
    body: Vec<u8>,
}

/// Deltas are somebody else's: they are made and dropped.
struct Nobody;

impl Sink for Nobody {
    fn delta(&self, delta: Delta) {
        drop(delta);
    }
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let server = own::server(&["models-server"])?;
    let base = format!("http://127.0.0.1:{}", server.port());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (rounds, calls) = if quick { (1, 64) } else { (5, 512) };
    println!(
        "{:10} {:9} at once | bare p50  p99 ms      rps | ours p50  p99 ms      rps | added p50  p99 ms   of the bare rps",
        "dialect", "answer"
    );
    for dialect in fake::dialect::ALL {
        for shape in server::SHAPES {
            let rig = Arc::new(runtime.block_on(Rig::new(dialect, shape, &base))?);
            for level in LEVELS {
                row(&runtime, &rig, &format!("{:10} {shape:9}", short(dialect)), level, rounds, calls)?;
            }
        }
    }
    let (sockets, without_delay) = sockets::to(server.port())?;
    println!("TCP_NODELAY: on {without_delay} of {sockets} sockets open to the server");
    ensure!(sockets > 0 && sockets == without_delay, "a socket waits for more to send");
    Ok(())
}

/// Rounds of both in turn; the first of each is only for warmth.
fn row(
    runtime: &tokio::runtime::Runtime,
    rig: &Arc<Rig>,
    title: &str,
    level: usize,
    rounds: usize,
    calls: usize,
) -> Result<()> {
    let (mut bare, mut ours) = (Side::default(), Side::default());
    for round in 0..=rounds {
        // One at a time takes longest and says the most with the fewest.
        let calls = if level == 1 { calls / 2 } else { calls };
        let one = runtime.block_on(lanes::drive(level, calls, rig, |rig| async move { rig.bare().await }))?;
        let other =
            runtime.block_on(lanes::drive(level, calls, rig, |rig| async move { rig.ours().await }))?;
        if round > 0 {
            bare.add(one);
            ours.add(other);
        }
    }
    let shares: Vec<f64> =
        ours.rates.iter().zip(&bare.rates).map(|(ours, bare)| ours / bare * 100.0).collect();
    let [bare50, bare99] = [50, 99].map(|p| bare.percentile(p));
    let [ours50, ours99] = [50, 99].map(|p| ours.percentile(p));
    println!(
        "{title} {level:7} | {bare50:8.3} {bare99:7.3} {:8.0} | {ours50:8.3} {ours99:7.3} {:8.0} | {:9.3} {:7.3} {:8.0} %",
        Spread::of(&bare.rates).median,
        Spread::of(&ours.rates).median,
        ours50 - bare50,
        ours99 - bare99,
        Spread::of(&shares).median
    );
    Ok(())
}

/// What one way came to.
#[derive(Default)]
struct Side {
    times: Vec<Duration>,
    rates: Vec<f64>,
}

impl Side {
    fn add(&mut self, round: lanes::Round) {
        self.rates.push(round.times.len() as f64 / round.wall.as_secs_f64());
        self.times.extend(round.times);
    }

    fn percentile(&mut self, p: usize) -> f64 {
        ms(stats::percentile(&mut self.times, p))
    }
}

fn short(dialect: Dialect) -> &'static str {
    dialect.name().trim_start_matches("openai-")
}

impl Rig {
    /// With both ways tried: each gets the answer that is meant.
    async fn new(spoken: Dialect, shape: &str, base: &str) -> Result<Self> {
        let fault = |fault: Fault| anyhow::anyhow!("{fault}");
        let declared = Declared {
            dialect: settings::Dialect::named(spoken.name()),
            base_url: Some(format!("{base}/{shape}")),
            ..Declared::default()
        };
        let settings =
            Settings::new(BTreeMap::from([("bench".to_owned(), declared)]), |_| None).map_err(fault)?;
        let provider = settings.providers.get("bench").context("the provider is declared")?.clone();
        let registry = Registry::new(settings, Box::new(|_, _, _| None));
        let id = format!("bench/{NAME}");
        let (_, model) = registry.open(&id, Path::new(".")).map_err(fault)?;
        let request = conversation(&id);
        let options = Options { id, provider: "bench".into(), name: NAME.into(), ..Options::default() };
        let wire = codec(spoken).encode(&request, &options);

        // First ours: the driver is who chooses the cryptography that a client cannot be built without.
        let reply = model.respond(request.clone(), Cancel::new(), &Nobody).await;
        let reply = reply.map_err(|broken| fault(broken.fault))?;
        ensure!(
            reply.text == server::text(shape) && reply.calls.len() == 1,
            "the reply is not what was said"
        );
        let client = reqwest::Client::builder()
            .http1_only()
            .tcp_nodelay(true)
            .no_proxy()
            .tls_certs_only([])
            .build()?;
        let rig = Self { model, request, client, url: provider.url(&wire.path), body: wire.body };
        ensure!(rig.bare().await? > reply.text.len(), "the bare client got something else");
        Ok(rig)
    }

    async fn ours(&self) -> Result<usize> {
        let reply = self.model.respond(self.request.clone(), Cancel::new(), &Nobody).await;
        Ok(reply.map_err(|broken| anyhow::anyhow!("{}", broken.fault))?.text.len())
    }

    /// Bytes of the answer.
    async fn bare(&self) -> Result<usize> {
        let request = self.client.post(&self.url).header("content-type", "application/json");
        let mut response = request.body(self.body.clone()).send().await?.error_for_status()?;
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await? {
            bytes += chunk.len();
        }
        Ok(bytes)
    }
}

fn codec(dialect: Dialect) -> &'static dyn Codec {
    match dialect {
        Dialect::Anthropic => &Anthropic,
        Dialect::Chat => &Chat,
        Dialect::Responses => &Responses,
        Dialect::Gemini => &Gemini,
    }
}

/// A conversation in the middle of some work: about 20 KB in every dialect.
fn conversation(id: &str) -> Request {
    let line = "pub fn largest(list: &[u32]) -> Option<u32> { list.iter().copied().max() }\n";
    let mut messages = vec![Message::User { text: "make the tests pass".into() }];
    for nth in 0..8 {
        let call = format!("call_{nth}");
        let args = json!({"path": format!("src/file_{nth}.rs")});
        let call_use = ToolUse { id: call.as_str().into(), tool: "read".into(), args };
        messages.push(Message::said("I read the next file.", vec![call_use]));
        messages.push(Message::result(call.as_str(), true, line.repeat(25)));
    }
    let tools = ["read", "write", "edit", "list", "search", "shell"].map(|name| ToolSpec {
        name: name.into(),
        description: "Does what its name says, in the workspace.".into(),
        schema: json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}),
    });
    Request {
        model: id.to_owned(),
        system: "You work on a repository. ".repeat(80),
        messages,
        tools: tools.into(),
        max_tokens: 4096,
        ordinal: 8,
        key: "bench".into(),
    }
}
