//! Model calls under a key's limits: what is taken and given back, who waits and until when.
//!
//! Knows only decisions and what they put on record. Start at the first story.

use crate::make::{PRICE, bare, model, says};
use crate::world::{ROOT, World};
use contract::model::{ModelRef, Quota, Rates};
use contract::quota::{CallEnd, QuotaEvent};
use contract::session::SessionSpec;
use contract::{QuotaId, StreamId, Timestamp};
use kernel::Input;
use kernel::further::Facts;

const KEY: &str = "test/key";

pub(crate) fn keyed(rates: Rates) -> ModelRef {
    ModelRef { quota: Some(Quota { name: KEY.into(), rates }), ..model("test/model", Some(PRICE)) }
}

fn limited(rates: Rates) -> SessionSpec {
    SessionSpec { model: keyed(rates), ..bare() }
}

fn facts(world: &World) -> Vec<QuotaEvent> {
    let all = world.shared.get(&StreamId::Quota(QuotaId::of(KEY))).into_iter().flatten();
    all.flat_map(|(_, facts)| if let Facts::Quota(facts) = facts { facts.clone() } else { Vec::new() })
        .collect()
}

#[test]
fn a_call_is_on_the_keys_record_from_its_start_to_its_end() {
    let mut world = World::working(limited(Rates::default()));
    let under_way = |world: &World| {
        world.governor.quota(QuotaId::of(KEY)).map(|quota| quota.under_way(Timestamp(world.now)))
    };
    assert_eq!(world.doing(ROOT), "model");
    assert!(
        matches!(&facts(&world)[..], [QuotaEvent::Declared { name, .. }, QuotaEvent::Taken { .. }] if name == KEY)
    );
    assert_eq!(under_way(&world), Some(1));
    world.end(ROOT, says(Vec::new()));
    assert!(
        matches!(facts(&world).last(), Some(QuotaEvent::Settled { end: CallEnd::Answered, .. })),
        "{:?}",
        facts(&world)
    );
    assert_eq!(under_way(&world), Some(0));
}

#[test]
fn a_call_whose_process_died_is_given_back_when_the_session_is_taken_over() {
    let mut world = World::working(limited(Rates::default()));
    world.restart();
    let ends: Vec<_> = facts(&world)
        .into_iter()
        .filter_map(|fact| if let QuotaEvent::Settled { end, .. } = fact { Some(end) } else { None })
        .collect();
    assert_eq!(ends, [CallEnd::Unknown]);
}

#[test]
fn a_model_without_a_quota_writes_to_no_further_ledger() {
    let mut world = World::working(bare());
    world.end(ROOT, says(Vec::new()));
    assert!(world.shared.is_empty());
    let quotas = |stream: &StreamId| matches!(stream, StreamId::Quota(_));
    assert!(!kernel::further::needed(world.root(), &Input::Tick).iter().any(quotas));
    assert!(world.governor.quota(QuotaId::of(KEY)).is_none());
}
