//! One example or more of every event of a project's ledger. New variant or field: add a row here.
//!
//! Knows nothing of the files. Start at [`all`].

use super::Example;
use super::examples::{action, session};
use contract::Amount;
use contract::project::{Caps, ProjectEvent};

/// Every example of a project's event.
pub(crate) fn all() -> Vec<Example<ProjectEvent>> {
    let (owner, action) = (session(1), action(1, 2));
    let usd = |dollars: u64| Amount { nanos: dollars * 1_000_000_000, ..Amount::UNLIMITED };
    let capped = |caps| ProjectEvent::Capped { caps, repo: "/home/ada/project".into() };
    let tokens = Amount { tokens: 2_000_000, ..Amount::UNLIMITED };
    let amount = Amount { nanos: 144_021_000, tokens: 40_007, ..Amount::ZERO };
    let used = Amount { nanos: 4_200_000, tokens: 1_240, ..Amount::ZERO };
    vec![
        ("project-capped", capped(Caps { day: usd(5), month: usd(50), project: tokens, ..Caps::NONE })),
        ("project-capped-hour", capped(Caps { hour: usd(1), ..Caps::NONE })),
        ("project-capped-no-more", capped(Caps::NONE)),
        ("project-reserved", ProjectEvent::Reserved { session: owner, action, amount }),
        ("project-settled", ProjectEvent::Settled { session: owner, action, used }),
    ]
}
