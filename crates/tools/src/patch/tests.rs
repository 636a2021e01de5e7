//! Every format on small files; what fits, what does not, and what is said then.

use super::*;
use crate::testing::{Bench, data};
use std::os::unix::fs::{PermissionsExt, symlink};

fn patch(bench: &Bench, patch: &str) -> Output {
    bench.run(&ApplyPatch, json!({"patch": patch}))
}

/// A file, a patch of the file `f`, and what it holds then.
#[track_caller]
fn becomes(before: &str, text: &str, after: &str) -> String {
    let bench = Bench::new();
    bench.file("f", before);
    let output = patch(&bench, text);
    assert!(output.ok, "{}", output.text);
    assert_eq!(bench.text("f"), after);
    output.text
}

/// The same for one that does not fit: what is said, and nothing is changed.
#[track_caller]
fn refused(before: &str, text: &str) -> String {
    let bench = Bench::new();
    bench.file("f", before);
    let output = patch(&bench, text);
    assert!(!output.ok, "{}", output.text);
    assert_eq!(bench.text("f"), before);
    output.text
}

const TEN: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n";

#[test]
fn unified_diffs_as_git_writes_them() {
    let said = becomes(
        TEN,
        "diff --git a/f b/f\nindex 123..456 100644\n--- a/f\n+++ b/f\n@@ -1,4 +1,4 @@ fn x()\n one\n-two\n+TWO\n three\n four\n\
         @@ -8,3 +8,4 @@\n eight\n nine\n+nine and a half\n ten\n",
        "one\nTWO\nthree\nfour\nfive\nsix\nseven\neight\nnine\nnine and a half\nten\n",
    );
    assert_eq!(said, "patched `f`, 2 hunks");
}

#[test]
fn files_are_made_removed_renamed_copied_and_change_their_mode() {
    let bench = Bench::new();
    for (name, text) in [("gone", "a\n"), ("from", "b\nc\n"), ("run", "d\n"), ("model", "e\n")] {
        bench.file(name, text);
    }
    std::fs::set_permissions(bench.root().join("from"), PermissionsExt::from_mode(0o755)).unwrap();
    let output = patch(
        &bench,
        "From 12 Mon Sep 17\nSubject: all\n\n- with a list in its message\n---\n f | 2 +-\n\n\
         diff --git a/gone b/gone\ndeleted file mode 100644\nindex 1..0\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n\
         diff --git a/new/x b/new/x\nnew file mode 100755\n--- /dev/null\n+++ b/new/x\n@@ -0,0 +1,2 @@\n+1\n+2\n\\ No newline at end of file\n\
         diff --git a/from b/to\nsimilarity index 50%\nrename from from\nrename to to\n--- a/from\n+++ b/to\n@@ -1,2 +1,2 @@\n b\n-c\n+C\n\
         diff --git a/run b/run\nold mode 100644\nnew mode 100755\n\
         diff --git a/model b/copy\nsimilarity index 100%\ncopy from model\ncopy to copy\n\
         diff --git a/empty file b/empty file\nnew file mode 100644\nindex 0..0\n-- \n2.39.5\n",
    );
    assert_eq!(
        output.text,
        "deleted `gone`\ncreated `new/x` (3 bytes)\nrenamed `from` to `to`, 1 hunk\npatched `run`, executable\n\
         copied `model` to `copy`\ncreated `empty file` (0 bytes)"
    );
    let mode = |name: &str| std::fs::metadata(bench.root().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        [mode("new/x"), mode("to"), mode("run"), mode("copy")].map(|mode| mode & 0o100),
        [0o100, 0o100, 0o100, 0]
    );
    assert_eq!(
        (bench.text("new/x"), bench.text("to"), bench.text("copy")),
        ("1\n2".into(), "b\nC\n".into(), "e\n".into())
    );
    assert!(!bench.root().join("gone").exists() && !bench.root().join("from").exists());
}

