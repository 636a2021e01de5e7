//! Where a mode may write: what a call names fits each of the mode's expressions, or the call does not run.
//!
//! Knows parts of calls, no tool and no file. Start at [`Writes::refuse`].

use contract::action::EffectClass;
use contract::policy::{How, Part, Touch};
use regex::{Regex, RegexBuilder};

/// Bytes of a compiled expression.
const EXPRESSION: usize = 1 << 20;

/// What a session writes in its workspace fits each of these, or why it writes nothing.
pub(super) struct Writes(Result<Vec<Regex>, String>);

impl Writes {
    pub(super) fn of(only: &[String]) -> Self {
        let compiled = |text: &String| {
            let built = RegexBuilder::new(text).size_limit(EXPRESSION).build();
            built.map_err(|_| format!("`{text}` is no regular expression that is understood here"))
        };
        Self(only.iter().map(compiled).collect())
    }

    /// Why a call does not run for what it would write, if so. One that is more than pure and names nothing does not.
    pub(super) fn refuse(&self, parts: &[Part], class: EffectClass) -> Option<String> {
        if self.0.as_ref().is_ok_and(Vec::is_empty) {
            return None;
        }
        if parts.is_empty() {
            return (class > EffectClass::Pure).then(|| self.why());
        }
        let written = parts.iter().flat_map(|part| &part.touches).filter(|touch| touch.how == How::Write);
        let out = written.into_iter().find(|touch| !self.fits(touch))?;
        let path =
            out.inside.as_deref().or(out.path.as_deref()).unwrap_or("a path that only the shell knows");
        Some(format!("{path}: {}", self.why()))
    }

    fn fits(&self, touch: &Touch) -> bool {
        match (&self.0, &touch.inside) {
            (Ok(only), Some(path)) => only.iter().all(|only| only.is_match(path)),
            (Err(_), Some(_)) => false,
            // What lies outside is the rules' matter.
            (_, None) => touch.path.is_some(),
        }
    }

    fn why(&self) -> String {
        match &self.0 {
            Ok(only) => {
                let only: Vec<String> = only.iter().map(|only| format!("`{only}`")).collect();
                format!("this mode writes only files whose paths match {}", only.join(" and "))
            }
            Err(wrong) => format!("this mode writes only files whose paths match its fileRegex, and {wrong}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_fits_every_expression_of_the_mode() {
        let ruler = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|only| (*only).to_owned()).collect();
            Writes::of(&only)
        };
        let touch = |inside: Option<&str>, how| Touch {
            path: Some(format!("/w/{}", inside.unwrap_or("../else"))),
            inside: inside.map(str::to_owned),
            how,
        };
        let part = |inside, how| vec![Part { touches: vec![touch(inside, how)], ..Part::default() }];
        let staged = EffectClass::Staged;
        let (docs, both) = (ruler(&[r"\.md$"]), ruler(&[r"\.md$", "^docs/"]));
        for (parts, by_docs, by_both) in [
            (part(Some("docs/a.md"), How::Write), true, true),
            (part(Some("a.md"), How::Write), true, false),
            (part(Some(".roomodes"), How::Write), false, false),
            (part(Some("a.rs"), How::Read), true, true),
            (part(None, How::Write), true, true),
            (Vec::new(), false, false),
        ] {
            assert_eq!(docs.refuse(&parts, staged).is_none(), by_docs, "{parts:?}");
            assert_eq!(both.refuse(&parts, staged).is_none(), by_both, "{parts:?}");
        }
        assert_eq!(docs.refuse(&[], EffectClass::Pure), None);
        let broken = ruler(&["(?!x)"]);
        assert!(broken.refuse(&part(Some("a.md"), How::Write), staged).unwrap().contains("`(?!x)`"));
        assert_eq!(ruler(&[]).refuse(&part(Some("a"), How::Write), staged), None);
    }
}
