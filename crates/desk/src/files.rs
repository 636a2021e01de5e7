//! `read_project_file`, `write_project_file`, `backup_file`, `restore_file`.
//!
//! Start at [`read`].

use crate::args::Args;
use crate::change::How;
use crate::report::Encoding;
use crate::root::Meta;
use crate::{Desk, Done, Stop};
use board::when;
use serde_json::{Value, json};
use std::path::Path;

pub(crate) fn read(desk: &Desk, args: &Args) -> Done {
    let path = args.said("file_path");
    let encoding = Encoding::named(args.said("encoding"))?;
    let meta = desk.root.meta(path)?;
    if let Some(most) = args.whole("max_size_mb")
        && meta.size > (most as u64).saturating_mul(1 << 20)
    {
        let what = format!("{path} has {} bytes, more than {most} MB", meta.size);
        return Err(Stop::failed(what).with("file_size", meta.size));
    }
    let bytes = desk.root.read(path)?;
    let size = bytes.len();
    let (content, found) = encoding.read(bytes);
    let metadata = args.flag("include_metadata").then(|| described(&meta, found));
    Ok(json!({"file_path": path, "content": content, "size": size, "metadata": metadata}))
}

fn described(meta: &Meta, encoding: Encoding) -> Value {
    json!({
        "size": meta.size, "created": when::written(meta.changed), "modified": when::written(meta.modified),
        "encoding": encoding.name(), "is_file": meta.is_file, "is_directory": meta.is_dir,
    })
}

pub(crate) fn write(desk: &Desk, args: &Args) -> Done {
    let path = args.said("file_path");
    let bytes = Encoding::named(args.said("encoding"))?.written(args.said("content"))?;
    let guard = desk.locked()?;
    if !args.flag("ensure_directory")
        && let Some(dir) = Path::new(path).parent().filter(|dir| !dir.as_os_str().is_empty())
    {
        desk.root.meta(&dir.to_string_lossy())?;
    }
    let append = args.flag("append");
    let how = if append { How::Append(&bytes) } else { How::Replace(&bytes) };
    let changed = desk.change(&guard, "write_project_file", path, how, args.flag("create_backup"))?;
    Ok(json!({
        "file_path": path,
        "operation": if append { "append" } else { "write" },
        "size": desk.root.meta(path)?.size,
        "backup_created": changed.backup.is_some(),
    }))
}

pub(crate) fn backup(desk: &Desk, args: &Args) -> Done {
    let path = args.said("file_path");
    let guard = desk.locked()?;
    let bytes = desk.root.read(path)?;
    let named = args.text("backup_name").filter(|name| !name.is_empty());
    if let Some(name) = named
        && (name.contains('/') || matches!(name, "." | ".."))
    {
        return Err(Stop::failed(format!("`backup_name` is a name without directories, not {name}")));
    }
    let dir = match args.text("backup_directory").filter(|dir| !dir.is_empty()) {
        Some(dir) => desk.root.relative(dir)?.to_string_lossy().into_owned(),
        None => desk.copies_of(path)?,
    };
    let copy = match (named, args.flag("include_timestamp")) {
        (Some(name), _) => format!("{dir}/{name}"),
        (None, true) if dir == desk.copies_of(path)? => desk.copied(path, &bytes)?,
        (None, stamped) => {
            let (stem, suffix) = crate::change::stem(path);
            let stamp = if stamped { format!("_{}", when::stamp(desk.now())) } else { String::new() };
            format!("{dir}/{stem}{stamp}{suffix}")
        }
    };
    if !desk.root.exists(&copy) {
        desk.change(&guard, "backup_file", &copy, How::Replace(&bytes), false)?;
    } else if desk.root.read(&copy)? != bytes {
        return Err(Stop::failed(format!(
            "{copy} exists and is another copy: name a `backup_name` that is free"
        )));
    }
    let name = Path::new(&copy).file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(json!({"source_file": path, "backup_file": name, "backup_path": copy}))
}

pub(crate) fn restore(desk: &Desk, args: &Args) -> Done {
    let path = args.said("file_path");
    let guard = desk.locked()?;
    let source = match args.text("backup_path").filter(|source| !source.is_empty()) {
        Some(source) => source.to_owned(),
        None => desk.copies(path)?.pop().ok_or_else(|| {
            Stop::failed(format!("there is no copy of {path}: name one with `backup_path`"))
        })?,
    };
    let bytes = desk.root.read(&source)?;
    let copy = args.flag("create_backup_before_restore");
    let changed = desk.change(&guard, "restore_file", path, How::Replace(&bytes), copy)?;
    Ok(json!({
        "file_path": path, "restored_from": source, "current_backup_created": changed.backup.is_some(),
    }))
}
