//! What hangs on the streams: blobs that nobody mentions, leases, waiting intents.
//!
//! Knows what the replay found out about sessions. Start at [`leases`].

use super::replay::{Known, Replayed};
use crate::app::{App, Wired};
use crate::exit::Failure;
use crate::finding::{Finding, Level};
use crate::quantity::{bytes, span};
use contract::intent::Intent;
use contract::journal::Verified;
use contract::{SessionId, Timestamp, limits};
use journal::{Audit, Leased};
use std::collections::{BTreeMap, BTreeSet};

type Sessions = BTreeMap<SessionId, Known>;

/// Blobs that no record and no waiting intent mentions. Where records are damaged, nobody can tell.
pub(super) fn orphans(
    audit: &Audit,
    replayed: &Replayed,
    verified: &Verified,
) -> Result<Option<Finding>, Failure> {
    let damaged = verified.damage.iter().chain(&replayed.damage);
    if damaged.into_iter().any(|damage| !damage.what.starts_with("snapshot of ")) {
        return Ok(None);
    }
    let (count, size) = audit.blobs_outside(|number| replayed.mentioned.has(number))?;
    let what = format!("{count} that no record mentions, {}", bytes(size));
    Ok((count > 0)
        .then(|| Finding::note("blobs", what, "left by what never came to be; kapell gc removes them")))
}

/// Fences never go back; who holds what, and whether that process lives.
pub(super) fn leases(
    app: &App,
    wired: &Wired,
    audit: &Audit,
    known: &Sessions,
    only: Option<SessionId>,
) -> Result<Vec<Finding>, Failure> {
    let (mut findings, mut seen, mut held) = (Vec::new(), BTreeSet::new(), 0u64);
    audit.leases(|lease| {
        if only.is_none_or(|only| only == lease.session) {
            seen.insert(lease.session);
            held += u64::from(lease.owner.is_some());
            let alive = wired.locks.held(lease.session);
            findings.extend(judge(&lease, known.get(&lease.session), alive, app.now()));
        }
    })?;
    for session in audit.damaged_leases()?.into_iter().flatten() {
        // Where everything is looked at, it is named already.
        if only == Some(session) {
            let what = format!("session {session}: its lease is not what was written");
            findings.push(Finding::bad("leases", what, take_over(only)));
        }
        seen.insert(session);
    }
    for (session, known) in known.iter().filter(|(id, known)| known.fence > 0 && !seen.contains(id)) {
        let what = format!(
            "session {session}: its lease is missing; its events were written under fence {}",
            known.fence
        );
        findings.push(Finding::bad("leases", what, RESTORE));
    }
    if findings.iter().all(|finding| finding.level != Level::Bad) {
        findings.push(Finding::ok("leases", format!("{}, {held} held; no fence goes back", seen.len())));
    }
    Ok(findings)
}

/// What mends a lease that is not what was written.
pub(in crate::cmd) fn take_over(session: Option<SessionId>) -> String {
    let name = session.map_or("SESSION".to_owned(), |id| id.to_string());
    format!(
        "kapell resume {name} replaces it by one above every fence there was; until then nobody can write to that session"
    )
}

/// For what cannot be mended here.
const RESTORE: &str = "it cannot be continued here; restore a backup of the data directory";

fn judge(lease: &Leased, known: Option<&Known>, alive: bool, now: Timestamp) -> Option<Finding> {
    let session = lease.session;
    let Some(known) = known else {
        let what = format!("session {session} has a lease and no events: its opening never came to be");
        return (lease.owner.is_some() && !alive).then(|| Finding::note("leases", what, "nothing to do"));
    };
    if lease.fence < known.fence {
        let what = format!(
            "session {session}: the newest lease has fence {}, its events {}",
            lease.fence, known.fence
        );
        return Some(Finding::bad("leases", what, RESTORE));
    }
    let owner = lease.owner.as_ref().filter(|_| !known.ended)?;
    let note = |what: String, hint: String| Some(Finding::note("leases", what, hint));
    let far = lease.until > now.plus(2 * limits::LEASE_MS);
    match (alive, lease.until <= now || far) {
        (true, false) => None,
        (true, true) => note(
            format!("session {session}: {owner} is at work and does not renew its lease"),
            format!("is the disk stuck, or the clock wrong? kapell cancel {session} ends it"),
        ),
        (false, lapsed) => {
            let since = match (lapsed, far) {
                (false, _) => "a moment ago".to_owned(),
                (true, true) => "before the clock was set back".to_owned(),
                (true, false) => format!("{} ago or more", span(now.since(lease.until))),
            };
            note(
                format!("session {session}: {owner} held it and is gone since {since}"),
                format!("kapell resume {session} takes it over"),
            )
        }
    }
}

