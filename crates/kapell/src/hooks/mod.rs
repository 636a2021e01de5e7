//! Runs hooks: Claude Code's format on both sides, the sandbox below. The port behind `Work::Hooks`.
//!
//! Decides nothing (`kernel::hooks` does). A project's hook runs only as a person trusted it: its words, and the files of
//! the workspace that they name, which an agent could have changed since. Start at [`Runner`].

pub(crate) mod file;

use crate::home::Home;
use crate::trust::{self, Trust};
use contract::confine::{Confinement, Network, Profile};
use contract::handle::{Handed, Handles, Receiver};
use contract::hooks::{Asked, HookAsk, HookDef, HookSaid, Hooks};
use contract::tool::Stopped;
use contract::{BoxFuture, Cancel, Fault};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of each output of a hook that are read.
const KEEP: usize = 256 * 1024;
/// The variable in which a hook finds the workspace, and how it stands in commands.
const PROJECT_DIR: &str = "CLAUDE_PROJECT_DIR";

/// The port.
pub(crate) struct Runner {
    home: Home,
    confined: Confinement,
    trust: Trust,
    user_home: String,
    handles: Arc<dyn Handles>,
}

impl Runner {
    pub(crate) fn new(home: &Home, confined: &Confinement, trust: Trust, handles: Arc<dyn Handles>) -> Self {
        let (home, confined) = (home.clone(), confined.clone());
        Self { home, confined, trust, user_home: crate::policy::user_home(), handles }
    }

    /// The hook's own variables, with what stands for a secret put in; and what was handed out.
    async fn variables(&self, hook: &HookDef) -> Result<(Vec<(String, String)>, Vec<Handed>), Fault> {
        let (mut env, mut handed) = (Vec::new(), Vec::new());
        for (name, text) in &hook.env {
            let Some(secret) = ::secrets::handle(text) else {
                env.push((name.clone(), text.clone()));
                continue;
            };
            let to = Receiver::Hook;
            env.push((name.clone(), self.handles.value(secret, &to).await?));
            handed.push(Handed { name: secret.to_owned(), to: format!("{to} for {}", hook.event.name()) });
        }
        Ok((env, handed))
    }

    /// A project's hook is what somebody trusted, as the workspace has it now.
    fn trusted(&self, hook: &HookDef, root: &Path) -> Result<(), String> {
        let item = trust::hook_item(hook, &self.trust.repo(root), root);
        match self.trust.unknown(vec![item]) {
            Ok(unknown) if unknown.is_empty() => Ok(()),
            Ok(_) => Err(format!("{}: nobody trusts it, or it changed since: kapell trust", hook.from)),
            Err(fault) => Err(fault.to_string()),
        }
    }

    fn command(&self, hook: &HookDef, ask: &HookAsk, input: &Value) -> sandbox::Command {
        let bash = "/bin/bash";
        let shell = if Path::new(bash).exists() { bash } else { "/bin/sh" };
        let run = if hook.project { hook.run.clone() } else { at_home(&hook.run, &self.user_home) };
        let mut text = input.to_string().into_bytes();
        text.push(b'\n');
        let mut command = sandbox::Command::argv([shell, "-c", &run], &ask.root)
            .envs(ask.env.iter().map(|(name, value)| (name, value)))
            .env(PROJECT_DIR, &ask.root)
            .env("KAPELL_KEY", &ask.key)
            .stdin(text)
            .timeout_ms(hook.timeout_ms)
            .keep(KEEP)
            .apart()
            .record(self.home.run_dir().join(ask.session.to_string()));
        if hook.confined {
            command = command.confine(self.confinement(hook, ask, &run));
        }
        command
    }

    /// What the session's commands see, and the files that the person's own hook names.
    fn confinement(&self, hook: &HookDef, ask: &HookAsk, run: &str) -> Confinement {
        let dir = self.home.sessions_dir().join(ask.session.to_string());
        let mut confined = self.confined.clone();
        if confined.profile == Profile::Full {
            confined.profile = Profile::WorkspaceWrite;
        }
        if kernel::policy::only_reads(&ask.spec.mode) {
            confined.profile = Profile::ReadOnly;
        }
        // Hosts are let through by a proxy that belongs to a call; a hook is none.
        if confined.network == Network::Hosts {
            confined.network = Network::Off;
        }
        confined.workspace.clone_from(&ask.root);
        confined.scratch = Some(dir.join("scratch"));
        confined.read.extend(workspace::borrowed(&dir));
        if !hook.project {
            confined.read.extend(named(run, &self.user_home));
        }
        confined
    }

    async fn run(
        &self,
        hook: &HookDef,
        ask: &HookAsk,
        call: Option<&(String, Value)>,
        cancel: Cancel,
    ) -> HookSaid {
        let (env, handed) = match self.variables(hook).await {
            Ok(variables) => variables,
            Err(fault) => return HookSaid { failed: fault.to_string(), ..HookSaid::default() },
        };
        let reads = kernel::policy::only_reads(&ask.spec.mode);
        let command = self.command(hook, ask, &::hooks::input(ask, call, reads));
        let command = env.into_iter().fold(command, |command, (name, value)| command.given(name, value));
        let ended = match sandbox::run(command, cancel, &mut |_| ()).await {
            Ok(ended) => ended,
            Err(error) => return HookSaid { failed: error.to_string(), handed, ..HookSaid::default() },
        };
        let (ms, exit) = (ended.duration_ms, ended.exit.filter(|_| ended.stopped.is_none()));
        if ended.stopped == Some(Stopped::TimedOut) {
            let failed = format!("it took longer than {} s", hook.timeout_ms.div_ceil(1000));
            return HookSaid { failed, ms, handed, ..HookSaid::default() };
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(ended.output.into_bytes()), text(ended.stderr.into_bytes()));
        HookSaid { handed, ..::hooks::said(hook.event, &::hooks::Ran { exit, stdout, stderr, ms }) }
    }

