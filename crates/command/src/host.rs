//! Hosts that a program would speak to, as its arguments name them. Start at [`hosts`].

use contract::policy::{Arg, Doubt, Part};

/// Programs whose operand is a host or an address without a scheme.
const SPEAK: &[&str] = &[
    "curl", "wget", "http", "https", "xh", "aria2c", "ssh", "mosh", "sftp", "ftp", "telnet", "nc", "ncat",
    "netcat", "socat", "ping", "dig", "nslookup", "host", "nmap", "lynx", "w3m", "rsh", "openssl",
];
/// Their options that take a value, which is no host: letters, by program, and the long ones of all.
const LETTERS: &[(&str, &str)] = &[
    ("curl", "AbcCdDeEFHKmoPQrtTuUwxXyYz"),
    ("wget", "aABDeiIlOoPQRtTUwX"),
    ("", "oHXdFAuebcTmwpilLDOPJUQtnsx"),
];
const VALUES: &[&str] = &[
    "--data",
    "--header",
    "--request",
    "--output",
    "--user",
    "--max-time",
    "--connect-timeout",
    "--write-out",
    "--data-raw",
    "--data-binary",
    "--form",
    "--user-agent",
    "--retry",
    "--cacert",
    "--cert",
    "--key",
];

/// Is the next argument the value of this option?
fn takes(name: &str, option: &str) -> bool {
    let letters = LETTERS.iter().find(|(program, _)| *program == name || program.is_empty());
    let letters = letters.map_or("", |(_, letters)| letters);
    match option.strip_prefix('-') {
        Some(long) if long.starts_with('-') => VALUES.contains(&option),
        // The first letter with a value takes what is behind it.
        Some(short) if matches!(name, "curl" | "wget") => {
            short.find(|c| letters.contains(c)).is_some_and(|at| at + 1 == short.len())
        }
        Some(short) => short.len() == 1 && letters.contains(short),
        None => false,
    }
}

/// Adds the hosts, or the doubt that one is not known.
pub(crate) fn hosts(name: &str, args: &[Arg], part: &mut Part) {
    let asks = |arg: &Arg| arg.known().is_some_and(|it| matches!(it, "--version" | "--help" | "-V" | "-h"));
    let speaks = SPEAK.contains(&name)
        && !matches!(args, [only] if asks(only))
        && (name != "openssl"
            || args.first().is_none_or(|arg| arg.known().is_none_or(|it| it == "s_client")));
    let all = matches!(name, "curl" | "wget" | "socat");
    let mut words = args.iter().peekable();
    let mut found = false;
    while let Some(arg) = words.next() {
        let Some(text) = arg.known() else {
            let shown = arg.shown();
            match url(shown).filter(|host| !host.is_empty() && !host.contains(['$', '`', '*'])) {
                Some(host) => part.hosts.push(host),
                None if speaks || shown.contains("://") => part.doubts.push(Doubt::Host),
                None => continue,
            }
            found = true;
            continue;
        };
        if text.starts_with('-') && !text.contains("://") {
            if speaks && takes(name, text) {
                words.next();
            }
            continue;
        }
        if let Some(host) = url(text).or_else(|| remote(name, text)) {
            part.hosts.push(host);
            found = true;
        } else if name == "socat" {
            // `TCP:host:port`; what is no network has no host.
            let (kind, host) = text.split_once(':').unwrap_or((text, ""));
            let net = ["tcp", "udp", "ssl", "openssl", "socks", "proxy", "sctp"];
            if net.iter().any(|net| kind.to_ascii_lowercase().starts_with(net)) {
                part.hosts.push(plain(host));
            }
        } else if speaks && (all || !found) && text != "s_client" {
            found = true;
            part.hosts.push(plain(text));
        }
    }
    part.hosts.retain(|host| !host.is_empty());
    // It speaks to somebody all the same.
    if speaks && part.hosts.is_empty() && !part.doubts.contains(&Doubt::Host) {
        part.doubts.push(Doubt::Host);
    }
    part.hosts.dedup();
}

/// The host of `scheme://user@host:port/`, wherever it stands in the text.
fn url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.rsplit(|c: char| !c.is_ascii_alphanumeric() && !"+.-".contains(c)).next()?;
    if scheme.is_empty() || scheme == "file" {
        return None;
    }
    Some(plain(rest))
}

/// `user@host:path` of programs that copy.
fn remote(name: &str, text: &str) -> Option<String> {
    if !matches!(name, "scp" | "rsync" | "git" | "sftp") {
        return None;
    }
    let (host, path) = text.split_once(':')?;
    let named = !host.is_empty() && !host.contains(['/', '=', '^', '~']) && !path.starts_with('/');
    (named && (name != "git" || host.contains('@')) || host.contains('@')).then(|| plain(host))
}

/// Without user, port and path; in small letters.
fn plain(text: &str) -> String {
    let host = text.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_where_programs_look_for_them() {
        for (line, is) in [
            ("curl https://Example.com/x", "example.com"),
            ("curl -o x -H y example.com:80/z", "example.com"),
            ("curl -sSL https://user:pw@evil.com:1/x", "evil.com"),
            ("curl https://good.com@evil.com/", "evil.com"),
            (r"curl https://evil.com\@good.com/", "evil.com"),
            ("wget -O - http://[::1]/x", "::1"),
            ("git clone git@github.com:a/b", "github.com"),
            ("git clone https://github.com/a/b", "github.com"),
            ("scp a me@host:/x", "host"),
            ("ssh -p 22 me@host ls", "host"),
            ("pip install git+https://x.org/y", "x.org"),
            ("ls a:b", ""),
            ("git show HEAD:src/a", ""),
            ("curl https://github.com evil.com", "github.com,evil.com"),
            ("curl -sSLo x evil.com", "evil.com"),
            ("curl -p evil.com https://github.com", "evil.com,github.com"),
            ("wget -c evil.com", "evil.com"),
            ("socat - TCP:Evil.com:80", "evil.com"),
            ("openssl s_client -connect evil.com:443", "evil.com"),
            ("openssl rand -hex 16", ""),
            ("curl --version", ""),
            ("nc -l 80", "?"),
            ("curl -K a", "?"),
        ] {
            let words: Vec<Arg> = line.split(' ').map(|word| Arg::Known(word.into())).collect();
            let mut part = Part::default();
            hosts(words[0].shown(), &words[1..], &mut part);
            let doubt = if part.doubts.contains(&Doubt::Host) { "?" } else { "" };
            assert_eq!(format!("{}{doubt}", part.hosts.join(",")), is, "{line}");
        }
    }
}
