//! `trust`: shows what a repository brings along to be run, and takes a person's word for it, item by item.
//!
//! Runs nothing. Start at [`run`].

use crate::anchors::Anchors;
use crate::app::App;
use crate::args::TrustVerb;
use crate::exit::{self, Failure};
use crate::show::{clean, json_page};
use crate::trust::{self, Trust};
use crate::{cage, out, repo};
use audit::log::Act;
use contract::checks::Checks;
use serde_json::{Value, json};

/// Does what was asked; the exit code.
pub(crate) async fn run(app: &App, what: Option<TrustVerb>) -> Result<u8, Failure> {
    let top = repo::find(&app.cwd)?;
    let trust = Trust::new(&app.home, false);
    // As it is committed: that is what sessions start from.
    let git = app.workspace(&[], None);
    let suite = git.find(top.clone(), "HEAD".into()).await?;
    let listing = git.listing(&top, "HEAD").await?;
    let confines = cage::confines(&app.config(Some(&top))?.sandbox);
    let mut all = trust::all(&suite, &trust.repo(&top), &top, &listing, confines).await?;
    all.extend(super::looping::by_themselves(app, &top)?);
    all.extend(super::mcp::declared(app, &top, &trust)?);
    let unknown = trust.unknown(all.clone())?;
    let (word, act) = match what {
        None => ("trusted", Some(("trust", true))),
        Some(TrustVerb::Revoke) => ("not trusted any more", Some(("trust-revoke", false))),
        Some(TrustVerb::Show) => ("", None),
    };
    if let Some((name, trusted)) = act {
        trust.set(&all, &trust.repo(&top), trusted)?;
        let anchors = Anchors::new(&app.home);
        for item in &all {
            let target = format!("{}: {} ({})", top.display(), item.name, item.hash.short());
            anchors.append(app.now(), Act::Config { what: name.into(), target })?;
        }
    }
    let rows: Vec<(String, &str)> = all
        .iter()
        .map(|item| {
            let state = if unknown.contains(item) { "not trusted" } else { "trusted" };
            let state = if act.is_some() { word } else { state };
            (format!("{}: `{}`", item.name, clean::line(&item.run)), state)
        })
        .collect();
    if app.global.json {
        let rows: Vec<Value> = all
            .iter()
            .zip(&rows)
            .map(|(item, (_, state))| json!({"name": item.name, "run": item.run, "hash": item.hash, "state": state}))
            .collect();
        out::print(&json_page(&json!({"repo": top, "items": rows})));
    } else if rows.is_empty() {
        out::print(
            "this repository declares no command, schedule, mode or server of its own: nothing to trust\n",
        );
    } else {
        rows.iter().for_each(|(item, state)| out::print(&format!("{state:<12} {item}\n")));
    }
    Ok(if act.is_none() && !unknown.is_empty() { exit::NEEDS_YOU } else { exit::OK })
}
