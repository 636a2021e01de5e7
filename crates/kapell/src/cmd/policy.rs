//! `policy`: what may run, and why. Explains a command line, lists the rules, turns other tools' rules into ours.
//!
//! Decides nothing itself: the parts come from `command`, the verdicts from `kernel::policy`. Start at [`run`].

mod import;

use crate::app::App;
use crate::args::PolicyVerb;
use crate::exit::{self, Failure};
use crate::show::{clean, json_page};
use crate::{cage, out, policy, repo};
use command::Place;
use contract::confine::Network;
use contract::policy::{Arg, Decision, How, Part};
use kernel::policy::{Layer, Policy, Setting};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Does what was asked; the exit code.
pub(crate) fn run(app: &App, what: PolicyVerb) -> Result<u8, Failure> {
    match what {
        PolicyVerb::Explain { command, cwd, confined } => explain(app, &command.join(" "), cwd, confined),
        PolicyVerb::List => list(app),
        PolicyVerb::Import { file } => import::run(app, &file),
    }
}

struct Surroundings {
    policy: Policy,
    setting: Setting,
    place: Place,
    cwd: String,
}

fn surroundings(app: &App, cwd: Option<PathBuf>, confined: bool) -> Result<Surroundings, Failure> {
    let start = app.cwd.clone();
    // Without a repository the rules of the person alone hold.
    let top = repo::find(&start).ok();
    let config = app.config(top.as_deref())?;
    let root = top.unwrap_or_else(|| start.clone());
    let (held, network) = cage::takes_back(&config.sandbox);
    let caged = if held { network } else { confined.then_some(Network::Off) };
    let confined = confined || held;
    let setting = Setting {
        ask: config.ask.value,
        confined,
        caged,
        reads: kernel::policy::only_reads(&config.mode.value),
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let cwd = cwd.map_or_else(|| start.clone(), |cwd| start.join(cwd));
    let cwd = text(&std::path::absolute(&cwd).unwrap_or(cwd));
    let place = Place { root: text(&root), home: policy::user_home() };
    Ok(Surroundings { policy: policy::of(&app.home, &config), setting, place, cwd })
}

fn explain(app: &App, line: &str, cwd: Option<PathBuf>, confined: bool) -> Result<u8, Failure> {
    let Surroundings { policy, setting, place, cwd } = surroundings(app, cwd, confined)?;
    let confined = setting.confined;
    let parts = command::parts(line, &place, &cwd);
    let ruling = policy.rule(setting, &parts);
    let rows: Vec<Value> = parts
        .iter()
        .map(|part| {
            let decided = policy.part(setting, part);
            json!({
                "part": shown(part),
                "verdict": decided.verdict.name(),
                "origin": decided.origin,
                "why": decided.why,
                "doubts": part.doubts.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "paths": part.touches.iter().map(|touch| json!({
                    "path": touch.path, "how": how(touch.how), "inside": touch.inside.is_some(),
                })).collect::<Vec<_>>(),
                "hosts": part.hosts,
            })
        })
        .collect();
    if app.global.json {
        let page = json!({
            "command": line, "verdict": ruling.verdict.name(), "why": ruling.why, "confined": confined, "parts": rows,
        });
        out::print(&json_page(&page));
    } else {
        out::print(&format!("{}: {}\n", ruling.verdict.name(), clean::line(&ruling.why)));
        for row in &rows {
            let text = |key: &str| clean::line(row[key].as_str().unwrap_or_default());
            out::print(&format!(
                "  {:<5}  {}\n         {} ({})\n",
                text("verdict"),
                text("part"),
                text("why"),
                text("origin")
            ));
        }
    }
    Ok(match ruling.verdict {
        Decision::Allow => exit::OK,
        Decision::Ask => exit::NEEDS_YOU,
        Decision::Deny => exit::DENIED,
    })
}

fn how(how: How) -> &'static str {
    match how {
        How::Read => "read",
        How::Any => "unknown",
        How::Write => "write",
    }
}

/// A part as a person would type it.
fn shown(part: &Part) -> String {
    let quoted = |arg: &Arg| {
        let text = arg.shown();
        let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./=:@%+,".contains(c));
        if plain || arg.known().is_none() {
            text.to_owned()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    if !part.words.is_empty() {
        return part.words.iter().map(quoted).collect::<Vec<_>>().join(" ");
    }
    let touches = part.touches.iter().map(|touch| {
        format!("({} {})", how(touch.how), touch.path.as_deref().unwrap_or("a path known only when it runs"))
    });
    let hosts = part.hosts.iter().map(|host| format!("(speaks to {host})"));
    let all: Vec<String> = touches.chain(hosts).collect();
    if all.is_empty() { "(what is not a program)".into() } else { all.join(" ") }
}

fn list(app: &App) -> Result<u8, Failure> {
    let Surroundings { policy, setting, .. } = surroundings(app, None, false)?;
    let layer = |layer: Layer| if layer == Layer::User { "user" } else { "project" };
    if app.global.json {
        let rules: Vec<Value> = policy
            .rules
            .iter()
            .map(|rule| {
                json!({"verdict": rule.verdict.name(), "rule": rule.text(), "layer": layer(rule.layer), "place": rule.place})
            })
            .collect();
        let ask = format!("{:?}", setting.ask).to_lowercase();
        out::print(&json_page(
            &json!({"rules": rules, "ask": ask, "reads_only": setting.reads, "own": policy.own}),
        ));
        return Ok(exit::OK);
    }
    out::print("Deny goes before ask, ask before allow; the floor goes before all of them.\n");
    for rule in &policy.rules {
        out::print(&format!(
            "  {}  ({}: {})\n",
            clean::line(&rule.text()),
            layer(rule.layer),
            clean::line(&rule.place)
        ));
    }
    if policy.rules.is_empty() {
        out::print("  (no rules; write [[policy.rule]] into config.toml)\n");
    }
    let ask = format!("{:?}", setting.ask).to_lowercase();
    let held = match setting.confined {
        true => "a sandbox confines commands, so what stays inside of it does not ask",
        false => "nothing that could be taken back confines commands, so what does more than read asks",
    };
    out::print(&format!("What no rule is about: ask = {ask}; {held}.\n"));
    Ok(exit::OK)
}
