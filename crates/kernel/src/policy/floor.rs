//! What no rule, mode or person's setting lifts, as far as a text shows it. The walls are the sandbox's; this is the
//! line in front of them. Start at [`denies`].

use super::{Policy, glob};
use contract::policy::{Arg, Doubt, How, Part, Touch};

/// Directories of the system that a command which removes or changes whole trees is never given.
const SYSTEM: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/usr",
    "/var",
    "/Users",
    "/System",
    "/Library",
    "/Applications",
];
/// How whole trees are written that only the shell puts in.
const TREES: &[&str] = &[
    "/*",
    "/.*",
    "~",
    "~/",
    "~/*",
    "~/.*",
    "${HOME}",
    "\"${HOME}\"",
    "${HOME}/",
    "${HOME}/*",
    "${HOME}/.",
    "\"${HOME}\"'/.'",
    "\"${HOME}\"/*",
    "\"${HOME}\"'/'*",
    "\"${HOME}\"'/'",
];
/// Commands that take whole trees.
const REMOVERS: &[&str] =
    &["rm", "shred", "mv", "chmod", "chown", "chgrp", "find", "rsync", "wipefs", "srm", "trash"];
const DISKS: &[&str] = &[
    "/dev/sd*",
    "/dev/hd*",
    "/dev/vd*",
    "/dev/xvd*",
    "/dev/nvme*",
    "/dev/mmcblk*",
    "/dev/disk*",
    "/dev/mapper/**",
    "/dev/mem",
    "/dev/kmem",
    "/dev/port",
    "/proc/sysrq-trigger",
    "/proc/sys/**",
    "/sys/**",
];

/// Why it is denied.
pub(super) fn denies(policy: &Policy, part: &Part) -> Option<String> {
    let program = part.words.first().and_then(Arg::known).unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or(program);
    if program == "(fork bomb)" {
        return Some("a function starts itself again and again".into());
    }
    if REMOVERS.contains(&program) && takes_a_tree(policy, part, program) {
        return Some("it would take a whole system or home directory".into());
    }
    if program.starts_with("mkfs")
        || matches!(program, "mke2fs" | "mkswap" | "wipefs" | "fdisk" | "parted" | "sgdisk")
    {
        return Some("it writes to disks below their file systems".into());
    }
    if program == "kapell" && !asks_nothing(part) {
        return Some("an agent does not drive the Kapell that drives it".into());
    }
    if matches!(program, "kill")
        && part.words.len() > 2
        && part.words.last().and_then(Arg::known) == Some("-1")
    {
        return Some("it ends every program there is".into());
    }
    let writes = |touch: &&Touch| touch.how == How::Write;
    let disk = |touch: &Touch| {
        touch.path.as_deref().is_some_and(|path| DISKS.iter().any(|pattern| glob::matches(pattern, path)))
    };
    if part.touches.iter().filter(writes).any(disk) {
        return Some("it writes to a disk or to the running system itself".into());
    }
    let own = |touch: &&Touch| touch.inside.is_none() && touch.how >= How::Any && below(&policy.own, touch);
    part.touches.iter().find(own).map(|_| "it changes Kapell's own files".to_owned())
}

fn takes_a_tree(policy: &Policy, part: &Part, program: &str) -> bool {
    let letters = |arg: &&str| arg.starts_with('-') && !arg.starts_with("--");
    let known = || part.words.iter().filter_map(Arg::known);
    let deep = known().filter(letters).any(|arg| arg.contains(['r', 'R']))
        || known().any(|arg| arg.len() > 2 && "--recursive".starts_with(arg));
    let whole = match program {
        "rm" | "chmod" | "chown" | "chgrp" => deep,
        "find" => known().any(|arg| arg == "-delete") || removes(part),
        "rsync" => known().any(|arg| arg.starts_with("--del")),
        _ => true,
    };
    let system = |touch: &Touch| {
        let path = touch.path.as_deref();
        (touch.how == How::Write || program == "find")
            && path.is_some_and(|path| SYSTEM.contains(&path) || path == policy.home)
    };
    // What something is moved to stays.
    let into = program == "mv" && !known().filter(letters).any(|arg| arg.contains('t'));
    let last = part.touches.last().filter(|_| into).map(|touch| &touch.path);
    let words = &part.words[1..part.words.len() - usize::from(into && part.words.len() > 1)];
    let shown = || words.iter().any(|arg| arg.known().is_none() && TREES.contains(&arg.shown()));
    let mut touches = part.touches.iter().filter(|touch| Some(&touch.path) != last);
    whole && (known().any(|arg| arg == "--no-preserve-root") || touches.any(system) || shown())
}

