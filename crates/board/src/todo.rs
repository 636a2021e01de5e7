//! The to-do file: lines that begin with a box are items, the nearest heading above is their section. Planning only: nothing
//! that stands there makes anything run.
//!
//! Start at [`items`].

/// An item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What is to be done.
    pub text: String,
    /// Is it?
    pub completed: bool,
    /// The heading above, with its hashes; nothing above the first one.
    pub section: String,
    /// Counted from 1.
    pub line: usize,
}

/// The items of the text, in order. Indented boxes belong to the item above and are none of their own.
pub fn items(text: &str) -> Vec<Item> {
    let mut section = String::new();
    let mut all = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_end();
        if line.starts_with('#') {
            section = line.to_owned();
        }
        let boxes = [("- [ ]", false), ("- [x]", true), ("- [X]", true)];
        if let Some((rest, completed)) =
            boxes.iter().find_map(|(mark, completed)| Some((line.strip_prefix(mark)?, *completed)))
        {
            all.push(Item {
                text: rest.trim().to_owned(),
                completed,
                section: section.clone(),
                line: at + 1,
            });
        }
    }
    all
}

/// The text with the first open item of these words ticked, and every other byte as it was; `None`: there is none.
pub fn ticked(text: &str, words: &str) -> Option<String> {
    let item = items(text).into_iter().find(|item| !item.completed && item.text == words.trim())?;
    let mut out = String::with_capacity(text.len());
    for (at, line) in text.split_inclusive('\n').enumerate() {
        match at + 1 == item.line {
            true => out.push_str(&line.replacen("- [ ]", "- [x]", 1)),
            false => out.push_str(line),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_item_is_ticked_and_nothing_else_changes() {
        let text =
            "\u{feff}# A\r\n- [x] mend it\r\n- [ ] mend it \r\n  - [ ] mend it\n- [ ] mend it\n- [ ] other";
        let once = ticked(text, "mend it").unwrap();
        assert_eq!(once, text.replacen("\n- [ ] mend it ", "\n- [x] mend it ", 1));
        let twice = ticked(&once, " mend it ").unwrap();
        assert!(twice.ends_with("- [x] mend it\n- [ ] other") && ticked(&twice, "mend it").is_none());
        assert!(ticked(text, "other").unwrap().ends_with("- [x] other"));
    }

    #[test]
    fn items_have_the_heading_above_them() {
        let text = "- [ ] first\n# A\n\n- [x] done\n\t- [ ] context\n  - [ ] more\n## B\r\n- [X] also done\r\n-[ ] no\n* [ ] no\n- [ ]bare\n";
        let all = items(text);
        let seen: Vec<_> =
            all.iter().map(|i| (i.text.as_str(), i.completed, i.section.as_str(), i.line)).collect();
        assert_eq!(
            seen,
            [
                ("first", false, "", 1),
                ("done", true, "# A", 4),
                ("also done", true, "## B", 8),
                ("bare", false, "## B", 11)
            ]
        );
    }
}
