//! Tokens that local keys verify.

use std::{io::Write, sync::LazyLock};

use prometheus::Registry;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use revenprox_proxy::{
    auth::{Action, AuthSetupError, Authenticator, Refusal},
    config::auth::{Algorithm, Auth, JwtVerifier, LocalKey, SecretEncoding},
};
use serde_json::json;

use crate::support::{Signer, authenticator, claims, metric, reason, topic, unix};

/// One RSA key for all tests, since making one takes long.
static RSA: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap());

fn signer(algorithm: Algorithm) -> Signer {
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => Signer::generate(algorithm),
        symmetric if symmetric.is_symmetric() => Signer::generate(symmetric),
        rsa => Signer::of(rsa, &RSA),
    }
}

fn with_keys(keys: Vec<LocalKey>) -> Auth {
    Auth { keys, ..Auth::default() }
}

async fn verdict(auth: &Auth, token: &str) -> Result<(), String> {
    let (authenticator, _) = authenticator(&JwtVerifier::default(), auth);
    let granted = authenticator.authorize(Some(token), &topic("t"), Action::Subscribe).await;
    granted.map(drop).map_err(|refusal| refusal.to_string())
}

#[tokio::test]
async fn every_algorithm_is_signed_and_verified() {
    for algorithm in Algorithm::ALL {
        let signer = signer(algorithm);
        let auth = with_keys(vec![signer.local_key(Some("k"))]);
        let (authenticator, _) = authenticator(&JwtVerifier::default(), &auth);
        let token = signer.sign(Some("k"), &claims(&json!({"jti": "id-1", "exp": 99_999_999_999_u64})));
        let grant = authenticator.authorize(Some(&token), &topic("t"), Action::Subscribe).await.unwrap();
        assert_eq!(grant.subject.as_deref(), Some("user-1"), "{algorithm:?}");
        assert_eq!(grant.token_id.as_deref(), Some("id-1"));
        assert_eq!(grant.key_id.as_deref(), Some("k"));
        assert_eq!(grant.expires_at, Some(99_999_999_999));
        // One bit less in the signature.
        let (message, signature) = token.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{message}.{flipped}{}", &signature[1..]);
        let refused = authenticator.authorize(Some(&forged), &topic("t"), Action::Subscribe).await;
        assert_eq!(reason(refused), "the token's signature does not verify", "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_key_serves_no_algorithm_but_its_own() {
    for key_algorithm in Algorithm::ALL {
        let owner = signer(key_algorithm);
        let auth = with_keys(vec![owner.local_key(Some("k"))]);
        for token_algorithm in Algorithm::ALL.into_iter().filter(|other| *other != key_algorithm) {
            // Same family: the very same key under another algorithm. Otherwise a key of its own.
            let other = match (&owner.secret, token_algorithm.is_symmetric()) {
                (Some(secret), true) => Signer {
                    algorithm: token_algorithm,
                    encoding: jsonwebtoken::EncodingKey::from_secret(secret.as_bytes()),
                    public_pem: None,
                    secret: None,
                },
                _ => signer(token_algorithm),
            };
            let token = other.sign(Some("k"), &claims(&json!({})));
            let expected = Err("the token's algorithm is not accepted for its key".to_owned());
            assert_eq!(
                verdict(&auth, &token).await,
                expected,
                "{token_algorithm:?} for a {key_algorithm:?} key"
            );
        }
    }
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_a_secret() {
    let rsa = signer(Algorithm::RS256);
    let pem = rsa.public_pem.clone().unwrap();
    for secret in [pem.as_bytes(), pem.trim().as_bytes()] {
        let forger = Signer {
            algorithm: Algorithm::HS256,
            encoding: jsonwebtoken::EncodingKey::from_secret(secret),
            public_pem: None,
            secret: None,
        };
        for kid in [None, Some("k"), Some("other")] {
            let token = forger.sign(kid, &claims(&json!({})));
            assert!(verdict(&with_keys(vec![rsa.local_key(Some("k"))]), &token).await.is_err());
            // The same with an HS256 key beside it, which makes HS256 an algorithm in use.
            let beside = signer(Algorithm::HS256).local_key(None);
            assert!(verdict(&with_keys(vec![rsa.local_key(None), beside]), &token).await.is_err());
        }
    }
}

#[tokio::test]
async fn unsigned_tokens_are_refused() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let auth = with_keys(vec![signer(Algorithm::HS256).local_key(None)]);
    let payload = URL_SAFE_NO_PAD.encode(claims(&json!({})).to_string());
    for alg in ["none", "None", "NONE", "", "HS256", "HS1"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg}).to_string());
        for token in
            [format!("{header}.{payload}."), format!("{header}.{payload}"), format!("{header}.{payload}.AA")]
        {
            assert!(verdict(&auth, &token).await.is_err(), "{alg}");
        }
    }
}

