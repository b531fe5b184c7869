//! `sse-proxy token`: what it signs is verified with another library call than the one that signed it.

use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rcgen::{KeyPair, SignatureAlgorithm};
use serde_json::{Value, json};

use crate::{output_of, run};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn claims(token: &str, algorithm: Algorithm, key: &DecodingKey, audience: &[&str]) -> Value {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "sub"]);
    validation.set_audience(audience);
    validation.leeway = 0;
    decode::<Value>(token.trim(), key, &validation).unwrap().claims
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn a_shared_secret_signs_with_hs256() {
    let token = output_of(&["token", "--secret", SECRET]);
    let claims = claims(&token, Algorithm::HS256, &DecodingKey::from_secret(SECRET.as_bytes()), &[]);
    assert_eq!(claims["sub"], "developer");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    for absent in ["iss", "aud", "jti", "revenprox"] {
        assert!(claims.get(absent).is_none(), "{claims}");
    }
}

#[test]
fn every_claim_can_be_set() {
    let token = output_of(&[
        "token",
        "--secret",
        SECRET,
        "--alg",
        "hs512",
        "--sub",
        "anna",
        "--ttl",
        "5m",
        "--subscribe",
        "orders-*",
        "--subscribe",
        "news",
        "--publish",
        "chat",
        "--iss",
        "me",
        "--aud",
        "a",
        "--aud",
        "b",
        "--kid",
        "k1",
        "--jti",
        "j1",
    ]);
    assert_eq!(decode_header(token.trim()).unwrap().kid.as_deref(), Some("k1"));
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let mut claims = claims(&token, Algorithm::HS512, &key, &["b"]);
    let (iat, exp) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert_eq!(exp - iat, 300);
    let map = claims.as_object_mut().unwrap();
    map.remove("iat");
    map.remove("exp");
    let wanted = json!({
        "sub": "anna", "iss": "me", "aud": ["a", "b"], "jti": "j1",
        "revenprox": { "subscribe": ["orders-*", "news"], "publish": ["chat"] },
    });
    assert_eq!(claims, wanted);
}

#[test]
fn a_secret_in_a_file_loses_one_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "secret", &format!("{SECRET}\n"));
    let token = output_of(&["token", "--key", &file]);
    claims(&token, Algorithm::HS256, &DecodingKey::from_secret(SECRET.as_bytes()), &[]);
}

#[test]
fn private_keys_sign_with_their_own_algorithm() {
    type FromPem = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;
    let kinds: [(&SignatureAlgorithm, &[&str], Algorithm, FromPem); 6] = [
        (&rcgen::PKCS_RSA_SHA256, &[], Algorithm::RS256, DecodingKey::from_rsa_pem),
        (&rcgen::PKCS_RSA_SHA256, &["--alg", "PS384"], Algorithm::PS384, DecodingKey::from_rsa_pem),
        (&rcgen::PKCS_ECDSA_P256_SHA256, &[], Algorithm::ES256, DecodingKey::from_ec_pem),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &["--alg", "ES384"], Algorithm::ES384, DecodingKey::from_ec_pem),
        (&rcgen::PKCS_ED25519, &[], Algorithm::EdDSA, DecodingKey::from_ed_pem),
        (&rcgen::PKCS_ED25519, &["--alg", "EdDSA"], Algorithm::EdDSA, DecodingKey::from_ed_pem),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (kind, args, algorithm, from_pem) in kinds {
        let pair = KeyPair::generate_for(kind).unwrap();
        let file = write(folder.path(), "key.pem", &pair.serialize_pem());
        let token = output_of(&[&["token", "--key", file.as_str()], args].concat());
        let claims = claims(&token, algorithm, &from_pem(pair.public_key_pem().as_bytes()).unwrap(), &[]);
        assert_eq!(claims["sub"], "developer", "{algorithm:?}");
    }
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let private = write(folder.path(), "key.pem", &pair.serialize_pem());
    let public = write(folder.path(), "pub.pem", &pair.public_key_pem());
    let empty = write(folder.path(), "empty", "\n");
    for args in [
        &["--key", &private, "--alg", "RS256"][..],
        &["--key", &private, "--alg", "HS256"],
        &["--key", &public],
        &["--key", &empty],
        &["--secret", SECRET, "--alg", "none"],
        &["--secret", SECRET, "--alg", "ES256"],
        &["--secret", SECRET, "--ttl", "soon"],
        &["--secret", SECRET, "--key", &private],
        &[],
    ] {
        let run = run(&[&["token"], args].concat());
        assert_eq!(run.code, 2, "{args:?} {run:?}");
        assert!(run.out.is_empty() && !run.err.is_empty(), "{run:?}");
    }
    assert_eq!(run(&["token", "--key", "/nowhere"]).code, 1);
}
