//! One input of one session all the way to the disk: decide, commit; on a conflict read again and decide again.
//!
//! The arbiter and the simulator drive this very code. Knows the Journal port and the process's governor; dispatches
//! nothing: what was decided is done by who asked, once this has answered. Start at [`step`].

use crate::core::{Core, Moment, Step};
use crate::meter::Meter;
use crate::store;
use contract::action::{End, Outcome};
use contract::journal::{Class, Error, Journal};
use contract::{BoxFuture, Fault, Seq, SessionId, StreamId};
use kernel::further;
use kernel::{Governor, Illegal, Input, Session};
use std::sync::MutexGuard;
use std::time::Instant;

/// What a step needs of the process around it.
pub trait Host: Sync {
    /// The store.
    fn journal(&self) -> &dyn Journal;
    /// What the sessions of this process share.
    fn governor(&self) -> MutexGuard<'_, Governor>;
    /// The wall clock, and fresh random bits.
    fn moment(&self) -> Moment;
    /// These may try again.
    fn poke_all(&self, sessions: Vec<SessionId>);
    /// Where times are counted, if anybody wants to know them.
    fn meter(&self) -> Option<&Meter> {
        None
    }
}

/// What became durable, and the blobs that went with it.
#[derive(Debug)]
pub struct Committed {
    /// What was decided; its batch is gone.
    pub step: Step,
    /// Blobs of the batch.
    pub blobs: Vec<Vec<u8>>,
}

/// Times a conflict is answered by reading again before the session is given up. Of many processes that write to one
/// shared ledger at once, one gets on each time.
const RELOADS: u32 = 64;

