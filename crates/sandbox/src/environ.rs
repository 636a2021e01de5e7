//! The environment of a child: what it inherits, by a list of what may be, and what keeps it from asking (S2.1-7).
//! Knows nothing of processes. Start at [`child`]; what is missing in [`PASSED`] a person adds by configuration.
//!
//! Not hidden: sockets of agents (SSH_AUTH_SOCK). From inherited addresses who asks is taken out (`https://me:word@host`);
//! what a person lists is passed as it is. Nothing is said about `CI`, because test suites behave differently with it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Marks everything a run starts; its value is the run's token.
pub(crate) const MARKER: &str = "KAPELL_RUN";

/// What is inherited: the person, the place, the language, and how programs are found and reached.
const PASSED: [&str; 63] = [
    "ALL_PROXY",
    "AR",
    "AS",
    "CC",
    "CFLAGS",
    "CI",
    "CPATH",
    "CPP",
    "CPPFLAGS",
    "CURL_CA_BUNDLE",
    "CXX",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "DOCKER_HOST",
    "FTP_PROXY",
    "GO111MODULE",
    "GOARCH",
    "GOBIN",
    "GOCACHE",
    "GOEXPERIMENT",
    "GOFLAGS",
    "GOMAXPROCS",
    "GOMODCACHE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOOS",
    "GOPATH",
    "GOPRIVATE",
    "GOPROXY",
    "GOROOT",
    "GOSUMDB",
    "GOTOOLCHAIN",
    "HOME",
    "HOSTNAME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "LD",
    "LDFLAGS",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LIBRARY_PATH",
    "LOGNAME",
    "MANPATH",
    "NM",
    "NO_PROXY",
    "PATH",
    "RANLIB",
    "REQUESTS_CA_BUNDLE",
    "SHELL",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "STRIP",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "SOURCE_DATE_EPOCH",
];
/// Beginnings of names of tools and languages that are told how to work this way.
const PASSED_STARTS: [&str; 63] = [
    "ANDROID_",
    "ASDF_",
    "BAZEL",
    "BUN_",
    "BUNDLE_",
    "CABAL_",
    "CARGO",
    "CCACHE_",
    "CGO_",
    "CLANG_",
    "CMAKE_",
    "COMPOSER_",
    "CONDA_",
    "COREPACK_",
    "CTEST_",
    "DENO_",
    "DOTNET_",
    "ELIXIR_",
    "ERL_",
    "FNM_",
    "GEM_",
    "GHC",
    "GIT_",
    "GRADLE_",
    "HEX_",
    "INSTA_",
    "JAVA_",
    "JDK_",
    "JULIA_",
    "KAPELL_",
    "KOTLIN_",
    "LC_",
    "LLVM_",
    "LUA_",
    "M2_",
    "MAVEN_",
    "MESON_",
    "MISE_",
    "MIX_",
    "NEXTEST_",
    "NINJA_",
    "NIX_",
    "NODE_",
    "NPM_",
    "NUGET_",
    "NVM_",
    "OPAM",
    "OPENSSL_",
    "PERL",
    "PHP_",
    "PIP_",
    "PKG_CONFIG",
    "PNPM_",
    "POETRY_",
    "PROPTEST_",
    "PYENV_",
    "PYTHON",
    "RBENV_",
    "RUBY",
    "RUST",
    "STACK_",
    "UV_",
    "XDG_",
];

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

/// What a program at a terminal is told: somebody can answer there, so that it may ask, page and edit.
const TERMINAL: [(&str, &str); 2] = [("COLORTERM", "truecolor"), ("TERM", "xterm-256color")];

/// Does a variable of this name hold a secret, as far as a name can tell? No child is ever given one.
pub fn is_secret(name: &OsStr) -> bool {
    // Wherever in it the word stands: NPM_TOKEN_PROD.
    let by_words = secrets::is_secret(&name.to_string_lossy());
    let name = name.as_bytes().to_ascii_uppercase();
    let ends = |end: &&str| name.ends_with(end.as_bytes());
    let starts = |start: &&str| name.starts_with(start.as_bytes());
    !HARMLESS.iter().any(|harmless| name == harmless.as_bytes())
        && (by_words || SECRET_ENDS.iter().any(ends) || SECRET_STARTS.iter().any(starts))
}

