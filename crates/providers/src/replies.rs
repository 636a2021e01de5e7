//! Replies kept on disk, so that the same question is not paid for twice: off unless a person asks for it.
//!
//! Knows requests and files, no provider. A damaged, old or unreadable entry is no entry. Start at [`Replies`].

use contract::model::{
    Broken, CACHED, Card, Meter, Model, ModelRef, Models, Private, Reply, Request, Stop, ToolUse, Usage,
};
use contract::port::{Delta, Sink};
use contract::{BoxFuture, Cancel, Digest, Fault};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long an entry is good for.
const KEEP: Duration = Duration::from_secs(24 * 3600);
/// Bytes of all entries; beyond it those go that were not used for longest.
const BYTES: u64 = 256 * 1024 * 1024;
/// First word of an entry; another one is another format.
const FORMAT: &str = "kapell-reply-1";
/// Models of Kapell's own answer by where they are, not by what they are asked.
const OWN: &str = "builtin/";

/// What else decides about a provider's replies (its address, its parameters), by the provider's name.
pub type Settings = Box<dyn Fn(&str) -> String + Send + Sync>;

/// Models whose replies are kept in a directory.
pub struct Replies {
    models: Arc<dyn Models>,
    shelf: Arc<Shelf>,
    settings: Settings,
}

impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replies").field("dir", &self.shelf.dir).finish_non_exhaustive()
    }
}

impl Replies {
    /// These models, with a shelf in this directory.
    pub fn new(models: Arc<dyn Models>, dir: PathBuf, settings: Settings) -> Self {
        Self { models, shelf: Arc::new(Shelf { dir, keep: KEEP, bytes: BYTES }), settings }
    }
}

impl Models for Replies {
    fn open(&self, id: &str, project: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
        let (reference, model) = self.models.open(id, project)?;
        if id.starts_with(OWN) {
            return Ok((reference, model));
        }
        let provider = id.split_once('/').map_or(id, |(provider, _)| provider);
        let settings = (self.settings)(provider);
        Ok((reference, Arc::new(Kept { model, shelf: Arc::clone(&self.shelf), settings })))
    }

    fn count(&self, id: &str, text: &str) -> Option<u64> {
        self.models.count(id, text)
    }
}

/// A model whose replies are kept.
struct Kept {
    model: Arc<dyn Model>,
    shelf: Arc<Shelf>,
    settings: String,
}

impl Model for Kept {
    fn card(&self) -> Card {
        self.model.card()
    }

    fn respond<'a>(
        &'a self,
        request: Request,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>> {
        Box::pin(async move {
            let key = key(&request, &self.settings);
            if let Some(reply) = self.shelf.get(key) {
                sink.delta(Delta::Text(reply.text.clone()));
                return Ok(reply);
            }
            let reply = self.model.respond(request, cancel, sink).await?;
            // A refusal may be another answer next time, and a reply that was cut is none.
            if !matches!(reply.stop, Stop::Refusal | Stop::MaxTokens) {
                self.shelf.put(key, &reply);
            }
            Ok(reply)
        })
    }
}

/// Everything that decides about the answer, and nothing else: not who asks, nor when.
fn key(request: &Request, settings: &str) -> Digest {
    let mut bytes = Vec::new();
    for part in [&*request.model, settings, &*request.system] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(&request.max_tokens.to_le_bytes());
    request.tools.iter().for_each(|tool| tool.canonical(&mut bytes));
    request.messages.iter().for_each(|message| message.canonical(&mut bytes));
    Digest::of(&bytes)
}

/// What is kept of a reply.
#[derive(Serialize, Deserialize)]
struct Entry {
    text: String,
    calls: Vec<(String, String, Value)>,
    stop: Stop,
    private: Option<Private>,
}

/// The directory.
struct Shelf {
    dir: PathBuf,
    keep: Duration,
    bytes: u64,
}

impl Shelf {
    fn path(&self, key: Digest) -> PathBuf {
        self.dir.join(key.to_string())
    }

