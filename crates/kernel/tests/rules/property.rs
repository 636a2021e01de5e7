//! Random producers, executors, clocks and crashes: the promises hold, nothing panics, and when the faults stop every
//! session ends or says what it waits for. `World` checks after every decision; here is what is drawn.

use crate::make::*;
use crate::world::{World, well};
use contract::action::{Call, EffectClass, End, Outcome, Work};
use contract::checks::Status;
use contract::hooks::{HookAnswer, HookDef, HookEvent};
use contract::intent::{Source, Wish};
use contract::model::Stop;
use contract::session::{Ask, Limits, SessionSpec};
use contract::{ActionId, Amount, Kind, SessionId};
use kernel::Input;
use kernel::fsm::{ApprovalState, Phase};
use kernel::governor::Slots;
use proptest::prelude::*;

/// One move of the outside world. The numbers pick among what there is.
#[derive(Debug, Clone)]
enum Move {
    Wish(u8, u8, u8),
    End(u8, u8),
    Stale(u8, u8),
    Deliver,
    Tick(u8, u32),
    ClockBack(u32),
    Restart,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        5 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| Move::Wish(a, b, c)),
        12 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Move::End(a, b)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Move::Stale(a, b)),
        4 => Just(Move::Deliver),
        3 => (any::<u8>(), 0u32..120_000).prop_map(|(a, ms)| Move::Tick(a, ms)),
        1 => (0u32..600_000).prop_map(Move::ClockBack),
        1 => Just(Move::Restart),
    ]
}

fn specs() -> impl Strategy<Value = SessionSpec> {
    let budgets = prop_oneof![
        2 => Just(Amount::UNLIMITED),
        1 => Just(Amount { nanos: 600_000_000, tokens: 300_000, steps: 40, time_ms: 50_000_000 }),
    ];
    let asks = prop_oneof![Just(Ask::Never), Just(Ask::External), Just(Ask::Writes)];
    let limits = Limits {
        steps_per_turn: 12,
        depth: 2,
        children: 3,
        rounds: 2,
        same_failures: 3,
        ..Limits::default()
    };
    let hooked = prop_oneof![2 => Just(0u16), 1 => any::<u16>()];
    (budgets, asks, any::<bool>(), hooked).prop_map(move |(budget, ask, is_bare, hooked)| SessionSpec {
        hooks: hooks(hooked),
        budget,
        limits,
        workflow: if is_bare { kernel::workflow::bare() } else { kernel::workflow::standard() },
        ..asking(ask)
    })
}

/// A hook for each event whose bit is set.
fn hooks(bits: u16) -> Vec<HookDef> {
    let all = HookEvent::ALL.into_iter().enumerate();
    all.filter(|(at, _)| bits & (1 << at) != 0)
        .map(|(at, event)| HookDef {
            confined: bits & (1 << 15) != 0 || at % 2 == 0,
            ..crate::hooks::hook(event)
        })
        .collect()
}

/// What hooks say.
fn hooked(call: Option<&Call>, n: u8) -> End {
    use contract::policy::Decision;
    let say =
        [None, None, Some(Decision::Allow), Some(Decision::Ask), Some(Decision::Deny)][usize::from(n) % 5];
    let answer = HookAnswer { halt: n.is_multiple_of(17), ..crate::hooks::answer(say) };
    let changed =
        call.filter(|_| n.is_multiple_of(7)).map(|call| Call { hash: text("changed"), ..call.clone() });
    crate::hooks::answered(vec![answer], (!n.is_multiple_of(3)).then_some("so it is"), changed)
}

fn pick(world: &World, n: u8) -> SessionId {
    let ids: Vec<SessionId> = world.sessions.keys().copied().collect();
    ids[usize::from(n) % ids.len()]
}

fn wish(world: &World, id: SessionId, n: u8, m: u8) -> Wish {
    let state = world.state(id);
    let approval = state.approvals.iter().nth(usize::from(m) % state.approvals.len().max(1));
    let question = state.questions.keys().next().cloned().unwrap_or_else(|| "q9".into());
    let savepoint = state.savepoints.iter().next().map(|(action, _)| *action);
    match (n % 15, approval) {
        (0 | 1, _) => message(&format!("m{m}")),
        (2, _) => Wish::Continue,
        (3, _) => Wish::Initialise,
        (4, _) => Wish::Pause,
        (5 | 6, _) => resume(),
        (7 | 8, Some((approval, record))) => Wish::Approve { approval: approval.clone(), hash: record.hash },
        (7, None) => Wish::Approve { approval: "a9".into(), hash: text("x") },
        (9, Some((approval, _))) => Wish::Deny { approval: approval.clone() },
        (10, _) => Wish::Answer { question, text: text("so"), bytes: 2 },
        (11, _) => Wish::Rewind { to: savepoint.unwrap_or(ActionId { turn: 1, step: 1 }) },
        (12, _) => {
            Wish::AddBudget { amount: Amount { nanos: 10_000_000, tokens: 10_000, steps: 5, time_ms: 1_000 } }
        }
        (13, _) => Wish::Uncompact { item: (m > 100).then_some(u64::from(m) % 30) },
        _ if m < 12 => Wish::Cancel,
        _ => Wish::Resume { model: Some(Box::new(model("other/model", Some(PRICE)))) },
    }
}

