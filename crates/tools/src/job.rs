//! `job`: looks at, writes to and stops what `shell` started in the background. Looking is pure; stopping what is
//! stopped changes nothing (keyed); writing can do whatever the program can (external).
//! Knows nothing of processes (`sandbox`). Start at [`JobTool`]; who runs them is `jobs.rs`.

use crate::args::{parse, refuse};
use crate::jobs::{Jobs, Live};
use crate::judge::{Content, judged};
use crate::{keys, mask, view};
use contract::action::EffectClass;
use contract::cancel::Urgency;
use contract::limits::{
    COMMAND_BYTES, JOB_WAIT_MS, OUTPUT_VIEW_BYTES, STOP_INT_MS, STOP_KILL_MS, STOP_TERM_MS,
};
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Masks, Output, Scope, Stopped, Tool};
use contract::{BoxFuture, Cancel, Fault, Kind};
use sandbox::Size;
use sandbox::job::{self, Status};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The tool.
#[derive(Debug)]
pub(crate) struct JobTool {
    jobs: Arc<Jobs>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    action: Action,
    job: Option<String>,
    after: Option<u64>,
    wait_ms: Option<u64>,
    text: Option<String>,
    keys: Option<Vec<String>>,
    columns: Option<u16>,
    rows: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    List,
    Read,
    Write,
    Resize,
    Stop,
}

/// How long after writing the answer is waited for, and how long it must be quiet to count as one.
const ANSWER: Duration = Duration::from_millis(1_500);
const QUIET: Duration = Duration::from_millis(150);
/// Longest a write may wait for the program to read.
const WRITE: Duration = Duration::from_secs(5);
/// Columns and rows a terminal may have.
const SIZES: std::ops::RangeInclusive<u16> = 2..=1_000;

impl JobTool {
    pub(crate) fn new(jobs: Arc<Jobs>) -> Self {
        Self { jobs }
    }
}

impl Tool for JobTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "job".into(),
            description: "Works with what `shell` started with `background` or `terminal`: `list` them; `read` what one \
                          wrote since you last read it (of a terminal: its screen), or from byte `after` on; `write` \
                          `text` and then `keys` into it; `resize` its terminal; `stop` it. They end with the session."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "action": {"type": "string", "enum": ["list", "read", "write", "resize", "stop"]},
                    "job": {"type": "string", "description": "Its name, such as j1. Needed for all but `list`."},
                    "after": {"type": "integer", "minimum": 0,
                        "description": "For `read`: all that was written from this byte on, screens of a terminal included."},
                    "wait_ms": {"type": "integer", "minimum": 0, "maximum": JOB_WAIT_MS,
                        "description": "For `read`: waits this long at most until there is something new, or it ended."},
                    "text": {"type": "string", "description": "For `write`: taken as it is; a line needs its end."},
                    "keys": {"type": "array", "items": {"type": "string"},
                        "description": "For `write`, after the text: enter, tab, escape, up, ctrl-c, f5 and the like."},
                    "columns": {"type": "integer", "minimum": 2, "maximum": 1000},
                    "rows": {"type": "integer", "minimum": 2, "maximum": 1000}
                },
                "required": ["action"],
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let parsed = Args::parse(args)?;
        let (class, why) = match parsed.action {
            Action::List | Action::Read => (EffectClass::Pure, "looks only"),
            Action::Stop => (EffectClass::Keyed, "what is stopped stays stopped"),
            Action::Resize => (EffectClass::Keyed, "the same size twice is one"),
            Action::Write => (EffectClass::External, "what the program does with it is unknown"),
        };
        if let Some(name) = &parsed.job {
            self.jobs.found(scope.session, name)?;
        }
        Ok(judged("job", args, scope, class, why, Content::default()))
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Output> {
        Box::pin(async move {
            let result = async {
                let args = Args::parse(&args)?;
                let work = self.work(&args, &scope);
                tokio::select! {
                    biased;
                    () = cancel.reached(Urgency::Graceful) => {
                        Ok(Output { stopped: Some(Stopped::Cancelled), ..Output::error("stopped waiting") })
                    }
                    output = work => output,
                }
            };
            let mut output = result.await.unwrap_or_else(|fault: Fault| Output::error(fault.to_string()));
            output.asked = self.jobs.asked(scope.session);
            output
        })
    }
}

