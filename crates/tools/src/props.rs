//! What must hold of every tool's parts for any input at all: called by the fuzz targets and by the tests.
//!
//! An input of several parts has them between record separators (0x1e). Knows no single tool's arguments beyond
//! what a model can write. Not part of a build that ships. Start at [`edit`].

use crate::change::Draft;
use crate::patch::hunk::{self, Act};
use crate::tree::Tree;
use crate::{edit, name, notebook, patch, search, view, web};
use contract::limits::EDIT_BYTES;
use serde_json::{Value, json};
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

/// A file, then a patch in any format: taken or refused, and a hunk that says nothing of its place is put into a file
/// only where its old lines stand once.
pub fn patch(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == BETWEEN).unwrap_or(bytes.len());
    let (file, text) = (&bytes[..at], String::from_utf8_lossy(bytes.get(at + 1..).unwrap_or_default()));
    let Ok(sections) = patch::parse(&text) else { return };
    for section in sections {
        let Ok(done) = hunk::apply(file, &section.hunks) else { continue };
        let count = |act: Act| {
            section.hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.act == act).count()
        };
        let (before, after) = (hunk::lines(file).len(), hunk::lines(&done.bytes).len());
        assert!(after <= before + count(Act::In) - count(Act::Out), "{after} lines of {before}");
        let [hunk] = &section.hunks[..] else { continue };
        let old: Vec<&[u8]> =
            hunk.lines.iter().filter(|line| line.act != Act::In).map(|line| &*line.text).collect();
        let there = hunk::lines(file);
        let same =
            |lines: &&[&[u8]]| lines.iter().zip(&old).all(|(is, old)| is.strip_suffix(b"\n") == Some(old));
        let stands = there.windows(old.len().max(1)).filter(same);
        if hunk.at.is_none() && hunk.anchors.is_empty() && !hunk.last && !old.is_empty() {
            assert!(stands.count() <= 1, "{text} fits more than once");
        }
    }
}