/// What waits: for whom, and whether anybody will take it.
pub(super) fn inbox(
    app: &App,
    audit: &Audit,
    known: &Sessions,
    only: Option<SessionId>,
) -> Result<Vec<Finding>, Failure> {
    let (mut findings, mut waiting) = (Vec::new(), 0u64);
    let now = app.now();
    audit.mail(|session, mail| {
        if only.is_none_or(|only| only == session) {
            waiting += 1;
            findings.extend(late(session, &mail, known.get(&session), now));
        }
    })?;
    if waiting > 0 || only.is_none() {
        findings.push(Finding::ok("inbox", format!("{waiting} intents wait")));
    }
    Ok(findings)
}

fn late(
    session: SessionId,
    mail: &Result<Intent, String>,
    known: Option<&Known>,
    now: Timestamp,
) -> Option<Finding> {
    let note = |what: String, hint: String| Some(Finding::note("inbox", what, hint));
    let intent = match mail {
        Ok(intent) => intent,
        // Damage is named by its row already; what is left is the word of another version.
        Err(why) => {
            let what = format!("an intent for session {session} cannot be understood: {why}");
            return note(
                what,
                "it is refused when the session goes on; a newer kapell may understand it".into(),
            );
        }
    };
    let wish = serde_json::to_value(&intent.wish).ok().and_then(|wish| match wish {
        serde_json::Value::String(name) => Some(name),
        serde_json::Value::Object(fields) => fields.keys().next().cloned(),
        _ => None,
    });
    let what =
        format!("`{}` of {} ago for session {session}", wish.unwrap_or_default(), span(now.since(intent.at)));
    match known {
        None => note(format!("{what}, which does not exist"), "nobody will take it; it does no harm".into()),
        Some(known) if known.ended => {
            note(format!("{what}, which has ended"), "nobody will take it; it does no harm".into())
        }
        Some(_) if intent.ttl_ms.is_some_and(|ttl| intent.at.plus(ttl) <= now) => note(
            format!("{what} waits longer than its time to live"),
            format!("kapell resume {session} puts it on record as expired"),
        ),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::intent::{Source, Wish};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn lease(owner: &str, fence: u64, until: u64) -> Leased {
        let owner = (!owner.is_empty()).then(|| owner.to_owned());
        Leased { session: SessionId(7), owner, fence, until: Timestamp(until) }
    }

    #[test]
    fn leases_by_fence_holder_and_time() {
        let running = Known { ended: false, fence: 3 };
        let over = Known { ended: true, fence: 3 };
        let soon = NOW.0 + 5_000;
        for (lease, known, alive, expected) in [
            (lease("", 3, 0), Some(running), false, None),
            (lease("a", 3, soon), Some(running), true, None),
            (lease("a", 3, 0), Some(over), false, None),
            (lease("", 2, 0), Some(running), false, Some((Level::Bad, "fence 2, its events 3"))),
            (lease("a", 2, soon), Some(over), true, Some((Level::Bad, "fence 2"))),
            (lease("a", 3, soon), Some(running), false, Some((Level::Note, "gone since a moment ago"))),
            (lease("a", 4, 1), Some(running), false, Some((Level::Note, "ago or more"))),
            (lease("a", 4, u64::MAX / 2), Some(running), false, Some((Level::Note, "clock was set back"))),
            (lease("a", 3, 1), Some(running), true, Some((Level::Note, "does not renew"))),
            (lease("a", 1, 1), None, false, Some((Level::Note, "no events"))),
            (lease("a", 1, soon), None, true, None),
        ] {
            let found = judge(&lease, known.as_ref(), alive, NOW);
            let matches = match (&found, expected) {
                (None, None) => true,
                (Some(found), Some((level, words))) => found.level == level && found.what.contains(words),
                _ => false,
            };
            assert!(matches, "{lease:?} {known:?} {alive}: {found:?}");
        }
    }

    #[test]
    fn intents_that_nobody_takes_are_named() {
        let intent = |ttl_ms| {
            let (id, session) = (SessionId(1), SessionId(7));
            let (source, wish, at) = (Source::User, Wish::Cancel, Timestamp(NOW.0 - 60_000));
            Ok(Intent { id, session, source, wish, key: "k".into(), at, ttl_ms })
        };
        let running = Known { ended: false, fence: 3 };
        let over = Known { ended: true, fence: 3 };
        for (mail, known, words) in [
            (intent(None), Some(running), None),
            (intent(Some(60_001)), Some(running), None),
            (intent(Some(60_000)), Some(running), Some("longer than its time to live")),
            (intent(None), Some(over), Some("`cancel` of 1m00s ago for session")),
            (intent(None), None, Some("does not exist")),
            (Err("unknown variant".to_owned()), Some(running), Some("unknown variant")),
        ] {
            let found = late(SessionId(7), &mail, known.as_ref(), NOW);
            assert_eq!(found.is_some(), words.is_some(), "{found:?}");
            if let (Some(found), Some(words)) = (found, words) {
                assert!(found.what.contains(words) && !found.hint.is_empty(), "{found:?}");
            }
        }
    }
}
