//! What a confined command sees and may do, derived from what was asked for: a value, made without touching a file.
//! Knows nothing of how the kernel is told. Start at [`derive`].

use super::place::{Files, Kind, Place};
use super::plan::{Entry, Plan, Show};
use contract::confine::{Confinement, Network, Profile};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Directories of the system: read and executed. What is missing a person adds by configuration.
const SYSTEM: [&str; 17] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    // Not the socket of the daemon that builds for everybody.
    "/nix/store",
    "/nix/var/nix/profiles",
    "/gnu",
    "/snap",
    "/proc",
    "/sys",
    "/var/lib/dpkg",
    "/run/current-system",
];
/// Needed to find hosts, where the network is there.
const NAMES: [&str; 3] = ["/run/systemd/resolve", "/run/resolvconf", "/run/nscd"];
/// Of the system's files, what opens doors: not even the superuser's commands read it.
const KEYS: [&str; 10] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/kubernetes",
    "/etc/docker",
];
/// Devices everybody needs.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Below the home directory: tools and what they are built from, never files of keys. Where those lie beside them, the
/// others are named one by one.
const TOOLS: [&str; 49] = [
    ".cargo/bin",
    ".cargo/env",
    ".cargo/config.toml",
    ".cargo/config",
    ".rustup",
    ".nvm",
    ".fnm",
    ".local/share/fnm",
    ".volta",
    ".bun",
    ".deno",
    ".local/share/pnpm",
    ".pyenv",
    ".local/share/uv/python",
    ".local/share/uv/tools",
    ".local/bin",
    ".local/lib",
    ".local/share/pipx",
    "miniconda3",
    "anaconda3",
    ".rbenv",
    ".rvm",
    ".gem/ruby",
    ".gem/specs",
    ".asdf",
    ".local/share/mise",
    ".sdkman/candidates",
    ".gradle/wrapper",
    "go/bin",
    ".goenv",
    ".ghcup/bin",
    ".ghcup/ghc",
    ".cabal/bin",
    ".cabal/packages",
    ".cabal/store",
    ".opam",
    ".juliaup",
    ".julia/packages",
    ".dotnet/dotnet",
    ".dotnet/host",
    ".dotnet/packs",
    ".dotnet/sdk",
    ".dotnet/sdk-manifests",
    ".dotnet/shared",
    ".dotnet/templates",
    ".dotnet/tools",
    ".nuget/packages",
    ".nix-profile",
    ".elan",
];
/// Below the home directory: what tools fetched. A command's changes to it stay its session's own, so that nobody's next
/// build is made of what a command put there.
const CACHES: [&str; 9] = [
    ".cargo/registry",
    ".cargo/git",
    ".npm",
    ".cache/pip",
    ".cache/uv",
    ".cache/go-build",
    ".cache/yarn",
    "go/pkg",
    ".m2/repository",
];
/// Variables that name such a directory; a second word names parts of it.
const TOOL_VARIABLES: [(&str, &[&str]); 14] = [
    ("CARGO_HOME", &["bin", "env", "config.toml", "config"]),
    ("RUSTUP_HOME", &[]),
    ("NVM_DIR", &[]),
    ("VOLTA_HOME", &[]),
    ("BUN_INSTALL", &[]),
    ("PNPM_HOME", &[]),
    ("PYENV_ROOT", &[]),
    ("VIRTUAL_ENV", &[]),
    ("CONDA_PREFIX", &[]),
    ("RBENV_ROOT", &[]),
    ("ASDF_DATA_DIR", &[]),
    ("JAVA_HOME", &[]),
    ("GOROOT", &[]),
    ("GOPATH", &["bin"]),
];
/// The same for what tools fetched.
const CACHE_VARIABLES: [(&str, &[&str]); 8] = [
    ("CARGO_HOME", &["registry", "git"]),
    ("npm_config_cache", &[]),
    ("PIP_CACHE_DIR", &[]),
    ("UV_CACHE_DIR", &[]),
    ("GOCACHE", &[]),
    ("GOPATH", &["pkg"]),
    ("GOMODCACHE", &[]),
    ("JULIA_DEPOT_PATH", &["packages"]),
];
/// What git runs or obeys, below the git directory: closed even while it is not there ([`super::seal`] makes what is
/// missing).
pub(super) const SEALED: [&str; 4] = ["hooks", "config", "commondir", "config.worktree"];
/// How deep repositories of submodules are looked for: the name of one may have slashes.
const MODULES_DEPTH: u32 = 6;