fn calls(run: &contract::action::Run, n: u8) -> Vec<Call> {
    let id = |part: &str| format!("{part}{}", run.action.step);
    match n % 12 {
        0 => vec![pure(&id("a")), pure(&id("b")), staged(&id("c"))],
        1 => vec![external(&id("a"))],
        2 => vec![staged(&id("a")), external(&id("b")), pure(&id("c"))],
        3 => vec![delegate(&id("a"), &format!("part {n}")), delegate(&id("b"), &id("other"))],
        4 => vec![ask(&id("a")), pure(&id("b"))],
        5 => vec![plan(&id("a"), &[("a", &[]), ("b", &["a"])])],
        6 => vec![wrong(&id("a")), same(&staged("x"), &id("b"))],
        7 => vec![same(&staged("x"), &id("b"))],
        8 => vec![give_up(&id("a"), "language-model")],
        9 => vec![external(&id("a")), finish(&id("b")), staged(&id("c"))],
        10 => vec![],
        _ => vec![finish(&id("a"))],
    }
}

/// Each call with what hooks want to hear of it.
fn heard(run: &contract::action::Run, calls: Vec<Call>) -> Vec<Call> {
    let events: Vec<HookEvent> = run.context.spec.hooks.iter().map(|hook| hook.event).collect();
    calls.into_iter().map(|call| Call { hooks: events.clone(), ..call }).collect()
}

fn end(world: &World, id: SessionId, n: u8, m: u8) -> End {
    let run = world.flight(id);
    let kinds = [Kind::Transient, Kind::RateLimited, Kind::Degraded, Kind::Permanent, Kind::UserFixable];
    let kind = kinds[usize::from(m) % kinds.len()];
    match n % 16 {
        0 => End::Unknown,
        1 => End::Cancelled,
        2 => End::TimedOut,
        3 => fails(kind, "net"),
        4 => fails(kind, contract::error::NOT_RUN),
        5 if m < 40 => fails(kind, contract::error::CONTEXT_FULL),
        6 if m < 40 => prepared(),
        _ => match &run.work {
            Work::Model { .. } if m == 7 => said(vec![], Stop::MaxTokens),
            Work::Model { .. } if m == 8 => said(vec![], Stop::Refusal),
            Work::Model { .. } => says(heard(run, calls(run, m))),
            Work::Tools { .. } => ran(run, !m.is_multiple_of(4)),
            Work::Hooks { asked } => hooked(asked.call.as_deref(), m),
            Work::Check { .. } if m.is_multiple_of(3) => checked("c", Status::Passed, Status::Failed),
            Work::Inspect { .. } => inspected(usize::from(m.is_multiple_of(3))),
            Work::Integrate { .. } if m.is_multiple_of(4) => integrated(None, Some("conflict")),
            work => well(run, work),
        },
    }
}

fn play(world: &mut World, step: Move) {
    match step {
        Move::Wish(who, what, which) => {
            let id = pick(world, who);
            let sources = [
                Source::User,
                Source::User,
                Source::User,
                Source::Schedule,
                Source::Recovery,
                Source::MainLoop,
            ];
            let wish = wish(world, id, what, which);
            let mut intent = world.intent(id, sources[usize::from(which) % sources.len()], wish);
            intent.ttl_ms = which.is_multiple_of(5).then_some(u64::from(which) * 100);
            world.feed(id, Input::Inbox(vec![Ok(intent)]));
        }
        Move::End(how, which) => {
            let flying: Vec<SessionId> =
                world.sessions.iter().filter(|(_, live)| live.flight.is_some()).map(|(id, _)| *id).collect();
            if let Some(id) = flying.get(usize::from(how) % flying.len().max(1)) {
                let end = end(world, *id, how, which);
                world.end(*id, end);
            }
        }
        Move::Stale(who, step) => {
            let action = ActionId { turn: 1, step: u32::from(step) };
            let outcome = Outcome::new(action, 77, End::Cancelled, Amount::ZERO);
            world.feed(pick(world, who), Input::Outcome(Box::new(outcome)));
        }
        Move::Deliver => {
            world.deliver();
        }
        Move::Tick(who, ms) => {
            world.now += u64::from(ms);
            world.feed(pick(world, who), Input::Tick);
        }
        Move::ClockBack(ms) => world.now = world.now.saturating_sub(u64::from(ms)),
        Move::Restart => world.restart(),
    }
}

