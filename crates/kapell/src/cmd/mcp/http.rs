//! `mcp --http`: the surface's routes on a listener, and where clients find the token.
//!
//! Knows neither frames nor who is let in (`door`). Start at [`serve`].

use crate::app::App;
use crate::exit::{self, Failure};
use crate::out;
use crate::signals::Signals;
use door::{Door, Limits};
use serde_json::json;

/// Serves until a signal comes; the exit code.
pub(super) async fn serve(
    app: &App,
    server: &mcp::Server,
    address: &str,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let address = door::address(address).map_err(refused)?;
    let door = Door::open(address, &app.home.tokens_dir(), Limits::default()).await.map_err(refused)?;
    tell(app, &door);
    let mut code = exit::OK;
    let stop = async { code = signals.next().await };
    tokio::select! {
        () = door.serve(server.routes(), stop) => {}
        () = server.tell() => {}
    }
    Ok(code)
}

fn refused(fault: contract::Fault) -> Failure {
    Failure::from(fault).into_usage()
}

/// Where it is, for people; for programs with `--json`.
fn tell(app: &App, door: &Door) {
    let at = format!("http://{}", door.address());
    let (url, older) = (format!("{at}{}", mcp::PATH), format!("{at}{}", mcp::EVENTS));
    let file = door.token_file().map(|file| file.display().to_string()).unwrap_or_default();
    if app.global.json {
        let line = json!({"url": url, "sse": older, "token_file": file, "pid": std::process::id()});
        out::print(&format!("{line}\n"));
    } else if !app.global.quiet {
        out::complain(&format!(
            "serving {url}, and {older} for older clients\n\
             each request: `Authorization: Bearer` and what stands in {file}\n\
             claude mcp add --transport http kapell {url} --header \"Authorization: Bearer $(cat '{file}')\"\n"
        ));
    }
}