#[tokio::test]
async fn the_time_claims_hold_within_the_leeway_and_not_beyond() {
    let key = signer(Algorithm::HS256);
    let auth = Auth { leeway_sec: 60, ..with_keys(vec![key.local_key(None)]) };
    let now = unix();
    // Ten seconds of slack on either side of the bound, for a slow machine.
    for (changes, expected) in [
        (json!({"exp": now - 50}), None),
        (json!({"exp": now - 61}), Some("the token has expired")),
        (json!({"nbf": now + 50}), None),
        (json!({"nbf": now + 75}), Some("the token is not valid yet")),
        (json!({"iat": now + 50}), None),
        (json!({"iat": now + 75}), Some("the token is not valid yet")),
        (json!({"exp": null}), Some("the token has no usable claim `exp`")),
        (json!({"sub": null}), Some("the token has no usable claim `sub`")),
        (json!({"exp": "tomorrow"}), Some("the token is not a well-formed JWT")),
    ] {
        let outcome = verdict(&auth, &key.sign(None, &claims(&changes))).await;
        assert_eq!(outcome.err().as_deref(), expected, "{changes}");
    }
}

#[tokio::test]
async fn issuer_and_audience_must_be_the_configured_ones() {
    let key = signer(Algorithm::HS256);
    let mut own = key.local_key(None);
    own.issuer = Some("https://a.example".into());
    let auth = Auth {
        issuers: vec!["https://a.example".into(), "https://b.example".into()],
        audiences: vec!["events".into()],
        ..with_keys(vec![own])
    };
    for (changes, expected) in [
        (json!({"iss": "https://a.example", "aud": "events"}), None),
        (json!({"iss": "https://a.example", "aud": ["mail", "events"]}), None),
        (json!({"iss": "https://b.example", "aud": "events"}), Some("the token's issuer is not accepted")),
        (json!({"iss": "https://c.example", "aud": "events"}), Some("the token's issuer is not accepted")),
        (json!({"aud": "events"}), Some("the token's issuer is not accepted")),
        (json!({"iss": "https://a.example"}), Some("the token is not meant for this audience")),
        (
            json!({"iss": "https://a.example", "aud": "mail"}),
            Some("the token is not meant for this audience"),
        ),
    ] {
        let outcome = verdict(&auth, &key.sign(None, &claims(&changes))).await;
        assert_eq!(outcome.err().as_deref(), expected, "{changes}");
    }
}

#[tokio::test]
async fn claims_decide_about_topics_and_actions() {
    let key = signer(Algorithm::HS256);
    let (authenticator, registry) =
        authenticator(&JwtVerifier::default(), &with_keys(vec![key.local_key(None)]));
    let own = json!({"revenprox": {"subscribe": ["orders-*", "exact"], "publish": ["*-in"]}});
    let token = key.sign(None, &claims(&own));
    for (name, action, allowed) in [
        ("orders-7", Action::Subscribe, true),
        ("exact", Action::Subscribe, true),
        ("users", Action::Subscribe, false),
        ("orders-7", Action::Publish, false),
        ("orders-in", Action::Publish, true),
    ] {
        let outcome = authenticator.authorize(Some(&token), &topic(name), action).await;
        assert_eq!(outcome.is_ok(), allowed, "{name} {action}");
        assert!(allowed || matches!(outcome, Err(Refusal::Forbidden { .. })));
    }
    let silent = key.sign(None, &claims(&json!({})));
    assert!(authenticator.authorize(Some(&silent), &topic("t"), Action::Subscribe).await.is_ok());
    let refused = authenticator.authorize(Some(&silent), &topic("t"), Action::Publish).await;
    assert_eq!(
        refused,
        Err(Refusal::Forbidden { reason: "the token does not allow to publish this topic".into() })
    );
    assert_eq!(metric(&registry, "revenprox_auth_failures_total", "forbidden"), 3);
    assert_eq!(metric(&registry, "revenprox_auth_requests_total", ""), 7);
}

#[tokio::test]
async fn keys_without_kid_are_tried_for_tokens_of_their_algorithm() {
    let (a, b, c) = (signer(Algorithm::HS256), signer(Algorithm::HS256), signer(Algorithm::HS256));
    let auth = with_keys(vec![a.local_key(None), b.local_key(None), c.local_key(Some("c"))]);
    assert_eq!(verdict(&auth, &b.sign(None, &claims(&json!({})))).await, Ok(()));
    assert_eq!(verdict(&auth, &b.sign(Some("whatever"), &claims(&json!({})))).await, Ok(()));
    assert_eq!(verdict(&auth, &c.sign(None, &claims(&json!({})))).await, Ok(()));
    let wrong_name = verdict(&auth, &b.sign(Some("c"), &claims(&json!({})))).await;
    assert_eq!(wrong_name, Err("the token's signature does not verify".into()), "the kid binds");
}

