//! What stands behind the `?` of a request, and pages of lists.
//!
//! Knows names and bounds, not what is listed. Start at [`Query::read`].

use crate::problem::Refused;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use contract::text::suggestion;
use std::collections::BTreeMap;
use std::convert::Infallible;
use url::form_urlencoded;

/// Items of a page when nobody says how many.
const USUAL: usize = 100;
/// Items of a page at most.
pub(crate) const MOST: u64 = 1_000;
/// Characters of a cursor.
const CURSOR_CHARS: usize = 200;

/// One parameter that a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) of: Of,
    /// What it does, for the document.
    pub(crate) what: &'static str,
    pub(crate) needed: bool,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Any text.
    Text,
    /// A whole number within these bounds.
    Number(u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A session's whole id.
    Session,
    /// An action, `turn.step`.
    Action,
    /// RFC 3339.
    Time,
}

impl Param {
    pub(crate) const fn new(name: &'static str, of: Of, what: &'static str) -> Self {
        Self { name, of, what, needed: false }
    }

    pub(crate) const fn text(name: &'static str, what: &'static str) -> Self {
        Self::new(name, Of::Text, what)
    }

    /// It has to be there.
    pub(crate) const fn needed(self) -> Self {
        Self { needed: true, ..self }
    }

    /// Is this what it holds? Of ids and times the handler says it, in the words of what it looks for.
    fn check(&self, value: &str) -> Result<(), Refused> {
        let name = self.name;
        let (what, hint) = match self.of {
            Of::Number(from, to) if !value.parse().is_ok_and(|n: u64| (from..=to).contains(&n)) => {
                (format!("`{name}` is a number from {from} to {to}"), String::new())
            }
            Of::Words(words) if !words.contains(&value) => {
                (format!("`{name}` is one of {}", words.join(", ")), suggestion(value, words.iter().copied()))
            }
            _ => return Ok(()),
        };
        Err(Refused::user("bad-field", what, format!("{hint}change it, or leave it out")))
    }
}

/// `limit`, of a page.
pub(crate) const LIMIT: Param =
    Param::new("limit", Of::Number(1, MOST), "At most so many items; 100 when nobody says.");
/// `cursor`, of a page.
pub(crate) const CURSOR: Param = Param::text("cursor", "What `next` of the page before said.");

/// Which piece of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most so many items.
    pub limit: usize,
    /// What the page before said; opaque to who asks. `None`: the first page.
    pub cursor: Option<String>,
}

/// Parameters of a request, each once. What the route's row in the table of routes lists was checked before a handler
/// gets it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

impl Query {
    /// Those that this route knows; any other is refused, naming the nearest.
    pub(crate) fn read(raw: Option<&str>, known: &[Param]) -> Result<Self, Refused> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            let Some(param) = known.iter().find(|param| param.name == name) else {
                return Err(unknown(&name, known));
            };
            param.check(&value)?;
            if query.0.insert(name.to_string(), value.into_owned()).is_some() {
                let what = format!("the parameter `{name}` is there twice");
                return Err(Refused::user("bad-field", what, "name it once"));
            }
        }
        Ok(query)
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// The value of a parameter that is listed as a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.parse().ok()
    }

    /// `limit` and `cursor`.
    pub(crate) fn page(&self) -> Result<Page, Refused> {
        let limit = self.number("limit").map_or(USUAL, |limit| limit as usize);
        let cursor = self.get("cursor");
        match cursor {
            Some(text) if text.is_empty() || text.len() > CURSOR_CHARS => Err(Refused::bad_cursor()),
            cursor => Ok(Page { limit, cursor }),
        }
    }
}

fn unknown(name: &str, known: &[Param]) -> Refused {
    let names: Vec<&str> = known.iter().map(|param| param.name).collect();
    let all =
        if names.is_empty() { "it takes none".to_owned() } else { format!("it takes {}", names.join(", ")) };
    let hint = format!("{}{all}", suggestion(name, names.iter().copied()));
    Refused::user("bad-field", format!("there is no parameter `{name}` here"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Result<Query, Refused> {
        let words = Of::Words(&["on", "off"]);
        Query::read(Some(raw), &[Param::text("state", ""), Param::new("light", words, ""), LIMIT, CURSOR])
    }

    #[test]
    fn pages_have_bounds() {
        let page = |raw: &str| read(raw).and_then(|query| query.page()).map_err(|refused| refused.fault.code);
        assert_eq!(page("").unwrap(), Page { limit: 100, cursor: None });
        assert_eq!(page("limit=1&cursor=a%20b").unwrap(), Page { limit: 1, cursor: Some("a b".into()) });
        for bad in ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit="] {
            assert_eq!(page(bad).unwrap_err(), "bad-field", "{bad}");
        }
        assert_eq!(page("cursor=").unwrap_err(), "bad-cursor");
    }

    #[test]
    fn unknown_and_repeated_parameters_are_named() {
        let fault = read("stat=x").unwrap_err().fault;
        assert!(fault.code == "bad-field" && fault.hint.contains("did you mean `state`"), "{fault:?}");
        assert_eq!(read("state=a&state=b").unwrap_err().fault.code, "bad-field");
        assert!(read("light=on").is_ok());
        let fault = read("light=onn").unwrap_err().fault;
        assert!(fault.code == "bad-field" && fault.hint.contains("did you mean `on`"), "{fault:?}");
    }
}
