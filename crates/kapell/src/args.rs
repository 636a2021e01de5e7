//! The command line: every command, flag and value, as clap reads them.
//!
//! Knows no configuration and does nothing. Start at [`Cli`]; what a command means is in `cmd/`.

mod work;

pub(crate) use work::{AskWord, Format, OutputOptions, ResumeOptions, RunOptions};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use contract::ActionId;
use contract::text::nearest;
use std::path::PathBuf;

/// What `--help` ends with.
const EXAMPLES: &str = "\
Examples:
  kapell demo                            the whole workflow on a small repository of its own
  kapell run \"make clippy pass\"          work on the repository you are in
  kapell run --no-land \"fix the tests\"   leave the result on a branch
  kapell -p - < goal.txt                 the goal from standard input
  kapell -c                              go on with the newest unfinished session
  kapell sessions                        what there is; `last` names the newest
  kapell why last                        who wanted what, why it won, why the others waited

Exit codes: 0 ok, 1 failure, 2 usage, 3 refuted, 4 inconclusive, 5 stuck, 6 denied, 7 budget,
  8 needs you, 75 waiting on a limit, 124 time-out, 130 SIGINT, 143 SIGTERM.
Environment: KAPELL_HOME (all four roots), KAPELL_MODEL, KAPELL_ASK, KAPELL_PROFILE (whose keys), KAPELL_PASSPHRASE
  (opens kept keys), KAPELL_TRUST=all (runs what repositories declare: for machines that are thrown away), NO_COLOR.";

/// Bytes that `parse` shows at most.
const PARSE_BYTES: u64 = 64 * 1024 * 1024;

const ONE_SHOT: &str = "Without a command";

/// Conducts coding agents: plans, works in an isolated workspace, checks the result itself, lands what it confirmed.
#[derive(Debug, Parser)]
#[command(name = "kapell", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
#[command(subcommand_help_heading = "Commands", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    /// Run this goal and print the result (`-` reads it from standard input); the same as `run`
    #[arg(short, long, value_name = "GOAL", help_heading = ONE_SHOT)]
    pub(crate) print: Option<String>,
    /// Go on with the newest unfinished session of this repository
    #[arg(short, long = "continue", conflicts_with = "resume", help_heading = ONE_SHOT)]
    pub(crate) continue_: bool,
    /// Go on with this session (without ID: the newest)
    #[arg(short, long, value_name = "ID", num_args = 0..=1, default_missing_value = "last", help_heading = ONE_SHOT)]
    pub(crate) resume: Option<String>,
    #[command(flatten, next_help_heading = "Options of -p")]
    pub(crate) run: RunOptions,
    #[command(subcommand)]
    pub(crate) command: Option<Verb>,
}

