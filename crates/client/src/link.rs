//! A conversation with one server: it is greeted, asked what it can do, and asked to do it.
//! Knows both transports and no session. Start at [`Link::open`].

use crate::catalog::{Listed, TOOLS};
use crate::frame::Answer;
use crate::http::Remote;
use crate::process::{Process, refused};
use contract::{Fault, Kind};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Revisions that are spoken, the newest first. All of them have the same four methods that are used here.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// Pages of a list of tools.
const PAGES: usize = 32;

/// How it is reached.
pub(crate) enum Wire {
    Process(Process),
    Remote(Box<Remote>),
}

/// A server that was greeted.
pub(crate) struct Link {
    wire: Wire,
    next: AtomicU64,
}

impl Link {
    /// Greets it. `roots`: it may ask where the work is.
    pub(crate) async fn open(wire: Wire, roots: bool) -> Result<Self, Fault> {
        let link = Self { wire, next: AtomicU64::new(1) };
        let can = if roots { json!({"roots": {}}) } else { json!({}) };
        let who = json!({"name": "kapell", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": VERSIONS[0], "capabilities": can, "clientInfo": who});
        let greeted = link.request("initialize", &params).await?;
        let version = greeted["protocolVersion"].as_str().unwrap_or_default();
        if !VERSIONS.contains(&version) {
            let shown = contract::text::bounded(version, 32);
            let what = format!("the server speaks revision `{shown}`; Kapell speaks {}", VERSIONS.join(", "));
            return Err(Fault::new(Kind::Permanent, "mcp-version", what));
        }
        if let Wire::Remote(remote) = &link.wire {
            remote.agree(version);
        }
        link.tell(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(link)
    }

    /// What it can do.
    pub(crate) async fn list(&self) -> Result<Listed, Fault> {
        let (mut tools, mut cursor) = (Vec::new(), Value::Null);
        for _ in 0..PAGES {
            let params = if cursor.is_null() { json!({}) } else { json!({"cursor": cursor}) };
            let mut page = self.request("tools/list", &params).await?;
            if let Value::Array(more) = page["tools"].take() {
                tools.extend(more);
            }
            cursor = page["nextCursor"].take();
            if !cursor.is_string() || tools.len() > 2 * TOOLS {
                break;
            }
        }
        Ok(Listed::read(&tools))
    }

    /// Has it do something; its result as it came.
    pub(crate) async fn call(&self, tool: &str, args: &Value) -> Result<Value, Fault> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut asks = Asks { link: self, id, over: false };
        let answer = self.ask(id, "tools/call", &json!({"name": tool, "arguments": args})).await;
        asks.over = true;
        answer?.map_err(|refusal| refused(&refusal))
    }

    /// Tells it that nobody waits for this answer any more, as far as that can be told at once.
    fn give_up(&self, id: u64) {
        let params = json!({"requestId": id, "reason": "nobody waits for it any more"});
        let message = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        if let Wire::Process(process) = &self.wire {
            process.tell_at_once(&message);
        }
    }

    /// Why it is over, if it is.
    pub(crate) fn over(&self) -> Option<String> {
        match &self.wire {
            Wire::Process(process) => process.over(),
            Wire::Remote(_) => None,
        }
    }

    /// Is its list of tools another one since this was asked last?
    pub(crate) fn stale(&self) -> bool {
        match &self.wire {
            Wire::Process(process) => process.stale(),
            Wire::Remote(remote) => remote.stale(),
        }
    }

    async fn request(&self, method: &str, params: &Value) -> Result<Value, Fault> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.ask(id, method, params).await?.map_err(|refusal| refused(&refusal))
    }

    async fn ask(&self, id: u64, method: &str, params: &Value) -> Result<Answer, Fault> {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        match &self.wire {
            Wire::Process(process) => process.ask(id, &message).await,
            Wire::Remote(remote) => remote.ask(id, &message).await,
        }
    }

    async fn tell(&self, message: &Value) -> Result<(), Fault> {
        match &self.wire {
            Wire::Process(process) => process.tell(message).await,
            Wire::Remote(remote) => remote.tell(message).await,
        }
    }
}

/// A call under way: dropped before it is over, the server is told.
struct Asks<'a> {
    link: &'a Link,
    id: u64,
    over: bool,
}

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.link.give_up(self.id);
        }
    }
}
