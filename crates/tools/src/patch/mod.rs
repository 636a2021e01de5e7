//! `apply_patch`: changes to several files at once, in any of the formats models write; all of them or none. Staged.
//!
//! Knows nothing of how files are put there (`change.rs`). Start at [`ApplyPatch`], then [`parse`] and [`changed`]; each
//! format is a file of its own, `hunk.rs` finds where a hunk goes.

mod blocks;
mod envelope;
pub(crate) mod hunk;
mod near;
mod unified;

use crate::args::{blocking, parse as parse_args, refuse};
use crate::change::Draft;
use crate::judge::changes_files;
use crate::name;
use crate::parts;
use crate::tree::Tree;
use contract::action::EffectClass;
use contract::limits::{CHANGE_FILES, EDIT_BYTES, OUTPUT_VIEW_BYTES};
use contract::model::ToolSpec;
use contract::policy::{How, Part};
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use hunk::Hunk;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The tool.
#[derive(Debug)]
pub(crate) struct ApplyPatch;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    #[serde(alias = "input")]
    patch: String,
}

/// What a patch does to one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// Where it is; none = it is made.
    pub(crate) old: Option<PathBuf>,
    /// Where it is afterwards; none = it goes.
    pub(crate) new: Option<PathBuf>,
    /// The old one stays.
    pub(crate) copy: bool,
    /// It is to be executable, or not.
    pub(crate) executable: Option<bool>,
    pub(crate) hunks: Vec<Hunk>,
}

/// A patch that is none.
#[derive(Debug)]
pub(crate) struct Bad {
    line: usize,
    why: String,
}

impl Bad {
    fn at(line: usize, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }
}

impl Tool for ApplyPatch {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "apply_patch".into(),
            description: "Applies a patch to files of the workspace: all of it, or nothing. Takes a unified diff (as git \
                writes it: new, deleted and renamed files too), `*** Begin Patch` with `*** Add/Update/Delete File: PATH` \
                sections, or SEARCH/REPLACE blocks below a file's name. A hunk that does not fit exactly where it says \
                goes where it fits if that is one place."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {"patch": {"type": "string", "description": "The patch. Paths are relative to the workspace."}},
                "required": ["patch"],
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let sections = Args::sections(args)?;
        let paths: Vec<&Path> =
            sections.iter().flat_map(|s| s.old.iter().chain(&s.new)).map(|p| &**p).collect();
        changes_files("apply_patch", args, scope, &paths, "changes files of the workspace")
    }

    fn parts(&self, args: &Value, scope: &Scope, _: EffectClass) -> Vec<Part> {
        let sections = Args::sections(args).unwrap_or_default();
        let old = sections.iter().filter_map(|section| {
            Some((section.old.as_deref()?, if section.copy { How::Read } else { How::Write }))
        });
        let new = sections.iter().filter_map(|section| Some((section.new.as_deref()?, How::Write)));
        parts::files(scope, old.chain(new))
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || {
            let sections = Args::sections(&args)?;
            let tree = Tree::at(&scope.root)?;
            let mut draft = Draft::new(&tree);
            let (mut said, mut refused) = (Vec::new(), Vec::new());
            for section in &sections {
                match changed(&mut draft, section) {
                    Ok(what) => said.push(what),
                    Err(why) => refused.extend(why),
                }
            }
            if refused.is_empty() {
                draft.commit()?;
                return Ok(Output::ok(said.join("\n")));
            }
            let mut text =
                format!("nothing was changed: {} of the patch does not fit\n", told_parts(refused.len()));
            for why in refused {
                text.push_str(&why);
                text.push('\n');
            }
            text.truncate(text.floor_char_boundary(OUTPUT_VIEW_BYTES));
            Ok(Output::error(text))
        }))
    }
}

fn told_parts(n: usize) -> String {
    if n == 1 { "one part".to_owned() } else { format!("{n} parts") }
}

impl Args {
    fn sections(args: &Value) -> Result<Vec<Section>, Fault> {
        let Self { patch } = parse_args("apply_patch", args)?;
        let sections = parse(&patch).map_err(|bad| {
            let line = patch.lines().nth(bad.line).unwrap_or_default();
            let line = crate::view::visible(&line.as_bytes()[..line.floor_char_boundary(120)]);
            refuse(format!("`apply_patch`: line {} of the patch, `{line}`: {}", bad.line + 1, bad.why))
        })?;
        if sections.is_empty() {
            return Err(refuse(
                "`apply_patch`: this is no patch. Send a unified diff (`--- a/PATH`, `+++ b/PATH`, `@@ -1,3 +1,4 @@`), \
                 a text from `*** Begin Patch` to `*** End Patch`, or SEARCH/REPLACE blocks below a file's name",
            ));
        }
        if sections.len() > CHANGE_FILES {
            return Err(refuse(format!("`apply_patch`: at most {CHANGE_FILES} files in one patch")));
        }
        Ok(sections)
    }
}

