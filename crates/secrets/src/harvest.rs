//! The secrets of files that are there to hold them: `.env`, `.netrc`, credentials of tools, private keys, configuration
//! of git. What a file is goes by its name.
//!
//! Reads no file: texts come in as values. Start at [`file`].

use crate::known::Secret;
use crate::name::is_secret;
use crate::worth;

/// Longest file that is looked at.
pub const FILE_BYTES: u64 = 256 * 1024;

/// Files of a person's home directory that hold secrets.
pub const HOME: [&str; 24] = [
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
];
/// Private keys there.
pub const HOME_KEYS: [&str; 4] = [".ssh/id_rsa", ".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_dsa"];
/// Files of a repository, beside every `.env`.
pub const PROJECT: [&str; 5] = [".git/config", ".npmrc", ".netrc", ".pypirc", ".envrc"];
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
    let mut found: Vec<Secret> = text.lines().flat_map(|line| values(line, is_env(name))).collect();
    match name {
        ".vault-token" => found.extend(Secret::new("vault-token", text)),
        ".netrc" | "_netrc" => found.extend(netrc(text)),
        ".pgpass" => {
            found.extend(text.lines().filter_map(|line| Secret::new("pgpass", line.rsplit(':').next()?)))
        }
        _ if name.starts_with("id_") => found.extend(Secret::new("private-key", text)),
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

/// What a line gives a name to: `NAME=value`, `name: value`, `"name": "value"`, and addresses with a password.
fn values(line: &str, env: bool) -> Vec<Secret> {
    let line = line.trim().trim_start_matches("export ").trim_start_matches("set ");
    if line.starts_with(['#', ';']) {
        return Vec::new();
    }
    let url = password(line).and_then(|it| Secret::new("url-password", it));
    let pair = line.split_once('=').or_else(|| line.split_once(':')).or_else(|| xml(line));
    let value = pair.and_then(|(name, value)| {
        let name = name.trim().trim_matches(['"', '\'', ' ']);
        let name = name.rsplit(['/', ':', ' ']).next().unwrap_or(name);
        // `Authorization: Basic dXNlcg==` of a header that git sends.
        let value =
            value.rsplit_once(": Basic ").or(value.rsplit_once(": Bearer ")).map_or(value, |(_, it)| it);
        let value = unquoted(value.trim().trim_end_matches(','));
        let telling = is_secret(name)
            || matches!(name, "auth" | "pass" | "identitytoken" | "extraheader" | "extraHeader");
        (telling || (env && worth::strong(value))).then(|| Secret::new(name, value)).flatten()
    });
    url.into_iter().chain(value).collect()
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
        .filter_map(|two| Secret::new("netrc", two[1]))
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
