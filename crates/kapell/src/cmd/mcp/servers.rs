//! `mcp list|add|remove|tools|trust`: the servers of others whose tools agents get, and what a person takes in of them.
//!
//! Knows their files' places, not their words (`client`). Start at [`run`].

use crate::anchors::Anchors;
use crate::app::App;
use crate::exit::{self, Failure};
use crate::show::{clean, json_page};
use crate::trust::{Item, Trust, served};
use crate::{out, repo, servers};
use audit::log::Act;
use client::{Look, PROJECT, Pinned, Server, Servers, Way};
use contract::Fault;
use contract::confine::Network;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is done with servers of others.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Verb {
    /// List the servers whose tools agents get here, without starting any; exits with 8 where one waits for your trust
    #[command(visible_alias = "get")]
    List {
        /// This one
        name: Option<String>,
    },
    /// Add a server: a program with its arguments, or an address
    Add(Add),
    /// Remove a server
    Remove {
        /// Which
        name: String,
        /// From your own file, or from the repository's
        #[arg(short, long, value_enum, default_value = "user")]
        scope: Scope,
    },
    /// Ask a server what it can do, and compare it with what was taken in of it
    Tools {
        /// Which
        name: String,
    },
    /// Trust a server of this repository, and take in what it says that it can do now
    Trust {
        /// Which
        name: String,
    },
}

/// A server to be added.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Add {
    /// What it is called; its tools are called mcp__NAME__TOOL
    name: String,
    /// The program and its arguments (behind `--` where they begin with `-`), or an address
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND|URL")]
    what: Vec<String>,
    /// How it is reached; an address is http where nothing is said
    #[arg(short, long, value_enum)]
    transport: Option<Transport>,
    /// Your own file (mcp.toml), or the repository's (.mcp.json) for everybody who works on it
    #[arg(short, long, value_enum, default_value = "user")]
    scope: Scope,
    /// A variable it gets; without a value, yours of that name
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// A header of each request
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// What of the network its program reaches; else what commands reach
    #[arg(long, value_enum)]
    network: Option<Reach>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    Stdio,
    Http,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scope {
    #[value(alias = "local")]
    User,
    Project,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Reach {
    Off,
    Hosts,
    On,
}

/// Where it is looked from.
struct Here {
    servers: Arc<Servers>,
    top: PathBuf,
}

impl Here {
    fn find(&self, name: &str) -> Result<Server, Failure> {
        let declared = self.servers.declared(&self.top)?;
        declared.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = declared.servers.iter().map(|server| server.name.as_str()).collect();
            let hint = format!("{}kapell mcp list shows them", contract::text::suggestion(name, names));
            Failure::usage("no-server", format!("there is no server `{}`", clean::line(name)), hint)
        })
    }
}

/// Does what was asked; the exit code.
pub(super) async fn run(app: &App, verb: &Verb) -> Result<u8, Failure> {
    let top = repo::find(&app.cwd).unwrap_or_else(|_| app.cwd.clone());
    let servers = app.servers(&app.config(Some(&top))?, true);
    let here = Here { servers, top };
    match verb {
        Verb::List { name } => list(app, &here, name.as_deref()),
        Verb::Add(add) => added(app, &here, add),
        Verb::Remove { name, scope } => removed(app, &here, name, *scope),
        Verb::Tools { name } => {
            let server = here.find(name)?;
            let pinned = here.servers.ask(&server, &here.top).await?;
            Ok(shown(app, &server, &pinned))
        }
        Verb::Trust { name } => trusted(app, &here, name).await,
    }
}

/// Items of this repository that a person trusts one by one.
pub(crate) fn declared(app: &App, top: &Path, trust: &Trust) -> Result<Vec<Item>, Failure> {
    let declared = app.servers(&app.config(Some(top))?, false).declared(top)?;
    let project = declared.servers.iter().filter(|server| server.project);
    Ok(project.map(|server| served(server, &trust.repo(top), top)).collect())
}

fn list(app: &App, here: &Here, name: Option<&str>) -> Result<u8, Failure> {
    if let Some(name) = name {
        here.find(name)?;
    }
    let (mut all, notes) = here.servers.look(&here.top)?;
    all.retain(|look| name.is_none_or(|name| look.server.name == name));
    let waits = all.iter().any(|look| look.server.enabled && state(look).1);
    if app.global.json {
        let rows: Vec<Value> = all.iter().map(row).collect();
        out::print(&json_page(&json!({"servers": rows, "notes": notes})));
    } else {
        if all.is_empty() {
            out::print("no servers are declared: kapell mcp add NAME -- COMMAND adds one\n");
        }
        for look in &all {
            let (name, run) = (&look.server.name, clean::line(&look.server.run()));
            out::print(&format!("{name:<16} {:<28} {run} ({})\n", state(look).0, look.server.from.display()));
        }
        notes.iter().for_each(|note| out::print(&format!("note: {}\n", clean::line(note))));
    }
    Ok(if waits { exit::NEEDS_YOU } else { exit::OK })
}

