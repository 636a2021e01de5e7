//! What is known of single programs, as tables: which arguments are files, which options hide code, which variables
//! are harmless. Start at [`operands`].

use contract::policy::{Arg, How, brings};

/// How a program uses its operands (arguments that are not options).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operands {
    /// All in one way.
    All(How),
    /// The first is no file; the rest in one way.
    Behind(How),
    /// The last one is written, the others read.
    Into,
}

const READ: &[&str] = &[
    "cat",
    "head",
    "tail",
    "less",
    "more",
    "wc",
    "cut",
    "nl",
    "tac",
    "rev",
    "od",
    "hexdump",
    "strings",
    "file",
    "stat",
    "ls",
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
    "sort",
    "paste",
    "column",
    "fold",
    "base64",
    "zcat",
    "bat",
    "find",
    "test",
    "[",
    "source",
    ".",
    "tsort",
    "join",
    "expand",
    "fmt",
];
const READ_BEHIND: &[&str] =
    &["grep", "egrep", "fgrep", "rg", "ag", "ack", "jq", "yq", "awk", "gawk", "mawk", "sed"];
const WRITE: &[&str] = &[
    "rm", "rmdir", "mv", "touch", "mkdir", "tee", "truncate", "shred", "unlink", "ln", "mkfifo", "mknod",
    "srm", "trash", "gzip", "gunzip", "bzip2", "xz", "unxz", "wipefs", "mkswap", "mke2fs", "vi", "vim",
    "nano",
];
const WRITE_BEHIND: &[&str] = &["chmod", "chown", "chgrp", "setfacl", "chattr"];
const INTO: &[&str] = &["cp", "install", "rsync", "scp", "uniq", "xxd"];

/// How a program uses its operands, if it is one of those known.
pub(crate) fn operands(program: &str) -> Option<Operands> {
    let listed = |list: &[&str]| list.contains(&program);
    if listed(READ) {
        Some(Operands::All(How::Read))
    } else if listed(READ_BEHIND) {
        Some(Operands::Behind(How::Read))
    } else if listed(WRITE) || program.starts_with("mkfs") {
        Some(Operands::All(How::Write))
    } else if listed(WRITE_BEHIND) {
        Some(Operands::Behind(How::Write))
    } else if listed(INTO) {
        Some(Operands::Into)
    } else {
        None
    }
}

/// Options whose value is a file that is written: program, option.
const OUTPUTS: &[(&str, &str)] = &[
    ("sort", "-o"),
    ("sort", "--output"),
    ("curl", "-o"),
    ("curl", "--output"),
    ("curl", "-D"),
    ("curl", "-c"),
    ("wget", "-O"),
    ("wget", "-P"),
    ("wget", "-o"),
    ("gcc", "-o"),
    ("cc", "-o"),
    ("clang", "-o"),
    ("git", "--output"),
    ("tree", "-o"),
    ("unzip", "-d"),
    ("tar", "-C"),
    ("tar", "--directory"),
    ("patch", "-o"),
    ("patch", "-d"),
    ("cp", "-t"),
    ("cp", "--target-directory"),
    ("mv", "-t"),
    ("mv", "--target-directory"),
    ("install", "-t"),
    ("install", "--target-directory"),
    ("ln", "-t"),
    ("ln", "--target-directory"),
    ("find", "-fprint"),
    ("find", "-fprintf"),
    ("find", "-fprint0"),
    ("find", "-fls"),
    ("time", "-o"),
    ("time", "--output"),
    ("strace", "-o"),
    ("strace", "--output"),
    ("ltrace", "-o"),
    ("ltrace", "--output"),
];
/// Programs whose short options stand alone: what looks like several is one longer name.
const LONG_LETTERS: &[&str] = &["gcc", "cc", "clang"];