#[test]
fn names_with_odd_bytes_are_read_as_git_writes_them() {
    let bench = Bench::new();
    bench.file("ä \"b\t", "x\n");
    let output =
        patch(&bench, "--- \"a/\\303\\244 \\\"b\\t\"\n+++ \"b/\\303\\244 \\\"b\\t\"\n@@ -1 +1 @@\n-x\n+y\n");
    assert!(output.ok, "{}", output.text);
    assert_eq!(bench.text("ä \"b\t"), "y\n");
    // Without prefixes, and with the time that diff writes.
    bench.file("sub/g", "x\n");
    assert!(patch(&bench, "--- sub/g\t2026-01-01 00:00:00\n+++ sub/g\t2026-01-02\n@@ -1 +1 @@\n-x\n+y\n").ok);
    assert_eq!(bench.text("sub/g"), "y\n");
}

#[test]
fn ends_of_lines_and_files_are_kept() {
    becomes(
        "a\r\nb\r\nc\r\n",
        "--- a/f\n+++ b/f\n@@ -1,3 +1,4 @@\n a\n-b\n+B\n+new\n c\n",
        "a\r\nB\r\nnew\r\nc\r\n",
    );
    becomes("a\r\nb\n", "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\r\n-b\n+B\n", "a\r\nB\n");
    becomes(
        "a\nb",
        "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+B\n\\ No newline at end of file\n",
        "a\nB",
    );
    becomes(
        "a\nb",
        "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+B\n",
        "a\nB\n",
    );
    becomes("a\nb", "--- a/f\n+++ b/f\n@@ -1,2 +1,3 @@\n a\n-b\n+B\n", "a\nB");
    becomes("a\nb", "*** Begin Patch\n*** Update File: f\n@@\n b\n+c\n*** End Patch", "a\nb\nc");
    // A patch that itself came with other line ends.
    becomes("a\nb\n", "--- a/f\r\n+++ b/f\r\n@@ -1,2 +1,2 @@\r\n a\r\n-b\r\n+B\r\n", "a\nB\n");
}

#[test]
fn counts_that_are_wrong_do_not_matter_and_lines_that_look_like_headers_do_not_confuse() {
    becomes(TEN, "--- a/f\n+++ b/f\n@@ -1,9 +1,2 @@\n one\n-two\n+TWO\n three\n", &TEN.replace("two", "TWO"));
    becomes("-- x\ny\n", "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n--- x\n+++ z\n y\n", "++ z\ny\n");
    becomes("a\n\nb\n", "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n a\n\n-b\n+B\n\n", "a\n\nB\n");
    becomes(TEN, "```diff\n--- a/f\n+++ b/f\n@@ ... @@\n-five\n+5\n```\n", &TEN.replace("five", "5"));
}

#[test]
fn a_hunk_moves_only_to_the_one_place_it_fits() {
    let said = becomes(
        TEN,
        "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n six\n-seven\n+7\n eight\n",
        &TEN.replace("seven", "7"),
    );
    assert_eq!(said, "patched `f`, 1 hunk\n  put at line 6, not 1");
    let said = refused("x\na\nx\na\n", "--- a/f\n+++ b/f\n@@ -9 +9 @@\n-x\n+y\n");
    assert!(said.contains("`f`: it fits in 2 places (lines 1, 3): give more lines around it"), "{said}");
    // Where it says, it may be one of several.
    becomes("x\na\nx\na\n", "--- a/f\n+++ b/f\n@@ -3 +3 @@\n-x\n+y\n", "x\na\ny\na\n");
    // What follows is looked for as much further on.
    becomes(
        "new\nnew\nx\na\nb\na\na\n",
        "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-x\n-a\n+X\n+A\n@@ -4 +4 @@\n-a\n+y\n",
        "new\nnew\nX\nA\nb\ny\na\n",
    );
}

#[test]
fn white_space_may_differ_where_one_place_fits_and_the_file_keeps_its_own() {
    let said =
        becomes("a  \n  b\nc\n", "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n a\n   b \n-c\n+C\n", "a  \n  b\nC\n");
    assert!(said.contains("white space") || said.contains("indentation"), "{said}");
    let body = "class A:\n    def f(self):\n        x = 1\n\n        return x\n";
    let said = becomes(
        body,
        "*** Begin Patch\n*** Update File: f\n@@\n def f(self):\n-    x = 1\n+    x = 2\n+    if x:\n+        x = 3\n \n     return x\n*** End Patch\n",
        "class A:\n    def f(self):\n        x = 2\n        if x:\n            x = 3\n\n        return x\n",
    );
    assert!(said.ends_with("put at line 2; indentation differs"), "{said}");
    // Not by the same much everywhere: no guess. Nor where two places fit.
    refused("\ta\n  b\n", "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n     a\n-    b\n+    c\n");
    refused("  a\na\n", "--- a/f\n+++ b/f\n@@ -7 +7 @@\n-    a\n+    b\n");
}

