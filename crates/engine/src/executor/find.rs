//! Tools shown on demand: which of many are shown from the start, and which ones fit what is looked for.
//!
//! Knows specs, no tool. Start at [`hidden`] and [`fitting`].
//!
//! Both are functions of what stands on record, so that a request can be built anew. Tools that were found come last:
//! what was shown before stays the beginning of the request. A provider's cache still ends there, once for each search.

use contract::limits;
use contract::model::ToolSpec;
use serde::Deserialize;
use serde_json::{Value, json};

/// What it is called.
pub(super) const NAME: &str = "find_tools";
/// Bytes of names in its description.
const NAMES_BYTES: usize = 2 * 1024;
/// What a word counts for in a name, and in a description.
const IN_NAME: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Find {
    query: String,
}

/// Of these tools, which are not shown from the start: none as long as they are few.
pub(super) fn hidden(tools: &[(&ToolSpec, bool)]) -> Vec<bool> {
    let size = |spec: &ToolSpec| spec.name.len() + spec.description.len() + spec.schema.to_string().len();
    let bytes: usize = tools.iter().map(|(spec, _)| size(spec)).sum();
    let many = tools.len() > limits::TOOLS_SHOWN || bytes > limits::TOOLS_SHOWN_BYTES;
    tools.iter().map(|(_, core)| many && !core).collect()
}

/// How a model sees the search.
pub(super) fn spec(hidden: &[&ToolSpec]) -> ToolSpec {
    let mut names = String::new();
    for (number, spec) in hidden.iter().enumerate() {
        if names.len() + spec.name.len() > NAMES_BYTES {
            names.push_str(&format!(" and {} more", hidden.len() - number));
            break;
        }
        names.push_str(if number > 0 { ", " } else { "" });
        names.push_str(&spec.name);
    }
    ToolSpec {
        name: NAME.into(),
        description: format!(
            "Shows you further tools, which you can call from then on. Look for all you need at once. There are: {names}."
        ),
        schema: json!({
            "type": "object",
            "properties": {"query": {"type": "string", "description": "Names of tools, or words for what they are to do."}},
            "required": ["query"],
            "additionalProperties": false,
        }),
    }
}

/// Reads the arguments.
pub(super) fn query(args: Value) -> Result<String, String> {
    let Find { query } = serde_json::from_value(args)
        .map_err(|error| format!("the arguments of `{NAME}` do not fit: {error}"))?;
    if query.trim().is_empty() { Err("`query` is empty".to_owned()) } else { Ok(query) }
}

/// The names of those that fit: the ones that are named, or else those with most of the words, the best first.
pub(super) fn fitting(query: &str, hidden: &[&ToolSpec]) -> Vec<String> {
    let query = query.to_lowercase();
    let words: Vec<&str> =
        query.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| w.len() > 1).collect();
    let named: Vec<String> = hidden
        .iter()
        .filter(|spec| words.contains(&spec.name.to_lowercase().as_str()))
        .map(|spec| spec.name.clone())
        .collect();
    if !named.is_empty() {
        return named.into_iter().take(limits::TOOLS_PER_SEARCH).collect();
    }
    let score = |spec: &ToolSpec| {
        let (name, text) = (spec.name.to_lowercase(), spec.description.to_lowercase());
        let count =
            |word: &&str| IN_NAME * usize::from(name.contains(*word)) + usize::from(text.contains(*word));
        words.iter().map(count).sum::<usize>()
    };
    let mut found: Vec<(usize, &str)> =
        hidden.iter().map(|spec| (score(spec), spec.name.as_str())).filter(|(score, _)| *score > 0).collect();
    // Stable: among equals the order they are shown in.
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found.into_iter().take(limits::TOOLS_PER_SEARCH).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, description: &str) -> ToolSpec {
        ToolSpec { name: name.into(), description: description.into(), schema: json!({}) }
    }

    #[test]
    fn few_tools_are_all_shown_and_of_many_the_core() {
        let shown = |count: usize, text: &str| -> Vec<bool> {
            let tools: Vec<ToolSpec> = (0..count).map(|n| tool(&n.to_string(), text)).collect();
            let core: Vec<(&ToolSpec, bool)> =
                tools.iter().enumerate().map(|(n, tool)| (tool, n < 3)).collect();
            hidden(&core)
        };
        assert!(shown(limits::TOOLS_SHOWN, "does").iter().all(|hidden| !hidden));
        let many = shown(limits::TOOLS_SHOWN + 1, "does");
        assert_eq!(many.iter().filter(|hidden| !**hidden).count(), 3);
        let long = shown(4, &"x".repeat(limits::TOOLS_SHOWN_BYTES / 4));
        assert_eq!(long, [false, false, false, true]);
    }

    #[test]
    fn the_search_gives_what_is_named_or_what_fits_best() {
        let all = [
            tool("web_fetch", "Fetches a page of the internet."),
            tool("notebook_edit", "Changes cells of a Jupyter notebook."),
            tool("db_page", "Asks a database."),
        ];
        let hidden: Vec<&ToolSpec> = all.iter().collect();
        for (query, names) in [
            ("web_fetch", vec!["web_fetch"]),
            ("db_page, notebook_edit", vec!["notebook_edit", "db_page"]),
            ("fetch a page from the internet", vec!["web_fetch", "db_page"]),
            ("JUPYTER", vec!["notebook_edit"]),
            ("telephone", vec![]),
            ("a", vec![]),
        ] {
            assert_eq!(fitting(query, &hidden), names, "{query}");
        }
        assert!(spec(&hidden).description.ends_with("There are: web_fetch, notebook_edit, db_page."));
        let many: Vec<ToolSpec> = (0..500).map(|n| tool(&format!("tool_number_{n}"), "does")).collect();
        let many: Vec<&ToolSpec> = many.iter().collect();
        assert!(spec(&many).description.len() < NAMES_BYTES + 200);
        assert_eq!(fitting("does", &many).len(), limits::TOOLS_PER_SEARCH);
        assert!(query(json!({"query": " "})).is_err() && query(json!({"q": "x"})).is_err());
    }
}
