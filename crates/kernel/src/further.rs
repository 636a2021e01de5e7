//! The ledgers a decision may touch besides its tree's: streams that sessions of many trees share.
//!
//! To add one: a stream, a fold ([`Book`]), its facts ([`Facts`]) and who needs it ([`needed`]); everything that loads,
//! appends, forgets and snapshots them goes by these lists. Start at [`needed`].

use crate::crowd;
use crate::fsm::Phase;
use crate::governor::Line;
use crate::project::Project;
use crate::quota::Quota;
use crate::{Governor, Illegal, Input, Session};
use contract::intent::Wish;
use contract::model::ModelRef;
use contract::project::ProjectEvent;
use contract::quota::QuotaEvent;
use contract::session::{SessionSpec, Summaries};
use contract::{ProjectId, QuotaId, Seq, SessionId, StreamId, Timestamp, record};
use serde::{Deserialize, Serialize};

/// New facts of one such ledger, to be written together with the session's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Further {
    /// Whose.
    pub stream: StreamId,
    /// They.
    pub facts: Facts,
}

/// Facts by kind of ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// Of a key at a provider.
    Quota(Vec<QuotaEvent>),
    /// Of a project.
    Project(Vec<ProjectEvent>),
}

impl Facts {
    /// How many.
    pub fn count(&self) -> u64 {
        match self {
            Self::Quota(facts) => facts.len() as u64,
            Self::Project(facts) => facts.len() as u64,
        }
    }

    /// As they are stored, numbered from `before + 1` on.
    pub fn records(&self, before: Seq, at: Timestamp) -> Vec<Vec<u8>> {
        match self {
            Self::Quota(facts) => record::encode_all(before, at, facts),
            Self::Project(facts) => record::encode_all(before, at, facts),
        }
    }
}

/// The fold of such a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Book {
    /// Of a key at a provider.
    Quota(Box<Quota>),
    /// Of a project.
    Project(Box<Project>),
}

impl Book {
    /// The ledger of a stream that has no events yet; `None` = it is no further ledger.
    pub fn new(stream: StreamId) -> Option<Self> {
        match stream {
            StreamId::Quota(_) => Some(Self::Quota(Box::default())),
            StreamId::Project(_) => Some(Self::Project(Box::default())),
            StreamId::Session(_) | StreamId::Tree(_) | StreamId::Board(_) | StreamId::Loop(_) => None,
        }
    }

    /// Number of its last event.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Quota(quota) => quota.seq,
            Self::Project(project) => project.seq,
        }
    }
}

/// The further ledgers that deciding upon this input may need. Most sessions need none.
pub fn needed(s: &Session, input: &Input) -> Vec<StreamId> {
    let mut needed = Vec::new();
    if s.phase == Phase::Ended {
        return needed;
    }
    let spec = match (&s.spec, input) {
        (Some(spec), _) => Some(&**spec),
        (None, Input::Open(spec)) => Some(&**spec),
        _ => None,
    };
    let mut add = |stream| {
        if !needed.contains(&stream) {
            needed.push(stream);
        }
    };
    let running = s.running.as_ref().and_then(|attempt| attempt.quota);
    running.into_iter().for_each(|id| add(StreamId::Quota(id)));
    let own = s.model.iter().chain(spec.iter().flat_map(|spec| spec.fallback.iter().chain([&spec.model])));
    let own = own.chain(spec.and_then(other_words));
    spec.into_iter().for_each(|spec| add(project_of(spec)));
    spec.and_then(crowd::stream).into_iter().for_each(|id| add(StreamId::Quota(id)));
    own.chain(resumed(input)).filter_map(quota_of).for_each(|id| add(StreamId::Quota(id)));
    needed
}

/// The models that a person switches to with this input.
fn resumed(input: &Input) -> impl Iterator<Item = &ModelRef> {
    let mail = if let Input::Inbox(mail) = input { &mail[..] } else { &[] };
    mail.iter().flatten().filter_map(|intent| match &intent.wish {
        Wish::Resume { model } => model.as_deref(),
        _ => None,
    })
}

