//! Hooks: when they are asked, what their answers come to together, and what follows.
//!
//! Knows no program and no file format (`contract::hooks`). A hook asks before a person is asked and never lifts what a
//! rule denies or the floor holds; what one changed is judged anew before anything else looks at it. Start at [`word`]
//! (the decision), then `Draft::hook_wanted` (when) and `Session::hooked` (what a run changes).

use crate::Illegal;
use crate::attempt::said;
use crate::decide::Draft;
use crate::fsm::{CallState, Phase, Turn};
use crate::next::Choice;
use crate::session::{CallSlot, Ended, Session};
use contract::action::{Call, CallResult, Done, EffectClass, Item, Role, Work};
use contract::event::{Disposal, Event, Final, Notice};
use contract::hooks::{Asked, HookAnswer, HookDef, HookEvent};
use contract::intent::{Intent, Source, Wish};
use contract::policy::{Decision, Ruling};
use contract::session::StageKind;
use contract::{Digest, IntentId, limits};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What is known of the hooks of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookState {
    /// What they are to be told, oldest first.
    pub due: VecDeque<Asked>,
    /// The goal was let through.
    pub goal: bool,
    /// Messages in the queue that were let through.
    pub cleared: Vec<IntentId>,
    /// That the agent yields was let through.
    pub stop: bool,
    /// How often in a row the agent was kept at work.
    pub kept: u32,
    /// That entries are taken out was told.
    pub compact: bool,
    /// Words for the agent that wait until its calls have their results.
    pub notes: Vec<(HookEvent, Digest)>,
    /// How the session is about to end.
    pub ending: Option<Ended>,
    /// The hooks were told so, or could not be.
    pub told_end: bool,
}

/// What the answers come to together: deny before ask before allow. A hook that guards and fails has said no; one that a
/// project brought along never allows.
pub fn word(event: HookEvent, hooks: &[HookDef], answers: &[HookAnswer]) -> Option<Decision> {
    let of = |answer: &HookAnswer| {
        let hook = hooks.get(answer.hook as usize);
        let failed = !answer.failed.is_empty() && event.guards();
        let project = hook.is_none_or(|hook| hook.project);
        match answer.say {
            _ if failed => Some(Decision::Deny),
            Some(Decision::Allow) if project => None,
            say => say,
        }
    };
    answers.iter().filter_map(of).max()
}

/// May a hook's yes stand for a person's? Not for what the floor holds, nor for what a person wrote a rule about.
pub fn lifts(call: &Call) -> bool {
    call.ruled.as_ref().is_none_or(|ruled| ruled.verdict != Decision::Deny && !ruled.firm)
}

/// Why the first that does not let it through does not.
fn reason(event: HookEvent, answers: &[HookAnswer]) -> String {
    let against = |answer: &&HookAnswer| {
        answer.say == Some(Decision::Deny) || event.guards() && !answer.failed.is_empty()
    };
    let Some(answer) = answers.iter().find(against) else { return String::new() };
    match (&answer.said, &answer.failed) {
        (said, failed) if failed.is_empty() => said.clone(),
        (_, failed) => format!("it failed: {failed}"),
    }
}

impl Session {
    fn hook_defs(&self) -> &[HookDef] {
        self.spec.as_ref().map_or(&[], |spec| &spec.hooks)
    }

    /// Is there a hook for this event?
    pub(crate) fn hooked_on(&self, event: HookEvent) -> bool {
        self.hook_defs().iter().any(|hook| hook.event == event)
    }

    /// The hooks are told of it when it is their turn.
    pub(crate) fn tell_hooks(&mut self, asked: Asked) {
        let most = self.hooks.due.len() >= limits::HOOKS;
        if self.hooked_on(asked.event) && self.prepared.is_some() && !most {
            self.hooks.due.push_back(asked);
        }
    }

    /// A call has its result: hooks are told what it gave.
    pub(crate) fn tell_result(&mut self, result: &CallResult) {
        let event = if result.ok { HookEvent::PostToolUse } else { HookEvent::PostToolUseFailure };
        let slot = self.calls.iter().find(|slot| slot.call.id == result.call);
        let Some(call) = slot.map(|slot| &slot.call).filter(|call| call.hooks.contains(&event)) else {
            return;
        };
        let call = Some(Box::new(call.clone()));
        self.tell_hooks(Asked { call, gave: Some(result.text), ..Asked::of(event, "") });
    }

