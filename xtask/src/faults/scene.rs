//! What is played: a session with every kind of write, over three processes (run, approve, resume), and its files.
//!
//! Knows how to start the binary under a fault, not what must hold afterwards. Start at [`Stage::new`], then
//! [`Scene::act`].

use crate::shim::Temp;
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A process that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// The line that the shell command appends outside the workspace.
const LINE: &str = "line-0";

/// What the write tool writes.
const OUT: &str = "out";
/// Files of the store whose names are known beforehand.
pub(super) const STORE: [&str; 5] =
    ["kapell.db", "kapell.db-wal", "kapell.db-journal", "kapell.lock", "blobs"];

/// What the shim sees while strace watches.
pub(super) const SHIM_HITS: &str = "shim-hits";

/// What all scenes of a run share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) binary: PathBuf,
    pub(crate) shim: PathBuf,
    dir: Temp,
}

/// How the acts are met.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault<'a> {
    /// Nothing happens.
    None,
    /// Nothing happens; the calls are counted.
    Count,
    /// The shim meets this call with this kind.
    Shim { kind: &'a str, point: u64 },
    /// Every operation is written down, of the program and of what it starts.
    Record {
        /// The process is killed at this call (0: not), counted as the shim does.
        kill: u64,
    },
    /// strace writes down these calls, and the shim what it sees of them ([`SHIM_HITS`]).
    Watch { trace: &'a str },
    /// strace meets the n-th call of this name on the store's files, in the thread that gets there first.
    Strace { inject: &'a str },
}

/// A repository, a home and a file outside of their own.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    stage: &'a Stage,
    dir: Temp,
}

/// How one process of the scene ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: &'static str,
    /// `None`: killed.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Stage {
    /// `looks`: turns of reading and writing before anything else happens.
    pub(crate) fn new(binary: PathBuf, looks: usize) -> Result<Self> {
        let name = format!("kapell-faults-{}", std::process::id());
        let dir = Temp::new(crate::shim::quick_dir().join(name))?;
        let shim = crate::shim::build(&dir.0)?;
        std::fs::write(dir.0.join("script.toml"), script(looks))?;
        repository(&dir.0.join("repo"))?;
        Ok(Self { binary, shim, dir })
    }

    pub(crate) fn scene(&self, name: &str) -> Result<Scene<'_>> {
        let dir = Temp::new(self.dir.0.join(name))?;
        let status = Command::new("cp")
            .arg("-r")
            .args([self.dir.0.join("repo"), dir.0.join("repo")])
            .status()
            .context("start cp")?;
        ensure!(status.success(), "copying the repository failed");
        // Confined, but for the network and one file: what the command does there is an effect outside.
        let outside = dir.0.join("outside.log");
        std::fs::write(&outside, "")?;
        std::fs::create_dir_all(dir.0.join("home/config"))?;
        let config = format!("[sandbox]\nnetwork = \"on\"\nwrite = [\"{}\"]\n", outside.display());
        std::fs::write(dir.0.join("home/config/config.toml"), config)?;
        Ok(Scene { stage: self, dir })
    }

    fn model(&self) -> String {
        format!("builtin/script:{}", self.dir.0.join("script.toml").display())
    }
}

/// A model's turns: a file written, an effect outside that waits for a yes, an output that becomes a file of its own.
fn script(looks: usize) -> String {
    let big = "i=0; while [ $i -lt 1800 ]; do echo \\\"$i $KAPELL_RUN and forty bytes more of text\\\"; i=$((i+1)); done";
    let shell = format!("echo {LINE} >> \\\"$KAPELL_HOME/../outside.log\\\"; {big}");
    let more = match looks {
        0 => String::new(),
        _ => format!(
            "[[turn]]\ntext = \"look {{{{n}}}}\"\nrepeat = {looks}\n[[turn.call]]\ntool = \"read\"\nargs = {{ path = \"file.txt\" }}\n\
             [[turn.call]]\ntool = \"write\"\nargs = {{ path = \"out-{{{{n}}}}.txt\", content = \"{OUT}\\n\" }}\n\n"
        ),
    };
    format!(
        "[model]\ncontext_tokens = 1000000\noutput_tokens = 1000\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n\n\
         {more}[[turn]]\ntext = \"a file\"\n[[turn.call]]\ntool = \"write\"\nargs = {{ path = \"out.txt\", content = \"{OUT}\\n\" }}\n\n\
         [[turn]]\ntext = \"an effect\"\n[[turn.call]]\ntool = \"shell\"\nargs = {{ command = \"{shell}\" }}\n\n\
         [[turn]]\ntext = \"done\"\n"
    )
}

fn repository(repo: &Path) -> Result<()> {
    std::fs::create_dir_all(repo.join(".kapell"))?;
    std::fs::write(repo.join("file.txt"), "base\n")?;
    std::fs::write(repo.join(".kapell/config.toml"), "[checks.there]\nrun = \"test -f file.txt\"\n")?;
    for args in [
        &["init", "-q", "-b", "main", "--template="][..],
        &["add", "-A"],
        &["-c", "user.name=f", "-c", "user.email=f@f", "commit", "-qm", "base"],
    ] {
        let status = Command::new("git").args(args).current_dir(repo).status()?;
        ensure!(status.success(), "git {args:?} failed");
    }
    Ok(())
}

