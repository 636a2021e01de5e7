//! `shell`: a command, run so that nothing of it is left alive; by itself where its words are plain, else by a shell.
//! Staged when it is confined to the workspace and to hosts that may be asked again, if any, or when the project declares that very line as a
//! check or set-up; external otherwise. Knows nothing of processes (`sandbox`). Start at [`Shell`].

mod gather;
mod given;
mod line;
mod together;

use crate::args::{parse, refuse};
use crate::handed::Handles;
use crate::jobs::Jobs;
use crate::judge::{Content, judged};
use crate::parsers::Parsers;
use crate::spool::{Place, Spool, Whole};
use crate::tree::Tree;
use crate::{Options, job, name, view};
use contract::action::EffectClass;
use contract::confine::{InForce, Network};
use contract::limits::{COMMAND_BYTES, JOB_MS, OUTPUT_MEMORY_BYTES, OUTPUT_VIEW_BYTES, TOOL_MAX_MS};
use contract::model::ToolSpec;
use contract::port::{Delta, Sink};
use contract::tool::{Judged, Output, Scope, Stopped, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault};
use gather::{Gather, Joined};
use given::Given;
use sandbox::{Command, Ended, Error, Patience, Progress, Size, Stage};
use serde::Deserialize;
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// The tool.
#[derive(Debug)]
pub(crate) struct Shell {
    records: Option<PathBuf>,
    spool: Option<Place>,
    jobs: Arc<Jobs>,
    parsers: Arc<Parsers>,
    gather: Gather,
    handles: Handles,
    program: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    command: Option<String>,
    argv: Option<Vec<String>>,
    timeout_ms: Option<u64>,
    cwd: Option<String>,
    #[serde(default)]
    background: bool,
    #[serde(default)]
    terminal: bool,
    /// Secrets for its environment, each `NAME=secret:HANDLE`.
    #[serde(default)]
    env: Vec<String>,
}

impl Shell {
    pub(crate) fn new(options: &Options) -> Self {
        let program = program();
        let (jobs, parsers) = (Arc::clone(&options.jobs), Arc::clone(&options.parsers));
        let (records, spool) = (options.records.clone(), options.spool.clone());
        let handles = Handles::new(options.handles.clone());
        Self { records, spool, jobs, parsers, gather: Gather::default(), handles, program }
    }
}

/// The shell that runs command lines. Models write bash; a plain sh runs most of it.
pub(crate) fn program() -> &'static str {
    let bash = "/bin/bash";
    if Path::new(bash).exists() { bash } else { "/bin/sh" }
}

