//! What is to be done to a process before it becomes a confined command, as it travels to the warden.
//! Decides nothing (`rules.rs`) and does nothing (`apply.rs`). Start at [`Plan`].

use contract::confine::Network;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The command gets its own view of files, its own network and its own shared memory.
    pub(super) namespaces: bool,
    pub(super) network: Network,
    /// Processes at once, where it counts its own, and bytes of one file that it writes; 0 = any.
    pub(super) processes: u64,
    pub(super) file: u64,
    /// Outer places before inner ones.
    pub(super) entries: Vec<Entry>,
    /// The filters of system calls, compiled.
    pub(super) filters: Vec<Vec<u8>>,
}

/// A place and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: PathBuf,
    pub(super) show: Show,
}

/// What a command finds at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Show {
    /// This, to read and execute.
    Read(PathBuf),
    /// This, to do anything with.
    Write(PathBuf),
    /// A symbolic link with this text.
    Link(PathBuf),
    /// A directory of its own: this one, or one in memory.
    Own(Option<PathBuf>),
    /// This, with what is changed kept in the other directory; where that cannot be had, only to read.
    Over(PathBuf, PathBuf),
    /// Its own processes.
    Processes,
    /// A device to read, write and control.
    Device,
    /// Something that cannot be opened.
    Nothing,
}

impl Entry {
    pub(super) fn new(at: impl Into<PathBuf>, show: Show) -> Self {
        Self { at: at.into(), show }
    }
}

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("read"),
            Self::Write(_) => f.write_str("write"),
            Self::Link(to) => write!(f, "link to {}", to.display()),
            Self::Own(_) => f.write_str("own"),
            Self::Over(..) => f.write_str("own changes"),
            Self::Processes => f.write_str("own processes"),
            Self::Device => f.write_str("device"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl Plan {
    /// Does it get process numbers of its own, and so a first process?
    pub(crate) fn counts_anew(&self) -> bool {
        self.namespaces
    }

    /// Does it get a way out through Kapell?
    pub(crate) fn has_gate(&self) -> bool {
        self.namespaces && self.network == Network::Hosts
    }

    /// As texts; those of paths hold no zero byte.
    pub(crate) fn encode(&self) -> Vec<OsString> {
        let mut out: Vec<OsString> =
            vec![self.network.name().into(), if self.namespaces { "own" } else { "" }.into()];
        out.extend([self.processes, self.file].map(|limit| limit.to_string().into()));
        out.push(self.filters.len().to_string().into());
        out.extend(self.filters.iter().cloned().map(OsString::from_vec));
        for Entry { at, show } in &self.entries {
            let (kind, with, more) = match show {
                Show::Read(source) => ("r", source.clone(), PathBuf::new()),
                Show::Write(source) => ("w", source.clone(), PathBuf::new()),
                Show::Link(to) => ("l", to.clone(), PathBuf::new()),
                Show::Own(Some(dir)) => ("o", dir.clone(), PathBuf::new()),
                Show::Over(below, changes) => ("c", below.clone(), changes.clone()),
                Show::Own(None) => ("m", PathBuf::new(), PathBuf::new()),
                Show::Processes => ("p", PathBuf::new(), PathBuf::new()),
                Show::Device => ("d", PathBuf::new(), PathBuf::new()),
                Show::Nothing => ("n", PathBuf::new(), PathBuf::new()),
            };
            out.extend([kind.into(), at.clone().into_os_string(), with.into(), more.into()]);
        }
        out
    }

    /// What [`Plan::encode`] made; `None`: something else.
    pub(crate) fn decode(texts: Vec<OsString>) -> Option<Self> {
        let mut texts = texts.into_iter();
        let network = match texts.next()?.to_str()? {
            "off" => Network::Off,
            "hosts" => Network::Hosts,
            "on" => Network::On,
            _ => return None,
        };
        let namespaces = texts.next()? == "own";
        let mut number = || texts.next()?.to_str()?.parse::<u64>().ok();
        let (processes, file) = (number()?, number()?);
        let filters = usize::try_from(number()?).ok()?;
        let filters: Vec<Vec<u8>> =
            texts.by_ref().take(filters).map(|text| text.as_bytes().to_vec()).collect();
        let mut entries = Vec::new();
        while let Some(kind) = texts.next() {
            let [at, with, more] = [texts.next()?, texts.next()?, texts.next()?].map(PathBuf::from);
            let show = match kind.to_str()? {
                "r" => Show::Read(with),
                "w" => Show::Write(with),
                "l" => Show::Link(with),
                "o" => Show::Own(Some(with)),
                "c" => Show::Over(with, more),
                "m" => Show::Own(None),
                "p" => Show::Processes,
                "d" => Show::Device,
                "n" => Show::Nothing,
                _ => return None,
            };
            entries.push(Entry { at, show });
        }
        Some(Self { namespaces, network, processes, file, entries, filters })
    }

    /// The place of this number, for messages.
    pub(crate) fn place(&self, number: usize) -> Option<&std::path::Path> {
        self.entries.get(number).map(|entry| entry.at.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_travels_whole() {
        let shows = [
            Show::Read("/a".into()),
            Show::Write("/b c".into()),
            Show::Link("../x".into()),
            Show::Own(None),
            Show::Own(Some("/s/tmp".into())),
            Show::Over("/l".into(), "/s/changes".into()),
            Show::Processes,
            Show::Device,
            Show::Nothing,
        ];
        let entries = shows.into_iter().map(|show| Entry::new("/at", show)).collect();
        let filters = vec![vec![0, 1, 255], Vec::new()];
        let plan = Plan {
            namespaces: true,
            network: Network::Hosts,
            processes: 8,
            file: u64::MAX,
            entries,
            filters,
        };
        assert_eq!(Plan::decode(plan.encode()), Some(plan.clone()));
        let mut cut = plan.encode();
        cut.pop();
        assert_eq!(Plan::decode(cut), None);
        assert_eq!(Plan::decode(Vec::new()), None);
    }
}
