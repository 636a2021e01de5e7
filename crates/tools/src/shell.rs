//! `shell`: a command line, run so that nothing of it is left alive. Staged when the project declares that very
//! line as a check or set-up; external otherwise, because files and network are not confined yet.
//! Knows nothing of processes (`sandbox`). Start at [`Shell`].

use crate::args::{parse, refuse};
use crate::judge::{Content, judged};
use crate::tree::Tree;
use crate::{name, view};
use contract::action::EffectClass;
use contract::limits::{COMMAND_BYTES, OUTPUT_VIEW_BYTES, TOOL_MAX_MS, TOOL_MS};
use contract::model::ToolSpec;
use contract::port::{Delta, Sink};
use contract::tool::{Judged, Output, Scope, Stopped, Tool};
use contract::{BoxFuture, Cancel, Fault};
use sandbox::{Command, Ended, Progress};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The tool.
#[derive(Debug)]
pub(crate) struct Shell {
    records: Option<PathBuf>,
    program: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    command: String,
    timeout_ms: Option<u64>,
    cwd: Option<String>,
}

impl Shell {
    pub(crate) fn new(records: Option<PathBuf>) -> Self {
        // Models write bash; a plain sh runs most of it.
        let bash = "/bin/bash";
        let program = if Path::new(bash).exists() { bash } else { "/bin/sh" };
        Self { records, program }
    }
}

impl Tool for Shell {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "shell".into(),
            description: format!(
                "Runs a command line with {} in the workspace and returns its output (both streams in order) and its \
                 exit status. There is no terminal and no input: nothing can be asked, paged or edited. What it leaves \
                 in the background is killed. A long output is cut in the middle; the whole can be read by its blob.",
                self.program
            ),
            schema: json!({
                "type": "object",
                "properties": {
                    "command": {"type": "string", "description": "The command line."},
                    "timeout_ms": {"type": "integer", "minimum": 1, "maximum": TOOL_MAX_MS,
                        "description": format!("Stopped after this many milliseconds; {TOOL_MS} when left out.")},
                    "cwd": {"type": "string", "description": "Directory, relative to the workspace; its top when left out."}
                },
                "required": ["command"],
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let parsed = Args::parse(args)?;
        let cwd = parsed.cwd(scope)?;
        // Only at the top: the same words in another directory may be another program.
        let declared = |line: &String| line.trim() == parsed.command.trim() && cwd == scope.root;
        let (class, why) = if scope.declared.iter().any(declared) {
            (EffectClass::Staged, "declared check")
        } else {
            (EffectClass::External, "not confined: what it touches outside the workspace is unknown")
        };
        let content = Content {
            cwd: cwd.to_string_lossy().into_owned(),
            deadline_ms: Some(parsed.timeout_ms()),
            ..Content::default()
        };
        Ok(judged("shell", args, scope, class, why, content))
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
                let args = Args::parse(&args)?;
                let mut command = Command::argv([self.program, "-c", &args.command], args.cwd(&scope)?)
                    .envs(scope.env)
                    .timeout_ms(args.timeout_ms());
                if let Some(records) = &self.records {
                    command = command.record(records.join(scope.session.to_string()));
                }
                let mut progress = |progress: Progress<'_>| match progress {
                    Progress::Line(line) => sink.delta(Delta::Line(view::plain(line.as_bytes()))),
                    Progress::Stopping(stage) => sink.delta(Delta::Note(format!("stopping: sent {stage}"))),
                };
                let ended = sandbox::run(command, cancel, &mut progress).await?;
                Ok::<_, Fault>(output(ended, args.timeout_ms()))
            };
            result.await.unwrap_or_else(|fault| Output::error(fault.to_string()))
        })
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("shell", args)?;
        if parsed.command.trim().is_empty() {
            return Err(refuse("`shell`: the command is empty"));
        }
        if parsed.command.contains('\0') {
            return Err(refuse("`shell`: the command holds a zero byte"));
        }
        if parsed.command.len() > COMMAND_BYTES {
            return Err(refuse(format!(
                "`shell`: the command is longer than {COMMAND_BYTES} bytes: write it to a file and run that"
            )));
        }
        if parsed.timeout_ms.is_some_and(|ms| ms == 0 || ms > TOOL_MAX_MS) {
            return Err(refuse(format!("`shell`: timeout_ms must be between 1 and {TOOL_MAX_MS}")));
        }
        Ok(parsed)
    }

    fn timeout_ms(&self) -> u64 {
        self.timeout_ms.unwrap_or(TOOL_MS)
    }

    /// Where to run. It must lie inside now; the command itself can go where it likes.
    fn cwd(&self, scope: &Scope) -> Result<PathBuf, Fault> {
        let Some(cwd) = &self.cwd else { return Ok(scope.root.clone()) };
        let cwd = name::parse(cwd)?;
        let tree = Tree::at(&scope.root)?;
        tree.directory(&cwd)?;
        let inside = tree.relative(&cwd);
        Ok(if inside == Path::new(".") { scope.root.clone() } else { scope.root.join(inside) })
    }
}

