//! The secrets of files that are there to hold them: `.env`, `.netrc`, credentials of tools, private keys, configuration
//! of git. What a file is goes by its name.
//!
//! Reads no file: texts come in as values. Start at [`file`].

use crate::known::{Secret, unbase64};
use crate::name::is_secret;
use crate::worth;
use serde_json::Value;

/// Longest file that is looked at.
pub const FILE_BYTES: u64 = 256 * 1024;

/// Files of a person's home directory that hold secrets.
pub const HOME: [&str; 40] = [
    ".env",
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".gitconfig",
    ".config/git/config",
    ".config/git/credentials",
    ".aws/credentials",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".docker/config.json",
    ".config/gh/hosts.yml",
    ".config/hub",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".kube/config",
    ".vault-token",
    ".terraformrc",
    ".config/rclone/rclone.conf",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".gem/credentials",
    ".bundle/config",
    ".cargo/config.toml",
    ".terraform.d/credentials.tfrc.json",
    ".local/share/uv/credentials/credentials.toml",
    ".config/pypoetry/auth.toml",
    ".config/containers/auth.json",
    ".config/gcloud/application_default_credentials.json",
    ".config/op/config",
    ".azure/msal_token_cache.json",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".gemini/oauth_creds.json",
    ".local/share/opencode/auth.json",
    ".config/github-copilot/apps.json",
];
/// Directories there whose files hold secrets, each with a name of its own.
pub const HOME_DIRS: [&str; 3] = [".ssh", ".aws/sso/cache", ".aws/cli/cache"];
/// Files of a repository, beside every `.env`.
pub const PROJECT: [&str; 5] = [".git/config", ".npmrc", ".netrc", ".pypirc", ".envrc"];
/// Names of values that are user and password, or a private key, in base64.
const ENCODED: [&str; 5] = ["auth", "_auth", "extraheader", "extraHeader", "client-key-data"];
/// What a private key's file says.
const PRIVATE: &str = "PRIVATE KEY-----";
/// Ends of names of files that show which variables there are, not their values.
const SHOWN: [&str; 5] = [".example", ".sample", ".template", ".dist", ".defaults"];

/// Is it a file of variables, by its name?
pub fn is_env(name: &str) -> bool {
    let named = name == ".env" || name == ".envrc" || name.starts_with(".env.") || name.ends_with(".env");
    named && !SHOWN.iter().any(|end| name.ends_with(end))
}

/// The secrets in a file of this name.
pub fn file(name: &str, text: &str) -> Vec<Secret> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let json = serde_json::from_str(text).ok().filter(|_| text.trim_start().starts_with(['{', '[']));
    let mut found = Vec::new();
    match json {
        Some(value) => members("", &value, &mut found),
        None => found.extend(text.lines().flat_map(|line| values(line, is_env(name)))),
    }
    match name {
        ".vault-token" => found.extend(Secret::given("vault-token", text)),
        ".netrc" | "_netrc" => found.extend(netrc(text)),
        ".pgpass" => {
            found.extend(text.lines().filter_map(|line| Secret::given("pgpass", line.rsplit(':').next()?)))
        }
        _ if text.contains(PRIVATE) => found.extend(Secret::given("private-key", text)),
        _ => {}
    }
    found
}

/// A variable of the environment.
pub fn variable(name: &str, value: &str) -> Option<Secret> {
    password(value)
        .filter(|_| value.contains("://"))
        .and_then(|it| Secret::new(name, it))
        .or_else(|| if is_secret(name) { Secret::new(name, value) } else { None })
}

/// The strings of a JSON value by their names.
fn members(name: &str, value: &Value, out: &mut Vec<Secret>) {
    match value {
        Value::String(text) => out.extend(address(text).chain(named(name, text, false))),
        Value::Array(values) => values.iter().for_each(|value| members(name, value, out)),
        Value::Object(map) => map.iter().for_each(|(name, value)| members(name, value, out)),
        _ => {}
    }
}

/// What a line gives a name to: `NAME=value`, `name: value`, `"name": "value"`, and addresses with a password.
fn values(line: &str, env: bool) -> Vec<Secret> {
    let line = line.trim().trim_start_matches("export ").trim_start_matches("set ");
    if line.starts_with(['#', ';']) {
        return Vec::new();
    }
    let pair = xml(line).or_else(|| pair(line));
    let value = pair.map(|(name, value)| named(name, unquoted(value.trim().trim_end_matches(',')), env));
    address(line).chain(value.into_iter().flatten()).collect()
}

fn address(text: &str) -> impl Iterator<Item = Secret> {
    password(text).and_then(|it| Secret::new("url-password", it)).into_iter()
}

