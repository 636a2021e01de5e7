//! Is a value worth hiding? A mask over `postgres` or `true` would hide every other word of a text.
//!
//! Knows values without their places. Start at [`known`] and [`given`] (of
//! what somebody calls a secret), [`strong`] and [`filled`] (of what may be one).

/// Least bytes of a value that is looked for wherever it stands.
const KNOWN_BYTES: usize = 8;
/// Least bytes of a value that is random by its looks.
const STRONG_BYTES: usize = 20;
/// Pieces of values that stand for one.
const STAND_INS: [&str; 22] = [
    "your",
    "example",
    "xxx",
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "dummy",
    "fake",
    "todo",
    "redacted",
    "insert",
    "replace",
    "sample",
    "...",
    "***",
    "<",
    "${",
    "{{",
    "$(",
    "[secret removed",
    "1234567890",
];
/// Whole values that everybody has.
const COMMON: [&str; 20] = [
    "password",
    "passwd",
    "pass",
    "secret",
    "postgres",
    "root",
    "admin",
    "user",
    "guest",
    "test",
    "token",
    "true",
    "false",
    "none",
    "null",
    "undefined",
    "localhost",
    "development",
    "production",
    "string",
];

/// Words that stand for a value where nothing else is there.
const STAND_IN_WORDS: [&str; 14] = [
    "your",
    "example",
    "changeme",
    "change",
    "placeholder",
    "dummy",
    "fake",
    "todo",
    "redacted",
    "insert",
    "replace",
    "sample",
    "hidden",
    "1234567890",
];
/// Words that stand beside one of those.
const BESIDE: [&str; 10] =
    ["key", "token", "secret", "password", "api", "here", "me", "value", "please", "later"];
/// More words than this are a pass phrase, whichever they are.
const STAND_IN_LENGTH: usize = 3;
/// What templates are filled in by: how such a place begins and ends.
const SHAPES: [(&str, &str); 7] =
    [("<", ">"), ("${", "}"), ("{{", "}}"), ("$(", ")"), ("%(", ")s"), ("%", "%"), ("$", "")];

/// Is nothing in it but what stands for a value? One that merely holds such a piece may be somebody's password: a
/// random one of twenty characters holds a `<` or begins with a `$` every few times.
pub(crate) fn is_template(value: &str) -> bool {
    let words: Vec<&str> =
        value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if value.ends_with("EXAMPLE") || value.ends_with("EXAMPLEKEY") || value.contains("[secret removed") {
        return true;
    }
    if distinct(value) <= 2 || names_one(value) {
        return true;
    }
    if words.is_empty() || !words.iter().all(|word| is_word(word)) {
        return false;
    }
    let shaped = |(open, close): &(&str, &str)| {
        value.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).is_some_and(|inner| {
            let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. :|/".contains(&byte);
            !close.is_empty() && inner.bytes().all(inside) || is_name(inner)
        })
    };
    let has = |of: &[&str]| words.iter().any(|word| of.contains(&stem(word).as_str()));
    let stands = has(&STAND_IN_WORDS)
        || words.iter().any(|word| word.len() > 2 && stem(word).bytes().all(|b| b == b'x'));
    let dots = value.contains("...") || value.contains("***");
    SHAPES.iter().any(shaped) || ((stands || dots) && (words.len() <= STAND_IN_LENGTH || has(&BESIDE)))
}

/// `secret:NAME`, or the name of one behind a word of its own: it says which, not what.
fn names_one(value: &str) -> bool {
    crate::handle(value).is_some()
}

/// A variable's name: of one case, unlike a password that begins with `$`.
fn is_name(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.bytes().any(|byte| is(&byte));
    let inside = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    inside
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && has(u8::is_ascii_uppercase) != has(u8::is_ascii_lowercase)
}

/// A word as people write it: letters of one case, perhaps the first one large, perhaps a few digits after them.
fn is_word(word: &str) -> bool {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let rest = letters.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or(letters);
    let all = |is: fn(&u8) -> bool| letters.bytes().all(|byte| is(&byte));
    letters.is_empty()
        || (word.len() - letters.len() <= 4
            && (all(u8::is_ascii_uppercase) || rest.bytes().all(|byte| byte.is_ascii_lowercase())))
}

fn stem(word: &str) -> String {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    (if letters.is_empty() { word } else { letters }).to_ascii_lowercase()
}

/// Does it hold what stands for a value, as in a template?
pub(crate) fn stands_in(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    lower.starts_with(['$', '%', '{', '(']) || STAND_INS.iter().any(|piece| lower.contains(piece))
}