impl Tool for Shell {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "shell".into(),
            description: format!(
                "Runs a command in the workspace and returns its output (both streams in order) and its exit status. Give \
                 either `command`, a line for {}, or `argv`, a program and its arguments taken as they are, without any \
                 quoting. There is no terminal and no input: nothing can be asked, paged or edited; a command that waits \
                 for input is ended. What it leaves in the background is killed: a server, a watcher or anything to talk to \
                 is started with `background` (a pipe to write into) or `terminal` (a screen), and used with `job`. Of a \
                 long output its ends and what matters in it are shown, and what it comes to is said; the whole can be \
                 read and searched by its blob.",
                self.program
            ),
            schema: self.with_secrets(json!({
                "type": "object",
                "properties": {
                    "command": {"type": "string", "description": "The command line."},
                    "argv": {"type": "array", "items": {"type": "string"}, "minItems": 1,
                        "description": "Instead of `command`: program and arguments, each taken literally."},
                    "timeout_ms": {"type": "integer", "minimum": 1, "maximum": TOOL_MAX_MS,
                        "description": "Stopped after this many milliseconds. When left out: a time that fits the \
                                        command, and more as long as it says something."},
                    "background": {"type": "boolean", "description": "Start it and return: `job` reads, writes and stops it."},
                    "terminal": {"type": "boolean", "description": "The same, at a terminal of its own."},
                    "cwd": {"type": "string", "description": "Directory, relative to the workspace; its top when left out."}
                },
                "additionalProperties": false
            })),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let parsed = Args::parse(args)?;
        let (cwd, _) = parsed.cwd(scope)?;
        // Only at the top: the same words in another directory may be another program.
        let declared = |line: &String| {
            let same =
                parsed.command.as_ref().is_some_and(|command| line::trimmed(line) == line::trimmed(command));
            same && cwd == scope.root && !parsed.stays()
        };
        let held = scope.confinement.as_ref().map(sandbox::in_force).transpose()?;
        let (class, why) = meaning(held.as_ref(), scope.declared.iter().any(declared));
        let why = self.looked(&parsed, scope, &why)?;
        let content = Content {
            files: parsed.named(&scope.root, &cwd),
            held,
            cwd: cwd.to_string_lossy().into_owned(),
            deadline_ms: Some(parsed.patience().ceiling_ms),
        };
        Ok(judged("shell", args, scope, class, &why, content))
    }

    fn together(&self, args: &Value, scope: &Scope) -> Option<Digest> {
        let args = Args::parse(args).ok()?;
        let one = args.one_of_many()?;
        let (cwd, _) = args.cwd(scope).ok()?;
        let same = json!([one.words, cwd.to_string_lossy(), args.timeout_ms]);
        Some(Digest::of(same.to_string().as_bytes()))
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Output> {
        Box::pin(async move {
            let result = async {
                let mark = if scope.together > 1 { self.together(&args, &scope) } else { None };
                let args = Args::parse(&args)?;
                let given = self.give(&args, &scope).await?;
                if args.stays() {
                    return self.start(&args, &scope, given).await;
                }
                let _turn = match self.with_others(&args, &scope, mark, &cancel, sink).await? {
                    Ok(output) => return Ok(output),
                    Err(turn) => turn,
                };
                let name = args.name();
                let mut watched = view::Watched::new(&args.line(), self.parsers.current(), OUTPUT_VIEW_BYTES);
                let mut spool = Spool::new(self.spool.clone(), scope.session);
                let mut progress = |progress: Progress<'_>| {
                    if let Progress::Output(bytes) = progress {
                        watched.push(bytes, sink);
                        spool.push(bytes);
                    }
                    if let Some(delta) = delta(progress, &name) {
                        sink.delta(delta);
                    }
                };
                let patience = args.patience();
                let mut ended = None;
                // A plain line whose program is not found, or is a script without a first line, is the shell's to judge.
                for argv in given.ways(&args, self.program) {
                    let command = given.to(self.command(argv, &args, &scope)?);
                    match sandbox::run(command, cancel.clone(), &mut progress).await {
                        Err(error) if ended.is_none() && args.argv.is_none() && unlike_a_shell(&error) => {
                            ended = Some(Err(error));
                        }
                        other => {
                            ended = Some(other);
                            break;
                        }
                    }
                }
                let ended = ended.ok_or_else(|| refuse("`shell`: the command is empty"))??;
                let total = spool.total();
                let whole = whole(spool).await;
                let view = watched.view(&whole, total, sink);
                let view = self.met(view, &ended).await;
                let mut output = output(&ended, patience, view, whole);
                output.asked.extend(self.jobs.asked(scope.session));
                output.handed = given.handed;
                Ok::<_, Fault>(output)
            };
            result.await.unwrap_or_else(|fault| Output::error(fault.to_string()))
        })
    }
}

/// When it is this command's turn, where several could not be one process; none where it was alone from the start.
type Turn = Option<OwnedMutexGuard<()>>;

