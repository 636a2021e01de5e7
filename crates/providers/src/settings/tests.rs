//! What settings make of presets, configuration and environment.

use super::*;

fn settings(declared: &[(&str, Declared)], env: &[(&str, &str)]) -> Result<Settings, Fault> {
    let declared = declared.iter().map(|(name, own)| ((*name).to_owned(), own.clone())).collect();
    Settings::new(declared, |name| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
}

fn declared(base_url: &str) -> Declared {
    let (dialect, base_url) = (Some(Dialect::Anthropic), Some(base_url.to_owned()));
    Declared { dialect, base_url, ..Declared::default() }
}

#[test]
fn presets_take_their_keys_and_addresses_from_the_environment() {
    let none = settings(&[], &[]).unwrap();
    let anthropic = &none.providers["anthropic"];
    assert_eq!((anthropic.key.is_none(), anthropic.wants_key), (true, true));
    assert_eq!(
        (anthropic.key_env.as_str(), anthropic.base_url.as_str()),
        ("ANTHROPIC_API_KEY", "https://api.anthropic.com")
    );
    let env = [
        ("ANTHROPIC_API_KEY", " sk-1 "),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:1/"),
        ("HTTP_PROXY", "http://proxy:3128"),
    ];
    let anthropic = settings(&[], &env).unwrap().providers["anthropic"].clone();
    assert_eq!(
        (anthropic.key.as_ref().unwrap().secret(), anthropic.base_url.as_str()),
        ("sk-1", "http://127.0.0.1:1")
    );
    assert_eq!(*anthropic.proxy, None, "nobody reaches himself through a proxy");
    assert!(!format!("{anthropic:?}").contains("sk-1"));
}

#[test]
fn the_configuration_wins_over_the_preset() {
    let own = Declared {
        key_env: Some("MY_KEY".into()),
        first_ms: Some(5),
        ..declared("https://proxy.example/claude")
    };
    let env =
        [("ANTHROPIC_API_KEY", "no"), ("MY_KEY", "yes"), ("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "x")];
    let anthropic = settings(&[("anthropic", own)], &env).unwrap().providers["anthropic"].clone();
    assert_eq!(anthropic.key, Some(Key::new("yes")));
    assert_eq!((anthropic.proxy.as_deref(), anthropic.no_proxy.as_str()), (Some("http://p:1"), "x"));
    assert_eq!(anthropic.timeouts.first, Duration::from_millis(5));
    let direct = Declared { proxy: Some(String::new()).into(), ..declared("https://a.example") };
    assert_eq!(settings(&[("a", direct)], &env).unwrap().providers["a"].proxy.as_deref(), None);
}

#[test]
fn what_may_hold_a_secret_is_shown_nowhere() {
    let headers = vec![("x-gate".to_owned(), "secret-of-a-header".to_owned())];
    let own = Declared {
        headers: headers.into(),
        proxy: Some("http://me:secret@proxy:1".to_owned()).into(),
        ..declared("https://a.example")
    };
    assert!(!format!("{own:?}").contains("secret"));
    let provider = settings(&[("mine", own.clone())], &[]).unwrap().providers["mine"].clone();
    assert!(!format!("{provider:?}").contains("secret"));
    // And yet replies through another header, or from another address, are others.
    let other = Declared { headers: Vec::new().into(), ..own };
    let without = settings(&[("mine", other)], &[]).unwrap().providers["mine"].clone();
    assert_ne!(provider.identity(), without.identity());
    let at = |url| settings(&[], &[("OPENAI_BASE_URL", url)]).unwrap().providers["openai"].identity();
    assert_ne!(at("http://127.0.0.1:1/v1"), at("http://127.0.0.1:2/v1"));
}

#[test]
fn what_would_be_void_or_dearer_than_known_is_refused() {
    let fault = |own| settings(&[("mine", own)], &[]).unwrap_err().code;
    let total = |total_ms| Declared { total_ms, ..declared("https://a.example") };
    assert_eq!(fault(total(Some(570_001))), "timeout-void");
    assert!(settings(&[("mine", total(Some(570_000)))], &[]).is_ok());
    let price = Some(Price { input: 1, output: 1, ..Price::default() });
    for (name, value) in [("service_tier", "priority"), ("speed", "fast")] {
        let parameters = Map::from_iter([(name.to_owned(), Value::from(value))]);
        let facts = Facts { parameters, ..Facts::default() };
        let with = |facts: Facts| Declared {
            models: BTreeMap::from([("m".to_owned(), facts)]),
            ..declared("https://a.example")
        };
        assert_eq!(fault(with(facts.clone())), "price-unknown");
        assert!(settings(&[("mine", with(Facts { price, ..facts }))], &[]).is_ok());
    }
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    for (own, says) in [
        (Declared { base_url: Some("http://a".into()), ..Declared::default() }, "without `dialect`"),
        (Declared { dialect: Some(Dialect::Anthropic), ..Declared::default() }, "without `base_url`"),
        (declared("ftp://a"), "no http(s) address"),
        (declared("https://user:secret@a.example"), "`...@a.example`"),
        (declared("https://"), "no http(s) address"),
        (declared("https://a?key=1"), "no http(s) address"),
    ] {
        let fault = settings(&[("mine", own)], &[]).unwrap_err();
        assert_eq!(fault.kind, Kind::UserFixable);
        assert!(fault.what.contains(says) && !fault.what.contains("secret"), "{fault}");
    }
}

#[test]
fn addresses_are_joined() {
    for (base, path, url) in [
        ("https://a.example", "/v1/messages", "https://a.example/v1/messages"),
        ("https://a.example/v1", "/v1/messages", "https://a.example/v1/messages"),
        ("https://a.example/v1", "/chat/completions", "https://a.example/v1/chat/completions"),
        ("https://v1", "/v1/messages", "https://v1/v1/messages"),
    ] {
        let provider = settings(&[("mine", declared(base))], &[]).unwrap().providers["mine"].clone();
        assert_eq!(provider.url(path), url);
    }
    let local = settings(&[("mine", declared("http://[::1]:80/v1"))], &[]).unwrap().providers["mine"].clone();
    assert_eq!(local.root_url("/props"), "http://[::1]:80/props");
}

#[test]
fn limits_are_named_without_the_key() {
    let with =
        |key: &str| settings(&[], &[("ANTHROPIC_API_KEY", key)]).unwrap().providers["anthropic"].quota();
    assert_eq!(with("a").len(), "anthropic/".len() + 8);
    assert_ne!(with("a"), with("b"));
}