#[test]
fn what_stands_there_instead_is_said() {
    let said = refused(TEN, "--- a/f\n+++ b/f\n@@ -4,3 +4,3 @@\n four\n-5\n+five!\n six\n");
    assert_eq!(
        said,
        "nothing was changed: one part of the patch does not fit\n`f`: it fits nowhere; most like it is\n\
         \u{20}     4\tfour\n!     5\tfive\n      6\tsix\n(`!` marks a line that differs)\n"
    );
    let said = refused(
        TEN,
        "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n one\n-2\n+two!\n@@ -9,2 +9,2 @@\n-neun\n+nine!\n \n",
    );
    assert!(said.contains("2 parts") && said.contains("hunk 1 of 2 (for line 1): it fits nowhere"), "{said}");
    assert!(
        said.contains("hunk 2 of 2 (for line 9): it fits nowhere; no line like `neun` is there"),
        "{said}"
    );
}

#[test]
fn the_format_of_begin_patch() {
    let bench = Bench::new();
    bench.file(
        "a.py",
        "class A:\n    def f(self):\n        return 1\nclass B:\n    def f(self):\n        return 1\n",
    );
    bench.file("old.txt", "x\n");
    bench.file("move.txt", "1\n2\n3\n");
    let output = patch(
        &bench,
        "*** Begin Patch\n*** Add File: d/new.txt\n+first\n+\n+last\n*** Delete File: old.txt\n\
         *** Update File: move.txt\n*** Move to: d/moved.txt\n@@\n 2\n-3\n+drei\n*** End of File\n\
         *** Update File: a.py\n@@ class B:\n@@     def f(self):\n-        return 1\n+        return 2\n*** End Patch\n",
    );
    assert_eq!(
        output.text,
        "created `d/new.txt` (12 bytes)\ndeleted `old.txt`\nrenamed `move.txt` to `d/moved.txt`, 1 hunk\npatched `a.py`, 1 hunk"
    );
    assert_eq!(bench.text("d/new.txt"), "first\n\nlast\n");
    assert_eq!(bench.text("d/moved.txt"), "1\n2\ndrei\n");
    assert!(bench.text("a.py").ends_with("class B:\n    def f(self):\n        return 2\n"));
    assert!(bench.text("a.py").contains("class A:\n    def f(self):\n        return 1\n"));

    let said = refused("x\ny\nx\ny\n", "*** Begin Patch\n*** Update File: f\n@@\n-x\n+z\n*** End Patch");
    assert!(said.contains("fits in 2 places"), "{said}");
    becomes(
        "x\ny\nx\n",
        "*** Begin Patch\n*** Update File: f\n@@\n-x\n+z\n*** End of File\n*** End Patch",
        "x\ny\nz\n",
    );
    becomes("x\n", "*** Begin Patch\n*** Update File: f\n@@\n+y\n*** End Patch", "x\ny\n");
    becomes("x\ny\n", "*** Begin Patch\n*** Update File: f\n@@ x\n+1\n*** End Patch", "x\n1\ny\n");
}

#[test]
fn search_and_replace_blocks() {
    let bench = Bench::new();
    bench.file("src/a.rs", "fn a() {\n    one();\n    two();\n}\n");
    bench.file("b", "x\n");
    let output = patch(
        &bench,
        "Here is the change:\n\nsrc/a.rs\n```rust\n<<<<<<< SEARCH\n    one();\n=======\n    1();\n>>>>>>> REPLACE\n```\n\n\
         <<<<<<< SEARCH\n    two();\n=======\n>>>>>>> REPLACE\n\n**`b`**\n------- SEARCH\nx\n=======\ny\n+++++++ REPLACE\n\
         new.txt\n<<<<<<< SEARCH\n=======\nhello\n>>>>>>> REPLACE\n",
    );
    assert_eq!(output.text, "patched `src/a.rs`, 2 hunks\npatched `b`, 1 hunk\ncreated `new.txt` (6 bytes)");
    assert_eq!(bench.text("src/a.rs"), "fn a() {\n    1();\n}\n");
    assert_eq!((bench.text("b"), bench.text("new.txt")), ("y\n".into(), "hello\n".into()));
    assert!(patch(&bench, "b\n<<<<<<< SEARCH\ny\n=======\ny\n>>>>>>> REPLACE").text.contains("are the same"));
}

