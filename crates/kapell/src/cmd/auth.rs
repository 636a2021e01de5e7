//! `auth`: checks keys with the cheapest call there is, a list of models, and says what to do.
//!
//! Keys come from the environment, a command or the file of kept ones, and are shown nowhere. Start at [`run`].

use super::models::chosen;
use crate::app::App;
use crate::exit::{self, Failure};
use crate::finding::{Finding, Level, worst};
use crate::out;
use crate::show::json_page;
use contract::Kind;
use providers::remote::Line;
use serde_json::json;
use std::sync::Arc;

/// Checks the keys; exit code 1 when one is refused, or when the one that was named is missing.
pub(crate) async fn run(app: &App, only: Option<&str>) -> Result<u8, Failure> {
    let models = app.models(&app.config(None)?)?;
    let lines = chosen(&models, only)?;
    let mut checking = tokio::task::JoinSet::new();
    for (at, line) in lines.into_values().enumerate() {
        let named = only.is_some();
        checking.spawn(async move { (at, check(&line, named).await) });
    }
    let mut checked = checking.join_all().await;
    checked.sort_by_key(|(at, _)| *at);
    let findings: Vec<Finding> = checked.into_iter().map(|(_, finding)| finding).collect();
    let code = if worst(&findings) == Level::Bad { exit::FAILURE } else { exit::OK };
    if app.global.json {
        let findings: Vec<_> = findings.iter().map(Finding::json).collect();
        out::print(&json_page(&json!({"exit_code": code, "findings": findings})));
    } else {
        let paint = app.term.paint();
        out::print(&findings.iter().map(|finding| finding.text(paint)).collect::<String>());
    }
    Ok(code)
}

pub(super) async fn check(line: &Arc<Line>, named: bool) -> Finding {
    let provider = &line.provider;
    let name = &provider.name;
    if let Err(fault) = line.usable() {
        // Nobody needs every provider.
        let level = if named { Finding::bad } else { Finding::note };
        return level("key", fault.what, fault.hint);
    }
    match line.check().await {
        Ok(models) => {
            let key = match (&provider.key_command, &provider.key) {
                (Some(command), _) => format!("the key that `{}` prints is good", command.program()),
                (None, Some(_)) if crate::app::variable(&provider.key_env).is_none() => {
                    "the key that is kept (kapell auth list) is good".to_owned()
                }
                (None, Some(_)) => format!("the key in {} is good", provider.key_env),
                (None, None) => "no key is needed".to_owned(),
            };
            Finding::ok("key", format!("{name}: {key}; {} models at {}", models.len(), provider.base_url))
        }
        // A server that is not there says nothing about a key.
        Err(fault) if !named && provider.key.is_none() => Finding::note("key", fault.what, fault.hint),
        Err(fault) if fault.kind != Kind::UserFixable => {
            let what = format!("{}; whether the key of {name} is good is not known", fault.what);
            if named { Finding::bad("key", what, fault.hint) } else { Finding::note("key", what, fault.hint) }
        }
        Err(fault) => Finding::bad("key", fault.what, fault.hint),
    }
}
