//! Who may have the value of a secret that a call names: those alone whom a person wrote down.
//!
//! Knows no value. Whoever gets one can do with it what it can do, so nothing but what is written down comes near it: no
//! second program of the same line, no file its output would go to. Start at [`may`].

use super::rule;
use contract::handle::Receiver;
use contract::policy::{Doubt, How, Part};

/// The port of an address that names none.
const HTTPS: u16 = 443;

/// One that may have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Commands that begin with these words; a `*` in a word stands for anything.
    Command(Vec<String>),
    /// A host, `*.NAME` = every one below it; without a port that of HTTPS.
    Host(String, Option<u16>),
    /// A server of the Model Context Protocol; `*` = any that a person configured.
    Server(String),
    /// Hooks of the person's own.
    Hooks,
}

impl Grant {
    /// As people write it: `host:NAME[:PORT]`, `mcp:NAME`, `hooks`, and anything else is the beginning of a command.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let Some(first) = words.first() else { return Err("it names nobody".into()) };
        if text == "hooks" {
            return Ok(Self::Hooks);
        }
        let plain = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '/');
        if let Some(name) = text.strip_prefix("mcp:") {
            return match plain(name) {
                true => Ok(Self::Server(name.to_owned())),
                false => Err(format!("`{text}` names no server: write mcp:NAME")),
            };
        }
        if let Some(host) = text.strip_prefix("host:") {
            let wrong = || format!("`{text}` names no host: write host:NAME or host:NAME:PORT");
            let (name, port) = match host.rsplit_once(':') {
                Some((name, port)) if !name.ends_with(':') && !name.is_empty() => {
                    (name, Some(port.parse().map_err(|_| wrong())?))
                }
                _ => (host, None),
            };
            let below = name.strip_prefix("*.").unwrap_or(name);
            return match plain(below) && !below.contains('*') {
                true => Ok(Self::Host(name.to_ascii_lowercase(), port)),
                false => Err(wrong()),
            };
        }
        match first.contains('*') {
            true => Err(format!("`{text}` would be any program: begin with its name")),
            false => Ok(Self::Command(words)),
        }
    }

    fn host(&self, name: &str, to: u16, tls: bool) -> bool {
        let Self::Host(pattern, port) = self else { return false };
        // In the clear only where a person named the very port.
        let there = port.map_or(tls && to == HTTPS, |port| port == to);
        there && rule::host(pattern, &name.to_ascii_lowercase())
    }

    fn begins(&self, part: &Part) -> bool {
        matches!(self, Self::Command(words) if rule::begins(words, false, part))
    }
}

/// May it have the value?
pub fn may(grants: &[Grant], to: &Receiver<'_>) -> bool {
    match to {
        Receiver::Command(parts) => command(grants, parts),
        Receiver::Host { name, port, tls } => grants.iter().any(|grant| grant.host(name, *port, *tls)),
        Receiver::Server(name) => {
            grants.iter().any(|grant| matches!(grant, Grant::Server(it) if it == name || it == "*"))
        }
        Receiver::Hook => grants.contains(&Grant::Hooks),
    }
}

