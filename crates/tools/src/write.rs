//! `write`: a whole file, new or replaced in one step. Staged: the savepoint before it undoes it.
//! Knows nothing of how a path stays inside (`tree.rs`). Start at [`Write`].

use crate::args::{blocking, parse, refuse};
use crate::change::Draft;
use crate::judge::changes_files;
use crate::name;
use crate::tree::Tree;
use contract::limits::EDIT_BYTES;
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};

/// The tool.
#[derive(Debug)]
pub(crate) struct Write;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    path: String,
    content: String,
}

impl Tool for Write {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "write".into(),
            description: "Writes a whole file, making missing directories; what was there is replaced. \
                To change part of a file, use edit."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "File, relative to the workspace."},
                    "content": {"type": "string", "description": "All of its text."}
                },
                "required": ["path", "content"],
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let parsed = Args::parse(args)?;
        let path = name::parse(&parsed.path)?;
        changes_files("write", args, scope, &[&path], "writes one file of the workspace")
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || {
            let args = Args::parse(&args)?;
            let path = name::parse(&args.path)?;
            let tree = Tree::at(&scope.root)?;
            let mut draft = Draft::new(&tree);
            let did = if draft.read(&path)?.is_some() { "replaced" } else { "created" };
            let size = args.content.len();
            draft.write(&path, args.content.into_bytes())?;
            draft.commit()?;
            Ok(Output::ok(format!("{did} `{}` ({size} bytes)", name::show(&path))))
        }))
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("write", args)?;
        if parsed.content.len() > EDIT_BYTES {
            return Err(refuse(format!("`write`: content is larger than {EDIT_BYTES} bytes")));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, data};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn write(bench: &Bench, path: &str, content: &str) -> Output {
        bench.run(&Write, json!({"path": path, "content": content}))
    }

    #[test]
    fn new_files_get_their_directories_and_old_ones_keep_their_mode() {
        let bench = Bench::new();
        assert_eq!(write(&bench, "a/b/c.txt", "one").text, "created `a/b/c.txt` (3 bytes)");
        let script = bench.root().join("a/b/c.txt");
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o751)).unwrap();
        assert_eq!(write(&bench, "a/b/c.txt", "").text, "replaced `a/b/c.txt` (0 bytes)");
        assert_eq!(std::fs::metadata(&script).unwrap().permissions().mode() & 0o7777, 0o751);
        assert_eq!(
            std::fs::read_dir(script.parent().unwrap()).unwrap().count(),
            1,
            "no temporary file stays"
        );
    }

    #[test]
    fn links_inside_are_followed_and_stay_links() {
        let bench = Bench::new();
        bench.file("real/file", "old");
        symlink("real", bench.root().join("dir")).unwrap();
        symlink("../real/file", bench.root().join("real/link")).unwrap();
        assert!(write(&bench, "dir/link", "new").ok);
        assert_eq!(bench.text("real/file"), "new");
        assert!(bench.root().join("real/link").is_symlink());
        symlink("round", bench.root().join("round")).unwrap();
        assert!(write(&bench, "round", "x").text.contains("too many symbolic links"));
    }

    #[test]
    fn nothing_is_written_outside() {
        let bench = Bench::new();
        let top = bench.top();
        symlink(&top, bench.root().join("out")).unwrap();
        symlink("..", bench.root().join("up")).unwrap();
        symlink(top.join("outside.txt"), bench.root().join("file")).unwrap();
        symlink(top.join("new.txt"), bench.root().join("dangling")).unwrap();
        symlink("/proc/self/cwd", bench.root().join("magic")).unwrap();
        let absolute = top.join("outside.txt").into_os_string().into_string().unwrap();
        for path in [
            "../outside.txt",
            "../new",
            "a/../../new",
            "out/outside.txt",
            "out/new/x",
            "up/new",
            "file",
            "dangling",
            "magic/x",
            "magic",
            &absolute,
            "/new-in-the-root",
            "..",
            ".",
            "a/..",
            "",
            "\\x2e\\x2e/outside.txt",
        ] {
            let output = write(&bench, path, "changed");
            assert!(!output.ok, "{path}: {}", output.text);
            assert!(
                bench.judge(&Write, json!({"path": path, "content": ""})).is_err() || path == "a/../../new",
                "{path}"
            );
            bench.outside_is_untouched();
        }
    }

    #[test]
    fn what_belongs_to_git_is_refused_by_every_name() {
        let bench = Bench::new();
        bench.file(".git/hooks/old", "");
        bench.file("sub/.git/config", "");
        symlink(".git", bench.root().join("innocent")).unwrap();
        symlink("sub/.git/config", bench.root().join("config")).unwrap();
        for path in [
            ".git/hooks/pre-commit",
            ".git/hooks/old",
            "innocent/hooks/old",
            "innocent/new",
            ".git",
            ".GIT/x",
            "sub/.git/config",
            "config",
            "a/.git/hooks/x",
            ".git/new/x",
            "sub/../.git/config",
        ] {
            let output = write(&bench, path, "changed");
            assert!(!output.ok && output.text.contains("belongs to git"), "{path}: {}", output.text);
        }
        assert!(write(&bench, ".gitignore", "target").ok);
        assert!(write(&bench, "git/.github/x.yml", "on:").ok);
    }

    #[test]
    fn an_approval_is_bound_to_what_is_there_now() {
        let bench = Bench::new();
        let hash =
            |content: &str| bench.judge(&Write, json!({"content": content, "path": "x/y"})).unwrap().hash;
        let first = hash("a");
        assert_eq!(first, hash("a"));
        assert_ne!(first, hash("b"));
        bench.file("x/y", "something");
        assert_ne!(first, hash("a"));
        assert_eq!(
            bench.judge(&Write, json!({"path": "x/y", "content": ""})).unwrap().class,
            contract::action::EffectClass::Staged
        );
    }

    #[test]
    fn traversal_texts_stay_inside_or_fail() {
        let Some(texts) = data("attacks/path-traversal.txt", 1027) else { return };
        let bench = Bench::new();
        for (n, path) in String::from_utf8_lossy(&texts).lines().enumerate() {
            let inside =
                |file: &str| std::fs::read_to_string(file).is_ok_and(|text| text.contains("kapell-was-here"));
            let output = write(&bench, path, "kapell-was-here");
            for file in [path, "/etc/passwd", "/etc/shadow", "/boot.ini"] {
                assert!(
                    !inside(file) || file.starts_with(bench.root().to_str().unwrap()),
                    "{n}: {path}: {}",
                    output.text
                );
            }
            if n % 50 == 0 {
                bench.outside_is_untouched();
            }
            let read = bench.run(&crate::read::Read, json!({"path": path}));
            assert!(!read.ok || read.text.contains("kapell-was-here"), "{path}: {}", read.text);
        }
        bench.outside_is_untouched();
    }

    #[test]
    fn naughty_strings_are_names_and_contents_like_others() {
        let Some(texts) = data("attacks/naughty-strings.json", 515) else { return };
        let texts: Vec<String> = serde_json::from_slice(&texts).unwrap();
        let bench = Bench::new();
        for (n, text) in texts.iter().enumerate() {
            let path = format!("c/{n}");
            assert!(write(&bench, &path, text).ok);
            assert_eq!(&bench.text(&path), text);
            let shown = crate::name::show(std::path::Path::new(text));
            if write(&bench, &shown, text).ok {
                assert_eq!(&bench.text(text), text, "{shown}");
            }
        }
        bench.outside_is_untouched();
    }

    #[test]
    fn a_directory_swapped_for_a_link_leads_nowhere() {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use std::sync::atomic::{AtomicBool, Ordering};
        let bench = Bench::new();
        bench.file("dir/file", "inside");
        std::fs::create_dir(bench.top().join("ws/hidden")).unwrap();
        symlink(bench.top(), bench.root().join("link")).unwrap();
        std::fs::remove_dir(bench.top().join("ws/hidden")).unwrap();
        let (dir, link) = (bench.root().join("dir"), bench.root().join("link"));
        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let tree = Tree::at(bench.root()).unwrap();
            let mut written = 0;
            for _ in 0..5_000 {
                let mut draft = Draft::new(&tree);
                if draft.write("dir/outside.txt".as_ref(), b"inside".to_vec()).is_ok() {
                    written += u32::from(draft.commit().is_ok());
                }
                if let Ok((mut file, _)) = tree.open("dir/outside.txt".as_ref()) {
                    let mut text = String::new();
                    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
                    assert_eq!(text, "inside");
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(written > 0, "the race never went our way");
        });
        bench.outside_is_untouched();
    }
}
