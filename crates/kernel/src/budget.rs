//! What an action needs of the budgets before it starts: its worst case, or why there is not enough.
//!
//! Knows prices and caps, not what is done. Start at [`Draft::demand`].

use crate::caps;
use crate::context::pictures;
use crate::decide::Draft;
use crate::ledger::Refusal;
use crate::picture::Sight;
use crate::project::Short;
use crate::session::Session;
use crate::start::allowance_ms;
use contract::action::{Item, Work};
use contract::event::Event;
use contract::model::ModelRef;
use contract::money::{NANOS_PER_USD, usd};
use contract::{Amount, SessionId, limits};

/// What is asked of the budgets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// What is reserved.
    pub(crate) amount: Amount,
    /// How long it may take.
    pub(crate) deadline_ms: u64,
    /// Most tokens that a model may say.
    pub(crate) max_tokens: u64,
}

/// Why nothing is granted.
pub(crate) enum Missing {
    /// Nobody knows what this model costs.
    Price(String),
    /// One call alone would take more of this unit than a call may: this much.
    Call(&'static str, Amount),
    /// The tree's ledger says no.
    Refused(Refusal),
    /// The project's ledger says no.
    Project(Short),
}

/// The most tokens that the next request can hold. A token is at least one byte, so bytes bound tokens from above; what
/// the provider itself counted in the last exchange is bounded by its count, when only more was said since.
fn given(s: &Session, model: &ModelRef) -> u64 {
    let sight = Sight::of(&model.id);
    let weight = |item: &Item| {
        // The line in the place of what was left out holds an address and a few words.
        let bytes = if item.left.is_some() { limits::LEFT_BYTES } else { item.bytes };
        bytes.saturating_add(pictures(item, |pixels| sight.most(pixels)))
    };
    let all = s.items.iter().map(weight).fold(limits::PROMPT_TOKENS, u64::saturating_add);
    let counted = s.counted.as_ref().filter(|counted| counted.model == model.id);
    let grown = counted.map_or(all, |counted| {
        let since = s.items.iter().skip(counted.items);
        since
            .map(|item| weight(item).saturating_add(limits::ITEM_TOKENS))
            .fold(counted.tokens, u64::saturating_add)
    });
    all.min(grown).min(model.card.context_tokens)
}

/// The most tokens that these entries can be, as they are shown to who words them.
fn worded(s: &Session, model: &ModelRef, dropped: &[(u64, u64)]) -> u64 {
    let within = |item: &&Item| dropped.iter().any(|(first, last)| (*first..=*last).contains(&item.no));
    let weight =
        |item: &Item| item.bytes.min(limits::SUMMARY_ENTRY_BYTES).saturating_add(limits::ITEM_TOKENS);
    let goal = s.items.front().map_or(0, weight);
    let all = s.items.iter().filter(within).map(weight);
    all.fold(limits::PROMPT_TOKENS.saturating_add(goal), u64::saturating_add).min(model.card.context_tokens)
}

/// What a model call uses at most when it says no more than this. A model without a price costs nothing here: who may
/// call it has been seen to.
fn worst_case(model: &ModelRef, given: u64, said: u64) -> Amount {
    let nanos = model.card.price.map_or(0, |price| price.most(given, said));
    Amount { nanos, tokens: given.saturating_add(said), ..Amount::ZERO }
}

impl Draft<'_> {
    /// What the work needs of the budgets, and how long it may take; or what is missing.
    pub(crate) fn demand(&mut self, work: &Work) -> Result<Demand, Missing> {
        let id = self.s.id;
        let left = self.ledger().left(id);
        let mut other = Amount::ZERO;
        if self.s.block.as_ref().is_none_or(|block| block.used >= block.granted) {
            let ahead = self.ledger().steps_to_warning(id);
            other.steps = limits::STEP_BLOCK.min(left.steps).min(ahead).max(1);
        }
        let mut deadline_ms = allowance_ms(work);
        if let Some(left) = self.s.stage_left_ms() {
            deadline_ms = deadline_ms.min(left.max(1));
        }
        if left.time_ms != u64::MAX {
            deadline_ms = deadline_ms.min(left.time_ms);
            other.time_ms = deadline_ms.max(1);
        }
        let (amount, max_tokens) = match (work, self.s.model.clone()) {
            (Work::Model { .. }, Some(model)) => {
                let given = given(self.s, &model).saturating_add(self.coming_most());
                let given = given.min(model.card.context_tokens);
                self.speech(&model, given, model.card.output_tokens, other)?
            }
            (Work::Summarise { dropped, .. }, Some(_)) => {
                let Some(model) = self.s.wording_model() else {
                    return Ok(Demand { amount: other, deadline_ms, max_tokens: 0 });
                };
                let given = worded(self.s, &model, dropped);
                self.speech(&model, given, model.card.output_tokens.min(limits::SUMMARY_REPLY_TOKENS), other)?
            }
            _ => (self.granted(other).map(|()| other)?, 0),
        };
        Ok(Demand { amount, deadline_ms, max_tokens })
    }

