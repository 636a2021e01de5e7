//! The hub over a store in memory: nothing lost, nothing twice, whoever wrote it and whenever somebody came.

use super::events::Follow;
use super::hub::Hub;
use super::source::Source;
use super::stream::{Cursor, Feed};
use crate::About;
use contract::event::{Event, Final};
use contract::journal::{Append, Batch, Journal, Lease};
use contract::model::{Card, ModelRef};
use contract::session::{Ask, Limits, Parent, Rights, SessionSpec};
use contract::{ActionId, Amount, BoxFuture, Digest, Fault, Seq, SessionId, StreamId, Timestamp, record};
use journal::Memory;
use kernel::Session;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A machine that is busy may take this long.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    store: Memory,
    /// How often a session was read whole.
    looked: AtomicU64,
}

impl Source for World {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.store.clone())
    }

    fn look(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, Fault>> {
        self.looked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mut session = Session::new(id);
            for stored in
                self.store.read(StreamId::Session(id), 0, usize::MAX).await.map_err(|e| e.fault())?
            {
                let record = record::decode::<Event>(&stored.bytes).unwrap();
                session.apply(record.at, &record.event).unwrap();
            }
            Ok((session.seq > 0).then_some(session))
        })
    }

    fn held(&self, _: SessionId) -> bool {
        true
    }

    fn headline(&self, _: Digest) -> BoxFuture<'_, String> {
        Box::pin(async { "mend it".to_owned() })
    }

    fn asked<'a>(&'a self, state: &'a Session) -> BoxFuture<'a, Vec<Value>> {
        let asked = state.pause.iter().map(|pause| json!({"session_id": state.id, "what": pause.what}));
        let asked = asked.collect();
        Box::pin(async move { asked })
    }

    fn now(&self) -> Timestamp {
        Timestamp(5_000)
    }
}

fn id(n: u128) -> SessionId {
    SessionId::v7(1_000, n)
}

fn opened(parent: Option<SessionId>) -> Event {
    let model = Card { context_tokens: 100_000, output_tokens: 1_000, price: None };
    let parent = parent.map(|session| Parent {
        session,
        root: session,
        ancestors: vec![session],
        goals: vec![Digest::of(b"all of it")],
        action: ActionId { turn: 1, step: 1 },
        call: "c1".into(),
    });
    Event::Opened {
        spec: Box::new(SessionSpec {
            goal: Digest::of(b"mend it"),
            goal_bytes: 7,
            repo: "/repo".into(),
            base: None,
            target: None,
            model: ModelRef { id: "test/model".into(), card: model, quota: None },
            fallback: Vec::new(),
            summaries: None,
            mode: "code".into(),
            workflow: kernel::workflow::bare(),
            rights: Rights::all(Ask::Never),
            limits: Limits::default(),
            budget: Amount::UNLIMITED,
            goal_checks: Vec::new(),
            hooks: Vec::new(),
            parent,
            task: None,
        }),
    }
}

fn warned(n: u64) -> Event {
    Event::Warned { what: format!("number {n}") }
}

fn paused() -> Event {
    Event::Paused { why: "user".into(), what: "you paused it".into(), hint: String::new(), code: 8 }
}

fn over() -> Event {
    Event::Ended { state: Final::Cancelled, code: 130, why: "by you".into(), summary: None }
}

/// Appends as whoever executes it.
struct Writer {
    store: Memory,
    leases: BTreeMap<SessionId, Lease>,
}

impl Writer {
    async fn write(&mut self, id: SessionId, events: &[Event]) -> Seq {
        let stream = StreamId::Session(id);
        if !self.leases.contains_key(&id) {
            let lease = self.store.acquire(id, "test".into(), Timestamp(1), true).await.unwrap().unwrap();
            self.leases.insert(id, lease);
        }
        let expected = self.store.head(stream).await.unwrap().seq;
        let records = record::encode_all(expected, Timestamp(4_000), events);
        let ended = matches!(events.last(), Some(Event::Ended { .. }));
        let fence = Some(self.leases[&id].fence);
        let append = Append { stream, expected, fence, records, ended };
        self.store.append(Batch { appends: vec![append], ..Batch::default() }).await.unwrap()[0].seq
    }
}