/// The faults have stopped: what runs goes well, a person answers what is asked and lets things go on.
fn calm(world: &mut World) {
    for _ in 0..400 {
        world.play();
        world.sessions.keys().for_each(|id| world.at_rest(*id));
        let needs_somebody = |state: &kernel::Session| match state.phase {
            Phase::Active => state.live_children().next().is_none(),
            Phase::Paused => true,
            Phase::Ended => false,
        };
        let open = world.sessions.iter().find(|(_, live)| needs_somebody(&live.state));
        let Some((id, live)) = open else { return };
        let (id, state) = (*id, &live.state);
        let pending = state.approvals.iter().find(|(_, approval)| approval.state == ApprovalState::Pending);
        let wish = match (
            pending,
            state.questions.keys().next(),
            state.pause.as_ref().map(|pause| pause.why.as_str()),
        ) {
            (_, _, Some("budget")) => {
                let amount =
                    Amount { nanos: u64::MAX / 8, tokens: 1 << 40, steps: 1 << 20, time_ms: 1 << 40 };
                world.wish(state.root(), Source::User, Wish::AddBudget { amount });
                resume()
            }
            (_, _, Some(_)) => message("go on"),
            (Some((approval, record)), ..) => Wish::Approve { approval: approval.clone(), hash: record.hash },
            (_, Some(question), _) => Wish::Answer { question: question.clone(), text: text("so"), bytes: 2 },
            _ => panic!("{}", world.brief(id)),
        };
        world.wish(id, Source::User, wish);
    }
    let left: Vec<String> = world.sessions.keys().map(|id| world.brief(*id)).collect();
    panic!("a person could not bring it to an end: {left:#?}");
}

/// Stories told every day; `PROPTEST_CASES` asks for eight times as many as it says.
const EVERYDAY: u32 = 400;

#[expect(
    clippy::disallowed_methods,
    reason = "the variable proptest itself reads, which a fixed number would override"
)]
fn deep() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let usual = ProptestConfig::default();
    let cases = if asked { usual.cases.saturating_mul(8) } else { EVERYDAY };
    ProptestConfig { cases, max_shrink_iters: 4_000, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(deep())]

    #[test]
    fn the_promises_hold_whatever_happens(
        spec in specs(),
        two in any::<bool>(),
        tight in any::<bool>(),
        moves in prop::collection::vec(moves(), 1..160),
    ) {
        let one = Slots { model: 1, tool: 1, check: 1, workspace: 1 };
        let mut world = if tight { World::with_slots(one) } else { World::new() };
        world.open(SessionId(1), spec.clone());
        if two {
            world.open(SessionId(2), spec);
        }
        for step in moves {
            play(&mut world, step);
        }
        calm(&mut world);
        for (id, live) in &world.sessions {
            prop_assert_eq!(live.state.phase, Phase::Ended, "{}", world.brief(*id));
            prop_assert!(live.state.queue.is_empty());
        }
        for root in world.ledgers.keys() {
            prop_assert_eq!(world.ledger(*root).held(*root), Amount::ZERO, "something is held for ever");
        }
    }
}

#[test]
fn an_external_call_never_runs_again_unasked() {
    // `World` asserts it after every decision; here is one long story that meets it often.
    let mut world = World::new();
    world.open(SessionId(1), asking(Ask::Never));
    for n in 0..40u8 {
        let id = SessionId(1);
        if world.doing(id) == "-" {
            let pending = world.state(id).pending_approval().map(|(id, a)| (id.to_owned(), a.hash));
            let Some((approval, hash)) = pending else { break };
            world.wish(
                id,
                Source::User,
                if n.is_multiple_of(3) { Wish::Deny { approval } } else { Wish::Approve { approval, hash } },
            );
            continue;
        }
        let run = world.flight(id).clone();
        let end = match &run.work {
            Work::Model { .. } => says(vec![external(&format!("x{n}"))]),
            Work::Tools { .. } if run.class == EffectClass::External && n.is_multiple_of(2) => End::Unknown,
            work => well(&run, work),
        };
        world.end(id, end);
        if n.is_multiple_of(7) {
            world.restart();
        }
    }
    assert!(world.state(SessionId(1)).step > 8);
}
