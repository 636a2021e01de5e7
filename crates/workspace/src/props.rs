//! What must hold of git's answers, of a project's files and of the judgement over a change, for any input at all:
//! called by the fuzz targets and by the tests.
//!
//! An input of several parts has them between record separators (0x1e). Not part of a build that ships. Start at
//! [`index`].

use crate::apply::{differences, one_object};
use crate::checks::config;
use crate::inspect::{FileChange, judge, language, text};
use crate::object::{Format, Oid};
use crate::table::{Table, is_inside, join, split};

/// Separates the parts of an input.
const BETWEEN: u8 = 0x1e;

/// The bytes of a git index: a table that is consistent and holds only what lies inside, or nothing.
pub fn index(bytes: &[u8]) {
    for format in [Format::Sha1, Format::Sha256] {
        let Some(table) = Table::from_index(bytes, format, 0) else { continue };
        assert_eq!(table.count, table.dirs.values().map(|dir| dir.files.len()).sum::<usize>());
        for (path, dir) in &table.dirs {
            assert!(path.is_empty() || is_inside(path), "{path:?}");
            assert!(dir.files.windows(2).all(|pair| pair[0].name < pair[1].name));
            assert!(dir.dirs.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(dir.files.iter().all(|file| is_inside(&join(path, &file.name))));
            assert!(dir.dirs.iter().all(|name| table.dirs.contains_key(join(path, name).as_slice())));
            let (parent, name) = split(path);
            assert!(path.is_empty() || table.dirs[parent].has_dir(name));
        }
    }
}

/// What git says about objects and differences: ids have one meaning, contents lie within the answer, and no path
/// leads out of the worktree.
pub fn objects(bytes: &[u8]) {
    let said = String::from_utf8_lossy(bytes);
    if let Some(oid) = Oid::parse(&said) {
        assert_eq!(oid.to_string(), said.to_ascii_lowercase());
        assert_eq!(Oid::parse(&oid.to_string()), Some(oid));
    }
    let mut rest = bytes;
    while let Some((body, after)) = one_object(rest) {
        assert!(body.len() + after.len() < rest.len());
        rest = after;
    }
    if let Ok(changes) = differences(bytes) {
        for change in changes {
            assert!(is_inside(&change.path), "{:?}", change.path);
        }
    }
}

/// A path, its old text and its new one: judged without a stumble, and an unchanged file is not flagged. Code and
/// comments keep every line and column.
pub fn inspect(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == BETWEEN).map(String::from_utf8_lossy);
    let mut part = || parts.next().unwrap_or_default().into_owned();
    let (path, old, new) = (part(), part(), part());
    for side in [&old, &new] {
        for language in language::LANGUAGES {
            let halves = text::split(side, language);
            for half in [&halves.code, &halves.comments] {
                assert_eq!(half.len(), side.len());
                let ends = |text: &str| text.match_indices('\n').map(|(at, _)| at).collect::<Vec<_>>();
                assert_eq!(ends(half), ends(side));
            }
            let both = halves.code.bytes().zip(halves.comments.bytes()).zip(side.bytes());
            assert!(both.into_iter().all(|((code, comment), byte)| {
                (code == byte || code == b' ') && (comment == byte || comment == b' ')
            }));
        }
    }
    for path in [
        path.as_str(),
        "tests/a.rs",
        "a_test.py",
        "a.test.js",
        "a_test.go",
        ".kapell/config.toml",
        "Makefile",
    ] {
        let change = |old: &Option<String>, new: &Option<String>| {
            let at = |text: &Option<String>| text.is_some().then(|| path.to_owned());
            FileChange { old_path: at(old), new_path: at(new), old: old.clone(), new: new.clone() }
        };
        let (before, after) = (Some(old.clone()), Some(new.clone()));
        let same = judge(&[change(&before, &before)], &[]);
        assert_eq!(same, [], "an unchanged {path} is flagged");
        assert_eq!(
            judge(&[change(&None, &after)], &[]).iter().find(|flag| flag.code == "test-deleted"),
            None
        );
        let flags = judge(&[change(&before, &after)], &[]);
        assert_eq!(judge(&[change(&before, &after)], &[]), flags);
        drop(judge(&[change(&before, &None)], &[]));
    }
}