impl Shell {
    /// Learned parsers are judged by what they read; one that is laid aside is told of.
    async fn met(&self, mut view: view::View, ended: &Ended) -> view::View {
        let own = std::mem::take(&mut view.own);
        // Who was stopped, or never began, did not come to say what is wrong.
        let told = ended.stopped.is_none() && ended.exit.is_some_and(|exit| !UNBEGUN.contains(&exit));
        if own.is_empty() || !told {
            return view;
        }
        let (parsers, failed) = (Arc::clone(&self.parsers), !ended.ok());
        let aside = tokio::task::spawn_blocking(move || parsers.met(&own, failed)).await.unwrap_or_default();
        for name in aside {
            let said = format!(
                "the learned parser `{name}` reads nothing of this program's failures any more and was laid aside; \
                `learn_parser` teaches a new one"
            );
            view.summary =
                Some(view.summary.map_or_else(|| said.clone(), |summary| format!("{summary}; {said}")));
        }
        view
    }

    /// Runs it as one process with others of its mark. `Err` inside: it is to run by itself, while it holds this.
    async fn with_others(
        &self,
        args: &Args,
        scope: &Scope,
        mark: Option<Digest>,
        cancel: &Cancel,
        sink: &dyn Sink,
    ) -> Result<Result<Output, Turn>, Fault> {
        let (Some(mark), Some(one)) = (mark, args.one_of_many()) else { return Ok(Err(None)) };
        let (cwd, _) = args.cwd(scope)?;
        // What is no file takes another way through the program.
        if !std::fs::symlink_metadata(cwd.join(&one.file)).is_ok_and(|meta| meta.is_file()) {
            return Ok(Err(None));
        }
        let start = |files: &[String], cancel: Cancel| -> gather::Running {
            let argv: Vec<String> = one.words.iter().chain(files).cloned().collect();
            let long = argv.iter().map(String::len).sum::<usize>() > COMMAND_BYTES;
            let command = self.command(argv, args, scope).ok().filter(|_| !long);
            Box::pin(async move {
                sandbox::run(command?.keep(OUTPUT_MEMORY_BYTES), cancel, &mut |_| ()).await.ok()
            })
        };
        let own = |ended: &Ended, files: &[String]| {
            let printed = String::from_utf8(ended.output.clone().into_bytes()).ok()?;
            together::split(&one.words, files, &cwd.to_string_lossy(), &printed)?.remove(one.file.as_str())
        };
        let group = (scope.key.as_str(), mark);
        let joined = self.gather.join(group, scope.together, &one.file, cancel, start, own).await;
        let (ended, text, files) = match joined {
            Joined::Together(ended, text, files) => (ended, text, files),
            Joined::Alone(turn) => return Ok(Err(Some(turn))),
            Joined::Cancelled => {
                let stopped = Some(Stopped::Cancelled);
                return Ok(Ok(Output { stopped, ..Output::error("[cancelled; other calls went on]") }));
            }
        };
        text.lines().for_each(|line| sink.delta(Delta::Line(view::plain(line.as_bytes()))));
        let mut watched = view::Watched::new(&args.line(), self.parsers.current(), OUTPUT_VIEW_BYTES);
        watched.push(text.as_bytes(), sink);
        let (total, whole) = (text.len() as u64, Whole::Bytes(text.into_bytes()));
        let mut view = watched.view(&whole, total, sink);
        let said = format!("one process for {files} files");
        view.summary =
            Some(view.summary.map_or_else(|| said.clone(), |summary| format!("{summary}; {said}")));
        Ok(Ok(output(&ended, args.patience(), view, whole)))
    }
}

/// What it comes to, held by this or by nothing.
fn meaning(held: Option<&InForce>, declared: bool) -> (EffectClass, String) {
    match (held.filter(|held| held.holds()), declared) {
        // What it does beyond the workspace is what it sends.
        (Some(held), true) => (EffectClass::Staged, format!("declared check; confined: {held}")),
        (Some(held), false) if held.network == Network::On => {
            (EffectClass::External, format!("what it sends cannot be taken back; {held}"))
        }
        // Whom a person listed may be asked, and asked again.
        (Some(held), false) => (EffectClass::Staged, format!("confined: {held}")),
        // Its words are trusted; what they run is the agent's by now.
        (None, true) => (
            EffectClass::External,
            "declared check, not confined: the files that it runs may have been changed".to_owned(),
        ),
        (None, false) => (
            EffectClass::External,
            "not confined: what it touches outside the workspace is unknown".to_owned(),
        ),
    }
}