#[test]
fn lines_of_equals_signs_in_a_block_are_text() {
    let bench = Bench::new();
    let text = "Title\n=====\nold\n";
    bench.file("a.rst", text);
    let said = patch(
        &bench,
        "a.rst\n<<<<<<< SEARCH\nTitle\n=====\nold\n=======\nTitle\n=====\nnew\n>>>>>>> REPLACE\n",
    );
    assert_eq!(
        (said.text.as_str(), bench.text("a.rst")),
        ("patched `a.rst`, 1 hunk", text.replace("old", "new"))
    );
    // Another number of signs is taken where there is no other line of them.
    assert!(patch(&bench, "a.rst\n<<<<<<< SEARCH\nnew\n=====\nold\n>>>>>>> REPLACE\n").ok);
    let heading = "Heading\n=======\nold\n";
    bench.file("b.rst", heading);
    for block in ["Heading\n=======\nold\n=======\nHeading\n=======\nnew\n", "old\n======\nnew\n=====\n"] {
        let said = patch(&bench, &format!("b.rst\n<<<<<<< SEARCH\n{block}>>>>>>> REPLACE\n"));
        assert!(!said.ok && said.text.contains("which line of `=` divides this block"), "{}", said.text);
        assert_eq!(bench.text("b.rst"), heading);
    }
}

#[test]
fn a_sentence_is_no_new_file() {
    let bench = Bench::new();
    let block = "<<<<<<< SEARCH\n=======\nx\n>>>>>>> REPLACE\n";
    let said = patch(&bench, &format!("Here is the new file:\n{block}"));
    assert!(!said.ok && said.text.contains("names no new file"), "{}", said.text);
    assert!(patch(&bench, &format!("**`my file.txt`**\n{block}")).ok);
    assert_eq!(std::fs::read_dir(bench.root()).unwrap().count(), 1);
    assert_eq!(bench.text("my file.txt"), "x\n");
}

#[test]
fn several_envelopes_are_one_patch() {
    let bench = Bench::new();
    let one = |name: &str| format!("*** Begin Patch\n*** Add File: {name}\n+x\n*** End Patch\n");
    let said = patch(&bench, &format!("{}and then\n{}that is all\n", one("a"), one("b")));
    assert_eq!(said.text, "created `a` (2 bytes)\ncreated `b` (2 bytes)");
}

#[test]
fn what_fits_in_very_many_places_is_not_looked_for_for_ever() {
    let bench = Bench::new();
    bench.file("f", "\n".repeat(200_000));
    // Hours, if each of the first lines is compared with all that is searched.
    let old = " \n".repeat(100_000);
    let said = patch(&bench, &format!("--- a/f\n+++ b/f\n@@\n{old}-x\n+y\n"));
    assert!(!said.ok && said.text.contains("give fewer lines"), "{}", said.text);
    bench.file("g", "{\n}\n".repeat(60_000));
    let said = patch(&bench, "*** Begin Patch\n*** Update File: g\n@@ {\n-}\n+]\n*** End Patch\n");
    assert!(!said.ok && said.text.contains("it fits in 60000 places"), "{}", said.text);
}

