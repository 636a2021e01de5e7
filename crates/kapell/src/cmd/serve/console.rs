//! `console`: a way in for the person's browser, and its end for all of them.
//!
//! Prints an address that is good once and for a minute. It is not opened from here: what stands on a command line is
//! seen by others on this machine. Start at [`console`].

use super::client::Client;
use crate::app::App;
use crate::exit::{self, Failure};
use crate::out;
use crate::show::json_page;
use serde_json::json;

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConsoleOptions {
    /// End every login instead: each browser has to come in anew
    #[arg(long)]
    pub(crate) logout: bool,
}

/// Prints the address, or ends all logins; the exit code.
pub(crate) fn console(app: &App, options: &ConsoleOptions) -> Result<u8, Failure> {
    let client = Client::needed(app)?;
    if options.logout {
        client.delete("/v1/logins")?;
        if !app.global.quiet && !app.global.json {
            out::print("every browser is logged out\n");
        }
        return Ok(exit::OK);
    }
    let given = client.post("/v1/login-codes", &json!({}))?;
    if app.global.json {
        out::print(&json_page(&given));
        return Ok(exit::OK);
    }
    out::print(&format!("{}\n", given["url"].as_str().unwrap_or_default()));
    if !app.global.quiet {
        out::complain("open it within a minute, in one browser: it is good once\n");
    }
    Ok(exit::OK)
}
