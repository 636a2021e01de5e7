//! Confines this process, which is about to become a command or its first process: its view of files and processes, its
//! network, what it may do to them, which calls it has. Runs in the warden's child, which has one thread.
//! Knows no profile; carries out a [`Plan`]. Start at [`enter`].

use super::plan::{Entry, Plan, Show};
use super::tree::Tree;
use super::{SHARED, calls, landlock};
use crate::gate::PORT;
use crate::wire::Step;
use crate::{pass, sys};
use contract::confine::Network;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::process::{
    Gid, Pid, Resource, Rlimit, Uid, WaitOptions, fchdir, getgid, getrlimit, getuid, setrlimit, waitpid,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, capabilities, remove_capability_from_bounding_set,
    set_capabilities,
};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Processes of one command at most, where they are counted (a user namespace, a group of the kernel's).
pub(crate) const PROCESSES: u64 = 8_192;
/// Numbers below this are given once only.
const KEPT_NUMBERS: u64 = 300;
const RELEASE: &str = "/proc/sys/kernel/osrelease";
const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// Of a thousand.
const FIRST_TO_GO: &str = "500";

type Failed = (Step, io::Error);

/// Who one is outside of a user namespace of one's own.
pub(crate) type Who = Option<(Uid, Gid)>;

/// Forks a process that counts from 1 again, with who it is to be; `None` in it, and then [`settle`] is its first deed.
/// The superuser needs no user namespace for it, and keeps the ownership of files as it is.
pub(crate) fn fork_first() -> io::Result<(Option<Pid>, Who)> {
    let who = (getuid(), getgid());
    let numbers = UnshareFlags::NEWPID;
    if who.0.is_root()
        && let Ok(forked) = sys::fork_into(numbers.bits())
    {
        return Ok((forked, None));
    }
    let forked = sys::fork_into((numbers | UnshareFlags::NEWUSER).bits())?;
    Ok((forked, Some(who)))
}

/// Becomes the same user as outside.
pub(crate) fn settle(who: Who) -> io::Result<()> {
    let Some((uid, gid)) = who else { return Ok(()) };
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{0} {0} 1", uid.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("{0} {0} 1", gid.as_raw()))
}

/// Confines this process and goes to its directory. Returns with an error where any layer cannot be had: whoever called
/// must end then.
pub(crate) fn enter(plan: &Plan, cwd: OwnedFd, gate: Option<OwnedFd>) -> Result<(), Failed> {
    limit(plan).map_err(|error| (Step::Limits, error))?;
    let mut tree = None;
    if plan.namespaces {
        let path = fs::read_link(format!("/proc/self/fd/{}", cwd.as_raw_fd()));
        let path = path.map_err(|error| (Step::Directory, error))?;
        own_spaces(plan.network).map_err(|error| (Step::Namespaces, error))?;
        gate.map_or(Ok(()), way_out).map_err(|error| (Step::Namespaces, error))?;
        let filled = tree.insert(fill(&plan.entries)?);
        go(filled, &path, &cwd).map_err(|error| (Step::Directory, error))?;
    } else {
        // Before the rules hold: it may be a place that they do not show.
        fchdir(&cwd).map_err(|errno| (Step::Directory, errno.into()))?;
    }
    drop(cwd);
    keep_few_rights().map_err(|error| (Step::Namespaces, error))?;
    landlock::hold(plan, tree.as_ref()).map_err(|error| (Step::Landlock, error))?;
    calls::filter(plan).map_err(|error| (Step::Seccomp, error))
}

/// Only what this needs, to see whether the kernel grants it: 0, or [`SHARED`].
pub(super) fn probe() -> io::Result<i32> {
    let (forked, who) = fork_first()?;
    let Some(child) = forked else {
        let entries = [
            Entry::new("/usr", Show::Read("/usr".into())),
            Entry::new("/proc", Show::Processes),
            Entry::new("/tmp", Show::Own(None)),
        ];
        let tried = settle(who).and_then(|()| own_spaces(Network::Off));
        let tried = tried.and_then(|()| fill(&entries).map_err(|(_, error)| error));
        let code = match tried {
            Ok(tree) => i32::from(tree.others_seen()) * SHARED,
            Err(error) => error.raw_os_error().unwrap_or(libc::EPERM),
        };
        std::process::exit(code)
    };
    let status = waitpid(Some(child), WaitOptions::empty())?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(code @ (0 | SHARED)) => Ok(code),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other("trying them was ended by a signal")),
    }
}