/// Name and value of a line, parted by the first `=` or `: ` that stands in no quotes: values may hold both.
fn pair(line: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        let next = line[at + c.len_utf8()..].chars().next();
        let parts = match (quote, c) {
            (Some(open), _) => {
                quote = if c == open { None } else { quote };
                false
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                false
            }
            (None, '=') => true,
            (None, ':') => next.is_none_or(|next| next.is_whitespace() || matches!(next, '"' | '\'')),
            _ => false,
        };
        if parts {
            return Some((&line[..at], &line[at + 1..]));
        }
    }
    line.split_once('=').or_else(|| line.split_once(':'))
}

/// The secrets of a value with this name.
fn named(name: &str, value: &str, env: bool) -> Vec<Secret> {
    let name = name.trim().trim_matches(['"', '\'', ' ']);
    let name = name.rsplit(['/', ':', ' ']).next().unwrap_or(name);
    let mut found = Vec::new();
    // `Authorization: Basic dXNlcg==` of a header that git sends.
    let value = value.rsplit_once(": Basic ").or(value.rsplit_once(": Bearer ")).map_or(value, |(_, it)| it);
    let encoded = ENCODED.contains(&name);
    if encoded && let Some(plain) = unbase64(value) {
        let secret =
            if plain.contains(PRIVATE) { &plain } else { plain.split_once(':').map_or("", |(_, it)| it) };
        found.extend(Secret::new(name, secret));
    }
    let telling = encoded || is_secret(name) || matches!(name, "pass" | "identitytoken");
    if telling || (env && worth::strong(value)) {
        found.extend(Secret::new(name, value));
    }
    found
}

/// `<password>value</password>`.
fn xml(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix('<')?.split_once('>')?;
    Some((name, rest.split_once('<')?.0))
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.split(quote).next().unwrap_or(rest);
        }
    }
    // Unquoted values end at a comment.
    value.split(" #").next().unwrap_or(value).trim()
}

/// The password of an address.
fn password(text: &str) -> Option<&str> {
    let rest = &text[text.find("://")? + 3..];
    let rest = rest.split(['/', ' ', '"', '\'', '>']).next()?;
    Some(rest.rsplit_once('@')?.0.split_once(':')?.1)
}

fn netrc(text: &str) -> Vec<Secret> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .windows(2)
        .filter(|two| two[0] == "password")
        .filter_map(|two| Secret::given("netrc", two[1]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Redactor;

    #[test]
    fn files_give_their_secrets() {
        const CANARY: &str = "canary-Q7x81Lm9Vt4";
        for (name, text) in [
            (".env", "A=1\nexport STRIPE_SECRET='canary-Q7x81Lm9Vt4' # live\n"),
            (".env.local", "DATABASE_URL=postgres://app:canary-Q7x81Lm9Vt4@db/x\n"),
            ("/home/a/.netrc", "machine h login a\n  password canary-Q7x81Lm9Vt4\n"),
            (".git-credentials", "https://ada:canary-Q7x81Lm9Vt4@github.com\n"),
            (".git/config", "[http]\n\textraHeader = Authorization: Basic canary-Q7x81Lm9Vt4\n"),
            (".aws/credentials", "aws_secret_access_key = canary-Q7x81Lm9Vt4\n"),
            (".npmrc", "//npm.example.org/:_authToken=canary-Q7x81Lm9Vt4\n"),
            (".docker/config.json", "{\"auths\":\n {\"h\":\n {\n\"auth\": \"canary-Q7x81Lm9Vt4\"}}}"),
            (".config/gh/hosts.yml", "github.com:\n  oauth_token: canary-Q7x81Lm9Vt4\n"),
            (".pgpass", "h:5432:db:ada:canary-Q7x81Lm9Vt4\n"),
            (".m2/settings.xml", "  <password>canary-Q7x81Lm9Vt4</password>\n"),
            (".vault-token", "canary-Q7x81Lm9Vt4\n"),
        ] {
            let redactor = Redactor::new(file(name, text));
            let shown = redactor.text(&format!("echo {CANARY}!")).into_owned();
            assert!(shown.contains("[secret removed"), "{name}: {shown}");
        }
        assert!(
            file(".env", "PORT=3000\nDEBUG=true\n# API_KEY=canary-Q7x81Lm9Vt4\nNAME=web-frontend\n")
                .is_empty()
        );
        assert!(
            is_env(".env.production") && is_env("prod.env") && !is_env(".env.example") && !is_env("env.rs")
        );
    }

    #[test]
    fn variables_give_theirs() {
        assert!(variable("GITHUB_TOKEN", "abcdef-123456").is_some());
        assert!(variable("HTTPS_PROXY", "http://u:pass-word-9@proxy:1").is_some());
        for (name, value) in [("PATH", "/usr/bin:/bin"), ("TOKEN", "none"), ("EDITOR", "vi-improved-9")] {
            assert!(variable(name, value).is_none(), "{name}");
        }
    }
}
