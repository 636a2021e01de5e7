//! Benchmarks written for a nightly compiler's `test` crate, carried over to the stable one: the
//! same functions measure the same code, with a small `Bencher` in the file itself.
//!
//! Start at [`port`]. What it cannot carry over whole it leaves alone.

use super::manifest::{MANIFEST, whole};
use crate::fixer::diag::Diag;
use crate::fixer::patch::{Fix, Part, Texts};
use crate::fixer::source;

const FEATURE: &str = "#![feature(test)]\n";
const CRATE: &str = "extern crate test;\n";
const ATTRIBUTE: &str = "#[bench]";

/// What `#[bench]` functions use of the `test` crate, in stable words. Without `--bench`, which
/// `cargo bench` passes, each runs once, as the nightly one does.
const STABLE_TEST: &str = r#"
mod test {
    pub use std::hint::black_box;
    use std::time::{Duration, Instant};

    pub struct Bencher {
        pub bytes: u64,
        rounds: u32,
        took: Duration,
    }

    impl Bencher {
        pub fn iter<T, F: FnMut() -> T>(&mut self, mut inner: F) {
            let measured = std::env::args().any(|arg| arg == "--bench");
            let enough = if measured { Duration::from_millis(300) } else { Duration::from_millis(0) };
            let start = Instant::now();
            while self.rounds == 0 || self.took < enough {
                black_box(inner());
                self.rounds += 1;
                self.took = start.elapsed();
            }
        }
    }

    pub fn run(name: &str, bench: fn(&mut Bencher)) {
        let mut bencher = Bencher { bytes: 0, rounds: 0, took: Duration::from_millis(0) };
        bench(&mut bencher);
        let each = bencher.took / bencher.rounds.max(1);
        println!("bench {}: {:?} per iteration of {} bytes", name, each, bencher.bytes);
    }
}
"#;

/// The whole file and its entry in the manifest, when this is about such a benchmark.
pub(super) fn port(diag: &Diag, texts: &Texts) -> Option<Fix> {
    let file = &diag.at.as_ref()?.file;
    let name = file.strip_prefix("benches/")?.strip_suffix(".rs")?;
    let (text, manifest) = (texts.get(file)?, texts.get(MANIFEST)?);
    if diag.code != "E0554" || text.matches("feature(").count() != 1 {
        return None;
    }
    let ported = ported(text)?;
    let parts = vec![
        Part { file: file.clone(), at: (0, text.len()), new: ported },
        whole(manifest, without_harness(manifest, name)?),
    ];
    Fix::new(&diag.code, parts, texts)
}

fn ported(text: &str) -> Option<String> {
    // What a macro makes of its functions cannot be named from outside.
    let in_macro = text.match_indices("macro_rules!").any(|(at, _)| {
        let open = text[at..].find('{').map(|i| at + i);
        open.and_then(|open| Some(&text[open..source::closing(text, open)?]))
            .is_none_or(|body| body.contains(ATTRIBUTE))
    });
    if in_macro {
        return None;
    }
    let text = text.replacen(FEATURE, "", 1);
    let at = text.find(CRATE)?;
    let indent = &text[text[..at].rfind('\n').map_or(0, |i| i + 1)..at];
    // In a nested module the name comes in with everything else of the file.
    let nested = match indent {
        "" => None,
        _ if indent.trim().is_empty() && text.contains("use super::*;") => Some(module_around(&text[..at])?),
        _ => return None,
    };
    let mut text = text.replacen(&format!("{indent}{CRATE}"), "", 1);
    let mut calls = String::new();
    while let Some(at) = text.find(ATTRIBUTE) {
        let rest = &text[at + ATTRIBUTE.len()..];
        let item = rest.trim_start();
        let name = item.trim_start_matches("pub ").strip_prefix("fn ")?.split('(').next()?;
        let simple = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !simple {
            return None;
        }
        let path = nested.map(|module| format!("{module}::")).unwrap_or_default();
        calls.push_str(&format!("    test::run(\"{name}\", {path}{name});\n"));
        let public = if nested.is_some() && !item.starts_with("pub ") { "pub " } else { "" };
        let gap = rest.len() - item.len();
        text.replace_range(at..at + ATTRIBUTE.len() + gap, public);
    }
    let fits = !calls.is_empty() && !text.contains("fn main(") && !text.contains(CRATE);
    fits.then(|| format!("{}\n{STABLE_TEST}\nfn main() {{\n{calls}}}\n", text.trim_end()))
}