/// Characters of a command's name in a line about stopping it.
const NAME_CHARS: usize = 40;
/// Statuses with which a shell and `env` say that the program did not begin.
const UNBEGUN: [i32; 2] = [126, 127];

/// What a person follows of it (S2.4-2).
fn delta(progress: Progress<'_>, name: &str) -> Option<Delta> {
    Some(match progress {
        Progress::Line(line) => Delta::Line(view::plain(line.as_bytes())),
        Progress::Stopping(Stage::Interrupt) => Delta::Stopping(format!("cancelling {name}")),
        Progress::Stopping(Stage::Terminate) => Delta::Stopping(format!("stopping {name}")),
        Progress::Stopping(Stage::Kill) => Delta::Stopping(format!("force stopping {name}")),
        Progress::Killed => Delta::Stopping(format!("killed {name}")),
        Progress::Output(_) | Progress::Waits(_) | Progress::Started(_) => return None,
    })
}

/// A shell would have run it, or said it in the usual words.
fn unlike_a_shell(error: &Error) -> bool {
    match error {
        Error::NoProgram { .. } => true,
        // Not a binary, and no line that names its interpreter.
        Error::Exec { source, .. } => source.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()),
        _ => false,
    }
}

/// Files that look like a repository are none: what their configuration names would run.
pub(crate) const GIT: [(&str, &str); 3] = [
    ("GIT_CONFIG_COUNT", "1"),
    ("GIT_CONFIG_KEY_0", "safe.bareRepository"),
    ("GIT_CONFIG_VALUE_0", "explicit"),
];
/// Words of a command that are looked at for names of files, and how large such a file may be to be part of the content.
const NAMED: usize = 64;
const NAMED_BYTES: u64 = 4 << 20;
/// How long a command that was just started is waited for: most say something, or fail, at once.
const FIRST_WORD: Duration = Duration::from_millis(800);

impl Shell {
    /// Starts it to stay; what it said or showed so far.
    async fn start(&self, args: &Args, scope: &Scope, given: Given) -> Result<Output, Fault> {
        let argv = match &args.argv {
            Some(argv) => argv.clone(),
            None => vec![self.program.to_owned(), "-c".to_owned(), args.line()],
        };
        let patience = Patience::exactly(args.timeout_ms.unwrap_or(JOB_MS));
        let command = given.to(self.command(argv, args, scope)?.patience(patience));
        let live = self.jobs.start(scope.session, command, args.terminal.then(Size::default))?;
        live.job.until(FIRST_WORD, |status| status.bytes > 0 || !status.ended.is_empty()).await;
        Ok(Output { handed: given.handed, ..job::seen(&live, None, scope) })
    }

