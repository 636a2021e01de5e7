//! One example or more of every event of a project's own files. New variant or field: add a row here.
//!
//! Knows nothing of the files. Start at [`all`].

use super::Example;
use contract::board::BoardEvent;
use contract::{Digest, SessionId};

/// Every example of such an event.
pub(crate) fn all() -> Vec<Example<BoardEvent>> {
    let changing = |before: Option<&[u8]>, backup: Option<&str>| BoardEvent::Changing {
        repo: "/home/ada/project".into(),
        path: ".roo/schedules.json".into(),
        tool: "manage_schedules".into(),
        before: before.map(Digest::of),
        after: Digest::of(b"{\"schedules\": [1]}"),
        bytes: 18,
        backup: backup.map(Into::into),
    };
    vec![
        ("board-changing", changing(Some(b"{}"), Some("backups/schedules_20261120_060724.json"))),
        ("board-changing-new", changing(None, None)),
        (
            "board-terminal",
            BoardEvent::Terminal {
                session: SessionId(0x01a1_f791_19db_7000_8000_0000_0000_0001),
                job: "t1".into(),
                command: Digest::of(b"npm run dev"),
                bytes: 11,
                held: "workspace-write, network off".into(),
                ruling: "`npm run`: the sandbox confines it (profile)".into(),
                asked: false,
            },
        ),
        ("board-kept", BoardEvent::Kept { of: 7, why: "no space left on the disk".into() }),
    ]
}
