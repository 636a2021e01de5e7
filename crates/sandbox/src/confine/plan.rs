//! What is to be done to a process before it becomes a confined command, as it travels to the warden.
//! Decides nothing (`rules.rs`) and does nothing (`apply.rs`). Start at [`Plan`].

use contract::confine::Network;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The command gets its own view of files, its own network and its own shared memory.
    pub(super) namespaces: bool,
    pub(super) network: Network,
    /// Outer places before inner ones.
    pub(super) entries: Vec<Entry>,
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
            Self::Device => f.write_str("device"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl Plan {
    /// As texts, without zero bytes where paths hold none.
    pub(crate) fn encode(&self) -> Vec<OsString> {
        let network = match self.network {
            Network::Off => "off",
            Network::Hosts => "hosts",
            Network::On => "on",
        };
        let mut out: Vec<OsString> = vec![network.into(), if self.namespaces { "own" } else { "" }.into()];
        for Entry { at, show } in &self.entries {
            let (kind, with) = match show {
                Show::Read(source) => ("r", source.clone().into_os_string()),
                Show::Write(source) => ("w", source.clone().into_os_string()),
                Show::Link(to) => ("l", to.clone().into_os_string()),
                Show::Own(Some(dir)) => ("o", dir.clone().into_os_string()),
                Show::Own(None) => ("m", OsString::new()),
                Show::Device => ("d", OsString::new()),
                Show::Nothing => ("n", OsString::new()),
            };
            out.extend([kind.into(), at.clone().into_os_string(), with]);
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
        let mut entries = Vec::new();
        while let Some(kind) = texts.next() {
            let (at, with) = (PathBuf::from(texts.next()?), PathBuf::from(texts.next()?));
            let show = match kind.to_str()? {
                "r" => Show::Read(with),
                "w" => Show::Write(with),
                "l" => Show::Link(with),
                "o" => Show::Own(Some(with)),
                "m" => Show::Own(None),
                "d" => Show::Device,
                "n" => Show::Nothing,
                _ => return None,
            };
            entries.push(Entry { at, show });
        }
        Some(Self { namespaces, network, entries })
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
            Show::Device,
            Show::Nothing,
        ];
        let entries = shows.into_iter().map(|show| Entry::new("/at", show)).collect();
        let plan = Plan { namespaces: true, network: Network::Hosts, entries };
        assert_eq!(Plan::decode(plan.encode()), Some(plan.clone()));
        let mut cut = plan.encode();
        cut.pop();
        assert_eq!(Plan::decode(cut), None);
        assert_eq!(Plan::decode(Vec::new()), None);
    }
}
