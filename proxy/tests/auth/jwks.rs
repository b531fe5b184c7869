//! Published key sets: fetched at start, rotated, unreachable, flooded with unknown kids.

use std::sync::Arc;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::jwk::Jwk;
use prometheus::Registry;
use revenprox_proxy::{
    auth::{Action, Authenticator, Refusal, known_as},
    config::auth::{Algorithm, Auth, Jwks, JwtVerifier},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use crate::support::{
    Reply, Server, Signer, authenticator, claims, foreign_token, metric, random, reason, topic, until,
    until_async, webhook,
};

fn jwk(signer: &Signer, kid: &str) -> Value {
    let mut jwk = match signer.algorithm {
        Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "x": ed25519_point(signer)}),
        other => {
            serde_json::to_value(Jwk::from_encoding_key(&signer.encoding, known_as(other)).unwrap()).unwrap()
        }
    };
    jwk["kid"] = kid.into();
    jwk["use"] = "sig".into();
    jwk
}

/// The public point, which is the last 32 bytes of the key's DER (RFC 8410, section 4).
fn ed25519_point(signer: &Signer) -> String {
    let pem = signer.public_pem.as_ref().unwrap();
    let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    URL_SAFE_NO_PAD.encode(&der[der.len() - 32..])
}

fn set(keys: &[Value]) -> Reply {
    Reply::json(&json!({"keys": keys}))
}

fn source(server: &Server) -> Jwks {
    Jwks { min_refresh_sec: 1, ..Jwks::new(server.url()) }
}

fn start(source: Jwks) -> (Arc<Authenticator>, Registry) {
    authenticator(&JwtVerifier::default(), &Auth { jwks: vec![source], ..Auth::default() })
}

async fn fetched(registry: &Registry, times: u64) {
    until("a fetch", || metric(registry, "revenprox_auth_jwks_refreshes_total", "") >= times).await;
}

async fn granted(authenticator: &Authenticator, token: &str) -> bool {
    authenticator.authorize(Some(token), &topic("t"), Action::Subscribe).await.is_ok()
}

#[tokio::test]
async fn every_published_type_of_key_verifies() {
    let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
    let signers = algorithms.map(Signer::generate);
    let keys: Vec<Value> =
        signers.iter().map(|signer| jwk(signer, &format!("{:?}", signer.algorithm))).collect();
    let server = Server::start(set(&keys)).await;
    let (auth, registry) = start(source(&server));
    for signer in &signers {
        let token = signer.sign(Some(&format!("{:?}", signer.algorithm)), &claims(&json!({})));
        // The very first request waits for the first fetch.
        let grant = auth.authorize(Some(&token), &topic("t"), Action::Subscribe).await.unwrap();
        assert_eq!(grant.key_id.as_deref(), Some(format!("{:?}", signer.algorithm).as_str()));
        let without_kid = signer.sign(None, &claims(&json!({})));
        assert!(granted(&auth, &without_kid).await);
    }
    assert_eq!((server.calls(), metric(&registry, "revenprox_auth_jwks_keys", "")), (1, 4));
    assert_eq!(server.last().method, "GET");
}

#[tokio::test]
async fn a_rotated_key_is_fetched_when_a_token_names_it() {
    let (old, new) = (Signer::generate(Algorithm::ES256), Signer::generate(Algorithm::ES256));
    let server = Server::start(set(&[jwk(&old, "old")])).await;
    let (auth, registry) = start(source(&server));
    let old_token = old.sign(Some("old"), &claims(&json!({})));
    assert!(granted(&auth, &old_token).await);
    server.set(set(&[jwk(&new, "new")]));
    let token = new.sign(Some("new"), &claims(&json!({})));
    until_async("the new key", || granted(&auth, &token)).await;
    assert_eq!(server.calls(), 2, "one fetch at start, one for the unknown kid");
    assert!(!granted(&auth, &old_token).await, "what the set no longer has is no longer accepted");
    fetched(&registry, 2).await;
}

