//! `persistent-memory.md`: three sections, entries under headings with a time, a mode and a category.
//!
//! Reads keys in bold and plain, writes plain. Knows no clock. Start at [`Memory::parse`].

use crate::{Bad, bad};

/// The sections, in their order.
pub const SECTIONS: [&str; 3] =
    ["Non-Obvious Implementation Patterns", "Development & Debug Commands", "System Updates & Status"];

/// What bullets of an entry are named.
const KEYS: [&str; 5] = ["Finding", "Command", "Achievement", "Insight", "Coordination"];

/// The file. Its text is kept; sections and entries are places in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    text: String,
}

/// A section: its title and what stands below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Without the hash.
    pub title: String,
    /// Everything up to the next one, without blank lines around it.
    pub body: String,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// In which section it stands.
    pub section: String,
    /// As it is written.
    pub timestamp: String,
    /// Who wrote it.
    pub mode: String,
    /// What it is about.
    pub category: String,
    /// The bullets that have a known key, with all their lines.
    pub keyed: Vec<(&'static str, String)>,
    /// What stands below the heading.
    pub content: String,
    /// Its lines in the file, the heading first: from (counted from 0) up to, without blank ones behind.
    lines: std::ops::Range<usize>,
}

impl Entry {
    /// What the bullet of this key says.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.keyed.iter().find(|(known, _)| *known == key).map(|(_, text)| text.as_str())
    }
}

impl Memory {
    /// Reads it.
    pub fn parse(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// A file with its sections and nothing in them.
    pub fn none() -> Self {
        Self::parse(&SECTIONS.map(|title| format!("# {title}\n")).join("\n"))
    }

    /// What the file holds.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Lines in it.
    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Its sections, whatever they are called.
    pub fn sections(&self) -> Vec<Section> {
        let mut all: Vec<Section> = Vec::new();
        for line in self.text.lines() {
            match (title(line), all.last_mut()) {
                (Some(title), _) => all.push(Section { title: title.to_owned(), body: String::new() }),
                (None, Some(last)) => last.body.push_str(&format!("{line}\n")),
                (None, None) => {}
            }
        }
        all.iter_mut().for_each(|section| section.body = section.body.trim().to_owned());
        all
    }

    /// Are there the three sections, in their order, and no others?
    pub fn is_well_formed(&self) -> bool {
        self.sections().iter().map(|section| section.title.as_str()).eq(SECTIONS)
    }

    /// Its entries, in order.
    pub fn entries(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::new();
        let mut section = String::new();
        let mut open = false;
        for (at, line) in self.text.lines().enumerate() {
            if let Some(title) = title(line) {
                title.clone_into(&mut section);
                open = false;
            } else if let Some((timestamp, mode, category, said)) = heading(line) {
                let [timestamp, mode, category] = [timestamp, mode, category].map(str::to_owned);
                let (section, content) = (section.clone(), said.to_owned());
                let lines = at..at + 1;
                all.push(Entry { section, timestamp, mode, category, keyed: Vec::new(), content, lines });
                open = true;
            } else if line.starts_with("## ") {
                open = false;
            } else if let Some(last) = all.last_mut().filter(|_| open) {
                take(last, at, line);
            }
        }
        for entry in &mut all {
            entry.content = entry.content.trim().to_owned();
        }
        all
    }

    /// Adds an entry at the end of a section.
    pub fn add(
        &mut self,
        section: &str,
        at: &str,
        mode: &str,
        category: &str,
        content: &str,
    ) -> Result<(), Bad> {
        let one = |text: &str| text.replace(['[', ']', '\n', '\r'], " ").trim().to_owned();
        let block = format!("## [{at}] [{}] - [{}]\n{}", one(mode), one(category), bullets(content));
        self.insert(section, &block)
    }

    /// Adds text as it is; a line that would begin a section is kept from doing so.
    pub fn add_raw(&mut self, section: &str, content: &str) -> Result<(), Bad> {
        let kept = |line: &str| if title(line).is_some() { format!("\\{line}") } else { line.to_owned() };
        let lines: Vec<String> = content.trim_end().lines().map(kept).collect();
        self.insert(section, &lines.join("\n"))
    }

    fn insert(&mut self, section: &str, block: &str) -> Result<(), Bad> {
        let mut lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let is = |line: &&str| title(line.trim_end_matches(['\n', '\r'])) == Some(section);
        let Some(start) = lines.iter().position(is) else {
            return Err(bad(format!("the file has no section `{section}`")));
        };
        let opens = |line: &str| title(line.trim_end_matches(['\n', '\r'])).is_some();
        let end = (start + 1..lines.len()).find(|at| opens(lines[*at])).unwrap_or(lines.len());
        let full = (start..end).rev().find(|at| !lines[*at].trim().is_empty()).unwrap_or(start) + 1;
        let crlf = lines[start].ends_with("\r\n");
        let mut text = String::new();
        if !lines[full - 1].ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("\n{block}\n"));
        if full == end && end < lines.len() {
            text.push('\n');
        }
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        lines.insert(full, &text);
        self.text = lines.concat();
        Ok(())
    }

    /// Takes the oldest entries out until no more than so many lines are left; the last entry stays. What was taken out,
    /// in the order it stood.
    pub fn make_room(&mut self, most: usize) -> Vec<String> {
        let mut out = Vec::new();
        while self.lines() > most {
            let entries = self.entries();
            if entries.len() < 2 {
                break;
            }
            // Sections grow at their ends, so each one's first is its oldest.
            let age = |entry: &&Entry| (crate::when::read(&entry.timestamp), entry.lines.start);
            let Some(oldest) = entries.iter().min_by_key(age) else { break };
            let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
            let blank = lines[oldest.lines.end..].iter().take_while(|line| line.trim().is_empty()).count();
            // Blank lines behind go too, but for one before the next section or the end.
            let after = oldest.lines.end + blank;
            let keeps = after == lines.len() || title(lines[after].trim_end()).is_some();
            let upto = if keeps { oldest.lines.end } else { after };
            out.push(lines[oldest.lines.clone()].concat());
            self.text = [lines[..oldest.lines.start].concat(), lines[upto..].concat()].concat();
        }
        out
    }
}