/// Is it one that a tool keeps credentials in, by its own way of naming them? It may not be inherited.
fn keeps_credentials(upper: &[u8]) -> bool {
    let rest_of = |start: &str| upper.strip_prefix(start.as_bytes());
    // Headers of requests are set by these in CI.
    let git = rest_of("GIT_CONFIG_KEY_").or_else(|| rest_of("GIT_CONFIG_VALUE_")).is_some();
    // Bundler's for a host, whose dots are two underscores; `build.NAME` is a gem's options.
    let dots = |name: &[u8]| name.windows(2).any(|two| two == b"__");
    let bundler = rest_of("BUNDLE_").is_some_and(|name| dots(name.strip_prefix(b"BUILD__").unwrap_or(name)));
    git || bundler || upper.ends_with(b"_KEY") || upper.ends_with(b"_KEYS")
}

/// A value without who asks in its addresses: a name and a word before the host, of the web also a name alone, which may be
/// the word.
fn bare(value: OsString) -> OsString {
    let bytes = value.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(|three| three == b"://") {
        let (scheme, authority) = rest.split_at(at + 3);
        out.extend(scheme);
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"/?#,|\"'".contains(byte);
        let length = authority.iter().position(ends).unwrap_or(authority.len());
        let who = authority[..length].iter().rposition(|byte| *byte == b'@').unwrap_or(0);
        let web = scheme.ends_with(b"http://") || scheme.ends_with(b"https://");
        let told = who > 0 && (web || authority[..who].contains(&b':'));
        rest = &authority[if told { who + 1 } else { 0 }..];
    }
    out.extend(rest);
    OsString::from_vec(out)
}

/// May a variable of this name be inherited? Names are compared without case: `http_proxy`, `npm_config_cache`.
fn is_passed(name: &OsStr) -> bool {
    let upper = name.as_bytes().to_ascii_uppercase();
    let starts = |start: &&str| upper.starts_with(start.as_bytes());
    (PASSED.iter().any(|passed| upper == passed.as_bytes()) || PASSED_STARTS.iter().any(starts))
        && !GIT_LOCAL.iter().any(|git| name == *git)
        && !keeps_credentials(&upper)
}

/// Of these variables, those that commands are given without the name and the word in their addresses.
pub fn bared(inherited: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let passed = inherited.filter(|(name, _)| is_passed(name) && !is_secret(name));
    let changed = passed.filter(|(_, value)| bare(value.clone()) != *value);
    changed.map(|(name, _)| name.to_string_lossy().into_owned()).collect()
}

