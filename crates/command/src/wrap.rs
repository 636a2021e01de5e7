//! Programs that run what they are given: what that is, and what running it through them means.
//!
//! An option that the table does not know makes the inner program unknown: taking a value for a flag would name the
//! wrong one. Start at [`unwrapped`].

use crate::known;
use crate::parse::is_name;
use contract::policy::{Arg, Doubt};

/// What is inside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    /// A program and its arguments.
    Words(Vec<Arg>),
    /// Text for a shell.
    Line(String),
    /// A shell reads its text from its input.
    Input,
    /// It cannot be told.
    Unknown(Doubt),
}

/// A wrapper taken off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unwrapped {
    /// What it runs; several for `find`.
    pub(crate) inner: Vec<Inner>,
    /// The wrapper does something itself (more rights, searching files), and needs a rule of its own.
    pub(crate) acts: bool,
    /// Variables it sets.
    pub(crate) sets: Vec<String>,
}

/// Options of a wrapper.
struct Form {
    name: &'static str,
    /// Short options without and with a value.
    short: [&'static str; 2],
    /// The same, long; separated by blanks.
    long: [&'static str; 2],
    /// Operands before the program.
    skip: usize,
    acts: bool,
}

const fn form(name: &'static str, short: [&'static str; 2], long: [&'static str; 2], skip: usize) -> Form {
    Form { name, short, long, skip, acts: false }
}

const fn acting(form: Form) -> Form {
    Form { acts: true, ..form }
}

const FORMS: &[Form] = &[
    form("nice", ["0123456789", "n"], ["", "--adjustment"], 0),
    form("nohup", ["", ""], ["", ""], 0),
    form("timeout", ["fv", "sk"], ["--preserve-status --foreground --verbose", "--signal --kill-after"], 1),
    form("time", ["pvaqh", "fo"], ["--portability --verbose --append --quiet", "--format --output"], 0),
    form("stdbuf", ["", "ioe"], ["", "--input --output --error"], 0),
    form("setsid", ["cfw", ""], ["--ctty --fork --wait", ""], 0),
    form("ionice", ["t", "cn"], ["--ignore", "--class --classdata"], 0),
    form("chrt", ["abfimorv", "TPD"], ["--all-tasks --batch --fifo --idle --other --rr --verbose", ""], 1),
    form("taskset", ["ac", ""], ["--all-tasks --cpu-list", ""], 1),
    form("command", ["p", ""], ["", ""], 0),
    form("builtin", ["", ""], ["", ""], 0),
    form("exec", ["cl", "a"], ["", ""], 0),
    form("busybox", ["", ""], ["", ""], 0),
    form("toybox", ["", ""], ["", ""], 0),
    form("unbuffer", ["p", ""], ["", ""], 0),
    form("faketime", ["fm", ""], ["", ""], 1),
    form(
        "strace",
        ["ACcdDfFhikqrtTvVwxyYzZn", "abeEIoOpPsSuUX"],
        ["--follow-forks --summary", "--output --trace"],
        0,
    ),
    form("ltrace", ["bcCfhiLrStTVx", "aAdDeFlnopsuwX"], ["", "--output"], 0),
    acting(form("perf", ["", ""], ["", ""], 1)),
    form(
        "xargs",
        ["0rtxpo", "EILnPsd"],
        [
            "--null --no-run-if-empty --verbose --exit --interactive --open-tty --replace --max-lines",
            "--delimiter --max-args --max-procs --max-chars",
        ],
        0,
    ),
    acting(form(
        "sudo",
        ["ABbEHiKklNnPSsv", "CDghpRrTtUu"],
        [
            "--preserve-env --non-interactive --stdin --set-home --login --shell --background --reset-timestamp",
            "--user --group --host --prompt --chdir --chroot --role --type --other-user --close-from",
        ],
        0,
    )),
    acting(form("doas", ["Lns", "Cu"], ["", ""], 0)),
    acting(form("pkexec", ["", ""], ["--disable-internal-agent --keep-cwd", "--user"], 0)),
    acting(form("chroot", ["", ""], ["--skip-chdir", "--userspec --groups"], 1)),
    acting(form(
        "unshare",
        ["muinpUCTfrc", "SGRw"],
        ["--fork --net --mount --user --pid --map-root-user", ""],
        0,
    )),
    acting(form("nsenter", ["amuinpUCTFZ", "tSGrw"], ["--all", "--target"], 0)),
    acting(form("firejail", ["", ""], ["--noprofile --quiet", ""], 0)),
];

/// Programs that take code of their own language, and the options that bring it.
const CODE: &[(&str, &[&str])] = &[
    ("python", &["-c"]),
    ("pypy", &["-c"]),
    ("perl", &["-e", "-E"]),
    ("ruby", &["-e"]),
    ("node", &["-e", "--eval", "-p", "--print", "-pe", "-r", "--require", "--import"]),
    ("nodejs", &["-e", "--eval", "-p", "--print"]),
    ("deno", &["eval"]),
    ("bun", &["-e", "--eval", "-p"]),
    ("php", &["-r", "-B", "-R", "-E"]),
    ("lua", &["-e"]),
    ("osascript", &["-e"]),
    ("Rscript", &["-e"]),
    ("julia", &["-e", "-E"]),
    ("elixir", &["-e", "--eval"]),
    ("groovy", &["-e"]),
    ("scala", &["-e"]),
    ("tclsh", &[]),
    ("expect", &["-c"]),
    ("psql", &["-c", "--command"]),
    ("sqlite3", &["-cmd"]),
    ("pwsh", &["-c", "-Command", "-e", "-EncodedCommand"]),
];

const SHELLS: &[&str] = &["sh", "bash", "zsh", "dash", "ksh", "mksh", "ash", "rbash", "fish"];

/// Takes one wrapper off. `None`: it is no wrapper. The first word is the program, by its bare name.
pub(crate) fn unwrapped(name: &str, args: &[Arg]) -> Option<Unwrapped> {
    let rest = args.get(1..)?;
    let of = |inner: Inner| Unwrapped { inner: vec![inner], acts: false, sets: Vec::new() };
    if SHELLS.contains(&name) {
        return shell(rest).map(of);
    }
    match name {
        "env" => return Some(env(rest)),
        "eval" => return Some(of(joined(rest))),
        "watch" => return Some(of(options(&WATCH, rest).map_or(UNKNOWN, |at| joined(&rest[at..])))),
        "su" => return Some(Unwrapped { acts: true, ..of(behind(rest, &["-c", "--command"])) }),
        "script" => return Some(Unwrapped { acts: true, ..of(behind(rest, &["-c", "--command", "-qc"])) }),
        "ssh" | "mosh" | "rsh" => {
            return Some(Unwrapped { acts: true, ..of(Inner::Unknown(Doubt::Elsewhere)) });
        }
        "parallel" | "flock" | "entr" => {
            return Some(Unwrapped { acts: true, ..of(Inner::Unknown(Doubt::Code)) });
        }
        "trap" => {
            let code = rest.iter().find(|arg| arg.known().is_none_or(|text| !text.starts_with('-')));
            return Some(of(code.map_or(Inner::Words(Vec::new()), text)));
        }
        "find" | "fd" | "fdfind" => return found(name, rest),
        "command" if rest.first().and_then(Arg::known).is_some_and(|it| matches!(it, "-v" | "-V")) => {
            return None;
        }
        "perf" if rest.first().and_then(Arg::known).is_none_or(|it| !matches!(it, "stat" | "record")) => {
            return None;
        }
        _ => {}
    }
    let form = FORMS.iter().find(|form| form.name == name)?;
    let Some(at) = options(form, rest) else {
        return Some(Unwrapped { acts: form.acts, ..of(UNKNOWN) });
    };
    let mut inner = rest.get(at + form.skip..).unwrap_or_default().to_vec();
    let mut sets = Vec::new();
    if name == "sudo" {
        let set = |arg: &Arg| arg.known().and_then(variable).map(str::to_owned);
        sets = inner.iter().map_while(set).collect();
        inner.drain(..sets.len());
    }
    if name == "xargs" {
        if inner.is_empty() {
            inner.push(Arg::Known("echo".into()));
        }
        if let Some(sign) = replaced(&rest[..at]) {
            for word in &mut inner {
                if let Some(text) = word.known().filter(|text| text.contains(&sign)) {
                    *word = Arg::One(text.to_owned());
                }
            }
        }
        inner.push(Arg::Many("...".into()));
    }
    Some(Unwrapped { inner: vec![Inner::Words(inner)], acts: form.acts, sets })
}

/// The text that `xargs` puts something else in for.
fn replaced(args: &[Arg]) -> Option<String> {
    let mut words = args.iter().map_while(Arg::known);
    let mut sign = None;
    while let Some(word) = words.next() {
        if let Some(text) = word.strip_prefix("--replace") {
            sign = Some(text.strip_prefix('=').unwrap_or("{}"));
        } else if let Some((_, text)) = word.split_once('I').filter(|_| !word.starts_with("--")) {
            sign = if text.is_empty() { words.next() } else { Some(text) };
        }
    }
    sign.map(str::to_owned)
}

const UNKNOWN: Inner = Inner::Unknown(Doubt::Program);
const WATCH: Form = form(
    "watch",
    ["bcdegtwx", "nq"],
    ["--differences --no-title --beep --errexit --chgexit --color --exec --precise", "--interval"],
    0,
);

/// Where the operands begin; `None` when an option is not known.
fn options(form: &Form, args: &[Arg]) -> Option<usize> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        let text = arg.known()?;
        if text == "--" {
            return Some(at + 1);
        }
        at += 1;
        if text.starts_with("--") {
            let name = text.split('=').next().unwrap_or(text);
            let has = |list: &str| list.split(' ').any(|option| option == name);
            if has(form.long[1]) {
                at += usize::from(!text.contains('='));
            } else if !has(form.long[0]) {
                return None;
            }
        } else if let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            for (n, letter) in letters.char_indices() {
                if form.short[1].contains(letter) {
                    at += usize::from(n + letter.len_utf8() == letters.len());
                    break;
                }
                if !form.short[0].contains(letter) {
                    return None;
                }
            }
        } else {
            return Some(at - 1);
        }
    }
    Some(args.len())
}

