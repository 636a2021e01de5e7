//! Finds the repository a person stands in, by looking at files: no program is started for it.
//!
//! Knows what a git directory looks like from outside; git itself is asked when the workspace is prepared. Start at
//! [`find`].

use crate::exit::Failure;
use std::path::{Path, PathBuf};

/// The top of the work tree (or the bare repository) that holds `start`.
pub(crate) fn find(start: &Path) -> Result<PathBuf, Failure> {
    let start = start.canonicalize().map_err(|error| {
        let what = format!("cannot enter {}: {error}", start.display());
        Failure::usage("no-directory", what, "name a directory that exists: kapell -C DIR ...")
    })?;
    for dir in start.ancestors() {
        if dir.join(".git").symlink_metadata().is_ok() {
            return Ok(dir.to_path_buf());
        }
        if looks_bare(dir) {
            // Inside `.git` itself: the work tree is meant.
            let inside = dir.file_name().is_some_and(|name| name == ".git");
            return Ok(dir.parent().filter(|_| inside).unwrap_or(dir).to_path_buf());
        }
    }
    let what = format!("{} is not inside a git repository", start.display());
    Err(Failure::usage("not-a-repository", what, "git init && git add -A && git commit -m start"))
}

/// The same as text, because it goes on record.
pub(crate) fn find_text(start: &Path) -> Result<String, Failure> {
    find(start)?.into_os_string().into_string().map_err(|path| {
        let what = format!("the path {} is not UTF-8, which the journal cannot hold", path.display());
        Failure::usage(
            "path-not-text",
            what,
            "reach the repository by another path, such as a symlink or a bind mount",
        )
    })
}

fn looks_bare(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn bare(dir: &Path) {
        fs::create_dir_all(dir.join("objects")).unwrap();
        fs::create_dir_all(dir.join("refs")).unwrap();
        fs::write(dir.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    }

    #[test]
    fn repositories_of_every_shape() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        let (plain, linked, naked) = (top.join("plain"), top.join("linked"), top.join("naked.git"));
        bare(&plain.join(".git"));
        fs::create_dir_all(plain.join("src/deep")).unwrap();
        fs::create_dir_all(&linked).unwrap();
        fs::write(linked.join(".git"), "gitdir: ../plain/.git/worktrees/linked\n").unwrap();
        bare(&naked);
        assert_eq!(find(&plain.join("src/deep")).unwrap(), plain);
        assert_eq!(find(&plain.join(".git/refs")).unwrap(), plain);
        assert_eq!(find(&linked).unwrap(), linked);
        assert_eq!(find(&naked.join("refs")).unwrap(), naked);
    }

    #[test]
    fn anywhere_else_says_what_to_type() {
        let temp = tempfile::tempdir().unwrap();
        let error = find(temp.path()).unwrap_err();
        assert_eq!((error.code, error.fault.code.as_str()), (2, "not-a-repository"));
        assert!(error.fault.hint.starts_with("git init"));
        assert_eq!(find(&temp.path().join("gone")).unwrap_err().fault.code, "no-directory");
    }
}
