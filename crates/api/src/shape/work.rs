//! What one session did, wanted, changed and cost.
//!
//! What stands in the journal as a value of the contract is told as it is stored (FORMATS.md). Start at [`Entry`].

use super::session::{Todo, Waits};
use super::{Action, Amount, Digest, Id, Sum, Time, shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// By digest, the beginnings of texts that the answer names.
type Texts = BTreeMap<String, String>;
/// A value as the journal has it; FORMATS.md says how it looks.
type Stored = Value;

/// A record as it is stored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StoredRecord {
    /// Of the format.
    v: u32,
    /// Its number in the stream: 1, 2, 3 ...
    seq: u64,
    /// When.
    at: Time,
    /// What happened; FORMATS.md lists the events.
    event: Stored,
    /// What newer versions add.
    #[serde(flatten)]
    more: Map<String, Value>,
}

shape! {
    /// A page of records.
    Records {
        /// As they are stored.
        items: Vec<StoredRecord>,
        /// The number of the last record there is.
        head: u64,
    }
    maybe {
        /// What `after` takes for the page after this; absent at the end.
        next: String,
        /// Texts that the items name, when `texts` asked for them.
        texts: Texts,
    }
}

shape! {
    /// The result of a call.
    Outcome {
        /// When.
        at: Time,
        /// Did it go well?
        ok: bool,
    }
    maybe {
        /// The action that ran it.
        action: Action,
        /// What the agent sees.
        text: Digest,
        /// Kapell's own answer.
        notice: Stored,
        /// The whole output, when the text is cut.
        full: Digest,
        /// Exit status of a command.
        exit: i32,
    }
}

shape! {
    /// A call and what came of it.
    Made {
        /// Its name.
        call: String,
        /// Which tool.
        tool: String,
        /// Its arguments.
        args: Digest,
        /// What a crash in the middle would mean.
        class: String,
    }
    maybe {
        /// Its result.
        outcome: Outcome,
    }
}

shape! {
    /// What was said before a call of the model broke.
    Partial {
        /// First try is 1.
        attempt: u32,
        /// What went wrong.
        why: String,
    }
}

shape! {
    /// A contribution to the conversation.
    Entry {
        /// Number of the event it stands in.
        seq: u64,
        /// When.
        at: Time,
        /// `user`, `notice` or `assistant`.
        role: String,
    }
    maybe {
        /// Which producer a user's message came from.
        source: String,
        /// The action it belongs to.
        action: Action,
        /// Its text.
        text: Digest,
        /// What Kapell tells the agent.
        notice: Stored,
        /// The calls an agent makes.
        calls: Vec<Made>,
        /// The agent did not come to an end.
        partial: Partial,
    }
}

shape! {
    /// A page of a conversation.
    Transcript {
        /// Oldest first.
        items: Vec<Entry>,
    }
    maybe {
        /// What `before` takes for the page of what was said before; absent at the beginning.
        next: String,
        /// Texts that the items name, when `texts` asked for them.
        texts: Texts,
    }
}

shape! {
    /// A candidate that was not chosen.
    Other {
        /// Who wanted it.
        source: String,
        /// What.
        wish: String,
        /// Why not.
        why: String,
    }
    maybe {
        /// The intent, when it came from the inbox.
        intent: Id,
    }
}

shape! {
    /// One try.
    Attempt {
        /// 1 is the first.
        attempt: u32,
        /// When it began.
        at: Time,
        /// What a crash in the middle would mean.
        class: String,
        /// Why that.
        class_why: String,
        /// When it had to be over.
        deadline: Time,
        /// The lease it ran under.
        fence: u64,
        /// What was reserved for it.
        reserved: Amount,
        /// What it used.
        used: Amount,
    }
    maybe {
        /// The approval it used up.
        approval: String,
        /// How it ended, in words; absent while it runs.
        end: String,
        /// When it ended.
        ended: Time,
    }
}