impl JobTool {
    async fn work(&self, args: &Args, scope: &Scope) -> Result<Output, Fault> {
        let Some(name) = &args.job else { return Ok(Output::ok(self.list(scope))) };
        let dir = self.jobs.found(scope.session, name)?;
        let live = self.jobs.live(scope.session, name);
        let Some(live) = live else {
            return match args.action {
                Action::Read => past(name, &dir, args.after, scope),
                _ => {
                    let ended =
                        job::look(&dir).map_or_else(|_| "it has ended".to_owned(), |status| status.ended);
                    Err(refuse(format!("{name} does not run: {ended}")))
                }
            };
        };
        match args.action {
            Action::List => Ok(Output::ok(self.list(scope))),
            Action::Read => read(args, &live, scope).await,
            Action::Write => write(args, &live, scope).await,
            Action::Resize => {
                let size = args.size()?;
                match live.job.resize(size) {
                    Ok(true) => {
                        Ok(Output::ok(format!("{name} has {} columns, {} rows", size.columns, size.rows)))
                    }
                    Ok(false) => Err(refuse(format!("{name} has no terminal"))),
                    Err(error) => Err(refuse(format!("the terminal of {name} cannot be resized: {error}"))),
                }
            }
            Action::Stop => {
                live.job.stop(Urgency::Graceful);
                let ladder = Duration::from_millis(STOP_INT_MS + STOP_TERM_MS + 2 * STOP_KILL_MS);
                live.job.until(ladder, |status| !status.ended.is_empty()).await;
                Ok(seen(&live, None, scope))
            }
        }
    }

    fn list(&self, scope: &Scope) -> String {
        let all = self.jobs.list(scope.session);
        if all.is_empty() {
            return "There is no background command; `shell` with `background` starts one.".to_owned();
        }
        all.iter().map(|(name, status)| format!("{name} {}\n", line(status))).collect()
    }
}

async fn read(args: &Args, live: &Live, scope: &Scope) -> Result<Output, Fault> {
    let from = args.after.unwrap_or_else(|| *live.seen.lock().unwrap_or_else(PoisonError::into_inner));
    let wait = Duration::from_millis(args.wait_ms.unwrap_or(0));
    let news = |status: &Status| status.bytes > from || !status.ended.is_empty() || !status.waits.is_empty();
    live.job.until(wait, news).await;
    Ok(seen(live, args.after, scope))
}

async fn write(args: &Args, live: &Live, scope: &Scope) -> Result<Output, Fault> {
    let mut bytes = args.text.clone().unwrap_or_default().into_bytes();
    for key in args.keys.iter().flatten() {
        bytes.extend(keys::bytes(key).map_err(refuse)?);
    }
    let before = live.job.status().bytes;
    match tokio::time::timeout(WRITE, live.job.write(&bytes)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(refuse(format!("{} does not read any more: {error}", live.name))),
        Err(_late) => return Err(refuse(format!("{} does not read: not all of it was written", live.name))),
    }
    let over = |status: &Status| !status.ended.is_empty();
    live.job.until(ANSWER, |status| status.bytes > before || over(status)).await;
    // Until it pauses: a screen is drawn in several pieces.
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < ANSWER {
        let now = live.job.status().bytes;
        if !live.job.until(QUIET, |status| status.bytes > now || over(status)).await
            || over(&live.job.status())
        {
            break;
        }
    }
    Ok(seen(live, None, scope))
}

/// What the agent sees of one that runs here: its screen, or what is new; and how it is.
pub(crate) fn seen(live: &Live, after: Option<u64>, scope: &Scope) -> Output {
    let status = live.job.status();
    let mut seen = live.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut text, end) = match (live.job.shown(), after) {
        (Some(shown), None) => {
            let rows = shown.rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
            let rows: Vec<String> =
                shown.rows[..rows].iter().map(|row| view::plain(row.as_bytes())).collect();
            let (text, ends) = mask::joined(&rows, usize::from(shown.size.columns));
            let spots = scope.masks.as_ref().map_or_else(Vec::new, |masks| masks.of(text.as_bytes()));
            let text = mask::screen(&text, &ends, &spots);
            let (row, column) = shown.cursor;
            let Size { columns, rows } = shown.size;
            (
                format!(
                    "{text}[screen of {columns} columns, {rows} rows; cursor in row {row}, column {column}]\n"
                ),
                status.bytes,
            )
        }
        (_, after) => {
            let grows = status.ended.is_empty() && status.waits.is_empty();
            piece(live.job.dir(), after.unwrap_or(*seen), grows, scope)
        }
    };
    *seen = end;
    text.push_str(&format!("[{} {}]", live.name, line(&status)));
    Output::ok(text)
}

