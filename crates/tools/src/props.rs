//! What must hold of every tool's parts for any input at all: called by the fuzz targets and by the tests.
//!
//! An input of several parts has them between record separators (0x1e). Knows no single tool's arguments beyond
//! what a model can write. Not part of a build that ships. Start at [`edit`].

use crate::tree::Tree;
use crate::{edit, name, search, view};
use contract::limits::EDIT_BYTES;
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Separates the parts of an input.
const BETWEEN: u8 = 0x1e;

/// A file, then pieces of three parts: old, new, and anything for "all". All of the edits or none, each where it was
/// asked for and nowhere else.
pub fn edit(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == BETWEEN);
    let file = parts.next().unwrap_or_default().to_vec();
    let parts: Vec<String> = parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let pieces: Vec<[&str; 3]> = parts
        .chunks(3)
        .map(|piece| std::array::from_fn(|at| piece.get(at).map_or("", String::as_str)))
        .collect();
    let args = |pieces: &[[&str; 3]]| {
        let edits: Vec<_> = pieces
            .iter()
            .map(|[old, new, all]| json!({"old_string": old, "new_string": new, "replace_all": !all.is_empty()}))
            .collect();
        json!({"path": "f", "edits": edits})
    };
    let whole = edit::edited(&args(&pieces), file.clone());
    if let Ok((after, count)) = &whole {
        assert!(after.len() <= EDIT_BYTES && *count >= pieces.len());
    }
    if file.contains(&b'\r') || parts.iter().any(|part| part.contains('\r')) || pieces.is_empty() {
        return;
    }
    // One after the other, by hand.
    let mut by_hand = Some((file, 0));
    for [old, new, all] in &pieces {
        by_hand = by_hand.and_then(|(text, count)| {
            let (text, n) = replaced(&text, old.as_bytes(), new.as_bytes());
            (!old.is_empty() && old != new && (n == 1 || n > 1 && !all.is_empty()))
                .then_some((text, count + n))
        });
    }
    assert_eq!(whole.ok(), by_hand);
}

/// The plainest way to replace all of something, without overlaps.
fn replaced(text: &[u8], old: &[u8], new: &[u8]) -> (Vec<u8>, usize) {
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while at < text.len() {
        if !old.is_empty() && text[at..].starts_with(old) {
            out.extend_from_slice(new);
            (at, count) = (at + old.len(), count + 1);
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    (out, count)
}

/// Two bytes of limit, then a program's output: what is shown is harmless, within its budget, whole when it fits, and
/// as it stays when it is shown again.
pub fn output(bytes: &[u8]) {
    let Some(([low, high], raw)) = bytes.split_first_chunk::<2>() else { return };
    let limit = usize::from(u16::from_le_bytes([*low, *high]) % 4096);
    let plain = view::plain(raw);
    assert!(!plain.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')));
    assert_eq!(view::plain(plain.as_bytes()), plain);
    let seen = view::output(raw, raw.len() as u64, limit);
    assert!(seen.differs == (seen.text.as_bytes() != raw));
    if plain.len() <= limit {
        assert_eq!(seen.text, plain);
    } else if limit >= 400 {
        assert!(seen.text.len() <= limit, "{} bytes of {limit}", seen.text.len());
        assert_eq!(view::output(seen.text.as_bytes(), 0, limit).text, seen.text, "cut twice");
        let note = seen.text.find("[... ").unwrap_or_else(|| panic!("nothing is said of the rest"));
        assert!(plain.starts_with(seen.text[..note].trim_end_matches('\n')));
    }
    let shown = view::visible(raw);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\t'));
    assert_eq!(view::visible(shown.as_bytes()), shown);
}

/// A path as text stands for the same bytes when it is shown and read back, and what is shown is one harmless line.
pub fn name(bytes: &[u8]) {
    let shown = name::show(Path::new(std::ffi::OsStr::from_bytes(bytes)));
    assert!(!shown.contains(|c: char| c.is_control() || view::is_hidden(c)));
    match name::parse(&shown) {
        Ok(path) => assert_eq!(path.as_os_str().as_bytes(), bytes),
        Err(_) => assert!(bytes.is_empty() || bytes.contains(&0)),
    }
    if let Ok(path) = name::parse(&String::from_utf8_lossy(bytes)) {
        assert_eq!(name::parse(&name::show(&path)).ok(), Some(path));
    }
}

/// Stands outside the workspace of [`paths`].
const OUTSIDE: &[u8] = b"what lies outside";

/// A workspace with links that lead out, for one input.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("kapell-paths-{}-{unique}", std::process::id()));
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, top.join("ws").join(at)).unwrap();
        std::fs::create_dir_all(top.join("ws/in")).unwrap();
        std::fs::create_dir(top.join("ws/.git")).unwrap();
        std::fs::write(top.join("outside"), OUTSIDE).unwrap();
        std::fs::write(top.join("ws/file"), "inside").unwrap();
        std::fs::write(top.join("ws/.git/config"), OUTSIDE).unwrap();
        for (to, at) in
            [("..", "up"), ("../outside", "leak"), ("../new", "dangling"), ("in", "dir"), ("loop", "loop")]
        {
            link(to, at);
        }
        link("../file", "in/back");
        link(&top.to_string_lossy(), "out");
        link(".git", "git");
        Self(top)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Made above, by this process, under a name of its own.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A path is inside or an error, whatever it goes through; git's own files are not written either.
pub fn paths(bytes: &[u8]) {
    let Ok(path) = name::parse(&String::from_utf8_lossy(bytes)) else { return };
    let place = Place::new();
    let tree = Tree::at(&place.0.join("ws")).unwrap();
    if let Ok((mut file, _)) = tree.open(&path) {
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut read).unwrap();
        let gits = path.as_os_str().as_bytes().windows(3).any(|part| part == b"git");
        assert!(gits || read != OUTSIDE, "{} was read", path.display());
    }
    drop(tree.kind(&path));
    drop(tree.directory(&path));
    for create in [false, true] {
        if let Ok(Some(target)) = tree.target(&path, create) {
            assert!(target.now.as_deref() != Some(OUTSIDE), "{} was opened", path.display());
            if create {
                drop(target.replace(b"written"));
            }
        }
    }
    let mut there: Vec<_> =
        std::fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["outside", "ws"], "{} made something outside", path.display());
    assert_eq!(std::fs::read(place.0.join("outside")).unwrap(), OUTSIDE, "{} was written", path.display());
    let config = std::fs::read(place.0.join("ws/.git/config"));
    assert_eq!(config.unwrap(), OUTSIDE, "{} was written", path.display());
    assert_eq!(std::fs::read_dir(place.0.join("ws/.git")).unwrap().count(), 1, "{}", path.display());
}

