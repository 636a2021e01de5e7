//! `run --detach`: the same session, opened by the daemon, so that no terminal has to stay.
//!
//! Translates the options of `run` into an order, nothing else. Start at [`detach`].

use super::client::Client;
use crate::app::App;
use crate::args::{AskWord, RunOptions};
use crate::exit::{self, Failure};
use crate::pick::short;
use crate::show::json_page;
use crate::{out, repo, words};
use contract::SessionId;
use contract::money::NANOS_PER_USD;
use serde_json::{Value, json};

/// Hands the goal over; the exit code.
pub(crate) fn detach(app: &App, goal: Option<String>, options: RunOptions) -> Result<u8, Failure> {
    if options.timeout.is_some() || options.response_cache || options.output != Default::default() {
        let hint = "leave --timeout, --response-cache and the options of the output out, or --detach";
        return Err(Failure::usage("detached", "these options are for who stays", hint));
    }
    let goal = words::read(goal, "goal", std::io::stdin())?;
    let order = order(goal, repo::find_text(&app.cwd)?, options);
    let row = Client::needed(app)?.post("/v1/sessions", &order)?;
    if app.global.json {
        out::print(&json_page(&row));
        return Ok(exit::OK);
    }
    let id = row["session_id"].as_str().and_then(|id| id.parse::<SessionId>().ok());
    let id = id.map(short).unwrap_or_default();
    out::print(&format!("session {id} runs in the daemon\n"));
    if !app.global.quiet {
        out::complain(&format!(
            "kapell events {id} --follow, kapell sessions show {id}, kapell cancel {id}\n"
        ));
    }
    Ok(exit::OK)
}

fn order(goal: String, repo: String, options: RunOptions) -> Value {
    let ask = options.ask.map(|ask| match ask {
        AskWord::Never => "never",
        AskWord::External => "external",
        AskWord::Writes => "writes",
    });
    let budget = options.max_budget_usd.map(exact);
    json!({
        "goal": goal, "repo": repo, "model": options.model, "fallback_model": options.fallback_model,
        "max_budget_usd": budget, "max_tokens": options.max_tokens, "max_turns": options.max_turns,
        "max_steps": options.max_steps, "ask": ask, "no_land": options.no_land, "base": options.base,
        "branch": options.branch, "check": options.check, "allowed_tools": options.allowed_tools,
    })
}

/// Dollars to the last nano-dollar.
fn exact(nanos: u64) -> String {
    format!("{}.{:09}", nanos / NANOS_PER_USD, nanos % NANOS_PER_USD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_handed_over_as_it_is() {
        for nanos in [0, 1, 1_500_000_001, u64::MAX] {
            assert_eq!(crate::quantity::nanos(&exact(nanos)), Ok(nanos));
        }
    }
}