/// The most that one process of it may take; how many there are of them only where it counts its own.
fn limit(plan: &Plan) -> io::Result<()> {
    at_most(Resource::Core, 0)?;
    // The first to go where memory runs short; a system that does not say who goes first needs no word of it.
    let _unsaid = fs::write("/proc/self/oom_score_adj", FIRST_TO_GO);
    let count = if plan.namespaces { plan.processes } else { 0 };
    for (resource, most) in [(Resource::Fsize, plan.file), (Resource::Nproc, count)] {
        if most > 0 {
            at_most(resource, most)?;
        }
    }
    // The superuser is not counted; but numbers run out for everybody.
    if count > 0 && fs::read_to_string(RELEASE).is_ok_and(|release| numbers_are_its_own(&release)) {
        let _less_is_no_number = fs::write(PID_MAX, (count + KEPT_NUMBERS).to_string());
    }
    Ok(())
}

/// Is the highest process number one of each namespace of them? Before, it was one for the whole system.
fn numbers_are_its_own(release: &str) -> bool {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 14)
}

/// What is lower already stays so.
fn at_most(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// A view of files, shared memory and, unless the whole network is allowed, a network of its own, in which only the
/// loopback is up.
fn own_spaces(network: Network) -> io::Result<()> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    if network != Network::On {
        flags |= UnshareFlags::NEWNET;
    }
    unshare(flags)?;
    if network != Network::On {
        sys::loopback_up()?;
    }
    Ok(())
}

/// Listens in here, for Kapell to answer from outside.
fn way_out(gate: OwnedFd) -> io::Result<()> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, PORT))?;
    pass::send(&gate, &[0], &[listener.as_fd()])?;
    Ok(())
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // Files are not unshared: the only flag for which rustix asks more.
    sys::unshare(flags.bits())
}

/// Makes a new root that holds these and nothing else.
fn fill(entries: &[Entry]) -> Result<Tree, Failed> {
    let step = |error: io::Error| (Step::Namespaces, error);
    let mut tree = Tree::new().map_err(step)?;
    for (number, entry) in entries.iter().enumerate() {
        let failed = |error| (Step::Mount(u16::try_from(number).unwrap_or(u16::MAX)), error);
        tree.place(entry).map_err(failed)?;
    }
    tree.close().map_err(step)?;
    Ok(tree)
}

/// To the same directory by its name: the open one belongs to the view that was left, in which everything is still
/// there.
fn go(tree: &Tree, path: &Path, open: &OwnedFd) -> io::Result<()> {
    let here = tree.open(path)?;
    let (there, wanted) = (fstat(&here)?, fstat(open)?);
    if path != Path::new("/") && (there.st_dev, there.st_ino) != (wanted.st_dev, wanted.st_ino) {
        // Somebody exchanged it meanwhile.
        return Err(Errno::STALE.into());
    }
    Ok(fchdir(&here)?)
}

/// Whatever a program may gain by being the superuser's, it keeps only rights over files it can reach.
fn keep_few_rights() -> io::Result<()> {
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::KILL
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID;
    for one in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(one) {
            // Unknown to this kernel.
            Ok(()) | Err(Errno::INVAL) => {}
            // Not ours to give away for good. What it has not now it does not gain: it gains nothing by any program.
            Err(Errno::PERM) => return give_up(kept),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn give_up(kept: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    let few = |set: CapabilitySet| set.intersection(kept);
    let (effective, permitted) = (few(now.effective), few(now.permitted));
    Ok(set_capabilities(None, CapabilitySets { effective, permitted, inheritable: few(now.inheritable) })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_highest_number_is_never_written() {
        for (release, own) in [
            ("6.14.0-rc1\n", true),
            ("6.18.3", true),
            ("7.0.1-arch", true),
            ("6.13.12-200.fc41.x86_64", false),
            ("6.1.0-28-amd64", false),
            ("5.15.0", false),
            ("4.4.0", false),
            ("", false),
            ("x", false),
        ] {
            assert_eq!(numbers_are_its_own(release), own, "{release}");
        }
    }
}