/// A line, then a pattern: taken literally it matches where it stands; as an expression it is taken or refused. A byte
/// order mark at the start of a file is how it is encoded and not text, as for ripgrep.
pub fn pattern(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == BETWEEN).unwrap_or(bytes.len());
    let (line, pattern) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let pattern = String::from_utf8_lossy(pattern);
    if line.contains(&b'\n') {
        return;
    }
    for ignore_case in [false, true] {
        drop(search::matches(&json!({"pattern": pattern, "ignore_case": ignore_case}), line));
    }
    let literal = search::matches(&json!({"pattern": pattern, "literal": true}), line);
    if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
        return;
    }
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    if let Ok(found) = literal {
        let stands = line.windows(pattern.len()).any(|part| part == pattern.as_bytes());
        assert_eq!(found, stands, "{pattern:?} in {line:?}");
    } else {
        assert!(pattern.is_empty() || pattern.contains('\n'), "{pattern:?} is plain text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::data;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_keep_the_properties() {
        corpus::replay("edit", edit);
        corpus::replay("output", output);
        corpus::replay("name", name);
        corpus::replay("paths", paths);
        corpus::replay("pattern", pattern);
    }

    #[test]
    fn hostile_data_keeps_the_properties() {
        if let Some(lines) = data("attacks/path-traversal.txt", 1) {
            for line in lines.split(|byte| *byte == b'\n').take(2_000) {
                paths(line);
                name(line);
            }
        }
        if let Some(strings) = data("attacks/naughty-strings.json", 1) {
            let strings: Vec<String> = serde_json::from_slice(&strings).unwrap();
            for string in &strings {
                name(string.as_bytes());
                output(&[&[0, 2], string.as_bytes()].concat());
                pattern(&[string.as_bytes(), &[BETWEEN], string.as_bytes()].concat());
            }
        }
    }

    fn joined(parts: &[String]) -> Vec<u8> {
        parts.join("\u{1e}").into_bytes()
    }

    proptest! {
        #![proptest_config(corpus::cases(300))]

        #[test]
        fn edits_are_exact(file in "[ab\n]{0,40}", pieces in prop::collection::vec("[ab\n]{0,4}", 3..10)) {
            edit(&joined(&[&[file][..], &pieces].concat()));
        }

        #[test]
        fn edits_of_lines_that_end_otherwise(file in "([ab]{0,3}\r?\n){0,9}", pieces in prop::collection::vec("[ab]{0,2}\r?\n?[ab]?", 3..7)) {
            edit(&joined(&[&[file][..], &pieces].concat()));
        }

        #[test]
        fn output_has_a_budget(limit in any::<[u8; 2]>(), raw in prop::collection::vec(any::<u8>(), 0..6000)) {
            output(&[&limit[..], &raw].concat());
        }

        #[test]
        fn output_of_lines_has_a_budget(limit in 300u16..4096, line in ".{0,60}\n", times in 1usize..200) {
            output(&[&limit.to_le_bytes()[..], line.repeat(times).as_bytes()].concat());
        }

        #[test]
        fn names_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[a\\\\x0-9f\u{202e}\n]{0,20}") {
            name(&bytes);
            name(text.as_bytes());
        }

        #[test]
        fn paths_stay_inside(parts in prop::collection::vec(prop::sample::select(vec!["..", ".", "", "up", "out", "leak", "dangling", "dir", "in", "back", "loop", "git", ".git", ".GIT", "file", "new", "outside", "config", "\u{ff0e}\u{ff0e}", "a"]), 1..6)) {
            paths(parts.join("/").as_bytes());
        }

        #[test]
        fn patterns_are_taken_or_refused(line in "[a-c(]{0,12}", pattern_text in "[a-c()*+?|\\[\\]{}0-9\\\\.^$]{0,8}") {
            pattern(&[line.as_bytes(), &[BETWEEN], pattern_text.as_bytes()].concat());
        }
    }
}