/// What a patch says, whichever its format. Nothing in it: it is none.
pub(crate) fn parse(patch: &str) -> Result<Vec<Section>, Bad> {
    let mut lines: Vec<&str> = patch.split('\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    // A patch that came through something with other line ends.
    if lines.iter().all(|line| line.ends_with('\r')) {
        lines.iter_mut().for_each(|line| *line = line.trim_end_matches('\r'));
    }
    if envelope::is_one(&lines) {
        envelope::parse(&lines)
    } else if unified::is_one(&lines) {
        unified::parse(&lines)
    } else if blocks::is_one(&lines) {
        blocks::parse(&lines)
    } else {
        Ok(Vec::new())
    }
}

/// A name in a patch, in the spelling of Kapell's own tools.
fn line_name(text: &str) -> OsString {
    name::parse(text).map_or_else(|_| text.into(), Into::into)
}

/// Puts what a section says into the draft; what was done, or everything that stands against it.
pub(crate) fn changed(draft: &mut Draft<'_>, section: &Section) -> Result<String, Vec<String>> {
    let one = |fault: Fault| vec![fault.what];
    match (&section.old, &section.new) {
        (Some(old), None) => deleted(draft, old, &section.hunks),
        (None, Some(new)) => {
            let there = draft.read(new).map_err(one)?.is_some_and(|bytes| !bytes.is_empty());
            if there {
                return Err(vec![format!("`{}` exists already; update it instead", name::show(new))]);
            }
            let bytes = applied(new, &[], &section.hunks)?.bytes;
            let said = format!("created `{}` ({} bytes)", name::show(new), bytes.len());
            draft.write(new, bytes).map_err(one)?;
            draft.executable(new, section.executable);
            Ok(said)
        }
        (Some(old), Some(new)) => updated(draft, old, new, section),
        (None, None) => Err(vec!["no file is named".to_owned()]),
    }
}

fn there<'d>(draft: &'d mut Draft<'_>, path: &Path) -> Result<&'d [u8], Vec<String>> {
    let missing = || vec![format!("`{}` does not exist", name::show(path))];
    draft.read(path).map_err(|fault| vec![fault.what])?.ok_or_else(missing)
}

fn applied(path: &Path, bytes: &[u8], hunks: &[Hunk]) -> Result<hunk::Applied, Vec<String>> {
    let shown = name::show(path);
    let done = hunk::apply(bytes, hunks)
        .map_err(|why| why.into_iter().map(|why| format!("`{shown}`: {why}")).collect::<Vec<_>>())?;
    if done.bytes.len() > EDIT_BYTES {
        return Err(vec![format!("`{shown}` would grow beyond {EDIT_BYTES} bytes")]);
    }
    Ok(done)
}

fn deleted(draft: &mut Draft<'_>, old: &Path, hunks: &[Hunk]) -> Result<String, Vec<String>> {
    let bytes = there(draft, old)?;
    if !hunks.is_empty() && !applied(old, bytes, hunks)?.bytes.is_empty() {
        return Err(vec![format!("`{}` holds more than the patch deletes; read it again", name::show(old))]);
    }
    draft.remove(old).map_err(|fault| vec![fault.what])?;
    Ok(format!("deleted `{}`", name::show(old)))
}

fn updated(draft: &mut Draft<'_>, old: &Path, new: &Path, section: &Section) -> Result<String, Vec<String>> {
    let one = |fault: Fault| vec![fault.what];
    let done = applied(old, there(draft, old)?, &section.hunks)?;
    let hunks = match section.hunks.len() {
        0 => String::new(),
        1 => ", 1 hunk".to_owned(),
        n => format!(", {n} hunks"),
    };
    let mut said = if old == new {
        draft.write(new, done.bytes).map_err(one)?;
        format!("patched `{}`{hunks}", name::show(new))
    } else {
        if draft.read(new).map_err(one)?.is_some() {
            return Err(vec![format!("`{}` exists already", name::show(new))]);
        }
        let executable = draft.is_executable(old);
        draft.write(new, done.bytes).map_err(one)?;
        draft.executable(new, Some(executable));
        if !section.copy {
            draft.remove(old).map_err(one)?;
        }
        let verb = if section.copy { "copied" } else { "renamed" };
        format!("{verb} `{}` to `{}`{hunks}", name::show(old), name::show(new))
    };
    if section.executable.is_some() {
        draft.executable(new, section.executable);
        said.push_str(if section.executable == Some(true) { ", executable" } else { ", not executable" });
    }
    for note in done.notes {
        said.push_str("\n  ");
        said.push_str(&note);
    }
    Ok(said)
}

#[cfg(test)]
mod tests;
