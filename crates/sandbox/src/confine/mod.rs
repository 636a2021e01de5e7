//! Confinement: a command sees and changes what it was given, and nothing else. On Linux only.
//! Knows no session and no rule; what a profile means is in `rules.rs`, a pure function. Start at [`in_force`]; the work
//! is done in `apply.rs`, by the process that becomes the command, last of all before it does.
//!
//! Three layers, each by itself enough for most of it:
//!
//! - **Namespaces**: a new root that holds only what the plan names, read-only but for the workspace, its build output and
//!   directories of its own that stand for `/tmp` and the home; what tools fetched, with changes kept apart; no network but its own loopback; shared memory and
//!   terminals of its own. What git in the workspace runs or obeys is mounted read-only, and git's directory cannot be
//!   moved, since something is mounted on it; nor can a directory on the way to a mount. All of it is put together by
//!   descriptors (`tree.rs`), so that another command of the session cannot lead it astray by renaming and linking.
//! - **Landlock**: the same rules again for files, abstract sockets and signals; and the whole of it where there are no
//!   namespaces. Rules add up from the root downwards, so that `.git/hooks` cannot be taken out of a writable workspace;
//!   and names, modes, owners and times of files are not its business. Local sockets are refused there altogether.
//! - **seccomp**: no debugging of others, mounts, new namespaces, kernel interfaces, raw sockets.
//!
//! A command's processes are its own (a namespace of numbers, whose first process is `helper/first.rs`): it sees and signals
//! no other. Where there are no namespaces, what /proc tells of others can be read, and signalled they cannot be from
//! Landlock 6 on. A repository that a command makes somewhere below the workspace is its own, hooks
//! included: who runs git there runs them.

mod apply;
mod calls;
mod landlock;
mod place;
mod plan;
mod rules;
mod tree;

pub(crate) use apply::{PROCESSES, Who, enter, fork_first, settle};
pub(crate) use plan::Plan;

use crate::gate::PORT;
use crate::run::Error;
use contract::confine::{Confinement, InForce, LANDLOCK, Network, Profile};
use place::{Disk, Place};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What this system has to confine with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    /// Version of Landlock's interface; 0 = none.
    pub landlock: u32,
    /// System calls can be filtered.
    pub seccomp: bool,
    /// Namespaces with a view of files of one's own: or why there are none.
    pub namespaces: Result<(), String>,
    /// A command can have a /proc of its own.
    pub own_proc: bool,
}

/// The oldest one that keeps a command from sockets with abstract names.
const ABSTRACT: u32 = 6;
/// The oldest one that keeps a command from sockets of the file system.
const SOCKETS: u32 = 9;
/// How the helper ends that has tried it all and had no /proc of its own.
const SHARED: i32 = 250;
/// Tells the helper to try what it takes.
pub(crate) const PROBE: &str = "probe";
/// Variables that lead out of what it sees, or into it before its first line.
const CLEARED: [&str; 14] = [
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_PROFILE",
    "SSH_AUTH_SOCK",
    "GPG_AGENT_INFO",
    "DOCKER_HOST",
    "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "TMPDIR",
    "TMP",
    "TEMP",
];

/// What this system offers; looked for once per process.
pub fn offers() -> &'static Offers {
    static OFFERS: OnceLock<Offers> = OnceLock::new();
    OFFERS.get_or_init(|| {
        let probed = probe();
        Offers {
            landlock: landlock::version(),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            own_proc: probed.as_ref().is_ok_and(|own| *own),
            namespaces: probed.map(drop),
        }
    })
}

/// What would hold a command that asks for this; or what is missing for it.
pub fn in_force(asked: &Confinement) -> Result<InForce, Error> {
    // Nobody has to look for what nobody uses.
    if asked.profile == Profile::Full { Ok(nothing()) } else { held(asked, offers()) }
}

fn nothing() -> InForce {
    InForce {
        profile: Profile::Full,
        network: Network::On,
        landlock: 0,
        seccomp: false,
        namespaces: false,
        others_seen: false,
    }
}