/// Options that every command has, before or after its name.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Work as if started in this directory
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,
    /// Print the result only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Show every event and the output of programs
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// No colour (the same as NO_COLOR=1)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Work on a goal in this repository, check the result, land it when it is confirmed
    Run {
        /// The goal, in plain words; `-` reads it from standard input
        #[arg(value_name = "GOAL")]
        goal: Vec<String>,
        /// Hand it to the daemon (kapell up) and come back at once
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Make a small repository with a failing test and lint warnings, and fix it through the whole workflow
    Demo {
        /// Where to make the repository; must not exist or be empty
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Go on with a session that was stopped, or that waits for you
    Resume(ResumeOptions),
    /// List sessions, show one, or show a tree of them
    Sessions {
        #[command(subcommand)]
        what: Option<Listing>,
        #[command(flatten)]
        options: ListOptions,
    },
    /// Print a session's events as JSON lines
    Events {
        /// Which session
        session: String,
        /// Go on printing as events happen, until the session ends
        #[arg(short, long)]
        follow: bool,
        /// Begin after this event
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
        /// Write the session as a folder: events.jsonl, chain.txt, blobs/
        #[arg(long, value_name = "DIR", conflicts_with_all = ["follow", "after"])]
        export: Option<PathBuf>,
    },
    /// Tell for every action who wanted it, why it won, and why the others waited
    Why {
        /// Which session
        session: String,
        /// Only this action, such as 1.4
        action: Option<ActionId>,
    },
    /// Show what was reserved, spent and is left, over the whole tree
    Cost(CostOptions),
    /// Let a session finish its action in flight, then wait for you
    Pause {
        /// Which session
        session: String,
    },
    /// Stop a session for good, with everything below it
    Cancel {
        /// Which session
        session: String,
    },
    /// Agree to what a session waits for: a call, running one again, or landing a flagged change
    Approve {
        /// Which session
        session: String,
        /// Which approval, such as a12; without it: the one that waits, which a terminal shows first
        approval: Option<String>,
        /// Without a terminal: to the one that waits, whatever it is, also where nobody was shown it
        #[arg(long, conflicts_with = "approval")]
        unseen: bool,
        /// Also write rules into your config.toml that allow exactly the commands that asked, in this repository
        #[arg(long)]
        always: bool,
        /// Also allow exactly the commands that asked for as long as this session lives
        #[arg(long = "session", id = "for_session", conflicts_with = "always")]
        for_session: bool,
    },
    /// Say no to what a session waits for
    Deny {
        /// Which session
        session: String,
        /// Which approval; without it: the one that waits
        approval: Option<String>,
    },
    /// Answer the question a session waits with
    Answer {
        /// Which session
        session: String,
        /// The answer; `-` reads it from standard input
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Put a session's workspace back to before an action; can itself be rewound
    ///
    /// What git ignores, and untracked files above 64 MiB, are left as they are.
    Rewind {
        /// Which session
        session: String,
        /// Before which action, such as 1.4
        action: ActionId,
    },
    /// Show a session's model again what was taken out of its conversation to make room
    Uncompact {
        /// Which session
        session: String,
        /// Which entry, by its number in the transcript; without it: what the newest cut took out, as far as it fits
        entry: Option<u64>,
    },
    /// Play a session's record offline and compare: every fold, every request to a model
    Replay {
        /// Which session
        session: String,
    },
    /// Write what a session's model said as a script that `builtin/script` plays, without secrets
    Record {
        /// Which session
        session: String,
        /// Where to; without it: standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List a session's background commands and terminals, print what one wrote, or stop one
    Jobs(crate::cmd::jobs::Options),
    /// Look at a terminal of a session and type at it; Ctrl-] leaves it running
    Attach {
        /// Which session
        #[arg(default_value = "last")]
        session: String,
        /// Which one, such as j1; without it: the newest that runs
        job: Option<String>,
    },
    /// Show the change a session has made so far, as a unified diff
    Diff {
        /// Which session
        session: String,
    },
    /// Check the store, or one session of it: every hash, every chain, every fold, every snapshot, every blob
    Verify {
        /// Only this session
        session: Option<String>,
    },
    /// Copy the whole store, while sessions run, and check the copy
    Backup {
        /// Where to; must not exist yet, or be empty
        dir: PathBuf,
    },
    /// List the models that can be used now, and say why the others cannot
    Models {
        /// Only this provider's
        provider: Option<String>,
        /// Try this provider now, whatever its calls wait for: an open circuit breaker, a back-off, a limit it told of
        #[arg(long, value_name = "PROVIDER", conflicts_with = "provider")]
        retry: Option<String>,
    },
    /// Check keys of providers with the cheapest call there is; keep, rotate, remove them
    #[command(args_conflicts_with_subcommands = true)]
    Auth {
        /// Only this provider's
        provider: Option<String>,
        #[command(subcommand)]
        what: Option<AuthVerb>,
    },
    /// Keep values that agents may name as `secret:NAME` and never see; who may have one stands in config.toml
    Secret {
        #[command(subcommand)]
        what: SecretVerb,
    },
    /// Trust what this repository declares to be run; nothing of it runs before
    Trust {
        #[command(subcommand)]
        what: Option<TrustVerb>,
    },
    /// Show the hooks of sessions here: programs that are asked before a call runs, or told what happened
    Hooks {
        #[command(subcommand)]
        what: Option<HooksVerb>,
    },
    /// List who did what; compare the journal with what was signed; copy both to be checked
    Audit {
        #[command(subcommand)]
        what: AuditVerb,
    },
    /// Show what is seen in a program's output: findings, tests, and what an agent is shown
    Parse {
        /// The output; standard input when left out
        file: Option<PathBuf>,
        /// A parser's name, or the command line that printed it
        #[arg(long, value_name = "NAME")]
        tool: Option<String>,
        /// Show at most so many bytes of it (of a log, five eighths of that)
        #[arg(long, value_name = "BYTES", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(..=PARSE_BYTES))]
        limit: Option<usize>,
    },
    /// Say what may run without asking, what asks and what never runs
    Policy {
        #[command(subcommand)]
        what: PolicyVerb,
    },
    /// Show what confines commands here; with a command, run it confined in this directory
    Sandbox(SandboxOptions),
    /// Serve a client of the Model Context Protocol over standard input and output
    Mcp(crate::cmd::mcp::Options),
    /// Be the daemon of this person: run sessions in one long-lived process and answer programs and browsers over HTTP
    Serve(crate::cmd::serve::Options),
    /// Start the daemon in the background, unless it is up
    Up(crate::cmd::serve::up::UpOptions),
    /// End the daemon; the next one goes on with its sessions
    Down,
    /// Tell whether the daemon is up, and how many sessions run, wait for you or stand still
    Status(crate::cmd::serve::status::StatusOptions),
    /// Print an address that lets your browser in to the daemon's console, once
    Console(crate::cmd::serve::console::ConsoleOptions),
    /// Print what is measured of all sessions, as Prometheus reads it
    Metrics,
    /// Print a session and all below it as spans of OpenTelemetry (OTLP in JSON), without any texts
    Trace {
        /// Which session
        session: String,
    },
    /// List what failed: each kind of failure once, with how often, first and last
    Errors(crate::cmd::errors::Options),
    /// Fire the schedules of this repository (.roo/schedules.json) when they are due
    Loop(crate::cmd::looping::Options),
    /// List the schedules of this repository and when they come next
    Schedules {
        /// So many slots of each
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
        next: usize,
    },
    /// Look at everything Kapell needs and say what is wrong
    Doctor,
    /// Remove what is not needed any more: workspaces of ended sessions, stale records, caches
    Gc {
        /// Only show what would go, and how much it is
        #[arg(long)]
        dry_run: bool,
    },
}

/// What `auth` does with keys that Kapell keeps.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthVerb {
    /// Keep a key, read from standard input, once the provider takes it
    Set {
        #[command(flatten)]
        stored: Stored,
        /// Keep it without asking the provider
        #[arg(long)]
        offline: bool,
        /// Keep it in the system's keyring (Secret Service, by secret-tool) instead of the encrypted file
        #[arg(long)]
        keyring: bool,
    },
    /// Show which keys are kept, not the keys
    List,
    /// Forget a key
    Remove {
        #[command(flatten)]
        stored: Stored,
    },
    /// Replace a key by one from standard input, once the provider takes it; until then the old one stays
    Rotate {
        #[command(flatten)]
        stored: Stored,
        /// Replace it without asking the provider
        #[arg(long)]
        offline: bool,
    },
}

/// What `secret` does.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretVerb {
    /// Keep a value, read from standard input
    Set {
        /// Its name: capitals, digits and _
        name: String,
    },
    /// Show which secrets there are, where their values come from and who may have them; not the values
    List,
    /// Forget a value
    Remove {
        /// Its name
        name: String,
    },
}

/// Which key.
#[derive(Debug, Args)]
pub(crate) struct Stored {
    /// The provider
    pub(crate) provider: String,
    /// The profile; without it: KAPELL_PROFILE, or `default`
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

/// What `trust` does besides.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustVerb {
    /// Show each item and whether it is trusted; exits with 8 where one is not
    Show,
    /// Trust none of it any more
    Revoke,
}

/// What `hooks` does.
#[derive(Debug, Subcommand)]
pub(crate) enum HooksVerb {
    /// List them, and whether they are trusted; exits with 8 where one is not
    List,
    /// Add those of a settings file of Claude Code to your own (hooks.json beside config.toml)
    Import {
        /// The file; ~/.claude/settings.json when left out
        file: Option<PathBuf>,
    },
}

/// What `audit` does.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// List acts: permissions, files, processes, network, models, sessions, configuration
    Query(AuditQuery),
    /// Compare the journal, or a copy of it, with what was signed; exits with 1 where they differ
    Verify {
        /// A copy that `kapell audit export` made; needs no store
        #[arg(value_name = "DIR")]
        copy: Option<PathBuf>,
        /// The public key it must be signed with
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
        /// A head of the log that was kept elsewhere: finds also what was taken back since then
        #[arg(long, value_name = "HEAD")]
        since: Option<audit::log::Tip>,
    },
    /// Copy every signed stream into a folder, with the signed log
    Export {
        /// Where to; must not exist yet, or be empty
        dir: PathBuf,
    },
}

