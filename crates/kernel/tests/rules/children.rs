//! Parents and children (K1-1, K1-2): rights, limits, cycles, results, cancelling a tree.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::{Control, Done, End, Role, Work};
use contract::event::{Event, Notice};
use contract::intent::{ChildEnd, Source, Wish};
use contract::session::{Ask, Limits, Rights, SessionSpec};
use contract::{Amount, Kind, SessionId};
use kernel::fsm::Phase;

fn only_child(world: &World, parent: SessionId) -> SessionId {
    *world.state(parent).children.keys().next_back().expect("a child")
}

fn told(world: &World, parent: SessionId) -> String {
    let last = world.state(parent).items.iter().rev().find(|item| item.role == Role::Tool).unwrap();
    match last.notice.as_deref() {
        Some(Notice::Told { what }) => what.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_child_works_in_its_own_session_and_its_confirmed_result_is_adopted() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part")]));
    assert_eq!(world.doing(ROOT), "-");
    let child = only_child(&world, ROOT);
    let spec = world.state(child).spec.clone().unwrap();
    let parent = spec.parent.clone().unwrap();
    assert_eq!((parent.session, parent.root, parent.call.as_str()), (ROOT, ROOT, "d"));
    assert!(!spec.rights.land, "only the root lands");
    world.play();
    assert_eq!(world.state(child).end.as_ref().unwrap().code, 0);
    assert!(world.state(child).landed.is_none());
    let adopted =
        world.events(ROOT).any(|event| matches!(event, Event::Started { work: Work::Adopt { .. }, .. }));
    assert!(adopted);
    assert_eq!(world.root().end.as_ref().unwrap().code, 0);
}

#[test]
fn the_parent_hears_how_a_child_ended_or_which_files_are_in_conflict() {
    for clean in [true, false] {
        let mut world = World::working(spec());
        world.end(ROOT, says(vec![delegate("d", "part")]));
        let child = only_child(&world, ROOT);
        let end = ChildEnd {
            state: "completed".into(),
            code: 0,
            commit: Some("abc".into()),
            summary: Some(text("so")),
        };
        world.wish(ROOT, Source::Subtask, Wish::SubtaskEnded { child, end: end.clone() });
        let adopted = Done::Adopted { child, clean, text: text("files"), bytes: 5 };
        world.end(ROOT, End::Done(adopted));
        let item = world.root().items.back().unwrap();
        let notice = item.notice.as_deref();
        assert_eq!((item.ok, item.text), (clean, Some(text("files"))));
        assert_eq!(notice, clean.then_some(&Notice::ChildEnded { child, end }));
    }
}

#[test]
fn a_result_that_is_not_to_be_had_any_more_is_told_and_the_parent_goes_on() {
    for restarts in [false, true] {
        let mut world = World::working(spec());
        world.end(ROOT, says(vec![delegate("d", "part")]));
        let child = only_child(&world, ROOT);
        let end = ChildEnd { state: "completed".into(), code: 0, commit: Some("abc".into()), summary: None };
        assert!(world.root().awaits(child));
        world.wish(ROOT, Source::Subtask, Wish::SubtaskEnded { child, end });
        assert_eq!(world.doing(ROOT), "adopt");
        if restarts {
            world.restart();
            world.end(ROOT, prepared());
            assert_eq!((world.doing(ROOT), world.flight(ROOT).attempt), ("adopt", 2));
        }
        assert!(world.root().awaits(child), "it is not taken over yet");
        world.end(ROOT, fails(Kind::Permanent, contract::error::CHILD_GONE));
        assert_eq!(world.doing(ROOT), "model");
        assert!(told(&world, ROOT).contains("could not be taken over"), "{}", told(&world, ROOT));
        assert!(!world.root().awaits(child));
        world.play();
        assert_eq!(world.root().end.as_ref().unwrap().code, 0);
    }
    // What a person can put right is waited for.
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part")]));
    let child = only_child(&world, ROOT);
    let end = ChildEnd { state: "completed".into(), code: 0, commit: Some("abc".into()), summary: None };
    world.wish(ROOT, Source::Subtask, Wish::SubtaskEnded { child, end });
    world.end(ROOT, fails(Kind::UserFixable, contract::error::DISK_FULL));
    world.user(resume());
    assert_eq!(world.doing(ROOT), "adopt");
}

#[test]
fn a_childs_failure_is_a_result_for_its_parent() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part")]));
    let child = only_child(&world, ROOT);
    world.deliver();
    world.end(child, fails(Kind::UserFixable, "git"));
    world.deliver();
    assert_eq!(world.doing(ROOT), "model");
    let last = world.flight(ROOT).context.items.last().unwrap();
    assert!(!last.ok && matches!(last.notice.as_deref(), Some(Notice::ChildEnded { .. })));
    world.play();
    assert_eq!(world.root().end.as_ref().unwrap().code, 0);
}

#[test]
fn a_child_may_do_nothing_that_its_parent_may_not() {
    let tools = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    let rights = Rights { tools: tools(&["read", "edit"]), ..Rights::all(Ask::Writes) };
    let mut world = World::working(SessionSpec { rights: rights.clone(), ..spec() });
    world.end(ROOT, says(vec![delegate_with("d", "part", Amount::UNLIMITED, tools(&["edit", "shell"]))]));
    let child = world.state(only_child(&world, ROOT)).spec.clone().unwrap();
    assert!(child.rights.within(&rights));
    assert_eq!(child.rights.tools, tools(&["edit"]));
    assert_eq!(child.rights.ask, Ask::Writes);
}

