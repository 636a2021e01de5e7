//! The tools an agent works with. Each file (or folder, for `apply_patch` and `web_fetch`) is one tool, whole: what the
//! model is told, the arguments it takes, the effect class, the limits, and running it.
//! Knows nothing of sessions, policy or approval. Start at [`all`], then `read.rs` as the simplest tool.
//!
//! Two things hold for all of them. Paths never leave the workspace: they are resolved by the kernel relative
//! to an open directory (`tree.rs`), not compared as text. And what a model sees has no control sequences
//! (`view.rs`); the raw bytes stay in [`contract::tool::Output::full`].

mod args;
mod change;
mod edit;
mod glob;
mod handed;
mod image;
mod job;
mod jobs;
mod judge;
mod keys;
mod learn;
mod list;
mod mask;
mod memory;
mod memory_read;
mod memory_write;
mod multi_edit;
mod name;
mod notebook;
mod parsers;
pub mod parts;
mod patch;
mod paths;
mod piece;
#[cfg(any(test, fuzzing))]
pub mod props;
mod read;
mod search;
mod shell;
mod spool;
pub mod terminal;
#[cfg(test)]
mod testing;
mod tree;
mod view;
mod walk;
mod web;
mod write;

pub use handed::GIVES;
pub use jobs::Jobs;
pub use parsers::Parsers;
pub use spool::Place;

use contract::handle::Handles;
use contract::tool::Tool;
use std::path::PathBuf;
use std::sync::Arc;
pub use web::{Rules as WebRules, Way as WebWay};

/// What tools need to be told once.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Running commands leave a record in the folder of their session (its id) in here, for [`sandbox::sweep`].
    pub records: Option<PathBuf>,
    /// Where outputs go that are too long for memory. Without it their two ends are kept.
    pub spool: Option<Place>,
    /// Background commands and terminals. The default has no place for any.
    pub jobs: Arc<Jobs>,
    /// Which hosts of the internet may be asked.
    pub web: web::Rules,
    /// Parsers of the user's, beside the built-in ones.
    pub parsers: Arc<Parsers>,
    /// Who keeps the secrets that calls may name; `None`: there are none.
    pub handles: Option<Arc<dyn Handles>>,
}

/// Every tool.
pub fn all(options: &Options) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(read::Read),
        Arc::new(write::Write),
        Arc::new(edit::Edit),
        Arc::new(multi_edit::MultiEdit),
        Arc::new(patch::ApplyPatch),
        Arc::new(list::List),
        Arc::new(glob::Glob),
        Arc::new(search::Search),
        Arc::new(shell::Shell::new(options)),
        Arc::new(job::JobTool::new(Arc::clone(&options.jobs))),
        Arc::new(web::WebFetch::new(options.web.clone(), options.handles.clone())),
        Arc::new(paths::Paths),
        Arc::new(notebook::read::NotebookRead),
        Arc::new(notebook::edit::NotebookEdit),
        Arc::new(memory_read::MemoryRead),
        Arc::new(memory_write::MemoryWrite),
        Arc::new(learn::Learn::new(Arc::clone(&options.parsers))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Every schema in it says what it is, and says no more than all dialects take.
    fn check(schema: &Value, at: &str) {
        let words = [
            "type",
            "properties",
            "required",
            "additionalProperties",
            "description",
            "items",
            "enum",
            "minItems",
            "maxItems",
            "minimum",
            "maximum",
        ];
        let object = schema.as_object().unwrap_or_else(|| panic!("{at}"));
        object.keys().for_each(|word| assert!(words.contains(&word.as_str()), "{at}: `{word}`"));
        let kind = schema["type"].as_str().unwrap_or_else(|| panic!("{at} has no type"));
        if kind == "object" {
            let properties =
                schema["properties"].as_object().unwrap_or_else(|| panic!("{at} has no properties"));
            assert_eq!(schema["additionalProperties"], false, "{at}");
            let required = schema["required"].as_array().into_iter().flatten();
            required
                .for_each(|name| assert!(properties.contains_key(name.as_str().unwrap()), "{at}: {name}"));
            properties.iter().for_each(|(name, inner)| check(inner, &format!("{at}.{name}")));
        }
        if kind == "array" {
            check(&schema["items"], &format!("{at}[]"));
        }
    }

    #[test]
    fn every_tool_is_described_shortly_and_as_every_dialect_takes_it() {
        let tools = all(&Options::default());
        let mut names: Vec<String> = tools.iter().map(|tool| tool.spec().name).collect();
        for tool in &tools {
            let spec = tool.spec();
            assert!(
                spec.name.len() <= 64 && spec.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{}",
                spec.name
            );
            assert!((40..700).contains(&spec.description.len()), "{}: {}", spec.name, spec.description.len());
            check(&spec.schema, &spec.name);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), tools.len());
        let size = |core: bool| {
            let some = tools.iter().filter(|tool| tool.is_core() == core).map(|tool| tool.spec());
            some.map(|spec| spec.name.len() + spec.description.len() + spec.schema.to_string().len())
                .sum::<usize>()
        };
        assert!(size(true) < contract::limits::TOOLS_SHOWN_BYTES, "{} bytes from the start", size(true));
        assert!(size(true) + size(false) < 2 * contract::limits::TOOLS_SHOWN_BYTES, "{} bytes", size(false));
    }
}