struct Rig {
    world: Arc<World>,
    hub: Hub,
    writer: Writer,
    closing: watch::Sender<bool>,
}

fn rig() -> Rig {
    rig_over(Memory::new(), "boot")
}

fn rig_over(store: Memory, boot: &str) -> Rig {
    let writer = Writer { store: store.clone(), leases: BTreeMap::new() };
    let world = Arc::new(World { store, looked: AtomicU64::new(0) });
    let closing = watch::channel(false).0;
    let about = About { version: "test", schema: 1, boot: boot.into() };
    let hub = Hub::new(Arc::<World>::clone(&world), about, closing.subscribe());
    Rig { world, hub, writer, closing }
}

/// With the hub running, until the test is done.
async fn with<T>(hub: &Hub, test: impl Future<Output = T>) -> T {
    tokio::select! {
        () = hub.clone().run() => panic!("the hub stopped"),
        done = tokio::time::timeout(PATIENCE, test) => done.expect("in time"),
    }
}

/// Messages of a piece, as event and data.
fn messages(piece: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(piece).unwrap();
    let field = |message: &str, name: &str| {
        let line = message.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_default()
    };
    let all = text.split("\n\n").filter(|message| !message.is_empty() && !message.starts_with(':'));
    all.map(|m| (field(m, "event: "), serde_json::from_str(&field(m, "data: ")).unwrap())).collect()
}

fn place(piece: &[u8]) -> String {
    let text = std::str::from_utf8(piece).unwrap();
    text.lines().rfind(|line| line.starts_with("id: ")).unwrap().trim_start_matches("id: ").to_owned()
}

fn feed(hub: &Hub, board: Option<(&str, u64)>, follow: &[(SessionId, Seq)]) -> Feed {
    let board = board.map(|(boot, rev)| (boot.to_owned(), rev));
    Feed::new(hub.clone(), Cursor { board, follow: follow.to_vec() }, false, hub.room().unwrap())
}

/// Reads on until one of these events comes; all that came.
async fn until(feed: &mut Feed, event: &str) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    while !all.iter().any(|(name, _)| name == event) {
        all.extend(messages(&feed.next().await.unwrap()));
    }
    all
}

fn of<'a>(all: &'a [(String, Value)], event: &str) -> Vec<&'a Value> {
    all.iter().filter(|(name, _)| name == event).map(|(_, data)| data).collect()
}

#[tokio::test]
async fn each_commit_is_folded_once_and_a_row_follows() {
    let mut rig = rig();
    for n in 0..20 {
        rig.writer.write(id(n), &[opened(None)]).await;
    }
    with(&rig.hub, async {
        let mut feed = feed(&rig.hub, None, &[]);
        let all = messages(&feed.next().await.unwrap());
        assert_eq!(all[0].0, "hello");
        assert_eq!(of(&all, "board")[0]["items"].as_array().unwrap().len(), 20);
        assert_eq!(of(&all, "board")[0]["items"][0]["id"], json!(id(19)), "the newest first");
        let looked = rig.world.looked.load(Ordering::SeqCst);
        for n in 0..50 {
            rig.writer.write(id(3), &[warned(n)]).await;
        }
        let mut row = json!(null);
        while row["events"] != 51 {
            for data in of(&until(&mut feed, "row").await, "row") {
                assert_eq!(data["row"]["id"], json!(id(3)), "only what changed is told");
                row = data["row"].clone();
            }
        }
        assert_eq!(row["goal_text"], "mend it");
        assert_eq!(rig.world.looked.load(Ordering::SeqCst), looked, "nothing was read whole again");
    })
    .await;
}

