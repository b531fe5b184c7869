//! A presented token, taken apart but not yet believed.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};

use super::{TOKEN_BYTES_MAX, claims::Claims, failure::Failure};
use crate::config::auth::Algorithm;

/// A token within the bounds. One that is not a JWS may still mean something to the webhook.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// The text as presented.
    pub(crate) raw: &'a str,
    /// Its parts, where it is a JWS in compact form (RFC 7515, section 7.1) with a readable header.
    pub(crate) jws: Option<Jws<'a>>,
}

/// The parts of a JWS.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    /// What the signature covers: header and payload with the full stop between them.
    pub(crate) message: &'a str,
    /// The signature, still encoded.
    pub(crate) signature: &'a str,
    /// The algorithm, where it is a supported one.
    pub(crate) algorithm: Option<Algorithm>,
    /// The `kid`, where there is one.
    pub(crate) kid: Option<String>,
    /// Whether the header names extensions that must be understood; none is (RFC 7515, section 4.1.11).
    pub(crate) critical: bool,
    payload: &'a str,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

// === impl Token ===

impl<'a> Token<'a> {
    /// Takes a token apart. Fails if it is too long, has characters that no token has, or claims to need no
    /// signature.
    pub(crate) fn parse(raw: &'a str) -> Result<Self, Failure> {
        if raw.len() > TOKEN_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        if raw.is_empty() || !raw.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Malformed);
        }
        Ok(Self { raw, jws: Jws::parse(raw)? })
    }

    /// The claims, as they stand in the token. Whoever uses them must have verified the token or had it
    /// verified.
    pub(crate) fn claims(&self) -> Option<Claims> {
        self.jws.as_ref()?.claims().ok()
    }
}

// === impl Jws ===

impl<'a> Jws<'a> {
    fn parse(raw: &'a str) -> Result<Option<Self>, Failure> {
        let Some((message, signature)) = raw.rsplit_once('.') else { return Ok(None) };
        let Some((header, payload)) = message.split_once('.') else { return Ok(None) };
        if payload.contains('.') {
            return Ok(None);
        }
        let Some(json) = decode(header) else { return Ok(None) };
        let Ok(header) = serde_json::from_slice::<Header<'_>>(&json) else { return Ok(None) };
        if header.alg.eq_ignore_ascii_case("none") {
            return Err(Failure::Algorithm);
        }
        let algorithm = Algorithm::ALL.into_iter().find(|known| known.name() == header.alg);
        let critical = header.crit.is_some();
        Ok(Some(Self { message, signature, algorithm, kid: header.kid, critical, payload }))
    }

    /// The claims, not yet believed.
    pub(crate) fn claims(&self) -> Result<Claims, Failure> {
        let json = decode(self.payload).ok_or(Failure::Malformed)?;
        serde_json::from_slice(&json).map_err(|_| Failure::Malformed)
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_jws_is_taken_apart() {
        let raw = token(r#"{"alg":"HS256","kid":"k","x":{"y":[1]}}"#, r#"{"sub":"s","exp":1}"#);
        let parsed = Token::parse(&raw).unwrap();
        let jws = parsed.jws.as_ref().unwrap();
        assert_eq!(
            (jws.algorithm, jws.kid.as_deref(), jws.critical),
            (Some(Algorithm::HS256), Some("k"), false)
        );
        assert_eq!(jws.signature, "c2ln");
        assert_eq!(parsed.claims().unwrap().sub.as_deref(), Some("s"));
    }

    #[test]
    fn none_is_refused_in_every_spelling() {
        for alg in ["none", "None", "NONE", "nOnE"] {
            let raw = token(&format!(r#"{{"alg":"{alg}"}}"#), "{}");
            assert_eq!(Token::parse(&raw).unwrap_err(), Failure::Algorithm);
        }
    }

    #[test]
    fn other_texts_are_no_jws_or_no_token() {
        for raw in
            ["opaque", "a.b", "a.b.c", "a.b.c.d.e", "..", &token("[]", "{}"), &token(r#"{"alg":1}"#, "{}")]
        {
            assert!(Token::parse(raw).unwrap().jws.is_none(), "{raw}");
        }
        for raw in ["", "a b", "a\nb", "caf\u{e9}"] {
            assert_eq!(Token::parse(raw).unwrap_err(), Failure::Malformed, "{raw}");
        }
        assert_eq!(Token::parse(&"x".repeat(TOKEN_BYTES_MAX + 1)).unwrap_err(), Failure::TooLong);
        assert!(Token::parse(&"x".repeat(TOKEN_BYTES_MAX)).is_ok());
    }

    #[test]
    fn lookalike_algorithms_are_not_supported_ones() {
        for alg in ["hs256", "HS256 ", "ES512", "ES256K", ""] {
            let raw = token(&format!(r#"{{"alg":"{alg}"}}"#), "{}");
            assert_eq!(Token::parse(&raw).unwrap().jws.unwrap().algorithm, None, "{alg}");
        }
    }
}