/// Which acts are listed.
#[derive(Debug, Default, Args)]
pub(crate) struct AuditQuery {
    /// Only of this session
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// permission, file, process, network, model, session or config
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Option<String>,
    /// Such as shell, approval, open
    #[arg(long, value_name = "NAME")]
    pub(crate) action: Option<String>,
    /// Such as started, ok, failed, denied, refused, expired
    #[arg(long, value_name = "NAME")]
    pub(crate) outcome: Option<String>,
    /// info, notice or warning
    #[arg(long, value_name = "NAME")]
    pub(crate) severity: Option<String>,
    /// Who: user, agent, time ...
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,
    /// Only where this stands in what the act was about
    #[arg(long, value_name = "TEXT")]
    pub(crate) target: Option<String>,
    /// From this day or moment on, UTC, such as 2026-11-20 or 2026-11-20T06:00
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Up to this day or moment
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) limit: usize,
    /// Leave out the first
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) offset: usize,
    /// As comma-separated values
    #[arg(long)]
    pub(crate) csv: bool,
}

/// What `policy` does.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Tell what would become of a command line, and why; exits with 0 (allow), 8 (ask) or 6 (deny)
    Explain {
        /// The command line, quoted
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
        /// Where it would run
        #[arg(long, value_name = "DIR")]
        cwd: Option<PathBuf>,
        /// As if a sandbox kept it to the workspace and to known hosts
        #[arg(long)]
        confined: bool,
    },
    /// Show every rule and the file it stands in
    List,
    /// Print the rules of Claude Code, Gemini CLI or Codex as rules of Kapell
    Import {
        /// Claude's or Gemini's settings.json, Gemini's policy TOML, or Codex' .rules
        file: PathBuf,
    },
}

