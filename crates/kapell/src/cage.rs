//! What confines commands here: whether this system has it, and a word for who should know that it has less.
//!
//! Knows no layer; they are the sandbox crate's. Start at [`checked`].

use crate::exit::Failure;
use contract::Fault;
use contract::confine::{Confinement, InForce, Network, Profile};

/// Refused where this system offers less than is asked for; a word where a person has accepted less.
pub(crate) fn checked(asked: &Confinement) -> Result<Option<String>, Failure> {
    let held = sandbox::in_force(asked).map_err(|error| Failure::from(Fault::from(error)).into_usage())?;
    let whole = held.profile == Profile::Full || (held.holds() && held.namespaces);
    Ok((!whole).then(|| less(&held)))
}

fn less(held: &InForce) -> String {
    let why = match &sandbox::offers().namespaces {
        Err(why) => format!("there are no namespaces ({why})"),
        Ok(()) => "the kernel lacks a layer".to_owned(),
    };
    let comes_to = match held.holds() {
        // ARCHITECTURE.md says what stays open.
        true => "commands are confined by the rest",
        false => "what changes anything waits for your yes",
    };
    format!("{why}: {comes_to}, as you accepted: {held}")
}

/// Is a command kept to its workspace here?
pub(crate) fn confines(asked: &Confinement) -> bool {
    sandbox::in_force(asked).is_ok_and(|held| held.holds())
}

/// Does a command need no yes for what it changes, since a savepoint takes that back? And what of the network it reaches,
/// where a whole sandbox holds it.
pub(crate) fn takes_back(asked: &Confinement) -> (bool, Option<Network>) {
    let held = sandbox::in_force(asked).ok().filter(|held| held.holds() && held.network != Network::On);
    (held.is_some(), held.as_ref().and_then(caged))
}

/// What of the network reaches what is held like this, if it is held by a whole sandbox.
pub(crate) fn caged(held: &InForce) -> Option<Network> {
    (held.holds() && held.namespaces && held.network != Network::On).then_some(held.network)
}