fn held(asked: &Confinement, offers: &Offers) -> Result<InForce, Error> {
    let (profile, network) = (asked.profile, asked.network);
    if profile == Profile::Full {
        return Ok(nothing());
    }
    let mut missing = Vec::new();
    if offers.landlock < LANDLOCK {
        missing.push(format!("Landlock {LANDLOCK} or newer (there is {})", offers.landlock));
    }
    if !offers.seccomp {
        missing.push("seccomp".to_owned());
    }
    if let Err(why) = &offers.namespaces {
        missing.push(format!("namespaces ({why})"));
    }
    // Names of sockets that are no files belong to the network.
    if network == Network::On && (LANDLOCK..ABSTRACT).contains(&offers.landlock) {
        missing.push(format!(
            "Landlock {ABSTRACT} or newer, where the network is open (there is {})",
            offers.landlock
        ));
    }
    if !missing.is_empty() && !asked.degraded {
        return Err(Error::Unconfined { profile: profile.name(), missing: missing.join(", ") });
    }
    // Without a network of its own the proxy cannot be the only way out.
    let network =
        if offers.namespaces.is_err() && network == Network::Hosts { Network::Off } else { network };
    let namespaces = offers.namespaces.is_ok();
    let (landlock, seccomp, others_seen) = (offers.landlock, offers.seccomp, namespaces && !offers.own_proc);
    Ok(InForce { profile, network, landlock, seccomp, namespaces, others_seen })
}

/// What stays open where a command is held like this: one sentence each.
pub fn open(held: &InForce) -> Vec<String> {
    let mut open = Vec::new();
    if held.profile == Profile::Full {
        return open;
    }
    if held.landlock < SOCKETS {
        open.push(format!(
            "programs that listen at a socket in a directory that is shown (/usr, /opt, tools, `read`) can be spoken to: only \
             Landlock {SOCKETS} keeps that off, and there is {}",
            held.landlock
        ));
    }
    if held.others_seen {
        let why = "command lines and other facts of all processes can be read: /proc is covered in parts here, as containers do, \
                   and cannot be had anew";
        open.push(why.to_owned());
    }
    if !held.namespaces {
        open.push(
            "git's hooks, and modes, owners and times of files, can be changed: there are no namespaces"
                .to_owned(),
        );
    }
    if !held.namespaces && held.landlock < ABSTRACT {
        open.push(format!(
            "other processes of yours can be signalled: only Landlock {ABSTRACT} keeps that off"
        ));
    }
    open
}

/// The plan for a command with this environment, which is changed to fit.
pub(crate) fn plan(
    asked: &Confinement,
    offers: &Offers,
    env: &mut Vec<(OsString, OsString)>,
) -> Result<Option<Plan>, Error> {
    let held = held(asked, offers)?;
    if held.profile == Profile::Full {
        return Ok(None);
    }
    let failed = crate::run::failed("making the directories of a confined command");
    if let Some(scratch) = &asked.scratch {
        ["tmp", "home", "changes"]
            .iter()
            .try_for_each(|name| std::fs::create_dir_all(scratch.join(name)))
            .map_err(failed)?;
    }
    if held.namespaces && held.profile == Profile::WorkspaceWrite {
        seal(&asked.workspace).map_err(crate::run::failed("closing git's hooks and configuration"))?;
        closable(&asked.workspace)?;
    }
    env.retain(|(name, _)| !CLEARED.iter().any(|cleared| name == *cleared));
    if held.namespaces {
        env.push(("TMPDIR".into(), "/tmp".into()));
    } else if let Some(scratch) = &asked.scratch {
        env.push(("TMPDIR".into(), scratch.join("tmp").into()));
    }
    if held.network == Network::Hosts {
        through_the_gate(env);
    }
    let asked = Confinement { network: held.network, ..asked.clone() };
    let mut plan = rules::derive(&asked, &Place::new(env), &Disk, held.namespaces);
    if held.seccomp {
        plan.filters = calls::compiled(held.namespaces, held.network)
            .map_err(crate::run::failed("compiling the filter of system calls"))?;
    }
    Ok(Some(plan))
}

/// Tells programs of the one way out.
fn through_the_gate(env: &mut Vec<(OsString, OsString)>) {
    env.retain(|(name, _)| !name.to_ascii_lowercase().to_string_lossy().ends_with("_proxy"));
    let address = format!("http://127.0.0.1:{PORT}");
    let names = ["http_proxy", "https_proxy", "all_proxy"];
    for name in names.into_iter().flat_map(|name| [name.to_owned(), name.to_ascii_uppercase()]) {
        env.push((name.into(), address.clone().into()));
    }
    for name in ["no_proxy", "NO_PROXY"] {
        env.push((name.into(), "localhost,127.0.0.1,::1".into()));
    }
    // Node asks no proxy unless it is told to, Java's tools by properties only; each may have been given others.
    env.push(("NODE_USE_ENV_PROXY".into(), "1".into()));
    let java =
        ["http", "https"].map(|of| format!("-D{of}.proxyHost=127.0.0.1 -D{of}.proxyPort={PORT}")).join(" ");
    for name in ["MAVEN_OPTS", "GRADLE_OPTS", "SBT_OPTS"] {
        match env.iter_mut().find(|(it, _)| *it == *name) {
            Some((_, value)) => value.push(format!(" {java}")),
            None => env.push((name.into(), java.clone().into())),
        }
    }
}

