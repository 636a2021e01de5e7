//! The answers, each on the smallest text that shows it: `<<` and `>>` mark where the finding points.

use super::*;
use crate::fixer::diag::{Advice, Place, Trust};
use crate::fixer::patch::applied;
use std::collections::BTreeSet;

/// A finding at the marked place of the first file, and the texts without the marks.
fn marked(code: &str, message: &str, files: &[(&str, &str)]) -> (Diag, Texts) {
    let (file, text) = files[0];
    let start = text.find("<<").expect("a mark");
    let plain = text.replacen("<<", "", 1);
    let end = plain.find(">>").expect("a mark");
    let plain = plain.replacen(">>", "", 1);
    let place = |at: usize| {
        let line = plain[..at].rfind('\n').map_or(0, |i| i + 1);
        (1 + plain[..at].matches('\n').count(), 1 + plain[line..at].chars().count())
    };
    let at = Place { file: file.into(), start: place(start), end: place(end), expanded: false };
    let mut texts: Texts =
        files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
    texts.insert(file.into(), plain);
    let diag = Diag {
        code: code.into(),
        message: message.into(),
        hard: false,
        targets: BTreeSet::new(),
        at: Some(at),
        advice: Vec::new(),
        words: Vec::new(),
    };
    (diag, texts)
}

/// The first file after the answer; `None` when there is no answer.
fn answered(code: &str, message: &str, files: &[(&str, &str)]) -> Option<String> {
    let (diag, texts) = marked(code, message, files);
    let fixes = answers(&[&diag], &texts);
    assert!(fixes.len() <= 1, "{fixes:?}");
    (!fixes.is_empty()).then(|| applied(&texts, &fixes)[files[0].0].clone())
}

fn one(code: &str, message: &str, text: &str) -> Option<String> {
    answered(code, message, &[("src/lib.rs", text)])
}

const TRY: &str = "use of deprecated macro `try`: use the `?` operator instead";

#[test]
fn try_becomes_a_question_mark() {
    for (text, expected) in [
        ("<<try>>!(f(x));", Some("f(x)?;")),
        ("<<try>>!(\n    f(x)\n);", Some("f(x)?;")),
        ("<<try>>!(*a);", Some("(*a)?;")),
        ("<<try>>!(a + b);", Some("(a + b)?;")),
        ("<<try>>!($e)", Some("$e?")),
        ("<<try>>!(f(\")\"))", Some("f(\")\")?")),
        ("<<try>>![f]", None),
        ("<<try>>!(f", None),
    ] {
        assert_eq!(one("deprecated", TRY, text).as_deref(), expected, "{text}");
    }
}

#[test]
fn nested_tries_go_together() {
    let text = "<<try>>!(f(try!(g())))";
    let (outer, texts) = marked("deprecated", TRY, &[("src/lib.rs", text)]);
    let (inner, _) = marked("deprecated", TRY, &[("src/lib.rs", "try!(f(<<try>>!(g())))")]);
    let fixes = crate::fixer::patch::compatible(answers(&[&outer, &inner], &texts));
    assert_eq!(applied(&texts, &fixes)["src/lib.rs"], "f(g()?)?");
    let text = "<<try>>!(try!(g()))";
    let (outer, texts) = marked("deprecated", TRY, &[("src/lib.rs", text)]);
    let (inner, _) = marked("deprecated", TRY, &[("src/lib.rs", "try!(<<try>>!(g()))")]);
    let fixes = crate::fixer::patch::compatible(answers(&[&outer, &inner], &texts));
    assert_eq!(applied(&texts, &fixes)["src/lib.rs"], "g()??");
}