#[tokio::test]
async fn a_row_is_told_four_times_a_second_and_its_last_state_comes() {
    let mut rig = rig();
    rig.writer.write(id(1), &[opened(None)]).await;
    with(&rig.hub, async {
        let mut feed = feed(&rig.hub, None, &[]);
        until(&mut feed, "board").await;
        let began = Instant::now();
        let (mut rows, mut last, mut n) = (0, json!(0), 0);
        while last != 41 {
            for _ in 0..10.min(40 - n) {
                n += 1;
                rig.writer.write(id(1), &[warned(n)]).await;
            }
            let all = messages(&feed.next().await.unwrap());
            for data in of(&all, "row") {
                rows += 1;
                last = data["row"]["events"].clone();
            }
        }
        let most = began.elapsed().as_millis() / 250 + 2;
        assert!(rows <= most, "{rows} rows, at most {most}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_broke_goes_on_with_what_it_missed() {
    let mut rig = rig();
    for n in 0..5 {
        rig.writer.write(id(n), &[opened(None)]).await;
    }
    with(&rig.hub, async {
        let mut first = feed(&rig.hub, None, &[(id(2), 0)]);
        let mut piece = first.next().await.unwrap();
        let mut all = messages(&piece);
        while of(&all, "record").is_empty() {
            piece = first.next().await.unwrap();
            all.extend(messages(&piece));
        }
        assert_eq!(of(&all, "record")[0]["record"]["seq"], 1);
        let place = place(&piece);
        drop(first);
        rig.writer.write(id(2), &[warned(1), paused()]).await;
        rig.writer.write(id(4), &[warned(1)]).await;
        let (board, rest) = place.strip_prefix("board:boot.").unwrap().split_once(';').unwrap();
        assert_eq!(rest, format!("{}:1", id(2)));
        let mut again = feed(&rig.hub, Some(("boot", board.parse().unwrap())), &[(id(2), 1)]);
        let mut all = Vec::new();
        while of(&all, "record").len() < 2 || of(&all, "row").len() < 2 || of(&all, "asked").is_empty() {
            all.extend(messages(&again.next().await.unwrap()));
        }
        assert!(of(&all, "board").is_empty(), "only the difference is told");
        let seqs: Vec<_> = of(&all, "record").iter().map(|data| data["record"]["seq"].clone()).collect();
        assert_eq!(seqs, [json!(2), json!(3)]);
        let mut rows: Vec<_> = of(&all, "row").iter().map(|data| data["row"]["id"].clone()).collect();
        rows.sort_by_key(Value::to_string);
        assert_eq!(rows, [json!(id(2)), json!(id(4))]);
        assert_eq!(of(&all, "asked")[0]["items"][0]["what"], "you paused it");
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_no_more_is_told_and_another_boot_is_told_all() {
    let mut rig = rig();
    rig.writer.write(id(1), &[opened(None), paused()]).await;
    let rev = with(&rig.hub, async {
        let mut feed = feed(&rig.hub, None, &[]);
        let all = messages(&feed.next().await.unwrap());
        assert_eq!(of(&all, "asked")[0]["session_id"], json!(id(1)));
        let rev = of(&all, "asked")[0]["rev"].as_u64().unwrap();
        rig.writer.write(id(1), &[Event::Resumed { model: None }]).await;
        let all = until(&mut feed, "asked").await;
        assert_eq!(of(&all, "asked")[0]["items"], json!([]));
        let mut late = super::tests::feed(&rig.hub, Some(("boot", rev)), &[]);
        let all = until(&mut late, "asked").await;
        assert_eq!(of(&all, "asked")[0]["items"], json!([]), "also to who was away then");
        rev
    })
    .await;
    let next = rig_over(rig.world.store.peer(), "another");
    with(&next.hub, async {
        let mut feed = feed(&next.hub, Some(("boot", rev)), &[]);
        let all = messages(&feed.next().await.unwrap());
        assert_eq!(of(&all, "board").len(), 1);
        assert_eq!(of(&all, "hello")[0]["boot"], "another");
    })
    .await;
}

#[tokio::test]
async fn trees_end_and_go_and_sums_are_those_of_all_below() {
    let mut rig = rig();
    let (top, child) = (id(1), id(2));
    rig.writer.write(top, &[opened(None)]).await;
    rig.writer.write(child, &[opened(Some(top))]).await;
    with(&rig.hub, async {
        let mut feed = feed(&rig.hub, None, &[]);
        let all = messages(&feed.next().await.unwrap());
        let items = &of(&all, "board")[0]["items"];
        assert_eq!((items.as_array().unwrap().len(), &items[0]["children"][0]["id"]), (1, &json!(child)));
        rig.writer.write(child, &[over()]).await;
        let (mut seen, mut rows) = (Vec::new(), Vec::new());
        while rows.len() < 2 {
            rows.extend(of(&until(&mut feed, "row").await, "row").into_iter().cloned());
        }
        for data in rows {
            let row = &data["row"];
            seen.push((row["id"].clone(), row["parent"].clone(), row["status"].clone()));
        }
        seen.sort_by_key(|(id, ..)| id.to_string());
        assert_eq!(
            seen,
            [(json!(top), json!(null), json!("created")), (json!(child), json!(top), json!("cancelled"))]
        );
        // A session that has ended is let go, and read again when something of it comes after all.
        assert!(rig.hub.board().session(child).is_none() && rig.hub.board().lists(child));
    })
    .await;
}

#[tokio::test]
async fn a_follower_gets_every_record_once_in_order_over_restarts() {
    let mut rig = rig();
    rig.writer.write(id(1), &[opened(None)]).await;
    let follow = |hub: &Hub, after| Follow::new(hub.clone(), id(1), after, hub.room().unwrap());
    let mut seen: Vec<u64> = Vec::new();
    let mut collect = |piece: Vec<u8>| {
        let all = messages(&piece);
        seen.extend(
            all.iter().filter(|(name, _)| name == "record").map(|(_, data)| data["seq"].as_u64().unwrap()),
        );
        (seen.len() as u64, all.iter().any(|(name, _)| name == "end"))
    };
    let mut at = with(&rig.hub, async {
        let mut one = follow(&rig.hub, 0);
        let (mut at, mut n) = (0, 0);
        while at < 600 {
            while n < 600 && n < at + 250 {
                n = rig.writer.write(id(1), &[warned(n)]).await;
            }
            at = collect(one.next().await.unwrap()).0;
        }
        rig.closing.send_replace(true);
        assert_eq!(one.next().await, None, "it ends with the daemon");
        at
    })
    .await;
    // Somebody else goes on meanwhile, in another process.
    let mut other = Writer { store: rig.world.store.peer(), leases: rig.writer.leases.clone() };
    other.write(id(1), &[warned(1), warned(2)]).await;
    let next = rig_over(rig.world.store.peer(), "another");
    with(&next.hub, async {
        let mut one = follow(&next.hub, at);
        at = collect(one.next().await.unwrap()).0;
        let mut ended = false;
        let last = [warned(3), over()];
        let (told, _) = tokio::join!(
            async {
                while !ended {
                    let piece = one.next().await.unwrap();
                    (at, ended) = collect(piece);
                }
                one.next().await
            },
            other.write(id(1), &last),
        );
        assert_eq!(told, None);
    })
    .await;
    assert_eq!(seen, (1..=at).collect::<Vec<_>>());
    assert_eq!(at, 604);
}

#[tokio::test]
async fn commits_reach_a_follower_at_once_whoever_made_them() {
    let mut rig = rig();
    rig.writer.write(id(1), &[opened(None)]).await;
    let mut other = Writer { store: rig.world.store.peer(), leases: BTreeMap::new() };
    with(&rig.hub, async {
        let mut one = Follow::new(rig.hub.clone(), id(1), 1, rig.hub.room().unwrap());
        let mut slowest = Duration::ZERO;
        for n in 0..10 {
            let began = Instant::now();
            let writer = if n % 2 == 0 { &mut rig.writer } else { &mut other };
            // Both hold the session in turn: who writes takes it over first.
            writer.leases.clear();
            let news = [warned(n)];
            let (piece, _) = tokio::join!(one.next(), writer.write(id(1), &news));
            assert_eq!(messages(&piece.unwrap()).len(), 1, "number {n}");
            slowest = slowest.max(began.elapsed());
        }
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    })
    .await;
}
