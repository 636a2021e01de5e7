//! What must hold in every state, and what must be possible at all.
//!
//! What can only be seen while something happens (a start after a cancel, a yes used twice) is noted in
//! `State::broken` by `step.rs`. Start at [`properties`].

use crate::state::{Slot, State, Tree};
use crate::{Config, Parts, step};
use kernel::fsm::Phase;
use stateright::Property;

pub(crate) fn properties(config: &Config) -> Vec<Property<Config>> {
    let mut all = vec![
        Property::always("nothing happened that must not", |_, state: &State| state.broken.is_none()),
        Property::always("one action in flight", |_, state: &State| {
            state.slots().all(|(_, slot)| one_flight(slot))
        }),
        Property::always("an approval is used once, after a yes", |_, state: &State| {
            state.slots().all(|(_, slot)| slot.past.asked.iter().all(|asked| asked.used <= asked.yes))
        }),
        Property::always("no external effect twice without a yes", |_, state: &State| {
            state.slots().all(|(_, slot)| {
                let yes: u8 = slot.past.asked.iter().filter(|asked| asked.again).map(|asked| asked.yes).sum();
                slot.past.effects <= 1 + yes
            })
        }),
        Property::always("settled <= reserved <= cap", |_, state: &State| {
            state.trees.iter().all(|tree| tree.ledger.it.sound())
        }),
        Property::always("a cancelled session ends", |config: &Config, state: &State| {
            !step::at_rest(config, state)
                || state
                    .slots()
                    .all(|(tree, slot)| !slot.fold.it.cancel || over(slot) || cut_off(config, tree))
        }),
        Property::always("nobody is left without a way on", |config: &Config, state: &State| {
            !step::at_rest(config, state)
                || state.slots().all(|(tree, slot)| over(slot) || waits(tree, slot) || cut_off(config, tree))
        }),
        Property::sometimes("a session can complete", |_, state: &State| {
            state.slots().any(|(_, slot)| slot.fold.it.end.as_ref().is_some_and(|end| end.code == 0))
        }),
        Property::sometimes("a cancelled session can end", |_, state: &State| {
            state.slots().any(|(_, slot)| slot.fold.it.cancel && slot.fold.it.phase == Phase::Ended)
        }),
    ];
    if matches!(config.parts, Parts::Within(_)) {
        all.push(Property::always(
            "each session is one that was searched whole",
            |config: &Config, state| config.parts.hold(state),
        ));
    }
    if config.children == 0 {
        all.push(Property::sometimes("an approval is used", |_, state: &State| {
            state.slots().any(|(_, slot)| slot.past.asked.iter().any(|asked| asked.used > 0))
        }));
    }
    if config.leases > 1 && config.children == 0 {
        all.push(Property::sometimes("a commit under an old lease is refused", |_, state: &State| {
            state.slots().any(|(_, slot)| slot.past.refused_fence)
        }));
        all.push(Property::sometimes("an external effect is repeated after a yes", |_, state: &State| {
            state.slots().any(|(_, slot)| slot.past.effects > 1)
        }));
    }
    if config.children > 0 {
        all.push(Property::sometimes(
            "a commit meets a relative's and is decided anew",
            |_, state: &State| state.slots().any(|(_, slot)| slot.past.conflict),
        ));
    }
    all
}

/// Under the newest lease at most one worker has something in flight, and it is what the journal says.
fn one_flight(slot: &Slot) -> bool {
    let newest = slot.views.iter().flatten().filter(|view| view.fence == slot.fence);
    newest.filter(|view| view.flight.is_some()).count() <= 1
}

fn over(slot: &Slot) -> bool {
    slot.fold.it.phase == Phase::Ended
}

/// It waits for a person, a child or a moment, and says so.
fn waits(tree: &Tree, slot: &Slot) -> bool {
    slot.fold.it.phase == Phase::Paused || slot.fold.it.waiting(tree.now).is_some()
}

/// The bound on leases stops a session of this tree, and whoever waits for its end with it.
fn cut_off(config: &Config, tree: &Tree) -> bool {
    let held = |slot: &Slot| slot.views.iter().flatten().any(|view| view.fence == slot.fence);
    tree.slots.iter().any(|slot| !over(slot) && slot.fence >= config.leases && !held(slot))
}
