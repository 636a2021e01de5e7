//! How an attempt ended and what follows: settlement, verdict, edges, retry and escalation, the end.
//!
//! Knows outcomes as data. Start at [`Draft::outcome`]; failures go to [`Draft::failed`].

use crate::Illegal;
use crate::attempt::fits;
use crate::decide::Draft;
use crate::fsm::{CallState, Phase, Turn};
use crate::retry::RETRY;
use crate::session::{Attempt, CallSlot, Redo};
use crate::{retry, verdict};
use contract::action::{Done, Effect, EffectClass, End, Integrated, Outcome, Work};
use contract::checks::{Flag, Report, Verdict};
use contract::context::Sent;
use contract::error::{CHILD_GONE, CONTEXT_FULL, DISK_FULL, NOT_RUN, UNTRUSTED};
use contract::event::{Answer, Event, Final, LedgerEvent, Notice, Subject};
use contract::intent::{ChildEnd, Intent, Source, Wish};
use contract::model::Stop;
use contract::session::{Edge, StageKind};
use contract::{ActionId, Amount, Digest, Fault, Kind, limits, text};

/// Does nothing follow from this end but what the fold makes of it? [`Draft::done`] has the others.
fn idle(end: &End) -> bool {
    match end {
        End::Done(Done::Ran { .. }) => true,
        End::Done(Done::Said { calls, stop, .. }) => !calls.is_empty() && *stop != Stop::Refusal,
        _ => false,
    }
}