fn variable(text: &str) -> Option<&str> {
    text.split_once('=').map(|(name, _)| name).filter(|name| is_name(name))
}

fn text(arg: &Arg) -> Inner {
    arg.known().map_or(Inner::Unknown(Doubt::Code), |text| Inner::Line(text.to_owned()))
}

/// Words that are put together and read again.
fn joined(args: &[Arg]) -> Inner {
    let known: Option<Vec<&str>> = args.iter().map(Arg::known).collect();
    known.map_or(Inner::Unknown(Doubt::Code), |words| Inner::Line(words.join(" ")))
}

/// The text behind one of these options.
fn behind(args: &[Arg], names: &[&str]) -> Inner {
    let at = args.iter().position(|arg| arg.known().is_some_and(|text| names.contains(&text)));
    at.and_then(|at| args.get(at + 1)).map_or(UNKNOWN, text)
}

fn shell(args: &[Arg]) -> Option<Inner> {
    let (mut at, mut code) = (0, false);
    while let Some(arg) = args.get(at) {
        let Some(option) = arg.known() else { return Some(Inner::Unknown(Doubt::Code)) };
        match option {
            "--" | "-" => {
                at += 1;
                break;
            }
            "--rcfile" | "--init-file" => return Some(Inner::Unknown(Doubt::Code)),
            "--version" | "--help" => return None,
            option if option.starts_with("--") => {}
            option if option.starts_with(['-', '+']) => {
                code |= option.starts_with('-') && option.contains('c');
                at += option.matches(['o', 'O']).count();
                if option.contains('s') && !option.contains('c') {
                    return Some(Inner::Input);
                }
            }
            _ => break,
        }
        at += 1;
    }
    match (code, args.get(at)) {
        (true, Some(arg)) => Some(text(arg)),
        (true, None) => Some(Inner::Words(Vec::new())),
        // A script of its own: a program like any other.
        (false, Some(_)) => None,
        (false, None) => Some(Inner::Input),
    }
}

