//! Refusals of vendors and local servers, and what they mean.
use super::*;
use serde_json::json;

fn options() -> Options {
    Options {
        id: "anthropic/claude-x".into(),
        provider: "anthropic".into(),
        name: "claude-x".into(),
        key_env: "ANTHROPIC_API_KEY".into(),
        ..Options::default()
    }
}

fn of(status: u16, body: &str) -> (Kind, String) {
    let fault = refused(&options(), status, &Headers::default(), body.as_bytes(), Timestamp(0));
    (fault.kind, fault.code)
}

/// Statuses and bodies as vendors and local servers send them.
const TABLE: &[(u16, &str, Kind, &str)] = &[
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages: at least one message is required"}}"#,
        Kind::Permanent,
        "request-refused",
    ),
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
        Kind::Permanent,
        "context-full",
    ),
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}"#,
        Kind::UserFixable,
        "quota-exhausted",
    ),
    (
        400,
        r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
        Kind::Permanent,
        "context-full",
    ),
    (
        400,
        r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_ctx":4096}}"#,
        Kind::Permanent,
        "context-full",
    ),
    (
        400,
        r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
        Kind::UserFixable,
        "key-refused",
    ),
    (
        400,
        r#"{"error":{"code":400,"message":"The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
        Kind::Permanent,
        "context-full",
    ),
    (
        400,
        r#"{"error":{"code":400,"message":"Unknown name \"x\": error 500 in field","status":"INVALID_ARGUMENT"}}"#,
        Kind::Permanent,
        "request-refused",
    ),
    (
        400,
        r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","code":400}"#,
        Kind::Permanent,
        "context-full",
    ),
    (400, "500 502 503 overloaded", Kind::Permanent, "request-refused"),
    (400, "", Kind::Permanent, "request-refused"),
    (
        401,
        r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
        Kind::UserFixable,
        "key-refused",
    ),
    (
        401,
        r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#,
        Kind::UserFixable,
        "key-refused",
    ),
    (401, "<html>Unauthorized</html>", Kind::UserFixable, "key-refused"),
    (402, r#"{"error":{"message":"Insufficient credits","code":402}}"#, Kind::UserFixable, "quota-exhausted"),
    (
        402,
        r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#,
        Kind::UserFixable,
        "quota-exhausted",
    ),
    (
        402,
        r#"{"type":"error","error":{"type":"billing_error","message":"x"}}"#,
        Kind::UserFixable,
        "quota-exhausted",
    ),
    (
        403,
        r#"{"type":"error","error":{"type":"permission_error","message":"x"}}"#,
        Kind::UserFixable,
        "key-refused",
    ),
    (
        403,
        r#"{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}"#,
        Kind::UserFixable,
        "key-refused",
    ),
    (403, "", Kind::UserFixable, "key-refused"),
    (
        404,
        r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#,
        Kind::UserFixable,
        "model-unknown",
    ),
    (
        404,
        r#"{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#,
        Kind::UserFixable,
        "model-unknown",
    ),
    (
        404,
        r#"{"error":{"message":"model 'x' not found","type":"api_error"}}"#,
        Kind::UserFixable,
        "model-unknown",
    ),
    (404, r#"{"error":"model 'x' not found"}"#, Kind::UserFixable, "model-unknown"),
    (404, "<html>nginx</html>", Kind::UserFixable, "model-unknown"),
    (405, "", Kind::UserFixable, "model-unknown"),
    (407, "", Kind::UserFixable, "key-refused"),
    (408, "", Kind::Transient, "request-timeout"),
    (409, "", Kind::Transient, "request-timeout"),
    (425, "", Kind::Transient, "request-timeout"),
    (
        413,
        r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
        Kind::Permanent,
        "context-full",
    ),
    (413, "<html>413</html>", Kind::Permanent, "context-full"),
    (422, r#"{"detail":"x"}"#, Kind::Permanent, "request-refused"),
    (422, r#"{"detail":"prompt exceeds the context of the model"}"#, Kind::Permanent, "context-full"),
    (
        429,
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"x"}}"#,
        Kind::RateLimited,
        "rate-limited",
    ),
    (
        429,
        r#"{"error":{"message":"Rate limit reached for x in organization y on tokens per min","type":"tokens","code":"rate_limit_exceeded"}}"#,
        Kind::RateLimited,
        "rate-limited",
    ),
    (
        429,
        r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        Kind::UserFixable,
        "quota-exhausted",
    ),
    (
        429,
        r#"{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}"#,
        Kind::RateLimited,
        "rate-limited",
    ),
    (
        429,
        r#"{"error":{"message":"the context window of this answer says nothing"}}"#,
        Kind::RateLimited,
        "rate-limited",
    ),
    (429, "", Kind::RateLimited, "rate-limited"),
    (451, "", Kind::Permanent, "request-refused"),
    (
        500,
        r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
        Kind::Degraded,
        "provider-unwell",
    ),
    (
        500,
        r#"{"error":{"message":"The server had an error","type":"server_error"}}"#,
        Kind::Degraded,
        "provider-unwell",
    ),
    (
        500,
        r#"{"error":{"message":"the input length exceeds the context length","type":"api_error"}}"#,
        Kind::Permanent,
        "context-full",
    ),
    (500, r#"{"error":{"code":500,"message":"x","status":"INTERNAL"}}"#, Kind::Degraded, "provider-unwell"),
    (500, "", Kind::Degraded, "provider-unwell"),
    (501, "", Kind::Permanent, "request-refused"),
    (502, "<html>bad gateway</html>", Kind::Degraded, "provider-unwell"),
    (
        503,
        r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
        Kind::Degraded,
        "provider-unwell",
    ),
    (
        503,
        r#"{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}"#,
        Kind::Degraded,
        "provider-unwell",
    ),
    (503, "", Kind::Degraded, "provider-unwell"),
    (
        504,
        r#"{"error":{"code":504,"message":"x","status":"DEADLINE_EXCEEDED"}}"#,
        Kind::Degraded,
        "provider-unwell",
    ),
    (505, "", Kind::Permanent, "request-refused"),
    (520, "", Kind::Degraded, "provider-unwell"),
    (524, "", Kind::Degraded, "provider-unwell"),
    (
        529,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        Kind::Degraded,
        "provider-unwell",
    ),
    (529, "", Kind::Degraded, "provider-unwell"),
    (599, "", Kind::Degraded, "provider-unwell"),
    (301, "", Kind::UserFixable, "redirected"),
    (304, "", Kind::UserFixable, "redirected"),
    (307, "", Kind::UserFixable, "redirected"),
    (
        418,
        r#"[{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}]"#,
        Kind::RateLimited,
        "rate-limited",
    ),
];

#[test]
fn a_table_of_answers() {
    assert!(TABLE.len() >= 60);
    for (status, body, kind, code) in TABLE {
        assert_eq!(of(*status, body), (*kind, (*code).to_owned()), "{status} {body}");
    }
}

#[test]
fn errors_inside_a_stream() {
    for (error, kind) in [
        (json!({"type": "overloaded_error", "message": "Overloaded"}), Kind::Degraded),
        (json!({"type": "api_error", "message": "x"}), Kind::Degraded),
        (json!({"type": "rate_limit_error"}), Kind::RateLimited),
        (json!({"code": 502, "message": "Provider returned error"}), Kind::Degraded),
        (json!({"code": 429, "message": "x"}), Kind::RateLimited),
        (json!({"code": "server_error", "message": "x"}), Kind::Degraded),
        (json!({"code": 400, "message": "maximum context length"}), Kind::Permanent),
        (json!({"type": "authentication_error"}), Kind::UserFixable),
        (json!("something went wrong (500)"), Kind::Permanent),
        (json!({}), Kind::Permanent),
    ] {
        assert_eq!(told(&options(), &error).kind, kind, "{error}");
    }
}

#[test]
fn waits_are_kept_and_make_a_quota_a_limit() {
    let headers = Headers::new([("Retry-After", "20")]);
    let at = |status, body: &str| refused(&options(), status, &headers, body.as_bytes(), Timestamp(0));
    assert_eq!(at(429, "").retry_after_ms, Some(20_000));
    assert_eq!(at(503, "").retry_after_ms, Some(20_000));
    assert_eq!(at(401, "").retry_after_ms, None);
    let quota = at(429, r#"{"error":{"code":"insufficient_quota"}}"#);
    assert_eq!((quota.kind, quota.retry_after_ms), (Kind::RateLimited, Some(20_000)));
    let google =
        r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"34.07s"}]}}"#;
    let fault = refused(&options(), 429, &Headers::default(), google.as_bytes(), Timestamp(0));
    assert_eq!(fault.retry_after_ms, Some(34_070));
    let daily = r#"{"error":{"code":429,"details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]},{"retryDelay":"34s"}]}}"#;
    let hour = 3_600_000;
    for (now, wait) in [(0, 8), (7 * hour, 1), (8 * hour, 24), (9 * hour, 23), (33 * hour, 23)] {
        let fault = refused(&options(), 429, &Headers::default(), daily.as_bytes(), Timestamp(now));
        assert_eq!((fault.kind, fault.retry_after_ms), (Kind::RateLimited, Some(wait * hour)), "{now}");
    }
}