    fn command(&self, argv: Vec<String>, args: &Args, scope: &Scope) -> Result<Command, Fault> {
        let (path, directory) = args.cwd(scope)?;
        let env = GIT.map(|(name, value)| (name.into(), value.into())).into_iter().chain(scope.env.clone());
        // All of its output passes by; what it wrote is kept by who watches it.
        let mut command = Command::argv(argv, path).envs(env).patience(args.patience()).keep(0);
        if let Some(directory) = directory {
            command = command.at(directory);
        }
        if let Some(records) = &self.records {
            command = command.record(records.join(scope.session.to_string()));
        }
        if let Some(confinement) = &scope.confinement {
            command = command.confine(confinement.clone());
        }
        Ok(command)
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("shell", args)?;
        let texts: Vec<&String> = match (&parsed.command, &parsed.argv) {
            (Some(command), None) => vec![command],
            (None, Some(argv)) => argv.iter().collect(),
            _ => return Err(refuse("`shell` takes either `command` or `argv`")),
        };
        if texts.first().is_none_or(|first| first.trim().is_empty()) {
            return Err(refuse("`shell`: the command is empty"));
        }
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(refuse("`shell`: the command holds a zero byte"));
        }
        if texts.iter().map(|text| text.len()).sum::<usize>() > COMMAND_BYTES {
            return Err(refuse(format!(
                "`shell`: the command is longer than {COMMAND_BYTES} bytes: write it to a file and run that"
            )));
        }
        let most = if parsed.stays() { JOB_MS } else { TOOL_MAX_MS };
        if parsed.timeout_ms.is_some_and(|ms| ms == 0 || ms > most) {
            return Err(refuse(format!("`shell`: timeout_ms must be between 1 and {most}")));
        }
        Ok(parsed)
    }

    /// It outlives the call.
    fn stays(&self) -> bool {
        self.background || self.terminal
    }

    /// The whole of it as one line, for looking at.
    fn line(&self) -> String {
        match (&self.command, &self.argv) {
            (Some(command), _) => command.clone(),
            (None, argv) => argv.as_deref().unwrap_or_default().join(" "),
        }
    }

    fn name(&self) -> String {
        let line = self.line();
        let first = line.split_whitespace().next().unwrap_or_default();
        view::plain(first.as_bytes()).chars().take(NAME_CHARS).collect()
    }

    /// Itself as one of several that could be one process.
    fn one_of_many(&self) -> Option<together::One> {
        if self.stays() || !self.env.is_empty() || self.line().contains("secret:") {
            return None;
        }
        let words: Vec<&str> = match (&self.command, &self.argv) {
            (Some(command), _) => line::words(command)?,
            (None, argv) => argv.as_deref().unwrap_or_default().iter().map(String::as_str).collect(),
        };
        together::one_of_many(&words)
    }

    /// What to start, and what to start when that is no program.
    fn ways(&self, shell: &str) -> Vec<Vec<String>> {
        let Some(command) = &self.command else { return self.argv.iter().cloned().collect() };
        let plain = line::words(command).map(|words| words.into_iter().map(str::to_owned).collect());
        plain.into_iter().chain([vec![shell.to_owned(), "-c".to_owned(), command.clone()]]).collect()
    }

    fn patience(&self) -> Patience {
        match self.timeout_ms {
            Some(ms) => Patience::exactly(ms),
            None => Patience::from(line::base_ms(&self.line())),
        }
    }

    /// Files of the workspace that its words name, with what they hold: a yes to `sh x.sh` is one to what is in it.
    fn named(&self, root: &Path, cwd: &Path) -> Vec<(String, Option<Digest>)> {
        let ends = |c: char| c.is_whitespace() || "'\"`;|&<>()$=,".contains(c);
        let line = self.line();
        let Ok(tree) = Tree::at(root) else { return Vec::new() };
        let mut found = Vec::new();
        for word in line.split(ends).filter(|word| !word.is_empty() && !word.starts_with('-')).take(NAMED) {
            let path = cwd.join(word);
            let plain = std::fs::symlink_metadata(&path)
                .is_ok_and(|meta| !meta.is_dir() && meta.len() <= NAMED_BYTES);
            let name = name::show(tree.relative(&path));
            if plain && path.starts_with(root) && !found.iter().any(|(known, _)| *known == name) {
                let digest = tree.target(&path).ok().flatten().and_then(|target| target.digest());
                found.push((name, digest));
            }
        }
        found
    }

    /// Where to run: by its name, and held open when it is not the top. The command itself can go where it likes.
    fn cwd(&self, scope: &Scope) -> Result<(PathBuf, Option<OwnedFd>), Fault> {
        let Some(cwd) = &self.cwd else { return Ok((scope.root.clone(), None)) };
        let cwd = name::parse(cwd)?;
        let tree = Tree::at(&scope.root)?;
        let directory = tree.directory(&cwd)?;
        let inside = tree.relative(&cwd);
        let path = if inside == Path::new(".") { scope.root.clone() } else { scope.root.join(inside) };
        Ok((path, Some(directory)))
    }
}

