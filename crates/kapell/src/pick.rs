//! Which session a person means: a full id, a unique beginning or end of one, or `last`.
//!
//! Never makes one: what is not found is an error that names candidates. Start at [`session`].

use crate::exit::Failure;
use contract::event::Event;
use contract::journal::{Journal, Listed};
use contract::session::SessionSpec;
use contract::{Fault, Kind, SessionId, StreamId, record};
pub(crate) use kernel::view::short;

/// Fewer characters could be meant for something else.
const FEWEST: usize = 4;
/// Candidates named in an error.
const NAMED: usize = 5;

/// The session of this name.
pub(crate) async fn session(journal: &dyn Journal, name: &str) -> Result<SessionId, Failure> {
    let listed = journal.sessions(false).await?;
    if name == "last" {
        let roots = roots(journal, &listed, 1).await?;
        return roots.first().map(|(listed, _)| listed.session).ok_or_else(crate::app::no_sessions);
    }
    let ids: Vec<SessionId> = listed.iter().map(|listed| listed.session).collect();
    by_name(name, &ids)
}

pub(crate) fn by_name(name: &str, ids: &[SessionId]) -> Result<SessionId, Failure> {
    let wanted: String = name.chars().filter(|c| *c != '-').collect::<String>().to_lowercase();
    let plain = |id: &SessionId| format!("{:032x}", id.0);
    let fits = |id: &&SessionId| plain(id).starts_with(&wanted) || plain(id).ends_with(&wanted);
    let found: Vec<SessionId> = match wanted.len() < FEWEST {
        true => Vec::new(),
        false => ids.iter().filter(fits).copied().collect(),
    };
    match found[..] {
        [one] => Ok(one),
        [] => {
            let what = format!("there is no session `{}`", crate::show::clean::line(name));
            let hint = match ids {
                [] => "kapell run \"your goal\" starts one".to_owned(),
                ids => format!("`last`, or one of {}; all: kapell sessions", names(ids)),
            };
            Err(usage("no-session", what, hint))
        }
        _ => {
            let what = format!("`{name}` fits {} sessions", found.len());
            Err(usage("ambiguous-session", what, format!("use more of the id: {}", full(&found))))
        }
    }
}

fn usage(code: &str, what: String, hint: String) -> Failure {
    Failure::from(Fault::new(Kind::UserFixable, code, what).hint(hint)).into_usage()
}

fn names(ids: &[SessionId]) -> String {
    let short: Vec<String> = ids.iter().take(NAMED).map(|id| short(*id)).collect();
    short.join(", ")
}

fn full(ids: &[SessionId]) -> String {
    let full: Vec<String> = ids.iter().take(NAMED).map(SessionId::to_string).collect();
    full.join(", ")
}

/// The newest sessions that nobody delegated, with what they were opened with.
pub(crate) async fn roots(
    journal: &dyn Journal,
    listed: &[Listed],
    most: usize,
) -> Result<Vec<(Listed, SessionSpec)>, Failure> {
    let mut roots = Vec::new();
    for listed in listed {
        if roots.len() == most {
            break;
        }
        if let Some(spec) = spec(journal, listed.session).await?
            && spec.parent.is_none()
        {
            roots.push((*listed, spec));
        }
    }
    Ok(roots)
}

/// What a session was opened with: its first event.
pub(crate) async fn spec(journal: &dyn Journal, id: SessionId) -> Result<Option<SessionSpec>, Failure> {
    let stream = StreamId::Session(id);
    let Some(first) = journal.read(stream, 0, 1).await?.pop() else { return Ok(None) };
    match engine::store::decode::<Event>(stream, first.seq, &first.bytes)? {
        record::Record { event: Event::Opened { spec }, .. } => Ok(Some(*spec)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Vec<SessionId> {
        [0xaaaa_1111, 0xaaaa_2222, 0xbbbb_1111].map(|low| SessionId::v7(0x0193_4567_89ab, low)).to_vec()
    }

    #[test]
    fn ends_and_beginnings_name_a_session() {
        let ids = ids();
        assert_eq!(by_name(&short(ids[1]), &ids).unwrap(), ids[1]);
        assert_eq!(by_name(&ids[2].to_string().to_uppercase(), &ids).unwrap(), ids[2]);
        assert_eq!(by_name("bbbb1111", &ids).unwrap(), ids[2]);
        assert_eq!(by_name("01934567", &ids[..1]).unwrap(), ids[0]);
    }

    #[test]
    fn what_is_unclear_is_an_error_with_candidates() {
        let ids = ids();
        let error = by_name("01934567", &ids).unwrap_err();
        assert_eq!((error.code, error.fault.code.as_str()), (2, "ambiguous-session"));
        assert!(error.fault.hint.contains(&ids[1].to_string()));
        for unknown in ["nosuch", "1", "", "cccc1111"] {
            let error = by_name(unknown, &ids).unwrap_err();
            assert_eq!(error.fault.code, "no-session", "{unknown}");
            assert!(error.fault.hint.contains(&short(ids[0])));
        }
        assert!(by_name("abcd", &[]).unwrap_err().fault.hint.contains("kapell run"));
    }
}