/// The model that words summaries, where it is named.
pub(crate) fn other_words(spec: &SessionSpec) -> Option<&ModelRef> {
    match spec.summaries.as_ref()? {
        Summaries::By(model) => Some(model),
        Summaries::Same | Summaries::Never => None,
    }
}

/// The ledger of the project a session works on.
pub(crate) fn project_of(spec: &SessionSpec) -> StreamId {
    StreamId::Project(ProjectId::of(&spec.repo))
}

/// The quota a model is called under.
pub(crate) fn quota_of(model: &ModelRef) -> Option<QuotaId> {
    model.quota.as_ref().map(|quota| QuotaId::of(&quota.name))
}

impl Governor {
    /// Is this ledger loaded?
    pub fn has(&self, stream: StreamId) -> bool {
        match stream {
            StreamId::Session(_) | StreamId::Board(_) | StreamId::Loop(_) => false,
            StreamId::Tree(root) => self.peek(root).is_some(),
            StreamId::Quota(_) | StreamId::Project(_) => self.books.contains_key(&stream),
        }
    }

    /// Number of the last event of a ledger; 0 when it is not loaded.
    pub fn seq(&self, stream: StreamId) -> Seq {
        match stream {
            StreamId::Session(_) | StreamId::Board(_) | StreamId::Loop(_) => 0,
            StreamId::Tree(root) => self.peek(root).map_or(0, |ledger| ledger.seq),
            StreamId::Quota(_) | StreamId::Project(_) => {
                self.books.get(&stream).map_or(0, |(_, book)| book.seq())
            }
        }
    }

    /// Puts a further ledger in place, as read from the journal. One that is further on already stays.
    pub fn put(&mut self, stream: StreamId, book: Book) {
        self.read.insert(stream, book.clone());
        if !self.has(stream) || self.seq(stream) < book.seq() {
            self.loads += 1;
            self.books.insert(stream, (self.loads, book));
        }
    }

    /// A further ledger as it was last read: all of it is durable, and what came since need only be added.
    pub fn last_read(&self, stream: StreamId) -> Option<&Book> {
        self.read.get(&stream)
    }

    /// Which reading of a further ledger is in place; 0 when none is.
    pub fn reading(&self, stream: StreamId) -> u64 {
        self.books.get(&stream).map_or(0, |(reading, _)| *reading)
    }

    /// Forgets a further ledger, so that the next user reads it from the journal again. One that was read again since
    /// stays: it is free of what was decided upon the earlier reading.
    pub fn lose(&mut self, stream: StreamId, reading: u64) {
        if self.reading(stream) == reading {
            self.books.remove(&stream);
        }
    }

    /// Does this session stand in a line for calls?
    pub fn awaits_call(&self, session: SessionId) -> bool {
        self.stands(session).is_some_and(|line| matches!(line, Line::Quota(_)))
    }

    /// A key's limits, if they are loaded.
    pub fn quota(&self, id: QuotaId) -> Option<&Quota> {
        match self.books.get(&StreamId::Quota(id)) {
            Some((_, Book::Quota(quota))) => Some(quota),
            _ => None,
        }
    }

    pub(crate) fn quota_mut(&mut self, id: QuotaId) -> Result<&mut Quota, Illegal> {
        match self.books.get_mut(&StreamId::Quota(id)) {
            Some((_, Book::Quota(quota))) => Ok(quota),
            _ => Err(Illegal { state: format!("quota {id} is not loaded"), event: "a model call".into() }),
        }
    }

    /// What a project's sessions spend together, if it is loaded.
    pub fn project(&self, stream: StreamId) -> Option<&Project> {
        match self.books.get(&stream) {
            Some((_, Book::Project(project))) => Some(project),
            _ => None,
        }
    }

    pub(crate) fn project_mut(&mut self, stream: StreamId) -> Result<&mut Project, Illegal> {
        match self.books.get_mut(&stream) {
            Some((_, Book::Project(project))) => Ok(project),
            _ => Err(Illegal { state: format!("{stream} is not loaded"), event: "a model call".into() }),
        }
    }
}