    /// What a run of hooks changes.
    pub(crate) fn hooked(&mut self, asked: &Asked, done: &Done) -> Result<(), Illegal> {
        let Done::Hooked { answers, told, bytes, call } = done else { return Ok(()) };
        let word = word(asked.event, self.hook_defs(), answers);
        let denied = word == Some(Decision::Deny);
        self.hooks.due.pop_front_if(|due| due == asked);
        let mut told = *told;
        match asked.event {
            HookEvent::PreToolUse | HookEvent::PermissionRequest => {
                let answer = denied.then(|| told.take()).flatten().map(|text| (text, *bytes));
                self.call_hooked(asked, word, answer, call.as_deref())?;
            }
            HookEvent::UserPromptSubmit => match asked.intent {
                Some(intent) if !denied => self.hooks.cleared.push(intent),
                Some(_) => {}
                None => self.hooks.goal = true,
            },
            HookEvent::Stop | HookEvent::SubagentStop => {
                if let Some(text) = told.filter(|_| denied && self.hooks.kept < limits::HOOK_KEEPS) {
                    self.hooks.kept += 1;
                    return self.noticed(&Notice::Hook { event: asked.event, text });
                }
                self.hooks.stop = true;
            }
            HookEvent::PreCompact => self.hooks.compact = true,
            HookEvent::SessionEnd => self.hooks.told_end = true,
            _ => {}
        }
        if let Some(text) = told {
            self.hooks.notes.push((asked.event, text));
            self.say_notes();
        }
        Ok(())
    }

    /// What hooks said to the agent stands in the conversation, but never between a call and its result.
    pub(crate) fn say_notes(&mut self) {
        if self.turn == Turn::Calls {
            return;
        }
        for (event, text) in std::mem::take(&mut self.hooks.notes) {
            let notice = Some(Box::new(Notice::Hook { event, text }));
            self.push(Item { notice, bytes: limits::NOTICE_BYTES, ..Item::by(Role::Notice) });
        }
    }

    fn call_hooked(
        &mut self,
        asked: &Asked,
        word: Option<Decision>,
        answer: Option<(Digest, u64)>,
        changed: Option<&Call>,
    ) -> Result<(), Illegal> {
        let Some(id) = asked.call.as_ref().map(|call| call.id.clone()) else {
            return Err(Illegal::new("hooks of a call", asked));
        };
        let slot = self.call(&id).ok_or_else(|| Illegal::new("calls", &id))?;
        slot.asked.push(asked.event);
        if let Some(call) = changed.filter(|_| word != Some(Decision::Deny)) {
            slot.call = call.clone();
        }
        let refused = slot.call.error;
        match word {
            Some(Decision::Deny) => {}
            Some(Decision::Ask) if slot.call.ruled.as_ref().is_none_or(|it| it.verdict != Decision::Ask) => {
                let why = "a hook wants a person to decide (hook)".to_owned();
                slot.call.ruled = Some(Ruling { verdict: Decision::Ask, why, firm: false });
            }
            Some(Decision::Allow) if lifts(&slot.call) => slot.waived = true,
            _ => {}
        }
        let item = match (word, answer, refused) {
            (Some(Decision::Deny), Some((text, bytes)), _) => said(Role::Tool, text, bytes),
            (Some(Decision::Deny), None, _) => {
                let what = "not run: a hook denied it".to_owned();
                let bytes = what.len() as u64;
                let notice = Some(Box::new(Notice::Told { what }));
                Item { notice, bytes, ..Item::by(Role::Tool) }
            }
            (_, _, Some(error)) => said(Role::Tool, error, limits::REFUSAL_BYTES),
            _ => return Ok(()),
        };
        self.answer_call(&id, Item { call: Some(id.clone()), ok: false, ..item })
    }

    /// Which hook is to be asked before this call goes on.
    fn call_hook(&self, slot: &CallSlot, asks: bool) -> Option<HookEvent> {
        let open = |event: &HookEvent| slot.call.hooks.contains(event) && !slot.asked.contains(event);
        let asks = asks && !slot.waived && slot.approval.is_none();
        [HookEvent::PreToolUse].into_iter().chain(asks.then_some(HookEvent::PermissionRequest)).find(open)
    }
}

