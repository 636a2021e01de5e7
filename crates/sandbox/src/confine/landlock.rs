//! Landlock: which files may be read and written, which ports are reached, who may be signalled.
//! Start at [`hold`]. What an older kernel does not know is left out; [`super::offers`] says what is there.
//!
//! By the version of its interface: 2 renaming and linking between directories, 3 truncating, 4 TCP ports, 5 control of
//! devices, 6 abstract sockets and signals, 9 sockets in the file system. Never covered: looking at a name (`stat`), and
//! changing mode, owner and times of a file; that needs the view of files of a mount namespace.

use super::plan::{Plan, Show};
use super::tree::Tree;
use crate::sys;
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope,
};
use contract::confine::Network;
use std::io;
use std::path::Path;

/// The newest one we know.
const KNOWN: ABI = ABI::V9;

/// The version of its interface that this kernel has; 0 = none.
pub(super) fn version() -> u32 {
    sys::landlock_version().min(KNOWN as u32)
}

/// Holds this process and whatever it starts to the plan, in this view of files where it has one of its own.
pub(super) fn hold(plan: &Plan, tree: Option<&Tree>) -> io::Result<()> {
    restrict(plan, tree).map_err(|error| match std::error::Error::source(&error) {
        // The system's own word, where there is one.
        Some(source) => match source.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(io) => io
                .raw_os_error()
                .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error),
            None => io::Error::other(error.to_string()),
        },
        None => io::Error::other(error.to_string()),
    })
}

fn restrict(plan: &Plan, tree: Option<&Tree>) -> Result<(), RulesetError> {
    let all = AccessFs::from_all(KNOWN);
    let read = AccessFs::from_read(KNOWN);
    let write = all & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let device = AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::ReadDir
        | AccessFs::Truncate
        | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default().handle_access(all)?.scope(Scope::from_all(KNOWN))?;
    if !plan.namespaces && plan.network != Network::On {
        ruleset = ruleset.handle_access(AccessNet::from_all(KNOWN))?;
    }
    let mut rules = ruleset.create()?;
    if plan.namespaces {
        // What is not to be read is not there.
        rules = allow(rules, Path::new("/"), read)?;
        rules = allow(rules, Path::new("/dev"), device)?;
    }
    for entry in &plan.entries {
        let (path, rights) = match &entry.show {
            Show::Read(source) if !plan.namespaces => (source, read),
            Show::Write(source) if !plan.namespaces => (source, write),
            Show::Own(Some(dir)) if !plan.namespaces => (dir, write),
            Show::Write(_) | Show::Own(_) | Show::Over(..) if plan.namespaces => (&entry.at, write),
            Show::Device => (&entry.at, device),
            _ => continue,
        };
        rules = match tree {
            // As it was mounted, not by a name that leads elsewhere meanwhile.
            Some(tree) => match tree.open(path) {
                Ok(open) => rules.add_rule(PathBeneath::new(open, rights))?,
                Err(_) => rules,
            },
            None => allow(rules, path, rights)?,
        };
    }
    rules.restrict_self().map(drop)
}

fn allow(
    rules: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // What is not there cannot be allowed, and needs no rule.
    let Ok(open) = PathFd::new(path) else { return Ok(rules) };
    rules.add_rule(PathBeneath::new(open, rights))
}
