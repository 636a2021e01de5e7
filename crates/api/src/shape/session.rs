//! A session, the board, and what waits for a person.
//!
//! Start at [`SessionRow`].

use super::{Action, Amount, Digest, Id, Time, shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a session stands.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// Its workspace is not there yet.
    Created,
    /// Between two actions.
    Active,
    /// An action runs.
    Running,
    /// For something `waits` names.
    Waiting,
    /// Until somebody goes on with it.
    Paused,
    /// Nobody runs it.
    Stopped,
    /// It has ended with a result.
    Completed,
    /// It has ended without one.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// It has ended.
    Ended,
}

shape! {
    /// A wait.
    Waits {
        /// `approval`, `answer`, `resume`, `children`, `limit`, `time` or `turn`.
        r#for: String,
        /// In words.
        what: String,
    }
    maybe {
        /// What to type.
        type_next: String,
        /// When it comes by itself, where that is known.
        until: Time,
    }
}

shape! {
    /// A session in a list.
    SessionRow {
        /// Its whole id.
        session_id: Id,
        /// The end of its id, for people.
        short: String,
        /// Where it stands.
        state: Standing,
        /// Of the command that ran it, once it has ended or paused.
        exit_code: Option<u8>,
        /// Why it ended or paused.
        why: Option<String>,
        /// What it waits for.
        waits: Option<Waits>,
        /// Of its workflow.
        stage: Option<String>,
        /// Feedback rounds taken.
        round: u32,
        /// The first line of its goal.
        goal: String,
        /// Where it works.
        repo: Option<String>,
        /// With whom.
        model: Option<String>,
        /// When it was opened.
        opened: Time,
        /// When anything last happened.
        updated: Time,
        /// The number of its last event.
        events: u64,
        /// Actions taken.
        steps: u64,
        /// Used by itself.
        tokens: u64,
        /// Used by itself, nano-dollars.
        cost_nanos: u64,
        /// `confirmed`, `refuted` or `inconclusive`.
        verdict: Option<String>,
        /// The commit that landed.
        landed: Option<String>,
        /// Who delegated to it.
        parent: Option<Id>,
        /// Sessions it delegated to.
        children: u64,
        /// The living process that runs it.
        holder: Option<String>,
        /// Why it cannot be read.
        broken: Option<String>,
    }
}

shape! {
    /// Something to be done.
    Todo {
        /// `pending`, `active`, `done`, `failed` or `skipped`.
        state: String,
        /// In one line.
        text: String,
    }
}

shape! {
    /// A session in full.
    SessionPage {
        /// As in a list.
        #[serde(flatten)]
        row: SessionRow,
        /// What it and those below it ask a person.
        waiting: Vec<Asked>,
        /// Actions that can be gone back to.
        savepoints: Vec<Action>,
        /// The agent's own list.
        todo: Vec<Todo>,
        /// Of its verdict.
        reasons: Vec<String>,
    }
}

/// What kind of thing is asked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AskedKind {
    /// May this run?
    Approval,
    /// The agent wants to know something.
    Question,
    /// It goes on when somebody says so.
    Resume,
}

shape! {
    /// Something that waits for a person.
    Asked {
        /// Who asks.
        session_id: Id,
        /// What kind of thing.
        kind: AskedKind,
        /// The approval's or question's name; empty of a pause.
        id: String,
        /// In one line.
        what: String,
        /// Exactly what a yes is to.
        content: String,
        /// What to type instead.
        commands: Vec<String>,
        /// What a yes is bound to.
        hash: Option<Digest>,
    }
    maybe {
        /// The end of the session's id.
        short: String,
        /// The first line of its goal.
        goal: String,
        /// What it used by itself.
        used: Amount,
        /// What it used with everything below it.
        used_with_children: Amount,
        /// What is reserved for it now.
        reserved: Amount,
        /// Since when.
        asked_at: Time,
        /// Until when.
        expires: Time,
        /// What the agent offers.
        choices: Vec<String>,
        /// Of a call: which tool.
        tool: String,
        /// Of a call: what a crash in the middle of it would mean.
        class: String,
        /// Of a call: why it has to be asked.
        rule: String,
        /// Of a call: where it would run.
        cwd: String,
        /// It is about a change, which `diff` shows.
        diff: bool,
    }
}

shape! {
    /// An action in flight.
    Doing {
        /// Which.
        action: Action,
        /// What kind of work.
        work: String,
        /// Tools, or the model.
        on: String,
        /// Which try.
        attempt: u32,
        /// Since when.
        for_ms: u64,
    }
}

shape! {
    /// A session on the board, those it delegated to below it.
    BoardRow {
        /// Its whole id.
        id: Id,
        /// The end of its id, for people.
        short: String,
        /// Its goal.
        goal: Digest,
        /// The first line of its goal.
        goal_text: String,
        /// Where it stands.
        status: Standing,
        /// Of its workflow.
        stage: String,
        /// Feedback rounds taken.
        round: u32,
        /// Since anything happened.
        quiet_ms: u64,
        /// The number of its last event.
        events: u64,
        /// What it used by itself.
        used: Amount,
        /// What it used with everything below it.
        used_with_children: Amount,
    }
    maybe {
        /// Who delegated to it.
        parent: Id,
        /// The task of the plan it works on.
        task: String,
        /// What runs now.
        doing: Doing,
        /// What it waits for.
        waits: Waits,
        /// Exit code, once it has ended.
        code: u8,
        /// Why it ended.
        ended: String,
        /// Sessions it delegated to, oldest first.
        children: Vec<BoardRow>,
    }
}

shape! {
    /// The board.
    Board {
        /// The number of the newest change.
        rev: u64,
        /// Trees, the newest first.
        items: Vec<BoardRow>,
    }
}

/// What became of a wish.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fate {
    /// It took effect.
    Applied,
    /// It became an action, or waits for its turn.
    Queued,
    /// It is in the inbox.
    Waiting,
}

shape! {
    /// What became of a wish.
    Taken {
        /// Whose.
        session_id: Id,
        /// Its name.
        wish: String,
        /// What became of it.
        taken: Fate,
        /// A remark.
        why: String,
        /// The living process that has the session.
        holder: Option<String>,
        /// What to do next.
        next: String,
        /// The intent it became.
        intent: Option<Id>,
        /// The key it is known by.
        key: Option<String>,
    }
}
