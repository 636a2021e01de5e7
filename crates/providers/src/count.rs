//! Tokens of a text, for models whose tokenizer is public. For all others nobody counts here: the kernel learns their
//! size from what their replies report.
//!
//! Knows ids, not models. Start at [`tokens`].

/// Models of OpenAI's that came before the vocabulary `o200k_base`.
const OLDER: [&str; 5] = ["gpt-3", "gpt-4-", "text-", "davinci", "babbage"];

/// Tokens in this text for the model of this id (`provider/name`, or `router/openai/name`); `None`: not known.
pub fn tokens(id: &str, text: &str) -> Option<u64> {
    let (_, name) = id.rsplit_once('/').filter(|(path, _)| path.rsplit('/').next() == Some("openai"))?;
    if name == "gpt-4" || OLDER.iter().any(|older| name.starts_with(older)) {
        return None;
    }
    Some(tiktoken::get_encoding("o200k_base")?.count(text) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_the_public_tokenizer_does_and_only_for_its_models() {
        assert_eq!(tokens("openai/gpt-5.2", "hello world"), Some(2));
        assert_eq!(tokens("openrouter/openai/gpt-4o", ""), Some(0));
        assert_eq!(tokens("openai/o4-mini", "tokens of a text, for models"), Some(7));
        for id in
            ["anthropic/claude-sonnet-5", "openai/gpt-4", "openai/gpt-3.5-turbo", "ollama/openai", "gpt-5"]
        {
            assert_eq!(tokens(id, "hello world"), None, "{id}");
        }
    }

    #[test]
    fn a_long_text_without_a_space_is_counted_in_time() {
        let began = std::time::Instant::now();
        assert!(tokens("openai/gpt-5", &"a1-".repeat(300_000)).unwrap() > 100_000);
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    }
}
