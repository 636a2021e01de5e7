//! Walks the workspace in a fixed order, as list and search see it: hidden files too, ignore files honoured,
//! git's own directory and foreign file systems left out, links never followed.
//! Knows nothing of what is done with a name. Start at [`entries`].
//!
//! The walker reads directories by path, so a directory swapped for a link meanwhile could lead it outside;
//! whoever uses a name opens it through [`Tree`], which refuses such a name then.

use crate::args::refuse;
use crate::name;
use crate::tree::Tree;
use contract::Fault;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::WalkBuilder;
use std::path::{Path, PathBuf};

/// Where and what to walk.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Start, relative to the workspace.
    pub(crate) start: PathBuf,
    pub(crate) depth: Option<usize>,
    pub(crate) glob: Option<String>,
    /// Also what ignore files leave out.
    pub(crate) ignored: bool,
}

/// An entry, relative to the workspace.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) kind: std::fs::FileType,
}

/// The entries below the start, sorted by name within each directory. What cannot be read is left out.
pub(crate) fn entries<'a>(
    tree: &Tree,
    root: &'a Path,
    walk: &Walk,
) -> Result<impl Iterator<Item = Entry> + use<'a>, Fault> {
    let start = tree.relative(&walk.start);
    tree.directory(start)?;
    let globs = walk.glob.as_deref().map(glob).transpose()?;
    let mut builder = WalkBuilder::new(root.join(start));
    builder
        .hidden(false)
        .standard_filters(!walk.ignored)
        .hidden(false)
        .require_git(false)
        .git_global(false)
        .follow_links(false)
        .same_file_system(true)
        .max_depth(walk.depth)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_name(Ord::cmp);
    let below = builder.build().filter_map(Result::ok).filter(|entry| entry.depth() > 0);
    Ok(below.filter_map(move |entry| {
        let path = entry.path().strip_prefix(root).ok()?;
        let path = path.strip_prefix(".").unwrap_or(path).to_owned();
        let fits = globs.as_ref().is_none_or(|globs| globs.is_match(&path));
        fits.then_some(Entry { path, kind: entry.file_type()? })
    }))
}

/// A glob as users of ripgrep know it: without a slash it fits the name in any directory.
fn glob(text: &str) -> Result<GlobSet, Fault> {
    let bad = |error: globset::Error| refuse(format!("glob `{text}`: {}", error.kind()));
    let anywhere =
        if text.contains('/') { text.trim_start_matches("./").to_owned() } else { format!("**/{text}") };
    let anywhere = anywhere.trim_start_matches('/');
    let glob =
        GlobBuilder::new(anywhere).literal_separator(true).backslash_escape(true).build().map_err(bad)?;
    GlobSetBuilder::new().add(glob).build().map_err(bad)
}

/// The start a model asked for; without one, the top.
pub(crate) fn start(path: Option<&str>) -> Result<PathBuf, Fault> {
    name::parse(path.unwrap_or("."))
}