/// What is left of one that does not run here any more.
fn past(name: &str, dir: &Path, after: Option<u64>, scope: &Scope) -> Result<Output, Fault> {
    let status = job::look(dir).map_err(|error| {
        Fault::new(Kind::Permanent, "no-job", format!("what {name} said of itself cannot be read: {error}"))
    })?;
    let from = after.unwrap_or_else(|| status.bytes.saturating_sub(OUTPUT_VIEW_BYTES as u64));
    let (mut text, _) = piece(dir, from, false, scope);
    text.push_str(&format!("[{name} {}]", line(&status)));
    Ok(Output::ok(text))
}

/// What was written from here on, as far as it may be shown at once, with where to go on. While it `grows`, a word without
/// an end that may become a secret is not shown.
fn piece(dir: &Path, from: u64, grows: bool, scope: &Scope) -> (String, u64) {
    let piece = match job::read(dir, from, OUTPUT_VIEW_BYTES) {
        Ok(piece) => piece.lines(),
        Err(error) => return (format!("[its output cannot be read: {error}]\n"), from),
    };
    let whole = piece.from + piece.bytes.len() as u64;
    let (bytes, next) = match &scope.masks {
        Some(masks) => clean(dir, &piece, grows, &**masks),
        None => (piece.bytes, whole),
    };
    let mut text = String::new();
    if piece.from > from {
        text.push_str(&format!("[bytes {from} to {} are not kept any more]\n", piece.from));
    }
    text.push_str(&view::plain(&bytes));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if next < whole {
        text.push_str(&format!("[{} bytes without an end are not shown yet]\n", piece.end - next));
    } else if next < piece.end {
        text.push_str(&format!("[{} bytes more; `read` goes on at byte {next}]\n", piece.end - next));
    }
    (text, next)
}

/// Bytes before and behind a piece that are looked at, for what reaches over its ends.
const AROUND_BYTES: usize = 64 * 1024;

/// A piece without secrets, and where the next one begins.
fn clean(dir: &Path, piece: &job::Piece, grows: bool, masks: &dyn Masks) -> (Vec<u8>, u64) {
    let end = piece.from + piece.bytes.len() as u64;
    let before = piece.from.saturating_sub(AROUND_BYTES as u64);
    let around = job::read(dir, before, OUTPUT_VIEW_BYTES + 2 * AROUND_BYTES).ok();
    // Where some of it is lost, there is nothing that reaches over.
    let around = around.filter(|it| it.from <= piece.from && it.from + it.bytes.len() as u64 >= end);
    let (first, bytes, last) = match &around {
        Some(around) => (around.from, &around.bytes, around.from + around.bytes.len() as u64 == around.end),
        None => (piece.from, &piece.bytes, end == piece.end),
    };
    let at = |number: u64| usize::try_from(number - first).unwrap_or(bytes.len());
    let mut show = at(piece.from)..at(end);
    if grows && last {
        show.end = masks.settled(bytes).clamp(show.start, show.end);
    }
    let (shown, next) = mask::part(bytes, show, &masks.of(bytes));
    (shown, first + next as u64)
}

