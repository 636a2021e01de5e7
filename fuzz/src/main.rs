//! Feeds libFuzzer's inputs to one property of the project's crates: the one that `KAPELL_FUZZ` names.
//!
//! One program for all of them, because a program for each takes longer to link than to run. Knows nothing of the
//! properties: a new one is a line of [`TARGETS`], where to start.
#![no_main]

use std::sync::OnceLock;

/// Name of the variable that names the target.
const CHOICE: &str = "KAPELL_FUZZ";

type Property = fn(&[u8]);

/// `cargo xtask fuzz` reads this table, so each stands on a line of its own.
#[rustfmt::skip]
const TARGETS: &[(&str, Property)] = &[
    ("address", tools::props::address),
    ("capture", sandbox::props::capture),
    ("checks", workspace::props::checks),
    ("cleaning", contract::props::cleaning),
    ("command", command::props::line),
    ("compiler", providers::props::compiler),
    ("config", kapell::props::config),
    ("conversation", providers::props::conversation),
    ("diffs", kapell::props::diffs),
    ("digest", output::props::digest),
    ("edit", tools::props::edit),
    ("envelope", journal::props::envelope),
    ("body", journal::props::body),
    ("frame", journal::props::frame),
    ("html", tools::props::html),
    ("ids", contract::props::names),
    ("index", workspace::props::index),
    ("inspect", workspace::props::inspect),
    ("intent", contract::props::intent),
    ("name", tools::props::name),
    ("notebook", tools::props::notebook),
    ("objects", workspace::props::objects),
    ("output", tools::props::output),
    ("patch", tools::props::patch),
    ("patches", providers::props::patches),
    ("paths", tools::props::paths),
    ("pattern", tools::props::pattern),
    ("quantities", kapell::props::quantities),
    ("record", contract::props::record),
    ("script", providers::props::script),
    ("sessions", kapell::props::names),
    ("snapshot", engine::props::snapshot),
    ("story", engine::props::story),
    ("stream", providers::props::stream),
    ("template", output::props::template),
    ("wire", sandbox::props::wire),
];

fn chosen() -> Property {
    let name = std::env::var(CHOICE).unwrap_or_default();
    match TARGETS.iter().find(|(target, _)| *target == name) {
        Some((_, property)) => *property,
        None => {
            eprintln!("fuzz: {CHOICE} is `{name}`, which is no target; see `TARGETS` in fuzz/src/main.rs");
            std::process::exit(2)
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static PROPERTY: OnceLock<Property> = OnceLock::new();
    PROPERTY.get_or_init(chosen)(data);
});