/// What `find` finds is given to a program that removes.
fn removes(part: &Part) -> bool {
    let known: Vec<&str> = part.words.iter().filter_map(Arg::known).collect();
    known.windows(2).any(|pair| {
        matches!(pair[0], "-exec" | "-execdir" | "-ok" | "-okdir")
            && matches!(pair[1].rsplit('/').next(), Some("rm" | "shred" | "srm" | "trash"))
    })
}

fn asks_nothing(part: &Part) -> bool {
    matches!(part.words.get(1).and_then(Arg::known), Some("--version" | "-V" | "--help" | "-h"))
}

fn below(dirs: &[String], touch: &Touch) -> bool {
    let within = |path: &str, dir: &String| {
        path.strip_prefix(dir.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    touch.path.as_deref().is_some_and(|path| dirs.iter().any(|dir| within(path, dir)))
}

/// Files that run, or open doors, when they are written; below the workspace.
const CONTROL: &[&str] = &[
    ".git",
    ".git/config",
    ".git/config.*",
    ".git/hooks",
    ".git/hooks/**",
    ".git/info/attributes",
    ".git/modules/**",
    ".kapell",
    ".kapell/**",
    "**/.git/hooks/**",
    "**/.git/config",
    "**/.git",
];
/// What agents note for each other, which nothing runs.
const NOTES: &str = ".kapell/memory/*.md";
/// The same below the home directory.
const CONTROL_HOME: &[&str] = &[
    ".bash*",
    ".zsh*",
    ".z*env",
    ".profile",
    ".login",
    ".inputrc",
    ".gitconfig",
    ".config/git/**",
    ".config/fish/**",
    ".config/autostart/**",
    ".config/systemd/**",
    ".local/bin/**",
    ".cargo/config*",
    ".npmrc",
    ".pip/**",
    ".config/pip/**",
    ".ssh",
    ".ssh/**",
    ".vimrc",
    ".emacs*",
    ".claude/**",
    ".codex/**",
    ".gemini/**",
    "Library/LaunchAgents/**",
];
/// What opens doors when it is read; below the home directory.
const SECRET_HOME: &[&str] = &[
    ".ssh/id_*",
    ".ssh/*.pem",
    ".ssh",
    ".aws",
    ".aws/**",
    ".gnupg",
    ".gnupg/**",
    ".netrc",
    ".git-credentials",
    ".kube/config",
    ".docker/config.json",
    ".config/gh/**",
    ".config/gcloud/**",
    ".azure/**",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials*",
    ".password-store/**",
    ".local/share/keyrings/**",
    ".mozilla/**",
    ".config/google-chrome/**",
];
const SECRET: &[&str] = &[
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/ssh/*_key",
    "/proc/*/environ",
    // tidy: allow(machine): the home of the superuser on every machine
    "/root/**",
];

/// Why a person is asked, whatever rules allow.
pub(super) fn asks(policy: &Policy, part: &Part) -> Option<String> {
    let blind = part.doubts.iter().find(|doubt| matches!(doubt, Doubt::Input | Doubt::Unread(_)));
    if let Some(doubt) = blind {
        return Some(doubt.to_string());
    }
    let any = |list: &[&str], path: &str| list.iter().any(|pattern| glob::matches(pattern, path));
    for touch in &part.touches {
        let Some(path) = touch.path.as_deref() else { continue };
        let home = path.strip_prefix(policy.home.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let home = home.filter(|_| touch.inside.is_none() && !policy.home.is_empty());
        let control = |inside: &str| any(CONTROL, inside) && !glob::matches(NOTES, inside);
        if touch.how >= How::Any && touch.inside.as_deref().is_some_and(control) {
            return Some("it writes a file that later commands or people run".into());
        }
        if touch.how >= How::Any && home.is_some_and(|rest| any(CONTROL_HOME, rest)) {
            return Some("it writes a file that a later login or program obeys".into());
        }
        if home.is_some_and(|rest| any(SECRET_HOME, rest)) || any(SECRET, path) {
            return Some("it names a file of keys or passwords".into());
        }
        if touch.inside.is_none() && below(&policy.own, touch) {
            return Some("it reads Kapell's own files".into());
        }
    }
    None
}
