//! A question is not a yes (promise 8): approvals, questions, and words that are neither.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::End;
use contract::event::{Answer, Disposal, Event, Subject};
use contract::intent::{Source, Wish};
use contract::session::Ask;
use contract::{Digest, Kind, limits};
use kernel::Input;
use kernel::fsm::Phase;

/// A session that waits for a yes to one external call.
fn waiting() -> (World, String, Digest) {
    let mut world = World::working(asking(Ask::External));
    world.end(ROOT, says(vec![external("x")]));
    let (id, hash) = pending(&world);
    (world, id, hash)
}

fn pending(world: &World) -> (String, Digest) {
    let (id, approval) = world.root().pending_approval().expect("a pending approval");
    (id.to_owned(), approval.hash)
}

fn yes(approval: &str, hash: Digest) -> Wish {
    Wish::Approve { approval: approval.into(), hash }
}

fn last_disposal(world: &World) -> Disposal {
    let how = world.events(ROOT).rev().find_map(|event| match event {
        Event::Disposed { how, .. } => Some(how.clone()),
        _ => None,
    });
    how.expect("a disposal")
}

fn refused(world: &World, words: &str) {
    let how = last_disposal(world);
    assert!(matches!(&how, Disposal::Refused(why) if why.contains(words)), "{how:?}");
}

#[test]
fn nothing_runs_before_the_yes_and_it_runs_as_it_was_shown() {
    let (mut world, id, hash) = waiting();
    assert_eq!(world.doing(ROOT), "-");
    world.user(yes(&id, hash));
    assert_eq!(world.flight(ROOT).approved, Some(hash));
    world.tools(ROOT);
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn a_yes_to_something_else_is_refused() {
    let (mut world, id, _) = waiting();
    world.user(yes(&id, text("other content")));
    refused(&world, "not what was shown");
    assert_eq!(world.doing(ROOT), "-");
}

#[test]
fn two_yeses_run_it_once() {
    let (mut world, id, hash) = waiting();
    world.user(yes(&id, hash));
    world.user(yes(&id, hash));
    refused(&world, "no open approval");
    world.tools(ROOT);
    world.user(yes(&id, hash));
    refused(&world, "no open approval");
    assert_eq!(world.effects.len(), 1);
}

#[test]
fn a_yes_while_it_cannot_start_yet_is_kept_and_a_second_one_is_refused() {
    let (mut world, id, hash) = waiting();
    world.user(Wish::Pause);
    world.user(yes(&id, hash));
    world.user(yes(&id, hash));
    refused(&world, "answered already");
    world.user(resume());
    assert_eq!(world.flight(ROOT).approved, Some(hash));
}

#[test]
fn chat_text_is_never_a_yes_and_never_waits_behind_one() {
    let (mut world, _, _) = waiting();
    world.user(message("yes"));
    assert_eq!(world.doing(ROOT), "model", "the message is delivered");
    assert!(world.effects.is_empty() && world.root().approvals.is_empty());
    let items = &world.flight(ROOT).context.items;
    assert!(!items[items.len() - 2].ok, "the call was not run");
    assert_eq!(items.last().unwrap().text, Some(text("yes")));
}

#[test]
fn a_message_that_lay_there_before_the_question_is_no_yes_and_does_not_wait_either() {
    let mut world = World::working(asking(Ask::External));
    world.user(message("yes"));
    world.end(ROOT, says(vec![external("x")]));
    assert_eq!(world.doing(ROOT), "model", "the message is delivered");
    assert!(world.effects.is_empty() && world.root().approvals.is_empty());
    let mut world = World::working(spec());
    world.user(message("something else"));
    world.end(ROOT, says(vec![ask("q")]));
    assert_eq!(world.doing(ROOT), "model");
    assert!(world.root().questions.is_empty());
    assert_eq!(world.flight(ROOT).context.items.last().unwrap().text, Some(text("something else")));
}

#[test]
fn a_no_is_the_calls_answer() {
    let (mut world, id, _) = waiting();
    world.user(Wish::Deny { approval: id });
    assert_eq!(world.doing(ROOT), "model");
    assert!(!world.flight(ROOT).context.items.last().unwrap().ok);
}

#[test]
fn time_says_no_and_a_yes_after_it_is_too_late() {
    let (mut world, id, hash) = waiting();
    let expires = world.root().approvals[&id].expires;
    assert_eq!(expires.0, world.now + limits::APPROVAL_MS);
    world.now = expires.0;
    world.user(yes(&id, hash));
    refused(&world, "no open approval");
    assert!(
        world
            .events(ROOT)
            .any(|event| matches!(event, Event::ApprovalAnswered { answer: Answer::Expired, .. }))
    );
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn a_restart_says_neither_yes_nor_no() {
    let (mut world, id, hash) = waiting();
    world.restart();
    assert_eq!(world.doing(ROOT), "-");
    assert_eq!(pending(&world), (id.clone(), hash));
    world.user(yes(&id, hash));
    world.end(ROOT, prepared());
    assert_eq!(world.flight(ROOT).approved, Some(hash));
}

#[test]
fn only_a_person_may_say_yes_answer_or_raise() {
    for source in [Source::MainLoop, Source::Planner, Source::Schedule, Source::Subtask, Source::Recovery] {
        let (mut world, id, hash) = waiting();
        world.wish(ROOT, source, yes(&id, hash));
        refused(&world, "only a person");
        world.wish(ROOT, source, Wish::AddBudget { amount: contract::Amount::UNLIMITED });
        refused(&world, "only a person");
        assert_eq!(world.doing(ROOT), "-");
    }
}

#[test]
fn a_call_that_failed_before_it_began_is_asked_for_again() {
    let (mut world, id, hash) = waiting();
    world.user(yes(&id, hash));
    world.end(ROOT, fails(Kind::Transient, contract::error::NOT_RUN));
    let (second, _) = pending(&world);
    assert_ne!(second, id, "the first yes is used up");
    world.now += 60_000;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "-");
    world.user(yes(&second, hash));
    assert_eq!(world.doing(ROOT), "tools");
}

#[test]
fn a_staged_call_that_was_agreed_to_and_interrupted_runs_again_as_it_was_shown() {
    let mut world = World::working(asking(Ask::Writes));
    world.end(ROOT, says(vec![staged("e")]));
    let (id, hash) = pending(&world);
    world.user(yes(&id, hash));
    world.restart();
    world.end(ROOT, prepared());
    let run = world.flight(ROOT);
    assert_eq!((run.attempt, run.restore, run.approved), (2, true, Some(hash)));
    world.end(ROOT, fails(Kind::Transient, "disk"));
    world.now += 60_000;
    world.feed(ROOT, Input::Tick);
    assert_eq!((world.flight(ROOT).attempt, world.flight(ROOT).approved), (3, Some(hash)));
}

#[test]
fn every_write_of_a_message_is_asked_for_and_reads_are_not() {
    let mut world = World::working(asking(Ask::Writes));
    world.end(ROOT, says(vec![pure("r"), staged("e1"), staged("e2")]));
    assert_eq!(world.doing(ROOT), "tools");
    world.tools(ROOT);
    assert_eq!(world.root().approvals.len(), 2, "both are shown at once");
    let (first, hash) = pending(&world);
    world.user(yes(&first, hash));
    assert_eq!(world.doing(ROOT), "-", "the other one is still open");
    let (second, hash) = pending(&world);
    world.user(yes(&second, hash));
    world.tools(ROOT);
    world.tools(ROOT);
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn finish_waits_for_what_was_called_before_it() {
    let mut world = World::working(asking(Ask::External));
    world.end(ROOT, says(vec![external("x"), finish("f"), staged("late")]));
    assert!(world.root().finish.is_none());
    let (id, hash) = pending(&world);
    world.user(yes(&id, hash));
    world.tools(ROOT);
    assert_eq!(world.doing(ROOT), "check", "and what was called after it is not run");
    assert_eq!(world.effects.len(), 1);
}

#[test]
fn a_question_waits_for_its_answer() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![ask("q")]));
    let question = world.root().questions.keys().next().unwrap().clone();
    assert_eq!(world.doing(ROOT), "-");
    let wrong = Wish::Answer { question: "q999".into(), text: text("this"), bytes: 4 };
    world.user(wrong);
    refused(&world, "no open question");
    world.user(Wish::Answer { question: question.clone(), text: text("this"), bytes: 4 });
    assert_eq!(world.flight(ROOT).context.items.last().unwrap().text, Some(text("this")));
    world.user(Wish::Answer { question, text: text("that"), bytes: 4 });
    refused(&world, "no open question");
}

