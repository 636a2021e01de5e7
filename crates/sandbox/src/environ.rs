//! The environment of a child: what it inherits, what it does not, and what keeps it from asking (S2.1-7).
//! Knows nothing of processes. Start at [`child`].
//!
//! Not hidden: sockets of agents (SSH_AUTH_SOCK) and URLs with a password inside; nothing is said about
//! `CI`, because test suites behave differently with it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Marks everything a run starts; its value is the run's token.
pub(crate) const MARKER: &str = "KAPELL_RUN";

/// Ends of names that hold secrets.
const SECRET_ENDS: [&str; 16] = [
    "API_KEY",
    "APIKEY",
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
    "SECRET_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "ACCESS_KEY_ID",
    "_PAT",
    "_AUTH",
    "_PWD",
];
/// Beginnings of names that hold secrets.
const SECRET_STARTS: [&str; 2] = ["AWS_", "KAPELL_SECRET_"];
/// Ends with one of the above and is no secret.
const HARMLESS: [&str; 2] = ["OLDPWD", "PWD"];

/// Variables by which a git that started Kapell (a hook, an alias) would redirect every git below it:
/// `git rev-parse --local-env-vars`, and the prefix.
const GIT_LOCAL: [&str; 17] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// What keeps programs from asking, paging, editing and colouring.
const QUIET: [(&str, &str); 22] = [
    ("CARGO_TERM_COLOR", "never"),
    ("CARGO_TERM_PROGRESS_WHEN", "never"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("EDITOR", "true"),
    ("GCM_INTERACTIVE", "never"),
    // Set but empty: git then asks no program at all.
    ("GIT_ASKPASS", ""),
    ("GIT_EDITOR", "true"),
    ("GIT_PAGER", "cat"),
    ("GIT_SEQUENCE_EDITOR", "true"),
    ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("MANPAGER", "cat"),
    ("NO_COLOR", "1"),
    ("PAGER", "cat"),
    ("PIP_NO_INPUT", "1"),
    ("SSH_ASKPASS", ""),
    ("SSH_ASKPASS_REQUIRE", "never"),
    ("SUDO_ASKPASS", "/bin/false"),
    ("SYSTEMD_PAGER", "cat"),
    ("SYSTEMD_COLORS", "0"),
    ("TERM", "dumb"),
    ("VISUAL", "true"),
];

/// Does a variable of this name hold a secret, as far as a name can tell? No child is ever given one.
pub fn is_secret(name: &OsStr) -> bool {
    let name = name.as_bytes().to_ascii_uppercase();
    let ends = |end: &&str| name.ends_with(end.as_bytes());
    let starts = |start: &&str| name.starts_with(start.as_bytes());
    !HARMLESS.iter().any(|harmless| name == harmless.as_bytes())
        && (SECRET_ENDS.iter().any(ends) || SECRET_STARTS.iter().any(starts))
}

/// What is inherited, without secrets; then what keeps programs quiet; then the extras, which cannot bring a
/// secret back; then the marker.
pub(crate) fn child(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    extra: &[(OsString, OsString)],
    token: &str,
) -> Vec<(OsString, OsString)> {
    let local = |name: &OsString| GIT_LOCAL.iter().any(|git| name == git);
    let mut env: BTreeMap<OsString, OsString> = inherited.filter(|(name, _)| !local(name)).collect();
    env.remove(OsStr::new("FORCE_COLOR"));
    env.remove(OsStr::new("CLICOLOR_FORCE"));
    env.extend(QUIET.iter().map(|(name, value)| (name.into(), value.into())));
    env.extend(extra.iter().cloned());
    env.insert(MARKER.into(), token.into());
    env.into_iter().filter(|(name, _)| !is_secret(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(of: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        of.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        let secret = "ANTHROPIC_API_KEY OPENAI_API_KEY GH_TOKEN GITHUB_TOKEN NPM_TOKEN npm_config__auth \
            CARGO_REGISTRY_TOKEN CARGO_REGISTRIES_X_TOKEN DB_PASSWORD PGPASSWORD MYSQL_PWD AWS_PROFILE aws_region \
            AWS_SECRET_ACCESS_KEY AZURE_CLIENT_SECRET GOOGLE_APPLICATION_CREDENTIALS X_CREDENTIAL TOKEN \
            Secret GITLAB_PAT ANTHROPIC_AUTH_TOKEN MINIO_ACCESS_KEY NPM_CONFIG_//registry/:_authToken";
        for name in secret.split_ascii_whitespace() {
            assert!(is_secret(name.as_ref()), "{name}");
        }
        for name in
            "PATH HOME PWD OLDPWD LANG CARGO_HOME KEYBOARD TOKENIZERS_PARALLELISM SSH_AUTH_SOCK".split(' ')
        {
            assert!(!is_secret(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn extras_win_but_bring_no_secret_back() {
        let inherited =
            pairs(&[("PATH", "/bin"), ("GIT_DIR", "/elsewhere"), ("A_TOKEN", "x"), ("PAGER", "less")]);
        let extra =
            pairs(&[("TERM", "xterm"), ("B_API_KEY", "y"), ("GIT_INDEX_FILE", "i"), (MARKER, "fake")]);
        let env = child(inherited.into_iter(), &extra, "t1");
        let get = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, value)| value.to_str().unwrap());
        assert_eq!(get("PATH"), Some("/bin"));
        assert_eq!(get("PAGER"), Some("cat"));
        assert_eq!(get("TERM"), Some("xterm"));
        assert_eq!(get("GIT_INDEX_FILE"), Some("i"));
        assert_eq!(get(MARKER), Some("t1"));
        for gone in ["GIT_DIR", "A_TOKEN", "B_API_KEY"] {
            assert_eq!(get(gone), None, "{gone}");
        }
    }
}