shape! {
    /// An action: who wanted it, and what came of it.
    Chosen {
        /// Which.
        action: Action,
        /// When it was chosen.
        at: Time,
        /// Who wanted it.
        source: String,
        /// What was wanted.
        wish: String,
        /// Why it won.
        why: String,
        /// What kind of work it became.
        work: String,
        /// Its tries.
        attempts: Vec<Attempt>,
    }
    maybe {
        /// The intent, when it came from the inbox.
        intent: Id,
        /// When that was submitted.
        submitted: Time,
        /// Everybody else who wanted something, and why it waited.
        others: Vec<Other>,
        /// What followed before the next action was chosen.
        then: Vec<String>,
    }
}

shape! {
    /// An intent that never became an action.
    Unchosen {
        /// Which.
        intent: Id,
        /// Who wanted it.
        source: String,
        /// What.
        wish: String,
        /// When it was submitted.
        submitted: Time,
        /// `{"disposed":{"at","how"}}`, or `{"waits":WHY}`.
        fate: Stored,
    }
}

shape! {
    /// Who wanted what, and why it won.
    Why {
        /// The newest, in order.
        actions: Vec<Chosen>,
        /// Intents that never became an action.
        intents: Vec<Unchosen>,
        /// How many actions there are.
        total: u64,
    }
    maybe {
        /// What was in the inbox and could not be understood, with its time.
        garbled: Vec<(Time, String)>,
        /// What it waits for now.
        waits: Waits,
        /// How it ended, if it did.
        ended: String,
        /// Texts that the items name, when `texts` asked for them.
        texts: Texts,
    }
}

/// A task of the plan.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Task {
    /// Its name.
    id: String,
    /// Its goal.
    goal: Digest,
    /// The first line of its goal.
    goal_text: String,
    /// `pending`, `active`, `done`, `failed` or `skipped`.
    state: String,
    /// The task as it is stored.
    #[serde(flatten)]
    more: Map<String, Value>,
}

shape! {
    /// The plan, and the agent's own list.
    Plan {
        /// In the order in which they are worked off.
        tasks: Vec<Task>,
        /// The agent's own list.
        todo: Vec<Todo>,
    }
}

shape! {
    /// Something about a change that a person must see before it lands.
    Flag {
        /// `test-deleted`, `test-weakened`, `test-ignored`, `check-changed`, `lint-silenced`.
        code: String,
        /// The file.
        path: String,
        /// In one line.
        what: String,
    }
}

shape! {
    /// The newest verdict; nulls before there is one.
    Checks {
        /// `confirmed`, `refuted` or `inconclusive`.
        verdict: Option<String>,
        /// The commit it is about.
        result: Option<String>,
        /// Why.
        reasons: Vec<String>,
        /// What a person must see before it lands.
        flags: Vec<Flag>,
        /// The runs it rests on, as they are stored.
        report: Stored,
    }
}

shape! {
    /// A change.
    Diff {
        /// Whose.
        session_id: Id,
        /// Of what.
        of: String,
        /// Files that differ.
        files: u64,
        /// Lines.
        added: u64,
        /// Lines.
        removed: u64,
        /// As `git diff` has it.
        diff: String,
    }
}

shape! {
    /// A sum under a name.
    Part {
        /// Of what.
        name: String,
        /// Attempts started.
        calls: u64,
        /// In all.
        reserved: Amount,
        /// Reserved and not settled yet.
        held: Amount,
        /// Really used.
        settled: Amount,
        /// Billed beyond what was reserved.
        over: Amount,
    }
}

shape! {
    /// One session's part of a tree's account.
    SessionCost {
        /// Which.
        session: Id,
        /// Its cap inside the tree.
        cap: Amount,
        /// By itself.
        own: Part,
        /// Settled with everything below it.
        settled_with_children: Amount,
    }
    maybe {
        /// Who delegated to it.
        parent: Id,
    }
}

shape! {
    /// A tree's account.
    Cost {
        /// The cap, as raised.
        cap: Amount,
        /// All of it.
        total: Part,
        /// More was billed than reserved, and nobody has raised the cap since.
        frozen: bool,
        /// Every session that has an account, oldest first.
        sessions: Vec<SessionCost>,
        /// By model.
        models: Vec<Part>,
        /// By kind of action.
        kinds: Vec<Part>,
    }
}

