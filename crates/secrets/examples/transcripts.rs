//! `cargo xtask bench secrets [--show]`: what is taken for a secret in recorded transcripts of agents, which hold hardly any:
//! how many texts, under which name, how fast. `--show` prints the surroundings, to be judged by a reader.
//!
//! Start at `main`.

use secrets::Redactor;
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

const SETS: [&str; 2] = ["cc-spotter", "pi-mono"];
/// Bytes that are shown on both sides.
const AROUND: usize = 48;

/// Counts and prints.
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let dir = args.iter().find(|arg| !arg.starts_with("--")).map_or("../shared/data", String::as_str);
    let show = args.iter().any(|arg| arg == "--show");
    let redactor = Redactor::default();
    for set in SETS {
        let archive = Path::new(dir).join("transcripts").join(format!("{set}.tar.xz"));
        if !archive.exists() {
            println!("SKIPPED 1 set: transcripts/{set}.tar.xz is not in KAPELL_DATA");
            continue;
        }
        let to = tempfile::tempdir()?;
        let unpacked =
            std::process::Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(to.path()).status()?;
        if !unpacked.success() {
            return Err(format!("tar cannot unpack {}", archive.display()).into());
        }
        let mut texts = Vec::new();
        for file in files(to.path())? {
            let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
            text.lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .for_each(|line: Value| strings(&line, &mut texts));
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        let (began, mut hit, mut labels) = (Instant::now(), 0, BTreeMap::<String, usize>::new());
        let found: Vec<_> = texts.iter().map(|text| redactor.find(text.as_bytes())).collect();
        let took = began.elapsed();
        for (text, spans) in texts.iter().zip(&found).filter(|(_, spans)| !spans.is_empty()) {
            hit += 1;
            for span in spans {
                *labels.entry(span.label.clone()).or_default() += 1;
                if show {
                    let from = text.floor_char_boundary(span.start.saturating_sub(AROUND));
                    let to = text.ceil_char_boundary((span.end + AROUND).min(text.len()));
                    println!("{}: {:?}", span.label, &text[from..to]);
                }
            }
        }
        println!(
            "{set}: {} texts, {:.1} MB; something taken out of {hit} ({:.3} %); {:.0} MB/s",
            texts.len(),
            bytes as f64 / 1e6,
            hit as f64 * 100.0 / texts.len().max(1) as f64,
            bytes as f64 / 1e6 / took.as_secs_f64()
        );
        for (label, count) in labels {
            println!("  {count:>5} {label}");
        }
    }
    Ok(())
}

fn strings(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| strings(value, into)),
        Value::Object(map) => map.values().for_each(|value| strings(value, into)),
        _ => {}
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}
