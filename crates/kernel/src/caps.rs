//! A model call takes from its project's caps when it starts and settles with its end, in the appends of the session.
//!
//! Knows sessions; what a cap allows is [`crate::project`]'s. Start at [`Draft::take_project`].

use crate::Illegal;
use crate::budget::figure;
use crate::decide::Draft;
use crate::further::{Facts, Further, project_of};
use crate::governor::Governor;
use crate::project::{Nearly, Project, Short, Span};
use crate::session::Session;
use contract::event::Event;
use contract::money::usd;
use contract::project::ProjectEvent;
use contract::{ActionId, Amount, SessionId, StreamId, Timestamp, limits};

/// The ledger of a session's project, when it is at hand.
pub(crate) fn project_at_hand<'a>(session: &Session, gov: &'a Governor) -> Option<&'a Project> {
    gov.project(project_of(session.spec.as_ref()?))
}

impl Draft<'_> {
    /// The project's ledger, when it is at hand.
    fn project(&self) -> Option<StreamId> {
        let stream = project_of(self.s.spec.as_ref()?);
        self.gov.project(stream).map(|_| stream)
    }

    /// Do the project's caps hold this much more?
    pub(crate) fn project_grants(&self, amount: Amount) -> Result<(), Short> {
        let Some(stream) = self.project() else { return Ok(()) };
        let spent = Amount { steps: 0, time_ms: 0, ..amount };
        self.gov.project(stream).map_or(Ok(()), |project| project.grant(spent, self.ctx.now))
    }

    /// When a session that stopped for want of budget looks again by itself: an hour's cap begins anew with the next one, a
    /// day's with the next day, and so may a month's.
    pub(crate) fn caps_begin_anew(&self) -> Option<Timestamp> {
        let stopped = self.s.pause.as_ref().is_some_and(|pause| pause.why == "budget");
        let project = self.project().and_then(|stream| self.gov.project(stream));
        let caps = project.filter(|project| stopped && project.capped())?.caps();
        let now = self.ctx.now;
        Some(if caps.hour.is_unlimited() { now.next_day() } else { now.next_hour() })
    }

    /// What was decided holds only while the project's ledger stands as it does: a no, and that there are no caps.
    pub(crate) fn relied_on_project(&mut self) {
        // One decision may rely on it twice: on settling a call, and on asking for the next.
        let stream = self.project().filter(|stream| !self.out.looked.contains(stream));
        self.out.looked.extend(stream);
    }

    /// The call that is about to start counts from here on.
    pub(crate) fn take_project(&mut self, action: ActionId, amount: Amount) -> Result<(), Illegal> {
        let Some(stream) = self.project() else { return Ok(()) };
        let amount = Amount { steps: 0, time_ms: 0, ..amount };
        if !self.gov.project_mut(stream)?.capped() {
            self.relied_on_project();
            return Ok(());
        }
        self.emit_project(stream, ProjectEvent::Reserved { session: self.s.id, action, amount })
    }

    /// What the call has cost. A call that was not reserved here, because nothing was capped then, is not settled here.
    pub(crate) fn settle_project(&mut self, action: ActionId, used: Amount) -> Result<(), Illegal> {
        let (session, now) = (self.s.id, self.ctx.now);
        let Some(stream) = self.project() else { return Ok(()) };
        let project = self.gov.project_mut(stream)?;
        if project.hold(session, action).is_none() {
            // Or this process has not heard of it: passed over, it would be held for ever.
            self.relied_on_project();
            return Ok(());
        }
        let used = Amount { steps: 0, time_ms: 0, ..used };
        for Nearly { span, unit, spent, cap } in project.nearly_spent(used, now) {
            let what = format!(
                "{} % of {} is used: {} of {}",
                limits::BUDGET_WARN_PERCENT,
                name(span, unit),
                figure(unit, spent),
                figure(unit, cap)
            );
            self.emit(Event::Warned { what })?;
        }
        self.emit_project(stream, ProjectEvent::Settled { session, action, used })
    }

    fn emit_project(&mut self, stream: StreamId, event: ProjectEvent) -> Result<(), Illegal> {
        self.gov.project_mut(stream)?.apply(self.ctx.now, &event)?;
        match self.out.further.iter_mut().find(|further| further.stream == stream) {
            Some(Further { facts: Facts::Project(facts), .. }) => facts.push(event),
            _ => self.out.further.push(Further { stream, facts: Facts::Project(vec![event]) }),
        }
        Ok(())
    }
}

/// A cap in words.
fn name(span: Span, unit: &str) -> String {
    let span = match span {
        Span::Hour => " for this hour",
        Span::Day => " for today",
        Span::Month => " for this month",
        Span::Project => "",
    };
    format!("this project's budget of {unit}{span}")
}

/// What happened, and what to type next: what costs nothing first.
pub(crate) fn words(id: SessionId, short: &Short) -> (String, Vec<String>) {
    let Short { span, unit, left, cap, resets, held } = *short;
    let of = |amount: Amount| if unit == "money" { usd(amount.nanos) } else { amount.tokens.to_string() };
    let begins = resets.map_or(String::new(), |at| format!("; it begins anew at {at}"));
    let key = format!("{}_{}", span.name(), if unit == "money" { "usd" } else { "tokens" });
    // A killed process leaves its reservation behind: it counts as spent until its session is taken up again.
    let holds = held.map_or(String::new(), |(who, amount)| {
        format!("; session {who} holds {} for a call that has not ended", of(amount))
    });
    let what = format!(
        "what is left of {} ({} of {}) does not suffice for the next step{begins}{holds}",
        name(span, unit),
        of(left),
        of(cap)
    );
    let settles = held.filter(|(who, _)| *who != id).map(|(who, _)| {
        format!("kapell resume {who}, if nobody runs that session any more: it settles what it holds")
    });
    let wait = resets.map(|at| format!("kapell resume {id} after {at}"));
    let cheaper = format!("kapell resume {id} --model PROVIDER/NAME, a cheaper one");
    let cheaper = (unit == "money" && left.nanos > 0).then_some(cheaper);
    let raise = format!("a higher [budget] {key} in config.toml, then kapell resume {id}");
    (what, settles.into_iter().chain(wait).chain(cheaper).chain([raise]).collect())
}