/// The plan for a command: in the order in which it is carried out. `namespaces` = the kernel has them for us.
pub(super) fn derive(asked: &Confinement, place: &Place, files: &dyn Files, namespaces: bool) -> Plan {
    // As it really is: it is opened over no link.
    let scratch = asked.scratch.as_ref().map(|dir| files.real(dir).unwrap_or_else(|| dir.clone()));
    let asked = &Confinement { scratch, ..asked.clone() };
    let homes = if place.has_home() { Vec::from_iter(files.real(&place.home)) } else { Vec::new() };
    let pinned = BTreeSet::new();
    let mut list = List { files, entries: Vec::new(), namespaces, homes, pinned };
    for path in SYSTEM {
        // If the home is in there, its own one covers it.
        list.show(Path::new(path), Show::Read);
    }
    if namespaces {
        list.entries.push(Entry::new("/proc", Show::Processes));
    }
    if asked.network == Network::On {
        NAMES.iter().for_each(|path| list.read(Path::new(path)));
    }
    if !namespaces {
        list.without(&KEYS);
        list.entries.extend(DEVICES.map(|name| Entry::new(format!("/dev/{name}"), Show::Device)));
    }
    list.own(asked, place);
    list.tools(place);
    list.caches(asked, place);
    asked.read.iter().filter(|path| place.may_show(path)).for_each(|path| list.read(path));
    let writes = asked.profile == Profile::WorkspaceWrite;
    if writes {
        list.write(&asked.workspace);
        asked.write.iter().for_each(|path| list.write(path));
        list.git(&asked.workspace);
    } else {
        list.show(&asked.workspace, Show::Read);
        // What it builds is its own: a check that only reads still has to compile.
        asked.write.iter().for_each(|path| list.read(path));
    }
    if namespaces {
        list.hide(KEYS.iter().map(Path::new));
        asked.kept.iter().for_each(|path| list.keep(path));
        asked.hidden.iter().for_each(|path| list.pin(path));
        list.hide(asked.hidden.iter().map(PathBuf::as_path));
    }
    let entries = list.in_order();
    let processes = if asked.processes == 0 { super::PROCESSES } else { asked.processes };
    Plan { namespaces, network: asked.network, processes, file: asked.file, entries, filters: Vec::new() }
}

/// How the place of a directory is shown.
type How = fn(PathBuf) -> Show;

struct List<'a> {
    files: &'a dyn Files,
    entries: Vec<Entry>,
    namespaces: bool,
    /// Where the home really is.
    homes: Vec<PathBuf>,
    /// Directories that are mounts so that nobody moves what is closed in them.
    pinned: BTreeSet<PathBuf>,
}

