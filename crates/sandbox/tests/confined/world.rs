//! A workspace, its neighbours, and people's things around it: made anew for every attempt.
//! Knows how an attempt is made and how it is seen to have worked. Start at [`World::tried`].

use contract::Cancel;
use contract::confine::{Confinement, Profile};
use sandbox::Offers;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes of a file that a confined command writes at most.
const FILE: u64 = 64_000_000;
/// Its processes and threads.
const PROCESSES: u64 = 500;

/// One try.
pub(crate) struct Attempt {
    pub(crate) name: String,
    pub(crate) sign: String,
    pub(crate) line: String,
    /// What somebody else has done before, unconfined, in the workspace.
    before: String,
}

impl Attempt {
    pub(crate) fn new(name: &str, sign: &str, line: &str) -> Self {
        Self { name: name.into(), sign: sign.into(), line: line.into(), before: String::new() }
    }
}

/// All of the table.
pub(crate) fn attempts() -> Vec<Attempt> {
    let lines = include_str!("escapes.tsv").lines().filter(|line| !line.starts_with('#'));
    let split = |line: &str| {
        let parts: Vec<&str> = line.splitn(4, '\t').collect();
        let before = parts.get(3).copied().unwrap_or_default().to_owned();
        Attempt { before, ..Attempt::new(parts[0], parts[1], parts[2]) }
    };
    lines.map(split).collect()
}

/// What became of it.
pub(crate) struct Tried {
    pub(crate) worked: bool,
    pub(crate) said: String,
}

pub(crate) struct World {
    top: PathBuf,
    made: bool,
    mark: String,
    tcp: Option<TcpListener>,
    udp: Option<UdpSocket>,
    shm: i32,
    victim: std::sync::Mutex<Option<std::process::Child>>,
    /// Held open on purpose, across exec.
    _open: Vec<fs::File>,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.victim.lock().unwrap().take() {
            let _gone = child.kill();
            let _gone = child.wait();
        }
        let _gone = fs::remove_file(Path::new("/dev/shm").join(&self.mark));
        if self.made {
            let _left = Command::new("chmod").args(["-R", "u+rwx"]).arg(&self.top).status();
            let _left = fs::remove_dir_all(&self.top);
        }
    }
}

