//! `backup`: a copy of the whole store and its signed log, made while sessions run, and checked.
//!
//! Start at [`run`].

use super::work::leave;
use crate::anchors::Anchors;
use crate::app::{self, App};
use crate::exit::{self, Failure};
use crate::out;
use crate::show::{clean, json_page};
use serde_json::json;
use std::path::Path;

/// Copies the store into `dir`, which must not exist or be empty; the exit code.
pub(crate) async fn run(app: &App, dir: &Path) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let taken = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if taken {
        leave(wired).await;
        let what = format!("{} is not empty", dir.display());
        return Err(Failure::usage("backup-target", what, "name a directory that does not exist yet"));
    }
    // The log first: what it signed is in a store that is copied later.
    let done =
        Anchors::new(&app.home).copy(dir).and_then(|()| wired.store.backup(dir).map_err(|e| e.fault()));
    leave(wired).await;
    done?;
    let place = dir.display().to_string();
    if app.global.json {
        out::print(&json_page(&json!({"backup": place})));
    } else {
        out::print(&format!(
            "The store is copied to {0}, and the copy is sound.\nnext: to use it, put its files where `kapell doctor` shows the data root\n",
            clean::line(&place)
        ));
    }
    Ok(exit::OK)
}
