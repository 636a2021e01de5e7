//! What the daemon tells of itself and of everything it knows.
//!
//! Start at [`About`].

use super::work::PriceSource;
use super::{Digest, Id, Time, shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

shape! {
    /// The daemon.
    About {
        /// Of the binary.
        version: String,
        /// Of this start.
        boot: String,
        /// Of records for programs.
        schema_version: u32,
        /// The clock.
        now: Time,
        /// What a client can count on besides the routes of every daemon.
        capabilities: Vec<String>,
    }
}

shape! {
    /// That it answers.
    Health {
        /// `ok`, or `ready`.
        status: String,
    }
}

shape! {
    /// Why a request was not answered (RFC 9457).
    Problem {
        /// `urn:kapell:` and the code.
        r#type: String,
        /// What happened, to what.
        title: String,
        /// As in the status line.
        status: u16,
        /// For programs.
        code: String,
        /// `transient`, `permanent`, `user-fixable`, `rate-limited` or `degraded`.
        kind: String,
        /// What to do next.
        hint: String,
        /// What the command of the same name would end with.
        exit_code: u8,
        /// What the request is called.
        request_id: String,
    }
    maybe {
        /// Try again after so long.
        retry_after_ms: u64,
        /// What a yes is bound to, where one is needed.
        hash: Digest,
    }
}

shape! {
    /// A code for a browser.
    LoginCode {
        /// Good once.
        code: String,
        /// Where the browser takes it.
        url: String,
        /// Until when it is good.
        expires: Time,
    }
}

shape! {
    /// A login's other half; the first is the cookie.
    Login {
        /// Goes into the header `Kapell-Proof` of every request.
        proof: String,
        /// It is good until this start ends.
        boot: String,
        /// Until when it is good at most.
        expires: Time,
    }
}

shape! {
    /// Something that was looked at.
    Finding {
        /// What.
        name: String,
        /// `ok`, `note` or `bad`.
        level: String,
        /// How it stands.
        what: String,
        /// How to mend it.
        hint: String,
    }
}

shape! {
    /// What is wrong, and how to mend it.
    Doctor {
        /// Everything that was looked at.
        findings: Vec<Finding>,
    }
}

/// A model that can be used.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Usable {
    /// What `model` of a new session takes.
    id: String,
    /// What it can be given at most.
    context_tokens: Option<u64>,
    /// What it says at most.
    output_tokens: Option<u64>,
    /// What it costs, as it is stored; null: unknown.
    price: Value,
    /// Who says so.
    price_from: Option<PriceSource>,
    /// What else is known of it.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Who has models.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Provider {
    /// By name.
    name: String,
    /// Where.
    base_url: String,
    /// It answers.
    usable: bool,
    /// What else is known of it: quotas, errors.
    #[serde(flatten)]
    more: Map<String, Value>,
}

shape! {
    /// What can be used now, and what it costs.
    Models {
        /// By id.
        models: Vec<Usable>,
        /// Whom they are of.
        providers: Vec<Provider>,
    }
}

shape! {
    /// Something that is set.
    Setting {
        /// Its name.
        key: String,
        /// What it is; addresses and keys are hidden.
        value: Value,
        /// Who says so.
        origin: String,
        /// `default`, `file`, `env` or `flag`.
        kind: String,
    }
}

shape! {
    /// An act.
    Act {
        /// When.
        at: Time,
        /// The event it was read off.
        seq: u64,
        /// What kind of act.
        category: String,
        /// What, in a word or two.
        action: String,
        /// To what.
        target: String,
        /// How it ended.
        outcome: String,
        /// `info`, `notice` or `warning`.
        severity: String,
        /// Who wanted it.
        actor: String,
    }
    maybe {
        /// Whose; absent: the installation's.
        session: Id,
        /// The action of the session.
        step: String,
    }
}

shape! {
    /// A page of acts.
    Acts {
        /// Newest first.
        items: Vec<Act>,
        /// How many there are.
        total: u64,
    }
    maybe {
        /// What `cursor` takes for the page after this; absent at the end.
        next: String,
    }
}

shape! {
    /// A place where words were found.
    Hit {
        /// Whose.
        session_id: Id,
        /// The event.
        seq: u64,
        /// When.
        at: Time,
        /// `goal`, `said`, `result` or `command`.
        kind: String,
        /// What stands around it.
        text: String,
    }
}

shape! {
    /// What was found, and how far it was looked.
    Found {
        /// Newest sessions first.
        items: Vec<Hit>,
        /// Sessions that were looked through.
        searched: u64,
        /// Sessions there are.
        sessions: u64,
    }
}

/// A schedule, with the fields of its file.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Schedule {
    /// Where it stands.
    repo: String,
    /// Its name for programs.
    id: String,
    /// How it stands.
    state: String,
    /// When it fires next.
    next: Vec<Time>,
    /// When it last fired.
    last_slot: Option<Time>,
    /// What it opened then.
    last_session: Option<Id>,
    /// Fields of `.roo/schedules.json`, and how it stands.
    #[serde(flatten)]
    more: Map<String, Value>,
}

shape! {
    /// A file that cannot be read.
    Trouble {
        /// Where.
        repo: String,
        /// What is wrong.
        what: String,
    }
}

shape! {
    /// Schedules of one repository, or of all.
    Schedules {
        /// By repository.
        items: Vec<Schedule>,
        /// Files that cannot be read.
        trouble: Vec<Trouble>,
    }
}

shape! {
    /// One line of a chart.
    Line {
        /// What is measured.
        name: String,
        /// Of what.
        labels: BTreeMap<String, Value>,
        /// `s`, `usd`, `B`, `1`, or none.
        unit: String,
        /// One for each step from `from` on; null where nothing was measured.
        points: Vec<Option<Number>>,
    }
}

shape! {
    /// Points for charts.
    Series {
        /// Between two points.
        step_ms: u64,
        /// The first point's time.
        from: Time,
        /// What fits the name.
        series: Vec<Line>,
    }
}

/// The page that this document is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Document(Map<String, Value>);