/// What may be inherited; then what keeps programs quiet, or what a terminal needs; then the extras, which cannot
/// bring a secret back; then the marker.
pub(crate) fn child(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    extra: &[(OsString, OsString)],
    token: &str,
    terminal: bool,
) -> Vec<(OsString, OsString)> {
    let passed = inherited.filter(|(name, _)| is_passed(name));
    let mut env: BTreeMap<OsString, OsString> = passed.map(|(name, value)| (name, bare(value))).collect();
    let set: &[(&str, &str)] = if terminal { &TERMINAL } else { &QUIET };
    env.extend(set.iter().map(|(name, value)| (name.into(), value.into())));
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
            Secret NPM_TOKEN_PROD PIP_API_KEY_2 UV_PUBLISH_TOKEN2 GITLAB_PAT ANTHROPIC_AUTH_TOKEN MINIO_ACCESS_KEY NPM_CONFIG_//registry/:_authToken";
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
            pairs(&[("PATH", "/bin"), ("GIT_DIR", "/elsewhere"), ("CARGO_TOKEN", "x"), ("PAGER", "less")]);
        let extra =
            pairs(&[("TERM", "xterm"), ("B_API_KEY", "y"), ("GIT_INDEX_FILE", "i"), (MARKER, "fake")]);
        let env = child(inherited.into_iter(), &extra, "t1", false);
        let get = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, value)| value.to_str().unwrap());
        assert_eq!(get("PATH"), Some("/bin"));
        assert_eq!(get("PAGER"), Some("cat"));
        assert_eq!(get("TERM"), Some("xterm"));
        assert_eq!(get("GIT_INDEX_FILE"), Some("i"));
        assert_eq!(get(MARKER), Some("t1"));
        for gone in ["GIT_DIR", "CARGO_TOKEN", "B_API_KEY"] {
            assert_eq!(get(gone), None, "{gone}");
        }
    }

    #[test]
    fn who_asks_is_taken_out_of_addresses() {
        for (value, left) in [
            ("https://me:word@host.example/simple", "https://host.example/simple"),
            ("https://ghp_x@host.example", "https://host.example"),
            ("http://me:w@rd@proxy:3128", "http://proxy:3128"),
            ("https://a:b@x,direct|https://c:d@y/z off", "https://x,direct|https://y/z off"),
            ("socks5h://me:word@proxy:1", "socks5h://proxy:1"),
            ("sparse+https://me:word@host.example/i/", "sparse+https://host.example/i/"),
            ("ssh://git@host.example/x", "ssh://git@host.example/x"),
            ("https://host.example/@scope/name", "https://host.example/@scope/name"),
            ("me@host.example", "me@host.example"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(bare(value.into()), OsString::from(left), "{value}");
        }
        let inherited = pairs(&[("PIP_INDEX_URL", "https://me:word@host.example/simple")]);
        let extra = pairs(&[("HTTPS_PROXY", "http://me:word@proxy:3128")]);
        let env = child(inherited.into_iter(), &extra, "t1", false);
        assert!(env.contains(&("PIP_INDEX_URL".into(), "https://host.example/simple".into())));
        assert!(
            env.contains(&("HTTPS_PROXY".into(), "http://me:word@proxy:3128".into())),
            "listed by a person"
        );
    }

    #[test]
    fn what_keeps_programs_quiet_is_no_secret() {
        let set = QUIET.iter().chain(&TERMINAL).map(|(name, _)| *name).chain(PASSED);
        for name in set.chain(["KAPELL_KEY", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0", "KAPELL_RUN"]) {
            assert!(!is_secret(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn only_what_is_listed_is_inherited() {
        let names = "PATH https_proxy LC_ALL CARGO_HOME RUSTFLAGS npm_config_cache GOPATH VIRTUAL_ENV KAPELL_DATA \
            GIT_AUTHOR_NAME TMPDIR BUNDLE_PATH BUNDLE_BUILD__NOKOGIRI BUNDLE_WITHOUT";
        for name in names.split_ascii_whitespace() {
            assert!(is_passed(name.as_ref()), "{name}");
        }
        let names = "PWD OLDPWD DATABASE_URL DISPLAY DBUS_SESSION_BUS_ADDRESS MAKEFLAGS BASH_ENV ENV PROMPT_COMMAND \
            GIT_DIR FORCE_COLOR GOOGLE_CLOUD_PROJECT MY_COMPANY_THING PAGERS GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0 \
            git_config_value_12 BUNDLE_GEMS__EXAMPLE__COM BUNDLE_BUILD__EXAMPLE__COM KAPELL_ACME_KEY CARGO_SIGN_KEYS";
        for name in names.split_ascii_whitespace() {
            assert!(!is_passed(name.as_ref()), "{name}");
        }
        let at_terminal = child(pairs(&[("TERM", "dumb")]).into_iter(), &[], "t1", true);
        assert!(at_terminal.contains(&("TERM".into(), "xterm-256color".into())));
        assert!(!at_terminal.iter().any(|(name, _)| name == "PAGER" || name == "NO_COLOR"));
    }
}