fn title(line: &str) -> Option<&str> {
    Some(line.trim_start_matches('\u{feff}').strip_prefix("# ")?.trim())
}

/// `[time] [mode] - [category]`, with or without hashes, and what follows on the line.
fn heading(line: &str) -> Option<(&str, &str, &str, &str)> {
    fn part(text: &str) -> Option<(&str, &str)> {
        text.trim_start().strip_prefix('[')?.split_once(']')
    }
    let (timestamp, rest) = part(line.strip_prefix("## ").unwrap_or(line))?;
    crate::when::read(timestamp)?;
    let (mode, rest) = part(rest)?;
    let (category, rest) = part(rest.trim_start().strip_prefix('-')?)?;
    Some((timestamp, mode, category, rest.trim_start().trim_start_matches(':').trim()))
}

/// One more line of an entry.
fn take(entry: &mut Entry, at: usize, line: &str) {
    if !line.trim().is_empty() {
        entry.lines.end = at + 1;
    }
    entry.content.push_str(&format!("\n{line}"));
    if let Some((key, said)) = bullet(line) {
        entry.keyed.push((key, said.to_owned()));
    } else if let Some((_, last)) = entry.keyed.last_mut()
        && let Some(more) = line.strip_prefix("  ")
    {
        last.push_str(&format!("\n{more}"));
    }
}

/// `- Finding: ...` or `- **Finding**: ...`.
fn bullet(line: &str) -> Option<(&'static str, &str)> {
    let rest = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "))?;
    let (name, said) = rest.split_once(':')?;
    let name = name.trim().trim_matches('*').trim();
    let key = KEYS.into_iter().find(|key| key.eq_ignore_ascii_case(name))?;
    Some((key, said.trim_start_matches("**").trim()))
}

/// Content as bullets: lines that name a key are theirs, all else belongs to the one above, or is a finding.
fn bullets(content: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for line in content.trim().lines() {
        let line = line.trim_end();
        let named = bullet(line).or_else(|| {
            let (name, said) = line.split_once(':')?;
            Some((*KEYS.iter().find(|key| key.eq_ignore_ascii_case(name.trim()))?, said.trim()))
        });
        match (named, out.is_empty()) {
            (Some((key, said)), _) => out.push(format!("- {key}: {said}")),
            (None, true) => out.push(format!("- Finding: {line}")),
            (None, false) => out.push(format!("  {line}")),
        }
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Non-Obvious Implementation Patterns\n\nProse.\n\n## Core\n- **Polling**: x\n\n\
        # Development & Debug Commands\n\n## [2025-10-27T09:45:30.412Z] [code] - [build]\n- **Command**: make\n- Insight: slow\n\n\
        # System Updates & Status\n\n[2025-10-26T09:45:30Z] [opt] - [creation]: Made the file\n";

    #[test]
    fn entries_are_read_bold_plain_and_on_one_line() {
        let memory = Memory::parse(FILE);
        assert!(memory.is_well_formed());
        let entries = memory.entries();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].get("Command"), entries[0].get("Insight")), (Some("make"), Some("slow")));
        assert_eq!(entries[0].section, SECTIONS[1]);
        assert_eq!(
            (entries[1].category.as_str(), entries[1].content.as_str()),
            ("creation", "Made the file")
        );
    }

    #[test]
    fn what_is_added_is_read_back_and_all_else_stays() {
        let mut memory = Memory::parse(FILE);
        let said = "it is slow\n# not a section\nCommand: make fast\n## not an entry";
        memory.add(SECTIONS[0], "2026-01-01T00:00:00Z", "mcp", "a [b]", said).unwrap();
        let entries = memory.entries();
        let new = &entries[0];
        assert_eq!(new.get("Finding"), Some("it is slow\n# not a section"));
        assert_eq!(new.get("Command"), Some("make fast\n## not an entry"));
        assert_eq!((entries.len(), new.category.as_str(), memory.is_well_formed()), (3, "a  b", true));
        let old: Vec<&str> = FILE.lines().filter(|line| !line.is_empty()).collect();
        let kept: Vec<&str> = memory.text().lines().filter(|line| old.contains(line)).collect();
        assert_eq!(kept, old);
        memory.add_raw(SECTIONS[2], "raw\n# x\n").unwrap();
        assert!(memory.text().ends_with("Made the file\n\nraw\n\\# x\n") && memory.is_well_formed());
        assert!(memory.add_raw("Nothing", "x").is_err());
    }

    #[test]
    fn the_oldest_make_room_and_the_sections_stay() {
        let mut memory = Memory::parse(FILE);
        memory.add(SECTIONS[2], "2026-01-01T00:00:00Z", "mcp", "new", "kept").unwrap();
        let out = memory.make_room(memory.lines() - 1);
        assert_eq!(out.len(), 1);
        assert!(out[0].contains("[creation]"));
        let out = memory.make_room(1);
        assert_eq!(out.len(), 1);
        assert!(memory.is_well_formed() && memory.text().contains("- Finding: kept"), "{}", memory.text());
        assert!(memory.text().contains("Prose."));
        assert!(Memory::none().is_well_formed() && Memory::none().lines() == 5);
    }
}
