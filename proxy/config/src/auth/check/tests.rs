use std::path::PathBuf;

use super::*;
use crate::{Config, secret::REDACTED};

fn key(algorithm: Algorithm) -> LocalKey {
    LocalKey {
        kid: None,
        algorithm,
        secret: None,
        secret_file: None,
        secret_encoding: SecretEncoding::Text,
        public_key: None,
        public_key_file: None,
        issuer: None,
    }
}

fn paths(problems: &Problems) -> Vec<&str> {
    problems.iter().map(|(path, _)| path.as_str()).collect()
}

#[test]
fn the_defaults_are_those_of_the_reference_and_have_no_problem() {
    let jwt: JwtVerifier = toml::from_str("").unwrap();
    assert_eq!(jwt, JwtVerifier::default());
    assert_eq!(
        (jwt.timeout_ms, jwt.retry_attempts, jwt.cache_ttl_sec, jwt.cache_max_size),
        (5000, 3, 300, 10_000)
    );
    assert_eq!((jwt.circuit_breaker_threshold, jwt.circuit_breaker_timeout_sec), (10, 60));
    assert_eq!((jwt.rate_limit_per_sec, jwt.require_authentication), (1000, true));
    assert!(jwt.problems().is_empty() && Auth::default().problems().is_empty());
    assert_eq!(paths(&cross_problems(&jwt, &Auth::default())), ["jwt_verifier.webhook_url"]);
}

#[test]
fn a_complete_file_is_read() {
    let auth: Auth = toml::from_str(
        r#"
        keys = [
            { kid = "a", algorithm = "HS256", secret_file = "/run/secret" },
            { algorithm = "EdDSA", public_key_file = "k.pem" },
        ]
        jwks = [{ url = "https://issuer.example/jwks.json", refresh_sec = 60, algorithms = ["ES256"] }]
        order = ["jwks", "local"]
        default_permissions = ["topic:read", "topic:write"]
        cookie_name = "session"
        "#,
    )
    .unwrap();
    assert!(auth.problems().is_empty(), "{:?}", auth.problems());
    assert_eq!(auth.keys[0].secret_file, Some(PathBuf::from("/run/secret")));
    assert_eq!(auth.jwks[0].min_refresh_sec, 10);
    assert!(toml::from_str::<Auth>("nonsense = 1").is_err());
    assert!(toml::from_str::<Auth>("keys = [{ algorithm = \"none\" }]").is_err());
}

#[test]
fn every_range_is_checked() {
    let jwt = JwtVerifier {
        webhook_url: Some("ftp://user@host/".into()),
        timeout_ms: 0,
        retry_attempts: 11,
        retry_backoff_ms: 0,
        retry_backoff_max_ms: 70_000,
        cache_ttl_sec: 90_000,
        cache_max_size: 10_000_001,
        negative_cache_ttl_sec: 3601,
        negative_cache_max_size: 10_000_001,
        circuit_breaker_threshold: 0,
        circuit_breaker_timeout_sec: 0,
        rate_limit_per_sec: 0,
        max_in_flight: 0,
        pool_max_idle: 4097,
        pool_idle_timeout_sec: 0,
        hmac_secret: Some(Secret::new("short")),
        hmac_secret_file: Some("file".into()),
        client_cert_file: Some("cert.pem".into()),
        client_key_file: None,
        ca_file: None,
        require_authentication: true,
    };
    let problems = jwt.problems();
    let found: HashSet<&str> = paths(&problems).into_iter().collect();
    let expected = [
        "webhook_url",
        "timeout_ms",
        "retry_attempts",
        "retry_backoff_ms",
        "retry_backoff_max_ms",
        "cache_ttl_sec",
        "cache_max_size",
        "negative_cache_ttl_sec",
        "negative_cache_max_size",
        "circuit_breaker_threshold",
        "circuit_breaker_timeout_sec",
        "max_in_flight",
        "pool_max_idle",
        "pool_idle_timeout_sec",
        "hmac_secret",
        "client_cert_file",
    ];
    assert_eq!(found, HashSet::from(expected));
}

#[test]
fn keys_must_fit_their_algorithm() {
    let short = LocalKey { secret: Some(Secret::new("x".repeat(31))), ..key(Algorithm::HS256) };
    let mixed = LocalKey { public_key: Some("pem".into()), ..key(Algorithm::HS256) };
    let shown = LocalKey { secret: Some(Secret::new(REDACTED)), ..key(Algorithm::HS512) };
    let secret_for_rsa = LocalKey { secret: Some(Secret::new("x".repeat(64))), ..key(Algorithm::RS256) };
    let auth = Auth { keys: vec![short, mixed, shown, secret_for_rsa], ..Auth::default() };
    assert_eq!(
        paths(&auth.problems()),
        ["keys[2].secret", "keys[0].secret", "keys[1]", "keys[2].secret", "keys[3]"]
    );
}

#[test]
fn lists_are_checked() {
    let twice = LocalKey { kid: Some("a".into()), public_key: Some("pem".into()), ..key(Algorithm::RS256) };
    let auth = Auth {
        keys: vec![twice.clone(), twice],
        jwks: vec![Jwks {
            algorithms: vec![Algorithm::HS256],
            refresh_sec: 1,
            ..Jwks::new("issuer.example")
        }],
        order: vec![Method::Local, Method::Local],
        cookie_name: Some("a=b".into()),
        ..Auth::default()
    };
    let expected =
        ["jwks[0].refresh_sec", "jwks[0].url", "jwks[0].algorithms", "order", "keys[1].kid", "cookie_name"];
    assert_eq!(paths(&auth.problems()), expected);
    let left_out = Auth { order: vec![Method::Webhook], ..auth };
    assert_eq!(paths(&cross_problems(&JwtVerifier::default(), &left_out)), ["auth.order", "auth.order"]);
}

#[test]
fn a_shown_section_has_no_secret() {
    let secret = "a-secret-that-must-not-be-seen-anywhere";
    let keys = vec![LocalKey { secret: Some(Secret::new(secret)), ..key(Algorithm::HS256) }];
    let auth = Auth { keys, ..Auth::default() };
    let jwt = JwtVerifier { hmac_secret: Some(Secret::new(secret)), ..JwtVerifier::default() };
    let debug = format!("{auth:?}{jwt:?}");
    let config = Config { auth, jwt_verifier: jwt, ..Config::default() };
    for shown in [debug, config.effective_toml(), config.effective().to_string()] {
        assert!(!shown.contains(secret));
        assert_eq!(shown.matches(REDACTED).count(), 2, "{shown}");
    }
}
