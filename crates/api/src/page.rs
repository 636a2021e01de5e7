//! What stands behind the `?` of a request, and pages of lists.
//!
//! Knows names and bounds, not what is listed. Start at [`Query::read`].

use crate::problem::Refused;
use contract::text::suggestion;
use std::collections::BTreeMap;
use url::form_urlencoded;

/// Items of a page when nobody says how many.
const USUAL: usize = 100;
/// Items of a page at most.
const MOST: usize = 1_000;
/// Characters of a cursor.
const CURSOR_CHARS: usize = 200;

/// Which piece of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most so many items.
    pub limit: usize,
    /// What the page before said; opaque to who asks. `None`: the first page.
    pub cursor: Option<String>,
}

/// Parameters of a request, each once.
#[derive(Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Those that this route knows; any other is refused, naming the nearest.
    pub(crate) fn read(raw: Option<&str>, known: &[&str]) -> Result<Self, Refused> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                let what = format!("there is no parameter `{name}` here");
                let all = if known.is_empty() {
                    "it takes none".to_owned()
                } else {
                    format!("it takes {}", known.join(", "))
                };
                let hint = format!("{}{all}", suggestion(&name, known.iter().copied()));
                return Err(Refused::user("bad-field", what, hint));
            }
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

    /// A whole number within these bounds.
    pub(crate) fn number(&self, name: &str, from: u64, to: u64) -> Result<Option<u64>, Refused> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (from..=to).contains(number));
        number.map(Some).ok_or_else(|| {
            Refused::user(
                "bad-field",
                format!("`{name}` is a number from {from} to {to}"),
                "change it, or leave it out",
            )
        })
    }

    /// `limit` and `cursor`.
    pub(crate) fn page(&self) -> Result<Page, Refused> {
        let limit = self.number("limit", 1, MOST as u64)?.map_or(USUAL, |limit| limit as usize);
        let cursor = self.get("cursor");
        match cursor {
            Some(text) if text.is_empty() || text.len() > CURSOR_CHARS => Err(Refused::bad_cursor()),
            cursor => Ok(Page { limit, cursor }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Result<Query, Refused> {
        Query::read(Some(raw), &["state", "limit", "cursor"])
    }

    #[test]
    fn pages_have_bounds() {
        let page = |raw: &str| read(raw).unwrap().page().map_err(|refused| refused.fault.code);
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
    }
}