/// What `sandbox` shows or tries.
#[derive(Debug, clap::Args)]
pub(crate) struct SandboxOptions {
    /// Instead of the configured profile
    #[arg(long, value_parser = crate::config::sandbox::PROFILES)]
    pub(crate) profile: Option<String>,
    /// Instead of the configured network
    #[arg(long, value_parser = crate::config::sandbox::NETWORKS)]
    pub(crate) network: Option<String>,
    /// A program and its arguments, behind `--`
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

/// What `sessions` shows.
#[derive(Debug, Subcommand)]
pub(crate) enum Listing {
    /// Every session, newest first
    List(ListOptions),
    /// One session: state, verdict, what it waits for
    Show {
        /// Which session
        session: String,
    },
    /// Who said what in a session, each call with its result
    Transcript {
        /// Which session
        session: String,
    },
    /// A session with everything below it; without ID: all of them
    Tree {
        /// Which session
        session: Option<String>,
    },
}

/// What `cost` shows.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CostOptions {
    /// Which session; without it: all of them
    pub(crate) session: Option<String>,
    /// Model calls added up: tokens, money, what the provider's cache saved, time
    #[arg(long, value_enum, value_name = "AXIS")]
    pub(crate) by: Option<By>,
    /// What made the provider's cache useless: the first message that changed from call to call
    #[arg(long, conflicts_with = "by", requires = "session")]
    pub(crate) cache: bool,
}