#[test]
fn who_may_not_delegate_is_told_so() {
    let rights = Rights { delegate: false, ..spec().rights };
    let mut world = World::working(SessionSpec { rights, ..spec() });
    world.end(ROOT, says(vec![delegate("d", "part")]));
    assert!(told(&world, ROOT).contains("may not delegate"));
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn trees_have_a_greatest_depth() {
    let limits = Limits { depth: 2, ..Limits::default() };
    let mut world = World::working(SessionSpec { limits, ..spec() });
    let mut at = ROOT;
    for level in 0..2 {
        world.end(at, says(vec![delegate("d", &format!("level {level}"))]));
        at = only_child(&world, at);
        world.deliver();
        world.end(at, prepared());
    }
    world.end(at, says(vec![delegate("d", "too deep")]));
    assert!(told(&world, at).contains("2 levels deep"));
    assert_eq!(world.sessions.len(), 3);
}

#[test]
fn a_session_has_a_greatest_number_of_children() {
    let limits = Limits { children: 2, ..Limits::default() };
    let mut world = World::working(SessionSpec { limits, ..spec() });
    let calls = (0..4).map(|n| delegate(&format!("d{n}"), &format!("part {n}"))).collect();
    world.end(ROOT, says(calls));
    assert_eq!(world.root().children.len(), 2);
    assert!(told(&world, ROOT).contains("2 children"));
}

#[test]
fn the_goal_of_somebody_above_is_not_delegated_again() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part")]));
    let child = only_child(&world, ROOT);
    world.deliver();
    world.end(child, prepared());
    for goal in ["mend it", "part"] {
        world.end(child, says(vec![delegate(&format!("again {goal}"), goal)]));
        assert!(told(&world, child).contains("very goal"));
    }
}

#[test]
fn decisions_wait_until_the_children_are_back() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part"), ask("q"), staged("e"), finish("f")]));
    assert!(world.root().questions.is_empty());
    assert_eq!(world.doing(ROOT), "-");
    let child = only_child(&world, ROOT);
    let end = ChildEnd { state: "failed".into(), code: 1, commit: None, summary: None };
    world.wish(ROOT, Source::Subtask, Wish::SubtaskEnded { child, end });
    assert_eq!(world.root().questions.len(), 1);
}

#[test]
fn a_result_that_comes_while_the_parent_is_paused_waits_for_it() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d1", "one"), delegate("d2", "two")]));
    let children: Vec<SessionId> = world.root().children.keys().copied().collect();
    world.user(Wish::Pause);
    let end = |commit: Option<&str>| ChildEnd {
        state: "completed".into(),
        code: 0,
        commit: commit.map(Into::into),
        summary: None,
    };
    world.wish(ROOT, Source::Subtask, Wish::SubtaskEnded { child: children[0], end: end(Some("abc")) });
    world.wish(ROOT, Source::Subtask, Wish::SubtaskEnded { child: children[1], end: end(None) });
    assert_eq!(world.doing(ROOT), "-");
    assert_eq!(world.root().queue.len(), 1, "the other one changes nothing and was taken note of");
    world.user(resume());
    assert_eq!(world.doing(ROOT), "adopt");
}

#[test]
fn a_cancelled_tree_is_barred_told_and_ends_from_below() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d1", "one"), delegate("d2", "two")]));
    world.deliver();
    let children: Vec<SessionId> = world.root().children.keys().copied().collect();
    for child in &children {
        world.end(*child, prepared());
    }
    world.end(children[0], says(vec![delegate("d3", "three")]));
    let grandchild = only_child(&world, children[0]);
    world.deliver();
    world.user(Wish::Cancel);
    assert_eq!(world.root().phase, Phase::Active, "it waits for those below it");
    world.end(grandchild, prepared());
    assert_eq!(world.doing(grandchild), "-", "barred before it was told");
    world.play();
    for id in [ROOT, children[0], children[1], grandchild] {
        let end = world.state(id).end.clone().unwrap_or_else(|| panic!("{}", world.brief(id)));
        assert_eq!(end.code, 130);
    }
    assert_eq!(world.ledger(ROOT).held(ROOT), Amount::ZERO);
}

#[test]
fn a_child_that_ends_after_its_parent_disturbs_nobody() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part")]));
    let child = only_child(&world, ROOT);
    world.deliver();
    world.user(Wish::Cancel);
    world.play();
    let end = ChildEnd { state: "completed".into(), code: 0, commit: Some("abc".into()), summary: None };
    world.wish(ROOT, Source::Subtask, Wish::SubtaskEnded { child, end });
    assert_eq!(world.root().phase, Phase::Ended);
    assert!(world.root().queue.is_empty());
}

#[test]
fn a_childs_mode_and_model_are_the_parents_unless_said() {
    let mut world = World::working(spec());
    let goal = text("part");
    let wish =
        Control::Delegate { goal, bytes: 4, mode: "review".into(), budget: Amount::UNLIMITED, tools: None };
    world.end(ROOT, says(vec![control("d1", wish), delegate("d2", "two")]));
    let mut modes: Vec<String> =
        world.root().children.keys().map(|id| world.state(*id).spec.as_ref().unwrap().mode.clone()).collect();
    modes.sort();
    assert_eq!(modes, ["code", "review"]);
}
