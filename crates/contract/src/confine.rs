//! What keeps a command in its place: words for who asks (the binary, from configuration), who passes it on (tools,
//! checks) and who does it (`sandbox`). Knows no system. Start at [`Confinement`].

use crate::is_default;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// How much a command may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Reads the workspace and the system; writes only what is its own and goes away.
    ReadOnly,
    /// Writes the workspace as well, but not what git in it runs or obeys.
    #[default]
    WorkspaceWrite,
    /// Nothing confines it.
    Full,
}

/// What of the network it reaches, its own loopback aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing.
    #[default]
    Off,
    /// Listed hosts, through a proxy that writes down what it let through and what not.
    Hosts,
    /// Everything.
    On,
}

impl Profile {
    /// The stored and printed name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
            Self::Full => "full",
        }
    }
}

impl Network {
    /// The stored and printed name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Hosts => "hosts",
            Self::On => "on",
        }
    }
}

/// Where one command works and what it may reach; all paths absolute.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// How much it may do.
    pub profile: Profile,
    /// What of the network it reaches.
    pub network: Network,
    /// Top of what it works on.
    pub workspace: PathBuf,
    /// A directory of its own, for what it believes to be `/tmp` and its home; without one they are in memory and go
    /// with it.
    pub scratch: Option<PathBuf>,
    /// What it may read besides the system and the usual tools.
    pub read: Vec<PathBuf>,
    /// What it may write besides: build output, caches.
    pub write: Vec<PathBuf>,
    /// Of what it would see, what it may not: shown as nothing.
    pub hidden: Vec<PathBuf>,
    /// Of what it may write, what stays as it is.
    pub kept: Vec<PathBuf>,
    /// Whom it may ask, where only listed hosts are reached.
    pub hosts: Hosts,
    /// Bytes of one file that it writes; 0 = what the disk takes.
    pub file: u64,
    /// A person has said that it may run where the system offers less than the profile needs.
    pub degraded: bool,
    /// Bytes of memory that all of it may take, whatever the profile, where the system can hold it to that; 0 = any.
    pub memory: u64,
    /// Processes and threads, likewise; 0 = the usual number.
    pub processes: u64,
}

/// Hosts that commands may ask: `NAME`, `*.NAME` (all below it), each also with `:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hosts {
    /// Listed by a person: a command may ask them, and ask them again.
    pub allow: Vec<String>,
    /// Of these, those that may have an address of one's own network.
    pub private: Vec<String>,
}

/// A host that a command asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAsked {
    /// Its name, as the command said it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// It was let through.
    pub passed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// How often.
    pub times: u32,
}

/// What holds a command, as it is recorded and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The profile.
    pub profile: Profile,
    /// What of the network is reached.
    pub network: Network,
    /// Landlock's version of its interface; 0 = there is none.
    pub landlock: u32,
    /// System calls are filtered.
    pub seccomp: bool,
    /// It sees its own files, network and shared memory only.
    pub namespaces: bool,
    /// It sees what `/proc` tells of other processes, by numbers that are not its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub others_seen: bool,
}

/// The oldest Landlock that holds a write to where it is allowed (truncating came last).
pub const LANDLOCK: u32 = 3;

impl InForce {
    /// It changes nothing but what it was given, so that a savepoint takes back what it did.
    pub fn holds(&self) -> bool {
        self.profile != Profile::Full && self.landlock >= LANDLOCK && self.seccomp
    }
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.profile == Profile::Full {
            return f.write_str("full: nothing confines it");
        }
        write!(f, "{}: ", self.profile.name())?;
        if self.landlock > 0 {
            write!(f, "landlock {}, ", self.landlock)?;
        }
        let layers = [
            (self.seccomp, "seccomp, "),
            (self.namespaces, "namespaces, "),
            (self.others_seen, "other processes seen, "),
        ];
        for (has, layer) in layers {
            f.write_str(if has { layer } else { "" })?;
        }
        write!(f, "network {}", self.network.name())
    }
}
