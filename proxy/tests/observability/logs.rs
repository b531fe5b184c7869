//! What a proxy writes to its log.

use crate::support::Proxy;

/// A proxy that has seen tokens wherever a client may put one, some of them good.
fn log_at(level: &str) -> (String, Vec<String>) {
    let keys = "[{ algorithm = \"HS256\", secret = \"0123456789abcdef0123456789abcdef\" }]";
    let proxy = Proxy::start(&[
        ("REVENPROX_LOG_LEVEL", level),
        ("REVENPROX_JWT_VERIFIER__REQUIRE_AUTHENTICATION", "true"),
        ("REVENPROX_AUTH__KEYS", keys),
        ("REVENPROX_AUTH__COOKIE_NAME", "session"),
    ]);
    let good = token();
    let bad = format!("{good}x");
    for token in [&good, &bad] {
        let bearer = format!("Bearer {token}");
        let cookie = format!("session={token}");
        proxy.request("POST", "/events/orders", &[("authorization", &bearer)], "hello");
        proxy.request("POST", "/events/orders", &[("cookie", &cookie)], "hello");
        proxy.request("POST", &format!("/events/orders?token={token}"), &[], "hello");
        proxy.get(&format!("/nowhere?token={token}"));
    }
    let stream = proxy.subscribe(&format!("/events/orders?token={good}"), &[]);
    proxy.wait_for_metric("revenprox_connections_active", 1.0);
    drop(stream);
    proxy.wait_for_metric("revenprox_connections_ended_total{reason=\"hangup\"}", 1.0);
    (proxy.stop(), vec![good, bad])
}

fn token() -> String {
    let args = ["token", "--secret", "0123456789abcdef0123456789abcdef", "--sub", "alice"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sse-proxy")).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn is_free_of(log: &str, tokens: &[String]) -> bool {
    // Not even a signature alone, which is the last part.
    tokens.iter().all(|token| !log.contains(token.rsplit('.').next().unwrap()))
}

#[test]
fn connections_are_logged_at_debug_only_and_tokens_never() {
    let (debug, tokens) = log_at("debug");
    assert!(is_free_of(&debug, &tokens), "{debug}");
    assert_eq!(debug.matches("stream ended").count(), 1, "{debug}");
    assert!(debug.contains("alice") && debug.contains("refused"), "{debug}");
    let (info, tokens) = log_at("info");
    assert!(is_free_of(&info, &tokens), "{info}");
    assert!(!info.contains("stream ended") && !info.contains("refused"), "{info}");
}

#[test]
fn lines_are_json_objects_with_a_level() {
    let proxy = Proxy::start(&[]);
    let log = proxy.stop();
    let lines: Vec<serde_json::Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().any(|line| line["message"] == "ended"), "{log}");
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log}");
}
