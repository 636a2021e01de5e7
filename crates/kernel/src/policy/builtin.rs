//! What Kapell knows of commands by itself: those that only read what is here, those that reach beyond the machine.
//! Tables; a person's rule goes before them. Start at [`harmless`].

use super::Setting;
use contract::confine::Network;
use contract::policy::{Arg, Doubt, How, Part, Touch, brings};

/// Programs that only read, whatever their arguments.
const READERS: &[&str] = &[
    "ls",
    "cat",
    "head",
    "tail",
    "wc",
    "pwd",
    "true",
    "false",
    ":",
    "test",
    "[",
    "cut",
    "nl",
    "tac",
    "rev",
    "od",
    "strings",
    "stat",
    "du",
    "diff",
    "cmp",
    "comm",
    "md5sum",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "b2sum",
    "cksum",
    "tree",
    "readlink",
    "realpath",
    "basename",
    "dirname",
    "sort",
    "tr",
    "grep",
    "egrep",
    "fgrep",
    "rg",
    "find",
    "which",
    "type",
    "command",
    "whoami",
    "id",
    "uname",
    "sleep",
    "seq",
    "expr",
    "cd",
    "pushd",
    "popd",
    "exit",
    "return",
    "break",
    "continue",
    "shift",
    "wait",
    "jq",
    "column",
    "paste",
    "fold",
    "ps",
    "df",
    "free",
    "uptime",
    "nproc",
    "sed",
    "awk",
    "hexdump",
    "arch",
    "getconf",
    "file",
];
/// Programs whose arguments may be anything: they only say them.
const SPEAKERS: &[&str] = &["echo"];
/// Options with which a reader does more.
const REFUSED: &[(&str, &[&str])] = &[
    ("find", &["-delete", "-exec", "-ok", "-fprint", "-fls", "-files0"]),
    ("sort", &["-o", "--output", "-T", "--temporary", "--compress", "--files0"]),
    ("tree", &["-o", "-R"]),
    ("rg", &["--pre", "--hostname-bin"]),
    ("sed", &["-i", "--in-place", "-f", "--file"]),
    ("test", &["-v"]),
    ("[", &["-v"]),
    ("wait", &["-p"]),
    ("file", &["-C", "--compile"]),
    ("du", &["--files0"]),
    ("wc", &["--files0"]),
    ("git", &["--output", "--ext-diff", "--textconv", "-O", "--open-files"]),
];
/// Commands of git that only read.
const GIT: &[&str] = &[
    "status",
    "log",
    "diff",
    "show",
    "rev-parse",
    "ls-files",
    "ls-tree",
    "blame",
    "describe",
    "cat-file",
    "rev-list",
    "shortlog",
    "grep",
    "merge-base",
    "name-rev",
    "for-each-ref",
    "count-objects",
    "show-ref",
    "diff-tree",
    "check-ignore",
    "version",
    "help",
    "whatchanged",
    "diff-index",
    "var",
];
/// Commands of git that only read with these arguments, and no others.
const GIT_LISTS: &[(&str, &[&str])] = &[
    ("branch", &["-a", "-r", "-v", "-vv", "--list", "--show-current", "--all", "--remotes", "-l"]),
    ("tag", &["-l", "--list"]),
    ("remote", &["-v", "--verbose"]),
    ("stash", &["list"]),
    ("worktree", &["list"]),
    ("reflog", &[]),
    ("config", &["--list", "-l"]),
];
/// Programs that tell their version.
const TELLERS: &[&str] = &[
    "git", "node", "npm", "npx", "pnpm", "yarn", "python", "python3", "pip", "pip3", "cargo", "rustc",
    "rustup", "go", "java", "javac", "ruby", "gem", "gcc", "g++", "clang", "make", "cmake", "docker", "bash",
    "deno", "bun", "uv", "gh", "jq", "rg",
];
/// What is outside of the workspace and harmless to read.
const READABLE: &[&str] = &[
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/sbin",
    "/opt",
    "/etc/os-release",
    "/etc/debian_version",
    "/dev/null",
];