    fn get(&self, key: Digest) -> Option<Reply> {
        let path = self.path(key);
        let file = fs::File::open(&path).ok()?;
        let age = file.metadata().ok()?.created().or_else(|_| file.metadata()?.modified()).ok()?;
        if SystemTime::now().duration_since(age).unwrap_or_default() > self.keep {
            drop(fs::remove_file(&path));
            return None;
        }
        let text = fs::read_to_string(&path).ok()?;
        let (head, body) = text.split_once('\n')?;
        if head != seal(key, body) {
            // Damaged, or of another format: it is in nobody's way any more.
            drop(fs::remove_file(&path));
            return None;
        }
        let Entry { text, calls, stop, private } = serde_json::from_str(body).ok()?;
        // Who was used last goes last.
        drop(file.set_modified(SystemTime::now()));
        let calls = calls.into_iter().map(|(id, tool, args)| ToolUse { id, tool, args }).collect();
        let request_id = format!("{CACHED}{}", key.short());
        let (usage, meter) = (Usage::default(), Meter::default());
        Some(Reply { text, calls, stop, usage, private, request_id, meter })
    }

    /// A cache: what cannot be written is asked again.
    fn put(&self, key: Digest, reply: &Reply) {
        let calls = reply.calls.iter().map(|call| (call.id.clone(), call.tool.clone(), call.args.clone()));
        let entry = Entry {
            text: reply.text.clone(),
            calls: calls.collect(),
            stop: reply.stop,
            private: reply.private.clone(),
        };
        let Ok(body) = serde_json::to_string(&entry) else { return };
        let text = format!("{}\n{body}", seal(key, &body));
        if text.len() as u64 > self.bytes || fs::create_dir_all(&self.dir).is_err() {
            return;
        }
        self.make_room(text.len() as u64);
        let aside = self.dir.join(format!(".{key}.{}", std::process::id()));
        if fs::write(&aside, text).and_then(|()| fs::rename(&aside, self.path(key))).is_err() {
            drop(fs::remove_file(&aside));
        }
    }

    fn make_room(&self, bytes: u64) {
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = files
            .filter_map(|file| {
                let about = file.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), file.path()))
            })
            .collect();
        files.sort();
        let mut sum: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if sum.saturating_add(bytes) <= self.bytes {
                break;
            }
            drop(fs::remove_file(path));
            sum -= size;
        }
    }
}