/// Two bytes of limit, then a program's output: what is shown is harmless and within its budget, and what is left out can
/// be read again.
pub fn output(bytes: &[u8]) {
    let Some(([low, high], raw)) = bytes.split_first_chunk::<2>() else { return };
    let limit = 600 + usize::from(u16::from_le_bytes([*low, *high]) % 4096);
    let plain = view::plain(raw);
    assert!(!plain.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')));
    assert_eq!(view::plain(plain.as_bytes()), plain);
    let mut watched = view::Watched::new("", std::sync::Arc::default(), limit);
    watched.push(raw, &contract::port::Quiet);
    let seen =
        watched.view(&crate::spool::Whole::Bytes(raw.to_vec()), raw.len() as u64, &contract::port::Quiet);
    assert!(!seen.text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')));
    assert!(seen.text.len() <= limit, "{} bytes of {limit}", seen.text.len());
    assert!(
        seen.differs
            || seen.text.strip_suffix('\n').unwrap_or(&seen.text).as_bytes()
                == raw.strip_suffix(b"\n").unwrap_or(raw)
    );
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
    if let Ok(Some(target)) = tree.target(&path) {
        assert!(target.now.as_deref() != Some(OUTSIDE), "{} was opened", path.display());
    }
    for remove in [false, true] {
        let mut draft = Draft::new(&tree);
        let drafted = if remove { draft.remove(&path) } else { draft.write(&path, b"written".to_vec()) };
        drop(drafted.and_then(|()| draft.commit()));
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

/// A notebook, a cell's name, a source: whatever is done to the cell, every other one stays what it was.
pub fn notebook(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split(char::from(BETWEEN));
    let (before, id, source) =
        (parts.next().unwrap_or_default(), parts.next(), parts.next().unwrap_or_default());
    let cells = |text: &str| serde_json::from_str::<Value>(text).ok()?["cells"].as_array().cloned();
    for mode in ["replace", "insert", "delete"] {
        let args = json!({"path": "n", "cell_id": id, "new_source": source, "edit_mode": mode});
        let Ok((after, at)) = notebook::edit::edited(before, &args) else { continue };
        let (mut old, mut new) = (cells(before).unwrap(), cells(&after).unwrap());
        let changed = (mode != "delete").then(|| new.remove(at));
        if let Some(changed) = changed {
            let lines = changed["source"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let said = changed["source"].as_str().map_or_else(|| lines.collect::<String>(), str::to_owned);
            assert_eq!(said, source);
        }
        if mode != "insert" {
            old.remove(at);
        }
        assert_eq!(old, new, "{mode} at {at} of {before}");
    }
}

/// An address of 4 or 16 bytes: everybody's only if every other way to write the same place is, too.
pub fn address(bytes: &[u8]) {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    if let Some((v4, _)) = bytes.split_first_chunk::<4>() {
        let ip = Ipv4Addr::from(*v4);
        let is_public = web::public(IpAddr::V4(ip)).is_ok();
        let own = ip.is_private()
            || ip.is_loopback()
            || ip.is_link_local()
            || ip.is_multicast()
            || ip.is_broadcast();
        assert!(!(is_public && (own || ip.is_documentation() || ip.is_unspecified())), "{ip}");
        assert!(
            web::public(IpAddr::V6(ip.to_ipv6_mapped())).is_err()
                && web::public(IpAddr::V6(ip.to_ipv6_compatible())).is_err()
        );
        let [a, b, c, d] = *v4;
        let [ab, cd] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        assert_eq!(
            web::public(IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, ab, cd))).is_ok(),
            is_public,
            "{ip}"
        );
        assert!(web::public(IpAddr::V6(Ipv6Addr::new(0x2002, ab, cd, 0, 0, 0, 0, 1))).is_err());
    }
    if let Some((v6, _)) = bytes.split_first_chunk::<16>() {
        let ip = Ipv6Addr::from(*v6);
        let own = ip.is_loopback()
            || ip.is_multicast()
            || ip.is_unspecified()
            || ip.is_unique_local()
            || ip.is_unicast_link_local();
        assert!(!(own && web::public(IpAddr::V6(ip)).is_ok()), "{ip}");
    }
}

/// A page: what is made of it is harmless text, no longer than the page by more than what says where links lead, and
/// it does not come out of the marks it stands between.
pub fn html(bytes: &[u8]) {
    let page = String::from_utf8_lossy(bytes);
    // Some links are short, some longer than any that is given.
    let link = |href: &str| {
        if href.len().is_multiple_of(2) { "l".repeat(9_000) } else { href.chars().take(9).collect() }
    };
    let text = web::text_of_html(&page, &|href| Some(link(href)));
    assert!(!text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{text:?}");
    assert!(text.len() <= 8 * page.len() + 1, "{} bytes of {}", text.len(), page.len());
    let marked = web::marked("somewhere", &text);
    let mark = marked.strip_prefix("<<<untrusted ").and_then(|rest| rest.split(':').next()).unwrap();
    assert!(!text.contains(mark));
    assert_eq!(marked.matches(mark).count(), 2);
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
        corpus::replay("patch", patch);
        corpus::replay("notebook", notebook);
        corpus::replay("address", address);
        corpus::replay("html", html);
        corpus::replay("name", name);
        corpus::replay("paths", paths);
        corpus::replay("pattern", pattern);
    }

    #[test]
    fn hostile_data_keeps_the_properties() {
        if let Some(lines) = data("attacks/path-traversal.txt", 1) {
            // Each of them is a workspace made, written to and removed: every fifth one every day.
            let each = if corpus::long() { 1 } else { 5 };
            for (at, line) in lines.split(|byte| *byte == b'\n').take(2_000).enumerate() {
                if at % each == 0 {
                    paths(line);
                }
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

    fn lines_of(line: &'static str) -> impl Strategy<Value = String> {
        let end = prop::sample::select(vec!["\n", "\n", "\r\n"]);
        let lines = prop::collection::vec((line, end).prop_map(|(line, end)| line + end), 0..14);
        (lines, prop::option::of(line)).prop_map(|(lines, last)| lines.concat() + &last.unwrap_or_default())
    }

    fn diff(a: &str, b: &str, radius: usize) -> String {
        let lines = similar::TextDiff::from_lines(a, b);
        let diff = lines.unified_diff().context_radius(radius).header("a/f", "b/f").to_string();
        // Where nothing changed, a diff says nothing.
        if a == b { String::new() } else { diff }
    }

    fn patched(text: &str, file: &[u8]) -> Result<String, String> {
        let sections = patch::parse(text).map_err(|bad| format!("{bad:?}"))?;
        let Some(section) = sections.first() else { return Ok(String::from_utf8_lossy(file).into()) };
        let done = hunk::apply(file, &section.hunks).map_err(|why| format!("{why:?} of\n{text}"))?;
        Ok(String::from_utf8_lossy(&done.bytes).into())
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
        fn a_patch_of_what_changed_makes_it(a in lines_of("[ab ]{0,2}"), b in lines_of("[ab ]{0,2}"), radius in 1usize..4) {
            prop_assert_eq!(patched(&diff(&a, &b, radius), a.as_bytes()), Ok(b));
        }

        #[test]
        fn a_patch_fits_further_on_where_its_lines_stand_once(a in prop::collection::vec("[a-z]{6}", 1..12), b in prop::collection::vec("[a-z]{0,6}", 1..12), before in prop::collection::vec("[A-Z]{1,6}", 0..9)) {
            let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let (a, b, before) = (text(&a), text(&[&a[..a.len() / 2], &b, &a[a.len() / 2..]].concat()), text(&before));
            prop_assert_eq!(patched(&diff(&a, &b, 3), format!("{before}{a}").as_bytes()), Ok(format!("{before}{b}")));
        }

        #[test]
        fn blocks_and_envelopes_do_what_they_say(lines in prop::collection::vec("[a-z]{7}", 3..12), new in prop::collection::vec("[A-Z =<]{0,9}", 0..4), at in 0usize..11, out in 1usize..4) {
            let at = at % lines.len();
            let end = (at + out).min(lines.len());
            let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let (a, b) = (text(&lines), text(&[&lines[..at], &new, &lines[end..]].concat()));
            let block = format!("f\n<<<<<<< SEARCH\n{}=======\n{}>>>>>>> REPLACE\n", text(&lines[at..end]), text(&new));
            prop_assert_eq!(patched(&block, a.as_bytes()), Ok(b.clone()));
            let signed = |sign: &str, lines: &[String]| lines.iter().map(|line| format!("{sign}{line}\n")).collect::<String>();
            let body = signed("-", &lines[at..end]) + &signed("+", &new);
            let envelope = format!("*** Begin Patch\n*** Update File: f\n@@\n{body}*** End Patch\n");
            prop_assert_eq!(patched(&envelope, a.as_bytes()), Ok(b));
        }

        #[test]
        fn any_text_is_a_patch_or_none(file in "([ab]{0,2}\r?\n?){0,6}", text in "(diff --git a/f b/f\n)?(--- a/f\n\\+\\+\\+ b/f\n)?(@@ -[0-3],?[0-3] \\+[0-3],?[0-3] @@\n|@@ a?\n|\\*\\*\\* (Begin Patch|End of File|Update File: f|Add File: g)\n|[-+ ][ab]{0,2}\r?\n|<<<<<<< SEARCH\n|=======\n|>>>>>>> REPLACE\n|\n){0,12}") {
            patch(&[file.as_bytes(), &[BETWEEN], text.as_bytes()].concat());
        }

        #[test]
        fn cells_change_alone(sources in prop::collection::vec("[a\n\"\u{e9}\\\\]{0,6}", 1..5), at in 0usize..5, source in "[b\n\"\\\\{}\\[\\],]{0,9}", pretty in any::<bool>(), lines in any::<bool>()) {
            let source_of = |text: &String| if lines { json!(text.split_inclusive('\n').collect::<Vec<_>>()) } else { json!(text) };
            let cell = |text: &String| json!({"cell_type": "code", "source": source_of(text), "outputs": [{"a]": "}"}]});
            let whole = json!({"cells": sources.iter().map(cell).collect::<Vec<_>>(), "nbformat": 4, "nbformat_minor": 5});
            let text = if pretty { serde_json::to_string_pretty(&whole).unwrap() } else { whole.to_string() };
            notebook(format!("{text}\u{1e}{at}\u{1e}{source}").as_bytes());
        }

        #[test]
        fn addresses_are_judged_alike(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), head in prop::sample::select(vec![0u16, 0x64, 0x2001, 0x2002, 0x3fff, 0xfc00, 0xfe80, 0xfec0, 0xff00])) {
            address(&v4);
            address(&v6);
            address(&[&head.to_be_bytes()[..], &v6[2..]].concat());
        }

        #[test]
        fn pages_become_harmless_text(parts in prop::collection::vec(prop::sample::select(vec!["<p>", "<", ">", "</a>", "<a href=x>", "<a href='", "\"", "=", "<script>", "</script", "<!--", "-->", "<pre>", "</pre>", "&#27;", "&#x202e;", "&amp;lt;", "&", ";", " ", "\n", "word", "<li>", "<td>", "<title>", "</title>", "<h6>", "\u{202e}", "<img alt=y>", "/"]), 0..30)) {
            html(parts.concat().as_bytes());
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
