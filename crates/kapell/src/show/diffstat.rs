//! Counts a unified diff: files, lines added and removed.
//!
//! Knows the format git writes, nothing of repositories. Start at [`Stat::of`].

use super::clean;
use std::fmt::Write as _;

/// Files listed one by one.
const LISTED: usize = 20;

/// A counted diff.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stat {
    /// Path as git writes it, lines added, lines removed; binary files have none.
    pub(crate) files: Vec<(String, Option<(u64, u64)>)>,
}

impl Stat {
    /// Counts this diff.
    pub(crate) fn of(diff: &[u8]) -> Self {
        let mut stat = Self::default();
        // Lines of the current hunk still to come, old and new: inside a hunk nothing is a header.
        let mut left = (0u64, 0u64);
        for line in diff.split(|b| *b == b'\n') {
            if left != (0, 0) {
                stat.body(line, &mut left);
            } else if let Some(names) = line.strip_prefix(b"diff --git ") {
                stat.files.push((new_name(&String::from_utf8_lossy(names)), Some((0, 0))));
            } else if let Some(path) = line.strip_prefix(b"+++ ").filter(|path| *path != b"/dev/null") {
                let path = String::from_utf8_lossy(path);
                stat.rename(path.trim_end_matches('\t'));
            } else if line.starts_with(b"@@ ") {
                left = hunk(&String::from_utf8_lossy(line)).unwrap_or_default();
            } else if (line.starts_with(b"Binary files ") || line.starts_with(b"GIT binary patch"))
                && let Some((_, counts)) = stat.files.last_mut()
            {
                *counts = None;
            }
        }
        stat
    }

    fn body(&mut self, line: &[u8], left: &mut (u64, u64)) {
        let Some((_, Some((added, removed)))) = self.files.last_mut() else { return };
        match line.first() {
            Some(b'+') => (*added, left.1) = (*added + 1, left.1.saturating_sub(1)),
            Some(b'-') => (*removed, left.0) = (*removed + 1, left.0.saturating_sub(1)),
            Some(b'\\') => {}
            _ => *left = (left.0.saturating_sub(1), left.1.saturating_sub(1)),
        }
    }

    fn rename(&mut self, path: &str) {
        if let Some((name, _)) = self.files.last_mut() {
            *name = side(path);
        }
    }

    /// Lines added and removed in all files.
    pub(crate) fn lines(&self) -> (u64, u64) {
        self.files.iter().filter_map(|(_, counts)| *counts).fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1))
    }

    /// In one line, as `git diff --shortstat` says it.
    pub(crate) fn summary(&self) -> String {
        let (added, removed) = self.lines();
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let files = self.files.len() as u64;
        format!(
            "{files} file{} changed, {added} insertion{}(+), {removed} deletion{}(-)",
            plural(files),
            plural(added),
            plural(removed)
        )
    }

    /// One line per file.
    pub(crate) fn table(&self) -> String {
        let width = self.files.iter().take(LISTED).map(|(path, _)| path.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for (path, counts) in self.files.iter().take(LISTED) {
            let path = clean::line(path);
            // Writing into a String cannot fail.
            let _ = match counts {
                Some((added, removed)) => writeln!(out, "  {path:width$}  +{added} -{removed}"),
                None => writeln!(out, "  {path:width$}  binary"),
            };
        }
        if self.files.len() > LISTED {
            let _ = writeln!(out, "  and {} more", self.files.len() - LISTED);
        }
        out
    }
}

/// `a/x b/x` gives `x`; names with spaces are taken from `+++` where there is one.
fn new_name(names: &str) -> String {
    let half = names
        .rfind(" b/")
        .map(|at| &names[at + 1..])
        .or_else(|| names.rfind(" \"b/").map(|at| &names[at + 1..]));
    side(half.unwrap_or(names))
}

fn side(path: &str) -> String {
    let bare = path.trim_matches('"');
    bare.strip_prefix("b/").or_else(|| bare.strip_prefix("a/")).unwrap_or(bare).to_owned()
}

/// `@@ -1,2 +3,4 @@` gives (2, 4).
fn hunk(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ').skip(1);
    let count = |word: &str, sign: char| match word.strip_prefix(sign)?.split_once(',') {
        Some((_, n)) => n.parse().ok(),
        None => Some(1),
    };
    Some((count(words.next()?, '-')?, count(words.next()?, '+')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "\
diff --git a/src/lib.rs b/src/lib.rs
index 1..2 100644
--- a/src/lib.rs
+++ b/src/lib.rs
@@ -1,3 +1,3 @@ fn x
 keep
-old
---- looks like a header
+new
++++ b/also looks like one
diff --git a/gone b/gone
deleted file mode 100644
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-only
diff --git a/p.png b/p.png
Binary files a/p.png and b/p.png differ
";

    #[test]
    fn lines_are_counted_inside_hunks_only() {
        let stat = Stat::of(DIFF.as_bytes());
        let files: Vec<_> = stat.files.iter().map(|(path, counts)| (path.as_str(), *counts)).collect();
        assert_eq!(files, [("src/lib.rs", Some((2, 2))), ("gone", Some((0, 1))), ("p.png", None)]);
        assert_eq!(stat.summary(), "3 files changed, 2 insertions(+), 3 deletions(-)");
        assert!(stat.table().contains("src/lib.rs  +2 -2"));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(Stat::of(b""), Stat::default());
        assert_eq!(Stat::default().table(), "");
    }
}