impl List<'_> {
    /// Readable at its name and at its real place; never the home as a whole, by whatever name.
    fn read(&mut self, path: &Path) {
        let holds_home = |real: PathBuf| self.homes.iter().any(|home| home.starts_with(&real));
        if !self.files.real(path).is_some_and(holds_home) {
            self.show(path, Show::Read);
        }
    }

    fn write(&mut self, path: &Path) {
        self.show(path, Show::Write);
    }

    fn show(&mut self, path: &Path, how: How) {
        let Some(real) = self.files.real(path) else { return };
        // The home as a whole is shown only to who works in it.
        if real == Path::new("/") || (real != path && self.homes.iter().any(|home| home.starts_with(&real))) {
            return;
        }
        if real != path {
            match self.files.kind(path) {
                // As the system's own directories are today: a name for a part of another one.
                Some(Kind::Link(to)) if path.parent() == Some(Path::new("/")) => {
                    self.entries.push(Entry::new(path, Show::Link(to)));
                }
                _ => self.entries.push(Entry::new(path, how(real.clone()))),
            }
        }
        self.entries.push(Entry::new(real.clone(), how(real)));
    }

    /// The temporary directories and the home, both its own.
    fn own(&mut self, asked: &Confinement, place: &Place) {
        let own = |name: &str| asked.scratch.as_ref().map(|scratch| scratch.join(name));
        for path in ["/tmp", "/var/tmp"] {
            self.entries.push(Entry::new(path, Show::Own(own("tmp"))));
        }
        if self.namespaces {
            self.entries.push(Entry::new("/dev/shm", Show::Own(None)));
            if place.has_home() {
                let names = self.homes.iter().chain([&place.home]);
                let homes: Vec<Entry> = names.map(|name| Entry::new(name, Show::Own(own("home")))).collect();
                self.entries.extend(homes);
            }
        }
    }

    fn tools(&mut self, place: &Place) {
        if place.has_home() {
            TOOLS.iter().for_each(|tool| self.read(&place.home.join(tool)));
        }
        for (name, parts) in TOOL_VARIABLES {
            let Some(dir) = place.variable(name).filter(|dir| place.may_show(dir)) else { continue };
            if parts.is_empty() {
                self.read(&dir);
            }
            parts.iter().for_each(|part| self.read(&dir.join(part)));
        }
        let dirs: Vec<PathBuf> = place.path.iter().filter(|dir| place.may_show(dir)).cloned().collect();
        dirs.iter().for_each(|dir| self.read(dir));
    }

    /// What was fetched once need not be fetched again; what is fetched now is the session's.
    fn caches(&mut self, asked: &Confinement, place: &Place) {
        let mut dirs: Vec<PathBuf> = Vec::new();
        if place.has_home() {
            dirs.extend(CACHES.map(|cache| place.home.join(cache)));
        }
        for (name, parts) in CACHE_VARIABLES {
            let Some(dir) = place.variable(name).filter(|dir| place.may_show(dir)) else { continue };
            dirs.extend(parts.iter().map(|part| dir.join(part)));
            dirs.extend(parts.is_empty().then_some(dir));
        }
        for dir in dirs {
            let real =
                self.files.real(&dir).filter(|real| !self.homes.iter().any(|home| home.starts_with(real)));
            match (&asked.scratch, real) {
                (Some(scratch), Some(real)) if self.namespaces => {
                    let name = dir.to_string_lossy().replace('/', "%");
                    let changes = scratch.join("changes").join(name);
                    self.entries.push(Entry::new(dir, Show::Over(real, changes)));
                }
                _ => self.read(&dir),
            }
        }
    }

    /// Nothing can be opened there; of a link, where it leads.
    fn hide<'p>(&mut self, keys: impl Iterator<Item = &'p Path>) {
        for key in keys {
            let place = self.files.kind(key).and_then(|_| self.files.real(key));
            let shown = |path: &PathBuf| self.entries.iter().any(|entry| path.starts_with(&entry.at));
            if let Some(path) = place.filter(shown) {
                self.entries.push(Entry::new(path, Show::Nothing));
            }
        }
    }

    /// It stays as it is, in the middle of what may be written.
    fn keep(&mut self, path: &Path) {
        let place = self.files.kind(path).and_then(|_| self.files.real(path));
        let Some(real) = place.filter(|real| self.written(real).is_some()) else { return };
        self.pin(&real);
        self.entries.push(Entry::new(&real, Show::Read(real.clone())));
    }

    /// The directories on the way to it cannot be moved: what it is called by would lead elsewhere in the next command.
    fn pin(&mut self, path: &Path) {
        let Some(real) = self.files.real(path) else { return };
        let Some(top) = self.written(&real) else { return };
        let ways = real.ancestors().skip(1).take_while(|way| *way != top).map(Path::to_owned);
        for way in ways.collect::<Vec<_>>() {
            self.entries.push(Entry::new(&way, Show::Write(way.clone())));
            self.pinned.insert(way);
        }
    }

    /// The outermost place at which it may be written.
    fn written(&self, path: &Path) -> Option<PathBuf> {
        let writes = |entry: &&Entry| {
            matches!(&entry.show, Show::Write(source) if *source == entry.at) && path.starts_with(&entry.at)
        };
        self.entries.iter().filter(writes).map(|entry| entry.at.clone()).min()
    }

    /// Where only rules hold, what lies beside a key is named one by one.
    fn without(&mut self, keys: &[&str]) {
        for key in keys.iter().map(Path::new).filter(|key| self.files.kind(key).is_some()) {
            let holder = self.entries.iter().position(|entry| key.starts_with(&entry.at) && entry.at != key);
            let Some(holder) = holder else { continue };
            let dir = self.entries.remove(holder).at;
            for child in self
                .files
                .list(&dir)
                .into_iter()
                .filter(|child| !keys.iter().any(|key| child == Path::new(key)))
            {
                self.read(&child);
            }
        }
    }

    /// What git in the workspace runs and obeys stays as it is. Its directory cannot be moved away, because something is
    /// mounted there. Rules alone cannot take back what they gave above: without namespaces none of this holds.
    fn git(&mut self, workspace: &Path) {
        let Some(top) = self.files.real(workspace).filter(|_| self.namespaces) else { return };
        let git = top.join(".git");
        // By whatever names it is shown.
        let place = |entry: &Entry| match &entry.show {
            Show::Write(source) => top.strip_prefix(source).ok().map(|rest| entry.at.join(rest).join(".git")),
            _ => None,
        };
        for at in self.entries.iter().filter_map(place).collect::<Vec<_>>() {
            match self.files.kind(&git) {
                Some(Kind::Dir) if self.files.kind(&git.join("HEAD")).is_some() => {
                    self.entries.push(Entry::new(&at, Show::Write(git.clone())));
                    for (source, how) in self.sealed(&git) {
                        let rest = source.strip_prefix(&git).unwrap_or(&source);
                        self.entries.push(Entry::new(at.join(rest), how(source.clone())));
                    }
                }
                // A file that names the directory, one that holds no repository yet, or a link, which nothing can be
                // mounted on: then nothing runs.
                Some(_) => self.entries.push(Entry::new(at, Show::Read(git.clone()))),
                None => {}
            }
        }
    }

    /// What is there of it in this git directory and in those of submodules, which git runs and obeys as well; and the
    /// directories on the way, which are mounts so that nobody moves them.
    fn sealed(&self, git: &Path) -> Vec<(PathBuf, How)> {
        let Below { repositories, ways, .. } = below(git, self.files);
        let inner = repositories.iter().filter(|dir| *dir != git).chain(&ways);
        let mut all: Vec<(PathBuf, How)> = inner.map(|dir| (dir.clone(), Show::Write as How)).collect();
        let parts = repositories.iter().flat_map(|dir| SEALED.map(|name| dir.join(name)));
        let there = parts.filter(|part| matches!(self.files.kind(part), Some(Kind::Dir | Kind::File)));
        all.extend(there.map(|part| (part, Show::Read as How)));
        all
    }

    /// Outer directories before what lies in them; of two at the same place the later one; nothing twice.
    fn in_order(self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for entry in self.entries {
            entries.retain(|other| other.at != entry.at);
            entries.push(entry);
        }
        entries.sort_by_key(|entry| entry.at.components().count());
        let mut kept: Vec<Entry> = Vec::new();
        for entry in entries {
            let above = kept.iter().rev().find(|above| entry.at.starts_with(&above.at));
            let seen = match (above.map(|above| &above.show), &entry.show) {
                (Some(Show::Read(source)), Show::Read(own))
                | (Some(Show::Write(source)), Show::Write(own)) => {
                    // It shows the same there already, unless it closes a part or is a mount by itself on purpose.
                    let within = above.and_then(|above| entry.at.strip_prefix(&above.at).ok());
                    within.is_some_and(|within| source.join(within) == *own)
                        && !on_purpose(&entry)
                        && !self.pinned.contains(&entry.at)
                }
                _ => false,
            };
            if !seen {
                kept.push(entry);
            }
        }
        kept
    }
}