#[test]
fn imports_go_with_their_attributes() {
    let message = "use of deprecated trait `std::ascii::AsciiExt`: use inherent methods instead";
    let text = "use a;\n#[allow(unused_imports)]\nuse std::ascii::<<AsciiExt>>;\nfn f() {}\n";
    assert_eq!(one("deprecated", message, text).unwrap(), "use a;\nfn f() {}\n");
    let numeric = "importing legacy numeric constants";
    let lint = "clippy::legacy_numeric_constants";
    assert_eq!(one(lint, numeric, "use core::{a, b, <<usize>>};\n").unwrap(), "use core::{a, b};\n");
    assert_eq!(one(lint, numeric, "use core::{a, <<usize>>, b};\n").unwrap(), "use core::{a, b};\n");
    assert_eq!(one(lint, numeric, "pub use std::<<u32>>;\n"), None);
}

#[test]
fn an_import_used_under_another_condition_stays() {
    let message = "unused import: `std::io::Write`";
    let code = "unused_imports";
    assert_eq!(one(code, message, "use <<std::io::Write>>;\n").unwrap(), "");
    let elsewhere = "use <<std::io::Write>>;\n#[cfg(windows)]\nfn f(w: &mut dyn Write) {}\n";
    assert_eq!(one(code, message, elsewhere), None);
    let tests_only = "use <<std::io::Write>>;\n#[cfg(test)]\nfn f() {}\n";
    assert!(one(code, message, tests_only).is_some());
}

#[test]
fn an_empty_glob_gets_the_condition_of_its_module() {
    let root = ("src/lib.rs", "mod win;\npub use <<win::*>>;\n");
    let module = "/// Doc.\n#[cfg(windows)]\npub fn f() {}\n\n#[cfg(windows)]\npub fn g() {}\n";
    let fixed = answered("unused_imports", "unused import: `win::*`", &[root, ("src/win.rs", module)]);
    assert_eq!(fixed.unwrap(), "mod win;\n#[cfg(windows)]\npub use win::*;\n");
    let mixed = ("src/win.rs", "#[cfg(windows)]\npub fn f() {}\n#[cfg(unix)]\npub fn g() {}\n");
    assert_eq!(answered("unused_imports", "unused import: `win::*`", &[root, mixed]), None);
}

#[test]
fn small_ones() {
    let macro_use = "unused `#[macro_use]` import";
    let text = "#[cfg(test)]\n<<#[macro_use]>>\nextern crate std;\n";
    assert_eq!(one("unused_imports", macro_use, text).unwrap(), "#[cfg(test)]\nextern crate std;\n");
    let removed = "lint `private_in_public` has been removed: it is gone";
    let text = "#[allow(<<private_in_public>>)]\nuse a;\n";
    assert_eq!(one("renamed_and_removed_lints", removed, text).unwrap(), "use a;\n");
    for (text, expected) in [
        ("let x = <<unsafe>> { f(1) };", "let x = f(1);"),
        ("<<unsafe>> {\n    f();\n    g()\n}", "{\n    f();\n    g()\n}"),
    ] {
        assert_eq!(one("unused_unsafe", "unnecessary `unsafe` block", text).unwrap(), expected);
    }
    let doc = "    <</// a\n    /// b>>\n    x!();\n";
    assert_eq!(
        one("unused_doc_comments", "unused doc comment", doc).unwrap(),
        "    // a\n    // b\n    x!();\n"
    );
}

#[test]
fn the_linter_says_which_comparison_is_meant() {
    let (mut diag, texts) =
        marked("clippy::absurd_extreme_comparisons", "m", &[("src/lib.rs", "if <<n <= 0>> {}")]);
    diag.words = vec!["because `0` is the minimum value, ..., consider using `n == 0` instead".into()];
    assert_eq!(applied(&texts, &answers(&[&diag], &texts))["src/lib.rs"], "if n == 0 {}");
}