#[test]
fn words_for_people() {
    let key = refused(&options(), 401, &Headers::default(), b"", Timestamp(0));
    assert!(key.hint.contains("ANTHROPIC_API_KEY") && key.hint.contains("kapell auth anthropic"), "{key}");
    assert!(no_key(&options()).what.contains("ANTHROPIC_API_KEY is not set"));
    let headers = Headers::new([("location", "https://elsewhere.example/v1?token=abc")]);
    let moved = refused(&options(), 302, &headers, b"", Timestamp(0));
    assert!(moved.what.ends_with("to https://elsewhere.example/v1"), "{moved}");
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x\u{1b}[31m".repeat(1000));
    let fault = refused(&options(), 400, &Headers::default(), long.as_bytes(), Timestamp(0));
    assert!(fault.what.len() < 500 && !fault.what.contains('\u{1b}'), "{fault}");
}

#[test]
fn a_persons_own_rules_go_before_the_table_and_see_answers_that_are_no_json() {
    use own::{Rule, Rules};
    let rule = |status, pattern, kind| Rule::new(status, pattern, kind).unwrap();
    let rules = vec![
        rule(None, Some("at capacity"), Kind::RateLimited),
        rule(Some(403), Some("<title>Portal"), Kind::UserFixable),
        rule(None, Some("^warming_up$"), Kind::Transient),
        rule(Some(500), None, Kind::Permanent),
    ];
    let options = Options { errors: Rules(rules), ..options() };
    let of = |status, body: &str, header: &[(&str, &str)]| {
        let headers = Headers::new(header.iter().copied());
        let fault = refused(&options, status, &headers, body.as_bytes(), Timestamp(0));
        (fault.kind, fault.code, fault.retry_after_ms)
    };
    let full = r#"{"error":{"message":"The server is at capacity","type":"invalid_request_error"}}"#;
    let limited = (Kind::RateLimited, "rate-limited".to_owned(), Some(7_000));
    assert_eq!(of(400, full, &[("retry-after", "7")]), limited, "and is waited for like any limit");
    assert_eq!(of(403, "<html><title>Portal</title>", &[]), (Kind::UserFixable, "refused".into(), None));
    assert_eq!(of(403, "<html><title>Other</title>", &[]).1, KEY_REFUSED);
    assert_eq!(of(400, r#"{"error":{"type":"warming_up","message":"x"}}"#, &[]).0, Kind::Transient);
    assert_eq!(of(500, "", &[]).0, Kind::Permanent);
    assert_eq!(of(503, "", &[]).0, Kind::Degraded, "what no rule speaks of is as before");
    let heard = |error| told(&options, &error).kind;
    let full = json!({"type": "overloaded_error", "message": "we are At Capacity"});
    assert_eq!(heard(full), Kind::RateLimited, "inside a stream too");
    // JSON of a shape that nobody knows.
    assert_eq!(of(400, r#"{"fault":{"faultstring":"all lines are at capacity"}}"#, &[]).0, Kind::RateLimited);
    assert_eq!(heard(json!({"type": "x", "fault": {"text": "at capacity"}})), Kind::RateLimited);
}

#[test]
fn a_rule_for_a_status_keeps_nothing_from_being_mended() {
    use own::{Rule, Rules};
    let of = |pattern: Option<&str>, status, body: &str| {
        let errors = Rules(vec![Rule::new(Some(status), pattern, Kind::Transient).unwrap()]);
        let options = Options { errors, ..options() };
        let fault = refused(&options, status, &Headers::default(), body.as_bytes(), Timestamp(0));
        (fault.kind, fault.code)
    };
    let long = r#"{"error":{"message":"prompt is too long: 210000 tokens > 200000"}}"#;
    assert_eq!(of(None, 400, long).1, CONTEXT_FULL, "it would be tried again as it is, without end");
    let key = r#"{"error":{"type":"authentication_error","message":"x"}}"#;
    assert_eq!(of(None, 401, key).1, KEY_REFUSED);
    assert_eq!(of(None, 401, "").0, Kind::Transient, "the status alone is what the rule is about");
    assert_eq!(of(Some("too long"), 400, long).0, Kind::Transient, "who names the words means them");
    let options =
        Options { errors: Rules(vec![Rule::new(Some(418), None, Kind::Transient).unwrap()]), ..options() };
    let fault = refused(&options, 418, &Headers::default(), b"", Timestamp(0));
    assert!(!fault.what.contains("before it was read"), "{}", fault.what);
}

#[test]
fn a_plans_reset_is_found_wherever_it_is_told() {
    // 2026-11-20T06:07:24Z.
    let now = Timestamp(1_795_154_844_000);
    let of = |body: &str, headers: &[(&str, &str)]| {
        let fault = refused(&options(), 429, &Headers::new(headers.iter().copied()), body.as_bytes(), now);
        (fault.kind, fault.retry_after_ms)
    };
    let plan = r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_at":1795158444,"resets_in_seconds":3601}}"#;
    assert_eq!(of(plan, &[]), (Kind::RateLimited, Some(3_601_000)));
    let moment = r#"{"error":{"type":"usage_limit_reached","message":"x","resets_at":1795158444}}"#;
    assert_eq!(of(moment, &[]), (Kind::RateLimited, Some(3_600_000)));
    let written =
        r#"{"error":{"type":"usage_limit_reached","message":"x","resets_at":"2026-11-20T06:08:24Z"}}"#;
    assert_eq!(of(written, &[]), (Kind::RateLimited, Some(60_000)));
    let router = r#"{"error":{"message":"Rate limit exceeded: free-models-per-day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795158444000"}}}}"#;
    assert_eq!(of(router, &[]), (Kind::RateLimited, Some(3_600_000)));
    let unified = [
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("anthropic-ratelimit-unified-reset", "1795158444"),
    ];
    assert_eq!(of("", &unified), (Kind::RateLimited, Some(3_600_000)));
    assert_eq!(of("", &[("retry-after", "5"), unified[0], unified[1]]), (Kind::RateLimited, Some(5_000)));
    assert_eq!(
        of("", &[("anthropic-ratelimit-unified-status", "allowed"), unified[1]]),
        (Kind::RateLimited, None)
    );
    let told = told(&options(), &serde_json::from_str::<Value>(plan).unwrap()["error"]);
    assert_eq!((told.kind, told.retry_after_ms), (Kind::RateLimited, Some(3_601_000)), "inside a stream");
}
