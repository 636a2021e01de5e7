//! Variables in declarations: `${NAME}` and `${NAME:-default}`.
//! Knows no environment: who asks brings it. Start at [`expanded`].

use contract::{Fault, Kind};

/// The text with its variables filled in. One that is not set and has no default is a fault.
pub(crate) fn expanded(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inside, after)) = behind.split_once('}') else {
            out.push_str("${");
            rest = behind;
            continue;
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match variable(name).filter(|value| default.is_none() || !value.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(default.ok_or_else(|| unset(name))?),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The names of the variables in it.
pub(crate) fn names(text: &str) -> Vec<String> {
    let inside = text.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    inside.map(|inside| inside.split(":-").next().unwrap_or(inside).to_owned()).collect()
}

/// A variable that is needed and not there.
pub(crate) fn unset(name: &str) -> Fault {
    let name = contract::text::bounded(name, 64);
    Fault::new(Kind::UserFixable, "mcp-variable", format!("the variable {name} is not set"))
        .hint(format!("set it where Kapell is started: export {name}=..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_once() {
        let variable = |name: &str| match name {
            "A" => Some("${B}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, is) in [
            ("plain $A", "plain $A"),
            ("x${A}y", "x${B}y"),
            ("${NO:-d}/${EMPTY:-e}", "d/e"),
            ("${EMPTY}", ""),
            ("${A", "${A"),
            ("${NO:-}", ""),
        ] {
            assert_eq!(expanded(text, &variable).unwrap(), is, "{text}");
        }
        assert!(expanded("${NO}", &variable).unwrap_err().what.contains("NO"));
        assert_eq!(names("${A} ${B:-x} ${C"), ["A", "B"]);
    }
}
