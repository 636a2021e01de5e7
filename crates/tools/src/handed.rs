//! Secrets that a call names: found in its arguments, looked at when it is judged, put in when it runs.
//!
//! Knows no value but while a call runs, and nobody who may have one (the port does). Start at [`Handles`].

use crate::args::refuse;
use contract::Fault;
use contract::handle::{self, Handed, Receiver};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is said of a call that is given a secret begins with this.
pub const GIVES: &str = "gives secret:";
/// Characters of a list of names in what a model is told.
const LIST_CHARS: usize = 600;

/// What a tool knows of secrets: nothing, where nobody keeps any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handles(Option<Arc<dyn handle::Handles>>);

/// Values for one call, and for nothing else. Shown nowhere.
#[derive(Clone, Default)]
pub(crate) struct Values(BTreeMap<String, String>);

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Handles {
    pub(crate) fn new(port: Option<Arc<dyn handle::Handles>>) -> Self {
        Self(port)
    }

    /// The secrets there are and who may have each, for a model; empty: none.
    pub(crate) fn list(&self) -> String {
        let names = self.0.as_ref().map(|port| port.names()).unwrap_or_default();
        let named: Vec<String> = names.iter().map(|(name, to)| format!("secret:{name} (for {to})")).collect();
        let list = named.join(", ");
        list[..list.floor_char_boundary(LIST_CHARS)].to_owned()
    }

    /// The names of secrets in these texts, each once. What names no secret that there is, is a text like any other.
    pub(crate) fn named<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> Vec<String> {
        let Some(port) = &self.0 else { return Vec::new() };
        let mut found: Vec<String> =
            texts.into_iter().flat_map(secrets::handles).map(|(_, name)| name.to_owned()).collect();
        found.sort();
        found.dedup();
        if !found.is_empty() {
            let there = port.names();
            found.retain(|name| there.iter().any(|(known, _)| known == name));
        }
        found
    }

    /// May this one have all of them? Else why not.
    pub(crate) fn may(&self, names: &[String], to: &Receiver<'_>) -> Result<(), Fault> {
        let port = || self.0.as_ref().ok_or_else(none);
        names.iter().try_for_each(|name| port()?.may(name, to))
    }

    /// Their values, with what is put on record of it.
    pub(crate) async fn values(
        &self,
        names: &[String],
        to: &Receiver<'_>,
    ) -> Result<(Values, Vec<Handed>), Fault> {
        let (mut values, mut handed) = (BTreeMap::new(), Vec::new());
        for name in names {
            let value = self.0.as_ref().ok_or_else(none)?.value(name, to).await?;
            values.insert(name.clone(), value);
            handed.push(Handed { name: name.clone(), to: to.to_string() });
        }
        Ok((Values(values), handed))
    }
}

impl Values {
    /// The text with the values in the place of their handles.
    pub(crate) fn filled(&self, text: &str) -> String {
        secrets::filled(text, |name| self.0.get(name).map(String::as_str))
    }
}

/// How it is said that a call gets some.
pub(crate) fn told(why: &str, names: &[String], to: &Receiver<'_>) -> String {
    match names {
        [] => why.to_owned(),
        names => format!("{GIVES}{} to {to}; {why}", names.join(", secret:")),
    }
}

/// A name that stands for no secret.
pub(crate) fn unknown(text: &str, handles: &Handles) -> Fault {
    match handles.list() {
        list if list.is_empty() => none(),
        list => refuse(format!("`{text}` names no secret that can be given; there are {list}")),
    }
}

fn none() -> Fault {
    refuse(
        "no secret can be given here: a person names them and who may have them, under [secrets] in config.toml",
    )
}
