//! Names that say that what they name is a secret: of variables, keys of files, headers.
//!
//! Knows words, not values. Start at [`is_secret`].

/// Words that make a name one of a secret.
const WORDS: [&str; 12] = [
    "secret",
    "token",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "credential",
    "credentials",
    "apikey",
    "authtoken",
    "pat",
];
/// Two words after each other that do.
const PAIRS: [(&str, &str); 8] = [
    ("api", "key"),
    ("access", "key"),
    ("private", "key"),
    ("signing", "key"),
    ("encryption", "key"),
    ("account", "key"),
    ("master", "key"),
    ("webhook", "key"),
];
/// Last words of names that are about a secret, and hold none.
const ABOUT: [&str; 34] = [
    "name", "type", "file", "path", "dir", "url", "uri", "count", "limit", "length", "len", "hash", "expiry",
    "ttl", "expires", "field", "header", "env", "prefix", "regex", "pattern", "policy", "manager", "budget",
    "usage", "size", "index", "kind", "mode", "store", "provider", "error", "command", "endpoint",
];

/// Does what has this name hold a secret? `MAX_TOKENS` and `token_count` do not.
pub fn is_secret(name: &str) -> bool {
    let words = words(name);
    let Some(last) = words.last() else { return false };
    if matches!(name, "PWD" | "OLDPWD" | "pwd") || ABOUT.contains(&last.as_str()) {
        return false;
    }
    // AUTH alone says how, at the end of a longer name it is what is shown at the door.
    let auth = words.len() > 1 && matches!(last.as_str(), "auth" | "authorization" | "pass");
    let plain = |word: &String| WORDS.contains(&word.as_str()) || word.ends_with("password");
    auth || words.iter().any(plain)
        || words.windows(2).any(|two| PAIRS.contains(&(two[0].as_str(), two[1].as_str())))
}

/// `aws_secretAccessKey` as `aws`, `secret`, `access`, `key`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut lower) = (String::new(), false);
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || (lower && c.is_ascii_uppercase()) {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    words.extend((!word.is_empty()).then_some(word));
    // The second one of its kind is one, too: TOKEN2.
    for word in &mut words {
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        word.truncate(if letters == 0 { word.len() } else { letters });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        for name in [
            "API_KEY",
            "OPENAI_API_KEY",
            "apiKey",
            "x-api-key",
            "AWS_SECRET_ACCESS_KEY",
            "client_secret",
            "db.password",
            "GITHUB_TOKEN",
            "PGPASSWORD",
            "npm_auth",
            "_authToken",
            "privateKey",
            "MY_PAT",
            "smtpPass",
            "API_KEY2",
            "TOKEN_7",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "PWD",
            "MAX_TOKENS",
            "tokenizer",
            "token_count",
            "TOKEN_FILE",
            "passenger",
            "author",
            "auth",
            "key",
            "SECRET_NAME",
            "",
            "compass",
            "public_key",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
