//! Files that declare servers: the person's own TOML and a repository's `.mcp.json`, read and changed.
//! Knows texts, no disk and no trust. Start at [`Declared`].
//!
//! What is added goes to the end of a file and what is removed is taken out of it; everything else in it stays as it is.

use crate::declared::{Server, Way, misnamed};
use contract::confine::{Network, Profile};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a repository declares servers.
pub const PROJECT: &str = ".mcp.json";
/// Of all files together.
const MOST: usize = 64;
/// Longest time that can be set, seconds.
const SECONDS: u64 = 3_600;

/// What files declare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// The servers, the person's own first.
    pub servers: Vec<Server>,
    /// What could not be used, and why.
    pub notes: Vec<String>,
}

impl Declared {
    /// Both files, as far as there are any. The first of a name stays.
    pub fn read(own: Option<(&Path, &str)>, project: Option<(&Path, &str)>) -> Result<Self, String> {
        let mut all = Self::default();
        if let Some((path, text)) = own {
            all.servers = from_toml(path, text)?;
        }
        if let Some((path, text)) = project {
            match from_json(path, text) {
                Ok((servers, notes)) => {
                    all.notes.extend(notes);
                    servers.into_iter().for_each(|server| all.push(server));
                }
                Err(why) => all.notes.push(why),
            }
        }
        if all.servers.len() > MOST {
            all.notes.push(format!("more than {MOST} servers: the rest is left out"));
            all.servers.truncate(MOST);
        }
        Ok(all)
    }

    fn push(&mut self, server: Server) {
        if self.servers.iter().any(|known| known.name.eq_ignore_ascii_case(&server.name)) {
            self.notes.push(format!("`{}` of {PROJECT} is left out: you have one of that name", server.name));
        } else {
            self.servers.push(server);
        }
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    mcp_servers: BTreeMap<String, Table>,
}

/// A table as people of Codex write it, with a few keys more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    env_vars: Vec<String>,
    cwd: Option<String>,
    url: Option<String>,
    #[serde(default)]
    http_headers: BTreeMap<String, String>,
    bearer_token_env_var: Option<String>,
    enabled: Option<bool>,
    startup_timeout_sec: Option<u64>,
    tool_timeout_sec: Option<u64>,
    #[serde(default)]
    enabled_tools: Vec<String>,
    #[serde(default)]
    disabled_tools: Vec<String>,
    #[serde(default)]
    roots: bool,
    profile: Option<Profile>,
    network: Option<Network>,
    #[serde(default)]
    read: Vec<PathBuf>,
}