/// The first line of an entry: its format and a hash over its key and its body.
fn seal(key: Digest, body: &str) -> String {
    format!("{FORMAT} {}", Digest::chain(&key, body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::model::{Message, ToolSpec};
    use contract::port::Quiet;
    use serde_json::json;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Answers with the number of the question.
    struct Counting(AtomicU32);

    impl Model for Counting {
        fn card(&self) -> Card {
            Card { context_tokens: 10, output_tokens: 5, price: None }
        }
        fn respond<'a>(
            &'a self,
            request: Request,
            _: Cancel,
            _: &'a dyn Sink,
        ) -> BoxFuture<'a, Result<Reply, Broken>> {
            Box::pin(async move {
                let n = self.0.fetch_add(1, Ordering::SeqCst);
                let stop = if request.system == "refuse" { Stop::Refusal } else { Stop::ToolUse };
                let call = ToolUse { id: "c".into(), tool: "read".into(), args: json!({"n": n}) };
                let usage = Usage { input: 7, output: 3, ..Usage::default() };
                Ok(Reply::plain(format!("answer {n}"), vec![call], stop, usage))
            })
        }
    }

    struct One(Arc<Counting>);
    impl Models for One {
        fn open(&self, id: &str, _: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
            let model: Arc<dyn Model> = Arc::<Counting>::clone(&self.0);
            Ok((ModelRef { id: id.into(), card: model.card(), quota: None }, model))
        }
        fn count(&self, _: &str, text: &str) -> Option<u64> {
            Some(text.len() as u64)
        }
    }

    fn request() -> Request {
        Request {
            model: "a/b".into(),
            system: "be good".into(),
            messages: vec![Message::User { text: "hello".into() }],
            tools: vec![ToolSpec { name: "read".into(), description: String::new(), schema: json!({}) }],
            max_tokens: 5,
            ordinal: 0,
            key: "k".into(),
        }
    }

    fn open(dir: &Path, id: &str, settings: &'static str) -> Arc<dyn Model> {
        let counting = Arc::new(Counting(AtomicU32::new(0)));
        let models = Replies::new(
            Arc::new(One(counting)),
            dir.to_path_buf(),
            Box::new(move |_: &str| settings.to_owned()),
        );
        models.open(id, dir).unwrap().1
    }

    async fn ask(model: &dyn Model, request: Request) -> Reply {
        model.respond(request, Cancel::new(), &Quiet).await.unwrap()
    }

    #[tokio::test]
    async fn the_same_question_is_answered_from_disk_for_nothing_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let model = open(dir.path(), "a/b", "");
        let first = ask(&*model, request()).await;
        assert_eq!((first.usage.input, first.request_id.as_str()), (7, ""));
        let again = ask(&*model, Request { ordinal: 9, key: "other".into(), ..request() }).await;
        assert_eq!((&again.text, &again.calls, again.stop), (&first.text, &first.calls, first.stop));
        assert_eq!(again.usage, Usage::default());
        assert!(again.request_id.starts_with("cache:"), "{}", again.request_id);
        let models = Replies::new(
            Arc::new(One(Arc::new(Counting(AtomicU32::new(0))))),
            PathBuf::new(),
            Box::new(|_: &str| String::new()),
        );
        assert_eq!(models.count("a/b", "four"), Some(4), "whoever counts is still asked");
        // Another process finds it too.
        assert_eq!(ask(&*open(dir.path(), "a/b", ""), request()).await.text, "answer 0");
    }

    #[tokio::test]
    async fn whatever_decides_about_the_answer_is_another_question() {
        let dir = tempfile::tempdir().unwrap();
        let model = open(dir.path(), "a/b", "");
        ask(&*model, request()).await;
        let tool = |name: &str| ToolSpec { name: name.into(), description: String::new(), schema: json!({}) };
        let changes: [Request; 5] = [
            Request { model: "a/c".into(), ..request() },
            Request { system: "be better".into(), ..request() },
            Request { max_tokens: 6, ..request() },
            Request { tools: vec![tool("write")], ..request() },
            Request { messages: vec![Message::User { text: "hello!".into() }], ..request() },
        ];
        for (n, changed) in (1..).zip(changes) {
            assert_eq!(ask(&*model, changed).await.text, format!("answer {n}"));
        }
        assert!(ask(&*open(dir.path(), "a/b", "temperature"), request()).await.request_id.is_empty());
        let own = open(dir.path(), "builtin/script:x", "");
        assert_eq!(
            (ask(&*own, request()).await.text, ask(&*own, request()).await.text),
            ("answer 0".into(), "answer 1".into())
        );
        let refused = Request { system: "refuse".into(), ..request() };
        assert_ne!(ask(&*model, refused.clone()).await.text, ask(&*model, refused).await.text);
    }

    #[tokio::test]
    async fn a_damaged_or_old_entry_is_none_and_the_shelf_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = |keep, bytes| Shelf { dir: dir.path().to_path_buf(), keep, bytes };
        let all = shelf(KEEP, BYTES);
        let reply = Reply::plain("x".repeat(100), Vec::new(), Stop::EndTurn, Usage::default());
        let keys: Vec<Digest> = (0..4u8).map(|n| Digest::of(&[n])).collect();
        all.put(keys[0], &reply);
        assert!(all.get(keys[0]).is_some());
        assert!(all.get(keys[1]).is_none());
        fs::copy(all.path(keys[0]), all.path(keys[1])).unwrap();
        assert!(all.get(keys[1]).is_none(), "another's answer");
        let text = fs::read_to_string(all.path(keys[0])).unwrap();
        fs::write(all.path(keys[0]), text.replace("xx", "xy")).unwrap();
        assert!(all.get(keys[0]).is_none(), "damaged");
        assert!(!all.path(keys[0]).exists());

        let small = shelf(KEEP, 600);
        let at = |key: Digest, secs: u64| {
            let file = fs::File::options().write(true).open(small.path(key)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)).unwrap();
        };
        small.put(keys[0], &reply);
        at(keys[0], 2);
        small.put(keys[1], &reply);
        at(keys[1], 1);
        small.put(keys[2], &reply);
        assert!(!small.path(keys[1]).exists(), "not used for longest");
        assert!(small.path(keys[2]).exists());
        assert!(shelf(Duration::ZERO, BYTES).get(keys[2]).is_none(), "old");
    }
}
