//! `hooks`: shows who is asked and told in this directory's sessions, and takes over what was declared for Claude Code.
//!
//! Runs none of them. Start at [`run`].

use crate::app::App;
use crate::args::HooksVerb;
use crate::exit::{self, Failure};
use crate::hooks::file;
use crate::show::{clean, json_page};
use crate::trust::hook_item;
use crate::{out, repo};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Does what was asked; the exit code.
pub(crate) fn run(app: &App, what: Option<HooksVerb>) -> Result<u8, Failure> {
    match what {
        None | Some(HooksVerb::List) => list(app),
        Some(HooksVerb::Import { file }) => import(app, file),
    }
}

fn list(app: &App) -> Result<u8, Failure> {
    let top = repo::find(&app.cwd).map_or_else(|_| app.cwd.clone(), PathBuf::from);
    let found = file::all(&app.home, &top, app.config(None)?.sandbox.profile)?;
    let (trust, mut rows, mut code) = (app.trust(), Vec::new(), exit::OK);
    for hook in &found.hooks {
        let unknown =
            hook.project && !trust.unknown(vec![hook_item(hook, &trust.repo(&top), &top)])?.is_empty();
        let state = match (hook.project, unknown) {
            (false, _) => "own",
            (true, true) => "not trusted",
            (true, false) => "trusted",
        };
        if unknown {
            code = exit::NEEDS_YOU;
        }
        rows.push((hook, state));
    }
    if app.global.json {
        let hooks: Vec<Value> =
            rows.iter().map(|(hook, state)| json!({"hook": hook, "state": state})).collect();
        out::print(&json_page(&json!({"hooks": hooks, "notes": found.notes})));
        return Ok(code);
    }
    if rows.is_empty() {
        out::print("no hooks are declared: kapell hooks import takes over those of Claude Code\n");
    }
    for (hook, state) in rows {
        let matcher = if hook.matcher.is_empty() { "*" } else { &hook.matcher };
        let confined = if hook.confined { "confined" } else { "not confined" };
        let (run, from) = (clean::line(&hook.run), clean::line(&hook.from));
        out::print(&format!(
            "{:<18} {:<16} {state:<12} {confined:<13} `{run}` ({from})\n",
            hook.event.name(),
            clean::line(matcher)
        ));
    }
    found.notes.iter().for_each(|note| out::print(&format!("note: {}\n", clean::line(note))));
    Ok(code)
}

/// Adds the hooks of a settings file to the person's own.
fn import(app: &App, from: Option<PathBuf>) -> Result<u8, Failure> {
    let usual = Path::new(&crate::policy::user_home()).join(".claude/settings.json");
    let from = from.unwrap_or(usual);
    let theirs = read(&from)?.ok_or_else(|| {
        let what = format!("there is no {}", from.display());
        Failure::usage("no-hooks", what, "name the settings file: kapell hooks import FILE")
    })?;
    let to = file::own_file(&app.home);
    let mut own = read(&to)?.unwrap_or_else(|| json!({}));
    let mut added = 0;
    for (event, groups) in theirs["hooks"].as_object().into_iter().flatten() {
        for group in groups.as_array().into_iter().flatten() {
            let list = own["hooks"][event].as_array().cloned().unwrap_or_default();
            if !list.contains(group) {
                own["hooks"][event] = Value::Array(list.into_iter().chain([group.clone()]).collect());
                added += 1;
            }
        }
    }
    let wrong = |error: std::io::Error| {
        let what = format!("{} cannot be written: {error}", to.display());
        Failure::usage("hooks-unwritable", what, "make its directory writable")
    };
    if added > 0 {
        std::fs::create_dir_all(&app.home.config).map_err(wrong)?;
        let beside = to.with_extension("json.new");
        std::fs::write(&beside, json_page(&own)).map_err(wrong)?;
        // Nothing is put in place that could not be read again.
        if let Err(failure) = file::check(&beside) {
            let _gone = std::fs::remove_file(&beside);
            return Err(failure);
        }
        std::fs::rename(&beside, &to).map_err(wrong)?;
    }
    out::print(&format!("{added} group(s) of hooks added to {}\n", to.display()));
    list(app)
}

fn read(path: &Path) -> Result<Option<Value>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
            let what = format!("{} is no JSON: {error}", path.display());
            Failure::usage("bad-hooks", what, "correct it, or name another file")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::usage(
            "hooks-unreadable",
            format!("{}: {error}", path.display()),
            "make it readable",
        )),
    }
}