/// What the model sees: the output, then a line in brackets about how it ended.
fn output(ended: Ended, timeout_ms: u64) -> Output {
    let mut notes = vec![match (ended.stopped, ended.exit, ended.signal) {
        (Some(why), exit, _) => {
            let why = match why {
                Stopped::Cancelled => "cancelled".to_owned(),
                Stopped::TimedOut => format!("timed out after {timeout_ms} ms"),
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
    let (ok, exit, stopped) = (ended.ok(), ended.exit, ended.stopped);
    let total = ended.output.total();
    let bytes = ended.output.into_bytes();
    let view = view::output(&bytes, total, OUTPUT_VIEW_BYTES);
    let mut text = view.text;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("[{}]", notes.join("; ")));
    Output { ok, full: view.differs.then_some(bytes), exit, stopped, ..Output::ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use contract::Digest;
    use contract::cancel::Urgency;

    fn run(bench: &Bench, command: &str) -> Output {
        bench.run(&Shell::new(None), json!({"command": command}))
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
        assert!(
            output.text.ends_with("\nerror: the last line\n[exit status 1]"),
            "{:?}",
            &output.text[output.text.len() - 100..]
        );
        let full = output.full.unwrap();
        assert!(
            output.text.contains(&format!("of 20000030 in all; read path \"blob:{}\"", Digest::of(&full)))
        );
        assert!(full.ends_with(b"\x1b[31merror: the last line\x1b[0m\n"));
    }

    #[test]
    fn time_and_cancel_are_told_apart() {
        let bench = Bench::new();
        let output =
            bench.run(&Shell::new(None), json!({"command": "echo begun; sleep 1000", "timeout_ms": 200}));
        assert_eq!(output.text, "begun\n[timed out after 200 ms; stopped by SIGINT]");
        assert_eq!((output.ok, output.stopped), (false, Some(Stopped::TimedOut)));
        let cancel = Cancel::new();
        cancel.cancel(Urgency::Now);
        let output = bench.run_with(&Shell::new(None), json!({"command": "touch made"}), cancel);
        assert_eq!((output.text.as_str(), output.stopped), ("[cancelled]", Some(Stopped::Cancelled)));
        assert!(!bench.root().join("made").exists());
    }

    #[test]
    fn only_a_declared_check_is_staged() {
        let bench = Bench::new();
        std::fs::create_dir(bench.root().join("sub")).unwrap();
        let class = |args| bench.judge(&Shell::new(None), args).map(|judged| (judged.class, judged.why));
        let staged = (EffectClass::Staged, "declared check".to_owned());
        assert_eq!(class(json!({"command": " cargo test\n"})), Ok(staged.clone()));
        assert_eq!(class(json!({"command": "cargo test", "cwd": "."})), Ok(staged));
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
            json!({"command": "ls", "background": true}),
        ] {
            assert!(class(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_hash_covers_directory_environment_and_words() {
        let mut bench = Bench::new();
        std::fs::create_dir(bench.root().join("sub")).unwrap();
        let hash = |bench: &Bench, args| bench.judge(&Shell::new(None), args).unwrap();
        let first = hash(&bench, json!({"command": "ls"}));
        assert_eq!(
            (first.hash, first.deadline_ms),
            (hash(&bench, json!({"command": "ls"})).hash, Some(TOOL_MS))
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
        let output = bench.run(&Shell::new(Some(records)), json!({"command": command}));
        assert_eq!(output.text.lines().filter(|line| line.ends_with(".run")).count(), 1, "{}", output.text);
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    }
}