#[test]
fn one_part_that_does_not_fit_stops_all_of_it() {
    let bench = Bench::new();
    bench.file("a", "x\n");
    bench.file("b", "x\n");
    let both = |second: &str| format!("--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n{second}");
    for (second, why) in [
        ("--- a/b\n+++ b/b\n@@ -1 +1 @@\n-z\n+y\n", "`b`: it fits nowhere"),
        ("--- a/none\n+++ b/none\n@@ -1 +1 @@\n-z\n+y\n", "`none` does not exist"),
        ("--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+y\n", "`b` exists already"),
        ("--- a/b\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-z\n-y\n", "`b`: it fits nowhere"),
        ("diff --git a/b b/a\nrename from b\nrename to a\n", "`a` exists already"),
        ("--- a/../outside.txt\n+++ b/../outside.txt\n@@ -1 +1 @@\n-s\n+y\n", "leads out"),
        ("--- /dev/null\n+++ b/.git/hooks/pre-commit\n@@ -0,0 +1 @@\n+y\n", "belongs to git"),
    ] {
        let output = patch(&bench, &both(second));
        assert!(!output.ok && output.text.contains(why), "{}", output.text);
        assert_eq!((bench.text("a"), bench.text("b")), ("x\n".into(), "x\n".into()));
    }
    bench.outside_is_untouched();
}

#[test]
fn what_is_no_patch_is_said_with_its_line() {
    let bench = Bench::new();
    bench.file("f", "x\n");
    for (text, why) in [
        ("", "this is no patch"),
        ("please change x to y", "this is no patch"),
        ("--- a/f\n+++ b/f\n", "there is no hunk"),
        (
            "diff --git a/f b/g\nrename from f\nrename to g\n--- /dev/null\n+++ b/h\n@@ -0,0 +1 @@\n+x\n",
            "this is not the file above",
        ),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\nwhat\n+y\n", "line 5 of the patch, `what`"),
        (
            "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n\n+z\n",
            "line 7 of the patch, `+z`: this line belongs to no hunk",
        ),
        ("diff --git a/f b/f\nBinary files a/f and b/f differ\n", "binary files cannot be patched"),
        (
            "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n",
            "symbolic links",
        ),
        ("*** Begin Patch\n*** Update File: f\n*** End Patch", "nothing is changed in this file"),
        ("*** Begin Patch\n*** Rename File: f\n*** End Patch", "expected `*** Add File: `"),
        ("--- a/f\n+++ b/f\n@@ -9223372036854775809,1 +1 @@\n-z\n+y\n", "it fits nowhere"),
        ("f\n<<<<<<< SEARCH\nx\n=======\ny\n", "has no `=======` and `>>>>>>> REPLACE`"),
        ("<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n", "the line above a block names its file"),
    ] {
        let said = bench.judge(&ApplyPatch, json!({"patch": text})).map(|_| patch(&bench, text).text);
        let said = said.unwrap_or_else(|fault| fault.what);
        assert!(said.contains(why), "{text}: {said}");
    }
    assert_eq!(bench.text("f"), "x\n");
}

#[test]
fn an_approval_is_bound_to_every_file() {
    let bench = Bench::new();
    bench.file("a", "x\n");
    let text = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\ndiff --git a/n b/n\nnew file mode 100644\n";
    let judged = || bench.judge(&ApplyPatch, json!({"patch": text})).unwrap();
    let first = judged();
    assert_eq!(first.class, contract::action::EffectClass::Staged);
    bench.file("n", "by now");
    assert_ne!(judged().hash, first.hash);
}

#[test]
fn hostile_paths_change_nothing_outside() {
    let Some(texts) = data("attacks/path-traversal.txt", 1027) else { return };
    let bench = Bench::new();
    symlink(bench.top(), bench.root().join("out")).unwrap();
    for (n, path) in String::from_utf8_lossy(&texts).lines().enumerate() {
        let texts = [
            format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+kapell-was-here\n"),
            format!("*** Begin Patch\n*** Add File: {path}\n+kapell-was-here\n*** End Patch"),
            format!("{path}\n<<<<<<< SEARCH\n=======\nkapell-was-here\n>>>>>>> REPLACE\n"),
            format!("diff --git a/out/outside.txt b/{path}\nrename from out/outside.txt\nrename to {path}\n"),
        ];
        // Each format on every fourth of them: they differ in how a name is written, not in what is done with it.
        let output = patch(&bench, &texts[n % texts.len()]);
        for file in [path, "/etc/passwd", "/etc/shadow", "/boot.ini"] {
            let inside = std::fs::read_to_string(file).is_ok_and(|text| text.contains("kapell-was-here"));
            assert!(!inside || file.starts_with(bench.root().to_str().unwrap()), "{path}: {}", output.text);
        }
        if n % 50 == 0 {
            bench.outside_is_untouched();
        }
    }
    bench.outside_is_untouched();
}
