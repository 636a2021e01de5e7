//! Secrets that a call may name without knowing them: `secret:NAME` stands for a value that is put in at the attempt, for
//! those alone whom a person wrote down.
//!
//! Knows no value and no place where one is kept (the binary does); what a handle looks like is the crate `secrets`' to
//! say, who may have its value `kernel::policy::handle`'s. Start at [`Handles`], the port.

use crate::policy::Part;
use crate::{BoxFuture, Fault};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who would get a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver<'a> {
    /// A command, by everything that it would run.
    Command(&'a [Part]),
    /// A host, in a header of a request.
    Host {
        /// Its name or address.
        name: &'a str,
        /// The port.
        port: u16,
        /// Nobody on the way reads along.
        tls: bool,
    },
    /// A server of the Model Context Protocol, by the name it has in the configuration.
    Server(&'a str),
    /// A hook of the person's own.
    Hook,
}

impl fmt::Display for Receiver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(parts) => {
                let program = |part: &Part| Some(part.words.first()?.shown().to_owned());
                let programs: Vec<String> = parts.iter().filter_map(program).collect();
                write!(f, "`{}`", programs.join("`, `"))
            }
            Self::Host { name, port, .. } => write!(f, "{name}:{port}"),
            Self::Server(name) => write!(f, "the server {name}"),
            Self::Hook => f.write_str("a hook"),
        }
    }
}

/// That the value of a secret was given to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The secret's name.
    pub name: String,
    /// Who got it.
    pub to: String,
}

/// The port: who keeps the values, and knows who may have them.
pub trait Handles: Send + Sync + fmt::Debug {
    /// The secrets that can be named, each with who may have it, as a person wrote that.
    fn names(&self) -> Vec<(String, String)>;
    /// May this one have it? A fault says why not; its text goes to the model.
    fn may(&self, name: &str, to: &Receiver<'_>) -> Result<(), Fault>;
    /// Its value, for who may have it. From here on it is taken out of every text.
    fn value<'a>(&'a self, name: &'a str, to: &'a Receiver<'a>) -> BoxFuture<'a, Result<String, Fault>>;
}
