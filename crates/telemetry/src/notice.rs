//! What a person is told of by webhook or ntfy: something waits for a word, or it is over. And how often it is tried.
//!
//! Pure. What a call would do, what was asked and what was answered is not in it: who wants that looks at the session.
//! Start at [`of`] (a record to a notice), [`webhook`], [`ntfy`] and [`next_try`].

use contract::event::{Event, Final, Subject};
use contract::record::Record;
use contract::{Digest, SessionId, Timestamp};
use kernel::Session;
use kernel::fsm::ApprovalState;
use kernel::view::short;
use ring::hmac;
use serde_json::{Value, json};

/// Characters of what is said.
const SAID: usize = 200;
/// Between the tries, milliseconds: eight of them, within an hour.
const PAUSES_MS: [u64; 7] = [5_000, 15_000, 60_000, 180_000, 480_000, 1_080_000, 1_740_000];
/// Nobody is told of what is older.
pub const STALE_MS: u64 = 3_600_000;
/// Hex digits of an id.
const DIGITS: usize = 32;

/// What kind of news it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A person's word is needed.
    Asked,
    /// It ended well.
    Ended,
    /// It ended otherwise.
    Failed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Asked, Self::Ended, Self::Failed];

    /// As configurations write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The same whenever this is told, whoever tells it.
    pub id: String,
    /// What kind of news.
    pub kind: Kind,
    /// When it happened.
    pub at: Timestamp,
    /// Whose.
    pub session: SessionId,
    /// In Kapell's own words.
    pub what: String,
}

/// What this record is worth telling of. `state`: the session now, which may have gone on since.
pub fn of(session: SessionId, record: &Record<Event>, state: &Session) -> Option<Notice> {
    let (kind, what) = match &record.event {
        Event::ApprovalAsked { approval, subject, .. } => {
            let pending = |it: &kernel::session::Approval| it.state == ApprovalState::Pending;
            state.approvals.get(approval).filter(|it| pending(it))?;
            let what = match subject {
                Subject::Call { call } => {
                    let slot = state.calls.iter().find(|slot| slot.call.id == *call);
                    let tool = slot.map_or("a tool", |slot| slot.call.tool.as_str());
                    format!("a call of `{tool}` waits for your yes ({approval})")
                }
                Subject::RunAgain { action } => {
                    format!("action {action} was interrupted: may it run again? ({approval})")
                }
                Subject::Land { .. } => format!("a change waits for your yes before it lands ({approval})"),
            };
            (Kind::Asked, what)
        }
        Event::Asked { question, .. } => {
            state.questions.get(question)?;
            (Kind::Asked, format!("a question waits for your answer ({question})"))
        }
        Event::Paused { why, code, .. } if *code != 0 && why != "shutdown" && why != "user" => {
            state.pause.as_ref().filter(|pause| pause.why == *why)?;
            (Kind::Asked, format!("paused ({why}): it goes on when you say so"))
        }
        // Of those below it a session tells when it ends itself.
        Event::Ended { .. } if state.spec.as_ref().is_some_and(|spec| spec.parent.is_some()) => return None,
        Event::Ended { state: Final::Completed, code: 0, .. } => (Kind::Ended, "completed".to_owned()),
        Event::Ended { state, code, .. } => (Kind::Failed, format!("{} with exit code {code}", state.name())),
        _ => return None,
    };
    let name = format!("{session}/{}/{}", record.seq, kind.name());
    let id = Digest::of(name.as_bytes()).to_string().chars().take(DIGITS).collect();
    Some(Notice { id, kind, at: record.at, session, what: cut(&what) })
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SAID).collect()
}

/// The body of a webhook. `goal`: its first line; `url`: where a person can look, empty for nowhere.
pub fn webhook(notice: &Notice, goal: &str, url: &str) -> Value {
    json!({
        "type": notice.kind.name(), "id": notice.id, "at": notice.at.to_string(),
        "session_id": notice.session.to_string(), "short": short(notice.session),
        "goal": cut(goal), "what": notice.what, "url": url,
    })
}

/// The same for ntfy, as its JSON wants it (docs.ntfy.sh/publish, "publish as JSON").
pub fn ntfy(notice: &Notice, goal: &str, url: &str, topic: &str) -> Value {
    let (priority, tag) = match notice.kind {
        Kind::Asked => (4, "raised_hand"),
        Kind::Ended => (3, "white_check_mark"),
        Kind::Failed => (4, "x"),
    };
    let mut body = json!({
        "topic": topic, "title": format!("kapell {}: {}", short(notice.session), notice.kind.name()),
        "message": format!("{}\n{}", notice.what, cut(goal)), "priority": priority, "tags": [tag],
    });
    if !url.is_empty() {
        body["click"] = url.into();
    }
    body
}

/// `Kapell-Signature` of this body at this moment: `t=SECONDS,v1=HEX`, HMAC-SHA-256 over the seconds, a dot and the body.
pub fn signature(secret: &[u8], now: Timestamp, body: &[u8]) -> String {
    let seconds = (now.0 / 1_000).to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    [seconds.as_bytes(), b".", body].into_iter().for_each(|part| context.update(part));
    let hex: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

/// When it is tried again after so many tries that failed; `None`: it has been tried often enough.
pub fn next_try(now: Timestamp, tries: u32) -> Option<Timestamp> {
    let pause = usize::try_from(tries).ok()?.checked_sub(1)?;
    PAUSES_MS.get(pause).map(|ms| now.plus(*ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(kind: Kind) -> Notice {
        Notice { id: "i".into(), kind, at: Timestamp(0), session: SessionId(1), what: "x".into() }
    }

    #[test]
    fn eight_tries_in_an_hour() {
        let mut at = Timestamp(0);
        let mut tries = 1;
        while let Some(next) = next_try(at, tries) {
            assert!(next > at);
            (at, tries) = (next, tries + 1);
        }
        assert_eq!(tries, 8);
        assert!(at.0 < 3_600_000, "{at:?}");
    }

    #[test]
    fn the_signature_is_what_anybody_would_compute() {
        // python3: hmac.new(b"s", b"1700000000.{}", "sha256").hexdigest()
        let hex = "e9232c9945da8456c2dea6b39da7786c07b00bca7a64d5dd1283674713a7b72a";
        assert_eq!(signature(b"s", Timestamp(1_700_000_000_999), b"{}"), format!("t=1700000000,v1={hex}"));
        assert_ne!(signature(b"t", Timestamp(1_700_000_000_000), b"{}"), format!("t=1700000000,v1={hex}"));
    }

    #[test]
    fn what_is_told_is_short_and_one_line() {
        let body = webhook(&notice(Kind::Asked), &format!("a\nb\u{1b}{}", "x".repeat(900)), "");
        let goal = body["goal"].as_str().unwrap();
        assert!(goal.starts_with("abx") && goal.len() == SAID, "{goal}");
        assert_eq!(body["type"], "asked");
        let body = ntfy(&notice(Kind::Failed), "goal", "http://127.0.0.1:1/#/s/1", "t");
        assert_eq!((&body["topic"], &body["click"]), (&"t".into(), &"http://127.0.0.1:1/#/s/1".into()));
        assert!(ntfy(&notice(Kind::Ended), "goal", "", "t").get("click").is_none());
    }
}
