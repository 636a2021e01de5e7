//! Walks the workspace in a fixed order, as list and search see it: hidden files too, ignore files honoured,
//! git's own directory and foreign file systems left out, links never followed. Ignore files above the workspace are
//! somebody else's.
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
use std::path::{Component, Path, PathBuf};

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
    let plain: PathBuf = start.components().filter(|part| *part != Component::CurDir).collect();
    let levels = plain.components().count();
    // Where the ignore files above it are read too, unless they leave the start out or it is reached by a link: what
    // is asked for by its name is shown.
    let reached = levels == 0
        || builder(root, plain.clone(), walk.ignored)
            .max_depth(Some(levels))
            .build()
            .filter_map(Result::ok)
            .any(|entry| entry.depth() == levels && entry.file_type().is_some_and(|kind| kind.is_dir()));
    let (mut builder, skipped) = match reached {
        true => (builder(root, plain, walk.ignored), levels),
        false => (builder(&root.join(start), PathBuf::new(), walk.ignored), 0),
    };
    builder.max_depth(walk.depth.map(|depth| depth.saturating_add(skipped))).sort_by_file_name(Ord::cmp);
    let below = builder.build().filter_map(Result::ok).filter(move |entry| entry.depth() > skipped);
    Ok(below.filter_map(move |entry| {
        let path = entry.path().strip_prefix(root).ok()?;
        let path = path.strip_prefix(".").unwrap_or(path).to_owned();
        let fits = globs.as_ref().is_none_or(|globs| globs.is_match(&path));
        fits.then_some(Entry { path, kind: entry.file_type()? })
    }))
}

/// A walk from here on, of nothing but the way to this place and what is below it.
fn builder(top: &Path, place: PathBuf, ignored: bool) -> WalkBuilder {
    let mut builder = WalkBuilder::new(top);
    let levels = place.components().count();
    builder
        .standard_filters(!ignored)
        .parents(false)
        .hidden(false)
        .require_git(false)
        .git_global(false)
        .follow_links(false)
        .same_file_system(true)
        .filter_entry(move |entry| {
            let on_the_way = match entry.depth() {
                0 => true,
                depth => {
                    place.components().nth(depth - 1).is_none_or(|part| part.as_os_str() == entry.file_name())
                }
            };
            on_the_way && (entry.file_name() != ".git" || entry.depth() <= levels)
        });
    builder
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
