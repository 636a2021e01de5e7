//! Options that stand before the command of a program, taken out, so that a rule for `git push` sees `git -C x push`.
//!
//! Start at [`words`].

use crate::unfold::Unfolding;
use contract::policy::{Arg, Doubt, Part, brings};

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
    let mut next = 1;
    while let Some(text) = args.get(next).and_then(Arg::known) {
        let (option, attached) =
            text.split_once('=').map_or((text, None), |(option, value)| (option, Some(value)));
        let takes = values.contains(&option);
        if !takes && !flags.contains(&text) {
            break;
        }
        next += 1;
        let value = match attached {
            None if takes => {
                next += 1;
                args.get(next - 1).cloned()
            }
            attached => attached.map(|value| Arg::Known(value.to_owned())),
        };
        meant(name, option, value.as_ref(), part, at);
    }
    let mut out = args;
    out.drain(1..next.min(out.len()));
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
                ["user.name=", "user.email=", "color.", "advice.", "core.quotepath", "init.defaultbranch="]
                    .iter()
                    .any(|key| text.to_ascii_lowercase().starts_with(key))
            };
            if value.and_then(Arg::known).is_none_or(|text| text != "core.pager=cat" && !harmless(text)) {
                part.doubts.push(Doubt::Code);
            }
        }
        // The configuration of another repository may run anything.
        ("git", "--config-env" | "--exec-path" | "--git-dir" | "--work-tree" | "--bare")
        | ("cargo", "--config") => part.doubts.push(Doubt::Code),
        ("docker", "-H" | "--host" | "-c" | "--context") | ("kubectl", "-s" | "--server") => {
            part.doubts.push(Doubt::Elsewhere);
        }
        (_, "-C" | "--prefix" | "--dir" | "--cwd" | "--directory" | "-chdir") => {
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
        CODE.iter().any(|listed| {
            // Elsewhere such a letter in a cluster is a value or means nothing of the kind.
            let clusters = matches!((sub, *listed), ("grep", "-O") | ("rebase", "-x") | ("clone", "-u"));
            let hit = match listed.starts_with("--") || clusters {
                true => brings(arg, listed),
                false => arg == *listed,
            };
            hit && !(*listed == "-u" && harmless_u)
                && !(*listed == "-x" && matches!(sub, "clean" | "cherry-pick"))
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
        const READS: &[&str] = &["--get", "--get-all", "--get-regexp", "--list", "-l", "--get-urlmatch"];
        let operands = known().filter(|arg| !arg.starts_with('-')).count();
        let key = known().find(|arg| !arg.starts_with('-'));
        let own = matches!(key, Some("user.name" | "user.email" | "init.defaultBranch" | "commit.gpgsign"));
        let reads = matches!(known().next(), Some("get" | "list"))
            || known().take_while(|arg| arg.starts_with('-')).any(|arg| READS.contains(&arg));
        let place = known().any(|arg| matches!(arg, "--global" | "--system" | "-f" | "--file"));
        if !reads && operands != 1 && (place || !own) {
            at.writes(if place { "~/.gitconfig" } else { ".git/config" }, &mut part.touches);
        }
    }
}