/// Every program of the line would get it: each has to be one of those, or only begin what is looked at by itself.
fn command(grants: &[Grant], parts: &[Part]) -> bool {
    let granted = |part: &Part| grants.iter().any(|grant| grant.begins(part));
    let known = |part: &Part| part.doubts.iter().all(|doubt| *doubt == Doubt::Host);
    // Where hosts are written down as well, a command that names some names those.
    let hosts = grants.iter().any(|grant| matches!(grant, Grant::Host(..)));
    let listed = |host: &String| {
        let host = host.to_ascii_lowercase();
        let of = |grant: &Grant| matches!(grant, Grant::Host(pattern, _) if rule::host(pattern, &host));
        grants.iter().any(of)
    };
    let speaks = |part: &Part| !hosts || part.hosts.iter().all(listed) && !part.doubts.contains(&Doubt::Host);
    // What is written to a file could be read from there in any form.
    let kept = |part: &Part| {
        part.touches.iter().any(|it| it.how == How::Write && it.path.as_deref() != Some("/dev/null"))
    };
    let passes = |part: &Part| match part.words.first() {
        None => !kept(part),
        Some(_) if part.wraps => !kept(part),
        Some(_) => granted(part),
    };
    parts.iter().any(granted) && parts.iter().all(|part| known(part) && speaks(part) && passes(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::policy::{Arg, Touch};

    fn grants(list: &[&str]) -> Vec<Grant> {
        list.iter().map(|text| Grant::parse(text).unwrap()).collect()
    }

    fn part(line: &str) -> Part {
        let words = line.split_whitespace();
        let word = |word: &str| match word.starts_with('$') {
            true => Arg::One(word.into()),
            false => Arg::Known(word.into()),
        };
        Part { words: words.map(word).collect(), ..Part::default() }
    }

    fn to_file(path: &str) -> Part {
        let touch = Touch { path: Some(path.into()), inside: None, how: How::Write };
        Part { touches: vec![touch], ..Part::default() }
    }

    #[test]
    fn every_program_of_a_line_is_one_that_is_written_down() {
        let grants = grants(&["gh", "npm publish"]);
        let wraps = |line: &str| Part { wraps: true, ..part(line) };
        let doubts = |line: &str, doubt: Doubt| Part { doubts: vec![doubt], ..part(line) };
        for (parts, has) in [
            (vec![part("gh pr list")], true),
            (vec![part("/usr/bin/gh")], true),
            (vec![part("npm publish --dry-run"), part("gh x")], true),
            (vec![wraps("timeout 5"), part("gh x")], true),
            (vec![part("gh x"), to_file("/dev/null")], true),
            (vec![doubts("gh x", Doubt::Host)], true),
            (vec![], false),
            (vec![wraps("env")], false),
            (vec![part("npm install")], false),
            (vec![part("npm")], false),
            (vec![part("./gh")], false),
            (vec![part("/tmp/gh")], false),
            (vec![part("$GH pr")], false),
            (vec![part("npm $X publish")], false),
            (vec![part("gh auth token"), part("rev")], false),
            (vec![part("gh auth token"), to_file("/w/t")], false),
            (vec![doubts("gh x", Doubt::Code)], false),
            (vec![doubts("gh x", Doubt::Variable("LD_PRELOAD".into()))], false),
            (vec![part("gh x"), doubts("", Doubt::Unread("deep".into()))], false),
        ] {
            assert_eq!(may(&grants, &Receiver::Command(&parts)), has, "{parts:?}");
        }
        assert!(!may(&[], &Receiver::Command(&[part("gh")])));
        let both = super::tests::grants(&["curl", "host:api.example"]);
        for (host, has) in [("api.example", true), ("API.example", true), ("evil.example", false)] {
            let parts = [Part { hosts: vec![host.into()], ..part("curl x") }];
            assert_eq!(may(&both, &Receiver::Command(&parts)), has, "{host}");
        }
        assert!(!may(&both, &Receiver::Command(&[doubts("curl $X", Doubt::Host)])));
        assert!(!may(&grants, &Receiver::Hook) && !may(&grants, &Receiver::Server("gh")));
    }

    #[test]
    fn hosts_get_it_over_tls_or_at_the_port_that_is_named() {
        let grants = grants(&["host:api.example", "host:*.b.example", "host:localhost:8080"]);
        for (name, port, tls, has) in [
            ("api.example", 443, true, true),
            ("API.Example", 443, true, true),
            ("x.b.example", 443, true, true),
            ("localhost", 8080, false, true),
            ("api.example", 443, false, false),
            ("api.example", 80, false, false),
            ("api.example", 8443, true, false),
            ("b.example", 443, true, false),
            ("evil.example", 443, true, false),
            ("localhost", 443, true, false),
        ] {
            assert_eq!(may(&grants, &Receiver::Host { name, port, tls }), has, "{name}:{port} {tls}");
        }
        assert!(!may(&grants, &Receiver::Command(&[part("api.example")])));
    }

    #[test]
    fn servers_and_hooks_are_named() {
        let some = grants(&["mcp:files", "hooks"]);
        assert!(may(&some, &Receiver::Server("files")) && !may(&some, &Receiver::Server("other")));
        assert!(may(&some, &Receiver::Hook));
        assert!(may(&grants(&["mcp:*"]), &Receiver::Server("other")));
        for wrong in ["", " ", "*", "* x", "g*", "host:", "host:a:b", "host:a/b", "host:*", "mcp:", "mcp:a b"]
        {
            assert!(Grant::parse(wrong).is_err(), "{wrong}");
        }
    }
}