    async fn asked(&self, hook: &HookDef, ask: &HookAsk, cancel: Cancel) -> HookSaid {
        if hook.project
            && let Err(failed) = self.trusted(hook, &ask.root)
        {
            return HookSaid { failed, ..HookSaid::default() };
        }
        let (Some(call), Some(args)) = (&ask.asked.call, &ask.args) else {
            return self.run(hook, ask, None, cancel).await;
        };
        let mut told = ::hooks::inputs(&call.tool, args, &ask.root);
        told.retain(|(name, input)| ::hooks::only(&hook.only, name, input));
        let mut all = HookSaid::default();
        let one = told.len() == 1;
        for input in &told {
            let said = self.run(hook, ask, Some(input), cancel.clone()).await;
            all = together(all, said);
            if all.say == Some(contract::policy::Decision::Deny)
                || !all.failed.is_empty()
                || cancel.is_cancelled()
            {
                break;
            }
        }
        all.args = match (all.args.take(), one) {
            (Some(input), true) => match ::hooks::back(&call.tool, &input, args, &ask.root) {
                Some(changed) => Some(changed).filter(|changed| changed != args),
                None => return HookSaid { failed: unchangeable(&call.tool), ..all },
            },
            (Some(_), false) => return HookSaid { failed: unchangeable(&call.tool), ..all },
            (None, _) => None,
        };
        all
    }
}

/// What a hook wants cannot be done, and what it did not want is not done instead.
fn unchangeable(tool: &str) -> String {
    format!("it changes the input of `{tool}`, which touches several files and cannot be changed by a hook")
}

/// Two answers about parts of one call.
fn together(one: HookSaid, other: HookSaid) -> HookSaid {
    let first = |one: String, other: String| if one.is_empty() { other } else { one };
    let context = match (one.context.is_empty(), other.context.is_empty()) {
        (false, false) => format!("{}\n{}", one.context, other.context),
        _ => first(one.context, other.context),
    };
    let handed = if one.handed.is_empty() { other.handed } else { one.handed };
    let stricter = other.say > one.say;
    HookSaid {
        reason: if stricter { other.reason } else { first(one.reason, other.reason) },
        say: one.say.max(other.say),
        halt: one.halt || other.halt,
        context,
        args: other.args.or(one.args),
        failed: first(one.failed, other.failed),
        exit: other.exit,
        ms: one.ms + other.ms,
        handed,
    }
}

impl Hooks for Runner {
    fn fits(&self, hook: &HookDef, asked: &Asked, tool: &str, args: Option<&Value>) -> bool {
        ::hooks::fits(hook, &asked.about, tool, args)
    }

    fn ask<'a>(&'a self, hook: &'a HookDef, ask: &'a HookAsk, cancel: Cancel) -> BoxFuture<'a, HookSaid> {
        Box::pin(self.asked(hook, ask, cancel))
    }
}

/// A confined command has another home: what means the person's is written out.
fn at_home(run: &str, home: &str) -> String {
    let home = home.trim_end_matches('/');
    let run = run.replace("${HOME}/", &format!("{home}/")).replace("$HOME/", &format!("{home}/"));
    let mut out = String::with_capacity(run.len());
    let mut before = ' ';
    let mut rest = run.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '~' && rest.peek() == Some(&'/') && (before.is_whitespace() || "=;&|(".contains(before)) {
            out.push_str(home);
        } else {
            out.push(c);
        }
        before = c;
    }
    out
}

/// Places that a command names, to be read by it: a script with what lies beside it, unless that is a whole home.
fn named(run: &str, home: &str) -> Vec<PathBuf> {
    let ends = |c: char| c.is_whitespace() || "'\"`;|&<>()=".contains(c);
    let words = run.split(ends).filter(|word| word.starts_with('/') && word.len() > 1).map(Path::new);
    let place = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        let beside = path.parent().filter(|dir| *dir != Path::new(home) && dir.components().count() > 2);
        match (meta.is_file(), beside) {
            (true, Some(dir)) => Some(dir.to_owned()),
            (true, None) => Some(path.to_owned()),
            (false, _) => None,
        }
    };
    words.filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::policy::Decision;

    #[test]
    fn the_persons_home_is_written_out() {
        assert_eq!(at_home("~/.claude/x.sh a~/b", "/home/ada"), "/home/ada/.claude/x.sh a~/b");
        assert_eq!(at_home("\"$HOME/x\" ${HOME}/y", "/home/ada/"), "\"/home/ada/x\" /home/ada/y");
        let dir = tempfile::tempdir().unwrap();
        let (hooks, home) = (dir.path().join("h/hooks"), dir.path().join("h"));
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::write(hooks.join("x.sh"), "").unwrap();
        std::fs::write(home.join("y.sh"), "").unwrap();
        let run = format!("'{}' {} /nowhere", hooks.join("x.sh").display(), home.join("y.sh").display());
        assert_eq!(named(&run, &home.to_string_lossy()), [hooks, home.join("y.sh")]);
    }

    #[test]
    fn of_two_answers_the_stricter_one_holds() {
        let said = |say, reason: &str| HookSaid { say, reason: reason.into(), ms: 2, ..HookSaid::default() };
        let both = together(said(Some(Decision::Allow), "a"), said(Some(Decision::Deny), "b"));
        assert_eq!((both.say, both.reason.as_str(), both.ms), (Some(Decision::Deny), "b", 4));
        let both = together(said(Some(Decision::Ask), "a"), said(None, ""));
        assert_eq!((both.say, both.reason.as_str()), (Some(Decision::Ask), "a"));
    }
}
