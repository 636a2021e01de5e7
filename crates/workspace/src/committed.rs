//! Files of a commit by their names, as a checkout would show them: links are followed inside of it and lead nowhere else.
//!
//! Knows no work tree and judges nothing. Start at [`Git::listing`].

use crate::Git;
use crate::apply::contents;
use crate::checks::Place;
use crate::git::{pieces, revision, shown};
use crate::object::{EXEC, FILE, LINK, Oid};
use contract::Fault;
use std::collections::BTreeMap;
use std::path::Path;

/// Links that are followed one after the other.
const LINKS: usize = 8;

/// What a name stands for in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// A file with these bytes, perhaps behind a link.
    File(Vec<u8>),
    /// A link that leads to no file of the commit.
    Elsewhere,
}

/// The names of a commit.
pub struct Listing {
    place: Place,
    files: BTreeMap<String, Oid>,
    links: BTreeMap<String, Oid>,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("names", &self.files.len()).finish_non_exhaustive()
    }
}

impl Git {
    /// The names of a commit of the repository behind this directory.
    ///
    /// # Errors
    /// Git's own: no repository, no such commit.
    pub async fn listing(&self, repo: &Path, commit: &str) -> Result<Listing, Fault> {
        let place = self.place(repo).await?;
        let answer = place.repo.call(["ls-tree", "-r", "-z", "--full-tree", revision(commit)?]).await?;
        let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
        for entry in pieces(&answer) {
            // `100644 blob <oid>\t<path>`
            let text = shown(entry);
            let Some((head, name)) = text.split_once('\t') else { continue };
            let mut fields = head.split(' ');
            let mode = fields.next().and_then(|mode| u32::from_str_radix(mode, 8).ok());
            match (mode, fields.nth(1).and_then(Oid::parse)) {
                (Some(FILE | EXEC), Some(oid)) => drop(files.insert(name.to_owned(), oid)),
                (Some(LINK), Some(oid)) => drop(links.insert(name.to_owned(), oid)),
                _ => {}
            }
        }
        Ok(Listing { place, files, links })
    }
}

impl Listing {
    /// The files and links there are, by path from the top.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().chain(self.links.keys()).map(String::as_str)
    }

    /// What these paths (from the top, without `.` and `..`) stand for; what the commit does not have is left out.
    ///
    /// # Errors
    /// An object that is missing or damaged.
    pub async fn committed(&self, names: &[String]) -> Result<BTreeMap<String, Committed>, Fault> {
        let mut ways: Vec<Way> = names.iter().map(|name| Way::new(name)).collect();
        for _ in 0..LINKS {
            let over = ways.iter().filter_map(|way| self.links.get(way.link(&self.links)?).copied());
            let texts = contents(&self.place.repo, &self.place.store, over.collect::<Vec<_>>()).await?;
            if texts.is_empty() {
                break;
            }
            for way in &mut ways {
                way.follow(&self.links, |oid| texts.get(oid).and_then(|text| std::str::from_utf8(text).ok()));
            }
        }
        let found = ways.iter().filter_map(|way| self.files.get(way.at.as_deref()?).copied());
        let texts = contents(&self.place.repo, &self.place.store, found.collect::<Vec<_>>()).await?;
        let stands = |way: &Way| {
            let file = way.at.as_ref().and_then(|at| texts.get(self.files.get(at)?));
            let left = way.at.is_none() || way.link(&self.links).is_some();
            match file {
                Some(bytes) => Some(Committed::File(bytes.clone())),
                None => (left || way.is_link).then_some(Committed::Elsewhere),
            }
        };
        let named = names.iter().zip(&ways);
        Ok(named.filter_map(|(name, way)| Some((name.clone(), stands(way)?))).collect())
    }
}

/// Where a name leads, link by link.
#[derive(Debug)]
struct Way {
    /// `None`: out of the tree.
    at: Option<String>,
    /// The last of the name was a link itself.
    is_link: bool,
}

impl Way {
    fn new(name: &str) -> Self {
        Self { at: Some(name.to_owned()), is_link: false }
    }

    /// The first link on the way.
    fn link<'a>(&self, links: &'a BTreeMap<String, Oid>) -> Option<&'a str> {
        let at = self.at.as_deref()?;
        let ends = at.match_indices('/').map(|(end, _)| end).chain([at.len()]);
        ends.into_iter().find_map(|end| links.get_key_value(&at[..end])).map(|(name, _)| name.as_str())
    }

    fn follow<'t>(&mut self, links: &BTreeMap<String, Oid>, text: impl Fn(&Oid) -> Option<&'t str>) {
        let Some((link, at)) = self.link(links).zip(self.at.clone()) else { return };
        let rest = at[link.len()..].trim_start_matches('/');
        self.is_link |= rest.is_empty();
        let dir = link.rsplit_once('/').map_or("", |(dir, _)| dir);
        let target = links.get(link).and_then(text).filter(|target| !target.starts_with('/'));
        self.at = target.and_then(|target| below(&format!("{dir}/{target}/{rest}")));
    }
}

/// A path without `.`, `..` and empty parts; `None` where it leads above the top, or is the top.
pub fn below(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_of_the_tree_and_nowhere_else() {
        let oid = |n: u8| Oid::parse(&format!("{n:040x}")).unwrap();
        let links: BTreeMap<String, Oid> = [("a/x", 1), ("dir", 2), ("out", 3), ("abs", 4)]
            .map(|(name, n)| (name.to_owned(), oid(n)))
            .into();
        let text = |found: &Oid| {
            let all = [(1, "../b/y"), (2, "real/./deep"), (3, "../../etc"), (4, "/etc/passwd")];
            all.into_iter().find(|(n, _)| oid(*n) == *found).map(|(_, text)| text)
        };
        for (name, to, is_link) in [
            ("a/x", Some("b/y"), true),
            ("dir/run.sh", Some("real/deep/run.sh"), false),
            ("out/passwd", None, false),
            ("abs", None, true),
            ("plain", Some("plain"), false),
        ] {
            let mut way = Way::new(name);
            way.follow(&links, text);
            assert_eq!((way.at.as_deref(), way.is_link), (to, is_link), "{name}");
        }
    }
}