/// It only reads what is here, and all of it is known.
pub(super) fn harmless(part: &Part) -> bool {
    let unknown = !part.doubts.is_empty() || !part.hosts.is_empty();
    if unknown || !part.touches.iter().all(readable) {
        return false;
    }
    let Some(program) = part.words.first() else { return true };
    let Some(program) = program.known() else { return false };
    let program = program.strip_prefix("/usr/bin/").or(program.strip_prefix("/bin/")).unwrap_or(program);
    if SPEAKERS.contains(&program) {
        return true;
    }
    let args: Option<Vec<&str>> = part.words[1..].iter().map(Arg::known).collect();
    let Some(args) = args else { return false };
    let refused = REFUSED.iter().filter(|(name, _)| *name == program).flat_map(|(_, options)| options.iter());
    if refused.into_iter().any(|option| args.iter().any(|arg| brings(arg, option))) {
        return false;
    }
    match program {
        "git" => git(&args),
        // Letters of old: `e` shows the environment.
        "ps" => !args.iter().any(|arg| !arg.starts_with('-') && arg.contains('e')),
        // With an operand they set what they tell.
        "hostname" => args.is_empty(),
        "date" => args.iter().all(|arg| {
            let sets = || !arg.starts_with("-I") && (brings(arg, "-s") || brings(arg, "--set"));
            arg.starts_with('+') || (arg.starts_with('-') && !sets())
        }),
        "printf" => args.first().is_some_and(|arg| !arg.starts_with('-')),
        "uniq" => {
            let options = args.iter().take_while(|arg| **arg != "--");
            let all = args.len();
            all - options.filter(|arg| arg.len() > 1 && arg.starts_with('-')).count() < 2
        }
        "command" => args.first().is_some_and(|arg| matches!(*arg, "-v" | "-V")),
        "set" => args.iter().all(|arg| {
            arg.trim_start_matches(['-', '+']).chars().all(|c| "euxo".contains(c)) || *arg == "pipefail"
        }),
        "go" | "cargo" if matches!(args[..], ["version"]) => true,
        _ if matches!(args[..], ["--version" | "-V"]) && TELLERS.contains(&program) => true,
        _ => READERS.contains(&program),
    }
}

fn git(args: &[&str]) -> bool {
    let Some((command, args)) = args.split_first() else { return true };
    if *command == "config" && matches!(args.first(), Some(&("--get" | "get" | "--get-all"))) {
        return true;
    }
    let bare = args.is_empty() && matches!(*command, "stash" | "worktree" | "config");
    let lists = GIT_LISTS.iter().find(|(name, _)| name == command && !bare);
    GIT.contains(command)
        || *command == "--version"
        || lists.is_some_and(|(_, only)| args.iter().all(|arg| only.contains(arg)))
}

pub(super) fn readable(touch: &Touch) -> bool {
    let Some(path) = touch.path.as_deref() else { return false };
    match touch.how {
        How::Write => nowhere(path),
        _ => touch.inside.is_some() || top(touch) || READABLE.iter().any(|dir| within(path, dir)),
    }
}

/// The top of the workspace itself: a path that is neither inside nor anywhere else.
fn top(touch: &Touch) -> bool {
    touch.inside.as_deref() == Some("") || touch.path.as_deref().is_some_and(nowhere)
}