/// All that was written. Syncing it may take a while, on a thread that may block.
async fn whole(spool: Spool) -> Whole {
    match tokio::task::spawn_blocking(move || spool.finish()).await {
        Ok(finished) => finished.unwrap_or_else(|error| Whole::Lost(error.to_string())),
        Err(error) => Whole::Lost(error.to_string()),
    }
}

/// Hosts that were refused, of which the agent is told by name.
const REFUSED: usize = 4;

/// What the model sees: the output, then a line in brackets about how it ended.
fn output(ended: &Ended, patience: Patience, view: view::View, whole: Whole) -> Output {
    let mut notes = vec![match (ended.stopped, ended.exit, ended.signal) {
        (Some(why), exit, _) => {
            let why = match why {
                Stopped::Cancelled => "cancelled".to_owned(),
                Stopped::TimedOut if ended.duration_ms >= patience.ceiling_ms => {
                    format!("timed out after {} ms", patience.ceiling_ms)
                }
                Stopped::TimedOut => {
                    format!("timed out after {} ms without saying anything new", patience.base_ms)
                }
                Stopped::NeedsInput => {
                    let who =
                        ended.waited.as_ref().map_or("it waited for input".to_owned(), ToString::to_string);
                    format!("ended: {who}, and nobody can give any; pass what it needs as arguments or files")
                }
            };
            let stage = ended.stage.map_or(String::new(), |stage| format!("; stopped by {stage}"));
            let exit = exit.map_or(String::new(), |exit| format!("; exit status {exit}"));
            format!("{why}{stage}{exit}")
        }
        (None, Some(exit), _) => format!("exit status {exit}"),
        (None, None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None, None) => "ended without a status".to_owned(),
    }];
    match ended.survivors {
        0 => {}
        1 => notes.push("1 process it had left running was killed".into()),
        n => notes.push(format!("{n} processes it had left running were killed")),
    }
    if ended.left > 0 {
        notes.push(format!("{} processes could not be killed", ended.left));
    }
    let refused: Vec<&str> =
        ended.asked.iter().filter(|it| !it.passed).map(|it| it.why.as_str()).take(REFUSED).collect();
    if !refused.is_empty() {
        notes.push(format!("the sandbox refused: {}", refused.join(", ")));
    }
    let (ok, exit, stopped) = (ended.ok(), ended.exit, ended.stopped);
    notes.extend(view.summary);
    let mut text = view.text;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("[{}]", notes.join("; ")));
    let (full, spooled) = match whole {
        Whole::Bytes(bytes) => (view.differs.then_some(bytes), None),
        Whole::File(file) => (None, Some(file)),
        Whole::Lost(_) => (None, None),
    };
    Output { ok, full, spooled, exit, stopped, asked: ended.asked.clone(), ..Output::ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use contract::cancel::Urgency;

    fn run(bench: &Bench, command: &str) -> Output {
        bench.run(&Shell::new(&Options::default()), json!({"command": command}))
    }

    #[test]
    fn output_and_status_are_told() {
        let bench = Bench::new();
        let output = run(&bench, "pwd; echo two >&2");
        assert_eq!(output.text, format!("{}\ntwo\n[exit status 0]", bench.root().display()));
        assert_eq!((output.ok, output.exit, output.full), (true, Some(0), None));
        assert_eq!(*bench.lines.0.lock().unwrap().last().unwrap(), Delta::Line("two".into()));
        let output = run(&bench, "printf no-end; exit 137");
        assert_eq!(
            (output.ok, output.exit, output.text.as_str()),
            (false, Some(137), "no-end\n[exit status 137]")
        );
        let output = run(&bench, "kill -9 $$");
        assert_eq!((output.ok, output.exit, output.text.as_str()), (false, None, "[killed by signal 9]"));
    }

    #[test]
    fn files_that_look_like_a_repository_are_none() {
        let bench = Bench::new();
        let output = run(&bench, "git init -q --bare evil && cd evil && git status");
        assert!(output.text.contains("safe.bareRepository"), "{}", output.text);
    }

    #[test]
    fn a_plain_line_is_run_without_a_shell_and_argv_stays_literal() {
        let bench = Bench::new();
        let parent = |command: &str| {
            bench.file("parent", "#!/bin/sh\nps -o args= -p $PPID\n");
            std::fs::set_permissions(
                bench.root().join("parent"),
                std::os::unix::fs::PermissionsExt::from_mode(0o755),
            )
            .unwrap();
            run(&bench, command).text
        };
        assert!(parent("./parent").contains("kapell"), "the warden: {}", parent("./parent"));
        assert!(parent("./parent; true").contains("-c ./parent; true"), "{}", parent("./parent; true"));
        let output =
            bench.run(&Shell::new(&Options::default()), json!({"argv": ["echo", "a;b", "$HOME", "*"]}));
        assert_eq!(output.text, "a;b $HOME *\n[exit status 0]");
        // What no program is found for, the shell says in its own words.
        let output = run(&bench, "no-such-program-anywhere --help");
        assert!(output.exit == Some(127) && output.text.contains("not found"), "{}", output.text);
        bench.file("bare", "echo no first line\n");
        std::fs::set_permissions(
            bench.root().join("bare"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        assert_eq!(run(&bench, "./bare").text, "no first line\n[exit status 0]");
        let output =
            bench.run(&Shell::new(&Options::default()), json!({"argv": ["no-such-program-anywhere"]}));
        assert_eq!((output.ok, output.exit), (false, None));
        assert!(output.text.contains("was not found"), "{}", output.text);
    }

    #[test]
    fn a_command_that_waits_for_input_is_ended_with_the_reason() {
        let bench = Bench::new();
        let output = run(&bench, "mkfifo questions; echo before; cat questions");
        assert_eq!(output.stopped, Some(Stopped::NeedsInput));
        assert!(
            output.text.starts_with("before\n[ended: `cat` (process ")
                && output.text.contains(") waits for input from the named pipe questions")
                && output.text.contains("; stopped by SIGINT"),
            "{}",
            output.text
        );
    }

    #[test]
    fn nothing_waits_for_a_person() {
        let bench = Bench::new();
        bench.file("text", "line\n".repeat(1000));
        // Pager, editor, prompt, password, merge message: each would wait for ever at a terminal.
        for command in [
            "cat",
            "less text",
            "${PAGER:-less} text",
            "${EDITOR:-vi} text",
            "read -p 'sure? ' x; true",
            "git init -q . && git -c user.name=a -c user.email=a@b commit --allow-empty; git log; true",
            "(: </dev/tty) 2>/dev/null; true",
        ] {
            let output = run(&bench, &format!("timeout 20 bash -c \"$0\" 2>&1; [ $? != 124 ] # {command}"));
            assert!(output.ok, "{command}: {}", output.text);
            let output = run(&bench, command);
            assert_eq!(output.stopped, None, "{command}: {}", output.text);
        }
    }

    #[test]
    fn a_background_process_is_killed_and_mentioned() {
        let output = run(&Bench::new(), "sleep 1000 & setsid sleep 1000 & echo started");
        assert!(
            output.ok && output.text.starts_with("started\n[exit status 0; 2 processes it had left"),
            "{}",
            output.text
        );
    }

    #[test]
    fn the_error_at_the_end_of_much_output_is_seen() {
        let output = run(
            &Bench::new(),
            "yes line | head -c 20000000; printf '\\033[31merror: the last line\\033[0m\\n'; exit 1",
        );
        assert!(output.text.len() < OUTPUT_VIEW_BYTES + 300);
        let said = "\nerror: the last line\n[... only a part is shown, of 20000030 bytes";
        assert!(output.text.contains(said), "{}", output.text);
        let last = "\n[exit status 1; 1 error, 0 warnings in 4000001 lines]";
        assert!(output.text.ends_with(last), "{:?}", &output.text[output.text.len() - 100..]);
        let full = output.full.unwrap();
        assert!(output.text.contains(&format!("path \"blob:{}\"", Digest::of(&full))));
        assert!(full.ends_with(b"\x1b[31merror: the last line\x1b[0m\n"));
    }

    #[test]
    fn time_and_cancel_are_told_apart() {
        let bench = Bench::new();
        let output = bench.run(
            &Shell::new(&Options::default()),
            json!({"command": "echo begun; sleep 1000", "timeout_ms": 200}),
        );
        assert_eq!(output.text, "begun\n[timed out after 200 ms; stopped by SIGINT]");
        assert_eq!((output.ok, output.stopped), (false, Some(Stopped::TimedOut)));
        let cancel = Cancel::new();
        cancel.cancel(Urgency::Now);
        let output =
            bench.run_with(&Shell::new(&Options::default()), json!({"command": "touch made"}), cancel);
        assert_eq!((output.text.as_str(), output.stopped), ("[cancelled]", Some(Stopped::Cancelled)));
        assert!(!bench.root().join("made").exists());
    }

    #[test]
    fn what_nothing_confines_is_external_a_declared_check_too() {
        let bench = Bench::new();
        std::fs::create_dir(bench.root().join("sub")).unwrap();
        let class = |args| {
            bench.judge(&Shell::new(&Options::default()), args).map(|judged| (judged.class, judged.why))
        };
        for args in [json!({"command": " cargo test\n"}), json!({"command": "cargo test", "cwd": "."})] {
            let (class, why) = class(args).unwrap();
            assert_eq!(class, EffectClass::External);
            assert!(why.starts_with("declared check, not confined"), "{why}");
        }
        for args in [
            json!({"command": "cargo test; curl x"}),
            json!({"command": "cargo test", "cwd": "sub"}),
            json!({"command": "ls"}),
        ] {
            assert_eq!(class(args).unwrap().0, EffectClass::External);
        }
        for bad in [
            json!({"command": " "}),
            json!({"command": "ls", "cwd": ".."}),
            json!({"command": "ls", "timeout_ms": 0}),
            json!({"command": "x".repeat(COMMAND_BYTES + 1)}),
            json!({"command": "ls", "backgroud": true}),
            json!({"command": "ls", "argv": ["ls"]}),
            json!({}),
            json!({"argv": []}),
            json!({"argv": ["", "a"]}),
        ] {
            assert!(class(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_hash_covers_directory_environment_and_words() {
        let mut bench = Bench::new();
        std::fs::create_dir(bench.root().join("sub")).unwrap();
        let hash = |bench: &Bench, args| bench.judge(&Shell::new(&Options::default()), args).unwrap();
        let first = hash(&bench, json!({"command": "ls"}));
        assert_eq!(
            (first.hash, first.deadline_ms),
            (hash(&bench, json!({"command": "ls"})).hash, Some(TOOL_MAX_MS))
        );
        assert_ne!(first.hash, hash(&bench, json!({"command": "ls "})).hash);
        assert_ne!(first.hash, hash(&bench, json!({"command": "ls", "cwd": "sub"})).hash);
        bench.scope.env.push(("A".into(), "b".into()));
        assert_ne!(first.hash, hash(&bench, json!({"command": "ls"})).hash);
    }

    #[test]
    fn records_lie_in_the_folder_of_the_session() {
        let bench = Bench::new();
        let records = bench.top().join("records");
        let folder = records.join(bench.scope.session.to_string());
        let command = format!("ls {}", folder.display());
        let output = bench.run(
            &Shell::new(&Options { records: Some(records), ..Options::default() }),
            json!({"command": command}),
        );
        assert_eq!(output.text.lines().filter(|line| line.ends_with(".run")).count(), 1, "{}", output.text);
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    }
}