/// The file that this argument makes a program write; empty = it is the next argument.
pub(crate) fn output<'a>(program: &str, arg: &'a str) -> Option<&'a str> {
    let listed = OUTPUTS.iter().filter(|(name, option)| *name == program && brings(arg, option));
    listed.into_iter().find_map(|(_, option)| match option.strip_prefix('-') {
        Some(long) if long.starts_with('-') => Some(arg.split_once('=').map_or("", |(_, value)| value)),
        Some(letter) if letter.len() == 1 && LONG_LETTERS.contains(&program) => arg.strip_prefix(option),
        Some(letter) if letter.len() == 1 => arg.split_once(letter).map(|(_, value)| value),
        _ => (arg == *option).then_some(""),
    })
}

/// The pattern that an option of a program that searches brings; empty = it is the next argument. True: a file of them.
pub(crate) fn pattern<'a>(program: &str, arg: &'a str) -> Option<(bool, &'a str)> {
    if !matches!(program, "grep" | "egrep" | "fgrep" | "rg") {
        return None;
    }
    match arg.strip_prefix("--").map(|long| long.split_once('=').unwrap_or((long, ""))) {
        Some(("file", value)) => Some((true, value)),
        Some((name, value)) => (name.len() > 1 && "regexp".starts_with(name)).then_some((false, value)),
        None => arg.find(['e', 'f']).map(|at| (arg[at..].starts_with('f'), &arg[at + 1..])),
    }
}

/// Options that make a program run code or another program: any program's argument that begins so.
const HIDES: &[(&str, &[&str])] = &[
    (
        "tar",
        &[
            "--checkpoint-action",
            "--to-command",
            "-I",
            "--use-compress-program",
            "--rsh-command",
            "--rmt-command",
            "-F",
            "--info-script",
            "--new-volume-script",
        ],
    ),
    ("rsync", &["-e", "--rsh", "--rsync-path"]),
    ("scp", &["-o", "-S", "-F"]),
    ("sftp", &["-o", "-S", "-F"]),
    ("sort", &["--compress-program"]),
    ("rg", &["--pre", "--hostname-bin"]),
    ("man", &["-P", "--pager", "-H", "--html"]),
    ("zip", &["-TT", "--unzip-command"]),
    ("vi", &["-c", "+", "--cmd", "-S"]),
    ("vim", &["-c", "+", "--cmd", "-S"]),
    ("nvim", &["-c", "+", "--cmd", "-S"]),
    ("ex", &["-c", "+"]),
    ("emacs", &["--eval", "-eval", "--execute", "-l", "--load"]),
    ("gdb", &["-ex", "-x", "--eval-command", "--command"]),
    ("less", &["+"]),
    ("make", &["--eval", "-E", "SHELL="]),
    ("date", &["-f"]),
    ("curl", &["-K", "--config"]),
    ("wget", &["--use-askpass", "-e", "--execute", "--config"]),
    ("openssl", &["engine", "-engine"]),
    ("docker", &["-H", "--host"]),
    ("socat", &["EXEC", "exec", "SYSTEM", "system", "SHELL", "shell"]),
    ("xdg-open", &[""]),
    ("bat", &["--pager"]),
    ("split", &["--filter"]),
];

/// Does an option hide code that this program would run?
pub(crate) fn hides_code(program: &str, args: &[Arg]) -> bool {
    let listed = HIDES.iter().filter(|(name, _)| *name == program).flat_map(|(_, options)| options.iter());
    let mut listed = listed.copied();
    let known = || args.iter().filter_map(Arg::known);
    if listed.any(|option| known().any(|arg| brings(arg, option))) {
        return true;
    }
    match program {
        "sed" => sed_script(args).is_none_or(|script| !plain_sed(script)),
        "awk" | "gawk" | "mawk" | "nawk" => !awk_options(args) || !args.iter().all(plain_awk),
        // Letters of old that stand without a dash.
        "tar" => args.first().and_then(Arg::known).is_some_and(|text| {
            !text.starts_with('-') && !text.contains(['.', '/']) && text.contains(['I', 'F'])
        }),
        _ => false,
    }
}