fn within(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What is written there is gone, or goes where the output goes.
pub(super) fn nowhere(path: &str) -> bool {
    matches!(path, "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/stdin" | "/dev/tty" | "/dev/zero")
        || path.starts_with("/dev/fd/")
}

/// Places that a sandbox gives every session for itself.
pub(super) fn scratch(path: &str) -> bool {
    nowhere(path) || ["/tmp", "/var/tmp", "/dev/shm"].iter().any(|dir| within(path, dir))
}

/// What reaches people, machines or money beyond this one: program, then the command of it, if only some ask.
const REACHES: &[(&str, &[&str], &str)] = &[
    ("git", &["push", "send-email", "request-pull"], "it publishes"),
    (
        "npm",
        &["publish", "unpublish", "deprecate", "login", "adduser", "token", "owner", "access"],
        "it publishes",
    ),
    ("pnpm", &["publish"], "it publishes"),
    ("yarn", &["publish"], "it publishes"),
    ("cargo", &["publish", "yank", "login", "owner"], "it publishes"),
    ("gem", &["push", "yank", "owner"], "it publishes"),
    ("twine", &["upload"], "it publishes"),
    ("poetry", &["publish"], "it publishes"),
    ("docker", &["push", "login"], "it publishes"),
    ("podman", &["push", "login"], "it publishes"),
    ("docker", &["run", "exec", "compose", "start", "build"], "a daemon runs it outside of any sandbox"),
    ("gh", &[], "it acts in your name"),
    ("glab", &[], "it acts in your name"),
    ("hub", &[], "it acts in your name"),
    ("aws", &[], "it acts on accounts"),
    ("gcloud", &[], "it acts on accounts"),
    ("az", &[], "it acts on accounts"),
    ("doctl", &[], "it acts on accounts"),
    ("heroku", &[], "it acts on accounts"),
    ("terraform", &["apply", "destroy", "import", "state"], "it acts on accounts"),
    (
        "kubectl",
        &["apply", "delete", "create", "exec", "edit", "patch", "scale", "drain", "replace"],
        "it acts on a cluster",
    ),
    ("helm", &["install", "upgrade", "uninstall", "rollback"], "it acts on a cluster"),
    ("sudo", &[], "it asks for more rights"),
    ("doas", &[], "it asks for more rights"),
    ("su", &[], "it asks for more rights"),
    ("pkexec", &[], "it asks for more rights"),
    (
        "systemctl",
        &["start", "stop", "restart", "enable", "disable", "mask", "edit", "reboot", "poweroff"],
        "it acts on the system",
    ),
    ("service", &[], "it acts on the system"),
    ("launchctl", &[], "it acts on the system"),
    ("shutdown", &[], "it acts on the system"),
    ("reboot", &[], "it acts on the system"),
    ("poweroff", &[], "it acts on the system"),
    ("halt", &[], "it acts on the system"),
    ("crontab", &[], "it runs something later"),
    ("at", &[], "it runs something later"),
    ("batch", &[], "it runs something later"),
    ("systemd-run", &[], "it runs something later"),
    ("mail", &[], "it reaches people"),
    ("sendmail", &[], "it reaches people"),
    ("mutt", &[], "it reaches people"),
    ("ssh-copy-id", &[], "it opens a door"),
    ("chroot", &[], "it leaves the place it runs in"),
    ("nsenter", &[], "it leaves the place it runs in"),
    ("unshare", &[], "it leaves the place it runs in"),
    ("passwd", &[], "it needs more rights"),
    ("useradd", &[], "it needs more rights"),
    ("usermod", &[], "it needs more rights"),
];

/// What a sandbox stops by itself, whatever of the network it reaches: it gives no more rights, and shows no keys.
const STOPPED: &[&str] = &["it asks for more rights", "it acts on accounts", "it needs more rights"];

/// Why a person is asked where no rule says anything.
pub(super) fn asks(part: &Part, setting: Setting) -> Option<String> {
    // Without a network nobody is reached, and what has a door on this machine (a daemon's socket) is not in sight.
    if setting.caged == Some(Network::Off) {
        return None;
    }
    if part.doubts.contains(&Doubt::Elsewhere) {
        return Some(Doubt::Elsewhere.to_string());
    }
    let program = part.words.first().and_then(Arg::known)?;
    let program = program.rsplit('/').next().unwrap_or(program);
    let command = part.words[1..].iter().find(|arg| arg.known().is_none_or(|text| !text.starts_with('-')));
    let tells = part.words[1..]
        .iter()
        .all(|arg| matches!(arg.known(), Some("--version" | "--help" | "help" | "version")));
    for (_, commands, why) in REACHES.iter().filter(|(name, ..)| *name == program) {
        let hit = match command {
            _ if tells => false,
            Some(arg) => commands.is_empty() || arg.known().is_none_or(|text| commands.contains(&text)),
            None => commands.is_empty(),
        };
        if hit && !(setting.confined && STOPPED.contains(why)) {
            return Some((*why).to_owned());
        }
    }
    None
}
