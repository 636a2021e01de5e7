//! One example or more of every ledger event. New variant or field: add a row here.
//!
//! Knows nothing of the files. Start at [`all`].

use super::Example;
use super::examples::{action, full_amount, session};
use contract::Amount;
use contract::event::LedgerEvent;

/// Every example of a ledger event.
pub(crate) fn all() -> Vec<Example<LedgerEvent>> {
    let (owner, action) = (session(1), action(1, 2));
    let money = Amount { nanos: 1_500, ..Amount::ZERO };
    vec![
        ("ledger-opened", LedgerEvent::Opened { cap: full_amount() }),
        ("ledger-opened-unlimited", LedgerEvent::Opened { cap: Amount::UNLIMITED }),
        ("ledger-admitted", LedgerEvent::Admitted { session: owner, parent: session(0), cap: full_amount() }),
        ("ledger-reserved", LedgerEvent::Reserved { session: owner, action, amount: full_amount() }),
        ("ledger-settled", LedgerEvent::Settled { session: owner, action, used: money }),
        ("ledger-settled-nothing", LedgerEvent::Settled { session: owner, action, used: Amount::ZERO }),
        ("ledger-overshoot", LedgerEvent::Overshoot { session: owner, action, over: money }),
        ("ledger-barred", LedgerEvent::Barred { session: owner }),
        ("ledger-raised", LedgerEvent::Raised { amount: money }),
    ]
}