    /// What a model call reserves, and how much the model may say: all it can, or as much as there is budget for, when
    /// that is still worth asking.
    fn speech(
        &mut self,
        model: &ModelRef,
        given: u64,
        most: u64,
        other: Amount,
    ) -> Result<(Amount, u64), Missing> {
        if !self.priced(model) {
            return Err(Missing::Price(model.id.clone()));
        }
        let amount = |said: u64| worst_case(model, given, said).plus(other);
        let least = most.min(limits::REPLY_TOKENS);
        if self.granted(amount(most)).is_ok() {
            return Ok((amount(most), most));
        }
        self.granted(amount(least))?;
        // `low` is granted, `high` is not.
        let (mut low, mut high) = (least, most);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.granted(amount(middle)).is_ok() { low = middle } else { high = middle }
        }
        Ok((amount(low), low))
    }

    /// Is it known what this model costs, as far as that is needed? Unknown is not zero: only who set no limit in money,
    /// but one in tokens, may go on.
    pub(crate) fn priced(&self, model: &ModelRef) -> bool {
        let cap = self.gov.peek(self.s.root()).map_or(Amount::ZERO, |ledger| ledger.cap(self.s.id));
        model.card.price.is_some() || cap.nanos == u64::MAX && cap.tokens != u64::MAX
    }

    /// Does every cap hold this much more?
    fn granted(&mut self, amount: Amount) -> Result<(), Missing> {
        let id = self.s.id;
        let spent = Amount { steps: 0, time_ms: 0, ..amount };
        if let Some(unit) = spent.exceeds(self.s.limits().call) {
            return Err(Missing::Call(unit, spent));
        }
        self.ledger().grant(id, amount).map_err(Missing::Refused)?;
        if spent == Amount::ZERO { Ok(()) } else { self.project_grants(spent).map_err(Missing::Project) }
    }

    /// Tells people once when most of a budget is gone.
    pub(crate) fn warn(&mut self, used: Amount) -> Result<(), crate::Illegal> {
        let id = self.s.id;
        for (whose, unit, spent, cap) in self.ledger().nearly_spent(id, used) {
            let whose = if whose == id { "this session's".to_owned() } else { format!("session {whose}'s") };
            let what = format!(
                "{} % of {whose} budget of {unit} is used: {} of {}",
                limits::BUDGET_WARN_PERCENT,
                figure(unit, spent),
                figure(unit, cap)
            );
            self.emit(Event::Warned { what })?;
        }
        Ok(())
    }
}

/// An amount of this unit, for people.
pub(crate) fn figure(unit: &str, n: u64) -> String {
    match unit {
        "money" => usd(n),
        "time" => format!("{}.{} s", n / 1_000, n % 1_000 / 100),
        _ => n.to_string(),
    }
}