impl Draft<'_> {
    /// An attempt came back. A stale one is recorded, not applied (the only place where that is decided).
    pub(crate) fn outcome(&mut self, mut outcome: Outcome) -> Result<(), Illegal> {
        let own = |a: &Attempt| a.action == outcome.action && a.attempt == outcome.attempt;
        let current = |a: &&Attempt| own(a) || contract::planted!(StaleOutcome);
        let Some(attempt) = self.s.running.as_ref().filter(current) else {
            return self.emit(Event::Stale { outcome });
        };
        if let End::Done(done) = &outcome.end
            && let Err(why) = fits(&attempt.work, done)
        {
            // An executor that contradicts itself: what the work did is not known from this.
            outcome.end = End::Failed(Fault::new(Kind::Permanent, "misfit", why));
        }
        // Most outcomes ask for nothing but to be recorded: only the others are looked at again, in copies.
        let follows = (!idle(&outcome.end)).then(|| (attempt.clone(), outcome.end.clone()));
        let (action, class) = (attempt.action, attempt.class);
        let free = free(&outcome);
        if attempt.work.asks_model() {
            self.settle_quota(&attempt.clone(), &outcome)?;
        }
        let woken = self.gov.release(self.s.id);
        self.out.effects.extend(woken.into_iter().map(Effect::Wake));
        self.settle(action, class, &outcome)?;
        let told = |sent: &mut Sent| (std::mem::take(&mut sent.repairs), std::mem::take(&mut sent.warnings));
        let (repairs, warnings) = outcome.sent.as_mut().map(told).unwrap_or_default();
        self.emit(Event::Finished { outcome })?;
        for what in warnings {
            self.emit(Event::Warned { what: text::sentence(&what) })?;
        }
        for what in repairs {
            self.emit(Event::Repaired { what: text::sentence(&what), call: None, item: None })?;
        }
        if self.s.cancel {
            return Ok(());
        }
        let own = |redo: &&Redo| redo.action == action && !redo.allowed;
        if self.s.redo.as_ref().filter(own).is_some() {
            return self.ask_to_run_again();
        }
        let Some((attempt, end)) = follows else { return Ok(()) };
        match end {
            End::Done(Done::Summarised { text, bytes, .. }) => self.worded(&attempt.work, text, bytes),
            End::Done(done) => self.done(&attempt.work, done),
            // Whatever became of it, it was the last thing to be done.
            _ if self.s.hooks.ending.is_some() => self.ending().map(drop),
            End::Failed(fault) => self.failed(&attempt, fault, free),
            End::TimedOut => {
                let what = format!("{} ran past its deadline", attempt.work.name());
                self.failed(&attempt, Fault::new(Kind::Transient, "timed-out", what), false)
            }
            // It runs again when it is its turn.
            End::Cancelled | End::Unknown => Ok(()),
        }
    }

    /// The reservation becomes what was really used. Billed work whose bill nobody saw counts as fully spent.
    fn settle(&mut self, action: ActionId, class: EffectClass, outcome: &Outcome) -> Result<(), Illegal> {
        let session = self.s.id;
        let Some(held) = self.ledger().hold(session, action) else {
            let reserved =
                |a: &Attempt| Amount { steps: 0, ..a.reserved } != Amount::ZERO || a.work.asks_model();
            // Passed over, it would be held for ever.
            let leaks = self.s.running.as_ref().is_some_and(reserved) && !contract::planted!(StaleLedger);
            return if leaks { Err(unknown(action)) } else { Ok(()) };
        };
        let unseen = match &outcome.end {
            _ if outcome.metered => false,
            End::Cancelled | End::Unknown | End::TimedOut => true,
            End::Failed(fault) => billed(fault),
            End::Done(_) => false,
        };
        let mut real = Amount { steps: 0, ..outcome.used };
        if outcome.estimated {
            // A bound beyond the reservation is no bill: the provider was asked for no more than that.
            real = Amount { time_ms: real.time_ms, ..real.min(held) };
        }
        let used = if unseen && class == EffectClass::Billed {
            Amount { nanos: held.nanos.max(real.nanos), tokens: held.tokens.max(real.tokens), ..real }
        } else {
            real
        };
        self.warn(used.min(held))?;
        self.emit_ledger(LedgerEvent::Settled { session, action, used: used.min(held) })?;
        if contract::planted!(DoubleSettle) {
            self.emit_ledger(LedgerEvent::Settled { session, action, used: used.min(held) })?;
        }
        self.settle_project(action, used)?;
        let over = Amount { time_ms: 0, ..used.minus(held) };
        if over != Amount::ZERO {
            self.emit_ledger(LedgerEvent::Overshoot { session, action, over })?;
        }
        Ok(())
    }

    /// Gives back the steps that were taken ahead and not used.
    pub(crate) fn settle_block(&mut self) -> Result<(), Illegal> {
        let session = self.s.id;
        let Some(block) = self.s.block.clone() else { return Ok(()) };
        if self.ledger().hold(session, block.action).is_none() {
            return if contract::planted!(StaleLedger) { Ok(()) } else { Err(unknown(block.action)) };
        }
        let used = Amount { steps: block.used.min(block.granted), ..Amount::ZERO };
        self.warn(used)?;
        self.emit_ledger(LedgerEvent::Settled { session, action: block.action, used })
    }

    fn done(&mut self, work: &Work, done: Done) -> Result<(), Illegal> {
        match done {
            Done::Said { stop: Stop::MaxTokens, calls, .. } if calls.is_empty() => {
                self.emit(Event::Noticed { notice: Notice::ReplyCut })
            }
            Done::Said { stop: Stop::Refusal, .. } => {
                let hint = format!("kapell resume {} \"other words\", or --model PROVIDER/NAME", self.s.id);
                self.pause("failure", "the model refused to go on", &hint, 8)
            }
            Done::Checked(report) => self.checked(&report),
            Done::Inspected { flags, .. } => self.inspected(&flags),
            Done::Integrated(integrated) => self.integrated(&integrated),
            Done::Rewound { .. } => self.rewound(),
            Done::Hooked { answers, .. } => match work {
                Work::Hooks { asked } => self.hooks_answered(asked, &answers),
                _ => Ok(()),
            },
            Done::Said { .. }
            | Done::Summarised { .. }
            | Done::Prepared(_)
            | Done::Adopted { .. }
            | Done::Ran { .. } => Ok(()),
        }
    }

    fn checked(&mut self, report: &Report) -> Result<(), Illegal> {
        let whole = verdict::whole(report, &self.s.base_runs);
        let goal = self.s.prepared.as_ref().map(|p| p.goal_checks.clone()).unwrap_or_default();
        let judgement = verdict::judge(&whole, &goal);
        let (result, reasons) = (report.result.clone(), judgement.reasons.clone());
        self.emit(Event::Judged { verdict: judgement.verdict, result, reasons: reasons.clone() })?;
        match judgement.verdict {
            Verdict::Confirmed => self.take("CONFIRMED"),
            // An answer without a change, in a repository without checks, needs no proof.
            Verdict::Inconclusive if report.same_tree && whole.runs.is_empty() && goal.is_empty() => {
                self.nothing_changed()
            }
            Verdict::Inconclusive => {
                let why = format!("INCONCLUSIVE: {}", reasons.join("; "));
                self.end(Final::Failed, 4, &why)
            }
            Verdict::Refuted if self.rounds_left() => {
                let against = |(check, _): &&(String, Digest)| judgement.against.contains(check);
                let logs =
                    self.s.verdict.iter().flat_map(|judged| &judged.logs).filter(against).cloned().collect();
                self.feedback(Notice::NotConfirmed { reasons, logs }, "REFUTED")
            }
            Verdict::Refuted => {
                let why =
                    format!("REFUTED after {} round(s) of feedback: {}", self.s.round, reasons.join("; "));
                self.end(Final::Failed, 3, &why)
            }
        }
    }

    fn rounds_left(&self) -> bool {
        let back = self.s.stage().is_some_and(|stage| stage.fail != Edge::End);
        back && self.s.round < self.s.spec.as_ref().map_or(limits::ROUNDS, |spec| spec.limits.rounds)
    }

    /// Weakened tests or checks never land unasked (promise 6).
    fn inspected(&mut self, flags: &[Flag]) -> Result<(), Illegal> {
        let Some(judged) = self.s.verdict.clone() else { return Ok(()) };
        if flags.is_empty() {
            return self.take("nothing in the change needs a second look");
        }
        let approval = format!("a{}", self.s.seq + 1);
        let (hash, expires) = (land_hash(&judged.result), self.ctx.now.plus(limits::APPROVAL_MS));
        self.emit(Event::ApprovalAsked {
            approval,
            subject: Subject::Land { result: judged.result },
            hash,
            expires,
        })
    }

    fn integrated(&mut self, integrated: &Integrated) -> Result<(), Illegal> {
        let branch = integrated.branch.clone().unwrap_or_default();
        match integrated.why.as_deref() {
            None => self.take("landed"),
            Some("nothing-to-land") => self.take("nothing had to be landed"),
            Some(why @ ("conflict" | "checks")) if self.rounds_left() => {
                let notice = Notice::NotIntegrated { why: why.to_owned(), detail: integrated.detail };
                self.feedback(notice, &format!("not landed: {why}"))
            }
            Some("not-asked") => self.take(&format!("confirmed; left on branch {branch}, as asked")),
            Some(why) => {
                let why = format!("confirmed, but not landed ({why}); the work is on branch {branch}");
                self.end(Final::Failed, 1, &why)
            }
        }
    }

    /// The agent goes on from what the workspace was.
    fn rewound(&mut self) -> Result<(), Illegal> {
        let agent = self.s.stage().is_some_and(|stage| stage.kind == StageKind::Agent);
        if self.s.turn == Turn::Calls || agent {
            return Ok(());
        }
        self.withdraw(None)?;
        self.go_to_agent("the workspace was put back", self.s.round)
    }

    /// The same call failing again and again: first another way, then a person (K1-4, DESIGN section 6).
    pub(crate) fn repeated(&mut self) -> Result<bool, Illegal> {
        let limit = self.s.spec.as_ref().map_or(limits::SAME_FAILURES, |spec| spec.limits.same_failures);
        let Some(repeat) = self.s.repeat.clone().filter(|repeat| repeat.count >= limit.max(1)) else {
            return Ok(false);
        };
        if self.s.turn != Turn::Model || self.s.phase != Phase::Active || limit == 0 {
            return Ok(false);
        }
        let (signature, count) = (format!("tool/{}", repeat.tool), repeat.count);
        let spent = |at: u64| self.s.used.tokens.saturating_sub(at);
        let then = match repeat.warned_at_tokens {
            None => "workaround",
            // Since the warning it did not fail again, or the way around it may still be on its way.
            Some(_) if count <= repeat.warned_at_count => return Ok(false),
            Some(at) if count < 2 * limit && spent(at) <= limits::WORKAROUND_TOKENS => return Ok(false),
            Some(_) => "ask",
        };
        let failed = Event::Failed {
            signature: signature.clone(),
            count,
            then: then.into(),
            retry_at: self.s.retry_at,
        };
        self.emit(failed)?;
        if then == "workaround" {
            self.emit(Event::Noticed { notice: Notice::Workaround { signature } })?;
        } else {
            let what = format!("the agent made the same failing {} call {count} times", repeat.tool);
            let hint = format!(
                "kapell resume {} \"another way: ...\"  (or: kapell cancel, kapell rewind)",
                self.s.id
            );
            self.pause("stuck", &what, &hint, 5)?;
        }
        Ok(true)
    }

    /// Replies that are cut at their limit again and again, with nothing in them that could be done, lead nowhere.
    pub(crate) fn cut_short(&mut self) -> Result<bool, Illegal> {
        let limit = self.s.spec.as_ref().map_or(limits::SAME_FAILURES, |spec| spec.limits.same_failures);
        let (count, speaks) = (self.s.cut_replies, self.s.turn == Turn::Model);
        if limit == 0 || count < limit || !speaks || self.s.phase != Phase::Active {
            return Ok(false);
        }
        let signature = "model/max-tokens".to_owned();
        self.emit(Event::Failed { signature, count, then: "ask".into(), retry_at: self.s.retry_at })?;
        let what = format!("the model's reply was cut at its limit {count} times in a row");
        let hint = format!(
            "kapell resume {} \"in smaller steps: ...\", or --model PROVIDER/NAME (one with longer replies)",
            self.s.id
        );
        self.pause("stuck", &what, &hint, 5)?;
        Ok(true)
    }

    /// An action could not do what it does.
    fn failed(&mut self, attempt: &Attempt, fault: Fault, free: bool) -> Result<(), Illegal> {
        if matches!(attempt.work, Work::Summarise { .. }) {
            return self.not_worded(&fault);
        }
        let signature = format!("{}/{}", attempt.work.name(), fault.code);
        let count = self.s.failures.get(&signature).copied().unwrap_or(0) + 1;
        let limit = self.s.spec.as_ref().map_or(limits::SAME_FAILURES, |spec| spec.limits.same_failures);
        let again = retry::policy(fault.kind).retries && count < limit;
        let speaks = matches!(attempt.work, Work::Model { .. });
        if speaks && fault.code == CONTEXT_FULL && self.s.cut_by_hand() {
            self.emit(Event::Failed { signature, count, then: "ask".into(), retry_at: None })?;
            return self.asks_to_cut(&fault.what).map(drop);
        }
        if speaks && fault.code == CONTEXT_FULL && count < limit && self.cut_quarter()? {
            return self.emit(Event::Failed { signature, count, then: RETRY.into(), retry_at: None });
        }
        if speaks && self.outlast(attempt, &fault, &signature, count, free)? {
            return Ok(());
        }
        if let Work::Adopt { child, call, .. } = &attempt.work
            && fault.code == CHILD_GONE
        {
            // Nothing was changed, and another try brings nothing back: the agent decides what to do without it.
            let what = format!("the work of session {child} could not be taken over: {}", fault.what);
            self.emit(Event::Failed { signature, count, then: "tell".into(), retry_at: None })?;
            return self.emit(Event::CallAnswered {
                call: call.clone(),
                ok: false,
                what: text::sentence(&what),
            });
        }
        if again {
            let delay = retry::delay_ms(fault.kind, count, fault.retry_after_ms, self.ctx.random);
            return self.try_again_in(delay, &fault, signature, count);
        }
        // Without a workspace there is nothing to go on with, unless all it takes is room.
        let unmade = matches!(attempt.work, Work::Prepare) && self.s.prepared.is_none();
        // A person can put it right, and the session waits for that.
        let waits = [DISK_FULL, UNTRUSTED].contains(&fault.code.as_str());
        let hopeless = unmade && !waits;
        let then = if hopeless { "end" } else { "ask" };
        self.emit(Event::Failed { signature, count, then: then.into(), retry_at: None })?;
        let what = match count {
            1 => fault.what.clone(),
            n => format!("{} ({n} times)", fault.what),
        };
        if hopeless {
            let why = if fault.hint.is_empty() { what } else { format!("{what}; {}", fault.hint) };
            return self.end(Final::Failed, 1, &why);
        }
        let code = match fault.kind {
            Kind::RateLimited => 75,
            Kind::UserFixable => 8,
            _ => 1,
        };
        let hint = match fault.hint.as_str() {
            "" => format!(
                "kapell resume {} (try again), --model PROVIDER/NAME (another model), or kapell cancel",
                self.s.id
            ),
            hint => format!("{hint}; then kapell resume {}", self.s.id),
        };
        self.pause("failure", &what, &hint, code)
    }

    /// Nobody knows what an external action did: a person decides whether it runs again (promise 2).
    fn ask_to_run_again(&mut self) -> Result<(), Illegal> {
        let Some(redo) = self.s.redo.clone() else { return Ok(()) };
        let hash = match &redo.work {
            Work::Tools { calls } => calls.first().map(|call| call.hash),
            _ => None,
        };
        let approval = format!("a{}", self.s.seq + 1);
        let expires = self.ctx.now.plus(limits::APPROVAL_MS);
        let subject = Subject::RunAgain { action: redo.action };
        self.emit(Event::ApprovalAsked { approval, subject, hash: hash.unwrap_or_default(), expires })
    }

    /// What a denied approval means for what it was asked for.
    pub(crate) fn after_no(&mut self, subject: &Subject, answer: Answer) -> Result<(), Illegal> {
        let how = match answer {
            Answer::Expired => "nobody answered in time",
            Answer::Withdrawn => "the person wrote a message instead; it follows",
            Answer::Denied | Answer::Granted => "a person said no",
        };
        let advice = if answer == Answer::Withdrawn { "" } else { " Do not try the same again." };
        match subject {
            Subject::Call { call } => {
                let what = format!("not run: {how}.{advice}");
                self.emit(Event::CallAnswered { call: call.clone(), ok: false, what })
            }
            Subject::RunAgain { action } => {
                let unknown = |slot: &&CallSlot| slot.state == CallState::Unknown;
                while let Some(slot) = self.s.calls.iter().find(unknown) {
                    let (call, partial) = (slot.call.id.clone(), slot.partial);
                    let partial = partial
                        .map(|text| format!(" What it had given before, which is not all: read blob:{text}"));
                    let what = format!(
                        "interrupted: whether action {action} took effect is not known; not run again: {how}.{}",
                        partial.unwrap_or_default()
                    );
                    self.emit(Event::CallAnswered { call, ok: false, what })?;
                }
                Ok(())
            }
            // The arbiter ends the session at its next selection: an action may be in flight now.
            Subject::Land { .. } => Ok(()),
        }
    }

    /// The session is over: holds are given back, children are told, the parent gets the result.
    pub(crate) fn end(&mut self, state: Final, code: u8, why: &str) -> Result<(), Illegal> {
        if self.tell_end(state, code, why)? { Ok(()) } else { self.end_now(state, code, why) }
    }

    /// The same, whether hooks were told of it or not.
    pub(crate) fn end_now(&mut self, state: Final, code: u8, why: &str) -> Result<(), Illegal> {
        self.settle_block()?;
        if state != Final::Completed {
            self.give_up_task()?;
        }
        let summary = self.s.finish.as_ref().map(|finish| finish.summary).or(self.s.last_text);
        self.cancel_children()?;
        self.emit(Event::Ended { state, code, why: why.to_owned(), summary })?;
        self.tell_parent(state, code, summary);
        Ok(())
    }

    fn tell_parent(&mut self, state: Final, code: u8, summary: Option<Digest>) {
        let Some(parent) = self.s.spec.as_ref().and_then(|spec| spec.parent.clone()) else { return };
        let good =
            |judged: &&crate::session::Judged| judged.verdict == Verdict::Confirmed && !judged.same_tree;
        let commit = self.s.verdict.as_ref().filter(good).map(|judged| judged.result.clone());
        let commit = commit.filter(|_| state == Final::Completed);
        let end = ChildEnd { state: state.name().to_owned(), code, commit, summary };
        let wish = Wish::SubtaskEnded { child: self.s.id, end };
        let intent = Intent {
            id: self.new_id(),
            session: parent.session,
            source: Source::Subtask,
            wish,
            key: format!("child/{}", self.s.id),
            at: self.ctx.now,
            ttl_ms: None,
        };
        self.out.submit.push(intent);
        self.out.effects.push(Effect::Wake(parent.session));
    }

    /// Children of a session that is stopped are stopped: barred first, then told.
    pub(crate) fn cancel_children(&mut self) -> Result<(), Illegal> {
        let live: Vec<_> = self.s.running_children().collect();
        for child in live {
            self.emit_ledger(LedgerEvent::Barred { session: child })?;
            let intent = Intent {
                id: self.new_id(),
                session: child,
                source: Source::User,
                wish: Wish::Cancel,
                key: format!("cancel/{}", self.s.id),
                at: self.ctx.now,
                ttl_ms: None,
            };
            self.out.submit.push(intent);
            self.out.effects.push(Effect::Wake(child));
        }
        Ok(())
    }

    /// True while the session can still be moved.
    pub(crate) fn open_ended(&self) -> bool {
        self.s.phase != Phase::Ended
    }
}

/// The ledger at hand does not know of what was reserved in it: it is older than the session is.
fn unknown(action: ActionId) -> Illegal {
    Illegal { state: "a ledger that has not heard of it".into(), event: format!("settling {action}") }
}

/// Did it surely cost nothing?
fn free(outcome: &Outcome) -> bool {
    match &outcome.end {
        _ if outcome.metered => outcome.used.tokens == 0 && outcome.used.nanos == 0,
        End::Failed(fault) => !billed(fault),
        _ => false,
    }
}

/// May a model call that failed like this have been billed? Only what was refused before it began surely was not.
fn billed(fault: &Fault) -> bool {
    !fault.code.starts_with(NOT_RUN)
        && fault.code != CONTEXT_FULL
        && !matches!(fault.kind, Kind::RateLimited | Kind::UserFixable)
}

/// The hash a person agrees to when a flagged commit is to land.
fn land_hash(result: &str) -> Digest {
    Digest::of(format!("land {result}").as_bytes())
}