/// Makes what a command could otherwise make: git's hooks, its configuration, and the file by which both are taken from
/// elsewhere; or its directory, where there is none. Says what it made.
pub fn seal(workspace: &Path) -> io::Result<Vec<PathBuf>> {
    let git = workspace.join(".git");
    let mut made = Vec::new();
    match std::fs::symlink_metadata(&git) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir(&git)?;
            made.push(git);
        }
        Ok(meta) if meta.is_dir() && git.join("HEAD").symlink_metadata().is_ok() => {
            rules::SEALED.iter().try_for_each(|name| part(&git, name, &mut made))?;
        }
        _ => {}
    }
    Ok(made)
}

/// The same for a repository that is a person's own, with those of its submodules. Says what it made, and what has to
/// stay as it is besides: by which linked work trees find the repository. One that a command makes itself has none of
/// it, so that it can be removed again.
pub fn seal_theirs(workspace: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut made, git) = (seal(workspace)?, workspace.join(".git"));
    let rules::Below { repositories, linked, .. } = rules::below(&git, &Disk);
    for dir in repositories.iter().filter(|dir| **dir != git) {
        rules::SEALED.iter().try_for_each(|name| part(dir, name, &mut made))?;
    }
    linked.iter().try_for_each(|dir| part(dir, "config.worktree", &mut made))?;
    let kept = linked.iter().flat_map(|dir| ["commondir", "config.worktree"].map(|name| dir.join(name)));
    Ok((made, kept.collect()))
}