fn env(args: &[Arg]) -> Unwrapped {
    let mut sets = Vec::new();
    let of = |inner: Inner, sets: Vec<String>| Unwrapped { inner: vec![inner], acts: false, sets };
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        let Some(word) = arg.known() else { return of(UNKNOWN, sets) };
        at += 1;
        match word {
            "-0" | "-v" | "--null" | "--debug" | "--" => {}
            // With all else goes what keeps git from a repository somebody planted.
            "-i" | "-" | "--ignore-environment" => sets.push("the whole environment".into()),
            "-u" | "--unset" => {
                sets.extend(
                    args.get(at).map(|arg| arg.shown().to_owned()).filter(|name| name.starts_with("GIT_")),
                );
                at += 1;
            }
            "-S" | "--split-string" => return split(args.get(at..).unwrap_or_default(), sets),
            // Another directory, and whatever else there may be.
            word if word.starts_with('-') => return of(UNKNOWN, sets),
            word => match variable(word) {
                Some(name) => sets.push(name.to_owned()),
                None => return of(Inner::Words(args[at - 1..].to_vec()), sets),
            },
        }
    }
    of(Inner::Words(Vec::new()), sets)
}

/// Text that `env` splits by itself, in front of the rest.
fn split(args: &[Arg], mut sets: Vec<String>) -> Unwrapped {
    let simple = |text: &&str| !text.contains(['\\', '$', '\'', '"', '#']);
    let text = args.first().and_then(Arg::known).filter(simple);
    let words = text.map(|text| {
        let split = text.split_ascii_whitespace().map(|word| Arg::Known(word.to_owned()));
        split.chain(args[1..].iter().cloned()).collect::<Vec<_>>()
    });
    match words.filter(|words| words.iter().all(|word| !word.shown().starts_with('-'))) {
        Some(words) => {
            let mut unwrapped = env(&words);
            sets.append(&mut unwrapped.sets);
            Unwrapped { sets, ..unwrapped }
        }
        None => Unwrapped { inner: vec![UNKNOWN], acts: false, sets },
    }
}