shape! {
    /// Tokens of one call, as the provider counted them.
    Usage {
        /// Neither read from its cache nor written to it.
        input: u64,
        /// What was said.
        output: u64,
    }
    maybe {
        /// Read from its cache.
        cache_read: u64,
        /// Written to its cache.
        cache_write: u64,
        /// An upper bound instead.
        estimated: bool,
    }
}

shape! {
    /// One attempt at one model call.
    ModelCall {
        /// Whose.
        session: Id,
        /// Which action.
        action: Action,
        /// First try is 1.
        attempt: u32,
        /// Which model.
        model: String,
        /// The session's mode.
        mode: String,
        /// When it began.
        at: Time,
        /// How long it took.
        ms: u64,
        /// `done`, `failed`, `cancelled`, `timed-out`, `unknown`; empty: it has not ended.
        end: String,
        /// What it has cost, nano-dollars.
        nanos: u64,
        /// As settled.
        tokens: u64,
        /// The figures are an upper bound.
        estimated: bool,
        /// What the provider's cache has saved, nano-dollars.
        saved: i64,
    }
    maybe {
        /// The provider's own count.
        usage: Usage,
        /// The provider's name for the exchange.
        request_id: String,
    }
}

shape! {
    /// Where the beginning of the conversation changed from one call to the next.
    Break {
        /// The call before.
        before: Action,
        /// The call that had to be read anew.
        action: Action,
        /// The first message that differs; 0: all of them.
        message: u64,
        /// The first of the few among which it is.
        from: u64,
        /// Who speaks there.
        speaker: String,
        /// Why, as far as it is on record.
        why: String,
    }
}

shape! {
    /// A session's model calls.
    Calls {
        /// Whose.
        session_id: Id,
        /// What caches have saved, nano-dollars.
        saved: i64,
        /// What made them useless.
        breaks: Vec<Break>,
        /// In order.
        calls: Vec<ModelCall>,
    }
}

shape! {
    /// What one tree has cost.
    Spent {
        /// Its root.
        session_id: Id,
        /// Used.
        settled: Sum,
        /// Reserved.
        held: Sum,
        /// Allowed.
        cap: Sum,
        /// Neither.
        left: Sum,
    }
}

shape! {
    /// What all sessions cost.
    Overview {
        /// Together.
        total: Sum,
        /// Roots, newest first.
        sessions: Vec<Spent>,
        /// Caps of the project for a day, a week and a month, and what is used of them.
        project: Option<Map<String, Value>>,
        /// Who says what models cost.
        prices: Vec<PriceSource>,
    }
}

shape! {
    /// Who says what models cost.
    PriceSource {
        /// By name.
        by: String,
        /// Of when.
        date: Option<String>,
    }
}

shape! {
    /// A background command or terminal.
    Job {
        /// Its name.
        job: String,
        /// In one line.
        command: String,
        /// It has a terminal.
        terminal: bool,
        /// Its process.
        pid: i32,
        /// Milliseconds since 1970.
        started_ms: u64,
        /// When it was last seen, milliseconds since 1970.
        beat_ms: u64,
        /// When it last wrote something, milliseconds since 1970.
        said_ms: u64,
        /// Bytes it wrote.
        bytes: u64,
        /// It has not ended.
        running: bool,
        /// Who of it waits for input; empty otherwise.
        waits: String,
        /// How it ended; empty while it runs.
        ended: String,
    }
}

shape! {
    /// Background commands and terminals of a session.
    Jobs {
        /// Whose.
        session_id: Id,
        /// Oldest first.
        jobs: Vec<Job>,
    }
}

shape! {
    /// A piece of what a command wrote.
    Output {
        /// The byte it begins with.
        from: u64,
        /// How many bytes it stands for.
        bytes: u64,
        /// Without control characters.
        text: String,
        /// There is no more now.
        end: bool,
    }
}
