//! From a JWKS document to keys. Pure.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::super::keys::{KeySet, VerifyKey, check_rsa_size, known_as};
use crate::config::auth::{Algorithm, Jwks};

/// The most keys in one document. Publishers have two or three.
const KEYS_MAX: usize = 100;

/// Why a document gives no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    #[error("the document is no key set")]
    Json(#[source] serde_json::Error),
    #[error("the set has {0} keys; at most {KEYS_MAX} are taken")]
    TooMany(usize),
    #[error("none of the set's {0} keys can be used to verify tokens")]
    NoneUsable(usize),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The usable keys of a document. Keys for other purposes, of unsupported types, or damaged are passed over,
/// as RFC 7517, section 5, asks; shared secrets are, because whoever can read the set could sign with them.
pub(crate) fn parse(document: &[u8], settings: &Jwks) -> Result<KeySet, SetError> {
    let Document { keys } = serde_json::from_slice(document).map_err(SetError::Json)?;
    let count = keys.len();
    if count > KEYS_MAX {
        return Err(SetError::TooMany(count));
    }
    let usable: Vec<_> = keys.into_iter().filter_map(|key| verify_key(key, settings)).collect();
    if usable.is_empty() { Err(SetError::NoneUsable(count)) } else { Ok(KeySet::new(usable)) }
}

fn verify_key(key: Value, settings: &Jwks) -> Option<VerifyKey> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    if !is_for_verifying(&jwk) {
        return None;
    }
    let mut algorithms = algorithms_of_type(&jwk.algorithm)?.to_vec();
    if let Some(named) = jwk.common.key_algorithm {
        algorithms.retain(|&algorithm| KeyAlgorithm::from(known_as(algorithm)) == named);
    }
    if !settings.algorithms.is_empty() {
        algorithms.retain(|algorithm| settings.algorithms.contains(algorithm));
    }
    if algorithms.is_empty() {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(VerifyKey { kid: jwk.common.key_id, issuer: settings.issuer.clone(), algorithms, key })
}

fn is_for_verifying(jwk: &Jwk) -> bool {
    let common = &jwk.common;
    let for_signatures =
        common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies =
        common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    for_signatures && verifies
}

/// The algorithms that a key of this type can have, if it is well formed.
fn algorithms_of_type(parameters: &AlgorithmParameters) -> Option<&'static [Algorithm]> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(rsa) => {
            check_rsa_size(&URL_SAFE_NO_PAD.decode(&rsa.n).ok()?).ok()?;
            Some(&[RS256, RS384, RS512, PS256, PS384, PS512])
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 if are_bytes(&[&ec.x, &ec.y], 32) => Some(&[ES256]),
            EllipticCurve::P384 if are_bytes(&[&ec.x, &ec.y], 48) => Some(&[ES384]),
            _ => None,
        },
        AlgorithmParameters::OctetKeyPair(pair) => {
            (pair.curve == EllipticCurve::Ed25519 && are_bytes(&[&pair.x], 32)).then_some(&[EdDSA])
        }
        _ => None,
    }
}

fn are_bytes(parts: &[&String], len: usize) -> bool {
    parts.iter().all(|part| URL_SAFE_NO_PAD.decode(part).is_ok_and(|bytes| bytes.len() == len))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn b64(len: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xff; len])
    }

    fn algorithms(key: &Value, allowed: &[Algorithm]) -> Option<Vec<Algorithm>> {
        let settings = Jwks { algorithms: allowed.to_vec(), ..Jwks::new("https://issuer.example/") };
        verify_key(key.clone(), &settings).map(|key| key.algorithms)
    }

    #[test]
    fn the_type_and_alg_of_a_key_bind_its_algorithms() {
        use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
        let rsa = |alg: Option<&str>| json!({"kty": "RSA", "n": b64(256), "e": "AQAB", "alg": alg});
        assert_eq!(algorithms(&rsa(None), &[]).unwrap().len(), 6);
        assert_eq!(algorithms(&rsa(Some("RS256")), &[]).unwrap(), [RS256]);
        assert_eq!(algorithms(&rsa(None), &[PS256]).unwrap(), [PS256]);
        assert_eq!(algorithms(&rsa(Some("RS256")), &[PS256]), None);
        assert_eq!(algorithms(&rsa(Some("HS256")), &[]), None, "a public key is no secret");
        assert_eq!(algorithms(&rsa(Some("RSA-OAEP")), &[]), None);
        let ec = |crv: &str, len| json!({"kty": "EC", "crv": crv, "x": b64(len), "y": b64(len)});
        assert_eq!(algorithms(&ec("P-256", 32), &[]).unwrap(), [ES256]);
        assert_eq!(algorithms(&ec("P-384", 48), &[]).unwrap(), [ES384]);
        assert_eq!(algorithms(&ec("P-256", 48), &[]), None);
        assert_eq!(algorithms(&ec("P-521", 66), &[]), None);
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(32)});
        assert_eq!(algorithms(&okp, &[]).unwrap(), [EdDSA]);
    }

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        let key = |extra: Value| {
            let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(32)});
            key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            algorithms(&key, &[])
        };
        assert!(key(json!({"use": "sig"})).is_some() && key(json!({"key_ops": ["verify"]})).is_some());
        assert!(key(json!({"use": "enc"})).is_none() && key(json!({"key_ops": ["sign"]})).is_none());
        assert_eq!(algorithms(&json!({"kty": "oct", "k": b64(64), "alg": "HS256"}), &[]), None);
        assert_eq!(algorithms(&json!({"kty": "RSA", "n": b64(128), "e": "AQAB"}), &[]), None, "1024 bits");
        assert_eq!(algorithms(&json!({"kty": "new"}), &[]), None);
        assert_eq!(algorithms(&json!(1), &[]), None);
    }

    #[test]
    fn a_document_is_bounded_and_must_have_a_usable_key() {
        let settings = Jwks::new("https://issuer.example/");
        let parse = |document: Value| super::parse(document.to_string().as_bytes(), &settings);
        let good = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(32), "kid": "a"});
        assert_eq!(parse(json!({"keys": [good, {"kty": "new"}]})).unwrap().len(), 1);
        assert!(matches!(parse(json!({"keys": [{"kty": "new"}]})), Err(SetError::NoneUsable(1))));
        assert!(matches!(parse(json!({"keys": vec![good.clone(); 101]})), Err(SetError::TooMany(101))));
        assert!(matches!(parse(json!([good])), Err(SetError::Json(_))));
    }
}
