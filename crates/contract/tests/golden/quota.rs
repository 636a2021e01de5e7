//! One example or more of every quota event. New variant or field: add a row here.
//!
//! Knows nothing of the files. Start at [`all`].

use super::Example;
use super::examples::{AT, action, session};
use contract::model::{BreakerRules, Gauge, Meter, Rates, Window};
use contract::quota::{CallEnd, QuotaEvent};

/// Every example of a quota event.
pub(crate) fn all() -> Vec<Example<QuotaEvent>> {
    let (owner, action) = (session(1), action(1, 2));
    let name = || "anthropic/5f2e".to_owned();
    let rates = Rates {
        requests_per_minute: Some(50),
        tokens_per_minute: Some(40_000),
        concurrent: Some(8),
        window: Some(Window { requests: 900, ms: 18_000_000 }),
        ..Rates::default()
    };
    let meant = Rates {
        tokens_per_day: Some(1_000_000),
        tokens_per_week: Some(5_000_000),
        tokens_per_month: Some(20_000_000),
        ..Rates::default()
    };
    let breaker = BreakerRules {
        failures: Some(3),
        percent: Some(40),
        window: Some(10),
        open_ms: Some(10_000),
        probes: Some(1),
    };
    let broken = |breaker| Rates { breaker: Some(breaker), ..Rates::default() };
    let declared = |breaker| QuotaEvent::Declared { name: name(), rates: broken(breaker), by: owner };
    let settled =
        |end| QuotaEvent::Settled { session: owner, action, tokens: 1_200, end, meter: Meter::default() };
    let told = Meter {
        requests: Some(Gauge { limit: Some(50), left: 49, reset_ms: Some(1_200) }),
        tokens: Some(Gauge { limit: None, left: 0, reset_ms: None }),
    };
    let metered =
        QuotaEvent::Settled { session: owner, action, tokens: 0, end: CallEnd::Answered, meter: told };
    vec![
        ("quota-declared", QuotaEvent::Declared { name: name(), rates, by: owner }),
        ("quota-declared-meant", QuotaEvent::Declared { name: name(), rates: meant, by: owner }),
        ("quota-declared-nothing", QuotaEvent::Declared { name: name(), rates: Rates::default(), by: owner }),
        ("quota-declared-breaker", declared(breaker)),
        ("quota-declared-breaker-usual", declared(BreakerRules::default())),
        ("quota-taken", QuotaEvent::Taken { session: owner, action, tokens: 9_000, until: AT }),
        ("quota-settled", settled(CallEnd::Answered)),
        ("quota-settled-metered", metered),
        ("quota-settled-limited", settled(CallEnd::Limited { retry_after_ms: Some(30_000) })),
        ("quota-settled-limited-bare", settled(CallEnd::Limited { retry_after_ms: None })),
        ("quota-settled-down", settled(CallEnd::Down { retry_after_ms: Some(5_000) })),
        ("quota-settled-down-bare", settled(CallEnd::Down { retry_after_ms: None })),
        ("quota-settled-refused", settled(CallEnd::Refused)),
        ("quota-settled-unknown", settled(CallEnd::Unknown)),
        (
            "quota-queued",
            QuotaEvent::Queued { session: owner, rank: 1_795_176_000_000, tokens: 9_000, until: AT },
        ),
        ("quota-lifted", QuotaEvent::Lifted { why: "a person wants it tried now".into() }),
    ]
}