/// Only options that split fields and set variables, before the program.
fn awk_options(args: &[Arg]) -> bool {
    let mut words = args.iter().map(Arg::shown);
    while let Some(word) = words.next() {
        match word {
            "-F" | "-v" => drop(words.next()),
            word if word.starts_with("-F") || word.starts_with("-v") => {}
            word if word.starts_with('-') => return false,
            _ => return !words.any(|word| word.len() > 1 && word.starts_with('-')),
        }
    }
    true
}

/// The one script of a call of sed; `None` when it is not that simple.
fn sed_script(args: &[Arg]) -> Option<&str> {
    let mut words = args.iter();
    loop {
        let word = words.next()?.known()?;
        match word {
            word if script_follows(word) => return words.next()?.known().filter(|_| !words.any(also_script)),
            word if safe_for_sed(word) || in_place(word) => {}
            word if word.starts_with('-') => return None,
            word => return (!words.any(also_script)).then_some(word),
        }
    }
}

/// Options count behind the script too.
fn also_script(arg: &Arg) -> bool {
    arg.known()
        .is_none_or(|text| text.len() > 1 && text.starts_with('-') && !safe_for_sed(text) && !in_place(text))
}

/// Options of sed that bring no script and change no file.
pub(crate) fn safe_for_sed(option: &str) -> bool {
    let letters = option.strip_prefix('-').filter(|letters| !letters.is_empty());
    matches!(option, "--quiet" | "--silent" | "--regexp-extended" | "--null-data" | "--separate" | "--posix")
        || letters.is_some_and(|letters| letters.chars().all(|letter| "nErszu".contains(letter)))
}

/// What is behind it is a script.
pub(crate) fn script_follows(option: &str) -> bool {
    let front = option.strip_suffix('e');
    option == "--expression" || front.is_some_and(|front| front == "-" || safe_for_sed(front))
}

/// It may change the file, or bring a script from elsewhere.
pub(crate) fn odd_for_sed(option: &str) -> bool {
    option.len() > 1 && option.starts_with('-') && !safe_for_sed(option) && !script_follows(option)
}

/// Changes the file, with a suffix for the old one that leads nowhere else.
fn in_place(option: &str) -> bool {
    let suffix = option.split_once('i').filter(|(front, _)| *front == "-" || safe_for_sed(front));
    suffix.is_some_and(|(_, suffix)| !suffix.contains(['/', '*']))
}

/// Printing, deleting and replacing: no `w`, no `e`, no file.
fn plain_sed(script: &str) -> bool {
    let command =
        script.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ',' | '$' | ' ' | '~' | '+'));
    let (address, command) = match command.strip_prefix('/').and_then(|rest| rest.split_once('/')) {
        Some((address, rest)) => (address, rest.trim_start_matches([',', ' ', '$', '!'])),
        None => ("", command),
    };
    if address.contains('\\') || script.contains('\n') {
        return false;
    }
    if matches!(command, "p" | "d" | "q" | "=" | "p;q" | "{p;q}" | "!d" | "!p") {
        return true;
    }
    let Some(rest) = command.strip_prefix('s') else { return false };
    let Some(sign) = rest.chars().next().filter(|c| c.is_ascii_punctuation() && *c != '\\') else {
        return false;
    };
    let mut ends = 0;
    let mut chars = rest.chars().skip(1);
    while ends < 2 {
        match chars.next() {
            Some('\\') => drop(chars.next()),
            Some(c) if c == sign => ends += 1,
            Some(_) => {}
            None => return false,
        }
    }
    chars.all(|c| matches!(c, 'g' | 'p' | 'I' | 'i') || c.is_ascii_digit())
}