/// A value in the place of a secret: short ones, too, but no templates and no numbers.
pub(crate) fn filled(value: &str) -> bool {
    value.len() >= 4
        && !names_one(value)
        && !stands_in(value)
        && !COMMON.contains(&value.to_ascii_lowercase().as_str())
        && !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// A value of a secret by its name or place: unlike any word that stands elsewhere.
pub(crate) fn known(value: &str) -> bool {
    given(value) && !is_path(value) && !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The same of a value that a person gave as a secret.
pub(crate) fn given(value: &str) -> bool {
    let has = |is: fn(&u8) -> bool| value.bytes().any(|byte| is(&byte));
    let mixed = has(u8::is_ascii_digit) || (has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase));
    let odd = value.bytes().any(|byte| byte.is_ascii_punctuation());
    value.len() >= KNOWN_BYTES
        && !is_template(value)
        && !COMMON.contains(&value.to_ascii_lowercase().as_str())
        && (mixed || odd || value.len() >= 16)
}

/// A value in the place of a secret in a text that may be an example.
pub(crate) fn told(value: &str) -> bool {
    filled(value) && known(value)
}

/// Random by its looks, whatever it is called.
pub(crate) fn strong(value: &str) -> bool {
    let count = |is: fn(&u8) -> bool| value.bytes().filter(&is).count();
    let (digits, lower, upper) =
        (count(u8::is_ascii_digit), count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    let hex = value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Words have vowels between few consonants and are separated; what is random changes its kind of character often.
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let changes = value.as_bytes().windows(2).filter(|two| kind(two[0]) != kind(two[1])).count();
    let letters = lower > 0 && (upper > 2 || digits > 2);
    value.len() >= STRONG_BYTES
        && filled(value)
        && !is_path(value)
        && (digits > 1 || (digits > 0 && !value.contains(['_', '.'])))
        && distinct(value) >= 10
        && (hex || (letters && changes >= value.len() / 5))
}

/// The value of a literal that is called a secret: no word and no name of something else.
pub(crate) fn quoted(value: &str) -> bool {
    let count = |is: fn(&u8) -> bool| value.bytes().filter(&is).count();
    let letters = count(u8::is_ascii_alphabetic);
    told(value) && value.len() >= 12 && count(u8::is_ascii_digit) > 1 && letters > 1 && distinct(value) >= 8
}

/// A maker's key is not words: it has digits or capitals, and no few characters again and again.
pub(crate) fn random(rest: &str) -> bool {
    rest.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        && distinct(rest) >= 6
        && (!stands_in(rest) || is_scrambled(rest))
}

/// So many changes between letters, capitals and digits that a stand-in in it is there by chance.
fn is_scrambled(value: &str) -> bool {
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let changes = value.as_bytes().windows(2).filter(|two| kind(two[0]) != kind(two[1])).count();
    value.len() >= STRONG_BYTES && changes >= value.len() / 3 && distinct(value) >= 12
}

fn distinct(value: &str) -> usize {
    let mut seen = [false; 256];
    value.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// Files and addresses without a password are no secrets.
fn is_path(value: &str) -> bool {
    let start = value.starts_with('/') || value.starts_with("./") || value.starts_with("~/");
    (start && value.matches('/').count() > 1 && !value.ends_with('=') && !is_base64(value))
        || value.contains("://")
}

/// A key in base64 may begin like a path; a path has words, with few digits and capitals among their letters.
fn is_base64(value: &str) -> bool {
    let count = |is: fn(&u8) -> bool| value.bytes().filter(&is).count();
    let (digits, upper) = (count(u8::is_ascii_digit), count(u8::is_ascii_uppercase));
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"/+=".contains(&byte);
    value.len() >= STRONG_BYTES
        && value.bytes().all(alphabet)
        && digits > 1
        && (digits + upper) * 3 >= count(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_templates_are_no_secrets() {
        for value in [
            "postgres",
            "${TOKEN}",
            "your-key-here",
            "true",
            "8080",
            "AKIAIOSFODNN7EXAMPLE",
            "",
            "/etc/ssl/key.pem",
        ] {
            assert!(!known(value) && !strong(value), "{value}");
        }
        for value in ["hunter2-hunter2", "correcthorsebatterystaple", "aB3aB3aB3", "p@ssw0rd!"] {
            assert!(known(value), "{value}");
        }
        for value in ["9f86d081884c7d659a2feaa0c55ad015", "wJalrXUtnFEMIK7MDENGbPxRfiCYzz"] {
            assert!(strong(value), "{value}");
        }
        for value in ["get_current_user_session", "process.env.STRIPE_2_SECRET", "some_long_function_name_v2"]
        {
            assert!(!strong(value), "{value}");
        }
    }
}