/// How one is, in a line.
pub(crate) fn line(status: &Status) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago = |ms: u64| Duration::from_millis((now.as_millis() as u64).saturating_sub(ms)).as_secs();
    let what = view::plain(status.command.as_bytes());
    let kind = if status.terminal { "terminal" } else { "background" };
    let how = if !status.ended.is_empty() {
        format!("ended: {}", status.ended)
    } else if !status.waits.is_empty() {
        format!("runs since {} s; {}", ago(status.started_ms), status.waits)
    } else {
        format!("runs since {} s, last output {} s ago", ago(status.started_ms), ago(status.said_ms))
    };
    format!("({kind}) {how}; {} bytes so far; `{what}`", status.bytes)
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("job", args)?;
        if parsed.action != Action::List && parsed.job.is_none() {
            return Err(refuse("`job`: which one? `job` is its name, such as j1"));
        }
        if parsed.wait_ms.is_some_and(|ms| ms > JOB_WAIT_MS) {
            return Err(refuse(format!("`job`: wait_ms must be at most {JOB_WAIT_MS}")));
        }
        match parsed.action {
            Action::Write => {
                let text = parsed.text.as_deref().unwrap_or_default();
                if text.is_empty() && parsed.keys.as_ref().is_none_or(Vec::is_empty) {
                    return Err(refuse("`job`: there is nothing to write: give `text` or `keys`"));
                }
                if text.len() > COMMAND_BYTES {
                    return Err(refuse(format!("`job`: text is longer than {COMMAND_BYTES} bytes")));
                }
                parsed
                    .keys
                    .iter()
                    .flatten()
                    .try_for_each(|key| keys::bytes(key).map(drop))
                    .map_err(refuse)?;
            }
            Action::Resize => drop(parsed.size()?),
            _ => {}
        }
        Ok(parsed)
    }

    fn size(&self) -> Result<Size, Fault> {
        match (self.columns, self.rows) {
            (Some(columns), Some(rows)) if SIZES.contains(&columns) && SIZES.contains(&rows) => {
                Ok(Size { columns, rows })
            }
            _ => Err(refuse("`job`: resize needs `columns` and `rows`, each from 2 to 1000")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::shell::Shell;
    use crate::testing::Bench;

    /// A workspace, and a runtime that lives as long as what is started.
    struct World {
        bench: Bench,
        options: Options,
        runtime: tokio::runtime::Runtime,
    }

    impl World {
        fn new() -> Self {
            let bench = Bench::new();
            let options =
                Options { jobs: Arc::new(Jobs::new(bench.top().join("sessions"))), ..Options::default() };
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            Self { bench, options, runtime }
        }

        fn run(&self, tool: &dyn Tool, args: Value) -> Output {
            let (scope, lines) = (self.bench.scope.clone(), Arc::clone(&self.bench.lines));
            self.runtime.block_on(tool.run(args, scope, Cancel::new(), lines.as_ref()))
        }

        fn shell(&self, args: Value) -> String {
            self.run(&Shell::new(&self.options), args).text
        }

        fn job(&self, args: Value) -> Output {
            self.run(&JobTool::new(Arc::clone(&self.options.jobs)), args)
        }
    }

    #[test]
    fn what_is_started_is_read_written_to_and_stopped() {
        let world = World::new();
        let line = "echo ready; while read -r x; do echo \"got $x\"; done; echo over; sleep 600";
        let text = world.shell(json!({"command": line, "background": true}));
        assert!(text.starts_with("ready\n[j1 (background) runs since "), "{text}");
        let text = world.job(json!({"action": "write", "job": "j1", "text": "one\ntwo\n"})).text;
        assert!(text.starts_with("got one\ngot two\n[j1 "), "{text}");
        let text = world.job(json!({"action": "read", "job": "j1", "wait_ms": 20_000})).text;
        assert!(text.contains("waits for input from a pipe that nobody writes to"), "{text}");
        let text = world.job(json!({"action": "read", "job": "j1", "after": 6})).text;
        assert!(text.starts_with("got one\ngot two\n"), "{text}");
        let text = world.job(json!({"action": "list"})).text;
        assert!(text.starts_with("j1 (background) runs since "), "{text}");
        let text = world.job(json!({"action": "stop", "job": "j1"})).text;
        assert!(text.contains("ended: stopped by SIG"), "{text}");
        let error = world.job(json!({"action": "resize", "job": "j1", "columns": 80, "rows": 24}));
        assert!(!error.ok && error.text.contains("j1"), "{}", error.text);
        let error = world.job(json!({"action": "read", "job": "j7"}));
        assert!(!error.ok && error.text.contains("known: j1"), "{}", error.text);
    }

    #[test]
    fn a_terminal_is_a_screen_that_is_typed_at() {
        let world = World::new();
        let line = "printf '\\033[2J\\033[3;5Hname? '; read -r x; printf '\\033[5;5H\\033[31mhello %s\\033[0m' \"$x\"; stty size; read -r y";
        let text = world.shell(json!({"command": line, "terminal": true}));
        assert!(
            text.contains("\n\n    name?\n[screen of 120 columns, 40 rows; cursor in row 3, column 11]"),
            "{text}"
        );
        let text = world.job(json!({"action": "resize", "job": "j1", "columns": 80, "rows": 24})).text;
        assert_eq!(text, "j1 has 80 columns, 24 rows");
        let args = json!({"action": "write", "job": "j1", "text": "Ada", "keys": ["enter"]});
        let text = world.job(args).text;
        assert!(
            text.contains("    hello Ada24 80\n") && text.contains("[screen of 80 columns, 24 rows"),
            "{text}"
        );
        world.job(json!({"action": "write", "job": "j1", "keys": ["ctrl-c"]}));
        let text = world.job(json!({"action": "read", "job": "j1", "wait_ms": 20_000})).text;
        assert!(text.contains("ended: killed by signal 2"), "{text}");
    }

    #[test]
    fn they_end_with_the_session_and_can_be_read_afterwards() {
        let world = World::new();
        world.shell(json!({"command": "echo one; sleep 600", "background": true}));
        world.shell(json!({"argv": ["sh", "-c", "echo two; exit 3"], "background": true}));
        let text = world.job(json!({"action": "read", "job": "j2", "wait_ms": 20_000})).text;
        assert!(text.contains("ended: exit status 3"), "{text}");
        world.options.jobs.end(world.bench.scope.session);
        let text = world.job(json!({"action": "read", "job": "j1"})).text;
        assert!(text.starts_with("one\n[j1 (background) "), "{text}");
        // A name is never given twice.
        let text = world.shell(json!({"command": "echo three", "background": true}));
        assert!(text.starts_with("three\n[j3 "), "{text}");
    }

    /// Knows one value.
    struct Known(&'static str);

    impl Masks for Known {
        fn of(&self, text: &[u8]) -> Vec<(std::ops::Range<usize>, String)> {
            let text = String::from_utf8_lossy(text);
            text.match_indices(self.0).map(|(at, value)| (at..at + value.len(), "[x]".into())).collect()
        }

        fn settled(&self, text: &[u8]) -> usize {
            let begun = (1..self.0.len()).rev().find(|n| text.ends_with(&self.0.as_bytes()[..*n]));
            text.len() - begun.unwrap_or(0)
        }
    }

    #[test]
    fn no_piece_shows_a_part_of_a_secret() {
        let mut world = World::new();
        world.bench.scope.masks = Some(Arc::new(Known("hunter2-and-more")));
        let line = "printf 'it is hunter2-'; read -r x; printf 'and-more, yes\\n'; read -r y";
        let text = world.shell(json!({"command": line, "background": true}));
        assert!(text.starts_with("it is \n[8 bytes without an end are not shown yet]\n[j1 "), "{text}");
        world.job(json!({"action": "write", "job": "j1", "text": "\n"}));
        let mut all = String::new();
        for after in 0..30 {
            all.push_str(&world.job(json!({"action": "read", "job": "j1", "after": after})).text);
        }
        assert_eq!(all.lines().next(), Some("it is [x], yes"));
        // What is said of it names its command, which is the model's own word.
        for line in all.lines().filter(|line| !line.starts_with("[j1 ")) {
            assert!(!line.contains("nter2") && !line.contains("d-mo"), "{line}");
        }
    }

    #[test]
    fn there_are_only_so_many() {
        let world = World::new();
        for _ in 0..contract::limits::JOBS {
            world.shell(json!({"command": "sleep 600", "background": true}));
        }
        let text = world.shell(json!({"command": "sleep 600", "background": true}));
        assert!(text.contains("8 run already (j1, j2,"), "{text}");
        world.job(json!({"action": "stop", "job": "j1"}));
        let text = world.shell(json!({"command": "echo in; sleep 600", "background": true}));
        assert!(text.starts_with("in\n"), "{text}");
    }

    #[test]
    fn looking_is_pure_and_writing_is_external() {
        let world = World::new();
        world.shell(json!({"command": "cat", "background": true}));
        let tool = JobTool::new(Arc::clone(&world.options.jobs));
        let class = |args| world.bench.judge(&tool, args).map(|judged| judged.class);
        assert_eq!(class(json!({"action": "list"})), Ok(EffectClass::Pure));
        assert_eq!(class(json!({"action": "read", "job": "j1"})), Ok(EffectClass::Pure));
        assert_eq!(class(json!({"action": "stop", "job": "j1"})), Ok(EffectClass::Keyed));
        assert_eq!(class(json!({"action": "write", "job": "j1", "text": "x"})), Ok(EffectClass::External));
        for bad in [
            json!({}),
            json!({"action": "read"}),
            json!({"action": "read", "job": "../x"}),
            json!({"action": "write", "job": "j1"}),
            json!({"action": "write", "job": "j1", "keys": ["entr"]}),
            json!({"action": "resize", "job": "j1", "columns": 1, "rows": 1}),
            json!({"action": "read", "job": "j1", "wait_ms": JOB_WAIT_MS + 1}),
        ] {
            assert!(class(bad.clone()).is_err(), "{bad}");
        }
    }
}
