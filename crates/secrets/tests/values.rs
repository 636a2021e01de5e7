//! Values that are known to be secrets, however they look and wherever they stand; and what is none, for all its name.
//!
//! Start at the first test.

use secrets::harvest::{file, variable};
use secrets::{Redactor, Secret};

#[track_caller]
fn hidden(redactor: &Redactor, text: &str, value: &str) {
    let shown = redactor.text(text).into_owned();
    assert!(!shown.contains(value) && shown.contains("[secret removed"), "{text} -> {shown}");
}

#[test]
fn a_value_that_only_holds_a_stand_in_is_a_secret() {
    for value in [
        "kR7<vQ2!mZp9xW",
        "$9fQ2!mZp9xWkR7",
        "%9fQ2!mZp9xWkR7",
        "{9fQ2!mZp9xWkR7",
        "(9fQ2!mZp9xWkR7",
        "aB3xXx7Qm2Lp9Vt4Zs",
        "q7TodoR2k9ZxW4",
        "7Fake2Qm9LpVt4",
        "yourK7x9Qm2LpVt4",
        "m9...Q7x2LpVt4Zs",
        "insert7Qm2LpVt4",
        "mine-1234567890-Q7xW2",
        "replace-the-battery-staple",
    ] {
        let env = format!("A=1\nDB_PASSWORD='{value}'\n");
        hidden(&Redactor::new(file(".env", &env)), &format!("connecting with {value} now"), value);
        let given = Redactor::new(Secret::given("key", value));
        hidden(&given, &format!("connecting with {value} now"), value);
    }
}

#[test]
fn templates_are_none() {
    for value in [
        "<your-password>",
        "your-key-here",
        "your_api_key_1",
        "sk-your-key-here",
        "sk-ant-...",
        "xxxxxxxxxxxx",
        "xxxx-xxxx-xxxx",
        "********",
        "${DB_PASSWORD}",
        "$DB_PASSWORD",
        "%DB_PASSWORD%",
        "{{ db_password }}",
        "$(pass show db)",
        "%(password)s",
        "changeme123",
        "change-me-please",
        "placeholder",
        "fake-password-123",
        "test-1234567890",
        "insert-token-here",
        "todo-later",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "development",
        "/etc/ssl/private/key.pem",
        "/home/ada/Projects2/MyApp/secret.key",
        "./certs/my/key",
        "https://example.org/a/b",
        "12345678",
    ] {
        let env = format!("DB_PASSWORD={value}\n");
        assert!(file(".env", &env).is_empty(), "{value}");
    }
}

#[test]
fn a_key_that_begins_like_a_path_is_a_key() {
    for value in ["/aB3dE6gH9jK2mN5p/8sT1vW4yZ7bC0eF3hI6kLm", "/Q7x2LpVt4Zs/k9Rm1/Yb3Nc5Wd8Gf0Hj2+Ke4Ui6Oa"] {
        let text = format!("[default]\naws_secret_access_key = {value}\n");
        hidden(&Redactor::new(file(".aws/credentials", &text)), &format!("with {value}"), value);
    }
}

#[test]
fn a_file_of_many_values_crowds_nobody_out() {
    let own = "person-own-Key-7f3kQz81Lm";
    let many: String = (0..6_000).map(|n| format!("A_TOKEN{n}=q7Rk2m{n:05}zXv\n")).collect();
    let secrets: Vec<Secret> = Secret::given("key", own).into_iter().chain(file(".env", &many)).collect();
    let redactor = Redactor::new(secrets);
    hidden(&redactor, &format!("with {own}"), own);
    assert!(redactor.left_out() > 0, "and it is known that some are not looked for");
    assert_eq!(Redactor::new(Secret::given("key", own)).left_out(), 0);
}

