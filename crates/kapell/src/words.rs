//! Texts that people hand in: goals, messages, answers; from arguments or, for `-`, from standard input.
//!
//! Standard input is read for `-` and for nothing else. Start at [`read`].

use crate::exit::Failure;
use contract::limits::PROMPT_BYTES;
use std::io::Read;

/// The text these words stand for, within its bounds. `what` names it in errors.
pub(crate) fn read(words: Option<String>, what: &str, stdin: impl Read) -> Result<String, Failure> {
    let hint = format!("give the {what} as an argument, or `-` to read it from standard input");
    let text = match words.as_deref() {
        Some("-") => all(stdin, what)?,
        Some(text) => text.to_owned(),
        None => return Err(Failure::usage("no-text", format!("there is no {what}"), hint)),
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("no-text", format!("the {what} is empty"), hint));
    }
    match text.len() > PROMPT_BYTES {
        true => Err(too_long(what)),
        false => Ok(text),
    }
}

fn all(stdin: impl Read, what: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let most = PROMPT_BYTES as u64 + 1;
    stdin.take(most).read_to_end(&mut bytes).map_err(|error| {
        let said = format!("cannot read the {what} from standard input: {error}");
        Failure::usage("stdin-unreadable", said, "give it as an argument instead")
    })?;
    if bytes.len() > PROMPT_BYTES {
        return Err(too_long(what));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let said = format!("the {what} on standard input is not UTF-8 text (byte {at})");
        Failure::usage("not-text", said, "convert it to UTF-8, for instance with iconv")
    })
}

fn too_long(what: &str) -> Failure {
    let said = format!("the {what} is longer than {} MiB", PROMPT_BYTES >> 20);
    Failure::usage("too-long", said, "put the material into a file of the project and name the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(words: Option<&str>, stdin: &[u8]) -> String {
        read(words.map(str::to_owned), "goal", stdin).unwrap_err().fault.code
    }

    #[test]
    fn texts_come_from_words_or_from_stdin() {
        assert_eq!(read(Some("do it".into()), "goal", &b"unread"[..]).unwrap(), "do it");
        assert_eq!(read(Some("-".into()), "goal", &b"from stdin\n"[..]).unwrap(), "from stdin\n");
    }

    #[test]
    fn what_is_no_text_is_usage() {
        assert_eq!(code(None, b""), "no-text");
        assert_eq!(code(Some("-"), b" \n"), "no-text");
        assert_eq!(code(Some("-"), b"\xff\xfe"), "not-text");
        let big = vec![b'x'; PROMPT_BYTES + 1];
        assert_eq!(code(Some("-"), &big), "too-long");
        assert_eq!(code(Some(&"x".repeat(PROMPT_BYTES + 1)), b""), "too-long");
        assert!(read(Some("-".into()), "goal", &big[..PROMPT_BYTES]).is_ok());
    }
}