/// No other program, no file, no input of its own.
fn plain_awk(arg: &Arg) -> bool {
    arg.known().is_some_and(|text| {
        let pipes = text.replace("||", "").contains('|');
        !(pipes
            || text.contains("ARG")
            || text.contains("system")
            || text.contains("getline")
            || text.contains('>')
            || text.contains('@'))
    })
}

/// Variables that change only how things look or what a program itself reads.
const HARMLESS: &[&str] = &[
    "LANG",
    "LANGUAGE",
    "TZ",
    "CI",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "TERM",
    "COLUMNS",
    "LINES",
    "DEBUG",
    "VERBOSE",
    "NODE_ENV",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "RUST_TEST_THREADS",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONIOENCODING",
    "PYTHONUTF8",
    "GOOS",
    "GOARCH",
    "CGO_ENABLED",
    "PORT",
    "HOST",
    "DJANGO_SETTINGS_MODULE",
    "RAILS_ENV",
    "RACK_ENV",
    "APP_ENV",
    "CARGO_TERM_COLOR",
    "CARGO_INCREMENTAL",
    "PROPTEST_CASES",
    "UPDATE_GOLDEN",
    "INSTA_UPDATE",
    "GIT_TERMINAL_PROMPT",
    "DEBIAN_FRONTEND",
    "MPLBACKEND",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
];

/// May a rule for a program hold although this variable is set for it?
pub(crate) fn harmless_variable(name: &str) -> bool {
    HARMLESS.contains(&name) || name.starts_with("LC_")
}

const DANGEROUS: &[&str] = &[
    "PATH",
    "ENV",
    "BASH_ENV",
    "IFS",
    "SHELLOPTS",
    "BASHOPTS",
    "PS0",
    "PS1",
    "PS4",
    "PROMPT_COMMAND",
    "PAGER",
    "MANPAGER",
    "EDITOR",
    "VISUAL",
    "BROWSER",
    "SHELL",
    "HOME",
    "LESSOPEN",
    "LESSCLOSE",
    "NODE_OPTIONS",
    "CDPATH",
    "GLOBIGNORE",
    "RUSTC",
    "RUSTFLAGS",
    "RUSTDOC",
    "CC",
    "CXX",
    "LD",
    "AR",
    "MAKEFLAGS",
    "GOFLAGS",
    "XDG_CONFIG_HOME",
    "CLASSPATH",
    // What is assigned to these is evaluated.
    "RANDOM",
    "SRANDOM",
    "OPTIND",
    "HISTCMD",
];
const DANGEROUS_FAMILIES: &[&str] = &[
    "LD_",
    "DYLD_",
    "GIT_",
    "SSH_",
    "PYTHON",
    "PERL",
    "RUBY",
    "GEM_",
    "BUNDLE_",
    "JAVA_",
    "_JAVA",
    "JDK_",
    "CARGO",
    "RUSTC_",
    "NPM_",
    "npm_",
    "YARN_",
    "PIP_",
    "DOCKER_",
    "KUBE",
    "AWS_",
    "GOPROXY",
    "BASH_FUNC",
    "KAPELL_",
    "LUA_",
    "PHP",
];

/// Does setting it in the shell itself change what programs do?
pub(crate) fn dangerous_variable(name: &str) -> bool {
    DANGEROUS.contains(&name)
        || (DANGEROUS_FAMILIES.iter().any(|family| name.starts_with(family)) && !harmless_variable(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_only_print_and_replace() {
        for (script, plain) in [
            ("10,20p", true),
            ("/abc/d", true),
            ("s/a/b/g", true),
            ("s|a|b|", true),
            (r"s/a\/b/c/2p", true),
            ("$p", true),
            ("s/a/id/e", false),
            ("s/a/b/w /etc/x", false),
            ("w /etc/x", false),
            ("1e rm x", false),
            ("r /etc/shadow", false),
            ("1,5p;10,20p", false),
        ] {
            assert_eq!(plain_sed(script), plain, "{script}");
        }
    }
}
