//! Is a value worth hiding? A mask over `postgres` or `true` would hide every other word of a text.
//!
//! Knows values without their places. Start at [`known`], [`strong`] and [`filled`].

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

/// Does it stand for a value, as in a template?
pub(crate) fn stands_in(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    lower.starts_with(['$', '%', '{', '(']) || STAND_INS.iter().any(|piece| lower.contains(piece))
}

/// A value in the place of a secret: short ones, too, but no templates and no numbers.
pub(crate) fn filled(value: &str) -> bool {
    value.len() >= 4
        && !stands_in(value)
        && !COMMON.contains(&value.to_ascii_lowercase().as_str())
        && !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// A value of a secret by its name or place: unlike any word that stands elsewhere.
pub(crate) fn known(value: &str) -> bool {
    let has = |is: fn(&u8) -> bool| value.bytes().any(|byte| is(&byte));
    let mixed = has(u8::is_ascii_digit) || (has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase));
    let odd = value.bytes().any(|byte| byte.is_ascii_punctuation());
    value.len() >= KNOWN_BYTES && filled(value) && !is_path(value) && (mixed || odd || value.len() >= 16)
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
    known(value) && value.len() >= 12 && count(u8::is_ascii_digit) > 1 && letters > 1 && distinct(value) >= 8
}

/// A maker's key is not words: it has digits or capitals, and no few characters again and again.
pub(crate) fn random(rest: &str) -> bool {
    rest.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        && distinct(rest) >= 6
        && !stands_in(rest)
}

fn distinct(value: &str) -> usize {
    let mut seen = [false; 256];
    value.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// Files and addresses without a password are no secrets.
fn is_path(value: &str) -> bool {
    let start = value.starts_with('/') || value.starts_with("./") || value.starts_with("~/");
    (start && value.matches('/').count() > 1 && !value.ends_with('=')) || value.contains("://")
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