#[tokio::test]
async fn forged_kids_cause_no_flood() {
    let signer = Signer::generate(Algorithm::ES256);
    let server = Server::start(set(&[jwk(&signer, "k")])).await;
    let (auth, _) = start(source(&server));
    let began = std::time::Instant::now();
    let mut askers = JoinSet::new();
    for _ in 0..200 {
        let auth = auth.clone();
        let token = signer.sign(Some(&random().to_string()), &claims(&json!({})));
        askers.spawn(async move { granted(&auth, &token).await });
    }
    assert!(askers.join_all().await.into_iter().all(|granted| !granted));
    let most = 2 + began.elapsed().as_secs();
    assert!(server.calls() as u64 <= most, "{} fetches", server.calls());
    assert!(granted(&auth, &signer.sign(Some("k"), &claims(&json!({})))).await);
}

#[tokio::test]
async fn one_fetch_serves_all_who_wait_for_a_kid() {
    let (open, gate) = watch::channel(false);
    let signer = Signer::generate(Algorithm::ES256);
    let server = Server::start(Reply::After(gate, Box::new(set(&[jwk(&signer, "k")])))).await;
    let (auth, registry) = start(source(&server));
    let token = signer.sign(Some("k"), &claims(&json!({})));
    let mut askers = JoinSet::new();
    for _ in 0..50 {
        let (auth, token) = (auth.clone(), token.clone());
        askers.spawn(async move { granted(&auth, &token).await });
    }
    until("all to ask", || metric(&registry, "revenprox_auth_requests_total", "") == 50).await;
    server.wait_for_calls(1).await;
    open.send(true).unwrap();
    assert!(askers.join_all().await.into_iter().all(|granted| granted));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn until_the_first_set_is_here_tokens_are_not_refused_but_put_off() {
    let signer = Signer::generate(Algorithm::ES256);
    for trouble in [
        Reply::Send(500, String::new()),
        Reply::Send(200, "garbage".into()),
        Reply::Send(200, " ".repeat(300 * 1024)),
        Reply::json(&json!({"keys": []})),
    ] {
        let server = Server::start(trouble).await;
        let (auth, registry) = start(source(&server));
        let token = signer.sign(Some("k"), &claims(&json!({})));
        let outcome = auth.authorize(Some(&token), &topic("t"), Action::Subscribe).await;
        assert!(matches!(outcome, Err(Refusal::Unavailable { .. })), "{outcome:?}");
        assert!(metric(&registry, "revenprox_auth_jwks_refresh_failures_total", "") >= 1);
        server.set(set(&[jwk(&signer, "k")]));
        until_async("the set", || granted(&auth, &token)).await;
    }
}

#[tokio::test]
async fn the_last_good_set_stays_when_a_refresh_fails() {
    let signer = Signer::generate(Algorithm::EdDSA);
    let server = Server::start(set(&[jwk(&signer, "k")])).await;
    let (auth, registry) = start(source(&server));
    let token = signer.sign(Some("k"), &claims(&json!({})));
    assert!(granted(&auth, &token).await);
    server.set(Reply::Send(503, String::new()));
    let unknown = signer.sign(Some("unknown"), &claims(&json!({})));
    let ask = || async { auth.authorize(Some(&unknown), &topic("t"), Action::Subscribe).await };
    until_async("a failed refresh", || async {
        ask().await.ok();
        metric(&registry, "revenprox_auth_jwks_refresh_failures_total", "") >= 1
    })
    .await;
    assert!(
        matches!(ask().await, Err(Refusal::Unavailable { .. })),
        "the key may be one that could not be fetched"
    );
    assert!(granted(&auth, &token).await);
}

#[tokio::test]
async fn a_kid_that_a_fresh_set_lacks_is_a_no() {
    let signer = Signer::generate(Algorithm::ES256);
    let server = Server::start(set(&[jwk(&signer, "k")])).await;
    let (auth, registry) = start(Jwks { min_refresh_sec: 3600, ..source(&server) });
    fetched(&registry, 1).await;
    let unknown = signer.sign(Some("unknown"), &claims(&json!({})));
    let outcome = auth.authorize(Some(&unknown), &topic("t"), Action::Subscribe).await;
    assert_eq!(outcome, Err(Refusal::Invalid { reason: "no configured key fits the token".into() }));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn published_keys_serve_only_their_algorithms() {
    let rsa = Signer::generate(Algorithm::RS256);
    let server = Server::start(set(&[jwk(&rsa, "k")])).await;
    let (auth, _) = start(source(&server));
    let pss = Signer { algorithm: Algorithm::PS256, ..Signer::generate(Algorithm::PS256) };
    let outcome =
        auth.authorize(Some(&pss.sign(Some("k"), &claims(&json!({})))), &topic("t"), Action::Subscribe).await;
    assert_eq!(reason(outcome), "the token's algorithm is not accepted for its key");
    let forger = Signer {
        algorithm: Algorithm::HS256,
        encoding: jsonwebtoken::EncodingKey::from_secret(rsa.public_pem.as_ref().unwrap().as_bytes()),
        public_pem: None,
        secret: None,
    };
    for kid in [Some("k"), None] {
        assert!(!granted(&auth, &forger.sign(kid, &claims(&json!({})))).await);
    }
    assert_eq!(server.calls(), 1, "no fetch can help a token under a shared secret");
}

#[tokio::test]
async fn a_set_belongs_to_its_issuer() {
    let signer = Signer::generate(Algorithm::ES256);
    let server = Server::start(set(&[jwk(&signer, "k")])).await;
    let (auth, _) = start(Jwks { issuer: Some("https://a.example".into()), ..source(&server) });
    assert!(granted(&auth, &signer.sign(Some("k"), &claims(&json!({"iss": "https://a.example"})))).await);
    assert!(!granted(&auth, &signer.sign(Some("k"), &claims(&json!({"iss": "https://b.example"})))).await);
}

#[tokio::test]
async fn local_keys_sets_and_webhook_form_one_chain() {
    let (local, published) = (Signer::generate(Algorithm::HS256), Signer::generate(Algorithm::ES256));
    let (keys, hook) =
        (Server::start(set(&[jwk(&published, "p")])).await, Server::start(Reply::valid()).await);
    let settings =
        Auth { keys: vec![local.local_key(Some("l"))], jwks: vec![source(&keys)], ..Auth::default() };
    let (auth, registry) = authenticator(&webhook(&hook.url()), &settings);
    fetched(&registry, 1).await;
    assert!(granted(&auth, &local.sign(Some("l"), &claims(&json!({})))).await);
    assert!(granted(&auth, &published.sign(Some("p"), &claims(&json!({})))).await);
    let expired = published.sign(Some("p"), &claims(&json!({"exp": 1000})));
    assert!(!granted(&auth, &expired).await, "who knows the key has the last word");
    assert_eq!(hook.calls(), 0);
    assert!(granted(&auth, &foreign_token(&json!({}))).await);
    assert!(granted(&auth, &local.sign(Some("elsewhere"), &claims(&json!({})))).await);
    assert_eq!(hook.calls(), 2, "what no key fits goes to the webhook");
    assert_eq!(keys.calls(), 1);
}

#[tokio::test]
async fn a_webhook_s_no_is_uncertain_while_a_set_is_missing() {
    let keys = Server::start(Reply::Send(500, String::new())).await;
    let hook = Server::start(Reply::json(&json!({"valid": false}))).await;
    let settings = Auth { jwks: vec![source(&keys)], ..Auth::default() };
    let (auth, _) = authenticator(&webhook(&hook.url()), &settings);
    let token = Signer::generate(Algorithm::ES256).sign(Some("k"), &claims(&json!({})));
    let outcome = auth.authorize(Some(&token), &topic("t"), Action::Subscribe).await;
    assert!(matches!(outcome, Err(Refusal::Unavailable { .. })), "{outcome:?}");
    hook.set(Reply::valid());
    assert!(granted(&auth, &Signer::generate(Algorithm::ES256).sign(Some("k"), &claims(&json!({})))).await);
}
