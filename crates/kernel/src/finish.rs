//! How an attempt ended and what follows: settlement, verdict, edges, retry and escalation, the end.
//!
//! Knows outcomes as data. Start at [`Draft::outcome`]; failures go to [`Draft::failed`].

use crate::Illegal;
use crate::decide::Draft;
use crate::fsm::Phase;
use crate::next::land_hash;
use crate::session::Attempt;
use crate::{retry, verdict};
use contract::action::{Done, Effect, EffectClass, End, Integrated, Outcome, Work};
use contract::checks::{Flag, Report, Verdict};
use contract::event::{Answer, Event, Final, LedgerEvent, Notice, Subject, TaskState};
use contract::intent::{ChildEnd, Intent, Source, Wish};
use contract::model::Stop;
use contract::session::Edge;
use contract::{Amount, Digest, Fault, Kind, limits};

impl Draft<'_> {
    /// An attempt came back. A stale one is recorded, not applied (the only place where that is decided).
    pub(crate) fn outcome(&mut self, outcome: Outcome) -> Result<(), Illegal> {
        let current = |a: &Attempt| a.action == outcome.action && a.attempt == outcome.attempt;
        let Some(attempt) = self.s.running.clone().filter(current) else {
            return self.emit(Event::Stale { outcome });
        };
        let woken = self.gov.release(self.s.id);
        self.out.effects.extend(woken.into_iter().map(Effect::Wake));
        self.settle(&attempt, &outcome)?;
        self.emit(Event::Finished { outcome: outcome.clone() })?;
        if self.s.cancel {
            return Ok(());
        }
        match outcome.end {
            End::Done(done) => self.done(done),
            End::Failed(_) | End::TimedOut if self.s.redo.as_ref().is_some_and(|redo| !redo.allowed) => {
                self.ask_if_unknown()
            }
            End::Failed(fault) => self.failed(&attempt, fault),
            End::TimedOut => {
                let what = format!("{} ran past its deadline", attempt.work.name());
                self.failed(&attempt, Fault::new(Kind::Transient, "timed-out", what))
            }
            End::Cancelled | End::Unknown => self.ask_if_unknown(),
        }
    }

    /// The reservation becomes what was really used. Billed work whose end nobody saw counts as fully spent.
    fn settle(&mut self, attempt: &Attempt, outcome: &Outcome) -> Result<(), Illegal> {
        let (session, action) = (self.s.id, attempt.action);
        let Some(held) = self.ledger().hold(session, action) else { return Ok(()) };
        let unseen = matches!(outcome.end, End::Cancelled | End::Unknown | End::TimedOut);
        let real = Amount { steps: 0, ..outcome.used };
        let used = if unseen && attempt.class == EffectClass::Billed { held } else { real };
        self.emit_ledger(LedgerEvent::Settled { session, action, used: used.min(held) })?;
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
            return Ok(());
        }
        let used = Amount { steps: block.used.min(block.granted), ..Amount::ZERO };
        self.emit_ledger(LedgerEvent::Settled { session, action: block.action, used })
    }

    fn done(&mut self, done: Done) -> Result<(), Illegal> {
        match done {
            Done::Said { stop: Stop::MaxTokens, calls, .. } if calls.is_empty() => {
                self.emit(Event::Noticed { notice: Notice::ReplyCut })
            }
            Done::Said { stop: Stop::Refusal, .. } => {
                let hint = format!("kapell resume {} \"other words\", or --model PROVIDER/NAME", self.s.id);
                self.pause("failure", "the model refused to go on", &hint, 8)
            }
            Done::Ran { .. } => self.repeated(),
            Done::Checked(report) => self.checked(&report),
            Done::Inspected { flags, .. } => self.inspected(&flags),
            Done::Integrated(integrated) => self.integrated(&integrated),
            Done::Said { .. } | Done::Prepared(_) | Done::Adopted { .. } | Done::Rewound { .. } => Ok(()),
        }
    }

    fn checked(&mut self, report: &Report) -> Result<(), Illegal> {
        let mut whole = report.clone();
        if whole.runs.iter().all(|run| run.side == contract::checks::Side::Result) {
            whole.runs.splice(0..0, self.s.base_runs.iter().cloned());
        }
        let goal = self.s.prepared.as_ref().map(|p| p.goal_checks.clone()).unwrap_or_default();
        let judgement = verdict::judge(&whole, &goal);
        let (result, reasons) = (report.result.clone(), judgement.reasons.clone());
        self.emit(Event::Judged { verdict: judgement.verdict, result, reasons: reasons.clone() })?;
        match judgement.verdict {
            Verdict::Confirmed => self.take(true, "CONFIRMED"),
            // An answer without a change, in a repository without checks, needs no proof.
            Verdict::Inconclusive if report.same_tree && whole.runs.is_empty() && goal.is_empty() => {
                self.finish_task_without_change()
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

    fn finish_task_without_change(&mut self) -> Result<(), Illegal> {
        let stages = self.s.spec.iter().flat_map(|spec| &spec.workflow.stages);
        let plan = stages.into_iter().find(|stage| stage.kind == contract::session::StageKind::Plan);
        match plan.map(|stage| stage.name.clone()) {
            Some(to) => {
                self.emit(Event::Staged { to, round: self.s.round, why: "nothing was changed".into() })
            }
            None => self.end(Final::Completed, 0, "nothing was changed"),
        }
    }

    fn rounds_left(&self) -> bool {
        let back = self.s.stage().is_some_and(|stage| stage.fail != Edge::End);
        back && self.s.round < self.s.spec.as_ref().map_or(limits::ROUNDS, |spec| spec.limits.rounds)
    }

    /// Weakened tests or checks never land unasked (promise 6).
    fn inspected(&mut self, flags: &[Flag]) -> Result<(), Illegal> {
        let Some(judged) = self.s.verdict.clone() else { return Ok(()) };
        if flags.is_empty() || self.s.land_agreed.as_ref() == Some(&judged.result) {
            return self.take(true, "nothing in the change needs a second look");
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
            None | Some("nothing-to-land") => self.take(true, "landed"),
            Some(why @ ("conflict" | "checks")) if self.rounds_left() => {
                let notice = Notice::NotIntegrated { why: why.to_owned(), detail: integrated.detail };
                self.feedback(notice, &format!("not landed: {why}"))
            }
            Some("not-asked") => {
                self.end(Final::Completed, 0, &format!("confirmed; left on branch {branch}, as asked"))
            }
            Some(why) => {
                let why = format!("confirmed, but not landed ({why}); the work is on branch {branch}");
                self.end(Final::Failed, 1, &why)
            }
        }
    }

    /// The same call failing again and again: first another way, then a person (K1-4, DESIGN section 6).
    fn repeated(&mut self) -> Result<(), Illegal> {
        let limit = self.s.spec.as_ref().map_or(limits::SAME_FAILURES, |spec| spec.limits.same_failures);
        let Some(repeat) = self.s.repeat.clone() else { return Ok(()) };
        if repeat.count < limit || self.s.turn != crate::fsm::Turn::Model {
            return Ok(());
        }
        let signature = format!("tool/{}", repeat.tool);
        let spent = |at: u64| self.s.used.tokens.saturating_sub(at);
        match repeat.warned_at_tokens {
            None => {
                let event = Event::Failed {
                    signature: signature.clone(),
                    count: repeat.count,
                    then: "workaround".into(),
                    retry_at: None,
                };
                self.emit(event)?;
                self.emit(Event::Noticed { notice: Notice::Workaround { signature } })
            }
            Some(at) if repeat.count < 2 * limit && spent(at) <= limits::WORKAROUND_TOKENS => Ok(()),
            Some(_) => {
                let then = "ask".to_owned();
                self.emit(Event::Failed { signature, count: repeat.count, then, retry_at: None })?;
                let what =
                    format!("the agent made the same failing {} call {} times", repeat.tool, repeat.count);
                let hint = format!(
                    "kapell resume {} \"another way: ...\"  (or: kapell cancel, kapell rewind)",
                    self.s.id
                );
                self.pause("stuck", &what, &hint, 5)
            }
        }
    }

    /// An action could not do what it does.
    fn failed(&mut self, attempt: &Attempt, fault: Fault) -> Result<(), Illegal> {
        let signature = attempt.work.name().to_owned();
        let count = self.s.failures.get(&signature).copied().unwrap_or(0) + 1;
        let limit = self.s.spec.as_ref().map_or(limits::SAME_FAILURES, |spec| spec.limits.same_failures);
        let again = retry::policy(fault.kind).retries && count < limit;
        if again {
            let delay = retry::delay_ms(fault.kind, count, fault.retry_after_ms, self.ctx.random);
            let retry_at = Some(self.ctx.now.plus(delay));
            return self.emit(Event::Failed { signature, count, then: "retry".into(), retry_at });
        }
        let hopeless = matches!(attempt.work, Work::Prepare) && self.s.prepared.is_none();
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
    pub(crate) fn ask_if_unknown(&mut self) -> Result<(), Illegal> {
        let Some(redo) = self.s.redo.clone().filter(|redo| !redo.allowed) else { return Ok(()) };
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
        let how = if answer == Answer::Expired { "nobody answered in time" } else { "a person said no" };
        match subject {
            Subject::Call { call } => {
                let what = format!("not run: {how}. Do not try the same again.");
                self.emit(Event::CallAnswered { call: call.clone(), ok: false, what })
            }
            Subject::RunAgain { action } => {
                let unknown = |slot: &&crate::session::CallSlot| slot.state == crate::fsm::CallState::Unknown;
                let calls: Vec<String> =
                    self.s.calls.iter().filter(unknown).map(|slot| slot.call.id.clone()).collect();
                for call in calls {
                    let what = format!(
                        "interrupted: whether action {action} took effect is not known; not run again: {how}."
                    );
                    self.emit(Event::CallAnswered { call, ok: false, what })?;
                }
                Ok(())
            }
            Subject::Land { .. } => {
                let why =
                    format!("the change weakens tests or checks, and landing it was not approved: {how}");
                self.end(Final::Failed, 6, &why)
            }
        }
    }

    /// The session is over: holds are given back, children are told, the parent gets the result.
    pub(crate) fn end(&mut self, state: Final, code: u8, why: &str) -> Result<(), Illegal> {
        self.settle_block()?;
        if let Some(active) = self.s.plan.active().map(|task| task.id.clone())
            && state != Final::Completed
        {
            self.emit(Event::TaskMoved { task: active, to: TaskState::Failed })?;
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
        let live: Vec<_> = self.s.live_children().collect();
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