#[test]
fn pushing_the_same_item_says_so() {
    let lint = "clippy::same_item_push";
    for (text, expected) in [
        (
            "let mut v = Vec::with_capacity(n);\nfor _ in 0..n {\n    <<v>>.push(false);\n}\nend",
            Some("let mut v = vec![false; n];\nend"),
        ),
        ("for _ in 0..n {\n    <<v>>.push(f(1));\n}\n", Some("v.resize(v.len() + n, f(1));\n")),
        ("for _ in 0..n {\n    <<v>>.push(0);\n    g();\n}\n", None),
        ("for i in 0..n {\n    <<v>>.push(0);\n}\n", None),
        ("for _ in 0..=n {\n    <<v>>.push(0);\n}\n", None),
    ] {
        assert_eq!(one(lint, "m", text).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_variant_loses_its_enums_name_everywhere() {
    let files = [
        ("src/a.rs", "enum Kind {\n    <<NoKind>>,\n    Other(u8),\n}\n// NoKind is the default\n"),
        ("src/b.rs", "fn f() -> Kind { Kind::NoKind }\n"),
    ];
    let (diag, texts) =
        marked("clippy::enum_variant_names", "variant name ends with the enum's name", &files);
    let after = applied(&texts, &answers(&[&diag], &texts));
    assert_eq!(after["src/a.rs"], "enum Kind {\n    No,\n    Other(u8),\n}\n// No is the default\n");
    assert_eq!(after["src/b.rs"], "fn f() -> Kind { Kind::No }\n");
    let taken = [files[0], ("src/b.rs", "struct No;\n")];
    assert_eq!(
        answered("clippy::enum_variant_names", "variant name ends with the enum's name", &taken),
        None
    );
}

fn renamed(files: &[(&str, &str)], new: &str) -> Option<Texts> {
    let (mut diag, texts) = marked("non_camel_case_types", "m", files);
    let place = diag.at.clone().expect("a place");
    diag.advice.push(Advice { trust: Trust::Maybe, parts: vec![(place, new.into())] });
    let fixes = answers(&[&diag], &texts);
    (!fixes.is_empty()).then(|| applied(&texts, &fixes))
}

#[test]
fn a_name_nobody_outside_can_say_is_changed() {
    let text = "pub trait W {\n    type <<wstr>>: ?Sized;\n    fn f(&self) -> Self::wstr;\n}\n";
    let private = [("src/w.rs", text), ("src/lib.rs", "mod w;\n")];
    assert!(
        renamed(&private, "Wstr").unwrap()["src/w.rs"]
            .contains("type Wstr: ?Sized;\n    fn f(&self) -> Self::Wstr;")
    );
    assert_eq!(renamed(&[("src/w.rs", text), ("src/lib.rs", "pub mod w;\n")], "Wstr"), None);
    assert_eq!(renamed(&[("src/w.rs", text), ("src/lib.rs", "mod w;\npub use w::W;\n")], "Wstr"), None);
    assert_eq!(renamed(&[("src/lib.rs", text)], "Wstr"), None);
    assert!(renamed(&[("src/lib.rs", "struct <<foo_bar>>;\n")], "FooBar").is_some());
    assert_eq!(renamed(&[("src/lib.rs", "pub struct <<foo_bar>>;\n")], "FooBar"), None);
}

#[test]
fn conditions_are_declared_as_the_compiler_says() {
    let (mut one, mut texts) = marked("unexpected_cfgs", "m", &[("src/lib.rs", "#[cfg(<<fast>>)]\n")]);
    let mut two = one.clone();
    one.words = vec!["unexpected_cfgs = { level = \"warn\", check-cfg = ['cfg(fast)'] }".into()];
    two.words = vec!["consider adding `slow` as a feature in `Cargo.toml`".into()];
    texts.insert(MANIFEST.into(), "[package]\nname = \"x\"\n\n[features]\nstd = []\n".into());
    let after = applied(&texts, &answers(&[&one, &two], &texts));
    assert_eq!(
        after[MANIFEST],
        "[package]\nname = \"x\"\n\n[features]\nslow = []\nstd = []\n\n[lints.rust]\n\
         unexpected_cfgs = { level = \"warn\", check-cfg = ['cfg(fast)'] }\n"
    );
}