impl World {
    /// The directories, owned by whoever is going to use them. `None`: no such user can be had.
    pub(crate) fn new() -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("kapell-confined-").tempdir().unwrap();
        let top = dir.keep().canonicalize().unwrap();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(std::env::current_exe().unwrap(), top.join("self")).unwrap();
        fs::set_permissions(top.join("self"), fs::Permissions::from_mode(0o755)).unwrap();
        if rustix::process::getuid().is_root() {
            fs::copy("/usr/bin/id", top.join("suid")).unwrap();
            fs::set_permissions(top.join("suid"), fs::Permissions::from_mode(0o4755)).unwrap();
            std::os::unix::fs::chown(&top, Some(super::ORDINARY), Some(super::ORDINARY)).unwrap();
        }
        Some(Self::bare(top, true))
    }

    fn bare(top: PathBuf, made: bool) -> Self {
        let mark = top.file_name().unwrap().to_str().unwrap().to_owned();
        Self {
            top,
            made,
            mark,
            tcp: None,
            udp: None,
            shm: -1,
            victim: std::sync::Mutex::new(None),
            _open: Vec::new(),
        }
    }

    /// The one that the superuser's test made, with servers that answer and things that are open.
    pub(crate) fn found(top: &str) -> Self {
        let mut world = Self::bare(top.into(), false);
        world.reset();
        fs::write(Path::new("/dev/shm").join(&world.mark), "SECRET").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let answers = udp.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((length, from)) = answers.recv_from(&mut bytes) {
                let _lost = answers.send_to(&bytes[..length], from);
            }
        });
        let unix = UnixListener::bind(world.path("socket")).unwrap();
        let address = <SocketAddr as SocketAddrExt>::from_abstract_name(world.mark.as_bytes()).unwrap();
        let hidden = UnixListener::bind_addr(&address).unwrap();
        for listener in [unix, hidden] {
            std::thread::spawn(move || listener.incoming().for_each(drop));
        }
        let accepting = tcp.try_clone().unwrap();
        std::thread::spawn(move || accepting.incoming().for_each(drop));
        world.shm = super::tricks::shared_memory(b"SECRET");
        // Left open for whatever is started, by numbers the table knows.
        let (dir, file) =
            (fs::File::open(world.path("out")).unwrap(), fs::File::open(world.path("out/secret")).unwrap());
        super::tricks::leave_open(dir.as_raw_fd(), 48);
        super::tricks::leave_open(file.as_raw_fd(), 49);
        (world.tcp, world.udp, world._open) = (Some(tcp), Some(udp), vec![dir, file]);
        world
    }

    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Everything as it is before an attempt. Directories that are held open stay the same ones.
    pub(crate) fn reset(&self) {
        if fs::metadata(self.path("out")).is_ok_and(|meta| meta.mode() & 0o700 != 0o700) {
            let _left = Command::new("chmod").args(["-R", "u+rwx"]).arg(self.path("out")).output();
        }
        for entry in fs::read_dir(&self.top).unwrap().flatten() {
            if !["self", "suid", "socket", "out", "scratch", "git"]
                .contains(&entry.file_name().to_str().unwrap())
            {
                let gone = match entry.file_type().unwrap().is_dir() {
                    true => fs::remove_dir_all(entry.path()),
                    false => fs::remove_file(entry.path()),
                };
                gone.unwrap();
            }
        }
        // What an attempt has put in the way of the next ones.
        if self.path("scratch/home/.cargo").is_symlink() {
            fs::remove_file(self.path("scratch/home/.cargo")).unwrap();
        }
        fs::create_dir_all(self.path("out")).unwrap();
        for entry in fs::read_dir(self.path("out")).unwrap().flatten() {
            let kept = ["secret", "socket"].contains(&entry.file_name().to_str().unwrap());
            if !kept {
                drop(if entry.file_type().unwrap().is_dir() {
                    fs::remove_dir_all(entry.path())
                } else {
                    fs::remove_file(entry.path())
                });
            }
        }
        fs::create_dir_all(self.path("out/empty")).unwrap();
        self.write("out/keep", "kept\n");
        self.write("out/secret", "SECRET\n");
        if self.path("socket").exists() && !self.path("out/socket").exists() {
            fs::hard_link(self.path("socket"), self.path("out/socket")).unwrap();
        }
        self.write("home/.cargo/registry/keep", "kept\n");
        for name in [".ssh/id_rsa", ".cargo/credentials.toml", ".gitconfig"] {
            self.write(&format!("home/{name}"), "# SECRET\n");
        }
        self.write("ws/a.txt", "a\n");
        fs::create_dir_all(self.path("ws/empty")).unwrap();
        if !self.path("git").exists() {
            self.repository();
        }
        copy(&self.path("git"), &self.path("ws/.git"));
        fs::create_dir_all(self.path("ws/.git/hooks")).unwrap();
        self.write("ws/.git/commondir", ".\n");
        self.write("ws/.git/config.worktree", "kept\n");
        let sub = "ws/.git/modules/a/sub";
        fs::create_dir_all(self.path(&format!("{sub}/hooks"))).unwrap();
        self.write(&format!("{sub}/HEAD"), "ref: refs/heads/main\n");
        self.write(&format!("{sub}/config"), "kept\n");
        let linked = "ws/.git/worktrees/w";
        fs::create_dir_all(self.path(linked)).unwrap();
        self.write(&format!("{linked}/HEAD"), "ref: refs/heads/main\n");
        self.write(&format!("{linked}/commondir"), "../..\n");
        self.write(&format!("{linked}/gitdir"), "/nowhere/.git\n");
        sandbox::seal_theirs(&self.path("ws")).unwrap();
    }

    /// A repository with one commit, to be copied.
    fn repository(&self) {
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            command.args(args).current_dir(self.path("ws")).env_clear().envs(self.variables());
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        git(&["init", "-q", "-b", "main", "--template="]);
        git(&["add", "a.txt"]);
        git(&["commit", "-qm", "start"]);
        fs::rename(self.path("ws/.git"), self.path("git")).unwrap();
    }

    fn variables(&self) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let port = |number: u16| number.to_string();
        let mut all = vec![
            ("HOME".to_owned(), text(self.path("home"))),
            ("TOP".to_owned(), text(self.top.clone())),
            ("OUT".to_owned(), text(self.path("out"))),
            ("SELF".to_owned(), text(self.path("self"))),
            ("SUID".to_owned(), text(self.path("suid"))),
            ("MARK".to_owned(), self.mark.clone()),
            ("SHM".to_owned(), self.shm.to_string()),
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".to_owned()),
        ];
        for who in ["AUTHOR", "COMMITTER"] {
            all.push((format!("GIT_{who}_NAME"), "Ada".to_owned()));
            all.push((format!("GIT_{who}_EMAIL"), "ada@example.org".to_owned()));
        }
        if let (Some(tcp), Some(udp)) = (&self.tcp, &self.udp) {
            all.push(("TCP".to_owned(), port(tcp.local_addr().unwrap().port())));
            all.push(("UDP".to_owned(), port(udp.local_addr().unwrap().port())));
        }
        let mut victim = self.victim.lock().unwrap();
        if victim.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) && self.tcp.is_some() {
            *victim = Some(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap());
        }
        if let Some(child) = &*victim {
            all.push(("VICTIM".to_owned(), child.id().to_string()));
        }
        all
    }

    pub(crate) fn confinement(&self, profile: Profile) -> Confinement {
        let kept = ["commondir", "config.worktree"];
        Confinement {
            kept: kept.map(|name| self.path(&format!("ws/.git/worktrees/w/{name}"))).to_vec(),
            profile,
            workspace: self.path("ws"),
            scratch: Some(self.path("scratch")),
            read: vec![self.path("self"), self.path("suid")],
            file: FILE,
            processes: PROCESSES,
            ..Confinement::default()
        }
    }

    pub(crate) fn tried(&self, attempt: &Attempt, confinement: Option<Confinement>) -> Tried {
        self.tried_with(attempt, confinement.map(|confinement| (confinement, sandbox::offers().clone())))
    }

    pub(crate) fn tried_with(&self, attempt: &Attempt, confined: Option<(Confinement, Offers)>) -> Tried {
        self.reset();
        if !attempt.before.is_empty() {
            let ran = self.run(&attempt.before, None);
            assert!(ran.worked, "{}: {}", attempt.name, ran.said);
        }
        let before = image(&self.path("ws"));
        let ran = self.run(&attempt.line, confined);
        let (kind, rest) = attempt.sign.split_once(':').unwrap_or((&attempt.sign, ""));
        let there = |path: &str| fs::symlink_metadata(self.path(path));
        let worked = match kind {
            "exit" => ran.worked,
            "says" => ran.said.contains(rest),
            "file" => there(rest).is_ok(),
            "link" => there(rest).is_ok_and(|meta| meta.file_type().is_symlink()),
            "gone" => there(rest).is_err(),
            "lost" => fs::read_to_string(self.path(rest)).ok().as_deref() != Some("kept\n"),
            "differs" => !matches!(
                fs::read_to_string(self.path(rest)).as_deref(),
                Ok("kept\n"
                    | ".\n"
                    | "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n")
            ),
            "mode" => {
                let (path, mode) = rest.split_once('=').unwrap();
                format!("{:o}", there(path).unwrap().mode() & 0o777) == mode
            }
            "changed" => image(&self.path(rest)) != before,
            other => panic!("no such sign: {other}"),
        };
        Tried { worked, said: ran.said }
    }

    /// A line in the workspace: as anybody would start it, or confined. It worked when it ended with 0.
    pub(crate) fn run(&self, line: &str, confined: Option<(Confinement, Offers)>) -> Tried {
        let argv = ["/bin/bash", "-c", line];
        let Some((confinement, offers)) = confined else {
            let mut command = Command::new(argv[0]);
            command.args(&argv[1..]).current_dir(self.path("ws")).env_clear().envs(self.variables());
            command.env("LD_PRELOAD", "/nonexistent/evil.so").env("SSH_AUTH_SOCK", "/nonexistent/agent");
            command.env("THE_API_KEY", "SECRET");
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut said = String::new();
            let mut bytes = Vec::new();
            child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
            child.stderr.take().unwrap().read_to_end(&mut bytes).unwrap();
            said.push_str(&String::from_utf8_lossy(&bytes));
            return Tried { worked: child.wait().unwrap().success(), said };
        };
        let command = sandbox::Command::argv(argv, self.path("ws")).envs(self.variables());
        // The environment of this process stands for a person's.
        let command =
            command.env("LD_PRELOAD", "/nonexistent/evil.so").env("SSH_AUTH_SOCK", "/nonexistent/agent");
        let command =
            command.env("THE_API_KEY", "SECRET").timeout_ms(30_000).confine_with(confinement, offers);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        match runtime.block_on(sandbox::run(command, Cancel::new(), &mut |_| ())) {
            Ok(ended) => Tried {
                worked: ended.ok(),
                said: String::from_utf8_lossy(&ended.output.into_bytes()).into_owned(),
            },
            Err(error) => Tried { worked: false, said: error.to_string() },
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Every file below: its kind, mode, time and content.
fn image(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![top.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            let content =
                if meta.is_file() { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            let times = if meta.is_file() { (meta.mtime(), meta.mtime_nsec()) } else { (0, 0) };
            all.insert(entry.path(), format!("{:o} {times:?} {content:?}", meta.mode()));
            if meta.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    all
}