fn from_toml(path: &Path, text: &str) -> Result<Vec<Server>, String> {
    let wrong = |name: &str, why: &str| format!("{}: [mcp_servers.{name}]: {why}", path.display());
    let file: File = toml::from_str(text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut servers = Vec::new();
    for (name, table) in file.mcp_servers {
        if let Some(why) = misnamed(&name) {
            return Err(wrong(&contract::text::bounded(&name, 64), &why));
        }
        let way = match (table.command, table.url) {
            (Some(command), None) => {
                let Table { args, env, env_vars: pass, cwd, .. } = table;
                Way::Program { command, args, env, pass, cwd }
            }
            (None, Some(url)) => {
                Way::Url { url, headers: table.http_headers, token: table.bearer_token_env_var }
            }
            _ => return Err(wrong(&name, "either `command` or `url` is needed")),
        };
        let seconds = |set: Option<u64>, usual: u64| match set {
            None => Ok(usual),
            Some(secs @ 1..=SECONDS) => Ok(secs * 1000),
            Some(_) => Err(wrong(&name, &format!("times are from 1 to {SECONDS} seconds"))),
        };
        let usual = Server::new(&name, way, path.to_owned());
        servers.push(Server {
            enabled: table.enabled.unwrap_or(true),
            start_ms: seconds(table.startup_timeout_sec, usual.start_ms)?,
            call_ms: seconds(table.tool_timeout_sec, usual.call_ms)?,
            only: table.enabled_tools,
            without: table.disabled_tools,
            roots: table.roots,
            profile: table.profile,
            network: table.network,
            read: table.read,
            ..usual
        });
    }
    Ok(servers)
}

/// The servers of a repository, and what of the file cannot be used.
fn from_json(path: &Path, text: &str) -> Result<(Vec<Server>, Vec<String>), String> {
    let file: Value =
        serde_json::from_str(text).map_err(|error| format!("{} is no JSON: {error}", path.display()))?;
    let (mut servers, mut notes) = (Vec::new(), Vec::new());
    for (name, item) in file["mcpServers"].as_object().into_iter().flatten() {
        let read = match misnamed(name) {
            Some(why) => Err(why),
            None => way(item),
        };
        match read {
            Ok(way) => servers.push(Server { project: true, ..Server::new(name, way, path.to_owned()) }),
            Err(why) => {
                notes.push(format!("{}: `{}`: {why}", path.display(), contract::text::bounded(name, 64)))
            }
        }
    }
    Ok((servers, notes))
}

/// How a server of a repository is reached.
fn way(item: &Value) -> Result<Way, String> {
    let text = |key: &str| item[key].as_str().map(str::to_owned);
    let texts = |key: &str| -> Result<BTreeMap<String, String>, String> {
        let Some(map) = item.get(key).filter(|it| !it.is_null()) else { return Ok(BTreeMap::new()) };
        let map = map.as_object().ok_or_else(|| format!("`{key}` is no object"))?;
        let text = |(name, value): (&String, &Value)| {
            let value = value.as_str().ok_or_else(|| format!("`{key}.{name}` is no text"))?;
            Ok((name.clone(), value.to_owned()))
        };
        map.iter().map(text).collect()
    };
    match (text("type").as_deref(), text("command"), text("url")) {
        (None | Some("stdio"), Some(command), None) => {
            let args = item.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
            let args: Option<Vec<String>> = args.iter().map(|arg| arg.as_str().map(str::to_owned)).collect();
            let args = args.ok_or("`args` holds something else than texts")?;
            Ok(Way::Program { command, args, env: texts("env")?, pass: Vec::new(), cwd: text("cwd") })
        }
        (None | Some("http" | "streamable-http"), None, Some(url)) => {
            Ok(Way::Url { url, headers: texts("headers")?, token: None })
        }
        (Some(kind), _, _) => {
            Err(format!("`{kind}` is no transport Kapell speaks to others: stdio and http are"))
        }
        _ => Err("either `command` or `url` is needed".to_owned()),
    }
}

/// The person's file with this server at its end.
pub fn added(text: &str, server: &Server) -> Result<String, String> {
    if let Some(why) = misnamed(&server.name) {
        return Err(why);
    }
    if Declared::read(Some((&server.from, text)), None)?.get(&server.name).is_some() {
        return Err(format!("there is a server `{}` already", server.name));
    }
    let mut table = toml::Table::new();
    let list =
        |texts: &[String]| toml::Value::Array(texts.iter().cloned().map(toml::Value::String).collect());
    let map = |texts: &BTreeMap<String, String>| {
        toml::Value::Table(texts.iter().map(|(k, v)| (k.clone(), toml::Value::String(v.clone()))).collect())
    };
    match &server.way {
        Way::Program { command, args, env, pass, cwd } => {
            table.insert("command".into(), command.clone().into());
            table.insert("args".into(), list(args));
            for (key, held) in [
                ("env", (!env.is_empty()).then(|| map(env))),
                ("env_vars", (!pass.is_empty()).then(|| list(pass))),
            ] {
                table.extend(held.map(|held| (key.to_owned(), held)));
            }
            table.extend(cwd.clone().map(|cwd| ("cwd".to_owned(), cwd.into())));
        }
        Way::Url { url, headers, token } => {
            table.insert("url".into(), url.clone().into());
            table.extend((!headers.is_empty()).then(|| ("http_headers".to_owned(), map(headers))));
            table.extend(token.clone().map(|token| ("bearer_token_env_var".to_owned(), token.into())));
        }
    }
    if let Some(network) = server.network {
        table.insert("network".into(), network.name().into());
    }
    let mut lines = format!("[mcp_servers.{}]\n", server.name);
    for (key, value) in table {
        lines.push_str(&format!("{key} = {value}\n"));
    }
    let gap = if text.is_empty() || text.ends_with("\n\n") {
        ""
    } else if text.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    let after = format!("{text}{gap}{lines}");
    // Nothing is written that could not be read again.
    match Declared::read(Some((&server.from, &after)), None)?.get(&server.name) {
        Some(again) if again.way == server.way => Ok(after),
        _ => Err("the file holds this table in a way that cannot be added to: edit it by hand".to_owned()),
    }
}

/// The person's file without this server: its table goes, with the tables below it.
pub fn removed(path: &Path, text: &str, name: &str) -> Result<String, String> {
    let before = Declared::read(Some((path, text)), None)?;
    if before.get(name).is_none() {
        return Err(format!("there is no server `{name}` in {}", path.display()));
    }
    let own = |line: &str| {
        let header = line.trim().strip_prefix('[')?.split(']').next()?.replace([' ', '"', '\''], "");
        let own = format!("mcp_servers.{name}");
        Some(header == own || header.starts_with(&format!("{own}.")))
    };
    // Words above the next table are about that one.
    let (mut out, mut above, mut inside) = (String::with_capacity(text.len()), String::new(), false);
    for line in text.split_inclusive('\n') {
        let was = inside;
        inside = own(line).unwrap_or(was);
        if !inside {
            out.push_str(&std::mem::take(&mut above));
            out.push_str(line);
        } else if was && (line.trim().is_empty() || line.trim().starts_with('#')) {
            above.push_str(line);
        } else {
            above.clear();
        }
    }
    let after = Declared::read(Some((path, &out)), None).ok();
    let rest: Vec<&Server> = before.servers.iter().filter(|server| server.name != name).collect();
    match after {
        Some(after) if after.servers.iter().collect::<Vec<_>>() == rest => Ok(out),
        _ => Err(format!(
            "`{name}` is written in a way that cannot be taken out: edit {} by hand",
            path.display()
        )),
    }
}

/// A repository's file with this server.
pub fn project_added(text: &str, server: &Server) -> Result<String, String> {
    let mut file: Value = match text.trim() {
        "" => json!({}),
        text => serde_json::from_str(text).map_err(|error| format!("{PROJECT} is no JSON: {error}"))?,
    };
    let item = match &server.way {
        Way::Program { command, args, env, .. } => json!({"command": command, "args": args, "env": env}),
        Way::Url { url, headers, .. } => json!({"type": "http", "url": url, "headers": headers}),
    };
    let servers = file.as_object_mut().ok_or(format!("{PROJECT} holds no object"))?.entry("mcpServers");
    let servers = servers.or_insert_with(|| Value::Object(Map::new()));
    let servers = servers.as_object_mut().ok_or(format!("`mcpServers` of {PROJECT} is no object"))?;
    if servers.contains_key(&server.name) {
        return Err(format!("there is a server `{}` already", server.name));
    }
    servers.insert(server.name.clone(), item);
    Ok(format!("{file:#}\n"))
}

/// A repository's file without this server.
pub fn project_removed(text: &str, name: &str) -> Result<String, String> {
    let mut file: Value =
        serde_json::from_str(text).map_err(|error| format!("{PROJECT} is no JSON: {error}"))?;
    let gone = file["mcpServers"].as_object_mut().and_then(|servers| servers.remove(name));
    gone.ok_or_else(|| format!("there is no server `{name}` in {PROJECT}"))?;
    Ok(format!("{file:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "# mine\n[mcp_servers.files]\ncommand = \"npx\"\nargs = [\"-y\", \"s\"]\ntool_timeout_sec = 5\n\n\
                       [mcp_servers.files.env]\nA = \"1\"\n\n# web\n[mcp_servers.web]\nurl = \"https://x.example/mcp\"\n";

    fn own(text: &str) -> Result<Vec<Server>, String> {
        Declared::read(Some((Path::new("/c/mcp.toml"), text)), None).map(|all| all.servers)
    }

    #[test]
    fn both_files_are_read_and_the_persons_own_go_before() {
        let json = r#"{"mcpServers": {"web": {"command": "evil"}, "x": {"command": "node", "args": ["a.js"], "disabled": true},
            "old": {"type": "sse", "url": "http://x"}, "a__b": {"command": "c"}, "odd": {"command": "c", "args": [1]}}}"#;
        let all =
            Declared::read(Some((Path::new("/c/mcp.toml"), OWN)), Some((Path::new("/r/.mcp.json"), json)))
                .unwrap();
        let names: Vec<(&str, bool)> = all.servers.iter().map(|it| (it.name.as_str(), it.project)).collect();
        assert_eq!(names, [("files", false), ("web", false), ("x", true)]);
        assert_eq!(all.servers[0].call_ms, 5_000);
        assert_eq!(all.notes.len(), 4, "{:?}", all.notes);
        for bad in [
            "[mcp_servers.x]\n",
            "[mcp_servers.x]\ncommand = \"a\"\nurl = \"b\"\n",
            "[mcp_servers.x]\ncomand = \"a\"\n",
            "[mcp_servers.x]\ncommand = \"a\"\ntool_timeout_sec = 0\n",
            "[other]\n",
        ] {
            assert!(own(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_added_can_be_taken_out_and_the_rest_stays_to_the_byte() {
        let way = Way::Program {
            command: "uvx".into(),
            args: vec!["a \"b\"".into(), "c\\d".into()],
            env: [("K".to_owned(), "v\nw".to_owned())].into(),
            pass: vec!["PATH2".into()],
            cwd: None,
        };
        let server = Server::new("new", way, "/c/mcp.toml".into());
        for before in ["", OWN, "# only a word"] {
            let after = added(before, &server).unwrap();
            assert!(after.starts_with(before) && own(&after).unwrap().iter().any(|it| it.way == server.way));
            assert!(added(&after, &server).unwrap_err().contains("already"));
            assert_eq!(removed(Path::new("/c"), &after, "new").unwrap().trim_end(), before.trim_end());
        }
        let rest = removed(Path::new("/c"), OWN, "files").unwrap();
        assert_eq!(rest, "# mine\n\n# web\n[mcp_servers.web]\nurl = \"https://x.example/mcp\"\n");
        assert!(removed(Path::new("/c"), OWN, "none").is_err());
        let inline = "mcp_servers.a = { command = \"b\" }\n";
        assert!(removed(Path::new("/c"), inline, "a").unwrap_err().contains("by hand"));
    }

    #[test]
    fn a_repositorys_file_keeps_what_is_not_ours() {
        let server = Server::new(
            "web",
            Way::Url { url: "http://x".into(), headers: BTreeMap::new(), token: None },
            PathBuf::new(),
        );
        let text = project_added("{\"other\": 1}", &server).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["other"], &value["mcpServers"]["web"]["url"]), (&json!(1), &json!("http://x")));
        assert!(project_added(&text, &server).is_err());
        let value: Value = serde_json::from_str(&project_removed(&text, "web").unwrap()).unwrap();
        assert_eq!(value, json!({"other": 1, "mcpServers": {}}));
    }
}
