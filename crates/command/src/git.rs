//! Options that stand before the command of a program, taken out, so that a rule for `git push` sees `git -C x push`.
//!
//! Start at [`words`].

use crate::unfold::Unfolding;
use contract::policy::{Arg, Doubt, Part};

/// Programs with commands of their own: options before the command without and with a value.
const GLOBAL: &[(&str, &[&str], &[&str])] = &[
    (
        "git",
        &[
            "-p",
            "-P",
            "--no-pager",
            "--paginate",
            "--no-replace-objects",
            "--literal-pathspecs",
            "--no-optional-locks",
            "--bare",
        ],
        &[
            "-C",
            "-c",
            "--git-dir",
            "--work-tree",
            "--namespace",
            "--config-env",
            "--exec-path",
            "--super-prefix",
        ],
    ),
    (
        "cargo",
        &["-q", "--quiet", "-v", "--verbose", "--offline", "--locked", "--frozen"],
        &["--color", "-C", "--config", "-Z"],
    ),
    ("npm", &["--silent", "-s", "-g", "--global"], &["--prefix", "-C", "--loglevel"]),
    ("pnpm", &["-r", "--recursive", "-w"], &["-C", "--dir", "--filter", "-F"]),
    ("yarn", &["--silent"], &["--cwd"]),
    ("docker", &["-D", "--debug"], &["-c", "--context", "-l", "--log-level", "--config", "-H", "--host"]),
    ("kubectl", &[], &["-n", "--namespace", "--context", "--kubeconfig", "-s", "--server"]),
    ("make", &["-s", "--silent", "-k", "-B"], &["-C", "--directory", "-j", "--jobs"]),
    ("gh", &[], &["-R", "--repo"]),
    ("go", &[], &["-C"]),
    ("terraform", &[], &["-chdir"]),
];

/// The words as rules see them. Doubts and paths of what was taken out join the part.
pub(crate) fn words(name: &str, args: Vec<Arg>, part: &mut Part, at: Unfolding<'_, '_>) -> Vec<Arg> {
    let Some((_, flags, values)) = GLOBAL.iter().find(|(program, ..)| *program == name) else { return args };
    let mut out = vec![args[0].clone()];
    let mut rest = args[1..].iter();
    let mut options = Vec::new();
    for arg in rest.by_ref() {
        let Some(text) = arg.known() else {
            out.push(arg.clone());
            break;
        };
        let (option, attached) =
            text.split_once('=').map_or((text, None), |(option, value)| (option, Some(value)));
        if flags.contains(&text) {
            continue;
        }
        if !values.contains(&option) {
            out.push(arg.clone());
            break;
        }
        options.push((option.to_owned(), attached.map(|value| Arg::Known(value.to_owned()))));
        if attached.is_none() {
            break;
        }
    }
    // A value that stands apart: take it, then go on with what is behind it.
    if let Some((option, value @ None)) = options.last_mut() {
        let option = option.clone();
        *value = rest.next().cloned();
        let taken = value.clone();
        let more = [&out[..1], rest.as_slice()].concat();
        meant(name, &option, taken.as_ref(), part, at);
        return words(name, more, part, at);
    }
    for (option, value) in &options {
        meant(name, option, value.as_ref(), part, at);
    }
    out.extend(rest.cloned());
    if name == "git" {
        command(&out, part, at);
    }
    out
}

/// What an option in front means.
fn meant(name: &str, option: &str, value: Option<&Arg>, part: &mut Part, at: Unfolding<'_, '_>) {
    match (name, option) {
        ("git", "-c") => {
            let harmless = |text: &str| {
                [
                    "user.name=",
                    "user.email=",
                    "color.",
                    "advice.",
                    "core.quotepath",
                    "init.defaultbranch=",
                    "core.pager=cat",
                ]
                .iter()
                .any(|key| text.to_ascii_lowercase().starts_with(key))
            };
            if value.and_then(Arg::known).is_none_or(|text| !harmless(text)) {
                part.doubts.push(Doubt::Code);
            }
        }
        ("git", "--config-env" | "--exec-path") | ("cargo", "--config") => part.doubts.push(Doubt::Code),
        ("docker", "-H" | "--host" | "-c" | "--context") | ("kubectl", "-s" | "--server") => {
            part.doubts.push(Doubt::Elsewhere);
        }
        (
            _,
            "-C" | "--git-dir" | "--work-tree" | "--prefix" | "--dir" | "--cwd" | "--directory" | "-chdir",
        ) => {
            if let Some(value) = value {
                at.seen_from(value, &mut part.touches);
            }
        }
        _ => {}
    }
}

/// Commands of git that run something or change what later ones run.
fn command(words: &[Arg], part: &mut Part, at: Unfolding<'_, '_>) {
    const CODE: &[&str] = &[
        "--upload-pack",
        "--receive-pack",
        "--exec",
        "-x",
        "--ext-diff",
        "--textconv",
        "--open-files-in-pager",
        "-O",
        "--extcmd",
        "--tree-filter",
        "--index-filter",
        "--msg-filter",
        "--env-filter",
        "--commit-filter",
        "--template",
        "--tool",
        "--web-browser",
        "-u",
    ];
    let Some(sub) = words.get(1).and_then(Arg::known) else { return };
    let args = &words[2..];
    let known = || args.iter().filter_map(Arg::known);
    let harmless_u = matches!(
        sub,
        "push" | "add" | "branch" | "diff" | "log" | "show" | "stash" | "commit" | "checkout" | "status"
    );
    let code = |arg: &str| {
        CODE.iter().any(|option| {
            let hit = arg == *option || (option.starts_with("--") && arg.starts_with(&format!("{option}=")));
            hit && !(*option == "-u" && harmless_u)
                && !(*option == "-x" && matches!(sub, "clean" | "cherry-pick"))
        })
    };
    let runs = match sub {
        "filter-branch" | "difftool" | "mergetool" | "daemon" | "send-email" | "instaweb" => true,
        "bisect" => known().any(|arg| arg == "run"),
        "submodule" => known().any(|arg| arg == "foreach"),
        _ => known().any(code) || known().any(|arg| arg.contains("ext::")),
    };
    if runs {
        part.doubts.push(Doubt::Code);
    }
    if sub == "config" {
        const READS: &[&str] =
            &["--get", "--get-all", "--get-regexp", "--list", "-l", "get", "list", "--get-urlmatch"];
        let operands = known().filter(|arg| !arg.starts_with('-')).count();
        let own = known()
            .any(|arg| matches!(arg, "user.name" | "user.email" | "init.defaultBranch" | "commit.gpgsign"));
        let place = known().any(|arg| matches!(arg, "--global" | "--system" | "-f" | "--file"));
        if !known().any(|arg| READS.contains(&arg)) && operands != 1 && (place || !own) {
            at.writes(if place { "~/.gitconfig" } else { ".git/config" }, &mut part.touches);
        }
    }
}