#[test]
fn values_with_padding_and_on_one_line_are_known() {
    const AUTH: &str = "YWRhOnN3b3JkZmlzaC03eFE5bUw=";
    const PADDED: &str = "LS0tLS1Q7x81Lm9Vt4zPk2Wz7Rt5Hn6Yb1Xc8==";
    for (name, text, value) in [
        (
            ".docker/config.json",
            format!("{{\n \"auths\": {{\n  \"h\": {{\n   \"auth\": \"{AUTH}\"\n }}}}}}"),
            AUTH,
        ),
        (".docker/config.json", format!("{{\"auths\":{{\"h\":{{\"auth\":\"{AUTH}\"}}}}}}"), AUTH),
        // What is in it, too.
        (
            ".docker/config.json",
            format!("{{\"auths\":{{\"h\":{{\"auth\":\"{AUTH}\"}}}}}}"),
            "swordfish-7xQ9mL",
        ),
        (".kube/config", format!("users:\n- name: a\n  user:\n    client-key-data: {PADDED}\n"), PADDED),
        (".kube/config", format!("    token: {PADDED}\n"), PADDED),
        (".config/gh/hosts.yml", format!("github.com:\n    oauth_token: {PADDED}\n"), PADDED),
        (".m2/settings.xml", format!("  <password>{PADDED}</password>\n"), PADDED),
        (".npmrc", format!("//npm.example.org/:_authToken={PADDED}\n"), PADDED),
        (".gem/credentials", format!("---\n:rubygems_api_key: {PADDED}\n"), PADDED),
        (
            ".claude/.credentials.json",
            format!("{{\"claudeAiOauth\":{{\"accessToken\":\"{PADDED}\"}}}}"),
            PADDED,
        ),
        (".codex/auth.json", format!("{{\"tokens\":{{\"refresh_token\":\"{PADDED}\"}}}}"), PADDED),
        (".git/config", format!("[http]\n\textraHeader = Authorization: Basic {AUTH}\n"), "swordfish-7xQ9mL"),
        (".cargo/credentials.toml", format!("[registry]\ntoken = \"{PADDED}\"\n"), PADDED),
        (
            "deploy_key",
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{PADDED}\n-----END OPENSSH PRIVATE KEY-----\n"),
            PADDED,
        ),
    ] {
        hidden(&Redactor::new(file(name, &text)), &format!("got {value} there"), value);
    }
    // Values that stand beside, and are none.
    let plain = "{\"HttpHeaders\":{\"User-Agent\":\"Docker-Client/19.03.12 (linux)\"},\"credsStore\":\"secretservice\"}";
    assert!(file(".docker/config.json", plain).is_empty());
    assert!(
        file(".kube/config", "apiVersion: v1\nkind: Config\ncurrent-context: prod-cluster-7Q\n").is_empty()
    );
}

#[test]
fn a_value_is_found_in_every_usual_encoding() {
    let value = "p<a&s/s'w(o)r+d\"7x81Lm9Vt4zPkQ2";
    let redactor = Redactor::new(Secret::given("DB", value));
    for text in [
        // percent: upper and lower case, encodeURIComponent, Python's quote
        "p%3Ca%26s%2Fs%27w%28o%29r%2Bd%227x81Lm9Vt4zPkQ2",
        "p%3ca%26s%2fs%27w%28o%29r%2bd%227x81Lm9Vt4zPkQ2",
        "p%3Ca%26s%2Fs'w(o)r%2Bd%227x81Lm9Vt4zPkQ2",
        "p%3Ca%26s/s%27w%28o%29r%2Bd%227x81Lm9Vt4zPkQ2",
        // JSON: ours, Go's, PHP's
        "p<a&s/s'w(o)r+d\\\"7x81Lm9Vt4zPkQ2",
        "p\\u003ca\\u0026s/s'w(o)r+d\\\"7x81Lm9Vt4zPkQ2",
        "p<a&s\\/s'w(o)r+d\\\"7x81Lm9Vt4zPkQ2",
        // HTML
        "p&lt;a&amp;s/s&#39;w(o)r+d&quot;7x81Lm9Vt4zPkQ2",
        // `xxd -p`, which breaks lines at 60 characters, and `od -An -tx1`
        "703c6126732f732777286f29722b6422377838\n314c6d39567434\n7a506b5132",
        "70 3c 61 26 73 2f 73 27 77 28 6f 29 72 2b 64 22 37 78 38 31 4c 6d 39 56 74 34 7a 50 6b 51 32",
        // `base64 FILE`, which breaks lines at 76
        "cDxhJnMvcyd3KG8pcitkIjd4ODFM\nbTlWdDR6UGtRMg==",
        "cDxhJnMvcyd3KG8pci\r\n  tkIjd4ODFMbTlWdDR6UGtRMg==",
    ] {
        let shown = redactor.text(&format!("x {text} y")).into_owned();
        assert!(shown.starts_with("x [secret removed: DB]"), "{text} -> {shown}");
        for piece in ["7x81Lm9", "37783831", "37 78", "IjRlN", "UGtR", "ODFM", "7a506b"] {
            assert!(!shown.contains(piece), "{text} -> {shown}");
        }
    }
    // The address holds it encoded, the program prints it as it is.
    let url = variable("DATABASE_URL", "postgres://a:p%40ss-word9Qx@h/d").into_iter();
    hidden(&Redactor::new(url), "password is p@ss-word9Qx.", "p@ss-word9Qx");
}

#[test]
fn text_that_is_made_to_be_slow_is_not() {
    // Every BEGIN without an END once looked at the whole rest: with 2 MiB, minutes.
    let begins = "-----BEGIN PRIVATE KEY".repeat(2 << 20 >> 5);
    assert!(Redactor::default().text(&begins).len() < 100);
    // A value that is nothing but a period is found at every second byte, and each once compared all of it.
    let value = "a1b2".repeat(50_000);
    let redactor = Redactor::new(file(".env", &format!("A_SECRET={value}\n")));
    let text = "a1b2".repeat(1 << 19);
    assert!(!redactor.text(&text).contains("a1b2"));
}