/// How it stands, and whether it waits for a person.
fn state(look: &Look) -> (String, bool) {
    match &look.pinned {
        _ if !look.server.enabled => ("off".into(), false),
        _ if !look.trusted => ("not trusted".into(), true),
        None => ("not asked yet".into(), false),
        Some(pinned) if !pinned.differs.is_empty() => {
            (format!("{} tools changed", pinned.differs.len()), true)
        }
        Some(pinned) => (format!("{} tools", pinned.listed.tools.len()), false),
    }
}

fn row(look: &Look) -> Value {
    let server = &look.server;
    let reached = match server.way {
        Way::Program { .. } => "stdio",
        Way::Url { .. } => "http",
    };
    json!({
        "name": server.name,
        "transport": reached,
        "run": server.run(),
        "file": server.from,
        "scope": if server.project { "project" } else { "user" },
        "enabled": server.enabled,
        "trusted": look.trusted,
        "state": state(look).0,
        "tools": look.pinned.as_ref().map(tools),
    })
}

fn tools(pinned: &Pinned) -> Vec<Value> {
    let how =
        |name: &str| pinned.differs.iter().find(|(other, _)| other == name).map(|(_, how)| how.as_str());
    let taken = pinned.listed.tools.iter().map(|tool| {
        json!({
            "name": tool.name, "description": tool.description, "schema": tool.schema, "says_it_only_reads": tool.reads,
            "digest": tool.digest.to_string(), "state": how(&tool.name).unwrap_or("taken in"),
        })
    });
    let new = pinned.differs.iter().filter(|(_, how)| how == "new");
    taken.chain(new.map(|(name, how)| json!({"name": name, "state": how}))).collect()
}

/// The tools of one server; the exit code.
fn shown(app: &App, server: &Server, pinned: &Pinned) -> u8 {
    if app.global.json {
        let page = json!({"server": server.name, "tools": tools(pinned), "refused": pinned.listed.refused});
        out::print(&json_page(&page));
    } else {
        for tool in tools(pinned) {
            let text = |key: &str| clean::line(tool[key].as_str().unwrap_or_default());
            let first: String = text("description").chars().take(100).collect();
            out::print(&format!("{:<10} {:<28} {first}\n", text("state"), text("name")));
        }
        for (name, why) in &pinned.listed.refused {
            out::print(&format!("{:<10} {:<28} {}\n", "refused", clean::line(name), clean::line(why)));
        }
    }
    if pinned.differs.is_empty() {
        return exit::OK;
    }
    if !app.global.json && !app.global.quiet {
        let name = &server.name;
        out::complain(&format!(
            "what differs is not offered to agents; if you agree: kapell mcp trust {name}\n"
        ));
    }
    exit::NEEDS_YOU
}

async fn trusted(app: &App, here: &Here, name: &str) -> Result<u8, Failure> {
    let server = here.find(name)?;
    if server.project {
        let trust = app.trust();
        let repo = trust.repo(&here.top);
        trust.set(&[served(&server, &repo, &here.top)], &repo, true)?;
    }
    told(app, "mcp-trust", &server)?;
    let pinned = here.servers.take_in(&server, &here.top).await?;
    Ok(shown(app, &server, &pinned))
}

fn removed(app: &App, here: &Here, name: &str, scope: Scope) -> Result<u8, Failure> {
    let server = here.find(name)?;
    let (path, project) = file(app, here, scope);
    replaced(&path, |text| match project {
        true => client::project_removed(text, name),
        false => client::removed(&path, text, name),
    })?;
    if server.project == project {
        here.servers.forget(&server)?;
    }
    told(app, "mcp-remove", &server)?;
    if !app.global.quiet {
        out::complain(&format!("{name} is removed from {}\n", path.display()));
    }
    Ok(exit::OK)
}

fn file(app: &App, here: &Here, scope: Scope) -> (PathBuf, bool) {
    match scope {
        Scope::User => (servers::own_file(&app.home), false),
        Scope::Project => (here.top.join(PROJECT), true),
    }
}

