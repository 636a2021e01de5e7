//! How many sessions on one project call models at once: a limit like a key's, on a stream of its own.
//!
//! Knows its name and what is declared; lines, verdicts and ends are [`crate::traffic`]'s and [`crate::quota`]'s. Start at
//! [`quota`].

use contract::action::Work;
use contract::model::{Quota, Rates};
use contract::session::SessionSpec;
use contract::{QuotaId, limits};

/// What its name begins with: no provider's can, for none holds a colon.
const NAME: &str = "project:";

/// What a person allows the sessions on this project to have under way at once, if anything.
pub(crate) fn quota(spec: &SessionSpec) -> Option<Quota> {
    let concurrent = Some(spec.limits.calls_at_once?);
    // No provider stands behind it from whose answers a rate could be learned.
    let requests_per_minute = Some(limits::CROWD_PER_MINUTE);
    let rates = Rates { concurrent, requests_per_minute, ..Rates::default() };
    Some(Quota { name: format!("{NAME}{}", spec.repo), rates })
}

/// The same as a stream.
pub(crate) fn stream(spec: &SessionSpec) -> Option<QuotaId> {
    quota(spec).map(|quota| QuotaId::of(&quota.name))
}

/// The one a call of this work begins under.
pub(crate) fn of(spec: Option<&SessionSpec>, work: &Work) -> Option<Quota> {
    spec.filter(|_| work.asks_model()).and_then(quota)
}

/// Is this a project's, and no key's?
pub(crate) fn is(quota: &Quota) -> bool {
    quota.name.starts_with(NAME)
}
