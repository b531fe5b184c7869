//! The webhook: verdicts and failures, cache, single flight, breaker, ceiling, signed calls.

use std::{sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use revenprox_proxy::{
    auth::{Action, Authenticator, Grant, Refusal},
    config::auth::{Auth, JwtVerifier, Secret},
};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::support::{
    Reply, Server, authenticator, foreign_token, metric, reason, topic, unix, until, until_async, webhook,
};

async fn subscribe(authenticator: &Authenticator, token: &str) -> Result<Grant, Refusal> {
    authenticator.authorize(Some(token), &topic("t"), Action::Subscribe).await
}

fn is_unavailable(outcome: &Result<Grant, Refusal>) -> bool {
    matches!(outcome, Err(Refusal::Unavailable { .. }))
}

fn count(registry: &prometheus::Registry, name: &str, label: &str) -> u64 {
    metric(registry, &format!("revenprox_{name}"), label)
}

#[tokio::test]
async fn a_token_is_posted_and_the_verdict_remembered() {
    let server = Server::start(Reply::valid()).await;
    let (auth, registry) = authenticator(&webhook(&server.url()), &Auth::default());
    let exp = unix() + 50;
    let token = foreign_token(&json!({"exp": exp, "jti": "j"}));
    for _ in 0..3 {
        let grant = subscribe(&auth, &token).await.unwrap();
        assert_eq!((grant.subject.as_deref(), grant.expires_at), (Some("user-1"), Some(exp)));
        assert_eq!(grant.token_id.as_deref(), Some("j"));
    }
    assert_eq!(server.calls(), 1);
    let seen = server.last();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/verify"));
    assert_eq!(seen.headers["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    let id = revenprox_proxy::topic::TopicId::of(&topic("t")).to_string();
    assert_eq!(body, json!({"jwt": token, "topic": id}));
    assert_eq!(
        (count(&registry, "auth_cache_hits_total", ""), count(&registry, "auth_cache_misses_total", "")),
        (2, 1)
    );
    assert_eq!(count(&registry, "auth_cache_entries", "granted"), 1);
    assert_eq!(count(&registry, "auth_webhook_duration_seconds", "answered"), 1);
}

#[tokio::test]
async fn a_verdict_counts_for_its_topic_and_action_only() {
    let server =
        Server::start(Reply::json(&json!({"valid": true, "subscribe": ["a", "b"], "publish": ["a"]}))).await;
    let (auth, _) = authenticator(&webhook(&server.url()), &Auth::default());
    let token = foreign_token(&json!({}));
    for (name, action, allowed) in [
        ("a", Action::Subscribe, true),
        ("a", Action::Publish, true),
        ("b", Action::Subscribe, true),
        ("b", Action::Publish, false),
    ] {
        for _ in 0..2 {
            assert_eq!(
                auth.authorize(Some(&token), &topic(name), action).await.is_ok(),
                allowed,
                "{name} {action}"
            );
        }
    }
    assert_eq!(server.calls(), 4);
}

#[tokio::test]
async fn the_answer_s_subject_and_expiry_win() {
    let exp = unix() + 20;
    let server = Server::start(Reply::json(&json!({"valid": true, "sub": "hook", "exp": exp}))).await;
    let (auth, _) = authenticator(&webhook(&server.url()), &Auth::default());
    for token in [foreign_token(&json!({})), "opaque-token".to_owned()] {
        let grant = subscribe(&auth, &token).await.unwrap();
        assert_eq!((grant.subject.as_deref(), grant.expires_at), (Some("hook"), Some(exp)));
    }
}

#[tokio::test]
async fn refusals_are_verdicts_and_remembered_for_a_short_time() {
    for reply in [
        Reply::json(&json!({"valid": false})),
        Reply::Send(401, String::new()),
        Reply::Send(403, "<html>".to_owned()),
    ] {
        let server = Server::start(reply).await;
        let settings = JwtVerifier { negative_cache_ttl_sec: 2, retry_attempts: 3, ..webhook(&server.url()) };
        let (auth, registry) = authenticator(&settings, &Auth::default());
        let token = foreign_token(&json!({}));
        for _ in 0..5 {
            assert_eq!(reason(subscribe(&auth, &token).await), "the token was refused by the verifier");
        }
        assert_eq!(server.calls(), 1, "neither repeated nor asked again");
        assert_eq!(count(&registry, "auth_failures_total", "denied"), 5);
        // The account is opened in the meantime: a refusal does not stick.
        server.set(Reply::valid());
        until_async("the refusal to be forgotten", || async { subscribe(&auth, &token).await.is_ok() }).await;
        assert_eq!(server.calls(), 2);
    }
}

#[tokio::test]
async fn expired_tokens_are_refused_without_a_call() {
    let server = Server::start(Reply::valid()).await;
    let (auth, _) = authenticator(&webhook(&server.url()), &Auth { leeway_sec: 0, ..Auth::default() });
    assert_eq!(
        reason(subscribe(&auth, &foreign_token(&json!({"exp": 1000}))).await),
        "the token has expired"
    );
    assert_eq!(server.calls(), 0);
    // One that expires while it is remembered is asked about no more, and refused.
    let token = foreign_token(&json!({"exp": unix() + 2}));
    assert!(subscribe(&auth, &token).await.is_ok());
    until_async("the token to expire", || async { subscribe(&auth, &token).await.is_err() }).await;
    assert_eq!(reason(subscribe(&auth, &token).await), "the token has expired");
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn failures_are_no_verdicts_and_never_remembered() {
    let huge = format!("{{\"valid\": true, \"pad\": \"{}\"}}", "x".repeat(64 * 1024));
    for (name, reply, calls) in [
        ("500", Reply::Send(500, r#"{"valid":true}"#.into()), 3),
        ("503", Reply::Send(503, String::new()), 3),
        ("404", Reply::Send(404, String::new()), 1),
        ("redirect", Reply::Send(302, String::new()), 1),
        ("garbage", Reply::Send(200, "\u{0}garbage".into()), 3),
        ("no boolean", Reply::json(&json!({"valid": "yes"})), 3),
        ("oversized", Reply::Send(200, huge), 1),
        ("silence", Reply::Never, 3),
    ] {
        let server = Server::start(reply).await;
        let timeout_ms = if matches!(name, "silence") { 500 } else { 5000 };
        let settings = JwtVerifier { retry_attempts: 2, timeout_ms, ..webhook(&server.url()) };
        let (auth, registry) = authenticator(&settings, &Auth::default());
        let token = foreign_token(&json!({}));
        let outcome = subscribe(&auth, &token).await;
        assert!(is_unavailable(&outcome), "{name}: {outcome:?}");
        assert_eq!(server.calls(), calls, "{name}");
        assert_eq!(count(&registry, "auth_webhook_duration_seconds", "failed"), calls as u64, "{name}");
        server.set(Reply::valid());
        assert!(subscribe(&auth, &token).await.is_ok(), "{name} is over");
    }
}

#[tokio::test]
async fn a_repeated_call_can_succeed() {
    let server = Server::start(Reply::valid()).await;
    let failures = Arc::new(parking_lot::Mutex::new(2));
    server.rule(move |_| {
        let mut left = failures.lock();
        if *left == 0 {
            return Reply::valid();
        }
        *left -= 1;
        Reply::Send(500, String::new())
    });
    let (auth, _) =
        authenticator(&JwtVerifier { retry_attempts: 2, ..webhook(&server.url()) }, &Auth::default());
    assert!(subscribe(&auth, &foreign_token(&json!({}))).await.is_ok());
    assert_eq!(server.calls(), 3);
}

#[tokio::test]
async fn a_refused_connection_is_a_failure() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let settings = webhook(&format!("http://127.0.0.1:{port}/"));
    let (auth, registry) = authenticator(&settings, &Auth::default());
    assert!(is_unavailable(&subscribe(&auth, &foreign_token(&json!({}))).await));
    assert_eq!(count(&registry, "auth_failures_total", "webhook"), 1);
}

#[tokio::test]
async fn a_slow_answer_within_the_timeout_counts() {
    let (open, gate) = watch::channel(false);
    let server = Server::start(Reply::After(gate, Box::new(Reply::valid()))).await;
    let (auth, _) = authenticator(&webhook(&server.url()), &Auth::default());
    let (asker, token) = (auth.clone(), foreign_token(&json!({})));
    let asking = tokio::spawn(async move { subscribe(&asker, &token).await });
    server.wait_for_calls(1).await;
    assert!(!asking.is_finished());
    open.send(true).unwrap();
    assert!(asking.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_hundred_askers_make_one_call() {
    let (open, gate) = watch::channel(false);
    let server = Server::start(Reply::After(gate, Box::new(Reply::valid()))).await;
    let (auth, registry) = authenticator(&webhook(&server.url()), &Auth::default());
    let token = foreign_token(&json!({}));
    let mut askers = JoinSet::new();
    for _ in 0..100 {
        let (auth, token) = (auth.clone(), token.clone());
        askers.spawn(async move { subscribe(&auth, &token).await });
    }
    until("all to wait", || count(&registry, "auth_single_flight_followers_total", "") == 99).await;
    open.send(true).unwrap();
    while let Some(outcome) = askers.join_next().await {
        assert!(outcome.unwrap().is_ok());
    }
    assert_eq!(server.calls(), 1);
    assert_eq!(count(&registry, "auth_webhook_in_flight", ""), 0);
}

#[tokio::test]
async fn a_first_asker_who_leaves_strands_nobody() {
    let (open, gate) = watch::channel(false);
    let server = Server::start(Reply::After(gate, Box::new(Reply::valid()))).await;
    let (auth, registry) = authenticator(&webhook(&server.url()), &Auth::default());
    let token = foreign_token(&json!({}));
    let ask = || {
        let (auth, token) = (auth.clone(), token.clone());
        tokio::spawn(async move { subscribe(&auth, &token).await })
    };
    let first = ask();
    server.wait_for_calls(1).await;
    let second = ask();
    until("the second to wait", || count(&registry, "auth_single_flight_followers_total", "") == 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    open.send(true).unwrap();
    assert!(second.await.unwrap().is_ok());
    assert!(subscribe(&auth, &token).await.is_ok());
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn verifications_under_way_are_bounded() {
    let (open, gate) = watch::channel(false);
    let server = Server::start(Reply::After(gate, Box::new(Reply::valid()))).await;
    let (auth, registry) =
        authenticator(&JwtVerifier { max_in_flight: 2, ..webhook(&server.url()) }, &Auth::default());
    let mut askers = JoinSet::new();
    for _ in 0..2 {
        let auth = auth.clone();
        askers.spawn(async move { subscribe(&auth, &foreign_token(&json!({}))).await });
    }
    server.wait_for_calls(2).await;
    assert!(is_unavailable(&subscribe(&auth, &foreign_token(&json!({}))).await), "answered at once");
    assert_eq!(count(&registry, "auth_failures_total", "in_flight"), 1);
    open.send(true).unwrap();
    while let Some(outcome) = askers.join_next().await {
        assert!(outcome.unwrap().is_ok());
    }
    assert!(subscribe(&auth, &foreign_token(&json!({}))).await.is_ok());
}

#[tokio::test]
async fn an_open_breaker_spares_the_webhook_and_one_trial_closes_it() {
    let server = Server::start(Reply::valid()).await;
    let settings = JwtVerifier {
        circuit_breaker_threshold: 3,
        circuit_breaker_timeout_sec: 3,
        retry_attempts: 3,
        ..webhook(&server.url())
    };
    let (auth, registry) = authenticator(&settings, &Auth::default());
    let known = foreign_token(&json!({}));
    assert!(subscribe(&auth, &known).await.is_ok());

    server.set(Reply::Send(500, String::new()));
    let calls = server.calls();
    assert!(is_unavailable(&subscribe(&auth, &foreign_token(&json!({}))).await));
    assert_eq!(
        server.calls() - calls,
        3,
        "the third failure in a row opens the breaker and ends the repeating"
    );
    assert_eq!(count(&registry, "circuit_breaker_state", ""), 1);
    let calls = server.calls();
    for _ in 0..20 {
        match subscribe(&auth, &foreign_token(&json!({}))).await {
            Err(Refusal::Unavailable { retry_after, .. }) => assert!(retry_after <= Duration::from_secs(5)),
            other => panic!("{other:?}"),
        }
        assert!(subscribe(&auth, &known).await.is_ok(), "a remembered verdict passes");
    }
    assert_eq!(server.calls(), calls, "nothing is asked while the breaker is open");

    // A failed trial: one call, no repeats, and the breaker is open again.
    until_async("the first trial", || async {
        assert!(is_unavailable(&subscribe(&auth, &foreign_token(&json!({}))).await));
        server.calls() > calls
    })
    .await;
    assert_eq!(server.calls(), calls + 1);
    assert_eq!(count(&registry, "circuit_breaker_state", ""), 1);

    // While the successful trial is under way, everybody else is still turned away.
    let (open, gate) = watch::channel(false);
    server.set(Reply::After(gate, Box::new(Reply::valid())));
    let mut askers = JoinSet::new();
    until_async("the second trial", || async {
        count(&registry, "circuit_breaker_state", "") == 2 || {
            let auth = auth.clone();
            drop(
                tokio::time::timeout(Duration::from_millis(20), subscribe(&auth, &foreign_token(&json!({}))))
                    .await,
            );
            false
        }
    })
    .await;
    server.wait_for_calls(calls + 2).await;
    for _ in 0..20 {
        assert!(is_unavailable(&subscribe(&auth, &foreign_token(&json!({}))).await));
    }
    assert_eq!(server.calls(), calls + 2, "exactly one trial call");
    open.send(true).unwrap();
    until("the breaker to close", || count(&registry, "circuit_breaker_state", "") == 0).await;
    for _ in 0..10 {
        let auth = auth.clone();
        askers.spawn(async move { subscribe(&auth, &foreign_token(&json!({}))).await.is_ok() });
    }
    assert!(askers.join_all().await.into_iter().all(|granted| granted));
}

#[tokio::test]
async fn the_ceiling_refuses_at_once_and_remembered_verdicts_pass() {
    let server = Server::start(Reply::valid()).await;
    let settings = JwtVerifier { rate_limit_per_sec: 5, ..webhook(&server.url()) };
    let (auth, registry) = authenticator(&settings, &Auth::default());
    let known = foreign_token(&json!({}));
    assert!(subscribe(&auth, &known).await.is_ok());
    let began = std::time::Instant::now();
    let mut refused = 0;
    for _ in 0..50 {
        refused += u64::from(is_unavailable(&subscribe(&auth, &foreign_token(&json!({}))).await));
        assert!(subscribe(&auth, &known).await.is_ok());
    }
    let allowed = 5.0 * (1.0 + began.elapsed().as_secs_f64());
    assert!(refused > 0 && server.calls() as f64 <= allowed + 1.0, "{} calls", server.calls());
    assert_eq!(count(&registry, "auth_ceiling_refusals_total", ""), refused);
    assert_eq!(count(&registry, "auth_failures_total", "ceiling"), refused);
}

#[tokio::test]
async fn calls_are_signed() {
    let server = Server::start(Reply::Send(401, String::new())).await;
    let secret = "a secret of at least sixteen bytes";
    server.rule(move |seen| {
        let timestamp = seen.headers["x-revenprox-timestamp"].to_str().unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(&seen.body);
        let hex = seen.headers["x-revenprox-signature"].to_str().unwrap().strip_prefix("v1=").unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        let right = mac.verify_slice(&bytes.collect::<Vec<_>>()).is_ok();
        let fresh = unix().abs_diff(timestamp.parse().unwrap()) < 60;
        if fresh && right { Reply::valid() } else { Reply::Send(401, String::new()) }
    });
    let signed =
        |secret: &str| JwtVerifier { hmac_secret: Some(Secret::new(secret)), ..webhook(&server.url()) };
    let (auth, _) = authenticator(&signed(secret), &Auth::default());
    assert!(subscribe(&auth, &foreign_token(&json!({}))).await.is_ok());
    let (auth, _) = authenticator(&signed("another secret of enough bytes"), &Auth::default());
    assert!(subscribe(&auth, &foreign_token(&json!({}))).await.is_err());
}

#[tokio::test]
async fn unsigned_tokens_never_reach_the_webhook() {
    let server = Server::start(Reply::valid()).await;
    let (auth, _) = authenticator(&webhook(&server.url()), &Auth::default());
    // {"alg":"none"} . {} .
    assert!(subscribe(&auth, "eyJhbGciOiJub25lIn0.e30.").await.is_err());
    assert!(subscribe(&auth, &"x".repeat(9000)).await.is_err());
    assert_eq!(server.calls(), 0);
}