/// Git directories that belong to one.
pub(super) struct Below {
    /// Itself, and those of submodules.
    pub(super) repositories: Vec<PathBuf>,
    /// Of linked work trees.
    pub(super) linked: Vec<PathBuf>,
    /// Directories on the way to those of submodules.
    ways: Vec<PathBuf>,
}

/// What belongs to this git directory, which holds a repository.
pub(super) fn below(git: &Path, files: &dyn Files) -> Below {
    let is_dir = |path: &PathBuf| matches!(files.kind(path), Some(Kind::Dir));
    let holds = |path: &PathBuf| files.kind(&path.join("HEAD")).is_some();
    let mut found = Below { repositories: vec![git.to_owned()], linked: Vec::new(), ways: Vec::new() };
    let mut open = vec![(git.join("modules"), MODULES_DEPTH)];
    while let Some((dir, depth)) = open.pop() {
        if depth == 0 || !is_dir(&dir) {
            continue;
        }
        for inner in files.list(&dir).into_iter().filter(is_dir) {
            let repository = holds(&inner);
            open.push((if repository { inner.join("modules") } else { inner.clone() }, depth - 1));
            found.repositories.extend(repository.then_some(inner));
        }
        found.ways.push(dir);
    }
    for dir in found.repositories.iter().map(|dir| dir.join("worktrees")).filter(is_dir) {
        found.linked.extend(files.list(&dir).into_iter().filter(|inner| is_dir(inner) && holds(inner)));
    }
    found
}