/// Commands behind `-exec` and its kin.
fn found(name: &str, args: &[Arg]) -> Option<Unwrapped> {
    let runs: &[&str] = match name {
        "find" => &["-exec", "-execdir", "-ok", "-okdir"],
        _ => &["-x", "--exec", "-X", "--exec-batch"],
    };
    let mut inner = Vec::new();
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        at += 1;
        if arg.known().is_none_or(|text| !runs.contains(&text)) {
            continue;
        }
        let mut words = Vec::new();
        while let Some(arg) = args.get(at) {
            at += 1;
            match arg.known() {
                Some(";" | "+") => break,
                Some(text) if text.contains("{}") => words.push(Arg::One(text.to_owned())),
                _ => words.push(arg.clone()),
            }
        }
        inner.push(Inner::Words(words));
    }
    (!inner.is_empty()).then_some(Unwrapped { inner, acts: true, sets: Vec::new() })
}

/// Does it run code that stands among its arguments, or that it reads from its input?
pub(crate) fn runs_code(name: &str, args: &[Arg], fed: bool) -> bool {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let Some((_, options)) = CODE.iter().find(|(program, _)| *program == name || *program == bare) else {
        return known::hides_code(name, args);
    };
    let unknown = |arg: &Arg| arg.known().is_none();
    // Short options may stand together: `-ic`.
    let brings = |text: &str| {
        let letters = text.starts_with('-') && !text.starts_with("--") && text.len() > 2;
        options.iter().any(|option| {
            *option == text
                || (letters && option.len() == 2 && text.contains(&option[1..]) && bare != "node")
                || (option.starts_with("--") && text.split('=').next() == Some(option))
        })
    };
    let operand = args.iter().position(|arg| arg.known().is_none_or(|text| !text.starts_with('-')));
    let front = &args[..operand.unwrap_or(args.len())];
    let code = front.iter().filter_map(Arg::known).any(brings)
        || options.iter().any(|option| args.first().and_then(Arg::known) == Some(option));
    let stdin = fed && (operand.is_none() || args.iter().any(|arg| arg.known() == Some("-")));
    code || stdin || operand.is_some_and(|at| unknown(&args[at]) && at == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner(line: &str) -> Option<String> {
        let args: Vec<Arg> = line.split(' ').map(|word| Arg::Known(word.into())).collect();
        let name = args[0].shown().to_owned();
        unwrapped(&name, &args).map(|it| match &it.inner[0] {
            Inner::Words(words) => words.iter().map(Arg::shown).collect::<Vec<_>>().join(" "),
            Inner::Line(text) => format!("line {text}"),
            Inner::Input => "input".into(),
            Inner::Unknown(doubt) => format!("{doubt:?}"),
        })
    }

    #[test]
    fn the_program_inside_is_the_one_that_runs() {
        for (line, is) in [
            ("nice -n 5 rm x", Some("rm x")),
            ("nice -5 rm x", Some("rm x")),
            ("timeout -s KILL 5 rm x", Some("rm x")),
            ("timeout --signal=KILL 5 rm x", Some("rm x")),
            ("timeout --strange 5 rm x", Some("Program")),
            ("env -i A=b rm x", Some("rm x")),
            ("env -C /x rm", Some("Program")),
            ("xargs -I {} rm {}", Some("rm {} ...")),
            ("xargs -n1 rm", Some("rm ...")),
            ("bash -lc id", Some("line id")),
            ("bash -x script", None),
            ("sh", Some("input")),
            ("sudo -u root -- rm x", Some("rm x")),
            ("find . -name a -exec rm {} ;", Some("rm {}")),
            ("find . -name a", None),
            ("command -v ls", None),
            ("command ls", Some("ls")),
            ("ssh host rm", Some("Elsewhere")),
            ("busybox rm x", Some("rm x")),
        ] {
            assert_eq!(inner(line).as_deref(), is, "{line}");
        }
    }
}