/// What a project declares, and what its test runners print: commands that can be run, or a mistake that says what
/// to write; figures that add up.
pub fn checks(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match config::parse(&text) {
        Ok(suite) => {
            for check in suite.into_iter().flat_map(|suite| suite.checks) {
                assert!(!check.run.trim().is_empty() && check.timeout_ms > 0);
            }
        }
        Err(fault) => assert!(!fault.hint.is_empty() && fault.what.starts_with(".kapell/config.toml: ")),
    }
    let _figures = output::read(bytes, "").tests;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_keep_the_properties() {
        corpus::replay("index", index);
        corpus::replay("objects", objects);
        corpus::replay("inspect", inspect);
        corpus::replay("checks", checks);
    }

    /// A git index (version 2) of these paths.
    fn index_of(paths: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = [&b"DIRC\0\0\0\x02"[..], &(paths.len() as u32).to_be_bytes()].concat();
        for path in paths {
            let start = bytes.len();
            bytes.extend([0; 24]);
            bytes.extend(0o100_644_u32.to_be_bytes());
            bytes.extend([0; 12]);
            bytes.extend([7; 20]);
            bytes.extend((path.len().min(0xfff) as u16).to_be_bytes());
            bytes.extend(path);
            bytes.resize(start + ((bytes.len() - start) / 8 + 1) * 8, 0);
        }
        bytes
    }

    #[test]
    fn an_index_cannot_lead_out() {
        for (path, taken) in [
            ("a/b", true),
            ("../x", false),
            ("a/../x", false),
            ("/etc/x", false),
            ("a//b", false),
            ("", false),
            (".git/hooks/x", false),
            ("sub/.GIT/config", false),
            ("a/.gitignore", true),
        ] {
            let table = Table::from_index(&index_of(&[path.into()]), Format::Sha1, 0);
            assert_eq!(table.is_some(), taken, "{path}");
        }
        assert!(Table::from_index(&index_of(&[b"a/".repeat(1 << 20)]), Format::Sha1, 0).is_none());
    }

    #[test]
    fn a_tree_cache_of_any_depth_is_read() {
        let levels = 1 << 18;
        for level in ["\0-1 1\n", "a\0-1 1\n"] {
            let body = format!("\0-1 1\n{}", level.repeat(levels)).into_bytes();
            let mut bytes = index_of(&[]);
            bytes.extend(b"TREE");
            bytes.extend((body.len() as u32).to_be_bytes());
            bytes.extend(body);
            index(&bytes);
        }
    }

    #[test]
    fn figures_beyond_any_number_are_figures() {
        checks(
            b"test result: ok. 18446744073709551615 passed; 1 failed\ntest result: ok. 2 passed; 0 failed\n",
        );
    }

    #[test]
    fn a_name_behind_a_comment_is_read() {
        inspect("a.test.js\u{1e}/*a\u{e9}*/ test('x', () => { expect(1) })\u{1e}".as_bytes());
    }

    fn source() -> impl Strategy<Value = String> {
        let pieces = [
            "#[test]\n",
            "fn a() {\n",
            "}\n",
            "assert!(x);\n",
            "assert_eq!(1, 1)",
            "#[ignore]\n",
            "// é\n",
            "/*",
            "*/",
            "\"",
            "'",
            "'''",
            "\"\"\"",
            "r#\"",
            "\"#",
            "`",
            "\\",
            "\n",
            "é",
            "日",
            " ",
            "def test_a():\n",
            "    assert x\n",
            "it('a', () => {",
            "test(",
            "})\n",
            "# noqa",
            "func TestA(t *testing.T) {\n",
            "mod tests;\n",
            "#[cfg(test)]\n",
            "@skip\n",
            "[",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..25).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(corpus::cases(300))]

        #[test]
        fn indexes_hold_what_was_put_in(paths in prop::collection::btree_set("[ab]{1,2}(/[ab]{1,2}){0,3}", 0..9), flip in any::<prop::sample::Index>(), bit in 0u8..8) {
            let paths: Vec<Vec<u8>> = paths.into_iter().map(String::into_bytes).collect();
            let mut bytes = index_of(&paths);
            let mut found = Table::from_index(&bytes, Format::Sha1, 0).unwrap();
            for dir in found.dirs.values_mut() {
                dir.files.iter_mut().for_each(|file| file.base = false);
            }
            let mut added = found.added();
            added.sort();
            prop_assert_eq!(added, paths);
            let at = flip.index(bytes.len());
            bytes[at] ^= 1 << bit;
            index(&bytes);
        }

        #[test]
        fn changes_are_judged(old in source(), new in source()) {
            inspect(format!("a.rs\u{1e}{old}\u{1e}{new}").as_bytes());
        }

        #[test]
        fn declared_checks_are_read(text in "(\\[checks\\.[a-z]{1,3}\\]\n|run = \"[a-z ]{0,4}\"\n|kind = \"(test|lint|x)\"\n|timeout = \"[0-9]{1,20}(ms|s|m|min|h|d|w|)\"\n|setup = \\[\"a\"\\]\n){0,6}") {
            checks(text.as_bytes());
        }

        #[test]
        fn differences_are_read(modes in "[0-7]{6} [0-7]{6}", path in "[a./\\\\]{0,8}") {
            let zero = "0".repeat(40);
            objects(format!(":{modes} {zero} {zero} M\0{path}\0").as_bytes());
        }
    }
}