/// Name of the module a place directly inside it belongs to.
fn module_around(before: &str) -> Option<&str> {
    let header = before.lines().rev().find(|line| line.starts_with("mod "))?;
    header.strip_prefix("mod ")?.split('{').next().map(str::trim)
}

/// The manifest with `harness = false` for this benchmark.
fn without_harness(manifest: &str, name: &str) -> Option<String> {
    let entry = format!("name = \"{name}\"\n");
    let declared = manifest
        .split("[[bench]]")
        .skip(1)
        .any(|table| table.split("\n[").next().unwrap_or("").contains(&entry));
    if declared {
        let at = manifest.match_indices("[[bench]]\n").map(|(i, head)| i + head.len());
        let own =
            at.filter(|&at| manifest[at..].split("\n[").next().unwrap_or("").contains(&entry)).last()?;
        let table = manifest[own..].split("\n[").next().unwrap_or("");
        return (!table.contains("harness"))
            .then(|| format!("{}harness = false\n{}", &manifest[..own], &manifest[own..]));
    }
    // In the oldest edition one entry would hide every benchmark that has none.
    let discovers = manifest.contains("autobenches")
        || manifest.contains("edition = \"20") && !manifest.contains("\"2015\"");
    let manifest = match discovers {
        true => manifest.to_owned(),
        false => manifest.replacen("[package]\n", "[package]\nautobenches = true\n", 1),
    };
    Some(format!("{}\n\n[[bench]]\n{entry}harness = false\n", manifest.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_stay_and_a_main_calls_them() {
        let text = "//! Doc.\n#![feature(test)]\nextern crate x;\nextern crate test;\n\n#[bench]\nfn one(b: &mut test::Bencher) {\n    b.iter(|| 1)\n}\n";
        let new = ported(text).unwrap();
        assert!(new.starts_with(
            "//! Doc.\nextern crate x;\n\nfn one(b: &mut test::Bencher) {\n    b.iter(|| 1)\n}\n"
        ));
        assert!(
            new.contains("mod test {") && new.ends_with("fn main() {\n    test::run(\"one\", one);\n}\n")
        );
    }

    #[test]
    fn a_nested_module_is_reached_and_a_macro_is_left_alone() {
        let text = "#![feature(test)]\nmod benches {\n    use super::*;\n    extern crate test;\n    #[bench]\n    fn one(b: &mut test::Bencher) {}\n}\n";
        let new = ported(text).unwrap();
        assert!(
            new.contains("    pub fn one(") && new.contains("test::run(\"one\", benches::one);"),
            "{new}"
        );
        assert_eq!(ported(&text.replace("fn one", "fn $name")), None);
        assert_eq!(
            ported(&text.replace(
                "mod benches {",
                "mod benches {\n    macro_rules! m { () => { #[bench] fn x() {} } }"
            )),
            None
        );
    }

    #[test]
    fn the_manifest_says_that_there_is_a_main() {
        assert_eq!(
            without_harness("[package]\n", "b").unwrap(),
            "[package]\nautobenches = true\n\n[[bench]]\nname = \"b\"\nharness = false\n"
        );
        let newer = "[package]\nedition = \"2021\"\n";
        assert!(!without_harness(newer, "b").unwrap().contains("autobenches"));
        let declared = "[[bench]]\nname = \"a\"\n\n[[bench]]\nname = \"b\"\n\n[lib]\n";
        let expected = "[[bench]]\nname = \"a\"\n\n[[bench]]\nharness = false\nname = \"b\"\n\n[lib]\n";
        assert_eq!(without_harness(declared, "b").unwrap(), expected);
        assert_eq!(without_harness(expected, "b"), None);
    }
}