#[test]
fn a_message_instead_of_an_answer_is_a_message() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![ask("q1"), ask("q2")]));
    assert_eq!(world.root().questions.len(), 2);
    world.user(message("do something else"));
    assert!(world.root().questions.is_empty());
    let items = &world.flight(ROOT).context.items;
    assert!(items.iter().filter(|item| item.call.is_some()).all(|item| !item.ok));
    assert_eq!(items.last().unwrap().text, Some(text("do something else")));
}

#[test]
fn an_unknown_outcome_is_a_persons_to_decide() {
    for again in [true, false] {
        let mut world = World::working(spec());
        world.end(ROOT, says(vec![external("x")]));
        world.end(ROOT, End::Unknown);
        let (id, hash) = pending(&world);
        assert!(matches!(world.root().approvals[&id].subject, Subject::RunAgain { .. }));
        if again {
            world.user(yes(&id, hash));
            assert_eq!((world.flight(ROOT).attempt, world.flight(ROOT).approved), (2, Some(hash)));
            world.end(ROOT, End::TimedOut);
            assert!(world.root().pending_approval().is_some(), "and again, when that one is lost too");
        } else {
            world.user(Wish::Deny { approval: id });
            assert_eq!(world.doing(ROOT), "model");
        }
    }
}

#[test]
fn words_while_an_outcome_is_unknown_leave_it_unknown() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![external("x")]));
    world.end(ROOT, End::Unknown);
    world.user(message("never mind"));
    assert_eq!(world.doing(ROOT), "model");
    assert_eq!(world.root().redo, None);
    assert_eq!(world.root().phase, Phase::Active);
    assert!(world.effects.is_empty());
}