impl Draft<'_> {
    /// Does something wait for hooks before this call goes on?
    pub(crate) fn hook_pending(&self, slot: &CallSlot) -> bool {
        self.s.call_hook(slot, self.needs_approval(&slot.call)).is_some()
    }

    /// Was this message let through?
    pub(crate) fn heard(&self, intent: &Intent) -> bool {
        !self.s.hooked_on(HookEvent::UserPromptSubmit)
            || !matches!(intent.wish, Wish::Message { .. })
            || self.s.hooks.cleared.contains(&intent.id)
    }

    /// What hooks are to be asked before the agent's turn goes on.
    pub(crate) fn hook_wanted(&self) -> Option<Work> {
        let s = &self.s;
        s.spec.as_ref().filter(|spec| !spec.hooks.is_empty())?;
        let agent = s.stage().is_some_and(|stage| stage.kind == StageKind::Agent);
        let asked = match s.turn {
            Turn::Calls => {
                let slot = s.calls.iter().find(|slot| slot.state == CallState::Open)?;
                let event = s.call_hook(slot, self.needs_approval(&slot.call))?;
                Asked { call: Some(Box::new(slot.call.clone())), ..Asked::of(event, "") }
            }
            Turn::Model if agent && !s.hooks.goal && s.hooked_on(HookEvent::UserPromptSubmit) => {
                let text = s.spec.as_ref().map(|spec| spec.goal);
                Asked { text, ..Asked::of(HookEvent::UserPromptSubmit, "goal") }
            }
            Turn::Yielded if agent && !s.hooks.stop && s.hooked_on(self.stop_event()) => {
                let again = s.hooks.kept > 0;
                let text = s.finish.as_ref().map(|finish| finish.summary).or(s.last_text);
                Asked { text, again, ..Asked::of(self.stop_event(), "") }
            }
            _ => return None,
        };
        Some(Work::Hooks { asked: Box::new(asked) })
    }

    fn stop_event(&self) -> HookEvent {
        let child = self.s.spec.as_ref().is_some_and(|spec| spec.parent.is_some());
        if child { HookEvent::SubagentStop } else { HookEvent::Stop }
    }

    /// The hooks that a message has to pass first.
    pub(crate) fn prompt_hooks(&self, intent: &Intent) -> Option<Work> {
        if self.heard(intent) {
            return None;
        }
        let Wish::Message { text, .. } = &intent.wish else { return None };
        let asked = Asked {
            text: Some(*text),
            intent: Some(intent.id),
            ..Asked::of(HookEvent::UserPromptSubmit, "message")
        };
        Some(Work::Hooks { asked: Box::new(asked) })
    }

    /// Tells hooks what happened. True: a run was started, or waits for its slot, and nothing goes before it.
    pub(crate) fn hooks_due(&mut self) -> Result<Option<bool>, Illegal> {
        let told = |asked: &&Asked| self.s.phase == Phase::Active || asked.event == HookEvent::Notification;
        let Some(asked) = self.s.hooks.due.front().filter(told).cloned() else { return Ok(None) };
        if self.s.redo.is_some() || !self.s.ready || self.s.not_before(self.ctx.now).is_some() {
            return Ok(None);
        }
        let started = self.ask_hooks(Work::Hooks { asked: Box::new(asked) })?;
        // A paused session lacks the budget for it: what is there to be waited for?
        Ok(if started || self.s.phase == Phase::Active { Some(started) } else { None })
    }

    pub(crate) fn ask_hooks(&mut self, work: Work) -> Result<bool, Illegal> {
        let (class, class_why) = self.hook_class(&work);
        self.run(Choice {
            intent: None,
            source: Source::MainLoop,
            wish: "continue",
            why: "hooks go first".into(),
            work,
            class,
            class_why,
        })
    }

    /// What is confined changes the workspace at most. What is not gets the action's name, the same each time.
    pub(crate) fn hook_class(&self, work: &Work) -> (EffectClass, String) {
        let Work::Hooks { asked } = work else { return (EffectClass::Pure, String::new()) };
        let mut of = self.s.hook_defs().iter().filter(|hook| hook.event == asked.event);
        match of.all(|hook| hook.confined) {
            true => (EffectClass::Staged, "confined to the workspace".into()),
            false => (EffectClass::Keyed, "a hook is told the name of the action, the same again".into()),
        }
    }

    /// Hooks have answered; what they said is folded in already.
    pub(crate) fn hooks_answered(&mut self, asked: &Asked, answers: &[HookAnswer]) -> Result<(), Illegal> {
        if let Some(ending) = self.s.hooks.ending.clone() {
            return self.end_now(ending.state, ending.code, &ending.why);
        }
        let denied = word(asked.event, self.s.hook_defs(), answers) == Some(Decision::Deny);
        let why = reason(asked.event, answers);
        let why = if why.is_empty() { "without a reason".to_owned() } else { why };
        if let (true, HookEvent::UserPromptSubmit) = (denied, asked.event) {
            return match asked.intent {
                None => self.end(Final::Failed, 6, &format!("a hook refused the goal: {why}")),
                Some(id) if self.s.queue.iter().any(|intent| intent.id == id) => {
                    self.dispose(id, Disposal::Refused(format!("a hook refused it: {why}")))
                }
                Some(_) => Ok(()),
            };
        }
        let Some(halt) = answers.iter().find(|answer| answer.halt) else { return Ok(()) };
        let what = format!("a hook stopped the session: {}", halt.said);
        let hint = format!("kapell resume {} to go on all the same", self.s.id);
        self.pause("hook", &what, &hint, 6)
    }

    /// The end, once the hooks were told of it. True: nothing else happens meanwhile.
    pub(crate) fn ending(&mut self) -> Result<Option<bool>, Illegal> {
        let Some(ending) = self.s.hooks.ending.clone() else { return Ok(None) };
        if self.s.hooks.told_end || self.s.redo.is_some() || !self.s.ready {
            self.end_now(ending.state, ending.code, &ending.why)?;
            return Ok(Some(true));
        }
        let asked = Asked::of(HookEvent::SessionEnd, "other");
        let started = self.ask_hooks(Work::Hooks { asked: Box::new(asked) })?;
        Ok(Some(started))
    }

    /// Hooks that are told of the end are told first. True: they are.
    pub(crate) fn tell_end(&mut self, state: Final, code: u8, why: &str) -> Result<bool, Illegal> {
        let wanted = self.s.hooked_on(HookEvent::SessionEnd) && self.s.ready && !self.s.cancel;
        if !wanted || self.s.hooks.ending.is_some() || self.s.running.is_some() {
            return Ok(false);
        }
        self.emit(Event::Ending { state, code, why: why.to_owned() })?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(event: HookEvent, project: bool) -> HookDef {
        HookDef {
            event,
            matcher: String::new(),
            only: String::new(),
            run: "x".into(),
            timeout_ms: 1,
            from: "hooks.json".into(),
            project,
            confined: true,
            silent: false,
            env: Vec::new(),
        }
    }

    fn answer(hook: u32, say: Option<Decision>, failed: &str) -> HookAnswer {
        let (said, failed, handed) = (String::new(), failed.into(), Vec::new());
        HookAnswer { hook, say, halt: false, said, failed, exit: None, ms: 1, handed }
    }

    #[test]
    fn deny_goes_before_ask_before_allow_and_a_failed_guard_is_a_no() {
        use Decision::{Allow, Ask, Deny};
        let event = HookEvent::PreToolUse;
        let hooks = [hook(event, false), hook(event, false), hook(event, true)];
        let said = |answers: &[HookAnswer]| word(event, &hooks, answers);
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[answer(0, Some(Allow), ""), answer(1, None, "")]), Some(Allow));
        assert_eq!(said(&[answer(0, Some(Allow), ""), answer(1, Some(Ask), "")]), Some(Ask));
        assert_eq!(said(&[answer(0, Some(Deny), ""), answer(1, Some(Allow), "")]), Some(Deny));
        assert_eq!(said(&[answer(0, Some(Allow), ""), answer(1, None, "timed out")]), Some(Deny));
        // What a project brought along narrows, and never widens.
        assert_eq!(said(&[answer(2, Some(Allow), "")]), None);
        assert_eq!(said(&[answer(2, Some(Deny), "")]), Some(Deny));
        assert_eq!(said(&[answer(9, Some(Allow), "")]), None, "of a hook that nobody knows");
        let open = HookEvent::PostToolUse;
        assert_eq!(word(open, &[hook(open, false)], &[answer(0, None, "timed out")]), None);
        assert_eq!(HookEvent::ALL.iter().filter(|event| event.guards()).count(), 3);
    }
}
