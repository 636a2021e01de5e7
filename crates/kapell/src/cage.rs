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
        // FORMATS.md says what stays open.
        true => "commands are confined by the rest",
        false => "what changes anything waits for your yes",
    };
    format!("{why}: {comes_to}, as you accepted: {held}")
}

/// Does a command need no yes for what it changes, since a savepoint takes that back?
pub(crate) fn takes_back(asked: &Confinement) -> bool {
    sandbox::in_force(asked).is_ok_and(|held| held.holds() && held.network == Network::Off)
}