fn on_purpose(entry: &Entry) -> bool {
    entry.at.components().any(|part| part.as_os_str() == ".git")
}

#[cfg(test)]
mod tests {
    use super::super::place::Fake;
    use super::*;

    fn place() -> Place {
        Place {
            home: "/home/u".into(),
            path: ["/usr/bin", "/home/u/.cargo/bin", "/home/u", "/", "/data/bin"].map(PathBuf::from).to_vec(),
            variables: vec![("GOPATH".into(), "/home/u/go".into()), ("NVM_DIR".into(), "/home".into())],
        }
    }

    fn fake() -> Fake {
        Fake::new(&[
            "/usr/",
            "/etc/",
            "/etc/shadow",
            "/etc/hosts",
            "/proc/",
            "/bin>usr/bin",
            "/usr/bin/",
            "/home/u/.cargo/bin/",
            "/home/u/.cargo/registry/",
            "/home/u/.cargo/credentials.toml",
            "/home/u/.ssh/",
            "/home/u/go/pkg/",
            "/home/u/w/",
            "/home/u/w/.git/",
            "/home/u/w/.git/HEAD",
            "/home/u/w/.git/config",
            "/home/u/w/.git/hooks/",
            "/home/u/build/",
            "/data/bin/",
        ])
    }

    fn asked() -> Confinement {
        Confinement {
            workspace: "/home/u/w".into(),
            write: vec!["/home/u/build".into()],
            read: vec!["/home/u".into()],
            ..Confinement::default()
        }
    }

    fn text(asked: &Confinement, namespaces: bool) -> String {
        let plan = derive(asked, &place(), &fake(), namespaces);
        plan.entries.iter().map(|entry| format!("{} {}\n", entry.at.display(), entry.show)).collect()
    }

    #[test]
    fn a_workspace_is_written_and_its_hooks_are_not() {
        assert_eq!(
            text(&asked(), true),
            "/usr read\n/bin link to usr/bin\n/etc read\n/proc own processes\n/tmp own\n/var/tmp own\n/dev/shm own\n\
             /home/u own\n/data/bin read\n/etc/shadow nothing\n/home/u/w write\n/home/u/build write\n\
             /home/u/.cargo/bin read\n/home/u/.cargo/registry read\n/home/u/go/pkg read\n/home/u/w/.git write\n\
             /home/u/w/.git/hooks read\n/home/u/w/.git/config read\n"
        );
    }

    #[test]
    fn hooks_are_closed_by_every_name_of_the_workspace() {
        let files = Fake::new(&["/home/u/w/.git/HEAD", "/home/u/w/.git/hooks/", "/data/link>/home/u/w"]);
        let asked =
            Confinement { workspace: "/data/link".into(), write: vec!["/home/u/w".into()], ..asked() };
        let plan = derive(&asked, &place(), &files, true);
        let shown =
            |at: &str| plan.entries.iter().find(|entry| entry.at == Path::new(at)).map(|it| it.show.clone());
        for at in ["/data/link", "/home/u/w"] {
            assert_eq!(shown(at), Some(Show::Write("/home/u/w".into())), "{at}");
            let hooks = Show::Read("/home/u/w/.git/hooks".into());
            assert_eq!(shown(&format!("{at}/.git/hooks")), Some(hooks), "{at}");
        }
    }

    #[test]
    fn a_home_by_another_name_is_hidden_as_well() {
        let files = Fake::new(&[
            "/home/u>/var/home/u",
            "/var/home/u/.ssh/id",
            "/var/home/u/w/.git/HEAD",
            "/usr/bin/",
        ]);
        let variables = [("NVM_DIR", "/var/home/u"), ("GOROOT", "/var/home"), ("RUSTUP_HOME", "/home/u")];
        let place = Place {
            home: "/home/u".into(),
            path: ["/usr/bin", "/var/home/u", "/home/u"].map(PathBuf::from).to_vec(),
            variables: variables.map(|(name, value)| (name.into(), value.into())).to_vec(),
        };
        let asked = Confinement {
            workspace: "/var/home/u/w".into(),
            read: vec!["/var/home/u".into(), "/var".into()],
            ..Confinement::default()
        };
        for namespaces in [true, false] {
            let plan = derive(&asked, &place, &files, namespaces);
            for entry in &plan.entries {
                let own = matches!(entry.show, Show::Own(_));
                assert!(own || !Path::new("/var/home/u").starts_with(&entry.at), "{entry:?}");
                assert!(own || entry.at != Path::new("/home/u"), "{entry:?}");
            }
            let homes = plan.entries.iter().filter(|entry| entry.at.ends_with("home/u"));
            assert_eq!(homes.count(), if namespaces { 2 } else { 0 });
        }
    }