fn added(app: &App, here: &Here, add: &Add) -> Result<u8, Failure> {
    let (path, project) = file(app, here, add.scope);
    let network = add.network.map(|reach| match reach {
        Reach::Off => Network::Off,
        Reach::Hosts => Network::Hosts,
        Reach::On => Network::On,
    });
    let server = Server { project, network, ..Server::new(&add.name, way(add)?, path.clone()) };
    if project && network.is_some() {
        let hint = "add it to your own file, or leave --network out";
        return Err(Failure::usage(
            "server-network",
            "a repository's file does not widen what a server reaches",
            hint,
        ));
    }
    replaced(&path, |text| match project {
        true => client::project_added(text, &server),
        false => client::added(text, &server),
    })?;
    if project {
        // Who typed it agrees to it.
        let server = here.find(&add.name)?;
        let trust = app.trust();
        let repo = trust.repo(&here.top);
        trust.set(&[served(&server, &repo, &here.top)], &repo, true)?;
    }
    told(app, "mcp-add", &server)?;
    if !app.global.quiet {
        let name = &add.name;
        out::complain(&format!(
            "{name} is added to {}; what it can do: kapell mcp tools {name}\n",
            path.display()
        ));
    }
    Ok(exit::OK)
}

fn way(add: &Add) -> Result<Way, Failure> {
    let first = add.what.first().cloned().unwrap_or_default();
    let address = first.starts_with("http://") || first.starts_with("https://");
    let wrong = |what: &str| Failure::usage("bad-server", what, "kapell mcp add --help shows how");
    let pairs = |texts: &[String], between: char| -> Vec<(String, Option<String>)> {
        let cut = |text: &String| match text.split_once(between) {
            Some((name, value)) => (name.trim().to_owned(), Some(value.trim_start_matches(' ').to_owned())),
            None => (text.trim().to_owned(), None),
        };
        texts.iter().map(cut).collect()
    };
    let http = add.transport.map_or(address, |transport| transport == Transport::Http);
    if http {
        if add.what.len() != 1 || !address || !add.env.is_empty() {
            return Err(wrong("over http a server is one address, and gets no variables"));
        }
        let headers: Option<BTreeMap<String, String>> =
            pairs(&add.header, ':').into_iter().map(|(name, value)| Some((name, value?))).collect();
        let headers = headers.ok_or_else(|| wrong("a header is NAME: VALUE"))?;
        return Ok(Way::Url { url: first, headers, token: None });
    }
    if !add.header.is_empty() {
        return Err(wrong("headers are for servers at an address"));
    }
    let (set, pass): (Vec<_>, Vec<_>) =
        pairs(&add.env, '=').into_iter().partition(|(_, value)| value.is_some());
    Ok(Way::Program {
        command: first,
        args: add.what[1..].to_vec(),
        env: set.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect(),
        pass: pass.into_iter().map(|(name, _)| name).collect(),
        cwd: None,
    })
}

/// Puts it in the log of what was configured.
fn told(app: &App, what: &str, server: &Server) -> Result<(), Fault> {
    let target = format!("{}: {}", server.name, contract::text::sentence(&server.run()));
    Anchors::new(&app.home).append(app.now(), Act::Config { what: what.into(), target })
}

/// Writes a file anew, whole, one at a time; who may read it stays.
fn replaced(path: &Path, change: impl FnOnce(&str) -> Result<String, String>) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| {
        let what = format!("{} could not be changed: {error}", path.display());
        Failure::usage("servers-unwritable", what, "make it writable")
    };
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir).map_err(wrong)?;
    let lock = std::fs::File::open(dir).and_then(|dir| dir.lock().map(|()| dir)).map_err(wrong)?;
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = match std::fs::read_to_string(&real) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(error)),
    };
    let hint = "kapell mcp list shows what there is";
    let after = change(&before).map_err(|why| Failure::usage("bad-server", why, hint))?;
    let beside = real.with_extension(format!("new.{}", std::process::id()));
    let mode = if path.ends_with(PROJECT) { 0o644 } else { 0o600 };
    let written = std::fs::File::options().create(true).truncate(true).write(true).mode(mode).open(&beside);
    let written = written.and_then(|mut file| {
        file.write_all(after.as_bytes())?;
        if let Ok(meta) = std::fs::metadata(&real) {
            file.set_permissions(meta.permissions())?;
        }
        file.sync_all()?;
        std::fs::rename(&beside, &real)
    });
    drop(lock);
    written.map_err(wrong)
}