#[tokio::test]
async fn oversized_and_malformed_tokens_are_refused() {
    let key = signer(Algorithm::HS256);
    let auth = with_keys(vec![key.local_key(None)]);
    let large = key.sign(None, &claims(&json!({"x": "y".repeat(8192)})));
    assert_eq!(verdict(&auth, &large).await, Err("the token has more than 8192 bytes".into()));
    for token in ["", "x", "..", "a.b.c", "a b", "é", "eyJhbGciOiJIUzI1NiJ9..x"] {
        assert!(verdict(&auth, token).await.is_err(), "{token}");
    }
}

#[tokio::test]
async fn keys_are_read_from_files_in_their_encodings() {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    let raw = vec![0xfb_u8; 32];
    let key = Signer {
        algorithm: Algorithm::HS256,
        encoding: jsonwebtoken::EncodingKey::from_secret(&raw),
        public_pem: None,
        secret: None,
    };
    let token = key.sign(None, &claims(&json!({})));
    for text in [STANDARD.encode(&raw), URL_SAFE_NO_PAD.encode(&raw) + "\n"] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let local = LocalKey {
            secret_file: Some(file.path().into()),
            secret_encoding: SecretEncoding::Base64,
            ..key.local_key(None)
        };
        assert_eq!(verdict(&with_keys(vec![local]), &token).await, Ok(()), "{text:?}");
    }
    let es = signer(Algorithm::ES256);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(es.public_pem.as_ref().unwrap().as_bytes()).unwrap();
    let local =
        LocalKey { public_key: None, public_key_file: Some(file.path().into()), ..es.local_key(None) };
    assert_eq!(verdict(&with_keys(vec![local]), &es.sign(None, &claims(&json!({})))).await, Ok(()));
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_refused_at_setup() {
    let setup = |key: LocalKey| {
        let outcome =
            Authenticator::new(&JwtVerifier::default(), &with_keys(vec![key]), true, &Registry::new());
        match outcome.unwrap_err() {
            AuthSetupError::Key { at: 0, source } => source.to_string(),
            other => panic!("{other}"),
        }
    };
    let (es, rs, hs) = (signer(Algorithm::ES256), signer(Algorithm::RS256), signer(Algorithm::HS256));
    let wrong_curve = LocalKey { algorithm: Algorithm::ES384, ..es.local_key(None) };
    assert_eq!(setup(wrong_curve), "is not a PEM public key for ES384");
    let wrong_type = LocalKey { algorithm: Algorithm::EdDSA, ..rs.local_key(None) };
    assert_eq!(setup(wrong_type), "is not a PEM public key for EdDSA");
    let private = LocalKey { public_key: Some(RSA.serialize_pem()), ..rs.local_key(None) };
    assert!(setup(private).starts_with("this is a private key"));
    let absent =
        LocalKey { secret: None, secret_file: Some("/nonexistent/secret".into()), ..hs.local_key(None) };
    assert!(setup(absent).starts_with("cannot read /nonexistent/secret"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"0123456789012345678901234567890\n").unwrap();
    let short = LocalKey { secret: None, secret_file: Some(file.path().into()), ..hs.local_key(None) };
    assert_eq!(setup(short), "the secret has 31 bytes; HS256 needs at least 32");
}

#[tokio::test]
async fn without_required_authentication_everything_is_granted() {
    let key = signer(Algorithm::HS256);
    let auth = with_keys(vec![key.local_key(Some("k"))]);
    let open = Authenticator::new(&JwtVerifier::default(), &auth, false, &Registry::new()).unwrap();
    let exp = unix() + 100;
    let token = key.sign(Some("k"), &claims(&json!({"exp": exp, "permissions": []})));
    let grant = open.authorize(Some(&token), &topic("t"), Action::Publish).await.unwrap();
    assert_eq!((grant.subject.as_deref(), grant.expires_at), (Some("user-1"), Some(exp)));
    let expired = key.sign(Some("k"), &claims(&json!({"exp": 1})));
    for token in [None, Some("garbage"), Some(expired.as_str())] {
        let grant = open.authorize(token, &topic("t"), Action::Publish).await.unwrap();
        assert_eq!((grant.subject, grant.expires_at), (None, None));
    }
}

#[tokio::test]
async fn a_missing_token_is_its_own_refusal_and_no_method_is_an_error() {
    let auth = with_keys(vec![signer(Algorithm::HS256).local_key(None)]);
    let (strict, _) = authenticator(&JwtVerifier::default(), &auth);
    assert_eq!(strict.authorize(None, &topic("t"), Action::Subscribe).await, Err(Refusal::Missing));
    let nobody = Authenticator::new(&JwtVerifier::default(), &Auth::default(), true, &Registry::new());
    assert!(
        matches!(nobody, Err(AuthSetupError::Setting { path, .. }) if path == "jwt_verifier.webhook_url")
    );
}
