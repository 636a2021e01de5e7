//! `list_project_structure`.
//!
//! Start at [`list`].

use crate::args::Args;
use crate::report::pattern;
use crate::root::Meta;
use crate::{Desk, Done, Stop};
use board::when;
use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;
use serde_json::{Map, Value, json};

/// Items in one reply; what is beyond is counted as left out.
const ITEMS: usize = 20_000;
/// Levels that are looked into.
const LEVELS: usize = 64;

/// A pattern for names of files, as shells write it.
pub(crate) fn glob(text: &str) -> Result<GlobMatcher, Stop> {
    let built = GlobBuilder::new(text).literal_separator(false).build();
    built
        .map(|glob| glob.compile_matcher())
        .map_err(|error| Stop::failed(format!("invalid `file_pattern`: {}", error.kind())))
}

struct Walk<'a> {
    desk: &'a Desk,
    args: &'a Args,
    names: Option<GlobMatcher>,
    exclude: Vec<Regex>,
    depth: usize,
    files: usize,
    directories: usize,
    left_out: bool,
}

pub(crate) fn list(desk: &Desk, args: &Args) -> Done {
    let dir = args.text("directory").filter(|dir| !dir.is_empty()).unwrap_or(".");
    if !desk.root.meta(dir)?.is_dir {
        return Err(Stop::failed(format!("{dir} is not a directory")));
    }
    let recursive = args.flag("recursive");
    let mut walk = Walk {
        desk,
        args,
        names: args.text("file_pattern").filter(|p| !p.is_empty()).map(glob).transpose()?,
        exclude: args
            .texts("exclude_patterns")
            .iter()
            .map(|text| pattern(text, true))
            .collect::<Result<_, _>>()?,
        depth: if recursive { args.whole("max_depth").unwrap_or(LEVELS).min(LEVELS) } else { 1 },
        files: 0,
        directories: 0,
        left_out: false,
    };
    let top = desk.root.relative(dir)?.to_string_lossy().into_owned();
    let structure = walk.level(&top, 1)?;
    let mut reply = json!({
        "directory": dir,
        "recursive": recursive,
        "total_items": walk.files + walk.directories,
        "directories": walk.directories,
        "files": walk.files,
        "structure": structure,
    });
    if walk.left_out {
        reply["truncated"] = true.into();
    }
    Ok(reply)
}

impl Walk<'_> {
    fn level(&mut self, dir: &str, depth: usize) -> Result<Map<String, Value>, Stop> {
        let mut out = Map::new();
        if depth > self.depth {
            return Ok(out);
        }
        for (name, meta) in self.desk.root.list(dir)? {
            if self.files + self.directories >= ITEMS {
                self.left_out = true;
                break;
            }
            let path = if dir == "." { name.clone() } else { format!("{dir}/{name}") };
            let hidden = name.starts_with('.') && !self.args.flag("include_hidden");
            if hidden || self.exclude.iter().any(|pattern| pattern.is_match(&path)) {
                continue;
            }
            if meta.is_dir {
                let children = match self.desk.root.is_link(&path) {
                    // What a link leads to is listed where it is.
                    true => Map::new(),
                    false => self.level(&path, depth + 1)?,
                };
                if self.args.flag("include_directories") {
                    self.directories += 1;
                    out.insert(name, json!({"type": "directory", "path": path, "children": children}));
                } else if !children.is_empty() {
                    out.insert(name, json!({"type": "directory", "path": path, "children": children}));
                }
            } else if self.args.flag("include_files")
                && self.names.as_ref().is_none_or(|names| names.is_match(&name))
            {
                self.files += 1;
                out.insert(name, file(&path, &meta));
            }
        }
        Ok(out)
    }
}

fn file(path: &str, meta: &Meta) -> Value {
    json!({"type": "file", "size": meta.size, "modified": when::written(meta.modified), "path": path})
}
