//! A world of its own for each test: a home, a repository with one check, and the binary.
//!
//! Knows how to start `kapell` and how to wait for conditions; not what is tested. Start at [`World::new`].

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time a command may take; beyond it the test fails instead of hanging.
const LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Prices of a model that costs nothing.
pub(crate) const FREE: &str = "[model]\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n";
/// Configuration in which nothing confines commands.
pub(crate) const UNCONFINED: &str = "[sandbox]\nprofile = \"full\"\n";
/// A turn that says the work is done.
pub(crate) const DONE: &str =
    "[[turn]]\n[[turn.call]]\ntool = \"finish\"\nargs = { status = \"done\", summary = \"All done.\" }\n";

/// A test's own directories.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Fails unless it ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }

    /// Its standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("{e}\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err))
    }

    /// Its standard output as JSON lines.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

impl World {
    /// With a repository whose check `test` passes once `fixed.txt` says so.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        std::fs::create_dir_all(world.repo().join(".kapell")).unwrap();
        world.write(
            "repo/.kapell/config.toml",
            "[checks.test]\nrun = \"grep -q fixed fixed.txt\"\nkind = \"test\"\n",
        );
        world.write("repo/readme.txt", "hello\n");
        world.git(&["init", "-q", "-b", "main"]);
        world.commit("start");
        world
    }

    /// The same, where nothing confines commands: what they do outside of the workspace is really done.
    pub(crate) fn unconfined() -> Self {
        let world = Self::new();
        world.write("kapell/config/config.toml", UNCONFINED);
        world
    }

    /// Without a repository.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("kapell-e2e-").tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("repo")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes a script of these turns; its model id.
    pub(crate) fn script(&self, name: &str, turns: &str) -> String {
        self.write(&format!("{name}.toml"), &format!("{FREE}{turns}"));
        format!("builtin/script:{}", self.path(&format!("{name}.toml")).display())
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(dir);
        command
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("KAPELL_TRUST", "all")
            .env("KAPELL_HOME", self.path("kapell"));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        }
        command
    }

    /// The binary with these arguments, in the repository.
    pub(crate) fn kapell(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_kapell"), &self.repo());
        command.args(args);
        command
    }

    /// Runs it to its end, with nothing to read.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        finish(self.kapell(args), b"")
    }

    /// Starts it, to be looked at while it runs.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.start_with(args, &[])
    }

    /// The same, with these variables.
    pub(crate) fn start_with(&self, args: &[&str], env: &[(&str, &str)]) -> Running {
        let mut command = self.kapell(args);
        command.envs(env.iter().copied());
        Running(Some(
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        ))
    }

    /// Git in the repository; its standard output.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let out = self.command("git", &self.repo()).args(args).output().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// Every file and ref of the repository, Kapell's pin aside.
    pub(crate) fn image(&self) -> (Vec<(String, Vec<u8>)>, String) {
        let files = self.git(&["ls-files", "-co"]);
        let files = files
            .lines()
            .map(|name| (name.to_owned(), std::fs::read(self.repo().join(name)).unwrap_or_default()));
        let refs = self.git(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads"]);
        (files.collect(), refs)
    }

    /// The newest session as `sessions show` tells it.
    #[track_caller]
    pub(crate) fn shown(&self) -> Value {
        self.run(&["sessions", "show", "last", "--json"]).expect(0).json()
    }

    /// Waits until the newest session is like this.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        until(what, || {
            let ended = self.run(&["sessions", "show", "last", "--json"]);
            seen = if ended.code == 0 { ended.json() } else { Value::Null };
            ended.code == 0 && fits(&seen)
        });
        seen
    }
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < LIMIT, "waited too long: {what}");
        std::thread::sleep(LOOK);
    }
}

/// Runs a command to its end, within its limit.
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || {
        // A command that does not read it closes the pipe.
        let _ = stdin.write_all(&input);
    });
    let ended = Running(Some(child)).end();
    feed.join().unwrap();
    ended
}

/// A command that runs. Killed when the test ends before it.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let mut child = self.0.take().unwrap();
        let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut stream) = stream {
                    stream.read_to_end(&mut bytes).unwrap();
                }
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let out = read(child.stdout.take().map(|s| Box::new(s) as _));
        let err = read(child.stderr.take().map(|s| Box::new(s) as _));
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > LIMIT {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("it hangs:\n--- stdout\n{}\n--- stderr\n{}", out.join().unwrap(), err.join().unwrap());
            }
            std::thread::sleep(LOOK);
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ended { code, out: out.join().unwrap(), err: err.join().unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A turn with one tool call.
pub(crate) fn call(tool: &str, args: &str) -> String {
    format!("[[turn]]\n[[turn.call]]\ntool = \"{tool}\"\nargs = {{ {args} }}\n")
}

/// A turn that writes a file.
pub(crate) fn write(path: &str, content: &str) -> String {
    call("write", &format!("path = \"{path}\", content = \"{content}\""))
}

/// A turn that runs a command.
pub(crate) fn shell(command: &str) -> String {
    call("shell", &format!("command = '{command}'"))
}

/// The turns of a model that reaches the goal.
pub(crate) fn fixes() -> String {
    format!("{}{DONE}", write("fixed.txt", "fixed\\n"))
}