/// Dollars that are at least this much, as a flag takes them.
fn cents(nanos: u64) -> String {
    let cents = nanos.div_ceil(NANOS_PER_USD / 100);
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Ways on in one line, the best first; with numbers where there is a choice.
pub(crate) fn ranked(ways: &[String]) -> String {
    match ways {
        [only] => only.clone(),
        ways => {
            let numbered = ways.iter().enumerate().map(|(n, way)| format!("{}. {way}", n + 1));
            numbered.collect::<Vec<_>>().join("; ")
        }
    }
}

/// What happened and what to type next, the best first, for people.
pub(crate) fn words(id: SessionId, root: SessionId, missing: &Missing) -> (String, String) {
    let (what, ways) = match missing {
        Missing::Price(name) => unpriced(id, name),
        Missing::Call(unit, needs) => over_call(id, unit, *needs),
        Missing::Project(short) => caps::words(id, short),
        Missing::Refused(refusal) => refused(id, root, refusal),
    };
    (what, ranked(&ways))
}

fn unpriced(id: SessionId, name: &str) -> (String, Vec<String>) {
    let what = format!("the price of {name} is not known, so a budget in money cannot hold");
    let ways = vec![
        format!(
            "say what it costs in prices.toml (FORMATS.md section 4), then kapell resume {id} --model {name}"
        ),
        format!("kapell resume {id} --model PROVIDER/NAME, one whose price kapell models shows"),
        "kapell run anew with --max-tokens N and no limit in money".to_owned(),
    ];
    (what, ways)
}

fn over_call(id: SessionId, unit: &str, needs: Amount) -> (String, Vec<String>) {
    let (flag, needs) = match unit {
        "money" => ("--per-call-usd", cents(needs.nanos)),
        _ => ("--per-call-tokens", needs.tokens.to_string()),
    };
    let key = flag.trim_start_matches('-').replace('-', "_");
    let ways = vec![
        format!("kapell resume {id} {flag} {needs}"),
        format!("kapell resume {id} --model PROVIDER/NAME, a cheaper one or one that says less at once"),
        format!("for later sessions [budget] {key} in config.toml"),
    ];
    (format!("one model call would take more {unit} than a call may: up to {needs}"), ways)
}

fn refused(id: SessionId, root: SessionId, refusal: &Refusal) -> (String, Vec<String>) {
    let add = |flag: &str| format!("kapell resume {root} {flag}");
    match refusal {
        Refusal::Cap { unit, session, left } => {
            let whose =
                if *session == id { "this session's".to_owned() } else { format!("session {session}'s") };
            let (flag, rest) = match *unit {
                "money" => ("--add-usd 1", usd(left.nanos)),
                "tokens" => ("--add-tokens 100000", left.tokens.to_string()),
                "steps" => ("--add-steps 100", left.steps.to_string()),
                _ => ("--add-minutes 10", format!("{} s", left.time_ms / 1000)),
            };
            let cheaper = format!("kapell resume {root} --model PROVIDER/NAME, a cheaper one");
            let cheaper = (*unit == "money" && left.nanos > 0).then_some(cheaper);
            let ways = [add(flag)].into_iter().chain(cheaper);
            let ways =
                ways.chain([format!("kapell diff {id} shows what is done, kapell cancel {root} ends it")]);
            let what = format!(
                "what is left of {whose} budget of {unit} ({rest}) does not suffice for the next step"
            );
            (what, ways.collect())
        }
        Refusal::Frozen => {
            let ways = vec![
                format!("kapell cost {root} shows what was billed, and what was reserved"),
                add("--add-usd 1"),
            ];
            ("more was billed than had been reserved; the tree is frozen".into(), ways)
        }
        Refusal::Barred => {
            ("a session above this one is being stopped".into(), vec![format!("kapell sessions show {id}")])
        }
        Refusal::Unknown => {
            ("this session has no account in its tree's budget".into(), vec!["kapell verify".into()])
        }
    }
}