    #[test]
    fn a_link_in_the_place_of_gits_directory_is_shown_as_nothing_that_can_be_mounted() {
        let files = Fake::new(&["/home/u/w/a", "/home/u/w/.git>../x"]);
        let plan = derive(&asked(), &place(), &files, true);
        let git = plan.entries.iter().find(|entry| entry.at == Path::new("/home/u/w/.git")).unwrap();
        assert_eq!(git.show, Show::Read("/home/u/w/.git".into()));
    }

    #[test]
    fn what_is_denied_is_not_there_or_stays_and_nothing_on_the_way_moves() {
        let asked = Confinement {
            hidden: ["/home/u/w/a/private", "/home/u/w/none", "/usr/bin"].map(PathBuf::from).to_vec(),
            kept: ["/home/u/w/b/fixed", "/usr/bin"].map(PathBuf::from).to_vec(),
            ..asked()
        };
        let files = Fake::new(&["/usr/bin/", "/home/u/w/a/private/x", "/home/u/w/b/fixed", "/home/u/w/c"]);
        let plan = derive(&asked, &place(), &files, true);
        let shown =
            |at: &str| plan.entries.iter().find(|entry| entry.at == Path::new(at)).map(|it| it.show.clone());
        assert_eq!(shown("/home/u/w/a/private"), Some(Show::Nothing));
        assert_eq!(shown("/home/u/w/a"), Some(Show::Write("/home/u/w/a".into())));
        assert_eq!(shown("/home/u/w/b"), Some(Show::Write("/home/u/w/b".into())));
        assert_eq!(shown("/home/u/w/b/fixed"), Some(Show::Read("/home/u/w/b/fixed".into())));
        assert_eq!((shown("/home/u/w/none"), shown("/usr/bin")), (None, Some(Show::Nothing)));
        let reads = Confinement { profile: Profile::ReadOnly, ..asked };
        let plan = derive(&reads, &place(), &files, true);
        assert!(plan.entries.iter().any(|it| it.at.ends_with("a/private") && it.show == Show::Nothing));
        assert!(!plan.entries.iter().any(|it| matches!(it.show, Show::Write(_))));
    }

    #[test]
    fn reading_only_writes_nothing() {
        let text = text(&Confinement { profile: Profile::ReadOnly, ..asked() }, true);
        assert!(!text.contains(" write") && text.contains("/home/u/w read\n/"), "{text}");
    }

    #[test]
    fn what_was_fetched_is_there_and_what_changes_of_it_is_the_sessions_own() {
        let text = text(&Confinement { scratch: Some("/s".into()), ..asked() }, true);
        assert!(text.contains("/home/u/.cargo/registry own changes\n/home/u/go/pkg own changes\n"), "{text}");
        assert!(text.contains("/home/u/.cargo/bin read\n"), "{text}");
    }

    #[test]
    fn rules_alone_name_what_lies_beside_a_key() {
        let text = text(&asked(), false);
        assert!(
            text.contains("/etc/hosts read\n") && !text.contains("shadow") && !text.contains("/etc read"),
            "{text}"
        );
        assert!(text.contains("/home/u/w write\n") && !text.contains("/home/u own"), "{text}");
        assert!(text.contains("/dev/null device\n"), "{text}");
    }

    #[test]
    fn keys_below_the_home_are_never_shown() {
        for namespaces in [true, false] {
            for network in [Network::Off, Network::On] {
                let text = text(&Confinement { network, ..asked() }, namespaces);
                for hidden in ["credentials", ".ssh", "/home read", "/home/u read", "/ read"] {
                    assert!(!text.contains(hidden), "{hidden}: {text}");
                }
            }
        }
    }
}