/// Along which axis calls are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Sessions with everything below them
    Session,
    /// Every session by itself
    Child,
    /// Models
    Model,
    /// Providers
    Provider,
    /// Modes
    Mode,
    /// UTC days
    Day,
    /// Tasks: of plans, of schedules, and those that were handed over
    Task,
}

/// How many to list.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ListOptions {
    /// Show all, not only the newest 30
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// The nearest thing to what was mistyped, where clap itself found none near enough.
pub(crate) fn near(error: &clap::Error) -> Option<String> {
    let suggested =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    if suggested.into_iter().any(|kind| error.get(kind).is_some()) {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let command = Cli::command();
    if let Some(typed) = text(ContextKind::InvalidSubcommand) {
        let names = command.get_subcommands().map(clap::Command::get_name);
        return nearest(&typed, names).map(str::to_owned);
    }
    if let (Some(typed), Some(ContextValue::Strings(known))) =
        (text(ContextKind::InvalidValue), error.get(ContextKind::ValidValue))
    {
        return nearest(&typed, known.iter().map(String::as_str)).map(str::to_owned);
    }
    let typed = text(ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
    let all = std::iter::once(&command).chain(command.get_subcommands());
    let longs: Vec<String> = all
        .flat_map(|command| command.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))))
        .collect();
    nearest(&typed, longs.iter().map(String::as_str)).map(str::to_owned)
}

/// Words of a positional argument, put together again.
pub(crate) fn joined(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("kapell").chain(line.split_whitespace()))
    }

    #[test]
    fn clap_agrees_with_itself() {
        Cli::command().debug_assert();
    }

    #[test]
    fn globals_work_before_and_after_the_verb() {
        for line in ["--json -C /x sessions", "sessions --json -C /x", "sessions list --json -C /x"] {
            let cli = parse(line).unwrap();
            assert!(cli.global.json, "{line}");
            assert_eq!(cli.global.directory.as_deref(), Some("/x".as_ref()));
        }
    }

    #[test]
    fn the_familiar_short_forms() {
        assert_eq!(parse("-p - -m builtin/fixer").unwrap().print.as_deref(), Some("-"));
        assert!(parse("-c").unwrap().continue_);
        assert_eq!(parse("-r").unwrap().resume.as_deref(), Some("last"));
        assert_eq!(parse("-r abc").unwrap().resume.as_deref(), Some("abc"));
        assert!(parse("-c -r abc").is_err());
        let Some(Verb::Run { goal, options, .. }) =
            parse("run fix it --max-budget-usd 0.5 --allowedTools read,edit").unwrap().command
        else {
            panic!("run")
        };
        assert_eq!(joined(&goal).as_deref(), Some("fix it"));
        assert_eq!(options.max_budget_usd, Some(500_000_000));
        assert_eq!(options.allowed_tools.unwrap(), ["read", "edit"]);
    }

    #[test]
    fn bad_input_is_usage_and_names_the_nearest() {
        for (line, near) in [
            ("rnu x", "run"),
            ("sesions", "sessions"),
            ("run x --modle y", "--model"),
            ("run x --output-format jsn", "json"),
            ("run x --ask nevr", "never"),
            ("run x --max-budget-usd five", "0.25"),
            ("run x --timeout soon", "30s"),
            ("rewind last one", "valid id"),
            ("-q -v sessions", "verbose"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            let all = format!("{error}{}", super::near(&error).unwrap_or_default());
            assert!(all.contains(near), "{line}: {error}");
        }
    }

    #[test]
    fn amounts_to_add() {
        let Some(Verb::Resume(options)) = parse("resume last --add-usd 1 --add-minutes 2").unwrap().command
        else {
            panic!("resume")
        };
        let more = options.more.amount().unwrap();
        assert_eq!((more.nanos, more.time_ms, more.tokens), (1_000_000_000, 120_000, 0));
        assert_eq!(work::More::default().amount(), None);
    }
}
