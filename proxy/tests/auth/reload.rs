//! Other settings while running: rotated keys, kept knowledge, refused nonsense.

use std::fs;

use revenprox_proxy::{
    auth::{Action, Authenticator, known_as},
    config::auth::{Algorithm, Auth, Jwks, JwtVerifier, LocalKey, Permission},
};
use serde_json::json;

use crate::support::{Reply, Server, Signer, authenticator, claims, foreign_token, metric, topic, webhook};

async fn granted(authenticator: &Authenticator, token: &str) -> bool {
    authenticator.authorize(Some(token), &topic("t"), Action::Subscribe).await.is_ok()
}

#[tokio::test]
async fn a_rotated_key_file_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let (old, new) = (Signer::generate(Algorithm::ES256), Signer::generate(Algorithm::ES256));
    let publish = |signer: &Signer| fs::write(&path, signer.public_pem.as_ref().unwrap()).unwrap();
    publish(&old);
    let local =
        LocalKey { public_key: None, public_key_file: Some(path.clone()), ..old.local_key(Some("k")) };
    let settings = Auth { keys: vec![local], ..Auth::default() };
    let (auth, _) = authenticator(&JwtVerifier::default(), &settings);
    let (old_token, new_token) =
        (old.sign(Some("k"), &claims(&json!({}))), new.sign(Some("k"), &claims(&json!({}))));
    assert!(granted(&auth, &old_token).await && !granted(&auth, &new_token).await);
    publish(&new);
    auth.reload(&JwtVerifier::default(), &settings).unwrap();
    assert!(!granted(&auth, &old_token).await && granted(&auth, &new_token).await);
}

#[tokio::test]
async fn settings_that_cannot_be_used_leave_the_old_ones_in_force() {
    let signer = Signer::generate(Algorithm::HS256);
    let settings = Auth { keys: vec![signer.local_key(None)], ..Auth::default() };
    let (auth, registry) = authenticator(&JwtVerifier::default(), &settings);
    let token = signer.sign(None, &claims(&json!({})));
    let missing =
        LocalKey { secret: None, secret_file: Some("/nonexistent".into()), ..signer.local_key(None) };
    for (jwt, bad) in [
        (JwtVerifier::default(), Auth { keys: vec![missing], ..Auth::default() }),
        (JwtVerifier::default(), Auth::default()),
        (JwtVerifier { timeout_ms: 0, ..JwtVerifier::default() }, settings.clone()),
        (
            JwtVerifier { ca_file: Some("/nonexistent".into()), ..webhook("https://127.0.0.1:1") },
            settings.clone(),
        ),
    ] {
        assert!(auth.reload(&jwt, &bad).is_err());
        assert!(granted(&auth, &token).await);
    }
    assert_eq!(metric(&registry, "revenprox_auth_reload_failures_total", ""), 4);
}

#[tokio::test]
async fn verdicts_survive_a_reload_that_does_not_concern_them() {
    let server = Server::start(Reply::valid()).await;
    let base = webhook(&server.url());
    let (auth, _) = authenticator(&base, &Auth::default());
    let token = foreign_token(&json!({}));
    assert!(granted(&auth, &token).await);
    server.set(Reply::Send(500, String::new()));
    let other_limits = JwtVerifier {
        timeout_ms: 300,
        cache_max_size: 5,
        cache_ttl_sec: 100,
        rate_limit_per_sec: 7,
        ..base.clone()
    };
    auth.reload(&other_limits, &Auth::default()).unwrap();
    assert!(granted(&auth, &token).await, "the verdict is remembered");
    assert_eq!(server.calls(), 1);
    auth.reload(&JwtVerifier { cache_max_size: 0, ..base.clone() }, &Auth::default()).unwrap();
    assert!(!granted(&auth, &token).await, "a smaller cache takes effect");
}

#[tokio::test]
async fn verdicts_of_another_webhook_or_under_other_defaults_are_forgotten() {
    let (first, second) = (Server::start(Reply::valid()).await, Server::start(Reply::valid()).await);
    let (auth, _) = authenticator(&webhook(&first.url()), &Auth::default());
    let token = foreign_token(&json!({}));
    assert!(granted(&auth, &token).await);
    auth.reload(&webhook(&second.url()), &Auth::default()).unwrap();
    assert!(granted(&auth, &token).await);
    assert_eq!((first.calls(), second.calls()), (1, 1));
    let writers = Auth { default_permissions: vec![Permission::Write], ..Auth::default() };
    auth.reload(&webhook(&second.url()), &writers).unwrap();
    assert!(!granted(&auth, &token).await);
    assert_eq!(second.calls(), 2);
}

#[tokio::test]
async fn an_unchanged_key_set_is_not_fetched_again() {
    let signer = Signer::generate(Algorithm::ES256);
    let jwk =
        jsonwebtoken::jwk::Jwk::from_encoding_key(&signer.encoding, known_as(signer.algorithm)).unwrap();
    let server = Server::start(Reply::json(&json!({"keys": [jwk]}))).await;
    let settings = Auth { jwks: vec![Jwks::new(server.url())], ..Auth::default() };
    let (auth, registry) = authenticator(&JwtVerifier::default(), &settings);
    let token = signer.sign(None, &claims(&json!({})));
    assert!(granted(&auth, &token).await);
    auth.reload(&JwtVerifier::default(), &Auth { leeway_sec: 5, ..settings.clone() }).unwrap();
    assert!(granted(&auth, &token).await);
    assert_eq!(server.calls(), 1);
    let other = Auth { keys: vec![Signer::generate(Algorithm::HS256).local_key(None)], ..Auth::default() };
    auth.reload(&JwtVerifier::default(), &other).unwrap();
    assert!(!granted(&auth, &token).await);
    assert_eq!(metric(&registry, "revenprox_auth_jwks_keys", ""), 0, "the source is gone");
}