impl Scene<'_> {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.0.join(name)
    }

    /// The acts in order, each only after the one before ended as it should.
    pub(crate) fn act(&self, fault: Fault<'_>) -> Result<Vec<Ended>> {
        let opening = self.opening();
        let acts: [(&'static str, i32, Vec<&str>); 3] = [
            ("run", 8, opening.iter().map(String::as_str).collect()),
            ("approve", 0, vec!["approve", "last", "--unseen", "--json"]),
            ("resume", 0, vec!["resume", "last"]),
        ];
        let mut ended = Vec::new();
        for (name, expected, mut args) in acts {
            if name != "approve" {
                args.extend(["--output-format", "stream-json"]);
            }
            let command = self.under(fault, &args);
            let one = self.finish(name, command)?;
            let good = one.code == Some(expected);
            ended.push(one);
            if !good {
                break;
            }
        }
        Ok(ended)
    }

    /// One process of the plot by itself.
    pub(crate) fn step(&self, fault: Fault<'_>, name: &'static str, args: &[&str]) -> Result<Ended> {
        self.finish(name, self.under(fault, args))
    }

    /// What starts the plot.
    pub(crate) fn opening(&self) -> Vec<String> {
        let model = self.stage.model();
        ["run", "--ask", "external", "--max-turns", "500", "--model", &model, "append a line"]
            .map(str::to_owned)
            .to_vec()
    }

    /// The binary as a person starts it, with no fault.
    pub(crate) fn kapell(&self, args: &[&str]) -> Result<Ended> {
        let mut command = Command::new(&self.stage.binary);
        command.args(args);
        self.finish("afterwards", command)
    }

    fn under(&self, fault: Fault<'_>, args: &[&str]) -> Command {
        let mut command = match fault {
            Fault::Strace { inject } => {
                let mut strace = Command::new("strace");
                // Appended: each act is a run of its own.
                strace.args(["-f", "-qq", "-A", "-o"]).arg(self.path("hits"));
                strace.arg("-P").arg(self.path("home/data"));
                for file in STORE {
                    strace.arg("-P").arg(self.path("home/data").join(file));
                }
                strace.args(["-e", inject]).arg(&self.stage.binary);
                strace
            }
            Fault::Watch { trace } => {
                let mut strace = Command::new("strace");
                strace.args(["-f", "-qq", "-y", "-A", "-o"]).arg(self.path("hits"));
                // For what is watched only: strace itself is none of the shim's business.
                let counts = self.shim("none", 0, &self.path("home"), &self.path(SHIM_HITS));
                for (name, value) in counts {
                    let mut set = OsString::from(format!("{name}="));
                    set.push(value);
                    strace.arg("-E").arg(set);
                }
                strace.args(["-e", trace]).arg(&self.stage.binary);
                strace
            }
            _ => Command::new(&self.stage.binary),
        };
        command.args(args);
        let (kind, point) = match fault {
            Fault::Shim { kind, point } => (kind, point),
            Fault::Count => ("none", 0),
            Fault::Record { kill } => {
                command.env("KAPELL_SHIM_LOG", self.stage.dir.0.join("ops"));
                ("kill", kill)
            }
            Fault::None | Fault::Strace { .. } | Fault::Watch { .. } => return command,
        };
        let home = self.path("home");
        let root = if matches!(fault, Fault::Record { .. }) { &self.dir.0 } else { &home };
        command.envs(self.shim(kind, point, root, &self.path("hits")));
        command
    }

    /// The variables that load the shim and tell it what to do.
    fn shim(&self, kind: &str, point: u64, root: &Path, hits: &Path) -> [(&'static str, OsString); 6] {
        [
            ("LD_PRELOAD", self.stage.shim.clone().into()),
            ("KAPELL_SHIM_ROOT", root.into()),
            ("KAPELL_SHIM_STATE", self.path("counter").into()),
            ("KAPELL_SHIM_HITS", hits.into()),
            ("KAPELL_SHIM_FAULT", kind.into()),
            ("KAPELL_SHIM_POINT", point.to_string().into()),
        ]
    }

    /// Every call that changes a file of this scene, in order, as the shim saw it.
    pub(super) fn calls(&self, hits: &str) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(self.path(hits))?;
        Ok(text.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect())
    }

    fn finish(&self, name: &'static str, mut command: Command) -> Result<Ended> {
        // Files, not pipes: what was told stays told, and nothing can fill up.
        let (out, err) = (self.path(&format!("told-{name}")), self.path("err"));
        let mut child = command
            .current_dir(self.path("repo"))
            .env("KAPELL_TRUST", "all")
            .env("KAPELL_HOME", self.path("home"))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out)?)
            .stderr(std::fs::File::create(&err)?)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if began.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!("`{name}` hangs: no end after {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let read =
            |path| -> Result<String> { Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned()) };
        Ok(Ended { name, code: status.code(), out: read(&out)?, err: read(&err)? })
    }

    /// How often the outside effect took place.
    pub(crate) fn effects(&self) -> usize {
        let text = std::fs::read_to_string(self.path("outside.log")).unwrap_or_default();
        text.lines().filter(|line| *line == LINE).count()
    }

    /// Where the record of this run is.
    pub(crate) fn record(&self) -> PathBuf {
        self.stage.dir.0.join("ops")
    }

    pub(crate) fn git(&self, args: &[&str]) -> Result<Output> {
        Command::new("git").args(args).current_dir(self.path("repo")).output().context("start git")
    }
}