/// Decides and commits. A conflict means that somebody else wrote: read again, decide again. After any other error
/// the state here is ahead of the journal and must be dropped.
pub async fn step(
    host: &impl Host,
    core: &mut Core,
    mut input: Input,
    mut blobs: Vec<Vec<u8>>,
    rows: Vec<u64>,
) -> Result<Committed, Error> {
    for reload in 0..=RELOADS {
        if reload > 0 {
            reload_from(host, core).await?;
        }
        match attempt(host, core, input.clone(), blobs.clone(), rows.clone()).await {
            Ok(step) => return Ok(Committed { step, blobs }),
            Err(error) if error.class() == Class::Retry && reload < RELOADS => {}
            Err(Error::Invalid(why)) if reload < RELOADS => {
                // A record that the store refuses would come again with every resume.
                input = refused(&input, &why).ok_or(Error::Invalid(why))?;
                blobs = Vec::new();
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::Busy(format!("session {} could not be written", core.state.id)))
}

async fn attempt(
    host: &impl Host,
    core: &mut Core,
    input: Input,
    blobs: Vec<Vec<u8>>,
    rows: Vec<u64>,
) -> Result<Step, Error> {
    // Read again after a conflict, it may show that somebody else has taken the session over.
    if core.state.fence > core.fence {
        return Err(Error::Fenced { session: core.state.id });
    }
    let root = core.state.root();
    let shared = further::needed(&core.state, &input);
    let (known, decided) = loop {
        ensure_ledger(host, &core.state).await?;
        ensure(host, core.state.id, &shared).await?;
        // Held from the decision until the batch is queued: the ledger's events queue in the order they were decided.
        let mut governor = host.governor();
        if core.state.seq > 0 && governor.peek(root).is_none() || !shared.iter().all(|s| governor.has(*s)) {
            continue;
        }
        let known = Known::of(core, &governor, &shared);
        let began = host.meter().map(|_| Instant::now());
        let decided = core.step(&mut governor, input, host.moment()).map(|mut step| {
            if let (Some(meter), Some(began)) = (host.meter(), began) {
                meter.decisions.took(began.elapsed());
            }
            step.batch.blobs = blobs;
            step.batch.consume = rows;
            let commit = (!step.is_empty()).then(|| host.journal().append(std::mem::take(&mut step.batch)));
            (step, commit)
        });
        break (known, decided);
    };
    let (step, commit) = match decided {
        Ok(decided) => decided,
        Err(illegal) => return Err(contradiction(host, core.state.id, root, &known, &illegal).await),
    };
    if let Some(commit) = commit
        && let Err(error) = timed(host, commit).await
        && !contract::planted!(EffectFirst)
    {
        undo(host, core.state.id, core.state.root(), &known);
        return Err(error);
    }
    Ok(step)
}

/// A commit, and how long it was waited for.
async fn timed<T>(host: &impl Host, commit: BoxFuture<'static, T>) -> T {
    let Some(meter) = host.meter() else { return commit.await };
    let began = Instant::now();
    let done = commit.await;
    meter.commits.took(began.elapsed());
    done
}

/// Where the streams stood that were decided upon.
struct Known {
    own: [(StreamId, Seq); 2],
    /// The others, and which reading of them.
    shared: Vec<(StreamId, Seq, u64)>,
}

impl Known {
    fn of(core: &Core, governor: &Governor, shared: &[StreamId]) -> Self {
        let (id, tree) = (core.state.id, StreamId::Tree(core.state.root()));
        let own = [(StreamId::Session(id), core.state.seq), (tree, governor.seq(tree))];
        let shared = shared.iter().map(|stream| (*stream, governor.seq(*stream), governor.reading(*stream)));
        Self { own, shared: shared.collect() }
    }
}

/// What was decided is not so: the tree's ledger is read again, and the slot is free. Whom the decision would have told
/// of a slot that it gave back is not known any more, so everybody who could try is told.
fn undo(host: &impl Host, id: SessionId, root: SessionId, known: &Known) {
    let woken = {
        let mut governor = host.governor();
        governor.forget(root);
        known.shared.iter().for_each(|(stream, _, reading)| governor.lose(*stream, *reading));
        let own = governor.release(id);
        if contract::planted!(ForgetFreed) { own } else { governor.ready() }
    };
    host.poke_all(woken);
}

/// What was decided upon contradicts itself. When it is older than the journal (another process wrote to the tree), it
/// is read again; otherwise the journal or the kernel is broken.
async fn contradiction(
    host: &impl Host,
    id: SessionId,
    root: SessionId,
    known: &Known,
    illegal: &Illegal,
) -> Error {
    undo(host, id, root, known);
    let shared = known.shared.iter().map(|(stream, seq, _)| (*stream, *seq));
    for (stream, expected) in known.own.into_iter().chain(shared) {
        match host.journal().head(stream).await {
            Ok(head) if head.seq != expected => return Error::Conflict { stream, expected, found: head.seq },
            Ok(_) => {}
            Err(error) => return error,
        }
    }
    Error::Corrupt(illegal.to_string())
}

async fn reload_from(host: &impl Host, core: &mut Core) -> Result<(), Error> {
    let id = core.state.id;
    core.state = store::session(host.journal(), id).await?.unwrap_or_else(|| Session::new(id));
    load_ledger(host, core.state.root()).await?;
    host.governor().keep(&core.state);
    Ok(())
}

/// Reads a tree's ledger.
pub async fn load_ledger(host: &impl Host, root: SessionId) -> Result<(), Error> {
    let ledger = store::ledger(host.journal(), root).await?;
    host.governor().load(root, ledger);
    Ok(())
}

/// A failed commit of a relative may have thrown the tree's ledger away: then it is read again.
pub async fn ensure_ledger(host: &impl Host, state: &Session) -> Result<(), Error> {
    let known = state.seq == 0 || host.governor().peek(state.root()).is_some();
    if known { Ok(()) } else { load_ledger(host, state.root()).await }
}

/// Ledgers that sessions of many trees share are read when they are not here. Who waits for a key's limits is told
/// nothing by other processes, and looks whether they wrote.
async fn ensure(host: &impl Host, session: SessionId, shared: &[StreamId]) -> Result<(), Error> {
    for stream in shared {
        let (known, awaits) = {
            let governor = host.governor();
            (governor.has(*stream).then(|| governor.seq(*stream)), governor.awaits_call(session))
        };
        let stale = match known {
            None => true,
            Some(seq) if awaits => host.journal().head(*stream).await?.seq > seq,
            Some(_) => false,
        };
        if stale {
            let old = host.governor().last_read(*stream).cloned();
            let book = match old {
                Some(old) => store::book_since(host.journal(), *stream, old).await?,
                None => store::book(host.journal(), *stream).await?,
            };
            host.governor().put(*stream, book);
        }
    }
    Ok(())
}

/// The outcome to put on record when the store refuses the real one (too large a record): that it failed, and why.
fn refused(input: &Input, why: &str) -> Option<Input> {
    let Input::Outcome(outcome) = input else { return None };
    let what = format!("the outcome of action {} cannot be recorded: {why}", outcome.action);
    let end = End::Failed(Fault::new(contract::Kind::Permanent, "unrecordable", what));
    let known = matches!(&outcome.end, End::Failed(fault) if fault.code == "unrecordable");
    (!known).then(|| Input::Outcome(Box::new(Outcome { end, ..(**outcome).clone() })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{ActionId, Amount};

    #[test]
    fn an_outcome_that_cannot_be_recorded_becomes_a_failure_once() {
        let action = ActionId { turn: 1, step: 2 };
        let outcome = Outcome::new(action, 1, End::Unknown, Amount { tokens: 7, ..Amount::ZERO });
        let failed = refused(&Input::Outcome(Box::new(outcome)), "too large").unwrap();
        let Input::Outcome(outcome) = &failed else { panic!("{failed:?}") };
        assert!(
            matches!(&outcome.end, End::Failed(fault) if fault.what.contains("too large")),
            "{outcome:?}"
        );
        assert_eq!(outcome.used.tokens, 7, "what was spent stays spent");
        assert_eq!(refused(&failed, "still"), None);
        assert_eq!(refused(&Input::Tick, "too large"), None);
    }
}