/// Makes what is missing of what git runs and obeys in this directory.
fn part(dir: &Path, name: &str, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let path = dir.join(name);
    let file = |text: &str| io::Write::write_all(&mut std::fs::File::create_new(&path)?, text.as_bytes());
    let done = match name {
        "hooks" => std::fs::create_dir(&path),
        // It says what holds anyway: here.
        "commondir" => file(".\n"),
        _ => file(""),
    };
    match done {
        Ok(()) => made.push(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Git directories of submodules and of linked work trees: what lies in them, git runs and obeys in the person's hands.
pub fn repositories(workspace: &Path) -> std::collections::BTreeSet<PathBuf> {
    let git = workspace.join(".git");
    let rules::Below { repositories, linked, .. } = rules::below(&git, &Disk);
    repositories.into_iter().filter(|dir| *dir != git).chain(linked).collect()
}

/// What is closed is what it should be: on a link nothing can be mounted, and what it leads to could be put in its place.
fn closable(workspace: &Path) -> Result<(), Error> {
    let git = workspace.join(".git");
    let is_dir = git.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let parts = rules::SEALED.iter().filter(|_| is_dir).map(|name| (git.join(name), *name == "hooks"));
    for (path, dir) in std::iter::once((git.clone(), is_dir)).chain(parts) {
        let odd = match path.symlink_metadata() {
            Ok(meta) if meta.is_symlink() => "it is a symbolic link, which leads elsewhere",
            Ok(meta) if dir && !meta.is_dir() => "it is no directory",
            Ok(meta) if !dir && !meta.is_file() => "it is no plain file",
            _ => continue,
        };
        let (layer, source) = (path.display().to_string(), io::Error::other(odd));
        return Err(Error::Confine { layer, source });
    }
    Ok(())
}

/// Removes what [`seal`] made, as far as nobody filled it since. For a workspace that is not Kapell's.
pub fn unseal(made: &[PathBuf]) {
    for path in made.iter().rev() {
        let untouched = std::fs::metadata(path).is_ok_and(|meta| meta.len() <= 2);
        let _filled_is_fine = match path.is_dir() {
            true => std::fs::remove_dir(path),
            false if untouched => std::fs::remove_file(path),
            false => Ok(()),
        };
    }
}

/// Starts the helper to try it: only trying tells, since many things forbid it.
/// True: with a /proc of one's own.
fn probe() -> Result<bool, String> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0_helper().arg(crate::helper::WORD).arg(PROBE).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let code = command.status().map_err(|error| format!("they cannot be tried: {error}"))?.code();
    match code {
        Some(0) => Ok(true),
        Some(SHARED) => Ok(false),
        Some(errno) => Err(io::Error::from_raw_os_error(errno).to_string()),
        None => Err("trying them was ended by a signal".to_owned()),
    }
}

/// The helper's part: tries, and ends with the number of the error.
pub(crate) fn try_out() -> ! {
    let code = apply::probe().unwrap_or_else(|error| error.raw_os_error().unwrap_or(libc::EPERM));
    std::process::exit(code)
}

trait HelperName {
    fn arg0_helper(&mut self) -> &mut Self;
}

impl HelperName for Command {
    fn arg0_helper(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::arg0(self, OsStr::new("kapell-helper"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Offers {
        Offers { landlock: 7, seccomp: true, namespaces: Ok(()), own_proc: true }
    }

    #[test]
    fn less_than_the_profile_needs_is_refused_unless_somebody_said_so() {
        let asked = Confinement::default();
        assert_eq!(
            held(&asked, &all()).unwrap().to_string(),
            "workspace-write: landlock 7, seccomp, namespaces, network off"
        );
        let none = Offers { namespaces: Err("not permitted".into()), ..all() };
        let error = held(&asked, &none).unwrap_err().to_string();
        assert!(error.contains("namespaces (not permitted)"), "{error}");
        let covered = held(&asked, &Offers { own_proc: false, ..all() }).unwrap();
        assert!(covered.to_string().contains("namespaces, other processes seen, network off"), "{covered}");
        let said = |offers: &Offers| {
            open(&held(&Confinement { degraded: true, ..asked.clone() }, offers).unwrap()).join("\n")
        };
        assert!(said(&Offers { own_proc: false, ..all() }).contains("/proc is covered"));
        assert!(said(&all()).contains("Landlock 9") && said(&none).contains("git's hooks"));
        assert_eq!(said(&Offers { landlock: 9, ..all() }), "");
        let old = Offers { landlock: 2, ..all() };
        assert!(held(&asked, &old).unwrap_err().to_string().contains("Landlock 3 or newer (there is 2)"));
        let degraded = Confinement { degraded: true, network: Network::Hosts, ..asked };
        assert_eq!(
            held(&degraded, &none).unwrap().to_string(),
            "workspace-write: landlock 7, seccomp, network off"
        );
        let full = Confinement { profile: Profile::Full, ..Confinement::default() };
        assert!(held(&full, &old).unwrap().to_string().starts_with("full: nothing"));
    }

    #[test]
    fn what_is_no_plain_part_of_a_repository_is_not_closed_but_refused() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join(".git");
        let refused = || closable(dir.path()).err().map(|error| error.to_string());
        assert_eq!(refused(), None);
        std::fs::create_dir(&git).unwrap();
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        seal(dir.path()).unwrap();
        assert_eq!(refused(), None);
        for name in rules::SEALED {
            let path = git.join(name);
            std::fs::rename(&path, git.join("kept")).unwrap();
            std::os::unix::fs::symlink("kept", &path).unwrap();
            let said = refused().unwrap();
            assert!(said.contains(name) && said.contains("symbolic link"), "{said}");
            std::fs::remove_file(&path).unwrap();
            std::fs::rename(git.join("kept"), &path).unwrap();
        }
        std::fs::rename(&git, dir.path().join("g")).unwrap();
        std::os::unix::fs::symlink("g", &git).unwrap();
        assert!(refused().unwrap().contains("symbolic link"));
    }

    #[test]
    fn sealing_makes_what_is_missing_and_unsealing_takes_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let made = seal(dir.path()).unwrap();
        assert_eq!(made, [dir.path().join(".git")]);
        unseal(&made);
        assert!(!dir.path().join(".git").exists());
        let git = dir.path().join(".git");
        std::fs::create_dir(&git).unwrap();
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(git.join("config"), "[core]\n").unwrap();
        let made = seal(dir.path()).unwrap();
        assert_eq!(made, ["hooks", "commondir", "config.worktree"].map(|name| git.join(name)));
        assert!(seal(dir.path()).unwrap().is_empty());
        std::fs::write(git.join("hooks/mine"), "x").unwrap();
        unseal(&made);
        assert!(
            git.join("hooks/mine").exists() && git.join("config").exists() && !git.join("commondir").exists()
        );
    }
}
