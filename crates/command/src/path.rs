//! Paths as text: made absolute, with `.` and `..` taken out. Asks no file system, so a link is not seen.
//! Start at [`Place::touch`].

use crate::parse::is_name;
use crate::syntax::{Piece, Word};
use contract::policy::{Arg, How, Touch};

/// Where a command line would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Top of the workspace, absolute.
    pub root: String,
    /// The home directory that `~` means.
    pub home: String,
}

impl Place {
    /// What a path means, read from a directory; `None` = that directory is not known.
    pub(crate) fn touch(&self, from: Option<&str>, arg: &Arg, how: How) -> Touch {
        let path = arg.known().and_then(|text| self.absolute(from, text));
        let inside = path.as_deref().and_then(|path| self.inside(path)).map(str::to_owned);
        Touch { path, inside, how }
    }

    /// An absolute path that is no word of a command.
    pub fn named(&self, path: &str, how: How) -> Touch {
        self.touch(None, &Arg::Known(path.to_owned()), how)
    }

    /// The path in its plain form.
    pub(crate) fn absolute(&self, from: Option<&str>, text: &str) -> Option<String> {
        let whole = if text.starts_with('/') { text.to_owned() } else { format!("{}/{text}", from?) };
        let mut names: Vec<&str> = Vec::new();
        for name in whole.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        Some(format!("/{}", names.join("/")))
    }

    fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.root.trim_end_matches('/'))?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// The word as an argument: text, with a `~` in front put in.
    pub(crate) fn arg(&self, word: &Word) -> Arg {
        if let Some(text) = word.fixed() {
            return Arg::Known(text);
        }
        if let Some(text) = self.at_home(word) {
            return Arg::Known(text);
        }
        let shown = crate::print::shown(word);
        // A pattern of files may become any number of words; so does a variable outside quotes.
        let one = |piece: &Piece| matches!(piece, Piece::Quoted(_) | Piece::Expand(_, true));
        if word.pieces.iter().all(one) && !shown.contains('@') { Arg::One(shown) } else { Arg::Many(shown) }
    }

    fn at_home(&self, word: &Word) -> Option<String> {
        let Some(Piece::Plain(first)) = word.pieces.first() else { return None };
        let (front, rest) = first.split_once('~')?;
        // Also in what looks like an assignment: `of=~/x`.
        if !front.is_empty() && !front.strip_suffix('=').is_some_and(is_name) {
            return None;
        }
        if !(rest.is_empty() && word.pieces.len() == 1 || rest.starts_with('/')) {
            return None;
        }
        let mut pieces = word.pieces.clone();
        pieces[0] = Piece::Plain(format!("{front}{}{rest}", self.home));
        Word { pieces }.fixed()
    }
}

/// Does this argument of an unknown program look like a path out of here?
pub(crate) fn looks_like_path(text: &str) -> bool {
    text.starts_with('/')
        || text.starts_with("../")
        || text == ".."
        || text.contains("/../")
        || text.ends_with("/..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_compared_not_letters() {
        let place = Place { root: "/w/proj".into(), home: "/home/me".into() };
        for (text, path, inside) in [
            ("src/a", "/w/proj/src/a", Some("src/a")),
            ("./src/../b", "/w/proj/b", Some("b")),
            ("../proj-evil/a", "/w/proj-evil/a", None),
            ("/w/proj/../../etc/x", "/etc/x", None),
            (".", "/w/proj", Some("")),
            ("../../../../..", "/", None),
        ] {
            let touch = place.touch(Some("/w/proj"), &Arg::Known(text.into()), How::Read);
            assert_eq!((touch.path.as_deref(), touch.inside.as_deref()), (Some(path), inside), "{text}");
        }
        assert_eq!(place.touch(None, &Arg::Known("a".into()), How::Read).path, None);
        assert_eq!(place.touch(None, &Arg::Known("/a".into()), How::Read).path.as_deref(), Some("/a"));
    }
}
